// Crosses: their keys made by hand, what has no combination, the bound, bits, and a label that only a cross
// can learn.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/minibatch.h"
#include "base/random.h"
#include "trainer/gather.h"
#include "trainer_model_support.h"

enum { BATCH = 24, COLUMNS = 2, KEYS_MAX = 40, SLOTS = 5, CROSS_MAX = 2048 };

// The first cross stands before the slots that it combines, and the price is a bucket.
static struct trainer_slot_config cross_slots[SLOTS] = {
    {.row = {"tag x price", 8, 1, 0}, .crossed = 2, .cross = {1, 2}, .pooling = TRAINER_POOLING_SUM},
    {.row = {"tag", 4, 1, 0}, .column = 0},
    {.row = {"price", 4, 1, 0}, .bucketised = true, .column = 0, .boundaries = 2, .boundary = {1, 10}},
    {.row = {"shop", 4, 1, 0}, .column = 1, .pooling = TRAINER_POOLING_MEAN},
    {.row = {"all", 12, 1, 0}, .crossed = 3, .cross = {3, 2, 1}, .pooling = TRAINER_POOLING_MEAN},
};
static const struct trainer_features_config cross_features = {{COLUMNS, 1}, SLOTS, cross_slots, 0, NULL};
enum { WIDTH = 32, OFFSET_FIRST = 0, OFFSET_ALL = 20 };

struct impression {
    uint32_t count[COLUMNS];
    uint64_t keys[COLUMNS][KEYS_MAX];
    double price;
    struct base_buffer bytes;
};

struct world {
    struct impression impressions[BATCH];
    struct base_span columns[BATCH];
    struct trainer_table *table;
    struct trainer_gather *gather;
    struct trainer_workers *workers;
};

static void impression_pack(struct world *world, uint32_t i)
{
    struct impression *impression = &world->impressions[i];
    uint16_t count[4] = {(uint16_t)impression->count[0], (uint16_t)impression->count[1], 0, 0};
    base_buffer_clear(&impression->bytes);
    base_buffer_append(&impression->bytes, count, sizeof count);
    base_buffer_append(&impression->bytes, &impression->price, sizeof impression->price);
    for (uint32_t c = 0; c < COLUMNS; c++) {
        base_buffer_append(&impression->bytes, impression->keys[c], impression->count[c] * sizeof(uint64_t));
    }
    world->columns[i] = base_buffer_span(&impression->bytes);
}

// counts: most keys of each column; prices among which every fourth is missing.
static struct world *world_new(uint64_t seed, uint32_t most)
{
    struct base_error error;
    struct world *world = base_alloc_zeroed(1, sizeof *world);
    struct trainer_table_slot_config rows[SLOTS];
    for (uint32_t s = 0; s < SLOTS; s++) {
        rows[s] = cross_slots[s].row;
    }
    struct trainer_table_config config = {SLOTS, rows, 3, 100000, true, NULL};
    world->table = trainer_table_new(&config, &error);
    world->gather = trainer_gather_new(&cross_features, BATCH);
    world->workers = trainer_workers_new(2, &error);
    cr_assert(world->table && world->workers);
    uint64_t key = base_random_key(seed, "crosses"), counter = 0;
    for (uint32_t i = 0; i < BATCH; i++) {
        struct impression *impression = &world->impressions[i];
        for (uint32_t c = 0; c < COLUMNS; c++) {
            impression->count[c] = (uint32_t)(base_random_bits(key, counter++) % (most + 1));
            for (uint32_t j = 0; j < impression->count[c]; j++) {
                impression->keys[c][j] = base_random_bits(key, counter++) % 9;
            }
        }
        double price = 20 * base_random_uniform(key, counter++) - 4;
        impression->price = i % 4 == 3 ? (double)NAN : price;
        impression_pack(world, i);
    }
    return world;
}

static void world_free(struct world *world)
{
    for (uint32_t i = 0; i < BATCH; i++) {
        base_buffer_free(&world->impressions[i].bytes);
    }
    trainer_gather_free(world->gather);
    trainer_table_free(world->table);
    trainer_workers_free(world->workers);
    free(world);
}

