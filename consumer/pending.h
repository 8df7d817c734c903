// Events that wait: a pool for their copies and a heap that orders them.
//
// The pool hands out blocks in steps of 64 bytes from free lists, so that a lane in its steady state
// allocates nothing. The heap orders by (effective time, topic rank, offset): the order of a lane. Thread:
// one at a time.
#ifndef CONSUMER_PENDING_H
#define CONSUMER_PENDING_H

#include "consumer/event.h"

// Offsets that fit into the heap's key.
#define CONSUMER_OFFSET_MAX ((INT64_C(1) << 56) - 1)

// An event as a lane keeps it: a copy with its bytes behind it.
struct consumer_pending {
    struct consumer_event event; // spans point into this block
    int64_t time;                // effective
    uint64_t id_hash;            // base_hash_bytes(impression_id, 0); 0 for null
    // For the orphans (orphans.h), and `older` for the pool's free lists.
    struct consumer_pending *older, *newer;           // of the lane
    struct consumer_pending *same_older, *same_newer; // of its key
    struct base_span key;                             // the span that it waits by
    struct orphans_key *keyed;
};

enum { CONSUMER_POOL_STEP = 64 }; // bytes: a block is a multiple of it

struct consumer_pool;

struct consumer_pool *consumer_pool_new(void);
// Everything taken must have been given back. Takes NULL.
void consumer_pool_free(struct consumer_pool *pool);
// A copy of `event`.
struct consumer_pending *consumer_pool_take(struct consumer_pool *pool, const struct consumer_event *event);
void consumer_pool_give(struct consumer_pool *pool, struct consumer_pending *pending);
// What it takes.
size_t consumer_pending_bytes(const struct consumer_pending *pending);

// Appends all of an action that waits, but its lane's number; and back, as consumer_pool_take makes it, with
// reader->failed set and NULL for what no lane of `ranks` ranks can have kept.
void consumer_pending_save(const struct consumer_pending *pending, struct base_buffer *state);
struct consumer_pending *consumer_pool_restore(struct consumer_pool *pool, uint32_t lane, uint32_t ranks,
                                               struct base_reader *state);

struct consumer_heap;

struct consumer_heap *consumer_heap_new(void);
void consumer_heap_free(struct consumer_heap *heap); // not what is in it; takes NULL
void consumer_heap_push(struct consumer_heap *heap, struct consumer_pending *pending);
// The first in order, or NULL.
struct consumer_pending *consumer_heap_first(const struct consumer_heap *heap);
struct consumer_pending *consumer_heap_pop(struct consumer_heap *heap);
uint64_t consumer_heap_count(const struct consumer_heap *heap);

#endif
