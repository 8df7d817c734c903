// The decision journal: what is added comes back in order, torn tails are cut off, other damage is told.
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/random.h"
#include "consumer/ingest.h"
#include "consumer_ingest_world.h"
#include "consumer_journal_support.h"
#include "support_disk.h"

static struct base_error error;

static void add(struct consumer_journal *journal, uint32_t rank, uint32_t lane,
                enum consumer_ingest_what what, int64_t next, int64_t watermark)
{
    const struct consumer_ingest_decision decision = {
        .what = what, .rank = rank, .lane = lane, .next = next, .watermark = watermark};
    cr_assert_eq(consumer_journal_add(journal, &decision, &error), 0, "%s", error.text);
}

static void raise_to(struct consumer_journal *journal, int64_t next, int64_t watermark)
{
    add(journal, 1, 2, CONSUMER_INGEST_RAISED, next, watermark);
}

static void sync_now(struct consumer_journal *journal)
{
    cr_assert_eq(consumer_journal_sync(journal, &error), 0, "%s", error.text);
    cr_assert_not(consumer_journal_dirty(journal));
}

// What is to be obeyed at (1, 2), as text.
static const char *obey(struct consumer_journal *journal)
{
    static char text[4096];
    int size = 0;
    const struct consumer_ingest_decision *next;
    text[0] = '\0';
    while ((next = consumer_journal_next(journal, 1, 2))) {
        size += snprintf(text + size, sizeof text - (size_t)size, "%c%lld:%lld ", "ruf"[next->what],
                         (long long)next -> next, (long long)next -> watermark);
        cr_assert_null(next->reason);
        consumer_journal_obeyed(journal, 1, 2);
    }
    return text;
}

// The path of the only (or the last) file, and how many there are.
static int last_file(const struct place *place, char path[2 * JOURNAL_PATH_MAX])
{
    struct dirent **entries;
    int files = 0;
    int count = scandir(place->directory, &entries, NULL, alphasort);
    cr_assert(count >= 0);
    for (int i = 0; i < count; i++) {
        if (strstr(entries[i]->d_name, ".journal")) {
            snprintf(path, 2 * JOURNAL_PATH_MAX, "%s/%s", place->directory, entries[i]->d_name);
            files++;
        }
        free(entries[i]);
    }
    free(entries);
    return files;
}

static void write_file(const char *path, struct base_span bytes)
{
    cr_assert_eq(base_disk_replace(NULL, path, bytes, &error), 0);
}

// ---- order ----

Test(consumer_journal, what_is_added_is_obeyed_after_a_restart)
{
    struct place place;
    place_begin(&place, 0);
    struct consumer_journal *journal = place_open(&place, 0);
    cr_assert_null(consumer_journal_next(journal, 1, 2));
    cr_assert_not(consumer_journal_dirty(journal));
    raise_to(journal, 0, -500);
    raise_to(journal, 5, 1000);
    add(journal, 0, 0, CONSUMER_INGEST_UNDECODABLE, 7, 0);
    add(journal, 1, 2, CONSUMER_INGEST_UNDECODABLE, 6, 0);
    add(journal, 1, 2, CONSUMER_INGEST_FUTURE, 8, 0);
    cr_assert(consumer_journal_dirty(journal));
    cr_assert(consumer_journal_unwritten(journal) > 0);
    cr_assert_null(consumer_journal_next(journal, 1, 2), "what this life decides it does not obey");
    sync_now(journal);
    cr_assert_eq(consumer_journal_unwritten(journal), 0);
    uint64_t position = consumer_journal_position(journal);
    raise_to(journal, 9, 3000); // never synced
    consumer_journal_free(journal);

    journal = place_open(&place, 0);
    cr_assert_eq(consumer_journal_position(journal), position);
    cr_assert_str_eq(obey(journal), "r0:-500 r5:1000 u6:0 f8:0 ");
    cr_assert_null(consumer_journal_next(journal, 1, 2));
    cr_assert_eq(consumer_journal_next(journal, 0, 0)->next, 7);
    raise_to(journal, 9, 4000);
    sync_now(journal);
    consumer_journal_free(journal);

    journal = place_open(&place, position);
    cr_assert_str_eq(obey(journal), "r9:4000 ");
    cr_assert_null(consumer_journal_next(journal, 0, 0));
    consumer_journal_free(journal);
    place_end(&place);
    consumer_journal_free(NULL);
}

