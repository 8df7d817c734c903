// Tests of impressions as JSON lines: the same keys as the decoder's, and clear refusals.
#include "daemon/jsonline.h"

#include <criterion/criterion.h>
#include <math.h>

#include "base/hash.h"

static const char *const categorical[] = {"user", "brand"};
static const char *const categorical_paths[] = {"user_id", "categorical.brand"};
static const char *const numeric[] = {"age"};
static const char *const numeric_paths[] = {"numeric.age"};

static struct trainer_descriptor descriptor_make(void)
{
    return (struct trainer_descriptor){
        .config = {.features = {.layout = {.categorical = 2, .numeric = 1}}},
        .columns = {categorical, categorical_paths, numeric, numeric_paths},
    };
}

static int parse(const char *line, struct base_buffer *columns, struct base_error *error)
{
    struct trainer_descriptor descriptor = descriptor_make();
    return daemon_jsonline_columns(line, strlen(line), &descriptor, columns, error);
}

Test(daemon_jsonline, reads_scalars_arrays_and_numbers)
{
    struct base_buffer bytes = {0};
    struct base_error error = {0};
    cr_assert_eq(
        parse("{\"user_id\": 7, \"categorical\": {\"brand\": [\"a\", \"b\"]}, \"numeric\": {\"age\": 2.5}}",
              &bytes, &error),
        0, "%s", error.text);
    struct base_columns columns;
    struct base_columns_layout layout = {.categorical = 2, .numeric = 1};
    cr_assert(base_columns_view(base_buffer_span(&bytes), layout, &columns));
    cr_assert_eq(columns.count[0], 1);
    cr_assert_eq(columns.count[1], 2);
    cr_assert_eq(columns.keys[0], base_hash_slot_integer(base_hash_slot_salt("user"), 7));
    cr_assert_eq(columns.keys[1], base_hash_slot_bytes(base_hash_slot_salt("brand"), base_span_string("a")));
    cr_assert_eq(columns.keys[2], base_hash_slot_bytes(base_hash_slot_salt("brand"), base_span_string("b")));
    cr_assert_eq(columns.numeric[0], 2.5);
    base_buffer_free(&bytes);
}

Test(daemon_jsonline, absent_and_null_give_no_key_and_nan)
{
    struct base_buffer bytes = {0};
    struct base_error error = {0};
    cr_assert_eq(parse("{\"user_id\": null, \"categorical\": 3}", &bytes, &error), 0);
    struct base_columns columns;
    struct base_columns_layout layout = {.categorical = 2, .numeric = 1};
    cr_assert(base_columns_view(base_buffer_span(&bytes), layout, &columns));
    cr_assert_eq(columns.total, 0);
    cr_assert(isnan(columns.numeric[0]));
    base_buffer_free(&bytes);
}

Test(daemon_jsonline, refuses_what_it_cannot_read)
{
    struct base_buffer bytes = {0};
    struct base_error error = {0};
    cr_assert_eq(parse("{\"user_id\": ", &bytes, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert_eq(parse("[1]", &bytes, &error), -1);
    cr_assert_str_eq(error.text, "not a JSON object");
    cr_assert_eq(parse("{\"user_id\": 1.5}", &bytes, &error), -1);
    cr_assert_str_eq(error.text, "user_id: neither string, integer nor boolean");
    cr_assert_eq(parse("{\"categorical\": {\"brand\": [[\"a\"]]}}", &bytes, &error), -1);
    cr_assert_str_eq(error.text, "categorical.brand: neither string, integer nor boolean");
    base_buffer_free(&bytes);
}

Test(daemon_jsonline, finds_a_string_at_a_path)
{
    static const char line[] = "{\"id\": \"a\", \"meta\": {\"id\": \"b\", \"n\": 1}}";
    struct base_buffer text = {0};
    cr_assert(daemon_jsonline_string(line, strlen(line), "meta.id", &text));
    cr_assert(text.size == 1 && memcmp(text.data, "b", 1) == 0);
    cr_assert(daemon_jsonline_string(line, strlen(line), "id", &text));
    cr_assert(text.size == 1 && memcmp(text.data, "a", 1) == 0);
    cr_assert_not(daemon_jsonline_string(line, strlen(line), "meta.n", &text));
    cr_assert_not(daemon_jsonline_string(line, strlen(line), "none", &text));
    cr_assert_not(daemon_jsonline_string("{", 1, "id", &text));
    base_buffer_free(&text);
}
