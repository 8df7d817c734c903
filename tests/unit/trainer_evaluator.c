// The evaluator: by hand, and against the truth of a stream whose labels come late.
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/random.h"
#include "trainer/evaluator.h"

static struct trainer_evaluator *evaluator_make(double keep_negatives)
{
    struct base_error error;
    const struct trainer_evaluator_config config = {
        .tasks = 3, .stages = 2, .parent = {0, 0, 0}, .keep_negatives = keep_negatives, .window_ms = 60000};
    struct trainer_evaluator *evaluator = trainer_evaluator_new(&config, &error);
    cr_assert_not_null(evaluator, "%s", error.text);
    return evaluator;
}

static struct base_sample sample_make(enum base_kind kind, uint8_t mask, bool click, bool purchase,
                                      int64_t time)
{
    return (struct base_sample){
        .kind = (uint8_t)kind, .mask = mask, .label = {click, purchase, 0}, .due_time = time};
}

static void feed(struct trainer_evaluator *evaluator, struct base_sample sample, float p, float q)
{
    const float conditional[3] = {p, q, 0.5f}, products[3] = {p, p * q, 0.5f * p};
    trainer_evaluator_feed(evaluator, &sample, conditional, products);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * (1 + fabs(b));
}

Test(trainer_evaluator, counts_by_hand)
{
    struct trainer_evaluator *evaluator = evaluator_make(0.5);
    feed(evaluator, sample_make(BASE_N0, 3, 0, 0, 0), 0.25f, 0.5f);  // weighs 2
    feed(evaluator, sample_make(BASE_C1, 1, 1, 0, 0), 0.75f, 0.5f);  // click in time
    feed(evaluator, sample_make(BASE_C1, 2, 0, 0, 0), 0.75f, 0.25f); // no purchase by its wait
    feed(evaluator, sample_make(BASE_L, 1, 1, 0, 0), 0.5f, 0.125f);  // the N0's click after all
    feed(evaluator, sample_make(BASE_D2, 2, 0, 1, 0), 0.5f, 0.5f);   // a late purchase
    feed(evaluator, sample_make(BASE_F3, 0, 1, 1, 0), 0.5f, 0.75f);
    struct trainer_evaluation click = trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 0);
    cr_assert_eq(click.events, 3);
    cr_assert_eq(click.positives, 2);
    double loss = -2 * log(0.75) - log(0.75) + (-log(0.5) + log(0.5));
    cr_assert(near(click.log_loss, loss / 3), "%g", click.log_loss);
    cr_assert(near(click.constant, -(2 * log(2.0 / 3) + log(1.0 / 3)) / 3));
    cr_assert(near(click.calibration, (2 * 0.25 + 0.75) / 2));
    struct trainer_evaluation same = trainer_evaluator_total(evaluator, TRAINER_MEASURE_CONDITIONAL, 0);
    cr_assert(memcmp(&same, &click, sizeof click) == 0);
    struct trainer_evaluation purchase = trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 1);
    cr_assert_eq(purchase.events, 3);
    cr_assert_eq(purchase.positives, 1);
    loss = -2 * log(0.875) - log(1 - 0.1875) + (-log(0.25) + log(0.75));
    cr_assert(near(purchase.log_loss, loss / 3), "%g", purchase.log_loss);
    // Over clicks: the one in time pays with its part, the late one at once.
    struct trainer_evaluation conversion = trainer_evaluator_total(evaluator, TRAINER_MEASURE_CONDITIONAL, 1);
    cr_assert_eq(conversion.events, 2);
    cr_assert_eq(conversion.positives, 1);
    loss = -log(0.75) - log(0.875) + (-log(0.5) + log(0.5));
    cr_assert(near(conversion.log_loss, loss / 2), "%g", conversion.log_loss);
    cr_assert(near(conversion.calibration, 0.25 + 0.125));
    struct trainer_evaluation final = trainer_evaluator_total(evaluator, TRAINER_MEASURE_FINAL, 1);
    cr_assert_eq(final.events, 1);
    cr_assert(near(final.log_loss, -log(0.75)));
    struct trainer_evaluation none = trainer_evaluator_total(evaluator, TRAINER_MEASURE_FINAL, 0);
    cr_assert_eq(none.events, 0);
    cr_assert(isnan(none.log_loss) && isnan(none.constant) && isnan(none.calibration) && isnan(none.auc));
    trainer_evaluator_free(evaluator);
}

