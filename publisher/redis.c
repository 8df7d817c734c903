// The connection to Redis. See redis.h.
//
// hiredis connects and parses. Commands are formatted by hiredis but sent by us: with MSG_NOSIGNAL, because a
// library must not kill its process with SIGPIPE, and at once, because hiredis' output buffer moves what is
// left to its front after every partial write.
#include "publisher/redis.h"

#include <assert.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum {
    REDIS_OWED_MAX = 65536, // replies owed at once
    REDIS_WORDS_MAX = 1 << 20,
};

struct publisher_redis {
    char *host, *socket, *user, *password;
    uint16_t port;
    uint32_t database;
    int timeout_ms;

    redisContext *context; // NULL: not connected by a socket
    int receive_ms;        // the time-out that the socket has now

    const struct publisher_redis_transport *transport; // NULL: sockets
    void *connection;                                  // its; NULL: none
    redisReader *reader;                               // parses what it brings; NULL without a connection
    struct base_buffer arrived;

    uint32_t owed; // replies
    uint32_t oldest;
    size_t owed_bytes;
    uint32_t sizes[REDIS_OWED_MAX]; // ring: bytes of the commands owed
};

static char *copy_text(const char *text)
{
    if (!text) {
        return NULL;
    }
    size_t size = strlen(text) + 1;
    return memcpy(base_alloc(size), text, size);
}

struct publisher_redis *publisher_redis_new(const struct publisher_redis_config *config,
                                            struct base_error *error)
{
    if (!config->transport && !config->host == !config->socket) {
        base_error_set(error, BASE_EINVAL, "Redis needs either a host or a socket");
        return NULL;
    }
    if (config->timeout_ms <= 0) {
        base_error_set(error, BASE_EINVAL, "Redis needs a time-out above 0 ms");
        return NULL;
    }
    if (config->user && !config->password) {
        base_error_set(error, BASE_EINVAL, "Redis has a user but no password");
        return NULL;
    }
    struct publisher_redis *redis = base_alloc_zeroed(1, sizeof *redis);
    redis->transport = config->transport;
    redis->host = copy_text(config->host);
    redis->socket = copy_text(config->socket);
    redis->user = copy_text(config->user);
    redis->password = copy_text(config->password);
    redis->port = config->port;
    redis->database = config->database;
    redis->timeout_ms = config->timeout_ms;
    return redis;
}

void publisher_redis_free(struct publisher_redis *redis)
{
    if (!redis) {
        return;
    }
    publisher_redis_close(redis);
    base_buffer_free(&redis->arrived);
    free(redis->host);
    free(redis->socket);
    free(redis->user);
    free(redis->password);
    free(redis);
}

void publisher_redis_close(struct publisher_redis *redis)
{
    if (redis->context) {
        redisFree(redis->context);
        redis->context = NULL;
    }
    if (redis->connection) {
        redis->transport->close(redis->connection);
        redis->connection = NULL;
    }
    if (redis->reader) {
        redisReaderFree(redis->reader);
        redis->reader = NULL;
    }
    redis->owed = 0;
    redis->owed_bytes = 0;
}

bool publisher_redis_connected(const struct publisher_redis *redis)
{
    return redis->context || redis->connection;
}

void publisher_redis_wait(struct publisher_redis *redis, int64_t ms)
{
    if (redis->transport) {
        redis->transport->wait(redis->transport->context, ms);
        return;
    }
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)};
    while (nanosleep(&left, &left) && errno == EINTR) {
    }
}

uint32_t publisher_redis_owed(const struct publisher_redis *redis)
{
    return redis->owed;
}

size_t publisher_redis_owed_bytes(const struct publisher_redis *redis)
{
    return redis->owed_bytes;
}

