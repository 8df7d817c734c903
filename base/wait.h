// Waiting on a condition variable with a time-out by the monotonic clock, which nobody sets.
#ifndef BASE_WAIT_H
#define BASE_WAIT_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

// Instead of pthread_cond_init: the two below need it. The caller destroys it as any other.
void base_wait_init(pthread_cond_t *condition);

// The monotonic clock's time in timeout_ms from now; 0 and less: now.
struct timespec base_wait_deadline(int timeout_ms);

// Waits, under the locked mutex, until the condition is signalled: true, also when it only seems so. False
// after the deadline. So the caller loops: while (nothing there && base_wait_until(...)).
bool base_wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, const struct timespec *deadline);

#endif
