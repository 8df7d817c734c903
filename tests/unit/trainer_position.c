// Positions: a bias of the click logit alone. Their rows and gradients against twins and by finite
// differences, what a score makes of them, bits, cuts, and what they are for: clicks that depend on where an
// item stood.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer/gather.h"
#include "trainer_cut_support.h"
#include "trainer_model_support.h"

enum { SLOTS = MODEL_SLOTS + 1, PLACES = 6, PLACE = 2, AGE = 3 };

// The small model with the place, of which there are few, in place of the rare key, and a second position, a
// bucket of the number. Both are named by what they are.
static struct trainer_model_config *position_config(uint32_t workers)
{
    static struct trainer_slot_config slots[SLOTS];
    struct trainer_model_config *config = model_config_make(workers);
    memcpy(slots, config->features.slot, MODEL_SLOTS * sizeof *slots);
    slots[PLACE] = (struct trainer_slot_config){.row = {"place", 4, 1, 0}, .column = 2, .position = true};
    slots[AGE] = (struct trainer_slot_config){.row = {"age at", 4, 1, 0},
                                              .bucketised = true,
                                              .boundaries = 2,
                                              .boundary = {-0.5, 0.5},
                                              .pooling = TRAINER_POOLING_MEAN,
                                              .position = true};
    config->features.slot = slots;
    config->features.slots = SLOTS;
    return config;
}

// A minibatch of the stream with few places; place >= 0: that one everywhere, -2: none.
static struct base_minibatch *position_minibatch(uint64_t first, uint32_t n, int place)
{
    struct base_minibatch *minibatch = base_minibatch_new(n);
    base_minibatch_clear(minibatch, 0);
    for (uint32_t i = 0; i < n; i++) {
        struct model_sample made;
        model_sample_make(&made, 5, first + i);
        uint64_t key = place >= 0 ? (uint64_t)place : made.rare % PLACES;
        size_t size = made.sample.columns.size - sizeof key;
        memcpy((uint8_t *)made.bytes + size, &key, sizeof key);
        if (place == -2) {
            ((uint16_t *)made.bytes)[2] = 0;
            made.sample.columns.size = size;
        }
        base_minibatch_add(minibatch, &made.sample);
    }
    base_minibatch_seal(minibatch);
    return minibatch;
}

static struct trainer_step position_step(struct trainer_model *model, const struct base_minibatch *minibatch)
{
    struct trainer_step step;
    struct base_error error;
    cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0, "%s", error.text);
    cr_assert_not(step.set_aside);
    return step;
}

static void position_train(struct trainer_model *model, uint64_t first, uint32_t steps)
{
    for (uint32_t i = 0; i < steps; i++) {
        struct base_minibatch *minibatch = position_minibatch(first + i * MODEL_BATCH, MODEL_BATCH, -1);
        position_step(model, minibatch);
        trainer_model_tick(model, minibatch->samples[MODEL_BATCH - 1].due_time);
        base_minibatch_free(minibatch);
    }
}

static float *place_vector(struct trainer_model *model, uint64_t place)
{
    const uint16_t slot = PLACE;
    trainer_row row;
    trainer_table_find(trainer_model_table(model), &place, &slot, 1, &row);
    return trainer_table_vector(trainer_model_table(model), slot, row);
}

// ---- Before anything is learned ----

Test(trainer_position, an_unlearned_position_changes_no_prediction)
{
    struct trainer_model_config *config = position_config(1);
    struct trainer_model *with = model_make(config, true);
    config->features.slots = PLACE; // user and items alone
    struct trainer_model *without = model_make(config, true);
    struct base_minibatch *minibatch = position_minibatch(0, MODEL_BATCH, -1);
    struct trainer_step one = position_step(with, minibatch), other = position_step(without, minibatch);
    size_t size = MODEL_BATCH * MODEL_TASKS * sizeof(float);
    cr_assert_eq(memcmp(one.conditional, other.conditional, size), 0);
    cr_assert_eq(memcmp(one.products, other.products, size), 0);
    cr_assert_eq(trainer_model_config(with)->network.inputs, trainer_model_config(without)->network.inputs);
    base_minibatch_free(minibatch);
    trainer_model_free(with);
    trainer_model_free(without);
}

