// The lock of a state directory. See lock.h.
#include "daemon/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

enum { LOCK_PATH_MAX = 4096 + 8, LOCK_TEXT_MAX = 16 };

struct daemon_lock {
    int fd;
};

// Says whose the lock is, as far as its holder has already written that down.
static int lock_refuse(int fd, const char *directory, struct base_error *error)
{
    char text[LOCK_TEXT_MAX + 1] = "";
    if (pread(fd, text, LOCK_TEXT_MAX, 0) > 0) {
        text[strcspn(text, "\n")] = '\0';
        return base_error_set(error, BASE_ECONFLICT, "another process (pid %s) uses %s", text, directory);
    }
    return base_error_set(error, BASE_ECONFLICT, "another process uses %s", directory);
}

static int lock_note(int fd, const char *path, struct base_error *error)
{
    char text[LOCK_TEXT_MAX];
    int size = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)size, 0) != size) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot write %s", path);
    }
    return 0;
}

struct daemon_lock *daemon_lock_take(const char *directory, struct base_error *error)
{
    char path[LOCK_PATH_MAX];
    snprintf(path, sizeof path, "%s/LOCK", directory);
    if (mkdir(directory, 0750) != 0 && errno != EEXIST) {
        base_error_set_errno(error, BASE_EIO, errno, "cannot make directory %s", directory);
        return NULL;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0) {
        base_error_set_errno(error, BASE_EIO, errno, "cannot open %s", path);
        return NULL;
    }
    int failed = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        failed = errno == EWOULDBLOCK ? lock_refuse(fd, directory, error)
                                      : base_error_set_errno(error, BASE_EIO, errno, "cannot lock %s", path);
    } else {
        failed = lock_note(fd, path, error);
    }
    if (failed) {
        close(fd);
        return NULL;
    }
    struct daemon_lock *lock = base_alloc_zeroed(1, sizeof *lock);
    lock->fd = fd;
    return lock;
}

void daemon_lock_free(struct daemon_lock *lock)
{
    if (lock) {
        close(lock->fd);
        free(lock);
    }
}
