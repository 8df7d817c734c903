// The joint loss: decay, uncertainty, and that what it learns is state like the weights.
#include "trainer/weighting.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer_cut_support.h"

static struct trainer_loss_config config_make(void)
{
    return (struct trainer_loss_config){.tasks = 3,
                                        .stages = 2,
                                        .parent = {0, 0, UINT32_MAX},
                                        .task_weight = {1, 2, 0.5f},
                                        .keep_negatives = 1,
                                        .kind = {[2] = TRAINER_LOSS_MSE}};
}

Test(trainer_weighting, fixed_weights_are_the_configured_ones)
{
    struct trainer_loss_config config = config_make();
    struct trainer_weighting_step step;
    config.decay[1] = 1;
    trainer_weighting_begin(&config, 1000000, NULL, &step);
    cr_expect_eq(memcmp(step.loss.task_weight, config.task_weight, sizeof config.task_weight), 0);
    struct base_sample sample = {.mask = 7, .weight = {1, 1, 1}};
    static const float loss[] = {0.25f, 0.5f, 2};
    trainer_weighting_add(&step, &sample, loss);
    trainer_weighting_add(&step, &sample, loss);
    for (uint32_t k = 0; k < 3; k++) {
        cr_expect_eq(trainer_weighting_loss(&step, NULL, k), 2 * loss[k]);
        cr_expect_eq(trainer_weighting_gradient(&step, k), 0);
    }
}

Test(trainer_weighting, decay_counts_examples)
{
    struct trainer_loss_config config = config_make();
    struct trainer_weighting_step step;
    config.decay[1] = 0.5f;
    config.decay_examples = 1000;
    static const struct {
        uint64_t examples;
        float weight;
    } at[] = {{0, 2}, {1000, 1}, {2000, 0.5f}, {500, 1.41421356f}, {10000000000, 0}};
    for (uint32_t i = 0; i < sizeof at / sizeof *at; i++) {
        trainer_weighting_begin(&config, at[i].examples, NULL, &step);
        cr_expect_float_eq(step.loss.task_weight[1], at[i].weight, 1e-6, "%llu",
                           (unsigned long long)at[i].examples);
        cr_expect_eq(step.loss.task_weight[0], 1);
    }
}

// The joint loss of two samples, of log variances `s`.
static double joint(const struct trainer_loss_config *config, const float *s,
                    struct trainer_weighting_step *step)
{
    static const float logits[2][3] = {{0.3f, -0.8f, 1.2f}, {-1.1f, 0.4f, 0.2f}};
    struct base_sample sample[2] = {
        {.mask = 7, .label = {1, 1, 1}, .weight = {1, 2, 1.5f}, .value = {0, 0, 5}},
        {.kind = BASE_N0, .mask = 3, .weight = {1, 4, 0}}};
    trainer_weighting_begin(config, 0, s, step);
    double sum = 0;
    for (uint32_t i = 0; i < 2; i++) {
        float dlogits[3], loss[3];
        trainer_loss_sample(&step->loss, logits[i], &sample[i], dlogits, loss);
        trainer_weighting_add(step, &sample[i], loss);
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        sum += (double)trainer_weighting_loss(step, s, k);
    }
    return sum;
}

Test(trainer_weighting, gradient_of_the_log_variances)
{
    struct trainer_loss_config config = config_make();
    struct trainer_weighting_step step, other;
    config.weighting = TRAINER_WEIGHTING_UNCERTAINTY;
    float s[] = {0.5f, -1, 0.25f};
    joint(&config, s, &step);
    for (uint32_t k = 0; k < 3; k++) {
        float moved[3];
        memcpy(moved, s, sizeof s);
        moved[k] = s[k] + 0.01f;
        double above = joint(&config, moved, &other);
        moved[k] = s[k] - 0.01f;
        double gradient = (above - joint(&config, moved, &other)) / 0.02;
        cr_expect_float_eq(trainer_weighting_gradient(&step, k), gradient, 1e-3, "%u: %g", k, gradient);
    }
    // Zero where the variance is that of the data: exp(s) = 2 x the mean loss, of squared errors the mean
    // itself.
    float zero[3] = {0, 0, 0};
    joint(&config, zero, &step);
    for (uint32_t k = 0; k < 3; k++) {
        s[k] = logf(2 * step.weighted[k] / step.mass[k]);
    }
    joint(&config, s, &step);
    for (uint32_t k = 0; k < 3; k++) {
        cr_expect_float_eq(trainer_weighting_gradient(&step, k), 0, 1e-5);
    }
}

