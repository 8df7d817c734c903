// Every optimiser against PyTorch: tests/golden/trainer/optimisers.bin, made by make_optimisers.py beside it.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "trainer/optimiser.h"
#include "trainer_golden_support.h"

enum { ROWS = 5, DIM = 8, STEPS = 20, BATCH = 4, SIZE = ROWS * DIM, STATE_MAX = 2 * DIM + 2 };

// The cases of make_optimisers.py.
static const struct {
    const char *name;
    struct trainer_optimiser_config config;
} cases[] = {
    {"sgd", {.kind = TRAINER_OPTIMISER_SGD, .rate = 0.3}},
    {"sgd_l2", {.kind = TRAINER_OPTIMISER_SGD, .rate = 0.3, .l2 = 0.05}},
    {"momentum", {.kind = TRAINER_OPTIMISER_MOMENTUM, .rate = 0.1, .momentum = 0.9}},
    {"momentum_l2", {.kind = TRAINER_OPTIMISER_MOMENTUM, .rate = 0.1, .momentum = 0.8, .l2 = 0.02}},
    {"adagrad", {.kind = TRAINER_OPTIMISER_ADAGRAD, .rate = 0.1, .initial = 0.1, .epsilon = 1e-8}},
    {"adagrad_l2",
     {.kind = TRAINER_OPTIMISER_ADAGRAD, .rate = 0.1, .initial = 0.5, .epsilon = 1e-6, .l2 = 0.02}},
    {"adagrad_half_life",
     {.kind = TRAINER_OPTIMISER_ADAGRAD, .rate = 0.1, .initial = 0.1, .epsilon = 1e-8, .half_life = 12}},
    {"rowwise", {.kind = TRAINER_OPTIMISER_ROWWISE_ADAGRAD, .rate = 0.05, .initial = 0.1, .epsilon = 1e-8}},
    {"rowwise_l2",
     {.kind = TRAINER_OPTIMISER_ROWWISE_ADAGRAD, .rate = 0.05, .initial = 0.1, .epsilon = 1e-8, .l2 = 0.03}},
    {"rowwise_half_life",
     {.kind = TRAINER_OPTIMISER_ROWWISE_ADAGRAD,
      .rate = 0.05,
      .initial = 0.1,
      .epsilon = 1e-8,
      .half_life = 7}},
    {"ftrl", {.kind = TRAINER_OPTIMISER_FTRL, .rate = 0.2, .initial = 0.1, .beta = 1}},
    {"ftrl_lambda",
     {.kind = TRAINER_OPTIMISER_FTRL,
      .rate = 0.3,
      .initial = 0.2,
      .beta = 0.5,
      .lambda1 = 0.4,
      .lambda2 = 0.2}},
    {"adam", {.kind = TRAINER_OPTIMISER_ADAM, .rate = 0.01, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8}},
    {"adam_l2",
     {.kind = TRAINER_OPTIMISER_ADAM,
      .rate = 0.02,
      .beta1 = 0.8,
      .beta2 = 0.95,
      .epsilon = 1e-6,
      .l2 = 0.05}},
};

// The files' gradients are means; ours are sums. BATCH is a power of two, so that nothing is rounded.
static void sums(const struct golden *golden, uint32_t step, float sum[SIZE])
{
    const float *gradient = golden_find(golden, STEPS * ROWS, DIM, "%s%s", "gradient", "") + step * SIZE;
    for (uint32_t i = 0; i < SIZE; i++) {
        sum[i] = gradient[i] * BATCH;
    }
}

static struct trainer_optimiser_step step_of(const struct trainer_optimiser_config *config, uint32_t step)
{
    return (struct trainer_optimiser_step){.config = config,
                                           .rate = config->rate,
                                           .divisor = BATCH,
                                           .batch = BATCH,
                                           .examples = (step + 1) * BATCH,
                                           .count = BATCH,
                                           .steps = step + 1};
}

Test(trainer_optimiser_golden, of_dense_tensors)
{
    struct golden *golden = golden_read("optimisers.bin");
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const struct trainer_optimiser_config *config = &cases[c].config;
        if (config->kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD) {
            continue;
        }
        float w[SIZE], first[SIZE], second[SIZE], sum[SIZE];
        memcpy(w, golden_find(golden, ROWS, DIM, "%s%s", "start", ""), sizeof w);
        uint32_t parts = trainer_optimiser_parts(config);
        trainer_optimiser_start(config, w, SIZE, parts > 0 ? first : NULL, parts > 1 ? second : NULL);
        const float *expected = golden_find(golden, STEPS * ROWS, DIM, "%s/%s", "dense", cases[c].name);
        for (uint32_t s = 0; s < STEPS; s++) {
            struct trainer_optimiser_step step = step_of(config, s);
            sums(golden, s, sum);
            // In two pieces, as tiles are.
            trainer_optimiser_apply(&step, w, sum, 13, first, second);
            trainer_optimiser_apply(&step, w + 13, sum + 13, SIZE - 13, first + 13, second + 13);
            golden_expect(w, expected + s * SIZE, SIZE, "dense", "weights", cases[c].name);
        }
    }
    golden_free(golden);
}

Test(trainer_optimiser_golden, of_rows)
{
    struct golden *golden = golden_read("optimisers.bin");
    const float *occurrences = golden_find(golden, STEPS, ROWS, "%s%s", "occurrences", "");
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const struct trainer_optimiser_config *config = &cases[c].config;
        float w[SIZE], state[ROWS][STATE_MAX], sum[SIZE];
        cr_assert(trainer_optimiser_words(config, DIM) <= STATE_MAX);
        memcpy(w, golden_find(golden, ROWS, DIM, "%s%s", "start", ""), sizeof w);
        for (uint32_t r = 0; r < ROWS; r++) {
            trainer_optimiser_start_row(config, w + r * DIM, DIM, state[r]);
        }
        const float *expected = golden_find(golden, STEPS * ROWS, DIM, "%s/%s", "rows", cases[c].name);
        for (uint32_t s = 0; s < STEPS; s++) {
            struct trainer_optimiser_step step = step_of(config, s);
            sums(golden, s, sum);
            for (uint32_t r = 0; r < ROWS; r++) {
                uint32_t count = (uint32_t)occurrences[s * ROWS + r];
                if (count) {
                    trainer_optimiser_apply_row(&step, w + r * DIM, sum + r * DIM, DIM, state[r], count);
                }
                golden_expect(w + r * DIM, expected + s * SIZE + r * DIM, DIM, "rows", "weights",
                              cases[c].name);
            }
        }
    }
    golden_free(golden);
}
