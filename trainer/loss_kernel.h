// The kernels of the losses: pure functions of logits and a label, loss and exact gradient, in float32 forms
// that do not cancel. docs/losses.md derives them and states their errors; what is put together of them for a
// sample is loss.h's.
#ifndef TRAINER_LOSS_KERNEL_H
#define TRAINER_LOSS_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

float trainer_loss_sigmoid(float x);
// -log sigmoid(-x), the stable softplus.
float trainer_loss_softplus(float x);

// L = sum of softplus(-a_i) over the n logits of a product. label 1: loss L, d_j = -sigmoid(-a_j). label 0:
// loss -log(1 - exp(-L)), d_j = sigmoid(-a_j) / expm1(L), in the forms that do not cancel. da: [n], written.
float trainer_loss_product(const float *a, uint32_t n, bool label, float *da);

// The logit v of y2 y3 + (1 - y2) y4 (ESM2: purchase, with or without the action between), y_i the sigmoids
// of a[0..2]. dv: [3], the derivatives of v by a[0..2], written.
float trainer_loss_branch(const float a[3], float dv[3]);

// (a - log1p(value))^2; value >= 0.
float trainer_loss_squared(float a, float value, float *da);
// exp(a) - value a: Poisson with the rate exp(a), without the constant log(value!).
float trainer_loss_poisson(float a, float value, float *da);
// Negative log density of the log-normal: a[0] is mu, sigma = TRAINER_LOSS_SIGMA_MIN + softplus(a[1]); value
// > 0. da: [2], written.
#define TRAINER_LOSS_SIGMA_MIN 0.1f
float trainer_loss_lognormal(const float a[2], float value, float da[2]);

// Predictions: the expectation of each, exponents cut at TRAINER_LOSS_EXPONENT_MAX so that it stays finite.
// Of the squared error it is max(expm1(a), 0): the mean of log1p taken back.
#define TRAINER_LOSS_EXPONENT_MAX 25.0f
float trainer_loss_squared_value(float a);
float trainer_loss_poisson_value(float a);
float trainer_loss_lognormal_value(const float a[2]);

#endif
