// Ingest: the loop that ties a source, the decoders, the lanes and the ticks together.
//
//   the partition with the lowest watermark -> poll -> decode -> lane -> [every lane's watermark above a
//   tick's end]
//   -> run all lanes to that end -> the tick's samples, sorted by (due time, lane, sequence) -> sink
//
// Tick k is [k len, (k + 1) len), and its end the last millisecond in it: a watermark W leaves room for
// records at W itself, so that a tick is settled once every lane's watermark is strictly above its end. Ticks
// in which nothing is due are jumped over. The sequence of (tick, samples) is a function of the records, the
// configuration and the decisions (idle raises); of nothing else.
//
// Reading the lowest first bounds memory without pause or seek: nobody runs ahead by more than a poll's
// batch, or by read_ahead_ms while the lowest has nothing to read.
//
// Thread: one for all calls.
#ifndef CONSUMER_INGEST_H
#define CONSUMER_INGEST_H

#include "base/clock.h"
#include "consumer/deadletter.h"
#include "consumer/decoder.h"
#include "consumer/lane.h"
#include "consumer/source.h"

enum {
    CONSUMER_INGEST_BATCH = 1000,       // messages of a poll
    CONSUMER_INGEST_IDLE_CHECK_MS = 50, // how often idleness is looked at
    CONSUMER_INGEST_FRESH_MS = 5000,    // an answer older than this proves nothing
    CONSUMER_INGEST_BLOCKED_MS = 50,    // pause before a message whose schema is on its way is tried again
};

struct consumer_ingest_config {
    struct consumer_source *source;                         // borrowed
    struct consumer_decoder *decoders[CONSUMER_TOPICS_MAX]; // by rank, borrowed
    const char *topics[CONSUMER_TOPICS_MAX];                // by rank, for dead letters and messages
    struct consumer_deadletter *deadletter;                 // borrowed
    struct consumer_lane_config lane; // of every lane; .lane and .directory are filled in
    const char *directory;            // the lanes' directories "lane-0000", ... are made in it
    int64_t tick_ms;                  // > 0
    int64_t idle_timeout_ms;          // 0: no partition is ever idle
    int64_t future_ms; // a record whose event time is further ahead of its message's timestamp is set aside;
                       // 0: none is
    int64_t read_ahead_ms;          // >= 0
    bool finish;                    // after its last record a partition's watermark is +infinity
    const struct base_clock *clock; // NULL: the system's
};

struct consumer_ingest_sink {
    // One tick with its samples in their order; they are valid during the call. -1 ends the step with its
    // error.
    int (*tick)(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                struct base_error *error);
    void *context;
};

// What ingest knows of itself, for status and metrics.
struct consumer_ingest_state {
    uint64_t read;   // messages taken from the source
    uint64_t events; // of them decoded and given to a lane
    uint64_t dead;   // set aside, those from the future included
    uint64_t future;
    uint64_t lag; // messages known to be in the source and not read
    uint64_t ticks;
    int64_t watermark; // the least of all lanes
    int64_t frontier;  // everything with a time up to here is handled; CONSUMER_TIME_MIN: nothing yet
    uint32_t idle;     // partitions
    struct consumer_lane_counters counters; // sums over the lanes
    struct consumer_lane_usage usage;
};

struct consumer_ingest;

// Makes the lanes. Errors: theirs.
struct consumer_ingest *consumer_ingest_new(const struct consumer_ingest_config *config,
                                            struct base_error *error);
void consumer_ingest_free(struct consumer_ingest *ingest); // takes NULL

// Reads from one partition, or waits up to timeout_ms if there is nothing to read, then hands over every tick
// that is settled. Errors: the source's (a retriable one means: call again), a lane's, the dead letters', the
// sink's.
int consumer_ingest_step(struct consumer_ingest *ingest, int timeout_ms,
                         const struct consumer_ingest_sink *sink, struct base_error *error);
// True once a bounded source is read to its end and every settled tick was handed over.
bool consumer_ingest_done(const struct consumer_ingest *ingest);
void consumer_ingest_state(const struct consumer_ingest *ingest, struct consumer_ingest_state *state);

#endif
