// Tests of saved lanes: torn and damaged files, what is unlinked when, faults of the disk, states that do not
// fit. That a restored lane goes on as the saved one would have is consumer_lane_property.c's.
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "consumer_lane_world.h"
#include "support_directory.h"
#include "support_disk.h"

enum { PATH_BYTES = 256, EVENTS = 40 };

static char directory[SUPPORT_DIRECTORY_MAX];
static struct base_error error;
static struct support_disk disk;
static struct consumer_lane_config config;
static struct consumer_lane *lane;
static struct base_buffer state; // the last save's

static void begin(void)
{
    support_directory_make(directory);
    support_disk_begin(&disk);
    error = (struct base_error){0};
    config = (struct consumer_lane_config){
        .lane = 2,
        .directory = directory,
        .ranks = 4,
        .action = {[1] = {"click", 0, false, false, 10, 20, 0},
                   [2] = {"purchase", 1, false, true, 10, 40, 0},
                   [3] = {"like", 0, true, false, 5, 20, 0}},
        .dedupe = {20, 40, 40, 40},
        .orphan_timeout = 30,
        .keep_negatives = 1,
        .segment_bytes = 512,
        .disk = &disk.disk,
        .keep_dropped = true,
    };
    lane = consumer_lane_new(&config, &error);
    cr_assert(lane, "%s", error.text);
}

static void end(void)
{
    consumer_lane_free(lane);
    lane = NULL;
    base_buffer_free(&state);
    support_directory_remove(directory);
}

TestSuite(lane_restore, .init = begin, .fini = end, .timeout = 120);

static int ignore(void *context, const struct base_sample *sample, struct base_error *unused)
{
    (void)context;
    (void)sample;
    (void)unused;
    return 0;
}

static int push(uint32_t rank, int64_t time, const char *id, const char *of)
{
    static const uint64_t columns[2] = {1, 2};
    struct consumer_event event = {
        .rank = rank,
        .lane = 2,
        .offset = time,
        .event_time = time,
        .event_id = base_span_string(id),
        .impression_id = base_span_string(of),
        .touch = base_span_string("k"),
    };
    if (rank == 0) {
        event.columns = base_span_make(columns, sizeof columns);
    }
    return consumer_lane_push(lane, &event, &error);
}

// Journeys at the times [from, to), of which some are clicked, bought and liked, some orphans; all handled.
static int feed(int64_t from, int64_t to)
{
    for (int64_t time = from; time < to; time++) {
        char id[16];
        char of[16];
        snprintf(id, sizeof id, "%lld", (long long)time);
        snprintf(of, sizeof of, "%lld", (long long)(time / 3 * 3));
        bool orphan = time % 7 == 0;
        cr_assert_eq(push(0, time, id, id), 0);
        cr_assert_eq(push(1, time, id, orphan ? "nowhere" : of), 0);
        cr_assert_eq(push(2, time, id, of), 0);
        cr_assert_eq(push(3, time, id, of), 0);
    }
    return consumer_lane_run(lane, to - 2, ignore, NULL, &error);
}

static void save(uint64_t cut)
{
    struct base_sync *sync = base_sync_new(&disk.disk);
    base_buffer_clear(&state);
    cr_assert_eq(consumer_lane_save(lane, cut, &state, sync, &error), 0, "%s", error.text);
    cr_assert_eq(base_sync_run(sync, &error), 0, "%s", error.text);
    base_sync_free(sync);
}

static struct consumer_lane *restore_from(const struct base_buffer *from)
{
    struct base_reader reader = {base_buffer_span(from), false};
    error = (struct base_error){0};
    struct consumer_lane *restored = consumer_lane_restore(&config, &reader, &error);
    cr_assert_eq(reader.rest.size, restored ? 0 : from->size, "the state is taken on success alone");
    return restored;
}

// The lane is killed; what is restored saves the same state again.
static void expect_restore(void)
{
    consumer_lane_free(lane);
    lane = restore_from(&state);
    cr_assert(lane, "%s", error.text);
}

static void expect_refusal(enum base_error_code code, const char *a, const char *b)
{
    cr_assert_null(restore_from(&state), "%s", a);
    cr_assert_eq(error.code, code, "%s", error.text);
    cr_assert(strstr(error.text, a), "%s: %s", a, error.text);
    cr_assert(strstr(error.text, b), "%s: %s", b, error.text);
}

