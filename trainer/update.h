// The update: the second half of a step, from deltas to weights. Which optimiser moves which tensor and which
// slot's rows, at what rate, and whether their gradients are clipped.
//
//   rows:   sum of equal rows' gradients -> clip? -> each slot's optimiser (gather.h)
//   dense:  plain SGD for all: folded into the network's GEMMs (trainer_network_apply);
//           else gradient -> clip? -> each tensor's optimiser, by tiles
//
// Beside the network's tensors there may be one more, whose gradient comes with the step: the log variances
// of the joint loss. It is moved as they are, but is no part of the norm that is clipped, nor scaled by it.
//
// Clipping: by the global norm of the mean gradient (the sum over the minibatch / batch) of all dense
// tensors, and of all rows of the minibatch, each by itself; before L2 is added. Rates: rate * min(1,
// examples / warmup) * max(floor, 2^(-examples / half_life)), where examples are those trained, the
// minibatch's included. Tiles and sums are the same for any number of workers.
//
// Thread: the trainer's.
#ifndef TRAINER_UPDATE_H
#define TRAINER_UPDATE_H

#include "trainer/gather.h"
#include "trainer/network.h"
#include "trainer/optimiser.h"

enum { TRAINER_RULES_MAX = 256 };

// In examples. Zeroed: a constant rate.
struct trainer_schedule {
    uint64_t warmup;  // 0: none
    double half_life; // 0: none
    double floor;     // share of the rate that the half-life leaves, 0..1
};
double trainer_schedule_factor(const struct trainer_schedule *schedule, uint64_t examples);

// Of the dense tensors whose name matches (fnmatch's *, ? and []); the first rule that fits counts.
struct trainer_tensor_rule {
    const char *match;
    struct trainer_optimiser_config optimiser;
};

// Zeroed but for dense.rate and sparse.rate: plain SGD.
struct trainer_update_config {
    struct trainer_optimiser_config dense;                   // its l2 is not of biases (tensors of one row)
    struct trainer_optimiser_config sparse;                  // of rows, the out-of-vocabulary rows among them
    double clip_dense, clip_sparse;                          // 0: off
    struct trainer_schedule schedule_dense, schedule_sparse; // not with FTRL, whose alpha is a constant
    uint32_t rules;
    struct trainer_tensor_rule *rule;      // [rules]
    struct trainer_optimiser_config *slot; // [slots], or NULL: all as `sparse`
};

// Whether the configuration can be, but for names that match no tensor, which trainer_update_new refuses.
// Errors: BASE_EINVAL names the setting.
int trainer_update_check(const struct trainer_update_config *config, uint32_t slots,
                         struct base_error *error);
// A copy with arrays of its own; trainer_update_config_clear frees them.
void trainer_update_config_copy(struct trainer_update_config *copy,
                                const struct trainer_update_config *config, uint32_t slots);
void trainer_update_config_clear(struct trainer_update_config *config);
// The optimiser of a slot's rows.
const struct trainer_optimiser_config *trainer_update_slot(const struct trainer_update_config *config,
                                                           uint32_t slot);

// The optimiser of a dense tensor.
struct trainer_optimiser_config trainer_update_tensor(const struct trainer_update_config *config,
                                                      const struct trainer_tensor *tensor);
// Every rule matches a tensor of the network, or the one beside it (NULL: none). Errors: BASE_EINVAL.
int trainer_update_check_rules(const struct trainer_update_config *config,
                               const struct trainer_network *network, const struct trainer_tensor *beside,
                               struct base_error *error);

struct trainer_update;

// `config` has passed the check, with the table's slots, and the table was made with these optimisers; all
// that is given is borrowed, but for `beside`, the tensor beside the network's (NULL: none), whose weights
// lie at `weights`. Takes memory for the state, and for the gradient where one is needed. Errors:
// BASE_EINVAL: a rule that matches no tensor.
struct trainer_update *trainer_update_new(const struct trainer_update_config *config, uint32_t slots,
                                          uint32_t batch, struct trainer_network *network,
                                          struct trainer_table *table, const struct trainer_tensor *beside,
                                          float *weights, struct trainer_workers *workers,
                                          struct base_error *error);
void trainer_update_free(struct trainer_update *update); // takes NULL

// After backward of n samples, which was found finite: moves rows and dense weights. x, dx: of that pass;
// beside: the gradient of the tensor beside, summed as all are; examples: trained when this is done.
void trainer_update_step(struct trainer_update *update, struct trainer_gather *gather, const float *x,
                         const float *dx, const float *beside, uint32_t n, uint64_t examples);

// Counted only where something is not plain SGD.
struct trainer_update_figures {
    uint64_t steps;
    uint64_t clipped_dense, clipped_sparse; // of them
};
struct trainer_update_figures trainer_update_figures(const struct trainer_update *update);
void trainer_update_set_figures(struct trainer_update *update, struct trainer_update_figures figures);
// Nothing is counted, and there is no state: plain SGD without clipping.
bool trainer_update_stateless(const struct trainer_update *update);

// The optimiser of a tensor as the model numbers them (the network's, then the slots' out-of-vocabulary
// rows, then the one beside), and its state, contiguous, [*floats]; NULL and 0: it has none.
const struct trainer_optimiser_config *trainer_update_optimiser(const struct trainer_update *update,
                                                                uint32_t tensor);
float *trainer_update_state(struct trainer_update *update, uint32_t tensor, size_t *floats);
// The state of a dense tensor that has learned nothing but has the weights that it has now.
void trainer_update_restart(struct trainer_update *update, uint32_t tensor);
// Bytes of state of the network's tensors and the one beside; and with the gradient, where one is needed.
uint64_t trainer_update_state_bytes(const struct trainer_update *update);
uint64_t trainer_update_bytes(const struct trainer_update *update);

#endif
