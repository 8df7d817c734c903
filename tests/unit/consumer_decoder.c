// The decoder: from messages in each framing to events, and every way of being dead.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "consumer/decoder.h"
#include "consumer/schema.h"
#include "consumer/schemas.h"

static struct base_error error;

static void put_text(struct base_buffer *buffer, const char *text)
{
    consumer_schema_put_bytes(buffer, base_span_string(text));
}

static void put_double(struct base_buffer *buffer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    base_buffer_u64(buffer, bits);
}

// An impression of the default schema.
static void put_impression(struct base_buffer *buffer, const char *id, int64_t time)
{
    put_text(buffer, id);
    consumer_schema_put_long(buffer, time);
    put_text(buffer, "user");
    put_text(buffer, "item");
    consumer_schema_put_long(buffer, 0); // request_id
    consumer_schema_put_long(buffer, 1); // position
    consumer_schema_put_long(buffer, 3);
    consumer_schema_put_long(buffer, 1);
    put_text(buffer, "brand");
    consumer_schema_put_long(buffer, 2);
    put_text(buffer, "acme");
    put_text(buffer, "apex");
    consumer_schema_put_long(buffer, 0);
    consumer_schema_put_long(buffer, 0);
    consumer_schema_put_long(buffer, 1);
    put_text(buffer, "price");
    put_double(buffer, 9.5);
    consumer_schema_put_long(buffer, 0);
}

// A click of the default schema; NULL is null.
static void put_click(struct base_buffer *buffer, const char *event_id, int64_t time, const char *user,
                      const double *value)
{
    consumer_schema_put_long(buffer, event_id != NULL);
    if (event_id) {
        put_text(buffer, event_id);
    }
    consumer_schema_put_long(buffer, time);
    consumer_schema_put_long(buffer, 1);
    put_text(buffer, "i1");
    put_text(buffer, user);
    put_text(buffer, "item");
    consumer_schema_put_long(buffer, value != NULL);
    if (value) {
        put_double(buffer, *value);
    }
}

static const struct consumer_column categorical[] = {{"brand", "categorical.brand"}, {"user", "user_id"}};
static const struct consumer_column numeric[] = {{"price", "numeric.price"}, {"position", "position"}};

static struct consumer_decoder_config impression_config(const char *const *schemas, uint32_t count)
{
    return (struct consumer_decoder_config){
        .topic = "impressions",
        .framing = CONSUMER_FRAMING_BARE,
        .schemas = schemas,
        .schema_count = count,
        .event_time = "event_time",
        .impression_id = "impression_id",
        .categorical = categorical,
        .numeric = numeric,
        .layout = {.categorical = 2, .numeric = 2},
    };
}

static struct consumer_decoder_config click_config(const char *const *schemas, uint32_t count)
{
    return (struct consumer_decoder_config){
        .topic = "clicks",
        .rank = 1,
        .framing = CONSUMER_FRAMING_BARE,
        .schemas = schemas,
        .schema_count = count,
        .event_time = "event_time",
        .event_id = "event_id",
        .impression_id = "impression_id",
        .value = "value",
        .touch = {"user_id", "item_id"},
        .touch_fields = 2,
    };
}

static struct consumer_decoder *decoder_of(struct consumer_decoder_config config)
{
    struct consumer_decoder *decoder = consumer_decoder_new(&config, NULL, &error);
    cr_assert(decoder, "%s", error.text);
    return decoder;
}

static struct consumer_message message_of(const struct base_buffer *value)
{
    return (struct consumer_message){
        .lane = 3, .offset = 77, .timestamp = 1234, .value = base_buffer_span(value)};
}

