// Tests of the segmented log: what is read is what was written, faults of the file system are named errors,
// and a flipped bit anywhere in a record is found.
#include "consumer/segments.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support_directory.h"

enum { PATH_BYTES = 256, RECORDS = 500 };

static char directory[SUPPORT_DIRECTORY_MAX];
static struct base_error error;

static void begin(void)
{
    support_directory_make(directory);
}

static void end(void)
{
    support_directory_remove(directory);
}

TestSuite(segments, .init = begin, .fini = end);

static struct consumer_segments *open_log(uint64_t segment_bytes)
{
    struct consumer_segments_config config = {
        .directory = directory, .name = "t.log", .lane = 3, .segment_bytes = segment_bytes};
    struct consumer_segments *segments = consumer_segments_new(&config, &error);
    cr_assert(segments, "%s", error.text);
    return segments;
}

static const char *file(uint32_t segment)
{
    static char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/t.log.%010u", directory, segment);
    return path;
}

// Makes everything appended so far durable, as cut `cut` does.
static int sync_log(struct consumer_segments *segments, uint64_t cut)
{
    struct base_buffer state = {0};
    struct base_sync *sync = base_sync_new(NULL);
    int result = consumer_segments_save(segments, cut, &state, sync, &error);
    if (result == 0) {
        result = base_sync_run(sync, &error);
    }
    if (result == 0) {
        consumer_segments_cut_done(segments, cut);
    }
    base_sync_free(sync);
    base_buffer_free(&state);
    return result;
}

static size_t record_size(uint32_t i)
{
    return 16 + i % 7 * 8;
}

// Appends record i, filled with i, at time i; -1 on errors.
static int append(struct consumer_segments *segments, uint32_t i, size_t size, uint64_t *position)
{
    uint8_t *record = consumer_segments_begin(segments, size, i, &error);
    if (!record) {
        return -1;
    }
    memset(record + CONSUMER_SEGMENTS_PREFIX, (int)(i & 0xff), size - CONSUMER_SEGMENTS_PREFIX);
    *position = consumer_segments_end(segments, i, i + 1);
    return 0;
}

static void expect_record(const uint8_t *record, uint32_t i, size_t size)
{
    cr_assert(record, "%s", error.text);
    cr_assert_eq((uintptr_t)record % 8, 0);
    for (size_t k = CONSUMER_SEGMENTS_PREFIX; k < size; k++) {
        cr_assert_eq(record[k], (uint8_t)i);
    }
}

Test(segments, reads_what_was_written_buffered_or_not)
{
    struct consumer_segments *segments = open_log(1024);
    uint64_t position[RECORDS];
    for (uint32_t i = 0; i < RECORDS; i++) {
        cr_assert_eq(append(segments, i, record_size(i), &position[i]), 0);
        expect_record(consumer_segments_read(segments, position[i], &error), i, record_size(i));
        uint32_t earlier = i / 2;
        expect_record(consumer_segments_read(segments, position[earlier], &error), earlier,
                      record_size(earlier));
    }
    cr_assert_eq(sync_log(segments, 1), 0);
    for (uint32_t i = 0; i < RECORDS; i++) {
        expect_record(consumer_segments_read(segments, position[i], &error), i, record_size(i));
    }
    consumer_segments_free(segments);
}

Test(segments, a_pinned_record_survives_appends_and_the_drop)
{
    struct consumer_segments *segments = open_log(512);
    uint64_t position;
    cr_assert_eq(append(segments, 9, 64, &position), 0);
    const uint8_t *pinned = consumer_segments_pin(segments, position, &error);
    for (uint32_t i = 10; i < 30; i++) {
        cr_assert_eq(append(segments, i, 64, &position), 0);
    }
    int64_t time;
    uint64_t number;
    cr_assert(consumer_segments_oldest(segments, &time, &number));
    cr_assert_eq(number, (uint64_t)time + 1);
    consumer_segments_drop(segments);
    expect_record(pinned, 9, 64);
    cr_assert_eq(access(file(0), F_OK), 0);
    uint64_t before = consumer_segments_disk_bytes(segments);
    consumer_segments_release(segments);
    cr_assert_eq(access(file(0), F_OK), -1);
    cr_assert_eq(access(file(1), F_OK), 0);
    cr_assert_eq(consumer_segments_disk_bytes(segments), before - 512);
    consumer_segments_free(segments);
}

