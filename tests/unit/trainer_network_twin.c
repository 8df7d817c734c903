// The twin of the dense network. See trainer_network_twin.h.
#include "trainer_network_twin.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { TWIN_WIDTH_MAX = 512, TWIN_EXPERTS_MAX = 64 };

struct twin twin_make(const struct trainer_network_config *config, struct trainer_network *network)
{
    struct twin twin = {.config = config, .size = trainer_network_size(network)};
    twin.tensors = trainer_network_tensors(network, &twin.count);
    twin.weights = base_alloc(twin.size * sizeof *twin.weights);
    for (size_t i = 0; i < twin.size; i++) {
        twin.weights[i] = trainer_network_slab(network)[i];
    }
    return twin;
}

void twin_free(struct twin *twin)
{
    free(twin->weights);
}

double *twin_tensor(const struct twin *twin, const char *name, uint32_t rows, uint32_t columns)
{
    for (uint32_t t = 0; t < twin->count; t++) {
        if (strcmp(twin->tensors[t].name, name) == 0) {
            cr_assert(twin->tensors[t].rows == rows && twin->tensors[t].columns == columns,
                      "%s is %u x %u, not %u x %u", name, twin->tensors[t].rows, twin->tensors[t].columns,
                      rows, columns);
            return twin->weights + twin->tensors[t].offset;
        }
    }
    cr_assert_fail("no tensor %s", name);
    abort();
}

// y = x W + b by the tensors "<prefix>.weight" and, if `bias`, "<prefix>.bias".
static void twin_dense(const struct twin *twin, const char *prefix, bool bias, const double *x,
                       uint32_t inputs, uint32_t outputs, bool relu, double *y)
{
    char name[TRAINER_TENSOR_NAME_MAX];
    snprintf(name, sizeof name, "%s.weight", prefix);
    const double *w = twin_tensor(twin, name, inputs, outputs);
    snprintf(name, sizeof name, "%s.bias", prefix);
    const double *b = bias ? twin_tensor(twin, name, 1, outputs) : NULL;
    for (uint32_t o = 0; o < outputs; o++) {
        double sum = b ? b[o] : 0.0;
        for (uint32_t i = 0; i < inputs; i++) {
            sum += x[i] * w[(size_t)i * outputs + o];
        }
        y[o] = relu && sum < 0.0 ? 0.0 : sum;
    }
}

// Experts "level<l>.<group>.expert<e>" on x into out[e].
static void twin_experts(const struct twin *twin, uint32_t l, const char *group, uint32_t count,
                         const double *x, uint32_t inputs, double (*out)[TWIN_WIDTH_MAX])
{
    const struct trainer_level_config *level = &twin->config->level[l];
    for (uint32_t e = 0; e < count; e++) {
        double now[TWIN_WIDTH_MAX], next[TWIN_WIDTH_MAX];
        memcpy(now, x, inputs * sizeof *now);
        uint32_t width = inputs;
        for (uint32_t j = 0; j < level->layers; j++) {
            char prefix[48];
            snprintf(prefix, sizeof prefix, "level%u.%s.expert%u.layer%u", l, group, e, j);
            twin_dense(twin, prefix, true, now, width, level->widths[j], true, next);
            width = level->widths[j];
            memcpy(now, next, width * sizeof *now);
        }
        memcpy(out[e], now, width * sizeof *now);
    }
}

// h = softmax(x W) . experts[count], by the gate "level<l>.<group>.gate".
static void twin_gate(const struct twin *twin, uint32_t l, const char *group, const double *x,
                      uint32_t inputs, const double *const *experts, uint32_t count, double *h)
{
    char prefix[48];
    snprintf(prefix, sizeof prefix, "level%u.%s.gate", l, group);
    double g[TWIN_EXPERTS_MAX], sum = 0.0;
    twin_dense(twin, prefix, false, x, inputs, count, false, g);
    for (uint32_t i = 0; i < count; i++) {
        sum += g[i] = exp(g[i]);
    }
    const struct trainer_level_config *level = &twin->config->level[l];
    uint32_t width = level->widths[level->layers - 1];
    for (uint32_t c = 0; c < width; c++) {
        h[c] = 0.0;
        for (uint32_t i = 0; i < count; i++) {
            h[c] += g[i] / sum * experts[i][c];
        }
    }
}

