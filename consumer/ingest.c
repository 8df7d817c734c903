// Ingest: reading in the order of watermarks, idleness, and ticks in lockstep. See ingest.h.
#include "consumer/ingest.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer/ingest_unhandled.h"

enum { INGEST_PATH_MAX = 4096, INGEST_SAMPLES_FIRST = 1024, INGEST_BATCH_LEAST = 16 };

// A topic-partition as ingest sees it.
struct ingest_partition {
    uint32_t rank, lane;
    int64_t watermark;                 // as the lane has it
    struct consumer_message *messages; // [batch] the last poll's
    int count, next;                   // of messages; those before next are done with
    int64_t offset;                    // after the last message done with
    int64_t blocked_until_ns;          // its next message cannot be decoded before; 0: it is not blocked
    bool finished;
    bool idle;
    int64_t quiet_since_ns; // of the first of the answers since that said "caught up"; -1: the last said no
    struct consumer_unhandled unhandled;
};

struct consumer_ingest {
    struct consumer_ingest_config config;
    const struct base_clock *clock;
    uint32_t lanes;
    uint32_t partitions;
    int batch;
    struct consumer_lane **lane;        // [lanes]
    struct ingest_partition *partition; // [partitions], lane-major
    struct ingest_partition **heap;     // [partitions] scratch of a round: the lowest first
    uint32_t unfinished;                // partitions that may still bring a message
    int64_t origin;                     // the least first watermark; CONSUMER_TIME_MAX: none yet

    int64_t idle_checked_ns;
    bool all_idle;
    int64_t all_idle_since_ns;
    int64_t all_idle_watermark; // the last value, which time is added to
    int64_t idle_target;        // what idle partitions followed last

    struct base_sample *samples; // of the present tick
    size_t sample_count, sample_capacity;
    bool settled; // no further tick can be handed over
    uint64_t read, events, dead, future, raises, sample_total, ticks;
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

static void partition_open(struct consumer_ingest *ingest, struct ingest_partition *partition, uint32_t index)
{
    struct consumer_source *source = ingest->config.source;
    struct consumer_position position;
    partition->lane = index / source->ranks;
    partition->rank = index % source->ranks;
    source->operations->position(source, partition->rank, partition->lane, &position);
    partition->watermark = CONSUMER_TIME_MIN;
    partition->offset = position.next;
    partition->quiet_since_ns = -1;
    partition->messages = base_alloc_zeroed((size_t)ingest->batch, sizeof *partition->messages);
}

struct consumer_ingest *consumer_ingest_new(const struct consumer_ingest_config *config,
                                            struct base_error *error)
{
    assert(config->tick_ms > 0 && config->read_ahead_ms >= 0 && config->idle_timeout_ms >= 0);
    struct consumer_ingest *ingest = base_alloc_zeroed(1, sizeof *ingest);
    ingest->config = *config;
    ingest->clock = config->clock ? config->clock : &base_clock_system;
    ingest->lanes = config->source->lanes;
    ingest->partitions = ingest->lanes * config->source->ranks;
    ingest->unfinished = ingest->partitions;
    ingest->origin = CONSUMER_TIME_MAX;
    ingest->frontier = CONSUMER_TIME_MIN;
    ingest->idle_target = CONSUMER_TIME_MIN;
    ingest->settled = true;
    int share = (int)(CONSUMER_INGEST_HELD / ingest->partitions);
    ingest->batch = share > CONSUMER_INGEST_BATCH ? CONSUMER_INGEST_BATCH
                    : share > INGEST_BATCH_LEAST  ? share
                                                  : INGEST_BATCH_LEAST;
    ingest->lane = base_alloc_zeroed(ingest->lanes, sizeof(struct consumer_lane *));
    ingest->partition = base_alloc_zeroed(ingest->partitions, sizeof *ingest->partition);
    ingest->heap = base_alloc_zeroed(ingest->partitions, sizeof(struct ingest_partition *));
    ingest->samples = base_alloc_zeroed(INGEST_SAMPLES_FIRST, sizeof *ingest->samples);
    ingest->sample_capacity = INGEST_SAMPLES_FIRST;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        partition_open(ingest, &ingest->partition[i], i);
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
        consumer_unhandled_done(&ingest->partition[i].unhandled);
        free(ingest->partition[i].messages);
    }
    free(ingest->samples);
    free(ingest->heap);
    free(ingest->partition);
    free(ingest->lane);
    free(ingest);
}

// ---- one partition ----------------------------------------------------------

