// The builders of bodies, each in a file of its own kind. They add the body to a plan that has vector 0, x,
// and write to heads[tasks] the vector that each task's tower reads.
#ifndef TRAINER_BODY_PRIVATE_H
#define TRAINER_BODY_PRIVATE_H

#include "trainer/graph.h"

enum { BODY_CHAIN_MAX = TRAINER_LEVELS_MAX * TRAINER_LAYERS_MAX };

// Layers of one expert or bottom.
struct body_chain {
    const uint32_t *widths;
    uint32_t layers;
};

// The widths of all levels one after another; the room is the caller's.
struct body_chain body_chain_of(const struct trainer_network_config *config, uint32_t room[BODY_CHAIN_MAX]);

typedef void body_build(struct trainer_graph *graph, const struct trainer_network_config *config,
                        uint32_t *heads);

body_build body_build_shared_bottom; // bottoms.c
body_build body_build_soft_l2;
body_build body_build_cross_stitch;
body_build body_build_customized;
body_build body_build_mmoe; // mmoe.c: moe, mmoe, ml_mmoe
body_build body_build_ple;  // ple.c: cgc, ple

#endif
