// The plan of a dense network: which vectors there are, which layers, gates and towers lie between them, in
// which order they run, where their weights stand in the slab, and the fixed lists of tiles. Made once by a
// body (ple.c), then only read. It holds no numbers: network.c runs it over slab and buffers.
//
//   vector   a row's intermediate result: x, the output of a layer (after ReLU), or a mixture h
//   layer    vector -> vector, dense with ReLU
//   gating   all gates that read one vector. Their weights are separate tensors [inputs x experts]; for the
//   GEMM
//            they are packed side by side into one matrix whose width is a multiple of 16
//   tower    a linear output: vector -> logit; several may read one vector
//   stage    layers and gatings that may run together (dense), mixtures of a level, or the outputs
//
// Backward runs the stages in reverse. A dense stage computes there the gradients of the vectors that it
// reads.
#ifndef TRAINER_GRAPH_H
#define TRAINER_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/layer.h"
#include "trainer/network.h"

enum {
    TRAINER_TILE_COLUMNS = 128, // most columns of a tile
    TRAINER_TILE_ROWS = 32,     // rows of a tile of mixtures or outputs
    TRAINER_GATES_MAX = BASE_TASKS_MAX + 1,
    TRAINER_GATE_EXPERTS_MAX = TRAINER_GATES_MAX * TRAINER_EXPERTS_MAX,
};

struct trainer_graph_vector {
    uint32_t width;
    bool relu; // a layer's output: its gradient is masked where it is not positive
};

struct trainer_graph_layer {
    uint32_t input, output; // vectors
    struct trainer_layer_shape shape;
    size_t weight, bias; // offsets in the slab
};

struct trainer_graph_gate {
    uint32_t output; // the mixture's vector
    uint32_t column; // its first column in the gating's matrix
    uint32_t count;  // experts that it weighs
    uint32_t first;  // in graph->expert: which experts, counted from the level's first
    size_t weight;   // offset of its tensor [inputs x count]
};

struct trainer_graph_gating {
    uint32_t input;                   // vector
    struct trainer_layer_shape shape; // of the packed matrix
    uint32_t gates, first;            // in graph->gate
};

struct trainer_graph_tower {
    uint32_t input; // vector
    bool add;       // an earlier one reads the same vector
    size_t weight, bias;
};

enum trainer_stage_kind { TRAINER_STAGE_DENSE, TRAINER_STAGE_MIXTURE, TRAINER_STAGE_OUTPUT };

struct trainer_range {
    uint32_t begin, end;
};

struct trainer_graph_stage {
    enum trainer_stage_kind kind;
    struct trainer_range layers, gatings; // a mixture has gatings alone
    struct trainer_range vectors;         // mixture: vectors of the experts that are weighed
    struct trainer_range forward;         // dense: tiles in graph->forward, of layers and gatings
    struct trainer_range backward;        // dense: tiles in graph->backward, of vectors that are read
};

enum trainer_tile_kind { TRAINER_TILE_LAYER, TRAINER_TILE_GATING, TRAINER_TILE_TOWER, TRAINER_TILE_VECTOR };

struct trainer_graph_tile {
    enum trainer_tile_kind kind;
    uint32_t index;
    struct trainer_block block;
};

struct trainer_graph_tiles {
    struct trainer_graph_tile *at;
    uint32_t count;
};

struct trainer_graph {
    uint32_t vectors, layers, gates, gatings, towers, stages, experts, tensors;
    struct trainer_graph_vector *vector; // vector 0 is x
    struct trainer_graph_layer *layer;
    struct trainer_graph_gate *gate;
    struct trainer_graph_gating *gating;
    struct trainer_graph_tower *tower; // [towers] one a logit
    struct trainer_graph_stage *stage;
    uint32_t *expert; // what the gates weigh
    struct trainer_tensor *tensor;
    struct trainer_graph_tiles forward, backward, update;
    size_t size; // floats of the slab
};

// The building blocks of a body. Each returns the new thing's index.
uint32_t trainer_graph_add_vector(struct trainer_graph *graph, uint32_t width, bool relu);
// A layer of `width` outputs on `input` with its tensors "<name>.weight" and "<name>.bias"; returns its
// output's vector.
uint32_t trainer_graph_add_layer(struct trainer_graph *graph, uint32_t input, uint32_t width,
                                 const char *name);
// A gating on `input` without gates; gates added next belong to it.
uint32_t trainer_graph_add_gating(struct trainer_graph *graph, uint32_t input);
// A gate of the last gating with its tensor "<name>.weight"; it weighs `experts` [count] of the level, all of
// `width`; returns the mixture's vector.
uint32_t trainer_graph_add_gate(struct trainer_graph *graph, const uint32_t *experts, uint32_t count,
                                uint32_t width, const char *name);
// The next logit's output on `input` with its tensors "<name>.weight" and "<name>.bias".
void trainer_graph_add_tower(struct trainer_graph *graph, uint32_t input, const char *name);
// Closes a stage: layers and gatings added since the last dense stage are its own. The mixture of a level
// follows the dense stages that made its scores and experts: `gatings` of it and the vectors of all its
// `experts`.
void trainer_graph_end_dense(struct trainer_graph *graph);
void trainer_graph_end_mixture(struct trainer_graph *graph, struct trainer_range gatings,
                               struct trainer_range experts);
void trainer_graph_end_output(struct trainer_graph *graph);
// Makes the lists of tiles. Nothing may be added after it.
void trainer_graph_finish(struct trainer_graph *graph);

void trainer_graph_free(struct trainer_graph *graph);

#endif
