// A segmented, append-only file of checksummed records. See segments.h.
//
// The write buffer holds the records of [flushed, used) of the last segment; they are read from there until
// they are written. Readers of older records go to the mapping, which shows what pwrite wrote (one page
// cache).
#include "consumer/segments.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/hash.h"

#define SEGMENTS_MAGIC "FRSHTLOG"
enum { SEGMENTS_PATH_MAX = 4096, SEGMENTS_DIGITS = 10 };

struct segments_header {
    char magic[8];
    uint32_t version;
    uint32_t lane;
    uint64_t segment;  // this one's number, as in the file's name
    uint64_t base;     // position of its first byte
    uint64_t size;     // of the file
    uint64_t number;   // of the first record that counts in it
    uint64_t checksum; // XXH3 of all of the above
};

struct segments_prefix {
    uint32_t checksum;
    uint32_t size;
};

struct segments_segment {
    uint64_t segment; // number, for the file's name
    uint64_t base;
    uint64_t size;
    uint64_t used; // bytes with records, the buffered included
    uint8_t *map;  // [size], read only
    int64_t time;  // of the newest record that counts, up to this segment's end
    uint64_t number;
    bool durable; // ended, and synced since
};

struct consumer_segments {
    char *directory;
    char name[CONSUMER_SEGMENTS_NAME_MAX + 1];
    uint32_t lane;
    uint64_t segment_bytes;

    struct segments_segment *list; // [count], oldest first; [0, dropped) wait for their release
    size_t count;
    size_t capacity;
    size_t dropped;
    uint64_t next_segment;
    uint64_t end; // position after the last segment's file
    bool new_names;

    int fd;           // of the last segment; -1: none
    uint64_t flushed; // bytes of the last segment that are written
    uint8_t *buffer;  // what follows them
    size_t buffer_capacity;
    size_t begun; // size of the record that was begun; 0: none
};

static void segments_path(const struct consumer_segments *segments, uint64_t segment,
                          char path[SEGMENTS_PATH_MAX])
{
    snprintf(path, SEGMENTS_PATH_MAX, "%s/%s.%0*llu", segments->directory, segments->name, SEGMENTS_DIGITS,
             (unsigned long long)segment);
}

static uint32_t segments_checksum(const struct segments_prefix *prefix, uint64_t position)
{
    const uint8_t *from = (const uint8_t *)prefix + sizeof prefix->checksum;
    uint64_t hash = base_hash_bytes(base_span_make(from, prefix->size - sizeof prefix->checksum), 0);
    return (uint32_t)(hash + position * UINT64_C(0x9e3779b97f4a7c15) / 8);
}

// Is `entry` <name>.<digits>?
static bool segments_owns(const struct consumer_segments *segments, const char *entry)
{
    size_t length = strlen(segments->name);
    if (strncmp(entry, segments->name, length) != 0 || entry[length] != '.') {
        return false;
    }
    const char *digits = entry + length + 1;
    size_t count = strspn(digits, "0123456789");
    return count >= SEGMENTS_DIGITS && digits[count] == '\0';
}

static int segments_remove_old(struct consumer_segments *segments, struct base_error *error)
{
    DIR *directory = opendir(segments->directory);
    if (!directory) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot list %s", segments->directory);
    }
    int result = 0;
    for (struct dirent *entry = readdir(directory); entry && result == 0; entry = readdir(directory)) {
        if (segments_owns(segments, entry->d_name) && unlinkat(dirfd(directory), entry->d_name, 0) != 0) {
            result = base_error_set_errno(error, BASE_EIO, errno, "cannot remove %s/%s", segments->directory,
                                          entry->d_name);
        }
    }
    closedir(directory);
    return result;
}

