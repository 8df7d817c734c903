// The Kafka source: one librdkafka consumer, partitions assigned by hand, one queue a partition. See kafka.h.
//
// Two handles. The *consumer* fetches, read_committed. The *watcher*, read_uncommitted, is asked each half
// second by a thread of ours for the high watermarks of all partitions (one request a broker). That answers
// what idleness needs: `next` grows only over what the consumer has delivered or was told to be empty
// (an end-of-partition event, raised where a fetch at `next` found nothing stable), so everything below
// `next` is stable; if a fresh high watermark, asked for since `next` was reached, equals it, the last stable
// offset lies between the two and equals them as well. Neither an open transaction nor a broker that has
// fallen silent can pass for idleness.
//
// Holes (transaction markers, aborted records, compaction) are jumped over by the same events, so that a
// bounded partition ends when `next` reaches its end although no record stands there.
//
// Nothing is ever paused, sought or rebalanced, hence reading a queue in batches is safe with old librdkafka.
#include "consumer/kafka.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/wait.h"
#include "consumer/kafka_handle.h"
#include "consumer/log_changed.h"

enum {
    BATCH_MAX = 1024,          // messages of one poll
    WATCH_MS = 500,            // between two questions for high watermarks
    FRESH_MS = 2500,           // an answer older than this is not fresh
    SERVE_MS = 100,            // between two looks at librdkafka's callbacks
    PARTITIONS_MS = 10000,     // between two looks at the number of partitions
    WATCH_TIMEOUT_MS = 1000,   // of such a question
    WATCH_UNANSWERED = 3,      // questions in a row without an answer: the broker is away
    BOUNDS_TIMEOUT_MS = 3000,  // of the question where a log begins and ends, before an error is told
    TIMEOUT_DEFAULT_MS = 30000 // where the configuration says 0
};

struct partition {
    rd_kafka_queue_t *queue;
    rd_kafka_message_t **held; // [BATCH_MAX] of the last poll
    int held_count;
    int64_t next;
    int64_t reached_ns; // when `next` was reached: older answers say nothing about it
    int64_t end;        // bounded; INT64_MAX: unbounded
    bool finished;      // next >= end
};

struct kafka {
    struct consumer_source source;
    char *bootstrap;
    char *topics[CONSUMER_TOPICS_MAX];
    uint32_t count; // partitions of all topics
    rd_kafka_t *consumer;
    rd_kafka_t *watcher;
    struct consumer_kafka_trouble trouble;
    struct consumer_kafka_ear consumer_ear;
    struct consumer_kafka_ear watcher_ear;
    int wake; // eventfd: some queue has become non-empty
    struct partition *partitions;

    pthread_t thread;
    bool running;
    uint32_t unanswered;   // questions, since the last answer; the watching thread's
    pthread_mutex_t mutex; // guards what follows
    pthread_cond_t stopped;
    bool stop;
    int64_t *high;     // [count] high watermarks; -1: not known
    int64_t answer_ns; // when the question they answer was sent
};

static struct kafka *kafka_of(struct consumer_source *source)
{
    return (struct kafka *)source;
}

static struct partition *kafka_partition(struct kafka *kafka, uint32_t rank, uint32_t lane)
{
    assert(rank < kafka->source.ranks && lane < kafka->source.lanes);
    return &kafka->partitions[rank * kafka->source.lanes + lane];
}

// ---- the watching thread ----

// The configuration as far as the questions need it.
static struct consumer_kafka_config kafka_names(const struct kafka *kafka)
{
    struct consumer_kafka_config config = {.bootstrap = kafka->bootstrap, .ranks = kafka->source.ranks};
    for (uint32_t rank = 0; rank < config.ranks; rank++) {
        config.topics[rank] = kafka->topics[rank];
    }
    return config;
}

// A log only grows. Whether what was read is still in it is seen at the start, where it is compared.
static void kafka_went_back(struct kafka *kafka, uint32_t index, int64_t high)
{
    struct base_error error;
    base_error_set(
        &error, BASE_ECONFLICT,
        "topic %s, partition %u: the log's end has gone back from offset %lld to %lld: it was "
        "truncated, or the topic was made anew; start again: the log is then compared with what was read "
        "of it, and if it is another one, the command is named that goes on (freshet skip)",
        kafka->topics[index / kafka->source.lanes], index % kafka->source.lanes,
        (long long)kafka->high[index], (long long)high);
    error.fatal = true;
    consumer_kafka_trouble_last(&kafka->trouble, &error);
}

