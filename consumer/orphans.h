// Orphans: actions whose reference is not there (yet), in the order of the lane (rules 15 and 16 of
// docs/join.md).
//
// They are found by (topic rank, key), the key being the impression id or the touch key that they refer by,
// oldest first; and the oldest of all is at hand for expiry. Every operation takes constant time. Thread: one
// at a time.
#ifndef CONSUMER_ORPHANS_H
#define CONSUMER_ORPHANS_H

#include "consumer/pending.h"

struct consumer_orphans;

struct consumer_orphans *consumer_orphans_new(void);
void consumer_orphans_free(struct consumer_orphans *orphans); // must be empty; takes NULL

// Adds the newest orphan; `key` points into its block and is not null.
void consumer_orphans_add(struct consumer_orphans *orphans, struct consumer_pending *pending,
                          struct base_span key);
// Takes one out; it is the caller's again.
void consumer_orphans_take(struct consumer_orphans *orphans, struct consumer_pending *pending);

// The oldest orphan of a rank with this key; the next ones follow by `same_newer`. NULL: none.
struct consumer_pending *consumer_orphans_find(const struct consumer_orphans *orphans, uint32_t rank,
                                               struct base_span key);
// The oldest of all, or NULL.
struct consumer_pending *consumer_orphans_oldest(const struct consumer_orphans *orphans);

// Appends all of them, oldest first: a count (uint64), then each as consumer_pending_save.
void consumer_orphans_save(const struct consumer_orphans *orphans, struct base_buffer *state);

uint64_t consumer_orphans_count(const struct consumer_orphans *orphans);
uint64_t consumer_orphans_bytes(const struct consumer_orphans *orphans);

#endif
