// Kept cuts and what is done with them: rotation, pins, export, import, verification.
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/scratch.h"
#include "daemon_cuts_world.h"
#include "support_disk.h"

// ---- keeping ----

Test(daemon_cuts_kept, a_kept_cut_holds_its_moment)
{
    struct place place;
    struct base_error error;
    place_make(&place);
    place_expect_kept(&place, "");
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    place_keep_cut(&place); // again: it is there
    place_make_cut(&place, 0);
    place_expect_kept(&place, "1");
    char path[PATH_ROOM]; // files that are removed in the live directory stay
    place_path(&place, "state/lanes/lane-0000/click.0000000001", path);
    cr_assert_eq(unlink(path), 0);
    place_expect_file(&place, "state/cuts/1/lanes/lane-0000/click.0000000001", "clicks, ended");
    place_expect_file(&place, "state/cuts/1/lanes/lane-0001/click.0000000001", "other clicks");
    place_expect_file(&place, "state/cuts/1/journal/00000000000000000000.journal", "decisions");
    char newest[DAEMON_CUTS_PATH_MAX];
    cr_assert_eq(daemon_cuts_path(place.state, 0, newest, &error), 0, "%s", error.text);
    struct daemon_cut_record record;
    cr_assert_eq(daemon_cuts_verify(newest, &record, &error), 0, "%s", error.text);
    cr_expect_eq(record.number, 1);
    cr_expect_eq(record.tick, 101);
    cr_expect_str_eq(record.era, "SkylakeX");
    struct daemon_cuts_kept *kept;
    size_t count;
    cr_assert_eq(daemon_cuts_list(place.state, &kept, &count, &error), 0);
    cr_assert_eq(count, 1);
    cr_expect_eq(kept[0].record.examples, 5);
    cr_expect(kept[0].files > 5 && kept[0].bytes > 100);
    free(kept);
    place_remove(&place);
}

// A disk that fails at the n-th call of anything, and at all that follow: what a crash leaves.
struct crash_disk {
    struct base_disk disk; // first
    unsigned left;
};

static bool crashed(struct base_disk *disk)
{
    struct crash_disk *crash = (struct crash_disk *)disk;
    if (crash->left == 0) {
        return true;
    }
    crash->left--;
    return false;
}

#define SYSTEM base_disk_system.operations
static int crash_open(struct base_disk *disk, const char *path, int flags, int *fd)
{
    return crashed(disk) ? EIO : SYSTEM->open(&base_disk_system, path, flags, fd);
}
static int crash_write(struct base_disk *disk, int fd, const char *path, struct base_span bytes, uint64_t at)
{
    return crashed(disk) ? EIO : SYSTEM->write(&base_disk_system, fd, path, bytes, at);
}
static int crash_sync(struct base_disk *disk, int fd, const char *path)
{
    return crashed(disk) ? EIO : SYSTEM->sync(&base_disk_system, fd, path);
}
static int crash_sync_directory(struct base_disk *disk, const char *path)
{
    return crashed(disk) ? EIO : SYSTEM->sync_directory(&base_disk_system, path);
}
static int crash_rename(struct base_disk *disk, const char *from, const char *to)
{
    return crashed(disk) ? EIO : SYSTEM->rename(&base_disk_system, from, to);
}
static int crash_link(struct base_disk *disk, const char *from, const char *to)
{
    return crashed(disk) ? EIO : SYSTEM->link(&base_disk_system, from, to);
}
static int crash_make_directory(struct base_disk *disk, const char *path)
{
    return crashed(disk) ? EIO : SYSTEM->make_directory(&base_disk_system, path);
}

static const struct base_disk_operations crash_operations = {
    .open = crash_open,
    .write = crash_write,
    .sync = crash_sync,
    .sync_directory = crash_sync_directory,
    .rename = crash_rename,
    .link = crash_link,
    .make_directory = crash_make_directory,
};

// Runs `step` with crashes after 0, 1, 2, ... calls until none comes any more; `look` judges what is there
// after each, told whether it went through. Returns the number of crashes.
static unsigned crash_everywhere(struct place *place, int (*step)(struct place *, struct base_disk *),
                                 void (*look)(struct place *, bool done))
{
    for (unsigned calls = 0;; calls++) {
        struct crash_disk crash = {{&crash_operations}, calls};
        bool done = step(place, &crash.disk) == 0;
        look(place, done);
        if (done) {
            return calls;
        }
    }
}

static int step_keep(struct place *place, struct base_disk *disk)
{
    struct base_error error;
    return daemon_cuts_keep(disk, place->state, place->store, &place->record, &error);
}

