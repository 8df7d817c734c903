// The joiner of a lane. See joiner.h; "rule n" is docs/join.md's.
//
// Per stage there is a journey log. Per stage and action that hangs on it a cursor walks the log at the
// action's wait, per stage but the impression's another at the funnel's window (F3): entries are in the order
// of time, so a cursor is a number and the time at which that record is due. Whether an action was late is
// then simply whether the wait's cursor has passed its parent.
#include "consumer/joiner.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "consumer/joiner_private.h"
#include "consumer/segments.h"

static uint32_t joiner_add_cursor(struct consumer_joiner *joiner, struct joiner_cursor cursor)
{
    assert(joiner->cursors < CURSORS_MAX);
    joiner->cursor[joiner->cursors] = cursor;
    joiner->due[joiner->cursors] = CONSUMER_TIME_MAX;
    return joiner->cursors++;
}

// In the order in which they fire at one time.
static void joiner_add_cursors(struct consumer_joiner *joiner)
{
    const struct consumer_funnel *funnel = &joiner->funnel;
    for (uint32_t stage = 0; stage < funnel->stages; stage++) {
        const struct consumer_funnel_stage *compiled = &funnel->stage[stage];
        for (uint32_t i = 0; i < compiled->children; i++) {
            uint32_t rank = compiled->child[i];
            if (funnel->action[rank].as) {
                joiner->wait[rank] = joiner->wait[funnel->action[rank].as];
                continue;
            }
            joiner->wait[rank] = joiner_add_cursor(
                joiner,
                (struct joiner_cursor){
                    .class = CURSOR_WAIT, .stage = stage, .rank = rank, .delay = funnel->action[rank].wait});
        }
        if (stage > 0) {
            joiner->final[stage] = joiner_add_cursor(
                joiner, (struct joiner_cursor){.class = CURSOR_FINAL,
                                               .stage = stage,
                                               .rank = compiled->next,
                                               .delay = funnel->action[compiled->next].window});
        }
        joiner->drop[stage] =
            joiner_add_cursor(joiner, (struct joiner_cursor){.class = CURSOR_DROP, .stage = stage});
    }
    joiner->expiry = joiner_add_cursor(joiner, (struct joiner_cursor){.class = CURSOR_ORPHANS});
    for (uint32_t rank = 1; rank < funnel->ranks; rank++) {
        joiner->seen[rank] =
            joiner_add_cursor(joiner, (struct joiner_cursor){.class = CURSOR_SEEN, .rank = rank});
    }
}

// Empty logs if `state` is NULL, else the saved ones. A stage's log says what is joined in its parent's,
// which is one of those before it.
int joiner_open_logs(struct consumer_joiner *joiner, const struct consumer_lane_config *config,
                     struct base_reader *state, uint32_t ranks, int64_t now, struct base_error *error)
{
    char name[CONSUMER_SEGMENTS_NAME_MAX + 1];
    for (uint32_t stage = 0; stage < joiner->funnel.stages; stage++) {
        const struct consumer_funnel_stage *compiled = &joiner->funnel.stage[stage];
        snprintf(name, sizeof name, "%s.journey", compiled->name);
        struct consumer_journey_config journey = {
            .directory = config->directory,
            .name = name,
            .lane = config->lane,
            .segment_bytes = config->segment_bytes,
            .retention = compiled->retention,
            .by_id = compiled->by_id,
            .by_touch = compiled->by_touch,
            .disk = config->disk,
            .keep_dropped = config->keep_dropped,
        };
        struct consumer_journey *parent = stage ? joiner->journey[config->action[stage].parent] : NULL;
        joiner->journey[stage] = state ? consumer_journey_restore(&journey, state, parent, stage, now, error)
                                       : consumer_journey_new(&journey, error);
        if (!joiner->journey[stage]) {
            return -1;
        }
    }
    for (uint32_t rank = 1; rank < config->ranks; rank++) {
        snprintf(name, sizeof name, "%s.seen", config->action[rank].name);
        struct consumer_dedupe_config dedupe = {
            .directory = config->directory,
            .name = name,
            .lane = config->lane,
            .segment_bytes = config->segment_bytes,
            .dedupe = config->dedupe[rank],
            .disk = config->disk,
            .keep_dropped = config->keep_dropped,
        };
        joiner->dedupe[rank] = state && rank < ranks ? consumer_dedupe_restore(&dedupe, state, now, error)
                                                     : consumer_dedupe_new(&dedupe, error);
        if (!joiner->dedupe[rank]) {
            return -1;
        }
    }
    return 0;
}

