// The network's inside, shared by network.c (buffers, weights, the passes), network_dense.c (layers and
// gates) and network_rows.c (what goes by blocks of rows).
#ifndef TRAINER_NETWORK_PRIVATE_H
#define TRAINER_NETWORK_PRIVATE_H

#include "trainer/graph.h"
#include "trainer/mixture.h"
#include "trainer/network.h"

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
    float *lone;                   // a row beside one of zeros, [2 x inputs]
    float *memory;                 // all buffers
};

// What the tiles of a pass share.
struct network_pass {
    const struct trainer_network *network;
    const struct trainer_graph_stage *stage;
    const struct trainer_graph_tile *tiles; // the pass' own
    const float *x;                         // [n x inputs]
    float *dx;                              // [n x inputs]
    uint32_t n;                             // rows
    uint32_t parts;                         // forward, backward: into which a dense tile is cut
    float *logits;                          // forward: [n x logits]
    float *target;                          // update: slab or gradient
    float alpha;                            // update: its factor
};

// A vector's value and its gradient by it, [n x width].
static inline const float *network_value(const struct network_pass *pass, uint32_t vector)
{
    return vector == 0 ? pass->x : pass->network->value[vector];
}

static inline float *network_delta(const struct network_pass *pass, uint32_t vector)
{
    return vector == 0 ? pass->dx : pass->network->delta[vector];
}

// Where the gradient by a vector vanishes: its value if it comes from a ReLU, else NULL.
static inline const float *network_mask(const struct network_pass *pass, uint32_t vector)
{
    return pass->network->graph->vector[vector].relu ? pass->network->value[vector] : NULL;
}

// A stage of a pass: all its tiles, on the workers.
void network_dense_forward(struct network_pass *pass);
void network_dense_backward(struct network_pass *pass);
void network_rows_forward(struct network_pass *pass);
void network_rows_backward(struct network_pass *pass);

// A tile of the update: pass->target += pass->alpha * gradient.
void network_dense_update(const struct network_pass *pass, const struct trainer_graph_tile *tile);
void network_rows_update(const struct network_pass *pass, const struct trainer_graph_tile *tile);

#endif
