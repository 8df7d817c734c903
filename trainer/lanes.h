// Loops over floats that have the same bits on every machine: element-wise, or sums in 16 fixed lanes that
// are added as a fixed tree. Inlined into functions marked BASE_SIMD, where the compiler turns a lane loop
// into vectors.
#ifndef TRAINER_LANES_H
#define TRAINER_LANES_H

#include <stdint.h>
#include <string.h>

enum { TRAINER_LANES = 16 };

// Adds 16 lanes: halves onto halves.
static inline float trainer_lanes_sum(float lanes[TRAINER_LANES])
{
    for (uint32_t half = TRAINER_LANES / 2; half > 0; half /= 2) {
        for (uint32_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

// <a, b>, both [width]; width is a multiple of 16.
static inline float trainer_lanes_dot(const float *a, const float *b, uint32_t width)
{
    float lanes[TRAINER_LANES] = {0};
    for (uint32_t at = 0; at < width; at += TRAINER_LANES) {
        for (uint32_t i = 0; i < TRAINER_LANES; i++) {
            lanes[i] += a[at + i] * b[at + i];
        }
    }
    return trainer_lanes_sum(lanes);
}

// The bits of |x|: as integers they order floats, infinity above all numbers and NaN above infinity.
static inline uint32_t trainer_lanes_magnitude(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffffu;
}

#endif
