// What the publisher's tests share: snapshots made by hand, and a check of everything that Redis holds.
#ifndef TESTS_PUBLISHER_SUPPORT_H
#define TESTS_PUBLISHER_SUPPORT_H

#include <hiredis/hiredis.h>

#include "publisher/keys.h"
#include "publisher/publisher.h"
#include "support_redis.h"

enum { SUPPORT_SLOTS = 3, SUPPORT_TTL = 100 };

struct publisher_redis_config support_config(const char *socket);
// A publisher of the model "test" that takes deltas up to 100 times the base; not started.
struct publisher *support_publisher(const char *socket, bool half);
// ... and started.
struct publisher *support_publisher_started(const char *socket);

// A snapshot of SUPPORT_SLOTS slots (dimensions 4, 8, 16) with `rows` rows and `removed` tombstones each and
// some dense tensors, one of them larger than a chunk; all numbers follow from `seed`. trainer_snapshot_free
// frees it.
struct trainer_snapshot *support_snapshot(uint32_t rows, uint32_t removed, uint64_t seed, bool full);

// A direct connection; the caller frees it. support_run runs a command that must not fail and returns its
// reply.
redisContext *support_connect(const char *socket);
redisReply *support_run(redisContext *context, const char *format, ...);

// Reads all that head refers to, checks every checksum, and that each key has no expiry; that every other
// key, but epoch, head and versions, has one; fails the test otherwise. Returns head's version (epoch 0:
// none).
struct publisher_version support_check(const char *socket);

#endif