static void partition_raise(struct consumer_ingest *ingest, struct ingest_partition *partition,
                            int64_t watermark)
{
    consumer_lane_raise(ingest->lane[partition->lane], partition->rank, watermark);
    partition->watermark = consumer_lane_partition_watermark(ingest->lane[partition->lane], partition->rank);
}

static int partition_push(struct consumer_ingest *ingest, struct ingest_partition *partition,
                          const struct consumer_event *event, struct base_error *error)
{
    struct consumer_lane *lane = ingest->lane[partition->lane];
    int64_t before = partition->watermark;
    if (consumer_lane_push(lane, event, error)) {
        return -1;
    }
    int64_t time = event->event_time > before ? event->event_time : before;
    consumer_unhandled_add(&partition->unhandled, event->offset, time, before, ingest->frontier);
    partition->watermark = consumer_lane_partition_watermark(lane, partition->rank);
    if (before == CONSUMER_TIME_MIN && partition->watermark < ingest->origin) {
        ingest->origin = partition->watermark;
    }
    ingest->events++;
    return 0;
}

static int ingest_set_aside(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                            const struct consumer_message *message, enum consumer_ingest_what what,
                            const char *reason, struct base_error *error)
{
    const struct consumer_ingest_decision decision = {
        .what = what,
        .rank = message->rank,
        .lane = message->lane,
        .next = message->offset + 1,
        .reason = reason,
    };
    if (sink->decide && sink->decide(sink->context, &decision, error)) {
        return -1;
    }
    if (ingest->config.deadletter &&
        consumer_deadletter_add(ingest->config.deadletter, ingest->config.topics[message->rank], message,
                                reason, base_clock_wall_ms(ingest->clock), error)) {
        return -1;
    }
    ingest->dead++;
    ingest->future += what == CONSUMER_INGEST_FUTURE;
    return 0;
}

// By the record alone, so that a replay decides likewise.
static bool ingest_is_future(const struct consumer_ingest *ingest, const struct consumer_message *message,
                             const struct consumer_event *event)
{
    return ingest->config.future_ms > 0 && message->timestamp >= 0 &&
           event->event_time > message->timestamp &&
           event->event_time - message->timestamp > ingest->config.future_ms;
}

// Decodes one message and gives it to its lane. 1: done with it; 0: it has to be tried again later; -1.
static int partition_message(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                             struct ingest_partition *partition, const struct consumer_message *message,
                             struct base_error *error)
{
    struct consumer_event event;
    struct base_error reason = {0};
    int result = 0;
    switch (consumer_decoder_decode(ingest->config.decoders[message->rank], ingest->config.source, message,
                                    &event, &reason)) {
    case CONSUMER_DECODE_BLOCKED:
        return 0;
    case CONSUMER_DECODE_DEAD:
        result = ingest_set_aside(ingest, sink, message, CONSUMER_INGEST_UNDECODABLE, reason.text, error);
        break;
    case CONSUMER_DECODE_EVENT:
        result = ingest_is_future(ingest, message, &event)
                     ? ingest_set_aside(ingest, sink, message, CONSUMER_INGEST_FUTURE,
                                        "from the future: event time too far beyond the timestamp", error)
                     : partition_push(ingest, partition, &event, error);
        break;
    }
    return result ? -1 : 1;
}

// Works through what a partition has in hand, until it is empty or blocked. How many are done with, or -1.
static int partition_drain(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                           struct ingest_partition *partition, struct base_error *error)
{
    int begin = partition->next;
    while (partition->next < partition->count) {
        const struct consumer_message *message = &partition->messages[partition->next];
        int status = partition_message(ingest, sink, partition, message, error);
        if (status < 0) {
            return -1;
        }
        if (status == 0) {
            partition->blocked_until_ns =
                base_clock_monotonic_ns(ingest->clock) + (int64_t)CONSUMER_INGEST_BLOCKED_MS * 1000000;
            break;
        }
        partition->next++;
        partition->offset = message->offset + 1;
        partition->blocked_until_ns = 0;
    }
    return partition->next - begin;
}

// Is it a partition of a bounded source that has ended?
static void partition_finish(struct consumer_ingest *ingest, struct ingest_partition *partition)
{
    struct consumer_source *source = ingest->config.source;
    struct consumer_position position;
    source->operations->position(source, partition->rank, partition->lane, &position);
    if (!position.finished) {
        return;
    }
    partition->finished = true;
    ingest->unfinished--;
    if (ingest->config.finish) {
        partition_raise(ingest, partition, CONSUMER_TIME_MAX);
    }
}

