// Ingest over a restart that does not fit: a log that changed, skips, states of another configuration or
// damaged ones, a disk that fails.
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/hash.h"
#include "consumer_ingest_life.h"

// ---- a log that changed ----

static void expect_changed(struct life *life, const char *what)
{
    const struct base_error *error = life_fail(life);
    cr_assert_eq(error->code, BASE_ECONFLICT, "%s", error->text);
    cr_assert(error->fatal);
    cr_assert(strstr(error->text, what) && strstr(error->text, "freshet skip"), "%s", error->text);
}

Test(consumer_ingest_changed, the_last_record_is_another_one)
{
    struct life life;
    life_two(&life);
    life_open(&life);
    cr_assert_eq(life.world.partitions[0][0].delivered, 0, "opened at the record before");
    uint64_t read = world_state(&life.world).counts.read;
    life_steps(&life, 2);
    cr_assert_eq(world_state(&life.world).counts.read, read + 3, "it is looked at, not read");
    life_close(&life);
    life_change_record(&life, 1, 0);
    life_open(&life);
    expect_changed(&life, "topic clicks, partition 0: the record at offset 0 is not the one");
    life_close(&life);
    life_change_record(&life, 1, 0); // as it was
    life.world.partitions[2][0].records[0].timestamp = 7;
    life_open(&life);
    expect_changed(&life, "topic purchases");
    life_end(&life);
}

Test(consumer_ingest_changed, the_last_record_is_gone)
{
    struct life life;
    life_two(&life);
    life_open(&life);
    life.world.partitions[0][0].delivered = 1; // the log was cut beneath us
    expect_changed(&life, "topic impressions, partition 0: the record at offset 0");
    life_close(&life);
    life.world.config.idle_timeout_ms = 50; // the log is empty now
    life_open(&life);
    life.world.partitions[0][0].visible = 0;
    expect_changed(&life, "topic impressions");
    life_close(&life);
    life.world.config.idle_timeout_ms = 0;
    life.world.bounded = true;
    life_open(&life);
    life.world.partitions[0][0].count = life.world.partitions[0][0].visible = 0;
    expect_changed(&life, "topic impressions");
    life.world.partitions[0][0].count = 2;
    life_end(&life);
}

Test(consumer_ingest_changed, the_log_ends_before_a_decision)
{
    struct life life;
    life_begin(&life);
    life_add_all(&life, "a", 0);
    life_add_future(&life, 5);
    life_open(&life);
    life_steps(&life, 2);
    life_save(&life);
    life_close(&life);
    base_buffer_clear(&life.state);
    life.world.config.idle_timeout_ms = 50;
    life_open(&life);
    life.world.partitions[0][0].visible = 1;
    expect_changed(&life,
                   "topic impressions, partition 0: a decision was made at offset 2, and the log ends");
    life_close(&life);
    // A replay that is to end before is none of that.
    life.world.bounded = true;
    life.world.config.idle_timeout_ms = 0;
    life_open(&life);
    life.world.partitions[0][0].visible = life.world.partitions[0][0].count = 1;
    world_run(&life.world);
    life.world.partitions[0][0].count = 2;
    life_end(&life);
}

// ---- skips ----

static void skip(struct life *life, uint32_t rank, int64_t from, int64_t to)
{
    struct consumer_journal *journal =
        consumer_journal_open(&life->journal_config, 0, false, &life->world.error);
    cr_assert_eq(consumer_journal_skip(journal, rank, 0, from, to, &life->world.error), 0);
    cr_assert_eq(consumer_journal_sync(journal, &life->world.error), 0);
    consumer_journal_free(journal);
}

Test(consumer_ingest_changed, skipped_offsets_are_not_read)
{
    struct life life;
    life_two(&life);
    life_change_record(&life, 0, 0);
    life_change_record(&life, 1, 0);
    world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    world_add(&life.world, 0, 0, "c", 40, NULL);
    life_add_all(&life, "d", 60);
    skip(&life, 0, 1, 3);
    skip(&life, 1, 0, 1);
    life_open(&life);
    cr_assert_eq(life.world.partitions[0][0].delivered, 3, "after the skip");
    cr_assert_eq(life.world.partitions[1][0].delivered, 1, "the last record is not looked at");
    cr_assert_eq(life.world.partitions[2][0].delivered, 0);
    life_steps(&life, 2);
    cr_assert_eq(world_state(&life.world).counts.dead, 0);
    cr_assert(strstr(world_trace(&life.world), " c\n"));
    cr_assert_null(strstr(world_trace(&life.world), " b\n"));
    life_save(&life);
    life_close(&life);
    // From the beginning: likewise.
    base_buffer_clear(&life.state);
    base_buffer_clear(&life.world.trace);
    life_open(&life);
    life_steps(&life, 3);
    cr_assert_eq(world_state(&life.world).counts.dead, 0);
    cr_assert(strstr(world_trace(&life.world), " c\n"));
    cr_assert_null(strstr(world_trace(&life.world), " b\n"));
    life_end(&life);
}