struct consumer_segments *consumer_segments_new(const struct consumer_segments_config *config,
                                                struct base_error *error)
{
    assert(strlen(config->name) <= CONSUMER_SEGMENTS_NAME_MAX);
    assert(config->segment_bytes >= CONSUMER_SEGMENTS_MIN);
    struct consumer_segments *segments = base_alloc_zeroed(1, sizeof *segments);
    size_t length = strlen(config->directory);
    segments->directory = base_alloc(length + 1);
    memcpy(segments->directory, config->directory, length + 1);
    memcpy(segments->name, config->name, strlen(config->name) + 1);
    segments->lane = config->lane;
    segments->segment_bytes = config->segment_bytes / 8 * 8;
    segments->fd = -1;
    if (segments_remove_old(segments, error) != 0) {
        consumer_segments_free(segments);
        return NULL;
    }
    return segments;
}

void consumer_segments_free(struct consumer_segments *segments)
{
    if (!segments) {
        return;
    }
    for (size_t i = 0; i < segments->count; i++) {
        munmap(segments->list[i].map, segments->list[i].size);
    }
    if (segments->fd >= 0) {
        close(segments->fd);
    }
    free(segments->list);
    free(segments->buffer);
    free(segments->directory);
    free(segments);
}

static int segments_write(struct consumer_segments *segments, uint64_t segment, uint64_t offset,
                          struct base_span bytes, struct base_error *error)
{
    while (bytes.size) {
        ssize_t written = pwrite(segments->fd, bytes.data, bytes.size, (off_t)offset);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            char path[SEGMENTS_PATH_MAX];
            int number = written < 0 ? errno : ENOSPC;
            segments_path(segments, segment, path);
            return base_error_set_errno(error, BASE_EIO, number, "cannot write %s at %llu", path,
                                        (unsigned long long)offset);
        }
        bytes = base_span_make(bytes.data + written, bytes.size - (size_t)written);
        offset += (uint64_t)written;
    }
    return 0;
}

int consumer_segments_flush(struct consumer_segments *segments, struct base_error *error)
{
    if (segments->count == segments->dropped) {
        return 0;
    }
    const struct segments_segment *last = &segments->list[segments->count - 1];
    size_t size = (size_t)(last->used - segments->flushed);
    if (size && segments_write(segments, last->segment, segments->flushed,
                               base_span_make(segments->buffer, size), error) != 0) {
        return -1;
    }
    segments->flushed = last->used;
    base_failpoint("segments.flushed");
    return 0;
}

static void segments_list_add(struct consumer_segments *segments, const struct segments_segment *added)
{
    if (segments->count == segments->capacity) {
        segments->capacity = segments->capacity ? 2 * segments->capacity : 4;
        segments->list = base_realloc(segments->list, segments->capacity * sizeof *segments->list);
    }
    segments->list[segments->count++] = *added;
}

static int segments_write_header(struct consumer_segments *segments, const struct segments_segment *fresh,
                                 uint64_t number, struct base_error *error)
{
    struct segments_header header = {
        .version = CONSUMER_SEGMENTS_VERSION,
        .lane = segments->lane,
        .segment = fresh->segment,
        .base = fresh->base,
        .size = fresh->size,
        .number = number,
    };
    memcpy(header.magic, SEGMENTS_MAGIC, sizeof header.magic);
    header.checksum = base_hash_bytes(base_span_make(&header, offsetof(struct segments_header, checksum)), 0);
    return segments_write(segments, fresh->segment, 0, base_span_make(&header, sizeof header), error);
}

// Makes the next segment, with room for a record of `size`, and its file the current one.
static int segments_open(struct consumer_segments *segments, size_t size, uint64_t number,
                         struct base_error *error)
{
    struct segments_segment fresh = {.segment = segments->next_segment, .base = segments->end};
    fresh.size = segments->segment_bytes;
    fresh.used = sizeof(struct segments_header);
    if (fresh.size < fresh.used + size) {
        fresh.size = fresh.used + size;
    }
    char path[SEGMENTS_PATH_MAX];
    segments_path(segments, fresh.segment, path);
    if (fresh.base + fresh.size > CONSUMER_SEGMENTS_POSITION_MAX) {
        return base_error_set(error, BASE_ELIMIT, "%s: the log's positions ran out", path);
    }

    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot create %s", path);
    }
    segments->fd = fd;
    int failed = posix_fallocate(fd, 0, (off_t)fresh.size);
    if (failed) {
        base_error_set_errno(error, BASE_EIO, failed, "cannot allocate %llu bytes for %s",
                             (unsigned long long)fresh.size, path);
        goto undo;
    }
    if (segments_write_header(segments, &fresh, number, error) != 0) {
        goto undo;
    }
    fresh.map = mmap(NULL, fresh.size, PROT_READ, MAP_SHARED, fd, 0);
    if (fresh.map == MAP_FAILED) {
        base_error_set_errno(error, BASE_EIO, errno, "cannot map %s", path);
        goto undo;
    }
    segments_list_add(segments, &fresh);
    segments->next_segment++;
    segments->end += fresh.size;
    segments->flushed = fresh.used;
    segments->new_names = true;
    base_failpoint("segments.made");
    return 0;
