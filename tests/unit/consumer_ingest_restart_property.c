// Restarts, as a property: whatever ingest has handed over once, it hands over again after a crash, and so
// does a replay of the whole journal.
//
// A stream is a random content (late, undecodable and future records) that becomes visible bit by bit, with
// partitions that stand still long enough to be idle. It is read by a sequence of lives. A life begins at the
// last durable cut, or afresh; it crashes at a random step: all that is left is its files, with a random part
// of what the journal had not yet synced. At the end a replay from the beginning, without idleness, obeys the
// journal.
//
// FRESHET_STREAMS=n: how many streams are wanted of all properties; one in ten is enough here (default 4,000,
// so 400). FRESHET_SEED=s: the first stream's number.
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer/journal.h"
#include "consumer_ingest_world.h"

enum {
    STREAMS_DEFAULT = 4000,
    SANITIZED_STREAMS_DEFAULT = 400,
    STEPS_MAX = 4000,
    QUIET_STEPS = 60,
    FUTURE_MS = 100000,
};

// A tick that was handed over: its lines in the text.
struct handed {
    int64_t tick;
    size_t begin, end;
};

// A cut, and how many ticks had been handed over by then.
struct cut {
    struct base_buffer state;
    uint64_t number;
    size_t handed;
};

struct story {
    struct world world;
    struct base_disk disk; // tears the journal's last write
    struct base_disk_operations operations;
    size_t tear; // bytes of the write that reach the file; SIZE_MAX: all

    uint64_t seed, draws;
    char journal_directory[SUPPORT_DIRECTORY_MAX + 16], lanes[SUPPORT_DIRECTORY_MAX + 16],
        letters[SUPPORT_DIRECTORY_MAX + 16];
    struct consumer_journal_config journal_config;
    struct cut cut; // the last; number 0: none
    uint64_t cuts;
    uint64_t cut_chance; // one tick in so many; 0: none
    bool quiet;          // hands nothing over before `handed`, as a replay

    uint64_t weighted; // samples of clicks with a weight
    struct handed *handed;
    size_t handed_count, handed_capacity, cursor;
    struct base_buffer text;
};

// What all streams together have shown.
struct proof {
    uint64_t crashes, restarts, raises, dead, future, late, again, torn, weighted;
};

static uint64_t draw(struct story *story, uint64_t below)
{
    return base_random_bits(story->seed, story->draws++) % below;
}

// ---- the disk ----

static int story_write(struct base_disk *disk, int fd, const char *path, struct base_span bytes,
                       uint64_t offset)
{
    struct story *story = (struct story *)((char *)disk - offsetof(struct story, disk));
    bool torn = story->tear < bytes.size;
    bytes.size = torn ? story->tear : bytes.size;
    int status = base_disk_system.operations->write(NULL, fd, path, bytes, offset);
    return torn ? 5 : status;
}

// ---- the sink ----

static void story_save(struct story *story)
{
    struct base_sync *sync = base_sync_new(NULL);
    struct cut *cut = &story->cut;
    struct base_buffer state = {0};
    struct base_error *error = &story->world.error;
    base_buffer_append(&state, "before", 6);
    cr_assert_eq(consumer_ingest_save(story->world.ingest, ++story->cuts, &state, sync, error), 0, "%s",
                 error->text);
    cr_assert_eq(base_sync_run(sync, error), 0);
    base_sync_free(sync);
    base_buffer_clear(&cut->state);
    base_buffer_append(&cut->state, state.data + 6, state.size - 6);
    base_buffer_free(&state);
    cut->number = story->cuts;
    cut->handed = story->cursor;
    consumer_ingest_cut_done(story->world.ingest, cut->number);
}

