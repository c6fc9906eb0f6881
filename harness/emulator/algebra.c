/* The arithmetic along dimensions: softmax, norms, sums, look-ups, matrices and attention. */
#include "emulator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

void compute_softmax(const Launch *launch) { softmax_either(launch, false); }
void compute_log_softmax(const Launch *launch) { softmax_either(launch, true); }

void compute_argmax(const Launch *launch) {
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

void compute_reduce_sum(const Launch *launch) { sum_or_mean(launch, false); }
void compute_reduce_mean(const Launch *launch) { sum_or_mean(launch, true); }

/* Input, normalised shape, weight, bias, (epsilon,) output, mean, 1/deviation. */
void compute_layer_norm(const Launch *launch) {
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
    double *means = allocate_values(rows, sizeof *means);
    double *inverses = allocate_values(rows, sizeof *inverses);
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
            double *to = found + (outer * picks + pick) * axis.inner;
            const size_t size = (size_t)axis.inner * sizeof *to;
            if (row < 0 || row >= axis.size) {
                memset(to, 0, size); /* an index that an operator not computed has left */
            } else {
                memcpy(to, values + (outer * axis.size + row) * axis.inner, size);
            }
        }
    }
    free(values);
    free(rows);
    write_all(result, found);
}

void compute_embedding(const Launch *launch) {
    select_rows(tensor_at(launch, 0), 0, tensor_at(launch, 1), result_of(launch));
}

void compute_index_select(const Launch *launch) {
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

void compute_matmul(const Launch *launch) {
    multiply_matrices(tensor_at(launch, 0), tensor_at(launch, 1), result_of(launch), 1, NULL, 0);
}

void compute_addmm(const Launch *launch) {
    multiply_matrices(tensor_at(launch, 1), tensor_at(launch, 2), result_of(launch),
                      scalar_at(launch, 4), tensor_at(launch, 0), scalar_at(launch, 3));
}

/* --- attention ----------------------------------------------------------------------------- */

/* How far apart the elements of one letter of a layout (BNSD, BSND, BSH, SBH) are; 0: absent. */
static int64_t stride_of(const Tensor *tensor, const char *layout, char letter) {
    const char *found = strchr(layout, letter);
    return found ? tensor->stride[found - layout] : 0;
}

static int64_t size_of(const Tensor *tensor, const char *layout, char letter) {
    const char *found = strchr(layout, letter);
    return found ? tensor->shape[found - layout] : 1;
}

typedef struct {
    double *values; /* of the whole tensor, by its own strides */
    int64_t batch, head, row, heads, rows; /* strides; sizes */
} Heads;

/* The values of a tensor as (batch, head, row, element): H is all heads' elements in one. */
static Heads split_heads(const Tensor *tensor, const char *layout, int64_t head_size) {
    Tensor dense = *tensor;
    for (int64_t i = tensor->dims - 1, stride = 1; i >= 0; stride *= tensor->shape[i--]) {
        dense.stride[i] = stride;
    }
    const bool joined = strchr(layout, 'H') != NULL;
    return (Heads){
        .values = read_all(tensor),
        .batch = stride_of(&dense, layout, 'B'),
        .head = joined ? head_size : stride_of(&dense, layout, 'N'),
        .row = stride_of(&dense, layout, 'S'),
        .heads = joined ? size_of(&dense, layout, 'H') / head_size : size_of(&dense, layout, 'N'),
        .rows = size_of(&dense, layout, 'S'),
    };
}

static double *row_of(const Heads *heads, int64_t batch, int64_t head, int64_t row) {
    return heads->values + batch * heads->batch + head * heads->head + row * heads->row;
}

/* A mask or a bias, broadcast to (batch, head, row, column). */
static double *broadcast(const Tensor *tensor, int64_t batches, int64_t heads, int64_t rows,
                         int64_t columns) {
    const Tensor like = {.shape = {batches, heads, rows, columns}, .dims = 4};
    return tensor ? read_as(tensor, &like) : NULL;
}

/* Query, key, value, bias, (dropout mask, padding mask,) mask, (prefix), tokens before and after,
 * heads, layout, precision, kind of mask; maxima, sums, probabilities, result. */
void compute_attention(const Launch *launch) {
    const Tensor *query_in = tensor_at(launch, 0), *result = tensor_at(launch, 17);
    const char *layout = launch->layout;
    const int64_t head_count = (int64_t)launch->words[10];
    const int kind = (int)launch->words[13];
    const int64_t head_size = strchr(layout, 'H') ? size_of(query_in, layout, 'H') / head_count
                                                  : size_of(query_in, layout, 'D');
    Heads query = split_heads(query_in, layout, head_size);
    Heads key = split_heads(tensor_at(launch, 1), layout, head_size);
    Heads value = split_heads(tensor_at(launch, 2), layout, head_size);
    Heads output = split_heads(result, layout, head_size);
    const int64_t batches = size_of(query_in, layout, 'B');
    double *bias = broadcast(tensor_at(launch, 3), batches, query.heads, query.rows, key.rows);
    /* Kinds 2 and 3 are causal, aligned at the first and at the last rows: their mask is a sample
     * of a fixed size. Others (1: the mask alone, 4 and up: bands) are read as 0. */
    const bool causal = kind == 2 || kind == 3;
    double *mask = causal ? NULL : broadcast(tensor_at(launch, 6), batches, query.heads,
                                             query.rows, key.rows);
    const int64_t ahead = kind == 3 ? key.rows - query.rows : 0;
    double *scores = allocate_values(key.rows, sizeof *scores);
    for (int64_t at = 0; at < batches * query.heads * query.rows; at++) {
        const int64_t row = at % query.rows, head = at / query.rows % query.heads;
        const int64_t batch = at / query.rows / query.heads;
        const int64_t shared = head * key.heads / query.heads; /* several queries may share a key */
        const double *q = row_of(&query, batch, head, row);
        double largest = -INFINITY, sum = 0;
        for (int64_t column = 0; column < key.rows; column++) {
            const bool hidden = causal ? column > row + ahead
                                       : mask && mask[at * key.rows + column] != 0;
            if (hidden) {
                scores[column] = -INFINITY;
                continue;
            }
            const double *k = row_of(&key, batch, shared, column);
            double score = 0;
#pragma omp simd reduction(+ : score)
            for (int64_t i = 0; i < head_size; i++) {
                score += q[i] * k[i];
            }
            scores[column] = score * launch->floats[0] + (bias ? bias[at * key.rows + column] : 0);
            largest = fmax(largest, scores[column]);
        }
        double *to = row_of(&output, batch, head, row);
        memset(to, 0, (size_t)head_size * sizeof *to);
        for (int64_t column = 0; column < key.rows; column++) {
            scores[column] = largest == -INFINITY ? 0 : exp(scores[column] - largest);
            sum += scores[column];
        }
        for (int64_t column = 0; sum > 0 && column < key.rows; column++) {
            const double *v = row_of(&value, batch, shared, column), weight = scores[column] / sum;
            for (int64_t i = 0; weight != 0 && i < head_size; i++) {
                to[i] += weight * v[i];
            }
        }
    }
    for (int i = 14; i < 17; i++) {
        fill_with_zeros(tensor_at(launch, i)); /* only the gradient reads them */
    }
    write_all(result, output.values);
    free(query.values);
    free(key.values);
    free(value.values);
    free(bias);
    free(mask);
    free(scores);
}
