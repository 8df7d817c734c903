// The system's disk, errors that name the file, whole files. See disk.h; sync.c has the list.
#include "base/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/failpoint.h"

enum { DISK_PATH_MAX = 4096 };

// ---- the system's ----

static int system_open(struct base_disk *disk, const char *path, int flags, int *fd)
{
    (void)disk;
    int opened = open(path, flags | O_CLOEXEC, 0640);
    if (opened < 0) {
        return errno;
    }
    *fd = opened;
    return 0;
}

static int system_write(struct base_disk *disk, int fd, const char *path, struct base_span bytes,
                        uint64_t offset)
{
    (void)disk;
    (void)path;
    while (bytes.size) {
        ssize_t written = pwrite(fd, bytes.data, bytes.size, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? errno : ENOSPC;
        }
        bytes = base_span_make(bytes.data + written, bytes.size - (size_t)written);
        offset += (uint64_t)written;
    }
    return 0;
}

static int system_allocate(struct base_disk *disk, int fd, const char *path, uint64_t size)
{
    (void)disk;
    (void)path;
    return posix_fallocate(fd, 0, (off_t)size);
}

static int system_truncate(struct base_disk *disk, int fd, const char *path, uint64_t size)
{
    (void)disk;
    (void)path;
    return ftruncate(fd, (off_t)size) ? errno : 0;
}

static int system_sync(struct base_disk *disk, int fd, const char *path)
{
    (void)disk;
    (void)path;
    return fdatasync(fd) ? errno : 0;
}

static int system_sync_directory(struct base_disk *disk, const char *path)
{
    (void)disk;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int status = fsync(fd) ? errno : 0;
    close(fd);
    return status;
}

static int system_rename(struct base_disk *disk, const char *from, const char *to)
{
    (void)disk;
    return rename(from, to) ? errno : 0;
}

static int system_link(struct base_disk *disk, const char *from, const char *to)
{
    (void)disk;
    return link(from, to) ? errno : 0;
}

static int system_unlink(struct base_disk *disk, const char *path)
{
    (void)disk;
    return unlink(path) ? errno : 0;
}

static int system_make_directory(struct base_disk *disk, const char *path)
{
    (void)disk;
    return mkdir(path, 0750) && errno != EEXIST ? errno : 0;
}

static int system_space(struct base_disk *disk, const char *directory, uint64_t *bytes)
{
    (void)disk;
    struct statvfs room;
    if (statvfs(directory, &room)) {
        return errno;
    }
    *bytes = (uint64_t)room.f_bavail * room.f_frsize;
    return 0;
}

static const struct base_disk_operations system_operations = {
    .open = system_open,
    .write = system_write,
    .allocate = system_allocate,
    .truncate = system_truncate,
    .sync = system_sync,
    .sync_directory = system_sync_directory,
    .rename = system_rename,
    .link = system_link,
    .unlink = system_unlink,
    .make_directory = system_make_directory,
    .space = system_space,
};

// It has no state; it is not const because the operations take a disk that may have some.
struct base_disk base_disk_system = {&system_operations};

// ---- with errors ----

static struct base_disk *disk_of(struct base_disk *disk)
{
    return disk ? disk : &base_disk_system;
}

static int disk_check(int status, const char *doing, const char *path, struct base_error *error)
{
    return status ? base_error_set_errno(error, BASE_EIO, status, "cannot %s %s", doing, path) : 0;
}

int base_disk_open(struct base_disk *disk, const char *path, int flags, int *fd, struct base_error *error)
{
    disk = disk_of(disk);
    const char *doing = flags & O_CREAT ? "create" : "open";
    return disk_check(disk->operations->open(disk, path, flags, fd), doing, path, error);
}

int base_disk_write(struct base_disk *disk, int fd, const char *path, struct base_span bytes, uint64_t offset,
                    struct base_error *error)
{
    disk = disk_of(disk);
    int status = disk->operations->write(disk, fd, path, bytes, offset);
    return status ? base_error_set_errno(error, BASE_EIO, status, "cannot write %s at %llu", path,
                                         (unsigned long long)offset)
                  : 0;
}

int base_disk_allocate(struct base_disk *disk, int fd, const char *path, uint64_t size,
                       struct base_error *error)
{
    disk = disk_of(disk);
    int status = disk->operations->allocate(disk, fd, path, size);
    return status ? base_error_set_errno(error, BASE_EIO, status, "cannot allocate %llu bytes for %s",
                                         (unsigned long long)size, path)
                  : 0;
}