static uint64_t next_log(size_t *at, struct lane_saved_log *log, char path[PATH_BYTES])
{
    if (!lane_saved_log(base_buffer_span(&state), at, log)) {
        return false;
    }
    cr_assert_geq(log->segments, 1);
    lane_saved_path(directory, log, log->last, path);
    return true;
}

static void expect_zeros(const char *path, uint64_t from, uint64_t size)
{
    int fd = open(path, O_RDONLY);
    struct stat status;
    cr_assert_eq(fstat(fd, &status), 0);
    cr_assert_eq((uint64_t)status.st_size, size);
    for (uint64_t i = from; i < size; i++) {
        uint8_t byte = 1;
        cr_assert_eq(pread(fd, &byte, 1, (off_t)i), 1);
        cr_assert_eq(byte, 0, "byte %llu", (unsigned long long)i);
    }
    close(fd);
}

// The sum over all files of a directory of the hashes of their names and bytes; `links`: where to link each
// to.
static uint64_t directory_hash(const char *path, const char *links)
{
    uint64_t sum = 0;
    DIR *entries = opendir(path);
    cr_assert(entries, "%s", path);
    for (struct dirent *entry; (entry = readdir(entries));) {
        char from[2 * PATH_BYTES], to[2 * PATH_BYTES];
        snprintf(from, sizeof from, "%s/%s", path, entry->d_name);
        struct stat status;
        struct base_buffer bytes = {0};
        if (stat(from, &status) != 0 || !S_ISREG(status.st_mode)) {
            continue;
        }
        snprintf(to, sizeof to, "%s/%s", links ? links : "", entry->d_name);
        cr_assert(!links || link(from, to) == 0);
        cr_assert_eq(base_disk_read(from, SIZE_MAX, &bytes, &error), 0, "%s", error.text);
        sum += base_hash_bytes(base_buffer_span(&bytes), base_hash_bytes(base_span_string(entry->d_name), 0));
        base_buffer_free(&bytes);
    }
    closedir(entries);
    return sum;
}

// A replay's lane, over links of a kept cut's files: it trims, appends and drops, and the kept ones stay as
// they are.
Test(lane_restore, linked_files_are_not_written_to)
{
    char kept[SUPPORT_DIRECTORY_MAX];
    support_directory_make(kept);
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    cr_assert_eq(feed(EVENTS, EVENTS + 4), 0, "what the restore cuts off: %s", error.text);
    consumer_lane_free(lane);
    directory_hash(directory, kept);
    uint64_t before = directory_hash(kept, NULL);
    config.keep_dropped = false;
    lane = restore_from(&state);
    cr_assert(lane, "%s", error.text);
    cr_expect_eq(directory_hash(kept, NULL), before);
    cr_assert_eq(feed(EVENTS, 3 * EVENTS), 0, "%s", error.text);
    cr_expect_eq(directory_hash(kept, NULL), before);
    cr_expect_neq(directory_hash(directory, NULL), before);
    support_directory_remove(kept);
}

Test(lane_restore, a_torn_tail_is_cut_off_at_every_byte)
{
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    struct lane_saved_log log;
    char path[PATH_BYTES];
    for (size_t at = 0; next_log(&at, &log, path);) {
        for (uint64_t byte = log.used; byte < log.size; byte++) {
            cr_assert_eq(truncate(path, (off_t)byte), 0);
            expect_restore();
            support_file_flip(path, (off_t)byte);
            expect_restore();
        }
        expect_zeros(path, log.used, log.size);
    }
    cr_assert_eq(feed(EVENTS, 2 * EVENTS), 0, "it goes on: %s", error.text);
}

Test(lane_restore, what_came_after_the_save_is_removed)
{
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    struct base_buffer first = {0};
    base_buffer_append(&first, state.data, state.size);
    cr_assert_eq(feed(EVENTS, 2 * EVENTS), 0);
    save(2);
    struct lane_saved_log log;
    char path[PATH_BYTES];
    size_t at = 0;
    uint64_t beyond = 0;
    consumer_lane_free(lane);
    lane = restore_from(&first);
    cr_assert(lane, "%s", error.text);
    // `state` knows the names of the second cut, `first` those that may be there.
    for (size_t old = 0; next_log(&at, &log, path);) {
        struct lane_saved_log before;
        cr_assert(lane_saved_log(base_buffer_span(&first), &old, &before));
        for (uint64_t segment = 0; segment <= log.last; segment++) {
            bool lives = segment >= before.first && segment <= before.last;
            lane_saved_path(directory, &log, segment, path);
            cr_assert_eq(access(path, F_OK), lives ? 0 : -1, "%s", path);
            beyond += segment > before.last;
        }
    }
    cr_assert_gt(beyond, 3);
    base_buffer_free(&first);
}

