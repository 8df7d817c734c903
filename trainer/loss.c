// Losses of the funnel. See loss.h; docs/losses.md derives the formulas and gives their errors.
#include "trainer/loss.h"

#include <assert.h>
#include <math.h>
#include <string.h>

// From here on log1p(exp(-a)) is exp(-a) in float32, and exp(-a) squared vanishes beside it.
static const float loss_far = 17.0f;
static const float loss_ln2 = 0.693147181f;

static float loss_sigmoid(float x)
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
        da[i] = -loss_sigmoid(-a[i]);
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
        product *= loss_sigmoid(a[i]);
        sum += trainer_loss_softplus(-a[i]);
    }
    if (least > loss_far) {
        return loss_negative_far(a, n, least, da);
    }
    bool unlikely = sum > loss_ln2; // P < 1/2
    float odds = unlikely ? product / (1.0f - product) : 1.0f / expm1f(sum);
    for (uint32_t i = 0; i < n; i++) {
        da[i] = loss_sigmoid(-a[i]) * odds;
    }
    return unlikely ? -log1pf(-product) : -logf(-expm1f(-sum));
}

float trainer_loss_product(const float *a, uint32_t n, bool label, float *da)
{
    assert(n >= 1);
    return label ? loss_positive(a, n, da) : loss_negative(a, n, da);
}

// The stages before task k that its product contains: 0 .. result-1. Its own logit comes after them.
static uint32_t loss_before(const struct trainer_loss_config *config, uint32_t k)
{
    if (k < config->stages) {
        return k;
    }
    return config->parent[k] == UINT32_MAX ? 0 : config->parent[k] + 1;
}

// Loss of task k, times `weight`; its gradient is added to dlogits.
static float loss_task(const struct trainer_loss_config *config, const float *logits, uint32_t k, bool label,
                       float weight, float *dlogits)
{
    uint32_t before = loss_before(config, k);
    float a[BASE_TASKS_MAX + 1], da[BASE_TASKS_MAX + 1];
    memcpy(a, logits, before * sizeof *a);
    a[before] = logits[k];
    if (k == 0 && config->keep_negatives != 1.0f) {
        a[before] -= logf(config->keep_negatives);
    }
    float loss = trainer_loss_product(a, before + 1, label, da);
    if (config->full) {
        for (uint32_t i = 0; i < before; i++) {
            dlogits[i] += weight * da[i];
        }
    }
    dlogits[k] += weight * da[before];
    return weight * loss;
}

void trainer_loss_sample(const struct trainer_loss_config *config, const float *logits,
                         const struct base_sample *sample, float *dlogits, float *loss)
{
    assert(config->stages >= 1 && config->stages <= config->tasks && config->tasks <= BASE_TASKS_MAX);
    memset(dlogits, 0, config->tasks * sizeof *dlogits);
    for (uint32_t k = 0; k < config->tasks; k++) {
        loss[k] = 0.0f;
        if (sample->mask >> k & 1) {
            loss[k] = loss_task(config, logits, k, sample->label[k] != 0,
                                config->task_weight[k] * sample->weight[k], dlogits);
        }
    }
}

void trainer_loss_probabilities(const struct trainer_loss_config *config, const float *logits,
                                float *conditional, float *products)
{
    float chain[BASE_TASKS_MAX + 1] = {1.0f}; // chain[i]: stages 0 .. i-1 all happen
    for (uint32_t k = 0; k < config->tasks; k++) {
        float probability = loss_sigmoid(logits[k]);
        float product = chain[loss_before(config, k)] * probability;
        if (k < config->stages) {
            chain[k + 1] = product;
        }
        if (conditional) {
            conditional[k] = probability;
        }
        if (products) {
            products[k] = product;
        }
    }
}
