// The marketplace's truth: a logistic model with known effects over features drawn from counters.
//
// A slot's value has two effects, on the logits of click and purchase: normal, with the standard deviations
// of the table below. Most of the signal sits in slots of moderate cardinality, which one pass over a stream
// can learn; users and items are many, Zipf-distributed, and carry less. The crossed slot is what a linear
// model over the other slots would miss. The noise slots have no effect: a model that believes them overfits.
//
// What an item or a user *is* (its brand, its segment) is a hash of its number; what a request or an
// impression draws comes from a counter keyed by purpose and index. So nothing depends on order.
#include "daemon/market_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/random.h"

enum slot {
    SLOT_USER,
    SLOT_ITEM,
    SLOT_CAMPAIGN,
    SLOT_CATEGORY,
    SLOT_BRAND,
    SLOT_SEGMENT,
    SLOT_POSITION,
    SLOT_HOUR,
    SLOT_WEEKDAY,
    SLOT_DEVICE,
    SLOT_PAGE,
    SLOT_CITY,
    SLOT_PRICE_BAND,
    SLOT_AGE,
    SLOT_GENDER,
    SLOT_SHOP,
    SLOT_CREATIVE,
    SLOT_CHANNEL,
    SLOT_INTERESTS = DAEMON_MARKET_SLOT_INTERESTS,
    SLOT_SEGMENT_CATEGORY,
    SLOT_NOISE_A,
    SLOT_NOISE_B,
    SLOT_NOISE_C,
    SLOT_NOISE_D,
};

static const struct slot_row {
    const char *name;
    uint32_t values; // 0: configured
    double click, purchase;
} slot_table[DAEMON_MARKET_SLOTS] = {
    [SLOT_USER] = {"user", 0, .20, .15},
    [SLOT_ITEM] = {"item", 0, .25, .20},
    [SLOT_CAMPAIGN] = {"campaign", 0, .60, .45},
    [SLOT_CATEGORY] = {"category", 40, .45, .50},
    [SLOT_BRAND] = {"brand", 100, .40, .40},
    [SLOT_SEGMENT] = {"segment", 20, .45, .45},
    [SLOT_POSITION] = {"position", DAEMON_MARKET_SLATE, 0, 0}, // falls from top to bottom, see POSITION_STEP
    [SLOT_HOUR] = {"hour", 24, 0, 0},                          // a sine over the day, see HOUR_SWING
    [SLOT_WEEKDAY] = {"weekday", 7, .10, 0},
    [SLOT_DEVICE] = {"device", 4, .20, .20},
    [SLOT_PAGE] = {"page", 8, .25, .10},
    [SLOT_CITY] = {"city", 50, .15, .15},
    [SLOT_PRICE_BAND] = {"price_band", 10, .20, .40},
    [SLOT_AGE] = {"age", 7, .20, .10},
    [SLOT_GENDER] = {"gender", 3, .10, .10},
    [SLOT_SHOP] = {"shop", 500, .20, .15},
    [SLOT_CREATIVE] = {"creative", 300, .25, 0},
    [SLOT_CHANNEL] = {"channel", 16, .30, .30},
    [SLOT_INTERESTS] = {"interests", 60, .10, .10},
    [SLOT_SEGMENT_CATEGORY] = {"segment_category", 20 * 40, .25, .20},
    [SLOT_NOISE_A] = {"noise_a", 10, 0, 0},
    [SLOT_NOISE_B] = {"noise_b", 100, 0, 0},
    [SLOT_NOISE_C] = {"noise_c", 1000, 0, 0},
    [SLOT_NOISE_D] = {"noise_d", 10000, 0, 0},
};

enum number { NUMBER_PRICE, NUMBER_DISCOUNT, NUMBER_QUALITY, NUMBER_ACTIVITY, NUMBER_AGE, NUMBER_NOISE };

// Effects by unit of a number; all but the discount, which is uniform in [0, 1), are standard normal.
static const struct number_row {
    const char *name;
    double click, purchase;
} number_table[DAEMON_MARKET_NUMBERS] = {
    [NUMBER_PRICE] = {"price", 0, -.20},     [NUMBER_DISCOUNT] = {"discount", .50, .60},
    [NUMBER_QUALITY] = {"quality", .20, .0}, [NUMBER_ACTIVITY] = {"activity", .15, .25},
    [NUMBER_AGE] = {"item_age", 0, 0},       [NUMBER_NOISE] = {"noise", 0, 0},
};

