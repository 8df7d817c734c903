// A Kafka in memory. See sim_log.h.
//
// A source knows of a partition what the broker's last answer said: high watermark and last stable offset.
// Until the next one it gives no more than that, and it says "caught up" only if an answer that came after
// its last step said so.
#include "simulation/sim_log.h"

#include <assert.h>
#include <stdlib.h>

#include "consumer/schemas.h"
#include "simulation/sim_log_script.h"

enum { OUTAGE_MOST_MS = 20000, SLOW_MOST_MS = 3000 };

struct sim_log {
    struct sim_log_config config;
    struct sim_clock *clock;
    struct sim_faults *faults;
    int64_t begin_ms; // of the script, monotonic
    struct sim_log_partition *partitions;
    uint32_t count;
};

struct known { // of a partition, by a source
    int64_t next, high, stable;
    int64_t answered_ns;
    int64_t slow_until_ms;
    bool caught_up;
    uint8_t *bytes; // of the last poll's messages
};

struct source {
    struct consumer_source base; // first
    struct sim_log *log;
    bool bounded;
    int64_t outage_until_ms;
    struct sim_random random;
    struct known *known;
};

// ---- the log ----

struct sim_log *sim_log_new(const struct sim_log_config *config, uint64_t seed, struct sim_clock *clock,
                            struct sim_faults *faults)
{
    assert(config->lanes > 0 && config->lanes <= SIM_LOG_LANES_MAX && config->impressions > 0);
    struct sim_log *log = base_alloc_zeroed(1, sizeof *log);
    log->config = *config;
    log->clock = clock;
    log->faults = faults;
    log->begin_ms = sim_clock_ms(clock);
    log->count = SIM_LOG_RANKS * config->lanes;
    log->partitions = base_alloc_zeroed(log->count, sizeof *log->partitions);
    sim_log_script(config, seed, log->partitions);
    if (faults) { // of each poll
        sim_faults_rate(faults, "log.outage", 0.0005);
        sim_faults_rate(faults, "log.error", 0.01);
        sim_faults_rate(faults, "log.slow", 0.01);
    }
    return log;
}

void sim_log_free(struct sim_log *log)
{
    if (!log) {
        return;
    }
    for (uint32_t i = 0; i < log->count; i++) {
        sim_log_script_clear(&log->partitions[i]);
    }
    free(log->partitions);
    free(log);
}

static struct sim_log_partition *log_partition(const struct sim_log *log, uint32_t rank, uint32_t lane)
{
    assert(rank < SIM_LOG_RANKS && lane < log->config.lanes);
    return &log->partitions[rank * log->config.lanes + lane];
}

// The first offset from `from` on that has not arrived (is not stable) by a time of the script.
static int64_t partition_reach(const struct sim_log_partition *partition, int64_t from, int64_t ms,
                               bool stable)
{
    while (from < partition->count &&
           (stable ? partition->slot[from].stable_ms : partition->slot[from].arrived_ms) <= ms) {
        from++;
    }
    return from;
}

static int64_t log_now_ms(const struct sim_log *log)
{
    return sim_clock_ms(log->clock) - log->begin_ms;
}

int64_t sim_log_end(const struct sim_log *log, uint32_t rank, uint32_t lane)
{
    return log_partition(log, rank, lane)->count;
}

int64_t sim_log_high(const struct sim_log *log, uint32_t rank, uint32_t lane)
{
    return partition_reach(log_partition(log, rank, lane), 0, log_now_ms(log), false);
}

int64_t sim_log_complete_ms(const struct sim_log *log)
{
    int64_t last = 0;
    for (uint32_t i = 0; i < log->count; i++) {
        const struct sim_log_partition *partition = &log->partitions[i];
        if (partition->count > 0) {
            int64_t stable_ms = partition->slot[partition->count - 1].stable_ms;
            last = stable_ms > last ? stable_ms : last;
        }
    }
    return log->begin_ms + last;
}

uint64_t sim_log_records(const struct sim_log *log)
{
    uint64_t records = 0;
    for (uint32_t i = 0; i < log->count; i++) {
        for (uint32_t s = 0; s < log->partitions[i].count; s++) {
            records += log->partitions[i].slot[s].record;
        }
    }
    return records;
}

void sim_log_retain(struct sim_log *log, uint32_t rank, uint32_t lane, int64_t offset)
{
    struct sim_log_partition *partition = log_partition(log, rank, lane);
    partition->first = offset > partition->first ? offset : partition->first;
}

void sim_log_recreate(struct sim_log *log, uint64_t seed)
{
    for (uint32_t i = 0; i < log->count; i++) {
        sim_log_script_clear(&log->partitions[i]);
    }
    sim_log_script(&log->config, seed, log->partitions);
}

// ---- a source ----

static struct known *source_known(const struct source *source, uint32_t rank, uint32_t lane)
{
    return &source->known[rank * source->base.lanes + lane];
}

static bool source_out(struct source *source)
{
    struct sim_log *log = source->log;
    if (source->bounded) {
        return false;
    }
    if (sim_fault(log->faults, "log.outage")) {
        struct sim_random *random = sim_faults_draw(log->faults, "log.outage");
        source->outage_until_ms = sim_clock_ms(log->clock) + sim_random_between(random, 1, OUTAGE_MOST_MS);
    }
    return sim_clock_ms(log->clock) < source->outage_until_ms;
}

