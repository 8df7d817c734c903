// Tests of the marketplace's outputs: what Avro C reads back from the files, and what Kafka holds.
#include <avro.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "consumer/schema.h"
#include "daemon/broker.h"
#include "daemon/produce.h"
#include "daemon/produce_container.h"
#include "tests/unit/support_directory.h"

enum { LANES = 2, IMPRESSIONS = 2000, PATH_BYTES = 512, TIMEOUT_MS = 20000 };

static const char *const topics[DAEMON_MARKET_RANKS] = {"impressions", "clicks", "purchases"};

static struct daemon_market *market_make(void)
{
    struct daemon_market_config config = daemon_market_defaults;
    config.impressions = IMPRESSIONS;
    config.lanes = LANES;
    config.users = 300;
    config.items = 100;
    config.ctr = config.cvr = .3;
    config.strays = .1;
    config.duplicates = .05;
    struct base_error error = {0};
    struct daemon_market *market = daemon_market_new(&config, &error);
    cr_assert_not_null(market, "%s", error.text);
    return market;
}

// Sends the whole market into a sink.
static void sink_fill(struct daemon_produce_sink *sink, struct daemon_produce_truth *truth)
{
    struct base_error error = {0};
    struct daemon_market *market = market_make();
    struct daemon_produce_record record = {0};
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    while (daemon_market_next(market, &event, &impression)) {
        daemon_produce_encode(1, &event, impression, &record);
        cr_assert_eq(sink->operations->put(sink, &record, &error), 0, "%s", error.text);
        if (truth && event.rank == 0 && !event.again) {
            cr_assert_eq(daemon_produce_truth_put(truth, impression, &error), 0, "%s", error.text);
        }
    }
    cr_assert_eq(sink->operations->finish(sink, &error), 0, "%s", error.text);
    daemon_produce_record_free(&record);
    daemon_market_free(market);
}

static void directory_remove(const char *path)
{
    char inner[PATH_BYTES];
    for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        snprintf(inner, sizeof inner, "%s/%s", path, topics[rank]);
        support_directory_remove(inner);
    }
    support_directory_remove(path);
}

static void files_make(const char *path)
{
    struct base_error error = {0};
    struct daemon_produce_sink *sink = daemon_produce_files_new(path, topics, LANES, 1, &error);
    cr_assert_not_null(sink, "%s", error.text);
    sink_fill(sink, NULL);
    sink->operations->free(sink);
}

static avro_file_reader_t reader_open(const char *path)
{
    avro_file_reader_t reader;
    cr_assert_eq(avro_file_reader(path, &reader), 0, "%s", avro_strerror());
    return reader;
}

static avro_value_t reader_value(avro_file_reader_t reader)
{
    avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    avro_value_t value;
    avro_generic_value_new(class, &value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    return value;
}

// A field; of a union, its present branch.
static avro_value_t field_get(const avro_value_t *record, const char *name)
{
    avro_value_t field, branch;
    cr_assert_eq(avro_value_get_by_name(record, name, &field, NULL), 0, "%s", name);
    if (avro_value_get_type(&field) == AVRO_UNION) {
        cr_assert_eq(avro_value_get_current_branch(&field, &branch), 0, "%s", name);
        return branch;
    }
    return field;
}

static void expect_string(const avro_value_t *value, const char *expected)
{
    const char *text = NULL;
    size_t size;
    cr_assert_eq(avro_value_get_string(value, &text, &size), 0);
    cr_assert_str_eq(text, expected);
}

static void expect_long(const avro_value_t *record, const char *name, int64_t expected)
{
    avro_value_t field = field_get(record, name);
    int64_t value = 0;
    cr_assert_eq(avro_value_get_long(&field, &value), 0);
    cr_assert_eq(value, expected, "%s", name);
}

static void expect_field(const avro_value_t *record, const char *name, const char *expected)
{
    avro_value_t field = field_get(record, name);
    expect_string(&field, expected);
}

static void expect_impression(const avro_value_t *record, const struct daemon_market_impression *impression)
{
    char text[DAEMON_PRODUCE_ID_MAX];
    daemon_produce_impression_id(1, impression->index, text);
    expect_field(record, "impression_id", text);
    expect_long(record, "event_time", impression->event_time);
    daemon_produce_user_id(impression->user, text);
    expect_field(record, "user_id", text);
    daemon_produce_item_id(impression->item, text);
    expect_field(record, "item_id", text);
    avro_value_t position = field_get(record, "position");
    int32_t number = -1;
    cr_assert_eq(avro_value_get_int(&position, &number), 0);
    cr_assert_eq((uint32_t)number, impression->position);
    avro_value_t categorical = field_get(record, "categorical"), numeric = field_get(record, "numeric");
    size_t size;
    cr_assert_eq(avro_value_get_size(&categorical, &size), 0);
    cr_assert_eq(size, DAEMON_MARKET_SLOTS);
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        avro_value_t list, value;
        cr_assert_eq(avro_value_get_by_name(&categorical, daemon_market_slot_name(s), &list, NULL), 0);
        avro_value_get_size(&list, &size);
        cr_assert_eq(size, s == DAEMON_MARKET_SLOT_INTERESTS ? DAEMON_MARKET_INTERESTS : 1);
        for (size_t k = 0; k < size; k++) {
            avro_value_get_by_index(&list, k, &value, NULL);
            snprintf(text, sizeof text, "%u",
                     s == DAEMON_MARKET_SLOT_INTERESTS ? impression->interests[k] : impression->slot[s]);
            expect_string(&value, text);
        }
    }
    for (uint32_t n = 0; n < DAEMON_MARKET_NUMBERS; n++) {
        avro_value_t value;
        double real = 0;
        cr_assert_eq(avro_value_get_by_name(&numeric, daemon_market_number_name(n), &value, NULL), 0);
        cr_assert_eq(avro_value_get_double(&value, &real), 0);
        cr_assert_eq(real, impression->number[n]);
    }
}

