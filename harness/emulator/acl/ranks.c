/* The ranks of a communicator: processes of one machine that share memory and meet in it.
 *
 * The memory has no name in any file system (memfd), so nothing can be left behind: the first rank
 * makes it, the others open it below /proc by what HcclGetRootInfo said. Each rank holds a lock on
 * one byte of it, which the kernel releases when the process ends, in whatever way.
 */
#define _GNU_SOURCE
#include "emulator.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { BUFFERS = 2, POLL_NS = 20000000 };

static const char *const JOIN = "HcclCommInitRootInfo";

typedef struct {
    atomic_int process; /* 0: has not joined */
    atomic_uint turn;   /* the meeting that it comes to, from 1 on */
    Call calls[BUFFERS];
} Rank;

struct Shared {
    uint64_t mark; /* tells this memory from another that has its number */
    atomic_uint size;
    atomic_uint arrived;
    atomic_uint turn; /* meetings that have taken place */
    atomic_int broken; /* the result that every call has from now on */
    Rank ranks[MAX_RANKS];
};

typedef struct {
    char emulated[16];
    uint64_t mark;
    int process, file;
} RootInfo;

static const size_t HEADER_BYTES = (sizeof(struct Shared) + 4095) / 4096 * 4096;

static size_t bytes_of(uint32_t size) {
    return HEADER_BYTES + (size_t)size * BUFFERS * SLOT_BYTES;
}

char *slot_of(const Communicator *communicator, uint32_t rank) {
    char *slots = (char *)communicator->shared + HEADER_BYTES;
    return slots + (rank * BUFFERS + communicator->round % BUFFERS) * SLOT_BYTES;
}

Call *call_of(const Communicator *communicator, uint32_t rank) {
    return &communicator->shared->ranks[rank].calls[communicator->round % BUFFERS];
}

/* --- alive or gone ------------------------------------------------------------------------- */

static struct flock lock_of(uint32_t rank) {
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = rank, .l_len = 1};
}

static bool has_ended(const Communicator *communicator, uint32_t rank) {
    struct flock lock = lock_of(rank);
    return communicator->shared->ranks[rank].process &&
           !fcntl(communicator->file, F_GETLK, &lock) && lock.l_type == F_UNLCK;
}

