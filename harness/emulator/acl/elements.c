/* The elements of tensors: reading, converting and writing them.
 *
 * Simple, not fast: operands become contiguous arrays of double, results are rounded once.
 */
#include "emulator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t element_size(int dtype) {
    switch (dtype) {
    case INT8: case UINT8: case BOOLEAN: return 1;
    case FLOAT16: case BFLOAT16: case INT16: case 7 /* uint16 */: return 2;
    case INT64: case FLOAT64: case 10 /* uint64 */: case 16 /* complex64 */: return 8;
    case 17 /* complex128 */: return 16;
    default: return 4;
    }
}

int64_t element_count(const Tensor *tensor) {
    int64_t count = 1;
    for (int i = 0; i < tensor->dims; i++) {
        count *= tensor->shape[i];
    }
    return count;
}

static double float_from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(double number) {
    const float value = (float)number;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double load_half(uint16_t half) {
    const int exponent = half >> 10 & 31, mantissa = half & 1023;
    const double size = exponent == 31  ? (mantissa ? NAN : INFINITY)
                        : exponent == 0 ? ldexp(mantissa, -24)
                                        : ldexp(1024 + mantissa, exponent - 25);
    return half >> 15 ? -size : size;
}

static uint16_t store_half(double number) {
    const uint16_t sign = signbit(number) ? 0x8000 : 0;
    const double size = fabs(number);
    if (isnan(number)) {
        return 0x7e00;
    }
    if (size >= 65520) {
        return sign | 0x7c00;
    }
    int exponent;
    frexp(size, &exponent);
    exponent = exponent < -13 ? -13 : exponent; /* subnormal numbers share the last exponent */
    const int units = (int)nearbyint(ldexp(size, 11 - exponent));
    return sign | (uint16_t)(((exponent + 13) << 10) + units); /* a carry raises the exponent */
}

double load_element(const char *at, int dtype) {
    switch (dtype) {
    case FLOAT32: return *(const float *)at;
    case FLOAT64: return *(const double *)at;
    case FLOAT16: return load_half(*(const uint16_t *)at);
    case BFLOAT16: return float_from_bits((uint32_t)*(const uint16_t *)at << 16);
    case INT64: return (double)*(const int64_t *)at;
    case INT32: return *(const int32_t *)at;
    case INT16: return *(const int16_t *)at;
    case INT8: return *(const int8_t *)at;
    case UINT8: case BOOLEAN: return *(const uint8_t *)at;
    default: return 0;
    }
}

void store_element(char *at, int dtype, double value) {
    switch (dtype) {
    case FLOAT32: *(float *)at = (float)value; break;
    case FLOAT64: *(double *)at = value; break;
    case FLOAT16: *(uint16_t *)at = store_half(value); break;
    case BFLOAT16: {
        const uint32_t bits = bits_of_float(value);
        const uint32_t to_even = 0x7fff + (bits >> 16 & 1);
        *(uint16_t *)at = isnan(value) ? 0x7fc0 : (uint16_t)((bits + to_even) >> 16);
        break;
    }
    case INT64: *(int64_t *)at = (int64_t)value; break;
    case INT32: *(int32_t *)at = (int32_t)value; break;
    case INT16: *(int16_t *)at = (int16_t)value; break;
    case INT8: *(int8_t *)at = (int8_t)value; break;
    case UINT8: *(uint8_t *)at = (uint8_t)value; break;
    case BOOLEAN: *(uint8_t *)at = value != 0; break;
    default: break;
    }
}

void *allocate_values(int64_t count, size_t each) {
    void *memory = malloc((size_t)(count + 1) * each);
    if (!memory) {
        abort(); /* there is no way to fail within an operator */
    }
    return memory;
}

/* The address of each element of `tensor`, broadcast to the shape of `like`, row by row. */
char **addresses(const Tensor *tensor, const Tensor *like) {
    const int64_t count = element_count(like);
    const int64_t size = (int64_t)element_size(tensor->dtype);
    char **found = allocate_values(count, sizeof *found);
    int64_t index[MAX_DIMS] = {0}, step[MAX_DIMS] = {0};
    for (int i = 1; i <= tensor->dims && i <= like->dims; i++) {
        const int own = tensor->dims - i;
        step[like->dims - i] = tensor->shape[own] == 1 ? 0 : tensor->stride[own] * size;
    }
    char *at = tensor->data + tensor->offset * size;
    for (int64_t i = 0; i < count; i++) {
        found[i] = at;
        for (int dim = like->dims - 1; dim >= 0; dim--) {
            at += step[dim];
            if (++index[dim] < like->shape[dim]) {
                break;
            }
            at -= step[dim] * index[dim];
            index[dim] = 0;
        }
    }
    return found;
}

/* Where the elements begin, if they follow one another in the order of `like`; or NULL. */
static char *dense_start(const Tensor *tensor, const Tensor *like) {
    int64_t stride = 1;
    for (int dim = tensor->dims - 1; dim >= 0; stride *= tensor->shape[dim--]) {
        if (tensor->shape[dim] != 1 && tensor->stride[dim] != stride) {
            return NULL;
        }
    }
    const bool whole = element_count(tensor) == element_count(like);
    return whole ? tensor->data + tensor->offset * (int64_t)element_size(tensor->dtype) : NULL;
}

double *read_as(const Tensor *tensor, const Tensor *like) {
    const int64_t count = element_count(like);
    const int64_t size = (int64_t)element_size(tensor->dtype);
    double *values = allocate_values(count, sizeof *values);
    const char *start = dense_start(tensor, like);
    if (start && tensor->dtype == FLOAT32) {
        const float *from = (const float *)start;
        for (int64_t i = 0; i < count; i++) {
            values[i] = from[i];
        }
        return values;
    }
    char **from = start ? NULL : addresses(tensor, like);
    for (int64_t i = 0; i < count; i++) {
        values[i] = load_element(start ? start + i * size : from[i], tensor->dtype);
    }
    free(from);
    return values;
}

double *read_all(const Tensor *tensor) { return read_as(tensor, tensor); }

/* Write the values and free them. */
void write_all(const Tensor *tensor, double *values) {
    const int64_t count = element_count(tensor);
    const int64_t size = (int64_t)element_size(tensor->dtype);
    char *start = dense_start(tensor, tensor);
    if (start && tensor->dtype == FLOAT32) {
        float *to = (float *)start;
        for (int64_t i = 0; i < count; i++) {
            to[i] = (float)values[i];
        }
        free(values);
        return;
    }
    char **to = start ? NULL : addresses(tensor, tensor);
    for (int64_t i = 0; i < count; i++) {
        store_element(start ? start + i * size : to[i], tensor->dtype, values[i]);
    }
    free(to);
    free(values);
}

void fill_with(const Tensor *tensor, double value) {
    const int64_t count = element_count(tensor), size = (int64_t)element_size(tensor->dtype);
    char *start = dense_start(tensor, tensor), each[16] = {0};
    store_element(each, tensor->dtype, value);
    if (start && size == 1) {
        memset(start, each[0], (size_t)count);
        return;
    }
    char **to = start ? NULL : addresses(tensor, tensor);
    for (int64_t i = 0; i < count; i++) {
        memcpy(start ? start + i * size : to[i], each, (size_t)size);
    }
    free(to);
}

void fill_with_zeros(const Tensor *tensor) { fill_with(tensor, 0); }

/* From tensor to tensor, not through double where nothing is converted: int64 would not fit. */
void copy_tensor(const Tensor *from, const Tensor *to) {
    if (from->dtype != to->dtype) {
        write_all(to, read_as(from, to));
        return;
    }
    const int64_t count = element_count(to), size = (int64_t)element_size(to->dtype);
    const char *source = dense_start(from, to);
    char *target = dense_start(to, to);
    if (source && target) {
        memmove(target, source, (size_t)(count * size));
        return;
    }
    char **sources = addresses(from, to), **targets = addresses(to, to);
    for (int64_t i = 0; i < count; i++) {
        memmove(targets[i], sources[i], (size_t)size);
    }
    free(sources);
    free(targets);
}

/* --- arguments ----------------------------------------------------------------------------- */

const Tensor *result_of(const Launch *launch) {
    return launch->tensors[launch->outputs ? launch->count - launch->outputs : 0];
}

const Tensor *tensor_at(const Launch *launch, int word) {
    return (const Tensor *)launch->words[word];
}

double scalar_at(const Launch *launch, int word) {
    return ((const Scalar *)launch->words[word])->value;
}

int dim_at(const Launch *launch, int word, const Tensor *tensor) {
    const int dim = (int)(int64_t)launch->words[word];
    return dim < 0 ? dim + tensor->dims : dim;
}
