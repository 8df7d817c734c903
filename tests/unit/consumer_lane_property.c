// The property of restarts: a lane that is killed at any moment and restored from a cut goes on as if nothing
// had happened. On random streams its samples are the oracle's, sample by sample, and every later save has
// the bytes that the same save of an undisturbed lane has, whatever became of the files beyond the cut
// meanwhile.
//
// The test plays ingest: it keeps per partition where a cut has to read again from, skips what lies at or
// below the frontier, and pushes the rest. FRESHET_STREAMS, FRESHET_SEED: as in consumer_joiner_property.c.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/random.h"
#include "consumer_lane_world.h"
#include "support_directory.h"

enum {
    RESTARTED_STREAMS_DEFAULT = 5000,
    RESTARTED_SANITIZED_DEFAULT = 500,
    CUTS_MAX = 6,
    KILLS_MAX = 12, // a stream
};

// Where reading begins again.
struct restart_partition {
    uint32_t step;
    int64_t watermark;
    int64_t next_offset;
};

struct restart_cut {
    int64_t frontier;
    struct base_buffer expected; // the undisturbed lane's state
    struct base_buffer state;    // the disturbed one's; the same bytes
    struct restart_partition partition[CONSUMER_TOPICS_MAX];
    size_t samples; // emitted so far
};

// A lane that is fed and, unless it is the undisturbed one, killed.
struct restart {
    const struct support_stream *stream;
    struct lane_dice *dice;
    struct lane_witness witness;
    struct consumer_lane_config config;
    struct consumer_lane *lane;
    bool undisturbed;

    struct restart_cut cut[CUTS_MAX + 1]; // [cuts + 1]; cut 0 is the beginning
    uint32_t cuts;
    uint32_t saved;  // the newest cut
    uint32_t done;   // the newest one that is durable
    uint32_t oldest; // that can be gone back to
    struct base_sync *sync;
    uint32_t kills;

    uint32_t next[CONSUMER_TOPICS_MAX]; // steps read
    int64_t time[CONSUMER_TOPICS_MAX][SUPPORT_STEPS_MAX];
    int64_t before[CONSUMER_TOPICS_MAX][SUPPORT_STEPS_MAX];
    bool finished;
};

// What all streams together came to.
struct restart_sum {
    uint64_t restored, anew, dropped;
};

static bool restart_complain(struct restart *restart, const char *doing, const struct base_error *error)
{
    if (!restart->witness.complaint[0]) {
        snprintf(restart->witness.complaint, sizeof restart->witness.complaint, "%s: %.400s", doing,
                 error->text);
    }
    return false;
}

// Takes note of where each partition would have to be read again from, at the frontier of a cut.
static void restart_note(struct restart *restart, struct restart_cut *cut)
{
    for (uint32_t rank = 0; rank < restart->config.ranks; rank++) {
        const struct support_step *steps = restart->stream->step[rank];
        struct restart_partition *partition = &cut->partition[rank];
        int64_t last = -1;
        *partition = (struct restart_partition){
            .step = restart->next[rank],
            .watermark = consumer_lane_partition_watermark(restart->lane, rank),
        };
        for (uint32_t i = 0; i < restart->next[rank]; i++) {
            if (steps[i].raise) {
                continue;
            }
            if (restart->time[rank][i] > cut->frontier) {
                partition->step = i;
                partition->watermark = restart->before[rank][i];
                break;
            }
            last = steps[i].event.offset;
        }
        partition->next_offset = last + 1;
    }
}

static bool restart_run(struct restart *restart, int64_t until)
{
    struct base_error error;
    return consumer_lane_run(restart->lane, until, lane_witness_sink, &restart->witness, &error) == 0 ||
           restart_complain(restart, "run", &error);
}

// The newest cut becomes durable.
static bool restart_settle(struct restart *restart)
{
    struct base_error error;
    if (!restart->sync) {
        return true;
    }
    if (base_sync_run(restart->sync, &error) != 0) {
        return restart_complain(restart, "sync", &error);
    }
    base_sync_free(restart->sync);
    restart->sync = NULL;
    uint32_t before = restart->done;
    restart->done = restart->saved;
    restart->oldest = before > restart->oldest ? before : restart->oldest;
    consumer_lane_cut_done(restart->lane, restart->done);
    return true;
}

