// Container files: Avro C's file writer on a file of our own. See container.h.
#include "consumer/container.h"

#include <avro.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CONTAINER_BLOCK = 64 << 10 };

struct consumer_container {
    char *path;
    FILE *file;
    avro_file_writer_t writer;
    size_t capacity;
    size_t open_bytes; // in the block that is being filled
    uint64_t size;
};

// Durable names: fsync of the directory that holds `path`.
static int container_sync_directory(const char *path, struct base_error *error)
{
    const char *slash = strrchr(path, '/');
    char *name = strndup(slash ? path : ".", slash && slash != path ? (size_t)(slash - path) : 1);
    int directory = name ? open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    free(name);
    int failed = directory < 0 || fsync(directory) != 0;
    int number = errno;
    if (directory >= 0) {
        close(directory);
    }
    return failed ? base_error_set_errno(error, BASE_EIO, number, "%s: its directory", path) : 0;
}

static int container_open(struct consumer_container *container, const char *schema, const char *codec,
                          struct base_error *error)
{
    avro_schema_t parsed = NULL;
    if (avro_schema_from_json_length(schema, strlen(schema), &parsed)) {
        return base_error_set(error, BASE_EINVAL, "%s: schema: %s", container->path, avro_strerror());
    }
    int result = 0;
    int file = open(container->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0) {
        result = base_error_set_errno(error, errno == EEXIST ? BASE_ECONFLICT : BASE_EIO, errno, "%s",
                                      container->path);
        goto out;
    }
    container->file = fdopen(file, "w");
    if (!container->file) {
        result = base_error_set_errno(error, BASE_EIO, errno, "%s", container->path);
        close(file);
        goto out;
    }
    if (avro_file_writer_create_with_codec_fp(container->file, container->path, 0, parsed, &container->writer,
                                              codec, container->capacity)) {
        container->writer = NULL;
        result = base_error_set(error, BASE_EINVAL, "%s: %s", container->path, avro_strerror());
        unlink(container->path);
    }
out:
    avro_schema_decref(parsed);
    return result;
}

struct consumer_container *consumer_container_create(const char *path, const char *schema, const char *codec,
                                                     size_t capacity, struct base_error *error)
{
    struct consumer_container *container = base_alloc_zeroed(1, sizeof *container);
    container->path = base_alloc(strlen(path) + 1);
    memcpy(container->path, path, strlen(path) + 1);
    container->capacity = capacity > CONTAINER_BLOCK ? capacity : CONTAINER_BLOCK;
    if (container_open(container, schema, codec, error) == 0) {
        return container;
    }
    if (container->file) {
        fclose(container->file);
    }
    free(container->path);
    free(container);
    return NULL;
}

int consumer_container_append(struct consumer_container *container, struct base_span record,
                              struct base_error *error)
{
    if (record.size > container->capacity) {
        return base_error_set(error, BASE_ELIMIT, "%s: a record of %zu bytes, more than %zu", container->path,
                              record.size, container->capacity);
    }
    if (container->open_bytes > 0 && container->open_bytes + record.size > CONTAINER_BLOCK) {
        if (avro_file_writer_sync(container->writer)) {
            return base_error_set(error, BASE_EIO, "%s: %s", container->path, avro_strerror());
        }
        container->open_bytes = 0;
    }
    if (avro_file_writer_append_encoded(container->writer, record.data, (int64_t)record.size)) {
        return base_error_set(error, BASE_EIO, "%s: %s", container->path, avro_strerror());
    }
    container->open_bytes += record.size;
    container->size += record.size;
    return 0;
}

int consumer_container_sync(struct consumer_container *container, struct base_error *error)
{
    if (avro_file_writer_flush(container->writer)) {
        return base_error_set(error, BASE_EIO, "%s: %s", container->path, avro_strerror());
    }
    container->open_bytes = 0;
    if (fflush(container->file) != 0 || ferror(container->file) || fdatasync(fileno(container->file)) != 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", container->path);
    }
    return container_sync_directory(container->path, error);
}

uint64_t consumer_container_size(const struct consumer_container *container)
{
    return container->size;
}

int consumer_container_close(struct consumer_container *container, struct base_error *error)
{
    if (!container) {
        return 0;
    }
    int result = consumer_container_sync(container, error);
    avro_file_writer_close(container->writer);
    fclose(container->file);
    free(container->path);
    free(container);
    return result;
}
