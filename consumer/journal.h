// The decision journal: what ingest or the operator decided and the records do not tell, so that a restart
// and a replay decide likewise. docs/design.md, section 3.
//
// Append only, in files of a directory, each named by the position of its first byte; a position counts the
// bytes of all files. What is added stays in memory until consumer_journal_sync writes and syncs it: thus a
// decision in a file was preceded by everything that was made durable before that sync (dead letters).
//
// At open a torn tail is cut off: what does not fit its checksum at the end of the last file, beyond `from`,
// with no record after it. Any other damage is an error. Files begin with what has to outlive the forgetting
// of older ones: the partitions, the last configuration and era, the skips. A file has its name only once it
// is durable.
//
// Thread: one at a time.
#ifndef CONSUMER_JOURNAL_H
#define CONSUMER_JOURNAL_H

#include "base/disk.h"
#include "consumer/event.h"

enum {
    CONSUMER_JOURNAL_FILE_BYTES = 4 << 20,  // of a file, unless configured
    CONSUMER_JOURNAL_BUFFER = 1 << 20,      // unwritten bytes from which a sync is due
    CONSUMER_JOURNAL_NOTE_MAX = 1 << 18,    // bytes of a note's text
    CONSUMER_JOURNAL_SKIPS_MAX = 1000,      // of one journal
    CONSUMER_JOURNAL_REPLACED_MAX = 1000,   // likewise
    CONSUMER_JOURNAL_ENTRIES_MAX = 1 << 26, // to be obeyed
};

enum consumer_journal_kind {
    CONSUMER_JOURNAL_RAISED = 1, // decisions of ingest
    CONSUMER_JOURNAL_UNDECODABLE,
    CONSUMER_JOURNAL_FUTURE,
    CONSUMER_JOURNAL_SKIP,          // by the operator: offsets of a partition that are not read
    CONSUMER_JOURNAL_PARTITIONS,    // topics and lanes
    CONSUMER_JOURNAL_CONFIGURATION, // notes, from here on: hash and canonical text
    CONSUMER_JOURNAL_ERA,
    CONSUMER_JOURNAL_REWIND,
    CONSUMER_JOURNAL_REPLACED, // by the operator: a partition's log is another one
    CONSUMER_JOURNAL_KINDS,
};

struct consumer_ingest_decision; // consumer/ingest.h

struct consumer_journal_config {
    const char *directory;
    struct base_disk *disk; // NULL: the system's
    uint32_t ranks, lanes;  // the journal may say that there came to be more: consumer_journal_lanes
    const char
        *topics[CONSUMER_TOPICS_MAX]; // [ranks]; those behind what the journal knows are new, and noted
    uint64_t file_bytes; // a file that has reached this is the last no more; 0: CONSUMER_JOURNAL_FILE_BYTES
};

struct consumer_journal;

// Opens what is there, or begins a journal (its directory's parent must exist). Decisions at or after
// position `from` are to be obeyed; what lies below it was synced. `read_only`: the files are not touched,
// and what is added is dropped; topics that came later are passed over. NULL on failure: BASE_EFORMAT
// (damage, naming file and offset; a journal that ends before `from`), BASE_ENOTFOUND (read_only, and there
// is none; or what begins at `from` was forgotten), BASE_ECONFLICT (it is of other topics or lanes),
// BASE_EIO, BASE_ELIMIT.
struct consumer_journal *consumer_journal_open(const struct consumer_journal_config *config, uint64_t from,
                                               bool read_only, struct base_error *error);
void consumer_journal_free(struct consumer_journal *journal); // drops what is not synced; takes NULL

// ---- adding ----

// Errors: BASE_EIO (an earlier sync has failed), BASE_ELIMIT (too many skips, too long a note).
int consumer_journal_add(struct consumer_journal *journal, const struct consumer_ingest_decision *decision,
                         struct base_error *error);
// The offsets [from, to) of a partition are not to be read. Holds for this journal's later opens too.
int consumer_journal_skip(struct consumer_journal *journal, uint32_t rank, uint32_t lane, int64_t from,
                          int64_t to, struct base_error *error);
// The log of a partition is another one than cut `cut` was made of, where `from` was the next offset: what
// goes on from that cut reads on at offset `to` of the log as it is now, which may be lower. What was decided
// or skipped in the partition since is void. The last word about a cut counts. Errors: as above.
int consumer_journal_replace(struct consumer_journal *journal, uint32_t rank, uint32_t lane, uint64_t cut,
                             int64_t from, int64_t to, struct base_error *error);
// Every topic has `lanes` partitions from here on. Errors: BASE_EINVAL (not more than before, or too many).
int consumer_journal_grow(struct consumer_journal *journal, uint32_t lanes, struct base_error *error);
uint32_t consumer_journal_lanes(const struct consumer_journal *journal);
// A text of kind CONSUMER_JOURNAL_CONFIGURATION, _ERA or _REWIND.
int consumer_journal_note(struct consumer_journal *journal, enum consumer_journal_kind kind,
                          struct base_span text, struct base_error *error);
// The last note of a kind, valid until the next; false: there is none. Rewinds are forgotten with their file.
bool consumer_journal_last(const struct consumer_journal *journal, enum consumer_journal_kind kind,
                           struct base_span *text);

bool consumer_journal_dirty(const struct consumer_journal *journal);         // something is not synced
uint64_t consumer_journal_unwritten(const struct consumer_journal *journal); // bytes of it
// Writes and syncs what was added. Errors: the disk's; the journal can then only be freed.
int consumer_journal_sync(struct consumer_journal *journal, struct base_error *error);
// After the last entry, synced or not.
uint64_t consumer_journal_position(const struct consumer_journal *journal);
// Removes files of which nothing lies at or above `position`. Errors: BASE_EIO.
int consumer_journal_forget(struct consumer_journal *journal, uint64_t position, struct base_error *error);

// ---- obeying ----

// The next decision of a partition that is still to be obeyed, or NULL. They come by `next`; of one `next`
// first a record set aside, then the highest raise. Without a reason.
const struct consumer_ingest_decision *consumer_journal_next(const struct consumer_journal *journal,
                                                             uint32_t rank, uint32_t lane);
void consumer_journal_obeyed(struct consumer_journal *journal, uint32_t rank, uint32_t lane);
// From where on the journal would have to be obeyed after a restart at this partition's present state: the
// position of what it has still to obey, or the journal's end.
uint64_t consumer_journal_needed(const struct consumer_journal *journal, uint32_t rank, uint32_t lane);
// Where a partition goes on from cut `cut` in another log; -1: it is the same one. Errors (-2):
// BASE_ECONFLICT, it was replaced after a later cut, so that what came between is in no log.
int64_t consumer_journal_replaced(const struct consumer_journal *journal, uint32_t rank, uint32_t lane,
                                  uint64_t cut, struct base_error *error);
// The first offset from `offset` on that is in no skip.
int64_t consumer_journal_beyond(const struct consumer_journal *journal, uint32_t rank, uint32_t lane,
                                int64_t offset);
// The offsets in all skips together.
uint64_t consumer_journal_skipped(const struct consumer_journal *journal);

#endif
