// The store: one contract, both implementations; and what only RocksDB has: files, locks, damage.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "daemon/scratch.h"
#include "daemon/store.h"
#include "support_directory.h"

enum { PATH_ROOM = 512, LARGE_VALUE = 1 << 16, LARGE_COUNT = 2100 };

struct place {
    char directory[SUPPORT_DIRECTORY_MAX];
    char path[PATH_ROOM];
};

static void place_make(struct place *place)
{
    support_directory_make(place->directory);
    snprintf(place->path, sizeof place->path, "%s/db", place->directory);
}

static void place_remove(struct place *place)
{
    struct base_error error;
    cr_expect_eq(daemon_scratch_remove(place->directory, &error), 0, "%s", error.text);
}

static struct daemon_store *open_rocks(const char *path, bool create, bool read_only)
{
    struct base_error error;
    struct daemon_store *store = daemon_store_open(path, create, read_only, &error);
    cr_assert_not_null(store, "%s", error.text);
    return store;
}

static void put(struct daemon_store_batch *batch, const char *key, const char *value)
{
    daemon_store_batch_put(batch, base_span_string(key), base_span_string(value));
}

static void write_batch(struct daemon_store *store, struct daemon_store_batch *batch)
{
    struct base_error error;
    cr_assert_eq(daemon_store_write(store, batch, &error), 0, "%s", error.text);
}

static void write_one(struct daemon_store *store, const char *key, const char *value)
{
    struct daemon_store_batch *batch = daemon_store_batch_new();
    put(batch, key, value);
    write_batch(store, batch);
    daemon_store_batch_free(batch);
}

static void expect_value(struct daemon_store *store, const char *key, const char *value)
{
    struct base_error error;
    struct base_buffer found = {0};
    int result = daemon_store_get(store, base_span_string(key), &found, &error);
    if (!value) {
        cr_expect_eq(result, -1, "%s is there", key);
        cr_expect_eq(error.code, BASE_ENOTFOUND);
    } else {
        cr_assert_eq(result, 0, "%s: %s", key, error.text);
        cr_expect(base_span_equal(base_buffer_span(&found), base_span_string(value)), "%s", key);
    }
    base_buffer_free(&found);
}

struct listing {
    char text[1024];
    int stop_after;
};

static int list_each(void *context, struct base_span key, struct base_span value, struct base_error *error)
{
    struct listing *listing = context;
    size_t size = strlen(listing->text);
    snprintf(listing->text + size, sizeof listing->text - size, "%.*s=%.*s ", (int)key.size,
             (const char *)key.data, (int)value.size, (const char *)value.data);
    if (listing->stop_after && --listing->stop_after == 0) {
        return base_error_set(error, BASE_ESTOPPED, "enough");
    }
    return 0;
}

static void expect_scan(struct daemon_store *store, const char *prefix, const char *expected)
{
    struct base_error error;
    struct listing listing = {0};
    cr_assert_eq(daemon_store_scan(store, base_span_string(prefix), list_each, &listing, &error), 0, "%s",
                 error.text);
    cr_expect_str_eq(listing.text, expected);
}

// ---- the contract ----