undo:
    close(fd);
    unlink(path);
    segments->fd = -1;
    return -1;
}

// Sees to it that the last segment and the buffer have room for a record of `size`.
static int segments_make_room(struct consumer_segments *segments, size_t size, uint64_t number,
                              struct base_error *error)
{
    bool open = segments->fd >= 0;
    const struct segments_segment *last = open ? &segments->list[segments->count - 1] : NULL;
    if (open && size > last->size - last->used) {
        if (consumer_segments_flush(segments, error) != 0) {
            return -1;
        }
        close(segments->fd);
        segments->fd = -1;
        open = false;
    }
    if (!open && segments_open(segments, size, number, error) != 0) {
        return -1;
    }
    last = &segments->list[segments->count - 1];
    if (last->used - segments->flushed + size > segments->buffer_capacity) {
        if (consumer_segments_flush(segments, error) != 0) {
            return -1;
        }
        if (size > segments->buffer_capacity) {
            size_t least = last->size < CONSUMER_SEGMENTS_BUFFER ? last->size : CONSUMER_SEGMENTS_BUFFER;
            segments->buffer_capacity = size > least ? size : least;
            free(segments->buffer);
            segments->buffer = base_alloc(segments->buffer_capacity);
        }
    }
    return 0;
}

void *consumer_segments_begin(struct consumer_segments *segments, size_t size, uint64_t number,
                              struct base_error *error)
{
    assert(size >= CONSUMER_SEGMENTS_PREFIX && size % 8 == 0 && size <= UINT32_MAX && !segments->begun);
    if (segments_make_room(segments, size, number, error) != 0) {
        return NULL;
    }
    segments->begun = size;
    return segments->buffer + (segments->list[segments->count - 1].used - segments->flushed);
}

uint64_t consumer_segments_end(struct consumer_segments *segments, int64_t time, uint64_t number)
{
    assert(segments->begun);
    struct segments_segment *last = &segments->list[segments->count - 1];
    struct segments_prefix *prefix = (void *)(segments->buffer + (last->used - segments->flushed));
    uint64_t position = last->base + last->used;
    prefix->size = (uint32_t)segments->begun;
    prefix->checksum = segments_checksum(prefix, position);
    last->used += segments->begun;
    last->time = time;
    last->number = number;
    segments->begun = 0;
    return position;
}

// The living segment that holds a position.
static struct segments_segment *segments_find(struct consumer_segments *segments, uint64_t position)
{
    size_t low = segments->dropped;
    size_t high = segments->count;
    assert(low < high && segments->list[low].base <= position);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (segments->list[middle].base <= position) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &segments->list[low];
}

static const void *segments_damaged(const struct consumer_segments *segments,
                                    const struct segments_segment *holder, uint64_t offset,
                                    struct base_error *error)
{
    char path[SEGMENTS_PATH_MAX];
    segments_path(segments, holder->segment, path);
    base_error_set(error, BASE_EFORMAT, "%s is corrupt: the record at byte %llu is not what was written",
                   path, (unsigned long long)offset);
    return NULL;
}

