// Ingest over a restart: what is obeyed and not counted again, a log that changed, skips, the last tick,
// errors.
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "consumer/files.h"
#include "consumer/journal.h"
#include "consumer_ingest_world.h"

// A world with a journal, dead letters and a saved state.
struct life {
    struct world world;
    char journal_directory[SUPPORT_DIRECTORY_MAX + 16], letters[SUPPORT_DIRECTORY_MAX + 16],
        lanes[SUPPORT_DIRECTORY_MAX + 16];
    struct consumer_journal_config journal_config;
    struct base_buffer state; // empty: none
    uint64_t cut;
};

static void life_begin(struct life *life)
{
    *life = (struct life){0};
    struct world *world = &life->world;
    world_begin(world, 1);
    world->bounded = false;
    snprintf(life->journal_directory, sizeof life->journal_directory, "%s/journal", world->directory);
    snprintf(life->letters, sizeof life->letters, "%s/letters", world->directory);
    snprintf(life->lanes, sizeof life->lanes, "%s/lanes", world->directory);
    life->journal_config = (struct consumer_journal_config){
        .directory = life->journal_directory,
        .ranks = WORLD_RANKS,
        .lanes = 1,
        .topics = {"impressions", "clicks", "purchases"},
    };
    world->config.directory = life->lanes;
    world->config.source = &world->source;
    world->config.future_ms = 1000;
    world_open_decoders(world);
}

static void life_open_journal(struct life *life)
{
    struct world *world = &life->world;
    struct consumer_ingest_saved saved = {0};
    if (life->state.size) {
        cr_assert_eq(consumer_ingest_saved(base_buffer_span(&life->state), &saved, &world->error), 0);
    }
    world->config.journal = consumer_journal_open(&life->journal_config, saved.journal, false, &world->error);
    cr_assert(world->config.journal, "%s", world->error.text);
    world->config.deadletter = consumer_deadletter_new(life->letters, 1 << 20, &world->error);
}

// Sets the source to where it has to begin.
static void life_seek(struct life *life)
{
    struct world *world = &life->world;
    int64_t offsets[WORLD_RANKS] = {0};
    uint32_t lanes = 1;
    if (life->state.size) {
        cr_assert_eq(consumer_ingest_offsets(base_buffer_span(&life->state), world->config.journal,
                                             WORLD_RANKS, &lanes, offsets, &world->error),
                     0, "%s", world->error.text);
    }
    cr_assert_eq(lanes, 1);
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world->partitions[rank][0].delivered = (uint32_t)offsets[rank];
    }
    world->config.restore = life->state.size ? base_buffer_span(&life->state) : (struct base_span){0};
}

static int life_try(struct life *life)
{
    life_open_journal(life);
    life_seek(life);
    life->world.last_tick = INT64_MIN;
    life->world.ingest = consumer_ingest_new(&life->world.config, &life->world.error);
    return life->world.ingest ? 0 : -1;
}

static void life_open(struct life *life)
{
    int status = life_try(life);
    cr_assert_eq(status, 0, "%s", life->world.error.text);
}

static void life_close(struct life *life)
{
    consumer_ingest_free(life->world.ingest);
    life->world.ingest = NULL;
    consumer_journal_free(life->world.config.journal);
    life->world.config.journal = NULL;
    consumer_deadletter_free(life->world.config.deadletter);
    life->world.config.deadletter = NULL;
}

static void life_end(struct life *life)
{
    life_close(life);
    base_buffer_free(&life->state);
    world_end(&life->world);
}

static void life_save(struct life *life)
{
    struct base_sync *sync = base_sync_new(NULL);
    base_buffer_clear(&life->state);
    cr_assert_eq(
        consumer_ingest_save(life->world.ingest, ++life->cut, &life->state, sync, &life->world.error), 0);
    cr_assert_eq(base_sync_run(sync, &life->world.error), 0);
    base_sync_free(sync);
}

static void life_steps(struct life *life, int steps)
{
    while (steps-- > 0) {
        cr_assert_eq(world_step(&life->world, 10), 0, "%s", life->world.error.text);
    }
}