static void kafka_watch_ends(struct kafka *kafka, int64_t *high)
{
    struct consumer_kafka_config names = kafka_names(kafka);
    struct base_error error;
    int64_t asked_ns = base_clock_monotonic_ns(&base_clock_system);
    // The answer that we have grows old. librdkafka itself does not tell of a broker that is frozen, nor
    // always of one that is gone.
    if (consumer_kafka_handle_offsets(kafka->watcher, &kafka->watcher_ear, &names, kafka->source.lanes,
                                      CONSUMER_OFFSET_LATEST, WATCH_TIMEOUT_MS, high, &error)) {
        if (++kafka->unanswered == WATCH_UNANSWERED && error.code == BASE_ENETWORK) {
            consumer_kafka_trouble_pass(&kafka->trouble, &error);
        }
        return;
    }
    kafka->unanswered = 0;
    for (uint32_t i = 0; i < kafka->count; i++) {
        if (high[i] < kafka->high[i]) {
            kafka_went_back(kafka, i, high[i]);
        }
    }
    pthread_mutex_lock(&kafka->mutex);
    memcpy(kafka->high, high, kafka->count * sizeof *high);
    kafka->answer_ns = asked_ns;
    pthread_mutex_unlock(&kafka->mutex);
}

static int kafka_grown(const char *topic, uint32_t lanes, uint32_t found, struct base_error *error)
{
    base_error_set(
        error, BASE_ECONFLICT,
        "topic %s has grown from %u to %u partitions, and keys now lie in others than before; give "
        "every topic as many, and go on with: freshet skip -c FILE --partitions %u (or begin anew with "
        "another state_dir)",
        topic, lanes, found, found);
    error->fatal = true;
    return -1;
}

// Records of a partition that nobody reads would be lost to the join without a word.
static void kafka_watch_partitions(struct kafka *kafka)
{
    for (uint32_t rank = 0; rank < kafka->source.ranks; rank++) {
        uint32_t found = 0;
        struct base_error error;
        if (consumer_kafka_handle_partitions(kafka->watcher, &kafka->watcher_ear, kafka->topics[rank],
                                             WATCH_TIMEOUT_MS, &found, &error)) {
            return; // unreachable, or on its way out: the consumer will say so
        }
        if (found > kafka->source.lanes) {
            kafka_grown(kafka->topics[rank], kafka->source.lanes, found, &error);
            consumer_kafka_trouble_last(&kafka->trouble, &error);
        }
    }
}

// Waits SERVE_MS or until the stop. True: stop.
static bool kafka_watch_pause(struct kafka *kafka)
{
    struct timespec deadline = base_wait_deadline(SERVE_MS);
    pthread_mutex_lock(&kafka->mutex);
    if (!kafka->stop) {
        base_wait_until(&kafka->stopped, &kafka->mutex, &deadline);
    }
    bool stop = kafka->stop;
    pthread_mutex_unlock(&kafka->mutex);
    return stop;
}

static void *kafka_watch(void *context)
{
    struct kafka *kafka = context;
    int64_t *high = base_alloc_zeroed(kafka->count, sizeof *high);
    int64_t ends_ns = base_clock_monotonic_ns(&base_clock_system);
    int64_t partitions_ns = ends_ns + PARTITIONS_MS * INT64_C(1000000);
    do {
        rd_kafka_poll(kafka->consumer, 0); // error, statistics callbacks
        rd_kafka_poll(kafka->watcher, 0);
        int64_t now_ns = base_clock_monotonic_ns(&base_clock_system);
        if (now_ns >= ends_ns) {
            kafka_watch_ends(kafka, high);
            ends_ns = now_ns + WATCH_MS * INT64_C(1000000);
        }
        if (now_ns >= partitions_ns) {
            kafka_watch_partitions(kafka);
            partitions_ns = now_ns + PARTITIONS_MS * INT64_C(1000000);
        }
    } while (!kafka_watch_pause(kafka));
    free(high);
    return NULL;
}