const void *consumer_segments_read(struct consumer_segments *segments, uint64_t position,
                                   struct base_error *error)
{
    const struct segments_segment *holder = segments_find(segments, position);
    uint64_t offset = position - holder->base;
    assert(offset + sizeof(struct segments_prefix) <= holder->used);
    if (holder == &segments->list[segments->count - 1] && offset >= segments->flushed) {
        return segments->buffer + (offset - segments->flushed);
    }
    const struct segments_prefix *prefix = (const void *)(holder->map + offset);
    if (prefix->size < sizeof *prefix || prefix->size % 8 != 0 || prefix->size > holder->used - offset ||
        prefix->checksum != segments_checksum(prefix, position)) {
        return segments_damaged(segments, holder, offset, error);
    }
    return prefix;
}

const void *consumer_segments_pin(struct consumer_segments *segments, uint64_t position,
                                  struct base_error *error)
{
    const struct segments_segment *last = &segments->list[segments->count - 1];
    if (position >= last->base + segments->flushed && consumer_segments_flush(segments, error) != 0) {
        return NULL;
    }
    return consumer_segments_read(segments, position, error);
}

void consumer_segments_prefetch(struct consumer_segments *segments, uint64_t position)
{
    const struct segments_segment *holder = segments_find(segments, position);
    const uint8_t *record = holder->map + (position - holder->base);
    __builtin_prefetch(record);
    __builtin_prefetch(record + 64);
}

bool consumer_segments_oldest(const struct consumer_segments *segments, int64_t *time, uint64_t *number)
{
    if (segments->count - segments->dropped < 2) {
        return false;
    }
    *time = segments->list[segments->dropped].time;
    *number = segments->list[segments->dropped].number;
    return true;
}

void consumer_segments_drop(struct consumer_segments *segments)
{
    assert(segments->count - segments->dropped >= 2);
    segments->dropped++;
}

void consumer_segments_release(struct consumer_segments *segments)
{
    if (!segments->dropped) {
        return;
    }
    for (size_t i = 0; i < segments->dropped; i++) {
        char path[SEGMENTS_PATH_MAX];
        segments_path(segments, segments->list[i].segment, path);
        munmap(segments->list[i].map, segments->list[i].size);
        unlink(path); // a name that stays costs disk, nothing else; the next start removes it
    }
    segments->count -= segments->dropped;
    memmove(segments->list, segments->list + segments->dropped, segments->count * sizeof *segments->list);
    segments->dropped = 0;
}

static int segments_sync_one(const struct consumer_segments *segments, const struct segments_segment *one,
                             bool current, struct base_error *error)
{
    char path[SEGMENTS_PATH_MAX];
    segments_path(segments, one->segment, path);
    // An ended segment's descriptor is closed already; a sync through another one counts the same.
    int fd = current ? segments->fd : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot open %s", path);
    }
    int result = 0;
    if (fdatasync(fd) != 0) {
        result = base_error_set_errno(error, BASE_EIO, errno, "cannot sync %s", path);
        error->fatal = true;
    }
    if (!current) {
        close(fd);
    }
    return result;
}

static int segments_sync_directory(struct consumer_segments *segments, struct base_error *error)
{
    int fd = open(segments->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot open %s", segments->directory);
    }
    int result = 0;
    if (fsync(fd) != 0) {
        result = base_error_set_errno(error, BASE_EIO, errno, "cannot sync %s", segments->directory);
        error->fatal = true;
    }
    close(fd);
    return result;
}

int consumer_segments_sync(struct consumer_segments *segments, struct base_error *error)
{
    if (consumer_segments_flush(segments, error) != 0) {
        return -1;
    }
    for (size_t i = segments->dropped; i < segments->count; i++) {
        bool current = segments->fd >= 0 && i == segments->count - 1;
        if (!segments->list[i].durable && segments_sync_one(segments, &segments->list[i], current, error)) {
            return -1;
        }
        segments->list[i].durable = !current;
    }
    if (segments->new_names && segments_sync_directory(segments, error) != 0) {
        return -1;
    }
    segments->new_names = false;
    return 0;
}

uint64_t consumer_segments_disk_bytes(const struct consumer_segments *segments)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < segments->count; i++) {
        bytes += segments->list[i].size;
    }
    return bytes;
}
