// Building the plan of a dense network. See graph.h.
#include "trainer/graph.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

// Room for one more of `size` bytes after `count`: arrays grow at every power of two.
static void *graph_grow(void *array, uint32_t count, size_t size)
{
    if (count & (count - 1)) { // neither 0 nor a power of two: there is room
        return array;
    }
    return base_realloc(array, (count ? 2 * (size_t)count : 1) * size);
}

static uint32_t graph_round(uint32_t width)
{
    return (width + TRAINER_WIDTH_STEP - 1) / TRAINER_WIDTH_STEP * TRAINER_WIDTH_STEP;
}

// Appends the tensor "<name>.<part>" and returns its offset.
static size_t graph_add_tensor(struct trainer_graph *graph, const char *name, const char *part, uint32_t rows,
                               uint32_t columns, enum trainer_initial initial)
{
    graph->initial = graph_grow(graph->initial, graph->tensors, sizeof *graph->initial);
    graph->initial[graph->tensors] = initial;
    graph->tensor = graph_grow(graph->tensor, graph->tensors, sizeof *graph->tensor);
    struct trainer_tensor *tensor = &graph->tensor[graph->tensors++];
    memset(tensor, 0, sizeof *tensor);
    int length = snprintf(tensor->name, sizeof tensor->name, "%s.%s", name, part);
    assert(length > 0 && (size_t)length < sizeof tensor->name);
    tensor->rows = rows;
    tensor->columns = columns;
    tensor->offset = graph->size;
    size_t floats = (size_t)rows * columns;
    graph->size += (floats + 15) / 16 * 16;
    return tensor->offset;
}

uint32_t trainer_graph_add_vector(struct trainer_graph *graph, uint32_t width, bool relu)
{
    graph->vector = graph_grow(graph->vector, graph->vectors, sizeof *graph->vector);
    graph->vector[graph->vectors] = (struct trainer_graph_vector){.width = width, .relu = relu};
    return graph->vectors++;
}

uint32_t trainer_graph_add_layer(struct trainer_graph *graph, uint32_t input, uint32_t width,
                                 const char *name)
{
    struct trainer_graph_layer layer = {.input = input, .shape = {graph->vector[input].width, width}};
    layer.weight = graph_add_tensor(graph, name, "weight", layer.shape.inputs, width, TRAINER_INITIAL_RELU);
    layer.bias = graph_add_tensor(graph, name, "bias", 1, width, TRAINER_INITIAL_ZERO);
    layer.output = trainer_graph_add_vector(graph, width, true);
    graph->layer = graph_grow(graph->layer, graph->layers, sizeof *graph->layer);
    graph->layer[graph->layers++] = layer;
    return layer.output;
}

void trainer_graph_add_tie(struct trainer_graph *graph, uint32_t count, float pull)
{
    assert(count >= 1 && count <= graph->layers);
    graph->tie = graph_grow(graph->tie, graph->ties, sizeof *graph->tie);
    graph->tie[graph->ties++] = (struct trainer_graph_tie){graph->layers - count, count, pull};
}

uint32_t trainer_graph_add_gating(struct trainer_graph *graph, uint32_t input)
{
    graph->gating = graph_grow(graph->gating, graph->gatings, sizeof *graph->gating);
    graph->gating[graph->gatings] = (struct trainer_graph_gating){
        .input = input, .shape = {graph->vector[input].width, 0}, .first = graph->gates};
    return graph->gatings++;
}

uint32_t trainer_graph_add_gate(struct trainer_graph *graph, const uint32_t *experts, uint32_t count,
                                uint32_t width, const char *name)
{
    assert(graph->gatings > 0 && count > 0 && count <= TRAINER_GATE_EXPERTS_MAX);
    struct trainer_graph_gating *gating = &graph->gating[graph->gatings - 1];
    struct trainer_graph_gate gate = {.gating = graph->gatings - 1, .count = count, .first = graph->experts};
    if (gating->gates > 0) { // after the gates before
        gate.column = graph->gate[graph->gates - 1].column + graph->gate[graph->gates - 1].count;
    }
    gate.weight =
        graph_add_tensor(graph, name, "weight", gating->shape.inputs, count, TRAINER_INITIAL_LINEAR);
    gate.output = trainer_graph_add_vector(graph, width, false);
    for (uint32_t i = 0; i < count; i++) {
        graph->expert = graph_grow(graph->expert, graph->experts, sizeof *graph->expert);
        graph->expert[graph->experts++] = experts[i];
    }
    graph->gate = graph_grow(graph->gate, graph->gates, sizeof *graph->gate);
    graph->gate[graph->gates++] = gate;
    gating->gates++;
    gating->shape.outputs = graph_round(gate.column + count);
    return gate.output;
}

