// The kernels of the optimisers. See optimiser.h.
//
// Each kernel does its sums in single precision and in the order of the weights; what depends on the step
// alone is computed before in double precision. Time: a vector's n halves its way back to where it started by
// the examples since its last step, which a row counts itself, since it takes part in few.
#include "trainer/optimiser.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/simd.h"
#include "trainer/lanes.h"

#define OPTIMISER_GRADIENT_MAX 0x1p40f

enum {
    OPTIMISER_CLOCK_WORDS = 2, // a row's examples at its last step, u64
    OPTIMISER_STEPS_WORDS = 1, // a row's steps, u32, saturating
};

// ---- Configuration ----

static const char *const optimiser_names[TRAINER_OPTIMISERS] = {
    "sgd", "momentum", "adagrad", "rowwise_adagrad", "ftrl", "adam"};

const char *trainer_optimiser_name(enum trainer_optimiser_kind kind)
{
    return optimiser_names[kind];
}

struct trainer_optimiser_config trainer_optimiser_usual(enum trainer_optimiser_kind kind, double rate)
{
    return (struct trainer_optimiser_config){.kind = kind,
                                             .rate = rate,
                                             .momentum = 0.9,
                                             .initial = 0.1,
                                             .epsilon = 1e-8,
                                             .beta = 1,
                                             .beta1 = 0.9,
                                             .beta2 = 0.999};
}

static bool optimiser_is_adagrad(enum trainer_optimiser_kind kind)
{
    return kind == TRAINER_OPTIMISER_ADAGRAD || kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD;
}

int trainer_optimiser_check(const struct trainer_optimiser_config *config, bool rows, const char *what,
                            struct base_error *error)
{
    const float largest = 0x1p40f;
    enum trainer_optimiser_kind kind = config->kind;
    bool adagrad = optimiser_is_adagrad(kind), ftrl = kind == TRAINER_OPTIMISER_FTRL,
         adam = kind == TRAINER_OPTIMISER_ADAM;
    // Each written so that NaN is refused. A constant that rounds to nothing in single precision is refused
    // where nothing is.
    const struct {
        const char *name, *bounds;
        double value;
        bool good;
    } checks[] = {
        {"rate", "0..1024", config->rate, config->rate >= 0 && config->rate <= TRAINER_RATE_MAX},
        {"rate (alpha)", "1e-9..1024", config->rate, !ftrl || config->rate >= 1e-9},
        {"l2", "0..1024", config->l2, config->l2 >= 0 && config->l2 <= 1024},
        {"momentum", "0..0.9999", config->momentum,
         kind != TRAINER_OPTIMISER_MOMENTUM || (config->momentum >= 0 && config->momentum <= 0.9999)},
        {"initial", "0..2^40", config->initial,
         !(adagrad || ftrl) || (config->initial >= 0 && config->initial <= (double)largest)},
        {"epsilon", "1e-30..1", config->epsilon,
         !(adagrad || adam) || (config->epsilon >= 1e-30 && config->epsilon <= 1)},
        {"half_life", "0 or 1..1e18", config->half_life,
         !adagrad || config->half_life == 0 || (config->half_life >= 1 && config->half_life <= 1e18)},
        {"beta", "1e-6..1e6", config->beta, !ftrl || (config->beta >= 1e-6 && config->beta <= 1e6)},
        {"lambda1", "0..1e6", config->lambda1, !ftrl || (config->lambda1 >= 0 && config->lambda1 <= 1e6)},
        {"lambda2", "0..1e6", config->lambda2, !ftrl || (config->lambda2 >= 0 && config->lambda2 <= 1e6)},
        {"beta1", "0..0.9999", config->beta1, !adam || (config->beta1 >= 0 && config->beta1 <= 0.9999)},
        {"beta2", "0..0.999999", config->beta2, !adam || (config->beta2 >= 0 && config->beta2 <= 0.999999)},
    };
    if (kind < TRAINER_OPTIMISER_SGD || kind >= TRAINER_OPTIMISERS) {
        return base_error_set(error, BASE_EINVAL, "%s: there is no optimiser %d", what, (int)kind);
    }
    if (kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD && !rows) {
        return base_error_set(error, BASE_EINVAL, "%s: rowwise_adagrad is for embedding rows", what);
    }
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        if (!checks[i].good) {
            return base_error_set(error, BASE_EINVAL, "%s %s %g is not in %s (%s)", what, checks[i].name,
                                  checks[i].value, checks[i].bounds, trainer_optimiser_name(kind));
        }
    }
    return 0;
}

