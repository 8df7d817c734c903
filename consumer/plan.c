// The compiler of plans: (writer, reader, targets) to instructions. See plan.h and plan_code.h.
//
// One recursive walk over the writer's type, with the reader's beside it and the targets ("goals") whose
// paths lead here. Where no goal leads, the value is skipped: by the writer's type alone if reader and writer
// are one, else still resolved. Records without goals become routines, compiled later from a list: a schema
// may be recursive, or wide beyond measure, without the walk being so. What cannot be resolved is an error of
// the compiler where every record would meet it, and a PLAN_FAIL where it depends on data.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer/plan_code.h"
#include "consumer/plan_match.h"

enum {
    PLAN_INLINE_DEPTH = 32, // records without goals that are compiled in place
    PLAN_DEPTH_MAX = 4 * CONSUMER_SCHEMA_DEPTH_MAX,
};

typedef const struct consumer_schema_node plan_node;

// A target on its way: what is left of its path.
struct plan_goal {
    const struct consumer_target *target;
    const char *path;
};

struct plan_goals {
    struct plan_goal *goal;
    uint32_t count;
};

struct plan_routine {
    plan_node *writer;
    plan_node *reader; // NULL: skip
    uint32_t begin;    // instruction, once compiled
};

struct plan_compiler {
    struct consumer_plan *plan;
    struct base_error *error;
    struct plan_routine *routines;
    uint32_t routine_count, routine_capacity;
    uint64_t steps;
    uint32_t conditional; // > 0: not every record comes here
    uint32_t doubts;      // instructions so far that may find data unresolvable
    unsigned depth;
    bool failed; // the error is set
};

static void plan_value(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                       struct plan_goals goals);

static void plan_error(struct plan_compiler *compiler, enum base_error_code code, const char *text)
{
    if (!compiler->failed) {
        base_error_set(compiler->error, code, "%s", text);
        compiler->failed = true;
    }
}

// Appends an instruction; gives its place. Past the bound the last one is overwritten and the error set.
static uint32_t plan_emit(struct plan_compiler *compiler, enum plan_operation operation, uint32_t number)
{
    struct consumer_plan *plan = compiler->plan;
    if (plan->count == CONSUMER_PLAN_INSTRUCTIONS_MAX) {
        plan_error(compiler, BASE_ELIMIT, "schema: the plan to decode it is too long");
        plan->count--;
    }
    if (plan->count == plan->capacity) {
        plan->capacity = plan->capacity ? 2 * plan->capacity : 64;
        plan->code = base_realloc(plan->code, plan->capacity * sizeof *plan->code);
    }
    plan->code[plan->count] = (struct plan_instruction){.operation = (uint8_t)operation, .number = number};
    return plan->count++;
}

static struct plan_instruction *plan_at(struct plan_compiler *compiler, uint32_t place)
{
    return &compiler->plan->code[place];
}

// The place of the next instruction.
static uint32_t plan_here(const struct plan_compiler *compiler)
{
    return compiler->plan->count;
}

