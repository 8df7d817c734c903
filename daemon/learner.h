// The learner: the trainer's thread. Takes minibatches and markers from the feed, trains, evaluates what was
// predicted before each update, at tick ends hands snapshots to the outbox, about once an interval, and adds
// the model to a cut that comes along.
//
// A cut costs a standstill of milliseconds: the model freezes what is to be saved, and its rows are copied in
// portions between the minibatches that follow.
//
// After a restart from a cut it relearns what came after it. Until it has passed the tick of the version that
// Redis has, nothing is published; at that very tick the model is the published one to the bit, so that the
// next publication is a delta again.
//
// A minibatch whose loss or gradient is not finite changes nothing: its lanes and sequence numbers go to
// <state_dir>/set-aside.jsonl, and when more than DAEMON_LEARNER_ASIDE_MAX of the last
// DAEMON_LEARNER_ASIDE_WINDOW minibatches went there, the learner stops with an error, because then it is the
// model that is broken.
#ifndef DAEMON_LEARNER_H
#define DAEMON_LEARNER_H

#include "daemon/feed.h"
#include "daemon/outbox.h"
#include "trainer/evaluator.h"
#include "trainer/model.h"

enum {
    DAEMON_LEARNER_ASIDE_WINDOW = 1000, // minibatches
    DAEMON_LEARNER_ASIDE_MAX = 10,
};

struct daemon_learner_config {
    struct trainer_model *model;  // the thread's own until it has ended
    struct daemon_feed *feed;     // borrowed
    struct daemon_outbox *outbox; // borrowed; NULL: nothing is published
    struct daemon_cutter *cutter; // borrowed; NULL: there are no cuts
    int64_t tick_ms;
    int64_t publish_interval_ms;
    size_t cut_rows; // of a cut, copied after each item of the feed; 0: as many as take a fraction of a
                     // millisecond
    const char *state_dir;
    const char *predictions; // a file to write daemon_prediction records to, or NULL
    const struct base_clock *clock;
};

// A record of the predictions file: what the model said of a sample before it learned from it. Little-endian,
// followed by `tasks` floats: the products P(stages 0..k all happen). For offline evaluation against a truth.
struct daemon_prediction {
    uint64_t impression; // XXH3 of the impression_id
    uint8_t kind, mask;  // of the sample
    uint8_t labels;      // bit k: task k's label
    uint8_t tasks;
};

struct daemon_learner_state {
    bool ended;
    struct base_error error; // code BASE_OK: none
    uint64_t beats;          // moves on as long as the thread is alive, also when it has nothing to do
    uint64_t samples, minibatches, set_aside;
    uint64_t finals; // samples that were evaluated only
    struct trainer_update_figures update;
    uint64_t cut_crosses; // trainer_model_cut_crosses
    uint64_t
        fingerprint; // of the sequence of samples: their sum, modulo 2^64, of XXH3 over identity and labels
    int64_t tick;    // the last one that is learned; INT64_MIN: none
    uint32_t tasks;
    struct trainer_evaluation window[BASE_TASKS_MAX]; // products, last minute
    struct trainer_evaluation total[BASE_TASKS_MAX];
    struct trainer_value_evaluation value_window[BASE_TASKS_MAX]; // of the tasks that have values
    struct trainer_value_evaluation value_total[BASE_TASKS_MAX];
    uint64_t rows, bytes; // of the embedding table
    uint64_t dirty_bytes; // what a cut would write, about
};

struct daemon_learner;

// `config` is copied. Errors: BASE_EIO (the predictions file).
struct daemon_learner *daemon_learner_new(const struct daemon_learner_config *config,
                                          struct base_error *error);
// Goes on where a cut was made: what daemon_learner_save wrote. The model is restored by its own means.
// Before the start. Errors: BASE_EFORMAT; BASE_EIO (the list of what was set aside).
int daemon_learner_restore(struct daemon_learner *learner, struct base_reader *from,
                           struct base_error *error);
// Starts the thread, which does daemon_learner_step until that is false.
int daemon_learner_start(struct daemon_learner *learner, struct base_error *error);
// Takes one item from the feed, waiting up to timeout_ms, and does what has to be done. False: the feed is
// drained or an error came, and the last state is published or cannot be.
bool daemon_learner_step(struct daemon_learner *learner, int timeout_ms);
// Between steps: the last tick; whether nothing was learned since.
bool daemon_learner_at(const struct daemon_learner *learner, int64_t *tick);
// Waits until the thread has ended. Takes NULL.
void daemon_learner_join(struct daemon_learner *learner);
void daemon_learner_free(struct daemon_learner *learner); // joins first; takes NULL
// Any thread.
void daemon_learner_state(struct daemon_learner *learner, struct daemon_learner_state *state);

#endif
