// Tests of the simulated disk: what is synced stays, what is not may go, and nothing else appears.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "simulation/sim_disk.h"

enum { PATH_BYTES = 256, CONTENT_MOST = 1 << 16 };

static const char *path_of(const struct sim_disk *disk, const char *name)
{
    static char path[4][PATH_BYTES];
    static int next;
    char *mine = path[next++ % 4];
    snprintf(mine, PATH_BYTES, "%s/%s", sim_disk_directory(disk), name);
    return mine;
}

static int open_file(struct sim_disk *disk, const char *name, int flags)
{
    struct base_error error;
    int fd = -1;
    cr_assert_eq(base_disk_open(sim_disk_base(disk), path_of(disk, name), flags, &fd, &error), 0, "%s",
                 error.text);
    return fd;
}

static void write_at(struct sim_disk *disk, int fd, const char *name, const char *text, uint64_t offset)
{
    struct base_error error;
    cr_assert_eq(
        base_disk_write(sim_disk_base(disk), fd, path_of(disk, name), base_span_string(text), offset, &error),
        0);
}

static void sync_file(struct sim_disk *disk, int fd, const char *name)
{
    struct base_error error;
    cr_assert_eq(base_disk_sync(sim_disk_base(disk), fd, path_of(disk, name), &error), 0);
}

static void sync_directory(struct sim_disk *disk, const char *name)
{
    struct base_error error;
    cr_assert_eq(base_disk_sync_directory(sim_disk_base(disk), path_of(disk, name), &error), 0);
}

static bool content_is(const struct sim_disk *disk, const char *name, const char *text)
{
    struct base_buffer content = {0};
    struct base_error error;
    bool same = base_disk_read(path_of(disk, name), CONTENT_MOST, &content, &error) == 0 &&
                content.size == strlen(text) && memcmp(content.data, text, content.size) == 0;
    base_buffer_free(&content);
    return same;
}

static bool exists(const struct sim_disk *disk, const char *name)
{
    return access(path_of(disk, name), F_OK) == 0;
}

Test(sim_disk, what_is_synced_stays_and_what_is_not_may_go)
{
    struct sim_disk *disk = sim_disk_new(NULL);
    int fd = open_file(disk, "a", O_RDWR | O_CREAT);
    write_at(disk, fd, "a", "first", 0);
    sync_file(disk, fd, "a");
    sync_directory(disk, "");
    write_at(disk, fd, "a", "SECOND", 3);
    cr_assert(content_is(disk, "a", "firSECOND"));
    close(fd);
    sim_disk_crash_clean(disk);
    cr_assert(content_is(disk, "a", "first"));
    // Again: the state after a power cut is the durable one.
    sim_disk_crash_clean(disk);
    cr_assert(content_is(disk, "a", "first"));
    sim_disk_free(disk);
}

Test(sim_disk, a_file_without_a_durable_name_is_gone)
{
    struct sim_disk *disk = sim_disk_new(NULL);
    struct base_error error;
    int fd = open_file(disk, "a", O_WRONLY | O_CREAT);
    write_at(disk, fd, "a", "text", 0);
    sync_file(disk, fd, "a");
    close(fd);
    cr_assert_eq(base_disk_make_directory(sim_disk_base(disk), path_of(disk, "d"), &error), 0);
    close(open_file(disk, "d/b", O_WRONLY | O_CREAT));
    sync_directory(disk, "d"); // the name in it is durable, its own is not
    sim_disk_crash_clean(disk);
    cr_assert(!exists(disk, "a") && !exists(disk, "d"));
    sim_disk_free(disk);
}

Test(sim_disk, an_unlinked_file_may_come_back_until_its_directory_is_synced)
{
    struct sim_disk *disk = sim_disk_new(NULL);
    struct base_error error;
    int fd = open_file(disk, "a", O_WRONLY | O_CREAT);
    write_at(disk, fd, "a", "text", 0);
    sync_file(disk, fd, "a");
    sync_directory(disk, "");
    close(fd);
    cr_assert_eq(base_disk_link(sim_disk_base(disk), path_of(disk, "a"), path_of(disk, "b"), &error), 0);
    cr_assert_eq(base_disk_unlink(sim_disk_base(disk), path_of(disk, "a"), &error), 0);
    cr_assert(!exists(disk, "a") && exists(disk, "b"));
    sim_disk_crash_clean(disk);
    cr_assert(content_is(disk, "a", "text") && !exists(disk, "b"));
    cr_assert_eq(base_disk_link(sim_disk_base(disk), path_of(disk, "a"), path_of(disk, "b"), &error), 0);
    cr_assert_eq(base_disk_unlink(sim_disk_base(disk), path_of(disk, "a"), &error), 0);
    sync_directory(disk, "");
    sim_disk_crash_clean(disk);
    cr_assert(!exists(disk, "a") && content_is(disk, "b", "text"));
    sim_disk_free(disk);
}

