// A store in memory: an array of rows sorted by key. A write makes a new array by merging the sorted batch
// into the old one; rows that stay are moved, not copied. See store.h.
//
// For the simulation, on one thread: a get, scan or clone beside a write is not provided for here.
#include <stdlib.h>

#include "daemon/store.h"
#include "daemon/store_private.h"

struct memory_row {
    uint8_t *data; // the key, then the value
    size_t key, value;
};

struct memory_store {
    struct daemon_store store;
    struct memory_row *row; // [count], ascending
    size_t count;
    int (*before)(void *context, struct base_error *error);
    void *context;
};

static struct memory_store *memory_of(struct daemon_store *store)
{
    return (struct memory_store *)store;
}

static struct base_span row_key(const struct memory_row *row)
{
    return base_span_make(row->data, row->key);
}

static struct base_span row_value(const struct memory_row *row)
{
    return base_span_make(row->data + row->key, row->value);
}

static struct memory_row row_make(struct base_span key, struct base_span value)
{
    struct memory_row row = {base_alloc(key.size + value.size), key.size, value.size};
    memcpy(row.data, key.data, key.size);
    if (value.size) {
        memcpy(row.data + key.size, value.data, value.size);
    }
    return row;
}

// The first row whose key is not below `key`.
static size_t memory_find(const struct memory_store *memory, struct base_span key)
{
    size_t from = 0, to = memory->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (daemon_store_compare(row_key(&memory->row[middle]), key) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static void memory_close(struct daemon_store *store)
{
    struct memory_store *memory = memory_of(store);
    for (size_t i = 0; i < memory->count; i++) {
        free(memory->row[i].data);
    }
    free(memory->row);
    free(memory);
}

static int memory_write(struct daemon_store *store, const struct daemon_store_batch *batch,
                        struct base_error *error)
{
    struct memory_store *memory = memory_of(store);
    if (memory->before && memory->before(memory->context, error)) {
        return -1;
    }
    struct memory_row *merged = base_alloc((memory->count + batch->count + 1) * sizeof *merged);
    size_t count = 0, old = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct base_span key, value;
        daemon_store_batch_change(batch, i, &key, &value);
        int order = -1;
        for (; old < memory->count; old++) {
            order = daemon_store_compare(row_key(&memory->row[old]), key);
            if (order >= 0) {
                break;
            }
            merged[count++] = memory->row[old];
        }
        if (old < memory->count && order == 0) {
            free(memory->row[old++].data);
        }
        if (value.data) {
            merged[count++] = row_make(key, value);
        }
    }
    while (old < memory->count) {
        merged[count++] = memory->row[old++];
    }
    free(memory->row);
    memory->row = merged;
    memory->count = count;
    return 0;
}

static int memory_get(struct daemon_store *store, struct base_span key, struct base_buffer *value,
                      struct base_error *error)
{
    struct memory_store *memory = memory_of(store);
    size_t at = memory_find(memory, key);
    if (at == memory->count || daemon_store_compare(row_key(&memory->row[at]), key) != 0) {
        return base_error_set(error, BASE_ENOTFOUND, "the store has no such key");
    }
    struct base_span found = row_value(&memory->row[at]);
    base_buffer_clear(value);
    base_buffer_append(value, found.data, found.size);
    return 0;
}

static int memory_scan(struct daemon_store *store, struct base_span prefix, daemon_store_each *each,
                       void *context, struct base_error *error)
{
    struct memory_store *memory = memory_of(store);
    for (size_t i = memory_find(memory, prefix); i < memory->count; i++) {
        struct base_span key = row_key(&memory->row[i]);
        if (prefix.size && (key.size < prefix.size || memcmp(key.data, prefix.data, prefix.size) != 0)) {
            break;
        }
        int result = each(context, key, row_value(&memory->row[i]), error);
        if (result) {
            return result;
        }
    }
    return 0;
}

static int memory_checkpoint(struct daemon_store *store, const char *path, struct base_error *error)
{
    (void)store;
    return base_error_set(error, BASE_EINVAL, "a store in memory cannot be kept in %s", path);
}

static const struct daemon_store_operations memory_operations = {
    .close = memory_close,
    .write = memory_write,
    .get = memory_get,
    .scan = memory_scan,
    .checkpoint = memory_checkpoint,
};

struct daemon_store *daemon_store_memory_new(void)
{
    struct memory_store *memory = base_alloc_zeroed(1, sizeof *memory);
    static const char path[] = "memory";
    memory->store.operations = &memory_operations;
    memory->store.path = base_alloc(sizeof path);
    memcpy(memory->store.path, path, sizeof path);
    return &memory->store;
}

struct daemon_store *daemon_store_memory_clone(const struct daemon_store *store)
{
    const struct memory_store *from = (const struct memory_store *)store;
    struct daemon_store *clone = daemon_store_memory_new();
    struct memory_store *memory = memory_of(clone);
    memory->row = base_alloc((from->count + 1) * sizeof *memory->row);
    memory->count = from->count;
    for (size_t i = 0; i < from->count; i++) {
        memory->row[i] = row_make(row_key(&from->row[i]), row_value(&from->row[i]));
    }
    return clone;
}

void daemon_store_memory_fail(struct daemon_store *store,
                              int (*before)(void *context, struct base_error *error), void *context)
{
    struct memory_store *memory = memory_of(store);
    memory->before = before;
    memory->context = context;
}
