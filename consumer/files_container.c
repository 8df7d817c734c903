// Avro object container files. See files_container.h.
#include "consumer/files_container.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static bool read_long(struct base_reader *reader, int64_t *value)
{
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte = base_reader_u8(reader);
        if (reader->failed || (shift == 63 && byte > 1)) {
            break;
        }
        bits |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return true;
        }
    }
    reader->failed = true;
    return false;
}

// A length and so many bytes; a null span if they are not there.
static struct base_span read_bytes(struct base_reader *reader)
{
    int64_t size;
    if (!read_long(reader, &size) || size < 0) {
        reader->failed = true;
        return base_span_make(NULL, 0);
    }
    return base_reader_bytes(reader, (size_t)size);
}

static bool span_is(struct base_span span, const char *text)
{
    return base_span_equal(span, base_span_string(text));
}

// The metadata map: takes what we know, passes over the rest. False: malformed.
static bool read_metadata(struct base_reader *reader, struct base_span *schema, struct base_span *codec)
{
    int64_t count;
    int64_t size;
    while (read_long(reader, &count) && count != 0) {
        if (count < 0) {
            // The block's size follows and is not needed.
            if (count == INT64_MIN || !read_long(reader, &size)) {
                return false;
            }
            count = -count;
        }
        for (int64_t i = 0; i < count && !reader->failed; i++) {
            struct base_span key = read_bytes(reader);
            struct base_span value = read_bytes(reader);
            if (span_is(key, "avro.schema")) {
                *schema = value;
            } else if (span_is(key, "avro.codec")) {
                *codec = value;
            }
        }
        if (reader->failed) {
            return false;
        }
    }
    return !reader->failed;
}

static int container_header(struct consumer_files_container *container, struct base_error *error)
{
    struct base_reader reader = {.rest = container->map};
    struct base_span schema = {0};
    struct base_span codec = {0};
    static const uint8_t magic[4] = {'O', 'b', 'j', 1};
    if (!base_span_equal(base_reader_bytes(&reader, sizeof magic), base_span_make(magic, sizeof magic))) {
        return base_error_set(error, BASE_EFORMAT, "%s is no Avro object container file", container->path);
    }
    if (!read_metadata(&reader, &schema, &codec)) {
        return base_error_set(error, BASE_EFORMAT, "%s: its header is cut off or malformed", container->path);
    }
    struct base_span sync = base_reader_bytes(&reader, CONSUMER_FILES_SYNC);
    if (reader.failed || !schema.data) {
        return base_error_set(error, BASE_EFORMAT, "%s: its header is cut off or lacks avro.schema",
                              container->path);
    }
    container->deflate = span_is(codec, "deflate");
    if (codec.data && !container->deflate && !span_is(codec, "null")) {
        return base_error_set(error, BASE_EINVAL, "%s: codec \"%.*s\" is neither null nor deflate",
                              container->path, (int)(codec.size < 32 ? codec.size : 32),
                              (const char *)codec.data);
    }
    container->schema = schema;
    memcpy(container->sync, sync.data, sizeof container->sync);
    container->first = container->map.size - reader.rest.size;
    return 0;
}

static int container_map(struct consumer_files_container *container, struct base_error *error)
{
    int result = -1;
    int file = open(container->path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "open %s", container->path);
    }
    struct stat status;
    if (fstat(file, &status)) {
        base_error_set_errno(error, BASE_EIO, errno, "stat %s", container->path);
        goto out;
    }
    if (!S_ISREG(status.st_mode) || status.st_size == 0) {
        base_error_set(error, BASE_EFORMAT, "%s is no file or empty", container->path);
        goto out;
    }
    size_t size = (size_t)status.st_size;
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
    if (map == MAP_FAILED) {
        base_error_set_errno(error, BASE_EIO, errno, "map %s", container->path);
        goto out;
    }
    madvise(map, size, MADV_SEQUENTIAL);
    container->map = base_span_make(map, size);
    result = 0;
