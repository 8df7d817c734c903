// From a configuration to the plan of a network: the body that it names (docs/models.md, section 1), then the
// towers. Each builder calls what graph.h offers and hands back the vector that every task's tower reads.
//
// All bodies take the same configuration, so that a user changes the body alone. `levels` is read in full by
// ple and ml_mmoe. The others have one chain of layers, the widths of all levels one after another: it is
// their bottom (shared_bottom, soft_l2, cross_stitch, customized) or each of their experts (moe, mmoe, cgc),
// in the numbers of the first level. moe, mmoe and ml_mmoe have per_task * tasks + shared experts, all alike.
//
// Tensors, in the order of the layers that they belong to; <chain> stands for layer<j>.{weight,bias}:
//   shared_bottom  bottom.<chain>
//   soft_l2        task<k>.bottom.<chain>
//   cross_stitch   task<k>.bottom.<chain>, after each layer stitch<j>.weight [tasks x tasks], if tasks > 1
//   customized     shared.bottom.<chain>, task<k>.bottom.<chain>
//   moe            level0.expert<e>.<chain>, level0.gate.weight [inputs x experts]
//   mmoe           level0.expert<e>.<chain>, level0.task<k>.gate.weight
//   ml_mmoe        level<l>.expert<e>.<chain>; level<l>.gate<e>.weight for expert e of the level above, in
//   the
//                  last level level<l>.task<k>.gate.weight. All gates read x and stand behind the first
//                  layers
//   cgc            as ple with one level
//   ple            level<l>.task<k>.expert<e>.<chain>, level<l>.shared.expert<e>.<chain>;
//                  level<l>.task<k>.gate.weight, level<l>.shared.gate.weight (not in the last level)
// then task<k>.tower.<chain>; for every task task<k>.tower.output.{weight,bias}, then
// task<k>.tower.output<j>.{weight,bias} of its further outputs j.
#ifndef TRAINER_BODY_H
#define TRAINER_BODY_H

#include "trainer/graph.h"

// The names in configurations and descriptors, by enum trainer_body; NULL after the last.
extern const char *const trainer_body_names[];

// Whether the body has experts in the numbers of level l, so that these may not both be 0.
bool trainer_body_reads_experts(enum trainer_body body, uint32_t l);

// NULL: BASE_EINVAL names the setting.
struct trainer_graph *trainer_body_new(const struct trainer_network_config *config, struct base_error *error);

#endif