// ---- State ----

uint32_t trainer_optimiser_parts(const struct trainer_optimiser_config *config)
{
    static const uint32_t parts[TRAINER_OPTIMISERS] = {
        [TRAINER_OPTIMISER_MOMENTUM] = 1,
        [TRAINER_OPTIMISER_ADAGRAD] = 1,
        [TRAINER_OPTIMISER_FTRL] = 2,
        [TRAINER_OPTIMISER_ADAM] = 2,
    };
    return parts[config->kind];
}

uint32_t trainer_optimiser_words(const struct trainer_optimiser_config *config, uint32_t dimension)
{
    bool clock = optimiser_is_adagrad(config->kind) && config->half_life > 0;
    return trainer_optimiser_parts(config) * dimension +
           (config->kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD ? 1u : 0u) +
           (clock ? OPTIMISER_CLOCK_WORDS : 0u) +
           (config->kind == TRAINER_OPTIMISER_ADAM ? OPTIMISER_STEPS_WORDS : 0u);
}

// FTRL's numbers in single precision.
struct optimiser_ftrl {
    float alpha_inverse, beta, lambda1, lambda2;
};

static struct optimiser_ftrl optimiser_ftrl(const struct trainer_optimiser_config *config)
{
    return (struct optimiser_ftrl){(float)(1 / config->rate), (float)config->beta, (float)config->lambda1,
                                   (float)config->lambda2};
}

void trainer_optimiser_start(const struct trainer_optimiser_config *config, const float *w, size_t count,
                             float *first, float *second)
{
    float initial = (float)config->initial;
    if (config->kind == TRAINER_OPTIMISER_FTRL) {
        const struct optimiser_ftrl ftrl = optimiser_ftrl(config);
        float divisor = (ftrl.beta + sqrtf(initial)) * ftrl.alpha_inverse + ftrl.lambda2;
        for (size_t i = 0; i < count; i++) {
            first[i] = -w[i] * divisor;
            second[i] = initial;
        }
        return;
    }
    for (size_t i = 0; i < count && first; i++) {
        first[i] = config->kind == TRAINER_OPTIMISER_ADAGRAD ? initial : 0.0f;
    }
    for (size_t i = 0; i < count && second; i++) {
        second[i] = 0.0f;
    }
}

void trainer_optimiser_start_row(const struct trainer_optimiser_config *config, const float *w,
                                 uint32_t dimension, float *state)
{
    uint32_t parts = trainer_optimiser_parts(config), words = trainer_optimiser_words(config, dimension);
    memset(state, 0, words * sizeof *state);
    trainer_optimiser_start(config, w, dimension, parts > 0 ? state : NULL,
                            parts > 1 ? state + dimension : NULL);
    if (config->kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD) {
        state[0] = (float)config->initial;
    }
}

// ---- Kernels ----

// What a kernel needs of the step, for one vector.
struct optimiser_numbers {
    float rate, scale, l2;
    float momentum;
    float initial, epsilon, decay; // decay: what is left of n - initial since the last step
    bool decays;
    float beta1, beta2, rest1, rest2; // rest: 1 - beta
    float root;                       // Adam: 1 / sqrt(1 - beta2^t); 1 / (1 - beta1^t) is in rate
    struct optimiser_ftrl ftrl;
};

static inline float optimiser_gradient(const struct optimiser_numbers *numbers, float sum, float w)
{
    float g = numbers->scale * sum + numbers->l2 * w;
    g = g > OPTIMISER_GRADIENT_MAX ? OPTIMISER_GRADIENT_MAX : g;
    return g < -OPTIMISER_GRADIENT_MAX ? -OPTIMISER_GRADIENT_MAX : g;
}

// What the network's own update does: the same bits for rows.
BASE_SIMD
static void optimiser_plain(float rate, float *restrict w, const float *restrict sum, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        w[i] -= rate * sum[i];
    }
}

BASE_SIMD
static void optimiser_sgd(const struct optimiser_numbers *numbers, float *restrict w,
                          const float *restrict sum, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        w[i] -= numbers->rate * optimiser_gradient(numbers, sum[i], w[i]);
    }
}

BASE_SIMD
static void optimiser_momentum(const struct optimiser_numbers *numbers, float *restrict w,
                               const float *restrict sum, size_t count, float *restrict velocity)
{
    for (size_t i = 0; i < count; i++) {
        velocity[i] = numbers->momentum * velocity[i] + optimiser_gradient(numbers, sum[i], w[i]);
        w[i] -= numbers->rate * velocity[i];
    }
}

