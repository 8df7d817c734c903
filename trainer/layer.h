// A dense layer with ReLU: y = max(0, x W + b). Kernels over blocks of columns, so that every output element
// has one owner; a network's tiles are these blocks. Weights are [inputs x outputs]; all matrices are
// row-major and dense, all pointers to their first element. Blocks start at and span multiples of 16 columns.
#ifndef TRAINER_LAYER_H
#define TRAINER_LAYER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Columns [column, column + columns) of an [.. x width] matrix.
struct trainer_block {
    uint32_t column, columns;
};

struct trainer_layer_shape {
    uint32_t inputs, outputs;
};

// y[:, block] = max(0, x W[:, block] + b[block]) with x [n x inputs], y [n x outputs]; a NaN stays a NaN.
// `bias` NULL: linear, y = x W (gates).
void trainer_layer_forward(struct trainer_layer_shape shape, struct trainer_block block, uint32_t n,
                           const float *x, const float *weight, const float *bias, float *y);

// dx[:, block] = dy W[block, :]^T, or += if `add`; dy [n x outputs] is the gradient before ReLU, dx [n x
// inputs], `block` of the inputs. `whole`: as in gemm.h, columns of which the block may be a part.
void trainer_layer_backward(struct trainer_layer_shape shape, struct trainer_block block, uint32_t n,
                            uint32_t whole, const float *dy, const float *weight, bool add, float *dx);

// dy[:, block] = 0 where y is not positive; both [n x width].
void trainer_layer_mask(uint32_t width, struct trainer_block block, uint32_t n, const float *y, float *dy);

// weight[:, block] += alpha x^T dy[:, block]; bias[block] += alpha * (sum of dy's rows, in their order).
void trainer_layer_update(struct trainer_layer_shape shape, struct trainer_block block, uint32_t n,
                          float alpha, const float *x, const float *dy, float *weight, float *bias);

// The largest trainer_lanes_magnitude of values[count], count a multiple of 16.
uint32_t trainer_layer_magnitude(const float *values, size_t count);

#endif
