// The connection to Redis: connecting, pipelining, replies, and what an error reply means. The only user of
// hiredis. RESP2 only, so that hiredis 0.14 serves. A transport in the configuration replaces the sockets;
// hiredis still writes the commands and parses the replies.
//
// Thread: one connection belongs to one thread. After a network error the connection is closed; the next
// publisher_redis_connect opens another one.
#ifndef PUBLISHER_REDIS_H
#define PUBLISHER_REDIS_H

#include "base/bytes.h"
#include "publisher/publisher.h"

struct publisher_redis;

// Copies the configuration; does not connect. Error: BASE_EINVAL.
struct publisher_redis *publisher_redis_new(const struct publisher_redis_config *config,
                                            struct base_error *error);
void publisher_redis_free(struct publisher_redis *redis);

// Connects, authenticates and selects the database; does nothing if there is a connection. Errors:
// BASE_ENETWORK; BASE_EREFUSED (authentication).
int publisher_redis_connect(struct publisher_redis *redis, struct base_error *error);
bool publisher_redis_connected(const struct publisher_redis *redis);
void publisher_redis_close(struct publisher_redis *redis);
// Lets `ms` pass, connected or not: sleeps, or asks the transport.
void publisher_redis_wait(struct publisher_redis *redis, int64_t ms);

// What INFO says about the server.
struct publisher_redis_server {
    char run_id[64];
    char policy[32]; // maxmemory_policy
    bool master;
};

// Asks the server for INFO; connected, nothing owed. Errors: BASE_ENETWORK; BASE_EREFUSED (no right to it).
int publisher_redis_inspect(struct publisher_redis *redis, struct publisher_redis_server *server,
                            struct base_error *error);

// Sends one command; its reply is owed. Error: BASE_ENETWORK, and the connection is closed.
int publisher_redis_send(struct publisher_redis *redis, const struct base_span *words, uint32_t count,
                         struct base_error *error);
// Replies owed, and bytes sent for which they are owed.
uint32_t publisher_redis_owed(const struct publisher_redis *redis);
size_t publisher_redis_owed_bytes(const struct publisher_redis *redis);

struct publisher_reply;
enum publisher_reply_type {
    PUBLISHER_REPLY_NIL,
    PUBLISHER_REPLY_STATUS,
    PUBLISHER_REPLY_STRING,
    PUBLISHER_REPLY_INTEGER,
    PUBLISHER_REPLY_ARRAY,
    PUBLISHER_REPLY_ERROR,
};

// Reads the oldest owed reply, waiting the configured time and `extra_ms` more. An error reply is a reply.
// Error: BASE_ENETWORK, and the connection is closed. The caller frees the reply.
int publisher_redis_receive(struct publisher_redis *redis, int extra_ms, struct publisher_reply **reply,
                            struct base_error *error);
// Sends one command and reads its reply; nothing may be owed. An error reply is an error.
int publisher_redis_call(struct publisher_redis *redis, const struct base_span *words, uint32_t count,
                         struct publisher_reply **reply, struct base_error *error);

void publisher_reply_free(struct publisher_reply *reply);
enum publisher_reply_type publisher_reply_type(const struct publisher_reply *reply);
// The text of a status, string or error; a null span of others.
struct base_span publisher_reply_text(const struct publisher_reply *reply);
int64_t publisher_reply_integer(const struct publisher_reply *reply); // 0 of others
// Elements of an array; 0 of others. Element i is borrowed.
uint32_t publisher_reply_count(const struct publisher_reply *reply);
const struct publisher_reply *publisher_reply_at(const struct publisher_reply *reply, uint32_t i);

// -1 and the error if the reply is an error reply: BASE_EREFUSED, retriable if time may mend it (out of
// memory, read only, loading, failing to persist), not if an operator has to (rights, wrong type).
int publisher_reply_check(const struct publisher_reply *reply, struct base_error *error);

#endif
