/* mstx: the program's own marks and ranges. */
#include "emulator.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct Range {
    struct Range *next;
    uint64_t id;
    uint64_t begin_ns;
    const void *stream;
    char *message;
} Range;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Range *open_ranges;
static uint64_t last_id; /* 0 is "no range" */

/* A domain is its name. */
static const char *name_of(const void *domain) { return domain ? domain : "default"; }

void *mstxDomainCreateA(const char *name) { return strdup(name); }

void mstxDomainDestroy(void *domain) { free(domain); }

void mstxDomainMarkA(const void *domain, const char *message, const void *stream) {
    const uint64_t now_ns = monotonic_ns();
    record_mark(message, name_of(domain), stream, now_ns, now_ns);
}

void mstxMarkA(const char *message, const void *stream) { mstxDomainMarkA(NULL, message, stream); }

uint64_t mstxDomainRangeStartA(const void *domain, const char *message, const void *stream) {
    (void)domain; /* comes again at the end */
    Range *range = malloc(sizeof *range);
    pthread_mutex_lock(&lock);
    const uint64_t id = ++last_id;
    *range = (Range){open_ranges, id, monotonic_ns(), stream, strdup(message)};
    open_ranges = range;
    pthread_mutex_unlock(&lock);
    return id;
}

uint64_t mstxRangeStartA(const char *message, const void *stream) {
    return mstxDomainRangeStartA(NULL, message, stream);
}

void mstxDomainRangeEnd(const void *domain, uint64_t id) {
    pthread_mutex_lock(&lock);
    Range **at = &open_ranges;
    while (*at && (*at)->id != id) {
        at = &(*at)->next;
    }
    Range *ended = *at;
    if (ended) {
        *at = ended->next;
    }
    pthread_mutex_unlock(&lock);
    if (ended) {
        record_mark(ended->message, name_of(domain), ended->stream, ended->begin_ns,
                    monotonic_ns());
        free(ended->message);
        free(ended);
    }
}

void mstxRangeEnd(uint64_t id) { mstxDomainRangeEnd(NULL, id); }

/* Memory pools are described to tools that check memory: none here. */
void *mstxMemHeapRegister(void *domain, const void *description) {
    (void)description;
    return domain;
}

void mstxMemHeapUnregister(void *domain, void *heap) { (void)domain, (void)heap; }
void mstxMemRegionsRegister(void *domain, const void *batch) { (void)domain, (void)batch; }
void mstxMemRegionsUnregister(void *domain, const void *batch) { (void)domain, (void)batch; }
