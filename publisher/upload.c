// The upload of a version. See upload.h.
//
// Every key is set with NX and an expiry. NX, because a key carries its version and nothing is ever
// overwritten: a key that is there already is a defect, and must not harm whoever refers to it. While Redis
// takes in one chunk the next is encoded; PUBLISHER_PIPELINE_BYTES bound what is under way.
#include "publisher/upload.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/hash.h"
#include "publisher/chunk.h"

// Reads one reply to a SET.
static int upload_receive(struct publisher_upload *upload, struct base_error *error)
{
    struct publisher_reply *reply = NULL;
    if (publisher_redis_receive(upload->redis, 0, &reply, error)) {
        return -1;
    }
    int failed = publisher_reply_check(reply, error);
    if (!failed && publisher_reply_type(reply) != PUBLISHER_REPLY_STATUS) {
        failed = base_error_set(error, BASE_EREFUSED, "a key of the new version exists already");
        error->retriable = true; // the next attempt has another number
    }
    publisher_reply_free(reply);
    return failed;
}

static int upload_set(struct publisher_upload *upload, const char *key, struct base_span value,
                      struct base_error *error)
{
    char ttl[24];
    snprintf(ttl, sizeof ttl, "%" PRId64, upload->ttl_s);
    struct base_span words[] = {
        base_span_string("SET"), base_span_string(key),  value,
        base_span_string("NX"),  base_span_string("EX"), base_span_string(ttl),
    };
    if (publisher_redis_send(upload->redis, words, sizeof words / sizeof *words, error)) {
        return -1;
    }
    publisher_names_add(upload->names, key);
    base_failpoint("publish.chunk");
    while (publisher_redis_owed_bytes(upload->redis) > PUBLISHER_PIPELINE_BYTES) {
        if (upload_receive(upload, error)) {
            return -1;
        }
    }
    return 0;
}

int publisher_upload_text(struct publisher_upload *upload, const char *key, const char *text,
                          struct base_error *error)
{
    return upload_set(upload, key, base_span_string(text), error);
}

int publisher_upload_finish(struct publisher_upload *upload, struct base_error *error)
{
    while (publisher_redis_owed(upload->redis) > 0) {
        if (upload_receive(upload, error)) {
            return -1;
        }
    }
    return 0;
}

// A growing array of entries.
struct entries {
    struct publisher_entry *entry;
    uint32_t count, capacity;
};

static struct publisher_entry *entries_add(struct entries *entries)
{
    if (entries->count == entries->capacity) {
        entries->capacity = entries->capacity ? entries->capacity * 2 : 16;
        entries->entry = base_realloc(entries->entry, entries->capacity * sizeof *entries->entry);
    }
    return &entries->entry[entries->count++];
}

// One chunk of a slot.
static int upload_rows_chunk(struct publisher_upload *upload, const struct publisher_chunk_rows *rows,
                             struct entries *entries, struct base_error *error)
{
    if (entries->count == PUBLISHER_PART_CHUNKS_MAX) {
        return base_error_set(error, BASE_ELIMIT, "a version has more than %d chunks of rows",
                              PUBLISHER_PART_CHUNKS_MAX);
    }
    char key[PUBLISHER_KEY_MAX];
    uint64_t checksum;
    struct publisher_chunk_id id = {upload->version, entries->count};
    publisher_key_rows(upload->model, upload->version, entries->count, key);
    if (publisher_chunk_write_rows(upload->scratch, id, rows, &checksum, error) ||
        upload_set(upload, key, base_buffer_span(upload->scratch), error)) {
        return -1;
    }
    *entries_add(entries) = (struct publisher_entry){
        .checksum = checksum,
        .size = (uint32_t)upload->scratch->size,
        .slot = rows->slot,
        .rows = rows->count,
        .tombstones = rows->removed,
    };
    return 0;
}

static uint32_t least(size_t a, uint32_t b)
{
    return a < b ? (uint32_t)a : b;
}