// ---- operations ----

static void partition_release(struct partition *partition)
{
    for (int i = 0; i < partition->held_count; i++) {
        rd_kafka_message_destroy(partition->held[i]);
    }
    partition->held_count = 0;
}

static void partition_reach(struct partition *partition, int64_t next)
{
    if (next > partition->next) {
        partition->next = next;
    }
    partition->finished = partition->next >= partition->end;
}

static bool kafka_out_of_range(rd_kafka_resp_err_t code)
{
#if RD_KAFKA_VERSION >= 0x020100ff
    if (code == RD_KAFKA_RESP_ERR__LOG_TRUNCATION) {
        return true;
    }
#endif
    return code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
}

// What is wanted next is not in the log: where does that begin and end now?
static void kafka_lacks(struct kafka *kafka, const char *topic, uint32_t lane, int64_t wanted,
                        const char *text, struct base_error *error)
{
    int64_t low = 0, high = 0;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(kafka->watcher, topic, (int32_t)lane, &low,
                                                                &high, BOUNDS_TIMEOUT_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && (wanted < low || wanted > high)) {
        consumer_log_lacks(error, topic, lane, wanted, low, high);
        return;
    }
    base_error_set(
        error, BASE_ENOTFOUND,
        "topic %s, partition %u: offset %lld was not in the log (%s): start again: where the log begins "
        "is then compared with what was read of it",
        topic, lane, (long long)wanted, text);
}

// An error that came through the partition's queue.
static void kafka_take_error(struct kafka *kafka, const char *topic, uint32_t lane, int64_t next,
                             const rd_kafka_message_t *raw)
{
    struct base_error error;
    const char *text = rd_kafka_message_errstr(raw);
    if (consumer_kafka_handle_heals(raw->err)) {
        consumer_kafka_trouble_note(&kafka->trouble, text);
        return;
    }
    if (kafka_out_of_range(raw->err)) {
        kafka_lacks(kafka, topic, lane, raw->offset >= 0 ? raw->offset : next, text, &error);
        consumer_kafka_trouble_last(&kafka->trouble, &error);
        return;
    }
    switch (raw->err) {
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
        consumer_log_changed(
            &error, BASE_EFORMAT, topic, lane, "--to OFFSET",
            "corrupt data at offset %lld: %s; to go on after it, at the first offset that can be "
            "read",
            (long long)raw->offset, text);
        break;
    default:
        base_error_set(&error, BASE_EREFUSED, "topic %s, partition %u: %s (%s)", topic, lane, text,
                       rd_kafka_err2name(raw->err));
        break;
    }
    consumer_kafka_trouble_last(&kafka->trouble, &error);
}

static void message_fill(struct consumer_message *message, uint32_t rank, uint32_t lane,
                         const rd_kafka_message_t *raw)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(raw, &type);
    *message = (struct consumer_message){
        .rank = rank,
        .lane = lane,
        .offset = raw->offset,
        .timestamp = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp,
        .key = base_span_make(raw->key, raw->key_len),
        .value = base_span_make(raw->payload, raw->len),
    };
}

// Waits for the first message only: librdkafka's own wait goes on until the batch is full.
static int partition_fetch(struct partition *partition, int timeout_ms, int max)
{
    ssize_t count = rd_kafka_consume_batch_queue(partition->queue, 0, partition->held, (size_t)max);
    if (count == 0 && timeout_ms > 0) {
        count = rd_kafka_consume_batch_queue(partition->queue, timeout_ms, partition->held, 1);
        if (count == 1 && max > 1) {
            ssize_t more =
                rd_kafka_consume_batch_queue(partition->queue, 0, partition->held + 1, (size_t)(max - 1));
            count += more > 0 ? more : 0;
        }
    }
    return count > 0 ? (int)count : 0;
}

