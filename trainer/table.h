// The embedding table: rows by 64-bit key, in arenas by dimension. Collision-free: the whole key is compared.
//
// A key without a row (unseen, not yet admitted, expired) reads its slot's out-of-vocabulary row, which is
// trained like any other and lies in a dense slab of its own. An admitted row starts as a copy of it plus
// nothing; a row of a slot with admission 1 starts from N(0, 0.01 / sqrt(dim)) of its key alone (design.md
// section 6, models.md 4). All access is batched: resolve keys to row numbers, gather, scatter.
#ifndef TRAINER_TABLE_H
#define TRAINER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    TRAINER_SLOTS_MAX = 256,
    TRAINER_DIMENSION_MAX = 256, // a multiple of 4
};

// A row's name: its slot's arena and number. Out-of-vocabulary rows have the top bit set and carry the slot.
typedef uint32_t trainer_row;
#define TRAINER_ROW_OOV UINT32_C(0x80000000)

struct trainer_table_slot_config {
    const char *name;
    uint32_t dimension;
    uint32_t admission; // occurrences before a key gets a row (1: at once)
    int64_t expiry_ms;  // event time after its last occurrence at which a row is dropped; 0: never
};

struct trainer_table_config {
    uint32_t slots;
    const struct trainer_table_slot_config *slot; // [slots], copied
    uint64_t seed;
    uint64_t rows_max; // bound on rows of all slots; beyond it keys use the out-of-vocabulary row, counted
    bool training;     // false: a reader's: no admission, keys without a row use the OOV row
};

struct trainer_table;

struct trainer_table *trainer_table_new(const struct trainer_table_config *config, struct base_error *error);
void trainer_table_free(struct trainer_table *table);

// Resolves keys[i] of slot slots[i] to rows[i], admitting rows where the table trains. `now` is the event
// time that expiry counts from. n is any number. Order of calls and of keys within decides admission, nothing
// else does.
void trainer_table_resolve(struct trainer_table *table, const uint64_t *keys, const uint16_t *slots, size_t n,
                           int64_t now, trainer_row *rows);
// As resolve, but changes nothing: for readers (concurrent calls are fine) and for prediction.
void trainer_table_find(const struct trainer_table *table, const uint64_t *keys, const uint16_t *slots,
                        size_t n, trainer_row *rows);
// The row's vector, [dimension of its slot].
float *trainer_table_vector(struct trainer_table *table, uint16_t slot, trainer_row row);
const float *trainer_table_vector_const(const struct trainer_table *table, uint16_t slot, trainer_row row);
void trainer_table_prefetch(const struct trainer_table *table, uint16_t slot, trainer_row row);

// Marks a row as changed (for publication); the optimiser calls it once for each row it moves. Any row.
void trainer_table_touch(struct trainer_table *table, uint16_t slot, trainer_row row);

// Drops rows whose last occurrence is older than their slot's expiry at `now`; each leaves a tombstone for
// the next delta. Looks at no more than `budget` rows a call, round robin; deterministic in the sequence of
// calls.
void trainer_table_expire(struct trainer_table *table, int64_t now, uint64_t budget);

// The out-of-vocabulary rows: one float slab, slot s at trainer_table_oov_offset.
float *trainer_table_oov(struct trainer_table *table, size_t *size);
size_t trainer_table_oov_offset(const struct trainer_table *table, uint16_t slot);

// Reader: sets or adds a row; removes one (absent: no change).
int trainer_table_set(struct trainer_table *table, uint16_t slot, uint64_t key, const float *vector,
                      struct base_error *error);
void trainer_table_remove(struct trainer_table *table, uint16_t slot, uint64_t key);

uint64_t trainer_table_rows(const struct trainer_table *table);
uint64_t trainer_table_bytes(const struct trainer_table *table);
uint64_t trainer_table_refused(const struct trainer_table *table); // keys refused by rows_max
// XXH3 over all rows in an order that depends on content alone (slot, then key), and the OOV slab.
uint64_t trainer_table_hash(const struct trainer_table *table);

#endif
