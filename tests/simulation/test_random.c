// Tests of the simulation's draws and clock.
#include <criterion/criterion.h>

#include "simulation/sim_clock.h"
#include "simulation/sim_random.h"

// A site is on for half of the seeds, fires a quarter of the time then, and never otherwise.
Test(sim_random, sites_are_on_or_off_for_a_seed)
{
    enum { SEEDS = 400, ASKED = 400 };
    uint32_t on = 0;
    uint64_t fired = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim_faults faults;
        sim_faults_init(&faults, seed);
        for (int i = 0; i < ASKED; i++) {
            sim_fault(&faults, "a.site");
        }
        cr_assert(faults.sites[0].on == (faults.sites[0].fired > 0));
        cr_assert_eq(faults.sites[0].asked, ASKED);
        on += faults.sites[0].on;
        fired += faults.sites[0].fired;
    }
    cr_assert(on > SEEDS * 4 / 10 && on < SEEDS * 6 / 10, "%u", on);
    double rate = (double)fired / on / ASKED;
    cr_assert(rate > 0.24 && rate < 0.26, "%f", rate);
}

// What one site does depends on its seed and name alone.
Test(sim_random, sites_do_not_disturb_each_other)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct sim_faults alone, beside;
        sim_faults_init(&alone, seed);
        sim_faults_init(&beside, seed);
        for (int i = 0; i < 100; i++) {
            sim_fault(&beside, "another");
            cr_assert_eq(sim_fault(&alone, "a.site"), sim_fault(&beside, "a.site"));
        }
    }
}

Test(sim_random, nothing_fires_when_it_is_quiet)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct sim_faults faults;
        sim_faults_init(&faults, seed);
        sim_faults_rate(&faults, "a.site", 1);
        faults.quiet = true;
        cr_assert_not(sim_fault(&faults, "a.site"));
        cr_assert_not(sim_fault(NULL, "a.site"));
    }
}

Test(sim_clock, the_wall_clock_may_step_and_time_does_not_go_back)
{
    struct sim_clock clock;
    sim_clock_init(&clock, 1700000000000);
    cr_assert_eq(base_clock_wall_ms(&clock.clock), 1700000000000);
    sim_clock_advance(&clock, 5000000);
    cr_assert_eq(base_clock_wall_ms(&clock.clock), 1700000000005);
    int64_t before = base_clock_monotonic_ns(&clock.clock);
    sim_clock_step_wall(&clock, -3600000);
    cr_assert_eq(base_clock_wall_ms(&clock.clock), 1700000000005 - 3600000);
    cr_assert_eq(base_clock_monotonic_ns(&clock.clock), before);
}
