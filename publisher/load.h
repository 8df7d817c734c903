// Loading: fetches the pieces of a version from Redis and checks every byte of them. What is done with a
// chunk is the caller's.
#ifndef PUBLISHER_LOAD_H
#define PUBLISHER_LOAD_H

#include "publisher/chunk.h"
#include "publisher/manifest.h"
#include "publisher/redis.h"

// Receives the chunks in order. It may keep *reply, which owns the bytes of the chunk, by setting it to NULL.
typedef int publisher_load_visit(void *context, const struct publisher_chunk *chunk,
                                 struct publisher_reply **reply, struct base_error *error);

// All: the connection is open and nothing is owed; on failure a reply may be owed and the caller closes it.
// Errors: BASE_ENETWORK; BASE_EREFUSED; BASE_ENOTFOUND, a key is missing (retriable: it may have expired
// since head was read); BASE_EFORMAT, damaged or of an unknown kind; the visitor's.

// The manifest that head's value names.
struct publisher_manifest *publisher_load_manifest(struct publisher_redis *redis, const char *model,
                                                   struct base_span head, struct base_error *error);
// The text of a descriptor (borrowed from *reply, which the caller frees).
int publisher_load_descriptor(struct publisher_redis *redis, const char *model, uint64_t hash,
                              struct publisher_reply **reply, struct base_error *error);
// The rows chunks of a part, `full` if it is the base.
int publisher_load_part(struct publisher_redis *redis, const char *model, const struct publisher_part *part,
                        bool full, publisher_load_visit *visit, void *context, struct base_error *error);
// The dense chunks of a version.
int publisher_load_dense(struct publisher_redis *redis, const char *model,
                         const struct publisher_manifest *manifest, publisher_load_visit *visit,
                         void *context, struct base_error *error);

#endif
