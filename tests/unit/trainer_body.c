// Every body against its twin: forward, gradients by finite differences, steps, bits, readers. The loss here
// is a fixed linear function of the logits, and soft_l2's penalty.
#include "trainer/body.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer/blas.h"
#include "trainer_network_twin.h"
#include "trainer_rig_support.h"

static struct base_error error;

enum { BATCH = 40, ROWS = 37, INPUTS = 32, LOGITS_MAX = 16 };

// One configuration for all bodies; a second has one task alone and wide, awkward layers without towers'
// layers.
static struct trainer_network_config config_of(enum trainer_body body, bool single)
{
    struct trainer_network_config config = {.body = body,
                                            .inputs = INPUTS,
                                            .tasks = 3,
                                            .levels = 2,
                                            .level = {{{32, 48}, 2, 2, 1}, {{16}, 1, 1, 2}},
                                            .tower_widths = {16},
                                            .tower_layers = 1,
                                            .outputs = {1, 2, 0},
                                            .soft_l2 = 0.25f,
                                            .batch = BATCH,
                                            .seed = 11};
    if (single) {
        config.tasks = 1;
        config.outputs[0] = 0;
        config.tower_layers = 0;
        config.level[1] = (struct trainer_level_config){{144}, 1, 2, 1};
    }
    return config;
}

static struct rig rig_stirred(struct trainer_network_config config, uint32_t workers)
{
    struct rig rig = rig_make(&config, workers);
    cr_assert_leq(rig.width, LOGITS_MAX);
    rig_stir(&rig);
    return rig;
}

// The loss of row r whose inputs are given.
static double row_loss(const struct rig *rig, const struct twin *twin, uint32_t r, const double *row)
{
    double logits[LOGITS_MAX], sum = 0.0;
    twin_forward(twin, row, logits);
    for (uint32_t j = 0; j < rig->width; j++) {
        sum += rig->dlogits[r * rig->width + j] * logits[j];
    }
    return sum;
}

static double batch_loss(const struct rig *rig, const struct twin *twin, uint32_t n)
{
    double sum = n * twin_penalty(twin);
    for (uint32_t r = 0; r < n; r++) {
        double row[INPUTS];
        rig_row(rig, r, row);
        sum += row_loss(rig, twin, r, row);
    }
    return sum;
}

static void expect_forward(struct trainer_network_config config)
{
    struct rig rig = rig_stirred(config, 2);
    struct twin twin = twin_make(&rig.config, rig.network);
    trainer_network_forward(rig.network, rig.x, ROWS, rig.logits);
    for (uint32_t r = 0; r < ROWS; r++) {
        double row[INPUTS], logits[LOGITS_MAX];
        rig_row(&rig, r, row);
        twin_forward(&twin, row, logits);
        for (uint32_t j = 0; j < rig.width; j++) {
            cr_assert_float_eq(rig.logits[r * rig.width + j], logits[j], 1e-5 * (1.0 + fabs(logits[j])),
                               "%s row %u logit %u", trainer_body_names[config.body], r, j);
        }
    }
    twin_free(&twin);
    rig_free(&rig);
}

// Central differences of the twin's loss, by a few weights of every tensor and by a few inputs.
static void expect_gradients(struct trainer_network_config config)
{
    enum { N = 5, PROBES = 4 };
    const double step = 1e-6;
    struct rig rig = rig_stirred(config, 1);
    struct twin twin = twin_make(&rig.config, rig.network);
    const char *name = trainer_body_names[config.body];
    rig_backward(&rig, N);
    trainer_network_gradient(rig.network, rig.x, N, rig.gradient);
    for (uint32_t t = 0; t < twin.count; t++) {
        const struct trainer_tensor *tensor = &twin.tensors[t];
        for (uint32_t probe = 0; probe < PROBES; probe++) {
            size_t at =
                tensor->offset + base_random_bits(t, probe) % ((uint64_t)tensor->rows * tensor->columns);
            double weight = twin.weights[at];
            twin.weights[at] = weight + step;
            double above = batch_loss(&rig, &twin, N);
            twin.weights[at] = weight - step;
            double expected = (above - batch_loss(&rig, &twin, N)) / (2 * step);
            twin.weights[at] = weight;
            cr_assert_float_eq(rig.gradient[at], expected, 2e-5 * (1.0 + fabs(expected)),
                               "%s %s: %.9g, not %.9g", name, tensor->name, (double)rig.gradient[at],
                               expected);
        }
    }
    for (uint32_t i = 0; i < N * INPUTS; i += 3) {
        double row[INPUTS], difference = 0.0;
        for (int sign = -1; sign <= 1; sign += 2) {
            rig_row(&rig, i / INPUTS, row);
            row[i % INPUTS] += sign * step;
            difference += sign * row_loss(&rig, &twin, i / INPUTS, row) / (2 * step);
        }
        cr_assert_float_eq(rig.dx[i], difference, 2e-5 * (1.0 + fabs(difference)), "%s dx %u", name, i);
    }
    twin_free(&twin);
    rig_free(&rig);
}

