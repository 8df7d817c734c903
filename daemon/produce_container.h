// A writer of Avro object container files (codec null) that takes records already encoded.
//
// File: "Obj\1", map {avro.schema, avro.codec}, sync marker; then blocks: count, bytes, records, sync marker.
#ifndef DAEMON_PRODUCE_CONTAINER_H
#define DAEMON_PRODUCE_CONTAINER_H

#include "base/bytes.h"
#include "base/error.h"

enum {
    DAEMON_PRODUCE_BLOCK_BYTES = 64 * 1024, // a block ends with the record that reaches this
    DAEMON_PRODUCE_SYNC_BYTES = 16,
};

struct daemon_produce_container;

// Creates the file; one that exists is an error. `sync` should differ from file to file.
struct daemon_produce_container *daemon_produce_container_new(const char *path, const char *schema,
                                                              const uint8_t sync[DAEMON_PRODUCE_SYNC_BYTES],
                                                              struct base_error *error);
int daemon_produce_container_append(struct daemon_produce_container *container, struct base_span record,
                                    struct base_error *error);
// Writes what is buffered and closes the file; nothing can be appended after it.
int daemon_produce_container_finish(struct daemon_produce_container *container, struct base_error *error);
void daemon_produce_container_free(struct daemon_produce_container *container);

#endif
