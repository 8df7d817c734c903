// Tests of the reserve: held, given up when the room is short, and what no room at all says.
#include "daemon/reserve.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>

#include "support_directory.h"

// A disk whose room the test sets.
struct narrow {
    struct base_disk disk;
    struct base_disk_operations operations;
    uint64_t room;
};

static int narrow_space(struct base_disk *disk, const char *directory, uint64_t *bytes)
{
    (void)directory;
    *bytes = ((struct narrow *)disk)->room;
    return 0;
}

static int narrow_unlink(struct base_disk *disk, const char *path)
{
    ((struct narrow *)disk)->room += 5000;
    return base_disk_system.operations->unlink(&base_disk_system, path);
}

static void narrow_open(struct narrow *narrow, uint64_t room)
{
    *narrow = (struct narrow){.operations = *base_disk_system.operations, .room = room};
    narrow->operations.space = narrow_space;
    narrow->operations.unlink = narrow_unlink;
    narrow->disk.operations = &narrow->operations;
}

static int64_t size_of(const char *directory)
{
    char path[SUPPORT_DIRECTORY_MAX + 16];
    snprintf(path, sizeof path, "%s/RESERVE", directory);
    struct stat status;
    return stat(path, &status) ? -1 : (int64_t)status.st_size;
}

Test(daemon_reserve, is_given_up_once_the_room_is_short)
{
    char directory[SUPPORT_DIRECTORY_MAX];
    support_directory_make(directory);
    struct narrow narrow;
    narrow_open(&narrow, 1000);
    struct base_error error = {0};
    bool short_of_room;
    struct daemon_reserve *reserve = daemon_reserve_new(&narrow.disk, directory, 5000, &error);
    cr_assert(reserve, "%s", error.text);
    cr_assert_eq(size_of(directory), 5000);
    cr_assert_eq(daemon_reserve_make_room(reserve, 1000, &short_of_room, &error), 0);
    cr_assert(!short_of_room && size_of(directory) == 5000);

    cr_assert_eq(daemon_reserve_make_room(reserve, 4000, &short_of_room, &error), 0, "%s", error.text);
    cr_assert(short_of_room && size_of(directory) == -1);
    narrow.room = 100;
    cr_assert_eq(daemon_reserve_make_room(reserve, 4000, &short_of_room, &error), -1);
    cr_assert(error.code == BASE_EIO && strstr(error.text, directory) && strstr(error.text, "100 bytes"),
              "%s", error.text);
    daemon_reserve_free(reserve);
    support_directory_remove(directory);
}

Test(daemon_reserve, none_is_held_where_none_is_wanted)
{
    char directory[SUPPORT_DIRECTORY_MAX];
    support_directory_make(directory);
    struct base_error error = {0};
    struct daemon_reserve *reserve = daemon_reserve_new(NULL, directory, 4096, &error);
    cr_assert(reserve && size_of(directory) == 4096);
    daemon_reserve_free(reserve);
    reserve = daemon_reserve_new(NULL, directory, 0, &error);
    cr_assert(reserve && size_of(directory) == -1);
    daemon_reserve_free(reserve);
    cr_assert_null(daemon_reserve_new(NULL, "/nowhere", 1, &error));
    cr_assert(error.code == BASE_EIO && strstr(error.text, "/nowhere/RESERVE"), "%s", error.text);
    support_directory_remove(directory);
}
