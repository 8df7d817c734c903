// Bits: they depend on neither the number of workers, nor the rows beside a row, nor whose buffers compute
// them.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/blas.h"
#include "trainer/network.h"
#include "trainer_rig_support.h"

enum { BATCH = 1024, INPUTS = 384, TASKS = 2 };

static struct base_error error;

// The reference model, and one whose widths are awkward: 400 inputs are two pieces, 144 columns two tiles.
static const struct trainer_network_config reference = {.inputs = INPUTS,
                                                        .tasks = TASKS,
                                                        .levels = 2,
                                                        .level = {{{256, 128}, 2, 2, 2}, {{128}, 1, 2, 2}},
                                                        .tower_widths = {64},
                                                        .tower_layers = 1,
                                                        .batch = BATCH,
                                                        .seed = 1};
static const struct trainer_network_config awkward = {
    .inputs = 400,
    .tasks = TASKS,
    .levels = 3,
    .level = {{{144, 48}, 2, 1, 3}, {{16}, 1, 0, 1}, {{432}, 1, 1, 1}},
    .tower_widths = {16, 144},
    .tower_layers = 2,
    .batch = BATCH,
    .seed = 2};

// What a number of steps leaves behind.
struct outcome {
    float *logits, *dx, *slab;
    size_t size;
};

// `steps` steps with `n` rows of a binary cross-entropy on every logit.
static struct outcome run_steps(const struct trainer_network_config *config, uint32_t workers, uint32_t n,
                                uint32_t steps)
{
    struct trainer_workers *team = trainer_workers_new(workers, &error);
    struct trainer_network *network = trainer_network_new(config, true, team, &error);
    cr_assert_not_null(network, "%s", error.text);
    size_t inputs = config->inputs, size = trainer_network_size(network);
    float *x = random_floats(BATCH * inputs, "x"), *dlogits = base_alloc_aligned(n * TASKS * sizeof *dlogits);
    struct outcome outcome = {.logits = base_alloc_aligned(n * TASKS * sizeof(float)),
                              .dx = base_alloc_aligned(n * inputs * sizeof(float)),
                              .slab = base_alloc_aligned(size * sizeof(float)),
                              .size = size};
    for (uint32_t s = 0; s < steps; s++) {
        const float *rows = x + s % 4 * 16 * inputs;
        trainer_network_forward(network, rows, n, outcome.logits);
        for (uint32_t i = 0; i < n * TASKS; i++) {
            dlogits[i] = (1.0f / (1.0f + expf(-outcome.logits[i])) - (float)(i % 3 == 0)) / (float)n;
        }
        trainer_network_backward(network, rows, dlogits, n, outcome.dx);
        cr_assert(trainer_network_finite(network, outcome.dx, n));
        trainer_network_apply(network, rows, n, 0.05f);
    }
    memcpy(outcome.slab, trainer_network_slab(network), size * sizeof(float));
    trainer_network_free(network);
    trainer_workers_free(team);
    free(x);
    free(dlogits);
    return outcome;
}

static void outcome_free(struct outcome *outcome)
{
    free(outcome->logits);
    free(outcome->dx);
    free(outcome->slab);
}

static void compare_teams(const struct trainer_network_config *config, uint32_t n, uint32_t steps)
{
    struct outcome alone = run_steps(config, 1, n, steps);
    const uint32_t teams[] = {2, 8};
    for (uint32_t t = 0; t < 2; t++) {
        struct outcome team = run_steps(config, teams[t], n, steps);
        cr_expect_eq(memcmp(alone.logits, team.logits, n * TASKS * sizeof(float)), 0, "logits, %u", teams[t]);
        cr_expect_eq(memcmp(alone.dx, team.dx, (size_t)n * config->inputs * sizeof(float)), 0, "dx, %u",
                     teams[t]);
        cr_expect_eq(memcmp(alone.slab, team.slab, alone.size * sizeof(float)), 0, "weights, %u", teams[t]);
        outcome_free(&team);
    }
    outcome_free(&alone);
}

Test(trainer_network_bits, one_step_is_the_same_for_every_team)
{
    compare_teams(&reference, 400, 1);
    compare_teams(&awkward, 777, 1);
    compare_teams(&awkward, 1, 1);
}

Test(trainer_network_bits, fifty_steps_are_the_same_for_every_team)
{
    compare_teams(&reference, 33, 50);
    compare_teams(&awkward, 50, 50);
}

