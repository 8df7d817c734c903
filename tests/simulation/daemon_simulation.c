// simulate: the whole daemon by a seed. The real pipeline on one thread (daemon_pipeline_step) over the
// simulated log, disk, Redis and clock and a database in memory, and a reader of what it publishes.
//
//   simulate [--seeds N] [--from S] [--ticks N] [--verbose]
//
// A seed is one story: a log that arrives, and the lives of a daemon that learns from it. A life ends by
// kill -9, by a power cut, by a failing disk, or where the disk says "here"; the next one goes on from the
// last cut. The last one reads to the end and stops.
//
// Checked: the weights after a tick are the same in all lives, and what readers see of it; a reader holds one
// whole version and never goes back unless Redis lost something; a life fails only when something was done to
// it; and a replay of the whole log from nothing that obeys the journal has at every tick that a reader saw,
// and at the end, the same weights. A seed that fails is printed, and fails again alone.
#include <assert.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "daemon/pipeline.h"
#include "daemon/scratch.h"
#include "daemon/store.h"
#include "publisher/reader.h"
#include "simulation/sim_disk.h"
#include "simulation/sim_log.h"
#include "simulation/sim_options.h"
#include "simulation/sim_publication.h"

enum {
    PATH_BYTES = 256,
    SETTINGS_BYTES = 1024,
    STEPS_MAX = 400000,
    LIVES_MAX = 25,
    QUIET_STEPS = 200,
    TICKS_SEEN_MAX = 1 << 16
};

struct seen {
    int64_t tick;
    uint64_t hash;
    bool published; // without what readers do not get, if there is such a thing
};

struct story;
struct story_disk { // the operations of the simulated disk, but for one
    struct base_disk_operations operations;
    const struct base_disk_operations *simulated;
    const struct story *story;
};

struct story {
    uint64_t seed, ticks;
    struct sim_random random;
    struct sim_faults faults;
    struct sim_clock clock;
    struct sim_disk *disk;
    struct story_disk disk_watch;
    struct sim_log *log;
    struct sim_redis *redis;
    struct sim_log_config log_config;
    struct daemon_store *store;
    struct daemon_config *config;
    char state_dir[PATH_BYTES];
    char journal[PATH_BYTES + 16]; // of state_dir
    char archive[PATH_BYTES];      // what is forgotten of it
    bool unpublished;              // the model has weights that readers do not get

    struct daemon_pipeline *pipeline;
    struct consumer_source *source; // the pipeline's
    bool bounded;
    uint64_t disk_faults; // before the present life

    struct publisher_reader *reader;
    struct publisher_version held;
    struct seen seen[TICKS_SEEN_MAX];
    uint32_t seen_count;

    uint64_t lives, kills, power_cuts, restores, cuts, publications, switches, learned, samples;
};

