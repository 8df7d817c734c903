// The lock of a state directory: one process uses it at a time.
//
// An flock(2) on <directory>/LOCK, which says who holds it. The lock goes with its process, whatever ends
// that; the file stays, since whoever removed it could remove another's.
#ifndef DAEMON_LOCK_H
#define DAEMON_LOCK_H

#include "base/error.h"

struct daemon_lock;

// Makes the directory if it is missing (not those above it). A child that is forked meanwhile and runs no
// other program holds the lock too. Errors: BASE_ECONFLICT, "another process (pid N) uses /path"; BASE_EIO.
struct daemon_lock *daemon_lock_take(const char *directory, struct base_error *error);
void daemon_lock_free(struct daemon_lock *lock); // gives it up; takes NULL

#endif
