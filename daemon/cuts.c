// A cut's record and blobs in the database, and LAST_CUT. See cuts.h; cuts_kept.c has the kept ones.
#include "daemon/cuts.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/section.h"
#include "daemon/cuts_private.h"

#define CUTS_RECORD_MAGIC "FRSHCUTR"
#define CUTS_BLOB_MAGIC "FRSHBLOB"
#define CUTS_LAST_MAGIC "FRSHLAST"
#define CUTS_LAST_NAME "LAST_CUT"

enum { CUTS_VERSION = 1, CUTS_LAST_MAX = 4096 };

static const char cuts_key[] = "s/cut", cuts_blob_key[] = "s/blob/";

// ---- the record ----

void daemon_cuts_pack(struct base_buffer *buffer, const struct daemon_cut_record *record)
{
    size_t mark = base_section_begin(buffer, CUTS_RECORD_MAGIC, CUTS_VERSION);
    base_buffer_u64(buffer, record->number);
    base_buffer_u64(buffer, (uint64_t)record->tick);
    base_buffer_u64(buffer, (uint64_t)record->frontier);
    base_buffer_u64(buffer, (uint64_t)record->wall_ms);
    base_buffer_u64(buffer, record->examples);
    base_buffer_u64(buffer, record->rows);
    base_buffer_u64(buffer, record->journal);
    base_buffer_u64(buffer, record->config);
    base_buffer_u64(buffer, record->store);
    assert(memchr(record->era, '\0', sizeof record->era));
    base_section_put_span(buffer, base_span_string(record->era));
    base_section_end(buffer, mark);
}

int daemon_cuts_unpack(struct base_span bytes, struct daemon_cut_record *record, const char *what,
                       struct base_error *error)
{
    struct base_reader from = {.rest = bytes}, payload;
    if (base_section_open(&from, CUTS_RECORD_MAGIC, CUTS_VERSION, &payload, what, error)) {
        return -1;
    }
    struct daemon_cut_record read = {
        .number = base_reader_u64(&payload),
        .tick = (int64_t)base_reader_u64(&payload),
        .frontier = (int64_t)base_reader_u64(&payload),
        .wall_ms = (int64_t)base_reader_u64(&payload),
        .examples = base_reader_u64(&payload),
        .rows = base_reader_u64(&payload),
        .journal = base_reader_u64(&payload),
        .config = base_reader_u64(&payload),
        .store = base_reader_u64(&payload),
    };
    struct base_span era = base_section_get_span(&payload);
    if (base_section_close(&payload, what, error)) {
        return -1;
    }
    if (from.rest.size || read.number == 0 || !era.data || era.size >= sizeof read.era) {
        return base_error_set(error, BASE_EFORMAT, "%s is not a cut's record", what);
    }
    if (era.size) {
        memcpy(read.era, era.data, era.size);
    }
    *record = read;
    return 0;
}

void daemon_cuts_put(struct daemon_store_batch *batch, const struct daemon_cut_record *record)
{
    assert(record->number > 0 && record->store != 0);
    struct base_buffer buffer = {0};
    daemon_cuts_pack(&buffer, record);
    daemon_store_batch_put(batch, base_span_string(cuts_key), base_buffer_span(&buffer));
    base_buffer_free(&buffer);
}

int daemon_cuts_get(struct daemon_store *store, struct daemon_cut_record *record, struct base_error *error)
{
    struct base_buffer buffer = {0};
    char what[DAEMON_CUTS_PATH_MAX];
    snprintf(what, sizeof what, "the cut's record in %s", daemon_store_path(store));
    int result = daemon_store_get(store, base_span_string(cuts_key), &buffer, error);
    if (result == 0) {
        result = daemon_cuts_unpack(base_buffer_span(&buffer), record, what, error);
    }
    base_buffer_free(&buffer);
    return result;
}

// ---- blobs ----

static struct base_span cuts_blob_name(const char *name,
                                       char key[sizeof cuts_blob_key + DAEMON_CUTS_NAME_MAX])
{
    assert(strlen(name) < DAEMON_CUTS_NAME_MAX);
    snprintf(key, sizeof cuts_blob_key + DAEMON_CUTS_NAME_MAX, "%s%s", cuts_blob_key, name);
    return base_span_string(key);
}

void daemon_cuts_put_blob(struct daemon_store_batch *batch, const char *name, struct base_span blob)
{
    char key[sizeof cuts_blob_key + DAEMON_CUTS_NAME_MAX];
    struct base_buffer buffer = {0};
    size_t mark = base_section_begin(&buffer, CUTS_BLOB_MAGIC, CUTS_VERSION);
    base_section_put_span(&buffer, base_span_string(name)); // one under another's key is seen
    base_section_put_span(&buffer, blob);
    base_section_end(&buffer, mark);
    daemon_store_batch_put(batch, cuts_blob_name(name, key), base_buffer_span(&buffer));
    base_buffer_free(&buffer);
}

int daemon_cuts_get_blob(struct daemon_store *store, const char *name, struct base_buffer *blob,
                         struct base_error *error)
{
    char key[sizeof cuts_blob_key + DAEMON_CUTS_NAME_MAX], what[DAEMON_CUTS_PATH_MAX];
    struct base_buffer buffer = {0};
    struct base_reader payload;
    int result = -1;
    snprintf(what, sizeof what, "the saved state \"%s\" in %s", name, daemon_store_path(store));
    if (daemon_store_get(store, cuts_blob_name(name, key), &buffer, error)) {
        goto out;
    }
    struct base_reader from = {.rest = base_buffer_span(&buffer)};
    if (base_section_open(&from, CUTS_BLOB_MAGIC, CUTS_VERSION, &payload, what, error)) {
        goto out;
    }
    struct base_span named = base_section_get_span(&payload);
    struct base_span found = base_section_get_span(&payload);
    if (base_section_close(&payload, what, error)) {
        goto out;
    }
    if (!base_span_equal(named, base_span_string(name))) {
        base_error_set(error, BASE_EFORMAT, "%s is another one", what);
        goto out;
    }
    base_buffer_clear(blob);
    base_buffer_reserve(blob, 1); // an empty one is not null
    if (found.size) {
        base_buffer_append(blob, found.data, found.size);
    }
    result = 0;
out:
    base_buffer_free(&buffer);
    return result;
}

