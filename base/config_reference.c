// Configuration tables as texts: the reference page, and the canonical form that is hashed. See config.h.
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"

static void print(struct base_buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print(struct base_buffer *out, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(size >= 0);
    base_buffer_reserve(out, (size_t)size + 1);
    vsnprintf((char *)out->data + out->size, (size_t)size + 1, format, again);
    va_end(again);
    out->size += (size_t)size;
}

// --- The reference page ---

static const char *const type_names[] = {
    [BASE_CONFIG_BOOL] = "true, false",
    [BASE_CONFIG_INT] = "integer",
    [BASE_CONFIG_UINT] = "whole number",
    [BASE_CONFIG_REAL] = "number",
    [BASE_CONFIG_STRING] = "text",
    [BASE_CONFIG_PATH] = "path",
    [BASE_CONFIG_ENUM] = "",
    [BASE_CONFIG_DURATION] = "duration",
    [BASE_CONFIG_BYTES] = "size",
    [BASE_CONFIG_STRINGS] = "list of texts",
    [BASE_CONFIG_UINTS] = "list of whole numbers",
    [BASE_CONFIG_REALS] = "list of numbers",
    [BASE_CONFIG_MAP] = "names to texts",
    [BASE_CONFIG_RECORD] = "section",
    [BASE_CONFIG_RECORDS] = "list of sections",
};

static void print_bound(struct base_buffer *out, enum base_config_type type, double value)
{
    char text[BASE_CONFIG_NUMBER_MAX];
    if (type == BASE_CONFIG_DURATION) {
        print(out, "%s", base_config_format_duration((int64_t)value, text));
    } else if (type == BASE_CONFIG_BYTES) {
        print(out, "%s", base_config_format_bytes((uint64_t)value, text));
    } else if (type == BASE_CONFIG_REAL || type == BASE_CONFIG_REALS) {
        print(out, "%s", base_config_format_real(value, text));
    } else {
        print(out, "%.0f", value);
    }
}

static void reference_row(const struct base_config_row *row, struct base_buffer *out)
{
    print(out, "| `%s`%s | %s", row->name, row->flags & BASE_CONFIG_REQUIRED ? " (required)" : "",
          type_names[row->type]);
    for (int i = 0; row->type == BASE_CONFIG_ENUM && row->choices[i]; i++) {
        print(out, "%s`%s`", i > 0 ? ", " : "", row->choices[i]);
    }
    if (row->min != 0 || row->max != 0) {
        print(out, ", ");
        print_bound(out, row->type, row->min);
        print(out, " to ");
        print_bound(out, row->type, row->max);
    }
    if (row->items_min > 0) {
        print(out, ", at least %u", row->items_min);
    }
    if (row->fallback) {
        print(out, " | `%s` | ", row->fallback);
    } else {
        print(out, " | | ");
    }
    print(out, "%s", row->description);
    if (row->flags & BASE_CONFIG_SECRET) {
        print(out, " Better `%s_file`, the path of a file whose first line it is.", row->name);
    }
    print(out, " |\n");
}

static void reference_table(const struct base_config_table *table, const char *path, unsigned depth,
                            struct base_buffer *out)
{
    assert(depth < BASE_CONFIG_DEPTH_MAX);
    if (path[0]) {
        print(out, "\n## `%s`\n\n%s\n", path, table->title);
    } else {
        print(out, "%s\n", table->title);
    }
    print(out, "\n| setting | type, bounds | default | what it is |\n|---|---|---|---|\n");
    for (uint32_t i = 0; i < table->count; i++) {
        reference_row(&table->rows[i], out);
    }
    for (uint32_t i = 0; i < table->count; i++) {
        const struct base_config_row *row = &table->rows[i];
        if (!row->table) {
            continue;
        }
        char inner[BASE_CONFIG_NAME_MAX];
        snprintf(inner, sizeof inner, "%s%s%s%s", path, path[0] ? "." : "", row->name,
                 row->type == BASE_CONFIG_RECORDS ? "[]" : "");
        reference_table(row->table, inner, depth + 1, out);
    }
}

void base_config_reference(const struct base_config_table *table, struct base_buffer *out)
{
    reference_table(table, "", 0, out);
}

// --- The canonical form ---

// A text in quotes, so that no value can look like two lines.
static void canonical_text(const char *text, struct base_buffer *out)
{
    if (!text) {
        print(out, "none");
        return;
    }
    print(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\' || (unsigned char)*text < ' ') {
            print(out, "\\x%02x", (unsigned char)*text);
        } else {
            base_buffer_append(out, text, 1);
        }
    }
    print(out, "\"");
}

static void canonical_number(enum base_config_type type, const void *field, struct base_buffer *out)
{
    int64_t i;
    uint64_t u;
    double r;
    if (type == BASE_CONFIG_INT || type == BASE_CONFIG_DURATION) {
        memcpy(&i, field, sizeof i);
        print(out, "%lld", (long long)i);
    } else if (type == BASE_CONFIG_REAL) {
        char text[BASE_CONFIG_NUMBER_MAX];
        memcpy(&r, field, sizeof r);
        print(out, "%s", isnan(r) ? "none" : base_config_format_real(r, text));
    } else {
        memcpy(&u, field, sizeof u);
        print(out, "%llu", (unsigned long long)u);
    }
}

