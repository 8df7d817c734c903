// Plans against Avro C: random schemas, random data, random paths. Also what damage does: every truncation
// must be refused, and no flipped bit may make the machine read outside the record (the sanitizer watches).
//
// The data are filled into Avro C's generic values, which are then both encoded (by Avro C, or here in random
// blocks of both forms) and walked along the paths to know what a plan should find.
#include <avro.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "consumer/plan.h"

enum {
    SCHEMAS = 2500,
    DATA = 10, // records a schema
    PATHS_MAX = 200,
    TARGETS = 12,
    NAMES_MAX = 64,
};

static struct base_error error;
static uint64_t state;

// SplitMix64: enough for tests, and a failure can be found again by its seed.
static uint64_t draw(uint64_t below)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

// ---- Random schemas ----

struct maker {
    struct base_buffer text;
    unsigned names;
    char known[NAMES_MAX][16]; // complete named types
    unsigned known_count;
    char record[16]; // the innermost record: may be named in a nullable union
};

static void put(struct maker *maker, const char *text)
{
    base_buffer_append(&maker->text, text, strlen(text));
}

static void put_type(struct maker *maker, unsigned depth);

static void name_new(struct maker *maker, char name[16])
{
    snprintf(name, 16, "%sT%u", draw(4) == 0 ? "ns." : "", maker->names++);
}

static void name_known(struct maker *maker, const char *name)
{
    if (maker->known_count < NAMES_MAX) {
        // Whatever the namespace around it, a full name with a dot is found; others only without one.
        if (strchr(name, '.')) {
            memcpy(maker->known[maker->known_count++], name, 16);
        }
    }
}

static void put_record(struct maker *maker, unsigned depth)
{
    char name[16], outer[16], field[64];
    name_new(maker, name);
    memcpy(outer, maker->record, 16);
    memcpy(maker->record, name, 16);
    put(maker, "{\"type\":\"record\",\"name\":\"");
    put(maker, name);
    put(maker, "\",\"fields\":[");
    unsigned fields = 1 + (unsigned)draw(depth == 0 ? 7 : 4);
    for (unsigned i = 0; i < fields; i++) {
        snprintf(field, sizeof field, "%s{\"name\":\"f%u\",\"type\":", i ? "," : "", i);
        put(maker, field);
        if (draw(12) == 0 && strchr(maker->record, '.')) {
            put(maker, "[\"null\",\"");
            put(maker, maker->record);
            put(maker, "\"]");
        } else {
            put_type(maker, depth + 1);
        }
        put(maker, "}");
    }
    put(maker, "]}");
    memcpy(maker->record, outer, 16);
    name_known(maker, name);
}

static void put_named(struct maker *maker, bool fixed)
{
    char name[16], text[128];
    name_new(maker, name);
    if (fixed) {
        snprintf(text, sizeof text, "{\"type\":\"fixed\",\"name\":\"%s\",\"size\":%d}", name,
                 1 + (int)draw(20));
    } else {
        snprintf(text, sizeof text, "{\"type\":\"enum\",\"name\":\"%s\",\"symbols\":[\"a\",\"b\",\"c%d\"]}",
                 name, (int)draw(9));
    }
    put(maker, text);
    name_known(maker, name);
}

static void put_union(struct maker *maker, unsigned depth)
{
    static const char *const branches[] = {"\"null\"",   "\"string\"",  "\"long\"",
                                           "\"double\"", "\"boolean\"", "\"int\""};
    unsigned taken = 0, count = 1 + (unsigned)draw(3);
    put(maker, "[");
    for (unsigned i = 0; i < count; i++) {
        unsigned branch = (unsigned)draw(6);
        while (taken >> branch & 1) {
            branch = (branch + 1) % 6;
        }
        taken |= 1u << branch;
        put(maker, i ? "," : "");
        put(maker, branches[branch]);
    }
    if (draw(2) == 0) {
        unsigned kind = (unsigned)draw(depth < 4 ? 4 : 2);
        put(maker, ",");
        if (kind < 2) {
            put_named(maker, kind);
        } else if (kind == 2) {
            put_record(maker, depth + 1);
        } else {
            put(maker, "{\"type\":\"array\",\"items\":");
            put_type(maker, depth + 1);
            put(maker, "}");
        }
    }
    put(maker, "]");
}