static const double POSITION_STEP = -.25, HOUR_SWING = .28, USER_ZIPF = .6, ITEM_ZIPF = .8;

enum { CALIBRATION_IMPRESSIONS = 20000, CALIBRATION_STEPS = 60, DELAYS_MAX = 3 };

// A mixture of exponentials.
struct delay {
    double share[DELAYS_MAX], mean_ms[DELAYS_MAX];
};
static const struct delay click_delay = {{.99, .01, 0}, {40e3, 1800e3, 1}};
static const struct delay purchase_delay = {{.34, .11, .55}, {900e3, 28800e3, 172800e3}};

// One key a purpose; the names seed them.
enum key {
    KEY_TIME,
    KEY_USER,
    KEY_ITEM,
    KEY_CONTEXT,
    KEY_USER_TRAIT,
    KEY_ITEM_TRAIT,
    KEY_USER_NUMBER,
    KEY_ITEM_NUMBER,
    KEY_DRAW,
    KEY_NUMBER,
    KEY_CLICK,
    KEY_PURCHASE,
    KEY_CLICK_DELAY,
    KEY_PURCHASE_DELAY,
    KEYS,
};
static const char *const key_names[KEYS] = {
    "market.time",        "market.user",           "market.item",        "market.context",
    "market.user.trait",  "market.item.trait",     "market.user.number", "market.item.number",
    "market.draw",        "market.number",         "market.click",       "market.purchase",
    "market.click.delay", "market.purchase.delay",
};

struct daemon_market_model {
    struct daemon_market_config config;
    uint64_t keys[KEYS];
    uint32_t values[DAEMON_MARKET_SLOTS];
    double *click[DAEMON_MARKET_SLOTS]; // [values] effects; NULL: none
    double *purchase[DAEMON_MARKET_SLOTS];
    double *user_share, *item_share; // cumulated popularity
    double click_intercept, purchase_intercept;
};

static double *model_zipf(uint32_t count, double exponent)
{
    double *share = base_alloc(count * sizeof *share);
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += pow((double)i + 1, -exponent);
        share[i] = sum;
    }
    for (uint32_t i = 0; i < count; i++) {
        share[i] /= sum;
    }
    return share;
}

