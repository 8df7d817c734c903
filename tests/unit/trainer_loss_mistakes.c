// What popular implementations get wrong about losses (docs/models.md, section 1): each mistaken variant is
// computed here beside ours, and must differ from it where the mistake is said to be.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "trainer_model_support.h"

static float sigmoidf(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

// -log(P + 1e-4): at P = 1e-5 a positive's gradient is scaled by P / (P + 1e-4), which is 0.09.
Test(trainer_loss_mistakes, epsilon_in_the_logarithm)
{
    const double probability = 1e-5, epsilon = 1e-4;
    float a = (float)log(probability / (1 - probability)), da;
    double mistaken = -probability * (1 - probability) / (probability + epsilon);
    trainer_loss_product(&a, 1, true, &da);
    cr_expect_float_eq(da, -(1 - probability), 1e-6);
    cr_expect_float_eq(mistaken / (double)da, 0.0909, 1e-3);
}

// Clipping P to [1e-7, 1 - 1e-7] gives no gradient at all beyond it.
Test(trainer_loss_mistakes, clipping_of_the_probability)
{
    for (float a = -30; a <= -17; a += 0.5f) {
        float da, p = sigmoidf(a), clipped = fminf(fmaxf(p, 1e-7f), 1 - 1e-7f);
        float mistaken = clipped == p ? p - 1 : 0; // autograd's gradient of the clamp
        float loss = trainer_loss_product(&a, 1, true, &da);
        cr_expect(mistaken == 0 && da < -0.999f, "%g", (double)a);
        cr_expect(loss > -a - 1e-3f && -logf(clipped) < 17, "%g", (double)a);
        // Through the product as well, where each factor is harmless by itself.
        const float pair[] = {a / 2, a / 2};
        float both[2];
        trainer_loss_product(pair, 2, true, both);
        cr_expect(both[0] < -0.99f && both[1] < -0.99f);
    }
}

// A raw log(1 - p q) in float32 is not finite wherever p q rounds to 1, and 0 wherever it is below 2^-24.
Test(trainer_loss_mistakes, raw_logarithm_of_the_rest)
{
    uint32_t points = 0, broken = 0, lost = 0;
    for (float a = -30; a <= 30; a += 0.25f) {
        for (float b = -30; b <= 30; b += 0.25f) {
            const float pair[] = {a, b};
            float da[2], loss = trainer_loss_product(pair, 2, false, da);
            float mistaken = -logf(1 - sigmoidf(a) * sigmoidf(b));
            points++;
            broken += isfinite(mistaken) ? 0 : 1;
            lost += mistaken == 0 ? 1 : 0;
            cr_assert(isfinite(loss) && loss > 0 && da[0] > 0 && da[1] > 0, "%g %g", (double)a, (double)b);
        }
    }
    cr_expect(broken > points / 100, "%u of %u", broken, points);
    cr_expect(lost > points / 10, "%u of %u", lost, points);
}

// One step on `n` samples that say something of the purchase alone; what its output's bias moved by.
static double purchase_bias_step(const float *weights, uint32_t n, double *mistaken)
{
    struct trainer_model_config *config = model_config_make(1);
    struct trainer_model *model = model_make(config, true);
    struct base_minibatch *minibatch = base_minibatch_new(MODEL_BATCH);
    struct base_error error;
    base_minibatch_clear(minibatch, 0);
    for (uint32_t i = 0; i < n; i++) {
        struct model_sample made;
        model_sample_make(&made, 5, i);
        made.sample.mask = 2;
        made.sample.label[1] = i % 2;
        made.sample.weight[1] = weights[i];
        base_minibatch_add(minibatch, &made.sample);
    }
    base_minibatch_seal(minibatch);
    uint32_t count, bias = 0;
    const struct trainer_tensor *tensors = trainer_model_tensors(model, &count);
    while (strcmp(tensors[bias].name, "task1.tower.output.bias") != 0) {
        cr_assert_lt(++bias, count);
    }
    float before = *trainer_model_tensor(model, bias);
    struct trainer_step step;
    cr_assert_eq(trainer_model_step(model, minibatch, &step, &error), 0, "%s", error.text);
    *mistaken = 0;
    for (uint32_t i = 0; i < n; i++) {
        double p = (double)step.products[i * MODEL_TASKS + 1],
               q = (double)step.conditional[i * MODEL_TASKS + 1];
        double gradient = i % 2 ? q - 1 : (1 - q) * p / (1 - p);
        *mistaken -=
            config->update.dense.rate * (double)config->loss.task_weight[1] * gradient; // sum, unweighted
    }
    double moved = (double)*trainer_model_tensor(model, bias) - (double)before;
    base_minibatch_free(minibatch);
    trainer_model_free(model);
    return moved;
}

// The CTCVR loss is a mean over the batch as the others are, and weighs its samples. The mistake: a batch sum
// without the weights.
Test(trainer_loss_mistakes, a_batch_sum_without_weights)
{
    static const float ones[] = {1, 1, 1, 1}, weights[] = {1, 3, 0.5f, 10}, scaled[] = {2, 2, 2, 2};
    double mistaken;
    double moved = purchase_bias_step(ones, 4, &mistaken);
    cr_expect_float_eq(moved * MODEL_BATCH / mistaken, 1, 1e-4, "%g and %g", moved, mistaken);
    cr_expect(fabs(moved / mistaken - 1) > 0.8, "the batch sum is %u times as much", MODEL_BATCH);
    double twice = purchase_bias_step(scaled, 4, &mistaken);
    cr_expect_float_eq(twice / moved, 2, 1e-4);
    double weighed = purchase_bias_step(weights, 4, &mistaken);
    cr_expect(fabs(weighed * MODEL_BATCH / mistaken - 1) > 0.1, "weights count");
}