Test(trainer_body, forward_matches_the_definition)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        expect_forward(config_of(body, false));
        expect_forward(config_of(body, true));
    }
}

Test(trainer_body, gradients_match_finite_differences)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        expect_gradients(config_of(body, false));
        expect_gradients(config_of(body, true));
    }
}

// apply is a step along the gradient, up to rounding; nothing moves before it; every tensor learns something.
// A minibatch of one row too.
Test(trainer_body, apply_is_a_step_along_the_gradient)
{
    for (int choice = 0; choice < 2 * TRAINER_BODIES; choice++) {
        struct rig rig = rig_stirred(config_of((enum trainer_body)(choice / 2), false), 2);
        uint32_t n = choice % 2 ? 1 : ROWS;
        size_t size = trainer_network_size(rig.network);
        float *before = base_alloc(size * sizeof *before), *slab = trainer_network_slab(rig.network);
        memcpy(before, slab, size * sizeof *before);
        rig_backward(&rig, n);
        trainer_network_gradient(rig.network, rig.x, n, rig.gradient);
        cr_expect_eq(memcmp(before, slab, size * sizeof *before), 0, "a weight moved before the step");
        cr_expect(trainer_network_finite(rig.network, rig.dx, n));
        trainer_network_apply(rig.network, rig.x, n, 0.03125f);
        for (size_t i = 0; i < size; i++) {
            double expected = before[i] - 0.03125 * rig.gradient[i];
            cr_assert_float_eq(slab[i], expected, 1e-6 * (1.0 + fabs(expected)), "%s at %zu",
                               trainer_body_names[choice / 2], i);
        }
        uint32_t count;
        const struct trainer_tensor *tensors = trainer_network_tensors(rig.network, &count);
        for (uint32_t t = 0; n > 1 && t < count; t++) {
            float most = 0.0f;
            for (uint32_t i = 0; i < tensors[t].rows * tensors[t].columns; i++) {
                most = fmaxf(most, fabsf(rig.gradient[tensors[t].offset + i]));
            }
            cr_expect_gt(most, 0.0f, "%s: %s learns nothing", trainer_body_names[choice / 2],
                         tensors[t].name);
        }
        free(before);
        rig_free(&rig);
    }
}

// The penalty draws the tasks' weights together and leaves their mean where it is.
Test(trainer_body, a_penalty_alone_draws_to_the_mean)
{
    struct rig rig = rig_stirred(config_of(TRAINER_BODY_SOFT_L2, false), 2);
    memset(rig.dlogits, 0, BATCH * rig.width * sizeof *rig.dlogits);
    struct twin before = twin_make(&rig.config, rig.network);
    rig_backward(&rig, ROWS);
    // A step of rate r: distances shrink by 1 - r n 2 alpha T; here by 1/2.
    trainer_network_apply(rig.network, rig.x, ROWS, 0.5f / (ROWS * 2 * 0.25f * 3));
    struct twin after = twin_make(&rig.config, rig.network);
    cr_expect_float_eq(twin_penalty(&after) / twin_penalty(&before), 0.25, 1e-5);
    const double *was[3], *is[3];
    for (uint32_t k = 0; k < 3; k++) {
        const char *names[] = {"task0.bottom.layer1.weight", "task1.bottom.layer1.weight",
                               "task2.bottom.layer1.weight"};
        was[k] = twin_tensor(&before, names[k], 32, 48);
        is[k] = twin_tensor(&after, names[k], 32, 48);
    }
    for (uint32_t i = 0; i < 32 * 48; i++) {
        cr_assert_float_eq(was[0][i] + was[1][i] + was[2][i], is[0][i] + is[1][i] + is[2][i], 1e-6);
    }
    twin_free(&before);
    twin_free(&after);
    rig_free(&rig);
}

