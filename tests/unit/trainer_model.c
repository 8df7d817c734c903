// The model: its step against a slow twin in double precision, and what model.h promises of bits.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/blas.h"
#include "trainer/evaluator.h"
#include "trainer_model_support.h"

// ---- The twin: parameters in double precision, the forward pass by the words of docs/models.md, gradients
// by central differences of the loss.

enum { TWIN_SAMPLES = 7, TWIN_ROWS = 256 };

struct twin_row {
    uint16_t slot;
    uint64_t key;
    double vector[8];
};

struct twin {
    struct trainer_model *model;
    const struct trainer_model_config *config;
    const struct trainer_tensor *tensors;
    uint32_t tensor_count;
    double *dense; // every tensor at its offset
    struct twin_row rows[TWIN_ROWS];
    uint32_t row_count;
    struct model_sample samples[TWIN_SAMPLES];
    double frozen[TWIN_SAMPLES][MODEL_TASKS]; // logits before any parameter is moved, for ctcvr_to_ctr: stop
};

static const double *twin_tensor(const struct twin *twin, const char *name)
{
    for (uint32_t t = 0; t < twin->tensor_count; t++) {
        if (strcmp(twin->tensors[t].name, name) == 0) {
            return twin->dense + twin->tensors[t].offset;
        }
    }
    cr_assert_fail("no tensor %s", name);
    return NULL;
}

static const double *twin_vector(const struct twin *twin, uint16_t slot, uint64_t key)
{
    for (uint32_t i = 0; i < twin->row_count; i++) {
        if (twin->rows[i].slot == slot && twin->rows[i].key == key) {
            return twin->rows[i].vector;
        }
    }
    cr_assert_eq(slot, 2);
    return twin_tensor(twin, "oov.rare");
}

static void twin_x(const struct twin *twin, const struct model_sample *sample, double *x)
{
    memset(x, 0, MODEL_WIDTH * sizeof *x);
    memcpy(x, twin_vector(twin, 0, sample->user), 4 * sizeof *x);
    for (uint32_t i = 0; i < sample->item_count; i++) {
        const double *vector = twin_vector(twin, 1, sample->items[i]);
        for (uint32_t d = 0; d < 8; d++) {
            x[4 + d] += vector[d] / sample->item_count;
        }
    }
    memcpy(x + 12, twin_vector(twin, 2, sample->rare), 4 * sizeof *x);
    x[16] = (sample->number - 1) / 2;
}

// y [outputs] = x W + b, ReLU if asked.
static void twin_layer(const struct twin *twin, const char *name, bool biased, bool relu, const double *x,
                       uint32_t inputs, double *y, uint32_t outputs)
{
    char part[160];
    snprintf(part, sizeof part, "%s.weight", name);
    const double *weight = twin_tensor(twin, part);
    snprintf(part, sizeof part, "%s.bias", name);
    const double *bias = biased ? twin_tensor(twin, part) : NULL;
    for (uint32_t o = 0; o < outputs; o++) {
        y[o] = biased ? bias[o] : 0;
        for (uint32_t i = 0; i < inputs; i++) {
            y[o] += x[i] * weight[i * outputs + o];
        }
        y[o] = relu && y[o] < 0 ? 0 : y[o];
    }
}

