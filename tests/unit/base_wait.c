// Waiting by the monotonic clock: deadlines, the time-out, and a signal before it.
#include "base/wait.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdint.h>

#include "base/clock.h"

static int64_t nanoseconds(struct timespec time)
{
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

Test(wait, a_deadline_lies_its_time_out_ahead)
{
    static const int timeouts_ms[] = {0, 1, 999, 1000, 1001, 59999, INT_MAX};
    for (size_t i = 0; i < sizeof timeouts_ms / sizeof timeouts_ms[0]; i++) {
        int64_t before = base_clock_monotonic_ns(&base_clock_system);
        struct timespec deadline = base_wait_deadline(timeouts_ms[i]);
        int64_t after = base_clock_monotonic_ns(&base_clock_system);
        cr_assert(deadline.tv_nsec >= 0 && deadline.tv_nsec < 1000000000);
        int64_t now = nanoseconds(deadline) - timeouts_ms[i] * INT64_C(1000000);
        cr_assert(now >= before && now <= after, "a time-out of %d ms", timeouts_ms[i]);
    }
}

Test(wait, less_than_nothing_is_now)
{
    int64_t before = base_clock_monotonic_ns(&base_clock_system);
    cr_assert_geq(nanoseconds(base_wait_deadline(-1)), before);
    cr_assert_geq(nanoseconds(base_wait_deadline(INT_MIN)), before);
}

struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    bool ringing;
};

static void *bell_ring(void *context)
{
    struct bell *bell = context;
    pthread_mutex_lock(&bell->lock);
    bell->ringing = true;
    pthread_cond_signal(&bell->rung);
    pthread_mutex_unlock(&bell->lock);
    return NULL;
}

Test(wait, without_a_signal_it_ends_at_the_deadline)
{
    struct bell bell = {.lock = PTHREAD_MUTEX_INITIALIZER};
    base_wait_init(&bell.rung);
    pthread_mutex_lock(&bell.lock);
    struct timespec deadline = base_wait_deadline(20);
    while (base_wait_until(&bell.rung, &bell.lock, &deadline)) {
    }
    // A condition that follows the wall clock would take the deadline for one long past, and end at once.
    cr_assert_geq(base_clock_monotonic_ns(&base_clock_system), nanoseconds(deadline));
    cr_assert_not(base_wait_until(&bell.rung, &bell.lock, &deadline), "a deadline that is past");
    pthread_mutex_unlock(&bell.lock);
    pthread_cond_destroy(&bell.rung);
}

Test(wait, a_signal_ends_it_before_the_deadline, .timeout = 60)
{
    struct bell bell = {.lock = PTHREAD_MUTEX_INITIALIZER};
    base_wait_init(&bell.rung);
    pthread_t ringer;
    pthread_mutex_lock(&bell.lock);
    cr_assert_eq(pthread_create(&ringer, NULL, bell_ring, &bell), 0);
    struct timespec deadline = base_wait_deadline(3600 * 1000);
    while (!bell.ringing) {
        cr_assert(base_wait_until(&bell.rung, &bell.lock, &deadline));
    }
    pthread_mutex_unlock(&bell.lock);
    pthread_join(ringer, NULL);
    pthread_cond_destroy(&bell.rung);
}
