// The daemon's configuration of optimisers, schedules and clipping: what the trainer gets, and the checks.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"

#define BASE "source: {kind: files, path: /data}\n"
#define SLOTS "slots: [{name: a, path: x.a}, {name: b, path: x.b, optimizer: adam, rate: 0.01, l2: 0.5}]\n"

static struct daemon_config *load(const char *text, struct base_config_problems *problems)
{
    *problems = (struct base_config_problems){0};
    return daemon_config_load_text("u.yaml", base_span_string(text), problems);
}

static struct daemon_config *good(const char *text)
{
    struct base_config_problems problems;
    struct daemon_config *config = load(text, &problems);
    cr_assert(config && problems.count == 0, "%s", problems.item[0].text);
    return config;
}

static const char plain[] = BASE "slots: [{name: a, path: x.a}]\n";

Test(daemon_config_update, the_default_is_plain_sgd)
{
    struct daemon_config *config = good(plain);
    const struct trainer_update_config *update = &daemon_config_model(config)->update;
    cr_expect(update->dense.kind == TRAINER_OPTIMISER_SGD && update->dense.rate == 0.05 &&
              update->dense.l2 == 0);
    cr_expect(update->sparse.kind == TRAINER_OPTIMISER_SGD && update->sparse.rate == 0.05);
    cr_expect(update->clip_dense == 0 && update->clip_sparse == 0 && update->rules == 0);
    cr_expect(update->schedule_dense.warmup == 0 && update->schedule_sparse.half_life == 0);
    daemon_config_free(config);
}

// Settings that are written out as their defaults leave the settings' hash as it was before they existed.
Test(daemon_config_update, defaults_change_no_hash)
{
    struct daemon_config *a = good(plain);
    struct daemon_config *b = good(
        BASE "slots: [{name: a, path: x.a}]\nmodel: {optimizer: {dense: {kind: sgd}, sparse: {kind: sgd}}, "
             "tensors: [], schedule: {dense: {warmup: 0}}, l2: {dense: 0}, clip: {sparse: 0}}\n");
    struct daemon_config *c = good(BASE "slots: [{name: a, path: x.a}]\nmodel: {clip: {sparse: 1}}\n");
    cr_expect_eq(a->hash, b->hash);
    cr_expect_neq(a->hash, c->hash);
    daemon_config_free(a);
    daemon_config_free(b);
    daemon_config_free(c);
}

Test(daemon_config_update, everything_arrives)
{
    struct daemon_config *config = good(
        BASE SLOTS "model:\n"
                   "  rate: {dense: 0.001, sparse: 0.03}\n"
                   "  optimizer:\n"
                   "    dense: {kind: adam, beta1: 0.8, beta2: 0.99, epsilon: 1e-6}\n"
                   "    sparse: {kind: rowwise_adagrad, initial: 0.5, half_life: 1_000_000}\n"
                   "  schedule: {dense: {warmup: 1000, half_life: 5000, floor: 0.1}, sparse: {warmup: 77}}\n"
                   "  l2: {dense: 1e-4, sparse: 1e-5}\n"
                   "  clip: {dense: 2, sparse: 3}\n"
                   "  tensors:\n"
                   "    - {match: \"*.bias\", optimizer: sgd, rate: 0.1}\n"
                   "    - {match: \"task0.*\", l2: 0}\n");
    const struct trainer_update_config *update = &daemon_config_model(config)->update;
    cr_expect(update->dense.kind == TRAINER_OPTIMISER_ADAM && update->dense.rate == 0.001 &&
              update->dense.beta1 == 0.8 && update->dense.beta2 == 0.99 && update->dense.epsilon == 1e-6 &&
              update->dense.l2 == 1e-4);
    cr_expect(update->sparse.kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD && update->sparse.rate == 0.03 &&
              update->sparse.initial == 0.5 && update->sparse.half_life == 1e6 && update->sparse.l2 == 1e-5);
    cr_expect(update->schedule_dense.warmup == 1000 && update->schedule_dense.half_life == 5000 &&
              update->schedule_dense.floor == 0.1 && update->schedule_sparse.warmup == 77);
    cr_expect(update->clip_dense == 2 && update->clip_sparse == 3);
    cr_assert_eq(update->rules, 2);
    cr_expect_str_eq(update->rule[0].match, "*.bias");
    cr_expect(update->rule[0].optimiser.kind == TRAINER_OPTIMISER_SGD &&
              update->rule[0].optimiser.rate == 0.1 && update->rule[0].optimiser.l2 == 1e-4);
    cr_expect(update->rule[1].optimiser.kind == TRAINER_OPTIMISER_ADAM &&
              update->rule[1].optimiser.rate == 0.001 && update->rule[1].optimiser.l2 == 0);
    cr_expect(update->slot[0].kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD && update->slot[0].rate == 0.03);
    cr_expect(update->slot[1].kind == TRAINER_OPTIMISER_ADAM && update->slot[1].rate == 0.01 &&
              update->slot[1].l2 == 0.5 && update->slot[1].beta1 == 0.9 && update->slot[1].half_life == 1e6);
    // The trainer takes it.
    struct base_error error;
    struct trainer_model *model = trainer_model_new(daemon_config_model(config), true, &error);
    cr_assert_not_null(model, "%s", error.text);
    trainer_model_free(model);
    daemon_config_free(config);
}

