// Makes a golden state: what this version writes, small, from a generated stream. See README.md beside it.
//
//   make_golden_state 1|2 DIRECTORY
//
// DIRECTORY has golden.yaml; everything else in it is made:
//
//   files/             the source
//   state/             the state directory, as a process that was killed half way leaves it
//   publication.bin    what Redis then held
//
// 1 is a state as of the first formats, and has besides
//
//   exported/             its last kept cut, exported
//   publication-fp16.bin  what Redis held of the whole stream, in fp16
//   journal/              a decision journal with every kind of record, in two files
//
// state-1 itself was made by the program of commit 16339f4: today's writes later formats from the same
// stream.
//
// 2 is a state that has grown: a first process, killed, learned with before.yaml, a second one went on with
// golden.yaml. Its impressions have weights and propensities, its actions values, and there is a further
// action.
//
// A publication is its keys in ascending order: u32 size of the key, the key, u32 size of the value, the
// value.
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "consumer/ingest.h"
#include "consumer/journal.h"
#include "daemon/cuts_private.h"
#include "daemon/pipeline.h"
#include "daemon/produce.h"
#include "publisher/redis.h"
#include "support_redis.h"

enum golden { STATE_FIRST = 1, STATE_GROWN = 2 };

enum {
    IMPRESSIONS = 160,
    LANES = 2,
    DEAD = 3,
    STEP_MS = 20,
    STEPS = 12,       // until it is killed
    STEPS_BEFORE = 3, // likewise, before it grows
    STEPS_GROWN = 4,  // and after
    STEPS_MAX = 100000,
    MINUTE_MS = 60000,
    PATH_ROOM = 512,
};

static const char *const topics[DAEMON_MARKET_RANKS] = {"impressions", "clicks", "purchases"};
// A further action's: a sink has three topics, the other two go.
static const char *const further[DAEMON_MARKET_RANKS] = {"none-0", "none-1", "favourites"};

static struct base_error error;

static void must(bool done, const char *what)
{
    if (!done) {
        fprintf(stderr, "make_golden_state: %s: %s\n", what, error.text);
        exit(1);
    }
}

// ---- a clock that the steps move ----

static int64_t now_ms = 1000;

static int64_t monotonic_ns(void *context)
{
    (void)context;
    return now_ms * 1000000;
}

static int64_t wall_ms(void *context)
{
    (void)context;
    return now_ms;
}

static const struct base_clock stepped = {monotonic_ns, wall_ms, NULL};

// ---- the source ----

struct source {
    enum golden golden;
    struct daemon_produce_sink *sink, *further; // further: STATE_GROWN only
    struct daemon_produce_record record;
};

static void source_put(struct source *source, const struct daemon_market_event *event,
                       const struct daemon_market_impression *impression)
{
    struct daemon_market_impression shown = *impression;
    struct daemon_market_event valued = *event;
    if (source->golden == STATE_GROWN) {
        shown.number[4] = 1. / (1 + (double)(shown.index % 3)); // item_age: a propensity
        shown.number[5] = .5 * (double)(1 + shown.index % 4);   // noise: a weight
        if (event->rank == 1) {
            valued.rank = 2; // so it has a value; the two schemas have the same fields
        }
    }
    daemon_produce_encode(1, &valued, &shown, &source->record);
    source->record.rank = event->rank;
    must(source->sink->operations->put(source->sink, &source->record, &error) == 0, topics[event->rank]);
    if (source->golden == STATE_GROWN && event->rank == 1) {
        source->record.rank = 2;
        must(source->further->operations->put(source->further, &source->record, &error) == 0, further[2]);
    }
}

static struct daemon_produce_sink *sink_open(const char *path, const char *const names[DAEMON_MARKET_RANKS])
{
    struct daemon_produce_sink *sink = daemon_produce_files_new(path, names, LANES, 1, &error);
    must(sink != NULL, path);
    return sink;
}

static void sink_close(struct daemon_produce_sink *sink)
{
    must(sink->operations->finish(sink, &error) == 0, "the source");
    sink->operations->free(sink);
}