static struct timeval redis_timeval(int ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

// Where it connects to, for messages.
static void redis_name(const struct publisher_redis *redis, char *name, size_t size)
{
    if (redis->transport) {
        snprintf(name, size, "Redis");
    } else if (redis->socket) {
        snprintf(name, size, "Redis at %s", redis->socket);
    } else {
        snprintf(name, size, "Redis at %s:%u", redis->host, redis->port);
    }
}

// Closes the connection and says why.
static int redis_fail(struct publisher_redis *redis, struct base_error *error, const char *doing,
                      const char *reason)
{
    char name[192];
    redis_name(redis, name, sizeof name);
    base_error_set(error, BASE_ENETWORK, "%s: %s: %s", name, doing, reason);
    publisher_redis_close(redis);
    return -1;
}

// Copies the value of "<field>:<value>\r\n" in INFO's text; empty if it is not there.
static void info_field(const char *info, const char *field, char *value, size_t size)
{
    value[0] = '\0';
    size_t field_size = strlen(field);
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, field, field_size) == 0 && line[field_size] == ':') {
            const char *start = line + field_size + 1;
            size_t length = strcspn(start, "\r\n");
            snprintf(value, size, "%.*s", (int)length, start);
            return;
        }
    }
}

int publisher_redis_inspect(struct publisher_redis *redis, struct publisher_redis_server *server,
                            struct base_error *error)
{
    struct publisher_reply *reply = NULL;
    struct base_span words[] = {base_span_string("INFO")};
    if (publisher_redis_call(redis, words, 1, &reply, error)) {
        return -1;
    }
    struct base_span text = publisher_reply_text(reply);
    if (!text.data) {
        publisher_reply_free(reply);
        return redis_fail(redis, error, "INFO", "answered something else");
    }
    // hiredis ends every string with a zero.
    const char *info = (const char *)text.data;
    char role[16];
    info_field(info, "run_id", server->run_id, sizeof server->run_id);
    info_field(info, "maxmemory_policy", server->policy, sizeof server->policy);
    info_field(info, "role", role, sizeof role);
    server->master = strcmp(role, "master") == 0;
    publisher_reply_free(reply);
    return 0;
}

// AUTH and SELECT.
static int redis_greet(struct publisher_redis *redis, struct base_error *error)
{
    struct publisher_reply *reply = NULL;
    if (redis->password) {
        struct base_span words[3] = {base_span_string("AUTH")};
        uint32_t count = 1;
        if (redis->user) {
            words[count++] = base_span_string(redis->user);
        }
        words[count++] = base_span_string(redis->password);
        if (publisher_redis_call(redis, words, count, &reply, error)) {
            return -1;
        }
        publisher_reply_free(reply);
    }
    if (redis->database != 0) {
        char number[16];
        snprintf(number, sizeof number, "%u", redis->database);
        struct base_span words[] = {base_span_string("SELECT"), base_span_string(number)};
        if (publisher_redis_call(redis, words, 2, &reply, error)) {
            return -1;
        }
        publisher_reply_free(reply);
    }
    return 0;
}

// By hiredis.
static int redis_connect_socket(struct publisher_redis *redis, struct base_error *error)
{
    struct timeval timeout = redis_timeval(redis->timeout_ms);
    redis->context = redis->socket ? redisConnectUnixWithTimeout(redis->socket, timeout)
                                   : redisConnectWithTimeout(redis->host, redis->port, timeout);
    if (!redis->context) {
        return redis_fail(redis, error, "connecting", "out of memory");
    }
    if (redis->context->err || redisSetTimeout(redis->context, timeout) != REDIS_OK) {
        char reason[128];
        snprintf(reason, sizeof reason, "%s", redis->context->errstr);
        return redis_fail(redis, error, "connecting", reason);
    }
    redis->receive_ms = redis->timeout_ms;
    redis->context->reader->maxbuf = 0; // keep the input buffer between replies
    if (!redis->socket) {
        redisEnableKeepAlive(redis->context);
    }
    return 0;
}

static int redis_connect_transport(struct publisher_redis *redis, struct base_error *error)
{
    const char *reason = "no reason given";
    redis->connection = redis->transport->connect(redis->transport->context, redis->timeout_ms, &reason);
    if (!redis->connection) {
        return redis_fail(redis, error, "connecting", reason);
    }
    redis->reader = redisReaderCreate();
    return redis->reader ? 0 : redis_fail(redis, error, "connecting", "out of memory");
}