static void expect_action(const avro_value_t *record, const struct daemon_market_event *event,
                          const struct daemon_market_impression *impression)
{
    char id[DAEMON_PRODUCE_ID_MAX], text[2 * DAEMON_PRODUCE_ID_MAX];
    daemon_produce_impression_id(1, impression->index, id);
    snprintf(text, sizeof text, event->ordinal ? "%c%s.1" : "%c%s", event->rank == 1 ? 'c' : 'p', id);
    expect_field(record, "event_id", text);
    expect_long(record, "event_time", event->event_time);
    avro_value_t reference = field_get(record, "impression_id");
    if (event->reference == DAEMON_MARKET_NULL) {
        cr_assert_eq(avro_value_get_type(&reference), AVRO_NULL);
    } else {
        snprintf(text, sizeof text, event->reference == DAEMON_MARKET_OWN ? "%s" : "?%s", id);
        expect_string(&reference, text);
    }
    avro_value_t value = field_get(record, "value");
    cr_assert_eq(avro_value_get_type(&value), event->rank == 2 ? AVRO_DOUBLE : AVRO_NULL);
}

Test(produce, avro_c_reads_back_what_the_market_said)
{
    char path[SUPPORT_DIRECTORY_MAX], name[PATH_BYTES];
    support_directory_make(path);
    files_make(path);
    avro_file_reader_t readers[DAEMON_MARKET_RANKS][LANES];
    avro_value_t values[DAEMON_MARKET_RANKS];
    for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        for (int lane = 0; lane < LANES; lane++) {
            snprintf(name, sizeof name, "%s/%s/%d.avro", path, topics[rank], lane);
            readers[rank][lane] = reader_open(name);
        }
        values[rank] = reader_value(readers[rank][0]);
    }
    struct daemon_market *market = market_make();
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    while (daemon_market_next(market, &event, &impression)) {
        avro_value_t *value = &values[event.rank];
        avro_value_reset(value);
        cr_assert_eq(avro_file_reader_read_value(readers[event.rank][impression->lane], value), 0, "%s",
                     avro_strerror());
        if (event.rank == 0) {
            expect_impression(value, impression);
        } else {
            expect_action(value, &event, impression);
        }
    }
    for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        for (int lane = 0; lane < LANES; lane++) {
            avro_value_reset(&values[rank]);
            cr_assert_eq(avro_file_reader_read_value(readers[rank][lane], &values[rank]), EOF,
                         "no record more");
            avro_file_reader_close(readers[rank][lane]);
        }
        avro_value_decref(&values[rank]);
    }
    daemon_market_free(market);
    directory_remove(path);
}

static struct base_buffer file_read(const char *path)
{
    struct base_buffer bytes = {0};
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    uint8_t block[4096];
    for (size_t got; (got = fread(block, 1, sizeof block, file)) > 0;) {
        base_buffer_append(&bytes, block, got);
    }
    fclose(file);
    return bytes;
}

