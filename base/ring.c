// The bounded ring. A mutex and two conditions: an item is a minibatch or a marker, some thousands a second,
// so that a lock-free ring would win nothing that can be measured.
#include "base/ring.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/bytes.h"

struct base_ring {
    pthread_mutex_t lock;
    pthread_cond_t filled;
    pthread_cond_t drained;
    bool closed;
    uint32_t capacity;
    uint32_t head; // index of the oldest item
    uint32_t count;
    void **items; // [capacity]
};

struct base_ring *base_ring_new(uint32_t capacity)
{
    assert(capacity > 0);
    struct base_ring *ring = base_alloc_zeroed(1, sizeof *ring);
    ring->items = base_alloc_zeroed(capacity, sizeof *ring->items);
    ring->capacity = capacity;
    pthread_mutex_init(&ring->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&ring->filled, &monotonic);
    pthread_cond_init(&ring->drained, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return ring;
}

void base_ring_free(struct base_ring *ring)
{
    if (!ring) {
        return;
    }
    pthread_cond_destroy(&ring->filled);
    pthread_cond_destroy(&ring->drained);
    pthread_mutex_destroy(&ring->lock);
    free(ring->items);
    free(ring);
}

bool base_ring_push(struct base_ring *ring, void *item)
{
    assert(item);
    pthread_mutex_lock(&ring->lock);
    while (ring->count == ring->capacity && !ring->closed) {
        pthread_cond_wait(&ring->drained, &ring->lock);
    }
    bool open = !ring->closed;
    if (open) {
        ring->items[(ring->head + ring->count) % ring->capacity] = item;
        ring->count++;
        pthread_cond_signal(&ring->filled);
    }
    pthread_mutex_unlock(&ring->lock);
    return open;
}

static struct timespec ring_deadline(int timeout_ms)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += timeout_ms / 1000;
    deadline.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline.tv_nsec >= 1000000000) {
        deadline.tv_sec++;
        deadline.tv_nsec -= 1000000000;
    }
    return deadline;
}

void *base_ring_pop(struct base_ring *ring, int timeout_ms)
{
    struct timespec deadline = ring_deadline(timeout_ms < 0 ? 0 : timeout_ms);
    pthread_mutex_lock(&ring->lock);
    while (ring->count == 0 && !ring->closed) {
        int status = 0;
        if (timeout_ms < 0) {
            pthread_cond_wait(&ring->filled, &ring->lock);
        } else {
            status = pthread_cond_timedwait(&ring->filled, &ring->lock, &deadline);
        }
        if (status == ETIMEDOUT) {
            break;
        }
    }
    void *item = NULL;
    if (ring->count > 0) {
        item = ring->items[ring->head];
        ring->head = (ring->head + 1) % ring->capacity;
        ring->count--;
        pthread_cond_signal(&ring->drained);
    }
    pthread_mutex_unlock(&ring->lock);
    return item;
}

void base_ring_close(struct base_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    ring->closed = true;
    pthread_cond_broadcast(&ring->filled);
    pthread_cond_broadcast(&ring->drained);
    pthread_mutex_unlock(&ring->lock);
}

bool base_ring_closed(struct base_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    bool closed = ring->closed;
    pthread_mutex_unlock(&ring->lock);
    return closed;
}

uint32_t base_ring_count(struct base_ring *ring)
{
    pthread_mutex_lock(&ring->lock);
    uint32_t count = ring->count;
    pthread_mutex_unlock(&ring->lock);
    return count;
}
