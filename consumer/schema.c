// Schema: Avro's JSON to a graph of nodes. See schema.h.
//
// One recursive walk follows the JSON text, so its depth is that of the text. Named types are found in
// `types`, a JSON object from full name to node number, which also makes every search cheap. A record's
// node is entered there before its fields are read: that is how a type can name itself.
#include "consumer/schema.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer/arena.h"

enum {
    SCHEMA_NODES_MAX = 1 << 20,
    SCHEMA_NAME_MAX = 1024,
};

struct consumer_schema {
    struct consumer_arena arena;
    json_t *json; // kept: defaults point into it
    json_t *types;
    struct consumer_schema_node **nodes;
    size_t node_count, node_capacity;
    const struct consumer_schema_node *root;
    struct base_buffer canonical;
    uint64_t fingerprint;
    struct base_error *error; // during the parse
};

static const char *const type_names[CONSUMER_TYPES] = {
    "null",   "boolean", "int",  "long",   "float", "double", "bytes",
    "string", "fixed",   "enum", "record", "array", "map",    "union",
};

static struct consumer_schema_node *schema_parse_type(struct consumer_schema *schema, const json_t *json,
                                                      const char *space, unsigned depth);

static void *schema_fail(struct consumer_schema *schema, const char *what, const char *name)
{
    base_error_set(schema->error, BASE_EFORMAT, "schema: %s \"%.200s\"", what, name);
    return NULL;
}

static struct consumer_schema_node *schema_node(struct consumer_schema *schema, enum consumer_type type)
{
    if (schema->node_count == SCHEMA_NODES_MAX) {
        base_error_set(schema->error, BASE_ELIMIT, "schema: more than %d types", SCHEMA_NODES_MAX);
        return NULL;
    }
    if (schema->node_count == schema->node_capacity) {
        schema->node_capacity = schema->node_capacity ? 2 * schema->node_capacity : 32;
        schema->nodes = base_realloc(schema->nodes, schema->node_capacity * sizeof *schema->nodes);
    }
    struct consumer_schema_node *node = consumer_arena_alloc(&schema->arena, sizeof *node);
    node->type = type;
    node->number = (uint32_t)schema->node_count;
    schema->nodes[schema->node_count++] = node;
    return node;
}

// A name as the specification has it, of `size` bytes; a full name also has dots between names.
static bool schema_is_name(const char *name, size_t size, bool full)
{
    bool start = true;
    for (size_t i = 0; i < size; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (full && c == '.' && !start) {
            start = true;
        } else if (letter || (!start && c >= '0' && c <= '9')) {
            start = false;
        } else {
            return false;
        }
    }
    return !start && size <= SCHEMA_NAME_MAX;
}

// The string member `key` as a name; NULL with the error set if it is none.
static const char *schema_name(struct consumer_schema *schema, const json_t *name, bool full,
                               const char *what)
{
    if (!json_is_string(name)) {
        return schema_fail(schema, "a name is missing or no string in a", what);
    }
    if (!schema_is_name(json_string_value(name), json_string_length(name), full)) {
        base_error_set(schema->error, BASE_EFORMAT, "schema: \"%.200s\" cannot be the name of a %s",
                       json_string_value(name), what);
        return NULL;
    }
    return json_string_value(name);
}

static const char *schema_join(struct consumer_schema *schema, const char *space, const char *name)
{
    if (strchr(name, '.') || *space == '\0') {
        return consumer_arena_copy(&schema->arena, name, strlen(name));
    }
    size_t size = strlen(space) + 1 + strlen(name);
    char *full = consumer_arena_alloc(&schema->arena, size + 1);
    snprintf(full, size + 1, "%s.%s", space, name);
    return full;
}

// The namespace of a full name: what stands before its last dot.
static const char *schema_space(struct consumer_schema *schema, const char *full)
{
    const char *dot = strrchr(full, '.');
    return consumer_arena_copy(&schema->arena, full, dot ? (size_t)(dot - full) : 0);
}

static bool schema_aliases(struct consumer_schema *schema, const json_t *json, const char *space,
                           struct consumer_names *aliases)
{
    const json_t *list = json_object_get(json, "aliases");
    size_t count = json_array_size(list);
    aliases->name = consumer_arena_alloc(&schema->arena, count * sizeof *aliases->name);
    for (size_t i = 0; i < count; i++) {
        const char *name = schema_name(schema, json_array_get(list, i), space != NULL, "alias");
        if (!name) {
            return false;
        }
        aliases->name[aliases->count++] = space ? schema_join(schema, space, name) : name;
    }
    return true;
}