// ---- The gather ----

// dlogits, three apart, of which only the first of three counts.
static void random_dlogits(float dlogits[3 * MODEL_BATCH])
{
    uint64_t key = base_random_key(1, "dlogits");
    for (uint32_t i = 0; i < 3 * MODEL_BATCH; i++) {
        dlogits[i] = (float)base_random_normal(key, i);
    }
}

// Items as positions, several of a sample: bias, update and squares against twins.
static void expect_gather(enum trainer_pooling pooling)
{
    struct base_error error;
    struct trainer_slot_config slots[2] = {
        {.row = {"items", 4, 1, 0}, .column = 1, .pooling = pooling, .position = true},
        {.row = {"user", 4, 1, 0}, .column = 0}};
    const struct trainer_features_config features = {{3, 1}, 2, slots, 0, NULL};
    const struct trainer_table_slot_config rows[2] = {slots[0].row, slots[1].row};
    const struct trainer_table_config config = {2, rows, 3, 1000, true, NULL};
    struct trainer_table *table = trainer_table_new(&config, &error);
    struct trainer_workers *workers = trainer_workers_new(2, &error);
    struct trainer_gather *gather = trainer_gather_new(&features, MODEL_BATCH);
    struct base_minibatch *minibatch = position_minibatch(0, MODEL_BATCH, -1);
    struct base_span columns[MODEL_BATCH];
    for (uint32_t i = 0; i < MODEL_BATCH; i++) {
        columns[i] = minibatch->samples[i].columns;
    }
    cr_assert_eq(trainer_features_check(&features, &error), 0, "%s", error.text);
    cr_assert_eq(trainer_features_width(&features), 16);
    cr_assert_eq(trainer_gather_read(gather, columns, MODEL_BATCH, &error), 0);
    trainer_gather_resolve(gather, table, 0, workers);
    const float *x = trainer_gather_pool(gather, table, workers), *bias = trainer_gather_bias(gather);
    float dlogits[3 * MODEL_BATCH], dx[16 * MODEL_BATCH] = {0};
    random_dlogits(dlogits);

    double gradient[64] = {0}, squares = 0; // by item
    float before[64] = {0};
    for (uint32_t i = 0; i < MODEL_BATCH; i++) {
        struct base_columns view;
        cr_assert(base_columns_view(columns[i], features.layout, &view));
        uint32_t count = view.count[1];
        double sum = 0;
        for (uint32_t j = 0; j < count; j++) {
            uint64_t item = view.keys[1 + j];
            trainer_row row;
            trainer_table_find(table, &item, (uint16_t[]){0}, 1, &row);
            before[item] = trainer_table_vector(table, 0, row)[0];
            double share = pooling == TRAINER_POOLING_MEAN ? 1.0 / count : 1;
            sum += (double)before[item] * share;
            gradient[item] += (double)dlogits[(size_t)3 * i] * share;
        }
        cr_assert(fabs((double)bias[i] - sum) < 1e-7, "%g %g", (double)bias[i], sum);
        cr_assert_neq(x[(size_t)16 * i], 0.0f); // the user alone, from the first column of x on
        cr_assert_eq(x[(size_t)16 * i + 4], 0.0f);
    }
    const struct trainer_optimiser_config sgd = {.rate = 0.25};
    const struct trainer_optimiser_step step = {.config = &sgd, .rate = 0.25, .divisor = 1, .batch = 1},
                                        steps[2] = {step, step};
    trainer_gather_bias_gradient(gather, dlogits, 3);
    double found = trainer_gather_squares(gather, dx, workers);
    trainer_gather_scatter(gather, table, dx, steps, workers);
    for (uint64_t item = 0; item < 60; item++) {
        trainer_row row;
        trainer_table_find(table, &item, (uint16_t[]){0}, 1, &row);
        if (row & TRAINER_ROW_OOV) {
            continue;
        }
        double after = (double)before[item] - 0.25 * gradient[item];
        cr_assert(fabs((double)trainer_table_vector(table, 0, row)[0] - after) < 1e-6);
        squares += gradient[item] * gradient[item];
    }
    cr_assert(fabs(found - squares) < 1e-5 * squares && squares > 0, "%g %g", found, squares);
    base_minibatch_free(minibatch);
    trainer_gather_free(gather);
    trainer_workers_free(workers);
    trainer_table_free(table);
}

