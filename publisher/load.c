// Loading. See load.h.
//
// The chain of trust: head's value has the manifest's checksum, the manifest those of the lists, the
// descriptor and the dense chunks, a list those of its chunks. So a reader that got all of a version got what
// was written.
#include "publisher/load.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "publisher/keys.h"

enum { LOAD_WINDOW = PUBLISHER_PIPELINE_BYTES / PUBLISHER_CHUNK_BYTES }; // chunks asked for at once

static int load_ask(struct publisher_redis *redis, const char *key, struct base_error *error)
{
    struct base_span words[] = {base_span_string("GET"), base_span_string(key)};
    return publisher_redis_send(redis, words, 2, error);
}

// Reads the reply to a GET of `key`, which must be there.
static int load_receive(struct publisher_redis *redis, const char *key, struct publisher_reply **reply,
                        struct base_error *error)
{
    struct publisher_reply *received = NULL;
    if (publisher_redis_receive(redis, 0, &received, error)) {
        return -1;
    }
    int failed = publisher_reply_check(received, error);
    if (!failed && publisher_reply_type(received) != PUBLISHER_REPLY_STRING) {
        failed = base_error_set(error, BASE_ENOTFOUND, "key %s is missing", key);
        error->retriable = true;
    }
    if (failed) {
        publisher_reply_free(received);
        return -1;
    }
    *reply = received;
    return 0;
}

static int load_damaged(const char *key, struct base_error *error)
{
    base_error_set(error, BASE_EFORMAT, "key %s: the checksum does not fit its bytes", key);
    error->retriable = true;
    return -1;
}

// Fetches one key whose bytes have the given checksum.
static int load_text(struct publisher_redis *redis, const char *key, uint64_t checksum,
                     struct publisher_reply **reply, struct base_error *error)
{
    struct publisher_reply *received = NULL;
    if (load_ask(redis, key, error) || load_receive(redis, key, &received, error)) {
        return -1;
    }
    if (base_hash_bytes(publisher_reply_text(received), 0) != checksum) {
        publisher_reply_free(received);
        return load_damaged(key, error);
    }
    *reply = received;
    return 0;
}

struct publisher_manifest *publisher_load_manifest(struct publisher_redis *redis, const char *model,
                                                   struct base_span head, struct base_error *error)
{
    struct publisher_version version;
    uint64_t checksum;
    if (!publisher_head_parse(head, &version, &checksum)) {
        base_error_set(error, BASE_EFORMAT, "head is not a version with a checksum");
        return NULL;
    }
    char key[PUBLISHER_KEY_MAX];
    struct publisher_reply *reply = NULL;
    publisher_key_manifest(model, version, key);
    if (load_text(redis, key, checksum, &reply, error)) {
        return NULL;
    }
    struct publisher_manifest *manifest = publisher_manifest_parse(publisher_reply_text(reply), model, error);
    publisher_reply_free(reply);
    if (manifest && publisher_version_compare(manifest->version, version) != 0) {
        base_error_set(error, BASE_EFORMAT, "key %s holds the manifest of another version", key);
        publisher_manifest_free(manifest);
        return NULL;
    }
    return manifest;
}

int publisher_load_descriptor(struct publisher_redis *redis, const char *model, uint64_t hash,
                              struct publisher_reply **reply, struct base_error *error)
{
    char key[PUBLISHER_KEY_MAX];
    publisher_key_descriptor(model, hash, key);
    return load_text(redis, key, hash, reply, error);
}

// Some chunks of one kind of one version, to be loaded.
struct chunk_series {
    const char *model;
    struct publisher_version version;
    enum publisher_chunk_kind kind;
    uint32_t count;
    const struct publisher_entry *entry; // [count]
};

static void series_key(const struct chunk_series *series, uint32_t i, char key[static PUBLISHER_KEY_MAX])
{
    if (series->kind == PUBLISHER_CHUNK_ROWS) {
        publisher_key_rows(series->model, series->version, i, key);
    } else {
        publisher_key_dense(series->model, series->version, i, key);
    }
}