int base_disk_truncate(struct base_disk *disk, int fd, const char *path, uint64_t size,
                       struct base_error *error)
{
    disk = disk_of(disk);
    return disk_check(disk->operations->truncate(disk, fd, path, size), "truncate", path, error);
}

static int disk_check_sync(int status, const char *path, struct base_error *error)
{
    if (disk_check(status, "sync", path, error)) {
        error->fatal = true;
        return -1;
    }
    return 0;
}

int base_disk_sync(struct base_disk *disk, int fd, const char *path, struct base_error *error)
{
    disk = disk_of(disk);
    return disk_check_sync(disk->operations->sync(disk, fd, path), path, error);
}

int base_disk_sync_directory(struct base_disk *disk, const char *path, struct base_error *error)
{
    disk = disk_of(disk);
    return disk_check_sync(disk->operations->sync_directory(disk, path), path, error);
}

int base_disk_rename(struct base_disk *disk, const char *from, const char *to, struct base_error *error)
{
    disk = disk_of(disk);
    return disk_check(disk->operations->rename(disk, from, to), "rename", from, error);
}

int base_disk_link(struct base_disk *disk, const char *from, const char *to, struct base_error *error)
{
    disk = disk_of(disk);
    return disk_check(disk->operations->link(disk, from, to), "link", from, error);
}

int base_disk_unlink(struct base_disk *disk, const char *path, struct base_error *error)
{
    disk = disk_of(disk);
    return disk_check(disk->operations->unlink(disk, path), "remove", path, error);
}

int base_disk_make_directory(struct base_disk *disk, const char *path, struct base_error *error)
{
    disk = disk_of(disk);
    return disk_check(disk->operations->make_directory(disk, path), "make directory", path, error);
}

int base_disk_space(struct base_disk *disk, const char *directory, uint64_t *bytes, struct base_error *error)
{
    disk = disk_of(disk);
    if (!disk->operations->space) {
        *bytes = UINT64_MAX;
        return 0;
    }
    return disk_check(disk->operations->space(disk, directory, bytes), "see the room in", directory, error);
}

// ---- whole files ----

static int disk_write_new(struct base_disk *disk, const char *path, struct base_span bytes,
                          struct base_error *error)
{
    int fd;
    if (base_disk_open(disk, path, O_WRONLY | O_CREAT | O_TRUNC, &fd, error)) {
        return -1;
    }
    int result = base_disk_write(disk, fd, path, bytes, 0, error);
    if (result == 0) {
        result = base_disk_sync(disk, fd, path, error);
    }
    close(fd);
    return result;
}

int base_disk_replace(struct base_disk *disk, const char *path, struct base_span bytes,
                      struct base_error *error)
{
    char fresh[DISK_PATH_MAX], directory[DISK_PATH_MAX];
    const char *slash = strrchr(path, '/');
    if ((size_t)snprintf(fresh, sizeof fresh, "%s.new", path) >= sizeof fresh) {
        return base_error_set(error, BASE_EINVAL, "the path %.40s... is too long", path);
    }
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    if (disk_write_new(disk, fresh, bytes, error)) {
        return -1;
    }
    base_failpoint("file.written");
    if (base_disk_rename(disk, fresh, path, error)) {
        return -1;
    }
    base_failpoint("file.renamed");
    return base_disk_sync_directory(disk, directory, error);
}

int base_disk_read(const char *path, size_t most, struct base_buffer *buffer, struct base_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return base_error_set_errno(error, errno == ENOENT ? BASE_ENOTFOUND : BASE_EIO, errno,
                                    "cannot open %s", path);
    }
    int result = 0;
    base_buffer_clear(buffer);
    for (;;) {
        base_buffer_reserve(buffer, 4096);
        ssize_t count = read(fd, buffer->data + buffer->size, buffer->capacity - buffer->size);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            result = base_error_set_errno(error, BASE_EIO, errno, "cannot read %s", path);
        } else if (buffer->size + (size_t)count > most) {
            result = base_error_set(error, BASE_ELIMIT, "%s is larger than %zu bytes", path, most);
        }
        if (count <= 0 || result < 0) {
            break;
        }
        buffer->size += (size_t)count;
    }
    close(fd);
    return result;
}

int base_disk_unshare(struct base_disk *disk, const char *path, struct base_error *error)
{
    struct stat status;
    if (stat(path, &status)) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot look at %s", path);
    }
    if (status.st_nlink <= 1) {
        return 0;
    }
    struct base_buffer bytes = {0};
    int result = base_disk_read(path, SIZE_MAX, &bytes, error) ||
                         base_disk_replace(disk, path, base_buffer_span(&bytes), error)
                     ? -1
                     : 0;
    base_buffer_free(&bytes);
    return result;
}
