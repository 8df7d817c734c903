// What a configuration needs of memory and disk, from the rates of its topics and the windows of its actions.
//
//   disk      journey logs and remembered ids, for as long as they must be found, and for each log of a lane
//             two segments: the one that is written, allocated whole, and the oldest, dropped whole; the
//             database, and the reserve
//   memory    what finds them, orphans, values that wait, embedding rows, a cut on its way to the database,
//   what is fetched ahead
//
// Estimates: ids and touch keys are counted with a usual size. Tests hold them against what the rooms take.
#ifndef DAEMON_NEEDS_H
#define DAEMON_NEEDS_H

#include "daemon/config.h"

enum {
    DAEMON_NEEDS_ID_BYTES = 36,    // of an id, a UUID's
    DAEMON_NEEDS_TOUCH_BYTES = 40, // of a touch key
    // Of a record in a journey log before columns and ids, and of its entry in memory (consumer/journey.c).
    DAEMON_NEEDS_RECORD_BYTES = 64,
    DAEMON_NEEDS_ENTRY_BYTES = 16,
    // Of an orphan's key, if every orphan waits for something else (consumer/orphans.c).
    DAEMON_NEEDS_ORPHAN_KEY_BYTES = 80,
    // Of a value that waits for its sample, most: the table is at least a quarter full (consumer/values.c).
    DAEMON_NEEDS_VALUE_BYTES = 64,
    // Of an embedding row, most: its entry in the index (trainer/rowindex.c) and in lists of changes, which
    // grow by doubling.
    DAEMON_NEEDS_ROW_INDEX_BYTES = 22,
    DAEMON_NEEDS_ROW_LIST_BYTES = 16,
    // Of a row in the database beside its vector: key, times, counts, checksum, and the database's own.
    DAEMON_NEEDS_STORED_BYTES = 50,
    DAEMON_NEEDS_STORE_SLACK =
        1600 << 20,                // files that wait for their compaction, logs (daemon/store_rocks.c)
    DAEMON_NEEDS_CUT_COPIES = 3,   // of what is dirty: rows, batch, the database's memory
    DAEMON_NEEDS_LOG_SEGMENTS = 2, // of each log of a lane, beside what must be kept
};

struct daemon_needs_rates {
    double impressions; // a second
    double ctr;         // share of the impressions with an action of the first stage after them
    double cvr;         // share of these with one of the next stage, and so on
};

struct daemon_needs_log {
    int64_t retention; // ms
    double records, record_bytes;
    double disk, memory;
};

struct daemon_needs {
    struct daemon_needs_log journeys[CONSUMER_TOPICS_MAX]; // [rank]; zeroes: no action follows it
    struct daemon_needs_log ids;                           // remembered, of all actions together
    double orphans, orphan_memory;
    double values, value_memory; // of joined actions, until the samples that carry them
    double rows, row_memory;
    uint32_t row_dimension, row_words; // of the slot whose rows are largest: all rows are counted so
    double fetch_memory, cut_memory;
    double database;     // disk
    double kept;         // disk of the kept cuts at most, if they share nothing; not in the sum
    double memory, disk; // the sums
};

void daemon_needs(const struct daemon_config *config, const struct daemon_needs_rates *rates, uint32_t lanes,
                  struct daemon_needs *needs);

// The rank that an action follows.
uint32_t daemon_needs_parent(const struct daemon_config *config, uint32_t rank);
// Bytes of an embedding row of this dimension, with `words` floats of optimizer state, what is known of it
// and what finds it.
double daemon_needs_row_bytes(uint32_t dimension, uint32_t words);
// Bytes of an orphan that refers by its touch key, or by an impression's id.
double daemon_needs_orphan_bytes(bool by_touch);

#endif