// An impression of weight w counts w times, of whatever kind its samples are; of weight 0 not at all.
Test(trainer_evaluator, an_impressions_weight_is_how_often_it_counts)
{
    static const enum base_kind kinds[] = {BASE_N0, BASE_C1, BASE_C1, BASE_L, BASE_D2, BASE_F3};
    static const uint8_t masks[] = {3, 1, 2, 1, 2, 0};
    static const bool clicks[] = {0, 1, 0, 1, 0, 1}, purchases[] = {0, 0, 1, 0, 1, 1};
    struct trainer_evaluator *weighted = evaluator_make(0.5), *often = evaluator_make(0.5);
    for (uint32_t i = 0; i < 60; i++) {
        uint32_t k = i % 6, weight = i % 4;
        struct base_sample sample = sample_make(kinds[k], masks[k], clicks[k], purchases[k], 0);
        float p = (float)(i % 7 + 1) / 9, q = (float)(i % 5 + 1) / 7;
        for (uint32_t n = 0; n < weight; n++) {
            feed(often, sample, p, q);
        }
        sample.weighted = true;
        sample.impression_weight = (float)weight;
        feed(weighted, sample, p, q);
    }
    for (uint32_t task = 0; task < 2; task++) {
        for (int measure = 0; measure < TRAINER_MEASURES; measure++) {
            struct trainer_evaluation a =
                trainer_evaluator_total(weighted, (enum trainer_measure)measure, task);
            struct trainer_evaluation b = trainer_evaluator_total(often, (enum trainer_measure)measure, task);
            cr_assert(near(a.events, b.events) && near(a.positives, b.positives));
            cr_assert(b.events == 0 || (near(a.log_loss, b.log_loss) && near(a.constant, b.constant) &&
                                        near(a.calibration, b.calibration) &&
                                        (isnan(b.auc) ? isnan(a.auc) : near(a.auc, b.auc))));
        }
    }
    trainer_evaluator_free(weighted);
    trainer_evaluator_free(often);
}

// A C1 masked for a stage and deeper ones says that the first of them did not happen: no event of the deeper
// ones' populations.
Test(trainer_evaluator, negatives_of_deeper_stages_are_no_events_of_theirs)
{
    struct base_error error;
    const struct trainer_evaluator_config config = {
        .tasks = 4, .stages = 3, .parent = {0, 0, 0, UINT32_MAX}, .keep_negatives = 1, .window_ms = 60000};
    struct trainer_evaluator *evaluator = trainer_evaluator_new(&config, &error);
    const float predictions[4] = {0.5f, 0.5f, 0.5f, 0.5f};
    struct base_sample cart = sample_make(BASE_C1, 6, 0, 0, 0);
    trainer_evaluator_feed(evaluator, &cart, predictions, predictions);
    struct base_sample unclicked = sample_make(BASE_N0, 15, 0, 0, 0);
    trainer_evaluator_feed(evaluator, &unclicked, predictions, predictions);
    const double product[4] = {1, 2, 2, 1}, conditional[4] = {1, 1, 0, 1};
    for (uint32_t k = 0; k < 4; k++) {
        cr_assert_eq(trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, k).events, product[k]);
        cr_assert_eq(trainer_evaluator_total(evaluator, TRAINER_MEASURE_CONDITIONAL, k).events,
                     conditional[k]);
    }
    // A late cart starts a purchase's event.
    struct base_sample late = sample_make(BASE_D2, 2, 0, 1, 0);
    trainer_evaluator_feed(evaluator, &late, predictions, predictions);
    cr_assert_eq(trainer_evaluator_total(evaluator, TRAINER_MEASURE_CONDITIONAL, 2).events, 1);
    trainer_evaluator_free(evaluator);
}

