// Sampled negatives: for every loss, the expected gradient under sampling is what it is without
// (docs/losses.md, section 4), and at the true parameters it is zero.
//
// An impression's outcomes are enumerated with their probabilities, each as the samples that the joiner emits
// (docs/join.md, rules 12, 20, 22), so that expectations are sums and no test rests on chance. Tasks: click,
// purchase, and side tasks cart, watch (of a click), share (of the impression).
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "trainer/weighting.h"

enum { CLICK, PURCHASE, CART, WATCH, SHARE, TASKS };
enum { LOGITS = TRAINER_LOSS_LOGITS_MAX };

// What is true of an impression. A value is one of two, equally likely.
struct truth {
    double click, late, purchase, cart, watch, share; // late: share of the clicks that come after their N0
    double watched[2], paid[2], shared[2];
};

// Takes one sample with its probability.
typedef void visit(void *context, double probability, const struct base_sample *sample);

struct walk {
    visit *visit;
    void *context;
    double r;
    bool weighs_negatives;
};

static void walk_emit(const struct walk *walk, double probability, enum base_kind kind, unsigned mask,
                      unsigned labels, float value)
{
    struct base_sample sample = {.kind = (uint8_t)kind, .mask = (uint8_t)mask, .trains = 1};
    for (uint32_t k = 0; k < TASKS; k++) {
        sample.label[k] = labels >> k & 1;
        sample.value[k] = sample.label[k] ? value : 0;
        if (mask >> k & 1) {
            bool sampled = kind == BASE_N0 && (k > 0 || walk->weighs_negatives);
            sample.weight[k] = sampled ? (float)(1 / walk->r) : 1;
        }
    }
    walk->visit(walk->context, kind == BASE_N0 ? probability * walk->r : probability, &sample);
}

// An action of a click: with either value, or not at all, which a journey that has paid does not say again.
static void walk_action(const struct walk *walk, double clicked, bool paid, uint32_t task, double rate,
                        const double value[2])
{
    for (uint32_t i = 0; i < 2; i++) {
        walk_emit(walk, clicked * rate / 2, paid ? BASE_D2 : BASE_C1, 1u << task, 1u << task,
                  (float)value[i]);
    }
    if (!paid) {
        walk_emit(walk, clicked * (1 - rate), BASE_C1, 1u << task, 0, 0);
    }
}

static void walk_impression(const struct walk *walk, const struct truth *truth)
{
    static const double none[2] = {NAN, NAN};
    unsigned all = 1u << CLICK | 1u << PURCHASE | 1u << CART | 1u << WATCH;
    double late = truth->click * truth->late, early = truth->click - late;
    walk_emit(walk, 1 - early, BASE_N0, all, 0, 0);
    walk_emit(walk, early, BASE_C1, 1u << CLICK, 1u << CLICK, (float)NAN);
    walk_emit(walk, late, BASE_L, 1u << CLICK, 1u << CLICK, (float)NAN);
    for (int paid = 0; paid < 2; paid++) {
        double clicked = paid ? late : early;
        walk_action(walk, clicked, paid, PURCHASE, truth->purchase, truth->paid);
        walk_action(walk, clicked, paid, CART, truth->cart, none);
        walk_action(walk, clicked, paid, WATCH, truth->watch, truth->watched);
    }
    for (uint32_t i = 0; i < 2; i++) {
        walk_emit(walk, truth->share / 2, BASE_C1, 1u << SHARE, 1u << SHARE, (float)truth->shared[i]);
    }
    walk_emit(walk, 1 - truth->share, BASE_N0, 1u << SHARE, 0, 0);
}

// ---- expectations ----

struct expectation {
    const struct trainer_loss_config *config;
    const float *logits;
    double gradient[LOGITS], size[LOGITS]; // size: of the terms, what rounding is measured by
    struct trainer_weighting_step weighting;
    double s[TASKS]; // gradient by the log variances
    const float *log_variance;
};

