// A cross and positions in a whole model against PyTorch: tests/golden/trainer/features.bin, made by
// make_features.py beside it.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/minibatch.h"
#include "trainer/model.h"
#include "trainer_golden_support.h"
#include "trainer_model_support.h"

enum { BATCH = 16, STEPS = 20, SAMPLES = STEPS * BATCH, TASKS = 2, TAGS_MAX = 3, SLOTS = 6 };
enum { USERS = 6, TAGS = 8, PLACES = 5, ROWS_MAX = 2 * TAGS };

static struct trainer_slot_config golden_slots[SLOTS] = {
    {.row = {"user", 4, 1, 0}, .column = 0},
    {.row = {"tags", 4, 1, 0}, .column = 1},
    {.row = {"price", 4, 1, 0}, .bucketised = true, .boundaries = 1, .boundary = {0}},
    {.row = {"tags x price", 8, 1, 0}, .crossed = 2, .cross = {1, 2}, .pooling = TRAINER_POOLING_MEAN},
    {.row = {"place", 4, 1, 0}, .column = 2, .position = true},
    {.row = {"again", 4, 1, 0}, .column = 1, .position = true, .pooling = TRAINER_POOLING_MEAN},
};
static const uint32_t golden_rows[SLOTS] = {USERS, TAGS, 2, 2 * TAGS, PLACES, TAGS};

static const struct trainer_model_config golden_config = {
    .features = {{3, 1}, SLOTS, golden_slots, 0, NULL},
    .network = {.body = TRAINER_BODY_SHARED_BOTTOM,
                .levels = 1,
                .level = {{.widths = {16}, .layers = 1}},
                .batch = BATCH},
    .loss = {.tasks = TASKS, .stages = TASKS, .full = true, .task_weight = {1, 1}, .keep_negatives = 1},
    .task_names = {"click", "purchase"},
    .update.dense.rate = 0.2,
    .update.sparse.rate = 0.5,
    .rows_max = 1000,
    .workers = 2,
};

// The key of row `i` of a slot as the file numbers them.
static uint64_t key_of(uint32_t slot, uint32_t i)
{
    uint64_t salt = base_hash_slot_salt(golden_slots[slot].row.name);
    if (slot == 2) {
        return base_hash_slot_integer(salt, i);
    }
    return slot == 3 ? base_hash_slot_keys(salt, (uint64_t[]){i / 2, key_of(2, i % 2)}, 2) : i;
}

static float *vector_of(struct trainer_model *model, uint32_t slot, uint32_t i)
{
    const uint64_t key = key_of(slot, i);
    const uint16_t number = (uint16_t)slot;
    trainer_row row;
    trainer_table_resolve(trainer_model_table(model), &key, &number, 1, 0, &row);
    return trainer_table_vector(trainer_model_table(model), number, row);
}

static void model_fill(struct trainer_model *model, const struct golden *golden)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(trainer_model_network(model), &count);
    cr_assert_eq(count, 6);
    for (uint32_t t = 0; t < count; t++) {
        const float *from =
            golden_find(golden, tensors[t].rows, tensors[t].columns, "%s/%s", "initial", tensors[t].name);
        memcpy(trainer_model_tensor(model, t), from,
               (size_t)tensors[t].rows * tensors[t].columns * sizeof *from);
    }
    for (uint32_t s = 0; s < SLOTS; s++) {
        uint32_t dimension = golden_slots[s].row.dimension;
        const float *from =
            golden_find(golden, golden_rows[s], dimension, "%s/%s", "initial/rows", golden_slots[s].row.name);
        for (uint32_t i = 0; i < golden_rows[s]; i++) {
            memcpy(vector_of(model, s, i), from + (size_t)i * dimension, dimension * sizeof *from);
        }
    }
}

