// Bodies without experts: hard sharing, and three ways of soft sharing. See body.h.
#include <stdio.h>

#include "trainer/body_private.h"

// Layer j of every task's own bottom; at[] are the vectors that they read and become those that they write.
static void bottoms_add_own(struct trainer_graph *graph, uint32_t tasks, uint32_t j, uint32_t width,
                            uint32_t *at)
{
    for (uint32_t k = 0; k < tasks; k++) {
        char name[TRAINER_TENSOR_NAME_MAX];
        snprintf(name, sizeof name, "task%u.bottom.layer%u", k, j);
        at[k] = trainer_graph_add_layer(graph, at[k], width, name);
    }
}

void body_build_shared_bottom(struct trainer_graph *graph, const struct trainer_network_config *config,
                              uint32_t *heads)
{
    uint32_t room[BODY_CHAIN_MAX], at = 0;
    struct body_chain chain = body_chain_of(config, room);
    for (uint32_t j = 0; j < chain.layers; j++) {
        char name[TRAINER_TENSOR_NAME_MAX];
        snprintf(name, sizeof name, "bottom.layer%u", j);
        at = trainer_graph_add_layer(graph, at, chain.widths[j], name);
        trainer_graph_end_dense(graph);
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        heads[k] = at;
    }
}

// Duong et al., ACL 2015. The penalty alpha * sum of |theta_i - theta_j|^2 over the pairs i < j has the
// gradient 2 alpha T (theta_i - mean theta).
void body_build_soft_l2(struct trainer_graph *graph, const struct trainer_network_config *config,
                        uint32_t *heads)
{
    uint32_t room[BODY_CHAIN_MAX], at[BASE_TASKS_MAX] = {0};
    struct body_chain chain = body_chain_of(config, room);
    for (uint32_t j = 0; j < chain.layers; j++) {
        bottoms_add_own(graph, config->tasks, j, chain.widths[j], at);
        if (config->tasks > 1) { // one is its own mean
            trainer_graph_add_tie(graph, config->tasks, 2.0f * config->soft_l2 * (float)config->tasks);
        }
        trainer_graph_end_dense(graph);
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        heads[k] = at[k];
    }
}

// Misra et al., CVPR 2016: after every layer x_i becomes the sum of alpha_ij x_j.
void body_build_cross_stitch(struct trainer_graph *graph, const struct trainer_network_config *config,
                             uint32_t *heads)
{
    uint32_t room[BODY_CHAIN_MAX], at[BASE_TASKS_MAX] = {0};
    struct body_chain chain = body_chain_of(config, room);
    for (uint32_t j = 0; j < chain.layers; j++) {
        bottoms_add_own(graph, config->tasks, j, chain.widths[j], at);
        trainer_graph_end_dense(graph);
        if (config->tasks > 1) { // one has nothing to be stitched to
            char name[TRAINER_TENSOR_NAME_MAX];
            snprintf(name, sizeof name, "stitch%u", j);
            uint32_t first = trainer_graph_add_stitch(graph, at[0], config->tasks, name);
            for (uint32_t k = 0; k < config->tasks; k++) {
                at[k] = first + k;
            }
        }
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        heads[k] = at[k];
    }
}

// The PLE paper's customized sharing: a shared bottom beside each task's own, no gate.
void body_build_customized(struct trainer_graph *graph, const struct trainer_network_config *config,
                           uint32_t *heads)
{
    uint32_t room[BODY_CHAIN_MAX], shared = 0, at[BASE_TASKS_MAX] = {0};
    struct body_chain chain = body_chain_of(config, room);
    for (uint32_t j = 0; j < chain.layers; j++) {
        char name[TRAINER_TENSOR_NAME_MAX];
        snprintf(name, sizeof name, "shared.bottom.layer%u", j);
        shared = trainer_graph_add_layer(graph, shared, chain.widths[j], name);
        bottoms_add_own(graph, config->tasks, j, chain.widths[j], at);
        trainer_graph_end_dense(graph);
    }
    for (uint32_t k = 0; k < config->tasks; k++) {
        heads[k] = trainer_graph_add_concat(graph, shared, at[k]);
    }
    trainer_graph_end_concat(graph);
}
