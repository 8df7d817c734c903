// Gates and mixtures: g = softmax(s), h = sum of g_i E_i, forward and backward. Kernels over blocks of rows:
// a row depends on itself alone. Scores and their gradients of all gates that read the same input lie side by
// side in one matrix [n x stride]; a gate owns `count` columns of it from `column` on.
#ifndef TRAINER_MIXTURE_H
#define TRAINER_MIXTURE_H

#include <stddef.h>
#include <stdint.h>

// Rows [begin, end).
struct trainer_rows {
    uint32_t begin, end;
};

// Row r of the term is weight[r * stride] * value[r * width ..].
struct trainer_mixture_term {
    const float *value;  // [n x width]
    const float *weight; // first row's weight
    uint32_t stride;     // floats from a row's weight to the next row's
};

// scores[r, column .. column + count) becomes its softmax, computed after the largest score is subtracted.
void trainer_mixture_softmax(struct trainer_rows rows, uint32_t stride, uint32_t column, uint32_t count,
                             float *scores);

// out[r] = sum of the terms' rows, in their order; where `mask` (NULL or [n x width]) is not positive, 0.
// Forward: the experts under a gate's probabilities. Backward: an expert's gradient, the dh of every gate
// that weighs it.
void trainer_mixture_sum(struct trainer_rows rows, uint32_t width, uint32_t count,
                         const struct trainer_mixture_term *terms, const float *mask, float *out);

// Gradient by a gate's scores: ds_i = g_i (u_i - sum of g_j u_j) with u_i = <dh, E_i>. experts[count] ->
// [n x width]; dh [n x width]; g and ds [n x stride].
void trainer_mixture_backward(struct trainer_rows rows, uint32_t width, uint32_t count,
                              const float *const *experts, const float *dh, uint32_t stride, uint32_t column,
                              const float *g, float *ds);

#endif