static int kafka_poll(struct consumer_source *source, uint32_t rank, uint32_t lane, int timeout_ms,
                      struct consumer_message *messages, int max, struct base_error *error)
{
    struct kafka *kafka = kafka_of(source);
    struct partition *partition = kafka_partition(kafka, rank, lane);
    assert(max > 0);
    partition_release(partition);
    if (consumer_kafka_trouble_take(&kafka->trouble, error)) {
        return -1;
    }
    if (partition->finished) {
        return 0;
    }
    partition->held_count = partition_fetch(partition, timeout_ms, max < BATCH_MAX ? max : BATCH_MAX);
    int count = 0;
    int64_t before = partition->next;
    for (int i = 0; i < partition->held_count && !partition->finished; i++) {
        const rd_kafka_message_t *raw = partition->held[i];
        if (raw->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            partition_reach(partition, raw->offset);
        } else if (raw->err) {
            kafka_take_error(kafka, kafka->topics[rank], lane, partition->next, raw);
        } else if (raw->offset >= partition->end) {
            partition_reach(partition, partition->end);
        } else if (raw->offset >= partition->next) { // below: delivered before
            message_fill(&messages[count++], rank, lane, raw);
            partition_reach(partition, raw->offset + 1);
        }
    }
    if (partition->next != before) {
        partition->reached_ns = base_clock_monotonic_ns(&base_clock_system);
    }
    // What came before an error is delivered first; the next poll tells the error.
    return count == 0 && consumer_kafka_trouble_take(&kafka->trouble, error) ? -1 : count;
}

static void kafka_wait(struct consumer_source *source, int timeout_ms)
{
    struct kafka *kafka = kafka_of(source);
    struct pollfd wanted = {.fd = kafka->wake, .events = POLLIN};
    if (poll(&wanted, 1, timeout_ms) > 0) {
        uint64_t count;
        ssize_t got = read(kafka->wake, &count, sizeof count);
        assert(got == sizeof count); // we alone read it
    }
}

static void kafka_position(struct consumer_source *source, uint32_t rank, uint32_t lane,
                           struct consumer_position *position)
{
    struct kafka *kafka = kafka_of(source);
    struct partition *partition = kafka_partition(kafka, rank, lane);
    pthread_mutex_lock(&kafka->mutex);
    int64_t high = kafka->high[rank * source->lanes + lane];
    int64_t answer_ns = kafka->answer_ns;
    pthread_mutex_unlock(&kafka->mutex);
    int64_t age_ns = base_clock_monotonic_ns(&base_clock_system) - answer_ns;
    int64_t end = high < partition->end ? high : partition->end;
    *position = (struct consumer_position){
        .next = partition->next,
        // An answer may be older than what has come since.
        .end = end >= 0 && end < partition->next ? partition->next : end,
        .caught_up = high == partition->next && answer_ns >= partition->reached_ns &&
                     age_ns <= FRESH_MS * INT64_C(1000000),
        .fresh_ns = answer_ns,
        .finished = partition->finished,
    };
}

static void kafka_commit(struct consumer_source *source, const int64_t *offsets)
{
    struct kafka *kafka = kafka_of(source);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)kafka->count);
    for (uint32_t i = 0; i < kafka->count; i++) {
        rd_kafka_topic_partition_list_add(list, kafka->topics[i / source->lanes],
                                          (int32_t)(i % source->lanes))
            ->offset = offsets[i];
    }
    rd_kafka_commit(kafka->consumer, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}

static char *kafka_statistics(struct consumer_source *source)
{
    struct consumer_kafka_ear *ear = &kafka_of(source)->consumer_ear;
    pthread_mutex_lock(&ear->mutex);
    char *copy = ear->statistics ? strdup(ear->statistics) : NULL;
    pthread_mutex_unlock(&ear->mutex);
    return copy;
}

