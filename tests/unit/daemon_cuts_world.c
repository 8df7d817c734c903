// See daemon_cuts_world.h.
#include "daemon_cuts_world.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/scratch.h"

void place_path(const struct place *place, const char *name, char path[PATH_ROOM])
{
    snprintf(path, PATH_ROOM, "%s/%s", place->directory, name);
}

void place_write(const struct place *place, const char *name, const char *text)
{
    struct base_error error;
    char path[PATH_ROOM];
    place_path(place, name, path);
    cr_assert_eq(base_disk_replace(NULL, path, base_span_string(text), &error), 0, "%s", error.text);
}

void place_expect_file(const struct place *place, const char *name, const char *text)
{
    struct base_error error;
    struct base_buffer buffer = {0};
    char path[PATH_ROOM];
    place_path(place, name, path);
    cr_assert_eq(base_disk_read(path, 1 << 20, &buffer, &error), 0, "%s", error.text);
    cr_expect(base_span_equal(base_buffer_span(&buffer), base_span_string(text)), "%s: %.*s", name,
              (int)buffer.size, (const char *)buffer.data);
    base_buffer_free(&buffer);
}

bool place_has(const struct place *place, const char *name)
{
    char path[PATH_ROOM];
    place_path(place, name, path);
    return access(path, F_OK) == 0;
}

void place_make_directory(const struct place *place, const char *name)
{
    char path[PATH_ROOM];
    place_path(place, name, path);
    cr_assert_eq(mkdir(path, 0750), 0);
}

void place_open_store(struct place *place)
{
    struct base_error error;
    char path[PATH_ROOM];
    place_path(place, "state/db", path);
    place->store = daemon_store_open(path, true, false, &error);
    cr_assert_not_null(place->store, "%s", error.text);
}

void place_make(struct place *place)
{
    struct base_error error;
    *place = (struct place){0};
    support_directory_make(place->directory);
    place_path(place, "state", place->state);
    static const char *const directories[] = {"state", "state/lanes", "state/lanes/lane-0000",
                                              "state/lanes/lane-0001", "state/journal"};
    for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
        place_make_directory(place, directories[i]);
    }
    place_write(place, "state/lanes/lane-0000/click.0000000001", "clicks, ended");
    place_write(place, "state/lanes/lane-0000/click.0000000002", "clicks");
    place_write(place, "state/lanes/lane-0001/click.0000000001", "other clicks");
    place_write(place, "state/journal/00000000000000000000.journal", "decisions");
    place_open_store(place);
    cr_assert_eq(daemon_cuts_identity(&place->record.store, &error), 0);
    snprintf(place->record.era, sizeof place->record.era, "SkylakeX");
}

void place_remove(struct place *place)
{
    struct base_error error;
    daemon_store_close(place->store);
    cr_expect_eq(daemon_scratch_remove(place->directory, &error), 0, "%s", error.text);
}

void place_write_cut(struct place *place, int64_t hours)
{
    struct base_error error;
    struct daemon_store_batch *batch = daemon_store_batch_new();
    char value[32];
    place->record.number++;
    place->record.tick = 100 + (int64_t)place->record.number;
    place->record.wall_ms = hours * HOUR_MS + (int64_t)place->record.number * 1000;
    place->record.examples += 5;
    snprintf(value, sizeof value, "as of %d", (int)place->record.number);
    daemon_cuts_put(batch, &place->record);
    daemon_cuts_put_blob(batch, DAEMON_CUTS_INGEST, base_span_string(value));
    daemon_store_batch_put(batch, base_span_string("row"), base_span_string(value));
    cr_assert_eq(daemon_store_write(place->store, batch, &error), 0, "%s", error.text);
    daemon_store_batch_free(batch);
}

void place_make_cut(struct place *place, int64_t hours)
{
    struct base_error error;
    place_write_cut(place, hours);
    cr_assert_eq(daemon_cuts_made(NULL, place->state, &place->record, &error), 0, "%s", error.text);
}

void place_keep_cut(struct place *place)
{
    struct base_error error;
    cr_assert_eq(daemon_cuts_keep(NULL, place->state, place->store, &place->record, &error), 0, "%s",
                 error.text);
}

void place_expect_kept(const struct place *place, const char *expected)
{
    struct base_error error;
    struct daemon_cuts_kept *kept;
    size_t count;
    char text[256] = "";
    cr_assert_eq(daemon_cuts_list(place->state, &kept, &count, &error), 0, "%s", error.text);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(text);
        snprintf(text + size, sizeof text - size, "%s%d%s%s", i ? " " : "", (int)kept[i].record.number,
                 kept[i].pinned ? "!" : "", kept[i].damage.code != BASE_OK ? "?" : "");
    }
    free(kept);
    cr_expect_str_eq(text, expected);
}

void place_flip(const struct place *place, const char *name, off_t offset)
{
    char path[PATH_ROOM];
    uint8_t byte;
    place_path(place, name, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

void place_expect_last(struct place *place, uint64_t number)
{
    struct base_error error;
    struct daemon_cut_record record;
    cr_assert_eq(daemon_cuts_last(place->state, place->store, &record, &error), 0, "%s", error.text);
    cr_expect_eq(record.number, number);
}
