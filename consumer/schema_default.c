// Schema defaults: a field's JSON default in Avro's binary form, so that a plan reads it like any other data.
//
// The recursion follows the default's JSON, but a record's missing members bring in their own defaults, which
// may do so for ever: hence the bounds.
#include <jansson.h>
#include <math.h>

#include "consumer/schema.h"

enum {
    DEFAULT_SIZE_MAX = 1 << 22,  // bytes of one default's binary form
    DEFAULT_STEPS_MAX = 1 << 20, // values tried: unions within unions may try exponentially many
};

struct default_writer {
    struct base_buffer *buffer;
    struct base_error *error;
    unsigned steps;
};

void consumer_schema_put_long(struct base_buffer *buffer, int64_t value)
{
    uint64_t rest = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    uint8_t bytes[10];
    size_t size = 0;
    while (rest > 0x7f) {
        bytes[size++] = (uint8_t)(rest | 0x80);
        rest >>= 7;
    }
    bytes[size++] = (uint8_t)rest;
    base_buffer_append(buffer, bytes, size);
}

void consumer_schema_put_bytes(struct base_buffer *buffer, struct base_span bytes)
{
    consumer_schema_put_long(buffer, (int64_t)bytes.size);
    base_buffer_append(buffer, bytes.data, bytes.size);
}

static int default_fail(const struct consumer_schema_node *node, struct base_error *error)
{
    return base_error_set(error, BASE_EFORMAT, "schema: a default does not fit its type, %s",
                          consumer_schema_type_name(node));
}

// Bytes in JSON: each code point, 0 to 255, is a byte. jansson holds UTF-8 that it has checked.
static bool default_bytes(const json_t *value, struct base_buffer *bytes)
{
    const char *text = json_string_value(value);
    size_t size = json_string_length(value);
    for (size_t i = 0; i < size; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c >= 0xc4) {
            return false;
        }
        if (c >= 0xc2) {
            c = (uint8_t)((c << 6) | (text[++i] & 0x3f));
        }
        base_buffer_u8(bytes, c);
    }
    return true;
}

static bool default_binary(const struct consumer_schema_node *node, const json_t *value,
                           struct base_buffer *buffer)
{
    if (!json_is_string(value)) {
        return false;
    }
    struct base_buffer bytes = {0};
    bool good = default_bytes(value, &bytes);
    if (good && node->type == CONSUMER_TYPE_FIXED) {
        good = bytes.size == node->size;
        base_buffer_append(buffer, bytes.data, good ? bytes.size : 0);
    } else if (good) {
        consumer_schema_put_bytes(buffer, base_buffer_span(&bytes));
    }
    base_buffer_free(&bytes);
    return good;
}

static bool default_number(const struct consumer_schema_node *node, const json_t *value,
                           struct base_buffer *buffer)
{
    if (!json_is_number(value)) {
        return false;
    }
    double number = json_number_value(value);
    if (node->type == CONSUMER_TYPE_DOUBLE) {
        uint64_t bits;
        memcpy(&bits, &number, sizeof bits);
        base_buffer_u64(buffer, bits);
        return true;
    }
    if (node->type == CONSUMER_TYPE_FLOAT) {
        float narrow = (float)number;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        base_buffer_u32(buffer, bits);
        return true;
    }
    json_int_t integer = json_integer_value(value);
    if (json_is_real(value)) {
        if (number != floor(number) || fabs(number) > 0x1p53) {
            return false;
        }
        integer = (json_int_t)number;
    }
    if (node->type == CONSUMER_TYPE_INT && (integer < INT32_MIN || integer > INT32_MAX)) {
        return false;
    }
    consumer_schema_put_long(buffer, integer);
    return true;
}

static bool default_symbol(const struct consumer_schema_node *node, const json_t *value,
                           struct base_buffer *buffer)
{
    const char *symbol = json_string_value(value);
    for (uint32_t i = 0; symbol && i < node->count; i++) {
        if (strcmp(node->symbols[i], symbol) == 0) {
            consumer_schema_put_long(buffer, i);
            return true;
        }
    }
    return false;
}

static int default_value(const struct consumer_schema_node *node, const json_t *value, unsigned depth,
                         struct default_writer *writer);