// Everything but the logs.
struct consumer_joiner *joiner_make(const struct consumer_lane_config *config,
                                    const struct consumer_funnel *funnel, struct consumer_pool *pool,
                                    struct consumer_lane_counters *counters)
{
    struct consumer_joiner *joiner = base_alloc_zeroed(1, sizeof *joiner);
    joiner->funnel = *funnel;
    joiner->lane = config->lane;
    joiner->dedupe_impressions = config->dedupe[0];
    joiner->orphan_timeout = config->orphan_timeout;
    joiner->orphan_max = config->orphan_max;
    // hash < r * 2^64 over the integers is hash < ceil(r * 2^64); the product is exact.
    joiner->keep_all = config->keep_negatives >= 1;
    joiner->keep_below = joiner->keep_all ? 0 : (uint64_t)ceil(ldexp(config->keep_negatives, 64));
    joiner->sampled_weight = (float)(1 / config->keep_negatives);
    joiner->weighs_negatives = config->weighs_negatives;
    joiner->train_final = config->train_final;
    joiner->generations = config->generations;
    joiner->pool = pool;
    joiner->counters = counters;
    joiner->orphans = consumer_orphans_new();
    joiner_add_cursors(joiner);
    return joiner;
}

struct consumer_joiner *consumer_joiner_new(const struct consumer_lane_config *config,
                                            const struct consumer_funnel *funnel, struct consumer_pool *pool,
                                            struct consumer_lane_counters *counters, struct base_error *error)
{
    struct consumer_joiner *joiner = joiner_make(config, funnel, pool, counters);
    if (joiner_open_logs(joiner, config, NULL, 0, 0, error) != 0) {
        consumer_joiner_free(joiner);
        return NULL;
    }
    return joiner;
}

void consumer_joiner_free(struct consumer_joiner *joiner)
{
    if (!joiner) {
        return;
    }
    for (uint32_t i = 0; i < CONSUMER_TOPICS_MAX; i++) {
        consumer_journey_free(joiner->journey[i]);
        consumer_dedupe_free(joiner->dedupe[i]);
    }
    for (struct consumer_pending *orphan = consumer_orphans_oldest(joiner->orphans); orphan;
         orphan = consumer_orphans_oldest(joiner->orphans)) {
        consumer_orphans_take(joiner->orphans, orphan);
        consumer_pool_give(joiner->pool, orphan);
    }
    consumer_orphans_free(joiner->orphans);
    consumer_arena_free(&joiner->columns);
    free(joiner);
}

void consumer_joiner_begin(struct consumer_joiner *joiner, consumer_sample_sink *sink, void *context)
{
    for (uint32_t stage = 0; stage < joiner->funnel.stages; stage++) {
        consumer_journey_release(joiner->journey[stage]);
    }
    for (uint32_t rank = 1; rank < joiner->funnel.ranks; rank++) {
        consumer_dedupe_release(joiner->dedupe[rank]);
    }
    consumer_arena_free(&joiner->columns);
    joiner->sink = sink;
    joiner->context = context;
}

// The tasks that an impression of a generation can say something of, a bit each.
static unsigned joiner_known(const struct consumer_joiner *joiner, uint8_t generation)
{
    return (1u << (consumer_generations_ranks(joiner->generations, generation) - 1)) - 1;
}

