// Orphans: a list in the lane's order, and a hash table of keys with a list each. See orphans.h.
#include "consumer/orphans.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"

enum { ORPHANS_BUCKETS_MIN = 16 };

// The orphans of one (rank, key). Lives as long as it has one.
struct orphans_key {
    struct orphans_key *next; // of its bucket
    uint64_t hash;
    uint32_t rank;
    struct consumer_pending *oldest, *newest;
};

struct consumer_orphans {
    struct consumer_pending *oldest, *newest;
    uint64_t count;
    uint64_t by_rank[CONSUMER_TOPICS_MAX];
    uint64_t block_bytes;

    struct orphans_key **buckets; // [bucket_count], a power of two
    uint64_t bucket_count;
    uint64_t key_count;
};

struct consumer_orphans *consumer_orphans_new(void)
{
    struct consumer_orphans *orphans = base_alloc_zeroed(1, sizeof *orphans);
    orphans->bucket_count = ORPHANS_BUCKETS_MIN;
    orphans->buckets = base_alloc_zeroed(orphans->bucket_count, sizeof *orphans->buckets);
    return orphans;
}

void consumer_orphans_free(struct consumer_orphans *orphans)
{
    if (orphans) {
        assert(!orphans->count);
        free(orphans->buckets);
        free(orphans);
    }
}

static struct orphans_key *orphans_key_find(const struct consumer_orphans *orphans, uint32_t rank,
                                            struct base_span span, uint64_t hash)
{
    struct orphans_key *key = orphans->buckets[hash & (orphans->bucket_count - 1)];
    while (key && !(key->hash == hash && key->rank == rank && base_span_equal(key->oldest->key, span))) {
        key = key->next;
    }
    return key;
}

static void orphans_grow(struct consumer_orphans *orphans)
{
    uint64_t count = 2 * orphans->bucket_count;
    struct orphans_key **buckets = base_alloc_zeroed(count, sizeof *buckets);
    for (uint64_t i = 0; i < orphans->bucket_count; i++) {
        while (orphans->buckets[i]) {
            struct orphans_key *key = orphans->buckets[i];
            orphans->buckets[i] = key->next;
            key->next = buckets[key->hash & (count - 1)];
            buckets[key->hash & (count - 1)] = key;
        }
    }
    free(orphans->buckets);
    orphans->buckets = buckets;
    orphans->bucket_count = count;
}

static struct orphans_key *orphans_key_add(struct consumer_orphans *orphans, uint32_t rank, uint64_t hash)
{
    if (orphans->key_count == orphans->bucket_count) {
        orphans_grow(orphans);
    }
    struct orphans_key **bucket = &orphans->buckets[hash & (orphans->bucket_count - 1)];
    struct orphans_key *key = base_alloc(sizeof *key);
    *key = (struct orphans_key){.next = *bucket, .hash = hash, .rank = rank};
    *bucket = key;
    orphans->key_count++;
    return key;
}

static void orphans_key_remove(struct consumer_orphans *orphans, struct orphans_key *key)
{
    struct orphans_key **link = &orphans->buckets[key->hash & (orphans->bucket_count - 1)];
    while (*link != key) {
        link = &(*link)->next;
    }
    *link = key->next;
    free(key);
    orphans->key_count--;
}

void consumer_orphans_add(struct consumer_orphans *orphans, struct consumer_pending *pending,
                          struct base_span span)
{
    assert(span.data);
    uint32_t rank = pending->event.rank;
    uint64_t hash = base_hash_bytes(span, rank);
    struct orphans_key *key = orphans_key_find(orphans, rank, span, hash);
    if (!key) {
        key = orphans_key_add(orphans, rank, hash);
    }
    pending->key = span;
    pending->keyed = key;
    pending->newer = NULL;
    pending->older = orphans->newest;
    *(orphans->newest ? &orphans->newest->newer : &orphans->oldest) = pending;
    orphans->newest = pending;
    pending->same_newer = NULL;
    pending->same_older = key->newest;
    *(key->newest ? &key->newest->same_newer : &key->oldest) = pending;
    key->newest = pending;
    orphans->count++;
    orphans->by_rank[rank]++;
    orphans->block_bytes += consumer_pending_bytes(pending);
}

void consumer_orphans_take(struct consumer_orphans *orphans, struct consumer_pending *pending)
{
    struct orphans_key *key = pending->keyed;
    *(pending->older ? &pending->older->newer : &orphans->oldest) = pending->newer;
    *(pending->newer ? &pending->newer->older : &orphans->newest) = pending->older;
    *(pending->same_older ? &pending->same_older->same_newer : &key->oldest) = pending->same_newer;
    *(pending->same_newer ? &pending->same_newer->same_older : &key->newest) = pending->same_older;
    orphans->count--;
    orphans->by_rank[pending->event.rank]--;
    orphans->block_bytes -= consumer_pending_bytes(pending);
    if (!key->oldest) {
        orphans_key_remove(orphans, key);
    }
}

struct consumer_pending *consumer_orphans_find(const struct consumer_orphans *orphans, uint32_t rank,
                                               struct base_span key)
{
    if (!orphans->by_rank[rank]) {
        return NULL; // the usual case, without a hash
    }
    struct orphans_key *found = orphans_key_find(orphans, rank, key, base_hash_bytes(key, rank));
    return found ? found->oldest : NULL;
}

struct consumer_pending *consumer_orphans_oldest(const struct consumer_orphans *orphans)
{
    return orphans->oldest;
}

void consumer_orphans_save(const struct consumer_orphans *orphans, struct base_buffer *state)
{
    base_buffer_u64(state, orphans->count);
    for (const struct consumer_pending *orphan = orphans->oldest; orphan; orphan = orphan->newer) {
        consumer_pending_save(orphan, state);
    }
}

uint64_t consumer_orphans_count(const struct consumer_orphans *orphans)
{
    return orphans->count;
}

uint64_t consumer_orphans_bytes(const struct consumer_orphans *orphans)
{
    return sizeof *orphans + orphans->bucket_count * sizeof *orphans->buckets +
           orphans->key_count * sizeof(struct orphans_key) + orphans->block_bytes;
}