// The error that a step ends with.
static const struct base_error *life_fail(struct life *life)
{
    int status = 0;
    for (int i = 0; i < 500 && status == 0; i++) {
        status = world_step(&life->world, 10);
    }
    cr_assert_eq(status, -1);
    return &life->world.error;
}

// Adds a record to every topic.
static void life_add_all(struct life *life, const char *id, int64_t time)
{
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world_add(&life->world, rank, 0, id, time, "none");
    }
}

static void life_add_future(struct life *life, int64_t timestamp)
{
    struct base_buffer buffer = {0};
    world_encode(&buffer, 0, "far", timestamp + 1001, NULL);
    world_add_bytes(&life->world, 0, 0, timestamp, base_buffer_span(&buffer));
    base_buffer_free(&buffer);
}

// Another value of the same size.
static void life_change_record(struct life *life, uint32_t rank, uint32_t index)
{
    struct world_record *record = &life->world.partitions[rank][0].records[index];
    uint8_t *bytes = (uint8_t *)(uintptr_t)record->value.data;
    bytes[1] ^= 1; // of the id
}

// ---- what is obeyed ----

static uint64_t count_letters(const struct life *life)
{
    struct dirent **entries;
    int count = scandir(life->letters, &entries, NULL, alphasort);
    uint64_t files = 0;
    for (int i = 0; i < count; i++) {
        files += entries[i]->d_name[0] != '.';
        free(entries[i]);
    }
    free(entries);
    return files;
}

Test(consumer_ingest_restart, a_record_is_set_aside_once)
{
    struct life life;
    life_begin(&life);
    life_add_all(&life, "a", 0);
    life_open(&life);
    life_steps(&life, 1);
    life_save(&life);
    world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    life_add_future(&life, 5);
    life_add_all(&life, "b", 30);
    life_steps(&life, 2);
    cr_assert_eq(life.world.decisions, 2);
    cr_assert_eq(world_state(&life.world).dead, 2);
    life_save(&life); // "b" is not handled; what was set aside lies before it
    world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    life_add_all(&life, "c", 60);
    life_steps(&life, 2);
    struct consumer_ingest_state before = world_state(&life.world);
    cr_assert_eq(before.dead, 3);
    life_close(&life);
    cr_assert_eq(count_letters(&life), 1);

    life_open(&life);
    cr_assert_eq(world_state(&life.world).dead, 2, "as it was saved");
    life_steps(&life, 3);
    struct consumer_ingest_state after = world_state(&life.world);
    cr_assert_eq(after.dead, 3);
    cr_assert_eq(after.future, 1);
    cr_assert_eq(after.events, before.events);
    cr_assert_eq(after.frontier, before.frontier);
    cr_assert_eq(life.world.decisions, 3, "none anew");
    cr_assert_eq(consumer_deadletter_count(life.world.config.deadletter), 0, "no second letter");
    life_end(&life);
}

Test(consumer_ingest_restart, what_was_set_aside_is_not_decoded_again)
{
    struct life life;
    life_begin(&life);
    world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    life_add_all(&life, "a", 0);
    life_open(&life);
    life_steps(&life, 2);
    cr_assert_eq(consumer_journal_sync(life.world.config.journal, &life.world.error), 0);
    life_close(&life);
    // By now it could be read: a schema has come, say.
    struct world_record *record = &life.world.partitions[0][0].records[0];
    free((void *)(uintptr_t)record->value.data);
    struct base_buffer buffer = {0};
    world_encode(&buffer, 0, "x", 50, NULL);
    record->value = base_buffer_span(&buffer);
    life_open(&life);
    life_steps(&life, 2);
    cr_assert_eq(world_state(&life.world).dead, 1);
    cr_assert_eq(world_state(&life.world).events, 3);
    cr_assert_eq(consumer_ingest_watermark(life.world.ingest, 0, 0), 0);
    life_end(&life);
}

