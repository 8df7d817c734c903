// Ingest: reading in the order of watermarks, idleness, and ticks in lockstep. See ingest.h.
#include "consumer/ingest.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { INGEST_PATH_MAX = 4096, INGEST_SAMPLES_FIRST = 1024 };

// A topic-partition as ingest sees it.
struct ingest_partition {
    uint32_t rank, lane;
    struct consumer_message *messages; // [CONSUMER_INGEST_BATCH] the last poll's
    int count, next;                   // of messages; those before next are done with
    int64_t blocked_until_ns;          // its next message cannot be decoded before
    bool finished;
    bool idle;
    int64_t quiet_since_ns; // of the first of the answers since that said "caught up"; -1: the last said no
};

struct consumer_ingest {
    struct consumer_ingest_config config;
    const struct base_clock *clock;
    uint32_t lanes;
    uint32_t partitions;
    struct consumer_lane **lane;        // [lanes]
    struct ingest_partition *partition; // [partitions], lane-major
    uint32_t *order;                    // [partitions] scratch: partitions by watermark
    uint32_t unfinished;                // partitions that may still bring a message

    int64_t idle_checked_ns;
    bool all_idle;
    int64_t all_idle_since_ns,
        all_idle_watermark; // when every partition had become idle, and the least watermark

    struct base_sample *samples; // of the present tick
    size_t sample_count, sample_capacity;
    bool settled; // no further tick can be handed over
    uint64_t read, events, dead, future, ticks;
    int64_t frontier;
};

// ---- life -------------------------------------------------------------------

static int ingest_open_lanes(struct consumer_ingest *ingest, struct base_error *error)
{
    for (uint32_t lane = 0; lane < ingest->lanes; lane++) {
        char directory[INGEST_PATH_MAX];
        snprintf(directory, sizeof directory, "%s/lane-%04u", ingest->config.directory, lane);
        struct consumer_lane_config config = ingest->config.lane;
        config.lane = lane;
        config.directory = directory;
        ingest->lane[lane] = consumer_lane_new(&config, error);
        if (!ingest->lane[lane]) {
            return -1;
        }
    }
    return 0;
}

struct consumer_ingest *consumer_ingest_new(const struct consumer_ingest_config *config,
                                            struct base_error *error)
{
    assert(config->tick_ms > 0 && config->read_ahead_ms >= 0);
    uint32_t ranks = config->source->ranks;
    struct consumer_ingest *ingest = base_alloc_zeroed(1, sizeof *ingest);
    ingest->config = *config;
    ingest->clock = config->clock ? config->clock : &base_clock_system;
    ingest->lanes = config->source->lanes;
    ingest->partitions = ingest->lanes * ranks;
    ingest->unfinished = ingest->partitions;
    ingest->frontier = CONSUMER_TIME_MIN;
    ingest->lane = base_alloc_zeroed(ingest->lanes, sizeof(struct consumer_lane *));
    ingest->partition = base_alloc_zeroed(ingest->partitions, sizeof *ingest->partition);
    ingest->order = base_alloc_zeroed(ingest->partitions, sizeof *ingest->order);
    ingest->samples = base_alloc_zeroed(INGEST_SAMPLES_FIRST, sizeof *ingest->samples);
    ingest->sample_capacity = INGEST_SAMPLES_FIRST;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        struct ingest_partition *partition = &ingest->partition[i];
        partition->lane = i / ranks;
        partition->rank = i % ranks;
        partition->quiet_since_ns = -1;
        partition->messages = base_alloc_zeroed(CONSUMER_INGEST_BATCH, sizeof *partition->messages);
    }
    if (ingest_open_lanes(ingest, error)) {
        consumer_ingest_free(ingest);
        return NULL;
    }
    return ingest;
}

void consumer_ingest_free(struct consumer_ingest *ingest)
{
    if (!ingest) {
        return;
    }
    for (uint32_t i = 0; i < ingest->lanes; i++) {
        consumer_lane_free(ingest->lane[i]);
    }
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        free(ingest->partition[i].messages);
    }
    free(ingest->samples);
    free(ingest->order);
    free(ingest->partition);
    free(ingest->lane);
    free(ingest);
}

// ---- reading ----------------------------------------------------------------

static int64_t ingest_watermark(const struct consumer_ingest *ingest,
                                const struct ingest_partition *partition)
{
    return consumer_lane_partition_watermark(ingest->lane[partition->lane], partition->rank);
}

static int ingest_set_aside(struct consumer_ingest *ingest, const struct consumer_message *message,
                            const char *reason, struct base_error *error)
{
    ingest->dead++;
    return consumer_deadletter_add(ingest->config.deadletter, ingest->config.topics[message->rank], message,
                                   reason, base_clock_wall_ms(ingest->clock), error);
}

