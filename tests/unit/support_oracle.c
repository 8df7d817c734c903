// The batch oracle of the join. See support_oracle.h.
//
// First every record gets its effective time, then all are sorted; each is looked at once, and every question
// ("which click?", "seen before?") is answered by scanning all that came before. What a wait or a window
// brings is worked out at the end from the times at which things were joined, and everything emitted is
// sorted by time.
#include "support_oracle.h"

#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

enum { NOBODY = -1, PHASE_EVENTS = 0 };

struct oracle_record {
    const struct consumer_event *event;
    int64_t time; // effective
};

// A journey at a stage.
struct oracle_entry {
    uint32_t stage;
    const struct consumer_event *self;
    const struct consumer_event *impression;
    int64_t time;
    bool paid;
    int64_t joined[CONSUMER_TOPICS_MAX]; // when, by action; INT64_MAX: never
    double value[CONSUMER_TOPICS_MAX];   // of the joined action
};

struct oracle_orphan {
    const struct oracle_record *record;
    bool gone;
};

struct oracle_emission {
    int64_t time;
    int phase; // class within one time
    size_t order;
    struct base_sample sample;
};

struct oracle {
    const struct support_stream *stream;
    const struct consumer_lane_config *config;
    struct consumer_lane_counters counters;
    struct oracle_record *records;
    size_t record_count;
    const struct oracle_record **seen;
    size_t seen_count;
    struct oracle_entry *entries;
    size_t entry_count;
    struct oracle_orphan *orphans;
    size_t orphan_count;
    struct oracle_emission *emissions;
    size_t emission_count;
};

static int record_compare(const void *left, const void *right)
{
    const struct oracle_record *a = left;
    const struct oracle_record *b = right;
    if (a->time != b->time) {
        return a->time < b->time ? -1 : 1;
    }
    if (a->event->rank != b->event->rank) {
        return a->event->rank < b->event->rank ? -1 : 1;
    }
    return a->event->offset < b->event->offset ? -1 : 1;
}

static int emission_compare(const void *left, const void *right)
{
    const struct oracle_emission *a = left;
    const struct oracle_emission *b = right;
    if (a->time != b->time) {
        return a->time < b->time ? -1 : 1;
    }
    if (a->phase != b->phase) {
        return a->phase < b->phase ? -1 : 1;
    }
    return a->order < b->order ? -1 : 1;
}

static void oracle_times(struct oracle *oracle)
{
    for (uint32_t rank = 0; rank < oracle->config->ranks; rank++) {
        int64_t watermark = INT64_MIN;
        for (uint32_t i = 0; i < oracle->stream->steps[rank]; i++) {
            const struct support_step *step = &oracle->stream->step[rank][i];
            int64_t raised = step->watermark;
            if (!step->raise) {
                int64_t time = step->event.event_time;
                oracle->counters.late[rank] += time < watermark;
                oracle->records[oracle->record_count++] =
                    (struct oracle_record){&step->event, time > watermark ? time : watermark};
                raised = time - oracle->config->allowed_lateness[rank];
            }
            watermark = raised > watermark ? raised : watermark;
        }
    }
    qsort(oracle->records, oracle->record_count, sizeof *oracle->records, record_compare);
}

// Does `action` hang on what `ancestor` starts, at whatever depth?
static bool oracle_below(const struct oracle *oracle, uint32_t action, uint32_t ancestor)
{
    for (uint32_t up = oracle->config->action[action].parent; up > 0;
         up = oracle->config->action[up].parent) {
        if (up == ancestor) {
            return true;
        }
    }
    return false;
}

