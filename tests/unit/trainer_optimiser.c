// The optimisers' kernels: against twins in double precision over long runs, and against the mistakes that
// popular implementations make. Golden values of PyTorch: trainer_optimiser_golden.c.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "trainer/optimiser.h"

enum { DIM = 12, STATE_MAX = 2 * DIM + 2, LONG = 3000 };

static struct trainer_optimiser_step step_make(const struct trainer_optimiser_config *config,
                                               uint64_t examples, uint64_t steps)
{
    return (struct trainer_optimiser_step){.config = config,
                                           .rate = config->rate,
                                           .divisor = 1,
                                           .batch = 1,
                                           .examples = examples,
                                           .count = 1,
                                           .steps = steps};
}

// A vector in double precision, one formula of models.md after the other. The mistakes that it can make are
// named where they are.
struct twin {
    const struct trainer_optimiser_config *config;
    double w[DIM], a[DIM], b[DIM]; // v; n; z, n; m, v
    double n;                      // of a row
    uint64_t last, steps;
    bool forgets_start; // FTRL: z begins at 0
    bool sign_bit;      // FTRL: signbit for the sign (Monolith)
    bool no_time;       // half-lives by the row's steps, not by examples
};

static void twin_start(struct twin *twin, const float *w)
{
    const struct trainer_optimiser_config *c = twin->config;
    twin->n = c->initial;
    for (int i = 0; i < DIM; i++) {
        twin->w[i] = (double)w[i];
        twin->a[i] = c->kind == TRAINER_OPTIMISER_ADAGRAD ? c->initial : 0;
        twin->b[i] = 0;
        if (c->kind == TRAINER_OPTIMISER_FTRL) {
            double z = -twin->w[i] * ((c->beta + sqrt(c->initial)) / c->rate + c->lambda2);
            twin->a[i] = twin->forgets_start ? 0 : z;
            twin->b[i] = c->initial;
        }
    }
}

static double twin_sign(const struct twin *twin, double z)
{
    return twin->sign_bit ? signbit(z) != 0 : (z > 0) - (z < 0);
}

static void twin_ftrl(struct twin *twin, int i, double g)
{
    const struct trainer_optimiser_config *c = twin->config;
    double *z = &twin->a[i], *n = &twin->b[i];
    double sigma = (sqrt(*n + g * g) - sqrt(*n)) / c->rate;
    *z += g - sigma * twin->w[i];
    *n += g * g;
    twin->w[i] = fabs(*z) <= c->lambda1 ? 0
                                        : -(*z - twin_sign(twin, *z) * c->lambda1) /
                                              ((c->beta + sqrt(*n)) / c->rate + c->lambda2);
}

static void twin_step(struct twin *twin, const float *sum, uint64_t examples)
{
    const struct trainer_optimiser_config *c = twin->config;
    double elapsed = twin->no_time ? 1 : (double)(examples - twin->last);
    double left = c->half_life > 0 ? pow(2, -elapsed / c->half_life) : 1;
    twin->last = examples;
    twin->steps++;
    double mean = 0;
    for (int i = 0; i < DIM; i++) {
        mean += (double)sum[i] * (double)sum[i] / DIM;
    }
    twin->n = c->initial + (twin->n - c->initial) * left + mean;
    for (int i = 0; i < DIM; i++) {
        double g = (double)sum[i], *w = &twin->w[i], *a = &twin->a[i], *b = &twin->b[i];
        switch (c->kind) {
        case TRAINER_OPTIMISER_SGD:
            *w -= c->rate * g;
            break;
        case TRAINER_OPTIMISER_MOMENTUM:
            *a = c->momentum * *a + g;
            *w -= c->rate * *a;
            break;
        case TRAINER_OPTIMISER_ADAGRAD:
            *a = c->initial + (*a - c->initial) * left + g * g;
            *w -= c->rate * g / (sqrt(*a) + c->epsilon);
            break;
        case TRAINER_OPTIMISER_ROWWISE_ADAGRAD:
            *w -= c->rate * g / (sqrt(twin->n) + c->epsilon);
            break;
        case TRAINER_OPTIMISER_FTRL:
            twin_ftrl(twin, i, g);
            break;
        default:
            *a = c->beta1 * *a + (1 - c->beta1) * g;
            *b = c->beta2 * *b + (1 - c->beta2) * g * g;
            *w -= c->rate * (*a / (1 - pow(c->beta1, (double)twin->steps))) /
                  (sqrt(*b / (1 - pow(c->beta2, (double)twin->steps))) + c->epsilon);
        }
    }
}

