// States are read for ever: tests/golden/state-1/, of the first formats, and state-2/, one that has grown, of
// later ones; made by tests/golden/make_state.c. A copy goes on to the end of its source, the exported cut is
// taken over, and a later version of any piece is refused by name.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "consumer/ingest.h"
#include "daemon/cuts_private.h"
#include "daemon/epoch.h"
#include "daemon/pipeline.h"
#include "daemon/scratch.h"
#include "trainer/cut.h"

enum {
    PATH_ROOM = 512,
    VERSION_PLACE = 8,
    SECTION_HEADER = 20,
    SECTION_CHECKSUM = 8,
    LATER_VERSION = 9, // above that of every piece
};

#define GOLDEN FRESHET_SOURCE_DIR "/tests/golden/"

enum { GOLDENS = 2, RANKS_MAX = 4 };

// What was made, and what comes of it at the end of its source.
static const struct golden {
    const char *directory;
    uint32_t ranks;
    uint64_t epoch; // of the publication
    struct daemon_cut_record record;
    uint64_t weights; // hash, as restored
    struct {
        uint64_t samples, finals, fingerprint;
        int64_t tick;
        uint64_t weights, dead; // weights: the hash by the arithmetic that wrote it
        uint64_t kinds[BASE_KINDS];
        uint64_t events[RANKS_MAX], joined[RANKS_MAX], late[RANKS_MAX], duplicate[RANKS_MAX],
            orphaned[RANKS_MAX], expired[RANKS_MAX], beyond[RANKS_MAX];
    } end;
} goldens[GOLDENS] = {
    {
        .directory = GOLDEN "state-1",
        .ranks = 3,
        .epoch = 1,
        .record = {.number = 1,
                   .tick = INT64_C(17000713371),
                   .frontier = INT64_C(1700071338399),
                   .examples = 136,
                   .rows = 35,
                   .journal = 315},
        .weights = UINT64_C(0x230403aaa6a0427f),
        .end = {.samples = 208,
                .finals = 43,
                .fingerprint = UINT64_C(0xb1ddaf78c073ff4d),
                .tick = INT64_C(17000719470),
                .weights = UINT64_C(0x9021216147441952), // a replay's of the whole stream
                .dead = 3,
                .kinds = {117, 86, 0, 5, 43},
                .events = {163, 45, 13},
                .joined = {160, 43, 12},
                .late = {3, 0, 0},
                .duplicate = {3, 1, 0},
                .orphaned = {0, 2, 1},
                .expired = {0, 1, 1}},
    },
    {
        .directory = GOLDEN "state-2",
        .ranks = 4,
        .epoch = 2, // as many processes
        .record = {.number = 2,
                   .tick = INT64_C(17000712953),
                   .frontier = INT64_C(1700071295399),
                   .examples = 157,
                   .rows = 84,
                   .journal = 550},
        .weights = UINT64_C(0xcff6f809e561c145),
        .end = {.samples = 372,
                .finals = 99,
                .fingerprint = UINT64_C(0xd28ad17c1385bc27),
                .tick = INT64_C(17000720624),
                .weights = UINT64_C(0x8ef8cbfb843a5ae5), // a process' that was not killed after the growth
                .dead = 6,
                .kinds = {81, 255, 2, 34, 99},
                .events = {163, 103, 58, 103},
                .joined = {160, 99, 55, 62},
                .late = {3, 2, 1, 39},
                .duplicate = {3, 3, 1, 3},
                .orphaned = {0, 4, 4, 3},
                .expired = {0, 1, 2, 1},
                .beyond = {0, 0, 0, 37}},
    },
};
static const struct golden *const first = &goldens[0], *const grown = &goldens[1];

struct place {
    char scratch[DAEMON_SCRATCH_MAX];
    char root[PATH_ROOM], state[PATH_ROOM];
    struct daemon_config *config;
};

static struct base_error error;

static struct daemon_config *place_load(const struct place *place, const char *name)
{
    char path[2 * PATH_ROOM];
    struct base_config_problems problems = {0};
    snprintf(path, sizeof path, "%s/%s", place->root, name);
    struct daemon_config *config = daemon_config_load(path, &problems);
    cr_assert(config, "%s", problems.count ? problems.item[0].text : "");
    return config;
}