static void oracle_emit(struct oracle *oracle, int64_t time, int phase, const struct oracle_entry *entry,
                        enum base_kind kind, uint32_t action, bool deeper, unsigned labels)
{
    struct base_sample sample = {
        .due_time = time,
        .event_time = entry->impression->event_time,
        .lane = oracle->config->lane,
        .kind = (uint8_t)kind,
        .trains = kind != BASE_F3 || oracle->config->train_final,
        .task = (uint8_t)(action - 1),
        .impression_id = entry->impression->impression_id,
        .columns = entry->impression->columns,
        .weighted = entry->impression->weighted,
        .impression_weight = entry->impression->weight,
    };
    for (uint32_t other = 1; other < oracle->config->ranks; other++) {
        uint32_t task = other - 1;
        if (oracle->config->action[other].as) {
            continue;
        }
        bool masked = kind != BASE_F3 && (other == action || (deeper && oracle_below(oracle, other, action)));
        sample.label[task] = labels >> task & 1;
        // Of other actions that happened before, only the one that the journey itself is has its value at
        // hand.
        double value = other == action         ? entry->value[action]
                       : other == entry->stage ? entry->self->value
                                               : NAN;
        sample.value[task] = sample.label[task] ? (float)value : 0;
        if (masked) {
            sample.mask |= (uint8_t)(1u << task);
            bool sampled = kind == BASE_N0 && (task > 0 || oracle->config->weighs_negatives);
            sample.weight[task] = sampled ? (float)(1 / oracle->config->keep_negatives) : 1.0f;
            if (sample.weighted) {
                sample.weight[task] *= sample.impression_weight;
            }
        }
    }
    if (kind == BASE_N0) {
        uint64_t hash = XXH3_64bits(sample.impression_id.data, sample.impression_id.size);
        if ((long double)hash >= (long double)oracle->config->keep_negatives * 18446744073709551616.0L) {
            oracle->counters.not_kept++;
            return;
        }
    }
    oracle->counters.samples[kind]++;
    size_t order = oracle->emission_count++;
    oracle->emissions[order] = (struct oracle_emission){time, phase, order, sample};
}

static bool oracle_within(const struct oracle *oracle, const struct consumer_event *event,
                          int64_t parent_time)
{
    return event->event_time - parent_time <= oracle->config->action[event->rank].window;
}

// Could this entry be what the action refers to?
static bool oracle_fits(const struct oracle *oracle, const struct consumer_event *event,
                        const struct oracle_entry *entry)
{
    const struct consumer_action_config *action = &oracle->config->action[event->rank];
    if (entry->stage != action->parent) {
        return false;
    }
    if (!action->last_touch) {
        return base_span_equal(event->impression_id, entry->impression->impression_id);
    }
    return base_span_equal(event->touch, entry->self->touch) &&
           event->event_time >= entry->self->event_time &&
           oracle_within(oracle, event, entry->self->event_time);
}

static void oracle_enter(struct oracle *oracle, struct oracle_entry entry);

// The action's parent is known: joins it, or counts why not.
static void oracle_settle(struct oracle *oracle, const struct consumer_event *event, int64_t now,
                          size_t parent)
{
    struct oracle_entry *entry = &oracle->entries[parent];
    uint32_t rank = event->rank;
    const struct consumer_action_config *action = &oracle->config->action[rank];
    if (!oracle_within(oracle, event, entry->self->event_time)) {
        oracle->counters.beyond[rank]++;
        return;
    }
    uint32_t as = action->as ? action->as : rank;
    if (entry->joined[as] != INT64_MAX) {
        oracle->counters.second[rank]++;
        return;
    }
    entry->joined[as] = now;
    entry->value[as] = event->value;
    oracle->counters.joined[rank]++;
    oracle->counters.negative_delay[rank] +=
        !action->last_touch && event->event_time < entry->self->event_time;
    bool late = now > entry->time + action->wait;
    if (late) {
        oracle_emit(oracle, now, PHASE_EVENTS, entry, rank == 1 ? BASE_L : BASE_D2, as, false,
                    1u << (as - 1));
    }
    bool stage = false;
    for (uint32_t other = 1; other < oracle->config->ranks; other++) {
        stage = stage || oracle->config->action[other].parent == rank;
    }
    if (stage) {
        oracle_enter(oracle, (struct oracle_entry){.stage = rank,
                                                   .self = event,
                                                   .impression = entry->impression,
                                                   .time = now,
                                                   .paid = late || entry->paid});
    }
}

