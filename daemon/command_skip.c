// freshet skip: the operator's word about a log that is not as it was read, put into the decision journal.
//
// A daemon that finds its log cut by retention, replaced, truncated or grown stops with a sentence that names
// this command (docs/operations.md). It changes nothing but the journal: the next start obeys it, and so does
// every replay.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "consumer/ingest.h"
#include "consumer/journal.h"
#include "daemon/command.h"
#include "daemon/config_print.h"
#include "daemon/cuts.h"
#include "daemon/lock.h"

enum { SKIP_TIMEOUT_MS = 5000 }; // for the broker's answer

static const char usage[] =
    "usage: freshet skip -c FILE --topic T --partition P --to OFFSET|earliest|latest [--new-log] [--yes]\n"
    "       freshet skip -c FILE --partitions N [--yes]\n"
    "Decides how freshetd goes on from its last cut where a log is not as it was; freshetd must be stopped.\n"
    "The decision is written to the journal, which a restart and every replay obey.\n"
    "\n"
    "  -c, --config FILE    the configuration\n"
    "      --topic T, --partition P   whose log it is\n"
    "      --to OFFSET      the records before this offset that are not learned yet are not read\n"
    "      --new-log        the log is another one (the topic was made anew, or truncated): go on at --to "
    "in\n"
    "                       the log as it is now, without comparing it with what was read before\n"
    "      --partitions N   every topic now has N partitions: those that are known go on, the others begin\n"
    "                       at their logs' start\n"
    "      --yes            do not ask\n"
    "      --state-dir DIR  instead of the configured one\n";

struct skip {
    const char *path, *state_dir, *topic, *to;
    uint64_t partition, partitions;
    bool partition_given, partitions_given, new_log, yes;

    struct daemon_config *config;
    struct daemon_lock *lock;
    struct daemon_store *store;
    struct daemon_cut_record record; // the last cut
    struct base_buffer state;        // of ingest, in it
    struct consumer_ingest_saved saved;
    struct consumer_journal *journal;
};

// ---- what there is ----

