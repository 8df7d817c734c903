// Ingest: reading in the order of watermarks, idleness, and ticks in lockstep. See ingest.h.
#include "consumer/ingest.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer/ingest_private.h"
#include "consumer/journal.h"

enum { INGEST_SAMPLES_FIRST = 1024, INGEST_BATCH_LEAST = 16 };

int64_t consumer_ingest_floor_divide(int64_t time, int64_t length)
{
    int64_t quotient = time / length;
    return time % length < 0 ? quotient - 1 : quotient;
}

int consumer_ingest_sync_decisions(struct consumer_ingest *ingest, struct base_error *error)
{
    if (ingest->letters && consumer_deadletter_sync(ingest->config.deadletter, error)) {
        return -1;
    }
    ingest->letters = false;
    return ingest->config.journal ? consumer_journal_sync(ingest->config.journal, error) : 0;
}

// ---- life -------------------------------------------------------------------

struct consumer_lane_config consumer_ingest_lane_config(const struct consumer_ingest *ingest, uint32_t lane,
                                                        char directory[INGEST_PATH_MAX])
{
    snprintf(directory, INGEST_PATH_MAX, "%s/lane-%04u", ingest->config.directory, lane);
    struct consumer_lane_config config = ingest->config.lane;
    config.lane = lane;
    config.directory = directory;
    config.disk = ingest->config.disk;
    config.generations = ingest->generations;
    config.keep_dropped = ingest->config.keep_dropped;
    return config;
}

static int ingest_open_lanes(struct consumer_ingest *ingest, struct base_error *error)
{
    for (uint32_t lane = 0; lane < ingest->lanes; lane++) {
        char directory[INGEST_PATH_MAX];
        struct consumer_lane_config config = consumer_ingest_lane_config(ingest, lane, directory);
        ingest->lane[lane] = consumer_lane_new(&config, error);
        if (!ingest->lane[lane]) {
            return -1;
        }
    }
    return 0;
}

// What the journal says of the partitions before their first message.
static void ingest_begin_obeying(struct consumer_ingest *ingest)
{
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        struct ingest_partition *partition = &ingest->partition[i];
        partition->obeying = ingest->config.journal != NULL;
        consumer_ingest_obey(ingest, partition, partition->offset);
    }
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
    partition->last.offset = -1;
    partition->counted = INT64_MIN;
    partition->floor = CONSUMER_TIME_MIN;
    partition->quiet_since_ns = -1;
    partition->messages = base_alloc_zeroed((size_t)ingest->batch, sizeof *partition->messages);
}

// A journal of other partitions, or, where all begins afresh, of logs that are no more.
static int ingest_check_journal(const struct consumer_ingest *ingest, struct base_error *error)
{
    const struct consumer_journal *journal = ingest->config.journal;
    if (!journal) {
        return 0;
    }
    if (consumer_journal_lanes(journal) != ingest->lanes) {
        return base_error_set(error, BASE_ECONFLICT,
                              "the journal is of topics of %u partitions, the source has %u",
                              consumer_journal_lanes(journal), ingest->lanes);
    }
    for (uint32_t i = 0; i < ingest->partitions && !ingest->config.restore.data; i++) {
        const struct ingest_partition *partition = &ingest->partition[i];
        if (consumer_journal_replaced(journal, partition->rank, partition->lane, 0, error) < -1) {
            return base_error_prefix(error, "topic %s, partition %u", ingest->config.topics[partition->rank],
                                     partition->lane);
        }
    }
    return 0;
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
    ingest->sample = base_alloc_zeroed(INGEST_SAMPLES_FIRST, sizeof *ingest->sample);
    ingest->sample_capacity = INGEST_SAMPLES_FIRST;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        partition_open(ingest, &ingest->partition[i], i);
    }
    if (config->columns) {
        ingest->generations = consumer_generations_new(config->columns, config->source->ranks);
        ingest->config.columns = NULL;
    }
    if (ingest_check_journal(ingest, error) ||
        (config->restore.data ? consumer_ingest_restore(ingest, error) : ingest_open_lanes(ingest, error))) {
        consumer_ingest_free(ingest);
        return NULL;
    }
    ingest->config.restore = (struct base_span){0};
    ingest_begin_obeying(ingest);
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
    consumer_generations_free(ingest->generations);
    free(ingest->sample);
    free(ingest->heap);
    free(ingest->partition);
    free(ingest->lane);
    free(ingest);
}