// The chunks of one slot: tombstones first, since a key dropped and admitted again is in both.
static int upload_slot(struct publisher_upload *upload, uint32_t slot,
                       const struct trainer_snapshot_rows *rows, bool full, struct entries *entries,
                       struct base_error *error)
{
    size_t removed = full ? 0 : rows->removed;
    size_t tombstone = 0;
    size_t row = 0;
    while (tombstone < removed || row < rows->count) {
        uint32_t removals = least(removed - tombstone, publisher_chunk_tombstones_fit());
        uint32_t fit = publisher_chunk_rows_fit(rows->dimension, upload->half, removals);
        struct publisher_chunk_rows chunk = {
            .slot = slot,
            .dimension = rows->dimension,
            .half = upload->half,
            .removed = removals,
            .tombstones = rows->tombstones + tombstone,
            .count = least(rows->count - row, fit),
            .keys = rows->keys + row,
            .vectors = rows->vectors + row * rows->dimension,
        };
        if (upload_rows_chunk(upload, &chunk, entries, error)) {
            return -1;
        }
        tombstone += removals;
        row += chunk.count;
    }
    return 0;
}

int publisher_upload_rows(struct publisher_upload *upload, const struct trainer_snapshot *snapshot,
                          struct publisher_part *part, struct base_error *error)
{
    struct entries entries = {0};
    char *text = NULL;
    int failed = -1;
    base_failpoint("publish.begun");
    for (uint32_t slot = 0; slot < snapshot->slots; slot++) {
        if (upload_slot(upload, slot, &snapshot->rows[slot], snapshot->full, &entries, error)) {
            goto out;
        }
    }
    struct publisher_list list = {upload->version, snapshot->full, entries.count, entries.entry};
    text = publisher_list_write(&list);
    char key[PUBLISHER_KEY_MAX];
    publisher_key_part(upload->model, upload->version, key);
    if (upload_set(upload, key, base_span_string(text), error)) {
        goto out;
    }

    struct publisher_part sum = {
        .version = upload->version,
        .checksum = base_hash_bytes(base_span_string(text), 0),
        .chunks = entries.count,
    };
    for (uint32_t i = 0; i < entries.count; i++) {
        sum.rows += entries.entry[i].rows;
        sum.tombstones += entries.entry[i].tombstones;
        sum.bytes += entries.entry[i].size;
    }
    *part = sum;
    failed = 0;
out:
    free(text);
    free(entries.entry);
    return failed;
}

int publisher_upload_dense(struct publisher_upload *upload, const struct trainer_snapshot *snapshot,
                           struct publisher_manifest *manifest, struct base_error *error)
{
    assert(!manifest->dense && !manifest->tensor);
    struct entries entries = {0};
    struct publisher_chunk_cursor cursor = {0};
    while (cursor.tensor < snapshot->tensors) {
        if (entries.count == PUBLISHER_DENSE_CHUNKS_MAX) {
            free(entries.entry);
            return base_error_set(error, BASE_ELIMIT, "a version has more than %d dense chunks",
                                  PUBLISHER_DENSE_CHUNKS_MAX);
        }
        char key[PUBLISHER_KEY_MAX];
        uint64_t checksum;
        struct publisher_chunk_id id = {upload->version, entries.count};
        publisher_key_dense(upload->model, upload->version, entries.count, key);
        publisher_chunk_write_dense(upload->scratch, id, snapshot->tensor, snapshot->tensors, snapshot->dense,
                                    &cursor, &checksum);
        if (upload_set(upload, key, base_buffer_span(upload->scratch), error)) {
            free(entries.entry);
            return -1;
        }
        *entries_add(&entries) =
            (struct publisher_entry){.checksum = checksum, .size = (uint32_t)upload->scratch->size};
    }
    manifest->dense = entries.entry;
    manifest->dense_chunks = entries.count;
    manifest->tensors = snapshot->tensors;
    manifest->tensor = base_alloc_zeroed(snapshot->tensors, sizeof *manifest->tensor);
    for (uint32_t i = 0; i < snapshot->tensors; i++) {
        memcpy(manifest->tensor[i].name, snapshot->tensor[i].name, TRAINER_TENSOR_NAME_MAX);
        manifest->tensor[i].rows = snapshot->tensor[i].rows;
        manifest->tensor[i].columns = snapshot->tensor[i].columns;
    }
    return 0;
}
