// Plans, rule by rule. What random schemas and data say is in consumer_plan_property.c.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "consumer/plan.h"

static struct base_error error;

static struct consumer_schema *schema_of(const char *text)
{
    struct consumer_schema *schema = consumer_schema_parse(base_span_string(text), &error);
    cr_assert(schema, "%s: %s", text, error.text);
    return schema;
}

static struct consumer_plan *plan_try(const char *writer, const char *reader,
                                      const struct consumer_target *targets, uint32_t count)
{
    struct consumer_schema *from = schema_of(writer), *to = reader ? schema_of(reader) : NULL;
    struct consumer_plan *plan = consumer_plan_compile(from, to, targets, count, &error);
    consumer_schema_free(from); // a plan does without
    consumer_schema_free(to);
    return plan;
}

static struct consumer_output *output_of(void)
{
    return consumer_output_new((struct base_columns_layout){.categorical = 4, .numeric = 4});
}

// Runs a plan over a copy that ends where its memory ends, for the sanitizer.
static int run(const struct consumer_plan *plan, struct consumer_output *output, const void *bytes,
               size_t size)
{
    uint8_t *copy = base_alloc(size);
    memcpy(copy, bytes, size);
    int result = consumer_plan_run(plan, base_span_make(copy, size), output, &error);
    free(copy);
    return result;
}

#define CATEGORICAL(p, i)                                                       \
    {                                                                           \
        .role = CONSUMER_ROLE_CATEGORICAL, .index = (i), .path = (p), .salt = 7 \
    }
#define NUMERIC(p, i)                                            \
    {                                                            \
        .role = CONSUMER_ROLE_NUMERIC, .index = (i), .path = (p) \
    }
#define ID(p, i)                                            \
    {                                                       \
        .role = CONSUMER_ROLE_ID, .index = (i), .path = (p) \
    }
#define TIME(p)                                 \
    {                                           \
        .role = CONSUMER_ROLE_TIME, .path = (p) \
    }
#define COUNT(a) ((uint32_t)(sizeof(a) / sizeof *(a)))

// One schema, targets, bytes: does the record decode?
static int run_once(const char *writer, const char *reader, const struct consumer_target *targets,
                    uint32_t count, const void *bytes, size_t size, struct consumer_output *output)
{
    struct consumer_plan *plan = plan_try(writer, reader, targets, count);
    cr_assert(plan, "%s", error.text);
    int result = run(plan, output, bytes, size);
    consumer_plan_free(plan);
    return result;
}

// Of a record {f: type}: does `bytes` decode when f is skipped?
static int skip_once(const char *type, const void *bytes, size_t size)
{
    char text[1024];
    snprintf(text, sizeof text,
             "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"f\",\"type\":%s}]}", type);
    struct consumer_output *output = output_of();
    int result = run_once(text, NULL, NULL, 0, bytes, size, output);
    consumer_output_free(output);
    return result;
}

#define R(fields) "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define F(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define FD(name, type, value) "{\"name\":\"" name "\",\"type\":" type ",\"default\":" value "}"

