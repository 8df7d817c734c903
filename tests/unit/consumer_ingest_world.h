// A world for the tests of ingest: a source whose records, visibility and answers are scripted, a clock that
// stands still until it is told, real decoders and lanes, and a trace of what the sink was given.
#ifndef TESTS_CONSUMER_INGEST_WORLD_H
#define TESTS_CONSUMER_INGEST_WORLD_H

#include "base/random.h"
#include "consumer/ingest.h"
#include "support_directory.h"

enum { WORLD_RANKS = 3, WORLD_LANES_MAX = 8 };

extern const char world_impression_schema[];
extern const char world_action_schema[];

struct world_record {
    int64_t timestamp;
    struct base_span value; // owned by the world
};

struct world_partition {
    struct world_record *records;
    uint32_t count;
    uint32_t visible; // records that poll may return by now
    uint32_t delivered;
    bool silent;        // no answer comes: never caught up
    bool stalled;       // lazy: waits reveal nothing
    bool framed;        // as Kafka's: not bare
    int64_t error_once; // 1: the next poll fails retriably; 2: it fails for good
    uint64_t polls;
};

struct world {
    struct consumer_source source; // first
    struct world_partition partitions[WORLD_RANKS][WORLD_LANES_MAX];
    bool bounded;
    int fetch;     // messages of one poll at most
    uint64_t lazy; // not 0: seed; polls and waits reveal records a few at a time
    uint64_t draws;
    const char *weight; // path of the impressions' weight, or NULL
    int64_t now_ns; // of the clock; waits move it by their timeout
    uint64_t waits;

    struct base_clock clock;
    struct consumer_decoder *decoders[WORLD_RANKS];
    char directory[SUPPORT_DIRECTORY_MAX];
    struct consumer_ingest_config config;
    struct consumer_ingest *ingest;
    struct consumer_ingest_sink sink;
    struct base_buffer trace; // text: a line a sample, in the order of the sink
    uint64_t samples;
    int64_t last_tick;
    struct consumer_ingest_decision decision; // the last
    uint64_t decisions;
    int fail_tick; // the sink fails at this call, counted from 1
    struct base_error error;
};

// `lanes` lanes, click wait 10 window 20, purchase wait 15 window 100, lateness 0, ticks of 10 ms.
void world_begin(struct world *world, uint32_t lanes);
void world_end(struct world *world);

// Appends a record, visible at once. An impression has no `of`.
void world_add(struct world *world, uint32_t rank, uint32_t lane, const char *id, int64_t time,
               const char *of);
void world_add_bytes(struct world *world, uint32_t rank, uint32_t lane, int64_t timestamp,
                     struct base_span value);

// The bytes of a record of the schemas above.
void world_encode(struct base_buffer *buffer, uint32_t rank, const char *id, int64_t time, const char *of);

// Inserts a record before the one at `index`.
void world_insert(struct world *world, uint32_t rank, uint32_t lane, uint32_t index, int64_t timestamp,
                  struct base_span value);

// Makes decoders and ingest out of world->config, which the caller may change before.
void world_open(struct world *world);
// Makes the decoders only.
void world_open_decoders(struct world *world);
// With another source in place of the scripted one.
void world_open_with(struct world *world, struct consumer_source *source);
int world_step(struct world *world, int timeout_ms);
// Steps until done; fails the test after a bound.
void world_run(struct world *world);
struct consumer_ingest_state world_state(struct world *world);
const char *world_trace(struct world *world);

// Fills the world with `count` impressions a lane and what follows them, out of order within `lateness`.
void world_populate(struct world *world, uint64_t seed, int count, int64_t lateness);

// Removes a directory with everything in it.
void world_remove_tree(const char *path);

#endif
