/* The calls of HCCL that are not emulated: each says so by its name. */
#include "emulator.h"

static int refuse(const char *name) {
    report("%s is not emulated: HcclAllReduce, HcclBroadcast, HcclAllGather, HcclReduceScatter and"
           " HcclBarrier are",
           name);
    return HCCL_NOT_SUPPORTED;
}

/* Arguments are left where the caller put them: both calling conventions allow that. */
#define REFUSE(name) \
    int name(void);  \
    int name(void) { return refuse(#name); }

REFUSE(HcclAllGatherV)
REFUSE(HcclAlltoAll)
REFUSE(HcclAlltoAllV)
REFUSE(HcclAlltoAllVC)
REFUSE(HcclBatchSendRecv)
REFUSE(HcclRecv)
REFUSE(HcclReduce)
REFUSE(HcclReduceScatterV)
REFUSE(HcclScatter)
REFUSE(HcclSend)

REFUSE(HcclCommInitAll)
REFUSE(HcclCommInitClusterInfo)
REFUSE(HcclCommInitClusterInfoConfig)
REFUSE(HcclCommInitRootInfoScalable)
REFUSE(HcclCreateSubCommConfig)
REFUSE(HcclGetRootInfoScalable)
REFUSE(HcclGroupEnd)
REFUSE(HcclGroupStart)

REFUSE(HcclCommActivateCommMemory)
REFUSE(HcclCommDeactivateCommMemory)
REFUSE(HcclCommDeregister)
REFUSE(HcclCommExchangeMem)
REFUSE(HcclCommRegister)
REFUSE(HcclCommResume)
REFUSE(HcclCommSetMemoryRange)
REFUSE(HcclCommSymWinDeregister)
REFUSE(HcclCommSymWinRegister)
REFUSE(HcclCommUnsetMemoryRange)
REFUSE(HcclCommWorkingDevNicSet)