// Names and enters a record, enum or fixed.
static struct consumer_schema_node *schema_named(struct consumer_schema *schema, enum consumer_type type,
                                                 const json_t *json, const char *space)
{
    struct consumer_schema_node *node = schema_node(schema, type);
    const char *name = schema_name(schema, json_object_get(json, "name"), true, type_names[type]);
    if (!node || !name) {
        return NULL;
    }
    const json_t *own = json_object_get(json, "namespace");
    if (json_is_string(own)) {
        space = json_string_value(own);
        if (*space != '\0' && !schema_is_name(space, json_string_length(own), true)) {
            return schema_fail(schema, "no namespace:", space);
        }
    }
    node->name = schema_join(schema, space, name);
    for (int i = 0; i < CONSUMER_TYPES; i++) {
        if (strcmp(node->name, type_names[i]) == 0) {
            return schema_fail(schema, "a type cannot be named", node->name);
        }
    }
    if (json_object_get(schema->types, node->name)) {
        return schema_fail(schema, "defined twice:", node->name);
    }
    json_object_set_new(schema->types, node->name, json_integer(node->number));
    if (!schema_aliases(schema, json, schema_space(schema, node->name), &node->aliases)) {
        return NULL;
    }
    return node;
}

static bool schema_field(struct consumer_schema *schema, const json_t *json, const char *space,
                         unsigned depth, struct consumer_schema_field *field)
{
    if (!json_is_object(json)) {
        return schema_fail(schema, "a field is no object in record", space) != NULL;
    }
    field->name = schema_name(schema, json_object_get(json, "name"), false, "field");
    if (!field->name || !schema_aliases(schema, json, NULL, &field->aliases)) {
        return false;
    }
    const json_t *type = json_object_get(json, "type");
    if (!type) {
        return schema_fail(schema, "no type for field", field->name) != NULL;
    }
    field->default_value = json_object_get(json, "default");
    field->type = schema_parse_type(schema, type, space, depth + 1);
    return field->type != NULL;
}

static struct consumer_schema_node *schema_record(struct consumer_schema *schema, const json_t *json,
                                                  const char *space, unsigned depth)
{
    struct consumer_schema_node *node = schema_named(schema, CONSUMER_TYPE_RECORD, json, space);
    if (!node) {
        return NULL;
    }
    const json_t *fields = json_object_get(json, "fields");
    if (!json_is_array(fields)) {
        return schema_fail(schema, "no array of fields in record", node->name);
    }
    space = schema_space(schema, node->name);
    node->fields = consumer_arena_alloc(&schema->arena, json_array_size(fields) * sizeof *node->fields);
    json_t *seen = json_object();
    uint64_t least = 0;
    bool good = true;
    for (size_t i = 0; good && i < json_array_size(fields); i++) {
        struct consumer_schema_field *field = &node->fields[i];
        good = schema_field(schema, json_array_get(fields, i), space, depth, field);
        if (good && json_object_get(seen, field->name)) {
            schema_fail(schema, "two fields are named", field->name);
            good = false;
        }
        if (good) {
            json_object_set_new(seen, field->name, json_null());
            least += field->type->least; // cannot overflow: see schema_fixed and SCHEMA_NODES_MAX
            least = least > UINT32_MAX ? UINT32_MAX : least;
            node->count++;
        }
    }
    json_decref(seen);
    node->least = least;
    return good ? node : NULL;
}