static void look_kept(struct place *place, bool done)
{
    struct base_error error;
    char path[PATH_ROOM];
    if (!place_has(place, "state/cuts/2")) {
        cr_assert_not(done);
        place_expect_kept(place, "1");
        return;
    }
    place_expect_kept(place, "2 1"); // its name may be there before the last sync: then all of it is
    struct daemon_cut_record record;
    place_path(place, "state/cuts/2", path);
    cr_expect_eq(daemon_cuts_verify(path, &record, &error), 0, "%s", error.text);
    place_expect_file(place, "state/cuts/2/lanes/lane-0000/click.0000000002", "clicks");
    place_expect_file(place, "state/cuts/2/journal/00000000000000000000.journal", "decisions");
}

Test(daemon_cuts_kept, a_crash_while_keeping_leaves_nothing_to_be_seen)
{
    struct place place;
    place_make(&place);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    place_make_cut(&place, 0);
    cr_expect_geq(crash_everywhere(&place, step_keep, look_kept), 15);
    cr_expect_not(place_has(&place, "state/cuts/.keep"));
    place_remove(&place);
}

Test(daemon_cuts_kept, a_file_that_vanishes_is_one_that_no_cut_needs)
{
    struct place place;
    struct base_error error;
    struct support_disk disk;
    place_make(&place);
    place_make_cut(&place, 0);
    support_disk_begin(&disk);
    support_disk_fail(&disk, SUPPORT_DISK_LINK, 1, ENOENT);
    cr_assert_eq(daemon_cuts_keep(&disk.disk, place.state, place.store, &place.record, &error), 0, "%s",
                 error.text);
    cr_expect_not(place_has(&place, "state/cuts/1/lanes/lane-0000/click.0000000001"));
    place_make_cut(&place, 0); // another file system: copied
    support_disk_fail(&disk, SUPPORT_DISK_LINK, 1, EXDEV);
    cr_assert_eq(daemon_cuts_keep(&disk.disk, place.state, place.store, &place.record, &error), 0, "%s",
                 error.text);
    place_expect_file(&place, "state/cuts/2/lanes/lane-0000/click.0000000001", "clicks, ended");
    place_remove(&place);
}

Test(daemon_cuts_kept, a_store_in_memory_cannot_be_kept)
{
    struct place place;
    struct base_error error;
    place_make(&place);
    daemon_store_close(place.store);
    place.store = daemon_store_memory_new();
    place_make_cut(&place, 0);
    cr_expect_eq(daemon_cuts_keep(NULL, place.state, place.store, &place.record, &error), -1);
    cr_expect_eq(error.code, BASE_EINVAL);
    place_expect_kept(&place, "");
    place_remove(&place);
}

// ---- rotation, pins ----

Test(daemon_cuts_kept, rotation_keeps_the_newest_one_an_hour_and_the_pinned)
{
    struct place place;
    struct base_error error;
    place_make(&place);
    // Cuts 1..12 in the hours 10 10 10 11 11 12 12 13 13 14 14 14.
    static const int64_t hours[] = {10, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 14};
    for (size_t i = 0; i < sizeof hours / sizeof *hours; i++) {
        place_make_cut(&place, hours[i]);
        place_keep_cut(&place);
    }
    uint64_t pinned = 4;
    cr_assert_eq(daemon_cuts_pin(NULL, place.state, &pinned, &error), 0, "%s", error.text);
    int64_t now = 14 * HOUR_MS + 60000;
    cr_assert_eq(daemon_cuts_rotate(NULL, place.state, 2, 4, now, &error), 0, "%s", error.text);
    place_expect_kept(&place, "12 11 9 7 5 4!");         // of hour 10 nothing, it is the fifth
    place_make_directory(&place, "state/cuts/.drop-99"); // of a crash
    cr_assert_eq(daemon_cuts_rotate(NULL, place.state, 1, 2, now, &error), 0, "%s", error.text);
    place_expect_kept(&place, "12 9 4!");
    cr_expect_not(place_has(&place, "state/cuts/.drop-99"));
    place_flip(&place, "state/cuts/9/STATE", 30);
    place_expect_kept(&place, "12 4! 9?");
    cr_assert_eq(daemon_cuts_rotate(NULL, place.state, 0, 0, now, &error), 0, "%s", error.text);
    place_expect_kept(&place, "4! 9?"); // what is damaged is the operator's
    pinned = 0;
    cr_assert_eq(daemon_cuts_pin(NULL, place.state, &pinned, &error), 0, "%s", error.text);
    cr_expect_eq(pinned, 4);
    cr_assert_eq(daemon_cuts_drop(NULL, place.state, 9, &error), 0, "%s", error.text);
    cr_assert_eq(daemon_cuts_drop(NULL, place.state, 4, &error), 0, "%s", error.text);
    place_expect_kept(&place, "");
    cr_expect_eq(daemon_cuts_drop(NULL, place.state, 4, &error), -1);
    cr_expect_eq(error.code, BASE_ENOTFOUND);
    cr_expect_eq(daemon_cuts_drop(NULL, place.state, 0, &error), -1);
    cr_expect_eq(daemon_cuts_pin(NULL, place.state, &pinned, &error), -1);
    cr_expect_eq(error.code, BASE_ENOTFOUND);
    place_remove(&place);
}

