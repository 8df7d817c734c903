// The cut's keys and values in the map, versions 1 to 3. Keys sort by bytes, so numbers in them are
// big-endian; numbers in values are little-endian; floats are IEEE 754, little-endian.
//
//   'r' slot(u16) key(u64)         a row: vector (float x dimension), optimiser state (its size is in 'm'),
//                                  last seen (i64, ms), count (u32), stamp (u32), checksum (u32)
//   'a' slot(u16) bucket(u32)      1..8 keys that are counted towards admission, ascending by key: each key
//                                  (u64), last seen (i64), count (u64); then checksum (u32)
//   'd' tensor(u32) piece(u32)     CUT_PIECE floats of a tensor, or what is left of it; checksum (u32)
//   'o' tensor(u32) piece(u32)     as 'd', of the tensor's optimiser state; of tensors that have some
//   'x'                            a section "FRSHSHAP" (growth.h): what the model reads, in the order of x,
//        and what it learns. u32 parts; a part: u8 growth_kind, u32 width, name (span); u32 tasks; their
//        names (spans). Cuts of earlier programs lack it: their model cannot grow
//   'm'                            a section "FRSHMODL" (base/section.h):
//        u64 examples, i64 largest event time seen, u64 refused keys
//        u32 slots; a slot: name (span), u32 dimension, u32 bytes of optimiser state a row, i64 expiry,
//            u64 rows, i64 last expiry bucket emptied, u32 buckets of keys counted towards admission
//        u32 tensors; a tensor: name (span), u32 rows, u32 columns
//        publication: u8 state (CUT_...), u32 snapshots taken, u32 and i64: number and tick of the settled
//            one, u32 and i64 of the one in flight (number 0: none); a slot: u64 n, n tombstones (u64) since
//            the one in flight or, without it, since the settled one; u64 n, n tombstones in flight
//
// Version 2 is written where something is not plain SGD or gradients are clipped; its 'm' has before the
// publication:
//        u64 steps, u64 and u64: those of which dense and sparse gradients were clipped
//        a tensor (the network's, then one a slot for the slot's rows): u8 kind of its optimiser
//        (trainer/optimiser.h), u64 floats of the tensor's state; FTRL's: alpha, beta, lambda1, lambda2 (f64)
// Version 3 is written where the joint loss' log variances, the last of the tensors, are not plain SGD's: its
// list of optimisers has them too. In version 2 they are, or there are none.
// A row-wise Adagrad that has a half-life keeps more bytes a row than one that has none.
//
// A slot keeps its number when others are added before it: numbers are in the order in which slots came, so
// that rows stay under their keys.
//
// A checksum is the lower half of XXH3 of the key and of the value before it. A row's stamp is the number of
// snapshots that had been taken when it changed (changes.c).
#ifndef TRAINER_CUT_FORMAT_H
#define TRAINER_CUT_FORMAT_H

#include "base/bytes.h"
#include "trainer/table.h"

#define CUT_MAGIC "FRSHMODL"
enum {
    CUT_VERSION = 3,
    CUT_VERSION_NETWORK = 2,
    CUT_VERSION_STATELESS = 1,
    CUT_KEY_ROW = 'r',
    CUT_KEY_CANDIDATES = 'a',
    CUT_KEY_DENSE = 'd',
    CUT_KEY_STATE = 'o', // 's' is the daemon's (daemon/cuts.c)
    CUT_KEY_MODEL = 'm',
    CUT_KEY_SHAPE = 'x',
    CUT_KEY_ROW_SIZE = 1 + 2 + 8,
    CUT_KEY_SLOT_SIZE = 1 + 2, // what a slot's keys begin with
    CUT_KEY_CANDIDATES_SIZE = 1 + 2 + 4,
    CUT_KEY_DENSE_SIZE = 1 + 4 + 4,
    CUT_KEY_MAX = CUT_KEY_ROW_SIZE,
    CUT_CHECKSUM = 4,
    CUT_ROW_TAIL = 8 + 4 + 4 + CUT_CHECKSUM, // what follows vector and optimiser state
    CUT_CANDIDATE = 8 + 8 + 8,
    CUT_PIECE = 65536,                                  // floats
    CUT_ROW_FLOATS_MAX = 3 * TRAINER_DIMENSION_MAX + 2, // vector and state of a row
    CUT_VALUE_MAX = CUT_PIECE * 4 + CUT_CHECKSUM,
    // Most tombstones, of all slots, that a cut takes along; beyond it the restored model's next snapshot is
    // full. It bounds how long the trainer stands still.
    CUT_TOMBSTONES_MAX = 1 << 20,
};

// What a delta can be built on: nothing, the snapshot in flight alone, or the settled one.
enum { CUT_BASE_NONE, CUT_BASE_FLYING, CUT_BASE_SETTLED };

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the cut is written little-endian"
#endif

static inline void cut_store_big(uint8_t *to, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
    }
}

static inline uint64_t cut_load_big(const uint8_t *from, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | from[i];
    }
    return value;
}

#endif
