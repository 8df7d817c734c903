// The embedding table: rows by 64-bit key, in arenas by dimension. Collision-free: the whole key is compared.
//
// A key without a row (unseen, not yet admitted, expired) reads its slot's out-of-vocabulary row, which is
// trained like any other and lies in a dense slab of its own. An admitted row starts as a copy of it plus
// nothing; a row of a slot with admission 1 starts from mean 0 and standard deviation 0.01 / sqrt(dim), drawn
// from its key and the seed alone (design.md section 6, models.md 4). All access is batched: resolve keys to
// row numbers, gather, scatter.
//
// Thread: one writes (the trainer's); trainer_table_find and _vector_const may run anywhere while nobody
// writes.
#ifndef TRAINER_TABLE_H
#define TRAINER_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "trainer/optimiser.h"

enum {
    TRAINER_SLOTS_MAX = 256,
    TRAINER_DIMENSION_MAX = 256, // a multiple of 4
    TRAINER_ROWS_MAX = 0x7ffffffe,
    // Most keys of a slot that are counted at once towards admission. A slot counts rows_max / slots of them,
    // rounded up to a power of two, at least 1024 and at most this.
    TRAINER_CANDIDATES_MAX = 1 << 20,
    // Most tombstones of a slot that wait for a publication; beyond it the next snapshot is full.
    TRAINER_TOMBSTONES_MAX = 1 << 22,
};

// A row's name: its slot's arena and number. Out-of-vocabulary rows have the top bit set and carry the slot.
typedef uint32_t trainer_row;
#define TRAINER_ROW_OOV UINT32_C(0x80000000)

struct trainer_table_slot_config {
    const char *name;
    uint32_t dimension;
    uint32_t admission; // occurrences before a key gets a row (1: at once)
    int64_t
        expiry_ms; // event time after its last occurrence at which a row is dropped; 0: never, at most 2^53
};

struct trainer_table_config {
    uint32_t slots;
    const struct trainer_table_slot_config *slot; // [slots], copied
    uint64_t seed;
    uint64_t rows_max; // bound on rows of all slots; beyond it keys use the out-of-vocabulary row, counted
    bool training;     // false: a reader's: no admission, keys without a row use the OOV row
    const struct trainer_optimiser_config *optimiser; // [slots], copied; NULL: plain SGD. A reader has none
};

struct trainer_table;
struct trainer_snapshot_rows; // trainer/snapshot.h

// Errors: BASE_EINVAL names the slot and the setting. Slots have distinct names; there may be none.
struct trainer_table *trainer_table_new(const struct trainer_table_config *config, struct base_error *error);
void trainer_table_free(struct trainer_table *table);
// The slot's rows, the out-of-vocabulary row among them, start at zero and not at random numbers. Before the
// first key.
void trainer_table_start_zero(struct trainer_table *table, uint16_t slot);

// Resolves keys[i] of slot slots[i] to rows[i], admitting rows where the table trains. `now` is the event
// time that expiry counts from; a value below an earlier one counts as that one. n is any number. Order of
// calls and of keys within decides admission, nothing else does.
//
// Admission counts occurrences of keys without a row in buckets of 8 by hash; a key that finds its bucket
// full takes the place of the one with the fewest occurrences, of equals the one seen longest ago, of equals
// the least key. A count not renewed for the slot's expiry starts again. The bits of all this follow from the
// sequence of calls alone.
void trainer_table_resolve(struct trainer_table *table, const uint64_t *keys, const uint16_t *slots, size_t n,
                           int64_t now, trainer_row *rows);
// The same in three steps, for several threads. Advance takes `now`. Known does the occurrences whose key has
// a row that no cut in progress needs, and leaves TRAINER_ROW_NONE for the others; it may run at the same
// time for occurrences of different slots. Rest, by one thread, does those others in order. The outcome is
// that of resolve with all occurrences at once.
void trainer_table_advance(struct trainer_table *table, int64_t now);
void trainer_table_resolve_known(struct trainer_table *table, const uint64_t *keys, const uint16_t *slots,
                                 size_t n, trainer_row *rows);
