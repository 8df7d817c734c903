// Tests of the whole pipeline over files of the simulated marketplace: the same weights however it is read
// and trained, its end in the middle, its errors, and what arrives in Redis.
#include "daemon/pipeline.h"

#include <avro.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon_pipeline_world.h"
#include "publisher/reader.h"
#include "support_redis.h"

static struct daemon_pipeline *pipeline_make(const struct world *world,
                                             const struct daemon_pipeline_options *options)
{
    struct base_error error = {0};
    struct daemon_pipeline *pipeline = daemon_pipeline_new(world->config, options, &error);
    cr_assert(pipeline && daemon_pipeline_start(pipeline, &error) == 0, "%s", error.text);
    return pipeline;
}

// A whole run; the weights' hash.
static uint64_t pipeline_run(const struct world *world, const struct daemon_pipeline_options *options,
                             struct daemon_pipeline_state *state)
{
    struct base_error error = {0};
    struct daemon_pipeline *pipeline = pipeline_make(world, options);
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
    daemon_pipeline_state(pipeline, state);
    cr_assert(state->ended && state->learner.ended);
    uint64_t hash = daemon_pipeline_hash(pipeline);
    daemon_pipeline_free(pipeline);
    return hash;
}

static void expect_records(const char *path, uint64_t expected)
{
    avro_file_reader_t reader;
    cr_assert_eq(avro_file_reader(path, &reader), 0, "%s", avro_strerror());
    avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_value_t value;
    avro_generic_value_new(class, &value);
    uint64_t count = 0;
    while (avro_file_reader_read_value(reader, &value) == 0) {
        count++;
        avro_value_reset(&value);
    }
    cr_assert_eq(count, expected, "%lu records", (unsigned long)count);
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    avro_file_reader_close(reader);
}

Test(daemon_pipeline, the_same_weights_however_it_is_read_and_trained)
{
    struct world world = {0};
    world_open(&world, 3000, "/nowhere/redis.sock");
    char samples[WORLD_PATH];
    snprintf(samples, sizeof samples, "%s/samples.avro", world.directory);
    const struct daemon_pipeline_options rows[] = {
        {.workers = 1, .samples = samples},
        {.workers = 2},
        {.workers = 1, .fetch = 1},
        {.workers = 2, .fetch = 1000},
    };
    uint64_t first = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct daemon_pipeline_options options = rows[i];
        options.bounded = options.finish = true;
        struct daemon_pipeline_state state;
        uint64_t hash = pipeline_run(&world, &options, &state);
        first = i == 0 ? hash : first;
        cr_assert_eq(hash, first, "row %zu", i);
        cr_assert_eq(state.ingest.counts.events, world.records);
        cr_assert_eq(state.ingest.lag, 0);
        cr_assert_gt(state.learner.samples, 3000);
        cr_assert_eq(state.outbox.publications, 0);
        if (i == 0) {
            expect_records(samples, state.ingest.counts.samples);
        }
    }
    world_close(&world);
}

static int64_t system_monotonic(void *context)
{
    (void)context;
    return base_clock_monotonic_ns(&base_clock_system);
}

// An hour forward and an hour back, again and again.
static int64_t jumping_wall(void *context)
{
    unsigned call = atomic_fetch_add((atomic_uint *)context, 1);
    return base_clock_wall_ms(&base_clock_system) + (int64_t)(call % 3) * 3600000 - 3600000;
}

Test(daemon_pipeline, a_wall_clock_that_jumps_changes_no_weight)
{
    struct world world = {0};
    world_open(&world, 3000, "/nowhere/redis.sock");
    atomic_uint calls = 0;
    const struct base_clock jumping = {system_monotonic, jumping_wall, &calls};
    struct daemon_pipeline_options options = {.bounded = true, .finish = true};
    struct daemon_pipeline_state state;
    uint64_t hash = pipeline_run(&world, &options, &state);
    options.parts.clock = &jumping;
    cr_assert_eq(pipeline_run(&world, &options, &state), hash);
    cr_assert_gt(atomic_load(&calls), 10);
    world_close(&world);
}

Test(daemon_pipeline, a_reader_has_what_was_learned)
{
    struct support_redis *redis = support_redis_start(NULL);
    struct world world = {0};
    world_open(&world, 3000, support_redis_socket(redis));
    struct daemon_pipeline_state state;
    const struct daemon_pipeline_options options = {.bounded = true, .finish = true, .publish = true};
    uint64_t hash = pipeline_run(&world, &options, &state);
    cr_assert_gt(state.outbox.publications, 0);
    // Behind it may lie ticks that taught nothing, for which nothing is published.
    cr_assert_leq(state.outbox.last_tick, state.learner.tick);
    const struct publisher_reader_config config = {
        .redis = {.socket = support_redis_socket(redis), .timeout_ms = 2000}, .model = "test"};
    struct base_error error = {0};
    bool changed;
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    cr_assert(reader && publisher_reader_follow(reader, 0, &changed, &error) == 0, "%s", error.text);
    cr_assert_eq(publisher_reader_hash(reader), hash);
    cr_assert_eq(publisher_reader_tick(reader), state.outbox.last_tick);
    publisher_reader_free(reader);
    world_close(&world);
    support_redis_stop(redis);
}