static void put_type(struct maker *maker, unsigned depth)
{
    static const char *const primitives[] = {"\"null\"",   "\"boolean\"", "\"int\"",   "\"long\"",
                                             "\"float\"",  "\"double\"",  "\"bytes\"", "\"string\"",
                                             "\"string\"", "\"long\""};
    unsigned kind = (unsigned)draw(depth < 4 ? 20 : 12);
    if (kind < 10) {
        put(maker, primitives[kind]);
    } else if (kind < 12) {
        put_named(maker, kind == 10);
    } else if (kind < 14) {
        put(maker, "{\"type\":\"array\",\"items\":");
        put_type(maker, depth + 1);
        put(maker, "}");
    } else if (kind < 16) {
        put(maker, "{\"type\":\"map\",\"values\":");
        put_type(maker, depth + 1);
        put(maker, "}");
    } else if (kind < 18) {
        put_union(maker, depth);
    } else if (kind == 18 && maker->known_count > 0) {
        put(maker, "\"");
        put(maker, maker->known[draw(maker->known_count)]);
        put(maker, "\"");
    } else {
        put_record(maker, depth + 1);
    }
}

// ---- Random data ----

static void fill(avro_value_t *value, unsigned depth)
{
    static const uint8_t noise[300] = {1, 2, 3, 0, 255, 'x'};
    size_t size = 0;
    avro_value_t child;
    avro_schema_t schema = avro_value_get_schema(value);
    uint64_t wide = draw(3) == 0 ? draw(UINT64_MAX) : draw(200);
    switch (avro_value_get_type(value)) {
    case AVRO_NULL:
        avro_value_set_null(value);
        break;
    case AVRO_BOOLEAN:
        avro_value_set_boolean(value, (int)draw(2));
        break;
    case AVRO_INT32:
        avro_value_set_int(value, (int32_t)(uint32_t)wide);
        break;
    case AVRO_INT64:
        avro_value_set_long(value, (int64_t)wide);
        break;
    case AVRO_FLOAT:
        avro_value_set_float(value, (float)draw(1000) / 8 - 50);
        break;
    case AVRO_DOUBLE:
        avro_value_set_double(value, (double)draw(UINT64_MAX) / 3 - 50);
        break;
    case AVRO_BYTES:
        avro_value_set_bytes(value, (void *)noise, (size_t)draw(draw(9) == 0 ? 300 : 8));
        break;
    case AVRO_STRING: {
        char text[300];
        size = (size_t)draw(draw(9) == 0 ? 300 : 12);
        for (size_t i = 0; i + 1 < size; i++) {
            text[i] = (char)('a' + draw(26));
        }
        text[size ? size - 1 : 0] = '\0';
        avro_value_set_string(value, text);
        break;
    }
    case AVRO_FIXED:
        avro_value_set_fixed(value, (void *)noise, (size_t)avro_schema_fixed_size(schema));
        break;
    case AVRO_ENUM:
        avro_value_set_enum(value, (int)draw((uint64_t)avro_schema_enum_number_of_symbols(schema)));
        break;
    case AVRO_RECORD:
        avro_value_get_size(value, &size);
        for (size_t i = 0; i < size; i++) {
            avro_value_get_by_index(value, i, &child, NULL);
            fill(&child, depth + 1);
        }
        break;
    case AVRO_ARRAY:
        for (uint64_t i = depth > 12 ? 0 : draw(5); i > 0; i--) {
            avro_value_append(value, &child, NULL);
            fill(&child, depth + 1);
        }
        break;
    case AVRO_MAP:
        for (uint64_t i = depth > 12 ? 0 : draw(5); i > 0; i--) {
            static const char *const keys[] = {"k", "a.b", "key", ""};
            avro_value_add(value, keys[i - 1], &child, NULL, NULL);
            fill(&child, depth + 1);
        }
        break;
    case AVRO_UNION: {
        size = avro_schema_union_size(schema);
        int branch = depth > 12 ? 0 : (int)draw(size);
        avro_value_set_branch(value, branch, &child);
        fill(&child, depth + 1);
        break;
    }
    default:
        cr_assert(false);
    }
}

