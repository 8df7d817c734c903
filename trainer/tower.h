// A tower's output: logit = <h, w> + b, one number a row. It is our own dot product in 16 fixed lanes, since
// a library's result for a matrix one wide depends on how many rows are in the call. Logits and their
// gradients of all tasks lie in one matrix [n x tasks]; `logits` and `dlogits` point to the task's first.
#ifndef TRAINER_TOWER_H
#define TRAINER_TOWER_H

#include <stdint.h>

#include "trainer/mixture.h"

// logits[r * tasks] = <h[r], weight> + *bias; h [n x width].
void trainer_tower_forward(struct trainer_rows rows, uint32_t width, uint32_t tasks, const float *h,
                           const float *weight, const float *bias, float *logits);

// dh[r] = dlogits[r * tasks] * weight; where `mask` (NULL or [n x width]) is not positive, 0.
void trainer_tower_backward(struct trainer_rows rows, uint32_t width, uint32_t tasks, const float *dlogits,
                            const float *weight, const float *mask, float *dh);

// weight += alpha * (sum of dlogit h over the rows, in their order); *bias += alpha * (sum of dlogit).
void trainer_tower_update(uint32_t n, uint32_t width, uint32_t tasks, float alpha, const float *h,
                          const float *dlogits, float *weight, float *bias);

#endif
