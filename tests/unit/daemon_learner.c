// Tests of the learner's thread and the outbox, with a real Redis: what is learned is what is published, also
// when Redis comes late or goes away; minibatches that are not finite are set aside, and too many of them are
// the end.
#include "daemon/learner.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "publisher/reader.h"
#include "support_directory.h"
#include "support_redis.h"

enum { BATCH = 8, TICK_MS = 500 };

struct world {
    struct trainer_slot_config slot;
    struct trainer_model_config config;
    struct trainer_model *model;
    struct daemon_feed *feed;
    struct daemon_outbox *outbox;
    struct daemon_learner *learner;
    char *descriptor;
    char directory[SUPPORT_DIRECTORY_MAX];
    const char *predictions;
    uint64_t sequence;
};

static const char *const slot_names[] = {"item"};
static const struct trainer_descriptor_columns columns = {slot_names, slot_names, NULL, NULL};

static void world_model(struct world *world)
{
    world->slot = (struct trainer_slot_config){.row = {.name = "item", .dimension = 16, .admission = 1}};
    world->config = (struct trainer_model_config){
        .features = {.layout = {.categorical = 1}, .slots = 1, .slot = &world->slot},
        .network = {.levels = 1,
                    .level = {{.widths = {16}, .layers = 1, .per_task = 1, .shared = 1}},
                    .tower_widths = {16},
                    .tower_layers = 1,
                    .batch = BATCH},
        .loss = {.tasks = 2, .stages = 2, .task_weight = {1, 1}, .keep_negatives = 1},
        .task_names = {"click", "purchase"},
        .update.dense.rate = 0.1,
        .update.sparse.rate = 1,
        .rows_max = 1000,
        .workers = 1,
    };
    struct base_error error = {0};
    world->model = trainer_model_new(&world->config, true, &error);
    cr_assert(world->model, "%s", error.text);
    world->descriptor = trainer_descriptor_write(trainer_model_config(world->model), &columns);
}

// `socket` NULL: nothing is published.
static void world_start(struct world *world, const char *socket)
{
    struct base_error error = {0};
    world_model(world);
    support_directory_make(world->directory);
    world->feed = daemon_feed_new(BATCH);
    if (socket) {
        const struct publisher_config publisher = {
            .redis = {.socket = socket, .timeout_ms = 1000},
            .model = "test",
            .descriptor = world->descriptor,
            .garbage_ttl_s = 60,
            .base_ratio = 10,
        };
        world->outbox = daemon_outbox_new(&publisher, 0, &error);
        cr_assert(world->outbox && daemon_outbox_start(world->outbox, &error) == 0, "%s", error.text);
    }
    const struct daemon_learner_config config = {
        .model = world->model,
        .feed = world->feed,
        .outbox = world->outbox,
        .tick_ms = TICK_MS,
        .publish_interval_ms = 20,
        .state_dir = world->directory,
        .predictions = world->predictions,
        .clock = &base_clock_system,
    };
    world->learner = daemon_learner_new(&config, &error);
    cr_assert(world->learner && daemon_learner_start(world->learner, &error) == 0, "%s", error.text);
}

// Closes the feed and waits for the thread.
static void world_drain(struct world *world)
{
    daemon_feed_close(world->feed);
    daemon_learner_join(world->learner);
}

static void world_stop(struct world *world)
{
    daemon_learner_free(world->learner);
    daemon_outbox_free(world->outbox);
    daemon_feed_free(world->feed);
    trainer_model_free(world->model);
    free(world->descriptor);
    support_directory_remove(world->directory);
}

