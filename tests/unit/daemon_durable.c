// Tests of the durable pipeline: stopped or killed anywhere, it goes on from the last cut and comes to the
// same weights; what a failing database, other settings and other arithmetic do. Mostly on one thread, with a
// clock of the test's own and a database in memory; once with threads and RocksDB.
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/random.h"
#include "daemon/pipeline.h"
#include "daemon_machine.h"
#include "daemon_pipeline_world.h"
#include "publisher/keys.h"
#include "publisher/manifest.h"
#include "publisher/reader.h"
#include "publisher/redis.h"
#include "support_redis.h"

enum { IMPRESSIONS = 12000 };

// What an undisturbed replay comes to.
static uint64_t world_weights(const struct world *world, struct daemon_pipeline_state *state)
{
    char directory[WORLD_PATH];
    snprintf(directory, sizeof directory, "%s/replay", world->directory);
    const struct daemon_pipeline_options options = {.bounded = true, .finish = true, .state_dir = directory};
    struct base_error error = {0};
    struct daemon_pipeline *pipeline = daemon_pipeline_new(world->config, &options, &error);
    cr_assert(pipeline && daemon_pipeline_start(pipeline, &error) == 0, "%s", error.text);
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
    daemon_pipeline_state(pipeline, state);
    uint64_t hash = daemon_pipeline_hash(pipeline);
    daemon_pipeline_free(pipeline);
    return hash;
}

// Returns the steps of optimisers that were counted.
static uint64_t killed_anywhere(const char *model)
{
    struct world world = {.dead = 5, .model = model};
    world_open(&world, IMPRESSIONS, "/nowhere/redis.sock");
    struct daemon_pipeline_state expected, state;
    uint64_t hash = world_weights(&world, &expected);
    world.config->cuts.interval = MACHINE_STEP_MS;
    world.config->cuts.share = 1;
    struct machine machine;
    machine_open(&machine);
    uint64_t went_on = 0, lives = 1;
    for (uint64_t draw = 0;; draw++) {
        struct daemon_pipeline *pipeline = machine_start(&machine, world.config);
        struct daemon_pipeline_beginning beginning;
        daemon_pipeline_beginning(pipeline, &beginning);
        went_on += beginning.cut > 0;
        if (lives > 40 || machine_step(&machine, pipeline, 1 + (int)(base_random_bits(77, draw) % 30))) {
            machine_finish(&machine, pipeline, &state);
            cr_assert_eq(daemon_pipeline_hash(pipeline), hash);
            daemon_pipeline_free(pipeline);
            break;
        }
        daemon_pipeline_free(pipeline); // whatever it had in memory is gone
        lives++;
    }
    cr_assert(lives > 5 && went_on > 3, "%llu lives, %llu from a cut", (unsigned long long)lives,
              (unsigned long long)went_on);
    cr_assert_eq(state.learner.samples, expected.learner.samples);
    cr_assert_eq(state.learner.fingerprint, expected.learner.fingerprint);
    cr_assert_eq(state.learner.finals, expected.learner.finals);
    cr_assert_gt(state.learner.finals, 0);
    for (int kind = 0; kind < BASE_KINDS; kind++) {
        cr_assert_eq(state.ingest.counters.samples[kind], expected.ingest.counters.samples[kind]);
    }
    cr_assert_eq(state.learner.update.steps, expected.learner.update.steps);
    cr_assert_eq(state.learner.update.clipped_dense, expected.learner.update.clipped_dense);
    daemon_store_close(machine.store);
    world_close(&world);
    return state.learner.update.steps;
}

Test(daemon_durable, killed_anywhere_it_comes_to_the_same_weights)
{
    cr_assert_eq(killed_anywhere(NULL), 0);
}

// Adam's moments and steps, rows' accumulators and clocks, schedules and counts: all of it comes back.
Test(daemon_durable, killed_anywhere_with_optimisers_that_keep_state)
{
    uint64_t steps = killed_anywhere(
        "  rate: {dense: 0.001, sparse: 0.05}\n"
        "  optimizer: {dense: {kind: adam}, sparse: {kind: rowwise_adagrad, half_life: 2000}}\n"
        "  schedule: {dense: {warmup: 1000}, sparse: {half_life: 5000, floor: 0.2}}\n"
        "  clip: {dense: 0.5}\n");
    cr_assert_gt(steps, 100);
}

// The journal's files.
static int journal_files(const struct world *world)
{
    char path[WORLD_PATH];
    snprintf(path, sizeof path, "%s/journal", world->config->state_dir);
    DIR *directory = opendir(path);
    cr_assert_not_null(directory, "%s", path);
    int files = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        files += entry->d_name[0] != '.';
    }
    closedir(directory);
    return files;
}

