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
#include "support_directory.h"
#include "support_oracle.h"

enum {
    STREAMS_DEFAULT = 100000,
    SANITIZED_STREAMS_DEFAULT = 10000, // with a sanitizer a stream takes ten times as long
    COLUMNS = 8,                       // words of an impression's columns
    POOL = 32768,                      // bytes for a stream's ids and columns
    SAMPLES_MAX = 4096,
};

// A generator that walks one key's counters.
struct dice {
    uint64_t key;
    uint64_t counter;
};

static int64_t dice_between(struct dice *dice, int64_t least, int64_t most)
{
    uint64_t bits = base_random_bits(dice->key, dice->counter++);
    return least + (int64_t)(bits % (uint64_t)(most - least + 1));
}

static bool dice_chance(struct dice *dice, int64_t percent)
{
    return dice_between(dice, 0, 99) < percent;
}

// A test's stream with the bytes that its events borrow.
struct world {
    struct support_stream stream;
    uint64_t bytes[POOL / 8];
    size_t used;
};

static struct base_span world_bytes(struct world *world, const void *data, size_t size)
{
    cr_assert_lt(world->used + size + 8, sizeof world->bytes);
    uint8_t *to = (uint8_t *)world->bytes + world->used;
    memcpy(to, data, size);
    world->used += (size + 7) / 8 * 8;
    return base_span_make(to, size);
}

// Ids of 0 to 3 bytes, NUL among them, so that lengths and bytes both matter.
static struct base_span world_id(struct world *world, int64_t number)
{
    static const char *const ids[] = {"a", "b", "ab", "\0", "\0\0", "", "abc", "c"};
    static const size_t sizes[] = {1, 1, 2, 1, 2, 0, 3, 1};
    size_t i = (size_t)number % 8;
    return world_bytes(world, ids[i], sizes[i]);
}

static struct base_span world_columns(struct world *world, struct dice *dice)
{
    uint64_t words[COLUMNS];
    size_t count = (size_t)dice_between(dice, 0, COLUMNS);
    for (size_t i = 0; i < count; i++) {
        words[i] = base_random_bits(dice->key, dice->counter++);
    }
    return world_bytes(world, words, count * sizeof *words);
}

static void world_configure(struct world *world, struct dice *dice, const char *directory)
{
    static const char *const names[] = {NULL, "click", "cart", "purchase", "like", "share", "save", "hide"};
    struct consumer_lane_config *config = &world->stream.config;
    uint32_t funnel = (uint32_t)(dice_chance(dice, 60) ? 2 : dice_between(dice, 1, 3));
    uint32_t sides = (uint32_t)(dice_chance(dice, 60) ? 0 : dice_between(dice, 1, 2));
    int64_t scale = dice_chance(dice, 30) ? 4 : 24;
    *config = (struct consumer_lane_config){
        .lane = (uint32_t)dice_between(dice, 0, 5),
        .directory = directory,
        .ranks = 1 + funnel + sides,
        .orphan_timeout = dice_between(dice, 0, scale),
        .orphan_max = dice_chance(dice, 25) ? (uint64_t)dice_between(dice, 1, 3) : 0,
        .keep_negatives = dice_chance(dice, 70)   ? 1
                          : dice_chance(dice, 50) ? 0.5
                                                  : 0.3,
        .segment_bytes = (uint64_t)(dice_chance(dice, 50) ? 8192 : dice_between(dice, 256, 900)),
        .train_final = dice_chance(dice, 50),
    };
    for (uint32_t rank = 0; rank < config->ranks; rank++) {
        config->allowed_lateness[rank] = dice_between(dice, 0, 10);
        config->dedupe[rank] = dice_between(dice, 0, scale);
        if (rank == 0) {
            continue;
        }
        struct consumer_action_config *action = &config->action[rank];
        action->name = names[rank];
        action->side = rank > funnel;
        action->parent = action->side ? (uint32_t)dice_between(dice, 0, funnel - 1) : rank - 1;
        action->last_touch = dice_chance(dice, rank == 1 ? 10 : 40);
        action->window = dice_between(dice, 0, scale);
        action->wait = dice_chance(dice, 15) ? action->window : dice_between(dice, 0, action->window);
    }
}

static void world_add(struct world *world, uint32_t rank, struct support_step step)
{
    uint32_t at = world->stream.steps[rank]++;
    cr_assert_lt(at, (uint32_t)SUPPORT_STEPS_MAX);
    world->stream.step[rank][at] = step;
}

