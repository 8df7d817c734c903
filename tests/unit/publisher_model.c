// A small model for the reader's tests. See publisher_model.h.
#include "publisher_model.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/columns.h"
#include "base/hash.h"
#include "base/random.h"

static struct trainer_slot_config slots[MODEL_SLOTS + MODEL_DERIVED] = {
    {.row = {"user", 8, 1, 0}, .column = 0},
    {.row = {"item", 16, 2, 400}, .column = 1}, // admitted at the second occurrence, expires
    {.row = {"tags", 4, 1, 0}, .column = 2, .pooling = TRAINER_POOLING_MEAN},
    {.row = {"price_bucket", 4, 1, 0},
     .bucketised = true,
     .column = 0,
     .boundaries = 3,
     .boundary = {1, 10, 100.5}},
    // Only of MODEL_FEATURES:
    {.row = {"tag_x_price", 8, 1, 0}, .crossed = 2, .cross = {2, 3}, .pooling = TRAINER_POOLING_MEAN},
    {.row = {"user_x_item_x_tag", 4, 1, 400}, .crossed = 3, .cross = {0, 1, 2}},
    {.row = {"place", 4, 2, 0},
     .column = 2,
     .pooling = TRAINER_POOLING_MEAN,
     .position = true,
     .serves = true},
    {.row = {"age_at", 4, 1, 0},
     .bucketised = true,
     .column = 1,
     .boundaries = 2,
     .boundary = {1, 2},
     .position = true},
};

static struct trainer_numeric_config numerics[2] = {
    {"price", 0, true, 2.5, 1.25},
    {"age", 1, false, 0, 1},
};

static const char *const categorical[] = {"user", "item", "tags"};
static const char *const categorical_paths[] = {"user_id", "item.id", "item.tags"};
static const char *const numeric[] = {"price", "age"};
static const char *const numeric_paths[] = {"item.price", "age"};

const struct trainer_model_config *model_config(int variant)
{
    static struct trainer_model_config configs[MODEL_VARIANTS];
    struct trainer_model_config *config = &configs[variant];
    *config = (struct trainer_model_config){
        .features =
            {.layout = {3, 2}, .slots = MODEL_SLOTS, .slot = slots, .numerics = 2, .numeric = numerics},
        .network =
            {
                .body = variant < MODEL_BODIES || variant >= MODEL_LOSSES
                            ? TRAINER_BODY_PLE
                            : (enum trainer_body)(variant - MODEL_BODIES),
                .soft_l2 = 0.0625f,
                .tasks = MODEL_TASKS,
                .levels = 2,
                .level = {{{32, 16}, 2, 1, 2}, {{16}, 1, 2, 1}},
                .tower_widths = {variant == 1 ? 32 : 16},
                .tower_layers = 1,
                .batch = MODEL_BATCH,
            },
        .loss =
            {
                .tasks = MODEL_TASKS,
                .stages = 2,
                .parent = {0, 0, 0, UINT32_MAX},
                .task_weight = {1, 1, 1, 1},
                .keep_negatives = 1,
            },
        .task_names = {"click", "purchase", "favourite", "dwell"},
        .update.dense.rate = 0.05,
        .update.sparse.rate = 0.05,
        .seed = 7,
        .rows_max = 100000,
        .workers = 1,
    };
    config->features.slots += variant == MODEL_FEATURES ? MODEL_DERIVED : 0;
    slots[MODEL_SLOTS + 2].serving =
        base_hash_slot_integer(base_hash_slot_salt("tags"), 5); // its column's name
    if (variant == MODEL_LOSSES) {
        static const uint8_t kinds[] = {TRAINER_LOSS_BCE, TRAINER_LOSS_ZILN, TRAINER_LOSS_MSE,
                                        TRAINER_LOSS_POISSON};
        memcpy(config->loss.kind, kinds, sizeof kinds);
    }
    config->loss.branch = variant == MODEL_LOSSES + 1 ? 2 : 0;
    if (variant == MODEL_LOSSES + 2) {
        config->loss.correction = TRAINER_CORRECTION_DR;
        config->loss.correction_weight = 1;
        config->loss.propensity_min = 0.1f;
    }
    return config;
}