Test(lane_restore, every_flipped_byte_below_the_saved_length_is_refused)
{
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    struct lane_saved_log log;
    char path[PATH_BYTES];
    for (size_t at = 0; next_log(&at, &log, path);) {
        for (uint64_t byte = 0; byte < log.used; byte++) {
            support_file_flip(path, (off_t)byte);
            expect_refusal(BASE_EFORMAT, path, "byte ");
            support_file_flip(path, (off_t)byte);
        }
        cr_assert_gt(log.segments, 1);
        lane_saved_path(directory, &log, log.first, path);
        support_file_flip(path, 70);
        expect_refusal(BASE_EFORMAT, path, "byte 56 ");
        support_file_flip(path, 70);
    }
    expect_restore();
}

Test(lane_restore, a_file_that_is_too_short_or_missing_is_refused)
{
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    struct lane_saved_log log;
    char path[PATH_BYTES];
    char other[PATH_BYTES];
    size_t at = 0;
    cr_assert(next_log(&at, &log, path));
    cr_assert_eq(truncate(path, (off_t)log.used - 1), 0);
    expect_refusal(BASE_EFORMAT, path, "it ends at byte");
    snprintf(other, sizeof other, "%s/away", directory);
    cr_assert_eq(rename(path, other), 0);
    expect_refusal(BASE_EIO, path, "No such file");
    // A whole file of another log's, or another number's, is none of this one's.
    struct lane_saved_log second;
    char foreign[PATH_BYTES];
    cr_assert(next_log(&at, &second, foreign));
    cr_assert_eq(rename(foreign, path), 0);
    expect_refusal(BASE_EFORMAT, path, "byte");
}

Test(lane_restore, an_untouched_directory_restores_to_the_same_state_and_counters)
{
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    struct consumer_lane_counters counters = *consumer_lane_counters(lane);
    struct consumer_lane_usage usage = consumer_lane_usage(lane);
    expect_restore();
    // Nothing late waits here: the counters are the same.
    cr_assert_eq(memcmp(&counters, consumer_lane_counters(lane), sizeof counters), 0);
    struct consumer_lane_usage again = consumer_lane_usage(lane);
    cr_assert_eq(again.journeys, usage.journeys);
    cr_assert_eq(again.orphans, usage.orphans);
    cr_assert_eq(again.remembered, usage.remembered);
    cr_assert_gt(usage.orphans, 0);
    cr_assert_eq(again.pending, 0, "what waited is read again");
}

Test(lane_restore, what_is_dropped_is_unlinked_two_cuts_late)
{
    struct lane_saved_log log;
    char path[PATH_BYTES];
    struct base_buffer second = {0};
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    size_t at = 0;
    cr_assert(next_log(&at, &log, path));
    uint64_t oldest = log.first;
    consumer_lane_cut_done(lane, 1);
    cr_assert_eq(feed(EVENTS, 4 * EVENTS), 0);
    save(2);
    base_buffer_append(&second, state.data, state.size);
    lane_saved_path(directory, &log, oldest, path);
    at = 0;
    char newest[PATH_BYTES];
    cr_assert(next_log(&at, &log, newest));
    cr_assert_gt(log.first, oldest, "it was dropped before the second save");
    consumer_lane_cut_done(lane, 2);
    cr_assert_eq(access(path, F_OK), 0);
    cr_assert_eq(feed(4 * EVENTS, 6 * EVENTS), 0);
    save(3);
    cr_assert_eq(access(path, F_OK), 0);
    consumer_lane_cut_done(lane, 3);
    cr_assert_eq(access(path, F_OK), -1, "cuts 2 and 3 are without it");
    lane_saved_path(directory, &log, log.first, path);
    cr_assert_eq(access(path, F_OK), 0, "cut 2 has it");

    // Cut 3 is done: a restore from cut 2 still works.
    consumer_lane_free(lane);
    lane = restore_from(&second);
    cr_assert(lane, "%s", error.text);
    base_buffer_free(&second);
}

Test(lane_restore, without_keeping_a_dropped_file_goes_at_the_next_run)
{
    consumer_lane_free(lane);
    config.keep_dropped = false;
    lane = consumer_lane_new(&config, &error);
    cr_assert_eq(feed(0, 4 * EVENTS), 0);
    cr_assert_eq(feed(4 * EVENTS, 5 * EVENTS), 0);
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/impression.journey.0000000000", directory);
    cr_assert_eq(access(path, F_OK), -1);
}

