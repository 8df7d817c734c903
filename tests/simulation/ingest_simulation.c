// simulate_ingest: the consumer's half of the daemon by a seed: real decoders, lanes, joiner, ingest,
// decision journal and saved states over the simulated log, disk and clock.
//
//   simulate_ingest [--seeds N] [--from S] [--ticks N] [--verbose]
//
// A seed is one story: a log that arrives, and the lives of a daemon that reads it. A life ends by kill -9,
// by a power cut, by an error of the disk, or where the disk says "here", in the middle of an operation. The
// next one begins at the last cut, or afresh. A cut is made as the daemon makes it: the state is saved at the
// end of a tick, synced some steps later, recorded (a database does that in one atomic, synced write), then
// told.
//
// Checked: a tick that was handed over is handed over again with the same samples, bit by bit, in every later
// life; the last life ends with everything read; a replay of the whole log from nothing, which obeys the
// journal, hands over the same ticks. A seed that fails is printed, and fails again alone.
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "consumer/ingest.h"
#include "consumer/journal.h"
#include "simulation/sim_disk.h"
#include "simulation/sim_log.h"
#include "simulation/sim_options.h"

enum { RANKS = SIM_LOG_RANKS, PATH_BYTES = 256, STEPS_MAX = 200000, LIVES_MAX = 40 };

struct handed { // a tick
    int64_t tick;
    uint64_t hash; // of its samples
    uint64_t count;
};

struct cut {
    uint64_t number; // 0: none
    struct base_buffer state;
    size_t handed; // ticks handed over by then
};

struct story {
    uint64_t seed, ticks;
    struct sim_random random;
    struct sim_faults faults;
    struct sim_clock clock;
    struct sim_disk *disk;
    struct sim_log *log;
    struct sim_log_config log_config;
    struct consumer_decoder *decoders[RANKS];
    struct consumer_ingest_config config;
    struct consumer_journal_config journal_config;
    char lanes[PATH_BYTES], journal[PATH_BYTES];
    uint64_t cut_every; // ticks, about

    // Of the present life.
    struct consumer_source *source;
    struct consumer_ingest *ingest;
    bool replay; // the last one: nothing new may come
    size_t cursor;
    uint64_t disk_faults;   // before it
    struct cut saved;       // not durable yet
    struct base_sync *sync; // what it still needs; NULL: nothing is under way

    struct cut cut; // the last that is recorded
    uint64_t cuts;  // numbers given
    struct handed *handed;
    size_t handed_count, handed_capacity;

    uint64_t lives, kills, power_cuts, deaths, restores, again, samples;
};