static bool ingest_is_future(const struct consumer_ingest *ingest, const struct consumer_message *message,
                             const struct consumer_event *event)
{
    return ingest->config.future_ms > 0 && message->timestamp >= 0 &&
           event->event_time - message->timestamp > ingest->config.future_ms;
}

// Decodes one message and gives it to its lane. 1: done with it; 0: it has to be tried again later; -1.
static int ingest_message(struct consumer_ingest *ingest, const struct consumer_message *message,
                          struct base_error *error)
{
    struct consumer_event event;
    struct base_error reason = {0};
    switch (consumer_decoder_decode(ingest->config.decoders[message->rank], ingest->config.source, message,
                                    &event, &reason)) {
    case CONSUMER_DECODE_BLOCKED:
        return 0;
    case CONSUMER_DECODE_DEAD:
        return ingest_set_aside(ingest, message, reason.text, error) ? -1 : 1;
    case CONSUMER_DECODE_EVENT:
        break;
    }
    if (ingest_is_future(ingest, message, &event)) {
        ingest->future++;
        return ingest_set_aside(ingest, message, "from the future: event time too far beyond the timestamp",
                                error)
                   ? -1
                   : 1;
    }
    ingest->events++;
    return consumer_lane_push(ingest->lane[message->lane], &event, error) ? -1 : 1;
}

// Works through what a partition has in hand, until it is empty or blocked.
static int ingest_drain(struct consumer_ingest *ingest, struct ingest_partition *partition,
                        struct base_error *error)
{
    while (partition->next < partition->count) {
        int status = ingest_message(ingest, &partition->messages[partition->next], error);
        if (status < 0) {
            return -1;
        }
        if (status == 0) {
            partition->blocked_until_ns =
                base_clock_monotonic_ns(ingest->clock) + (int64_t)CONSUMER_INGEST_BLOCKED_MS * 1000000;
            return 0;
        }
        partition->next++;
    }
    return 0;
}

// A partition of a bounded source that has ended.
static void ingest_finish(struct consumer_ingest *ingest, struct ingest_partition *partition)
{
    struct consumer_position position;
    ingest->config.source->operations->position(ingest->config.source, partition->rank, partition->lane,
                                                &position);
    if (!position.finished) {
        return;
    }
    partition->finished = true;
    ingest->unfinished--;
    if (ingest->config.finish) {
        consumer_lane_raise(ingest->lane[partition->lane], partition->rank, CONSUMER_TIME_MAX);
    }
}

// Reads one batch of a partition. 1: something was read; 0: nothing there; -1.
static int ingest_read(struct consumer_ingest *ingest, struct ingest_partition *partition,
                       struct base_error *error)
{
    if (partition->next == partition->count) {
        partition->next = partition->count = 0;
        int count =
            ingest->config.source->operations->poll(ingest->config.source, partition->rank, partition->lane,
                                                    0, partition->messages, CONSUMER_INGEST_BATCH, error);
        if (count < 0) {
            return -1;
        }
        if (count == 0) {
            ingest_finish(ingest, partition);
            return 0;
        }
        partition->count = count;
        partition->quiet_since_ns = -1;
        partition->idle = false;
        ingest->read += (uint64_t)count;
    } else if (base_clock_monotonic_ns(ingest->clock) < partition->blocked_until_ns) {
        return 0;
    }
    return ingest_drain(ingest, partition, error) ? -1 : 1;
}

// Order of reading: idle ones never stand in another's way, so they come last; else by watermark, lane, rank.
static int ingest_compare(const void *a, const void *b, void *context)
{
    const struct consumer_ingest *ingest = context;
    const struct ingest_partition *left = &ingest->partition[*(const uint32_t *)a];
    const struct ingest_partition *right = &ingest->partition[*(const uint32_t *)b];
    if (left->idle != right->idle) {
        return left->idle ? 1 : -1;
    }
    int64_t x = ingest_watermark(ingest, left), y = ingest_watermark(ingest, right);
    if (x != y) {
        return x < y ? -1 : 1;
    }
    return left < right ? -1 : left > right;
}

