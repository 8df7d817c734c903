// Room on the disk, held in a file. See reserve.h.
#include "daemon/reserve.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { RESERVE_PATH_MAX = 4096 };

struct daemon_reserve {
    struct base_disk *disk;
    char directory[RESERVE_PATH_MAX];
    char path[RESERVE_PATH_MAX + 16];
    bool held;
};

static int reserve_hold(struct daemon_reserve *reserve, uint64_t bytes, struct base_error *error)
{
    int fd;
    if (base_disk_open(reserve->disk, reserve->path, O_WRONLY | O_CREAT, &fd, error)) {
        return -1;
    }
    int status = base_disk_truncate(reserve->disk, fd, reserve->path, bytes, error);
    if (status == 0) {
        status = base_disk_allocate(reserve->disk, fd, reserve->path, bytes, error);
    }
    close(fd);
    reserve->held = status == 0;
    return status;
}

struct daemon_reserve *daemon_reserve_new(struct base_disk *disk, const char *state_dir, uint64_t bytes,
                                          struct base_error *error)
{
    struct daemon_reserve *reserve = base_alloc_zeroed(1, sizeof *reserve);
    reserve->disk = disk;
    snprintf(reserve->directory, sizeof reserve->directory, "%s", state_dir);
    snprintf(reserve->path, sizeof reserve->path, "%s/RESERVE", state_dir);
    int status = 0;
    if (bytes > 0) {
        status = reserve_hold(reserve, bytes, error);
    } else if (access(reserve->path, F_OK) == 0) {
        status = base_disk_unlink(disk, reserve->path, error);
    }
    if (status) {
        daemon_reserve_free(reserve);
        return NULL;
    }
    return reserve;
}

void daemon_reserve_free(struct daemon_reserve *reserve)
{
    free(reserve);
}

int daemon_reserve_make_room(struct daemon_reserve *reserve, uint64_t bytes, bool *short_of_room,
                             struct base_error *error)
{
    uint64_t room;
    if (base_disk_space(reserve->disk, reserve->directory, &room, error)) {
        return -1;
    }
    *short_of_room = room < bytes;
    if (*short_of_room && reserve->held) {
        reserve->held = false;
        if (base_disk_unlink(reserve->disk, reserve->path, error) ||
            base_disk_space(reserve->disk, reserve->directory, &room, error)) {
            return -1;
        }
    }
    if (room < bytes) {
        return base_error_set(error, BASE_EIO, "%s has room for %llu bytes, a cut needs %llu",
                              reserve->directory, (unsigned long long)room, (unsigned long long)bytes);
    }
    return 0;
}
