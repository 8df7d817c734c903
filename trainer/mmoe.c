// Mixtures whose experts all belong to everybody: OMoE and MMoE (Ma et al., KDD 2018) and ML-MMoE, several
// levels of it. See body.h.
//
// A gate belongs to whoever reads its mixture: an expert of the level above, or a task. moe has a single one,
// which all tasks read. Every gate of every level reads the raw x, so that they are one gating, whose scores
// are computed beside the first layers; each level's mixtures then use their part of them.
#include <assert.h>
#include <stdio.h>

#include "trainer/body_private.h"

struct mmoe_level {
    uint32_t number;
    struct body_chain chain; // of each expert
    uint32_t experts;
    uint32_t gates, first; // in graph->gate
    bool last;
};

static void mmoe_gate_name(const struct mmoe_level *level, enum trainer_body body, uint32_t gate, char *name,
                           size_t size)
{
    if (!level->last) {
        snprintf(name, size, "level%u.gate%u", level->number, gate);
    } else if (body == TRAINER_BODY_MOE) {
        snprintf(name, size, "level%u.gate", level->number);
    } else {
        snprintf(name, size, "level%u.task%u.gate", level->number, gate);
    }
}

static void mmoe_add_gates(struct trainer_graph *graph, enum trainer_body body, struct mmoe_level *level)
{
    uint32_t experts[TRAINER_GATE_EXPERTS_MAX];
    for (uint32_t e = 0; e < level->experts; e++) {
        experts[e] = e;
    }
    level->first = graph->gates;
    for (uint32_t g = 0; g < level->gates; g++) {
        char name[TRAINER_TENSOR_NAME_MAX];
        mmoe_gate_name(level, body, g, name, sizeof name);
        trainer_graph_add_gate(graph, experts, level->experts, level->chain.widths[level->chain.layers - 1],
                               name);
    }
}

// Level `l` of `levels`; at[] are the vectors that its experts read and become its mixtures.
static void mmoe_add_level(struct trainer_graph *graph, enum trainer_body body, struct mmoe_level *level,
                           uint32_t levels, uint32_t l, uint32_t *at)
{
    for (uint32_t j = 0; j < level[l].chain.layers; j++) {
        for (uint32_t e = 0; e < level[l].experts; e++) {
            char name[TRAINER_TENSOR_NAME_MAX];
            snprintf(name, sizeof name, "level%u.expert%u.layer%u", l, e, j);
            at[e] = trainer_graph_add_layer(graph, at[e], level[l].chain.widths[j], name);
        }
        if (l == 0 && j == 0) {
            trainer_graph_add_gating(graph, 0);
            for (uint32_t of = 0; of < levels; of++) {
                mmoe_add_gates(graph, body, &level[of]);
            }
        }
        trainer_graph_end_dense(graph);
    }
    struct trainer_range gates = {level[l].first, level[l].first + level[l].gates};
    trainer_graph_end_mixture(graph, gates, (struct trainer_range){at[0], at[0] + level[l].experts});
    for (uint32_t g = 0; g < level[l].gates; g++) {
        at[g] = graph->gate[level[l].first + g].output;
    }
}

void body_build_mmoe(struct trainer_graph *graph, const struct trainer_network_config *config,
                     uint32_t *heads)
{
    uint32_t room[BODY_CHAIN_MAX], at[TRAINER_GATE_EXPERTS_MAX] = {0};
    struct mmoe_level level[TRAINER_LEVELS_MAX];
    bool several = config->body == TRAINER_BODY_ML_MMOE;
    uint32_t levels = several ? config->levels : 1;
    for (uint32_t l = levels; l-- > 0;) {
        const struct trainer_level_config *from = &config->level[l];
        level[l] = (struct mmoe_level){.number = l, .last = l + 1 == levels};
        level[l].chain =
            several ? (struct body_chain){from->widths, from->layers} : body_chain_of(config, room);
        level[l].experts = from->per_task * config->tasks + from->shared;
        level[l].gates = config->body == TRAINER_BODY_MOE ? 1 : config->tasks;
        if (!level[l].last) {
            level[l].gates = level[l + 1].experts;
        }
        assert(level[l].experts >= 1 && level[l].experts <= TRAINER_GATE_EXPERTS_MAX);
    }
    for (uint32_t l = 0; l < levels; l++) {
        mmoe_add_level(graph, config->body, level, levels, l, at);
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        heads[k] = at[config->body == TRAINER_BODY_MOE ? 0 : k];
    }
}
