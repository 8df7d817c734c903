// The system's clocks behind the interface of clock.h.
#include "base/clock.h"

#include <time.h>

static int64_t clock_read_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t system_monotonic_ns(void *context)
{
    (void)context;
    return clock_read_ns(CLOCK_MONOTONIC);
}

static int64_t system_wall_ms(void *context)
{
    (void)context;
    return clock_read_ns(CLOCK_REALTIME) / 1000000;
}

const struct base_clock base_clock_system = {system_monotonic_ns, system_wall_ms, 0};
