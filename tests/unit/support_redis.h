// A private redis-server on a unix socket in a directory of its own, and a proxy before it that loses, cuts
// or withholds what passes. Used by tests of several rooms, so it knows no client library.
#ifndef TESTS_SUPPORT_REDIS_H
#define TESTS_SUPPORT_REDIS_H

#include <stddef.h>
#include <stdint.h>

struct support_redis;

// Starts a server without persistence and waits until it answers; aborts if it cannot. `options` is a
// NULL-terminated list of further arguments ("--maxmemory", "8mb"), or NULL.
struct support_redis *support_redis_start(const char *const *options);
const char *support_redis_socket(const struct support_redis *redis);
// Kills the server (SIGKILL) and starts an empty one at the same socket.
void support_redis_restart(struct support_redis *redis);
// Kills the server only; support_redis_restart brings one back.
void support_redis_kill(struct support_redis *redis);
// Kills the server and removes the directory. Takes NULL.
void support_redis_stop(struct support_redis *redis);

struct support_proxy;

// Listens on a socket of its own and forwards to the server's. Each rule below holds for connections made
// before and after; counts are of all connections together.
struct support_proxy *support_proxy_start(const struct support_redis *redis);
const char *support_proxy_socket(const struct support_proxy *proxy);
void support_proxy_stop(struct support_proxy *proxy);

// Bytes forwarded to the server and back since the last call.
void support_proxy_counts(struct support_proxy *proxy, uint64_t *up, uint64_t *down);
// After exactly so many more bytes to the server (back from it), all connections are closed, and new ones are
// closed at once until support_proxy_heal. Negative: never.
void support_proxy_cut(struct support_proxy *proxy, int64_t up, int64_t down);
// From the first message to the server that contains `word` on, a connection is withheld: nothing is
// forwarded and nothing comes back. support_proxy_release forwards it, even if the client is gone by then.
void support_proxy_withhold(struct support_proxy *proxy, const char *word);
void support_proxy_release(struct support_proxy *proxy);
// Forgets cuts; new connections work.
void support_proxy_heal(struct support_proxy *proxy);

#endif
