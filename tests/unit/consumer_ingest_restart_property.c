// Restarts, as a property: whatever ingest has handed over once, it hands over again after a crash, and so
// does a replay of the whole journal.
//
// A stream is a random content (late, undecodable and future records) that becomes visible bit by bit, with
// partitions that stand still long enough to be idle. It is read by a sequence of lives. A life begins at the
// last durable cut, or afresh; it crashes at a random step: all that is left is its files, with a random part
// of what the journal had not yet synced. At the end a replay from the beginning, without idleness, obeys the
// journal.
//
// A growth changes columns and actions at one of the crashes: from the cut that it goes on from, all later
// lives have to hand over what the first of them did, whatever else crashes.
//
// FRESHET_STREAMS=n: how many streams are wanted of all properties; one in ten is enough here (default 4,000,
// so 400). FRESHET_SEED=s: the first stream's number.
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
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

struct proof;

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

    bool grows;                           // at the next crash with a cut
    bool grown;                           // once
    struct consumer_decoder *impressions; // with columns
    struct proof *proof;

    struct handed *handed;
    size_t handed_count, handed_capacity, cursor;
    struct base_buffer text;
};

// What all streams together have shown.
struct proof {
    uint64_t crashes, restarts, raises, dead, future, late, again, torn, weighted;
    uint64_t grown, before_first, favourites, unheard, old, fresh; // samples of old and new impressions
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

// ---- growth ----

// Column "id" goes on at another place; "again" and the number are new; "odd" is no more.
static const struct consumer_column small_categorical[] = {{"odd", "id"}, {"id", "id"}};
static const struct consumer_column large_categorical[] = {{"again", "id"}, {"id", "id"}};
static const struct consumer_column large_numeric[] = {{"time", "time"}};
static const char *const small_names[] = {"odd", "id"}, *const large_names[] = {"again", "id"},
                         *const large_numbers[] = {"time"};
static const struct consumer_generations_columns small_columns = {{2, 0}, small_names, NULL},
                                                 large_columns = {{2, 1}, large_names, large_numbers};

static void story_set_columns(struct story *story)
{
    struct world *world = &story->world;
    const struct consumer_decoder_config config = {
        .topic = "impressions",
        .framing = CONSUMER_FRAMING_BARE,
        .event_time = "time",
        .impression_id = "id",
        .categorical = story->grown ? large_categorical : small_categorical,
        .numeric = large_numeric,
        .layout = story->grown ? large_columns.layout : small_columns.layout,
    };
    consumer_decoder_free(story->impressions);
    story->impressions = consumer_decoder_new(&config, NULL, &world->error);
    cr_assert(story->impressions, "%s", world->error.text);
    world->config.decoders[0] = story->impressions;
    uint32_t ranks = story->grown ? 3 : 2;
    world->source.ranks = world->config.lane.ranks = story->journal_config.ranks = ranks;
}

// Before: impressions and clicks. After: other columns, and the third topic is a side action's.
static void story_grow(struct story *story, struct proof *proof)
{
    story->grown = true;
    story->handed_count = story->cut.handed; // what came after was of the old configuration
    story->text.size = story->handed_count ? story->handed[story->handed_count - 1].end : 0;
    story_set_columns(story);
    proof->grown++;
}

// What a sample of the grown configuration says, and of which generation it is.
static void story_look(struct proof *proof, const struct base_sample *sample)
{
    struct base_columns columns;
    cr_assert(base_columns_view(sample->columns, large_columns.layout, &columns));
    uint64_t key = columns.keys[columns.total - 1]; // of "id", which every impression has
    cr_assert_eq(columns.count[1], 1);
    cr_assert_eq(key, base_hash_slot_bytes(base_hash_slot_salt("id"), sample->impression_id));
    if (columns.count[0]) {
        cr_assert(columns.count[0] == 1 && columns.numeric[0] == (double)sample->event_time);
        proof->fresh++;
        proof->favourites += sample->mask >> 1 & sample->label[1];
    } else {
        cr_assert(isnan(columns.numeric[0]));
        cr_assert_eq(sample->mask >> 1, 0, "an old impression knows no favourites");
        proof->old++;
    }
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
        char line[300];
        const struct base_sample *sample = &samples[i];
        uint64_t columns = sample->columns.size ? base_hash_bytes(sample->columns, 0) : 0;
        int size = snprintf(
            line, sizeof line, "%" PRId64 " %u %" PRIu64 " %s %.*s %d*%a %a %a %u %u%u %" PRIx64 "\n",
            sample->due_time, sample->lane, sample->sequence, base_kind_name(sample->kind),
            (int)sample->impression_id.size, (const char *)sample->impression_id.data, sample->weighted,
            (double)sample->impression_weight, (double)sample->weight[0], (double)sample->weight[1],
            sample->mask, sample->label[0], sample->label[1], columns);
        // The impression's event time is its weight.
        float weight = sample->weighted ? (float)sample->event_time : 1;
        bool weighs = sample->weighted == (story->world.weight != NULL) &&
                      base_sample_impression_weight(sample) == weight;
        for (uint32_t k = 0; k < 2; k++) {
            weighs = weighs && sample->weight[k] == (sample->mask >> k & 1 ? weight : 0);
        }
        cr_assert(weighs, "stream %" PRIu64 ": %.*s", story->seed, size, line);
        story->weighted += weighs && sample->weighted && sample->kind != BASE_N0;
        if (story->grown) {
            story_look(story->proof, sample);
        }
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

static void story_begin(struct story *story, uint64_t seed, struct proof *proof, bool grows)
{
    *story = (struct story){.seed = seed, .tear = SIZE_MAX, .proof = proof, .grows = grows};
    struct world *world = &story->world;
    world_begin(world, 1 + (uint32_t)draw(story, 3));
    world->bounded = false;
    world->weight = !grows && draw(story, 2) ? "time" : NULL; // before 1970: dead
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
    if (grows) {
        world->config.lane.action[2] =
            (struct consumer_action_config){.name = "favourite", .side = true, .wait = 15, .window = 100};
        story_set_columns(story);
    }
    world_open_decoders(world);
}

static void story_end(struct story *story)
{
    consumer_decoder_free(story->impressions);
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
    uint32_t ranks = world->source.ranks;
    static int64_t offsets[CONSUMER_TOPICS_MAX * CONSUMER_LANES_MAX];
    uint32_t lanes = 0;
    if (state.data) {
        cr_assert_eq(consumer_ingest_offsets(state, config->journal, ranks, &lanes, offsets, error), 0);
        cr_assert_eq(lanes, world->source.lanes);
    }
    for (uint32_t rank = 0; rank < ranks; rank++) {
        for (uint32_t lane = 0; lane < world->source.lanes; lane++) {
            int64_t offset = state.data ? offsets[rank * lanes + lane] : 0;
            world->partitions[rank][lane].delivered = offset >= 0 ? (uint32_t)offset : 0; // of a new topic
        }
    }
    config->columns = !story->grows ? NULL : story->grown ? &large_columns : &small_columns;
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
    uint32_t ranks = story->world.source.ranks;
    bool quiet = state.lag == 0 && state.idle == ranks * story->world.source.lanes;
    for (uint32_t rank = 0; rank < ranks; rank++) {
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
    uint64_t grown_at = 0; // the cut that the growth went on from
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
            if (story->grows && !story->grown && story->cut.number) {
                story_grow(story, proof);
                grown_at = story->cut.number;
            } else {
                proof->before_first += story->grown && story->cut.number == grown_at;
            }
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

// A stream is lived through several times, so a tenth of the other properties' number.
static uint64_t streams_wanted(void)
{
#ifdef FRESHET_SANITIZED
    uint64_t streams = setting("FRESHET_STREAMS", SANITIZED_STREAMS_DEFAULT) / 10;
#else
    uint64_t streams = setting("FRESHET_STREAMS", STREAMS_DEFAULT) / 10;
#endif
    return streams ? streams : 1;
}

Test(consumer_restart_property, what_was_handed_over_stays, .timeout = 36000)
{
    uint64_t first = setting("FRESHET_SEED", 1), streams = streams_wanted();
    struct proof proof = {0};
    struct story *story = base_alloc(sizeof *story);
    for (uint64_t seed = first; seed < first + streams; seed++) {
        story_begin(story, seed, &proof, false);
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

// The first of the lives with more columns and a further action says what all of them hand over.
Test(consumer_restart_property, what_has_grown_goes_on_from_its_cut, .timeout = 36000)
{
    uint64_t first = setting("FRESHET_SEED", 1), streams = streams_wanted();
    struct proof proof = {0};
    struct story *story = base_alloc(sizeof *story);
    for (uint64_t seed = first; seed < first + streams; seed++) {
        story_begin(story, seed, &proof, true);
        story->cut_chance = 1 + draw(story, 20);
        struct consumer_ingest_state live = story_live(story, 1 + (int)draw(story, 10), &proof);
        proof.unheard += story->grown ? live.counters.beyond[2] : 0;
        // Also what the new topic held from before the growth was handled, and late.
        uint64_t handled = live.counters.events[0] + live.counters.events[1] + live.counters.events[2];
        cr_assert_eq(handled, live.counts.events, "stream %" PRIu64 ": %" PRIu64 " of %" PRIu64, seed,
                     handled, live.counts.events);
        proof.raises += live.counts.raises;
        story_end(story);
    }
    free(story);
    cr_log_info("%" PRIu64 " grew; %" PRIu64 " crashes, %" PRIu64
                " of them from the cut of the growth, %" PRIu64
                " ticks again; samples of old impressions %" PRIu64 ", of new ones %" PRIu64
                ", favourites %" PRIu64 ", not heard or beyond %" PRIu64,
                proof.grown, proof.crashes, proof.before_first, proof.again, proof.old, proof.fresh,
                proof.favourites, proof.unheard);
    if (streams >= 40) {
        cr_assert(proof.grown > streams / 4 && proof.before_first > streams / 20 && proof.again > streams &&
                  proof.old > streams && proof.fresh > streams && proof.favourites > streams / 4 &&
                  proof.unheard > streams / 4);
    }
}
