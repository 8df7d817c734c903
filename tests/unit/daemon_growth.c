// A daemon that has learned is given slots, a numeric input and an action, and goes on: from one cut all
// lives come to the same weights, nothing is lost, and readers follow. On one thread, with a clock of the
// test's own and a database in memory.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "daemon/pipeline.h"
#include "daemon_pipeline_world.h"
#include "publisher/reader.h"
#include "support_redis.h"

enum { IMPRESSIONS = 12000, STEP_MS = 20, STEPS_MAX = 100000, TEXT = 4096 };

struct machine {
    struct world world;
    struct daemon_config *small, *large;
    int64_t now_ms;
    struct base_clock clock;
    struct daemon_store *store;
    struct daemon_pipeline_options options;
};

static int64_t machine_monotonic_ns(void *context)
{
    return ((struct machine *)context)->now_ms * 1000000;
}

static int64_t machine_wall_ms(void *context)
{
    return ((struct machine *)context)->now_ms;
}

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
static struct daemon_config *load(const struct machine *machine, const char *model, const char *socket,
                                  const char *slots, const char *further, const char *source)
{
    char text[TEXT], files[DAEMON_SCRATCH_MAX + 32];
    const char *directory = machine->world.directory;
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
    config->cuts.interval = STEP_MS;
    config->cuts.share = 1;
    return config;
}

static void machine_open(struct machine *machine, const char *model, const char *socket)
{
    *machine = (struct machine){.now_ms = 1000};
    world_open(&machine->world, IMPRESSIONS, socket);
    machine->small = load(machine, model, socket, small_slots, "", NULL);
    machine->large = load(machine, model, socket, large_slots, bought, NULL);
    machine->clock = (struct base_clock){machine_monotonic_ns, machine_wall_ms, machine};
    machine->store = daemon_store_memory_new();
    machine->options = (struct daemon_pipeline_options){
        .durable = true,
        .bounded = true,
        .finish = true,
        .fetch = 64,
        .parts = {.store = machine->store, .clock = &machine->clock},
    };
}

static void machine_close(struct machine *machine)
{
    daemon_store_close(machine->store);
    daemon_config_free(machine->small);
    daemon_config_free(machine->large);
    world_close(&machine->world);
}

static struct daemon_pipeline *machine_start(struct machine *machine, const struct daemon_config *config)
{
    struct base_error error = {0};
    struct daemon_pipeline *pipeline = daemon_pipeline_new(config, &machine->options, &error);
    cr_assert(pipeline, "%s", error.text);
    return pipeline;
}

// Up to `steps` steps. True: it has ended.
static bool machine_step(struct machine *machine, struct daemon_pipeline *pipeline, int steps)
{
    for (int i = 0; i < steps; i++) {
        machine->now_ms += STEP_MS;
        if (!daemon_pipeline_step(pipeline)) {
            return true;
        }
    }
    return false;
}

// The small life, killed after some cuts. It is the same each time.
static void machine_learn(struct machine *machine, uint64_t cuts)
{
    struct daemon_pipeline *pipeline = machine_start(machine, machine->small);
    struct daemon_pipeline_state state = {0};
    while (state.cutter.cuts < cuts || state.learner.samples < 1000) {
        cr_assert_not(machine_step(machine, pipeline, 1));
        daemon_pipeline_state(pipeline, &state);
    }
    daemon_pipeline_free(pipeline);
}