// ---- Encoding with blocks of both forms ----

static void encode(avro_value_t *value, struct base_buffer *out);

// Everything but arrays, maps, records and unions, by Avro C.
static void encode_scalar(avro_value_t *value, struct base_buffer *out)
{
    size_t size;
    cr_assert_eq(avro_value_sizeof(value, &size), 0);
    base_buffer_reserve(out, size);
    if (size > 0) {
        avro_writer_t writer = avro_writer_memory((char *)out->data + out->size, (int64_t)size);
        cr_assert_eq(avro_value_write(writer, value), 0);
        avro_writer_free(writer);
    }
    out->size += size;
}

static void encode_blocks(avro_value_t *value, struct base_buffer *out)
{
    size_t count = 0, at = 0;
    avro_value_get_size(value, &count);
    while (at < count) {
        size_t block = 1 + (size_t)draw(count - at);
        struct base_buffer items = {0};
        for (size_t i = at; i < at + block; i++) {
            avro_value_t child;
            const char *key = NULL;
            avro_value_get_by_index(value, i, &child, &key);
            if (avro_value_get_type(value) == AVRO_MAP) {
                consumer_schema_put_bytes(&items, base_span_string(key));
            }
            encode(&child, &items);
        }
        bool sized = draw(2) == 0;
        consumer_schema_put_long(out, sized ? -(int64_t)block : (int64_t)block);
        if (sized) {
            consumer_schema_put_long(out, (int64_t)items.size);
        }
        base_buffer_append(out, items.data, items.size);
        base_buffer_free(&items);
        at += block;
    }
    consumer_schema_put_long(out, 0);
}

static void encode(avro_value_t *value, struct base_buffer *out)
{
    avro_value_t child;
    size_t size = 0;
    int branch = 0;
    switch (avro_value_get_type(value)) {
    case AVRO_RECORD:
        avro_value_get_size(value, &size);
        for (size_t i = 0; i < size; i++) {
            avro_value_get_by_index(value, i, &child, NULL);
            encode(&child, out);
        }
        break;
    case AVRO_UNION:
        avro_value_get_discriminant(value, &branch);
        consumer_schema_put_long(out, branch);
        avro_value_get_current_branch(value, &child);
        encode(&child, out);
        break;
    case AVRO_ARRAY:
    case AVRO_MAP:
        encode_blocks(value, out);
        break;
    default:
        encode_scalar(value, out);
    }
}

// ---- Paths, and what Avro C finds at their ends ----

struct paths {
    char path[PATHS_MAX][64];
    unsigned count;
};

