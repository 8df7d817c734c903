// The dense network: x -> body -> towers -> logits, forward and backward. Knows nothing of slots or losses.
//
// One slab of floats holds every dense tensor; the table of {name, shape, offset} describes it. A step is
//   forward(x) -> logits; backward(dlogits) -> every delta and dx; finite? -> apply (w -= rate * gradient),
// so that a minibatch that is not finite can be set aside before a weight has moved: all deltas use the
// weights of the forward pass, and the update folds into the weight-gradient GEMM.
#ifndef TRAINER_NETWORK_H
#define TRAINER_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/sample.h"
#include "trainer/workers.h"

enum {
    TRAINER_LEVELS_MAX = 8,   // levels of a body
    TRAINER_LAYERS_MAX = 8,   // layers of an expert or a tower
    TRAINER_EXPERTS_MAX = 32, // experts a group (a task's own, or the shared ones)
    TRAINER_WIDTH_MAX = 8192,
    TRAINER_WIDTH_STEP = 16, // every width is a multiple of it
    TRAINER_BATCH_MAX = 4096,
    TRAINER_OUTPUTS_MAX = 4, // logits of a task's tower
    TRAINER_TENSOR_NAME_MAX = 64,
};

#define TRAINER_SOFT_L2_MAX 1024.0f

struct trainer_level_config {
    uint32_t widths[TRAINER_LAYERS_MAX]; // of every expert's layers; ReLU after each, the last included
    uint32_t layers;
    uint32_t per_task; // experts of each task's own; may be 0
    uint32_t shared;   // shared experts
};

// What lies between x and the towers: docs/models.md, section 1.
enum trainer_body {
    TRAINER_BODY_PLE,
    TRAINER_BODY_CGC,
    TRAINER_BODY_ML_MMOE,
    TRAINER_BODY_MMOE,
    TRAINER_BODY_MOE,
    TRAINER_BODY_CUSTOMIZED,
    TRAINER_BODY_CROSS_STITCH,
    TRAINER_BODY_SOFT_L2,
    TRAINER_BODY_SHARED_BOTTOM,
    TRAINER_BODIES
};

// What each body reads of it, and tensors' names and order: trainer/body.h.
struct trainer_network_config {
    enum trainer_body body;
    uint32_t inputs; // width of x
    uint32_t tasks;  // of the body: gates, towers
    uint32_t levels;
    struct trainer_level_config level[TRAINER_LEVELS_MAX];
    uint32_t tower_widths[TRAINER_LAYERS_MAX]; // hidden layers of each tower, ReLU; then one linear output
    uint32_t tower_layers;
    uint8_t outputs[BASE_TASKS_MAX]; // logits of each task's tower; 0 counts as 1
    float soft_l2;                   // alpha of TRAINER_BODY_SOFT_L2; not read by the others
    uint32_t batch;                  // most samples of a minibatch
    uint64_t seed;
};

// A tensor of the slab. Row-major; weights are in x out. Biases have rows 1.
struct trainer_tensor {
    char name[TRAINER_TENSOR_NAME_MAX]; // "level0.task1.expert0.layer0.weight"
    uint32_t rows, columns;
    size_t offset; // in floats, a multiple of 16
};

// Columns of the logits' matrix: the sum of all outputs, task after task.
uint32_t trainer_network_logits(const struct trainer_network_config *config);

struct trainer_network;

// Weights start from base_random (a key of their own for every tensor): He-normal for layers with ReLU,
// normal with variance 1/inputs for gates and outputs, zero biases; a stitch's at 0.9 and 0.1/(tasks - 1).
// With `training` false no buffers for the backward pass are made. `workers` is borrowed and must outlive the
// network. Errors: BASE_EINVAL names the setting.
struct trainer_network *trainer_network_new(const struct trainer_network_config *config, bool training,
                                            struct trainer_workers *workers, struct base_error *error);
void trainer_network_free(struct trainer_network *network);

// A forward-only network with buffers of its own over the slab of `owner`, which must outlive it: one a
// thread that scores. The slab must not change during a forward pass.
struct trainer_network *trainer_network_share(const struct trainer_network *owner,
                                              struct trainer_workers *workers, struct base_error *error);

// The slab, [trainer_network_size] floats, and its table. Writable between steps. Not of a shared network
// (asserted).
float *trainer_network_slab(struct trainer_network *network);
size_t trainer_network_size(const struct trainer_network *network); // floats, padding (always zero) included
const struct trainer_tensor *trainer_network_tensors(const struct trainer_network *network, uint32_t *count);

// x: [n x inputs] row-major, 64-byte aligned; logits: [n x trainer_network_logits]. n <= batch. A row's
// logits depend neither on n nor on the other rows nor on the number of workers (with the core types of
// docs/determinism.md).
void trainer_network_forward(struct trainer_network *network, const float *x, uint32_t n, float *logits);

// After forward with the same x. dlogits: [n x trainer_network_logits], gradient of the summed loss; dx: [n x
// inputs], its gradient by x. Computes every layer's delta; changes no weight.
void trainer_network_backward(struct trainer_network *network, const float *x, const float *dlogits,
                              uint32_t n, float *dx);

// After backward, whose x must still be there: true if applying cannot make a weight non-finite. Every x,
// activation, delta and dx is below 2^32, hence with a rate of at most 1024 no sum of their products reaches
// 2^86.
bool trainer_network_finite(const struct trainer_network *network, const float *dx, uint32_t n);

// The loss of a sample includes soft_l2's penalty: its gradient counts n times, so that it too scales with
// how full a minibatch is.
//
// After backward: slab -= rate * gradient. Folded into the GEMMs; no gradient is stored. |rate| <= 1024
// (asserted).
void trainer_network_apply(struct trainer_network *network, const float *x, uint32_t n, float rate);
// After backward: gradient [size] = the summed loss' gradient by the slab.
void trainer_network_gradient(struct trainer_network *network, const float *x, uint32_t n, float *gradient);

// Floating-point operations of the GEMMs of one example: forward, and forward + backward + weight gradients.
double trainer_network_flop_forward(const struct trainer_network_config *config);
double trainer_network_flop_step(const struct trainer_network_config *config);

#endif
