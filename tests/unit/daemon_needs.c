// Tests of what a configuration needs, against what the rooms really take: a run's disk, and the memory of
// logs, orphans and rows.
#include "daemon/needs.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "consumer/journey.h"
#include "consumer/orphans.h"
#include "consumer/values.h"
#include "daemon/produce.h"
#include "daemon/scratch.h"
#include "daemon_support.h"
#include "trainer/arena.h"
#include "trainer/snapshot.h"
#include "trainer/table.h"

enum { LANES = 2, RECORDS = 30000, PATH_BYTES = DAEMON_SCRATCH_MAX + 32 };

static const char *const topics[DAEMON_MARKET_RANKS] = {"impressions", "clicks", "purchases"};

struct place {
    char directory[DAEMON_SCRATCH_MAX];
    char config[PATH_BYTES], state[PATH_BYTES];
};

static void place_open(struct place *place)
{
    struct base_error error = {0};
    cr_assert_eq(daemon_scratch_make("needs", place->directory, &error), 0, "%s", error.text);
    snprintf(place->config, sizeof place->config, "%s/c.yaml", place->directory);
    snprintf(place->state, sizeof place->state, "%s/state", place->directory);
}

static void place_close(const struct place *place)
{
    struct base_error error = {0};
    cr_assert_eq(daemon_scratch_remove(place->directory, &error), 0, "%s", error.text);
}

// Files of the marketplace, and the configuration that reads them.
static struct daemon_config *place_fill(const struct place *place, uint64_t impressions, double rate)
{
    struct daemon_market_config market = daemon_market_defaults;
    market.impressions = impressions;
    market.lanes = LANES;
    market.rate = rate;
    market.ctr = market.cvr = .3;
    market.delay_scale = .02;
    struct base_error error = {0};
    char files[PATH_BYTES];
    snprintf(files, sizeof files, "%s/files", place->directory);
    struct daemon_produce_sink *sink = daemon_produce_files_new(files, topics, LANES, 1, &error);
    struct daemon_market *walk = daemon_market_new(&market, &error);
    cr_assert(sink && walk, "%s", error.text);
    struct daemon_produce_record record = {0};
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    while (daemon_market_next(walk, &event, &impression)) {
        daemon_produce_encode(1, &event, impression, &record);
        cr_assert_eq(sink->operations->put(sink, &record, &error), 0, "%s", error.text);
    }
    cr_assert_eq(sink->operations->finish(sink, &error), 0, "%s", error.text);
    sink->operations->free(sink);
    daemon_produce_record_free(&record);
    daemon_market_free(walk);

    FILE *file = fopen(place->config, "w");
    cr_assert(file);
    fprintf(file,
            "state_dir: %s\n"
            "source: {kind: files, path: %s}\n"
            "segment: 1MiB\n"
            "model: {levels: [{experts: [16]}], towers: [16], batch: 64}\n"
            "actions:\n"
            "  - {name: click, topic: clicks, wait: 30s, window: 30m}\n"
            "  - {name: purchase, topic: purchases, wait: 1m, window: 1h}\n"
            "slots: [{name: user, path: categorical.user}, {name: item, path: categorical.item}]\n",
            place->state, files);
    fclose(file);
    struct base_config_problems problems = {0};
    struct daemon_config *config = daemon_config_load(place->config, &problems);
    cr_assert(config, "%s", problems.item[0].text);
    return config;
}

static uint64_t disk_taken, files_found;

static int disk_add(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)path;
    (void)walk;
    if (kind == FTW_F) {
        disk_taken += (uint64_t)info->st_blocks * 512;
        files_found++;
    }
    return 0;
}

Test(daemon_needs, disk_is_not_below_what_a_tiny_stream_takes)
{
    struct place place;
    place_open(&place);
    struct daemon_config *config = place_fill(&place, 200, 1);
    struct support_outcome *outcome = support_command(
        daemon_command_replay, "replay",
        (const char *const[]){"-c", place.config, "--state-dir", place.state, "--finish", "--quiet", NULL});
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    char lanes[PATH_BYTES + 8];
    snprintf(lanes, sizeof lanes, "%s/lanes", place.state);
    cr_assert_eq(nftw(lanes, disk_add, 8, FTW_PHYS), 0);

    const struct daemon_needs_rates rates = {.impressions = 1, .ctr = .3, .cvr = .3};
    struct daemon_needs needs;
    daemon_needs(config, &rates, LANES, &needs);
    cr_assert_geq(files_found, 4 * LANES, "journeys of two stages, ids of two actions: %zu", files_found);
    cr_assert_geq(needs.disk, (double)disk_taken);
    cr_assert_geq((double)disk_taken, 4.0 * LANES * (double)config->segment, "a segment a log");
    free(outcome);
    daemon_config_free(config);
    place_close(&place);
}