Test(trainer_position, bias_update_and_squares_agree_with_their_twins)
{
    expect_gather(TRAINER_POOLING_SUM);
    expect_gather(TRAINER_POOLING_MEAN);
}

// ---- The step ----

static double summed_loss(struct trainer_model *model, const struct base_minibatch *minibatch)
{
    struct trainer_step step = position_step(model, minibatch);
    double loss = 0;
    for (uint32_t k = 0; k < MODEL_TASKS; k++) {
        loss += (double)step.loss[k];
    }
    return loss;
}

// A model whose weights stay: only the place's rows move, if at all.
static struct trainer_model *still_model(struct trainer_model_config *config, double rate)
{
    static struct trainer_optimiser_config slots[SLOTS];
    memset(slots, 0, sizeof slots);
    slots[PLACE].rate = rate;
    config->update.dense.rate = 0;
    config->update.slot = slots;
    struct trainer_model *model = model_make(config, true);
    struct base_minibatch *minibatch = position_minibatch(0, MODEL_BATCH, -1);
    position_step(model, minibatch); // its rows are there
    base_minibatch_free(minibatch);
    for (uint64_t place = 0; place < PLACES; place++) {
        place_vector(model, place)[0] = 0.4f * (float)place - 1;
    }
    return model;
}

// Losses of products send their gradient through the click logit (full), and the bias gets all of it.
Test(trainer_position, update_is_the_gradient_by_finite_differences)
{
    const float h = 0.0625f;
    for (uint32_t weighting = 0; weighting < 2; weighting++) {
        struct trainer_model_config *config = position_config(1);
        config->loss.weighting = (enum trainer_weighting)weighting;
        struct trainer_model *still = still_model(config, 0), *moved = still_model(config, 1);
        struct base_minibatch *minibatch = position_minibatch(0, MODEL_BATCH, -1);
        position_step(moved, minibatch);
        uint32_t seen = 0;
        for (uint64_t place = 0; place < PLACES; place++) {
            float *number = place_vector(still, place), old = *number;
            const float *after = place_vector(moved, place);
            *number = old + h;
            double above = summed_loss(still, minibatch);
            *number = old - h;
            double below = summed_loss(still, minibatch);
            *number = old;
            double expected = (above - below) / (double)(2 * h);
            double gradient = ((double)old - (double)after[0]) * MODEL_BATCH;
            cr_assert(fabs(gradient - expected) < 2e-3 * (1 + fabs(expected)), "place %d: %g %g", (int)place,
                      gradient, expected);
            cr_assert(after[1] == 0.0f && after[2] == 0.0f && after[3] == 0.0f);
            seen += fabs(expected) > 0.01;
        }
        cr_assert_gt(seen, 3);
        base_minibatch_free(minibatch);
        trainer_model_free(still);
        trainer_model_free(moved);
    }
}

// With the bias at 1 the click's odds are e times those without; the conditional of other tasks is as it was.
Test(trainer_position, the_bias_is_the_clicks_alone)
{
    struct trainer_model *model = still_model(position_config(1), 0);
    struct base_minibatch *minibatch = position_minibatch(0, MODEL_BATCH, 3);
    float before[MODEL_BATCH * MODEL_TASKS];
    place_vector(model, 3)[0] = 0;
    memcpy(before, position_step(model, minibatch).conditional, sizeof before);
    place_vector(model, 3)[0] = 1;
    const float *after = position_step(model, minibatch).conditional;
    for (uint32_t i = 0; i < MODEL_BATCH; i++) {
        const float *was = before + (size_t)i * MODEL_TASKS, *is = after + (size_t)i * MODEL_TASKS;
        double odds = (double)(is[0] / (1 - is[0])) / (double)(was[0] / (1 - was[0]));
        cr_assert(fabs(odds - exp(1)) < 1e-4, "%g", odds);
        cr_assert(is[1] == was[1] && is[2] == was[2]);
    }
    base_minibatch_free(minibatch);
    trainer_model_free(model);
}

