// The table's inside, shared by table.c (rows), changes.c (what a publication needs of them), marks.c (what a
// cut needs of them) and restore_rows.c.
#ifndef TRAINER_TABLE_PRIVATE_H
#define TRAINER_TABLE_PRIVATE_H

#include "trainer/candidates.h"
#include "trainer/rowindex.h"
#include "trainer/table.h"

enum {
    // Expiry: a slot's deadlines fall into 256 buckets an expiry, kept in a ring of twice as many chains.
    TABLE_EXPIRY_BUCKETS = 256,
    TABLE_EXPIRY_RING = 512,
    TABLE_ARENAS_MAX = TRAINER_SLOTS_MAX, // one for each dimension and size of state
};
_Static_assert(TRAINER_SLOTS_MAX <= UINT8_MAX + 1, "trainer_meta.slot holds a slot's number");
_Static_assert(sizeof(struct trainer_meta) == 32, "two of them a cache line");

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
    struct trainer_optimiser_config optimiser;
    uint32_t words; // of its state a row; 0 of a reader's
    bool zero;      // new rows are zero
    uint32_t admission;
    int64_t expiry;
    int64_t granule;           // ms of an expiry bucket
    int64_t expired;           // the last bucket that was emptied
    uint32_t *ring;            // [TABLE_EXPIRY_RING] heads of chains of rows by bucket; only where expiry > 0
    size_t oov;                // offset of its row in the OOV slab
    size_t oov_state;          // and of that one's state
    struct table_list changed; // rows; may name rows that were freed and used again since
    struct table_list tombstones;                // keys; may name keys that have a row again, and one twice
    struct table_list flying, flying_tombstones; // keys of the snapshot in flight
    struct table_list dropped;                   // keys of rows that went since the last cut began
};

// Where the copying of a cut has come to.
struct table_walk {
    uint32_t arena, chunk;
    size_t word;
    uint32_t slot, bucket; // of candidates, after the rows
};

struct trainer_table {
    uint32_t slots;
    struct table_slot *slot; // [slots]
    uint32_t arenas;
    struct trainer_arena arena[TABLE_ARENAS_MAX];
    float *oov, *oov_state;
    size_t oov_size, oov_state_size;
    uint64_t row_key; // of the random numbers of new rows
    uint64_t rows, rows_max;
    uint64_t refused;
    int64_t now; // the largest seen
    bool training;
    // For cuts (marks.c):
    uint8_t generation; // what a row is marked with: 1 or 2; any other mark but 0 is of the cut in progress
    bool durable;       // there is a cut, from which dropped keys have to go
    struct trainer_cut *cut; // in progress, or NULL; the model's
    struct table_walk walk;
    uint64_t dirty_bytes; // marked in this generation, about
    // For publications (changes.c). Changes are listed only while there is something published, or in flight,
    // that a delta can build on.
    bool tracking;
    bool in_flight;
    bool tracking_before; // the snapshot in flight was taken
    bool undecided;       // restored, and nobody said yet which snapshot readers have
    // Snapshots by number, 0: none. A row's stamp is the number that was the last taken when it changed.
    uint32_t snapshots; // taken so far
    uint32_t settled;   // the last one that was published, while `tracking` builds on it
    uint32_t flying;    // in flight, or in flight when what was restored was saved
};

// Marks a row that is not marked yet.
void table_changed(struct trainer_table *table, struct table_slot *slot, uint32_t row);
// A row of `key` has just been dropped.
void table_removed(struct trainer_table *table, struct table_slot *slot, uint64_t key);
void table_list_free(struct table_list *list);
void table_list_push(struct table_list *list, uint64_t item);

// What readers have (trainer_model_head): the present state, the settled snapshot, that in flight, or
// neither.
enum table_head { TABLE_HEAD_PRESENT, TABLE_HEAD_SETTLED, TABLE_HEAD_FLYING, TABLE_HEAD_NONE };
void table_head(struct trainer_table *table, enum table_head head);
// A delta can be built on the settled snapshot.
bool table_has_base(const struct trainer_table *table);
// Lists a restored row as changed if its stamp says so.
void table_restore_changed(struct trainer_table *table, struct table_slot *slot, uint32_t row);

// marks.c. A row (a bucket of candidates) of another mark than the generation's is about to change or is new:
// what the cut in progress still needs of it is copied, and it is marked.
void table_mark(struct trainer_table *table, struct table_slot *slot, uint32_t row);
void table_mark_bucket(struct trainer_table *table, struct table_slot *slot, uint32_t bucket);
// A row is about to be dropped.
void table_mark_dropped(struct trainer_table *table, struct table_slot *slot, uint32_t row);
// See trainer/cut.h. Begin fills in what `cut` says of slots, rows and publication.
void table_cut_begin(struct trainer_table *table, struct trainer_cut *cut);
bool table_cut_copy(struct trainer_table *table, size_t rows);

// The number of the expiry bucket of a time: floor(time / granule).
static inline int64_t table_slot_bucket(const struct table_slot *slot, int64_t time)
{
    return time / slot->granule - (time % slot->granule < 0);
}

// Puts a row into the chain of its deadline.
static inline void table_slot_chain(struct table_slot *slot, uint32_t row)
{
    struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
    uint64_t bucket = (uint64_t)table_slot_bucket(slot, meta->last_seen + slot->expiry);
    uint32_t *head = &slot->ring[bucket % TABLE_EXPIRY_RING];
    meta->next = *head;
    *head = row;
}

static inline uint32_t table_slot_find(const struct table_slot *slot, uint64_t key)
{
    return trainer_rowindex_find(&slot->index, slot->arena, trainer_rowindex_hash(key), key);
}

#endif