BASE_SIMD
static void optimiser_decay(const struct optimiser_numbers *numbers, size_t count, float *restrict n)
{
    for (size_t i = 0; i < count; i++) {
        n[i] = numbers->initial + (n[i] - numbers->initial) * numbers->decay;
    }
}

BASE_SIMD
static void optimiser_adagrad(const struct optimiser_numbers *numbers, float *restrict w,
                              const float *restrict sum, size_t count, float *restrict n)
{
    for (size_t i = 0; i < count; i++) {
        float g = optimiser_gradient(numbers, sum[i], w[i]);
        n[i] += g * g;
        w[i] -= numbers->rate * g / (sqrtf(n[i]) + numbers->epsilon);
    }
}

// The mean of g^2 is summed in four lanes; a dimension is a multiple of 4.
BASE_SIMD
static void optimiser_rowwise(const struct optimiser_numbers *numbers, float *restrict w,
                              const float *restrict sum, uint32_t dimension, float *restrict n)
{
    float lanes[4] = {0};
    for (uint32_t i = 0; i < dimension; i += 4) {
        for (uint32_t k = 0; k < 4; k++) {
            float g = optimiser_gradient(numbers, sum[i + k], w[i + k]);
            lanes[k] += g * g;
        }
    }
    *n += ((lanes[0] + lanes[2]) + (lanes[1] + lanes[3])) / (float)dimension;
    float divisor = sqrtf(*n) + numbers->epsilon;
    for (uint32_t i = 0; i < dimension; i++) {
        w[i] -= numbers->rate * optimiser_gradient(numbers, sum[i], w[i]) / divisor;
    }
}

BASE_SIMD
static void optimiser_ftrl_proximal(const struct optimiser_numbers *numbers, float *restrict w,
                                    const float *restrict sum, size_t count, float *restrict z,
                                    float *restrict n)
{
    const struct optimiser_ftrl ftrl = numbers->ftrl;
    for (size_t i = 0; i < count; i++) {
        float g = optimiser_gradient(numbers, sum[i], w[i]);
        float more = n[i] + g * g;
        float sigma = (sqrtf(more) - sqrtf(n[i])) * ftrl.alpha_inverse;
        z[i] += g - sigma * w[i];
        n[i] = more;
        // The sign of z is +1 or -1, not the sign bit.
        float beyond = z[i] - copysignf(ftrl.lambda1, z[i]);
        float there = -beyond / ((ftrl.beta + sqrtf(more)) * ftrl.alpha_inverse + ftrl.lambda2);
        w[i] = fabsf(z[i]) <= ftrl.lambda1 ? 0.0f : there;
    }
}

BASE_SIMD
static void optimiser_adam(const struct optimiser_numbers *numbers, float *restrict w,
                           const float *restrict sum, size_t count, float *restrict m, float *restrict v)
{
    for (size_t i = 0; i < count; i++) {
        float g = optimiser_gradient(numbers, sum[i], w[i]);
        m[i] = numbers->beta1 * m[i] + numbers->rest1 * g;
        v[i] = numbers->beta2 * v[i] + numbers->rest2 * (g * g);
        w[i] -= numbers->rate * m[i] / (sqrtf(v[i]) * numbers->root + numbers->epsilon);
    }
}

// ---- A step ----

static struct optimiser_numbers optimiser_numbers(const struct trainer_optimiser_step *step,
                                                  double occurrences)
{
    const struct trainer_optimiser_config *config = step->config;
    struct optimiser_numbers numbers = {
        .rate = (float)step->rate,
        .scale = (float)(1 / step->divisor),
        .l2 = (float)(config->l2 * occurrences / step->batch),
        .momentum = (float)config->momentum,
        .initial = (float)config->initial,
        .epsilon = (float)config->epsilon,
        .beta1 = (float)config->beta1,
        .beta2 = (float)config->beta2,
        .rest1 = (float)(1 - config->beta1),
        .rest2 = (float)(1 - config->beta2),
    };
    if (config->kind == TRAINER_OPTIMISER_FTRL) {
        numbers.ftrl = optimiser_ftrl(config);
    }
    return numbers;
}

// What `examples` since the last step leave of n.
static void optimiser_set_decay(struct optimiser_numbers *numbers,
                                const struct trainer_optimiser_config *config, uint64_t examples)
{
    numbers->decays = config->half_life > 0;
    numbers->decay = numbers->decays ? (float)exp2(-(double)examples / config->half_life) : 1.0f;
}

