// The walk over the market's events in the order of their arrival. See market.h.
//
// Requests are born in event time. Each puts its impressions and all that will follow from them into a heap
// by arrival time; no event arrives before its impression's event time, so whatever lies in the heap at or
// below the next request's time can leave. The heap keeps 64 bytes an event under way; the impressions
// themselves are computed again when needed.
#include "daemon/market.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/random.h"
#include "consumer/event.h"
#include "daemon/market_model.h"

const struct daemon_market_config daemon_market_defaults = {
    .seed = 1,
    .impressions = 2000000,
    .lanes = 4,
    .rate = 50,
    .start_ms = 1700071200000, // 18:00: the night has its low and the morning its high
    .users = 100000,
    .items = 20000,
    .campaigns = 200,
    .ctr = .05,
    .cvr = .12,
    .strength = 1,
    .delay_scale = 1,
    .click_window_ms = 30 * 60 * 1000,
    .purchase_window_ms = INT64_C(7) * 24 * 3600 * 1000,
    .network_ms = 200,
    .late = .001,
    .late_ms = 60000,
    .duplicates = .001,
    .strays = .001,
};

// Actions that must not count, by what is wrong with them. Some need a click or purchase that is there, or
// that is not; where the impression is of the other sort STRAY_UNKNOWN takes their place.
enum market_stray {
    STRAY_UNKNOWN,          // a click of an impression that never was
    STRAY_NULL,             // a click that names no impression
    STRAY_SECOND_CLICK,     // another click of a clicked impression, at or after the first
    STRAY_BEYOND_CLICK,     // the only click of an impression, beyond the window
    STRAY_BARE_PURCHASE,    // a purchase of what was not clicked
    STRAY_SECOND_PURCHASE,  // another purchase of a bought one
    STRAY_BEYOND_PURCHASE,  // the only purchase of a clicked one, beyond the window
    STRAY_UNKNOWN_PURCHASE, // a purchase of an impression that never was
    STRAYS,
};

enum {
    CACHE = 4096,           // impressions kept, so that those that arrive soon are computed once
    ORDINALS = 4,           // events of an impression and rank, each with draws of its own
    DUPLICATE_MS = 2000,    // mean time between the two arrivals of a record
    SECOND_MS = 5000,       // mean time between a first action and a second one
    BEYOND_MS = 60000,      // mean time past the window
    BARE_PURCHASE_MS = 1000 // mean time from an impression to a purchase without a click
};

enum market_key {
    KEY_NETWORK,
    KEY_LATE,
    KEY_LATE_MS,
    KEY_AGAIN,
    KEY_AGAIN_MS,
    KEY_STRAY,
    KEY_STRAY_MS,
    KEYS
};
static const char *const key_names[KEYS] = {
    "market.network",     "market.late",  "market.late.delay",  "market.again",
    "market.again.delay", "market.stray", "market.stray.delay",
};

struct market_entry {
    uint64_t birth; // orders events of one arrival time
    struct daemon_market_event event;
};

struct daemon_market {
    struct daemon_market_config config;
    struct daemon_market_model *model;
    uint64_t keys[KEYS];
    uint64_t next;     // index of the next impression to be born; a multiple of the slate, or the end
    int64_t next_time; // its event time; INT64_MAX at the end
    uint64_t births;
    struct market_entry *heap;
    size_t heap_count, heap_capacity;
    struct daemon_market_impression *cache; // [CACHE] by index
};

static int config_check(const struct daemon_market_config *config, struct base_error *error)
{
    const struct {
        const char *name;
        double value, low, high;
    } bounds[] = {
        {"lanes", config->lanes, 1, CONSUMER_LANES_MAX},
        {"rate", config->rate, 1e-3, 1e7},
        {"users", config->users, 1, DAEMON_MARKET_USERS_MAX},
        {"items", config->items, 1, DAEMON_MARKET_ITEMS_MAX},
        {"campaigns", config->campaigns, 1, DAEMON_MARKET_CAMPAIGNS_MAX},
        {"ctr", config->ctr, 1e-6, 1 - 1e-6},
        {"cvr", config->cvr, 1e-6, 1 - 1e-6},
        {"strength", config->strength, 0, 10},
        {"delay scale", config->delay_scale, 0, 1000},
        {"click window", (double)config->click_window_ms, 0, 1e12},
        {"purchase window", (double)config->purchase_window_ms, 0, 1e12},
        {"network delay", config->network_ms, 0, 1e9},
        {"late", config->late, 0, 1},
        {"late delay", config->late_ms, 0, 1e9},
        {"duplicates", config->duplicates, 0, 1},
        {"strays", config->strays, 0, 1},
        {"jump logit", config->jump ? config->jump_logit : 0, -20, 20},
        {"start", (double)config->start_ms, -1e15, 1e15},
        {"impressions", (double)config->impressions, 0, 1e12},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        if (!(bounds[i].value >= bounds[i].low && bounds[i].value <= bounds[i].high)) {
            return base_error_set(error, BASE_EINVAL, "market: %s is %g, not in [%g, %g]", bounds[i].name,
                                  bounds[i].value, bounds[i].low, bounds[i].high);
        }
    }
    return 0;
}