// Reads from the first partition, in that order, that has something and may be read. 1, 0: none has; -1.
static int ingest_read_lowest(struct consumer_ingest *ingest, struct base_error *error)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        if (!ingest->partition[i].finished) {
            ingest->order[count++] = i;
        }
    }
    qsort_r(ingest->order, count, sizeof *ingest->order, ingest_compare, ingest);
    int64_t bound = CONSUMER_TIME_MAX;
    for (uint32_t i = 0; i < count; i++) {
        struct ingest_partition *partition = &ingest->partition[ingest->order[i]];
        int64_t watermark = ingest_watermark(ingest, partition);
        if (watermark > bound && !partition->idle) {
            continue;
        }
        int status = ingest_read(ingest, partition, error);
        if (status != 0) {
            return status;
        }
        // It had nothing, and may still hold everybody back: the others run ahead of it only so far.
        if (bound == CONSUMER_TIME_MAX && !partition->finished && !partition->idle) {
            bound = watermark > CONSUMER_TIME_MIN ? watermark + ingest->config.read_ahead_ms : watermark;
        }
    }
    return 0;
}

// ---- idleness ---------------------------------------------------------------

// Idle: answers since idle_timeout ago, the newest of them fresh, say that there is nothing more to read.
static void ingest_judge(struct consumer_ingest *ingest, struct ingest_partition *partition, int64_t now)
{
    struct consumer_position position;
    ingest->config.source->operations->position(ingest->config.source, partition->rank, partition->lane,
                                                &position);
    if (!position.caught_up || partition->next < partition->count) {
        partition->quiet_since_ns = -1;
        partition->idle = false;
        return;
    }
    if (partition->quiet_since_ns < 0) {
        partition->quiet_since_ns = position.fresh_ns;
    }
    partition->idle =
        position.fresh_ns - partition->quiet_since_ns >= ingest->config.idle_timeout_ms * 1000000 &&
        now - position.fresh_ns <= (int64_t)CONSUMER_INGEST_FRESH_MS * 1000000;
}

// Raises idle partitions: to the least watermark of the active ones; if all are idle, to the last value plus
// the monotonic time since.
static void ingest_raise_idle(struct consumer_ingest *ingest, int64_t now)
{
    int64_t active = CONSUMER_TIME_MAX, least = CONSUMER_TIME_MAX;
    uint32_t idle = 0;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        const struct ingest_partition *partition = &ingest->partition[i];
        int64_t watermark = ingest_watermark(ingest, partition);
        idle += partition->idle;
        if (!partition->idle && watermark < active) {
            active = watermark;
        }
        if (watermark > CONSUMER_TIME_MIN && watermark < least) {
            least = watermark;
        }
    }
    bool all_idle = idle == ingest->partitions;
    if (all_idle && !ingest->all_idle) {
        ingest->all_idle_since_ns = now;
        ingest->all_idle_watermark = least;
    }
    ingest->all_idle = all_idle;
    if (all_idle) {
        active = ingest->all_idle_watermark == CONSUMER_TIME_MAX
                     ? CONSUMER_TIME_MIN // all before their first record: nothing is raised
                     : ingest->all_idle_watermark + (now - ingest->all_idle_since_ns) / 1000000;
    }
    for (uint32_t i = 0; i < ingest->partitions && idle > 0; i++) {
        const struct ingest_partition *partition = &ingest->partition[i];
        if (partition->idle) {
            consumer_lane_raise(ingest->lane[partition->lane], partition->rank, active);
        }
    }
}

static void ingest_check_idle(struct consumer_ingest *ingest)
{
    int64_t now = base_clock_monotonic_ns(ingest->clock);
    if (ingest->config.idle_timeout_ms == 0 ||
        now - ingest->idle_checked_ns < (int64_t)CONSUMER_INGEST_IDLE_CHECK_MS * 1000000) {
        return;
    }
    ingest->idle_checked_ns = now;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        if (!ingest->partition[i].finished) {
            ingest_judge(ingest, &ingest->partition[i], now);
        }
    }
    ingest_raise_idle(ingest, now);
}

// ---- ticks ------------------------------------------------------------------

static int ingest_collect(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)error;
    struct consumer_ingest *ingest = context;
    if (ingest->sample_count == ingest->sample_capacity) {
        ingest->sample_capacity *= 2;
        ingest->samples = base_realloc(ingest->samples, ingest->sample_capacity * sizeof *ingest->samples);
    }
    ingest->samples[ingest->sample_count++] = *sample;
    return 0;
}

static int sample_compare(const void *a, const void *b)
{
    const struct base_sample *left = a, *right = b;
    if (left->due_time != right->due_time) {
        return left->due_time < right->due_time ? -1 : 1;
    }
    if (left->lane != right->lane) {
        return left->lane < right->lane ? -1 : 1;
    }
    return left->sequence < right->sequence ? -1 : left->sequence > right->sequence;
}

static int64_t ingest_tick_of(int64_t time, int64_t length)
{
    int64_t tick = time / length;
    return time % length < 0 ? tick - 1 : tick;
}

