// The funnel's losses: against a long double twin over the grid of logits, by finite differences, and rule by
// rule.
#include "trainer/loss.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

static double relative(double value, long double expected)
{
    if (expected == 0.0L) {
        return fabs(value);
    }
    // What is below the smallest normal float has no relative precision in float32.
    if (fabsl(expected) < (long double)FLT_MIN) {
        return (double)(fabsl(value - expected) / (long double)FLT_MIN);
    }
    return (double)fabsl((value - expected) / expected);
}

// In long double the plain formulas do: log1p and expm1 of exact sums.
static long double twin_product(const float *a, uint32_t n, bool label, long double *da)
{
    long double sum = 0.0L;
    for (uint32_t i = 0; i < n; i++) {
        long double x = -(long double)a[i];
        sum += fmaxl(x, 0.0L) + log1pl(expl(-fabsl(x)));
    }
    for (uint32_t i = 0; i < n; i++) {
        long double sigmoid = 1.0L / (1.0L + expl((long double)a[i])); // of -a
        da[i] = label ? -sigmoid : sigmoid / expm1l(sum);
    }
    if (label) {
        return sum;
    }
    return sum > 0.5L ? -log1pl(-expl(-sum)) : -logl(-expm1l(-sum));
}

// The largest relative error of loss and gradients at one point.
static double error_at(const float *a, uint32_t n, bool label)
{
    float da[BASE_TASKS_MAX];
    long double expected[BASE_TASKS_MAX];
    float loss = trainer_loss_product(a, n, label, da);
    double most = relative(loss, twin_product(a, n, label, expected));
    for (uint32_t i = 0; i < n; i++) {
        most = fmax(most, relative(da[i], expected[i]));
    }
    return most;
}

// docs/losses.md states these bounds.
Test(trainer_loss, two_stages_over_the_grid)
{
    double most = 0.0;
    for (int i = -240; i <= 240; i++) {
        for (int j = -240; j <= 240; j++) {
            for (int label = 0; label < 2; label++) {
                const float a[] = {(float)i * 0.125f, (float)j * 0.125f};
                most = fmax(most, error_at(a, 2, label));
            }
        }
    }
    cr_log_info("two stages: largest relative error %.3g", most);
    cr_expect_lt(most, 6e-7, "%.3g", most);
}

Test(trainer_loss, chains_over_the_grid)
{
    for (uint32_t n = 1; n <= BASE_TASKS_MAX; n++) {
        double most = 0.0;
        for (uint64_t point = 0; point < 60000; point++) {
            float a[BASE_TASKS_MAX];
            for (uint32_t i = 0; i < n; i++) {
                a[i] = (float)(60.0 * base_random_uniform(n, point * n + i) - 30.0);
            }
            if (point % 3 == 0) { // all likely: where 1 - P cancels
                for (uint32_t i = 0; i < n; i++) {
                    a[i] = fabsf(a[i]);
                }
            }
            for (int label = 0; label < 2; label++) {
                most = fmax(most, error_at(a, n, label));
            }
        }
        cr_log_info("%u stages: largest relative error %.3g", n, most);
        cr_expect_lt(most, 1.2e-6, "%u stages: %.3g", n, most);
    }
}

// The tempting log(1 + e^a + e^b) - sp(a) - sp(b) has the wrong sign here.
Test(trainer_loss, a_known_cancellation)
{
    const float a[] = {-9.2f, -9.2f};
    float da[2];
    float loss = trainer_loss_product(a, 2, false, da);
    cr_expect_float_eq(loss / 1.0209e-8f, 1.0f, 1e-3f);
    cr_expect(loss > 0.0f && da[0] > 0.0f && da[0] == da[1]);
}

