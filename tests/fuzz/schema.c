// Fuzzes the parse of schemas and the compiler of plans: the input is a schema's JSON text, and behind a NUL
// a second one that reads it. What compiles is run over the input itself.
#include "consumer/schema.h"
#include "base/bytes.h"
#include "consumer/plan.h"
#include "consumer/schemas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compile_and_run(const struct consumer_schema *writer, const struct consumer_schema *reader,
                            struct base_span bytes)
{
    static const struct consumer_target targets[] = {
        {.role = CONSUMER_ROLE_CATEGORICAL, .path = "a"},
        {.role = CONSUMER_ROLE_NUMERIC, .path = "b"},
        {.role = CONSUMER_ROLE_ID, .path = "m.k"},
    };
    struct base_error error;
    struct consumer_output *output =
        consumer_output_new((struct base_columns_layout){.categorical = 1, .numeric = 1});
    // Without targets, with each that the reader knows, and with none of the others in the way.
    for (uint32_t i = 0; i < 4; i++) {
        struct consumer_plan *plan =
            consumer_plan_compile(writer, reader, i ? &targets[i - 1] : NULL, i > 0, &error);
        if (plan) {
            consumer_plan_run(plan, bytes, output, &error);
        }
        consumer_plan_free(plan);
    }
    consumer_output_free(output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct base_error error;
    struct base_span input = base_span_make(data, size), text = input, rest = {data + size, 0};
    const uint8_t *cut = size ? memchr(data, 0, size) : NULL;
    if (cut) {
        text.size = (size_t)(cut - data);
        rest = base_span_make(cut + 1, size - text.size - 1);
    }
    struct consumer_schema *writer = consumer_schema_parse(text, &error);
    struct consumer_schema *reader = writer && cut ? consumer_schema_parse(rest, &error) : NULL;
    struct consumer_schema *click = consumer_schema_parse(base_span_string(consumer_schemas_click), &error);
    if (writer) {
        // The canonical form is a schema too, and its own canonical form.
        const char *canonical = consumer_schema_canonical(writer);
        struct consumer_schema *again = consumer_schema_parse(base_span_string(canonical), &error);
        if (!again || strcmp(canonical, consumer_schema_canonical(again)) != 0) {
            __builtin_trap();
        }
        consumer_schema_free(again);
        compile_and_run(writer, NULL, rest);
        compile_and_run(writer, click, rest);
        compile_and_run(click, writer, input);
        if (reader) {
            compile_and_run(writer, reader, input);
        }
    }
    consumer_schema_free(writer);
    consumer_schema_free(reader);
    consumer_schema_free(click);
    return 0;
}
