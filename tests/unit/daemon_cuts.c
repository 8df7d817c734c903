// The record of a cut and LAST_CUT. daemon_cuts_kept.c has the kept cuts.
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/scratch.h"
#include "daemon_cuts_world.h"
#include "support_disk.h"

// ---- the record, the blobs ----

Test(daemon_cuts, record_and_blobs_come_back)
{
    struct base_error error;
    struct daemon_store *store = daemon_store_memory_new();
    struct daemon_store_batch *batch = daemon_store_batch_new();
    struct daemon_cut_record record = {7, -5, -6, 8, 9, 10, 11, UINT64_MAX, 13, "era"}, read;
    struct base_buffer blob = {0};
    cr_expect_eq(daemon_cuts_get(store, &read, &error), -1);
    cr_expect_eq(error.code, BASE_ENOTFOUND);
    cr_expect_eq(daemon_cuts_get_blob(store, "x", &blob, &error), -1);
    cr_expect_eq(error.code, BASE_ENOTFOUND);
    daemon_cuts_put(batch, &record);
    daemon_cuts_put_blob(batch, "x", base_span_string("a blob"));
    daemon_cuts_put_blob(batch, "empty", base_span_string(""));
    cr_assert_eq(daemon_store_write(store, batch, &error), 0);
    cr_assert_eq(daemon_cuts_get(store, &read, &error), 0, "%s", error.text);
    cr_expect_eq(memcmp(&read, &record, sizeof record), 0);
    cr_assert_eq(daemon_cuts_get_blob(store, "x", &blob, &error), 0, "%s", error.text);
    cr_expect(base_span_equal(base_buffer_span(&blob), base_span_string("a blob")));
    cr_assert_eq(daemon_cuts_get_blob(store, "empty", &blob, &error), 0, "%s", error.text);
    cr_expect(base_span_equal(base_buffer_span(&blob), base_span_string("")));

    // One blob under another's key, and flipped bits.
    struct base_buffer bytes = {0};
    cr_assert_eq(daemon_store_get(store, base_span_string("s/blob/x"), &bytes, &error), 0);
    daemon_store_batch_clear(batch);
    daemon_store_batch_put(batch, base_span_string("s/blob/y"), base_buffer_span(&bytes));
    bytes.data[bytes.size / 2] ^= 1;
    daemon_store_batch_put(batch, base_span_string("s/blob/x"), base_buffer_span(&bytes));
    cr_assert_eq(daemon_store_get(store, base_span_string("s/cut"), &bytes, &error), 0);
    bytes.data[bytes.size / 2] ^= 1;
    daemon_store_batch_put(batch, base_span_string("s/cut"), base_buffer_span(&bytes));
    cr_assert_eq(daemon_store_write(store, batch, &error), 0);
    static const char *const names[] = {"x", "y"};
    for (int i = 0; i < 2; i++) {
        cr_expect_eq(daemon_cuts_get_blob(store, names[i], &blob, &error), -1);
        cr_expect_eq(error.code, BASE_EFORMAT);
        cr_expect(strstr(error.text, names[i]), "%s", error.text);
    }
    cr_expect_eq(daemon_cuts_get(store, &read, &error), -1);
    cr_expect_eq(error.code, BASE_EFORMAT);
    base_buffer_free(&bytes);
    base_buffer_free(&blob);
    daemon_store_batch_free(batch);
    daemon_store_close(store);
}

// ---- LAST_CUT ----

static void expect_refused(struct place *place, enum base_error_code code, const char *text)
{
    struct base_error error = {0};
    struct daemon_cut_record record = {.number = 99};
    cr_assert_eq(daemon_cuts_last(place->state, place->store, &record, &error), -1, "%s", text);
    cr_expect_eq(error.code, code, "%s", error.text);
    cr_expect_eq(error.fatal, code == BASE_ECONFLICT);
    cr_expect(strstr(error.text, text), "%s", error.text);
    cr_expect_eq(record.number, 99, "untouched");
}