// Between the real number and this much above it.
static void expect_near(const char *what, double estimated, double real, double above)
{
    cr_expect(estimated >= real && estimated <= real * above, "%s: estimated %g, real %g", what, estimated,
              real);
}

// A weight takes a word more of every record.
Test(daemon_needs, of_weights)
{
    static const char text[] = "source: {kind: files, path: /data}\nslots: [{name: x, path: user_id}]\n";
    const struct daemon_needs_rates rates = {.impressions = 100};
    struct daemon_needs needs[2];
    for (int i = 0; i < 2; i++) {
        struct base_config_problems problems = {0};
        char all[256];
        snprintf(all, sizeof all, "%s%s", text, i ? "impression: {fields: {propensity: position}}\n" : "");
        struct daemon_config *config = daemon_config_load_text("f.yaml", base_span_string(all), &problems);
        cr_assert(config, "%s", problems.item[0].text);
        daemon_needs(config, &rates, 1, &needs[i]);
        daemon_config_free(config);
    }
    for (uint32_t stage = 0; stage < 2; stage++) {
        cr_expect_eq(needs[1].journeys[stage].record_bytes, needs[0].journeys[stage].record_bytes + 8);
    }
    cr_expect_eq(needs[1].ids.record_bytes, needs[0].ids.record_bytes);
}

// The log of one stage, with as many records and columns as the configuration has.
Test(daemon_needs, of_a_journey_log)
{
    struct place place;
    place_open(&place);
    struct daemon_config *config = place_fill(&place, 1, 1);
    struct base_columns_layout layout = daemon_config_layout(config);
    size_t size = base_columns_header_size(layout) + sizeof(uint64_t) * layout.categorical;
    uint64_t columns[64] = {0};
    cr_assert_leq(size, sizeof columns);

    const struct consumer_journey_config log = {
        .directory = place.directory, .name = "x", .segment_bytes = 1 << 20, .retention = 1, .by_id = true};
    struct base_error error = {0};
    struct consumer_journey *journey = consumer_journey_new(&log, &error);
    cr_assert(journey, "%s", error.text);
    for (uint64_t i = 0; i < RECORDS; i++) {
        char id[DAEMON_NEEDS_ID_BYTES + 1];
        snprintf(id, sizeof id, "%036llu", (unsigned long long)i);
        const struct consumer_journey_record record = {
            .entry = 1,
            .parent = CONSUMER_JOURNEY_NONE,
            .impression_id = base_span_string(id),
            .columns = base_span_make(columns, size),
        };
        uint64_t number;
        cr_assert_eq(consumer_journey_append(journey, &record, base_hash_bytes(record.impression_id, 0),
                                             &number, &error),
                     0, "%s", error.text);
    }
    // A rate and a window that make as many records.
    const struct daemon_needs_rates rates = {.impressions = RECORDS / (30.0 * 60)};
    struct daemon_needs needs;
    daemon_needs(config, &rates, 1, &needs);
    cr_expect_float_eq(needs.journeys[0].records, RECORDS, 1);
    double segments = DAEMON_NEEDS_LOG_SEGMENTS * (double)config->segment;
    double real = (double)consumer_journey_disk_bytes(journey);
    cr_expect(needs.journeys[0].disk >= real && needs.journeys[0].disk - segments <= real,
              "disk: estimated %g, real %g", needs.journeys[0].disk, real);
    expect_near("memory", needs.journeys[0].memory, (double)consumer_journey_memory_bytes(journey), 1.5);
    consumer_journey_free(journey);
    daemon_config_free(config);
    place_close(&place);
}

Test(daemon_needs, of_orphans)
{
    enum { COUNT = 3000 };
    static struct consumer_pending *pending[COUNT];
    for (int by_touch = 0; by_touch < 2; by_touch++) {
        struct consumer_pool *pool = consumer_pool_new();
        struct consumer_orphans *orphans = consumer_orphans_new();
        for (int i = 0; i < COUNT; i++) {
            char id[DAEMON_NEEDS_ID_BYTES + 1], key[DAEMON_NEEDS_TOUCH_BYTES + 1];
            snprintf(id, sizeof id, "%036d", i);
            snprintf(key, sizeof key, by_touch ? "%040d" : "%036d", i);
            struct consumer_event event = {.rank = 1, .event_id = base_span_string(id)};
            *(by_touch ? &event.touch : &event.impression_id) = base_span_string(key);
            pending[i] = consumer_pool_take(pool, &event);
            consumer_orphans_add(orphans, pending[i],
                                 by_touch ? pending[i]->event.touch : pending[i]->event.impression_id);
        }
        expect_near("orphans", COUNT * daemon_needs_orphan_bytes(by_touch),
                    (double)consumer_orphans_bytes(orphans), 1.3);
        for (int i = 0; i < COUNT; i++) {
            consumer_orphans_take(orphans, pending[i]);
            consumer_pool_give(pool, pending[i]);
        }
        consumer_orphans_free(orphans);
        consumer_pool_free(pool);
    }
}

