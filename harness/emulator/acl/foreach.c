/* The operators of optimizers on lists of tensors, element by element. */
#include "emulator.h"

#include <math.h>
#include <stdlib.h>

typedef double (*Combine)(double x, double y, double z, double number);
typedef double (*Number)(const Launch *launch, int word, uint64_t index);

static double same_number(const Launch *launch, int word, uint64_t index) {
    return (void)index, scalar_at(launch, word);
}

static double own_number(const Launch *launch, int word, uint64_t index) {
    return ((const Scalar *)((const List *)launch->words[word])->items[index])->value;
}

static void combine_into(const Tensor *result, const Tensor *const *from, double number,
                         Combine combine) {
    double *values[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3 && from[i]; i++) {
        values[i] = read_as(from[i], result);
    }
    double *x = values[0], *y = values[1] ? values[1] : x, *z = values[2] ? values[2] : x;
    for (int64_t i = 0; i < element_count(result); i++) {
        x[i] = combine(x[i], y[i], z[i], number);
    }
    free(values[1]);
    free(values[2]);
    write_all(result, x);
}

/* The lists, then what the number is taken from if there is one, then the list of results. */
static void for_each(const Launch *launch, int lists, Number number, Combine combine) {
    const List *results = (const List *)launch->words[lists + (number ? 1 : 0)];
    for (uint64_t index = 0; index < results->size; index++) {
        const Tensor *from[3] = {NULL, NULL, NULL};
        for (int list = 0; list < lists; list++) {
            from[list] = ((const List *)launch->words[list])->items[index];
        }
        const double with = number ? number(launch, lists, index) : 0;
        combine_into(results->items[index], from, with, combine);
    }
}

static double root(double x, double y, double z, double n) {
    return (void)y, (void)z, (void)n, sqrt(x);
}
static double plus(double x, double y, double z, double n) { return (void)y, (void)z, x + n; }
static double times(double x, double y, double z, double n) { return (void)y, (void)z, x * n; }
static double over(double x, double y, double z, double n) { return (void)y, (void)z, x / n; }
static double plus_times(double x, double y, double z, double n) { return (void)z, x + n * y; }
static double between(double x, double y, double z, double n) { return (void)z, x + n * (y - x); }
static double plus_product(double x, double y, double z, double n) { return x + n * y * z; }
static double plus_ratio(double x, double y, double z, double n) { return x + n * y / z; }

void foreach_sqrt(const Launch *launch) { for_each(launch, 1, NULL, root); }
void foreach_add_scalar(const Launch *launch) { for_each(launch, 1, same_number, plus); }
void foreach_mul_scalar(const Launch *launch) { for_each(launch, 1, same_number, times); }
void foreach_div_scalars(const Launch *launch) { for_each(launch, 1, own_number, over); }
void foreach_add_list(const Launch *launch) { for_each(launch, 2, same_number, plus_times); }
void foreach_lerp(const Launch *launch) { for_each(launch, 2, same_number, between); }
void foreach_addcmul(const Launch *launch) { for_each(launch, 3, same_number, plus_product); }

/* One tensor, in place: itself, two others, a number. */
void compute_addcdiv(const Launch *launch) {
    const Tensor *from[3] = {tensor_at(launch, 0), tensor_at(launch, 1), tensor_at(launch, 2)};
    combine_into(from[0], from, scalar_at(launch, 3), plus_ratio);
}