Test(consumer_decoder, an_impression)
{
    const char *schemas[] = {consumer_schemas_impression};
    struct consumer_decoder *decoder = decoder_of(impression_config(schemas, 1));
    struct base_buffer value = {0};
    put_impression(&value, "i1", -5);
    struct consumer_message message = message_of(&value);
    struct consumer_event event;
    cr_assert_eq(consumer_decoder_decode(decoder, NULL, &message, &event, &error), CONSUMER_DECODE_EVENT,
                 "%s", error.text);
    cr_assert(event.rank == 0 && event.lane == 3 && event.offset == 77 && event.event_time == -5);
    cr_assert(base_span_equal(event.impression_id, base_span_string("i1")));
    cr_assert(base_span_equal(event.event_id, base_span_string("i1")));
    cr_assert(!event.touch.data && isnan(event.value));
    struct base_columns columns;
    struct base_columns_layout layout = {.categorical = 2, .numeric = 2};
    cr_assert(base_columns_view(event.columns, layout, &columns));
    cr_assert(columns.count[0] == 2 && columns.count[1] == 1);
    cr_assert_eq(columns.keys[1],
                 base_hash_slot_bytes(base_hash_slot_salt("brand"), base_span_string("apex")));
    cr_assert_eq(columns.keys[2],
                 base_hash_slot_bytes(base_hash_slot_salt("user"), base_span_string("user")));
    cr_assert(columns.numeric[0] == 9.5 && columns.numeric[1] == 3.0);
    cr_assert_eq(consumer_decoder_cut_keys(decoder), 0);
    consumer_decoder_free(decoder);
    base_buffer_free(&value);
}

Test(consumer_decoder, a_click_with_touch_and_value)
{
    const char *schemas[] = {consumer_schemas_click};
    struct consumer_decoder *decoder = decoder_of(click_config(schemas, 1));
    struct base_buffer value = {0};
    double worth = 12.25;
    put_click(&value, "c1", 8, "ann", &worth);
    struct consumer_message message = message_of(&value);
    struct consumer_event event;
    cr_assert_eq(consumer_decoder_decode(decoder, NULL, &message, &event, &error), CONSUMER_DECODE_EVENT);
    cr_assert(base_span_equal(event.event_id, base_span_string("c1")));
    cr_assert(base_span_equal(event.impression_id, base_span_string("i1")));
    cr_assert(base_span_equal(event.touch, base_span_make("\3\0\0\0ann\4\0\0\0item", 15)));
    cr_assert_eq(event.value, 12.25);
    cr_assert_null(event.columns.data);
    base_buffer_clear(&value);
    put_click(&value, NULL, 8, "", NULL);
    message = message_of(&value);
    cr_assert_eq(consumer_decoder_decode(decoder, NULL, &message, &event, &error), CONSUMER_DECODE_EVENT);
    cr_assert(!event.event_id.data && isnan(event.value));
    cr_assert(base_span_equal(event.touch, base_span_make("\0\0\0\0\4\0\0\0item", 12)),
              "the empty string is a value");
    consumer_decoder_free(decoder);
    base_buffer_free(&value);
}

// Decodes bytes written by `schema` through `config`; the answer.
static enum consumer_decode decode_bare(const char *schema, struct consumer_decoder_config config,
                                        const void *bytes, size_t size, int64_t timestamp,
                                        struct consumer_event *event)
{
    const char *schemas[] = {NULL, schema};
    config.schemas = schemas;
    config.schema_count = 2;
    struct consumer_decoder *decoder = decoder_of(config);
    struct consumer_message message = {.timestamp = timestamp, .value = base_span_make(bytes, size)};
    enum consumer_decode answer = consumer_decoder_decode(decoder, NULL, &message, event, &error);
    consumer_decoder_free(decoder);
    return answer;
}

Test(consumer_decoder, what_is_dead)
{
    const char *nullable =
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"id\",\"type\":[\"null\","
        "\"string\"]},{\"name\":\"t\",\"type\":[\"null\",\"long\"]}]}";
    struct consumer_decoder_config config = {
        .topic = "t", .framing = CONSUMER_FRAMING_BARE, .event_time = "t", .impression_id = "id"};
    struct consumer_event event = {.lane = 99};
    const struct {
        const char *bytes;
        size_t size;
        const char *reason;
    } cases[] = {
        {NULL, 0, "tombstone"},
        {"\x00\x02\x02", 3, "no impression_id"},
        {"\x02\x02x\x00", 4, "no event time"},
        {"", 0, "ends within"},
        {"\x02\x02x\x02\x02\x00", 6, "bytes are left"},
        {"\x02\x02x\x02\x82\x80\x80\x80\x80\x80\x80\x20", 12, "out of bounds"}, // 2^53 + 1
        {"\x02\x02x\x02\x81\x80\x80\x80\x80\x80\x80\x20", 12, "out of bounds"}, // -2^53 - 1
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum consumer_decode answer = decode_bare(nullable, config, cases[i].bytes, cases[i].size, 1, &event);
        cr_assert_eq(answer, CONSUMER_DECODE_DEAD, "%zu", i);
        cr_assert(strstr(error.text, cases[i].reason), "%zu: %s", i, error.text);
        cr_assert_eq(event.lane, 99, "untouched");
    }
    cr_assert_eq(
        decode_bare(nullable, config, "\x02\x02x\x02\x80\x80\x80\x80\x80\x80\x80\x20", 12, 1, &event),
        CONSUMER_DECODE_EVENT);
    cr_assert_eq(event.event_time, CONSUMER_TIME_BOUND);
    config.time_from_kafka = true;
    cr_assert_eq(decode_bare(nullable, config, "\x02\x02x\x00", 4, 55, &event), CONSUMER_DECODE_EVENT);
    cr_assert_eq(event.event_time, 55);
    cr_assert_eq(decode_bare(nullable, config, "\x02\x02x\x00", 4, -1, &event), CONSUMER_DECODE_DEAD);
}

