// A program that we run and end: its output in a file, its end with ours.
#ifndef DAEMON_CHILD_H
#define DAEMON_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

enum { DAEMON_CHILD_PATH_MAX = 256 };

struct daemon_child {
    const char *name; // for errors; borrowed
    char log[DAEMON_CHILD_PATH_MAX];
    pid_t pid; // 0: none, or ended
};

// Starts arguments[0] (found by PATH) with its output in the file `log`, in a process group of its own:
// Ctrl-C is for us, and we end it in order; if we are killed, so is it. Error: BASE_EIO. Forks, and the child
// lives no longer than the calling thread.
int daemon_child_start(struct daemon_child *child, const char *name, const char *log, char *const arguments[],
                       struct base_error *error);
// Whether it has ended, or never was.
bool daemon_child_ended(struct daemon_child *child);
// Waits until the file `path` is there. Error: BASE_EREFUSED if the child ends before or takes too long.
int daemon_child_await(struct daemon_child *child, const char *path, struct base_error *error);
// SIGTERM, and SIGKILL after 15 s. Nothing to do if there is none.
void daemon_child_stop(struct daemon_child *child);
// BASE_EREFUSED: "<name> <what>" and the end of its log. Always -1.
int daemon_child_error(const struct daemon_child *child, const char *what, struct base_error *error);

#endif
