/* aclopStartDumpArgs: a file for each operator and its shapes, in the folder of the argument.
 *
 * The content (type, inputs, outputs with shape, data type and format) follows CANN's
 * documentation; names and keys are invented.
 */
#define _GNU_SOURCE
#include "emulator.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_PATH = 4096, MAX_NAME = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char folder[MAX_PATH];
static atomic_bool dumping;

int start_op_args(const char *path) {
    const size_t length = strlen(path);
    if (length >= sizeof folder || (mkdir(path, 0750) && errno != EEXIST)) {
        return CANNOT_WRITE;
    }
    pthread_mutex_lock(&lock);
    memcpy(folder, path, length + 1);
    dumping = true;
    pthread_mutex_unlock(&lock);
    return OK;
}

void stop_op_args(void) { dumping = false; }

static void put_arguments(FILE *out, const Launch *launch) {
    const int first_output = launch->count - launch->outputs;
    fputs("{\"emulated\":true,\"op_type\":", out);
    put_text(out, launch->name);
    fputs(",\"inputs\":[", out);
    put_tensors(out, launch, 0, first_output);
    fputs("],\"outputs\":[", out);
    put_tensors(out, launch, first_output, launch->count);
    fputs("]}\n", out);
}

void record_op_args(const Launch *launch) {
    if (!dumping) {
        return;
    }
    char *text = NULL, path[MAX_PATH + MAX_NAME];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    put_arguments(out, launch);
    fclose(out);
    pthread_mutex_lock(&lock);
    snprintf(path, sizeof path, "%s/%.*s_%016llx.json", folder, MAX_NAME - 32, launch->name,
             (unsigned long long)MsprofGetHashId(text, size));
    /* The same operator with the same shapes has its file already. */
    const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (file >= 0) {
        if (write(file, text, size) < 0) {
            fprintf(stderr, "emulated: cannot write %s: %s\n", path, strerror(errno));
        }
        close(file);
    }
    pthread_mutex_unlock(&lock);
    free(text);
}