// Emits a sample about record `number` of a stage: `mask` and `labels` have a bit a task; `value` is task's.
static int joiner_emit(struct consumer_joiner *joiner, int64_t now, enum base_kind kind, uint32_t stage,
                       uint64_t number, uint32_t task, unsigned mask, unsigned labels, float value,
                       struct base_error *error)
{
    struct consumer_journey_record record;
    if (consumer_journey_pin(joiner->journey[stage], number, &record, error) != 0) {
        return -1;
    }
    if (kind == BASE_N0 && !joiner->keep_all &&
        base_hash_bytes(record.impression_id, 0) >= joiner->keep_below) {
        joiner->counters->not_kept++;
        return 0;
    }
    if (joiner->generations) {
        // Of tasks that came after the impression nothing is known (rule 26).
        unsigned known = joiner_known(joiner, record.generation);
        if (mask && !(mask & known)) {
            return 0;
        }
        mask &= known;
        if (consumer_generations_columns(joiner->generations, record.generation, &joiner->columns,
                                         &record.columns, error) != 0) {
            return -1;
        }
    }
    struct base_sample sample = {
        .due_time = now,
        .event_time = record.impression_time,
        .sequence = joiner->sequence++,
        .lane = joiner->lane,
        .kind = (uint8_t)kind,
        .mask = (uint8_t)mask,
        .trains = kind != BASE_F3 || joiner->train_final,
        .task = (uint8_t)task,
        .impression_id = record.impression_id,
        .columns = record.columns,
        .weighted = record.weighted,
        .impression_weight = record.weight,
    };
    float weight = record.weighted ? record.weight : 1;
    for (uint32_t k = 0; k < joiner->funnel.tasks; k++) {
        sample.label[k] = labels >> k & 1;
        sample.value[k] = !sample.label[k] ? 0 : k == task ? value : NAN;
        if (mask >> k & 1) {
            // The click's logit may account for the sampling itself (docs/losses.md, section 4); products
            // never do.
            bool sampled = kind == BASE_N0 && (k > 0 || joiner->weighs_negatives);
            sample.weight[k] = sampled ? weight * joiner->sampled_weight : weight;
        }
    }
    // The action that started the stage is the record itself.
    if (stage > 0 && sample.label[stage - 1] && record.valued) {
        sample.value[stage - 1] = consumer_journey_value(record.value);
    }
    joiner->counters->samples[kind]++;
    return joiner->sink(joiner->context, &sample, error);
}

static void joiner_aim_expiry(struct consumer_joiner *joiner)
{
    const struct consumer_pending *oldest = consumer_orphans_oldest(joiner->orphans);
    joiner->due[joiner->expiry] = oldest ? oldest->time + joiner->orphan_timeout : CONSUMER_TIME_MAX;
}

// Sets the time at which a cursor falls due.
int joiner_aim(struct consumer_joiner *joiner, uint32_t index, struct base_error *error)
{
    const struct joiner_cursor *cursor = &joiner->cursor[index];
    struct consumer_journey *journey = joiner->journey[cursor->stage];
    struct consumer_journey_record record;
    switch (cursor->class) {
    case CURSOR_WAIT:
    case CURSOR_FINAL:
        if (cursor->next == consumer_journey_end(journey)) {
            joiner->due[index] = CONSUMER_TIME_MAX;
            return 0;
        }
        if (consumer_journey_read(journey, cursor->next, &record, error) != 0) {
            return -1;
        }
        joiner->due[index] = record.entry + cursor->delay;
        return 0;
    case CURSOR_DROP:
        joiner->due[index] = consumer_journey_drop_time(journey);
        return 0;
    case CURSOR_ORPHANS:
        joiner_aim_expiry(joiner);
        return 0;
    case CURSOR_SEEN:
        joiner->due[index] = consumer_dedupe_drop_time(joiner->dedupe[cursor->rank]);
        return 0;
    }
    return 0;
}

// Record `number` has just entered a stage at `now`.
static void joiner_aim_entered(struct consumer_joiner *joiner, uint32_t stage, uint64_t number, int64_t now)
{
    uint32_t first = joiner->wait[joiner->funnel.stage[stage].child[0]];
    for (uint32_t i = first; i < joiner->drop[stage]; i++) {
        if (joiner->cursor[i].next == number) {
            joiner->due[i] = now + joiner->cursor[i].delay;
        }
    }
    joiner->due[joiner->drop[stage]] = consumer_journey_drop_time(joiner->journey[stage]);
}

static int joiner_enter(struct consumer_joiner *joiner, uint32_t stage,
                        const struct consumer_journey_record *record, uint64_t id_hash,
                        struct base_error *error);

// Whether the cursor of an action's wait has passed a record of its stage: then the action is late.
static bool joiner_wait_passed(const struct consumer_joiner *joiner, uint32_t rank, uint64_t number)
{
    return number < joiner->cursor[joiner->wait[rank]].next;
}

// The action that an event of `rank` is joined as.
static uint32_t joiner_as(const struct consumer_joiner *joiner, uint32_t rank)
{
    uint32_t as = joiner->funnel.action[rank].as;
    return as ? as : rank;
}

