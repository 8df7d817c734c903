// Notifications to a service manager that the test plays, and signals.
#include "daemon/notify.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/signals.h"
#include "support_directory.h"

// The manager's socket at `address`, "@name" or a path.
static int manager_bind(const char *address)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    size_t size = strlen(address);
    cr_assert_lt(size, sizeof name.sun_path);
    memcpy(name.sun_path, address, size);
    if (address[0] == '@') {
        name.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(
        bind(fd, (struct sockaddr *)&name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)), 0);
    return fd;
}

static const char *manager_read(int fd)
{
    static char text[2 * DAEMON_NOTIFY_MAX];
    ssize_t size = recv(fd, text, sizeof text - 1, 0);
    cr_assert_gt(size, 0);
    text[size] = '\0';
    return text;
}

static void conversation(const char *address)
{
    int manager = manager_bind(address);
    struct base_error error;
    struct daemon_notify *notify = daemon_notify_new(address, &error);
    cr_assert_not_null(notify, "%s", error.text);
    cr_assert_eq(daemon_notify_ready(notify, "epoch 3", &error), 0);
    cr_assert_str_eq(manager_read(manager), "READY=1\nSTATUS=epoch 3");
    cr_assert_eq(daemon_notify_ready(notify, NULL, &error), 0);
    cr_assert_str_eq(manager_read(manager), "READY=1");
    cr_assert_eq(daemon_notify_status(notify, &error, "lag %d, version %s", 7, "3.17"), 0);
    cr_assert_str_eq(manager_read(manager), "STATUS=lag 7, version 3.17");
    cr_assert_eq(daemon_notify_status(notify, &error, "two\nlines"), 0);
    cr_assert_str_eq(manager_read(manager), "STATUS=two lines");
    cr_assert_eq(daemon_notify_watchdog(notify, &error), 0);
    cr_assert_str_eq(manager_read(manager), "WATCHDOG=1");
    cr_assert_eq(daemon_notify_extend(notify, 30000000, &error), 0);
    cr_assert_str_eq(manager_read(manager), "EXTEND_TIMEOUT_USEC=30000000");
    cr_assert_eq(daemon_notify_stopping(notify, "draining", &error), 0);
    cr_assert_str_eq(manager_read(manager), "STOPPING=1\nSTATUS=draining");
    daemon_notify_free(notify);
    close(manager);
}

Test(notify, over_a_path)
{
    char directory[SUPPORT_DIRECTORY_MAX], path[SUPPORT_DIRECTORY_MAX + 16];
    support_directory_make(directory);
    snprintf(path, sizeof path, "%s/notify", directory);
    cr_assert_lt(strlen(path), sizeof((struct sockaddr_un *)0)->sun_path);
    conversation(path);
    support_directory_remove(directory);
}

Test(notify, over_an_abstract_name)
{
    char name[64];
    snprintf(name, sizeof name, "@freshet-test-%d", (int)getpid());
    conversation(name);
}

Test(notify, a_long_status_is_cut)
{
    char name[64], status[2 * DAEMON_NOTIFY_MAX];
    snprintf(name, sizeof name, "@freshet-test-%d", (int)getpid());
    int manager = manager_bind(name);
    struct base_error error;
    struct daemon_notify *notify = daemon_notify_new(name, &error);
    memset(status, 'x', sizeof status - 1);
    status[sizeof status - 1] = '\0';
    cr_assert_eq(daemon_notify_ready(notify, status, &error), 0);
    cr_assert_eq(strlen(manager_read(manager)), DAEMON_NOTIFY_MAX - 1);
    daemon_notify_free(notify);
    close(manager);
}

Test(notify, without_a_manager_nothing_happens)
{
    static const char *const none[] = {NULL, ""};
    for (int i = 0; i < 2; i++) {
        struct base_error error;
        struct daemon_notify *notify = daemon_notify_new(none[i], &error);
        cr_assert_not_null(notify);
        cr_assert_eq(daemon_notify_ready(notify, "x", &error), 0);
        cr_assert_eq(daemon_notify_watchdog(notify, &error), 0);
        daemon_notify_free(notify);
    }
    daemon_notify_free(NULL);
}

Test(notify, addresses_that_cannot_be)
{
    char large[200];
    memset(large, '/', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    const char *const bad[] = {"relative", "@", "/", "vsock:2:1234", large};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct base_error error;
        cr_assert_null(daemon_notify_new(bad[i], &error), "%s", bad[i]);
        cr_assert_eq(error.code, BASE_EINVAL);
    }
}

Test(notify, a_manager_that_is_gone_or_busy)
{
    char name[64];
    snprintf(name, sizeof name, "@freshet-test-%d", (int)getpid());
    struct base_error error;
    struct daemon_notify *notify = daemon_notify_new(name, &error);
    cr_assert_eq(daemon_notify_watchdog(notify, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_not(error.retriable);
    int manager = manager_bind(name);
    int status = 0;
    for (int i = 0; i < 100000 && status == 0; i++) {
        status = daemon_notify_watchdog(notify, &error);
    }
    cr_assert_eq(status, -1, "its queue is bounded, and we do not wait");
    cr_assert(error.retriable);
    daemon_notify_free(notify);
    close(manager);
}

Test(notify, intervals_of_the_watchdog)
{
    char own[32];
    snprintf(own, sizeof own, "%d", (int)getpid());
    cr_assert_eq(daemon_notify_watchdog_interval("30000000", NULL), 15000000);
    cr_assert_eq(daemon_notify_watchdog_interval("30000000", own), 15000000);
    cr_assert_eq(daemon_notify_watchdog_interval("1", own), 1);
    cr_assert_eq(daemon_notify_watchdog_interval("30000000", "1"), 0, "another process'");
    cr_assert_eq(daemon_notify_watchdog_interval("30000000", "x"), 0);
    cr_assert_eq(daemon_notify_watchdog_interval(NULL, own), 0);
    cr_assert_eq(daemon_notify_watchdog_interval("0", NULL), 0);
    cr_assert_eq(daemon_notify_watchdog_interval("-5", NULL), 0);
    cr_assert_eq(daemon_notify_watchdog_interval("soon", NULL), 0);
}

Test(signals, are_waited_for)
{
    struct base_error error;
    struct daemon_signals *signals = daemon_signals_new(&error);
    cr_assert_not_null(signals, "%s", error.text);
    cr_assert_geq(daemon_signals_fd(signals), 0);
    cr_assert_eq(daemon_signals_wait(signals, 0), 0);
    cr_assert_eq(daemon_signals_wait(signals, 5), 0);
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        cr_assert_eq(kill(getpid(), numbers[i]), 0);
        cr_assert_eq(daemon_signals_wait(signals, 1000), numbers[i]);
        cr_assert_eq(daemon_signals_ends(numbers[i]), i < 2);
    }
    cr_assert_eq(raise(SIGPIPE), 0, "ignored");
    cr_assert_not(daemon_signals_ends(0));
    daemon_signals_free(signals);
    daemon_signals_free(NULL);
}
