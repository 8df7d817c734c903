// What a network does by blocks of rows: mixtures, stitches, concats and outputs, forward, backward and
// update. See network.h. Where several readers of a vector stand in one stage their gradients are added in
// the plan's order.
#include <assert.h>

#include "trainer/network_private.h"
#include "trainer/sharing.h"
#include "trainer/tower.h"

static struct trainer_rows rows_of(const struct network_pass *pass, uint32_t tile)
{
    uint32_t begin = tile * TRAINER_TILE_ROWS;
    uint32_t end = begin + TRAINER_TILE_ROWS;
    return (struct trainer_rows){begin, end < pass->n ? end : pass->n};
}

// ---- Mixtures --------------------------------------------------------------------------------------------

static void rows_forward_gate(const struct network_pass *pass, struct trainer_rows rows,
                              const struct trainer_graph_gate *gate)
{
    const struct trainer_graph *graph = pass->network->graph;
    float *scores = pass->network->gating[gate->gating].scores;
    uint32_t stride = graph->gating[gate->gating].shape.outputs;
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

static void rows_forward_mixture(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    for (uint32_t g = pass->stage->gates.begin; g < pass->stage->gates.end; g++) {
        rows_forward_gate(pass, rows_of(pass, index), &pass->network->graph->gate[g]);
    }
}

// Gradient by a gate's scores.
static void rows_backward_gate(const struct network_pass *pass, struct trainer_rows rows,
                               const struct trainer_graph_gate *gate)
{
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    const float *experts[TRAINER_GATE_EXPERTS_MAX];
    for (uint32_t i = 0; i < gate->count; i++) {
        experts[i] = network_value(pass, pass->stage->vectors.begin + graph->expert[gate->first + i]);
    }
    trainer_mixture_backward(rows, graph->vector[gate->output].width, gate->count, experts,
                             network->delta[gate->output], graph->gating[gate->gating].shape.outputs,
                             gate->column, network->gating[gate->gating].scores,
                             network->gating[gate->gating].delta);
}

// Gradient by an expert's output before its ReLU, from all gates that weigh it.
static void rows_backward_expert(const struct network_pass *pass, struct trainer_rows rows, uint32_t expert)
{
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    struct trainer_mixture_term terms[TRAINER_GATE_EXPERTS_MAX];
    uint32_t count = 0;
    for (uint32_t g = pass->stage->gates.begin; g < pass->stage->gates.end; g++) {
        const struct trainer_graph_gate *gate = &graph->gate[g];
        for (uint32_t e = 0; e < gate->count; e++) {
            if (graph->expert[gate->first + e] == expert) {
                assert(count < TRAINER_GATE_EXPERTS_MAX);
                terms[count++] = (struct trainer_mixture_term){
                    network->delta[gate->output], network->gating[gate->gating].scores + gate->column + e,
                    graph->gating[gate->gating].shape.outputs};
            }
        }
    }
    uint32_t vector = pass->stage->vectors.begin + expert;
    trainer_mixture_sum(rows, graph->vector[vector].width, count, terms, network->value[vector],
                        network->delta[vector]);
}

static void rows_backward_mixture(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    struct trainer_rows rows = rows_of(pass, index);
    for (uint32_t g = pass->stage->gates.begin; g < pass->stage->gates.end; g++) {
        rows_backward_gate(pass, rows, &pass->network->graph->gate[g]);
    }
    for (uint32_t e = 0; e < pass->stage->vectors.end - pass->stage->vectors.begin; e++) {
        rows_backward_expert(pass, rows, e);
    }
}

// ---- Stitches --------------------------------------------------------------------------------------------

// Output i is the sum of alpha_ij x_j. The weights are the same for every row: a mixture of stride 0.
static void rows_forward_stitch(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_graph *graph = pass->network->graph;
    for (uint32_t s = pass->stage->stitches.begin; s < pass->stage->stitches.end; s++) {
        const struct trainer_graph_stitch *stitch = &graph->stitch[s];
        const float *alpha = pass->network->slab + stitch->weight;
        for (uint32_t i = 0; i < stitch->count; i++) {
            struct trainer_mixture_term terms[BASE_TASKS_MAX];
            for (uint32_t j = 0; j < stitch->count; j++) {
                terms[j] = (struct trainer_mixture_term){network_value(pass, stitch->inputs + j),
                                                         &alpha[i * stitch->count + j], 0};
            }
            trainer_mixture_sum(rows_of(pass, index), graph->vector[stitch->inputs].width, stitch->count,
                                terms, NULL, pass->network->value[stitch->outputs + i]);
        }
    }
}

// The gradient by x_j is the sum of alpha_ij times that by output i.
static void rows_backward_stitch(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_graph *graph = pass->network->graph;
    for (uint32_t s = pass->stage->stitches.begin; s < pass->stage->stitches.end; s++) {
        const struct trainer_graph_stitch *stitch = &graph->stitch[s];
        const float *alpha = pass->network->slab + stitch->weight;
        for (uint32_t j = 0; j < stitch->count; j++) {
            struct trainer_mixture_term terms[BASE_TASKS_MAX];
            for (uint32_t i = 0; i < stitch->count; i++) {
                terms[i] = (struct trainer_mixture_term){pass->network->delta[stitch->outputs + i],
                                                         &alpha[i * stitch->count + j], 0};
            }
            trainer_mixture_sum(rows_of(pass, index), graph->vector[stitch->inputs].width, stitch->count,
                                terms, network_mask(pass, stitch->inputs + j),
                                network_delta(pass, stitch->inputs + j));
        }
    }
}

// Row i of alpha.
static void rows_update_stitch(const struct network_pass *pass, const struct trainer_graph_stitch *stitch,
                               uint32_t i)
{
    for (uint32_t j = 0; j < stitch->count; j++) {
        pass->target[stitch->weight + i * stitch->count + j] +=
            pass->alpha * trainer_sharing_product(pass->n, pass->network->graph->vector[stitch->inputs].width,
                                                  pass->network->delta[stitch->outputs + i],
                                                  network_value(pass, stitch->inputs + j));
    }
}

// ---- Concats ---------------------------------------------------------------------------------------------

static void rows_forward_concat(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_graph *graph = pass->network->graph;
    for (uint32_t c = pass->stage->concats.begin; c < pass->stage->concats.end; c++) {
        const struct trainer_graph_concat *concat = &graph->concat[c];
        trainer_sharing_concat(rows_of(pass, index), graph->vector[concat->left].width,
                               graph->vector[concat->right].width, network_value(pass, concat->left),
                               network_value(pass, concat->right), pass->network->value[concat->output]);
    }
}

static void rows_backward_concat(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_graph *graph = pass->network->graph;
    struct trainer_rows rows = rows_of(pass, index);
    for (uint32_t c = pass->stage->concats.begin; c < pass->stage->concats.end; c++) {
        const struct trainer_graph_concat *concat = &graph->concat[c];
        uint32_t left = graph->vector[concat->left].width, right = graph->vector[concat->right].width;
        const float *delta = pass->network->delta[concat->output];
        trainer_sharing_part(rows, left + right, 0, left, delta, network_mask(pass, concat->left),
                             concat->add_left, network_delta(pass, concat->left));
        trainer_sharing_part(rows, left + right, left, right, delta, network_mask(pass, concat->right),
                             concat->add_right, network_delta(pass, concat->right));
    }
}

// ---- Outputs ---------------------------------------------------------------------------------------------

static void rows_forward_output(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    for (uint32_t k = 0; k < graph->towers; k++) {
        const struct trainer_graph_tower *tower = &graph->tower[k];
        trainer_tower_forward(rows_of(pass, index), graph->vector[tower->input].width, graph->towers,
                              network_value(pass, tower->input), network->slab + tower->weight,
                              network->slab + tower->bias, pass->logits + k);
    }
}

static void rows_backward_output(void *context, uint32_t index)
{
    const struct network_pass *pass = context;
    const struct trainer_network *network = pass->network;
    const struct trainer_graph *graph = network->graph;
    for (uint32_t k = 0; k < graph->towers; k++) {
        const struct trainer_graph_tower *tower = &graph->tower[k];
        trainer_tower_backward(rows_of(pass, index), graph->vector[tower->input].width, graph->towers,
                               network->dlogits + k, network->slab + tower->weight,
                               network_mask(pass, tower->input), tower->add, network->delta[tower->input]);
    }
}

static void rows_update_output(const struct network_pass *pass, uint32_t k)
{
    const struct trainer_graph *graph = pass->network->graph;
    const struct trainer_graph_tower *tower = &graph->tower[k];
    trainer_tower_update(pass->n, graph->vector[tower->input].width, graph->towers, pass->alpha,
                         network_value(pass, tower->input), pass->network->dlogits + k,
                         pass->target + tower->weight, pass->target + tower->bias);
}

// ---- Stages ----------------------------------------------------------------------------------------------

typedef void rows_tile(void *context, uint32_t index);

static void rows_run(struct network_pass *pass, rows_tile *tile)
{
    uint32_t tiles = (pass->n + TRAINER_TILE_ROWS - 1) / TRAINER_TILE_ROWS;
    trainer_workers_run(pass->network->workers, tiles, tile, pass);
}

void network_rows_forward(struct network_pass *pass)
{
    static rows_tile *const tiles[] = {[TRAINER_STAGE_MIXTURE] = rows_forward_mixture,
                                       [TRAINER_STAGE_STITCH] = rows_forward_stitch,
                                       [TRAINER_STAGE_CONCAT] = rows_forward_concat,
                                       [TRAINER_STAGE_OUTPUT] = rows_forward_output};
    rows_run(pass, tiles[pass->stage->kind]);
}

void network_rows_backward(struct network_pass *pass)
{
    static rows_tile *const tiles[] = {[TRAINER_STAGE_MIXTURE] = rows_backward_mixture,
                                       [TRAINER_STAGE_STITCH] = rows_backward_stitch,
                                       [TRAINER_STAGE_CONCAT] = rows_backward_concat,
                                       [TRAINER_STAGE_OUTPUT] = rows_backward_output};
    rows_run(pass, tiles[pass->stage->kind]);
}

void network_rows_update(const struct network_pass *pass, const struct trainer_graph_tile *tile)
{
    if (tile->kind == TRAINER_TILE_STITCH) {
        rows_update_stitch(pass, &pass->network->graph->stitch[tile->index], tile->block.column);
    } else {
        rows_update_output(pass, tile->index);
    }
}
