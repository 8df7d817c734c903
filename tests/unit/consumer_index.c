// Tests of the compact index: against a plain list, with tags that collide as often as they can.
#include "consumer/index.h"

#include <criterion/criterion.h>

#include "base/random.h"

enum { NUMBERS = 3000 };

// The tags of NUMBERS records; 0: not in the index.
static uint32_t tags[NUMBERS];

static void expect_all(const struct consumer_index *index)
{
    uint32_t count = 0;
    for (uint32_t number = 0; number < NUMBERS; number++) {
        if (!tags[number]) {
            continue;
        }
        count++;
        uint32_t times = 0;
        struct consumer_index_probe probe;
        for (bool found = consumer_index_first(index, tags[number], &probe); found;
             found = consumer_index_next(index, tags[number], &probe)) {
            cr_assert_eq(tags[probe.number], tags[number], "only records with the tag are found");
            times += probe.number == number;
        }
        cr_assert_eq(times, 1);
    }
    cr_assert_eq(consumer_index_count(index), count);
}

// `mask` leaves few different tags, at both ends of the table, so that runs wrap around.
static void churn(uint64_t mask, uint64_t seed)
{
    struct consumer_index *index = consumer_index_new();
    memset(tags, 0, sizeof tags);
    uint64_t key = base_random_key(seed, "index");
    for (uint64_t i = 0; i < 12000; i++) {
        uint32_t number = (uint32_t)(base_random_bits(key, 2 * i) % NUMBERS);
        if (tags[number]) {
            cr_assert(consumer_index_remove(index, tags[number], number));
            cr_assert(!consumer_index_remove(index, tags[number], number));
            tags[number] = 0;
        } else {
            tags[number] = consumer_index_tag(base_random_bits(key, 2 * i + 1) & mask);
            consumer_index_insert(index, tags[number], number);
        }
        if (i % 1500 == 0) {
            expect_all(index);
        }
    }
    expect_all(index);
    consumer_index_free(index);
}

Test(index, finds_what_was_inserted_and_not_removed)
{
    churn(UINT64_MAX, 1);
}

Test(index, survives_colliding_tags)
{
    churn(0xf000003f, 2);
    churn(0xff000000, 3);
}

Test(index, no_tag_is_zero)
{
    cr_assert_neq(consumer_index_tag(0), 0);
    cr_assert_neq(consumer_index_tag(UINT64_C(1) << 32), 0);
}

Test(index, a_record_takes_anothers_place)
{
    struct consumer_index *index = consumer_index_new();
    struct consumer_index_probe probe;
    consumer_index_insert(index, 7, 1);
    cr_assert(consumer_index_first(index, 7, &probe));
    consumer_index_replace(index, &probe, 2);
    cr_assert(!consumer_index_remove(index, 7, 1));
    cr_assert(consumer_index_first(index, 7, &probe));
    cr_assert_eq(probe.number, 2);
    cr_assert(!consumer_index_next(index, 7, &probe));
    consumer_index_free(index);
}

Test(index, costs_at_most_15_bytes_a_record)
{
    struct consumer_index *index = consumer_index_new();
    for (uint32_t i = 0; i < 200000; i++) {
        consumer_index_insert(index, consumer_index_tag(base_random_bits(1, i)), i);
        if (i > 1000) {
            cr_assert_leq(consumer_index_bytes(index), 15 * (i + 1) + 64);
        }
    }
    consumer_index_free(index);
}
