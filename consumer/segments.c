// A segmented, append-only file of checksummed records. See segments.h.
//
// The write buffer holds the records of [flushed, used) of the last segment; they are read from there until
// they are written. Readers of older records go to the mapping, which shows what pwrite wrote (one page
// cache).
//
// Durability goes by cuts. A segment is durable once a cut is done whose save put it on the list when it had
// ended already; the last one never is.
#include "consumer/segments.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/hash.h"
#include "base/section.h"

#define SEGMENTS_STATE_MAGIC "FRSHSEGS"
#define SEGMENTS_MAGIC "FRSHTLOG"
enum { SEGMENTS_PATH_MAX = 4096, SEGMENTS_DIGITS = 10, SEGMENTS_STATE_VERSION = 1 };
#define SEGMENTS_NEVER UINT64_MAX // a cut that is still to come

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
    uint64_t used;  // bytes with records, the buffered included
    uint8_t *map;   // [size], read only
    uint64_t first; // number noted in its header
    int64_t time;   // of the newest record that counts, up to this segment's end
    uint64_t number;
    // SEGMENTS_NEVER: no cut has yet.
    uint64_t name_cut; // the first cut that syncs the directory with its name; 0: durable before the restart
    uint64_t data_cut; // the first cut that syncs it after its end; 0 likewise
    uint64_t gone_cut; // the first cut whose save was without it
};

// A file that is dropped and released, and waits to be unlinked.
struct segments_kept {
    uint64_t segment;
    uint64_t size;
    uint64_t gone_cut;
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

    struct base_disk *disk;
    bool keep_dropped;
    uint64_t saved;             // the newest cut that was saved since the start; 0: none
    uint64_t done;              // the newest one that is durable
    struct segments_kept *kept; // [kept_count]
    size_t kept_count;
    size_t kept_capacity;

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

// Whether the name of one of the log's files is that of a living segment.
static bool segments_holds(const struct consumer_segments *segments, const char *entry)
{
    if (segments->dropped == segments->count) {
        return false;
    }
    uint64_t segment = strtoull(entry + strlen(segments->name) + 1, NULL, 10);
    char path[SEGMENTS_PATH_MAX];
    segments_path(segments, segment, path);
    return segment >= segments->list[segments->dropped].segment && segment < segments->next_segment &&
           strcmp(path + strlen(segments->directory) + 1, entry) == 0;
}

// Removes what lies in the directory under the log's name and is no living segment.
static int segments_remove_others(struct consumer_segments *segments, struct base_error *error)
{
    DIR *directory = opendir(segments->directory);
    if (!directory) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot list %s", segments->directory);
    }
    int result = 0;
    for (struct dirent *entry = readdir(directory); entry && result == 0; entry = readdir(directory)) {
        if (segments_owns(segments, entry->d_name) && !segments_holds(segments, entry->d_name)) {
            char path[SEGMENTS_PATH_MAX];
            snprintf(path, sizeof path, "%s/%s", segments->directory, entry->d_name);
            result = base_disk_unlink(segments->disk, path, error);
        }
    }
    closedir(directory);
    return result;
}

static struct consumer_segments *segments_make(const struct consumer_segments_config *config)
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
    segments->disk = config->disk;
    segments->keep_dropped = config->keep_dropped;
    segments->fd = -1;
    return segments;
}

struct consumer_segments *consumer_segments_new(const struct consumer_segments_config *config,
                                                struct base_error *error)
{
    struct consumer_segments *segments = segments_make(config);
    if (segments_remove_others(segments, error) != 0) {
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
        if (segments->list[i].map) {
            munmap(segments->list[i].map, segments->list[i].size);
        }
    }
    if (segments->fd >= 0) {
        close(segments->fd);
    }
    free(segments->kept);
    free(segments->list);
    free(segments->buffer);
    free(segments->directory);
    free(segments);
}

