// Kernels of soft and customized sharing: the penalty that ties the tasks' layers, the gradient of a stitch's
// weights, and vectors put side by side. Widths are multiples of 16.
#ifndef TRAINER_SHARING_H
#define TRAINER_SHARING_H

#include <stdbool.h>
#include <stdint.h>

#include "trainer/layer.h"
#include "trainer/mixture.h"

// to[k][:, block] += factor * (from[k] - mean of all from)[:, block] for k < count; all [rows x width]. to[k]
// may be from[k]: every element is read from all before it is written to one.
void trainer_sharing_pull(uint32_t rows, uint32_t width, struct trainer_block block, uint32_t count,
                          float factor, const float *const *from, float *const *to);

// The sum over n rows, in their order, of <a[r], b[r]>; both [n x width].
float trainer_sharing_product(uint32_t n, uint32_t width, const float *a, const float *b);

// out[r] = [left[r], right[r]]; out [n x (left_width + right_width)].
void trainer_sharing_concat(struct trainer_rows rows, uint32_t left_width, uint32_t right_width,
                            const float *left, const float *right, float *out);

// The way back: part[r] = whole[r, column .. column + width), or += if `add`; where `mask` (NULL or
// [n x width]) is not positive, 0. whole [n x stride], part [n x width].
void trainer_sharing_part(struct trainer_rows rows, uint32_t stride, uint32_t column, uint32_t width,
                          const float *whole, const float *mask, bool add, float *part);

#endif
