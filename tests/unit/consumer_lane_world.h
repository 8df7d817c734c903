// Random streams for a lane, and a sink that compares what it emits with what the oracle expects.
#ifndef TESTS_CONSUMER_LANE_WORLD_H
#define TESTS_CONSUMER_LANE_WORLD_H

#include "support_oracle.h"

enum {
    LANE_WORLD_COLUMNS = 8,  // words of an impression's columns
    LANE_WORLD_POOL = 32768, // bytes for a stream's ids and columns
};

// A generator that walks one key's counters.
struct lane_dice {
    uint64_t key;
    uint64_t counter;
};

int64_t lane_dice_between(struct lane_dice *dice, int64_t least, int64_t most);
bool lane_dice_chance(struct lane_dice *dice, int64_t percent);

// A test's stream with the bytes that its events borrow.
struct lane_world {
    struct support_stream stream;
    uint64_t bytes[LANE_WORLD_POOL / 8];
    size_t used;
};

// Settings, by the dice; some have tiny segments.
void lane_world_configure(struct lane_world *world, struct lane_dice *dice, const char *directory);
void lane_world_add(struct lane_world *world, uint32_t rank, struct support_step step);
// Some 5 to 40 records about a handful of journeys, close together in time.
void lane_world_generate(struct lane_world *world, struct lane_dice *dice);

// What a lane emitted, compared with the oracle as it comes.
struct lane_witness {
    const struct support_outcome *expected;
    size_t count;
    char complaint[512];
};

// A consumer_sample_sink; the witness is its context.
int lane_witness_sink(void *context, const struct base_sample *sample, struct base_error *error);
// Writes the first difference to `text`, if there is one.
void lane_counters_complain(const struct consumer_lane_counters *got,
                            const struct consumer_lane_counters *expected, char *text, size_t size);

// A log's files as a lane's saved state says.
struct lane_saved_log {
    char name[64];
    uint64_t segments;
    uint64_t first; // number of the oldest segment's file
    uint64_t last;
    uint64_t size; // bytes of the last one's file
    uint64_t used; // bytes of them that were written
};

// The next log of a saved state, from *at on (0 at first). False: there is none.
bool lane_saved_log(struct base_span state, size_t *at, struct lane_saved_log *log);
// The path of a segment's file.
void lane_saved_path(const char *directory, const struct lane_saved_log *log, uint64_t segment,
                     char path[256]);

// A number from the environment.
uint64_t lane_world_setting(const char *name, uint64_t otherwise);

#endif
