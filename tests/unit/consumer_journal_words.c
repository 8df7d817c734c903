// What the operator says of a log, in the journal: another log voids what was decided about the old one; new
// partitions and topics are known from there on.
#include <criterion/criterion.h>
#include <stdio.h>

#include "consumer/ingest.h"
#include "consumer_ingest_world.h"
#include "consumer_journal_support.h"

static struct base_error error;

static void raise_to(struct consumer_journal *journal, uint32_t lane, int64_t next, int64_t watermark)
{
    const struct consumer_ingest_decision decision = {
        .what = CONSUMER_INGEST_RAISED, .rank = 1, .lane = lane, .next = next, .watermark = watermark};
    cr_assert_eq(consumer_journal_add(journal, &decision, &error), 0, "%s", error.text);
    cr_assert_eq(consumer_journal_sync(journal, &error), 0, "%s", error.text); // perhaps a new file
}

Test(consumer_journal_words, another_log_voids_the_partitions_past)
{
    struct place place;
    place_begin(&place, 200);
    struct consumer_journal *journal = place_open(&place, 0);
    raise_to(journal, 2, 7, 70);
    raise_to(journal, 1, 8, 80);
    cr_assert_eq(consumer_journal_skip(journal, 1, 2, 10, 90, &error), 0);
    cr_assert_eq(consumer_journal_skip(journal, 1, 1, 10, 20, &error), 0);
    cr_assert_eq(consumer_journal_skipped(journal), 90);
    cr_assert_eq(consumer_journal_replaced(journal, 1, 2, 5, &error), -1);
    cr_assert_eq(consumer_journal_replace(journal, 1, 2, 5, 100, 3, &error), 0);
    cr_assert_eq(consumer_journal_replace(journal, 1, 2, 5, 100, 0, &error), 0, "he changes his mind");
    raise_to(journal, 2, 1, 100);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(consumer_journal_replaced(journal, 1, 2, 5, &error), 0);
        cr_assert_eq(consumer_journal_replaced(journal, 1, 2, 6, &error), -1, "it is in what is saved");
        cr_assert_eq(consumer_journal_replaced(journal, 1, 1, 5, &error), -1);
        cr_assert_eq(consumer_journal_replaced(journal, 1, 2, 4, &error), -2);
        cr_assert_eq(error.code, BASE_ECONFLICT);
        cr_assert(strstr(error.text, "another log took its place after cut 5"), "%s", error.text);
        cr_assert_eq(consumer_journal_beyond(journal, 1, 2, 50), 50);
        cr_assert_eq(consumer_journal_beyond(journal, 1, 1, 15), 20);
        cr_assert_eq(consumer_journal_skipped(journal), 10);
        consumer_journal_free(journal);
        journal = place_open(&place, 0);
    }
    const struct consumer_ingest_decision *next = consumer_journal_next(journal, 1, 2);
    cr_assert(next && next->next == 1 && next->watermark == 100, "what was decided in the new log");
    consumer_journal_obeyed(journal, 1, 2);
    cr_assert_null(consumer_journal_next(journal, 1, 2));
    cr_assert_eq(consumer_journal_next(journal, 1, 1)->next, 8);
    consumer_journal_free(journal);
    place_end(&place);
}

