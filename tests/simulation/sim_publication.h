// Judges what lies in a simulated Redis by schemas/publication.md.
#ifndef TESTS_SIMULATION_SIM_PUBLICATION_H
#define TESTS_SIMULATION_SIM_PUBLICATION_H

#include "publisher/keys.h"
#include "simulation/sim_redis.h"

// Loads all of the version that head names with the publisher's own loader, and looks at expiries: a key that
// head refers to has none, every other key of a version has one. 0, with the version and its tick (epoch 0:
// there is no head); or -1 and what is wrong. No faults may be on, nothing may have been lost.
int sim_publication_check(struct sim_redis *redis, const char *model, struct publisher_version *version,
                          int64_t *tick, struct base_error *error);

#endif