// Some 5 to 40 records about a handful of journeys, close together in time.
static void world_generate(struct world *world, struct dice *dice)
{
    const struct consumer_lane_config *config = &world->stream.config;
    int64_t records = dice_between(dice, 5, 40);
    int64_t clock = dice_between(dice, -30, 30);
    int64_t ids = dice_between(dice, 1, 6);
    int64_t keys = dice_between(dice, 1, 3);
    int64_t pace = dice_between(dice, 0, 5);
    int64_t offset[CONSUMER_TOPICS_MAX] = {0};
    for (int64_t i = 0; i < records; i++) {
        clock += dice_between(dice, 0, pace);
        uint32_t rank = dice_chance(dice, 35) ? 0 : (uint32_t)dice_between(dice, 0, config->ranks - 1);
        if (dice_chance(dice, 6)) {
            world_add(world, rank,
                      (struct support_step){.raise = true, .watermark = clock + dice_between(dice, -12, 6)});
            continue;
        }
        offset[rank] += dice_between(dice, 1, 2);
        struct consumer_event event = {
            .rank = rank,
            .lane = config->lane,
            .offset = offset[rank],
            .event_time = clock - (dice_chance(dice, 50) ? 0 : dice_between(dice, -3, 20)),
            .impression_id = world_id(world, dice_between(dice, 0, ids - 1)),
            .value = 1,
        };
        if (rank == 0) {
            event.event_id = event.impression_id;
            event.columns = world_columns(world, dice);
        } else {
            if (!dice_chance(dice, 15)) {
                event.event_id = world_id(world, dice_between(dice, 0, 7));
            }
            if (dice_chance(dice, 5)) {
                event.impression_id = (struct base_span){0};
            }
        }
        if (!dice_chance(dice, 8)) {
            event.touch = world_id(world, dice_between(dice, 0, keys - 1));
        }
        world_add(world, rank, (struct support_step){.event = event});
    }
    world->stream.until = dice_chance(dice, 85) ? CONSUMER_TIME_MAX : clock - dice_between(dice, -40, 20);
}

// What a lane emitted, compared with the oracle as it comes.
struct witness {
    const struct support_outcome *expected;
    size_t count;
    char complaint[512];
};

static int witness_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    struct witness *witness = context;
    size_t at = witness->count++;
    if (at >= witness->expected->count) {
        snprintf(witness->complaint, sizeof witness->complaint, "sample %zu (%s at %lld) is one too many", at,
                 base_kind_name(sample->kind), (long long)sample->due_time);
        return base_error_set(error, BASE_ESTOPPED, "a difference");
    }
    const struct base_sample *other = &witness->expected->samples[at];
    bool same = sample->due_time == other->due_time && sample->event_time == other->event_time &&
                sample->sequence == other->sequence && sample->lane == other->lane &&
                sample->kind == other->kind && sample->mask == other->mask &&
                sample->trains == other->trains && sample->task == other->task &&
                memcmp(sample->label, other->label, sizeof sample->label) == 0 &&
                memcmp(sample->weight, other->weight, sizeof sample->weight) == 0 &&
                base_span_equal(sample->impression_id, other->impression_id) &&
                base_span_equal(sample->columns, other->columns) && (uintptr_t)sample->columns.data % 8 == 0;
    if (!same) {
        snprintf(
            witness->complaint, sizeof witness->complaint,
            "sample %zu: %s due %lld event %lld mask %x labels %d%d%d sequence %llu task %d; expected %s due "
            "%lld event %lld mask %x labels %d%d%d task %d",
            at, base_kind_name(sample->kind), (long long)sample->due_time, (long long)sample->event_time,
            sample->mask, sample->label[0], sample->label[1], sample->label[2],
            (unsigned long long)sample->sequence, sample->task, base_kind_name(other->kind),
            (long long)other->due_time, (long long)other->event_time, other->mask, other->label[0],
            other->label[1], other->label[2], other->task);
        return base_error_set(error, BASE_ESTOPPED, "a difference");
    }
    return 0;
}