static void kafka_close(struct consumer_source *source)
{
    struct kafka *kafka = kafka_of(source);
    if (kafka->running) {
        pthread_mutex_lock(&kafka->mutex);
        kafka->stop = true;
        pthread_cond_signal(&kafka->stopped);
        pthread_mutex_unlock(&kafka->mutex);
        pthread_join(kafka->thread, NULL);
    }
    for (uint32_t i = 0; kafka->partitions && i < kafka->count; i++) {
        struct partition *partition = &kafka->partitions[i];
        partition_release(partition);
        free(partition->held);
        if (partition->queue) {
            rd_kafka_queue_io_event_enable(partition->queue, -1, NULL, 0);
            rd_kafka_queue_destroy(partition->queue);
        }
    }
    if (kafka->consumer) {
        rd_kafka_assign(kafka->consumer, NULL);
        // There is no group to leave and no offset to store: the orderly close would only wait.
        rd_kafka_destroy_flags(kafka->consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    if (kafka->watcher) {
        rd_kafka_destroy_flags(kafka->watcher, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    if (kafka->wake >= 0) {
        close(kafka->wake);
    }
    consumer_kafka_trouble_done(&kafka->trouble);
    pthread_mutex_destroy(&kafka->consumer_ear.mutex);
    pthread_mutex_destroy(&kafka->watcher_ear.mutex);
    pthread_mutex_destroy(&kafka->mutex);
    pthread_cond_destroy(&kafka->stopped);
    for (uint32_t rank = 0; rank < kafka->source.ranks; rank++) {
        free(kafka->topics[rank]);
    }
    free(kafka->consumer_ear.statistics);
    free(kafka->watcher_ear.statistics);
    free(kafka->bootstrap);
    free(kafka->partitions);
    free(kafka->high);
    free(kafka);
}

static const struct consumer_source_operations kafka_operations = {
    .poll = kafka_poll,
    .wait = kafka_wait,
    .position = kafka_position,
    .schema = NULL, // no bare messages
    .commit = kafka_commit,
    .statistics = kafka_statistics,
    .close = kafka_close,
};

// ---- opening ----

static struct kafka *kafka_new(const struct consumer_kafka_config *config)
{
    struct kafka *kafka = base_alloc_zeroed(1, sizeof *kafka);
    kafka->source.operations = &kafka_operations;
    kafka->source.ranks = config->ranks;
    kafka->bootstrap = strdup(config->bootstrap);
    for (uint32_t rank = 0; rank < config->ranks; rank++) {
        kafka->topics[rank] = strdup(config->topics[rank]);
    }
    kafka->wake = -1;
    consumer_kafka_trouble_init(&kafka->trouble);
    kafka->consumer_ear = (struct consumer_kafka_ear){&kafka->trouble, kafka->bootstrap, .main = true};
    kafka->watcher_ear = (struct consumer_kafka_ear){&kafka->trouble, kafka->bootstrap, .main = false};
    pthread_mutex_init(&kafka->consumer_ear.mutex, NULL);
    pthread_mutex_init(&kafka->watcher_ear.mutex, NULL);
    pthread_mutex_init(&kafka->mutex, NULL);
    base_wait_init(&kafka->stopped);
    return kafka;
}

// All topics must have as many partitions as each other: sets lanes and count.
static int kafka_count_partitions(struct kafka *kafka, int timeout_ms, struct base_error *error)
{
    uint32_t counts[CONSUMER_TOPICS_MAX];
    char list[BASE_ERROR_TEXT_MAX] = "";
    bool equal = true;
    for (uint32_t rank = 0; rank < kafka->source.ranks; rank++) {
        if (consumer_kafka_handle_partitions(kafka->watcher, &kafka->watcher_ear, kafka->topics[rank],
                                             timeout_ms, &counts[rank], error)) {
            return -1;
        }
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s %u", rank ? ", " : "", kafka->topics[rank],
                 counts[rank]);
        equal = equal && counts[rank] == counts[0];
    }
    if (!equal) {
        return base_error_set(error, BASE_EINVAL, "topics must have equal partition counts, these have: %s",
                              list);
    }
    if (counts[0] > CONSUMER_LANES_MAX) {
        return base_error_set(error, BASE_ELIMIT, "topics have %u partitions, at most %d are possible",
                              counts[0], CONSUMER_LANES_MAX);
    }
    kafka->source.lanes = counts[0];
    kafka->count = kafka->source.ranks * counts[0];
    return 0;
}

// The first offset of a partition, checked against the log. `unread`: see struct consumer_kafka_config; -1:
// none.
static int kafka_first_offset(const struct kafka *kafka, uint32_t index, int64_t wanted, int64_t unread,
                              int64_t low, int64_t stable, int64_t *next, struct base_error *error)
{
    const char *topic = kafka->topics[index / kafka->source.lanes];
    uint32_t lane = index % kafka->source.lanes;
    if (wanted == CONSUMER_OFFSET_EARLIEST || wanted == CONSUMER_OFFSET_LATEST) {
        *next = wanted == CONSUMER_OFFSET_EARLIEST ? low : stable;
        return 0;
    }
    if (wanted < low && low <= unread) {
        wanted = unread;
    }
    if (wanted < low || wanted > kafka->high[index]) {
        return consumer_log_lacks(error, topic, lane, unread > wanted ? unread : wanted, low,
                                  kafka->high[index]);
    }
    *next = wanted;
    return 0;
}

// Where each partition begins and ends, in actual offsets.
static int kafka_place(struct kafka *kafka, const struct consumer_kafka_config *config, int timeout_ms,
                       struct base_error *error)
{
    int result = -1;
    int64_t *low = base_alloc_zeroed(kafka->count, sizeof *low);
    int64_t *stable = base_alloc_zeroed(kafka->count, sizeof *stable);
    kafka->answer_ns = base_clock_monotonic_ns(&base_clock_system);
    uint32_t lanes = kafka->source.lanes;
    // The stable offset before the high watermark, so that the latter is never below it.
    if (consumer_kafka_handle_offsets(kafka->consumer, &kafka->consumer_ear, config, lanes,
                                      CONSUMER_OFFSET_EARLIEST, timeout_ms, low, error) ||
        consumer_kafka_handle_offsets(kafka->consumer, &kafka->consumer_ear, config, lanes,
                                      CONSUMER_OFFSET_LATEST, timeout_ms, stable, error) ||
        consumer_kafka_handle_offsets(kafka->watcher, &kafka->watcher_ear, config, lanes,
                                      CONSUMER_OFFSET_LATEST, timeout_ms, kafka->high, error)) {
        goto out;
    }
    for (uint32_t i = 0; i < kafka->count; i++) {
        struct partition *partition = &kafka->partitions[i];
        partition->end = config->ends ? config->ends[i] : config->bounded_now ? stable[i] : INT64_MAX;
        int64_t wanted = config->offsets ? config->offsets[i] : config->start;
        int64_t unread = config->unread ? config->unread[i] : -1;
        if (kafka_first_offset(kafka, i, wanted, unread, low[i], stable[i], &partition->next, error)) {
            goto out;
        }
        partition->finished = partition->next >= partition->end;
    }
    result = 0;
out:
    free(low);
    free(stable);
    return result;
}

// A queue for each partition, then the assignment, which begins to fetch.
static int kafka_assign(struct kafka *kafka, struct base_error *error)
{
    kafka->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (kafka->wake < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "eventfd");
    }
    static const uint64_t one = 1;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)kafka->count);
    for (uint32_t i = 0; i < kafka->count; i++) {
        struct partition *partition = &kafka->partitions[i];
        const char *topic = kafka->topics[i / kafka->source.lanes];
        int32_t lane = (int32_t)(i % kafka->source.lanes);
        partition->held = base_alloc_zeroed(BATCH_MAX, sizeof *partition->held);
        if (partition->finished) {
            continue;
        }
        partition->queue = rd_kafka_queue_get_partition(kafka->consumer, topic, lane);
        assert(partition->queue);
        // Before the assignment, which would forward it to the consumer's own queue.
        rd_kafka_queue_forward(partition->queue, NULL);
        rd_kafka_queue_io_event_enable(partition->queue, kafka->wake, &one, sizeof one);
        rd_kafka_topic_partition_list_add(list, topic, lane)->offset = partition->next;
    }
    rd_kafka_resp_err_t code = rd_kafka_assign(kafka->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code) {
        return base_error_set(error, BASE_EREFUSED, "Kafka client does not take the partitions: %s",
                              rd_kafka_err2str(code));
    }
    return 0;
}

