/* Operators: the objects of a call, and the call itself, which has two phases.
 *
 * Phase 1 (aclnnXxxGetWorkspaceSize) receives the arguments, phase 2 (aclnnXxx) runs the operator.
 * One pair of functions serves every operator: phase 1 looks at its raw arguments, and recognises
 * the tensors among them because torch_npu made those just before, on the same thread.
 */
#define _GNU_SOURCE
#include "emulator.h"

#include <stdlib.h>
#include <string.h>

/* --- objects ------------------------------------------------------------------------------- */

typedef struct {
    void *object;
    bool is_list;
} Made;

static _Thread_local Made made[MAX_TENSORS];
static _Thread_local int made_count; /* may exceed MAX_TENSORS: the oldest are overwritten */

static void remember(void *object, bool is_list) {
    made[made_count++ % MAX_TENSORS] = (Made){object, is_list};
}

static const Made *find_made(uintptr_t word) {
    int kept = made_count < MAX_TENSORS ? made_count : MAX_TENSORS;
    for (int i = 0; i < kept; i++) {
        if ((uintptr_t)made[i].object == word) {
            return &made[i];
        }
    }
    return NULL;
}

static Tensor *new_tensor(const int64_t *shape, uint64_t dims, int dtype, int format) {
    Tensor *tensor = dims <= MAX_DIMS ? calloc(1, sizeof *tensor) : NULL;
    if (tensor) {
        tensor->dims = (int)dims;
        tensor->dtype = dtype;
        tensor->format = format;
        memcpy(tensor->shape, shape, dims * sizeof *shape);
        for (int64_t i = (int64_t)dims - 1, stride = 1; i >= 0; stride *= shape[i--]) {
            tensor->stride[i] = stride;
        }
    }
    return tensor;
}

void *aclCreateTensor(const int64_t *shape, uint64_t dims, int dtype, const int64_t *stride,
                      int64_t offset, int format, const int64_t *storage_shape,
                      uint64_t storage_dims, void *data) {
    (void)storage_shape, (void)storage_dims;
    Tensor *tensor = new_tensor(shape, dims, dtype, format);
    if (tensor) {
        tensor->data = data;
        tensor->offset = offset;
        if (stride) {
            memcpy(tensor->stride, stride, dims * sizeof *stride);
        }
        remember(tensor, false);
    }
    return tensor;
}

static List *new_list(const void *items, uint64_t size) {
    List *list = malloc(sizeof *list + size * sizeof *list->items);
    list->size = size;
    memcpy(list->items, items, size * sizeof *list->items);
    return list;
}

void *aclCreateTensorList(const Tensor *const *tensors, uint64_t size) {
    List *list = new_list(tensors, size);
    made_count -= made_count < (int)size ? made_count : (int)size; /* the list stands for them */
    remember(list, true);
    return list;
}

void *aclCreateScalarList(const Scalar *const *scalars, uint64_t size) {
    return new_list(scalars, size);
}

static double as_double(const void *value, int dtype) {
    switch (dtype) {
    case FLOAT32: return *(const float *)value;
    case FLOAT64: return *(const double *)value;
    case INT32: return *(const int32_t *)value;
    case INT64: return (double)*(const int64_t *)value;
    case INT16: return *(const int16_t *)value;
    case INT8: return *(const int8_t *)value;
    case UINT8: case BOOLEAN: return *(const uint8_t *)value;
    default: return 0; /* half types do not come as scalars */
    }
}

void *aclCreateScalar(const void *value, int dtype) {
    Scalar *scalar = malloc(sizeof *scalar);
    *scalar = (Scalar){as_double(value, dtype), dtype};
    return scalar;
}

static void *new_array(const void *values, uint64_t size, size_t each) {
    IntArray *array = malloc(sizeof *array + size * each + 1);
    array->size = size;
    memcpy(array->values, values, size * each);
    return array;
}

void *aclCreateIntArray(const int64_t *values, uint64_t size) { return new_array(values, size, 8); }
void *aclCreateFloatArray(const float *values, uint64_t size) { return new_array(values, size, 4); }
void *aclCreateBoolArray(const bool *values, uint64_t size) { return new_array(values, size, 1); }

static int destroy(void *object) {
    free(object);
    return OK;
}

