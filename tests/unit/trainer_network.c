// The dense network against its twin: forward, gradients by finite differences, and what the header promises.
#include "trainer/network.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer_network_twin.h"
#include "trainer_rig_support.h"

static struct base_error error;

// Shapes that between them have every case: levels, several layers, no own experts, no tower layers, one
// task.
static const struct trainer_network_config configs[] = {
    {.inputs = 48,
     .tasks = 2,
     .levels = 2,
     .level = {{{32, 16}, 2, 2, 2}, {{16}, 1, 1, 2}},
     .tower_widths = {16},
     .tower_layers = 1,
     .batch = 40,
     .seed = 5},
    {.inputs = 32,
     .tasks = 3,
     .levels = 3,
     .level = {{{16}, 1, 1, 1}, {{32, 16}, 2, 0, 2}, {{16, 32}, 2, 2, 1}},
     .tower_widths = {32, 16},
     .tower_layers = 2,
     .batch = 40,
     .seed = 6},
    {.inputs = 16,
     .tasks = 2,
     .levels = 1,
     .level = {{{16}, 1, 0, 3}},
     .tower_layers = 0,
     .batch = 40,
     .seed = 7},
    {.inputs = 400,
     .tasks = 1,
     .levels = 1,
     .level = {{{144}, 1, 1, 0}},
     .tower_widths = {16},
     .tower_layers = 1,
     .batch = 40,
     .seed = 8},
};
enum { CONFIGS = sizeof configs / sizeof *configs, ROWS = 37 };

static const struct trainer_loss_config full_loss = {
    .tasks = 3, .stages = 3, .full = true, .task_weight = {1.0f, 0.75f, 1.5f}, .keep_negatives = 0.25f};

static struct rig rig_stirred(const struct trainer_network_config *config, uint32_t workers)
{
    struct rig rig = rig_make(config, workers);
    rig_stir(&rig);
    return rig;
}

static struct base_sample sample_of(uint32_t r)
{
    uint64_t key = base_random_key(9, "rig");
    struct base_sample sample = {.mask = (uint8_t)(base_random_bits(key, 10 * r + 1) | 1)};
    for (uint32_t k = 0; k < full_loss.tasks; k++) {
        sample.label[k] = base_random_uniform(key, 10 * r + 2 + k) < 0.4;
        sample.weight[k] = (float)(0.5 + base_random_uniform(key, 10 * r + 5 + k));
    }
    return sample;
}

static struct trainer_loss_config rig_loss(const struct rig *rig)
{
    struct trainer_loss_config loss = full_loss;
    loss.tasks = loss.stages = rig->config.tasks;
    return loss;
}

// Forward, losses, backward on the first n rows.
static void loss_backward(struct rig *rig, uint32_t n)
{
    struct trainer_loss_config config = rig_loss(rig);
    uint32_t tasks = rig->config.tasks;
    trainer_network_forward(rig->network, rig->x, n, rig->logits);
    for (uint32_t r = 0; r < n; r++) {
        float loss[BASE_TASKS_MAX];
        struct base_sample sample = sample_of(r);
        trainer_loss_sample(&config, rig->logits + (size_t)r * tasks, &sample,
                            rig->dlogits + (size_t)r * tasks, loss);
    }
    trainer_network_backward(rig->network, rig->x, rig->dlogits, n, rig->dx);
}

Test(trainer_network, forward_matches_the_definition)
{
    for (uint32_t c = 0; c < CONFIGS; c++) {
        struct rig rig = rig_stirred(&configs[c], 1);
        struct twin twin = twin_make(&configs[c], rig.network);
        uint32_t tasks = configs[c].tasks;
        trainer_network_forward(rig.network, rig.x, ROWS, rig.logits);
        for (uint32_t r = 0; r < ROWS; r++) {
            double row[512], logits[BASE_TASKS_MAX];
            rig_row(&rig, r, row);
            twin_forward(&twin, row, logits);
            for (uint32_t k = 0; k < tasks; k++) {
                cr_assert_float_eq(rig.logits[r * tasks + k], logits[k], 1e-5 * (1.0 + fabs(logits[k])),
                                   "config %u row %u task %u: %.9g, not %.9g", c, r, k,
                                   (double)rig.logits[r * tasks + k], logits[k]);
            }
        }
        twin_free(&twin);
        rig_free(&rig);
    }
}

