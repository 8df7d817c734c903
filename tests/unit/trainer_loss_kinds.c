// Losses of values, the two branches of ESM2, the corrections of the conversion rate: kernels against long
// double, samples against finite differences of their definitions.
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "trainer/loss.h"

static double relative(double value, long double expected)
{
    long double size = fabsl(expected) < (long double)FLT_MIN ? (long double)FLT_MIN : fabsl(expected);
    return (double)(fabsl((long double)value - expected) / size);
}

static float point(uint64_t number, uint32_t place, double width)
{
    return (float)(2 * width * base_random_uniform(place + 77, number) - width);
}

static long double sigmoidl(long double x)
{
    return 1 / (1 + expl(-x));
}

// ---- ESM2's branches ----

// The logit of V and its derivatives from probabilities, in long double.
static long double twin_branch(const float a[3], long double dv[3])
{
    long double x[3], y[3], n[3];
    for (uint32_t i = 0; i < 3; i++) {
        x[i] = (long double)a[i];
        y[i] = sigmoidl(x[i]);
        n[i] = sigmoidl(-x[i]);
    }
    long double with = y[0] * y[1], without = n[0] * y[2], v = with + without;
    long double not = y[0] * n[1] + n[0] * n[2];
    // y3 - y4 = y3 (1 - y4) (1 - e^(a4 - a3))
    dv[0] = -y[1] * n[2] * expm1l(x[2] - x[1]) * y[0] * n[0] / (v * not );
    dv[1] = y[0] * y[1] * n[1] / (v * not );
    dv[2] = n[0] * y[2] * n[2] / (v * not );
    return logl(v) - logl(not );
}

// docs/losses.md states these bounds.
Test(trainer_loss_kinds, branches_over_the_grid)
{
    double most = 0, value = 0, through = 0;
    for (uint64_t number = 0; number < 60000; number++) {
        float a[3], dv[3], da[2];
        for (uint32_t i = 0; i < 3; i++) {
            a[i] = point(number, i, 30);
        }
        if (number % 5 == 0) {
            a[2] = a[1] + 1e-3f * point(number, 3, 1); // where y3 - y4 cancels
        }
        long double expected[3], logit = twin_branch(a, expected);
        float v = trainer_loss_branch(a, dv);
        value = fmax(value, fabs((double)(v - logit)) / fmax(1, fabs((double)logit)));
        for (uint32_t i = 0; i < 3; i++) {
            most = fmax(most, relative(dv[i], expected[i]));
        }
        // The loss of P(click) V, from the logits to the gradient by each.
        const float click = point(number, 4, 30), pair[] = {click, v};
        for (int label = 0; label < 2; label++) {
            float loss = trainer_loss_product(pair, 2, label, da);
            long double sum = log1pl(expl(-(long double)click)) + log1pl(expl(-logit));
            long double is = label ? sum : sum > 0.5L ? -log1pl(-expl(-sum)) : -logl(-expm1l(-sum));
            through = fmax(through, relative(loss, is));
        }
    }
    cr_log_info("branch: logit %.3g, derivatives %.3g, loss %.3g", value, most, through);
    cr_expect_lt(value, 6e-8, "%.3g", value);
    cr_expect_lt(most, 2e-7, "%.3g", most);
    cr_expect_lt(through, 2.4e-6, "%.3g", through);
}

Test(trainer_loss_kinds, branches_far_out)
{
    static const float far[] = {-3e38f, -1000.0f, -88.0f, 0.0f, 88.0f, 1000.0f, 3e38f};
    enum { FAR = sizeof far / sizeof *far };
    for (uint32_t i = 0; i < FAR * FAR * FAR; i++) {
        const float a[] = {far[i % FAR], far[i / FAR % FAR], far[i / FAR / FAR]};
        float dv[3], v = trainer_loss_branch(a, dv);
        cr_assert(isfinite(v) && fabsf(dv[0]) <= 1 && dv[1] >= 0 && dv[1] <= 1 && dv[2] >= 0 && dv[2] <= 1,
                  "%g %g %g", (double)a[0], (double)a[1], (double)a[2]);
    }
    float dv[3];
    const float bad[] = {1, NAN, 2};
    cr_expect(isnan(trainer_loss_branch(bad, dv)) && isnan(dv[1]));
}

