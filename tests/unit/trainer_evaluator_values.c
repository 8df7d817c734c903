// The evaluator of values: by hand, late ones, spaces, and that it is saved.
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer/evaluator.h"

enum { TASKS = 4 };

// Click; purchase with its value; watch time of events; a count over all impressions.
static struct trainer_evaluator *evaluator_make(double keep_negatives)
{
    struct base_error error;
    struct trainer_evaluator_config config = {
        .tasks = TASKS,
        .stages = 2,
        .parent = {0, 0, 0, 0},
        .keep_negatives = keep_negatives,
        .window_ms = 60000,
        .kind = {TRAINER_LOSS_BCE, TRAINER_LOSS_ZILN, TRAINER_LOSS_MSE, TRAINER_LOSS_POISSON},
        .events = {[2] = true}};
    struct trainer_evaluator *evaluator = trainer_evaluator_new(&config, &error);
    cr_assert_not_null(evaluator, "%s", error.text);
    return evaluator;
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * (1 + fabs(b));
}

static void feed_weighted(struct trainer_evaluator *evaluator, enum base_kind kind, uint8_t mask,
                          uint8_t labels, float value, float weight)
{
    struct base_sample sample = {
        .kind = (uint8_t)kind, .mask = mask, .weighted = weight != 1, .impression_weight = weight};
    for (uint32_t k = 0; k < TASKS; k++) {
        sample.label[k] = labels >> k & 1;
        sample.value[k] = sample.label[k] ? value : 0;
    }
    static const float conditional[TASKS] = {0.5f, 0.25f, 3, 0.75f}, products[TASKS] = {0.5f, 2, 3, 0.75f};
    trainer_evaluator_feed(evaluator, &sample, conditional, products);
}

static void feed(struct trainer_evaluator *evaluator, enum base_kind kind, uint8_t mask, uint8_t labels,
                 float value)
{
    feed_weighted(evaluator, kind, mask, labels, value, 1);
}

static double deviance(double value, double p)
{
    return 2 * ((value > 0 ? value * log(value / p) : 0) - value + p);
}

Test(trainer_evaluator_values, by_hand)
{
    struct trainer_evaluator *evaluator = evaluator_make(0.5);
    feed(evaluator, BASE_N0, 15, 0, 0);   // weighs 2
    feed(evaluator, BASE_C1, 2, 2, 5);    // a purchase in time
    feed(evaluator, BASE_D2, 2, 2, 7);    // a late one: its 0 is taken back
    feed(evaluator, BASE_C1, 4, 4, 1.5f); // watched
    feed(evaluator, BASE_D2, 4, 4, 2.5f); // watched, late
    feed(evaluator, BASE_C1, 4, 0, 0);    // not watched: no event
    feed(evaluator, BASE_C1, 8, 8, 4);    // counted
    feed(evaluator, BASE_C1, 8, 8, NAN);  // no value, no event
    feed(evaluator, BASE_C1, 2, 2, 0);    // nor is 0 one of a log-normal
    feed(evaluator, BASE_F3, 0, 3, 1);
    struct trainer_value_evaluation purchase = trainer_evaluator_value_total(evaluator, 1);
    cr_assert_eq(purchase.events, 3);
    cr_assert_eq(purchase.values, 12);
    cr_assert(
        near(purchase.loss, (2 * deviance(0, 2) + deviance(5, 2) + deviance(7, 2) - deviance(0, 2)) / 3));
    cr_assert(near(purchase.calibration, 3 * 2.0 / 12));
    double best = (deviance(0, 4) + deviance(5, 4) + deviance(7, 4)) / 3;
    cr_assert(near(purchase.constant, best), "%g, not %g", purchase.constant, best);
    struct trainer_value_evaluation watch = trainer_evaluator_value_total(evaluator, 2);
    cr_assert_eq(watch.events, 2);
    cr_assert(near(watch.loss, (pow(log1p(3) - log1p(1.5), 2) + pow(log1p(3) - log1p(2.5), 2)) / 2));
    cr_assert(near(watch.constant, pow((log1p(2.5) - log1p(1.5)) / 2, 2)));
    struct trainer_value_evaluation count = trainer_evaluator_value_total(evaluator, 3);
    cr_assert_eq(count.events, 3);
    cr_assert(near(count.loss, (2 * deviance(0, 0.75) + deviance(4, 0.75)) / 3));
    // ziln's probability is the chain's: 0.5 * 0.25; the value tasks have none.
    struct trainer_evaluation bought = trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 1);
    cr_assert(near(bought.calibration * bought.positives, bought.events * 0.125));
    cr_assert_eq(trainer_evaluator_total(evaluator, TRAINER_MEASURE_FINAL, 1).events, 1);
    for (uint32_t k = 2; k < TASKS; k++) {
        for (enum trainer_measure measure = 0; measure < TRAINER_MEASURES; measure++) {
            cr_assert_eq(trainer_evaluator_total(evaluator, measure, k).events, 0);
        }
    }
    struct trainer_value_evaluation none = trainer_evaluator_value_total(evaluator, 0);
    cr_assert(none.events == 0 && isnan(none.loss) && isnan(none.constant) && isnan(none.calibration));
    trainer_evaluator_reset(evaluator);
    cr_assert_eq(trainer_evaluator_value_total(evaluator, 1).events, 0);
    cr_assert_eq(trainer_evaluator_value_window(evaluator, 1).events, 3);
    trainer_evaluator_advance(evaluator, 60000);
    cr_assert_eq(trainer_evaluator_value_window(evaluator, 1).events, 0);
    trainer_evaluator_free(evaluator);
}

