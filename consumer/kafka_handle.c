// librdkafka handles: configuration, callbacks, blocking questions. See kafka_handle.h.
#include "consumer/kafka_handle.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

enum {
    TRY_MS = 500,     // one try of a question, and the pause after one that failed at once is a fifth of it
    UNKNOWN_MS = 1000 // a topic is believed to be unknown after this: it may have been made just now
};

// Properties that are ours to set, and what they would break.
static const struct {
    const char *name;
    const char *why;
} refused[] = {
    {"bootstrap.servers", "the source's own setting names the brokers"},
    {"metadata.broker.list", "the source's own setting names the brokers"},
    {"enable.auto.commit", "offsets belong to the cut"},
    {"auto.commit.enable", "offsets belong to the cut"},
    {"auto.commit.interval.ms", "offsets belong to the cut"},
    {"enable.auto.offset.store", "offsets belong to the cut"},
    {"offset.store.method", "offsets belong to the cut"},
    {"auto.offset.reset", "a reset would skip records silently"},
    {"isolation.level", "aborted records must not be read"},
    {"enable.partition.eof", "the source needs these events"},
    {"check.crcs", "corrupt records must not be read"},
    {"group.protocol", "partitions are assigned by hand"},
    {"group.remote.assignor", "partitions are assigned by hand"},
    {"group.instance.id", "partitions are assigned by hand"},
    {"partition.assignment.strategy", "partitions are assigned by hand"},
    {"topic.blacklist", "all configured topics are read"},
    {"allow.auto.create.topics", "an unknown topic is an error"},
    {"queued.max.messages.kbytes", "the source's memory setting bounds the queues"},
    {"log.queue", "log lines are kept for error messages"},
    {"enabled_events", "events are served by the source"},
};

static void handle_log(const rd_kafka_t *handle, int level, const char *facility, const char *text)
{
    (void)facility;
    struct consumer_kafka_ear *ear = rd_kafka_opaque(handle);
    if (level <= 5) { // notices and worse
        consumer_kafka_trouble_note(ear->trouble, text);
    }
}

// The sentence for an error that will not go away.
static void handle_lasting(struct consumer_kafka_ear *ear, rd_kafka_resp_err_t code, const char *reason)
{
    struct base_error error;
    switch (code) {
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        base_error_set(&error, BASE_EREFUSED, "Kafka at %s refuses the login: %s", ear->bootstrap, reason);
        break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        base_error_set(&error, BASE_EREFUSED, "Kafka at %s forbids reading: %s", ear->bootstrap, reason);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        base_error_set(&error, BASE_ENOTFOUND, "a topic is gone from Kafka at %s: %s", ear->bootstrap,
                       reason);
        break;
    default:
        base_error_set(&error, BASE_EREFUSED, "Kafka at %s: %s (%s)", ear->bootstrap, reason,
                       rd_kafka_err2name(code));
        break;
    }
    consumer_kafka_trouble_last(ear->trouble, &error);
}

static void handle_error(rd_kafka_t *handle, int code, const char *reason, void *opaque)
{
    struct consumer_kafka_ear *ear = opaque;
    char text[CONSUMER_KAFKA_TEXT_MAX];
    struct base_error error;
    consumer_kafka_trouble_note(ear->trouble, reason);
    switch ((rd_kafka_resp_err_t)code) {
    case RD_KAFKA_RESP_ERR__FATAL:
        handle_lasting(ear, rd_kafka_fatal_error(handle, text, sizeof text), text);
        break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        handle_lasting(ear, (rd_kafka_resp_err_t)code, reason);
        break;
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        if (ear->main) {
            base_error_set(&error, BASE_ENETWORK, "no broker of Kafka at %s can be reached: %s",
                           ear->bootstrap, reason);
            consumer_kafka_trouble_pass(ear->trouble, &error);
        }
        break;
    default: // heals by itself; the text is kept
        break;
    }
}

static int handle_statistics(rd_kafka_t *handle, char *json, size_t size, void *opaque)
{
    (void)handle;
    (void)size;
    struct consumer_kafka_ear *ear = opaque;
    pthread_mutex_lock(&ear->mutex);
    free(ear->statistics);
    ear->statistics = json;
    pthread_mutex_unlock(&ear->mutex);
    return 1; // the text is ours now
}

static int handle_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct base_error *error)
{
    char text[CONSUMER_KAFKA_TEXT_MAX];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) != RD_KAFKA_CONF_OK) {
        return base_error_set(error, BASE_EINVAL, "Kafka property %s: %s", name, text);
    }
    return 0;
}

static int handle_set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct base_error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return handle_set(conf, name, text, error);
}