Test(produce, equal_streams_are_equal_files_and_an_existing_file_is_an_error)
{
    char first[SUPPORT_DIRECTORY_MAX], second[SUPPORT_DIRECTORY_MAX], name[PATH_BYTES];
    support_directory_make(first);
    support_directory_make(second);
    files_make(first);
    files_make(second);
    for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        snprintf(name, sizeof name, "%s/%s/1.avro", first, topics[rank]);
        struct base_buffer a = file_read(name);
        snprintf(name, sizeof name, "%s/%s/1.avro", second, topics[rank]);
        struct base_buffer b = file_read(name);
        cr_assert(base_span_equal(base_buffer_span(&a), base_buffer_span(&b)));
        base_buffer_free(&a);
        base_buffer_free(&b);
    }
    struct base_error error = {0};
    cr_assert_null(daemon_produce_files_new(first, topics, LANES, 1, &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_not_null(strstr(error.text, "0.avro"), "%s", error.text);
    cr_assert_null(daemon_produce_files_new("/proc/none", topics, LANES, 1, &error));
    cr_assert_eq(error.code, BASE_EIO);
    directory_remove(first);
    directory_remove(second);
}

Test(produce, truth_holds_every_impression_once)
{
    char path[SUPPORT_DIRECTORY_MAX], name[PATH_BYTES];
    support_directory_make(path);
    snprintf(name, sizeof name, "%s/truth.avro", path);
    struct base_error error = {0};
    struct daemon_produce_truth *truth = daemon_produce_truth_new(name, 1, &error);
    cr_assert_not_null(truth, "%s", error.text);
    char events[SUPPORT_DIRECTORY_MAX];
    support_directory_make(events);
    struct daemon_produce_sink *sink = daemon_produce_files_new(events, topics, LANES, 1, &error);
    sink_fill(sink, truth);
    sink->operations->free(sink);
    cr_assert_eq(daemon_produce_truth_finish(truth, &error), 0, "%s", error.text);
    daemon_produce_truth_free(truth);

    struct daemon_market *market = market_make();
    avro_file_reader_t reader = reader_open(name);
    avro_value_t value = reader_value(reader);
    unsigned count = 0;
    while (avro_file_reader_read_value(reader, &value) == 0) {
        avro_value_t index = field_get(&value, "index"), pctr = field_get(&value, "pctr");
        avro_value_t clicked = field_get(&value, "clicked");
        int64_t number = -1;
        double p = 0;
        int yes = -1;
        avro_value_get_long(&index, &number);
        avro_value_get_double(&pctr, &p);
        avro_value_get_boolean(&clicked, &yes);
        struct daemon_market_impression impression;
        daemon_market_impression(market, (uint64_t)number, &impression);
        cr_assert_eq(p, impression.pctr);
        cr_assert_eq(yes, impression.clicked);
        count++;
        avro_value_reset(&value);
    }
    cr_assert_eq(count, IMPRESSIONS);
    avro_value_decref(&value);
    avro_file_reader_close(reader);
    daemon_market_free(market);
    directory_remove(events);
    support_directory_remove(path);
}

Test(produce, a_full_disk_is_an_error_that_names_the_file)
{
    struct base_error error = {0};
    static const uint8_t sync[DAEMON_PRODUCE_SYNC_BYTES] = {0};
    char path[SUPPORT_DIRECTORY_MAX], name[PATH_BYTES];
    support_directory_make(path);
    snprintf(name, sizeof name, "%s/full.avro", path);
    struct daemon_produce_container *container = daemon_produce_container_new(name, "\"long\"", sync, &error);
    cr_assert_not_null(container, "%s", error.text);
    // The descriptor beneath it becomes one that is always full.
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert_geq(full, 0);
    int victim = -1;
    for (int fd = 3; fd < full; fd++) {
        char link[64], target[PATH_BYTES] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) > 0 && strcmp(target, name) == 0) {
            victim = fd;
        }
    }
    cr_assert_geq(victim, 0);
    dup2(full, victim);
    cr_assert_eq(daemon_produce_container_append(container, base_span_string("\2"), &error), 0);
    cr_assert_eq(daemon_produce_container_finish(container, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_not_null(strstr(error.text, "full.avro"), "%s", error.text);
    daemon_produce_container_free(container);
    daemon_produce_container_free(NULL);
    close(full);
    support_directory_remove(path);
}

// --- Kafka ---

static struct daemon_produce_kafka_config kafka_config(const char *bootstrap, enum consumer_framing framing)
{
    return (struct daemon_produce_kafka_config){
        .bootstrap = bootstrap,
        .topics = {topics[0], topics[1], topics[2]},
        .lanes = LANES,
        .framing = framing,
        .timeout_ms = TIMEOUT_MS,
    };
}

// What the partition should hold: the encoded records in the order of the walk.
struct expected {
    uint32_t rank, lane;
    struct daemon_market *market;
    struct daemon_produce_record record;
};

static bool expected_next(struct expected *expected)
{
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    while (daemon_market_next(expected->market, &event, &impression)) {
        if (event.rank == expected->rank && impression->lane == expected->lane) {
            daemon_produce_encode(1, &event, impression, &expected->record);
            return true;
        }
    }
    return false;
}

static void partition_expect(rd_kafka_t *consumer, uint32_t rank, uint32_t lane, struct base_span framing)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topics[rank], (int32_t)lane)->offset = 0;
    rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    struct expected expected = {.rank = rank, .lane = lane, .market = market_make()};
    for (int64_t offset = 0; expected_next(&expected); offset++) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, TIMEOUT_MS);
        cr_assert(message && !message->err, "%s",
                  message ? rd_kafka_message_errstr(message) : "nothing came");
        cr_assert_eq(message->offset, offset);
        cr_assert_eq(message->partition, (int32_t)lane);
        cr_assert_eq(rd_kafka_message_timestamp(message, NULL), expected.record.timestamp);
        struct base_span value = base_span_make(message->payload, message->len);
        cr_assert(value.size > framing.size && memcmp(value.data, framing.data, framing.size) == 0);
        struct base_span body = base_span_make(value.data + framing.size, value.size - framing.size);
        cr_assert(base_span_equal(body, base_buffer_span(&expected.record.body)));
        cr_assert(base_span_equal(base_span_make(message->key, message->key_len),
                                  base_buffer_span(&expected.record.key)));
        rd_kafka_message_destroy(message);
    }
    daemon_produce_record_free(&expected.record);
    daemon_market_free(expected.market);
}

