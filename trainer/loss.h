// Losses of a sample from logits: the funnel's products over all impressions (ESMM), values beside them, and
// the corrections of the conversion rate. docs/losses.md.
//
// A task is a stage of the funnel or a side task, and has a kind of loss. Its logits lie one behind the other
// in a row of the network's output: its own first, then mu and sigma (ziln), the second branch (of the stage
// after `branch`), the imputed error (of stage 1 with the doubly robust correction).
#ifndef TRAINER_LOSS_H
#define TRAINER_LOSS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/sample.h"
#include "trainer/loss_kernel.h"

// The network's outputs of all tasks.
enum { TRAINER_LOSS_LOGITS_MAX = 4 * BASE_TASKS_MAX };

enum trainer_loss_kind {
    TRAINER_LOSS_BCE,     // of the label, on the product of its stages
    TRAINER_LOSS_MSE,     // squared error of log1p of the value; side tasks
    TRAINER_LOSS_POISSON, // of the value, its rate the exponential of the logit; side tasks
    TRAINER_LOSS_ZILN,    // bce of the label and, where it is 1, the log-normal density of the value
    TRAINER_LOSS_KINDS
};

// What is added for P(stage 1 | stage 0), the conversion rate of a click (ESCM2).
enum trainer_correction { TRAINER_CORRECTION_NONE, TRAINER_CORRECTION_IPS, TRAINER_CORRECTION_DR };

enum trainer_weighting { TRAINER_WEIGHTING_FIXED, TRAINER_WEIGHTING_UNCERTAINTY };

struct trainer_loss_config {
    uint32_t tasks; // stages of the chain, then side tasks
    // Tasks 0..stages-1 form the chain; the rest are single logits conditional on `parent`. 0: there is no
    // funnel, and every task is conditional on nothing. (The daemon and the descriptor always have a stage.)
    uint32_t stages;
    uint32_t parent[BASE_TASKS_MAX]; // side task: the last stage of the product that it multiplies (its own
                                     // logit included); UINT32_MAX: no product, plain binary cross-entropy
    bool full; // ctcvr_to_ctr: full; false: stop, a product loss moves only the logit of its own stage
    float task_weight[BASE_TASKS_MAX]; // omega_k
    // r, the share of unclicked impressions that is kept: the first stage's own loss is taken at logit - log
    // r (docs/losses.md), its prediction at the logit itself. 1: all are kept.
    float keep_negatives;
    bool negatives_weighted;      // the samples' weights account for r in that loss too: no shift
    uint8_t kind[BASE_TASKS_MAX]; // enum trainer_loss_kind
    // Value tasks (mse, poisson): true: their space are the events that have a value; false: all impressions,
    // with the value 0 where nothing happened.
    bool events[BASE_TASKS_MAX];
    // ESM2: the side task whose action parts the stage after its parent in two: bought with it, bought
    // without. 0: none.
    uint32_t branch;
    enum trainer_correction correction;
    float correction_weight; // of its term beside stage 1's own
    float propensity_min;    // tau: the least propensity that it divides by
    // Joint loss (trainer/weighting.h):
    enum trainer_weighting weighting;
    float decay[BASE_TASKS_MAX]; // gamma_k; 0 counts as 1
    double decay_examples;       // N0
};

// What no network or reader could serve. Errors: BASE_EINVAL names the task by number.
int trainer_loss_check(const struct trainer_loss_config *config, struct base_error *error);

// Logits of task k, and of the tasks before it.
uint32_t trainer_loss_outputs(const struct trainer_loss_config *config, uint32_t k);
uint32_t trainer_loss_place(const struct trainer_loss_config *config, uint32_t k);
// Those of all tasks as the network's configuration has them, 0 behind the last.
void trainer_loss_towers(const struct trainer_loss_config *config, uint8_t outputs[static BASE_TASKS_MAX]);

// The value of task k in a sample as its loss takes it: 0 where the label is 0; NaN where it is 1 and the
// value is missing, negative or not finite (of ziln: 0 too).
float trainer_loss_value(const struct trainer_loss_config *config, const struct base_sample *sample,
                         uint32_t k);
// Is the sample in task k's space: does the task's own loss (the correction's apart) look at it?
bool trainer_loss_counts(const struct trainer_loss_config *config, const struct base_sample *sample,
                         uint32_t k);

// Loss and gradient of a sample. logits, dlogits (written): [sum of outputs]; loss: [tasks], task k's
// weighted loss (0 outside its space), written; stage 1's includes the correction. Where a label's mask is 0
// neither label nor weight nor value is read.
void trainer_loss_sample(const struct trainer_loss_config *config, const float *logits,
                         const struct base_sample *sample, float *dlogits, float *loss);

// What the model says of an impression. Both [tasks]; either may be NULL.
//   conditional[k]: P(task k | its stage reached); of a value task (mse, poisson) the expected value
//   products[k]:    P(stages 0..k all happen); of ziln that times the expected value, so the value to expect
//                   of the impression; of a value task as conditional
void trainer_loss_probabilities(const struct trainer_loss_config *config, const float *logits,
                                float *conditional, float *products);

#endif
