// Counting towards admission. See candidates.h.
#include "trainer/candidates.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "trainer/arena.h"

void trainer_candidates_init(struct trainer_candidates *candidates, uint64_t entries)
{
    candidates->bits = 10;
    while (UINT64_C(1) << candidates->bits < entries) {
        candidates->bits++;
    }
    candidates->entries = trainer_arena_pages(sizeof *candidates->entries << candidates->bits);
    candidates->marks = base_alloc_zeroed(trainer_candidates_buckets(candidates), sizeof *candidates->marks);
}

void trainer_candidates_free(struct trainer_candidates *candidates)
{
    trainer_arena_pages_free(candidates->entries, sizeof *candidates->entries << candidates->bits);
    free(candidates->marks);
    *candidates = (struct trainer_candidates){0};
}

// Whether a makes room before b: free, then seldom, then long ago, then the least key.
static int candidate_goes_first(const struct trainer_candidate *a, const struct trainer_candidate *b)
{
    if (a->count != b->count) {
        return a->count < b->count;
    }
    if (a->last_seen != b->last_seen) {
        return a->last_seen < b->last_seen;
    }
    return a->key < b->key;
}

struct trainer_candidate *trainer_candidates_count(struct trainer_candidates *candidates, uint64_t hash,
                                                   uint64_t key, int64_t now, int64_t expiry)
{
    struct trainer_candidate *bucket = trainer_candidates_bucket(candidates, hash);
    struct trainer_candidate *entry = bucket;
    for (uint32_t i = 0; i < TRAINER_CANDIDATES_WAYS; i++) {
        if (bucket[i].count && bucket[i].key == key) {
            if (expiry && now - bucket[i].last_seen > expiry) {
                bucket[i].count = 0;
            }
            bucket[i].count++;
            bucket[i].last_seen = now;
            return &bucket[i];
        }
        if (candidate_goes_first(&bucket[i], entry)) {
            entry = &bucket[i];
        }
    }
    *entry = (struct trainer_candidate){key, now, 1};
    return entry;
}
