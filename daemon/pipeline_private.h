// The pipeline's inside, shared by pipeline.c (building, running) and pipeline_state.c (what it goes on
// from).
#ifndef DAEMON_PIPELINE_PRIVATE_H
#define DAEMON_PIPELINE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "consumer/deadletter.h"
#include "consumer/journal.h"
#include "consumer/samplefile.h"
#include "daemon/pipeline.h"

struct daemon_pipeline {
    const struct daemon_config *config;
    struct daemon_pipeline_options options;
    const char *state_dir;
    struct base_disk *disk;
    const struct base_clock *clock;
    char lanes_dir[DAEMON_CONFIG_PATH_MAX];
    char dead_dir[DAEMON_CONFIG_PATH_MAX];
    char cache_dir[DAEMON_CONFIG_PATH_MAX];
    char *descriptor;

    // The state that it goes on from; closed or empty unless durable or `from`.
    struct daemon_store *store;
    struct daemon_reserve *reserve;
    struct daemon_cut_record record; // number 0: there is none
    struct base_buffer saved_ingest, saved_learner;
    struct daemon_pipeline_beginning beginning;
    struct consumer_journal *journal;
    uint64_t epoch;   // the highest that was taken before
    uint64_t era;     // number of the determinism era
    char lineage[40]; // the database's identity and the era: whose the versions are

    struct consumer_source *source;
    struct consumer_registry *registry;
    struct consumer_decoder *decoders[CONSUMER_TOPICS_MAX];
    struct consumer_deadletter *deadletter;
    struct consumer_ingest *ingest;
    struct consumer_samplefile *samplefile;
    struct daemon_feed *feed;
    struct trainer_model *model;
    struct daemon_outbox *outbox;
    struct daemon_cutter *cutter;
    struct daemon_learner *learner;

    pthread_t thread; // ingest's
    bool started, joined;
    uint64_t weights;                 // once joined
    bool ingest_ended, learner_ended; // steps only
    uint64_t cut_done;                // that ingest knows of
    int64_t *cut_offsets;             // [ranks * lanes] of the cut that was begun last
    atomic_bool stop;
    pthread_mutex_t lock;
    uint64_t beats;
    bool ended;
    struct base_error error;
    struct base_error trouble;
    int64_t trouble_ms;
    struct consumer_ingest_state ingest_state;
};

// Opens the database and reads the last cut's record, if this pipeline is to go on from one. Errors: those of
// the store; BASE_ECONFLICT (an older database than the last cut; settings that cannot be changed).
int daemon_pipeline_open_state(struct daemon_pipeline *pipeline, struct base_error *error);
// Opens the journal of decisions as soon as the lanes are known (from the cut; else from the source, on a
// second call), and notes what begins here. Errors: the journal's.
int daemon_pipeline_open_journal(struct daemon_pipeline *pipeline, struct base_error *error);
// Puts the model back as it was at the cut. Errors: the store's, the model's.
int daemon_pipeline_restore_model(struct daemon_pipeline *pipeline, struct base_error *error);

#endif
