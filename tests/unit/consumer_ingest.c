// Ingest: the same ticks and samples however the records arrive; idleness; what is set aside; its bounds.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer_ingest_world.h"

enum { SECOND_NS = 1000000000 };

// ---- determinism ----

// The trace of one way of reading a fixed content; the caller frees.
static char *trace_of(int fetch, uint64_t lazy, int64_t read_ahead_ms, uint64_t *samples)
{
    struct world world;
    world_begin(&world, 4);
    world.fetch = fetch;
    world.lazy = lazy;
    world.config.read_ahead_ms = read_ahead_ms;
    world.config.finish = true;
    world_populate(&world, 7, 300, 25);
    world_open(&world);
    world_run(&world);
    struct consumer_ingest_state state = world_state(&world);
    cr_assert_eq(state.frontier, CONSUMER_TIME_MAX);
    cr_assert_eq(state.lag, 0);
    cr_assert_eq(state.counts.raises, 0);
    cr_assert_eq(state.counts.read, state.counts.events);
    cr_assert_eq(state.counts.samples, world.samples);
    cr_assert(state.counters.late[0] > 0 && state.counters.late[1] > 0, "some records are late");
    *samples = world.samples;
    char *trace = strdup(world_trace(&world));
    world_end(&world);
    return trace;
}

Test(consumer_ingest, the_same_however_it_is_read)
{
    uint64_t samples, other;
    char *expected = trace_of(1000, 0, 1000, &samples);
    cr_assert(samples > 1500);
    static const struct {
        int fetch;
        uint64_t lazy;
        int64_t read_ahead_ms;
    } ways[] = {{1, 0, 1000}, {2, 0, 0}, {7, 0, 1000000}, {64, 0, 10}, {1000, 1, 1000},
                {5, 2, 100},  {3, 3, 0}, {40, 4, 1},      {2, 5, 50},  {1000, 6, 1000000}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char *trace = trace_of(ways[i].fetch, ways[i].lazy, ways[i].read_ahead_ms, &other);
        cr_assert_eq(samples, other, "way %zu", i);
        cr_assert(strcmp(expected, trace) == 0, "way %zu", i);
        free(trace);
    }
    free(expected);
}

// ---- ticks ----

Test(consumer_ingest, a_tick_needs_a_watermark_above_its_end)
{
    struct world world;
    world_begin(&world, 1);
    world.bounded = false;
    world_add(&world, 0, 0, "a", -3, NULL); // due at 7: tick 0
    world_add(&world, 1, 0, "x", 9, "none");
    world_add(&world, 2, 0, "y", 9, "none");
    world_open(&world);
    cr_assert_eq(world_step(&world, 0), 0);
    cr_assert_eq(world_state(&world).watermark, -3);
    cr_assert_eq(world_state(&world).frontier, -11);
    world_add(&world, 0, 0, "b", 9, NULL);
    cr_assert_eq(world_step(&world, 0), 0);
    cr_assert_eq(world_state(&world).watermark, 9);
    cr_assert_eq(world_state(&world).frontier, -1, "the tick [0, 10) is still open at 9");
    cr_assert_eq(world.samples, 0);
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world_add(&world, rank, 0, rank ? "z" : "c", 10, "none");
    }
    cr_assert_eq(world_step(&world, 0), 0);
    cr_assert_eq(world_state(&world).frontier, 9);
    cr_assert_str_eq(world_trace(&world), "0 7 0 0 N0 a\n");
    cr_assert_eq(consumer_ingest_watermark(world.ingest, 1, 0), 10);
    world_end(&world);
}

