// Ingest over a real broker: whatever the fetches look like, and with the broker killed on the way, the ticks
// and samples are those that the same records give from files.
//
//   kafka_source_ingest BOOTSTRAP KAFKA DIR DATA SCRATCH
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/random.h"
#include "consumer/container.h"
#include "consumer/files.h"
#include "consumer/ingest.h"
#include "consumer/kafka.h"
#include "consumer/schema.h"

enum { RANKS = 2, LANES = 4, IMPRESSIONS = 15000, PATIENCE_MS = 90000 };

static const char *const topics[RANKS] = {"impressions", "clicks"};
static const char *const schemas[RANKS] = {
    "{\"type\":\"record\",\"name\":\"I\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"string\"},{\"name\":\"time\",\"type\":\"long\"}]}",
    "{\"type\":\"record\",\"name\":\"C\",\"fields\":[{\"name\":\"id\",\"type\":\"string\"},"
    "{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"of\",\"type\":\"string\"}]}",
};
static struct base_error error;

#define CHECK(condition, text)                                                             \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            printf("FAIL kafka_source_ingest.c:%d: %s: %s\n", __LINE__, #condition, text); \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)

// ---- the records ----

typedef void put(void *context, uint32_t rank, uint32_t lane, struct base_span value);

// A click in three, up to 40 ms after its impression, a quarter of them before it in the topics' times.
static void records(put *to, void *context)
{
    struct base_buffer buffer = {0};
    uint64_t draws = 0;
    char id[24];
    for (int i = 0; i < IMPRESSIONS; i++) {
        uint32_t lane = (uint32_t)(base_random_bits(1, draws++) % LANES);
        int64_t time = i + (int64_t)(base_random_bits(1, draws++) % 20);
        int size = snprintf(id, sizeof id, "i%d", i);
        base_buffer_clear(&buffer);
        consumer_schema_put_bytes(&buffer, base_span_make(id, (size_t)size));
        consumer_schema_put_long(&buffer, time);
        to(context, 0, lane, base_buffer_span(&buffer));
        if (base_random_bits(1, draws++) % 3 == 0) {
            base_buffer_clear(&buffer);
            consumer_schema_put_bytes(&buffer, base_span_make(id + 1, (size_t)size - 1));
            consumer_schema_put_long(&buffer, time - 10 + (int64_t)(base_random_bits(1, draws++) % 40));
            consumer_schema_put_bytes(&buffer, base_span_make(id, (size_t)size));
            to(context, 1, lane, base_buffer_span(&buffer));
        }
    }
    base_buffer_free(&buffer);
}

static void put_kafka(void *context, uint32_t rank, uint32_t lane, struct base_span value)
{
    rd_kafka_t *producer = context;
    rd_kafka_resp_err_t code;
    do {
        code =
            rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topics[rank]), RD_KAFKA_V_PARTITION((int32_t)lane),
                              RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.size),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        rd_kafka_poll(producer, code ? 50 : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    CHECK(code == RD_KAFKA_RESP_ERR_NO_ERROR, rd_kafka_err2str(code));
}

static void put_file(void *context, uint32_t rank, uint32_t lane, struct base_span value)
{
    struct consumer_container *(*files)[LANES] = context;
    CHECK(consumer_container_append(files[rank][lane], value, &error) == 0, error.text);
}

static void fill_kafka(const char *bootstrap)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof text);
    rd_kafka_conf_set(conf, "enable.idempotence", "true", text, sizeof text);
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    CHECK(producer, text);
    records(put_kafka, producer);
    CHECK(rd_kafka_flush(producer, PATIENCE_MS) == 0, "flush");
    rd_kafka_destroy(producer);
}

