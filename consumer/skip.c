// Walks a datum by its writer's schema to find its end. See skip.h.
#include "consumer/skip.h"

#include <string.h>

struct walk {
    const uint8_t *at;
    const uint8_t *end;
    const char *why; // set by the first thing that is wrong
    struct consumer_skip_key *key;
};

static bool walk_fail(struct walk *walk, const char *why)
{
    walk->why = why;
    return false;
}

static size_t walk_rest(const struct walk *walk)
{
    return (size_t)(walk->end - walk->at);
}

static bool walk_bytes(struct walk *walk, uint64_t size)
{
    if (size > walk_rest(walk)) {
        return walk_fail(walk, "ends early");
    }
    walk->at += size;
    return true;
}

static bool walk_long(struct walk *walk, int64_t *value)
{
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (walk->at == walk->end) {
            return walk_fail(walk, "ends early");
        }
        uint8_t byte = *walk->at++;
        if (shift == 63 && byte > 1) {
            break;
        }
        bits |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *value = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return true;
        }
    }
    return walk_fail(walk, "has a number of more than 64 bits");
}

// A length and so many bytes.
static bool walk_string(struct walk *walk)
{
    int64_t size;
    if (!walk_long(walk, &size)) {
        return false;
    }
    return size < 0 ? walk_fail(walk, "has a negative length") : walk_bytes(walk, (uint64_t)size);
}

static bool walk_value(struct walk *walk, const struct consumer_schema_node *node, unsigned depth);

static bool walk_blocks(struct walk *walk, const struct consumer_schema_node *node, unsigned depth)
{
    bool map = node->type == CONSUMER_TYPE_MAP;
    uint64_t least = node->items->least + (map ? 1 : 0);
    for (;;) {
        int64_t count;
        int64_t size;
        if (!walk_long(walk, &count)) {
            return false;
        }
        if (count == 0) {
            return true;
        }
        if (count < 0) { // its size follows
            if (!walk_long(walk, &size)) {
                return false;
            }
            if (size < 0 || !walk_bytes(walk, (uint64_t)size)) {
                return walk_fail(walk, "has a block of a wrong size");
            }
            continue;
        }
        if (least == 0) { // such a value never takes a byte
            continue;
        }
        if ((uint64_t)count > walk_rest(walk) / least) {
            return walk_fail(walk, "has a block of more items than bytes");
        }
        for (int64_t i = 0; i < count; i++) {
            if ((map && !walk_string(walk)) || !walk_value(walk, node->items, depth + 1)) {
                return false;
            }
        }
    }
}

static bool walk_branch(struct walk *walk, const struct consumer_schema_node *node,
                        const struct consumer_schema_node **branch)
{
    int64_t index;
    if (!walk_long(walk, &index)) {
        return false;
    }
    if (index < 0 || index >= node->count) {
        return walk_fail(walk, "has a union branch that its schema lacks");
    }
    *branch = node->branches[index];
    return true;
}

static bool walk_value(struct walk *walk, const struct consumer_schema_node *node, unsigned depth)
{
    int64_t number;
    const struct consumer_schema_node *branch;
    if (depth > CONSUMER_SCHEMA_DEPTH_MAX) {
        return walk_fail(walk, "is nested too deep");
    }
    switch (node->type) {
    case CONSUMER_TYPE_NULL:
        return true;
    case CONSUMER_TYPE_BOOLEAN:
        return walk_bytes(walk, 1);
    case CONSUMER_TYPE_INT:
    case CONSUMER_TYPE_LONG:
    case CONSUMER_TYPE_ENUM:
        return walk_long(walk, &number);
    case CONSUMER_TYPE_FLOAT:
        return walk_bytes(walk, 4);
    case CONSUMER_TYPE_DOUBLE:
        return walk_bytes(walk, 8);
    case CONSUMER_TYPE_BYTES:
    case CONSUMER_TYPE_STRING:
        return walk_string(walk);
    case CONSUMER_TYPE_FIXED:
        return walk_bytes(walk, node->size);
    case CONSUMER_TYPE_RECORD:
        for (uint32_t i = 0; i < node->count; i++) {
            if (!walk_value(walk, node->fields[i].type, depth + 1)) {
                return false;
            }
        }
        return true;
    case CONSUMER_TYPE_ARRAY:
    case CONSUMER_TYPE_MAP:
        return walk_blocks(walk, node, depth);
    case CONSUMER_TYPE_UNION:
        return walk_branch(walk, node, &branch) && walk_value(walk, branch, depth + 1);
    case CONSUMER_TYPES:
        break;
    }
    return walk_fail(walk, "has a value of no known type");
}

