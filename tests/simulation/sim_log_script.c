// What arrives in the simulated log, and when. See sim_log_script.h.
//
// Each lane by itself: impressions at even distances of event time, what follows each of them, how long each
// record is on its way. Sorted by arrival, a partition's records are laid out offset by offset, now and then
// as a transaction, whose marker takes an offset as well.
#include "simulation/sim_log_script.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "consumer/schema.h"

enum {
    ID_MAX = 48,
    FUTURE_MS = 10 * 86400000, // ten days
    TRANSACTION_MOST = 12,     // records of one
    TRANSACTION_MS = 3000,     // it is open for, at most
};

struct draft {
    int64_t arrival_ms, event_ms; // since the beginning
    uint64_t order;               // ties
    uint8_t *value;
    size_t size;
};

struct drafts {
    struct draft *draft;
    uint32_t count, capacity;
};

struct script {
    const struct sim_log_config *config;
    struct sim_random random, values;
    uint32_t lane;
    uint64_t orders;
    struct drafts drafts[SIM_LOG_RANKS];
};

static int64_t draw_exponential(struct sim_random *random, int64_t mean)
{
    return (int64_t)(base_random_exponential(random->key, random->counter++) * (double)mean);
}

// A value of some size: log-normal, about.
static double draw_real(struct sim_random *random)
{
    return exp(base_random_normal(random->key, random->counter++));
}

// ---- records ----

static void put_text(struct base_buffer *body, const char *text)
{
    consumer_schema_put_bytes(body, base_span_string(text));
}

static void put_double(struct base_buffer *body, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    base_buffer_u64(body, bits);
}

static void put_who(struct script *script, struct base_buffer *body)
{
    char id[ID_MAX];
    snprintf(id, sizeof id, "u%u.%" PRIu64, script->lane,
             sim_random_below(&script->random, script->config->users));
    put_text(body, id);
    snprintf(id, sizeof id, "i%" PRIu64, sim_random_below(&script->random, script->config->items));
    put_text(body, id);
}

// schemas/impression.avsc
static void put_impression(struct script *script, struct base_buffer *body, const char *id, int64_t event_ms)
{
    char value[ID_MAX];
    put_text(body, id);
    consumer_schema_put_long(body, script->config->start_wall_ms + event_ms);
    put_who(script, body);
    consumer_schema_put_long(body, 0); // request_id: null
    consumer_schema_put_long(body, 0); // position: null
    consumer_schema_put_long(body, 1); // categorical: {"brand": [...]}
    put_text(body, "brand");
    uint64_t brands = sim_random_below(&script->random, 3);
    if (brands > 0) {
        consumer_schema_put_long(body, (int64_t)brands);
    }
    for (uint64_t i = 0; i < brands; i++) {
        snprintf(value, sizeof value, "b%" PRIu64, sim_random_below(&script->random, 8));
        put_text(body, value);
    }
    consumer_schema_put_long(body, 0);
    consumer_schema_put_long(body, 0);
    consumer_schema_put_long(body, 1); // numeric: {"price": ...}
    put_text(body, "price");
    put_double(body, (double)sim_random_below(&script->random, 1000) / 8);
    consumer_schema_put_long(body, 0);
}

// A union of null and double. Some values are none that a loss can take.
static void put_value(struct script *script, struct base_buffer *body)
{
    uint64_t kind = sim_random_below(&script->values, 10);
    double value = draw_real(&script->values);
    consumer_schema_put_long(body, kind > 0);
    if (kind > 0) {
        put_double(body, kind == 1 ? 0 : kind == 2 ? -value : value);
    }
}

// schemas/click.avsc, purchase.avsc, action.avsc
static void put_action(struct script *script, uint32_t rank, struct base_buffer *body, const char *event_id,
                       const char *impression_id, int64_t event_ms)
{
    consumer_schema_put_long(body, 1);
    put_text(body, event_id);
    consumer_schema_put_long(body, script->config->start_wall_ms + event_ms);
    consumer_schema_put_long(body, impression_id != NULL);
    if (impression_id) {
        put_text(body, impression_id);
    }
    put_who(script, body);
    if (rank == SIM_LOG_WATCH) {
        consumer_schema_put_long(body, 0); // action: other
    }
    put_value(script, body);
}

// ---- drafts ----

static void drafts_add(struct script *script, uint32_t rank, struct draft draft,
                       const struct base_buffer *body)
{
    struct drafts *drafts = &script->drafts[rank];
    if (drafts->count == drafts->capacity) {
        drafts->capacity = drafts->capacity ? drafts->capacity * 2 : 64;
        drafts->draft = base_realloc(drafts->draft, drafts->capacity * sizeof *drafts->draft);
    }
    draft.order = script->orders++;
    if (body) {
        draft.value = base_alloc(body->size + 1);
        draft.size = body->size;
        memcpy(draft.value, body->data, body->size);
    }
    drafts->draft[drafts->count++] = draft;
}