// Level l: from what each group reads, [tasks + 1], to what each gives. Group `tasks` is the shared one.
static void twin_level(const struct twin *twin, uint32_t l, uint32_t inputs, double (*h)[TWIN_WIDTH_MAX])
{
    static _Thread_local double own[BASE_TASKS_MAX][TWIN_EXPERTS_MAX][TWIN_WIDTH_MAX];
    static _Thread_local double shared[TWIN_EXPERTS_MAX][TWIN_WIDTH_MAX],
        read[BASE_TASKS_MAX + 1][TWIN_WIDTH_MAX];
    const struct trainer_level_config *level = &twin->config->level[l];
    uint32_t tasks = twin->config->tasks;
    memcpy(read, h, (tasks + 1) * sizeof *read);
    twin_experts(twin, l, "shared", level->shared, read[tasks], inputs, shared);
    const double *all[TWIN_EXPERTS_MAX];
    uint32_t total = 0;
    for (uint32_t k = 0; k < tasks; k++) {
        char group[16];
        snprintf(group, sizeof group, "task%u", k);
        twin_experts(twin, l, group, level->per_task, read[k], inputs, own[k]);
        const double *mine[TWIN_EXPERTS_MAX];
        for (uint32_t e = 0; e < level->per_task; e++) {
            mine[e] = all[total++] = own[k][e];
        }
        for (uint32_t e = 0; e < level->shared; e++) {
            mine[level->per_task + e] = shared[e];
        }
        twin_gate(twin, l, group, read[k], inputs, mine, level->per_task + level->shared, h[k]);
    }
    for (uint32_t e = 0; e < level->shared; e++) {
        all[total++] = shared[e];
    }
    if (l + 1 < twin->config->levels) {
        twin_gate(twin, l, "shared", read[tasks], inputs, all, total, h[tasks]);
    }
}

void twin_forward(const struct twin *twin, const double *x, double *logits)
{
    const struct trainer_network_config *config = twin->config;
    double h[BASE_TASKS_MAX + 1][TWIN_WIDTH_MAX];
    uint32_t inputs = config->inputs;
    for (uint32_t g = 0; g <= config->tasks; g++) {
        memcpy(h[g], x, inputs * sizeof *x);
    }
    for (uint32_t l = 0; l < config->levels; l++) {
        twin_level(twin, l, inputs, h);
        inputs = config->level[l].widths[config->level[l].layers - 1];
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        uint32_t width = inputs;
        char prefix[48];
        for (uint32_t j = 0; j < config->tower_layers; j++) {
            double next[TWIN_WIDTH_MAX];
            snprintf(prefix, sizeof prefix, "task%u.tower.layer%u", k, j);
            twin_dense(twin, prefix, true, h[k], width, config->tower_widths[j], true, next);
            width = config->tower_widths[j];
            memcpy(h[k], next, width * sizeof *next);
        }
        snprintf(prefix, sizeof prefix, "task%u.tower.output", k);
        twin_dense(twin, prefix, true, h[k], width, 1, false, &logits[k]);
    }
}

double twin_loss(const struct trainer_loss_config *config, const double *logits,
                 const struct base_sample *sample)
{
    long double loss = 0.0L, product = 1.0L;
    for (uint32_t k = 0; k < config->tasks; k++) {
        long double p = 1.0L / (1.0L + expl(-(long double)logits[k]));
        product *= p;
        long double odds = p / (1.0L - p) / (long double)config->keep_negatives;
        long double judged = k == 0 ? odds / (1.0L + odds) : product;
        if (sample->mask >> k & 1) {
            loss -= (long double)(config->task_weight[k] * sample->weight[k]) *
                    (sample->label[k] ? logl(judged) : log1pl(-judged));
        }
    }
    return (double)loss;
}