Test(trainer_position, gradients_are_clipped_with_those_of_all_rows)
{
    struct trainer_model_config *config = position_config(1);
    config->update.clip_sparse = 1e-3;
    struct trainer_model *model = still_model(config, 1);
    float before[PLACES];
    for (uint64_t place = 0; place < PLACES; place++) {
        before[place] = place_vector(model, place)[0];
    }
    struct base_minibatch *minibatch = position_minibatch(0, MODEL_BATCH, -1);
    position_step(model, minibatch);
    double squares = 0;
    for (uint64_t place = 0; place < PLACES; place++) {
        double moved = (double)(place_vector(model, place)[0] - before[place]);
        squares += moved * moved;
    }
    cr_assert(sqrt(squares) <= 1.0001e-3 && squares > 0, "%g", sqrt(squares));
    cr_assert_eq(trainer_model_update_figures(model).clipped_sparse, 2);
    base_minibatch_free(minibatch);
    trainer_model_free(model);
}

static struct trainer_model_config *optimised_config(uint32_t workers, enum trainer_optimiser_kind kind)
{
    struct trainer_model_config *config = position_config(workers);
    config->update.sparse = trainer_optimiser_usual(kind, 0.1);
    config->update.sparse.lambda1 = 0.001;
    return config;
}

Test(trainer_position, same_bits_for_any_number_of_workers)
{
    static const uint32_t workers[3] = {1, 2, 8};
    for (uint32_t kind = 0; kind <= TRAINER_OPTIMISER_ADAM; kind++) {
        uint64_t hash[3];
        for (uint32_t w = 0; w < 3; w++) {
            struct trainer_model *model =
                model_make(optimised_config(workers[w], (enum trainer_optimiser_kind)kind), true);
            position_train(model, 0, 30);
            hash[w] = trainer_model_hash(model);
            for (uint64_t place = 0; place < PLACES; place++) {
                const float *vector = place_vector(model, place);
                cr_assert(vector[0] != 0.0f && vector[1] == 0.0f && vector[2] == 0.0f && vector[3] == 0.0f);
            }
            trainer_model_free(model);
        }
        cr_assert(hash[0] == hash[1] && hash[1] == hash[2], "optimiser %u", kind);
    }
}

// ---- Scores ----

// What is scored is what a step predicts of impressions that all were at the place of `serving`, or nowhere.
static void expect_served(bool serves, uint64_t serving)
{
    struct base_error error;
    struct trainer_model_config *config = position_config(2);
    config->features.slots = AGE;               // the place alone
    config->features.slot[1].row.expiry_ms = 0; // a step drops rows before it predicts
    config->features.slot[PLACE].serves = serves;
    config->features.slot[PLACE].serving = serving;
    struct trainer_model *model = model_make(config, true);
    position_train(model, 0, 40);
    struct base_minibatch *shown = position_minibatch(400, MODEL_BATCH, -1);
    struct base_minibatch *served = position_minibatch(400, MODEL_BATCH, serves ? (int)serving : -2);
    struct base_span columns[MODEL_BATCH];
    for (uint32_t i = 0; i < MODEL_BATCH; i++) {
        columns[i] = shown->samples[i].columns;
    }
    enum { SCORES = MODEL_BATCH * MODEL_TASKS };
    float scored[3][SCORES], products[SCORES];
    cr_assert_eq(trainer_model_predict(model, columns, MODEL_BATCH, scored[0], products, &error), 0);
    struct trainer_scorer *scorer = trainer_scorer_new(model, &error);
    cr_assert_eq(trainer_scorer_predict(scorer, columns, MODEL_BATCH, scored[1], NULL, &error), 0);
    trainer_scorer_free(scorer);
    struct trainer_snapshot *snapshot = trainer_model_snapshot(model, 1, true);
    struct trainer_model *reader = model_load(NULL, config, snapshot);
    cr_assert_eq(trainer_model_predict(reader, columns, MODEL_BATCH, scored[2], NULL, &error), 0);
    trainer_model_settle(model, snapshot, true);
    trainer_snapshot_free(snapshot);
    struct trainer_step step = position_step(model, served);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(memcmp(scored[i], step.conditional, sizeof scored[i]), 0, "%u", i);
    }
    cr_assert_eq(memcmp(products, step.products, sizeof products), 0);
    base_minibatch_free(shown);
    base_minibatch_free(served);
    trainer_model_free(reader);
    trainer_model_free(model);
}