static void fail(const struct story *story, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
static void fail(const struct story *story, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("seed %" PRIu64 " FAILS in life %" PRIu64 ": ", story->seed, story->lives);
    vprintf(format, arguments);
    printf("\n  again: simulate_ingest --from %" PRIu64 " --seeds 1 --ticks %" PRIu64 "\n", story->seed,
           story->ticks);
    va_end(arguments);
    sim_faults_print(&story->faults, stdout);
    exit(1);
}

// ---- the sink ----

static uint64_t sample_hash(const struct base_sample *sample, uint64_t hash)
{
    struct {
        int64_t times[2];
        uint64_t sequence;
        uint32_t lane;
        uint8_t marks[4], label[BASE_TASKS_MAX];
        float weight[BASE_TASKS_MAX], value[BASE_TASKS_MAX], impression_weight;
    } fixed;
    memset(&fixed, 0, sizeof fixed);
    fixed.times[0] = sample->due_time;
    fixed.times[1] = sample->event_time;
    fixed.sequence = sample->sequence;
    fixed.lane = sample->lane;
    fixed.marks[0] = sample->kind;
    fixed.marks[1] = sample->mask;
    fixed.marks[2] = sample->trains;
    fixed.marks[3] = sample->task;
    memcpy(fixed.label, sample->label, sizeof fixed.label);
    memcpy(fixed.weight, sample->weight, sizeof fixed.weight);
    memcpy(fixed.value, sample->value, sizeof fixed.value);
    fixed.impression_weight = base_sample_impression_weight(sample);
    hash = base_hash_bytes(base_span_make(&fixed, sizeof fixed), hash);
    hash = base_hash_bytes(sample->impression_id, hash);
    return sample->columns.data ? base_hash_bytes(sample->columns, hash) : hash;
}

static int story_save(struct story *story, struct base_error *error)
{
    story->sync = base_sync_new(sim_disk_base(story->disk));
    base_buffer_clear(&story->saved.state);
    story->saved.number = ++story->cuts;
    story->saved.handed = story->cursor;
    return consumer_ingest_save(story->ingest, story->saved.number, &story->saved.state, story->sync, error);
}

static int story_tick(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                      struct base_error *error)
{
    struct story *story = context;
    struct handed handed = {tick, 0, count};
    for (size_t i = 0; i < count; i++) {
        handed.hash = sample_hash(&samples[i], handed.hash);
    }
    if (story->cursor < story->handed_count) {
        const struct handed *before = &story->handed[story->cursor];
        if (before->tick != tick || before->hash != handed.hash || before->count != count) {
            fail(story,
                 "what was tick %" PRId64 " with %" PRIu64 " samples (%016" PRIx64 ") is now tick %" PRId64
                 " with %zu (%016" PRIx64 ")",
                 before->tick, before->count, before->hash, tick, count, handed.hash);
        }
        story->again++;
    } else if (story->replay) {
        fail(story, "the replay hands over tick %" PRId64 ", which never was", tick);
    } else {
        if (story->handed_count == story->handed_capacity) {
            story->handed_capacity = story->handed_capacity ? 2 * story->handed_capacity : 256;
            story->handed = base_realloc(story->handed, story->handed_capacity * sizeof *story->handed);
        }
        story->handed[story->handed_count++] = handed;
        story->samples += count;
    }
    story->cursor++;
    if (!story->replay && !story->sync && sim_random_below(&story->random, story->cut_every) == 0) {
        return story_save(story, error);
    }
    return 0;
}

// ---- the world ----

static void story_decoders(struct story *story)
{
    static const struct consumer_column categorical[] = {{"user", "user_id"}, {"brand", "categorical.brand"}};
    static const struct consumer_column numeric[] = {{"price", "numeric.price"}};
    static const char *const topics[RANKS] = {"impressions", "clicks", "purchases", "watches"};
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        struct consumer_decoder_config config = {
            .topic = topics[rank],
            .rank = rank,
            .framing = CONSUMER_FRAMING_BARE,
            .event_time = "event_time",
            .event_id = rank ? "event_id" : NULL,
            .impression_id = "impression_id",
            .value = rank ? "value" : NULL,
        };
        if (rank == 0) {
            config.categorical = categorical;
            config.numeric = numeric;
            config.layout = (struct base_columns_layout){2, 1};
            config.weight = story->seed % 2 ? "numeric.price" : NULL;
        }
        struct base_error error;
        story->decoders[rank] = consumer_decoder_new(&config, NULL, &error);
        if (!story->decoders[rank]) {
            fail(story, "%s", error.text);
        }
        story->config.decoders[rank] = story->decoders[rank];
        story->config.topics[rank] = story->journal_config.topics[rank] = topics[rank];
    }
}

