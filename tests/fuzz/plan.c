// Fuzzes the machine of plans: the first byte chooses a pair of schemas, the rest is a record.
#include <stdlib.h>

#include "base/bytes.h"
#include "consumer/plan.h"
#include "consumer/schemas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TYPES                                                                                              \
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":[\"null\",\"string\","       \
    "\"long\","                                                                                            \
    "{\"type\":\"array\",\"items\":[\"null\",\"bytes\"]}]},{\"name\":\"m\",\"type\":{\"type\":\"map\","    \
    "\"values\":{\"type\":\"record\",\"name\":\"V\",\"fields\":[{\"name\":\"e\",\"type\":{\"type\":"       \
    "\"enum\","                                                                                            \
    "\"name\":\"E\",\"symbols\":[\"x\",\"y\",\"z\"]}},{\"name\":\"t\",\"type\":\"double\"}]}}},{\"name\":" \
    "\"r\","                                                                                               \
    "\"type\":[\"null\",\"R\"]},{\"name\":\"n\",\"type\":{\"type\":\"array\",\"items\":\"null\"}},{"       \
    "\"name\":"                                                                                            \
    "\"f\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}},{\"name\":\"z\",\"type\":\"boolean\"}]}"

// As TYPES, seen by a reader with fewer symbols and other numbers, and a field of its own.
#define OTHERS                                                                                               \
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":" \
    "{\"type\":\"record\",\"name\":\"V\",\"fields\":[{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":"  \
    "\"E\",\"symbols\":[\"y\"]}}]}}},{\"name\":\"a\",\"type\":[\"null\",\"bytes\",\"float\"]},{\"name\":"    \
    "\"r\","                                                                                                 \
    "\"type\":[\"null\",\"R\"]},{\"name\":\"d\",\"type\":{\"type\":\"array\",\"items\":\"long\"},"           \
    "\"default\":[1,2]}]}"

static const struct {
    const char *writer, *reader;
    const char *paths[6]; // a role each, in the order of enum consumer_role; NULL: none
} pairs[] = {
    {TYPES, NULL, {NULL, "r.r.f", "m.k.t", "r.z", "a"}},
    {TYPES, OTHERS, {NULL, "m.k.e", NULL, NULL, "d"}},
    {TYPES, OTHERS, {NULL, "m.q.e", NULL, NULL, "m.k.e"}},
    {consumer_schemas_impression,
     NULL,
     {"event_time", "impression_id", "position", "numeric.price", "categorical.brand"}},
    {consumer_schemas_click, consumer_schemas_purchase, {NULL, NULL, NULL, NULL, NULL}},
    {consumer_schemas_action, NULL, {"event_time", "event_id", "value", "value", "action"}},
    {consumer_schemas_sample, NULL, {"tick", "kind", "lane", "features.numeric.x", "features.categorical.x"}},
};

enum { PAIRS = sizeof pairs / sizeof *pairs };

static struct consumer_plan *plan_of(size_t pair)
{
    struct base_error error;
    struct consumer_target targets[CONSUMER_ROLES];
    uint32_t count = 0;
    for (int role = 0; role < CONSUMER_ROLES; role++) {
        if (pairs[pair].paths[role]) {
            targets[count++] =
                (struct consumer_target){.role = (enum consumer_role)role, .path = pairs[pair].paths[role]};
        }
    }
    const char *text = pairs[pair].reader;
    struct consumer_schema *writer = consumer_schema_parse(base_span_string(pairs[pair].writer), &error);
    struct consumer_schema *reader = text ? consumer_schema_parse(base_span_string(text), &error) : NULL;
    struct consumer_plan *plan = consumer_plan_compile(writer, reader, targets, count, &error);
    consumer_schema_free(writer);
    consumer_schema_free(reader);
    return plan;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct consumer_plan *plans[PAIRS];
    static struct consumer_output *output;
    if (!output) {
        output = consumer_output_new((struct base_columns_layout){.categorical = 1, .numeric = 1});
    }
    if (size == 0) {
        return 0;
    }
    size_t pair = data[0] % PAIRS;
    if (!plans[pair]) {
        plans[pair] = plan_of(pair);
        if (!plans[pair] && pair != 4) { // a click is no purchase: 4 must not compile
            abort();
        }
    }
    struct base_error error;
    if (plans[pair] &&
        consumer_plan_run(plans[pair], base_span_make(data + 1, size - 1), output, &error) == 0) {
        consumer_output_columns(output);
    }
    return 0;
}
