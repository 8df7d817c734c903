// The pipeline: the whole path from a source to Redis, built from a configuration and run by its threads.
//
//   ingest thread: source -> decoders -> lanes -> ticks -> feed ->  learner thread: model -> outbox thread:
//   Redis
//
// freshetd runs it without end, durably: with a decision journal and cuts in its state directory, from which
// the next process goes on. `freshet replay` runs it over a bounded source, from nothing or from a cut. One
// call builds all, one call starts the threads, one ends them; nothing here logs.
//
// A simulation runs the same parts on one thread, with a log, a disk, a database, a Redis and a clock of its
// own: daemon_pipeline_step instead of daemon_pipeline_start.
#ifndef DAEMON_PIPELINE_H
#define DAEMON_PIPELINE_H

#include "consumer/ingest.h"
#include "daemon/config.h"
#include "daemon/cutter.h"
#include "daemon/learner.h"
#include "daemon/outbox.h"

// What a simulation puts in place of the real things; NULL: the real thing.
struct daemon_pipeline_parts {
    // Opens a source at these offsets [ranks * lanes], or at its start (NULL). Closed by the pipeline.
    struct consumer_source *(*open_source)(void *context, const int64_t *offsets, uint32_t lanes,
                                           struct base_error *error);
    void *context;
    struct base_disk *disk;
    struct daemon_store *store;                    // stays the caller's
    const struct publisher_redis_transport *redis; // publisher/redis.h
    const struct base_clock *clock;
    size_t cut_rows;        // see daemon_learner_config
    uint64_t journal_bytes; // see consumer_journal_config
};

struct daemon_pipeline_options {
    bool durable;            // journal, cuts, and going on from the last one
    bool restore;            // go on from the cut that state_dir is at, without making others (replay --from)
    const char *obey;        // directory of a decision journal that is obeyed (replay)
    const int64_t *to;       // the last tick that is learned (replay --to); NULL: none is
    bool bounded;            // stop at source.ends, else at the end of the source as it is now
    bool finish;             // bounded: let every cursor run out (watermark +infinity)
    bool publish;            // to Redis
    uint32_t workers;        // 0: as configured
    uint32_t fetch;          // files: messages read ahead a partition; 0: as configured
    const char *state_dir;   // NULL: as configured
    const char *samples;     // write the joined samples to this Avro file, or NULL
    bool features;           // with their columns
    const char *predictions; // see daemon_learner_config
    struct daemon_pipeline_parts parts;
};

// What a durable pipeline found when it was built, for the log.
struct daemon_pipeline_beginning {
    uint64_t cut; // the one that it goes on from; 0: none, it begins afresh
    int64_t tick; // of it
    uint64_t examples;
    bool new_era;       // other arithmetic than at the cut: not the same bits from here on
    bool new_config;    // other settings
    uint64_t decisions; // of the journal that are obeyed again
    // What the cut did not have, and the model (trainer/cut.h): the pipeline's; and the last so many actions.
    const struct trainer_news *news; // [news_count]
    uint32_t news_count, new_actions;
};

struct daemon_pipeline_state {
    uint64_t beats;            // of ingest: moves on as long as its thread is alive
    bool ended;                // ingest has: source finished, stopped or failed
    struct base_error error;   // of ingest; code BASE_OK: none
    struct base_error trouble; // the last one of the source that heals by itself; BASE_OK: there was none
    int64_t trouble_ms;        // when, by the wall clock
    struct consumer_ingest_state ingest;
    struct daemon_learner_state learner;
    struct daemon_outbox_state outbox;
    struct daemon_cutter_state cutter; // durable only
    bool joined;
    uint64_t weights; // once joined: daemon_pipeline_hash
};

struct daemon_pipeline;

// Builds everything and opens the source. `config` is borrowed. Errors: those of the parts, the thing named.
struct daemon_pipeline *daemon_pipeline_new(const struct daemon_config *config,
                                            const struct daemon_pipeline_options *options,
                                            struct base_error *error);
int daemon_pipeline_start(struct daemon_pipeline *pipeline, struct base_error *error);
void daemon_pipeline_beginning(const struct daemon_pipeline *pipeline,
                               struct daemon_pipeline_beginning *beginning);
// Instead of the start: a little of everything, on the caller's thread: a step of ingest, what the trainer
// has to do, one publication, one cut. False: all has ended (source finished or stopped; drained; published;
// cut).
bool daemon_pipeline_step(struct daemon_pipeline *pipeline);
// Asks ingest to stop after its present step. Any thread.
void daemon_pipeline_stop(struct daemon_pipeline *pipeline);
// Waits until ingest has ended, the trainer has drained the feed and the last state is published (or cannot
// be). -1: a part failed; the first error. Thread: the one that started it.
int daemon_pipeline_join(struct daemon_pipeline *pipeline, struct base_error *error);
void daemon_pipeline_free(struct daemon_pipeline *pipeline); // stops and joins first; takes NULL

void daemon_pipeline_state(struct daemon_pipeline *pipeline, struct daemon_pipeline_state *state);
// What the source says of itself (consumer/source.h), or NULL; the caller frees. Any thread.
char *daemon_pipeline_statistics(const struct daemon_pipeline *pipeline);
// After the join: the weight hash. Between steps too.
uint64_t daemon_pipeline_hash(const struct daemon_pipeline *pipeline);
// Between steps: the tick after which the weights are as they are now. False: something of the next one is
// learned already.
bool daemon_pipeline_at(const struct daemon_pipeline *pipeline, int64_t *tick);

#endif