static void fill_files(const char *root)
{
    struct consumer_container *files[RANKS][LANES];
    char path[512];
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        snprintf(path, sizeof path, "%s/%s", root, topics[rank]);
        CHECK(mkdir(path, 0755) == 0, path);
        for (uint32_t lane = 0; lane < LANES; lane++) {
            snprintf(path, sizeof path, "%s/%s/%u.avro", root, topics[rank], lane);
            files[rank][lane] =
                consumer_container_create(path, schemas[rank], lane % 2 ? "deflate" : "null", 4096, &error);
            CHECK(files[rank][lane], error.text);
        }
    }
    records(put_file, files);
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        for (uint32_t lane = 0; lane < LANES; lane++) {
            CHECK(consumer_container_close(files[rank][lane], &error) == 0, error.text);
        }
    }
}

// ---- ingest ----

struct outcome {
    struct base_hasher *hasher;
    uint64_t samples;
    int64_t last_tick;
};

static int take_tick(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                     struct base_error *failure)
{
    (void)failure;
    struct outcome *outcome = context;
    for (size_t i = 0; i < count; i++) {
        char line[160];
        int size = snprintf(line, sizeof line, "%lld %lld %u %llu %d %.*s\n", (long long)tick,
                            (long long)samples[i].due_time, samples[i].lane,
                            (unsigned long long)samples[i].sequence, samples[i].kind,
                            (int)samples[i].impression_id.size, (const char *)samples[i].impression_id.data);
        base_hasher_update(outcome->hasher, line, (size_t)size);
    }
    outcome->samples += count;
    outcome->last_tick = tick;
    return 0;
}

// Runs a source through ingest: to its end, or until everything up to `frontier` is handled. `crash`: a
// command to run when half of the records are read.
static struct outcome run(struct consumer_source *source, const char *directory, bool finish,
                          int64_t frontier, const char *crash, uint64_t *hash)
{
    const struct base_clock *clock = &base_clock_system;
    struct consumer_decoder *decoders[RANKS];
    struct consumer_ingest_config config = {
        .source = source,
        .topics = {topics[0], topics[1]},
        .directory = directory,
        .tick_ms = 50,
        .idle_timeout_ms = finish ? 0 : 1000,
        .read_ahead_ms = 500,
        .finish = finish,
        .last_tick = INT64_MAX,
        .lane = {.ranks = RANKS,
                 .action = {[1] = {.name = "click", .parent = 0, .wait = 15, .window = 30}},
                 .allowed_lateness = {10, 10},
                 .dedupe = {100, 100},
                 .orphan_timeout = 50,
                 .keep_negatives = 0.5,
                 .segment_bytes = 1 << 16},
    };
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        struct consumer_decoder_config decoder = {
            .topic = topics[rank],
            .rank = rank,
            .framing = CONSUMER_FRAMING_BARE,
            .schemas = &schemas[rank],
            .schema_count = 1,
            .event_time = "time",
            .event_id = rank ? "id" : NULL,
            .impression_id = rank ? "of" : "id",
        };
        decoders[rank] = consumer_decoder_new(&decoder, NULL, &error);
        CHECK(decoders[rank], error.text);
        config.decoders[rank] = decoders[rank];
    }
    struct consumer_ingest *ingest = consumer_ingest_new(&config, &error);
    CHECK(ingest, error.text);
    struct outcome outcome = {.hasher = base_hasher_new()};
    const struct consumer_ingest_sink sink = {.tick = take_tick, .context = &outcome};
    struct consumer_ingest_state state = {.frontier = CONSUMER_TIME_MIN};
    int64_t end = base_clock_monotonic_ns(clock) + PATIENCE_MS * INT64_C(1000000);
    while (finish ? !consumer_ingest_done(ingest) : state.frontier < frontier) {
        CHECK(base_clock_monotonic_ns(clock) < end, "patience");
        int status = consumer_ingest_step(ingest, 50, &sink, &error);
        CHECK(status == 0 || error.retriable, error.text);
        consumer_ingest_state(ingest, &state);
        if (crash && state.counts.read > IMPRESSIONS * 2 / 3) {
            CHECK(system(crash) == 0, crash);
            crash = NULL;
        }
    }
    CHECK(!crash, "the crash took place");
    CHECK(state.counts.dead == 0, "nothing is undecodable");
    *hash = base_hasher_digest(outcome.hasher);
    base_hasher_free(outcome.hasher);
    consumer_ingest_free(ingest);
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        consumer_decoder_free(decoders[rank]);
    }
    return outcome;
}

