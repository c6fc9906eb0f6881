/* The arithmetic of the few operators that are computed: those of matmul, MLPs and transformers.
 */
#include "emulator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- arguments ----------------------------------------------------------------------------- */

static const Tensor *result_of(const Launch *launch) {
    return launch->tensors[launch->outputs ? launch->count - launch->outputs : 0];
}

static const Tensor *tensor_at(const Launch *launch, int word) {
    return (const Tensor *)launch->words[word];
}

static double scalar_at(const Launch *launch, int word) {
    return ((const Scalar *)launch->words[word])->value;
}

static int dim_at(const Launch *launch, int word, const Tensor *tensor) {
    const int dim = (int)(int64_t)launch->words[word];
    return dim < 0 ? dim + tensor->dims : dim;
}

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

/* --- along a dimension --------------------------------------------------------------------- */

typedef struct {
    int64_t outer, size, inner; /* element (o, i, n) is at (o * size + i) * inner + n */
} Axis;

static Axis axis_of(const Tensor *tensor, int dim) {
    Axis axis = {1, 1, 1};
    for (int i = 0; i < tensor->dims; i++) {
        *(i < dim ? &axis.outer : i > dim ? &axis.inner : &axis.size) *= tensor->shape[i];
    }
    return axis;
}

static void softmax_either(const Launch *launch, bool logarithmic) {
    const Tensor *input = launch->tensors[0];
    const Axis axis = axis_of(input, dim_at(launch, 1, input));
    double *values = read_all(input);
    for (int64_t line = 0; line < axis.outer * axis.inner; line++) {
        double *at = values + line / axis.inner * axis.size * axis.inner + line % axis.inner;
        double largest = -INFINITY, sum = 0;
        for (int64_t i = 0; i < axis.size; i++) {
            largest = fmax(largest, at[i * axis.inner]);
        }
        for (int64_t i = 0; i < axis.size; i++) {
            sum += exp(at[i * axis.inner] - largest);
        }
        for (int64_t i = 0; i < axis.size; i++) {
            const double shifted = at[i * axis.inner] - largest;
            at[i * axis.inner] = logarithmic ? shifted - log(sum) : exp(shifted) / sum;
        }
    }
    write_all(result_of(launch), values);
}

static void softmax(const Launch *launch) { softmax_either(launch, false); }
static void log_softmax(const Launch *launch) { softmax_either(launch, true); }

static void argmax(const Launch *launch) {
    const Tensor *input = launch->tensors[0];
    const Axis axis = axis_of(input, dim_at(launch, 1, input));
    double *values = read_all(input);
    double *indices = allocate_values(axis.outer * axis.inner, sizeof *indices);
    for (int64_t line = 0; line < axis.outer * axis.inner; line++) {
        double *at = values + line / axis.inner * axis.size * axis.inner + line % axis.inner;
        int64_t best = 0;
        for (int64_t i = 1; i < axis.size; i++) {
            best = at[i * axis.inner] > at[best * axis.inner] ? i : best;
        }
        indices[line] = (double)best;
    }
    free(values);
    write_all(result_of(launch), indices);
}

/* Input, dimensions (none: all), whether they are kept, dtype. */
static void sum_or_mean(const Launch *launch, bool mean) {
    const Tensor *input = launch->tensors[0], *result = result_of(launch);
    const IntArray *dims = (const IntArray *)launch->words[1];
    bool reduced[MAX_DIMS] = {false};
    for (uint64_t i = 0; i < dims->size; i++) {
        reduced[dims->values[i] < 0 ? dims->values[i] + input->dims : dims->values[i]] = true;
    }
    const int64_t count = element_count(input), results = element_count(result);
    double *values = read_all(input), *sums = allocate_values(results, sizeof *sums);
    memset(sums, 0, (size_t)results * sizeof *sums);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, to = 0, stride = 1;
        for (int dim = input->dims - 1; dim >= 0; rest /= input->shape[dim--]) {
            if (!reduced[dim] && dims->size) {
                to += rest % input->shape[dim] * stride;
                stride *= input->shape[dim];
            }
        }
        sums[to] += mean ? values[i] * (double)results / (double)count : values[i];
    }
    free(values);
    write_all(result, sums);
}

static void reduce_sum(const Launch *launch) { sum_or_mean(launch, false); }
static void reduce_mean(const Launch *launch) { sum_or_mean(launch, true); }

/* Input, normalised shape, weight, bias, (epsilon,) output, mean, 1/deviation. */
static void layer_norm(const Launch *launch) {
    const Tensor *input = launch->tensors[0], *weight = tensor_at(launch, 2);
    const Tensor *bias = tensor_at(launch, 3), *mean_out = tensor_at(launch, 5);
    const Tensor *deviation_out = tensor_at(launch, 6);
    const IntArray *shape = (const IntArray *)launch->words[1];
    int64_t size = 1;
    for (uint64_t i = 0; i < shape->size; i++) {
        size *= shape->values[i];
    }
    const int64_t rows = element_count(input) / size;
    double *values = read_all(input);
    double *scale = weight ? read_all(weight) : NULL, *shift = bias ? read_all(bias) : NULL;
    double *means = allocate_values(rows, sizeof *means), *inverses = allocate_values(rows, sizeof *inverses);
    for (int64_t row = 0; row < rows; row++) {
        double *at = values + row * size, mean = 0, variance = 0;
        for (int64_t i = 0; i < size; i++) {
            mean += at[i] / (double)size;
        }
        for (int64_t i = 0; i < size; i++) {
            variance += (at[i] - mean) * (at[i] - mean) / (double)size;
        }
        means[row] = mean;
        inverses[row] = 1 / sqrt(variance + launch->floats[0]);
        for (int64_t i = 0; i < size; i++) {
            const double normal = (at[i] - mean) * inverses[row];
            at[i] = normal * (scale ? scale[i] : 1) + (shift ? shift[i] : 0);
        }
    }
    write_all(tensor_at(launch, 4), values);
    mean_out ? write_all(mean_out, means) : free(means);
    deviation_out ? write_all(deviation_out, inverses) : free(inverses);
    free(scale);
    free(shift);
}

