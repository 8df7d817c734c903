// The cut under random training: cuts at random ticks, copied in random portions while training goes on,
// publications that succeed, fail or are out, crashes. Beside the model runs a twin that is never cut.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "trainer/evaluator.h"
#include "trainer_cut_support.h"

enum { TICKS = 120, TICK_SAMPLES = 3 * MODEL_BATCH, COMMITTED_MAX = 2 };

// What a cut was made of, for its restoring.
struct world_cut {
    int64_t tick;
    int64_t settled, flying; // ticks of the model's snapshots then; INT64_MIN: none
    struct base_buffer evaluator;
};

struct world_counts {
    uint32_t crashes, cuts, forced, dropped, buckets, spread, set_aside, deltas, fulls;
    uint32_t heads[4]; // present, settled, flying, none
};

struct world {
    uint64_t seed, counter;
    struct trainer_model_config *config;
    struct trainer_model *model, *twin;
    struct trainer_evaluator *evaluator, *twin_evaluator;
    int64_t tick;
    uint64_t hashes[TICKS], rows[TICKS]; // of the twin after each tick
    struct map map;                      // what the last complete cut left
    struct world_cut begun, committed;
    bool in_progress, any;
    uint32_t portions;
    struct trainer_snapshot *out, *twin_out;
    int64_t published; // tick that readers have; INT64_MIN: none
    int64_t settled;   // what the model builds its deltas on
    struct world_counts *counts;
};

static uint64_t draw(struct world *world, uint64_t below)
{
    return base_random_bits(base_random_key(world->seed, "cut world"), world->counter++) % below;
}

// Of a tick's content, which is the same however often it is trained on.
static uint64_t tick_draw(const struct world *world, int64_t tick, uint64_t what, uint64_t below)
{
    return base_random_bits(base_random_key(world->seed, "cut ticks"), (uint64_t)tick * 16 + what) % below;
}

static struct trainer_evaluator *evaluator_make(const struct trainer_model_config *config)
{
    struct base_error error;
    const struct trainer_evaluator_config evaluator = {.tasks = config->loss.tasks,
                                                       .stages = config->loss.stages,
                                                       .parent = {0, 0, 0},
                                                       .keep_negatives = 1,
                                                       .window_ms = 12000};
    return trainer_evaluator_new(&evaluator, &error);
}

static void train_minibatch(struct world *world, struct trainer_model *model,
                            struct trainer_evaluator *evaluator, int64_t tick, uint32_t number)
{
    struct base_error error;
    struct trainer_step step;
    uint32_t n = 1 + (uint32_t)tick_draw(world, tick, 2 + number, MODEL_BATCH);
    struct base_minibatch *minibatch =
        model_minibatch(world->seed, (uint64_t)tick * TICK_SAMPLES + number * MODEL_BATCH, n);
    for (uint32_t k = 0; k < MODEL_TASKS && tick_draw(world, tick, 8 + number, 12) == 0; k++) {
        if (minibatch->samples[0].mask >> k & 1) {
            minibatch->samples[0].weight[k] = INFINITY;
            world->counts->set_aside++;
            break;
        }
    }
    cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
    for (uint32_t i = 0; i < n && !step.set_aside; i++) {
        trainer_evaluator_feed(evaluator, &minibatch->samples[i], step.conditional + i * MODEL_TASKS,
                               step.products + i * MODEL_TASKS);
    }
    base_minibatch_free(minibatch);
}

static uint32_t tick_minibatches(const struct world *world, int64_t tick)
{
    return (uint32_t)tick_draw(world, tick, 0, 4);
}

// A few ticks are long: much expires at once.
static int64_t tick_end(const struct world *world, int64_t tick)
{
    int64_t end = (tick + 1) * TICK_SAMPLES * 10;
    return end + (tick_draw(world, tick, 1, 10) == 0 ? 200 : 0);
}

