// The twin of the bodies that are not PLE. See trainer_network_twin.h.
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "trainer_network_twin.h"

enum { CHAIN_MAX = TRAINER_LEVELS_MAX * TRAINER_LAYERS_MAX };

// The widths of all levels one after another.
static uint32_t twin_chain(const struct trainer_network_config *config, uint32_t *widths)
{
    uint32_t layers = 0;
    for (uint32_t l = 0; l < config->levels; l++) {
        for (uint32_t j = 0; j < config->level[l].layers; j++) {
            widths[layers++] = config->level[l].widths[j];
        }
    }
    return layers;
}

// Layers [0, layers) of "<prefix>.layer<j>" on x; y may be x.
static uint32_t twin_mlp(const struct twin *twin, const char *prefix, const double *x, uint32_t inputs,
                         const uint32_t *widths, uint32_t layers, double *y)
{
    double now[TWIN_WIDTH_MAX];
    memcpy(now, x, inputs * sizeof *x);
    for (uint32_t j = 0; j < layers; j++) {
        char name[TRAINER_TENSOR_NAME_MAX];
        double next[TWIN_WIDTH_MAX];
        snprintf(name, sizeof name, "%s.layer%u", prefix, j);
        twin_dense(twin, name, true, now, inputs, widths[j], true, next);
        inputs = widths[j];
        memcpy(now, next, inputs * sizeof *now);
    }
    memcpy(y, now, inputs * sizeof *y);
    return inputs;
}

static uint32_t twin_cross_stitch(const struct twin *twin, const double *x, double (*h)[TWIN_WIDTH_MAX])
{
    uint32_t widths[CHAIN_MAX], layers = twin_chain(twin->config, widths);
    uint32_t tasks = twin->config->tasks, inputs = twin->config->inputs;
    for (uint32_t k = 0; k < tasks; k++) {
        memcpy(h[k], x, inputs * sizeof *x);
    }
    for (uint32_t j = 0; j < layers; j++) {
        double next[BASE_TASKS_MAX][TWIN_WIDTH_MAX];
        char name[TRAINER_TENSOR_NAME_MAX];
        for (uint32_t k = 0; k < tasks; k++) {
            snprintf(name, sizeof name, "task%u.bottom.layer%u", k, j);
            twin_dense(twin, name, true, h[k], inputs, widths[j], true, next[k]);
        }
        inputs = widths[j];
        snprintf(name, sizeof name, "stitch%u.weight", j);
        const double *alpha = tasks > 1 ? twin_tensor(twin, name, tasks, tasks) : NULL;
        for (uint32_t k = 0; k < tasks; k++) {
            for (uint32_t c = 0; c < inputs; c++) {
                h[k][c] = alpha ? 0.0 : next[k][c];
                for (uint32_t i = 0; alpha && i < tasks; i++) {
                    h[k][c] += alpha[k * tasks + i] * next[i][c];
                }
            }
        }
    }
    return inputs;
}

// Experts `level<l>.expert<e>`, expert e on read[e]; mixture i of `gates` by the tensor that `gate` names.
// All gates read x; by mistake, above the first level, what the expert of their number reads.
static void twin_mmoe_level(const struct twin *twin, uint32_t l, const double *x, uint32_t inputs,
                            const uint32_t *widths, uint32_t layers, uint32_t experts, const char *gate,
                            uint32_t gates, double (*read)[TWIN_WIDTH_MAX])
{
    static _Thread_local double out[TWIN_EXPERTS_MAX][TWIN_WIDTH_MAX], was[TWIN_EXPERTS_MAX][TWIN_WIDTH_MAX];
    const double *all[TWIN_EXPERTS_MAX];
    char name[TRAINER_TENSOR_NAME_MAX];
    for (uint32_t e = 0; e < experts; e++) {
        snprintf(name, sizeof name, "level%u.expert%u", l, e);
        twin_mlp(twin, name, read[e], inputs, widths, layers, out[e]);
        memcpy(was[e], read[e], inputs * sizeof **was);
        all[e] = out[e];
    }
    for (uint32_t g = 0; g < gates; g++) {
        bool mistaken = twin->mistake == TWIN_GATES_READ_H && l > 0;
        snprintf(name, sizeof name, gate, l, g);
        twin_mix(twin, name, mistaken ? was[g] : x, twin->config->inputs, experts, 0, all, experts,
                 widths[layers - 1], read[g]);
    }
}

