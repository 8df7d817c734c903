// The benchmarks of the publication: a base of a million rows to a Redis on this machine, against SETs of the
// same bytes and sizes and nothing else; and its way back into a reader.
//
// Redis is a child on a unix socket in a directory of its own.
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "daemon/bench.h"
#include "daemon/bench_machine.h"
#include "daemon/private_redis.h"
#include "daemon/scratch.h"
#include "publisher/chunk.h"
#include "publisher/reader.h"
#include "publisher/redis.h"

enum {
    BENCH_SLOTS = 4,
    BENCH_DIMENSION = 16,
    BENCH_ROWS = 250000,     // of each slot
    BENCH_DELTA_ROWS = 5000, // of each slot
    BENCH_TURNS = 5,         // the median counts
};

struct publish_bench {
    char directory[DAEMON_SCRATCH_MAX];
    struct daemon_private_redis *redis;
    char redis_version[DAEMON_PRIVATE_REDIS_VERSION_MAX];
    const char *socket;
    struct trainer_slot_config slots[BENCH_SLOTS];
    struct trainer_model_config config;
    struct trainer_model *model;
    char *descriptor;
    struct trainer_snapshot *base, *delta;
    struct publisher *publisher;
};

static double median(double *values)
{
    daemon_bench_sort(values, BENCH_TURNS);
    return values[BENCH_TURNS / 2];
}

// --- The server and the model ---

static int bench_start_redis(struct publish_bench *bench, struct base_error *error)
{
    if (daemon_scratch_make("bench", bench->directory, error)) {
        return -1;
    }
    bench->redis = daemon_private_redis_new(bench->directory, error);
    if (!bench->redis) {
        return -1;
    }
    bench->socket = daemon_private_redis_socket(bench->redis);
    return daemon_private_redis_version(bench->redis, bench->redis_version, error);
}

// A snapshot with the model's dense tensors and `count` made-up rows a slot.
static struct trainer_snapshot *bench_snapshot(struct publish_bench *bench, size_t count, bool full)
{
    struct trainer_snapshot *snapshot = trainer_model_snapshot(bench->model, 1, true);
    snapshot->full = full;
    for (uint32_t s = 0; s < snapshot->slots; s++) {
        struct trainer_snapshot_rows *rows = &snapshot->rows[s];
        uint64_t key = base_random_key(s, "rows of the publication's benchmark");
        rows->count = count;
        rows->keys = base_realloc(rows->keys, count * sizeof *rows->keys);
        rows->vectors = base_realloc(rows->vectors, count * BENCH_DIMENSION * sizeof *rows->vectors);
        for (size_t i = 0; i < count; i++) {
            rows->keys[i] = base_random_bits(key, i);
        }
        for (size_t i = 0; i < count * BENCH_DIMENSION; i++) {
            rows->vectors[i] = (float)base_random_uniform(key + 1, i);
        }
    }
    snapshot->rows_total = count * snapshot->slots;
    trainer_model_settle(bench->model, snapshot, true);
    return snapshot;
}