Test(consumer_journal, of_one_offset_the_record_first_then_the_highest_raise)
{
    struct place place;
    place_begin(&place, 0);
    struct consumer_journal *journal = place_open(&place, 0);
    raise_to(journal, 5, 10);
    raise_to(journal, 5, 30);
    raise_to(journal, 5, 20);
    uint64_t late = consumer_journal_position(journal);
    add(journal, 1, 2, CONSUMER_INGEST_FUTURE, 5, 0); // a later program finds
    add(journal, 1, 2, CONSUMER_INGEST_UNDECODABLE, 3, 0);
    raise_to(journal, 4, 5);
    sync_now(journal);
    consumer_journal_free(journal);
    journal = place_open(&place, 0);
    cr_assert(consumer_journal_needed(journal, 1, 2) < late);
    cr_assert_eq(consumer_journal_needed(journal, 0, 0), consumer_journal_position(journal));
    consumer_journal_obeyed(journal, 1, 2);
    consumer_journal_obeyed(journal, 1, 2);
    consumer_journal_obeyed(journal, 1, 2);
    cr_assert(consumer_journal_needed(journal, 1, 2) < late, "the first raise at 5");
    cr_assert_str_eq(obey(journal), "r5:30 ");
    cr_assert_eq(consumer_journal_needed(journal, 1, 2), consumer_journal_position(journal));
    consumer_journal_free(journal);
    journal = place_open(&place, 0);
    cr_assert_str_eq(obey(journal), "u3:0 r4:5 f5:0 r5:30 ");
    consumer_journal_free(journal);
    journal = place_open(&place, late);
    cr_assert_eq(consumer_journal_needed(journal, 1, 2), late, "the least of all that is left, in any order");
    cr_assert_str_eq(obey(journal), "u3:0 r4:5 f5:0 ");
    consumer_journal_free(journal);
    place_end(&place);
}

// ---- notes and skips ----

