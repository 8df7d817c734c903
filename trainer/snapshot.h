// A snapshot: what a publication needs of the model, copied at the end of a tick while the trainer stands
// still. Made by trainer_model_snapshot, given to the publisher, handed back through trainer_model_settle.
#ifndef TRAINER_SNAPSHOT_H
#define TRAINER_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "trainer/network.h"
#include "trainer/table.h"

// Rows of one slot.
struct trainer_snapshot_rows {
    uint32_t dimension;
    size_t count;
    uint64_t *keys; // [count]
    float *vectors; // [count x dimension]
    size_t removed;
    uint64_t *tombstones; // [removed] keys of rows dropped since the last settled snapshot
};

struct trainer_snapshot {
    int64_t tick;      // state after this tick
    uint64_t examples; // trained so far
    bool full;         // all rows (a base) or those changed since the last settled snapshot (a delta)
    uint32_t slots;
    struct trainer_snapshot_rows *rows; // [slots]
    // Dense tensors: the network's, then one "oov.<slot>" a slot. Offsets into `dense`.
    uint32_t tensors;
    struct trainer_tensor *tensor; // [tensors]
    float *dense;                  // [dense_size]
    size_t dense_size;
    uint64_t rows_total; // rows of the whole table at this moment
};

void trainer_snapshot_free(struct trainer_snapshot *snapshot);

#endif