Test(consumer_decoder, ids_have_a_bound)
{
    const char *schemas[] = {consumer_schemas_click};
    struct consumer_decoder *decoder = decoder_of(click_config(schemas, 1));
    char id[CONSUMER_ID_MAX + 2];
    for (size_t size = CONSUMER_ID_MAX - 20; size <= CONSUMER_ID_MAX + 1; size++) {
        memset(id, 'x', size);
        id[size] = '\0';
        struct base_buffer value = {0};
        struct consumer_event event;
        put_click(&value, id, 1, "u", NULL);
        struct consumer_message message = message_of(&value);
        cr_assert_eq(consumer_decoder_decode(decoder, NULL, &message, &event, &error),
                     size <= CONSUMER_ID_MAX ? CONSUMER_DECODE_EVENT : CONSUMER_DECODE_DEAD);
        // The touch key is two lengths and "item" longer.
        base_buffer_clear(&value);
        put_click(&value, "c", 1, id, NULL);
        message = message_of(&value);
        cr_assert_eq(consumer_decoder_decode(decoder, NULL, &message, &event, &error),
                     size + 12 <= CONSUMER_ID_MAX ? CONSUMER_DECODE_EVENT : CONSUMER_DECODE_DEAD, "%zu",
                     size);
        base_buffer_free(&value);
    }
    consumer_decoder_free(decoder);
}

// Decodes an impression {id, time, weight, propensity} with both fields configured.
static enum consumer_decode decode_weight(bool weighted, double weight, bool shown, double propensity,
                                          struct consumer_event *event)
{
    const char *schemas[] = {
        "{\"type\":\"record\",\"name\":\"I\",\"fields\":[{\"name\":\"id\",\"type\":\"string\"},"
        "{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"w\",\"type\":[\"null\",\"double\"]},"
        "{\"name\":\"numeric\",\"type\":{\"type\":\"map\",\"values\":\"double\"}}]}"};
    struct consumer_decoder_config config = impression_config(schemas, 1);
    config.event_time = "time";
    config.impression_id = "id";
    config.layout = (struct base_columns_layout){0};
    config.weight = "w";
    config.propensity = "numeric.p";
    config.propensity_min = 0.25;
    struct consumer_decoder *decoder = decoder_of(config);
    struct base_buffer value = {0};
    put_text(&value, "i1");
    consumer_schema_put_long(&value, 5);
    consumer_schema_put_long(&value, weighted);
    if (weighted) {
        put_double(&value, weight);
    }
    if (shown) {
        consumer_schema_put_long(&value, 1);
        put_text(&value, "p");
        put_double(&value, propensity);
    }
    consumer_schema_put_long(&value, 0);
    struct consumer_message message = message_of(&value);
    enum consumer_decode answer = consumer_decoder_decode(decoder, NULL, &message, event, &error);
    consumer_decoder_free(decoder);
    base_buffer_free(&value);
    return answer;
}