uint64_t joiner_values_from(const struct consumer_joiner *joiner, uint32_t rank)
{
    uint32_t stage = joiner->funnel.action[rank].parent;
    // F3 says what the stage's own action came to, after its wait; others are asked for once.
    bool final = stage > 0 && rank == joiner->funnel.stage[stage].next;
    return joiner->cursor[final ? joiner->final[stage] : joiner->wait[rank]].next;
}

// Joins an action to record `number` of its parent's stage.
static int joiner_join(struct consumer_joiner *joiner, int64_t now, const struct consumer_event *event,
                       uint64_t number, const struct consumer_journey_record *parent,
                       struct base_error *error)
{
    uint32_t rank = joiner_as(joiner, event->rank);
    const struct consumer_action_config *action = &joiner->funnel.action[event->rank];
    uint32_t task = rank - 1;
    bool late = joiner_wait_passed(joiner, rank, number);
    joiner->counters->joined[event->rank]++;
    if (!action->last_touch && event->event_time < parent->event_time) {
        joiner->counters->negative_delay[event->rank]++;
    }
    struct consumer_journey_record record = {
        .entry = now,
        .event_time = event->event_time,
        .impression_time = parent->impression_time,
        .parent = number,
        .paid = parent->paid || late,
        .generation = parent->generation,
        .impression_id = parent->impression_id,
        .touch = event->touch,
        .columns = parent->columns,
        .valued = !isnan(event->value),
        .value = event->value,
        .weighted = parent->weighted,
        .weight = parent->weight,
    };
    float value = consumer_journey_value(event->value);
    // `parent` is borrowed until the parent's log changes: the sample first, then the log.
    if (late && joiner_emit(joiner, now, rank == 1 ? BASE_L : BASE_D2, action->parent, number, task,
                            1u << task, 1u << task, value, error) != 0) {
        return -1;
    }
    struct consumer_journey *journey = joiner->journey[action->parent];
    if (!isnan(value) && number >= joiner_values_from(joiner, rank)) {
        consumer_values_put(consumer_journey_values(journey), number, rank, value);
    }
    if (rank >= joiner->funnel.stages) {
        if (consumer_journey_mark(journey, number, rank, now, event->event_time, event->value, error) != 0) {
            return -1;
        }
        joiner->due[joiner->drop[action->parent]] = consumer_journey_drop_time(journey);
        return 0;
    }
    consumer_journey_join(journey, number, rank);
    return joiner_enter(joiner, rank, &record, base_hash_bytes(record.impression_id, 0), error);
}

// An action and the record that it refers to: joins them unless it is outside the window or second.
static int joiner_settle(struct consumer_joiner *joiner, int64_t now, const struct consumer_event *event,
                         uint64_t number, const struct consumer_journey_record *parent,
                         struct base_error *error)
{
    uint32_t rank = event->rank;
    const struct consumer_action_config *action = &joiner->funnel.action[rank];
    bool unheard =
        joiner->generations && rank >= consumer_generations_ranks(joiner->generations, parent->generation);
    if (unheard || event->event_time - parent->event_time > action->window) {
        joiner->counters->beyond[rank]++;
        return 0;
    }
    if (consumer_journey_joined(joiner->journey[action->parent], number, joiner_as(joiner, rank))) {
        joiner->counters->second[rank]++;
        return 0;
    }
    return joiner_join(joiner, now, event, number, parent, error);
}

// Rule 17's bounds: the parent's event time lies in [t - window, t].
static bool joiner_touches(const struct consumer_action_config *action, int64_t event_time,
                           int64_t parent_time)
{
    return parent_time <= event_time && event_time - parent_time <= action->window;
}