Test(consumer_ingest, no_lane_goes_ahead_of_another)
{
    struct world world;
    world_begin(&world, 2);
    world.bounded = false;
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world_add(&world, rank, 0, "a", 0, "none");
        world_add(&world, rank, 0, "b", 100, "none");
        world_add(&world, rank, 1, "c", 5, "none");
    }
    world_open(&world);
    cr_assert_eq(world_step(&world, 0), 0);
    cr_assert_eq(world.samples, 0);
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world_add(&world, rank, 1, "d", 30, "none");
    }
    cr_assert_eq(world_step(&world, 0), 0);
    cr_assert_str_eq(world_trace(&world), "1 10 0 0 N0 a\n1 15 1 0 N0 c\n");
    world_end(&world);
}

Test(consumer_ingest, many_ticks_take_several_steps)
{
    struct world world;
    world_begin(&world, 1);
    world.config.finish = true;
    char id[8];
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "%d", i);
        world_add(&world, 0, 0, id, i * 1000, NULL);
    }
    world_open(&world);
    cr_assert_eq(world_step(&world, 0), 0);
    cr_assert_eq(world_state(&world).counts.ticks, CONSUMER_INGEST_TICKS);
    cr_assert_not(consumer_ingest_done(world.ingest));
    world_run(&world);
    cr_assert_eq(world.samples, 200);
    world_end(&world);
}

// ---- the end ----

Test(consumer_ingest, empty_partitions_do_not_hold_a_finish)
{
    struct world world;
    world_begin(&world, 3);
    world.config.finish = true;
    world_add(&world, 0, 1, "a", 100, NULL);
    world_open(&world);
    world_run(&world);
    cr_assert_str_eq(world_trace(&world), "11 110 1 0 N0 a\n");
    cr_assert_eq(world_state(&world).frontier, CONSUMER_TIME_MAX);
    cr_assert_eq(world_state(&world).finished, 9);
    world_end(&world);
}

Test(consumer_ingest, nothing_at_all_is_done_at_once)
{
    struct world world;
    world_begin(&world, 2);
    world.config.finish = true;
    world_open(&world);
    world_run(&world);
    cr_assert_eq(world.samples, 0);
    cr_assert_eq(world_state(&world).counts.ticks, 0);
    world_end(&world);
}

Test(consumer_ingest, without_finish_what_is_not_settled_stays)
{
    struct world world;
    world_begin(&world, 1);
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world_add(&world, rank, 0, "a", 0, "none");
        world_add(&world, rank, 0, "b", 25, "none");
    }
    world_open(&world);
    world_run(&world);
    cr_assert_str_eq(world_trace(&world), "1 10 0 0 N0 a\n");
    cr_assert_eq(world_state(&world).frontier, 19);
    cr_assert_eq(world_state(&world).watermark, 25);
    world_end(&world);
}

Test(consumer_ingest, with_finish_nothing_is_idle)
{
    struct world world;
    world_begin(&world, 1);
    world.bounded = false; // a source that never ends, caught up
    world.config.finish = true;
    world.config.idle_timeout_ms = 1;
    world_add(&world, 0, 0, "a", 0, NULL);
    world_open(&world);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(world_step(&world, 100), 0);
    }
    cr_assert_eq(world_state(&world).idle, 0);
    cr_assert_eq(world.decisions, 0);
    world_end(&world);
}

// ---- idleness ----

// One lane whose impressions are at 1000 and active; clicks and purchases have nothing.
static void idle_begin(struct world *world)
{
    world_begin(world, 1);
    world->bounded = false;
    world->config.idle_timeout_ms = 1000;
    world_add(world, 0, 0, "a", 500, NULL);
    world_add(world, 0, 0, "b", 1003, NULL);
    world->partitions[0][0].silent = true; // active
    world_open(world);
}

static void steps_for(struct world *world, int64_t ms)
{
    for (int64_t end = world->now_ns + ms * 1000000; world->now_ns < end;) {
        cr_assert_eq(world_step(world, 10), 0, "%s", world->error.text);
    }
}

