// The store in RocksDB. See store.h.
//
// The database is written in large batches (a cut: up to 128 MiB, every 30 s) and read at a restart only, so
// everything is chosen for cheap writing. Measured with a million rows of 11 + 100 bytes in a batch, over ten
// million random keys, in CPU seconds a batch with all that follows from it (log, flush, compaction); RocksDB
// 7.8, 24 batches, two cores that others used too:
//
//   skip list, leveled, RocksDB's own settings (L0 merged at 4 files, L1 of 256 MiB)    4.2
//   vector, the same (over five million keys)                                           1.8
//   vector, no compaction at all: what costs is sorting at the flush                    1.3
//   vector, batch sorted before, leveled, L0 merged at 10 files, L1 of 1200 MiB         1.2
//   vector, batch sorted before, universal, at most twice the space                     1.05
//
// Sorting the batch (store.c) is another 0.12. So the memtable is a vector: an insertion is an append. The
// price is that a get sorts a copy of what is not flushed yet; after the start nobody gets. A batch is one L0
// file, and ten of them are merged into L1 at once. Universal compaction writes a little less, but it needs
// up to twice the disk, and in one setting (merges of ten runs and more) its writes stood still for good.
//
// A scan of the ten million rows takes 1.7 s of CPU time on one thread; 7 s, which two threads share, behind
// a compaction that could not keep up (three times the data on disk). Nothing is compressed: floats do not
// get smaller.
#include <rocksdb/c.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/store.h"
#include "daemon/store_private.h"

enum {
    ROCKS_PATH_MAX = 4096,
    ROCKS_MEMTABLE = 64 << 20,     // bytes; full memtables are flushed, so nearly every batch is
    ROCKS_MEMTABLES = 2,           // one filled, one flushed
    ROCKS_BLOCK = 16 << 10,        // bytes; rows are read in sequence
    ROCKS_CACHE = 8 << 20,         // bytes of blocks kept; scans do not fill it
    ROCKS_READ_AHEAD = 2 << 20,    // bytes, of scans
    ROCKS_FILE = 64 << 20,         // bytes of a table file below L0
    ROCKS_LEVEL_BASE = 1200 << 20, // bytes of L1
    ROCKS_L0_COMPACT = 10,         // files in L0 at which they are merged,
    ROCKS_L0_SLOW = 24,            // at which writes are slowed down, and stopped: the cut waits, not the
    ROCKS_L0_STOP = 40,            // trainer
    ROCKS_JOBS = 2,                // a flush and a compaction at a time
    ROCKS_FILES_OPEN = 256,
    ROCKS_LOGS = 2,           // of RocksDB's own information log
    ROCKS_LOG_SIZE = 1 << 20, // bytes
    ROCKS_LOG_LEVEL = 2,      // warnings
    ROCKS_CHECKSUM_XXH3 = 4,  // enum ChecksumType, which the C API takes as a number
    ROCKS_FORMAT = 5,         // of table files: the newest that 7.8 and 9.10 both write
};

struct rocks_store {
    struct daemon_store store;
    rocksdb_env_t *env;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_t *database;
};

static struct rocks_store *rocks_of(struct daemon_store *store)
{
    return (struct rocks_store *)store;
}

// Makes an error of RocksDB's text, which is freed. The text names the file where RocksDB knows it.
static int rocks_error(const char *path, const char *doing, char *text, struct base_error *error)
{
    enum base_error_code code = BASE_EIO;
    if (strncmp(text, "Corruption", 10) == 0 || strncmp(text, "Invalid argument", 16) == 0 ||
        strncmp(text, "Not implemented", 15) == 0) {
        code = BASE_EFORMAT;
    }
    if (strstr(text, "lock file") || strstr(text, "lock hold by current process")) {
        base_error_set(error, BASE_ECONFLICT, "another process uses the database %s (%s)", path, text);
    } else {
        base_error_set(error, code, "cannot %s the database %s: %s", doing, path, text);
    }
    rocksdb_free(text);
    return -1;
}

// ---- options ----