// The first index whose cumulated share is above u.
static uint32_t model_pick(const double *share, uint32_t count, double u)
{
    uint32_t low = 0, high = count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (share[middle] > u) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static double *model_effects(const struct daemon_market_config *config, const char *what, const char *slot,
                             uint32_t values, double deviation)
{
    if (deviation == 0) {
        return NULL;
    }
    char purpose[64];
    snprintf(purpose, sizeof purpose, "market.effect.%s.%s", what, slot);
    uint64_t key = base_random_key(config->seed, purpose);
    double *effects = base_alloc(values * sizeof *effects);
    for (uint32_t i = 0; i < values; i++) {
        effects[i] = config->strength * deviation * base_random_normal(key, i);
    }
    return effects;
}

static uint32_t model_below(uint64_t bits, uint32_t bound)
{
    return (uint32_t)((bits >> 32) * bound >> 32);
}

// A fixed property of a user or an item.
static uint32_t model_trait(const struct daemon_market_model *model, enum key key, uint32_t who,
                            enum slot slot)
{
    uint64_t counter = (uint64_t)who * DAEMON_MARKET_SLOTS + slot;
    return model_below(base_random_bits(model->keys[key], counter), model->values[slot]);
}

// What the impression draws for a slot, independent of everything else; `at` is an index or a request.
static uint64_t model_draw(const struct daemon_market_model *model, enum key key, uint64_t at, enum slot slot)
{
    return base_random_bits(model->keys[key], at * DAEMON_MARKET_SLOTS + slot);
}

static void impression_user(const struct daemon_market_model *model,
                            struct daemon_market_impression *impression)
{
    uint64_t request = impression->request;
    uint32_t user = model_pick(model->user_share, model->config.users,
                               base_random_uniform(model->keys[KEY_USER], request));
    uint32_t *slot = impression->slot;
    char id[16];
    int size = snprintf(id, sizeof id, "u%u", user);
    impression->user = user;
    impression->lane = (uint32_t)(base_hash_bytes(base_span_make(id, (size_t)size), 0) % model->config.lanes);
    slot[SLOT_USER] = user;
    slot[SLOT_SEGMENT] = model_trait(model, KEY_USER_TRAIT, user, SLOT_SEGMENT);
    slot[SLOT_CITY] = model_trait(model, KEY_USER_TRAIT, user, SLOT_CITY);
    slot[SLOT_AGE] = model_trait(model, KEY_USER_TRAIT, user, SLOT_AGE);
    slot[SLOT_GENDER] = model_trait(model, KEY_USER_TRAIT, user, SLOT_GENDER);
    // Mostly the user's own device.
    uint64_t bits = model_draw(model, KEY_CONTEXT, request, SLOT_DEVICE);
    slot[SLOT_DEVICE] = bits % 5 == 0 ? model_below(bits, model->values[SLOT_DEVICE])
                                      : model_trait(model, KEY_USER_TRAIT, user, SLOT_DEVICE);
    slot[SLOT_PAGE] =
        model_below(model_draw(model, KEY_CONTEXT, request, SLOT_PAGE), model->values[SLOT_PAGE]);
    for (uint32_t k = 0; k < DAEMON_MARKET_INTERESTS; k++) {
        uint64_t counter = ((uint64_t)user * DAEMON_MARKET_INTERESTS + k) | (UINT64_C(1) << 63);
        impression->interests[k] = model_below(base_random_bits(model->keys[KEY_USER_TRAIT], counter),
                                               model->values[SLOT_INTERESTS]);
    }
    slot[SLOT_INTERESTS] = impression->interests[0];
    impression->number[NUMBER_ACTIVITY] = base_random_normal(model->keys[KEY_USER_NUMBER], user);
}

static void impression_item(const struct daemon_market_model *model,
                            struct daemon_market_impression *impression)
{
    uint64_t index = impression->index;
    uint32_t item =
        model_pick(model->item_share, model->config.items, base_random_uniform(model->keys[KEY_ITEM], index));
    uint32_t *slot = impression->slot;
    impression->item = item;
    slot[SLOT_ITEM] = item;
    slot[SLOT_CATEGORY] = model_trait(model, KEY_ITEM_TRAIT, item, SLOT_CATEGORY);
    slot[SLOT_BRAND] = model_trait(model, KEY_ITEM_TRAIT, item, SLOT_BRAND);
    slot[SLOT_SHOP] = model_trait(model, KEY_ITEM_TRAIT, item, SLOT_SHOP);
    slot[SLOT_PRICE_BAND] = model_trait(model, KEY_ITEM_TRAIT, item, SLOT_PRICE_BAND);
    // Some campaigns are shown more than others; each has three creatives.
    double u = base_random_uniform(model->keys[KEY_DRAW], index * DAEMON_MARKET_SLOTS + SLOT_CAMPAIGN);
    uint32_t campaign = (uint32_t)(u * sqrt(u) * model->config.campaigns);
    slot[SLOT_CAMPAIGN] = campaign;
    uint64_t creative = 3 * (uint64_t)campaign + model_draw(model, KEY_DRAW, index, SLOT_CREATIVE) % 3;
    slot[SLOT_CREATIVE] = (uint32_t)(creative % model->values[SLOT_CREATIVE]);
    for (uint32_t s = SLOT_CHANNEL; s < DAEMON_MARKET_SLOTS; s++) {
        if (s != SLOT_INTERESTS && s != SLOT_SEGMENT_CATEGORY) {
            slot[s] = model_below(model_draw(model, KEY_DRAW, index, (enum slot)s), model->values[s]);
        }
    }
    slot[SLOT_SEGMENT_CATEGORY] = slot[SLOT_SEGMENT] * model->values[SLOT_CATEGORY] + slot[SLOT_CATEGORY];

    double *number = impression->number;
    uint64_t counter = (uint64_t)item * DAEMON_MARKET_NUMBERS;
    number[NUMBER_PRICE] = base_random_normal(model->keys[KEY_ITEM_NUMBER], counter + NUMBER_PRICE);
    number[NUMBER_QUALITY] = base_random_normal(model->keys[KEY_ITEM_NUMBER], counter + NUMBER_QUALITY);
    number[NUMBER_AGE] = base_random_normal(model->keys[KEY_ITEM_NUMBER], counter + NUMBER_AGE);
    number[NUMBER_DISCOUNT] = base_random_uniform(model->keys[KEY_NUMBER], 4 * index);
    number[NUMBER_NOISE] = base_random_normal(model->keys[KEY_NUMBER], 2 * index + 1);
}

static void impression_time(struct daemon_market_impression *impression)
{
    int64_t hours = impression->event_time / 3600000 - (impression->event_time % 3600000 < 0);
    int64_t days = hours / 24 - (hours % 24 < 0);
    impression->slot[SLOT_HOUR] = (uint32_t)(hours - 24 * days);
    impression->slot[SLOT_WEEKDAY] =
        (uint32_t)(((days + 3) % 7 + 7) % 7); // Monday 0; 1970 began on a Thursday
}

// The logits without their intercepts, without the jump.
static void model_logits(const struct daemon_market_model *model,
                         const struct daemon_market_impression *impression, double *click, double *purchase)
{
    double a = 0, b = 0;
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        uint32_t count = s == SLOT_INTERESTS ? DAEMON_MARKET_INTERESTS : 1;
        const uint32_t *values = s == SLOT_INTERESTS ? impression->interests : &impression->slot[s];
        for (uint32_t k = 0; k < count; k++) {
            a += model->click[s] ? model->click[s][values[k]] : 0;
            b += model->purchase[s] ? model->purchase[s][values[k]] : 0;
        }
    }
    double strength = model->config.strength;
    for (uint32_t n = 0; n < DAEMON_MARKET_NUMBERS; n++) {
        a += strength * number_table[n].click * impression->number[n];
        b += strength * number_table[n].purchase * impression->number[n];
    }
    a += strength * POSITION_STEP * impression->position;
    a += strength * HOUR_SWING * sin(6.283185307179586 / 24 * impression->slot[SLOT_HOUR]);
    *click = a;
    *purchase = b;
}

