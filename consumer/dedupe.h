// The event ids of one action's topic that were handled lately (rule 18 of docs/join.md). Ids lie in a log of
// their own (journey.h, without columns), compared by their bytes; memory is 31 bytes an id at most.
// Impressions need none of this: their log is their set. Thread: one at a time.
#ifndef CONSUMER_DEDUPE_H
#define CONSUMER_DEDUPE_H

#include "base/bytes.h"
#include "base/disk.h"
#include "base/error.h"

struct consumer_dedupe_config {
    const char *directory; // must exist
    const char *name;      // of the log's files
    uint32_t lane;
    uint64_t segment_bytes;
    int64_t dedupe;         // ms for which an id is remembered, inclusive
    struct base_disk *disk; // NULL: the system's
    bool keep_dropped;      // as of consumer_segments_config
};

struct consumer_dedupe;

// An empty set. Errors: BASE_EIO.
struct consumer_dedupe *consumer_dedupe_new(const struct consumer_dedupe_config *config,
                                            struct base_error *error);
void consumer_dedupe_free(struct consumer_dedupe *dedupe); // takes NULL

// *duplicate says whether the id is remembered at `now` (never going back); if not, it is from here on.
// Errors: BASE_EIO, BASE_ELIMIT, BASE_EFORMAT.
int consumer_dedupe_check(struct consumer_dedupe *dedupe, struct base_span id, int64_t now, bool *duplicate,
                          struct base_error *error);

// The rest as of a journey log.
int64_t consumer_dedupe_drop_time(const struct consumer_dedupe *dedupe);
void consumer_dedupe_drop(struct consumer_dedupe *dedupe);
void consumer_dedupe_release(struct consumer_dedupe *dedupe);
int consumer_dedupe_save(struct consumer_dedupe *dedupe, uint64_t cut, struct base_buffer *state,
                         struct base_sync *sync, struct base_error *error);
void consumer_dedupe_cut_done(struct consumer_dedupe *dedupe, uint64_t cut);
struct consumer_dedupe *consumer_dedupe_restore(const struct consumer_dedupe_config *config,
                                                struct base_reader *state, int64_t now,
                                                struct base_error *error);
uint64_t consumer_dedupe_count(const struct consumer_dedupe *dedupe); // ids held
uint64_t consumer_dedupe_memory_bytes(const struct consumer_dedupe *dedupe);
uint64_t consumer_dedupe_disk_bytes(const struct consumer_dedupe *dedupe);

#endif
