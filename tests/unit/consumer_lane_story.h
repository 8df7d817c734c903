// Stories for the tests of a lane: events pushed into a lane of its own, and what came out, written down.
//
// A sample is written as "kind@due id mask/labels": tasks in the mask are c (click), p (purchase) and further
// letters by task; labels are digits, all tasks.
#ifndef TESTS_CONSUMER_LANE_STORY_H
#define TESTS_CONSUMER_LANE_STORY_H

#include "consumer/lane.h"
#include "support_directory.h"

enum { STORY_TRACE_MAX = 4096 };

struct story {
    struct consumer_lane_config config;
    char directory[SUPPORT_DIRECTORY_MAX];
    struct consumer_lane *lane;
    int64_t offset[CONSUMER_TOPICS_MAX];
    char trace[STORY_TRACE_MAX];
    struct base_sample last;
    uint64_t sequence; // expected next
};

// click: wait 10, window 20; purchase: wait 15, window 100. May be changed until it is opened.
void story_begin(struct story *story);
void story_open(struct story *story);
void story_end(struct story *story);

// Writes a sample to the trace of the story that is its context.
int story_sink(void *context, const struct base_sample *sample, struct base_error *error);
// An action with an event id and a touch key of its own choosing.
void story_push_full(struct story *story, uint32_t rank, int64_t time, const char *id, const char *reference,
                     const char *touch);
void story_push(struct story *story, uint32_t rank, int64_t time, const char *reference);
void story_run(struct story *story, int64_t until);
void story_finish(struct story *story);
// Finishes the lane if the story has not, and compares what came out.
void story_expect(struct story *story, const char *expected);
const struct consumer_lane_counters *story_counters(const struct story *story);

#endif
