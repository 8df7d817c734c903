// The batch of a store, and the way to the implementation. See store.h.
//
// A batch is one buffer with the changes in the order in which they came, and a list of where they begin.
// Before it is written the list is sorted by key and the superseded changes of a key are dropped from it:
// sorted keys cost the database half of the CPU time of unsorted ones (figures in store_rocks.c).
#include "daemon/store.h"

#include <assert.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "daemon/store_private.h"

enum { STORE_CHANGE_HEADER = 2 + 4 };

static const uint32_t STORE_REMOVED = UINT32_MAX;

int daemon_store_compare(struct base_span a, struct base_span b)
{
    size_t least = a.size < b.size ? a.size : b.size;
    int order = least ? memcmp(a.data, b.data, least) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

// ---- the batch ----

struct daemon_store_batch *daemon_store_batch_new(void)
{
    return base_alloc_zeroed(1, sizeof(struct daemon_store_batch));
}

void daemon_store_batch_free(struct daemon_store_batch *batch)
{
    if (batch) {
        base_buffer_free(&batch->bytes);
        free(batch->change);
        free(batch);
    }
}

void daemon_store_batch_clear(struct daemon_store_batch *batch)
{
    base_buffer_clear(&batch->bytes);
    batch->count = 0;
    batch->content = 0;
}

size_t daemon_store_batch_bytes(const struct daemon_store_batch *batch)
{
    return batch->content;
}

static uint64_t batch_prefix(struct base_span key)
{
    uint64_t prefix = 0;
    for (size_t i = 0; i < 8; i++) {
        prefix = prefix << 8 | (i < key.size ? key.data[i] : 0);
    }
    return prefix;
}

static void batch_add(struct daemon_store_batch *batch, struct base_span key, const struct base_span *value)
{
    assert(key.size >= 1 && key.size <= DAEMON_STORE_KEY_MAX);
    assert(!value || value->size <= DAEMON_STORE_VALUE_MAX);
    if (batch->count == batch->room) {
        batch->room = batch->room ? 2 * batch->room : 64;
        batch->change = base_realloc(batch->change, batch->room * sizeof *batch->change);
    }
    batch->change[batch->count++] = (struct daemon_store_change){batch_prefix(key), batch->bytes.size};
    base_buffer_u16(&batch->bytes, (uint16_t)key.size);
    base_buffer_u32(&batch->bytes, value ? (uint32_t)value->size : STORE_REMOVED);
    base_buffer_append(&batch->bytes, key.data, key.size);
    if (value && value->size) {
        base_buffer_append(&batch->bytes, value->data, value->size);
    }
    batch->content += key.size + (value ? value->size : 0);
}

void daemon_store_batch_put(struct daemon_store_batch *batch, struct base_span key, struct base_span value)
{
    batch_add(batch, key, &value);
}

void daemon_store_batch_remove(struct daemon_store_batch *batch, struct base_span key)
{
    batch_add(batch, key, NULL);
}

void daemon_store_batch_change(const struct daemon_store_batch *batch, size_t index, struct base_span *key,
                               struct base_span *value)
{
    assert(index < batch->count);
    uint64_t offset = batch->change[index].offset;
    struct base_reader reader = {.rest =
                                     base_span_make(batch->bytes.data + offset, batch->bytes.size - offset)};
    uint16_t key_size = base_reader_u16(&reader);
    uint32_t value_size = base_reader_u32(&reader);
    *key = base_reader_bytes(&reader, key_size);
    *value = value_size == STORE_REMOVED ? (struct base_span){0} : base_reader_bytes(&reader, value_size);
    assert(!reader.failed);
}

static struct base_span batch_key(const struct daemon_store_batch *batch,
                                  const struct daemon_store_change *change)
{
    const uint8_t *at = batch->bytes.data + change->offset;
    return base_span_make(at + STORE_CHANGE_HEADER, (size_t)(at[0] | at[1] << 8));
}

static int batch_order(const void *left, const void *right, void *context)
{
    const struct daemon_store_batch *batch = context;
    const struct daemon_store_change *a = left, *b = right;
    if (a->prefix != b->prefix) {
        return a->prefix < b->prefix ? -1 : 1;
    }
    int order = daemon_store_compare(batch_key(batch, a), batch_key(batch, b));
    return order ? order : (a->offset > b->offset) - (a->offset < b->offset);
}

static void batch_sort(struct daemon_store_batch *batch)
{
    if (batch->count == 0) {
        return;
    }
    qsort_r(batch->change, batch->count, sizeof *batch->change, batch_order, batch);
    size_t kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        bool superseded =
            i + 1 < batch->count && batch->change[i].prefix == batch->change[i + 1].prefix &&
            base_span_equal(batch_key(batch, &batch->change[i]), batch_key(batch, &batch->change[i + 1]));
        if (!superseded) {
            batch->change[kept++] = batch->change[i];
        }
    }
    batch->count = kept;
}

// ---- to the implementation ----

void daemon_store_close(struct daemon_store *store)
{
    if (store) {
        char *path = store->path;
        store->operations->close(store);
        free(path);
    }
}

const char *daemon_store_path(const struct daemon_store *store)
{
    return store->path;
}

int daemon_store_write(struct daemon_store *store, struct daemon_store_batch *batch, struct base_error *error)
{
    batch_sort(batch);
    base_failpoint("store.writing");
    if (store->operations->write(store, batch, error)) {
        error->fatal = true;
        return -1;
    }
    base_failpoint("store.written");
    return 0;
}

int daemon_store_get(struct daemon_store *store, struct base_span key, struct base_buffer *value,
                     struct base_error *error)
{
    if (store->operations->get(store, key, value, error)) {
        return -1;
    }
    base_buffer_reserve(value, 1); // an empty value is not null
    return 0;
}

int daemon_store_scan(struct daemon_store *store, struct base_span prefix, daemon_store_each *each,
                      void *context, struct base_error *error)
{
    return store->operations->scan(store, prefix, each, context, error);
}

int daemon_store_checkpoint(struct daemon_store *store, const char *path, struct base_error *error)
{
    return store->operations->checkpoint(store, path, error);
}
