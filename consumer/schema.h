// An Avro schema as a graph: parsed from JSON with everything that resolution needs (defaults, aliases,
// logical types, which Avro C forgets), its Parsing Canonical Form and its fingerprint.
//
// The graph may be cyclic: a named type is one node wherever it is named. Read-only after the parse; threads
// may share it.
#ifndef CONSUMER_SCHEMA_H
#define CONSUMER_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

enum {
    CONSUMER_SCHEMA_DEPTH_MAX = 64,      // nesting of the JSON text's types, and of recursive data
    CONSUMER_SCHEMA_TEXT_MAX = 1 << 22,  // bytes of a schema's JSON text
    CONSUMER_SCHEMA_FIXED_MAX = 1 << 24, // bytes of a fixed
};

enum consumer_type {
    CONSUMER_TYPE_NULL,
    CONSUMER_TYPE_BOOLEAN,
    CONSUMER_TYPE_INT,
    CONSUMER_TYPE_LONG,
    CONSUMER_TYPE_FLOAT,
    CONSUMER_TYPE_DOUBLE,
    CONSUMER_TYPE_BYTES,
    CONSUMER_TYPE_STRING,
    CONSUMER_TYPE_FIXED,
    CONSUMER_TYPE_ENUM,
    CONSUMER_TYPE_RECORD,
    CONSUMER_TYPE_ARRAY,
    CONSUMER_TYPE_MAP,
    CONSUMER_TYPE_UNION,
    CONSUMER_TYPES
};

// The logical types that matter here; all others are ignored, as the specification asks.
enum consumer_logical {
    CONSUMER_LOGICAL_NONE,
    CONSUMER_LOGICAL_MILLIS, // timestamp-millis, local-timestamp-millis
    CONSUMER_LOGICAL_MICROS, // timestamp-micros, local-timestamp-micros
};

struct json_t; // jansson's

struct consumer_names {
    const char **name;
    uint32_t count;
};

struct consumer_schema_field {
    const char *name;
    struct consumer_names aliases;
    const struct consumer_schema_node *type;
    const struct json_t *default_value; // NULL: none
};

struct consumer_schema_node {
    enum consumer_type type;
    enum consumer_logical logical;
    uint32_t number;               // of this node in its schema, from 0
    const char *name;              // record, enum, fixed: the full name
    struct consumer_names aliases; // of a named type: full names
    uint64_t least;                // bytes that a value takes at least
    uint32_t count;                // fields, symbols or branches
    uint32_t size;                 // fixed: bytes
    struct consumer_schema_field *fields;
    const char **symbols;
    const char *default_symbol;                   // enum: or NULL
    const struct consumer_schema_node **branches; // union
    const struct consumer_schema_node *items;     // array: items, map: values
};

struct consumer_schema;

// Parses a schema's JSON text. NULL on failure: BASE_EFORMAT with what is wrong and the name it is wrong in,
// BASE_ELIMIT beyond a bound above.
struct consumer_schema *consumer_schema_parse(struct base_span text, struct base_error *error);
void consumer_schema_free(struct consumer_schema *schema);

const struct consumer_schema_node *consumer_schema_root(const struct consumer_schema *schema);
// The Parsing Canonical Form, NUL-terminated; lives as long as the schema.
const char *consumer_schema_canonical(const struct consumer_schema *schema);
// CRC-64-AVRO of the Parsing Canonical Form.
uint64_t consumer_schema_fingerprint(const struct consumer_schema *schema);

// "string", or a named type's full name.
const char *consumer_schema_type_name(const struct consumer_schema_node *node);
// The part of a full name behind its last dot.
const char *consumer_schema_short_name(const char *full_name);

// Appends the binary form of a field's default, as `node` would write it. A union takes the first branch
// that fits. Errors: BASE_EFORMAT where the JSON value does not fit the type.
int consumer_schema_encode_default(const struct consumer_schema_node *node, const struct json_t *value,
                                   struct base_buffer *buffer, struct base_error *error);

// Appends a long as Avro writes it: zig-zag, seven bits a byte. Shared by all that write Avro.
void consumer_schema_put_long(struct base_buffer *buffer, int64_t value);
// Appends a length and the bytes, as Avro writes a string or bytes.
void consumer_schema_put_bytes(struct base_buffer *buffer, struct base_span bytes);

#endif
