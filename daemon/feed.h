// The feed: samples of a tick become minibatches and a marker, on a bounded ring between ingest and the
// trainer.
//
// A minibatch never crosses a tick; the marker that follows a tick's last minibatch is where the trainer's
// state is consistent (publications). Samples that no loss uses (F3 under the product method) follow the
// minibatches, for the evaluator. A cut travels as an item of its own: nothing is in flight between ingest
// and the trainer where it stands. Items are made at the start and go round: an ingest that finds none free
// waits, which is the backpressure; nothing is dropped.
#ifndef DAEMON_FEED_H
#define DAEMON_FEED_H

#include "base/error.h"
#include "base/minibatch.h"

enum { DAEMON_FEED_ITEMS = 64 }; // minibatches and markers between ingest and the trainer

struct daemon_cut; // daemon/cutter.h

enum daemon_item_what {
    DAEMON_ITEM_MINIBATCH, // to learn from
    DAEMON_ITEM_FINALS,    // to evaluate only
    DAEMON_ITEM_MARKER,    // a tick's end
    DAEMON_ITEM_CUT,       // a cut of the state as it is here, after the last marker
};

struct daemon_item {
    enum daemon_item_what what;
    int64_t tick;
    int64_t read_wall_ms;             // MARKER: when ingest handled the tick
    struct base_minibatch *minibatch; // its own, reused; empty but for MINIBATCH and FINALS
    struct daemon_cut *cut;           // CUT: the taker's from here on
};

struct daemon_feed;

struct daemon_feed *daemon_feed_new(uint32_t batch);
// The threads on both sides have ended. Takes NULL.
void daemon_feed_free(struct daemon_feed *feed);

// Puts a tick's samples, in their order, and its marker on the ring. Waits while the ring is full.
// BASE_ESTOPPED if the feed was closed meanwhile. Thread: ingest.
int daemon_feed_tick(struct daemon_feed *feed, int64_t tick, const struct base_sample *samples, size_t count,
                     int64_t wall_ms, struct base_error *error);

// Puts a cut on the ring. BASE_ESTOPPED as above: it stays the caller's. Thread: ingest.
int daemon_feed_cut(struct daemon_feed *feed, struct daemon_cut *cut, struct base_error *error);

// The next item, waiting up to timeout_ms; NULL: none came, or closed and drained. Hand it back with
// daemon_feed_recycle. Thread: the trainer.
struct daemon_item *daemon_feed_take(struct daemon_feed *feed, int timeout_ms);
void daemon_feed_recycle(struct daemon_feed *feed, struct daemon_item *item);

// Where both sides run on one thread: instead of waiting for an item, `relieve` is called, which takes and
// recycles some. NULL (as made): wait.
void daemon_feed_set_relief(struct daemon_feed *feed, void (*relieve)(void *context), void *context);

// Ends the feed: what is in it can still be taken. Any thread.
void daemon_feed_close(struct daemon_feed *feed);
bool daemon_feed_drained(struct daemon_feed *feed); // closed and nothing left
// Unblocks both sides at once; what is in it is abandoned. After an error. Any thread.
void daemon_feed_abandon(struct daemon_feed *feed);

#endif