Test(consumer_plan, numbers_of_more_than_64_bits_are_refused)
{
    cr_assert_eq(skip_once("\"long\"", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), 0);
    cr_assert_eq(skip_once("\"long\"", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert_eq(skip_once("\"long\"", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 11), -1);
    cr_assert_eq(skip_once("\"int\"", "\xff\xff\xff\xff\x0f", 5), 0); // INT32_MIN
    cr_assert_eq(skip_once("\"int\"", "\x80\x80\x80\x80\x10", 5), -1);
}

Test(consumer_plan, lengths_are_held_against_what_remains)
{
    cr_assert_eq(skip_once("\"string\"", "\x04hi", 3), 0);
    cr_assert_eq(skip_once("\"string\"", "\x06hi", 3), -1);
    cr_assert_eq(skip_once("\"string\"", "\x03hi", 3), -1); // a length of -2
    cr_assert_eq(skip_once("\"bytes\"", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10), -1); // INT64_MIN
    cr_assert_eq(skip_once("\"double\"", "1234567", 7), -1);
    cr_assert_eq(skip_once("{\"type\":\"fixed\",\"name\":\"X\",\"size\":4}", "123", 3), -1);
    cr_assert_eq(skip_once("\"boolean\"", "\x02", 1), -1);
    cr_assert_eq(skip_once("\"null\"", "", 0), 0);
    cr_assert_eq(skip_once("\"long\"", "", 0), -1);
}

Test(consumer_plan, bytes_behind_the_record_are_refused)
{
    cr_assert_eq(skip_once("\"long\"", "\x02\x00", 2), -1);
    cr_assert_str_eq(error.text, "bytes are left after the record");
}

Test(consumer_plan, blocks_in_both_forms_are_skipped_and_bounded)
{
    const char *array = "{\"type\":\"array\",\"items\":\"string\"}";
    cr_assert_eq(skip_once(array,
                           "\x04\x02"
                           "a\x02"
                           "b\x00",
                           6),
                 0);
    cr_assert_eq(skip_once(array,
                           "\x03\x08\x02"
                           "a\x02"
                           "b\x00",
                           7),
                 0); // two items in 4 bytes
    cr_assert_eq(skip_once(array,
                           "\x01\x04\x02"
                           "a\x02\x02"
                           "b\x00",
                           8),
                 0); // one of each form
    cr_assert_eq(skip_once(array,
                           "\x7f\x04\x02"
                           "a\x00",
                           5),
                 -1); // 64 items in 2 bytes
    cr_assert_eq(skip_once(array,
                           "\x01\x80\x01\x02"
                           "a\x00",
                           6),
                 -1); // 64 bytes where there are 3
    cr_assert_eq(skip_once(array,
                           "\x01\x01\x02"
                           "a\x00",
                           5),
                 -1); // a size of -1
    cr_assert_eq(skip_once(array, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00", 12), -1); // INT64_MIN
    cr_assert_eq(skip_once(array, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 11), -1);     // INT64_MAX
    cr_assert_eq(skip_once("{\"type\":\"map\",\"values\":\"null\"}",
                           "\x04\x02"
                           "a\x02"
                           "b\x00",
                           6),
                 0);
}

Test(consumer_plan, items_of_no_bytes_are_bounded_over_the_whole_record)
{
    const char *nulls = "{\"type\":\"array\",\"items\":\"null\"}";
    cr_assert_eq(skip_once(nulls, "\x90\x4e\x00", 3), 0);              // 5,000
    cr_assert_eq(skip_once(nulls, "\x80\x94\xeb\xdc\x03\x00", 6), -1); // 500 million
    cr_assert_eq(skip_once(nulls, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 11), -1);
    // Many arrays, each below the bound.
    uint8_t bytes[64 * 4 + 3], *at = bytes;
    *at++ = 0x80;
    *at++ = 0x01; // 64 arrays
    for (int i = 0; i < 64; i++) {
        memcpy(at, "\x80\xfa\x01\x00", 4); // 16,000 nulls
        at += 4;
    }
    *at++ = 0;
    cr_assert_eq(skip_once("{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":\"null\"}}", bytes,
                           (size_t)(at - bytes)),
                 -1);
}

Test(consumer_plan, records_of_no_bytes_cost_no_more_than_the_budget)
{
    // Each record holds the one before twice: 2^40 calls for no byte at all.
    char text[8192];
    int used = snprintf(text, sizeof text, "{\"type\":\"record\",\"name\":\"Top\",\"fields\":[");
    for (int i = 0; i < 40; i++) {
        char type[32];
        snprintf(type, sizeof type, "\"B%d\"", i - 1);
        used += snprintf(text + used, sizeof text - (size_t)used,
                         "%s{\"name\":\"f%d\",\"type\":{\"type\":\"record\",\"name\":\"B%d\",\"fields\":["
                         "{\"name\":\"a\",\"type\":%s},{\"name\":\"b\",\"type\":%s}]}}",
                         i ? "," : "", i, i, i ? type : "\"null\"", i ? type : "\"null\"");
    }
    snprintf(text + used, sizeof text - (size_t)used, "]}");
    struct consumer_output *output = output_of();
    cr_assert_eq(run_once(text, NULL, NULL, 0, "", 0, output), -1);
    // And against a reader that differs, the compiler gives up or the machine does.
    struct consumer_schema *writer = schema_of(text);
    char *other = strdup(text);
    memcpy(strstr(other, "null"), "long", 4);
    struct consumer_schema *reader = schema_of(other);
    struct consumer_plan *plan = consumer_plan_compile(writer, reader, NULL, 0, &error);
    cr_assert_null(plan);
    consumer_schema_free(writer);
    consumer_schema_free(reader);
    consumer_output_free(output);
    free(other);
}

Test(consumer_plan, recursion_is_followed_to_a_depth_of_64)
{
    const char *list = R(F("v", "\"long\"") "," F("next", "[\"null\",\"R\"]"));
    const struct consumer_target targets[] = {NUMERIC("next.next.v", 0)};
    uint8_t bytes[2 * 80];
    struct consumer_output *output = output_of();
    struct consumer_plan *plan = plan_try(list, NULL, targets, 1);
    cr_assert(plan, "%s", error.text);
    for (size_t length = 1; length <= 80; length++) {
        for (size_t i = 0; i < length; i++) {
            bytes[2 * i] = (uint8_t)(2 * (i % 32));
            bytes[2 * i + 1] = i + 1 < length ? 2 : 0;
        }
        // The first three stand in the path; the others are routines in one another.
        cr_assert_eq(run(plan, output, bytes, 2 * length), length <= 3 + 64 ? 0 : -1, "%zu", length);
        if (length > 2 && length <= 67) {
            cr_assert_eq(output->numeric[0], 2.0);
        } else if (length <= 2) {
            cr_assert(isnan(output->numeric[0]));
        }
    }
    consumer_plan_free(plan);
    consumer_output_free(output);
    // A type that can only be without end is refused by depth, not by the stack.
    const char *endless = R(F("self", "\"R\""));
    output = output_of();
    cr_assert_eq(run_once(endless, NULL, NULL, 0, "", 0, output), -1);
    consumer_output_free(output);
}

Test(consumer_plan, what_serves_as_a_categorical_column)
{
    const char *text = R(F("s", "\"string\"") "," F("i", "\"int\"") "," F("b", "\"boolean\"") "," F(
        "e", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"x\",\"y\"]}") "," F("a", "{\"type\":\"array\","
                                                                                        "\"items\":[\"null\","
                                                                                        "\"long\"]}"));
    const struct consumer_target targets[] = {CATEGORICAL("s", 0), CATEGORICAL("i", 1), CATEGORICAL("e", 2),
                                              CATEGORICAL("a", 3), NUMERIC("b", 0),     ID("i", 0),
                                              ID("e", 1),          ID("s", 2)};
    const char bytes[] = "\x04hi\x03\x01\x02\x06\x02\x0a\x00\x02\x0c\x00";
    struct consumer_output *output = output_of();
    struct consumer_plan *plan = plan_try(text, NULL, targets, COUNT(targets));
    struct base_span record = base_span_make(bytes, sizeof bytes - 1);
    cr_assert(plan, "%s", error.text);
    cr_assert_eq(consumer_plan_run(plan, record, output, &error), 0, "%s", error.text);
    cr_assert(output->id[0].size == 8 &&
              memcmp(output->id[0].data, "\xfe\xff\xff\xff\xff\xff\xff\xff", 8) == 0);
    cr_assert(base_span_equal(output->id[1], base_span_string("y")));
    cr_assert(base_span_equal(output->id[2], base_span_string("hi")));
    cr_assert_eq(output->numeric[0], 1.0);
    struct base_columns columns;
    cr_assert(base_columns_view(consumer_output_columns(output), output->layout, &columns));
    cr_assert(columns.count[0] == 1 && columns.count[1] == 1 && columns.count[2] == 1 &&
              columns.count[3] == 2);
    cr_assert_eq(columns.keys[0], base_hash_slot_bytes(7, base_span_string("hi")));
    cr_assert_eq(columns.keys[1], base_hash_slot_integer(7, -2));
    cr_assert_eq(columns.keys[2], base_hash_slot_bytes(7, base_span_string("y")));
    cr_assert_eq(columns.keys[3], base_hash_slot_integer(7, 5));
    cr_assert_eq(columns.keys[4], base_hash_slot_integer(7, 6));
    cr_assert(isnan(columns.numeric[1]));
    consumer_plan_free(plan);
    consumer_output_free(output);
}

Test(consumer_plan, the_last_value_of_a_key_counts)
{
    const char *text = R(F("m", "{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"string\"}}"));
    const struct consumer_target targets[] = {CATEGORICAL("m.a", 0), CATEGORICAL("m.b.c", 1)};
    const char bytes[] = "\x06\x02"
                         "a\x04\x02x\x02y\x00"
                         "\x06"
                         "b.c\x02\x02w\x00"
                         "\x02"
                         "a\x02\x02z\x00\x00";
    struct consumer_output *output = output_of();
    cr_assert_eq(run_once(text, NULL, targets, 2, bytes, sizeof bytes - 1, output), 0, "%s", error.text);
    cr_assert_eq(output->count[0], 1);
    cr_assert_eq(output->keys[0], base_hash_slot_bytes(7, base_span_string("z")));
    cr_assert_eq(output->count[1], 1, "the last map takes the rest of the path as its key");
    cr_assert_eq(output->keys[CONSUMER_OUTPUT_STRIDE], base_hash_slot_bytes(7, base_span_string("w")));
    consumer_output_free(output);
}

Test(consumer_plan, keys_above_the_bound_are_cut_and_counted)
{
    const char *types[] = {"\"string\"", "\"boolean\""};
    for (int i = 0; i < 2; i++) {
        char text[256];
        snprintf(text, sizeof text, R(F("a", "{\"type\":\"array\",\"items\":%s}")), types[i]);
        const struct consumer_target targets[] = {CATEGORICAL("a", 0)};
        uint8_t bytes[1500 + 3] = {0xb8, 0x17}; // 1,500 empty strings, or false
        struct consumer_output *output = output_of();
        cr_assert_eq(run_once(text, NULL, targets, 1, bytes, sizeof bytes, output), 0, "%s", error.text);
        cr_assert_eq(output->count[0], BASE_COLUMN_KEYS_MAX);
        cr_assert_eq(output->cut, 1500 - BASE_COLUMN_KEYS_MAX);
        consumer_output_free(output);
    }
}

Test(consumer_plan, microseconds_are_rounded_down)
{
    const char *micros = R(F("t", "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}"));
    const char *millis = R(F("t", "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}"));
    const char *plain = R(F("t", "\"long\""));
    const struct consumer_target targets[] = {TIME("t")};
    const struct {
        const char *writer, *reader;
        int64_t time;
    } cases[] = {
        {micros, NULL, -2},   {millis, NULL, -1001}, {plain, NULL, -1001},
        {micros, millis, -2}, {plain, micros, -2},   {millis, micros, -1001},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct consumer_output *output = output_of();
        cr_assert_eq(run_once(cases[i].writer, cases[i].reader, targets, 1, "\xd1\x0f", 2, output),
                     0); // -1001
        cr_assert(output->has_time);
        cr_assert_eq(output->time, cases[i].time, "%zu", i);
        consumer_output_free(output);
    }
}

Test(consumer_plan, a_path_must_be_known_and_serve)
{
    const char *text =
        R(F("s", "\"string\"") "," F("d", "[\"null\",\"double\"]") "," F("n", "\"null\"") "," F(
            "m",
            "{\"type\":\"map\",\"values\":\"long\"}") "," F("a",
                                                            "{\"type\":\"array\",\"items\":\"string\"}"));
    const struct {
        struct consumer_target target;
        const char *says;
    } cases[] = {
        {CATEGORICAL("x", 0), "not in the schema"},
        {CATEGORICAL("s.x", 0), "not in the schema"},
        {CATEGORICAL("", 0), "cannot serve"},
        {CATEGORICAL("s.", 0), "not in the schema"},
        {CATEGORICAL("d", 0), "double cannot"},
        {NUMERIC("s", 0), "string cannot"},
        {ID("d", 0), "double cannot"},
        {TIME("s"), "string cannot"},
        {NUMERIC("n", 0), "null alone"},
        {NUMERIC("m", 0), "map cannot"},
        {ID("a", 0), "array cannot"},
        {NUMERIC("a", 0), "array cannot"},
        {CATEGORICAL("a.b", 0), "not in the schema"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        cr_assert_null(plan_try(text, NULL, &cases[i].target, 1), "%zu", i);
        cr_assert_eq(error.code, BASE_EINVAL);
        cr_assert(strstr(error.text, cases[i].says), "%zu: %s", i, error.text);
    }
    const struct consumer_target good[] = {NUMERIC("m.anything", 0), NUMERIC("d", 1), CATEGORICAL("a", 0)};
    struct consumer_plan *plan = plan_try(text, NULL, good, COUNT(good));
    cr_assert(plan, "%s", error.text);
    consumer_plan_free(plan);
}

Test(consumer_plan, what_resolution_forbids)
{
    const char *writer = R(F("a", "\"string\"") "," F("u", "[\"null\",\"string\"]"));
    // Certain: an error of the compiler.
    cr_assert_null(plan_try(writer, R(F("a", "\"long\"")), NULL, 0));
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert(strstr(error.text, "string is no long"), "%s", error.text);
    cr_assert_null(plan_try(writer, R(F("z", "\"long\"")), NULL, 0));
    cr_assert(strstr(error.text, "\"z\" of R has no default"), "%s", error.text);
    cr_assert_null(plan_try(writer, "{\"type\":\"record\",\"name\":\"Q\",\"fields\":[]}", NULL, 0),
                   "another name");
    cr_assert_null(plan_try(R(F("a", "\"double\"")), R(F("a", "\"float\"")), NULL, 0));
    cr_assert_null(plan_try(R(F("a", "{\"type\":\"fixed\",\"name\":\"X\",\"size\":2}")),
                            R(F("a", "{\"type\":\"fixed\",\"name\":\"X\",\"size\":3}")), NULL, 0));
    // By data: the branch decides, whether or not a path asks.
    struct consumer_output *output = output_of();
    const char *reader = R(F("u", "[\"null\",\"long\"]"));
    cr_assert_eq(run_once(writer, reader, NULL, 0, "\x02x\x00", 3, output), 0);
    cr_assert_eq(run_once(writer, reader, NULL, 0, "\x02x\x02\x02y", 5, output), -1);
    cr_assert(strstr(error.text, "string is no union"), "%s", error.text);
    cr_assert_eq(run_once(writer, reader, NULL, 0, "\x02x\x04", 3, output), -1);
    cr_assert(strstr(error.text, "union without that branch"), "%s", error.text);
    consumer_output_free(output);
}

Test(consumer_plan, blocks_that_may_not_resolve_are_not_skipped_by_size)
{
    const char *writer = R(F("a", "{\"type\":\"array\",\"items\":[\"null\",\"string\"]}"));
    const char *reader = R(F("a", "{\"type\":\"array\",\"items\":[\"null\",\"long\"]}"));
    const char *same = R(F("a", "{\"type\":\"array\",\"items\":[\"null\",\"bytes\"]}"));
    struct consumer_output *output = output_of();
    const char bytes[] = "\x03\x08\x00\x02\x02y\x00"; // null and "y", in 4 bytes
    cr_assert_eq(run_once(writer, reader, NULL, 0, bytes, 7, output), -1);
    cr_assert_eq(run_once(writer, same, NULL, 0, bytes, 7, output), 0);
    cr_assert_eq(run_once(writer, NULL, NULL, 0, bytes, 7, output), 0);
    // The same for symbols that the reader lacks, and for what is wrong deeper in a record.
    const char *abc = R(F("a", "{\"type\":\"array\",\"items\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":["
                               "\"a\",\"b\"]}}"));
    const char *ab = R(F("a", "{\"type\":\"array\",\"items\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":["
                              "\"a\"]}}"));
    cr_assert_eq(run_once(abc, ab, NULL, 0, "\x03\x04\x00\x00\x00", 5, output), 0);
    cr_assert_eq(run_once(abc, ab, NULL, 0, "\x03\x04\x00\x02\x00", 5, output), -1);
    const char *deep =
        R(F("a", "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"V\",\"fields\":[" F(
                     "v", "\"string\"") "]}}"));
    const char *wrong =
        R(F("a", "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"V\",\"fields\":[" F(
                     "v", "\"long\"") "]}}"));
    cr_assert_eq(run_once(deep, wrong, NULL, 0, "\x00", 1, output), 0);
    cr_assert_eq(run_once(deep, wrong, NULL, 0, "\x01\x04\x02y\x00", 5, output), -1);
    // Walked through, a block must fill its size.
    const struct consumer_target targets[] = {CATEGORICAL("a", 0)};
    cr_assert_eq(run_once(writer, NULL, targets, 1, bytes, 7, output), 0);
    cr_assert_eq(output->count[0], 1);
    cr_assert_eq(run_once(writer, NULL, targets, 1, "\x03\x06\x00\x02\x02y\x00", 7, output), -1);
    consumer_output_free(output);
}

Test(consumer_plan, enums_by_symbol_with_the_readers_default)
{
    const char *writer = R(F("e", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a\",\"b\",\"c\"]}"));
    const char *strict = R(F("e", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"b\",\"a\"]}"));
    const char *lenient =
        R(F("e", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"z\",\"b\",\"a\"],\"default\":\"z\"}"));
    const struct consumer_target targets[] = {CATEGORICAL("e", 0)};
    struct consumer_output *output = output_of();
    cr_assert_eq(run_once(writer, strict, targets, 1, "\x00", 1, output), 0);
    cr_assert_eq(output->keys[0], base_hash_slot_bytes(7, base_span_string("a")));
    cr_assert_eq(run_once(writer, strict, targets, 1, "\x04", 1, output), -1);
    cr_assert_eq(run_once(writer, strict, NULL, 0, "\x04", 1, output), -1);
    cr_assert_eq(run_once(writer, lenient, targets, 1, "\x04", 1, output), 0);
    cr_assert_eq(output->keys[0], base_hash_slot_bytes(7, base_span_string("z")));
    cr_assert_eq(run_once(writer, lenient, targets, 1, "\x06", 1, output), -1);
    cr_assert_eq(run_once(writer, NULL, NULL, 0, "\x06", 1, output), -1);
    consumer_output_free(output);
}

Test(consumer_plan, defaults_fill_what_the_writer_lacks)
{
    const char *writer = R(F("x", "\"int\""));
    const char *reader = R(F("x", "\"double\"") "," FD("t", "\"long\"", "-5") "," FD(
        "u",
        "{\"type\":\"record\",\"name\":\"U\",\"fields\":[" FD("age", "\"int\"",
                                                              "40") "," F("name", "\"string\"") "]}",
        "{\"name\":\"n\"}") "," FD("m",
                                   "{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":\"string\"}}",
                                   "{\"k\":[\"p\",\"q\"]}") "," FD("b", "\"bytes\"",
                                                                   "\"\\u0000\\u00ff\"") "," FD("o",
                                                                                                "[\"null\","
                                                                                                "\"string\"]",
                                                                                                "null"));
    const struct consumer_target targets[] = {
        NUMERIC("x", 0),       TIME("t"),  NUMERIC("u.age", 1), ID("u.name", 0),
        CATEGORICAL("m.k", 0), ID("b", 1), ID("o", 2)};
    struct consumer_output *output = output_of();
    struct consumer_plan *plan = plan_try(writer, reader, targets, COUNT(targets));
    cr_assert(plan, "%s", error.text);
    for (int i = 0; i < 2; i++) { // twice: a run leaves nothing behind
        cr_assert_eq(run(plan, output, "\x08", 1), 0, "%s", error.text);
        cr_assert_eq(output->numeric[0], 4.0);
        cr_assert(output->has_time && output->time == -5);
        cr_assert_eq(output->numeric[1], 40.0);
        cr_assert(base_span_equal(output->id[0], base_span_string("n")));
        cr_assert_eq(output->count[0], 2);
        cr_assert_eq(output->keys[1], base_hash_slot_bytes(7, base_span_string("q")));
        cr_assert(base_span_equal(output->id[1], base_span_make("\0\xff", 2)));
        cr_assert_null(output->id[2].data);
    }
    consumer_plan_free(plan);
    consumer_output_free(output);
}

Test(consumer_plan, a_default_that_does_not_fit_is_an_error)
{
    const char *types[][2] = {
        {"\"long\"", "\"x\""},
        {"\"int\"", "3000000000"},
        {"\"bytes\"", "\"\\u0100\""},
        {"{\"type\":\"fixed\",\"name\":\"X\",\"size\":3}", "\"ab\""},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a\"]}", "\"b\""},
        {"[\"null\",\"long\"]", "\"x\""},
    };
    for (size_t i = 0; i < COUNT(types); i++) {
        char reader[512];
        snprintf(reader, sizeof reader, R("{\"name\":\"d\",\"type\":%s,\"default\":%s}"), types[i][0],
                 types[i][1]);
        const struct consumer_target targets[] = {CATEGORICAL("d", 0)};
        cr_assert_null(plan_try(R(F("x", "\"int\"")), reader, targets, 1));
        cr_assert(strstr(error.text, "does not fit"), "%s", error.text);
    }
    // A default that brings in itself.
    const char *endless = "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" FD(
        "d",
        "{\"type\":\"record\",\"name\":\"A\",\"fields\":[" FD("s", "\"string\"", "\"\"") "," FD("a", "\"A\"",
                                                                                                "{}") "]}",
        "{}") "]}";
    const struct consumer_target targets[] = {ID("d.s", 0)};
    cr_assert_null(plan_try(R(F("x", "\"int\"")), endless, targets, 1));
    cr_assert_eq(error.code, BASE_ELIMIT, "%s", error.text);
}

Test(consumer_plan, aliases_of_records_and_fields)
{
    const char *writer = "{\"type\":\"record\",\"name\":\"Old\",\"namespace\":\"n\",\"fields\":[" F(
        "a", "\"string\"") "," F("b", "\"string\"") "]}";
    const char *reader = "{\"type\":\"record\",\"name\":\"New\",\"namespace\":\"n\",\"aliases\":[\"Old\"],"
                         "\"fields\":[{\"name\":\"c\",\"aliases\":[\"a\"],\"type\":\"string\"},"
                         "{\"name\":\"b\",\"aliases\":[\"a\"],\"type\":\"bytes\"}]}";
    const struct consumer_target targets[] = {CATEGORICAL("c", 0), CATEGORICAL("b", 1)};
    struct consumer_output *output = output_of();
    cr_assert_eq(run_once(writer, reader, targets, 2, "\x02x\x02y", 4, output), 0);
    cr_assert_eq(output->keys[0], base_hash_slot_bytes(7, base_span_string("x")));
    cr_assert_eq(output->keys[CONSUMER_OUTPUT_STRIDE], base_hash_slot_bytes(7, base_span_string("y")));
    // A field that is taken by its name is not taken by an alias again.
    const char *both =
        "{\"type\":\"record\",\"name\":\"Old\",\"namespace\":\"n\",\"fields\":[{\"name\":\"c\","
        "\"aliases\":[\"a\"],\"type\":\"string\",\"default\":\"d\"}," F("a", "\"string\"") "]}";
    const struct consumer_target two[] = {CATEGORICAL("c", 0), CATEGORICAL("a", 1)};
    cr_assert_eq(run_once(writer, both, two, 2, "\x02x\x02y", 4, output), 0, "%s", error.text);
    cr_assert_eq(output->keys[0], base_hash_slot_bytes(7, base_span_string("d")));
    cr_assert_eq(output->keys[CONSUMER_OUTPUT_STRIDE], base_hash_slot_bytes(7, base_span_string("x")));
    const struct consumer_target old[] = {CATEGORICAL("a", 0)};
    cr_assert_null(plan_try(writer, reader, old, 1), "paths are the reader's names");
    consumer_output_free(output);
}

Test(consumer_plan, promotions_keep_the_readers_precision)
{
    const char *writer = R(F("i", "\"long\"") "," F("f", "\"float\""));
    const char *reader = R(F("i", "\"float\"") "," F("f", "\"double\""));
    const struct consumer_target targets[] = {NUMERIC("i", 0), NUMERIC("f", 1)};
    struct consumer_output *output = output_of();
    // 2^24 + 1, and 0.1f
    cr_assert_eq(run_once(writer, reader, targets, 2, "\x82\x80\x80\x10\xcd\xcc\xcc\x3d", 8, output), 0);
    cr_assert_eq(output->numeric[0], 16777216.0);
    cr_assert_eq(output->numeric[1], (double)0.1f);
    cr_assert_eq(run_once(writer, NULL, targets, 2, "\x82\x80\x80\x10\xcd\xcc\xcc\x3d", 8, output), 0);
    cr_assert_eq(output->numeric[0], 16777217.0);
    consumer_output_free(output);
}

Test(consumer_plan, a_readers_union_takes_the_very_type_first)
{
    const char *writer = R(F("i", "\"long\""));
    const char *exact = R(F("i", "[\"null\",\"float\",\"long\"]"));
    const char *promoted = R(F("i", "[\"null\",\"float\",\"double\"]"));
    const struct consumer_target targets[] = {NUMERIC("i", 0)};
    struct consumer_output *output = output_of();
    cr_assert_eq(run_once(writer, exact, targets, 1, "\x82\x80\x80\x10", 4, output), 0);
    cr_assert_eq(output->numeric[0], 16777217.0, "not rounded: the long branch");
    cr_assert_eq(run_once(writer, promoted, targets, 1, "\x82\x80\x80\x10", 4, output), 0);
    cr_assert_eq(output->numeric[0], 16777216.0, "else the first that matches");
    // By full name first, then by its last part.
    const char *named = R(F("u", "{\"type\":\"record\",\"name\":\"b.V\",\"fields\":[]}"));
    const char *spaces =
        R(F("u",
            "[{\"type\":\"record\",\"name\":\"a.V\",\"fields\":[" FD(
                "p", "\"long\"",
                "1") "]},{\"type\":\"record\",\"name\":\"b.V\",\"fields\":[" FD("p", "\"long\"", "2") "]}]"));
    const struct consumer_target space[] = {NUMERIC("u.p", 0)};
    cr_assert_eq(run_once(named, spaces, space, 1, "", 0, output), 0, "%s", error.text);
    cr_assert_eq(output->numeric[0], 2.0);
    // A path through a union of records: the branch without the field gives null.
    const char *two = R(F(
        "u",
        "[\"null\",{\"type\":\"record\",\"name\":\"A\",\"fields\":[" F(
            "p", "\"long\"") "]},{\"type\":\"record\",\"name\":\"B\",\"fields\":[" F("q", "\"long\"") "]}]"));
    const struct consumer_target inside[] = {NUMERIC("u.p", 0), NUMERIC("u.q", 1)};
    cr_assert_eq(run_once(two, NULL, inside, 2, "\x04\x0a", 2, output), 0);
    cr_assert(isnan(output->numeric[0]));
    cr_assert_eq(output->numeric[1], 5.0);
    cr_assert_eq(run_once(two, NULL, inside, 2, "\x00", 1, output), 0);
    cr_assert(isnan(output->numeric[0]) && isnan(output->numeric[1]));
    consumer_output_free(output);
}