Test(consumer_ingest_changed, a_skip_at_the_end_leaves_nothing_to_look_at)
{
    struct life life;
    life_begin(&life);
    life_add_all(&life, "a", 0);
    life_add_all(&life, "b", 30);
    skip(&life, 0, 1, 2);
    life.world.config.idle_timeout_ms = 50;
    life_open(&life);
    life_steps(&life, 100); // the end is idle, and everything is handled
    life_save(&life);
    life_close(&life);
    life_open(&life);
    cr_assert_eq(life.world.partitions[1][0].delivered, 1, "\"b\" is looked at");
    cr_assert_eq(life.world.partitions[0][0].delivered, 2, "at the skip's end, not at \"a\"");
    life_end(&life);
}

// ---- states that do not fit ----

static const struct base_error *try_fails(struct life *life)
{
    cr_assert_eq(life_try(life), -1);
    life_close(life);
    return &life->world.error;
}

Test(consumer_ingest_changed, states_that_do_not_fit)
{
    struct life life;
    struct base_error *error = &life.world.error;
    life_two(&life);
    life.world.config.tick_ms = 20;
    cr_assert_eq(try_fails(&life)->code, BASE_ECONFLICT);
    cr_assert(strstr(error->text, "ticks of 10 ms"), "%s", error->text);
    life.world.config.tick_ms = 10;
    // The source stands elsewhere.
    life_open_journal(&life);
    life_seek(&life);
    life.world.partitions[1][0].delivered = 2;
    cr_assert_null(consumer_ingest_new(&life.world.config, error));
    cr_assert_eq(error->code, BASE_EINVAL);
    cr_assert(strstr(error->text, "topic clicks, partition 0: the source begins at offset 2"), "%s",
              error->text);
    life.world.partitions[1][0].delivered = 0;
    // Other lanes, other topics.
    life.world.source.lanes = 2;
    cr_assert_null(consumer_ingest_new(&life.world.config, error));
    cr_assert_eq(error->code, BASE_ECONFLICT);
    life.world.source.lanes = 1;
    int64_t offsets[WORLD_RANKS];
    uint32_t lanes;
    cr_assert_eq(
        consumer_ingest_offsets(base_buffer_span(&life.state), NULL, WORLD_RANKS - 1, &lanes, offsets, error),
        -1);
    cr_assert_eq(error->code, BASE_ECONFLICT);
    life_close(&life);
    life_open(&life); // it was none of its fault
    life_end(&life);
}

Test(consumer_ingest_changed, a_journal_that_is_too_short)
{
    struct life life;
    life_begin(&life);
    life_add_future(&life, 5);
    life_add_all(&life, "a", 0);
    life_open(&life);
    life_steps(&life, 2);
    life_save(&life);
    life_close(&life);
    world_remove_tree(life.journal_directory);
    life.world.config.journal = consumer_journal_open(&life.journal_config, 0, false, &life.world.error);
    life_seek(&life);
    cr_assert_null(consumer_ingest_new(&life.world.config, &life.world.error));
    cr_assert_eq(life.world.error.code, BASE_EFORMAT);
    cr_assert(strstr(life.world.error.text, "the journal ends at"), "%s", life.world.error.text);
    life_end(&life);
}

Test(consumer_ingest_changed, damaged_states)
{
    struct life life;
    life_two(&life);
    life_open_journal(&life);
    life_seek(&life);
    struct base_error error;
    struct consumer_ingest_saved saved;
    int64_t offsets[WORLD_RANKS];
    uint32_t lanes;
    for (size_t i = 0; i < life.state.size; i += 1 + i / 64) {
        life.state.data[i] ^= 0x10;
        cr_assert_null(consumer_ingest_new(&life.world.config, &error));
        cr_assert_eq(error.code, BASE_EFORMAT);
        struct base_span state = base_buffer_span(&life.state);
        cr_assert_eq(consumer_ingest_saved(state, &saved, &error), -1);
        cr_assert_eq(consumer_ingest_offsets(state, NULL, WORLD_RANKS, &lanes, offsets, &error), -1);
        life.state.data[i] ^= 0x10;
        life.world.config.restore = base_span_make(life.state.data, i);
        cr_assert_null(consumer_ingest_new(&life.world.config, &error));
        cr_assert_eq(error.code, BASE_EFORMAT);
        life.world.config.restore = base_buffer_span(&life.state);
    }
    life_end(&life);
}