static void world_read(struct world *world)
{
    struct base_error error;
    cr_assert_eq(trainer_gather_read(world->gather, world->columns, BATCH, &error), 0, "%s", error.text);
    trainer_gather_resolve(world->gather, world->table, 0, world->workers);
}

// By the words of schemas/publication.md, with xxHash alone.
static uint64_t hand_key(const char *name, const uint64_t *keys, uint32_t count)
{
    uint8_t bytes[64];
    for (uint32_t i = 0; i < 8 * count; i++) {
        bytes[i] = (uint8_t)(keys[i / 8] >> (i % 8 * 8));
    }
    return XXH3_64bits_withSeed(bytes, (size_t)8 * count, XXH3_64bits(name, strlen(name)));
}

static uint32_t hand_bucket(const struct impression *impression, uint64_t *key)
{
    uint64_t bucket = impression->price >= 10 ? 2 : impression->price >= 1;
    *key = hand_key("price", &bucket, 1);
    return isnan(impression->price) ? 0u : 1u;
}

// Keys of "tag x price" and of "all"; all of them, whatever the bound.
static uint32_t hand_first(const struct impression *impression, uint64_t *made)
{
    uint64_t bucket;
    uint32_t count = 0, priced = hand_bucket(impression, &bucket);
    for (uint32_t t = 0; t < impression->count[0] * priced; t++) {
        made[count++] = hand_key("tag x price", (uint64_t[]){impression->keys[0][t], bucket}, 2);
    }
    return count;
}

static uint32_t hand_all(const struct impression *impression, uint64_t *made)
{
    uint64_t bucket;
    uint32_t count = 0, priced = hand_bucket(impression, &bucket);
    for (uint32_t s = 0; s < impression->count[1] * priced; s++) {
        for (uint32_t t = 0; t < impression->count[0]; t++) {
            made[count++] =
                hand_key("all", (uint64_t[]){impression->keys[1][s], bucket, impression->keys[0][t]}, 3);
        }
    }
    return count;
}

static trainer_row find(const struct trainer_table *table, uint16_t slot, uint64_t key)
{
    trainer_row row;
    trainer_table_find(table, &key, &slot, 1, &row);
    return row;
}

// x of a cross of one impression is the pool of the rows of these keys, all of which are there.
static void compare(const struct world *world, const float *x, uint16_t slot, const uint64_t *keys,
                    uint32_t count)
{
    uint32_t dimension = cross_slots[slot].row.dimension;
    bool mean = cross_slots[slot].pooling == TRAINER_POOLING_MEAN;
    for (uint32_t d = 0; d < dimension; d++) {
        double sum = 0, size = 1e-9;
        for (uint32_t i = 0; i < count; i++) {
            trainer_row row = find(world->table, slot, keys[i]);
            cr_assert_not(row & TRAINER_ROW_OOV, "slot %u lacks combination %u", slot, i);
            double number = (double)trainer_table_vector_const(world->table, slot, row)[d];
            sum += number / (mean ? count : 1);
            size += fabs(number);
        }
        cr_assert(fabs((double)x[d] - sum) <= 1e-6 * size, "slot %u number %u: %g %g", slot, d, (double)x[d],
                  sum);
    }
}

Test(trainer_cross, keys_are_those_made_by_hand)
{
    uint32_t empty = 0, many = 0;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct world *world = world_new(seed, 6);
        world_read(world);
        const float *x = trainer_gather_pool(world->gather, world->table, world->workers);
        uint32_t occurrences = 0;
        for (uint32_t i = 0; i < BATCH; i++) {
            uint64_t keys[CROSS_MAX];
            const struct impression *impression = &world->impressions[i];
            uint32_t first = hand_first(impression, keys);
            compare(world, x + (size_t)i * WIDTH + OFFSET_FIRST, 0, keys, first);
            uint32_t all = hand_all(impression, keys);
            compare(world, x + (size_t)i * WIDTH + OFFSET_ALL, 4, keys, all);
            occurrences += first + all + impression->count[0] + impression->count[1] +
                           (isnan(impression->price) ? 0u : 1u);
            empty += all == 0;
            many += all > 10;
        }
        cr_assert_eq(trainer_gather_occurrences(world->gather), occurrences);
        cr_assert_eq(trainer_gather_cut(world->gather), 0);
        world_free(world);
    }
    cr_assert(empty > 20 && many > 20, "%u %u", empty, many);
}