Test(daemon_durable, the_journal_is_shortened_behind_the_cuts)
{
    struct world world = {.dead = 5000};
    world_open(&world, IMPRESSIONS, "/nowhere/redis.sock");
    struct daemon_pipeline_state expected, state;
    uint64_t hash = world_weights(&world, &expected);
    struct machine machine;
    machine_open(&machine);
    machine.options.parts.journal_bytes = 1; // a file a tick with decisions
    world.config->cuts.interval = INT32_MAX;
    struct daemon_pipeline *pipeline = machine_start(&machine, world.config);
    cr_assert(!machine_step(&machine, pipeline, 40));
    int without = journal_files(&world);
    cr_assert_gt(without, 5, "%d files", without);
    daemon_pipeline_free(pipeline); // no cut was made: all of it is needed

    world.config->cuts.interval = MACHINE_STEP_MS;
    world.config->cuts.share = 1;
    pipeline = machine_start(&machine, world.config);
    cr_assert(!machine_step(&machine, pipeline, 60));
    daemon_pipeline_state(pipeline, &state);
    cr_assert_gt(state.cutter.cuts, 2);
    int behind = journal_files(&world);
    cr_assert_lt(behind, without, "%d files, then %d", without, behind);
    daemon_pipeline_free(pipeline);

    pipeline = machine_start(&machine, world.config);
    machine_finish(&machine, pipeline, &state);
    cr_assert_eq(daemon_pipeline_hash(pipeline), hash);
    daemon_pipeline_free(pipeline);
    daemon_store_close(machine.store);
    world_close(&world);
}

Test(daemon_durable, cuts_come_after_their_interval)
{
    struct world world = {0};
    world_open(&world, IMPRESSIONS, "/nowhere/redis.sock");
    world.config->cuts.interval = 10 * MACHINE_STEP_MS;
    world.config->cuts.share = 1;
    struct machine machine;
    machine_open(&machine);
    struct daemon_pipeline *pipeline = machine_start(&machine, world.config);
    struct daemon_pipeline_state state;
    cr_assert(!machine_step(&machine, pipeline, 9));
    daemon_pipeline_state(pipeline, &state);
    cr_assert_eq(state.cutter.cuts, 0);
    cr_assert(!machine_step(&machine, pipeline, 50));
    daemon_pipeline_state(pipeline, &state);
    cr_assert(state.cutter.cuts >= 1 && state.cutter.cuts <= 20, "%llu",
              (unsigned long long)state.cutter.cuts);
    cr_assert_eq(state.cutter.done, state.cutter.cuts);
    cr_assert_gt(state.cutter.bytes, 0);
    daemon_pipeline_free(pipeline);
    daemon_store_close(machine.store);
    world_close(&world);
}

static int refuse(void *context, struct base_error *error)
{
    (void)context;
    return base_error_set(error, BASE_EIO, "the disk of the test is full");
}

Test(daemon_durable, a_cut_that_cannot_be_written_ends_the_process)
{
    struct world world = {0};
    world_open(&world, IMPRESSIONS, "/nowhere/redis.sock");
    world.config->cuts.interval = MACHINE_STEP_MS;
    struct machine machine;
    machine_open(&machine);
    daemon_store_memory_fail(machine.store, refuse, NULL);
    struct daemon_pipeline *pipeline = machine_start(&machine, world.config);
    struct base_error error = {0};
    cr_assert(machine_step(&machine, pipeline, MACHINE_STEPS_MAX));
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(error.fatal && strstr(error.text, "the disk of the test is full"), "%s", error.text);
    daemon_pipeline_free(pipeline);

    // Nothing of it was made: the next process begins afresh.
    daemon_store_memory_fail(machine.store, NULL, NULL);
    pipeline = machine_start(&machine, world.config);
    struct daemon_pipeline_beginning beginning;
    daemon_pipeline_beginning(pipeline, &beginning);
    cr_assert_eq(beginning.cut, 0);
    daemon_pipeline_free(pipeline);
    daemon_store_close(machine.store);
    world_close(&world);
}

Test(daemon_durable, a_learner_that_fails_leaves_no_cut_to_wait_for, .timeout = 60)
{
    struct world world = {0};
    world_open(&world, IMPRESSIONS, "/nowhere/redis.sock");
    world.config->cuts.interval = 1;
    world.config->cuts.share = 1;
    const struct daemon_pipeline_options options = {
        .durable = true, .bounded = true, .finish = true, .fetch = 64, .predictions = "/dev/full"};
    struct base_error error = {0};
    struct daemon_pipeline *pipeline = daemon_pipeline_new(world.config, &options, &error);
    cr_assert(pipeline && daemon_pipeline_start(pipeline, &error) == 0, "%s", error.text);
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), -1);
    cr_assert(error.code == BASE_EIO && strstr(error.text, "/dev/full"), "%s", error.text);
    daemon_pipeline_free(pipeline);
    world_close(&world);
}

