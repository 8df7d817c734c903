// Random streams for a lane. See consumer_lane_world.h.
#include "consumer_lane_world.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "base/section.h"

int64_t lane_dice_between(struct lane_dice *dice, int64_t least, int64_t most)
{
    uint64_t bits = base_random_bits(dice->key, dice->counter++);
    return least + (int64_t)(bits % (uint64_t)(most - least + 1));
}

bool lane_dice_chance(struct lane_dice *dice, int64_t percent)
{
    return lane_dice_between(dice, 0, 99) < percent;
}

static struct base_span world_bytes(struct lane_world *world, const void *data, size_t size)
{
    cr_assert_lt(world->used + size + 8, sizeof world->bytes);
    uint8_t *to = (uint8_t *)world->bytes + world->used;
    memcpy(to, data, size);
    world->used += (size + 7) / 8 * 8;
    return base_span_make(to, size);
}

// Ids of 0 to 3 bytes, NUL among them, so that lengths and bytes both matter.
static struct base_span world_id(struct lane_world *world, int64_t number)
{
    static const char *const ids[] = {"a", "b", "ab", "\0", "\0\0", "", "abc", "c"};
    static const size_t sizes[] = {1, 1, 2, 1, 2, 0, 3, 1};
    size_t i = (size_t)number % 8;
    return world_bytes(world, ids[i], sizes[i]);
}

static struct base_span world_columns(struct lane_world *world, struct lane_dice *dice)
{
    uint64_t words[LANE_WORLD_COLUMNS];
    size_t count = (size_t)lane_dice_between(dice, 0, LANE_WORLD_COLUMNS);
    for (size_t i = 0; i < count; i++) {
        words[i] = base_random_bits(dice->key, dice->counter++);
    }
    return world_bytes(world, words, count * sizeof *words);
}

void lane_world_configure(struct lane_world *world, struct lane_dice *dice, const char *directory)
{
    static const char *const names[] = {NULL, "click", "cart", "purchase", "like", "share", "save", "hide"};
    struct consumer_lane_config *config = &world->stream.config;
    uint32_t funnel = (uint32_t)(lane_dice_chance(dice, 60) ? 2 : lane_dice_between(dice, 1, 3));
    uint32_t sides = (uint32_t)(lane_dice_chance(dice, 60) ? 0 : lane_dice_between(dice, 1, 2));
    int64_t scale = lane_dice_chance(dice, 30) ? 4 : 24;
    *config = (struct consumer_lane_config){
        .lane = (uint32_t)lane_dice_between(dice, 0, 5),
        .directory = directory,
        .ranks = 1 + funnel + sides,
        .orphan_timeout = lane_dice_between(dice, 0, scale),
        .orphan_max = lane_dice_chance(dice, 25) ? (uint64_t)lane_dice_between(dice, 1, 3) : 0,
        .keep_negatives = lane_dice_chance(dice, 70)   ? 1
                          : lane_dice_chance(dice, 50) ? 0.5
                                                       : 0.3,
        .weighs_negatives = lane_dice_chance(dice, 50),
        .segment_bytes = (uint64_t)(lane_dice_chance(dice, 50) ? 8192 : lane_dice_between(dice, 256, 900)),
        .train_final = lane_dice_chance(dice, 50),
    };
    for (uint32_t rank = 0; rank < config->ranks; rank++) {
        config->allowed_lateness[rank] = lane_dice_between(dice, 0, 10);
        config->dedupe[rank] = lane_dice_between(dice, 0, scale);
        if (rank == 0) {
            continue;
        }
        struct consumer_action_config *action = &config->action[rank];
        action->name = names[rank];
        action->side = rank > funnel;
        action->parent = action->side ? (uint32_t)lane_dice_between(dice, 0, funnel - 1) : rank - 1;
        action->last_touch = lane_dice_chance(dice, rank == 1 ? 10 : 40);
        action->window = lane_dice_between(dice, 0, scale);
        action->wait =
            lane_dice_chance(dice, 15) ? action->window : lane_dice_between(dice, 0, action->window);
        if (rank > funnel + 1 && lane_dice_chance(dice, 50)) {
            const struct consumer_action_config *before = &config->action[rank - 1];
            action->as = rank - 1;
            action->parent = before->parent;
            action->window = before->window;
            action->wait = before->wait;
        }
    }
}

void lane_world_add(struct lane_world *world, uint32_t rank, struct support_step step)
{
    uint32_t at = world->stream.steps[rank]++;
    cr_assert_lt(at, (uint32_t)SUPPORT_STEPS_MAX);
    world->stream.step[rank][at] = step;
}

