// Clocks: the system's, and one that a test drives.
#include "base/clock.h"

#include <criterion/criterion.h>
#include <time.h>

Test(clock, monotonic_advances_and_never_goes_back)
{
    int64_t last = base_clock_monotonic_ns(&base_clock_system);
    int64_t first = last;
    for (int i = 0; i < 1000; i++) {
        int64_t now = base_clock_monotonic_ns(&base_clock_system);
        cr_assert_geq(now, last);
        last = now;
    }
    struct timespec nap = {0, 2000000};
    nanosleep(&nap, NULL);
    cr_assert_geq(base_clock_monotonic_ns(&base_clock_system) - first, 2000000);
}

Test(clock, wall_is_the_wall_clock)
{
    int64_t seconds = (int64_t)time(NULL);
    int64_t now = base_clock_wall_ms(&base_clock_system);
    cr_assert_geq(now, seconds * 1000 - 1000);
    cr_assert_leq(now, seconds * 1000 + 10000);
}

static int64_t driven(void *context)
{
    return *(int64_t *)context;
}

Test(clock, an_interface_that_tests_drive)
{
    int64_t now = 5;
    struct base_clock clock = {driven, driven, &now};
    cr_assert_eq(base_clock_monotonic_ns(&clock), 5);
    now = 7;
    cr_assert_eq(base_clock_wall_ms(&clock), 7);
}
