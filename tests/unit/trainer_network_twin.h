// The obvious twin of the dense network and of its losses: one row, in double, straight from the definition
// of PLE (docs/models.md, section 1) and from the tensors' names. It shares nothing with the code under test
// but the table.
#ifndef TESTS_TRAINER_NETWORK_TWIN_H
#define TESTS_TRAINER_NETWORK_TWIN_H

#include "trainer/loss.h"
#include "trainer/network.h"

struct twin {
    const struct trainer_network_config *config;
    const struct trainer_tensor *tensors;
    uint32_t count;
    double *weights; // [size] owned: a copy of the slab
    size_t size;
};

struct twin twin_make(const struct trainer_network_config *config, struct trainer_network *network);
void twin_free(struct twin *twin);
// The tensor's first weight; aborts if there is none of that name and shape.
double *twin_tensor(const struct twin *twin, const char *name, uint32_t rows, uint32_t columns);

// logits [tasks] of one row x [inputs].
void twin_forward(const struct twin *twin, const double *x, double *logits);

// The loss of a sample whose every product loss counts, from probabilities in long double; all tasks are
// stages.
double twin_loss(const struct trainer_loss_config *config, const double *logits,
                 const struct base_sample *sample);

#endif
