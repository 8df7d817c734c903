// The cutter: decides when a cut is taken, and the cut's own thread, which makes it durable.
//
//   ingest: due? -> daemon_cutter_begin -> consumer_ingest_save into it -> through the feed
//   learner: adds the trainer's rows in portions -> daemon_cutter_give
//   cut thread: sync what the logs wrote -> one write batch -> LAST_CUT -> tell ingest
//
// At most one cut is under way. The batch is atomic: a crash leaves the cut before or this one. LAST_CUT
// comes after it, so that a database that is older than the file is a copy that somebody put back.
//
// Cuts are due after an interval, or sooner when much is dirty, but never so often that writing them takes
// more than a share of the processor's time.
#ifndef DAEMON_CUTTER_H
#define DAEMON_CUTTER_H

#include "base/clock.h"
#include "base/disk.h"
#include "daemon/config.h"
#include "daemon/cuts.h"
#include "daemon/reserve.h"
#include "daemon/store.h"
#include "trainer/cut.h"

// A cut under way: what each thread adds to it. It is the cutter's, from its beginning to its end.
struct daemon_cut {
    uint64_t number;
    // Ingest's:
    struct base_buffer ingest; // consumer_ingest_save
    struct base_sync *sync;    // what has to be durable before the batch is
    // The learner's:
    struct base_buffer learner; // daemon_learner_save
    struct trainer_cut *trainer;
    int64_t tick; // the last one that is learned; INT64_MIN: none
    uint64_t examples, rows;
    uint64_t epoch; // 0: none was taken
    int64_t standstill_ns;
};

// What a cut says of publication: daemon_cuts' blob of that name.
void daemon_cut_pack_publication(uint64_t epoch, uint64_t era, struct base_buffer *blob);
// Errors: BASE_EFORMAT.
int daemon_cut_read_publication(struct base_span blob, uint64_t *epoch, uint64_t *era,
                                struct base_error *error);

struct daemon_cutter_config {
    const char *state_dir;
    struct base_disk *disk;         // NULL: the system's
    struct daemon_store *store;     // borrowed
    struct daemon_reserve *reserve; // borrowed; NULL: the room is not looked at
    // Of the cut that we go on from (number 0: none); store, config and era are those of all cuts to come.
    struct daemon_cut_record record;
    uint64_t epoch;                 // the highest that was taken, and the
    uint64_t era;                   // number of the present determinism era: both go into every cut
    struct daemon_config_cuts cuts; // when, and how many are kept
    const struct base_clock *clock;
};

struct daemon_cutter_state {
    uint64_t done; // number of the newest durable cut; 0: none
    uint64_t
        journal; // where the decision journal has to begin for that cut and for every kept one; 0: unknown
    int64_t tick, wall_ms;
    uint64_t cuts;                              // made by this process
    uint64_t bytes;                             // of the last one
    int64_t duration_ns, standstill_ns, cpu_ns; // of the last one
    int64_t standstill_max_ns;
    bool failed;
    struct base_error error; // then
};

struct daemon_cutter;

struct daemon_cutter *daemon_cutter_new(const struct daemon_cutter_config *config);
int daemon_cutter_start(struct daemon_cutter *cutter, struct base_error *error); // the thread
// Without the thread: writes the cut that was given. True: there was one.
bool daemon_cutter_step(struct daemon_cutter *cutter);
// Ends the thread once what was given is written; what was begun and never given is dropped. Takes NULL.
void daemon_cutter_free(struct daemon_cutter *cutter);

// True if a cut should be begun now. `dirty` is what it would write. Thread: ingest.
bool daemon_cutter_due(struct daemon_cutter *cutter, uint64_t dirty);
// Begins one, also if none is due (the last one of a clean stop); NULL while one is under way. Thread:
// ingest.
struct daemon_cut *daemon_cutter_begin(struct daemon_cutter *cutter);
// The cut is complete: nobody else touches it from here on. Thread: the learner.
void daemon_cutter_give(struct daemon_cutter *cutter, struct daemon_cut *cut);
// A cut that was begun will not be completed. Any thread.
void daemon_cutter_abandon(struct daemon_cutter *cutter, struct daemon_cut *cut);
// Waits up to timeout_ms until no cut is under way. True: none is.
bool daemon_cutter_wait(struct daemon_cutter *cutter, int timeout_ms);

void daemon_cutter_state(struct daemon_cutter *cutter, struct daemon_cutter_state *state); // any thread

#endif