static double twin_error(const struct twin *twin, const float *w)
{
    double most = 0, error = 0;
    for (int i = 0; i < DIM; i++) {
        most = fmax(most, fabs(twin->w[i]));
        error = fmax(error, fabs(twin->w[i] - (double)w[i]));
    }
    return error / fmax(most, 1e-3);
}

// A row over `steps` steps at random times, pulled towards targets that move, beside its twin. Returns the
// largest relative error.
static double row_run(const struct trainer_optimiser_config *config, struct twin *twin, uint32_t steps,
                      float start)
{
    uint64_t key = base_random_key(5, trainer_optimiser_name(config->kind)), counter = 0;
    float w[DIM], state[STATE_MAX], sum[DIM];
    for (int i = 0; i < DIM; i++) {
        w[i] = start * (float)base_random_normal(key, counter++);
    }
    trainer_optimiser_start_row(config, w, DIM, state);
    twin->config = config;
    twin_start(twin, w);
    double worst = 0;
    uint64_t examples = 0;
    for (uint32_t s = 0; s < steps; s++) {
        examples += 1 + base_random_bits(key, counter++) % 40;
        for (int i = 0; i < DIM; i++) {
            double target = sin(0.01 * (double)s + i);
            sum[i] = (float)(0.3 * ((double)w[i] - target) + 0.1 * base_random_normal(key, counter++));
        }
        struct trainer_optimiser_step step = step_make(config, examples, 0);
        trainer_optimiser_apply_row(&step, w, sum, DIM, state, 1);
        twin_step(twin, sum, examples);
        worst = fmax(worst, twin_error(twin, w));
    }
    return worst;
}

Test(trainer_optimiser, rows_follow_their_twins_for_long)
{
    for (int kind = 0; kind < TRAINER_OPTIMISERS; kind++) {
        for (int half_life = 0; half_life < 2; half_life++) {
            struct trainer_optimiser_config config =
                trainer_optimiser_usual((enum trainer_optimiser_kind)kind, 0.05);
            config.half_life = half_life ? 300 : 0;
            config.lambda1 = 0.05;
            config.lambda2 = 0.1;
            struct twin twin = {0};
            double worst = row_run(&config, &twin, LONG, 0.1f);
            cr_expect(worst < 5e-5, "%s: %g", trainer_optimiser_name(config.kind), worst);
        }
    }
}

// The half-life counts examples: a twin that counts the row's steps is somewhere else.
Test(trainer_optimiser, half_lives_are_of_examples)
{
    for (int kind = TRAINER_OPTIMISER_ADAGRAD; kind <= TRAINER_OPTIMISER_ROWWISE_ADAGRAD; kind++) {
        struct trainer_optimiser_config config =
            trainer_optimiser_usual((enum trainer_optimiser_kind)kind, 0.05);
        config.half_life = 200;
        struct twin right = {0}, wrong = {.no_time = true};
        cr_expect_lt(row_run(&config, &right, 400, 0.1f), 1e-5);
        cr_expect_gt(row_run(&config, &wrong, 400, 0.1f), 1e-2);
    }
}

// What is left of a gradient's square after a time: exactly a half after a half-life, and a row that was
// away for long is as one that is new.
Test(trainer_optimiser, accumulators_halve)
{
    struct trainer_optimiser_config config = trainer_optimiser_usual(TRAINER_OPTIMISER_ROWWISE_ADAGRAD, 0.05);
    config.initial = 0.25;
    config.half_life = 1000;
    float w[DIM] = {0}, state[STATE_MAX], sum[DIM], zero[DIM] = {0};
    for (int i = 0; i < DIM; i++) {
        sum[i] = 2;
    }
    trainer_optimiser_start_row(&config, w, DIM, state);
    cr_expect_eq(state[0], 0.25f);
    const uint64_t times[] = {7777, 8777, 8777, 10777, 1000000000000};
    const float n[] = {4.25f, 2.25f, 2.25f, 0.75f, 0.25f};
    for (size_t i = 0; i < 5; i++) {
        struct trainer_optimiser_step step = step_make(&config, times[i], 0);
        trainer_optimiser_apply_row(&step, w, i == 0 ? sum : zero, DIM, state, 1);
        cr_expect_eq(state[0], n[i], "%zu: %g", i, (double)state[0]);
    }
    // Time that goes backwards (a damaged cut) changes nothing.
    struct trainer_optimiser_step step = step_make(&config, 5, 0);
    trainer_optimiser_apply_row(&step, w, zero, DIM, state, 1);
    cr_expect_eq(state[0], 0.25f);
}

