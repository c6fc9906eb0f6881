/* Profiling: what is asked of the aclprof functions, and what they leave in PROF_*.
 *
 * $HARNESS_EMULATOR_RECORD  a file that receives every call with its arguments, a JSON line each
 * PROF_<n>_<time>_EMULATED  the folder of one capture: what torch_npu reads of it itself, and in
 *                           emulated/ what our stand-in for msprof turns into CANN's tables
 */
#define _GNU_SOURCE
#include "emulator.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PROFILING_ALREADY_ON = 100042, PROFILING_NOT_ON = 100043, CANNOT_WRITE = 100004 };
enum { MAX_SETTINGS = 32, PATH_SIZE = 4096, MAX_OPTION = 256 };

typedef struct {
    uint32_t devices[MAX_DEVICES];
    uint32_t count;
    int metrics;
    uint64_t mask;
} Config;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char result_path[PATH_SIZE - 512];
static char folder[PATH_SIZE - 256];
static char settings[MAX_SETTINGS][MAX_OPTION]; /* by type: the last value of each wins */
static Config active;
static atomic_bool recording;
static FILE *launches[MAX_DEVICES];
static int64_t epoch_offset_ns; /* wall clock − CLOCK_MONOTONIC_RAW, as start_info states it */
static atomic_ullong correlations;
static unsigned long long computed_launches, uncomputed_launches;

/* --- writing ------------------------------------------------------------------------------- */

static void put_text(FILE *out, const char *text) {
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', out);
        }
        if ((unsigned char)*text < ' ') {
            fprintf(out, "\\u%04x", *text);
        } else {
            fputc(*text, out);
        }
    }
    fputc('"', out);
}

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

static FILE *create(const char *name) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, "we");
}

static bool make_folder(const char *name) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return !mkdir(path, 0750) || errno == EEXIST;
}

static bool write_file(const char *name, const char *format, ...) {
    FILE *out = create(name);
    if (!out) {
        return false;
    }
    va_list arguments;
    va_start(arguments, format);
    vfprintf(out, format, arguments);
    va_end(arguments);
    return !fclose(out);
}

static void put_devices(FILE *out, const Config *config) {
    for (uint32_t i = 0; i < config->count; i++) {
        fprintf(out, "%s%u", i ? "," : "", config->devices[i]);
    }
}

/* --- the folder of one capture ------------------------------------------------------------- */

static bool write_config(void) {
    FILE *out = create("emulated/config.json");
    if (!out) {
        return false;
    }
    /* The bits that torch_npu sets for a level, without those of other settings. */
    const uint64_t level_bits = active.mask & 0x92f;
    const char *level = level_bits == 0x12f   ? "Level2"
                        : level_bits == 0x27  ? "Level1"
                        : level_bits == 0x801 ? "Level0"
                                              : "Level_none";
    fprintf(out, "{\"emulated\":true,\"level\":\"%s\",\"aicore_metrics\":%d,", level, active.metrics);
    fprintf(out, "\"data_type_config\":%llu,\"devices\":[", (unsigned long long)active.mask);
    put_devices(out, &active);
    fprintf(out, "],\"epoch_offset_ns\":%lld,\"settings\":{", (long long)epoch_offset_ns);
    const char *comma = "";
    for (int type = 0; type < MAX_SETTINGS; type++) {
        if (*settings[type]) {
            fprintf(out, "%s\"%d\":", comma, type);
            put_text(out, settings[type]);
            comma = ",";
        }
    }
    fprintf(out, "}}\n");
    return !fclose(out);
}

static bool write_start(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t raw_ns = monotonic_ns();
    const int64_t epoch_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    epoch_offset_ns = epoch_us * 1000 - (int64_t)raw_ns;
    return write_file("host/start_info",
                      "{\"collectionTimeBegin\": \"%lld\", \"clockMonotonicRaw\": \"%llu\", "
                      "\"emulated\": \"true\"}\n",
                      (long long)epoch_us, (unsigned long long)raw_ns) &&
           write_file("host/host_start.log",
                      "[Host]\nclock_monotonic_raw: %llu\ncntvct: %llu\nemulated: true\n",
                      (unsigned long long)raw_ns, (unsigned long long)raw_ns) &&
           write_file("host/info.json",
                      "{\"emulated\": true, \"CPU\": [{\"Id\": 0, \"Frequency\": \"1000.0\"}]}\n") &&
           write_file("host/sample.json",
                      "{\"emulated\": true, \"ai_core_metrics\": %d, \"dataTypeConfig\": %llu}\n",
                      active.metrics, (unsigned long long)active.mask);
}