Test(trainer_cross, a_component_without_a_key_leaves_none)
{
    struct world *world = world_new(1, 6);
    for (uint32_t i = 0; i < BATCH; i++) { // the first, the second and the third slot of "all" in turns
        struct impression *impression = &world->impressions[i];
        impression->count[1] = i % 3 == 0 ? 0 : 2;
        impression->count[0] = i % 3 == 2 ? 0 : 2;
        impression->price = i % 3 == 1 ? (double)NAN : 5;
        impression_pack(world, i);
    }
    world_read(world);
    cr_assert_eq(trainer_table_slot_rows(world->table, 4), 0);
    cr_assert_gt(trainer_table_slot_rows(world->table, 0), 0); // where the shop alone is missing
    const float *x = trainer_gather_pool(world->gather, world->table, world->workers);
    for (uint32_t i = 0; i < BATCH; i++) {
        for (uint32_t d = 0; d < 12; d++) {
            cr_assert_eq(x[(size_t)i * WIDTH + OFFSET_ALL + d], 0.0f);
        }
    }
    world_free(world);
}

Test(trainer_cross, beyond_the_bound_the_first_are_taken_and_the_rest_counted)
{
    struct world *world = world_new(1, 0);
    for (uint32_t i = 0; i < 2; i++) {
        struct impression *impression = &world->impressions[i];
        impression->count[0] = impression->count[1] = KEYS_MAX;
        for (uint32_t j = 0; j < KEYS_MAX; j++) {
            impression->keys[0][j] = 100 * i + j;
            impression->keys[1][j] = 1000 + j;
        }
        impression->price = 3;
        impression_pack(world, i);
    }
    world_read(world);
    uint32_t beyond = KEYS_MAX * KEYS_MAX - TRAINER_CROSS_KEYS_MAX;
    cr_assert_eq(trainer_gather_cut(world->gather), 2 * beyond);
    cr_assert_eq(trainer_table_slot_rows(world->table, 4), 2 * TRAINER_CROSS_KEYS_MAX);
    const float *x = trainer_gather_pool(world->gather, world->table, world->workers);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t keys[CROSS_MAX];
        cr_assert_eq(hand_all(&world->impressions[i], keys), KEYS_MAX * KEYS_MAX);
        compare(world, x + (size_t)i * WIDTH + OFFSET_ALL, 4, keys, TRAINER_CROSS_KEYS_MAX);
        for (uint32_t j = TRAINER_CROSS_KEYS_MAX; j < KEYS_MAX * KEYS_MAX; j++) {
            cr_assert(find(world->table, 4, keys[j]) & TRAINER_ROW_OOV);
        }
    }
    struct base_error error; // what was cut is of the last reading
    cr_assert_eq(trainer_gather_read(world->gather, world->columns + 2, BATCH - 2, &error), 0);
    cr_assert_eq(trainer_gather_cut(world->gather), 0);
    world_free(world);
}

Test(trainer_cross, refuses_what_cannot_be)
{
    struct trainer_slot_config slots[SLOTS];
    struct trainer_features_config config = cross_features;
    struct base_error error = {0};
    config.slot = slots;
    memcpy(slots, cross_slots, sizeof slots);
    cr_assert_eq(trainer_features_check(&config, &error), 0);
#define REFUSED(change, said)                                  \
    memcpy(slots, cross_slots, sizeof slots);                  \
    change;                                                    \
    cr_assert_eq(trainer_features_check(&config, &error), -1); \
    cr_assert_eq(error.code, BASE_EINVAL);                     \
    cr_assert_not_null(strstr(error.text, said), "%s", error.text)
    REFUSED(slots[0].crossed = 1, "of 1 slots");
    REFUSED(slots[0].crossed = 5, "of 5 slots");
    REFUSED(slots[0].cross[1] = SLOTS, "there are 5");
    REFUSED(slots[0].cross[1] = 0, "is a cross");
    REFUSED(slots[0].cross[1] = 4, "is a cross");
    REFUSED(slots[0].cross[1] = 1, "twice");
    REFUSED(slots[0].bucketised = true, "boundaries");
    REFUSED(slots[4].pooling = (enum trainer_pooling)7, "pooling");
}

