// Reads librdkafka's statistics (its STATISTICS.md). See status_source.h.
#include "daemon/status_source.h"

#include <jansson.h>
#include <string.h>

// Those of the cluster: not librdkafka's own, "logical" (a coordinator) and "internal".
static void source_brokers(struct daemon_status_source *source, json_t *brokers)
{
    const char *name;
    json_t *broker;
    source->brokers = source->brokers_up = 0;
    json_object_foreach(brokers, name, broker)
    {
        const char *origin = json_string_value(json_object_get(broker, "source"));
        const char *state = json_string_value(json_object_get(broker, "state"));
        if (origin && (strcmp(origin, "learned") == 0 || strcmp(origin, "configured") == 0)) {
            source->brokers++;
            source->brokers_up += state && strcmp(state, "UP") == 0;
        }
    }
}

static int64_t partition_number(const json_t *partition, const char *key)
{
    return json_integer_value(json_object_get(partition, key));
}

// From the offset up to which messages were taken to the end. Before any was: none is known to wait only if
// nothing is fetched that could be taken. -1: not known.
static int64_t source_partition_lag(const json_t *partition)
{
    int64_t taken = partition_number(partition, "app_offset");
    int64_t fetched = partition_number(partition, "next_offset");
    int64_t high = partition_number(partition, "hi_offset");
    if (taken < 0 && partition_number(partition, "fetchq_size") == 0) {
        taken = fetched;
    }
    if (taken < 0 || high < 0) {
        return -1;
    }
    return high > taken ? high - taken : 0;
}

static int64_t source_lag(json_t *partitions)
{
    const char *number;
    json_t *partition;
    int64_t sum = json_object_size(partitions) > 0 ? 0 : -1;
    json_object_foreach(partitions, number, partition)
    {
        if (strcmp(number, "-1") == 0) { // where librdkafka keeps what has no partition
            continue;
        }
        int64_t lag = source_partition_lag(partition);
        if (lag < 0) {
            return -1;
        }
        sum += lag;
    }
    return sum;
}

void daemon_status_source_read(struct daemon_status_source *source, const struct daemon_config *config,
                               const char *statistics)
{
    json_t *object = statistics ? json_loads(statistics, 0, NULL) : NULL;
    if (!json_is_object(object)) {
        json_decref(object);
        return;
    }
    int64_t moment_us = json_integer_value(json_object_get(object, "ts"));
    uint64_t messages = (uint64_t)json_integer_value(json_object_get(object, "rxmsgs"));
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(object, "rxmsg_bytes"));
    if (source->known && moment_us > source->moment_us && messages >= source->messages &&
        bytes >= source->bytes) {
        double seconds = (double)(moment_us - source->moment_us) / 1e6;
        source->messages_per_s = (double)(messages - source->messages) / seconds;
        source->bytes_per_s = (double)(bytes - source->bytes) / seconds;
    }
    source->moment_us = moment_us;
    source->messages = messages;
    source->bytes = bytes;
    source_brokers(source, json_object_get(object, "brokers"));
    json_t *topics = json_object_get(object, "topics");
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        json_t *topic = json_object_get(topics, daemon_config_topic(config, rank)->topic);
        source->lag[rank] = source_lag(json_object_get(topic, "partitions"));
    }
    source->known = true;
    json_decref(object);
}