static void check_contract(struct daemon_store *store)
{
    struct base_error error;
    expect_value(store, "a", NULL);
    expect_scan(store, "", "");
    struct daemon_store_batch *batch = daemon_store_batch_new();
    write_batch(store, batch); // an empty one changes nothing
    put(batch, "b", "1");
    put(batch, "ab", "2");
    put(batch, "abc", "");
    put(batch, "b", "3"); // the last one counts
    put(batch, "gone", "4");
    daemon_store_batch_remove(batch, base_span_string("gone"));
    daemon_store_batch_remove(batch, base_span_string("back"));
    put(batch, "back", "5");
    daemon_store_batch_remove(batch, base_span_string("never"));
    cr_expect_eq(daemon_store_batch_bytes(batch), 2 + 3 + 3 + 2 + 5 + 4 + 4 + 5 + 5);
    write_batch(store, batch);
    expect_scan(store, "", "ab=2 abc= b=3 back=5 ");
    write_batch(store, batch); // it stays as it is
    expect_scan(store, "", "ab=2 abc= b=3 back=5 ");
    expect_scan(store, "a", "ab=2 abc= ");
    expect_scan(store, "ab", "ab=2 abc= ");
    expect_scan(store, "abc", "abc= ");
    expect_scan(store, "abcd", "");
    expect_scan(store, "c", "");
    expect_value(store, "abc", "");
    expect_value(store, "b", "3");
    expect_value(store, "gone", NULL);

    daemon_store_batch_clear(batch);
    cr_expect_eq(daemon_store_batch_bytes(batch), 0);
    put(batch, "\xff\xff", "top");
    put(batch, "\xff", "high");
    put(batch, "abb", "between");
    daemon_store_batch_remove(batch, base_span_string("b"));
    write_batch(store, batch);
    expect_scan(store, "", "ab=2 abb=between abc= back=5 \xff=high \xff\xff=top ");
    expect_scan(store, "\xff", "\xff=high \xff\xff=top ");
    expect_scan(store, "\xff\xff", "\xff\xff=top ");
    expect_scan(store, "b", "back=5 ");
    daemon_store_batch_free(batch);

    struct listing listing = {.stop_after = 2};
    cr_expect_eq(daemon_store_scan(store, base_span_string(""), list_each, &listing, &error), -1);
    cr_expect_eq(error.code, BASE_ESTOPPED);
    cr_expect_str_eq(listing.text, "ab=2 abb=between ");
}

Test(daemon_store, contract_in_memory)
{
    struct daemon_store *store = daemon_store_memory_new();
    check_contract(store);
    daemon_store_close(store);
}

Test(daemon_store, contract_in_rocksdb)
{
    struct place place;
    place_make(&place);
    struct daemon_store *store = open_rocks(place.path, true, false);
    check_contract(store);
    cr_expect_str_eq(daemon_store_path(store), place.path);
    daemon_store_close(store);
    place_remove(&place);
}

// Keys of all lengths with bytes of all values, changed at random: both stores hold the same.
struct both {
    struct base_buffer all;
};

static int both_each(void *context, struct base_span key, struct base_span value, struct base_error *error)
{
    (void)error;
    struct both *both = context;
    base_buffer_u64(&both->all, key.size);
    base_buffer_append(&both->all, key.data, key.size);
    base_buffer_u64(&both->all, value.size);
    if (value.size) {
        base_buffer_append(&both->all, value.data, value.size);
    }
    return 0;
}

Test(daemon_store, both_hold_the_same)
{
    struct place place;
    place_make(&place);
    struct daemon_store *rocks = open_rocks(place.path, true, false), *memory = daemon_store_memory_new();
    struct daemon_store_batch *batch = daemon_store_batch_new();
    struct base_error error;
    uint64_t key_of = base_random_key(7, "store"), draw = 0;
    for (int round = 0; round < 20; round++) {
        daemon_store_batch_clear(batch);
        for (int i = 0; i < 500; i++) {
            uint8_t key[12];
            size_t size = 1 + base_random_bits(key_of, draw++) % sizeof key;
            for (size_t at = 0; at < size; at++) {
                key[at] = (uint8_t)(base_random_bits(key_of, draw++) % 3 * 127 + (at > 7));
            }
            uint64_t bits = base_random_bits(key_of, draw++);
            if (bits % 4 == 0) {
                daemon_store_batch_remove(batch, base_span_make(key, size));
            } else {
                daemon_store_batch_put(batch, base_span_make(key, size), base_span_make(&bits, bits % 9));
            }
        }
        write_batch(rocks, batch);
        write_batch(memory, batch);
        if (round % 5 == 4) {
            daemon_store_close(rocks);
            rocks = open_rocks(place.path, false, false);
        }
        for (int p = 0; p < 4; p++) {
            uint8_t prefix[2] = {(uint8_t)(p / 2 * 127), (uint8_t)(p % 2 * 127)};
            struct both a = {0}, b = {0};
            struct base_span span = base_span_make(prefix, (size_t)(p + round) % 3);
            cr_assert_eq(daemon_store_scan(rocks, span, both_each, &a, &error), 0, "%s", error.text);
            cr_assert_eq(daemon_store_scan(memory, span, both_each, &b, &error), 0, "%s", error.text);
            cr_assert(base_span_equal(base_buffer_span(&a.all), base_buffer_span(&b.all)));
            base_buffer_free(&a.all);
            base_buffer_free(&b.all);
        }
    }
    daemon_store_batch_free(batch);
    daemon_store_close(rocks);
    daemon_store_close(memory);
    place_remove(&place);
}