static bool oracle_waits(const struct oracle *oracle, const struct oracle_orphan *orphan, int64_t now)
{
    return !orphan->gone && now <= orphan->record->time + oracle->config->orphan_timeout;
}

static void oracle_enter(struct oracle *oracle, struct oracle_entry entry)
{
    for (uint32_t rank = 0; rank < CONSUMER_TOPICS_MAX; rank++) {
        entry.joined[rank] = INT64_MAX;
    }
    size_t number = oracle->entry_count++;
    oracle->entries[number] = entry;
    // Action by action: between those that count as one the order can be seen.
    for (uint32_t rank = 1; rank < oracle->config->ranks; rank++) {
        for (size_t i = 0; i < oracle->orphan_count; i++) {
            struct oracle_orphan *orphan = &oracle->orphans[i];
            if (orphan->record->event->rank == rank && oracle_waits(oracle, orphan, entry.time) &&
                oracle_fits(oracle, orphan->record->event, &oracle->entries[number])) {
                orphan->gone = true;
                oracle_settle(oracle, orphan->record->event, entry.time, number);
            }
        }
    }
}

// The living entry that an action joins, or NOBODY.
static long oracle_parent(const struct oracle *oracle, const struct oracle_record *record)
{
    const struct consumer_action_config *action = &oracle->config->action[record->event->rank];
    long best = NOBODY;
    for (size_t i = 0; i < oracle->entry_count; i++) {
        const struct oracle_entry *entry = &oracle->entries[i];
        if (!oracle_fits(oracle, record->event, entry) || record->time > entry->time + action->window) {
            continue;
        }
        // By id the last to enter; by touch the latest event time, of equals the last to enter.
        if (best == NOBODY || !action->last_touch ||
            entry->self->event_time >= oracle->entries[best].self->event_time) {
            best = (long)i;
        }
    }
    return best;
}

static bool oracle_duplicate(struct oracle *oracle, const struct oracle_record *record)
{
    const struct consumer_event *event = record->event;
    struct base_span id = event->rank == 0 ? event->impression_id : event->event_id;
    if (!id.data) {
        return false;
    }
    for (size_t i = 0; i < oracle->seen_count; i++) {
        const struct oracle_record *seen = oracle->seen[i];
        struct base_span other = seen->event->rank == 0 ? seen->event->impression_id : seen->event->event_id;
        if (seen->event->rank == event->rank && base_span_equal(id, other) &&
            record->time <= seen->time + oracle->config->dedupe[event->rank]) {
            return true;
        }
    }
    oracle->seen[oracle->seen_count++] = record;
    return false;
}

static void oracle_orphan(struct oracle *oracle, const struct oracle_record *record)
{
    oracle->counters.orphaned[record->event->rank]++;
    oracle->orphans[oracle->orphan_count++] = (struct oracle_orphan){record, false};
    uint64_t waiting = 0;
    struct oracle_orphan *oldest = NULL;
    for (size_t i = oracle->orphan_count; i-- > 0;) {
        if (oracle_waits(oracle, &oracle->orphans[i], record->time)) {
            oldest = &oracle->orphans[i];
            waiting++;
        }
    }
    if (oracle->config->orphan_max && waiting > oracle->config->orphan_max) {
        oldest->gone = true;
        oracle->counters.evicted[oldest->record->event->rank]++;
    }
}

static void oracle_handle(struct oracle *oracle, const struct oracle_record *record)
{
    const struct consumer_event *event = record->event;
    oracle->counters.events[event->rank]++;
    if (oracle_duplicate(oracle, record)) {
        oracle->counters.duplicate[event->rank]++;
        return;
    }
    if (event->rank == 0) {
        oracle->counters.joined[0]++;
        oracle_enter(oracle, (struct oracle_entry){.self = event, .impression = event, .time = record->time});
        return;
    }
    const struct consumer_action_config *action = &oracle->config->action[event->rank];
    if (!(action->last_touch ? event->touch : event->impression_id).data) {
        oracle->counters.no_reference[event->rank]++;
        return;
    }
    long parent = oracle_parent(oracle, record);
    if (parent == NOBODY) {
        oracle_orphan(oracle, record);
    } else {
        oracle_settle(oracle, event, record->time, (size_t)parent);
    }
}

