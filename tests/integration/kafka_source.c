// The Kafka source against a real broker: the scenarios of kafka_source.sh. Each prints what it has checked
// and ends the program at the first thing that is wrong.
//
//   kafka_source BOOTSTRAP KAFKA DIR DATA      KAFKA: the kit's script, to crash and freeze the broker
//   kafka_source --login BOOTSTRAP USER PASSWORD CA
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "consumer/kafka.h"

enum { LANES = 8, BATCH = 1000, PATIENCE_MS = 40000, ANSWER_MS = 10000 };

static const char *bootstrap;
static const char *kit[3]; // the script, DIR, DATA
static struct base_error error;

#define CHECK(condition, ...)                        \
    do {                                             \
        if (!(condition)) {                          \
            fail(__LINE__, #condition, __VA_ARGS__); \
        }                                            \
    } while (0)

__attribute__((noreturn, format(printf, 3, 4))) static void fail(int line, const char *condition,
                                                                 const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("FAIL kafka_source.c:%d: %s: ", line, condition);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
    exit(1);
}

static int64_t now_ms(void)
{
    return base_clock_monotonic_ns(&base_clock_system) / 1000000;
}

// A message's timestamp, by its number. Near the present, or retention would take it at once.
static int64_t timestamp_of(int64_t number)
{
    static int64_t begin;
    begin = begin ? begin : base_clock_wall_ms(&base_clock_system);
    return begin + number % 1000;
}

static void kafka_verb(const char *verb)
{
    char command[1024];
    snprintf(command, sizeof command, "'%s' %s '%s' --data '%s' >/dev/null 2>&1", kit[0], verb, kit[1],
             kit[2]);
    CHECK(system(command) == 0, "%s", command);
}

// ---- producing ----

static rd_kafka_t *producer_new(const char *transactional)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof text);
    rd_kafka_conf_set(conf, "enable.idempotence", "true", text, sizeof text);
    rd_kafka_conf_set(conf, "linger.ms", "5", text, sizeof text);
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
    rd_kafka_conf_set(conf, "reconnect.backoff.max.ms", "500", text, sizeof text);
    if (transactional) {
        rd_kafka_conf_set(conf, "transactional.id", transactional, text, sizeof text);
    }
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    CHECK(producer, "%s", text);
    if (transactional) {
        rd_kafka_error_t *failure = rd_kafka_init_transactions(producer, PATIENCE_MS);
        CHECK(!failure, "%s", rd_kafka_error_string(failure));
    }
    return producer;
}

// Messages begin, begin + 1, ...: the value is the number, the key the topic.
static void produce(rd_kafka_t *producer, const char *topic, int32_t partition, int64_t begin, int64_t count,
                    size_t padding)
{
    size_t size = sizeof(int64_t) + padding;
    uint8_t *value = base_alloc_zeroed(1, size);
    for (int64_t i = begin; i < begin + count; i++) {
        memcpy(value, &i, sizeof i);
        rd_kafka_resp_err_t code;
        do {
            code = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                                     RD_KAFKA_V_KEY(topic, strlen(topic)), RD_KAFKA_V_VALUE(value, size),
                                     RD_KAFKA_V_TIMESTAMP(timestamp_of(i)),
                                     RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
            rd_kafka_poll(producer, code ? 50 : 0);
        } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
        CHECK(code == RD_KAFKA_RESP_ERR_NO_ERROR, "%s", rd_kafka_err2str(code));
    }
    free(value);
}

static void flush(rd_kafka_t *producer)
{
    CHECK(rd_kafka_flush(producer, PATIENCE_MS) == RD_KAFKA_RESP_ERR_NO_ERROR, "flush");
}

static void transaction(rd_kafka_t *producer, rd_kafka_error_t *failure)
{
    (void)producer;
    CHECK(!failure, "%s", rd_kafka_error_string(failure));
}

// ---- administration ----

enum admin { ADMIN_CREATE, ADMIN_GROW, ADMIN_TRIM };

