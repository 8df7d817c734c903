// The Kafka sink. See produce.h.
//
// The partition is chosen by us, never by a partitioner. Idempotence keeps a partition's order through
// retries. A full local queue makes put wait: that is the backpressure. A record that could not be delivered
// fails the next call, for the offsets behind it would no longer be those of the files. The client's word is
// not taken for the log's: finish asks the broker for each partition's end, and fewer records than were
// acknowledged are an error.
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <time.h>

#include "consumer/schema.h"
#include "daemon/produce.h"

enum { KAFKA_ERROR_MAX = 256, FRAMING_MAX = 16, FULL_WAIT_MS = 50, PURGE_MS = 1000, ASK_MS = 100 };

struct kafka_sink {
    struct daemon_produce_sink sink;
    rd_kafka_t *producer;
    rd_kafka_topic_t *topics[DAEMON_MARKET_RANKS];
    uint8_t framing[DAEMON_MARKET_RANKS][FRAMING_MAX]; // what goes before the Avro record
    size_t framing_size;
    struct base_buffer message;
    uint32_t lanes;
    uint64_t *put;               // [ranks * lanes] records
    int64_t *begin;              // [ranks * lanes] the log's end when the sink was opened
    uint64_t delivered;          // and acknowledged
    uint64_t failed;             // deliveries
    rd_kafka_resp_err_t failure; // the first one's reason
    int timeout_ms;
};

static void kafka_delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    struct kafka_sink *kafka = opaque;
    if (!message->err) {
        kafka->delivered++;
    } else if (kafka->failed++ == 0) {
        kafka->failure = message->err;
    }
}

static int kafka_check(const struct kafka_sink *kafka, struct base_error *error)
{
    if (kafka->failed) {
        return base_error_set(error, BASE_ENETWORK, "%" PRIu64 " records were not delivered: %s",
                              kafka->failed, rd_kafka_err2str(kafka->failure));
    }
    return 0;
}

static int kafka_put(struct daemon_produce_sink *sink, const struct daemon_produce_record *record,
                     struct base_error *error)
{
    struct kafka_sink *kafka = (struct kafka_sink *)sink;
    base_buffer_clear(&kafka->message);
    base_buffer_append(&kafka->message, kafka->framing[record->rank], kafka->framing_size);
    base_buffer_append(&kafka->message, record->body.data, record->body.size);
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_producev(
            kafka->producer, RD_KAFKA_V_RKT(kafka->topics[record->rank]),
            RD_KAFKA_V_PARTITION((int32_t)record->lane), RD_KAFKA_V_TIMESTAMP(record->timestamp),
            RD_KAFKA_V_KEY(record->key.data, record->key.size),
            RD_KAFKA_V_VALUE(kafka->message.data, kafka->message.size),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            if (code) {
                return base_error_set(error, BASE_EREFUSED, "%s: %s",
                                      rd_kafka_topic_name(kafka->topics[record->rank]),
                                      rd_kafka_err2str(code));
            }
            kafka->put[record->rank * kafka->lanes + record->lane]++;
            rd_kafka_poll(kafka->producer, 0);
            return kafka_check(kafka, error);
        }
        rd_kafka_poll(kafka->producer, FULL_WAIT_MS);
        if (kafka_check(kafka, error) < 0) {
            return -1;
        }
    }
}

// The end of a partition's log. A broker that has just made the topic may not lead it yet: it is asked again
// until the timeout.
static int kafka_end(struct kafka_sink *kafka, uint32_t rank, uint32_t lane, int64_t *end,
                     struct base_error *error)
{
    const char *topic = rd_kafka_topic_name(kafka->topics[rank]);
    rd_kafka_resp_err_t code;
    int64_t low;
    for (int waited = 0; (code = rd_kafka_query_watermark_offsets(kafka->producer, topic, (int32_t)lane, &low,
                                                                  end, kafka->timeout_ms));
         waited += ASK_MS) {
        if (waited >= kafka->timeout_ms) {
            return base_error_set(error, BASE_ENETWORK, "topic %s, partition %" PRIu32 ": its end: %s", topic,
                                  lane, rd_kafka_err2str(code));
        }
        nanosleep(&(struct timespec){.tv_nsec = ASK_MS * 1000000L}, NULL);
    }
    return 0;
}

