// The property of the whole join: on random streams a lane emits what the batch oracle says, sample by sample
// and counter by counter, however its partitions are fetched and however its runs are cut.
//
// FRESHET_STREAMS=n: how many streams (default 100,000). FRESHET_SEED=s: the first stream's number. A stream
// that fails prints its number: FRESHET_SEED=<number> FRESHET_STREAMS=1 shows it alone.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "consumer/lane.h"
#include "consumer_lane_world.h"
#include "support_directory.h"

enum {
    STREAMS_DEFAULT = 100000,
    SANITIZED_STREAMS_DEFAULT = 10000, // with a sanitizer a stream takes ten times as long
};

// Runs a lane up to `until`, checking what consumer_lane_next_time promises.
static bool lane_advance(struct consumer_lane *lane, int64_t until, struct lane_witness *witness)
{
    struct base_error error;
    if (consumer_lane_run(lane, until, lane_witness_sink, witness, &error) != 0) {
        if (!witness->complaint[0]) {
            snprintf(witness->complaint, sizeof witness->complaint, "run: %.400s", error.text);
        }
        return false;
    }
    int64_t next = consumer_lane_next_time(lane);
    if (next <= until && next != CONSUMER_TIME_MAX) {
        snprintf(witness->complaint, sizeof witness->complaint, "run left something at %lld",
                 (long long)next);
        return false;
    }
    return true;
}

// Feeds all steps, partitions and runs interleaved as the dice say. False: the witness complains.
static bool lane_feed(struct consumer_lane *lane, const struct support_stream *stream, struct lane_dice *dice,
                      struct lane_witness *witness)
{
    uint32_t next[CONSUMER_TOPICS_MAX] = {0};
    uint32_t ranks = stream->config.ranks;
    uint32_t favourite = (uint32_t)lane_dice_between(dice, 0, ranks - 1);
    int64_t favour = lane_dice_between(dice, 0, 95);
    int64_t eager = lane_dice_between(dice, 0, 60);
    uint32_t left = 0;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        left += stream->steps[rank];
    }
    while (left) {
        int64_t watermark = consumer_lane_watermark(lane);
        if (watermark != CONSUMER_TIME_MIN && lane_dice_chance(dice, eager)) {
            int64_t until = watermark - (lane_dice_chance(dice, 60) ? 1 : lane_dice_between(dice, 1, 10));
            until = until < stream->until ? until : stream->until;
            if (!lane_advance(lane, until, witness)) {
                return false;
            }
        }
        uint32_t rank =
            lane_dice_chance(dice, favour) ? favourite : (uint32_t)lane_dice_between(dice, 0, ranks - 1);
        while (next[rank] == stream->steps[rank]) {
            rank = (rank + 1) % ranks;
        }
        const struct support_step *step = &stream->step[rank][next[rank]++];
        struct base_error error;
        left--;
        if (step->raise) {
            consumer_lane_raise(lane, rank, step->watermark);
        } else if (consumer_lane_push(lane, &step->event, &error) != 0) {
            snprintf(witness->complaint, sizeof witness->complaint, "push: %.400s", error.text);
            return false;
        }
    }
    return true;
}

// The end: every partition is finished, and all that is still due comes out, in one run or in many.
static bool lane_finish(struct consumer_lane *lane, const struct support_stream *stream,
                        struct lane_dice *dice, struct lane_witness *witness)
{
    for (uint32_t rank = 0; rank < stream->config.ranks; rank++) {
        consumer_lane_raise(lane, rank, CONSUMER_TIME_MAX);
    }
    bool small = lane_dice_chance(dice, 50);
    while (small && consumer_lane_next_time(lane) <= stream->until &&
           consumer_lane_next_time(lane) != CONSUMER_TIME_MAX) {
        int64_t until = consumer_lane_next_time(lane) + lane_dice_between(dice, 0, 3);
        if (!lane_advance(lane, until < stream->until ? until : stream->until, witness)) {
            return false;
        }
    }
    return lane_advance(lane, stream->until, witness);
}

