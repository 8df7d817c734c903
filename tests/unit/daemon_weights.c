// Weights and propensities from the record to the model: what a logging policy showed is weighed back to what
// there is. Records go through decoder and lane of one configuration into a model, nothing between is faked.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/minibatch.h"
#include "consumer/lane.h"
#include "consumer/schema.h"
#include "daemon/config.h"
#include "support_directory.h"
#include "trainer/evaluator.h"

// Impressions of one kind of visitors.
struct audience {
    double shown; // with this probability
    int count;    // of those that there are
    int clicks_of_ten;
};

// There are as many of each; clicks are 5 of 10. The policy shows mostly to those who click: of what is shown
// (9 * 8 + 1 * 2) / 10 = 7.4 of 10 are clicked.
static const struct audience audiences[] = {{0.9, 900, 8}, {0.1, 900, 2}};
enum { AUDIENCES = sizeof audiences / sizeof *audiences, PASSES = 20 };

struct shop {
    struct daemon_config *config;
    struct consumer_decoder *decoder;
    struct consumer_lane *lane;
    struct trainer_model *model;
    struct trainer_evaluator *evaluator;
    struct base_minibatch *minibatch;
    char directory[SUPPORT_DIRECTORY_MAX];
    uint64_t impressions[CONSUMER_TOPICS_MAX]; // records by rank
    double measured, predicted;                // sums over the last pass
};

static struct shop *shop_open(const char *fields)
{
    struct shop *shop = base_alloc_zeroed(1, sizeof *shop);
    struct base_error error = {0};
    struct base_config_problems problems = {0};
    support_directory_make(shop->directory);
    char text[1024];
    snprintf(
        text, sizeof text,
        "state_dir: %s\n"
        "source: {kind: files, path: /data}\n"
        "impression: {schema: '', %s}\n"
        "actions: [{name: click, topic: clicks, wait: 1s, window: 1s}]\n"
        "slots: [{name: item, path: item, dimension: 4}]\n"
        "model: {levels: [{experts: [16]}], towers: [16], batch: 100, rate: {dense: 0.05, sparse: 0.5}}\n",
        shop->directory, fields);
    shop->config = daemon_config_load_text("f.yaml", base_span_string(text), &problems);
    cr_assert(shop->config && problems.count == 0, "%s", problems.item[0].text);
    struct consumer_decoder_config decoder;
    daemon_config_decoder(shop->config, 0, &decoder);
    const char *schema =
        "{\"type\":\"record\",\"name\":\"I\",\"fields\":["
        "{\"name\":\"impression_id\",\"type\":\"string\"},"
        "{\"name\":\"event_time\",\"type\":\"long\"},{\"name\":\"item\",\"type\":\"string\"},"
        "{\"name\":\"shown\",\"type\":\"double\"},{\"name\":\"odds\",\"type\":\"double\"}]}";
    decoder.framing = CONSUMER_FRAMING_BARE;
    decoder.schemas = &schema;
    decoder.schema_count = 1;
    shop->decoder = consumer_decoder_new(&decoder, NULL, &error);
    cr_assert(shop->decoder, "%s", error.text);
    static char directory[DAEMON_CONFIG_PATH_MAX];
    struct consumer_lane_config lane;
    daemon_config_lane(shop->config, 0, directory, &lane);
    shop->lane = consumer_lane_new(&lane, &error);
    cr_assert(shop->lane, "%s", error.text);
    const struct trainer_model_config *model = daemon_config_model(shop->config);
    shop->model = trainer_model_new(model, true, &error);
    cr_assert(shop->model, "%s", error.text);
    const struct trainer_evaluator_config evaluator = {
        .tasks = 1, .stages = 1, .keep_negatives = 1, .window_ms = 60000};
    shop->evaluator = trainer_evaluator_new(&evaluator, &error);
    shop->minibatch = base_minibatch_new(model->network.batch);
    return shop;
}

static void shop_close(struct shop *shop)
{
    base_minibatch_free(shop->minibatch);
    trainer_evaluator_free(shop->evaluator);
    trainer_model_free(shop->model);
    consumer_lane_free(shop->lane);
    consumer_decoder_free(shop->decoder);
    daemon_config_free(shop->config);
    support_directory_remove(shop->directory);
    free(shop);
}

static void shop_learn(struct shop *shop)
{
    struct base_error error = {0};
    struct trainer_step step = {0};
    base_minibatch_seal(shop->minibatch);
    cr_assert_eq(trainer_model_step(shop->model, shop->minibatch, &step, &error), 0, "%s", error.text);
    for (uint32_t i = 0; i < shop->minibatch->count; i++) {
        trainer_evaluator_feed(shop->evaluator, &shop->minibatch->samples[i], &step.conditional[i],
                               &step.products[i]);
        shop->predicted += (double)step.conditional[i];
        shop->measured++;
    }
    base_minibatch_clear(shop->minibatch, 0);
}