// Takes the broker's answer, if one comes now. Only a poll moves on.
static void source_ask(struct source *source, uint32_t rank, uint32_t lane, bool polled)
{
    struct sim_log *log = source->log;
    struct known *known = source_known(source, rank, lane);
    const struct sim_log_partition *partition = log_partition(log, rank, lane);
    int64_t now_ms = sim_clock_ms(log->clock);
    if (source->bounded) {
        known->high = known->stable = partition->count;
    } else if (now_ms < source->outage_until_ms || now_ms < known->slow_until_ms) {
        return;
    } else if (sim_fault(log->faults, "log.slow")) {
        struct sim_random *random = sim_faults_draw(log->faults, "log.slow");
        known->slow_until_ms = now_ms + sim_random_between(random, 1, SLOW_MOST_MS);
        return;
    } else {
        known->high = partition_reach(partition, known->high, log_now_ms(log), false);
        known->stable = partition_reach(partition, known->stable, log_now_ms(log), true);
    }
    while (polled && known->next < known->stable && !partition->slot[known->next].record) {
        known->next++; // holes
    }
    known->answered_ns = log->clock->now_ns;
    known->caught_up = known->next == known->stable && known->stable == known->high;
}

static int source_poll(struct consumer_source *base, uint32_t rank, uint32_t lane, int timeout_ms,
                       struct consumer_message *messages, int max, struct base_error *error)
{
    struct source *source = (struct source *)base;
    struct sim_log *log = source->log;
    struct known *known = source_known(source, rank, lane);
    const struct sim_log_partition *partition = log_partition(log, rank, lane);
    (void)timeout_ms; // the driver lets time pass
    free(known->bytes);
    known->bytes = NULL;
    bool out = source_out(source);
    if ((out && sim_random_bits(&source->random) & 1) ||
        (!source->bounded && sim_fault(log->faults, "log.error"))) {
        return base_error_set(error, BASE_ENETWORK, "rank %u, partition %u: the broker does not answer", rank,
                              lane);
    }
    source_ask(source, rank, lane, true);
    if (known->next < partition->first) {
        return base_error_set(error, BASE_ENOTFOUND,
                              "rank %u, partition %u: offset %lld is out of range, the log begins at %lld",
                              rank, lane, (long long)known->next, (long long)partition->first);
    }
    int64_t most = (int64_t)sim_random_below(&source->random, (uint64_t)log->config.fetch + 1);
    most = most < max ? most : max;
    int count = 0;
    size_t size = 0;
    for (; known->next < known->stable && count < most; known->next++) {
        const struct sim_log_slot *slot = &partition->slot[known->next];
        if (slot->record) {
            messages[count++] = (struct consumer_message){
                .rank = rank,
                .lane = lane,
                .offset = known->next,
                .timestamp = slot->timestamp,
                .value = base_span_make(slot->value, slot->size),
                .bare = true,
                .schema = rank,
            };
            size += slot->size;
            known->caught_up = false; // until an answer says so
        }
    }
    // A copy of their bytes that ends with the next poll.
    known->bytes = base_alloc(size + 1);
    for (int i = 0; i < count; i++) {
        struct base_span *value = &messages[i].value;
        if (value->data) {
            size -= value->size;
            memcpy(known->bytes + size, value->data, value->size);
            value->data = known->bytes + size;
        }
    }
    return count;
}

static void source_wait(struct consumer_source *base, int timeout_ms)
{
    struct source *source = (struct source *)base;
    if (!source->bounded && timeout_ms > 0) {
        int64_t ms = sim_random_between(&source->random, 0, timeout_ms);
        sim_clock_advance(source->log->clock, ms * 1000000);
    }
}

static void source_position(struct consumer_source *base, uint32_t rank, uint32_t lane,
                            struct consumer_position *position)
{
    struct source *source = (struct source *)base;
    const struct known *known = source_known(source, rank, lane);
    source_ask(source, rank, lane, false);
    *position = (struct consumer_position){
        .next = known->next,
        .end = known->high,
        .caught_up = known->caught_up,
        .fresh_ns = known->answered_ns,
        .finished = source->bounded && known->next == sim_log_end(source->log, rank, lane),
    };
}

static const char *source_schema(struct consumer_source *base, uint32_t schema)
{
    static const char *const schemas[SIM_LOG_RANKS] = {consumer_schemas_impression, consumer_schemas_click,
                                                       consumer_schemas_purchase, consumer_schemas_action};
    (void)base;
    return schemas[schema];
}

static char *source_statistics(struct consumer_source *base)
{
    (void)base;
    return NULL;
}

static void source_close(struct consumer_source *base)
{
    struct source *source = (struct source *)base;
    for (uint32_t i = 0; i < source->base.ranks * source->base.lanes; i++) {
        free(source->known[i].bytes);
    }
    free(source->known);
    free(source);
}

static const struct consumer_source_operations source_operations = {
    .poll = source_poll,
    .wait = source_wait,
    .position = source_position,
    .schema = source_schema,
    .statistics = source_statistics,
    .close = source_close,
};

struct consumer_source *sim_log_open(struct sim_log *log, const int64_t *offsets, bool bounded)
{
    struct source *source = base_alloc_zeroed(1, sizeof *source);
    source->base = (struct consumer_source){&source_operations, SIM_LOG_RANKS, log->config.lanes};
    source->log = log;
    source->bounded = bounded;
    source->random = sim_random_make((uint64_t)log->clock->now_ns, "source");
    source->known = base_alloc_zeroed(log->count, sizeof *source->known);
    for (uint32_t i = 0; i < log->count; i++) {
        struct known *known = &source->known[i];
        known->next = offsets && offsets[i] >= 0 ? offsets[i] : log->partitions[i].first;
        known->high = known->stable = offsets && offsets[i] >= 0 ? 0 : log->partitions[i].first;
    }
    return &source->base;
}
