// Tests of where a model is published, as the command line says it.
#include "daemon/target.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support_directory.h"

static struct daemon_target target_make(char *config, char *address, char *socket, char *model)
{
    struct daemon_target target = {0};
    const struct {
        int option;
        char *argument;
    } options[] = {{'c', config}, {'r', address}, {'s', socket}, {'m', model}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (options[i].argument) {
            cr_assert(daemon_target_option(&target, options[i].option, options[i].argument));
        }
    }
    return target;
}

Test(daemon_target, other_options_are_not_its_own)
{
    struct daemon_target target = {0};
    cr_assert_not(daemon_target_option(&target, 'x', NULL));
    cr_assert_not(daemon_target_option(&target, '?', NULL));
}

Test(daemon_target, addresses)
{
    static const struct {
        const char *text, *host;
        uint16_t port; // 0: refused
    } rows[] = {
        {"redis", "redis", 6379}, {"10.0.0.1:7000", "10.0.0.1", 7000},
        {"h:65535", "h", 65535},  {"h:0", "", 0},
        {"h:65536", "", 0},       {"h:", "", 0},
        {"h:x", "", 0},           {"h:1x", "", 0},
        {"h:-1", "", 0},          {"h: 1", "", 0},
        {":6379", "", 0},         {"", "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char address[32];
        snprintf(address, sizeof address, "%s", rows[i].text);
        struct daemon_target target = target_make(NULL, address, NULL, "m");
        int status = daemon_target_resolve(&target);
        cr_assert_eq(status, rows[i].port ? 0 : 2, "%s", rows[i].text);
        if (status == 0) {
            cr_assert_str_eq(target.redis.host, rows[i].host);
            cr_assert_eq(target.redis.port, rows[i].port);
            cr_assert_str_eq(target.model, "m");
            cr_assert_gt(target.redis.timeout_ms, 0);
        }
        daemon_target_clear(&target);
    }
}

Test(daemon_target, without_an_address_it_is_the_local_one)
{
    struct daemon_target target = target_make(NULL, NULL, NULL, "m");
    cr_assert_eq(daemon_target_resolve(&target), 0);
    cr_assert_str_eq(target.redis.host, "127.0.0.1");
    cr_assert_eq(target.redis.port, 6379);
    daemon_target_clear(&target);
}

Test(daemon_target, a_socket)
{
    struct daemon_target target = target_make(NULL, NULL, "/run/redis.sock", "m");
    cr_assert_eq(daemon_target_resolve(&target), 0);
    cr_assert_str_eq(target.redis.socket, "/run/redis.sock");
    cr_assert_null(target.redis.host);
    daemon_target_clear(&target);
}

Test(daemon_target, what_contradicts_itself_is_wrong_usage)
{
    char address[] = "h:1";
    struct daemon_target rows[] = {
        target_make(NULL, NULL, NULL, NULL),        target_make(NULL, address, NULL, NULL),
        target_make(NULL, address, "/s", "m"),      target_make("c.yaml", NULL, NULL, "m"),
        target_make("c.yaml", address, NULL, NULL), target_make("c.yaml", NULL, "/s", NULL),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert_eq(daemon_target_resolve(&rows[i]), 2, "row %zu", i);
        daemon_target_clear(&rows[i]);
    }
}

Test(daemon_target, of_a_configuration)
{
    char directory[SUPPORT_DIRECTORY_MAX], path[SUPPORT_DIRECTORY_MAX + 16];
    support_directory_make(directory);
    snprintf(path, sizeof path, "%s/c.yaml", directory);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("state_dir: /tmp/unused\n"
          "source: {kind: files, path: /tmp/unused}\n"
          "model: {name: shop, levels: [{experts: [16], per_task: 1, shared: 1}], towers: [16]}\n"
          "impression: {topic: i, framing: bare}\n"
          "actions: [{name: click, topic: c, framing: bare, wait: 1m, window: 2m}]\n"
          "slots: [{name: user, path: categorical.user, dimension: 16}]\n"
          "redis: {address: 'example:7001', timeout: 3s}\n",
          file);
    fclose(file);
    struct daemon_target target = target_make(path, NULL, NULL, NULL);
    cr_assert_eq(daemon_target_resolve(&target), 0);
    cr_assert_str_eq(target.model, "shop");
    cr_assert_str_eq(target.redis.host, "example");
    cr_assert_eq(target.redis.port, 7001);
    cr_assert_eq(target.redis.timeout_ms, 3000);
    daemon_target_clear(&target);
    cr_assert_null(target.config);

    unlink(path);
    target = target_make(path, NULL, NULL, NULL);
    cr_assert_eq(daemon_target_resolve(&target), 1);
    daemon_target_clear(&target);
    support_directory_remove(directory);
}
