// A decision journal of format 1, in two files, with every kind of record, and dead letters are read for
// ever. Made by tests/golden/make_state.c, which says what is in them.
#include <avro.h>
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/disk.h"
#include "consumer/ingest.h"
#include "consumer/journal.h"

#define GOLDEN FRESHET_SOURCE_DIR "/tests/golden/state-1"

static struct base_error error;

static void expect_next(struct consumer_journal *journal, uint32_t rank, uint32_t lane,
                        enum consumer_ingest_what what, int64_t next, int64_t watermark)
{
    const struct consumer_ingest_decision *found = consumer_journal_next(journal, rank, lane);
    cr_assert_not_null(found, "%u %u: %lld", rank, lane, (long long)next);
    cr_assert_eq(found->what, what);
    cr_assert_eq(found->next, next);
    cr_assert_eq(found->watermark, watermark);
    consumer_journal_obeyed(journal, rank, lane);
}

static void expect_note(struct consumer_journal *journal, enum consumer_journal_kind kind, const char *text)
{
    struct base_span found;
    cr_assert(consumer_journal_last(journal, kind, &found));
    cr_assert(base_span_equal(found, base_span_string(text)), "%.*s", (int)found.size,
              (const char *)found.data);
}

static struct consumer_journal *open_golden(uint64_t from)
{
    const struct consumer_journal_config config = {
        .directory = GOLDEN "/journal", .ranks = 2, .lanes = 2, .topics = {"shown", "clicked"}};
    struct consumer_journal *journal = consumer_journal_open(&config, from, true, &error);
    cr_assert(journal, "%s", error.text);
    return journal;
}

Test(consumer_journal_golden, version_1_with_every_kind)
{
    struct consumer_journal *journal = open_golden(0);
    cr_assert_eq(consumer_journal_position(journal), 609);
    cr_assert_eq(consumer_journal_lanes(journal), 3);
    expect_next(journal, 0, 0, CONSUMER_INGEST_RAISED, 0, -500);
    expect_next(journal, 0, 0, CONSUMER_INGEST_RAISED, 12, INT64_C(1700000000123));
    cr_assert_null(consumer_journal_next(journal, 0, 0));
    expect_next(journal, 1, 1, CONSUMER_INGEST_UNDECODABLE, 7, 0);
    expect_next(journal, 1, 1, CONSUMER_INGEST_FUTURE, 9, 0);
    cr_assert_null(consumer_journal_next(journal, 1, 1));
    expect_next(journal, 0, 2, CONSUMER_INGEST_FUTURE, 3, 0);
    cr_assert_eq(consumer_journal_skipped(journal), 100);
    cr_assert_eq(consumer_journal_beyond(journal, 1, 0, 99), 99);
    cr_assert_eq(consumer_journal_beyond(journal, 1, 0, 100), 200);
    cr_assert_eq(consumer_journal_replaced(journal, 0, 1, 4, &error), 10);
    cr_assert_eq(consumer_journal_replaced(journal, 0, 0, 4, &error), -1);
    expect_note(journal, CONSUMER_JOURNAL_CONFIGURATION, "fedcba9876543210");
    expect_note(journal, CONSUMER_JOURNAL_ERA, "the first era");
    expect_note(journal, CONSUMER_JOURNAL_REWIND, "to cut 3");
    consumer_journal_free(journal);
}

// What a file begins with stands for those before it.
Test(consumer_journal_golden, version_1_from_the_second_file_on)
{
    struct consumer_journal *journal = open_golden(336);
    cr_assert_null(consumer_journal_next(journal, 1, 1));
    expect_next(journal, 0, 2, CONSUMER_INGEST_FUTURE, 3, 0);
    cr_assert_eq(consumer_journal_beyond(journal, 1, 0, 100), 200);
    expect_note(journal, CONSUMER_JOURNAL_ERA, "the first era");
    consumer_journal_free(journal);
}

Test(consumer_journal_golden, dead_letters_of_version_1)
{
    avro_file_reader_t reader;
    avro_value_t record, field;
    const char *text;
    size_t size;
    cr_assert_eq(avro_file_reader(GOLDEN "/state/dead-letters/0000000001020-00000.avro", &reader), 0, "%s",
                 avro_strerror());
    avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_generic_value_new(class, &record);
    int letters = 0;
    for (; avro_file_reader_read_value(reader, &record) == 0; letters++) {
        cr_assert_eq(avro_value_get_by_name(&record, "topic", &field, NULL), 0);
        avro_value_get_string(&field, &text, &size);
        cr_assert(strcmp(text, "clicks") == 0 || strcmp(text, "purchases") == 0, "%s", text);
        cr_assert_eq(avro_value_get_by_name(&record, "reason", &field, NULL), 0);
        avro_value_get_string(&field, &text, &size);
        cr_assert(strstr(text, "out of bounds"), "%s", text);
    }
    cr_assert_eq(letters, 3);
    avro_value_decref(&record);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    avro_file_reader_close(reader);
}