// Creates a topic of `number` partitions, grows it to `number`, or trims partition 0 below offset `number`.
static void administrate(enum admin what, const char *topic, int64_t number)
{
    char text[256];
    rd_kafka_t *client = producer_new(NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    if (what == ADMIN_CREATE) {
        rd_kafka_NewTopic_t *request = rd_kafka_NewTopic_new(topic, (int)number, 1, text, sizeof text);
        rd_kafka_CreateTopics(client, &request, 1, NULL, queue);
        rd_kafka_NewTopic_destroy(request);
    } else if (what == ADMIN_GROW) {
        rd_kafka_NewPartitions_t *request =
            rd_kafka_NewPartitions_new(topic, (size_t)number, text, sizeof text);
        rd_kafka_CreatePartitions(client, &request, 1, NULL, queue);
        rd_kafka_NewPartitions_destroy(request);
    } else {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
        rd_kafka_topic_partition_list_add(list, topic, 0)->offset = number;
        rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
        rd_kafka_DeleteRecords(client, &request, 1, NULL, queue);
        rd_kafka_DeleteRecords_destroy(request);
        rd_kafka_topic_partition_list_destroy(list);
    }
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, PATIENCE_MS);
    CHECK(event && !rd_kafka_event_error(event), "%s",
          event ? rd_kafka_event_error_string(event) : "no answer");
    rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
}

// ---- reading ----

static struct consumer_kafka_config config_of(const char *topic)
{
    return (struct consumer_kafka_config){
        .bootstrap = bootstrap,
        .ranks = 1,
        .topics = {topic},
        .start = CONSUMER_OFFSET_EARLIEST,
        .memory_mb = 64,
        .timeout_ms = ANSWER_MS,
    };
}

static struct consumer_source *open_source(const struct consumer_kafka_config *config)
{
    struct consumer_source *source = consumer_kafka_open(config, &error);
    CHECK(source, "%s", error.text);
    return source;
}

// Polls until `wanted` messages have come; their numbers into `numbers`. Passing errors are passed over.
static int64_t read_some(struct consumer_source *source, uint32_t rank, uint32_t lane, int64_t wanted,
                         int64_t *numbers, int64_t patience_ms)
{
    struct consumer_message messages[BATCH];
    int64_t total = 0;
    for (int64_t end = now_ms() + patience_ms; total < wanted && now_ms() < end;) {
        int most = wanted - total < BATCH ? (int)(wanted - total) : BATCH;
        int count = source->operations->poll(source, rank, lane, 20, messages, most, &error);
        CHECK(count >= 0 || error.retriable, "%s", error.text);
        for (int i = 0; i < count; i++) {
            CHECK(messages[i].rank == rank && messages[i].lane == lane && !messages[i].bare, "message");
            CHECK(messages[i].value.size >= sizeof(int64_t), "value");
            memcpy(&numbers[total], messages[i].value.data, sizeof(int64_t));
            CHECK(messages[i].timestamp == timestamp_of(numbers[total]), "timestamp");
            total++;
        }
    }
    return total;
}

static struct consumer_position position_of(struct consumer_source *source, uint32_t lane)
{
    struct consumer_position position;
    source->operations->position(source, 0, lane, &position);
    return position;
}

// Polls, expecting no message, until caught_up is as wanted; false after patience_ms.
static bool await_caught_up(struct consumer_source *source, bool wanted, int64_t patience_ms)
{
    struct consumer_message message;
    for (int64_t end = now_ms() + patience_ms; now_ms() < end;) {
        int count = source->operations->poll(source, 0, 0, 20, &message, 1, &error);
        CHECK(count == 0 || (count < 0 && error.retriable), "no message was expected: %s", error.text);
        if (position_of(source, 0).caught_up == wanted) {
            return true;
        }
    }
    return false;
}

// Polls until the partition is finished, expecting no message.
static void await_finished(struct consumer_source *source, uint32_t lane)
{
    struct consumer_message message;
    for (int64_t end = now_ms() + PATIENCE_MS; !position_of(source, lane).finished;) {
        CHECK(now_ms() < end, "lane %u does not finish: next %lld", lane,
              (long long)position_of(source, lane).next);
        CHECK(source->operations->poll(source, 0, lane, 20, &message, 1, &error) == 0, "%s", error.text);
    }
}

static void refused(const struct consumer_kafka_config *config, enum base_error_code code, const char *says)
{
    struct consumer_source *source = consumer_kafka_open(config, &error);
    CHECK(!source && error.code == code && strstr(error.text, says), "%s", source ? "it opens" : error.text);
    printf("  refused: %s\n", error.text);
}

// ---- scenarios ----

enum { MANY = 20000 };