void trainer_graph_add_tower(struct trainer_graph *graph, uint32_t input, const char *name)
{
    struct trainer_graph_tower tower = {.input = input};
    for (uint32_t k = 0; k < graph->towers; k++) {
        tower.add |= graph->tower[k].input == input;
    }
    tower.weight =
        graph_add_tensor(graph, name, "weight", graph->vector[input].width, 1, TRAINER_INITIAL_LINEAR);
    tower.bias = graph_add_tensor(graph, name, "bias", 1, 1, TRAINER_INITIAL_ZERO);
    graph->tower = graph_grow(graph->tower, graph->towers, sizeof *graph->tower);
    graph->tower[graph->towers++] = tower;
}

static struct trainer_graph_stage *graph_add_stage(struct trainer_graph *graph, enum trainer_stage_kind kind)
{
    graph->stage = graph_grow(graph->stage, graph->stages, sizeof *graph->stage);
    struct trainer_graph_stage *stage = &graph->stage[graph->stages++];
    memset(stage, 0, sizeof *stage);
    stage->kind = kind;
    return stage;
}

static const struct trainer_graph_stage *graph_last_stage(const struct trainer_graph *graph,
                                                          enum trainer_stage_kind kind)
{
    for (uint32_t s = graph->stages; s-- > 0;) {
        if (graph->stage[s].kind == kind) {
            return &graph->stage[s];
        }
    }
    return NULL;
}

void trainer_graph_end_dense(struct trainer_graph *graph)
{
    struct trainer_range layers = {0, graph->layers}, gatings = {0, graph->gatings};
    const struct trainer_graph_stage *last = graph_last_stage(graph, TRAINER_STAGE_DENSE);
    if (last) {
        layers.begin = last->layers.end;
        gatings.begin = last->gatings.end;
    }
    struct trainer_graph_stage *stage = graph_add_stage(graph, TRAINER_STAGE_DENSE);
    stage->layers = layers;
    stage->gatings = gatings;
}

void trainer_graph_end_mixture(struct trainer_graph *graph, struct trainer_range gates,
                               struct trainer_range experts)
{
    struct trainer_graph_stage *stage = graph_add_stage(graph, TRAINER_STAGE_MIXTURE);
    stage->gates = gates;
    stage->vectors = experts;
}

uint32_t trainer_graph_add_stitch(struct trainer_graph *graph, uint32_t inputs, uint32_t count,
                                  const char *name)
{
    assert(count >= 2 && count <= BASE_TASKS_MAX);
    struct trainer_graph_stitch stitch = {.inputs = inputs, .outputs = graph->vectors, .count = count};
    stitch.weight = graph_add_tensor(graph, name, "weight", count, count, TRAINER_INITIAL_STITCH);
    for (uint32_t i = 0; i < count; i++) {
        assert(graph->vector[inputs + i].width == graph->vector[inputs].width);
        trainer_graph_add_vector(graph, graph->vector[inputs].width, false);
    }
    struct trainer_graph_stage *stage = graph_add_stage(graph, TRAINER_STAGE_STITCH);
    stage->stitches = (struct trainer_range){graph->stitches, graph->stitches + 1};
    graph->stitch = graph_grow(graph->stitch, graph->stitches, sizeof *graph->stitch);
    graph->stitch[graph->stitches++] = stitch;
    return stitch.outputs;
}

uint32_t trainer_graph_add_concat(struct trainer_graph *graph, uint32_t left, uint32_t right)
{
    struct trainer_graph_concat concat = {.left = left, .right = right};
    for (uint32_t c = 0; c < graph->concats; c++) {
        concat.add_left |= graph->concat[c].left == left || graph->concat[c].right == left;
        concat.add_right |= graph->concat[c].left == right || graph->concat[c].right == right;
    }
    assert(left != right);
    concat.output =
        trainer_graph_add_vector(graph, graph->vector[left].width + graph->vector[right].width, false);
    graph->concat = graph_grow(graph->concat, graph->concats, sizeof *graph->concat);
    graph->concat[graph->concats++] = concat;
    return concat.output;
}

void trainer_graph_end_concat(struct trainer_graph *graph)
{
    const struct trainer_graph_stage *last = graph_last_stage(graph, TRAINER_STAGE_CONCAT);
    struct trainer_range concats = {last ? last->concats.end : 0, graph->concats};
    graph_add_stage(graph, TRAINER_STAGE_CONCAT)->concats = concats;
}

void trainer_graph_end_output(struct trainer_graph *graph)
{
    graph_add_stage(graph, TRAINER_STAGE_OUTPUT);
}

