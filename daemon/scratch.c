// A temporary directory. See scratch.h.
#include "daemon/scratch.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SCRATCH_DIRECTORIES_OPEN = 16 };

int daemon_scratch_make(const char *name, char path[DAEMON_SCRATCH_MAX], struct base_error *error)
{
    const char *place = getenv("TMPDIR");
    if (!place || !*place) {
        place = "/tmp";
    }
    int size = snprintf(path, DAEMON_SCRATCH_MAX, "%s/freshet-%s-XXXXXX", place, name);
    if (size >= DAEMON_SCRATCH_MAX) {
        path[0] = '\0';
        return base_error_set(error, BASE_ELIMIT, "TMPDIR is too long a path: %s", place);
    }
    if (!mkdtemp(path)) {
        path[0] = '\0';
        return base_error_set_errno(error, BASE_EIO, errno, "a temporary directory in %s", place);
    }
    return 0;
}

static int scratch_remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

int daemon_scratch_remove(const char *path, struct base_error *error)
{
    if (path[0] && nftw(path, scratch_remove_entry, SCRATCH_DIRECTORIES_OPEN, FTW_DEPTH | FTW_PHYS) != 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot remove %s", path);
    }
    return 0;
}
