// freshet skip: what it refuses, what it asks, and what is in the journal then.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/journal.h"
#include "daemon/lock.h"
#include "daemon/pipeline.h"
#include "daemon/scratch.h"
#include "daemon_support.h"
#include "support_directory.h"

enum { PATH_ROOM = 512 };

static struct base_error error;

struct world {
    char directory[SUPPORT_DIRECTORY_MAX];
    char file[PATH_ROOM], state[PATH_ROOM], journal[PATH_ROOM];
    struct daemon_config *config;
};

static void world_open(struct world *world)
{
    char files[PATH_ROOM], text[1024];
    support_directory_make(world->directory);
    snprintf(files, sizeof files, "%s/files", world->directory);
    snprintf(world->file, sizeof world->file, "%s/c.yaml", world->directory);
    snprintf(world->state, sizeof world->state, "%s/state", world->directory);
    snprintf(world->journal, sizeof world->journal, "%s/state/journal", world->directory);
    struct support_outcome *outcome = support_command(
        daemon_command_generate, "generate",
        (const char *const[]){"--files", files, "--lanes", "2", "--impressions", "1000", "--ctr", "0.3",
                              "--click-window", "1m", "--purchase-window", "2m", NULL});
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    free(outcome);
    snprintf(text, sizeof text,
             "state_dir: state\nsource: {kind: files, path: files}\n"
             "model: {levels: [{experts: [16]}], towers: [16], batch: 64}\n"
             "actions:\n"
             "  - {name: click, topic: clicks, wait: 30s, window: 1m}\n"
             "  - {name: purchase, topic: purchases, wait: 1m, window: 2m}\n"
             "slots: [{name: user, path: user_id}]\n");
    cr_assert_eq(base_disk_replace(NULL, world->file, base_span_string(text), &error), 0, "%s", error.text);
    struct base_config_problems problems = {0};
    world->config = daemon_config_load(world->file, &problems);
    cr_assert(world->config, "%s", problems.count ? problems.item[0].text : "");
}

// Reads it all, and leaves a cut.
static void world_learn(const struct world *world)
{
    const struct daemon_pipeline_options options = {.durable = true, .bounded = true};
    struct daemon_pipeline *pipeline = daemon_pipeline_new(world->config, &options, &error);
    cr_assert(pipeline && daemon_pipeline_start(pipeline, &error) == 0, "%s", error.text);
    cr_assert_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
    daemon_pipeline_free(pipeline);
}

static void world_close(struct world *world)
{
    daemon_config_free(world->config);
    cr_expect_eq(daemon_scratch_remove(world->directory, &error), 0, "%s", error.text);
}

static struct consumer_journal *world_journal(const struct world *world)
{
    const struct consumer_journal_config config = {.directory = world->journal,
                                                   .ranks = 3,
                                                   .lanes = 2,
                                                   .topics = {"impressions", "clicks", "purchases"}};
    struct consumer_journal *journal = consumer_journal_open(&config, 0, true, &error);
    cr_assert(journal, "%s", error.text);
    return journal;
}

static void expect(const char *const *arguments, int status, const char *out, const char *err)
{
    struct support_outcome *outcome = support_command(daemon_command_skip, "skip", arguments);
    cr_expect_eq(outcome->status, status, "%s%s", outcome->out, outcome->err);
    cr_expect(out ? strstr(outcome->out, out) != NULL : !*outcome->out, "%s", outcome->out);
    cr_expect(err ? strstr(outcome->err, err) != NULL : !*outcome->err, "%s", outcome->err);
    free(outcome);
}

#define EXPECT(status, out, err, ...) \
    expect((const char *const[]){"-c", world.file, __VA_ARGS__, NULL}, status, out, err)

Test(daemon_skip, wrong_usage)
{
    struct world world = {.file = "/nowhere.yaml"};
    expect((const char *const[]){"--help", NULL}, 0, "usage: freshet skip", NULL);
    expect((const char *const[]){"--partitions", "3", NULL}, 2, NULL, "usage: freshet skip");
    EXPECT(2, NULL, "usage", "--topic", "clicks", "--partition", "0");
    EXPECT(2, NULL, "usage", "--topic", "clicks", "--partition", "two", "--to", "5");
    EXPECT(2, NULL, "usage", "--topic", "clicks", "--partitions", "3");
    EXPECT(2, NULL, "usage", "--partitions", "3", "--new-log");
    EXPECT(2, NULL, "usage", "--partitions", "3", "more");
    EXPECT(1, NULL, "/nowhere.yaml", "--partitions", "3");
}

