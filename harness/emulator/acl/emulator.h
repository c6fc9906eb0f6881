/* Shared declarations of a stand-in for CANN, just large enough for torch_npu's profiling path.
 *
 * Host memory stands for device memory, every stream is always idle, every operator is accepted and
 * a few are computed. All times and all files are invented, and labelled `emulated`.
 */
#ifndef HARNESS_EMULATOR_H
#define HARNESS_EMULATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { MAX_DIMS = 16, MAX_DEVICES = 16, MAX_WORDS = 48, MAX_TENSORS = 2048, FLOAT_REGISTERS = 8 };

/* Also compiled for wider registers; the loader chooses the best version for the machine. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("avx2", "default")))
#else
#define WIDE
#endif

/* Results of ACL calls. */
enum {
    OK = 0,
    INVALID_PARAMETER = 100000,
    INVALID_DEVICE = 107001,
    CANNOT_WRITE = 100004,
    PROFILING_ALREADY_ON = 100042,
    PROFILING_NOT_ON = 100043,
    NOT_SUPPORTED = 200001, /* as of a setting that this CANN does not have */
    START_FAILED = 500000,  /* "internal error" */
    OUT_OF_MEMORY = 207001,
    NOT_COMPUTED = 561000, /* aclnn's "runtime error inside the operator" */
};

/* HcclResult: results of HCCL calls, where 0 is success, too. */
enum {
    HCCL_PARAMETER = 1,
    HCCL_MEMORY = 3,
    HCCL_NOT_SUPPORTED = 5,
    HCCL_SYSTEM = 8,
    HCCL_TIMEOUT = 9,
    HCCL_REMOTE = 21,
};

/* aclDataType, as far as the emulator reads elements. */
enum {
    FLOAT32 = 0,
    FLOAT16 = 1,
    INT8 = 2,
    INT32 = 3,
    UINT8 = 4,
    INT16 = 6,
    INT64 = 9,
    FLOAT64 = 11,
    BOOLEAN = 12,
    BFLOAT16 = 27,
};

typedef struct {
    int id;
    int device;
    _Atomic uint64_t busy_until_ns; /* on the invented timeline of the device */
} Stream;

typedef struct {
    char *data;
    int64_t offset; /* in elements */
    int64_t shape[MAX_DIMS];
    int64_t stride[MAX_DIMS];
    int dims;
    int dtype;
    int format;
} Tensor;

typedef struct {
    uint64_t size;
    void *items[]; /* tensors, or scalars */
} List;

typedef struct {
    double value;
    int dtype;
} Scalar;

typedef struct {
    uint64_t size;
    int64_t values[];
} IntArray;

/* aclprofConfig: what is to be profiled. */
typedef struct {
    uint32_t devices[MAX_DEVICES];
    uint32_t count;
    int metrics;
    uint64_t mask;
} Config;

/* One call of a collective, as a rank makes it. */
typedef struct {
    char name[24]; /* HcclAllReduce */
    uint64_t count; /* of elements: of one rank's part */
    int32_t dtype;
    int32_t op;
    uint32_t root;
    uint64_t ready_ns; /* when this rank's stream gets to it */
} Call;

typedef struct Shared Shared;

/* One rank of a communicator. */
typedef struct {
    Shared *shared;
    int file;
    uint32_t size, rank;
    uint64_t round; /* of exchanges: buffers alternate */
    uint64_t calls;
    _Atomic int busy; /* threads within a call */
    char name[128];
} Communicator;

enum { MAX_RANKS = 64, SLOT_BYTES = 1 << 20 };

/* HcclReduceOp */
enum { REDUCE_SUM = 0, REDUCE_PRODUCT = 1, REDUCE_MAX = 2, REDUCE_MIN = 3 };

typedef struct Launch Launch;

enum { ALL_OF_LIST = -1 };

/* An operator that is computed, or one whose outputs are not just its last tensor. */
typedef struct {
    const char *name;
    void (*compute)(const Launch *launch); /* NULL: accepted, not computed */
    int outputs; /* 0: in place; ALL_OF_LIST: those of the last list */
    double (*function)(double left, double right); /* of element-wise operators */
    int layout; /* the place of a layout's text (BNSD...) among the arguments; 0: none */
} Kernel;

/* One operator call, between its two phases. */
struct Launch {
    const char *name;
    const Kernel *kernel; /* NULL: unknown, so not computed */
    const Tensor *tensors[MAX_TENSORS]; /* in argument order, lists spread out */
    int count;
    int outputs; /* the last of them; none: the operator works in place, on the first */
    uintptr_t words[MAX_WORDS]; /* arguments that are no floating-point numbers, in order */
    double floats[FLOAT_REGISTERS];
    char layout[8]; /* of attention's tensors, e.g. BNSD */
};

