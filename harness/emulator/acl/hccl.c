/* HCCL: collectives over the ranks of one machine, computed in memory that they share.
 *
 * A call returns when it is done: every rank has come, and the numbers are there. On the invented
 * timeline it begins when this rank's stream gets to it, and ends on all ranks at once, so that the
 * last rank has the shortest.
 */
#include "emulator.h"

#include <string.h>

enum { ELEMENT_TYPES = 12, NO_REDUCTION = -1 };

/* HcclDataType → aclDataType */
static const int dtypes[ELEMENT_TYPES] = {INT8,  INT16,  INT32,      FLOAT16, FLOAT32, INT64,
                                          10, UINT8, 7, 8, FLOAT64, BFLOAT16};

/* What a collective does with the parts of one round. */
typedef struct {
    const Communicator *communicator;
    const Call *call;
    char *result; /* of this rank, where this round's elements go */
    size_t count; /* of elements in this round */
    size_t each;  /* bytes of an element */
    size_t apart; /* bytes between the results of two ranks */
} Round;

static void copy_from_root(const Round *round) {
    const char *slot = slot_of(round->communicator, round->call->root);
    memcpy(round->result, slot, round->count * round->each);
}

static void copy_from_all(const Round *round) {
    for (uint32_t rank = 0; rank < round->communicator->size; rank++) {
        memcpy(round->result + rank * round->apart, slot_of(round->communicator, rank),
               round->count * round->each);
    }
}

static void reduce_all(const Round *round) {
    char *parts[MAX_RANKS];
    for (uint32_t rank = 0; rank < round->communicator->size; rank++) {
        parts[rank] = slot_of(round->communicator, rank);
    }
    reduce_parts(round->result, parts, round->communicator->size, round->count, round->call->op,
                 round->call->dtype);
}

/* --- the ranks of one call ----------------------------------------------------------------- */

static bool differs(const Call *left, const Call *right) {
    return strcmp(left->name, right->name) || left->count != right->count ||
           left->dtype != right->dtype || left->op != right->op || left->root != right->root;
}

/* The same answer on all ranks: each compares all calls with the first rank's. */
static int compare_calls(Communicator *communicator) {
    const Call *first = call_of(communicator, 0);
    for (uint32_t rank = 1; rank < communicator->size; rank++) {
        const Call *call = call_of(communicator, rank);
        if (differs(first, call)) {
            report("rank 0 calls %s of %llu %s, rank %u %s of %llu %s", first->name,
                   (unsigned long long)first->count, dtype_name(first->dtype), rank, call->name,
                   (unsigned long long)call->count, dtype_name(call->dtype));
            return break_off(communicator, HCCL_PARAMETER);
        }
    }
    return OK;
}

static uint64_t last_ready_ns(const Communicator *communicator) {
    uint64_t last_ns = 0;
    for (uint32_t rank = 0; rank < communicator->size; rank++) {
        const uint64_t ready_ns = call_of(communicator, rank)->ready_ns;
        last_ns = ready_ns > last_ns ? ready_ns : last_ns;
    }
    return last_ns;
}

/* All ranks write their parts, and each takes what it needs. The first exchange, which may have no
 * elements, compares the calls. */
static int run_rounds(Communicator *communicator, const Call *call, const char *part, Round *round,
                      void (*take)(const Round *), uint64_t *last_ns) {
    const size_t most = SLOT_BYTES / round->each;
    size_t done = 0;
    do {
        const size_t left = call->count - done;
        round->count = left < most ? left : most;
        *call_of(communicator, communicator->rank) = *call;
        if (part) {
            memcpy(slot_of(communicator, communicator->rank), part + done * round->each,
                   round->count * round->each);
        }
        int result = exchange(communicator, call->name);
        result = result == OK && !done ? compare_calls(communicator) : result;
        if (result != OK) {
            return result;
        }
        if (!done && last_ns) {
            *last_ns = last_ready_ns(communicator);
        }
        if (take && round->result && round->count) {
            take(round);
            round->result += round->count * round->each;
        }
        communicator->round++;
        done += round->count;
    } while (done < call->count);
    return OK;
}

/* --- the record ---------------------------------------------------------------------------- */

static void record_collective(Communicator *communicator, const Call *call, Stream *stream,
                              uint64_t moved, uint64_t last_ns, uint64_t begin_ns) {
    /* Invented: a fixed cost and 20 GB/s. */
    const uint64_t end_ns = last_ns + 10000 + moved / 20;
    delay_stream(stream, end_ns);
    const uint64_t index = communicator->calls++;
    FILE *out = begin_collective(stream->device);
    if (!out) {
        return;
    }
    fprintf(out, "{\"op\":\"%s\",\"group\":", call->name);
    put_text(out, communicator->name);
    fprintf(out, ",\"index\":%llu,\"rank\":%u,\"ranks\":%u,\"root\":%u,", (unsigned long long)index,
            communicator->rank, communicator->size, call->root);
    fprintf(out, "\"count\":%llu,\"dtype\":\"%s\",", (unsigned long long)call->count,
            dtype_name(call->dtype));
    fprintf(out, "\"moved\":%llu,\"wait_ns\":%llu,", (unsigned long long)moved,
            (unsigned long long)(last_ns - call->ready_ns));
    put_run(out, stream, call->ready_ns, end_ns - call->ready_ns, begin_ns, monotonic_ns());
    fputs(",\"emulated\":true}\n", out);
    end_collective();
}

