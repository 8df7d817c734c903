// The model: gather, table and network under the funnel's losses. See model.h.
//
// A step has two halves. The first computes everything that the update needs and moves no weight; the second
// cannot fail (update.h). Between the two stands one question: is all of it finite?
#include "trainer/model.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "trainer/cut.h"
#include "trainer/model_private.h"

static int model_check_training(const struct trainer_model_config *config, struct base_error *error)
{
    for (uint32_t k = 0; k < config->loss.tasks; k++) {
        float weight = config->loss.task_weight[k];
        if (!isfinite(weight) || weight < 0) {
            return base_error_set(error, BASE_EINVAL, "task %s: weight %g cannot be", config->task_names[k],
                                  (double)weight);
        }
        float decay = config->loss.decay[k];
        if (!(decay >= 0 && decay <= 1) ||
            (decay != 0 && decay != 1 && !(config->loss.decay_examples >= 1))) {
            return base_error_set(error, BASE_EINVAL, "task %s: a decay of %g every %g examples cannot be",
                                  config->task_names[k], (double)decay, config->loss.decay_examples);
        }
    }
    if (config->loss.correction != TRAINER_CORRECTION_NONE &&
        !(config->loss.propensity_min > 0 && config->loss.propensity_min <= 1 &&
          config->loss.correction_weight >= 0 && isfinite(config->loss.correction_weight))) {
        return base_error_set(error, BASE_EINVAL, "a correction of weight %g above propensity %g cannot be",
                              (double)config->loss.correction_weight, (double)config->loss.propensity_min);
    }
    if (!(config->loss.keep_negatives > 0 && config->loss.keep_negatives <= 1)) {
        return base_error_set(error, BASE_EINVAL, "keep_negatives %g is not in (0, 1]",
                              (double)config->loss.keep_negatives);
    }
    // A step of SGD with a full minibatch draws tied weights to their mean by this share of their distance.
    double pull = config->update.dense.rate * 2.0 * config->network.soft_l2 * config->loss.tasks;
    if (config->network.body == TRAINER_BODY_SOFT_L2 && config->update.dense.kind == TRAINER_OPTIMISER_SGD &&
        !(pull <= 1)) {
        return base_error_set(error, BASE_EINVAL,
                              "soft_l2 %g at the dense rate %g: 2 * rate * soft_l2 * tasks is above 1",
                              (double)config->network.soft_l2, config->update.dense.rate);
    }
    return trainer_update_check(&config->update, config->features.slots, error);
}

static int model_check(const struct trainer_model_config *config, bool training, struct base_error *error)
{
    if (trainer_features_check(&config->features, error) || trainer_loss_check(&config->loss, error)) {
        return -1;
    }
    for (uint32_t k = 0; k < config->loss.tasks; k++) {
        if (!config->task_names[k]) {
            return base_error_set(error, BASE_EINVAL, "task %u has no name", k);
        }
    }
    for (uint32_t s = 0; s < config->features.slots; s++) {
        const char *name = config->features.slot[s].row.name;
        if (strlen("oov.") + strlen(name) >= TRAINER_TENSOR_NAME_MAX) {
            return base_error_set(error, BASE_EINVAL, "slot %s: a name has at most %d bytes", name,
                                  TRAINER_TENSOR_NAME_MAX - 5);
        }
    }
    return training ? model_check_training(config, error) : 0;
}

static void model_config_copy(struct trainer_model_config *copy, const struct trainer_model_config *config)
{
    *copy = *config;
    trainer_features_config_copy(&copy->features, &config->features);
    trainer_update_config_copy(&copy->update, &config->update, config->features.slots);
    for (uint32_t k = 0; k < BASE_TASKS_MAX; k++) {
        copy->task_names[k] = NULL;
        if (k < config->loss.tasks) {
            size_t size = strlen(config->task_names[k]) + 1;
            copy->task_names[k] = memcpy(base_alloc(size), config->task_names[k], size);
        }
    }
    copy->network.inputs = trainer_features_width(&config->features);
    copy->network.tasks = config->loss.tasks;
    trainer_loss_towers(&config->loss, copy->network.outputs);
}