static void wake(struct Shared *shared) {
    syscall(SYS_futex, &shared->turn, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void sleep_until_turn(struct Shared *shared, unsigned turn) {
    const struct timespec poll = {0, POLL_NS};
    syscall(SYS_futex, &shared->turn, FUTEX_WAIT, turn, &poll, NULL, 0);
}

int break_off(Communicator *communicator, int result) {
    communicator->shared->broken = result;
    wake(communicator->shared);
    return result;
}

/* Seconds of an environment variable that HCCL has, too. */
static int limit_s(const char *variable, int otherwise) {
    const char *text = getenv(variable);
    const int seconds = text ? atoi(text) : 0;
    return seconds > 0 ? seconds : otherwise;
}

/* Breaks off, and says why, if a rank that has not come has ended, or is too late. */
static int blame(Communicator *communicator, unsigned turn, const char *what, bool late,
                 const char *limit) {
    struct Shared *shared = communicator->shared;
    for (uint32_t rank = 0; rank < communicator->size; rank++) {
        Rank *other = &shared->ranks[rank];
        if (other->turn > turn || shared->turn != turn) {
            continue;
        }
        if (has_ended(communicator, rank)) {
            if (other->turn > turn || shared->turn != turn) {
                continue; /* it came, and left then */
            }
            report("%s: rank %u (process %d) has left or ended", what, rank, other->process);
            return break_off(communicator, HCCL_REMOTE);
        }
        if (late) {
            report("%s: rank %u did not come within %s", what, rank, limit);
            return break_off(communicator, HCCL_TIMEOUT);
        }
    }
    return OK;
}

/* Returns when all ranks have come, or with the reason why not. */
static int meet(Communicator *communicator, const char *what, const char *variable, int otherwise) {
    struct Shared *shared = communicator->shared;
    const unsigned turn = shared->turn;
    const int seconds = limit_s(variable, otherwise);
    const uint64_t deadline_ns = monotonic_ns() + (uint64_t)seconds * 1000000000u;
    char limit[64];
    snprintf(limit, sizeof limit, "%d s (%s)", seconds, variable);
    shared->ranks[communicator->rank].turn = turn + 1;
    if (++shared->arrived == communicator->size) {
        shared->arrived = 0;
        shared->turn = turn + 1;
        wake(shared);
        return OK;
    }
    while (shared->turn == turn) {
        if (shared->broken) {
            report("%s: another rank has broken off", what);
            return shared->broken;
        }
        sleep_until_turn(shared, turn);
        const bool late = monotonic_ns() > deadline_ns;
        const int result = blame(communicator, turn, what, late, limit);
        if (result != OK) {
            return result;
        }
    }
    return OK;
}

int exchange(Communicator *communicator, const char *what) {
    if (communicator->shared->broken) {
        report("%s: the communicator has broken off before", what);
        return communicator->shared->broken;
    }
    return meet(communicator, what, "HCCL_EXEC_TIMEOUT", 1836);
}

/* --- begin and end ------------------------------------------------------------------------- */

int make_root(void *info) {
    RootInfo *root = info;
    *root = (RootInfo){.emulated = "emulated", .mark = monotonic_ns(), .process = getpid()};
    root->file = memfd_create("emulated-hccl", MFD_CLOEXEC);
    if (root->file < 0 || ftruncate(root->file, (off_t)HEADER_BYTES) ||
        pwrite(root->file, &root->mark, sizeof root->mark, 0) != sizeof root->mark) {
        report("HcclGetRootInfo: no shared memory: %s", strerror(errno));
        return HCCL_SYSTEM;
    }
    return OK;
}

/* The root has its own file already; closing a second one would release its lock. */
static int open_shared(const RootInfo *root) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", root->process, root->file);
    return root->process == getpid() ? root->file : open(path, O_RDWR | O_CLOEXEC);
}

static int take_place(Communicator *communicator, const RootInfo *root) {
    struct Shared *shared = communicator->shared;
    const uint32_t rank = communicator->rank;
    struct flock lock = lock_of(rank);
    unsigned size = 0;
    if (shared->mark != root->mark) {
        report("%s: process %d is not the root any more", JOIN, root->process);
        return HCCL_REMOTE;
    }
    if (!atomic_compare_exchange_strong(&shared->size, &size, communicator->size) &&
        size != communicator->size) {
        report("%s: %u ranks here, %u elsewhere", JOIN, communicator->size, size);
        return HCCL_PARAMETER;
    }
    if (fcntl(communicator->file, F_SETLK, &lock) || shared->ranks[rank].process) {
        report("%s: there are two ranks %u", JOIN, rank);
        return HCCL_PARAMETER;
    }
    shared->ranks[rank].process = getpid();
    return OK;
}

int join_ranks(Communicator *communicator, const void *info) {
    const RootInfo *root = info;
    if (strcmp(root->emulated, "emulated") || communicator->rank >= communicator->size ||
        communicator->size > MAX_RANKS) {
        report("%s: rank %u of %u: the emulator has at most %d ranks, by its own root info", JOIN,
               communicator->rank, communicator->size, MAX_RANKS);
        return HCCL_PARAMETER;
    }
    communicator->file = open_shared(root);
    if (communicator->file < 0) {
        report("%s: the memory of the root, process %d: %s", JOIN, root->process, strerror(errno));
        return HCCL_REMOTE;
    }
    const size_t bytes = bytes_of(communicator->size);
    /* Each makes room for all, as the root does not know how many they are: this never shrinks. */
    const int failed = posix_fallocate(communicator->file, (off_t)bytes - 1, 1);
    communicator->shared =
        failed ? MAP_FAILED
               : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, communicator->file, 0);
    if (communicator->shared == MAP_FAILED) {
        report("%s: no shared memory: %s", JOIN, strerror(failed ? failed : errno));
        return HCCL_SYSTEM;
    }
    const int result = take_place(communicator, root);
    return result != OK ? result
                        : meet(communicator, JOIN, "HCCL_CONNECT_TIMEOUT", 120);
}

void name_communicator(Communicator *communicator, const char *wanted, const void *info) {
    const RootInfo *root = info;
    if (*wanted) {
        snprintf(communicator->name, sizeof communicator->name, "%s", wanted);
    } else {
        snprintf(communicator->name, sizeof communicator->name, "emulated_%d_%llu", root->process,
                 (unsigned long long)root->mark);
    }
}

void leave_ranks(Communicator *communicator) {
    if (communicator->shared && communicator->shared != MAP_FAILED) {
        munmap(communicator->shared, bytes_of(communicator->size));
    }
    if (communicator->file >= 0) {
        close(communicator->file);
    }
}
