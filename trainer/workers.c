// The team of threads. See workers.h.
//
// A round of tiles is one 64-bit word: how many tiles it has (high half) and which comes next (low half). A
// thread claims a tile by compare-and-swap of the word. A claim that succeeds is a claim in the round that is
// running, whatever the thread saw before: the round cannot end, nor function and context change, until that
// tile is done. So run() need not wait for threads that are asleep, and a team larger than the machine only
// wastes its threads.
//
// Who waits spins for some 100 microseconds; then it offers its processor to others again and again, for
// about a millisecond, longer on a busy machine; then it sleeps on a condition variable. A step's serial
// parts are shorter than that, so that within a step nobody sleeps: a thread that is woken may be put on the
// processor of the one that woke it, and stay there for the rest of the step. With fewer processors than
// threads there is no spin.
#include "trainer/workers.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bytes.h"

enum {
    WORKERS_SPINS = 4096,  // pauses
    WORKERS_YIELDS = 1024, // after them
};

struct trainer_workers {
    // Written by every thread: on a cache line of its own.
    _Alignas(64) _Atomic uint64_t round; // tiles << 32 | next
    _Alignas(64) _Atomic uint32_t done;  // tiles of the round that are finished
    // Written between rounds, read after a claim.
    _Alignas(64) trainer_tile *tile;
    void *context;

    uint32_t count;
    uint32_t started; // threads to be joined
    uint32_t spins;   // yields included

    // Threads with nothing to do sleep on `work`, the caller on `finished`. The counters are read without the
    // lock: both sides first write (round or done; sleepers or waiting), then read what the other writes.
    pthread_mutex_t lock;
    pthread_cond_t work, finished;
    _Atomic uint32_t sleepers;
    _Atomic bool waiting;
    _Atomic bool stop;
    pthread_t threads[TRAINER_WORKERS_MAX];
};

// The wait between two looks, the i-th.
static void workers_pause(uint32_t i)
{
    if (i >= WORKERS_SPINS) {
        sched_yield();
        return;
    }
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool workers_has_work(uint64_t round)
{
    return (uint32_t)round < (uint32_t)(round >> 32);
}

// Works until the round has no unclaimed tile.
static void workers_drain(struct trainer_workers *workers)
{
    uint64_t round = atomic_load(&workers->round);
    while (workers_has_work(round)) {
        if (!atomic_compare_exchange_weak(&workers->round, &round, round + 1)) {
            continue;
        }
        uint32_t tiles = (uint32_t)(round >> 32);
        workers->tile(workers->context, (uint32_t)round);
        // After the last tile's increment the caller may start another round; only `waiting` and the lock are
        // touched from here on.
        if (atomic_fetch_add(&workers->done, 1) + 1 == tiles && atomic_load(&workers->waiting)) {
            pthread_mutex_lock(&workers->lock);
            pthread_cond_signal(&workers->finished);
            pthread_mutex_unlock(&workers->lock);
        }
        round = atomic_load(&workers->round);
    }
}

// Returns when there is work or the team stops.
static void workers_await(struct trainer_workers *workers)
{
    for (uint32_t i = 0; i < workers->spins; i++) {
        if (workers_has_work(atomic_load_explicit(&workers->round, memory_order_relaxed))) {
            return;
        }
        workers_pause(i);
    }
    pthread_mutex_lock(&workers->lock);
    atomic_fetch_add(&workers->sleepers, 1);
    while (!workers_has_work(atomic_load(&workers->round)) && !atomic_load(&workers->stop)) {
        pthread_cond_wait(&workers->work, &workers->lock);
    }
    atomic_fetch_sub(&workers->sleepers, 1);
    pthread_mutex_unlock(&workers->lock);
}

static void *workers_main(void *argument)
{
    struct trainer_workers *workers = argument;
    while (!atomic_load(&workers->stop)) {
        workers_drain(workers);
        workers_await(workers);
    }
    return NULL;
}

static uint32_t workers_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) {
        return 1;
    }
    return (uint32_t)CPU_COUNT(&set);
}

struct trainer_workers *trainer_workers_new(uint32_t count, struct base_error *error)
{
    if (count < 1 || count > TRAINER_WORKERS_MAX) {
        base_error_set(error, BASE_EINVAL, "workers: %u is not in 1..%d", count, TRAINER_WORKERS_MAX);
        return NULL;
    }
    struct trainer_workers *workers = base_alloc_aligned(sizeof *workers);
    workers->count = count;
    workers->spins = workers_processors() >= count ? WORKERS_SPINS + WORKERS_YIELDS : 0;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->work, NULL);
    pthread_cond_init(&workers->finished, NULL);
    for (uint32_t i = 1; i < count; i++) {
        int failed = pthread_create(&workers->threads[workers->started], NULL, workers_main, workers);
        if (failed) {
            base_error_set_errno(error, BASE_EIO, failed, "workers: cannot start thread %u", i);
            trainer_workers_free(workers);
            return NULL;
        }
        workers->started++;
    }
    return workers;
}

void trainer_workers_free(struct trainer_workers *workers)
{
    if (!workers) {
        return;
    }
    pthread_mutex_lock(&workers->lock);
    atomic_store(&workers->stop, true);
    pthread_cond_broadcast(&workers->work);
    pthread_mutex_unlock(&workers->lock);
    for (uint32_t i = 0; i < workers->started; i++) {
        pthread_join(workers->threads[i], NULL);
    }
    pthread_cond_destroy(&workers->finished);
    pthread_cond_destroy(&workers->work);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}

uint32_t trainer_workers_count(const struct trainer_workers *workers)
{
    return workers->count;
}

// Returns when `tiles` tiles are done.
static void workers_finish(struct trainer_workers *workers, uint32_t tiles)
{
    for (uint32_t i = 0; i < workers->spins; i++) {
        if (atomic_load(&workers->done) == tiles) {
            return;
        }
        workers_pause(i);
    }
    pthread_mutex_lock(&workers->lock);
    atomic_store(&workers->waiting, true);
    while (atomic_load(&workers->done) != tiles) {
        pthread_cond_wait(&workers->finished, &workers->lock);
    }
    atomic_store(&workers->waiting, false);
    pthread_mutex_unlock(&workers->lock);
}

void trainer_workers_run(struct trainer_workers *workers, uint32_t tiles, trainer_tile *tile, void *context)
{
    if (workers->count == 1 || tiles < 2) {
        for (uint32_t i = 0; i < tiles; i++) {
            tile(context, i);
        }
        return;
    }
    assert(!workers_has_work(atomic_load(&workers->round))); // not from within a tile
    workers->tile = tile;
    workers->context = context;
    atomic_store(&workers->done, 0);
    atomic_store(&workers->round, (uint64_t)tiles << 32);
    if (atomic_load(&workers->sleepers) > 0) {
        pthread_mutex_lock(&workers->lock);
        pthread_cond_broadcast(&workers->work);
        pthread_mutex_unlock(&workers->lock);
    }
    workers_drain(workers);
    workers_finish(workers, tiles);
}