// One extraction level: in[0..tasks] (the last: shared) -> out.
static void twin_level(const struct twin *twin, uint32_t l, double in[][64], uint32_t inputs,
                       double out[][64])
{
    const struct trainer_level_config *level = &twin->config->network.level[l];
    bool last = l + 1 == twin->config->network.levels;
    double experts[MODEL_TASKS + 1][4][64];
    uint32_t width = 0;
    char name[48], expert[96];
    for (uint32_t g = 0; g <= MODEL_TASKS; g++) {
        snprintf(name, sizeof name, g < MODEL_TASKS ? "level%u.task%u" : "level%u.shared", l, g);
        for (uint32_t e = 0; e < (g < MODEL_TASKS ? level->per_task : level->shared); e++) {
            double buffers[2][64];
            memcpy(buffers[0], in[g], sizeof buffers[0]);
            width = inputs;
            for (uint32_t j = 0; j < level->layers; j++) {
                snprintf(expert, sizeof expert, "%s.expert%u.layer%u", name, e, j);
                twin_layer(twin, expert, true, true, buffers[j % 2], width, buffers[(j + 1) % 2],
                           level->widths[j]);
                width = level->widths[j];
            }
            memcpy(experts[g][e], buffers[level->layers % 2], sizeof experts[g][e]);
        }
    }
    for (uint32_t g = 0; g < (last ? MODEL_TASKS : MODEL_TASKS + 1u); g++) {
        const double *weighed[16];
        uint32_t count = 0;
        for (uint32_t task = 0; task < MODEL_TASKS; task++) {
            for (uint32_t e = 0; e < level->per_task && (task == g || g == MODEL_TASKS); e++) {
                weighed[count++] = experts[task][e];
            }
        }
        for (uint32_t e = 0; e < level->shared; e++) {
            weighed[count++] = experts[MODEL_TASKS][e];
        }
        double scores[16], sum = 0;
        snprintf(name, sizeof name, g < MODEL_TASKS ? "level%u.task%u.gate" : "level%u.shared.gate", l, g);
        twin_layer(twin, name, false, false, in[g], inputs, scores, count);
        for (uint32_t e = 0; e < count; e++) {
            sum += exp(scores[e]);
        }
        memset(out[g], 0, sizeof out[g]);
        for (uint32_t e = 0; e < count; e++) {
            for (uint32_t j = 0; j < width; j++) {
                out[g][j] += exp(scores[e]) / sum * weighed[e][j];
            }
        }
    }
}

static void twin_forward(const struct twin *twin, const struct model_sample *sample, double *logits)
{
    double vectors[2][MODEL_TASKS + 1][64];
    uint32_t width = MODEL_WIDTH;
    for (uint32_t g = 0; g <= MODEL_TASKS; g++) {
        twin_x(twin, sample, vectors[0][g]);
    }
    for (uint32_t l = 0; l < twin->config->network.levels; l++) {
        twin_level(twin, l, vectors[l % 2], width, vectors[(l + 1) % 2]);
        width = twin->config->network.level[l].widths[twin->config->network.level[l].layers - 1];
    }
    for (uint32_t k = 0; k < MODEL_TASKS; k++) {
        char name[64];
        double hidden[64];
        snprintf(name, sizeof name, "task%u.tower.layer0", k);
        twin_layer(twin, name, true, true, vectors[twin->config->network.levels % 2][k], width, hidden, 16);
        snprintf(name, sizeof name, "task%u.tower.output", k);
        twin_layer(twin, name, true, false, hidden, 16, &logits[k], 1);
    }
}

// The summed weighted loss of all samples.
static double twin_loss(const struct twin *twin)
{
    double total = 0;
    for (uint32_t i = 0; i < TWIN_SAMPLES; i++) {
        const struct base_sample *sample = &twin->samples[i].sample;
        double logits[MODEL_TASKS];
        twin_forward(twin, &twin->samples[i], logits);
        for (uint32_t k = 0; k < MODEL_TASKS; k++) {
            if (!(sample->mask >> k & 1)) {
                continue;
            }
            // Click and the favourite's parent: stage 0; the purchase stands on stage 0 too.
            double p = 1 / (1 + exp(-logits[k]));
            if (k > 0) {
                p /= 1 + exp(twin->config->loss.full ? -logits[0] : -twin->frozen[i][0]);
            }
            double weight = (double)twin->config->loss.task_weight[k] * (double)sample->weight[k];
            total += weight * (sample->label[k] ? -log(p) : -log1p(-p));
        }
    }
    return total;
}

static double twin_gradient(struct twin *twin, double *parameter)
{
    const double h = 1e-6, old = *parameter;
    *parameter = old + h;
    double above = twin_loss(twin);
    *parameter = old - h;
    double below = twin_loss(twin);
    *parameter = old;
    return (above - below) / (2 * h);
}

