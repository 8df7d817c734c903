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
// A cut and a restart. What ingest saves is its state at the frontier: of each partition the first record
// that is not handled, and the watermark before it. The rest is read again: a record whose effective time is
// not above the frontier only raises the watermark again; a decision is not taken again but obeyed, from the
// journal. So a restored ingest hands over what it would have without the stop, to the bit.
//
// Thread: one for all calls.
#ifndef CONSUMER_INGEST_H
#define CONSUMER_INGEST_H

#include "base/clock.h"
#include "base/disk.h"
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
    CONSUMER_INGEST_RAISE_MS = 5000,    // an idle partition is raised by so much when nothing is due
};

struct consumer_journal; // consumer/journal.h

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
    const struct base_clock *clock;   // NULL: the system's
    int64_t last_tick;                // no tick above it is handed over; INT64_MAX: all are
    struct consumer_journal *journal; // borrowed: obeyed, and written; NULL: none
    struct base_span
        restore; // what consumer_ingest_save wrote, not used after consumer_ingest_new; null: afresh
    // What the decoder of impressions extracts, by name, not used after consumer_ingest_new. NULL: what is
    // saved names no columns, so that they can never change.
    const struct consumer_generations_columns *columns;
    struct base_disk *disk; // of the lanes; NULL: the system's
    bool keep_dropped;      // the lanes' old segments stay until a cut is done: there will be cuts
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
    const char *reason; // set aside; else NULL. Not in the journal: it is in the dead letter
};

struct consumer_ingest_sink {
    // One tick with its samples in their order (none at all is possible: what was due made no sample); they
    // are valid during the call. What it rests on is durable (dead letters, journal). consumer_ingest_save
    // may be called within: the state is that after this tick. -1 ends the step with its error; ingest can
    // then only be freed.
    int (*tick)(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                struct base_error *error);
    void *context;
    // May be NULL. Called for a new decision (none that is obeyed) before it takes effect; -1 as above.
    int (*decide)(void *context, const struct consumer_ingest_decision *decision, struct base_error *error);
};

// What ingest counts; it goes on across a restart. The order is that of the saved state, whose version rises
// with a new counter.
struct consumer_ingest_counts {
    uint64_t read;   // messages taken from the source
    uint64_t events; // of them decoded and given to a lane
    uint64_t dead;   // set aside, those from the future included
    uint64_t future;
    uint64_t raises;  // of idle partitions
    uint64_t samples; // handed over
    uint64_t ticks;   // handed over
};

// What ingest knows of itself, for status and metrics.
struct consumer_ingest_state {
    struct consumer_ingest_counts counts;
    uint64_t lag;      // messages known to be in the source and not given to a lane
    int64_t watermark; // the least of all lanes
    int64_t frontier;  // everything with a time up to here is handled; CONSUMER_TIME_MIN: nothing yet;
                       // CONSUMER_TIME_MAX: all of a finished source
    uint32_t idle;     // partitions
    uint32_t blocked;  // partitions whose next message waits for its schema
    uint64_t skipped;  // offsets that the operator's word skips
    struct base_error blocked_error;        // what one of those that wait waits for; BASE_OK: nobody waits
    uint32_t finished;                      // partitions
    struct consumer_lane_counters counters; // sums over the lanes
    struct consumer_lane_usage usage;
};

struct consumer_ingest;

// Makes the lanes, or opens them as they were saved. Errors: theirs; and of what is restored BASE_EFORMAT (it
// is damaged, or the journal is not the one it was saved with), BASE_ECONFLICT (it is of other topics, lanes
// or ticks, or names no columns and has others; side actions' topics behind those that were saved may be
// new), BASE_ELIMIT (generations.h), BASE_EINVAL (the source does not begin where consumer_ingest_offsets
// says).
struct consumer_ingest *consumer_ingest_new(const struct consumer_ingest_config *config,
                                            struct base_error *error);
void consumer_ingest_free(struct consumer_ingest *ingest); // takes NULL

// Reads what there is to read, up to the bounds above, and hands over the ticks that are settled; waits up to
// timeout_ms for more if there was nothing to do. Errors: the source's (a retriable one means: call again;
// everything else was done), a lane's, the dead letters', the journal's, the sink's. Fatal BASE_ECONFLICT:
// after a restart a partition's log is not the one that was read before; the operator decides.
int consumer_ingest_step(struct consumer_ingest *ingest, int timeout_ms,
                         const struct consumer_ingest_sink *sink, struct base_error *error);
// True once a bounded source is read to its end and every settled tick was handed over. (Without `finish`
// what lies above the last settled tick stays.) Also once config.last_tick is settled.
bool consumer_ingest_done(const struct consumer_ingest *ingest);

void consumer_ingest_state(const struct consumer_ingest *ingest, struct consumer_ingest_state *state);
int64_t consumer_ingest_watermark(const struct consumer_ingest *ingest, uint32_t rank, uint32_t lane);
// The lowest offset of a partition whose record is not handled, and the partition's watermark as it stood
// just before that record was read.
void consumer_ingest_unhandled(struct consumer_ingest *ingest, uint32_t rank, uint32_t lane, int64_t *offset,
                               int64_t *watermark);

// ---- the cut ----

// Appends the state at the frontier to `state`, and to `sync` what has to be synced before the state counts
// as saved. `cut` is 1 or more, and rises from save to save. Between steps, or from within the sink's tick.
// Errors: the lanes', the dead letters', the journal's; `state` is then untouched.
int consumer_ingest_save(struct consumer_ingest *ingest, uint64_t cut, struct base_buffer *state,
                         struct base_sync *sync, struct base_error *error);
// That cut is durable: files that only older ones needed go.
void consumer_ingest_cut_done(struct consumer_ingest *ingest, uint64_t cut);

// What a saved state says before anything is opened.
struct consumer_ingest_saved {
    uint64_t cut;
    uint32_t ranks, lanes;
    int64_t frontier;
    uint64_t journal; // where the journal has to be obeyed from: for consumer_journal_open, and all that
                      // consumer_journal_forget may forget
};
// Errors: BASE_EFORMAT.
int consumer_ingest_saved(struct base_span state, struct consumer_ingest_saved *saved,
                          struct base_error *error);
// Where the source has to begin for a saved state: rank-major, [ranks * lanes]; room for CONSUMER_TOPICS_MAX
// * CONSUMER_LANES_MAX; of ranks behind the saved ones CONSUMER_OFFSET_EARLIEST, the caller's to change. It
// is the last record before the first that is not handled, so that ingest can see that it is the same one;
// or, if the journal (NULL: none) skips it or says that the log is another one, what comes after; or
// CONSUMER_OFFSET_EARLIEST of a lane that came to be since. Errors: BASE_EFORMAT, BASE_ECONFLICT (it is of
// more topics; a log was replaced after a later cut).
int consumer_ingest_offsets(struct base_span state, const struct consumer_journal *journal, uint32_t ranks,
                            uint32_t *lanes, int64_t *offsets, struct base_error *error);

// Likewise of the first record that is not handled. A source that no longer has the one before it, but this
// one, begins here: retention has taken what was handled.
int consumer_ingest_unread(struct base_span state, const struct consumer_journal *journal, uint32_t ranks,
                           uint32_t *lanes, int64_t *offsets, struct base_error *error);

#endif
