// Tests of the journey log: records and their keys, chains of touches, dropping, corruption, and that the log
// alone says what memory knows.
#include "consumer/journey.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/hash.h"
#include "support_directory.h"

static char directory[SUPPORT_DIRECTORY_MAX];
static struct base_error error;
static struct consumer_journey *journey;

static struct consumer_journey_config config(void)
{
    return (struct consumer_journey_config){
        .directory = directory,
        .name = "s.journey",
        .segment_bytes = 1024,
        .retention = 100,
        .by_id = true,
        .by_touch = true,
    };
}

static void begin(void)
{
    support_directory_make(directory);
    struct consumer_journey_config fresh = config();
    journey = consumer_journey_new(&fresh, &error);
    cr_assert(journey, "%s", error.text);
}

static void end(void)
{
    consumer_journey_free(journey);
    support_directory_remove(directory);
}

TestSuite(journey, .init = begin, .fini = end);

static struct base_span span(const char *text)
{
    return text ? base_span_string(text) : (struct base_span){0};
}

static uint64_t append(int64_t entry, const char *id, const char *touch)
{
    uint64_t columns[3] = {1, 2, (uint64_t)entry};
    struct consumer_journey_record record = {
        .entry = entry,
        .event_time = entry - 1,
        .impression_time = entry - 2,
        .parent = 7,
        .paid = entry % 2,
        .impression_id = span(id),
        .touch = span(touch),
        .columns = base_span_make(columns, sizeof columns),
    };
    uint64_t number;
    int appended = consumer_journey_append(journey, &record, base_hash_bytes(span(id), 0), &number, &error);
    cr_assert_eq(appended, 0, "%s", error.text);
    return number;
}

static uint64_t find(const char *id)
{
    struct consumer_journey_record record;
    uint64_t number;
    int found =
        consumer_journey_find_id(journey, span(id), base_hash_bytes(span(id), 0), &number, &record, &error);
    cr_assert_eq(found, 0, "%s", error.text);
    return number;
}

static uint64_t find_touch(const char *touch)
{
    struct consumer_journey_record record;
    uint64_t number;
    cr_assert_eq(consumer_journey_find_touch(journey, span(touch), &number, &record, &error), 0);
    return number;
}

Test(journey, a_record_reads_as_it_was_given)
{
    for (int64_t entry = 0; entry < 100; entry++) {
        char id[16];
        snprintf(id, sizeof id, "%lld", (long long)entry * entry);
        uint64_t number = append(entry, id, entry % 3 ? "key" : NULL);
        struct consumer_journey_record record;
        int (*read)(struct consumer_journey *, uint64_t, struct consumer_journey_record *,
                    struct base_error *) = entry % 2 ? consumer_journey_read : consumer_journey_pin;
        cr_assert_eq(read(journey, number, &record, &error), 0);
        cr_assert_eq(record.entry, entry);
        cr_assert_eq(record.event_time, entry - 1);
        cr_assert_eq(record.impression_time, entry - 2);
        cr_assert_eq(record.parent, 7);
        cr_assert_eq(record.paid, entry % 2);
        cr_assert(base_span_equal(record.impression_id, span(id)));
        cr_assert_eq(record.touch.data != NULL, entry % 3 != 0);
        cr_assert_eq(record.columns.size, 24);
        cr_assert_eq((uintptr_t)record.columns.data % 8, 0);
        cr_assert_eq(record.columns.data[16], entry);
    }
    cr_assert_eq(consumer_journey_begin(journey), 0);
    cr_assert_eq(consumer_journey_end(journey), 100);
}

Test(journey, the_latest_of_an_id_is_found)
{
    uint64_t a = append(1, "a", NULL);
    append(2, "b", NULL);
    cr_assert_eq(find("a"), a);
    uint64_t again = append(3, "a", NULL);
    cr_assert_eq(find("a"), again);
    cr_assert_eq(find("c"), CONSUMER_JOURNEY_NONE);
    cr_assert_eq(find(""), CONSUMER_JOURNEY_NONE);
}

Test(journey, records_of_a_touch_key_form_a_chain)
{
    uint64_t first = append(1, "a", "k");
    append(2, "b", "other");
    append(3, "c", NULL);
    uint64_t last = append(4, "d", "k");
    cr_assert_eq(find_touch("k"), last);
    struct consumer_journey_record record;
    cr_assert_eq(consumer_journey_read(journey, last, &record, &error), 0);
    cr_assert_eq(record.previous, first);
    cr_assert_eq(consumer_journey_read(journey, first, &record, &error), 0);
    cr_assert_eq(record.previous, CONSUMER_JOURNEY_NONE);
}

