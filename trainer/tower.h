// A tower's output: logit = <h, w> + b, one number a row. It is our own dot product in 16 fixed lanes, since
// a library's result for a matrix one wide depends on how many rows are in the call. Logits and their
// gradients of all outputs lie in one matrix [n x stride]; `logits` and `dlogits` point to the output's
// first.
#ifndef TRAINER_TOWER_H
#define TRAINER_TOWER_H

#include <stdbool.h>
#include <stdint.h>

#include "trainer/mixture.h"

// logits[r * stride] = <h[r], weight> + *bias; h [n x width].
void trainer_tower_forward(struct trainer_rows rows, uint32_t width, uint32_t stride, const float *h,
                           const float *weight, const float *bias, float *logits);

// dh[r] = dlogits[r * stride] * weight, or += if `add`; where `mask` (NULL or [n x width]) is not positive,
// 0.
void trainer_tower_backward(struct trainer_rows rows, uint32_t width, uint32_t stride, const float *dlogits,
                            const float *weight, const float *mask, bool add, float *dh);

// weight += alpha * (sum of dlogit h over the rows, in their order); *bias += alpha * (sum of dlogit).
void trainer_tower_update(uint32_t n, uint32_t width, uint32_t stride, float alpha, const float *h,
                          const float *dlogits, float *weight, float *bias);

#endif
