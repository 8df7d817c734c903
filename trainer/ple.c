// From a configuration to the plan of a PLE. See ple.h.
#include "trainer/ple.h"

#include <assert.h>
#include <stdio.h>

#include "base/bytes.h"

// Checks that `value` lies in [least, most] and is a multiple of `step`.
static int ple_check(const char *name, uint32_t value, uint32_t least, uint32_t most, uint32_t step,
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

static int ple_check_width(const char *name, uint32_t width, struct base_error *error)
{
    return ple_check(name, width, TRAINER_WIDTH_STEP, TRAINER_WIDTH_MAX, TRAINER_WIDTH_STEP, error);
}

static int ple_check_level(const struct trainer_network_config *config, uint32_t l, struct base_error *error)
{
    const struct trainer_level_config *level = &config->level[l];
    char name[TRAINER_TENSOR_NAME_MAX];
    snprintf(name, sizeof name, "level %u: layers", l);
    if (ple_check(name, level->layers, 1, TRAINER_LAYERS_MAX, 1, error) < 0) {
        return -1;
    }
    for (uint32_t j = 0; j < level->layers; j++) {
        snprintf(name, sizeof name, "level %u: width of layer %u", l, j);
        if (ple_check_width(name, level->widths[j], error) < 0) {
            return -1;
        }
    }
    snprintf(name, sizeof name, "level %u: experts per task", l);
    if (ple_check(name, level->per_task, 0, TRAINER_EXPERTS_MAX, 1, error) < 0) {
        return -1;
    }
    // Without shared experts there is nothing that a second level could read as h_s.
    uint32_t least = config->levels > 1 || level->per_task == 0 ? 1 : 0;
    snprintf(name, sizeof name, "level %u: shared experts", l);
    return ple_check(name, level->shared, least, TRAINER_EXPERTS_MAX, 1, error);
}

static int ple_check_config(const struct trainer_network_config *config, struct base_error *error)
{
    if (config->body != TRAINER_BODY_PLE) {
        return base_error_set(error, BASE_EINVAL, "network: body %d is not known", (int)config->body);
    }
    if (ple_check_width("inputs", config->inputs, error) < 0 ||
        ple_check("tasks", config->tasks, 1, BASE_TASKS_MAX, 1, error) < 0 ||
        ple_check("levels", config->levels, 1, TRAINER_LEVELS_MAX, 1, error) < 0 ||
        ple_check("tower layers", config->tower_layers, 0, TRAINER_LAYERS_MAX, 1, error) < 0 ||
        ple_check("batch", config->batch, 1, TRAINER_BATCH_MAX, 1, error) < 0) {
        return -1;
    }
    for (uint32_t l = 0; l < config->levels; l++) {
        if (ple_check_level(config, l, error) < 0) {
            return -1;
        }
    }
    for (uint32_t j = 0; j < config->tower_layers; j++) {
        if (ple_check_width("tower width", config->tower_widths[j], error) < 0) {
            return -1;
        }
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        if (ple_check("outputs of a task", config->outputs[k], 0, TRAINER_OUTPUTS_MAX, 1, error) < 0) {
            return -1;
        }
    }
    return 0;
}

// A group is the experts and the gate of one task, or the shared ones: groups 0..tasks-1, then the shared.
struct ple_level {
    uint32_t number;
    uint32_t tasks;
    const struct trainer_level_config *config;
    uint32_t width;                     // of its experts' outputs
    bool last;                          // of all levels
    uint32_t inputs[TRAINER_GATES_MAX]; // vector that each group reads
};

static uint32_t ple_experts(const struct ple_level *level, uint32_t group)
{
    return group < level->tasks ? level->config->per_task : level->config->shared;
}

// "level0.task1" or "level0.shared".
static void ple_group_name(const struct ple_level *level, uint32_t group, char *name, size_t size)
{
    if (group < level->tasks) {
        snprintf(name, size, "level%u.task%u", level->number, group);
    } else {
        snprintf(name, size, "level%u.shared", level->number);
    }
}

// Layer j of every expert. inputs[] are the vectors that the experts read, and become those that they write.
static void ple_add_layer(struct trainer_graph *graph, const struct ple_level *level, uint32_t j,
                          uint32_t *inputs)
{
    uint32_t expert = 0;
    for (uint32_t group = 0; group <= level->tasks; group++) {
        for (uint32_t e = 0; e < ple_experts(level, group); e++, expert++) {
            char prefix[24], name[TRAINER_TENSOR_NAME_MAX];
            ple_group_name(level, group, prefix, sizeof prefix);
            snprintf(name, sizeof name, "%s.expert%u.layer%u", prefix, e, j);
            inputs[expert] = trainer_graph_add_layer(graph, inputs[expert], level->config->widths[j], name);
        }
    }
}

// The experts that the group's gate weighs, counted from the level's first; returns how many.
static uint32_t ple_weighed(const struct ple_level *level, uint32_t group, uint32_t *experts)
{
    uint32_t first_shared = level->tasks * level->config->per_task, count = 0;
    uint32_t begin = group < level->tasks ? group * level->config->per_task : 0;
    uint32_t end = group < level->tasks ? begin + level->config->per_task : first_shared;
    for (uint32_t e = begin; e < end; e++) {
        experts[count++] = e;
    }
    for (uint32_t e = 0; e < level->config->shared; e++) {
        experts[count++] = first_shared + e;
    }
    return count;
}

// All gates of the level: one gating for each vector that is read. outputs[] become the groups' mixtures.
static struct trainer_range ple_add_gates(struct trainer_graph *graph, const struct ple_level *level,
                                          uint32_t *outputs)
{
    struct trainer_range gatings = {graph->gatings, graph->gatings};
    uint32_t groups = level->last ? level->tasks : level->tasks + 1;
    for (uint32_t group = 0; group < groups; group++) {
        if (group == 0 || level->inputs[group] != level->inputs[group - 1]) {
            trainer_graph_add_gating(graph, level->inputs[group]);
        }
        uint32_t experts[TRAINER_GATE_EXPERTS_MAX];
        uint32_t count = ple_weighed(level, group, experts);
        char prefix[24], name[TRAINER_TENSOR_NAME_MAX];
        ple_group_name(level, group, prefix, sizeof prefix);
        snprintf(name, sizeof name, "%s.gate", prefix);
        outputs[group] = trainer_graph_add_gate(graph, experts, count, level->width, name);
    }
    gatings.end = graph->gatings;
    return gatings;
}

// A level; level->inputs become its mixtures, what the next level reads.
static void ple_add_level(struct trainer_graph *graph, struct ple_level *level)
{
    uint32_t at[TRAINER_GATE_EXPERTS_MAX], experts = 0; // the vector that each expert has reached
    for (uint32_t group = 0; group <= level->tasks; group++) {
        for (uint32_t e = 0; e < ple_experts(level, group); e++) {
            at[experts++] = level->inputs[group];
        }
    }

    uint32_t outputs[TRAINER_GATES_MAX] = {0};
    struct trainer_range gatings = {0, 0};
    for (uint32_t j = 0; j < level->config->layers; j++) {
        ple_add_layer(graph, level, j, at);
        if (j == 0) { // gates read what the experts' first layers read
            gatings = ple_add_gates(graph, level, outputs);
        }
        trainer_graph_end_dense(graph);
    }
    assert(at[experts - 1] - at[0] == experts - 1); // one layer's outputs are consecutive vectors
    trainer_graph_end_mixture(graph, gatings, (struct trainer_range){at[0], at[0] + experts});
    for (uint32_t group = 0; group <= level->tasks; group++) {
        level->inputs[group] = outputs[group];
    }
}

static void ple_add_towers(struct trainer_graph *graph, const struct trainer_network_config *config,
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

struct trainer_graph *trainer_ple_new(const struct trainer_network_config *config, struct base_error *error)
{
    if (ple_check_config(config, error) < 0) {
        return NULL;
    }
    struct trainer_graph *graph = base_alloc_zeroed(1, sizeof *graph);
    struct ple_level level = {.tasks = config->tasks}; // inputs: vector 0, x
    trainer_graph_add_vector(graph, config->inputs, false);
    for (uint32_t l = 0; l < config->levels; l++) {
        level.number = l;
        level.config = &config->level[l];
        level.width = level.config->widths[level.config->layers - 1];
        level.last = l + 1 == config->levels;
        ple_add_level(graph, &level);
    }
    ple_add_towers(graph, config, level.inputs);
    trainer_graph_finish(graph);
    return graph;
}