static void twin_add_row(struct twin *twin, uint16_t slot, uint64_t key)
{
    for (uint32_t i = 0; i < twin->row_count; i++) {
        if (twin->rows[i].slot == slot && twin->rows[i].key == key) {
            return;
        }
    }
    cr_assert_lt(twin->row_count, TWIN_ROWS);
    struct trainer_table *table = trainer_model_table(twin->model);
    trainer_row row;
    trainer_table_resolve(table, &key, &slot, 1, 0, &row);
    struct twin_row *added = &twin->rows[twin->row_count++];
    *added = (struct twin_row){.slot = slot, .key = key};
    for (uint32_t d = 0; d < (slot == 0 ? 4 : 8); d++) {
        // Larger than new rows are, so that the gradients through them are seen.
        float *vector = trainer_table_vector(table, slot, row);
        vector[d] = 100 * vector[d];
        added->vector[d] = (double)vector[d];
    }
}

static struct twin *twin_new(struct trainer_model *model, uint64_t first)
{
    struct twin *twin = base_alloc_zeroed(1, sizeof *twin);
    twin->model = model;
    twin->config = trainer_model_config(model);
    twin->tensors = trainer_model_tensors(model, &twin->tensor_count);
    const struct trainer_tensor *end = &twin->tensors[twin->tensor_count - 1];
    twin->dense = base_alloc_zeroed(end->offset + 1024, sizeof *twin->dense);
    for (uint32_t t = 0; t < twin->tensor_count; t++) {
        const float *values = trainer_model_tensor(model, t);
        for (uint32_t i = 0; i < twin->tensors[t].rows * twin->tensors[t].columns; i++) {
            twin->dense[twin->tensors[t].offset + i] = (double)values[i];
        }
    }
    for (uint32_t i = 0; i < TWIN_SAMPLES; i++) {
        struct model_sample *sample = &twin->samples[i];
        model_sample_make(sample, 3, first + i);
        twin_add_row(twin, 0, sample->user);
        for (uint32_t j = 0; j < sample->item_count; j++) {
            twin_add_row(twin, 1, sample->items[j]);
        }
    }
    for (uint32_t i = 0; i < TWIN_SAMPLES; i++) {
        twin_forward(twin, &twin->samples[i], twin->frozen[i]);
    }
    return twin;
}

// A weight moved by rate / batch * gradient: compared as gradients.
static void twin_compare(struct twin *twin, double *parameter, float after, double rate, const char *name)
{
    double gradient = twin_gradient(twin, parameter);
    double moved = (*parameter - (double)after) * MODEL_BATCH / rate;
    cr_assert(fabs(moved - gradient) < 2e-5 + 2e-4 * fabs(gradient), "%s: %g, should be %g", name, moved,
              gradient);
}