static void plan_fail(struct plan_compiler *compiler, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// What stands here cannot be resolved.
static void plan_fail(struct plan_compiler *compiler, const char *format, ...)
{
    char text[BASE_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (compiler->conditional == 0) {
        plan_error(compiler, BASE_EFORMAT, text);
        return;
    }
    uint32_t place = plan_emit(compiler, PLAN_FAIL, 0);
    plan_at(compiler, place)->text = consumer_arena_copy(&compiler->plan->arena, text, strlen(text));
    compiler->doubts++;
}

static void plan_fail_types(struct plan_compiler *compiler, plan_node *writer, plan_node *reader)
{
    plan_fail(compiler, "resolution: the writer's %.150s is no %.150s", consumer_schema_type_name(writer),
              consumer_schema_type_name(reader));
}

// The goals whose paths go on behind `name`. The caller frees goal.
static struct plan_goals plan_goals_behind(struct plan_goals goals, const char *name)
{
    struct plan_goals kept = {0};
    if (goals.count == 0) {
        return kept;
    }
    kept.goal = base_alloc(goals.count * sizeof *kept.goal);
    for (uint32_t i = 0; i < goals.count; i++) {
        const char *path = plan_path_behind(goals.goal[i].path, name);
        if (path) {
            kept.goal[kept.count++] = (struct plan_goal){goals.goal[i].target, path};
        }
    }
    return kept;
}

// The goals that end here.
static struct plan_goals plan_goals_here(struct plan_goals goals)
{
    struct plan_goals kept = {0};
    if (goals.count == 0) {
        return kept;
    }
    kept.goal = base_alloc(goals.count * sizeof *kept.goal);
    for (uint32_t i = 0; i < goals.count; i++) {
        if (*goals.goal[i].path == '\0') {
            kept.goal[kept.count++] = goals.goal[i];
        }
    }
    return kept;
}

// ---- Scalars ----

static void plan_skip_scalar(struct plan_compiler *compiler, plan_node *writer)
{
    struct consumer_plan *plan = compiler->plan;
    uint32_t size = writer->size;
    switch (writer->type) {
    case CONSUMER_TYPE_NULL:
        return;
    case CONSUMER_TYPE_BOOLEAN:
        plan_emit(compiler, PLAN_SKIP_BOOLEAN, 0);
        return;
    case CONSUMER_TYPE_INT:
        plan_emit(compiler, PLAN_SKIP_INT, 0);
        return;
    case CONSUMER_TYPE_LONG:
        plan_emit(compiler, PLAN_SKIP_LONG, 0);
        return;
    case CONSUMER_TYPE_BYTES:
    case CONSUMER_TYPE_STRING:
        plan_emit(compiler, PLAN_SKIP_BYTES, 0);
        return;
    case CONSUMER_TYPE_ENUM:
        plan_emit(compiler, PLAN_SKIP_ENUM, writer->count);
        return;
    case CONSUMER_TYPE_FLOAT:
        size = 4;
        break;
    case CONSUMER_TYPE_DOUBLE:
        size = 8;
        break;
    default:
        break;
    }
    // Neighbours of fixed size are skipped in one step: whatever is jumped to stands behind another
    // instruction.
    if (plan->count > 0) {
        struct plan_instruction *last = plan_at(compiler, plan->count - 1);
        if (last->operation == PLAN_SKIP_FIXED && last->number <= CONSUMER_SCHEMA_FIXED_MAX) {
            last->number += size;
            return;
        }
    }
    plan_emit(compiler, PLAN_SKIP_FIXED, size);
}

// An enum's symbols as the reader has them. Nothing is read if all are known and no one asks.
static void plan_enum(struct plan_compiler *compiler, plan_node *writer, plan_node *reader, bool wanted)
{
    struct consumer_arena *arena = &compiler->plan->arena;
    struct base_span *symbols = consumer_arena_alloc(arena, writer->count * sizeof *symbols);
    bool holes = false;
    for (uint32_t i = 0; i < writer->count && !compiler->failed; i++) {
        const char *symbol = reader->default_symbol;
        for (uint32_t k = 0; k < reader->count; k++) {
            compiler->steps++;
            if (strcmp(writer->symbols[i], reader->symbols[k]) == 0) {
                symbol = reader->symbols[k];
                break;
            }
        }
        if (symbol) {
            symbols[i] = base_span_make(consumer_arena_copy(arena, symbol, strlen(symbol)), strlen(symbol));
        }
        holes = holes || !symbol;
        if (compiler->steps > PLAN_STEPS_MAX) {
            plan_error(compiler, BASE_ELIMIT, "schema: an enum too large to resolve");
        }
    }
    if (!wanted && !holes) {
        plan_emit(compiler, PLAN_SKIP_ENUM, writer->count);
        return;
    }
    compiler->doubts += holes;
    uint32_t place = plan_emit(compiler, PLAN_READ_ENUM, writer->count);
    plan_at(compiler, place)->span = symbols;
}

enum plan_register { PLAN_BYTES, PLAN_INTEGER, PLAN_REAL };

// Reads a scalar into the register of the reader's type.
static enum plan_register plan_read(struct plan_compiler *compiler, plan_node *writer, plan_node *reader)
{
    static const enum plan_operation operations[] = {
        [CONSUMER_TYPE_BOOLEAN] = PLAN_READ_BOOLEAN, [CONSUMER_TYPE_INT] = PLAN_READ_INT,
        [CONSUMER_TYPE_LONG] = PLAN_READ_LONG,       [CONSUMER_TYPE_FLOAT] = PLAN_READ_FLOAT,
        [CONSUMER_TYPE_DOUBLE] = PLAN_READ_DOUBLE,   [CONSUMER_TYPE_BYTES] = PLAN_READ_BYTES,
        [CONSUMER_TYPE_STRING] = PLAN_READ_BYTES,    [CONSUMER_TYPE_FIXED] = PLAN_READ_FIXED,
    };
    if (writer->type == CONSUMER_TYPE_ENUM) {
        plan_enum(compiler, writer, reader, true);
        return PLAN_BYTES;
    }
    plan_emit(compiler, operations[writer->type], writer->size);
    bool integer = writer->type == CONSUMER_TYPE_INT || writer->type == CONSUMER_TYPE_LONG;
    switch (reader->type) {
    case CONSUMER_TYPE_BOOLEAN:
    case CONSUMER_TYPE_INT:
    case CONSUMER_TYPE_LONG:
        return PLAN_INTEGER;
    case CONSUMER_TYPE_FLOAT:
    case CONSUMER_TYPE_DOUBLE:
        if (integer) {
            plan_emit(compiler, reader->type == CONSUMER_TYPE_FLOAT ? PLAN_TO_FLOAT : PLAN_TO_DOUBLE, 0);
        }
        return PLAN_REAL;
    default:
        return PLAN_BYTES;
    }
}

static void plan_store(struct plan_compiler *compiler, const struct consumer_target *target,
                       enum plan_register from, enum consumer_logical logical)
{
    enum plan_operation operation = PLAN_STORE_VALUE;
    switch (target->role) {
    case CONSUMER_ROLE_TIME:
        operation = logical == CONSUMER_LOGICAL_MICROS ? PLAN_STORE_MICROS : PLAN_STORE_TIME;
        break;
    case CONSUMER_ROLE_ID:
        operation = from == PLAN_BYTES ? PLAN_STORE_ID_BYTES : PLAN_STORE_ID_INTEGER;
        break;
    case CONSUMER_ROLE_CATEGORICAL:
        operation = from == PLAN_BYTES ? PLAN_STORE_KEY_BYTES : PLAN_STORE_KEY_INTEGER;
        break;
    default:
        operation = target->role == CONSUMER_ROLE_NUMERIC ? PLAN_STORE_NUMERIC : PLAN_STORE_VALUE;
        if (from == PLAN_INTEGER) {
            plan_emit(compiler, PLAN_TO_DOUBLE, 0);
        }
    }
    struct plan_instruction *store = plan_at(compiler, plan_emit(compiler, operation, 0));
    store->small = (uint16_t)target->index;
    store->wide = target->salt;
}

static void plan_scalar(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                        struct plan_goals goals)
{
    struct plan_goals here = plan_goals_here(goals);
    if (here.count == 0 || writer->type == CONSUMER_TYPE_NULL) {
        if (writer->type == CONSUMER_TYPE_ENUM) {
            plan_enum(compiler, writer, reader, false);
        } else {
            plan_skip_scalar(compiler, writer);
        }
    } else {
        enum plan_register from = plan_read(compiler, writer, reader);
        enum consumer_logical logical = writer->logical ? writer->logical : reader->logical;
        for (uint32_t i = 0; i < here.count; i++) {
            plan_store(compiler, here.goal[i].target, from, logical);
        }
    }
    free(here.goal);
}

// ---- Arrays and maps ----

static void plan_array(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                       struct plan_goals goals)
{
    struct plan_goals here = plan_goals_here(goals);
    bool strings = writer->items->type == CONSUMER_TYPE_STRING || writer->items->type == CONSUMER_TYPE_BYTES;
    if (here.count == 1 && strings && reader->items->type != CONSUMER_TYPE_UNION) {
        struct plan_instruction *all = plan_at(compiler, plan_emit(compiler, PLAN_STORE_STRINGS, 0));
        all->small = (uint16_t)here.goal[0].target->index;
        all->wide = here.goal[0].target->salt;
    } else {
        uint32_t doubts = compiler->doubts;
        uint32_t block = plan_emit(compiler, PLAN_BLOCK, 0);
        plan_value(compiler, writer->items, reader ? reader->items : NULL, here);
        plan_emit(compiler, PLAN_NEXT, block);
        plan_at(compiler, block)->number = plan_here(compiler);
        plan_at(compiler, block)->wide = writer->items->least;
        plan_at(compiler, block)->small = here.count == 0 && doubts == compiler->doubts;
    }
    free(here.goal);
}

static void plan_clear(struct plan_compiler *compiler, const struct consumer_target *target)
{
    struct plan_instruction *clear = plan_at(compiler, plan_emit(compiler, PLAN_CLEAR, target->role));
    clear->small = (uint16_t)target->index;
}

// Enters a key where its value is wanted. False if it is there already.
static bool plan_keys_enter(struct plan_keys *keys, struct base_span key, uint32_t to)
{
    uint32_t i = plan_key_hash(key) & keys->mask;
    for (; keys->slot[i].key.data; i = (i + 1) & keys->mask) {
        if (base_span_equal(keys->slot[i].key, key)) {
            return false;
        }
    }
    keys->slot[i] = (struct plan_key){key, to};
    return true;
}

// The value under one key: all goals that name it. The first value of a key that comes again is forgotten.
static void plan_entry(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                       struct plan_goals goals, struct base_span key)
{
    struct plan_goals kept = {.goal = base_alloc(goals.count * sizeof *kept.goal)};
    for (uint32_t i = 0; i < goals.count; i++) {
        const char *path = goals.goal[i].path;
        size_t size = plan_path_key(reader->items, path);
        if (size == key.size && *path != '\0' && memcmp(path, key.data, size) == 0) {
            const char *rest = plan_path_rest(path, size);
            kept.goal[kept.count++] = (struct plan_goal){goals.goal[i].target, rest};
            plan_clear(compiler, goals.goal[i].target);
        }
    }
    plan_value(compiler, writer->items, reader->items, kept);
    free(kept.goal);
}

// BLOCK, KEY, [value of a wanted key, JUMP next]..., any other value, next: NEXT
static void plan_map_goals(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                           struct plan_goals goals)
{
    struct consumer_arena *arena = &compiler->plan->arena;
    uint32_t slots = 4;
    while (slots < 4 * goals.count) {
        slots *= 2;
    }
    struct plan_keys *keys = consumer_arena_alloc(arena, sizeof *keys + slots * sizeof keys->slot[0]);
    uint32_t *leave = base_alloc(goals.count * sizeof *leave);
    uint32_t leaves = 0;
    keys->mask = slots - 1;

    uint32_t place = plan_emit(compiler, PLAN_KEY, 0);
    for (uint32_t i = 0; i < goals.count && !compiler->failed; i++) {
        const char *path = goals.goal[i].path;
        size_t size = plan_path_key(reader->items, path);
        struct base_span key = base_span_make(consumer_arena_copy(arena, path, size), size);
        if (*path == '\0' || !plan_keys_enter(keys, key, plan_here(compiler))) {
            continue;
        }
        plan_entry(compiler, writer, reader, goals, key);
        leave[leaves++] = plan_emit(compiler, PLAN_JUMP, 0);
    }
    plan_at(compiler, place)->keys = keys;
    plan_at(compiler, place)->number = plan_here(compiler);
    plan_value(compiler, writer->items, reader->items, (struct plan_goals){0});
    uint32_t next = plan_here(compiler);
    for (uint32_t i = 0; i < leaves; i++) {
        plan_at(compiler, leave[i])->number = next;
    }
    free(leave);
}

static void plan_map(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                     struct plan_goals goals)
{
    uint32_t doubts = compiler->doubts;
    uint32_t block = plan_emit(compiler, PLAN_BLOCK, 0);
    if (goals.count > 0) {
        plan_map_goals(compiler, writer, reader, goals);
    } else {
        plan_emit(compiler, PLAN_SKIP_BYTES, 0);
        plan_value(compiler, writer->items, reader ? reader->items : NULL, goals);
    }
    plan_emit(compiler, PLAN_NEXT, block);
    plan_at(compiler, block)->number = plan_here(compiler);
    plan_at(compiler, block)->wide = writer->items->least + 1;
    plan_at(compiler, block)->small = goals.count == 0 && doubts == compiler->doubts;
}

// ---- Unions and records ----

static void plan_union(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                       struct plan_goals goals)
{
    uint32_t *table = consumer_arena_alloc(&compiler->plan->arena, writer->count * sizeof *table);
    uint32_t *leave = base_alloc(writer->count * sizeof *leave);
    uint32_t place = plan_emit(compiler, PLAN_UNION, writer->count);
    plan_at(compiler, place)->table = table;
    compiler->conditional++;
    for (uint32_t i = 0; i < writer->count; i++) {
        table[i] = plan_here(compiler);
        plan_value(compiler, writer->branches[i], reader, goals);
        leave[i] = plan_emit(compiler, PLAN_JUMP, 0);
    }
    compiler->conditional--;
    uint32_t behind = plan_here(compiler);
    for (uint32_t i = 0; i < writer->count; i++) {
        plan_at(compiler, leave[i])->number = behind;
    }
    free(leave);
}

// A reader's field that the writer does not have.
static void plan_default(struct plan_compiler *compiler, plan_node *record,
                         const struct consumer_schema_field *field, struct plan_goals goals)
{
    if (!field->default_value) {
        plan_fail(compiler,
                  "resolution: field \"%.100s\" of %.150s has no default, and the writer has no such "
                  "field",
                  field->name, record->name);
        return;
    }
    struct plan_goals behind = plan_goals_behind(goals, field->name);
    if (behind.count > 0) {
        struct base_buffer data = {0};
        if (consumer_schema_encode_default(field->type, field->default_value, &data, compiler->error)) {
            compiler->failed = true;
        }
        struct base_span *span = consumer_arena_alloc(&compiler->plan->arena, sizeof *span);
        char *copy = consumer_arena_copy(&compiler->plan->arena, data.data, data.size);
        *span = base_span_make(copy, data.size);
        plan_at(compiler, plan_emit(compiler, PLAN_DATA, 0))->span = span;
        plan_value(compiler, field->type, field->type, behind);
        plan_emit(compiler, PLAN_DATA_END, 0);
        base_buffer_free(&data);
    }
    free(behind.goal);
}

// A record's fields in the writer's order, then the defaults of those that only the reader has.
static void plan_fields(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                        struct plan_goals goals)
{
    uint32_t reader_count = reader ? reader->count : 0;
    uint32_t *source = base_alloc(reader_count * sizeof *source);
    uint32_t *field_of = base_alloc(writer->count * sizeof *field_of);
    bool *taken = base_alloc(writer->count);
    memset(field_of, 0xff, writer->count * sizeof *field_of);
    if (reader) {
        plan_match_fields(writer, reader, source, taken, &compiler->steps);
    }
    for (uint32_t i = 0; i < reader_count; i++) {
        if (source[i] != UINT32_MAX) {
            field_of[source[i]] = i;
        }
    }
    for (uint32_t i = 0; i < writer->count && !compiler->failed; i++) {
        if (field_of[i] == UINT32_MAX) {
            plan_value(compiler, writer->fields[i].type, NULL, (struct plan_goals){0});
            continue;
        }
        const struct consumer_schema_field *field = &reader->fields[field_of[i]];
        struct plan_goals behind = plan_goals_behind(goals, field->name);
        plan_value(compiler, writer->fields[i].type, field->type, behind);
        free(behind.goal);
    }
    for (uint32_t i = 0; i < reader_count && !compiler->failed; i++) {
        if (source[i] == UINT32_MAX) {
            plan_default(compiler, reader, &reader->fields[i], goals);
        }
    }
    free(source);
    free(field_of);
    free(taken);
}

// A call of the routine for this pair; the routine is compiled later, and the call's number is its index
// until then.
static void plan_call(struct plan_compiler *compiler, plan_node *writer, plan_node *reader)
{
    uint32_t i = 0;
    while (i < compiler->routine_count &&
           (compiler->routines[i].writer != writer || compiler->routines[i].reader != reader)) {
        i++;
    }
    compiler->steps += i;
    if (i == compiler->routine_count) {
        if (i == compiler->routine_capacity) {
            compiler->routine_capacity = i ? 2 * i : 16;
            compiler->routines =
                base_realloc(compiler->routines, compiler->routine_capacity * sizeof *compiler->routines);
        }
        compiler->routines[i] = (struct plan_routine){.writer = writer, .reader = reader};
        compiler->routine_count++;
    }
    plan_emit(compiler, PLAN_CALL, i);
    compiler->doubts += reader != NULL;
}

static void plan_record(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                        struct plan_goals goals)
{
    bool certain = reader && compiler->conditional == 0 && compiler->depth < PLAN_INLINE_DEPTH;
    if (goals.count > 0 || certain) {
        plan_fields(compiler, writer, reader, goals);
    } else {
        plan_call(compiler, writer, reader);
    }
}

static void plan_pair(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                      struct plan_goals goals)
{
    switch (writer->type) {
    case CONSUMER_TYPE_ARRAY:
    case CONSUMER_TYPE_MAP:
        compiler->conditional++;
        if (writer->type == CONSUMER_TYPE_ARRAY) {
            plan_array(compiler, writer, reader, goals);
        } else {
            plan_map(compiler, writer, reader, goals);
        }
        compiler->conditional--;
        break;
    case CONSUMER_TYPE_RECORD:
        plan_record(compiler, writer, reader, goals);
        break;
    default:
        if (reader) {
            plan_scalar(compiler, writer, reader, goals);
        } else {
            plan_skip_scalar(compiler, writer);
        }
    }
}

// A value: reader NULL skips it.
static void plan_value(struct plan_compiler *compiler, plan_node *writer, plan_node *reader,
                       struct plan_goals goals)
{
    if (compiler->failed) {
        return;
    }
    if (++compiler->steps > PLAN_STEPS_MAX || compiler->depth > PLAN_DEPTH_MAX) {
        plan_error(compiler, BASE_ELIMIT, "schema: too large or too deep to resolve");
        return;
    }
    if (writer == reader && goals.count == 0) {
        reader = NULL;
    }
    compiler->depth++;
    if (writer->type == CONSUMER_TYPE_UNION) {
        plan_union(compiler, writer, reader, goals);
    } else if (!reader) {
        plan_pair(compiler, writer, NULL, goals);
    } else {
        plan_node *taker = reader->type == CONSUMER_TYPE_UNION ? plan_match_branch(writer, reader) : reader;
        if (taker && plan_match_types(writer, taker)) {
            plan_pair(compiler, writer, taker, goals);
        } else {
            plan_fail_types(compiler, writer, reader);
        }
    }
    compiler->depth--;
}

// Compiles the routines that are asked for, and those that they ask for; then calls are told where they are.
static void plan_routines(struct plan_compiler *compiler)
{
    compiler->conditional = 1;
    for (uint32_t i = 0; i < compiler->routine_count && !compiler->failed; i++) {
        struct plan_routine routine = compiler->routines[i];
        compiler->routines[i].begin = plan_here(compiler);
        plan_fields(compiler, routine.writer, routine.reader, (struct plan_goals){0});
        plan_emit(compiler, PLAN_RETURN, 0);
    }
    for (uint32_t i = 0; i < compiler->plan->count; i++) {
        struct plan_instruction *instruction = plan_at(compiler, i);
        if (instruction->operation == PLAN_CALL) {
            instruction->number = compiler->routines[instruction->number].begin;
        }
    }
}

static void plan_measure(struct consumer_plan *plan, const struct consumer_target *targets, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t above = targets[i].index + 1;
        uint32_t *bound = NULL;
        if (targets[i].role == CONSUMER_ROLE_ID) {
            bound = &plan->ids;
        } else if (targets[i].role == CONSUMER_ROLE_CATEGORICAL) {
            bound = &plan->layout.categorical;
        } else if (targets[i].role == CONSUMER_ROLE_NUMERIC) {
            bound = &plan->layout.numeric;
        }
        if (bound && *bound < above) {
            *bound = above;
        }
    }
}

struct consumer_plan *consumer_plan_compile(const struct consumer_schema *writer,
                                            const struct consumer_schema *reader,
                                            const struct consumer_target *targets, uint32_t count,
                                            struct base_error *error)
{
    reader = reader ? reader : writer;
    if (consumer_plan_check(reader, targets, count, error)) {
        return NULL;
    }
    struct consumer_plan *plan = base_alloc_zeroed(1, sizeof *plan);
    struct plan_compiler compiler = {.plan = plan, .error = error};
    plan_measure(plan, targets, count);
    struct plan_goals goals = {base_alloc(count * sizeof *goals.goal), count};
    for (uint32_t i = 0; i < count; i++) {
        goals.goal[i] = (struct plan_goal){&targets[i], targets[i].path};
    }
    plan_value(&compiler, consumer_schema_root(writer), consumer_schema_root(reader), goals);
    plan_emit(&compiler, PLAN_END, 0);
    plan_routines(&compiler);
    free(goals.goal);
    free(compiler.routines);
    if (compiler.failed) {
        consumer_plan_free(plan);
        return NULL;
    }
    return plan;
}

void consumer_plan_free(struct consumer_plan *plan)
{
    if (!plan) {
        return;
    }
    free(plan->code);
    consumer_arena_free(&plan->arena);
    free(plan);
}