// One tick of `count` samples of few items; with a weight that is not finite if `poison`.
static void world_tick(struct world *world, int64_t tick, uint32_t count, bool poison)
{
    uint64_t keys[64][2];
    struct base_sample samples[64];
    cr_assert(count <= 64);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t item = world->sequence * 7 % 13;
        keys[i][0] = 1; // one key in the only column
        keys[i][1] = base_hash_slot_integer(base_hash_slot_salt("item"), (int64_t)item);
        samples[i] = (struct base_sample){
            .due_time = tick * TICK_MS,
            .sequence = world->sequence++,
            .kind = item < 4 ? BASE_C1 : BASE_N0,
            .mask = item < 4 ? 1 : 3,
            .trains = 1,
            .label = {item < 4},
            .weight = {poison ? INFINITY : 1, item < 4 ? 0 : 1},
            .impression_id = base_span_string("id"),
            .columns = base_span_make(keys[i], sizeof keys[i]),
        };
    }
    struct base_error error = {0};
    // A learner that has stopped refuses further ticks: that is for the test to see in its state.
    daemon_feed_tick(world->feed, tick, samples, count, 0, &error);
}

static uint64_t reader_hash(const char *socket, int64_t *tick)
{
    const struct publisher_reader_config config = {.redis = {.socket = socket, .timeout_ms = 1000},
                                                   .model = "test"};
    struct base_error error = {0};
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    bool changed;
    cr_assert(reader && publisher_reader_follow(reader, 0, &changed, &error) == 0, "%s", error.text);
    uint64_t hash = publisher_reader_hash(reader);
    *tick = publisher_reader_tick(reader);
    publisher_reader_free(reader);
    return hash;
}

static void nap(void)
{
    nanosleep(&(struct timespec){0, 10000000}, NULL);
}

Test(daemon_learner, what_was_learned_last_is_in_redis)
{
    struct support_redis *redis = support_redis_start(NULL);
    struct world world = {0};
    world_start(&world, support_redis_socket(redis));
    for (int64_t tick = 1; tick <= 50; tick++) {
        world_tick(&world, tick, 20, false);
        nap();
    }
    world_drain(&world);
    struct daemon_learner_state state;
    daemon_learner_state(world.learner, &state);
    cr_assert_eq(state.error.code, BASE_OK, "%s", state.error.text);
    cr_assert(state.ended);
    cr_assert_eq(state.samples, 1000);
    cr_assert_eq(state.minibatches, 150);
    cr_assert_eq(state.tick, 50);
    cr_assert_eq(state.total[0].events, 1000.0);
    struct daemon_outbox_state outbox;
    daemon_outbox_state(world.outbox, &outbox);
    cr_assert_gt(outbox.publications, 2);
    cr_assert_eq(outbox.last_tick, 50);
    int64_t tick;
    cr_assert_eq(reader_hash(support_redis_socket(redis), &tick), trainer_model_hash(world.model));
    cr_assert_eq(tick, 50);
    world_stop(&world);
    support_redis_stop(redis);
}

// The fingerprint of a single sample.
static uint64_t fingerprint_of(const struct base_sample *sample)
{
    struct world world = {0};
    world_start(&world, NULL);
    struct base_error error = {0};
    cr_assert_eq(daemon_feed_tick(world.feed, 1, sample, 1, 0, &error), 0);
    world_drain(&world);
    struct daemon_learner_state state;
    daemon_learner_state(world.learner, &state);
    cr_assert_eq(state.error.code, BASE_OK, "%s", state.error.text);
    world_stop(&world);
    return state.fingerprint;
}

