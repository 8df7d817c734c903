// An impression as a line of JSON. See jsonline.h.
#include "daemon/jsonline.h"

#include <jansson.h>
#include <math.h>

#include "base/hash.h"

// The value at a dotted path, or NULL. A key of the object that holds dots itself wins over the walk.
static const json_t *jsonline_find(const json_t *record, const char *path)
{
    const json_t *whole = json_object_get(record, path);
    const char *dot = whole ? NULL : strchr(path, '.');
    if (!dot) {
        return whole;
    }
    const json_t *value;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)record, key, value)
    {
        if (strlen(key) == (size_t)(dot - path) && memcmp(key, path, (size_t)(dot - path)) == 0) {
            return json_is_object(value) ? jsonline_find(value, dot + 1) : NULL;
        }
    }
    return NULL;
}

static bool jsonline_key(const json_t *value, uint64_t salt, uint64_t *key)
{
    if (json_is_string(value)) {
        *key =
            base_hash_slot_bytes(salt, base_span_make(json_string_value(value), json_string_length(value)));
    } else if (json_is_integer(value)) {
        *key = base_hash_slot_integer(salt, json_integer_value(value));
    } else if (json_is_boolean(value)) {
        *key = base_hash_slot_integer(salt, json_is_true(value));
    } else {
        return false;
    }
    return true;
}

// Appends the keys of one categorical column; *count says how many.
static int jsonline_categorical(const json_t *value, const char *slot, const char *path,
                                struct base_buffer *keys, uint16_t *count, struct base_error *error)
{
    *count = 0;
    if (!value || json_is_null(value)) {
        return 0;
    }
    uint64_t salt = base_hash_slot_salt(slot);
    size_t items = json_is_array(value) ? json_array_size(value) : 1;
    if (items > BASE_COLUMN_KEYS_MAX) {
        items = BASE_COLUMN_KEYS_MAX;
    }
    for (size_t i = 0; i < items; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        uint64_t key;
        if (!jsonline_key(item, salt, &key)) {
            return base_error_set(error, BASE_EFORMAT, "%s: neither string, integer nor boolean", path);
        }
        base_buffer_append(keys, &key, sizeof key);
        (*count)++;
    }
    return 0;
}

static double jsonline_numeric(const json_t *value)
{
    if (json_is_number(value)) {
        return json_number_value(value);
    }
    return json_is_boolean(value) ? (double)json_is_true(value) : NAN;
}

static int jsonline_extract(const json_t *record, const struct trainer_descriptor *descriptor,
                            struct base_buffer *columns, struct base_error *error)
{
    struct base_columns_layout layout = descriptor->config.features.layout;
    const struct trainer_descriptor_columns *names = &descriptor->columns;
    uint16_t counts[BASE_CATEGORICAL_MAX] = {0};
    struct base_buffer keys = {0};
    int status = 0;
    for (uint32_t i = 0; i < layout.categorical && status == 0; i++) {
        status =
            jsonline_categorical(jsonline_find(record, names->categorical_paths[i]), names->categorical[i],
                                 names->categorical_paths[i], &keys, &counts[i], error);
    }
    if (status == 0) {
        static const uint8_t zeros[8];
        size_t used = layout.categorical * sizeof *counts;
        base_buffer_clear(columns);
        base_buffer_append(columns, counts, used);
        base_buffer_append(columns, zeros, (8 - used % 8) % 8);
        for (uint32_t i = 0; i < layout.numeric; i++) {
            double value = jsonline_numeric(jsonline_find(record, names->numeric_paths[i]));
            base_buffer_append(columns, &value, sizeof value);
        }
        base_buffer_append(columns, keys.data, keys.size);
    }
    base_buffer_free(&keys);
    return status;
}

int daemon_jsonline_columns(const char *line, size_t size, const struct trainer_descriptor *descriptor,
                            struct base_buffer *columns, struct base_error *error)
{
    json_error_t problem;
    json_t *record = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    int status;
    if (!record) {
        status =
            base_error_set(error, BASE_EFORMAT, "not JSON at column %d: %s", problem.column, problem.text);
    } else if (!json_is_object(record)) {
        status = base_error_set(error, BASE_EFORMAT, "not a JSON object");
    } else {
        status = jsonline_extract(record, descriptor, columns, error);
    }
    json_decref(record);
    return status;
}

bool daemon_jsonline_string(const char *line, size_t size, const char *path, struct base_buffer *text)
{
    base_buffer_clear(text);
    json_t *record = json_loadb(line, size, 0, NULL);
    const json_t *value = record ? jsonline_find(record, path) : NULL;
    bool found = json_is_string(value);
    if (found) {
        base_buffer_append(text, json_string_value(value), json_string_length(value));
    }
    json_decref(record);
    return found;
}