Test(segments, a_large_record_gets_a_segment_of_its_own)
{
    struct consumer_segments *segments = open_log(256);
    uint64_t position[3];
    const size_t large = 3 * CONSUMER_SEGMENTS_BUFFER;
    cr_assert_eq(append(segments, 1, 64, &position[0]), 0);
    cr_assert_eq(append(segments, 2, large, &position[1]), 0);
    cr_assert_eq(append(segments, 3, 64, &position[2]), 0);
    expect_record(consumer_segments_pin(segments, position[1], &error), 2, large);
    expect_record(consumer_segments_pin(segments, position[0], &error), 1, 64);
    expect_record(consumer_segments_pin(segments, position[2], &error), 3, 64);
    consumer_segments_free(segments);
}

Test(segments, the_file_has_a_header_and_is_preallocated)
{
    struct consumer_segments *segments = open_log(65536);
    uint64_t position;
    cr_assert_eq(append(segments, 1, 64, &position), 0);
    cr_assert_eq(sync_log(segments, 1), 0);
    struct stat status;
    cr_assert_eq(stat(file(0), &status), 0);
    cr_assert_eq(status.st_size, 65536);
    cr_assert_geq(status.st_blocks * 512, 65536);
    FILE *in = fopen(file(0), "rb");
    char magic[8];
    uint32_t numbers[2];
    cr_assert_eq(fread(magic, sizeof magic, 1, in), 1);
    cr_assert_eq(fread(numbers, sizeof numbers, 1, in), 1);
    cr_assert_eq(memcmp(magic, "FRSHTLOG", sizeof magic), 0);
    cr_assert_eq(numbers[0], CONSUMER_SEGMENTS_VERSION);
    cr_assert_eq(numbers[1], 3, "the lane");
    fclose(in);
    consumer_segments_free(segments);
}

Test(segments, a_new_log_removes_only_its_own_old_files)
{
    static const char *const others[] = {"t.log", "t.log.12", "t.log.000000000x", "t.logs.0000000000"};
    char path[PATH_BYTES];
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, others[i]);
        fclose(fopen(path, "w"));
    }
    fclose(fopen(file(7), "w"));
    struct consumer_segments *segments = open_log(1024);
    cr_assert_eq(access(file(7), F_OK), -1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, others[i]);
        cr_assert_eq(access(path, F_OK), 0);
    }
    consumer_segments_free(segments);
}

// Flips bits of the second of three records, one at a time: each is found and named.
Test(segments, a_flipped_bit_is_found_and_named)
{
    enum { SIZE = 48, HEADER = 56 };
    struct consumer_segments *segments = open_log(1024);
    uint64_t position[3];
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(append(segments, i, SIZE, &position[i]), 0);
    }
    cr_assert_eq(consumer_segments_flush(segments, &error), 0);
    int fd = open(file(0), O_RDWR);
    for (off_t byte = HEADER + SIZE; byte < HEADER + 2 * SIZE; byte++) {
        for (unsigned bit = 0; bit < 8; bit += 3) {
            uint8_t value;
            cr_assert_eq(pread(fd, &value, 1, byte), 1);
            uint8_t flipped = (uint8_t)(value ^ 1u << bit);
            cr_assert_eq(pwrite(fd, &flipped, 1, byte), 1);
            error = (struct base_error){0};
            cr_assert_null(consumer_segments_read(segments, position[1], &error), "byte %d", (int)byte);
            cr_assert_eq(error.code, BASE_EFORMAT);
            cr_assert(strstr(error.text, file(0)), "%s", error.text);
            cr_assert(strstr(error.text, "byte 104"), "%s", error.text);
            cr_assert_eq(pwrite(fd, &value, 1, byte), 1);
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        expect_record(consumer_segments_read(segments, position[i], &error), i, SIZE);
    }
    close(fd);
    consumer_segments_free(segments);
}