// ---- In a model ----

// The small model's configuration with user x items in front.
static struct trainer_model_config *crossed_config(uint32_t workers)
{
    static struct trainer_slot_config slots[MODEL_SLOTS + 1];
    struct trainer_model_config *config = model_config_make(workers);
    slots[0] = (struct trainer_slot_config){
        .row = {"user x items", 8, 1, 2000}, .pooling = TRAINER_POOLING_MEAN, .crossed = 2, .cross = {2, 1}};
    memcpy(slots + 1, config->features.slot, MODEL_SLOTS * sizeof *slots);
    slots[2].row.expiry_ms = 600;
    config->features.slot = slots;
    config->features.slots = MODEL_SLOTS + 1;
    return config;
}

Test(trainer_cross, same_bits_for_any_number_of_workers)
{
    uint64_t hash[3];
    static const uint32_t workers[3] = {1, 2, 8};
    for (uint32_t w = 0; w < 3; w++) {
        struct trainer_model *model = model_make(crossed_config(workers[w]), true);
        model_train(model, 5, 0, 60);
        hash[w] = trainer_model_hash(model);
        cr_assert_gt(trainer_table_slot_rows(trainer_model_table(model), 0), 10);
        cr_assert_eq(trainer_model_cut_crosses(model), 0);
        trainer_model_free(model);
    }
    cr_assert(hash[0] == hash[1] && hash[1] == hash[2]);
}

Test(trainer_cross, a_reader_scores_what_the_next_step_predicts)
{
    struct base_error error;
    struct trainer_model *model = model_make(crossed_config(1), true);
    model_train(model, 5, 0, 60);
    struct trainer_snapshot *snapshot = trainer_model_snapshot(model, 1, true);
    struct trainer_model *reader = model_load(NULL, crossed_config(1), snapshot);
    struct base_minibatch *minibatch = model_minibatch(5, 480, MODEL_BATCH);
    struct base_span columns[MODEL_BATCH];
    for (uint32_t i = 0; i < MODEL_BATCH; i++) {
        columns[i] = minibatch->samples[i].columns;
    }
    float scored[MODEL_BATCH * MODEL_TASKS], predicted[MODEL_BATCH * MODEL_TASKS];
    cr_assert_eq(trainer_model_predict(reader, columns, MODEL_BATCH, scored, NULL, &error), 0);
    cr_assert_eq(trainer_model_predict(model, columns, MODEL_BATCH, predicted, NULL, &error), 0);
    cr_assert_eq(memcmp(scored, predicted, sizeof scored), 0);
    struct trainer_table *table = trainer_model_table(reader);
    for (size_t i = 0; i < snapshot->rows[0].count; i++) { // they count
        trainer_table_remove(table, 0, snapshot->rows[0].keys[i]);
    }
    cr_assert_eq(trainer_model_predict(reader, columns, MODEL_BATCH, scored, NULL, &error), 0);
    cr_assert_neq(memcmp(scored, predicted, sizeof scored), 0);
    trainer_model_settle(model, snapshot, true);
    trainer_snapshot_free(snapshot);
    base_minibatch_free(minibatch);
    trainer_model_free(reader);
    trainer_model_free(model);
}