// What was handed over before has to be the same; what was not is remembered.
static int story_tick(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                      struct base_error *error)
{
    (void)error;
    struct story *story = context;
    struct handed handed = {tick, story->text.size, 0};
    for (size_t i = 0; i < count; i++) {
        char line[240];
        const struct base_sample *sample = &samples[i];
        int size = snprintf(line, sizeof line, "%" PRId64 " %u %" PRIu64 " %s %.*s %d*%a %a %a\n",
                            sample->due_time, sample->lane, sample->sequence, base_kind_name(sample->kind),
                            (int)sample->impression_id.size, (const char *)sample->impression_id.data,
                            sample->weighted, (double)sample->impression_weight, (double)sample->weight[0],
                            (double)sample->weight[1]);
        // The impression's event time is its weight.
        float weight = sample->weighted ? (float)sample->event_time : 1;
        bool weighs = sample->weighted == (story->world.weight != NULL) &&
                      base_sample_impression_weight(sample) == weight;
        for (uint32_t k = 0; k < 2; k++) {
            weighs = weighs && sample->weight[k] == (sample->mask >> k & 1 ? weight : 0);
        }
        cr_assert(weighs, "stream %" PRIu64 ": %.*s", story->seed, size, line);
        story->weighted += weighs && sample->weighted && sample->kind != BASE_N0;
        base_buffer_append(&story->text, line, (size_t)size);
    }
    handed.end = story->text.size;
    if (story->cursor < story->handed_count) {
        const struct handed *before = &story->handed[story->cursor];
        size_t size = handed.end - handed.begin;
        cr_assert(before->tick == tick && before->end - before->begin == size &&
                      (size == 0 ||
                       memcmp(story->text.data + before->begin, story->text.data + handed.begin, size) == 0),
                  "stream %" PRIu64 ": tick %lld was handed over as %lld\n%.*s---\n%.*s", story->seed,
                  (long long)tick, (long long)before->tick, (int)(before->end - before->begin),
                  (const char *)story->text.data + before->begin, (int)size,
                  (const char *)story->text.data + handed.begin);
        story->text.size = handed.begin;
    } else {
        cr_assert_not(story->quiet, "stream %" PRIu64 ": a replay hands over tick %lld too", story->seed,
                      (long long)tick);
        if (story->handed_count == story->handed_capacity) {
            story->handed_capacity = story->handed_capacity ? 2 * story->handed_capacity : 64;
            story->handed = base_realloc(story->handed, story->handed_capacity * sizeof *story->handed);
        }
        story->handed[story->handed_count++] = handed;
    }
    story->cursor++;
    if (story->cut_chance && draw(story, story->cut_chance) == 0) {
        story_save(story);
    }
    return 0;
}

// ---- content ----

static void story_spoil(struct story *story)
{
    struct base_buffer buffer = {0};
    for (uint64_t count = draw(story, 12); count > 0; count--) {
        uint32_t rank = (uint32_t)draw(story, WORLD_RANKS);
        uint32_t lane = (uint32_t)draw(story, story->world.source.lanes);
        uint32_t index = (uint32_t)draw(story, story->world.partitions[rank][lane].count + 1);
        base_buffer_clear(&buffer);
        int64_t timestamp = (int64_t)draw(story, 200);
        if (draw(story, 2)) {
            world_encode(&buffer, rank, "far", timestamp + FUTURE_MS + 1, "none");
        } else {
            base_buffer_u8(&buffer, 5);
        }
        world_insert(&story->world, rank, lane, index, timestamp, base_buffer_span(&buffer));
    }
    base_buffer_free(&buffer);
}

static void story_begin(struct story *story, uint64_t seed)
{
    *story = (struct story){.seed = seed, .tear = SIZE_MAX};
    struct world *world = &story->world;
    world_begin(world, 1 + (uint32_t)draw(story, 3));
    world->bounded = false;
    world->weight = draw(story, 2) ? "time" : NULL; // before 1970: dead
    world->lazy = seed;
    world->fetch = 1 + (int)draw(story, 30);
    world_populate(world, seed, 5 + (int)draw(story, 40), (int64_t)draw(story, 25));
    story_spoil(story);
    story->operations = *base_disk_system.operations;
    story->operations.write = story_write;
    story->disk.operations = &story->operations;
    snprintf(story->journal_directory, sizeof story->journal_directory, "%s/journal", world->directory);
    snprintf(story->lanes, sizeof story->lanes, "%s/lanes", world->directory);
    snprintf(story->letters, sizeof story->letters, "%s/letters", world->directory);
    story->journal_config = (struct consumer_journal_config){
        .directory = story->journal_directory,
        .disk = &story->disk,
        .ranks = WORLD_RANKS,
        .lanes = world->source.lanes,
        .topics = {"impressions", "clicks", "purchases"},
        .file_bytes = 200 + draw(story, 2000),
    };
    world->config.directory = story->lanes;
    world->config.idle_timeout_ms = 30;
    world->config.future_ms = FUTURE_MS;
    world->config.read_ahead_ms = (int64_t)draw(story, 200);
    world->config.keep_dropped = true;
    world->sink = (struct consumer_ingest_sink){.tick = story_tick, .context = story};
    world_open_decoders(world);
}

