// The limit of a training step: the matrix products of the same network alone, on one thread, by the calls of
// trainer/blas.h: what an implementation that does nothing else, and does them in the faster of two ways,
// would reach.
#ifndef DAEMON_BENCH_LIMIT_H
#define DAEMON_BENCH_LIMIT_H

#include <stdint.h>

#include "trainer/network.h"

struct daemon_bench_limit;

// The reference model: two levels, experts of 384-256-128 and 128-128, two own and two shared, towers of
// 128-64-1.
struct trainer_network_config daemon_bench_reference(void);

// The products of `config` with up to config->batch rows. NULL: the configuration cannot be.
struct daemon_bench_limit *daemon_bench_limit_new(const struct trainer_network_config *config,
                                                  struct base_error *error);
void daemon_bench_limit_free(struct daemon_bench_limit *limit);

// Measures once more with n rows; the seconds of the best step so far with so many rows. *way: which of the
// two it was, or NULL.
double daemon_bench_limit_turn(struct daemon_bench_limit *limit, uint32_t n, const char **way);

#endif