Test(sim_disk, links_stay_links)
{
    struct sim_disk *disk = sim_disk_new(NULL);
    struct base_error error;
    close(open_file(disk, "a", O_WRONLY | O_CREAT));
    cr_assert_eq(base_disk_link(sim_disk_base(disk), path_of(disk, "a"), path_of(disk, "b"), &error), 0);
    sync_directory(disk, "");
    sim_disk_crash_clean(disk);
    struct stat a, b;
    stat(path_of(disk, "a"), &a);
    stat(path_of(disk, "b"), &b);
    cr_assert_eq(a.st_ino, b.st_ino);
    sim_disk_free(disk);
}

// Whatever the power cut leaves, a file that is replaced is the old one or the new one.
Test(sim_disk, a_replaced_file_is_the_old_one_or_the_new_one)
{
    int old = 0, fresh = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct sim_disk *disk = sim_disk_new(NULL);
        struct sim_random random = sim_random_make(seed, "cut");
        struct base_error error;
        char file[PATH_BYTES], beside[PATH_BYTES];
        snprintf(file, sizeof file, "%s/LAST", sim_disk_directory(disk));
        snprintf(beside, sizeof beside, "%s.new", file);
        cr_assert_eq(base_disk_replace(sim_disk_base(disk), file, base_span_string("old"), &error), 0);
        // The second time without the last sync, as if the power went before it.
        int fd = open_file(disk, "LAST.new", O_WRONLY | O_CREAT | O_TRUNC);
        write_at(disk, fd, "LAST.new", "fresh", 0);
        sync_file(disk, fd, "LAST.new");
        close(fd);
        cr_assert_eq(base_disk_rename(sim_disk_base(disk), beside, file, &error), 0);
        sim_disk_crash(disk, &random);
        bool is_old = content_is(disk, "LAST", "old");
        cr_assert(is_old || content_is(disk, "LAST", "fresh"));
        old += is_old;
        fresh += !is_old;
        sim_disk_free(disk);
    }
    cr_assert(old > 20 && fresh > 20, "%d old, %d fresh", old, fresh);
}

// Each byte of an unsynced write is the old one or the new one; whole words of eight bytes are; and all three
// fates happen.
Test(sim_disk, an_unsynced_write_is_kept_dropped_or_torn)
{
    enum { SIZE = 3000, AT = 100 };
    static char before[SIZE + AT + 1], after[SIZE + 1];
    memset(before, 'o', SIZE + AT);
    memset(after, 'n', SIZE);
    int kept = 0, dropped = 0, torn = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct sim_disk *disk = sim_disk_new(NULL);
        struct sim_random random = sim_random_make(seed, "cut");
        struct base_buffer content = {0};
        struct base_error error;
        int fd = open_file(disk, "a", O_RDWR | O_CREAT);
        write_at(disk, fd, "a", before, 0);
        sync_file(disk, fd, "a");
        sync_directory(disk, "");
        write_at(disk, fd, "a", after, AT);
        close(fd);
        sim_disk_crash(disk, &random);
        cr_assert_eq(base_disk_read(path_of(disk, "a"), CONTENT_MOST, &content, &error), 0);
        cr_assert_eq(content.size, SIZE + AT);
        int changed = 0;
        for (size_t i = 0; i < content.size; i++) {
            changed += content.data[i] == 'n';
            cr_assert(content.data[i] == 'n' ? i >= AT : content.data[i] == 'o');
            bool first = i == AT || i % 8 == 0;
            cr_assert(first || i < AT || content.data[i] == content.data[i - 1], "a word is torn");
        }
        kept += changed == SIZE;
        dropped += changed == 0;
        torn += changed > 0 && changed < SIZE;
        base_buffer_free(&content);
        sim_disk_free(disk);
    }
    cr_assert(kept > 50 && dropped > 50 && torn > 50, "%d, %d, %d", kept, dropped, torn);
}