// Times and sizes, drawn: small ones, so that everything happens often.
static void story_settings(struct story *story, uint64_t ticks)
{
    struct sim_random random = sim_random_make(story->seed, "settings");
    int64_t tick_ms = sim_random_between(&random, 50, 500);
    int64_t span_ms = tick_ms * (int64_t)ticks;
    sim_log_config_draw(&story->log_config, story->seed, (uint32_t)ticks * 2, span_ms);
    struct consumer_lane_config *lane = &story->config.lane;
    lane->ranks = RANKS;
    for (uint32_t rank = 1; rank < RANKS; rank++) {
        static const char *const names[RANKS] = {NULL, "click", "purchase", "watch"};
        lane->action[rank].name = names[rank];
        lane->action[rank].side = rank == SIM_LOG_WATCH;
        lane->action[rank].parent = rank == SIM_LOG_WATCH ? 0 : rank - 1;
        lane->action[rank].window = sim_random_between(&random, 1, span_ms / 8);
        lane->action[rank].wait = sim_random_between(&random, 0, lane->action[rank].window);
    }
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        lane->allowed_lateness[rank] = sim_random_between(&random, 0, 1000);
        lane->dedupe[rank] = sim_random_between(&random, 1, span_ms / 8);
    }
    lane->orphan_timeout = sim_random_between(&random, 0, span_ms / 8);
    lane->orphan_max = sim_random_bits(&random) & 1 ? 0 : 1 + sim_random_below(&random, 20);
    lane->keep_negatives = sim_random_bits(&random) & 1 ? 1 : 0.5;
    lane->weighs_negatives = story->seed % 3 == 0;
    lane->segment_bytes = (uint64_t)4096 << sim_random_below(&random, 4);
    lane->train_final = sim_random_bits(&random) & 1;
    story->config.tick_ms = tick_ms;
    story->config.idle_timeout_ms = sim_random_between(&random, 10, 3000);
    story->config.future_ms = 86400000;
    story->config.read_ahead_ms = sim_random_between(&random, 0, 20 * tick_ms);
    story->config.last_tick = INT64_MAX;
    story->config.keep_dropped = true;
    story->config.clock = &story->clock.clock;
    story->config.disk = sim_disk_base(story->disk);
    story->journal_config.disk = sim_disk_base(story->disk);
    story->journal_config.ranks = RANKS;
    story->journal_config.lanes = story->log_config.lanes;
    story->journal_config.file_bytes = 200 + sim_random_below(&random, 4000);
    story->cut_every = 1 + sim_random_below(&random, 40);
}

static void story_begin(struct story *story, uint64_t seed, uint64_t ticks)
{
    *story = (struct story){.seed = seed, .ticks = ticks, .random = sim_random_make(seed, "story")};
    sim_faults_init(&story->faults, seed);
    story->disk = sim_disk_new(&story->faults);
    story_settings(story, ticks);
    sim_clock_init(&story->clock, story->log_config.start_wall_ms);
    story->log = sim_log_new(&story->log_config, seed, &story->clock, &story->faults);
    snprintf(story->lanes, sizeof story->lanes, "%s/lanes", sim_disk_directory(story->disk));
    snprintf(story->journal, sizeof story->journal, "%s/journal", sim_disk_directory(story->disk));
    story->config.directory = story->lanes;
    story->journal_config.directory = story->journal;
    story_decoders(story);
    sim_faults_rate(&story->faults, "kill", 0.002); // of each step
    sim_faults_rate(&story->faults, "power", 0.001);
    sim_faults_rate(&story->faults, "clock.step", 0.01);
}

static void story_end(struct story *story)
{
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        consumer_decoder_free(story->decoders[rank]);
    }
    sim_log_free(story->log);
    sim_disk_free(story->disk);
    base_buffer_free(&story->saved.state);
    base_buffer_free(&story->cut.state);
    free(story->handed);
}

// ---- lives ----

// Faults of the disk so far.
static uint64_t story_disk_faults(const struct story *story)
{
    uint64_t fired = 0;
    for (uint32_t i = 0; i < story->faults.count; i++) {
        const struct sim_site *site = &story->faults.sites[i];
        fired += strncmp(site->name, "disk.", 5) == 0 ? site->fired : 0;
    }
    return fired;
}