// The heap: least (arrival time, birth) first.
static bool entry_before(const struct market_entry *a, const struct market_entry *b)
{
    if (a->event.arrival_time != b->event.arrival_time) {
        return a->event.arrival_time < b->event.arrival_time;
    }
    return a->birth < b->birth;
}

static void heap_push(struct daemon_market *market, const struct daemon_market_event *event)
{
    if (market->heap_count == market->heap_capacity) {
        market->heap_capacity = market->heap_capacity ? 2 * market->heap_capacity : 1024;
        market->heap = base_realloc(market->heap, market->heap_capacity * sizeof *market->heap);
    }
    struct market_entry entry = {.birth = market->births++, .event = *event};
    size_t at = market->heap_count++;
    while (at > 0 && entry_before(&entry, &market->heap[(at - 1) / 2])) {
        market->heap[at] = market->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    market->heap[at] = entry;
}

static struct daemon_market_event heap_pop(struct daemon_market *market)
{
    assert(market->heap_count > 0);
    struct daemon_market_event top = market->heap[0].event;
    struct market_entry last = market->heap[--market->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= market->heap_count) {
            break;
        }
        if (child + 1 < market->heap_count && entry_before(&market->heap[child + 1], &market->heap[child])) {
            child++;
        }
        if (!entry_before(&market->heap[child], &last)) {
            break;
        }
        market->heap[at] = market->heap[child];
        at = child;
    }
    market->heap[at] = last;
    return top;
}

// Sends a record through the network: sets its arrival, perhaps late, and perhaps lets it arrive again.
static void market_send(struct daemon_market *market, struct daemon_market_event event)
{
    const struct daemon_market_config *config = &market->config;
    uint64_t counter = (event.impression * DAEMON_MARKET_RANKS + event.rank) * ORDINALS + event.ordinal;
    double delay = config->network_ms * base_random_exponential(market->keys[KEY_NETWORK], counter);
    if (base_random_uniform(market->keys[KEY_LATE], counter) < config->late) {
        delay += config->late_ms * base_random_exponential(market->keys[KEY_LATE_MS], counter);
    }
    event.arrival_time = event.event_time + (int64_t)delay;
    heap_push(market, &event);
    if (base_random_uniform(market->keys[KEY_AGAIN], counter) < config->duplicates) {
        event.again = true;
        event.arrival_time +=
            (int64_t)(DUPLICATE_MS * base_random_exponential(market->keys[KEY_AGAIN_MS], counter));
        heap_push(market, &event);
    }
}

static void market_stray(struct daemon_market *market, const struct daemon_market_impression *impression)
{
    const struct daemon_market_config *config = &market->config;
    uint64_t bits = base_random_bits(market->keys[KEY_STRAY], 2 * impression->index + 1);
    double more = base_random_exponential(market->keys[KEY_STRAY_MS], impression->index);
    enum market_stray stray = (enum market_stray)(bits % STRAYS);
    bool clicked = impression->clicked, purchased = impression->purchased;
    if ((stray == STRAY_SECOND_CLICK && !clicked) || (stray == STRAY_BEYOND_CLICK && clicked) ||
        (stray == STRAY_BARE_PURCHASE && clicked) || (stray == STRAY_SECOND_PURCHASE && !purchased) ||
        (stray == STRAY_BEYOND_PURCHASE && (!clicked || purchased))) {
        stray = STRAY_UNKNOWN;
    }
    struct daemon_market_event event = {.rank = 1, .ordinal = 1, .impression = impression->index};
    event.event_time = impression->event_time + (int64_t)(SECOND_MS * more);
    switch (stray) {
    case STRAY_UNKNOWN_PURCHASE:
        event.rank = 2;
        event.reference = DAEMON_MARKET_UNKNOWN;
        break;
    case STRAY_NULL:
        event.reference = DAEMON_MARKET_NULL;
        break;
    case STRAY_SECOND_CLICK:
        event.event_time = impression->click_time + (int64_t)(SECOND_MS * more);
        break;
    case STRAY_BEYOND_CLICK:
        event.event_time = impression->event_time + config->click_window_ms + 1 + (int64_t)(BEYOND_MS * more);
        break;
    case STRAY_BARE_PURCHASE:
        event.rank = 2;
        event.event_time = impression->event_time + (int64_t)(BARE_PURCHASE_MS * more);
        break;
    case STRAY_SECOND_PURCHASE:
        event.rank = 2;
        event.event_time = impression->purchase_time + (int64_t)(SECOND_MS * more);
        break;
    case STRAY_BEYOND_PURCHASE:
        event.rank = 2;
        event.event_time =
            impression->click_time + config->purchase_window_ms + 1 + (int64_t)(BEYOND_MS * more);
        break;
    case STRAY_UNKNOWN:
    case STRAYS:
        event.reference = DAEMON_MARKET_UNKNOWN;
        break;
    }
    market_send(market, event);
}