// A stream of journeys with known probabilities, predicted by a model that is a little off; labels come as
// the joiner emits them, negatives are kept with probability 1/4. The evaluation must be that of final
// labels.
struct truth {
    double events, positives, loss, predictions;
};

static void truth_add(struct truth *truth, double p, bool label)
{
    truth->events++;
    truth->positives += label;
    truth->predictions += p;
    truth->loss += label ? -log(p) : -log1p(-p);
}

static void truth_compare(const struct truth *truth, struct trainer_evaluation shown, double tolerance)
{
    cr_assert(fabs(shown.events / truth->events - 1) < tolerance, "%g %g", shown.events, truth->events);
    cr_assert(fabs(shown.positives / truth->positives - 1) < tolerance);
    cr_assert(fabs(shown.log_loss / (truth->loss / truth->events) - 1) < tolerance, "%g %g", shown.log_loss,
              truth->loss / truth->events);
    cr_assert(fabs(shown.calibration / (truth->predictions / truth->positives) - 1) < tolerance);
}

Test(trainer_evaluator, converges_to_the_loss_of_final_labels)
{
    struct trainer_evaluator *evaluator = evaluator_make(0.25);
    struct truth click_truth = {0}, purchase_truth = {0}, conversion_truth = {0};
    uint64_t key = base_random_key(4, "journeys"), counter = 0;
    for (int i = 0; i < 400000; i++) {
        double p = 0.02 + 0.2 * base_random_uniform(key, counter++);
        double q = 0.1 + 0.3 * base_random_uniform(key, counter++);
        bool click = base_random_uniform(key, counter++) < p,
             late_click = base_random_uniform(key, counter++) < 0.2;
        bool purchase = click && base_random_uniform(key, counter++) < q;
        bool late_purchase = base_random_uniform(key, counter++) < 0.6 || late_click;
        bool kept = base_random_uniform(key, counter++) < 0.25;
        float shown_p = (float)(0.9 * p), shown_q = (float)(1.1 * q);
        truth_add(&click_truth, 0.9 * p, click);
        truth_add(&purchase_truth, 0.9 * p * 1.1 * q, purchase);
        if (click) {
            truth_add(&conversion_truth, 1.1 * q, purchase);
        }
        if (!click || late_click) {
            if (kept) {
                feed(evaluator, sample_make(BASE_N0, 3, 0, 0, i), shown_p, shown_q);
            }
        }
        if (click) {
            feed(evaluator, sample_make(late_click ? BASE_L : BASE_C1, 1, 1, 0, i), shown_p, shown_q);
            if (!late_click) {
                feed(evaluator, sample_make(BASE_C1, 2, 0, purchase && !late_purchase, i), shown_p, shown_q);
            }
            if (purchase && late_purchase) {
                feed(evaluator, sample_make(BASE_D2, 2, 0, 1, i), shown_p, shown_q);
            }
            feed(evaluator, sample_make(BASE_F3, 0, 1, purchase, i), shown_p, shown_q);
        }
    }
    truth_compare(&click_truth, trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 0), 0.01);
    truth_compare(&purchase_truth, trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 1), 0.01);
    truth_compare(&conversion_truth, trainer_evaluator_total(evaluator, TRAINER_MEASURE_CONDITIONAL, 1),
                  1e-5);
    truth_compare(&conversion_truth, trainer_evaluator_total(evaluator, TRAINER_MEASURE_FINAL, 1), 1e-5);
    trainer_evaluator_free(evaluator);
}

