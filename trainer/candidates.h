// Candidates: how often keys without a row have occurred, for admission. A fixed number of buckets of 8;
// memory is bounded, and what is forgotten when a bucket overflows follows from the sequence of keys alone
// (table.h).
#ifndef TRAINER_CANDIDATES_H
#define TRAINER_CANDIDATES_H

#include <stddef.h>
#include <stdint.h>

struct trainer_candidate {
    uint64_t key;
    int64_t last_seen;
    uint64_t count; // 0: free
};

struct trainer_candidates {
    struct trainer_candidate *entries; // [1 << bits], in buckets of TRAINER_CANDIDATES_WAYS
    uint8_t
        *marks; // by bucket, the cut's generation in which it changed last; 0: the last cut has it (marks.c)
    uint32_t bits;
};

enum { TRAINER_CANDIDATES_WAYS = 8, TRAINER_CANDIDATES_MIN = 1024 };

// Room for at least `entries` (a power of two results), bounded from below by TRAINER_CANDIDATES_MIN.
void trainer_candidates_init(struct trainer_candidates *candidates, uint64_t entries);
void trainer_candidates_free(struct trainer_candidates *candidates); // its contents; takes a zeroed one

static inline uint32_t trainer_candidates_buckets(const struct trainer_candidates *candidates)
{
    return candidates->bits ? (UINT32_C(1) << candidates->bits) / TRAINER_CANDIDATES_WAYS : 0;
}

static inline uint32_t trainer_candidates_number(const struct trainer_candidates *candidates, uint64_t hash)
{
    return (uint32_t)(hash >> (64 - candidates->bits)) / TRAINER_CANDIDATES_WAYS;
}

static inline struct trainer_candidate *trainer_candidates_bucket(const struct trainer_candidates *candidates,
                                                                  uint64_t hash)
{
    return &candidates
                ->entries[(size_t)trainer_candidates_number(candidates, hash) * TRAINER_CANDIDATES_WAYS];
}

// Counts an occurrence at `now` and returns the key's entry, valid until the next call. A key last seen more
// than `expiry` ms ago starts at 1 again; 0: never.
struct trainer_candidate *trainer_candidates_count(struct trainer_candidates *candidates, uint64_t hash,
                                                   uint64_t key, int64_t now, int64_t expiry);

#endif