// Makes an impression and sends all that follows from it.
static void market_bear(struct daemon_market *market, uint64_t index)
{
    struct daemon_market_impression *impression = &market->cache[index % CACHE];
    daemon_market_model_impression(market->model, index, impression);
    struct daemon_market_event event = {.impression = index, .event_time = impression->event_time};
    market_send(market, event);
    if (impression->clicked) {
        event.rank = 1;
        event.event_time = impression->click_time;
        market_send(market, event);
    }
    if (impression->purchased) {
        event.rank = 2;
        event.event_time = impression->purchase_time;
        market_send(market, event);
    }
    if (base_random_uniform(market->keys[KEY_STRAY], 2 * index) < market->config.strays) {
        market_stray(market, impression);
    }
}

static void market_set_next(struct daemon_market *market, uint64_t index)
{
    bool end = market->config.impressions && index >= market->config.impressions;
    market->next = index;
    market->next_time =
        end ? INT64_MAX : daemon_market_model_request_time(market->model, index / DAEMON_MARKET_SLATE);
}

static void market_request(struct daemon_market *market)
{
    uint64_t index = market->next, end = index + DAEMON_MARKET_SLATE;
    if (market->config.impressions && end > market->config.impressions) {
        end = market->config.impressions;
    }
    for (; index < end; index++) {
        market_bear(market, index);
    }
    market_set_next(market, end);
}

bool daemon_market_next(struct daemon_market *market, struct daemon_market_event *event,
                        const struct daemon_market_impression **impression)
{
    while (market->next_time != INT64_MAX &&
           (market->heap_count == 0 || market->heap[0].event.arrival_time > market->next_time)) {
        market_request(market);
    }
    if (market->heap_count == 0) {
        return false;
    }
    *event = heap_pop(market);
    struct daemon_market_impression *cached = &market->cache[event->impression % CACHE];
    if (cached->index != event->impression) {
        daemon_market_model_impression(market->model, event->impression, cached);
    }
    *impression = cached;
    return true;
}

struct daemon_market *daemon_market_new(const struct daemon_market_config *config, struct base_error *error)
{
    if (config_check(config, error) < 0) {
        return NULL;
    }
    struct daemon_market *market = base_alloc_zeroed(1, sizeof *market);
    market->config = *config;
    market->model = daemon_market_model_new(config);
    market->cache = base_alloc_zeroed(CACHE, sizeof *market->cache);
    for (size_t i = 0; i < CACHE; i++) {
        market->cache[i].index = UINT64_MAX;
    }
    for (int k = 0; k < KEYS; k++) {
        market->keys[k] = base_random_key(config->seed, key_names[k]);
    }
    market_set_next(market, 0);
    return market;
}

void daemon_market_free(struct daemon_market *market)
{
    if (!market) {
        return;
    }
    daemon_market_model_free(market->model);
    free(market->cache);
    free(market->heap);
    free(market);
}

const struct daemon_market_config *daemon_market_config(const struct daemon_market *market)
{
    return &market->config;
}

void daemon_market_impression(const struct daemon_market *market, uint64_t index,
                              struct daemon_market_impression *impression)
{
    daemon_market_model_impression(market->model, index, impression);
}

double daemon_market_pctr_at(const struct daemon_market *market,
                             const struct daemon_market_impression *impression, int64_t time)
{
    return daemon_market_model_pctr(market->model, impression, time);
}
