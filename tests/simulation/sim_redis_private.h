// The inside of the simulated Redis, shared by its server and its commands.
#ifndef TESTS_SIMULATION_SIM_REDIS_PRIVATE_H
#define TESTS_SIMULATION_SIM_REDIS_PRIVATE_H

#include "simulation/sim_redis.h"
#include "simulation/sim_redis_store.h"

enum { SIM_REDIS_WORDS_MAX = 1 << 16 };

struct sim_connection;

struct sim_redis {
    struct sim_clock *clock;
    struct sim_faults *faults;
    struct publisher_redis_transport transport;
    struct sim_store store;
    char run_id[41];
    uint64_t lives; // servers that there have been: makes run ids
    const char *policy;
    bool master;
    bool refusing; // the present command may not write
    int64_t down_until_ms;
    uint64_t commands;
    struct sim_connection *connections; // open ones, and closed ones with commands under way
    struct base_span *words;            // [SIM_REDIS_WORDS_MAX] of the present command
};

// Runs a command given as words; appends the reply.
void sim_redis_run_words(struct sim_redis *redis, const struct base_span *words, uint32_t count,
                         struct base_buffer *reply);
// The entry of a key; NULL if there is none or it has expired (it is removed then).
struct sim_entry *sim_redis_look(struct sim_redis *redis, struct base_span key);

#endif
