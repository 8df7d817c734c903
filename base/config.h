// Configuration: a typed table over YAML. One row is one setting: name, type, bounds, default, description
// and the offset of its field. Parsing, checking, the reference page and the canonical text all come from the
// rows.
//
// A table describes a struct; a row may hold a record (a nested struct with a table of its own) or a list of
// records. Reading fills the whole struct, defaults first, and collects every problem of the file in one run:
// unknown keys ("did you mean"), keys given twice, wrong types, values out of bounds, required keys missing.
// A field whose value was refused keeps its default. YAML's aliases, tags and several documents are refused.
//
// What each type is written as, and the C type of its field:
//   BOOL      bool       true, false
//   INT       int64_t    -5, 1_000
//   UINT      uint64_t   1_000_000
//   REAL      double     0.05, 1e-3; finite
//   STRING    const char *
//   PATH      const char *   a relative path is taken from the directory of the configuration file
//   ENUM      int        the index of one of the row's choices
//   DURATION  int64_t    milliseconds: 500ms, 2s, 10m, 1h30m, 7d, 0
//   BYTES     uint64_t   4096, 128MiB, 1GB
//   STRINGS   struct base_config_strings
//   UINTS     struct base_config_uints
//   REALS     struct base_config_reals
//   MAP       struct base_config_map      string to string, keys free
//   RECORD    the struct of row.table, inline
//   RECORDS   struct base_config_records, of the struct of row.table
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

enum {
    BASE_CONFIG_FILE_MAX = 1 << 20, // bytes of a configuration file
    BASE_CONFIG_SECRET_MAX = 4096,  // bytes of a file that holds a secret
    BASE_CONFIG_ITEMS_MAX = 4096,   // items of a list or a map
    BASE_CONFIG_PROBLEMS_MAX = 64,  // problems kept; further ones are counted
    BASE_CONFIG_PROBLEM_TEXT = 512, // bytes of a problem's text; longer is cut
    BASE_CONFIG_DEPTH_MAX = 8,      // records in records
    BASE_CONFIG_NAME_MAX = 128,     // bytes of a setting's path in messages; longer is cut
};

struct base_config_strings {
    uint32_t count;
    const char **item;
};

struct base_config_uints {
    uint32_t count;
    uint64_t *item;
};

struct base_config_reals {
    uint32_t count;
    double *item;
};

struct base_config_map {
    uint32_t count;
    const char **name; // in the order of the file
    const char **value;
};

struct base_config_records {
    uint32_t count;
    void *item; // [count] structs of the row's table
};

enum base_config_type {
    BASE_CONFIG_BOOL,
    BASE_CONFIG_INT,
    BASE_CONFIG_UINT,
    BASE_CONFIG_REAL,
    BASE_CONFIG_STRING,
    BASE_CONFIG_PATH,
    BASE_CONFIG_ENUM,
    BASE_CONFIG_DURATION,
    BASE_CONFIG_BYTES,
    BASE_CONFIG_STRINGS,
    BASE_CONFIG_UINTS,
    BASE_CONFIG_REALS,
    BASE_CONFIG_MAP,
    BASE_CONFIG_RECORD,
    BASE_CONFIG_RECORDS,
};

enum base_config_flags {
    BASE_CONFIG_REQUIRED = 1, // must be given
    // A string that may instead be given as "<name>_file: PATH", whose first line is taken. Given inline it
    // is warned of. Never printed. Only for STRING.
    BASE_CONFIG_SECRET = 2,
    // Changes nothing that is learned: base_config_canonical leaves it out.
    BASE_CONFIG_OPERATIONAL = 4,
    // Younger than what was once hashed: base_config_canonical leaves it out where it has its default, so
    // that a file which does not know it keeps its text. For records: all rows inside must be so themselves.
    BASE_CONFIG_ADDED = 8,
};

struct base_config_table;