// Numbers that a writer of ours does not write, under a checksum that fits.
Test(consumer_ingest_changed, states_that_cannot_be)
{
    enum { RANKS_AT = 20 + 8, OFFSET_AT = 20 + 16 + 12 * 8, WATERMARK_AT = OFFSET_AT + 8 };
    static const struct {
        size_t at;
        uint8_t high; // the highest byte of the number there
    } cases[] = {{RANKS_AT + 3, 1}, {OFFSET_AT + 7, 0x80}, {WATERMARK_AT + 7, 0x70}};
    struct life life;
    life_two(&life);
    life_open_journal(&life);
    life_seek(&life);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct base_buffer forged = {0};
        base_buffer_append(&forged, life.state.data, life.state.size - 8);
        forged.data[cases[i].at] = cases[i].high;
        base_buffer_u64(&forged, base_hash_bytes(base_buffer_span(&forged), 0));
        life.world.config.restore = base_buffer_span(&forged);
        cr_assert_null(consumer_ingest_new(&life.world.config, &life.world.error));
        cr_assert_eq(life.world.error.code, BASE_EFORMAT, "%zu: %s", i, life.world.error.text);
        base_buffer_free(&forged);
    }
    life_end(&life);
}

// ---- the disk fails ----

struct bad_disk {
    struct base_disk disk; // first
    struct base_disk_operations operations;
    bool bad;
};

static int bad_write(struct base_disk *disk, int fd, const char *path, struct base_span bytes,
                     uint64_t offset)
{
    return ((struct bad_disk *)disk)->bad ? 28
                                          : base_disk_system.operations->write(NULL, fd, path, bytes, offset);
}

static void bad_disk_make(struct bad_disk *bad)
{
    *bad = (struct bad_disk){.operations = *base_disk_system.operations};
    bad->operations.write = bad_write;
    bad->disk.operations = &bad->operations;
}

Test(consumer_ingest_changed, a_journal_that_cannot_be_written_stops_the_tick)
{
    struct life life;
    struct bad_disk bad;
    life_begin(&life);
    bad_disk_make(&bad);
    life.journal_config.disk = &bad.disk;
    life_open(&life);
    bad.bad = true;
    world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    life_add_all(&life, "a", 0);
    life_add_all(&life, "b", 30);
    cr_assert_eq(life_fail(&life)->code, BASE_EIO);
    cr_assert_eq(life.world.samples, 0);
    struct base_sync *sync = base_sync_new(NULL);
    cr_assert_eq(consumer_ingest_save(life.world.ingest, 1, &life.state, sync, &life.world.error), -1);
    cr_assert_eq(life.state.size, 0);
    base_sync_free(sync);
    life_end(&life);
}

Test(consumer_ingest_changed, a_lane_that_cannot_be_saved)
{
    struct life life;
    struct bad_disk bad;
    life_begin(&life);
    bad_disk_make(&bad);
    life.world.config.disk = &bad.disk;
    life_add_all(&life, "a", 0);
    life_add_all(&life, "b", 30);
    life_open(&life);
    life_steps(&life, 2);
    bad.bad = true;
    struct base_sync *sync = base_sync_new(NULL);
    base_buffer_append(&life.state, "x", 1);
    cr_assert_eq(consumer_ingest_save(life.world.ingest, 1, &life.state, sync, &life.world.error), -1);
    cr_assert_eq(life.world.error.code, BASE_EIO);
    cr_assert(strstr(life.world.error.text, "lane 0"), "%s", life.world.error.text);
    cr_assert_eq(life.state.size, 1, "untouched");
    base_buffer_clear(&life.state);
    bad.bad = false;
    base_sync_free(sync);
    life_end(&life);
}

Test(consumer_ingest_changed, a_lane_that_cannot_be_opened)
{
    struct life life;
    life_two(&life);
    world_remove_tree(life.lanes);
    cr_assert_eq(life_try(&life), -1);
    cr_assert(strstr(life.world.error.text, "lane 0"), "%s", life.world.error.text);
    life_end(&life);
}