Test(trainer_evaluator, auc_agrees_with_counting_pairs)
{
    enum { N = 800 };
    struct trainer_evaluator *evaluator = evaluator_make(1);
    float p[N];
    bool label[N];
    uint64_t key = base_random_key(9, "auc");
    for (uint64_t i = 0; i < N; i++) {
        double logit = -2 + 1.5 * base_random_normal(key, i);
        p[i] = (float)(1 / (1 + exp(-logit)));
        label[i] = base_random_uniform(key, 10000 + i) < (double)p[i];
        feed(evaluator, sample_make(BASE_C1, 1, label[i], 0, 0), p[i], 0.5f);
    }
    double right = 0, pairs = 0;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            if (label[i] && !label[j]) {
                pairs++;
                right += p[i] > p[j] ? 1 : p[i] == p[j] ? 0.5 : 0;
            }
        }
    }
    double auc = trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 0).auc;
    cr_assert(fabs(auc - right / pairs) < 0.005, "%g %g", auc, right / pairs);
    trainer_evaluator_free(evaluator);
}

Test(trainer_evaluator, window_rolls_and_totals_reset)
{
    for (int64_t start = -200000; start <= 200000; start += 40000) {
        struct trainer_evaluator *evaluator = evaluator_make(1);
        for (int64_t i = 0; i < 100; i++) {
            feed(evaluator, sample_make(BASE_C1, 1, i % 2, 0, start + i * 1000), 0.5f, 0.5f);
        }
        // 99 s after the start: parts of 5 s from 40 s on.
        cr_assert_eq(trainer_evaluator_window(evaluator, TRAINER_MEASURE_PRODUCT, 0).events, 60);
        cr_assert_eq(trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 0).events, 100);
        trainer_evaluator_reset(evaluator);
        cr_assert_eq(trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 0).events, 0);
        cr_assert_eq(trainer_evaluator_window(evaluator, TRAINER_MEASURE_PRODUCT, 0).events, 60);
        trainer_evaluator_advance(evaluator, start + 110000);
        cr_assert_eq(trainer_evaluator_window(evaluator, TRAINER_MEASURE_PRODUCT, 0).events, 45);
        trainer_evaluator_advance(evaluator, start); // has been: ignored
        cr_assert_eq(trainer_evaluator_window(evaluator, TRAINER_MEASURE_PRODUCT, 0).events, 45);
        // From before the window: its oldest part.
        feed(evaluator, sample_make(BASE_C1, 1, 1, 0, start - 1000000), 0.5f, 0.5f);
        cr_assert_eq(trainer_evaluator_window(evaluator, TRAINER_MEASURE_PRODUCT, 0).events, 46);
        trainer_evaluator_advance(evaluator, start + 115000);
        cr_assert_eq(trainer_evaluator_window(evaluator, TRAINER_MEASURE_PRODUCT, 0).events, 40);
        trainer_evaluator_advance(evaluator, start + 100000000);
        cr_assert_eq(trainer_evaluator_window(evaluator, TRAINER_MEASURE_PRODUCT, 0).events, 0);
        trainer_evaluator_free(evaluator);
    }
}

Test(trainer_evaluator, predictions_at_the_ends_keep_it_finite)
{
    struct trainer_evaluator *evaluator = evaluator_make(1);
    feed(evaluator, sample_make(BASE_C1, 1, 1, 0, 0), 0, 0);
    feed(evaluator, sample_make(BASE_C1, 1, 0, 0, 0), 1, 1);
    struct trainer_evaluation shown = trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 0);
    cr_assert(isfinite(shown.log_loss) && shown.log_loss > 27);
    cr_assert_eq(shown.auc, 0);
    trainer_evaluator_free(evaluator);
}