int publisher_redis_connect(struct publisher_redis *redis, struct base_error *error)
{
    if (publisher_redis_connected(redis)) {
        return 0;
    }
    if (redis->transport ? redis_connect_transport(redis, error) : redis_connect_socket(redis, error)) {
        return -1;
    }
    if (redis_greet(redis, error)) {
        publisher_redis_close(redis);
        return -1;
    }
    return 0;
}

// Sends a formatted command.
static int redis_send_all(struct publisher_redis *redis, const char *bytes, size_t size,
                          struct base_error *error)
{
    if (redis->transport) {
        const char *reason = "no reason given";
        bool sent = redis->transport->send(redis->connection, base_span_make(bytes, size), &reason);
        return sent ? 0 : redis_fail(redis, error, "sending", reason);
    }
    while (size > 0) {
        ssize_t sent = send(redis->context->fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0) {
            bool late = errno == EAGAIN || errno == EWOULDBLOCK;
            char reason[128];
            return redis_fail(redis, error, "sending",
                              late ? "timed out" : strerror_r(errno, reason, sizeof reason));
        }
        bytes += sent;
        size -= (size_t)sent;
    }
    return 0;
}

int publisher_redis_send(struct publisher_redis *redis, const struct base_span *words, uint32_t count,
                         struct base_error *error)
{
    assert(publisher_redis_connected(redis) && count > 0 && count <= REDIS_WORDS_MAX);
    assert(redis->owed < REDIS_OWED_MAX);
    const char **texts = base_alloc(count * sizeof *texts);
    size_t *sizes = base_alloc(count * sizeof *sizes);
    for (uint32_t i = 0; i < count; i++) {
        texts[i] = words[i].data ? (const char *)words[i].data : "";
        sizes[i] = words[i].size;
    }
    char *command = NULL;
    long long size = redisFormatCommandArgv(&command, (int)count, texts, sizes);
    free(texts);
    free(sizes);
    if (size < 0) {
        return redis_fail(redis, error, "sending", "out of memory");
    }
    int failed = redis_send_all(redis, command, (size_t)size, error);
    redisFreeCommand(command);
    if (failed) {
        return -1;
    }
    redis->sizes[(redis->oldest + redis->owed) % REDIS_OWED_MAX] = (uint32_t)size;
    redis->owed++;
    redis->owed_bytes += (size_t)size;
    return 0;
}

static int redis_receive_transport(struct publisher_redis *redis, int timeout_ms, void **read,
                                   struct base_error *error)
{
    static const char doing[] = "waiting for a reply";
    for (;;) {
        if (redisReaderGetReply(redis->reader, read) != REDIS_OK) {
            char reason[128];
            snprintf(reason, sizeof reason, "%s", redis->reader->errstr);
            return redis_fail(redis, error, doing, reason);
        }
        if (*read) {
            return 0;
        }
        const char *reason = "no reason given";
        base_buffer_clear(&redis->arrived);
        if (!redis->transport->receive(redis->connection, timeout_ms, &redis->arrived, &reason)) {
            return redis_fail(redis, error, doing, reason);
        }
        assert(redis->arrived.size > 0);
        redisReaderFeed(redis->reader, (const char *)redis->arrived.data, redis->arrived.size);
    }
}

static int redis_receive_socket(struct publisher_redis *redis, int wanted_ms, void **read,
                                struct base_error *error)
{
    if (redis->receive_ms != wanted_ms) {
        if (redisSetTimeout(redis->context, redis_timeval(wanted_ms)) != REDIS_OK) {
            return redis_fail(redis, error, "setting a time-out", redis->context->errstr);
        }
        redis->receive_ms = wanted_ms;
    }
    errno = 0;
    if (redisGetReply(redis->context, read) != REDIS_OK) {
        bool late = redis->context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);
        char reason[128];
        snprintf(reason, sizeof reason, "%s", late ? "timed out" : redis->context->errstr);
        return redis_fail(redis, error, "waiting for a reply", reason);
    }
    return 0;
}