// False: the process could not start; it will be tried again.
static bool life_begin(struct story *story, bool bounded, struct base_error *error)
{
    struct consumer_ingest_saved saved = {0};
    struct base_span state = story->cut.number ? base_buffer_span(&story->cut.state) : (struct base_span){0};
    static int64_t offsets[CONSUMER_TOPICS_MAX * CONSUMER_LANES_MAX];
    uint32_t lanes = 0;
    story->lives++;
    story->disk_faults = story_disk_faults(story);
    story->cursor = story->cut.handed;
    story->restores += story->cut.number > 0;
    if (state.data && consumer_ingest_saved(state, &saved, error)) {
        fail(story, "the saved state: %s", error->text);
    }
    if (base_disk_make_directory(sim_disk_base(story->disk), story->lanes, error) ||
        base_disk_sync_directory(sim_disk_base(story->disk), sim_disk_directory(story->disk), error)) {
        return false;
    }
    story->config.journal = consumer_journal_open(&story->journal_config, saved.journal, false, error);
    if (!story->config.journal) {
        return false;
    }
    if (state.data && consumer_ingest_offsets(state, story->config.journal, RANKS, &lanes, offsets, error)) {
        fail(story, "the saved offsets: %s", error->text);
    }
    story->source = sim_log_open(story->log, state.data ? offsets : NULL, bounded);
    story->config.source = story->source;
    story->config.restore = state;
    story->ingest = consumer_ingest_new(&story->config, error);
    return story->ingest != NULL;
}

static void life_close(struct story *story)
{
    consumer_ingest_free(story->ingest);
    story->ingest = NULL;
    if (story->source) {
        story->source->operations->close(story->source);
        story->source = NULL;
    }
    consumer_journal_free(story->config.journal);
    story->config.journal = NULL;
    base_sync_free(story->sync);
    story->sync = NULL;
}

// The cut under way: now and then it is synced and recorded.
static int life_record(struct story *story, struct base_error *error)
{
    if (!story->sync || sim_random_below(&story->random, 10) > 0) {
        return 0;
    }
    if (base_sync_run(story->sync, error)) {
        return -1;
    }
    base_sync_free(story->sync);
    story->sync = NULL;
    struct cut recorded = story->saved;
    story->saved = story->cut;
    story->cut = recorded;
    if (sim_random_below(&story->random, 10) == 0) {
        return 0; // it may die before it could say so
    }
    consumer_ingest_cut_done(story->ingest, story->cut.number);
    return 0;
}

// How a process may end that fails on its own: the disk has failed in this life, was full, or said "here".
static void life_judge(struct story *story, const struct base_error *error)
{
    if (error->code != BASE_EIO || story_disk_faults(story) == story->disk_faults) {
        fail(story, "%s%s", error->fatal ? "(fatal) " : "", error->text);
    }
}

// True if the whole log was read.
static bool story_quiet(struct story *story)
{
    for (uint32_t rank = 0; rank < RANKS; rank++) {
        for (uint32_t lane = 0; lane < story->log_config.lanes; lane++) {
            struct consumer_position position;
            story->source->operations->position(story->source, rank, lane, &position);
            if (position.next < sim_log_end(story->log, rank, lane)) {
                return false;
            }
        }
    }
    return true;
}

// One life. True: the log was read to its end and everybody is idle.
static bool life_run(struct story *story)
{
    struct consumer_ingest_sink sink = {.tick = story_tick, .context = story};
    struct base_error error = {0};
    if (!life_begin(story, false, &error)) {
        life_judge(story, &error);
        return false;
    }
    for (int step = 0, quiet = 0; quiet < 300; step++) {
        if (step > STEPS_MAX) {
            fail(story, "it does not end");
        }
        if (sim_fault(&story->faults, "kill") || sim_fault(&story->faults, "power")) {
            return false;
        }
        if (sim_fault(&story->faults, "clock.step")) {
            sim_clock_step_wall(&story->clock, sim_random_between(&story->random, -3600000, 3600000));
        }
        sim_clock_advance(&story->clock, sim_random_between(&story->random, 0, 50) * 1000000);
        int failed = consumer_ingest_step(story->ingest, (int)sim_random_between(&story->random, 0, 100),
                                          &sink, &error);
        if (failed && !error.retriable) {
            life_judge(story, &error);
            return false;
        }
        if (life_record(story, &error)) {
            life_judge(story, &error);
            return false;
        }
        quiet = story_quiet(story) ? quiet + 1 : 0;
    }
    if (consumer_journal_sync(story->config.journal, &error)) {
        life_judge(story, &error);
        return false;
    }
    return true;
}