// Runs until some cuts are made.
static void machine_make_cuts(struct machine *machine, struct world *world)
{
    world->config->cuts.interval = MACHINE_STEP_MS;
    world->config->cuts.share = 1;
    struct daemon_pipeline *pipeline = machine_start(machine, world->config);
    cr_assert(!machine_step(machine, pipeline, 25));
    struct daemon_pipeline_state state;
    daemon_pipeline_state(pipeline, &state);
    cr_assert_gt(state.cutter.cuts, 0);
    daemon_pipeline_free(pipeline);
}

Test(daemon_durable, other_settings_and_other_arithmetic_are_told)
{
    struct world world = {0};
    world_open(&world, IMPRESSIONS, "/nowhere/redis.sock");
    struct machine machine;
    machine_open(&machine);
    machine_make_cuts(&machine, &world);
    struct base_error error = {0};
    struct daemon_cut_record record;
    cr_assert_eq(daemon_cuts_get(machine.store, &record, &error), 0, "%s", error.text);
    snprintf(record.era, sizeof record.era, "an abacus");
    struct daemon_store_batch *batch = daemon_store_batch_new();
    daemon_cuts_put(batch, &record);
    cr_assert_eq(daemon_store_write(machine.store, batch, &error), 0);
    daemon_store_batch_free(batch);

    world.config->hash++;
    struct daemon_pipeline *pipeline = machine_start(&machine, world.config);
    struct daemon_pipeline_beginning beginning;
    daemon_pipeline_beginning(pipeline, &beginning);
    cr_assert(beginning.cut > 0 && beginning.new_era && beginning.new_config);
    daemon_pipeline_free(pipeline);

    // A replay that is to come to the same weights refuses other settings.
    struct daemon_pipeline_options options = machine.options;
    options.durable = false;
    options.restore = true;
    cr_assert_null(daemon_pipeline_new(world.config, &options, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT);
    cr_assert(strstr(error.text, "other settings"), "%s", error.text);
    daemon_store_close(machine.store);
    world_close(&world);
}

Test(daemon_durable, an_older_database_is_refused)
{
    struct world world = {0};
    world_open(&world, IMPRESSIONS, "/nowhere/redis.sock");
    struct machine machine;
    machine_open(&machine);
    machine_make_cuts(&machine, &world);
    struct daemon_store *old = daemon_store_memory_clone(machine.store), *present = machine.store;
    machine_make_cuts(&machine, &world);
    machine.options.parts.store = old;
    struct base_error error = {0};
    cr_assert_null(daemon_pipeline_new(world.config, &machine.options, &error));
    cr_assert(error.code == BASE_ECONFLICT && error.fatal, "%s", error.text);
    daemon_store_close(old);
    daemon_store_close(present);
    world_close(&world);
}

// The manifest that head names.
static struct publisher_manifest *head_manifest(const char *socket)
{
    const struct publisher_redis_config config = {.socket = socket, .timeout_ms = 1000};
    struct base_error error = {0};
    struct publisher_redis *redis = publisher_redis_new(&config, &error);
    cr_assert(redis && publisher_redis_connect(redis, &error) == 0, "%s", error.text);
    char key[PUBLISHER_KEY_MAX];
    struct publisher_reply *reply = NULL;
    publisher_key_head("test", key);
    struct base_span words[] = {base_span_string("GET"), base_span_string(key)};
    cr_assert_eq(publisher_redis_call(redis, words, 2, &reply, &error), 0, "%s", error.text);
    struct publisher_version version;
    uint64_t checksum;
    cr_assert(publisher_head_parse(publisher_reply_text(reply), &version, &checksum));
    publisher_reply_free(reply);
    publisher_key_manifest("test", version, key);
    words[1] = base_span_string(key);
    cr_assert_eq(publisher_redis_call(redis, words, 2, &reply, &error), 0, "%s", error.text);
    struct publisher_manifest *manifest =
        publisher_manifest_parse(publisher_reply_text(reply), "test", &error);
    cr_assert(manifest, "%s", error.text);
    publisher_reply_free(reply);
    publisher_redis_free(redis);
    return manifest;
}

static uint64_t reader_hash(const char *socket)
{
    const struct publisher_reader_config config = {.redis = {.socket = socket, .timeout_ms = 1000},
                                                   .model = "test"};
    struct base_error error = {0};
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    bool changed;
    cr_assert(reader && publisher_reader_follow(reader, 0, &changed, &error) == 0, "%s", error.text);
    uint64_t hash = publisher_reader_hash(reader);
    publisher_reader_free(reader);
    return hash;
}

// A life that dies after `steps`; what head then names, or NULL.
static struct publisher_manifest *machine_live(struct machine *machine, struct world *world, int steps,
                                               const char *socket)
{
    struct daemon_pipeline *pipeline = machine_start(machine, world->config);
    cr_assert(!machine_step(machine, pipeline, steps));
    struct daemon_pipeline_state state;
    daemon_pipeline_state(pipeline, &state);
    daemon_pipeline_free(pipeline);
    return state.outbox.publications ? head_manifest(socket) : NULL;
}

Test(daemon_durable, after_a_crash_publication_goes_on_with_deltas)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct world world = {0};
    world_open(&world, 4 * IMPRESSIONS, socket);
    world.config->publish.interval = MACHINE_STEP_MS;
    world.config->publish.base_ratio = 100;
    world.config->cuts.interval = 4 * MACHINE_STEP_MS;
    world.config->cuts.share = 1;
    struct machine machine;
    machine_open(&machine);
    machine.options.publish = true;
    machine.options.to = NULL;
    struct publisher_manifest *first = machine_live(&machine, &world, 11, socket);
    struct daemon_cut_record record;
    struct base_error error = {0};
    cr_assert_eq(daemon_cuts_get(machine.store, &record, &error), 0, "%s", error.text);
    cr_assert(first && first->tick > record.tick, "head is ahead of the cut: %lld, %lld",
              (long long)first->tick, (long long)record.tick);

    struct daemon_pipeline *pipeline = machine_start(&machine, world.config);
    struct daemon_pipeline_state state;
    machine_finish(&machine, pipeline, &state);
    struct publisher_manifest *last = head_manifest(socket);
    cr_assert(last->version.epoch > first->version.epoch && last->tick > first->tick,
              "%llu.%llu after tick %lld, then %llu.%llu after tick %lld",
              (unsigned long long)first->version.epoch, (unsigned long long)first->version.number,
              (long long)first->tick, (unsigned long long)last->version.epoch,
              (unsigned long long)last->version.number, (long long)last->tick);
    cr_assert(last->deltas > first->deltas && last->base.version.epoch == first->base.version.epoch,
              "a later life builds upon the earlier one's base: %u deltas on %llu.%llu, then %u on %llu.%llu",
              first->deltas, (unsigned long long)first->base.version.epoch,
              (unsigned long long)first->base.version.number, last->deltas,
              (unsigned long long)last->base.version.epoch, (unsigned long long)last->base.version.number);
    cr_assert_eq(reader_hash(socket), daemon_pipeline_hash(pipeline));
    daemon_pipeline_free(pipeline);
    publisher_manifest_free(first);
    publisher_manifest_free(last);
    daemon_store_close(machine.store);
    world_close(&world);
    support_redis_stop(redis);
}

