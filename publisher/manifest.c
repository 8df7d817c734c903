// Manifests and lists of parts: writing and checked parsing. See manifest.h.
//
// Both are canonical JSON: keys sorted, no white space, whole numbers. Parsing goes through small readers
// that remember the first thing wrong, so that a function reads as the list of its fields.
#include "publisher/manifest.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>

#include "publisher/keys.h"

// JSON in, with the first error kept.
struct json_reader {
    struct base_error *error;
    bool failed;
};

static void reader_fail(struct json_reader *reader, const char *name, const char *expected)
{
    if (!reader->failed) {
        base_error_set(reader->error, BASE_EFORMAT, "field %s: expected %s", name, expected);
        reader->failed = true;
    }
}

static uint64_t reader_count(struct json_reader *reader, const json_t *object, const char *name,
                             uint64_t limit)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > limit) {
        reader_fail(reader, name, "a whole number within its bounds");
        return 0;
    }
    return (uint64_t)json_integer_value(value);
}

static struct base_span reader_text(struct json_reader *reader, const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) {
        reader_fail(reader, name, "a string");
        return base_span_string("");
    }
    return base_span_make(json_string_value(value), json_string_length(value));
}

static uint64_t reader_hash(struct json_reader *reader, const json_t *object, const char *name)
{
    uint64_t hash = 0;
    if (!publisher_hash_parse(reader_text(reader, object, name), &hash)) {
        reader_fail(reader, name, "16 hexadecimal digits");
    }
    return hash;
}

static struct publisher_version reader_version(struct json_reader *reader, const json_t *object,
                                               const char *name)
{
    struct publisher_version version = {0};
    if (!publisher_version_parse(reader_text(reader, object, name), &version)) {
        reader_fail(reader, name, "a version");
    }
    return version;
}

static json_t *reader_array(struct json_reader *reader, const json_t *object, const char *name, size_t limit)
{
    json_t *value = json_object_get(object, name);
    if (!json_is_array(value) || json_array_size(value) > limit) {
        reader_fail(reader, name, "an array within its bounds");
        return NULL;
    }
    return value;
}

// Loads an object of the given format.
static json_t *json_load_object(struct base_span text, int format, const char *what, struct base_error *error)
{
    if (text.size > PUBLISHER_JSON_MAX) {
        base_error_set(error, BASE_EFORMAT, "a %s of %zu bytes", what, text.size);
        return NULL;
    }
    json_error_t reason;
    json_t *root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &reason);
    if (!root) {
        base_error_set(error, BASE_EFORMAT, "the %s is not JSON: %s", what, reason.text);
        return NULL;
    }
    const json_t *found = json_object_get(root, "format");
    if (!json_is_integer(found) || json_integer_value(found) != format) {
        base_error_set(error, BASE_EFORMAT, "a %s of unknown format; known is %d", what, format);
        json_decref(root);
        return NULL;
    }
    return root;
}

static json_t *json_hash(uint64_t hash)
{
    char text[17];
    publisher_hash_format(hash, text);
    return json_string(text);
}

static json_t *json_version(struct publisher_version version)
{
    char text[PUBLISHER_VERSION_MAX];
    publisher_version_format(version, text);
    return json_string(text);
}

static json_t *json_count(uint64_t count)
{
    return json_integer((json_int_t)count);
}

static char *json_finish(json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(root);
    assert(text); // only memory can run out here
    return text;
}

// Parts.

static json_t *part_write(const struct publisher_part *part)
{
    json_t *object = json_object();
    json_object_set_new(object, "bytes", json_count(part->bytes));
    json_object_set_new(object, "checksum", json_hash(part->checksum));
    json_object_set_new(object, "chunks", json_count(part->chunks));
    json_object_set_new(object, "rows", json_count(part->rows));
    json_object_set_new(object, "tombstones", json_count(part->tombstones));
    json_object_set_new(object, "version", json_version(part->version));
    return object;
}