// Every path of at most a few steps, whether it can serve or not.
static void paths_collect(avro_schema_t schema, const char *prefix, unsigned depth, struct paths *paths)
{
    if (is_avro_link(schema)) {
        schema = avro_schema_link_target(schema);
    }
    if (depth > 5 || paths->count == PATHS_MAX) {
        return;
    }
    char path[64];
    if (is_avro_record(schema)) {
        for (size_t i = 0; i < avro_schema_record_size(schema); i++) {
            snprintf(path, sizeof path, "%.40s%s%s", prefix, *prefix ? "." : "",
                     avro_schema_record_field_name(schema, (int)i));
            paths_collect(avro_schema_record_field_get_by_index(schema, (int)i), path, depth + 1, paths);
        }
    } else if (is_avro_union(schema)) {
        for (size_t i = 0; i < avro_schema_union_size(schema); i++) {
            paths_collect(avro_schema_union_branch(schema, (int)i), prefix, depth + 1, paths);
        }
    } else if (is_avro_map(schema)) {
        static const char *const keys[] = {"k", "a.b", "key", "none"};
        for (int i = 0; i < 4; i++) {
            snprintf(path, sizeof path, "%.40s%s%s", prefix, *prefix ? "." : "", keys[i]);
            paths_collect(avro_schema_map_values(schema), path, depth + 1, paths);
        }
    } else {
        snprintf(paths->path[paths->count++], sizeof paths->path[0], "%s", prefix);
    }
}

// What a target should find: the last scalar, and keys in order.
struct finding {
    bool found;
    struct base_span bytes; // of a string, bytes, fixed, enum
    bool is_bytes;
    int64_t integer;
    double real;
    uint64_t *keys;
    size_t key_count;
};

static void find_scalar(avro_value_t *value, struct finding *finding, uint64_t salt)
{
    const char *text;
    const void *data = NULL;
    size_t size = 0;
    int number = 0;
    int32_t narrow = 0;
    float real = 0;
    finding->is_bytes = false;
    switch (avro_value_get_type(value)) {
    case AVRO_NULL:
        return;
    case AVRO_BOOLEAN:
        avro_value_get_boolean(value, &number);
        finding->integer = number;
        break;
    case AVRO_INT32:
        avro_value_get_int(value, &narrow);
        finding->integer = narrow;
        break;
    case AVRO_INT64:
        avro_value_get_long(value, &finding->integer);
        break;
    case AVRO_FLOAT:
        avro_value_get_float(value, &real);
        finding->real = (double)real;
        finding->found = true;
        return;
    case AVRO_DOUBLE:
        avro_value_get_double(value, &finding->real);
        finding->found = true;
        return;
    case AVRO_STRING:
        avro_value_get_string(value, &text, &size);
        finding->bytes = base_span_make(text, size - 1);
        finding->is_bytes = true;
        break;
    case AVRO_BYTES:
        avro_value_get_bytes(value, &data, &size);
        finding->bytes = base_span_make(data ? data : "", size);
        finding->is_bytes = true;
        break;
    case AVRO_FIXED:
        avro_value_get_fixed(value, &data, &size);
        finding->bytes = base_span_make(data, size);
        finding->is_bytes = true;
        break;
    default:
        avro_value_get_enum(value, &number);
        finding->bytes = base_span_string(avro_schema_enum_get(avro_value_get_schema(value), number));
        finding->is_bytes = true;
    }
    finding->found = true;
    finding->real = (double)finding->integer;
    finding->keys = base_realloc(finding->keys, (finding->key_count + 1) * sizeof *finding->keys);
    finding->keys[finding->key_count++] = finding->is_bytes ? base_hash_slot_bytes(salt, finding->bytes)
                                                            : base_hash_slot_integer(salt, finding->integer);
}

// Do records or maps lie in this map's values? Then a key is one step of the path, else all that is left.
static bool goes_deeper(avro_schema_t schema)
{
    if (is_avro_union(schema)) {
        for (size_t i = 0; i < avro_schema_union_size(schema); i++) {
            if (goes_deeper(avro_schema_union_branch(schema, (int)i))) {
                return true;
            }
        }
    }
    return is_avro_record(schema) || is_avro_map(schema) ||
           (is_avro_link(schema) && is_avro_record(avro_schema_link_target(schema)));
}

