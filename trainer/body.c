// What all bodies share: the checks of a configuration, the choice of the builder, the towers. See body.h.
#include "trainer/body.h"

#include <stdio.h>

#include "base/bytes.h"
#include "trainer/body_private.h"

const char *const trainer_body_names[] = {
    [TRAINER_BODY_PLE] = "ple",
    [TRAINER_BODY_CGC] = "cgc",
    [TRAINER_BODY_ML_MMOE] = "ml_mmoe",
    [TRAINER_BODY_MMOE] = "mmoe",
    [TRAINER_BODY_MOE] = "moe",
    [TRAINER_BODY_CUSTOMIZED] = "customized",
    [TRAINER_BODY_CROSS_STITCH] = "cross_stitch",
    [TRAINER_BODY_SOFT_L2] = "soft_l2",
    [TRAINER_BODY_SHARED_BOTTOM] = "shared_bottom",
    [TRAINER_BODIES] = NULL,
};

static body_build *const body_builders[] = {
    [TRAINER_BODY_PLE] = body_build_ple,
    [TRAINER_BODY_CGC] = body_build_ple,
    [TRAINER_BODY_ML_MMOE] = body_build_mmoe,
    [TRAINER_BODY_MMOE] = body_build_mmoe,
    [TRAINER_BODY_MOE] = body_build_mmoe,
    [TRAINER_BODY_CUSTOMIZED] = body_build_customized,
    [TRAINER_BODY_CROSS_STITCH] = body_build_cross_stitch,
    [TRAINER_BODY_SOFT_L2] = body_build_soft_l2,
    [TRAINER_BODY_SHARED_BOTTOM] = body_build_shared_bottom,
};

// Checks that `value` lies in [least, most] and is a multiple of `step`.
static int body_check(const char *name, uint32_t value, uint32_t least, uint32_t most, uint32_t step,
                      struct base_error *error)
{
    if (value >= least && value <= most && value % step == 0) {
        return 0;
    }
    if (step > 1) {
        return base_error_set(error, BASE_EINVAL, "network: %s = %u is not a multiple of %u in %u..%u", name,
                              value, step, least, most);
    }
    return base_error_set(error, BASE_EINVAL, "network: %s = %u is not in %u..%u", name, value, least, most);
}

static int body_check_width(const char *name, uint32_t width, struct base_error *error)
{
    return body_check(name, width, TRAINER_WIDTH_STEP, TRAINER_WIDTH_MAX, TRAINER_WIDTH_STEP, error);
}

bool trainer_body_reads_experts(enum trainer_body body, uint32_t l)
{
    bool several = body == TRAINER_BODY_PLE || body == TRAINER_BODY_ML_MMOE;
    bool one = body == TRAINER_BODY_CGC || body == TRAINER_BODY_MMOE || body == TRAINER_BODY_MOE;
    return several || (one && l == 0);
}

// The least number of shared experts that level l needs.
static uint32_t body_least_shared(const struct trainer_network_config *config, uint32_t l)
{
    bool none = trainer_body_reads_experts(config->body, l) && config->level[l].per_task == 0;
    // Without any there is nothing that a second level of PLE could read as h_s.
    return none || (config->body == TRAINER_BODY_PLE && config->levels > 1);
}

static int body_check_level(const struct trainer_network_config *config, uint32_t l, struct base_error *error)
{
    const struct trainer_level_config *level = &config->level[l];
    char name[TRAINER_TENSOR_NAME_MAX];
    snprintf(name, sizeof name, "level %u: layers", l);
    if (body_check(name, level->layers, 1, TRAINER_LAYERS_MAX, 1, error) < 0) {
        return -1;
    }
    for (uint32_t j = 0; j < level->layers; j++) {
        snprintf(name, sizeof name, "level %u: width of layer %u", l, j);
        if (body_check_width(name, level->widths[j], error) < 0) {
            return -1;
        }
    }
    snprintf(name, sizeof name, "level %u: experts per task", l);
    if (body_check(name, level->per_task, 0, TRAINER_EXPERTS_MAX, 1, error) < 0) {
        return -1;
    }
    snprintf(name, sizeof name, "level %u: shared experts", l);
    return body_check(name, level->shared, body_least_shared(config, l), TRAINER_EXPERTS_MAX, 1, error);
}