char *model_descriptor(int variant)
{
    struct trainer_descriptor_columns columns = {categorical, categorical_paths, numeric, numeric_paths};
    return trainer_descriptor_write(model_config(variant), &columns);
}

struct base_span model_columns(uint64_t stream, uint64_t i, uint64_t *room)
{
    uint64_t key = base_random_key(stream, "impressions");
    struct {
        uint16_t count[4];
        double numeric[2];
        uint64_t keys[4];
    } columns = {{1, 1, 0, 0}, {0, 0}, {0}};
    uint64_t bits = base_random_bits(key, i);
    uint32_t total = 0;
    columns.count[0] = bits % 17 != 0; // sometimes no user
    if (columns.count[0]) {
        columns.keys[total++] =
            base_hash_slot_integer(base_hash_slot_salt("user"), (int64_t)(bits >> 8 & 0xffff) % MODEL_USERS);
    }
    // Later impressions show later items, so that early ones expire.
    columns.keys[total++] = base_hash_slot_integer(base_hash_slot_salt("item"),
                                                   (int64_t)((bits >> 24 & 0xffff) % MODEL_ITEMS + i / 40));
    columns.count[2] = (uint16_t)(bits >> 40 & 3) % 3;
    for (uint16_t tag = 0; tag < columns.count[2]; tag++) {
        columns.keys[total++] =
            base_hash_slot_integer(base_hash_slot_salt("tags"), (int64_t)(bits >> (44 + 4 * tag) & 0xf));
    }
    columns.numeric[0] = bits % 23 == 0 ? NAN : (double)(bits >> 52 & 0xff) - 20;
    columns.numeric[1] = (double)(bits & 0xff) / 64;

    size_t size = sizeof columns.count + sizeof columns.numeric + total * sizeof *columns.keys;
    assert(size <= MODEL_COLUMNS_SIZE);
    memcpy(room, columns.count, sizeof columns.count);
    memcpy(room + 1, columns.numeric, sizeof columns.numeric);
    memcpy(room + 3, columns.keys, total * sizeof *columns.keys);
    return base_span_make(room, size);
}

void model_train(struct trainer_model *model, uint64_t *step, int steps)
{
    struct base_minibatch *minibatch = base_minibatch_new(MODEL_BATCH);
    for (int s = 0; s < steps; s++, ++*step) {
        base_minibatch_clear(minibatch, (int64_t)*step);
        for (uint64_t i = 0; i < MODEL_BATCH; i++) {
            uint64_t room[MODEL_COLUMNS_SIZE / 8];
            uint64_t number = *step * MODEL_BATCH + i;
            struct base_sample sample = {
                .due_time = (int64_t)*step * 100,
                .event_time = (int64_t)*step * 100,
                .kind = BASE_C1,
                .mask = 0xf,
                .trains = 1,
                .weight = {1, 1, 1, 1},
                .impression_id = base_span_string("x"),
                .columns = model_columns(1, number, room),
            };
            uint64_t bits = base_random_bits(99, number);
            for (uint32_t k = 0; k < MODEL_TASKS; k++) {
                sample.label[k] = (bits >> k & 1) && (k == 0 || k == 3 || sample.label[0]);
                sample.value[k] = sample.label[k] ? (float)(bits >> (8 + 4 * k) & 7) + 0.5f : 0;
            }
            base_minibatch_add(minibatch, &sample);
        }
        base_minibatch_seal(minibatch);
        struct trainer_step done;
        struct base_error error;
        int failed = trainer_model_step(model, minibatch, &done, &error);
        assert(!failed && !done.set_aside);
        (void)failed;
    }
    base_minibatch_free(minibatch);
    trainer_model_tick(model, (int64_t)*step * 100);
}
