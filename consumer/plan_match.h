// Which reader type takes which writer type, and which path names what: what a plan's compiler asks.
#ifndef CONSUMER_PLAN_MATCH_H
#define CONSUMER_PLAN_MATCH_H

#include "consumer/plan.h"

enum { PLAN_STEPS_MAX = 1 << 24 }; // of the compiler, against schemas made to be slow

// Do the types match, as the specification has it: records by name, not by their fields; arrays and maps by
// their items and values; a union with anything, until data choose.
bool plan_match_types(const struct consumer_schema_node *writer, const struct consumer_schema_node *reader);
// The branch of the reader's union that takes `writer` (no union), or NULL.
const struct consumer_schema_node *plan_match_branch(const struct consumer_schema_node *writer,
                                                     const struct consumer_schema_node *reader);
// For each reader field the writer's field that fills it, UINT32_MAX: none. A field of the same name first,
// then one that an alias names. `taken` has room for the writer's fields. Adds what it compared to *steps.
void plan_match_fields(const struct consumer_schema_node *writer, const struct consumer_schema_node *reader,
                       uint32_t *fields, bool *taken, uint64_t *steps);

// If `path` begins with field `name`: what is left behind it ("" at the end); else NULL.
const char *plan_path_behind(const char *path, const char *name);
// The bytes of `path` that are the key of a map with these values: up to the next dot if records or maps lie
// in the values, else all.
size_t plan_path_key(const struct consumer_schema_node *values, const char *path);
// What is left behind a key of `size` bytes.
static inline const char *plan_path_rest(const char *path, size_t size)
{
    return path[size] == '.' ? path + size + 1 : path + size;
}

#endif
