// Every loss, correction and weighting against PyTorch: twenty steps of a small model, tests/golden/trainer/
// losses.bin, made by make_losses.py beside it.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/minibatch.h"
#include "trainer/model.h"
#include "trainer_golden_support.h"

enum { INPUTS = 16, TASKS = 4, BATCH = 32, STEPS = 20, SAMPLES = STEPS * BATCH };

static struct trainer_numeric_config numerics[INPUTS];

static struct trainer_model_config config_make(void)
{
    static const char *const names[INPUTS] = {"a", "b", "c", "d", "e", "f", "g", "h",
                                              "i", "j", "k", "l", "m", "n", "o", "p"};
    for (uint32_t i = 0; i < INPUTS; i++) {
        numerics[i] = (struct trainer_numeric_config){names[i], i, false, 0, 1};
    }
    return (struct trainer_model_config){
        .features = {{0, INPUTS}, 0, NULL, INPUTS, numerics},
        .network = {.levels = 1, .level = {{{16}, 1, 1, 1}}, .batch = BATCH},
        .loss = {.tasks = TASKS,
                 .stages = 2,
                 .parent = {0, 0, UINT32_MAX, UINT32_MAX},
                 .task_weight = {1.0f, 1.5f, 0.75f, 0.5f},
                 .keep_negatives = 0.5f,
                 .correction_weight = 0.75f,
                 .propensity_min = 0.3f},
        .task_names = {"click", "purchase", "third", "fourth"},
        .update = {.dense = {.rate = 0.1}},
        .seed = 1,
        .rows_max = 1,
        .workers = 1,
    };
}

static struct trainer_loss_config *chain(struct trainer_model_config *config)
{
    config->loss.stages = 3;
    config->loss.parent[3] = 1;
    return &config->loss;
}

static struct trainer_loss_config *values(struct trainer_model_config *config)
{
    static const uint8_t kinds[TASKS] = {TRAINER_LOSS_BCE, TRAINER_LOSS_ZILN, TRAINER_LOSS_MSE,
                                         TRAINER_LOSS_POISSON};
    memcpy(config->loss.kind, kinds, sizeof kinds);
    config->loss.parent[2] = 0;
    return &config->loss;
}

static struct trainer_loss_config *clicked(struct trainer_model_config *config)
{
    config->loss.parent[2] = 0;
    return &config->loss;
}

static void minibatch_fill(const struct golden *golden, uint32_t step, struct base_minibatch *minibatch)
{
    const float *x = golden_find(golden, SAMPLES, INPUTS, "%s%s", "x", "");
    base_minibatch_clear(minibatch, 0);
    for (uint32_t row = step * BATCH; row < (step + 1) * BATCH; row++) {
        double columns[INPUTS];
        for (uint32_t i = 0; i < INPUTS; i++) {
            columns[i] = (double)x[row * INPUTS + i];
        }
        struct base_sample sample = golden_sample(golden, SAMPLES, TASKS, row);
        sample.columns = base_span_make((const uint8_t *)columns, sizeof columns);
        base_minibatch_add(minibatch, &sample);
    }
    base_minibatch_seal(minibatch);
}

static void tensors_set(const struct golden *golden, struct trainer_model *model, const char *mode)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_model_tensors(model, &count);
    for (uint32_t t = 0; t < count; t++) {
        memcpy(
            trainer_model_tensor(model, t),
            golden_find(golden, tensors[t].rows, tensors[t].columns, "%s/initial/%s", mode, tensors[t].name),
            (size_t)tensors[t].rows * tensors[t].columns * sizeof(float));
    }
}

static void run(const char *mode, const struct trainer_model_config *config)
{
    struct base_error error;
    struct golden *golden = golden_read("losses.bin");
    struct trainer_model *model = trainer_model_new(config, true, &error);
    cr_assert_not_null(model, "%s", error.text);
    tensors_set(golden, model, mode);
    struct base_minibatch *minibatch = base_minibatch_new(BATCH);
    float loss[STEPS * TASKS];
    for (uint32_t i = 0; i < STEPS; i++) {
        struct trainer_step step;
        minibatch_fill(golden, i, minibatch);
        cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0, "%s", error.text);
        cr_assert_not(step.set_aside);
        memcpy(loss + i * TASKS, step.loss, TASKS * sizeof *loss);
        if (i == 0) {
            golden_expect(step.conditional, golden_find(golden, BATCH, TASKS, "%s/%s", mode, "conditional"),
                          BATCH * TASKS, mode, "conditional", "");
            golden_expect(step.products, golden_find(golden, BATCH, TASKS, "%s/%s", mode, "products"),
                          BATCH * TASKS, mode, "products", "");
        }
    }
    golden_expect(loss, golden_find(golden, STEPS, TASKS, "%s/%s", mode, "loss"), STEPS * TASKS, mode, "loss",
                  "");
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_model_tensors(model, &count);
    for (uint32_t t = 0; t < count; t++) {
        golden_expect(
            trainer_model_tensor(model, t),
            golden_find(golden, tensors[t].rows, tensors[t].columns, "%s/final/%s", mode, tensors[t].name),
            (size_t)tensors[t].rows * tensors[t].columns, mode, "final", tensors[t].name);
    }
    if (config->loss.weighting == TRAINER_WEIGHTING_UNCERTAINTY) {
        golden_expect(trainer_model_tensor(model, count),
                      golden_find(golden, 1, TASKS, "%s/%s", mode, "log_variance"), TASKS, mode,
                      "log_variance", "");
    }
    base_minibatch_free(minibatch);
    trainer_model_free(model);
    golden_free(golden);
}