static void twin_check_step(bool full)
{
    struct trainer_model_config *config = model_config_make(2);
    config->loss.full = full;
    config->features.slot[1].row.expiry_ms = 0; // rows are made before the step, at time 0
    struct trainer_model *model = model_make(config, true);
    struct twin *twin = twin_new(model, 100);
    struct base_minibatch *minibatch = model_minibatch(3, 100, TWIN_SAMPLES);
    struct trainer_step step;
    struct base_error error;
    cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
    cr_assert_not(step.set_aside);
    double loss = 0;
    for (uint32_t k = 0; k < MODEL_TASKS; k++) {
        loss += (double)step.loss[k];
    }
    cr_assert(fabs(loss - twin_loss(twin)) < 1e-4, "%g %g", loss, twin_loss(twin));
    for (uint32_t i = 0; i < TWIN_SAMPLES; i++) {
        for (uint32_t k = 0; k < MODEL_TASKS; k++) {
            double p = 1 / (1 + exp(-twin->frozen[i][k])), q = k ? p / (1 + exp(-twin->frozen[i][0])) : p;
            cr_assert(fabs((double)step.conditional[i * MODEL_TASKS + k] - p) < 1e-5);
            cr_assert(fabs((double)step.products[i * MODEL_TASKS + k] - q) < 1e-5);
        }
    }
    for (uint32_t t = 0; t < twin->tensor_count; t++) {
        const float *values = trainer_model_tensor(model, t);
        double rate = strncmp(twin->tensors[t].name, "oov.", 4) == 0 ? config->update.sparse.rate
                                                                     : config->update.dense.rate;
        for (uint32_t i = 0; i < twin->tensors[t].rows * twin->tensors[t].columns; i++) {
            twin_compare(twin, &twin->dense[twin->tensors[t].offset + i], values[i], rate,
                         twin->tensors[t].name);
        }
    }
    for (uint32_t i = 0; i < twin->row_count; i++) {
        struct twin_row *row = &twin->rows[i];
        trainer_row number;
        trainer_table_find(trainer_model_table(model), &row->key, &row->slot, 1, &number);
        const float *vector = trainer_table_vector(trainer_model_table(model), row->slot, number);
        for (uint32_t d = 0; d < (row->slot == 0 ? 4 : 8); d++) {
            twin_compare(twin, &row->vector[d], vector[d], config->update.sparse.rate, "row");
        }
    }
    base_minibatch_free(minibatch);
    free(twin->dense);
    free(twin);
    trainer_model_free(model);
}

Test(trainer_model, step_agrees_with_its_twin_full)
{
    twin_check_step(true);
}

Test(trainer_model, step_agrees_with_its_twin_stop)
{
    twin_check_step(false);
}

// ---- Bits.

Test(trainer_model, bits_do_not_depend_on_workers)
{
    uint64_t hashes[3];
    const uint32_t workers[3] = {1, 2, 8};
    for (int i = 0; i < 3; i++) {
        struct trainer_model *model = model_make(model_config_make(workers[i]), true);
        model_train(model, 1, 0, 60);
        hashes[i] = trainer_model_hash(model);
        cr_assert_eq(trainer_model_examples(model), 60 * MODEL_BATCH);
        trainer_model_free(model);
    }
    cr_assert_eq(hashes[0], hashes[1]);
    cr_assert_eq(hashes[0], hashes[2]);
}

Test(trainer_model, hash_differs_between_streams_and_seeds)
{
    uint64_t hashes[3];
    for (int i = 0; i < 3; i++) {
        struct trainer_model_config *config = model_config_make(1);
        config->seed = i == 1 ? 12 : 11;
        struct trainer_model *model = model_make(config, true);
        model_train(model, i == 2 ? 2 : 1, 0, 3);
        hashes[i] = trainer_model_hash(model);
        trainer_model_free(model);
    }
    cr_assert(hashes[0] != hashes[1] && hashes[0] != hashes[2]);
}

static void spans_of(const struct base_minibatch *minibatch, struct base_span *columns)
{
    for (uint32_t i = 0; i < minibatch->count; i++) {
        columns[i] = minibatch->samples[i].columns;
    }
}