static void make_files(enum golden golden, const char *directory)
{
    char path[PATH_ROOM], none[2 * PATH_ROOM];
    snprintf(path, sizeof path, "%s/files", directory);
    struct daemon_market_config market = daemon_market_defaults;
    market.impressions = IMPRESSIONS;
    market.lanes = LANES;
    market.rate = 1;
    market.users = 40;
    market.items = 20;
    market.ctr = market.cvr = golden == STATE_GROWN ? .6 : .3;
    market.delay_scale = .02;
    market.late = market.duplicates = market.strays = .02;
    market.click_window_ms = MINUTE_MS;
    market.purchase_window_ms = 2 * MINUTE_MS;
    struct source source = {.golden = golden, .sink = sink_open(path, topics)};
    if (golden == STATE_GROWN) {
        source.further = sink_open(path, further);
    }
    struct daemon_market *walk = daemon_market_new(&market, &error);
    must(walk != NULL, path);
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    for (int dead = 0; daemon_market_next(walk, &event, &impression);) {
        source_put(&source, &event, impression);
        if (event.rank > 0 && dead < DEAD) {
            dead++;
            event.event_time = INT64_MAX; // out of bounds: a dead letter
            source_put(&source, &event, impression);
        }
    }
    sink_close(source.sink);
    if (source.further) {
        sink_close(source.further);
        for (int i = 0; i < 2; i++) {
            snprintf(none, sizeof none, "%s/%s", path, further[i]);
            must(daemon_cuts_tree_remove(none, &error) == 0, none);
        }
    }
    daemon_produce_record_free(&source.record);
    daemon_market_free(walk);
}

// ---- the state ----

static struct daemon_config *load(const char *directory, const char *name)
{
    char path[PATH_ROOM];
    struct base_config_problems problems = {0};
    snprintf(path, sizeof path, "%s/%s", directory, name);
    struct daemon_config *config = daemon_config_load(path, &problems);
    if (!config) {
        snprintf(error.text, sizeof error.text, "%s", problems.count ? problems.item[0].text : "");
    }
    must(config != NULL, path);
    config->cuts.interval = 2 * STEP_MS;
    config->cuts.share = 1;
    config->publish.interval = STEP_MS;
    config->publish.base_ratio = 100;
    return config;
}

// A life of at most so many steps; true: it came to its end.
static bool live(struct daemon_config *config, const char *socket, const char *directory, bool durable,
                 int steps)
{
    config->redis.socket = socket;
    const struct daemon_pipeline_options options = {
        .durable = durable,
        .bounded = true,
        .finish = true,
        .publish = true,
        .fetch = 16,
        .state_dir = directory,
        .parts = {.clock = &stepped},
    };
    struct daemon_pipeline *pipeline = daemon_pipeline_new(config, &options, &error);
    must(pipeline != NULL, "the pipeline");
    bool ended = false;
    for (int step = 0; step < steps && !ended; step++) {
        now_ms += STEP_MS;
        ended = !daemon_pipeline_step(pipeline);
    }
    if (ended) {
        must(daemon_pipeline_join(pipeline, &error) == 0, "the pipeline's end");
    }
    struct daemon_pipeline_state state;
    daemon_pipeline_state(pipeline, &state);
    printf("cuts %" PRIu64 ", ticks to %" PRId64 ", samples %" PRIu64 ", finals %" PRIu64
           ", fingerprint %016" PRIx64 ", publications %" PRIu64 ", weights %016" PRIx64 "\n",
           state.cutter.done, state.learner.tick, state.learner.samples, state.learner.finals,
           state.learner.fingerprint, state.outbox.publications, ended ? daemon_pipeline_hash(pipeline) : 0);
    daemon_pipeline_free(pipeline); // killed: what it had in memory is gone
    return ended;
}

// ---- what Redis holds ----

static struct publisher_reply *call(struct publisher_redis *redis, const char *command, struct base_span key)
{
    struct base_span words[] = {base_span_string(command), key};
    struct publisher_reply *reply;
    must(publisher_redis_call(redis, words, 2, &reply, &error) == 0, command);
    return reply;
}

