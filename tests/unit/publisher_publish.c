// Publications to a real Redis: what is there afterwards, whatever happened in between.
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/hash.h"
#include "publisher_support.h"

static int publish_seed(struct publisher *publisher, uint64_t seed, bool full, struct base_error *error)
{
    struct trainer_snapshot *snapshot = support_snapshot(40, full ? 0 : 5, seed, full);
    struct publisher_result result;
    int failed = publisher_publish(publisher, snapshot, "{\"auc\":0.7}", &result, error);
    trainer_snapshot_free(snapshot);
    return failed;
}

static void publish(struct publisher *publisher, uint64_t seed, bool full)
{
    struct base_error error;
    cr_assert_eq(publish_seed(publisher, seed, full, &error), 0, "%s", error.text);
}

static int64_t ask_integer(const char *socket, const char *command)
{
    redisContext *context = support_connect(socket);
    redisReply *reply = support_run(context, command);
    int64_t value = reply->integer;
    freeReplyObject(reply);
    redisFree(context);
    return value;
}

static void run(const char *socket, const char *command)
{
    ask_integer(socket, command);
}

Test(publisher_publish, configurations_that_cannot_be)
{
    struct base_error error;
    struct publisher_config good = {
        .redis = {.socket = "/nowhere", .timeout_ms = 100},
        .model = "m",
        .descriptor = "{}",
        .garbage_ttl_s = 1,
        .base_ratio = 1,
    };
    for (int i = 0; i < 8; i++) {
        struct publisher_config config = good;
        config.model = i == 0 ? "a}b" : config.model;
        config.descriptor = i == 1 ? NULL : config.descriptor;
        config.garbage_ttl_s = i == 2 ? 0 : 1;
        config.base_ratio = i == 3 ? 0 : 1;
        config.redis.host = i == 4 ? "both" : NULL;
        config.redis.socket = i == 5 ? NULL : config.redis.socket;
        config.redis.timeout_ms = i == 6 ? 0 : 100;
        config.redis.user = i == 7 ? "without a password" : NULL;
        cr_assert_null(publisher_new(&config, &error), "case %d", i);
        cr_assert_eq(error.code, BASE_EINVAL);
    }
    struct publisher *publisher = publisher_new(&good, &error);
    cr_assert(publisher && publisher_wants_full(publisher));
    cr_assert_eq(publisher_start(publisher, 0, &error), -1);
    cr_assert(error.code == BASE_ENETWORK && error.retriable && !error.fatal);
    cr_assert_eq(publisher_start(publisher, PUBLISHER_VERSION_LIMIT, &error), -1);
    cr_assert_eq(error.code, BASE_EINVAL);
    cr_assert_eq(publish_seed(publisher, 1, true, &error), -1);
    cr_assert_eq(error.code, BASE_EINVAL, "not started");
    publisher_free(publisher);
    publisher_free(NULL);
}