/* runtime.c */
extern const int harness_emulated; /* tells a process that it runs on the emulator */
extern _Thread_local int current_device;
int device_count(void);
Stream *stream_or_default(void *stream);
uint64_t monotonic_ns(void);
void delay_stream(Stream *stream, uint64_t until_ns);
void report(const char *format, ...); /* as the last error, and on stderr */

/* ranks.c */
int make_root(void *info);
int join_ranks(Communicator *communicator, const void *info);
void name_communicator(Communicator *communicator, const char *wanted, const void *info);
void leave_ranks(Communicator *communicator);
int break_off(Communicator *communicator, int result); /* for all ranks; returns the result */
Call *call_of(const Communicator *communicator, uint32_t rank); /* in this round */
char *slot_of(const Communicator *communicator, uint32_t rank); /* in this round */
int exchange(Communicator *communicator, const char *what); /* all have written calls and slots */

/* reduce.c */
bool is_reducible(int dtype);
void reduce_parts(char *result, char *const *parts, uint32_t ranks, size_t count, int op,
                  int dtype);

/* elements.c */
size_t element_size(int dtype);
double load_element(const char *at, int dtype);
void store_element(char *at, int dtype, double value);
int64_t element_count(const Tensor *tensor);
void *allocate_values(int64_t count, size_t each);
char **addresses(const Tensor *tensor, const Tensor *like);
double *read_as(const Tensor *tensor, const Tensor *like);
double *read_all(const Tensor *tensor);
void write_all(const Tensor *tensor, double *values);
void fill_with(const Tensor *tensor, double value);
void fill_with_zeros(const Tensor *tensor);
void copy_tensor(const Tensor *from, const Tensor *to);
const Tensor *result_of(const Launch *launch);
const Tensor *tensor_at(const Launch *launch, int word);
double scalar_at(const Launch *launch, int word);
int dim_at(const Launch *launch, int word, const Tensor *tensor);

/* compute.c */
const Kernel *find_kernel(const char *name);

/* foreach.c */
void foreach_sqrt(const Launch *launch);
void foreach_add_scalar(const Launch *launch);
void foreach_mul_scalar(const Launch *launch);
void foreach_div_scalars(const Launch *launch);
void foreach_add_list(const Launch *launch);
void foreach_lerp(const Launch *launch);
void foreach_addcmul(const Launch *launch);
void compute_addcdiv(const Launch *launch);

/* gradients.c */
void compute_nll_loss(const Launch *launch);
void nll_loss_gradient(const Launch *launch);
void log_softmax_gradient(const Launch *launch);
void threshold_gradient(const Launch *launch);
void gelu_gradient(const Launch *launch);
void layer_norm_gradient(const Launch *launch);
void embedding_gradient(const Launch *launch);

/* attention.c */
void compute_attention(const Launch *launch);
void attention_gradient(const Launch *launch);

/* algebra.c */
typedef struct {
    int64_t outer, size, inner; /* element (o, i, n) is at (o * size + i) * inner + n */
} Axis;
Axis axis_of(const Tensor *tensor, int dim);
void compute_softmax(const Launch *launch);
void compute_log_softmax(const Launch *launch);
void compute_argmax(const Launch *launch);
void compute_reduce_sum(const Launch *launch);
void compute_reduce_mean(const Launch *launch);
void compute_layer_norm(const Launch *launch);
void compute_pad(const Launch *launch);
void compute_embedding(const Launch *launch);
void compute_index_select(const Launch *launch);
void compute_matmul(const Launch *launch);
void compute_addmm(const Launch *launch);

/* faults.c */
bool is_set(const char *variable);
bool has_feature(const char *name);
bool is_rejected(int type);

/* tally.c */
void reset_tally(void);
void count_launch(const char *name, bool is_computed);
void put_tally(FILE *out);

/* op_args.c */
int start_op_args(const char *path);
void stop_op_args(void);
void record_op_args(const Launch *launch);

/* profiling.c */
uint64_t MsprofGetHashId(const char *text, size_t length);

/* writing.c */
void put_text(FILE *out, const char *text); /* as a JSON string */
const char *dtype_name(int dtype);
int64_t put_tensors(FILE *out, const Launch *launch, int from, int to); /* their bytes */

/* capture.c */
void put_devices(FILE *out, const Config *config);
int set_result_path(const char *path, size_t length);
int set_setting(int type, const char *value, size_t length);
int start_capture(const Config *config);
int stop_capture(void);
void record_launch(const Launch *launch, Stream *stream, uint64_t begin_ns);
FILE *begin_collective(int device); /* NULL: nothing is recorded; else end_collective must follow */
void put_run(FILE *out, const Stream *stream, uint64_t start_ns, uint64_t duration_ns,
             uint64_t begin_ns, uint64_t end_ns);
void end_collective(void);
void record_mark(const char *message, const char *domain, const void *stream, uint64_t begin_ns,
                 uint64_t end_ns);

#endif