Test(trainer_evaluator, refuses_settings_that_cannot_be)
{
    static const struct {
        uint32_t tasks, stages;
        double keep_negatives;
        int64_t window_ms;
    } cases[] = {
        {0, 1, 1, 60000}, {9, 1, 1, 60000},   {2, 3, 1, 60000}, {2, 0, 1, 60000},
        {2, 2, 0, 60000}, {2, 2, 1.5, 60000}, {2, 2, 1, 0},     {2, 2, 1, 50},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct base_error error = {0};
        const struct trainer_evaluator_config config = {.tasks = cases[i].tasks,
                                                        .stages = cases[i].stages,
                                                        .keep_negatives = cases[i].keep_negatives,
                                                        .window_ms = cases[i].window_ms};
        cr_assert_null(trainer_evaluator_new(&config, &error));
        cr_assert_eq(error.code, BASE_EINVAL);
    }
    trainer_evaluator_free(NULL);
}

static struct trainer_evaluator *evaluator_with_window(uint32_t tasks, int64_t window_ms)
{
    struct base_error error;
    const struct trainer_evaluator_config config = {
        .tasks = tasks, .stages = 2, .keep_negatives = 0.5, .window_ms = window_ms};
    struct trainer_evaluator *evaluator = trainer_evaluator_new(&config, &error);
    cr_assert_not_null(evaluator, "%s", error.text);
    return evaluator;
}

static void feed_some(struct trainer_evaluator *evaluator, uint64_t first)
{
    uint64_t key = base_random_key(first, "saved samples");
    for (uint64_t i = 0; i < 200; i++) {
        float p = (float)base_random_uniform(key, 2 * i), q = (float)base_random_uniform(key, 2 * i + 1);
        enum base_kind kind = i % 5 == 0 ? BASE_C1 : i % 7 == 0 ? BASE_L : i % 11 == 0 ? BASE_F3 : BASE_N0;
        feed(evaluator,
             sample_make(kind, kind == BASE_N0 ? 7 : 1, kind != BASE_N0, false, (int64_t)(first + i) * 400),
             p, q);
    }
}

static bool evaluations_equal(const struct trainer_evaluator *a, const struct trainer_evaluator *b,
                              bool window)
{
    bool equal = true;
    for (uint32_t measure = 0; measure < TRAINER_MEASURES; measure++) {
        for (uint32_t task = 0; task < 3; task++) {
            struct trainer_evaluation left = trainer_evaluator_total(a, measure, task);
            struct trainer_evaluation right = trainer_evaluator_total(b, measure, task);
            equal = equal && memcmp(&left, &right, sizeof left) == 0;
            left = trainer_evaluator_window(a, measure, task);
            right = trainer_evaluator_window(b, measure, task);
            equal = equal && (!window || memcmp(&left, &right, sizeof left) == 0);
        }
    }
    return equal;
}

Test(trainer_evaluator, goes_on_after_being_saved)
{
    struct base_error error;
    struct base_buffer buffer = {0};
    struct trainer_evaluator *evaluator = evaluator_with_window(3, 60000);
    struct trainer_evaluator *other = evaluator_with_window(3, 60000);
    feed_some(evaluator, 0);
    trainer_evaluator_save(evaluator, &buffer);
    base_buffer_u8(&buffer, 77); // what comes after it is left
    struct base_reader reader = {base_buffer_span(&buffer), false};
    cr_assert_eq(trainer_evaluator_restore(other, &reader, &error), 0, "%s", error.text);
    cr_assert_eq(reader.rest.size, 1);
    cr_assert(evaluations_equal(evaluator, other, true));
    for (uint64_t first = 200; first < 1000; first += 200) {
        feed_some(evaluator, first);
        feed_some(other, first);
        cr_assert(evaluations_equal(evaluator, other, true));
    }
    // Another window starts empty, the totals go on.
    struct trainer_evaluator *longer = evaluator_with_window(3, 120000);
    base_buffer_clear(&buffer);
    trainer_evaluator_save(evaluator, &buffer);
    reader = (struct base_reader){base_buffer_span(&buffer), false};
    cr_assert_eq(trainer_evaluator_restore(longer, &reader, &error), 0, "%s", error.text);
    cr_assert(evaluations_equal(evaluator, longer, false));
    cr_assert_eq(trainer_evaluator_window(longer, TRAINER_MEASURE_PRODUCT, 0).events, 0);
    trainer_evaluator_free(evaluator);
    trainer_evaluator_free(other);
    trainer_evaluator_free(longer);
    base_buffer_free(&buffer);
}