// A live journal is needed from where the oldest of them goes on.
Test(daemon_cuts_kept, what_kept_cuts_need_of_the_journal)
{
    struct place place;
    struct base_error error;
    place_make(&place);
    uint64_t position = 1000;
    cr_assert_eq(daemon_cuts_journal(place.state, &position, &error), 0, "%s", error.text);
    cr_expect_eq(position, 1000, "none is kept");
    for (uint64_t i = 0; i < 3; i++) {
        place.record.journal = 500 + 100 * i;
        place_make_cut(&place, (int64_t)i);
        place_keep_cut(&place);
    }
    cr_assert_eq(daemon_cuts_journal(place.state, &position, &error), 0, "%s", error.text);
    cr_expect_eq(position, 500);
    place_flip(&place, "state/cuts/1/STATE", 30);
    position = 1000;
    cr_assert_eq(daemon_cuts_journal(place.state, &position, &error), 0, "%s", error.text);
    cr_expect_eq(position, 600, "of a damaged one nothing goes on");
    position = 7;
    cr_assert_eq(daemon_cuts_journal(place.state, &position, &error), 0, "%s", error.text);
    cr_expect_eq(position, 7);
    place_remove(&place);
}

static int step_drop(struct place *place, struct base_disk *disk)
{
    struct base_error error;
    return daemon_cuts_drop(disk, place->state, 1, &error) && error.code != BASE_ENOTFOUND ? -1 : 0;
}

static void look_dropped(struct place *place, bool done)
{
    if (place_has(place, "state/cuts/1")) {
        cr_assert_not(done);
        cr_expect(place_has(place, "state/cuts/1/STATE"));
        place_expect_kept(place, "2 1");
    } else {
        place_expect_kept(place, "2");
    }
}

Test(daemon_cuts_kept, a_crash_while_dropping_leaves_no_half)
{
    struct place place;
    struct base_error error;
    place_make(&place);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    cr_expect_geq(crash_everywhere(&place, step_drop, look_dropped), 2);
    cr_assert_eq(daemon_cuts_rotate(NULL, place.state, 3, 0, 0, &error), 0, "%s", error.text);
    cr_expect_not(place_has(&place, "state/cuts/.drop-1"));
    place_remove(&place);
}

// ---- elsewhere ----

static void expect_row(const char *directory, const char *value)
{
    struct base_error error;
    struct base_buffer found = {0};
    char path[PATH_ROOM + 8];
    snprintf(path, sizeof path, "%s/db", directory);
    struct daemon_store *store = daemon_store_open(path, false, false, &error);
    cr_assert_not_null(store, "%s", error.text);
    cr_assert_eq(daemon_store_get(store, base_span_string("row"), &found, &error), 0, "%s", error.text);
    cr_expect(base_span_equal(base_buffer_span(&found), base_span_string(value)));
    struct daemon_cut_record record;
    cr_expect_eq(daemon_cuts_last(directory, store, &record, &error), 0, "%s", error.text);
    base_buffer_free(&found);
    daemon_store_close(store);
}