Test(trainer_loss, far_logits_stay_finite)
{
    const float far[] = {-3e38f, -1000.0f, -104.0f, -88.0f,  0.0f, 16.9f,
                         17.1f,  88.0f,    104.0f,  1000.0f, 3e38f};
    enum { FAR = sizeof far / sizeof *far };
    for (uint32_t i = 0; i < FAR; i++) {
        for (uint32_t j = 0; j < FAR; j++) {
            const float a[] = {far[i], far[j]};
            float da[2];
            float loss = trainer_loss_product(a, 2, false, da);
            cr_assert(isfinite(loss) && loss >= 0.0f && da[0] >= 0.0f && da[0] <= 1.0f && da[1] <= 1.0f,
                      "%g %g", (double)a[0], (double)a[1]);
            loss = trainer_loss_product(a, 2, true, da);
            if (a[0] > -1e38f || a[1] > -1e38f) {
                cr_assert(isfinite(loss) && da[0] <= 0.0f && da[0] >= -1.0f, "%g %g", (double)a[0],
                          (double)a[1]);
            }
        }
    }
    // Where the branches meet.
    for (float base = 16.99f; base < 17.02f; base += 0.001f) {
        const float a[] = {base, base + 2.0f, base + 0.5f};
        cr_assert_lt(error_at(a, 3, false), 6e-7, "%g", (double)base);
    }
    float da[2];
    const float bad[] = {1.0f, NAN};
    cr_expect(isnan(trainer_loss_product(bad, 2, false, da)) && isnan(da[0]) && isnan(da[1]));
    cr_expect(isnan(trainer_loss_product(bad, 2, true, da)) && isnan(da[1]));
}

Test(trainer_loss, softplus)
{
    for (float x = -30.0f; x <= 30.0f; x += 0.01f) {
        cr_assert_lt(relative(trainer_loss_softplus(x), log1pl(expl((long double)x))), 3e-7, "%g", (double)x);
    }
    cr_expect_eq(trainer_loss_softplus(1000.0f), 1000.0f);
    cr_expect_eq(trainer_loss_softplus(-1000.0f), 0.0f);
}

// A funnel of three stages and two side tasks: one on the second stage's product, one plain.
static struct trainer_loss_config funnel(bool full)
{
    return (struct trainer_loss_config){.tasks = 5,
                                        .stages = 3,
                                        .parent = {0, 0, 0, 1, UINT32_MAX},
                                        .full = full,
                                        .task_weight = {1.0f, 2.0f, 0.5f, 0.25f, 3.0f},
                                        .keep_negatives = 1.0f};
}

static const float logits[] = {-0.7f, 0.4f, 1.1f, -0.2f, 0.9f};

static struct base_sample sample_of(uint8_t mask, uint8_t labels)
{
    struct base_sample sample = {.mask = mask};
    for (uint32_t k = 0; k < BASE_TASKS_MAX; k++) {
        sample.label[k] = labels >> k & 1;
        sample.weight[k] = 1.0f + 0.125f * (float)k;
    }
    return sample;
}

// Task k's loss from probabilities.
static double twin_task(const struct trainer_loss_config *config, const double *a, uint32_t k, bool label,
                        double weight)
{
    double p = 1.0 / (1.0 + exp(-a[k]));
    uint32_t before = k < config->stages ? k : config->parent[k] == UINT32_MAX ? 0 : config->parent[k] + 1;
    for (uint32_t i = 0; i < before; i++) {
        p *= 1.0 / (1.0 + exp(-a[i]));
    }
    return -weight * config->task_weight[k] * (label ? log(p) : log1p(-p));
}

