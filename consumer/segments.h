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
//
// A log survives its process by cuts: a save says how far it reaches, and which segments it consists of; a
// restore takes the log back to that. What a cut needs is still there until the cut after the next is done.
#ifndef CONSUMER_SEGMENTS_H
#define CONSUMER_SEGMENTS_H

#include "base/bytes.h"
#include "base/disk.h"
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
    struct base_disk *disk; // NULL: the system's
    bool keep_dropped;      // what is dropped is unlinked by consumer_segments_cut_done alone
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
// Unmaps what was dropped, and unlinks it unless the configuration says keep_dropped.
void consumer_segments_release(struct consumer_segments *segments);

// Writes out the buffer. Errors: BASE_EIO.
int consumer_segments_flush(struct consumer_segments *segments, struct base_error *error);

// Writes out the buffer, appends to `state` what a restore needs, and adds to `sync` every segment that is
// not durable yet, and the directory if it has names that are not. `cut` is 1 or more and rises from save to
// save. Errors, with `state` untouched: BASE_EIO.
int consumer_segments_save(struct consumer_segments *segments, uint64_t cut, struct base_buffer *state,
                           struct base_sync *sync, struct base_error *error);
// The cut is durable, as of its save: what was dropped before the save of an earlier one is unlinked.
void consumer_segments_cut_done(struct consumer_segments *segments, uint64_t cut);

// The log as it was saved, its segments' headers verified; takes its state off `state`. The files may be hard
// links of another log's: without keep_dropped the last segment, the only one that is written to, is made a
// file of its own; with it both logs write there, beyond what the other needs. No byte is changed
// yet, and nothing may be appended before consumer_segments_scan. Errors: BASE_EIO, BASE_EFORMAT (the state;
// or a file, naming it and the offset).
struct consumer_segments *consumer_segments_restore(const struct consumer_segments_config *config,
                                                    struct base_reader *state, struct base_error *error);

// Is told of a log that was restored, in its order; false: that cannot be, the log is corrupt.
struct consumer_segments_visitor {
    // A record, its checksum verified; it stays where it is until its segment is released.
    bool (*record)(void *context, const void *record, size_t size, uint64_t position);
    // The end of a segment: the `number` given to the begin that made it, and the last
    // consumer_segments_end's `time` and `number`.
    bool (*segment)(void *context, uint64_t first, int64_t time, uint64_t number);
    void *context;
};

// Verifies every record of a restored log and shows it to `visitor`. Then the last segment is zeroed beyond
// its saved length, and every file of the log's name that is none of its segments is removed. Errors: as
// consumer_segments_restore; the log can then only be freed.
int consumer_segments_scan(struct consumer_segments *segments,
                           const struct consumer_segments_visitor *visitor, struct base_error *error);

uint64_t consumer_segments_disk_bytes(const struct consumer_segments *segments); // files not yet unlinked

#endif
