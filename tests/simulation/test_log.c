// Tests of the simulated log: every record once and in order, however it is read; honest about its end.
#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/hash.h"
#include "simulation/sim_log.h"
#include "simulation/sim_log_script.h"

enum { BATCH = 64 };

struct tally {
    uint64_t hash, count;
    int64_t last; // offset
};

static void tally_add(struct tally *tally, const struct consumer_message *message)
{
    cr_assert_gt(message->offset, tally->last);
    tally->last = message->offset;
    tally->count++;
    uint64_t pair[2] = {tally->hash, (uint64_t)message->offset};
    tally->hash = base_hash_bytes(base_span_make(pair, sizeof pair), (uint64_t)message->timestamp);
    if (message->value.data) {
        tally->hash = base_hash_bytes(message->value, tally->hash);
    }
}

// Reads all of it; time passes between polls. Checks what the source says of itself.
static void read_all(struct sim_log *log, struct consumer_source *source, struct sim_clock *clock,
                     struct tally *tallies)
{
    struct consumer_message messages[BATCH];
    struct consumer_position position;
    uint32_t left = source->ranks * source->lanes;
    for (int round = 0; left > 0; round++) {
        cr_assert_lt(round, 100000);
        left = 0;
        for (uint32_t rank = 0; rank < source->ranks; rank++) {
            for (uint32_t lane = 0; lane < source->lanes; lane++) {
                struct base_error error;
                int count = source->operations->poll(source, rank, lane, 0, messages, BATCH, &error);
                cr_assert(count >= 0 || (error.code == BASE_ENETWORK && error.retriable), "%s", error.text);
                for (int i = 0; i < count; i++) {
                    cr_assert(messages[i].rank == rank && messages[i].lane == lane);
                    tally_add(&tallies[rank * source->lanes + lane], &messages[i]);
                }
                source->operations->position(source, rank, lane, &position);
                cr_assert_leq(position.next, sim_log_end(log, rank, lane));
                cr_assert_leq(position.fresh_ns, clock->now_ns);
                if (position.caught_up && position.fresh_ns == clock->now_ns) {
                    cr_assert_eq(position.next, sim_log_high(log, rank, lane),
                                 "caught up, yet there is more");
                }
                left += position.next < sim_log_end(log, rank, lane);
            }
        }
        source->operations->wait(source, 100);
    }
}

Test(sim_log, every_record_comes_once_however_it_is_read)
{
    uint64_t records = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct sim_log_config config;
        struct sim_clock clock;
        struct sim_faults faults;
        sim_log_config_draw(&config, seed, 200, 20000);
        sim_clock_init(&clock, config.start_wall_ms);
        sim_faults_init(&faults, seed);
        struct sim_log *log = sim_log_new(&config, seed, &clock, &faults);
        struct tally live[SIM_LOG_RANKS * SIM_LOG_LANES_MAX], whole[SIM_LOG_RANKS * SIM_LOG_LANES_MAX];
        for (uint32_t i = 0; i < SIM_LOG_RANKS * SIM_LOG_LANES_MAX; i++) {
            live[i] = whole[i] = (struct tally){.last = -1};
        }
        struct consumer_source *source = sim_log_open(log, NULL, false);
        read_all(log, source, &clock, live);
        source->operations->close(source);
        cr_assert_geq(sim_clock_ms(&clock), sim_log_complete_ms(log) - 100);
        source = sim_log_open(log, NULL, true);
        read_all(log, source, &clock, whole);
        source->operations->close(source);
        uint64_t count = 0;
        for (uint32_t i = 0; i < SIM_LOG_RANKS * config.lanes; i++) {
            cr_assert(live[i].hash == whole[i].hash && live[i].count == whole[i].count);
            count += whole[i].count;
        }
        cr_assert_eq(count, sim_log_records(log));
        records += count;
        sim_log_free(log);
    }
    cr_assert_gt(records, 60 * 200);
}

