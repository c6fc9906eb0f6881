/* The arithmetic along dimensions: softmax, norms, sums, look-ups and matrices. */
#include "emulator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- along a dimension --------------------------------------------------------------------- */

Axis axis_of(const Tensor *tensor, int dim) {
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
        const double logarithm = log(sum);
        for (int64_t i = 0; i < axis.size; i++) {
            const double shifted = at[i * axis.inner] - largest;
            at[i * axis.inner] = logarithmic ? shifted - logarithm : exp(shifted) / sum;
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

/* Input, what to add before and after (less than 0: to cut off) from the last dimension on, value. */
void compute_pad(const Launch *launch) {
    Tensor input = *launch->tensors[0], part = *result_of(launch);
    const IntArray *pads = (const IntArray *)launch->words[1];
    for (uint64_t i = 0; i + 1 < pads->size; i += 2) {
        const int dim = input.dims - 1 - (int)(i / 2);
        const int64_t before = pads->values[i], after = pads->values[i + 1];
        input.offset += before < 0 ? -before * input.stride[dim] : 0;
        part.offset += before > 0 ? before * part.stride[dim] : 0;
        input.shape[dim] += (before < 0 ? before : 0) + (after < 0 ? after : 0);
    }
    memcpy(part.shape, input.shape, sizeof part.shape);
    fill_with(result_of(launch), scalar_at(launch, 2));
    copy_tensor(&input, &part);
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

/* Add alpha times the product of two matrices: two rows and four steps of the depth at a time, to
 * reuse loaded values. */
WIDE static void add_product(double *sums, const double *left, const double *right, double alpha,
                             int64_t rows, int64_t depth, int64_t columns) {
    const int64_t paired = rows / 2 * 2, whole = depth / 4 * 4;
    for (int64_t row = 0; row < paired; row += 2) {
        double *s0 = sums + row * columns, *s1 = s0 + columns;
        for (int64_t k = 0; k < whole; k += 4) {
            const double *l0 = left + row * depth + k, *l1 = l0 + depth;
            const double a0 = alpha * l0[0], a1 = alpha * l0[1], a2 = alpha * l0[2];
            const double b0 = alpha * l1[0], b1 = alpha * l1[1], b2 = alpha * l1[2];
            const double a3 = alpha * l0[3], b3 = alpha * l1[3];
            const double *r0 = right + k * columns, *r1 = r0 + columns, *r2 = r1 + columns;
            const double *r3 = r2 + columns;
#pragma omp simd
            for (int64_t c = 0; c < columns; c++) {
                s0[c] += a0 * r0[c] + a1 * r1[c] + a2 * r2[c] + a3 * r3[c];
                s1[c] += b0 * r0[c] + b1 * r1[c] + b2 * r2[c] + b3 * r3[c];
            }
        }
    }
    for (int64_t row = 0; row < rows; row++) { /* the rest, below two rows or four steps */
        for (int64_t k = row < paired ? whole : 0; k < depth; k++) {
            const double factor = alpha * left[row * depth + k];
            const double *from = right + k * columns;
            double *to = sums + row * columns;
#pragma omp simd
            for (int64_t c = 0; c < columns; c++) {
                to[c] += factor * from[c];
            }
        }
    }
}

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
    const int64_t size = rows * columns, matrices = depth && size ? count / size : 0;
    for (int64_t at = 0; at < matrices; at++) {
        /* The side with fewer matrices repeats them. */
        add_product(sums + at * size, a + at * rows * depth % element_count(left),
                    b + at * depth * columns % element_count(right), alpha, rows, depth, columns);
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
