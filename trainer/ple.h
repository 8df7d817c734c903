// PLE (Tang et al., RecSys 2020), the body: from a configuration to the plan of docs/models.md, section 1.
//
// Level 0 reads x everywhere. Above, the own experts and the gate of task k read h_k of the level below; the
// shared experts and the shared gate read h_s. A task's gate weighs its own experts, then the shared ones;
// the shared gate weighs all experts of its level: task 0's, task 1's, ..., the shared. The last level has no
// shared gate. One level is CGC; one without own experts is MMoE.
//
// Tensors, in this order: level<l>.task<k>.expert<e>.layer<j>.{weight,bias} and
// level<l>.shared.expert<e>.layer<j>..., layer by layer; level<l>.task<k>.gate.weight,
// level<l>.shared.gate.weight; task<k>.tower.layer<j>.{weight,bias}; for every task
// task<k>.tower.output.{weight,bias}, then task<k>.tower.output<j>.{weight,bias} of its further outputs j.
#ifndef TRAINER_PLE_H
#define TRAINER_PLE_H

#include "trainer/graph.h"

// NULL: BASE_EINVAL names the setting.
struct trainer_graph *trainer_ple_new(const struct trainer_network_config *config, struct base_error *error);

#endif