static void expectation_visit(void *context, double probability, const struct base_sample *sample)
{
    struct expectation *all = context;
    float dlogits[LOGITS], loss[TASKS];
    struct trainer_weighting_step step;
    trainer_weighting_begin(all->config, 0, all->log_variance, &step);
    trainer_loss_sample(&step.loss, all->logits, sample, dlogits, loss);
    trainer_weighting_add(&step, sample, loss);
    for (uint32_t i = 0; i < trainer_loss_place(all->config, TASKS); i++) {
        all->gradient[i] += probability * (double)dlogits[i];
        all->size[i] += probability * fabs((double)dlogits[i]);
    }
    for (uint32_t k = 0; k < TASKS; k++) {
        all->s[k] += probability * (double)trainer_weighting_gradient(&step, k);
    }
}

static struct expectation expect_gradient(const struct trainer_loss_config *config, const struct truth *truth,
                                          const float *logits, double r, bool weighs)
{
    static const float log_variance[BASE_TASKS_MAX] = {0.3f, -0.2f, 0.1f, 0.4f, -0.3f};
    struct expectation all = {.config = config, .logits = logits, .log_variance = log_variance};
    struct walk walk = {expectation_visit, &all, r, weighs};
    walk_impression(&walk, truth);
    return all;
}

static bool near(double a, double b, double size)
{
    return fabs(a - b) <= 2e-6 * (size + 1e-3);
}

// ---- the losses, and the logits at which they say the truth ----

enum form { FORM_CHAIN, FORM_VALUES, FORM_EVENTS, FORM_ZILN, FORM_ESM2, FORM_IPS, FORM_DR, FORMS };

static struct trainer_loss_config loss_of(enum form form, bool full, double r, bool weighs)
{
    struct trainer_loss_config config = {
        .tasks = TASKS,
        .stages = 2,
        .parent = {[CART] = 0, [WATCH] = 0, [SHARE] = UINT32_MAX},
        .full = full,
        .task_weight = {1, 0.5f, 2, 0.25f, 1.5f},
        .keep_negatives = (float)r,
        .negatives_weighted = weighs,
        .correction_weight = 0.7f,
        .propensity_min = 0.01f,
    };
    if (form == FORM_VALUES || form == FORM_EVENTS) {
        config.kind[WATCH] = TRAINER_LOSS_MSE;
        config.kind[SHARE] = TRAINER_LOSS_POISSON;
        config.events[WATCH] = config.events[SHARE] = form == FORM_EVENTS;
    }
    config.kind[PURCHASE] = form == FORM_ZILN ? TRAINER_LOSS_ZILN : TRAINER_LOSS_BCE;
    config.branch = form == FORM_ESM2 ? CART : 0;
    config.correction = form == FORM_IPS  ? TRAINER_CORRECTION_IPS
                        : form == FORM_DR ? TRAINER_CORRECTION_DR
                                          : TRAINER_CORRECTION_NONE;
    struct base_error error;
    cr_assert_eq(trainer_loss_check(&config, &error), 0, "%s", error.text);
    return config;
}

static double logit(double p)
{
    return log(p / (1 - p));
}

static double mean(const double value[2])
{
    return (value[0] + value[1]) / 2;
}