static struct consumer_schema_node *schema_enum(struct consumer_schema *schema, const json_t *json,
                                                const char *space)
{
    struct consumer_schema_node *node = schema_named(schema, CONSUMER_TYPE_ENUM, json, space);
    if (!node) {
        return NULL;
    }
    const json_t *symbols = json_object_get(json, "symbols");
    if (json_array_size(symbols) == 0) {
        return schema_fail(schema, "no symbols in enum", node->name);
    }
    node->symbols = consumer_arena_alloc(&schema->arena, json_array_size(symbols) * sizeof *node->symbols);
    json_t *seen = json_object();
    bool good = true;
    for (size_t i = 0; good && i < json_array_size(symbols); i++) {
        const char *symbol = schema_name(schema, json_array_get(symbols, i), false, "symbol");
        good = symbol != NULL;
        if (good && json_object_get(seen, symbol)) {
            schema_fail(schema, "two symbols are named", symbol);
            good = false;
        }
        if (good) {
            json_object_set_new(seen, symbol, json_null());
            node->symbols[node->count++] = symbol;
        }
    }
    const char *other = json_string_value(json_object_get(json, "default"));
    if (good && other && !json_object_get(seen, other)) {
        schema_fail(schema, "an enum's default is none of its symbols:", other);
        good = false;
    }
    json_decref(seen);
    node->default_symbol = other;
    node->least = 1;
    return good ? node : NULL;
}

static struct consumer_schema_node *schema_fixed(struct consumer_schema *schema, const json_t *json,
                                                 const char *space)
{
    struct consumer_schema_node *node = schema_named(schema, CONSUMER_TYPE_FIXED, json, space);
    if (!node) {
        return NULL;
    }
    const json_t *size = json_object_get(json, "size");
    json_int_t bytes = json_integer_value(size);
    if (!json_is_integer(size) || bytes < 0 || bytes > CONSUMER_SCHEMA_FIXED_MAX) {
        return schema_fail(schema, "no size, or one out of bounds, in fixed", node->name);
    }
    node->size = (uint32_t)bytes;
    node->least = node->size;
    return node;
}

// Two branches of a union may not be of one type; named types differ by name.
static bool schema_branches_differ(const struct consumer_schema_node *a, const struct consumer_schema_node *b)
{
    return a->type != b->type || (a->name && b->name && strcmp(a->name, b->name) != 0);
}

static struct consumer_schema_node *schema_union(struct consumer_schema *schema, const json_t *json,
                                                 const char *space, unsigned depth)
{
    enum { BRANCHES_MAX = 1024 };
    struct consumer_schema_node *node = schema_node(schema, CONSUMER_TYPE_UNION);
    size_t count = json_array_size(json);
    if (!node) {
        return NULL;
    }
    if (count == 0 || count > BRANCHES_MAX) {
        return schema_fail(schema, "too few or too many branches in a", "union");
    }
    node->branches = consumer_arena_alloc(&schema->arena, count * sizeof *node->branches);
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        const struct consumer_schema_node *branch =
            schema_parse_type(schema, json_array_get(json, i), space, depth + 1);
        if (!branch) {
            return NULL;
        }
        if (branch->type == CONSUMER_TYPE_UNION) {
            return schema_fail(schema, "a union directly inside a", "union");
        }
        for (uint32_t k = 0; k < node->count; k++) {
            if (!schema_branches_differ(node->branches[k], branch)) {
                return schema_fail(schema, "a union holds twice", consumer_schema_type_name(branch));
            }
        }
        node->branches[node->count++] = branch;
        least = branch->least < least ? branch->least : least;
    }
    node->least = least + 1;
    return node;
}

static struct consumer_schema_node *schema_container(struct consumer_schema *schema, enum consumer_type type,
                                                     const json_t *json, const char *space, unsigned depth)
{
    struct consumer_schema_node *node = schema_node(schema, type);
    const json_t *items = json_object_get(json, type == CONSUMER_TYPE_ARRAY ? "items" : "values");
    if (!node) {
        return NULL;
    }
    if (!items) {
        return schema_fail(schema, "no type of items or values in a", type_names[type]);
    }
    node->least = 1;
    node->items = schema_parse_type(schema, items, space, depth + 1);
    return node->items ? node : NULL;
}

// A primitive or a reference by name.
static struct consumer_schema_node *schema_by_name(struct consumer_schema *schema, const json_t *json,
                                                   const char *space)
{
    static const uint8_t least[] = {0, 1, 1, 1, 4, 8, 1, 1};
    const char *name = json_string_value(json);
    for (int i = CONSUMER_TYPE_NULL; i <= CONSUMER_TYPE_STRING; i++) {
        if (strcmp(name, type_names[i]) == 0) {
            struct consumer_schema_node *node = schema_node(schema, (enum consumer_type)i);
            if (node) {
                node->least = least[i];
            }
            return node;
        }
    }
    const json_t *known = json_object_get(schema->types, schema_join(schema, space, name));
    if (!known) {
        return schema_fail(schema, "unknown type", name);
    }
    return schema->nodes[json_integer_value(known)];
}

