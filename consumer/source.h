// A source of messages behind one interface: Kafka (kafka.c) or files (files.c).
//
// A source is a fixed set of topic-partitions: every configured topic (by rank) has partitions 0..lanes-1.
// Ingest asks for one partition at a time, so that it can always read the one that holds everybody back.
// Messages of a partition come in offset order, each once. Thread: all calls from the ingest thread, except
// where a function says otherwise.
#ifndef CONSUMER_SOURCE_H
#define CONSUMER_SOURCE_H

#include <stdbool.h>

#include "base/error.h"
#include "consumer/event.h"

enum {
    CONSUMER_OFFSET_EARLIEST = -2,
    CONSUMER_OFFSET_LATEST = -1,
};

struct consumer_message {
    uint32_t rank; // of its topic
    uint32_t lane; // its partition
    int64_t offset;
    int64_t timestamp; // ms; -1: none
    struct base_span key;
    struct base_span value; // null: a tombstone
    bool bare;              // a file source's record: Avro bytes without framing, written with `schema`
    uint32_t schema;        // if bare: the source's number of its writer schema, see consumer_source_schema
};

// What a source knows of a partition without waiting.
struct consumer_position {
    int64_t next;   // offset of the next message that poll will return (or would, if it came)
    int64_t end;    // offset after the last message, of open transactions too, or the bounded end if that is
                    // lower, as of the last answer; -1 unknown
    bool caught_up; // a fresh answer said: next == last stable offset == high watermark
    int64_t fresh_ns; // monotonic time of that answer
    bool finished;    // a bounded source: there will never be another message
};

struct consumer_source;

struct consumer_source_operations {
    // At most `max` next messages of (rank, lane) into `messages`, waiting up to timeout_ms for the first.
    // The count (0: none now), or -1. Their bytes stay valid until the next poll of the same partition or
    // `close`. Errors: retriable ones mean "go on calling"; others stop the daemon.
    int (*poll)(struct consumer_source *source, uint32_t rank, uint32_t lane, int timeout_ms,
                struct consumer_message *messages, int max, struct base_error *error);
    // Waits up to timeout_ms until some partition may have a message (may wake for nothing).
    void (*wait)(struct consumer_source *source, int timeout_ms);
    void (*position)(struct consumer_source *source, uint32_t rank, uint32_t lane,
                     struct consumer_position *position);
    // The JSON text of the writer schema that a bare message's `schema` names; lives as long as the source.
    const char *(*schema)(struct consumer_source *source, uint32_t schema);
    // Tells the log how far a durable cut has come, for lag monitors only: nothing is ever read back.
    // `offsets` [ranks * lanes], rank-major: the lowest that is not handled. Does not wait; a failure has no
    // consequence. NULL: the source has nobody to tell.
    void (*commit)(struct consumer_source *source, const int64_t *offsets);
    // Statistics as one JSON object for logs and metrics, or NULL; the caller frees. Any thread.
    char *(*statistics)(struct consumer_source *source);
    void (*close)(struct consumer_source *source);
};

struct consumer_source {
    const struct consumer_source_operations *operations;
    uint32_t ranks; // topics
    uint32_t lanes; // partitions of each
};

#endif