// ---- in memory ----

static int refuse(void *context, struct base_error *error)
{
    int *left = context;
    return (*left)-- > 0 ? 0 : base_error_set(error, BASE_EIO, "the disk is full");
}

Test(daemon_store, memory_clone_and_failing_writes)
{
    struct base_error error = {0};
    struct daemon_store *store = daemon_store_memory_new();
    write_one(store, "a", "1");
    struct daemon_store *clone = daemon_store_memory_clone(store);
    int left = 1;
    daemon_store_memory_fail(store, refuse, &left);
    write_one(store, "a", "2");
    struct daemon_store_batch *batch = daemon_store_batch_new();
    put(batch, "a", "3");
    cr_expect_eq(daemon_store_write(store, batch, &error), -1);
    cr_expect(error.fatal);
    cr_expect_str_eq(error.text, "the disk is full");
    expect_scan(store, "", "a=2 ");
    expect_scan(clone, "", "a=1 ");
    daemon_store_memory_fail(store, NULL, NULL);
    write_batch(store, batch);
    expect_scan(store, "", "a=3 ");
    cr_expect_eq(daemon_store_checkpoint(store, "/nowhere", &error), -1);
    cr_expect_eq(error.code, BASE_EINVAL);
    daemon_store_batch_free(batch);
    daemon_store_close(clone);
    daemon_store_close(store);
    daemon_store_close(NULL);
    daemon_store_batch_free(NULL);
}

// ---- RocksDB: opening ----

