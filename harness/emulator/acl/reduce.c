/* Reductions over the ranks of a communicator, element by element, in the order of the ranks. */
#include "emulator.h"

#include <math.h>

/* Whole numbers wrap around, as on the device. */
#define OF_INTEGERS(name, type)                                                           \
    static void name(char *result, char *const *parts, uint32_t ranks, size_t count, int op) { \
        for (size_t i = 0; i < count; i++) {                                              \
            type value = ((const type *)parts[0])[i];                                     \
            for (uint32_t rank = 1; rank < ranks; rank++) {                               \
                const type part = ((const type *)parts[rank])[i];                         \
                switch (op) {                                                             \
                case REDUCE_SUM: (void)__builtin_add_overflow(value, part, &value); break; \
                case REDUCE_PRODUCT: (void)__builtin_mul_overflow(value, part, &value); break; \
                case REDUCE_MAX: value = part > value ? part : value; break;              \
                default: value = part < value ? part : value;                             \
                }                                                                         \
            }                                                                             \
            ((type *)result)[i] = value;                                                  \
        }                                                                                 \
    }

OF_INTEGERS(reduce_int8, int8_t)
OF_INTEGERS(reduce_int16, int16_t)
OF_INTEGERS(reduce_int32, int32_t)
OF_INTEGERS(reduce_int64, int64_t)

static double combined(double value, double part, int op) {
    switch (op) {
    case REDUCE_SUM: return value + part;
    case REDUCE_PRODUCT: return value * part;
    case REDUCE_MAX: return fmax(value, part);
    default: return fmin(value, part);
    }
}

static void reduce_float(char *result, char *const *parts, uint32_t ranks, size_t count, int op) {
    for (size_t i = 0; i < count; i++) {
        float value = ((const float *)parts[0])[i];
        for (uint32_t rank = 1; rank < ranks; rank++) {
            value = (float)combined(value, ((const float *)parts[rank])[i], op);
        }
        ((float *)result)[i] = value;
    }
}

/* Half types are summed in full and rounded once. */
static void reduce_half(char *result, char *const *parts, uint32_t ranks, size_t count, int op,
                        int dtype) {
    for (size_t i = 0; i < count; i++) {
        double value = load_element(parts[0] + 2 * i, dtype);
        for (uint32_t rank = 1; rank < ranks; rank++) {
            value = combined(value, load_element(parts[rank] + 2 * i, dtype), op);
        }
        store_element(result + 2 * i, dtype, value);
    }
}

bool is_reducible(int dtype) {
    switch (dtype) {
    case INT8: case INT16: case INT32: case INT64: case FLOAT16: case FLOAT32: case BFLOAT16:
        return true;
    default: return false;
    }
}

void reduce_parts(char *result, char *const *parts, uint32_t ranks, size_t count, int op,
                  int dtype) {
    switch (dtype) {
    case INT8: reduce_int8(result, parts, ranks, count, op); break;
    case INT16: reduce_int16(result, parts, ranks, count, op); break;
    case INT32: reduce_int32(result, parts, ranks, count, op); break;
    case INT64: reduce_int64(result, parts, ranks, count, op); break;
    case FLOAT32: reduce_float(result, parts, ranks, count, op); break;
    default: reduce_half(result, parts, ranks, count, op, dtype);
    }
}