// What it is made of: also values and the impression's weight, but only where there are any.
Test(daemon_learner, a_fingerprint_covers_values_and_weights)
{
    uint64_t columns[2] = {0, 0};
    struct base_sample plain = {
        .due_time = TICK_MS,
        .kind = BASE_C1,
        .mask = 1,
        .trains = 1,
        .label = {1},
        .weight = {1},
        .value = {NAN},
        .impression_id = base_span_string("id"),
        .columns = base_span_make(columns, sizeof columns[0]),
    };
    // As it was before there were values and weights.
    const uint64_t old = UINT64_C(0xa29de86009337cee);
    cr_assert_eq(fingerprint_of(&plain), old, "%016llx", (unsigned long long)fingerprint_of(&plain));
    struct base_sample other = plain;
    other.weight[0] = 2; // follows from the rest
    other.value[1] = 3;  // of a label that is 0
    cr_assert_eq(fingerprint_of(&other), old);
    uint64_t seen[6] = {old};
    for (uint32_t i = 1; i < 6; i++) {
        other = plain;
        other.value[0] = i < 3 ? (float)i : NAN; // 1, 2
        other.weighted = i >= 3;
        other.impression_weight = i == 3 ? 0 : i == 4 ? 1 : 0.5f;
        seen[i] = fingerprint_of(&other);
        for (uint32_t k = 0; k < i; k++) {
            cr_assert_neq(seen[k], seen[i], "%u, %u", k, i);
        }
    }
}

Test(daemon_learner, redis_away_at_the_start_and_in_the_middle_loses_nothing)
{
    struct support_redis *redis = support_redis_start(NULL);
    support_redis_kill(redis);
    struct world world = {0};
    world_start(&world, support_redis_socket(redis));
    for (int64_t tick = 1; tick <= 10; tick++) {
        world_tick(&world, tick, 20, false);
    }
    struct daemon_outbox_state outbox;
    do {
        nap();
        daemon_outbox_state(world.outbox, &outbox);
    } while (outbox.failures == 0);
    cr_assert_eq(outbox.error.code, BASE_ENETWORK);
    cr_assert(!outbox.failed && !outbox.connected);
    support_redis_restart(redis);
    do {
        nap();
        daemon_outbox_state(world.outbox, &outbox);
    } while (outbox.publications == 0);

    // An empty server at the same address: the next publication is a base again.
    support_redis_restart(redis);
    for (int64_t tick = 11; tick <= 60; tick++) {
        world_tick(&world, tick, 20, false);
        nap();
    }
    world_drain(&world);
    int64_t tick;
    cr_assert_eq(reader_hash(support_redis_socket(redis), &tick), trainer_model_hash(world.model));
    cr_assert_eq(tick, 60);
    daemon_outbox_state(world.outbox, &outbox);
    cr_assert(!outbox.failed);
    world_stop(&world);
    support_redis_stop(redis);
}

Test(daemon_learner, nothing_older_than_head_is_published)
{
    struct support_redis *redis = support_redis_start(NULL);
    struct world first = {0}, second = {0};
    world_start(&first, support_redis_socket(redis));
    world_tick(&first, 100, 20, false);
    world_drain(&first);
    int64_t tick;
    uint64_t head = reader_hash(support_redis_socket(redis), &tick);
    cr_assert_eq(tick, 100);
    world_stop(&first);

    world_start(&second, support_redis_socket(redis));
    world_tick(&second, 99, 20, false);
    world_tick(&second, 100, 20, false);
    world_drain(&second);
    struct daemon_outbox_state outbox;
    daemon_outbox_state(second.outbox, &outbox);
    cr_assert_eq(outbox.head_tick, 100);
    cr_assert_eq(outbox.publications, 0);
    cr_assert_eq(reader_hash(support_redis_socket(redis), &tick), head);
    world_stop(&second);

    struct world third = {0};
    world_start(&third, support_redis_socket(redis));
    world_tick(&third, 101, 20, false);
    world_drain(&third);
    cr_assert_eq(reader_hash(support_redis_socket(redis), &tick), trainer_model_hash(third.model));
    cr_assert_eq(tick, 101);
    world_stop(&third);
    support_redis_stop(redis);
}