// ---- ticks ------------------------------------------------------------------

static int ingest_collect(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)error;
    struct consumer_ingest *ingest = context;
    if (ingest->sample_count == ingest->sample_capacity) {
        ingest->sample_capacity *= 2;
        ingest->sample = base_realloc(ingest->sample, ingest->sample_capacity * sizeof *ingest->sample);
    }
    ingest->sample[ingest->sample_count++] = *sample;
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
        qsort(ingest->sample, ingest->sample_count, sizeof *ingest->sample, sample_compare);
    }
    if (ingest->config.journal && consumer_journal_dirty(ingest->config.journal) &&
        consumer_ingest_sync_decisions(ingest, error)) {
        return -1;
    }
    ingest->frontier = end; // before the sink is called, which may save
    ingest->counts.samples += ingest->sample_count;
    ingest->counts.ticks++;
    return sink->tick(sink->context, tick, ingest->sample, ingest->sample_count, error);
}

static int64_t ingest_least_watermark(const struct consumer_ingest *ingest)
{
    int64_t least = CONSUMER_TIME_MAX;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        least = ingest->partition[i].watermark < least ? ingest->partition[i].watermark : least;
    }
    return least;
}

int64_t consumer_ingest_next_time(const struct consumer_ingest *ingest)
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
    int64_t length = ingest->config.tick_ms, last = ingest->config.last_tick;
    int64_t tick = consumer_ingest_floor_divide(watermark, length);
    int64_t frontier = watermark;
    if (watermark != CONSUMER_TIME_MIN && watermark != CONSUMER_TIME_MAX) {
        frontier = tick * length - 1;
    }
    if (watermark != CONSUMER_TIME_MIN && tick > last) {
        frontier = last * length + (length - 1);
        ingest->complete = true;
    }
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
        int64_t next = consumer_ingest_next_time(ingest);
        int64_t tick = consumer_ingest_floor_divide(next, length);
        if (next == CONSUMER_TIME_MAX || watermark <= tick * length + (length - 1) ||
            tick > ingest->config.last_tick) {
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
    if (ingest->complete) {
        return 0;
    }
    int read = ingest->settled ? consumer_ingest_read(ingest, sink, &passing, &trouble) : 0;
    if (read < 0) {
        *error = trouble;
        return -1;
    }
    if (consumer_ingest_check_idle(ingest, sink, error)) {
        return -1;
    }
    if (ingest->config.journal &&
        consumer_journal_unwritten(ingest->config.journal) >= CONSUMER_JOURNAL_BUFFER &&
        consumer_ingest_sync_decisions(ingest, error)) {
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
    return ingest->settled && (ingest->unfinished == 0 || ingest->complete);
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
        .counts = ingest->counts,
        .watermark = ingest_least_watermark(ingest),
        .frontier = ingest->frontier,
        .skipped = ingest->config.journal ? consumer_journal_skipped(ingest->config.journal) : 0,
    };
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        ingest_add_partition(ingest, &ingest->partition[i], state);
    }
    if (state->blocked) {
        state->blocked_error = ingest->blocked_error;
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
    const struct consumer_unhandled_record *first =
        consumer_unhandled_first(&partition->unhandled, ingest->frontier);
    *offset = first ? first->offset : partition->offset;
    *watermark = first ? first->watermark : partition->watermark;
}
