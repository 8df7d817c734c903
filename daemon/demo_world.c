// The processes of a demonstration. See demo_world.h.
#include "daemon/demo_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "daemon/broker.h"
#include "daemon/child.h"
#include "daemon/market.h"
#include "daemon/private_redis.h"
#include "daemon/scratch.h"

enum { FILE_MAX = DAEMON_CHILD_PATH_MAX };

struct daemon_demo_world {
    char directory[DAEMON_SCRATCH_MAX];
    char config[FILE_MAX], status[FILE_MAX];
    struct daemon_broker *broker;
    struct daemon_private_redis *redis;
    struct daemon_child daemon;
};

static void config_features(FILE *file)
{
    fputs("slots:\n", file);
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        const char *name = daemon_market_slot_name(s);
        fprintf(file, "  - {name: %s, path: categorical.%s, dimension: 8}\n", name, name);
    }
    fputs("numerics:\n", file);
    for (uint32_t n = 0; n < DAEMON_MARKET_NUMBERS; n++) {
        const char *name = daemon_market_number_name(n);
        fprintf(file, "  - {name: %s, path: numeric.%s}\n", name, name);
    }
}

static int world_write_config(const struct daemon_demo_world *world, const char *const topics[3],
                              struct base_error *error)
{
    FILE *file = fopen(world->config, "w");
    if (!file) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", world->config);
    }
    fprintf(
        file,
        "state_dir: state\n"
        "tick: 250ms\n"
        "idle_timeout: 2s\n"
        "orphan_timeout: 10s\n"
        "model:\n"
        "  name: " DAEMON_DEMO_MODEL "\n"
        "  batch: 64\n"
        "  levels: [{experts: [64], per_task: 1, shared: 2}]\n"
        "  towers: [32]\n"
        "  rate: {dense: 0.3, sparse: 6}\n"
        "source:\n"
        "  kind: kafka\n"
        "  bootstrap: \"%s\"\n"
        "  properties: {fetch.wait.max.ms: 50}\n"
        "impression: {topic: %s, framing: single_object, allowed_lateness: %dms}\n"
        "actions:\n"
        "  - {name: click, topic: %s, framing: single_object, allowed_lateness: %dms, wait: %dms, window: "
        "%dms}\n"
        "  - {name: purchase, topic: %s, framing: single_object, allowed_lateness: %dms, wait: %dms, "
        "window: %dms}\n"
        "redis: {socket: \"%s\"}\n"
        "publish: {interval: 1s}\n",
        daemon_broker_bootstrap(world->broker), topics[0], DAEMON_DEMO_LATENESS, topics[1],
        DAEMON_DEMO_LATENESS, DAEMON_DEMO_CLICK_WAIT, DAEMON_DEMO_CLICK_WINDOW, topics[2],
        DAEMON_DEMO_LATENESS, DAEMON_DEMO_PURCHASE_WAIT, DAEMON_DEMO_PURCHASE_WINDOW,
        daemon_private_redis_socket(world->redis));
    config_features(file);
    bool failed = ferror(file);
    failed = fclose(file) != 0 || failed;
    return failed ? base_error_set(error, BASE_EIO, "%s: it could not be written", world->config) : 0;
}

static int world_start(struct daemon_demo_world *world, const char *daemon_program,
                       const char *const topics[3], struct base_error *error)
{
    if (daemon_scratch_make("demo", world->directory, error) < 0) {
        return -1;
    }
    char state[FILE_MAX], log[FILE_MAX];
    snprintf(log, sizeof log, "%s/freshetd.log", world->directory);
    snprintf(world->config, sizeof world->config, "%s/freshet.yaml", world->directory);
    snprintf(state, sizeof state, "%s/state", world->directory);
    snprintf(world->status, sizeof world->status, "%s/state/status.json", world->directory);
    if (mkdir(state, 0700) < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "mkdir %s", state);
    }
    world->broker = daemon_broker_new(topics, DAEMON_MARKET_RANKS, DAEMON_DEMO_LANES, error);
    world->redis = world->broker ? daemon_private_redis_new(world->directory, error) : NULL;
    if (!world->redis || world_write_config(world, topics, error) < 0) {
        return -1;
    }
    char *arguments[] = {(char *)(uintptr_t)daemon_program, "-c", world->config, NULL};
    if (daemon_child_start(&world->daemon, "freshetd", log, arguments, error) < 0) {
        return -1;
    }
    return daemon_child_await(&world->daemon, world->status, error);
}

struct daemon_demo_world *daemon_demo_world_new(const char *daemon_program, const char *const topics[3],
                                                struct base_error *error)
{
    struct daemon_demo_world *world = base_alloc_zeroed(1, sizeof *world);
    if (world_start(world, daemon_program, topics, error) < 0) {
        daemon_demo_world_free(world);
        return NULL;
    }
    return world;
}

void daemon_demo_world_free(struct daemon_demo_world *world)
{
    if (!world) {
        return;
    }
    struct base_error ignored;
    daemon_child_stop(&world->daemon);
    daemon_broker_free(world->broker);
    daemon_private_redis_free(world->redis);
    daemon_scratch_remove(world->directory, &ignored);
    free(world);
}

const char *daemon_demo_world_bootstrap(const struct daemon_demo_world *world)
{
    return daemon_broker_bootstrap(world->broker);
}

const char *daemon_demo_world_redis(const struct daemon_demo_world *world)
{
    return daemon_private_redis_socket(world->redis);
}

const char *daemon_demo_world_status(const struct daemon_demo_world *world)
{
    return world->status;
}

int daemon_demo_world_check(struct daemon_demo_world *world, struct base_error *error)
{
    return daemon_child_ended(&world->daemon) ? daemon_child_error(&world->daemon, "has ended", error)
                                              : daemon_private_redis_check(world->redis, error);
}