static int segments_write(struct consumer_segments *segments, uint64_t segment, uint64_t offset,
                          struct base_span bytes, struct base_error *error)
{
    char path[SEGMENTS_PATH_MAX];
    segments_path(segments, segment, path);
    return base_disk_write(segments->disk, segments->fd, path, bytes, offset, error);
}

// A name that stays costs disk, nothing else: the next start removes it.
static void segments_unlink(struct consumer_segments *segments, uint64_t segment)
{
    char path[SEGMENTS_PATH_MAX];
    struct base_error ignored;
    segments_path(segments, segment, path);
    (void)base_disk_unlink(segments->disk, path, &ignored);
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

static void segments_fill_header(const struct consumer_segments *segments,
                                 const struct segments_segment *segment, struct segments_header *header)
{
    *header = (struct segments_header){
        .version = CONSUMER_SEGMENTS_VERSION,
        .lane = segments->lane,
        .segment = segment->segment,
        .base = segment->base,
        .size = segment->size,
        .number = segment->first,
    };
    memcpy(header->magic, SEGMENTS_MAGIC, sizeof header->magic);
    header->checksum = base_hash_bytes(base_span_make(header, offsetof(struct segments_header, checksum)), 0);
}

// Makes the next segment, with room for a record of `size`, and its file the current one.
static int segments_open(struct consumer_segments *segments, size_t size, uint64_t number,
                         struct base_error *error)
{
    struct segments_segment fresh = {
        .segment = segments->next_segment,
        .base = segments->end,
        .first = number,
        .name_cut = SEGMENTS_NEVER,
        .data_cut = SEGMENTS_NEVER,
        .gone_cut = SEGMENTS_NEVER,
    };
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

    int fd;
    if (base_disk_open(segments->disk, path, O_RDWR | O_CREAT | O_EXCL, &fd, error) != 0) {
        return -1;
    }
    segments->fd = fd;
    struct segments_header header;
    segments_fill_header(segments, &fresh, &header);
    if (base_disk_allocate(segments->disk, fd, path, fresh.size, error) != 0 ||
        segments_write(segments, fresh.segment, 0, base_span_make(&header, sizeof header), error) != 0) {
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
    base_failpoint("segments.made");
    return 0;
undo:
    close(fd);
    segments_unlink(segments, fresh.segment);
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

// The record at an offset, through the mapping; NULL: it is not what was written there.
static const struct segments_prefix *segments_verify(const struct segments_segment *holder, uint64_t offset)
{
    const struct segments_prefix *prefix = (const void *)(holder->map + offset);
    bool whole = prefix->size >= sizeof *prefix && prefix->size % 8 == 0 &&
                 prefix->size <= holder->used - offset &&
                 prefix->checksum == segments_checksum(prefix, holder->base + offset);
    return whole ? prefix : NULL;
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
    const struct segments_prefix *prefix = segments_verify(holder, offset);
    return prefix ? prefix : segments_damaged(segments, holder, offset, error);
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

static void segments_keep(struct consumer_segments *segments, const struct segments_segment *dropped)
{
    if (segments->kept_count == segments->kept_capacity) {
        segments->kept_capacity = segments->kept_capacity ? 2 * segments->kept_capacity : 4;
        segments->kept = base_realloc(segments->kept, segments->kept_capacity * sizeof *segments->kept);
    }
    segments->kept[segments->kept_count++] =
        (struct segments_kept){dropped->segment, dropped->size, dropped->gone_cut};
}

// Unlinks those that no cut needs: the newest one that is done, and the one before it, are without them.
static void segments_unlink_kept(struct consumer_segments *segments)
{
    size_t left = 0;
    for (size_t i = 0; i < segments->kept_count; i++) {
        const struct segments_kept *kept = &segments->kept[i];
        if (kept->gone_cut < segments->done) {
            segments_unlink(segments, kept->segment);
            base_failpoint("segments.unlinked");
        } else {
            segments->kept[left++] = *kept;
        }
    }
    segments->kept_count = left;
}

void consumer_segments_release(struct consumer_segments *segments)
{
    if (!segments->dropped) {
        return;
    }
    for (size_t i = 0; i < segments->dropped; i++) {
        const struct segments_segment *dropped = &segments->list[i];
        munmap(dropped->map, dropped->size);
        if (segments->keep_dropped) {
            segments_keep(segments, dropped);
        } else {
            segments_unlink(segments, dropped->segment);
        }
    }
    segments->count -= segments->dropped;
    memmove(segments->list, segments->list + segments->dropped, segments->count * sizeof *segments->list);
    segments->dropped = 0;
    segments_unlink_kept(segments);
}

uint64_t consumer_segments_disk_bytes(const struct consumer_segments *segments)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < segments->count; i++) {
        bytes += segments->list[i].size;
    }
    for (size_t i = 0; i < segments->kept_count; i++) {
        bytes += segments->kept[i].size;
    }
    return bytes;
}

// ---- saving -----------------------------------------------------------------

static uint64_t segments_earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int segments_sync_add(struct consumer_segments *segments, struct segments_segment *one, uint64_t cut,
                             struct base_sync *sync, struct base_error *error)
{
    bool current = segments->fd >= 0 && one == &segments->list[segments->count - 1];
    if (one->name_cut > segments->done) {
        one->name_cut = segments_earlier(one->name_cut, cut);
        base_sync_add_directory(sync, segments->directory);
    }
    if (one->data_cut <= segments->done) {
        return 0;
    }
    char path[SEGMENTS_PATH_MAX];
    segments_path(segments, one->segment, path);
    if (current) {
        return base_sync_add_file(sync, segments->fd, path, error);
    }
    one->data_cut = segments_earlier(one->data_cut, cut);
    // Its descriptor is closed since it ended; a sync through another one counts the same.
    int fd;
    if (base_disk_open(segments->disk, path, O_RDWR, &fd, error) != 0) {
        return -1;
    }
    int result = base_sync_add_file(sync, fd, path, error);
    close(fd);
    return result;
}

static void segments_write_state(const struct consumer_segments *segments, struct base_buffer *state)
{
    size_t mark = base_section_begin(state, SEGMENTS_STATE_MAGIC, SEGMENTS_STATE_VERSION);
    size_t living = segments->count - segments->dropped;
    base_section_put_span(state, base_span_string(segments->name));
    base_buffer_u64(state, living);
    base_buffer_u64(state, living ? segments->list[segments->dropped].segment : 0);
    base_buffer_u64(state, living ? segments->list[segments->dropped].base : 0);
    for (size_t i = segments->dropped; i < segments->count; i++) {
        const struct segments_segment *segment = &segments->list[i];
        base_buffer_u64(state, segment->size);
        base_buffer_u64(state, segment->used);
        base_buffer_u64(state, segment->first);
        base_buffer_u64(state, (uint64_t)segment->time);
        base_buffer_u64(state, segment->number);
    }
    base_section_end(state, mark);
}

int consumer_segments_save(struct consumer_segments *segments, uint64_t cut, struct base_buffer *state,
                           struct base_sync *sync, struct base_error *error)
{
    assert(cut > segments->saved && !segments->begun);
    if (consumer_segments_flush(segments, error) != 0) {
        return -1;
    }
    for (size_t i = segments->dropped; i < segments->count; i++) {
        if (segments_sync_add(segments, &segments->list[i], cut, sync, error) != 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < segments->dropped; i++) {
        segments->list[i].gone_cut = segments_earlier(segments->list[i].gone_cut, cut);
    }
    for (size_t i = 0; i < segments->kept_count; i++) {
        segments->kept[i].gone_cut = segments_earlier(segments->kept[i].gone_cut, cut);
    }
    segments->saved = cut;
    segments_write_state(segments, state);
    return 0;
}

void consumer_segments_cut_done(struct consumer_segments *segments, uint64_t cut)
{
    segments->done = cut > segments->done ? cut : segments->done;
    segments_unlink_kept(segments);
}

// ---- restoring --------------------------------------------------------------

// A later version's header is not damage, and the error says so.
static int segments_version(const uint8_t *map, const char *path, struct base_error *error)
{
    struct segments_header header;
    memcpy(&header, map, sizeof header);
    size_t summed = offsetof(struct segments_header, checksum);
    if (memcmp(header.magic, SEGMENTS_MAGIC, sizeof header.magic) == 0 &&
        header.version != CONSUMER_SEGMENTS_VERSION &&
        header.checksum == base_hash_bytes(base_span_make(&header, summed), 0)) {
        return base_error_set(error, BASE_EFORMAT, "%s has version %u, this program reads %d", path,
                              header.version, CONSUMER_SEGMENTS_VERSION);
    }
    return 0;
}

// Maps a saved segment and compares its header; `last` is kept open for what is to come.
static int segments_reopen(struct consumer_segments *segments, struct segments_segment *segment, bool last,
                           struct base_error *error)
{
    char path[SEGMENTS_PATH_MAX];
    segments_path(segments, segment->segment, path);
    int fd;
    // Without cuts to come it is a replay's, whose files may be links of the kept cut's (daemon/cuts.h).
    if (last && !segments->keep_dropped && base_disk_unshare(segments->disk, path, error) != 0) {
        return -1;
    }
    if (base_disk_open(segments->disk, path, last ? O_RDWR : O_RDONLY, &fd, error) != 0) {
        return -1;
    }
    int result = -1;
    struct segments_header header;
    struct stat status;
    if (fstat(fd, &status) != 0) {
        base_error_set_errno(error, BASE_EIO, errno, "cannot look at %s", path);
        goto out;
    }
    uint64_t least = last ? segment->used : segment->size; // a torn end of the last one is made whole again
    if ((uint64_t)status.st_size < least) {
        base_error_set(error, BASE_EFORMAT, "%s is corrupt: it ends at byte %llu, %llu were written", path,
                       (unsigned long long)status.st_size, (unsigned long long)least);
        goto out;
    }
    segment->map = mmap(NULL, segment->size, PROT_READ, MAP_SHARED, fd, 0);
    if (segment->map == MAP_FAILED) {
        segment->map = NULL;
        base_error_set_errno(error, BASE_EIO, errno, "cannot map %s", path);
        goto out;
    }
    segments_fill_header(segments, segment, &header);
    if (segments_version(segment->map, path, error)) {
        goto out;
    }
    if (memcmp(segment->map, &header, sizeof header) != 0) {
        base_error_set(error, BASE_EFORMAT, "%s is corrupt: the header at byte 0 is not what was written",
                       path);
        goto out;
    }
    result = 0;
out:
    if (result == 0 && last) {
        segments->fd = fd;
    } else {
        close(fd);
    }
    return result;
}

// Verifies the records of a segment and shows them.
static int segments_scan_one(struct consumer_segments *segments, const struct segments_segment *segment,
                             const struct consumer_segments_visitor *visitor, struct base_error *error)
{
    (void)madvise(segment->map, segment->used, MADV_SEQUENTIAL);
    uint64_t offset = sizeof(struct segments_header);
    while (offset < segment->used) {
        const struct segments_prefix *prefix = segments_verify(segment, offset);
        if (!prefix || !visitor->record(visitor->context, prefix, prefix->size, segment->base + offset)) {
            segments_damaged(segments, segment, offset, error);
            return -1;
        }
        offset += prefix->size;
    }
    (void)madvise(segment->map, segment->used, MADV_NORMAL);
    if (!visitor->segment(visitor->context, segment->first, segment->time, segment->number)) {
        segments_damaged(segments, segment, 0, error);
        return -1;
    }
    return 0;
}

// Zeroes the last segment beyond its length.
static int segments_trim(struct consumer_segments *segments, struct base_error *error)
{
    if (!segments->count) {
        return 0;
    }
    const struct segments_segment *last = &segments->list[segments->count - 1];
    char path[SEGMENTS_PATH_MAX];
    segments_path(segments, last->segment, path);
    return base_disk_truncate(segments->disk, segments->fd, path, last->used, error) != 0 ||
                   base_disk_allocate(segments->disk, segments->fd, path, last->size, error) != 0
               ? -1
               : 0;
}

static bool segments_fits(const struct segments_segment *segment)
{
    return segment->used > sizeof(struct segments_header) && segment->used % 8 == 0 &&
           segment->used <= segment->size && segment->size <= CONSUMER_SEGMENTS_POSITION_MAX &&
           segment->base <= CONSUMER_SEGMENTS_POSITION_MAX - segment->size;
}

// The list of segments as it was saved.
static int segments_read_state(struct consumer_segments *segments, struct base_reader *state,
                               struct base_error *error)
{
    char what[CONSUMER_SEGMENTS_NAME_MAX + 32];
    snprintf(what, sizeof what, "the saved state of %s", segments->name);
    struct base_reader payload;
    if (base_section_open(state, SEGMENTS_STATE_MAGIC, SEGMENTS_STATE_VERSION, &payload, what, error) != 0) {
        return -1;
    }
    struct base_span name = base_section_get_span(&payload);
    if (!base_span_equal(name, base_span_string(segments->name))) {
        return base_error_set(
            error, BASE_EFORMAT, "%s is of another log: %.*s", what,
            (int)(name.size < CONSUMER_SEGMENTS_NAME_MAX ? name.size : CONSUMER_SEGMENTS_NAME_MAX),
            name.data ? (const char *)name.data : "");
    }
    uint64_t count = base_reader_u64(&payload);
    segments->next_segment = base_reader_u64(&payload);
    segments->end = base_reader_u64(&payload);
    for (uint64_t i = 0; i < count && !payload.failed; i++) {
        struct segments_segment segment = {
            .segment = segments->next_segment++, .base = segments->end, .gone_cut = SEGMENTS_NEVER};
        segment.size = base_reader_u64(&payload);
        segment.used = base_reader_u64(&payload);
        segment.first = base_reader_u64(&payload);
        segment.time = (int64_t)base_reader_u64(&payload);
        segment.number = base_reader_u64(&payload);
        segment.data_cut = i + 1 < count ? 0 : SEGMENTS_NEVER;
        if (payload.failed || !segments_fits(&segment)) {
            return base_error_set(error, BASE_EFORMAT, "%s is corrupt: segment %llu cannot be", what,
                                  (unsigned long long)segment.segment);
        }
        segments->end += segment.size;
        segments_list_add(segments, &segment);
    }
    return base_section_close(&payload, what, error);
}

struct consumer_segments *consumer_segments_restore(const struct consumer_segments_config *config,
                                                    struct base_reader *state, struct base_error *error)
{
    struct consumer_segments *segments = segments_make(config);
    struct base_reader rest = *state;
    int failed = segments_read_state(segments, &rest, error);
    for (size_t i = 0; i < segments->count && !failed; i++) {
        failed = segments_reopen(segments, &segments->list[i], i + 1 == segments->count, error);
    }
    if (failed) {
        consumer_segments_free(segments);
        return NULL;
    }
    if (segments->count) {
        segments->flushed = segments->list[segments->count - 1].used;
    }
    *state = rest;
    return segments;
}

int consumer_segments_scan(struct consumer_segments *segments,
                           const struct consumer_segments_visitor *visitor, struct base_error *error)
{
    for (size_t i = 0; i < segments->count; i++) {
        if (segments_scan_one(segments, &segments->list[i], visitor, error) != 0) {
            return -1;
        }
    }
    if (segments_trim(segments, error) != 0) {
        return -1;
    }
    base_failpoint("segments.trimmed");
    return segments_remove_others(segments, error);
}
