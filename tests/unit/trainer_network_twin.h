// The obvious twin of the dense network and of its losses: one row, in double, straight from the definition
// of the bodies (docs/models.md, section 1) and from the tensors' names. It shares nothing with the code
// under test but the table.
#ifndef TESTS_TRAINER_NETWORK_TWIN_H
#define TESTS_TRAINER_NETWORK_TWIN_H

#include "trainer/loss.h"
#include "trainer/network.h"

enum { TWIN_WIDTH_MAX = 512, TWIN_EXPERTS_MAX = 64 };

// Known mistakes of other implementations, for tests that must tell them from ours.
enum twin_mistake {
    TWIN_RIGHT,
    TWIN_SHARED_GATE_SEES_SHARED_ONLY, // FuxiCTR's PLE
    TWIN_EXPERT_AT_TASK_NUM,           // PaddleRec's PLE: own expert j of task i is i * tasks + j of all
    TWIN_SHARED_AS_MANY_AS_OWN,        // DeepCTR-Torch's PLE
    TWIN_ONE_OUTPUT_BIAS,              // DeepCTR-Torch's ESMM: task 0's output bias for all
    TWIN_GATES_READ_H,                 // ML-MMoE whose gates read the mixture that goes to their own expert
};

struct twin {
    const struct trainer_network_config *config;
    const struct trainer_tensor *tensors;
    uint32_t count;
    double *weights; // [size] owned: a copy of the slab
    size_t size;
    enum twin_mistake mistake; // TWIN_RIGHT unless a test says otherwise
};

struct twin twin_make(const struct trainer_network_config *config, struct trainer_network *network);
void twin_free(struct twin *twin);
// The tensor's first weight; aborts if there is none of that name and shape.
double *twin_tensor(const struct twin *twin, const char *name, uint32_t rows, uint32_t columns);

// y = x W + b by the tensors "<prefix>.weight" and, if `bias`, "<prefix>.bias".
void twin_dense(const struct twin *twin, const char *prefix, bool bias, const double *x, uint32_t inputs,
                uint32_t outputs, bool relu, double *y);
// h = softmax(read W) . experts[count], [width], by the tensor "<prefix>.weight" [inputs x columns], whose
// columns from `first` on count.
void twin_mix(const struct twin *twin, const char *prefix, const double *read, uint32_t inputs,
              uint32_t columns, uint32_t first, const double *const *experts, uint32_t count, uint32_t width,
              double *h);
// What each task's tower reads, by a body other than ple and cgc; returns its width.
uint32_t twin_body(const struct twin *twin, const double *x, double (*h)[TWIN_WIDTH_MAX]);

// soft_l2's penalty: alpha times the sum over pairs of tasks of the squared distance of their bottoms.
double twin_penalty(const struct twin *twin);

// logits [trainer_network_logits] of one row x [inputs].
void twin_forward(const struct twin *twin, const double *x, double *logits);

// The loss of a sample whose every product loss counts, from probabilities in long double; all tasks are
// stages.
double twin_loss(const struct trainer_loss_config *config, const double *logits,
                 const struct base_sample *sample);

#endif