// Without late clicks.
static void true_logits(const struct trainer_loss_config *config, const struct truth *truth, float *logits)
{
    uint32_t purchase = trainer_loss_place(config, PURCHASE), watch = trainer_loss_place(config, WATCH),
             share = trainer_loss_place(config, SHARE);
    logits[0] = (float)logit(truth->click);
    logits[purchase] = (float)logit(truth->purchase);
    logits[trainer_loss_place(config, CART)] = (float)logit(truth->cart);
    logits[watch] = (float)logit(truth->watch);
    logits[share] = (float)logit(truth->share);
    if (config->kind[WATCH] == TRAINER_LOSS_MSE) {
        double chance = config->events[WATCH] ? 1 : truth->click * truth->watch;
        logits[watch] = (float)(chance * (log1p(truth->watched[0]) + log1p(truth->watched[1])) / 2);
        logits[share] = (float)log((config->events[SHARE] ? 1 : truth->share) * mean(truth->shared));
    }
    if (config->kind[PURCHASE] == TRAINER_LOSS_ZILN) {
        double low = log(truth->paid[0]), high = log(truth->paid[1]);
        logits[purchase + 1] = (float)((low + high) / 2);
        logits[purchase + 2] = (float)log(expm1((high - low) / 2 - 0.1)); // sigma = 0.1 + softplus
    }
    if (config->branch) {
        // The second branch's rate, such that y2 y3 + (1 - y2) y4 is the purchase's.
        double with = truth->purchase * 1.5;
        logits[purchase] = (float)logit(with);
        logits[purchase + 1] = (float)logit((truth->purchase - truth->cart * with) / (1 - truth->cart));
    }
    if (config->correction == TRAINER_CORRECTION_DR) {
        double q = truth->purchase;
        logits[purchase + 1] = (float)log(expm1(-q * log(q) - (1 - q) * log1p(-q))); // the mean error
    }
}

static const struct truth some_truth = {.click = 0.15,
                                        .purchase = 0.3,
                                        .cart = 0.4,
                                        .watch = 0.6,
                                        .share = 0.05,
                                        .watched = {3, 40},
                                        .paid = {5, 80},
                                        .shared = {1, 6}};

Test(trainer_sampling, at_the_truth_no_loss_has_a_gradient)
{
    for (int form = 0; form < FORMS; form++) {
        for (int full = 0; full < 2; full++) {
            for (int weighs = 0; weighs < 2; weighs++) {
                static const double shares[] = {1, 0.5, 0.1, 0.01};
                for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
                    struct trainer_loss_config config = loss_of((enum form)form, full, shares[i], weighs);
                    float logits[LOGITS] = {0};
                    true_logits(&config, &some_truth, logits);
                    struct expectation all = expect_gradient(&config, &some_truth, logits, shares[i], weighs);
                    for (uint32_t k = 0; k < trainer_loss_place(&config, TASKS); k++) {
                        cr_expect(near(all.gradient[k], 0, all.size[k]),
                                  "form %d, full %d, weighs %d, r %g: logit %u has %g of %g", form, full,
                                  weighs, shares[i], k, all.gradient[k], all.size[k]);
                    }
                }
            }
        }
    }
}

// The expectation does not depend on r, wherever the model stands and whatever comes late: of everything but
// the click's own loss by a shifted logit. By a shift the click's gradient is zero where it is without
// sampling.
Test(trainer_sampling, the_expected_gradient_is_that_of_all_impressions)
{
    uint64_t key = base_random_key(1, "sampling"), counter = 0;
    for (int i = 0; i < 200; i++) {
        struct truth truth = some_truth;
        truth.late = i % 2 ? 0.4 : 0;
        double r = 0.02 + 0.9 * base_random_uniform(key, counter++);
        for (int form = 0; form < FORMS; form++) {
            for (int weighs = 0; weighs < 2; weighs++) {
                struct trainer_loss_config sampled = loss_of((enum form)form, i % 3 == 0, r, weighs);
                struct trainer_loss_config whole = loss_of((enum form)form, i % 3 == 0, 1, false);
                float logits[LOGITS];
                for (uint32_t k = 0; k < LOGITS; k++) {
                    logits[k] = (float)(4 * base_random_uniform(key, counter++) - 2);
                }
                // Where the click's loss rests, also with late clicks: e^a = p / (1 - early).
                logits[0] =
                    weighs ? logits[0] : (float)log(truth.click / (1 - truth.click * (1 - truth.late)));
                struct expectation got = expect_gradient(&sampled, &truth, logits, r, weighs);
                struct expectation want = expect_gradient(&whole, &truth, logits, 1, false);
                for (uint32_t k = 0; k < trainer_loss_place(&whole, TASKS); k++) {
                    cr_expect(near(got.gradient[k], want.gradient[k], got.size[k] + want.size[k]),
                              "form %d, weighs %d, r %g: logit %u has %g, not %g", form, weighs, r, k,
                              got.gradient[k], want.gradient[k]);
                }
            }
        }
    }
}

