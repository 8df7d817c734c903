// Every body against PyTorch over 20 steps: tests/golden/trainer/bodies.bin, made by make_bodies.py beside
// it.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/body.h"
#include "trainer_golden_support.h"

enum { INPUTS = 16, TASKS = 3, LOGITS = 4, BATCH = 16, STEPS = 20 };
static const float rate = 0.1875f;

static struct trainer_network_config config_of(enum trainer_body body)
{
    return (struct trainer_network_config){.body = body,
                                           .inputs = INPUTS,
                                           .tasks = TASKS,
                                           .levels = 2,
                                           .level = {{{16, 16}, 2, 2, 1}, {{16}, 1, 1, 2}},
                                           .tower_widths = {16},
                                           .tower_layers = 1,
                                           .outputs = {1, 2, 1},
                                           .soft_l2 = 0.125f,
                                           .batch = BATCH};
}

// The numbers of make_bodies.py's uniform(): multiples of 2^-16 in [-1/2, 1/2).
static float uniform(const char *name, uint32_t i)
{
    uint32_t h = 2166136261u;
    for (; *name; name++) {
        h = (h ^ (unsigned char)*name) * 16777619u;
    }
    h += i * 2654435761u;
    h = (h ^ h >> 15) * 2246822519u;
    h = (h ^ h >> 15) * 3266489917u;
    return (float)((h ^ h >> 16) >> 16) / 65536.0f - 0.5f;
}

static void set_weights(struct trainer_network *network)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(network, &count);
    for (uint32_t t = 0; t < count; t++) {
        float *weight = trainer_network_slab(network) + tensors[t].offset;
        bool stitch = strncmp(tensors[t].name, "stitch", 6) == 0;
        for (uint32_t i = 0; i < tensors[t].rows * tensors[t].columns; i++) {
            weight[i] = uniform(tensors[t].name, i) * (stitch || tensors[t].rows == 1 ? 0.25f : 1.0f);
            if (stitch) {
                weight[i] += i % (TASKS + 1) == 0 ? 0.875f : 0.0625f;
            }
        }
    }
}

static void run_body(const struct golden *golden, enum trainer_body body)
{
    struct base_error error;
    const char *mode = trainer_body_names[body];
    struct trainer_network_config config = config_of(body);
    struct trainer_workers *workers = trainer_workers_new(2, &error);
    struct trainer_network *network = trainer_network_new(&config, true, workers, &error);
    cr_assert_not_null(network);
    set_weights(network);
    float *logits = base_alloc_aligned(STEPS * BATCH * LOGITS * sizeof *logits);
    float dlogits[BATCH * LOGITS], *dx = base_alloc_aligned(BATCH * INPUTS * sizeof *dx);
    float *x = base_alloc_aligned(STEPS * BATCH * INPUTS * sizeof *x);
    for (uint32_t i = 0; i < STEPS * BATCH * INPUTS; i++) {
        x[i] = 4.0f * uniform("x", i);
    }
    for (uint32_t step = 0; step < STEPS; step++) {
        const float *rows = x + step * BATCH * INPUTS;
        uint32_t at = step * BATCH * LOGITS;
        trainer_network_forward(network, rows, BATCH, logits + at);
        for (uint32_t i = 0; i < BATCH * LOGITS; i++) {
            bool label = uniform("label", at + i) > 0.125f;
            dlogits[i] = 1.0f / (1.0f + expf(-logits[at + i])) - (label ? 1.0f : 0.0f);
        }
        trainer_network_backward(network, rows, dlogits, BATCH, dx);
        if (step == 0) {
            golden_expect(dx, golden_find(golden, BATCH, INPUTS, "%s/%s", mode, "dx"), BATCH * INPUTS, mode,
                          "dx", "");
        }
        cr_assert(trainer_network_finite(network, dx, BATCH));
        trainer_network_apply(network, rows, BATCH, rate / BATCH);
    }
    golden_expect(logits, golden_find(golden, STEPS * BATCH, LOGITS, "%s/%s", mode, "logits"),
                  STEPS * BATCH * LOGITS, mode, "logits", "");
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(network, &count);
    for (uint32_t t = 0; t < count; t++) {
        golden_expect(
            trainer_network_slab(network) + tensors[t].offset,
            golden_find(golden, tensors[t].rows, tensors[t].columns, "%s/final/%s", mode, tensors[t].name),
            (size_t)tensors[t].rows * tensors[t].columns, mode, "final", tensors[t].name);
    }
    free(x);
    free(dx);
    free(logits);
    trainer_network_free(network);
    trainer_workers_free(workers);
}

Test(trainer_body_golden, twenty_steps_of_every_body)
{
    struct golden *golden = golden_read("bodies.bin");
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        run_body(golden, body);
    }
    golden_free(golden);
}