Test(consumer_journal_words, what_cannot_be_said)
{
    struct place place;
    place_begin(&place, 200);
    struct consumer_journal *journal = place_open(&place, 0);
    cr_assert_eq(consumer_journal_replace(journal, 2, 0, 1, 0, 0, &error), -1);
    cr_assert_eq(consumer_journal_replace(journal, 0, 3, 1, 0, 0, &error), -1);
    cr_assert_eq(consumer_journal_replace(journal, 0, 0, 0, 0, 0, &error), -1);
    cr_assert_eq(consumer_journal_replace(journal, 0, 0, 1, 0, -1, &error), -1);
    cr_assert_eq(error.code, BASE_EINVAL);
    cr_assert_eq(consumer_journal_grow(journal, 3, &error), -1);
    cr_assert_eq(consumer_journal_grow(journal, CONSUMER_LANES_MAX + 1, &error), -1);
    cr_assert_eq(error.code, BASE_EINVAL);
    for (int i = 0; i < CONSUMER_JOURNAL_REPLACED_MAX; i++) {
        cr_assert_eq(consumer_journal_replace(journal, 0, 0, 1, 0, i, &error), 0);
    }
    cr_assert_eq(consumer_journal_replace(journal, 0, 0, 1, 0, 0, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
    consumer_journal_free(journal);
    place_end(&place);
}

Test(consumer_journal_words, partitions_are_added)
{
    struct place place;
    place_begin(&place, 200);
    struct consumer_journal *journal = place_open(&place, 0);
    raise_to(journal, 2, 7, 70);
    cr_assert_eq(consumer_journal_grow(journal, 5, &error), 0, "%s", error.text);
    raise_to(journal, 4, 0, 90);
    for (int i = 0; i < 10; i++) {
        raise_to(journal, 3, i, 90 + i); // several files
    }
    uint64_t end = consumer_journal_position(journal);
    consumer_journal_free(journal);
    journal = place_open(&place, 0); // whoever knows of three
    cr_assert_eq(consumer_journal_lanes(journal), 5);
    cr_assert_eq(consumer_journal_next(journal, 1, 2)->next, 7);
    cr_assert_eq(consumer_journal_next(journal, 1, 4)->watermark, 90);
    cr_assert_null(consumer_journal_next(journal, 0, 4));
    consumer_journal_free(journal);
    place.config.lanes = 5; // whoever knows of five
    journal = place_open(&place, 0);
    cr_assert_eq(consumer_journal_next(journal, 1, 3)->next, 0);
    consumer_journal_free(journal);
    journal = place_open(&place, end);
    cr_assert_null(consumer_journal_next(journal, 1, 3));
    consumer_journal_free(journal);
    place.config.lanes = 6;
    cr_assert_null(consumer_journal_open(&place.config, 0, false, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT);
    cr_assert(strstr(error.text, "2 topics of 5 partitions, the source 2 of 6"), "%s", error.text);
    place_end(&place);
}

// A topic behind the others is new: the journal says so before it decides anything of it.
Test(consumer_journal_words, a_topic_may_come_behind_the_others)
{
    struct place place;
    place_begin(&place, 200);
    struct consumer_journal *journal = place_open(&place, 0);
    raise_to(journal, 2, 10, 100);
    consumer_journal_free(journal);
    struct consumer_journal_config small = place.config;
    place.config.ranks = 3;
    place.config.topics[2] = "liked";
    // Never synced, it is not there.
    consumer_journal_free(place_open(&place, 0));
    consumer_journal_free(consumer_journal_open(&small, 0, false, &error));
    // Read only, it is not written.
    journal = consumer_journal_open(&place.config, 0, true, &error);
    cr_assert(journal, "%s", error.text);
    consumer_journal_free(journal);
    journal = place_open(&place, 0);
    const struct consumer_ingest_decision *decision = consumer_journal_next(journal, 1, 2);
    cr_assert(decision && decision->next == 10 && decision->watermark == 100);
    const struct consumer_ingest_decision raise = {CONSUMER_INGEST_RAISED, 2, 1, 0, 50, NULL};
    cr_assert_eq(consumer_journal_add(journal, &raise, &error), 0);
    cr_assert_eq(consumer_journal_sync(journal, &error), 0);
    consumer_journal_free(journal);
    // From here on it belongs to it.
    cr_assert_null(consumer_journal_open(&small, 0, false, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT);
    // But for a replay from before it.
    journal = consumer_journal_open(&small, 0, true, &error);
    cr_assert(journal, "%s", error.text);
    decision = consumer_journal_next(journal, 1, 2);
    cr_assert(decision && decision->next == 10);
    consumer_journal_free(journal);
    journal = place_open(&place, 0);
    decision = consumer_journal_next(journal, 1, 2);
    cr_assert(decision && decision->next == 10);
    decision = consumer_journal_next(journal, 2, 1);
    cr_assert(decision && decision->next == 0 && decision->watermark == 50);
    consumer_journal_free(journal);
    // In the middle, or by another name, it is a conflict.
    struct consumer_journal_config other = place.config;
    other.ranks = 4;
    other.topics[2] = "between";
    other.topics[3] = "liked";
    cr_assert_null(consumer_journal_open(&other, 0, false, &error));
    cr_assert_eq(error.code, BASE_ECONFLICT);
    place_end(&place);
}