static int shop_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)error;
    struct shop *shop = context;
    base_minibatch_add(shop->minibatch, sample);
    if (shop->minibatch->count == shop->minibatch->capacity) {
        shop_learn(shop);
    }
    return 0;
}

static void shop_show(struct shop *shop, const struct audience *audience, bool click, int64_t time)
{
    char id[32];
    snprintf(id, sizeof id, "i%llu", (unsigned long long)shop->impressions[0]);
    struct base_buffer bytes = {0};
    uint64_t bits[2];
    double numbers[2] = {audience->shown, 1 / audience->shown};
    memcpy(bits, numbers, sizeof bits);
    consumer_schema_put_bytes(&bytes, base_span_string(id));
    consumer_schema_put_long(&bytes, time);
    consumer_schema_put_bytes(&bytes, base_span_string("the only one"));
    base_buffer_u64(&bytes, bits[0]);
    base_buffer_u64(&bytes, bits[1]);
    struct consumer_message message = {
        .offset = (int64_t)shop->impressions[0]++, .timestamp = -1, .value = base_buffer_span(&bytes)};
    struct consumer_event event;
    struct base_error error = {0};
    cr_assert_eq(consumer_decoder_decode(shop->decoder, NULL, &message, &event, &error),
                 CONSUMER_DECODE_EVENT, "%s", error.text);
    cr_assert_eq(consumer_lane_push(shop->lane, &event, &error), 0, "%s", error.text);
    if (click) {
        event = (struct consumer_event){.rank = 1,
                                        .offset = (int64_t)shop->impressions[1]++,
                                        .event_time = time,
                                        .impression_id = event.impression_id};
        cr_assert_eq(consumer_lane_push(shop->lane, &event, &error), 0, "%s", error.text);
    }
    base_buffer_free(&bytes);
}

// One pass over what the policy shows, visitors mixed, clicks spread evenly.
static void shop_pass(struct shop *shop, int64_t begin)
{
    struct base_error error = {0};
    double due[AUDIENCES] = {0};
    int shown[AUDIENCES] = {0};
    trainer_evaluator_reset(shop->evaluator);
    shop->measured = shop->predicted = 0;
    for (int i = 0; i < audiences[0].count; i++) {
        for (uint32_t k = 0; k < AUDIENCES; k++) {
            due[k] += audiences[k].shown;
            if (due[k] >= 1 - 1e-9) {
                due[k] -= 1;
                shop_show(shop, &audiences[k], shown[k]++ * 7 % 10 < audiences[k].clicks_of_ten, begin + i);
            }
        }
    }
    consumer_lane_raise(shop->lane, 0, begin + 10000);
    consumer_lane_raise(shop->lane, 1, begin + 10000);
    cr_assert_eq(consumer_lane_run(shop->lane, begin + 9000, shop_sink, shop, &error), 0, "%s", error.text);
}

// What is predicted after learning, and what the evaluator says of it.
static double shop_learns(const char *fields, struct trainer_evaluation *evaluation)
{
    struct shop *shop = shop_open(fields);
    for (int pass = 0; pass < PASSES; pass++) {
        shop_pass(shop, pass * INT64_C(20000));
    }
    *evaluation = trainer_evaluator_total(shop->evaluator, TRAINER_MEASURE_CONDITIONAL, 0);
    double predicted = shop->predicted / shop->measured;
    shop_close(shop);
    return predicted;
}

Test(daemon_weights, a_propensity_brings_back_the_rate_of_all)
{
    struct trainer_evaluation evaluation;
    double predicted = shop_learns("allowed_lateness: 0", &evaluation);
    cr_expect_float_eq(predicted, 0.74, 0.02, "as shown: %g", predicted);
    cr_expect_float_eq(evaluation.positives / evaluation.events, 0.74, 1e-6);
    predicted = shop_learns("fields: {propensity: shown}", &evaluation);
    cr_expect_float_eq(predicted, 0.5, 0.02, "weighed back: %g", predicted);
    cr_expect_float_eq(evaluation.positives / evaluation.events, 0.5, 1e-6);
    cr_expect_float_eq(evaluation.events, 1800, 1e-3, "the visitors that there are: %g", evaluation.events);
    cr_expect_float_eq(evaluation.calibration, 1, 0.04, "%g", evaluation.calibration);
    predicted = shop_learns("fields: {weight: odds}", &evaluation);
    cr_expect_float_eq(predicted, 0.5, 0.02, "the same as a weight: %g", predicted);
}

