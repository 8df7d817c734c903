// What the files of ingest share: its partitions and itself. Private to ingest*.c.
#ifndef CONSUMER_INGEST_PRIVATE_H
#define CONSUMER_INGEST_PRIVATE_H

#include "consumer/ingest.h"
#include "consumer/ingest_unhandled.h"

enum { INGEST_PATH_MAX = 4096 };

// A topic-partition as ingest sees it.
struct ingest_partition {
    uint32_t rank, lane;
    int64_t watermark;                 // as the lane has it
    struct consumer_message *messages; // [batch] the last poll's
    int count, next;                   // of messages; those before next are done with
    int64_t offset;                    // after the last message done with
    struct consumer_mark last;         // that message
    int64_t blocked_until_ns;          // its next message cannot be decoded before; 0: it is not blocked
    bool finished;
    bool idle;
    int64_t quiet_since_ns; // of the first of the answers since that said "caught up"; -1: the last said no
    struct consumer_unhandled unhandled;
    bool expected;   // the next message has to be `last`: it was the last one before the cut
    bool obeying;    // the journal may have decisions for it
    int64_t counted; // what lies below this offset was counted before the cut
    int64_t floor;   // and what does not was not handled before it: the watermark is then at least this
};

struct consumer_ingest {
    struct consumer_ingest_config config;
    const struct base_clock *clock;
    uint32_t lanes;
    uint32_t partitions;
    int batch;
    struct consumer_lane **lane;              // [lanes]
    struct consumer_generations *generations; // of all of them; NULL: columns have no names
    struct ingest_partition *partition;       // [partitions], lane-major
    struct ingest_partition **heap;           // [partitions] scratch of a round: the lowest first
    uint32_t unfinished;                      // partitions that may still bring a message
    int64_t origin;                           // the least first watermark; CONSUMER_TIME_MAX: none yet

    int64_t idle_checked_ns;
    bool all_idle;
    int64_t all_idle_since_ns;
    int64_t all_idle_watermark; // the last value, which time is added to
    int64_t idle_target;        // what idle partitions followed last

    struct base_sample *sample; // [sample_capacity] of the present tick
    size_t sample_count, sample_capacity;
    bool settled;                    // no further tick can be handed over
    bool complete;                   // config.last_tick is settled
    bool letters;                    // there are dead letters that are not synced
    struct base_error blocked_error; // of the partition that was blocked last
    struct consumer_ingest_counts counts;
    int64_t frontier;
};

int64_t consumer_ingest_floor_divide(int64_t time, int64_t length);
int64_t consumer_ingest_next_time(const struct consumer_ingest *ingest); // of all lanes

// ingest_read.c: a round of reading, always from the lowest, until it has nothing now, then from the next.
// How many messages are done with, or -1. A retriable error sets *passing and ends only its partition's turn.
int consumer_ingest_read(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                         bool *passing, struct base_error *error);
// A new decision: journalled before it takes effect.
int consumer_ingest_decide(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                           const struct consumer_ingest_decision *decision, struct base_error *error);
void consumer_ingest_raise(struct consumer_ingest *ingest, struct ingest_partition *partition,
                           int64_t watermark);
// Obeys what the journal says of a partition below `offset`, which is the next to be read.
void consumer_ingest_obey(struct consumer_ingest *ingest, struct ingest_partition *partition, int64_t offset);
// The partition's log lacks what was read, or decided, before: BASE_ECONFLICT, fatal.
int consumer_ingest_log_changed(const struct consumer_ingest *ingest,
                                const struct ingest_partition *partition, struct base_error *error);

// ingest_idle.c: who is idle, and to where its watermark is raised.
int consumer_ingest_check_idle(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                               struct base_error *error);

// ingest_save.c: opens the lanes from config.restore, and what ingest itself was. -1: error.
int consumer_ingest_restore(struct consumer_ingest *ingest, struct base_error *error);
struct consumer_lane_config consumer_ingest_lane_config(const struct consumer_ingest *ingest, uint32_t lane,
                                                        char directory[INGEST_PATH_MAX]);

// What was decided is durable from here on: dead letters first, then the journal, which speaks of them.
int consumer_ingest_sync_decisions(struct consumer_ingest *ingest, struct base_error *error);

#endif