Test(trainer_evaluator, refuses_what_it_did_not_save)
{
    struct base_error error;
    struct base_buffer buffer = {0};
    struct trainer_evaluator *evaluator = evaluator_with_window(3, 60000);
    struct trainer_evaluator *other = evaluator_with_window(3, 60000);
    struct trainer_evaluator *two = evaluator_with_window(2, 60000);
    feed_some(evaluator, 0);
    feed_some(other, 0);
    trainer_evaluator_save(evaluator, &buffer);
    for (size_t i = 0; i < buffer.size; i += 13) {
        buffer.data[i] ^= 4;
        struct base_reader reader = {base_buffer_span(&buffer), false};
        cr_assert_eq(trainer_evaluator_restore(other, &reader, &error), -1);
        cr_assert_eq(error.code, BASE_EFORMAT);
        cr_assert_eq(reader.rest.size, buffer.size);
        buffer.data[i] ^= 4;
    }
    cr_assert(evaluations_equal(evaluator, other, true)); // nothing was changed
    struct base_reader reader = {base_buffer_span(&buffer), false};
    cr_assert_eq(trainer_evaluator_restore(two, &reader, &error), -1);
    cr_assert_eq(error.code, BASE_ECONFLICT);
    cr_assert_not_null(strstr(error.text, "of 3 tasks"), "%s", error.text);
    trainer_evaluator_free(evaluator);
    trainer_evaluator_free(other);
    trainer_evaluator_free(two);
    base_buffer_free(&buffer);
}

Test(trainer_evaluator, a_task_that_came_since_starts_with_nothing)
{
    struct trainer_evaluator_config config = {
        .tasks = 2, .stages = 2, .keep_negatives = 1, .window_ms = 60000};
    struct base_error error;
    struct base_buffer buffer = {0};
    struct trainer_evaluator *evaluator = trainer_evaluator_new(&config, &error);
    config.tasks = 3;
    config.kind[2] = TRAINER_LOSS_MSE; // which has sums of its own
    struct trainer_evaluator *grown = trainer_evaluator_new(&config, &error);
    feed(evaluator, sample_make(BASE_N0, 3, 0, 0, 0), 0.25f, 0.5f);
    feed(evaluator, sample_make(BASE_C1, 1, 1, 0, 0), 0.75f, 0.5f);
    trainer_evaluator_save(evaluator, &buffer);
    struct base_reader reader = {base_buffer_span(&buffer), false};
    cr_assert_eq(trainer_evaluator_restore(grown, &reader, &error), 0, "%s", error.text);
    for (uint32_t k = 0; k < 2; k++) {
        struct trainer_evaluation was = trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, k);
        struct trainer_evaluation is = trainer_evaluator_total(grown, TRAINER_MEASURE_PRODUCT, k);
        cr_assert(memcmp(&was, &is, sizeof is) == 0);
    }
    cr_assert_eq(trainer_evaluator_total(grown, TRAINER_MEASURE_PRODUCT, 2).events, 0);
    cr_assert_eq(trainer_evaluator_value_total(grown, 2).events, 0);
    // And from there it is saved and restored as any other.
    base_buffer_clear(&buffer);
    trainer_evaluator_save(grown, &buffer);
    reader = (struct base_reader){base_buffer_span(&buffer), false};
    cr_assert_eq(trainer_evaluator_restore(grown, &reader, &error), 0, "%s", error.text);
    trainer_evaluator_free(evaluator);
    trainer_evaluator_free(grown);
    base_buffer_free(&buffer);
}