// The log variances are in the hash and in the cut, and a restored model goes on as the one that was cut.
Test(trainer_weighting, what_is_learned_is_cut_and_restored)
{
    struct map map = {0};
    struct trainer_model_config *config = cut_config_make(1, 100000);
    struct trainer_model *plain = model_make(config, true);
    model_train(plain, 3, 0, 5);
    config->loss.weighting = TRAINER_WEIGHTING_UNCERTAINTY;
    struct trainer_model *model = model_make(config, true);
    uint32_t tensors;
    trainer_model_tensors(model, &tensors);
    float *s = trainer_model_tensor(model, tensors);
    uint64_t before = trainer_model_hash(model);
    s[1] = 0.25f;
    cr_expect_neq(trainer_model_hash(model), before);
    s[1] = 0;
    cr_expect_eq(trainer_model_hash(model), before);
    model_train(model, 3, 0, 5);
    cr_expect(s[0] != 0 && s[1] != 0 && s[2] != 0);
    cut_at_once(model, &map);
    struct trainer_model *other = cut_restore(config, &map);
    cr_expect_eq(trainer_model_hash(other), trainer_model_hash(model));
    cr_expect_eq(memcmp(trainer_model_tensor(other, tensors), s, 3 * sizeof *s), 0);
    model_train(model, 3, 100, 5);
    model_train(other, 3, 100, 5);
    cr_expect_eq(trainer_model_hash(other), trainer_model_hash(model));
    trainer_model_free(other);

    // One without them cannot be what the cut was made of.
    config->loss.weighting = TRAINER_WEIGHTING_FIXED;
    struct base_error error;
    other = model_make(config, true);
    struct trainer_cut_source source = map_source(&map, false);
    cr_expect_eq(trainer_model_restore(other, &source, &error), -1);
    cr_expect(error.code == BASE_ECONFLICT && strstr(error.text, "log_variance"), "%s", error.text);
    trainer_model_free(other);
    trainer_model_free(model);
    trainer_model_free(plain);
    map_free(&map);
}

static void map_copy(const struct map *from, struct map *to)
{
    for (size_t i = 0; i < from->count; i++) {
        map_put(to, base_buffer_span(&from->entries[i].key), base_buffer_span(&from->entries[i].value));
    }
}

// Of every optimiser that a dense tensor can have: its state is in the cut, and a restored model goes on from
// it.
Test(trainer_weighting, the_optimisers_state_is_cut_and_restored)
{
    for (int kind = 0; kind < TRAINER_OPTIMISERS; kind++) {
        if (kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD) {
            continue;
        }
        struct map map = {0}, copy = {0};
        struct trainer_model_config *config = cut_config_make(1, 100000);
        struct trainer_tensor_rule rule = {"weighting.log_variance",
                                           trainer_optimiser_usual((enum trainer_optimiser_kind)kind, 0.05)};
        config->loss.weighting = TRAINER_WEIGHTING_UNCERTAINTY;
        config->update.rules = 1;
        config->update.rule = &rule;
        struct trainer_model *model = model_make(config, true);
        model_train(model, 3, 0, 5);
        cut_at_once(model, &map);
        map_copy(&map, &copy);
        struct trainer_model *other = cut_restore(config, &copy);
        model_train(model, 3, 100, 5);
        model_train(other, 3, 100, 5);
        cr_expect_eq(trainer_model_hash(other), trainer_model_hash(model), "%d", kind);
        cut_at_once(model, &map);
        cut_at_once(other, &copy);
        map_compare(&map, &copy, CUT_SLOTS, true);
        trainer_model_free(other);

        // Another optimiser is refused by name.
        if (kind != TRAINER_OPTIMISER_SGD) {
            struct base_error error;
            rule.optimiser.kind = TRAINER_OPTIMISER_SGD;
            other = model_make(config, true);
            struct trainer_cut_source source = map_source(&map, false);
            cr_expect_eq(trainer_model_restore(other, &source, &error), -1);
            cr_expect(error.code == BASE_ECONFLICT && strstr(error.text, "tensor weighting.log_variance is"),
                      "%s", error.text);
            trainer_model_free(other);
        }
        trainer_model_free(model);
        map_free(&map);
        map_free(&copy);
    }
}

