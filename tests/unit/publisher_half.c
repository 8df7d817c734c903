// Half-precision floats: all 65536 of them, and the rounding between.
#include "publisher/half.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

// The value of a half by its definition.
static double half_value(uint16_t half)
{
    int exponent = half >> 10 & 0x1f;
    double fraction = half & 0x3ff;
    double magnitude = exponent == 31  ? (fraction > 0 ? NAN : INFINITY)
                       : exponent == 0 ? ldexp(fraction, -24)
                                       : ldexp(1024 + fraction, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

Test(publisher_half, decodes_every_value)
{
    static uint16_t halves[65536];
    static float values[65536];
    for (uint32_t i = 0; i < 65536; i++) {
        halves[i] = (uint16_t)i;
    }
    publisher_half_decode(halves, 65536, values);
    for (uint32_t i = 0; i < 65536; i++) {
        float alone = publisher_half_to_float((uint16_t)i);
        double exact = half_value((uint16_t)i);
        cr_assert(memcmp(&alone, &values[i], sizeof alone) == 0, "half %04x", i);
        cr_assert(isnan(exact) ? isnan(alone) : exact == (double)alone, "half %04x", i);
        cr_assert_eq(signbit(alone) != 0, i >= 32768, "half %04x", i);
    }
}

Test(publisher_half, every_value_comes_back)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t half = (uint16_t)i;
        bool nan = (half & 0x7c00) == 0x7c00 && (half & 0x3ff) != 0;
        cr_assert_eq(publisher_half_from_float(publisher_half_to_float(half)), nan ? half | 0x200 : half,
                     "half %04x", i);
    }
}

// Between two neighbours: below the middle down, above it up, the middle itself to the even one.
Test(publisher_half, rounds_to_nearest_even)
{
    for (uint32_t i = 0; i < 0x7bff; i++) {
        uint16_t low = (uint16_t)i;
        uint16_t high = (uint16_t)(i + 1);
        float middle = (float)((half_value(low) + half_value(high)) / 2);
        cr_assert_eq((double)middle * 2, half_value(low) + half_value(high));
        cr_assert_eq(publisher_half_from_float(middle), i % 2 ? high : low, "above half %04x", i);
        cr_assert_eq(publisher_half_from_float(nextafterf(middle, 0)), low, "above half %04x", i);
        cr_assert_eq(publisher_half_from_float(nextafterf(middle, 1e9f)), high, "above half %04x", i);
        cr_assert_eq(publisher_half_from_float(-middle), (i % 2 ? high : low) | 0x8000);
    }
    cr_assert_eq(publisher_half_from_float(nextafterf(65520, 0)), 0x7bff);
    cr_assert_eq(publisher_half_from_float(65520), 0x7c00);
    cr_assert_eq(publisher_half_from_float(-INFINITY), 0xfc00);
}

// The processor's instructions and the portable code agree on random bits, at every length and alignment.
Test(publisher_half, encode_agrees_with_the_portable_code)
{
    enum { COUNT = 100003 };
    float *values = malloc(COUNT * sizeof *values);
    uint8_t *halves = malloc(COUNT * 2 + 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t bits = (uint32_t)base_random_bits(1, i);
        memcpy(&values[i], &bits, sizeof bits);
    }
    cr_assert_not(publisher_half_encode(values, COUNT, halves + 1), "random bits exceed the range");
    for (uint32_t i = 0; i < COUNT; i++) {
        uint16_t half;
        memcpy(&half, halves + 1 + 2 * i, sizeof half);
        cr_assert_eq(half, publisher_half_from_float(values[i]), "float %a", (double)values[i]);
    }
    for (size_t n = 0; n < 20; n++) {
        float fine[20] = {1, 2, 3};
        uint8_t out[42];
        memset(out, 0xaa, sizeof out);
        cr_assert(publisher_half_encode(fine, n, out));
        cr_assert_eq(out[2 * n], 0xaa);
    }
    free(values);
    free(halves);
}

Test(publisher_half, encode_says_what_is_beyond_the_range)
{
    uint16_t halves[9];
    float values[9] = {0};
    cr_assert(publisher_half_encode(values, 9, halves));
    for (int i = 0; i < 9; i++) {
        float beyond[9] = {0};
        beyond[i] = i % 2 ? NAN : -70000.0f;
        cr_assert_not(publisher_half_encode(beyond, 9, halves), "place %d", i);
    }
}
