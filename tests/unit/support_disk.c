// A disk that fails. See support_disk.h.
#include "support_disk.h"

// The status of a call that fails; 0: let it through.
static int disk_count(struct base_disk *disk, enum support_disk_operation operation)
{
    struct support_disk *failing = (struct support_disk *)disk;
    unsigned call = ++failing->calls[operation];
    return operation == failing->fails && call == failing->at ? failing->status : 0;
}

static const struct base_disk_operations *disk_system(void)
{
    return base_disk_system.operations;
}

static int disk_open(struct base_disk *disk, const char *path, int flags, int *fd)
{
    int status = disk_count(disk, SUPPORT_DISK_OPEN);
    return status ? status : disk_system()->open(&base_disk_system, path, flags, fd);
}

static int disk_write(struct base_disk *disk, int fd, const char *path, struct base_span bytes,
                      uint64_t offset)
{
    int status = disk_count(disk, SUPPORT_DISK_WRITE);
    return status ? status : disk_system()->write(&base_disk_system, fd, path, bytes, offset);
}

static int disk_allocate(struct base_disk *disk, int fd, const char *path, uint64_t size)
{
    int status = disk_count(disk, SUPPORT_DISK_ALLOCATE);
    return status ? status : disk_system()->allocate(&base_disk_system, fd, path, size);
}

static int disk_truncate(struct base_disk *disk, int fd, const char *path, uint64_t size)
{
    int status = disk_count(disk, SUPPORT_DISK_TRUNCATE);
    return status ? status : disk_system()->truncate(&base_disk_system, fd, path, size);
}

static int disk_sync(struct base_disk *disk, int fd, const char *path)
{
    int status = disk_count(disk, SUPPORT_DISK_SYNC);
    return status ? status : disk_system()->sync(&base_disk_system, fd, path);
}

static int disk_sync_directory(struct base_disk *disk, const char *path)
{
    int status = disk_count(disk, SUPPORT_DISK_SYNC_DIRECTORY);
    return status ? status : disk_system()->sync_directory(&base_disk_system, path);
}

static int disk_rename(struct base_disk *disk, const char *from, const char *to)
{
    int status = disk_count(disk, SUPPORT_DISK_RENAME);
    return status ? status : disk_system()->rename(&base_disk_system, from, to);
}

static int disk_link(struct base_disk *disk, const char *from, const char *to)
{
    int status = disk_count(disk, SUPPORT_DISK_LINK);
    return status ? status : disk_system()->link(&base_disk_system, from, to);
}

static int disk_unlink(struct base_disk *disk, const char *path)
{
    int status = disk_count(disk, SUPPORT_DISK_UNLINK);
    return status ? status : disk_system()->unlink(&base_disk_system, path);
}

static int disk_make_directory(struct base_disk *disk, const char *path)
{
    int status = disk_count(disk, SUPPORT_DISK_MAKE_DIRECTORY);
    return status ? status : disk_system()->make_directory(&base_disk_system, path);
}

static const struct base_disk_operations disk_operations = {
    .open = disk_open,
    .write = disk_write,
    .allocate = disk_allocate,
    .truncate = disk_truncate,
    .sync = disk_sync,
    .sync_directory = disk_sync_directory,
    .rename = disk_rename,
    .link = disk_link,
    .unlink = disk_unlink,
    .make_directory = disk_make_directory,
};

void support_disk_begin(struct support_disk *disk)
{
    *disk = (struct support_disk){.disk = {&disk_operations}};
}

void support_disk_fail(struct support_disk *disk, enum support_disk_operation operation, unsigned n,
                       int status)
{
    disk->fails = operation;
    disk->at = disk->calls[operation] + n;
    disk->status = status;
}
