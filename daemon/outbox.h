// The outbox: the publisher's thread and the one snapshot that is on its way to Redis.
//
//   trainer: daemon_outbox_offer(snapshot) -> [publisher thread: publish, again after a pause while it is
//   worth trying] -> daemon_outbox_collect: published or not -> trainer_model_settle
//
// The trainer never waits for Redis: while a snapshot is out, changes gather in the model for the next one.
#ifndef DAEMON_OUTBOX_H
#define DAEMON_OUTBOX_H

#include "publisher/publisher.h"

struct daemon_outbox;

// What is known of publications, for status and logs.
struct daemon_outbox_state {
    bool connected;               // the epoch is taken: publications can begin
    bool failed;                  // a fatal error: the process must stop; `error` says why
    struct base_error error;      // the last one, or code BASE_OK
    struct publisher_result last; // the newest publication; version.epoch 0: none yet
    int64_t last_tick;
    int64_t last_wall_ms;
    uint64_t publications, failures;
    int64_t head_tick; // of the version that Redis had when we started; INT64_MIN: none
    bool head_ours;    // it is of our lineage: of an earlier life of this very state directory
    uint64_t epoch;    // ours; 0: none yet
};

// `config` is copied, what it points to is borrowed. The epoch will be above `min_epoch`.
struct daemon_outbox *daemon_outbox_new(const struct publisher_config *config, uint64_t min_epoch,
                                        struct base_error *error);
// Starts the thread, which connects and takes the epoch, again and again until it can, and publishes.
int daemon_outbox_start(struct daemon_outbox *outbox, struct base_error *error);
// Without the thread: one attempt to connect, or to publish what is out. True: something was done.
bool daemon_outbox_step(struct daemon_outbox *outbox);
// Ends the thread after the snapshot that is out (or its next failure). Takes NULL.
void daemon_outbox_free(struct daemon_outbox *outbox);

// Gives a snapshot to the thread; false if one is out or the epoch is not taken yet: it stays the caller's.
bool daemon_outbox_offer(struct daemon_outbox *outbox, struct trainer_snapshot *snapshot);
// True if a snapshot of `tick` would be taken now; *full says whether it has to be a base. False too while
// `tick` has not passed the tick of the version that Redis had at the start: readers never go back in time.
bool daemon_outbox_ready(struct daemon_outbox *outbox, int64_t tick, bool *full);
// The snapshot that came back, or NULL; *published says what became of it. Waits up to timeout_ms for one
// that is out, or for the first connection.
struct trainer_snapshot *daemon_outbox_collect(struct daemon_outbox *outbox, int timeout_ms, bool *published);

void daemon_outbox_state(struct daemon_outbox *outbox, struct daemon_outbox_state *state);

#endif
