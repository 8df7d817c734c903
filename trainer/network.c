// Running a dense network: slab, buffers, and the passes over the plan of graph.h. See network.h.
//
// Every pass is a list of tiles for the workers: blocks of columns of layers and gatings (network_dense.c),
// blocks of rows of all else (network_rows.c). The lists depend on configuration and row count alone, so the
// number of workers changes nothing.
//
// Gradients by vectors (`delta`) are all kept until the update; a layer output's delta is that before its
// ReLU. Nothing else is stored: the update adds -rate * x^T delta to the weights within the GEMM.
#include "trainer/network.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer/body.h"
#include "trainer/lanes.h"
#include "trainer/layer.h"
#include "trainer/network_private.h"

// Bounds of trainer_network_finite. An update adds at most rate * n * 2^32 * 2^32 to a weight: with n <= 2^12
// and rate <= 2^10 less than 2^86, so that 2^40 such steps in a row cannot carry a weight beyond 2^126, and
// no sum of products on the way overflows. A stitch's weight also sums over a vector's width, at most 2^13:
// 2^27 steps. The penalty of ties draws weights to their mean and carries none away (trainer_model_new sees
// to it).
#define NETWORK_VALUE_MAX 0x1p32f
#define NETWORK_RATE_MAX 1024.0f

enum { NETWORK_ROWS_LEAST = 2 }; // a call with one row may take another path in the library

// Floats of the slab, and of the buffers together: 4 GiB each.
static const size_t network_floats_max = (size_t)1 << 30;

uint32_t trainer_network_logits(const struct trainer_network_config *config)
{
    uint32_t logits = 0;
    for (uint32_t k = 0; k < config->tasks; k++) {
        logits += config->outputs[k] ? config->outputs[k] : 1;
    }
    return logits;
}

// ---- Buffers ---------------------------------------------------------------------------------------------

