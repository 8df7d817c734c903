// Configuration: reading YAML into structs by a table. See config.h.
//
// libyaml composes the text into a tree of nodes with marks; the reader walks tree and table together:
//
//   read_record: defaults of all rows -> each key -> its row -> read_value by type -> keys that are missing
//
// A value is assigned only when all of it is right, so that a refused one leaves the default. The tree of a
// text with aliases is a graph; every node is visited once, a second visit is refused as an alias, and so the
// work stays linear in the text. Defaults are texts too and go through the same functions.
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <yaml.h>

#include "base/config_private.h"

// --- The reader ---

// The way to a setting, from the leaf up; rendered only for messages and marks.
struct place {
    const struct place *up; // NULL: the root
    const char *name;       // NULL: an item of a list
    uint32_t index;
};

struct reader {
    struct base_config *config;
    struct base_config_problems *problems;
    yaml_document_t *document;
    bool *visited;    // by node number
    bool fallback;    // reading a row's default: no marks, and any problem is the programmer's
    yaml_mark_t mark; // of the node at hand
};

static void place_render(const struct place *place, char *out, size_t size)
{
    if (!place->up) {
        out[0] = '\0';
        return;
    }
    place_render(place->up, out, size);
    size_t used = strlen(out);
    if (place->name) {
        snprintf(out + used, size - used, "%s%s", used > 0 ? "." : "", place->name);
    } else {
        snprintf(out + used, size - used, "[%u]", place->index);
    }
}

static int reader_problem(struct reader *reader, bool warning, const struct place *place, const char *format,
                          ...) __attribute__((format(printf, 4, 5)));

// Adds a problem at the node at hand. Returns -1.
static int reader_problem(struct reader *reader, bool warning, const struct place *place, const char *format,
                          ...)
{
    assert(!reader->fallback && "a row's default does not fit the row");
    char path[BASE_CONFIG_NAME_MAX];
    char where[BASE_CONFIG_PROBLEM_TEXT / 2];
    place_render(place, path, sizeof path);
    snprintf(where, sizeof where, "%s:%zu:%zu%s%s", reader->config->name, reader->mark.line + 1,
             reader->mark.column + 1, path[0] ? ": " : "", path);
    va_list args;
    va_start(args, format);
    base_config_problem_add(reader->problems, warning, where, format, args);
    va_end(args);
    return -1;
}

// Notes where a field was set. Every field is first marked with its default, then as it is given.
static void reader_mark(struct reader *reader, const void *field, const struct place *place,
                        enum config_state state)
{
    if (reader->fallback) {
        return;
    }
    struct config_mark *mark;
    if (state == CONFIG_DEFAULT) {
        char path[BASE_CONFIG_NAME_MAX];
        place_render(place, path, sizeof path);
        mark = base_config_mark_add(reader->config, field, path);
    } else {
        mark = base_config_mark(reader->config, field);
        assert(mark);
    }
    mark->line = reader->mark.line + 1;
    mark->column = reader->mark.column + 1;
    mark->state = state;
}

static const char *node_kind(const yaml_node_t *node)
{
    switch (node->type) {
    case YAML_SCALAR_NODE:
        return "a single value";
    case YAML_SEQUENCE_NODE:
        return "a list";
    default:
        return "a mapping";
    }
}

// The node, if it is of the wanted kind, without a tag, and visited for the first time; else a problem and
// NULL.
static const yaml_node_t *reader_node(struct reader *reader, int number, yaml_node_type_t kind,
                                      const char *wanted, const struct place *place)
{
    yaml_node_t *node = yaml_document_get_node(reader->document, number);
    assert(node);
    reader->mark = node->start_mark;
    if (reader->visited[number - 1]) {
        reader_problem(reader, false, place, "aliases are not supported");
        return NULL;
    }
    reader->visited[number - 1] = true;
    if (node->type != kind) {
        reader_problem(reader, false, place, "expected %s, found %s", wanted, node_kind(node));
        return NULL;
    }
    const char *plain = kind == YAML_SCALAR_NODE     ? YAML_STR_TAG
                        : kind == YAML_SEQUENCE_NODE ? YAML_SEQ_TAG
                                                     : YAML_MAP_TAG;
    if (strcmp((const char *)node->tag, plain) != 0) {
        reader_problem(reader, false, place, "tags are not supported");
        return NULL;
    }
    return node;
}

