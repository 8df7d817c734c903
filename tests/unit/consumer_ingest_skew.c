// Bounds under a skew of 1000:1 between lanes: one lane has a thousand records for each one of the others,
// and still what is read and not yet handled is no more than what the reading bound and a poll a partition
// allow. What comes out does not depend on how it came in.
#include <criterion/criterion.h>
#include <stdio.h>

#include "consumer_ingest_world.h"

enum {
    SPAN_MS = 4000,
    QUIET_MS = 1000, // between two records of a quiet lane
    SKEW = 1000,     // records of the busy lane for each of those
    TICK_MS = 10,    // world_begin's
    STEPS_MAX = 100000,
};

static void skew_fill(struct world *world, uint32_t lanes)
{
    char id[32];
    for (int64_t at = 0; at < SPAN_MS * SKEW / QUIET_MS; at++) {
        snprintf(id, sizeof id, "busy-%lld", (long long)at);
        int64_t time = at * QUIET_MS / SKEW;
        world_add(world, 0, 0, id, time, NULL);
        if (at % 5 == 0) {
            char click[40];
            snprintf(click, sizeof click, "click-%lld", (long long)at);
            world_add(world, 1, 0, click, time + 1, id);
        }
    }
    for (uint32_t lane = 1; lane < lanes; lane++) {
        for (int64_t time = 0; time <= SPAN_MS; time += QUIET_MS) {
            for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
                snprintf(id, sizeof id, "quiet-%u-%u-%lld", lane, rank, (long long)time);
                world_add(world, rank, lane, id, time, rank ? "nothing" : NULL);
            }
        }
    }
    world_add(world, 1, 0, "last click", SPAN_MS, "nothing");
    world_add(world, 2, 0, "a purchase", 0, "nothing");
    world_add(world, 2, 0, "last purchase", SPAN_MS, "nothing");
}

// The most that was pending at the end of a step.
static uint64_t skew_run(uint64_t seed, uint32_t lanes, int64_t read_ahead_ms, int fetch,
                         struct base_buffer *trace)
{
    struct world world;
    world_begin(&world, lanes);
    world.bounded = true;
    world.fetch = fetch;
    world.lazy = seed;
    skew_fill(&world, lanes);
    world.config.finish = true;
    world.config.read_ahead_ms = read_ahead_ms;
    world_open(&world);
    uint64_t most = 0;
    int steps = 0;
    while (!consumer_ingest_done(world.ingest)) {
        cr_assert_eq(world_step(&world, 5), 0, "%s", world.error.text);
        struct consumer_ingest_state state = world_state(&world);
        most = state.usage.pending > most ? state.usage.pending : most;
        cr_assert(++steps < STEPS_MAX, "it does not end");
    }
    base_buffer_append(trace, world.trace.data, world.trace.size);
    world_end(&world);
    return most;
}

Test(consumer_ingest_skew, what_waits_is_bounded_by_the_reading_bound)
{
    struct base_buffer expected = {0};
    for (uint64_t seed = 1; seed <= 12; seed++) {
        uint32_t lanes = 2 + (uint32_t)(seed % 3);
        int64_t read_ahead_ms = 20 + (int64_t)(base_random_bits(seed, 0) % 200);
        int fetch = 1 + (int)(base_random_bits(seed, 1) % 64);
        struct base_buffer trace = {0};
        uint64_t most = skew_run(seed, lanes, read_ahead_ms, fetch, &trace);
        // A record and a fifth a millisecond in the busy lane: within the reading bound and the tick that is
        // under way, a poll a partition beyond them, and the quiet lanes' few.
        double span = (double)read_ahead_ms + 2 * TICK_MS;
        uint64_t bound = (uint64_t)(span * 1.2 * SKEW / QUIET_MS) + (uint64_t)fetch * WORLD_RANKS * lanes +
                         (uint64_t)(WORLD_RANKS * lanes * (uint32_t)(1 + span / QUIET_MS));
        cr_assert_leq(most, bound,
                      "seed %llu, %u lanes, %lld ms ahead, fetch %d: %llu wait, the bound is %llu",
                      (unsigned long long)seed, lanes, (long long)read_ahead_ms, fetch,
                      (unsigned long long)most, (unsigned long long)bound);
        cr_assert_lt(bound, SPAN_MS / 4, "the bound says something");
        if (lanes == 2) {
            if (expected.size == 0) {
                base_buffer_append(&expected, trace.data, trace.size);
            }
            cr_assert(base_span_equal(base_buffer_span(&trace), base_buffer_span(&expected)));
        }
        base_buffer_free(&trace);
    }
    cr_assert_gt(expected.size, 0);
    base_buffer_free(&expected);
}
