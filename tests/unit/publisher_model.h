// A small model for the reader's tests: every kind of slot, input and task that a descriptor knows.
#ifndef TESTS_PUBLISHER_MODEL_H
#define TESTS_PUBLISHER_MODEL_H

#include "publisher/publisher.h"
#include "trainer/descriptor.h"

enum {
    MODEL_SLOTS = 4,
    MODEL_DERIVED = 4, // slots of the variant MODEL_FEATURES on top: crosses, positions
    MODEL_TASKS = 4,
    MODEL_BATCH = 64,
    MODEL_COLUMNS_SIZE = 128, // most bytes of an impression's columns
    MODEL_USERS = 300,
    MODEL_ITEMS = 80,
    MODEL_BODIES = 2,
    MODEL_LOSSES = MODEL_BODIES + TRAINER_BODIES, // values, esm2, imputed
    MODEL_FEATURES = MODEL_LOSSES + 3,
    MODEL_VARIANTS,
};

// Borrowed; the same each time. `variant` 1 has another tower, hence another descriptor; MODEL_BODIES + b has
// the body b; MODEL_LOSSES other losses: of values, with a stage in two branches, with an imputed error;
// MODEL_FEATURES further slots, crosses and positions.
const struct trainer_model_config *model_config(int variant);
// The caller frees it.
char *model_descriptor(int variant);

// Impression i of a stream: its columns, [MODEL_COLUMNS_SIZE] bytes of room, 8-byte aligned.
struct base_span model_columns(uint64_t stream, uint64_t i, uint64_t *room);

// Trains on `steps` minibatches; `step` counts on and names the data.
void model_train(struct trainer_model *model, uint64_t *step, int steps);

#endif