static Call call_named(const char *name, uint64_t count, int dtype, int op, uint32_t root) {
    Call call = {.count = count, .dtype = dtype, .op = op, .root = root};
    snprintf(call.name, sizeof call.name, "%s", name);
    return call;
}

/* Whether the elements are of a kind that HCCL takes; makes HcclDataType aclDataType. */
static int check(const char *name, const Communicator *communicator, int *type, int op) {
    if (!communicator) {
        report("%s: no communicator", name);
        return HCCL_PARAMETER;
    }
    if (*type < 0 || *type >= ELEMENT_TYPES) {
        report("%s: the data type %d is not emulated", name, *type);
        return HCCL_NOT_SUPPORTED;
    }
    *type = dtypes[*type];
    if (op != NO_REDUCTION && (!is_reducible(*type) || op < REDUCE_SUM || op > REDUCE_MIN)) {
        report("%s: HCCL does not reduce %s by operation %d", name, dtype_name(*type), op);
        return HCCL_NOT_SUPPORTED;
    }
    return OK;
}

static uint64_t begin_call(Communicator *communicator, Call *call, Stream *stream) {
    const uint64_t begin_ns = monotonic_ns(), busy_ns = stream->busy_until_ns;
    communicator->busy++;
    call->ready_ns = busy_ns > begin_ns + 1000 ? busy_ns : begin_ns + 1000;
    return begin_ns;
}

static int simple_collective(Communicator *communicator, Call call, const char *part, char *result,
                             size_t apart, uint64_t moved, void (*take)(const Round *),
                             void *stream_or_null) {
    Stream *stream = stream_or_default(stream_or_null);
    const uint64_t begin_ns = begin_call(communicator, &call, stream);
    uint64_t last_ns = 0;
    Round round = {communicator, &call, result, 0, element_size(call.dtype), apart};
    const int code = run_rounds(communicator, &call, part, &round, take, &last_ns);
    if (code == OK) {
        record_collective(communicator, &call, stream, moved, last_ns, begin_ns);
    }
    communicator->busy--;
    return code;
}

/* --- collectives --------------------------------------------------------------------------- */

int HcclAllReduce(void *from, void *to, uint64_t count, int type, int op, Communicator *ranks,
                  void *stream) {
    const int code = check("HcclAllReduce", ranks, &type, op);
    if (code != OK) {
        return code;
    }
    const Call call = call_named("HcclAllReduce", count, type, op, 0);
    const uint64_t moved = 2 * count * element_size(type) * (ranks->size - 1) / ranks->size;
    return simple_collective(ranks, call, from, to, 0, moved, reduce_all, stream);
}

int HcclBroadcast(void *buffer, uint64_t count, int type, uint32_t root, Communicator *ranks,
                  void *stream) {
    const int code = check("HcclBroadcast", ranks, &type, NO_REDUCTION);
    if (code != OK) {
        return code;
    }
    if (root >= ranks->size) {
        report("HcclBroadcast: there is no rank %u", root);
        return HCCL_PARAMETER;
    }
    const bool is_root = ranks->rank == root;
    const uint64_t moved = ranks->size > 1 ? count * element_size(type) : 0;
    const Call call = call_named("HcclBroadcast", count, type, 0, root);
    return simple_collective(ranks, call, is_root ? buffer : NULL, is_root ? NULL : buffer, 0,
                             moved, copy_from_root, stream);
}

int HcclAllGather(void *from, void *to, uint64_t count, int type, Communicator *ranks,
                  void *stream) {
    const int code = check("HcclAllGather", ranks, &type, NO_REDUCTION);
    if (code != OK) {
        return code;
    }
    const Call call = call_named("HcclAllGather", count, type, 0, 0);
    const size_t bytes = count * element_size(type);
    return simple_collective(ranks, call, from, to, bytes, bytes * (ranks->size - 1), copy_from_all,
                             stream);
}

int HcclBarrier(Communicator *ranks, void *stream) {
    int type = 0;
    const int code = check("HcclBarrier", ranks, &type, NO_REDUCTION);
    const Call call = call_named("HcclBarrier", 0, type, 0, 0);
    return code != OK ? code : simple_collective(ranks, call, NULL, NULL, 0, 0, NULL, stream);
}

/* As many reductions as there are ranks, each for one of them. */
int HcclReduceScatter(void *from, void *to, uint64_t count, int type, int op, Communicator *ranks,
                      void *stream_or_null) {
    int code = check("HcclReduceScatter", ranks, &type, op);
    if (code != OK) {
        return code;
    }
    Stream *stream = stream_or_default(stream_or_null);
    Call call = call_named("HcclReduceScatter", count, type, op, 0);
    const uint64_t begin_ns = begin_call(ranks, &call, stream);
    const size_t bytes = count * element_size(type);
    uint64_t last_ns = 0;
    for (uint32_t rank = 0; rank < ranks->size && code == OK; rank++) {
        char *result = rank == ranks->rank ? to : NULL;
        Round round = {ranks, &call, result, 0, element_size(type), 0};
        code = run_rounds(ranks, &call, (const char *)from + rank * bytes, &round, reduce_all,
                          rank ? NULL : &last_ns);
    }
    if (code == OK) {
        record_collective(ranks, &call, stream, bytes * (ranks->size - 1), last_ns, begin_ns);
    }
    ranks->busy--;
    return code;
}