// --- Scalars ---

static const char *const type_wanted[] = {
    [BASE_CONFIG_BOOL] = "true or false",
    [BASE_CONFIG_INT] = "an integer",
    [BASE_CONFIG_UINT] = "a whole number",
    [BASE_CONFIG_REAL] = "a number",
    [BASE_CONFIG_STRING] = "a text",
    [BASE_CONFIG_PATH] = "a path",
    [BASE_CONFIG_ENUM] = "one of its choices",
    [BASE_CONFIG_DURATION] = "a duration (500ms, 2s, 10m, 1h30m, 7d)",
    [BASE_CONFIG_BYTES] = "a size (4096, 128MiB, 1GB)",
    [BASE_CONFIG_STRINGS] = "a list of texts",
    [BASE_CONFIG_UINTS] = "a list of whole numbers",
    [BASE_CONFIG_REALS] = "a list of numbers",
    [BASE_CONFIG_MAP] = "a mapping of names to texts",
    [BASE_CONFIG_RECORD] = "a mapping",
    [BASE_CONFIG_RECORDS] = "a list of mappings",
};

// The text of a scalar node as a string of the config, or NULL after a problem. `typed`: numbers and the
// like, which must not be quoted.
static const char *read_text(struct reader *reader, int number, bool typed, const char *wanted,
                             const struct place *place)
{
    const yaml_node_t *node = reader_node(reader, number, YAML_SCALAR_NODE, wanted, place);
    if (!node) {
        return NULL;
    }
    const char *text = (const char *)node->data.scalar.value;
    size_t size = node->data.scalar.length;
    bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (memchr(text, '\0', size)) {
        reader_problem(reader, false, place, "a NUL byte in the text");
        return NULL;
    }
    if (plain && (size == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)) {
        reader_problem(reader, false, place, "has no value; expected %s", wanted);
        return NULL;
    }
    if (typed && !plain) {
        reader_problem(reader, false, place, "expected %s, found a quoted text", wanted);
        return NULL;
    }
    return base_config_copy(reader->config, text, size);
}

static const char *number_format(enum base_config_type type, double value, char out[BASE_CONFIG_NUMBER_MAX])
{
    switch (type) {
    case BASE_CONFIG_DURATION:
        return base_config_format_duration((int64_t)value, out);
    case BASE_CONFIG_BYTES:
        return base_config_format_bytes((uint64_t)value, out);
    case BASE_CONFIG_REAL:
        return base_config_format_real(value, out);
    default:
        snprintf(out, BASE_CONFIG_NUMBER_MAX, "%.0f", value);
        return out;
    }
}

static int check_bounds(struct reader *reader, const struct base_config_row *row, enum base_config_type type,
                        double value, const char *text, const struct place *place)
{
    if ((row->min == 0 && row->max == 0) || (value >= row->min && value <= row->max)) {
        return 0;
    }
    char min[BASE_CONFIG_NUMBER_MAX], max[BASE_CONFIG_NUMBER_MAX];
    return reader_problem(reader, false, place, "%.64s is out of bounds: %s to %s", text,
                          number_format(type, row->min, min), number_format(type, row->max, max));
}

// Parses a number of `type` into `field`; bounds are checked before it is assigned.
static int read_number(struct reader *reader, const struct base_config_row *row, enum base_config_type type,
                       int number, void *field, const struct place *place)
{
    const char *text = read_text(reader, number, true, type_wanted[type], place);
    if (!text) {
        return -1;
    }
    union {
        int64_t i;
        uint64_t u;
        double r;
    } parsed;
    int status;
    double value;
    if (type == BASE_CONFIG_INT || type == BASE_CONFIG_DURATION) {
        status =
            (type == BASE_CONFIG_INT ? base_config_parse_int : base_config_parse_duration)(text, &parsed.i);
        value = status == 0 ? (double)parsed.i : 0;
    } else if (type == BASE_CONFIG_REAL) {
        status = base_config_parse_real(text, &parsed.r);
        value = status == 0 ? parsed.r : 0;
    } else {
        status =
            (type == BASE_CONFIG_UINT ? base_config_parse_uint : base_config_parse_bytes)(text, &parsed.u);
        value = status == 0 ? (double)parsed.u : 0;
    }
    if (status != 0) {
        return reader_problem(reader, false, place, "expected %s, found \"%.64s\"", type_wanted[type], text);
    }
    if (check_bounds(reader, row, type, value, text, place) != 0) {
        return -1;
    }
    memcpy(field, &parsed, sizeof parsed);
    return 0;
}