static int skip_open_journal(struct skip *skip, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    if (daemon_cuts_get_blob(skip->store, DAEMON_CUTS_INGEST, &skip->state, error) ||
        consumer_ingest_saved(base_buffer_span(&skip->state), &skip->saved, error)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/journal", skip->state_dir);
    struct consumer_journal_config journal = {
        .directory = path, .ranks = daemon_config_ranks(skip->config), .lanes = skip->saved.lanes};
    for (uint32_t rank = 0; rank < journal.ranks; rank++) {
        journal.topics[rank] = daemon_config_topic(skip->config, rank)->topic;
    }
    skip->journal = consumer_journal_open(&journal, skip->saved.journal, false, error);
    return skip->journal ? 0 : -1;
}

static int skip_open(struct skip *skip, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    snprintf(path, sizeof path, "%s/db", skip->state_dir);
    if (access(path, F_OK)) {
        return base_error_set(error, BASE_ENOTFOUND,
                              "%s holds no cut: nothing was read that could be skipped", skip->state_dir);
    }
    skip->lock = daemon_lock_take(skip->state_dir, error);
    if (!skip->lock) {
        return -1;
    }
    skip->store = daemon_store_open(path, false, true, error);
    if (!skip->store || daemon_cuts_last(skip->state_dir, skip->store, &skip->record, error)) {
        return -1;
    }
    if (skip->record.number == 0) {
        return base_error_set(error, BASE_ENOTFOUND,
                              "%s holds no cut: nothing was read that could be skipped", skip->state_dir);
    }
    return skip_open_journal(skip, error);
}

static void skip_close(struct skip *skip)
{
    consumer_journal_free(skip->journal);
    daemon_store_close(skip->store);
    base_buffer_free(&skip->state);
    daemon_lock_free(skip->lock);
    daemon_config_free(skip->config);
}

static bool skip_agreed(const struct skip *skip)
{
    if (skip->yes) {
        return true;
    }
    char answer[8] = "";
    printf("write this to the journal? [y/N] ");
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

// 0: it is in the journal, 1: the operator did not want it.
static int skip_commit(const struct skip *skip, struct base_error *error)
{
    if (!skip_agreed(skip)) {
        printf("nothing was changed\n");
        return 1;
    }
    return consumer_journal_sync(skip->journal, error);
}

// ---- a partition ----

struct skip_log {
    uint32_t rank, lane;
    int64_t unread;    // the first offset that is not handled
    bool known;        // the broker has told:
    int64_t low, high; // the log holds [low, high)
};

static int skip_find(const struct skip *skip, struct skip_log *log, struct base_error *error)
{
    uint32_t lanes, ranks = daemon_config_ranks(skip->config);
    log->rank = 0;
    while (log->rank < ranks &&
           strcmp(daemon_config_topic(skip->config, log->rank)->topic, skip->topic) != 0) {
        log->rank++;
    }
    if (log->rank == ranks) {
        return base_error_set(error, BASE_ENOTFOUND, "%s names no topic %s", skip->path, skip->topic);
    }
    if (skip->partition >= skip->saved.lanes) {
        return base_error_set(error, BASE_ENOTFOUND, "cut %" PRIu64 " knows partitions 0 to %u, not %" PRIu64,
                              skip->record.number, skip->saved.lanes - 1, skip->partition);
    }
    log->lane = (uint32_t)skip->partition;
    int64_t *offsets = base_alloc(CONSUMER_TOPICS_MAX * CONSUMER_LANES_MAX * sizeof *offsets);
    int status =
        consumer_ingest_unread(base_buffer_span(&skip->state), skip->journal, ranks, &lanes, offsets, error);
    log->unread = status ? 0 : offsets[log->rank * lanes + log->lane];
    free(offsets);
    return status;
}

static int skip_ask_broker(const struct skip *skip, struct skip_log *log, struct base_error *error)
{
    if (skip->config->source.kind != DAEMON_SOURCE_KAFKA) {
        return base_error_set(error, BASE_EINVAL, "the source is no Kafka");
    }
    struct consumer_kafka_config kafka;
    daemon_config_kafka(skip->config, &kafka);
    kafka.timeout_ms = SKIP_TIMEOUT_MS;
    if (consumer_kafka_bounds(&kafka, log->rank, log->lane, &log->low, &log->high, error)) {
        return -1;
    }
    log->known = true;
    return 0;
}

// Works out --to.
static int skip_target(const struct skip *skip, const struct skip_log *log, int64_t *to,
                       struct base_error *error)
{
    uint64_t number = 0;
    bool earliest = strcmp(skip->to, "earliest") == 0, latest = strcmp(skip->to, "latest") == 0;
    if (!earliest && !latest &&
        (base_config_parse_uint(skip->to, &number) || number > (uint64_t)INT64_MAX - 1)) {
        return base_error_set(error, BASE_EINVAL, "--to: neither an offset nor earliest or latest: %s",
                              skip->to);
    }
    if (!log->known && (earliest || latest)) {
        return -1; // with the broker's error
    }
    *to = earliest ? log->low : latest ? log->high : (int64_t)number;
    if (log->known && (*to < log->low || *to > log->high)) {
        return base_error_set(error, BASE_ENOTFOUND,
                              "offset %" PRId64 " is not in the log, which has %" PRId64 " to %" PRId64, *to,
                              log->low, log->high);
    }
    if (!skip->new_log && *to <= log->unread) {
        return base_error_set(error, BASE_EINVAL,
                              "offset %" PRId64 " is the next to be read, so nothing before %" PRId64
                              " could be skipped; if the log is another one than was read, say --new-log",
                              log->unread, *to);
    }
    return 0;
}

static void skip_show(const struct skip *skip, const struct skip_log *log, int64_t to)
{
    printf("topic %s, partition %u, at cut %" PRIu64 " of %s\n", skip->topic, log->lane, skip->record.number,
           skip->state_dir);
    printf("  next to be read   offset %" PRId64 "\n", log->unread);
    if (log->known) {
        printf("  the log has       offsets %" PRId64 " to %" PRId64 "\n", log->low, log->high);
    }
    if (skip->new_log) {
        printf("  to be done        take the log for another one: go on at offset %" PRId64
               " of it without comparing; what the old one had from offset %" PRId64 " on is never learned\n",
               to, log->unread);
        return;
    }
    printf("  to be skipped     offsets %" PRId64 " to %" PRId64 ": %" PRId64, log->unread, to - 1,
           to - log->unread);
    if (log->known) {
        int64_t begin = log->low > log->unread ? log->low : log->unread;
        printf(", of which the log still has %" PRId64, to > begin ? to - begin : 0);
    }
    putchar('\n');
}

static int skip_partition(const struct skip *skip, struct base_error *error)
{
    struct skip_log log = {0};
    int64_t to = 0;
    if (skip_find(skip, &log, error)) {
        return -1;
    }
    if (skip_ask_broker(skip, &log, error) && skip->config->source.kind == DAEMON_SOURCE_KAFKA) {
        fprintf(stderr, "freshet skip: what the log has is not known: %s\n", error->text);
    }
    if (skip_target(skip, &log, &to, error)) {
        return -1;
    }
    skip_show(skip, &log, to);
    int status = skip->new_log
                     ? consumer_journal_replace(skip->journal, log.rank, log.lane, skip->saved.cut,
                                                log.unread, to, error)
                     : consumer_journal_skip(skip->journal, log.rank, log.lane, log.unread, to, error);
    status = status ? status : skip_commit(skip, error);
    if (status == 0) {
        printf("freshetd goes on at offset %" PRId64 " of topic %s, partition %u\n", to, skip->topic,
               log.lane);
    }
    return status;
}

// ---- new partitions ----

// A new lane's time begins above what is handled: whatever its first records say, they come too late for
// that.
static int skip_raise(const struct skip *skip, uint32_t lane, struct base_error *error)
{
    for (uint32_t rank = 0; rank < skip->saved.ranks; rank++) {
        const struct consumer_ingest_decision decision = {.what = CONSUMER_INGEST_RAISED,
                                                          .rank = rank,
                                                          .lane = lane,
                                                          .watermark = skip->saved.frontier + 1};
        if (consumer_journal_add(skip->journal, &decision, error)) {
            return -1;
        }
    }
    return 0;
}

static int skip_grow(const struct skip *skip, struct base_error *error)
{
    uint32_t before = consumer_journal_lanes(skip->journal);
    if (skip->partitions > CONSUMER_LANES_MAX ||
        consumer_journal_grow(skip->journal, (uint32_t)skip->partitions, error)) {
        return base_error_set(error, BASE_EINVAL,
                              "--partitions: the topics had %u; more, up to %d, are possible, not %" PRIu64,
                              before, CONSUMER_LANES_MAX, skip->partitions);
    }
    bool begun = skip->saved.frontier != CONSUMER_TIME_MIN && skip->saved.frontier != CONSUMER_TIME_MAX;
    for (uint32_t lane = before; begun && lane < skip->partitions; lane++) {
        if (skip_raise(skip, lane, error)) {
            return -1;
        }
    }
    printf("every topic has %" PRIu64 " partitions, at cut %" PRIu64 " of %s\n"
           "  partitions 0 to %u go on\n"
           "  partitions %u to %" PRIu64 " begin at their logs' start\n"
           "  a later action whose key now lies in another partition than its impression's finds nothing to "
           "join "
           "there: it waits, and is counted as expired\n",
           skip->partitions, skip->record.number, skip->state_dir, before - 1, before, skip->partitions - 1);
    int status = skip_commit(skip, error);
    if (status == 0) {
        printf("freshetd goes on with %" PRIu64 " partitions\n", skip->partitions);
    }
    return status;
}

// ---- the command ----

static int skip_run(struct skip *skip)
{
    struct base_error error = {0};
    skip->config = daemon_config_load_and_print(skip->path);
    if (!skip->config) {
        return 1;
    }
    skip->state_dir = skip->state_dir ? skip->state_dir : skip->config->state_dir;
    int status = skip_open(skip, &error);
    if (status == 0) {
        status = skip->partitions_given ? skip_grow(skip, &error) : skip_partition(skip, &error);
    }
    if (status < 0) {
        fprintf(stderr, "freshet skip: %s\n", error.text);
    }
    skip_close(skip);
    return status ? 1 : 0;
}

static bool skip_parse(int argc, char **argv, struct skip *skip, int *status)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"topic", required_argument, NULL, 't'},
        {"partition", required_argument, NULL, 'p'},
        {"to", required_argument, NULL, 'o'},
        {"partitions", required_argument, NULL, 'n'},
        {"state-dir", required_argument, NULL, 's'},
        {"new-log", no_argument, NULL, 'l'},
        {"yes", no_argument, NULL, 'y'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    bool right = true;
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;) {
        switch (option) {
        case 'c':
            skip->path = optarg;
            break;
        case 't':
            skip->topic = optarg;
            break;
        case 'p':
            skip->partition_given = true;
            right = right && !base_config_parse_uint(optarg, &skip->partition);
            break;
        case 'o':
            skip->to = optarg;
            break;
        case 'n':
            skip->partitions_given = true;
            right = right && !base_config_parse_uint(optarg, &skip->partitions);
            break;
        case 's':
            skip->state_dir = optarg;
            break;
        case 'l':
            skip->new_log = true;
            break;
        case 'y':
            skip->yes = true;
            break;
        case 'h':
            fputs(usage, stdout);
            *status = 0;
            return false;
        default:
            right = false;
            break;
        }
    }
    bool partition = skip->topic && skip->partition_given && skip->to;
    bool none = !skip->topic && !skip->partition_given && !skip->to && !skip->new_log;
    if (!right || optind != argc || !skip->path || (skip->partitions_given ? !none : !partition)) {
        fputs(usage, stderr);
        *status = 2;
        return false;
    }
    return true;
}

int daemon_command_skip(int argc, char **argv)
{
    struct skip skip = {0};
    int status;
    return skip_parse(argc, argv, &skip, &status) ? skip_run(&skip) : status;
}
