// Half-precision floats: the portable conversions and the F16C ones. See half.h.
#include "publisher/half.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { HALF_EXPONENT = 0x7c00 };

uint16_t publisher_half_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 16 & 0x8000;
    uint32_t rest = bits & 0x7fffffff;

    if (rest > 0x7f800000) { // NaN: quiet, the payload's upper bits kept
        return (uint16_t)(sign | HALF_EXPONENT | 0x0200 | (rest >> 13 & 0x01ff));
    }
    if (rest >= 0x477ff000) { // 65520 and beyond rounds to infinity
        return (uint16_t)(sign | HALF_EXPONENT);
    }
    if (rest >= 0x38800000) { // normal: add half of the last place, less one if it is even
        uint32_t rounded = rest - 0x38000000 + 0x0fff + (rest >> 13 & 1);
        return (uint16_t)(sign | rounded >> 13);
    }
    if (rest < 0x33000000) { // below half of the least subnormal
        return (uint16_t)sign;
    }
    // Subnormal: the significand in units of 2^-24, rounded to nearest even.
    uint32_t shift = 126 - (rest >> 23);
    uint32_t significand = (rest & 0x7fffff) | 0x800000;
    uint32_t half = significand >> shift;
    uint32_t lost = significand & ((UINT32_C(1) << shift) - 1);
    uint32_t middle = UINT32_C(1) << (shift - 1);
    if (lost > middle || (lost == middle && (half & 1))) {
        half++;
    }
    return (uint16_t)(sign | half);
}

float publisher_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 0x1f;
    uint32_t fraction = half & 0x03ff;
    uint32_t bits;

    if (exponent == 0x1f) {
        bits = sign | 0x7f800000 | fraction << 13 | (fraction ? UINT32_C(0x400000) : 0);
    } else if (exponent != 0) {
        bits = sign | (exponent + 112) << 23 | fraction << 13;
    } else { // zero or subnormal: an exact multiple of 2^-24
        float magnitude = (float)fraction * 0x1p-24f;
        memcpy(&bits, &magnitude, sizeof bits);
        bits |= sign;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#if defined(__x86_64__)

__attribute__((target("avx,f16c"))) static void encode_f16c(const float *values, size_t n, uint8_t *halves)
{
    for (size_t i = 0; i < n; i += 8) {
        __m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(values + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(void *)(halves + 2 * i), half);
    }
}

__attribute__((target("avx,f16c"))) static void decode_f16c(const uint8_t *halves, size_t n, float *values)
{
    for (size_t i = 0; i < n; i += 8) {
        __m128i half = _mm_loadu_si128((const __m128i *)(const void *)(halves + 2 * i));
        _mm256_storeu_ps(values + i, _mm256_cvtph_ps(half));
    }
}

// Every processor with AVX2 has F16C, whose own name not all compilers know.
static bool half_f16c(void)
{
    return __builtin_cpu_supports("avx2");
}

#else

static void encode_f16c(const float *values, size_t n, uint8_t *halves)
{
    (void)values, (void)n, (void)halves;
}

static void decode_f16c(const uint8_t *halves, size_t n, float *values)
{
    (void)halves, (void)n, (void)values;
}

static bool half_f16c(void)
{
    return false;
}

#endif

bool publisher_half_encode(const float *values, size_t n, void *halves)
{
    uint8_t *bytes = halves;
    size_t i = 0;
    if (half_f16c()) {
        i = n / 8 * 8;
        encode_f16c(values, i, bytes);
    }
    for (; i < n; i++) {
        uint16_t half = publisher_half_from_float(values[i]);
        memcpy(bytes + 2 * i, &half, sizeof half);
    }

    unsigned infinite = 0;
    for (i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        infinite |= (half & HALF_EXPONENT) == HALF_EXPONENT;
    }
    return infinite == 0;
}

void publisher_half_decode(const void *halves, size_t n, float *values)
{
    const uint8_t *bytes = halves;
    size_t i = 0;
    if (half_f16c()) {
        i = n / 8 * 8;
        decode_f16c(bytes, i, values);
    }
    for (; i < n; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        values[i] = publisher_half_to_float(half);
    }
}
