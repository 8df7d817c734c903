// What arrives in the simulated log, and when.
#ifndef TESTS_SIMULATION_SIM_LOG_SCRIPT_H
#define TESTS_SIMULATION_SIM_LOG_SCRIPT_H

#include "simulation/sim_log.h"

// One offset of a partition.
struct sim_log_slot {
    bool record;        // that a reader gets; else a marker, or a record of an aborted transaction
    int64_t arrived_ms; // since the script's beginning; never goes back
    int64_t stable_ms;  // when its transaction and all before are closed; never goes back
    int64_t timestamp;  // the message's
    uint8_t *value;     // NULL: a tombstone
    size_t size;
};

struct sim_log_partition {
    struct sim_log_slot *slot;
    uint32_t count, capacity;
    int64_t first; // retention has deleted what is below
};

// Fills the partitions [SIM_LOG_RANKS * lanes], which are empty.
void sim_log_script(const struct sim_log_config *config, uint64_t seed, struct sim_log_partition *partitions);
void sim_log_script_clear(struct sim_log_partition *partition);

#endif