Test(publisher_publish, base_then_deltas)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *publisher = support_publisher_started(socket);
    struct publisher_version version;
    int64_t tick;
    struct base_error error;
    cr_assert_not(publisher_head(publisher, &version, &tick));
    cr_assert(publisher_wants_full(publisher));
    cr_assert_eq(publish_seed(publisher, 1, false, &error), -1);
    cr_assert(error.code == BASE_EREFUSED && error.retriable, "the first has to be full");

    for (uint64_t i = 1; i <= 5; i++) {
        publish(publisher, i, i == 1);
        version = support_check(socket);
        cr_assert(version.epoch == 1 && version.number == i);
        cr_assert_not(publisher_wants_full(publisher));
        cr_assert(publisher_head(publisher, &version, &tick) && version.number == i && tick == (int64_t)i);
    }
    cr_assert_eq(ask_integer(socket, "XLEN {freshet:test}:versions"), 5);
    publish(publisher, 6, true);
    version = support_check(socket);
    cr_assert_eq(version.number, 6);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, result_counts_what_was_written)
{
    struct support_redis *redis = support_redis_start(NULL);
    struct publisher *publisher = support_publisher_started(support_redis_socket(redis));
    struct publisher_result result;
    struct base_error error;
    struct trainer_snapshot *full = support_snapshot(10000, 7, 1, true);
    cr_assert_eq(publisher_publish(publisher, full, NULL, &result, &error), 0);
    cr_assert_eq(result.rows, 30000);
    cr_assert_eq(result.tombstones, 0, "a base has none");
    // 24, 40 and 72 bytes a row: 1, 2 and 3 chunks; and 2 dense ones.
    cr_assert_eq(result.chunks, 8);
    cr_assert(result.bytes > 10000 * 136 && result.bytes < 10000 * 136 + 310000 && result.duration_ns > 0);
    struct trainer_snapshot *delta = support_snapshot(0, 33000, 2, false);
    cr_assert_eq(publisher_publish(publisher, delta, NULL, &result, &error), 0);
    cr_assert(result.rows == 0 && result.tombstones == 99000 && result.chunks == 6 + 2);
    support_check(support_redis_socket(redis));
    struct trainer_snapshot *empty = support_snapshot(0, 0, 3, false);
    cr_assert_eq(publisher_publish(publisher, empty, NULL, &result, &error), 0);
    cr_assert(result.rows == 0 && result.chunks == 2);
    support_check(support_redis_socket(redis));
    trainer_snapshot_free(full);
    trainer_snapshot_free(delta);
    trainer_snapshot_free(empty);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, deltas_that_outgrow_the_base_ask_for_another)
{
    struct support_redis *redis = support_redis_start(NULL);
    struct base_error error;
    struct publisher_config config = {
        .redis = support_config(support_redis_socket(redis)),
        .model = "test",
        .descriptor = "{}",
        .garbage_ttl_s = SUPPORT_TTL,
        .base_ratio = 0.5,
    };
    struct publisher *publisher = publisher_new(&config, &error);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0);
    struct publisher_result result;
    struct trainer_snapshot *full = support_snapshot(100, 0, 1, true);
    struct trainer_snapshot *delta = support_snapshot(20, 5, 2, false);
    cr_assert_eq(publisher_publish(publisher, full, NULL, &result, &error), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(publisher_publish(publisher, delta, NULL, &result, &error), 0);
        cr_assert_not(publisher_wants_full(publisher));
    }
    cr_assert_eq(publisher_publish(publisher, delta, NULL, &result, &error), 0);
    cr_assert(publisher_wants_full(publisher), "225 rows and tombstones upon 300 rows");
    cr_assert_eq(publisher_publish(publisher, full, NULL, &result, &error), 0);
    cr_assert_not(publisher_wants_full(publisher));
    trainer_snapshot_free(full);
    trainer_snapshot_free(delta);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, no_more_than_the_most_deltas)
{
    struct support_redis *redis = support_redis_start(NULL);
    struct publisher *publisher = support_publisher_started(support_redis_socket(redis));
    struct publisher_result result;
    struct base_error error;
    publish(publisher, 1, true);
    struct trainer_snapshot *empty = support_snapshot(0, 0, 3, false);
    empty->tensors = 0;
    for (int i = 0; i < PUBLISHER_DELTAS_MAX; i++) {
        cr_assert_not(publisher_wants_full(publisher), "after %d", i);
        cr_assert_eq(publisher_publish(publisher, empty, NULL, &result, &error), 0, "%s", error.text);
    }
    cr_assert(publisher_wants_full(publisher));
    cr_assert_eq(publish_seed(publisher, 2, false, &error), -1);
    cr_assert_eq(error.code, BASE_EREFUSED);
    publish(publisher, 2, true);
    cr_assert_eq(support_check(support_redis_socket(redis)).number, PUBLISHER_DELTAS_MAX + 2);
    trainer_snapshot_free(empty);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, snapshots_that_cannot_be)
{
    struct support_redis *redis = support_redis_start(NULL);
    struct publisher *publisher = support_publisher_started(support_redis_socket(redis));
    struct publisher_result result;
    struct base_error error;
    struct trainer_snapshot *snapshot = support_snapshot(10, 0, 1, true);
    cr_assert_eq(publisher_publish(publisher, snapshot, "[]", &result, &error), -1);
    cr_assert_eq(error.code, BASE_EINVAL);
    snapshot->rows[1].dimension = 6;
    cr_assert_eq(publisher_publish(publisher, snapshot, NULL, &result, &error), -1);
    cr_assert_eq(error.code, BASE_EINVAL);
    snapshot->rows[1].dimension = 8;
    cr_assert_eq(publisher_publish(publisher, snapshot, NULL, &result, &error), 0);
    support_check(support_redis_socket(redis));
    trainer_snapshot_free(snapshot);
    publisher_free(publisher);

    publisher = support_publisher(support_redis_socket(redis), true);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0);
    snapshot = support_snapshot(10, 0, 1, true);
    snapshot->rows[2].vectors[5] = 1e5f;
    cr_assert_eq(publisher_publish(publisher, snapshot, NULL, &result, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
    snapshot->rows[2].vectors[5] = 1;
    cr_assert_eq(publisher_publish(publisher, snapshot, NULL, &result, &error), 0);
    support_check(support_redis_socket(redis));
    trainer_snapshot_free(snapshot);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, a_successor_takes_over_and_expires_what_it_found)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *zombie = support_publisher_started(socket);
    publish(zombie, 1, true);
    publish(zombie, 2, false);

    struct base_error error;
    struct publisher_version version;
    int64_t tick;
    struct publisher *heir = support_publisher(socket, true);
    cr_assert_eq(publisher_start(heir, 41, &error), 0);
    cr_assert(publisher_head(heir, &version, &tick) && version.epoch == 1 && version.number == 2 &&
              tick == 2);
    cr_assert(publisher_wants_full(heir));

    // The zombie is refused whether the heir has published or not, for good, and leaves only garbage.
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(publish_seed(zombie, 3, i, &error), -1);
        cr_assert(error.code == BASE_ECONFLICT && error.fatal && !error.retriable, "%s", error.text);
        if (i == 0) {
            cr_assert_eq(support_check(socket).epoch, 1);
            publish(heir, 4, true);
        }
        version = support_check(socket);
        cr_assert(version.epoch == 42 && version.number == 1);
    }
    publisher_free(zombie);
    publisher_free(heir);
    support_redis_stop(redis);
}

