// A publication is cut at every step, and its replies are; a stalled server and a late command.
#include <criterion/criterion.h>
#include <stdlib.h>
#include <time.h>

#include "publisher_support.h"

enum { POINTS = 40 };

static int publish_seed(struct publisher *publisher, uint64_t seed, bool full, struct base_error *error)
{
    struct trainer_snapshot *snapshot = support_snapshot(600, full ? 0 : 5, seed, full);
    struct publisher_result result;
    int failed = publisher_publish(publisher, snapshot, NULL, &result, error);
    trainer_snapshot_free(snapshot);
    return failed;
}

static struct publisher *through(const struct support_proxy *proxy, int timeout_ms)
{
    struct base_error error;
    struct publisher_config config = {
        .redis = {.socket = support_proxy_socket(proxy), .timeout_ms = timeout_ms},
        .model = "test",
        .descriptor = "{\"made\":\"by hand\"}",
        .garbage_ttl_s = SUPPORT_TTL,
        .base_ratio = 100,
    };
    struct publisher *publisher = publisher_new(&config, &error);
    cr_assert(publisher, "%s", error.text);
    return publisher;
}

// Point i of POINTS over `total` bytes: the last third lie among the last 600, where the move is.
static int64_t point(int i, uint64_t total)
{
    int early = POINTS * 2 / 3;
    return i < early ? (int64_t)(total - 600) * i / early + 1
                     : (int64_t)total - 600 + 600 * (i - early) / (POINTS - early);
}

// What a publication sends and gets, once connected.
static void measure(struct support_proxy *proxy, bool full, uint64_t *up, uint64_t *down)
{
    struct base_error error;
    struct publisher *publisher = through(proxy, 2000);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0);
    cr_assert_eq(publish_seed(publisher, 1, true, &error), 0);
    support_proxy_counts(proxy, up, down);
    cr_assert_eq(publish_seed(publisher, 2, full, &error), 0);
    support_proxy_counts(proxy, up, down);
    publisher_free(publisher);
}

// The process dies: at byte n of what it sends the connection ends, and nobody comes back. Head is where it
// was or at the new version, whole; nothing is lost and nothing left without an expiry. A new process goes
// on.
static void crash_sweep(bool full)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct support_proxy *proxy = support_proxy_start(redis);
    struct base_error error;
    uint64_t up, down;
    measure(proxy, full, &up, &down);
    int moved = 0;
    for (int i = 0; i < POINTS; i++) {
        struct publisher *publisher = through(proxy, 2000);
        cr_assert_eq(publisher_start(publisher, 0, &error), 0, "%s", error.text);
        cr_assert_eq(publish_seed(publisher, 3, true, &error), 0, "%s", error.text);
        struct publisher_version before = support_check(socket);
        support_proxy_cut(proxy, point(i, up), -1);
        cr_assert_eq(publish_seed(publisher, 4, full, &error), -1);
        cr_assert(error.code == BASE_ENETWORK && error.retriable && !error.fatal, "%s", error.text);
        publisher_free(publisher);
        support_proxy_heal(proxy);
        struct publisher_version after = support_check(socket);
        cr_assert_eq(after.epoch, before.epoch);
        cr_assert(after.number == before.number || after.number == before.number + 1);
        moved += after.number != before.number;
    }
    cr_assert_eq(moved, 0, "a command that is not whole is not run");
    support_proxy_stop(proxy);
    support_redis_stop(redis);
}

Test(publisher_crash, at_every_step_of_a_base)
{
    crash_sweep(true);
}

Test(publisher_crash, at_every_step_of_a_delta)
{
    crash_sweep(false);
}

// The connection is cut at byte n, in either direction, and the same publisher goes on once the network is
// back.
static void cut_sweep(bool replies)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct support_proxy *proxy = support_proxy_start(redis);
    struct base_error error;
    uint64_t up, down;
    measure(proxy, false, &up, &down);
    struct publisher *publisher = through(proxy, 2000);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0);
    cr_assert_eq(publish_seed(publisher, 3, true, &error), 0);
    int unknown = 0;
    for (int i = 0; i < POINTS; i++) {
        struct publisher_version before = support_check(socket);
        int64_t at = replies ? (int64_t)down * i / POINTS + 1 : point(i, up);
        support_proxy_cut(proxy, replies ? -1 : at, replies ? at : -1);
        cr_assert_eq(publish_seed(publisher, 4, false, &error), -1, "point %d", i);
        cr_assert(error.code == BASE_ENETWORK && error.retriable && !error.fatal, "%s", error.text);
        bool open = strstr(error.text, "not known yet");
        support_proxy_heal(proxy);
        struct publisher_version after = support_check(socket);
        bool moved = publisher_version_compare(before, after) != 0;
        cr_assert(!moved || open, "point %d: head moved and the publisher does not know", i);
        unknown += moved;
        bool full = publisher_wants_full(publisher);
        cr_assert_not(full, "point %d: nothing is lost", i);
        cr_assert_eq(publish_seed(publisher, 5, false, &error), 0, "point %d: %s", i, error.text);
        cr_assert_gt(publisher_version_compare(support_check(socket), after), 0);
    }
    cr_assert_eq(unknown > 0, replies);
    publisher_free(publisher);
    support_proxy_stop(proxy);
    support_redis_stop(redis);
}