// One interleaving of one stream. The complaint is empty if all is as expected.
static void stream_check(const struct support_stream *stream, const struct support_outcome *expected,
                         struct lane_dice *dice, struct lane_witness *witness)
{
    struct base_error error;
    *witness = (struct lane_witness){.expected = expected};
    struct consumer_lane *lane = consumer_lane_new(&stream->config, &error);
    if (!lane) {
        snprintf(witness->complaint, sizeof witness->complaint, "lane: %.400s", error.text);
        return;
    }
    if (lane_feed(lane, stream, dice, witness) && lane_finish(lane, stream, dice, witness)) {
        struct consumer_lane_usage usage = consumer_lane_usage(lane);
        if (witness->count != expected->count) {
            snprintf(witness->complaint, sizeof witness->complaint, "%zu samples, expected %zu",
                     witness->count, expected->count);
        } else if (stream->until == CONSUMER_TIME_MAX && (usage.pending || usage.orphans)) {
            snprintf(witness->complaint, sizeof witness->complaint, "something is left at the end");
        } else {
            lane_counters_complain(consumer_lane_counters(lane), &expected->counters, witness->complaint,
                                   sizeof witness->complaint);
        }
    }
    consumer_lane_free(lane);
}

static void counters_add(struct consumer_lane_counters *sum, const struct consumer_lane_counters *more)
{
    uint64_t *a = (uint64_t *)sum;
    const uint64_t *b = (const uint64_t *)more;
    for (size_t i = 0; i < sizeof *sum / sizeof *a; i++) {
        a[i] += b[i];
    }
}

// Every rule must have fired often, or the streams prove nothing.
static void counters_expect_all(const struct consumer_lane_counters *sum, uint64_t least)
{
    for (uint32_t rank = 0; rank < 5; rank++) {
        cr_assert_geq(sum->late[rank], least);
        cr_assert_geq(sum->duplicate[rank], least);
        cr_assert_geq(sum->joined[rank], least);
        if (rank > 0) {
            cr_assert_geq(sum->second[rank], least);
            cr_assert_geq(sum->beyond[rank], least);
            cr_assert_geq(sum->negative_delay[rank], least);
            cr_assert_geq(sum->orphaned[rank], least);
            cr_assert_geq(sum->expired[rank], least);
            cr_assert_geq(sum->evicted[rank], least);
            cr_assert_geq(sum->no_reference[rank], least);
        }
    }
    for (int kind = 0; kind < BASE_KINDS; kind++) {
        cr_assert_geq(sum->samples[kind], least);
    }
    cr_assert_geq(sum->not_kept, least);
}

Test(joiner_property, random_streams_agree_with_the_oracle, .timeout = 36000)
{
#ifdef FRESHET_SANITIZED
    uint64_t streams = lane_world_setting("FRESHET_STREAMS", SANITIZED_STREAMS_DEFAULT);
#else
    uint64_t streams = lane_world_setting("FRESHET_STREAMS", STREAMS_DEFAULT);
#endif
    uint64_t first = lane_world_setting("FRESHET_SEED", 1);
    char directory[SUPPORT_DIRECTORY_MAX];
    support_directory_make(directory);
    struct lane_world *world = base_alloc(sizeof *world);
    struct consumer_lane_counters sum = {0};
    struct lane_witness witness = {0};
    uint64_t number = first;
    for (; number < first + streams && !witness.complaint[0]; number++) {
        struct lane_dice dice = {.key = base_random_key(number, "stream")};
        memset(world->stream.steps, 0, sizeof world->stream.steps);
        world->used = 0;
        lane_world_configure(world, &dice, directory);
        lane_world_generate(world, &dice);
        struct support_outcome expected;
        support_oracle(&world->stream, &expected);
        stream_check(&world->stream, &expected, &dice, &witness);
        counters_add(&sum, &expected.counters);
        support_outcome_done(&expected);
    }
    free(world);
    support_directory_remove(directory);
    cr_assert(!witness.complaint[0], "stream %llu: %s", (unsigned long long)number - 1, witness.complaint);
    if (streams >= SANITIZED_STREAMS_DEFAULT) {
        counters_expect_all(&sum, streams / 1000);
    }
}

