// See trainer_model_support.h.
#include "trainer_model_support.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

static struct trainer_slot_config support_slots[MODEL_SLOTS];
static struct trainer_numeric_config support_numerics[1];
static struct trainer_model_config support_config;

struct trainer_model_config *model_config_make(uint32_t workers)
{
    support_slots[0] = (struct trainer_slot_config){.row = {"user", 4, 1, 0}, .column = 0};
    support_slots[1] = (struct trainer_slot_config){
        .row = {"items", 8, 1, 300}, .column = 1, .pooling = TRAINER_POOLING_MEAN};
    support_slots[2] = (struct trainer_slot_config){.row = {"rare", 4, 1000000, 0}, .column = 2};
    support_numerics[0] = (struct trainer_numeric_config){"age", 0, false, 1, 2};
    support_config = (struct trainer_model_config){
        .features = {{3, 1}, MODEL_SLOTS, support_slots, 1, support_numerics},
        .network = {.levels = 2,
                    .level = {{.widths = {32, 16}, .layers = 2, .per_task = 1, .shared = 1},
                              {.widths = {16}, .layers = 1, .per_task = 1, .shared = 2}},
                    .tower_widths = {16},
                    .tower_layers = 1,
                    .batch = MODEL_BATCH},
        .loss = {.tasks = MODEL_TASKS,
                 .stages = 2,
                 .parent = {0, 0, 0},
                 .full = true,
                 .task_weight = {1, 0.5f, 0.75f},
                 .keep_negatives = 1},
        .task_names = {"click", "purchase", "favourite"},
        .update.dense.rate = 0.5,
        .update.sparse.rate = 1,
        .seed = 11,
        .rows_max = 100000,
        .workers = workers,
    };
    return &support_config;
}

struct trainer_model *model_make(const struct trainer_model_config *config, bool training)
{
    struct base_error error;
    struct trainer_model *model = trainer_model_new(config, training, &error);
    cr_assert_not_null(model, "%s", error.text);
    return model;
}

static void sample_pack(struct model_sample *made)
{
    uint8_t *at = (uint8_t *)made->bytes;
    uint16_t count[4] = {1, (uint16_t)made->item_count, 1, 0};
    memcpy(at, count, sizeof count);
    memcpy(at + 8, &made->number, sizeof made->number);
    memcpy(at + 16, &made->user, sizeof made->user);
    memcpy(at + 24, made->items, made->item_count * sizeof *made->items);
    memcpy(at + 24 + made->item_count * sizeof *made->items, &made->rare, sizeof made->rare);
    made->sample.columns = base_span_make(at, 32 + made->item_count * sizeof *made->items);
}

void model_sample_make(struct model_sample *made, uint64_t seed, uint64_t number)
{
    uint64_t key = base_random_key(seed * 1000003 + number, "sample"), counter = 0;
    memset(made, 0, sizeof *made);
    made->user = base_random_bits(key, counter++) % 40;
    made->rare = base_random_bits(key, counter++);
    made->item_count = (uint32_t)(base_random_bits(key, counter++) % MODEL_KEYS_MAX);
    made->number = base_random_normal(key, counter++);
    double taste = base_random_normal(base_random_key(1, "taste"), made->user);
    for (uint32_t i = 0; i < made->item_count; i++) {
        made->items[i] = base_random_bits(key, counter++) % 60;
        taste += base_random_normal(base_random_key(2, "appeal"), made->items[i]) / made->item_count;
    }
    bool click = base_random_uniform(key, counter++) < 1 / (1 + exp(1 - 2 * taste));
    bool purchase = click && base_random_uniform(key, counter++) < 0.3;
    struct base_sample *sample = &made->sample;
    // Half of the clicks in time, with their two parts in one for the sake of the test; the others late.
    bool late = click && base_random_uniform(key, counter++) < 0.2;
    sample->kind = !click ? BASE_N0 : late ? BASE_L : BASE_C1;
    sample->mask = late ? 1 : 7;
    sample->label[0] = click;
    sample->label[1] = purchase;
    sample->label[2] = click && base_random_uniform(key, counter++) < 0.5;
    for (uint32_t k = 0; k < MODEL_TASKS; k++) {
        sample->weight[k] = sample->mask >> k & 1 ? 1.0f + 0.25f * (float)k : 0;
    }
    sample->trains = 1;
    sample->due_time = (int64_t)number * 10;
    sample->event_time = sample->due_time - 500;
    sample->sequence = number;
    sample->impression_id = base_span_string("impression");
    sample_pack(made);
}

struct base_minibatch *model_minibatch(uint64_t seed, uint64_t first, uint32_t n)
{
    struct base_minibatch *minibatch = base_minibatch_new(n);
    base_minibatch_clear(minibatch, 0);
    for (uint32_t i = 0; i < n; i++) {
        struct model_sample made;
        model_sample_make(&made, seed, first + i);
        base_minibatch_add(minibatch, &made.sample);
    }
    base_minibatch_seal(minibatch);
    return minibatch;
}

void model_train(struct trainer_model *model, uint64_t seed, uint64_t first, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) {
        struct base_error error;
        struct trainer_step step;
        struct base_minibatch *minibatch = model_minibatch(seed, first + i * MODEL_BATCH, MODEL_BATCH);
        cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
        cr_assert_not(step.set_aside);
        trainer_model_tick(model, minibatch->samples[MODEL_BATCH - 1].due_time);
        base_minibatch_free(minibatch);
    }
}

struct trainer_model *model_load(struct trainer_model *reader, const struct trainer_model_config *config,
                                 const struct trainer_snapshot *snapshot)
{
    if (snapshot->full) {
        trainer_model_free(reader);
        reader = model_make(config, false);
    }
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_model_tensors(reader, &count);
    cr_assert_eq(count, snapshot->tensors);
    for (uint32_t t = 0; t < count; t++) {
        cr_assert(memcmp(&tensors[t], &snapshot->tensor[t], sizeof *tensors) == 0);
        memcpy(trainer_model_tensor(reader, t), snapshot->dense + tensors[t].offset,
               (size_t)tensors[t].rows * tensors[t].columns * sizeof(float));
    }
    struct base_error error;
    struct trainer_table *table = trainer_model_table(reader);
    for (uint16_t s = 0; s < snapshot->slots; s++) {
        const struct trainer_snapshot_rows *rows = &snapshot->rows[s];
        for (size_t i = 0; i < rows->count; i++) {
            cr_assert_eq(
                trainer_table_set(table, s, rows->keys[i], rows->vectors + i * rows->dimension, &error), 0);
        }
        for (size_t i = 0; i < rows->removed; i++) {
            trainer_table_remove(table, s, rows->tombstones[i]);
        }
    }
    cr_assert_eq(trainer_table_rows(table), snapshot->rows_total);
    return reader;
}
