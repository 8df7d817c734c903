// The bounded ring. A mutex and two conditions: an item is a minibatch or a marker, some thousands a second,
// so that a lock-free ring would win nothing that can be measured.
#include "base/ring.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/wait.h"

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
    base_wait_init(&ring->filled);
    base_wait_init(&ring->drained);
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

void *base_ring_pop(struct base_ring *ring, int timeout_ms)
{
    struct timespec deadline = base_wait_deadline(timeout_ms);
    pthread_mutex_lock(&ring->lock);
    while (ring->count == 0 && !ring->closed) {
        if (timeout_ms < 0) {
            pthread_cond_wait(&ring->filled, &ring->lock);
        } else if (!base_wait_until(&ring->filled, &ring->lock, &deadline)) {
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
