// Shared by store.c and the implementations: what an implementation is, and a batch's inside.
#ifndef DAEMON_STORE_PRIVATE_H
#define DAEMON_STORE_PRIVATE_H

#include "daemon/store.h"

struct daemon_store_operations {
    void (*close)(struct daemon_store *store);
    int (*write)(struct daemon_store *store, const struct daemon_store_batch *batch,
                 struct base_error *error); // the batch is sorted
    int (*get)(struct daemon_store *store, struct base_span key, struct base_buffer *value,
               struct base_error *error);
    int (*scan)(struct daemon_store *store, struct base_span prefix, daemon_store_each *each, void *context,
                struct base_error *error);
    int (*checkpoint)(struct daemon_store *store, const char *path, struct base_error *error);
};

// The first member of both implementations.
struct daemon_store {
    const struct daemon_store_operations *operations;
    char *path;
};

// Where a change stands in the batch's bytes.
struct daemon_store_change {
    uint64_t prefix; // the key's first eight bytes as a number, big-endian: compared first
    uint64_t offset;
};

struct daemon_store_batch {
    struct base_buffer bytes; // per change: uint16 key size, uint32 value size (all bits: remove), key, value
    struct daemon_store_change *change;
    size_t count, room;
    size_t content; // bytes of keys and values
};

// Change `index` of a batch; `value` is null for a removal.
void daemon_store_batch_change(const struct daemon_store_batch *batch, size_t index, struct base_span *key,
                               struct base_span *value);

// Order of bytes, a prefix before what it is a prefix of.
int daemon_store_compare(struct base_span a, struct base_span b);

#endif