Test(lane_restore, what_is_durable_is_not_synced_again)
{
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    unsigned all = disk.calls[SUPPORT_DISK_SYNC];
    unsigned names = disk.calls[SUPPORT_DISK_SYNC_DIRECTORY];
    cr_assert_geq(names, 1);
    save(2); // the first is not known to be done: everything once more
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC], 2 * all);
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC_DIRECTORY], 2 * names);
    consumer_lane_cut_done(lane, 2);
    save(3);
    size_t logs = 0;
    struct lane_saved_log log;
    char path[PATH_BYTES];
    for (size_t at = 0; next_log(&at, &log, path);) {
        logs++;
    }
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC], 2 * all + logs, "the last segment of each alone");
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC_DIRECTORY], 2 * names);
    cr_assert_gt(all, logs);
}

Test(lane_restore, a_directory_that_was_made_is_synced_from_above)
{
    char below[PATH_BYTES];
    snprintf(below, sizeof below, "%s/lanes/lane-0002", directory);
    config.directory = below;
    struct consumer_lane *other = consumer_lane_new(&config, &error);
    struct base_sync *sync = base_sync_new(&disk.disk);
    unsigned before = disk.calls[SUPPORT_DISK_SYNC_DIRECTORY];
    cr_assert_eq(consumer_lane_save(other, 1, &state, sync, &error), 0);
    cr_assert_eq(base_sync_run(sync, &error), 0, "%s", error.text);
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC_DIRECTORY], before + 2, "the test's and lanes/");
    base_sync_free(sync);
    consumer_lane_cut_done(other, 1);
    sync = base_sync_new(&disk.disk);
    cr_assert_eq(consumer_lane_save(other, 2, &state, sync, &error), 0);
    cr_assert_eq(base_sync_run(sync, &error), 0);
    cr_assert_eq(disk.calls[SUPPORT_DISK_SYNC_DIRECTORY], before + 2, "once");
    base_sync_free(sync);
    consumer_lane_free(other);
    rmdir(below);
    snprintf(below, sizeof below, "%s/lanes", directory);
    rmdir(below);
}

static void expect_fault(int failed, const char *what)
{
    cr_assert_eq(failed, -1, "%s", what);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, directory), "%s", error.text);
    cr_assert(strstr(error.text, what), "%s", error.text);
}

Test(lane_restore, faults_of_the_disk_name_the_file)
{
    support_disk_fail(&disk, SUPPORT_DISK_ALLOCATE, 1, ENOSPC);
    expect_fault(feed(0, 10), "No space left");
    consumer_lane_free(lane);

    lane = consumer_lane_new(&config, &error);
    cr_assert_eq(feed(0, 10), 0);
    struct base_sync *sync = base_sync_new(&disk.disk);
    base_buffer_clear(&state);
    base_buffer_u8(&state, 7);
    support_disk_fail(&disk, SUPPORT_DISK_WRITE, 1, EIO);
    expect_fault(consumer_lane_save(lane, 1, &state, sync, &error), "Input/output error");
    cr_assert_eq(state.size, 1, "nothing is left of it");
    cr_assert_eq(consumer_lane_save(lane, 2, &state, sync, &error), 0, "%s", error.text);
    support_disk_fail(&disk, SUPPORT_DISK_SYNC, 2, EIO);
    expect_fault(base_sync_run(sync, &error), "sync");
    cr_assert(error.fatal);
    support_disk_fail(&disk, SUPPORT_DISK_SYNC_DIRECTORY, 1, EIO);
    error.fatal = false;
    expect_fault(base_sync_run(sync, &error), directory);
    cr_assert(error.fatal);
    base_sync_free(sync);

    cr_assert_eq(feed(10, EVENTS), 0);
    sync = base_sync_new(&disk.disk);
    support_disk_fail(&disk, SUPPORT_DISK_OPEN, 1, EMFILE); // of an ended segment
    expect_fault(consumer_lane_save(lane, 3, &state, sync, &error), "Too many open files");
    base_sync_free(sync);

    char below[PATH_BYTES];
    snprintf(below, sizeof below, "%s/below", directory);
    config.directory = below;
    support_disk_fail(&disk, SUPPORT_DISK_MAKE_DIRECTORY, 3, EACCES); // /dev, /dev/shm, ...
    cr_assert_null(consumer_lane_new(&config, &error));
    cr_assert(strstr(error.text, "Permission denied"), "%s", error.text);
}