static struct publisher *of_lineage(const char *socket, const char *lineage, const char *descriptor)
{
    struct base_error error;
    const struct publisher_config config = {
        .redis = support_config(socket),
        .model = "test",
        .descriptor = descriptor,
        .lineage = lineage,
        .garbage_ttl_s = SUPPORT_TTL,
        .base_ratio = 100,
    };
    struct publisher *publisher = publisher_new(&config, &error);
    cr_assert(publisher && publisher_start(publisher, 0, &error) == 0, "%s", error.text);
    return publisher;
}

Test(publisher_publish, a_successor_of_the_same_lineage_goes_on_with_deltas)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *first = of_lineage(socket, "a.1", "{}");
    cr_assert_eq(publisher_epoch(first), 1);
    cr_assert(!publisher_head_ours(first) && publisher_wants_full(first));
    publish(first, 1, true);
    publisher_free(first);

    struct publisher *heir = of_lineage(socket, "a.1", "{}");
    cr_assert(publisher_head_ours(heir) && !publisher_wants_full(heir));
    cr_assert_eq(publisher_epoch(heir), 2);
    publish(heir, 2, false);
    cr_assert_eq(support_check(socket).epoch, 2);
    publisher_free(heir);

    static const char *const others[][2] = {{"a.2", "{}"}, {"a.1", "{\"other\":1}"}, {NULL, "{}"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct publisher *other = of_lineage(socket, others[i][0], others[i][1]);
        cr_assert(!publisher_head_ours(other) && publisher_wants_full(other));
        publisher_free(other);
    }
    support_redis_stop(redis);
}

