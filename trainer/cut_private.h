// The inside of a cut between the trainer that fills it and the thread that writes it.
#ifndef TRAINER_CUT_PRIVATE_H
#define TRAINER_CUT_PRIVATE_H

#include "trainer/cut.h"
#include "trainer/table_private.h"

enum { CUT_CHUNK = 1 << 20 }; // bytes of memory that a cut grows by

struct cut_chunk {
    struct cut_chunk *next;
    size_t used;
    uint8_t data[CUT_CHUNK];
};

// Records of any size in chunks, 8-byte aligned.
struct cut_records {
    struct cut_chunk *first, *last;
    uint64_t count;
};

// A row as it is copied: its meta, then its vector and state.
// A bucket as it is copied:
struct cut_bucket {
    uint32_t slot, number;
    struct trainer_candidate entries[TRAINER_CANDIDATES_WAYS];
};

struct cut_slot {
    uint32_t dimension, words;
    int64_t expiry;
    uint64_t rows;
    int64_t expired;
    uint32_t buckets;
    struct table_list dropped;                       // taken over
    struct table_list tombstones, flying_tombstones; // copied
};

struct trainer_cut {
    bool complete;
    uint32_t slots;
    struct cut_slot *slot;    // [slots]
    uint32_t *number, *order; // [slots] a slot's number in the cut; the slot of a number
    struct base_buffer shape; // growth_shape_save's
    struct base_buffer stale; // trainer_model.stale, taken over
    struct cut_records rows, buckets;
    uint64_t forced;
    uint64_t examples, refused;
    int64_t now;
    // The dense tensors, and each slot's name.
    uint32_t tensors;
    struct trainer_tensor *tensor;         // [tensors]
    char (*name)[TRAINER_TENSOR_NAME_MAX]; // [slots]
    float *dense;                          // [dense_size]
    size_t dense_size;
    // Their optimisers, if one is not plain SGD:
    struct trainer_update_figures update;
    uint32_t version; // of the section
    uint32_t learned; // tensors of the network, slots' rows, log variances if they have state; 0: stateless
    struct trainer_optimiser_config *optimiser; // [learned]
    size_t *state_floats;                       // [learned]
    float *state;                               // [state_size], of all tensors, one after the other
    size_t state_size;
    // Publication:
    uint8_t base; // CUT_BASE_...
    uint32_t snapshots, settled, flying;
    int64_t settled_tick, flying_tick;
};

// Room for a record of `size` bytes, to be filled at once.
static inline size_t cut_records_size(size_t size)
{
    return (size + 7) / 8 * 8;
}
void *cut_records_add(struct cut_records *records, size_t size);

#endif