static void place_open(struct place *place, const struct golden *golden)
{
    cr_assert_eq(daemon_scratch_make("golden", place->scratch, &error), 0, "%s", error.text);
    snprintf(place->root, sizeof place->root, "%s/1", place->scratch);
    snprintf(place->state, sizeof place->state, "%s/state", place->root);
    cr_assert_eq(daemon_cuts_replicate(NULL, golden->directory, place->root, daemon_cuts_copy_all, &error), 0,
                 "%s", error.text);
    place->config = place_load(place, "golden.yaml");
}

static void place_close(struct place *place)
{
    daemon_config_free(place->config);
    cr_assert_eq(daemon_scratch_remove(place->scratch, &error), 0, "%s", error.text);
}

static struct daemon_pipeline *place_start(const struct place *place)
{
    const struct daemon_pipeline_options options = {.durable = true, .bounded = true, .finish = true};
    return daemon_pipeline_new(place->config, &options, &error);
}

static struct daemon_store *place_store(const struct place *place)
{
    char path[2 * PATH_ROOM];
    snprintf(path, sizeof path, "%s/db", place->state);
    struct daemon_store *store = daemon_store_open(path, false, false, &error);
    cr_assert(store, "%s", error.text);
    return store;
}

static void expect_record(const struct daemon_cut_record *record, const struct golden *golden)
{
    cr_assert_eq(record->number, golden->record.number);
    cr_assert_eq(record->tick, golden->record.tick);
    cr_assert_eq(record->frontier, golden->record.frontier);
    cr_assert_eq(record->examples, golden->record.examples);
    cr_assert_eq(record->rows, golden->record.rows);
    cr_assert_eq(record->journal, golden->record.journal);
}

// ---- it is read ----

static void expect_counts(const char *what, const uint64_t *found, const uint64_t *expected, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        cr_expect_eq(found[i], expected[i], "%s[%u]: %llu", what, i, (unsigned long long)found[i]);
    }
}

static void expect_end(const struct daemon_pipeline_state *state, const struct golden *golden)
{
    const struct consumer_lane_counters *counters = &state->ingest.counters;
    cr_assert_eq(state->learner.samples, golden->end.samples);
    cr_assert_eq(state->learner.finals, golden->end.finals);
    cr_assert_eq(state->learner.fingerprint, golden->end.fingerprint, "%016llx",
                 (unsigned long long)state->learner.fingerprint);
    cr_assert_eq(state->learner.tick, golden->end.tick);
    cr_expect_eq(state->ingest.counts.dead, golden->end.dead);
    expect_counts("samples", counters->samples, golden->end.kinds, BASE_KINDS);
    expect_counts("events", counters->events, golden->end.events, golden->ranks);
    expect_counts("joined", counters->joined, golden->end.joined, golden->ranks);
    expect_counts("late", counters->late, golden->end.late, golden->ranks);
    expect_counts("duplicate", counters->duplicate, golden->end.duplicate, golden->ranks);
    expect_counts("orphaned", counters->orphaned, golden->end.orphaned, golden->ranks);
    expect_counts("expired", counters->expired, golden->end.expired, golden->ranks);
    expect_counts("beyond", counters->beyond, golden->end.beyond, golden->ranks);
}

static void go_on(const struct golden *golden)
{
    struct place place;
    struct daemon_pipeline_beginning beginning;
    struct daemon_pipeline_state state;
    place_open(&place, golden);
    struct daemon_pipeline *pipeline = place_start(&place);
    cr_assert(pipeline && daemon_pipeline_start(pipeline, &error) == 0, "%s", error.text);
    daemon_pipeline_beginning(pipeline, &beginning);
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
    daemon_pipeline_state(pipeline, &state);
    cr_assert_eq(beginning.cut, golden->record.number);
    cr_assert_eq(beginning.tick, golden->record.tick);
    cr_assert_eq(beginning.examples, golden->record.examples);
    cr_assert(beginning.news_count == 0 && beginning.new_actions == 0);
    expect_end(&state, golden);
    if (!beginning.new_era) { // the same arithmetic
        cr_assert_eq(state.weights, golden->end.weights, "%016llx", (unsigned long long)state.weights);
    }
    daemon_pipeline_free(pipeline);
    place_close(&place);
}