// Ours that a property may change: quick reconnection, since a broker that is back should be noticed.
static int handle_set_defaults(rd_kafka_conf_t *conf, const char *group, bool main, struct base_error *error)
{
    if (handle_set(conf, "client.id", "freshet", error) ||
        handle_set(conf, "reconnect.backoff.ms", "50", error) ||
        handle_set(conf, "reconnect.backoff.max.ms", "500", error)) {
        return -1;
    }
    if (!main) {
        return 0;
    }
    // The library takes partitions by hand only from a consumer that names a group; nothing is joined.
    if (handle_set(conf, "group.id", group ? group : "freshet", error)) {
        return -1;
    }
    char text[CONSUMER_KAFKA_TEXT_MAX];
    // Newer than Debian 12's librdkafka, which waits 1 s at a full queue: unknown is no error.
    rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "50", text, sizeof text);
    // The default of 100000 stops the fetcher for a second whenever a queue is full (measured: half the
    // rate).
    return handle_set(conf, "queued.min.messages", "1000000", error) ||
                   handle_set_number(conf, "socket.timeout.ms", CONSUMER_KAFKA_SOCKET_MS, error) ||
                   handle_set_number(conf, "statistics.interval.ms", CONSUMER_KAFKA_STATISTICS_MS, error)
               ? -1
               : 0;
}

static int handle_set_properties(rd_kafka_conf_t *conf, const struct consumer_kafka_config *config,
                                 struct base_error *error)
{
    for (uint32_t i = 0; i < config->properties; i++) {
        const char *name = config->property_names[i];
        for (size_t r = 0; r < sizeof refused / sizeof refused[0]; r++) {
            if (strcmp(name, refused[r].name) == 0) {
                return base_error_set(error, BASE_EINVAL, "Kafka property %s cannot be set: %s", name,
                                      refused[r].why);
            }
        }
        if (handle_set(conf, name, config->property_values[i], error)) {
            return -1;
        }
    }
    return 0;
}

// Ours that nothing may change, set last.
static int handle_set_promises(rd_kafka_conf_t *conf, const struct consumer_kafka_config *config,
                               uint32_t partitions, bool main, struct base_error *error)
{
    if (handle_set(conf, "bootstrap.servers", config->bootstrap, error) ||
        handle_set(conf, "enable.auto.commit", "false", error) ||
        handle_set(conf, "allow.auto.create.topics", "false", error) ||
        handle_set(conf, "isolation.level", main ? "read_committed" : "read_uncommitted", error)) {
        return -1;
    }
    if (!main) {
        return handle_set_number(conf, "socket.timeout.ms", CONSUMER_KAFKA_WATCH_SOCKET_MS, error) ||
                       handle_set(conf, "statistics.interval.ms", "0", error)
                   ? -1
                   : 0;
    }
    // With separate queues the bound holds for each partition. A fetch may overshoot it by one message set.
    int64_t kbytes = (int64_t)config->memory_mb * 1024 / partitions;
    if (kbytes < 64) {
        return base_error_set(error, BASE_EINVAL, "%u MiB are too little for the queues of %u partitions",
                              config->memory_mb, partitions);
    }
    if (kbytes < 1024 && handle_set_number(conf, "fetch.message.max.bytes", kbytes * 1024, error)) {
        return -1;
    }
    return handle_set_number(conf, "queued.max.messages.kbytes", kbytes < 2097151 ? kbytes : 2097151,
                             error) ||
                   handle_set(conf, "enable.auto.offset.store", "false", error) ||
                   handle_set(conf, "auto.offset.reset", "error", error) ||
                   handle_set(conf, "enable.partition.eof", "true", error) ||
                   handle_set(conf, "check.crcs", "true", error)
               ? -1
               : 0;
}

rd_kafka_t *consumer_kafka_handle_new(const struct consumer_kafka_config *config, uint32_t partitions,
                                      struct consumer_kafka_ear *ear, struct base_error *error)
{
    rd_kafka_t *handle = NULL;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(conf, ear);
    rd_kafka_conf_set_log_cb(conf, handle_log);
    rd_kafka_conf_set_error_cb(conf, handle_error);
    rd_kafka_conf_set_stats_cb(conf, handle_statistics);
    if (handle_set_defaults(conf, config->group, ear->main, error) ||
        handle_set_properties(conf, config, error) ||
        handle_set_promises(conf, config, partitions, ear->main, error)) {
        goto out;
    }
    char text[CONSUMER_KAFKA_TEXT_MAX];
    handle = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (handle) {
        return handle; // which owns conf
    }
    base_error_set(error, BASE_EINVAL, "Kafka client: %s", text);
out:
    rd_kafka_conf_destroy(conf);
    return NULL;
}

bool consumer_kafka_handle_heals(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE:
        return true;
    default:
        return false;
    }
}