void lane_world_generate(struct lane_world *world, struct lane_dice *dice)
{
    const struct consumer_lane_config *config = &world->stream.config;
    int64_t records = lane_dice_between(dice, 5, 40);
    int64_t clock = lane_dice_between(dice, -30, 30);
    int64_t ids = lane_dice_between(dice, 1, 6);
    int64_t keys = lane_dice_between(dice, 1, 3);
    int64_t pace = lane_dice_between(dice, 0, 5);
    int64_t weighted = lane_dice_chance(dice, 50) ? 70 : 0; // percent of the impressions
    int64_t offset[CONSUMER_TOPICS_MAX] = {0};
    for (int64_t i = 0; i < records; i++) {
        clock += lane_dice_between(dice, 0, pace);
        uint32_t rank =
            lane_dice_chance(dice, 35) ? 0 : (uint32_t)lane_dice_between(dice, 0, config->ranks - 1);
        if (lane_dice_chance(dice, 6)) {
            lane_world_add(
                world, rank,
                (struct support_step){.raise = true, .watermark = clock + lane_dice_between(dice, -12, 6)});
            continue;
        }
        offset[rank] += lane_dice_between(dice, 1, 2);
        struct consumer_event event = {
            .rank = rank,
            .lane = config->lane,
            .offset = offset[rank],
            .event_time = clock - (lane_dice_chance(dice, 50) ? 0 : lane_dice_between(dice, -3, 20)),
            .impression_id = world_id(world, lane_dice_between(dice, 0, ids - 1)),
            .value = lane_dice_chance(dice, 20) ? NAN : (double)lane_dice_between(dice, -3, 40) / 4,
        };
        if (rank == 0) {
            event.event_id = event.impression_id;
            event.columns = world_columns(world, dice);
            event.weighted = lane_dice_chance(dice, weighted);
            event.weight = event.weighted ? (float)lane_dice_between(dice, 0, 30) / 7 : 0;
        } else {
            if (!lane_dice_chance(dice, 15)) {
                event.event_id = world_id(world, lane_dice_between(dice, 0, 7));
            }
            if (lane_dice_chance(dice, 5)) {
                event.impression_id = (struct base_span){0};
            }
        }
        if (!lane_dice_chance(dice, 8)) {
            event.touch = world_id(world, lane_dice_between(dice, 0, keys - 1));
        }
        lane_world_add(world, rank, (struct support_step){.event = event});
    }
    world->stream.until =
        lane_dice_chance(dice, 85) ? CONSUMER_TIME_MAX : clock - lane_dice_between(dice, -40, 20);
}

static bool witness_same_values(const struct base_sample *a, const struct base_sample *b)
{
    for (uint32_t k = 0; k < BASE_TASKS_MAX; k++) {
        if (isnan(a->value[k]) ? !isnan(b->value[k]) : a->value[k] != b->value[k]) {
            return false;
        }
    }
    return true;
}

int lane_witness_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    struct lane_witness *witness = context;
    size_t at = witness->count++;
    if (at >= witness->expected->count) {
        snprintf(witness->complaint, sizeof witness->complaint, "sample %zu (%s at %lld) is one too many", at,
                 base_kind_name(sample->kind), (long long)sample->due_time);
        return base_error_set(error, BASE_ESTOPPED, "a difference");
    }
    const struct base_sample *other = &witness->expected->samples[at];
    bool same =
        sample->due_time == other->due_time && sample->event_time == other->event_time &&
        sample->sequence == other->sequence && sample->lane == other->lane && sample->kind == other->kind &&
        sample->mask == other->mask && sample->trains == other->trains && sample->task == other->task &&
        memcmp(sample->label, other->label, sizeof sample->label) == 0 &&
        memcmp(sample->weight, other->weight, sizeof sample->weight) == 0 &&
        sample->weighted == other->weighted &&
        base_sample_impression_weight(sample) == base_sample_impression_weight(other) &&
        witness_same_values(sample, other) && base_span_equal(sample->impression_id, other->impression_id) &&
        base_span_equal(sample->columns, other->columns) && (uintptr_t)sample->columns.data % 8 == 0;
    if (!same) {
        snprintf(witness->complaint, sizeof witness->complaint,
                 "sample %zu: %s due %lld event %lld mask %x labels %d%d%d sequence %llu task %d value %g; "
                 "expected "
                 "%s due %lld event %lld mask %x labels %d%d%d task %d value %g",
                 at, base_kind_name(sample->kind), (long long)sample->due_time, (long long)sample->event_time,
                 sample->mask, sample->label[0], sample->label[1], sample->label[2],
                 (unsigned long long)sample->sequence, sample->task, (double)sample->value[sample->task],
                 base_kind_name(other->kind), (long long)other->due_time, (long long)other->event_time,
                 other->mask, other->label[0], other->label[1], other->label[2], other->task,
                 (double)other->value[sample->task]);
        return base_error_set(error, BASE_ESTOPPED, "a difference");
    }
    return 0;
}

void lane_counters_complain(const struct consumer_lane_counters *got,
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

uint64_t lane_world_setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

bool lane_saved_log(struct base_span state, size_t *at, struct lane_saved_log *log)
{
    static const char magic[] = "FRSHSEGS";
    while (*at + 8 <= state.size && memcmp(state.data + *at, magic, 8) != 0) {
        ++*at;
    }
    if (*at + 8 > state.size) {
        return false;
    }
    struct base_reader from = {base_span_make(state.data + *at, state.size - *at), false};
    struct base_reader payload;
    struct base_error error;
    cr_assert_eq(base_section_open(&from, magic, 1, &payload, "a log", &error), 0, "%s", error.text);
    struct base_span name = base_section_get_span(&payload);
    snprintf(log->name, sizeof log->name, "%.*s", (int)name.size, (const char *)name.data);
    log->segments = base_reader_u64(&payload);
    log->first = base_reader_u64(&payload);
    log->last = log->first + log->segments - 1;
    base_reader_u64(&payload); // base
    for (uint64_t i = 0; i < log->segments; i++) {
        log->size = base_reader_u64(&payload);
        log->used = base_reader_u64(&payload);
        base_reader_bytes(&payload, 24);
    }
    cr_assert_eq(base_section_close(&payload, "a log", &error), 0, "%s", error.text);
    *at = state.size - from.rest.size;
    return true;
}

void lane_saved_path(const char *directory, const struct lane_saved_log *log, uint64_t segment,
                     char path[256])
{
    snprintf(path, 256, "%s/%s.%010llu", directory, log->name, (unsigned long long)segment);
}