// Joins the orphans of one action that a new record of its parent's stage has made whole, in the lane's
// order.
static int joiner_adopt(struct consumer_joiner *joiner, int64_t now, uint32_t rank, uint64_t number,
                        struct base_error *error)
{
    const struct consumer_action_config *action = &joiner->funnel.action[rank];
    struct consumer_journey *journey = joiner->journey[action->parent];
    struct consumer_journey_record parent;
    if (consumer_journey_read(journey, number, &parent, error) != 0) {
        return -1;
    }
    struct base_span key = action->last_touch ? parent.touch : parent.impression_id;
    struct consumer_pending *next = key.data ? consumer_orphans_find(joiner->orphans, rank, key) : NULL;
    int64_t parent_time = parent.event_time;
    int result = 0;
    while (next && result == 0) {
        struct consumer_pending *orphan = next;
        next = orphan->same_newer;
        if (action->last_touch && !joiner_touches(action, orphan->event.event_time, parent_time)) {
            continue; // it waits on
        }
        consumer_orphans_take(joiner->orphans, orphan);
        joiner_aim_expiry(joiner);
        // Read again: joining the one before may have moved the log's buffer.
        result = consumer_journey_read(journey, number, &parent, error);
        if (result == 0) {
            result = joiner_settle(joiner, now, &orphan->event, number, &parent, error);
        }
        consumer_pool_give(joiner->pool, orphan);
    }
    return result;
}

static int joiner_enter(struct consumer_joiner *joiner, uint32_t stage,
                        const struct consumer_journey_record *record, uint64_t id_hash,
                        struct base_error *error)
{
    uint64_t number;
    if (consumer_journey_append(joiner->journey[stage], record, id_hash, &number, error) != 0) {
        return -1;
    }
    joiner_aim_entered(joiner, stage, number, record->entry);
    // Action by action: what joins a journey at its entry is never late and emits nothing, so that the order
    // between different actions' orphans cannot be seen; but for those that count as one, whose order it is.
    const struct consumer_funnel_stage *entered = &joiner->funnel.stage[stage];
    int64_t now = record->entry;
    for (uint32_t i = 0; i < entered->children && consumer_orphans_count(joiner->orphans); i++) {
        if (joiner_adopt(joiner, now, entered->child[i], number, error) != 0) {
            return -1;
        }
    }
    return 0;
}

static int joiner_impression(struct consumer_joiner *joiner, const struct consumer_pending *pending,
                             struct base_error *error)
{
    const struct consumer_event *event = &pending->event;
    struct consumer_journey_record record;
    uint64_t number;
    if (consumer_journey_find_id(joiner->journey[0], event->impression_id, pending->id_hash, &number, &record,
                                 error) != 0) {
        return -1;
    }
    // The latest of its id is the one that is remembered: an earlier one was forgotten when this one came.
    if (number != CONSUMER_JOURNEY_NONE && pending->time <= record.entry + joiner->dedupe_impressions) {
        joiner->counters->duplicate[0]++;
        return 0;
    }
    joiner->counters->joined[0]++;
    record = (struct consumer_journey_record){
        .entry = pending->time,
        .event_time = event->event_time,
        .impression_time = event->event_time,
        .parent = CONSUMER_JOURNEY_NONE,
        .generation = joiner->generations ? consumer_generations_present(joiner->generations) : 0,
        .impression_id = event->impression_id,
        .touch = event->touch,
        .columns = event->columns,
        .weighted = event->weighted,
        .weight = event->weight,
    };
    return joiner_enter(joiner, 0, &record, pending->id_hash, error);
}

// The living record of a touch key that an action at `event_time` touched last: *number and *record, or none.
static int joiner_find_touch(struct consumer_joiner *joiner, int64_t now, const struct consumer_event *event,
                             uint64_t *number, struct consumer_journey_record *record,
                             struct base_error *error)
{
    const struct consumer_action_config *action = &joiner->funnel.action[event->rank];
    struct consumer_journey *journey = joiner->journey[action->parent];
    struct consumer_journey_record candidate;
    uint64_t walk;
    uint64_t best = CONSUMER_JOURNEY_NONE;
    if (consumer_journey_find_touch(journey, event->touch, &walk, &candidate, error) != 0) {
        return -1;
    }
    while (walk != CONSUMER_JOURNEY_NONE && now <= candidate.entry + action->window) {
        // Of equal times the later entry wins, and later entries come first here.
        if (joiner_touches(action, event->event_time, candidate.event_time) &&
            (best == CONSUMER_JOURNEY_NONE || candidate.event_time > record->event_time)) {
            best = walk;
            *record = candidate;
        }
        walk = candidate.previous;
        if (walk == CONSUMER_JOURNEY_NONE || walk < consumer_journey_begin(journey)) {
            break;
        }
        if (consumer_journey_read(journey, walk, &candidate, error) != 0) {
            return -1;
        }
    }
    *number = best;
    return 0;
}

