// sd_notify's protocol over a unix datagram socket; small enough that libsystemd is not worth its weight.
#include "daemon/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/config.h"

struct daemon_notify {
    int fd; // -1: nobody is to be told
    struct sockaddr_un address;
    socklen_t length;
};

struct daemon_notify *daemon_notify_new(const char *address, struct base_error *error)
{
    struct daemon_notify *notify = base_alloc_zeroed(1, sizeof *notify);
    notify->fd = -1;
    if (!address || !address[0]) {
        return notify;
    }
    size_t size = strlen(address);
    if ((address[0] != '/' && address[0] != '@') || size < 2 || size >= sizeof notify->address.sun_path) {
        base_error_set(error, BASE_EINVAL, "NOTIFY_SOCKET \"%.100s\" is neither a path nor @name", address);
        goto fail;
    }
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, address, size);
    if (address[0] == '@') {
        notify->address.sun_path[0] = '\0'; // the abstract name space
    }
    notify->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0) {
        base_error_set_errno(error, BASE_EIO, errno, "cannot make a socket for NOTIFY_SOCKET");
        goto fail;
    }
    return notify;
fail:
    daemon_notify_free(notify);
    return NULL;
}

void daemon_notify_free(struct daemon_notify *notify)
{
    if (!notify) {
        return;
    }
    if (notify->fd >= 0) {
        close(notify->fd);
    }
    free(notify);
}

static int notify_send(struct daemon_notify *notify, const char *text, struct base_error *error)
{
    if (notify->fd < 0) {
        return 0;
    }
    ssize_t sent;
    do {
        sent = sendto(notify->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                      (const struct sockaddr *)&notify->address, notify->length);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        int number = errno;
        base_error_set_errno(error, BASE_EIO, number, "cannot notify the service manager");
        error->retriable = number == EAGAIN || number == EWOULDBLOCK || number == ENOBUFS;
        return -1;
    }
    return 0;
}

// `state`, then the status as a line of its own; its control characters would end the line, and become
// blanks.
static int notify_state(struct daemon_notify *notify, const char *state, const char *status,
                        struct base_error *error)
{
    char text[DAEMON_NOTIFY_MAX];
    size_t used = (size_t)snprintf(text, sizeof text, "%s%s%s", state, state[0] && status ? "\n" : "",
                                   status ? "STATUS=" : "");
    for (const char *c = status ? status : ""; *c && used < sizeof text - 1; c++) {
        text[used++] = (unsigned char)*c < ' ' ? ' ' : *c;
    }
    text[used] = '\0';
    return notify_send(notify, text, error);
}

int daemon_notify_ready(struct daemon_notify *notify, const char *status, struct base_error *error)
{
    return notify_state(notify, "READY=1", status, error);
}

int daemon_notify_status(struct daemon_notify *notify, struct base_error *error, const char *format, ...)
{
    char status[DAEMON_NOTIFY_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(status, sizeof status, format, args);
    va_end(args);
    return notify_state(notify, "", status, error);
}

int daemon_notify_watchdog(struct daemon_notify *notify, struct base_error *error)
{
    return notify_state(notify, "WATCHDOG=1", NULL, error);
}

int daemon_notify_stopping(struct daemon_notify *notify, const char *status, struct base_error *error)
{
    return notify_state(notify, "STOPPING=1", status, error);
}

int daemon_notify_extend(struct daemon_notify *notify, int64_t microseconds, struct base_error *error)
{
    char text[64];
    snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%lld", (long long)microseconds);
    return notify_state(notify, text, NULL, error);
}

int64_t daemon_notify_watchdog_interval(const char *watchdog_usec, const char *watchdog_pid)
{
    int64_t usec, pid;
    if (!watchdog_usec || base_config_parse_int(watchdog_usec, &usec) != 0 || usec <= 0) {
        return 0;
    }
    if (watchdog_pid && (base_config_parse_int(watchdog_pid, &pid) != 0 || pid != getpid())) {
        return 0;
    }
    return usec > 1 ? usec / 2 : 1;
}