static bool open_capture(void) {
    static int captures;
    char when[32];
    struct timespec now;
    struct tm local;
    clock_gettime(CLOCK_REALTIME, &now);
    strftime(when, sizeof when, "%Y%m%d%H%M%S", localtime_r(&now.tv_sec, &local));
    snprintf(folder, sizeof folder, "%s/PROF_%06d_%s%03ld_EMULATED", result_path, ++captures, when,
             now.tv_nsec / 1000000);
    if (!make_folder("") || !make_folder("host") || !make_folder("emulated")) {
        return false;
    }
    for (uint32_t i = 0; i < active.count; i++) {
        char name[64];
        const char *pattern[] = {"device_%u", "device_%u/data"};
        for (int each = 0; each < 2; each++) {
            snprintf(name, sizeof name, pattern[each], active.devices[i]);
            if (!make_folder(name)) {
                return false;
            }
        }
        snprintf(name, sizeof name, "emulated/device_%u.jsonl", active.devices[i]);
        if (!(launches[active.devices[i]] = create(name))) {
            return false;
        }
    }
    return write_start() && write_config();
}

static bool close_capture(void) {
    for (int device = 0; device < MAX_DEVICES; device++) {
        if (launches[device]) {
            fclose(launches[device]);
            launches[device] = NULL;
        }
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return write_file("host/end_info",
                      "{\"collectionTimeEnd\": \"%lld\", \"clockMonotonicRaw\": \"%llu\", "
                      "\"emulated\": \"true\"}\n",
                      (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000,
                      (unsigned long long)monotonic_ns()) &&
           write_file("emulated/summary.json",
                      "{\"emulated\":true,\"operators_computed\":%llu,"
                      "\"operators_not_computed\":%llu}\n",
                      computed_launches, uncomputed_launches);
}

/* --- one launched operator ----------------------------------------------------------------- */

static const char *dtype_name(int dtype) {
    static const char *names[] = {"FLOAT", "FLOAT16", "INT8", "INT32", "UINT8", "UNDEFINED",
                                  "INT16", "UINT16", "UINT32", "INT64", "UINT64", "DOUBLE",
                                  "BOOL", "STRING", "UNDEFINED", "UNDEFINED", "COMPLEX64",
                                  "COMPLEX128"};
    const int known = sizeof names / sizeof *names;
    return dtype == BFLOAT16 ? "DT_BF16" : dtype >= 0 && dtype < known ? names[dtype] : "UNDEFINED";
}

static const char *format_name(int format) {
    switch (format) {
    case 0: return "NCHW";
    case 1: return "NHWC";
    case 3: return "NC1HWC0";
    case 29: return "FRACTAL_NZ";
    case 30: return "NCDHW";
    case 47: return "NCL";
    default: return "ND";
    }
}

static int64_t put_tensors(FILE *out, const Launch *launch, int from, int to) {
    int64_t bytes = 0;
    for (int i = from; i < to; i++) {
        const Tensor *tensor = launch->tensors[i];
        fprintf(out, "%s{\"shape\":[", i > from ? "," : "");
        for (int dim = 0; dim < tensor->dims; dim++) {
            fprintf(out, "%s%lld", dim ? "," : "", (long long)tensor->shape[dim]);
        }
        fprintf(out, "],\"dtype\":\"%s\",\"format\":\"%s\"}", dtype_name(tensor->dtype),
                format_name(tensor->format));
        bytes += element_count(tensor) * (int64_t)element_size(tensor->dtype);
    }
    return bytes;
}

/* aclnnInplaceAdd, aclnnAdds: CANN's tables know both as the kernel Add. */
static void put_type(FILE *out, const char *name) {
    name += strncmp(name, "aclnn", 5) ? 0 : 5;
    name += strncmp(name, "Inplace", 7) ? 0 : 7;
    size_t length = strlen(name);
    static const char *scalar_variants[] = {"Adds", "Subs", "Muls", "Divs"};
    for (int i = 0; i < 4; i++) {
        length -= !strcmp(name, scalar_variants[i]);
    }
    fprintf(out, "\"%.*s\"", (int)length, name);
}

void record_launch(const Launch *launch, Stream *stream, uint64_t begin_ns) {
    if (!recording) {
        return;
    }
    const bool computed = launch->kernel && launch->kernel->compute;
    const uint64_t end_ns = monotonic_ns();
    pthread_mutex_lock(&lock);
    FILE *out = launches[stream->device];
    if (out) {
        computed ? computed_launches++ : uncomputed_launches++;
        const int first_output = launch->count - launch->outputs;
        fprintf(out, "{\"op\":\"%s\",\"type\":", launch->name);
        put_type(out, launch->name);
        fputs(",\"inputs\":[", out);
        int64_t bytes = put_tensors(out, launch, 0, first_output);
        fputs("],\"outputs\":[", out);
        bytes += launch->outputs ? put_tensors(out, launch, first_output, launch->count)
                                 : put_tensors(out, launch, 0, launch->count ? 1 : 0);
        /* Invented: a fixed cost and 1 TB/s, one operator of a stream after the other. */
        const uint64_t duration_ns = 1500 + (uint64_t)bytes / 1000;
        const uint64_t earliest_ns = begin_ns + 1000;
        const uint64_t start_ns =
            earliest_ns > stream->busy_until_ns ? earliest_ns : stream->busy_until_ns;
        stream->busy_until_ns = start_ns + duration_ns;
        fprintf(out, "],\"stream\":%d,\"device\":%d,", stream->id, stream->device);
        fprintf(out, "\"start_ns\":%lld,\"duration_ns\":%llu,",
                (long long)start_ns + epoch_offset_ns, (unsigned long long)duration_ns);
        fprintf(out, "\"host_start_ns\":%lld,\"host_end_ns\":%lld,\"thread\":%ld,",
                (long long)begin_ns + epoch_offset_ns, (long long)end_ns + epoch_offset_ns,
                syscall(SYS_gettid));
        fprintf(out, "\"correlation\":%llu,\"computed\":%s,\"emulated\":true}\n", ++correlations,
                computed ? "true" : "false");
    }
    pthread_mutex_unlock(&lock);
}

/* --- what torch_npu calls ------------------------------------------------------------------ */

int aclprofInit(const char *path, size_t length) {
    const bool fits = length < sizeof result_path;
    if (fits) {
        memcpy(result_path, path, length);
        result_path[length] = '\0';
        memset(settings, 0, sizeof settings);
    }
    char *text = quoted(path, length);
    record_call("aclprofInit", fits ? OK : INVALID_PARAMETER, ",\"path\":%s", text);
    free(text);
    return fits ? OK : INVALID_PARAMETER;
}

int aclprofFinalize(void) { return record_call("aclprofFinalize", OK, "%s", ""); }

int aclprofSetConfig(int type, const char *value, size_t length) {
    const bool fits = type >= 0 && type < MAX_SETTINGS && length < MAX_OPTION;
    if (fits) {
        memcpy(settings[type], value, length);
        settings[type][length] = '\0';
    }
    char *text = quoted(value, length);
    const int result = fits ? OK : INVALID_PARAMETER;
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
    pthread_mutex_lock(&lock);
    int result = PROFILING_ALREADY_ON;
    if (!recording) {
        active = *config;
        computed_launches = uncomputed_launches = 0;
        result = open_capture() ? OK : CANNOT_WRITE;
        recording = result == OK;
    }
    pthread_mutex_unlock(&lock);
    return record_with_config("aclprofStart", result, config);
}

int aclprofStop(const Config *config) {
    pthread_mutex_lock(&lock);
    int result = PROFILING_NOT_ON;
    if (recording) {
        recording = false;
        result = close_capture() ? OK : CANNOT_WRITE;
    }
    pthread_mutex_unlock(&lock);
    return record_with_config("aclprofStop", result, config);
}

int aclprofRegisterDeviceCallback(void) {
    return record_call("aclprofRegisterDeviceCallback", OK, "%s", "");
}

int aclprofMarkEx(const char *message, size_t length, void *stream) {
    char *text = quoted(message, length);
    const int id = stream_or_default(stream)->id;
    record_call("aclprofMarkEx", OK, ",\"message\":%s,\"stream\":%d", text, id);
    free(text);
    return OK;
}

int aclopStartDumpArgs(uint32_t type, const char *path) {
    char *text = quoted(path, strlen(path));
    record_call("aclopStartDumpArgs", OK, ",\"type\":%u,\"path\":%s", type, text);
    free(text);
    return OK;
}

int aclopStopDumpArgs(uint32_t type) {
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

/* $HARNESS_EMULATOR_FEATURES=0 is a CANN that has none of them. */
int aclprofGetSupportedFeatures(size_t *count, void **features) {
    static Feature all[] = {FEATURE("ATTR"), FEATURE("MemoryAccess"), FEATURE("AICORE_SHAPE")};
    const char *wanted = getenv("HARNESS_EMULATOR_FEATURES");
    *count = wanted && !strcmp(wanted, "0") ? 0 : sizeof all / sizeof *all;
    *features = all;
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
