// A Redis of our own, for demonstrations and benchmarks: redis-server as a child on a unix socket, without
// any file of data.
#ifndef DAEMON_PRIVATE_REDIS_H
#define DAEMON_PRIVATE_REDIS_H

#include <sys/types.h>

#include "base/error.h"

enum { DAEMON_PRIVATE_REDIS_VERSION_MAX = 32 };

struct daemon_private_redis;

// Starts it in `directory`, which must outlive it, and returns when it takes connections. Forks: see
// daemon/child.h. Errors: BASE_EIO, BASE_EREFUSED (there is no redis-server, or it did not start).
struct daemon_private_redis *daemon_private_redis_new(const char *directory, struct base_error *error);
void daemon_private_redis_free(struct daemon_private_redis *redis); // ends it; takes NULL
const char *daemon_private_redis_socket(const struct daemon_private_redis *redis);
pid_t daemon_private_redis_pid(const struct daemon_private_redis *redis);
// -1 if it has ended; the error carries the end of its log.
int daemon_private_redis_check(struct daemon_private_redis *redis, struct base_error *error);
// "7.0.15", as the server says it.
int daemon_private_redis_version(const struct daemon_private_redis *redis,
                                 char version[DAEMON_PRIVATE_REDIS_VERSION_MAX], struct base_error *error);

#endif