static void check_batches(void)
{
    static int64_t numbers[MANY];
    administrate(ADMIN_CREATE, "one", LANES);
    administrate(ADMIN_CREATE, "two", LANES);
    rd_kafka_t *producer = producer_new(NULL);
    for (int32_t lane = 0; lane < LANES; lane++) {
        produce(producer, "one", lane, lane * 1000000, MANY, 0);
        produce(producer, "two", lane, -lane, lane ? 100 : 0, 0);
    }
    flush(producer);
    struct consumer_kafka_config config = config_of("one");
    config.ranks = 2;
    config.topics[1] = "two";
    struct consumer_source *source = open_source(&config);
    CHECK(source->lanes == LANES && source->ranks == 2, "%u lanes", source->lanes);
    int64_t begin = now_ms();
    for (uint32_t lane = 0; lane < LANES; lane++) {
        CHECK(read_some(source, 0, lane, MANY, numbers, PATIENCE_MS) == MANY, "lane %u", lane);
        for (int64_t i = 0; i < MANY; i++) {
            CHECK(numbers[i] == lane * 1000000 + i, "lane %u, number %lld", lane, (long long)i);
        }
        int64_t rest = lane ? 100 : 0;
        CHECK(read_some(source, 1, lane, rest, numbers, PATIENCE_MS) == rest, "lane %u", lane);
    }
    printf("  %d partitions of %d messages, each once and in order, in %lld ms\n", LANES, MANY,
           (long long)(now_ms() - begin));
    CHECK(read_some(source, 0, 3, 1, numbers, 300) == 0, "nothing more");
    // A wait wakes when something comes, and soon.
    source->operations->wait(source, 0); // what earlier arrivals left
    produce(producer, "one", 5, 1, 1, 0);
    begin = now_ms();
    while (read_some(source, 0, 5, 1, numbers, 1) == 0) {
        source->operations->wait(source, ANSWER_MS);
    }
    CHECK(now_ms() - begin < 2000, "%lld ms", (long long)(now_ms() - begin));
    printf("  a wait wakes for a message\n");
    CHECK(await_caught_up(source, true, ANSWER_MS), "caught up");
    CHECK(position_of(source, 0).end == MANY, "%lld", (long long)position_of(source, 0).end);
    char *statistics = NULL;
    for (int64_t end = now_ms() + 8000; !statistics && now_ms() < end; usleep(50000)) {
        statistics = source->operations->statistics(source);
    }
    CHECK(statistics && statistics[0] == '{' && strstr(statistics, "\"rtt\""), "statistics");
    free(statistics);
    source->operations->close(source);

    // From explicit offsets, to explicit ends, and from the end.
    int64_t offsets[LANES], ends[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        offsets[lane] = lane == 2 ? CONSUMER_OFFSET_EARLIEST : 100 * lane;
        ends[lane] = 100 * lane + 50;
    }
    config = config_of("one");
    config.offsets = offsets;
    config.ends = ends;
    config.offset_lanes = LANES;
    source = open_source(&config);
    for (uint32_t lane = 0; lane < LANES; lane++) {
        int64_t first = lane == 2 ? 0 : 100 * (int64_t)lane;
        int64_t count = ends[lane] - first;
        CHECK(read_some(source, 0, lane, count, numbers, PATIENCE_MS) == count, "lane %u", lane);
        CHECK(numbers[0] == lane * 1000000 + first, "lane %u", lane);
        CHECK(position_of(source, lane).finished, "lane %u", lane);
        CHECK(read_some(source, 0, lane, 1, numbers, 50) == 0, "no message behind the end");
    }
    source->operations->close(source);
    config = config_of("one");
    config.start = CONSUMER_OFFSET_LATEST;
    source = open_source(&config);
    CHECK(position_of(source, 1).next == MANY, "latest is an actual offset");
    produce(producer, "one", 1, 7, 3, 0);
    CHECK(read_some(source, 0, 1, 3, numbers, PATIENCE_MS) == 3 && numbers[0] == 7, "from the end");
    source->operations->close(source);
    printf("  explicit offsets and ends, latest\n");
    flush(producer);
    rd_kafka_destroy(producer);
}

static void check_refusals(void)
{
    administrate(ADMIN_CREATE, "three", 3);
    struct consumer_kafka_config config = config_of("one");
    config.ranks = 2;
    config.topics[1] = "three";
    refused(&config, BASE_EINVAL, "one 8, three 3");
    config.topics[1] = "nowhere";
    refused(&config, BASE_ENOTFOUND, "nowhere");
    int64_t beyond[3] = {0, 0, 1};
    config = config_of("three");
    config.offsets = beyond;
    config.offset_lanes = 3;
    refused(&config, BASE_ENOTFOUND, "beyond the log's end");
    // A port where nobody listens.
    config = config_of("three");
    config.bootstrap = "127.0.0.1:1";
    config.timeout_ms = 1500;
    int64_t begin = now_ms();
    refused(&config, BASE_ENETWORK, "127.0.0.1:1");
    CHECK(error.retriable && now_ms() - begin < 5000, "after %lld ms", (long long)(now_ms() - begin));
}

