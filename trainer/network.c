// Running a dense network: slab, buffers, and the passes over the plan of graph.h. See network.h.
//
// Every pass is a list of tiles for the workers. A dense stage's tile is a block of columns of one layer, or
// a gating: the whole minibatch, one chain of BLAS calls, then bias and ReLU while the block is in the cache.
// Mixtures and outputs go by blocks of rows. The lists depend on configuration and row count alone, so the
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
#include "trainer/blas.h"
#include "trainer/lanes.h"
#include "trainer/layer.h"
#include "trainer/mixture.h"
#include "trainer/ple.h"
#include "trainer/tower.h"

// Bounds of trainer_network_finite. An update adds at most rate * n * 2^32 * 2^32 to a weight: with n <= 2^12
// and rate
// <= 2^10 less than 2^86, so that 2^40 such steps in a row cannot carry a weight beyond 2^126, and no sum of
// products on the way overflows.
#define NETWORK_VALUE_MAX 0x1p32f
#define NETWORK_RATE_MAX 1024.0f

enum { NETWORK_ROWS_LEAST = 2 }; // a call with one row may take another path in the library

// Floats of the slab, and of the buffers together: 4 GiB each.
static const size_t network_floats_max = (size_t)1 << 30;

// Buffers of a gating.
struct network_gating {
    float *weight; // [inputs x outputs] the gates' weights side by side, columns beyond them 0
    float *update; // as `weight`: the copy that the update works on
    float *scores; // [batch x outputs] scores, then probabilities
    float *delta;  // [batch x outputs] their gradient
};

struct trainer_network {
    struct trainer_network_config config;
    const struct trainer_graph *graph;
    struct trainer_graph *graph_owned; // NULL in a shared network
    const float *slab;
    float *slab_owned; // NULL in a shared network
    struct trainer_workers *workers;
    bool training;
    float **value;                 // [vectors] -> [batch x width]; vector 0, x, is the caller's
    float **delta;                 // [vectors] -> [batch x width] its gradient; NULL unless training
    struct network_gating *gating; // [gatings]
    float *dlogits;                // [batch x logits], copied by backward
    const float *x;                // backward's, borrowed until the update
    uint32_t *magnitudes;          // [vectors + gatings], of trainer_network_finite
    float *lone;                   // [NETWORK_ROWS_LEAST x inputs]
    float *memory;                 // all buffers
};

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

// He-normal under ReLU, variance 1/inputs for gates and outputs, zero biases. Each tensor has a stream of its
// own.
static void network_initialise(struct trainer_network *network)
{
    const struct trainer_graph *graph = network->graph;
    for (uint32_t t = 0; t < graph->tensors; t++) {
        const struct trainer_tensor *tensor = &graph->tensor[t];
        if (tensor->rows == 1) {
            continue;
        }
        bool relu = strstr(tensor->name, ".layer") != NULL;
        double deviation = sqrt((relu ? 2.0 : 1.0) / tensor->rows);
        uint64_t key = base_random_key(network->config.seed, tensor->name);
        float *weight = network->slab_owned + tensor->offset;
        for (uint64_t i = 0; i < (uint64_t)tensor->rows * tensor->columns; i++) {
            weight[i] = (float)(deviation * base_random_normal(key, i));
        }
    }
}

