// Workers: a fixed team of threads that works through a list of tiles. The list is the same for any number of
// workers and every output has one owner, so that the team's size changes nothing but the time.
#ifndef TRAINER_WORKERS_H
#define TRAINER_WORKERS_H

#include <stdint.h>

#include "base/error.h"

enum { TRAINER_WORKERS_MAX = 64 };

struct trainer_workers;

// `count` threads work, the caller's included: 1 starts none.
struct trainer_workers *trainer_workers_new(uint32_t count, struct base_error *error);
void trainer_workers_free(struct trainer_workers *workers);
uint32_t trainer_workers_count(const struct trainer_workers *workers);

typedef void trainer_tile(void *context, uint32_t tile);
// Calls tile(context, i) once for each i < tiles, spread over the team; returns when all are done.
// Thread: the one that made the team; not from within a tile.
void trainer_workers_run(struct trainer_workers *workers, uint32_t tiles, trainer_tile *tile, void *context);

#endif