// With equal branches the action says nothing: V is that probability, and a2 has no gradient at all.
Test(trainer_loss_kinds, equal_branches)
{
    for (float x = -20; x <= 20; x += 0.25f) {
        const float a[] = {0.7f, x, x};
        float dv[3], v = trainer_loss_branch(a, dv);
        cr_assert(fabsf(v - x) <= 1e-6f * fmaxf(1, fabsf(x)) && dv[0] == 0, "%g", (double)x);
        cr_assert_float_eq(dv[1] + dv[2], 1, 1e-6);
    }
}

// ---- values ----

Test(trainer_loss_kinds, values_over_the_grid)
{
    double squared = 0, poisson = 0, lognormal = 0, slope = 0;
    for (uint64_t number = 0; number < 60000; number++) {
        float a[] = {point(number, 0, 12), point(number, 1, 12)}, da[2];
        float value = expf(point(number, 2, 10));
        long double x = (long double)a[0], y = (long double)value;
        long double d = x - log1pl(y);
        // Differences of what is close are exact to the last digit of their terms, no further.
        double close = fabs((double)x) + (double)log1pl(y);
        float loss = trainer_loss_squared(a[0], value, da);
        squared = fmax(squared, fabs((double)(da[0] - 2 * d)) / close);
        squared = fmax(squared, fabs((double)(loss - d * d)) / (close * close));
        loss = trainer_loss_poisson(a[0], value, da);
        long double rate = expl(x);
        poisson = fmax(poisson, (double)(fabsl(da[0] - (rate - y)) / (rate + y)));
        poisson = fmax(poisson, (double)(fabsl(loss - (rate - y * x)) / (rate + y * fabsl(x))));
        loss = trainer_loss_lognormal(a, value, da);
        long double s = 0.1L + log1pl(expl((long double)a[1])), l = logl(y), z = (l - x) / s;
        long double size = fabsl(l) + fabsl(x);
        long double nll = z * z / 2 + logl(s) + l + 0.918938533204672741780L;
        lognormal = fmax(lognormal, (double)(fabsl(loss - nll) / (1 + size + size * size / (s * s))));
        slope = fmax(slope, (double)(fabsl(da[0] + z / s) * s * s / size));
        long double ds = (1 - z * z) / s * sigmoidl((long double)a[1]);
        long double scale = (1 + size * size / (s * s)) / s * sigmoidl((long double)a[1]);
        slope = fmax(slope, (double)(fabsl(da[1] - ds) / scale));
    }
    cr_log_info("squared %.3g, poisson %.3g, log-normal %.3g, its gradient %.3g", squared, poisson, lognormal,
                slope);
    cr_expect_lt(fmax(squared, poisson), 3e-7, "%.3g %.3g", squared, poisson);
    cr_expect_lt(fmax(lognormal, slope), 1e-6, "%.3g %.3g", lognormal, slope);
}

Test(trainer_loss_kinds, expectations)
{
    for (float x = -12; x <= 12; x += 0.5f) {
        const float a[] = {x, 0.25f * x};
        double sigma = 0.1 + log1p(exp(0.25 * (double)x));
        cr_assert_float_eq(trainer_loss_lognormal_value(a) / exp((double)x + sigma * sigma / 2), 1, 2e-6);
        cr_assert_float_eq(trainer_loss_poisson_value(x) / exp((double)x), 1, 1e-6);
        double back = x > 0 ? expm1((double)x) : 0;
        cr_assert(fabs((double)trainer_loss_squared_value(x) - back) <= 1e-6 * back);
    }
    static const float far[] = {-3e38f, -1000, 26, 1000, 3e38f};
    for (uint32_t i = 0; i < 5; i++) {
        const float a[] = {far[i], far[i]};
        cr_expect(isfinite(trainer_loss_lognormal_value(a)) && trainer_loss_lognormal_value(a) >= 0);
        cr_expect(isfinite(trainer_loss_poisson_value(far[i])) &&
                  isfinite(trainer_loss_squared_value(far[i])));
    }
    cr_expect(isnan(trainer_loss_squared_value(NAN)) && isnan(trainer_loss_poisson_value(NAN)));
}