// The feed is full by then: what ingest waits with has to get through.
Test(daemon_pipeline, stops_in_the_middle)
{
    struct world world = {0};
    world_open(&world, 50000, "/nowhere/redis.sock");
    const struct daemon_pipeline_options options = {.bounded = true, .finish = true};
    struct daemon_pipeline *pipeline = pipeline_make(&world, &options);
    struct daemon_pipeline_state state;
    do {
        nanosleep(&(struct timespec){0, 1000000}, NULL);
        daemon_pipeline_state(pipeline, &state);
    } while (state.beats == 0);
    daemon_pipeline_stop(pipeline);
    struct base_error error = {0};
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
    daemon_pipeline_state(pipeline, &state);
    cr_assert(state.ended && state.learner.ended);
    cr_assert(state.ingest.counts.events > 0 && state.ingest.counts.events < world.records);
    cr_assert_gt(state.learner.samples, 0);
    daemon_pipeline_free(pipeline);

    // Freed while it runs, without a stop or a join.
    daemon_pipeline_free(pipeline_make(&world, &options));
    world_close(&world);
}

Test(daemon_pipeline, a_corrupt_file_ends_it_and_is_named)
{
    struct world world = {0};
    world_open(&world, 20000, "/nowhere/redis.sock");
    char path[WORLD_PATH];
    snprintf(path, sizeof path, "%s/files/impressions/1.avro", world.directory);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    off_t size = lseek(fd, 0, SEEK_END);
    static const char noise[4096];
    cr_assert_eq(pwrite(fd, noise, sizeof noise, size / 2), (ssize_t)sizeof noise);
    close(fd);
    const struct daemon_pipeline_options options = {.bounded = true, .finish = true};
    struct daemon_pipeline *pipeline = pipeline_make(&world, &options);
    struct base_error error = {0};
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert(strstr(error.text, "impressions/1.avro"), "%s", error.text);
    struct daemon_pipeline_state state;
    daemon_pipeline_state(pipeline, &state);
    cr_assert(state.ended && state.learner.ended);
    cr_assert(state.ingest.counts.events < world.records);
    daemon_pipeline_free(pipeline);
    world_close(&world);
}

// A learner that cannot go on ends ingest too, which by then waits for room in the feed.
Test(daemon_pipeline, an_error_of_the_learner_ends_it_all)
{
    struct world world = {0};
    world_open(&world, 20000, "/nowhere/redis.sock");
    const struct daemon_pipeline_options options = {
        .bounded = true, .finish = true, .predictions = "/dev/full"};
    struct daemon_pipeline *pipeline = pipeline_make(&world, &options);
    struct base_error error = {0};
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, "/dev/full"), "the learner's error, not the closed feed: %s", error.text);
    struct daemon_pipeline_state state;
    daemon_pipeline_state(pipeline, &state);
    cr_assert(state.ingest.counts.events < world.records);
    daemon_pipeline_free(pipeline);
    world_close(&world);
}

Test(daemon_pipeline, what_cannot_be_made_is_named)
{
    struct world world = {0};
    world_open(&world, 100, "/nowhere/redis.sock");
    struct base_error error = {0};
    struct daemon_pipeline_options options = {.bounded = true, .state_dir = "/nowhere/at/all"};
    cr_assert_null(daemon_pipeline_new(world.config, &options, &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, "/nowhere/at/all"), "%s", error.text);

    options = (struct daemon_pipeline_options){.bounded = true, .samples = "/nowhere/samples.avro"};
    cr_assert_null(daemon_pipeline_new(world.config, &options, &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, "/nowhere/samples.avro"), "%s", error.text);

    options = (struct daemon_pipeline_options){.bounded = true, .predictions = "/nowhere/predictions"};
    cr_assert_null(daemon_pipeline_new(world.config, &options, &error));
    cr_assert(strstr(error.text, "/nowhere/predictions"), "%s", error.text);
    world_close(&world);
}

Test(daemon_pipeline, what_cannot_be_used_is_counted_and_kept)
{
    struct world world = {.dead = 7};
    world_open(&world, 500, "/nowhere/redis.sock");
    const struct daemon_pipeline_options options = {.bounded = true, .finish = true};
    struct daemon_pipeline_state state;
    pipeline_run(&world, &options, &state);
    cr_assert_eq(state.ingest.counts.dead, world.dead);
    cr_assert_eq(state.ingest.counts.events, world.records);
    char pattern[WORLD_PATH];
    snprintf(pattern, sizeof pattern, "%s/state/dead-letters/*.avro", world.directory);
    glob_t files;
    cr_assert_eq(glob(pattern, 0, NULL, &files), 0);
    cr_assert_eq(files.gl_pathc, 1);
    expect_records(files.gl_pathv[0], world.dead);
    globfree(&files);
    world_close(&world);
}