static void compare_counts(const struct trainer_network_config *config)
{
    struct trainer_workers *workers = trainer_workers_new(2, &error);
    struct trainer_network *network = trainer_network_new(config, false, workers, &error);
    float *x = random_floats((size_t)BATCH * config->inputs, "x");
    float *all = base_alloc_aligned(BATCH * TASKS * sizeof *all),
          *some = base_alloc(BATCH * TASKS * sizeof *some);
    trainer_network_forward(network, x, BATCH, all);
    for (uint32_t n = 1; n < BATCH; n = n <= 70 ? n + 1 : n + 173) {
        trainer_network_forward(network, x, n, some);
        cr_assert_eq(memcmp(all, some, n * TASKS * sizeof *all), 0, "the first %u rows alone", n);
    }
    // A row alone, wherever it stood.
    for (uint32_t r = 0; r < BATCH; r += 41) {
        trainer_network_forward(network, x + (size_t)r * config->inputs, 1, some);
        cr_assert_eq(memcmp(all + r * TASKS, some, TASKS * sizeof *all), 0, "row %u alone", r);
    }
    // Other neighbours: every odd row replaced.
    float *mixed = random_floats((size_t)BATCH * config->inputs, "others");
    for (uint32_t r = 0; r < BATCH; r += 2) {
        memcpy(mixed + (size_t)r * config->inputs, x + (size_t)r * config->inputs,
               config->inputs * sizeof *x);
    }
    trainer_network_forward(network, mixed, 303, some);
    for (uint32_t r = 0; r < 303; r += 2) {
        cr_assert_eq(memcmp(all + r * TASKS, some + r * TASKS, TASKS * sizeof *all), 0, "row %u among others",
                     r);
    }
    trainer_network_free(network);
    trainer_workers_free(workers);
    free(x);
    free(all);
    free(some);
    free(mixed);
}

Test(trainer_network_bits, a_row_depends_neither_on_the_count_nor_on_its_neighbours)
{
    need_stable_rows();
    compare_counts(&reference);
    compare_counts(&awkward);
}

// A reader's network over the trainer's slab: the same bits, before and after a step, one row at a time.
Test(trainer_network_bits, a_shared_network_gives_the_owners_bits)
{
    need_stable_rows();
    enum { ROWS = 40 };
    struct trainer_workers *team = trainer_workers_new(2, &error), *own = trainer_workers_new(1, &error);
    struct trainer_network *network = trainer_network_new(&awkward, true, team, &error);
    struct trainer_network *reader = trainer_network_share(network, own, &error);
    cr_assert_not_null(reader);
    cr_expect_eq(trainer_network_size(reader), trainer_network_size(network));
    float *x = random_floats((size_t)ROWS * awkward.inputs, "x"),
          *dx = random_floats((size_t)ROWS * awkward.inputs, "y");
    float logits[ROWS * TASKS], first[ROWS * TASKS], read[TASKS];
    for (uint32_t step = 0; step < 2; step++) {
        trainer_network_forward(network, x, ROWS, logits);
        for (uint32_t r = 0; r < ROWS; r++) {
            trainer_network_forward(reader, x + (size_t)r * awkward.inputs, 1, read);
            cr_assert_eq(memcmp(read, logits + r * TASKS, sizeof read), 0);
        }
        if (step == 0) {
            memcpy(first, logits, sizeof first);
            trainer_network_backward(network, x, logits, ROWS, dx);
            trainer_network_apply(network, x, ROWS, 0.01f);
        }
    }
    cr_expect_neq(memcmp(first, logits, sizeof first), 0, "the step moved nothing");
    trainer_network_free(reader);
    trainer_network_free(network);
    trainer_workers_free(team);
    trainer_workers_free(own);
    free(x);
    free(dx);
}

// Initial weights are a function of seed and names alone.
Test(trainer_network_bits, initial_weights_come_from_the_seed)
{
    struct trainer_workers *workers = trainer_workers_new(1, &error);
    struct trainer_network_config config = awkward;
    struct trainer_network *a = trainer_network_new(&config, true, workers, &error);
    struct trainer_network *b = trainer_network_new(&config, false, workers, &error);
    config.seed++;
    struct trainer_network *c = trainer_network_new(&config, false, workers, &error);
    size_t bytes = trainer_network_size(a) * sizeof(float);
    cr_expect_eq(memcmp(trainer_network_slab(a), trainer_network_slab(b), bytes), 0);
    cr_expect_neq(memcmp(trainer_network_slab(a), trainer_network_slab(c), bytes), 0);
    trainer_network_free(a);
    trainer_network_free(b);
    trainer_network_free(c);
    trainer_workers_free(workers);
}