// All of them, into `ends` [ranks * lanes].
static int kafka_ends(struct kafka_sink *kafka, int64_t *ends, struct base_error *error)
{
    for (uint32_t i = 0; i < DAEMON_MARKET_RANKS * kafka->lanes; i++) {
        if (kafka_end(kafka, i / kafka->lanes, i % kafka->lanes, &ends[i], error) < 0) {
            return -1;
        }
    }
    return 0;
}

static int kafka_verify(struct kafka_sink *kafka, struct base_error *error)
{
    uint32_t count = DAEMON_MARKET_RANKS * kafka->lanes;
    uint64_t put = 0;
    int64_t *ends = base_alloc_zeroed(count, sizeof *ends);
    int result = kafka_ends(kafka, ends, error);
    for (uint32_t i = 0; i < count && result == 0; i++) {
        put += kafka->put[i];
        // More is possible: others may write, too.
        if (ends[i] - kafka->begin[i] < (int64_t)kafka->put[i]) {
            result = base_error_set(error, BASE_EIO,
                                    "topic %s, partition %" PRIu32 ": %" PRIu64
                                    " records were sent, the log grew by %" PRId64,
                                    rd_kafka_topic_name(kafka->topics[i / kafka->lanes]), i % kafka->lanes,
                                    kafka->put[i], ends[i] - kafka->begin[i]);
        }
    }
    free(ends);
    if (result == 0 && kafka->delivered != put) {
        return base_error_set(error, BASE_EIO, "%" PRIu64 " records were sent, %" PRIu64 " acknowledged", put,
                              kafka->delivered);
    }
    return result;
}

static int kafka_finish(struct daemon_produce_sink *sink, struct base_error *error)
{
    struct kafka_sink *kafka = (struct kafka_sink *)sink;
    rd_kafka_resp_err_t code = rd_kafka_flush(kafka->producer, kafka->timeout_ms);
    if (kafka_check(kafka, error) < 0) {
        return -1;
    }
    if (code) {
        return base_error_set(error, BASE_ENETWORK, "%d records were not acknowledged within %d ms",
                              rd_kafka_outq_len(kafka->producer), kafka->timeout_ms);
    }
    return kafka_verify(kafka, error);
}

static void kafka_free(struct daemon_produce_sink *sink)
{
    struct kafka_sink *kafka = (struct kafka_sink *)sink;
    for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        if (kafka->topics[rank]) {
            rd_kafka_topic_destroy(kafka->topics[rank]);
        }
    }
    if (kafka->producer) {
        rd_kafka_purge(kafka->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_flush(kafka->producer, PURGE_MS); // serves the reports of what was purged
        rd_kafka_destroy(kafka->producer);
    }
    base_buffer_free(&kafka->message);
    free(kafka->put);
    free(kafka->begin);
    free(kafka);
}

static const struct daemon_produce_sink_operations kafka_operations = {kafka_put, kafka_finish, kafka_free};

static int kafka_connect(struct kafka_sink *kafka, const struct daemon_produce_kafka_config *config,
                         struct base_error *error)
{
    static const char *const ours[][2] = {
        {"enable.idempotence", "true"},
        {"linger.ms", "5"},
        {"queue.buffering.max.messages", "500000"},
        {"queue.buffering.max.kbytes", "262144"},
    };
    char text[KAFKA_ERROR_MAX];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(conf, kafka);
    rd_kafka_conf_set_dr_msg_cb(conf, kafka_delivered);
    rd_kafka_conf_res_t set =
        rd_kafka_conf_set(conf, "bootstrap.servers", config->bootstrap, text, sizeof text);
    for (size_t i = 0; set == RD_KAFKA_CONF_OK && i < sizeof ours / sizeof *ours; i++) {
        set = rd_kafka_conf_set(conf, ours[i][0], ours[i][1], text, sizeof text);
    }
    for (uint32_t i = 0; set == RD_KAFKA_CONF_OK && i < config->properties; i++) {
        set =
            rd_kafka_conf_set(conf, config->property_names[i], config->property_values[i], text, sizeof text);
    }
    if (set == RD_KAFKA_CONF_OK) {
        kafka->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    }
    if (!kafka->producer) {
        rd_kafka_conf_destroy(conf);
        return base_error_set(error, BASE_EINVAL, "Kafka producer: %s", text);
    }
    return 0;
}