// Every mask and every labelling: losses by definition; full: gradient of the sum; stop: only the own logit's
// part.
Test(trainer_loss, samples_masks_weights_and_gradients)
{
    for (int full = 0; full < 2; full++) {
        struct trainer_loss_config config = funnel(full);
        for (uint32_t mask = 0; mask < 32; mask++) {
            for (uint32_t labels = 0; labels < 32; labels++) {
                struct base_sample sample = sample_of((uint8_t)mask, (uint8_t)labels);
                float dlogits[5] = {9, 9, 9, 9, 9}, loss[5] = {9, 9, 9, 9, 9};
                trainer_loss_sample(&config, logits, &sample, dlogits, loss);
                for (uint32_t k = 0; k < 5; k++) {
                    double expected = 0.0, a[5];
                    for (uint32_t i = 0; i < 5; i++) {
                        a[i] = logits[i];
                    }
                    if (mask >> k & 1) {
                        expected = twin_task(&config, a, k, labels >> k & 1, sample.weight[k]);
                    }
                    cr_assert_float_eq(loss[k], expected, 1e-5);
                    double gradient = 0.0;
                    for (uint32_t t = 0; t < 5; t++) {
                        if (!(mask >> t & 1) || (!full && t != k)) {
                            continue;
                        }
                        for (int sign = -1; sign <= 1; sign += 2) {
                            a[k] = logits[k] + sign * 1e-6;
                            gradient +=
                                sign * twin_task(&config, a, t, labels >> t & 1, sample.weight[t]) / 2e-6;
                        }
                        a[k] = logits[k];
                    }
                    cr_assert_float_eq(dlogits[k], gradient, 1e-5, "full %d mask %u labels %u logit %u", full,
                                       mask, labels, k);
                }
            }
        }
    }
}

// A chain of four stages: each product's loss and its gradient by every logit of the chain, cart and
// favourite beside it on different stages.
Test(trainer_loss, four_stages_with_side_tasks)
{
    static const float chain[] = {-0.7f, 0.4f, 1.1f, -0.2f, 0.9f, -1.6f};
    for (int full = 0; full < 2; full++) {
        struct trainer_loss_config config = {.tasks = 6,
                                             .stages = 4,
                                             .parent = {0, 0, 0, 0, 0, 2},
                                             .full = full,
                                             .task_weight = {1.0f, 2.0f, 0.5f, 0.25f, 3.0f, 1.5f},
                                             .keep_negatives = 1.0f};
        for (uint32_t labels = 0; labels < 64; labels++) {
            struct base_sample sample = sample_of(63, (uint8_t)labels);
            float dlogits[6], loss[6];
            double a[6];
            trainer_loss_sample(&config, chain, &sample, dlogits, loss);
            for (uint32_t k = 0; k < 6; k++) {
                a[k] = chain[k];
            }
            for (uint32_t k = 0; k < 6; k++) {
                cr_assert_float_eq(loss[k], twin_task(&config, a, k, labels >> k & 1, sample.weight[k]),
                                   1e-5);
                double gradient = 0.0;
                for (uint32_t t = 0; t < 6; t++) {
                    for (int sign = -1; sign <= 1 && (full || t == k); sign += 2) {
                        a[k] = chain[k] + sign * 1e-6;
                        gradient += sign * twin_task(&config, a, t, labels >> t & 1, sample.weight[t]) / 2e-6;
                    }
                    a[k] = chain[k];
                }
                cr_assert_float_eq(dlogits[k], gradient, 1e-5, "full %d labels %u logit %u", full, labels, k);
            }
        }
    }
}

// stop: a purchase's loss leaves the click logit's gradient exactly zero.
Test(trainer_loss, stop_moves_only_the_own_logit)
{
    struct trainer_loss_config config = funnel(false);
    for (uint32_t k = 0; k < 5; k++) {
        for (uint32_t label = 0; label < 2; label++) {
            struct base_sample sample = sample_of((uint8_t)(1u << k), label ? 31 : 0);
            float dlogits[5], loss[5];
            trainer_loss_sample(&config, logits, &sample, dlogits, loss);
            for (uint32_t i = 0; i < 5; i++) {
                cr_expect((dlogits[i] != 0.0f) == (i == k), "task %u logit %u", k, i);
            }
        }
    }
}

