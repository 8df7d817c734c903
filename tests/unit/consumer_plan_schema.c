// Schemas: the parse, the canonical form, fingerprints, and the default schemas against their files.
#include <avro.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer/schema.h"
#include "consumer/schemas.h"

static struct base_error error;

static struct consumer_schema *parse(const char *text)
{
    return consumer_schema_parse(base_span_string(text), &error);
}

Test(consumer_plan_schema, fingerprints_of_the_specification)
{
    const struct {
        const char *text, *canonical;
        uint64_t fingerprint;
    } cases[] = {
        {"\"null\"", "\"null\"", UINT64_C(0x63dd24e7cc258f8a)},
        {"{\"type\":\"int\"}", "\"int\"", UINT64_C(0x7275d51a3f395c8f)},
        {"{\"type\":{\"type\":\"string\"}}", "\"string\"", UINT64_C(0x8f014872634503c7)},
        {"\"boolean\"", "\"boolean\"", UINT64_C(0x9f42fc78a4d4f764)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct consumer_schema *schema = parse(cases[i].text);
        cr_assert(schema, "%s", error.text);
        cr_assert_str_eq(consumer_schema_canonical(schema), cases[i].canonical);
        cr_assert_eq(consumer_schema_fingerprint(schema), cases[i].fingerprint, "%s", cases[i].text);
        consumer_schema_free(schema);
    }
}

Test(consumer_plan_schema, the_canonical_form_has_full_names_and_nothing_else)
{
    struct consumer_schema *schema =
        parse("{\"doc\":\"d\",\"fields\":[{\"type\":{\"symbols\":[\"A\"],\"type\":\"enum\",\"name\":\"E\"},"
              "\"name\":"
              "\"e\",\"default\":\"A\"},{\"name\":\"f\",\"type\":\"E\"},{\"name\":\"g\",\"type\":{\"type\":"
              "\"fixed\","
              "\"size\":4,\"name\":\"o.F\",\"aliases\":[\"G\"]}},{\"name\":\"h\",\"type\":{\"values\":["
              "\"null\",\"n.R\"]"
              ",\"type\":\"map\"}}],\"name\":\"R\",\"namespace\":\"n\",\"type\":\"record\"}");
    cr_assert(schema, "%s", error.text);
    cr_assert_str_eq(
        consumer_schema_canonical(schema),
        "{\"name\":\"n.R\",\"type\":\"record\",\"fields\":[{\"name\":\"e\",\"type\":{\"name\":\"n.E\","
        "\"type\":"
        "\"enum\",\"symbols\":[\"A\"]}},{\"name\":\"f\",\"type\":\"n.E\"},{\"name\":\"g\",\"type\":{\"name\":"
        "\"o.F\",\"type\":\"fixed\",\"size\":4}},{\"name\":\"h\",\"type\":{\"type\":\"map\",\"values\":["
        "\"null\","
        "\"n.R\"]}}]}");
    cr_assert_str_eq(consumer_schema_root(schema)->fields[2].type->aliases.name[0], "o.G");
    consumer_schema_free(schema);
}

Test(consumer_plan_schema, what_is_no_schema)
{
    const struct {
        const char *text, *says;
    } cases[] = {
        {"", "not JSON"},
        {"{", "not JSON"},
        {"3", "neither string"},
        {"\"x\"", "unknown type"},
        {"{}", "no type"},
        {"[]", "union"},
        {"[\"int\",\"int\"]", "holds twice \"int\""},
        {"[\"int\",[\"null\"]]", "directly inside"},
        {"{\"type\":\"array\"}", "no type of items"},
        {"{\"type\":\"map\",\"items\":\"int\"}", "no type of items or values in a \"map\""},
        {"{\"type\":\"record\",\"name\":\"R\"}", "no array of fields"},
        {"{\"type\":\"record\",\"fields\":[]}", "a name is missing"},
        {"{\"type\":\"record\",\"name\":\"1\",\"fields\":[]}", "cannot be the name"},
        {"{\"type\":\"record\",\"name\":\"int\",\"fields\":[]}", "cannot be named"},
        {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a..b\",\"fields\":[]}", "no namespace"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[3]}", "no object"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\"}]}", "no type for field"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a.b\",\"type\":\"int\"}]}",
         "cannot be the name of a field"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"a\","
         "\"type\":\"int\"}]}",
         "two fields"},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":{\"type\":\"record\","
         "\"name\":"
         "\"R\",\"fields\":[]}}]}",
         "defined twice"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}", "no symbols"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a\",\"a\"]}", "two symbols"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"a\"],\"default\":\"b\"}", "none of its symbols"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}", "out of bounds"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":4294967296}", "out of bounds"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_null(parse(cases[i].text), "%s", cases[i].text);
        cr_assert_eq(error.code, BASE_EFORMAT);
        cr_assert(strstr(error.text, cases[i].says), "%s: %s", cases[i].text, error.text);
    }
}

Test(consumer_plan_schema, nesting_has_a_bound)
{
    for (int depth = 60; depth < 70; depth++) {
        struct base_buffer text = {0};
        for (int i = 0; i < depth; i++) {
            base_buffer_append(&text, "{\"type\":\"array\",\"items\":", 24);
        }
        base_buffer_append(&text, "\"int\"", 5);
        for (int i = 0; i < depth; i++) {
            base_buffer_append(&text, "}", 1);
        }
        struct consumer_schema *schema = consumer_schema_parse(base_buffer_span(&text), &error);
        cr_assert_eq(schema != NULL, depth <= CONSUMER_SCHEMA_DEPTH_MAX, "%d", depth);
        cr_assert(schema || error.code == BASE_ELIMIT);
        consumer_schema_free(schema);
        base_buffer_free(&text);
    }
}

Test(consumer_plan_schema, the_embedded_schemas_are_the_files)
{
    const struct {
        const char *name, *text;
    } cases[] = {
        {"impression", consumer_schemas_impression}, {"click", consumer_schemas_click},
        {"purchase", consumer_schemas_purchase},     {"action", consumer_schemas_action},
        {"sample", consumer_schemas_sample},         {"deadletter", consumer_schemas_deadletter},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[1024], content[16384];
        snprintf(path, sizeof path, "%s/schemas/%s.avsc", FRESHET_SOURCE_DIR, cases[i].name);
        FILE *file = fopen(path, "r");
        cr_assert(file, "%s", path);
        size_t size = fread(content, 1, sizeof content - 1, file);
        fclose(file);
        content[size] = '\0';
        cr_assert_str_eq(cases[i].text, content, "%s", path);
        struct consumer_schema *schema = parse(cases[i].text);
        cr_assert(schema, "%s: %s", path, error.text);
        consumer_schema_free(schema);
        avro_schema_t other;
        cr_assert_eq(avro_schema_from_json_length(content, size, &other), 0, "%s: %s", path, avro_strerror());
        avro_schema_decref(other);
    }
}
