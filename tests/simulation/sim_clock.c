// A clock that the driver moves. See sim_clock.h.
#include "simulation/sim_clock.h"

#include <assert.h>

static int64_t clock_monotonic(void *context)
{
    return ((const struct sim_clock *)context)->now_ns;
}

static int64_t clock_wall(void *context)
{
    const struct sim_clock *clock = context;
    return clock->now_ns / 1000000 + clock->wall_offset_ms;
}

void sim_clock_init(struct sim_clock *clock, int64_t wall_ms)
{
    *clock = (struct sim_clock){
        .clock = {clock_monotonic, clock_wall, clock},
        .now_ns = 1000000000,
        .wall_offset_ms = wall_ms - 1000,
    };
}

void sim_clock_advance(struct sim_clock *clock, int64_t ns)
{
    assert(ns >= 0);
    clock->now_ns += ns;
}

void sim_clock_step_wall(struct sim_clock *clock, int64_t ms)
{
    clock->wall_offset_ms += ms;
}

int64_t sim_clock_ms(const struct sim_clock *clock)
{
    return clock->now_ns / 1000000;
}
