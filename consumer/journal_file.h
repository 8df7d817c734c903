// One file of the decision journal: its bytes, written and read. Private to the journal.
//
//   header   "FRSHJRNL", uint32 version, uint64 position of the file's first byte, uint32 bytes that the file
//            had when it got its name, uint64 XXH3 of these
//   records  uint32 checksum, uint32 size of the payload, uint32 back, uint8 kind, payload
//
// Little-endian. A record's checksum is the low half of XXH3 over all that follows it, seeded with the
// record's position in the journal, so that a record in another place is none.
//
// What one sync makes durable is a group; `back` is the distance from a record to its group's first byte. The
// next group is not written before the sync of this one has succeeded. So after a crash any part of the last
// group may be missing, also in its middle; but where a record of a later group stands, what lies before that
// group had been synced, and must be whole.
#ifndef CONSUMER_JOURNAL_FILE_H
#define CONSUMER_JOURNAL_FILE_H

#include "consumer/ingest.h"
#include "consumer/journal.h"

enum {
    CONSUMER_JOURNAL_HEADER = 32, // bytes
    CONSUMER_JOURNAL_FRAME = 13,  // bytes of a record before its payload
    CONSUMER_JOURNAL_PAYLOAD_MAX = 1 << 20,
};

struct consumer_journal_record {
    enum consumer_journal_kind kind;
    uint64_t position; // of its first byte
    uint64_t group;    // position of its group's first byte
    struct base_span payload;
};

void consumer_journal_file_begin(struct base_buffer *buffer, uint64_t position, uint32_t size);
// Appends a record that will stand at `position`, of the group that begins at `group`.
void consumer_journal_file_put(struct base_buffer *buffer, uint64_t position, uint64_t group,
                               enum consumer_journal_kind kind, struct base_span payload);

struct consumer_journal_file {
    const char *path; // for errors
    struct base_span bytes;
    uint64_t position; // of the first byte, by the file's name
    uint64_t durable;  // what lies below this position is known to have been synced
};

// Gives every record to `each` and sets *valid to the bytes before the torn tail, if there is one: from what
// does not fit its checksum on, at or above `durable`, with no record of a later group after it. Errors:
// BASE_EFORMAT (any other damage, naming file and offset), each's.
int consumer_journal_file_read(const struct consumer_journal_file *file,
                               int (*each)(void *context, const struct consumer_journal_record *record,
                                           struct base_error *error),
                               void *context, size_t *valid, struct base_error *error);

// The payload of a decision, and back: -1 if it is none of that kind.
void consumer_journal_file_decision(struct base_buffer *payload,
                                    const struct consumer_ingest_decision *decision);
int consumer_journal_file_decide(const struct consumer_journal_record *record,
                                 struct consumer_ingest_decision *decision);

#endif