// Waits for the answer to a request about all topics. A topic's result `good` is as good as none.
static int kafka_await(rd_kafka_queue_t *queue, const char *doing, rd_kafka_resp_err_t good, int timeout_ms,
                       struct base_error *error)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);
    if (!event) {
        return base_error_set(error, BASE_ENETWORK, "%s topics: no answer", doing);
    }
    int result = 0;
    size_t count = 0;
    const rd_kafka_topic_result_t **results = NULL;
    if (rd_kafka_event_error(event)) {
        result =
            base_error_set(error, BASE_ENETWORK, "%s topics: %s", doing, rd_kafka_event_error_string(event));
    } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT) {
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    } else {
        results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    }
    for (size_t i = 0; i < count && result == 0; i++) {
        rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
        if (code && code != good) {
            result = base_error_set(error, BASE_EREFUSED, "%s topic %s: %s", doing,
                                    rd_kafka_topic_result_name(results[i]), rd_kafka_err2str(code));
        }
    }
    rd_kafka_event_destroy(event);
    return result;
}

static int kafka_create_topics(struct kafka_sink *kafka, const struct daemon_produce_kafka_config *config,
                               struct base_error *error)
{
    char text[KAFKA_ERROR_MAX];
    rd_kafka_NewTopic_t *topics[DAEMON_MARKET_RANKS] = {NULL};
    int result = 0;
    for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        topics[rank] = rd_kafka_NewTopic_new(config->topics[rank], (int)config->lanes, 1, text, sizeof text);
        if (!topics[rank]) {
            result = base_error_set(error, BASE_EINVAL, "topic %s: %s", config->topics[rank], text);
            goto out;
        }
        // Simulated time may lie years back: by age the broker would delete the records as they come.
        rd_kafka_NewTopic_set_config(topics[rank], "retention.ms", "-1");
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka->producer);
    rd_kafka_CreateTopics(kafka->producer, topics, DAEMON_MARKET_RANKS, NULL, queue);
    result =
        kafka_await(queue, "creating", RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, config->timeout_ms, error);
    rd_kafka_queue_destroy(queue);
out:
    for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        if (topics[rank]) {
            rd_kafka_NewTopic_destroy(topics[rank]);
        }
    }
    return result;
}

// Asks once for a topic's partitions. 1: the broker knows it; 0: it does not; -1: an error.
static int kafka_ask_topic(struct kafka_sink *kafka, const struct daemon_produce_kafka_config *config,
                           uint32_t rank, struct base_error *error)
{
    const char *name = config->topics[rank];
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code =
        rd_kafka_metadata(kafka->producer, 0, kafka->topics[rank], &metadata, config->timeout_ms);
    if (code) {
        return base_error_set(error, BASE_ENETWORK, "%s: %s", config->bootstrap, rd_kafka_err2str(code));
    }
    int result = 1;
    const struct rd_kafka_metadata_topic *topic = metadata->topic_cnt ? &metadata->topics[0] : NULL;
    if (!topic || topic->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        result = 0;
    } else if (topic->err) {
        result = base_error_set(error, BASE_ENOTFOUND, "topic %s: %s", name, rd_kafka_err2str(topic->err));
    } else if (topic->partition_cnt != (int)config->lanes) {
        result = base_error_set(error, BASE_EINVAL, "topic %s has %d partitions, not %" PRIu32, name,
                                topic->partition_cnt, config->lanes);
    }
    rd_kafka_metadata_destroy(metadata);
    return result;
}

// Opens a topic and checks its partitions. A topic that was just made may be unknown to its broker for a
// moment, so that is asked again until the timeout.
static int kafka_open_topic(struct kafka_sink *kafka, const struct daemon_produce_kafka_config *config,
                            uint32_t rank, struct base_error *error)
{
    const char *name = config->topics[rank];
    kafka->topics[rank] = rd_kafka_topic_new(kafka->producer, name, NULL);
    if (!kafka->topics[rank]) {
        return base_error_set(error, BASE_EINVAL, "topic %s: %s", name,
                              rd_kafka_err2str(rd_kafka_last_error()));
    }
    int known;
    for (int waited = 0; (known = kafka_ask_topic(kafka, config, rank, error)) == 0; waited += ASK_MS) {
        if (waited >= config->timeout_ms) {
            return base_error_set(error, BASE_ENOTFOUND, "topic %s: unknown to %s", name, config->bootstrap);
        }
        nanosleep(&(struct timespec){.tv_nsec = ASK_MS * 1000000L}, NULL);
    }
    return known < 0 ? -1 : 0;
}

