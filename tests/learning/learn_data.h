// A dataset of the learning tests: a file of arrays, mapped, and its rows as samples.
//
// The file, in host byte order; tests/learning/data.py writes it:
//   "freshet learn 1\n", uint32 samples, slots, numerics, tasks
//   uint64 id[samples][slots]           all bits set: the slot has no value
//   double number[samples][numerics]    NaN: missing
//   float  weight[samples][tasks], value[samples][tasks]
//   uint8  label[samples][tasks], mask[samples][tasks]
//
// Categorical column s of a sample holds the key that slot s of the configuration makes of the id taken as an
// integer; bucketised slots read numeric columns, as everywhere (daemon/config_build.c).
#ifndef LEARN_DATA_H
#define LEARN_DATA_H

#include "base/minibatch.h"
#include "trainer/features.h"

#define LEARN_NO_ID UINT64_MAX

struct learn_data {
    uint32_t samples, slots, numerics, tasks;
    const uint64_t *ids;           // [samples x slots]
    const double *numbers;         // [samples x numerics]
    const float *weights, *values; // [samples x tasks]
    const uint8_t *labels, *masks; // [samples x tasks]
    void *map;
    size_t size;
    uint64_t salts[TRAINER_SLOTS_MAX]; // of the categorical columns
    uint64_t *row;                     // bytes of one sample's columns
};

// Maps the file. The configuration must have as many categorical columns, numeric columns and tasks; every
// sample needs a task whose mask is set. Free with learn_data_close, also after a failure. Errors: BASE_EIO,
// BASE_EFORMAT.
int learn_data_open(struct learn_data *data, const char *path, const struct trainer_features_config *features,
                    uint32_t tasks, struct base_error *error);
void learn_data_close(struct learn_data *data);

// The columns of sample `number`, valid until the next call of this or of learn_data_sample.
struct base_span learn_data_columns(struct learn_data *data, uint32_t number);
// The sample whole; its columns as above.
void learn_data_sample(struct learn_data *data, uint32_t number, struct base_sample *sample);
// Samples [begin, begin + count) into the minibatch, which has room.
void learn_data_minibatch(struct learn_data *data, uint32_t begin, uint32_t count,
                          struct base_minibatch *minibatch);

// 1 + the greatest id of a categorical column; 0: none has one.
uint64_t learn_data_ids(const struct learn_data *data, uint32_t column);
uint64_t learn_data_key(const struct learn_data *data, uint32_t column, uint64_t id);

#endif
