// Lets the tests run under ThreadSanitizer. Two things stand in its way:
//
// Criterion hands data to its workers in shared memory at a fixed address, of which it draws bits 24 to 45 by
// rand_r, over 0x200000000000. ThreadSanitizer refuses most of the address space; of what Criterion may draw
// it leaves 0x550000000000 to 0x568000000000 to programs. Here rand_r draws from that; nothing else uses it.
//
// librdkafka starts its threads with C11's thrd_create, which ThreadSanitizer does not know: the first call
// of malloc in such a thread ends the process. Here C11's threads, mutexes and conditions are POSIX threads',
// as they are within glibc too, and ThreadSanitizer sees them.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SUPPORT_TSAN
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SUPPORT_TSAN
#endif

#ifdef SUPPORT_TSAN
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "one is the other");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "one is the other");

int rand_r(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u; // Knuth and Lewis
    return (int)(0x350000u + (*seed >> 8) % 0x17000u);
}

struct start {
    thrd_start_t run;
    void *argument;
};

static void *start_run(void *argument)
{
    struct start start = *(struct start *)argument;
    free(argument);
    return (void *)(intptr_t)start.run(start.argument);
}

static int status_of(int number)
{
    return number == 0           ? thrd_success
           : number == ETIMEDOUT ? thrd_timedout
           : number == EBUSY     ? thrd_busy
                                 : thrd_error;
}

int thrd_create(thrd_t *thread, thrd_start_t run, void *argument)
{
    struct start *start = malloc(sizeof *start);
    if (!start) {
        return thrd_nomem;
    }
    *start = (struct start){run, argument};
    int status = status_of(pthread_create(thread, NULL, start_run, start));
    if (status != thrd_success) {
        free(start);
    }
    return status;
}

int thrd_join(thrd_t thread, int *result)
{
    void *value;
    int status = status_of(pthread_join(thread, &value));
    if (status == thrd_success && result) {
        *result = (int)(intptr_t)value;
    }
    return status;
}

int thrd_detach(thrd_t thread)
{
    return status_of(pthread_detach(thread));
}

int mtx_init(mtx_t *mutex, int type)
{
    pthread_mutexattr_t attribute;
    pthread_mutexattr_init(&attribute);
    pthread_mutexattr_settype(&attribute,
                              type & mtx_recursive ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
    int status = status_of(pthread_mutex_init((pthread_mutex_t *)mutex, &attribute));
    pthread_mutexattr_destroy(&attribute);
    return status;
}

void mtx_destroy(mtx_t *mutex)
{
    pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int mtx_lock(mtx_t *mutex)
{
    return status_of(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int mtx_trylock(mtx_t *mutex)
{
    return status_of(pthread_mutex_trylock((pthread_mutex_t *)mutex));
}

int mtx_unlock(mtx_t *mutex)
{
    return status_of(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

int cnd_init(cnd_t *condition)
{
    return status_of(pthread_cond_init((pthread_cond_t *)condition, NULL));
}

void cnd_destroy(cnd_t *condition)
{
    pthread_cond_destroy((pthread_cond_t *)condition);
}

int cnd_signal(cnd_t *condition)
{
    return status_of(pthread_cond_signal((pthread_cond_t *)condition));
}

int cnd_broadcast(cnd_t *condition)
{
    return status_of(pthread_cond_broadcast((pthread_cond_t *)condition));
}

int cnd_wait(cnd_t *condition, mtx_t *mutex)
{
    return status_of(pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex));
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until)
{
    return status_of(pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until));
}
#else
typedef int support_tsan_unused; // a translation unit is not empty
#endif
