// Signals as something to wait for: blocked in every thread, read from a descriptor by one.
#ifndef DAEMON_SIGNALS_H
#define DAEMON_SIGNALS_H

#include <stdbool.h>

#include "base/error.h"

struct daemon_signals;

// Blocks SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 in the calling thread and in those it starts later, and
// ignores SIGPIPE. Call it in main before the first thread. One a process.
struct daemon_signals *daemon_signals_new(struct base_error *error);
// Leaves the signals blocked. Takes NULL.
void daemon_signals_free(struct daemon_signals *signals);

// The next signal's number, waiting up to timeout_ms (-1: without end); 0: none came.
int daemon_signals_wait(struct daemon_signals *signals, int timeout_ms);
// True for SIGTERM and SIGINT: the process is asked to end.
bool daemon_signals_ends(int number);
// Readable when a signal is there: for poll(2).
int daemon_signals_fd(const struct daemon_signals *signals);

// A watch waits for signals on a thread of its own, while the caller is busy where it cannot ask for them.
struct daemon_signals_watch;

// Calls `seen` with the number of each signal that comes, on the watch's thread; it may end the process.
// Nobody else may wait for signals meanwhile. Errors: BASE_EIO.
struct daemon_signals_watch *daemon_signals_watch_new(struct daemon_signals *signals,
                                                      void (*seen)(void *context, int number), void *context,
                                                      struct base_error *error);
// Once it has returned, `seen` is not called again: later signals are daemon_signals_wait's. Takes NULL.
void daemon_signals_watch_free(struct daemon_signals_watch *watch);

#endif