// The living record that an action refers to by id.
static int joiner_find_id(struct consumer_joiner *joiner, const struct consumer_pending *pending,
                          uint64_t *number, struct consumer_journey_record *record, struct base_error *error)
{
    const struct consumer_action_config *action = &joiner->funnel.action[pending->event.rank];
    if (consumer_journey_find_id(joiner->journey[action->parent], pending->event.impression_id,
                                 pending->id_hash, number, record, error) != 0) {
        return -1;
    }
    if (*number != CONSUMER_JOURNEY_NONE && pending->time > record->entry + action->window) {
        *number = CONSUMER_JOURNEY_NONE;
    }
    return 0;
}

// The orphan belongs to the lane from here on.
static void joiner_orphan(struct consumer_joiner *joiner, struct consumer_pending *pending,
                          struct base_span key)
{
    joiner->counters->orphaned[pending->event.rank]++;
    consumer_orphans_add(joiner->orphans, pending, key);
    if (joiner->orphan_max && consumer_orphans_count(joiner->orphans) > joiner->orphan_max) {
        struct consumer_pending *oldest = consumer_orphans_oldest(joiner->orphans);
        joiner->counters->evicted[oldest->event.rank]++;
        consumer_orphans_take(joiner->orphans, oldest);
        consumer_pool_give(joiner->pool, oldest);
    }
    joiner_aim_expiry(joiner);
}

// *kept: the event waits as an orphan.
static int joiner_action(struct consumer_joiner *joiner, struct consumer_pending *pending, bool *kept,
                         struct base_error *error)
{
    const struct consumer_event *event = &pending->event;
    uint32_t rank = event->rank;
    if (event->event_id.data) {
        bool duplicate;
        if (consumer_dedupe_check(joiner->dedupe[rank], event->event_id, pending->time, &duplicate, error)) {
            return -1;
        }
        joiner->due[joiner->seen[rank]] = consumer_dedupe_drop_time(joiner->dedupe[rank]);
        if (duplicate) {
            joiner->counters->duplicate[rank]++;
            return 0;
        }
    }
    bool touch = joiner->funnel.action[rank].last_touch;
    struct base_span key = touch ? event->touch : event->impression_id;
    if (!key.data) {
        joiner->counters->no_reference[rank]++;
        return 0;
    }
    struct consumer_journey_record parent;
    uint64_t number;
    int found = touch ? joiner_find_touch(joiner, pending->time, event, &number, &parent, error)
                      : joiner_find_id(joiner, pending, &number, &parent, error);
    if (found != 0) {
        return -1;
    }
    if (number == CONSUMER_JOURNEY_NONE) {
        joiner_orphan(joiner, pending, key);
        *kept = true;
        return 0;
    }
    return joiner_settle(joiner, pending->time, event, number, &parent, error);
}

int consumer_joiner_handle(struct consumer_joiner *joiner, struct consumer_pending *pending,
                           struct base_error *error)
{
    bool kept = false;
    joiner->counters->events[pending->event.rank]++;
    int result = pending->event.rank == 0 ? joiner_impression(joiner, pending, error)
                                          : joiner_action(joiner, pending, &kept, error);
    if (!kept) {
        consumer_pool_give(joiner->pool, pending);
    }
    return result;
}

void consumer_joiner_prefetch(const struct consumer_joiner *joiner, const struct consumer_pending *pending)
{
    const struct consumer_action_config *action = &joiner->funnel.action[pending->event.rank];
    if (pending->event.rank == 0) {
        consumer_journey_prefetch(joiner->journey[0], pending->id_hash);
    } else if (!action->last_touch && pending->event.impression_id.data) {
        consumer_journey_prefetch(joiner->journey[action->parent], pending->id_hash);
    }
}

int64_t consumer_joiner_next_time(const struct consumer_joiner *joiner)
{
    int64_t least = CONSUMER_TIME_MAX;
    for (uint32_t i = 0; i < joiner->cursors; i++) {
        least = joiner->due[i] < least ? joiner->due[i] : least;
    }
    return least;
}

