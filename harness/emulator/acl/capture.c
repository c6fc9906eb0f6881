/* The folder PROF_<n>_<time>_EMULATED of one capture.
 *
 * It has the files that torch_npu itself reads, and in emulated/ those that our stand-in for msprof
 * turns into CANN's tables: config.json, summary.json, device_<n>.jsonl (operators),
 * hccl_<n>.jsonl (collectives), marks.jsonl.
 */
#define _GNU_SOURCE
#include "emulator.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MAX_SETTINGS = 32, MAX_OPTION = 256, PATH_SIZE = 4096 };
enum { MARKS = 0x80 }; /* the bit of the mask that requests marks and ranges */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char result_path[PATH_SIZE - 512];
static char folder[PATH_SIZE - 256];
static char settings[MAX_SETTINGS][MAX_OPTION]; /* by type: the last value of each wins */
static Config active;
static atomic_bool recording;
static FILE *launches[MAX_DEVICES], *collectives[MAX_DEVICES], *marks;
static uint64_t capture_begin_ns;
static int64_t epoch_offset_ns; /* wall clock − CLOCK_MONOTONIC_RAW, as start_info states it */
static atomic_ullong correlations;

/* --- writing ------------------------------------------------------------------------------- */

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

void put_devices(FILE *out, const Config *config) {
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
    fprintf(out, "{\"emulated\":true,\"level\":\"%s\",", level);
    fprintf(out, "\"aicore_metrics\":%d,", active.metrics);
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

/* Both clocks at one time: ranks compare theirs. What interrupts in between would set them apart. */
static uint64_t read_clocks(struct timespec *now) {
    uint64_t raw_ns = 0;
    for (int attempt = 0; attempt < 100; attempt++) {
        raw_ns = monotonic_ns();
        clock_gettime(CLOCK_REALTIME, now);
        if (monotonic_ns() - raw_ns < 5000) {
            break;
        }
    }
    return raw_ns;
}

static bool write_start(void) {
    struct timespec now;
    const uint64_t raw_ns = capture_begin_ns = read_clocks(&now);
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
                      "{\"emulated\": true, "
                      "\"CPU\": [{\"Id\": 0, \"Frequency\": \"1000.0\"}]}\n") &&
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
    if (active.mask & MARKS && !(marks = create("emulated/marks.jsonl"))) {
        return false;
    }
    return write_start() && write_config();
}

static void close_file(FILE **file) {
    if (*file) {
        fclose(*file);
        *file = NULL;
    }
}

static bool close_capture(void) {
    for (int device = 0; device < MAX_DEVICES; device++) {
        close_file(&launches[device]);
        close_file(&collectives[device]);
    }
    close_file(&marks);
    FILE *summary = create("emulated/summary.json");
    if (summary) {
        put_tally(summary);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return summary && !fclose(summary) &&
           write_file("host/end_info",
                      "{\"collectionTimeEnd\": \"%lld\", \"clockMonotonicRaw\": \"%llu\", "
                      "\"emulated\": \"true\"}\n",
                      (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000,
                      (unsigned long long)monotonic_ns());
}

/* --- one launched operator ----------------------------------------------------------------- */

/* Where and when something ran, on the device and on the host. */
void put_run(FILE *out, const Stream *stream, uint64_t start_ns, uint64_t duration_ns,
             uint64_t begin_ns, uint64_t end_ns) {
    fprintf(out, "\"stream\":%d,\"device\":%d,", stream->id, stream->device);
    fprintf(out, "\"start_ns\":%lld,\"duration_ns\":%llu,", (long long)start_ns + epoch_offset_ns,
            (unsigned long long)duration_ns);
    fprintf(out, "\"host_start_ns\":%lld,\"host_end_ns\":%lld,\"thread\":%ld,",
            (long long)begin_ns + epoch_offset_ns, (long long)end_ns + epoch_offset_ns,
            syscall(SYS_gettid));
    fprintf(out, "\"correlation\":%llu", ++correlations);
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
        count_launch(launch->name, computed);
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
        fputs("],", out);
        put_run(out, stream, start_ns, duration_ns, begin_ns, end_ns);
        fprintf(out, ",\"computed\":%s,\"emulated\":true}\n", computed ? "true" : "false");
    }
    pthread_mutex_unlock(&lock);
}

/* --- one collective ------------------------------------------------------------------------ */

FILE *begin_collective(int device) {
    pthread_mutex_lock(&lock);
    if (recording && launches[device] && !collectives[device]) {
        char name[64];
        snprintf(name, sizeof name, "emulated/hccl_%d.jsonl", device);
        collectives[device] = create(name);
    }
    if (!collectives[device]) {
        pthread_mutex_unlock(&lock);
    }
    return collectives[device];
}

void end_collective(void) { pthread_mutex_unlock(&lock); }

/* --- marks and ranges ---------------------------------------------------------------------- */

void record_mark(const char *message, const char *domain, const void *stream, uint64_t begin_ns,
                 uint64_t end_ns) {
    pthread_mutex_lock(&lock);
    if (recording && marks && begin_ns >= capture_begin_ns) {
        fputs("{\"message\":", marks);
        put_text(marks, message);
        fputs(",\"domain\":", marks);
        put_text(marks, domain);
        fprintf(marks, ",\"start_ns\":%lld,\"end_ns\":%lld,\"thread\":%ld,",
                (long long)begin_ns + epoch_offset_ns,
                (long long)end_ns + epoch_offset_ns, syscall(SYS_gettid));
        if (stream) {
            fprintf(marks, "\"stream\":%d,", ((const Stream *)stream)->id);
        }
        fputs("\"emulated\":true}\n", marks);
    }
    pthread_mutex_unlock(&lock);
}

/* --- begin and end ------------------------------------------------------------------------- */

int set_result_path(const char *path, size_t length) {
    if (length >= sizeof result_path) {
        return INVALID_PARAMETER;
    }
    memcpy(result_path, path, length);
    result_path[length] = '\0';
    memset(settings, 0, sizeof settings);
    return OK;
}

int set_setting(int type, const char *value, size_t length) {
    if (is_rejected(type)) {
        return NOT_SUPPORTED;
    }
    if (type < 0 || type >= MAX_SETTINGS || length >= MAX_OPTION) {
        return INVALID_PARAMETER;
    }
    memcpy(settings[type], value, length);
    settings[type][length] = '\0';
    return OK;
}

int start_capture(const Config *config) {
    if (is_set("HARNESS_EMULATOR_START_FAILS")) {
        return START_FAILED;
    }
    pthread_mutex_lock(&lock);
    int result = PROFILING_ALREADY_ON;
    if (!recording) {
        active = *config;
        reset_tally();
        result = open_capture() ? OK : CANNOT_WRITE;
        recording = result == OK;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int stop_capture(void) {
    pthread_mutex_lock(&lock);
    int result = PROFILING_NOT_ON;
    if (recording) {
        recording = false;
        result = close_capture() ? OK : CANNOT_WRITE;
    }
    pthread_mutex_unlock(&lock);
    return result;
}
