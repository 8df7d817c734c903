// A daemon that has learned is given slots, a numeric input and an action, and goes on: from one cut all
// lives come to the same weights, nothing is lost, and readers follow. On one thread, with a clock of the
// test's own and a database in memory.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "daemon/pipeline.h"
#include "daemon_machine.h"
#include "daemon_pipeline_world.h"
#include "publisher/reader.h"
#include "support_redis.h"

enum { IMPRESSIONS = 12000, TEXT = 4096 };

struct grown {
    struct machine machine;
    struct world world;
    struct daemon_config *small, *large; // before it grows, and after
};

static const char small_slots[] = "  - {name: user, path: categorical.user, dimension: 16}\n"
                                  "  - {name: item, path: categorical.item, dimension: 8, admission: 2}\n";
static const char large_slots[] =
    "  - {name: brand, path: categorical.brand, dimension: 4}\n"
    "  - {name: user, path: categorical.user, dimension: 16}\n"
    "  - {name: price_bucket, path: numeric.price, dimension: 4, boundaries: [1, 10]}\n"
    "  - {name: item, path: categorical.item, dimension: 8, admission: 2}\n"
    "  - {name: both, cross: [user, brand], dimension: 4}\n"
    "numerics: [{name: price, path: numeric.price, log1p: true}]\n";
static const char click[] = "  - {name: click, topic: clicks, framing: bare, wait: 30s, window: 1m}\n";
static const char bought[] = "  - {name: purchase, topic: purchases, framing: bare, side: true, parent: "
                             "impression, wait: 1m, window: 2m}\n";

// `source`: NULL for the world's files.
static struct daemon_config *load(const struct grown *grown, const char *model, const char *socket,
                                  const char *slots, const char *further, const char *source)
{
    char text[TEXT], files[DAEMON_SCRATCH_MAX + 32];
    const char *directory = grown->world.directory;
    snprintf(files, sizeof files, "kind: files, path: %s/files", directory);
    snprintf(text, sizeof text,
             "state_dir: %s/state\n"
             "source: {%s}\n"
             "model:\n"
             "  name: test\n"
             "  levels: [{experts: [16], per_task: 1, shared: 1}]\n"
             "  towers: [16]\n"
             "  batch: 64\n"
             "%s"
             "impression: {topic: impressions, framing: bare}\n"
             "actions:\n%s%s"
             "slots:\n%s"
             "publish: {interval: 100ms}\n"
             "redis: {socket: '%s', timeout: 2s}\n",
             directory, source ? source : files, model, click, further, slots, socket);
    struct base_config_problems problems = {0};
    struct daemon_config *config = daemon_config_load_text("growth.yaml", base_span_string(text), &problems);
    cr_assert(config, "%s", problems.count ? problems.item[problems.count - 1].text : "");
    config->cuts.interval = MACHINE_STEP_MS;
    config->cuts.share = 1;
    return config;
}

static void grown_open(struct grown *grown, const char *model, const char *socket)
{
    *grown = (struct grown){0};
    machine_open(&grown->machine);
    world_open(&grown->world, IMPRESSIONS, socket);
    grown->small = load(grown, model, socket, small_slots, "", NULL);
    grown->large = load(grown, model, socket, large_slots, bought, NULL);
}

static void grown_close(struct grown *grown)
{
    daemon_store_close(grown->machine.store);
    daemon_config_free(grown->small);
    daemon_config_free(grown->large);
    world_close(&grown->world);
}

// The small life, killed after some cuts. It is the same each time.
static void grown_learn(struct grown *grown, uint64_t cuts)
{
    struct daemon_pipeline *pipeline = machine_start(&grown->machine, grown->small);
    struct daemon_pipeline_state state = {0};
    while (state.cutter.cuts < cuts || state.learner.samples < 1000) {
        cr_assert_not(machine_step(&grown->machine, pipeline, 1));
        daemon_pipeline_state(pipeline, &state);
    }
    daemon_pipeline_free(pipeline);
}

// To the end; the weights.
static uint64_t grown_finish(struct grown *grown, struct daemon_pipeline *pipeline,
                             struct daemon_pipeline_state *state)
{
    machine_finish(&grown->machine, pipeline, state);
    uint64_t hash = daemon_pipeline_hash(pipeline);
    daemon_pipeline_free(pipeline);
    return hash;
}