Test(consumer_ingest, idle_partitions_follow_the_active_ones)
{
    struct world world;
    idle_begin(&world);
    steps_for(&world, 900);
    cr_assert_eq(world_state(&world).idle, 0, "not before idle_timeout");
    cr_assert_eq(world_state(&world).watermark, CONSUMER_TIME_MIN);
    steps_for(&world, 200);
    cr_assert_eq(world_state(&world).idle, 2);
    cr_assert_eq(world_state(&world).watermark, 1000, "the tick that 1003 stands in");
    cr_assert_eq(world_state(&world).frontier, 999);
    cr_assert_str_eq(world_trace(&world), "51 510 0 0 N0 a\n");
    cr_assert_eq(world.decisions, 2);
    cr_assert_eq(world.decision.what, CONSUMER_INGEST_RAISED);
    cr_assert_eq(world.decision.watermark, 1000);
    cr_assert_eq(world.decision.next, 0);
    steps_for(&world, 5000);
    cr_assert_eq(world_state(&world).watermark, 1000, "the active one does not move");
    cr_assert_eq(world.decisions, 2, "a decision is made once");
    world_end(&world);
}

Test(consumer_ingest, silence_is_not_idleness)
{
    struct world world;
    idle_begin(&world);
    world.partitions[1][0].silent = true; // its broker does not answer
    steps_for(&world, 5000);
    cr_assert_eq(world_state(&world).idle, 1);
    cr_assert_eq(world_state(&world).watermark, CONSUMER_TIME_MIN);
    cr_assert_eq(world.decisions, 0, "the least of the active ones is without a record");
    world_end(&world);
}

Test(consumer_ingest, if_all_are_idle_time_goes_on)
{
    struct world world;
    idle_begin(&world);
    world.partitions[0][0].silent = false;
    steps_for(&world, 1100);
    cr_assert_eq(world_state(&world).idle, 3);
    int64_t begin = world_state(&world).watermark;
    cr_assert(begin >= 1000 && begin <= 1110, "%lld", (long long)begin);
    cr_assert(world.samples >= 1, "a fell due");
    steps_for(&world, 1000);
    cr_assert_eq(world.samples, 2, "b fell due");
    int64_t later = world_state(&world).watermark;
    cr_assert(later >= begin && later - begin <= 1030, "%lld", (long long)(later - begin));
    uint64_t raises = world_state(&world).counts.raises;
    steps_for(&world, 20 * CONSUMER_INGEST_RAISE_MS);
    int64_t still = begin + 1000 + 20 * CONSUMER_INGEST_RAISE_MS - world_state(&world).watermark;
    cr_assert(still >= 0 && still <= CONSUMER_INGEST_RAISE_MS + 40, "%lld", (long long)still);
    raises = world_state(&world).counts.raises - raises;
    cr_assert(raises >= 3 * 19 && raises <= 3 * 21, "few decisions while nothing is due: %llu",
              (unsigned long long)raises);
    world_end(&world);
}

Test(consumer_ingest, before_the_first_record_nothing_is_raised)
{
    struct world world;
    world_begin(&world, 2);
    world.bounded = false;
    world.config.idle_timeout_ms = 100;
    world_open(&world);
    steps_for(&world, 5000);
    cr_assert_eq(world_state(&world).idle, 6);
    cr_assert_eq(world_state(&world).watermark, CONSUMER_TIME_MIN);
    cr_assert_eq(world.decisions, 0);
    world_end(&world);
}

Test(consumer_ingest, an_idle_partition_wakes_up)
{
    struct world world;
    idle_begin(&world);
    steps_for(&world, 1200);
    world_add(&world, 1, 0, "x", 700, "a"); // after its raise to 1000: late, joins all the same
    world.partitions[1][0].silent = true;
    cr_assert_eq(world_step(&world, 10), 0);
    cr_assert_eq(world_state(&world).idle, 1, "awake within a step");
    cr_assert_eq(world_state(&world).counters.late[1], 1);
    world_add(&world, 0, 0, "c", 5000, NULL);
    steps_for(&world, 3000);
    cr_assert_eq(world_state(&world).watermark, 1000, "and holds the others");
    world_add(&world, 1, 0, "y", 5000, "c");
    steps_for(&world, 100);
    cr_assert_eq(world_state(&world).watermark, 5000);
    world_end(&world);
}