/* --- look-ups ------------------------------------------------------------------------------ */

static void select_rows(const Tensor *table, int dim, const Tensor *index, const Tensor *result) {
    const Axis axis = axis_of(table, dim);
    const int64_t picks = element_count(index);
    double *values = read_all(table), *rows = read_all(index);
    double *found = allocate_values(element_count(result), sizeof *found);
    for (int64_t outer = 0; outer < axis.outer; outer++) {
        for (int64_t pick = 0; pick < picks; pick++) {
            const int64_t row = (int64_t)rows[pick] + (rows[pick] < 0 ? axis.size : 0);
            memcpy(found + (outer * picks + pick) * axis.inner,
                   values + (outer * axis.size + row) * axis.inner,
                   (size_t)axis.inner * sizeof *found);
        }
    }
    free(values);
    free(rows);
    write_all(result, found);
}

static void embedding(const Launch *launch) {
    select_rows(tensor_at(launch, 0), 0, tensor_at(launch, 1), result_of(launch));
}

static void index_select(const Launch *launch) {
    const Tensor *table = tensor_at(launch, 0);
    select_rows(table, dim_at(launch, 1, table), tensor_at(launch, 2), result_of(launch));
}

/* --- matrices ------------------------------------------------------------------------------ */

/* The product times alpha, plus `addend` times beta. */
static void multiply_matrices(const Tensor *left, const Tensor *right, const Tensor *result,
                              double alpha, const Tensor *addend, double beta) {
    const int64_t rows = left->dims > 1 ? left->shape[left->dims - 2] : 1;
    const int64_t depth = left->shape[left->dims - 1];
    const int64_t columns = right->dims > 1 ? right->shape[right->dims - 1] : 1;
    const int64_t count = element_count(result);
    double *a = read_all(left), *b = read_all(right);
    double *sums = addend ? read_as(addend, result) : allocate_values(count, sizeof *sums);
    for (int64_t i = 0; i < count; i++) {
        sums[i] = addend ? sums[i] * beta : 0;
    }
    for (int64_t row = 0; depth && row < count / columns; row++) {
        /* A side with fewer matrices than the other lends its own again. */
        const double *from = a + row * depth % element_count(left);
        const double *matrix = b + row / rows * depth * columns % element_count(right);
        for (int64_t k = 0; k < depth; k++) {
            const double factor = alpha * from[k];
            for (int64_t column = 0; column < columns; column++) {
                sums[row * columns + column] += factor * matrix[k * columns + column];
            }
        }
    }
    free(a);
    free(b);
    write_all(result, sums);
}

static void matmul(const Launch *launch) {
    multiply_matrices(tensor_at(launch, 0), tensor_at(launch, 1), result_of(launch), 1, NULL, 0);
}

static void addmm(const Launch *launch) {
    multiply_matrices(tensor_at(launch, 1), tensor_at(launch, 2), result_of(launch),
                      scalar_at(launch, 4), tensor_at(launch, 0), scalar_at(launch, 3));
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
    {"aclnnArange", arange, 1, NULL},
    {"aclnnInplaceMaskedFillScalar", masked_fill, 0, NULL},
    {"aclnnSWhere", where, 1, NULL},
    {"aclnnTril", tril, 1, NULL},
    {"aclnnTriu", triu, 1, NULL},
    {"aclnnInplaceTril", tril, 0, NULL},
    {"aclnnInplaceTriu", triu, 0, NULL},
    {"aclnnCat", concatenate, 1, NULL},
    {"aclnnSoftmax", softmax, 1, NULL},
    {"aclnnLogSoftmax", log_softmax, 1, NULL},
    {"aclnnArgMax", argmax, 1, NULL},
    {"aclnnReduceSum", reduce_sum, 1, NULL},
    {"aclnnMean", reduce_mean, 1, NULL},
    {"aclnnLayerNorm", layer_norm, 3, NULL},
    {"aclnnEmbedding", embedding, 1, NULL},
    {"aclnnIndexSelect", index_select, 1, NULL},
    {"aclnnMm", matmul, 1, NULL},
    {"aclnnMatmul", matmul, 1, NULL},
    {"aclnnBatchMatMul", matmul, 1, NULL},
    {"aclnnAddmm", addmm, 1, NULL},
    {"aclnnBaddbmm", addmm, 1, NULL},
    /* Accepted only: which tensors are outputs. */
    {"aclnnLayerNormBackward", NULL, 3, NULL},
    {"aclnnConvolutionBackward", NULL, 3, NULL},
    {"aclnnBatchNorm", NULL, 3, NULL},
    {"aclnnBatchNormBackward", NULL, 3, NULL},
    {"aclnnFlashAttentionScore", NULL, 4, NULL},
    {"aclnnFlashAttentionScoreGrad", NULL, 4, NULL},
    {"aclnnNLLLoss", NULL, 2, NULL},
    {"aclnnMaxDim", NULL, 2, NULL},
    {"aclnnMinDim", NULL, 2, NULL},
    {"aclnnSort", NULL, 2, NULL},
    {"aclnnTopk", NULL, 2, NULL},
};

const Kernel *find_kernel(const char *name) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        if (!strcmp(kernels[i].name, name)) {
            return &kernels[i];
        }
    }
    return NULL;
}
