/* Attention, forward and backward: the probabilities are computed anew for the gradient. */
#include "emulator.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

typedef struct {
    Heads query, key, value;
    int64_t batches, head_size, ahead; /* a causal row sees its number plus `ahead` columns */
    double scale, *bias, *mask;
    bool causal;
} Attention;

/* Query, key and value come first; the places of the others differ. */
static Attention read_attention(const Launch *launch, int bias, int mask, int heads, int kind) {
    const Tensor *query = tensor_at(launch, 0);
    const char *layout = launch->layout;
    const int64_t head_size = strchr(layout, 'H')
                                  ? size_of(query, layout, 'H') / (int64_t)launch->words[heads]
                                  : size_of(query, layout, 'D');
    Attention all = {
        .query = split_heads(query, layout, head_size),
        .key = split_heads(tensor_at(launch, 1), layout, head_size),
        .value = split_heads(tensor_at(launch, 2), layout, head_size),
        .batches = size_of(query, layout, 'B'),
        .head_size = head_size,
        .scale = launch->floats[0],
    };
    const int64_t rows = all.query.rows, columns = all.key.rows, count = all.query.heads;
    all.bias = broadcast(tensor_at(launch, bias), all.batches, count, rows, columns);
    /* Kinds 2 and 3 are causal, aligned at the first and at the last rows: their mask is a sample
     * of a fixed size. Others (1: the mask alone, 4 and up: bands) are read as 0. */
    const int which = (int)launch->words[kind];
    all.causal = which == 2 || which == 3;
    all.ahead = which == 3 ? columns - rows : 0;
    if (!all.causal) {
        all.mask = broadcast(tensor_at(launch, mask), all.batches, count, rows, columns);
    }
    return all;
}

static void free_attention(Attention *all) {
    free(all->query.values);
    free(all->key.values);
    free(all->value.values);
    free(all->bias);
    free(all->mask);
}

typedef struct {
    int64_t at, batch, head, row;
    int64_t shared; /* several queries' heads may share one of the keys */
    int64_t columns; /* that may be seen; others follow them */
} Row;

static Row find_row(const Attention *all, int64_t at) {
    const Heads *query = &all->query, *key = &all->key;
    Row row = {.at = at, .row = at % query->rows, .head = at / query->rows % query->heads};
    row.batch = at / query->rows / query->heads;
    row.shared = row.head * key->heads / query->heads;
    const int64_t seen = row.row + all->ahead + 1;
    row.columns = !all->causal || seen > key->rows ? key->rows : seen > 0 ? seen : 0;
    return row;
}

WIDE static double dot(const double *left, const double *right, int64_t size) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < size; i++) {
        sum += left[i] * right[i];
    }
    return sum;
}

WIDE static void add_scaled(double *to, const double *from, double factor, int64_t size) {
#pragma omp simd
    for (int64_t i = 0; i < size; i++) {
        to[i] += factor * from[i];
    }
}

/* The probabilities of one row; all 0 if everything is masked. */
static void probabilities_of(const Attention *all, const Row *row, double *found) {
    const double *query = row_of(&all->query, row->batch, row->head, row->row);
    const int64_t first = row->at * all->key.rows;
    double largest = -INFINITY, sum = 0;
    for (int64_t column = 0; column < row->columns; column++) {
        if (all->mask && all->mask[first + column] != 0) {
            found[column] = -INFINITY;
            continue;
        }
        const double *key = row_of(&all->key, row->batch, row->shared, column);
        found[column] = dot(query, key, all->head_size) * all->scale +
                        (all->bias ? all->bias[first + column] : 0);
        largest = fmax(largest, found[column]);
    }
    for (int64_t column = 0; column < row->columns; column++) {
        found[column] = largest == -INFINITY ? 0 : exp(found[column] - largest);
        sum += found[column];
    }
    for (int64_t column = 0; sum > 0 && column < row->columns; column++) {
        found[column] /= sum;
    }
}

/* Query, key, value, bias, (dropout mask, padding mask,) mask, (prefix), tokens before and after,
 * heads, layout, precision, kind of mask; maxima, sums, probabilities, result. */
void compute_attention(const Launch *launch) {
    const Tensor *result = tensor_at(launch, 17);
    Attention all = read_attention(launch, 3, 6, 10, 13);
    Heads output = split_heads(result, launch->layout, all.head_size);
    double *weights = allocate_values(all.key.rows, sizeof *weights);
    for (int64_t at = 0; at < all.batches * all.query.heads * all.query.rows; at++) {
        const Row row = find_row(&all, at);
        probabilities_of(&all, &row, weights);
        double *to = row_of(&output, row.batch, row.head, row.row);
        memset(to, 0, (size_t)all.head_size * sizeof *to);
        for (int64_t column = 0; column < row.columns; column++) {
            const double *value = row_of(&all.value, row.batch, row.shared, column);
            add_scaled(to, value, weights[column], all.head_size);
        }
    }
    for (int i = 14; i < 17; i++) {
        fill_with_zeros(tensor_at(launch, i)); /* the gradient does without them */
    }
    write_all(result, output.values);
    free(weights);
    free_attention(&all);
}

static Heads empty_heads(const Tensor *tensor, const char *layout, int64_t head_size) {
    fill_with_zeros(tensor);
    return split_heads(tensor, layout, head_size);
}

/* Query, key, value, the result's gradient, bias, (dropout mask, padding mask,) mask, maxima, sums,
 * probabilities, result, prefix, tokens before and after, heads, layout, precision, kind of mask;
 * the gradients of query, key, value and bias, the last of which stays 0. */
void attention_gradient(const Launch *launch) {
    const char *layout = launch->layout;
    Attention all = read_attention(launch, 4, 7, 15, 18);
    const int64_t size = all.head_size;
    Heads gradient = split_heads(tensor_at(launch, 3), layout, size);
    Heads result = split_heads(tensor_at(launch, 11), layout, size);
    Heads to_query = empty_heads(tensor_at(launch, 19), layout, size);
    Heads to_key = empty_heads(tensor_at(launch, 20), layout, size);
    Heads to_value = empty_heads(tensor_at(launch, 21), layout, size);
    double *weights = allocate_values(all.key.rows, sizeof *weights);
    for (int64_t at = 0; at < all.batches * all.query.heads * all.query.rows; at++) {
        const Row row = find_row(&all, at);
        probabilities_of(&all, &row, weights);
        const double *query = row_of(&all.query, row.batch, row.head, row.row);
        const double *entering = row_of(&gradient, row.batch, row.head, row.row);
        const double *left = row_of(&result, row.batch, row.head, row.row);
        double *own = row_of(&to_query, row.batch, row.head, row.row);
        const double mean = dot(entering, left, size);
        for (int64_t column = 0; column < row.columns; column++) {
            const double *value = row_of(&all.value, row.batch, row.shared, column);
            const double *key = row_of(&all.key, row.batch, row.shared, column);
            const double weight = weights[column];
            const double score = weight * (dot(entering, value, size) - mean) * all.scale;
            add_scaled(own, key, score, size);
            add_scaled(row_of(&to_key, row.batch, row.shared, column), query, score, size);
            add_scaled(row_of(&to_value, row.batch, row.shared, column), entering, weight, size);
        }
    }
    write_all(tensor_at(launch, 19), to_query.values);
    write_all(tensor_at(launch, 20), to_key.values);
    write_all(tensor_at(launch, 21), to_value.values);
    if (tensor_at(launch, 22)) {
        fill_with_zeros(tensor_at(launch, 22));
    }
    free(weights);
    free(gradient.values);
    free(result.values);
    free_attention(&all);
}