static struct trainer_table *model_table_new(const struct trainer_model_config *config, bool training,
                                             struct base_error *error)
{
    struct trainer_table_slot_config slots[TRAINER_SLOTS_MAX];
    struct trainer_optimiser_config optimisers[TRAINER_SLOTS_MAX];
    for (uint32_t s = 0; s < config->features.slots; s++) {
        slots[s] = config->features.slot[s].row;
        optimisers[s] = *trainer_update_slot(&config->update, s);
    }
    struct trainer_table_config table = {config->features.slots, slots,    config->seed,
                                         config->rows_max,       training, optimisers};
    return trainer_table_new(&table, error);
}

static void model_start_positions(const struct trainer_model *model)
{
    for (uint32_t s = 0; s < model->config.features.slots; s++) {
        if (model->config.features.slot[s].position) {
            trainer_table_start_zero(model->table, (uint16_t)s);
        }
    }
}

static void model_list_tensors(struct trainer_model *model)
{
    uint32_t dense;
    const struct trainer_tensor *tensors = trainer_network_tensors(model->network, &dense);
    uint32_t slots = model->config.features.slots;
    size_t base = trainer_network_size(model->network), oov_size;
    trainer_table_oov(model->table, &oov_size);
    model->tensor_count = dense + slots;
    model->dense_size = base + oov_size;
    model->tensors = base_alloc_zeroed(model->tensor_count + 2, sizeof *model->tensors);
    memcpy(model->tensors, tensors, dense * sizeof *tensors);
    for (uint32_t s = 0; s < slots; s++) {
        const struct trainer_table_slot_config *slot = &model->config.features.slot[s].row;
        struct trainer_tensor *tensor = &model->tensors[dense + s];
        snprintf(tensor->name, sizeof tensor->name, "oov.%s", slot->name);
        tensor->rows = 1;
        tensor->columns = slot->dimension;
        tensor->offset = base + trainer_table_oov_offset(model->table, (uint16_t)s);
    }
    for (uint32_t s = 0; s < slots; s++) {
        model->cut_slot[s] = s;
    }
    model->cut_tensor_count = model->tensor_count;
    model->cut_dense_size = model->dense_size;
    struct trainer_tensor *tensor = &model->tensors[model->cut_tensor_count];
    if (model->training && trainer_weighting_tensor(&model->config.loss, tensor)) {
        tensor->offset = model->cut_dense_size;
        model->cut_dense_size += tensor->columns;
        model->cut_tensor_count++;
    }
}

static int model_update_new(struct trainer_model *model, struct base_error *error)
{
    const struct trainer_model_config *config = &model->config;
    struct trainer_tensor tensor;
    bool learns = trainer_weighting_tensor(&config->loss, &tensor);
    if (learns) {
        model->log_variance = base_alloc_zeroed(tensor.columns, sizeof *model->log_variance);
    }
    model->update =
        trainer_update_new(&config->update, config->features.slots, config->network.batch, model->network,
                           model->table, learns ? &tensor : NULL, model->log_variance, model->workers, error);
    return model->update ? 0 : -1;
}

static void scorer_buffers(struct trainer_scorer *scorer, const struct trainer_model *model)
{
    uint32_t batch = model->config.network.batch;
    uint32_t logits = trainer_network_logits(&model->config.network);
    scorer->model = model;
    scorer->gather = trainer_gather_new(&model->config.features, batch);
    scorer->logits = base_alloc_aligned((size_t)batch * logits * sizeof *scorer->logits);
}

static void model_buffers(struct trainer_model *model)
{
    size_t batch = model->config.network.batch, tasks = model->config.loss.tasks;
    size_t logits = trainer_network_logits(&model->config.network);
    model->scorer.workers = model->workers;
    model->scorer.network = model->network;
    scorer_buffers(&model->scorer, model);
    if (model->training) {
        model->columns = base_alloc_zeroed(batch, sizeof *model->columns);
        model->dlogits = base_alloc_aligned(batch * logits * sizeof *model->dlogits);
        model->dx = base_alloc_aligned(batch * model->config.network.inputs * sizeof *model->dx);
        model->conditional = base_alloc_aligned(batch * tasks * sizeof *model->conditional);
        model->products = base_alloc_aligned(batch * tasks * sizeof *model->products);
    }
}

