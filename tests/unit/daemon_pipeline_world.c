// A small marketplace in files, and a configuration over it. See daemon_pipeline_world.h.
#include "daemon_pipeline_world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/produce.h"

enum { WORLD_LANES = 2, WORLD_MINUTE_MS = 60000 };

static const char *const topics[DAEMON_MARKET_RANKS] = {"impressions", "clicks", "purchases"};

static void world_produce(struct world *world, uint64_t impressions)
{
    char files[WORLD_PATH];
    snprintf(files, sizeof files, "%s/files", world->directory);
    struct daemon_market_config market = daemon_market_defaults;
    market.impressions = impressions;
    market.lanes = WORLD_LANES;
    market.rate = 20;
    market.users = 300;
    market.items = 100;
    market.ctr = market.cvr = .3;
    market.delay_scale = .02;
    market.click_window_ms = WORLD_MINUTE_MS;
    market.purchase_window_ms = 2 * WORLD_MINUTE_MS;
    struct base_error error = {0};
    struct daemon_produce_sink *sink = daemon_produce_files_new(files, topics, WORLD_LANES, 1, &error);
    struct daemon_market *walk = daemon_market_new(&market, &error);
    cr_assert(sink && walk, "%s", error.text);
    struct daemon_produce_record record = {0};
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    uint64_t dead = 0;
    for (; daemon_market_next(walk, &event, &impression); world->records++) {
        daemon_produce_encode(1, &event, impression, &record);
        cr_assert_eq(sink->operations->put(sink, &record, &error), 0, "%s", error.text);
        if (event.rank > 0 && dead < world->dead) {
            dead++;
            event.event_time = INT64_MAX;
            daemon_produce_encode(1, &event, impression, &record);
            cr_assert_eq(sink->operations->put(sink, &record, &error), 0, "%s", error.text);
        }
    }
    cr_assert_eq(sink->operations->finish(sink, &error), 0, "%s", error.text);
    sink->operations->free(sink);
    daemon_produce_record_free(&record);
    daemon_market_free(walk);
}

void world_open(struct world *world, uint64_t impressions, const char *socket)
{
    struct base_error error = {0};
    cr_assert_eq(daemon_scratch_make("pipeline", world->directory, &error), 0, "%s", error.text);
    world_produce(world, impressions);
    char text[4096];
    snprintf(text, sizeof text,
             "state_dir: %s/state\n"
             "source: {kind: files, path: %s/files}\n"
             "model:\n"
             "  name: test\n"
             "  levels: [{experts: [16], per_task: 1, shared: 1}]\n"
             "  towers: [16]\n"
             "  batch: 64\n"
             "%s"
             "impression: {topic: impressions, framing: bare}\n"
             "actions:\n"
             "  - {name: click, topic: clicks, framing: bare, wait: 30s, window: 1m}\n"
             "  - {name: purchase, topic: purchases, framing: bare, wait: 1m, window: 2m}\n"
             "slots:\n"
             "  - {name: user, path: categorical.user, dimension: 16}\n"
             "  - {name: item, path: categorical.item, dimension: 16}\n"
             "publish: {interval: 100ms}\n"
             "redis: {socket: '%s', timeout: 2s}\n",
             world->directory, world->directory, world->model ? world->model : "", socket);
    struct base_config_problems problems = {0};
    world->config = daemon_config_load_text("pipeline.yaml", base_span_string(text), &problems);
    cr_assert(world->config, "%s", problems.count ? problems.item[0].text : "");
}

void world_close(struct world *world)
{
    struct base_error error = {0};
    daemon_config_free(world->config);
    cr_assert_eq(daemon_scratch_remove(world->directory, &error), 0, "%s", error.text);
}