static void canonical_list(const struct base_config_row *row, const void *field, struct base_buffer *out)
{
    if (row->type == BASE_CONFIG_MAP) {
        const struct base_config_map *map = field;
        for (uint32_t i = 0; i < map->count; i++) {
            print(out, "%s", i > 0 ? ", " : "");
            canonical_text(map->name[i], out);
            print(out, ": ");
            canonical_text(map->value[i], out);
        }
        return;
    }
    if (row->type == BASE_CONFIG_STRINGS) {
        const struct base_config_strings *strings = field;
        for (uint32_t i = 0; i < strings->count; i++) {
            print(out, "%s", i > 0 ? ", " : "");
            canonical_text(strings->item[i], out);
        }
        return;
    }
    const struct base_config_uints *numbers = field; // of reals the same but for the item's type
    for (uint32_t i = 0; i < numbers->count; i++) {
        print(out, "%s", i > 0 ? ", " : "");
        canonical_number(row->type == BASE_CONFIG_UINTS ? BASE_CONFIG_UINT : BASE_CONFIG_REAL,
                         &numbers->item[i], out);
    }
}

static void canonical_value(const struct base_config_row *row, const void *field, struct base_buffer *out)
{
    bool yes;
    int choice;
    const char *text;
    switch (row->type) {
    case BASE_CONFIG_BOOL:
        memcpy(&yes, field, sizeof yes);
        print(out, "%s", yes ? "true" : "false");
        return;
    case BASE_CONFIG_ENUM:
        memcpy(&choice, field, sizeof choice);
        print(out, "%s", choice < 0 ? "none" : row->choices[choice]);
        return;
    case BASE_CONFIG_STRING:
    case BASE_CONFIG_PATH:
        memcpy(&text, field, sizeof text);
        canonical_text(row->flags & BASE_CONFIG_SECRET && text ? "secret" : text, out);
        return;
    case BASE_CONFIG_STRINGS:
    case BASE_CONFIG_UINTS:
    case BASE_CONFIG_REALS:
    case BASE_CONFIG_MAP:
        print(out, "[");
        canonical_list(row, field, out);
        print(out, "]");
        return;
    default:
        canonical_number(row->type, field, out);
    }
}

// The canonical text of a row's default.
static void canonical_default(const struct base_config_row *row, struct base_buffer *out)
{
    union {
        int64_t i;
        uint64_t u;
        double r;
    } value = {.i = -1};
    const char *text = row->fallback;
    int status = 0;
    switch (row->type) {
    case BASE_CONFIG_BOOL:
    case BASE_CONFIG_ENUM:
        print(out, "%s", text ? text : row->type == BASE_CONFIG_BOOL ? "false" : "none");
        return;
    case BASE_CONFIG_STRING:
    case BASE_CONFIG_PATH:
        canonical_text(text && strcmp(text, "''") == 0 ? "" : text, out);
        return;
    case BASE_CONFIG_INT:
        value.i = 0;
        status = text ? base_config_parse_int(text, &value.i) : 0;
        break;
    case BASE_CONFIG_DURATION:
        status = text ? base_config_parse_duration(text, &value.i) : 0;
        break;
    case BASE_CONFIG_REAL:
        value.r = NAN;
        status = text ? base_config_parse_real(text, &value.r) : 0;
        break;
    case BASE_CONFIG_UINT:
    case BASE_CONFIG_BYTES:
        value.u = 0;
        status = !text                           ? 0
                 : row->type == BASE_CONFIG_UINT ? base_config_parse_uint(text, &value.u)
                                                 : base_config_parse_bytes(text, &value.u);
        break;
    default: // lists
        assert((!text || strcmp(text, "[]") == 0 || strcmp(text, "{}") == 0) && "an added list is empty");
        print(out, "[]");
        return;
    }
    assert(status == 0);
    canonical_number(row->type, &value, out);
}

// Whether an added row has its default.
static bool canonical_is_default(const struct base_config_row *row, const void *field)
{
    if (row->type == BASE_CONFIG_RECORDS) {
        struct base_config_records records;
        memcpy(&records, field, sizeof records);
        return records.count == 0;
    }
    struct base_buffer given = {0}, fallback = {0};
    canonical_value(row, field, &given);
    canonical_default(row, &fallback);
    bool same = base_span_equal(base_buffer_span(&given), base_buffer_span(&fallback));
    base_buffer_free(&given);
    base_buffer_free(&fallback);
    return same;
}

static void canonical_table(const struct base_config_table *table, const char *object, const char *path,
                            struct base_buffer *out)
{
    for (uint32_t i = 0; i < table->count; i++) {
        const struct base_config_row *row = &table->rows[i];
        if (row->flags & BASE_CONFIG_OPERATIONAL) {
            continue;
        }
        if (row->flags & BASE_CONFIG_ADDED && row->type != BASE_CONFIG_RECORD &&
            canonical_is_default(row, object + row->offset)) {
            continue;
        }
        char inner[BASE_CONFIG_NAME_MAX];
        snprintf(inner, sizeof inner, "%s%s%s", path, path[0] ? "." : "", row->name);
        if (row->type == BASE_CONFIG_RECORD) {
            canonical_table(row->table, object + row->offset, inner, out);
        } else if (row->type == BASE_CONFIG_RECORDS) {
            struct base_config_records records;
            memcpy(&records, object + row->offset, sizeof records);
            print(out, "%s: %u\n", inner, records.count);
            for (uint32_t k = 0; k < records.count; k++) {
                char item[BASE_CONFIG_NAME_MAX];
                snprintf(item, sizeof item, "%.100s[%u]", inner, k);
                canonical_table(row->table, (const char *)records.item + k * row->table->size, item, out);
            }
        } else {
            print(out, "%s: ", inner);
            canonical_value(row, object + row->offset, out);
            print(out, "\n");
        }
    }
}

void base_config_canonical(const struct base_config_table *table, const void *object, struct base_buffer *out)
{
    canonical_table(table, object, "", out);
}
