// The benchmark of the decoder: impressions of the default schema with 24 categorical and 4 numeric columns,
// and clicks, bare, from memory to events, on one core. The figure to hold it against is Avro C's generic
// reading of the same bytes in the same run, which only builds its values and does neither hash nor pick.
#include <avro.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "consumer/decoder.h"
#include "consumer/schema.h"
#include "consumer/schemas.h"
#include "daemon/bench.h"
#include "daemon/bench_machine.h"

enum {
    DECODE_RECORDS = 4096, // different ones
    DECODE_CATEGORICAL = 24,
    DECODE_NUMERIC = 4,
    DECODE_TOUCH_FIELDS = 2,
};

static const double DECODE_SECONDS = .4; // how long each is measured

struct decode_bench {
    const char *name;
    const char *schema;
    struct consumer_decoder_config config;
    struct base_buffer bytes;
    size_t begin[DECODE_RECORDS + 1];
    uint64_t key; // of its random numbers
    uint64_t drawn;
};

static uint64_t decode_draw(struct decode_bench *bench, uint64_t below)
{
    return base_random_bits(bench->key, bench->drawn++) % below;
}

static void decode_text(struct decode_bench *bench, const char *format, uint64_t number)
{
    char text[64];
    snprintf(text, sizeof text, format, (unsigned long long)number);
    consumer_schema_put_bytes(&bench->bytes, base_span_string(text));
}

// One to three values a slot, as recommenders have them.
static void decode_put_impression(struct decode_bench *bench)
{
    struct base_buffer *bytes = &bench->bytes;
    decode_text(bench, "imp-%016llx", decode_draw(bench, UINT64_MAX));
    consumer_schema_put_long(bytes, INT64_C(1700000000000) + (int64_t)decode_draw(bench, 1000000));
    decode_text(bench, "user%llu", decode_draw(bench, 10000000));
    decode_text(bench, "item%llu", decode_draw(bench, 1000000));
    consumer_schema_put_long(bytes, 0); // request_id
    consumer_schema_put_long(bytes, 1);
    consumer_schema_put_long(bytes, (int64_t)decode_draw(bench, 50));
    consumer_schema_put_long(bytes, DECODE_CATEGORICAL);
    for (uint64_t slot = 0; slot < DECODE_CATEGORICAL; slot++) {
        int64_t values = slot % 6 == 5 ? 1 + (int64_t)decode_draw(bench, 3) : 1;
        decode_text(bench, "slot_%llu", slot);
        consumer_schema_put_long(bytes, values);
        for (int64_t i = 0; i < values; i++) {
            decode_text(bench, "%llu", decode_draw(bench, 100000000));
        }
        consumer_schema_put_long(bytes, 0);
    }
    consumer_schema_put_long(bytes, 0);
    consumer_schema_put_long(bytes, DECODE_NUMERIC);
    for (uint64_t column = 0; column < DECODE_NUMERIC; column++) {
        decode_text(bench, "number_%llu", column);
        base_buffer_u64(bytes, UINT64_C(0x4023000000000000) + decode_draw(bench, 1 << 20)); // about 9.5
    }
    consumer_schema_put_long(bytes, 0);
}

static void decode_put_click(struct decode_bench *bench)
{
    struct base_buffer *bytes = &bench->bytes;
    consumer_schema_put_long(bytes, 1);
    decode_text(bench, "clk-%016llx", decode_draw(bench, UINT64_MAX));
    consumer_schema_put_long(bytes, INT64_C(1700000000000) + (int64_t)decode_draw(bench, 1000000));
    consumer_schema_put_long(bytes, 1);
    decode_text(bench, "imp-%016llx", decode_draw(bench, UINT64_MAX));
    decode_text(bench, "user%llu", decode_draw(bench, 10000000));
    decode_text(bench, "item%llu", decode_draw(bench, 1000000));
    consumer_schema_put_long(bytes, 0); // value
}

static void decode_fill(struct decode_bench *bench, void (*put)(struct decode_bench *bench))
{
    bench->key = base_random_key(1, bench->name);
    for (size_t i = 0; i < DECODE_RECORDS; i++) {
        bench->begin[i] = bench->bytes.size;
        put(bench);
    }
    bench->begin[DECODE_RECORDS] = bench->bytes.size;
}

static struct base_span decode_record(const struct decode_bench *bench, size_t record)
{
    size_t begin = bench->begin[record];
    return base_span_make(bench->bytes.data + begin, bench->begin[record + 1] - begin);
}

static double decode_rate(uint64_t records, double begin)
{
    return (double)records / (daemon_bench_cpu_seconds() - begin);
}