Test(trainer_position, a_score_is_the_prediction_at_the_place_of_serving)
{
    expect_served(true, 4);
    expect_served(true, 77); // was never seen: the out-of-vocabulary row
    expect_served(false, 0);
}

// ---- Cuts ----

Test(trainer_position, goes_on_from_a_cut)
{
    static const enum trainer_optimiser_kind kinds[] = {
        TRAINER_OPTIMISER_SGD, TRAINER_OPTIMISER_ROWWISE_ADAGRAD, TRAINER_OPTIMISER_FTRL};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct map map = {0};
        struct trainer_model *model = model_make(optimised_config(1, kinds[i]), true);
        position_train(model, 0, 20);
        cut_at_once(model, &map);
        struct trainer_model *other = cut_restore(optimised_config(2, kinds[i]), &map);
        cr_assert_eq(trainer_model_hash(other), trainer_model_hash(model));
        position_train(model, 160, 20);
        position_train(other, 160, 20);
        cr_assert_eq(trainer_model_hash(other), trainer_model_hash(model));
        map_free(&map);
        trainer_model_free(other);
        trainer_model_free(model);
    }
}

// A position that comes later changes no prediction, as it begins at zero.
Test(trainer_position, comes_to_a_model_that_has_learned)
{
    struct map map = {0};
    struct trainer_model_config *config = position_config(1);
    config->features.slots = PLACE; // user and items alone
    struct trainer_model *model = model_make(config, true);
    position_train(model, 0, 20);
    cut_at_once(model, &map);
    struct trainer_model *grown = cut_restore(position_config(1), &map);
    struct base_minibatch *minibatch = position_minibatch(160, MODEL_BATCH, -1);
    struct trainer_step one = position_step(model, minibatch), other = position_step(grown, minibatch);
    cr_assert_eq(memcmp(one.conditional, other.conditional, MODEL_BATCH * MODEL_TASKS * sizeof(float)), 0);
    struct model_sample made;
    model_sample_make(&made, 5, 160);
    cr_assert_neq(place_vector(grown, made.rare % PLACES)[0], 0.0f);
    base_minibatch_free(minibatch);
    map_free(&map);
    trainer_model_free(grown);
    trainer_model_free(model);
}

// Neither becomes the other on the way: the function would be another.
static void expect_another_role(bool was_position)
{
    struct map map = {0};
    struct base_error error;
    struct trainer_model_config *config = position_config(1);
    config->features.slots = AGE;
    config->features.slot[PLACE].position = was_position;
    struct trainer_model *model = model_make(config, true);
    position_train(model, 0, 5);
    cut_at_once(model, &map);
    trainer_model_free(model);
    config->features.slot[PLACE].position = !was_position;
    model = model_make(config, true);
    struct trainer_cut_source source = map_source(&map, false);
    cr_assert_eq(trainer_model_restore(model, &source, &error), -1);
    cr_assert_eq(error.code, BASE_ECONFLICT);
    const char *said = was_position ? "slot place fed the click logit alone" : "slot place fed the network";
    cr_assert_not_null(strstr(error.text, said), "%s", error.text);
    trainer_model_free(model);
    map_free(&map);
}

Test(trainer_position, a_cut_knows_the_role)
{
    expect_another_role(true);
    expect_another_role(false);
}

