// Layers and gates of a network, forward, backward and update. See network.h.
//
// A tile is a block of columns of one layer, or a gating: the whole minibatch, one chain of BLAS calls, then
// bias and ReLU while the block is in the cache.
#include <string.h>

#include "trainer/gemm.h"
#include "trainer/layer.h"
#include "trainer/network_private.h"
#include "trainer/sharing.h"

enum {
    // From this number of rows on a tile may be halved where our own kernels run, so that the few tiles of a
    // narrow layer or vector share out evenly. Below it the library's kernels for small products, which are
    // left what is small, give other bits for half a tile (gemm.h).
    DENSE_PARTS_ROWS = 32,
    // Forward stages of more tiles share out evenly as they are.
    DENSE_PARTS_FEW = 4,
};

// Copies a gating's weights from their tensors in `from` into `packed`, side by side.
static void dense_pack(const struct trainer_graph *graph, const struct trainer_graph_gating *gating,
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
static void dense_unpack(const struct trainer_graph *graph, const struct trainer_graph_gating *gating,
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

// Runs a stage's tiles, as they are or halved.
static void dense_run(struct network_pass *pass, struct trainer_range tiles, bool halve, trainer_tile *tile)
{
    pass->parts = halve && trainer_gemm_own() && pass->n >= DENSE_PARTS_ROWS ? 2 : 1;
    trainer_workers_run(pass->network->workers, (tiles.end - tiles.begin) * pass->parts, tile, pass);
}

// Part `part` of `parts` of a tile. Only a full one is cut, and no gating, which is packed whole; of the
// others the first part is all.
static struct trainer_block dense_part(const struct trainer_graph_tile *tile, uint32_t part, uint32_t parts)
{
    struct trainer_block block = tile->block;
    if (parts == 1 || block.columns < TRAINER_TILE_COLUMNS || tile->kind == TRAINER_TILE_GATING) {
        return part == 0 ? block : (struct trainer_block){block.column, 0};
    }
    uint32_t columns = block.columns / parts;
    return (struct trainer_block){block.column + part * columns, columns};
}

// Dense stage: a block of a layer's outputs, or a gating's scores.
static void dense_forward_tile(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_network *network = pass->network;
    const struct trainer_graph_tile *tile = &pass->tiles[index / pass->parts];
    struct trainer_block block = dense_part(tile, index % pass->parts, pass->parts);
    if (block.columns == 0) {
        return;
    }
    if (tile->kind == TRAINER_TILE_LAYER) {
        const struct trainer_graph_layer *layer = &network->graph->layer[tile->index];
        trainer_layer_forward(layer->shape, block, pass->n, network_value(pass, layer->input),
                              network->slab + layer->weight, network->slab + layer->bias,
                              network->value[layer->output]);
    } else {
        const struct trainer_graph_gating *gating = &network->graph->gating[tile->index];
        const struct network_gating *buffers = &network->gating[tile->index];
        dense_pack(network->graph, gating, network->slab, buffers->weight);
        trainer_layer_forward(gating->shape, tile->block, pass->n, network_value(pass, gating->input),
                              buffers->weight, NULL, buffers->scores);
    }
}

void network_dense_forward(struct network_pass *pass)
{
    pass->tiles = pass->network->graph->forward.at + pass->stage->forward.begin;
    struct trainer_range tiles = pass->stage->forward;
    dense_run(pass, tiles, tiles.end - tiles.begin <= DENSE_PARTS_FEW, dense_forward_tile);
}

// Dense stage: a block of the gradient by a vector that the stage reads, over all its readers in their order.
static void dense_backward_tile(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    const struct trainer_graph_tile *tile = &pass->tiles[index / pass->parts];
    uint32_t whole = tile->block.columns;
    struct trainer_block block = dense_part(tile, index % pass->parts, pass->parts);
    if (block.columns == 0) {
        return;
    }
    uint32_t vector = tile->index;
    float *delta = network_delta(pass, vector);
    bool add = false;
    for (uint32_t l = pass->stage->layers.begin; l < pass->stage->layers.end; l++) {
        const struct trainer_graph_layer *layer = &graph->layer[l];
        if (layer->input != vector) {
            continue;
        }
        trainer_layer_backward(layer->shape, block, pass->n, whole, network->delta[layer->output],
                               network->slab + layer->weight, add, delta);
        add = true;
    }
    for (uint32_t g = pass->stage->gatings.begin; g < pass->stage->gatings.end; g++) {
        if (graph->gating[g].input != vector) {
            continue;
        }
        trainer_layer_backward(graph->gating[g].shape, block, pass->n, whole, network->gating[g].delta,
                               network->gating[g].weight, add, delta);
        add = true;
    }
    if (graph->vector[vector].relu) {
        trainer_layer_mask(graph->vector[vector].width, block, pass->n, network->value[vector], delta);
    }
}

void network_dense_backward(struct network_pass *pass)
{
    pass->tiles = pass->network->graph->backward.at + pass->stage->backward.begin;
    dense_run(pass, pass->stage->backward, true, dense_backward_tile);
}

static void dense_update_layer(const struct network_pass *pass, uint32_t l, struct trainer_block block)
{
    const struct trainer_graph_layer *layer = &pass->network->graph->layer[l];
    trainer_layer_update(layer->shape, block, pass->n, pass->alpha, network_value(pass, layer->input),
                         pass->network->delta[layer->output], pass->target + layer->weight,
                         pass->target + layer->bias);
}

// The gates' weights are packed, updated and unpacked.
static void dense_update_gating(const struct network_pass *pass, uint32_t g, struct trainer_block block)
{
    const struct trainer_graph *graph = pass->network->graph;
    const struct trainer_graph_gating *gating = &graph->gating[g];
    const struct network_gating *buffers = &pass->network->gating[g];
    dense_pack(graph, gating, pass->target, buffers->update);
    trainer_layer_update(gating->shape, block, pass->n, pass->alpha, network_value(pass, gating->input),
                         buffers->delta, buffers->update, NULL);
    dense_unpack(graph, gating, buffers->update, pass->target);
}

// The penalty's gradient of tied layers, once a sample, from all the weights before the step.
static void dense_pull_tie(const struct network_pass *pass, const struct trainer_graph_tie *tie,
                           struct trainer_block block)
{
    const struct trainer_graph_layer *layer = &pass->network->graph->layer[tie->first];
    const float *weight[BASE_TASKS_MAX], *bias[BASE_TASKS_MAX];
    float *to_weight[BASE_TASKS_MAX], *to_bias[BASE_TASKS_MAX];
    for (uint32_t k = 0; k < tie->count; k++) {
        weight[k] = pass->network->slab + layer[k].weight;
        bias[k] = pass->network->slab + layer[k].bias;
        to_weight[k] = pass->target + layer[k].weight;
        to_bias[k] = pass->target + layer[k].bias;
    }
    float factor = pass->alpha * (float)pass->n * tie->pull;
    trainer_sharing_pull(layer->shape.inputs, layer->shape.outputs, block, tie->count, factor, weight,
                         to_weight);
    trainer_sharing_pull(1, layer->shape.outputs, block, tie->count, factor, bias, to_bias);
}

void network_dense_update(const struct network_pass *pass, const struct trainer_graph_tile *tile)
{
    if (tile->kind == TRAINER_TILE_LAYER) {
        dense_update_layer(pass, tile->index, tile->block);
    } else if (tile->kind == TRAINER_TILE_TIE) {
        dense_pull_tie(pass, &pass->network->graph->tie[tile->index], tile->block);
    } else {
        dense_update_gating(pass, tile->index, tile->block);
    }
}
