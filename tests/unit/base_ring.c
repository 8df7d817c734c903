// The ring: order, backpressure, time-outs, closing, and one producer against one consumer.
#include "base/ring.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>

#include "base/clock.h"

static int items[64];

Test(ring, first_in_first_out_over_the_seam)
{
    struct base_ring *ring = base_ring_new(3);
    int next_in = 0, next_out = 0;
    for (int round = 0; round < 20; round++) {
        while (base_ring_count(ring) < 3) {
            cr_assert(base_ring_push(ring, &items[next_in++ % 64]));
        }
        for (int i = 0; i < 1 + round % 3; i++) {
            cr_assert_eq(base_ring_pop(ring, 0), &items[next_out++ % 64]);
        }
    }
    base_ring_free(ring);
    base_ring_free(NULL);
}

Test(ring, an_empty_ring_times_out)
{
    struct base_ring *ring = base_ring_new(1);
    int64_t start = base_clock_monotonic_ns(&base_clock_system);
    cr_assert_null(base_ring_pop(ring, 0));
    cr_assert_null(base_ring_pop(ring, 20));
    int64_t elapsed = base_clock_monotonic_ns(&base_clock_system) - start;
    cr_assert_geq(elapsed, 20000000);
    cr_assert_null(base_ring_pop(ring, 999), "a time-out that carries into the next second");
    base_ring_free(ring);
}

Test(ring, a_closed_ring_takes_nothing_and_gives_the_rest)
{
    struct base_ring *ring = base_ring_new(4);
    cr_assert(base_ring_push(ring, &items[0]));
    cr_assert_not(base_ring_closed(ring));
    base_ring_close(ring);
    cr_assert(base_ring_closed(ring));
    cr_assert_not(base_ring_push(ring, &items[1]));
    cr_assert_eq(base_ring_count(ring), 1);
    cr_assert_eq(base_ring_pop(ring, -1), &items[0]);
    cr_assert_null(base_ring_pop(ring, -1), "closed and empty: at once");
    base_ring_free(ring);
}

static void *close_soon(void *context)
{
    struct timespec nap = {0, 20000000};
    nanosleep(&nap, NULL);
    base_ring_close(context);
    return NULL;
}

Test(ring, closing_wakes_a_waiting_producer)
{
    struct base_ring *ring = base_ring_new(1);
    pthread_t thread;
    cr_assert(base_ring_push(ring, &items[0]));
    cr_assert_eq(pthread_create(&thread, NULL, close_soon, ring), 0);
    cr_assert_not(base_ring_push(ring, &items[1]));
    pthread_join(thread, NULL);
    base_ring_free(ring);
}

Test(ring, closing_wakes_a_waiting_consumer)
{
    struct base_ring *ring = base_ring_new(1);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, close_soon, ring), 0);
    cr_assert_null(base_ring_pop(ring, -1));
    pthread_join(thread, NULL);
    base_ring_free(ring);
}

enum { MANY = 50000 };
static char many[MANY];

static void *produce(void *context)
{
    for (int i = 0; i < MANY; i++) {
        if (!base_ring_push(context, &many[i])) {
            return NULL;
        }
    }
    base_ring_close(context);
    return context;
}

Test(ring, everything_arrives_once_and_in_order)
{
    struct base_ring *ring = base_ring_new(7);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, produce, ring), 0);
    int next = 0;
    for (void *item; (item = base_ring_pop(ring, -1)); next++) {
        cr_assert_eq(item, &many[next]);
        cr_assert_leq(base_ring_count(ring), 7);
    }
    cr_assert_eq(next, MANY);
    void *result;
    pthread_join(thread, &result);
    cr_assert_eq(result, ring);
    base_ring_free(ring);
}