// `steps` steps of a cross-entropy on every logit; the slab, to be freed.
static float *train(struct trainer_network_config config, uint32_t workers, uint32_t steps)
{
    struct rig rig = rig_stirred(config, workers);
    for (uint32_t s = 0; s < steps; s++) {
        uint32_t n = s % 3 ? ROWS : BATCH;
        trainer_network_forward(rig.network, rig.x, n, rig.logits);
        for (uint32_t i = 0; i < n * rig.width; i++) {
            rig.dlogits[i] = 1.0f / (1.0f + expf(-rig.logits[i])) - (float)((i + s) % 3 == 0);
        }
        trainer_network_backward(rig.network, rig.x, rig.dlogits, n, rig.dx);
        cr_assert(trainer_network_finite(rig.network, rig.dx, n));
        trainer_network_apply(rig.network, rig.x, n, 0.1f / BATCH);
    }
    size_t bytes = trainer_network_size(rig.network) * sizeof(float);
    float *slab = memcpy(base_alloc(bytes), trainer_network_slab(rig.network), bytes);
    rig_free(&rig);
    return slab;
}

Test(trainer_body, any_number_of_workers_gives_the_same_bits)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        struct trainer_network_config config = config_of(body, false);
        config.level[0].widths[1] = 144; // two tiles
        struct rig rig = rig_stirred(config, 1);
        size_t bytes = trainer_network_size(rig.network) * sizeof(float);
        rig_free(&rig);
        float *alone = train(config, 1, 20);
        for (uint32_t workers = 2; workers <= 8; workers *= 4) {
            float *team = train(config, workers, 20);
            cr_expect_eq(memcmp(alone, team, bytes), 0, "%s, %u workers", trainer_body_names[body], workers);
            free(team);
        }
        free(alone);
    }
}

// A shared, forward-only network has the owner's bits, and a row's do not depend on the rows beside it.
Test(trainer_body, readers_and_lone_rows_have_the_same_bits)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        struct rig rig = rig_stirred(config_of(body, false), 2);
        struct trainer_workers *alone = trainer_workers_new(1, &error);
        struct trainer_network *reader = trainer_network_share(rig.network, alone, &error);
        float logits[BATCH * LOGITS_MAX], lone[LOGITS_MAX];
        trainer_network_forward(rig.network, rig.x, ROWS, rig.logits);
        trainer_network_forward(reader, rig.x, ROWS, logits);
        cr_expect_eq(memcmp(logits, rig.logits, ROWS * rig.width * sizeof *logits), 0, "%s",
                     trainer_body_names[body]);
        for (uint32_t r = 0; trainer_blas_rows_stable() && r < ROWS; r += 6) {
            trainer_network_forward(reader, rig.x + r * INPUTS, 1, lone);
            cr_expect_eq(memcmp(lone, &rig.logits[r * rig.width], rig.width * sizeof *lone), 0, "%s row %u",
                         trainer_body_names[body], r);
        }
        trainer_network_free(reader);
        trainer_workers_free(alone);
        rig_free(&rig);
    }
}

Test(trainer_body, finite_sees_a_bad_weight_in_every_tensor)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        struct rig rig = rig_stirred(config_of(body, false), 1);
        float *slab = trainer_network_slab(rig.network);
        uint32_t count;
        const struct trainer_tensor *tensors = trainer_network_tensors(rig.network, &count);
        for (uint32_t t = 0; t < count; t++) {
            float good = slab[tensors[t].offset];
            slab[tensors[t].offset] = NAN;
            rig_backward(&rig, ROWS);
            bool seen = !trainer_network_finite(rig.network, rig.dx, ROWS);
            for (uint32_t j = 0; j < rig.width; j++) {
                seen |= isnan(rig.logits[j]); // an output's bias: the losses are not finite then
            }
            cr_expect(seen, "%s %s", trainer_body_names[body], tensors[t].name);
            slab[tensors[t].offset] = good;
        }
        rig_backward(&rig, ROWS);
        cr_expect(trainer_network_finite(rig.network, rig.dx, ROWS));
        rig_free(&rig);
    }
}