static void find(avro_value_t *value, const char *path, struct finding *finding, uint64_t salt)
{
    avro_value_t child;
    char step[64];
    size_t size = 0;
    switch (avro_value_get_type(value)) {
    case AVRO_UNION:
        avro_value_get_current_branch(value, &child);
        find(&child, path, finding, salt);
        return;
    case AVRO_RECORD:
        size = strcspn(path, ".");
        break;
    case AVRO_MAP:
        size = goes_deeper(avro_schema_map_values(avro_value_get_schema(value))) ? strcspn(path, ".")
                                                                                 : strlen(path);
        break;
    case AVRO_ARRAY:
        if (*path == '\0') {
            avro_value_get_size(value, &size);
            for (size_t i = 0; i < size; i++) {
                avro_value_get_by_index(value, i, &child, NULL);
                find(&child, path, finding, salt);
            }
        }
        return;
    default:
        if (*path == '\0') {
            find_scalar(value, finding, salt);
        }
        return;
    }
    snprintf(step, sizeof step, "%.*s", (int)size, path);
    if (*path && avro_value_get_by_name(value, step, &child, NULL) == 0) {
        find(&child, path[size] == '.' ? path + size + 1 : path + size, finding, salt);
    }
}

static void check_target(const struct consumer_target *target, avro_value_t *value,
                         const struct consumer_output *output, const char *schema)
{
    struct finding finding = {0};
    find(value, target->path, &finding, target->salt);
    const char *path = target->path;
    uint32_t index = target->index;
    uint8_t integer[8];
    switch (target->role) {
    case CONSUMER_ROLE_TIME:
        cr_assert_eq(output->has_time, finding.found, "%s in %s", path, schema);
        cr_assert(!finding.found || output->time == finding.integer, "%s in %s", path, schema);
        break;
    case CONSUMER_ROLE_ID:
        for (int i = 0; i < 8; i++) {
            integer[i] = (uint8_t)((uint64_t)finding.integer >> (8 * i));
        }
        if (!finding.is_bytes) {
            finding.bytes = base_span_make(integer, 8);
        }
        cr_assert_eq(output->id[index].data != NULL, finding.found, "%s in %s", path, schema);
        cr_assert(!finding.found || base_span_equal(output->id[index], finding.bytes), "%s in %s", path,
                  schema);
        break;
    case CONSUMER_ROLE_VALUE:
    case CONSUMER_ROLE_NUMERIC: {
        double got = target->role == CONSUMER_ROLE_VALUE ? output->value[index] : output->numeric[index];
        cr_assert(finding.found ? got == finding.real : isnan(got), "%s in %s", path, schema);
        cr_assert(target->role == CONSUMER_ROLE_NUMERIC || output->has_value[index] == finding.found,
                  "%s in %s", path, schema);
        break;
    }
    default:
        cr_assert_eq(output->count[index], finding.key_count, "%s in %s", path, schema);
        for (size_t i = 0; i < finding.key_count; i++) {
            cr_assert_eq(output->keys[index * (size_t)CONSUMER_OUTPUT_STRIDE + i], finding.keys[i],
                         "%s in %s", path, schema);
        }
    }
    free(finding.keys);
}

// Random targets that the schema lets serve; their number.
static uint32_t targets_choose(const struct consumer_schema *schema, const struct paths *paths,
                               struct consumer_target *targets)
{
    uint32_t count = 0, next[CONSUMER_ROLES] = {0};
    for (int tries = 0; tries < 4 * TARGETS && count < TARGETS && paths->count > 0; tries++) {
        struct consumer_target target = {.role = (enum consumer_role)draw(CONSUMER_ROLES),
                                         .path = paths->path[draw(paths->count)],
                                         .salt = draw(UINT64_MAX)};
        uint32_t most = target.role == CONSUMER_ROLE_TIME    ? 1
                        : target.role == CONSUMER_ROLE_VALUE ? CONSUMER_PLAN_VALUES_MAX
                                                             : TARGETS;
        if (next[target.role] == most || consumer_plan_check(schema, &target, 1, &error)) {
            continue;
        }
        target.index = next[target.role]++;
        targets[count++] = target;
    }
    return count;
}

