/* The operators that are computed, those of matmul, MLPs and transformers: a table, and what works
 * element by element. */
#include "emulator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- element by element -------------------------------------------------------------------- */

static void map(const Launch *launch, const Tensor *other, double scalar, double alpha) {
    const Tensor *result = result_of(launch);
    const int64_t count = element_count(result);
    double *left = read_as(launch->tensors[0], result);
    double *right = other ? read_as(other, result) : NULL;
    for (int64_t i = 0; i < count; i++) {
        left[i] = launch->kernel->function(left[i], alpha * (right ? right[i] : scalar));
    }
    free(right);
    write_all(result, left);
}

static void unary(const Launch *launch) { map(launch, NULL, 0, 1); }
static void binary(const Launch *launch) { map(launch, tensor_at(launch, 1), 0, 1); }
static void with_scalar(const Launch *launch) { map(launch, NULL, scalar_at(launch, 1), 1); }

static void binary_alpha(const Launch *launch) {
    map(launch, tensor_at(launch, 1), 0, scalar_at(launch, 2));
}

static void with_scalar_alpha(const Launch *launch) {
    map(launch, NULL, scalar_at(launch, 1), scalar_at(launch, 2));
}

/* Scalar minus tensor. */
static void reversed_subtract(const Launch *launch) {
    const Tensor *result = result_of(launch);
    double *values = read_as(launch->tensors[0], result);
    for (int64_t i = 0; i < element_count(result); i++) {
        values[i] = scalar_at(launch, 1) - scalar_at(launch, 2) * values[i];
    }
    write_all(result, values);
}

static double add(double a, double b) { return a + b; }
static double subtract(double a, double b) { return a - b; }
static double multiply(double a, double b) { return a * b; }
static double divide(double a, double b) { return a / b; }
static double equal(double a, double b) { return a == b; }
static double unequal(double a, double b) { return a != b; }
static double less(double a, double b) { return a < b; }
static double less_equal(double a, double b) { return a <= b; }
static double greater(double a, double b) { return a > b; }
static double greater_equal(double a, double b) { return a >= b; }
static double both(double a, double b) { return a != 0 && b != 0; }
static double negate(double a, double b) { return (void)b, -a; }
static double inverse(double a, double b) { return (void)b, 1 / a; }
static double invert(double a, double b) { return (void)b, a == 0; }
static double exponential(double a, double b) { return (void)b, exp(a); }
static double logarithm(double a, double b) { return (void)b, log(a); }
static double square_root(double a, double b) { return (void)b, sqrt(a); }
static double inverse_root(double a, double b) { return (void)b, 1 / sqrt(a); }
static double hyperbolic(double a, double b) { return (void)b, tanh(a); }
static double sine(double a, double b) { return (void)b, sin(a); }
static double cosine(double a, double b) { return (void)b, cos(a); }
static double magnitude(double a, double b) { return (void)b, fabs(a); }
static double rectify(double a, double b) { return (void)b, a > 0 ? a : 0; }
static double sigmoid(double a, double b) { return (void)b, 1 / (1 + exp(-a)); }
static double swish(double a, double b) { return (void)b, a / (1 + exp(-a)); }
static double gelu(double a, double b) { return (void)b, a / 2 * (1 + erf(a / sqrt(2))); }

static double gelu_tanh(double a) {
    return a / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (a + 0.044715 * a * a * a)));
}

static void gelu_either(const Launch *launch) {
    const Tensor *result = result_of(launch);
    double *values = read_all(launch->tensors[0]);
    for (int64_t i = 0; i < element_count(result); i++) {
        values[i] = launch->words[1] ? gelu_tanh(values[i]) : gelu(values[i], 0);
    }
    write_all(result, values);
}

/* --- copies and constants ------------------------------------------------------------------ */

