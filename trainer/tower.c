// The kernels of a tower's output. See tower.h.
#include "trainer/tower.h"

#include "base/simd.h"
#include "trainer/lanes.h"

BASE_SIMD
void trainer_tower_forward(struct trainer_rows rows, uint32_t width, uint32_t stride, const float *h,
                           const float *weight, const float *bias, float *logits)
{
    for (uint32_t r = rows.begin; r < rows.end; r++) {
        logits[(size_t)r * stride] = trainer_lanes_dot(h + (size_t)r * width, weight, width) + *bias;
    }
}

BASE_SIMD
void trainer_tower_backward(struct trainer_rows rows, uint32_t width, uint32_t stride, const float *dlogits,
                            const float *weight, const float *mask, bool add, float *dh)
{
    for (uint32_t r = rows.begin; r < rows.end; r++) {
        float dlogit = dlogits[(size_t)r * stride];
        size_t row = (size_t)r * width;
        for (uint32_t c = 0; c < width; c++) {
            float gradient = add ? dh[row + c] + dlogit * weight[c] : dlogit * weight[c];
            dh[row + c] = !mask || mask[row + c] > 0.0f ? gradient : 0.0f;
        }
    }
}

BASE_SIMD
void trainer_tower_update(uint32_t n, uint32_t width, uint32_t stride, float alpha, const float *h,
                          const float *dlogits, float *weight, float *bias)
{
    for (uint32_t at = 0; at < width; at += TRAINER_LANES) {
        float lanes[TRAINER_LANES] = {0};
        for (uint32_t r = 0; r < n; r++) {
            for (uint32_t i = 0; i < TRAINER_LANES; i++) {
                lanes[i] += dlogits[(size_t)r * stride] * h[(size_t)r * width + at + i];
            }
        }
        for (uint32_t i = 0; i < TRAINER_LANES; i++) {
            weight[at + i] += alpha * lanes[i];
        }
    }
    float sum = 0.0f;
    for (uint32_t r = 0; r < n; r++) {
        sum += dlogits[(size_t)r * stride];
    }
    *bias += alpha * sum;
}
