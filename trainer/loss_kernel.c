// The kernels of the losses. See loss_kernel.h; docs/losses.md derives the formulas and gives their errors.
#include "trainer/loss_kernel.h"

#include <assert.h>
#include <math.h>

// From here on log1p(exp(-a)) is exp(-a) in float32, and exp(-a) squared vanishes beside it.
static const float loss_far = 17.0f;
static const float loss_ln2 = 0.693147181f;

float trainer_loss_sigmoid(float x)
{
    if (x >= 0.0f) {
        return 1.0f / (1.0f + expf(-x));
    }
    float e = expf(x);
    return e / (1.0f + e);
}

float trainer_loss_softplus(float x)
{
    return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x)));
}

// -log P and its gradient.
static float loss_positive(const float *a, uint32_t n, float *da)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        sum += trainer_loss_softplus(-a[i]);
        da[i] = -trainer_loss_sigmoid(-a[i]);
    }
    return sum;
}

// -log(1 - P) where every logit is at least `least` > loss_far: L = exp(-least) * sum of exp(least - a_i).
static float loss_negative_far(const float *a, uint32_t n, float least, float *da)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        da[i] = expf(least - a[i]);
        sum += da[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        da[i] /= sum;
    }
    return least - logf(sum);
}

// -log(1 - P) and its gradient. P is taken as a product, L as a sum: each is accurate where the other is not.
static float loss_negative(const float *a, uint32_t n, float *da)
{
    float least = a[0], product = 1.0f, sum = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        least = a[i] < least ? a[i] : least;
        product *= trainer_loss_sigmoid(a[i]);
        sum += trainer_loss_softplus(-a[i]);
    }
    if (least > loss_far) {
        return loss_negative_far(a, n, least, da);
    }
    bool unlikely = sum > loss_ln2; // P < 1/2
    float odds = unlikely ? product / (1.0f - product) : 1.0f / expm1f(sum);
    for (uint32_t i = 0; i < n; i++) {
        da[i] = trainer_loss_sigmoid(-a[i]) * odds;
    }
    return unlikely ? -log1pf(-product) : -logf(-expm1f(-sum));
}

float trainer_loss_product(const float *a, uint32_t n, bool label, float *da)
{
    assert(n >= 1);
    return label ? loss_positive(a, n, da) : loss_negative(a, n, da);
}

// In double: differences of logarithms up to 60 would cost float32 half of its digits in the gradients.
static double branch_softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}

static double branch_sigmoid(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

// log(e^x + e^y)
static double branch_add(double x, double y)
{
    return (x > y ? x : y) + log1p(exp(-fabs(x - y)));
}

// With everything multiplied by 1 + e^a2: V / (1 - V) = (e^a2 y3 + y4) / (e^a2 (1 - y3) + 1 - y4). pi is the
// first term's share above, pi' below; their difference, which is the derivative by a2, in a form that does
// not cancel where a3 and a4 are close: the sigmoids' arguments differ by a3 - a4.
float trainer_loss_branch(const float a[3], float dv[3])
{
    double a2 = (double)a[0], a3 = (double)a[1], a4 = (double)a[2];
    double with = a2 - branch_softplus(-a3), without = -branch_softplus(-a4);
    double not_with = a2 - branch_softplus(a3), not_without = -branch_softplus(a4);
    double u = with - without, w = not_with - not_without;
    double pi = branch_sigmoid(u), pi_not = branch_sigmoid(w);
    double apart =
        a3 >= a4 ? -pi * branch_sigmoid(-w) * expm1(a4 - a3) : pi_not * branch_sigmoid(-u) * expm1(a3 - a4);
    dv[0] = (float)apart;
    dv[1] = (float)(pi * branch_sigmoid(-a3) + pi_not * branch_sigmoid(a3));
    dv[2] = (float)(branch_sigmoid(-u) * branch_sigmoid(-a4) + branch_sigmoid(-w) * branch_sigmoid(a4));
    return (float)(branch_add(with, without) - branch_add(not_with, not_without));
}

float trainer_loss_squared(float a, float value, float *da)
{
    float difference = a - log1pf(value);
    *da = 2.0f * difference;
    return difference * difference;
}

float trainer_loss_poisson(float a, float value, float *da)
{
    float rate = expf(a);
    *da = rate - value;
    return rate - value * a;
}

float trainer_loss_lognormal(const float a[2], float value, float da[2])
{
    static const float half_log_2pi = 0.918938533f;
    float sigma = TRAINER_LOSS_SIGMA_MIN + trainer_loss_softplus(a[1]);
    float logarithm = logf(value);
    float z = (logarithm - a[0]) / sigma;
    da[0] = -z / sigma;
    da[1] = (1.0f - z * z) / sigma * trainer_loss_sigmoid(a[1]);
    return 0.5f * z * z + logf(sigma) + logarithm + half_log_2pi;
}

static float loss_cut(float exponent)
{
    return exponent > TRAINER_LOSS_EXPONENT_MAX ? TRAINER_LOSS_EXPONENT_MAX : exponent;
}

float trainer_loss_squared_value(float a)
{
    return a <= 0.0f ? 0.0f : expm1f(loss_cut(a)); // a NaN stays one
}

float trainer_loss_poisson_value(float a)
{
    return expf(loss_cut(a));
}

float trainer_loss_lognormal_value(const float a[2])
{
    float sigma = TRAINER_LOSS_SIGMA_MIN + trainer_loss_softplus(a[1]);
    return expf(loss_cut(a[0] + 0.5f * sigma * sigma));
}
