// A dense network with its buffers and random inputs, shared by the tests of bodies and network.
#ifndef TRAINER_RIG_SUPPORT_H
#define TRAINER_RIG_SUPPORT_H

#include "trainer/network.h"

// Normal numbers of a name; the caller frees.
float *random_floats(size_t count, const char *name);
// Skips a test that rests on rows that do not depend on the others, where that is not promised.
void need_stable_rows(void);

struct rig {
    struct trainer_network_config config;
    struct trainer_workers *workers;
    struct trainer_network *network;
    uint32_t width;                              // logits
    float *x, *dx, *logits, *dlogits, *gradient; // [batch x ..], [size]; x and dlogits are random
};
struct rig rig_make(const struct trainer_network_config *config, uint32_t workers);
void rig_free(struct rig *rig);
// Biases start at zero and a stitch regular; where they shall matter, this moves them.
void rig_stir(struct rig *rig);
// Forward and backward of the first n rows, with the dlogits that are there.
void rig_backward(struct rig *rig, uint32_t n);
// Row r of x.
void rig_row(const struct rig *rig, uint32_t r, double *row);

#endif