Test(consumer_journal, notes)
{
    struct place place;
    struct base_span text;
    place_begin(&place, 0);
    struct consumer_journal *journal = place_open(&place, 0);
    cr_assert_not(consumer_journal_last(journal, CONSUMER_JOURNAL_CONFIGURATION, &text));
    for (int i = 0; i < 3; i++) {
        char note[32];
        snprintf(note, sizeof note, "number %d", i);
        cr_assert_eq(
            consumer_journal_note(journal, CONSUMER_JOURNAL_CONFIGURATION, base_span_string(note), &error),
            0);
    }
    cr_assert_eq(consumer_journal_note(journal, CONSUMER_JOURNAL_REWIND, base_span_string(""), &error), 0);
    sync_now(journal);
    consumer_journal_free(journal);
    journal = place_open(&place, 0);
    cr_assert(consumer_journal_last(journal, CONSUMER_JOURNAL_CONFIGURATION, &text));
    cr_assert(base_span_equal(text, base_span_string("number 2")));
    cr_assert(consumer_journal_last(journal, CONSUMER_JOURNAL_REWIND, &text));
    cr_assert_eq(text.size, 0);
    cr_assert_not(consumer_journal_last(journal, CONSUMER_JOURNAL_ERA, &text));
    char *large = base_alloc_zeroed(1, CONSUMER_JOURNAL_NOTE_MAX + 1);
    struct base_span span = base_span_make(large, CONSUMER_JOURNAL_NOTE_MAX + 1);
    cr_assert_eq(consumer_journal_note(journal, CONSUMER_JOURNAL_ERA, span, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
    span.size--;
    cr_assert_eq(consumer_journal_note(journal, CONSUMER_JOURNAL_ERA, span, &error), 0);
    sync_now(journal);
    free(large);
    consumer_journal_free(journal);
    place_end(&place);
}

Test(consumer_journal, skips)
{
    struct place place;
    place_begin(&place, 0);
    struct consumer_journal *journal = place_open(&place, 0);
    cr_assert_eq(consumer_journal_skip(journal, 1, 2, 20, 30, &error), 0);
    cr_assert_eq(consumer_journal_skip(journal, 1, 2, 10, 21, &error), 0);
    cr_assert_eq(consumer_journal_skip(journal, 0, 2, 10, 11, &error), 0);
    sync_now(journal);
    static const struct {
        uint32_t rank, lane;
        int64_t from, to;
    } wrong[] = {{2, 0, 0, 1}, {0, 3, 0, 1}, {0, 0, -1, 1}, {0, 0, 5, 5}, {0, 0, 5, 4}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_eq(
            consumer_journal_skip(journal, wrong[i].rank, wrong[i].lane, wrong[i].from, wrong[i].to, &error),
            -1);
        cr_assert_eq(error.code, BASE_EINVAL);
    }
    for (int life = 0; life < 2; life++) {
        static const int64_t beyond[][2] = {{9, 9}, {10, 30}, {20, 30}, {29, 30}, {30, 30}};
        for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
            cr_assert_eq(consumer_journal_beyond(journal, 1, 2, beyond[i][0]), beyond[i][1]);
        }
        cr_assert_eq(consumer_journal_beyond(journal, 0, 2, 10), 11);
        cr_assert_eq(consumer_journal_beyond(journal, 0, 1, 10), 10);
        consumer_journal_free(journal);
        journal = place_open(&place, 0);
    }
    for (int i = 3; i < CONSUMER_JOURNAL_SKIPS_MAX; i++) {
        cr_assert_eq(consumer_journal_skip(journal, 0, 0, i, i + 1, &error), 0);
    }
    cr_assert_eq(consumer_journal_skip(journal, 0, 0, 0, 1, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
    consumer_journal_free(journal);
    place_end(&place);
}

// ---- files ----

Test(consumer_journal, files_rotate_and_are_forgotten)
{
    struct place place;
    struct base_span text;
    char path[2 * JOURNAL_PATH_MAX];
    uint64_t positions[40];
    place_begin(&place, 0);
    place.config.file_bytes = 400;
    struct consumer_journal *journal = place_open(&place, 0);
    cr_assert_eq(consumer_journal_note(journal, CONSUMER_JOURNAL_ERA, base_span_string("blue"), &error), 0);
    cr_assert_eq(consumer_journal_skip(journal, 0, 0, 3, 4, &error), 0);
    for (int i = 0; i < 40; i++) {
        positions[i] = consumer_journal_position(journal);
        raise_to(journal, i, i);
        sync_now(journal);
    }
    int files = last_file(&place, path);
    cr_assert(files > 4, "%d", files);
    consumer_journal_free(journal);
    for (int i = 0; i < 40; i++) { // from every entry on
        journal = place_open(&place, positions[i]);
        for (int k = i; k < 40; k++) {
            cr_assert_eq(consumer_journal_next(journal, 1, 2)->next, k);
            consumer_journal_obeyed(journal, 1, 2);
        }
        cr_assert(consumer_journal_last(journal, CONSUMER_JOURNAL_ERA, &text));
        cr_assert(base_span_equal(text, base_span_string("blue")));
        cr_assert_eq(consumer_journal_beyond(journal, 0, 0, 3), 4);
        consumer_journal_free(journal);
    }
    journal = place_open(&place, positions[30]);
    cr_assert_eq(consumer_journal_forget(journal, 0, &error), 0);
    cr_assert_eq(last_file(&place, path), files);
    cr_assert_eq(consumer_journal_forget(journal, positions[30], &error), 0);
    cr_assert_lt(last_file(&place, path), files);
    consumer_journal_free(journal);
    journal = place_open(&place, positions[30]);
    cr_assert_eq(consumer_journal_next(journal, 1, 2)->next, 30);
    cr_assert_eq(consumer_journal_beyond(journal, 0, 0, 3), 4);
    cr_assert_eq(consumer_journal_forget(journal, UINT64_MAX, &error), 0);
    cr_assert_eq(last_file(&place, path), 1, "the last stays");
    consumer_journal_free(journal);
    cr_assert_null(consumer_journal_open(&place.config, 0, false, &error));
    cr_assert_eq(error.code, BASE_ENOTFOUND);
    place_end(&place);
}

// The process before may have died between naming the last file and syncing the directory: with the power
// then the file would go, and with it what was decided since.
Test(consumer_journal, the_last_files_name_is_made_durable_at_a_start)
{
    struct place place;
    struct support_disk disk;
    place_begin(&place, 0);
    consumer_journal_free(place_open(&place, 0));
    support_disk_begin(&disk);
    place.config.disk = &disk.disk;
    consumer_journal_free(place_open(&place, 0));
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC_DIRECTORY], 1);
    support_disk_fail(&disk, SUPPORT_DISK_SYNC_DIRECTORY, 1, EIO);
    cr_assert_null(consumer_journal_open(&place.config, 0, false, &error));
    cr_assert_eq(error.code, BASE_EIO);
    place_end(&place);
}

Test(consumer_journal, a_missing_file_between_two)
{
    struct place place;
    char path[2 * JOURNAL_PATH_MAX];
    place_begin(&place, 0);
    place.config.file_bytes = 1; // a file an entry
    struct consumer_journal *journal = place_open(&place, 0);
    raise_to(journal, 1, 1);
    sync_now(journal);
    raise_to(journal, 2, 2);
    sync_now(journal);
    cr_assert_eq(last_file(&place, path), 3);
    consumer_journal_free(journal);
    struct dirent **entries;
    int count = scandir(place.directory, &entries, NULL, alphasort); // ., .., and three
    cr_assert_eq(count, 5);
    snprintf(path, sizeof path, "%s/%s", place.directory, entries[3]->d_name);
    cr_assert_eq(unlink(path), 0);
    for (int i = 0; i < count; i++) {
        free(entries[i]);
    }
    free(entries);
    cr_assert_null(consumer_journal_open(&place.config, 0, false, &error));
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert(strstr(error.text, "the next file begins"), "%s", error.text);
    place_end(&place);
}

Test(consumer_journal, read_only_touches_nothing)
{
    struct place place;
    char path[2 * JOURNAL_PATH_MAX];
    struct base_buffer bytes = {0}, after = {0};
    place_begin(&place, 0);
    cr_assert_null(consumer_journal_open(&place.config, 0, true, &error));
    cr_assert_eq(error.code, BASE_ENOTFOUND);
    cr_assert_neq(access(place.directory, F_OK), 0);
    struct consumer_journal *journal = place_open(&place, 0);
    raise_to(journal, 1, 1);
    sync_now(journal);
    consumer_journal_free(journal);
    last_file(&place, path);
    cr_assert_eq(base_disk_read(path, 1 << 20, &bytes, &error), 0);
    base_buffer_append(&bytes, "torn", 4);
    write_file(path, base_buffer_span(&bytes));
    journal = consumer_journal_open(&place.config, 0, true, &error);
    cr_assert(journal, "%s", error.text);
    cr_assert_str_eq(obey(journal), "r1:1 ");
    uint64_t position = consumer_journal_position(journal);
    raise_to(journal, 2, 2);
    cr_assert_eq(consumer_journal_note(journal, CONSUMER_JOURNAL_ERA, base_span_string("x"), &error), 0);
    cr_assert_not(consumer_journal_dirty(journal));
    cr_assert_eq(consumer_journal_position(journal), position);
    cr_assert_eq(consumer_journal_sync(journal, &error), 0);
    cr_assert_eq(consumer_journal_forget(journal, UINT64_MAX, &error), 0);
    consumer_journal_free(journal);
    cr_assert_eq(base_disk_read(path, 1 << 20, &after, &error), 0);
    cr_assert(base_span_equal(base_buffer_span(&bytes), base_buffer_span(&after)));
    base_buffer_free(&bytes);
    base_buffer_free(&after);
    place_end(&place);
}

Test(consumer_journal, other_partitions_are_a_conflict)
{
    struct place place;
    place_begin(&place, 0);
    consumer_journal_free(place_open(&place, 0));
    struct consumer_journal_config other = place.config;
    other.lanes = 4;
    cr_assert_null(consumer_journal_open(&other, 0, false, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT);
    cr_assert(strstr(error.text, "2 topics of 3 partitions, the source 2 of 4"), "%s", error.text);
    other = place.config;
    other.topics[1] = "bought";
    cr_assert_null(consumer_journal_open(&other, 0, false, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT);
    consumer_journal_free(place_open(&place, 0));
    place_end(&place);
}

// ---- damage ----

// A journal of five raises, its bytes, and where each entry begins.
static void five(struct place *place, char path[2 * JOURNAL_PATH_MAX], struct base_buffer *bytes,
                 uint64_t positions[6])
{
    struct consumer_journal *journal = place_open(place, 0);
    for (int i = 0; i < 5; i++) {
        positions[i] = consumer_journal_position(journal);
        raise_to(journal, i, 10 * i);
        sync_now(journal);
    }
    positions[5] = consumer_journal_position(journal);
    consumer_journal_free(journal);
    cr_assert_eq(last_file(place, path), 1);
    cr_assert_eq(base_disk_read(path, 1 << 20, bytes, &error), 0);
    cr_assert_eq(bytes->size, positions[5]);
}

static int count_entries(struct consumer_journal *journal)
{
    int count = 0;
    for (; consumer_journal_next(journal, 1, 2); count++) {
        cr_assert_eq(consumer_journal_next(journal, 1, 2)->next, count);
        cr_assert_eq(consumer_journal_next(journal, 1, 2)->watermark, 10 * count);
        consumer_journal_obeyed(journal, 1, 2);
    }
    return count;
}

Test(consumer_journal, torn_at_each_byte)
{
    struct place place;
    char path[2 * JOURNAL_PATH_MAX];
    struct base_buffer bytes = {0}, after = {0};
    uint64_t positions[6];
    place_begin(&place, 0);
    five(&place, path, &bytes, positions);
    for (size_t size = 0; size <= bytes.size; size++) {
        write_file(path, base_span_make(bytes.data, size));
        struct consumer_journal *journal = consumer_journal_open(&place.config, 0, false, &error);
        if (size < positions[0]) {
            cr_assert_null(journal, "what a file begins with is never torn");
            cr_assert_eq(error.code, BASE_EFORMAT);
            continue;
        }
        cr_assert(journal, "%zu: %s", size, error.text);
        int whole = 0;
        while (whole < 5 && positions[whole + 1] <= size) {
            whole++;
        }
        cr_assert_eq(consumer_journal_position(journal), positions[whole]);
        cr_assert_eq(count_entries(journal), whole);
        for (int i = whole; i < 5; i++) { // again, as a life that lost it
            raise_to(journal, i, 10 * i);
            sync_now(journal);
        }
        consumer_journal_free(journal);
        cr_assert_eq(base_disk_read(path, 1 << 20, &after, &error), 0);
        cr_assert(base_span_equal(base_buffer_span(&bytes), base_buffer_span(&after)));
        // Where the cut knows that more was there, it is no torn tail.
        write_file(path, base_span_make(bytes.data, size));
        for (int i = whole + 1; i <= 5; i++) {
            cr_assert_null(consumer_journal_open(&place.config, positions[i], false, &error));
            cr_assert_eq(error.code, BASE_EFORMAT);
            cr_assert(strstr(error.text, path), "%s", error.text);
        }
    }
    base_buffer_free(&bytes);
    base_buffer_free(&after);
    place_end(&place);
}

// What one sync would have made durable may be torn in its middle, since a disk writes in any order; where a
// later sync has succeeded, all before it was.
Test(consumer_journal, a_group_torn_in_its_middle)
{
    struct place place;
    char path[2 * JOURNAL_PATH_MAX];
    struct base_buffer bytes = {0};
    uint64_t positions[6];
    place_begin(&place, 0);
    struct consumer_journal *journal = place_open(&place, 0);
    for (int i = 0; i < 5; i++) {
        positions[i] = consumer_journal_position(journal);
        raise_to(journal, i, 10 * i);
    }
    sync_now(journal);
    positions[5] = consumer_journal_position(journal);
    raise_to(journal, 5, 50);
    sync_now(journal);
    consumer_journal_free(journal);
    cr_assert_eq(last_file(&place, path), 1);
    cr_assert_eq(base_disk_read(path, 1 << 20, &bytes, &error), 0);
    for (int torn = 0; torn < 5; torn++) {
        bytes.data[positions[torn] + 3] ^= 0x10;
        write_file(path, base_span_make(bytes.data, positions[5]));
        journal = consumer_journal_open(&place.config, 0, false, &error);
        cr_assert(journal, "%d: %s", torn, error.text);
        cr_assert_eq(count_entries(journal), torn);
        cr_assert_eq(consumer_journal_position(journal), positions[torn]);
        consumer_journal_free(journal);

        write_file(path, base_buffer_span(&bytes));
        cr_assert_null(consumer_journal_open(&place.config, 0, false, &error), "%d", torn);
        cr_assert_eq(error.code, BASE_EFORMAT);
        bytes.data[positions[torn] + 3] ^= 0x10;
    }
    base_buffer_free(&bytes);
    place_end(&place);
}

Test(consumer_journal, every_flipped_bit)
{
    struct place place;
    char path[2 * JOURNAL_PATH_MAX];
    struct base_buffer bytes = {0};
    uint64_t positions[6];
    place_begin(&place, 0);
    five(&place, path, &bytes, positions);
    for (size_t bit = 0; bit < 8 * bytes.size; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_file(path, base_buffer_span(&bytes));
        bool below = bit / 8 < positions[4];
        struct consumer_journal *journal = consumer_journal_open(&place.config, 0, true, &error);
        if (below) {
            cr_assert_null(journal, "bit %zu", bit);
            cr_assert_eq(error.code, BASE_EFORMAT);
            cr_assert(strstr(error.text, path) && strstr(error.text, "offset"), "%s", error.text);
        } else {
            cr_assert(journal, "of the last entry it cannot be told from a torn tail");
            cr_assert_eq(count_entries(journal), 4);
            consumer_journal_free(journal);
            cr_assert_null(consumer_journal_open(&place.config, positions[5], true, &error));
            cr_assert_eq(error.code, BASE_EFORMAT, "but the cut knows");
        }
        bytes.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    base_buffer_free(&bytes);
    place_end(&place);
}

Test(consumer_journal, records_moved_or_zeroed_are_damage)
{
    struct place place;
    char path[2 * JOURNAL_PATH_MAX];
    struct base_buffer bytes = {0};
    uint64_t positions[6];
    place_begin(&place, 0);
    five(&place, path, &bytes, positions);
    size_t size = positions[1] - positions[0];
    uint8_t *copy = base_alloc(bytes.size);
    memcpy(copy, bytes.data, bytes.size);
    memcpy(copy + positions[0], bytes.data + positions[1], size);
    write_file(path, base_span_make(copy, bytes.size));
    cr_assert_null(consumer_journal_open(&place.config, 0, true, &error));
    cr_assert_eq(error.code, BASE_EFORMAT);
    memset(copy + positions[0], 0, size);
    write_file(path, base_span_make(copy, bytes.size));
    cr_assert_null(consumer_journal_open(&place.config, 0, true, &error));
    cr_assert_eq(error.code, BASE_EFORMAT);
    memset(copy + positions[0], 0, bytes.size - positions[0]); // a tail of zeros
    write_file(path, base_span_make(copy, bytes.size));
    struct consumer_journal *journal = place_open(&place, 0);
    cr_assert_eq(consumer_journal_position(journal), positions[0]);
    consumer_journal_free(journal);
    free(copy);
    base_buffer_free(&bytes);
    place_end(&place);
}

Test(consumer_journal, positions_that_are_none)
{
    struct place place;
    char path[2 * JOURNAL_PATH_MAX];
    struct base_buffer bytes = {0};
    uint64_t positions[6];
    place_begin(&place, 0);
    five(&place, path, &bytes, positions);
    cr_assert_null(consumer_journal_open(&place.config, positions[2] + 1, false, &error));
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert(strstr(error.text, "within a record"), "%s", error.text);
    cr_assert_null(consumer_journal_open(&place.config, positions[5] + 1, false, &error));
    cr_assert_eq(error.code, BASE_EFORMAT);
    consumer_journal_free(place_open(&place, positions[5]));
    base_buffer_free(&bytes);
    place_end(&place);
    place_begin(&place, 0);
    cr_assert_null(consumer_journal_open(&place.config, 1, false, &error));
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert(strstr(error.text, "beyond its end") || strstr(error.text, "within"), "%s", error.text);
    place_end(&place);
}

// ---- the disk fails ----

struct bad_disk {
    struct base_disk disk; // first
    struct base_disk_operations operations;
    int calls; // until one fails
};

static int bad(struct base_disk *disk)
{
    return --((struct bad_disk *)disk)->calls < 0;
}

static int bad_open(struct base_disk *disk, const char *path, int flags, int *fd)
{
    return bad(disk) ? 5 : base_disk_system.operations->open(NULL, path, flags, fd);
}

static int bad_write(struct base_disk *disk, int fd, const char *path, struct base_span bytes,
                     uint64_t offset)
{
    return bad(disk) ? 5 : base_disk_system.operations->write(NULL, fd, path, bytes, offset);
}

static int bad_truncate(struct base_disk *disk, int fd, const char *path, uint64_t size)
{
    return bad(disk) ? 5 : base_disk_system.operations->truncate(NULL, fd, path, size);
}

static int bad_sync(struct base_disk *disk, int fd, const char *path)
{
    return bad(disk) ? 5 : base_disk_system.operations->sync(NULL, fd, path);
}

static int bad_sync_directory(struct base_disk *disk, const char *path)
{
    return bad(disk) ? 5 : base_disk_system.operations->sync_directory(NULL, path);
}

static int bad_rename(struct base_disk *disk, const char *from, const char *to)
{
    return bad(disk) ? 5 : base_disk_system.operations->rename(NULL, from, to);
}

static int bad_unlink(struct base_disk *disk, const char *path)
{
    return bad(disk) ? 5 : base_disk_system.operations->unlink(NULL, path);
}

static int bad_make_directory(struct base_disk *disk, const char *path)
{
    return bad(disk) ? 5 : base_disk_system.operations->make_directory(NULL, path);
}

static void bad_disk_make(struct bad_disk *bad_one, int calls)
{
    *bad_one = (struct bad_disk){
        .operations = {.open = bad_open,
                       .write = bad_write,
                       .truncate = bad_truncate,
                       .sync = bad_sync,
                       .sync_directory = bad_sync_directory,
                       .rename = bad_rename,
                       .unlink = bad_unlink,
                       .make_directory = bad_make_directory},
        .calls = calls,
    };
    bad_one->disk.operations = &bad_one->operations;
}

// Two entries in two files, then the first file is forgotten. 0, or -1 at the first error.
static int story(struct place *place, struct consumer_journal **journal)
{
    const struct consumer_ingest_decision decision = {.rank = 1, .lane = 2, .next = 1, .watermark = 1};
    *journal = consumer_journal_open(&place->config, 0, false, &error);
    for (int i = 0; *journal && i < 2; i++) {
        if (consumer_journal_add(*journal, &decision, &error) || consumer_journal_sync(*journal, &error)) {
            struct base_error again;
            cr_assert_eq(consumer_journal_sync(*journal, &again), -1, "it has failed");
            cr_assert_eq(consumer_journal_add(*journal, &decision, &again), -1);
            return -1;
        }
    }
    return *journal ? consumer_journal_forget(*journal, consumer_journal_position(*journal), &error) : -1;
}

Test(consumer_journal, every_call_to_the_disk_may_fail)
{
    int calls = 0;
    bool failed = true;
    for (; failed && calls < 100; calls++) {
        struct place place;
        struct bad_disk disk;
        struct consumer_journal *journal;
        place_begin(&place, 0);
        bad_disk_make(&disk, calls);
        place.config.disk = &disk.disk;
        place.config.file_bytes = 1;
        error = (struct base_error){0};
        failed = story(&place, &journal) != 0;
        cr_assert(!failed || (error.code == BASE_EIO && strstr(error.text, place.root)), "%s", error.text);
        consumer_journal_free(journal);
        place.config.disk = NULL;
        struct base_error later = {0};
        journal = consumer_journal_open(&place.config, 0, false, &later);
        cr_assert(journal || later.code == BASE_ENOTFOUND, "nothing is broken by it, or it is forgotten");
        consumer_journal_free(journal);
        place_end(&place);
        if (!failed) {
            break;
        }
    }
    cr_assert(calls > 15 && calls < 100, "%d", calls);
}

Test(consumer_journal, a_failed_sync_is_fatal)
{
    struct place place;
    struct bad_disk disk;
    place_begin(&place, 0);
    bad_disk_make(&disk, 1 << 20);
    place.config.disk = &disk.disk;
    struct consumer_journal *journal = place_open(&place, 0);
    raise_to(journal, 1, 1);
    disk.calls = 1; // the write
    cr_assert_eq(consumer_journal_sync(journal, &error), -1);
    cr_assert(error.fatal);
    consumer_journal_free(journal);
    place_end(&place);
}

Test(consumer_journal, a_torn_tail_that_cannot_be_cut_off)
{
    struct place place;
    struct bad_disk disk;
    char path[2 * JOURNAL_PATH_MAX];
    struct base_buffer bytes = {0};
    uint64_t positions[6];
    place_begin(&place, 0);
    five(&place, path, &bytes, positions);
    write_file(path, base_span_make(bytes.data, bytes.size - 1));
    for (int calls = 0; calls < 3; calls++) { // open, truncate, sync
        bad_disk_make(&disk, calls);
        place.config.disk = &disk.disk;
        cr_assert_null(consumer_journal_open(&place.config, 0, false, &error));
        cr_assert_eq(error.code, BASE_EIO);
    }
    base_buffer_free(&bytes);
    place_end(&place);
}

Test(consumer_journal, directories_that_cannot_be)
{
    struct place place;
    char path[5000];
    place_begin(&place, 0);
    place.config.directory = "/dev/null/journal";
    cr_assert_null(consumer_journal_open(&place.config, 0, false, &error));
    cr_assert_eq(error.code, BASE_EIO);
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    place.config.directory = path;
    cr_assert_null(consumer_journal_open(&place.config, 0, false, &error));
    cr_assert_eq(error.code, BASE_EINVAL);
    place_end(&place);
}