void trainer_table_resolve_rest(struct trainer_table *table, const uint64_t *keys, const uint16_t *slots,
                                size_t n, trainer_row *rows);
// As resolve, but changes nothing: for readers (concurrent calls are fine) and for prediction.
void trainer_table_find(const struct trainer_table *table, const uint64_t *keys, const uint16_t *slots,
                        size_t n, trainer_row *rows);
// The row's vector, [dimension of its slot]. Who writes it has resolved the row since the last cut began,
// which is how a cut knows of it (cut.h).
float *trainer_table_vector(struct trainer_table *table, uint16_t slot, trainer_row row);
const float *trainer_table_vector_const(const struct trainer_table *table, uint16_t slot, trainer_row row);
// The optimiser's state of the row, beside its vector: [trainer_optimiser_words], NULL if that is 0. New
// rows' is that of trainer_optimiser_start_row. As vector, who writes it has resolved the row.
float *trainer_table_state(struct trainer_table *table, uint16_t slot, trainer_row row);
// Floats of state of a row of the slot.
uint32_t trainer_table_words(const struct trainer_table *table, uint16_t slot);
// Brings a row that will be written into the cache: its vector, its state and what touching it needs.
void trainer_table_prefetch(const struct trainer_table *table, uint16_t slot, trainer_row row);

// Marks a row as changed (for publication); the optimiser calls it once for each row it moves. Any row;
// nothing to do for the out-of-vocabulary row, which is published whole. Rows of different slots may be
// touched by different threads at once.
void trainer_table_touch(struct trainer_table *table, uint16_t slot, trainer_row row);

// Drops rows whose last occurrence is older than their slot's expiry at `now`; each leaves a tombstone for
// the next delta. Precisely: with g = max(1, ceil(expiry / 256)) ms, a row goes at the first call with now >=
// (floor((last seen + expiry) / g) + 1) * g, that is never early and late by at most g: a rule on content
// alone, so that a table restored from a cut drops the same rows at the same ticks. A call looks only at the
// rows that fell due since the last one; a row is looked at about once per expiry.
void trainer_table_expire(struct trainer_table *table, int64_t now);

// Copies changed rows and tombstones of every slot into rows [slots], whose arrays the caller frees
// (trainer_snapshot_free does). `full`: all rows. What is changed counts from here on as in flight until
// trainer_table_settle; at most one snapshot is. Returns whether all rows were copied: also if a delta was
// asked but there is nothing published to build it on, or more tombstones piled up than are kept. Rows of a
// delta come in the order in which they changed first, tombstones by key; no key is in both. O(changed)
// unless full.
bool trainer_table_snapshot(struct trainer_table *table, bool full, struct trainer_snapshot_rows *rows);
// The snapshot in flight was published: forget it; or not: what it held counts as changed again.
void trainer_table_settle(struct trainer_table *table, bool published);

// The out-of-vocabulary rows: one float slab, slot s at trainer_table_oov_offset.
float *trainer_table_oov(struct trainer_table *table, size_t *size);
size_t trainer_table_oov_offset(const struct trainer_table *table, uint16_t slot);

// Reader: sets or adds a row (BASE_ELIMIT: rows_max reached); removes one (absent: no change).
int trainer_table_set(struct trainer_table *table, uint16_t slot, uint64_t key, const float *vector,
                      struct base_error *error);
void trainer_table_remove(struct trainer_table *table, uint16_t slot, uint64_t key);

uint64_t trainer_table_rows(const struct trainer_table *table);
uint64_t trainer_table_slot_rows(const struct trainer_table *table, uint16_t slot);
uint64_t trainer_table_bytes(const struct trainer_table *table);
uint64_t trainer_table_refused(const struct trainer_table *table); // keys refused by rows_max
// Depends on content alone: the sum over all rows, modulo 2^64, of XXH3(slot, key, vector), and XXH3 of the
// OOV slab.
uint64_t trainer_table_hash(const struct trainer_table *table);

#endif
