// The joint loss: how the tasks' losses are weighed against each other while training goes on.
//
//   sum over k of  omega_k gamma_k^(examples / N0)  (h_k exp(-s_k) l_k + s_k / 2)
//
// The decay is of the PLE paper, the second factor of Kendall, Gal and Cipolla (2018), where s_k is the
// logarithm of a variance that is trained along; h_k is 1/2 for squared errors and 1 for the others. Without
// uncertainty weighting that factor is l_k alone. docs/losses.md, section 8.
#ifndef TRAINER_WEIGHTING_H
#define TRAINER_WEIGHTING_H

#include "trainer/loss.h"
#include "trainer/network.h"

// A minibatch's weighting. Plain data.
struct trainer_weighting_step {
    struct trainer_loss_config loss; // as configured, but for task_weight: all factors of l_k
    float weight[BASE_TASKS_MAX];    // omega_k gamma_k^t
    float mass[BASE_TASKS_MAX];      // sum over samples of weight x sample's weight, in the task's space
    float weighted[BASE_TASKS_MAX];  // sum of the weighted losses
};

// The tensor of the log variances, [1 x tasks], its offset 0. False: the configuration has none.
bool trainer_weighting_tensor(const struct trainer_loss_config *config, struct trainer_tensor *tensor);
// Begins a minibatch after `examples` trained ones. log_variance: [tasks] s_k; not read with fixed weights.
void trainer_weighting_begin(const struct trainer_loss_config *config, uint64_t examples,
                             const float *log_variance, struct trainer_weighting_step *step);
// Takes in a sample's losses as trainer_loss_sample gave them with step->loss.
void trainer_weighting_add(struct trainer_weighting_step *step, const struct base_sample *sample,
                           const float *loss);
// The minibatch's part of the joint loss that is task k's, s_k's term included.
float trainer_weighting_loss(const struct trainer_weighting_step *step, const float *log_variance,
                             uint32_t k);
// The gradient of the summed loss by s_k: mass / 2 - weighted; 0 with fixed weights.
float trainer_weighting_gradient(const struct trainer_weighting_step *step, uint32_t k);

#endif