Test(consumer_ingest_restart, without_a_journal_nothing_is_told_twice_either)
{
    struct life life;
    life_begin(&life);
    life_add_all(&life, "a", 0);
    life_open(&life);
    life_steps(&life, 1);
    life_close(&life);
    life.world.config.deadletter = consumer_deadletter_new(life.letters, 1 << 20, &life.world.error);
    life_seek(&life);
    life.world.last_tick = INT64_MIN;
    life.world.ingest = consumer_ingest_new(&life.world.config, &life.world.error);
    life_add_all(&life, "b", 30);
    world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    life_steps(&life, 2);
    life_save(&life);
    cr_assert_eq(world_state(&life.world).dead, 1);
    consumer_ingest_free(life.world.ingest);
    consumer_deadletter_free(life.world.config.deadletter);
    life.world.config.deadletter = consumer_deadletter_new(life.letters, 1 << 20, &life.world.error);
    life_seek(&life);
    life.world.last_tick = INT64_MIN;
    life.world.ingest = consumer_ingest_new(&life.world.config, &life.world.error);
    cr_assert(life.world.ingest, "%s", life.world.error.text);
    life_steps(&life, 2);
    cr_assert_eq(world_state(&life.world).dead, 1);
    cr_assert_eq(world_state(&life.world).events, 6);
    cr_assert_eq(consumer_deadletter_count(life.world.config.deadletter), 0);
    life_end(&life);
}

Test(consumer_ingest_restart, raises_come_again_in_their_place)
{
    struct life life;
    life_begin(&life);
    life.world.config.idle_timeout_ms = 50;
    world_add(&life.world, 0, 0, "a", 0, NULL);
    life_open(&life);
    life_steps(&life, 40); // clicks and purchases follow
    int64_t raised = consumer_ingest_watermark(life.world.ingest, 1, 0);
    cr_assert(raised >= 0);
    world_add(&life.world, 1, 0, "late", -500, "a");
    life_steps(&life, 1);
    cr_assert_eq(world_state(&life.world).counters.late[1], 1);
    cr_assert_eq(consumer_journal_sync(life.world.config.journal, &life.world.error), 0);
    life_close(&life);
    life.world.config.idle_timeout_ms = 0;
    life_open(&life); // from the beginning
    cr_assert_eq(consumer_ingest_watermark(life.world.ingest, 1, 0), raised, "before its first record");
    life_steps(&life, 3);
    cr_assert_eq(world_state(&life.world).counters.late[1], 1);
    cr_assert_eq(world_state(&life.world).raises, 0);
    life_end(&life);
}

Test(consumer_ingest_restart, a_decision_is_durable_before_what_rests_on_it)
{
    struct life life;
    struct base_error *error = &life.world.error;
    life_begin(&life);
    life_open(&life);
    world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    life_steps(&life, 1);
    cr_assert(consumer_journal_dirty(life.world.config.journal), "nothing rests on it yet");
    life_add_all(&life, "a", 0);
    life_add_all(&life, "b", 30);
    life_steps(&life, 1);
    cr_assert_eq(life.world.samples, 1);
    cr_assert_not(consumer_journal_dirty(life.world.config.journal));
    // A save makes them durable too.
    world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    life_steps(&life, 1);
    cr_assert(consumer_journal_dirty(life.world.config.journal));
    life_save(&life);
    cr_assert_not(consumer_journal_dirty(life.world.config.journal));
    // And so does their mere number.
    uint64_t position = consumer_journal_position(life.world.config.journal);
    for (int i = 0; i < CONSUMER_JOURNAL_BUFFER / 25 + 2; i++) {
        world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    }
    bool synced = false;
    for (int i = 0; i < 100 && !synced; i++) {
        cr_assert_eq(world_step(&life.world, 0), 0, "%s", error->text);
        cr_assert(consumer_journal_unwritten(life.world.config.journal) < CONSUMER_JOURNAL_BUFFER);
        synced =
            consumer_journal_position(life.world.config.journal) > position + CONSUMER_JOURNAL_BUFFER / 2 &&
            !consumer_journal_dirty(life.world.config.journal);
    }
    cr_assert(synced);
    life_end(&life);
}

// ---- a log that changed ----

