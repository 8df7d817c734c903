// A plan: how to take the configured paths out of records of one writer schema, resolved against a reader
// schema once and run for every record without allocation.
//
// Resolution follows Avro 1.11's specification: promotions, defaults, aliases, enums' defaults. Where it
// leaves room: names of named types match by their last part, or by an alias; a reader's union takes the
// branch of the very same type and full name first, else the first that matches; a map's key that comes twice
// has its last value; a time's unit is the writer's logical type, else the reader's. Data that is in no path
// is still resolved: a union branch the reader cannot take makes the record undecodable wherever it stands.
// Blocks of arrays and maps that are not needed are skipped by their byte size if it is there.
#ifndef CONSUMER_PLAN_H
#define CONSUMER_PLAN_H

#include "base/columns.h"
#include "base/error.h"
#include "consumer/schema.h"

enum {
    CONSUMER_PLAN_IDS_MAX = 16,
    CONSUMER_PLAN_VALUES_MAX = 2,
    CONSUMER_PLAN_INSTRUCTIONS_MAX = 1 << 16,
    // Values of no bytes (array<null>) and calls a record may ask for beyond one a byte.
    CONSUMER_PLAN_EMPTY_MAX = 1 << 16,
};

enum consumer_role {
    CONSUMER_ROLE_TIME,        // long, int: ms (microseconds by logical type are rounded down)
    CONSUMER_ROLE_ID,          // string, bytes, fixed, enum, long, int (as 8 bytes, little-endian)
    CONSUMER_ROLE_VALUE,       // long, int, float, double, boolean
    CONSUMER_ROLE_NUMERIC,     // likewise
    CONSUMER_ROLE_CATEGORICAL, // string, bytes, fixed, enum, long, int, boolean, and arrays of them
    CONSUMER_ROLES
};

// Nullable unions of what a role takes serve too, and so do a map's entries.
struct consumer_target {
    enum consumer_role role;
    uint32_t index;   // ID: 0..CONSUMER_PLAN_IDS_MAX-1; VALUE: 0..CONSUMER_PLAN_VALUES_MAX-1; columns: which
    const char *path; // "user.age"; in a map a key. The last map of a path takes all that is left as its key
    uint64_t salt;    // CATEGORICAL: base_hash_slot_salt
};

// What a run fills. Spans are borrowed from the record's bytes, the plan or this object. A target that is
// null or absent: has_time or has_value false, span null, NaN, no key.
struct consumer_output {
    bool has_time;
    int64_t time; // ms
    bool has_value[CONSUMER_PLAN_VALUES_MAX];
    double value[CONSUMER_PLAN_VALUES_MAX];
    struct base_span id[CONSUMER_PLAN_IDS_MAX];
    uint8_t integer[CONSUMER_PLAN_IDS_MAX][8]; // the bytes of integer ids
    struct base_columns_layout layout;
    double *numeric;   // [numeric]
    uint16_t *count;   // [categorical]
    uint64_t *keys;    // [categorical][CONSUMER_OUTPUT_STRIDE]
    uint64_t cut;      // keys beyond BASE_COLUMN_KEYS_MAX, all records together
    uint64_t *columns; // room for consumer_output_columns
};

// Keys of a column in `keys`: a little more than the bound, so that columns do not share cache sets.
enum { CONSUMER_OUTPUT_STRIDE = BASE_COLUMN_KEYS_MAX + 8 };

struct consumer_output *consumer_output_new(struct base_columns_layout layout);
void consumer_output_free(struct consumer_output *output);
// The columns in the form of base/columns.h; valid until the next run.
struct base_span consumer_output_columns(struct consumer_output *output);

// Are the paths known to the schema, and do their types serve? -1: BASE_EINVAL, the text names path and
// types.
int consumer_plan_check(const struct consumer_schema *reader, const struct consumer_target *targets,
                        uint32_t count, struct base_error *error);

struct consumer_plan;

// Compiles. reader NULL: the writer's own. The plan does not need schemas and targets afterwards. Errors:
// those of consumer_plan_check; BASE_EFORMAT where resolution is certain to fail; BASE_ELIMIT.
struct consumer_plan *consumer_plan_compile(const struct consumer_schema *writer,
                                            const struct consumer_schema *reader,
                                            const struct consumer_target *targets, uint32_t count,
                                            struct base_error *error);
void consumer_plan_free(struct consumer_plan *plan);

// Takes one record apart; `bytes` must be all of it. -1: BASE_EFORMAT, where and why; then what `output`
// holds means nothing. `output` must have room for the plan's targets. Any thread; one output a thread.
int consumer_plan_run(const struct consumer_plan *plan, struct base_span bytes,
                      struct consumer_output *output, struct base_error *error);

#endif