Test(consumer_ingest, an_old_answer_proves_nothing)
{
    struct world world;
    idle_begin(&world);
    steps_for(&world, 1200);
    cr_assert_eq(world_state(&world).idle, 2);
    world.partitions[1][0].silent = true;
    world_add(&world, 0, 0, "c", 5000, NULL);
    steps_for(&world, 100);
    cr_assert_eq(world_state(&world).idle, 1);
    cr_assert_eq(world_state(&world).watermark, 1000);
    world_end(&world);
}

// ---- bounds of reading ----

Test(consumer_ingest, nobody_runs_ahead_of_one_that_holds)
{
    struct world world;
    world_begin(&world, 2);
    world.bounded = false;
    world.fetch = 10;
    world.config.read_ahead_ms = 100;
    char id[16];
    for (uint32_t lane = 0; lane < 2; lane++) {
        for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
            world.partitions[rank][lane].silent = true;
            for (int i = 0; i < 1000; i++) {
                snprintf(id, sizeof id, "%d", i);
                world_add(&world, rank, lane, id, i, "none");
            }
        }
    }
    world.partitions[1][1].visible = 0; // no record yet
    world.partitions[2][0].visible = 50;
    world_open(&world);
    for (int i = 0; i < 300; i++) {
        cr_assert_eq(world_step(&world, 10), 0);
    }
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        for (uint32_t lane = 0; lane < 2; lane++) {
            uint32_t delivered = world.partitions[rank][lane].delivered;
            if (rank == 1 && lane == 1) {
                cr_assert_eq(delivered, 0);
            } else if (rank == 2 && lane == 0) {
                cr_assert_eq(delivered, 50);
            } else {
                // The origin is 0 or the first poll's last record.
                cr_assert(delivered > 100 && delivered <= 100 + 2 * 10 + 1, "%u", delivered);
            }
        }
    }
    world.partitions[1][1].visible = 1000;
    world.partitions[2][0].visible = 1000;
    for (int i = 0; i < 300; i++) {
        cr_assert_eq(world_step(&world, 10), 0);
    }
    cr_assert_eq(world_state(&world).watermark, 999);
    world_end(&world);
}

Test(consumer_ingest, the_lowest_is_read_first)
{
    struct world world;
    world_begin(&world, 1);
    world.bounded = false;
    world.fetch = 10;
    char id[16];
    for (int i = 0; i < 6000; i++) {
        snprintf(id, sizeof id, "%d", i);
        world_add(&world, 0, 0, id, i, NULL);
    }
    world_add(&world, 1, 0, "x", 100000, "none");
    world_add(&world, 2, 0, "y", 100000, "none");
    world_add(&world, 2, 0, "z", 100001, "none");
    world_open(&world);
    cr_assert_eq(world_step(&world, 10), 0);
    uint64_t polls = world.partitions[2][0].polls;
    cr_assert_eq(world_step(&world, 10), 0);
    cr_assert_eq(polls, world.partitions[2][0].polls, "not polled while the lowest has records");
    world_end(&world);
}

// ---- what cannot be used ----

Test(consumer_ingest, undecodable_records_are_set_aside)
{
    struct world world;
    char path[SUPPORT_DIRECTORY_MAX + 16];
    world_begin(&world, 1);
    snprintf(path, sizeof path, "%s/dead", world.directory);
    world.config.deadletter = consumer_deadletter_new(path, 1 << 20, &world.error);
    cr_assert(world.config.deadletter);
    world.config.finish = true;
    world_add(&world, 0, 0, "a", 0, NULL);
    world_add_bytes(&world, 0, 0, -1, base_span_string("\x05"));
    world_add(&world, 0, 0, "b", 1, NULL);
    world_open(&world);
    world_run(&world);
    cr_assert_eq(world.samples, 2);
    cr_assert_eq(world_state(&world).counts.dead, 1);
    cr_assert_eq(world_state(&world).counts.future, 0);
    cr_assert_eq(consumer_deadletter_count(world.config.deadletter), 1);
    cr_assert_eq(world.decisions, 1);
    cr_assert_eq(world.decision.what, CONSUMER_INGEST_UNDECODABLE);
    cr_assert_eq(world.decision.next, 2);
    world_end(&world);
    consumer_deadletter_free(world.config.deadletter);
}

