// Ingest: the loop that ties a source, the decoders, the lanes and the ticks together.
//
//   the partition with the lowest watermark -> poll -> decode -> lane
//   -> [every lane's watermark above a tick's end] -> run all lanes to that end
//   -> the tick's samples, sorted by (due time, lane, sequence) -> sink
//
// Tick k is [k len, (k + 1) len), its end the last millisecond in it: a watermark W leaves room for records
// at W itself, so that a tick is settled once every lane's watermark is strictly above its end. Ticks in
// which nothing is due are jumped over. The sequence of (tick, samples) is a function of the records, the
// configuration and the decisions (idle raises); of nothing else.
//
// Reading the lowest first bounds memory without pause or seek: nobody is read while the lowest has
// something, and when it has nothing, nobody runs ahead of it by more than read_ahead_ms and a poll's batch.
// No more is read while settled ticks wait to be handed over.
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
    CONSUMER_INGEST_HELD = 1 << 18,     // messages of all partitions' polls together; a poll of 16 is granted
    CONSUMER_INGEST_ROUND = 4000,       // messages of a step; the last poll may exceed it
    CONSUMER_INGEST_TICKS = 64,         // ticks of a step
    CONSUMER_INGEST_IDLE_CHECK_MS = 20, // how often idleness is looked at
    CONSUMER_INGEST_FRESH_MS = 5000,    // an answer older than this proves nothing
    CONSUMER_INGEST_BLOCKED_MS = 50,    // pause before a message whose schema is on its way is tried again
};

struct consumer_ingest_config {
    struct consumer_source *source;                         // borrowed
    struct consumer_decoder *decoders[CONSUMER_TOPICS_MAX]; // by rank, borrowed
    const char *topics[CONSUMER_TOPICS_MAX];                // by rank, for dead letters and messages
    struct consumer_deadletter *deadletter; // borrowed; NULL: what is set aside is only counted
    struct consumer_lane_config lane;       // of every lane; .lane and .directory are filled in
    const char *directory;                  // the lanes' directories "lane-0000", ... are made in it
    int64_t tick_ms;                        // > 0
    int64_t idle_timeout_ms;                // 0: no partition is ever idle
    int64_t future_ms; // a record whose event time is further ahead of its message's timestamp is set aside;
                       // 0: none is, and none without a timestamp
    int64_t read_ahead_ms; // >= 0
    bool finish;           // after its last record a partition's watermark is +infinity; nothing is idle
    const struct base_clock *clock; // NULL: the system's
};

// Something that ingest decided and that is not in the records: for the journal of decisions. It holds after
// every record of the partition below `next`, before any other.
enum consumer_ingest_what {
    CONSUMER_INGEST_RAISED,      // an idle partition's watermark was raised to `watermark`
    CONSUMER_INGEST_UNDECODABLE, // the record at next - 1 was set aside
    CONSUMER_INGEST_FUTURE,      // likewise, as from the future
};

struct consumer_ingest_decision {
    enum consumer_ingest_what what;
    uint32_t rank;
    uint32_t lane;
    int64_t next;
    int64_t watermark;  // raised
    const char *reason; // set aside; else NULL
};

struct consumer_ingest_sink {
    // One tick with its samples in their order (none at all is possible: what was due made no sample); they
    // are valid during the call. -1 ends the step with its error; ingest can then only be freed.
    int (*tick)(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                struct base_error *error);
    void *context;
    // May be NULL. Called before the decision takes effect; -1 as above.
    int (*decide)(void *context, const struct consumer_ingest_decision *decision, struct base_error *error);
};

// What ingest knows of itself, for status and metrics.
struct consumer_ingest_state {
    uint64_t read;   // messages taken from the source
    uint64_t events; // of them decoded and given to a lane
    uint64_t dead;   // set aside, those from the future included
    uint64_t future;
    uint64_t raises;   // of idle partitions
    uint64_t samples;  // handed over
    uint64_t lag;      // messages known to be in the source and not given to a lane
    uint64_t ticks;    // handed over
    int64_t watermark; // the least of all lanes
    int64_t frontier;  // everything with a time up to here is handled; CONSUMER_TIME_MIN: nothing yet;
                       // CONSUMER_TIME_MAX: all of a finished source
    uint32_t idle;     // partitions
    uint32_t blocked;  // partitions whose next message waits for its schema
    uint32_t finished; // partitions
    struct consumer_lane_counters counters; // sums over the lanes
    struct consumer_lane_usage usage;
};

struct consumer_ingest;

// Makes the lanes. Errors: theirs.
struct consumer_ingest *consumer_ingest_new(const struct consumer_ingest_config *config,
                                            struct base_error *error);
void consumer_ingest_free(struct consumer_ingest *ingest); // takes NULL

// Reads what there is to read, up to the bounds above, and hands over the ticks that are settled; waits up to
// timeout_ms for more if there was nothing to do. Errors: the source's (a retriable one means: call again;
// everything else was done), a lane's, the dead letters', the sink's.
int consumer_ingest_step(struct consumer_ingest *ingest, int timeout_ms,
                         const struct consumer_ingest_sink *sink, struct base_error *error);
// True once a bounded source is read to its end and every settled tick was handed over. (Without `finish`
// what lies above the last settled tick stays.)
bool consumer_ingest_done(const struct consumer_ingest *ingest);

void consumer_ingest_state(const struct consumer_ingest *ingest, struct consumer_ingest_state *state);
int64_t consumer_ingest_watermark(const struct consumer_ingest *ingest, uint32_t rank, uint32_t lane);
// For a cut at the frontier: the lowest offset of a partition whose record is not handled, and the
// partition's watermark as it stood just before that record was read.
void consumer_ingest_unhandled(struct consumer_ingest *ingest, uint32_t rank, uint32_t lane, int64_t *offset,
                               int64_t *watermark);

#endif