// What the waits and the window of a journey bring.
static void oracle_cursors(struct oracle *oracle, const struct oracle_entry *entry)
{
    const struct consumer_lane_config *config = oracle->config;
    int phase = 1 + (int)entry->stage * 2 * CONSUMER_TOPICS_MAX;
    for (uint32_t rank = 1; rank < config->ranks; rank++) {
        const struct consumer_action_config *action = &config->action[rank];
        if (action->parent != entry->stage || action->as) {
            continue;
        }
        int64_t due = entry->time + action->wait;
        if (due <= oracle->stream->until) {
            if (entry->joined[rank] <= due) {
                oracle_emit(oracle, due, phase + (int)rank, entry, BASE_C1, rank, false, 1u << (rank - 1));
            } else if (entry->stage == 0) {
                oracle_emit(oracle, due, phase + (int)rank, entry, BASE_N0, rank, true, 0);
            } else if (!entry->paid) {
                oracle_emit(oracle, due, phase + (int)rank, entry, BASE_C1, rank, true, 0);
            }
        }
        int64_t end = entry->time + action->window;
        if (entry->stage > 0 && !action->side && end <= oracle->stream->until) {
            unsigned labels = entry->joined[rank] <= end ? 1u << (rank - 1) : 0;
            for (uint32_t up = entry->stage; up > 0; up = config->action[up].parent) {
                labels |= 1u << (up - 1);
            }
            oracle_emit(oracle, end, phase + CONSUMER_TOPICS_MAX, entry, BASE_F3, rank, false, labels);
        }
    }
}

void support_oracle(const struct support_stream *stream, struct support_outcome *outcome)
{
    size_t most = 0;
    for (uint32_t rank = 0; rank < stream->config.ranks; rank++) {
        most += stream->steps[rank];
    }
    struct oracle oracle = {.stream = stream, .config = &stream->config};
    oracle.records = base_alloc_zeroed(most + 1, sizeof *oracle.records);
    oracle.seen = base_alloc_zeroed(most + 1, sizeof *oracle.seen);
    oracle.entries = base_alloc_zeroed(most + 1, sizeof *oracle.entries);
    oracle.orphans = base_alloc_zeroed(most + 1, sizeof *oracle.orphans);
    oracle.emissions = base_alloc_zeroed((most + 1) * 2 * CONSUMER_TOPICS_MAX, sizeof *oracle.emissions);

    oracle_times(&oracle);
    for (size_t i = 0; i < oracle.record_count && oracle.records[i].time <= stream->until; i++) {
        oracle_handle(&oracle, &oracle.records[i]);
    }
    for (size_t i = 0; i < oracle.entry_count; i++) {
        oracle_cursors(&oracle, &oracle.entries[i]);
    }
    for (size_t i = 0; i < oracle.orphan_count; i++) {
        const struct oracle_orphan *orphan = &oracle.orphans[i];
        if (!orphan->gone && orphan->record->time + stream->config.orphan_timeout <= stream->until) {
            oracle.counters.expired[orphan->record->event->rank]++;
        }
    }
    qsort(oracle.emissions, oracle.emission_count, sizeof *oracle.emissions, emission_compare);
    outcome->samples = base_alloc_zeroed(oracle.emission_count + 1, sizeof *outcome->samples);
    outcome->count = oracle.emission_count;
    for (size_t i = 0; i < oracle.emission_count; i++) {
        outcome->samples[i] = oracle.emissions[i].sample;
        outcome->samples[i].sequence = i;
    }
    outcome->counters = oracle.counters;
    free(oracle.records);
    free(oracle.seen);
    free(oracle.entries);
    free(oracle.orphans);
    free(oracle.emissions);
}

void support_outcome_done(struct support_outcome *outcome)
{
    free(outcome->samples);
    *outcome = (struct support_outcome){0};
}
