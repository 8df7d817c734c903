// A lane: partition p of every topic together. Orders its events by effective time, joins them, and emits
// samples when event time says so. A lane is a discrete-event simulation whose only clock is its own time.
//
// The caller (ingest) pushes events as they are read, partition by partition in offset order, and runs the
// lane up to a time that the watermark has passed. Nothing a lane emits depends on when or in what portions
// it was called. All rules: docs/join.md. Thread: one at a time; lanes share nothing.
#ifndef CONSUMER_LANE_H
#define CONSUMER_LANE_H

#include "base/disk.h"
#include "base/error.h"
#include "base/sample.h"
#include "consumer/event.h"
#include "consumer/generations.h"

#define CONSUMER_TIME_MIN INT64_MIN // a watermark before the first record
#define CONSUMER_TIME_MAX INT64_MAX // a watermark after the last (--finish)

// An action: a stage of the funnel, or a side action that hangs on a stage.
struct consumer_action_config {
    const char *name; // "click"
    uint32_t
        parent; // the rank it follows: rank - 1 for a stage of the funnel; a stage's rank for a side action
    bool side;  // starts no stage of its own
    bool last_touch; // join by consumer_event.touch; else by impression_id
    int64_t wait;    // ms, 0 <= wait <= window
    int64_t window;  // ms
    // A side action that counts as another one before it, of the same parent, wait and window: whichever
    // comes first is joined, and it has no task of its own. Such actions come last. 0: itself.
    uint32_t as;
};

struct consumer_lane_config {
    uint32_t lane;
    const char *directory;                                     // of the lane's journey logs; made if missing
    uint32_t ranks;                                            // topics: 1 + actions
    struct consumer_action_config action[CONSUMER_TOPICS_MAX]; // [rank]; [0] is not used
    int64_t allowed_lateness[CONSUMER_TOPICS_MAX];             // ms, by rank
    int64_t dedupe[CONSUMER_TOPICS_MAX];                       // ms, by rank
    int64_t orphan_timeout;                                    // ms
    uint64_t orphan_max;                                       // orphans a lane; 0: no bound
    double keep_negatives;                                     // r: the share of N0 that is kept; 1 keeps all
    bool weighs_negatives;  // an N0's click weighs 1 / r as well: no logit accounts for the sampling
    uint64_t segment_bytes; // of a journey log's segment
    bool train_final;       // F3 takes a place in minibatches (some loss uses it)
    struct base_disk *disk; // of the journey logs; NULL: the system's
    bool keep_dropped;      // files of dropped segments stay until consumer_lane_cut_done
    // Which columns and actions impressions have; borrowed. NULL: all the same.
    const struct consumer_generations *generations;
};

// Monotonic counters of a lane. Per rank where an array.
struct consumer_lane_counters {
    uint64_t events[CONSUMER_TOPICS_MAX];         // handled, duplicates included
    uint64_t late[CONSUMER_TOPICS_MAX];           // event time strictly below the partition's watermark
    uint64_t duplicate[CONSUMER_TOPICS_MAX];      // the id was remembered
    uint64_t joined[CONSUMER_TOPICS_MAX];         // entered their stage (impressions: all handled)
    uint64_t second[CONSUMER_TOPICS_MAX];         // its parent has such an action already
    uint64_t beyond[CONSUMER_TOPICS_MAX];         // outside the window
    uint64_t negative_delay[CONSUMER_TOPICS_MAX]; // joined by id before its parent's event time
    uint64_t orphaned[CONSUMER_TOPICS_MAX];       // began to wait
    uint64_t expired[CONSUMER_TOPICS_MAX];        // waited in vain
    uint64_t evicted[CONSUMER_TOPICS_MAX];        // pushed out by orphan_max
    uint64_t no_reference[CONSUMER_TOPICS_MAX];   // null reference or touch field
    uint64_t samples[BASE_KINDS];                 // emitted
    uint64_t not_kept;                            // N0 dropped by the hash
};

// What the lane holds now, for metrics and `freshet check`.
struct consumer_lane_usage {
    uint64_t pending;  // events read and not yet handled
    uint64_t journeys; // records that the logs of all stages hold (dead ones go with their segment)
    uint64_t orphans;
    uint64_t remembered;  // ids of the actions' dedupe sets; the impressions' are their journeys
    uint64_t index_bytes; // memory of indexes, orphans, dedupe set
    uint64_t log_bytes;   // disk of the journey logs
};

struct consumer_lane;