static void model_compare(struct trainer_model *model, const struct golden *golden)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(trainer_model_network(model), &count);
    for (uint32_t t = 0; t < count; t++) {
        const float *expected =
            golden_find(golden, tensors[t].rows, tensors[t].columns, "%s/%s", "final", tensors[t].name);
        golden_expect(trainer_model_tensor(model, t), expected, (size_t)tensors[t].rows * tensors[t].columns,
                      "features", "final", tensors[t].name);
    }
    for (uint32_t s = 0; s < SLOTS; s++) {
        uint32_t dimension = golden_slots[s].row.dimension;
        float rows[ROWS_MAX * 8];
        for (uint32_t i = 0; i < golden_rows[s]; i++) {
            memcpy(rows + (size_t)i * dimension, vector_of(model, s, i), dimension * sizeof *rows);
        }
        golden_expect(
            rows,
            golden_find(golden, golden_rows[s], dimension, "%s/%s", "final/rows", golden_slots[s].row.name),
            (size_t)golden_rows[s] * dimension, "features", "rows", golden_slots[s].row.name);
    }
}

struct golden_bytes {
    uint16_t count[4];
    double price;
    uint64_t keys[2 + TAGS_MAX]; // user, tags, place
};

static struct base_sample sample_of(const struct golden *golden, uint32_t i, struct golden_bytes *bytes)
{
    const float *user = golden_find(golden, SAMPLES, 1, "%s%s", "user", ""),
                *place = golden_find(golden, SAMPLES, 1, "%s%s", "place", ""),
                *price = golden_find(golden, SAMPLES, 1, "%s%s", "price", ""),
                *tags = golden_find(golden, SAMPLES, TAGS_MAX, "%s%s", "tags", "") + (size_t)i * TAGS_MAX,
                *label = golden_find(golden, SAMPLES, TASKS, "%s%s", "label", "") + (size_t)i * TASKS,
                *weight = golden_find(golden, SAMPLES, TASKS, "%s%s", "weight", "") + (size_t)i * TASKS;
    uint32_t total = 0;
    *bytes = (struct golden_bytes){{1, 0, 1, 0}, (double)price[i], {0}};
    bytes->keys[total++] = (uint64_t)user[i];
    for (; bytes->count[1] < TAGS_MAX && tags[bytes->count[1]] >= 0; bytes->count[1]++) {
        bytes->keys[total++] = (uint64_t)tags[bytes->count[1]];
    }
    bytes->keys[total++] = (uint64_t)place[i];
    return (struct base_sample){.mask = 3,
                                .label = {label[0] > 0, label[1] > 0},
                                .weight = {weight[0], weight[1]},
                                .trains = 1,
                                .sequence = i,
                                .impression_id = base_span_string("i"),
                                .columns = base_span_make(bytes, 16 + total * sizeof *bytes->keys)};
}

Test(trainer_features, crosses_and_positions_agree_with_pytorch)
{
    struct golden *golden = golden_read("features.bin");
    struct trainer_model *model = model_make(&golden_config, true);
    model_fill(model, golden);
    float conditional[SAMPLES * TASKS], loss[STEPS * TASKS];
    struct base_minibatch *minibatch = base_minibatch_new(BATCH);
    for (uint32_t s = 0; s < STEPS; s++) {
        base_minibatch_clear(minibatch, 0);
        for (uint32_t i = 0; i < BATCH; i++) {
            struct golden_bytes bytes;
            struct base_sample sample = sample_of(golden, s * BATCH + i, &bytes);
            base_minibatch_add(minibatch, &sample);
        }
        base_minibatch_seal(minibatch);
        struct trainer_step step;
        struct base_error error;
        cr_assert(trainer_model_step(model, minibatch, &step, &error) == 0 && !step.set_aside);
        memcpy(conditional + (size_t)s * BATCH * TASKS, step.conditional,
               BATCH * TASKS * sizeof *conditional);
        memcpy(loss + (size_t)s * TASKS, step.loss, TASKS * sizeof *loss);
    }
    golden_expect(conditional, golden_find(golden, SAMPLES, TASKS, "%s%s", "conditional", ""),
                  SAMPLES * TASKS, "features", "conditional", "");
    golden_expect(loss, golden_find(golden, STEPS, TASKS, "%s%s", "loss", ""), STEPS * TASKS, "features",
                  "loss", "");
    model_compare(model, golden);
    base_minibatch_free(minibatch);
    trainer_model_free(model);
    golden_free(golden);
}