static int kafka_check(const struct consumer_kafka_config *config, struct base_error *error)
{
    if (!config->bootstrap || !config->bootstrap[0]) {
        return base_error_set(error, BASE_EINVAL, "no Kafka broker is configured");
    }
    if (config->ranks == 0 || config->ranks > CONSUMER_TOPICS_MAX) {
        return base_error_set(error, BASE_EINVAL, "%u topics are configured, 1 to %d are possible",
                              config->ranks, CONSUMER_TOPICS_MAX);
    }
    if (!config->offsets && config->start != CONSUMER_OFFSET_EARLIEST &&
        config->start != CONSUMER_OFFSET_LATEST) {
        return base_error_set(error, BASE_EINVAL, "start %lld is neither earliest nor latest",
                              (long long)config->start);
    }
    assert(config->properties <= CONSUMER_KAFKA_PROPERTIES_MAX);
    return 0;
}

struct consumer_source *consumer_kafka_open(const struct consumer_kafka_config *config,
                                            struct base_error *error)
{
    if (kafka_check(config, error)) {
        return NULL;
    }
    int timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
    struct kafka *kafka = kafka_new(config);
    kafka->watcher = consumer_kafka_handle_new(config, 1, &kafka->watcher_ear, error);
    if (!kafka->watcher || kafka_count_partitions(kafka, timeout_ms, error)) {
        goto fail;
    }
    if ((config->offsets || config->ends) && config->offset_lanes != kafka->source.lanes) {
        if (config->unread && config->offset_lanes < kafka->source.lanes) {
            kafka_grown(config->topics[0], config->offset_lanes, kafka->source.lanes, error);
        } else {
            base_error_set(error, BASE_ECONFLICT,
                           "topic %s has %u partitions, the offsets to read from are for %u",
                           config->topics[0], kafka->source.lanes, config->offset_lanes);
        }
        goto fail;
    }
    kafka->partitions = base_alloc_zeroed(kafka->count, sizeof *kafka->partitions);
    kafka->high = base_alloc_zeroed(kafka->count, sizeof *kafka->high);
    kafka->consumer = consumer_kafka_handle_new(config, kafka->count, &kafka->consumer_ear, error);
    if (!kafka->consumer || kafka_place(kafka, config, timeout_ms, error) || kafka_assign(kafka, error)) {
        goto fail;
    }
    int failure = pthread_create(&kafka->thread, NULL, kafka_watch, kafka);
    if (failure) {
        base_error_set_errno(error, BASE_ENOMEM, failure, "thread of the Kafka source");
        goto fail;
    }
    kafka->running = true;
    return &kafka->source;
fail:
    kafka_close(&kafka->source);
    return NULL;
}