// Two cuts' worth of records; the state is saved with "b" unhandled and "a" before it.
static void two(struct life *life)
{
    life_begin(life);
    life_add_all(life, "a", 0);
    life_add_all(life, "b", 30);
    life_open(life);
    life_steps(life, 2);
    life_save(life);
    life_close(life);
}

static void expect_changed(struct life *life, const char *what)
{
    const struct base_error *error = life_fail(life);
    cr_assert_eq(error->code, BASE_ECONFLICT, "%s", error->text);
    cr_assert(error->fatal);
    cr_assert(strstr(error->text, what) && strstr(error->text, "freshet skip"), "%s", error->text);
}

Test(consumer_ingest_restart, the_last_record_is_another_one)
{
    struct life life;
    two(&life);
    life_open(&life);
    cr_assert_eq(life.world.partitions[0][0].delivered, 0, "opened at the record before");
    uint64_t read = world_state(&life.world).read;
    life_steps(&life, 2);
    cr_assert_eq(world_state(&life.world).read, read + 3, "it is looked at, not read");
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

Test(consumer_ingest_restart, the_last_record_is_gone)
{
    struct life life;
    two(&life);
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

Test(consumer_ingest_restart, the_log_ends_before_a_decision)
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

Test(consumer_ingest_restart, skipped_offsets_are_not_read)
{
    struct life life;
    two(&life);
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
    cr_assert_eq(world_state(&life.world).dead, 0);
    cr_assert(strstr(world_trace(&life.world), " c\n"));
    cr_assert_null(strstr(world_trace(&life.world), " b\n"));
    life_save(&life);
    life_close(&life);
    // From the beginning: likewise.
    base_buffer_clear(&life.state);
    base_buffer_clear(&life.world.trace);
    life_open(&life);
    life_steps(&life, 3);
    cr_assert_eq(world_state(&life.world).dead, 0);
    cr_assert(strstr(world_trace(&life.world), " c\n"));
    cr_assert_null(strstr(world_trace(&life.world), " b\n"));
    life_end(&life);
}

Test(consumer_ingest_restart, a_skip_at_the_end_leaves_nothing_to_look_at)
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

// ---- the last tick ----

Test(consumer_ingest_restart, nothing_above_the_last_tick)
{
    struct life life;
    life_begin(&life);
    for (int i = 0; i < 20; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        life_add_all(&life, id, 10 * i - 50);
    }
    life.world.config.last_tick = 4;
    life_open(&life);
    world_run(&life.world); // the source has no end
    cr_assert_eq(life.world.last_tick, 4);
    cr_assert_eq(world_state(&life.world).frontier, 49);
    uint64_t samples = life.world.samples;
    life_steps(&life, 3);
    cr_assert_eq(life.world.samples, samples);
    life_save(&life);
    life_close(&life);
    life.world.config.last_tick = 9; // and on
    life_open(&life);
    world_run(&life.world);
    cr_assert_eq(life.world.last_tick, 9);
    char *trace = strdup(world_trace(&life.world));
    life_close(&life);
    base_buffer_clear(&life.state);
    base_buffer_clear(&life.world.trace);
    life_open(&life);
    world_run(&life.world);
    cr_assert_str_eq(world_trace(&life.world), trace, "as in one go");
    free(trace);
    life_close(&life);
    life.world.config.last_tick = -100; // before the first record: done as soon as that is known
    life_open(&life);
    life.world.samples = 0;
    world_run(&life.world);
    cr_assert_eq(life.world.samples, 0);
    life_end(&life);
}

Test(consumer_ingest_restart, a_finished_source_ends_below_the_last_tick)
{
    struct life life;
    life_begin(&life);
    life_add_all(&life, "a", 0);
    life.world.bounded = true;
    life.world.config.finish = true;
    life.world.config.last_tick = 1;
    life_open(&life);
    world_run(&life.world);
    cr_assert_eq(world_state(&life.world).frontier, 19);
    life_save(&life);
    life_close(&life);
    life.world.config.last_tick = INT64_MAX;
    life_open(&life);
    world_run(&life.world);
    cr_assert_eq(world_state(&life.world).frontier, CONSUMER_TIME_MAX);
    life_save(&life);
    life_close(&life);
    life_open(&life); // the state after the end
    world_run(&life.world);
    cr_assert_eq(world_state(&life.world).frontier, CONSUMER_TIME_MAX);
    life_end(&life);
}

// ---- saved within a tick ----

struct within {
    struct life *life;
    int64_t tick; // at which it is saved
};

static int within_tick(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                       struct base_error *error)
{
    struct within *within = context;
    (void)samples;
    (void)count;
    (void)error;
    if (tick == within->tick) {
        life_save(within->life);
    }
    return 0;
}

Test(consumer_ingest_restart, saved_within_a_tick_it_is_the_state_after_it)
{
    struct life life;
    struct within within = {&life, 2};
    struct consumer_ingest_saved saved;
    life_begin(&life);
    for (int i = 0; i < 8; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        life_add_all(&life, id, 10 * i);
    }
    life_open(&life);
    const struct consumer_ingest_sink sink = {.tick = within_tick, .context = &within};
    cr_assert_eq(consumer_ingest_step(life.world.ingest, 0, &sink, &life.world.error), 0);
    cr_assert_eq(world_state(&life.world).frontier, 69);
    cr_assert_eq(consumer_ingest_saved(base_buffer_span(&life.state), &saved, &life.world.error), 0);
    cr_assert_eq(saved.frontier, 29);
    cr_assert_eq(saved.cut, 1);
    cr_assert_eq(saved.ranks, WORLD_RANKS);
    cr_assert_eq(saved.lanes, 1);
    life_close(&life);
    life_open(&life);
    life_steps(&life, 2);
    cr_assert_eq(strncmp(world_trace(&life.world), "3 30 0 ", 7), 0, "%s", world_trace(&life.world));
    life_end(&life);
}

// ---- files ----

static void write_impressions(const char *path, int count)
{
    // By the source's own tests' writer this would take a schema of theirs; a container by hand is as short.
    struct base_buffer file = {0}, block = {0}, record = {0};
    static const char magic[] = "Obj\x01";
    static const uint8_t marker[16] = {1, 2, 3};
    base_buffer_append(&file, magic, 4);
    base_buffer_u8(&file, 2); // one pair of metadata
    base_buffer_u8(&file, 22);
    base_buffer_append(&file, "avro.schema", 11);
    size_t size = strlen(world_impression_schema);
    base_buffer_u8(&file, (uint8_t)((2 * size & 0x7f) | 0x80));
    base_buffer_u8(&file, (uint8_t)(2 * size >> 7));
    base_buffer_append(&file, world_impression_schema, size);
    base_buffer_u8(&file, 0);
    base_buffer_append(&file, marker, sizeof marker);
    for (int i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "f%d", i);
        base_buffer_clear(&record);
        world_encode(&record, 0, id, 7 * i, NULL);
        base_buffer_clear(&block);
        base_buffer_u8(&block, 2); // one record
        cr_assert(record.size < 64);
        base_buffer_u8(&block, (uint8_t)(2 * record.size));
        base_buffer_append(&block, record.data, record.size);
        base_buffer_append(&block, marker, sizeof marker);
        base_buffer_append(&file, block.data, block.size);
    }
    struct base_error error;
    cr_assert_eq(base_disk_replace(NULL, path, base_buffer_span(&file), &error), 0, "%s", error.text);
    base_buffer_free(&file);
    base_buffer_free(&block);
    base_buffer_free(&record);
}

static struct consumer_source *open_files(struct life *life, const int64_t *offsets)
{
    struct consumer_files_config files = {
        .path = life->world.directory,
        .ranks = WORLD_RANKS,
        .topics = {"impressions", "clicks", "purchases"},
        .fetch = 3,
        .offsets = offsets,
        .offset_lanes = 1,
    };
    struct consumer_source *source = consumer_files_open(&files, &life->world.error);
    cr_assert(source, "%s", life->world.error.text);
    return source;
}

Test(consumer_ingest_restart, files)
{
    struct life life;
    char path[SUPPORT_DIRECTORY_MAX + 64];
    life_begin(&life);
    static const char *const topics[] = {"impressions", "clicks", "purchases"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", life.world.directory, topics[i]);
        cr_assert_eq(mkdir(path, 0750), 0);
    }
    snprintf(path, sizeof path, "%s/impressions/0.avro", life.world.directory);
    write_impressions(path, 40);
    life.world.config.finish = true;
    life.world.config.last_tick = 10;
    life_open_journal(&life);
    life.world.config.source = open_files(&life, NULL);
    life.world.ingest = consumer_ingest_new(&life.world.config, &life.world.error);
    world_run(&life.world);
    life_save(&life);
    life_close(&life);
    life.world.config.source->operations->close(life.world.config.source);

    life_open_journal(&life);
    int64_t offsets[WORLD_RANKS];
    uint32_t lanes;
    cr_assert_eq(consumer_ingest_offsets(base_buffer_span(&life.state), life.world.config.journal,
                                         WORLD_RANKS, &lanes, offsets, &life.world.error),
                 0);
    cr_assert(offsets[0] > 10 && offsets[0] < 20, "%lld", (long long)offsets[0]);
    life.world.config.source = open_files(&life, offsets);
    life.world.config.restore = base_buffer_span(&life.state);
    life.world.config.last_tick = INT64_MAX;
    life.world.ingest = consumer_ingest_new(&life.world.config, &life.world.error);
    cr_assert(life.world.ingest, "%s", life.world.error.text);
    world_run(&life.world);
    cr_assert_eq(life.world.samples, 40);
    cr_assert_eq(world_state(&life.world).events, 40);
    cr_assert_eq(world_state(&life.world).counters.events[0], 40);
    struct consumer_source *source = life.world.config.source;
    life_end(&life);
    source->operations->close(source);
}

// ---- states that do not fit ----

static const struct base_error *try_fails(struct life *life)
{
    cr_assert_eq(life_try(life), -1);
    life_close(life);
    return &life->world.error;
}

Test(consumer_ingest_restart, states_that_do_not_fit)
{
    struct life life;
    struct base_error *error = &life.world.error;
    two(&life);
    life.world.config.tick_ms = 20;
    cr_assert_eq(try_fails(&life)->code, BASE_ECONFLICT);
    cr_assert(strstr(error->text, "ticks of 10 ms"), "%s", error->text);
    life.world.config.tick_ms = 10;
    // The source stands elsewhere.
    life_open_journal(&life);
    life_seek(&life);
    life.world.partitions[1][0].delivered = 1;
    cr_assert_null(consumer_ingest_new(&life.world.config, error));
    cr_assert_eq(error->code, BASE_EINVAL);
    cr_assert(strstr(error->text, "topic clicks, partition 0: the source begins at offset 1"), "%s",
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

Test(consumer_ingest_restart, a_journal_that_is_too_short)
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

Test(consumer_ingest_restart, damaged_states)
{
    struct life life;
    two(&life);
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
Test(consumer_ingest_restart, states_that_cannot_be)
{
    enum { RANKS_AT = 20 + 8, OFFSET_AT = 20 + 16 + 12 * 8, WATERMARK_AT = OFFSET_AT + 8 };
    static const struct {
        size_t at;
        uint8_t high; // the highest byte of the number there
    } cases[] = {{RANKS_AT + 3, 1}, {OFFSET_AT + 7, 0x80}, {WATERMARK_AT + 7, 0x70}};
    struct life life;
    two(&life);
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

Test(consumer_ingest_restart, a_journal_that_cannot_be_written_stops_the_tick)
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

Test(consumer_ingest_restart, a_lane_that_cannot_be_saved)
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

Test(consumer_ingest_restart, a_lane_that_cannot_be_opened)
{
    struct life life;
    two(&life);
    world_remove_tree(life.lanes);
    cr_assert_eq(life_try(&life), -1);
    cr_assert(strstr(life.world.error.text, "lane 0"), "%s", life.world.error.text);
    life_end(&life);
}
