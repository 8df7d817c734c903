// A small marketplace in files, and a configuration over it: what tests of the whole pipeline run on.
#ifndef DAEMON_PIPELINE_WORLD_H
#define DAEMON_PIPELINE_WORLD_H

#include "daemon/config.h"
#include "daemon/scratch.h"

enum { WORLD_PATH = 512 };

struct world {
    char directory[DAEMON_SCRATCH_MAX];
    struct daemon_config *config;
    uint64_t records;
    uint64_t dead;     // how many more actions are written whose event time is out of bounds
    const char *model; // further settings of the model's section, lines of "  key: value\n", or NULL
};

// Writes the files of `impressions` and loads the configuration; `socket` is of its Redis. Set world->dead
// and ->model before.
void world_open(struct world *world, uint64_t impressions, const char *socket);
void world_close(struct world *world);

#endif
