// Dead letters: container files in a directory, each named by the time of its first letter. See deadletter.h.
#include "consumer/deadletter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/failpoint.h"
#include "consumer/container.h"
#include "consumer/schema.h"
#include "consumer/schemas.h"

enum {
    DEADLETTER_CAPACITY = 4 << 20, // bytes of a letter; a larger one gets a file of its own
    DEADLETTER_NAMES_MAX = 100000, // files that begin in one millisecond
    DEADLETTER_PATH_MAX = 4096,
};

struct consumer_deadletter {
    char *directory;
    uint64_t max_bytes;
    uint64_t count;
    struct consumer_container *container; // NULL: none is open
    struct base_buffer record;
};

struct consumer_deadletter *consumer_deadletter_new(const char *directory, uint64_t max_bytes,
                                                    struct base_error *error)
{
    if (max_bytes == 0 || strlen(directory) > DEADLETTER_PATH_MAX - 64) {
        base_error_set(error, BASE_EINVAL, "dead letters: no bytes a file, or too long a path");
        return NULL;
    }
    if (mkdir(directory, 0755) != 0 && errno != EEXIST) {
        base_error_set_errno(error, BASE_EIO, errno, "dead letters: %s", directory);
        return NULL;
    }
    struct consumer_deadletter *deadletter = base_alloc_zeroed(1, sizeof *deadletter);
    deadletter->directory = base_alloc(strlen(directory) + 1);
    memcpy(deadletter->directory, directory, strlen(directory) + 1);
    deadletter->max_bytes = max_bytes;
    return deadletter;
}

static void deadletter_nullable(struct base_buffer *record, struct base_span bytes)
{
    consumer_schema_put_long(record, bytes.data ? 1 : 0);
    if (bytes.data) {
        consumer_schema_put_bytes(record, bytes);
    }
}

static void deadletter_encode(struct base_buffer *record, const char *topic,
                              const struct consumer_message *message, const char *reason, int64_t wall_ms)
{
    base_buffer_clear(record);
    consumer_schema_put_bytes(record, base_span_string(topic));
    consumer_schema_put_long(record, message->lane);
    consumer_schema_put_long(record, message->offset);
    consumer_schema_put_long(record, message->timestamp == -1 ? 0 : 1);
    if (message->timestamp != -1) {
        consumer_schema_put_long(record, message->timestamp);
    }
    deadletter_nullable(record, message->key);
    deadletter_nullable(record, message->value);
    consumer_schema_put_bytes(record, base_span_string(reason));
    consumer_schema_put_long(record, wall_ms);
}

// A new file under the first free name.
static int deadletter_open(struct consumer_deadletter *deadletter, int64_t wall_ms, size_t capacity,
                           struct base_error *error)
{
    char path[DEADLETTER_PATH_MAX];
    for (int i = 0; i < DEADLETTER_NAMES_MAX; i++) {
        snprintf(path, sizeof path, "%s/%013" PRId64 "-%05d.avro", deadletter->directory, wall_ms, i);
        deadletter->container =
            consumer_container_create(path, consumer_schemas_deadletter, "null", capacity, error);
        if (deadletter->container) {
            return 0;
        }
        if (error->code != BASE_ECONFLICT) {
            break;
        }
    }
    return base_error_prefix(error, "dead letters");
}

static int deadletter_close(struct consumer_deadletter *deadletter, struct base_error *error)
{
    struct consumer_container *container = deadletter->container;
    deadletter->container = NULL;
    return consumer_container_close(container, error);
}

int consumer_deadletter_add(struct consumer_deadletter *deadletter, const char *topic,
                            const struct consumer_message *message, const char *reason, int64_t wall_ms,
                            struct base_error *error)
{
    struct base_buffer *record = &deadletter->record;
    deadletter_encode(record, topic, message, reason, wall_ms);
    bool large = record->size > DEADLETTER_CAPACITY;
    if (deadletter->container &&
        (large || consumer_container_size(deadletter->container) + record->size > deadletter->max_bytes) &&
        deadletter_close(deadletter, error)) {
        return -1;
    }
    size_t capacity = large ? record->size : DEADLETTER_CAPACITY;
    if (!deadletter->container && deadletter_open(deadletter, wall_ms, capacity, error)) {
        return -1;
    }
    if (consumer_container_append(deadletter->container, base_buffer_span(record), error)) {
        return -1;
    }
    base_failpoint("deadletter.written");
    deadletter->count++;
    return 0;
}

int consumer_deadletter_sync(struct consumer_deadletter *deadletter, struct base_error *error)
{
    if (!deadletter->container) {
        return 0;
    }
    if (consumer_container_sync(deadletter->container, error)) {
        return -1;
    }
    base_failpoint("deadletter.synced");
    return 0;
}

uint64_t consumer_deadletter_count(const struct consumer_deadletter *deadletter)
{
    return deadletter->count;
}

void consumer_deadletter_free(struct consumer_deadletter *deadletter)
{
    if (!deadletter) {
        return;
    }
    struct base_error ignored; // who needs to know calls consumer_deadletter_sync before
    deadletter_close(deadletter, &ignored);
    base_buffer_free(&deadletter->record);
    free(deadletter->directory);
    free(deadletter);
}
