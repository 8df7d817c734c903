// The benchmark of the consumer on one thread: impressions, clicks and purchases from Avro files to joined
// samples, with all that decoding and the lanes do. What it is held against is the same files read and
// decoded without lanes, in the same run.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "consumer/ingest.h"
#include "daemon/bench.h"
#include "daemon/bench_machine.h"
#include "daemon/bench_stream.h"
#include "daemon/scratch.h"

enum {
    CONSUMER_IMPRESSIONS = 500000,
    CONSUMER_RATE = 1000, // impressions a second of event time
    CONSUMER_PATH_MAX = DAEMON_SCRATCH_MAX + 64,
};

struct consumer_bench {
    struct daemon_bench_stream stream;
    char directory[DAEMON_SCRATCH_MAX];
    char lanes_dir[CONSUMER_PATH_MAX];
    struct daemon_config *config;
    uint64_t records; // in the files
    // Of the run that is under way.
    struct consumer_source *source;
    struct consumer_decoder *decoders[DAEMON_MARKET_RANKS];
    uint64_t samples;
    uint64_t looked; // keeps the sink from being optimised away
};

struct consumer_times {
    double seconds, cpu_seconds;
};

static int consumer_generate(struct consumer_bench *bench, struct base_error *error)
{
    const struct daemon_market_config *market = &bench->stream.market;
    return daemon_bench_stream_produce(
        &bench->stream,
        daemon_produce_files_new(bench->directory, bench->stream.topics, market->lanes, market->seed, error),
        &bench->records, error);
}

static void consumer_close(struct consumer_bench *bench)
{
    for (uint32_t rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        consumer_decoder_free(bench->decoders[rank]);
        bench->decoders[rank] = NULL;
    }
    if (bench->source) {
        bench->source->operations->close(bench->source);
        bench->source = NULL;
    }
}

static int consumer_open(struct consumer_bench *bench, struct base_error *error)
{
    struct consumer_files_config files;
    daemon_config_files(bench->config, &files);
    bench->source = consumer_files_open(&files, error);
    if (!bench->source) {
        return -1;
    }
    for (uint32_t rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        struct consumer_decoder_config decoder;
        daemon_config_decoder(bench->config, rank, &decoder);
        bench->decoders[rank] = consumer_decoder_new(&decoder, NULL, error);
        if (!bench->decoders[rank]) {
            return -1;
        }
    }
    return 0;
}

// ---- Decoding alone --------------------------------------------------------------------------------------

static int consumer_decode_partition(struct consumer_bench *bench, uint32_t rank, uint32_t lane,
                                     uint64_t *decoded, struct base_error *error)
{
    static struct consumer_message messages[CONSUMER_INGEST_BATCH];
    struct consumer_event event;
    int count;
    while ((count = bench->source->operations->poll(bench->source, rank, lane, 0, messages,
                                                    CONSUMER_INGEST_BATCH, error)) > 0) {
        for (int i = 0; i < count; i++) {
            if (consumer_decoder_decode(bench->decoders[rank], bench->source, &messages[i], &event, error) !=
                CONSUMER_DECODE_EVENT) {
                return -1;
            }
            bench->looked += event.columns.size + event.impression_id.size;
        }
        *decoded += (uint64_t)count;
    }
    return count;
}

static int consumer_decode(struct consumer_bench *bench, struct consumer_times *times,
                           struct base_error *error)
{
    uint64_t decoded = 0;
    int result = consumer_open(bench, error);
    double begin = daemon_bench_seconds(), cpu_begin = daemon_bench_cpu_seconds();
    for (uint32_t rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        for (uint32_t lane = 0; result == 0 && lane < bench->stream.market.lanes; lane++) {
            result = consumer_decode_partition(bench, rank, lane, &decoded, error);
        }
    }
    *times = (struct consumer_times){daemon_bench_seconds() - begin, daemon_bench_cpu_seconds() - cpu_begin};
    consumer_close(bench);
    if (result == 0 && decoded != bench->records) {
        result = base_error_set(error, BASE_EFORMAT, "%" PRIu64 " records of %" PRIu64 " were decoded",
                                decoded, bench->records);
    }
    return result;
}

// ---- Decoding and joining --------------------------------------------------------------------------------

static int consumer_tick(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                         struct base_error *error)
{
    struct consumer_bench *bench = context;
    (void)tick;
    (void)error;
    for (size_t i = 0; i < count; i++) {
        bench->looked += samples[i].mask + samples[i].columns.data[0];
    }
    bench->samples += count;
    return 0;
}

