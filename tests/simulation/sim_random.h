// Random draws and fault sites of a simulation: all of them functions of one seed.
//
// A fault site has a name. For a seed it is on or off, each with the same chance; one that is on fires now
// and then (a quarter of the times it is asked, unless it was given another rate). So some seeds see much of
// one kind of trouble and nothing of another, which finds more than a little of everything. Every site draws
// from a stream of its own: a new site does not change what the others do.
#ifndef TESTS_SIMULATION_SIM_RANDOM_H
#define TESTS_SIMULATION_SIM_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct sim_random {
    uint64_t key, counter;
};

struct sim_random sim_random_make(uint64_t seed, const char *purpose);
uint64_t sim_random_bits(struct sim_random *random);
uint64_t sim_random_below(struct sim_random *random, uint64_t bound);               // [0, bound), bound > 0
int64_t sim_random_between(struct sim_random *random, int64_t least, int64_t most); // both included
bool sim_random_chance(struct sim_random *random, double probability);

enum { SIM_SITES_MAX = 64, SIM_SITE_NAME_MAX = 40 };

struct sim_site {
    char name[SIM_SITE_NAME_MAX];
    bool on;
    double rate; // how often it fires if it is on
    struct sim_random random;
    uint64_t asked, fired;
};

struct sim_faults {
    uint64_t seed;
    bool quiet; // nothing fires: set towards the end of a run, to see that it recovers
    uint32_t count;
    struct sim_site sites[SIM_SITES_MAX];
};

void sim_faults_init(struct sim_faults *faults, uint64_t seed);
// Sets how often a site fires if it is on; 0: never.
void sim_faults_rate(struct sim_faults *faults, const char *name, double rate);
// True if the fault happens now. `faults` NULL: it never does.
bool sim_fault(struct sim_faults *faults, const char *name);
// The stream that a site decides by, for what else it has to draw (where a write tears, say).
struct sim_random *sim_faults_draw(struct sim_faults *faults, const char *name);
// One line a site: name, on or off, asked, fired.
void sim_faults_print(const struct sim_faults *faults, FILE *file);

#endif
