// Schema evolution against fastavro: tests/golden/avro/evolution.jsonl, made by generate.py beside it.
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "consumer/plan.h"

enum { TARGETS_MAX = 8 };

static struct base_error error;

static struct consumer_schema *schema_of(const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
    struct consumer_schema *schema = consumer_schema_parse(base_span_string(text), &error);
    cr_assert(schema, "%s: %s", text, error.text);
    free(text);
    return schema;
}

static struct base_span unhex(const char *text)
{
    size_t size = strlen(text) / 2;
    uint8_t *bytes = base_alloc(size);
    for (size_t i = 0; i < size; i++) {
        unsigned byte;
        sscanf(text + 2 * i, "%2x", &byte);
        bytes[i] = (uint8_t)byte;
    }
    return base_span_make(bytes, size);
}

static void check(const json_t *target, uint32_t index, const struct consumer_output *output, size_t line)
{
    const json_t *find = json_object_get(target, "find");
    const char *path = json_string_value(json_object_get(target, "path"));
    if (!json_is_array(find)) {
        double got = output->numeric[index];
        cr_assert(json_is_null(find) ? isnan(got) : got == json_number_value(find), "line %zu, %s: %g", line,
                  path, got);
        return;
    }
    cr_assert_eq(output->count[index], json_array_size(find), "line %zu, %s: %u keys", line, path,
                 output->count[index]);
    for (size_t i = 0; i < json_array_size(find); i++) {
        const json_t *key = json_array_get(find, i);
        uint64_t expected;
        if (json_object_get(key, "i")) {
            expected = base_hash_slot_integer(3, json_integer_value(json_object_get(key, "i")));
        } else {
            struct base_span bytes = unhex(json_string_value(json_object_get(key, "x")));
            expected = base_hash_slot_bytes(3, bytes);
            free((void *)bytes.data);
        }
        cr_assert_eq(output->keys[index * (size_t)CONSUMER_OUTPUT_STRIDE + i], expected, "line %zu, %s", line,
                     path);
    }
}

static void one_case(const json_t *json, size_t line, unsigned *errors, unsigned *compared)
{
    struct consumer_schema *writer = schema_of(json_object_get(json, "writer"));
    struct consumer_schema *reader = schema_of(json_object_get(json, "reader"));
    struct base_span data = unhex(json_string_value(json_object_get(json, "data")));
    const json_t *list = json_object_get(json, "targets");
    struct consumer_target targets[TARGETS_MAX];
    uint32_t count = (uint32_t)json_array_size(list);
    cr_assert(count <= TARGETS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        const json_t *target = json_array_get(list, i);
        bool keys = json_is_array(json_object_get(target, "find"));
        targets[i] =
            (struct consumer_target){.role = keys ? CONSUMER_ROLE_CATEGORICAL : CONSUMER_ROLE_NUMERIC,
                                     .index = i,
                                     .path = json_string_value(json_object_get(target, "path")),
                                     .salt = 3};
    }
    // fastavro gives the fingerprint's bytes as they stand in a message: little-endian.
    struct base_span hex = unhex(json_string_value(json_object_get(json, "fingerprint")));
    struct base_reader bytes = {.rest = hex};
    cr_assert_eq(base_reader_u64(&bytes), consumer_schema_fingerprint(writer), "line %zu", line);
    free((void *)hex.data);

    struct consumer_output *output =
        consumer_output_new((struct base_columns_layout){.categorical = TARGETS_MAX, .numeric = TARGETS_MAX});
    struct consumer_plan *plan = consumer_plan_compile(writer, reader, targets, count, &error);
    bool failed = !plan || consumer_plan_run(plan, data, output, &error) != 0;
    cr_assert_eq(failed, json_is_true(json_object_get(json, "error")), "line %zu: %s", line,
                 failed ? error.text : "decoded");
    for (uint32_t i = 0; i < count && !failed; i++) {
        check(json_array_get(list, i), i, output, line);
        ++*compared;
    }
    *errors += failed;
    consumer_plan_free(plan);
    consumer_output_free(output);
    consumer_schema_free(writer);
    consumer_schema_free(reader);
    free((void *)data.data);
}

Test(consumer_plan_evolution, agrees_with_fastavro)
{
    FILE *file = fopen(FRESHET_SOURCE_DIR "/tests/golden/avro/evolution.jsonl", "r");
    cr_assert(file);
    unsigned errors = 0, compared = 0;
    size_t lines = 0;
    json_t *json;
    while ((json = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL))) {
        one_case(json, ++lines, &errors, &compared);
        json_decref(json);
    }
    fclose(file);
    cr_assert_eq(lines, 800);
    cr_assert(errors > 90 && compared > 1500, "%u errors, %u comparisons", errors, compared);
}