Test(daemon_state_golden, version_1_goes_on_to_the_end_of_its_source)
{
    go_on(first);
}

Test(daemon_state_golden, version_2_goes_on_to_the_end_of_its_source)
{
    go_on(grown);
}

// Its cuts do not note the names of columns: what has grown is refused, since nobody could tell what the
// journeys that wait have. The same slots in another order are.
static void expect_no_growth(const char *numerics, const char *slots, const char *said)
{
    static const char begin[] =
        "state_dir: %s\n"
        "source: {kind: files, path: %s/files}\n"
        "segment: 4KiB\n"
        "tick: 100ms\n"
        "model: {name: test, levels: [{experts: [16], per_task: 1, shared: 1}], towers: [16], batch: 64}\n"
        "impression: {topic: impressions, framing: bare}\n"
        "actions:\n"
        "  - {name: click, topic: clicks, framing: bare, wait: 30s, window: 1m}\n"
        "  - {name: purchase, topic: purchases, framing: bare, wait: 1m, window: 2m}\n"
        "slots: [%s]\n"
        "numerics: [%s]\n"
        "redis: {socket: redis}\n"
        "cuts: {reserve: 0}\n";
    struct place place;
    char text[4 * PATH_ROOM];
    struct base_config_problems problems = {0};
    place_open(&place, first);
    daemon_config_free(place.config);
    snprintf(text, sizeof text, begin, place.state, place.root, slots, numerics);
    place.config = daemon_config_load_text("grown.yaml", base_span_string(text), &problems);
    cr_assert(place.config, "%s", problems.count ? problems.item[0].text : "");
    struct daemon_pipeline *pipeline = place_start(&place);
    cr_expect(!pipeline, "%s %s", numerics, slots);
    cr_expect(pipeline || strstr(error.text, said), "%s", error.text);
    daemon_pipeline_free(pipeline);
    place_close(&place);
}

#define USER "{name: user, path: categorical.user, dimension: 4}"
#define ITEM "{name: item, path: categorical.item, dimension: 8}"

Test(daemon_state_golden, version_1_does_not_grow)
{
    expect_no_growth("", "{name: brand, path: categorical.brand, dimension: 4}, " USER ", " ITEM,
                     "has 3 slots and had 2");
    expect_no_growth("", USER ", " ITEM ", {name: brand, path: categorical.brand, dimension: 4}",
                     "has 3 slots and had 2");
    expect_no_growth("{name: price, path: numeric.price}", USER ", " ITEM,
                     "lane 0: the journey logs hold other columns");
    expect_no_growth("", ITEM ", " USER, "slot 0 is item and was user");
}

static int scan(void *context, struct base_span prefix, trainer_cut_each *each, void *each_context,
                struct base_error *failure)
{
    return daemon_store_scan(context, prefix, each, each_context, failure);
}

static void expect_written(const struct golden *golden)
{
    struct place place;
    struct daemon_cut_record record;
    struct consumer_ingest_saved saved;
    struct base_buffer blob = {0};
    uint64_t epoch, era;
    place_open(&place, golden);
    struct daemon_store *store = place_store(&place);
    cr_assert_eq(daemon_cuts_last(place.state, store, &record, &error), 0, "%s", error.text);
    expect_record(&record, golden);
    cr_assert_eq(daemon_epoch_read(place.state, &epoch, &error), 0, "%s", error.text);
    cr_assert_eq(epoch, golden->epoch);
    cr_assert_eq(daemon_cuts_get_blob(store, DAEMON_CUTS_PUBLICATION, &blob, &error), 0, "%s", error.text);
    cr_assert_eq(daemon_cut_read_publication(base_buffer_span(&blob), &epoch, &era, &error), 0, "%s",
                 error.text);
    cr_assert_eq(epoch, golden->epoch);
    cr_assert_eq(era, 1);
    cr_assert_eq(daemon_cuts_get_blob(store, DAEMON_CUTS_INGEST, &blob, &error), 0, "%s", error.text);
    cr_assert_eq(consumer_ingest_saved(base_buffer_span(&blob), &saved, &error), 0, "%s", error.text);
    cr_assert(saved.cut == record.number && saved.ranks == golden->ranks && saved.lanes == 2);
    cr_assert_eq(saved.frontier, record.frontier);
    cr_assert_eq(saved.journal, record.journal);
    // The model's bits: no arithmetic is in them but the one that wrote them.
    struct trainer_model *model = trainer_model_new(daemon_config_model(place.config), true, &error);
    cr_assert(model, "%s", error.text);
    const struct trainer_cut_source source = {.scan = scan, .context = store};
    cr_assert_eq(trainer_model_restore(model, &source, &error), 0, "%s", error.text);
    cr_assert_eq(trainer_model_examples(model), record.examples);
    cr_assert_eq(trainer_model_hash(model), golden->weights, "%016llx",
                 (unsigned long long)trainer_model_hash(model));
    trainer_model_free(model);
    base_buffer_free(&blob);
    daemon_store_close(store);
    place_close(&place);
}