Test(lane_restore, any_fault_at_a_restore_is_survived_by_the_next)
{
    static const enum support_disk_operation operations[] = {SUPPORT_DISK_OPEN, SUPPORT_DISK_ALLOCATE,
                                                             SUPPORT_DISK_TRUNCATE, SUPPORT_DISK_UNLINK};
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    unsigned failed = 0;
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        for (unsigned n = 1; n < 200; n++) {
            cr_assert_eq(feed(n * EVENTS, (n + 1) * EVENTS), 0);
            consumer_lane_free(lane);
            support_disk_fail(&disk, operations[i], n, EIO);
            lane = restore_from(&state);
            disk.at = 0;
            if (lane) {
                break;
            }
            failed++;
            expect_fault(-1, "Input/output error");
            expect_restore();
        }
    }
    cr_assert_gt(failed, 20);
}

Test(lane_restore, another_configuration_is_a_conflict_that_is_named)
{
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    struct consumer_lane_config right = config;
    config.action[2].window = 41;
    expect_refusal(BASE_ECONFLICT, "purchase's window", "lane 2");
    config.action[2] = right.action[2];
    config.action[1].wait = 11;
    expect_refusal(BASE_ECONFLICT, "click's wait", "lane 2");
    config.action[1] = right.action[1];
    config.action[3].name = "save";
    expect_refusal(BASE_ECONFLICT, "save's name", "lane 2");
    config.action[3] = right.action[3];
    config.action[3].parent = 1;
    expect_refusal(BASE_ECONFLICT, "like's parent", "lane 2");
    config.action[3] = right.action[3];
    config.action[2].last_touch = false;
    expect_refusal(BASE_ECONFLICT, "purchase's join", "lane 2");
    config = right;
    config.dedupe[0] = 21;
    expect_refusal(BASE_ECONFLICT, "impression's dedupe", "lane 2");
    config = right;
    config.orphan_timeout = 31;
    expect_refusal(BASE_ECONFLICT, "orphan_timeout", "lane 2");
    config = right;
    config.ranks = 3;
    expect_refusal(BASE_ECONFLICT, "saved with 3 actions", "lane 2");
    config = right;
    config.lane = 3;
    expect_refusal(BASE_EFORMAT, "lane 3", "is of lane 2");
    // What changes nothing of what is kept may change.
    config = right;
    config.allowed_lateness[1] = 5;
    expect_restore();
    config.allowed_lateness[1] = 0;
    config.keep_negatives = 0.5;
    config.segment_bytes = 1024;
    config.orphan_max = 1000;
    expect_restore();
    cr_assert_eq(feed(EVENTS, 3 * EVENTS), 0, "%s", error.text);
}

Test(lane_restore, a_state_that_is_cut_or_flipped_is_refused)
{
    cr_assert_eq(feed(0, EVENTS), 0, "%s", error.text);
    save(1);
    for (size_t i = 0; i < state.size; i++) {
        state.data[i] ^= 1;
        cr_assert_null(restore_from(&state), "byte %zu", i);
        cr_assert_eq(error.code, BASE_EFORMAT);
        cr_assert(strstr(error.text, "lane 2"), "%s", error.text);
        state.data[i] ^= 1;
        struct base_reader reader = {base_span_make(state.data, i), false};
        cr_assert_null(consumer_lane_restore(&config, &reader, &error));
        cr_assert_eq(error.code, BASE_EFORMAT);
    }
    expect_restore();
}

Test(lane_restore, skipping_moves_a_partition_as_pushing_does)
{
    config.allowed_lateness[0] = 3;
    save(1);
    expect_restore();
    consumer_lane_place(lane, 0, 5, 100);
    cr_assert_eq(consumer_lane_partition_watermark(lane, 0), 5);
    struct consumer_event event = {.lane = 2, .offset = 104, .event_time = 50};
    consumer_lane_skip(lane, &event);
    cr_assert_eq(consumer_lane_partition_watermark(lane, 0), 47);
    cr_assert_eq(consumer_lane_usage(lane).pending, 0);
    cr_assert_eq(consumer_lane_next_time(lane), CONSUMER_TIME_MAX);
    cr_assert_eq(push(0, 104, "a", "a"), -1, "it is behind");
    cr_assert_eq(push(0, 105, "a", "a"), 0);
    cr_assert_eq(consumer_lane_counters(lane)->late[0], 0);
}