// Saves the next cut, at its frontier.
static bool restart_save(struct restart *restart)
{
    struct base_error error;
    if (!restart_settle(restart)) {
        return false;
    }
    struct restart_cut *cut = &restart->cut[restart->saved + 1];
    struct base_buffer *state = restart->undisturbed ? &cut->expected : &cut->state;
    if (!restart_run(restart, cut->frontier)) {
        return false;
    }
    base_buffer_clear(state);
    restart->sync = base_sync_new(NULL);
    if (consumer_lane_save(restart->lane, restart->saved + 1, state, restart->sync, &error) != 0) {
        return restart_complain(restart, "save", &error);
    }
    restart->saved++;
    cut->samples = restart->witness.count;
    restart_note(restart, cut);
    if (!restart->undisturbed &&
        !base_span_equal(base_buffer_span(state), base_buffer_span(&cut->expected))) {
        snprintf(restart->witness.complaint, sizeof restart->witness.complaint,
                 "cut %u after %u kills has other bytes", restart->saved, restart->kills);
        return false;
    }
    return true;
}

// Spoils a file from byte `from` on: cuts it off, or writes over what is there.
static void restart_spoil(struct lane_dice *dice, const char *path, uint64_t from, uint64_t size)
{
    int fd = open(path, O_RDWR);
    if (fd < 0) {
        return;
    }
    uint64_t at = from + (uint64_t)lane_dice_between(dice, 0, (int64_t)(size - from));
    if (lane_dice_chance(dice, 50)) {
        cr_assert_eq(ftruncate(fd, (off_t)at), 0);
    } else {
        uint64_t junk = base_random_bits(dice->key, dice->counter++);
        for (uint64_t i = at; i + 8 <= size; i += 8) {
            cr_assert_eq(pwrite(fd, &junk, 8, (off_t)i), 8);
        }
    }
    close(fd);
}

static void restart_spoil_all(struct restart *restart, const struct restart_cut *cut)
{
    struct lane_saved_log log;
    char path[256];
    for (size_t at = 0; lane_saved_log(base_buffer_span(&cut->state), &at, &log);) {
        if (log.segments) {
            lane_saved_path(restart->config.directory, &log, log.last, path);
            restart_spoil(restart->dice, path, log.used, log.size);
            lane_saved_path(restart->config.directory, &log, log.last + 1, path);
            restart_spoil(restart->dice, path, 0, 256);
        }
    }
}

// The process dies, and comes back with what a cut says.
static bool restart_kill(struct restart *restart, struct restart_sum *sum)
{
    struct base_error error;
    consumer_lane_free(restart->lane);
    base_sync_free(restart->sync);
    restart->sync = NULL;
    restart->kills++;
    bool older = restart->oldest < restart->done && lane_dice_chance(restart->dice, 20);
    uint32_t number = older ? restart->oldest : restart->done;
    struct restart_cut *cut = &restart->cut[number];
    restart->saved = restart->done = restart->oldest = number;
    restart->finished = false;
    restart->witness.count = number ? cut->samples : 0;
    if (number) {
        restart_spoil_all(restart, cut);
        struct base_reader state = {base_buffer_span(&cut->state), false};
        restart->lane = consumer_lane_restore(&restart->config, &state, &error);
        sum->restored++;
    } else {
        restart->lane = consumer_lane_new(&restart->config, &error);
        memset(cut->partition, 0, sizeof cut->partition);
        sum->anew++;
    }
    if (!restart->lane) {
        return restart_complain(restart, "restore", &error);
    }
    for (uint32_t rank = 0; rank < restart->config.ranks; rank++) {
        const struct restart_partition *partition = &cut->partition[rank];
        restart->next[rank] = partition->step;
        if (number) {
            consumer_lane_place(restart->lane, rank, partition->watermark, partition->next_offset);
        }
    }
    return true;
}