static void story_end(struct story *story)
{
    world_end(&story->world);
    base_buffer_free(&story->cut.state);
    base_buffer_free(&story->text);
    free(story->handed);
}

// ---- a life ----

static void story_open(struct story *story, bool read_only)
{
    struct world *world = &story->world;
    struct consumer_ingest_config *config = &world->config;
    struct base_error *error = &world->error;
    struct consumer_ingest_saved saved = {0};
    struct base_span state = story->cut.number ? base_buffer_span(&story->cut.state) : (struct base_span){0};
    if (state.data) {
        cr_assert_eq(consumer_ingest_saved(state, &saved, error), 0, "%s", error->text);
    }
    config->journal = consumer_journal_open(&story->journal_config, saved.journal, read_only, error);
    cr_assert(config->journal, "%s", error->text);
    config->deadletter = read_only ? NULL : consumer_deadletter_new(story->letters, 1 << 20, error);
    static int64_t offsets[CONSUMER_TOPICS_MAX * CONSUMER_LANES_MAX];
    uint32_t lanes = 0;
    if (state.data) {
        cr_assert_eq(consumer_ingest_offsets(state, config->journal, WORLD_RANKS, &lanes, offsets, error), 0);
        cr_assert_eq(lanes, world->source.lanes);
    }
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        for (uint32_t lane = 0; lane < world->source.lanes; lane++) {
            world->partitions[rank][lane].delivered = state.data ? (uint32_t)offsets[rank * lanes + lane] : 0;
        }
    }
    config->restore = state;
    config->source = &world->source;
    world->ingest = consumer_ingest_new(config, error);
    cr_assert(world->ingest, "stream %" PRIu64 ": %s", story->seed, error->text);
    story->cursor = story->cut.number ? story->cut.handed : 0;
}

static void story_close(struct story *story)
{
    struct consumer_ingest_config *config = &story->world.config;
    consumer_ingest_free(story->world.ingest);
    story->world.ingest = NULL;
    consumer_journal_free(config->journal);
    consumer_deadletter_free(config->deadletter);
    config->journal = NULL;
    config->deadletter = NULL;
}

static void story_step(struct story *story)
{
    struct world *world = &story->world;
    if (draw(story, 8) == 0) {
        struct world_partition *partition =
            &world->partitions[draw(story, WORLD_RANKS)][draw(story, world->source.lanes)];
        partition->stalled = draw(story, 2);
        partition->silent = draw(story, 4) == 0;
    }
    cr_assert_eq(world_step(world, (int)draw(story, 25)), 0, "stream %" PRIu64 ": %s", story->seed,
                 world->error.text);
}

// Part of what the journal has not synced reaches its file, unless all of it does.
static void story_crash(struct story *story, struct proof *proof)
{
    struct consumer_journal *journal = story->world.config.journal;
    struct base_error error;
    if (consumer_journal_dirty(journal) && draw(story, 2)) {
        story->tear = draw(story, consumer_journal_unwritten(journal) + 1);
        proof->torn += consumer_journal_sync(journal, &error) != 0;
        story->tear = SIZE_MAX;
    }
    story_close(story);
    proof->crashes++;
}

// Everything is visible and read, and everybody is idle.
static bool story_is_quiet(struct story *story)
{
    struct consumer_ingest_state state = world_state(&story->world);
    bool quiet = state.lag == 0 && state.idle == WORLD_RANKS * story->world.source.lanes;
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        for (uint32_t lane = 0; lane < story->world.source.lanes; lane++) {
            const struct world_partition *partition = &story->world.partitions[rank][lane];
            quiet = quiet && partition->visible == partition->count;
        }
    }
    return quiet;
}

// Lives until the stream is over; `crashes` of them end before.
static struct consumer_ingest_state story_live(struct story *story, int crashes, struct proof *proof)
{
    story_open(story, false);
    // Until it has been quiet for longer than any window.
    for (int step = 0, quiet = 0; quiet < QUIET_STEPS; step++) {
        cr_assert(step < STEPS_MAX, "stream %" PRIu64 " ends", story->seed);
        if (step > STEPS_MAX / 2) { // no more outages
            for (uint32_t i = 0; i < WORLD_RANKS * story->world.source.lanes; i++) {
                struct world_partition *partition =
                    &story->world.partitions[i % WORLD_RANKS][i / WORLD_RANKS];
                partition->stalled = partition->silent = false;
            }
            cr_assert_eq(world_step(&story->world, 10), 0);
        } else {
            story_step(story);
        }
        quiet = story_is_quiet(story) ? quiet + 1 : 0;
        if (crashes > 0 && draw(story, 40) == 0) {
            crashes--;
            story_crash(story, proof);
            proof->restarts += story->cut.number != 0;
            proof->again += story->handed_count - (story->cut.number ? story->cut.handed : 0);
            story_open(story, false);
            quiet = 0;
        }
    }
    struct consumer_ingest_state state = world_state(&story->world);
    cr_assert_eq(consumer_journal_sync(story->world.config.journal, &story->world.error), 0);
    story_close(story);
    return state;
}

