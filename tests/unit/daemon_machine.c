// See daemon_machine.h.
#include "daemon_machine.h"

#include <criterion/criterion.h>

static int64_t machine_monotonic_ns(void *context)
{
    return ((struct machine *)context)->now_ms * 1000000;
}

static int64_t machine_wall_ms(void *context)
{
    return ((struct machine *)context)->now_ms;
}

void machine_open(struct machine *machine)
{
    *machine = (struct machine){.now_ms = 1000};
    machine->clock = (struct base_clock){machine_monotonic_ns, machine_wall_ms, machine};
    machine->store = daemon_store_memory_new();
    machine->options = (struct daemon_pipeline_options){
        .durable = true,
        .bounded = true,
        .finish = true,
        .fetch = 64,
        .parts = {.store = machine->store, .clock = &machine->clock},
    };
}

struct daemon_pipeline *machine_start(struct machine *machine, const struct daemon_config *config)
{
    struct base_error error = {0};
    struct daemon_pipeline *pipeline = daemon_pipeline_new(config, &machine->options, &error);
    cr_assert(pipeline, "%s", error.text);
    return pipeline;
}

bool machine_step(struct machine *machine, struct daemon_pipeline *pipeline, int steps)
{
    for (int i = 0; i < steps; i++) {
        machine->now_ms += MACHINE_STEP_MS;
        if (!daemon_pipeline_step(pipeline)) {
            return true;
        }
    }
    return false;
}

void machine_finish(struct machine *machine, struct daemon_pipeline *pipeline,
                    struct daemon_pipeline_state *state)
{
    struct base_error error = {0};
    cr_assert(machine_step(machine, pipeline, MACHINE_STEPS_MAX));
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
    daemon_pipeline_state(pipeline, state);
}
