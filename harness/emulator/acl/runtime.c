/* Devices, memory, streams and events: everything happens at once, on the host. */
#define _GNU_SOURCE
#include "emulator.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const size_t DEVICE_BYTES = (size_t)64 << 30;
enum { ALIGNMENT = 512 };

typedef struct {
    uint64_t recorded_ns;
    uint64_t due_ns; /* when the stream reaches it, on the invented timeline of the device */
} Event;

const int harness_emulated = 1;

_Thread_local int current_device = 0;

static Stream default_streams[MAX_DEVICES];
static atomic_int streams_made;
static atomic_size_t bytes_in_use;

uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_RAW, &now); /* the clock that torch_npu stamps its events with */
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- devices ------------------------------------------------------------------------------- */

int device_count(void) {
    const char *wanted = getenv("HARNESS_EMULATOR_DEVICES");
    int count = wanted ? atoi(wanted) : 2;
    return count < 0 ? 0 : count > MAX_DEVICES ? MAX_DEVICES : count;
}

int aclrtGetDeviceCount(uint32_t *count) {
    *count = (uint32_t)device_count();
    return OK;
}

int aclrtSetDevice(int32_t device) {
    if (device < 0 || device >= device_count()) {
        return INVALID_DEVICE;
    }
    current_device = device;
    return OK;
}

int aclrtGetDevice(int32_t *device) {
    *device = current_device;
    return OK;
}

/* A context is the default stream of its device: one pointer that tells the device. */
int aclrtGetCurrentContext(void **context) {
    *context = stream_or_default(NULL);
    return OK;
}

int aclrtSetCurrentContext(void *context) {
    current_device = context ? ((Stream *)context)->device : 0;
    return OK;
}

/* A name that torch_npu knows: the operators that it launches depend on it. */
const char *aclrtGetSocName(void) { return "Ascend910B1"; }

static _Thread_local char last_error[512] = "emulated";

const char *aclGetRecentErrMsg(void) { return last_error; }

