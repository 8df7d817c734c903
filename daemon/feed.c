// The feed. Two rings: filled items on their way to the trainer, spent ones on their way back. See feed.h.
#include "daemon/feed.h"

#include <stdlib.h>

#include "base/ring.h"

struct daemon_feed {
    struct base_ring *filled;
    struct base_ring *spent;
    struct daemon_item items[DAEMON_FEED_ITEMS];
};

struct daemon_feed *daemon_feed_new(uint32_t batch)
{
    struct daemon_feed *feed = base_alloc_zeroed(1, sizeof *feed);
    feed->filled = base_ring_new(DAEMON_FEED_ITEMS);
    feed->spent = base_ring_new(DAEMON_FEED_ITEMS);
    for (uint32_t i = 0; i < DAEMON_FEED_ITEMS; i++) {
        feed->items[i].minibatch = base_minibatch_new(batch);
        base_ring_push(feed->spent, &feed->items[i]);
    }
    return feed;
}

void daemon_feed_free(struct daemon_feed *feed)
{
    if (!feed) {
        return;
    }
    for (uint32_t i = 0; i < DAEMON_FEED_ITEMS; i++) {
        base_minibatch_free(feed->items[i].minibatch);
    }
    base_ring_free(feed->spent);
    base_ring_free(feed->filled);
    free(feed);
}

// A spent item for `tick`, waiting until there is one.
static struct daemon_item *feed_item(struct daemon_feed *feed, int64_t tick, bool marker)
{
    struct daemon_item *item = base_ring_pop(feed->spent, -1);
    if (item) {
        item->marker = marker;
        item->tick = tick;
        item->read_wall_ms = 0;
        base_minibatch_clear(item->minibatch, tick);
    }
    return item;
}

static bool feed_minibatch(struct daemon_feed *feed, struct daemon_item *item)
{
    base_minibatch_seal(item->minibatch);
    return base_ring_push(feed->filled, item);
}

int daemon_feed_tick(struct daemon_feed *feed, int64_t tick, const struct base_sample *samples, size_t count,
                     int64_t wall_ms, struct base_error *error)
{
    struct daemon_item *item = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!samples[i].trains) {
            continue;
        }
        if (item && item->minibatch->count == item->minibatch->capacity) {
            if (!feed_minibatch(feed, item)) {
                goto stopped;
            }
            item = NULL;
        }
        if (!item) {
            item = feed_item(feed, tick, false);
        }
        if (!item) {
            goto stopped;
        }
        base_minibatch_add(item->minibatch, &samples[i]);
    }
    if (item && !feed_minibatch(feed, item)) {
        goto stopped;
    }
    struct daemon_item *marker = feed_item(feed, tick, true);
    if (!marker) {
        goto stopped;
    }
    marker->read_wall_ms = wall_ms;
    if (!base_ring_push(feed->filled, marker)) {
        goto stopped;
    }
    return 0;

stopped:
    return base_error_set(error, BASE_ESTOPPED, "the feed to the trainer was closed in tick %lld",
                          (long long)tick);
}

struct daemon_item *daemon_feed_take(struct daemon_feed *feed, int timeout_ms)
{
    return base_ring_pop(feed->filled, timeout_ms);
}

void daemon_feed_recycle(struct daemon_feed *feed, struct daemon_item *item)
{
    base_ring_push(feed->spent, item);
}

void daemon_feed_close(struct daemon_feed *feed)
{
    base_ring_close(feed->filled);
}

bool daemon_feed_drained(struct daemon_feed *feed)
{
    return base_ring_closed(feed->filled) && base_ring_count(feed->filled) == 0;
}

void daemon_feed_abandon(struct daemon_feed *feed)
{
    base_ring_close(feed->filled);
    base_ring_close(feed->spent);
}
