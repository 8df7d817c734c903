// A bounded ring of pointers between one producer and one consumer. A full ring blocks the producer: that is
// the backpressure; nothing is ever dropped.
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdbool.h>
#include <stdint.h>

struct base_ring;

struct base_ring *base_ring_new(uint32_t capacity);
// Nothing may be in it that the caller still needs. Takes NULL.
void base_ring_free(struct base_ring *ring);

// Appends `item`, waiting while the ring is full. False if the ring is closed. Thread: the producer.
bool base_ring_push(struct base_ring *ring, void *item);
// Takes the oldest item, waiting up to timeout_ms (-1: without end) while the ring is empty. NULL after the
// time-out, or at once when the ring is closed and empty. Thread: the consumer.
void *base_ring_pop(struct base_ring *ring, int timeout_ms);
// No push succeeds from here on; what is in it can still be taken. Any thread.
void base_ring_close(struct base_ring *ring);
bool base_ring_closed(struct base_ring *ring);
// Items in it now. Any thread; for metrics.
uint32_t base_ring_count(struct base_ring *ring);

#endif
