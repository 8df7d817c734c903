// Tests of what demonstrations and benchmarks stand on: children, the private Redis, scratch directories, and
// the configuration of the benchmarks' stream.
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/bench_stream.h"
#include "daemon/child.h"
#include "daemon/private_redis.h"
#include "daemon/scratch.h"

static char directory[DAEMON_SCRATCH_MAX];
static struct base_error error;

static void scratch_make(void)
{
    cr_assert_eq(daemon_scratch_make("test", directory, &error), 0, "%s", error.text);
}

static void scratch_remove(void)
{
    cr_expect_eq(daemon_scratch_remove(directory, &error), 0, "%s", error.text);
    cr_expect(access(directory, F_OK) < 0 && errno == ENOENT);
}

TestSuite(child, .init = scratch_make, .fini = scratch_remove);

static int child_start(struct daemon_child *child, char *const arguments[])
{
    char log[DAEMON_CHILD_PATH_MAX];
    snprintf(log, sizeof log, "%s/log", directory);
    return daemon_child_start(child, arguments[0], log, arguments, &error);
}

Test(child, that_is_no_program_ends_with_a_reason)
{
    struct daemon_child child;
    char *arguments[] = {"freshet-no-such-program", NULL};
    cr_assert_eq(child_start(&child, arguments), 0, "%s", error.text);
    cr_assert_eq(daemon_child_await(&child, "/nonexistent", &error), -1);
    cr_assert_eq(error.code, BASE_EREFUSED);
    cr_assert(strstr(error.text, "freshet-no-such-program ended at once"), "%s", error.text);
    cr_assert(strstr(error.text, "No such file"), "%s", error.text);
    daemon_child_stop(&child); // nothing to do
}

Test(child, is_awaited_and_ends_when_told)
{
    struct daemon_child child;
    char path[DAEMON_CHILD_PATH_MAX];
    snprintf(path, sizeof path, "%s/ready", directory);
    char *arguments[] = {"sh", "-c", "sleep 0.1; : > \"$0\"; exec sleep 60", path, NULL};
    cr_assert_eq(child_start(&child, arguments), 0, "%s", error.text);
    cr_assert_eq(daemon_child_await(&child, path, &error), 0, "%s", error.text);
    cr_assert_not(daemon_child_ended(&child));
    pid_t pid = child.pid;
    daemon_child_stop(&child);
    cr_assert(daemon_child_ended(&child));
    cr_assert(kill(pid, 0) < 0 && errno == ESRCH);
}