Test(daemon_state_golden, version_1_is_what_was_written_down)
{
    expect_written(first);
}

Test(daemon_state_golden, version_2_is_what_was_written_down)
{
    expect_written(grown);
}

Test(daemon_state_golden, version_1_of_an_exported_cut_is_taken_over)
{
    struct place place;
    struct daemon_cut_record record;
    char from[2 * PATH_ROOM], to[2 * PATH_ROOM];
    place_open(&place, first);
    snprintf(from, sizeof from, "%s/exported", place.root);
    snprintf(to, sizeof to, "%s/live", place.root);
    cr_assert_eq(daemon_cuts_verify(from, &record, &error), 0, "%s", error.text);
    expect_record(&record, first);
    cr_assert_eq(daemon_cuts_verify_logs(place.config, from, &error), 0, "%s", error.text);
    cr_assert_eq(daemon_cuts_import(NULL, place.state, from, false, &error), 0, "%s", error.text);
    cr_assert_eq(daemon_cuts_import(NULL, to, from, true, &error), 0, "%s", error.text);
    place.config->state_dir = to;
    struct daemon_pipeline *pipeline = place_start(&place);
    cr_assert(pipeline, "%s", error.text);
    struct daemon_pipeline_beginning beginning;
    daemon_pipeline_beginning(pipeline, &beginning);
    cr_assert_eq(beginning.cut, 1);
    daemon_pipeline_free(pipeline);
    place_close(&place);
}

// ---- later versions ----

