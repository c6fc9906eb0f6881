/* The aclprof functions. $HARNESS_EMULATOR_RECORD names a file that receives every call with its
 * arguments, a JSON line each. */
#define _GNU_SOURCE
#include "emulator.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One call as one line; `format` prints its arguments, each as ,"name":value. The line is written
 * at once, so that several processes may share a file. */
static int record_call(const char *call, int result, const char *format, ...) {
    const char *path = getenv("HARNESS_EMULATOR_RECORD");
    if (!path) {
        return result;
    }
    char *line = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&line, &size);
    fprintf(out, "{\"call\":\"%s\",\"pid\":%d", call, getpid());
    va_list arguments;
    va_start(arguments, format);
    vfprintf(out, format, arguments);
    va_end(arguments);
    fprintf(out, ",\"result\":%d,\"emulated\":true}\n", result);
    fclose(out);
    const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (file < 0 || write(file, line, size) < 0) {
        fprintf(stderr, "emulated: cannot record to %s: %s\n", path, strerror(errno));
    }
    if (file >= 0) {
        close(file);
    }
    free(line);
    return result;
}

/* A value as JSON text, in a buffer that the caller frees. */
static char *quoted(const char *text, size_t length) {
    char *copy = strndup(text ? text : "", length), *value = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&value, &size);
    put_text(out, copy);
    fclose(out);
    free(copy);
    return value;
}

int aclprofInit(const char *path, size_t length) {
    const int result = set_result_path(path, length);
    char *text = quoted(path, length);
    record_call("aclprofInit", result, ",\"path\":%s", text);
    free(text);
    return result;
}

int aclprofFinalize(void) { return record_call("aclprofFinalize", OK, "%s", ""); }

int aclprofSetConfig(int type, const char *value, size_t length) {
    const int result = set_setting(type, value, length);
    char *text = quoted(value, length);
    record_call("aclprofSetConfig", result, ",\"type\":%d,\"value\":%s", type, text);
    free(text);
    return result;
}

static int record_with_config(const char *call, int result, const Config *config) {
    char *list = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&list, &size);
    put_devices(out, config);
    fclose(out);
    const char *format = ",\"devices\":[%s],\"aicore_metrics\":%d,\"data_type_config\":%llu";
    record_call(call, result, format, list, config->metrics, (unsigned long long)config->mask);
    free(list);
    return result;
}

void *aclprofCreateConfig(const uint32_t *devices, uint32_t count, int metrics, const void *events,
                          uint64_t mask) {
    (void)events;
    Config *config = calloc(1, sizeof *config);
    if (!config || count > MAX_DEVICES) {
        free(config);
        return NULL;
    }
    config->count = count;
    config->metrics = metrics;
    config->mask = mask;
    for (uint32_t i = 0; i < count; i++) {
        config->devices[i] = devices[i];
    }
    record_with_config("aclprofCreateConfig", OK, config);
    return config;
}

int aclprofDestroyConfig(Config *config) {
    record_with_config("aclprofDestroyConfig", OK, config);
    free(config);
    return OK;
}

int aclprofWarmup(const Config *config) { return record_with_config("aclprofWarmup", OK, config); }

int aclprofStart(const Config *config) {
    return record_with_config("aclprofStart", start_capture(config), config);
}

int aclprofStop(const Config *config) {
    const int result = record_with_config("aclprofStop", stop_capture(), config);
    if (is_set("HARNESS_EMULATOR_CRASH_AT_STOP")) {
        fprintf(stderr, "emulated: aclprofStop crashes, as asked\n");
        raise(SIGSEGV);
    }
    return result;
}

int aclprofRegisterDeviceCallback(void) {
    return record_call("aclprofRegisterDeviceCallback", OK, "%s", "");
}

/* Where torch_npu finds no lib64/libms_tools_ext.so in CANN's home, marks come here, without their
 * domain. */
int aclprofMarkEx(const char *message, size_t length, const void *stream) {
    char *copy = strndup(message, length), *text = quoted(message, length);
    const uint64_t now_ns = monotonic_ns();
    record_mark(copy, "default", stream, now_ns, now_ns);
    record_call("aclprofMarkEx", OK, ",\"message\":%s", text);
    free(text);
    free(copy);
    return OK;
}

int aclopStartDumpArgs(uint32_t type, const char *path) {
    const int result = start_op_args(path);
    char *text = quoted(path, strlen(path));
    record_call("aclopStartDumpArgs", result, ",\"type\":%u,\"path\":%s", type, text);
    free(text);
    return result;
}

int aclopStopDumpArgs(uint32_t type) {
    stop_op_args();
    return record_call("aclopStopDumpArgs", OK, ",\"type\":%u", type);
}

/* C++ classes with a virtual destructor on torch_npu's side, hence the unused pointers in front. */
typedef struct {
    const void *virtual_functions;
    char name[64];
    struct {
        const void *virtual_functions;
        char compatibility[16], version[16], component[16], component_version[16], log[128];
    } info;
} Feature;

#define FEATURE(name) {NULL, name, {NULL, "1", "1", "all", "all", "emulated"}}

int aclprofGetSupportedFeatures(size_t *count, void **features) {
    static const Feature all[] = {FEATURE("ATTR"), FEATURE("MemoryAccess"),
                                  FEATURE("AICORE_SHAPE")};
    static Feature found[sizeof all / sizeof *all];
    *count = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (has_feature(all[i].name)) {
            found[(*count)++] = all[i];
        }
    }
    *features = found;
    return record_call("aclprofGetSupportedFeatures", OK, ",\"count\":%zu", *count);
}

uint64_t MsprofSysCycleTime(void) { return monotonic_ns(); }

uint64_t MsprofGetHashId(const char *text, size_t length) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3u;
    }
    return hash;
}
