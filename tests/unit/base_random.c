// Random numbers from counters: pure functions, and of the distributions they claim.
#include "base/random.h"

#include <criterion/criterion.h>
#include <math.h>

enum { DRAWS = 200000 };

Test(random, numbers_depend_on_key_and_counter_alone)
{
    uint64_t key = base_random_key(1, "weights of tower 1");
    uint64_t first = base_random_bits(key, 5);
    base_random_bits(key, 9);
    cr_assert_eq(base_random_bits(key, 5), first);
    cr_assert_neq(base_random_bits(key, 6), first);
    cr_assert_neq(base_random_bits(base_random_key(2, "weights of tower 1"), 5), first);
    cr_assert_neq(base_random_bits(base_random_key(1, "weights of tower 2"), 5), first);
}

Test(random, values_are_kept_for_ever)
{
    // Weights of published models start from these: a change breaks every replay.
    uint64_t key = base_random_key(1, "freshet");
    cr_assert_eq(key, 0xa59569ecd5a74862u);
    cr_assert_eq(base_random_bits(key, 0), 0x4e5aa13b45f0af3eu);
    cr_assert_eq(base_random_bits(key, 1), 0xb83a85f075263432u);
}

Test(random, uniform_is_uniform)
{
    uint64_t key = base_random_key(3, "uniform");
    double sum = 0, squares = 0;
    unsigned bucket[10] = {0};
    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = base_random_uniform(key, i);
        cr_assert(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
        bucket[(unsigned)(u * 10)]++;
    }
    // Five standard errors.
    cr_assert_float_eq(sum / DRAWS, 0.5, 5 * sqrt(1.0 / 12 / DRAWS));
    cr_assert_float_eq(squares / DRAWS, 1.0 / 3, 0.005);
    for (int i = 0; i < 10; i++) {
        cr_assert_float_eq(bucket[i], DRAWS / 10.0, 5 * sqrt(DRAWS * 0.09));
    }
}

Test(random, normal_has_its_moments)
{
    uint64_t key = base_random_key(3, "normal");
    double sum = 0, squares = 0, fourth = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        double z = base_random_normal(key, i);
        cr_assert(isfinite(z));
        sum += z;
        squares += z * z;
        fourth += z * z * z * z;
    }
    cr_assert_float_eq(sum / DRAWS, 0, 5 / sqrt(DRAWS));
    cr_assert_float_eq(squares / DRAWS, 1, 5 * sqrt(2.0 / DRAWS));
    cr_assert_float_eq(fourth / DRAWS, 3, 5 * sqrt(96.0 / DRAWS));
}

Test(random, exponential_has_mean_one)
{
    uint64_t key = base_random_key(3, "exponential");
    double sum = 0;
    unsigned above = 0;
    for (uint64_t i = 0; i < DRAWS; i++) {
        double x = base_random_exponential(key, i);
        cr_assert(x >= 0 && isfinite(x));
        sum += x;
        above += x > 1;
    }
    cr_assert_float_eq(sum / DRAWS, 1, 5 / sqrt(DRAWS));
    cr_assert_float_eq((double)above / DRAWS, exp(-1), 0.006);
}
