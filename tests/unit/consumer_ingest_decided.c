// Ingest where the operator has decided about a changed log, where retention took only what was handled, and
// under a wall clock that jumps.
#include <criterion/criterion.h>
#include <stdlib.h>

#include "consumer_ingest_life.h"

// ---- another log ----

static struct consumer_journal *journal_of(struct life *life)
{
    struct consumer_journal *journal =
        consumer_journal_open(&life->journal_config, 0, false, &life->world.error);
    cr_assert(journal, "%s", life->world.error.text);
    return journal;
}

static void close_journal(struct life *life, struct consumer_journal *journal)
{
    cr_assert_eq(consumer_journal_sync(journal, &life->world.error), 0);
    consumer_journal_free(journal);
}

static void empty(struct world_partition *partition)
{
    for (uint32_t i = 0; i < partition->count; i++) {
        free((void *)(uintptr_t)partition->records[i].value.data);
    }
    partition->count = partition->visible = partition->delivered = 0;
}

// The impressions' log is made anew: the cut knows "a" and "b" of the old one, the new one has "x", "y" and
// "z".
static void made_anew(struct life *life)
{
    life_two(life);
    empty(&life->world.partitions[0][0]);
    world_add(&life->world, 0, 0, "x", 20, NULL);
    world_add(&life->world, 0, 0, "y", 40, NULL);
    world_add(&life->world, 0, 0, "z", 90, NULL);
    world_add(&life->world, 1, 0, "c", 90, "none");
    world_add(&life->world, 2, 0, "p", 90, "none");
}

Test(consumer_ingest_decided, another_log_is_read_from_where_the_operator_says)
{
    struct life life;
    made_anew(&life);
    life_open(&life);
    const struct base_error *error = life_fail(&life);
    cr_assert_eq(error->code, BASE_ECONFLICT);
    cr_assert(error->fatal);
    cr_assert(strstr(error->text,
                     "topic impressions, partition 0: the record at offset 0 is not the one that was "
                     "read before"),
              "%s", error->text);
    cr_assert(
        strstr(error->text, "freshet skip -c FILE --topic impressions --partition 0 --new-log --to earliest"),
        "%s", error->text);
    life_close(&life);

    struct consumer_journal *journal = journal_of(&life);
    cr_assert_eq(consumer_journal_replace(journal, 0, 0, life.cut, 1, 0, &life.world.error), 0);
    close_journal(&life, journal);
    char *first = NULL;
    for (int i = 0; i < 2; i++) { // and again, as after a crash before the next cut
        base_buffer_clear(&life.world.trace);
        life_open(&life);
        cr_assert_eq(life.world.partitions[0][0].delivered, 0);
        life_steps(&life, 4);
        cr_assert(strstr(world_trace(&life.world), " x\n"), "%s", world_trace(&life.world));
        cr_assert(strstr(world_trace(&life.world), " y\n"));
        cr_assert_null(strstr(world_trace(&life.world), " b\n"), "it is in no log");
        cr_assert(!first || strcmp(first, world_trace(&life.world)) == 0);
        free(first);
        first = strdup(world_trace(&life.world));
        if (i == 1) {
            life_save(&life);
        }
        life_close(&life);
    }
    free(first);
    life_open(&life); // the next cut is of the new log
    cr_assert_eq(life.world.partitions[0][0].delivered, 1, "\"y\" is compared");
    life_steps(&life, 2);
    life_end(&life);
}

Test(consumer_ingest_decided, what_comes_before_another_log_cannot_be_told_again)
{
    struct life life;
    life_two(&life);
    struct base_buffer old = {0};
    base_buffer_append(&old, life.state.data, life.state.size);
    life_open(&life);
    life_add_all(&life, "c", 60);
    life_steps(&life, 2);
    life_save(&life);
    life_close(&life);
    struct consumer_journal *journal = journal_of(&life);
    cr_assert_eq(consumer_journal_replace(journal, 0, 0, life.cut, 1, 0, &life.world.error), 0);
    close_journal(&life, journal);
    // From an earlier cut, and from nothing.
    int64_t offsets[WORLD_RANKS];
    uint32_t lanes;
    journal = journal_of(&life);
    cr_assert_eq(consumer_ingest_offsets(base_buffer_span(&old), journal, WORLD_RANKS, &lanes, offsets,
                                         &life.world.error),
                 -1);
    cr_assert_eq(life.world.error.code, BASE_ECONFLICT);
    close_journal(&life, journal);
    base_buffer_clear(&life.state);
    cr_assert_eq(life_try(&life), -1);
    cr_assert_eq(life.world.error.code, BASE_ECONFLICT);
    cr_assert(strstr(life.world.error.text, "topic impressions, partition 0: another log"), "%s",
              life.world.error.text);
    base_buffer_free(&old);
    life_end(&life);
}

// ---- retention ----

Test(consumer_ingest_decided, what_was_handled_may_be_gone)
{
    struct life life;
    int64_t unread[WORLD_RANKS], offsets[WORLD_RANKS];
    uint32_t lanes;
    life_two(&life);
    life_change_record(&life, 0, 0); // it could not be compared
    life_open_journal(&life);
    life_seek(&life);
    cr_assert_eq(consumer_ingest_offsets(base_buffer_span(&life.state), NULL, WORLD_RANKS, &lanes, offsets,
                                         &life.world.error),
                 0);
    cr_assert_eq(consumer_ingest_unread(base_buffer_span(&life.state), NULL, WORLD_RANKS, &lanes, unread,
                                        &life.world.error),
                 0);
    cr_assert_eq(offsets[0], 0);
    cr_assert_eq(unread[0], 1);
    life.world.partitions[0][0].delivered = 1; // the source has only that
    life.world.ingest = consumer_ingest_new(&life.world.config, &life.world.error);
    cr_assert(life.world.ingest, "%s", life.world.error.text);
    life_add_all(&life, "c", 60);
    life_steps(&life, 2);
    cr_assert(strstr(world_trace(&life.world), " b\n"));
    life_end(&life);
}