Test(daemon_skip, what_cannot_be_skipped)
{
    struct world world;
    world_open(&world);
    EXPECT(1, NULL, "holds no cut", "--topic", "clicks", "--partition", "0", "--to", "500", "--yes");
    world_learn(&world);
    EXPECT(1, NULL, "names no topic returns", "--topic", "returns", "--partition", "0", "--to", "500",
           "--yes");
    EXPECT(1, NULL, "knows partitions 0 to 1, not 2", "--topic", "clicks", "--partition", "2", "--to", "500",
           "--yes");
    EXPECT(1, NULL, "is the next to be read", "--topic", "clicks", "--partition", "0", "--to", "1", "--yes");
    EXPECT(1, NULL, "neither an offset nor", "--topic", "clicks", "--partition", "0", "--to", "-1", "--yes");
    EXPECT(1, NULL, "the source is no Kafka", "--topic", "clicks", "--partition", "0", "--to", "latest",
           "--yes");
    EXPECT(1, NULL, "--partitions: the topics had 2", "--partitions", "2", "--yes");
    EXPECT(1, NULL, "--partitions: the topics had 2", "--partitions", "5000", "--yes");
    struct daemon_lock *lock = daemon_lock_take(world.state, &error);
    EXPECT(1, NULL, "another process", "--topic", "clicks", "--partition", "0", "--to", "90000", "--yes");
    daemon_lock_free(lock);
    world_close(&world);
}

Test(daemon_skip, what_is_decided_is_in_the_journal)
{
    struct world world;
    world_open(&world);
    world_learn(&world);
    cr_assert_not_null(freopen("/dev/null", "r", stdin)); // nobody says yes
    EXPECT(1, "nothing was changed", NULL, "--topic", "clicks", "--partition", "1", "--to", "90000");
    struct consumer_journal *journal = world_journal(&world);
    cr_assert_eq(consumer_journal_skipped(journal), 0);
    consumer_journal_free(journal);

    EXPECT(0, "freshetd goes on at offset 90000 of topic clicks, partition 1", NULL, "--topic", "clicks",
           "--partition", "1", "--to", "90000", "--yes");
    EXPECT(1, NULL, "offset 90000 is the next to be read", "--topic", "clicks", "--partition", "1", "--to",
           "90000", "--yes");
    EXPECT(0, "offsets 90000 to 90009: 10\n", NULL, "--topic", "clicks", "--partition", "1", "--to", "90010",
           "--yes");
    journal = world_journal(&world);
    cr_assert_eq(consumer_journal_beyond(journal, 1, 1, 89999), 90010);
    cr_assert_eq(consumer_journal_beyond(journal, 1, 0, 89999), 89999);
    cr_assert_eq(consumer_journal_replaced(journal, 1, 1, 0, &error), -1);
    consumer_journal_free(journal);

    EXPECT(0, "take the log for another one: go on at offset 7", NULL, "--topic", "clicks", "--partition",
           "1", "--to", "7", "--new-log", "--yes");
    EXPECT(0, "  partitions 2 to 4 begin at their logs' start", NULL, "--partitions", "5", "--yes");
    // A kept cut's journal is the same files.
    struct support_outcome *outcome =
        support_command(daemon_command_cuts, "cuts", (const char *const[]){"verify", "-c", world.file, NULL});
    cr_expect_eq(outcome->status, 0, "%s", outcome->err);
    free(outcome);
    journal = world_journal(&world);
    cr_assert_eq(consumer_journal_lanes(journal), 5);
    cr_assert_eq(consumer_journal_replaced(journal, 1, 1, 0, &error), -2);
    cr_assert_eq(consumer_journal_skipped(journal), 0, "they were the old log's");
    for (uint32_t rank = 0; rank < 3; rank++) {
        const struct consumer_ingest_decision *decision = consumer_journal_next(journal, rank, 4);
        cr_assert(decision && decision->what == CONSUMER_INGEST_RAISED && decision->next == 0);
        cr_assert_gt(decision->watermark, 0);
    }
    consumer_journal_free(journal);
    world_close(&world);
}