// From nothing, all of the log at once, obeying the journal.
static void story_replay(struct story *story)
{
    struct consumer_ingest_sink sink = {.tick = story_tick, .context = story};
    struct base_error error = {0};
    story->faults.quiet = true;
    story->replay = true;
    story->cut.number = 0;
    story->cut.handed = 0;
    story->config.idle_timeout_ms = 0;
    if (!life_begin(story, true, &error)) {
        fail(story, "the replay: %s", error.text);
    }
    for (int step = 0; !consumer_ingest_done(story->ingest); step++) {
        if (step > STEPS_MAX || (consumer_ingest_step(story->ingest, 0, &sink, &error) && !error.retriable)) {
            fail(story, "the replay: %s", step > STEPS_MAX ? "it does not end" : error.text);
        }
    }
    if (story->cursor != story->handed_count) {
        fail(story, "the replay hands over %zu ticks of %zu", story->cursor, story->handed_count);
    }
    life_close(story);
}

static void story_run(struct story *story)
{
    bool over = false;
    for (int life = 0; !over; life++) {
        story->faults.quiet = life >= LIVES_MAX;
        over = life_run(story);
        life_close(story);
        if (over) {
            break;
        }
        story->deaths += sim_disk_dead(story->disk);
        if (sim_random_bits(&story->random) & 1) {
            sim_disk_kill(story->disk);
            story->kills++;
        } else {
            sim_disk_crash(story->disk, &story->random);
            story->power_cuts++;
        }
    }
    const char *stranger = sim_disk_stranger(story->disk);
    if (stranger) {
        fail(story, "%s was not made through the disk", stranger);
    }
    story_replay(story);
}

int main(int argc, char **argv)
{
    struct sim_options options = {.seeds = 100, .from = 1, .ticks = 300};
    sim_options_read(&options, "simulate_ingest", argc, argv);
    struct story sum = {0};
    uint64_t handed = 0;
    for (uint64_t seed = options.from; seed < options.from + options.seeds; seed++) {
        static struct story story;
        story_begin(&story, seed, options.ticks);
        story_run(&story);
        if (options.verbose) {
            printf("seed %" PRIu64 ": %zu ticks, %" PRIu64 " samples, %" PRIu64 " lives, %" PRIu64 " cuts\n",
                   seed, story.handed_count, story.samples, story.lives, story.cuts);
            sim_faults_print(&story.faults, stdout);
        }
        handed += story.handed_count;
        sum.samples += story.samples;
        sum.lives += story.lives;
        sum.kills += story.kills;
        sum.power_cuts += story.power_cuts;
        sum.deaths += story.deaths;
        sum.restores += story.restores;
        sum.again += story.again;
        sum.cuts += story.cuts;
        story_end(&story);
    }
    printf("%" PRIu64 " seeds: %" PRIu64 " ticks handed over, %" PRIu64 " again, %" PRIu64
           " samples; %" PRIu64 " lives, %" PRIu64 " from a cut; %" PRIu64 " kills, %" PRIu64
           " power cuts, %" PRIu64 " of them in an operation of the disk; %" PRIu64 " cuts; 0 differences\n",
           options.seeds, handed, sum.again, sum.samples, sum.lives, sum.restores, sum.kills, sum.power_cuts,
           sum.deaths, sum.cuts);
    return 0;
}