static int bench_open(struct publish_bench *bench, struct base_error *error)
{
    static const char *const names[BENCH_SLOTS] = {"a", "b", "c", "d"};
    *bench = (struct publish_bench){0};
    for (uint32_t s = 0; s < BENCH_SLOTS; s++) {
        bench->slots[s] = (struct trainer_slot_config){.row = {names[s], BENCH_DIMENSION, 1, 0}, .column = s};
    }
    bench->config = (struct trainer_model_config){
        .features = {.layout = {BENCH_SLOTS, 0}, .slots = BENCH_SLOTS, .slot = bench->slots},
        .network = {.levels = 1,
                    .level = {{{256, 128}, 2, 2, 2}},
                    .tower_widths = {64},
                    .tower_layers = 1,
                    .batch = 256},
        .loss = {.tasks = 2, .stages = 2, .task_weight = {1, 1}, .keep_negatives = 1},
        .task_names = {"click", "purchase"},
        .rows_max = BENCH_SLOTS * BENCH_ROWS,
        .workers = 1,
    };
    bench->config.network.tasks = 2;
    struct trainer_descriptor_columns columns = {names, names, NULL, NULL};
    bench->descriptor = trainer_descriptor_write(&bench->config, &columns);
    bench->model = trainer_model_new(&bench->config, true, error);
    if (!bench->descriptor || !bench->model || bench_start_redis(bench, error)) {
        return -1;
    }
    bench->base = bench_snapshot(bench, BENCH_ROWS, true);
    bench->delta = bench_snapshot(bench, BENCH_DELTA_ROWS, false);
    struct publisher_config config = {
        .redis = {.socket = bench->socket, .timeout_ms = 10000},
        .model = "bench",
        .descriptor = bench->descriptor,
        .garbage_ttl_s = 1,
        .base_ratio = 1,
    };
    bench->publisher = publisher_new(&config, error);
    return bench->publisher ? publisher_start(bench->publisher, 0, error) : -1;
}

static void bench_close(struct publish_bench *bench)
{
    publisher_free(bench->publisher);
    daemon_private_redis_free(bench->redis);
    struct base_error ignored;
    daemon_scratch_remove(bench->directory, &ignored);
    trainer_snapshot_free(bench->base);
    trainer_snapshot_free(bench->delta);
    trainer_model_free(bench->model);
    free(bench->descriptor);
}

// --- Publishing ---

// Seconds for SETs of `bytes` in values of a chunk's size, pipelined as the publisher does.
static int raw_sets(struct publish_bench *bench, uint64_t bytes, double *seconds, struct base_error *error)
{
    struct publisher_redis_config config = {.socket = bench->socket, .timeout_ms = 10000};
    struct publisher_redis *redis = publisher_redis_new(&config, error);
    struct base_buffer value = {0};
    base_buffer_reserve(&value, PUBLISHER_CHUNK_BYTES);
    memset(value.data, 7, PUBLISHER_CHUNK_BYTES);
    int failed = publisher_redis_connect(redis, error);
    double start = daemon_bench_seconds();
    for (uint64_t sent = 0; !failed && (sent < bytes || publisher_redis_owed(redis) > 0);) {
        struct publisher_reply *reply = NULL;
        if (sent < bytes && publisher_redis_owed_bytes(redis) <= PUBLISHER_PIPELINE_BYTES) {
            char key[32];
            snprintf(key, sizeof key, "raw:%llu", (unsigned long long)sent);
            size_t size = bytes - sent < PUBLISHER_CHUNK_BYTES ? bytes - sent : PUBLISHER_CHUNK_BYTES;
            struct base_span words[] = {base_span_string("SET"), base_span_string(key),
                                        base_span_make(value.data, size)};
            failed = publisher_redis_send(redis, words, 3, error);
            sent += size;
        } else {
            failed = publisher_redis_receive(redis, 0, &reply, error) || publisher_reply_check(reply, error);
            publisher_reply_free(reply);
        }
    }
    *seconds = daemon_bench_seconds() - start;
    struct base_span flush[] = {base_span_string("FLUSHALL")};
    struct publisher_reply *reply = NULL;
    if (!failed) {
        failed = publisher_redis_call(redis, flush, 1, &reply, error);
        publisher_reply_free(reply);
    }
    publisher_redis_free(redis);
    base_buffer_free(&value);
    return failed;
}