static void train_tick_end(struct world *world, struct trainer_model *model,
                           struct trainer_evaluator *evaluator, int64_t tick)
{
    trainer_model_tick(model, tick_end(world, tick));
    trainer_evaluator_advance(evaluator, tick_end(world, tick));
}

static void evaluators_compare(const struct trainer_evaluator *a, const struct trainer_evaluator *b)
{
    struct base_buffer left = {0}, right = {0};
    trainer_evaluator_save(a, &left);
    trainer_evaluator_save(b, &right);
    cr_assert(base_span_equal(base_buffer_span(&left), base_buffer_span(&right)));
    base_buffer_free(&left);
    base_buffer_free(&right);
}

static void world_check(const struct world *world, int64_t tick)
{
    cr_assert_eq(trainer_model_hash(world->model), world->hashes[tick], "seed %lu, tick %ld",
                 (unsigned long)world->seed, (long)tick);
    cr_assert_eq(trainer_table_rows(trainer_model_table(world->model)), world->rows[tick]);
}

// ---- publications ----

static int compare_numbers(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static const float *rows_find(const struct trainer_snapshot_rows *rows, uint64_t key)
{
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->keys[i] == key) {
            return rows->vectors + i * rows->dimension;
        }
    }
    return NULL;
}

static void snapshots_compare(const struct trainer_snapshot *a, const struct trainer_snapshot *b)
{
    cr_assert_eq(a->full, b->full);
    cr_assert_eq(a->examples, b->examples);
    cr_assert_eq(a->rows_total, b->rows_total);
    cr_assert_eq(a->dense_size, b->dense_size);
    cr_assert(memcmp(a->dense, b->dense, a->dense_size * sizeof *a->dense) == 0);
    for (uint32_t s = 0; s < a->slots; s++) {
        const struct trainer_snapshot_rows *left = &a->rows[s], *right = &b->rows[s];
        cr_assert_eq(left->count, right->count, "slot %u: %zu rows and %zu", s, left->count, right->count);
        for (size_t i = 0; i < left->count; i++) {
            const float *other = rows_find(right, left->keys[i]);
            cr_assert_not_null(other);
            cr_assert(memcmp(left->vectors + i * left->dimension, other, left->dimension * sizeof *other) ==
                      0);
        }
        cr_assert_eq(left->removed, right->removed, "slot %u: %zu tombstones and %zu", s, left->removed,
                     right->removed);
        qsort(left->tombstones, left->removed, sizeof *left->tombstones, compare_numbers);
        qsort(right->tombstones, right->removed, sizeof *right->tombstones, compare_numbers);
        cr_assert(memcmp(left->tombstones, right->tombstones, left->removed * sizeof *left->tombstones) == 0);
    }
}

// Takes the same snapshot of both. After a head that allowed no delta the model's is full: then the twin's is
// asked to be.
static void world_snapshot(struct world *world)
{
    bool full = draw(world, 6) == 0;
    world->out = trainer_model_snapshot(world->model, world->tick, full);
    world->twin_out = trainer_model_snapshot(world->twin, world->tick, world->out->full);
    snapshots_compare(world->out, world->twin_out);
    world->counts->deltas += !world->out->full;
    world->counts->fulls += world->out->full;
}

static void world_settle(struct world *world, bool published)
{
    if (world->out) {
        trainer_model_settle(world->model, world->out, published);
        world->settled = published ? world->out->tick : world->settled;
        trainer_snapshot_free(world->out);
    }
    world->published = published ? world->twin_out->tick : world->published;
    trainer_model_settle(world->twin, world->twin_out, published);
    trainer_snapshot_free(world->twin_out);
    world->out = world->twin_out = NULL;
}

// ---- cuts and crashes ----

static void world_begin_cut(struct world *world)
{
    trainer_model_cut_begin(world->model);
    world->in_progress = true;
    world->portions = 0;
    world->begun.tick = world->tick;
    world->begun.settled = world->settled;
    world->begun.flying = world->out ? world->out->tick : INT64_MIN;
    base_buffer_clear(&world->begun.evaluator);
    trainer_evaluator_save(world->evaluator, &world->begun.evaluator);
}