Test(trainer_body, counts_its_operations)
{
    // Inputs 32, chain 32-48-16, three tasks with a tower of 16 and four outputs; level 0 has 2 own experts a
    // task and 1 shared, level 1 has 1 and 2.
    const double chain = 32 * 32 + 32 * 48 + 48 * 16, low = 32 * 32 + 32 * 48, high = 48 * 16;
    const double tower = 3 * 16 * 16 + 4 * 16;
    const double expected[TRAINER_BODIES] = {
        [TRAINER_BODY_SHARED_BOTTOM] = chain + tower,
        [TRAINER_BODY_SOFT_L2] = 3 * chain + tower,
        [TRAINER_BODY_CROSS_STITCH] = 3 * chain + 9 * (32 + 48 + 16) + tower,
        [TRAINER_BODY_CUSTOMIZED] = 4 * chain + 3 * 32 * 16 + 4 * 16,
        [TRAINER_BODY_MOE] = 7 * chain + 32 * 7 + tower,
        [TRAINER_BODY_MMOE] = 7 * chain + 3 * 32 * 7 + tower,
        [TRAINER_BODY_ML_MMOE] = 7 * low + 5 * 32 * 7 + 5 * high + 3 * 32 * 5 + tower,
        [TRAINER_BODY_CGC] = 7 * chain + 3 * 32 * 3 + tower,
        [TRAINER_BODY_PLE] = 7 * low + 3 * 32 * 3 + 32 * 7 + 5 * high + 3 * 48 * 3 + tower,
    };
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        struct trainer_network_config config = config_of(body, false);
        cr_expect_eq(trainer_network_flop_forward(&config), 2 * expected[body], "%s: %g, not %g",
                     trainer_body_names[body], trainer_network_flop_forward(&config), 2 * expected[body]);
        cr_expect_eq(trainer_network_flop_step(&config), 6 * expected[body]);
    }
}

static void expect_impossible(struct trainer_network_config config, const char *named)
{
    error = (struct base_error){0};
    cr_expect_null(trainer_body_new(&config, &error), "%s %s", trainer_body_names[config.body], named);
    cr_expect_eq(error.code, BASE_EINVAL);
    cr_expect(strstr(error.text, named), "\"%s\" does not name %s", error.text, named);
}

Test(trainer_body, needs_the_experts_that_it_reads_and_no_more)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        struct trainer_network_config config = config_of(body, false);
        struct trainer_graph *graph;
        bool experts = body < TRAINER_BODY_CUSTOMIZED,
             levels = body == TRAINER_BODY_PLE || body == TRAINER_BODY_ML_MMOE;
        for (uint32_t l = 0; l < 2; l++) { // a level without any experts
            struct trainer_network_config none = config;
            none.level[l].per_task = none.level[l].shared = 0;
            if (experts && (l == 0 || levels)) {
                expect_impossible(none, l == 0 ? "level 0: shared experts" : "level 1: shared experts");
            } else {
                graph = trainer_body_new(&none, &error);
                cr_expect_not_null(graph, "%s %u: %s", trainer_body_names[body], l, error.text);
                trainer_graph_free(graph);
            }
        }
        config.level[0].per_task = 0; // shared ones alone are enough for all
        graph = trainer_body_new(&config, &error);
        cr_expect_not_null(graph, "%s: %s", trainer_body_names[body], error.text);
        trainer_graph_free(graph);
        config.outputs[2] = TRAINER_OUTPUTS_MAX + 1;
        expect_impossible(config, "outputs");
    }
    struct trainer_network_config config = config_of(TRAINER_BODY_SOFT_L2, false);
    const float bad[] = {-0.125f, NAN, INFINITY, 1025.0f};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        config.soft_l2 = bad[i];
        expect_impossible(config, "soft_l2");
    }
    config.body = TRAINER_BODIES;
    cr_expect_null(trainer_body_new(&config, &error));
    cr_expect(strstr(error.text, "body"), "%s", error.text);
}

// A single-task baseline by weights: a task whose loss is 0 moves nothing of its own. Stitches pass others'
// gradients into its bottom, and the penalty draws at it.
Test(trainer_body, a_task_without_loss_moves_nothing_of_its_own)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        struct rig rig = rig_stirred(config_of(body, false), 1);
        for (uint32_t r = 0; r < ROWS; r++) { // task 1's two logits
            rig.dlogits[r * rig.width + 1] = rig.dlogits[r * rig.width + 2] = 0.0f;
        }
        rig_backward(&rig, ROWS);
        trainer_network_gradient(rig.network, rig.x, ROWS, rig.gradient);
        uint32_t count;
        const struct trainer_tensor *tensors = trainer_network_tensors(rig.network, &count);
        for (uint32_t t = 0; t < count; t++) {
            bool own = strstr(tensors[t].name, "task1.tower") || strstr(tensors[t].name, "task1.gate");
            own |= strstr(tensors[t].name, "task1.bottom") && body == TRAINER_BODY_CUSTOMIZED;
            own |= strstr(tensors[t].name, "level1.task1.expert") != NULL;
            for (uint32_t i = 0; own && i < tensors[t].rows * tensors[t].columns; i++) {
                cr_assert_eq(rig.gradient[tensors[t].offset + i], 0.0f, "%s %s", trainer_body_names[body],
                             tensors[t].name);
            }
        }
        rig_free(&rig);
    }
}