static void run_kafka(const char *bootstrap, const char *scratch, int way, const char *crash, bool finish,
                      const struct outcome *expected, uint64_t expected_hash)
{
    static const struct {
        const char *name, *value;
        uint32_t memory_mb;
    } ways[] = {{"fetch.wait.max.ms", "100", 64},
                {"fetch.message.max.bytes", "2000", 1},
                {"queued.min.messages", "10", 8}};
    struct consumer_kafka_config config = {
        .bootstrap = bootstrap,
        .ranks = RANKS,
        .topics = {topics[0], topics[1]},
        .property_names = {ways[way].name},
        .property_values = {ways[way].value},
        .properties = 1,
        .start = CONSUMER_OFFSET_EARLIEST,
        .bounded_now = finish,
        .memory_mb = ways[way].memory_mb,
        .timeout_ms = 10000,
    };
    char directory[512];
    static int runs;
    snprintf(directory, sizeof directory, "%s/lanes-kafka-%d", scratch, runs++);
    struct consumer_source *source = consumer_kafka_open(&config, &error);
    CHECK(source, error.text);
    uint64_t hash;
    int64_t begin = base_clock_monotonic_ns(&base_clock_system);
    // Without an end all partitions become idle and time goes on; the last thing due is an orphan's expiry.
    struct outcome outcome = run(source, directory, finish, IMPRESSIONS + 200, crash, &hash);
    int64_t took_ms = (base_clock_monotonic_ns(&base_clock_system) - begin) / 1000000;
    source->operations->close(source);
    CHECK(outcome.samples == expected->samples, "as many samples as from files");
    CHECK(hash == expected_hash, "the same samples as from files");
    printf("  %s=%s%s%s: the same %llu samples, %lld ms\n", ways[way].name, ways[way].value,
           finish ? "" : ", without an end", crash ? ", broker killed on the way" : "",
           (unsigned long long)outcome.samples, (long long)took_ms);
}

int main(int count, char **arguments)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count != 6) {
        fprintf(stderr, "usage: kafka_source_ingest BOOTSTRAP KAFKA DIR DATA SCRATCH\n");
        return 2;
    }
    const char *scratch = arguments[5];
    char crash[2048], directory[512];
    snprintf(crash, sizeof crash,
             "('%s' kill9 '%s' --data '%s' && '%s' start '%s' --data '%s') >/dev/null 2>&1", arguments[2],
             arguments[3], arguments[4], arguments[2], arguments[3], arguments[4]);
    fill_files(scratch);
    fill_kafka(arguments[1]);
    struct consumer_files_config files = {
        .path = scratch, .ranks = RANKS, .topics = {topics[0], topics[1]}, .fetch = 100};
    struct consumer_source *source = consumer_files_open(&files, &error);
    CHECK(source, error.text);
    snprintf(directory, sizeof directory, "%s/lanes-files", scratch);
    uint64_t hash;
    struct outcome expected = run(source, directory, true, 0, NULL, &hash);
    source->operations->close(source);
    CHECK(expected.samples > IMPRESSIONS / 2, "samples");
    printf("  files: %llu samples\n", (unsigned long long)expected.samples);
    for (int way = 0; way < 3; way++) {
        run_kafka(arguments[1], scratch, way, NULL, true, &expected, hash);
    }
    run_kafka(arguments[1], scratch, 1, crash, true, &expected, hash);
    run_kafka(arguments[1], scratch, 0, NULL, false, &expected, hash);
    return 0;
}