Test(consumer_ingest, records_from_the_future_do_not_move_the_watermark)
{
    struct world world;
    struct base_buffer buffer = {0};
    static const struct {
        int64_t time;
        int64_t timestamp;
        bool taken;
    } cases[] = {{1000, 0, true},    {1001, 0, false}, {5000, -1, true},
                 {9999, 9000, true}, {1, 5, true},     {INT64_C(1) << 53, INT64_MAX, true}};
    world_begin(&world, 1);
    world.config.finish = true;
    world.config.future_ms = 1000;
    uint64_t taken = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char id[16];
        snprintf(id, sizeof id, "%zu", i);
        base_buffer_clear(&buffer);
        world_encode(&buffer, 0, id, cases[i].time, NULL);
        world_add_bytes(&world, 0, 0, cases[i].timestamp, base_buffer_span(&buffer));
        taken += cases[i].taken;
    }
    world_open(&world);
    world_run(&world);
    cr_assert_eq(world_state(&world).counts.events, taken);
    cr_assert_eq(world_state(&world).counts.future, 1);
    cr_assert_eq(world_state(&world).counts.dead, 1);
    cr_assert_eq(world.decision.what, CONSUMER_INGEST_FUTURE);
    base_buffer_free(&buffer);
    world_end(&world);
}

Test(consumer_ingest, a_missing_schema_blocks_its_partition_only)
{
    struct world world;
    struct base_error error;
    world_begin(&world, 1);
    world.bounded = false;
    // Nobody listens there.
    struct consumer_registry_config registry_config = {
        .url = "http://127.0.0.1:1", .timeout_ms = 200, .negative_ms = 60000};
    struct consumer_registry *registry = consumer_registry_new(&registry_config, &error);
    cr_assert(registry, "%s", error.text);
    struct consumer_decoder_config config = {
        .topic = "clicks",
        .rank = 1,
        .framing = CONSUMER_FRAMING_CONFLUENT,
        .event_time = "time",
        .event_id = "id",
        .impression_id = "of",
    };
    struct consumer_decoder *decoder = consumer_decoder_new(&config, registry, &error);
    cr_assert(decoder, "%s", error.text);
    world.config.decoders[1] = decoder;
    static const uint8_t framed[] = {0, 0, 0, 0, 7, 2, 'x', 2, 2, 'a'};
    for (int i = 0; i < 2; i++) {
        world_add_bytes(&world, 1, 0, -1, base_span_make(framed, sizeof framed));
    }
    world.partitions[1][0].framed = true;
    world_add(&world, 0, 0, "a", 0, NULL);
    world_open(&world);
    cr_assert_eq(world_step(&world, 10), 0, "%s", world.error.text);
    struct consumer_ingest_state state = world_state(&world);
    cr_assert_eq(state.blocked, 1);
    cr_assert_eq(state.counts.events, 1, "the impression");
    cr_assert_eq(state.lag, 2);
    uint64_t polls = world.partitions[1][0].polls;
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(world_step(&world, 100), 0);
    }
    cr_assert_eq(world.partitions[1][0].polls, polls, "its batch is kept");
    cr_assert_eq(world_state(&world).counts.dead, 0);
    world_end(&world);
    consumer_decoder_free(decoder);
    consumer_registry_free(registry);
}

// ---- errors ----