static void expect_news(const struct daemon_pipeline *pipeline, bool news)
{
    static const char *const names[] = {"brand", "price_bucket", "both", "price", "purchase"};
    struct daemon_pipeline_beginning beginning;
    daemon_pipeline_beginning(pipeline, &beginning);
    cr_assert_eq(beginning.news_count, news ? 5 : 0);
    cr_assert_eq(beginning.new_actions, news);
    for (uint32_t i = 0; i < beginning.news_count; i++) {
        cr_assert_str_eq(beginning.news[i].name, names[i]);
    }
}

// Killed at `kills` places drawn from `seed` after the growth, the first of them often before there is
// another cut. Returns the weights that it comes to.
static uint64_t grow(const char *model, uint64_t seed, int kills, struct daemon_pipeline_state *state)
{
    struct grown grown;
    grown_open(&grown, model, "/nowhere/redis.sock");
    grown_learn(&grown, 2);
    struct daemon_cut_record small, record;
    struct base_error error = {0};
    cr_assert_eq(daemon_cuts_get(grown.machine.store, &small, &error), 0, "%s", error.text);
    int before_first = 0;
    for (int i = 0; i < kills; i++) {
        cr_assert_eq(daemon_cuts_get(grown.machine.store, &record, &error), 0, "%s", error.text);
        struct daemon_pipeline *pipeline = machine_start(&grown.machine, grown.large);
        expect_news(pipeline, record.number == small.number);
        before_first += record.number == small.number;
        bool ended = machine_step(&grown.machine, pipeline,
                                  i == 0 ? 1 : (int)(base_random_bits(seed, (uint64_t)i) % 12));
        daemon_pipeline_free(pipeline);
        if (ended) {
            break;
        }
    }
    struct daemon_pipeline *pipeline = machine_start(&grown.machine, grown.large);
    uint64_t hash = grown_finish(&grown, pipeline, state);
    cr_assert(kills == 0 || before_first > 0);
    grown_close(&grown);
    return hash;
}

static void grow_everywhere(const char *model)
{
    struct daemon_pipeline_state expected, state;
    uint64_t hash = grow(model, 0, 0, &expected);
    cr_assert_gt(expected.learner.samples, 2000);
    // Of the new action's records some were joined, those of older impressions not.
    cr_assert_gt(expected.ingest.counters.joined[2], 100);
    cr_assert_gt(expected.ingest.counters.beyond[2], 100);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        cr_assert_eq(grow(model, seed, 12, &state), hash, "seed %d", (int)seed);
        cr_assert_eq(state.learner.fingerprint, expected.learner.fingerprint);
        cr_assert_eq(state.learner.samples, expected.learner.samples);
        cr_assert_eq(memcmp(&state.ingest.counters, &expected.ingest.counters, sizeof state.ingest.counters),
                     0);
    }
}

Test(daemon_growth, killed_around_the_growth_it_comes_to_the_same_weights)
{
    grow_everywhere("");
}

Test(daemon_growth, with_optimisers_that_keep_state)
{
    grow_everywhere("  rate: {dense: 0.001, sparse: 0.05}\n"
                    "  optimizer: {dense: {kind: adam}, sparse: {kind: rowwise_adagrad, half_life: 2000}}\n"
                    "  body: mmoe\n");
}

// From the first version after the growth on readers have the new descriptor, by a base of its own.
Test(daemon_growth, readers_follow)
{
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    struct grown grown;
    grown_open(&grown, "", socket);
    grown.machine.options.publish = true;
    grown_learn(&grown, 2);
    const struct publisher_reader_config config = {.redis = {.socket = socket, .timeout_ms = 2000},
                                                   .model = "test"};
    struct base_error error = {0};
    bool changed;
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    cr_assert(reader && publisher_reader_follow(reader, 0, &changed, &error) == 0, "%s", error.text);
    cr_assert_eq(publisher_reader_descriptor(reader)->config.features.slots, 2);
    uint64_t rows = publisher_reader_rows(reader);
    cr_assert_gt(rows, 100);
    struct daemon_pipeline *pipeline = machine_start(&grown.machine, grown.large);
    struct daemon_pipeline_state state;
    do {
        cr_assert_not(machine_step(&grown.machine, pipeline, 1));
        daemon_pipeline_state(pipeline, &state);
    } while (state.outbox.publications < 2);
    cr_assert_eq(publisher_reader_follow(reader, 0, &changed, &error), 0, "%s", error.text);
    cr_assert(changed);
    const struct trainer_descriptor *descriptor = publisher_reader_descriptor(reader);
    cr_assert_eq(descriptor->config.features.slots, 5);
    cr_assert_eq(descriptor->config.loss.tasks, 2);
    cr_assert_geq(publisher_reader_rows(reader), rows, "no row is lost");
    uint64_t hash = grown_finish(&grown, pipeline, &state);
    cr_assert_eq(publisher_reader_follow(reader, 0, &changed, &error), 0, "%s", error.text);
    cr_assert_eq(publisher_reader_hash(reader), hash);
    publisher_reader_free(reader);
    grown_close(&grown);
    support_redis_stop(redis);
}