static void check_transactions(void)
{
    int64_t numbers[100];
    administrate(ADMIN_CREATE, "tx", 1);
    rd_kafka_t *producer = producer_new("tx");
    transaction(producer, rd_kafka_begin_transaction(producer));
    produce(producer, "tx", 0, 0, 5, 0); // 0..4, marker 5
    transaction(producer, rd_kafka_commit_transaction(producer, PATIENCE_MS));
    struct consumer_kafka_config config = config_of("tx");
    struct consumer_source *source = open_source(&config);
    CHECK(read_some(source, 0, 0, 5, numbers, PATIENCE_MS) == 5 && numbers[4] == 4, "committed");
    CHECK(await_caught_up(source, true, ANSWER_MS), "caught up behind a marker");
    CHECK(position_of(source, 0).next == 6, "%lld", (long long)position_of(source, 0).next);

    transaction(producer, rd_kafka_begin_transaction(producer));
    produce(producer, "tx", 0, 100, 4, 0); // 6..9, open
    flush(producer);
    CHECK(await_caught_up(source, false, 3000), "an open transaction shows");
    CHECK(!await_caught_up(source, true, 3000), "an open transaction is not idleness");
    CHECK(position_of(source, 0).next == 6 && position_of(source, 0).end == 10, "%lld of %lld",
          (long long)position_of(source, 0).next, (long long)position_of(source, 0).end);
    config.bounded_now = true;
    struct consumer_source *bounded = open_source(&config);
    CHECK(read_some(bounded, 0, 0, 5, numbers, PATIENCE_MS) == 5, "bounded");
    await_finished(bounded, 0);
    CHECK(position_of(bounded, 0).next == 6, "the end as of open is the last stable offset");
    bounded->operations->close(bounded);
    config = config_of("tx");
    config.start = CONSUMER_OFFSET_LATEST;
    struct consumer_source *latest = open_source(&config);
    CHECK(position_of(latest, 0).next == 6, "latest is the last stable offset");
    transaction(producer, rd_kafka_abort_transaction(producer, PATIENCE_MS)); // marker 10
    CHECK(await_caught_up(source, true, ANSWER_MS), "caught up behind an aborted transaction");
    CHECK(position_of(source, 0).next == 11, "%lld", (long long)position_of(source, 0).next);
    CHECK(await_caught_up(latest, true, ANSWER_MS), "likewise");
    latest->operations->close(latest);
    config = config_of("tx");
    config.bounded_now = true;
    bounded = open_source(&config);
    CHECK(read_some(bounded, 0, 0, 5, numbers, PATIENCE_MS) == 5, "bounded");
    await_finished(bounded, 0); // at 11, through the hole
    CHECK(position_of(bounded, 0).next == 11 && position_of(bounded, 0).end == 11, "end");
    bounded->operations->close(bounded);
    // An end in the middle of the hole is reached as well, and one below it.
    int64_t ends[] = {8, 6};
    for (int i = 0; i < 2; i++) {
        config = config_of("tx");
        config.ends = &ends[i];
        config.offset_lanes = 1;
        bounded = open_source(&config);
        CHECK(read_some(bounded, 0, 0, 5, numbers, PATIENCE_MS) == 5, "bounded");
        await_finished(bounded, 0);
        bounded->operations->close(bounded);
    }

    transaction(producer, rd_kafka_begin_transaction(producer));
    produce(producer, "tx", 0, 200, 3, 0);
    transaction(producer, rd_kafka_commit_transaction(producer, PATIENCE_MS));
    CHECK(read_some(source, 0, 0, 3, numbers, PATIENCE_MS) == 3 && numbers[0] == 200, "after the hole");
    source->operations->close(source);
    rd_kafka_destroy(producer);
    printf("  committed, open and aborted transactions; holes at a bounded end\n");
}