static int read_bool(struct reader *reader, int number, bool *field, const struct place *place)
{
    const char *text = read_text(reader, number, true, type_wanted[BASE_CONFIG_BOOL], place);
    if (!text) {
        return -1;
    }
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0) {
        return reader_problem(reader, false, place, "expected true or false, found \"%.64s\"", text);
    }
    *field = yes;
    return 0;
}

static int read_enum(struct reader *reader, const struct base_config_row *row, int number, int *field,
                     const struct place *place)
{
    const char *text = read_text(reader, number, false, type_wanted[BASE_CONFIG_ENUM], place);
    if (!text) {
        return -1;
    }
    char choices[256] = "";
    size_t used = 0;
    for (int i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *field = i;
            return 0;
        }
        if (used < sizeof choices) {
            used += (size_t)snprintf(choices + used, sizeof choices - used, "%s%s", i > 0 ? ", " : "",
                                     row->choices[i]);
        }
    }
    const char *nearest = base_config_nearest(text, row->choices);
    return reader_problem(reader, false, place, "\"%.64s\" is not one of: %s%s%s%s", text, choices,
                          nearest ? " (did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?)" : "");
}

static int read_string(struct reader *reader, const struct base_config_row *row, int number,
                       const char **field, const struct place *place)
{
    enum base_config_type type = row->type == BASE_CONFIG_PATH ? BASE_CONFIG_PATH : BASE_CONFIG_STRING;
    const char *text = read_text(reader, number, false, type_wanted[type], place);
    if (!text) {
        return -1;
    }
    if ((row->flags & BASE_CONFIG_SECRET) && !reader->fallback && text[0]) {
        reader_problem(reader, true, place, "the secret stands in the file; use %s_file", row->name);
    }
    *field = type == BASE_CONFIG_PATH ? base_config_path(reader->config, text) : text;
    return 0;
}

// "<secret>_file: PATH": the first line of that file is the secret.
static int read_secret(struct reader *reader, int number, const char **field, const struct place *place)
{
    const char *text = read_text(reader, number, false, type_wanted[BASE_CONFIG_PATH], place);
    if (!text) {
        return -1;
    }
    const char *path = base_config_path(reader->config, text);
    struct base_error error;
    const char *content = base_config_file(reader->config, path, BASE_CONFIG_SECRET_MAX, &error);
    if (!content) {
        return reader_problem(reader, false, place, "%s", error.text);
    }
    size_t size = strcspn(content, "\r\n");
    if (size == 0) {
        return reader_problem(reader, false, place, "%.256s: the first line is empty", path);
    }
    struct stat status;
    if (stat(path, &status) == 0 && (status.st_mode & S_IROTH)) {
        reader_problem(reader, true, place, "%.256s can be read by everybody; chmod 600 it", path);
    }
    *field = base_config_copy(reader->config, content, size);
    return 0;
}

// --- Lists, maps, records ---

static int read_record(struct reader *reader, const struct base_config_table *table, int number, char *object,
                       const struct place *place, unsigned depth);

