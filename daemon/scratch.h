// A temporary directory: made with an unused name, removed with all it holds.
#ifndef DAEMON_SCRATCH_H
#define DAEMON_SCRATCH_H

#include "base/error.h"

enum { DAEMON_SCRATCH_MAX = 96 }; // of its path; a unix socket in it still fits

// Makes "<TMPDIR or /tmp>/freshet-<name>-XXXXXX". Errors: BASE_EIO; BASE_ELIMIT (the path is too long); the
// path is then empty.
int daemon_scratch_make(const char *name, char path[DAEMON_SCRATCH_MAX], struct base_error *error);
// Removes it as far as that can be done: -1, and the error names it, if something is left (BASE_EIO). An
// empty path is nothing to do.
int daemon_scratch_remove(const char *path, struct base_error *error);

#endif
