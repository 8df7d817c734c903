// Tests of the source's numbers: out of a text, and out of what librdkafka really says of a broker.
#include "daemon/status_source.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/broker.h"
#include "daemon/pipeline.h"
#include "daemon/produce.h"
#include "daemon/scratch.h"

enum { LANES = 2, RECORDS = 40, PATIENCE = 200, POLL_MS = 100 };

static struct daemon_config *config_in(const char *state_dir, const char *bootstrap)
{
    char text[512];
    snprintf(text, sizeof text,
             "state_dir: %s\n"
             "source: {kind: kafka, bootstrap: '%s', properties: {statistics.interval.ms: 100}}\n"
             "impression: {topic: i, framing: bare}\n"
             "actions: [{name: click, topic: c, framing: bare, wait: 1m, window: 2m}]\n"
             "slots: [{name: user, path: categorical.user}]\n",
             state_dir, bootstrap);
    struct base_config_problems problems = {0};
    struct daemon_config *config = daemon_config_load_text("c.yaml", base_span_string(text), &problems);
    cr_assert(config, "%s", problems.item[0].text);
    return config;
}

static struct daemon_config *config_make(const char *bootstrap)
{
    return config_in("/tmp/unused", bootstrap);
}

Test(daemon_status_source, of_a_text)
{
    struct daemon_config *config = config_make("x:1");
    struct daemon_status_source source = {0};
    daemon_status_source_read(
        &source, config,
        "{\"ts\": 1000000, \"rxmsgs\": 100, \"rxmsg_bytes\": 5000, \"brokers\": {"
        "\"a\": {\"source\": \"learned\", \"state\": \"UP\"},"
        "\"b\": {\"source\": \"learned\", \"state\": \"DOWN\"},"
        "\"c\": {\"source\": \"configured\", \"state\": \"UP\"},"
        "\"d\": {\"source\": \"logical\", \"state\": \"UP\"},"
        "\"e\": {\"source\": \"internal\", \"state\": \"UP\"}}, \"topics\": {"
        "\"i\": {\"partitions\": {"
        "\"0\": {\"app_offset\": 6, \"next_offset\": 10, \"hi_offset\": 30, \"fetchq_size\": 4},"
        "\"1\": {\"app_offset\": -1001, \"next_offset\": 6, \"hi_offset\": 7, \"fetchq_size\": 0},"
        "\"-1\": {\"next_offset\": -1001, \"hi_offset\": -1001, \"fetchq_size\": 0}}},"
        "\"c\": {\"partitions\": {"
        "\"0\": {\"next_offset\": -1001, \"hi_offset\": -1001, \"fetchq_size\": 0}}}}}");
    cr_assert(source.known);
    cr_assert_eq(source.brokers, 3);
    cr_assert_eq(source.brokers_up, 2);
    cr_assert_eq(source.lag[0], 25);
    cr_assert_eq(source.lag[1], -1, "nobody has asked for it yet");
    cr_assert_eq(source.messages_per_s, 0, "there is nothing to compare with");

    static const char later[] = "{\"ts\": 3000000, \"rxmsgs\": 300, \"rxmsg_bytes\": 25000}";
    for (int i = 0; i < 2; i++) { // the same statistics again change nothing
        daemon_status_source_read(&source, config, later);
        cr_assert_eq(source.messages_per_s, 100);
        cr_assert_eq(source.bytes_per_s, 10000);
    }
    cr_assert_eq(source.brokers, 0);
    cr_assert_eq(source.lag[0], -1);
    daemon_config_free(config);
}

Test(daemon_status_source, what_is_no_statistics_changes_nothing)
{
    struct daemon_config *config = config_make("x:1");
    static const struct daemon_status_source nothing;
    struct daemon_status_source source = nothing;
    static const char *const texts[] = {NULL, "", "{", "[]", "3"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        daemon_status_source_read(&source, config, texts[i]);
        cr_assert(!source.known && source.messages == 0);
    }
    daemon_config_free(config);
}

static void produce(const char *bootstrap)
{
    const struct daemon_produce_kafka_config kafka = {.bootstrap = bootstrap,
                                                      .topics = {"i", "c", "p"},
                                                      .lanes = LANES,
                                                      .framing = CONSUMER_FRAMING_BARE,
                                                      .timeout_ms = 20000};
    struct base_error error = {0};
    struct daemon_produce_sink *sink = daemon_produce_kafka_new(&kafka, &error);
    cr_assert(sink, "%s", error.text);
    struct daemon_produce_record record = {0};
    base_buffer_append(&record.key, "k", 1);
    base_buffer_append(&record.body, "body", 4);
    for (uint32_t i = 0; i < RECORDS; i++) {
        record.lane = i % LANES;
        cr_assert_eq(sink->operations->put(sink, &record, &error), 0, "%s", error.text);
    }
    cr_assert_eq(sink->operations->finish(sink, &error), 0, "%s", error.text);
    sink->operations->free(sink);
    daemon_produce_record_free(&record);
}