static double batch_loss(const struct rig *rig, const struct twin *twin, uint32_t n)
{
    struct trainer_loss_config config = rig_loss(rig);
    double sum = 0.0;
    for (uint32_t r = 0; r < n; r++) {
        double row[512], logits[BASE_TASKS_MAX];
        rig_row(rig, r, row);
        twin_forward(twin, row, logits);
        struct base_sample sample = sample_of(r);
        sum += twin_loss(&config, logits, &sample);
    }
    return sum;
}

// Central differences of the twin's summed loss, by a few weights of every tensor.
Test(trainer_network, gradient_matches_finite_differences)
{
    enum { N = 6, PROBES = 5 };
    const double step = 1e-6;
    for (uint32_t c = 0; c < CONFIGS; c++) {
        struct rig rig = rig_stirred(&configs[c], 1);
        struct twin twin = twin_make(&configs[c], rig.network);
        loss_backward(&rig, N);
        trainer_network_gradient(rig.network, rig.x, N, rig.gradient);
        for (uint32_t t = 0; t < twin.count; t++) {
            for (uint32_t probe = 0; probe < PROBES; probe++) {
                const struct trainer_tensor *tensor = &twin.tensors[t];
                size_t at =
                    tensor->offset + base_random_bits(t, probe) % ((uint64_t)tensor->rows * tensor->columns);
                double weight = twin.weights[at];
                twin.weights[at] = weight + step;
                double above = batch_loss(&rig, &twin, N);
                twin.weights[at] = weight - step;
                double below = batch_loss(&rig, &twin, N);
                twin.weights[at] = weight;
                double expected = (above - below) / (2 * step);
                cr_assert_float_eq(rig.gradient[at], expected, 2e-5 * (1.0 + fabs(expected)),
                                   "config %u %s: %.9g, not %.9g", c, tensor->name, (double)rig.gradient[at],
                                   expected);
            }
        }
        twin_free(&twin);
        rig_free(&rig);
    }
}

Test(trainer_network, gradient_by_x_matches_finite_differences)
{
    const double step = 1e-6;
    for (uint32_t c = 0; c < CONFIGS; c++) {
        struct rig rig = rig_stirred(&configs[c], 1);
        struct twin twin = twin_make(&configs[c], rig.network);
        struct trainer_loss_config config = rig_loss(&rig);
        loss_backward(&rig, ROWS);
        for (uint32_t r = 0; r < ROWS; r += 9) {
            struct base_sample sample = sample_of(r);
            for (uint32_t i = 0; i < configs[c].inputs; i += 1 + configs[c].inputs / 40) {
                double row[512], logits[BASE_TASKS_MAX], difference = 0.0;
                for (int sign = -1; sign <= 1; sign += 2) {
                    rig_row(&rig, r, row);
                    row[i] += sign * step;
                    twin_forward(&twin, row, logits);
                    difference += sign * twin_loss(&config, logits, &sample) / (2 * step);
                }
                cr_assert_float_eq(rig.dx[(size_t)r * configs[c].inputs + i], difference, 1e-5,
                                   "config %u row %u input %u", c, r, i);
            }
        }
        twin_free(&twin);
        rig_free(&rig);
    }
}

// slab - rate * gradient, up to rounding, and nothing but the tensors' own places.
Test(trainer_network, apply_is_a_step_along_the_gradient)
{
    for (uint32_t c = 0; c < CONFIGS; c++) {
        struct rig rig = rig_stirred(&configs[c], 1);
        size_t size = trainer_network_size(rig.network);
        float *before = base_alloc(size * sizeof *before), *slab = trainer_network_slab(rig.network);
        memcpy(before, slab, size * sizeof *before);
        loss_backward(&rig, ROWS);
        trainer_network_gradient(rig.network, rig.x, ROWS, rig.gradient);
        cr_expect_eq(memcmp(before, slab, size * sizeof *before), 0, "a weight moved before the step");
        cr_expect(trainer_network_finite(rig.network, rig.dx, ROWS));
        trainer_network_apply(rig.network, rig.x, ROWS, 0.03125f);
        bool moved = false;
        for (size_t i = 0; i < size; i++) {
            double expected = before[i] - 0.03125 * rig.gradient[i];
            cr_assert_float_eq(slab[i], expected, 1e-6 * (1.0 + fabs(expected)), "config %u at %zu", c, i);
            moved |= slab[i] != before[i];
        }
        cr_expect(moved);
        free(before);
        rig_free(&rig);
    }
}