// From any offset on it is the same log; the same seed makes the same one, another seed another.
Test(sim_log, a_later_source_goes_on_where_it_is_told_to)
{
    struct sim_log_config config;
    struct sim_clock clock;
    sim_log_config_draw(&config, 3, 200, 20000);
    sim_clock_init(&clock, config.start_wall_ms);
    struct sim_log *log = sim_log_new(&config, 3, &clock, NULL);
    struct sim_log *other = sim_log_new(&config, 4, &clock, NULL);
    int64_t offsets[SIM_LOG_RANKS * SIM_LOG_LANES_MAX];
    for (uint32_t i = 0; i < SIM_LOG_RANKS * config.lanes; i++) {
        offsets[i] = 5;
    }
    struct consumer_message messages[BATCH], others[BATCH];
    struct base_error error;
    struct consumer_source *source = sim_log_open(log, offsets, true);
    struct consumer_source *second = sim_log_open(other, offsets, true);
    int count = 0, other_count = 0;
    while (count == 0) {
        count = source->operations->poll(source, 0, 0, 0, messages, 1, &error);
    }
    while (other_count == 0) {
        other_count = second->operations->poll(second, 0, 0, 0, others, 1, &error);
    }
    cr_assert_geq(messages[0].offset, 5);
    cr_assert_not(base_span_equal(messages[0].value, others[0].value) &&
                  messages[0].timestamp == others[0].timestamp);
    source->operations->close(source);
    second->operations->close(second);
    // Deleted below: not retriable.
    sim_log_retain(log, 0, 0, 10);
    source = sim_log_open(log, offsets, true);
    cr_assert_eq(source->operations->poll(source, 0, 0, 0, messages, BATCH, &error), -1);
    cr_assert(error.code == BASE_ENOTFOUND && !error.retriable);
    source->operations->close(source);
    sim_log_free(other);
    sim_log_free(log);
}

// With all troubles on, all of them are there.
Test(sim_log, the_script_has_what_it_is_told_to_have)
{
    struct sim_log_config config = {.lanes = 2,
                                    .impressions = 500,
                                    .start_wall_ms = 1700000000000,
                                    .span_ms = 60000,
                                    .ctr = .5,
                                    .cvr = .5,
                                    .watched = .5,
                                    .click_ms = 500,
                                    .purchase_ms = 2000,
                                    .watch_ms = 500,
                                    .network_ms = 50,
                                    .late = .1,
                                    .late_ms = 5000,
                                    .duplicates = .1,
                                    .orphans = .1,
                                    .future = .1,
                                    .undecodable = .1,
                                    .transactions = .05,
                                    .pauses = 1,
                                    .pause_ms = 3000,
                                    .users = 10,
                                    .items = 10,
                                    .fetch = 10};
    struct sim_log_partition partitions[SIM_LOG_RANKS * 2] = {0};
    sim_log_script(&config, 1, partitions);
    uint32_t records = 0, holes = 0, open = 0, tombstones = 0, bad = 0;
    for (uint32_t i = 0; i < SIM_LOG_RANKS * 2; i++) {
        cr_assert_gt(partitions[i].count, 100);
        for (uint32_t s = 0; s < partitions[i].count; s++) {
            const struct sim_log_slot *slot = &partitions[i].slot[s];
            cr_assert(s == 0 ||
                      (slot->arrived_ms >= slot[-1].arrived_ms && slot->stable_ms >= slot[-1].stable_ms));
            cr_assert_leq(slot->arrived_ms, slot->stable_ms);
            records += slot->record;
            holes += !slot->record;
            open += slot->stable_ms > slot->arrived_ms;
            tombstones += slot->record && !slot->value;
            bad += slot->record && slot->value && slot->size < 20;
        }
        sim_log_script_clear(&partitions[i]);
    }
    cr_assert(records > 1500 && holes > 50 && open > 50 && tombstones > 10 && bad > 10,
              "%u records, %u holes, %u not stable at once, %u tombstones, %u bad", records, holes, open,
              tombstones, bad);
}