static int default_record(const struct consumer_schema_node *node, const json_t *value, unsigned depth,
                          struct default_writer *writer)
{
    if (!json_is_object(value)) {
        return default_fail(node, writer->error);
    }
    for (uint32_t i = 0; i < node->count; i++) {
        const struct consumer_schema_field *field = &node->fields[i];
        const json_t *member = json_object_get(value, field->name);
        member = member ? member : field->default_value;
        if (!member) {
            return default_fail(node, writer->error);
        }
        if (default_value(field->type, member, depth + 1, writer)) {
            return -1;
        }
    }
    return 0;
}

static int default_container(const struct consumer_schema_node *node, const json_t *value, unsigned depth,
                             struct default_writer *writer)
{
    bool map = node->type == CONSUMER_TYPE_MAP;
    if (map ? !json_is_object(value) : !json_is_array(value)) {
        return default_fail(node, writer->error);
    }
    size_t count = map ? json_object_size(value) : json_array_size(value);
    if (count > 0) {
        consumer_schema_put_long(writer->buffer, (int64_t)count);
    }
    if (map) {
        for (void *at = json_object_iter((json_t *)value); at;
             at = json_object_iter_next((json_t *)value, at)) {
            consumer_schema_put_bytes(writer->buffer, base_span_string(json_object_iter_key(at)));
            if (default_value(node->items, json_object_iter_value(at), depth + 1, writer)) {
                return -1;
            }
        }
    } else {
        for (size_t i = 0; i < count; i++) {
            if (default_value(node->items, json_array_get(value, i), depth + 1, writer)) {
                return -1;
            }
        }
    }
    consumer_schema_put_long(writer->buffer, 0);
    return 0;
}

static int default_union(const struct consumer_schema_node *node, const json_t *value, unsigned depth,
                         struct default_writer *writer)
{
    size_t before = writer->buffer->size;
    for (uint32_t i = 0; i < node->count; i++) {
        consumer_schema_put_long(writer->buffer, i);
        if (default_value(node->branches[i], value, depth + 1, writer) == 0) {
            return 0;
        }
        writer->buffer->size = before;
        if (writer->error->code == BASE_ELIMIT) {
            return -1;
        }
    }
    return default_fail(node, writer->error);
}

static int default_value(const struct consumer_schema_node *node, const json_t *value, unsigned depth,
                         struct default_writer *writer)
{
    struct base_buffer *buffer = writer->buffer;
    if (depth > CONSUMER_SCHEMA_DEPTH_MAX || buffer->size > DEFAULT_SIZE_MAX ||
        ++writer->steps > DEFAULT_STEPS_MAX) {
        return base_error_set(writer->error, BASE_ELIMIT,
                              "schema: a default that is too large or without end");
    }
    bool good;
    switch (node->type) {
    case CONSUMER_TYPE_NULL:
        good = json_is_null(value);
        break;
    case CONSUMER_TYPE_BOOLEAN:
        good = json_is_boolean(value);
        base_buffer_u8(buffer, json_is_true(value));
        break;
    case CONSUMER_TYPE_INT:
    case CONSUMER_TYPE_LONG:
    case CONSUMER_TYPE_FLOAT:
    case CONSUMER_TYPE_DOUBLE:
        good = default_number(node, value, buffer);
        break;
    case CONSUMER_TYPE_BYTES:
    case CONSUMER_TYPE_FIXED:
        good = default_binary(node, value, buffer);
        break;
    case CONSUMER_TYPE_STRING:
        good = json_is_string(value);
        if (good) {
            consumer_schema_put_bytes(buffer,
                                      base_span_make(json_string_value(value), json_string_length(value)));
        }
        break;
    case CONSUMER_TYPE_ENUM:
        good = default_symbol(node, value, buffer);
        break;
    case CONSUMER_TYPE_RECORD:
        return default_record(node, value, depth, writer);
    case CONSUMER_TYPE_UNION:
        return default_union(node, value, depth, writer);
    default:
        return default_container(node, value, depth, writer);
    }
    return good ? 0 : default_fail(node, writer->error);
}

int consumer_schema_encode_default(const struct consumer_schema_node *node, const struct json_t *value,
                                   struct base_buffer *buffer, struct base_error *error)
{
    struct default_writer writer = {.buffer = buffer, .error = error};
    size_t before = buffer->size;
    if (default_value(node, value, 0, &writer)) {
        buffer->size = before;
        return -1;
    }
    return 0;
}