// Runs a lane up to `until`, checking what consumer_lane_next_time promises.
static bool lane_advance(struct consumer_lane *lane, int64_t until, struct witness *witness)
{
    struct base_error error;
    if (consumer_lane_run(lane, until, witness_sink, witness, &error) != 0) {
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
static bool lane_feed(struct consumer_lane *lane, const struct support_stream *stream, struct dice *dice,
                      struct witness *witness)
{
    uint32_t next[CONSUMER_TOPICS_MAX] = {0};
    uint32_t ranks = stream->config.ranks;
    uint32_t favourite = (uint32_t)dice_between(dice, 0, ranks - 1);
    int64_t favour = dice_between(dice, 0, 95);
    int64_t eager = dice_between(dice, 0, 60);
    uint32_t left = 0;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        left += stream->steps[rank];
    }
    while (left) {
        int64_t watermark = consumer_lane_watermark(lane);
        if (watermark != CONSUMER_TIME_MIN && dice_chance(dice, eager)) {
            int64_t until = watermark - (dice_chance(dice, 60) ? 1 : dice_between(dice, 1, 10));
            until = until < stream->until ? until : stream->until;
            if (!lane_advance(lane, until, witness)) {
                return false;
            }
        }
        uint32_t rank = dice_chance(dice, favour) ? favourite : (uint32_t)dice_between(dice, 0, ranks - 1);
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
static bool lane_finish(struct consumer_lane *lane, const struct support_stream *stream, struct dice *dice,
                        struct witness *witness)
{
    for (uint32_t rank = 0; rank < stream->config.ranks; rank++) {
        consumer_lane_raise(lane, rank, CONSUMER_TIME_MAX);
    }
    bool small = dice_chance(dice, 50);
    while (small && consumer_lane_next_time(lane) <= stream->until &&
           consumer_lane_next_time(lane) != CONSUMER_TIME_MAX) {
        int64_t until = consumer_lane_next_time(lane) + dice_between(dice, 0, 3);
        if (!lane_advance(lane, until < stream->until ? until : stream->until, witness)) {
            return false;
        }
    }
    return lane_advance(lane, stream->until, witness);
}

static void counters_complain(const struct consumer_lane_counters *got,
                              const struct consumer_lane_counters *expected, char *text, size_t size)
{
    static const char *const names[] = {"events",  "late",    "duplicate",      "joined",
                                        "second",  "beyond",  "negative_delay", "orphaned",
                                        "expired", "evicted", "no_reference"};
    const uint64_t *a = (const uint64_t *)got;
    const uint64_t *b = (const uint64_t *)expected;
    for (size_t i = 0; i < sizeof *got / sizeof *a; i++) {
        if (a[i] != b[i]) {
            size_t row = i / CONSUMER_TOPICS_MAX;
            snprintf(text, size, "counter %s[%zu] is %llu, expected %llu",
                     row < sizeof names / sizeof *names ? names[row] : "samples", i % CONSUMER_TOPICS_MAX,
                     (unsigned long long)a[i], (unsigned long long)b[i]);
            return;
        }
    }
}

// One interleaving of one stream. The complaint is empty if all is as expected.
static void stream_check(const struct support_stream *stream, const struct support_outcome *expected,
                         struct dice *dice, struct witness *witness)
{
    struct base_error error;
    *witness = (struct witness){.expected = expected};
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
            counters_complain(consumer_lane_counters(lane), &expected->counters, witness->complaint,
                              sizeof witness->complaint);
        }
    }
    consumer_lane_free(lane);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
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
    uint64_t streams = setting("FRESHET_STREAMS", SANITIZED_STREAMS_DEFAULT);
#else
    uint64_t streams = setting("FRESHET_STREAMS", STREAMS_DEFAULT);
#endif
    uint64_t first = setting("FRESHET_SEED", 1);
    char directory[SUPPORT_DIRECTORY_MAX];
    support_directory_make(directory);
    struct world *world = base_alloc(sizeof *world);
    struct consumer_lane_counters sum = {0};
    struct witness witness = {0};
    uint64_t number = first;
    for (; number < first + streams && !witness.complaint[0]; number++) {
        struct dice dice = {.key = base_random_key(number, "stream")};
        memset(world->stream.steps, 0, sizeof world->stream.steps);
        world->used = 0;
        world_configure(world, &dice, directory);
        world_generate(world, &dice);
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
static void permutation_check(struct world *world, const struct consumer_event *events, const int *order,
                              struct dice *dice)
{
    memset(world->stream.steps, 0, sizeof world->stream.steps);
    for (int i = 0; i < PERMUTED; i++) {
        struct consumer_event event = events[order[i]];
        event.offset = i;
        world_add(world, event.rank, (struct support_step){.event = event});
    }
    struct support_outcome expected;
    struct witness witness;
    support_oracle(&world->stream, &expected);
    stream_check(&world->stream, &expected, dice, &witness);
    support_outcome_done(&expected);
    cr_assert(!witness.complaint[0], "order %d%d%d%d%d%d%d: %s", order[0], order[1], order[2], order[3],
              order[4], order[5], order[6], witness.complaint);
}

// All orders of `order[from..]`, by swapping each to the front.
static void permute(struct world *world, const struct consumer_event *events, int *order, int from,
                    struct dice *dice)
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
    struct world *world = base_alloc(sizeof *world);
    struct dice dice = {.key = base_random_key(1, "permutations")};
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
            .config =
                {.directory = directory,
                 .ranks = 3,
                 .action =
                     {[1] = {"click", 0, false, false, 4, 7}, [2] = {"purchase", 1, false, touch, 3, 9}},
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