// What the mask hides is not read: labels and weights that would spoil everything change no bit.
Test(trainer_loss, masked_fields_are_not_read)
{
    struct trainer_loss_config config = funnel(true);
    struct base_sample clean = sample_of(5, 1), spoilt = clean;
    for (uint32_t k = 0; k < BASE_TASKS_MAX; k++) {
        if (!(5u >> k & 1)) {
            spoilt.label[k] = 255;
            spoilt.weight[k] = NAN;
        }
    }
    float dlogits[2][5], loss[2][5];
    trainer_loss_sample(&config, logits, &clean, dlogits[0], loss[0]);
    trainer_loss_sample(&config, logits, &spoilt, dlogits[1], loss[1]);
    cr_expect_eq(memcmp(dlogits[0], dlogits[1], sizeof dlogits[0]), 0);
    cr_expect_eq(memcmp(loss[0], loss[1], sizeof loss[0]), 0);
    cr_expect_eq(loss[0][1], 0.0f);
}

// With a share r of the negatives kept, the click's loss is taken at logit - log r; products and predictions
// are not.
Test(trainer_loss, kept_negatives_shift_the_first_stage_alone)
{
    struct trainer_loss_config config = funnel(true);
    config.keep_negatives = 0.1f;
    struct base_sample click = sample_of(1, 0), purchase = sample_of(2, 0);
    float dlogits[5], loss[5], conditional[5], products[5];
    trainer_loss_sample(&config, logits, &click, dlogits, loss);
    double shifted = logits[0] - log(0.1);
    cr_expect_float_eq(loss[0], log1p(exp(shifted)), 1e-5);
    cr_expect_float_eq(dlogits[0], 1.0 / (1.0 + exp(-shifted)), 1e-6);
    trainer_loss_sample(&config, logits, &purchase, dlogits, loss);
    double p = 1.0 / (1.0 + exp(-(double)logits[0])) / (1.0 + exp(-(double)logits[1]));
    cr_expect_float_eq(loss[1], -(double)purchase.weight[1] * 2.0 * log1p(-p), 1e-5);
    trainer_loss_probabilities(&config, logits, conditional, products);
    cr_expect_float_eq(conditional[0], 1.0 / (1.0 + exp(-(double)logits[0])), 1e-7);
    cr_expect_eq(products[0], conditional[0]);
}

// The expected gradient vanishes at the true logit when negatives are kept with probability r.
Test(trainer_loss, kept_negatives_have_the_true_fixed_point)
{
    const double p = 0.05, r = 0.1;
    struct trainer_loss_config config = {
        .tasks = 1, .stages = 1, .task_weight = {1.0f}, .keep_negatives = (float)r};
    float logit = (float)log(p / (1 - p)), positive, negative, loss;
    struct base_sample click = {.mask = 1, .label = {1}, .weight = {1.0f}},
                       none = {.mask = 1, .weight = {1.0f}};
    trainer_loss_sample(&config, &logit, &click, &positive, &loss);
    trainer_loss_sample(&config, &logit, &none, &negative, &loss);
    cr_expect_float_eq(p * (double)positive + (1 - p) * r * (double)negative, 0.0, 1e-8);
}

Test(trainer_loss, probabilities)
{
    struct trainer_loss_config config = funnel(false);
    float conditional[5], products[5], alone[5];
    trainer_loss_probabilities(&config, logits, conditional, products);
    double chain = 1.0, through[3];
    for (uint32_t k = 0; k < 5; k++) {
        double p = 1.0 / (1.0 + exp(-(double)logits[k]));
        cr_expect_float_eq(conditional[k], p, 1e-6);
        if (k < 3) {
            through[k] = chain *= p;
        }
        double expected = k < 3 ? through[k] : k == 3 ? through[1] * p : p;
        cr_expect_float_eq(products[k], expected, 1e-6, "task %u", k);
    }
    trainer_loss_probabilities(&config, logits, NULL, alone);
    cr_expect_eq(memcmp(alone, products, sizeof alone), 0);
    trainer_loss_probabilities(&config, logits, alone, NULL);
    cr_expect_eq(memcmp(alone, conditional, sizeof alone), 0);
}