Test(publisher_publish, a_flushed_redis_gets_a_base_under_a_new_epoch)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *publisher = support_publisher_started(socket);
    struct base_error error;
    publish(publisher, 1, true);
    publish(publisher, 2, false);
    run(socket, "FLUSHALL");
    cr_assert_eq(publish_seed(publisher, 3, false, &error), -1);
    cr_assert(error.code == BASE_EREFUSED && error.retriable);
    cr_assert(publisher_wants_full(publisher));
    publish(publisher, 3, true);
    struct publisher_version version = support_check(socket);
    cr_assert(version.epoch == 2 && version.number == 1);

    // Flushed before a base: only the move finds out.
    run(socket, "FLUSHALL");
    cr_assert_eq(publish_seed(publisher, 4, true, &error), -1);
    publish(publisher, 4, true);
    version = support_check(socket);
    cr_assert(version.epoch == 3 && version.number == 1);

    // Only head is gone, or was set by hand.
    run(socket, "DEL {freshet:test}:head");
    cr_assert_eq(publish_seed(publisher, 5, false, &error), -1);
    publish(publisher, 5, true);
    cr_assert_eq(support_check(socket).epoch, 4);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, another_server_gets_a_base)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *publisher = support_publisher_started(socket);
    struct base_error error;
    publish(publisher, 1, true);
    support_redis_kill(redis);
    cr_assert_eq(publish_seed(publisher, 2, false, &error), -1);
    cr_assert(error.code == BASE_ENETWORK && error.retriable, "%s", error.text);
    cr_assert_eq(publish_seed(publisher, 2, false, &error), -1);
    cr_assert_eq(error.code, BASE_ENETWORK);
    support_redis_restart(redis);
    cr_assert_eq(publish_seed(publisher, 2, false, &error), -1);
    cr_assert(error.code == BASE_EREFUSED && publisher_wants_full(publisher), "%s", error.text);
    publish(publisher, 2, true);
    cr_assert_eq(support_check(socket).epoch, 2);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, lost_keys_ask_for_a_base)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *publisher = support_publisher_started(socket);
    struct base_error error;
    uint64_t seed = 1;
    for (int i = 0; i < 3; i++) {
        publish(publisher, seed++, true);
        publish(publisher, seed++, false);
        char command[96];
        struct publisher_version version;
        int64_t tick;
        publisher_head(publisher, &version, &tick);
        snprintf(command, sizeof command, "DEL {freshet:test}:%d.%d:%s", (int)version.epoch,
                 (int)version.number - (i == 1 ? 0 : 1), i == 1 ? "part" : "rows:2");
        cr_assert_eq(ask_integer(socket, command), 1, "%s", command);
        cr_assert_eq(publish_seed(publisher, seed++, false, &error), -1);
        cr_assert(error.code == BASE_EREFUSED && error.retriable);
        cr_assert(publisher_wants_full(publisher));
    }
    // The descriptor is written again whenever it is missing.
    publish(publisher, seed++, true);
    char key[PUBLISHER_KEY_MAX + 8];
    memcpy(key, "DEL ", 4);
    publisher_key_descriptor("test", base_hash_bytes(base_span_string("{\"made\":\"by hand\"}"), 0), key + 4);
    cr_assert_eq(ask_integer(socket, key), 1);
    publish(publisher, seed++, false);
    support_check(socket);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, a_server_that_may_evict_is_refused)
{
    static const char *const options[] = {"--maxmemory-policy", "allkeys-lru", NULL};
    struct support_redis *redis = support_redis_start(options);
    struct publisher *publisher = support_publisher(support_redis_socket(redis), false);
    struct base_error error;
    cr_assert_eq(publisher_start(publisher, 0, &error), -1);
    cr_assert(error.code == BASE_EREFUSED && !error.retriable);
    cr_assert(strstr(error.text, "allkeys-lru") && strstr(error.text, "noeviction"));
    run(support_redis_socket(redis), "CONFIG SET maxmemory-policy noeviction");
    cr_assert_eq(publisher_start(publisher, 0, &error), 0);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, a_full_server_refuses_and_recovers)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *publisher = support_publisher_started(socket);
    struct base_error error;
    publish(publisher, 1, true);
    run(socket, "CONFIG SET maxmemory 1mb");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(publish_seed(publisher, 2, false, &error), -1);
        cr_assert(error.code == BASE_EREFUSED && error.retriable && !error.fatal, "%s", error.text);
        cr_assert(strstr(error.text, "OOM"), "%s", error.text);
        cr_assert_eq(support_check(socket).number, 1);
    }
    run(socket, "CONFIG SET maxmemory 0");
    publish(publisher, 2, false);
    support_check(socket);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, a_replica_is_refused_until_it_is_master)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *publisher = support_publisher_started(socket);
    struct base_error error;
    publish(publisher, 1, true);
    run(socket, "REPLICAOF 127.0.0.1 1");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(publish_seed(publisher, 2, false, &error), -1);
        cr_assert(error.code == BASE_EREFUSED && error.retriable, "%s", error.text);
    }
    run(socket, "REPLICAOF NO ONE");
    cr_assert(publisher_wants_full(publisher), "a change of role");
    publish(publisher, 2, true);
    support_check(socket);
    publisher_free(publisher);
    support_redis_stop(redis);
}

