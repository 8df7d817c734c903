// The values of joined actions against a table of all there can be.
#include "consumer/values.h"

#include <criterion/criterion.h>
#include <math.h>

#include "base/random.h"
#include "consumer/event.h"

enum { NUMBERS = 300 };

static float twin[NUMBERS][CONSUMER_TOPICS_MAX]; // NaN: none

static void compare(const struct consumer_values *values)
{
    uint64_t count = 0;
    for (uint64_t number = 0; number < NUMBERS; number++) {
        for (uint32_t rank = 0; rank < CONSUMER_TOPICS_MAX; rank++) {
            float value = consumer_values_get(values, number << 40, rank), expected = twin[number][rank];
            cr_assert(isnan(expected) ? isnan(value) : value == expected, "%llu, %u",
                      (unsigned long long)number, rank);
            count += isnan(expected) ? 0 : 1;
        }
    }
    cr_assert_eq(consumer_values_count(values), count);
}

// Keys that differ in high bits alone meet in the table; every way of forgetting leaves the others findable.
Test(consumer_values, agree_with_a_table)
{
    struct consumer_values *values = consumer_values_new();
    for (uint64_t number = 0; number < NUMBERS; number++) {
        for (uint32_t rank = 0; rank < CONSUMER_TOPICS_MAX; rank++) {
            twin[number][rank] = NAN;
        }
    }
    for (uint64_t round = 0; round < 4000; round++) {
        uint64_t number = base_random_bits(1, round) % NUMBERS;
        uint32_t rank = (uint32_t)(base_random_bits(2, round) % CONSUMER_TOPICS_MAX);
        uint64_t what = base_random_bits(3, round) % 100;
        if (what < 55) {
            twin[number][rank] = (float)round;
            consumer_values_put(values, number << 40, rank, (float)round);
        } else if (what < 99) {
            twin[number][rank] = NAN;
            consumer_values_remove(values, number << 40, rank);
        } else {
            for (uint64_t below = 0; below < number; below++) {
                twin[below][rank] = NAN;
            }
            consumer_values_remove_below(values, number << 40, rank);
        }
        if (round % 50 == 0) {
            compare(values);
        }
    }
    compare(values);
    cr_expect_gt(consumer_values_bytes(values), 16 * consumer_values_count(values));
    consumer_values_free(values);
    consumer_values_free(NULL);
}