static int compare_keys(const void *a, const void *b)
{
    struct base_span left = publisher_reply_text(*(const struct publisher_reply *const *)a);
    struct base_span right = publisher_reply_text(*(const struct publisher_reply *const *)b);
    size_t least = left.size < right.size ? left.size : right.size;
    int order = memcmp(left.data, right.data, least);
    return order ? order : (left.size > right.size) - (left.size < right.size);
}

static void put_sized(struct base_buffer *buffer, struct base_span span)
{
    base_buffer_u32(buffer, (uint32_t)span.size);
    base_buffer_append(buffer, span.data, span.size);
}

// The strings that do not expire: what head refers to, head and the epoch.
static void dump(const char *socket, const char *directory, const char *name)
{
    char path[PATH_ROOM];
    const struct publisher_redis_config config = {.socket = socket, .timeout_ms = 2000};
    struct publisher_redis *redis = publisher_redis_new(&config, &error);
    must(redis && publisher_redis_connect(redis, &error) == 0, socket);
    struct publisher_reply *keys = call(redis, "KEYS", base_span_string("*"));
    uint32_t count = publisher_reply_count(keys);
    const struct publisher_reply **sorted = base_alloc(count * sizeof *sorted);
    for (uint32_t i = 0; i < count; i++) {
        sorted[i] = publisher_reply_at(keys, i);
    }
    qsort(sorted, count, sizeof *sorted, compare_keys);
    struct base_buffer bytes = {0};
    for (uint32_t i = 0; i < count; i++) {
        struct base_span key = publisher_reply_text(sorted[i]);
        struct publisher_reply *ttl = call(redis, "TTL", key), *type = call(redis, "TYPE", key);
        if (publisher_reply_integer(ttl) == -1 &&
            base_span_equal(publisher_reply_text(type), base_span_string("string"))) {
            struct publisher_reply *value = call(redis, "GET", key);
            put_sized(&bytes, key);
            put_sized(&bytes, publisher_reply_text(value));
            publisher_reply_free(value);
        }
        publisher_reply_free(ttl);
        publisher_reply_free(type);
    }
    snprintf(path, sizeof path, "%s/%s", directory, name);
    must(base_disk_replace(NULL, path, base_buffer_span(&bytes), &error) == 0, path);
    base_buffer_free(&bytes);
    free(sorted);
    publisher_reply_free(keys);
    publisher_redis_free(redis);
}

// What a database has that is not read again.
static void tidy_up(const char *directory)
{
    static const char *const others[] = {"state/cuts", "state/db/LOG*", "state/db/LOCK"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char path[PATH_ROOM];
        glob_t found;
        snprintf(path, sizeof path, "%s/%s", directory, others[i]);
        must(glob(path, 0, NULL, &found) == 0, path);
        for (size_t k = 0; k < found.gl_pathc; k++) {
            must(i ? unlink(found.gl_pathv[k]) == 0 : daemon_cuts_tree_remove(path, &error) == 0, path);
        }
        globfree(&found);
    }
}

// The whole stream again, published in fp16.
static void make_replay(struct daemon_config *config, struct support_redis *redis, const char *directory)
{
    char path[PATH_ROOM];
    support_redis_restart(redis);
    snprintf(path, sizeof path, "%s/replay", directory);
    config->publish.format = DAEMON_FORMAT_FP16;
    must(live(config, support_redis_socket(redis), path, false, STEPS_MAX), "it did not end");
    dump(support_redis_socket(redis), directory, "publication-fp16.bin");
    must(daemon_cuts_tree_remove(path, &error) == 0, path);
}