static struct publisher_part part_read(struct json_reader *reader, const json_t *object)
{
    return (struct publisher_part){
        .version = reader_version(reader, object, "version"),
        .checksum = reader_hash(reader, object, "checksum"),
        .chunks = (uint32_t)reader_count(reader, object, "chunks", PUBLISHER_PART_CHUNKS_MAX),
        .rows = reader_count(reader, object, "rows", PUBLISHER_VERSION_LIMIT),
        .tombstones = reader_count(reader, object, "tombstones", PUBLISHER_VERSION_LIMIT),
        .bytes = reader_count(reader, object, "bytes", PUBLISHER_VERSION_LIMIT),
    };
}

// Manifest.

static json_t *dense_write(const struct publisher_manifest *manifest)
{
    json_t *chunks = json_array();
    for (uint32_t i = 0; i < manifest->dense_chunks; i++) {
        json_t *chunk = json_object();
        json_object_set_new(chunk, "checksum", json_hash(manifest->dense[i].checksum));
        json_object_set_new(chunk, "size", json_count(manifest->dense[i].size));
        json_array_append_new(chunks, chunk);
    }
    json_t *tensors = json_array();
    for (uint32_t i = 0; i < manifest->tensors; i++) {
        json_t *tensor = json_object();
        json_object_set_new(tensor, "columns", json_count(manifest->tensor[i].columns));
        json_object_set_new(tensor, "name", json_string(manifest->tensor[i].name));
        json_object_set_new(tensor, "rows", json_count(manifest->tensor[i].rows));
        json_array_append_new(tensors, tensor);
    }
    json_t *dense = json_object();
    json_object_set_new(dense, "chunks", chunks);
    json_object_set_new(dense, "tensors", tensors);
    return dense;
}

char *publisher_manifest_write(const struct publisher_manifest *manifest, const char *model,
                               struct base_error *error)
{
    json_t *metrics = manifest->metrics ? json_loads(manifest->metrics, 0, NULL) : json_object();
    if (!json_is_object(metrics)) {
        json_decref(metrics);
        base_error_set(error, BASE_EINVAL, "the metrics of a manifest are not a JSON object");
        return NULL;
    }
    json_t *deltas = json_array();
    for (uint32_t i = 0; i < manifest->deltas; i++) {
        json_array_append_new(deltas, part_write(&manifest->delta[i]));
    }
    json_t *root = json_object();
    json_object_set_new(root, "base", part_write(&manifest->base));
    json_object_set_new(root, "deltas", deltas);
    json_object_set_new(root, "dense", dense_write(manifest));
    json_object_set_new(root, "descriptor", json_hash(manifest->descriptor));
    json_object_set_new(root, "element", json_string(manifest->half ? "fp16" : "fp32"));
    json_object_set_new(root, "examples", json_count(manifest->examples));
    json_object_set_new(root, "format", json_integer(PUBLISHER_MANIFEST_FORMAT));
    json_object_set_new(root, "lineage", manifest->lineage ? json_string(manifest->lineage) : json_null());
    json_object_set_new(root, "metrics", metrics);
    json_object_set_new(root, "model", json_string(model));
    json_object_set_new(root, "predecessor",
                        manifest->predecessor.epoch ? json_version(manifest->predecessor) : json_null());
    json_object_set_new(root, "rows", json_count(manifest->rows));
    json_object_set_new(root, "tick", json_integer(manifest->tick));
    json_object_set_new(root, "version", json_version(manifest->version));
    return json_finish(root);
}

static void manifest_read_deltas(struct json_reader *reader, const json_t *root,
                                 struct publisher_manifest *manifest)
{
    json_t *deltas = reader_array(reader, root, "deltas", PUBLISHER_DELTAS_MAX);
    manifest->deltas = (uint32_t)json_array_size(deltas);
    manifest->delta = base_alloc_zeroed(manifest->deltas, sizeof *manifest->delta);
    struct publisher_version last = manifest->base.version;
    for (uint32_t i = 0; i < manifest->deltas; i++) {
        manifest->delta[i] = part_read(reader, json_array_get(deltas, i));
        if (publisher_version_compare(manifest->delta[i].version, last) <= 0) {
            reader_fail(reader, "deltas", "ascending versions");
        }
        last = manifest->delta[i].version;
    }
    // The last part is the one that this version added.
    if (publisher_version_compare(last, manifest->version) != 0) {
        reader_fail(reader, "version", "the version of the last part");
    }
}

