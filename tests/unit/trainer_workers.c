// The team of threads: every tile once, whatever the team's size; idle threads cost nothing.
#include "trainer/workers.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TILES_MAX = 500 };

struct tally {
    _Atomic uint32_t times[TILES_MAX];
    uint32_t value[TILES_MAX]; // not atomic: every tile has one owner
    uint32_t work;
};

static void tally_tile(void *context, uint32_t tile)
{
    struct tally *tally = context;
    atomic_fetch_add(&tally->times[tile], 1);
    uint32_t value = tile;
    for (uint32_t i = 0; i < tally->work; i++) {
        value = value * 1664525u + 1013904223u;
    }
    tally->value[tile] = value;
}

static void run_team(uint32_t count, uint32_t rounds, uint32_t work)
{
    struct base_error error;
    struct trainer_workers *workers = trainer_workers_new(count, &error);
    cr_assert_not_null(workers);
    cr_assert_eq(trainer_workers_count(workers), count);
    static struct tally tally;
    for (uint32_t round = 0; round < rounds; round++) {
        memset(&tally, 0, sizeof tally);
        tally.work = work;
        uint32_t tiles = (round * 37) % TILES_MAX;
        trainer_workers_run(workers, tiles, tally_tile, &tally);
        for (uint32_t i = 0; i < TILES_MAX; i++) {
            cr_assert_eq(atomic_load(&tally.times[i]), i < tiles ? 1u : 0u, "team %u round %u tile %u", count,
                         round, i);
        }
    }
    trainer_workers_free(workers);
}

Test(trainer_workers, every_tile_once)
{
    const uint32_t counts[] = {1, 2, 3, 8};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        run_team(counts[i], 400, i % 2 ? 200 : 0);
    }
}

Test(trainer_workers, a_team_larger_than_the_machine)
{
    run_team(TRAINER_WORKERS_MAX, 60, 50);
}

Test(trainer_workers, short_rounds_in_quick_succession)
{
    struct base_error error;
    struct trainer_workers *workers = trainer_workers_new(4, &error);
    cr_assert_not_null(workers);
    static struct tally tally;
    for (uint32_t round = 0; round < 20000; round++) {
        trainer_workers_run(workers, 3, tally_tile, &tally);
    }
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect_eq(atomic_load(&tally.times[i]), 20000u);
    }
    trainer_workers_free(workers);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// Idle threads sleep, and wake for the next round.
Test(trainer_workers, idle_threads_sleep)
{
    struct base_error error;
    struct trainer_workers *workers = trainer_workers_new(8, &error);
    cr_assert_not_null(workers);
    static struct tally tally;
    for (uint32_t round = 0; round < 3; round++) {
        trainer_workers_run(workers, 16, tally_tile, &tally);
        double before = seconds(CLOCK_PROCESS_CPUTIME_ID);
        nanosleep(&(struct timespec){0, 300000000}, NULL);
        double used = seconds(CLOCK_PROCESS_CPUTIME_ID) - before;
        cr_expect_lt(used, 0.1, "%.3f s of processor time in 0.3 s of idleness", used);
    }
    cr_expect_eq(atomic_load(&tally.times[15]), 3u);
    trainer_workers_free(workers);
}

Test(trainer_workers, refuses_impossible_teams)
{
    struct base_error error = {0};
    cr_expect_null(trainer_workers_new(0, &error));
    cr_expect_eq(error.code, BASE_EINVAL);
    cr_expect_null(trainer_workers_new(TRAINER_WORKERS_MAX + 1, &error));
    cr_expect_eq(error.code, BASE_EINVAL);
    trainer_workers_free(NULL);
}