static uint64_t machine_finish(struct machine *machine, struct daemon_pipeline *pipeline,
                               struct daemon_pipeline_state *state)
{
    struct base_error error = {0};
    cr_assert(machine_step(machine, pipeline, STEPS_MAX));
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
    daemon_pipeline_state(pipeline, state);
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
    struct machine machine;
    machine_open(&machine, model, "/nowhere/redis.sock");
    machine_learn(&machine, 2);
    struct daemon_cut_record small, record;
    struct base_error error = {0};
    cr_assert_eq(daemon_cuts_get(machine.store, &small, &error), 0, "%s", error.text);
    int before_first = 0;
    for (int i = 0; i < kills; i++) {
        cr_assert_eq(daemon_cuts_get(machine.store, &record, &error), 0, "%s", error.text);
        struct daemon_pipeline *pipeline = machine_start(&machine, machine.large);
        expect_news(pipeline, record.number == small.number);
        before_first += record.number == small.number;
        bool ended =
            machine_step(&machine, pipeline, i == 0 ? 1 : (int)(base_random_bits(seed, (uint64_t)i) % 12));
        daemon_pipeline_free(pipeline);
        if (ended) {
            break;
        }
    }
    struct daemon_pipeline *pipeline = machine_start(&machine, machine.large);
    uint64_t hash = machine_finish(&machine, pipeline, state);
    cr_assert(kills == 0 || before_first > 0);
    machine_close(&machine);
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
    struct machine machine;
    machine_open(&machine, "", socket);
    machine.options.publish = true;
    machine_learn(&machine, 2);
    const struct publisher_reader_config config = {.redis = {.socket = socket, .timeout_ms = 2000},
                                                   .model = "test"};
    struct base_error error = {0};
    bool changed;
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    cr_assert(reader && publisher_reader_follow(reader, 0, &changed, &error) == 0, "%s", error.text);
    cr_assert_eq(publisher_reader_descriptor(reader)->config.features.slots, 2);
    uint64_t rows = publisher_reader_rows(reader);
    cr_assert_gt(rows, 100);
    struct daemon_pipeline *pipeline = machine_start(&machine, machine.large);
    struct daemon_pipeline_state state;
    do {
        cr_assert_not(machine_step(&machine, pipeline, 1));
        daemon_pipeline_state(pipeline, &state);
    } while (state.outbox.publications < 2);
    cr_assert_eq(publisher_reader_follow(reader, 0, &changed, &error), 0, "%s", error.text);
    cr_assert(changed);
    const struct trainer_descriptor *descriptor = publisher_reader_descriptor(reader);
    cr_assert_eq(descriptor->config.features.slots, 5);
    cr_assert_eq(descriptor->config.loss.tasks, 2);
    cr_assert_geq(publisher_reader_rows(reader), rows, "no row is lost");
    uint64_t hash = machine_finish(&machine, pipeline, &state);
    cr_assert_eq(publisher_reader_follow(reader, 0, &changed, &error), 0, "%s", error.text);
    cr_assert_eq(publisher_reader_hash(reader), hash);
    publisher_reader_free(reader);
    machine_close(&machine);
    support_redis_stop(redis);
}

static void refuse(struct machine *machine, const char *slots, const char *further, const char *text)
{
    struct base_error error = {0};
    struct daemon_config *config = load(machine, "", "/nowhere/redis.sock", slots, further, NULL);
    cr_assert_null(daemon_pipeline_new(config, &machine->options, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT, "%s", error.text);
    cr_assert(strstr(error.text, text), "%s", error.text);
    daemon_config_free(config);
}

// What is no growth is refused, and leaves the state as it was.
Test(daemon_growth, what_is_no_growth_is_refused)
{
    struct machine machine;
    machine_open(&machine, "", "/nowhere/redis.sock");
    machine_learn(&machine, 2);
    refuse(&machine, "  - {name: user, path: categorical.user, dimension: 16}\n", "", "no slot item");
    refuse(&machine, small_slots,
           "  - {name: purchase, topic: purchases, framing: bare, wait: 1m, window: 2m}\n",
           "purchase is new and a stage of the funnel");
    struct daemon_pipeline_state state;
    machine_finish(&machine, machine_start(&machine, machine.small), &state);
    machine_close(&machine);
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

static void expect_begin(struct machine *machine, const char *source, bool bounded, int64_t first,
                         int64_t second)
{
    struct base_error error = {0};
    struct asked asked = {0};
    struct daemon_config *config = load(machine, "", "/nowhere/redis.sock", large_slots, bought, source);
    machine->options.bounded = machine->options.finish = bounded;
    machine->options.parts.open_source = ask;
    machine->options.parts.context = &asked;
    cr_assert_null(daemon_pipeline_new(config, &machine->options, &error));
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
    struct machine machine;
    machine_open(&machine, "", "/nowhere/redis.sock");
    machine_learn(&machine, 2);
    expect_begin(&machine, KAFKA, false, CONSUMER_OFFSET_EARLIEST, CONSUMER_OFFSET_EARLIEST);
    expect_begin(&machine, KAFKA ", start: latest", false, CONSUMER_OFFSET_LATEST, CONSUMER_OFFSET_LATEST);
    expect_begin(&machine, offsets, false, 7, CONSUMER_OFFSET_LATEST);
    // Bounded it is of all there is, but for what the offsets cut off.
    expect_begin(&machine, KAFKA ", start: latest", true, CONSUMER_OFFSET_EARLIEST, CONSUMER_OFFSET_EARLIEST);
    expect_begin(&machine, offsets, true, 7, CONSUMER_OFFSET_LATEST);
    machine_close(&machine);
}