static int read_items(struct reader *reader, const struct base_config_row *row, int number, void *field,
                      const struct place *place, unsigned depth)
{
    const yaml_node_t *node = reader_node(reader, number, YAML_SEQUENCE_NODE, type_wanted[row->type], place);
    if (!node) {
        return -1;
    }
    const yaml_node_item_t *items = node->data.sequence.items.start;
    size_t count = (size_t)(node->data.sequence.items.top - items);
    if (count > BASE_CONFIG_ITEMS_MAX || count < row->items_min) {
        return reader_problem(reader, false, place, "%zu items; from %u to %d are allowed", count,
                              row->items_min, BASE_CONFIG_ITEMS_MAX);
    }
    size_t size = row->type == BASE_CONFIG_RECORDS   ? row->table->size
                  : row->type == BASE_CONFIG_STRINGS ? sizeof(char *)
                                                     : sizeof(uint64_t);
    char *memory = base_config_memory(reader->config, count * size);
    int status = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct place item = {place, NULL, i};
        char *target = memory + i * size;
        int read;
        if (row->type == BASE_CONFIG_RECORDS) {
            // What is wrong inside an item is told there; the item itself counts.
            read_record(reader, row->table, items[i], target, &item, depth + 1);
            read = 0;
        } else if (row->type == BASE_CONFIG_STRINGS) {
            read = read_string(reader, row, items[i], (const char **)(void *)target, &item);
        } else {
            read =
                read_number(reader, row, row->type == BASE_CONFIG_UINTS ? BASE_CONFIG_UINT : BASE_CONFIG_REAL,
                            items[i], target, &item);
        }
        status = read != 0 ? -1 : status;
    }
    if (status == 0) {
        struct base_config_records list = {(uint32_t)count, memory};
        memcpy(field, &list, sizeof list);
    }
    return status;
}

static int read_map(struct reader *reader, const struct base_config_row *row, int number,
                    struct base_config_map *field, const struct place *place)
{
    const yaml_node_t *node = reader_node(reader, number, YAML_MAPPING_NODE, type_wanted[row->type], place);
    if (!node) {
        return -1;
    }
    const yaml_node_pair_t *pairs = node->data.mapping.pairs.start;
    size_t count = (size_t)(node->data.mapping.pairs.top - pairs);
    if (count > BASE_CONFIG_ITEMS_MAX) {
        return reader_problem(reader, false, place, "%zu entries; at most %d are allowed", count,
                              BASE_CONFIG_ITEMS_MAX);
    }
    struct base_config_map map = {0};
    map.name = base_config_memory(reader->config, count * sizeof *map.name);
    map.value = base_config_memory(reader->config, count * sizeof *map.value);
    int status = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = read_text(reader, pairs[i].key, false, "a name", place);
        if (!name) {
            status = -1;
            continue;
        }
        for (uint32_t k = 0; k < map.count; k++) {
            if (strcmp(map.name[k], name) == 0) {
                status = reader_problem(reader, false, place, "\"%.64s\" is given twice", name);
            }
        }
        struct place entry = {place, name, 0};
        const char *value = read_text(reader, pairs[i].value, false, "a text", &entry);
        if (!value) {
            status = -1;
            continue;
        }
        map.name[map.count] = name;
        map.value[map.count++] = value;
    }
    if (status == 0) {
        *field = map;
    }
    return status;
}

static int read_value(struct reader *reader, const struct base_config_row *row, int number, void *field,
                      const struct place *place, unsigned depth)
{
    switch (row->type) {
    case BASE_CONFIG_BOOL:
        return read_bool(reader, number, field, place);
    case BASE_CONFIG_ENUM:
        return read_enum(reader, row, number, field, place);
    case BASE_CONFIG_STRING:
    case BASE_CONFIG_PATH:
        return read_string(reader, row, number, field, place);
    case BASE_CONFIG_STRINGS:
    case BASE_CONFIG_UINTS:
    case BASE_CONFIG_REALS:
    case BASE_CONFIG_RECORDS:
        return read_items(reader, row, number, field, place, depth);
    case BASE_CONFIG_MAP:
        return read_map(reader, row, number, field, place);
    case BASE_CONFIG_RECORD:
        return read_record(reader, row->table, number, field, place, depth + 1);
    default:
        return read_number(reader, row, row->type, number, field, place);
    }
}

static void write_absent(const struct base_config_row *row, void *field)
{
    static const int64_t no_duration = -1;
    static const int no_choice = -1;
    static const double no_number = NAN;
    if (row->type == BASE_CONFIG_DURATION) {
        memcpy(field, &no_duration, sizeof no_duration);
    } else if (row->type == BASE_CONFIG_ENUM) {
        memcpy(field, &no_choice, sizeof no_choice);
    } else if (row->type == BASE_CONFIG_REAL) {
        memcpy(field, &no_number, sizeof no_number);
    }
}