struct trainer_model *trainer_model_new(const struct trainer_model_config *config, bool training,
                                        struct base_error *error)
{
    if (model_check(config, training, error)) {
        return NULL;
    }
    struct trainer_model *model = base_alloc_zeroed(1, sizeof *model);
    model->training = training;
    model_config_copy(&model->config, config);
    model->config.network.seed = config->seed;
    model->workers = trainer_workers_new(config->workers, error);
    if (!model->workers) {
        goto out;
    }
    model->network = trainer_network_new(&model->config.network, training, model->workers, error);
    if (!model->network) {
        goto out;
    }
    model->table = model_table_new(&model->config, training, error);
    if (!model->table) {
        goto out;
    }
    model_start_positions(model);
    if (training && model_update_new(model, error)) {
        goto out;
    }
    model_list_tensors(model);
    model_buffers(model);
    return model;
out:
    trainer_model_free(model);
    return NULL;
}

void trainer_model_free(struct trainer_model *model)
{
    if (!model) {
        return;
    }
    trainer_cut_free(model->cut);
    base_buffer_free(&model->stale);
    free(model->news);
    trainer_update_free(model->update);
    trainer_gather_free(model->scorer.gather);
    free(model->scorer.logits);
    trainer_network_free(model->network);
    trainer_workers_free(model->workers);
    trainer_table_free(model->table);
    free(model->tensors);
    free(model->columns);
    free(model->log_variance);
    free(model->dlogits);
    free(model->dx);
    free(model->conditional);
    free(model->products);
    trainer_features_config_clear(&model->config.features);
    trainer_update_config_clear(&model->config.update);
    for (uint32_t k = 0; k < BASE_TASKS_MAX; k++) {
        free((char *)model->config.task_names[k]);
    }
    free(model);
}

const struct trainer_model_config *trainer_model_config(const struct trainer_model *model)
{
    return &model->config;
}

// Losses, their gradients and the probabilities of a minibatch. False if one is not finite.
static bool step_losses(struct trainer_model *model, const struct base_minibatch *minibatch,
                        struct trainer_weighting_step *weighting, struct trainer_step *step)
{
    uint32_t tasks = model->config.loss.tasks, stride = trainer_network_logits(&model->config.network);
    bool finite = true;
    trainer_weighting_begin(&model->config.loss, model->examples, model->log_variance, weighting);
    for (uint32_t i = 0; i < minibatch->count; i++) {
        const float *logits = &model->scorer.logits[(size_t)i * stride];
        float *dlogits = &model->dlogits[(size_t)i * stride];
        float loss[BASE_TASKS_MAX];
        trainer_loss_sample(&weighting->loss, logits, &minibatch->samples[i], dlogits, loss);
        trainer_loss_probabilities(&weighting->loss, logits, &model->conditional[(size_t)i * tasks],
                                   &model->products[(size_t)i * tasks]);
        trainer_weighting_add(weighting, &minibatch->samples[i], loss);
        for (uint32_t k = 0; k < tasks; k++) {
            finite = finite && isfinite(loss[k]);
        }
        for (uint32_t j = 0; j < stride; j++) {
            finite = finite && isfinite(dlogits[j]);
        }
    }
    for (uint32_t k = 0; k < tasks; k++) {
        step->loss[k] = trainer_weighting_loss(weighting, model->log_variance, k);
        finite = finite && isfinite(step->loss[k]);
    }
    return finite;
}

// The network's logits of what was pooled, the bias of the positions added.
static void scorer_forward(struct trainer_scorer *scorer, const float *x, uint32_t n)
{
    uint32_t stride = trainer_network_logits(&scorer->model->config.network);
    trainer_network_forward(scorer->network, x, n, scorer->logits);
    const float *bias = trainer_gather_bias(scorer->gather);
    for (uint32_t i = 0; bias && i < n; i++) {
        scorer->logits[(size_t)i * stride] += bias[i];
    }
}

