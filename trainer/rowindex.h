// The index of one slot: 64-bit key -> row, by open addressing with linear probing.
//
// An entry is 8 bytes: the upper half of the key's hash and the row + 1; the key itself is compared in the
// row's meta. The upper half also gives the entry's home for every size, so that growth and deletion never
// look at the rows: growing walks old and new entries in order. Most of its cost is the system's, which
// clears the new pages: from 0.8 M rows on it took 41 ms on a virtual machine (fresh memory there costs 1.6
// ns a byte), so that a slot of 12 M rows would stand still for some 0.6 s, once on its way to 25 M. Deletion
// shifts back, so there are no tombstones.
#ifndef TRAINER_ROWINDEX_H
#define TRAINER_ROWINDEX_H

#include "trainer/arena.h"

struct trainer_rowindex {
    uint64_t *entries; // [1 << bits]; 0: empty
    uint32_t bits;
    uint64_t used;
};

// MurmurHash3's finaliser: a bijection, so that equal hashes mean equal keys.
static inline uint64_t trainer_rowindex_hash(uint64_t key)
{
    key = (key ^ (key >> 33)) * 0xff51afd7ed558ccdu;
    key = (key ^ (key >> 33)) * 0xc4ceb9fe1a85ec53u;
    return key ^ (key >> 33);
}

static inline uint64_t trainer_rowindex_home(const struct trainer_rowindex *index, uint64_t hash)
{
    return hash >> (64 - index->bits);
}

// The row of `key`, or TRAINER_ROW_NONE.
static inline uint32_t trainer_rowindex_find(const struct trainer_rowindex *index,
                                             const struct trainer_arena *arena, uint64_t hash, uint64_t key)
{
    uint64_t mask = (UINT64_C(1) << index->bits) - 1;
    for (uint64_t i = trainer_rowindex_home(index, hash);; i = (i + 1) & mask) {
        uint64_t entry = index->entries[i];
        if (entry == 0) {
            return TRAINER_ROW_NONE;
        }
        uint32_t row = (uint32_t)entry - 1;
        if (entry >> 32 == hash >> 32 && trainer_arena_meta(arena, row)->key == key) {
            return row;
        }
    }
}

// The row that the key probably has, without a look at the rows: for prefetching.
static inline uint32_t trainer_rowindex_guess(const struct trainer_rowindex *index, uint64_t hash)
{
    uint64_t mask = (UINT64_C(1) << index->bits) - 1;
    for (uint64_t i = trainer_rowindex_home(index, hash);; i = (i + 1) & mask) {
        uint64_t entry = index->entries[i];
        if (entry == 0 || entry >> 32 == hash >> 32) {
            return (uint32_t)entry - 1;
        }
    }
}

void trainer_rowindex_init(struct trainer_rowindex *index);
void trainer_rowindex_free(struct trainer_rowindex *index); // its contents; takes a zeroed one
// Makes room for `count` rows, so that their insertion does not grow it. It must be empty.
void trainer_rowindex_reserve(struct trainer_rowindex *index, uint64_t count);
// The key must not be there. Grows at three quarters.
void trainer_rowindex_insert(struct trainer_rowindex *index, uint64_t hash, uint32_t row);
// The row must be there.
void trainer_rowindex_remove(struct trainer_rowindex *index, uint64_t hash, uint32_t row);

#endif