static void check_trim(void)
{
    int64_t numbers[1];
    struct consumer_message messages[BATCH];
    administrate(ADMIN_CREATE, "trim", 1);
    rd_kafka_t *producer = producer_new(NULL);
    produce(producer, "trim", 0, 0, 400, 50000); // 20 MB
    flush(producer);
    // A small memory keeps the fetcher near the beginning while the log is cut above it.
    struct consumer_kafka_config config = config_of("trim");
    config.memory_mb = 1;
    struct consumer_source *source = open_source(&config);
    CHECK(read_some(source, 0, 0, 1, numbers, PATIENCE_MS) == 1, "first");
    administrate(ADMIN_TRIM, "trim", 300);
    int64_t last = 0;
    int count = 0;
    for (int64_t end = now_ms() + PATIENCE_MS; count >= 0 && now_ms() < end;) {
        count = source->operations->poll(source, 0, 0, 20, messages, BATCH, &error);
        for (int i = 0; i < count; i++) {
            CHECK(messages[i].offset == ++last, "no gap: %lld", (long long)messages[i].offset);
        }
    }
    CHECK(count < 0 && !error.retriable && error.code == BASE_ENOTFOUND && last < 299, "%d %s at %lld", count,
          error.text, (long long)last);
    printf("  told: %s\n", error.text);
    CHECK(source->operations->poll(source, 0, 0, 0, messages, 1, &error) == -1, "and again");
    source->operations->close(source);
    int64_t offset = 5;
    config = config_of("trim");
    config.offsets = &offset;
    config.offset_lanes = 1;
    refused(&config, BASE_ENOTFOUND, "the log begins at 300");
    config = config_of("trim");
    source = open_source(&config);
    CHECK(position_of(source, 0).next == 300, "earliest is the log's begin");
    CHECK(read_some(source, 0, 0, 1, numbers, PATIENCE_MS) == 1 && numbers[0] == 300, "from there");
    source->operations->close(source);
    rd_kafka_destroy(producer);
}

static void check_pause(void)
{
    administrate(ADMIN_CREATE, "pause", 1);
    struct consumer_kafka_config config = config_of("pause");
    struct consumer_source *source = open_source(&config);
    CHECK(await_caught_up(source, true, ANSWER_MS), "an empty partition is caught up");
    kafka_verb("pause");
    CHECK(await_caught_up(source, false, 6000), "silence is not idleness");
    CHECK(!await_caught_up(source, true, 2000), "nor later");
    kafka_verb("resume");
    CHECK(await_caught_up(source, true, ANSWER_MS), "back");
    source->operations->close(source);
    printf("  a frozen broker's partitions are not caught up\n");
}

// Consumes while the broker is killed and comes back: no gap, no duplicate.
static void check_crash(void)
{
    enum { COUNT = 3000, KILL_AT = 1000 };
    static int64_t numbers[LANES][COUNT];
    int64_t have[LANES] = {0};
    administrate(ADMIN_CREATE, "crash", LANES);
    rd_kafka_t *producer = producer_new(NULL);
    struct consumer_kafka_config config = config_of("crash");
    struct consumer_source *source = open_source(&config);
    int64_t produced = 0, total = 0, begin = 0, back = 0;
    bool noticed = false;
    for (int64_t end = now_ms() + 90000; total < LANES * COUNT && now_ms() < end;) {
        if (produced < COUNT) {
            for (int32_t lane = 0; lane < LANES; lane++) {
                produce(producer, "crash", lane, produced, 20, 0);
            }
            produced += 20;
            if (produced == KILL_AT) {
                kafka_verb("kill9");
                begin = now_ms();
            }
            if (produced == KILL_AT + 500) {
                kafka_verb("start");
                back = now_ms();
            }
        }
        rd_kafka_poll(producer, 1);
        for (uint32_t lane = 0; lane < LANES; lane++) {
            struct consumer_message messages[BATCH];
            int count = source->operations->poll(source, 0, lane, 0, messages, BATCH, &error);
            CHECK(count >= 0 || error.retriable, "%s", error.text);
            noticed = noticed || count < 0;
            for (int i = 0; i < count; i++) {
                CHECK(have[lane] < COUNT, "a duplicate");
                memcpy(&numbers[lane][have[lane]], messages[i].value.data, sizeof(int64_t));
                CHECK(numbers[lane][have[lane]] == have[lane], "lane %u: %lld where %lld is next", lane,
                      (long long)numbers[lane][have[lane]], (long long)have[lane]);
                have[lane]++;
                total++;
            }
        }
    }
    CHECK(total == LANES * COUNT, "%lld of %d", (long long)total, LANES * COUNT);
    CHECK(noticed, "the loss was told as a passing error");
    printf("  the broker killed and started again: %d messages, no gap, no duplicate; away %lld ms, "
           "all read %lld ms after\n",
           LANES * COUNT, (long long)(back - begin), (long long)(now_ms() - back));
    CHECK(await_caught_up(source, true, ANSWER_MS), "caught up");
    source->operations->close(source);
    flush(producer);
    rd_kafka_destroy(producer);
}