Test(trainer_position, refuses_what_cannot_be)
{
    struct base_error error = {0};
    struct trainer_model_config *config = position_config(1);
    struct trainer_features_config *features = &config->features;
    cr_assert_eq(trainer_features_check(features, &error), 0, "%s", error.text);
#define REFUSED(said)                                           \
    cr_assert_eq(trainer_features_check(features, &error), -1); \
    cr_assert_eq(error.code, BASE_EINVAL);                      \
    cr_assert_not_null(strstr(error.text, said), "%s", error.text)
    features->slot[PLACE].row.dimension = 8;
    REFUSED("slot place: a position is a column, no cross, and has dimension 4");
    features->slot[PLACE].row.dimension = 4;
    features->slot[0].crossed = 2;
    features->slot[0].cross[0] = 1;
    features->slot[0].cross[1] = PLACE;
    REFUSED("slot user: a cross with slot place, which is a position");
    features->slot[0].crossed = 0;
    features->slot[PLACE].crossed = 2;
    features->slot[PLACE].cross[1] = 1;
    REFUSED("no cross");
    features->slot[0] = position_config(1)->features.slot[AGE];
    features->slots = 1;
    features->numerics = 0;
    REFUSED("neither a slot");
}

// ---- What it is for ----

enum {
    SHOP_ITEMS = 60,
    SHOP_PLACES = 8,
    SHOP_BATCH = 64,
    SHOP_STEPS = 6000,
};
enum shop_way { SHOP_ROLE, SHOP_FEATURE, SHOP_WITHOUT, SHOP_WAYS };

// An item's click logit when it is looked at, in [-1.5, 1.5]; by its number, in no order.
static double shop_relevance(uint64_t item)
{
    return 3.0 * (double)(item * 37 % SHOP_ITEMS) / (SHOP_ITEMS - 1) - 1.5;
}

// A place is looked at with this probability.
static double shop_examination(uint64_t place)
{
    return 1 / (1 + 1.5 * (double)place);
}

static double shop_rank(uint64_t item)
{
    return (shop_relevance(item) + 1.5) / 3 * (SHOP_PLACES - 1);
}

// The policy that logged: it puts an item by its rank in an order that has the best items last, more or less,
// and one of 30 anywhere.
static uint64_t shop_place(uint64_t item, uint64_t key, uint64_t *counter)
{
    bool anywhere = base_random_bits(key, (*counter)++) % 30 == 0;
    uint64_t draw = base_random_bits(key, (*counter)++);
    double rank = shop_rank(item) + (double)(draw % 5) / 2 - 1;
    rank = rank < 0 ? 0 : rank > SHOP_PLACES - 1 ? SHOP_PLACES - 1 : rank;
    return anywhere ? draw >> 8 & (SHOP_PLACES - 1) : (uint64_t)(rank + 0.5);
}

static struct trainer_model *shop_model(enum shop_way way)
{
    struct trainer_slot_config slots[2] = {
        {.row = {"item", 4, 1, 0}, .column = 0},
        {.row = {"place", 4, 1, 0}, .column = 1, .position = way == SHOP_ROLE, .serves = way == SHOP_ROLE}};
    const struct trainer_model_config config = {
        .features = {{2, 0}, way == SHOP_WITHOUT ? 1 : 2, slots, 0, NULL},
        .network = {.body = TRAINER_BODY_SHARED_BOTTOM,
                    .levels = 1,
                    .level = {{.widths = {16}, .layers = 1}},
                    .batch = SHOP_BATCH},
        .loss = {.tasks = 1, .stages = 1, .task_weight = {1}, .keep_negatives = 1},
        .task_names = {"click"},
        .update.dense.rate = 0.05,
        .update.sparse.rate = 5,
        .seed = 3,
        .rows_max = 10000,
        .workers = 1,
    };
    return model_make(&config, true);
}

struct shop_bytes {
    uint16_t count[4];
    uint64_t keys[2]; // item, place
};

