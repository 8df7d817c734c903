// Verifies a cut where it lies. See cuts.h.
//
// Journal and journey logs are verified by what reads them at a restart: ingest is restored from the saved
// state, with a source that only says where it stands, and a disk that changes nothing.
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "consumer/ingest.h"
#include "consumer/journal.h"
#include "daemon/config.h"
#include "daemon/cuts_private.h"

// ---- without the configuration ----

static int verify_each(void *context, struct base_span key, struct base_span value, struct base_error *error)
{
    (void)context; // that they can be read is all: RocksDB compares every block's checksum
    (void)key;
    (void)value;
    (void)error;
    return 0;
}

int daemon_cuts_verify(const char *directory, struct daemon_cut_record *record, struct base_error *error)
{
    struct daemon_cut_record state, found;
    char path[DAEMON_CUTS_PATH_MAX];
    if ((daemon_cuts_has(directory, CUTS_MANIFEST_NAME) && daemon_cuts_manifest_verify(directory, error)) ||
        daemon_cuts_state(directory, &state, error) || daemon_cuts_join(path, directory, "db", error)) {
        return -1;
    }
    struct daemon_store *store = daemon_store_open(path, false, true, error);
    int result = store ? daemon_cuts_get(store, &found, error) : -1;
    if (result == 0 && (found.number != state.number || found.store != state.store)) {
        result = base_error_set(error, BASE_EFORMAT,
                                "%s/" CUTS_STATE_NAME " is of cut %" PRIu64
                                ", the database beside it of cut %" PRIu64,
                                directory, state.number, found.number);
    }
    if (result == 0) {
        result = daemon_store_scan(store, base_span_string(""), verify_each, NULL, error);
    }
    daemon_store_close(store);
    if (result == 0) {
        *record = state;
    }
    return result;
}

// ---- a disk that changes nothing ----

static int still_open(struct base_disk *disk, const char *path, int flags, int *fd)
{
    (void)disk;
    int reading = (flags & ~(O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC)) | O_RDONLY;
    return base_disk_system.operations->open(&base_disk_system, path, reading, fd);
}

static int still_write(struct base_disk *disk, int fd, const char *path, struct base_span bytes,
                       uint64_t offset)
{
    (void)disk;
    (void)fd;
    (void)path;
    (void)bytes;
    (void)offset;
    return 0;
}

static int still_size(struct base_disk *disk, int fd, const char *path, uint64_t size)
{
    (void)disk;
    (void)fd;
    (void)path;
    (void)size;
    return 0;
}

static int still_sync(struct base_disk *disk, int fd, const char *path)
{
    (void)disk;
    (void)fd;
    (void)path;
    return 0;
}

static int still_path(struct base_disk *disk, const char *path)
{
    (void)disk;
    (void)path;
    return 0;
}

static int still_paths(struct base_disk *disk, const char *from, const char *to)
{
    (void)disk;
    (void)from;
    (void)to;
    return 0;
}

static const struct base_disk_operations still_operations = {
    .open = still_open,
    .write = still_write,
    .allocate = still_size,
    .truncate = still_size,
    .sync = still_sync,
    .sync_directory = still_path,
    .rename = still_paths,
    .link = still_paths,
    .unlink = still_path,
    .make_directory = still_path,
};

// ---- a source that only stands there ----

struct still_source {
    struct consumer_source source;
    const int64_t *offsets; // [ranks * lanes], rank-major
};

static void still_position(struct consumer_source *source, uint32_t rank, uint32_t lane,
                           struct consumer_position *position)
{
    const struct still_source *still = (const struct still_source *)source;
    *position = (struct consumer_position){.next = still->offsets[rank * source->lanes + lane], .end = -1};
}

static const struct consumer_source_operations still_source_operations = {.position = still_position};

// ---- the logs ----

static int verify_ingest(const struct daemon_config *config, const char *directory, struct base_span state,
                         uint32_t saved_lanes, struct consumer_journal *journal, struct base_error *error)
{
    struct base_disk disk = {&still_operations};
    char lanes[DAEMON_CUTS_PATH_MAX], unused[DAEMON_CONFIG_PATH_MAX];
    int64_t *offsets = base_alloc(CONSUMER_TOPICS_MAX * CONSUMER_LANES_MAX * sizeof *offsets);
    struct still_source still = {{&still_source_operations, daemon_config_ranks(config), 0}, offsets};
    // A kept cut's journal is the live one's files: it may say what came to hold after a later cut only.
    if (consumer_ingest_offsets(state, journal, still.source.ranks, &still.source.lanes, offsets, error) ||
        still.source.lanes != saved_lanes) {
        journal = NULL;
    }
    if (daemon_cuts_join(lanes, directory, "lanes", error) ||
        consumer_ingest_offsets(state, journal, still.source.ranks, &still.source.lanes, offsets, error)) {
        free(offsets);
        return -1;
    }
    struct consumer_ingest_config ingest = {
        .source = &still.source,
        .directory = lanes,
        .tick_ms = config->tick,
        .last_tick = INT64_MAX,
        .journal = journal,
        .restore = state,
        .disk = &disk,
        .keep_dropped = true,
    };
    for (uint32_t rank = 0; rank < still.source.ranks; rank++) {
        ingest.topics[rank] = daemon_config_topic(config, rank)->topic;
    }
    ingest.columns = daemon_config_generation(config);
    daemon_config_lane(config, 0, unused, &ingest.lane);
    struct consumer_ingest *restored = consumer_ingest_new(&ingest, error);
    consumer_ingest_free(restored);
    free(offsets);
    return restored ? 0 : -1;
}

int daemon_cuts_verify_logs(const struct daemon_config *config, const char *directory,
                            struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    struct base_buffer state = {0};
    struct consumer_ingest_saved saved;
    struct consumer_journal *journal = NULL;
    int result = -1;
    if (daemon_cuts_join(path, directory, "db", error)) {
        return -1;
    }
    struct daemon_store *store = daemon_store_open(path, false, true, error);
    if (!store || daemon_cuts_get_blob(store, DAEMON_CUTS_INGEST, &state, error) ||
        consumer_ingest_saved(base_buffer_span(&state), &saved, error) ||
        daemon_cuts_join(path, directory, "journal", error)) {
        goto out;
    }
    struct consumer_journal_config opened = {
        .directory = path, .ranks = daemon_config_ranks(config), .lanes = saved.lanes};
    for (uint32_t rank = 0; rank < opened.ranks; rank++) {
        opened.topics[rank] = daemon_config_topic(config, rank)->topic;
    }
    journal = consumer_journal_open(&opened, saved.journal, true, error);
    if (journal) {
        result = verify_ingest(config, directory, base_buffer_span(&state), saved.lanes, journal, error);
    }
out:
    consumer_journal_free(journal);
    daemon_store_close(store);
    base_buffer_free(&state);
    return result;
}
