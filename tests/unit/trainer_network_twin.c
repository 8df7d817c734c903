// The twin of the dense network. See trainer_network_twin.h.
#include "trainer_network_twin.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

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

void twin_dense(const struct twin *twin, const char *prefix, bool bias, const double *x, uint32_t inputs,
                uint32_t outputs, bool relu, double *y)
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

void twin_mix(const struct twin *twin, const char *prefix, const double *read, uint32_t inputs,
              uint32_t columns, uint32_t first, const double *const *experts, uint32_t count, uint32_t width,
              double *h)
{
    double all[TWIN_EXPERTS_MAX], sum = 0.0, *g = all + first;
    twin_dense(twin, prefix, false, read, inputs, columns, false, all);
    for (uint32_t i = 0; i < count; i++) {
        sum += g[i] = exp(g[i]);
    }
    for (uint32_t c = 0; c < width; c++) {
        h[c] = 0.0;
        for (uint32_t i = 0; i < count; i++) {
            h[c] += g[i] / sum * experts[i][c];
        }
    }
}

// A level of PLE; cgc has one, whose experts have the widths of all levels.
struct twin_level {
    uint32_t number, inputs, layers, per_task, shared;
    const uint32_t *widths;
    bool last;
};

// Experts "level<l>.<group>.expert<e>" on x into out[e].
static void twin_experts(const struct twin *twin, const struct twin_level *level, const char *group,
                         uint32_t count, const double *x, double (*out)[TWIN_WIDTH_MAX])
{
    for (uint32_t e = 0; e < count; e++) {
        double now[TWIN_WIDTH_MAX], next[TWIN_WIDTH_MAX];
        memcpy(now, x, level->inputs * sizeof *now);
        uint32_t width = level->inputs;
        for (uint32_t j = 0; j < level->layers; j++) {
            char prefix[48];
            snprintf(prefix, sizeof prefix, "level%u.%s.expert%u.layer%u", level->number, group, e, j);
            twin_dense(twin, prefix, true, now, width, level->widths[j], true, next);
            width = level->widths[j];
            memcpy(now, next, width * sizeof *now);
        }
        memcpy(out[e], now, width * sizeof *now);
    }
}

// From what each group reads, [tasks + 1], to what each gives. Group `tasks` is the shared one.
static void twin_ple_level(const struct twin *twin, const struct twin_level *level,
                           double (*h)[TWIN_WIDTH_MAX])
{
    static _Thread_local double own[BASE_TASKS_MAX * TWIN_EXPERTS_MAX][TWIN_WIDTH_MAX];
    static _Thread_local double shared[TWIN_EXPERTS_MAX][TWIN_WIDTH_MAX],
        read[BASE_TASKS_MAX + 1][TWIN_WIDTH_MAX];
    uint32_t tasks = twin->config->tasks, per_task = level->per_task,
             width = level->widths[level->layers - 1];
    memcpy(read, h, (tasks + 1) * sizeof *read);
    twin_experts(twin, level, "shared", level->shared, read[tasks], shared);
    for (uint32_t k = 0; k < tasks; k++) {
        char group[16];
        snprintf(group, sizeof group, "task%u", k);
        twin_experts(twin, level, group, per_task, read[k], own + k * per_task);
    }
    const double *all[TWIN_EXPERTS_MAX];
    uint32_t total = 0;
    for (uint32_t e = 0; e < tasks * per_task; e++) {
        all[total++] = own[e];
    }
    for (uint32_t e = 0; e < level->shared; e++) {
        all[total++] = shared[e];
    }
    uint32_t stride = twin->mistake == TWIN_EXPERT_AT_TASK_NUM ? tasks : per_task;
    uint32_t others = twin->mistake == TWIN_SHARED_AS_MANY_AS_OWN ? per_task : level->shared;
    char prefix[48];
    for (uint32_t k = 0; k < tasks; k++) {
        const double *mine[TWIN_EXPERTS_MAX];
        for (uint32_t e = 0; e < per_task; e++) {
            mine[e] = own[k * stride + e];
        }
        for (uint32_t e = 0; e < others; e++) {
            mine[per_task + e] = shared[e];
        }
        snprintf(prefix, sizeof prefix, "level%u.task%u.gate", level->number, k);
        twin_mix(twin, prefix, read[k], level->inputs, per_task + level->shared, 0, mine, per_task + others,
                 width, h[k]);
    }
    if (!level->last) {
        uint32_t first = twin->mistake == TWIN_SHARED_GATE_SEES_SHARED_ONLY ? tasks * per_task : 0;
        snprintf(prefix, sizeof prefix, "level%u.shared.gate", level->number);
        twin_mix(twin, prefix, read[tasks], level->inputs, total, first, all + first, total - first, width,
                 h[tasks]);
    }
}

static uint32_t twin_ple(const struct twin *twin, const double *x, double (*h)[TWIN_WIDTH_MAX])
{
    const struct trainer_network_config *config = twin->config;
    uint32_t inputs = config->inputs, widths[TRAINER_LEVELS_MAX * TRAINER_LAYERS_MAX], layers = 0;
    for (uint32_t g = 0; g <= config->tasks; g++) {
        memcpy(h[g], x, inputs * sizeof *x);
    }
    for (uint32_t l = 0; l < config->levels; l++) {
        const struct trainer_level_config *from = &config->level[l];
        memcpy(widths + layers, from->widths, from->layers * sizeof *widths);
        layers += from->layers;
        bool cgc = config->body == TRAINER_BODY_CGC;
        if (cgc && l + 1 < config->levels) {
            continue; // its layers are the experts' first
        }
        struct twin_level level = {.number = cgc ? 0 : l,
                                   .inputs = inputs,
                                   .layers = cgc ? layers : from->layers,
                                   .per_task = cgc ? config->level[0].per_task : from->per_task,
                                   .shared = cgc ? config->level[0].shared : from->shared,
                                   .widths = cgc ? widths : from->widths,
                                   .last = l + 1 == config->levels};
        twin_ple_level(twin, &level, h);
        inputs = level.widths[level.layers - 1];
    }
    return inputs;
}

void twin_forward(const struct twin *twin, const double *x, double *logits)
{
    const struct trainer_network_config *config = twin->config;
    double h[BASE_TASKS_MAX + 1][TWIN_WIDTH_MAX];
    bool ple = config->body == TRAINER_BODY_PLE || config->body == TRAINER_BODY_CGC;
    uint32_t inputs = ple ? twin_ple(twin, x, h) : twin_body(twin, x, h), logit = 0;
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
        for (uint32_t j = 0; j < 1 || j < config->outputs[k]; j++, logit++) {
            snprintf(prefix, sizeof prefix, j ? "task%u.tower.output%u" : "task%u.tower.output", k, j);
            twin_dense(twin, prefix, true, h[k], width, 1, false, &logits[logit]);
            if (twin->mistake == TWIN_ONE_OUTPUT_BIAS) {
                char own[64];
                snprintf(own, sizeof own, "%s.bias", prefix);
                logits[logit] +=
                    *twin_tensor(twin, "task0.tower.output.bias", 1, 1) - *twin_tensor(twin, own, 1, 1);
            }
        }
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