Test(consumer_ingest_decided, a_log_that_ends_before_our_place_is_not_waited_for)
{
    struct life life;
    life_two(&life); // idle_timeout 0: nothing is ever idle
    life.world.partitions[0][0].visible = 0;
    life_open(&life);
    cr_assert(strstr(life_fail(&life)->text, "topic impressions, partition 0: the record at offset 0"), "%s",
              life.world.error.text);
    life_end(&life);
}

// ---- new partitions ----

static void seek_two(struct life *life)
{
    int64_t offsets[WORLD_RANKS * 2];
    uint32_t lanes;
    life_open_journal(life);
    cr_assert_eq(consumer_ingest_offsets(base_buffer_span(&life->state), life->world.config.journal,
                                         WORLD_RANKS, &lanes, offsets, &life->world.error),
                 0);
    cr_assert_eq(lanes, 2);
    for (uint32_t i = 0; i < WORLD_RANKS * 2; i++) {
        uint32_t offset = offsets[i] == CONSUMER_OFFSET_EARLIEST ? 0 : (uint32_t)offsets[i];
        life->world.partitions[i / 2][i % 2].delivered = offset;
    }
    life->world.config.restore = base_buffer_span(&life->state);
    life->world.last_tick = INT64_MIN;
    life->world.ingest = consumer_ingest_new(&life->world.config, &life->world.error);
}

Test(consumer_ingest_decided, new_partitions_begin_above_the_frontier)
{
    struct life life;
    life_two(&life);
    struct consumer_ingest_saved saved;
    cr_assert_eq(consumer_ingest_saved(base_buffer_span(&life.state), &saved, &life.world.error), 0);
    struct consumer_journal *journal = journal_of(&life);
    cr_assert_eq(consumer_journal_grow(journal, 2, &life.world.error), 0);
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        const struct consumer_ingest_decision decision = {
            .what = CONSUMER_INGEST_RAISED, .rank = rank, .lane = 1, .watermark = saved.frontier + 1};
        cr_assert_eq(consumer_journal_add(journal, &decision, &life.world.error), 0);
    }
    close_journal(&life, journal);
    life_open_journal(&life);
    life.world.config.restore = base_buffer_span(&life.state);
    cr_assert_null(consumer_ingest_new(&life.world.config, &life.world.error),
                   "the source has one partition");
    cr_assert_eq(life.world.error.code, BASE_ECONFLICT);
    life_close(&life);

    life.world.source.lanes = 2;
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world_add(&life.world, rank, 1, "new", saved.frontier - 5, "none"); // late by then
        world_add(&life.world, rank, 1, "later", 60, "none");
        world_add(&life.world, rank, 0, "c", 60, "none");
    }
    seek_two(&life);
    cr_assert(life.world.ingest, "%s", life.world.error.text);
    cr_assert_eq(consumer_ingest_watermark(life.world.ingest, 1, 1), saved.frontier + 1);
    life_steps(&life, 4);
    cr_assert(strstr(world_trace(&life.world), " new\n"), "%s", world_trace(&life.world));
    cr_assert(strstr(world_trace(&life.world), " b\n"));
    cr_assert_eq(world_state(&life.world).counters.late[0], 1);
    life_save(&life);
    life_close(&life);
    seek_two(&life);
    cr_assert(life.world.ingest, "%s", life.world.error.text);
    life_steps(&life, 2);
    life_end(&life);
}

// ---- the wall clock ----

static int64_t jumping_wall(void *context)
{
    struct world *world = context;
    static uint64_t calls;
    int64_t hour = 3600 * 1000;
    return world->now_ns / 1000000 + (++calls % 3 == 0 ? -hour : calls % 3 == 1 ? hour : 0);
}

// A whole life with idle partitions, dead letters and records from the future; its trace.
static char *trace_under(int64_t (*wall)(void *context), uint64_t *decisions)
{
    struct life life;
    life_begin(&life);
    life.world.config.idle_timeout_ms = 50;
    if (wall) {
        life.world.clock.wall_ms = wall;
    }
    life_add_all(&life, "a", 0);
    life_add_future(&life, 5);
    life_open(&life);
    life_steps(&life, 40);
    world_add(&life.world, 0, 0, "b", 300, NULL);
    world_add_bytes(&life.world, 1, 0, -1, base_span_string("\x05"));
    life_steps(&life, 40);
    life_save(&life);
    life_close(&life);
    life_open(&life);
    life_steps(&life, 40);
    cr_assert_eq(world_state(&life.world).counts.dead, 2);
    char *trace = strdup(world_trace(&life.world));
    *decisions = life.world.decisions;
    life_end(&life);
    return trace;
}

Test(consumer_ingest_decided, a_wall_clock_that_jumps_changes_nothing)
{
    uint64_t steady, jumping;
    char *expected = trace_under(NULL, &steady);
    char *trace = trace_under(jumping_wall, &jumping);
    cr_assert(strstr(expected, " b\n"), "%s", expected);
    cr_assert_str_eq(trace, expected);
    cr_assert_eq(jumping, steady);
    free(expected);
    free(trace);
}
