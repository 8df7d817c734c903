// The batch oracle of the join: given all records of a lane at once it decides by brute force what the lane
// must emit. Slow and obvious on purpose: no cursors, no indexes, no logs; it shares nothing with consumer/
// but the plain types. Rules: docs/join.md.
#ifndef TESTS_SUPPORT_ORACLE_H
#define TESTS_SUPPORT_ORACLE_H

#include "consumer/lane.h"

enum { SUPPORT_STEPS_MAX = 256 }; // of one partition

// What happens to a partition: a record is read, or its watermark is raised before the next one.
struct support_step {
    bool raise;
    int64_t watermark;           // if raise
    struct consumer_event event; // else
};

struct support_stream {
    struct consumer_lane_config config;
    struct support_step step[CONSUMER_TOPICS_MAX][SUPPORT_STEPS_MAX]; // by rank, in offset order
    uint32_t steps[CONSUMER_TOPICS_MAX];
    int64_t until; // handle everything with a time <= until
};

struct support_outcome {
    struct base_sample *samples; // spans point into the stream
    size_t count;
    struct consumer_lane_counters counters;
};

// Fills `outcome`; support_outcome_done frees what it holds.
void support_oracle(const struct support_stream *stream, struct support_outcome *outcome);
void support_outcome_done(struct support_outcome *outcome);

#endif
