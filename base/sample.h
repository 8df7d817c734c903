// A sample: what the joiner emits and the trainer learns from. Plain data, shared by all rooms.
//
// Tasks are the funnel's stages in order (0: click, 1: purchase in the default funnel), then side tasks.
// Task k's label, mask and weight speak about the *product* loss of stage k: for the purchase task that is
// pCTCVR's. The masks of each kind: rule 20 of docs/join.md.
#ifndef BASE_SAMPLE_H
#define BASE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { BASE_TASKS_MAX = 8 };

enum base_kind {
    BASE_N0, // no click within the click's wait: the negatives of all tasks
    BASE_C1, // click handled before the wait: the click's part, or the purchase's part
    BASE_L,  // click after the wait: the click's positive, late
    BASE_D2, // purchase after the purchase's wait: its positive, late
    BASE_F3, // a click's purchase window closed: the final label
    BASE_KINDS
};

// "N0", "C1", "L", "D2", "F3".
const char *base_kind_name(enum base_kind kind);

struct base_sample {
    int64_t due_time;   // ms: the lane's time at the emission
    int64_t event_time; // ms: the impression's
    uint64_t sequence;  // of the lane's samples, from 0
    uint32_t lane;
    uint8_t kind;   // enum base_kind
    uint8_t mask;   // bit k: task k's label counts
    uint8_t trains; // 1: some loss uses it and it takes a place in a minibatch; 0: for the evaluator only
    uint8_t task;   // the lowest task in the mask; of F3 the one whose label is final
    uint8_t label[BASE_TASKS_MAX]; // 0 or 1; not read where the mask is 0, F3's excepted
    float weight[BASE_TASKS_MAX];  // 0 where the mask is 0
    float value[BASE_TASKS_MAX];   // the action's value where the label is 1 (NaN: it has none), else 0
    float impression_weight;       // if weighted: what the impression weighs; in weight[] already
    bool weighted;
    struct base_span impression_id; // borrowed
    struct base_span columns;       // borrowed, 8-byte aligned; see columns.h
};

// What the impression weighs among impressions: 1, unless it has a weight of its own.
static inline float base_sample_impression_weight(const struct base_sample *sample)
{
    return sample->weighted ? sample->impression_weight : 1.0f;
}

#endif