Test(journey, joins_are_remembered_by_rank)
{
    uint64_t a = append(1, "a", NULL);
    uint64_t b = append(1, "b", NULL);
    consumer_journey_join(journey, a, 1);
    cr_assert_eq(consumer_journey_mark(journey, a, 7, 5, 4, NAN, &error), 0);
    cr_assert(consumer_journey_joined(journey, a, 1));
    cr_assert(consumer_journey_joined(journey, a, 7));
    cr_assert(!consumer_journey_joined(journey, a, 2));
    cr_assert(!consumer_journey_joined(journey, b, 1));
    cr_assert_eq(consumer_journey_end(journey), 2, "a mark has no number");
    struct consumer_journey_record record;
    cr_assert_eq(consumer_journey_read(journey, b, &record, &error), 0);
}

Test(journey, dropped_segments_take_their_keys_along)
{
    char id[16];
    for (int64_t entry = 0; entry < 1000; entry++) {
        snprintf(id, sizeof id, "%lld", (long long)entry % 400);
        append(entry, id, entry % 2 ? id : "even");
        int64_t now = entry;
        while (consumer_journey_drop_time(journey) <= now) {
            consumer_journey_drop(journey);
        }
        consumer_journey_release(journey);
        cr_assert_eq(find(id), (uint64_t)entry);
        // What must be found is found.
        if (entry >= 100) {
            snprintf(id, sizeof id, "%lld", (long long)(entry - 99) % 400);
            cr_assert_eq(find(id), (uint64_t)entry - 99);
        }
    }
    uint64_t held = consumer_journey_end(journey) - consumer_journey_begin(journey);
    cr_assert_lt(held, 130);
    cr_assert_eq(find("300"), CONSUMER_JOURNEY_NONE, "the log has forgotten it");
    cr_assert_lt(consumer_journey_disk_bytes(journey), 20 * 1024);
}

