// librdkafka handles: their configuration and callbacks, and the blocking questions asked through them.
// Private to kafka*.c.
#ifndef CONSUMER_KAFKA_HANDLE_H
#define CONSUMER_KAFKA_HANDLE_H

#include <librdkafka/rdkafka.h>

#include "consumer/kafka.h"
#include "consumer/kafka_trouble.h"

enum {
    CONSUMER_KAFKA_STATISTICS_MS = 5000, // librdkafka's statistics, unless a property says otherwise
    CONSUMER_KAFKA_SOCKET_MS = 10000,    // a silent broker is given up after this, unless a property ...
    CONSUMER_KAFKA_WATCH_SOCKET_MS = 2000,
};

// What the callbacks of a handle write to; must outlive the handle.
struct consumer_kafka_ear {
    struct consumer_kafka_trouble *trouble;
    const char *bootstrap;
    bool main;             // of the consumer, not of the watcher
    pthread_mutex_t mutex; // guards `statistics`
    char *statistics;      // the last JSON text, or NULL
};

// A consumer that fetches (read_committed), or the watcher that only asks for high watermarks
// (read_uncommitted). Neither connects anything before it is asked. `partitions` shares out memory_mb.
// Errors: BASE_EINVAL with the property that was refused and why.
rd_kafka_t *consumer_kafka_handle_new(const struct consumer_kafka_config *config, uint32_t partitions,
                                      struct consumer_kafka_ear *ear, struct base_error *error);

// The number of partitions of `topic`. Tries until timeout_ms; errors: BASE_ENOTFOUND, BASE_EREFUSED,
// BASE_ENETWORK.
int consumer_kafka_handle_partitions(rd_kafka_t *handle, struct consumer_kafka_ear *ear, const char *topic,
                                     int timeout_ms, uint32_t *partitions, struct base_error *error);

// One offset of each partition (rank-major): the log's start (CONSUMER_OFFSET_EARLIEST) or its end
// (CONSUMER_OFFSET_LATEST): the last stable offset through the consumer, the high watermark through the
// watcher. One request a broker.
int consumer_kafka_handle_offsets(rd_kafka_t *handle, struct consumer_kafka_ear *ear,
                                  const struct consumer_kafka_config *config, uint32_t lanes, int64_t what,
                                  int timeout_ms, int64_t *offsets, struct base_error *error);

// Does an error of a partition or a request heal by itself?
bool consumer_kafka_handle_heals(rd_kafka_resp_err_t code);

#endif
