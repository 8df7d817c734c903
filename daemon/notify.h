// What the service manager is told: sd_notify's protocol, datagrams of "KEY=value" lines to the socket that
// NOTIFY_SOCKET names. Without a manager every call succeeds and does nothing.
//
// Thread: any; each call is one datagram.
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

#include <stdint.h>

#include "base/error.h"

enum { DAEMON_NOTIFY_MAX = 4096 }; // bytes of a datagram; a longer text is cut

struct daemon_notify;

// `address`: the environment's NOTIFY_SOCKET, a path or "@name" in the abstract name space; NULL or "":
// nobody is to be told. Errors: BASE_EINVAL for an address that cannot be, BASE_EIO.
struct daemon_notify *daemon_notify_new(const char *address, struct base_error *error);
void daemon_notify_free(struct daemon_notify *notify); // takes NULL

// All of these: 0, or -1 with BASE_EIO if the datagram was not taken (retriable: the manager is busy).
// Up: state loaded, Kafka and Redis answered. `status` is one line for people, or NULL.
int daemon_notify_ready(struct daemon_notify *notify, const char *status, struct base_error *error);
// A line for `systemctl status`.
int daemon_notify_status(struct daemon_notify *notify, struct base_error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// Alive. Called from the loop's progress, never by a timer.
int daemon_notify_watchdog(struct daemon_notify *notify, struct base_error *error);
int daemon_notify_stopping(struct daemon_notify *notify, const char *status, struct base_error *error);
// Starting or stopping takes up to so much longer, from now.
int daemon_notify_extend(struct daemon_notify *notify, int64_t microseconds, struct base_error *error);

// How often the watchdog wants to hear of us, in microseconds: half of WATCHDOG_USEC; 0: there is none.
// `watchdog_usec` and `watchdog_pid` are the environment's values or NULL; a pid that is not ours: none.
int64_t daemon_notify_watchdog_interval(const char *watchdog_usec, const char *watchdog_pid);

#endif