static enum consumer_logical schema_logical(const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "logicalType"));
    if (!name) {
        return CONSUMER_LOGICAL_NONE;
    }
    if (strncmp(name, "local-", 6) == 0) {
        name += 6;
    }
    if (strcmp(name, "timestamp-millis") == 0) {
        return CONSUMER_LOGICAL_MILLIS;
    }
    return strcmp(name, "timestamp-micros") == 0 ? CONSUMER_LOGICAL_MICROS : CONSUMER_LOGICAL_NONE;
}

static struct consumer_schema_node *schema_object(struct consumer_schema *schema, const json_t *json,
                                                  const char *space, unsigned depth)
{
    const json_t *type = json_object_get(json, "type");
    if (!type) {
        return schema_fail(schema, "no type in an", "object");
    }
    const char *name = json_string_value(type);
    if (!name) { // {"type": {"type": ...}}: one more wrapping
        return schema_parse_type(schema, type, space, depth + 1);
    }
    if (strcmp(name, "record") == 0 || strcmp(name, "error") == 0) {
        return schema_record(schema, json, space, depth);
    }
    if (strcmp(name, "enum") == 0) {
        return schema_enum(schema, json, space);
    }
    if (strcmp(name, "fixed") == 0) {
        return schema_fixed(schema, json, space);
    }
    if (strcmp(name, "array") == 0) {
        return schema_container(schema, CONSUMER_TYPE_ARRAY, json, space, depth);
    }
    if (strcmp(name, "map") == 0) {
        return schema_container(schema, CONSUMER_TYPE_MAP, json, space, depth);
    }
    struct consumer_schema_node *node = schema_by_name(schema, type, space);
    if (node && node->type == CONSUMER_TYPE_LONG) {
        node->logical = schema_logical(json);
    }
    return node;
}

static struct consumer_schema_node *schema_parse_type(struct consumer_schema *schema, const json_t *json,
                                                      const char *space, unsigned depth)
{
    if (depth > CONSUMER_SCHEMA_DEPTH_MAX) {
        base_error_set(schema->error, BASE_ELIMIT, "schema: nested deeper than %d",
                       CONSUMER_SCHEMA_DEPTH_MAX);
        return NULL;
    }
    if (json_is_string(json)) {
        return schema_by_name(schema, json, space);
    }
    if (json_is_array(json)) {
        return schema_union(schema, json, space, depth);
    }
    if (json_is_object(json)) {
        return schema_object(schema, json, space, depth);
    }
    return schema_fail(schema, "a type is neither string, array nor", "object");
}

// ---- Parsing Canonical Form ----

static void canonical_text(struct base_buffer *out, const char *text)
{
    base_buffer_append(out, text, strlen(text));
}

static void canonical_quoted(struct base_buffer *out, const char *before, const char *text)
{
    canonical_text(out, before);
    canonical_text(out, "\"");
    canonical_text(out, text);
    canonical_text(out, "\"");
}

static void canonical_node(const struct consumer_schema_node *node, bool *seen, struct base_buffer *out);

static void canonical_named(const struct consumer_schema_node *node, bool *seen, struct base_buffer *out)
{
    if (seen[node->number]) {
        canonical_quoted(out, "", node->name);
        return;
    }
    seen[node->number] = true;
    canonical_quoted(out, "{\"name\":", node->name);
    canonical_quoted(out, ",\"type\":", type_names[node->type]);
    if (node->type == CONSUMER_TYPE_RECORD) {
        canonical_text(out, ",\"fields\":[");
        for (uint32_t i = 0; i < node->count; i++) {
            canonical_quoted(out, i ? ",{\"name\":" : "{\"name\":", node->fields[i].name);
            canonical_text(out, ",\"type\":");
            canonical_node(node->fields[i].type, seen, out);
            canonical_text(out, "}");
        }
        canonical_text(out, "]");
    } else if (node->type == CONSUMER_TYPE_ENUM) {
        canonical_text(out, ",\"symbols\":[");
        for (uint32_t i = 0; i < node->count; i++) {
            canonical_quoted(out, i ? "," : "", node->symbols[i]);
        }
        canonical_text(out, "]");
    } else {
        char size[32];
        snprintf(size, sizeof size, ",\"size\":%u", node->size);
        canonical_text(out, size);
    }
    canonical_text(out, "}");
}