Test(consumer_decoder, an_impressions_weight_over_its_propensity)
{
    struct consumer_event event;
    cr_assert_eq(decode_weight(false, 0, false, 0, &event), CONSUMER_DECODE_EVENT, "%s", error.text);
    cr_assert(!event.weighted);
    static const struct {
        bool weighted, shown;
        double weight, propensity, expected;
    } cases[] = {
        {true, false, 0, 0, 0},        {true, false, 1, 0, 1},      {true, false, 1e6, 0, 1e6},
        {false, true, 0, 0.5, 2},      {true, true, 3, 0.75, 4},    {true, true, 3, 1, 3},
        {false, true, 0, 0.25, 4},     {false, true, 0, 1e-300, 4}, // the least counts
        {true, true, 1, 0.3, 1 / 0.3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(
            decode_weight(cases[i].weighted, cases[i].weight, cases[i].shown, cases[i].propensity, &event),
            CONSUMER_DECODE_EVENT, "%s", error.text);
        cr_assert(event.weighted && event.weight == (float)cases[i].expected, "case %zu: %g", i,
                  (double)event.weight);
        cr_assert(isnan(event.value));
    }
}

Test(consumer_decoder, a_bad_weight_or_propensity_is_dead)
{
    static const double weights[] = {-1e-300, -1, 1000001, INFINITY, -INFINITY, NAN},
                        propensities[] = {0, -0.5, 1.0000001, INFINITY, NAN};
    struct consumer_event event;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        cr_assert_eq(decode_weight(true, weights[i], false, 0, &event), CONSUMER_DECODE_DEAD);
        char text[64];
        snprintf(text, sizeof text, "the weight (w) is %g, not in [0, 1e+06]", weights[i]);
        cr_assert_str_eq(error.text, text);
    }
    for (size_t i = 0; i < sizeof propensities / sizeof *propensities; i++) {
        cr_assert_eq(decode_weight(i % 2, 1, true, propensities[i], &event), CONSUMER_DECODE_DEAD);
        char text[64];
        snprintf(text, sizeof text, "the propensity (numeric.p) is %g, not in (0, 1]", propensities[i]);
        cr_assert_str_eq(error.text, text);
    }
}

Test(consumer_decoder, a_weight_that_no_schema_can_have_is_refused_at_the_start)
{
    const char *schemas[] = {consumer_schemas_impression};
    struct consumer_decoder_config config = impression_config(schemas, 1);
    config.weight = "user_id";
    cr_assert(!consumer_decoder_new(&config, NULL, &error));
    cr_assert(strstr(error.text, "user_id"), "%s", error.text);
    config.weight = NULL;
    config.propensity = "numeric.p";
    static const double least[] = {0, -1, 1.5, NAN};
    for (size_t i = 0; i < sizeof least / sizeof *least; i++) {
        config.propensity_min = least[i];
        cr_assert(!consumer_decoder_new(&config, NULL, &error));
        cr_assert(strstr(error.text, "propensity"), "%s", error.text);
    }
}

Test(consumer_decoder, single_object_finds_the_writer_by_fingerprint)
{
    // An older click: no value, another name for user_id.
    const char *old =
        "{\"type\":\"record\",\"name\":\"Click\",\"namespace\":\"freshet\",\"fields\":[{\"name\":"
        "\"event_time\",\"type\":\"long\"},{\"name\":\"user_id\",\"type\":\"string\"},{\"name\":"
        "\"item_id\",\"type\":\"string\"}]}";
    const char *schemas[] = {consumer_schemas_click, old};
    struct consumer_decoder_config config = click_config(schemas, 2);
    config.framing = CONSUMER_FRAMING_SINGLE_OBJECT;
    struct consumer_decoder *decoder = decoder_of(config);
    for (int i = 0; i < 4; i++) {
        struct consumer_schema *schema = consumer_schema_parse(base_span_string(schemas[i % 2]), &error);
        struct base_buffer value = {0};
        struct consumer_event event;
        base_buffer_append(&value, "\xc3\x01", 2);
        base_buffer_u64(&value, consumer_schema_fingerprint(schema));
        if (i % 2 == 0) {
            put_click(&value, "c1", 8, "ann", NULL);
        } else {
            consumer_schema_put_long(&value, 9);
            put_text(&value, "bob");
            put_text(&value, "item");
        }
        struct consumer_message message = message_of(&value);
        cr_assert_eq(consumer_decoder_decode(decoder, NULL, &message, &event, &error), CONSUMER_DECODE_EVENT,
                     "%s", error.text);
        cr_assert_eq(event.event_time, 8 + i % 2);
        cr_assert_eq(event.event_id.data == NULL, i % 2 == 1);
        value.data[5] ^= 1;
        cr_assert_eq(consumer_decoder_decode(decoder, NULL, &message, &event, &error), CONSUMER_DECODE_DEAD);
        cr_assert(strstr(error.text, "fingerprint"), "%s", error.text);
        value.data[0] = 0;
        cr_assert_eq(consumer_decoder_decode(decoder, NULL, &message, &event, &error), CONSUMER_DECODE_DEAD);
        consumer_schema_free(schema);
        base_buffer_free(&value);
    }
    consumer_decoder_free(decoder);
}