static void make_state(enum golden golden, const char *directory)
{
    char exported[PATH_ROOM];
    struct support_redis *redis = support_redis_start(NULL);
    if (golden == STATE_GROWN) {
        struct daemon_config *before = load(directory, "before.yaml");
        must(!live(before, support_redis_socket(redis), NULL, true, STEPS_BEFORE), "it ended before it grew");
        daemon_config_free(before);
    }
    struct daemon_config *config = load(directory, "golden.yaml");
    bool grown = golden == STATE_GROWN;
    must(!live(config, support_redis_socket(redis), NULL, true, grown ? STEPS_GROWN : STEPS),
         "it ended before its time");
    dump(support_redis_socket(redis), directory, "publication.bin");
    snprintf(exported, sizeof exported, "%s/exported", directory);
    must(daemon_cuts_export(NULL, config->state_dir, 0, exported, &error) == 0, exported);
    struct daemon_cut_record record;
    must(daemon_cuts_state(exported, &record, &error) == 0, exported);
    printf("cut %" PRIu64 ": tick %" PRId64 ", frontier %" PRId64 ", examples %" PRIu64 ", rows %" PRIu64
           ", journal %" PRIu64 "\n",
           record.number, record.tick, record.frontier, record.examples, record.rows, record.journal);
    tidy_up(directory);
    if (grown) { // its formats are as they were
        must(daemon_cuts_tree_remove(exported, &error) == 0, exported);
    } else {
        make_replay(config, redis, directory);
    }
    daemon_config_free(config);
    support_redis_stop(redis);
}

// ---- the journal with every kind ----

static void decide(struct consumer_journal *journal, uint32_t rank, uint32_t lane,
                   enum consumer_ingest_what what, int64_t next, int64_t watermark)
{
    const struct consumer_ingest_decision decision = {
        .what = what, .rank = rank, .lane = lane, .next = next, .watermark = watermark};
    must(consumer_journal_add(journal, &decision, &error) == 0, "a decision");
}

static void note(struct consumer_journal *journal, enum consumer_journal_kind kind, const char *text)
{
    must(consumer_journal_note(journal, kind, base_span_string(text), &error) == 0, text);
}

static void make_journal(const char *directory)
{
    char path[PATH_ROOM];
    snprintf(path, sizeof path, "%s/journal", directory);
    const struct consumer_journal_config config = {
        .directory = path, .ranks = 2, .lanes = 2, .topics = {"shown", "clicked"}, .file_bytes = 300};
    struct consumer_journal *journal = consumer_journal_open(&config, 0, false, &error);
    must(journal != NULL, path);
    note(journal, CONSUMER_JOURNAL_CONFIGURATION, "0123456789abcdef");
    note(journal, CONSUMER_JOURNAL_ERA, "the first era");
    decide(journal, 0, 0, CONSUMER_INGEST_RAISED, 0, -500);
    decide(journal, 1, 1, CONSUMER_INGEST_UNDECODABLE, 7, 0);
    decide(journal, 1, 1, CONSUMER_INGEST_FUTURE, 9, 0);
    must(consumer_journal_sync(journal, &error) == 0, path);
    decide(journal, 0, 0, CONSUMER_INGEST_RAISED, 12, INT64_C(1700000000123));
    must(consumer_journal_skip(journal, 1, 0, 100, 200, &error) == 0, "a skip");
    must(consumer_journal_replace(journal, 0, 1, 4, 1000, 10, &error) == 0, "another log");
    must(consumer_journal_sync(journal, &error) == 0, path); // from here on a second file
    must(consumer_journal_grow(journal, 3, &error) == 0, "more lanes");
    decide(journal, 0, 2, CONSUMER_INGEST_FUTURE, 3, 0);
    note(journal, CONSUMER_JOURNAL_REWIND, "to cut 3");
    note(journal, CONSUMER_JOURNAL_CONFIGURATION, "fedcba9876543210");
    must(consumer_journal_sync(journal, &error) == 0, path);
    printf("journal: position %" PRIu64 "\n", consumer_journal_position(journal));
    consumer_journal_free(journal);
}

int main(int count, char **arguments)
{
    enum golden golden = count == 3 && strcmp(arguments[1], "2") == 0 ? STATE_GROWN : STATE_FIRST;
    if (count != 3 || (golden == STATE_FIRST && strcmp(arguments[1], "1") != 0)) {
        fprintf(stderr, "usage: make_golden_state 1|2 DIRECTORY\n");
        return 1;
    }
    make_files(golden, arguments[2]);
    make_state(golden, arguments[2]);
    if (golden == STATE_FIRST) {
        make_journal(arguments[2]);
    }
    return 0;
}