/* From tensor to tensor, not through double where nothing is converted: int64 would not fit. */
static void copy_tensor(const Tensor *from, const Tensor *to) {
    if (from->dtype != to->dtype) {
        write_all(to, read_as(from, to));
        return;
    }
    const int64_t count = element_count(to);
    const size_t size = element_size(to->dtype);
    char **source = addresses(from, to), **target = addresses(to, to);
    for (int64_t i = 0; i < count; i++) {
        memmove(target[i], source[i], size);
    }
    free(source);
    free(target);
}

static void copy_in(const Launch *launch) { copy_tensor(tensor_at(launch, 1), result_of(launch)); }
static void cast(const Launch *launch) { copy_tensor(launch->tensors[0], result_of(launch)); }
static void zero(const Launch *launch) { fill_with_zeros(result_of(launch)); }
static void one(const Launch *launch) { fill_with(result_of(launch), 1); }
static void constant(const Launch *launch) { fill_with(result_of(launch), scalar_at(launch, 1)); }

static void arange(const Launch *launch) {
    const Tensor *result = result_of(launch);
    const int64_t count = element_count(result);
    double *values = allocate_values(count, sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        values[i] = scalar_at(launch, 0) + (double)i * scalar_at(launch, 2);
    }
    write_all(result, values);
}

/* Numbers that depend on nothing but the seed: in [0, 1). */
static double *draw(int64_t count, uint64_t seed) {
    double *values = allocate_values(count, sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        uint64_t bits = (seed + 1) * 0x9e3779b97f4a7c15u + (uint64_t)i * 0xd1342543de82ef95u;
        bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
        bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
        values[i] = (double)((bits ^ bits >> 31) >> 11) / (double)((uint64_t)1 << 53);
    }
    return values;
}

/* torch_npu hands over a seed and an offset that it raises with every use of the generator. */
static uint64_t seed_at(const Launch *launch, int word) {
    return launch->words[word] * 0x2545f4914f6cdd1du + launch->words[word + 1];
}

static void random_uniform(const Launch *launch) {
    const Tensor *result = result_of(launch);
    const double from = launch->floats[0], to = launch->floats[1];
    double *values = draw(element_count(result), seed_at(launch, 1));
    for (int64_t i = 0; i < element_count(result); i++) {
        values[i] = from + (to - from) * values[i];
    }
    write_all(result, values);
}

static void random_normal(const Launch *launch) {
    const Tensor *result = result_of(launch);
    const int64_t count = element_count(result);
    float mean, deviation; /* as float, unlike those of the other operators */
    memcpy(&mean, &launch->floats[0], sizeof mean);
    memcpy(&deviation, &launch->floats[1], sizeof deviation);
    double *values = draw(2 * count, seed_at(launch, 1));
    for (int64_t i = 0; i < count; i++) {
        const double radius = sqrt(-2 * log(1 - values[i]));
        const double angle = 2 * acos(-1) * values[count + i];
        values[i] = mean + deviation * radius * cos(angle);
    }
    write_all(result, values);
}

static void random_integers(const Launch *launch) {
    const Tensor *result = result_of(launch);
    const double from = (double)(int64_t)launch->words[1], to = (double)(int64_t)launch->words[2];
    double *values = draw(element_count(result), seed_at(launch, 3));
    for (int64_t i = 0; i < element_count(result); i++) {
        values[i] = floor(from + (to - from) * values[i]);
    }
    write_all(result, values);
}

static void masked_fill(const Launch *launch) {
    const Tensor *result = result_of(launch);
    double *values = read_all(result), *mask = read_as(tensor_at(launch, 1), result);
    for (int64_t i = 0; i < element_count(result); i++) {
        values[i] = mask[i] != 0 ? scalar_at(launch, 2) : values[i];
    }
    free(mask);
    write_all(result, values);
}