// ---- samples ----

enum { TASKS = 5, LOGITS = 10 };

// Click, purchase with its order value; cart (parts the purchase in two if `branch`), watch time, a count.
static struct trainer_loss_config shop(bool full, bool branch, enum trainer_correction correction)
{
    struct trainer_loss_config config = {.tasks = TASKS,
                                         .stages = 2,
                                         .parent = {0, 0, 0, 0, UINT32_MAX},
                                         .full = full,
                                         .task_weight = {1.0f, 2.0f, 0.5f, 0.25f, 3.0f},
                                         .keep_negatives = 0.5f,
                                         .kind = {TRAINER_LOSS_BCE, TRAINER_LOSS_BCE, TRAINER_LOSS_BCE,
                                                  TRAINER_LOSS_MSE, TRAINER_LOSS_POISSON},
                                         .events = {[3] = true},
                                         .branch = branch ? 2 : 0,
                                         .correction = correction,
                                         .correction_weight = 0.75f,
                                         .propensity_min = 0.25f};
    config.kind[1] = branch && correction == TRAINER_CORRECTION_DR ? TRAINER_LOSS_BCE : TRAINER_LOSS_ZILN;
    return config;
}

static const float shop_logits[LOGITS] = {-0.7f, 0.4f, 1.1f, -0.2f, 0.9f, -1.3f, 0.6f, 0.3f, -0.5f, 0.8f};

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double bce(double p, bool label)
{
    return label ? -log(p) : -log1p(-p);
}

// P(stage 1 | stage 0).
static double twin_conversion(const struct trainer_loss_config *config, const double *a)
{
    uint32_t place = trainer_loss_place(config, 1);
    if (!config->branch) {
        return sigmoid(a[place]);
    }
    double y2 = sigmoid(a[trainer_loss_place(config, config->branch)]);
    uint32_t second = place + (config->kind[1] == TRAINER_LOSS_ZILN ? 3 : 1);
    return y2 * sigmoid(a[place]) + (1 - y2) * sigmoid(a[second]);
}

// `fixed`: the logits that the factors before a task's own are taken at.
static double twin_task(const struct trainer_loss_config *config, const double *a, const double *fixed,
                        const struct base_sample *sample, uint32_t k)
{
    const double *own = a + trainer_loss_place(config, k);
    bool label = sample->label[k];
    double value = label ? (double)sample->value[k] : 0, loss = 0;
    bool has = label && isfinite(value) && (config->kind[k] == TRAINER_LOSS_ZILN ? value > 0 : value >= 0);
    if (!(sample->mask >> k & 1)) {
        return 0;
    }
    switch (k) {
    case 0:
        loss = bce(sigmoid(own[0] - log((double)config->keep_negatives)), label);
        break;
    case 1:
        loss = bce(sigmoid(fixed[0]) * twin_conversion(config, a), label);
        if (config->kind[1] == TRAINER_LOSS_ZILN && has) {
            double sigma = 0.1 + log1p(exp(own[2])), z = (log(value) - own[1]) / sigma;
            loss += z * z / 2 + log(sigma) + log(value) + 0.91893853320467274178;
        }
        break;
    case 2:
        loss = bce(sigmoid(fixed[0]) * sigmoid(own[0]), label);
        break;
    case 3:
        loss = has ? pow(own[0] - log1p(value), 2) : 0;
        break;
    default:
        loss = label && !has ? 0 : exp(own[0]) - value * own[0];
        break;
    }
    return (double)config->task_weight[k] * (double)sample->weight[k] * loss;
}

