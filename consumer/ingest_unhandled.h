// The records of a partition that were given to its lane and may not be handled yet: where a cut would have
// to read again from. Private to ingest.
//
// Times are not in order, so what is handled is no prefix: the answer is the first record whose time lies
// above the frontier. Records before it are forgotten as they are met, two for each one added.
#ifndef CONSUMER_INGEST_UNHANDLED_H
#define CONSUMER_INGEST_UNHANDLED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A message of a partition, as a cut remembers it.
struct consumer_mark {
    int64_t offset; // -1: none
    uint64_t hash;
};

struct consumer_unhandled_record {
    int64_t offset;
    int64_t time;              // effective
    int64_t watermark;         // of the partition before it
    struct consumer_mark last; // the message before it
    uint64_t journal;          // where the journal stood: the partition's later decisions are from there on
};

struct consumer_unhandled {
    struct consumer_unhandled_record *records; // [capacity], a ring
    size_t capacity;                           // a power of two
    size_t first;
    size_t count;
};

void consumer_unhandled_add(struct consumer_unhandled *unhandled,
                            const struct consumer_unhandled_record *record, int64_t frontier);
// The first one above the frontier, valid until the next add; NULL: there is none.
const struct consumer_unhandled_record *consumer_unhandled_first(struct consumer_unhandled *unhandled,
                                                                 int64_t frontier);
void consumer_unhandled_done(struct consumer_unhandled *unhandled);

#endif