static void graph_add_tile(struct trainer_graph_tiles *tiles, enum trainer_tile_kind kind, uint32_t index,
                           struct trainer_block block)
{
    tiles->at = graph_grow(tiles->at, tiles->count, sizeof *tiles->at);
    tiles->at[tiles->count++] = (struct trainer_graph_tile){kind, index, block};
}

// Cuts `width` columns into tiles of at most TRAINER_TILE_COLUMNS.
static void graph_cut(struct trainer_graph_tiles *tiles, enum trainer_tile_kind kind, uint32_t index,
                      uint32_t width)
{
    for (uint32_t column = 0; column < width; column += TRAINER_TILE_COLUMNS) {
        uint32_t columns = width - column < TRAINER_TILE_COLUMNS ? width - column : TRAINER_TILE_COLUMNS;
        graph_add_tile(tiles, kind, index, (struct trainer_block){column, columns});
    }
}

// A tile that is not cut: a gating is packed whole, a tower is narrow.
static void graph_whole(struct trainer_graph_tiles *tiles, enum trainer_tile_kind kind, uint32_t index,
                        uint32_t width)
{
    graph_add_tile(tiles, kind, index, (struct trainer_block){0, width});
}

// Tiles of `stage`'s backward pass: every vector it reads, once.
static void graph_cut_inputs(struct trainer_graph *graph, struct trainer_graph_stage *stage)
{
    bool *read = base_alloc_zeroed(graph->vectors, sizeof *read);
    for (uint32_t l = stage->layers.begin; l < stage->layers.end; l++) {
        read[graph->layer[l].input] = true;
    }
    for (uint32_t g = stage->gatings.begin; g < stage->gatings.end; g++) {
        read[graph->gating[g].input] = true;
    }
    stage->backward.begin = graph->backward.count;
    for (uint32_t v = 0; v < graph->vectors; v++) {
        if (read[v]) {
            graph_cut(&graph->backward, TRAINER_TILE_VECTOR, v, graph->vector[v].width);
        }
    }
    stage->backward.end = graph->backward.count;
    free(read);
}

void trainer_graph_finish(struct trainer_graph *graph)
{
    for (uint32_t s = 0; s < graph->stages; s++) {
        struct trainer_graph_stage *stage = &graph->stage[s];
        if (stage->kind != TRAINER_STAGE_DENSE) {
            continue;
        }
        stage->forward.begin = graph->forward.count;
        for (uint32_t l = stage->layers.begin; l < stage->layers.end; l++) {
            graph_cut(&graph->forward, TRAINER_TILE_LAYER, l, graph->layer[l].shape.outputs);
        }
        for (uint32_t g = stage->gatings.begin; g < stage->gatings.end; g++) {
            graph_whole(&graph->forward, TRAINER_TILE_GATING, g, graph->gating[g].shape.outputs);
        }
        stage->forward.end = graph->forward.count;
        graph_cut_inputs(graph, stage);
    }
    for (uint32_t l = 0; l < graph->layers; l++) {
        graph_cut(&graph->update, TRAINER_TILE_LAYER, l, graph->layer[l].shape.outputs);
    }
    for (uint32_t t = 0; t < graph->ties; t++) { // one owner of all its layers: each looks at the others
        graph_cut(&graph->pull, TRAINER_TILE_TIE, t, graph->layer[graph->tie[t].first].shape.outputs);
    }
    for (uint32_t g = 0; g < graph->gatings; g++) {
        graph_whole(&graph->update, TRAINER_TILE_GATING, g, graph->gating[g].shape.outputs);
    }
    for (uint32_t s = 0; s < graph->stitches; s++) {
        for (uint32_t i = 0; i < graph->stitch[s].count; i++) {
            graph_add_tile(&graph->update, TRAINER_TILE_STITCH, s, (struct trainer_block){i, 1});
        }
    }
    for (uint32_t k = 0; k < graph->towers; k++) {
        graph_whole(&graph->update, TRAINER_TILE_TOWER, k, 1);
    }
}

void trainer_graph_free(struct trainer_graph *graph)
{
    if (!graph) {
        return;
    }
    free(graph->vector);
    free(graph->layer);
    free(graph->tie);
    free(graph->gate);
    free(graph->gating);
    free(graph->stitch);
    free(graph->concat);
    free(graph->tower);
    free(graph->stage);
    free(graph->expert);
    free(graph->tensor);
    free(graph->initial);
    free(graph->forward.at);
    free(graph->backward.at);
    free(graph->update.at);
    free(graph->pull.at);
    free(graph);
}