// Puts a record on its way: once, or twice; and now and then one beside it that cannot be decoded.
static void script_send(struct script *script, uint32_t rank, int64_t event_ms,
                        const struct base_buffer *body)
{
    const struct sim_log_config *config = script->config;
    uint32_t times = 1 + sim_random_chance(&script->random, config->duplicates);
    for (uint32_t i = 0; i < times; i++) {
        int64_t way = draw_exponential(&script->random, config->network_ms);
        if (sim_random_chance(&script->random, config->late)) {
            way += draw_exponential(&script->random, config->late_ms);
        }
        drafts_add(script, rank, (struct draft){.arrival_ms = event_ms + way, .event_ms = event_ms}, body);
    }
    if (sim_random_chance(&script->random, config->undecodable)) {
        struct base_buffer half = {.data = body->data, .size = body->size / 2};
        struct draft draft = {.arrival_ms = event_ms, .event_ms = event_ms};
        drafts_add(script, rank, draft, sim_random_bits(&script->random) & 1 ? &half : NULL);
    }
}

static void script_action(struct script *script, uint32_t rank, const char *event_id,
                          const char *impression_id, int64_t event_ms)
{
    struct base_buffer body = {0};
    if (sim_random_chance(&script->random, script->config->orphans)) {
        impression_id = sim_random_bits(&script->random) & 1 ? "never" : NULL;
    }
    put_action(script, rank, &body, event_id, impression_id, event_ms);
    script_send(script, rank, event_ms, &body);
    base_buffer_free(&body);
}

// An impression and what follows it.
static void script_impression(struct script *script, uint32_t number)
{
    const struct sim_log_config *config = script->config;
    int64_t event_ms = config->span_ms * number / config->impressions;
    struct base_buffer body = {0};
    char id[ID_MAX], event_id[ID_MAX + 8];
    snprintf(id, sizeof id, "%u.%u", script->lane, number);
    bool future = sim_random_chance(&script->random, config->future);
    put_impression(script, &body, id, future ? event_ms + FUTURE_MS : event_ms);
    script_send(script, 0, event_ms, &body);
    base_buffer_free(&body);
    if (config->watched > 0 && sim_random_chance(&script->random, config->watched)) {
        snprintf(event_id, sizeof event_id, "w%s", id);
        script_action(script, SIM_LOG_WATCH, event_id, id,
                      event_ms + draw_exponential(&script->random, config->watch_ms));
    }
    if (!sim_random_chance(&script->random, config->ctr)) {
        return;
    }
    int64_t click_ms = event_ms + draw_exponential(&script->random, config->click_ms);
    snprintf(event_id, sizeof event_id, "c%s", id);
    script_action(script, 1, event_id, id, click_ms);
    if (sim_random_chance(&script->random, config->cvr)) {
        snprintf(event_id, sizeof event_id, "p%s", id);
        script_action(script, 2, event_id, id,
                      click_ms + draw_exponential(&script->random, config->purchase_ms));
    }
}

// ---- partitions ----

static int draft_compare(const void *a, const void *b)
{
    const struct draft *left = a, *right = b;
    if (left->arrival_ms != right->arrival_ms) {
        return left->arrival_ms < right->arrival_ms ? -1 : 1;
    }
    return left->order < right->order ? -1 : left->order > right->order;
}

// Spans in which nothing arrives: what would, does at their end.
static void drafts_pause(struct script *script, struct drafts *drafts)
{
    const struct sim_log_config *config = script->config;
    for (uint32_t i = 0; i < config->pauses; i++) {
        int64_t begin = (int64_t)sim_random_below(&script->random, (uint64_t)config->span_ms);
        int64_t end = begin + draw_exponential(&script->random, config->pause_ms);
        for (uint32_t d = 0; d < drafts->count; d++) {
            int64_t *arrival = &drafts->draft[d].arrival_ms;
            *arrival = *arrival >= begin && *arrival < end ? end : *arrival;
        }
    }
}

static struct sim_log_slot *partition_add(struct sim_log_partition *partition, struct sim_log_slot slot)
{
    if (partition->count == partition->capacity) {
        partition->capacity = partition->capacity ? partition->capacity * 2 : 64;
        partition->slot = base_realloc(partition->slot, partition->capacity * sizeof *partition->slot);
    }
    partition->slot[partition->count] = slot;
    return &partition->slot[partition->count++];
}

// Ends a transaction of the last `size` offsets: a marker, and what it means for them.
static void partition_commit(struct script *script, struct sim_log_partition *partition, uint32_t size)
{
    int64_t arrived_ms = partition->slot[partition->count - 1].arrived_ms;
    int64_t closed_ms = arrived_ms + (int64_t)sim_random_below(&script->random, TRANSACTION_MS);
    bool aborted = sim_random_below(&script->random, 3) == 0;
    for (uint32_t i = partition->count - size; i < partition->count; i++) {
        partition->slot[i].stable_ms = closed_ms;
        partition->slot[i].record = partition->slot[i].record && !aborted;
    }
    partition_add(partition, (struct sim_log_slot){.arrived_ms = closed_ms, .stable_ms = closed_ms});
}