static void framing_number(uint8_t *at, uint64_t value, int width, bool big_endian)
{
    for (int i = 0; i < width; i++) {
        at[i] = (uint8_t)(value >> (8 * (big_endian ? width - 1 - i : i)));
    }
}

static int kafka_framing(struct kafka_sink *kafka, const struct daemon_produce_kafka_config *config,
                         uint32_t rank, struct base_error *error)
{
    const char *text = daemon_produce_schema(rank);
    uint8_t *framing = kafka->framing[rank];
    if (config->framing == CONSUMER_FRAMING_SINGLE_OBJECT) {
        struct consumer_schema *schema = consumer_schema_parse(base_span_string(text), error);
        if (!schema) {
            return -1;
        }
        framing[0] = 0xc3;
        framing[1] = 0x01;
        framing_number(framing + 2, consumer_schema_fingerprint(schema), 8, false);
        kafka->framing_size = 10;
        consumer_schema_free(schema);
    } else if (config->framing == CONSUMER_FRAMING_CONFLUENT) {
        char subject[KAFKA_ERROR_MAX];
        snprintf(subject, sizeof subject, "%s-value", config->topics[rank]);
        int64_t id = daemon_produce_register(config->registry, subject, text, config->timeout_ms, error);
        if (id < 0) {
            return -1;
        }
        framing[0] = 0;
        framing_number(framing + 1, (uint64_t)id, 4, true);
        kafka->framing_size = 5;
    }
    return 0;
}

struct daemon_produce_sink *daemon_produce_kafka_new(const struct daemon_produce_kafka_config *config,
                                                     struct base_error *error)
{
    if (config->framing == CONSUMER_FRAMING_CONFLUENT && !config->registry) {
        base_error_set(error, BASE_EINVAL, "Confluent's framing needs a schema registry");
        return NULL;
    }
    struct kafka_sink *kafka = base_alloc_zeroed(1, sizeof *kafka);
    kafka->sink.operations = &kafka_operations;
    kafka->timeout_ms = config->timeout_ms;
    kafka->lanes = config->lanes;
    kafka->put = base_alloc_zeroed(DAEMON_MARKET_RANKS * config->lanes, sizeof *kafka->put);
    kafka->begin = base_alloc_zeroed(DAEMON_MARKET_RANKS * config->lanes, sizeof *kafka->begin);
    int result = kafka_connect(kafka, config, error);
    if (result == 0 && config->create_topics) {
        result = kafka_create_topics(kafka, config, error);
    }
    for (uint32_t rank = 0; result == 0 && rank < DAEMON_MARKET_RANKS; rank++) {
        result = kafka_framing(kafka, config, rank, error);
        if (result == 0) {
            result = kafka_open_topic(kafka, config, rank, error);
        }
    }
    if (result == 0) {
        result = kafka_ends(kafka, kafka->begin, error);
    }
    if (result < 0) {
        kafka_free(&kafka->sink);
        return NULL;
    }
    return &kafka->sink;
}

int daemon_produce_kafka_delete(const struct daemon_produce_kafka_config *config, struct base_error *error)
{
    struct kafka_sink *kafka = base_alloc_zeroed(1, sizeof *kafka);
    kafka->sink.operations = &kafka_operations;
    int result = kafka_connect(kafka, config, error);
    if (result == 0) {
        rd_kafka_DeleteTopic_t *topics[DAEMON_MARKET_RANKS];
        for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
            topics[rank] = rd_kafka_DeleteTopic_new(config->topics[rank]);
        }
        rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka->producer);
        rd_kafka_DeleteTopics(kafka->producer, topics, DAEMON_MARKET_RANKS, NULL, queue);
        result = kafka_await(queue, "deleting", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, config->timeout_ms,
                             error);
        rd_kafka_queue_destroy(queue);
        rd_kafka_DeleteTopic_destroy_array(topics, DAEMON_MARKET_RANKS);
    }
    kafka_free(&kafka->sink);
    return result;
}
