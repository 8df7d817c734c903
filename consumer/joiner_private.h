// The inside of a joiner, shared by joiner.c (joining, emitting) and joiner_save.c (saving, restoring).
#ifndef CONSUMER_JOINER_PRIVATE_H
#define CONSUMER_JOINER_PRIVATE_H

#include "consumer/dedupe.h"
#include "consumer/joiner.h"
#include "consumer/journey.h"
#include "consumer/orphans.h"

enum cursor_class {
    CURSOR_WAIT,    // of `rank` at `stage`: N0, C1
    CURSOR_FINAL,   // of `stage`: F3
    CURSOR_DROP,    // of `stage`: a segment whose last record passed its window
    CURSOR_ORPHANS, // expiry
    CURSOR_SEEN,    // of `rank`: a segment of remembered ids
};

// A stage has a wait for each of its actions, F3 and a drop; a lane has orphans and remembered ids.
enum { CURSORS_MAX = CONSUMER_TOPICS_MAX + 2 * CONSUMER_TOPICS_MAX + 1 + CONSUMER_TOPICS_MAX };

struct joiner_cursor {
    enum cursor_class class;
    uint32_t stage;
    uint32_t rank;
    int64_t delay; // of WAIT and FINAL: ms after the entry
    uint64_t next; // the record that it stands before
};

struct consumer_joiner {
    struct consumer_funnel funnel;
    uint32_t lane;
    int64_t dedupe_impressions;
    int64_t orphan_timeout;
    uint64_t orphan_max;
    bool keep_all;
    uint64_t keep_below;  // unless keep_all: an N0 is kept iff the hash of its id is below
    float sampled_weight; // 1 / r
    bool weighs_negatives;
    bool train_final;

    struct consumer_journey *journey[CONSUMER_TOPICS_MAX]; // by stage
    struct consumer_dedupe *dedupe[CONSUMER_TOPICS_MAX];   // by rank; [0] is not used
    struct consumer_orphans *orphans;
    struct consumer_pool *pool;
    struct consumer_lane_counters *counters;

    struct joiner_cursor cursor[CURSORS_MAX]; // [cursors], in the order of rule 1
    int64_t due[CURSORS_MAX];                 // the time of each; CONSUMER_TIME_MAX: none
    uint32_t cursors;
    uint32_t wait[CONSUMER_TOPICS_MAX];  // by rank: its wait's cursor
    uint32_t final[CONSUMER_TOPICS_MAX]; // by stage but the impression's: its F3's
    uint32_t drop[CONSUMER_TOPICS_MAX];  // by stage
    uint32_t seen[CONSUMER_TOPICS_MAX];  // by rank
    uint32_t expiry;

    const struct consumer_generations *generations; // or NULL
    struct consumer_arena columns;                  // of samples, until the next run

    uint64_t sequence;
    consumer_sample_sink *sink;
    void *context;
};

// Everything but the logs; and the logs: empty ones if `state` is NULL, else the saved ones, of `ranks`
// ranks.
struct consumer_joiner *joiner_make(const struct consumer_lane_config *config,
                                    const struct consumer_funnel *funnel, struct consumer_pool *pool,
                                    struct consumer_lane_counters *counters);
int joiner_open_logs(struct consumer_joiner *joiner, const struct consumer_lane_config *config,
                     struct base_reader *state, uint32_t ranks, int64_t now, struct base_error *error);
// Sets the time at which a cursor falls due.
int joiner_aim(struct consumer_joiner *joiner, uint32_t index, struct base_error *error);
// The first record that still waits for the emission of an action's value.
uint64_t joiner_values_from(const struct consumer_joiner *joiner, uint32_t rank);

#endif