// `at`: where what is constant for the gradient is taken.
static double twin_correction(const struct trainer_loss_config *config, const double *a, const double *at,
                              const struct base_sample *sample)
{
    bool purchase = sample->mask >> 1 & 1, late = sample->kind == BASE_L && (sample->mask & 1) && !purchase;
    double o = late || (purchase && sample->kind != BASE_N0);
    double counted = purchase && (sample->kind == BASE_N0 || sample->kind == BASE_C1);
    double weight = (double)config->task_weight[1] * (double)config->correction_weight *
                    (late ? (double)sample->weight[0] : (double)sample->weight[1]);
    double delta = bce(twin_conversion(config, a), purchase && sample->label[1]);
    double fixed = bce(twin_conversion(config, at), purchase && sample->label[1]);
    double share = o / fmax(sigmoid(at[0]), (double)config->propensity_min);
    if (config->correction == TRAINER_CORRECTION_NONE || (!purchase && !late)) {
        return 0;
    }
    if (config->correction == TRAINER_CORRECTION_IPS) {
        return weight * share * delta;
    }
    double imputed = log1p(exp(a[trainer_loss_place(config, 2) - 1]));
    return weight * (counted * imputed + share * ((delta - imputed) + pow(fixed - imputed, 2)));
}

// The loss of which dlogits is the gradient. Under `stop` a task moves its own logits alone: those of others
// stay at `at`.
static double twin_sample(const struct trainer_loss_config *config, const double *at, const double *moved,
                          const struct base_sample *sample)
{
    double sum = 0;
    for (uint32_t k = 0; k < TASKS; k++) {
        double a[LOGITS];
        memcpy(a, config->full ? moved : at, sizeof a);
        uint32_t place = trainer_loss_place(config, k), outputs = trainer_loss_outputs(config, k);
        memcpy(a + place, moved + place, outputs * sizeof *a);
        sum += twin_task(config, a, a, sample, k);
        sum += k == 1 ? twin_correction(config, a, at, sample) : 0;
    }
    return sum;
}

static struct base_sample shop_sample(uint8_t kind, uint32_t mask, uint32_t labels)
{
    static const float values[] = {0, 3.5f, 0, 0.25f, 4};
    struct base_sample sample = {.kind = kind, .mask = (uint8_t)mask};
    for (uint32_t k = 0; k < TASKS; k++) {
        sample.label[k] = labels >> k & 1;
        sample.weight[k] = 1.0f + 0.125f * (float)k;
        sample.value[k] = sample.label[k] ? values[k] : 0;
    }
    return sample;
}

static void compare(const struct trainer_loss_config *config, const struct base_sample *sample)
{
    float dlogits[LOGITS], loss[TASKS];
    double a[LOGITS], moved[LOGITS];
    uint32_t logits = trainer_loss_place(config, TASKS);
    cr_assert_leq(logits, LOGITS);
    for (uint32_t i = 0; i < LOGITS; i++) {
        a[i] = moved[i] = (double)shop_logits[i];
    }
    trainer_loss_sample(config, shop_logits, sample, dlogits, loss);
    for (uint32_t k = 0; k < TASKS; k++) {
        double expected = twin_task(config, a, a, sample, k);
        expected += k == 1 ? twin_correction(config, a, a, sample) : 0;
        cr_assert_float_eq(loss[k], expected, 2e-5, "task %u: %g, not %g", k, (double)loss[k], expected);
    }
    for (uint32_t i = 0; i < logits; i++) {
        moved[i] = a[i] + 1e-6;
        double above = twin_sample(config, a, moved, sample);
        moved[i] = a[i] - 1e-6;
        double gradient = (above - twin_sample(config, a, moved, sample)) / 2e-6;
        moved[i] = a[i];
        cr_assert_float_eq(dlogits[i], gradient, 2e-5 * fmax(1, fabs(gradient)),
                           "full %d branch %u correction %d kind %u mask %u logit %u: %g, not %g",
                           config->full, config->branch, (int)config->correction, sample->kind, sample->mask,
                           i, (double)dlogits[i], gradient);
    }
}

// Every kind of sample, mask and labelling, under stop and full, with one branch and two, uncorrected and
// corrected.
Test(trainer_loss_kinds, samples_against_finite_differences)
{
    for (uint32_t form = 0; form < 12; form++) {
        struct trainer_loss_config config =
            shop(form & 1, form >> 1 & 1, (enum trainer_correction)(form / 4));
        struct base_error error;
        cr_assert_eq(trainer_loss_check(&config, &error), 0, "%s", error.text);
        for (uint8_t kind = BASE_N0; kind < BASE_F3; kind++) {
            for (uint32_t mask = 0; mask < 32; mask++) {
                for (uint32_t labels = 0; labels < 32; labels++) {
                    struct base_sample sample = shop_sample(kind, mask, labels);
                    compare(&config, &sample);
                }
            }
        }
    }
}

