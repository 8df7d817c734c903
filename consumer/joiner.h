// The joiner of a lane: takes events in the lane's order, keeps the journey logs, and emits samples when a
// journey is joined late or one of its cursors falls due. It decides every rule of docs/join.md except those
// of time (1 to 5), which are lane.c's. Thread: one at a time.
#ifndef CONSUMER_JOINER_H
#define CONSUMER_JOINER_H

#include "consumer/funnel.h"
#include "consumer/pending.h"

struct consumer_joiner;

// `funnel` is `config` compiled; `counters` and `pool` are the lane's and outlive the joiner.
// `config->directory` must exist. Errors: BASE_EIO.
struct consumer_joiner *consumer_joiner_new(const struct consumer_lane_config *config,
                                            const struct consumer_funnel *funnel, struct consumer_pool *pool,
                                            struct consumer_lane_counters *counters,
                                            struct base_error *error);
void consumer_joiner_free(struct consumer_joiner *joiner); // takes NULL; leaves the logs' files

// As consumer_lane_save, _cut_done and _restore; `now` is the lane's time, beyond which every cursor is due;
// `ranks` are those that were saved.
int consumer_joiner_save(struct consumer_joiner *joiner, uint64_t cut, struct base_buffer *state,
                         struct base_sync *sync, struct base_error *error);
void consumer_joiner_cut_done(struct consumer_joiner *joiner, uint64_t cut);
struct consumer_joiner *
consumer_joiner_restore(const struct consumer_lane_config *config, const struct consumer_funnel *funnel,
                        struct consumer_pool *pool, struct consumer_lane_counters *counters, uint32_t ranks,
                        int64_t now, struct base_reader *state, struct base_error *error);

// As consumer_lane_generations and consumer_lane_check_columns.
uint32_t consumer_joiner_generations(const struct consumer_joiner *joiner);
int consumer_joiner_check_columns(struct consumer_joiner *joiner, struct base_error *error);

// Begins a run: the spans of earlier samples are no longer used; samples go to `sink` from here on.
void consumer_joiner_begin(struct consumer_joiner *joiner, consumer_sample_sink *sink, void *context);
// Handles one event at the lane's time pending->time, and keeps it or gives it back to the pool. Errors:
// BASE_EIO, BASE_ELIMIT, BASE_EFORMAT (the journey log), the sink's; the joiner can then only be freed.
int consumer_joiner_handle(struct consumer_joiner *joiner, struct consumer_pending *pending,
                           struct base_error *error);
// Asks the processor for what the handling of an event will look at first.
void consumer_joiner_prefetch(const struct consumer_joiner *joiner, const struct consumer_pending *pending);
// The time of the earliest due cursor; CONSUMER_TIME_MAX: none.
int64_t consumer_joiner_next_time(const struct consumer_joiner *joiner);
// Fires all cursors due at `now`, class by class (rule 1). Every event at `now` has been handled, every
// cursor before it has fired. Errors: as handle.
int consumer_joiner_advance(struct consumer_joiner *joiner, int64_t now, struct base_error *error);

// Fills everything but `pending`.
void consumer_joiner_usage(const struct consumer_joiner *joiner, struct consumer_lane_usage *usage);

#endif
