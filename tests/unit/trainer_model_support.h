// A small model and a stream of samples for it, shared by the tests of model, snapshot and descriptor.
#ifndef TRAINER_MODEL_SUPPORT_H
#define TRAINER_MODEL_SUPPORT_H

#include "base/minibatch.h"
#include "trainer/model.h"

enum {
    MODEL_SLOTS = 3,         // user (4), items (8, mean, many keys), rare (4, never admitted)
    MODEL_TASKS = 3,         // click, purchase; favourite beside
    MODEL_BATCH = 8,         // configured batch
    MODEL_WIDTH = 32,        // of x: 4 + 8 + 4 + 1 numeric
    MODEL_KEYS_MAX = 6,      // of a column
    MODEL_COLUMNS_MAX = 256, // bytes of an impression's columns
};

// The configuration, in storage that lives as long as the program; a call overwrites the last one.
struct trainer_model_config *model_config_make(uint32_t workers);
struct trainer_model *model_make(const struct trainer_model_config *config, bool training);

// Sample `number` of the stream `seed`: columns (users and items follow hidden preferences), kind, labels,
// masks.
struct model_sample {
    struct base_sample sample;
    uint64_t bytes[MODEL_COLUMNS_MAX / 8];
    uint64_t user, rare, items[MODEL_KEYS_MAX];
    uint32_t item_count;
    double number;
};
void model_sample_make(struct model_sample *made, uint64_t seed, uint64_t number);

// A minibatch of samples first .. first + n - 1 of the stream; the caller frees.
struct base_minibatch *model_minibatch(uint64_t seed, uint64_t first, uint32_t n);
// Trains on `steps` full minibatches of the stream, from sample `first` on; a tick after each.
void model_train(struct trainer_model *model, uint64_t seed, uint64_t first, uint32_t steps);

// A reader's model that has loaded the snapshot (full ones: `reader` NULL makes it).
struct trainer_model *model_load(struct trainer_model *reader, const struct trainer_model_config *config,
                                 const struct trainer_snapshot *snapshot);

#endif