// Composes `text` and reads its root by `row`. The text is a row's default, or asserted to be one.
static void read_fallback(struct reader *reader, const struct base_config_row *row, void *field,
                          const struct place *place, unsigned depth)
{
    yaml_parser_t parser;
    yaml_document_t document;
    int ready = yaml_parser_initialize(&parser);
    assert(ready);
    yaml_parser_set_input_string(&parser, (const unsigned char *)row->fallback, strlen(row->fallback));
    int loaded = yaml_parser_load(&parser, &document);
    assert(loaded && yaml_document_get_root_node(&document));

    size_t nodes = (size_t)(document.nodes.top - document.nodes.start);
    struct reader inner = *reader;
    inner.document = &document;
    inner.visited = base_alloc_zeroed(nodes, sizeof *inner.visited);
    inner.fallback = true;
    int status = read_value(&inner, row, 1, field, place, depth);
    assert(status == 0);
    free(inner.visited);
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
}

static void read_defaults(struct reader *reader, const struct base_config_table *table, char *object,
                          const struct place *place, unsigned depth)
{
    for (uint32_t i = 0; i < table->count; i++) {
        const struct base_config_row *row = &table->rows[i];
        void *field = object + row->offset;
        struct place inner = {place, row->name, 0};
        if (row->type == BASE_CONFIG_RECORD) {
            read_defaults(reader, row->table, field, &inner, depth + 1);
            continue;
        }
        if (row->fallback) {
            read_fallback(reader, row, field, &inner, depth);
        } else {
            write_absent(row, field);
        }
        reader_mark(reader, field, &inner, CONFIG_DEFAULT);
    }
}

// The row of a key, or NULL; *secret: the key is "<name>_file" of a secret.
static const struct base_config_row *table_find(const struct base_config_table *table, const char *key,
                                                bool *secret)
{
    for (uint32_t i = 0; i < table->count; i++) {
        const struct base_config_row *row = &table->rows[i];
        size_t size = strlen(row->name);
        *secret = (row->flags & BASE_CONFIG_SECRET) && strncmp(row->name, key, size) == 0 &&
                  strcmp(key + size, "_file") == 0;
        if (*secret || strcmp(row->name, key) == 0) {
            return row;
        }
    }
    return NULL;
}

static int unknown_key(struct reader *reader, const struct base_config_table *table, const char *key,
                       const struct place *place)
{
    const char **names = base_alloc_zeroed(table->count + 1, sizeof *names);
    for (uint32_t i = 0; i < table->count; i++) {
        names[i] = table->rows[i].name;
    }
    const char *nearest = base_config_nearest(key, names);
    reader_problem(reader, false, place, "unknown setting \"%.64s\"%s%s%s", key,
                   nearest ? " (did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?)" : "");
    free(names);
    return -1;
}

// Rows that nobody gave though they must be given, in `table` and the records below it that are not written.
static int missing_keys(struct reader *reader, const struct base_config_table *table, const bool *seen,
                        const struct place *place)
{
    int status = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        const struct base_config_row *row = &table->rows[i];
        struct place inner = {place, row->name, 0};
        if (seen && seen[i]) {
            continue;
        }
        if (row->type == BASE_CONFIG_RECORD) {
            status = missing_keys(reader, row->table, NULL, &inner) != 0 ? -1 : status;
        } else if (row->flags & BASE_CONFIG_REQUIRED) {
            status = reader_problem(reader, false, &inner, "must be given: %s", row->description);
        }
    }
    return status;
}