Test(child, needs_a_place_for_its_log)
{
    struct daemon_child child;
    char *arguments[] = {"true", NULL};
    cr_assert_eq(daemon_child_start(&child, "true", "/nonexistent/log", arguments, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(daemon_child_ended(&child));
}

Test(child, redis_tells_its_version_and_that_it_has_ended)
{
    struct daemon_private_redis *redis = daemon_private_redis_new(directory, &error);
    cr_assert(redis, "%s", error.text);
    char version[DAEMON_PRIVATE_REDIS_VERSION_MAX];
    cr_assert_eq(daemon_private_redis_version(redis, version, &error), 0, "%s", error.text);
    int major, minor, patch;
    cr_assert_eq(sscanf(version, "%d.%d.%d", &major, &minor, &patch), 3, "%s", version);
    cr_assert_eq(daemon_private_redis_check(redis, &error), 0);

    char command[DAEMON_SCRATCH_MAX + 64];
    snprintf(command, sizeof command, "redis-cli -s %s shutdown nosave", daemon_private_redis_socket(redis));
    cr_assert_eq(system(command), 0);
    for (int i = 0; i < 200 && daemon_private_redis_check(redis, &error) == 0; i++) {
        usleep(10000);
    }
    cr_assert_eq(daemon_private_redis_check(redis, &error), -1);
    cr_assert_eq(error.code, BASE_EREFUSED);
    cr_assert_eq(daemon_private_redis_version(redis, version, &error), -1);
    daemon_private_redis_free(redis);
    daemon_private_redis_free(NULL);
}

Test(child, redis_needs_its_directory)
{
    cr_assert_null(daemon_private_redis_new("/nonexistent", &error));
    cr_assert_eq(error.code, BASE_EIO);
}

Test(scratch, goes_with_all_it_holds)
{
    char path[DAEMON_SCRATCH_MAX + 16];
    scratch_make();
    snprintf(path, sizeof path, "%s/below", directory);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/below/file", directory);
    FILE *file = fopen(path, "w");
    cr_assert(file);
    fclose(file);
    scratch_remove();
    cr_assert_eq(daemon_scratch_remove(directory, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_eq(daemon_scratch_remove("", &error), 0);
}

Test(scratch, in_a_place_that_cannot_be)
{
    char place[DAEMON_SCRATCH_MAX + 1];
    memset(place, 'x', sizeof place - 1);
    place[0] = '/';
    place[sizeof place - 1] = '\0';
    setenv("TMPDIR", place, 1);
    cr_assert_eq(daemon_scratch_make("test", directory, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
    cr_assert_str_empty(directory);
    setenv("TMPDIR", "/nonexistent", 1);
    cr_assert_eq(daemon_scratch_make("test", directory, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_str_empty(directory);
}

static const struct daemon_bench_stream *stream_small(void)
{
    static struct daemon_bench_stream stream = {
        .topics = {"i", "c", "p"}, .lateness_ms = 1000, .click_wait_ms = 10000, .purchase_wait_ms = 15000};
    stream.market = daemon_market_defaults;
    stream.market.impressions = 500;
    return &stream;
}

Test(stream, is_read_with_the_reference_model)
{
    struct daemon_config *config =
        daemon_bench_stream_config(stream_small(), "/tmp", "{kind: files, path: /tmp}", NULL, 2, &error);
    cr_assert(config, "%s", error.text);
    const struct trainer_model_config *model = daemon_config_model(config);
    cr_assert_eq(model->network.inputs, 24 * 16);
    cr_assert_eq(model->network.levels, 2);
    cr_assert_eq(model->network.batch, 256);
    cr_assert_eq(model->loss.tasks, 2);
    cr_assert_eq(model->workers, 2);
    daemon_config_free(config);
}

Test(stream, whose_configuration_is_none_names_the_problem)
{
    cr_assert_null(daemon_bench_stream_config(stream_small(), "/tmp", "{kind: letters}", NULL, 1, &error));
    cr_assert_eq(error.code, BASE_EINVAL);
    cr_assert(strstr(error.text, "letters"), "%s", error.text);
}

struct stream_sink {
    struct daemon_produce_sink sink;
    uint64_t puts, fails_at; // 0: never
    bool finished, freed;
};

static int sink_put(struct daemon_produce_sink *base, const struct daemon_produce_record *record,
                    struct base_error *reason)
{
    struct stream_sink *sink = (struct stream_sink *)base;
    cr_assert(record->rank < DAEMON_MARKET_RANKS && record->body.size > 0);
    return ++sink->puts == sink->fails_at ? base_error_set(reason, BASE_EIO, "full") : 0;
}

static int sink_finish(struct daemon_produce_sink *base, struct base_error *reason)
{
    (void)reason;
    ((struct stream_sink *)base)->finished = true;
    return 0;
}

static void sink_free(struct daemon_produce_sink *base)
{
    ((struct stream_sink *)base)->freed = true;
}

static const struct daemon_produce_sink_operations sink_operations = {sink_put, sink_finish, sink_free};

Test(stream, counts_its_records_and_frees_its_sink)
{
    uint64_t records;
    struct stream_sink sink = {.sink.operations = &sink_operations};
    cr_assert_eq(daemon_bench_stream_produce(stream_small(), &sink.sink, &records, &error), 0);
    cr_assert(records >= 500 && records == sink.puts && sink.finished && sink.freed);

    struct stream_sink full = {.sink.operations = &sink_operations, .fails_at = 7};
    cr_assert_eq(daemon_bench_stream_produce(stream_small(), &full.sink, &records, &error), -1);
    cr_assert_str_eq(error.text, "full");
    cr_assert(full.puts == 7 && !full.finished && full.freed);

    cr_assert_eq(daemon_bench_stream_produce(stream_small(), NULL, &records, &error), -1);
}