// What a step leaves out is counted; a score counts nothing.
Test(trainer_cross, steps_count_what_they_leave_out)
{
    struct base_error error;
    struct world *world = world_new(1, 0);
    struct impression *impression = &world->impressions[0];
    impression->count[0] = impression->count[1] = KEYS_MAX;
    impression->price = 3;
    impression_pack(world, 0);
    struct trainer_model_config *config = model_config_make(1);
    config->features = cross_features;
    struct trainer_model *model = model_make(config, true);
    const struct base_sample sample = {.mask = 7,
                                       .weight = {1, 1, 1},
                                       .trains = 1,
                                       .impression_id = base_span_string("i"),
                                       .columns = world->columns[0]};
    struct base_minibatch *minibatch = base_minibatch_new(1);
    base_minibatch_clear(minibatch, 0);
    base_minibatch_add(minibatch, &sample);
    base_minibatch_seal(minibatch);
    struct trainer_step step;
    for (uint64_t steps = 1; steps <= 2; steps++) {
        cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
        cr_assert_eq(trainer_model_predict(model, world->columns, 1, NULL, NULL, &error), 0);
        cr_assert_eq(trainer_model_cut_crosses(model),
                     steps * (KEYS_MAX * KEYS_MAX - TRAINER_CROSS_KEYS_MAX));
    }
    base_minibatch_free(minibatch);
    trainer_model_free(model);
    world_free(world);
}

// ---- What only a cross can learn ----

enum { XOR_SIDE = 64, XOR_BATCH = 64, XOR_STEPS = 2000, XOR_LAST = 100 };

// Each pair of a left and a right value has a label of its own, drawn once; neither alone tells anything, and
// rows of 4 numbers under 16 hidden units cannot hold 4096 of them.
static double xor_train(bool crossed)
{
    struct trainer_slot_config slots[3] = {{.row = {"left", 4, 1, 0}, .column = 0},
                                           {.row = {"right", 4, 1, 0}, .column = 1},
                                           {.row = {"pair", 4, 1, 0}, .crossed = 2, .cross = {0, 1}}};
    const struct trainer_model_config config = {
        .features = {{2, 0}, crossed ? 3 : 2, slots, 0, NULL},
        .network = {.body = TRAINER_BODY_SHARED_BOTTOM,
                    .levels = 1,
                    .level = {{.widths = {16}, .layers = 1}},
                    .batch = XOR_BATCH},
        .loss = {.tasks = 1, .stages = 1, .task_weight = {1}, .keep_negatives = 1},
        .task_names = {"click"},
        .update.dense.rate = 0.2,
        .update.sparse.rate = 20,
        .seed = 3,
        .rows_max = 10000,
        .workers = 1,
    };
    struct trainer_model *model = model_make(&config, true);
    uint64_t labels = base_random_key(1, "labels"), draws = base_random_key(2, "draws"), counter = 0;
    double loss = 0;
    for (uint32_t step = 0; step < XOR_STEPS; step++) {
        struct base_minibatch *minibatch = base_minibatch_new(XOR_BATCH);
        base_minibatch_clear(minibatch, 0);
        for (uint32_t i = 0; i < XOR_BATCH; i++) {
            uint64_t left = base_random_bits(draws, counter++) % XOR_SIDE;
            uint64_t right = base_random_bits(draws, counter++) % XOR_SIDE;
            struct {
                uint16_t count[4];
                uint64_t keys[2];
            } bytes = {{1, 1, 0, 0}, {left, right}};
            struct base_sample sample = {.mask = 1, .weight = {1}, .trains = 1, .sequence = i};
            sample.label[0] = base_random_bits(labels, left * XOR_SIDE + right) & 1;
            sample.impression_id = base_span_string("i");
            sample.columns = base_span_make(&bytes, sizeof bytes);
            base_minibatch_add(minibatch, &sample);
        }
        base_minibatch_seal(minibatch);
        struct trainer_step made;
        struct base_error error;
        cr_assert_eq(trainer_model_step(model, minibatch, &made, &error), 0);
        loss += step + XOR_LAST >= XOR_STEPS ? (double)made.loss[0] / XOR_BATCH / XOR_LAST : 0;
        base_minibatch_free(minibatch);
    }
    trainer_model_free(model);
    return loss;
}

Test(trainer_cross, learns_what_its_parts_cannot)
{
    double with = xor_train(true), without = xor_train(false);
    cr_log_info("log loss with the cross %.3f, without %.3f, of a constant %.3f", with, without, log(2));
    cr_assert(with < 0.1 && without > 0.5, "with the cross %.3f, without %.3f", with, without);
}