static void world_copy(struct world *world, size_t rows)
{
    if (!world->in_progress) {
        cr_assert(trainer_model_cut_copy(world->model, 1));
        return;
    }
    world->portions++;
    if (!trainer_model_cut_copy(world->model, rows)) {
        return;
    }
    struct trainer_cut *cut = trainer_model_cut_take(world->model);
    struct trainer_cut_figures figures = trainer_cut_figures(cut);
    world->counts->cuts++;
    world->counts->forced += (uint32_t)figures.forced;
    world->counts->dropped += (uint32_t)figures.dropped;
    world->counts->buckets += (uint32_t)figures.buckets;
    world->counts->spread += world->portions > 2;
    map_write(&world->map, cut);
    trainer_cut_free(cut);
    struct base_buffer old = world->committed.evaluator;
    world->committed = world->begun;
    world->begun.evaluator = old;
    world->in_progress = false;
    world->any = true;
}

// Says what readers have once the restored model has come there, as the daemon does. True: said.
static bool world_meet(struct world *world, int64_t present)
{
    if (present < world->published || (present < world->tick && draw(world, 3) != 0)) {
        return false; // not there yet, or Redis has not answered yet
    }
    bool none = world->published == INT64_MIN;
    int which = none                                           ? 3
                : world->published == present                  ? 0
                : world->published == world->committed.settled ? 1
                : world->published == world->committed.flying  ? 2
                                                               : 3;
    world->counts->heads[which]++;
    trainer_model_head(world->model, world->published, present);
    world->settled = which == 3 ? INT64_MIN : world->published;
    if (which != 3) { // a delta is possible: it is what comes
        world->out = trainer_model_snapshot(world->model, present, false);
        cr_assert_not(world->out->full, "case %d", which);
        trainer_model_settle(world->model, world->out, false);
        trainer_snapshot_free(world->out);
        world->out = NULL;
    }
    return true;
}

// The process dies and starts again from the last complete cut.
static void world_crash(struct world *world)
{
    world->counts->crashes++;
    trainer_snapshot_free(world->out);
    world->out = NULL;
    trainer_model_free(world->model);
    world->in_progress = false;
    if (world->twin_out) { // out at the crash: it arrived or not
        world_settle(world, draw(world, 2) == 0);
    }
    struct base_error error;
    world->model = cut_restore(world->config, &world->map);
    trainer_evaluator_free(world->evaluator);
    world->evaluator = evaluator_make(world->config);
    struct base_reader reader = {base_buffer_span(&world->committed.evaluator), false};
    cr_assert_eq(trainer_evaluator_restore(world->evaluator, &reader, &error), 0, "%s", error.text);
    int64_t tick = world->committed.tick;
    world_check(world, tick);
    bool met = world_meet(world, tick);
    while (tick < world->tick) {
        tick++;
        for (uint32_t i = 0; i < tick_minibatches(world, tick); i++) {
            train_minibatch(world, world->model, world->evaluator, tick, i);
        }
        train_tick_end(world, world->model, world->evaluator, tick);
        world_check(world, tick);
        met = met || world_meet(world, tick);
    }
    cr_assert(met);
    evaluators_compare(world->evaluator, world->twin_evaluator);
}

