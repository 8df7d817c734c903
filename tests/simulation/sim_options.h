// The command line of the programs that try one seed after the other.
#ifndef TESTS_SIMULATION_SIM_OPTIONS_H
#define TESTS_SIMULATION_SIM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct sim_options {
    uint64_t seeds, from; // the seeds are [from, from + seeds)
    uint64_t ticks;       // of a seed's story
    bool verbose;
};

// Reads [--seeds N] [--from S] [--ticks N] [--verbose] over the program's defaults, which `options` holds.
// --help, and what it does not know, print the usage of `program` and end the process, with status 0 and 2.
void sim_options_read(struct sim_options *options, const char *program, int argc, char **argv);

#endif