// Reads the next step of a partition.
static bool restart_read(struct restart *restart, uint32_t rank)
{
    struct base_error error;
    uint32_t index = restart->next[rank]++;
    const struct support_step *step = &restart->stream->step[rank][index];
    if (step->raise) {
        consumer_lane_raise(restart->lane, rank, step->watermark);
        return true;
    }
    int64_t before = consumer_lane_partition_watermark(restart->lane, rank);
    int64_t time = step->event.event_time > before ? step->event.event_time : before;
    restart->before[rank][index] = before;
    restart->time[rank][index] = time;
    if (restart->saved && time <= restart->cut[restart->saved].frontier) {
        // Only what is read again: else the watermark, hence the time, is above the frontier.
        consumer_lane_skip(restart->lane, &step->event);
        return true;
    }
    return consumer_lane_push(restart->lane, &step->event, &error) == 0 ||
           restart_complain(restart, "push", &error);
}

static bool restart_can_save(const struct restart *restart)
{
    int64_t watermark = consumer_lane_watermark(restart->lane);
    return restart->saved < restart->cuts &&
           (watermark == CONSUMER_TIME_MAX || restart->cut[restart->saved + 1].frontier < watermark);
}

// Runs as far as the watermark and the next cut's frontier allow.
static bool restart_go(struct restart *restart)
{
    int64_t watermark = consumer_lane_watermark(restart->lane);
    if (watermark == CONSUMER_TIME_MIN) {
        return true;
    }
    int64_t until = watermark == CONSUMER_TIME_MAX ? CONSUMER_TIME_MAX
                                                   : watermark - lane_dice_between(restart->dice, 1, 10);
    until = until < restart->stream->until ? until : restart->stream->until;
    if (restart->saved < restart->cuts && until > restart->cut[restart->saved + 1].frontier) {
        until = restart->cut[restart->saved + 1].frontier;
    }
    return restart_run(restart, until);
}

// One random thing. False: the witness complains, or *over.
static bool restart_act(struct restart *restart, struct restart_sum *sum, bool *over)
{
    struct lane_dice *dice = restart->dice;
    if (!restart->undisturbed && restart->kills < KILLS_MAX &&
        lane_dice_chance(dice, restart->done ? 8 : 1)) {
        return restart_kill(restart, sum);
    }
    if (lane_dice_chance(dice, 20)) {
        return restart_settle(restart);
    }
    if (restart_can_save(restart) && lane_dice_chance(dice, 50)) {
        return restart_save(restart);
    }
    if (lane_dice_chance(dice, 20)) {
        return restart_go(restart);
    }
    uint32_t rank = (uint32_t)lane_dice_between(dice, 0, restart->config.ranks - 1);
    uint32_t looked = 0;
    while (looked < restart->config.ranks && restart->next[rank] == restart->stream->steps[rank]) {
        rank = (rank + 1) % restart->config.ranks;
        looked++;
    }
    if (looked < restart->config.ranks) {
        return restart_read(restart, rank);
    }
    if (!restart->finished) {
        for (rank = 0; rank < restart->config.ranks; rank++) {
            consumer_lane_raise(restart->lane, rank, CONSUMER_TIME_MAX);
        }
        restart->finished = true;
    } else if (restart->saved == restart->cuts && lane_dice_chance(dice, 30)) {
        *over = true;
        return restart_go(restart);
    }
    return true;
}

// Feeds the whole stream to a lane. The complaint is empty if all is as expected.
static void restart_all(struct restart *restart, const struct support_outcome *expected,
                        struct restart_sum *sum)
{
    struct base_error error;
    restart->witness = (struct lane_witness){.expected = expected};
    restart->lane = consumer_lane_new(&restart->config, &error);
    if (!restart->lane) {
        restart_complain(restart, "lane", &error);
        return;
    }
    restart->saved = restart->done = restart->oldest = restart->kills = 0;
    restart->finished = false;
    memset(restart->next, 0, sizeof restart->next);
    bool over = false;
    while (!over && restart_act(restart, sum, &over)) {
    }
    if (!restart->witness.complaint[0]) {
        if (restart->witness.count != expected->count) {
            snprintf(restart->witness.complaint, sizeof restart->witness.complaint,
                     "%zu samples, expected %zu", restart->witness.count, expected->count);
        } else {
            lane_counters_complain(consumer_lane_counters(restart->lane), &expected->counters,
                                   restart->witness.complaint, sizeof restart->witness.complaint);
        }
    }
    consumer_lane_free(restart->lane);
    base_sync_free(restart->sync);
    restart->lane = NULL;
    restart->sync = NULL;
}