static rocksdb_options_t *rocks_options(rocksdb_env_t *env, bool create)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_set_env(options, env);
    rocksdb_options_set_create_if_missing(options, create);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(options, ROCKS_MEMTABLE);
    rocksdb_options_set_max_write_buffer_number(options, ROCKS_MEMTABLES);
    rocksdb_options_set_memtable_vector_rep(options);
    rocksdb_options_set_allow_concurrent_memtable_write(options, 0); // a vector cannot
    rocksdb_options_set_level0_file_num_compaction_trigger(options, ROCKS_L0_COMPACT);
    rocksdb_options_set_level0_slowdown_writes_trigger(options, ROCKS_L0_SLOW);
    rocksdb_options_set_level0_stop_writes_trigger(options, ROCKS_L0_STOP);
    rocksdb_options_set_max_bytes_for_level_base(options, ROCKS_LEVEL_BASE);
    rocksdb_options_set_target_file_size_base(options, ROCKS_FILE);
    rocksdb_options_set_max_background_jobs(options, ROCKS_JOBS);
    rocksdb_options_set_max_open_files(options, ROCKS_FILES_OPEN);
    rocksdb_options_set_keep_log_file_num(options, ROCKS_LOGS);
    rocksdb_options_set_max_log_file_size(options, ROCKS_LOG_SIZE);
    rocksdb_options_set_info_log_level(options, ROCKS_LOG_LEVEL);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    // A batch that was being written at a crash is cut off, whatever of it reached the disk. Should the log
    // be damaged before that, the database is older than LAST_CUT says, and cuts.c refuses it.
    rocksdb_options_set_wal_recovery_mode(options, rocksdb_point_in_time_recovery);

    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_cache_t *cache = rocksdb_cache_create_lru(ROCKS_CACHE);
    rocksdb_block_based_options_set_block_size(table, ROCKS_BLOCK);
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_format_version(table, ROCKS_FORMAT);
    rocksdb_block_based_options_set_checksum(table, ROCKS_CHECKSUM_XXH3);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_cache_destroy(cache); // the options hold it
    return options;
}

// The process' pool of background threads, which do not take the trainer's core.
static rocksdb_env_t *rocks_env(void)
{
    rocksdb_env_t *env = rocksdb_create_default_env();
    rocksdb_env_set_background_threads(env, 1);
    rocksdb_env_set_high_priority_background_threads(env, 1);
    rocksdb_env_lower_thread_pool_cpu_priority(env);
    return env;
}

// ---- opening ----

static bool rocks_has(const char *directory, const char *name)
{
    char path[ROCKS_PATH_MAX];
    return (size_t)snprintf(path, sizeof path, "%s/%s", directory, name) < sizeof path &&
           access(path, F_OK) == 0;
}

// Whether table files lie in a directory.
static bool rocks_has_tables(const char *path)
{
    DIR *directory = opendir(path);
    bool found = false;
    for (struct dirent *entry; directory && !found && (entry = readdir(directory));) {
        size_t size = strlen(entry->d_name);
        found = size > 4 && strcmp(entry->d_name + size - 4, ".sst") == 0;
    }
    if (directory) {
        closedir(directory);
    }
    return found;
}

static int rocks_look(const char *path, bool create, struct base_error *error)
{
    if (rocks_has(path, "CURRENT")) {
        return 0;
    }
    if (rocks_has_tables(path)) { // RocksDB would begin anew
        return base_error_set(error, BASE_EFORMAT, "the database %s is damaged: its file CURRENT is missing",
                              path);
    }
    return create ? 0 : base_error_set(error, BASE_ENOTFOUND, "there is no database in %s", path);
}

static const struct daemon_store_operations rocks_operations;

struct daemon_store *daemon_store_open(const char *path, bool create, bool read_only,
                                       struct base_error *error)
{
    if (rocks_look(path, create && !read_only, error)) {
        return NULL;
    }
    struct rocks_store *rocks = base_alloc_zeroed(1, sizeof *rocks);
    rocks->store.operations = &rocks_operations;
    rocks->store.path = base_alloc(strlen(path) + 1);
    memcpy(rocks->store.path, path, strlen(path) + 1);
    rocks->env = rocks_env();
    rocks->options = rocks_options(rocks->env, create && !read_only);
    rocks->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(rocks->write, 1);
    char *text = NULL;
    rocks->database = read_only ? rocksdb_open_for_read_only(rocks->options, path, 0, &text)
                                : rocksdb_open(rocks->options, path, &text);
    if (text) {
        rocks_error(path, "open", text, error);
        daemon_store_close(&rocks->store);
        return NULL;
    }
    return &rocks->store;
}

static void rocks_close(struct daemon_store *store)
{
    struct rocks_store *rocks = rocks_of(store);
    if (rocks->database) {
        rocksdb_close(rocks->database);
    }
    rocksdb_writeoptions_destroy(rocks->write);
    rocksdb_options_destroy(rocks->options);
    rocksdb_env_destroy(rocks->env);
    free(rocks);
}