// Reads one batch of a partition. How many messages are done with; 0: nothing there, or blocked; -1.
static int partition_read(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                          struct ingest_partition *partition, struct base_error *error)
{
    struct consumer_source *source = ingest->config.source;
    if (partition->next < partition->count) {
        return base_clock_monotonic_ns(ingest->clock) < partition->blocked_until_ns
                   ? 0
                   : partition_drain(ingest, sink, partition, error);
    }
    partition->next = partition->count = 0;
    int count = source->operations->poll(source, partition->rank, partition->lane, 0, partition->messages,
                                         ingest->batch, error);
    if (count < 0) {
        return -1;
    }
    if (count == 0) {
        partition_finish(ingest, partition);
        return 0;
    }
    partition->count = count;
    partition->quiet_since_ns = -1;
    partition->idle = false;
    ingest->read += (uint64_t)count;
    return partition_drain(ingest, sink, partition, error);
}

// ---- a round of reading -----------------------------------------------------

static bool partition_before(const struct ingest_partition *a, const struct ingest_partition *b)
{
    return a->watermark != b->watermark ? a->watermark < b->watermark : a < b; // by lane, then rank
}

static void heap_sink(struct ingest_partition **heap, uint32_t count, uint32_t at)
{
    for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        child += child + 1 < count && partition_before(heap[child + 1], heap[child]);
        if (!partition_before(heap[child], heap[at])) {
            return;
        }
        struct ingest_partition *held = heap[at];
        heap[at] = heap[child];
        heap[child] = held;
        at = child;
    }
}

static uint32_t ingest_fill_heap(struct consumer_ingest *ingest)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        if (!ingest->partition[i].finished) {
            ingest->heap[count++] = &ingest->partition[i];
        }
    }
    for (uint32_t at = count / 2; at-- > 0;) {
        heap_sink(ingest->heap, count, at);
    }
    return count;
}

// A partition above this is not read: it is too far ahead of the lowest one that can still bring something.
// One without a record yet stands at the origin here, lest the others wait for it at their own first records.
static int64_t ingest_read_limit(const struct consumer_ingest *ingest)
{
    int64_t least = CONSUMER_TIME_MAX;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        const struct ingest_partition *partition = &ingest->partition[i];
        int64_t stand = partition->watermark == CONSUMER_TIME_MIN ? ingest->origin : partition->watermark;
        if (!partition->idle && !partition->finished && stand < least) {
            least = stand;
        }
    }
    return least > CONSUMER_TIME_MAX - ingest->config.read_ahead_ms ? CONSUMER_TIME_MAX
                                                                    : least + ingest->config.read_ahead_ms;
}

// Always from the lowest, until it has nothing now, then from the next. How many messages are done with, or
// -1. A retriable error sets *passing and ends only its partition's turn.
static int ingest_read(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink, bool *passing,
                       struct base_error *error)
{
    int total = 0;
    int64_t origin = ingest->origin;
    int64_t limit = ingest_read_limit(ingest);
    struct ingest_partition **heap = ingest->heap;
    uint32_t count = ingest_fill_heap(ingest);
    while (count > 0 && total < CONSUMER_INGEST_ROUND && heap[0]->watermark <= limit) {
        int done = partition_read(ingest, sink, heap[0], error);
        if (done < 0 && !error->retriable) {
            return -1;
        }
        *passing = *passing || done < 0;
        if (done <= 0) {
            heap[0] = heap[--count];
        } else {
            total += done;
        }
        heap_sink(heap, count, 0);
        if (ingest->origin != origin) { // the very first records: until then there was no limit
            origin = ingest->origin;
            limit = ingest_read_limit(ingest);
        }
    }
    return total;
}

// ---- idleness ---------------------------------------------------------------

static int64_t floor_divide(int64_t time, int64_t length)
{
    int64_t quotient = time / length;
    return time % length < 0 ? quotient - 1 : quotient;
}

// Idle: answers since idle_timeout ago, the newest of them fresh, say that there is nothing more to read.
static void partition_judge(struct consumer_ingest *ingest, struct ingest_partition *partition, int64_t now)
{
    struct consumer_source *source = ingest->config.source;
    struct consumer_position position;
    source->operations->position(source, partition->rank, partition->lane, &position);
    if (!position.caught_up || partition->next < partition->count ||
        now - position.fresh_ns > (int64_t)CONSUMER_INGEST_FRESH_MS * 1000000) {
        partition->quiet_since_ns = -1;
        partition->idle = false;
        return;
    }
    if (partition->quiet_since_ns < 0) {
        partition->quiet_since_ns = position.fresh_ns;
    }
    partition->idle =
        position.fresh_ns - partition->quiet_since_ns >= ingest->config.idle_timeout_ms * 1000000;
}

