// The kernels of a dense layer. See layer.h.
#include "trainer/layer.h"

#include "base/simd.h"
#include "trainer/gemm.h"
#include "trainer/lanes.h"

void trainer_layer_forward(struct trainer_layer_shape shape, struct trainer_block block, uint32_t n,
                           const float *x, const float *weight, const float *bias, float *y)
{
    trainer_gemm_nn(n, block.columns, shape.inputs, x, shape.inputs, weight + block.column, shape.outputs,
                    bias ? bias + block.column : NULL, y + block.column, shape.outputs);
}

void trainer_layer_backward(struct trainer_layer_shape shape, struct trainer_block block, uint32_t n,
                            uint32_t whole, const float *dy, const float *weight, bool add, float *dx)
{
    trainer_gemm_nt(n, block.columns, whole, shape.outputs, dy, shape.outputs,
                    weight + (size_t)block.column * shape.outputs, shape.outputs, add, dx + block.column,
                    shape.inputs);
}

BASE_SIMD
void trainer_layer_mask(uint32_t width, struct trainer_block block, uint32_t n, const float *y, float *dy)
{
    for (uint32_t r = 0; r < n; r++) {
        const float *value = y + (size_t)r * width;
        float *row = dy + (size_t)r * width;
        for (uint32_t c = block.column; c < block.column + block.columns; c++) {
            row[c] = value[c] > 0.0f ? row[c] : 0.0f;
        }
    }
}

// bias[block] += alpha * (sum of dy's rows).
BASE_SIMD
static void layer_update_bias(uint32_t width, struct trainer_block block, uint32_t n, float alpha,
                              const float *dy, float *bias)
{
    for (uint32_t at = block.column; at < block.column + block.columns; at += TRAINER_LANES) {
        float lanes[TRAINER_LANES] = {0};
        for (uint32_t r = 0; r < n; r++) {
            for (uint32_t i = 0; i < TRAINER_LANES; i++) {
                lanes[i] += dy[(size_t)r * width + at + i];
            }
        }
        for (uint32_t i = 0; i < TRAINER_LANES; i++) {
            bias[at + i] += alpha * lanes[i];
        }
    }
}

void trainer_layer_update(struct trainer_layer_shape shape, struct trainer_block block, uint32_t n,
                          float alpha, const float *x, const float *dy, float *weight, float *bias)
{
    trainer_gemm_tn(shape.inputs, block.columns, n, alpha, x, shape.inputs, dy + block.column, shape.outputs,
                    weight + block.column, shape.outputs);
    if (bias) {
        layer_update_bias(shape.outputs, block, n, alpha, dy, bias);
    }
}

BASE_SIMD
uint32_t trainer_layer_magnitude(const float *values, size_t count)
{
    uint32_t lanes[TRAINER_LANES] = {0};
    for (size_t at = 0; at < count; at += TRAINER_LANES) {
        for (uint32_t i = 0; i < TRAINER_LANES; i++) {
            uint32_t magnitude = trainer_lanes_magnitude(values[at + i]);
            lanes[i] = lanes[i] < magnitude ? magnitude : lanes[i];
        }
    }
    uint32_t most = 0;
    for (uint32_t i = 0; i < TRAINER_LANES; i++) {
        most = most < lanes[i] ? lanes[i] : most;
    }
    return most;
}
