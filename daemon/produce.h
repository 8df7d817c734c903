// Outputs of the simulated marketplace: Avro files by topic and lane, or Kafka.
//
//   event -> daemon_produce_encode -> record -> sink: container files (produce_files.c), Kafka
//   (produce_kafka.c)
//
// Both sinks take the same records in the same order, so that a file and the Kafka partition of its number
// hold the same records at the same offsets. Thread: one at a time.
#ifndef DAEMON_PRODUCE_H
#define DAEMON_PRODUCE_H

#include "base/bytes.h"
#include "base/error.h"
#include "consumer/decoder.h"
#include "daemon/market.h"

struct daemon_produce_record {
    uint32_t rank, lane;
    int64_t timestamp;       // ms: the event time
    struct base_buffer key;  // the user id
    struct base_buffer body; // the Avro record, without framing
};

// Fills `record` (its buffers are reused) with an event as schemas/impression.avsc, click.avsc or
// purchase.avsc say. Ids are "<seed>-<index>" of the impression, in hexadecimal; an action's has its rank's
// letter and, beyond the true one, its ordinal around it.
void daemon_produce_encode(uint64_t seed, const struct daemon_market_event *event,
                           const struct daemon_market_impression *impression,
                           struct daemon_produce_record *record);
void daemon_produce_record_free(struct daemon_produce_record *record);
// The schema of a rank's records, as JSON.
const char *daemon_produce_schema(uint32_t rank);

enum { DAEMON_PRODUCE_ID_MAX = 64 };
// The impression's id, NUL-terminated.
void daemon_produce_impression_id(uint64_t seed, uint64_t index, char id[DAEMON_PRODUCE_ID_MAX]);
// "u12", "i345": the ids of users and items.
void daemon_produce_user_id(uint32_t user, char id[DAEMON_PRODUCE_ID_MAX]);
void daemon_produce_item_id(uint32_t item, char id[DAEMON_PRODUCE_ID_MAX]);

struct daemon_produce_sink;

struct daemon_produce_sink_operations {
    int (*put)(struct daemon_produce_sink *sink, const struct daemon_produce_record *record,
               struct base_error *error);
    // Everything that was put is on disk, or acknowledged by the brokers.
    int (*finish)(struct daemon_produce_sink *sink, struct base_error *error);
    void (*free)(struct daemon_produce_sink *sink);
};

struct daemon_produce_sink {
    const struct daemon_produce_sink_operations *operations;
};

// Writes <directory>/<topic>/<lane>.avro for every lane of every topic; directories are made, an existing
// file is an error (BASE_EIO). `seed` makes the files' sync markers: equal streams are equal files.
struct daemon_produce_sink *daemon_produce_files_new(const char *directory,
                                                     const char *const topics[DAEMON_MARKET_RANKS],
                                                     uint32_t lanes, uint64_t seed, struct base_error *error);

struct daemon_produce_kafka_config {
    const char *bootstrap;
    const char *topics[DAEMON_MARKET_RANKS];
    uint32_t lanes;
    bool create_topics; // with `lanes` partitions and one replica; those that exist stay
    enum consumer_framing framing;
    const char *registry;              // CONFLUENT: the registry's base URL, where the schemas are registered
    const char *const *property_names; // passed to librdkafka, [properties]
    const char *const *property_values;
    uint32_t properties;
    int timeout_ms; // for topics, metadata and registry
};

// A producer with idempotence on: the records of a partition keep their order. Checks that each topic has
// exactly `lanes` partitions. Errors: BASE_EINVAL (a property), BASE_ENETWORK, BASE_EREFUSED, BASE_ENOTFOUND
// (a topic).
struct daemon_produce_sink *daemon_produce_kafka_new(const struct daemon_produce_kafka_config *config,
                                                     struct base_error *error);

// Deletes the topics of `config`; one that is not there is as good. Errors: BASE_EINVAL (a property),
// BASE_ENETWORK, BASE_EREFUSED.
int daemon_produce_kafka_delete(const struct daemon_produce_kafka_config *config, struct base_error *error);

// Registers `schema` as `subject` with a schema registry: POST <url>/subjects/<subject>/versions. The id, or
// -1.
int64_t daemon_produce_register(const char *url, const char *subject, const char *schema, int timeout_ms,
                                struct base_error *error);

// The truth: an Avro container with one record an impression, in the order of arrival: impression_id, index,
// lane, event_time, pctr, pcvr, clicked, purchased. Never a feature.
struct daemon_produce_truth;

struct daemon_produce_truth *daemon_produce_truth_new(const char *path, uint64_t seed,
                                                      struct base_error *error);
int daemon_produce_truth_put(struct daemon_produce_truth *truth,
                             const struct daemon_market_impression *impression, struct base_error *error);
int daemon_produce_truth_finish(struct daemon_produce_truth *truth, struct base_error *error);
void daemon_produce_truth_free(struct daemon_produce_truth *truth);

#endif
