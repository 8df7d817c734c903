// The disk, as far as durability rests on it: everything that changes a file of the state directory goes
// through here, so that a test can let it fail or forget what was not synced. Reading does not: descriptors
// are the system's, and may be read and mapped as usual.
//
// And a list of what has still to be synced, which one thread fills and another one works off.
#ifndef BASE_DISK_H
#define BASE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct base_disk;

// Each returns 0 or an errno number; `path` names the file that `fd` is of. Any thread.
struct base_disk_operations {
    int (*open)(struct base_disk *disk, const char *path, int flags,
                int *fd); // O_CLOEXEC is added; mode 0640
    int (*write)(struct base_disk *disk, int fd, const char *path, struct base_span bytes, uint64_t offset);
    int (*allocate)(struct base_disk *disk, int fd, const char *path, uint64_t size);
    int (*truncate)(struct base_disk *disk, int fd, const char *path, uint64_t size);
    int (*sync)(struct base_disk *disk, int fd, const char *path); // fdatasync
    int (*sync_directory)(struct base_disk *disk, const char *path);
    int (*rename)(struct base_disk *disk, const char *from, const char *to);
    int (*link)(struct base_disk *disk, const char *from, const char *to);
    int (*unlink)(struct base_disk *disk, const char *path);
    int (*make_directory)(struct base_disk *disk, const char *path); // one that exists is no error
    // Bytes that a file in this directory could still take; NULL: no end of them.
    int (*space)(struct base_disk *disk, const char *directory, uint64_t *bytes);
};

struct base_disk {
    const struct base_disk_operations *operations;
};

extern struct base_disk base_disk_system;

// The same with an error that names the file. `disk` NULL: the system's. BASE_EIO; a failed sync is marked
// fatal: what is on the disk is then unknown.
int base_disk_open(struct base_disk *disk, const char *path, int flags, int *fd, struct base_error *error);
int base_disk_write(struct base_disk *disk, int fd, const char *path, struct base_span bytes, uint64_t offset,
                    struct base_error *error);
int base_disk_allocate(struct base_disk *disk, int fd, const char *path, uint64_t size,
                       struct base_error *error);
int base_disk_truncate(struct base_disk *disk, int fd, const char *path, uint64_t size,
                       struct base_error *error);
int base_disk_sync(struct base_disk *disk, int fd, const char *path, struct base_error *error);
int base_disk_sync_directory(struct base_disk *disk, const char *path, struct base_error *error);
int base_disk_rename(struct base_disk *disk, const char *from, const char *to, struct base_error *error);
int base_disk_link(struct base_disk *disk, const char *from, const char *to, struct base_error *error);
int base_disk_unlink(struct base_disk *disk, const char *path, struct base_error *error);
int base_disk_make_directory(struct base_disk *disk, const char *path, struct base_error *error);
int base_disk_space(struct base_disk *disk, const char *directory, uint64_t *bytes, struct base_error *error);

// Writes a whole file so that after a crash it is the old one or the new one: a temporary file beside it,
// sync, rename, sync of the directory. Errors: as above.
int base_disk_replace(struct base_disk *disk, const char *path, struct base_span bytes,
                      struct base_error *error);
// A file that has other names too becomes a copy that has this one only, so that it can be changed. Errors:
// as above.
int base_disk_unshare(struct base_disk *disk, const char *path, struct base_error *error);
// Reads a whole file of at most `most` bytes into `buffer`, which is cleared first. Errors: BASE_ENOTFOUND
// (no such file), BASE_EIO, BASE_ELIMIT.
int base_disk_read(const char *path, size_t most, struct base_buffer *buffer, struct base_error *error);

// ---- what has to be synced ----

struct base_sync; // files, then directories; each once

struct base_sync *base_sync_new(struct base_disk *disk); // NULL: the system's
void base_sync_free(struct base_sync *sync);             // closes what it holds; takes NULL
// Adds a file by its descriptor, which is duplicated: the owner may close, append or unlink meanwhile. Error:
// BASE_EIO (no descriptor left).
int base_sync_add_file(struct base_sync *sync, int fd, const char *path, struct base_error *error);
void base_sync_add_directory(struct base_sync *sync, const char *path);
// Syncs all, files first. Any thread. Errors: as base_disk_sync.
int base_sync_run(struct base_sync *sync, struct base_error *error);

#endif
