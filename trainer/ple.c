// CGC and PLE (Tang et al., RecSys 2020). See body.h.
//
// Level 0 reads x everywhere. Above, the own experts and the gate of task k read h_k of the level below; the
// shared experts and the shared gate read h_s. A task's gate weighs its own experts, then the shared ones;
// the shared gate weighs all experts of its level: task 0's, task 1's, ..., the shared. The last level has no
// shared gate. One level is CGC; one without own experts is MMoE.
#include <assert.h>
#include <stdio.h>

#include "trainer/body_private.h"

// A group is the experts and the gate of one task, or the shared ones: groups 0..tasks-1, then the shared.
struct ple_level {
    uint32_t number;
    uint32_t tasks;
    struct body_chain chain; // of each expert
    uint32_t per_task, shared;
    bool last;                          // of all levels
    uint32_t inputs[TRAINER_GATES_MAX]; // vector that each group reads
};

static uint32_t ple_experts(const struct ple_level *level, uint32_t group)
{
    return group < level->tasks ? level->per_task : level->shared;
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
            inputs[expert] = trainer_graph_add_layer(graph, inputs[expert], level->chain.widths[j], name);
        }
    }
}

// The experts that the group's gate weighs, counted from the level's first; returns how many.
static uint32_t ple_weighed(const struct ple_level *level, uint32_t group, uint32_t *experts)
{
    uint32_t first_shared = level->tasks * level->per_task, count = 0;
    uint32_t begin = group < level->tasks ? group * level->per_task : 0;
    uint32_t end = group < level->tasks ? begin + level->per_task : first_shared;
    for (uint32_t e = begin; e < end; e++) {
        experts[count++] = e;
    }
    for (uint32_t e = 0; e < level->shared; e++) {
        experts[count++] = first_shared + e;
    }
    return count;
}

// All gates of the level: one gating for each vector that is read. outputs[] become the groups' mixtures.
static struct trainer_range ple_add_gates(struct trainer_graph *graph, const struct ple_level *level,
                                          uint32_t *outputs)
{
    struct trainer_range gates = {graph->gates, graph->gates};
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
        outputs[group] =
            trainer_graph_add_gate(graph, experts, count, level->chain.widths[level->chain.layers - 1], name);
    }
    gates.end = graph->gates;
    return gates;
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
    struct trainer_range gates = {0, 0};
    for (uint32_t j = 0; j < level->chain.layers; j++) {
        ple_add_layer(graph, level, j, at);
        if (j == 0) { // gates read what the experts' first layers read
            gates = ple_add_gates(graph, level, outputs);
        }
        trainer_graph_end_dense(graph);
    }
    assert(at[experts - 1] - at[0] == experts - 1); // one layer's outputs are consecutive vectors
    trainer_graph_end_mixture(graph, gates, (struct trainer_range){at[0], at[0] + experts});
    for (uint32_t group = 0; group <= level->tasks; group++) {
        level->inputs[group] = outputs[group];
    }
}

void body_build_ple(struct trainer_graph *graph, const struct trainer_network_config *config, uint32_t *heads)
{
    uint32_t room[BODY_CHAIN_MAX];
    bool cgc = config->body == TRAINER_BODY_CGC;
    uint32_t levels = cgc ? 1 : config->levels;
    struct ple_level level = {.tasks = config->tasks}; // inputs: vector 0, x
    for (uint32_t l = 0; l < levels; l++) {
        const struct trainer_level_config *from = &config->level[l];
        level.number = l;
        level.chain = cgc ? body_chain_of(config, room) : (struct body_chain){from->widths, from->layers};
        level.per_task = from->per_task;
        level.shared = from->shared;
        level.last = l + 1 == levels;
        ple_add_level(graph, &level);
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        heads[k] = level.inputs[k];
    }
}
