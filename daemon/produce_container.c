// Avro object container files, written record by record. See produce_container.h.
#include "daemon/produce_container.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "consumer/schema.h"

struct daemon_produce_container {
    char *path;
    int file; // -1: closed
    uint8_t sync[DAEMON_PRODUCE_SYNC_BYTES];
    struct base_buffer records; // of the block
    struct base_buffer frame;   // what goes before them
    int64_t count;
};

static int container_write(struct daemon_produce_container *container, struct base_span bytes,
                           struct base_error *error)
{
    while (bytes.size) {
        ssize_t written = write(container->file, bytes.data, bytes.size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return base_error_set_errno(error, BASE_EIO, errno, "write %s", container->path);
        }
        bytes = base_span_make(bytes.data + written, bytes.size - (size_t)written);
    }
    return 0;
}

static int container_write_header(struct daemon_produce_container *container, const char *schema,
                                  struct base_error *error)
{
    struct base_buffer *frame = &container->frame;
    base_buffer_append(frame, "Obj\1", 4);
    consumer_schema_put_long(frame, 2);
    consumer_schema_put_bytes(frame, base_span_string("avro.codec"));
    consumer_schema_put_bytes(frame, base_span_string("null"));
    consumer_schema_put_bytes(frame, base_span_string("avro.schema"));
    consumer_schema_put_bytes(frame, base_span_string(schema));
    consumer_schema_put_long(frame, 0);
    base_buffer_append(frame, container->sync, sizeof container->sync);
    return container_write(container, base_buffer_span(frame), error);
}

struct daemon_produce_container *daemon_produce_container_new(const char *path, const char *schema,
                                                              const uint8_t sync[DAEMON_PRODUCE_SYNC_BYTES],
                                                              struct base_error *error)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0) {
        base_error_set_errno(error, BASE_EIO, errno, "create %s", path);
        return NULL;
    }
    struct daemon_produce_container *container = base_alloc_zeroed(1, sizeof *container);
    container->file = file;
    size_t size = strlen(path) + 1;
    container->path = memcpy(base_alloc(size), path, size);
    memcpy(container->sync, sync, sizeof container->sync);
    if (container_write_header(container, schema, error) < 0) {
        daemon_produce_container_free(container);
        return NULL;
    }
    return container;
}

static int container_write_block(struct daemon_produce_container *container, struct base_error *error)
{
    if (container->count == 0) {
        return 0;
    }
    struct base_buffer *frame = &container->frame;
    base_buffer_clear(frame);
    consumer_schema_put_long(frame, container->count);
    consumer_schema_put_long(frame, (int64_t)container->records.size);
    base_buffer_append(&container->records, container->sync, sizeof container->sync);
    if (container_write(container, base_buffer_span(frame), error) < 0 ||
        container_write(container, base_buffer_span(&container->records), error) < 0) {
        return -1;
    }
    base_buffer_clear(&container->records);
    container->count = 0;
    return 0;
}

int daemon_produce_container_append(struct daemon_produce_container *container, struct base_span record,
                                    struct base_error *error)
{
    assert(container->file >= 0);
    base_buffer_append(&container->records, record.data, record.size);
    container->count++;
    return container->records.size < DAEMON_PRODUCE_BLOCK_BYTES ? 0 : container_write_block(container, error);
}

int daemon_produce_container_finish(struct daemon_produce_container *container, struct base_error *error)
{
    if (container_write_block(container, error) < 0) {
        return -1;
    }
    int file = container->file;
    container->file = -1;
    if (close(file) < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "close %s", container->path);
    }
    return 0;
}

void daemon_produce_container_free(struct daemon_produce_container *container)
{
    if (!container) {
        return;
    }
    if (container->file >= 0) {
        close(container->file);
    }
    base_buffer_free(&container->records);
    base_buffer_free(&container->frame);
    free(container->path);
    free(container);
}