static double model_sigmoid(double logit)
{
    return 1 / (1 + exp(-logit));
}

static double model_jump(const struct daemon_market_model *model, uint32_t item, int64_t time)
{
    const struct daemon_market_config *config = &model->config;
    bool jumped = config->jump && item == config->jump_item && time >= config->start_ms + config->jump_ms;
    return jumped ? config->jump_logit : 0;
}

double daemon_market_model_pctr(const struct daemon_market_model *model,
                                const struct daemon_market_impression *impression, int64_t time)
{
    double click, purchase;
    model_logits(model, impression, &click, &purchase);
    return model_sigmoid(click + model->click_intercept + model_jump(model, impression->item, time));
}

// A delay of the mixture, cut at the window: every component by its own truncated inverse.
static int64_t model_delay(const struct daemon_market_model *model, enum key key, uint64_t index,
                           const struct delay *delay, int64_t window)
{
    double u = base_random_uniform(model->keys[key], 2 * index);
    double v = base_random_uniform(model->keys[key], 2 * index + 1);
    int component = 0;
    while (component < DELAYS_MAX - 1 && u >= delay->share[component]) {
        u -= delay->share[component++];
    }
    double mean = delay->mean_ms[component] * model->config.delay_scale;
    if (mean <= 0) {
        return 0;
    }
    double inside = -expm1(-(double)window / mean); // P(delay <= window)
    int64_t result = (int64_t)(-mean * log1p(-v * inside));
    return result < window ? result : window;
}

int64_t daemon_market_model_request_time(const struct daemon_market_model *model, uint64_t request)
{
    double jitter = base_random_uniform(model->keys[KEY_TIME], request);
    double span = 1000.0 * DAEMON_MARKET_SLATE / model->config.rate;
    return model->config.start_ms + (int64_t)(((double)request + jitter) * span);
}

static void model_features(const struct daemon_market_model *model, uint64_t index,
                           struct daemon_market_impression *impression)
{
    impression->index = index;
    impression->request = index / DAEMON_MARKET_SLATE;
    impression->position = (uint32_t)(index % DAEMON_MARKET_SLATE);
    impression->event_time = daemon_market_model_request_time(model, impression->request);
    impression->slot[SLOT_POSITION] = impression->position;
    impression_time(impression);
    impression_user(model, impression);
    impression_item(model, impression);
}