static void where(const Launch *launch) {
    const Tensor *result = result_of(launch);
    double *condition = read_as(tensor_at(launch, 0), result);
    double *left = read_as(tensor_at(launch, 1), result);
    double *right = read_as(tensor_at(launch, 2), result);
    for (int64_t i = 0; i < element_count(result); i++) {
        left[i] = condition[i] != 0 ? left[i] : right[i];
    }
    free(condition);
    free(right);
    write_all(result, left);
}

/* Keep one side of a diagonal: the lower one, or the upper. */
static void triangle(const Launch *launch, bool lower) {
    const Tensor *result = result_of(launch);
    const int64_t rows = result->shape[result->dims - 2], columns = result->shape[result->dims - 1];
    const int64_t diagonal = (int64_t)launch->words[1];
    double *values = read_as(launch->tensors[0], result);
    for (int64_t i = 0; i < element_count(result); i++) {
        const int64_t distance = i % columns - i / columns % rows;
        values[i] = (lower ? distance <= diagonal : distance >= diagonal) ? values[i] : 0;
    }
    write_all(result, values);
}

static void tril(const Launch *launch) { triangle(launch, true); }
static void triu(const Launch *launch) { triangle(launch, false); }

/* Tensors, then the dimension that they are joined along. */
static void concatenate(const Launch *launch) {
    const Tensor *result = result_of(launch);
    Tensor part = *result;
    const int dim = dim_at(launch, 1, result);
    for (int i = 0; i < launch->count - 1; i++) {
        const Tensor *input = launch->tensors[i];
        if (input->dims != result->dims) {
            continue; /* torch allows empty tensors of one dimension anywhere */
        }
        part.shape[dim] = input->shape[dim];
        copy_tensor(input, &part);
        part.offset += input->shape[dim] * result->stride[dim];
    }
}

/* --- the table ----------------------------------------------------------------------------- */