// A value that is missing, negative or not finite takes no part; ziln's classification goes on without it.
Test(trainer_loss_kinds, values_that_are_none)
{
    static const float none[] = {NAN, INFINITY, -1, -INFINITY};
    struct trainer_loss_config config = shop(true, false, TRAINER_CORRECTION_NONE);
    config.events[3] = false;
    for (uint32_t i = 0; i < 4; i++) {
        struct base_sample sample = shop_sample(BASE_C1, 31, 31);
        sample.value[1] = sample.value[3] = sample.value[4] = none[i];
        float dlogits[LOGITS], loss[TASKS];
        trainer_loss_sample(&config, shop_logits, &sample, dlogits, loss);
        cr_expect(loss[3] == 0 && loss[4] == 0 && dlogits[5] == 0 && dlogits[6] == 0);
        cr_expect(loss[1] > 0 && dlogits[1] != 0 && dlogits[2] == 0 && dlogits[3] == 0);
        cr_expect_not(trainer_loss_counts(&config, &sample, 3));
        cr_expect(trainer_loss_counts(&config, &sample, 1));
        compare(&config, &sample);
    }
    // A value of zero: fine for a count or a time, none for a log-normal.
    struct base_sample sample = shop_sample(BASE_C1, 31, 31);
    sample.value[1] = sample.value[3] = 0;
    cr_expect(isnan(trainer_loss_value(&config, &sample, 1)) && trainer_loss_value(&config, &sample, 3) == 0);
    compare(&config, &sample);
}

// Among events alone, what did not happen is not looked at; over all impressions it has the value 0.
Test(trainer_loss_kinds, spaces)
{
    struct trainer_loss_config config = shop(false, false, TRAINER_CORRECTION_NONE);
    struct base_sample sample = shop_sample(BASE_N0, 31, 0);
    float dlogits[LOGITS], loss[TASKS];
    trainer_loss_sample(&config, shop_logits, &sample, dlogits, loss);
    cr_expect(loss[3] == 0 && dlogits[5] == 0 && !trainer_loss_counts(&config, &sample, 3));
    config.events[3] = false;
    trainer_loss_sample(&config, shop_logits, &sample, dlogits, loss);
    float a = shop_logits[5];
    cr_expect_float_eq(loss[3], config.task_weight[3] * sample.weight[3] * a * a, 1e-6);
    cr_expect(trainer_loss_counts(&config, &sample, 3));
}

Test(trainer_loss_kinds, predictions)
{
    struct trainer_loss_config config = shop(false, true, TRAINER_CORRECTION_NONE);
    float conditional[TASKS], products[TASKS];
    double a[LOGITS];
    for (uint32_t i = 0; i < LOGITS; i++) {
        a[i] = (double)shop_logits[i];
    }
    trainer_loss_probabilities(&config, shop_logits, conditional, products);
    double click = sigmoid(a[0]), conversion = twin_conversion(&config, a), sigma = 0.1 + log1p(exp(a[3]));
    cr_expect_float_eq(conditional[1], conversion, 1e-6);
    cr_expect_float_eq(products[1], click * conversion * exp(a[2] + sigma * sigma / 2), 1e-5);
    cr_expect_float_eq(products[2], click * sigmoid(a[5]), 1e-6);
    cr_expect(conditional[3] == products[3] && conditional[4] == products[4]);
    cr_expect_float_eq(conditional[3], expm1(a[6]), 1e-6);
    cr_expect_float_eq(conditional[4], exp(a[7]), 1e-6);
}

