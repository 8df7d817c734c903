// The feed. Two rings: filled items on their way to the trainer, spent ones on their way back. See feed.h.
#include "daemon/feed.h"

#include <stdlib.h>

#include "base/ring.h"

struct daemon_feed {
    struct base_ring *filled;
    struct base_ring *spent;
    int64_t tick; // the last marker's
    void (*relieve)(void *context);
    void *context;
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
static struct daemon_item *feed_item(struct daemon_feed *feed, enum daemon_item_what what, int64_t tick)
{
    struct daemon_item *item = base_ring_pop(feed->spent, feed->relieve ? 0 : -1);
    if (!item && feed->relieve) {
        feed->relieve(feed->context);
        item = base_ring_pop(feed->spent, 0);
    }
    if (item) {
        item->what = what;
        item->tick = tick;
        item->read_wall_ms = 0;
        item->cut = NULL;
        base_minibatch_clear(item->minibatch, tick);
    }
    return item;
}

static bool feed_minibatch(struct daemon_feed *feed, struct daemon_item *item)
{
    base_minibatch_seal(item->minibatch);
    return base_ring_push(feed->filled, item);
}

// The samples that train, or those that do not, in minibatches. False: closed.
static bool feed_samples(struct daemon_feed *feed, enum daemon_item_what what, int64_t tick,
                         const struct base_sample *samples, size_t count)
{
    struct daemon_item *item = NULL;
    for (size_t i = 0; i < count; i++) {
        if (samples[i].trains != (what == DAEMON_ITEM_MINIBATCH)) {
            continue;
        }
        if (item && item->minibatch->count == item->minibatch->capacity) {
            if (!feed_minibatch(feed, item)) {
                return false;
            }
            item = NULL;
        }
        if (!item) {
            item = feed_item(feed, what, tick);
        }
        if (!item) {
            return false;
        }
        base_minibatch_add(item->minibatch, &samples[i]);
    }
    return !item || feed_minibatch(feed, item);
}

static int feed_stopped(int64_t tick, struct base_error *error)
{
    return base_error_set(error, BASE_ESTOPPED, "the feed to the trainer was closed in tick %lld",
                          (long long)tick);
}

int daemon_feed_tick(struct daemon_feed *feed, int64_t tick, const struct base_sample *samples, size_t count,
                     int64_t wall_ms, struct base_error *error)
{
    if (!feed_samples(feed, DAEMON_ITEM_MINIBATCH, tick, samples, count) ||
        !feed_samples(feed, DAEMON_ITEM_FINALS, tick, samples, count)) {
        return feed_stopped(tick, error);
    }
    struct daemon_item *marker = feed_item(feed, DAEMON_ITEM_MARKER, tick);
    if (!marker) {
        return feed_stopped(tick, error);
    }
    marker->read_wall_ms = wall_ms;
    feed->tick = tick;
    return base_ring_push(feed->filled, marker) ? 0 : feed_stopped(tick, error);
}

int daemon_feed_cut(struct daemon_feed *feed, struct daemon_cut *cut, struct base_error *error)
{
    struct daemon_item *item = feed_item(feed, DAEMON_ITEM_CUT, feed->tick);
    if (!item) {
        return feed_stopped(feed->tick, error);
    }
    item->cut = cut;
    return base_ring_push(feed->filled, item) ? 0 : feed_stopped(feed->tick, error);
}

struct daemon_item *daemon_feed_take(struct daemon_feed *feed, int timeout_ms)
{
    return base_ring_pop(feed->filled, timeout_ms);
}

void daemon_feed_recycle(struct daemon_feed *feed, struct daemon_item *item)
{
    base_ring_push(feed->spent, item);
}

void daemon_feed_set_relief(struct daemon_feed *feed, void (*relieve)(void *context), void *context)
{
    feed->relieve = relieve;
    feed->context = context;
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