// From the beginning, obeying the journal, as it is read otherwise. Its counters are the live ones.
static void story_replay(struct story *story, const struct consumer_ingest_state *live)
{
    struct world *world = &story->world;
    story->cut.number = 0;
    story->cut_chance = 0;
    story->quiet = true;
    world->bounded = true;
    world->fetch = 1 + (int)draw(story, 30);
    world->config.idle_timeout_ms = 0;
    world->config.read_ahead_ms = (int64_t)draw(story, 200);
    for (uint32_t i = 0; i < WORLD_RANKS * world->source.lanes; i++) {
        world->partitions[i % WORLD_RANKS][i / WORLD_RANKS].stalled = false;
    }
    story_open(story, true);
    world_run(world);
    cr_assert_eq(story->cursor, story->handed_count, "stream %" PRIu64 ": %zu ticks of %zu", story->seed,
                 story->cursor, story->handed_count);
    struct consumer_ingest_state state = world_state(world);
    cr_assert_eq(state.watermark, live->watermark);
    cr_assert_eq(state.counts.events, live->counts.events, "stream %" PRIu64, story->seed);
    cr_assert_eq(state.counts.dead, live->counts.dead, "stream %" PRIu64 ": %" PRIu64 " %" PRIu64,
                 story->seed, state.counts.dead, live->counts.dead);
    cr_assert_eq(state.counts.future, live->counts.future);
    cr_assert_eq(state.counts.samples, live->counts.samples, "stream %" PRIu64 ": %" PRIu64 " %" PRIu64,
                 story->seed, state.counts.samples, live->counts.samples);
    cr_assert_eq(state.counts.ticks, live->counts.ticks);
    cr_assert_eq(memcmp(&state.counters, &live->counters, sizeof state.counters), 0, "stream %" PRIu64,
                 story->seed);
    story_close(story);
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

Test(consumer_restart_property, what_was_handed_over_stays, .timeout = 36000)
{
#ifdef FRESHET_SANITIZED
    uint64_t streams = setting("FRESHET_STREAMS", SANITIZED_STREAMS_DEFAULT) / 10;
#else
    uint64_t streams = setting("FRESHET_STREAMS", STREAMS_DEFAULT) / 10;
#endif
    uint64_t first = setting("FRESHET_SEED", 1);
    streams = streams ? streams : 1;
    struct proof proof = {0};
    struct story *story = base_alloc(sizeof *story);
    for (uint64_t seed = first; seed < first + streams; seed++) {
        story_begin(story, seed);
        story->cut_chance = draw(story, 3) ? 1 + draw(story, 20) : 0;
        int crashes = draw(story, 4) ? (int)draw(story, 8) : 0; // none: undisturbed
        struct consumer_ingest_state live = story_live(story, crashes, &proof);
        story_replay(story, &live);
        proof.raises += live.counts.raises;
        proof.dead += live.counts.dead;
        proof.future += live.counts.future;
        proof.late += live.counters.late[0] + live.counters.late[1] + live.counters.late[2];
        proof.weighted += story->weighted;
        story_end(story);
    }
    free(story);
    cr_log_info("%" PRIu64 " crashes, %" PRIu64 " from a cut, %" PRIu64 " ticks again, %" PRIu64
                " torn, %" PRIu64 " raises, %" PRIu64 " dead, %" PRIu64 " future, %" PRIu64 " late",
                proof.crashes, proof.restarts, proof.again, proof.torn, proof.raises, proof.dead,
                proof.future, proof.late);
    if (streams >= 40) { // or the streams prove nothing
        cr_assert(proof.crashes > streams && proof.restarts > streams / 4 && proof.again > streams &&
                  proof.raises > streams && proof.dead > streams && proof.future > streams / 2 &&
                  proof.late > streams && proof.weighted > streams);
    }
}