static void manifest_read_dense(struct json_reader *reader, const json_t *root,
                                struct publisher_manifest *manifest)
{
    const json_t *dense = json_object_get(root, "dense");
    json_t *chunks = reader_array(reader, dense, "chunks", PUBLISHER_DENSE_CHUNKS_MAX);
    manifest->dense_chunks = (uint32_t)json_array_size(chunks);
    manifest->dense = base_alloc_zeroed(manifest->dense_chunks, sizeof *manifest->dense);
    for (uint32_t i = 0; i < manifest->dense_chunks; i++) {
        const json_t *chunk = json_array_get(chunks, i);
        manifest->dense[i].checksum = reader_hash(reader, chunk, "checksum");
        manifest->dense[i].size = (uint32_t)reader_count(reader, chunk, "size", PUBLISHER_CHUNK_BYTES);
    }

    json_t *tensors = reader_array(reader, dense, "tensors", PUBLISHER_TENSORS_MAX);
    manifest->tensors = (uint32_t)json_array_size(tensors);
    manifest->tensor = base_alloc_zeroed(manifest->tensors, sizeof *manifest->tensor);
    for (uint32_t i = 0; i < manifest->tensors; i++) {
        const json_t *object = json_array_get(tensors, i);
        struct publisher_tensor *tensor = &manifest->tensor[i];
        struct base_span name = reader_text(reader, object, "name");
        if (name.size == 0 || name.size >= sizeof tensor->name || memchr(name.data, 0, name.size)) {
            reader_fail(reader, "name", "1 to 63 bytes");
        } else {
            memcpy(tensor->name, name.data, name.size);
        }
        tensor->rows = (uint32_t)reader_count(reader, object, "rows", UINT32_MAX);
        tensor->columns = (uint32_t)reader_count(reader, object, "columns", UINT32_MAX);
    }
}

struct publisher_manifest *publisher_manifest_parse(struct base_span text, const char *model,
                                                    struct base_error *error)
{
    json_t *root = json_load_object(text, PUBLISHER_MANIFEST_FORMAT, "manifest", error);
    if (!root) {
        return NULL;
    }
    struct publisher_manifest *manifest = base_alloc_zeroed(1, sizeof *manifest);
    struct json_reader reader = {error, false};
    manifest->version = reader_version(&reader, root, "version");
    if (!json_is_null(json_object_get(root, "predecessor"))) {
        manifest->predecessor = reader_version(&reader, root, "predecessor");
    }
    manifest->descriptor = reader_hash(&reader, root, "descriptor");
    if (!base_span_equal(reader_text(&reader, root, "model"), base_span_string(model))) {
        reader_fail(&reader, "model", "the model's own name");
    }
    struct base_span element = reader_text(&reader, root, "element");
    manifest->half = base_span_equal(element, base_span_string("fp16"));
    if (!manifest->half && !base_span_equal(element, base_span_string("fp32"))) {
        reader_fail(&reader, "element", "fp32 or fp16");
    }
    const json_t *tick = json_object_get(root, "tick");
    if (!json_is_integer(tick)) {
        reader_fail(&reader, "tick", "a whole number");
    }
    manifest->tick = json_integer_value(tick);
    manifest->examples = reader_count(&reader, root, "examples", INT64_MAX);
    manifest->rows = reader_count(&reader, root, "rows", INT64_MAX);
    manifest->base = part_read(&reader, json_object_get(root, "base"));
    manifest_read_deltas(&reader, root, manifest);
    manifest_read_dense(&reader, root, manifest);
    const json_t *lineage = json_object_get(root, "lineage"); // versions of old have none
    if (lineage && !json_is_null(lineage)) {
        struct base_span name = reader_text(&reader, root, "lineage");
        manifest->lineage = base_alloc_zeroed(name.size + 1, 1);
        if (name.size) {
            memcpy(manifest->lineage, name.data, name.size);
        }
    }
    const json_t *metrics = json_object_get(root, "metrics");
    if (!json_is_object(metrics)) {
        reader_fail(&reader, "metrics", "an object");
    } else {
        manifest->metrics = json_dumps(metrics, JSON_COMPACT | JSON_SORT_KEYS);
    }
    json_decref(root);
    if (reader.failed) {
        base_error_prefix(error, "manifest");
        publisher_manifest_free(manifest);
        return NULL;
    }
    return manifest;
}