// Models.md, section 4: with z = 0 FTRL throws a random start away.
Test(trainer_optimiser, ftrl_keeps_a_start)
{
    struct trainer_optimiser_config config = trainer_optimiser_usual(TRAINER_OPTIMISER_FTRL, 0.1);
    config.lambda2 = 0.5;
    struct twin right = {0}, wrong = {.forgets_start = true};
    cr_expect_lt(row_run(&config, &right, 20, 1.0f), 1e-5);
    cr_expect_gt(row_run(&config, &wrong, 20, 1.0f), 0.1);
    // Without a gradient the start stays, to the last bits.
    float w[DIM], start[DIM], zero[DIM] = {0}, state[STATE_MAX];
    for (int i = 0; i < DIM; i++) {
        start[i] = w[i] = (float)base_random_normal(9, (uint64_t)i);
    }
    trainer_optimiser_start_row(&config, w, DIM, state);
    for (int s = 0; s < 3; s++) {
        struct trainer_optimiser_step step = step_make(&config, (uint64_t)s + 1, 0);
        trainer_optimiser_apply_row(&step, w, zero, DIM, state, 1);
        for (int i = 0; i < DIM; i++) {
            cr_expect(fabsf(w[i] - start[i]) <= 2.5e-7f * fabsf(start[i]));
        }
    }
}

// Monolith's scalar FTRL takes the sign bit for the sign: 1 below zero and 0 above, where -1 and 1 belong.
Test(trainer_optimiser, ftrl_takes_the_sign_right)
{
    struct trainer_optimiser_config config = trainer_optimiser_usual(TRAINER_OPTIMISER_FTRL, 0.1);
    config.lambda1 = 0.3;
    struct twin right = {0}, wrong = {.sign_bit = true};
    cr_expect_lt(row_run(&config, &right, 50, 0.0f), 1e-5);
    cr_expect_gt(row_run(&config, &wrong, 50, 0.0f), 0.05);
}

Test(trainer_optimiser, ftrl_leaves_small_weights_at_zero)
{
    struct trainer_optimiser_config config = trainer_optimiser_usual(TRAINER_OPTIMISER_FTRL, 0.1);
    config.lambda1 = 1;
    float w[4] = {0}, state[8], sum[4] = {0.5f, -0.5f, 1.5f, -1.5f};
    trainer_optimiser_start_row(&config, w, 4, state);
    struct trainer_optimiser_step step = step_make(&config, 1, 0);
    trainer_optimiser_apply_row(&step, w, sum, 4, state, 1);
    cr_expect(w[0] == 0 && w[1] == 0 && w[2] < 0 && w[3] > 0 && w[2] == -w[3]);
}

// A dense tensor's step equals that of rows that occur in every minibatch.
Test(trainer_optimiser, rows_and_tensors_agree)
{
    for (int kind = 0; kind < TRAINER_OPTIMISERS; kind++) {
        struct trainer_optimiser_config config =
            trainer_optimiser_usual((enum trainer_optimiser_kind)kind, 0.05);
        if (kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD) {
            continue;
        }
        config.half_life = 100;
        config.l2 = 0.01;
        float w[2][DIM], state[STATE_MAX], first[DIM], second[DIM], sum[DIM];
        for (int i = 0; i < DIM; i++) {
            w[0][i] = w[1][i] = (float)base_random_normal(3, (uint64_t)i);
        }
        uint32_t parts = trainer_optimiser_parts(&config);
        trainer_optimiser_start_row(&config, w[0], DIM, state);
        trainer_optimiser_start(&config, w[1], DIM, parts > 0 ? first : NULL, parts > 1 ? second : NULL);
        for (uint64_t s = 1; s <= 30; s++) {
            struct trainer_optimiser_step step = step_make(&config, 8 * s, s);
            step.batch = step.divisor = 8;
            step.count = 8;
            for (int i = 0; i < DIM; i++) {
                sum[i] = (float)base_random_normal(s, (uint64_t)i);
            }
            trainer_optimiser_apply_row(&step, w[0], sum, DIM, state, 8);
            trainer_optimiser_apply(&step, w[1], sum, DIM, first, second);
            cr_assert_eq(memcmp(w[0], w[1], sizeof w[0]), 0, "%s", trainer_optimiser_name(config.kind));
        }
    }
}

