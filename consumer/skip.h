// Finds the end of a datum, and a key field in it, by the writer's schema alone: what cutting a container's
// block into records takes. Decoding proper is plan.h's.
//
// Safe on any bytes: lengths and counts are held against what remains, depth against
// CONSUMER_SCHEMA_DEPTH_MAX.
#ifndef CONSUMER_SKIP_H
#define CONSUMER_SKIP_H

#include "consumer/schema.h"

// Where the key field stands: a field's number in each record on the way down.
struct consumer_skip_path {
    uint32_t field[CONSUMER_SCHEMA_DEPTH_MAX];
    uint32_t depth; // 0: no key
};

// Resolves "user.id" in a record schema; nullable unions on the way are looked through. The field must be a
// string, bytes, fixed, int or long, or null besides. Errors: BASE_EINVAL with the part that is not there or
// does not serve.
int consumer_skip_resolve(const struct consumer_schema_node *root, const char *path,
                          struct consumer_skip_path *resolved, struct base_error *error);

struct consumer_skip_key {
    struct base_span
        bytes; // canonical (base/hash.h): borrowed from the datum or from `integer`; null if null
    uint8_t integer[8];
};

// The size of the datum that begins `bytes`. With `path` (and its `key`) also takes the key. -1:
// BASE_EFORMAT.
int consumer_skip_datum(const struct consumer_schema_node *root, const struct consumer_skip_path *path,
                        struct base_span bytes, size_t *size, struct consumer_skip_key *key,
                        struct base_error *error);

#endif