static void optimiser_set_bias(struct optimiser_numbers *numbers, const struct trainer_optimiser_step *step,
                               uint64_t steps)
{
    const struct trainer_optimiser_config *config = step->config;
    numbers->rate = (float)(step->rate / (1 - pow(config->beta1, (double)steps)));
    numbers->root = (float)(1 / sqrt(1 - pow(config->beta2, (double)steps)));
}

static void optimiser_run(const struct trainer_optimiser_step *step, const struct optimiser_numbers *numbers,
                          float *w, const float *sum, size_t count, float *first, float *second)
{
    if (numbers->decays) {
        optimiser_decay(numbers, step->config->kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD ? 1 : count, first);
    }
    switch (step->config->kind) {
    case TRAINER_OPTIMISER_SGD:
        if (numbers->l2 == 0) {
            optimiser_plain((float)(step->rate / step->divisor), w, sum, count);
        } else {
            optimiser_sgd(numbers, w, sum, count);
        }
        break;
    case TRAINER_OPTIMISER_MOMENTUM:
        optimiser_momentum(numbers, w, sum, count, first);
        break;
    case TRAINER_OPTIMISER_ADAGRAD:
        optimiser_adagrad(numbers, w, sum, count, first);
        break;
    case TRAINER_OPTIMISER_ROWWISE_ADAGRAD:
        optimiser_rowwise(numbers, w, sum, (uint32_t)count, first);
        break;
    case TRAINER_OPTIMISER_FTRL:
        optimiser_ftrl_proximal(numbers, w, sum, count, first, second);
        break;
    case TRAINER_OPTIMISER_ADAM:
        optimiser_adam(numbers, w, sum, count, first, second);
        break;
    case TRAINER_OPTIMISERS:
        assert(false);
    }
}

void trainer_optimiser_apply(const struct trainer_optimiser_step *step, float *w, const float *sum,
                             size_t count, float *first, float *second)
{
    struct optimiser_numbers numbers = optimiser_numbers(step, step->count);
    if (optimiser_is_adagrad(step->config->kind)) {
        optimiser_set_decay(&numbers, step->config, step->count);
    } else if (step->config->kind == TRAINER_OPTIMISER_ADAM) {
        optimiser_set_bias(&numbers, step, step->steps);
    }
    optimiser_run(step, &numbers, w, sum, count, first, second);
}

void trainer_optimiser_apply_row(const struct trainer_optimiser_step *step, float *w, const float *sum,
                                 uint32_t dimension, float *state, uint32_t occurrences)
{
    const struct trainer_optimiser_config *config = step->config;
    if (config->kind == TRAINER_OPTIMISER_SGD && config->l2 == 0) { // most common: nothing to work out
        optimiser_plain((float)(step->rate / step->divisor), w, sum, dimension);
        return;
    }
    struct optimiser_numbers numbers = optimiser_numbers(step, occurrences);
    if (optimiser_is_adagrad(config->kind) && config->half_life > 0) {
        uint32_t words = trainer_optimiser_words(config, dimension);
        float *clock = state + words - OPTIMISER_CLOCK_WORDS;
        uint64_t last;
        memcpy(&last, clock, sizeof last);
        optimiser_set_decay(&numbers, config, step->examples > last ? step->examples - last : 0);
        memcpy(clock, &step->examples, sizeof step->examples);
    } else if (config->kind == TRAINER_OPTIMISER_ADAM) {
        float *place = state + 2 * (size_t)dimension;
        uint32_t steps;
        memcpy(&steps, place, sizeof steps);
        steps += steps < UINT32_MAX;
        optimiser_set_bias(&numbers, step, steps);
        memcpy(place, &steps, sizeof steps);
    }
    optimiser_run(step, &numbers, w, sum, dimension, state, state ? state + dimension : NULL);
}

BASE_SIMD
double trainer_optimiser_squares(const float *values, size_t count)
{
    double lanes[TRAINER_LANES] = {0};
    size_t whole = count / TRAINER_LANES * TRAINER_LANES;
    for (size_t at = 0; at < whole; at += TRAINER_LANES) {
        for (size_t i = 0; i < TRAINER_LANES; i++) {
            lanes[i] += (double)values[at + i] * (double)values[at + i];
        }
    }
    for (size_t i = whole; i < count; i++) {
        lanes[i - whole] += (double)values[i] * (double)values[i];
    }
    for (uint32_t half = TRAINER_LANES / 2; half > 0; half /= 2) {
        for (uint32_t i = 0; i < half; i++) {
            lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}
