// The table's inside, shared by table.c (rows) and changes.c (what a publication needs of them).
#ifndef TRAINER_TABLE_PRIVATE_H
#define TRAINER_TABLE_PRIVATE_H

#include "trainer/candidates.h"
#include "trainer/rowindex.h"
#include "trainer/table.h"

enum {
    // Expiry: a slot's deadlines fall into 256 buckets an expiry, kept in a ring of twice as many chains.
    TABLE_EXPIRY_BUCKETS = 256,
    TABLE_EXPIRY_RING = 512,
    TABLE_ARENAS_MAX = TRAINER_DIMENSION_MAX / 4,
};

// A list of numbers that grows by doubling.
struct table_list {
    uint64_t *items;
    size_t count, capacity;
};

struct table_slot {
    struct trainer_arena *arena;
    struct trainer_rowindex index;
    struct trainer_candidates candidates; // only where admission > 1
    uint32_t dimension;
    uint32_t admission;
    int64_t expiry;
    int64_t granule;           // ms of an expiry bucket
    int64_t expired;           // the last bucket that was emptied
    uint32_t *ring;            // [TABLE_EXPIRY_RING] heads of chains of rows by bucket; only where expiry > 0
    size_t oov;                // offset of its row in the OOV slab
    struct table_list changed; // rows; may name rows that were freed and used again since
    struct table_list tombstones;                // keys; may name keys that have a row again, and one twice
    struct table_list flying, flying_tombstones; // keys of the snapshot in flight
};

struct trainer_table {
    uint32_t slots;
    struct table_slot *slot; // [slots]
    uint32_t arenas;
    struct trainer_arena arena[TABLE_ARENAS_MAX];
    float *oov;
    size_t oov_size;
    uint64_t row_key; // of the random numbers of new rows
    uint64_t rows, rows_max;
    uint64_t refused;
    int64_t now; // the largest seen
    bool training;
    // Changes are listed only while there is something published, or in flight, that a delta can build on.
    bool tracking;
    bool in_flight;
    bool tracking_before; // the snapshot in flight was taken
};

// Marks a row that is not marked yet.
void table_changed(struct trainer_table *table, struct table_slot *slot, uint32_t row);
// A row of `key` has just been dropped.
void table_removed(struct trainer_table *table, struct table_slot *slot, uint64_t key);
void table_list_free(struct table_list *list);

static inline uint32_t table_slot_find(const struct table_slot *slot, uint64_t key)
{
    return trainer_rowindex_find(&slot->index, slot->arena, trainer_rowindex_hash(key), key);
}

#endif