static size_t network_round(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

// Takes `floats` from `*at` and moves it; with *at NULL only counts in `*size`.
static float *network_take(float **at, size_t *size, size_t floats)
{
    float *taken = *at;
    if (*at) {
        *at += network_round(floats);
    }
    *size += network_round(floats);
    return taken;
}

// Lays the buffers out from `at` on (NULL: only measures) and returns how many floats they take.
static size_t network_lay_out(struct trainer_network *network, float *at)
{
    const struct trainer_graph *graph = network->graph;
    size_t rows = network->config.batch < NETWORK_ROWS_LEAST ? NETWORK_ROWS_LEAST : network->config.batch;
    size_t size = 0;
    for (uint32_t v = 1; v < graph->vectors; v++) {
        network->value[v] = network_take(&at, &size, rows * graph->vector[v].width);
        if (network->training) {
            network->delta[v] = network_take(&at, &size, rows * graph->vector[v].width);
        }
    }
    for (uint32_t g = 0; g < graph->gatings; g++) {
        struct trainer_layer_shape shape = graph->gating[g].shape;
        network->gating[g].weight = network_take(&at, &size, (size_t)shape.inputs * shape.outputs);
        network->gating[g].scores = network_take(&at, &size, rows * shape.outputs);
        if (network->training) {
            network->gating[g].update = network_take(&at, &size, (size_t)shape.inputs * shape.outputs);
            network->gating[g].delta = network_take(&at, &size, rows * shape.outputs);
        }
    }
    if (network->training) {
        network->dlogits = network_take(&at, &size, rows * graph->towers);
    }
    network->lone = network_take(&at, &size, (size_t)NETWORK_ROWS_LEAST * network->config.inputs);
    return size;
}

static int network_make_buffers(struct trainer_network *network, struct base_error *error)
{
    const struct trainer_graph *graph = network->graph;
    network->value = base_alloc_zeroed(graph->vectors, sizeof *network->value);
    network->delta = base_alloc_zeroed(graph->vectors, sizeof *network->delta);
    network->gating = base_alloc_zeroed(graph->gatings, sizeof *network->gating);
    network->magnitudes = base_alloc_zeroed(graph->vectors + graph->gatings, sizeof *network->magnitudes);
    size_t size = network_lay_out(network, NULL);
    if (size > network_floats_max) {
        return base_error_set(error, BASE_EINVAL, "network: a batch of %u needs %zu floats, more than %zu",
                              network->config.batch, size, network_floats_max);
    }
    network->memory = base_alloc_aligned(size * sizeof *network->memory);
    network_lay_out(network, network->memory);
    return 0;
}

// ---- Weights ---------------------------------------------------------------------------------------------

static void network_initialise_stitch(uint32_t tasks, float *alpha)
{
    for (uint32_t i = 0; i < tasks * tasks; i++) {
        alpha[i] = i % (tasks + 1) == 0 ? 0.9f : (float)(0.1 / (tasks - 1));
    }
}

// Each tensor has a stream of its own.
static void network_initialise(struct trainer_network *network)
{
    const struct trainer_graph *graph = network->graph;
    for (uint32_t t = 0; t < graph->tensors; t++) {
        const struct trainer_tensor *tensor = &graph->tensor[t];
        float *weight = network->slab_owned + tensor->offset;
        if (graph->initial[t] == TRAINER_INITIAL_ZERO) {
            continue;
        }
        if (graph->initial[t] == TRAINER_INITIAL_STITCH) {
            network_initialise_stitch(tensor->rows, weight);
            continue;
        }
        double deviation = sqrt((graph->initial[t] == TRAINER_INITIAL_RELU ? 2.0 : 1.0) / tensor->rows);
        uint64_t key = base_random_key(network->config.seed, tensor->name);
        for (uint64_t i = 0; i < (uint64_t)tensor->rows * tensor->columns; i++) {
            weight[i] = (float)(deviation * base_random_normal(key, i));
        }
    }
}

struct trainer_network *trainer_network_new(const struct trainer_network_config *config, bool training,
                                            struct trainer_workers *workers, struct base_error *error)
{
    struct trainer_graph *graph = trainer_body_new(config, error);
    if (!graph) {
        return NULL;
    }
    struct trainer_network *network = base_alloc_zeroed(1, sizeof *network);
    network->config = *config;
    network->graph = network->graph_owned = graph;
    network->workers = workers;
    network->training = training;
    if (graph->size > network_floats_max) {
        base_error_set(error, BASE_EINVAL, "network: %zu weights, more than %zu", graph->size,
                       network_floats_max);
        goto failed;
    }
    if (network_make_buffers(network, error) < 0) {
        goto failed;
    }
    network->slab_owned = base_alloc_aligned(graph->size * sizeof *network->slab_owned);
    network->slab = network->slab_owned;
    network_initialise(network);
    return network;
failed:
    trainer_network_free(network);
    return NULL;
}

struct trainer_network *trainer_network_share(const struct trainer_network *owner,
                                              struct trainer_workers *workers, struct base_error *error)
{
    struct trainer_network *network = base_alloc_zeroed(1, sizeof *network);
    network->config = owner->config;
    network->graph = owner->graph;
    network->slab = owner->slab;
    network->workers = workers;
    if (network_make_buffers(network, error) < 0) {
        trainer_network_free(network);
        return NULL;
    }
    return network;
}

void trainer_network_free(struct trainer_network *network)
{
    if (!network) {
        return;
    }
    trainer_graph_free(network->graph_owned);
    free(network->slab_owned);
    free(network->value);
    free(network->delta);
    free(network->gating);
    free(network->magnitudes);
    free(network->memory);
    free(network);
}

float *trainer_network_slab(struct trainer_network *network)
{
    assert(network->slab_owned);
    return network->slab_owned;
}

size_t trainer_network_size(const struct trainer_network *network)
{
    return network->graph->size;
}

const struct trainer_tensor *trainer_network_tensors(const struct trainer_network *network, uint32_t *count)
{
    *count = network->graph->tensors;
    return network->graph->tensor;
}

// ---- Passes ----------------------------------------------------------------------------------------------

static void network_forward_stage(struct network_pass *pass)
{
    if (pass->stage->kind == TRAINER_STAGE_DENSE) {
        network_dense_forward(pass);
    } else {
        network_rows_forward(pass);
    }
}

void trainer_network_forward(struct trainer_network *network, const float *x, uint32_t n, float *logits)
{
    assert(n >= 1 && n <= network->config.batch);
    struct network_pass pass = {.network = network, .x = x, .n = n, .logits = logits};
    float padded[NETWORK_ROWS_LEAST * BASE_TASKS_MAX * TRAINER_OUTPUTS_MAX];
    if (n < NETWORK_ROWS_LEAST) { // the rows beyond n are zero and their logits are dropped
        memcpy(network->lone, x, (size_t)n * network->config.inputs * sizeof *x);
        pass.x = network->lone;
        pass.n = NETWORK_ROWS_LEAST;
        pass.logits = padded;
    }
    for (uint32_t s = 0; s < network->graph->stages; s++) {
        pass.stage = &network->graph->stage[s];
        network_forward_stage(&pass);
    }
    if (pass.logits == padded) {
        memcpy(logits, padded, (size_t)n * network->graph->towers * sizeof *logits);
    }
}

static void network_backward_stage(struct network_pass *pass)
{
    if (pass->stage->kind == TRAINER_STAGE_DENSE) {
        network_dense_backward(pass);
    } else {
        network_rows_backward(pass);
    }
}

void trainer_network_backward(struct trainer_network *network, const float *x, const float *dlogits,
                              uint32_t n, float *dx)
{
    assert(network->training && n >= 1 && n <= network->config.batch);
    memcpy(network->dlogits, dlogits, (size_t)n * network->graph->towers * sizeof *dlogits);
    network->x = x;
    struct network_pass pass = {.network = network, .x = x, .dx = dx, .n = n};
    for (uint32_t s = network->graph->stages; s-- > 0;) {
        pass.stage = &network->graph->stage[s];
        network_backward_stage(&pass);
    }
}

// ---- Update ----------------------------------------------------------------------------------------------

// The largest magnitude of a vector's value and gradient, or of a gating's probabilities and gradient.
static void network_measure(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_graph *graph = pass->network->graph;
    const float *values, *delta;
    size_t floats;
    if (index < graph->vectors) {
        values = network_value(pass, index);
        delta = network_delta(pass, index);
        floats = (size_t)pass->n * graph->vector[index].width;
    } else {
        const struct network_gating *gating = &pass->network->gating[index - graph->vectors];
        values = gating->scores;
        delta = gating->delta;
        floats = (size_t)pass->n * graph->gating[index - graph->vectors].shape.outputs;
    }
    uint32_t of_values = trainer_layer_magnitude(values, floats);
    uint32_t of_delta = trainer_layer_magnitude(delta, floats);
    pass->network->magnitudes[index] = of_values > of_delta ? of_values : of_delta;
}

bool trainer_network_finite(const struct trainer_network *network, const float *dx, uint32_t n)
{
    const struct trainer_graph *graph = network->graph;
    struct network_pass pass = {.network = network, .x = network->x, .dx = (float *)(uintptr_t)dx, .n = n};
    uint32_t count = graph->vectors + graph->gatings;
    trainer_workers_run(network->workers, count, network_measure, &pass);
    uint32_t bound = trainer_lanes_magnitude(NETWORK_VALUE_MAX);
    bool below = true;
    for (uint32_t i = 0; i < count; i++) {
        below &= network->magnitudes[i] <= bound;
    }
    for (size_t i = 0; i < (size_t)n * graph->towers; i++) {
        below &= trainer_lanes_magnitude(network->dlogits[i]) <= bound;
    }
    return below;
}

static void network_update_tile(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_graph_tile *tile = &pass->tiles[index];
    if (tile->kind == TRAINER_TILE_TOWER || tile->kind == TRAINER_TILE_STITCH) {
        network_rows_update(pass, tile);
    } else {
        network_dense_update(pass, tile);
    }
}

// target += alpha * (gradient of the summed loss by the slab).
static void network_update(const struct trainer_network *network, const float *x, uint32_t n, float alpha,
                           float *target)
{
    assert(network->training && n >= 1 && n <= network->config.batch);
    struct network_pass pass = {.network = network, .x = x, .n = n, .target = target, .alpha = alpha};
    if (network->graph->pull.count > 0) { // it reads weights that the update then moves
        pass.tiles = network->graph->pull.at;
        trainer_workers_run(network->workers, network->graph->pull.count, network_update_tile, &pass);
    }
    pass.tiles = network->graph->update.at;
    trainer_workers_run(network->workers, network->graph->update.count, network_update_tile, &pass);
}

void trainer_network_apply(struct trainer_network *network, const float *x, uint32_t n, float rate)
{
    assert(fabsf(rate) <= NETWORK_RATE_MAX); // false for NaN
    network_update(network, x, n, -rate, trainer_network_slab(network));
}

void trainer_network_gradient(struct trainer_network *network, const float *x, uint32_t n, float *gradient)
{
    memset(gradient, 0, network->graph->size * sizeof *gradient);
    network_update(network, x, n, 1.0f, gradient);
}

// ---- Cost ------------------------------------------------------------------------------------------------

double trainer_network_flop_forward(const struct trainer_network_config *config)
{
    struct base_error error;
    struct trainer_graph *graph = trainer_body_new(config, &error);
    if (!graph) {
        return 0.0;
    }
    double products = 0.0; // a multiplication and an addition for every weight that is not a bias
    for (uint32_t t = 0; t < graph->tensors; t++) {
        const struct trainer_tensor *tensor = &graph->tensor[t];
        if (graph->initial[t] == TRAINER_INITIAL_RELU || graph->initial[t] == TRAINER_INITIAL_LINEAR) {
            products += (double)tensor->rows * tensor->columns;
        }
    }
    for (uint32_t s = 0; s < graph->stitches; s++) { // a stitch's weight meets every number of its vector
        const struct trainer_graph_stitch *stitch = &graph->stitch[s];
        products += (double)stitch->count * stitch->count * graph->vector[stitch->inputs].width;
    }
    trainer_graph_free(graph);
    return 2.0 * products;
}

double trainer_network_flop_step(const struct trainer_network_config *config)
{
    return 3.0 * trainer_network_flop_forward(config);
}