// Cuts at rising frontiers around the times of the stream.
static void restart_plan(struct restart *restart)
{
    struct lane_dice *dice = restart->dice;
    int64_t least = INT64_MAX;
    int64_t most = INT64_MIN;
    for (uint32_t rank = 0; rank < restart->config.ranks; rank++) {
        for (uint32_t i = 0; i < restart->stream->steps[rank]; i++) {
            const struct support_step *step = &restart->stream->step[rank][i];
            int64_t time = step->raise ? step->watermark : step->event.event_time;
            least = time < least ? time : least;
            most = time > most ? time : most;
        }
    }
    restart->cuts = (uint32_t)lane_dice_between(dice, 1, CUTS_MAX);
    int64_t frontier = least - 3;
    for (uint32_t number = 1; number <= restart->cuts; number++) {
        frontier += lane_dice_between(dice, 0, 2 * (most + 30 - least) / restart->cuts);
        restart->cut[number].frontier = frontier < restart->stream->until ? frontier : restart->stream->until;
    }
}

static void restart_count_dropped(const struct restart *restart, struct restart_sum *sum)
{
    struct lane_saved_log log;
    for (size_t at = 0; lane_saved_log(base_buffer_span(&restart->cut[restart->cuts].expected), &at, &log);) {
        sum->dropped += log.first;
    }
}

Test(lane_property, a_lane_killed_at_any_moment_goes_on_as_if_nothing_had_happened, .timeout = 36000)
{
#ifdef FRESHET_SANITIZED
    uint64_t streams = lane_world_setting("FRESHET_STREAMS", RESTARTED_SANITIZED_DEFAULT);
#else
    uint64_t streams = lane_world_setting("FRESHET_STREAMS", RESTARTED_STREAMS_DEFAULT);
#endif
    uint64_t first = lane_world_setting("FRESHET_SEED", 1);
    char directory[SUPPORT_DIRECTORY_MAX];
    support_directory_make(directory);
    struct lane_world *world = base_alloc(sizeof *world);
    struct restart *restart = base_alloc_zeroed(1, sizeof *restart);
    struct restart_sum sum = {0};
    uint64_t number = first;
    for (; number < first + streams && !restart->witness.complaint[0]; number++) {
        struct lane_dice dice = {.key = base_random_key(number, "restarts")};
        memset(world->stream.steps, 0, sizeof world->stream.steps);
        world->used = 0;
        lane_world_configure(world, &dice, directory);
        lane_world_generate(world, &dice);
        struct support_outcome expected;
        support_oracle(&world->stream, &expected);
        restart->stream = &world->stream;
        restart->dice = &dice;
        restart->config = world->stream.config;
        restart->config.keep_dropped = true;
        restart->config.segment_bytes = (uint64_t)(lane_dice_chance(&dice, 85) ? 256 : 1024);
        restart_plan(restart);
        restart->undisturbed = true;
        restart_all(restart, &expected, &sum);
        restart_count_dropped(restart, &sum);
        if (!restart->witness.complaint[0]) {
            restart->undisturbed = false;
            restart_all(restart, &expected, &sum);
        }
        support_outcome_done(&expected);
    }
    for (uint32_t i = 0; i <= CUTS_MAX; i++) {
        base_buffer_free(&restart->cut[i].expected);
        base_buffer_free(&restart->cut[i].state);
    }
    support_directory_remove(directory);
    cr_assert(!restart->witness.complaint[0], "stream %llu: %s", (unsigned long long)number - 1,
              restart->witness.complaint);
    free(restart);
    free(world);
    if (streams >= RESTARTED_SANITIZED_DEFAULT) {
        cr_assert_geq(sum.restored, streams);
        cr_assert_geq(sum.anew, streams / 4);
        cr_assert_geq(sum.dropped, streams);
    }
}
