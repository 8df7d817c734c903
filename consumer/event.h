// An event: a decoded record of a topic. Plain data; the spans are borrowed from whoever produced it.
#ifndef CONSUMER_EVENT_H
#define CONSUMER_EVENT_H

#include <stdbool.h>

#include "base/bytes.h"

enum {
    CONSUMER_TOPICS_MAX = 8, // event topics: the impression's and one an action
    CONSUMER_LANES_MAX = 4096,
    CONSUMER_ID_MAX = 4096, // bytes of an event id, impression id or touch key; longer is undecodable
};

// Event times outside ±2^53 ms are undecodable.
#define CONSUMER_TIME_BOUND (INT64_C(1) << 53)
// So are an impression's weights outside [0, 1e6].
#define CONSUMER_WEIGHT_MAX 1e6

struct consumer_event {
    uint32_t rank;             // of its topic: 0 impression, then the actions in the configuration's order
    uint32_t lane;             // the partition's number
    int64_t offset;            // in its topic-partition
    int64_t event_time;        // ms
    struct base_span event_id; // null: not deduped. An impression's is its impression_id
    struct base_span impression_id; // an impression's own; an action's reference, or null
    struct base_span
        touch; // last touch: the configured fields' bytes, each with its length; null if one is null
    struct base_span columns; // an impression's features (base/columns.h), 8-byte aligned; else null
    double value;             // an action's value (order value, say); NaN if absent
    bool weighted;            // an impression that has a weight; else it counts 1
    float weight;             // then: its weight over its propensity, >= 0
};

#endif
