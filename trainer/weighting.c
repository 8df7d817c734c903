// The joint loss. See weighting.h.
#include "trainer/weighting.h"

#include <math.h>
#include <stdio.h>

static bool weighting_learns(const struct trainer_loss_config *config)
{
    return config->weighting == TRAINER_WEIGHTING_UNCERTAINTY;
}

bool trainer_weighting_tensor(const struct trainer_loss_config *config, struct trainer_tensor *tensor)
{
    if (!weighting_learns(config)) {
        return false;
    }
    *tensor = (struct trainer_tensor){.rows = 1, .columns = config->tasks};
    snprintf(tensor->name, sizeof tensor->name, "weighting.log_variance");
    return true;
}

void trainer_weighting_begin(const struct trainer_loss_config *config, uint64_t examples,
                             const float *log_variance, struct trainer_weighting_step *step)
{
    *step = (struct trainer_weighting_step){.loss = *config};
    for (uint32_t k = 0; k < config->tasks; k++) {
        float weight = config->task_weight[k];
        if (config->decay[k] != 0.0f && config->decay[k] != 1.0f) {
            double t = (double)examples / config->decay_examples;
            weight = (float)((double)weight * pow((double)config->decay[k], t));
        }
        step->weight[k] = weight;
        if (weighting_learns(config)) {
            weight *= (config->kind[k] == TRAINER_LOSS_MSE ? 0.5f : 1.0f) * expf(-log_variance[k]);
        }
        step->loss.task_weight[k] = weight;
    }
}

void trainer_weighting_add(struct trainer_weighting_step *step, const struct base_sample *sample,
                           const float *loss)
{
    for (uint32_t k = 0; k < step->loss.tasks; k++) {
        step->weighted[k] += loss[k];
        if (weighting_learns(&step->loss) && trainer_loss_counts(&step->loss, sample, k)) {
            step->mass[k] += step->weight[k] * sample->weight[k];
        }
    }
}

float trainer_weighting_loss(const struct trainer_weighting_step *step, const float *log_variance, uint32_t k)
{
    return weighting_learns(&step->loss) ? step->weighted[k] + 0.5f * step->mass[k] * log_variance[k]
                                         : step->weighted[k];
}

float trainer_weighting_gradient(const struct trainer_weighting_step *step, uint32_t k)
{
    return weighting_learns(&step->loss) ? 0.5f * step->mass[k] - step->weighted[k] : 0.0f;
}