int aclDestroyTensor(void *tensor) { return destroy(tensor); }
int aclDestroyScalar(void *scalar) { return destroy(scalar); }
int aclDestroyIntArray(void *array) { return destroy(array); }
int aclDestroyFloatArray(void *array) { return destroy(array); }
int aclDestroyBoolArray(void *array) { return destroy(array); }

/* A list owns what is in it. */
static int destroy_list(List *list) {
    for (uint64_t i = 0; i < list->size; i++) {
        free(list->items[i]);
    }
    return destroy(list);
}

int aclDestroyTensorList(List *list) { return destroy_list(list); }
int aclDestroyScalarList(List *list) { return destroy_list(list); }

/* --- the two phases ------------------------------------------------------------------------ */

static bool is_inplace(const char *name) { return !strncmp(name, "aclnnInplace", 12); }

static void add_tensor(Launch *launch, const Tensor *tensor) {
    if (launch->count < MAX_TENSORS) {
        launch->tensors[launch->count++] = tensor;
    }
}

/* Whether an address is that of a caller's local variable that is zero. */
static bool is_zeroed_local(uintptr_t address, uintptr_t stack) {
    const uintptr_t near = 1 << 16; /* torch_npu's are within 2 KiB */
    return address - stack < near && address % 8 == 0 && !*(const uint64_t *)address;
}

/* The place where the arguments end, or -1: at two pointers to neighbouring local variables, for the
 * workspace's size and for the executor that phase 1 makes. */
static int find_end(const uintptr_t *words, uintptr_t stack) {
    const uintptr_t apart = 512; /* torch_npu's: 8 to 192 bytes */
    for (int i = 0; i + 1 < MAX_WORDS; i++) {
        const uintptr_t size = words[i], executor = words[i + 1];
        if (size != executor && size - executor + apart <= 2 * apart &&
            is_zeroed_local(size, stack) && is_zeroed_local(executor, stack)) {
            return i;
        }
    }
    return -1;
}

/* Returns how many of them are the last such argument's. */
static int gather_tensors(Launch *launch, int end) {
    int before_last = 0;
    for (int i = 0; i < end; i++) {
        const Made *found = find_made(launch->words[i]);
        before_last = found ? launch->count : before_last;
        if (found && found->is_list) {
            const List *list = found->object;
            for (uint64_t each = 0; each < list->size; each++) {
                add_tensor(launch, list->items[each]);
            }
        } else if (found) {
            add_tensor(launch, found->object);
        }
    }
    return launch->count - before_last;
}

enum { INTEGER_REGISTERS =
#if defined(__x86_64__)
           6
#elif defined(__aarch64__)
           8
#else
#error "the emulator knows how arguments are passed on x86-64 and aarch64 only"
#endif
};

typedef struct {
    uintptr_t integers[INTEGER_REGISTERS];
    double floats[FLOAT_REGISTERS];
} Registers;

static int prepare(const char *name, const Registers *registers, const uintptr_t *stack) {
    const Kernel *kernel = find_kernel(name);
    if (getenv("HARNESS_EMULATOR_STRICT") && !(kernel && kernel->compute)) {
        fprintf(stderr, "emulated: %s is not computed\n", name);
        made_count = 0;
        return NOT_COMPUTED;
    }
    Launch *launch = calloc(1, sizeof *launch);
    if (!launch) {
        return OUT_OF_MEMORY;
    }
    launch->name = name;
    launch->kernel = kernel;
    memcpy(launch->floats, registers->floats, sizeof registers->floats);
    memcpy(launch->words, registers->integers, sizeof registers->integers);
    for (int i = INTEGER_REGISTERS; i < MAX_WORDS; i++) {
        launch->words[i] = stack[i - INTEGER_REGISTERS];
    }
    const int end = find_end(launch->words, (uintptr_t)stack);
    if (end < 0) {
        free(launch);
        return INVALID_PARAMETER;
    }
    if (kernel && kernel->layout) {
        /* Texts, unlike other arguments, do not live until phase 2. */
        const char *layout = (const char *)launch->words[kernel->layout];
        snprintf(launch->layout, sizeof launch->layout, "%.*s", (int)sizeof launch->layout - 1,
                 layout);
    }
    const int last = gather_tensors(launch, end);
    made_count = 0;
    const bool of_list = kernel ? kernel->outputs == ALL_OF_LIST : !is_inplace(name);
    launch->outputs = of_list ? last : kernel ? kernel->outputs : 0;
    if (launch->outputs > launch->count) {
        launch->outputs = launch->count;
    }
    *(Launch **)launch->words[end + 1] = launch;
    return OK;
}