Test(daemon_durable, with_threads_and_a_database_a_stop_loses_nothing)
{
    struct world world = {0};
    world_open(&world, 3 * IMPRESSIONS, "/nowhere/redis.sock");
    struct daemon_pipeline_state expected, state;
    uint64_t hash = world_weights(&world, &expected);
    world.config->cuts.interval = 100;
    world.config->cuts.share = 1;
    world.config->cuts.keep_interval = 0;
    const struct daemon_pipeline_options options = {
        .durable = true, .bounded = true, .finish = true, .fetch = 64};
    struct daemon_pipeline_beginning beginning;
    struct base_error error = {0};
    uint64_t weights = 0;
    for (int life = 0; life < 6 || !expected.joined; life++) {
        struct daemon_pipeline *pipeline = daemon_pipeline_new(world.config, &options, &error);
        cr_assert(pipeline && daemon_pipeline_start(pipeline, &error) == 0, "%s", error.text);
        daemon_pipeline_beginning(pipeline, &beginning);
        cr_assert(life == 0 || beginning.cut > 0);
        if (life < 5) {
            nanosleep(&(struct timespec){0, 60000000}, NULL);
            daemon_pipeline_stop(pipeline);
        }
        cr_assert_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
        daemon_pipeline_state(pipeline, &state);
        weights = state.weights;
        daemon_pipeline_free(pipeline);
    }
    cr_assert_eq(weights, hash);
    cr_assert_eq(state.learner.samples, expected.learner.samples);
    cr_assert_eq(state.learner.fingerprint, expected.learner.fingerprint);
    struct daemon_cuts_kept *kept;
    size_t count;
    cr_assert_eq(daemon_cuts_list(world.config->state_dir, &kept, &count, &error), 0, "%s", error.text);
    cr_assert(count > 0 && count <= world.config->cuts.keep + world.config->cuts.keep_hours);
    free(kept);
    world_close(&world);
}