static uint32_t twin_mmoe(const struct twin *twin, const double *x, double (*h)[TWIN_WIDTH_MAX])
{
    static _Thread_local double read[TWIN_EXPERTS_MAX][TWIN_WIDTH_MAX];
    const struct trainer_network_config *config = twin->config;
    bool moe = config->body == TRAINER_BODY_MOE, several = config->body == TRAINER_BODY_ML_MMOE;
    uint32_t chain[CHAIN_MAX], chain_layers = twin_chain(config, chain), inputs = config->inputs;
    uint32_t levels = several ? config->levels : 1, tasks = config->tasks;
    for (uint32_t e = 0; e < TWIN_EXPERTS_MAX; e++) {
        memcpy(read[e], x, inputs * sizeof *x);
    }
    for (uint32_t l = 0; l < levels; l++) {
        const struct trainer_level_config *level = &config->level[l];
        const uint32_t *widths = several ? level->widths : chain;
        uint32_t layers = several ? level->layers : chain_layers;
        bool last = l + 1 == levels;
        uint32_t gates = moe ? 1 : tasks;
        if (!last) {
            gates = level[1].per_task * tasks + level[1].shared;
        }
        twin_mmoe_level(twin, l, x, inputs, widths, layers, level->per_task * tasks + level->shared,
                        !last ? "level%u.gate%u"
                        : moe ? "level%u.gate"
                              : "level%u.task%u.gate",
                        gates, read);
        inputs = widths[layers - 1];
    }
    for (uint32_t k = 0; k < tasks; k++) {
        memcpy(h[k], read[moe ? 0 : k], inputs * sizeof **h);
    }
    return inputs;
}

uint32_t twin_body(const struct twin *twin, const double *x, double (*h)[TWIN_WIDTH_MAX])
{
    uint32_t widths[CHAIN_MAX], layers = twin_chain(twin->config, widths), width = 0;
    uint32_t inputs = twin->config->inputs;
    for (uint32_t k = 0; k < twin->config->tasks; k++) {
        char own[32];
        snprintf(own, sizeof own, "task%u.bottom", k);
        switch (twin->config->body) {
        case TRAINER_BODY_SHARED_BOTTOM:
            width = twin_mlp(twin, "bottom", x, inputs, widths, layers, h[k]);
            break;
        case TRAINER_BODY_SOFT_L2:
            width = twin_mlp(twin, own, x, inputs, widths, layers, h[k]);
            break;
        case TRAINER_BODY_CUSTOMIZED:
            width = twin_mlp(twin, "shared.bottom", x, inputs, widths, layers, h[k]);
            width += twin_mlp(twin, own, x, inputs, widths, layers, h[k] + width);
            break;
        case TRAINER_BODY_CROSS_STITCH:
            return twin_cross_stitch(twin, x, h);
        default:
            return twin_mmoe(twin, x, h);
        }
    }
    return width;
}

double twin_penalty(const struct twin *twin)
{
    double sum = 0.0;
    for (uint32_t t = 0; t < twin->count; t++) {
        uint32_t i;
        char rest[TRAINER_TENSOR_NAME_MAX];
        if (sscanf(twin->tensors[t].name, "task%u.bottom.%63s", &i, rest) != 2) {
            continue;
        }
        uint32_t rows = twin->tensors[t].rows, columns = twin->tensors[t].columns;
        for (uint32_t j = i + 1; j < twin->config->tasks; j++) {
            char name[TRAINER_TENSOR_NAME_MAX + 32];
            snprintf(name, sizeof name, "task%u.bottom.%s", j, rest);
            const double *a = twin->weights + twin->tensors[t].offset,
                         *b = twin_tensor(twin, name, rows, columns);
            for (uint32_t e = 0; e < rows * columns; e++) {
                sum += (a[e] - b[e]) * (a[e] - b[e]);
            }
        }
    }
    return twin->config->body == TRAINER_BODY_SOFT_L2 ? (double)twin->config->soft_l2 * sum : 0.0;
}
