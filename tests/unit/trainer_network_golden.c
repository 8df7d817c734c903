// The network and its losses against PyTorch: tests/golden/trainer/ple.bin, made by make_ple.py beside it.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/loss.h"
#include "trainer/network.h"
#include "trainer_golden_support.h"

enum { INPUTS = 32, TASKS = 2, BATCH = 24, STEPS = 5 };
static const float rate = 0.5f;

static const struct trainer_network_config network_config = {.inputs = INPUTS,
                                                             .tasks = TASKS,
                                                             .levels = 2,
                                                             .level = {{{32, 16}, 2, 2, 2}, {{16}, 1, 1, 2}},
                                                             .tower_widths = {16},
                                                             .tower_layers = 1,
                                                             .batch = BATCH};

// Compares the slab or a gradient, tensor by tensor; none may be missing.
static void expect_tensors(const struct golden *golden, struct trainer_network *network, const float *slab,
                           const char *mode, const char *what)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(network, &count);
    char prefix[GOLDEN_NAME_MAX];
    snprintf(prefix, sizeof prefix, "%s/%s", mode, what);
    for (uint32_t t = 0; t < count; t++) {
        const float *expected =
            golden_find(golden, tensors[t].rows, tensors[t].columns, "%s/%s", prefix, tensors[t].name);
        golden_expect(slab + tensors[t].offset, expected, (size_t)tensors[t].rows * tensors[t].columns, mode,
                     what, tensors[t].name);
    }
}

static struct base_sample sample_of(const struct golden *golden, uint32_t row)
{
    const uint32_t n = STEPS * BATCH;
    const float *label = golden_find(golden, n, TASKS, "%s%s", "label", "") + row * TASKS;
    const float *mask = golden_find(golden, n, TASKS, "%s%s", "mask", "") + row * TASKS;
    const float *weight = golden_find(golden, n, TASKS, "%s%s", "weight", "") + row * TASKS;
    struct base_sample sample = {0};
    for (uint32_t k = 0; k < TASKS; k++) {
        sample.label[k] = label[k] > 0.5f;
        sample.weight[k] = weight[k];
        if (mask[k] > 0.5f) {
            sample.mask |= (uint8_t)(1u << k);
        }
    }
    return sample;
}

static void train(const struct golden *golden, struct trainer_network *network, const char *mode)
{
    struct trainer_loss_config config = {.tasks = TASKS,
                                         .stages = TASKS,
                                         .full = strcmp(mode, "full") == 0,
                                         .task_weight = {1.0f, 1.5f},
                                         .keep_negatives = 0.25f};
    const float *x = golden_find(golden, STEPS * BATCH, INPUTS, "%s%s", "x", "");
    float *gradient = base_alloc_aligned(trainer_network_size(network) * sizeof *gradient);
    float logits[STEPS * BATCH * TASKS], loss[STEPS * BATCH * TASKS], dlogits[BATCH * TASKS],
        dx[BATCH * INPUTS];
    for (uint32_t step = 0; step < STEPS; step++) {
        const float *rows = x + (size_t)step * BATCH * INPUTS;
        trainer_network_forward(network, rows, BATCH, logits + step * BATCH * TASKS);
        for (uint32_t r = 0; r < BATCH; r++) {
            uint32_t at = (step * BATCH + r) * TASKS;
            struct base_sample sample = sample_of(golden, step * BATCH + r);
            trainer_loss_sample(&config, logits + at, &sample, dlogits + r * TASKS, loss + at);
        }
        trainer_network_backward(network, rows, dlogits, BATCH, dx);
        if (step == 0) {
            trainer_network_gradient(network, rows, BATCH, gradient);
            expect_tensors(golden, network, gradient, mode, "gradient");
            golden_expect(dx, golden_find(golden, BATCH, INPUTS, "%s/%s", mode, "dx"), BATCH * INPUTS, mode,
                         "dx", "");
        }
        trainer_network_apply(network, rows, BATCH, rate / BATCH);
    }
    const uint32_t n = STEPS * BATCH;
    golden_expect(logits, golden_find(golden, n, TASKS, "%s/%s", mode, "logits"), n * TASKS, mode, "logits",
                 "");
    golden_expect(loss, golden_find(golden, n, TASKS, "%s/%s", mode, "loss"), n * TASKS, mode, "loss", "");
    expect_tensors(golden, network, trainer_network_slab(network), mode, "final");
    free(gradient);
}

static void run_mode(const char *mode)
{
    struct golden *golden = golden_read("ple.bin");
    struct base_error error;
    struct trainer_workers *workers = trainer_workers_new(2, &error);
    struct trainer_network *network = trainer_network_new(&network_config, true, workers, &error);
    cr_assert_not_null(network);
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(network, &count);
    for (uint32_t t = 0; t < count; t++) {
        memcpy(trainer_network_slab(network) + tensors[t].offset,
               golden_find(golden, tensors[t].rows, tensors[t].columns, "%s/%s", "initial", tensors[t].name),
               (size_t)tensors[t].rows * tensors[t].columns * sizeof(float));
    }
    train(golden, network, mode);
    trainer_network_free(network);
    trainer_workers_free(workers);
    golden_free(golden);
}

Test(trainer_network_golden, stop)
{
    run_mode("stop");
}

Test(trainer_network_golden, full)
{
    run_mode("full");
}