int trainer_model_step(struct trainer_model *model, const struct base_minibatch *minibatch,
                       struct trainer_step *step, struct base_error *error)
{
    uint32_t n = minibatch->count;
    assert(model->training && n >= 1 && n <= model->config.network.batch);
    struct trainer_gather *gather = model->scorer.gather;
    int64_t now = INT64_MIN;
    for (uint32_t i = 0; i < n; i++) {
        const struct base_sample *sample = &minibatch->samples[i];
        assert(sample->trains && sample->mask && sample->mask >> model->config.loss.tasks == 0);
        model->columns[i] = sample->columns;
        now = sample->due_time > now ? sample->due_time : now;
    }
    if (trainer_gather_read(gather, model->columns, n, error)) {
        return -1;
    }
    model->cut_crosses += trainer_gather_cut(gather);
    *step = (struct trainer_step){.count = n, .conditional = model->conditional, .products = model->products};
    trainer_table_expire(model->table, now); // so that an empty tick without a call changes nothing
    trainer_gather_resolve(gather, model->table, now, model->workers);
    const float *x = trainer_gather_pool(gather, model->table, model->workers);
    scorer_forward(&model->scorer, x, n);
    struct trainer_weighting_step weighting;
    step->set_aside = !step_losses(model, minibatch, &weighting, step);
    if (!step->set_aside) {
        trainer_network_backward(model->network, x, model->dlogits, n, model->dx);
        step->set_aside = !trainer_network_finite(model->network, model->dx, n);
    }
    if (step->set_aside) {
        return 0;
    }
    float variances[BASE_TASKS_MAX]; // the gradient by the joint loss' log variances
    for (uint32_t k = 0; k < model->config.loss.tasks; k++) {
        variances[k] = trainer_weighting_gradient(&weighting, k);
    }
    model->examples += n;
    trainer_gather_bias_gradient(gather, model->dlogits, trainer_network_logits(&model->config.network));
    trainer_update_step(model->update, gather, x, model->dx, variances, n, model->examples);
    return 0;
}

int trainer_scorer_predict(struct trainer_scorer *scorer, const struct base_span *columns, uint32_t n,
                           float *conditional, float *products, struct base_error *error)
{
    const struct trainer_model *model = scorer->model;
    const struct trainer_loss_config *loss = &model->config.loss;
    uint32_t batch = model->config.network.batch;
    uint32_t stride = trainer_network_logits(&model->config.network);
    for (uint32_t start = 0; start < n; start += batch) {
        uint32_t count = n - start < batch ? n - start : batch;
        if (trainer_gather_read_serving(scorer->gather, columns + start, count, error)) {
            return -1;
        }
        trainer_gather_find(scorer->gather, model->table);
        const float *x = trainer_gather_pool(scorer->gather, model->table, scorer->workers);
        scorer_forward(scorer, x, count);
        for (uint32_t i = 0; i < count; i++) {
            size_t place = (size_t)(start + i) * loss->tasks;
            trainer_loss_probabilities(loss, &scorer->logits[(size_t)i * stride],
                                       conditional ? conditional + place : NULL,
                                       products ? products + place : NULL);
        }
    }
    return 0;
}

int trainer_model_predict(struct trainer_model *model, const struct base_span *columns, uint32_t n,
                          float *conditional, float *products, struct base_error *error)
{
    return trainer_scorer_predict(&model->scorer, columns, n, conditional, products, error);
}

struct trainer_scorer *trainer_scorer_new(const struct trainer_model *model, struct base_error *error)
{
    struct trainer_scorer *scorer = base_alloc_zeroed(1, sizeof *scorer);
    scorer_buffers(scorer, model);
    scorer->own_workers = trainer_workers_new(1, error);
    if (!scorer->own_workers) {
        goto out;
    }
    scorer->own_network = trainer_network_share(model->network, scorer->own_workers, error);
    if (!scorer->own_network) {
        goto out;
    }
    scorer->workers = scorer->own_workers;
    scorer->network = scorer->own_network;
    return scorer;
out:
    trainer_scorer_free(scorer);
    return NULL;
}