// The largest gradients that the network lets through (network.h) leave finite weights, and a row that works.
Test(trainer_optimiser, nothing_overflows)
{
    for (int kind = 0; kind < TRAINER_OPTIMISERS; kind++) {
        struct trainer_optimiser_config config =
            trainer_optimiser_usual((enum trainer_optimiser_kind)kind, 0.05);
        float w[DIM] = {1, -1}, state[STATE_MAX], sum[DIM];
        trainer_optimiser_start_row(&config, w, DIM, state);
        for (uint64_t s = 1; s <= 200; s++) {
            struct trainer_optimiser_step step = step_make(&config, s, s);
            for (int i = 0; i < DIM; i++) {
                sum[i] = s > 100 ? 1.0f : i % 2 ? 0x1p76f : -0x1p76f;
            }
            trainer_optimiser_apply_row(&step, w, sum, DIM, state, 1);
            for (int i = 0; i < DIM; i++) {
                cr_assert(isfinite(w[i]), "%s", trainer_optimiser_name(config.kind));
            }
        }
        for (uint32_t i = 0; i < trainer_optimiser_words(&config, DIM); i++) {
            cr_assert(isfinite(state[i]), "%s", trainer_optimiser_name(config.kind));
        }
    }
}

Test(trainer_optimiser, squares_are_exact_enough_and_in_one_order)
{
    float values[100];
    double expected = 0;
    for (int i = 0; i < 100; i++) {
        values[i] = (float)base_random_normal(4, (uint64_t)i);
    }
    for (size_t count = 0; count <= 100; count++) {
        double squares = trainer_optimiser_squares(values, count);
        cr_assert(fabs(squares - expected) <= 1e-14 * expected, "%zu", count);
        expected += count < 100 ? (double)values[count] * (double)values[count] : 0;
    }
}

Test(trainer_optimiser, sizes_of_state)
{
    static const uint32_t words[TRAINER_OPTIMISERS] = {0, 16, 16, 1, 32, 33}, parts[] = {0, 1, 1, 0, 2, 2};
    for (int kind = 0; kind < TRAINER_OPTIMISERS; kind++) {
        struct trainer_optimiser_config config =
            trainer_optimiser_usual((enum trainer_optimiser_kind)kind, 0.05);
        cr_expect_eq(trainer_optimiser_words(&config, 16), words[kind]);
        cr_expect_eq(trainer_optimiser_parts(&config), parts[kind]);
        config.half_life = 10;
        bool adagrad = kind == TRAINER_OPTIMISER_ADAGRAD || kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD;
        cr_expect_eq(trainer_optimiser_words(&config, 16), words[kind] + (adagrad ? 2 : 0));
    }
}

Test(trainer_optimiser, constants_that_cannot_be_are_refused)
{
    static const struct {
        enum trainer_optimiser_kind kind;
        size_t field;
        double value;
        const char *said;
    } cases[] = {
#define CASE(kind, field, value) \
    {TRAINER_OPTIMISER_##kind, offsetof(struct trainer_optimiser_config, field), value, #field}
        CASE(SGD, rate, -1),
        CASE(SGD, rate, 1025),
        CASE(SGD, rate, (double)NAN),
        CASE(SGD, l2, -1),
        CASE(MOMENTUM, momentum, 1),
        CASE(MOMENTUM, momentum, -0.1),
        CASE(ADAGRAD, initial, -1),
        CASE(ADAGRAD, epsilon, 0),
        CASE(ADAGRAD, half_life, -1),
        CASE(ADAGRAD, half_life, 0.5),
        CASE(ROWWISE_ADAGRAD, initial, (double)INFINITY),
        CASE(FTRL, rate, 0),
        CASE(FTRL, beta, 0),
        CASE(FTRL, lambda1, -1),
        CASE(FTRL, lambda2, -1),
        CASE(ADAM, beta1, 1),
        CASE(ADAM, beta2, 1),
        CASE(ADAM, epsilon, 0),
    };
    struct base_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trainer_optimiser_config config = trainer_optimiser_usual(cases[i].kind, 0.1);
        cr_assert_eq(trainer_optimiser_check(&config, true, "slot a", &error), 0, "%s", error.text);
        memcpy((char *)&config + cases[i].field, &cases[i].value, sizeof cases[i].value);
        cr_assert_eq(trainer_optimiser_check(&config, true, "slot a", &error), -1, "%zu", i);
        cr_expect(error.code == BASE_EINVAL && strstr(error.text, "slot a") &&
                      strstr(error.text, cases[i].said),
                  "%s", error.text);
    }
    struct trainer_optimiser_config config = trainer_optimiser_usual(TRAINER_OPTIMISER_ROWWISE_ADAGRAD, 0.1);
    cr_assert_eq(trainer_optimiser_check(&config, false, "dense", &error), -1);
    cr_expect_not_null(strstr(error.text, "for embedding rows"));
    config.kind = TRAINER_OPTIMISERS;
    cr_assert_eq(trainer_optimiser_check(&config, true, "dense", &error), -1);
}