static int bench_publish(struct publish_bench *bench, FILE *out, struct base_error *error)
{
    double base[BENCH_TURNS], raw[BENCH_TURNS], delta[BENCH_TURNS];
    struct publisher_result result = {0}, small = {0};
    for (int turn = 0; turn < BENCH_TURNS; turn++) {
        // The flush that ends the raw SETs empties Redis: each base meets what the first one meets.
        if (raw_sets(bench, (uint64_t)BENCH_SLOTS * BENCH_ROWS * (8 + 4 * BENCH_DIMENSION), &raw[turn],
                     error) ||
            publisher_start(bench->publisher, 0, error) ||
            publisher_publish(bench->publisher, bench->base, NULL, &result, error) ||
            publisher_publish(bench->publisher, bench->delta, NULL, &small, error)) {
            return -1;
        }
        base[turn] = (double)result.duration_ns * 1e-9;
        delta[turn] = (double)small.duration_ns * 1e-9;
    }
    double rows = (double)result.rows / median(base);
    double bytes = (double)result.bytes / median(base);
    double limit = (double)BENCH_SLOTS * BENCH_ROWS * (8 + 4 * BENCH_DIMENSION) / median(raw);
    fprintf(out,
            "{\"bench\":\"publish\",\"rows\":%llu,\"dimension\":%d,\"rows_per_second\":%.0f,"
            "\"bytes_per_second\":%.0f,\"raw_set_bytes_per_second\":%.0f,\"ratio\":%.3f,"
            "\"delta_rows\":%llu,\"delta_ms\":%.2f,\"redis\":\"%s\"",
            (unsigned long long)result.rows, BENCH_DIMENSION, rows, bytes, limit, bytes / limit,
            (unsigned long long)small.rows, median(delta) * 1e3, bench->redis_version);
    daemon_bench_end(out, 1);
    return 0;
}

// --- Reading ---

static int bench_reader(struct publish_bench *bench, FILE *out, struct base_error *error)
{
    struct publisher_result result;
    double bootstrap[BENCH_TURNS], follow[BENCH_TURNS];
    for (int turn = 0; turn < BENCH_TURNS; turn++) {
        struct publisher_reader_config config = {.redis = {.socket = bench->socket, .timeout_ms = 10000},
                                                 .model = "bench"};
        if (publisher_publish(bench->publisher, bench->base, NULL, &result, error)) {
            return -1;
        }
        struct publisher_reader *reader = publisher_reader_new(&config, error);
        bool changed = false;
        double start = daemon_bench_seconds();
        int failed = !reader || publisher_reader_follow(reader, 0, &changed, error);
        bootstrap[turn] = daemon_bench_seconds() - start;
        failed = failed || publisher_publish(bench->publisher, bench->delta, NULL, &result, error);
        start = daemon_bench_seconds();
        failed = failed || publisher_reader_follow(reader, 0, &changed, error);
        follow[turn] = daemon_bench_seconds() - start;
        publisher_reader_free(reader);
        if (failed) {
            return -1;
        }
    }
    fprintf(out,
            "{\"bench\":\"reader\",\"rows\":%d,\"dimension\":%d,\"rows_per_second\":%.0f,"
            "\"bootstrap_ms\":%.1f,\"delta_rows\":%d,\"delta_ms\":%.2f,\"redis\":\"%s\"",
            BENCH_SLOTS * BENCH_ROWS, BENCH_DIMENSION, BENCH_SLOTS * BENCH_ROWS / median(bootstrap),
            median(bootstrap) * 1e3, BENCH_SLOTS * BENCH_DELTA_ROWS, median(follow) * 1e3,
            bench->redis_version);
    daemon_bench_end(out, 1);
    return 0;
}

static int bench_run(const char *name, int (*run)(struct publish_bench *, FILE *, struct base_error *),
                     FILE *out)
{
    struct publish_bench *bench = base_alloc_zeroed(1, sizeof *bench);
    struct base_error error = {0};
    int failed = bench_open(bench, &error) || run(bench, out, &error);
    if (failed) {
        fprintf(stderr, "freshet bench %s: %s\n", name, error.text);
    }
    bench_close(bench);
    free(bench);
    return failed ? 1 : 0;
}

int daemon_bench_publish(FILE *out)
{
    return bench_run("publish", bench_publish, out);
}

int daemon_bench_reader(FILE *out)
{
    return bench_run("reader", bench_reader, out);
}