// Follows the order of the text: a named type is written in full where it comes first. Its depth is that of
// the text.
static void canonical_node(const struct consumer_schema_node *node, bool *seen, struct base_buffer *out)
{
    switch (node->type) {
    case CONSUMER_TYPE_FIXED:
    case CONSUMER_TYPE_ENUM:
    case CONSUMER_TYPE_RECORD:
        canonical_named(node, seen, out);
        return;
    case CONSUMER_TYPE_ARRAY:
    case CONSUMER_TYPE_MAP:
        canonical_text(out, node->type == CONSUMER_TYPE_ARRAY ? "{\"type\":\"array\",\"items\":"
                                                              : "{\"type\":\"map\",\"values\":");
        canonical_node(node->items, seen, out);
        canonical_text(out, "}");
        return;
    case CONSUMER_TYPE_UNION:
        for (uint32_t i = 0; i < node->count; i++) {
            canonical_text(out, i ? "," : "[");
            canonical_node(node->branches[i], seen, out);
        }
        canonical_text(out, "]");
        return;
    default:
        canonical_quoted(out, "", type_names[node->type]);
    }
}

// CRC-64-AVRO (Rabin), bit by bit: schemas are short and hashed once.
static uint64_t canonical_fingerprint(struct base_span text)
{
    const uint64_t empty = UINT64_C(0xc15d213aa4d7a795);
    uint64_t crc = empty;
    for (size_t i = 0; i < text.size; i++) {
        uint64_t low = (crc ^ text.data[i]) & 0xff;
        for (int bit = 0; bit < 8; bit++) {
            low = (low >> 1) ^ (empty & (0 - (low & 1)));
        }
        crc = (crc >> 8) ^ low;
    }
    return crc;
}

struct consumer_schema *consumer_schema_parse(struct base_span text, struct base_error *error)
{
    if (text.size > CONSUMER_SCHEMA_TEXT_MAX) {
        base_error_set(error, BASE_ELIMIT, "schema: the text has more than %d bytes",
                       CONSUMER_SCHEMA_TEXT_MAX);
        return NULL;
    }
    struct consumer_schema *schema = base_alloc_zeroed(1, sizeof *schema);
    schema->error = error;
    json_error_t problem;
    // NUL may stand in the default of bytes.
    schema->json = json_loadb((const char *)text.data, text.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
    if (!schema->json) {
        base_error_set(error, BASE_EFORMAT, "schema: not JSON: line %d: %s", problem.line, problem.text);
        consumer_schema_free(schema);
        return NULL;
    }
    schema->types = json_object();
    schema->root = schema_parse_type(schema, schema->json, "", 0);
    if (!schema->root) {
        consumer_schema_free(schema);
        return NULL;
    }
    json_decref(schema->types);
    schema->types = NULL;
    bool *seen = base_alloc_zeroed(schema->node_count, sizeof *seen);
    canonical_node(schema->root, seen, &schema->canonical);
    free(seen);
    schema->fingerprint = canonical_fingerprint(base_buffer_span(&schema->canonical));
    base_buffer_u8(&schema->canonical, 0);
    return schema;
}

void consumer_schema_free(struct consumer_schema *schema)
{
    if (!schema) {
        return;
    }
    json_decref(schema->json);
    json_decref(schema->types);
    free(schema->nodes);
    base_buffer_free(&schema->canonical);
    consumer_arena_free(&schema->arena);
    free(schema);
}

const struct consumer_schema_node *consumer_schema_root(const struct consumer_schema *schema)
{
    return schema->root;
}

const char *consumer_schema_canonical(const struct consumer_schema *schema)
{
    return (const char *)schema->canonical.data;
}

uint64_t consumer_schema_fingerprint(const struct consumer_schema *schema)
{
    return schema->fingerprint;
}

const char *consumer_schema_type_name(const struct consumer_schema_node *node)
{
    return node->name ? node->name : type_names[node->type];
}

const char *consumer_schema_short_name(const char *full_name)
{
    const char *dot = strrchr(full_name, '.');
    return dot ? dot + 1 : full_name;
}