static void refuse(struct grown *grown, const char *slots, const char *further, const char *text)
{
    struct base_error error = {0};
    struct daemon_config *config = load(grown, "", "/nowhere/redis.sock", slots, further, NULL);
    cr_assert_null(daemon_pipeline_new(config, &grown->machine.options, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT, "%s", error.text);
    cr_assert(strstr(error.text, text), "%s", error.text);
    daemon_config_free(config);
}

// What is no growth is refused, and leaves the state as it was.
Test(daemon_growth, what_is_no_growth_is_refused)
{
    struct grown grown;
    grown_open(&grown, "", "/nowhere/redis.sock");
    grown_learn(&grown, 2);
    refuse(&grown, "  - {name: user, path: categorical.user, dimension: 16}\n", "", "no slot item");
    refuse(&grown, small_slots,
           "  - {name: purchase, topic: purchases, framing: bare, wait: 1m, window: 2m}\n",
           "purchase is new and a stage of the funnel");
    struct daemon_pipeline_state state;
    grown_finish(&grown, machine_start(&grown.machine, grown.small), &state);
    grown_close(&grown);
}

// ---- where a new topic begins ----

struct asked { // of a source that is not there
    uint32_t lanes;
    int64_t offsets[3 * CONSUMER_LANES_MAX];
};

static struct consumer_source *ask(void *context, const int64_t *offsets, uint32_t lanes,
                                   struct base_error *error)
{
    struct asked *asked = context;
    asked->lanes = lanes;
    memcpy(asked->offsets, offsets, 3 * lanes * sizeof *offsets);
    base_error_set(error, BASE_ENETWORK, "nobody is there");
    return NULL;
}

static void expect_begin(struct grown *grown, const char *source, bool bounded, int64_t first, int64_t second)
{
    struct base_error error = {0};
    struct asked asked = {0};
    struct daemon_config *config = load(grown, "", "/nowhere/redis.sock", large_slots, bought, source);
    grown->machine.options.bounded = grown->machine.options.finish = bounded;
    grown->machine.options.parts.open_source = ask;
    grown->machine.options.parts.context = &asked;
    cr_assert_null(daemon_pipeline_new(config, &grown->machine.options, &error));
    cr_assert_eq(error.code, BASE_ENETWORK, "%s", error.text);
    cr_assert_eq(asked.lanes, 2);
    cr_expect_gt(asked.offsets[0], 0, "a topic of the cut goes on");
    cr_expect_eq(asked.offsets[4], first, "%s: %d", source, (int)asked.offsets[4]);
    cr_expect_eq(asked.offsets[5], second, "%s: %d", source, (int)asked.offsets[5]);
    daemon_config_free(config);
}

#define KAFKA "kind: kafka, bootstrap: nowhere"

Test(daemon_growth, a_new_topic_begins_where_all_would)
{
    static const char offsets[] =
        KAFKA ", offsets: {impressions/0: 1, impressions/1: 1, clicks/0: 1, clicks/1: 1, "
              "purchases/0: 7, purchases/1: latest}";
    struct grown grown;
    grown_open(&grown, "", "/nowhere/redis.sock");
    grown_learn(&grown, 2);
    expect_begin(&grown, KAFKA, false, CONSUMER_OFFSET_EARLIEST, CONSUMER_OFFSET_EARLIEST);
    expect_begin(&grown, KAFKA ", start: latest", false, CONSUMER_OFFSET_LATEST, CONSUMER_OFFSET_LATEST);
    expect_begin(&grown, offsets, false, 7, CONSUMER_OFFSET_LATEST);
    // Bounded it is of all there is, but for what the offsets cut off.
    expect_begin(&grown, KAFKA ", start: latest", true, CONSUMER_OFFSET_EARLIEST, CONSUMER_OFFSET_EARLIEST);
    expect_begin(&grown, offsets, true, 7, CONSUMER_OFFSET_LATEST);
    grown_close(&grown);
}
