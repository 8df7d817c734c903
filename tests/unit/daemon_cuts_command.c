// freshet cuts, over a state directory whose journal and journey logs are real: ingest reads a generated
// stream half way, and a cut is made of where it stands.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consumer/ingest.h"
#include "consumer/journal.h"
#include "daemon/config.h"
#include "daemon/cuts.h"
#include "daemon/lock.h"
#include "daemon/scratch.h"
#include "daemon_support.h"
#include "support_directory.h"

enum { PATH_ROOM = 512, TICKS = 200 };

struct world {
    char directory[SUPPORT_DIRECTORY_MAX];
    char file[PATH_ROOM], state[PATH_ROOM]; // the configuration; the state directory
    struct daemon_config *config;
};

static void path_of(const struct world *world, const char *name, char path[PATH_ROOM])
{
    snprintf(path, PATH_ROOM, "%s/%s", world->directory, name);
}

static struct support_outcome *cuts(const char *const *arguments)
{
    return support_command(daemon_command_cuts, "cuts", arguments);
}

#define CUTS(...) cuts((const char *const[]){__VA_ARGS__, NULL})

static int count_tick(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                      struct base_error *error)
{
    (void)tick;
    (void)samples;
    (void)count;
    (void)error;
    ++*(uint32_t *)context;
    return 0;
}

// Reads TICKS ticks, and saves: the state into *state.
static void ingest_half(const struct world *world, struct base_buffer *state)
{
    struct base_error error;
    struct consumer_files_config files;
    struct consumer_decoder_config decoding;
    char lanes[PATH_ROOM], journal[PATH_ROOM], unused[DAEMON_CONFIG_PATH_MAX];
    path_of(world, "state/lanes", lanes);
    path_of(world, "state/journal", journal);
    cr_assert_eq(mkdir(world->state, 0750), 0);
    cr_assert_eq(mkdir(lanes, 0750), 0);
    daemon_config_files(world->config, &files);
    struct consumer_ingest_config config = {
        .source = consumer_files_open(&files, &error),
        .directory = lanes,
        .tick_ms = world->config->tick,
        .last_tick = INT64_MAX,
        .read_ahead_ms = 1000,
        .keep_dropped = true,
    };
    cr_assert_not_null(config.source, "%s", error.text);
    struct consumer_journal_config opened = {
        .directory = journal, .ranks = config.source->ranks, .lanes = config.source->lanes};
    for (uint32_t rank = 0; rank < config.source->ranks; rank++) {
        daemon_config_decoder(world->config, rank, &decoding);
        config.decoders[rank] = consumer_decoder_new(&decoding, NULL, &error);
        cr_assert_not_null(config.decoders[rank], "%s", error.text);
        config.topics[rank] = opened.topics[rank] = daemon_config_topic(world->config, rank)->topic;
    }
    daemon_config_lane(world->config, 0, unused, &config.lane);
    config.journal = consumer_journal_open(&opened, 0, false, &error);
    cr_assert_not_null(config.journal, "%s", error.text);
    struct consumer_ingest *ingest = consumer_ingest_new(&config, &error);
    cr_assert_not_null(ingest, "%s", error.text);
    uint32_t ticks = 0;
    struct consumer_ingest_sink sink = {.tick = count_tick, .context = &ticks};
    while (ticks < TICKS) {
        cr_assert_eq(consumer_ingest_step(ingest, 10, &sink, &error), 0, "%s", error.text);
        cr_assert_not(consumer_ingest_done(ingest));
    }
    cr_assert_eq(
        consumer_journal_note(config.journal, CONSUMER_JOURNAL_ERA, base_span_string("an era"), &error), 0);
    struct base_sync *sync = base_sync_new(NULL);
    cr_assert_eq(consumer_ingest_save(ingest, 1, state, sync, &error), 0, "%s", error.text);
    cr_assert_eq(consumer_journal_sync(config.journal, &error), 0, "%s", error.text);
    cr_assert_eq(base_sync_run(sync, &error), 0, "%s", error.text);
    base_sync_free(sync);
    consumer_ingest_free(ingest);
    consumer_journal_free(config.journal);
    for (uint32_t rank = 0; rank < config.source->ranks; rank++) {
        consumer_decoder_free(config.decoders[rank]);
    }
    config.source->operations->close(config.source);
}