// An empty lane. Journey logs that an earlier process left in the directory are removed; its own stay when it
// is freed. Errors: BASE_EINVAL (the configuration, naming the action or the setting), BASE_EIO. Free takes
// NULL.
struct consumer_lane *consumer_lane_new(const struct consumer_lane_config *config, struct base_error *error);
void consumer_lane_free(struct consumer_lane *lane);

// Takes one event of the lane in its partition's offset order; copies what it borrows. Sets its effective
// time from the partition's watermark as it stood, then raises that watermark. Errors: BASE_EINVAL, for an
// event of another lane, out of order, of a time that was handled, or that a decoder must have refused.
int consumer_lane_push(struct consumer_lane *lane, const struct consumer_event *event,
                       struct base_error *error);
// Raises a partition's watermark (idle, or CONSUMER_TIME_MAX after its last record); lower is no change.
void consumer_lane_raise(struct consumer_lane *lane, uint32_t rank, int64_t watermark);
int64_t consumer_lane_partition_watermark(const struct consumer_lane *lane, uint32_t rank);
// The least of its partitions' watermarks.
int64_t consumer_lane_watermark(const struct consumer_lane *lane);
// The time of the earliest thing still to be handled (a pending event or a due cursor); CONSUMER_TIME_MAX:
// none.
int64_t consumer_lane_next_time(const struct consumer_lane *lane);

// Receives a sample; what it borrows is valid until the next consumer_lane_run of this lane. -1 stops the
// run.
typedef int consumer_sample_sink(void *context, const struct base_sample *sample, struct base_error *error);

// Handles everything with a time <= until, in order. The caller has made sure that the lane's watermark is
// strictly above `until`. Errors: the journey log (BASE_EIO, BASE_ELIMIT; BASE_EFORMAT naming a corrupt
// file), the sink's. After an error the lane can only be freed.
int consumer_lane_run(struct consumer_lane *lane, int64_t until, consumer_sample_sink *sink, void *context,
                      struct base_error *error);

// Saves the lane as it is after a run up to the frontier: appends one section to `state`, and adds the files
// and directories to `sync` that must be durable before that state is used. Events that were pushed and not
// yet handled are no part of it: they are read again. `cut` is 1 or more and rises from save to save, failed
// ones included; after a restore it may begin anywhere. Errors: BASE_EIO, with `state` untouched; the lane
// goes on.
int consumer_lane_save(struct consumer_lane *lane, uint64_t cut, struct base_buffer *state,
                       struct base_sync *sync, struct base_error *error);
// The cut, and everything in its `sync`, is durable: unlinks the files that were dropped before an earlier
// cut's save.
void consumer_lane_cut_done(struct consumer_lane *lane, uint64_t cut);

// The lane as it was saved; takes its section off `state`. The journey logs are verified, then taken back to
// what they were: later segments are removed, the last one is zeroed beyond its length. It goes on as the
// saved lane would have, once every partition is placed, what is at or below the frontier is skipped, and
// what is above it is pushed again. The actions and all times but allowed_lateness must be those of the save;
// side actions behind them may be new (docs/join.md, rule 26), and are then of no generation that was saved.
// Errors: BASE_EINVAL (the configuration), BASE_ECONFLICT (it is another one than the save's), BASE_EIO,
// BASE_EFORMAT (the state, or a file, which is named with the offset).
struct consumer_lane *consumer_lane_restore(const struct consumer_lane_config *config,
                                            struct base_reader *state, struct base_error *error);
// The generations that its logs hold, a bit each. Before the first run they have to be settled
// (consumer_generations_settle).
uint32_t consumer_lane_generations(const struct consumer_lane *lane);
// Of a lane with generations whose saved state named none: have its records the present columns? Errors:
// BASE_ECONFLICT (others), BASE_EIO.
int consumer_lane_check_columns(struct consumer_lane *lane, struct base_error *error);
// Where a partition of a restored lane stands: its watermark as it was before the record at `next_offset`,
// the least that may come.
void consumer_lane_place(struct consumer_lane *lane, uint32_t rank, int64_t watermark, int64_t next_offset);
// An event at or below the frontier is read again: moves its partition on as push does, nothing else.
void consumer_lane_skip(struct consumer_lane *lane, const struct consumer_event *event);

const struct consumer_lane_counters *consumer_lane_counters(const struct consumer_lane *lane);
struct consumer_lane_usage consumer_lane_usage(const struct consumer_lane *lane);

#endif
