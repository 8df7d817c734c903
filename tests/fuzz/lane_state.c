// Fuzzer of a lane's saved state, over logs that are real. The input is either a list of changes to a right
// state (where, what), or a whole payload; checksums are made to fit, so that what lies behind them is
// reached. What is refused is refused with an error; what is restored can be fed, run and saved again.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/section.h"
#include "consumer/lane.h"

enum { EVENTS = 60, PATH_BYTES = 512, FILES_MAX = 64, CHANGE = 5, HEADER = 20, CHECKSUM = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// The lane that every input starts from: its state, and its files as they were.
static struct base_buffer right;
static size_t logs[FILES_MAX]; // where the logs' sections begin in it
static size_t log_count;
static char directory[] = "/dev/shm/freshet-fuzz-XXXXXX";
static struct {
    char path[PATH_BYTES];
    struct base_buffer bytes;
} files[FILES_MAX];
static size_t file_count;

static const struct consumer_lane_config config = {
    .lane = 1,
    .directory = directory,
    .ranks = 4,
    .action = {[1] = {"click", 0, false, false, 10, 20, 0},
               [2] = {"purchase", 1, false, true, 10, 40, 0},
               [3] = {"like", 0, true, false, 5, 20, 0}},
    .dedupe = {20, 40, 40, 40},
    .orphan_timeout = 30,
    .keep_negatives = 1,
    .segment_bytes = 1024,
};

static int ignore(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)error;
    *(uint64_t *)context += sample->columns.size + sample->impression_id.size;
    return 0;
}

// Feeds times [from, to) and runs as far as they allow.
static int feed(struct consumer_lane *lane, int64_t from, int64_t to, struct base_error *error)
{
    static const uint64_t columns[2] = {1, 2};
    uint64_t sum = 0;
    for (int64_t time = from; time < to; time++) {
        for (uint32_t rank = 0; rank < config.ranks; rank++) {
            char id[32], of[32];
            int length = snprintf(id, sizeof id, "%lld", (long long)time);
            snprintf(of, sizeof of, "%lld", (long long)(rank && time % 7 ? time / 3 * 3 : time));
            struct consumer_event event = {
                .rank = rank,
                .lane = config.lane,
                .offset = time,
                .event_time = time,
                .event_id = base_span_make(id, (size_t)length),
                .impression_id = base_span_string(rank && time % 11 == 0 ? "nowhere" : of),
                .touch = base_span_string(time % 2 ? "odd" : "even"),
            };
            if (rank == 0) {
                event.columns = base_span_make(columns, sizeof columns);
            }
            if (consumer_lane_push(lane, &event, error)) {
                return -1;
            }
        }
    }
    return consumer_lane_run(lane, to - 2, ignore, &sum, error);
}

static void expect(int failed, const struct base_error *error)
{
    if (failed) {
        fprintf(stderr, "%s\n", error->text);
        abort();
    }
}

static void keep_files(void)
{
    struct base_error error;
    DIR *listing = opendir(directory);
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        if (entry->d_name[0] != '.') {
            snprintf(files[file_count].path, PATH_BYTES, "%s/%.200s", directory, entry->d_name);
            expect(base_disk_read(files[file_count].path, 1 << 20, &files[file_count].bytes, &error), &error);
            file_count++;
        }
    }
    closedir(listing);
}

static void put_files_back(void)
{
    for (size_t i = 0; i < file_count; i++) {
        int fd = open(files[i].path, O_RDWR | O_CREAT, 0600);
        if (fd < 0 || pwrite(fd, files[i].bytes.data, files[i].bytes.size, 0) < 0) {
            abort();
        }
        close(fd);
    }
}

static void remove_files(void)
{
    DIR *listing = opendir(directory);
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        if (entry->d_name[0] != '.') {
            unlinkat(dirfd(listing), entry->d_name, 0);
        }
    }
    closedir(listing);
    rmdir(directory);
}

static void make_right(void)
{
    struct base_error error;
    struct base_sync *sync = base_sync_new(NULL);
    if (!mkdtemp(directory)) {
        abort();
    }
    struct consumer_lane *lane = consumer_lane_new(&config, &error);
    expect(!lane, &error);
    expect(feed(lane, 0, EVENTS, &error), &error);
    expect(consumer_lane_save(lane, 1, &right, sync, &error), &error);
    base_sync_free(sync);
    consumer_lane_free(lane);
    keep_files();
    atexit(remove_files);
    for (size_t at = 0; at + HEADER < right.size; at++) {
        if (memcmp(right.data + at, "FRSHSEGS", 8) == 0) {
            logs[log_count++] = at;
        }
    }
}

static void seal(uint8_t *section, size_t payload)
{
    uint64_t checksum = base_hash_bytes(base_span_make(section, HEADER + payload), 0);
    for (size_t i = 0; i < CHECKSUM; i++) {
        section[HEADER + payload + i] = (uint8_t)(checksum >> (8 * i));
    }
}

static size_t payload_size(const uint8_t *section)
{
    struct base_reader size = {base_span_make(section + 12, 8), false};
    return base_reader_u64(&size);
}

// A right state with changes at places of its payload: two bytes say where, one how many bytes, then the byte
// that is added to the first, and the one that the others become.
static void change(struct base_buffer *state, const uint8_t *data, size_t size)
{
    base_buffer_append(state, right.data, right.size);
    for (; size >= CHANGE; data += CHANGE, size -= CHANGE) {
        size_t at = HEADER + (size_t)(data[0] | data[1] << 8) % (state->size - HEADER - CHECKSUM);
        size_t count = data[2] % 9;
        state->data[at] = (uint8_t)(state->data[at] + data[3]);
        for (size_t i = 1; i < count && at + i < state->size - CHECKSUM; i++) {
            state->data[at + i] = data[4];
        }
    }
    for (size_t i = 0; i < log_count; i++) {
        memcpy(state->data + logs[i], right.data + logs[i], HEADER); // the frame stays
        seal(state->data + logs[i], payload_size(right.data + logs[i]));
    }
    seal(state->data, payload_size(right.data));
}

static void restore(const struct base_buffer *state)
{
    struct base_error error = {0};
    struct base_reader reader = {base_buffer_span(state), false};
    struct consumer_lane *lane = consumer_lane_restore(&config, &reader, &error);
    if (!lane) {
        if (error.code == BASE_OK || !error.text[0]) {
            abort();
        }
        return;
    }
    int64_t next = EVENTS;
    for (uint32_t rank = 0; rank < config.ranks; rank++) {
        consumer_lane_place(lane, rank, next - 1, next);
    }
    struct base_buffer again = {0};
    struct base_sync *sync = base_sync_new(NULL);
    if (feed(lane, next, next + EVENTS, &error) == 0) {
        expect(consumer_lane_save(lane, 2, &again, sync, &error), &error);
    }
    base_sync_free(sync);
    base_buffer_free(&again);
    consumer_lane_free(lane);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!right.size) {
        make_right();
    }
    if (size == 0) {
        return 0;
    }
    put_files_back();
    struct base_buffer state = {0};
    if (data[0] % 4) {
        change(&state, data + 1, size - 1);
    } else {
        size_t mark = base_section_begin(&state, "FRSHLANE", 1);
        base_buffer_append(&state, data + 1, size - 1);
        base_section_end(&state, mark);
    }
    restore(&state);
    base_buffer_free(&state);
    return 0;
}