Test(sim_disk, a_failed_sync_may_have_lost_it_for_good)
{
    struct sim_faults faults;
    sim_faults_init(&faults, 1);
    struct sim_disk *disk = sim_disk_new(&faults);
    faults.quiet = true;
    struct base_error error;
    int fd = open_file(disk, "a", O_RDWR | O_CREAT);
    sync_directory(disk, "");
    write_at(disk, fd, "a", "text", 0);
    faults.quiet = false;
    sim_faults_rate(&faults, "disk.sync_lost", 1);
    for (uint32_t i = 0; i < faults.count; i++) {
        faults.sites[i].on = true;
    }
    cr_assert_eq(base_disk_sync(sim_disk_base(disk), fd, path_of(disk, "a"), &error), -1);
    cr_assert(error.fatal);
    faults.quiet = true;
    sync_file(disk, fd, "a");
    close(fd);
    sim_disk_crash_clean(disk);
    cr_assert(content_is(disk, "a", ""));
    sim_disk_free(disk);
}

Test(sim_disk, what_was_not_made_through_it_is_told)
{
    struct sim_disk *disk = sim_disk_new(NULL);
    close(open_file(disk, "mine", O_WRONLY | O_CREAT));
    cr_assert_null(sim_disk_stranger(disk));
    FILE *file = fopen(path_of(disk, "theirs"), "w");
    fclose(file);
    cr_assert_str_eq(sim_disk_stranger(disk), path_of(disk, "theirs"));
    sim_disk_free(disk);
}

// Truncation, allocation and many files, against a second account of what was synced.
Test(sim_disk, the_clean_cut_is_what_was_synced)
{
    enum { FILES = 4, SIZE = 4096, STEPS = 3000 };
    static uint8_t synced[FILES][SIZE], present[FILES][SIZE];
    size_t synced_size[FILES] = {0}, size[FILES] = {0};
    struct sim_disk *disk = sim_disk_new(NULL);
    struct sim_random random = sim_random_make(5, "steps");
    struct base_error error;
    const char *const names[FILES] = {"a", "b", "c", "d"};
    int fd[FILES];
    for (int f = 0; f < FILES; f++) {
        fd[f] = open_file(disk, names[f], O_RDWR | O_CREAT);
    }
    sync_directory(disk, "");
    for (int step = 0; step < STEPS; step++) {
        uint64_t f = sim_random_below(&random, FILES);
        const char *path = path_of(disk, names[f]);
        uint8_t bytes[64];
        uint64_t offset = sim_random_below(&random, SIZE - sizeof bytes);
        switch (sim_random_below(&random, 12)) {
        case 0:
            cr_assert_eq(base_disk_truncate(sim_disk_base(disk), fd[f], path, offset, &error), 0);
            if (offset < size[f]) {
                memset(present[f] + offset, 0, SIZE - offset);
            }
            size[f] = offset;
            break;
        case 1:
            cr_assert_eq(base_disk_allocate(sim_disk_base(disk), fd[f], path, offset + 1, &error), 0);
            size[f] = offset + 1 > size[f] ? offset + 1 : size[f];
            break;
        case 2:
            sync_file(disk, fd[f], names[f]);
            memcpy(synced[f], present[f], SIZE);
            synced_size[f] = size[f];
            break;
        case 3:
            if (sim_random_below(&random, 10) > 0) {
                break;
            }
            for (int i = 0; i < FILES; i++) {
                close(fd[i]);
            }
            sim_disk_crash_clean(disk);
            for (int i = 0; i < FILES; i++) {
                struct base_buffer content = {0};
                cr_assert_eq(base_disk_read(path_of(disk, names[i]), SIZE, &content, &error), 0);
                cr_assert_eq(content.size, synced_size[i]);
                cr_assert(content.size == 0 || memcmp(content.data, synced[i], content.size) == 0);
                base_buffer_free(&content);
                memcpy(present[i], synced[i], SIZE);
                size[i] = synced_size[i];
                fd[i] = open_file(disk, names[i], O_RDWR);
            }
            break;
        default:
            for (size_t i = 0; i < sizeof bytes; i++) {
                bytes[i] = (uint8_t)sim_random_bits(&random);
            }
            cr_assert_eq(base_disk_write(sim_disk_base(disk), fd[f], path,
                                         base_span_make(bytes, sizeof bytes), offset, &error),
                         0);
            memcpy(present[f] + offset, bytes, sizeof bytes);
            size[f] = offset + sizeof bytes > size[f] ? offset + sizeof bytes : size[f];
        }
    }
    cr_assert_gt(sim_disk_counts(disk).crashes, 5);
    for (int f = 0; f < FILES; f++) {
        close(fd[f]);
    }
    sim_disk_free(disk);
}