static const Kernel kernels[] = {
    {"aclnnAdd", binary_alpha, 1, add},
    {"aclnnAdds", with_scalar_alpha, 1, add},
    {"aclnnInplaceAdd", binary_alpha, 0, add},
    {"aclnnInplaceAdds", with_scalar_alpha, 0, add},
    {"aclnnSub", binary_alpha, 1, subtract},
    {"aclnnSubs", with_scalar_alpha, 1, subtract},
    {"aclnnInplaceSub", binary_alpha, 0, subtract},
    {"aclnnInplaceSubs", with_scalar_alpha, 0, subtract},
    {"aclnnRsubs", reversed_subtract, 1, NULL},
    {"aclnnMul", binary, 1, multiply},
    {"aclnnMuls", with_scalar, 1, multiply},
    {"aclnnInplaceMul", binary, 0, multiply},
    {"aclnnInplaceMuls", with_scalar, 0, multiply},
    {"aclnnDiv", binary, 1, divide},
    {"aclnnDivs", with_scalar, 1, divide},
    {"aclnnInplaceDiv", binary, 0, divide},
    {"aclnnInplaceDivs", with_scalar, 0, divide},
    {"aclnnPowTensorScalar", with_scalar, 1, pow},
    {"aclnnMaximum", binary, 1, fmax},
    {"aclnnMinimum", binary, 1, fmin},
    {"aclnnEqTensor", binary, 1, equal},
    {"aclnnEqScalar", with_scalar, 1, equal},
    {"aclnnNeTensor", binary, 1, unequal},
    {"aclnnNeScalar", with_scalar, 1, unequal},
    {"aclnnLtTensor", binary, 1, less},
    {"aclnnLtScalar", with_scalar, 1, less},
    {"aclnnLeTensor", binary, 1, less_equal},
    {"aclnnLeScalar", with_scalar, 1, less_equal},
    {"aclnnGtTensor", binary, 1, greater},
    {"aclnnGtScalar", with_scalar, 1, greater},
    {"aclnnGeTensor", binary, 1, greater_equal},
    {"aclnnGeScalar", with_scalar, 1, greater_equal},
    {"aclnnLogicalAnd", binary, 1, both},
    {"aclnnLogicalNot", unary, 1, invert},
    {"aclnnNeg", unary, 1, negate},
    {"aclnnReciprocal", unary, 1, inverse},
    {"aclnnExp", unary, 1, exponential},
    {"aclnnLog", unary, 1, logarithm},
    {"aclnnSqrt", unary, 1, square_root},
    {"aclnnRsqrt", unary, 1, inverse_root},
    {"aclnnTanh", unary, 1, hyperbolic},
    {"aclnnSin", unary, 1, sine},
    {"aclnnCos", unary, 1, cosine},
    {"aclnnAbs", unary, 1, magnitude},
    {"aclnnRelu", unary, 1, rectify},
    {"aclnnSigmoid", unary, 1, sigmoid},
    {"aclnnSilu", unary, 1, swish},
    {"aclnnGelu", unary, 1, gelu},
    {"aclnnGeluV2", gelu_either, 1, NULL},
    {"aclnnInplaceCopy", copy_in, 0, NULL},
    {"aclnnCast", cast, 1, NULL},
    {"aclnnInplaceZero", zero, 0, NULL},
    {"aclnnInplaceOne", one, 0, NULL},
    {"aclnnInplaceFillScalar", constant, 0, NULL},
    {"aclnnInplaceUniform", random_uniform, 0, NULL},
    {"aclnnInplaceNormal", random_normal, 0, NULL},
    {"aclnnInplaceRandom", random_integers, 0, NULL},
    {"aclnnArange", arange, 1, NULL},
    {"aclnnInplaceMaskedFillScalar", masked_fill, 0, NULL},
    {"aclnnSWhere", where, 1, NULL},
    {"aclnnTril", tril, 1, NULL},
    {"aclnnTriu", triu, 1, NULL},
    {"aclnnInplaceTril", tril, 0, NULL},
    {"aclnnInplaceTriu", triu, 0, NULL},
    {"aclnnCat", concatenate, 1, NULL},
    {"aclnnSoftmax", compute_softmax, 1, NULL},
    {"aclnnLogSoftmax", compute_log_softmax, 1, NULL},
    {"aclnnArgMax", compute_argmax, 1, NULL},
    {"aclnnReduceSum", compute_reduce_sum, 1, NULL},
    {"aclnnMean", compute_reduce_mean, 1, NULL},
    {"aclnnLayerNorm", compute_layer_norm, 3, NULL},
    {"aclnnEmbedding", compute_embedding, 1, NULL},
    {"aclnnIndexSelect", compute_index_select, 1, NULL},
    {"aclnnMm", compute_matmul, 1, NULL},
    {"aclnnMatmul", compute_matmul, 1, NULL},
    {"aclnnBatchMatMul", compute_matmul, 1, NULL},
    {"aclnnAddmm", compute_addmm, 1, NULL},
    {"aclnnBaddbmm", compute_addmm, 1, NULL},
    {"aclnnFlashAttentionScore", compute_attention, 4, NULL},
    /* Accepted only: which tensors are outputs. */
    {"aclnnLayerNormBackward", NULL, 3, NULL},
    {"aclnnConvolutionBackward", NULL, 3, NULL},
    {"aclnnBatchNorm", NULL, 3, NULL},
    {"aclnnBatchNormBackward", NULL, 3, NULL},
    {"aclnnFlashAttentionScoreGrad", NULL, 4, NULL},
    {"aclnnNLLLoss", NULL, 2, NULL},
    {"aclnnMaxDim", NULL, 2, NULL},
    {"aclnnMinDim", NULL, 2, NULL},
    {"aclnnSort", NULL, 2, NULL},
    {"aclnnTopkV2", NULL, 2, NULL},
};

const Kernel *find_kernel(const char *name) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (!strcmp(kernels[i].name, name)) {
            return &kernels[i];
        }
    }
    return NULL;
}