void trainer_scorer_free(struct trainer_scorer *scorer)
{
    if (!scorer) {
        return;
    }
    trainer_gather_free(scorer->gather);
    free(scorer->logits);
    trainer_network_free(scorer->own_network);
    trainer_workers_free(scorer->own_workers);
    free(scorer);
}

void trainer_model_tick(struct trainer_model *model, int64_t tick_end_ms)
{
    trainer_table_expire(model->table, tick_end_ms);
}

struct trainer_snapshot *trainer_model_snapshot(struct trainer_model *model, int64_t tick, bool full)
{
    assert(model->training && !model->in_flight);
    struct trainer_snapshot *snapshot = base_alloc_zeroed(1, sizeof *snapshot);
    snapshot->tick = tick;
    snapshot->examples = model->examples;
    snapshot->slots = model->config.features.slots;
    snapshot->rows = base_alloc_zeroed(snapshot->slots + 1, sizeof *snapshot->rows);
    snapshot->full = trainer_table_snapshot(model->table, full, snapshot->rows);
    snapshot->rows_total = trainer_table_rows(model->table);
    snapshot->tensors = model->tensor_count;
    snapshot->tensor = base_alloc((model->tensor_count + 1) * sizeof *snapshot->tensor);
    memcpy(snapshot->tensor, model->tensors, model->tensor_count * sizeof *snapshot->tensor);
    snapshot->dense_size = model->dense_size;
    snapshot->dense = base_alloc((model->dense_size + 1) * sizeof *snapshot->dense);
    size_t network_size = trainer_network_size(model->network), oov_size;
    const float *oov = trainer_table_oov(model->table, &oov_size);
    memcpy(snapshot->dense, trainer_network_slab(model->network), network_size * sizeof *snapshot->dense);
    memcpy(snapshot->dense + network_size, oov, oov_size * sizeof *snapshot->dense);
    model->in_flight = snapshot;
    model->flying_tick = tick;
    return snapshot;
}

void trainer_model_settle(struct trainer_model *model, const struct trainer_snapshot *snapshot,
                          bool published)
{
    assert(snapshot && model->in_flight == snapshot);
    trainer_table_settle(model->table, published);
    model->settled_tick = published ? snapshot->tick : model->settled_tick;
    model->in_flight = NULL;
}

uint64_t trainer_model_hash(const struct trainer_model *model)
{
    struct base_hasher *hasher = base_hasher_new();
    uint64_t rows = trainer_table_hash(model->table);
    base_hasher_update(hasher, trainer_network_slab(model->network),
                       trainer_network_size(model->network) * sizeof(float));
    base_hasher_update(hasher, &rows, sizeof rows);
    if (model->log_variance) {
        base_hasher_update(hasher, model->log_variance, model->config.loss.tasks * sizeof(float));
    }
    uint64_t hash = base_hasher_digest(hasher);
    base_hasher_free(hasher);
    return hash;
}

uint64_t trainer_model_examples(const struct trainer_model *model)
{
    return model->examples;
}

uint64_t trainer_model_cut_crosses(const struct trainer_model *model)
{
    return model->cut_crosses;
}

struct trainer_update_figures trainer_model_update_figures(const struct trainer_model *model)
{
    return trainer_update_figures(model->update);
}

uint64_t trainer_model_update_bytes(const struct trainer_model *model)
{
    return trainer_update_bytes(model->update);
}

const struct trainer_tensor *trainer_model_tensors(const struct trainer_model *model, uint32_t *count)
{
    *count = model->tensor_count;
    return model->tensors;
}

float *trainer_model_tensor(struct trainer_model *model, uint32_t number)
{
    assert(number < model->cut_tensor_count);
    size_t offset = model->tensors[number].offset, network_size = trainer_network_size(model->network),
           oov_size;
    if (offset >= model->dense_size) {
        return model->log_variance + (offset - model->dense_size);
    }
    if (offset < network_size) {
        return trainer_network_slab(model->network) + offset;
    }
    return trainer_table_oov(model->table, &oov_size) + (offset - network_size);
}

struct trainer_network *trainer_model_network(struct trainer_model *model)
{
    return model->network;
}

struct trainer_table *trainer_model_table(struct trainer_model *model)
{
    return model->table;
}
