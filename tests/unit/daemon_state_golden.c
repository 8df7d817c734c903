// The state of format 1 is read for ever: tests/golden/state-1/, made by tests/golden/make_state.c. A copy
// goes on to the end of its source, the exported cut is taken over, and a later version of any piece is
// refused by name.
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

#define GOLDEN FRESHET_SOURCE_DIR "/tests/golden/state-1"
static const uint64_t restored_hash = UINT64_C(0x230403aaa6a0427f),
                      fingerprint = UINT64_C(0xb1ddaf78c073ff4d);

struct place {
    char scratch[DAEMON_SCRATCH_MAX];
    char root[PATH_ROOM], state[PATH_ROOM];
    struct daemon_config *config;
};

static struct base_error error;

static void place_open(struct place *place)
{
    char path[2 * PATH_ROOM];
    struct base_config_problems problems = {0};
    cr_assert_eq(daemon_scratch_make("golden", place->scratch, &error), 0, "%s", error.text);
    snprintf(place->root, sizeof place->root, "%s/1", place->scratch);
    snprintf(place->state, sizeof place->state, "%s/state", place->root);
    cr_assert_eq(daemon_cuts_replicate(NULL, GOLDEN, place->root, daemon_cuts_copy_all, &error), 0, "%s",
                 error.text);
    snprintf(path, sizeof path, "%s/golden.yaml", place->root);
    place->config = daemon_config_load(path, &problems);
    cr_assert(place->config, "%s", problems.count ? problems.item[0].text : "");
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

static void expect_record(const struct daemon_cut_record *record)
{
    cr_assert_eq(record->number, 1);
    cr_assert_eq(record->tick, INT64_C(17000713371));
    cr_assert_eq(record->frontier, INT64_C(1700071338399));
    cr_assert_eq(record->examples, 136);
    cr_assert_eq(record->rows, 35);
    cr_assert_eq(record->journal, 315);
}

// ---- it is read ----

Test(daemon_state_golden, version_1_goes_on_to_the_end_of_its_source)
{
    struct place place;
    struct daemon_pipeline_beginning beginning;
    struct daemon_pipeline_state state;
    place_open(&place);
    struct daemon_pipeline *pipeline = place_start(&place);
    cr_assert(pipeline && daemon_pipeline_start(pipeline, &error) == 0, "%s", error.text);
    daemon_pipeline_beginning(pipeline, &beginning);
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
    daemon_pipeline_state(pipeline, &state);
    cr_assert_eq(beginning.cut, 1);
    cr_assert_eq(beginning.tick, INT64_C(17000713371));
    cr_assert_eq(beginning.examples, 136);
    cr_assert_eq(state.learner.samples, 208);
    cr_assert_eq(state.learner.finals, 43);
    cr_assert_eq(state.learner.fingerprint, fingerprint, "%016llx",
                 (unsigned long long)state.learner.fingerprint);
    cr_assert_eq(state.learner.tick, INT64_C(17000719470));
    if (!beginning.new_era) { // the same arithmetic: the weights of a replay of the whole stream
        cr_assert_eq(state.weights, UINT64_C(0x9021216147441952), "%016llx",
                     (unsigned long long)state.weights);
    }
    const struct consumer_lane_counters *counters = &state.ingest.counters;
    static const uint64_t samples[BASE_KINDS] = {117, 86, 0, 5, 43}, events[] = {163, 45, 13},
                          joined[] = {160, 43, 12}, late[] = {3, 0, 0}, duplicate[] = {3, 1, 0},
                          orphaned[] = {0, 2, 1}, expired[] = {0, 1, 1};
    cr_assert_eq(state.ingest.counts.dead, 3);
    for (int kind = 0; kind < BASE_KINDS; kind++) {
        cr_assert_eq(counters->samples[kind], samples[kind], "kind %d", kind);
    }
    for (int rank = 0; rank < 3; rank++) {
        cr_assert_eq(counters->events[rank], events[rank]);
        cr_assert_eq(counters->late[rank], late[rank]);
        cr_assert_eq(counters->duplicate[rank], duplicate[rank]);
        cr_assert_eq(counters->joined[rank], joined[rank]);
        cr_assert_eq(counters->orphaned[rank], orphaned[rank]);
        cr_assert_eq(counters->expired[rank], expired[rank]);
    }
    daemon_pipeline_free(pipeline);
    place_close(&place);
}

static int scan(void *context, struct base_span prefix, trainer_cut_each *each, void *each_context,
                struct base_error *failure)
{
    return daemon_store_scan(context, prefix, each, each_context, failure);
}

Test(daemon_state_golden, version_1_is_what_was_written_down)
{
    struct place place;
    struct daemon_cut_record record;
    struct consumer_ingest_saved saved;
    struct base_buffer blob = {0};
    uint64_t epoch, era;
    place_open(&place);
    struct daemon_store *store = place_store(&place);
    cr_assert_eq(daemon_cuts_last(place.state, store, &record, &error), 0, "%s", error.text);
    expect_record(&record);
    cr_assert_eq(daemon_epoch_read(place.state, &epoch, &error), 0, "%s", error.text);
    cr_assert_eq(epoch, 1);
    cr_assert_eq(daemon_cuts_get_blob(store, DAEMON_CUTS_PUBLICATION, &blob, &error), 0, "%s", error.text);
    cr_assert_eq(daemon_cut_read_publication(base_buffer_span(&blob), &epoch, &era, &error), 0, "%s",
                 error.text);
    cr_assert_eq(epoch, 1);
    cr_assert_eq(era, 1);
    cr_assert_eq(daemon_cuts_get_blob(store, DAEMON_CUTS_INGEST, &blob, &error), 0, "%s", error.text);
    cr_assert_eq(consumer_ingest_saved(base_buffer_span(&blob), &saved, &error), 0, "%s", error.text);
    cr_assert(saved.cut == 1 && saved.ranks == 3 && saved.lanes == 2);
    cr_assert_eq(saved.frontier, record.frontier);
    cr_assert_eq(saved.journal, record.journal);
    // The model's bits: no arithmetic is in them but the one that wrote them.
    struct trainer_model *model = trainer_model_new(daemon_config_model(place.config), true, &error);
    cr_assert(model, "%s", error.text);
    const struct trainer_cut_source source = {.scan = scan, .context = store};
    cr_assert_eq(trainer_model_restore(model, &source, &error), 0, "%s", error.text);
    cr_assert_eq(trainer_model_examples(model), 136);
    cr_assert_eq(trainer_model_hash(model), restored_hash, "%016llx",
                 (unsigned long long)trainer_model_hash(model));
    trainer_model_free(model);
    base_buffer_free(&blob);
    daemon_store_close(store);
    place_close(&place);
}

Test(daemon_state_golden, version_1_of_an_exported_cut_is_taken_over)
{
    struct place place;
    struct daemon_cut_record record;
    char from[2 * PATH_ROOM], to[2 * PATH_ROOM];
    place_open(&place);
    snprintf(from, sizeof from, "%s/exported", place.root);
    snprintf(to, sizeof to, "%s/live", place.root);
    cr_assert_eq(daemon_cuts_verify(from, &record, &error), 0, "%s", error.text);
    expect_record(&record);
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

// Makes the first section `magic` one of a later version, and the checksums fit, the inner sections' first.
static void sections_raise(uint8_t *data, size_t size, const char *magic)
{
    const uint8_t *found = memmem(data, size, magic, strlen(magic));
    cr_assert(found, "%s", magic);
    data[(size_t)(found - data) + VERSION_PLACE] = LATER_VERSION;
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
        sections_raise(bytes.data, bytes.size, magic);
    }
    cr_assert_eq(base_disk_replace(NULL, path, base_buffer_span(&bytes), &error), 0, "%s", error.text);
    base_buffer_free(&bytes);
}

static void raise_in_store(const struct place *place, const char *key, const char *magic)
{
    struct daemon_store *store = place_store(place);
    struct daemon_store_batch *batch = daemon_store_batch_new();
    struct base_buffer value = {0};
    cr_assert_eq(daemon_store_get(store, base_span_string(key), &value, &error), 0, "%s: %s", key,
                 error.text);
    sections_raise(value.data, value.size, magic);
    daemon_store_batch_put(batch, base_span_string(key), base_buffer_span(&value));
    cr_assert_eq(daemon_store_write(store, batch, &error), 0, "%s", error.text);
    base_buffer_free(&value);
    daemon_store_batch_free(batch);
    daemon_store_close(store);
}

Test(daemon_state_golden, a_later_version_of_any_piece_is_refused)
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
    };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct place place;
        char path[2 * PATH_ROOM];
        place_open(&place);
        if (pieces[i].file) {
            snprintf(path, sizeof path, "%s/%s", place.state, pieces[i].file);
            raise_in_file(path, pieces[i].magic, pieces[i].header);
        } else {
            raise_in_store(&place, pieces[i].key, pieces[i].magic);
        }
        cr_expect_null(place_start(&place), "%s", pieces[i].magic);
        cr_expect(error.code == BASE_EFORMAT && strstr(error.text, "version 9") &&
                      strstr(error.text, pieces[i].named),
                  "%s: %s", pieces[i].magic, error.text);
        place_close(&place);
    }
}

Test(daemon_state_golden, a_later_version_of_an_epoch_or_an_exported_cut_is_refused)
{
    struct place place;
    struct daemon_cut_record record;
    uint64_t epoch;
    char path[2 * PATH_ROOM], from[2 * PATH_ROOM];
    place_open(&place);
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