enum { PERMUTED = 7 };

// Reads the seven events in one order and expects what the oracle says of it.
static void permutation_check(struct lane_world *world, const struct consumer_event *events, const int *order,
                              struct lane_dice *dice)
{
    memset(world->stream.steps, 0, sizeof world->stream.steps);
    for (int i = 0; i < PERMUTED; i++) {
        struct consumer_event event = events[order[i]];
        event.offset = i;
        lane_world_add(world, event.rank, (struct support_step){.event = event});
    }
    struct support_outcome expected;
    struct lane_witness witness;
    support_oracle(&world->stream, &expected);
    stream_check(&world->stream, &expected, dice, &witness);
    support_outcome_done(&expected);
    cr_assert(!witness.complaint[0], "order %d%d%d%d%d%d%d: %s", order[0], order[1], order[2], order[3],
              order[4], order[5], order[6], witness.complaint);
}

// All orders of `order[from..]`, by swapping each to the front.
static void permute(struct lane_world *world, const struct consumer_event *events, int *order, int from,
                    struct lane_dice *dice)
{
    if (from == PERMUTED) {
        permutation_check(world, events, order, dice);
        return;
    }
    for (int i = from; i < PERMUTED; i++) {
        int first = order[i];
        order[i] = order[from];
        order[from] = first;
        permute(world, events, order, from + 1, dice);
        order[from] = order[i];
        order[i] = first;
    }
}

// Two journeys with all that belongs to them, read in every order, by id and by last touch.
Test(joiner_property, every_permutation_of_two_journeys_agrees, .timeout = 600)
{
    char directory[SUPPORT_DIRECTORY_MAX];
    support_directory_make(directory);
    struct lane_world *world = base_alloc(sizeof *world);
    struct lane_dice dice = {.key = base_random_key(1, "permutations")};
    const struct base_span a = base_span_string("a");
    const struct base_span b = base_span_string("b");
    const struct base_span key = base_span_string("k");
    const struct consumer_event events[PERMUTED] = {
        {.rank = 0, .event_time = 0, .impression_id = a, .columns = base_span_make(world->bytes, 8)},
        {.rank = 0, .event_time = 3, .impression_id = b, .columns = base_span_make(world->bytes, 16)},
        {.rank = 1, .event_time = 6, .impression_id = a, .event_id = a, .touch = key},
        {.rank = 1, .event_time = 7, .impression_id = b, .event_id = b, .touch = key},
        {.rank = 1, .event_time = 8, .impression_id = b, .event_id = a, .touch = key},
        {.rank = 2, .event_time = 9, .impression_id = a, .touch = key},
        {.rank = 2, .event_time = 15, .impression_id = b, .touch = key},
    };
    memset(world->bytes, 1, 16);
    for (int touch = 0; touch < 2; touch++) {
        world->stream = (struct support_stream){
            .config = {.directory = directory,
                       .ranks = 3,
                       .action = {[1] = {"click", 0, false, false, 4, 7, 0},
                                  [2] = {"purchase", 1, false, touch, 3, 9, 0}},
                       .allowed_lateness = {2, 2, 2},
                       .dedupe = {7, 9, 9},
                       .orphan_timeout = 6,
                       .keep_negatives = 1,
                       .segment_bytes = 8192},
            .until = CONSUMER_TIME_MAX,
        };
        int order[PERMUTED] = {0, 1, 2, 3, 4, 5, 6};
        permute(world, events, order, 0, &dice);
    }
    free(world);
    support_directory_remove(directory);
}
