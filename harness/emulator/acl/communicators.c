/* HCCL: communicators, which ranks of one machine form. */
#include "emulator.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_AT = 32 }; /* in HcclCommConfig */

int HcclGetRootInfo(void *info) { return make_root(info); }

/* Which fields of HcclCommConfig count: the size of buffers, determinism, the name. */
uint32_t HcclGetCommConfigCapability(void) { return 3; }

int HcclCommInitRootInfoConfig(uint32_t size, const void *info, uint32_t rank, const char *config,
                               Communicator **made) {
    Communicator *communicator = calloc(1, sizeof *communicator);
    if (!communicator) {
        return HCCL_MEMORY;
    }
    communicator->size = size;
    communicator->rank = rank;
    communicator->file = -1;
    const int code = join_ranks(communicator, info);
    if (code != OK) {
        leave_ranks(communicator);
        free(communicator);
        return code;
    }
    name_communicator(communicator, config ? config + NAME_AT : "", info);
    *made = communicator;
    return OK;
}

int HcclCommInitRootInfo(uint32_t size, const void *info, uint32_t rank, Communicator **made) {
    return HcclCommInitRootInfoConfig(size, info, rank, NULL, made);
}

int HcclCommDestroy(Communicator *communicator) {
    if (communicator->busy) {
        break_off(communicator, HCCL_REMOTE); /* a call that hangs in another thread ends */
        return OK;
    }
    leave_ranks(communicator);
    free(communicator);
    return OK;
}

int HcclGetCommName(const Communicator *communicator, char *name) {
    memcpy(name, communicator->name, sizeof communicator->name);
    return OK;
}

int HcclGetCommAsyncError(const Communicator *communicator, int *error) {
    (void)communicator; /* errors are those of calls */
    *error = OK;
    return OK;
}

int HcclGetRankSize(const Communicator *communicator, uint32_t *size) {
    *size = communicator->size;
    return OK;
}

int HcclGetRankId(const Communicator *communicator, uint32_t *rank) {
    *rank = communicator->rank;
    return OK;
}

int HcclSetConfig(int what, int value) {
    (void)what, (void)value; /* determinism: every result is deterministic here */
    return OK;
}
