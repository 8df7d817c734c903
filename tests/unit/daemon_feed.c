// Tests of the feed: where minibatches are cut, what is left out, back-pressure and stopping.
#include "daemon/feed.h"

#include <criterion/criterion.h>
#include <pthread.h>

#include "base/clock.h"

enum { BATCH = 4 };

// A sample whose columns hold its own number.
static struct base_sample sample_make(const uint64_t *number, bool trains)
{
    return (struct base_sample){
        .sequence = *number,
        .trains = trains,
        .impression_id = base_span_string("i"),
        .columns = base_span_make(number, sizeof *number),
    };
}

static void feed_expect(struct daemon_feed *feed, enum daemon_item_what what, int64_t tick, uint64_t first,
                        uint32_t count)
{
    struct daemon_item *item = daemon_feed_take(feed, 0);
    cr_assert(item && item->what == what);
    cr_assert_eq(item->tick, tick);
    cr_assert_eq(item->minibatch->tick, tick);
    cr_assert_eq(item->minibatch->count, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct base_sample *sample = &item->minibatch->samples[i];
        uint64_t stored;
        memcpy(&stored, sample->columns.data, sizeof stored);
        cr_assert_eq(stored, sample->sequence, "the copied bytes belong to the sample");
        cr_assert_eq((uintptr_t)sample->columns.data % 8, 0);
        cr_assert(base_span_equal(sample->impression_id, base_span_string("i")));
        cr_assert_eq(sample->sequence, first + i);
    }
    daemon_feed_recycle(feed, item);
}

static void feed_expect_minibatch(struct daemon_feed *feed, int64_t tick, uint64_t first, uint32_t count)
{
    feed_expect(feed, DAEMON_ITEM_MINIBATCH, tick, first, count);
}

static void feed_expect_marker(struct daemon_feed *feed, int64_t tick)
{
    struct daemon_item *item = daemon_feed_take(feed, 0);
    cr_assert(item && item->what == DAEMON_ITEM_MARKER);
    cr_assert_eq(item->tick, tick);
    cr_assert_eq(item->read_wall_ms, 77);
    daemon_feed_recycle(feed, item);
}

Test(daemon_feed, cuts_full_minibatches_within_a_tick)
{
    struct daemon_feed *feed = daemon_feed_new(BATCH);
    struct base_error error = {0};
    uint64_t numbers[10];
    struct base_sample samples[10];
    for (uint64_t i = 0; i < 10; i++) {
        numbers[i] = i;
        samples[i] = sample_make(&numbers[i], true);
    }
    cr_assert_eq(daemon_feed_tick(feed, 3, samples, 6, 77, &error), 0);
    cr_assert_eq(daemon_feed_tick(feed, 4, samples + 6, 4, 77, &error), 0);
    feed_expect_minibatch(feed, 3, 0, 4);
    feed_expect_minibatch(feed, 3, 4, 2);
    feed_expect_marker(feed, 3);
    feed_expect_minibatch(feed, 4, 6, 4);
    feed_expect_marker(feed, 4);
    cr_assert_null(daemon_feed_take(feed, 0));
    daemon_feed_free(feed);
}

Test(daemon_feed, what_no_loss_uses_follows_for_the_evaluator)
{
    struct daemon_feed *feed = daemon_feed_new(BATCH);
    struct base_error error = {0};
    uint64_t numbers[3] = {0, 7, 1};
    struct base_sample samples[3] = {sample_make(&numbers[0], true), sample_make(&numbers[1], false),
                                     sample_make(&numbers[2], true)};
    cr_assert_eq(daemon_feed_tick(feed, -9, samples, 3, 77, &error), 0);
    feed_expect_minibatch(feed, -9, 0, 2);
    feed_expect(feed, DAEMON_ITEM_FINALS, -9, 7, 1);
    feed_expect_marker(feed, -9);
    cr_assert_eq(daemon_feed_tick(feed, 1, samples + 1, 1, 77, &error), 0);
    feed_expect(feed, DAEMON_ITEM_FINALS, 1, 7, 1);
    feed_expect_marker(feed, 1);
    daemon_feed_free(feed);
}

Test(daemon_feed, a_cut_stands_behind_the_last_marker)
{
    struct daemon_feed *feed = daemon_feed_new(BATCH);
    struct base_error error = {0};
    struct daemon_cut *cut = (struct daemon_cut *)&error; // any address: the feed does not look at it
    cr_assert_eq(daemon_feed_tick(feed, 5, NULL, 0, 77, &error), 0);
    cr_assert_eq(daemon_feed_cut(feed, cut, &error), 0);
    feed_expect_marker(feed, 5);
    struct daemon_item *item = daemon_feed_take(feed, 0);
    cr_assert(item && item->what == DAEMON_ITEM_CUT && item->cut == cut);
    cr_assert_eq(item->tick, 5);
    daemon_feed_recycle(feed, item);
    daemon_feed_abandon(feed);
    cr_assert_eq(daemon_feed_cut(feed, cut, &error), -1);
    cr_assert_eq(error.code, BASE_ESTOPPED);
    daemon_feed_free(feed);
}

static void relieve(void *context)
{
    struct daemon_feed *feed = context;
    for (int i = 0; i < 3; i++) {
        daemon_feed_recycle(feed, daemon_feed_take(feed, 0));
    }
}

Test(daemon_feed, on_one_thread_a_full_ring_is_relieved)
{
    struct daemon_feed *feed = daemon_feed_new(BATCH);
    struct base_error error = {0};
    daemon_feed_set_relief(feed, relieve, feed);
    for (int64_t tick = 0; tick < 3 * DAEMON_FEED_ITEMS; tick++) {
        cr_assert_eq(daemon_feed_tick(feed, tick, NULL, 0, 77, &error), 0);
    }
    daemon_feed_free(feed);
}

struct producer {
    struct daemon_feed *feed;
    int status;
    struct base_error error;
};

static void *producer_run(void *context)
{
    struct producer *producer = context;
    for (int64_t tick = 0; producer->status == 0; tick++) {
        producer->status = daemon_feed_tick(producer->feed, tick, NULL, 0, 77, &producer->error);
    }
    return NULL;
}

Test(daemon_feed, a_full_ring_waits_and_a_stop_frees_it)
{
    struct producer producer = {.feed = daemon_feed_new(BATCH)};
    pthread_t thread;
    pthread_create(&thread, NULL, producer_run, &producer);
    // More markers than there are items come through in order: spent items go round.
    for (int64_t tick = 0; tick < 3 * DAEMON_FEED_ITEMS; tick++) {
        struct daemon_item *item = daemon_feed_take(producer.feed, -1);
        cr_assert_eq(item->tick, tick);
        daemon_feed_recycle(producer.feed, item);
    }
    daemon_feed_abandon(producer.feed);
    pthread_join(thread, NULL);
    cr_assert_eq(producer.error.code, BASE_ESTOPPED);
    daemon_feed_free(producer.feed);
}

Test(daemon_feed, closing_lets_the_rest_be_taken)
{
    struct daemon_feed *feed = daemon_feed_new(BATCH);
    struct base_error error = {0};
    cr_assert_eq(daemon_feed_tick(feed, 1, NULL, 0, 77, &error), 0);
    daemon_feed_close(feed);
    cr_assert(!daemon_feed_drained(feed));
    feed_expect_marker(feed, 1);
    cr_assert(daemon_feed_drained(feed));
    cr_assert_eq(daemon_feed_tick(feed, 2, NULL, 0, 77, &error), -1);
    cr_assert_eq(error.code, BASE_ESTOPPED);
    daemon_feed_free(feed);
}