// Just above the size at which the table has doubled; and for how long which values wait.
Test(daemon_needs, of_values)
{
    enum { COUNT = 8193 };
    struct consumer_values *values = consumer_values_new();
    for (uint64_t i = 0; i < COUNT; i++) {
        consumer_values_put(values, i, 1, 1);
    }
    expect_near("values", COUNT * (double)DAEMON_NEEDS_VALUE_BYTES, (double)consumer_values_bytes(values),
                1.01);
    consumer_values_free(values);

    static const char text[] =
        "source: {kind: files, path: /data}\n"
        "slots: [{name: x, path: user_id}]\n"
        "actions:\n"
        "  - {name: click, topic: a, wait: 10s, window: 100s, fields: {value: value}}\n"
        "  - {name: purchase, topic: b, wait: 20s, window: 200s, fields: {value: value}}\n"
        "  - {name: cart, topic: c, wait: 30s, window: 300s, side: true, parent: click, fields: {value: "
        "value}}\n"
        "  - {name: favourite, topic: d, wait: 40s, window: 400s, side: true, parent: impression}\n";
    const struct daemon_needs_rates rates = {.impressions = 100, .ctr = 0.1, .cvr = 0.5};
    struct base_config_problems problems = {0};
    struct daemon_config *config = daemon_config_load_text("f.yaml", base_span_string(text), &problems);
    cr_assert(config, "%s", problems.item[0].text);
    struct daemon_needs needs;
    daemon_needs(config, &rates, 1, &needs);
    // 10 clicks a second for their wait; 5 purchases for their window; 5 carts for their wait.
    cr_expect_float_eq(needs.values, 10 * 10 + 5 * 200 + 5 * 30, 1e-6, "%g", needs.values);
    cr_expect_eq(needs.value_memory, needs.values * DAEMON_NEEDS_VALUE_BYTES);
    double rest = needs.journeys[0].memory + needs.journeys[1].memory + needs.ids.memory +
                  needs.orphan_memory + needs.row_memory + needs.fetch_memory + needs.cut_memory;
    cr_expect_float_eq(needs.memory, rest + needs.value_memory, 1);
    daemon_config_free(config);
}

// Just above the size at which the index has doubled, every row listed as changed.
static void expect_rows(enum trainer_optimiser_kind kind)
{
    enum { ROWS = (1 << 17) * 3 / 4 + 1, BATCH = 1024, DIMENSION = 16 };
    const struct trainer_table_slot_config slot = {.name = "user", .dimension = DIMENSION, .admission = 1};
    const struct trainer_optimiser_config optimiser = trainer_optimiser_usual(kind, 0.1);
    const struct trainer_table_config config = {
        .slots = 1, .slot = &slot, .rows_max = ROWS, .training = true, .optimiser = &optimiser};
    const uint32_t words = trainer_optimiser_words(&optimiser, DIMENSION);
    struct base_error error = {0};
    struct trainer_table *table = trainer_table_new(&config, &error);
    cr_assert(table, "%s", error.text);
    static const uint16_t slots[BATCH];
    // Published once, so that changes are listed.
    struct trainer_snapshot_rows published;
    cr_assert(trainer_table_snapshot(table, true, &published) && published.count == 0);
    trainer_table_settle(table, true);
    free(published.keys);
    free(published.vectors);
    free(published.tombstones);
    for (uint64_t first = 0; first < ROWS; first += BATCH) {
        uint64_t keys[BATCH];
        trainer_row rows[BATCH];
        size_t count = ROWS - first < BATCH ? ROWS - first : BATCH;
        for (size_t i = 0; i < count; i++) {
            keys[i] = base_hash_slot_integer(1, (int64_t)(first + i));
        }
        trainer_table_resolve(table, keys, slots, count, 0, rows);
        for (size_t i = 0; i < count; i++) {
            trainer_table_touch(table, 0, rows[i]);
        }
    }
    // That was begun: vectors, and half as much beside them; up to twice that where a row is no power of two.
    const double chunk = (words ? 3 : 1.5) * TRAINER_ARENA_CHUNK;
    expect_near("rows", ROWS * daemon_needs_row_bytes(DIMENSION, words) + chunk,
                (double)trainer_table_bytes(table), 1.3);
    trainer_table_free(table);
}

Test(daemon_needs, of_embedding_rows)
{
    expect_rows(TRAINER_OPTIMISER_SGD);
    expect_rows(TRAINER_OPTIMISER_ROWWISE_ADAGRAD);
    expect_rows(TRAINER_OPTIMISER_ADAM);
}