Test(daemon_cuts_kept, a_state_directory_is_prepared_of_a_cut)
{
    struct place place;
    struct base_error error;
    char kept[PATH_ROOM], to[PATH_ROOM];
    place_make(&place);
    place_path(&place, "state/cuts/1", kept);
    place_path(&place, "to", to);
    cr_expect_eq(daemon_cuts_prepare(NULL, kept, to, &error), -1);
    cr_expect_eq(error.code, BASE_ENOTFOUND);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    place_make_cut(&place, 0);
    cr_assert_eq(daemon_cuts_prepare(NULL, kept, to, &error), 0, "%s", error.text);
    expect_row(to, "as of 1");
    // What is written there does not reach the kept cut, nor the live state.
    place_write(&place, "to/journal/more", "x");
    char path[PATH_ROOM];
    place_path(&place, "to/lanes/lane-0000/click.0000000002", path);
    cr_assert_eq(base_disk_unshare(NULL, path, &error), 0, "%s", error.text); // as a restore does
    cr_assert_eq(truncate(path, 1), 0);
    place_path(&place, "to/journal/00000000000000000000.journal", path);
    cr_assert_eq(truncate(path, 1), 0);
    place_expect_file(&place, "state/lanes/lane-0000/click.0000000002", "clicks");
    place_expect_file(&place, "state/cuts/1/journal/00000000000000000000.journal", "decisions");
    cr_expect_eq(daemon_cuts_prepare(NULL, kept, to, &error), -1);
    cr_expect_eq(error.code, BASE_ECONFLICT);
    // Of a state directory that is not in use, its log not flushed.
    daemon_store_close(place.store);
    place_path(&place, "to2", to);
    cr_assert_eq(daemon_cuts_prepare(NULL, place.state, to, &error), 0, "%s", error.text);
    expect_row(to, "as of 2");
    place_open_store(&place);
    place_expect_last(&place, 2);
    place_remove(&place);
}

static int step_import(struct place *place, struct base_disk *disk)
{
    struct base_error error;
    char from[PATH_ROOM];
    place_path(place, "out", from);
    return daemon_cuts_import(disk, place->state, from, false, &error);
}

static void look_imported(struct place *place, bool done)
{
    if (place_has(place, "state/cuts/1")) {
        place_expect_kept(place, "2 1!");
        struct base_error error;
        struct daemon_cut_record record;
        char path[PATH_ROOM];
        place_path(place, "state/cuts/1", path);
        cr_expect_eq(daemon_cuts_verify(path, &record, &error), 0, "%s", error.text);
        if (!done) { // crashed after the name was there: drop it for the next round
            cr_expect_eq(daemon_cuts_drop(NULL, place->state, 1, &error), 0);
        }
    } else {
        cr_assert_not(done);
        place_expect_kept(place, "2");
    }
}

Test(daemon_cuts_kept, export_and_import)
{
    struct place place;
    struct base_error error;
    char out[PATH_ROOM], fresh[PATH_ROOM];
    place_make(&place);
    place_path(&place, "out", out);
    place_path(&place, "fresh", fresh);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    cr_assert_eq(daemon_cuts_export(NULL, place.state, 1, out, &error), 0, "%s", error.text);
    cr_expect_eq(daemon_cuts_export(NULL, place.state, 1, out, &error), -1);
    cr_expect_eq(error.code, BASE_ECONFLICT);
    cr_expect_eq(daemon_cuts_import(NULL, place.state, out, false, &error), -1);
    cr_expect_eq(error.code, BASE_ECONFLICT, "kept already");
    cr_expect_eq(daemon_cuts_import(NULL, place.state, out, true, &error), -1);
    cr_expect_eq(error.code, BASE_ECONFLICT, "there is a state");
    cr_assert_eq(daemon_cuts_drop(NULL, place.state, 1, &error), 0, "%s", error.text);
    cr_expect_geq(crash_everywhere(&place, step_import, look_imported), 15);

    cr_assert_eq(daemon_cuts_import(NULL, fresh, out, true, &error), 0, "%s", error.text);
    expect_row(fresh, "as of 1");
    place_expect_file(&place, "fresh/lanes/lane-0001/click.0000000001", "other clicks");
    place_expect_file(&place, "fresh/journal/00000000000000000000.journal", "decisions");
    struct daemon_cut_record record;
    cr_expect_eq(daemon_cuts_verify(out, &record, &error), 0, "%s", error.text);
    place_remove(&place);
}

static int step_import_live(struct place *place, struct base_disk *disk)
{
    struct base_error error;
    char from[PATH_ROOM], to[PATH_ROOM];
    place_path(place, "out", from);
    place_path(place, "fresh", to);
    return daemon_cuts_import(disk, to, from, true, &error);
}

static void look_live(struct place *place, bool done)
{
    struct base_error error;
    char to[PATH_ROOM], db[PATH_ROOM];
    place_path(place, "fresh", to);
    place_path(place, "fresh/db", db);
    if (place_has(place, "fresh/LAST_CUT")) {
        expect_row(to, "as of 2");
    } else if (place_has(place, "fresh/db")) { // a start is refused
        struct daemon_cut_record record;
        struct daemon_store *store = daemon_store_open(db, false, false, &error);
        cr_assert_not_null(store, "%s", error.text);
        cr_expect_eq(daemon_cuts_last(to, store, &record, &error), -1);
        cr_expect_eq(error.code, BASE_ECONFLICT);
        daemon_store_close(store);
    }
    if (!done && place_has(place, "fresh")) {
        cr_assert_eq(daemon_scratch_remove(to, &error), 0, "%s", error.text);
    }
}