// A record's wait for an action is over.
static int joiner_fire_wait(struct consumer_joiner *joiner, int64_t now, const struct joiner_cursor *cursor,
                            struct base_error *error)
{
    uint32_t rank = cursor->rank;
    uint32_t task = rank - 1;
    struct consumer_journey *journey = joiner->journey[cursor->stage];
    if (consumer_journey_joined(journey, cursor->next, rank)) {
        float value = consumer_values_get(consumer_journey_values(journey), cursor->next, rank);
        return joiner_emit(joiner, now, BASE_C1, cursor->stage, cursor->next, task, 1u << task, 1u << task,
                           value, error);
    }
    unsigned negatives = joiner->funnel.negatives[rank];
    if (cursor->stage == 0) {
        return joiner_emit(joiner, now, BASE_N0, 0, cursor->next, task, negatives, 0, 0, error);
    }
    struct consumer_journey_record record;
    if (consumer_journey_read(journey, cursor->next, &record, error) != 0) {
        return -1;
    }
    if (record.paid) {
        return 0; // rule 21
    }
    return joiner_emit(joiner, now, BASE_C1, cursor->stage, cursor->next, task, negatives, 0, 0, error);
}

// A stage's window is over: what it came to is final. Every action up to the stage's own happened.
static int joiner_fire_final(struct consumer_joiner *joiner, int64_t now, const struct joiner_cursor *cursor,
                             struct base_error *error)
{
    uint32_t task = cursor->rank - 1;
    unsigned labels = (1u << task) - 1;
    struct consumer_journey *journey = joiner->journey[cursor->stage];
    if (consumer_journey_joined(journey, cursor->next, cursor->rank)) {
        labels |= 1u << task;
    }
    float value = consumer_values_get(consumer_journey_values(journey), cursor->next, cursor->rank);
    return joiner_emit(joiner, now, BASE_F3, cursor->stage, cursor->next, task, 0, labels, value, error);
}

static int joiner_fire(struct consumer_joiner *joiner, int64_t now, uint32_t index, struct base_error *error)
{
    struct joiner_cursor *cursor = &joiner->cursor[index];
    struct consumer_pending *orphan;
    switch (cursor->class) {
    case CURSOR_WAIT:
    case CURSOR_FINAL:
        if ((cursor->class == CURSOR_WAIT ? joiner_fire_wait : joiner_fire_final)(joiner, now, cursor,
                                                                                  error) != 0) {
            return -1;
        }
        cursor->next++;
        if (cursor->next - 1 < joiner_values_from(joiner, cursor->rank)) {
            struct consumer_values *values = consumer_journey_values(joiner->journey[cursor->stage]);
            consumer_values_remove(values, cursor->next - 1, cursor->rank);
        }
        break;
    case CURSOR_DROP:
        consumer_journey_drop(joiner->journey[cursor->stage]);
        break;
    case CURSOR_ORPHANS:
        orphan = consumer_orphans_oldest(joiner->orphans);
        joiner->counters->expired[orphan->event.rank]++;
        consumer_orphans_take(joiner->orphans, orphan);
        consumer_pool_give(joiner->pool, orphan);
        break;
    case CURSOR_SEEN:
        consumer_dedupe_drop(joiner->dedupe[cursor->rank]);
        break;
    }
    return joiner_aim(joiner, index, error);
}

int consumer_joiner_advance(struct consumer_joiner *joiner, int64_t now, struct base_error *error)
{
    for (uint32_t i = 0; i < joiner->cursors; i++) {
        while (joiner->due[i] <= now) {
            if (joiner_fire(joiner, now, i, error) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

void consumer_joiner_usage(const struct consumer_joiner *joiner, struct consumer_lane_usage *usage)
{
    usage->orphans = consumer_orphans_count(joiner->orphans);
    usage->index_bytes = consumer_orphans_bytes(joiner->orphans);
    for (uint32_t stage = 0; stage < joiner->funnel.stages; stage++) {
        const struct consumer_journey *journey = joiner->journey[stage];
        usage->journeys += consumer_journey_end(journey) - consumer_journey_begin(journey);
        usage->index_bytes += consumer_journey_memory_bytes(journey);
        usage->log_bytes += consumer_journey_disk_bytes(journey);
    }
    for (uint32_t rank = 1; rank < joiner->funnel.ranks; rank++) {
        usage->remembered += consumer_dedupe_count(joiner->dedupe[rank]);
        usage->index_bytes += consumer_dedupe_memory_bytes(joiner->dedupe[rank]);
        usage->log_bytes += consumer_dedupe_disk_bytes(joiner->dedupe[rank]);
    }
}