// Click-through and conversion go together: two kinds of impressions, half each. A rate learned on clicks
// alone is that of the clicked; weighed by the inverse propensity it is that of all.
Test(trainer_loss_kinds, inverse_propensity_corrects_the_selection)
{
    static const double click[] = {0.8, 0.2}, conversion[] = {0.5, 0.1};
    struct trainer_loss_config config = {.tasks = 2,
                                         .stages = 2,
                                         .task_weight = {1, 1},
                                         .keep_negatives = 1,
                                         .correction_weight = 1,
                                         .propensity_min = 0.1f};
    for (int form = 0; form < 2; form++) {
        config.correction = form ? TRAINER_CORRECTION_DR : TRAINER_CORRECTION_IPS;
        double shared = 0; // the logit of the conversion that both kinds have in common, by gradient descent
        for (uint32_t step = 0; step < 4000; step++) {
            double gradient = 0;
            for (uint32_t i = 0; i < 2; i++) {
                double p = click[i], q = conversion[i];
                for (uint32_t label = 0; label < 2; label++) {
                    // The product's own loss is taken off: what is looked at is the correction.
                    struct base_sample sample = {
                        .kind = BASE_C1, .mask = 2, .label = {1, (uint8_t)label}, .weight = {1, 1}};
                    // An imputed error of about log 2 at the logit 0.
                    const float logits[] = {(float)log(p / (1 - p)), (float)shared, 0.0f};
                    float with[3], without[3], loss[2];
                    trainer_loss_sample(&config, logits, &sample, with, loss);
                    struct trainer_loss_config plain = config;
                    plain.correction = TRAINER_CORRECTION_NONE;
                    trainer_loss_sample(&plain, logits, &sample, without, loss);
                    gradient += 0.5 * p * (label ? q : 1 - q) * (double)(with[1] - without[1]);
                }
            }
            shared -= 0.5 * gradient;
        }
        // Of clicks alone it would be (0.8 * 0.5 + 0.2 * 0.1) / (0.8 + 0.2) = 0.42.
        cr_expect_float_eq(sigmoid(shared), 0.3, 1e-4, "%g", sigmoid(shared));
    }
}

Test(trainer_loss_kinds, what_cannot_be)
{
    struct base_error error;
    struct trainer_loss_config good = shop(false, true, TRAINER_CORRECTION_NONE), bad = good;
    cr_expect_eq(trainer_loss_check(&good, &error), 0);
    bad.kind[1] = TRAINER_LOSS_MSE;
    cr_expect(trainer_loss_check(&bad, &error) && strstr(error.text, "task 1: a stage's loss"), "%s",
              error.text);
    bad = good;
    bad.kind[2] = TRAINER_LOSS_KINDS;
    cr_expect(trainer_loss_check(&bad, &error), "the loss of a branch, and an unknown one");
    bad = good;
    bad.branch = 4; // hangs on the impression
    cr_expect(trainer_loss_check(&bad, &error) && strstr(error.text, "task 4 cannot part"), "%s", error.text);
    bad.branch = 1;
    cr_expect(trainer_loss_check(&bad, &error));
    bad = good;
    bad.correction = TRAINER_CORRECTION_DR;
    cr_expect(trainer_loss_check(&bad, &error) && strstr(error.text, "5 logits"), "%s", error.text);
    bad = (struct trainer_loss_config){
        .tasks = 1, .stages = 1, .keep_negatives = 1, .correction = TRAINER_CORRECTION_IPS};
    cr_expect(trainer_loss_check(&bad, &error) && strstr(error.text, "two stages"), "%s", error.text);
    bad = (struct trainer_loss_config){.tasks = 2, .kind = {TRAINER_LOSS_MSE}, .parent = {UINT32_MAX, 0}};
    cr_expect(trainer_loss_check(&bad, &error) && strstr(error.text, "no stage"), "%s", error.text);
    bad.parent[1] = UINT32_MAX; // two tasks without a funnel
    cr_expect(trainer_loss_check(&bad, &error) == 0);
    bad = (struct trainer_loss_config){.tasks = 3, .stages = 4};
    cr_expect(trainer_loss_check(&bad, &error));
    bad = (struct trainer_loss_config){.tasks = 3, .stages = 1, .parent = {0, 1, 0}};
    cr_expect(trainer_loss_check(&bad, &error) && strstr(error.text, "no stage"), "%s", error.text);
}
