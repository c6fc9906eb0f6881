/* The table of computed operators (those of matmul, MLPs and transformers), and the element-wise
 * ones. */
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

/* Keep the lower or the upper side of a diagonal. Row by row, without reading the removed side:
 * causal attention makes a mask of 2048 by 2048 each time. */
static void triangle(const Launch *launch, bool lower) {
    const Tensor *result = result_of(launch);
    const int64_t rows = result->shape[result->dims - 2], columns = result->shape[result->dims - 1];
    const int64_t diagonal = (int64_t)launch->words[1];
    if (launch->outputs) {
        copy_tensor(launch->tensors[0], result);
    }
    Tensor part = *result; /* the removed part of one row */
    part.dims = 1;
    part.stride[0] = result->stride[result->dims - 1];
    for (int64_t row = 0; columns && row < element_count(result) / columns; row++) {
        int64_t border = row % rows + diagonal + (lower ? 1 : 0);
        border = border < 0 ? 0 : border > columns ? columns : border;
        part.shape[0] = lower ? columns - border : border;
        part.offset = result->offset + (lower ? border * part.stride[0] : 0);
        int64_t rest = row;
        for (int dim = result->dims - 2; dim >= 0; rest /= result->shape[dim--]) {
            part.offset += rest % result->shape[dim] * result->stride[dim];
        }
        fill_with_zeros(&part);
    }
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
    {"aclnnAdd", binary_alpha, 1, .function = add},
    {"aclnnAdds", with_scalar_alpha, 1, .function = add},
    {"aclnnInplaceAdd", binary_alpha, 0, .function = add},
    {"aclnnInplaceAdds", with_scalar_alpha, 0, .function = add},
    {"aclnnSub", binary_alpha, 1, .function = subtract},
    {"aclnnSubs", with_scalar_alpha, 1, .function = subtract},
    {"aclnnInplaceSub", binary_alpha, 0, .function = subtract},
    {"aclnnInplaceSubs", with_scalar_alpha, 0, .function = subtract},
    {"aclnnRsubs", reversed_subtract, .outputs = 1},
    {"aclnnMul", binary, 1, .function = multiply},
    {"aclnnMuls", with_scalar, 1, .function = multiply},
    {"aclnnInplaceMul", binary, 0, .function = multiply},
    {"aclnnInplaceMuls", with_scalar, 0, .function = multiply},
    {"aclnnDiv", binary, 1, .function = divide},
    {"aclnnDivs", with_scalar, 1, .function = divide},
    {"aclnnInplaceDiv", binary, 0, .function = divide},
    {"aclnnInplaceDivs", with_scalar, 0, .function = divide},
    {"aclnnPowTensorScalar", with_scalar, 1, .function = pow},
    {"aclnnMaximum", binary, 1, .function = fmax},
    {"aclnnMinimum", binary, 1, .function = fmin},
    {"aclnnEqTensor", binary, 1, .function = equal},
    {"aclnnEqScalar", with_scalar, 1, .function = equal},
    {"aclnnNeTensor", binary, 1, .function = unequal},
    {"aclnnNeScalar", with_scalar, 1, .function = unequal},
    {"aclnnLtTensor", binary, 1, .function = less},
    {"aclnnLtScalar", with_scalar, 1, .function = less},
    {"aclnnLeTensor", binary, 1, .function = less_equal},
    {"aclnnLeScalar", with_scalar, 1, .function = less_equal},
    {"aclnnGtTensor", binary, 1, .function = greater},
    {"aclnnGtScalar", with_scalar, 1, .function = greater},
    {"aclnnGeTensor", binary, 1, .function = greater_equal},
    {"aclnnGeScalar", with_scalar, 1, .function = greater_equal},
    {"aclnnLogicalAnd", binary, 1, .function = both},
    {"aclnnLogicalNot", unary, 1, .function = invert},
    {"aclnnNeg", unary, 1, .function = negate},
    {"aclnnReciprocal", unary, 1, .function = inverse},
    {"aclnnExp", unary, 1, .function = exponential},
    {"aclnnLog", unary, 1, .function = logarithm},
    {"aclnnSqrt", unary, 1, .function = square_root},
    {"aclnnRsqrt", unary, 1, .function = inverse_root},
    {"aclnnTanh", unary, 1, .function = hyperbolic},
    {"aclnnSin", unary, 1, .function = sine},
    {"aclnnCos", unary, 1, .function = cosine},
    {"aclnnAbs", unary, 1, .function = magnitude},
    {"aclnnRelu", unary, 1, .function = rectify},
    {"aclnnSigmoid", unary, 1, .function = sigmoid},
    {"aclnnSilu", unary, 1, .function = swish},
    {"aclnnGelu", unary, 1, .function = gelu},
    {"aclnnGeluV2", gelu_either, .outputs = 1},
    {"aclnnInplaceCopy", copy_in, .outputs = 0},
    {"aclnnCast", cast, .outputs = 1},
    {"aclnnInplaceZero", zero, .outputs = 0},
    {"aclnnInplaceOne", one, .outputs = 0},
    {"aclnnInplaceFillScalar", constant, .outputs = 0},
    {"aclnnInplaceUniform", random_uniform, .outputs = 0},
    {"aclnnInplaceNormal", random_normal, .outputs = 0},
    {"aclnnInplaceRandom", random_integers, .outputs = 0},
    {"aclnnArange", arange, .outputs = 1},
    {"aclnnInplaceMaskedFillScalar", masked_fill, .outputs = 0},
    {"aclnnSWhere", where, .outputs = 1},
    {"aclnnTril", tril, .outputs = 1},
    {"aclnnTriu", triu, .outputs = 1},
    {"aclnnInplaceTril", tril, .outputs = 0},
    {"aclnnInplaceTriu", triu, .outputs = 0},
    {"aclnnCat", concatenate, .outputs = 1},
    {"aclnnConstantPadNd", compute_pad, .outputs = 1},
    {"aclnnSoftmax", compute_softmax, .outputs = 1},
    {"aclnnLogSoftmax", compute_log_softmax, .outputs = 1},
    {"aclnnArgMax", compute_argmax, .outputs = 1},
    {"aclnnReduceSum", compute_reduce_sum, .outputs = 1},
    {"aclnnMean", compute_reduce_mean, .outputs = 1},
    {"aclnnLayerNorm", compute_layer_norm, .outputs = 3},
    {"aclnnEmbedding", compute_embedding, .outputs = 1},
    {"aclnnIndexSelect", compute_index_select, .outputs = 1},
    {"aclnnMm", compute_matmul, .outputs = 1},
    {"aclnnMatmul", compute_matmul, .outputs = 1},
    {"aclnnBatchMatMul", compute_matmul, .outputs = 1},
    {"aclnnAddmm", compute_addmm, .outputs = 1},
    {"aclnnBaddbmm", compute_addmm, .outputs = 1},
    {"aclnnFlashAttentionScore", compute_attention, 4, .layout = 11},
    {"aclnnFlashAttentionScoreGrad", attention_gradient, 4, .layout = 16},
    {"aclnnNLLLoss", compute_nll_loss, .outputs = 2},
    {"aclnnNLLLossBackward", nll_loss_gradient, .outputs = 1},
    {"aclnnLogSoftmaxBackward", log_softmax_gradient, .outputs = 1},
    {"aclnnThresholdBackward", threshold_gradient, .outputs = 1},
    {"aclnnGeluBackward", gelu_gradient, .outputs = 1},
    {"aclnnLayerNormBackward", layer_norm_gradient, .outputs = 3},
    {"aclnnEmbeddingDenseBackward", embedding_gradient, .outputs = 1},
    {"aclnnForeachSqrt", foreach_sqrt, .outputs = ALL_OF_LIST},
    {"aclnnForeachAddScalarV2", foreach_add_scalar, .outputs = ALL_OF_LIST},
    {"aclnnForeachMulScalarV2", foreach_mul_scalar, .outputs = ALL_OF_LIST},
    {"aclnnForeachDivScalarList", foreach_div_scalars, .outputs = ALL_OF_LIST},
    {"aclnnForeachAddListV2", foreach_add_list, .outputs = ALL_OF_LIST},
    {"aclnnForeachLerpScalar", foreach_lerp, .outputs = ALL_OF_LIST},
    {"aclnnForeachAddcmulScalarV2", foreach_addcmul, .outputs = ALL_OF_LIST},
    {"aclnnInplaceAddcdiv", compute_addcdiv, .outputs = 0},
    /* Accepted only: which tensors are outputs. */
    {"aclnnConvolutionBackward", .outputs = 3},
    {"aclnnBatchNorm", .outputs = 3},
    {"aclnnBatchNormBackward", .outputs = 3},
    {"aclnnMaxDim", .outputs = 2},
    {"aclnnMinDim", .outputs = 2},
    {"aclnnSort", .outputs = 2},
    {"aclnnTopkV2", .outputs = 2},
};

const Kernel *find_kernel(const char *name) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (!strcmp(kernels[i].name, name)) {
            return &kernels[i];
        }
    }
    return NULL;
}