static int64_t handle_now_ms(void)
{
    return base_clock_monotonic_ns(&base_clock_system) / 1000000;
}

// What remains until `deadline`, TRY_MS at most, 1 at least.
static int handle_slice(int64_t deadline)
{
    int64_t rest = deadline - handle_now_ms();
    return rest > TRY_MS ? TRY_MS : rest > 1 ? (int)rest : 1;
}

// Between two tries: serves the callbacks, so that a refused login ends the wait at once. -1 with the error
// if there is no sense in another try.
static int handle_pause(rd_kafka_t *handle, struct consumer_kafka_ear *ear, int64_t deadline,
                        rd_kafka_resp_err_t code, const char *what, struct base_error *error)
{
    rd_kafka_poll(handle, TRY_MS / 5);
    if (consumer_kafka_trouble_check(ear->trouble, error)) {
        return -1;
    }
    if (handle_now_ms() < deadline) {
        return 0;
    }
    char text[CONSUMER_KAFKA_TEXT_MAX];
    consumer_kafka_trouble_text(ear->trouble, text);
    return base_error_set(error, BASE_ENETWORK, "Kafka at %s: %s: %s (%s)", ear->bootstrap, what,
                          rd_kafka_err2str(code), text);
}

int consumer_kafka_handle_partitions(rd_kafka_t *handle, struct consumer_kafka_ear *ear, const char *topic,
                                     int timeout_ms, uint32_t *partitions, struct base_error *error)
{
    int64_t begin = handle_now_ms();
    int64_t deadline = begin + timeout_ms;
    rd_kafka_topic_t *object = rd_kafka_topic_new(handle, topic, NULL);
    if (!object) {
        return base_error_set(error, BASE_EINVAL, "Kafka topic \"%s\": %s", topic,
                              rd_kafka_err2str(rd_kafka_last_error()));
    }
    int result = -1;
    for (bool again = true; again;) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t code = rd_kafka_metadata(handle, 0, object, &metadata, handle_slice(deadline));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            code =
                metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        }
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && metadata->topics[0].partition_cnt > 0) {
            *partitions = (uint32_t)metadata->topics[0].partition_cnt;
            result = 0;
            again = false;
        } else if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && handle_now_ms() - begin >= UNKNOWN_MS) {
            base_error_set(error, BASE_ENOTFOUND, "Kafka at %s has no topic %s", ear->bootstrap, topic);
            again = false;
        } else if (code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
                   consumer_kafka_handle_heals(code)) {
            again = handle_pause(handle, ear, deadline, code, topic, error) == 0;
        } else {
            base_error_set(error, BASE_EREFUSED, "Kafka at %s, topic %s: %s", ear->bootstrap, topic,
                           rd_kafka_err2str(code));
            again = false;
        }
        if (metadata) {
            rd_kafka_metadata_destroy(metadata);
        }
    }
    rd_kafka_topic_destroy(object);
    return result;
}

// One try. The first error of the call or of a partition; NO_ERROR: offsets are set.
static rd_kafka_resp_err_t handle_try_offsets(rd_kafka_t *handle, const struct consumer_kafka_config *config,
                                              uint32_t lanes, int64_t what, int timeout_ms, int64_t *offsets)
{
    int count = (int)(config->ranks * lanes);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    for (int i = 0; i < count; i++) {
        uint32_t index = (uint32_t)i;
        // In this request -2 and -1 are times: the log's start and its end.
        rd_kafka_topic_partition_list_add(list, config->topics[index / lanes], (int32_t)(index % lanes))
            ->offset = what;
    }
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(handle, list, timeout_ms);
    for (int i = 0; i < count && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        code = list->elems[i].err;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && list->elems[i].offset < 0) {
            code = RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE;
        }
    }
    for (int i = 0; i < count && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        offsets[i] = list->elems[i].offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

int consumer_kafka_handle_offsets(rd_kafka_t *handle, struct consumer_kafka_ear *ear,
                                  const struct consumer_kafka_config *config, uint32_t lanes, int64_t what,
                                  int timeout_ms, int64_t *offsets, struct base_error *error)
{
    int64_t deadline = handle_now_ms() + timeout_ms;
    for (;;) {
        rd_kafka_resp_err_t code =
            handle_try_offsets(handle, config, lanes, what, handle_slice(deadline), offsets);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return 0;
        }
        // A topic that metadata has shown may still be unknown to a broker that has just started.
        if (!consumer_kafka_handle_heals(code) && code != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            return base_error_set(error, BASE_EREFUSED, "Kafka at %s does not tell its offsets: %s",
                                  ear->bootstrap, rd_kafka_err2str(code));
        }
        if (handle_pause(handle, ear, deadline, code, "offsets", error)) {
            return -1;
        }
    }
}