static void partition_fill(struct script *script, struct drafts *drafts, struct sim_log_partition *partition)
{
    const struct sim_log_config *config = script->config;
    uint32_t open = 0; // records that the open transaction still takes
    uint32_t size = 0; // that it has
    drafts_pause(script, drafts);
    if (drafts->count > 0) {
        qsort(drafts->draft, drafts->count, sizeof *drafts->draft, draft_compare);
    }
    for (uint32_t i = 0; i < drafts->count; i++) {
        struct draft *draft = &drafts->draft[i];
        if (open == 0 && sim_random_chance(&script->random, config->transactions)) {
            open = 1 + (uint32_t)sim_random_below(&script->random, TRANSACTION_MOST);
            size = 0;
        }
        partition_add(partition, (struct sim_log_slot){
                                     .record = true,
                                     .arrived_ms = draft->arrival_ms,
                                     .stable_ms = draft->arrival_ms,
                                     .timestamp = config->start_wall_ms + draft->arrival_ms,
                                     .value = draft->value,
                                     .size = draft->size,
                                 });
        size += open > 0;
        if (open > 0 && (--open == 0 || i + 1 == drafts->count)) {
            partition_commit(script, partition, size);
            open = 0;
        }
    }
    // A marker may come later than records behind it would: nothing overtakes in a log.
    for (uint32_t i = 1; i < partition->count; i++) {
        struct sim_log_slot *slot = &partition->slot[i];
        const struct sim_log_slot *before = slot - 1;
        slot->arrived_ms = slot->arrived_ms > before->arrived_ms ? slot->arrived_ms : before->arrived_ms;
        slot->stable_ms = slot->stable_ms > before->stable_ms ? slot->stable_ms : before->stable_ms;
        slot->stable_ms = slot->stable_ms > slot->arrived_ms ? slot->stable_ms : slot->arrived_ms;
    }
}

void sim_log_script(const struct sim_log_config *config, uint64_t seed, struct sim_log_partition *partitions)
{
    for (uint32_t lane = 0; lane < config->lanes; lane++) {
        char purpose[32];
        snprintf(purpose, sizeof purpose, "script of lane %u", lane);
        struct script script = {.config = config, .random = sim_random_make(seed, purpose), .lane = lane};
        snprintf(purpose, sizeof purpose, "values of lane %u", lane);
        script.values = sim_random_make(seed, purpose);
        for (uint32_t i = 0; i < config->impressions; i++) {
            script_impression(&script, i);
        }
        for (uint32_t rank = 0; rank < SIM_LOG_RANKS; rank++) {
            partition_fill(&script, &script.drafts[rank], &partitions[rank * config->lanes + lane]);
            free(script.drafts[rank].draft);
        }
    }
}

void sim_log_script_clear(struct sim_log_partition *partition)
{
    for (uint32_t i = 0; i < partition->count; i++) {
        free(partition->slot[i].value);
    }
    free(partition->slot);
    *partition = (struct sim_log_partition){0};
}

void sim_log_config_draw(struct sim_log_config *config, uint64_t seed, uint32_t impressions, int64_t span_ms)
{
    struct sim_random random = sim_random_make(seed, "log");
    *config = (struct sim_log_config){
        .lanes = 1 + (uint32_t)sim_random_below(&random, 4),
        .impressions = impressions / 2 + (uint32_t)sim_random_below(&random, impressions + 1),
        .start_wall_ms = 1700000000000,
        .span_ms = span_ms / 2 + (int64_t)sim_random_below(&random, (uint64_t)span_ms + 1),
        .ctr = 0.1 + 0.5 * (double)sim_random_below(&random, 100) / 100,
        .cvr = 0.5 * (double)sim_random_below(&random, 100) / 100,
        .click_ms = sim_random_between(&random, 100, span_ms / 20 + 100),
        .purchase_ms = sim_random_between(&random, 100, span_ms / 5 + 100),
        .network_ms = sim_random_between(&random, 1, 300),
        .users = 20,
        .items = 10,
        .fetch = (int)sim_random_between(&random, 1, 300),
    };
    // Each trouble in half of the seeds.
    double *const shares[] = {&config->late,   &config->duplicates,  &config->orphans,
                              &config->future, &config->undecodable, &config->transactions};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        bool on = sim_random_bits(&random) & 1;
        *shares[i] = on ? 0.1 * (double)sim_random_below(&random, 100) / 100 : 0;
    }
    struct sim_random watches = sim_random_make(seed, "watches");
    config->watched = sim_random_bits(&watches) & 1 ? 0.01 * (double)sim_random_below(&watches, 60) : 0;
    config->watch_ms = sim_random_between(&watches, 100, span_ms / 20 + 100);
    config->late_ms = sim_random_between(&random, 100, span_ms / 4 + 100);
    config->pauses = (uint32_t)sim_random_below(&random, 4);
    config->pause_ms = sim_random_between(&random, 100, span_ms / 4 + 100);
}