static rd_kafka_t *consumer_make(const char *bootstrap)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof text);
    rd_kafka_conf_set(conf, "group.id", "test", text, sizeof text);
    rd_kafka_conf_set(conf, "auto.offset.reset", "error", text, sizeof text);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    cr_assert_not_null(consumer, "%s", text);
    return consumer;
}

static struct daemon_broker *broker_make(void)
{
    struct base_error error = {0};
    struct daemon_broker *broker = daemon_broker_new(topics, DAEMON_MARKET_RANKS, LANES, &error);
    cr_assert_not_null(broker, "%s", error.text);
    return broker;
}

Test(produce, kafka_holds_the_records_of_the_files_at_their_offsets)
{
    struct base_error error = {0};
    struct daemon_broker *broker = broker_make();
    const char *bootstrap = daemon_broker_bootstrap(broker);
    struct daemon_produce_kafka_config config = kafka_config(bootstrap, CONSUMER_FRAMING_SINGLE_OBJECT);
    struct daemon_produce_sink *sink = daemon_produce_kafka_new(&config, &error);
    cr_assert_not_null(sink, "%s", error.text);
    sink_fill(sink, NULL);
    sink->operations->free(sink);
    rd_kafka_t *consumer = consumer_make(bootstrap);
    for (uint32_t rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        struct consumer_schema *schema =
            consumer_schema_parse(base_span_string(daemon_produce_schema(rank)), &error);
        struct base_buffer framing = {0};
        base_buffer_u8(&framing, 0xc3);
        base_buffer_u8(&framing, 0x01);
        base_buffer_u64(&framing, consumer_schema_fingerprint(schema));
        for (uint32_t lane = 0; lane < LANES; lane++) {
            partition_expect(consumer, rank, lane, base_buffer_span(&framing));
        }
        base_buffer_free(&framing);
        consumer_schema_free(schema);
    }
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    daemon_broker_free(broker);
}

// A registry that answers one request after the other with `answer`, keeping what it was asked.
struct registry {
    int listener;
    uint16_t port;
    const char *answer;
    int requests; // to be served
    pthread_t thread;
    char asked[16384]; // the last request
};