// Records a second through the decoder; negative: it failed.
static double decode_ours(const struct decode_bench *bench)
{
    struct base_error error;
    struct consumer_event event;
    struct consumer_decoder *decoder = consumer_decoder_new(&bench->config, NULL, &error);
    if (!decoder) {
        fprintf(stderr, "freshet bench: %s\n", error.text);
        return -1;
    }
    uint64_t records = 0;
    double start = daemon_bench_cpu_seconds();
    double rate = -1;
    do {
        for (size_t i = 0; i < DECODE_RECORDS; i++) {
            struct consumer_message message = {.value = decode_record(bench, i)};
            if (consumer_decoder_decode(decoder, NULL, &message, &event, &error) != CONSUMER_DECODE_EVENT) {
                fprintf(stderr, "freshet bench: %s\n", error.text);
                goto out;
            }
        }
        records += DECODE_RECORDS;
    } while (daemon_bench_cpu_seconds() - start < DECODE_SECONDS);
    rate = decode_rate(records, start);
out:
    consumer_decoder_free(decoder);
    return rate;
}

// Records a second read by Avro C into a generic value that is used again.
static double decode_avro(const struct decode_bench *bench)
{
    avro_schema_t schema;
    avro_value_t value;
    if (avro_schema_from_json_length(bench->schema, strlen(bench->schema), &schema)) {
        fprintf(stderr, "freshet bench: %s\n", avro_strerror());
        return -1;
    }
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_generic_value_new(class, &value);
    avro_reader_t reader = avro_reader_memory("", 0);
    uint64_t records = 0;
    double start = daemon_bench_cpu_seconds();
    double rate = -1;
    do {
        for (size_t i = 0; i < DECODE_RECORDS; i++) {
            struct base_span record = decode_record(bench, i);
            avro_reader_memory_set_source(reader, (const char *)record.data, (int64_t)record.size);
            avro_value_reset(&value);
            if (avro_value_read(reader, &value)) {
                fprintf(stderr, "freshet bench: %s\n", avro_strerror());
                goto out;
            }
        }
        records += DECODE_RECORDS;
    } while (daemon_bench_cpu_seconds() - start < DECODE_SECONDS);
    rate = decode_rate(records, start);
out:
    avro_reader_free(reader);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    return rate;
}

static int decode_report(struct decode_bench *bench, FILE *out)
{
    double ours = decode_ours(bench);
    double avro = decode_avro(bench);
    double size = (double)bench->bytes.size / DECODE_RECORDS;
    base_buffer_free(&bench->bytes);
    if (ours < 0 || avro < 0) {
        return 1;
    }
    fprintf(out,
            "{\"bench\":\"decode\",\"record\":\"%s\",\"bytes\":%.0f,\"records_per_cpu_second\":%.0f,"
            "\"megabytes_per_cpu_second\":%.0f,\"limit\":\"Avro C generic reading\","
            "\"limit_records_per_cpu_second\":%.0f,\"ratio\":%.2f",
            bench->name, size, ours, ours * size / 1e6, avro, ours / avro);
    daemon_bench_end(out, 1);
    return 0;
}

static int decode_impressions(FILE *out)
{
    struct consumer_column categorical[DECODE_CATEGORICAL], numeric[DECODE_NUMERIC];
    char paths[DECODE_CATEGORICAL + DECODE_NUMERIC][32];
    for (int i = 0; i < DECODE_CATEGORICAL; i++) {
        snprintf(paths[i], sizeof paths[i], "categorical.slot_%d", i);
        categorical[i] = (struct consumer_column){paths[i] + strlen("categorical."), paths[i]};
    }
    for (int i = 0; i < DECODE_NUMERIC; i++) {
        char *path = paths[DECODE_CATEGORICAL + i];
        snprintf(path, sizeof paths[0], "numeric.number_%d", i);
        numeric[i] = (struct consumer_column){path + strlen("numeric."), path};
    }
    const char *schemas[] = {consumer_schemas_impression};
    struct decode_bench bench = {.name = "impression", .schema = schemas[0]};
    bench.config = (struct consumer_decoder_config){
        .topic = "impressions",
        .framing = CONSUMER_FRAMING_BARE,
        .schemas = schemas,
        .schema_count = 1,
        .event_time = "event_time",
        .impression_id = "impression_id",
        .categorical = categorical,
        .numeric = numeric,
        .layout = {.categorical = DECODE_CATEGORICAL, .numeric = DECODE_NUMERIC},
    };
    decode_fill(&bench, decode_put_impression);
    return decode_report(&bench, out);
}

static int decode_clicks(FILE *out)
{
    const char *schemas[] = {consumer_schemas_click};
    struct decode_bench bench = {.name = "click", .schema = schemas[0]};
    bench.config = (struct consumer_decoder_config){
        .topic = "clicks",
        .rank = 1,
        .framing = CONSUMER_FRAMING_BARE,
        .schemas = schemas,
        .schema_count = 1,
        .event_time = "event_time",
        .event_id = "event_id",
        .impression_id = "impression_id",
        .value = "value",
        .touch = {"user_id", "item_id"},
        .touch_fields = DECODE_TOUCH_FIELDS,
    };
    decode_fill(&bench, decode_put_click);
    return decode_report(&bench, out);
}

int daemon_bench_decode(FILE *out)
{
    int failed = decode_impressions(out);
    return decode_clicks(out) || failed;
}