static void store_number(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t section_size(struct base_span bytes, size_t at)
{
    struct base_reader reader = {.rest = base_span_make(bytes.data + at + VERSION_PLACE + 4, 8)};
    return base_reader_u64(&reader);
}

// A change of the byte that comes so far behind the first occurrence of `what`.
struct change {
    struct base_span what;
    size_t behind;
    uint8_t value;
};

static struct change later(const char *magic)
{
    return (struct change){base_span_string(magic), VERSION_PLACE, LATER_VERSION};
}

// Changes sections, and makes the checksums fit, the inner sections' first.
static void sections_change(uint8_t *data, size_t size, struct change change)
{
    const uint8_t *found = memmem(data, size, change.what.data, change.what.size);
    cr_assert_not_null(found);
    data[(size_t)(found - data) + change.behind] = change.value;
    for (size_t at = size; at-- > 0;) {
        if (at + SECTION_HEADER + SECTION_CHECKSUM > size || memcmp(data + at, "FRSH", 4) != 0) {
            continue;
        }
        uint64_t payload = section_size(base_span_make(data, size), at);
        if (payload <= size - at - SECTION_HEADER - SECTION_CHECKSUM) {
            size_t all = SECTION_HEADER + (size_t)payload;
            store_number(data + at + all, base_hash_bytes(base_span_make(data + at, all), 0),
                         SECTION_CHECKSUM);
        }
    }
}

static void raise_in_file(const char *path, const char *magic, size_t header)
{
    struct base_buffer bytes = {0};
    cr_assert_eq(base_disk_read(path, 1 << 20, &bytes, &error), 0, "%s", error.text);
    if (header) { // a log's: its checksum is at the header's end
        bytes.data[VERSION_PLACE] = LATER_VERSION;
        store_number(bytes.data + header - 8, base_hash_bytes(base_span_make(bytes.data, header - 8), 0), 8);
    } else {
        sections_change(bytes.data, bytes.size, later(magic));
    }
    cr_assert_eq(base_disk_replace(NULL, path, base_buffer_span(&bytes), &error), 0, "%s", error.text);
    base_buffer_free(&bytes);
}

static void change_in_store(const struct place *place, const char *key, struct change change)
{
    struct daemon_store *store = place_store(place);
    struct daemon_store_batch *batch = daemon_store_batch_new();
    struct base_buffer value = {0};
    cr_assert_eq(daemon_store_get(store, base_span_string(key), &value, &error), 0, "%s: %s", key,
                 error.text);
    sections_change(value.data, value.size, change);
    daemon_store_batch_put(batch, base_span_string(key), base_buffer_span(&value));
    cr_assert_eq(daemon_store_write(store, batch, &error), 0, "%s", error.text);
    base_buffer_free(&value);
    daemon_store_batch_free(batch);
    daemon_store_close(store);
}

static void refuse_later(const struct golden *golden)
{
    static const struct {
        const char *file, *key, *magic; // a file of the state directory, or a key of its database
        size_t header;
        const char *named; // in the error
    } pieces[] = {
        {"LAST_CUT", NULL, "FRSHLAST", 0, "/state/LAST_CUT"},
        {"journal/00000000000000000000.journal", NULL, "FRSHJRNL", 32,
         "/state/journal/00000000000000000000.journal"},
        {"lanes/lane-0000/impression.journey.0000000001", NULL, "FRSHTLOG", 56,
         "impression.journey.0000000001"},
        {NULL, "s/cut", "FRSHCUTR", 0, "/state/db"},
        {NULL, "s/blob/ingest", "FRSHBLOB", 0, "/state/db"},
        {NULL, "s/blob/ingest", "FRSHINGS", 0, "ingest's saved state"},
        {NULL, "s/blob/ingest", "FRSHLANE", 0, "lane 0"},
        {NULL, "s/blob/ingest", "FRSHSEGS", 0, "lane 0"},
        {NULL, "s/blob/learner", "FRSHLRNR", 0, "learner"},
        {NULL, "s/blob/learner", "FRSHEVAL", 0, "evaluator"},
        {NULL, "s/blob/publication", "FRSHPUBL", 0, "publication"},
        {NULL, "m", "FRSHMODL", 0, "model"},
        {NULL, "x", "FRSHSHAP", 0, "list of inputs and tasks"}, // the grown one's alone
    };
    size_t count = sizeof pieces / sizeof *pieces - (golden != grown);
    for (size_t i = 0; i < count; i++) {
        struct place place;
        char path[2 * PATH_ROOM];
        place_open(&place, golden);
        if (pieces[i].file) {
            snprintf(path, sizeof path, "%s/%s", place.state, pieces[i].file);
            raise_in_file(path, pieces[i].magic, pieces[i].header);
        } else {
            change_in_store(&place, pieces[i].key, later(pieces[i].magic));
        }
        cr_expect_null(place_start(&place), "%s", pieces[i].magic);
        cr_expect(error.code == BASE_EFORMAT && strstr(error.text, "version 9") &&
                      strstr(error.text, pieces[i].named),
                  "%s: %s", pieces[i].magic, error.text);
        place_close(&place);
    }
}

Test(daemon_state_golden, a_later_version_of_any_piece_of_version_1_is_refused)
{
    refuse_later(first);
}

Test(daemon_state_golden, a_later_version_of_any_piece_of_version_2_is_refused)
{
    refuse_later(grown);
}

Test(daemon_state_golden, a_later_version_of_an_epoch_or_an_exported_cut_is_refused)
{
    struct place place;
    struct daemon_cut_record record;
    uint64_t epoch;
    char path[2 * PATH_ROOM], from[2 * PATH_ROOM];
    place_open(&place, first);
    snprintf(path, sizeof path, "%s/EPOCH", place.state);
    raise_in_file(path, "FRSHEPOC", 0);
    cr_assert_eq(daemon_epoch_read(place.state, &epoch, &error), -1);
    cr_assert(strstr(error.text, "/state/EPOCH has version 9"), "%s", error.text);

    snprintf(from, sizeof from, "%s/exported", place.root);
    snprintf(path, sizeof path, "%s/STATE", from);
    raise_in_file(path, "FRSHCUTR", 0);
    cr_assert_eq(daemon_cuts_state(from, &record, &error), -1);
    cr_assert(strstr(error.text, "/exported/STATE has version 9"), "%s", error.text);

    struct base_buffer bytes = {0};
    char end[32];
    snprintf(path, sizeof path, "%s/MANIFEST", from);
    cr_assert_eq(base_disk_read(path, 1 << 20, &bytes, &error), 0, "%s", error.text);
    bytes.data[strlen("freshet cut ")] = '0' + LATER_VERSION;
    size_t last = bytes.size - strlen("end 0123456789abcdef\n");
    snprintf(end, sizeof end, "end %016llx\n",
             (unsigned long long)base_hash_bytes(base_span_make(bytes.data, last), 0));
    memcpy(bytes.data + last, end, strlen(end));
    cr_assert_eq(base_disk_replace(NULL, path, base_buffer_span(&bytes), &error), 0, "%s", error.text);
    cr_assert_eq(daemon_cuts_manifest_verify(from, &error), -1);
    cr_assert(strstr(error.text, "/exported/MANIFEST has version 9"), "%s", error.text);
    base_buffer_free(&bytes);
    place_close(&place);
}

// ---- what is in a state that has grown ----

static uint32_t version_of(struct daemon_store *store, const char *key, const char *magic)
{
    struct base_buffer value = {0};
    cr_assert_eq(daemon_store_get(store, base_span_string(key), &value, &error), 0, "%s: %s", key,
                 error.text);
    const uint8_t *found = memmem(value.data, value.size, magic, strlen(magic));
    cr_assert(found, "%s", magic);
    struct base_reader reader = {.rest = base_span_make(found + VERSION_PLACE, 4)};
    uint32_t version = base_reader_u32(&reader);
    base_buffer_free(&value);
    return version;
}

Test(daemon_state_golden, version_2_has_the_formats_that_version_1_has_not)
{
    static const struct {
        const char *key, *magic;
        uint32_t version;
    } news[] = {
        {"s/blob/ingest", "FRSHINGS", 2},  // columns and actions by name
        {"s/blob/learner", "FRSHEVAL", 2}, // values
        {"m", "FRSHMODL", 3},              // an optimiser's state, of the log variances too
    };
    for (int i = 0; i < GOLDENS; i++) {
        struct place place;
        struct base_buffer shape = {0};
        place_open(&place, &goldens[i]);
        struct daemon_store *store = place_store(&place);
        for (size_t k = 0; k < sizeof news / sizeof *news; k++) {
            cr_expect_eq(version_of(store, news[k].key, news[k].magic),
                         &goldens[i] == grown ? news[k].version : 1, "state %d: %s", i + 1, news[k].magic);
        }
        int found = daemon_store_get(store, base_span_string("x"), &shape, &error);
        cr_expect_eq(found, &goldens[i] == grown ? 0 : -1);
        base_buffer_free(&shape);
        daemon_store_close(store);
        place_close(&place);
    }
}

// A generation of another number than the logs': so they hold impressions of before and after the growth.
Test(daemon_state_golden, version_2_has_two_generations_in_its_logs)
{
    static const struct {
        uint8_t bytes[13]; // number, topics, categorical and numeric columns (consumer/generations.c)
        const char *refusal;
    } generations[] = {
        {{0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0}, "records of columns 0"},
        {{1, 4, 0, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0}, "records of columns 1"},
    };
    for (size_t i = 0; i < sizeof generations / sizeof *generations; i++) {
        struct place place;
        place_open(&place, grown);
        const struct change change = {base_span_make(generations[i].bytes, sizeof generations[i].bytes), 0,
                                      7};
        change_in_store(&place, "s/blob/ingest", change);
        cr_expect_null(place_start(&place));
        cr_expect(error.code == BASE_EFORMAT && strstr(error.text, generations[i].refusal), "%s", error.text);
        place_close(&place);
    }
}

Test(daemon_state_golden, version_2_does_not_shrink_to_what_it_grew_from)
{
    struct place place;
    place_open(&place, grown);
    daemon_config_free(place.config);
    place.config = place_load(&place, "before.yaml");
    cr_assert_null(place_start(&place));
    cr_assert(error.code == BASE_ECONFLICT, "%s", error.text);
    place_close(&place);
}