// Regressions for known mistakes elsewhere: an expert that nobody uses, one used twice, and equal initial
// values.
Test(trainer_network, every_tensor_learns_and_starts_alone)
{
    for (uint32_t c = 0; c < CONFIGS; c++) {
        struct trainer_workers *workers = trainer_workers_new(1, &error);
        struct trainer_network *fresh = trainer_network_new(&configs[c], true, workers, &error);
        struct rig rig = rig_stirred(&configs[c], 1);
        loss_backward(&rig, ROWS);
        trainer_network_gradient(rig.network, rig.x, ROWS, rig.gradient);
        uint32_t count;
        const struct trainer_tensor *tensors = trainer_network_tensors(fresh, &count);
        const float *slab = trainer_network_slab(fresh);
        for (uint32_t t = 0; t < count; t++) {
            // A gate over a single expert is constant.
            if (strstr(tensors[t].name, "gate") && tensors[t].columns == 1) {
                continue;
            }
            size_t floats = (size_t)tensors[t].rows * tensors[t].columns;
            double norm = 0.0;
            for (size_t i = 0; i < floats; i++) {
                norm += fabs((double)rig.gradient[tensors[t].offset + i]);
            }
            cr_expect_gt(norm, 0.0, "config %u: %s learns nothing", c, tensors[t].name);
            for (uint32_t u = 0; u < t; u++) {
                if (tensors[t].rows > 1 && tensors[u].rows > 1) {
                    cr_expect_neq(slab[tensors[t].offset], slab[tensors[u].offset], "%s starts as %s",
                                  tensors[t].name, tensors[u].name);
                }
            }
        }
        trainer_network_free(fresh);
        trainer_workers_free(workers);
        rig_free(&rig);
    }
}

Test(trainer_network, initial_weights_have_the_stated_spread)
{
    static const struct trainer_network_config wide = {.inputs = 384,
                                                       .tasks = 2,
                                                       .levels = 2,
                                                       .level = {{{256, 128}, 2, 2, 2}, {{128}, 1, 2, 2}},
                                                       .tower_widths = {64},
                                                       .tower_layers = 1,
                                                       .batch = 8,
                                                       .seed = 1};
    struct trainer_workers *workers = trainer_workers_new(1, &error);
    struct trainer_network *network = trainer_network_new(&wide, false, workers, &error);
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(network, &count);
    for (uint32_t t = 0; t < count; t++) {
        cr_expect_eq(tensors[t].offset % 16, 0u);
        size_t floats = (size_t)tensors[t].rows * tensors[t].columns;
        double square = 0.0, sum = 0.0;
        for (size_t i = 0; i < floats; i++) {
            double w = trainer_network_slab(network)[tensors[t].offset + i];
            square += w * w;
            sum += w;
        }
        if (tensors[t].rows == 1) {
            cr_expect_eq(square, 0.0);
        } else if (floats > 5000) {
            cr_expect_float_eq(square / (double)floats * tensors[t].rows, 2.0, 0.08, "%s", tensors[t].name);
            cr_expect_float_eq(sum / sqrt(square), 0.0, 4.5, "%s", tensors[t].name);
        }
    }
    trainer_network_free(network);
    trainer_workers_free(workers);
}

Test(trainer_network, finite_sees_what_would_harm)
{
    struct rig rig = rig_stirred(&configs[0], 2);
    float *slab = trainer_network_slab(rig.network);
    size_t size = trainer_network_size(rig.network);
    float *good = base_alloc(size * sizeof *good);
    memcpy(good, slab, size * sizeof *good);
    loss_backward(&rig, ROWS);
    cr_expect(trainer_network_finite(rig.network, rig.dx, ROWS));
    const float bad[] = {NAN, INFINITY, -INFINITY, 1e30f};
    for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
        float x = rig.x[100]; // in x
        rig.x[100] = bad[b];
        loss_backward(&rig, ROWS);
        cr_expect_not(trainer_network_finite(rig.network, rig.dx, ROWS), "x = %g", (double)bad[b]);
        rig.x[100] = x;

        loss_backward(&rig, ROWS); // in dlogits
        rig.dlogits[ROWS] = bad[b];
        trainer_network_backward(rig.network, rig.x, rig.dlogits, ROWS, rig.dx);
        cr_expect_not(trainer_network_finite(rig.network, rig.dx, ROWS), "dlogit = %g", (double)bad[b]);

        uint32_t count; // in any weight: activations, probabilities or deltas show it
        const struct trainer_tensor *tensors = trainer_network_tensors(rig.network, &count);
        for (uint32_t t = 0; t < count && isnan(bad[b]); t++) {
            slab[tensors[t].offset] = bad[b];
            loss_backward(&rig, ROWS);
            cr_expect_not(trainer_network_finite(rig.network, rig.dx, ROWS), "%s", tensors[t].name);
            slab[tensors[t].offset] = good[tensors[t].offset];
        }
    }
    loss_backward(&rig, ROWS);
    cr_expect(trainer_network_finite(rig.network, rig.dx, ROWS));
    free(good);
    rig_free(&rig);
}