static void check_growth(void)
{
    administrate(ADMIN_CREATE, "grow", 2);
    struct consumer_kafka_config config = config_of("grow");
    struct consumer_source *source = open_source(&config);
    administrate(ADMIN_GROW, "grow", 4);
    struct consumer_message message;
    int count = 0;
    for (int64_t end = now_ms() + 20000; count == 0 && now_ms() < end;) {
        count = source->operations->poll(source, 0, 0, 50, &message, 1, &error);
    }
    CHECK(count == -1 && !error.retriable && error.code == BASE_ECONFLICT, "%s", error.text);
    printf("  told: %s\n", error.text);
    source->operations->close(source);
}

// A tombstone, an empty value, no key.
static void check_nulls(void)
{
    struct consumer_message messages[3];
    administrate(ADMIN_CREATE, "nulls", 1);
    rd_kafka_t *producer = producer_new(NULL);
    rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("nulls"), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_KEY("k", 1),
                      RD_KAFKA_V_END);
    flush(producer);
    rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("nulls"), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_VALUE("", 0),
                      RD_KAFKA_V_END);
    flush(producer);
    struct consumer_kafka_config config = config_of("nulls");
    config.bounded_now = true;
    struct consumer_source *source = open_source(&config);
    int have = 0;
    struct consumer_message seen[2];
    for (int64_t end = now_ms() + ANSWER_MS; have < 2 && now_ms() < end;) {
        int count = source->operations->poll(source, 0, 0, 50, messages, 1, &error);
        CHECK(count >= 0, "%s", error.text);
        if (count == 1) {
            seen[have++] = messages[0];
        }
    }
    CHECK(have == 2, "%d", have);
    CHECK(!seen[0].value.data && seen[0].key.size == 1, "a tombstone");
    CHECK(seen[1].value.data && seen[1].value.size == 0 && !seen[1].key.data, "an empty value");
    await_finished(source, 0);
    source->operations->close(source);
    rd_kafka_destroy(producer);
    printf("  tombstones, empty values, null keys\n");
}

// ---- login ----

static int check_login(char **arguments)
{
    bootstrap = arguments[0];
    struct consumer_kafka_config config = config_of("secret");
    const char *names[] = {"security.protocol", "sasl.mechanism", "sasl.username", "sasl.password",
                           "ssl.ca.location"};
    const char *values[] = {"SASL_SSL", "PLAIN", arguments[1], arguments[2], arguments[3]};
    config.properties = 5;
    for (int i = 0; i < 5; i++) {
        config.property_names[i] = names[i];
        config.property_values[i] = values[i];
    }
    struct consumer_source *source = open_source(&config);
    CHECK(await_caught_up(source, true, ANSWER_MS), "reads over TLS with a login");
    source->operations->close(source);
    printf("  reads over TLS with a login\n");
    config.property_values[3] = "wrong";
    int64_t begin = now_ms();
    refused(&config, BASE_EREFUSED, "refuses the login");
    CHECK(!error.retriable && now_ms() - begin < 5000, "after %lld ms", (long long)(now_ms() - begin));
    config.property_values[3] = arguments[2];
    config.property_values[4] = "/etc/ssl/certs/ca-certificates.crt";
    config.timeout_ms = 1500;
    refused(&config, BASE_ENETWORK, "certificate");
    return 0;
}

int main(int count, char **arguments)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count == 6 && strcmp(arguments[1], "--login") == 0) {
        return check_login(arguments + 2);
    }
    if (count != 5) {
        fprintf(stderr, "usage: kafka_source BOOTSTRAP KAFKA DIR DATA\n");
        return 2;
    }
    bootstrap = arguments[1];
    memcpy(kit, &arguments[2], sizeof kit);
    static const struct {
        const char *name;
        void (*check)(void);
    } scenarios[] = {
        {"batches", check_batches}, {"refusals", check_refusals}, {"transactions", check_transactions},
        {"nulls", check_nulls},     {"trim", check_trim},         {"pause", check_pause},
        {"growth", check_growth},   {"crash", check_crash},
    };
    for (size_t i = 0; i < sizeof scenarios / sizeof scenarios[0]; i++) {
        int64_t begin = now_ms();
        printf("%s\n", scenarios[i].name);
        scenarios[i].check();
        printf("  ok, %lld ms\n", (long long)(now_ms() - begin));
    }
    return 0;
}