void report(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int label = snprintf(last_error, sizeof last_error, "emulated: ");
    vsnprintf(last_error + label, sizeof last_error - (size_t)label, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s\n", last_error);
}

int aclrtDeviceGetBareTgid(int32_t *pid) {
    *pid = getpid();
    return OK;
}

int aclrtDeviceCanAccessPeer(int32_t *can, int32_t device, int32_t peer) {
    *can = device != peer;
    return OK;
}

int aclGetDeviceCapability(uint32_t device, int what, int64_t *value) {
    (void)device, (void)what;
    *value = 0;
    return OK;
}

int aclrtGetSysParamOpt(int option, int64_t *value) {
    (void)option;
    *value = 0;
    return OK;
}

int aclsysGetVersionStr(const char *package, char *version) {
    (void)package;
    strcpy(version, "emulated");
    return OK;
}

/* Returning an error makes torch_npu stamp its events with CLOCK_MONOTONIC_RAW. */
int halGetDeviceInfo(uint32_t device, int32_t module, int32_t what, int64_t *value) {
    (void)device, (void)module, (void)what, (void)value;
    return 1;
}

int halGetAPIVersion(int *version) {
    *version = 0;
    return OK;
}

/* --- memory -------------------------------------------------------------------------------- */

static int allocate(void **address, size_t size) {
    if (bytes_in_use + size > DEVICE_BYTES || posix_memalign(address, ALIGNMENT, size ? size : 1)) {
        return OUT_OF_MEMORY;
    }
    bytes_in_use += malloc_usable_size(*address);
    return OK;
}

static int release(void *address) {
    bytes_in_use -= malloc_usable_size(address);
    free(address);
    return OK;
}

int aclrtMalloc(void **address, size_t size, int policy) {
    (void)policy;
    return allocate(address, size);
}

int aclrtMallocAlign32(void **address, size_t size, int policy) {
    (void)policy;
    return allocate(address, size);
}

int aclrtFree(void *address) { return release(address); }

int aclrtMallocHost(void **address, size_t size) {
    return posix_memalign(address, ALIGNMENT, size ? size : 1) ? OUT_OF_MEMORY : OK;
}

int aclrtFreeHost(void *address) {
    free(address);
    return OK;
}

int aclrtGetMemInfo(int which, size_t *available, size_t *total) {
    (void)which;
    *total = DEVICE_BYTES;
    *available = DEVICE_BYTES - bytes_in_use;
    return OK;
}

int aclrtMemcpy(void *to, size_t room, const void *from, size_t size, int kind) {
    (void)kind;
    if (size > room) {
        return INVALID_PARAMETER;
    }
    memmove(to, from, size);
    return OK;
}

int aclrtMemcpyAsync(void *to, size_t room, const void *from, size_t size, int kind, void *stream) {
    (void)stream;
    return aclrtMemcpy(to, room, from, size, kind);
}

int aclrtMemset(void *to, size_t room, int32_t value, size_t size) {
    if (size > room) {
        return INVALID_PARAMETER;
    }
    memset(to, value, size);
    return OK;
}

int aclrtMemsetAsync(void *to, size_t room, int32_t value, size_t size, void *stream) {
    (void)stream;
    return aclrtMemset(to, room, value, size);
}

/* Expandable segments: the reserved addresses are usable from the start, mapping is no work. */
int aclrtReserveMemAddress(void **address, size_t size, size_t align, void *hint, uint64_t flags) {
    (void)align, (void)hint, (void)flags;
    const int use = PROT_READ | PROT_WRITE, how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    *address = mmap(NULL, size, use, how, -1, 0);
    return *address == MAP_FAILED ? OUT_OF_MEMORY : OK;
}

int aclrtMallocPhysical(void **handle, size_t size, const void *properties, uint64_t flags) {
    (void)size, (void)properties, (void)flags;
    *handle = handle; /* not NULL; never used as an address */
    return OK;
}

/* --- streams and events -------------------------------------------------------------------- */

Stream *stream_or_default(void *stream) {
    if (stream) {
        return stream;
    }
    Stream *own = &default_streams[current_device];
    own->device = current_device;
    return own;
}

static int make_stream(void **stream) {
    Stream *made = calloc(1, sizeof *made);
    if (!made) {
        return OUT_OF_MEMORY;
    }
    made->id = ++streams_made;
    made->device = current_device;
    *stream = made;
    return OK;
}

int aclrtCreateStream(void **stream) { return make_stream(stream); }

int aclrtCreateStreamWithConfig(void **stream, uint32_t priority, uint32_t flag) {
    (void)priority, (void)flag;
    return make_stream(stream);
}

int aclrtDestroyStream(void *stream) {
    free(stream);
    return OK;
}

int aclrtDestroyStreamForce(void *stream) { return aclrtDestroyStream(stream); }

int aclrtStreamGetId(void *stream, int32_t *id) {
    *id = stream_or_default(stream)->id;
    return OK;
}

int aclrtStreamQuery(void *stream, int *status) {
    (void)stream;
    *status = 0; /* complete */
    return OK;
}

int aclrtCreateEventExWithFlag(void **event, uint32_t flag) {
    (void)flag;
    *event = calloc(1, sizeof(Event));
    return *event ? OK : OUT_OF_MEMORY;
}

int aclrtCreateEventWithFlag(void **event, uint32_t flag) {
    return aclrtCreateEventExWithFlag(event, flag);
}

int aclrtDestroyEvent(void *event) {
    free(event);
    return OK;
}

int aclrtRecordEvent(void *event, void *stream) {
    Event *recorded = event;
    recorded->recorded_ns = monotonic_ns();
    recorded->due_ns = stream_or_default(stream)->busy_until_ns;
    return OK;
}

void delay_stream(Stream *stream, uint64_t until_ns) {
    if (stream->busy_until_ns < until_ns) {
        stream->busy_until_ns = until_ns;
    }
}

int aclrtStreamWaitEvent(void *stream, void *event) {
    delay_stream(stream_or_default(stream), ((Event *)event)->due_ns);
    return OK;
}

int aclrtQueryEventStatus(void *event, int *status) {
    (void)event;
    *status = 1; /* complete */
    return OK;
}

int aclrtQueryEventWaitStatus(void *event, int *status) {
    (void)event;
    *status = 0; /* complete */
    return OK;
}

int aclrtEventElapsedTime(float *milliseconds, void *begin, void *end) {
    uint64_t from = ((Event *)begin)->recorded_ns, to = ((Event *)end)->recorded_ns;
    *milliseconds = (float)((double)(int64_t)(to - from) / 1e6);
    return OK;
}

int aclrtEventGetTimestamp(void *event, uint64_t *microseconds) {
    *microseconds = ((Event *)event)->recorded_ns / 1000;
    return OK;
}

int aclrtLaunchCallback(void (*callback)(void *), void *argument, int blocking, void *stream) {
    (void)blocking, (void)stream;
    callback(argument);
    return OK;
}

int aclrtLaunchHostFunc(void *stream, void (*callback)(void *), void *argument) {
    (void)stream;
    callback(argument);
    return OK;
}