// Runs over a copy that ends where its memory ends.
static int run(const struct consumer_plan *plan, struct base_span bytes, struct consumer_output *output)
{
    uint8_t *copy = base_alloc(bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    int result = consumer_plan_run(plan, base_span_make(copy, bytes.size), output, &error);
    for (int i = 0; i < CONSUMER_PLAN_IDS_MAX; i++) {
        output->id[i] = (struct base_span){0}; // they point into the copy
    }
    free(copy);
    return result;
}

static void damage(const struct consumer_plan *plan, struct base_span bytes, struct consumer_output *output)
{
    for (size_t size = 0; size < bytes.size; size++) {
        cr_assert_eq(run(plan, base_span_make(bytes.data, size), output), -1, "cut at %zu of %zu", size,
                     bytes.size);
        cr_assert_eq(error.code, BASE_EFORMAT);
    }
    uint8_t *copy = base_alloc(bytes.size);
    for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
        memcpy(copy, bytes.data, bytes.size);
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        run(plan, base_span_make(copy, bytes.size), output);
    }
    free(copy);
}

// One schema, its paths, some data; the number of comparisons.
static unsigned one_schema(void)
{
    struct maker maker = {0};
    struct paths paths = {0};
    struct consumer_target targets[TARGETS];
    put_record(&maker, 0);
    base_buffer_u8(&maker.text, 0);
    const char *text = (const char *)maker.text.data;
    avro_schema_t avro;
    cr_assert_eq(avro_schema_from_json_length(text, strlen(text), &avro), 0, "%s: %s", text, avro_strerror());
    struct consumer_schema *schema = consumer_schema_parse(base_span_string(text), &error);
    cr_assert(schema, "%s: %s", text, error.text);
    paths_collect(avro, "", 0, &paths);
    uint32_t count = targets_choose(schema, &paths, targets);
    // Half of the plans resolve the schema against itself, which must change nothing.
    struct consumer_schema *reader = draw(2) ? consumer_schema_parse(base_span_string(text), &error) : NULL;
    struct consumer_plan *plan = consumer_plan_compile(schema, reader, targets, count, &error);
    cr_assert(plan, "%s: %s", text, error.text);
    struct consumer_output *output =
        consumer_output_new((struct base_columns_layout){.categorical = TARGETS, .numeric = TARGETS});
    avro_value_iface_t *class = avro_generic_class_from_schema(avro);
    unsigned compared = 0;
    for (int i = 0; i < DATA; i++) {
        struct base_buffer bytes = {0};
        avro_value_t value;
        avro_generic_value_new(class, &value);
        fill(&value, 0);
        if (i % 2) {
            encode(&value, &bytes);
        } else {
            encode_scalar(&value, &bytes); // all of it by Avro C
        }
        cr_assert_eq(consumer_plan_run(plan, base_buffer_span(&bytes), output, &error), 0, "%s: %s", text,
                     error.text);
        for (uint32_t k = 0; k < count; k++) {
            check_target(&targets[k], &value, output, text);
            compared++;
        }
        if (i == 1 && bytes.size < 400) {
            damage(plan, base_buffer_span(&bytes), output);
        }
        avro_value_decref(&value);
        base_buffer_free(&bytes);
    }
    avro_value_iface_decref(class);
    avro_schema_decref(avro);
    consumer_output_free(output);
    consumer_plan_free(plan);
    consumer_schema_free(reader);
    consumer_schema_free(schema);
    base_buffer_free(&maker.text);
    return compared;
}

Test(consumer_plan_property, agrees_with_avro_c)
{
    unsigned compared = 0;
    for (uint64_t seed = 0; seed < SCHEMAS; seed++) {
        state = seed;
        compared += one_schema();
    }
    cr_assert(compared > 20000, "%u", compared);
}