static void shop_train(struct trainer_model *model)
{
    uint64_t key = base_random_key(4, "shop"), counter = 0;
    struct base_minibatch *minibatch = base_minibatch_new(SHOP_BATCH);
    for (uint32_t step = 0; step < SHOP_STEPS; step++) {
        base_minibatch_clear(minibatch, 0);
        for (uint32_t i = 0; i < SHOP_BATCH; i++) {
            uint64_t item = base_random_bits(key, counter++) % SHOP_ITEMS,
                     place = shop_place(item, key, &counter);
            struct shop_bytes bytes = {{1, 1, 0, 0}, {item, place}};
            double click = shop_examination(place) / (1 + exp(-shop_relevance(item)));
            struct base_sample sample = {.mask = 1, .weight = {1}, .trains = 1, .sequence = i};
            sample.label[0] = base_random_uniform(key, counter++) < click;
            sample.impression_id = base_span_string("i");
            sample.columns = base_span_make(&bytes, sizeof bytes);
            base_minibatch_add(minibatch, &sample);
        }
        base_minibatch_seal(minibatch);
        position_step(model, minibatch);
    }
    base_minibatch_free(minibatch);
}

enum shop_score { SHOP_FIRST, SHOP_NOWHERE, SHOP_USUAL, SHOP_SCORES };

// Scores as if each item stood at the first place, with no place, or where the policy puts it.
static void shop_score(struct trainer_model *model, enum shop_score how, float scores[SHOP_ITEMS])
{
    struct shop_bytes bytes[SHOP_ITEMS];
    struct base_span columns[SHOP_ITEMS];
    struct base_error error;
    for (uint64_t item = 0; item < SHOP_ITEMS; item++) {
        bool placed = how != SHOP_NOWHERE;
        uint64_t place = how == SHOP_USUAL ? (uint64_t)(shop_rank(item) + 0.5) : 0;
        bytes[item] = (struct shop_bytes){{1, placed, 0, 0}, {item, place}};
        columns[item] = base_span_make(&bytes[item], sizeof bytes[item] - (placed ? 0 : 8));
    }
    cr_assert_eq(trainer_model_predict(model, columns, SHOP_ITEMS, scores, NULL, &error), 0);
}

// The share of pairs of items that the scores put in the order of their relevance.
static double shop_order(const float scores[SHOP_ITEMS])
{
    uint32_t right = 0, pairs = 0;
    for (uint64_t a = 0; a < SHOP_ITEMS; a++) {
        for (uint64_t b = 0; b < SHOP_ITEMS; b++) {
            if (shop_relevance(a) < shop_relevance(b)) {
                pairs++;
                right += scores[a] < scores[b];
            }
        }
    }
    return (double)right / pairs;
}

// Items that the policy puts last are the most relevant, and are clicked least. A model without the place
// learns the clicks, and so does one that has it as a feature and scores with the place that an item would
// get. The role cannot; a plain feature can do as well if whoever scores keeps it constant.
Test(trainer_position, ranks_by_relevance_where_a_policy_placed_the_items)
{
    double order[SHOP_WAYS][SHOP_SCORES];
    float scores[SHOP_ITEMS];
    for (uint32_t way = 0; way < SHOP_WAYS; way++) {
        struct trainer_model *model = shop_model((enum shop_way)way);
        shop_train(model);
        for (uint32_t how = 0; how < SHOP_SCORES; how++) {
            shop_score(model, (enum shop_score)how, scores);
            order[way][how] = shop_order(scores);
        }
        trainer_model_free(model);
    }
    const double *role = order[SHOP_ROLE], *feature = order[SHOP_FEATURE], *without = order[SHOP_WITHOUT];
    cr_log_info(
        "pairs in order: role %.3f; feature, scored at the first place %.3f, nowhere %.3f, as placed %.3f; "
        "without %.3f",
        role[0], feature[SHOP_FIRST], feature[SHOP_NOWHERE], feature[SHOP_USUAL], without[0]);
    cr_assert(role[SHOP_FIRST] == role[SHOP_NOWHERE] && role[SHOP_FIRST] == role[SHOP_USUAL]);
    cr_assert(role[0] > 0.9 && without[0] < 0.4 && feature[SHOP_USUAL] < 0.4);
}