struct trainer_network *trainer_network_new(const struct trainer_network_config *config, bool training,
                                            struct trainer_workers *workers, struct base_error *error)
{
    struct trainer_graph *graph = trainer_ple_new(config, error);
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

// What the tiles of a pass share.
struct network_pass {
    const struct trainer_network *network;
    const struct trainer_graph_stage *stage;
    const struct trainer_graph_tile *tiles; // the pass' own
    const float *x;                         // [n x inputs]
    float *dx;                              // [n x inputs]
    uint32_t n;                             // rows
    float *logits;                          // forward: [n x logits]
    float *target;                          // update: slab or gradient
    float alpha;                            // update: its factor
};

static struct trainer_rows network_rows(const struct network_pass *pass, uint32_t tile)
{
    uint32_t begin = tile * TRAINER_TILE_ROWS;
    uint32_t end = begin + TRAINER_TILE_ROWS;
    return (struct trainer_rows){begin, end < pass->n ? end : pass->n};
}

static uint32_t network_row_tiles(uint32_t n)
{
    return (n + TRAINER_TILE_ROWS - 1) / TRAINER_TILE_ROWS;
}

// A vector's value and its gradient by it, [n x width].
static const float *network_value(const struct network_pass *pass, uint32_t vector)
{
    return vector == 0 ? pass->x : pass->network->value[vector];
}

static float *network_delta(const struct network_pass *pass, uint32_t vector)
{
    return vector == 0 ? pass->dx : pass->network->delta[vector];
}

// Where the gradient by a vector vanishes: its value if it comes from a ReLU, else NULL.
static const float *network_mask(const struct network_pass *pass, uint32_t vector)
{
    return pass->network->graph->vector[vector].relu ? pass->network->value[vector] : NULL;
}

// Copies a gating's weights from their tensors in `from` into `packed`, side by side.
static void network_pack(const struct trainer_graph *graph, const struct trainer_graph_gating *gating,
                         const float *from, float *packed)
{
    for (uint32_t g = gating->first; g < gating->first + gating->gates; g++) {
        const struct trainer_graph_gate *gate = &graph->gate[g];
        for (uint32_t r = 0; r < gating->shape.inputs; r++) {
            memcpy(packed + (size_t)r * gating->shape.outputs + gate->column,
                   from + gate->weight + (size_t)r * gate->count, gate->count * sizeof *packed);
        }
    }
}

// The way back.
static void network_unpack(const struct trainer_graph *graph, const struct trainer_graph_gating *gating,
                           const float *packed, float *to)
{
    for (uint32_t g = gating->first; g < gating->first + gating->gates; g++) {
        const struct trainer_graph_gate *gate = &graph->gate[g];
        for (uint32_t r = 0; r < gating->shape.inputs; r++) {
            memcpy(to + gate->weight + (size_t)r * gate->count,
                   packed + (size_t)r * gating->shape.outputs + gate->column, gate->count * sizeof *packed);
        }
    }
}

// ---- Forward ---------------------------------------------------------------------------------------------

// Dense stage: a block of a layer's outputs, or a gating's scores.
static void network_forward_dense(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_network *network = pass->network;
    const struct trainer_graph_tile *tile = &pass->tiles[index];
    if (tile->kind == TRAINER_TILE_LAYER) {
        const struct trainer_graph_layer *layer = &network->graph->layer[tile->index];
        trainer_layer_forward(layer->shape, tile->block, pass->n, network_value(pass, layer->input),
                              network->slab + layer->weight, network->slab + layer->bias,
                              network->value[layer->output]);
    } else {
        const struct trainer_graph_gating *gating = &network->graph->gating[tile->index];
        const struct network_gating *buffers = &network->gating[tile->index];
        network_pack(network->graph, gating, network->slab, buffers->weight);
        trainer_layer_forward(gating->shape, tile->block, pass->n, network_value(pass, gating->input),
                              buffers->weight, NULL, buffers->scores);
    }
}

// Mixture of one gate, a block of rows.
static void network_mix(const struct network_pass *pass, struct trainer_rows rows, uint32_t g,
                        const struct trainer_graph_gate *gate)
{
    const struct trainer_graph *graph = pass->network->graph;
    float *scores = pass->network->gating[g].scores;
    uint32_t stride = graph->gating[g].shape.outputs;
    trainer_mixture_softmax(rows, stride, gate->column, gate->count, scores);
    struct trainer_mixture_term terms[TRAINER_GATE_EXPERTS_MAX];
    for (uint32_t i = 0; i < gate->count; i++) {
        uint32_t expert = pass->stage->vectors.begin + graph->expert[gate->first + i];
        terms[i] =
            (struct trainer_mixture_term){network_value(pass, expert), scores + gate->column + i, stride};
    }
    trainer_mixture_sum(rows, graph->vector[gate->output].width, gate->count, terms, NULL,
                        pass->network->value[gate->output]);
}

static void network_forward_mixture(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_graph *graph = pass->network->graph;
    struct trainer_rows rows = network_rows(pass, index);
    for (uint32_t g = pass->stage->gatings.begin; g < pass->stage->gatings.end; g++) {
        for (uint32_t i = 0; i < graph->gating[g].gates; i++) {
            network_mix(pass, rows, g, &graph->gate[graph->gating[g].first + i]);
        }
    }
}

static void network_forward_output(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    for (uint32_t k = 0; k < graph->towers; k++) {
        const struct trainer_graph_tower *tower = &graph->tower[k];
        trainer_tower_forward(network_rows(pass, index), graph->vector[tower->input].width, graph->towers,
                              network_value(pass, tower->input), network->slab + tower->weight,
                              network->slab + tower->bias, pass->logits + k);
    }
}

static void network_forward_stage(struct network_pass *pass)
{
    struct trainer_workers *workers = pass->network->workers;
    switch (pass->stage->kind) {
    case TRAINER_STAGE_DENSE:
        pass->tiles = pass->network->graph->forward.at + pass->stage->forward.begin;
        trainer_workers_run(workers, pass->stage->forward.end - pass->stage->forward.begin,
                            network_forward_dense, pass);
        break;
    case TRAINER_STAGE_MIXTURE:
        trainer_workers_run(workers, network_row_tiles(pass->n), network_forward_mixture, pass);
        break;
    case TRAINER_STAGE_OUTPUT:
        trainer_workers_run(workers, network_row_tiles(pass->n), network_forward_output, pass);
        break;
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

// ---- Backward --------------------------------------------------------------------------------------------

// Dense stage: a block of the gradient by a vector that the stage reads, over all its readers in their order.
static void network_backward_dense(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    const struct trainer_graph_tile *tile = &pass->tiles[index];
    uint32_t vector = tile->index;
    float *delta = network_delta(pass, vector);
    bool add = false;
    for (uint32_t l = pass->stage->layers.begin; l < pass->stage->layers.end; l++) {
        const struct trainer_graph_layer *layer = &graph->layer[l];
        if (layer->input != vector) {
            continue;
        }
        trainer_layer_backward(layer->shape, tile->block, pass->n, network->delta[layer->output],
                               network->slab + layer->weight, add, delta);
        add = true;
    }
    for (uint32_t g = pass->stage->gatings.begin; g < pass->stage->gatings.end; g++) {
        if (graph->gating[g].input != vector) {
            continue;
        }
        trainer_layer_backward(graph->gating[g].shape, tile->block, pass->n, network->gating[g].delta,
                               network->gating[g].weight, add, delta);
        add = true;
    }
    if (graph->vector[vector].relu) {
        trainer_layer_mask(graph->vector[vector].width, tile->block, pass->n, network->value[vector], delta);
    }
}

// Gradient by a gate's scores, a block of rows.
static void network_backward_gate(const struct network_pass *pass, struct trainer_rows rows, uint32_t g,
                                  const struct trainer_graph_gate *gate)
{
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    const float *experts[TRAINER_GATE_EXPERTS_MAX];
    for (uint32_t i = 0; i < gate->count; i++) {
        experts[i] = network_value(pass, pass->stage->vectors.begin + graph->expert[gate->first + i]);
    }
    trainer_mixture_backward(rows, graph->vector[gate->output].width, gate->count, experts,
                             network->delta[gate->output], graph->gating[g].shape.outputs, gate->column,
                             network->gating[g].scores, network->gating[g].delta);
}

// Gradient by an expert's output before its ReLU, from all gates that weigh it, a block of rows.
static void network_backward_expert(const struct network_pass *pass, struct trainer_rows rows,
                                    uint32_t expert)
{
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    struct trainer_mixture_term terms[TRAINER_GATES_MAX];
    uint32_t count = 0;
    for (uint32_t g = pass->stage->gatings.begin; g < pass->stage->gatings.end; g++) {
        for (uint32_t i = 0; i < graph->gating[g].gates; i++) {
            const struct trainer_graph_gate *gate = &graph->gate[graph->gating[g].first + i];
            for (uint32_t e = 0; e < gate->count; e++) {
                if (graph->expert[gate->first + e] == expert) {
                    assert(count < TRAINER_GATES_MAX);
                    terms[count++] = (struct trainer_mixture_term){
                        network->delta[gate->output], network->gating[g].scores + gate->column + e,
                        graph->gating[g].shape.outputs};
                }
            }
        }
    }
    uint32_t vector = pass->stage->vectors.begin + expert;
    trainer_mixture_sum(rows, graph->vector[vector].width, count, terms, network->value[vector],
                        network->delta[vector]);
}

static void network_backward_mixture(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_graph *graph = pass->network->graph;
    struct trainer_rows rows = network_rows(pass, index);
    for (uint32_t g = pass->stage->gatings.begin; g < pass->stage->gatings.end; g++) {
        for (uint32_t i = 0; i < graph->gating[g].gates; i++) {
            network_backward_gate(pass, rows, g, &graph->gate[graph->gating[g].first + i]);
        }
    }
    for (uint32_t e = 0; e < pass->stage->vectors.end - pass->stage->vectors.begin; e++) {
        network_backward_expert(pass, rows, e);
    }
}

static void network_backward_output(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    for (uint32_t k = 0; k < graph->towers; k++) {
        const struct trainer_graph_tower *tower = &graph->tower[k];
        trainer_tower_backward(network_rows(pass, index), graph->vector[tower->input].width, graph->towers,
                               network->dlogits + k, network->slab + tower->weight,
                               network_mask(pass, tower->input), tower->add, network->delta[tower->input]);
    }
}

static void network_backward_stage(struct network_pass *pass)
{
    struct trainer_workers *workers = pass->network->workers;
    switch (pass->stage->kind) {
    case TRAINER_STAGE_DENSE:
        pass->tiles = pass->network->graph->backward.at + pass->stage->backward.begin;
        trainer_workers_run(workers, pass->stage->backward.end - pass->stage->backward.begin,
                            network_backward_dense, pass);
        break;
    case TRAINER_STAGE_MIXTURE:
        trainer_workers_run(workers, network_row_tiles(pass->n), network_backward_mixture, pass);
        break;
    case TRAINER_STAGE_OUTPUT:
        trainer_workers_run(workers, network_row_tiles(pass->n), network_backward_output, pass);
        break;
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
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    const struct trainer_graph_tile *tile = &pass->tiles[index];
    float *target = pass->target;
    if (tile->kind == TRAINER_TILE_LAYER) {
        const struct trainer_graph_layer *layer = &graph->layer[tile->index];
        trainer_layer_update(layer->shape, tile->block, pass->n, pass->alpha,
                             network_value(pass, layer->input), network->delta[layer->output],
                             target + layer->weight, target + layer->bias);
    } else if (tile->kind == TRAINER_TILE_GATING) {
        const struct trainer_graph_gating *gating = &graph->gating[tile->index];
        const struct network_gating *buffers = &network->gating[tile->index];
        network_pack(graph, gating, target, buffers->update);
        trainer_layer_update(gating->shape, tile->block, pass->n, pass->alpha,
                             network_value(pass, gating->input), buffers->delta, buffers->update, NULL);
        network_unpack(graph, gating, buffers->update, target);
    } else {
        const struct trainer_graph_tower *tower = &graph->tower[tile->index];
        trainer_tower_update(pass->n, graph->vector[tower->input].width, graph->towers, pass->alpha,
                             network_value(pass, tower->input), network->dlogits + tile->index,
                             target + tower->weight, target + tower->bias);
    }
}

// target += alpha * (gradient of the summed loss by the slab).
static void network_update(const struct trainer_network *network, const float *x, uint32_t n, float alpha,
                           float *target)
{
    assert(network->training && n >= 1 && n <= network->config.batch);
    struct network_pass pass = {.network = network, .x = x, .n = n, .target = target, .alpha = alpha};
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
    struct trainer_graph *graph = trainer_ple_new(config, &error);
    if (!graph) {
        return 0.0;
    }
    double products = 0.0; // a multiplication and an addition for every weight that is not a bias
    for (uint32_t t = 0; t < graph->tensors; t++) {
        if (graph->tensor[t].rows > 1) {
            products += (double)graph->tensor[t].rows * graph->tensor[t].columns;
        }
    }
    trainer_graph_free(graph);
    return 2.0 * products;
}

double trainer_network_flop_step(const struct trainer_network_config *config)
{
    return 3.0 * trainer_network_flop_forward(config);
}