static int execute(Launch *launch, void *stream) {
    const uint64_t begin_ns = monotonic_ns();
    const bool computed = launch->kernel && launch->kernel->compute;
    if (computed) {
        launch->kernel->compute(launch);
    } else {
        /* Zeros, so that results are at least the same in every run. */
        for (int i = launch->count - launch->outputs; i < launch->count; i++) {
            fill_with_zeros(launch->tensors[i]);
        }
    }
    record_launch(launch, stream_or_default(stream), begin_ns);
    record_op_args(launch);
    free(launch);
    return OK;
}

/* Declaring every register that can carry an argument, in the order of their kind, captures any
 * call: both conventions count integers and floating-point numbers apart. */
#if defined(__x86_64__)
#define INTEGERS uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f
#define INTEGER_VALUES a, b, c, d, e, f
#else
#define INTEGERS uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d, uintptr_t e, uintptr_t f, \
                 uintptr_t g, uintptr_t h
#define INTEGER_VALUES a, b, c, d, e, f, g, h
#endif

#define OPERATOR(name)                                                                       \
    int name##GetWorkspaceSize(INTEGERS, double p, double q, double r, double s, double t,   \
                               double u, double v, double w) {                               \
        const Registers registers = {{INTEGER_VALUES}, {p, q, r, s, t, u, v, w}};            \
        return prepare(#name, &registers, __builtin_dwarf_cfa());                            \
    }                                                                                        \
    int name(void *workspace, uint64_t size, Launch *launch, void *stream) {                 \
        (void)workspace, (void)size;                                                         \
        return execute(launch, stream);                                                      \
    }

#include "operator_names.inc" /* written by build.py: OPERATOR(...) for each name in the wheel */

/* --- operators of the older kind, one call each -------------------------------------------- */

typedef struct {
    void *data;
    size_t size;
} Buffer;

void *aclCreateTensorDesc(int dtype, int dims, const int64_t *shape, int format) {
    return new_tensor(shape, (uint64_t)dims, dtype, format);
}

void aclDestroyTensorDesc(void *tensor) { free(tensor); }
int aclGetTensorDescType(const Tensor *tensor) { return tensor->dtype; }
int aclGetTensorDescFormat(const Tensor *tensor) { return tensor->format; }
size_t aclGetTensorDescNumDims(const Tensor *tensor) { return (size_t)tensor->dims; }

int aclGetTensorDescDimV2(const Tensor *tensor, size_t index, int64_t *size) {
    *size = tensor->shape[index];
    return OK;
}

void *aclCreateDataBuffer(void *data, size_t size) {
    Buffer *buffer = malloc(sizeof *buffer);
    *buffer = (Buffer){data, size};
    return buffer;
}

int aclDestroyDataBuffer(void *buffer) { return destroy(buffer); }
void *aclopCreateAttr(void) { return malloc(1); } /* attributes are accepted and forgotten */
void aclopDestroyAttr(void *attributes) { free(attributes); }

int aclopCompileAndExecute(const char *type, int inputs, Tensor **input_tensors, Buffer **inputs_in,
                           int outputs, Tensor **output_tensors, Buffer **outputs_in,
                           const void *attributes, int engine, int compile, const char *path,
                           void *stream) {
    (void)inputs_in, (void)attributes, (void)engine, (void)compile, (void)path;
    if (getenv("HARNESS_EMULATOR_STRICT")) {
        fprintf(stderr, "emulated: %s is not computed\n", type);
        return NOT_COMPUTED;
    }
    const uint64_t begin_ns = monotonic_ns();
    Launch launch = {.name = type, .outputs = outputs};
    for (int i = 0; i < inputs; i++) {
        add_tensor(&launch, input_tensors[i]);
    }
    for (int i = 0; i < outputs; i++) {
        memset(outputs_in[i]->data, 0, outputs_in[i]->size);
        add_tensor(&launch, output_tensors[i]);
    }
    record_launch(&launch, stream_or_default(stream), begin_ns);
    record_op_args(&launch);
    return OK;
}
