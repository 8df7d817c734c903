// Saving and restoring a joiner. See joiner.h.
#include "consumer/joiner_private.h"

int consumer_joiner_save(struct consumer_joiner *joiner, uint64_t cut, struct base_buffer *state,
                         struct base_sync *sync, struct base_error *error)
{
    size_t before = state->size;
    int result = 0;
    for (uint32_t stage = 0; stage < joiner->funnel.stages && result == 0; stage++) {
        result = consumer_journey_save(joiner->journey[stage], cut, state, sync, error);
    }
    for (uint32_t rank = 1; rank < joiner->funnel.ranks && result == 0; rank++) {
        result = consumer_dedupe_save(joiner->dedupe[rank], cut, state, sync, error);
    }
    if (result != 0) {
        state->size = before;
        return -1;
    }
    // When a cursor is due follows from where it stands; where one stands that only drops, from its log.
    base_buffer_u64(state, joiner->sequence);
    for (uint32_t i = 0; i < joiner->cursors; i++) {
        base_buffer_u64(state, joiner->cursor[i].next);
    }
    consumer_orphans_save(joiner->orphans, state);
    return 0;
}

void consumer_joiner_cut_done(struct consumer_joiner *joiner, uint64_t cut)
{
    for (uint32_t stage = 0; stage < joiner->funnel.stages; stage++) {
        consumer_journey_cut_done(joiner->journey[stage], cut);
    }
    for (uint32_t rank = 1; rank < joiner->funnel.ranks; rank++) {
        consumer_dedupe_cut_done(joiner->dedupe[rank], cut);
    }
}

static int joiner_damaged(const struct consumer_joiner *joiner, const char *what, struct base_error *error)
{
    return base_error_set(error, BASE_EFORMAT, "the saved state of lane %u is corrupt: its %s cannot be",
                          joiner->lane, what);
}

static int joiner_restore_orphans(struct consumer_joiner *joiner, struct base_reader *state,
                                  struct base_error *error)
{
    uint64_t count = base_reader_u64(state);
    int64_t time = CONSUMER_TIME_MIN;
    for (uint64_t i = 0; i < count; i++) {
        struct consumer_pending *orphan =
            consumer_pool_restore(joiner->pool, joiner->lane, joiner->funnel.ranks, state);
        if (!orphan) {
            return joiner_damaged(joiner, "orphans", error);
        }
        bool touch = joiner->funnel.action[orphan->event.rank].last_touch;
        struct base_span key = touch ? orphan->event.touch : orphan->event.impression_id;
        if (!key.data || orphan->time < time) {
            consumer_pool_give(joiner->pool, orphan);
            return joiner_damaged(joiner, "orphans", error);
        }
        time = orphan->time;
        consumer_orphans_add(joiner->orphans, orphan, key);
    }
    return 0;
}

// A new action's wait begins behind the records that there are: none of them knows it.
static void joiner_restore_cursors(struct consumer_joiner *joiner, uint32_t ranks, struct base_reader *state)
{
    for (uint32_t i = 0; i < joiner->cursors; i++) {
        struct joiner_cursor *cursor = &joiner->cursor[i];
        if (cursor->rank < ranks) {
            cursor->next = base_reader_u64(state);
        } else if (cursor->class == CURSOR_WAIT) {
            cursor->next = consumer_journey_end(joiner->journey[cursor->stage]);
        }
    }
}

uint32_t consumer_joiner_generations(const struct consumer_joiner *joiner)
{
    uint32_t generations = 0;
    for (uint32_t stage = 0; stage < joiner->funnel.stages; stage++) {
        generations |= consumer_journey_generations(joiner->journey[stage]);
    }
    return generations;
}

// All records of a log had one layout, so that its first one tells.
int consumer_joiner_check_columns(struct consumer_joiner *joiner, struct base_error *error)
{
    for (uint32_t stage = 0; stage < joiner->funnel.stages; stage++) {
        struct consumer_journey *journey = joiner->journey[stage];
        uint64_t first = consumer_journey_begin(journey);
        struct consumer_journey_record record;
        if (first < consumer_journey_end(journey) &&
            (consumer_journey_read(journey, first, &record, error) ||
             consumer_generations_check(joiner->generations, record.columns, error))) {
            return -1;
        }
    }
    return 0;
}

struct consumer_joiner *
consumer_joiner_restore(const struct consumer_lane_config *config, const struct consumer_funnel *funnel,
                        struct consumer_pool *pool, struct consumer_lane_counters *counters, uint32_t ranks,
                        int64_t now, struct base_reader *state, struct base_error *error)
{
    struct consumer_joiner *joiner = joiner_make(config, funnel, pool, counters);
    int failed = joiner_open_logs(joiner, config, state, ranks, now, error);
    joiner->sequence = base_reader_u64(state);
    if (!failed) {
        joiner_restore_cursors(joiner, ranks, state);
    }
    failed = failed || joiner_restore_orphans(joiner, state, error) != 0;
    for (uint32_t i = 0; i < joiner->cursors && !failed; i++) {
        const struct joiner_cursor *cursor = &joiner->cursor[i];
        const struct consumer_journey *journey = joiner->journey[cursor->stage];
        bool walks = cursor->class == CURSOR_WAIT || cursor->class == CURSOR_FINAL;
        bool stands = !walks || (consumer_journey_begin(journey) <= cursor->next &&
                                 cursor->next <= consumer_journey_end(journey));
        if (!stands) {
            failed = joiner_damaged(joiner, "cursors", error);
        } else if (joiner_aim(joiner, i, error) != 0) {
            failed = -1;
        } else if (joiner->due[i] <= now) { // up to there everything has fired
            failed = joiner_damaged(joiner, "time", error);
        }
    }
    if (failed) {
        consumer_joiner_free(joiner);
        return NULL;
    }
    // The logs say every value again; what was emitted is not asked for.
    for (uint32_t rank = 1; rank < funnel->ranks; rank++) {
        struct consumer_journey *journey = joiner->journey[funnel->action[rank].parent];
        consumer_values_remove_below(consumer_journey_values(journey), joiner_values_from(joiner, rank),
                                     rank);
    }
    return joiner;
}
