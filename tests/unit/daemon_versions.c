// freshet versions against a real Redis.
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/command.h"
#include "publisher/publisher.h"
#include "support_redis.h"

enum { OUTPUT_MAX = 8192 };

static int versions(const char *const *arguments)
{
    char *argv[16] = {"versions"};
    int argc = 1;
    for (; arguments[argc - 1]; argc++) {
        argv[argc] = strdup(arguments[argc - 1]);
    }
    int status = daemon_command_versions(argc, argv);
    for (int i = 1; i < argc; i++) {
        free(argv[i]);
    }
    fflush(stdout);
    fflush(stderr);
    return status;
}

static void read_all(FILE *file, char text[OUTPUT_MAX])
{
    size_t size = fread(text, 1, OUTPUT_MAX - 1, file);
    text[size] = '\0';
}

// A base of two rows, then a delta of one row and a tombstone.
static void publish(const char *socket)
{
    struct base_error error;
    struct publisher_config config = {
        .redis = {.socket = socket, .timeout_ms = 1000},
        .model = "shop",
        .descriptor = "{}",
        .garbage_ttl_s = 60,
        .base_ratio = 10,
    };
    uint64_t keys[2] = {1, 2};
    float vectors[8] = {0};
    struct trainer_snapshot_rows rows = {
        .dimension = 4, .count = 2, .keys = keys, .vectors = vectors, .removed = 1, .tombstones = keys};
    struct trainer_snapshot snapshot = {
        .tick = 77, .examples = 1234, .full = true, .slots = 1, .rows = &rows, .rows_total = 2};
    struct publisher_result result;
    struct publisher *publisher = publisher_new(&config, &error);
    cr_assert_eq(publisher_start(publisher, 4, &error), 0, "%s", error.text);
    cr_assert_eq(publisher_publish(publisher, &snapshot, "{\"auc\":0.75}", &result, &error), 0, "%s",
                 error.text);
    snapshot.full = false;
    snapshot.tick = 78;
    rows.count = 1;
    cr_assert_eq(publisher_publish(publisher, &snapshot, "{\"auc\":0.5}", &result, &error), 0, "%s",
                 error.text);
    publisher_free(publisher);
}

Test(daemon_versions, wrong_usage)
{
    cr_redirect_stderr();
    static const char *const cases[][8] = {
        {NULL},
        {"--model", NULL},
        {"--nonsense", NULL},
        {"--model", "m", "extra", NULL},
        {"-c", "file", "--model", "m", NULL},
        {"--redis", "localhost", "--socket", "x", "--model", "m", NULL},
        {"--redis", "localhost:", "--model", "m", NULL},
        {"--redis", "localhost:70000", "--model", "m", NULL},
        {"--redis", ":1", "--model", "m", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(versions(cases[i]), 2, "case %zu", i);
    }
}

Test(daemon_versions, what_can_fail)
{
    cr_redirect_stderr();
    struct support_redis *redis = support_redis_start(NULL);
    const char *socket = support_redis_socket(redis);
    cr_assert_eq(versions((const char *const[]){"--socket", "/nowhere", "--model", "m", NULL}), 1);
    cr_assert_eq(versions((const char *const[]){"--socket", socket, "--model", "a b", NULL}), 1);
    cr_assert_eq(versions((const char *const[]){"--socket", socket, "--model", "absent", NULL}), 1);
    cr_assert_eq(versions((const char *const[]){"-c", "/nowhere/freshet.yaml", NULL}), 1);
    char text[OUTPUT_MAX];
    read_all(cr_get_redirected_stderr(), text);
    cr_assert(strstr(text, "/nowhere") && strstr(text, "nothing is published under the name absent"), "%s",
              text);
    support_redis_stop(redis);
}

Test(daemon_versions, prints_what_is_published)
{
    cr_redirect_stdout();
    struct support_redis *redis = support_redis_start(NULL);
    publish(support_redis_socket(redis));
    cr_assert_eq(
        versions((const char *const[]){"--socket", support_redis_socket(redis), "--model", "shop", NULL}), 0);
    static const char *const expected[] = {
        "head         5.2\n",
        "predecessor  5.1\n",
        "epoch        5\n",
        "tick         78\n",
        "examples     1234\n",
        "{\"auc\":0.5}",
        "1 base and 1 deltas",
        "base   5.1",
        "delta  5.2",
        "tick 78",
        "tick 77",
    };
    char text[OUTPUT_MAX];
    read_all(cr_get_redirected_stdout(), text);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        cr_assert(strstr(text, expected[i]), "'%s' is not in:\n%s", expected[i], text);
    }
    support_redis_stop(redis);
}
