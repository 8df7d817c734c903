// Clipping against torch.nn.utils.clip_grad_norm_: twenty steps of a small model whose dense gradients and
// whose rows' gradients are clipped, each by a norm of their own. tests/golden/trainer/clip.bin, made by
// make_clip.py beside it.
#include <criterion/criterion.h>
#include <string.h>

#include "base/minibatch.h"
#include "trainer/model.h"
#include "trainer_golden_support.h"

enum { TASKS = 4, BATCH = 32, STEPS = 20, SAMPLES = STEPS * BATCH, NUMBERS = 4, SLOTS = 2 };

// A slot's keys are 0 .. rows - 1.
static const struct {
    const char *name;
    uint32_t rows, dimension, keys; // of a sample
} slots[SLOTS] = {{"user", 12, 8, 1}, {"item", 20, 4, 2}};

static struct trainer_model_config config_make(void)
{
    static struct trainer_slot_config slot[SLOTS];
    static struct trainer_numeric_config numerics[NUMBERS];
    static const char *const names[NUMBERS] = {"a", "b", "c", "d"};
    for (uint32_t s = 0; s < SLOTS; s++) {
        slot[s] = (struct trainer_slot_config){
            .row = {slots[s].name, slots[s].dimension, 1, 0}, .column = s, .pooling = TRAINER_POOLING_SUM};
    }
    for (uint32_t i = 0; i < NUMBERS; i++) {
        numerics[i] = (struct trainer_numeric_config){names[i], i, false, 0, 1};
    }
    return (struct trainer_model_config){
        .features = {{SLOTS, NUMBERS}, SLOTS, slot, NUMBERS, numerics},
        .network = {.levels = 1, .level = {{{16}, 1, 1, 1}}, .batch = BATCH},
        .loss = {.tasks = TASKS,
                 .stages = 3,
                 .parent = {0, 0, 0, 1},
                 .full = true,
                 .task_weight = {1.0f, 1.5f, 0.75f, 0.5f},
                 .keep_negatives = 0.5f},
        .task_names = {"click", "purchase", "third", "fourth"},
        .update = {.dense = {.rate = 0.1}, .sparse = {.rate = 0.5}},
        .seed = 1,
        .rows_max = 1000,
        .workers = 2,
    };
}

static void minibatch_fill(const struct golden *golden, uint32_t step, struct base_minibatch *minibatch)
{
    const float *user = golden_find(golden, SAMPLES, 1, "%s%s", "user", "");
    const float *item = golden_find(golden, SAMPLES, 2, "%s%s", "item", "");
    const float *number = golden_find(golden, SAMPLES, NUMBERS, "%s%s", "number", "");
    base_minibatch_clear(minibatch, 0);
    for (uint32_t row = step * BATCH; row < (step + 1) * BATCH; row++) {
        struct {
            uint16_t count[4];
            double number[NUMBERS];
            uint64_t user, item[2];
        } columns = {.count = {1, 2}, .user = (uint64_t)user[row]};
        for (uint32_t i = 0; i < NUMBERS; i++) {
            columns.number[i] = (double)number[row * NUMBERS + i];
        }
        columns.item[0] = (uint64_t)item[2 * row];
        columns.item[1] = (uint64_t)item[2 * row + 1];
        struct base_sample sample = golden_sample(golden, SAMPLES, TASKS, row);
        sample.columns = base_span_make((const uint8_t *)&columns, sizeof columns);
        base_minibatch_add(minibatch, &sample);
    }
    base_minibatch_seal(minibatch);
}

static float *row_vector(struct trainer_model *model, uint16_t slot, uint64_t key)
{
    struct trainer_table *table = trainer_model_table(model);
    trainer_row row;
    trainer_table_resolve(table, &key, &slot, 1, 0, &row);
    return trainer_table_vector(table, slot, row);
}

