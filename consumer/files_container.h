// An Avro object container file, mapped: header, blocks, codecs null and deflate.
//
// Our own reader, since Avro C is not safe on bytes it did not write and gives values instead of bytes. The
// file must not be cut short while it is open: a mapping has no error but SIGBUS.
#ifndef CONSUMER_FILES_CONTAINER_H
#define CONSUMER_FILES_CONTAINER_H

#include "base/bytes.h"
#include "base/error.h"

// Bytes of a block after decompression: more is an error, not memory.
#define CONSUMER_FILES_BLOCK_MAX (UINT32_C(1) << 28)

enum { CONSUMER_FILES_SYNC = 16 };

struct consumer_files_container {
    char *path;
    struct base_span map;    // the whole file
    struct base_span schema; // JSON text, in the map
    bool deflate;
    uint8_t sync[CONSUMER_FILES_SYNC];
    size_t first; // offset of the first block
};

struct consumer_files_raw {
    uint64_t count;        // records, > 0
    struct base_span data; // as it stands in the file
    size_t next;           // offset of the block after it
};

// Maps the file and reads its header. Errors name the file: BASE_EIO, BASE_EFORMAT, BASE_EINVAL for an
// unknown codec.
int consumer_files_container_open(struct consumer_files_container *container, const char *path,
                                  struct base_error *error);
void consumer_files_container_close(struct consumer_files_container *container); // takes a zeroed one

// The block at `offset`. 1: *block is set; 0: the file ends there; -1: BASE_EFORMAT with file and offset.
int consumer_files_container_block(const struct consumer_files_container *container, size_t offset,
                                   struct consumer_files_raw *block, struct base_error *error);

// The block's records: in the map, or decompressed into `buffer`. Errors as above.
int consumer_files_container_data(const struct consumer_files_container *container, size_t offset,
                                  const struct consumer_files_raw *block, struct base_buffer *buffer,
                                  struct base_span *data, struct base_error *error);

#endif