Test(publisher_crash, the_connection_is_cut_mid_pipeline)
{
    cut_sweep(false);
}

Test(publisher_crash, replies_are_lost)
{
    cut_sweep(true);
}

// The move's reply is lost but Redis can be reached at once: publisher_publish itself finds out that it
// happened.
Test(publisher_crash, a_lost_reply_is_settled_at_once)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct support_proxy *proxy = support_proxy_start(redis);
    struct base_error error;
    struct publisher *publisher = through(proxy, 300);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0);
    // Withheld and never run: it times out, and the new epoch sees that head is where it was.
    for (int i = 0; i < 2; i++) {
        bool full = i == 0;
        support_proxy_withhold(proxy, "'refused'");
        cr_assert_eq(publish_seed(publisher, 1, full, &error), -1);
        cr_assert(error.code == BASE_ENETWORK && strstr(error.text, "timed out") &&
                      !strstr(error.text, "not known"),
                  "%s", error.text);
        cr_assert_eq(publisher_wants_full(publisher), full);
        struct publisher_version before = support_check(socket);
        // Now the late command arrives: its epoch is over.
        support_proxy_release(proxy);
        redisContext *context = support_connect(socket);
        for (int wait = 0; wait < 20; wait++) {
            freeReplyObject(support_run(context, "PING"));
            struct timespec pause = {.tv_nsec = 5000000};
            nanosleep(&pause, NULL);
        }
        redisFree(context);
        cr_assert_eq(publisher_version_compare(support_check(socket), before), 0, "a late move moved head");
        cr_assert_eq(publish_seed(publisher, 2, full, &error), 0, "%s", error.text);
        support_check(socket);
    }
    publisher_free(publisher);
    support_proxy_stop(proxy);
    support_redis_stop(redis);
}

// A connection that Redis itself drops.
Test(publisher_crash, a_killed_client_reconnects)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *publisher = support_publisher_started(socket);
    struct base_error error;
    cr_assert_eq(publish_seed(publisher, 1, true, &error), 0);
    redisContext *context = support_connect(socket);
    freeReplyObject(support_run(context, "CLIENT KILL TYPE normal SKIPME yes"));
    cr_assert_eq(publish_seed(publisher, 2, false, &error), -1);
    cr_assert(error.code == BASE_ENETWORK && error.retriable, "%s", error.text);
    cr_assert_not(publisher_wants_full(publisher));
    cr_assert_eq(publish_seed(publisher, 2, false, &error), 0, "%s", error.text);
    support_check(socket);
    redisFree(context);
    publisher_free(publisher);
    support_redis_stop(redis);
}

// A base whose reply was lost and that did happen is not asked for again.
Test(publisher_crash, a_base_that_happened_counts)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct support_proxy *proxy = support_proxy_start(redis);
    struct base_error error;
    uint64_t up, down;
    measure(proxy, true, &up, &down);
    struct publisher *publisher = through(proxy, 2000);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0);
    support_proxy_cut(proxy, -1, (int64_t)down - 1);
    // The count holds for a connection that exists: publisher_start has made one.
    cr_assert_eq(publish_seed(publisher, 2, true, &error), -1);
    cr_assert(strstr(error.text, "not known yet"), "%s", error.text);
    support_proxy_heal(proxy);
    struct publisher_version moved = support_check(socket);
    cr_assert_eq(moved.epoch, 2);
    // It may not know yet; a delta settles it and goes upon the base.
    struct base_error again;
    if (publish_seed(publisher, 3, false, &again) != 0) {
        cr_assert(again.code == BASE_EREFUSED && again.retriable, "%s", again.text);
        cr_assert_eq(publish_seed(publisher, 3, publisher_wants_full(publisher), &again), 0, "%s",
                     again.text);
    }
    struct publisher_version after = support_check(socket);
    cr_assert(after.epoch == 3 && after.number <= 2);
    publisher_free(publisher);
    support_proxy_stop(proxy);
    support_redis_stop(redis);
}