Test(daemon_cuts_kept, a_crash_while_importing_leaves_nothing_to_start_from)
{
    struct place place;
    struct base_error error;
    char out[PATH_ROOM];
    place_make(&place);
    place_path(&place, "out", out);
    place_make_cut(&place, 0);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    cr_assert_eq(daemon_cuts_export(NULL, place.state, 0, out, &error), 0, "%s", error.text);
    cr_expect_geq(crash_everywhere(&place, step_import_live, look_live), 15);
    place_remove(&place);
}

// ---- verification ----

static void expect_damage(const struct place *place, const char *text)
{
    struct base_error error = {0};
    struct daemon_cut_record record;
    char out[PATH_ROOM], fresh[PATH_ROOM];
    place_path(place, "out", out);
    place_path(place, "fresh", fresh);
    cr_expect_eq(daemon_cuts_verify(out, &record, &error), -1, "%s", text);
    cr_expect_eq(error.code, BASE_EFORMAT, "%s", error.text);
    cr_expect(strstr(error.text, text), "%s: %s", text, error.text);
    cr_expect_eq(daemon_cuts_import(NULL, fresh, out, true, &error), -1, "%s", text);
    cr_expect_eq(error.code, BASE_EFORMAT, "%s", error.text);
    cr_expect_eq(daemon_cuts_import(NULL, fresh, out, false, &error), -1, "%s", text);
    cr_expect_eq(error.code, BASE_EFORMAT, "%s", error.text);
}

Test(daemon_cuts_kept, damage_of_an_exported_cut_is_named)
{
    static const char *const files[] = {"STATE", "MANIFEST", "db/CURRENT", "lanes/lane-0000/click.0000000001",
                                        "journal/00000000000000000000.journal"};
    struct place place;
    struct base_error error;
    char out[PATH_ROOM], name[PATH_ROOM], from[PATH_ROOM], to[PATH_ROOM];
    place_make(&place);
    place_path(&place, "out", out);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    cr_assert_eq(daemon_cuts_export(NULL, place.state, 1, out, &error), 0, "%s", error.text);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(name, sizeof name, "out/%s", files[i]);
        place_flip(&place, name, 5);
        expect_damage(&place, files[i]);
        place_flip(&place, name, 5);
        place_path(&place, name, from);
        if (i > 1) { // one that is missing, one too many
            place_path(&place, "aside", to);
            cr_assert_eq(rename(from, to), 0);
            snprintf(name, sizeof name, "%s is missing", files[i]);
            expect_damage(&place, name);
            cr_assert_eq(rename(to, from), 0);
        }
    }
    place_flip(&place, "out/lanes/lane-0001/click.0000000001", 0); // and what is named is the first
    place_write(&place, "out/lanes/lane-0000/more.0000000001", "more");
    expect_damage(&place, "more.0000000001 is not in the manifest");
    place_remove(&place);
}

Test(daemon_cuts_kept, damage_of_a_kept_cut_is_named)
{
    struct place place;
    struct base_error error;
    struct daemon_cut_record record;
    char kept[PATH_ROOM], other[PATH_ROOM], text[PATH_ROOM];
    place_make(&place);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    place_path(&place, "state/cuts/1", kept);
    place_flip(&place, "state/cuts/1/STATE", 40);
    cr_expect_eq(daemon_cuts_verify(kept, &record, &error), -1);
    cr_expect(strstr(error.text, "cuts/1/STATE is corrupt"), "%s", error.text);
    // The state of one with the database of another.
    place_path(&place, "state/cuts/1/STATE", text);
    place_path(&place, "state/cuts/2/STATE", other);
    cr_assert_eq(rename(other, text), 0);
    cr_expect_eq(daemon_cuts_verify(kept, &record, &error), -1);
    cr_expect(strstr(error.text, "is of cut 2, the database beside it of cut 1"), "%s", error.text);
    place_path(&place, "to", other);
    cr_expect_eq(daemon_cuts_prepare(NULL, kept, other, &error), -1);
    cr_expect_eq(error.code, BASE_EFORMAT);
    place_expect_kept(&place, "2? 1?");
    place_remove(&place);
}
