// The plan of a dense network: which vectors there are, which layers, gates and towers lie between them, in
// which order they run, where their weights stand in the slab, and the fixed lists of tiles. Made once from a
// configuration (body.h), then only read. It holds no numbers: network.c runs it over slab and buffers.
//
//   vector   a row's intermediate result: x, the output of a layer (after ReLU), or of a stage
//   layer    vector -> vector, dense with ReLU
//   tie      layers of one shape that a penalty draws to their mean
//   gating   gates that read one vector. Their weights are separate tensors [inputs x experts], packed side
//            by side for the GEMM into one matrix whose width is a multiple of 16
//   mixture  the vectors that some gates make of experts
//   stitch   T vectors -> T vectors, each a learned linear combination of all
//   concat   two vectors -> one, the second behind the first
//   tower    a linear output: vector -> logit; several may read one vector
//   stage    layers and gatings that may run together (dense), mixtures of a level, a stitch, concats, or
//            the outputs
//
// A vector is read by the things of one stage only. Backward runs the stages in reverse, and each computes
// the gradients of the vectors that it reads.
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

// How a tensor starts.
enum trainer_initial {
    TRAINER_INITIAL_ZERO,   // biases
    TRAINER_INITIAL_LINEAR, // normal with variance 1/inputs: gates and outputs
    TRAINER_INITIAL_RELU,   // He-normal: layers with ReLU
    TRAINER_INITIAL_STITCH, // 0.9 on the diagonal, 0.1/(T - 1) off it
};

struct trainer_graph_tie {
    uint32_t first, count; // layers
    float pull;            // the penalty's gradient by w is pull * (w - mean)
};

struct trainer_graph_gate {
    uint32_t gating;
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

struct trainer_graph_stitch {
    uint32_t inputs, outputs; // vectors: the first of `count` each
    uint32_t count;           // T
    size_t weight;            // offset of its tensor [T x T]: alpha_ij, of output i and input j
};

struct trainer_graph_concat {
    uint32_t left, right, output; // vectors
    bool add_left, add_right;     // an earlier one reads the same
};

struct trainer_graph_tower {
    uint32_t input; // vector
    bool add;       // an earlier one reads the same vector
    size_t weight, bias;
};

enum trainer_stage_kind {
    TRAINER_STAGE_DENSE,
    TRAINER_STAGE_MIXTURE,
    TRAINER_STAGE_STITCH,
    TRAINER_STAGE_CONCAT,
    TRAINER_STAGE_OUTPUT,
};

struct trainer_range {
    uint32_t begin, end;
};

struct trainer_graph_stage {
    enum trainer_stage_kind kind;
    struct trainer_range layers, gatings; // dense
    struct trainer_range forward;         // dense: tiles in graph->forward, of layers and gatings
    struct trainer_range backward;        // dense: tiles in graph->backward, of vectors that are read
    struct trainer_range gates;           // mixture
    struct trainer_range vectors;         // mixture: vectors of the experts that are weighed
    struct trainer_range stitches;        // stitch
    struct trainer_range concats;         // concat
};

enum trainer_tile_kind {
    TRAINER_TILE_LAYER,
    TRAINER_TILE_GATING,
    TRAINER_TILE_TOWER,
    TRAINER_TILE_VECTOR,
    TRAINER_TILE_TIE,    // a block of columns of all its layers
    TRAINER_TILE_STITCH, // one row of alpha: block.column
};

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
    uint32_t vectors, layers, ties, gates, gatings, stitches, concats, towers, stages, experts, tensors;
    struct trainer_graph_vector *vector; // vector 0 is x
    struct trainer_graph_layer *layer;
    struct trainer_graph_tie *tie;
    struct trainer_graph_gate *gate;
    struct trainer_graph_gating *gating;
    struct trainer_graph_stitch *stitch;
    struct trainer_graph_concat *concat;
    struct trainer_graph_tower *tower; // [towers] one a logit
    struct trainer_graph_stage *stage;
    uint32_t *expert; // what the gates weigh
    struct trainer_tensor *tensor;
    enum trainer_initial *initial; // [tensors]
    struct trainer_graph_tiles forward, backward, update;
    struct trainer_graph_tiles pull; // of ties, before the update
    size_t size;                     // floats of the slab
};

// The building blocks of a body. Each returns the new thing's index.
uint32_t trainer_graph_add_vector(struct trainer_graph *graph, uint32_t width, bool relu);
// A layer of `width` outputs on `input` with its tensors "<name>.weight" and "<name>.bias"; returns its
// output's vector.
uint32_t trainer_graph_add_layer(struct trainer_graph *graph, uint32_t input, uint32_t width,
                                 const char *name);
// Ties the layers added last, `count` of one shape.
void trainer_graph_add_tie(struct trainer_graph *graph, uint32_t count, float pull);
// A gating on `input` without gates; gates added next belong to it.
uint32_t trainer_graph_add_gating(struct trainer_graph *graph, uint32_t input);
// A gate of the last gating with its tensor "<name>.weight"; it weighs `experts` [count] of the level, all of
// `width`; returns the mixture's vector.
uint32_t trainer_graph_add_gate(struct trainer_graph *graph, const uint32_t *experts, uint32_t count,
                                uint32_t width, const char *name);
// Puts `right` behind `left`; returns the new vector.
uint32_t trainer_graph_add_concat(struct trainer_graph *graph, uint32_t left, uint32_t right);
// The next logit's output on `input` with its tensors "<name>.weight" and "<name>.bias".
void trainer_graph_add_tower(struct trainer_graph *graph, uint32_t input, const char *name);
// Closes a stage: layers and gatings, or concats, added since the last of its kind are its own. The mixture
// of a level follows the dense stages that made its scores and experts: its `gates` and the vectors of all
// its `experts`.
void trainer_graph_end_dense(struct trainer_graph *graph);
void trainer_graph_end_mixture(struct trainer_graph *graph, struct trainer_range gates,
                               struct trainer_range experts);
void trainer_graph_end_concat(struct trainer_graph *graph);
void trainer_graph_end_output(struct trainer_graph *graph);
// A stage: stitches `count` consecutive vectors of one width with its tensor "<name>.weight"; returns the
// first of its outputs, consecutive as well.
uint32_t trainer_graph_add_stitch(struct trainer_graph *graph, uint32_t inputs, uint32_t count,
                                  const char *name);
// Makes the lists of tiles. Nothing may be added after it.
void trainer_graph_finish(struct trainer_graph *graph);

void trainer_graph_free(struct trainer_graph *graph);

#endif