static void weights_set(const struct golden *golden, struct trainer_model *model)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_model_tensors(model, &count);
    for (uint32_t t = 0; t < count - SLOTS; t++) { // the out-of-vocabulary rows are never used
        const float *from =
            golden_find(golden, tensors[t].rows, tensors[t].columns, "%s/%s", "initial", tensors[t].name);
        memcpy(trainer_model_tensor(model, t), from,
               (size_t)tensors[t].rows * tensors[t].columns * sizeof *from);
    }
    for (uint16_t s = 0; s < SLOTS; s++) {
        const float *from =
            golden_find(golden, slots[s].rows, slots[s].dimension, "%s/%s", "initial", slots[s].name);
        for (uint32_t r = 0; r < slots[s].rows; r++) {
            memcpy(row_vector(model, s, r), from + r * slots[s].dimension, slots[s].dimension * sizeof *from);
        }
    }
}

static void weights_expect(const struct golden *golden, struct trainer_model *model, const char *name)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_model_tensors(model, &count);
    for (uint32_t t = 0; t < count - SLOTS; t++) {
        golden_expect(
            trainer_model_tensor(model, t),
            golden_find(golden, tensors[t].rows, tensors[t].columns, "%s/final/%s", name, tensors[t].name),
            (size_t)tensors[t].rows * tensors[t].columns, name, "final", tensors[t].name);
    }
    for (uint16_t s = 0; s < SLOTS; s++) {
        const float *expected =
            golden_find(golden, slots[s].rows, slots[s].dimension, "%s/final/%s", name, slots[s].name);
        float rows[32 * 8];
        size_t size = slots[s].rows * slots[s].dimension;
        cr_assert(size <= sizeof rows / sizeof *rows);
        for (uint32_t r = 0; r < slots[s].rows; r++) {
            memcpy(rows + r * slots[s].dimension, row_vector(model, s, r), slots[s].dimension * sizeof *rows);
        }
        golden_expect(rows, expected, size, name, "final", slots[s].name);
    }
}

static void run(const char *name, const struct trainer_model_config *config)
{
    struct base_error error;
    struct golden *golden = golden_read("clip.bin");
    struct trainer_model *model = trainer_model_new(config, true, &error);
    cr_assert_not_null(model, "%s", error.text);
    weights_set(golden, model);
    struct base_minibatch *minibatch = base_minibatch_new(BATCH);
    const float *clipped = golden_find(golden, STEPS, 2, "%s/%s", name, "clipped");
    uint64_t dense = 0, rows = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        struct trainer_step step;
        minibatch_fill(golden, i, minibatch);
        cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0, "%s", error.text);
        cr_assert_not(step.set_aside);
        dense += clipped[2 * i] > 0;
        rows += clipped[2 * i + 1] > 0;
        struct trainer_update_figures figures = trainer_model_update_figures(model);
        cr_expect(figures.steps == i + 1 && figures.clipped_dense == dense && figures.clipped_sparse == rows,
                  "%s: step %u", name, i);
    }
    uint64_t moderate = STEPS / 5; // some steps are clipped, and some are not
    cr_expect(config->update.clip_dense > 1e6 || (dense >= moderate && dense <= STEPS - moderate));
    cr_expect(config->update.clip_sparse > 1e6 || (rows >= moderate && rows <= STEPS - moderate));
    weights_expect(golden, model, name);
    base_minibatch_free(minibatch);
    trainer_model_free(model);
    golden_free(golden);
}

Test(trainer_clip_golden, both_by_norms_of_their_own)
{
    struct trainer_model_config config = config_make();
    config.update.clip_dense = 0.6;
    config.update.clip_sparse = 0.16;
    config.update.dense.l2 = 0.01; // comes after clipping
    run("both", &config);
}

Test(trainer_clip_golden, dense_gradients_alone)
{
    struct trainer_model_config config = config_make();
    config.update.clip_dense = 0.65;
    config.update.clip_sparse = 1e9;
    run("dense_alone", &config);
}

Test(trainer_clip_golden, rows_alone)
{
    struct trainer_model_config config = config_make();
    config.update.clip_dense = 1e9;
    config.update.clip_sparse = 0.15;
    run("rows_alone", &config);
}

Test(trainer_clip_golden, momentum_and_adagrad_see_what_is_left)
{
    struct trainer_model_config config = config_make();
    config.update.clip_dense = 0.5;
    config.update.clip_sparse = 0.12;
    config.update.dense = trainer_optimiser_usual(TRAINER_OPTIMISER_MOMENTUM, 0.1);
    config.update.sparse = trainer_optimiser_usual(TRAINER_OPTIMISER_ADAGRAD, 0.05);
    run("adaptive", &config);
}
