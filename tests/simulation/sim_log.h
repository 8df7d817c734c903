// A Kafka in memory: four topics (impressions, clicks, purchases, watches) of some partitions, whose content is drawn
// from a seed and arrives as simulated time passes; and sources that read it, as many as daemons live.
//
// A partition is a list of offsets. Some hold records, others the markers of transactions or records of an
// aborted one: holes to a reader. A record of an open transaction is in the log (below the high watermark)
// but not stable; nor is anything behind it. A record is of schemas/*.avsc, bare (without framing).
//
// Sites of a source: log.outage (no answer from the broker for up to 20 s: polls fail retriably or give
// nothing more), log.error (one retriable error), log.slow (an answer is a while old). A poll gives up to as
// many messages as `fetch` says, often fewer; their bytes are freed at the partition's next poll.
//
// Thread: one.
#ifndef TESTS_SIMULATION_SIM_LOG_H
#define TESTS_SIMULATION_SIM_LOG_H

#include "consumer/source.h"
#include "simulation/sim_clock.h"
#include "simulation/sim_random.h"

enum { SIM_LOG_WATCH = 3, SIM_LOG_RANKS, SIM_LOG_LANES_MAX = 8 };

struct sim_log_config {
    uint32_t lanes;
    uint32_t impressions;  // of each lane
    int64_t start_wall_ms; // event time of the first
    int64_t span_ms;       // event time from the first to the last impression
    double ctr, cvr, watched;                // the last: a side action of the impression
    int64_t click_ms, purchase_ms, watch_ms; // mean delays, exponential
    int64_t network_ms;            // mean time from event to log, exponential
    double late;                   // share of records that take longer,
    int64_t late_ms;               //   by this mean
    double duplicates;             // arrive twice
    double orphans;                // actions that name an impression that never was, or none
    double future;                 // event times far ahead of the message's timestamp
    double undecodable;            // bytes that are no record, or no bytes at all
    double transactions;           // chance that a transaction begins at a record; a third of them abort
    uint32_t pauses;               // spans in which nothing arrives in one partition
    int64_t pause_ms;              // their mean length
    uint32_t users, items;
    int fetch;
};

// A mixture drawn from a seed: around `impressions` a lane, over about `span_ms`.
void sim_log_config_draw(struct sim_log_config *config, uint64_t seed, uint32_t impressions, int64_t span_ms);

struct sim_log;

// Writes the script; time 0 of it is now on the clock. `clock` and `faults` (NULL: none) are borrowed.
struct sim_log *sim_log_new(const struct sim_log_config *config, uint64_t seed, struct sim_clock *clock,
                            struct sim_faults *faults);
void sim_log_free(struct sim_log *log); // after its sources are closed

// Opens a source at these offsets, [rank * lanes + lane], or at the beginning (NULL). `bounded`: all of the
// script is there at once, and it ends; the clock does not matter then, nor do faults. Closed by its user.
struct consumer_source *sim_log_open(struct sim_log *log, const int64_t *offsets, bool bounded);

// Offsets in a partition once all of the script has arrived, and by now.
int64_t sim_log_end(const struct sim_log *log, uint32_t rank, uint32_t lane);
int64_t sim_log_high(const struct sim_log *log, uint32_t rank, uint32_t lane);
// When the last record arrives and is stable, in monotonic ms.
int64_t sim_log_complete_ms(const struct sim_log *log);
uint64_t sim_log_records(const struct sim_log *log); // that a reader gets, of the whole script

// Deletes what lies below an offset. Who reads there gets an error that is not retriable.
void sim_log_retain(struct sim_log *log, uint32_t rank, uint32_t lane, int64_t offset);
// Another log under the same name: other records at the same offsets. No source may be open.
void sim_log_recreate(struct sim_log *log, uint64_t seed);

#endif
