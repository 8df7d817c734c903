// Losses of the funnel from logits, over all impressions (ESMM): stable kernels of docs/losses.md.
#ifndef TRAINER_LOSS_H
#define TRAINER_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sample.h"

struct trainer_loss_config {
    uint32_t tasks;  // stages of the chain, then side tasks
    uint32_t stages; // tasks 0..stages-1 form the chain; the rest are single logits conditional on `parent`
    uint32_t parent[BASE_TASKS_MAX]; // side task: the last stage of the product that it multiplies (its own
                                     // logit included); UINT32_MAX: no product, plain binary cross-entropy
    bool full; // ctcvr_to_ctr: full; false: stop, a product loss moves only the logit of its own stage
    float task_weight[BASE_TASKS_MAX]; // omega_k
    // r, the share of unclicked impressions that is kept: the first stage's own loss is taken at logit - log r
    // (docs/losses.md), its prediction at the logit itself. 1: all are kept.
    float keep_negatives;
};

// Loss and gradient of a sample. logits: [tasks]; dlogits: [tasks], written; loss: [tasks], task k's weighted
// loss (0 where masked), written. Where a label's mask is 0 neither label nor weight is read.
void trainer_loss_sample(const struct trainer_loss_config *config, const float *logits,
                         const struct base_sample *sample, float *dlogits, float *loss);

// The probabilities that the funnel's products have: products[k] = P(stages 0..k all happen); conditional[k]
// = sigmoid(logit k). Both [tasks]; either may be NULL.
void trainer_loss_probabilities(const struct trainer_loss_config *config, const float *logits,
                                float *conditional, float *products);

// -log sigmoid(x) ... the stable softplus, and the two-stage kernel (public for their twins in the tests).
float trainer_loss_softplus(float x);
// L_k = sum of softplus(-a_i) over the n logits of a product. label 1: loss L, d_j = -sigmoid(-a_j). label 0:
// loss -log(1 - exp(-L)), d_j = sigmoid(-a_j) / expm1(L), in the forms that do not cancel. da: [n], written.
float trainer_loss_product(const float *a, uint32_t n, bool label, float *da);

#endif
