// The benchmark of the whole daemon: the content of three Kafka topics, read to its end, joined, trained on
// with the reference model and published to Redis. What it is held against is what training alone could reach
// on one core: the matrix products of the same batch, in the same run.
//
// Without more the broker is the embedded one, in a process of its own; it keeps 5 MiB a partition, so there
// are many partitions, and what was read is counted. With FRESHET_BENCH_KAFKA=host:port the records go
// through that broker, in topics of their own that are deleted at the end.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/bench.h"
#include "daemon/bench_machine.h"
#include "daemon/bench_stream.h"
#include "daemon/broker.h"
#include "daemon/pipeline.h"
#include "daemon/private_redis.h"
#include "daemon/scratch.h"

enum {
    PIPELINE_IMPRESSIONS = 200000, // through the embedded broker
    PIPELINE_LANES = 64,
    PIPELINE_REAL_IMPRESSIONS = 1000000,
    PIPELINE_REAL_LANES = 8,
    PIPELINE_RATE = 2000, // impressions a second of event time
    PIPELINE_BATCH = 256,
    PIPELINE_WORKERS_MAX = 2,
    PIPELINE_TIMEOUT_MS = 30000,
    PIPELINE_TOPIC_MAX = 64,
    PIPELINE_TEXT_MAX = 512,
    PIPELINE_PATH_MAX = DAEMON_SCRATCH_MAX + 32,
};

struct pipeline_bench {
    struct daemon_bench_stream stream;
    char topics[DAEMON_MARKET_RANKS][PIPELINE_TOPIC_MAX];
    char directory[DAEMON_SCRATCH_MAX];
    bool real; // broker
    struct daemon_broker *broker;
    struct daemon_private_redis *redis;
    char redis_version[DAEMON_PRIVATE_REDIS_VERSION_MAX];
    const char *bootstrap;
    pid_t broker_pid; // 0: unknown
    bool produced;    // there may be topics
    uint64_t records; // in them
};

// A funnel whose delays are short beside the stream, so that minibatches are as full as in a long one.
static void pipeline_describe(struct pipeline_bench *bench)
{
    static const char *const names[DAEMON_MARKET_RANKS] = {"impressions", "clicks", "purchases"};
    bench->bootstrap = getenv("FRESHET_BENCH_KAFKA");
    bench->real = bench->bootstrap && *bench->bootstrap;
    const char *pid = getenv("FRESHET_BENCH_KAFKA_PID");
    bench->broker_pid = bench->real && pid ? (pid_t)strtol(pid, NULL, 10) : 0;
    bench->stream = (struct daemon_bench_stream){.market = daemon_market_defaults,
                                                 .lateness_ms = 1000,
                                                 .click_wait_ms = 10000,
                                                 .purchase_wait_ms = 15000};
    struct daemon_market_config *market = &bench->stream.market;
    market->impressions = bench->real ? PIPELINE_REAL_IMPRESSIONS : PIPELINE_IMPRESSIONS;
    market->lanes = bench->real ? PIPELINE_REAL_LANES : PIPELINE_LANES;
    market->rate = PIPELINE_RATE;
    market->delay_scale = .025;
    market->click_window_ms = 20000;
    market->purchase_window_ms = 60000;
    market->network_ms = 50;
    market->late_ms = 5000;
    for (uint32_t rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        snprintf(bench->topics[rank], sizeof bench->topics[rank], "freshet-bench-%ld-%s", (long)getpid(),
                 names[rank]);
        bench->stream.topics[rank] = bench->topics[rank];
    }
}

static struct daemon_produce_kafka_config pipeline_kafka(const struct pipeline_bench *bench)
{
    return (struct daemon_produce_kafka_config){
        .bootstrap = bench->bootstrap,
        .topics = {bench->topics[0], bench->topics[1], bench->topics[2]},
        .lanes = bench->stream.market.lanes,
        .create_topics = bench->real,
        .framing = CONSUMER_FRAMING_SINGLE_OBJECT,
        .timeout_ms = PIPELINE_TIMEOUT_MS,
    };
}

static int pipeline_open(struct pipeline_bench *bench, struct base_error *error)
{
    pipeline_describe(bench);
    if (daemon_scratch_make("bench", bench->directory, error) != 0) {
        return -1;
    }
    if (!bench->real) {
        bench->broker =
            daemon_broker_new(bench->stream.topics, DAEMON_MARKET_RANKS, bench->stream.market.lanes, error);
        if (!bench->broker) {
            return -1;
        }
        bench->bootstrap = daemon_broker_bootstrap(bench->broker);
    }
    bench->redis = daemon_private_redis_new(bench->directory, error);
    if (!bench->redis || daemon_private_redis_version(bench->redis, bench->redis_version, error) != 0) {
        return -1;
    }
    struct daemon_produce_kafka_config kafka = pipeline_kafka(bench);
    bench->produced = true;
    return daemon_bench_stream_produce(&bench->stream, daemon_produce_kafka_new(&kafka, error),
                                       &bench->records, error);
}

static void pipeline_close(struct pipeline_bench *bench)
{
    struct base_error ignored, error;
    struct daemon_produce_kafka_config kafka = pipeline_kafka(bench);
    if (bench->real && bench->produced && daemon_produce_kafka_delete(&kafka, &error) != 0) {
        fprintf(stderr, "freshet bench pipeline: %s\n", error.text);
    }
    daemon_private_redis_free(bench->redis);
    daemon_broker_free(bench->broker);
    daemon_scratch_remove(bench->directory, &ignored);
}