// What would be wrong: no correction, both at once, and shifts in a product.
Test(trainer_sampling, other_corrections_move_the_fixed_point)
{
    static const struct {
        bool shifted, weighs;
    } wrong[] = {{false, false}, {true, true}};
    double r = 0.1;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct trainer_loss_config config = loss_of(FORM_CHAIN, false, r, !wrong[i].shifted);
        float logits[LOGITS] = {0};
        true_logits(&config, &some_truth, logits);
        struct expectation all = expect_gradient(&config, &some_truth, logits, r, wrong[i].weighs);
        cr_expect_gt(fabs(all.gradient[0]), 0.1 * all.size[0]);
    }
    // A product without weights: at the unshifted logits and at its own logit shifted it is off. At the
    // click's shifted it would be right: among the kept the click's odds alone are higher.
    double p = some_truth.click, q = some_truth.purchase;
    for (uint32_t shifted = 0; shifted < 3; shifted++) {
        float a[3] = {(float)logit(p), (float)logit(q), 0}, da[2];
        a[shifted] -= (float)log(r);
        double gradient = 0;
        trainer_loss_product(a, 2, true, da);
        gradient += p * q * (double)da[1];
        trainer_loss_product(a, 2, false, da);
        gradient += (p * (1 - q) + (1 - p) * r) * (double)da[1];
        cr_expect(shifted == 0 ? fabs(gradient) < 1e-7 : fabs(gradient) > 0.02 * p * q, "%u: %g", shifted,
                  gradient);
    }
}

// Uncertainty weighting counts a task's space by the samples' weights: the counts are those of all
// impressions, but for the click's with a shifted logit, whose space are the kept ones.
Test(trainer_sampling, uncertainty_counts_impressions)
{
    double r = 0.2;
    for (int form = 0; form < FORMS; form++) {
        for (int weighs = 0; weighs < 2; weighs++) {
            struct trainer_loss_config sampled = loss_of((enum form)form, false, r, weighs);
            struct trainer_loss_config whole = loss_of((enum form)form, false, 1, false);
            sampled.weighting = whole.weighting = TRAINER_WEIGHTING_UNCERTAINTY;
            float logits[LOGITS] = {0};
            true_logits(&whole, &some_truth, logits);
            struct expectation got = expect_gradient(&sampled, &some_truth, logits, r, weighs);
            struct expectation want = expect_gradient(&whole, &some_truth, logits, 1, false);
            for (uint32_t k = weighs ? CLICK : PURCHASE; k < TASKS; k++) {
                cr_expect(near(got.s[k], want.s[k], 1), "form %d, weighs %d: task %u has %g, not %g", form,
                          weighs, k, got.s[k], want.s[k]);
            }
            for (uint32_t k = 0; k < trainer_loss_place(&sampled, TASKS); k++) {
                cr_expect(near(got.gradient[k], 0, got.size[k]), "form %d: logit %u", form, k);
            }
            if (!weighs) {
                // Of the kept ones: their share of clicks is p / (p + r (1 - p)), and so is what is
                // predicted.
                double kept = some_truth.click + r * (1 - some_truth.click), p = some_truth.click / kept;
                double entropy = -p * log(p) - (1 - p) * log1p(-p);
                cr_expect(near(got.s[CLICK], kept * (0.5 - exp(-0.3) * entropy), 1), "%g", got.s[CLICK]);
            }
        }
    }
}