static int read_pair(struct reader *reader, const struct base_config_table *table,
                     const yaml_node_pair_t *pair, char *object, bool *seen, const struct place *place,
                     unsigned depth)
{
    const char *key = read_text(reader, pair->key, false, "a setting's name", place);
    if (!key) {
        return -1;
    }
    bool secret;
    const struct base_config_row *row = table_find(table, key, &secret);
    if (!row) {
        return unknown_key(reader, table, key, place);
    }
    struct place inner = {place, key, 0};
    if (seen[row - table->rows]) {
        return reader_problem(reader, false, &inner, "is given twice");
    }
    seen[row - table->rows] = true;
    void *field = object + row->offset;
    if (row->type == BASE_CONFIG_RECORD) {
        return read_value(reader, row, pair->value, field, &inner, depth);
    }
    yaml_mark_t at = reader->mark;
    int status = secret ? read_secret(reader, pair->value, field, &inner)
                        : read_value(reader, row, pair->value, field, &inner, depth);
    reader->mark = at; // of the key: a list's own mark has moved on to its items
    reader_mark(reader, field, &inner, status == 0 ? CONFIG_GIVEN : CONFIG_REFUSED);
    return status;
}

static int read_record(struct reader *reader, const struct base_config_table *table, int number, char *object,
                       const struct place *place, unsigned depth)
{
    assert(depth < BASE_CONFIG_DEPTH_MAX);
    // The defaults' place in the file is where the record begins, be it a mapping or not.
    reader->mark = yaml_document_get_node(reader->document, number)->start_mark;
    yaml_mark_t start = reader->mark;
    read_defaults(reader, table, object, place, depth);
    const yaml_node_t *node = reader_node(reader, number, YAML_MAPPING_NODE, "a mapping", place);
    if (!node) {
        return -1;
    }
    bool *seen = base_alloc_zeroed(table->count, sizeof *seen);
    int status = 0;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top;
         pair++) {
        status = read_pair(reader, table, pair, object, seen, place, depth) != 0 ? -1 : status;
    }
    reader->mark = start;
    status = missing_keys(reader, table, seen, place) != 0 ? -1 : status;
    free(seen);
    return status;
}
// --- Entry points ---

static void parser_problem(struct reader *reader, const yaml_parser_t *parser)
{
    static const struct place root = {0};
    reader->mark = parser->problem_mark;
    reader_problem(reader, false, &root, "not YAML: %s%s%s", parser->problem ? parser->problem : "unreadable",
                   parser->context ? " " : "", parser->context ? parser->context : "");
}

// What stands after the document: nothing may.
static void reader_rest(struct reader *reader, yaml_parser_t *parser)
{
    static const struct place root = {0};
    yaml_document_t more;
    if (!yaml_parser_load(parser, &more)) {
        parser_problem(reader, parser);
        return;
    }
    const yaml_node_t *node = yaml_document_get_root_node(&more);
    if (node) {
        reader->mark = node->start_mark;
        reader_problem(reader, false, &root, "a second document");
    }
    yaml_document_delete(&more);
}

int base_config_read(struct base_config *config, const struct base_config_table *table, const char *name,
                     struct base_span text, void *object, struct base_config_problems *problems)
{
    assert(config->marks == 0);
    static const struct place root = {0};
    uint32_t errors = problems->errors;
    config->name = base_config_copy(config, name, strlen(name));
    memset(object, 0, table->size);
    struct reader reader = {.config = config, .problems = problems};
    yaml_parser_t parser;
    yaml_document_t document;
    int ready = yaml_parser_initialize(&parser);
    assert(ready);
    yaml_parser_set_input_string(&parser, text.data, text.size);
    if (text.size > BASE_CONFIG_FILE_MAX) {
        read_defaults(&reader, table, object, &root, 0);
        reader_problem(&reader, false, &root, "larger than %d bytes", BASE_CONFIG_FILE_MAX);
    } else if (!yaml_parser_load(&parser, &document)) {
        read_defaults(&reader, table, object, &root, 0);
        parser_problem(&reader, &parser);
    } else {
        reader.document = &document;
        reader.visited = base_alloc_zeroed((size_t)(document.nodes.top - document.nodes.start), sizeof(bool));
        if (yaml_document_get_root_node(&document)) {
            read_record(&reader, table, 1, object, &root, 0);
            reader_rest(&reader, &parser);
        } else { // an empty file: all defaults
            read_defaults(&reader, table, object, &root, 0);
            missing_keys(&reader, table, NULL, &root);
        }
        free(reader.visited);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return problems->errors > errors ? -1 : 0;
}
