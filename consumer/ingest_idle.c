// Ingest's idleness: which partitions are, and to where their watermarks are raised. See ingest.h.
#include "consumer/ingest_private.h"
#include "consumer/journal.h"

// Idle: answers since idle_timeout ago, the newest of them fresh, say that there is nothing more to read. One
// that has still something to obey is not: then its log ends before what was decided about it. -1: that.
static int partition_judge(struct consumer_ingest *ingest, struct ingest_partition *partition, int64_t now,
                           struct base_error *error)
{
    struct consumer_source *source = ingest->config.source;
    struct consumer_position position;
    source->operations->position(source, partition->rank, partition->lane, &position);
    if (!position.caught_up || partition->next < partition->count ||
        now - position.fresh_ns > (int64_t)CONSUMER_INGEST_FRESH_MS * 1000000) {
        partition->quiet_since_ns = -1;
        partition->idle = false;
        return 0;
    }
    if (partition->quiet_since_ns < 0) {
        partition->quiet_since_ns = position.fresh_ns;
    }
    partition->idle =
        position.fresh_ns - partition->quiet_since_ns >= ingest->config.idle_timeout_ms * 1000000;
    if (partition->idle && !partition->expected) {
        consumer_ingest_obey(ingest, partition, position.next);
    }
    return partition->idle && (partition->expected || partition->obeying)
               ? consumer_ingest_log_changed(ingest, partition, error)
               : 0;
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

// Is it worth a decision? If it settles a tick, or if it has been a while: people look at watermarks too.
static bool partition_to_raise(const struct ingest_partition *partition, int64_t watermark, bool settles)
{
    return partition->idle && partition->watermark < watermark &&
           (settles || partition->watermark == CONSUMER_TIME_MIN ||
            watermark - partition->watermark >= CONSUMER_INGEST_RAISE_MS);
}

// Raises idle partitions, by whole ticks: less would settle nothing and only be another decision to journal.
static int ingest_raise_idle(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                             int64_t target, struct base_error *error)
{
    if (target == CONSUMER_TIME_MIN || target == CONSUMER_TIME_MAX) {
        return 0;
    }
    int64_t watermark = consumer_ingest_floor_divide(target, ingest->config.tick_ms) * ingest->config.tick_ms;
    bool settles = consumer_ingest_next_time(ingest) < watermark;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        struct ingest_partition *partition = &ingest->partition[i];
        if (!partition_to_raise(partition, watermark, settles)) {
            continue;
        }
        const struct consumer_ingest_decision decision = {
            .what = CONSUMER_INGEST_RAISED,
            .rank = partition->rank,
            .lane = partition->lane,
            .next = partition->offset,
            .watermark = watermark,
        };
        if (consumer_ingest_decide(ingest, sink, &decision, error)) {
            return -1;
        }
        consumer_ingest_raise(ingest, partition, watermark);
        ingest->counts.raises++;
    }
    return 0;
}

int consumer_ingest_check_idle(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                               struct base_error *error)
{
    int64_t now = base_clock_monotonic_ns(ingest->clock);
    if (ingest->config.finish || ingest->config.idle_timeout_ms == 0 ||
        now - ingest->idle_checked_ns < (int64_t)CONSUMER_INGEST_IDLE_CHECK_MS * 1000000) {
        return 0;
    }
    ingest->idle_checked_ns = now;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        if (!ingest->partition[i].finished && partition_judge(ingest, &ingest->partition[i], now, error)) {
            return -1;
        }
    }
    return ingest_raise_idle(ingest, sink, ingest_idle_target(ingest, now), error);
}