// Makes the cuts 1 and 2 of the state directory, and keeps both.
static void world_cut(const struct world *world, int64_t tick, struct base_span state)
{
    struct base_error error;
    char path[PATH_ROOM];
    path_of(world, "state/db", path);
    struct daemon_store *store = daemon_store_open(path, true, false, &error);
    struct daemon_store_batch *batch = daemon_store_batch_new();
    cr_assert_not_null(store, "%s", error.text);
    for (uint64_t number = 1; number <= 2; number++) {
        struct daemon_cut_record record = {
            .number = number, .tick = tick, .examples = 1234, .rows = 56, .store = 9, .era = "SkylakeX"};
        daemon_store_batch_clear(batch);
        daemon_cuts_put(batch, &record);
        daemon_cuts_put_blob(batch, DAEMON_CUTS_INGEST, state);
        cr_assert_eq(daemon_store_write(store, batch, &error), 0, "%s", error.text);
        cr_assert_eq(daemon_cuts_made(NULL, world->state, &record, &error), 0, "%s", error.text);
        cr_assert_eq(daemon_cuts_keep(NULL, world->state, store, &record, &error), 0, "%s", error.text);
    }
    daemon_store_batch_free(batch);
    daemon_store_close(store);
}

static void world_open(struct world *world)
{
    char files[PATH_ROOM], text[4096];
    struct base_error error;
    support_directory_make(world->directory);
    path_of(world, "files", files);
    path_of(world, "c.yaml", world->file);
    path_of(world, "state", world->state);
    struct support_outcome *outcome = support_command(
        daemon_command_generate, "generate",
        (const char *const[]){"--files", files, "--impressions", "5000", "--rate", "20", "--ctr", "0.3",
                              "--cvr", "0.3", "--click-window", "1m", "--purchase-window", "2m", NULL});
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    free(outcome);
    snprintf(text, sizeof text,
             "state_dir: state\nsource: {kind: files, path: files}\nsegment: 64KiB\n"
             "actions:\n"
             "  - {name: click, topic: clicks, wait: 30s, window: 1m}\n"
             "  - {name: purchase, topic: purchases, wait: 1m, window: 2m}\n"
             "slots: [{name: user, path: user_id}]\n");
    cr_assert_eq(base_disk_replace(NULL, world->file, base_span_string(text), &error), 0, "%s", error.text);
    struct base_config_problems problems = {0};
    world->config = daemon_config_load(world->file, &problems);
    cr_assert(world->config, "%s", problems.count ? problems.item[0].text : "");
    struct base_buffer state = {0};
    ingest_half(world, &state);
    world_cut(world, 7199, base_buffer_span(&state));
    base_buffer_free(&state);
}

static void world_close(struct world *world)
{
    struct base_error error;
    daemon_config_free(world->config);
    cr_expect_eq(daemon_scratch_remove(world->directory, &error), 0, "%s", error.text);
}

static void expect(struct support_outcome *outcome, int status, const char *out, const char *err)
{
    cr_expect_eq(outcome->status, status, "%s%s", outcome->out, outcome->err);
    cr_expect(out ? strstr(outcome->out, out) != NULL : !*outcome->out, "%s", outcome->out);
    cr_expect(err ? strstr(outcome->err, err) != NULL : !*outcome->err, "%s", outcome->err);
    free(outcome);
}