int daemon_cuts_identity(uint64_t *identity, struct base_error *error)
{
    uint64_t drawn;
    do {
        if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn) {
            return base_error_set_errno(error, BASE_EIO, errno, "cannot draw a random number");
        }
    } while (drawn == 0);
    *identity = drawn;
    return 0;
}

// ---- LAST_CUT ----

int daemon_cuts_join(char path[DAEMON_CUTS_PATH_MAX], const char *directory, const char *name,
                     struct base_error *error)
{
    if ((size_t)snprintf(path, DAEMON_CUTS_PATH_MAX, "%s/%s", directory, name) >= DAEMON_CUTS_PATH_MAX) {
        return base_error_set(error, BASE_ELIMIT, "the path %.40s... is too long", directory);
    }
    return 0;
}

bool daemon_cuts_has(const char *directory, const char *name)
{
    char path[DAEMON_CUTS_PATH_MAX];
    struct base_error ignored;
    return daemon_cuts_join(path, directory, name, &ignored) == 0 && access(path, F_OK) == 0;
}

int daemon_cuts_made(struct base_disk *disk, const char *state_dir, const struct daemon_cut_record *record,
                     struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    struct base_buffer buffer = {0};
    if (daemon_cuts_join(path, state_dir, CUTS_LAST_NAME, error)) {
        return -1;
    }
    size_t mark = base_section_begin(&buffer, CUTS_LAST_MAGIC, CUTS_VERSION);
    base_buffer_u64(&buffer, record->number);
    base_buffer_u64(&buffer, (uint64_t)record->tick);
    base_buffer_u64(&buffer, (uint64_t)record->wall_ms);
    base_buffer_u64(&buffer, record->store);
    base_section_end(&buffer, mark);
    int result = base_disk_replace(disk, path, base_buffer_span(&buffer), error);
    base_buffer_free(&buffer);
    if (result == 0) {
        base_failpoint("cut.named");
    }
    return result;
}

struct cuts_last {
    uint64_t number; // 0: there is no LAST_CUT
    uint64_t store;
};

static int cuts_read_last(const char *path, struct cuts_last *last, struct base_error *error)
{
    struct base_buffer buffer = {0};
    struct base_reader payload;
    int result = -1;
    if (base_disk_read(path, CUTS_LAST_MAX, &buffer, error)) {
        if (error->code == BASE_ENOTFOUND) {
            *last = (struct cuts_last){0};
            result = 0;
        } else if (error->code == BASE_ELIMIT) {
            error->code = BASE_EFORMAT;
        }
        goto out;
    }
    struct base_reader from = {.rest = base_buffer_span(&buffer)};
    if (base_section_open(&from, CUTS_LAST_MAGIC, CUTS_VERSION, &payload, path, error)) {
        goto out;
    }
    struct cuts_last read = {.number = base_reader_u64(&payload)};
    base_reader_u64(&payload); // tick and time are for people
    base_reader_u64(&payload);
    read.store = base_reader_u64(&payload);
    if (base_section_close(&payload, path, error)) {
        goto out;
    }
    if (from.rest.size || read.number == 0) {
        base_error_set(error, BASE_EFORMAT, "%s names no cut", path);
        goto out;
    }
    *last = read;
    result = 0;
out:
    base_buffer_free(&buffer);
    return result;
}

int daemon_cuts_name_last(struct base_disk *disk, const char *state_dir,
                          const struct daemon_cut_record *record, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    struct cuts_last last;
    if (daemon_cuts_join(path, state_dir, CUTS_LAST_NAME, error) || cuts_read_last(path, &last, error)) {
        return -1;
    }
    return record->number == last.number ? 0 : daemon_cuts_made(disk, state_dir, record, error);
}

int daemon_cuts_last(const char *state_dir, struct daemon_store *store, struct daemon_cut_record *record,
                     struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    struct cuts_last last;
    struct daemon_cut_record found = {0};
    if (daemon_cuts_join(path, state_dir, CUTS_LAST_NAME, error) || cuts_read_last(path, &last, error)) {
        return -1;
    }
    if (daemon_cuts_get(store, &found, error) && error->code != BASE_ENOTFOUND) {
        return -1;
    }
    if (found.number < last.number) {
        base_error_set(error, BASE_ECONFLICT,
                       "the database in %s is at cut %" PRIu64 ", but cut %" PRIu64 " was made: it is an "
                       "older copy, or its log is damaged",
                       state_dir, found.number, last.number);
    } else if (last.number == 0 && found.number > 1) {
        base_error_set(error, BASE_ECONFLICT,
                       "%s is missing, but the database is at cut %" PRIu64
                       ": it cannot be told whether that was the last one",
                       path, found.number);
    } else if (last.number && found.store != last.store) {
        base_error_set(error, BASE_ECONFLICT,
                       "the database in %s is another one (%016" PRIx64 ") than %s tells of (%016" PRIx64 ")",
                       state_dir, found.store, path, last.store);
    } else {
        *record = found;
        return 0;
    }
    error->fatal = true;
    return -1;
}