out:
    close(file);
    return result;
}

int consumer_files_container_open(struct consumer_files_container *container, const char *path,
                                  struct base_error *error)
{
    struct consumer_files_container opened = {.path = strdup(path)};
    if (container_map(&opened, error) || container_header(&opened, error)) {
        consumer_files_container_close(&opened);
        return -1;
    }
    *container = opened;
    return 0;
}

void consumer_files_container_close(struct consumer_files_container *container)
{
    if (container->map.data) {
        munmap((void *)(uintptr_t)container->map.data, container->map.size);
    }
    free(container->path);
    memset(container, 0, sizeof *container);
}

static int container_fail(const struct consumer_files_container *container, size_t offset, const char *why,
                          struct base_error *error)
{
    return base_error_set(error, BASE_EFORMAT, "%s: the block at byte %zu %s", container->path, offset, why);
}

int consumer_files_container_block(const struct consumer_files_container *container, size_t offset,
                                   struct consumer_files_raw *block, struct base_error *error)
{
    const struct base_span map = container->map;
    while (offset < map.size) {
        struct base_reader reader = {.rest = {map.data + offset, map.size - offset}};
        int64_t count;
        if (!read_long(&reader, &count) || count < 0) {
            return container_fail(container, offset, "has no valid count of records", error);
        }
        struct base_span data = read_bytes(&reader);
        struct base_span sync = base_reader_bytes(&reader, CONSUMER_FILES_SYNC);
        if (reader.failed) {
            return container_fail(container, offset, "is cut off", error);
        }
        if (memcmp(sync.data, container->sync, CONSUMER_FILES_SYNC) != 0) {
            return container_fail(container, offset, "does not end with the sync marker", error);
        }
        size_t next = map.size - reader.rest.size;
        if (count > 0) {
            *block = (struct consumer_files_raw){(uint64_t)count, data, next};
            return 1;
        }
        offset = next; // a block of nothing
    }
    return 0;
}

// Raw deflate. What stands behind the stream's end is ignored: some writers leave part of a checksum there.
static int container_inflate(const struct consumer_files_container *container, size_t offset,
                             struct base_span packed, struct base_buffer *buffer, struct base_error *error)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed.data, .avail_in = (uInt)packed.size};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
        return base_error_set(error, BASE_ENOMEM, "%s: no memory to decompress", container->path);
    }
    base_buffer_clear(buffer);
    int state = Z_OK;
    while (state == Z_OK && buffer->size < CONSUMER_FILES_BLOCK_MAX) {
        base_buffer_reserve(buffer, packed.size + 4096);
        size_t room = buffer->capacity - buffer->size;
        stream.next_out = buffer->data + buffer->size;
        stream.avail_out = room < CONSUMER_FILES_BLOCK_MAX ? (uInt)room : CONSUMER_FILES_BLOCK_MAX;
        size_t asked = stream.avail_out;
        state = inflate(&stream, Z_NO_FLUSH);
        buffer->size += asked - stream.avail_out;
    }
    inflateEnd(&stream);
    if (state == Z_OK) {
        return container_fail(container, offset, "is too large once decompressed", error);
    }
    return state == Z_STREAM_END ? 0 : container_fail(container, offset, "does not decompress", error);
}

int consumer_files_container_data(const struct consumer_files_container *container, size_t offset,
                                  const struct consumer_files_raw *block, struct base_buffer *buffer,
                                  struct base_span *data, struct base_error *error)
{
    if (block->data.size > CONSUMER_FILES_BLOCK_MAX) {
        return container_fail(container, offset, "is too large", error);
    }
    if (!container->deflate) {
        *data = block->data;
        return 0;
    }
    if (container_inflate(container, offset, block->data, buffer, error)) {
        return -1;
    }
    *data = base_buffer_span(buffer);
    return 0;
}