Test(daemon_config_update, problems_are_told)
{
    static const struct {
        const char *text, *said;
        bool warning;
    } cases[] = {
        {"model: {optimizer: {dense: {kind: rowwise_adagrad}}}\n",
         "model.optimizer.dense.kind: rowwise_adagrad is for embedding rows", false},
        {"model: {tensors: [{match: x, optimizer: rowwise_adagrad}]}\n",
         "model.tensors[0].optimizer: rowwise_adagrad is for", false},
        {"model: {tensors: [{optimizer: adam}]}\n", "model.tensors[0].match: must be given", false},
        {"model: {optimizer: {dense: {kind: ftrl}}, rate: {dense: 0}}\n",
         "model.rate.dense: ftrl's alpha must be at least", false},
        {"model: {optimizer: {sparse: {kind: ftrl}}, schedule: {sparse: {half_life: 5}}}\n",
         "model.schedule.sparse.half_life: ftrl's alpha must be constant", false},
        {"model: {tensors: [{match: a, optimizer: ftrl}], schedule: {dense: {warmup: 5}}}\n",
         "model.schedule.dense.warmup: ftrl's alpha must be constant", false},
        {"model: {optimizer: {dense: {kind: adamw}}}\n", "did you mean \"adam\"", false},
        {"model: {optimizer: {dense: {kind: adam, beta2: 1}}}\n",
         "model.optimizer.dense.beta2: 1 is out of bounds", false},
        {"model: {clip: {dense: -1}}\n", "model.clip.dense: -1 is out of bounds", false},
        {"model: {optimizer: {dense: {kind: adam, momentum: 0.5}}}\n",
         "model.optimizer.dense.momentum: has an effect with momentum only", true},
        {"model: {optimizer: {sparse: {half_life: 5}}}\n",
         "model.optimizer.sparse.half_life: has an effect with adagrad and rowwise_adagrad only", true},
        {"model: {schedule: {sparse: {floor: 0.5}}}\n", "has an effect with a half_life only", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, "%s%s", plain, cases[i].text);
        struct base_config_problems problems;
        struct daemon_config *config = load(text, &problems);
        cr_expect_eq(config != NULL, cases[i].warning, "%s", text);
        cr_assert_eq(problems.count, 1, "%s: %u", text, problems.count);
        cr_expect(strstr(problems.item[0].text, cases[i].said), "%s", problems.item[0].text);
        daemon_config_free(config);
    }
}

// FTRL that no slot has after all stands in no schedule's way.
Test(daemon_config_update, what_all_slots_override_is_not_asked_for)
{
    struct daemon_config *config =
        good(BASE "slots: [{name: b, path: x.b, optimizer: adam}]\n"
                  "model: {optimizer: {sparse: {kind: ftrl}}, schedule: {sparse: {warmup: 7}}}\n");
    struct base_error error;
    cr_expect_eq(trainer_update_check(&daemon_config_model(config)->update, 1, &error), 0, "%s", error.text);
    daemon_config_free(config);
}

// A constant that only a slot's own optimizer reads is no mistake.
Test(daemon_config_update, a_slots_optimizer_reads_the_constants)
{
    daemon_config_free(good(BASE SLOTS "model: {optimizer: {sparse: {beta1: 0.5}}}\n"));
}