// ---- bounds ----

static int kafka_ask_bounds(struct kafka *kafka, uint32_t rank, uint32_t lane, int timeout_ms, int64_t *low,
                            int64_t *high, struct base_error *error)
{
    uint32_t lanes;
    const char *topic = kafka->topics[rank];
    if (consumer_kafka_handle_partitions(kafka->watcher, &kafka->watcher_ear, topic, timeout_ms, &lanes,
                                         error)) {
        return -1;
    }
    if (lane >= lanes) {
        return base_error_set(error, BASE_ENOTFOUND, "topic %s has %u partitions, no partition %u", topic,
                              lanes, lane);
    }
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(kafka->watcher, topic, (int32_t)lane, low, high, timeout_ms);
    return code ? base_error_set(error, BASE_ENETWORK, "Kafka at %s, topic %s, partition %u: %s",
                                 kafka->bootstrap, topic, lane, rd_kafka_err2str(code))
                : 0;
}

int consumer_kafka_bounds(const struct consumer_kafka_config *config, uint32_t rank, uint32_t lane,
                          int64_t *low, int64_t *high, struct base_error *error)
{
    if (kafka_check(config, error)) {
        return -1;
    }
    assert(rank < config->ranks);
    struct kafka *kafka = kafka_new(config);
    kafka->watcher = consumer_kafka_handle_new(config, 1, &kafka->watcher_ear, error);
    int timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : TIMEOUT_DEFAULT_MS;
    int result = kafka->watcher ? kafka_ask_bounds(kafka, rank, lane, timeout_ms, low, high, error) : -1;
    kafka_close(&kafka->source);
    return result;
}