static struct consumer_ingest *consumer_ingest_open(struct consumer_bench *bench, struct base_error *error)
{
    char unused[DAEMON_CONFIG_PATH_MAX];
    struct consumer_ingest_config config = {
        .source = bench->source,
        .directory = bench->lanes_dir,
        .tick_ms = bench->config->tick,
        .read_ahead_ms = 60000,
        .finish = true,
        .last_tick = INT64_MAX,
    };
    for (uint32_t rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        config.decoders[rank] = bench->decoders[rank];
        config.topics[rank] = bench->stream.topics[rank];
    }
    daemon_config_lane(bench->config, 0, unused, &config.lane);
    return consumer_ingest_new(&config, error);
}

static int consumer_join(struct consumer_bench *bench, struct consumer_times *times,
                         struct consumer_ingest_state *state, struct base_error *error)
{
    const struct consumer_ingest_sink sink = {.tick = consumer_tick, .context = bench};
    bench->samples = 0;
    int result = consumer_open(bench, error);
    struct consumer_ingest *ingest = result == 0 ? consumer_ingest_open(bench, error) : NULL;
    if (!ingest) {
        consumer_close(bench);
        return -1;
    }
    double begin = daemon_bench_seconds(), cpu_begin = daemon_bench_cpu_seconds();
    while (result == 0 && !consumer_ingest_done(ingest)) {
        result = consumer_ingest_step(ingest, 0, &sink, error);
    }
    *times = (struct consumer_times){daemon_bench_seconds() - begin, daemon_bench_cpu_seconds() - cpu_begin};
    consumer_ingest_state(ingest, state);
    consumer_ingest_free(ingest);
    consumer_close(bench);
    if (result == 0 && state->counts.events != bench->records) {
        result = base_error_set(error, BASE_EFORMAT, "%" PRIu64 " records of %" PRIu64 " were joined",
                                state->counts.events, bench->records);
    }
    return result;
}

static int consumer_measure(struct consumer_bench *bench, FILE *out, struct base_error *error)
{
    struct consumer_times decode, join;
    struct consumer_ingest_state state;
    if (consumer_decode(bench, &decode, error) != 0 || consumer_join(bench, &join, &state, error) != 0) {
        return -1;
    }
    double events = (double)state.counts.events;
    fprintf(
        out,
        "{\"bench\":\"consumer\",\"lanes\":%" PRIu32 ",\"events\":%" PRIu64 ",\"samples\":%" PRIu64
        ",\"clicks_joined\":%" PRIu64 ",\"purchases_joined\":%" PRIu64
        ",\"seconds\":%.3f,\"events_per_second\":%.0f,\"cpu_seconds\":%.3f,\"events_per_cpu_second\":%.0f,"
        "\"limit\":\"the same files decoded without lanes\",\"limit_events_per_cpu_second\":%.0f,"
        "\"ratio\":%.3f",
        bench->stream.market.lanes, state.counts.events, bench->samples, state.counters.joined[1],
        state.counters.joined[2], join.seconds, events / join.seconds, join.cpu_seconds,
        events / join.cpu_seconds, events / decode.cpu_seconds, decode.cpu_seconds / join.cpu_seconds);
    daemon_bench_end(out, 1);
    return 0;
}

static int consumer_run(uint32_t lanes, FILE *out, struct base_error *error)
{
    const int64_t minute = 60000;
    char source[CONSUMER_PATH_MAX];
    struct consumer_bench bench = {.stream = {.market = daemon_market_defaults,
                                              .topics = {"impressions", "clicks", "purchases"},
                                              .lateness_ms = 5000,
                                              .click_wait_ms = 10 * minute,
                                              .purchase_wait_ms = 15 * minute}};
    bench.stream.market.impressions = CONSUMER_IMPRESSIONS;
    bench.stream.market.lanes = lanes;
    bench.stream.market.rate = CONSUMER_RATE;
    int result = daemon_scratch_make("bench", bench.directory, error);
    if (result == 0) {
        snprintf(source, sizeof source, "{kind: files, path: \"%s\"}", bench.directory);
        snprintf(bench.lanes_dir, sizeof bench.lanes_dir, "%s/state", bench.directory);
        bench.config = daemon_bench_stream_config(&bench.stream, bench.lanes_dir, source, NULL, 1, error);
        if (!bench.config || consumer_generate(&bench, error) != 0) {
            result = -1;
        } else if (mkdir(bench.lanes_dir, 0700) != 0) {
            result = base_error_set_errno(error, BASE_EIO, errno, "mkdir %s", bench.lanes_dir);
        } else {
            result = consumer_measure(&bench, out, error);
        }
    }
    daemon_config_free(bench.config);
    struct base_error ignored;
    daemon_scratch_remove(bench.directory, &ignored);
    return result;
}

int daemon_bench_consumer(FILE *out)
{
    static const uint32_t lanes[] = {1, 4};
    struct base_error error = {0};
    for (size_t i = 0; i < sizeof lanes / sizeof *lanes; i++) {
        if (consumer_run(lanes[i], out, &error) != 0) {
            fprintf(stderr, "freshet bench consumer: %s\n", error.text);
            return 1;
        }
    }
    return 0;
}
