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

#endif
