// Optimisers: what a step does to a vector of weights and to its state. Pure kernels over contiguous floats,
// for a dense tensor (any number of weights) and for an embedding row alike. Formulas: docs/models.md,
// section 4.
//
// The gradient that arrives is summed over the minibatch. What an optimiser sees is
//   g = sum / divisor + l2 * (samples that use the vector / batch) * w,
// kept within +-2^40, so that no square and no accumulator can overflow. L2 is thus part of every sample's
// loss, l2/2 |w|^2: of a row, for each of its occurrences.
//
// State: up to two numbers a weight. A row's state lies behind its vector, [words]: both numbers of all
// weights, one kind after the other, then what counts the row's own time. A dense tensor's lies in two slabs.
//
// All loops are element-wise, or sum in fixed lanes: the bits depend on the sequence of steps alone. Any
// thread.
#ifndef TRAINER_OPTIMISER_H
#define TRAINER_OPTIMISER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum trainer_optimiser_kind {
    TRAINER_OPTIMISER_SGD,             // no state
    TRAINER_OPTIMISER_MOMENTUM,        // v
    TRAINER_OPTIMISER_ADAGRAD,         // n; with a half-life rows count their time
    TRAINER_OPTIMISER_ROWWISE_ADAGRAD, // one n a row; of rows only
    TRAINER_OPTIMISER_FTRL,            // z, n
    TRAINER_OPTIMISER_ADAM,            // m, v; rows count their steps
    TRAINER_OPTIMISERS,
};

#define TRAINER_RATE_MAX 1024.0 // what trainer_network_finite's bound allows for

// Only what the kind uses is read. Zeroed: SGD of rate 0.
struct trainer_optimiser_config {
    enum trainer_optimiser_kind kind;
    double rate;      // 0..TRAINER_RATE_MAX; FTRL's alpha, above 0
    double l2;        // >= 0
    double momentum;  // 0 <= momentum < 1
    double initial;   // Adagrad, row-wise, FTRL: what n starts from, >= 0
    double epsilon;   // Adagrad, row-wise, Adam: > 0
    double half_life; // Adagrad, row-wise: examples in which n halves its way back to `initial`; 0: never
    double beta;      // FTRL: > 0
    double lambda1, lambda2; // FTRL: >= 0
    double beta1, beta2;     // Adam: 0 <= beta < 1
};

// The kind's name: "sgd", "momentum", "adagrad", "rowwise_adagrad", "ftrl", "adam".
const char *trainer_optimiser_name(enum trainer_optimiser_kind kind);
// The kind with the constants that are usual in the field: momentum 0.9, initial 0.1, epsilon 1e-8, no
// half-life, beta 1, no lambda, Adam's 0.9 and 0.999.
struct trainer_optimiser_config trainer_optimiser_usual(enum trainer_optimiser_kind kind, double rate);
// `what` names tensor or slot in errors: BASE_EINVAL.
int trainer_optimiser_check(const struct trainer_optimiser_config *config, bool rows, const char *what,
                            struct base_error *error);

// Numbers of state a weight of a dense tensor: 0..2; floats of state a row of `dimension`.
uint32_t trainer_optimiser_parts(const struct trainer_optimiser_config *config);
uint32_t trainer_optimiser_words(const struct trainer_optimiser_config *config, uint32_t dimension);

// The state of weights that have learned nothing yet. FTRL's is such that it keeps the weights that are
// there. `first` and `second` [count] of a dense tensor may be NULL where there is no such part.
void trainer_optimiser_start(const struct trainer_optimiser_config *config, const float *w, size_t count,
                             float *first, float *second);
void trainer_optimiser_start_row(const struct trainer_optimiser_config *config, const float *w,
                                 uint32_t dimension, float *state);

// What all vectors of an optimiser have in common in one step.
struct trainer_optimiser_step {
    const struct trainer_optimiser_config *config; // borrowed
    double rate;                                   // after the schedule
    double divisor;                                // of the summed gradient: batch, or more if clipped
    double batch;                                  // the configured one
    uint64_t examples;                             // trained when this step is done
    uint32_t count;                                // of this minibatch
    uint64_t steps;                                // of dense tensors when this one is done; from 1 on
};

// One step of a dense tensor, or of a part of it: weights, summed gradient and state all begin at the same
// weight.
void trainer_optimiser_apply(const struct trainer_optimiser_step *step, float *w, const float *sum,
                             size_t count, float *first, float *second);
// One step of a row that occurred `occurrences` times in the minibatch, with the sum of their gradients.
void trainer_optimiser_apply_row(const struct trainer_optimiser_step *step, float *w, const float *sum,
                                 uint32_t dimension, float *state, uint32_t occurrences);

// The sum of squares, in double precision and 16 fixed lanes.
double trainer_optimiser_squares(const float *values, size_t count);

#endif
