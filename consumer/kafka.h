// The Kafka source: one consumer, partitions assigned by hand, one queue a partition. See source.h.
#ifndef CONSUMER_KAFKA_H
#define CONSUMER_KAFKA_H

#include "consumer/source.h"

enum { CONSUMER_KAFKA_PROPERTIES_MAX = 64 };

struct consumer_kafka_config {
    const char *bootstrap;
    const char *group; // whose name committed offsets bear, for lag monitors; NULL: "freshet"
    uint32_t ranks;
    const char *topics[CONSUMER_TOPICS_MAX]; // [ranks]
    // Passed to librdkafka as they are; those that would break what we promise are refused by name.
    const char *property_names[CONSUMER_KAFKA_PROPERTIES_MAX];
    const char *property_values[CONSUMER_KAFKA_PROPERTIES_MAX];
    uint32_t properties;
    // First offset of each partition: [ranks * lanes], rank-major, each an offset or CONSUMER_OFFSET_EARLIEST
    // or _LATEST; NULL: `start` for all.
    const int64_t *offsets;
    // Or NULL: [ranks * lanes], where a partition begins if the record at its offset, which is then only
    // wanted for comparison, is gone and this one is not.
    const int64_t *unread;
    int64_t start;       // CONSUMER_OFFSET_EARLIEST or _LATEST
    const int64_t *ends; // bounded: [ranks * lanes], stop before these offsets; NULL: unbounded
    bool bounded_now;    // bounded: stop at the ends (last stable offsets) as they are when the source opens
    uint32_t offset_lanes; // lanes that `offsets` and `ends` are for; another number is BASE_ECONFLICT
    uint32_t memory_mb;    // bound on the bytes that librdkafka holds, all partitions together
    int timeout_ms;        // for the metadata at the start
};

// Connects, checks that all topics exist with equal partition counts (the error names topics and counts) and
// that the offsets are in the logs, and starts fetching. NULL on failure: BASE_EINVAL (a setting, a property
// that is refused, unequal counts), BASE_ENOTFOUND (a topic, an offset), BASE_ECONFLICT, BASE_EREFUSED
// (login, authorization), BASE_ENETWORK (nobody answered within timeout_ms). Close with
// source->operations->close.
//
// Errors of poll: retriable BASE_ENETWORK, once each time that no broker can be reached; it heals by itself.
// The others last: BASE_ENOTFOUND (an offset or a topic is gone), BASE_EREFUSED (login, authorization, a
// fatal error of the client), BASE_EFORMAT (corrupt data), BASE_ECONFLICT (a topic has grown; a log's end has
// gone back). What is about a log names the command that decides (consumer/log_changed.h).
struct consumer_source *consumer_kafka_open(const struct consumer_kafka_config *config,
                                            struct base_error *error);

// Where a partition's log begins and ends now (its high watermark), without opening a source. Waits up to
// timeout_ms. Errors: as above.
int consumer_kafka_bounds(const struct consumer_kafka_config *config, uint32_t rank, uint32_t lane,
                          int64_t *low, int64_t *high, struct base_error *error);

#endif
