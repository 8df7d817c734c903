// The list of what has to be synced. See disk.h.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/disk.h"
#include "base/failpoint.h"

struct sync_entry {
    char *path;
    int fd; // -1: a directory
};

struct base_sync {
    struct base_disk *disk;
    struct sync_entry *entries; // [count]
    size_t count, capacity;
};

struct base_sync *base_sync_new(struct base_disk *disk)
{
    struct base_sync *sync = base_alloc_zeroed(1, sizeof *sync);
    sync->disk = disk;
    return sync;
}

void base_sync_free(struct base_sync *sync)
{
    if (!sync) {
        return;
    }
    for (size_t i = 0; i < sync->count; i++) {
        free(sync->entries[i].path);
        if (sync->entries[i].fd >= 0) {
            close(sync->entries[i].fd);
        }
    }
    free(sync->entries);
    free(sync);
}

static void sync_add(struct base_sync *sync, int fd, const char *path)
{
    if (sync->count == sync->capacity) {
        sync->capacity = sync->capacity ? 2 * sync->capacity : 16;
        sync->entries = base_realloc(sync->entries, sync->capacity * sizeof *sync->entries);
    }
    size_t size = strlen(path) + 1;
    sync->entries[sync->count++] = (struct sync_entry){memcpy(base_alloc(size), path, size), fd};
}

static bool sync_has(const struct base_sync *sync, const char *path)
{
    for (size_t i = 0; i < sync->count; i++) {
        if (strcmp(sync->entries[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

int base_sync_add_file(struct base_sync *sync, int fd, const char *path, struct base_error *error)
{
    if (sync_has(sync, path)) {
        return 0;
    }
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot keep %s open", path);
    }
    sync_add(sync, own, path);
    return 0;
}

void base_sync_add_directory(struct base_sync *sync, const char *path)
{
    if (!sync_has(sync, path)) {
        sync_add(sync, -1, path);
    }
}

int base_sync_run(struct base_sync *sync, struct base_error *error)
{
    for (int directories = 0; directories < 2; directories++) {
        for (size_t i = 0; i < sync->count; i++) {
            const struct sync_entry *entry = &sync->entries[i];
            if ((entry->fd < 0) != (directories == 1)) {
                continue;
            }
            int failed = entry->fd < 0 ? base_disk_sync_directory(sync->disk, entry->path, error)
                                       : base_disk_sync(sync->disk, entry->fd, entry->path, error);
            if (failed) {
                return -1;
            }
            base_failpoint("sync.entry");
        }
    }
    return 0;
}
