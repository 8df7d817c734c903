// A clock that stands still until the driver moves it. Monotonic time never goes back; the wall clock may be
// set.
#ifndef TESTS_SIMULATION_SIM_CLOCK_H
#define TESTS_SIMULATION_SIM_CLOCK_H

#include "base/clock.h"

struct sim_clock {
    struct base_clock clock; // what is given to the code under test
    int64_t now_ns;          // monotonic
    int64_t wall_offset_ms;  // wall clock minus monotonic
};

// Begins at 1 s monotonic and the given wall time. The clock must not be moved in memory afterwards.
void sim_clock_init(struct sim_clock *clock, int64_t wall_ms);
void sim_clock_advance(struct sim_clock *clock, int64_t ns); // ns >= 0
// Sets the wall clock forward, or back by a negative number; monotonic time stays.
void sim_clock_step_wall(struct sim_clock *clock, int64_t ms);
int64_t sim_clock_ms(const struct sim_clock *clock); // monotonic

#endif
