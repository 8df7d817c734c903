// The kernels of soft and customized sharing. See sharing.h.
#include "trainer/sharing.h"

#include <string.h>

#include "base/simd.h"
#include "trainer/lanes.h"

BASE_SIMD
void trainer_sharing_pull(uint32_t rows, uint32_t width, struct trainer_block block, uint32_t count,
                          float factor, const float *const *from, float *const *to)
{
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t c = 0; c < block.columns; c += TRAINER_LANES) {
            size_t at = (size_t)r * width + block.column + c;
            float mean[TRAINER_LANES] = {0};
            for (uint32_t k = 0; k < count; k++) {
                for (uint32_t i = 0; i < TRAINER_LANES; i++) {
                    mean[i] += from[k][at + i];
                }
            }
            for (uint32_t i = 0; i < TRAINER_LANES; i++) {
                mean[i] /= (float)count;
            }
            for (uint32_t k = 0; k < count; k++) {
                for (uint32_t i = 0; i < TRAINER_LANES; i++) {
                    to[k][at + i] += factor * (from[k][at + i] - mean[i]);
                }
            }
        }
    }
}

BASE_SIMD
float trainer_sharing_product(uint32_t n, uint32_t width, const float *a, const float *b)
{
    float sum = 0.0f;
    for (uint32_t r = 0; r < n; r++) {
        sum += trainer_lanes_dot(a + (size_t)r * width, b + (size_t)r * width, width);
    }
    return sum;
}

void trainer_sharing_concat(struct trainer_rows rows, uint32_t left_width, uint32_t right_width,
                            const float *left, const float *right, float *out)
{
    for (uint32_t r = rows.begin; r < rows.end; r++) {
        float *row = out + (size_t)r * (left_width + right_width);
        memcpy(row, left + (size_t)r * left_width, left_width * sizeof *row);
        memcpy(row + left_width, right + (size_t)r * right_width, right_width * sizeof *row);
    }
}

BASE_SIMD
void trainer_sharing_part(struct trainer_rows rows, uint32_t stride, uint32_t column, uint32_t width,
                          const float *whole, const float *mask, bool add, float *part)
{
    for (uint32_t r = rows.begin; r < rows.end; r++) {
        const float *from = whole + (size_t)r * stride + column;
        size_t row = (size_t)r * width;
        for (uint32_t c = 0; c < width; c++) {
            float sum = add ? part[row + c] + from[c] : from[c];
            part[row + c] = !mask || mask[row + c] > 0.0f ? sum : 0.0f;
        }
    }
}