// What idle partitions may be raised to; CONSUMER_TIME_MIN: nothing. The least watermark of the active ones;
// if all are idle, the last value plus the monotonic time since.
static int64_t ingest_idle_target(struct consumer_ingest *ingest, int64_t now)
{
    int64_t active = CONSUMER_TIME_MAX;
    int64_t least = CONSUMER_TIME_MAX; // of those that have one
    bool all_idle = true;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        const struct ingest_partition *partition = &ingest->partition[i];
        all_idle = all_idle && partition->idle;
        if (!partition->idle && partition->watermark < active) {
            active = partition->watermark;
        }
        if (partition->watermark != CONSUMER_TIME_MIN && partition->watermark < least) {
            least = partition->watermark;
        }
    }
    if (!all_idle) {
        ingest->all_idle = false;
        ingest->idle_target = active;
        return active;
    }
    if (!ingest->all_idle) {
        ingest->all_idle = true;
        ingest->all_idle_since_ns = now;
        ingest->all_idle_watermark = least > ingest->idle_target ? least : ingest->idle_target;
    }
    return least == CONSUMER_TIME_MAX
               ? CONSUMER_TIME_MIN // all before their first record
               : ingest->all_idle_watermark + (now - ingest->all_idle_since_ns) / 1000000;
}

// Raises idle partitions, by whole ticks: less would settle nothing and only be another decision to journal.
static int ingest_raise_idle(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                             int64_t target, struct base_error *error)
{
    if (target == CONSUMER_TIME_MIN || target == CONSUMER_TIME_MAX) {
        return 0;
    }
    int64_t watermark = floor_divide(target, ingest->config.tick_ms) * ingest->config.tick_ms;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        struct ingest_partition *partition = &ingest->partition[i];
        if (!partition->idle || partition->watermark >= watermark) {
            continue;
        }
        const struct consumer_ingest_decision decision = {
            .what = CONSUMER_INGEST_RAISED,
            .rank = partition->rank,
            .lane = partition->lane,
            .next = partition->offset,
            .watermark = watermark,
        };
        if (sink->decide && sink->decide(sink->context, &decision, error)) {
            return -1;
        }
        partition_raise(ingest, partition, watermark);
        ingest->raises++;
    }
    return 0;
}

static int ingest_check_idle(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                             struct base_error *error)
{
    int64_t now = base_clock_monotonic_ns(ingest->clock);
    if (ingest->config.finish || ingest->config.idle_timeout_ms == 0 ||
        now - ingest->idle_checked_ns < (int64_t)CONSUMER_INGEST_IDLE_CHECK_MS * 1000000) {
        return 0;
    }
    ingest->idle_checked_ns = now;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        if (!ingest->partition[i].finished) {
            partition_judge(ingest, &ingest->partition[i], now);
        }
    }
    return ingest_raise_idle(ingest, sink, ingest_idle_target(ingest, now), error);
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
    if (sink->tick(sink->context, tick, ingest->samples, ingest->sample_count, error)) {
        return -1;
    }
    ingest->frontier = end;
    ingest->sample_total += ingest->sample_count;
    ingest->ticks++;
    return 0;
}

static int64_t ingest_least_watermark(const struct consumer_ingest *ingest)
{
    int64_t least = CONSUMER_TIME_MAX;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        least = ingest->partition[i].watermark < least ? ingest->partition[i].watermark : least;
    }
    return least;
}

static int64_t ingest_next_time(const struct consumer_ingest *ingest)
{
    int64_t next = CONSUMER_TIME_MAX;
    for (uint32_t i = 0; i < ingest->lanes; i++) {
        int64_t time = consumer_lane_next_time(ingest->lane[i]);
        next = time < next ? time : next;
    }
    return next;
}

// Everything below the tick that the watermark stands in is handled, also where nothing was due.
static void ingest_settle(struct consumer_ingest *ingest, int64_t watermark)
{
    int64_t length = ingest->config.tick_ms;
    int64_t frontier = watermark == CONSUMER_TIME_MIN || watermark == CONSUMER_TIME_MAX
                           ? watermark
                           : floor_divide(watermark, length) * length - 1;
    ingest->frontier = frontier > ingest->frontier ? frontier : ingest->frontier;
    ingest->settled = true;
}