// What a step predicts, the model and a scorer predict before it, bit for bit, in any number at once.
Test(trainer_model, predictions_are_the_same_bits_everywhere)
{
    if (!trainer_blas_rows_stable()) {
        cr_skip_test("the BLAS kernels of this machine do not keep a row's bits");
    }
    struct base_error error;
    struct trainer_model_config *config = model_config_make(2);
    config->features.slot[1].row.expiry_ms = 0;
    struct trainer_model *model = model_make(config, true);
    struct trainer_scorer *scorer = trainer_scorer_new(model, &error);
    cr_assert_not_null(scorer);
    // New rows differ from the out-of-vocabulary row, which a prediction before the step would use: train
    // them first.
    model_train(model, 1, 0, 60);
    enum { MANY = 3 * MODEL_BATCH + 1, NUMBERS = MANY * MODEL_TASKS };
    for (uint64_t round = 0; round < 5; round++) {
        struct base_minibatch *all = model_minibatch(1, round * MANY, MANY);
        struct base_span columns[MANY];
        float conditional[4][NUMBERS], products[4][NUMBERS];
        spans_of(all, columns);
        trainer_model_predict(model, columns, MANY, conditional[0], products[0], &error);
        trainer_scorer_predict(scorer, columns, MANY, conditional[1], NULL, &error);
        trainer_scorer_predict(scorer, columns, MANY, NULL, products[1], &error);
        for (uint32_t i = 0; i < MANY; i++) {
            trainer_scorer_predict(scorer, &columns[i], 1, &conditional[2][i * MODEL_TASKS],
                                   &products[2][i * MODEL_TASKS], &error);
        }
        cr_assert(memcmp(conditional[0], conditional[1], sizeof conditional[0]) == 0);
        cr_assert(memcmp(conditional[0], conditional[2], sizeof conditional[0]) == 0);
        cr_assert(memcmp(products[0], products[1], sizeof products[0]) == 0);
        cr_assert(memcmp(products[0], products[2], sizeof products[0]) == 0);
        struct base_minibatch *few = model_minibatch(1, round * MANY, MODEL_BATCH - (uint32_t)round);
        struct trainer_step step;
        cr_assert_eq(trainer_model_step(model, few, &step, &error), 0);
        size_t size = (size_t)few->count * MODEL_TASKS * sizeof(float);
        cr_assert(memcmp(step.conditional, conditional[0], size) == 0);
        cr_assert(memcmp(step.products, products[0], size) == 0);
        base_minibatch_free(few);
        base_minibatch_free(all);
    }
    trainer_scorer_free(scorer);
    trainer_scorer_free(NULL);
    trainer_model_free(model);
}

// ---- Behaviour.

Test(trainer_model, a_minibatch_that_is_not_finite_is_set_aside)
{
    struct base_error error;
    struct trainer_model_config *config = model_config_make(1);
    config->features.slot[1].row.expiry_ms = 0;
    struct trainer_model *model = model_make(config, true);
    model_train(model, 1, 0, 20);
    struct base_minibatch *minibatch = model_minibatch(1, 40, MODEL_BATCH);
    struct trainer_step step;
    // First a poisoned row, then a sample's weight that is not a number.
    struct model_sample sample;
    model_sample_make(&sample, 1, 42);
    uint16_t slot = 0;
    trainer_row row;
    trainer_table_find(trainer_model_table(model), &sample.user, &slot, 1, &row);
    float *vector = trainer_table_vector(trainer_model_table(model), 0, row);
    const float values[] = {NAN, INFINITY, -INFINITY, 1e38f, 1e30f};
    float good = vector[1];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        vector[1] = values[i];
        uint64_t before = trainer_model_hash(model);
        cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
        cr_assert(step.set_aside, "%g", (double)values[i]);
        cr_assert_eq(trainer_model_hash(model), before);
    }
    vector[1] = good;
    minibatch->samples[3].weight[0] = NAN;
    minibatch->samples[3].mask |= 1;
    uint64_t before = trainer_model_hash(model);
    cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
    cr_assert(step.set_aside);
    cr_assert_eq(trainer_model_hash(model), before);
    cr_assert_eq(trainer_model_examples(model), 20 * MODEL_BATCH);
    minibatch->samples[3].weight[0] = 1;
    cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
    cr_assert_not(step.set_aside);
    cr_assert_neq(trainer_model_hash(model), before);
    base_minibatch_free(minibatch);
    trainer_model_free(model);
}