void daemon_market_model_impression(const struct daemon_market_model *model, uint64_t index,
                                    struct daemon_market_impression *impression)
{
    const struct daemon_market_config *config = &model->config;
    model_features(model, index, impression);
    double click, purchase;
    model_logits(model, impression, &click, &purchase);
    double jump = model_jump(model, impression->item, impression->event_time);
    impression->pctr = model_sigmoid(click + model->click_intercept + jump);
    impression->pcvr = model_sigmoid(purchase + model->purchase_intercept);
    impression->clicked = base_random_uniform(model->keys[KEY_CLICK], index) < impression->pctr;
    impression->purchased =
        impression->clicked && base_random_uniform(model->keys[KEY_PURCHASE], index) < impression->pcvr;
    impression->click_time = impression->purchase_time = impression->event_time;
    if (impression->clicked) {
        impression->click_time +=
            model_delay(model, KEY_CLICK_DELAY, index, &click_delay, config->click_window_ms);
        impression->purchase_time = impression->click_time;
    }
    if (impression->purchased) {
        impression->purchase_time +=
            model_delay(model, KEY_PURCHASE_DELAY, index, &purchase_delay, config->purchase_window_ms);
    }
}

// The intercept at which the weighted mean of sigmoid(logit + intercept) is `mean`: bisection.
static double model_intercept(const double *logits, const double *weights, double mean)
{
    double low = -40, high = 40;
    for (int step = 0; step < CALIBRATION_STEPS; step++) {
        double middle = (low + high) / 2, sum = 0, total = 0;
        for (int i = 0; i < CALIBRATION_IMPRESSIONS; i++) {
            sum += weights[i] * model_sigmoid(logits[i] + middle);
            total += weights[i];
        }
        if (sum < mean * total) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (low + high) / 2;
}

// The impressions that it looks at are not those of the stream's beginning, but of all hours of a week.
static void model_calibrate(struct daemon_market_model *model)
{
    double *click = base_alloc(CALIBRATION_IMPRESSIONS * sizeof *click);
    double *purchase = base_alloc(CALIBRATION_IMPRESSIONS * sizeof *purchase);
    double *weights = base_alloc(CALIBRATION_IMPRESSIONS * sizeof *weights);
    for (uint64_t i = 0; i < CALIBRATION_IMPRESSIONS; i++) {
        struct daemon_market_impression impression;
        model_features(model, (UINT64_C(1) << 40) + i, &impression);
        impression.slot[SLOT_HOUR] = (uint32_t)(i / DAEMON_MARKET_SLATE % 24);
        impression.slot[SLOT_WEEKDAY] = (uint32_t)(i / DAEMON_MARKET_SLATE % 7);
        model_logits(model, &impression, &click[i], &purchase[i]);
        weights[i] = 1;
    }
    model->click_intercept = model_intercept(click, weights, model->config.ctr);
    for (uint64_t i = 0; i < CALIBRATION_IMPRESSIONS; i++) {
        weights[i] = model_sigmoid(click[i] + model->click_intercept);
    }
    model->purchase_intercept = model_intercept(purchase, weights, model->config.cvr);
    free(click);
    free(purchase);
    free(weights);
}

struct daemon_market_model *daemon_market_model_new(const struct daemon_market_config *config)
{
    struct daemon_market_model *model = base_alloc_zeroed(1, sizeof *model);
    model->config = *config;
    for (int k = 0; k < KEYS; k++) {
        model->keys[k] = base_random_key(config->seed, key_names[k]);
    }
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        const struct slot_row *row = &slot_table[s];
        uint32_t configured = s == SLOT_USER   ? config->users
                              : s == SLOT_ITEM ? config->items
                                               : config->campaigns;
        model->values[s] = row->values ? row->values : configured;
        model->click[s] = model_effects(config, "click", row->name, model->values[s], row->click);
        model->purchase[s] = model_effects(config, "purchase", row->name, model->values[s], row->purchase);
    }
    model->user_share = model_zipf(config->users, USER_ZIPF);
    model->item_share = model_zipf(config->items, ITEM_ZIPF);
    model_calibrate(model);
    return model;
}

void daemon_market_model_free(struct daemon_market_model *model)
{
    if (!model) {
        return;
    }
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        free(model->click[s]);
        free(model->purchase[s]);
    }
    free(model->user_share);
    free(model->item_share);
    free(model);
}

const char *daemon_market_slot_name(uint32_t slot)
{
    return slot < DAEMON_MARKET_SLOTS ? slot_table[slot].name : NULL;
}

const char *daemon_market_number_name(uint32_t number)
{
    return number < DAEMON_MARKET_NUMBERS ? number_table[number].name : NULL;
}