static void *registry_serve(void *context)
{
    struct registry *registry = context;
    for (int i = 0; i < registry->requests; i++) {
        int peer = accept(registry->listener, NULL, NULL);
        size_t size = 0;
        const char *body = NULL;
        size_t length = 0;
        while (!body || size < (size_t)(body - registry->asked) + length) {
            ssize_t got = read(peer, registry->asked + size, sizeof registry->asked - 1 - size);
            if (got <= 0) {
                break;
            }
            size += (size_t)got;
            registry->asked[size] = 0;
            body = strstr(registry->asked, "\r\n\r\n");
            body = body ? body + 4 : NULL;
            const char *header = strstr(registry->asked, "Content-Length: ");
            length = header ? strtoul(header + 16, NULL, 10) : 0;
        }
        cr_assert_gt(write(peer, registry->answer, strlen(registry->answer)), 0);
        close(peer);
    }
    return NULL;
}

static void registry_start(struct registry *registry, const char *answer, int requests)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    registry->answer = answer;
    registry->requests = requests;
    registry->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(registry->listener, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(registry->listener, 4), 0);
    getsockname(registry->listener, (struct sockaddr *)&address, &size);
    registry->port = ntohs(address.sin_port);
    pthread_create(&registry->thread, NULL, registry_serve, registry);
}

static void registry_stop(struct registry *registry)
{
    pthread_join(registry->thread, NULL);
    close(registry->listener);
}

Test(produce, confluent_framing_carries_the_registrys_id)
{
    struct base_error error = {0};
    struct daemon_broker *broker = broker_make();
    static struct registry registry;
    registry_start(
        &registry,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\nConnection: close\r\n"
        "\r\n{\"id\": 258000}",
        DAEMON_MARKET_RANKS);
    char url[128];
    snprintf(url, sizeof url, "http://127.0.0.1:%u/api", registry.port);
    struct daemon_produce_kafka_config config =
        kafka_config(daemon_broker_bootstrap(broker), CONSUMER_FRAMING_CONFLUENT);
    config.registry = url;
    struct daemon_produce_sink *sink = daemon_produce_kafka_new(&config, &error);
    cr_assert_not_null(sink, "%s", error.text);
    sink_fill(sink, NULL);
    sink->operations->free(sink);
    registry_stop(&registry);
    cr_assert_not_null(strstr(registry.asked, "POST /api/subjects/purchases-value/versions"), "%s",
                       registry.asked);
    cr_assert_not_null(strstr(registry.asked, "{\"schema\":\"{\\n  \\\"type\\\": \\\"record\\\""), "%s",
                       registry.asked);
    rd_kafka_t *consumer = consumer_make(daemon_broker_bootstrap(broker));
    static const uint8_t framing[] = {0, 0, 3, 0xef, 0xd0}; // 258000
    partition_expect(consumer, 1, 0, base_span_make(framing, sizeof framing));
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    daemon_broker_free(broker);
}

Test(produce, a_registry_that_refuses_or_is_not_there_is_an_error)
{
    struct base_error error = {0};
    static struct registry registry;
    registry_start(&registry, "HTTP/1.1 422 Bad\r\nContent-Length: 9\r\nConnection: close\r\n\r\nno schema",
                   1);
    char url[128];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", registry.port);
    cr_assert_eq(daemon_produce_register(url, "clicks-value", "\"long\"", TIMEOUT_MS, &error), -1);
    registry_stop(&registry);
    cr_assert_eq(error.code, BASE_EREFUSED);
    cr_assert_not_null(strstr(error.text, "422: no schema"), "%s", error.text);
    cr_assert_eq(daemon_produce_register(url, "clicks-value", "\"long\"", TIMEOUT_MS, &error), -1);
    cr_assert_eq(error.code, BASE_ENETWORK);
}

