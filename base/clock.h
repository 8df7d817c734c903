// Time as an interface, so that tests and the simulation drive it.
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct base_clock {
    int64_t (*monotonic_ns)(void *context); // never goes back; for intervals
    int64_t (*wall_ms)(void *context);      // since 1970; for logs and metrics only, never for decisions
    void *context;
};

// The system's clocks.
extern const struct base_clock base_clock_system;

static inline int64_t base_clock_monotonic_ns(const struct base_clock *clock)
{
    return clock->monotonic_ns(clock->context);
}

static inline int64_t base_clock_wall_ms(const struct base_clock *clock)
{
    return clock->wall_ms(clock->context);
}

#endif