Test(consumer_ingest, a_passing_error_of_one_partition_does_not_hold_the_others)
{
    struct world world;
    world_begin(&world, 1);
    world.config.finish = true;
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world_add(&world, rank, 0, "a", 0, "none");
    }
    world.partitions[0][0].error_once = 1;
    world_open(&world);
    cr_assert_eq(world_step(&world, 0), -1);
    cr_assert(world.error.retriable);
    cr_assert_eq(world.partitions[1][0].delivered, 1);
    world_run(&world);
    cr_assert_eq(world.samples, 1);
    world_end(&world);
}

Test(consumer_ingest, a_lasting_error_ends_it)
{
    struct world world;
    world_begin(&world, 1);
    world.partitions[0][0].error_once = 2;
    world_open(&world);
    cr_assert_eq(world_step(&world, 0), -1);
    cr_assert_not(world.error.retriable);
    cr_assert_str_eq(world.error.text, "scripted");
    world_end(&world);
}

Test(consumer_ingest, the_sinks_error_is_the_steps)
{
    struct world world;
    world_begin(&world, 1);
    world.config.finish = true;
    world.fail_tick = 1;
    world_add(&world, 0, 0, "a", 0, NULL);
    world_open(&world);
    int status = 0;
    for (int i = 0; i < 10 && status == 0; i++) {
        status = world_step(&world, 0);
    }
    cr_assert_eq(status, -1);
    cr_assert_eq(world.error.code, BASE_ESTOPPED);
    world_end(&world);
}

Test(consumer_ingest, a_directory_that_cannot_be_is_an_error)
{
    struct world world;
    world_begin(&world, 1);
    world.config.directory = "/dev/null/lanes";
    cr_assert_null(consumer_ingest_new(&world.config, &world.error));
    world_end(&world);
    consumer_ingest_free(NULL);
}

// ---- where a cut reads again from ----

Test(consumer_ingest, unhandled_offsets)
{
    struct world world;
    int64_t offset, watermark;
    world_begin(&world, 1);
    world.bounded = false;
    world.config.lane.allowed_lateness[0] = 20;
    static const int64_t times[] = {0, 30, 15, 60}; // watermarks before: -inf, -20, 10, 10
    for (size_t i = 0; i < 4; i++) {
        char id[8];
        snprintf(id, sizeof id, "%zu", i);
        world_add(&world, 0, 0, id, times[i], NULL);
    }
    world_open(&world);
    consumer_ingest_unhandled(world.ingest, 0, 0, &offset, &watermark);
    cr_assert_eq(offset, 0);
    cr_assert_eq(watermark, CONSUMER_TIME_MIN);
    world_add(&world, 1, 0, "x", 20, "none");
    world_add(&world, 2, 0, "y", 20, "none");
    cr_assert_eq(world_step(&world, 0), 0);
    cr_assert_eq(world_state(&world).frontier, 19);
    consumer_ingest_unhandled(world.ingest, 0, 0, &offset, &watermark);
    cr_assert_eq(offset, 1, "30 is not handled, 15 behind it is");
    cr_assert_eq(watermark, -20);
    consumer_ingest_unhandled(world.ingest, 1, 0, &offset, &watermark);
    cr_assert_eq(offset, 0);
    cr_assert_eq(watermark, CONSUMER_TIME_MIN);
    world_add(&world, 1, 0, "v", 40, "none");
    world_add(&world, 2, 0, "w", 40, "none");
    cr_assert_eq(world_step(&world, 0), 0);
    cr_assert_eq(world_state(&world).frontier, 39);
    consumer_ingest_unhandled(world.ingest, 0, 0, &offset, &watermark);
    cr_assert_eq(offset, 3);
    cr_assert_eq(watermark, 10);
    consumer_ingest_unhandled(world.ingest, 2, 0, &offset, &watermark);
    cr_assert_eq(offset, 1);
    cr_assert_eq(watermark, 20);
    world_end(&world);
}
