// The pipeline: the whole path from a source to Redis, built from a configuration and run by its threads.
//
//   ingest thread: source -> decoders -> lanes -> ticks -> feed ->  learner thread: model -> outbox thread:
//   Redis
//
// freshetd runs it without end; `freshet replay` runs it over a bounded source. One call builds all, one call
// starts the threads, one ends them; nothing here logs.
#ifndef DAEMON_PIPELINE_H
#define DAEMON_PIPELINE_H

#include "consumer/ingest.h"
#include "daemon/config.h"
#include "daemon/learner.h"
#include "daemon/outbox.h"

struct daemon_pipeline_options {
    bool bounded;            // stop at source.ends, else at the end of the source as it is now
    bool finish;             // bounded: let every cursor run out (watermark +infinity)
    bool publish;            // to Redis
    uint32_t workers;        // 0: as configured
    uint32_t fetch;          // files: messages read ahead a partition; 0: as configured
    const char *state_dir;   // NULL: as configured
    const char *samples;     // write the joined samples to this Avro file, or NULL
    bool features;           // with their columns
    const char *predictions; // see daemon_learner_config
};

struct daemon_pipeline_state {
    uint64_t beats;          // of ingest: moves on as long as its thread is alive
    bool ended;              // ingest has: source finished, stopped or failed
    struct base_error error; // of ingest; code BASE_OK: none
    struct consumer_ingest_state ingest;
    struct daemon_learner_state learner;
    struct daemon_outbox_state outbox;
};

struct daemon_pipeline;

// Builds everything and opens the source. `config` is borrowed. Errors: those of the parts, the thing named.
struct daemon_pipeline *daemon_pipeline_new(const struct daemon_config *config,
                                            const struct daemon_pipeline_options *options,
                                            struct base_error *error);
int daemon_pipeline_start(struct daemon_pipeline *pipeline, struct base_error *error);
// Asks ingest to stop after its present step. Any thread.
void daemon_pipeline_stop(struct daemon_pipeline *pipeline);
// Waits until ingest has ended, the trainer has drained the feed and the last state is published (or cannot
// be). -1: a part failed; the first error. Thread: the one that started it.
int daemon_pipeline_join(struct daemon_pipeline *pipeline, struct base_error *error);
void daemon_pipeline_free(struct daemon_pipeline *pipeline); // stops and joins first; takes NULL

void daemon_pipeline_state(struct daemon_pipeline *pipeline, struct daemon_pipeline_state *state);
// After the join: the weight hash.
uint64_t daemon_pipeline_hash(const struct daemon_pipeline *pipeline);

#endif