// What a run took, in seconds.
struct pipeline_times {
    double wall;
    double own, broker, redis; // of processors
};

static struct pipeline_times pipeline_clock(const struct pipeline_bench *bench)
{
    return (struct pipeline_times){daemon_bench_seconds(), daemon_bench_process_seconds(getpid()),
                                   daemon_bench_process_seconds(bench->broker_pid),
                                   daemon_bench_process_seconds(daemon_private_redis_pid(bench->redis))};
}

// From opening the source to the last version in Redis.
static int pipeline_run(struct pipeline_bench *bench, const struct daemon_config *config,
                        struct daemon_pipeline_state *state, struct pipeline_times *times,
                        struct base_error *error)
{
    const struct daemon_pipeline_options options = {.bounded = true, .finish = true, .publish = true};
    struct pipeline_times begin = pipeline_clock(bench);
    struct daemon_pipeline *pipeline = daemon_pipeline_new(config, &options, error);
    int result = pipeline && daemon_pipeline_start(pipeline, error) == 0 ? 0 : -1;
    if (result == 0) {
        result = daemon_pipeline_join(pipeline, error);
        struct pipeline_times end = pipeline_clock(bench);
        *times = (struct pipeline_times){end.wall - begin.wall, end.own - begin.own,
                                         end.broker - begin.broker, end.redis - begin.redis};
        daemon_pipeline_state(pipeline, state);
    }
    daemon_pipeline_free(pipeline);
    if (result == 0 && state->ingest.counts.events != bench->records) {
        result = base_error_set(error, BASE_EFORMAT,
                                "of %" PRIu64 " records %" PRIu64 " were read and %" PRIu64 " joined",
                                bench->records, state->ingest.counts.read, state->ingest.counts.events);
    }
    if (result == 0 && state->outbox.publications == 0) {
        result = base_error_set(error, BASE_EFORMAT, "nothing was published");
    }
    return result;
}

static int pipeline_measure(struct pipeline_bench *bench, uint32_t workers, FILE *out,
                            struct base_error *error)
{
    char source[PIPELINE_TEXT_MAX], redis[PIPELINE_TEXT_MAX], state_dir[PIPELINE_PATH_MAX];
    snprintf(source, sizeof source, "{kind: kafka, bootstrap: \"%s\"}", bench->bootstrap);
    snprintf(redis, sizeof redis, "{socket: \"%s\", database: %u}", daemon_private_redis_socket(bench->redis),
             workers); // each its own: neither finds the other's version
    snprintf(state_dir, sizeof state_dir, "%s/state-%u", bench->directory, workers);
    struct daemon_config *config =
        daemon_bench_stream_config(&bench->stream, state_dir, source, redis, workers, error);
    struct daemon_pipeline_state state;
    struct pipeline_times times;
    double limit = daemon_bench_gemm_limit(PIPELINE_BATCH);
    int result = config ? pipeline_run(bench, config, &state, &times, error) : -1;
    daemon_config_free(config);
    if (result != 0) {
        return -1;
    }
    limit = fmax(limit, daemon_bench_gemm_limit(PIPELINE_BATCH));
    double rate = (double)state.learner.samples / times.wall;
    // Seconds of processors that were there for the daemon.
    double there = (double)sysconf(_SC_NPROCESSORS_ONLN) * times.wall - times.broker - times.redis;
    fprintf(out,
            "{\"bench\":\"pipeline\",\"broker\":\"%s\",\"partitions\":%" PRIu32 ",\"workers\":%" PRIu32
            ",\"batch\":%d,\"events\":%" PRIu64 ",\"samples\":%" PRIu64 ",\"minibatches\":%" PRIu64
            ",\"rows\":%" PRIu64 ",\"publications\":%" PRIu64
            ",\"seconds\":%.3f,\"cpu_seconds\":%.2f,\"broker_cpu_seconds\":%.2f,\"redis_cpu_seconds\":%.2f,"
            "\"samples_per_second\":%.0f,\"limit\":\"matrix products on one core\","
            "\"limit_samples_per_second\":%.0f,\"ratio\":%.3f,\"of_the_limit_of_all_cores\":%.3f,"
            "\"redis\":\"%s\"",
            bench->real ? "FRESHET_BENCH_KAFKA" : "embedded", bench->stream.market.lanes, workers,
            PIPELINE_BATCH, state.ingest.counts.events, state.learner.samples, state.learner.minibatches,
            state.learner.rows, state.outbox.publications, times.wall, times.own, times.broker, times.redis,
            rate, limit, rate / limit, (double)state.learner.samples / (limit * there), bench->redis_version);
    daemon_bench_end(out, workers + 2); // ingest and the publisher beside them
    return 0;
}

int daemon_bench_pipeline(FILE *out)
{
    struct pipeline_bench *bench = base_alloc_zeroed(1, sizeof *bench);
    struct base_error error = {0};
    int result = pipeline_open(bench, &error);
    for (uint32_t workers = 1; workers <= PIPELINE_WORKERS_MAX && result == 0; workers++) {
        result = pipeline_measure(bench, workers, out, &error);
    }
    if (result != 0) {
        fprintf(stderr, "freshet bench pipeline: %s\n", error.text);
    }
    pipeline_close(bench);
    free(bench);
    return result == 0 ? 0 : 1;
}