Test(trainer_model, learns_a_stream)
{
    struct base_error error;
    struct trainer_model_config *config = model_config_make(1);
    config->update.dense.rate = 0.2;
    config->update.sparse.rate = 2;
    struct trainer_model *model = model_make(config, true);
    const struct trainer_evaluator_config evaluation = {
        .tasks = MODEL_TASKS, .stages = 2, .parent = {0, 0, 0}, .keep_negatives = 1, .window_ms = 12000};
    struct trainer_evaluator *evaluator = trainer_evaluator_new(&evaluation, &error);
    enum { STEPS = 2500 };
    for (uint32_t i = 0; i < STEPS; i++) {
        struct trainer_step step;
        struct base_minibatch *minibatch = model_minibatch(1, (uint64_t)i * MODEL_BATCH, MODEL_BATCH);
        cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
        if (i == STEPS / 2) {
            trainer_evaluator_reset(evaluator);
        }
        for (uint32_t j = 0; j < MODEL_BATCH; j++) {
            // The stream's late clicks have no N0 before them: here all are counted as paid at once.
            struct base_sample sample = minibatch->samples[j];
            sample.kind = sample.kind == BASE_L ? BASE_C1 : sample.kind;
            trainer_evaluator_feed(evaluator, &sample, step.conditional + j * MODEL_TASKS,
                                   step.products + j * MODEL_TASKS);
        }
        base_minibatch_free(minibatch);
    }
    struct trainer_evaluation click = trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 0);
    cr_assert(click.log_loss < 0.9 * click.constant, "%g %g", click.log_loss, click.constant);
    cr_assert(click.auc > 0.72, "%g", click.auc);
    cr_assert(fabs(click.calibration - 1) < 0.08, "%g", click.calibration);
    struct trainer_evaluation purchase = trainer_evaluator_total(evaluator, TRAINER_MEASURE_PRODUCT, 1);
    cr_assert(purchase.log_loss < purchase.constant, "%g %g", purchase.log_loss, purchase.constant);
    trainer_evaluator_free(evaluator);
    trainer_model_free(model);
}

Test(trainer_model, ticks_drop_expired_rows)
{
    struct trainer_model *model = model_make(model_config_make(1), true);
    model_train(model, 1, 0, 10);
    struct trainer_table *table = trainer_model_table(model);
    uint64_t users = trainer_table_slot_rows(table, 0);
    cr_assert_gt(trainer_table_slot_rows(table, 1), 0);
    trainer_model_tick(model, 10 * MODEL_BATCH * 10 + 5000);
    cr_assert_eq(trainer_table_slot_rows(table, 1), 0);
    cr_assert_eq(trainer_table_slot_rows(table, 0), users);
    trainer_model_free(model);
}

// Whether empty ticks have a call changes no weight.
Test(trainer_model, ticks_without_samples_do_not_matter)
{
    struct base_error error;
    uint64_t hashes[2];
    for (int often = 0; often < 2; often++) {
        struct trainer_model *model = model_make(model_config_make(1), true);
        for (uint64_t i = 0; i < 50; i++) {
            struct trainer_step step;
            struct base_minibatch *minibatch = model_minibatch(1, 20 * i, MODEL_BATCH);
            for (int64_t time = 200 * (int64_t)i - 100; often && time < 200 * (int64_t)i; time += 10) {
                trainer_model_tick(model, time);
            }
            cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0);
            base_minibatch_free(minibatch);
        }
        trainer_model_tick(model, 20000);
        hashes[often] = trainer_model_hash(model);
        trainer_model_free(model);
    }
    cr_assert_eq(hashes[0], hashes[1]);
}

Test(trainer_model, columns_that_do_not_fit_are_an_error)
{
    struct base_error error = {0};
    struct trainer_model *model = model_make(model_config_make(1), true);
    struct base_minibatch *minibatch = model_minibatch(1, 0, 2);
    struct trainer_step step = {.count = 99};
    minibatch->samples[1].columns.size -= 8;
    uint64_t before = trainer_model_hash(model);
    cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert_eq(step.count, 99);
    cr_assert_eq(trainer_model_hash(model), before);
    struct base_span columns[2] = {minibatch->samples[0].columns, minibatch->samples[1].columns};
    cr_assert_eq(trainer_model_predict(model, columns, 2, NULL, NULL, &error), -1);
    base_minibatch_free(minibatch);
    trainer_model_free(model);
}