Test(daemon_learner, what_is_not_finite_is_set_aside_and_told)
{
    struct world world = {0};
    world_start(&world, NULL);
    world_tick(&world, 1, BATCH, false);
    world_tick(&world, 2, BATCH, true);
    world_tick(&world, 3, BATCH, false);
    world_drain(&world);
    struct daemon_learner_state state;
    daemon_learner_state(world.learner, &state);
    cr_assert_eq(state.error.code, BASE_OK, "%s", state.error.text);
    cr_assert_eq(state.set_aside, 1);
    cr_assert_eq(state.minibatches, 3);
    cr_assert_eq(state.samples, 2 * BATCH);

    char path[512], line[512] = "";
    snprintf(path, sizeof path, "%s/set-aside.jsonl", world.directory);
    FILE *file = fopen(path, "r");
    cr_assert(file && fgets(line, sizeof line, file));
    fclose(file);
    cr_assert_str_eq(line,
                     "{\"tick\":2,\"samples\":[[0,8],[0,9],[0,10],[0,11],[0,12],[0,13],[0,14],[0,15]]}\n");
    world_stop(&world);
}

Test(daemon_learner, too_many_that_are_not_finite_stop_it)
{
    struct world world = {0};
    world_start(&world, NULL);
    for (int64_t tick = 1; tick <= DAEMON_LEARNER_ASIDE_MAX + 1; tick++) {
        world_tick(&world, tick, BATCH, true);
    }
    daemon_learner_join(world.learner);
    struct daemon_learner_state state;
    daemon_learner_state(world.learner, &state);
    cr_assert_eq(state.error.code, BASE_ELIMIT);
    cr_assert(strstr(state.error.text, "set-aside.jsonl"), "%s", state.error.text);
    cr_assert_eq(state.set_aside, DAEMON_LEARNER_ASIDE_MAX + 1);
    world_stop(&world);
}

Test(daemon_learner, a_state_directory_that_cannot_be_written_is_an_error)
{
    struct world world = {0};
    world_start(&world, NULL);
    rmdir(world.directory);
    world_tick(&world, 1, BATCH, true);
    daemon_learner_join(world.learner);
    struct daemon_learner_state state;
    daemon_learner_state(world.learner, &state);
    cr_assert_eq(state.error.code, BASE_EIO);
    cr_assert(strstr(state.error.text, world.directory), "%s", state.error.text);
    world_stop(&world);
}

Test(daemon_learner, predictions_that_do_not_fit_on_the_disk_are_an_error)
{
    struct world world = {.predictions = "/dev/full"};
    world_start(&world, NULL);
    world_tick(&world, 1, BATCH, false); // few enough to wait in a buffer until the end
    world_drain(&world);
    struct daemon_learner_state state;
    daemon_learner_state(world.learner, &state);
    cr_assert_eq(state.error.code, BASE_EIO);
    cr_assert(strstr(state.error.text, "/dev/full"), "%s", state.error.text);
    world_stop(&world);
}

static double seconds_now(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

Test(daemon_learner, the_end_waits_for_redis_only_with_something_to_publish)
{
    struct world world = {0};
    world_start(&world, "/nowhere/redis.sock");
    double begin = seconds_now(CLOCK_MONOTONIC);
    world_drain(&world);
    cr_assert_lt(seconds_now(CLOCK_MONOTONIC) - begin, 3);
    struct daemon_learner_state state;
    daemon_learner_state(world.learner, &state);
    cr_assert_eq(state.error.code, BASE_OK);
    world_stop(&world);
}

Test(daemon_learner, waiting_for_the_first_connection_takes_no_processor_time)
{
    struct world world = {0};
    world_start(&world, "/nowhere/redis.sock");
    world_tick(&world, 1, BATCH, false);
    double wall = seconds_now(CLOCK_MONOTONIC), used = seconds_now(CLOCK_PROCESS_CPUTIME_ID);
    world_drain(&world);
    wall = seconds_now(CLOCK_MONOTONIC) - wall;
    used = seconds_now(CLOCK_PROCESS_CPUTIME_ID) - used;
    cr_assert(wall > 5 && wall < 15, "%g s", wall);
    cr_assert_lt(used, wall / 5, "%g s of %g s", used, wall);
    world_stop(&world);
}
