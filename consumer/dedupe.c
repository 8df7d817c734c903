// Event ids that were handled lately. See dedupe.h.
#include "consumer/dedupe.h"

#include <stdlib.h>

#include "base/hash.h"
#include "consumer/journey.h"

struct consumer_dedupe {
    struct consumer_journey *journey; // a record an id: its entry is the id's effective time
    int64_t dedupe;
};

// An empty set if `state` is NULL, else the saved one.
static struct consumer_dedupe *dedupe_make(const struct consumer_dedupe_config *config,
                                           struct base_reader *state, int64_t now, struct base_error *error)
{
    struct consumer_journey_config journey = {
        .directory = config->directory,
        .name = config->name,
        .lane = config->lane,
        .segment_bytes = config->segment_bytes,
        .retention = config->dedupe,
        .by_id = true,
        .disk = config->disk,
        .keep_dropped = config->keep_dropped,
    };
    struct consumer_dedupe *dedupe = base_alloc_zeroed(1, sizeof *dedupe);
    dedupe->dedupe = config->dedupe;
    dedupe->journey = state ? consumer_journey_restore(&journey, state, NULL, 0, now, error)
                            : consumer_journey_new(&journey, error);
    if (!dedupe->journey) {
        consumer_dedupe_free(dedupe);
        return NULL;
    }
    return dedupe;
}

struct consumer_dedupe *consumer_dedupe_new(const struct consumer_dedupe_config *config,
                                            struct base_error *error)
{
    return dedupe_make(config, NULL, 0, error);
}

struct consumer_dedupe *consumer_dedupe_restore(const struct consumer_dedupe_config *config,
                                                struct base_reader *state, int64_t now,
                                                struct base_error *error)
{
    return dedupe_make(config, state, now, error);
}

void consumer_dedupe_free(struct consumer_dedupe *dedupe)
{
    if (dedupe) {
        consumer_journey_free(dedupe->journey);
        free(dedupe);
    }
}

int consumer_dedupe_check(struct consumer_dedupe *dedupe, struct base_span id, int64_t now, bool *duplicate,
                          struct base_error *error)
{
    uint64_t hash = base_hash_bytes(id, 0);
    uint64_t number;
    struct consumer_journey_record record;
    if (consumer_journey_find_id(dedupe->journey, id, hash, &number, &record, error) != 0) {
        return -1;
    }
    if (number != CONSUMER_JOURNEY_NONE && now <= record.entry + dedupe->dedupe) {
        *duplicate = true;
        return 0;
    }
    struct consumer_journey_record fresh = {
        .entry = now,
        .parent = CONSUMER_JOURNEY_NONE,
        .impression_id = id,
    };
    if (consumer_journey_append(dedupe->journey, &fresh, hash, &number, error) != 0) {
        return -1;
    }
    *duplicate = false;
    return 0;
}

int64_t consumer_dedupe_drop_time(const struct consumer_dedupe *dedupe)
{
    return consumer_journey_drop_time(dedupe->journey);
}

void consumer_dedupe_drop(struct consumer_dedupe *dedupe)
{
    consumer_journey_drop(dedupe->journey);
}

void consumer_dedupe_release(struct consumer_dedupe *dedupe)
{
    consumer_journey_release(dedupe->journey);
}

int consumer_dedupe_save(struct consumer_dedupe *dedupe, uint64_t cut, struct base_buffer *state,
                         struct base_sync *sync, struct base_error *error)
{
    return consumer_journey_save(dedupe->journey, cut, state, sync, error);
}

void consumer_dedupe_cut_done(struct consumer_dedupe *dedupe, uint64_t cut)
{
    consumer_journey_cut_done(dedupe->journey, cut);
}

uint64_t consumer_dedupe_count(const struct consumer_dedupe *dedupe)
{
    return consumer_journey_end(dedupe->journey) - consumer_journey_begin(dedupe->journey);
}

uint64_t consumer_dedupe_memory_bytes(const struct consumer_dedupe *dedupe)
{
    return consumer_journey_memory_bytes(dedupe->journey);
}

uint64_t consumer_dedupe_disk_bytes(const struct consumer_dedupe *dedupe)
{
    return consumer_journey_disk_bytes(dedupe->journey);
}