// ---- writing and reading ----

static int rocks_write(struct daemon_store *store, const struct daemon_store_batch *batch,
                       struct base_error *error)
{
    struct rocks_store *rocks = rocks_of(store);
    rocksdb_writebatch_t *changes = rocksdb_writebatch_create();
    for (size_t i = 0; i < batch->count; i++) {
        struct base_span key, value;
        daemon_store_batch_change(batch, i, &key, &value);
        if (value.data) {
            rocksdb_writebatch_put(changes, (const char *)key.data, key.size, (const char *)value.data,
                                   value.size);
        } else {
            rocksdb_writebatch_delete(changes, (const char *)key.data, key.size);
        }
    }
    char *text = NULL;
    rocksdb_write(rocks->database, rocks->write, changes, &text);
    rocksdb_writebatch_destroy(changes);
    return text ? rocks_error(store->path, "write to", text, error) : 0;
}

static int rocks_get(struct daemon_store *store, struct base_span key, struct base_buffer *value,
                     struct base_error *error)
{
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    char *text = NULL;
    rocksdb_pinnableslice_t *found =
        rocksdb_get_pinned(rocks_of(store)->database, options, (const char *)key.data, key.size, &text);
    rocksdb_readoptions_destroy(options);
    if (text) {
        return rocks_error(store->path, "read", text, error);
    }
    if (!found) {
        return base_error_set(error, BASE_ENOTFOUND, "the database %s has no such key", store->path);
    }
    size_t size;
    const char *data = rocksdb_pinnableslice_value(found, &size);
    base_buffer_clear(value);
    base_buffer_append(value, data, size);
    rocksdb_pinnableslice_destroy(found);
    return 0;
}

// The least key above all that begin with `prefix`; size 0: there is none.
static size_t rocks_beyond(struct base_span prefix, uint8_t beyond[DAEMON_STORE_KEY_MAX])
{
    size_t size = prefix.size;
    while (size && prefix.data[size - 1] == UINT8_MAX) {
        size--;
    }
    if (size) {
        memcpy(beyond, prefix.data, size);
        beyond[size - 1]++;
    }
    return size;
}

static int rocks_scan(struct daemon_store *store, struct base_span prefix, daemon_store_each *each,
                      void *context, struct base_error *error)
{
    if (prefix.size > DAEMON_STORE_KEY_MAX) {
        return 0; // no key is that long
    }
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(options, 1);
    rocksdb_readoptions_set_fill_cache(options, 0);
    rocksdb_readoptions_set_readahead_size(options, ROCKS_READ_AHEAD);
    uint8_t beyond[DAEMON_STORE_KEY_MAX];
    size_t size = rocks_beyond(prefix, beyond);
    if (size) {
        rocksdb_readoptions_set_iterate_upper_bound(options, (const char *)beyond, size);
    }
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(rocks_of(store)->database, options);
    int result = 0;
    rocksdb_iter_seek(iterator, prefix.size ? (const char *)prefix.data : "", prefix.size);
    for (; result == 0 && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        size_t key_size, value_size;
        const char *key = rocksdb_iter_key(iterator, &key_size);
        const char *value = rocksdb_iter_value(iterator, &value_size);
        result = each(context, base_span_make(key, key_size), base_span_make(value, value_size), error);
    }
    char *text = NULL;
    rocksdb_iter_get_error(iterator, &text);
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(options);
    if (text && result == 0) {
        return rocks_error(store->path, "read", text, error);
    }
    rocksdb_free(text);
    return result;
}

static int rocks_checkpoint(struct daemon_store *store, const char *path, struct base_error *error)
{
    char *text = NULL;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(rocks_of(store)->database, &text);
    if (text) {
        return rocks_error(store->path, "keep a copy of", text, error);
    }
    rocksdb_checkpoint_create(checkpoint, path, 0, &text); // 0: what is not flushed yet is flushed first
    rocksdb_checkpoint_object_destroy(checkpoint);
    return text ? rocks_error(store->path, "keep a copy of", text, error) : 0;
}

static const struct daemon_store_operations rocks_operations = {
    .close = rocks_close,
    .write = rocks_write,
    .get = rocks_get,
    .scan = rocks_scan,
    .checkpoint = rocks_checkpoint,
};