// A source that only knows schemas.
static const char *source_schema(struct consumer_source *source, uint32_t schema)
{
    static const char *const texts[] = {
        NULL,
        "{\"type\":\"record\",\"name\":\"Click\",\"fields\":[{\"name\":\"event_time\",\"type\":\"int\"}]}",
        "nonsense"};
    (void)source;
    if (schema == 0) {
        return consumer_schemas_click;
    }
    // Above: many schemas, for the cache.
    return schema < 3 ? texts[schema] : consumer_schemas_click;
}

Test(consumer_decoder, a_files_own_schemas)
{
    const struct consumer_source_operations operations = {.schema = source_schema};
    struct consumer_source source = {.operations = &operations, .ranks = 2, .lanes = 4};
    struct consumer_decoder_config config = click_config(NULL, 0);
    struct consumer_decoder *decoder = decoder_of(config);
    struct base_buffer value = {0};
    struct consumer_event event;
    put_click(&value, "c1", 8, "ann", NULL);
    struct consumer_message message = message_of(&value);
    message.bare = true;
    cr_assert_eq(consumer_decoder_decode(decoder, &source, &message, &event, &error), CONSUMER_DECODE_EVENT);
    for (int i = 0; i < 2; i++) { // the second time from the cache
        message.schema = 1;
        cr_assert_eq(consumer_decoder_decode(decoder, &source, &message, &event, &error),
                     CONSUMER_DECODE_DEAD);
        cr_assert(strstr(error.text, "not in the schema"), "%s", error.text);
        message.schema = 2;
        cr_assert_eq(consumer_decoder_decode(decoder, &source, &message, &event, &error),
                     CONSUMER_DECODE_DEAD);
        cr_assert(strstr(error.text, "not JSON"), "%s", error.text);
    }
    for (uint32_t schema = 3; schema < 1000; schema++) { // more than the cache holds
        message.schema = schema;
        cr_assert_eq(consumer_decoder_decode(decoder, &source, &message, &event, &error),
                     CONSUMER_DECODE_EVENT);
    }
    message.schema = 1;
    cr_assert_eq(consumer_decoder_decode(decoder, &source, &message, &event, &error), CONSUMER_DECODE_DEAD);
    message.bare = false;
    cr_assert_eq(consumer_decoder_decode(decoder, NULL, &message, &event, &error), CONSUMER_DECODE_DEAD,
                 "no schema is configured");
    consumer_decoder_free(decoder);
    base_buffer_free(&value);
}

Test(consumer_decoder, what_is_refused_at_the_start)
{
    const char *schemas[] = {consumer_schemas_impression};
    const char *broken[] = {consumer_schemas_impression, "{"};
    struct consumer_decoder_config config = impression_config(schemas, 1);
    config.event_time = "time";
    cr_assert_null(consumer_decoder_new(&config, NULL, &error));
    cr_assert_str_eq(error.text, "topic impressions: path \"time\": not in the schema of freshet.Impression");
    config.event_time = NULL;
    cr_assert_null(consumer_decoder_new(&config, NULL, &error));
    config = impression_config(schemas, 1);
    config.impression_id = NULL;
    cr_assert_null(consumer_decoder_new(&config, NULL, &error));
    config = impression_config(broken, 2);
    cr_assert_null(consumer_decoder_new(&config, NULL, &error));
    cr_assert(strstr(error.text, "schema 1 of the configuration"), "%s", error.text);
    config = impression_config(schemas, 1);
    config.framing = CONSUMER_FRAMING_CONFLUENT;
    cr_assert_null(consumer_decoder_new(&config, NULL, &error));
    cr_assert(strstr(error.text, "needs a schema registry"), "%s", error.text);
    config.layout.numeric = BASE_NUMERIC_MAX + 1;
    cr_assert_null(consumer_decoder_new(&config, NULL, &error));
    consumer_decoder_free(NULL);
}