// Near the bound a step keeps every weight finite.
Test(trainer_network, a_step_near_the_bound_stays_finite)
{
    struct rig rig = rig_stirred(&configs[2], 1);
    for (size_t i = 0; i < (size_t)ROWS * configs[2].inputs; i++) {
        rig.x[i] = 0x1p29f;
    }
    trainer_network_forward(rig.network, rig.x, ROWS, rig.logits);
    for (uint32_t i = 0; i < ROWS * configs[2].tasks; i++) {
        rig.dlogits[i] = 1.0f;
    }
    trainer_network_backward(rig.network, rig.x, rig.dlogits, ROWS, rig.dx);
    cr_assert(trainer_network_finite(rig.network, rig.dx, ROWS));
    trainer_network_apply(rig.network, rig.x, ROWS, 1024.0f);
    for (size_t i = 0; i < trainer_network_size(rig.network); i++) {
        cr_assert(isfinite(trainer_network_slab(rig.network)[i]));
    }
    rig_free(&rig);
}

Test(trainer_network, impossible_settings_are_named)
{
    struct trainer_workers *workers = trainer_workers_new(1, &error);
    struct {
        const char *named;
        size_t offset;
        uint32_t value;
    } cases[] = {
        {"inputs", offsetof(struct trainer_network_config, inputs), 40},
        {"inputs", offsetof(struct trainer_network_config, inputs), 0},
        {"inputs", offsetof(struct trainer_network_config, inputs), TRAINER_WIDTH_MAX + 16},
        {"tasks", offsetof(struct trainer_network_config, tasks), 0},
        {"tasks", offsetof(struct trainer_network_config, tasks), BASE_TASKS_MAX + 1},
        {"levels", offsetof(struct trainer_network_config, levels), 0},
        {"levels", offsetof(struct trainer_network_config, levels), TRAINER_LEVELS_MAX + 1},
        {"level 1: layers", offsetof(struct trainer_network_config, level[1].layers), 0},
        {"level 0: width of layer 1", offsetof(struct trainer_network_config, level[0].widths[1]), 17},
        {"level 0: experts per task", offsetof(struct trainer_network_config, level[0].per_task), 33},
        {"level 1: shared experts", offsetof(struct trainer_network_config, level[1].shared), 0},
        {"tower layers", offsetof(struct trainer_network_config, tower_layers), TRAINER_LAYERS_MAX + 1},
        {"tower width", offsetof(struct trainer_network_config, tower_widths[0]), 8},
        {"batch", offsetof(struct trainer_network_config, batch), 0},
        {"batch", offsetof(struct trainer_network_config, batch), TRAINER_BATCH_MAX + 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trainer_network_config config = configs[0];
        memcpy((char *)&config + cases[i].offset, &cases[i].value, sizeof cases[i].value);
        error = (struct base_error){0};
        cr_expect_null(trainer_network_new(&config, true, workers, &error));
        cr_expect_eq(error.code, BASE_EINVAL);
        cr_expect(strstr(error.text, cases[i].named), "\"%s\" does not name %s", error.text, cases[i].named);
        cr_expect_eq(trainer_network_flop_step(&config), 0.0);
    }
    // Each setting possible, the whole too large.
    struct trainer_network_config config = {
        .inputs = 8192, .tasks = 8, .levels = 1, .batch = 16, .level = {{{8192}, 1, 8, 8}}};
    cr_expect_null(trainer_network_new(&config, true, workers, &error));
    cr_expect(strstr(error.text, "weights"), "%s", error.text);
    config = configs[0];
    config.level[0] = (struct trainer_level_config){{8192, 16}, 2, 32, 32};
    config.inputs = 16;
    config.batch = TRAINER_BATCH_MAX;
    cr_expect_null(trainer_network_new(&config, true, workers, &error));
    cr_expect(strstr(error.text, "batch"), "%s", error.text);
    trainer_network_free(NULL);
    trainer_workers_free(workers);
}

Test(trainer_network, counts_its_operations)
{
    // 16 inputs, 3 shared experts 16 wide, a gate over 3 for both tasks, outputs of 16 weights.
    double products = 16.0 * 16 * 3 + 2 * 16.0 * 3 + 2 * 16.0;
    cr_expect_float_eq(trainer_network_flop_forward(&configs[2]), 2 * products, 0.0);
    cr_expect_float_eq(trainer_network_flop_step(&configs[2]), 6 * products, 0.0);
}

// A task with several outputs: all read its last vector, whose gradient is the sum of theirs. Equal output
// weights and a split dlogit give what one output gives.
Test(trainer_network, outputs_of_a_task_add_their_gradients)
{
    for (uint32_t c = 0; c < CONFIGS; c++) {
        struct trainer_network_config config = configs[c];
        struct rig one = rig_stirred(&config, 1);
        config.outputs[0] = 3;
        cr_expect_eq(trainer_network_logits(&config), config.tasks + 2);
        struct rig many = rig_stirred(&config, 2);
        struct twin from = twin_make(&configs[c], one.network), to = twin_make(&config, many.network);
        cr_assert_eq(to.count, from.count + 4);
        cr_expect_str_eq(to.tensors[from.count - 2 * (config.tasks - 1)].name, "task0.tower.output1.weight");
        float *slab = trainer_network_slab(many.network);
        for (uint32_t t = 0; t < to.count; t++) {
            const struct trainer_tensor *tensor = &to.tensors[t];
            const char *name = tensor->name;
            if (strncmp(name, "task0.tower.output", strlen("task0.tower.output")) == 0) {
                name = strstr(name, "weight") ? "task0.tower.output.weight" : "task0.tower.output.bias";
            }
            const double *weight = twin_tensor(&from, name, tensor->rows, tensor->columns);
            for (uint32_t i = 0; i < tensor->rows * tensor->columns; i++) {
                slab[tensor->offset + i] = (float)weight[i];
            }
        }
        uint32_t tasks = config.tasks, logits = tasks + 2;
        loss_backward(&one, ROWS);
        float *given = base_alloc_aligned((size_t)ROWS * logits * sizeof *given),
              *dlogits = base_alloc((size_t)ROWS * logits * sizeof *dlogits);
        trainer_network_forward(many.network, one.x, ROWS, given);
        for (uint32_t r = 0; r < ROWS; r++) {
            for (uint32_t j = 0; j < logits; j++) {
                uint32_t k = j < 3 ? 0 : j - 2;
                cr_assert_eq(given[r * logits + j], one.logits[r * tasks + k]);
                dlogits[r * logits + j] = one.dlogits[r * tasks + k] * (j == 1 ? 0.5f : j < 3 ? 0.25f : 1.0f);
            }
        }
        trainer_network_backward(many.network, one.x, dlogits, ROWS, many.dx);
        cr_expect(trainer_network_finite(many.network, many.dx, ROWS));
        trainer_network_gradient(many.network, one.x, ROWS, many.gradient);
        trainer_network_gradient(one.network, one.x, ROWS, one.gradient);
        for (size_t i = 0; i < (size_t)ROWS * config.inputs; i++) {
            cr_assert_float_eq(many.dx[i], one.dx[i], 1e-5 * (1.0 + fabs((double)one.dx[i])));
        }
        for (uint32_t t = 0; t < to.count; t++) {
            const struct trainer_tensor *tensor = &to.tensors[t];
            bool split = strncmp(tensor->name, "task0.tower.output", strlen("task0.tower.output")) == 0;
            double share = !split ? 1.0 : strstr(tensor->name, "output1") ? 0.5 : 0.25;
            for (uint32_t u = 0; u < from.count; u++) {
                bool same = strcmp(from.tensors[u].name, tensor->name) == 0;
                same |=
                    split && strcmp(from.tensors[u].name, tensor->rows > 1 ? "task0.tower.output.weight"
                                                                           : "task0.tower.output.bias") == 0;
                for (uint32_t i = 0; same && i < tensor->rows * tensor->columns; i++) {
                    double expected = share * one.gradient[from.tensors[u].offset + i];
                    cr_assert_float_eq(many.gradient[tensor->offset + i], expected,
                                       1e-4 * (1.0 + fabs(expected)), "config %u %s", c, tensor->name);
                }
            }
        }
        free(given);
        free(dlogits);
        twin_free(&from);
        twin_free(&to);
        rig_free(&one);
        rig_free(&many);
    }
}