// Checks chunk i of the series against its entry.
static int series_check(const struct chunk_series *series, uint32_t i, const char *key,
                        struct base_span bytes, struct publisher_chunk *chunk, struct base_error *error)
{
    const struct publisher_entry *entry = &series->entry[i];
    if (bytes.size != entry->size) {
        base_error_set(error, BASE_EFORMAT, "key %s has %zu bytes for %u", key, bytes.size, entry->size);
        error->retriable = true;
        return -1;
    }
    if (publisher_chunk_parse(bytes, chunk, error)) {
        error->retriable = true;
        return base_error_prefix(error, "key %s", key);
    }
    if (chunk->checksum != entry->checksum) {
        return load_damaged(key, error);
    }
    bool same = chunk->kind == series->kind && chunk->id.index == i &&
                publisher_version_compare(chunk->id.version, series->version) == 0;
    if (same && series->kind == PUBLISHER_CHUNK_ROWS) {
        same =
            chunk->slot == entry->slot && chunk->count == entry->rows && chunk->removed == entry->tombstones;
    }
    if (!same) {
        return base_error_set(error, BASE_EFORMAT, "key %s holds another chunk than its list says", key);
    }
    return 0;
}

static int series_load(struct publisher_redis *redis, const struct chunk_series *series,
                       publisher_load_visit *visit, void *context, struct base_error *error)
{
    char key[PUBLISHER_KEY_MAX];
    uint32_t asked = 0;
    for (uint32_t i = 0; i < series->count; i++) {
        while (asked < series->count && asked < i + LOAD_WINDOW) {
            series_key(series, asked++, key);
            if (load_ask(redis, key, error)) {
                return -1;
            }
        }
        struct publisher_reply *reply = NULL;
        struct publisher_chunk chunk;
        series_key(series, i, key);
        if (load_receive(redis, key, &reply, error)) {
            return -1;
        }
        int failed = series_check(series, i, key, publisher_reply_text(reply), &chunk, error) ||
                     visit(context, &chunk, &reply, error);
        publisher_reply_free(reply);
        if (failed) {
            return -1;
        }
    }
    return 0;
}

// The list is the part's: its sums are those that the manifest has.
static int list_check(const struct publisher_list *list, const struct publisher_part *part, bool full,
                      struct base_error *error)
{
    struct publisher_part sum = {0};
    for (uint32_t i = 0; i < list->chunks; i++) {
        sum.rows += list->entry[i].rows;
        sum.tombstones += list->entry[i].tombstones;
        sum.bytes += list->entry[i].size;
    }
    if (list->full != full || publisher_version_compare(list->version, part->version) != 0 ||
        list->chunks != part->chunks || sum.rows != part->rows || sum.tombstones != part->tombstones ||
        sum.bytes != part->bytes) {
        return base_error_set(error, BASE_EFORMAT, "a part's list is not what the manifest says");
    }
    return 0;
}

int publisher_load_part(struct publisher_redis *redis, const char *model, const struct publisher_part *part,
                        bool full, publisher_load_visit *visit, void *context, struct base_error *error)
{
    char key[PUBLISHER_KEY_MAX];
    struct publisher_reply *reply = NULL;
    publisher_key_part(model, part->version, key);
    if (load_text(redis, key, part->checksum, &reply, error)) {
        return -1;
    }
    struct publisher_list *list = publisher_list_parse(publisher_reply_text(reply), error);
    publisher_reply_free(reply);
    if (!list) {
        return -1;
    }
    int failed = list_check(list, part, full, error);
    if (!failed) {
        struct chunk_series series = {model, part->version, PUBLISHER_CHUNK_ROWS, list->chunks, list->entry};
        failed = series_load(redis, &series, visit, context, error);
    }
    publisher_list_free(list);
    return failed;
}

int publisher_load_dense(struct publisher_redis *redis, const char *model,
                         const struct publisher_manifest *manifest, publisher_load_visit *visit,
                         void *context, struct base_error *error)
{
    struct chunk_series series = {model, manifest->version, PUBLISHER_CHUNK_DENSE, manifest->dense_chunks,
                                  manifest->dense};
    return series_load(redis, &series, visit, context, error);
}
