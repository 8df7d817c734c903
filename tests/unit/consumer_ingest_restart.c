// Ingest over a restart: what is obeyed and not counted again, what is durable when, the last tick, files.
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "consumer/files.h"
#include "consumer_ingest_life.h"

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
    cr_assert_eq(world_state(&life.world).counts.dead, 2);
    life_save(&life); // "b" is not handled; what was set aside lies before it
    world_add_bytes(&life.world, 0, 0, -1, base_span_string("\x05"));
    life_add_all(&life, "c", 60);
    life_steps(&life, 2);
    struct consumer_ingest_state before = world_state(&life.world);
    cr_assert_eq(before.counts.dead, 3);
    life_close(&life);
    cr_assert_eq(count_letters(&life), 1);

    life_open(&life);
    cr_assert_eq(world_state(&life.world).counts.dead, 2, "as it was saved");
    life_steps(&life, 3);
    struct consumer_ingest_state after = world_state(&life.world);
    cr_assert_eq(after.counts.dead, 3);
    cr_assert_eq(after.counts.future, 1);
    cr_assert_eq(after.counts.events, before.counts.events);
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
    cr_assert_eq(world_state(&life.world).counts.dead, 1);
    cr_assert_eq(world_state(&life.world).counts.events, 3);
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
    cr_assert_eq(world_state(&life.world).counts.dead, 1);
    consumer_ingest_free(life.world.ingest);
    consumer_deadletter_free(life.world.config.deadletter);
    life.world.config.deadletter = consumer_deadletter_new(life.letters, 1 << 20, &life.world.error);
    life_seek(&life);
    life.world.last_tick = INT64_MIN;
    life.world.ingest = consumer_ingest_new(&life.world.config, &life.world.error);
    cr_assert(life.world.ingest, "%s", life.world.error.text);
    life_steps(&life, 2);
    cr_assert_eq(world_state(&life.world).counts.dead, 1);
    cr_assert_eq(world_state(&life.world).counts.events, 6);
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
    cr_assert_eq(world_state(&life.world).counts.raises, 0);
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
    cr_assert_eq(world_state(&life.world).counts.events, 40);
    cr_assert_eq(world_state(&life.world).counters.events[0], 40);
    struct consumer_source *source = life.world.config.source;
    life_end(&life);
    source->operations->close(source);
}
