// An Avro object container file being written: Avro C's writer with what it lacks, durability and errors that
// say which file. For dead letters and samples; records are encoded by the caller.
#ifndef CONSUMER_CONTAINER_H
#define CONSUMER_CONTAINER_H

#include "base/bytes.h"
#include "base/error.h"

struct consumer_container;

// Creates `path`, which must not exist (BASE_ECONFLICT). `codec`: "null" or "deflate". A record may have up
// to `capacity` bytes; blocks are cut at 64 KiB. Errors: BASE_EINVAL (schema, codec), BASE_EIO.
struct consumer_container *consumer_container_create(const char *path, const char *schema, const char *codec,
                                                     size_t capacity, struct base_error *error);
// Appends one record. BASE_ELIMIT: above the capacity. After BASE_EIO the file can only be closed.
int consumer_container_append(struct consumer_container *container, struct base_span record,
                              struct base_error *error);
// Everything appended is on disk, and so is the file's name.
int consumer_container_sync(struct consumer_container *container, struct base_error *error);
// Bytes appended so far, before the codec.
uint64_t consumer_container_size(const struct consumer_container *container);
// Writes what is left, syncs and frees, whatever happens; NULL is fine.
int consumer_container_close(struct consumer_container *container, struct base_error *error);

#endif