Test(trainer_loss_golden, a_chain_of_three_stages_and_a_side_task)
{
    for (int full = 0; full < 2; full++) {
        struct trainer_model_config config = config_make();
        chain(&config)->full = full;
        run(full ? "chain_full" : "chain_stop", &config);
    }
}

Test(trainer_loss_golden, values)
{
    for (int full = 0; full < 2; full++) {
        struct trainer_model_config config = config_make();
        values(&config)->full = full;
        config.loss.events[2] = !full;
        run(full ? "values_full" : "values_stop", &config);
    }
}

Test(trainer_loss_golden, esm2)
{
    for (int full = 0; full < 2; full++) {
        struct trainer_model_config config = config_make();
        clicked(&config)->full = full;
        config.loss.branch = 2;
        run(full ? "esm2_full" : "esm2_stop", &config);
    }
}

Test(trainer_loss_golden, inverse_propensity)
{
    struct trainer_model_config config = config_make();
    clicked(&config)->correction = TRAINER_CORRECTION_IPS;
    run("ips", &config);
}

Test(trainer_loss_golden, doubly_robust)
{
    struct trainer_model_config config = config_make();
    clicked(&config)->correction = TRAINER_CORRECTION_DR;
    run("dr", &config);
}

Test(trainer_loss_golden, uncertainty_and_decay)
{
    struct trainer_model_config config = config_make();
    struct trainer_loss_config *loss = values(&config);
    loss->events[2] = true;
    loss->weighting = TRAINER_WEIGHTING_UNCERTAINTY;
    loss->decay[1] = 0.25f;
    loss->decay[3] = 0.5f;
    loss->decay_examples = 320;
    run("uncertainty", &config);
}

// The log variances are a tensor like the others: a rule finds them, the schedule is theirs too.
Test(trainer_loss_golden, uncertainty_by_adam)
{
    struct trainer_model_config config = config_make();
    struct trainer_loss_config *loss = values(&config);
    struct trainer_tensor_rule rule = {"weighting.*", trainer_optimiser_usual(TRAINER_OPTIMISER_ADAM, 0.05)};
    loss->events[2] = true;
    loss->weighting = TRAINER_WEIGHTING_UNCERTAINTY;
    config.update.dense = trainer_optimiser_usual(TRAINER_OPTIMISER_MOMENTUM, 0.1);
    config.update.schedule_dense.warmup = 400;
    config.update.rules = 1;
    config.update.rule = &rule;
    run("uncertainty_adam", &config);
}

// All of it together gives the same bits, log variances included, whatever the number of workers.
Test(trainer_loss_golden, bits_do_not_depend_on_workers)
{
    struct golden *golden = golden_read("losses.bin");
    struct base_minibatch *minibatch = base_minibatch_new(BATCH);
    static const uint32_t workers[] = {1, 2, 8};
    uint64_t hash[3];
    for (uint32_t w = 0; w < 3; w++) {
        struct base_error error;
        struct trainer_model_config config = config_make();
        struct trainer_loss_config *loss = values(&config);
        loss->kind[1] = TRAINER_LOSS_BCE;
        loss->full = true;
        loss->correction = TRAINER_CORRECTION_DR;
        loss->weighting = TRAINER_WEIGHTING_UNCERTAINTY;
        config.workers = workers[w];
        struct trainer_model *model = trainer_model_new(&config, true, &error);
        cr_assert_not_null(model, "%s", error.text);
        for (uint32_t i = 0; i < STEPS; i++) {
            struct trainer_step step;
            minibatch_fill(golden, i, minibatch);
            cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0, "%s", error.text);
        }
        hash[w] = trainer_model_hash(model);
        trainer_model_free(model);
    }
    cr_expect(hash[0] == hash[1] && hash[1] == hash[2]);
    base_minibatch_free(minibatch);
    golden_free(golden);
}
