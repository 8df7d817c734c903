// A pipeline on one thread, with a clock of the test's own and a database in memory, that can be killed
// between any two steps: what tests of the durable pipeline run.
#ifndef DAEMON_MACHINE_H
#define DAEMON_MACHINE_H

#include "daemon/pipeline.h"

enum { MACHINE_STEP_MS = 20, MACHINE_STEPS_MAX = 100000 };

struct machine {
    int64_t now_ms;
    struct base_clock clock;
    struct daemon_store *store;
    struct daemon_pipeline_options options; // bounded and durable; a test may change them
};

void machine_open(struct machine *machine);
// A process begins on what the last one left. It dies by daemon_pipeline_free.
struct daemon_pipeline *machine_start(struct machine *machine, const struct daemon_config *config);
// Up to `steps` steps. True: it has ended.
bool machine_step(struct machine *machine, struct daemon_pipeline *pipeline, int steps);
// To its end, which is a good one.
void machine_finish(struct machine *machine, struct daemon_pipeline *pipeline,
                    struct daemon_pipeline_state *state);

#endif