struct base_config_row {
    const char *name;
    enum base_config_type type;
    size_t offset;
    // The default, written as in a file. NULL: none, and the field keeps "absent": NULL, empty, false, 0; -1
    // for DURATION and ENUM; NaN for REAL.
    const char *fallback;
    double min, max;                       // numbers, of lists each item; both 0: no bounds
    uint32_t items_min;                    // lists
    unsigned flags;                        // enum base_config_flags
    const char *const *choices;            // ENUM: names, NULL-terminated
    const struct base_config_table *table; // RECORD, RECORDS
    const char *description; // for the reference page: what, and what the default means if it is not a value
};

struct base_config_table {
    const char *title; // of the record, for the reference page
    size_t size;       // of the struct
    const struct base_config_row *rows;
    uint32_t count;
};

// What reading found. Plain data; zero-initialised is empty.
struct base_config_problem {
    bool warning;
    char text[BASE_CONFIG_PROBLEM_TEXT]; // "file:line:column: setting: what is wrong"
};

struct base_config_problems {
    uint32_t count;            // kept in item
    uint32_t errors, warnings; // found, those not kept included
    struct base_config_problem item[BASE_CONFIG_PROBLEMS_MAX];
};

// Owns what the read structs point to, and knows where in the file each field was set.
struct base_config;

struct base_config *base_config_new(void);
// Ends every string and list that was read. Takes NULL.
void base_config_free(struct base_config *config);

// Reads `text`, called `name` in messages, into `object`, a struct of `table`. Once for a config. 0 if no
// error was found (there may be warnings), else -1; `object` is filled in either case. Relative paths are
// taken from the directory part of `name`.
int base_config_read(struct base_config *config, const struct base_config_table *table, const char *name,
                     struct base_span text, void *object, struct base_config_problems *problems);
// Adds a problem found by the caller's own checks. `field` is the address of a field of a read struct: the
// problem gets its name and its place in the file, or, if the field has its default, the place of the nearest
// enclosing record that is written there. NULL: only the file's name. Nothing is added if the field's own
// value was refused: one cause, one error.
void base_config_problem(struct base_config_problems *problems, const struct base_config *config,
                         bool warning, const void *field, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
// True if the field was written in the file, and its value taken.
bool base_config_given(const struct base_config *config, const void *field);
// True if the field was written in the file and its value refused.
bool base_config_refused(const struct base_config *config, const void *field);

// Memory that lives as long as the config; zeroed.
void *base_config_memory(struct base_config *config, size_t size);
const char *base_config_string(struct base_config *config, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
// `path` as a setting of the file means it: a relative one is taken from the file's directory.
const char *base_config_path(struct base_config *config, const char *path);
// The content of the file at `path` as a string that lives as long as the config; at most `max` bytes, no
// NUL.
const char *base_config_file(struct base_config *config, const char *path, size_t max,
                             struct base_error *error);

// The reference page of a table and all tables below it, Markdown.
void base_config_reference(const struct base_config_table *table, struct base_buffer *out);
// Every setting that is not operational, nor added and at its default, as "path: value" lines in the order of
// the rows: equal texts mean equal settings, whatever the file looked like. For hashing.
void base_config_canonical(const struct base_config_table *table, const void *object,
                           struct base_buffer *out);

// The written forms, for others that read or print them. Parsing: 0, or -1 if the text is not one.
int base_config_parse_duration(const char *text, int64_t *ms);
int base_config_parse_bytes(const char *text, uint64_t *bytes);
int base_config_parse_uint(const char *text, uint64_t *value);
int base_config_parse_int(const char *text, int64_t *value);
int base_config_parse_real(const char *text, double *value);
enum { BASE_CONFIG_NUMBER_MAX = 48 }; // bytes that any of these needs, the NUL included
// "1h30m"; negative with "-". Returns `out`.
const char *base_config_format_duration(int64_t ms, char out[BASE_CONFIG_NUMBER_MAX]);
// Exact: "128MiB", "4097".
const char *base_config_format_bytes(uint64_t bytes, char out[BASE_CONFIG_NUMBER_MAX]);
// The shortest decimal that reads back as the same number.
const char *base_config_format_real(double value, char out[BASE_CONFIG_NUMBER_MAX]);

// The choice nearest to `word`, or NULL if none is near enough to be meant. Names end with NULL.
const char *base_config_nearest(const char *word, const char *const *names);

#endif