static bool type_is_key(enum consumer_type type)
{
    return type == CONSUMER_TYPE_STRING || type == CONSUMER_TYPE_BYTES || type == CONSUMER_TYPE_FIXED ||
           type == CONSUMER_TYPE_INT || type == CONSUMER_TYPE_LONG;
}

// The key itself, in its canonical bytes.
static bool walk_key(struct walk *walk, const struct consumer_schema_node *node)
{
    if (node->type == CONSUMER_TYPE_INT || node->type == CONSUMER_TYPE_LONG) {
        int64_t number;
        if (!walk_long(walk, &number)) {
            return false;
        }
        for (unsigned i = 0; i < 8; i++) {
            walk->key->integer[i] = (uint8_t)((uint64_t)number >> (8 * i));
        }
        walk->key->bytes = base_span_make(walk->key->integer, 8);
        return true;
    }
    int64_t size = node->size;
    if (node->type != CONSUMER_TYPE_FIXED && !walk_long(walk, &size)) {
        return false;
    }
    if (size < 0) {
        return walk_fail(walk, "has a negative length");
    }
    walk->key->bytes = base_span_make(walk->at, (size_t)size);
    return walk_bytes(walk, (uint64_t)size);
}

// Down the key's path; around it everything is walked over.
static bool walk_path(struct walk *walk, const struct consumer_schema_node *node, const uint32_t *field,
                      uint32_t depth)
{
    if (node->type == CONSUMER_TYPE_UNION) {
        if (!walk_branch(walk, node, &node)) {
            return false;
        }
        if (node->type == CONSUMER_TYPE_NULL) {
            return true; // the key stays null
        }
    }
    if (depth == 0) {
        return walk_key(walk, node);
    }
    for (uint32_t i = 0; i < node->count; i++) {
        const struct consumer_schema_node *type = node->fields[i].type;
        if (!(i == *field ? walk_path(walk, type, field + 1, depth - 1) : walk_value(walk, type, 1))) {
            return false;
        }
    }
    return true;
}

int consumer_skip_datum(const struct consumer_schema_node *root, const struct consumer_skip_path *path,
                        struct base_span bytes, size_t *size, struct consumer_skip_key *key,
                        struct base_error *error)
{
    struct walk walk = {.at = bytes.data, .end = bytes.data + bytes.size, .key = key};
    if (key) {
        key->bytes = base_span_make(NULL, 0);
    }
    bool whole = path && path->depth > 0 ? walk_path(&walk, root, path->field, path->depth)
                                         : walk_value(&walk, root, 0);
    if (!whole) {
        return base_error_set(error, BASE_EFORMAT, "a record %s", walk.why);
    }
    *size = (size_t)(walk.at - bytes.data);
    return 0;
}

// Looks through a union of null and one other; NULL if it is another union.
static const struct consumer_schema_node *node_beyond_null(const struct consumer_schema_node *node)
{
    if (node->type != CONSUMER_TYPE_UNION) {
        return node;
    }
    const struct consumer_schema_node *other = NULL;
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->branches[i]->type != CONSUMER_TYPE_NULL) {
            if (other) {
                return NULL;
            }
            other = node->branches[i];
        }
    }
    return other;
}

int consumer_skip_resolve(const struct consumer_schema_node *root, const char *path,
                          struct consumer_skip_path *resolved, struct base_error *error)
{
    struct consumer_skip_path found = {.depth = 0};
    const struct consumer_schema_node *node = node_beyond_null(root);
    for (const char *part = path; part;) {
        const char *dot = strchr(part, '.');
        size_t size = dot ? (size_t)(dot - part) : strlen(part);
        if (!node || node->type != CONSUMER_TYPE_RECORD) {
            return base_error_set(error, BASE_EINVAL, "key %s: no record holds \"%.*s\"", path, (int)size,
                                  part);
        }
        uint32_t i = 0;
        while (i < node->count &&
               (strlen(node->fields[i].name) != size || memcmp(node->fields[i].name, part, size) != 0)) {
            i++;
        }
        if (i == node->count || found.depth == CONSUMER_SCHEMA_DEPTH_MAX) {
            return base_error_set(error, BASE_EINVAL, "key %s: %s has no field \"%.*s\"", path, node->name,
                                  (int)size, part);
        }
        found.field[found.depth++] = i;
        node = node_beyond_null(node->fields[i].type);
        part = dot ? dot + 1 : NULL;
    }
    if (!node || !type_is_key(node->type)) {
        return base_error_set(error, BASE_EINVAL, "key %s is no string, bytes, fixed, int or long", path);
    }
    *resolved = found;
    return 0;
}