// Hands over ticks that are settled: how many, or -1.
static int ingest_advance(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                          struct base_error *error)
{
    int64_t length = ingest->config.tick_ms;
    int64_t watermark = ingest_least_watermark(ingest);
    ingest->settled = false;
    for (int ticks = 0; ticks < CONSUMER_INGEST_TICKS; ticks++) {
        int64_t next = ingest_next_time(ingest);
        int64_t tick = floor_divide(next, length);
        if (next == CONSUMER_TIME_MAX || watermark <= tick * length + (length - 1)) {
            ingest_settle(ingest, watermark);
            return ticks;
        }
        if (ingest_run_tick(ingest, tick, tick * length + (length - 1), sink, error)) {
            return -1;
        }
    }
    return CONSUMER_INGEST_TICKS;
}

// ---- the step ---------------------------------------------------------------

static void ingest_wait(struct consumer_ingest *ingest, int timeout_ms)
{
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        if (ingest->partition[i].blocked_until_ns && timeout_ms > CONSUMER_INGEST_BLOCKED_MS) {
            timeout_ms = CONSUMER_INGEST_BLOCKED_MS;
        }
    }
    ingest->config.source->operations->wait(ingest->config.source, timeout_ms);
}

int consumer_ingest_step(struct consumer_ingest *ingest, int timeout_ms,
                         const struct consumer_ingest_sink *sink, struct base_error *error)
{
    bool passing = false;
    struct base_error trouble;
    int read = ingest->settled ? ingest_read(ingest, sink, &passing, &trouble) : 0;
    if (read < 0) {
        *error = trouble;
        return -1;
    }
    if (ingest_check_idle(ingest, sink, error)) {
        return -1;
    }
    int ticks = ingest_advance(ingest, sink, error);
    if (ticks < 0) {
        return -1;
    }
    if (read == 0 && ticks == 0 && ingest->unfinished > 0) {
        ingest_wait(ingest, timeout_ms);
    }
    if (passing) {
        *error = trouble;
    }
    return passing ? -1 : 0;
}

bool consumer_ingest_done(const struct consumer_ingest *ingest)
{
    return ingest->unfinished == 0 && ingest->settled;
}

// ---- what it knows ----------------------------------------------------------

static void ingest_add_counters(struct consumer_lane_counters *sum,
                                const struct consumer_lane_counters *counters)
{
    // The struct is an array of uint64_t by another name.
    _Static_assert(sizeof *sum % sizeof(uint64_t) == 0, "counters only");
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counters;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) {
        to[i] += from[i];
    }
}

static void ingest_add_partition(const struct consumer_ingest *ingest,
                                 const struct ingest_partition *partition,
                                 struct consumer_ingest_state *state)
{
    struct consumer_source *source = ingest->config.source;
    struct consumer_position position;
    source->operations->position(source, partition->rank, partition->lane, &position);
    state->lag += (uint64_t)(partition->count - partition->next);
    state->lag += position.end > position.next ? (uint64_t)(position.end - position.next) : 0;
    state->idle += partition->idle;
    state->blocked += partition->blocked_until_ns != 0;
    state->finished += partition->finished;
}

void consumer_ingest_state(const struct consumer_ingest *ingest, struct consumer_ingest_state *state)
{
    *state = (struct consumer_ingest_state){
        .read = ingest->read,
        .events = ingest->events,
        .dead = ingest->dead,
        .future = ingest->future,
        .raises = ingest->raises,
        .samples = ingest->sample_total,
        .ticks = ingest->ticks,
        .watermark = ingest_least_watermark(ingest),
        .frontier = ingest->frontier,
    };
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        ingest_add_partition(ingest, &ingest->partition[i], state);
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

static struct ingest_partition *ingest_partition(const struct consumer_ingest *ingest, uint32_t rank,
                                                 uint32_t lane)
{
    uint32_t ranks = ingest->config.source->ranks;
    assert(rank < ranks && lane < ingest->lanes);
    return &ingest->partition[lane * ranks + rank];
}

int64_t consumer_ingest_watermark(const struct consumer_ingest *ingest, uint32_t rank, uint32_t lane)
{
    return ingest_partition(ingest, rank, lane)->watermark;
}

void consumer_ingest_unhandled(struct consumer_ingest *ingest, uint32_t rank, uint32_t lane, int64_t *offset,
                               int64_t *watermark)
{
    struct ingest_partition *partition = ingest_partition(ingest, rank, lane);
    if (!consumer_unhandled_first(&partition->unhandled, ingest->frontier, offset, watermark)) {
        *offset = partition->offset;
        *watermark = partition->watermark;
    }
}