// The least propensity bounds what one impression weighs, and lets in some of the bias.
Test(daemon_weights, the_least_propensity_bounds_a_weight)
{
    struct trainer_evaluation evaluation;
    double predicted = shop_learns("propensity_min: 0.45, fields: {propensity: shown}", &evaluation);
    double shown = 1000 * 0.9 / 0.9, rest = 1000 * 0.1 / 0.45;
    cr_expect_float_eq(predicted, (0.8 * shown + 0.2 * rest) / (shown + rest), 0.02, "%g", predicted);
}

// ---- the configuration ----

#define FILES "source: {kind: files, path: /data}\n"
#define MINIMAL FILES "slots: [{name: brand, path: categorical.brand}]\n"

static struct daemon_config *good(const char *text)
{
    struct base_config_problems problems = {0};
    struct daemon_config *config = daemon_config_load_text("f.yaml", base_span_string(text), &problems);
    cr_assert(config && problems.count == 0, "%s", problems.item[0].text);
    return config;
}

static void expect(const char *text, bool warning, const char *expected)
{
    struct base_config_problems problems = {0};
    struct daemon_config *config = daemon_config_load_text("f.yaml", base_span_string(text), &problems);
    cr_assert_eq(problems.count, 1, "%s: %u problems", text, problems.count);
    cr_expect(strstr(problems.item[0].text, expected), "%s", problems.item[0].text);
    cr_expect(problems.item[0].warning == warning && (config != NULL) == warning);
    daemon_config_free(config);
}

Test(daemon_weights, the_settings_arrive)
{
    struct daemon_config *config =
        good(MINIMAL "keep_negatives: 0.5\nnegatives_correction: weight\nimpression: {propensity_min: 0.05, "
                     "fields: {weight: numeric.w, propensity: numeric.p}}\n");
    struct consumer_decoder_config decoder;
    daemon_config_decoder(config, 0, &decoder);
    cr_assert_str_eq(decoder.weight, "numeric.w");
    cr_assert_str_eq(decoder.propensity, "numeric.p");
    cr_assert_eq(decoder.propensity_min, 0.05);
    cr_assert(daemon_config_weighted(config));
    daemon_config_decoder(config, 1, &decoder);
    cr_assert(!decoder.weight && !decoder.propensity, "the impression's alone");
    char directory[DAEMON_CONFIG_PATH_MAX];
    struct consumer_lane_config lane;
    daemon_config_lane(config, 0, directory, &lane);
    const struct trainer_loss_config *loss = &daemon_config_model(config)->loss;
    cr_assert(lane.weighs_negatives && loss->negatives_weighted && loss->keep_negatives == 0.5f);
    cr_assert_eq(daemon_config_layout(config).numeric, 0, "no feature");
    daemon_config_free(config);

    config = good(MINIMAL);
    daemon_config_decoder(config, 0, &decoder);
    daemon_config_lane(config, 0, directory, &lane);
    loss = &daemon_config_model(config)->loss;
    cr_assert(!decoder.weight && !decoder.propensity && !daemon_config_weighted(config));
    cr_assert(!lane.weighs_negatives && !loss->negatives_weighted);
    daemon_config_free(config);
}

Test(daemon_weights, what_cannot_be_is_told)
{
    expect(MINIMAL "impression: {fields: {weight: w, propensity: w}}\n", false,
           "impression.fields.propensity: \"w\" is the weight as well");
    expect(MINIMAL "impression: {propensity_min: 0, fields: {propensity: p}}\n", false,
           "impression.propensity_min");
    expect(MINIMAL "impression: {propensity_min: 1.5, fields: {propensity: p}}\n", false,
           "impression.propensity_min");
    expect(MINIMAL "negatives_correction: both\n", false, "negatives_correction");
    expect(MINIMAL "actions: [{name: click, topic: clicks, wait: 1m, window: 5m, fields: {weight: w}}]\n",
           false, "actions[0].fields: unknown setting \"weight\"");
    expect(MINIMAL "impression: {propensity_min: 0.1}\n", true, "has no effect without fields.propensity");
    expect(MINIMAL "negatives_correction: weight\n", true, "has no effect where keep_negatives is 1");
    // Known with the impression, so no leak; but is it known when the model is asked?
    expect(FILES "impression: {fields: {weight: w}}\nslots: [{name: x, path: w}]\n", true,
           "\"w\" is the impression's weight too");
    expect(FILES "impression: {fields: {propensity: numeric.p}}\nnumerics: [{name: x, path: numeric.p}]\n",
           true, "\"numeric.p\" is the impression's propensity too");
}