Test(produce, what_kafka_cannot_do_is_told)
{
    struct base_error error = {0};
    struct daemon_broker *broker = broker_make();
    struct daemon_produce_kafka_config config =
        kafka_config(daemon_broker_bootstrap(broker), CONSUMER_FRAMING_BARE);
    config.lanes = LANES + 1;
    cr_assert_null(daemon_produce_kafka_new(&config, &error));
    cr_assert_eq(error.code, BASE_EINVAL);
    cr_assert_str_eq(error.text, "topic impressions has 2 partitions, not 3");
    config.lanes = LANES;
    static const char *const names[] = {"no.such.property"}, *const values[] = {"1"};
    config.property_names = names;
    config.property_values = values;
    config.properties = 1;
    cr_assert_null(daemon_produce_kafka_new(&config, &error));
    cr_assert_eq(error.code, BASE_EINVAL);
    cr_assert_not_null(strstr(error.text, "no.such.property"), "%s", error.text);
    cr_assert_eq(daemon_produce_kafka_delete(&config, &error), -1);
    cr_assert_eq(error.code, BASE_EINVAL);
    config.properties = 0;
    config.framing = CONSUMER_FRAMING_CONFLUENT;
    cr_assert_null(daemon_produce_kafka_new(&config, &error));
    cr_assert_eq(error.code, BASE_EINVAL);
    // Nobody listens where the broker was.
    char bootstrap[256];
    snprintf(bootstrap, sizeof bootstrap, "%s", daemon_broker_bootstrap(broker));
    daemon_broker_free(broker);
    config = kafka_config(bootstrap, CONSUMER_FRAMING_BARE);
    config.timeout_ms = 300;
    static const char *const quiet[] = {"log_level"}, *const quiet_values[] = {"0"};
    config.property_names = quiet;
    config.property_values = quiet_values;
    config.properties = 1;
    cr_assert_null(daemon_produce_kafka_new(&config, &error));
    cr_assert_eq(error.code, BASE_ENETWORK);
    config.create_topics = true;
    cr_assert_null(daemon_produce_kafka_new(&config, &error));
    cr_assert_eq(error.code, BASE_ENETWORK);
    cr_assert_not_null(strstr(error.text, "creating topics"), "%s", error.text);
    cr_assert_eq(daemon_produce_kafka_delete(&config, &error), -1);
    cr_assert_eq(error.code, BASE_ENETWORK);
    cr_assert_not_null(strstr(error.text, "deleting topics"), "%s", error.text);
}

static void *topic_becomes_known(void *cluster)
{
    const struct timespec nap = {0, 300 * 1000000L};
    nanosleep(&nap, NULL);
    rd_kafka_mock_topic_set_error(cluster, topics[1], RD_KAFKA_RESP_ERR_NO_ERROR);
    return NULL;
}

// A broker learns of a topic a moment after it was made.
Test(produce, a_topic_that_is_not_known_yet_is_waited_for)
{
    char text[256];
    rd_kafka_t *handle = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    cr_assert_not_null(handle, "%s", text);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(handle, 1);
    cr_assert_not_null(cluster);
    for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        cr_assert_eq(rd_kafka_mock_topic_create(cluster, topics[rank], LANES, 1), 0);
    }
    rd_kafka_mock_topic_set_error(cluster, topics[1], RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    struct daemon_produce_kafka_config config =
        kafka_config(rd_kafka_mock_cluster_bootstraps(cluster), CONSUMER_FRAMING_BARE);
    config.timeout_ms = 1000;
    struct base_error error = {0};
    cr_assert_null(daemon_produce_kafka_new(&config, &error), "for ever unknown");
    cr_assert_eq(error.code, BASE_ENOTFOUND);
    cr_assert_not_null(strstr(error.text, "topic clicks: unknown"), "%s", error.text);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, topic_becomes_known, cluster), 0);
    config.timeout_ms = TIMEOUT_MS;
    struct daemon_produce_sink *sink = daemon_produce_kafka_new(&config, &error);
    cr_assert_not_null(sink, "%s", error.text);
    pthread_join(thread, NULL);
    sink->operations->free(sink);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(handle);
}

Test(produce, records_lost_with_the_broker_are_an_error)
{
    struct base_error error = {0};
    struct daemon_broker *broker = broker_make();
    struct daemon_produce_kafka_config config =
        kafka_config(daemon_broker_bootstrap(broker), CONSUMER_FRAMING_BARE);
    static const char *const names[] = {"message.timeout.ms", "log_level"}, *const values[] = {"500", "0"};
    config.property_names = names;
    config.property_values = values;
    config.properties = 2;
    struct daemon_produce_sink *sink = daemon_produce_kafka_new(&config, &error);
    cr_assert_not_null(sink, "%s", error.text);
    daemon_broker_free(broker);
    struct daemon_produce_record record = {.rank = 1, .lane = 0, .timestamp = 1};
    base_buffer_u8(&record.key, 'u');
    base_buffer_u8(&record.body, 0);
    cr_assert_eq(sink->operations->put(sink, &record, &error), 0);
    cr_assert_eq(sink->operations->finish(sink, &error), -1);
    cr_assert_eq(error.code, BASE_ENETWORK);
    cr_assert_not_null(strstr(error.text, "not delivered"), "%s", error.text);
    daemon_produce_record_free(&record);
    sink->operations->free(sink);
}