static void world_tick(struct world *world, bool publishes, bool crashes)
{
    int64_t tick = world->tick;
    uint64_t speed = 1 + draw(world, 60);
    for (uint32_t i = 0; i < tick_minibatches(world, tick); i++) {
        train_minibatch(world, world->model, world->evaluator, tick, i);
        train_minibatch(world, world->twin, world->twin_evaluator, tick, i);
        world_copy(world, draw(world, speed));
    }
    train_tick_end(world, world->model, world->evaluator, tick);
    train_tick_end(world, world->twin, world->twin_evaluator, tick);
    world->hashes[tick] = trainer_model_hash(world->twin);
    world->rows[tick] = trainer_table_rows(trainer_model_table(world->twin));
    world_check(world, tick);
    evaluators_compare(world->evaluator, world->twin_evaluator);
    if (publishes && draw(world, 4) == 0) {
        if (world->twin_out) {
            world_settle(world, draw(world, 2) == 0);
        } else {
            world_snapshot(world);
        }
    }
    if (!world->in_progress && draw(world, 3) == 0) {
        world_begin_cut(world);
    }
    if (crashes && world->any && draw(world, 6) == 0) {
        world_crash(world);
    }
}

static void world_run(uint64_t seed, bool publishes, bool crashes, struct world_counts *counts)
{
    struct world *world = base_alloc_zeroed(1, sizeof *world);
    world->seed = seed;
    world->counts = counts;
    world->config = cut_config_make(1 + seed % 2, seed % 3 == 0 ? 90 : 100000);
    cut_config_update(world->config, seed / 4 % CUT_UPDATES);
    world->published = world->settled = INT64_MIN;
    world->model = model_make(world->config, true);
    world->twin = model_make(world->config, true);
    world->evaluator = evaluator_make(world->config);
    world->twin_evaluator = evaluator_make(world->config);
    for (world->tick = 0; world->tick < TICKS; world->tick++) {
        world_tick(world, publishes, crashes);
    }
    if (seed % 3 == 0) {
        cr_assert_gt(trainer_table_refused(trainer_model_table(world->twin)), 0);
    }
    // What all the cuts left equals the twin's first, which holds everything.
    while (world->in_progress) {
        world_copy(world, 7);
    }
    if (publishes && crashes) { // then stamps may differ, and nothing else once readers have everything
        if (world->twin_out) {
            world_settle(world, true);
        }
        trainer_model_head(world->model, TICKS, TICKS);
        trainer_model_head(world->twin, TICKS, TICKS);
    }
    struct map whole = {0};
    cut_at_once(world->model, &world->map);
    cut_at_once(world->twin, &whole);
    map_compare(&world->map, &whole, CUT_SLOTS, publishes && crashes);
    // And another one right after has nothing to say of rows.
    struct trainer_cut_figures figures = cut_at_once(world->model, &world->map);
    cr_assert_eq(figures.rows + figures.buckets + figures.dropped, 0);
    map_free(&whole);
    map_free(&world->map);
    trainer_snapshot_free(world->out);
    trainer_snapshot_free(world->twin_out);
    trainer_model_free(world->model);
    trainer_model_free(world->twin);
    trainer_evaluator_free(world->evaluator);
    trainer_evaluator_free(world->twin_evaluator);
    base_buffer_free(&world->begun.evaluator);
    base_buffer_free(&world->committed.evaluator);
    free(world);
}

Test(trainer_cut, goes_on_as_if_nothing_had_happened)
{
    struct world_counts counts = {0};
    for (uint64_t seed = 0; seed < 48; seed++) {
        world_run(seed, seed % 4 < 3, seed % 4 != 2, &counts);
    }
    cr_assert_gt(counts.cuts, 200, "%u", counts.cuts);
    cr_assert_gt(counts.crashes, 100, "%u", counts.crashes);
    cr_assert_gt(counts.forced, 1000, "%u", counts.forced);
    cr_assert_gt(counts.dropped, 1000, "%u", counts.dropped);
    cr_assert_gt(counts.buckets, 1000, "%u", counts.buckets);
    cr_assert_gt(counts.spread, 50, "%u", counts.spread);
    cr_assert_gt(counts.set_aside, 50, "%u", counts.set_aside);
    cr_assert_gt(counts.deltas, 200, "%u", counts.deltas);
    for (int i = 0; i < 4; i++) {
        cr_assert_gt(counts.heads[i], 5, "case %d of four: %u", i, counts.heads[i]);
    }
}