// An impression of weight w counts w times.
Test(trainer_evaluator_values, an_impressions_weight_is_how_often_it_counts)
{
    static const enum base_kind kinds[] = {BASE_N0, BASE_C1, BASE_D2, BASE_C1, BASE_D2, BASE_D2};
    static const uint8_t masks[] = {15, 2, 2, 4, 4, 8}, labels[] = {0, 2, 2, 4, 4, 8};
    struct trainer_evaluator *weighted = evaluator_make(0.5), *often = evaluator_make(0.5);
    for (uint32_t i = 0; i < 120; i++) {
        uint32_t k = i % 6, weight = i / 6 % 4;
        feed_weighted(weighted, kinds[k], masks[k], labels[k], (float)(1 + i % 7), (float)weight);
        for (uint32_t n = 0; n < weight; n++) {
            feed(often, kinds[k], masks[k], labels[k], (float)(1 + i % 7));
        }
    }
    for (uint32_t task = 1; task < TASKS; task++) {
        struct trainer_value_evaluation a = trainer_evaluator_value_total(weighted, task),
                                        b = trainer_evaluator_value_total(often, task);
        cr_assert(b.events > 0 && near(a.events, b.events) && near(a.values, b.values) &&
                  near(a.loss, b.loss) && near(a.constant, b.constant) && near(a.calibration, b.calibration));
    }
    trainer_evaluator_free(weighted);
    trainer_evaluator_free(often);
}

// The true expectation is the best prediction by the deviance, whatever the distribution.
Test(trainer_evaluator_values, the_truth_has_the_least_deviance)
{
    double best = INFINITY, at = 0;
    for (double scale = 0.5; scale < 1.6; scale += 0.1) {
        struct trainer_evaluator *evaluator = evaluator_make(1);
        for (uint64_t i = 0; i < 20000; i++) {
            double mean = exp(base_random_normal(1, i));
            // Zero in half of the cases, else log-normal about twice the mean.
            bool happens = base_random_uniform(2, i) < 0.5;
            struct base_sample sample = {
                .kind = happens ? BASE_C1 : BASE_N0, .mask = 8, .label = {[3] = happens}};
            sample.value[3] = happens ? (float)(2 * mean * exp(0.5 * base_random_normal(3, i) - 0.125)) : 0;
            float prediction[TASKS] = {0.5f, 0.5f, 1, (float)(scale * mean)};
            trainer_evaluator_feed(evaluator, &sample, prediction, prediction);
        }
        struct trainer_value_evaluation shown = trainer_evaluator_value_total(evaluator, 3);
        if (shown.loss < best) {
            best = shown.loss;
            at = scale;
            cr_assert_lt(shown.loss, shown.constant);
        }
        cr_assert(fabs(shown.calibration - scale) < 0.1, "%g", shown.calibration);
        trainer_evaluator_free(evaluator);
    }
    cr_assert_float_eq(at, 1, 0.051, "%g", at);
}

Test(trainer_evaluator_values, are_saved)
{
    struct trainer_evaluator *evaluator = evaluator_make(0.5), *other = evaluator_make(0.5);
    struct base_buffer buffer = {0}, again = {0};
    struct base_error error;
    for (uint32_t i = 0; i < 50; i++) {
        feed(evaluator, i % 3 ? BASE_C1 : BASE_N0, 15, i % 3 ? 15 : 0, 0.25f * (float)i);
    }
    trainer_evaluator_save(evaluator, &buffer);
    struct base_reader reader = {base_buffer_span(&buffer), false};
    cr_assert_eq(trainer_evaluator_restore(other, &reader, &error), 0, "%s", error.text);
    trainer_evaluator_save(other, &again);
    cr_assert(base_span_equal(base_buffer_span(&buffer), base_buffer_span(&again)));
    struct trainer_value_evaluation a = trainer_evaluator_value_window(evaluator, 2),
                                    b = trainer_evaluator_value_window(other, 2);
    cr_assert(a.events > 0 && memcmp(&a, &b, sizeof a) == 0);
    trainer_evaluator_free(other);

    // One without values cannot go on from it.
    const struct trainer_evaluator_config plain = {TASKS, 2, {0}, 1, 60000, {0}, {0}};
    other = trainer_evaluator_new(&plain, &error);
    reader = (struct base_reader){base_buffer_span(&buffer), false};
    cr_assert_eq(trainer_evaluator_restore(other, &reader, &error), -1);
    trainer_evaluator_free(other);
    trainer_evaluator_free(evaluator);
    base_buffer_free(&buffer);
    base_buffer_free(&again);
}