Test(daemon_status_source, of_a_broker)
{
    static const char *const topics[] = {"i", "c", "p"};
    struct base_error error = {0};
    struct daemon_broker *broker = daemon_broker_new(topics, 3, LANES, &error);
    cr_assert(broker, "%s", error.text);
    produce(daemon_broker_bootstrap(broker));
    struct daemon_config *config = config_make(daemon_broker_bootstrap(broker));
    struct consumer_kafka_config kafka;
    daemon_config_kafka(config, &kafka);
    struct consumer_source *kafka_source = consumer_kafka_open(&kafka, &error);
    cr_assert(kafka_source, "%s", error.text);

    // Of the fetched messages none is taken: how many wait cannot be said.
    struct daemon_status_source source = {0};
    for (int i = 0; i < PATIENCE && (source.messages < RECORDS || source.lag[0] != -1 || source.lag[1] != 0);
         i++) {
        kafka_source->operations->wait(kafka_source, POLL_MS);
        char *text = kafka_source->operations->statistics(kafka_source);
        daemon_status_source_read(&source, config, text);
        free(text);
    }
    cr_expect_eq(source.lag[0], -1, "%ld", (long)source.lag[0]);
    cr_expect_eq(source.lag[1], 0, "%ld", (long)source.lag[1]);
    cr_expect_eq(source.brokers, 1);
    cr_expect_eq(source.brokers_up, 1);
    cr_expect_eq(source.messages, RECORDS);
    // All are taken: none waits.
    uint64_t taken = 0;
    for (int i = 0; i < PATIENCE && (taken < RECORDS || source.lag[0] != 0); i++) {
        struct consumer_message messages[RECORDS];
        int count = kafka_source->operations->poll(kafka_source, 0, (uint32_t)i % LANES, POLL_MS, messages,
                                                   RECORDS, &error);
        cr_assert_geq(count, 0, "%s", error.text);
        taken += (uint64_t)count;
        char *text = kafka_source->operations->statistics(kafka_source);
        daemon_status_source_read(&source, config, text);
        free(text);
    }
    cr_expect_eq(taken, RECORDS);
    cr_expect_eq(source.lag[0], 0, "%ld", (long)source.lag[0]);
    kafka_source->operations->close(kafka_source);
    daemon_config_free(config);
    daemon_broker_free(broker);
}

Test(daemon_status_source, of_a_pipeline_whose_broker_goes_away)
{
    static const char *const topics[] = {"i", "c"};
    char directory[DAEMON_SCRATCH_MAX];
    struct base_error error = {0};
    cr_assert_eq(daemon_scratch_make("source", directory, &error), 0, "%s", error.text);
    struct daemon_broker *broker = daemon_broker_new(topics, 2, LANES, &error);
    cr_assert(broker, "%s", error.text);
    struct daemon_config *config = config_in(directory, daemon_broker_bootstrap(broker));
    const struct daemon_pipeline_options options = {0};
    struct daemon_pipeline *pipeline = daemon_pipeline_new(config, &options, &error);
    cr_assert(pipeline && daemon_pipeline_start(pipeline, &error) == 0, "%s", error.text);

    struct daemon_pipeline_state state;
    struct daemon_status_source source = {0};
    const struct timespec nap = {.tv_nsec = POLL_MS * 1000000L};
    for (int i = 0; i < PATIENCE && source.brokers_up == 0; i++) {
        nanosleep(&nap, NULL);
        char *text = daemon_pipeline_statistics(pipeline);
        daemon_status_source_read(&source, config, text);
        free(text);
    }
    cr_expect_eq(source.brokers_up, 1);
    daemon_pipeline_state(pipeline, &state);
    cr_expect_eq(state.trouble.code, BASE_OK, "%s", state.trouble.text);

    daemon_broker_free(broker);
    for (int i = 0; i < PATIENCE && state.trouble.code == BASE_OK; i++) {
        nanosleep(&nap, NULL);
        daemon_pipeline_state(pipeline, &state);
    }
    cr_expect_eq(state.trouble.code, BASE_ENETWORK);
    cr_expect(state.trouble.text[0] && state.trouble_ms > 0);
    daemon_pipeline_stop(pipeline);
    cr_expect_eq(daemon_pipeline_join(pipeline, &error), 0, "%s", error.text);
    daemon_pipeline_free(pipeline);
    daemon_config_free(config);
    cr_assert_eq(daemon_scratch_remove(directory, &error), 0, "%s", error.text);
}
