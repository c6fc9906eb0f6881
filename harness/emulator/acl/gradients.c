/* The operators of training: the loss, and the gradients of the layers of MLPs and transformers. */
#include "emulator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEAN = 1, SUM = 2 }; /* how a loss is reduced; 0: not at all */

typedef struct {
    double *target, *weight; /* the classes' weights, or NULL */
    int64_t rows, classes, ignored;
    int reduction;
} Loss;

/* Classes along the last dimension of `scores`; target, weight, reduction and ignored class come
 * one after the other from `word` on. */
static Loss read_loss(const Launch *launch, const Tensor *scores, int word) {
    const Tensor *weight = tensor_at(launch, word + 1);
    const int64_t classes = scores->shape[scores->dims - 1];
    return (Loss){
        .target = read_all(tensor_at(launch, word)),
        .weight = weight ? read_all(weight) : NULL,
        .rows = element_count(scores) / classes,
        .classes = classes,
        .ignored = (int64_t)launch->words[word + 3],
        .reduction = (int)launch->words[word + 2],
    };
}

/* The class of a row, or -1 where it does not count. */
static int64_t class_of(const Loss *loss, int64_t row) {
    const int64_t class = (int64_t)loss->target[row];
    return class == loss->ignored || class < 0 || class >= loss->classes ? -1 : class;
}

static double weight_of(const Loss *loss, int64_t class) {
    return loss->weight ? loss->weight[class] : 1;
}

static void free_loss(Loss *loss) {
    free(loss->target);
    free(loss->weight);
}

/* Scores, target, weight, reduction, ignored class; loss, sum of weights. */
void compute_nll_loss(const Launch *launch) {
    const Tensor *scores = tensor_at(launch, 0);
    Loss loss = read_loss(launch, scores, 1);
    double *values = read_all(scores), *losses = allocate_values(loss.rows, sizeof *losses);
    double *total = allocate_values(1, sizeof *total), sum = *total = 0;
    for (int64_t row = 0; row < loss.rows; row++) {
        const int64_t class = class_of(&loss, row);
        losses[row] = class < 0 ? 0 : -weight_of(&loss, class) * values[row * loss.classes + class];
        *total += class < 0 ? 0 : weight_of(&loss, class);
        sum += losses[row];
    }
    if (loss.reduction) {
        losses[0] = loss.reduction == MEAN ? sum / *total : sum;
    }
    free(values);
    free_loss(&loss);
    write_all(tensor_at(launch, 5), losses);
    write_all(tensor_at(launch, 6), total);
}

/* Gradient of the loss, scores, target, weight, reduction, ignored class, sum of weights; gradient
 * of the scores. */
void nll_loss_gradient(const Launch *launch) {
    const Tensor *result = tensor_at(launch, 7);
    Loss loss = read_loss(launch, tensor_at(launch, 1), 2);
    double *entering = read_all(tensor_at(launch, 0)), *total = read_all(tensor_at(launch, 6));
    double *values = allocate_values(element_count(result), sizeof *values);
    memset(values, 0, (size_t)element_count(result) * sizeof *values);
    for (int64_t row = 0; row < loss.rows; row++) {
        const int64_t class = class_of(&loss, row);
        if (class >= 0) {
            const double own = entering[loss.reduction ? 0 : row];
            const double scale = loss.reduction == MEAN ? *total : 1;
            values[row * loss.classes + class] = -own * weight_of(&loss, class) / scale;
        }
    }
    free(entering);
    free(total);
    free_loss(&loss);
    write_all(result, values);
}

/* Gradient of the result, result, dimension; gradient of the input. */
void log_softmax_gradient(const Launch *launch) {
    const Tensor *result = result_of(launch), *output = tensor_at(launch, 1);
    const Axis axis = axis_of(output, dim_at(launch, 2, output));
    double *entering = read_all(tensor_at(launch, 0)), *values = read_all(output);
    for (int64_t line = 0; line < axis.outer * axis.inner; line++) {
        const int64_t first = line / axis.inner * axis.size * axis.inner + line % axis.inner;
        double sum = 0;
        for (int64_t i = 0; i < axis.size; i++) {
            sum += entering[first + i * axis.inner];
        }
        for (int64_t i = 0; i < axis.size; i++) {
            const int64_t at = first + i * axis.inner;
            values[at] = entering[at] - exp(values[at]) * sum;
        }
    }
    free(entering);
    write_all(result, values);
}