static int body_check_towers(const struct trainer_network_config *config, struct base_error *error)
{
    for (uint32_t j = 0; j < config->tower_layers; j++) {
        if (body_check_width("tower width", config->tower_widths[j], error) < 0) {
            return -1;
        }
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        if (body_check("outputs of a task", config->outputs[k], 0, TRAINER_OUTPUTS_MAX, 1, error) < 0) {
            return -1;
        }
    }
    return 0;
}

static int body_check_config(const struct trainer_network_config *config, struct base_error *error)
{
    if ((unsigned)config->body >= TRAINER_BODIES) {
        return base_error_set(error, BASE_EINVAL, "network: body %d is not known", (int)config->body);
    }
    if (body_check_width("inputs", config->inputs, error) < 0 ||
        body_check("tasks", config->tasks, 1, BASE_TASKS_MAX, 1, error) < 0 ||
        body_check("levels", config->levels, 1, TRAINER_LEVELS_MAX, 1, error) < 0 ||
        body_check("tower layers", config->tower_layers, 0, TRAINER_LAYERS_MAX, 1, error) < 0 ||
        body_check("batch", config->batch, 1, TRAINER_BATCH_MAX, 1, error) < 0) {
        return -1;
    }
    for (uint32_t l = 0; l < config->levels; l++) {
        if (body_check_level(config, l, error) < 0) {
            return -1;
        }
    }
    // Written so that NaN fails.
    if (config->body == TRAINER_BODY_SOFT_L2 &&
        !(config->soft_l2 >= 0.0f && config->soft_l2 <= TRAINER_SOFT_L2_MAX)) {
        return base_error_set(error, BASE_EINVAL, "network: soft_l2 = %g is not in 0..%g",
                              (double)config->soft_l2, (double)TRAINER_SOFT_L2_MAX);
    }
    return body_check_towers(config, error);
}

struct body_chain body_chain_of(const struct trainer_network_config *config, uint32_t room[BODY_CHAIN_MAX])
{
    struct body_chain chain = {room, 0};
    for (uint32_t l = 0; l < config->levels; l++) {
        for (uint32_t j = 0; j < config->level[l].layers; j++) {
            room[chain.layers++] = config->level[l].widths[j];
        }
    }
    return chain;
}

static void body_add_towers(struct trainer_graph *graph, const struct trainer_network_config *config,
                            uint32_t *inputs)
{
    char name[TRAINER_TENSOR_NAME_MAX];
    for (uint32_t j = 0; j < config->tower_layers; j++) {
        for (uint32_t k = 0; k < config->tasks; k++) {
            snprintf(name, sizeof name, "task%u.tower.layer%u", k, j);
            inputs[k] = trainer_graph_add_layer(graph, inputs[k], config->tower_widths[j], name);
        }
        trainer_graph_end_dense(graph);
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        snprintf(name, sizeof name, "task%u.tower.output", k);
        trainer_graph_add_tower(graph, inputs[k], name);
        for (uint32_t j = 1; j < config->outputs[k]; j++) {
            snprintf(name, sizeof name, "task%u.tower.output%u", k, j);
            trainer_graph_add_tower(graph, inputs[k], name);
        }
    }
    trainer_graph_end_output(graph);
}

struct trainer_graph *trainer_body_new(const struct trainer_network_config *config, struct base_error *error)
{
    if (body_check_config(config, error) < 0) {
        return NULL;
    }
    struct trainer_graph *graph = base_alloc_zeroed(1, sizeof *graph);
    trainer_graph_add_vector(graph, config->inputs, false);
    uint32_t heads[BASE_TASKS_MAX];
    body_builders[config->body](graph, config, heads);
    body_add_towers(graph, config, heads);
    trainer_graph_finish(graph);
    return graph;
}