Test(journey, corruption_is_an_error_of_every_reader)
{
    uint64_t number = append(1, "victim", "k");
    struct base_buffer state = {0};
    struct base_sync *sync = base_sync_new(NULL);
    cr_assert_eq(consumer_journey_save(journey, 1, &state, sync, &error), 0); // writes the buffer out
    base_sync_free(sync);
    base_buffer_free(&state);
    char path[256];
    snprintf(path, sizeof path, "%s/s.journey.0000000000", directory);
    int fd = open(path, O_RDWR);
    cr_assert_eq(pwrite(fd, "X", 1, 56 + 64 + 5), 1); // a byte of the columns
    close(fd);
    struct consumer_journey_record record;
    cr_assert_eq(consumer_journey_read(journey, number, &record, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert(strstr(error.text, path), "%s", error.text);
    cr_assert_eq(consumer_journey_pin(journey, number, &record, &error), -1);
    cr_assert_eq(consumer_journey_find_touch(journey, span("k"), &number, &record, &error), -1);
    struct consumer_journey_record again = {.entry = 2, .impression_id = span("victim")};
    uint64_t hash = base_hash_bytes(span("victim"), 0);
    cr_assert_eq(consumer_journey_append(journey, &again, hash, &number, &error), -1);
}

// A log in its steady state, with keys that come again, marks, and segments of marks alone, is rebuilt: it
// finds and knows the same.
Test(journey, a_restored_log_finds_the_same)
{
    enum { RECORDS = 3000, KEYS = 130, SCATTER = 37 };
    struct base_buffer state = {0};
    struct base_sync *sync = base_sync_new(NULL);
    char key[16];
    for (int64_t entry = 0; entry < RECORDS; entry++) {
        snprintf(key, sizeof key, "%lld", (long long)(entry * SCATTER % KEYS));
        uint64_t number = append(entry, key, entry % 5 ? key : NULL);
        for (uint32_t rank = 1; rank < 8 && entry % 50 > 30; rank++) {
            cr_assert_eq(consumer_journey_mark(journey, number - rank, rank, entry, entry, NAN, &error), 0);
        }
        while (consumer_journey_drop_time(journey) <= entry) {
            consumer_journey_drop(journey);
        }
        consumer_journey_release(journey);
    }
    cr_assert_eq(consumer_journey_save(journey, 1, &state, sync, &error), 0, "%s", error.text);
    struct consumer_journey *saved = journey;
    struct base_reader reader = {base_buffer_span(&state), false};
    struct consumer_journey_config again = config();
    journey = consumer_journey_restore(&again, &reader, NULL, 0, RECORDS - 1, &error);
    cr_assert(journey, "%s", error.text);
    cr_assert_eq(reader.rest.size, 0);
    cr_assert_eq(consumer_journey_begin(journey), consumer_journey_begin(saved));
    cr_assert_eq(consumer_journey_end(journey), RECORDS);
    cr_assert_eq(consumer_journey_drop_time(journey), consumer_journey_drop_time(saved));
    for (uint64_t number = consumer_journey_begin(journey); number < RECORDS; number++) {
        for (uint32_t rank = 1; rank < 8; rank++) {
            cr_assert_eq(consumer_journey_joined(journey, number, rank),
                         consumer_journey_joined(saved, number, rank));
        }
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "%d", i);
        uint64_t by_id = find(key), by_touch = find_touch(key);
        struct consumer_journey *restored = journey;
        journey = saved;
        cr_assert_eq(by_id, find(key));
        cr_assert_eq(by_touch, find_touch(key));
        journey = restored;
    }
    consumer_journey_free(saved);
    base_sync_free(sync);
    base_buffer_free(&state);
}

// A child's record names its parent's: joined if it is held, corrupt if it never was.
Test(journey, a_childs_log_says_what_is_joined)
{
    struct base_buffer state = {0};
    struct base_sync *sync = base_sync_new(NULL);
    for (int64_t entry = 0; entry < 9; entry++) {
        append(entry, "id", NULL);
    }
    uint64_t number;
    struct consumer_journey_config child_config = config();
    child_config.name = "c.journey";
    struct consumer_journey *child = consumer_journey_new(&child_config, &error);
    struct consumer_journey_record record = {.entry = 8, .parent = 8, .impression_id = span("id")};
    cr_assert_eq(consumer_journey_append(child, &record, base_hash_bytes(span("id"), 0), &number, &error), 0);
    cr_assert_eq(consumer_journey_save(child, 1, &state, sync, &error), 0);
    consumer_journey_free(child);

    struct base_reader reader = {base_buffer_span(&state), false};
    child = consumer_journey_restore(&child_config, &reader, journey, 3, 8, &error);
    cr_assert(child, "%s", error.text);
    cr_assert(consumer_journey_joined(journey, 8, 3) && !consumer_journey_joined(journey, 7, 3));
    consumer_journey_free(child);

    reader = (struct base_reader){base_buffer_span(&state), false};
    cr_assert_null(consumer_journey_restore(&child_config, &reader, journey, 3, 8, &error), "joined twice");
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert_null(consumer_journey_restore(&child_config, &reader, NULL, 0, 7, &error), "entered at 8");
    cr_assert_eq(error.code, BASE_EFORMAT);
    base_sync_free(sync);
    base_buffer_free(&state);
}

// A log of before there were values has none of them; one with them says them again, of records and of marks.
Test(journey, values_come_back_from_the_log)
{
    struct base_buffer state = {0}, child_state = {0};
    struct base_sync *sync = base_sync_new(NULL);
    for (int64_t entry = 0; entry < 40; entry++) {
        append(entry, "id", NULL);
    }
    cr_assert_eq(consumer_journey_mark(journey, 38, 5, 40, 40, 2.5, &error), 0);
    cr_assert_eq(consumer_journey_mark(journey, 39, 5, 40, 40, NAN, &error), 0);
    cr_assert_eq(consumer_journey_mark(journey, 39, 6, 40, 40, INFINITY, &error), 0);
    struct consumer_journey_config child_config = config(), again = config();
    child_config.name = "c.journey";
    struct consumer_journey *child = consumer_journey_new(&child_config, &error);
    for (uint64_t i = 0; i < 2; i++) { // one with a weight, one with both
        struct consumer_journey_record record = {.entry = 41,
                                                 .parent = 38 + i,
                                                 .impression_id = span("id"),
                                                 .valued = i == 1,
                                                 .value = -0.125,
                                                 .weighted = true,
                                                 .weight = 0.375f};
        uint64_t number;
        cr_assert_eq(consumer_journey_append(child, &record, base_hash_bytes(span("id"), 0), &number, &error),
                     0);
        cr_assert_eq(consumer_journey_read(child, number, &record, &error), 0);
        cr_assert(record.valued == (i == 1) && record.value == (i ? -0.125 : 0));
        cr_assert(record.weighted && record.weight == 0.375f);
        cr_assert(base_span_equal(record.impression_id, span("id")));
    }
    cr_assert_eq(consumer_journey_save(journey, 1, &state, sync, &error), 0);
    cr_assert_eq(consumer_journey_save(child, 1, &child_state, sync, &error), 0);
    consumer_journey_free(child);
    consumer_journey_free(journey);

    struct base_reader reader = {base_buffer_span(&state), false};
    journey = consumer_journey_restore(&again, &reader, NULL, 0, 41, &error);
    cr_assert(journey, "%s", error.text);
    struct consumer_values *values = consumer_journey_values(journey);
    cr_assert_eq(consumer_values_count(values), 1);
    cr_assert_eq(consumer_values_get(values, 38, 5), 2.5f);
    reader = (struct base_reader){base_buffer_span(&child_state), false};
    child = consumer_journey_restore(&child_config, &reader, journey, 3, 41, &error);
    cr_assert(child, "%s", error.text);
    cr_assert_eq(consumer_values_count(values), 2);
    cr_assert_eq(consumer_values_get(values, 39, 3), -0.125f);
    struct consumer_journey_record record;
    cr_assert_eq(consumer_journey_read(child, 1, &record, &error), 0);
    cr_assert(record.valued && record.value == -0.125 && record.weighted && record.weight == 0.375f);
    cr_assert_eq(consumer_journey_read(child, 0, &record, &error), 0);
    cr_assert(!record.valued && record.weighted && record.weight == 0.375f);
    consumer_journey_free(child);
    base_sync_free(sync);
    base_buffer_free(&state);
    base_buffer_free(&child_state);
}