Test(daemon_cuts, the_last_cut_is_known)
{
    struct place place;
    place_make(&place);
    place_expect_last(&place, 0);
    place_write_cut(&place, 0); // and a crash before LAST_CUT
    place_expect_last(&place, 1);
    place_make_cut(&place, 0);
    place_expect_last(&place, 2);
    place_write_cut(&place, 0);
    place_expect_last(&place, 3);
    place_remove(&place);
}

// A crash between the database and LAST_CUT, at the first cut and again at the second.
Test(daemon_cuts, a_start_names_the_last_cut)
{
    struct place place;
    struct base_error error;
    struct daemon_cut_record record;
    place_make(&place);
    for (int start = 0; start < 3; start++) {
        cr_assert_eq(daemon_cuts_last(place.state, place.store, &record, &error), 0, "%s", error.text);
        cr_assert_eq(daemon_cuts_name_last(NULL, place.state, &record, &error), 0, "%s", error.text);
        cr_expect_eq(record.number, (uint64_t)start);
        place_write_cut(&place, 0);
    }
    place_remove(&place);
}

Test(daemon_cuts, an_older_copy_is_refused)
{
    struct place place;
    place_make(&place);
    place_make_cut(&place, 0);
    place_keep_cut(&place);
    place_make_cut(&place, 0);
    daemon_store_close(place.store); // somebody puts the older database back
    struct base_error error;
    char live[PATH_ROOM], kept[PATH_ROOM];
    place_path(&place, "state/db", live);
    place_path(&place, "state/cuts/1/db", kept);
    cr_assert_eq(daemon_scratch_remove(live, &error), 0);
    cr_assert_eq(rename(kept, live), 0);
    place_open_store(&place);
    expect_refused(&place, BASE_ECONFLICT, "is at cut 1, but cut 2 was made: it is an older copy");
    daemon_store_close(place.store);
    cr_assert_eq(daemon_scratch_remove(live, &error), 0);
    place_open_store(&place); // or an empty one
    expect_refused(&place, BASE_ECONFLICT, "is at cut 0, but cut 2 was made");
    place.record.store++; // or that of something else
    place_make_cut(&place, 0);
    place.record.store++;
    place_write_cut(&place, 0);
    expect_refused(&place, BASE_ECONFLICT, "is another one");
    place_remove(&place);
}

Test(daemon_cuts, a_damaged_LAST_CUT_is_refused)
{
    struct place place;
    char path[PATH_ROOM];
    place_make(&place);
    place_make_cut(&place, 0);
    place_make_cut(&place, 0);
    place_path(&place, "state/LAST_CUT", path);
    struct stat status;
    cr_assert_eq(stat(path, &status), 0);
    for (off_t i = 0; i < status.st_size; i++) {
        place_flip(&place, "state/LAST_CUT", i);
        expect_refused(&place, BASE_EFORMAT, "LAST_CUT");
        place_flip(&place, "state/LAST_CUT", i);
    }
    place_expect_last(&place, 2);
    for (off_t size = status.st_size - 1; size >= 0; size -= 7) {
        cr_assert_eq(truncate(path, size), 0);
        expect_refused(&place, BASE_EFORMAT, "LAST_CUT");
    }
    cr_assert_eq(unlink(path), 0);
    expect_refused(&place, BASE_ECONFLICT, "LAST_CUT is missing, but the database is at cut 2");
    place_remove(&place);
}

Test(daemon_cuts, LAST_CUT_is_replaced_whole)
{
    struct place place;
    struct base_error error;
    place_make(&place);
    place_make_cut(&place, 0);
    place_write_cut(&place, 0);
    static const enum support_disk_operation operations[] = {SUPPORT_DISK_OPEN, SUPPORT_DISK_WRITE,
                                                             SUPPORT_DISK_SYNC, SUPPORT_DISK_RENAME};
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        struct support_disk disk;
        support_disk_begin(&disk);
        support_disk_fail(&disk, operations[i], 1, EIO);
        cr_expect_eq(daemon_cuts_made(&disk.disk, place.state, &place.record, &error), -1);
        cr_expect_eq(error.code, BASE_EIO);
        place_expect_last(&place, 2);
    }
    place_remove(&place);
}