Test(daemon_store, what_was_written_is_there_after_a_kill)
{
    struct place place;
    place_make(&place);
    pid_t child = fork();
    if (child == 0) {
        struct daemon_store *store = open_rocks(place.path, true, false);
        write_one(store, "a", "1");
        write_one(store, "b", "2");
        _exit(0); // nothing is closed
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    struct daemon_store *store = open_rocks(place.path, false, true); // the log is read, not written
    expect_scan(store, "", "a=1 b=2 ");
    daemon_store_close(store);
    store = open_rocks(place.path, false, false);
    expect_scan(store, "", "a=1 b=2 ");
    daemon_store_close(store);
    place_remove(&place);
}

Test(daemon_store, opening_refused)
{
    struct place place;
    struct base_error error;
    place_make(&place);
    cr_expect_null(daemon_store_open(place.path, false, false, &error));
    cr_expect_eq(error.code, BASE_ENOTFOUND);
    cr_expect_null(daemon_store_open(place.path, true, true, &error));
    cr_expect_eq(error.code, BASE_ENOTFOUND);
    cr_expect_null(daemon_store_open("/proc/freshet/db", true, false, &error));
    cr_expect_eq(error.code, BASE_EIO, "%s", error.text);

    struct daemon_store *store = open_rocks(place.path, true, false);
    write_one(store, "a", "1");
    cr_expect_null(daemon_store_open(place.path, false, false, &error));
    cr_expect_eq(error.code, BASE_ECONFLICT);
    cr_expect(strstr(error.text, "another process uses the database"), "%s", error.text);
    pid_t child = fork(); // and really another one
    if (child == 0) {
        struct daemon_store *second = daemon_store_open(place.path, false, false, &error);
        _exit(!second && error.code == BASE_ECONFLICT ? 0 : 1);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0);
    daemon_store_close(store);
    place_remove(&place);
}

// ---- RocksDB: checkpoints ----

Test(daemon_store, checkpoint_keeps_a_moment)
{
    struct place place;
    struct base_error error;
    char kept[PATH_ROOM];
    place_make(&place);
    snprintf(kept, sizeof kept, "%s/kept", place.directory);
    struct daemon_store *store = open_rocks(place.path, true, false);
    write_one(store, "a", "1");
    cr_assert_eq(daemon_store_checkpoint(store, kept, &error), 0, "%s", error.text);
    write_one(store, "a", "2");
    struct daemon_store *copy = open_rocks(kept, false, true); // beside the one that lives
    expect_scan(copy, "", "a=1 ");
    daemon_store_close(copy);
    cr_expect_eq(daemon_store_checkpoint(store, kept, &error), -1, "there is one already");
    daemon_store_close(store);
    copy = open_rocks(kept, false, false);
    write_one(copy, "a", "3");
    daemon_store_close(copy);
    store = open_rocks(place.path, false, false);
    expect_scan(store, "", "a=2 ");
    daemon_store_close(store);
    place_remove(&place);
}

// ---- RocksDB: damage ----

// The only table file below `path`.
static void table_of(const char *path, char table[PATH_ROOM])
{
    char pattern[PATH_ROOM];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/*.sst", path);
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0);
    cr_assert_eq(found.gl_pathc, 1);
    snprintf(table, PATH_ROOM, "%s", found.gl_pathv[0]);
    globfree(&found);
}

static void make_table(struct place *place, char table[PATH_ROOM])
{
    struct base_error error;
    char live[PATH_ROOM];
    place_make(place);
    snprintf(live, sizeof live, "%s/live", place->directory);
    struct daemon_store *store = open_rocks(live, true, false);
    struct daemon_store_batch *batch = daemon_store_batch_new();
    for (uint32_t i = 0; i < 10000; i++) {
        char key[32];
        snprintf(key, sizeof key, "key %08u", i * 7919u);
        put(batch, key, "twenty bytes of value");
    }
    write_batch(store, batch);
    daemon_store_batch_free(batch);
    cr_assert_eq(daemon_store_checkpoint(store, place->path, &error), 0, "%s", error.text);
    daemon_store_close(store);
    table_of(place->path, table);
}

Test(daemon_store, a_flipped_byte_anywhere_is_found_and_named)
{
    struct place place;
    char table[PATH_ROOM];
    struct stat status;
    make_table(&place, table);
    cr_assert_eq(stat(table, &status), 0);
    const char *name = strrchr(table, '/') + 1;
    for (off_t i = 0; i < 8; i++) { // from the first data block to the footer
        off_t offset = i < 7 ? i * status.st_size / 7 : status.st_size - 10;
        struct base_error error = {0};
        struct listing listing = {0};
        support_file_flip(table, offset);
        struct daemon_store *store = daemon_store_open(place.path, false, true, &error);
        int result = store ? daemon_store_scan(store, base_span_string(""), list_each, &listing, &error) : -1;
        daemon_store_close(store);
        support_file_flip(table, offset);
        if (i == 6 && result == 0) {
            continue; // properties of the table, which are not read
        }
        cr_expect_eq(result, -1, "byte %lld", (long long)offset);
        cr_expect_eq(error.code, BASE_EFORMAT, "byte %lld: %s", (long long)offset, error.text);
        if (i < 7) { // of a footer's version RocksDB names the file that lists the table
            cr_expect(strstr(error.text, name), "byte %lld: %s", (long long)offset, error.text);
        }
    }
    place_remove(&place);
}

Test(daemon_store, a_missing_file_is_found)
{
    struct place place;
    struct base_error error = {0};
    char table[PATH_ROOM], current[PATH_ROOM];
    make_table(&place, table);
    snprintf(current, sizeof current, "%s/CURRENT", place.path);
    cr_assert_eq(unlink(current), 0);
    cr_expect_null(daemon_store_open(place.path, true, false, &error)); // and no new one is made
    cr_expect_eq(error.code, BASE_EFORMAT);
    cr_expect(strstr(error.text, "CURRENT is missing"), "%s", error.text);
    place_remove(&place);

    make_table(&place, table);
    cr_assert_eq(unlink(table), 0);
    struct listing listing = {0};
    struct daemon_store *store = daemon_store_open(place.path, false, false, &error);
    int result = store ? daemon_store_scan(store, base_span_string(""), list_each, &listing, &error) : -1;
    cr_expect_eq(result, -1);
    *strrchr(table, '.') = '\0'; // RocksDB looks for it under an older ending too, and names that
    cr_expect(strstr(error.text, strrchr(table, '/') + 1), "%s", error.text);
    daemon_store_close(store);
    place_remove(&place);
}

// ---- RocksDB: sizes, threads ----

Test(daemon_store, a_batch_of_more_than_128_MiB, .timeout = 60)
{
    struct place place;
    place_make(&place);
    struct daemon_store *store = open_rocks(place.path, true, false);
    struct daemon_store_batch *batch = daemon_store_batch_new();
    uint8_t *value = base_alloc_zeroed(1, LARGE_VALUE);
    for (uint32_t i = 0; i < LARGE_COUNT; i++) {
        uint32_t key = i * 2654435761u; // all different
        memcpy(value, &key, sizeof key);
        daemon_store_batch_put(batch, base_span_make(&key, sizeof key), base_span_make(value, LARGE_VALUE));
    }
    cr_assert(daemon_store_batch_bytes(batch) > (size_t)128 << 20);
    write_batch(store, batch);
    write_batch(store, batch);
    daemon_store_batch_free(batch);
    daemon_store_close(store);
    store = open_rocks(place.path, false, false);
    struct base_error error;
    struct base_buffer found = {0};
    for (uint32_t i = 0; i < LARGE_COUNT; i += 100) {
        uint32_t key = i * 2654435761u;
        cr_assert_eq(daemon_store_get(store, base_span_make(&key, sizeof key), &found, &error), 0, "%s",
                     error.text);
        memcpy(value, &key, sizeof key);
        cr_assert(base_span_equal(base_buffer_span(&found), base_span_make(value, LARGE_VALUE)));
    }
    base_buffer_free(&found);
    free(value);
    daemon_store_close(store);
    place_remove(&place);
}

struct counting {
    struct daemon_store *store;
    const char *prefix;
    uint64_t count;
};

static int count_each(void *context, struct base_span key, struct base_span value, struct base_error *error)
{
    (void)key;
    (void)value;
    (void)error;
    ((struct counting *)context)->count++;
    return 0;
}

static void *count_run(void *context)
{
    struct counting *counting = context;
    struct base_error error;
    int result =
        daemon_store_scan(counting->store, base_span_string(counting->prefix), count_each, counting, &error);
    return result ? counting : NULL;
}

Test(daemon_store, two_threads_scan_at_once)
{
    struct place place;
    place_make(&place);
    struct daemon_store *store = open_rocks(place.path, true, false);
    struct daemon_store_batch *batch = daemon_store_batch_new();
    for (uint32_t i = 0; i < 20000; i++) {
        char key[32];
        snprintf(key, sizeof key, "%c%u", 'a' + (int)(i % 2), i);
        put(batch, key, "value");
    }
    write_batch(store, batch);
    daemon_store_batch_free(batch);
    struct counting counting[2] = {{store, "a", 0}, {store, "b", 0}};
    pthread_t thread[2];
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&thread[i], NULL, count_run, &counting[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        void *failed;
        pthread_join(thread[i], &failed);
        cr_expect_null(failed);
        cr_expect_eq(counting[i].count, 10000);
    }
    daemon_store_close(store);
    place_remove(&place);
}
