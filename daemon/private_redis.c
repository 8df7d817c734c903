// A Redis of our own. See private_redis.h.
#include "daemon/private_redis.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "daemon/child.h"
#include "publisher/redis.h"

enum { PRIVATE_REDIS_TIMEOUT_MS = 5000 };

struct daemon_private_redis {
    struct daemon_child child;
    char socket[DAEMON_CHILD_PATH_MAX];
};

struct daemon_private_redis *daemon_private_redis_new(const char *directory, struct base_error *error)
{
    struct daemon_private_redis *redis = base_alloc_zeroed(1, sizeof *redis);
    char log[DAEMON_CHILD_PATH_MAX];
    snprintf(redis->socket, sizeof redis->socket, "%s/redis.sock", directory);
    snprintf(log, sizeof log, "%s/redis-server.log", directory);
    char *place = (char *)(uintptr_t)directory; // execvp changes no argument
    char *arguments[] = {
        "redis-server", "--port", "0",     "--unixsocket", redis->socket,        "--save",     "",
        "--appendonly", "no",     "--dir", place,          "--maxmemory-policy", "noeviction", NULL};
    if (daemon_child_start(&redis->child, "redis-server", log, arguments, error) < 0 ||
        daemon_child_await(&redis->child, redis->socket, error) < 0) {
        daemon_private_redis_free(redis);
        return NULL;
    }
    return redis;
}

void daemon_private_redis_free(struct daemon_private_redis *redis)
{
    if (redis) {
        daemon_child_stop(&redis->child);
    }
    free(redis);
}

const char *daemon_private_redis_socket(const struct daemon_private_redis *redis)
{
    return redis->socket;
}

pid_t daemon_private_redis_pid(const struct daemon_private_redis *redis)
{
    return redis->child.pid;
}

int daemon_private_redis_check(struct daemon_private_redis *redis, struct base_error *error)
{
    return daemon_child_ended(&redis->child) ? daemon_child_error(&redis->child, "has ended", error) : 0;
}

// The value of "redis_version:" in INFO's text.
static int private_redis_read_version(struct base_span info, char version[DAEMON_PRIVATE_REDIS_VERSION_MAX],
                                      struct base_error *error)
{
    static const char name[] = "redis_version:";
    const char *text = (const char *)info.data;
    const char *found = info.size ? memmem(text, info.size, name, sizeof name - 1) : NULL;
    if (!found) {
        return base_error_set(error, BASE_EFORMAT, "INFO names no redis_version");
    }
    found += sizeof name - 1;
    size_t left = info.size - (size_t)(found - text), size = 0;
    while (size < left && size < DAEMON_PRIVATE_REDIS_VERSION_MAX - 1 && found[size] > ' ') {
        size++;
    }
    memcpy(version, found, size);
    version[size] = '\0';
    return 0;
}

int daemon_private_redis_version(const struct daemon_private_redis *redis,
                                 char version[DAEMON_PRIVATE_REDIS_VERSION_MAX], struct base_error *error)
{
    struct publisher_redis_config config = {.socket = redis->socket, .timeout_ms = PRIVATE_REDIS_TIMEOUT_MS};
    struct publisher_redis *connection = publisher_redis_new(&config, error);
    struct base_span words[] = {base_span_string("INFO"), base_span_string("server")};
    struct publisher_reply *reply = NULL;
    int result = -1;
    if (connection && publisher_redis_connect(connection, error) == 0 &&
        publisher_redis_call(connection, words, 2, &reply, error) == 0) {
        result = private_redis_read_version(publisher_reply_text(reply), version, error);
        publisher_reply_free(reply);
    }
    publisher_redis_free(connection);
    return result;
}