void publisher_manifest_free(struct publisher_manifest *manifest)
{
    if (!manifest) {
        return;
    }
    free(manifest->delta);
    free(manifest->dense);
    free(manifest->tensor);
    free(manifest->lineage);
    free(manifest->metrics);
    free(manifest);
}

// Lists.

char *publisher_list_write(const struct publisher_list *list)
{
    json_t *chunks = json_array();
    for (uint32_t i = 0; i < list->chunks; i++) {
        const struct publisher_entry *entry = &list->entry[i];
        json_t *chunk = json_object();
        json_object_set_new(chunk, "checksum", json_hash(entry->checksum));
        json_object_set_new(chunk, "rows", json_count(entry->rows));
        json_object_set_new(chunk, "size", json_count(entry->size));
        json_object_set_new(chunk, "slot", json_count(entry->slot));
        json_object_set_new(chunk, "tombstones", json_count(entry->tombstones));
        json_array_append_new(chunks, chunk);
    }
    json_t *root = json_object();
    json_object_set_new(root, "chunks", chunks);
    json_object_set_new(root, "format", json_integer(PUBLISHER_PART_FORMAT));
    json_object_set_new(root, "kind", json_string(list->full ? "base" : "delta"));
    json_object_set_new(root, "version", json_version(list->version));
    return json_finish(root);
}

struct publisher_list *publisher_list_parse(struct base_span text, struct base_error *error)
{
    json_t *root = json_load_object(text, PUBLISHER_PART_FORMAT, "part", error);
    if (!root) {
        return NULL;
    }
    struct publisher_list *list = base_alloc_zeroed(1, sizeof *list);
    struct json_reader reader = {error, false};
    list->version = reader_version(&reader, root, "version");
    struct base_span kind = reader_text(&reader, root, "kind");
    list->full = base_span_equal(kind, base_span_string("base"));
    if (!list->full && !base_span_equal(kind, base_span_string("delta"))) {
        reader_fail(&reader, "kind", "base or delta");
    }
    json_t *chunks = reader_array(&reader, root, "chunks", PUBLISHER_PART_CHUNKS_MAX);
    list->chunks = (uint32_t)json_array_size(chunks);
    list->entry = base_alloc_zeroed(list->chunks, sizeof *list->entry);
    for (uint32_t i = 0; i < list->chunks; i++) {
        const json_t *chunk = json_array_get(chunks, i);
        list->entry[i] = (struct publisher_entry){
            .checksum = reader_hash(&reader, chunk, "checksum"),
            .size = (uint32_t)reader_count(&reader, chunk, "size", PUBLISHER_CHUNK_BYTES),
            .slot = (uint32_t)reader_count(&reader, chunk, "slot", TRAINER_SLOTS_MAX - 1),
            .rows = (uint32_t)reader_count(&reader, chunk, "rows", PUBLISHER_CHUNK_BYTES),
            .tombstones = (uint32_t)reader_count(&reader, chunk, "tombstones", PUBLISHER_CHUNK_BYTES),
        };
    }
    json_decref(root);
    if (reader.failed) {
        base_error_prefix(error, "part");
        publisher_list_free(list);
        return NULL;
    }
    return list;
}

void publisher_list_free(struct publisher_list *list)
{
    if (!list) {
        return;
    }
    free(list->entry);
    free(list);
}
