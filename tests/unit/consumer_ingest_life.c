// The lives of ingest's restart tests. See consumer_ingest_life.h.
#include "consumer_ingest_life.h"

#include <criterion/criterion.h>
#include <stdio.h>

void life_begin(struct life *life)
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

void life_open_journal(struct life *life)
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

void life_seek(struct life *life)
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

int life_try(struct life *life)
{
    life_open_journal(life);
    life_seek(life);
    life->world.last_tick = INT64_MIN;
    life->world.ingest = consumer_ingest_new(&life->world.config, &life->world.error);
    return life->world.ingest ? 0 : -1;
}

void life_open(struct life *life)
{
    int status = life_try(life);
    cr_assert_eq(status, 0, "%s", life->world.error.text);
}

void life_close(struct life *life)
{
    consumer_ingest_free(life->world.ingest);
    life->world.ingest = NULL;
    consumer_journal_free(life->world.config.journal);
    life->world.config.journal = NULL;
    consumer_deadletter_free(life->world.config.deadletter);
    life->world.config.deadletter = NULL;
}

void life_end(struct life *life)
{
    life_close(life);
    base_buffer_free(&life->state);
    world_end(&life->world);
}

void life_save(struct life *life)
{
    struct base_sync *sync = base_sync_new(NULL);
    base_buffer_clear(&life->state);
    cr_assert_eq(
        consumer_ingest_save(life->world.ingest, ++life->cut, &life->state, sync, &life->world.error), 0);
    cr_assert_eq(base_sync_run(sync, &life->world.error), 0);
    base_sync_free(sync);
}

void life_steps(struct life *life, int steps)
{
    while (steps-- > 0) {
        cr_assert_eq(world_step(&life->world, 10), 0, "%s", life->world.error.text);
    }
}

const struct base_error *life_fail(struct life *life)
{
    int status = 0;
    for (int i = 0; i < 500 && status == 0; i++) {
        status = world_step(&life->world, 10);
    }
    cr_assert_eq(status, -1);
    return &life->world.error;
}

void life_add_all(struct life *life, const char *id, int64_t time)
{
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world_add(&life->world, rank, 0, id, time, "none");
    }
}

void life_add_future(struct life *life, int64_t timestamp)
{
    struct base_buffer buffer = {0};
    world_encode(&buffer, 0, "far", timestamp + 1001, NULL);
    world_add_bytes(&life->world, 0, 0, timestamp, base_buffer_span(&buffer));
    base_buffer_free(&buffer);
}

void life_change_record(struct life *life, uint32_t rank, uint32_t index)
{
    struct world_record *record = &life->world.partitions[rank][0].records[index];
    uint8_t *bytes = (uint8_t *)(uintptr_t)record->value.data;
    bytes[1] ^= 1; // of the id
}

void life_two(struct life *life)
{
    life_begin(life);
    life_add_all(life, "a", 0);
    life_add_all(life, "b", 30);
    life_open(life);
    life_steps(life, 2);
    life_save(life);
    life_close(life);
}