int publisher_redis_receive(struct publisher_redis *redis, int extra_ms, struct publisher_reply **reply,
                            struct base_error *error)
{
    assert(publisher_redis_connected(redis) && redis->owed > 0);
    int timeout_ms = redis->timeout_ms + extra_ms;
    void *read = NULL;
    if (redis->transport ? redis_receive_transport(redis, timeout_ms, &read, error)
                         : redis_receive_socket(redis, timeout_ms, &read, error)) {
        return -1;
    }
    redis->owed_bytes -= redis->sizes[redis->oldest];
    redis->oldest = (redis->oldest + 1) % REDIS_OWED_MAX;
    redis->owed--;
    *reply = (struct publisher_reply *)read;
    return 0;
}

int publisher_redis_call(struct publisher_redis *redis, const struct base_span *words, uint32_t count,
                         struct publisher_reply **reply, struct base_error *error)
{
    assert(redis->owed == 0);
    struct publisher_reply *received = NULL;
    if (publisher_redis_send(redis, words, count, error) ||
        publisher_redis_receive(redis, 0, &received, error)) {
        return -1;
    }
    if (publisher_reply_check(received, error)) {
        publisher_reply_free(received);
        return -1;
    }
    *reply = received;
    return 0;
}

// A publisher_reply is a redisReply under a name of ours.
static const redisReply *reply_inside(const struct publisher_reply *reply)
{
    return (const redisReply *)reply;
}

void publisher_reply_free(struct publisher_reply *reply)
{
    if (reply) {
        freeReplyObject(reply);
    }
}

enum publisher_reply_type publisher_reply_type(const struct publisher_reply *reply)
{
    switch (reply_inside(reply)->type) {
    case REDIS_REPLY_STATUS:
        return PUBLISHER_REPLY_STATUS;
    case REDIS_REPLY_STRING:
        return PUBLISHER_REPLY_STRING;
    case REDIS_REPLY_INTEGER:
        return PUBLISHER_REPLY_INTEGER;
    case REDIS_REPLY_ARRAY:
        return PUBLISHER_REPLY_ARRAY;
    case REDIS_REPLY_ERROR:
        return PUBLISHER_REPLY_ERROR;
    default:
        return PUBLISHER_REPLY_NIL;
    }
}

struct base_span publisher_reply_text(const struct publisher_reply *reply)
{
    const redisReply *inside = reply_inside(reply);
    if (inside->type == REDIS_REPLY_STATUS || inside->type == REDIS_REPLY_STRING ||
        inside->type == REDIS_REPLY_ERROR) {
        return base_span_make(inside->str, inside->len);
    }
    return (struct base_span){0};
}

int64_t publisher_reply_integer(const struct publisher_reply *reply)
{
    const redisReply *inside = reply_inside(reply);
    return inside->type == REDIS_REPLY_INTEGER ? inside->integer : 0;
}

uint32_t publisher_reply_count(const struct publisher_reply *reply)
{
    const redisReply *inside = reply_inside(reply);
    return inside->type == REDIS_REPLY_ARRAY ? (uint32_t)inside->elements : 0;
}

const struct publisher_reply *publisher_reply_at(const struct publisher_reply *reply, uint32_t i)
{
    assert(i < publisher_reply_count(reply));
    return (const struct publisher_reply *)reply_inside(reply)->element[i];
}

int publisher_reply_check(const struct publisher_reply *reply, struct base_error *error)
{
    // Prefixes of what passes by itself, or when an operator frees memory or disk.
    static const char *const passing[] = {"OOM",  "READONLY", "LOADING",    "MISCONF",    "MASTERDOWN",
                                          "BUSY", "TRYAGAIN", "NOREPLICAS", "CLUSTERDOWN"};
    if (publisher_reply_type(reply) != PUBLISHER_REPLY_ERROR) {
        return 0;
    }
    struct base_span text = publisher_reply_text(reply);
    assert(text.data); // an error always has a text
    base_error_set(error, BASE_EREFUSED, "Redis refuses: %.*s", (int)text.size, (const char *)text.data);
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        size_t size = strlen(passing[i]);
        if (text.size >= size && memcmp(text.data, passing[i], size) == 0) {
            error->retriable = true;
        }
    }
    return -1;
}
