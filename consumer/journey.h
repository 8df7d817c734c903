// A journey log: the append-only log of a stage ("impression", "click"), and what finds records in it.
//
// A record has a number, from 0 in the order of entry, which is also the order of time. Nothing that was
// written is changed: that a journey's click was joined is said by the click's own record, which names the
// journey's number, or, for an action that starts no stage, by a mark in its parent's log. What a scan of the
// logs would find out is kept in memory: per record its position, its tags and which of its actions are
// joined (16 bytes), and one or two indexes from a key to the latest record that has it (15 bytes a record
// each).
//
// The same log without columns remembers the event ids of an action's topic (dedupe.h).
//
// What a rebuild needs is in the records: the segment's header says the number of its first record; journeys
// count on from there; ids and touch keys rebuild the indexes, `parent` and marks what is joined.
//
// Thread: one at a time.
#ifndef CONSUMER_JOURNEY_H
#define CONSUMER_JOURNEY_H

#include "base/bytes.h"
#include "base/disk.h"
#include "base/error.h"
#include "consumer/values.h"

#define CONSUMER_JOURNEY_NONE UINT64_MAX // no record

struct consumer_journey_config {
    const char *directory; // must exist
    const char *name;      // of the log's files
    uint32_t lane;
    uint64_t segment_bytes;
    int64_t retention;      // ms after its entry for which a record must be found
    bool by_id;             // find by impression id
    bool by_touch;          // find by touch key
    struct base_disk *disk; // NULL: the system's
    bool keep_dropped;      // as of consumer_segments_config
};

// A record, as given to append and as read. Spans borrowed.
struct consumer_journey_record {
    int64_t entry;           // the lane's time when it entered
    int64_t event_time;      // its own
    int64_t impression_time; // of the impression it goes back to
    uint64_t parent;         // number in the parent stage's log; an impression: CONSUMER_JOURNEY_NONE
    uint64_t previous;       // read only: the record before it with this touch key, or CONSUMER_JOURNEY_NONE
    bool paid;               // its negatives were emitted before it entered
    uint8_t generation;      // of the impression that it goes back to (generations.h)
    bool valued;             // the action that it is has a value
    double value;            // then
    bool weighted;           // the impression that it goes back to has a weight
    float weight;            // then
    struct base_span impression_id;
    struct base_span touch;   // null: none
    struct base_span columns; // 8-byte aligned; may be empty
};

struct consumer_journey;

// An empty log; what an earlier process left under the name is removed. Errors: BASE_EIO.
struct consumer_journey *consumer_journey_new(const struct consumer_journey_config *config,
                                              struct base_error *error);
void consumer_journey_free(struct consumer_journey *journey); // takes NULL; leaves the files

// Appends a record and makes it the latest of its keys; `id_hash` is base_hash_bytes(impression_id, 0). Its
// entry must not lie before the last one's. Errors: BASE_EIO, BASE_ELIMIT (2^31 records held), BASE_EFORMAT
// (a record that was compared with is corrupt).
int consumer_journey_append(struct consumer_journey *journey, const struct consumer_journey_record *record,
                            uint64_t id_hash, uint64_t *number, struct base_error *error);
// Says that the action of `rank` is joined to a record: in memory.
void consumer_journey_join(struct consumer_journey *journey, uint64_t number, uint32_t rank);
// And in the log, where no other log will say it; with the action's value, NaN if it has none. Errors:
// BASE_EIO, BASE_ELIMIT.
int consumer_journey_mark(struct consumer_journey *journey, uint64_t number, uint32_t rank, int64_t now,
                          int64_t event_time, double value, struct base_error *error);
bool consumer_journey_joined(const struct consumer_journey *journey, uint64_t number, uint32_t rank);

// The values of joined actions: by (record, action), in memory until they are removed. After a restore all
// that the logs say are there.
struct consumer_values *consumer_journey_values(struct consumer_journey *journey);
// A value as samples carry it: NaN where it is none that a float can hold.
float consumer_journey_value(double value);

// The generations of the records that a restore found, a bit each.
uint32_t consumer_journey_generations(const struct consumer_journey *journey);

// The numbers held: [begin, end).
uint64_t consumer_journey_begin(const struct consumer_journey *journey);
uint64_t consumer_journey_end(const struct consumer_journey *journey);

// Reads a record, checksum verified; its spans are valid until the next append or mark. Errors: BASE_EFORMAT,
// naming file and offset.
int consumer_journey_read(struct consumer_journey *journey, uint64_t number,
                          struct consumer_journey_record *record, struct base_error *error);
// As read, but the spans are valid until consumer_journey_release. Errors: also BASE_EIO.
int consumer_journey_pin(struct consumer_journey *journey, uint64_t number,
                         struct consumer_journey_record *record, struct base_error *error);

// The latest record with exactly this id or touch key that is still held: *number, and *record as read does;
// or *number = CONSUMER_JOURNEY_NONE. It may be past its window: the caller judges. Errors: BASE_EFORMAT.
int consumer_journey_find_id(struct consumer_journey *journey, struct base_span id, uint64_t id_hash,
                             uint64_t *number, struct consumer_journey_record *record,
                             struct base_error *error);
int consumer_journey_find_touch(struct consumer_journey *journey, struct base_span touch, uint64_t *number,
                                struct consumer_journey_record *record, struct base_error *error);
// Asks the processor for where a search by id begins.
void consumer_journey_prefetch(const struct consumer_journey *journey, uint64_t id_hash);

// The last time at which some record of the oldest ended segment must be found; INT64_MAX: no such segment.
int64_t consumer_journey_drop_time(const struct consumer_journey *journey);
// Forgets the records of that segment.
void consumer_journey_drop(struct consumer_journey *journey);
// Unmaps and unlinks dropped segments (as consumer_segments_release): no pinned span is used any more.
void consumer_journey_release(struct consumer_journey *journey);

// As consumer_segments_save and _cut_done.
int consumer_journey_save(struct consumer_journey *journey, uint64_t cut, struct base_buffer *state,
                          struct base_sync *sync, struct base_error *error);
void consumer_journey_cut_done(struct consumer_journey *journey, uint64_t cut);
// The log as it was saved, rebuilt by one scan. If it is the log of the action of `rank`, whose records name
// those of `parent` (restored before it, from the same save), these are joined; else `parent` is NULL. What
// is joined is right for every record of `parent` whose child's record must still be held. No entry lies
// after `now`. Errors: as consumer_segments_restore; `parent` can then only be freed.
struct consumer_journey *consumer_journey_restore(const struct consumer_journey_config *config,
                                                  struct base_reader *state, struct consumer_journey *parent,
                                                  uint32_t rank, int64_t now, struct base_error *error);

uint64_t consumer_journey_memory_bytes(const struct consumer_journey *journey);
uint64_t consumer_journey_disk_bytes(const struct consumer_journey *journey);

#endif