/* Gradient of the result, input, threshold; gradient of the input. */
void threshold_gradient(const Launch *launch) {
    const Tensor *result = result_of(launch);
    const double threshold = scalar_at(launch, 2);
    double *values = read_as(tensor_at(launch, 0), result);
    double *input = read_as(tensor_at(launch, 1), result);
    for (int64_t i = 0; i < element_count(result); i++) {
        values[i] = input[i] > threshold ? values[i] : 0;
    }
    free(input);
    write_all(result, values);
}

/* Gradient of the result, input; gradient of the input. */
void gelu_gradient(const Launch *launch) {
    const Tensor *result = result_of(launch);
    double *values = read_as(tensor_at(launch, 0), result);
    double *input = read_as(tensor_at(launch, 1), result);
    const double density = 1 / sqrt(2 * acos(-1));
    for (int64_t i = 0; i < element_count(result); i++) {
        const double x = input[i], below = (1 + erf(x / sqrt(2))) / 2;
        values[i] *= below + x * density * exp(-x * x / 2);
    }
    free(input);
    write_all(result, values);
}

/* Gradient of the result, input, normalised shape, mean, 1/deviation, weight, bias, which gradients
 * are wanted; gradients of input, weight and bias. */
void layer_norm_gradient(const Launch *launch) {
    const Tensor *input = tensor_at(launch, 1), *weight = tensor_at(launch, 5);
    const IntArray *shape = (const IntArray *)launch->words[2];
    int64_t size = 1;
    for (uint64_t i = 0; i < shape->size; i++) {
        size *= shape->values[i];
    }
    const int64_t rows = element_count(input) / size;
    double *entering = read_all(tensor_at(launch, 0)), *values = read_all(input);
    double *means = read_all(tensor_at(launch, 3)), *inverses = read_all(tensor_at(launch, 4));
    double *scale = weight ? read_all(weight) : NULL;
    double *to_weight = allocate_values(size, sizeof *to_weight);
    double *to_bias = allocate_values(size, sizeof *to_bias);
    memset(to_weight, 0, (size_t)size * sizeof *to_weight);
    memset(to_bias, 0, (size_t)size * sizeof *to_bias);
    for (int64_t row = 0; row < rows; row++) {
        double *x = values + row * size, *gradient = entering + row * size, sum = 0, product = 0;
        for (int64_t i = 0; i < size; i++) {
            x[i] = (x[i] - means[row]) * inverses[row]; /* normalised, from here on */
            to_weight[i] += gradient[i] * x[i];
            to_bias[i] += gradient[i];
            gradient[i] *= scale ? scale[i] : 1;
            sum += gradient[i];
            product += gradient[i] * x[i];
        }
        for (int64_t i = 0; i < size; i++) {
            x[i] = (gradient[i] - (sum + x[i] * product) / (double)size) * inverses[row];
        }
    }
    double *found[] = {values, to_weight, to_bias};
    for (int i = 0; i < 3; i++) {
        const Tensor *result = tensor_at(launch, 8 + i);
        result ? write_all(result, found[i]) : free(found[i]);
    }
    free(entering);
    free(means);
    free(inverses);
    free(scale);
}

/* Gradient of the rows, their numbers, how many rows there are, which one to leave out, whether to
 * divide by how often each occurs (which is not done); gradient of the table. */
void embedding_gradient(const Launch *launch) {
    const Tensor *result = result_of(launch), *index = tensor_at(launch, 1);
    const int64_t rows = (int64_t)launch->words[2], left_out = (int64_t)launch->words[3];
    const int64_t size = rows ? element_count(result) / rows : 0;
    double *entering = read_all(tensor_at(launch, 0)), *numbers = read_all(index);
    double *values = allocate_values(element_count(result), sizeof *values);
    memset(values, 0, (size_t)element_count(result) * sizeof *values);
    for (int64_t pick = 0; pick < element_count(index); pick++) {
        const int64_t row = (int64_t)numbers[pick];
        for (int64_t i = 0; i < size && row >= 0 && row < rows && row != left_out; i++) {
            values[row * size + i] += entering[pick * size + i];
        }
    }
    free(entering);
    free(numbers);
    write_all(result, values);
}
