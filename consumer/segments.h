// A segmented, append-only file: checksummed records that are written once and never changed, dropped a whole
// segment at a time from the old end.
//
// Files are <directory>/<name>.<segment number>. A segment is preallocated, written with pwrite through a
// small buffer and read through a shared mapping. A record's position is its place in the endless file: a
// segment begins where the one before it ended. Nothing here knows what a record means.
//
// Segment: a header (struct segments_header: magic, version, lane, numbers, checksum), then records, each
//   uint32 checksum   XXH3 of everything after it, low 32 bits, mixed with the position
//   uint32 size       of the whole record, a multiple of 8
//   bytes
// and zeros to the end: size 0 ends a segment. Host byte order. Thread: one at a time.
#ifndef CONSUMER_SEGMENTS_H
#define CONSUMER_SEGMENTS_H

#include "base/bytes.h"
#include "base/error.h"

enum {
    CONSUMER_SEGMENTS_BUFFER = 65536, // bytes of the write buffer, or one larger record
    CONSUMER_SEGMENTS_NAME_MAX = 64,  // characters of a log's name
    CONSUMER_SEGMENTS_MIN = 256,      // bytes of a segment
    CONSUMER_SEGMENTS_PREFIX = 8,     // bytes of checksum and size, before a record's own
    CONSUMER_SEGMENTS_VERSION = 1,
};

// A position fits into 56 bits.
#define CONSUMER_SEGMENTS_POSITION_MAX ((UINT64_C(1) << 56) - 1)

struct consumer_segments_config {
    const char *directory; // must exist
    const char *name;      // letters, digits, '.', '_', '-'
    uint32_t lane;
    uint64_t segment_bytes; // of a segment's file; one larger record gets a segment of its own size
};

struct consumer_segments;

// An empty log. Segments of that name that lie in the directory are removed. Errors: BASE_EIO.
struct consumer_segments *consumer_segments_new(const struct consumer_segments_config *config,
                                                struct base_error *error);
// Leaves the files as they are; what is buffered is not written. Takes NULL.
void consumer_segments_free(struct consumer_segments *segments);

// Begins a record of `size` bytes (a multiple of 8, the prefix included): where to write its bytes, 8-byte
// aligned, not zeroed; the prefix is filled by consumer_segments_end. Ends an old segment and makes a new one
// where needed; `number` is then noted in its header: the number of the first record that counts in it.
// NULL on errors: BASE_EIO (no space, a write failed), BASE_ELIMIT (positions ran out).
void *consumer_segments_begin(struct consumer_segments *segments, size_t size, uint64_t number,
                              struct base_error *error);
// Ends the record that was begun and returns its position. `time` and `number` are remembered for dropping:
// the newest time in the log and the number after the newest record that counts.
uint64_t consumer_segments_end(struct consumer_segments *segments, int64_t time, uint64_t number);

// The record at a position, its checksum verified; valid until the next begin. NULL on errors: BASE_EFORMAT,
// naming file and offset, for a record that is not what was written there.
const void *consumer_segments_read(struct consumer_segments *segments, uint64_t position,
                                   struct base_error *error);
// As read, but valid until the segment is released. May write the buffer out: BASE_EIO.
const void *consumer_segments_pin(struct consumer_segments *segments, uint64_t position,
                                  struct base_error *error);
// Asks the processor for the first bytes of a record.
void consumer_segments_prefetch(struct consumer_segments *segments, uint64_t position);

// The oldest ended segment: the `time` and `number` of its last consumer_segments_end. False: there is none.
bool consumer_segments_oldest(const struct consumer_segments *segments, int64_t *time, uint64_t *number);
// Gives up the oldest ended segment; it can still be read through pinned records until the release.
void consumer_segments_drop(struct consumer_segments *segments);
// Unmaps and unlinks what was dropped.
void consumer_segments_release(struct consumer_segments *segments);

// Writes out the buffer. Errors: BASE_EIO.
int consumer_segments_flush(struct consumer_segments *segments, struct base_error *error);
// Makes everything appended so far durable: the buffer, the segments, and new names in the directory. Errors:
// BASE_EIO, marked fatal if a sync failed: what is on the disk is then unknown.
int consumer_segments_sync(struct consumer_segments *segments, struct base_error *error);

uint64_t consumer_segments_disk_bytes(const struct consumer_segments *segments); // files not yet unlinked

#endif