// Cuts of before version 3, which say nothing of it: the log variances stay, their state is new. FTRL's must
// then rest on them, else they would fall back to 0.
Test(trainer_weighting, an_older_cut_begins_with_new_state)
{
    static const enum trainer_optimiser_kind kinds[] = {TRAINER_OPTIMISER_MOMENTUM, TRAINER_OPTIMISER_FTRL};
    for (int i = 0; i < 2; i++) {
        struct map map = {0};
        struct trainer_model_config *config = cut_config_make(1, 100000);
        struct trainer_tensor_rule rule = {"weighting.log_variance", {.rate = 0.5}};
        config->loss.weighting = TRAINER_WEIGHTING_UNCERTAINTY;
        config->update.dense = trainer_optimiser_usual(kinds[i], 0.01);
        config->update.rules = 1;
        config->update.rule = &rule;
        struct trainer_model *model = model_make(config, true);
        uint32_t tensors;
        trainer_model_tensors(model, &tensors);
        model_train(model, 3, 0, 20);
        cut_at_once(model, &map);
        struct map_entry *section = map_find(&map, base_span_string("m"));
        cr_assert_eq(section->value.data[8], 2, "written as version 2, as ever");
        config->update.rules = 0;
        struct trainer_model *other = cut_restore(config, &map);
        model_train(other, 3, 160, 1);
        const float *before = trainer_model_tensor(model, tensors), *s = trainer_model_tensor(other, tensors);
        for (uint32_t k = 0; k < MODEL_TASKS; k++) {
            cr_expect(fabsf(before[k]) > 0.05f && s[k] != before[k] && fabsf(s[k] - before[k]) < 0.02f,
                      "%d: %g %g", i, (double)before[k], (double)s[k]);
        }
        trainer_model_free(other);
        trainer_model_free(model);
        map_free(&map);
    }
}

// Without uncertainty there is no such tensor.
Test(trainer_weighting, fixed_weights_have_no_tensor)
{
    struct trainer_model_config *config = cut_config_make(1, 100000);
    struct trainer_tensor_rule rule = {"weighting.log_variance", {.rate = 0.5}};
    struct base_error error;
    config->update.rules = 1;
    config->update.rule = &rule;
    cr_expect_null(trainer_model_new(config, true, &error));
    cr_expect(error.code == BASE_EINVAL && strstr(error.text, "\"weighting.log_variance\": there is none"),
              "%s", error.text);
}

// Readers know nothing of it: what is published has the same tensors.
Test(trainer_weighting, is_not_published)
{
    struct trainer_model_config *config = cut_config_make(1, 100000);
    config->loss.weighting = TRAINER_WEIGHTING_UNCERTAINTY;
    struct trainer_model *model = model_make(config, true);
    model_train(model, 3, 0, 2);
    struct trainer_snapshot *snapshot = trainer_model_snapshot(model, 1, true);
    for (uint32_t t = 0; t < snapshot->tensors; t++) {
        cr_expect_null(strstr(snapshot->tensor[t].name, "weighting"));
    }
    struct trainer_model *reader = model_load(NULL, config, snapshot);
    trainer_model_settle(model, snapshot, true);
    trainer_snapshot_free(snapshot);
    trainer_model_free(reader);
    trainer_model_free(model);
}
