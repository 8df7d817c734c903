// The benchmark of the join alone: events of three topics, made in memory beforehand, through one lane on one
// core, by ticks, with columns of 240 bytes and all that a lane does: ordering, deduping, logs on the disk,
// cursors, samples. What the sink does with a sample is not counted; it only looks at it.
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "consumer/lane.h"
#include "daemon/bench.h"
#include "daemon/bench_machine.h"
#include "daemon/scratch.h"

enum {
    JOIN_EVENTS = 2000000,
    JOIN_COLUMN_BYTES = 240,
    JOIN_TEMPLATES = 1024,         // different columns
    JOIN_EVENTS_PER_SECOND = 1000, // of event time
    JOIN_JITTER = 2000,            // ms by which records are out of order
    JOIN_LATENESS = 5000,          // ms
    JOIN_TICK = 500,               // ms
    JOIN_RANKS = 3,
    JOIN_ID_BYTES = 20,
};

struct join_bench {
    struct consumer_event *events; // [JOIN_EVENTS], in the order of reading
    uint8_t *columns;              // [JOIN_TEMPLATES][JOIN_COLUMN_BYTES]
    char (*ids)[JOIN_ID_BYTES];    // [JOIN_EVENTS]
    uint64_t samples;
    uint64_t looked; // keeps the sink from being optimised away
};

static void join_name(char id[JOIN_ID_BYTES], char prefix, uint64_t number)
{
    char text[JOIN_ID_BYTES + 1];
    snprintf(text, sizeof text, "%c%019llu", prefix, (unsigned long long)number);
    memcpy(id, text, JOIN_ID_BYTES);
}

// One event in 21 is a click of an impression some seconds ago, one in 210 a purchase after such a click.
// Each record's time is that of its place in the stream, give or take the jitter.
static void join_generate(struct join_bench *bench)
{
    uint64_t key = base_random_key(1, "bench join");
    int64_t offset[JOIN_RANKS] = {0};
    for (uint64_t i = 0; i < JOIN_EVENTS; i++) {
        uint64_t bits = base_random_bits(key, i);
        struct consumer_event *event = &bench->events[i];
        uint32_t rank = i < 210 || i % 21 != 20 ? 0 : i % 210 == 209 ? 2 : 1;
        // Back to an impression: i % 21 == 0 a random number of rounds ago; purchases to one that was
        // clicked.
        uint64_t rounds = 1 + bits % (i / 21 < 3000 ? i / 21 + 1 : 3000);
        uint64_t back = rank == 0 ? i : i / 21 >= rounds ? (i / 21 - rounds) * 21 : 0;
        join_name(bench->ids[i], rank == 0 ? 'i' : 'e', i);
        struct base_span own = base_span_make(bench->ids[i], JOIN_ID_BYTES);
        *event = (struct consumer_event){
            .rank = rank,
            .offset = offset[rank]++,
            .event_time = (int64_t)(i * 1000 / JOIN_EVENTS_PER_SECOND) - (int64_t)(bits >> 32) % JOIN_JITTER,
            .event_id = own,
            .impression_id = base_span_make(bench->ids[back], JOIN_ID_BYTES),
        };
        if (rank == 0) {
            event->columns =
                base_span_make(bench->columns + bits % JOIN_TEMPLATES * JOIN_COLUMN_BYTES, JOIN_COLUMN_BYTES);
        }
    }
}

static int join_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)error;
    struct join_bench *bench = context;
    bench->samples++;
    bench->looked += sample->mask + sample->columns.data[0];
    return 0;
}

static int join_run(struct join_bench *bench, struct consumer_lane *lane, struct base_error *error)
{
    int64_t tick = INT64_MIN;
    for (uint64_t i = 0; i < JOIN_EVENTS; i++) {
        if (consumer_lane_push(lane, &bench->events[i], error) != 0) {
            return -1;
        }
        int64_t watermark = consumer_lane_watermark(lane);
        if (watermark > 0 && watermark / JOIN_TICK != tick) {
            tick = watermark / JOIN_TICK;
            if (consumer_lane_run(lane, tick * JOIN_TICK - 1, join_sink, bench, error) != 0) {
                return -1;
            }
        }
    }
    for (uint32_t rank = 0; rank < JOIN_RANKS; rank++) {
        consumer_lane_raise(lane, rank, CONSUMER_TIME_MAX);
    }
    return consumer_lane_run(lane, CONSUMER_TIME_MAX, join_sink, bench, error);
}

static int join_measure(struct join_bench *bench, const char *directory, FILE *out, struct base_error *error)
{
    const int64_t minute = 60000;
    const int64_t day = 1440 * minute;
    struct consumer_lane_config config = {
        .directory = directory,
        .ranks = JOIN_RANKS,
        .action = {[1] = {.name = "click", .parent = 0, .wait = 10 * minute, .window = 20 * minute},
                   [2] = {.name = "purchase", .parent = 1, .wait = 15 * minute, .window = 7 * day}},
        .allowed_lateness = {JOIN_LATENESS, JOIN_LATENESS, JOIN_LATENESS},
        .dedupe = {20 * minute, 7 * day, 7 * day},
        .orphan_timeout = 20 * minute,
        .keep_negatives = 1,
        .segment_bytes = UINT64_C(64) << 20,
    };
    struct consumer_lane *lane = consumer_lane_new(&config, error);
    if (!lane) {
        return -1;
    }
    double begin = daemon_bench_seconds(), cpu_begin = daemon_bench_cpu_seconds();
    int result = join_run(bench, lane, error);
    double seconds = daemon_bench_seconds() - begin, cpu_seconds = daemon_bench_cpu_seconds() - cpu_begin;
    if (result == 0) {
        const struct consumer_lane_counters *counters = consumer_lane_counters(lane);
        fprintf(out,
                "{\"bench\":\"join\",\"events\":%d,\"seconds\":%.3f,\"events_per_second\":%.0f,"
                "\"cpu_seconds\":%.3f,\"events_per_cpu_second\":%.0f,"
                "\"samples\":%llu,\"clicks_joined\":%llu,\"purchases_joined\":%llu,\"column_bytes\":%d",
                JOIN_EVENTS, seconds, JOIN_EVENTS / seconds, cpu_seconds, JOIN_EVENTS / cpu_seconds,
                (unsigned long long)bench->samples, (unsigned long long)counters->joined[1],
                (unsigned long long)counters->joined[2], JOIN_COLUMN_BYTES);
        daemon_bench_end(out, 1);
    }
    consumer_lane_free(lane);
    return result;
}

int daemon_bench_join(FILE *out)
{
    struct base_error error, ignored;
    char directory[DAEMON_SCRATCH_MAX];
    if (daemon_scratch_make("bench", directory, &error) != 0) {
        fprintf(stderr, "bench join: %s\n", error.text);
        return 1;
    }
    struct join_bench bench = {
        .events = base_alloc(JOIN_EVENTS * sizeof *bench.events),
        .columns = base_alloc_zeroed(JOIN_TEMPLATES, JOIN_COLUMN_BYTES),
        .ids = base_alloc(JOIN_EVENTS * sizeof *bench.ids),
    };
    join_generate(&bench);
    int result = join_measure(&bench, directory, out, &error);
    if (result != 0) {
        fprintf(stderr, "bench join: %s\n", error.text);
    }
    daemon_scratch_remove(directory, &ignored);
    free(bench.events);
    free(bench.columns);
    free(bench.ids);
    return result == 0 ? 0 : 1;
}
