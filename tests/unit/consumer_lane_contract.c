// Tests of what a lane promises beside the rules of the join: refusals, faults of the disk, what it holds.
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "consumer_lane_story.h"

// The story of the test that runs; Criterion gives every test a process of its own.
static struct story story;

static void begin(void)
{
    story_begin(&story);
}

static void end(void)
{
    story_end(&story);
}

TestSuite(lane_contract, .init = begin, .fini = end);

Test(lane_contract, push_refuses_what_the_contract_forbids)
{
    story_open(&story);
    static uint8_t long_id[CONSUMER_ID_MAX + 1];
    story_push(&story, 0, 0, "a");
    consumer_lane_raise(story.lane, 2, CONSUMER_TIME_MAX);
    const struct consumer_event good = {.rank = 0, .offset = 1, .impression_id = base_span_string("b")};
    struct consumer_event bad[9];
    for (int i = 0; i < 9; i++) {
        bad[i] = good;
    }
    bad[0].rank = 3;
    bad[1].lane = 1;
    bad[2].offset = 0;
    bad[3].event_time = CONSUMER_TIME_BOUND + 1;
    bad[4].event_time = -CONSUMER_TIME_BOUND - 1;
    bad[5].impression_id = base_span_make(long_id, sizeof long_id);
    bad[6].impression_id = (struct base_span){0};
    bad[7].rank = 2;
    bad[8].offset = INT64_MAX;
    for (int i = 0; i < 9; i++) {
        struct base_error error = {0};
        cr_assert_eq(consumer_lane_push(story.lane, &bad[i], &error), -1, "%d", i);
        cr_assert_eq(error.code, BASE_EINVAL);
    }
    struct base_error error;
    cr_assert_eq(consumer_lane_push(story.lane, &good, &error), 0);
    cr_assert_eq(consumer_lane_usage(story.lane).pending, 2);
}

static int refusing_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)context;
    (void)sample;
    return base_error_set(error, BASE_ESTOPPED, "enough");
}

Test(lane_contract, the_sinks_error_stops_the_run)
{
    story_open(&story);
    story_push(&story, 0, 0, "a");
    for (uint32_t rank = 0; rank < 3; rank++) {
        consumer_lane_raise(story.lane, rank, CONSUMER_TIME_MAX);
    }
    struct base_error error;
    cr_assert_eq(consumer_lane_run(story.lane, CONSUMER_TIME_MAX, refusing_sink, NULL, &error), -1);
    cr_assert_eq(error.code, BASE_ESTOPPED);
}

Test(lane_contract, usage_counts_what_is_held)
{
    story_open(&story);
    story_push(&story, 0, 0, "a");
    story_push_full(&story, 1, 1, "e", "a", NULL);
    story_push_full(&story, 1, 2, "f", "z", NULL);
    cr_assert_eq(consumer_lane_usage(story.lane).pending, 3);
    consumer_lane_raise(story.lane, 0, 5);
    consumer_lane_raise(story.lane, 1, 5);
    consumer_lane_raise(story.lane, 2, 5);
    story_run(&story, 4);
    struct consumer_lane_usage usage = consumer_lane_usage(story.lane);
    cr_assert_eq(usage.pending, 0);
    cr_assert_eq(usage.journeys, 2);
    cr_assert_eq(usage.orphans, 1);
    cr_assert_eq(usage.remembered, 2);
    cr_assert_gt(usage.index_bytes, 0);
    cr_assert_eq(usage.log_bytes, 3 * 4096, "impressions, clicks, and the clicks' ids");
}

// Faults of the disk come out of the run with the file's name.
Test(lane_contract, a_full_disk_fails_the_run)
{
    story_open(&story);
    story_push(&story, 0, 0, "a");
    for (uint32_t rank = 0; rank < 3; rank++) {
        consumer_lane_raise(story.lane, rank, CONSUMER_TIME_MAX);
    }
    struct rlimit limit = {1024, 1024};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct base_error error;
    cr_assert_eq(consumer_lane_run(story.lane, CONSUMER_TIME_MAX, story_sink, &story, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, "impression.journey.0000000000"), "%s", error.text);
}

Test(lane_contract, a_corrupt_record_fails_the_run)
{
    story_open(&story);
    story_push(&story, 0, 0, "a");
    story_push(&story, 0, 1, "b");
    for (uint32_t rank = 0; rank < 3; rank++) {
        consumer_lane_raise(story.lane, rank, CONSUMER_TIME_MAX);
    }
    story_run(&story, 10); // a is emitted, and so both are in the file
    cr_assert_str_eq(story.trace, "N0@10 a cp/00");
    char path[256];
    snprintf(path, sizeof path, "%s/impression.journey.0000000000", story.directory);
    FILE *file = fopen(path, "r+b");
    cr_assert_eq(fseek(file, 56 + 72 + 64, SEEK_SET), 0); // b's id
    cr_assert_eq(fputc('x', file), 'x');
    fclose(file);
    struct base_error error;
    cr_assert_eq(consumer_lane_run(story.lane, CONSUMER_TIME_MAX, story_sink, &story, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert(strstr(error.text, path), "%s", error.text);
    cr_assert_str_eq(story.trace, "N0@10 a cp/00");
}

Test(lane_contract, a_directory_that_cannot_be_made_is_an_error)
{
    char path[2 * SUPPORT_DIRECTORY_MAX];
    snprintf(path, sizeof path, "%s/file", story.directory);
    fclose(fopen(path, "w"));
    snprintf(path, sizeof path, "%s/file/lane", story.directory);
    story.config.directory = path;
    struct base_error error;
    cr_assert_null(consumer_lane_new(&story.config, &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, path), "%s", error.text);
}

static int counting_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)sample;
    (void)error;
    ++*(uint64_t *)context;
    return 0;
}

// The memory promise: 32 bytes a journey; and old segments leave the disk.
Test(lane_contract, a_journey_costs_at_most_32_bytes_and_old_segments_go)
{
    enum { JOURNEYS = 100000 };
    story.config.action[1].wait = 100;
    story.config.action[1].window = 1000;
    story.config.segment_bytes = 1 << 20;
    story_open(&story);
    for (int i = 0; i < JOURNEYS; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        story_push(&story, 0, i / 100, id);
    }
    struct base_error error;
    uint64_t samples = 0;
    for (uint32_t rank = 0; rank < 3; rank++) {
        consumer_lane_raise(story.lane, rank, CONSUMER_TIME_MAX);
    }
    cr_assert_eq(consumer_lane_run(story.lane, JOURNEYS / 100, counting_sink, &samples, &error), 0);
    struct consumer_lane_usage full = consumer_lane_usage(story.lane);
    cr_assert_eq(full.journeys, JOURNEYS);
    cr_assert_leq(full.index_bytes, 32 * full.journeys + 16384);

    // Everything is past its window: only the segment being written is kept, its files go with the next run.
    cr_assert_eq(consumer_lane_run(story.lane, 10000, counting_sink, &samples, &error), 0);
    cr_assert_eq(consumer_lane_usage(story.lane).log_bytes, full.log_bytes);
    cr_assert_eq(consumer_lane_run(story.lane, 10001, counting_sink, &samples, &error), 0);
    struct consumer_lane_usage empty = consumer_lane_usage(story.lane);
    cr_assert_eq(empty.log_bytes, 1 << 20);
    cr_assert_lt(empty.journeys, JOURNEYS / 5);
    cr_assert_eq(samples, JOURNEYS);
}
