// The kernels of gates and mixtures. See mixture.h.
#include "trainer/mixture.h"

#include <math.h>

#include "base/simd.h"
#include "trainer/lanes.h"

void trainer_mixture_softmax(struct trainer_rows rows, uint32_t stride, uint32_t column, uint32_t count,
                             float *scores)
{
    for (uint32_t r = rows.begin; r < rows.end; r++) {
        float *s = scores + (size_t)r * stride + column;
        float most = s[0];
        for (uint32_t i = 1; i < count; i++) {
            most = s[i] > most ? s[i] : most;
        }
        float sum = 0.0f;
        for (uint32_t i = 0; i < count; i++) {
            s[i] = expf(s[i] - most);
            sum += s[i];
        }
        for (uint32_t i = 0; i < count; i++) {
            s[i] /= sum;
        }
    }
}

BASE_SIMD
void trainer_mixture_sum(struct trainer_rows rows, uint32_t width, uint32_t count,
                         const struct trainer_mixture_term *terms, const float *mask, float *out)
{
    for (uint32_t r = rows.begin; r < rows.end; r++) {
        size_t row = (size_t)r * width;
        for (uint32_t at = 0; at < width; at += TRAINER_LANES) {
            float lanes[TRAINER_LANES] = {0};
            for (uint32_t t = 0; t < count; t++) {
                float weight = terms[t].weight[(size_t)r * terms[t].stride];
                const float *value = terms[t].value + row + at;
                for (uint32_t i = 0; i < TRAINER_LANES; i++) {
                    lanes[i] += weight * value[i];
                }
            }
            if (mask) {
                for (uint32_t i = 0; i < TRAINER_LANES; i++) {
                    lanes[i] = mask[row + at + i] > 0.0f ? lanes[i] : 0.0f;
                }
            }
            for (uint32_t i = 0; i < TRAINER_LANES; i++) {
                out[row + at + i] = lanes[i];
            }
        }
    }
}

BASE_SIMD
void trainer_mixture_backward(struct trainer_rows rows, uint32_t width, uint32_t count,
                              const float *const *experts, const float *dh, uint32_t stride, uint32_t column,
                              const float *g, float *ds)
{
    for (uint32_t r = rows.begin; r < rows.end; r++) {
        size_t row = (size_t)r * width;
        const float *gate = g + (size_t)r * stride + column;
        float *gradient = ds + (size_t)r * stride + column;
        float mean = 0.0f;
        for (uint32_t i = 0; i < count; i++) {
            gradient[i] = trainer_lanes_dot(dh + row, experts[i] + row, width);
            mean += gate[i] * gradient[i];
        }
        for (uint32_t i = 0; i < count; i++) {
            gradient[i] = gate[i] * (gradient[i] - mean);
        }
    }
}