// Runs every lane that has something due to the tick's end and hands the samples over.
static int ingest_run_tick(struct consumer_ingest *ingest, int64_t tick, int64_t end,
                           const struct consumer_ingest_sink *sink, struct base_error *error)
{
    ingest->sample_count = 0;
    for (uint32_t i = 0; i < ingest->lanes; i++) {
        if (consumer_lane_next_time(ingest->lane[i]) <= end &&
            consumer_lane_run(ingest->lane[i], end, ingest_collect, ingest, error)) {
            return base_error_prefix(error, "lane %u", i);
        }
    }
    if (ingest->lanes > 1) {
        qsort(ingest->samples, ingest->sample_count, sizeof *ingest->samples, sample_compare);
    }
    ingest->frontier = end;
    ingest->ticks++;
    return sink->tick(sink->context, tick, ingest->samples, ingest->sample_count, error);
}

static int64_t ingest_least_watermark(const struct consumer_ingest *ingest)
{
    int64_t least = CONSUMER_TIME_MAX;
    for (uint32_t i = 0; i < ingest->lanes; i++) {
        int64_t watermark = consumer_lane_watermark(ingest->lane[i]);
        least = watermark < least ? watermark : least;
    }
    return least;
}

// Hands over every tick that is settled.
static int ingest_advance(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                          struct base_error *error)
{
    int64_t watermark = ingest_least_watermark(ingest);
    for (;;) {
        int64_t next = CONSUMER_TIME_MAX;
        for (uint32_t i = 0; i < ingest->lanes; i++) {
            int64_t time = consumer_lane_next_time(ingest->lane[i]);
            next = time < next ? time : next;
        }
        ingest->settled = next == CONSUMER_TIME_MAX;
        if (ingest->settled) {
            return 0;
        }
        int64_t tick = ingest_tick_of(next, ingest->config.tick_ms);
        int64_t end = (tick + 1) * ingest->config.tick_ms - 1;
        ingest->settled = watermark <= end;
        if (ingest->settled) {
            return 0;
        }
        if (ingest_run_tick(ingest, tick, end, sink, error)) {
            return -1;
        }
    }
}

// ---- the step ---------------------------------------------------------------

int consumer_ingest_step(struct consumer_ingest *ingest, int timeout_ms,
                         const struct consumer_ingest_sink *sink, struct base_error *error)
{
    int status = ingest_read_lowest(ingest, error);
    if (status < 0) {
        return -1;
    }
    if (status == 0 && ingest->unfinished > 0) {
        ingest->config.source->operations->wait(ingest->config.source, timeout_ms);
    }
    ingest_check_idle(ingest);
    return ingest_advance(ingest, sink, error);
}

bool consumer_ingest_done(const struct consumer_ingest *ingest)
{
    return ingest->unfinished == 0 && ingest->settled;
}

static uint64_t ingest_lag(const struct consumer_ingest *ingest)
{
    uint64_t lag = 0;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        const struct ingest_partition *partition = &ingest->partition[i];
        struct consumer_position position;
        ingest->config.source->operations->position(ingest->config.source, partition->rank, partition->lane,
                                                    &position);
        lag += (uint64_t)(partition->count - partition->next);
        lag += position.end > position.next ? (uint64_t)(position.end - position.next) : 0;
    }
    return lag;
}

static void ingest_add_counters(struct consumer_lane_counters *sum,
                                const struct consumer_lane_counters *counters)
{
    // The struct is an array of uint64_t by another name.
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counters;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) {
        to[i] += from[i];
    }
}

void consumer_ingest_state(const struct consumer_ingest *ingest, struct consumer_ingest_state *state)
{
    *state = (struct consumer_ingest_state){
        .read = ingest->read,
        .events = ingest->events,
        .dead = ingest->dead,
        .future = ingest->future,
        .lag = ingest_lag(ingest),
        .ticks = ingest->ticks,
        .watermark = ingest_least_watermark(ingest),
        .frontier = ingest->frontier,
    };
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        state->idle += ingest->partition[i].idle;
    }
    for (uint32_t i = 0; i < ingest->lanes; i++) {
        ingest_add_counters(&state->counters, consumer_lane_counters(ingest->lane[i]));
        struct consumer_lane_usage usage = consumer_lane_usage(ingest->lane[i]);
        state->usage.pending += usage.pending;
        state->usage.journeys += usage.journeys;
        state->usage.orphans += usage.orphans;
        state->usage.remembered += usage.remembered;
        state->usage.index_bytes += usage.index_bytes;
        state->usage.log_bytes += usage.log_bytes;
    }
}