// A record in another's place has the right bytes and the wrong position.
Test(segments, a_record_in_the_wrong_place_is_found)
{
    struct consumer_segments *segments = open_log(1024);
    uint64_t position[2];
    cr_assert_eq(append(segments, 5, 32, &position[0]), 0);
    cr_assert_eq(append(segments, 5, 32, &position[1]), 0);
    cr_assert_eq(consumer_segments_flush(segments, &error), 0);
    uint8_t bytes[32];
    int fd = open(file(0), O_RDWR);
    cr_assert_eq(pread(fd, bytes, sizeof bytes, 56), 32);
    cr_assert_eq(pwrite(fd, bytes, sizeof bytes, 88), 32);
    close(fd);
    cr_assert(consumer_segments_read(segments, position[0], &error));
    cr_assert_null(consumer_segments_read(segments, position[1], &error));
    consumer_segments_free(segments);
}

// From here on no file may grow beyond `bytes`.
static void limit_files(rlim_t bytes)
{
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {bytes, bytes};
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(segments, no_room_for_a_segment_is_an_error_that_names_it)
{
    struct consumer_segments *segments = open_log(8192);
    limit_files(4096);
    uint64_t position;
    cr_assert_eq(append(segments, 1, 64, &position), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, file(0)), "%s", error.text);
    cr_assert_eq(access(file(0), F_OK), -1, "nothing half made is left");
    consumer_segments_free(segments);
}

Test(segments, a_failing_write_is_an_error_that_names_the_file)
{
    struct consumer_segments *segments = open_log(8192);
    uint64_t position;
    cr_assert_eq(append(segments, 1, 64, &position), 0);
    limit_files(32);
    expect_record(consumer_segments_read(segments, position, &error), 1, 64);
    cr_assert_null(consumer_segments_pin(segments, position, &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, file(0)), "%s", error.text);
    cr_assert_eq(sync_log(segments, 1), -1);
    consumer_segments_free(segments);
}

Test(segments, a_missing_directory_or_name_is_an_error)
{
    struct consumer_segments_config config = {
        .directory = "/nonexistent/place", .name = "t.log", .segment_bytes = 1024};
    cr_assert_null(consumer_segments_new(&config, &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, "/nonexistent/place"));

    struct consumer_segments *segments = open_log(256);
    uint64_t position;
    cr_assert_eq(append(segments, 1, 64, &position), 0);
    fclose(fopen(file(1), "w")); // somebody else's file stands where the next segment goes
    cr_assert_eq(append(segments, 2, 184, &position), -1);
    cr_assert(strstr(error.text, file(1)), "%s", error.text);
    consumer_segments_free(segments);
}

Test(segments, syncing_an_ended_segment_that_vanished_fails)
{
    struct consumer_segments *segments = open_log(256);
    uint64_t position;
    for (uint32_t i = 0; i < 8; i++) {
        cr_assert_eq(append(segments, i, 64, &position), 0);
    }
    cr_assert_eq(sync_log(segments, 1), 0);
    cr_assert_eq(unlink(file(0)), 0);
    cr_assert_eq(sync_log(segments, 2), 0, "it is durable already");
    for (uint32_t i = 8; i < 16; i++) {
        cr_assert_eq(append(segments, i, 64, &position), 0);
    }
    cr_assert_eq(unlink(file(3)), 0);
    cr_assert_eq(sync_log(segments, 3), -1);
    cr_assert(strstr(error.text, file(3)), "%s", error.text);
    consumer_segments_free(segments);
}