Test(daemon_cuts_command, wrong_usage)
{
    static const char *const cases[][8] = {
        {NULL},
        {"list", NULL},
        {"-c", "x", NULL},
        {"nonsense", "-c", "x", NULL},
        {"list", "extra", "-c", "x", NULL},
        {"keep", "1", "2", "-c", "x", NULL},
        {"drop", "-c", "x", NULL},
        {"export", "1", "-c", "x", NULL},
        {"import", "-c", "x", NULL},
        {"keep", "--json", "-c", "x", NULL},
        {"verify", "--live", "-c", "x", NULL},
        {"list", "--nonsense", "-c", "x", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct support_outcome *outcome = cuts(cases[i]);
        cr_expect_eq(outcome->status, 2, "case %zu", i);
        cr_expect(strstr(outcome->err, "usage: freshet cuts"), "case %zu: %s", i, outcome->err);
        cr_expect_str_empty(outcome->out);
        free(outcome);
    }
    expect(CUTS("list", "-c", "/nowhere/c.yaml"), 1, NULL, "/nowhere/c.yaml");
}

Test(daemon_cuts_command, list_keep_and_drop)
{
    struct world world;
    world_open(&world);
    struct support_outcome *outcome = CUTS("list", "--json", "-c", world.file);
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    json_t *list = json_loads(outcome->out, 0, NULL);
    cr_assert_eq(json_array_size(list), 2, "%s", outcome->out);
    json_t *cut = json_array_get(list, 0);
    cr_expect_eq(json_integer_value(json_object_get(cut, "cut")), 2);
    cr_expect_eq(json_integer_value(json_object_get(cut, "tick")), 7199);
    cr_expect_str_eq(json_string_value(json_object_get(cut, "up_to")), "1970-01-01T01:00:00Z");
    cr_expect_eq(json_integer_value(json_object_get(cut, "examples")), 1234);
    cr_expect_eq(json_integer_value(json_object_get(cut, "rows")), 56);
    cr_expect(json_is_false(json_object_get(cut, "pinned")));
    cr_expect(json_integer_value(json_object_get(cut, "bytes")) > 100);
    json_decref(list);
    free(outcome);

    expect(CUTS("keep", "-c", world.file), 0, "cut 2 stays", NULL);
    expect(CUTS("list", "-c", world.file), 0, "pinned", NULL);
    expect(CUTS("keep", "3", "-c", world.file), 1, NULL, "cut 3 is not kept");
    expect(CUTS("keep", "two", "-c", world.file), 1, NULL, "not a cut's number: two");
    expect(CUTS("drop", "2", "-c", world.file), 0, "cut 2 is dropped", NULL);
    expect(CUTS("drop", "2", "-c", world.file), 1, NULL, "cut 2 is not kept");
    char path[PATH_ROOM];
    path_of(&world, "state/cuts/1/STATE", path);
    cr_assert_eq(truncate(path, 10), 0);
    expect(CUTS("list", "-c", world.file), 0, "1  damaged: ", NULL);
    expect(CUTS("list", "--json", "-c", world.file), 0, "\"damage\"", NULL);
    expect(CUTS("list", "-c", world.file, "--state-dir", "/nowhere"), 0, "examples", NULL);
    world_close(&world);
}

Test(daemon_cuts_command, numbers_that_come_again)
{
    struct world world;
    struct base_error error;
    struct daemon_cuts_kept *kept;
    size_t count;
    uint64_t pinned = 2;
    world_open(&world);
    cr_assert_eq(daemon_cuts_pin(NULL, world.state, &pinned, &error), 0, "%s", error.text);
    world_cut(&world, 8000, base_span_string("another state")); // as after the import of an older cut
    cr_assert_eq(daemon_cuts_list(world.state, &kept, &count, &error), 0, "%s", error.text);
    cr_assert_eq(count, 2);
    cr_expect_eq(kept[0].record.tick, 7199, "2 is pinned and stays");
    cr_expect(kept[0].pinned);
    cr_expect_eq(kept[1].record.tick, 8000, "1 is the new one");
    free(kept);
    expect(CUTS("verify", "2", "-c", world.file), 0, "is whole", NULL);
    world_close(&world);
}

Test(daemon_cuts_command, export_import_verify)
{
    struct world world;
    char out[PATH_ROOM], other[PATH_ROOM];
    world_open(&world);
    path_of(&world, "out", out);
    path_of(&world, "other", other);
    expect(CUTS("verify", "-c", world.file), 0, "cut 2 in ", NULL);
    expect(CUTS("verify", "1", "-c", world.file), 0, "is whole", NULL);
    expect(CUTS("export", "1", out, "-c", world.file), 0, "cut 1 is in ", NULL);
    expect(CUTS("verify", out, "-c", world.file), 0, "is whole", NULL);
    expect(CUTS("import", out, "-c", world.file), 1, NULL, "is kept already");
    expect(CUTS("import", out, "-c", world.file, "--state-dir", other), 0, "keeps cut 1, pinned", NULL);
    expect(CUTS("verify", "-c", world.file, "--state-dir", other), 0, "cut 1 in ", NULL);
    expect(CUTS("import", out, "-c", world.file, "--state-dir", other, "--live"), 0, "goes on from cut 1",
           NULL);
    expect(CUTS("import", out, "-c", world.file, "--live"), 1, NULL, "is there");
    expect(CUTS("verify", other, "-c", world.file), 1, NULL, "STATE"); // no kept cut
    struct base_error error;
    struct daemon_lock *lock = daemon_lock_take(other, &error);
    expect(CUTS("import", out, "-c", world.file, "--state-dir", other, "--live"), 1, NULL, "another process");
    daemon_lock_free(lock);
    world_close(&world);
}

// A byte of a file below the kept cut's directory, found by its pattern.
static void flip(const struct world *world, const char *pattern, off_t offset)
{
    char path[PATH_ROOM];
    uint8_t byte;
    glob_t found;
    path_of(world, pattern, path);
    cr_assert_eq(glob(path, 0, NULL, &found), 0, "%s", path);
    int fd = open(found.gl_pathv[0], O_RDWR | O_CLOEXEC);
    globfree(&found);
    cr_assert(fd >= 0);
    cr_assert_eq(pread(fd, &byte, 1, offset), 1);
    byte ^= 4;
    cr_assert_eq(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

Test(daemon_cuts_command, damaged_logs_are_named)
{
    static const struct {
        const char *pattern, *text;
        off_t offset;
    } cases[] = {
        {"state/cuts/2/lanes/lane-0000/impression.*", "lanes/lane-0000/impression", 5000},
        {"state/cuts/2/lanes/lane-0000/click.*", "lanes/lane-0000/click", 700},
        {"state/cuts/2/lanes/lane-0000/purchase*", "lanes/lane-0000/purchase", 200},
        {"state/cuts/2/journal/*", "journal/", 40},
        {"state/cuts/2/db/*.sst", ".sst", 20},
    };
    struct world world;
    world_open(&world);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        flip(&world, cases[i].pattern, cases[i].offset);
        expect(CUTS("verify", "-c", world.file), 1, NULL, cases[i].text);
        flip(&world, cases[i].pattern, cases[i].offset);
    }
    expect(CUTS("verify", "-c", world.file), 0, "is whole", NULL); // and nothing was changed by it
    // Another configuration's topics.
    char file[PATH_ROOM];
    struct base_error error;
    path_of(&world, "d.yaml", file);
    const char *text = "state_dir: state\nsource: {kind: files, path: files}\n"
                       "actions: [{name: click, topic: clicks, wait: 30s, window: 1m}]\n"
                       "slots: [{name: user, path: user_id}]\n";
    cr_assert_eq(base_disk_replace(NULL, file, base_span_string(text), &error), 0);
    expect(CUTS("verify", "-c", file), 1, NULL, "topics");
    world_close(&world);
}