static void fail(const struct story *story, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
static void fail(const struct story *story, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("seed %" PRIu64 " FAILS in life %" PRIu64 ": ", story->seed, story->lives);
    vprintf(format, arguments);
    printf("\n  again: simulate --from %" PRIu64 " --seeds 1 --ticks %" PRIu64 "\n", story->seed,
           story->ticks);
    va_end(arguments);
    sim_faults_print(&story->faults, stdout);
    exit(1);
}

// ---- the world ----

// How a seed's model is updated: any optimizer for the network and for the rows of each slot, with or without
// schedules, L2 and clipping; a quarter of the seeds has plain SGD. Lines of the model's section.
static void story_optimise(const struct story *story, char text[SETTINGS_BYTES], const char **slot)
{
    static const char *const dense[] = {"sgd", "momentum", "adagrad", "ftrl", "adam"};
    static const char *const rows[] = {"sgd", "momentum", "adagrad", "rowwise_adagrad", "ftrl", "adam"};
    struct sim_random random = sim_random_make(story->seed, "optimizers");
    text[0] = '\0';
    *slot = rows[0];
    if (sim_random_below(&random, 4) == 0) {
        return;
    }
    const char *kind = dense[sim_random_below(&random, sizeof dense / sizeof *dense)];
    const char *kind_rows = rows[sim_random_below(&random, sizeof rows / sizeof *rows)];
    *slot = rows[sim_random_below(&random, sizeof rows / sizeof *rows)];
    bool ftrl_rows = strcmp(kind_rows, "ftrl") == 0 || strcmp(*slot, "ftrl") == 0;
    uint64_t half_life = sim_random_below(&random, 2) * (1 + sim_random_below(&random, 2000));
    snprintf(text, SETTINGS_BYTES,
             "  rate: {dense: 0.01, sparse: 0.05}\n"
             "  optimizer: {dense: {kind: %s}, sparse: {kind: %s, half_life: %" PRIu64 "}}\n"
             "  schedule: {dense: {warmup: %d}, sparse: {half_life: %d, floor: 0.3}}\n"
             "  l2: {dense: %s, sparse: %s}\n"
             "  clip: {dense: %s, sparse: %s}\n",
             kind, kind_rows, half_life, strcmp(kind, "ftrl") == 0 ? 0 : 300, ftrl_rows ? 0 : 900,
             sim_random_below(&random, 2) ? "0.001" : "0", sim_random_below(&random, 2) ? "0.001" : "0",
             sim_random_below(&random, 2) ? "0.3" : "0", sim_random_below(&random, 2) ? "0.3" : "0");
}

// Slots that are more than a column: half of the seeds have a cross, half a position (the item will do as
// one).
static void story_derive(const struct story *story, char text[SETTINGS_BYTES])
{
    struct sim_random random = sim_random_make(story->seed, "derived slots");
    bool cross = sim_random_below(&random, 2), position = sim_random_below(&random, 2);
    int64_t expiry = sim_random_between(&random, 10000, 120000);
    int size = 0;
    text[0] = '\0';
    if (cross) {
        size = snprintf(
            text, SETTINGS_BYTES,
            "  - {name: user_brand, cross: [user, brand], dimension: 8, pooling: mean, admission: %d, "
            "expiry: %" PRId64 "ms}\n",
            1 + (int)sim_random_below(&random, 2), expiry);
    }
    if (position) {
        snprintf(text + size, SETTINGS_BYTES - (size_t)size,
                 "  - {name: place, path: item_id, role: position, serving: i1, expiry: %" PRId64 "ms}\n",
                 expiry);
    }
}

// What a seed's model learns of its actions, all of which bring a value: lines of `actions`, and one of the
// model's section. `weight`: of probabilities; values weigh less, so that no rates let them diverge.
static void story_losses(const struct story *story, int64_t click, int64_t purchase, const char *weight,
                         char text[SETTINGS_BYTES], const char **weighting)
{
    static const char *const watched[] = {"bce", "mse", "poisson"};
    struct sim_random random = sim_random_make(story->seed, "losses");
    const char *loss = watched[sim_random_below(&random, 3)];
    bool ziln = sim_random_bits(&random) & 1;
    bool events = sim_random_bits(&random) & 1 && strcmp(loss, "bce") != 0;
    int64_t watch = sim_random_between(&random, 100, click);
    snprintf(
        text, SETTINGS_BYTES,
        "  - {name: click, topic: clicks, framing: bare, wait: %" PRId64 "ms, window: %" PRId64
        "ms, weight: %s,\n"
        "     fields: {value: value}}\n"
        "  - {name: purchase, topic: purchases, framing: bare, wait: %" PRId64 "ms, window: %" PRId64 "ms,\n"
        "     weight: %s%s, fields: {value: value}, loss: %s}\n"
        "  - {name: watch, topic: watches, framing: bare, wait: %" PRId64 "ms, window: %" PRId64 "ms,\n"
        "     weight: %s%s, fields: {value: value}, side: true, parent: impression, loss: %s%s}\n",
        click / 2, click, weight, purchase / 2, purchase, weight, ziln ? "e-2" : "", ziln ? "ziln" : "bce",
        watch / 2, watch, weight, strcmp(loss, "bce") ? "e-2" : "", loss, events ? ", space: events" : "");
    *weighting = sim_random_below(&random, 3) == 0 ? "uncertainty" : "fixed";
}

static void story_configure(struct story *story)
{
    struct sim_random random = sim_random_make(story->seed, "settings");
    int64_t tick_ms = sim_random_between(&random, 100, 500);
    int64_t span_ms = tick_ms * (int64_t)story->ticks;
    sim_log_config_draw(&story->log_config, story->seed, (uint32_t)story->ticks * 2, span_ms);
    int64_t click = sim_random_between(&random, 1000, span_ms / 8 + 1000);
    int64_t purchase = sim_random_between(&random, 1000, span_ms / 4 + 1000);
    char settings[SETTINGS_BYTES], derived[SETTINGS_BYTES], actions[SETTINGS_BYTES];
    const char *brand, *weighting;
    story_optimise(story, settings, &brand);
    story_derive(story, derived);
    const char *weight = story->seed % 2 ? "0.01" : "1"; // prices go up to 125
    story_losses(story, click, purchase, weight, actions, &weighting);
    story->unpublished = strcmp(weighting, "uncertainty") == 0;
    char text[4096];
    snprintf(text, sizeof text,
             "state_dir: %s\n"
             "source: {kind: files, path: /nowhere}\n"
             "tick: %" PRId64 "ms\n"
             "idle_timeout: %" PRId64 "ms\n"
             "segment: %" PRIu64 "KiB\n"
             "model:\n"
             "  name: test\n"
             "  levels: [{experts: [16], per_task: 1, shared: 1}]\n"
             "  towers: [16]\n"
             "  batch: %" PRIu64 "\n"
             "  weighting: %s\n"
             "%s"
             "keep_negatives: %s\n"
             "negatives_correction: %s\n"
             "impression: {topic: impressions, framing: bare, fields: {weight: %s}}\n"
             "actions:\n"
             "%s"
             "slots:\n"
             "  - {name: user, path: user_id, dimension: 4, expiry: %" PRId64 "ms}\n"
             "  - {name: brand, path: categorical.brand, dimension: 4, admission: %" PRIu64
             ", optimizer: %s}\n"
             "%s"
             "numerics:\n"
             "  - {name: price, path: numeric.price}\n"
             "publish: {interval: 100ms, base_ratio: %s}\n"
             "cuts: {interval: %" PRId64 "ms, share: 1, keep: 0, keep_hours: 0}\n"
             "redis: {socket: /nowhere, timeout: 1s}\n",
             story->state_dir, tick_ms, sim_random_between(&random, 100, 3000),
             UINT64_C(4) << sim_random_below(&random, 5), UINT64_C(16) << sim_random_below(&random, 3),
             weighting, settings, story->seed % 4 ? "1" : "0.5", story->seed % 8 ? "log_odds" : "weight",
             story->seed % 2 ? "numeric.price" : "''", actions, sim_random_between(&random, 60000, 120000),
             1 + sim_random_below(&random, 3), brand, derived, sim_random_bits(&random) & 1 ? "0.33" : "5",
             sim_random_between(&random, 100, 10000));
    struct base_config_problems problems = {0};
    story->config = daemon_config_load_text("simulate.yaml", base_span_string(text), &problems);
    if (!story->config) {
        fail(story, "%s", problems.count ? problems.item[0].text : "no configuration");
    }
}

// The daemon forgets what no cut needs of the journal; the replay from nothing needs all of it.
static void story_archive(const struct story *story, const char *path)
{
    char to[2 * PATH_BYTES];
    struct base_buffer bytes = {0};
    struct base_error error;
    snprintf(to, sizeof to, "%s%s", story->archive, strrchr(path, '/'));
    if (base_disk_read(path, SIZE_MAX, &bytes, &error) ||
        base_disk_replace(NULL, to, base_buffer_span(&bytes), &error)) {
        fail(story, "%s", error.text);
    }
    base_buffer_free(&bytes);
}

static int story_unlink(struct base_disk *disk, const char *path)
{
    const struct story_disk *watch = (const struct story_disk *)disk->operations;
    const char *journal = watch->story->journal;
    if (strncmp(path, journal, strlen(journal)) == 0 && !sim_disk_dead(watch->story->disk)) {
        story_archive(watch->story, path);
    }
    return watch->simulated->unlink(disk, path);
}

static void story_watch_disk(struct story *story)
{
    struct base_disk *disk = sim_disk_base(story->disk);
    story->disk_watch = (struct story_disk){*disk->operations, disk->operations, story};
    story->disk_watch.operations.unlink = story_unlink;
    disk->operations = &story->disk_watch.operations;
}

static void story_begin(struct story *story, uint64_t seed, uint64_t ticks)
{
    *story = (struct story){.seed = seed, .ticks = ticks, .random = sim_random_make(seed, "story")};
    sim_faults_init(&story->faults, seed);
    story->disk = sim_disk_new(&story->faults);
    snprintf(story->state_dir, sizeof story->state_dir, "%s/state", sim_disk_directory(story->disk));
    snprintf(story->journal, sizeof story->journal, "%s/journal", story->state_dir);
    snprintf(story->archive, sizeof story->archive, "%s-archive", sim_disk_directory(story->disk));
    if (mkdir(story->archive, 0700)) {
        fail(story, "cannot make %s", story->archive);
    }
    story_watch_disk(story);
    story_configure(story);
    sim_clock_init(&story->clock, story->log_config.start_wall_ms);
    story->log = sim_log_new(&story->log_config, seed, &story->clock, &story->faults);
    story->redis = sim_redis_new(&story->clock, &story->faults);
    story->store = daemon_store_memory_new();
    sim_faults_rate(&story->faults, "kill", 0.002); // of each step
    sim_faults_rate(&story->faults, "power", 0.001);
    sim_faults_rate(&story->faults, "clock.step", 0.01);
    struct base_error error;
    struct publisher_reader_config reader = {
        .redis = {.transport = sim_redis_transport(story->redis), .timeout_ms = 1000}, .model = "test"};
    story->reader = publisher_reader_new(&reader, &error);
    assert(story->reader);
}

static void story_end(struct story *story)
{
    publisher_reader_free(story->reader);
    daemon_config_free(story->config);
    daemon_store_close(story->store);
    sim_redis_free(story->redis);
    sim_log_free(story->log);
    sim_disk_free(story->disk);
    struct base_error error;
    if (daemon_scratch_remove(story->archive, &error)) {
        fail(story, "%s", error.text);
    }
}

// ---- the reader ----

// What is known of a tick's weights, the model's or (`published`) a reader's: noted, or compared.
static void story_weights(struct story *story, int64_t tick, uint64_t hash, bool published, const char *who,
                          bool note)
{
    published = published && story->unpublished;
    for (uint32_t i = 0; i < story->seen_count; i++) {
        if (story->seen[i].tick == tick && story->seen[i].published == published) {
            if (story->seen[i].hash != hash) {
                fail(story, "%s has other weights after tick %" PRId64, who, tick);
            }
            return;
        }
    }
    if (note) {
        assert(story->seen_count < TICKS_SEEN_MAX);
        story->seen[story->seen_count++] = (struct seen){tick, hash, published};
    }
}

// The model's weights, once a tick.
static void story_note(struct story *story, int64_t *learned, const char *who, bool note)
{
    int64_t tick;
    if (daemon_pipeline_at(story->pipeline, &tick) && tick > *learned) {
        *learned = tick;
        story_weights(story, tick, daemon_pipeline_hash(story->pipeline), false, who, note);
    }
}

static void story_follow(struct story *story)
{
    struct base_error error;
    bool changed = false;
    if (publisher_reader_follow(story->reader, 0, &changed, &error)) {
        // A server that lost its last writes, or all, may name an older version; its operator accepts that.
        bool lost = error.code == BASE_ECONFLICT;
        if (lost) {
            publisher_reader_accept_older(story->reader);
        } else if (!error.retriable) {
            fail(story, "the reader: %s", error.text);
        }
        return;
    }
    if (changed) {
        story->switches++;
        story_weights(story, publisher_reader_tick(story->reader), publisher_reader_hash(story->reader), true,
                      "the reader", true);
    }
}

// ---- lives ----

static struct consumer_source *story_open_source(void *context, const int64_t *offsets, uint32_t lanes,
                                                 struct base_error *error)
{
    struct story *story = context;
    (void)lanes, (void)error;
    story->source = sim_log_open(story->log, offsets, story->bounded);
    return story->source;
}

static uint64_t story_disk_faults(const struct story *story)
{
    uint64_t fired = 0;
    for (uint32_t i = 0; i < story->faults.count; i++) {
        const struct sim_site *site = &story->faults.sites[i];
        fired += strncmp(site->name, "disk.", 5) == 0 ? site->fired : 0;
    }
    return fired;
}

static void life_judge(struct story *story, const struct base_error *error)
{
    if (error->code != BASE_EIO || story_disk_faults(story) == story->disk_faults) {
        fail(story, "%s%s: %s", error->fatal ? "(fatal) " : "", base_error_code_name(error->code),
             error->text);
    }
}

static struct daemon_pipeline_options story_options(struct story *story)
{
    size_t cut_rows = 1 + sim_random_below(&story->random, 1 + sim_random_below(&story->random, 100));
    uint64_t journal_bytes = 1 + sim_random_below(&story->random, 4000);
    return (struct daemon_pipeline_options){
        .durable = true,
        .publish = true,
        .workers = 1,
        .state_dir = story->state_dir,
        .parts = {.open_source = story_open_source,
                  .context = story,
                  .disk = sim_disk_base(story->disk),
                  .store = story->store,
                  .redis = sim_redis_transport(story->redis),
                  .clock = &story->clock.clock,
                  .cut_rows = cut_rows,
                  .journal_bytes = journal_bytes},
    };
}

static bool story_read(struct story *story)
{
    for (uint32_t rank = 0; rank < SIM_LOG_RANKS; rank++) {
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

// What the pipeline says of itself. False: it has failed.
static bool life_healthy(struct story *story, struct daemon_pipeline_state *state)
{
    daemon_pipeline_state(story->pipeline, state);
    const struct base_error *error = state->error.code           ? &state->error
                                     : state->learner.error.code ? &state->learner.error
                                     : state->cutter.failed      ? &state->cutter.error
                                     : state->outbox.failed      ? &state->outbox.error
                                                                 : NULL;
    if (error) {
        life_judge(story, error);
    }
    return !error;
}

static void life_count(struct story *story, const struct daemon_pipeline_state *state)
{
    story->cuts += state->cutter.cuts;
    story->publications += state->outbox.publications;
    story->samples += state->learner.samples;
    story->learned += state->ingest.counts.ticks;
}

// One life. True: all was read, and it was stopped in order.
static bool life_run(struct story *story)
{
    struct base_error error = {0};
    struct daemon_pipeline_state state = {0};
    struct daemon_pipeline_options options = story_options(story);
    story->lives++;
    story->disk_faults = story_disk_faults(story);
    story->pipeline = daemon_pipeline_new(story->config, &options, &error);
    if (!story->pipeline) {
        life_judge(story, &error);
        return false;
    }
    struct daemon_pipeline_beginning beginning;
    daemon_pipeline_beginning(story->pipeline, &beginning);
    story->restores += beginning.cut > 0;
    bool goes_on = true;
    int64_t learned = INT64_MIN; // the last tick
    for (int step = 0, quiet = 0; goes_on; step++) {
        if (step > STEPS_MAX) {
            fail(story, "it does not end");
        }
        if (sim_fault(&story->faults, "kill") || sim_fault(&story->faults, "power")) {
            life_count(story, &state);
            return false;
        }
        if (sim_fault(&story->faults, "clock.step")) {
            sim_clock_step_wall(&story->clock, sim_random_between(&story->random, -3600000, 3600000));
        }
        sim_clock_advance(&story->clock, sim_random_between(&story->random, 0, 50) * 1000000);
        sim_redis_step(story->redis);
        goes_on = daemon_pipeline_step(story->pipeline);
        if (!life_healthy(story, &state)) {
            life_count(story, &state);
            return false;
        }
        story_note(story, &learned, "a life", true);
        if (sim_random_below(&story->random, 4) == 0) {
            story_follow(story);
        }
        quiet = story_read(story) ? quiet + 1 : 0;
        if (quiet == QUIET_STEPS) {
            story->faults.quiet = true; // it can end
            daemon_pipeline_stop(story->pipeline);
        }
    }
    life_count(story, &state);
    return true;
}

static void story_end_of_life(struct story *story)
{
    daemon_pipeline_free(story->pipeline);
    story->pipeline = NULL;
    if (sim_random_bits(&story->random) & 1) {
        sim_disk_kill(story->disk);
        story->kills++;
    } else {
        sim_disk_crash(story->disk, &story->random);
        story->power_cuts++;
    }
}

// Adds the journal's present files to those that were forgotten.
static void story_complete_archive(const struct story *story)
{
    char path[2 * PATH_BYTES];
    DIR *directory = opendir(story->journal);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        snprintf(path, sizeof path, "%s/%s", story->journal, entry->d_name);
        if (entry->d_name[0] != '.') {
            story_archive(story, path);
        }
    }
    closedir(directory);
}

// From nothing, all of the log at once, obeying the journal: the weights after the last tick.
static void story_replay(struct story *story, int64_t to, uint64_t weights)
{
    char state_dir[PATH_BYTES + 16];
    snprintf(state_dir, sizeof state_dir, "%s-replay", story->state_dir);
    struct base_error error = {0};
    struct daemon_pipeline_options options = {
        .bounded = true,
        .obey = story->archive,
        .to = &to,
        .workers = 1,
        .state_dir = state_dir,
        .parts = {.open_source = story_open_source,
                  .context = story,
                  .disk = sim_disk_base(story->disk),
                  .clock = &story->clock.clock},
    };
    story_complete_archive(story);
    story->bounded = true;
    story->pipeline = daemon_pipeline_new(story->config, &options, &error);
    if (!story->pipeline) {
        fail(story, "the replay: %s", error.text);
    }
    struct daemon_pipeline_state state;
    int64_t learned = INT64_MIN;
    for (bool goes_on = true; goes_on;) {
        goes_on = daemon_pipeline_step(story->pipeline);
        daemon_pipeline_state(story->pipeline, &state);
        if (state.error.code || state.learner.error.code) {
            fail(story, "the replay: %s", state.error.code ? state.error.text : state.learner.error.text);
        }
        story_note(story, &learned, "the replay", false);
    }
    if (daemon_pipeline_hash(story->pipeline) != weights) {
        fail(story, "the replay has other weights at its end, tick %" PRId64, state.learner.tick);
    }
    daemon_pipeline_free(story->pipeline);
    story->pipeline = NULL;
}

static void story_run(struct story *story)
{
    for (int life = 0; !life_run(story); life++) {
        story_end_of_life(story);
        story->faults.quiet = life >= LIVES_MAX;
    }
    struct daemon_pipeline_state state;
    daemon_pipeline_state(story->pipeline, &state);
    uint64_t weights = daemon_pipeline_hash(story->pipeline);
    daemon_pipeline_free(story->pipeline);
    story->pipeline = NULL;
    if (state.learner.tick != INT64_MIN) {
        story_follow(story);
        story_weights(story, state.learner.tick, weights, false, "the last life", true);
        story_replay(story, state.learner.tick, weights);
    }
}

int main(int argc, char **argv)
{
    struct sim_options options = {.seeds = 20, .from = 1, .ticks = 100};
    sim_options_read(&options, "simulate", argc, argv);
    static struct story story, sum;
    int64_t begin_ns = base_clock_monotonic_ns(&base_clock_system);
    for (uint64_t seed = options.from; seed < options.from + options.seeds; seed++) {
        story_begin(&story, seed, options.ticks);
        story_run(&story);
        if (options.verbose) {
            printf("seed %" PRIu64 ": %" PRIu64 " ticks, %" PRIu64 " lives, %" PRIu64 " cuts, %" PRIu64
                   " publications, %" PRIu64 " switches\n",
                   seed, story.learned, story.lives, story.cuts, story.publications, story.switches);
            sim_faults_print(&story.faults, stdout);
        }
        sum.learned += story.learned;
        sum.samples += story.samples;
        sum.lives += story.lives;
        sum.restores += story.restores;
        sum.kills += story.kills;
        sum.power_cuts += story.power_cuts;
        sum.cuts += story.cuts;
        sum.publications += story.publications;
        sum.switches += story.switches;
        story_end(&story);
    }
    double seconds = (double)(base_clock_monotonic_ns(&base_clock_system) - begin_ns) / 1e9;
    printf("%" PRIu64 " seeds: %" PRIu64 " ticks (%.0f a second), %" PRIu64 " samples learned; %" PRIu64
           " lives, %" PRIu64 " from a cut; %" PRIu64 " kills, %" PRIu64 " power cuts; %" PRIu64
           " cuts; %" PRIu64 " publications, %" PRIu64 " switches of a reader; 0 differences\n",
           options.seeds, sum.learned, (double)sum.learned / seconds, sum.samples, sum.lives, sum.restores,
           sum.kills, sum.power_cuts, sum.cuts, sum.publications, sum.switches);
    return 0;
}