static void expect_refused(const struct trainer_model_config *config, const char *said)
{
    struct base_error error = {0};
    cr_assert_null(trainer_model_new(config, true, &error), "%s", said);
    cr_assert_eq(error.code, BASE_EINVAL);
    cr_assert_not_null(strstr(error.text, said), "%s: %s", said, error.text);
}

Test(trainer_model, refuses_settings_that_cannot_be)
{
#define REFUSED(setting, said)     \
    config = model_config_make(1); \
    config->setting;               \
    expect_refused(config, said)
    struct trainer_model_config *config;
    REFUSED(loss.tasks = 0, "tasks");
    REFUSED(loss.tasks = 9, "tasks");
    REFUSED(loss.stages = 0, "no stage");
    REFUSED(loss.stages = 4, "stages");
    REFUSED(loss.parent[2] = 2, "parent");
    REFUSED(loss.task_weight[1] = -1, "purchase");
    REFUSED(loss.keep_negatives = 0, "keep_negatives");
    REFUSED(update.dense.rate = NAN, "dense rate");
    REFUSED(update.dense.rate = 1025, "dense rate");
    REFUSED(update.sparse.rate = -1, "sparse rate");
    REFUSED(task_names[1] = NULL, "task 1");
    REFUSED(rows_max = 0, "rows_max");
    REFUSED(workers = 0, "workers");
    REFUSED(network.batch = 0, "batch");
    REFUSED(network.tower_widths[0] = 7, "tower width");
    REFUSED(features.slot[0].column = 3, "user");
    REFUSED(features.slot[1].row.name = "user", "two slots");
    REFUSED(features.slot[0].row.name = "a name that is too long for a tensor, which has to fit 64 bytes",
            "name");
    trainer_model_free(NULL);
}

// ---- Snapshots.

Test(trainer_model, a_reader_of_snapshots_has_the_same_bits)
{
    struct base_error error;
    struct trainer_model_config config = *model_config_make(1);
    struct trainer_model *model = model_make(&config, true), *reader = NULL;
    uint64_t deltas = 0, failed = 0, removed = 0;
    for (uint32_t round = 0; round < 30; round++) {
        model_train(model, 1, (uint64_t)round * 8 * MODEL_BATCH, 8);
        struct trainer_snapshot *snapshot = trainer_model_snapshot(model, round, round == 17);
        cr_assert_eq(snapshot->full, round == 0 || round == 17);
        cr_assert_eq(snapshot->tick, round);
        cr_assert_eq(snapshot->examples, trainer_model_examples(model));
        uint64_t hash = trainer_model_hash(model);
        bool published = round % 3 != 1;
        if (round % 2) {
            // Training goes on while the snapshot is in flight; expiry too.
            model_train(model, 1, (uint64_t)round * 8 * MODEL_BATCH + 4, 2);
        }
        if (published) {
            reader = model_load(reader, &config, snapshot);
            cr_assert_eq(trainer_model_hash(reader), hash);
        }
        deltas += published && !snapshot->full;
        failed += !published;
        removed += snapshot->rows[1].removed;
        trainer_model_settle(model, snapshot, published);
        trainer_snapshot_free(snapshot);
    }
    cr_assert(deltas > 10 && failed > 5 && removed > 5);
    // Both predict the same bits from the last version.
    struct trainer_snapshot *last = trainer_model_snapshot(model, 30, false);
    reader = model_load(reader, &config, last);
    struct base_minibatch *minibatch = model_minibatch(5, 0, 20);
    struct base_span columns[20];
    float products[2][20 * MODEL_TASKS];
    spans_of(minibatch, columns);
    cr_assert_eq(trainer_model_predict(model, columns, 20, NULL, products[0], &error), 0);
    cr_assert_eq(trainer_model_predict(reader, columns, 20, NULL, products[1], &error), 0);
    cr_assert(memcmp(products[0], products[1], sizeof products[0]) == 0);
    trainer_model_settle(model, last, true);
    trainer_snapshot_free(last);
    trainer_snapshot_free(NULL);
    base_minibatch_free(minibatch);
    trainer_model_free(model);
    trainer_model_free(reader);
}