Test(publisher_publish, passwords_users_and_databases)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    run(socket, "ACL SETUSER writer on >word ~* &* +@all");
    run(socket, "ACL SETUSER nobody on >word ~* &* -@all +info +select");
    run(socket, "CONFIG SET requirepass secret");
    static const struct {
        const char *user, *password;
        bool works;
    } cases[] = {{NULL, NULL, false},      {NULL, "wrong", false},    {NULL, "secret", true},
                 {"writer", "word", true}, {"nobody", "word", false}, {"stranger", "word", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct base_error error;
        struct publisher_config config = {
            .redis = support_config(socket),
            .model = "test",
            .descriptor = "{}",
            .garbage_ttl_s = SUPPORT_TTL,
            .base_ratio = 1,
        };
        config.redis.user = cases[i].user;
        config.redis.password = cases[i].password;
        config.redis.database = 5;
        struct publisher *publisher = publisher_new(&config, &error);
        int failed = publisher_start(publisher, 0, &error);
        cr_assert_eq(failed == 0, cases[i].works, "case %zu: %s", i, error.text);
        cr_assert(!failed || (error.code == BASE_EREFUSED && !error.retriable), "case %zu: %s", i,
                  error.text);
        publisher_free(publisher);
    }
    redisContext *context = support_connect(socket);
    freeReplyObject(support_run(context, "AUTH secret"));
    freeReplyObject(support_run(context, "SELECT 5"));
    redisReply *epoch = support_run(context, "GET {freshet:test}:epoch");
    cr_assert(strncmp(epoch->str, "2 ", 2) == 0 && epoch->len == 34);
    freeReplyObject(epoch);
    redisFree(context);
    support_redis_stop(redis);
}

// A port that nobody listens on at this moment.
static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    close(fd);
    return ntohs(address.sin_port);
}

Test(publisher_publish, over_tcp)
{
    uint16_t port = free_port();
    char port_text[8];
    snprintf(port_text, sizeof port_text, "%u", port);
    struct support_redis *redis =
        support_redis_start((const char *const[]){"--port", port_text, "--bind", "127.0.0.1", NULL});
    struct base_error error;
    struct publisher_config config = {
        .redis = {.host = "127.0.0.1", .port = port, .timeout_ms = 2000},
        .model = "test",
        .descriptor = "{}",
        .garbage_ttl_s = SUPPORT_TTL,
        .base_ratio = 1,
    };
    struct publisher *publisher = publisher_new(&config, &error);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0, "%s", error.text);
    publish(publisher, 1, true);
    cr_assert_eq(support_check(support_redis_socket(redis)).number, 1);
    support_redis_kill(redis);
    cr_assert_eq(publish_seed(publisher, 2, true, &error), -1);
    cr_assert(error.code == BASE_ENETWORK && strstr(error.text, port_text), "%s", error.text);
    publisher_free(publisher);
    support_redis_stop(redis);
}

// One script or another finds a value of another kind under its key.
Test(publisher_publish, foreign_values_are_reported)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct publisher *publisher = support_publisher(socket, false);
    struct base_error error;
    run(socket, "RPUSH {freshet:test}:head x");
    cr_assert_eq(publisher_start(publisher, 0, &error), -1);
    cr_assert(error.code == BASE_EREFUSED && !error.retriable, "%s", error.text);
    run(socket, "DEL {freshet:test}:head");
    // A stream that is none does not keep head from moving: readers poll it too.
    run(socket, "SET {freshet:test}:versions x");
    cr_assert_eq(publisher_start(publisher, 0, &error), 0, "%s", error.text);
    publish(publisher, 1, true);
    support_check(socket);
    // A head that is not one is replaced; so is an epoch.
    run(socket, "SET {freshet:test}:head nonsense");
    run(socket, "SET {freshet:test}:epoch nonsense");
    cr_assert_eq(publish_seed(publisher, 2, true, &error), -1);
    publish(publisher, 2, true);
    run(socket, "SET {freshet:test}:epoch 9007199254740991");
    cr_assert_eq(support_check(socket).number, 1);
    publisher_free(publisher);
    support_redis_stop(redis);
}
