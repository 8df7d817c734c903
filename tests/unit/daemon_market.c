// Tests of the simulated marketplace: determinism, order, truth, delays, what must not count.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "daemon/market.h"

static struct daemon_market_config config_small(uint64_t impressions)
{
    struct daemon_market_config config = daemon_market_defaults;
    config.impressions = impressions;
    config.users = 2000;
    config.items = 500;
    return config;
}

static struct daemon_market *market_make(const struct daemon_market_config *config)
{
    struct base_error error = {0};
    struct daemon_market *market = daemon_market_new(config, &error);
    cr_assert_not_null(market, "%s", error.text);
    return market;
}

// A hash of everything that the walk says.
static uint64_t walk_hash(const struct daemon_market_config *config)
{
    struct daemon_market *market = market_make(config);
    struct base_hasher *hasher = base_hasher_new();
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    while (daemon_market_next(market, &event, &impression)) {
        const int64_t numbers[] = {event.rank,
                                   event.ordinal,
                                   event.again,
                                   event.reference,
                                   event.event_time,
                                   event.arrival_time,
                                   (int64_t)event.impression,
                                   impression->user,
                                   impression->item,
                                   impression->lane};
        base_hasher_update(hasher, numbers, sizeof numbers);
        base_hasher_update(hasher, &impression->pctr, sizeof impression->pctr);
    }
    uint64_t hash = base_hasher_digest(hasher);
    base_hasher_free(hasher);
    daemon_market_free(market);
    return hash;
}

Test(market, is_a_function_of_its_configuration)
{
    struct daemon_market_config config = config_small(3000);
    uint64_t hash = walk_hash(&config);
    cr_assert_eq(walk_hash(&config), hash);
    config.seed++;
    cr_assert_neq(walk_hash(&config), hash);
}

Test(market, events_come_in_the_order_of_their_arrival_and_each_impression_once)
{
    enum { COUNT = 20003 }; // not a multiple of the slate
    struct daemon_market_config config = config_small(COUNT);
    config.duplicates = .1;
    config.late = .1;
    struct daemon_market *market = market_make(&config);
    uint8_t *seen = base_alloc_zeroed(COUNT, 1);
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    int64_t last = INT64_MIN;
    unsigned disordered = 0, doubled = 0;
    int64_t newest = INT64_MIN;
    while (daemon_market_next(market, &event, &impression)) {
        cr_assert_geq(event.arrival_time, last);
        cr_assert_geq(event.arrival_time, event.event_time);
        cr_assert_eq(impression->index, event.impression);
        last = event.arrival_time;
        doubled += event.again;
        if (event.rank == 0 && !event.again) {
            cr_assert_eq(seen[event.impression]++, 0);
            cr_assert_eq(event.event_time, impression->event_time);
            disordered += event.event_time < newest;
            newest = event.event_time > newest ? event.event_time : newest;
        }
    }
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(seen[i], 1);
    }
    cr_assert_gt(disordered, COUNT / 20); // the network reorders
    cr_assert(doubled > COUNT * .08 && doubled < COUNT * .13, "%u", doubled);
    free(seen);
    daemon_market_free(market);
}

Test(market, an_impression_is_the_same_wherever_it_is_asked_for)
{
    struct daemon_market_config config = config_small(8000);
    struct daemon_market *market = market_make(&config), *other = market_make(&config);
    struct daemon_market_event event;
    const struct daemon_market_impression *walked;
    while (daemon_market_next(market, &event, &walked)) {
        struct daemon_market_impression asked;
        memset(&asked, 0, sizeof asked);
        daemon_market_impression(other, event.impression, &asked);
        cr_assert_eq(asked.event_time, walked->event_time);
        cr_assert_eq(asked.pctr, walked->pctr);
        cr_assert_eq(asked.pcvr, walked->pcvr);
        cr_assert_eq(asked.clicked, walked->clicked);
        cr_assert_eq(asked.purchase_time, walked->purchase_time);
        cr_assert_arr_eq(asked.slot, walked->slot, sizeof asked.slot);
        cr_assert_arr_eq(asked.number, walked->number, sizeof asked.number);
        char user[16];
        snprintf(user, sizeof user, "u%u", asked.user);
        cr_assert_eq(asked.lane, base_hash_bytes(base_span_string(user), 0) % config.lanes);
    }
    daemon_market_free(market);
    daemon_market_free(other);
}

Test(market, truth_has_the_configured_means_and_labels_follow_it)
{
    enum { COUNT = 151200 };
    struct daemon_market_config config = config_small(COUNT);
    config.rate = COUNT / (7 * 86400.0); // a week
    config.ctr = .1;
    config.cvr = .2;
    struct daemon_market *market = market_make(&config);
    double ctr = 0, variance = 0, clicks = 0, cvr = 0, cvr_variance = 0, purchases = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        struct daemon_market_impression impression;
        daemon_market_impression(market, i, &impression);
        ctr += impression.pctr;
        variance += impression.pctr * (1 - impression.pctr);
        clicks += impression.clicked;
        cr_assert(!impression.purchased || impression.clicked);
        if (impression.clicked) {
            cvr += impression.pcvr;
            cvr_variance += impression.pcvr * (1 - impression.pcvr);
            purchases += impression.purchased;
        }
    }
    cr_assert_float_eq(ctr / COUNT, config.ctr, .01);
    cr_assert_float_eq(cvr / clicks, config.cvr, .02);
    cr_assert_lt(fabs(clicks - ctr), 4 * sqrt(variance));
    cr_assert_lt(fabs(purchases - cvr), 4 * sqrt(cvr_variance));
    daemon_market_free(market);
}

Test(market, without_strength_all_impressions_are_alike)
{
    struct daemon_market_config config = config_small(1000);
    config.strength = 0;
    struct daemon_market *market = market_make(&config);
    for (uint64_t i = 0; i < 1000; i++) {
        struct daemon_market_impression impression;
        daemon_market_impression(market, i, &impression);
        cr_assert_float_eq(impression.pctr, config.ctr, 1e-9);
        cr_assert_float_eq(impression.pcvr, config.cvr, 1e-9);
    }
    daemon_market_free(market);
}

Test(market, delays_have_the_mixtures_and_end_at_the_windows)
{
    enum { COUNT = 60000 };
    struct daemon_market_config config = config_small(COUNT);
    config.ctr = config.cvr = .5;
    struct daemon_market *market = market_make(&config);
    double clicks = 0, click_ms = 0, purchases = 0, hour = 0, day = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        struct daemon_market_impression impression;
        daemon_market_impression(market, i, &impression);
        int64_t click = impression.click_time - impression.event_time;
        int64_t purchase = impression.purchase_time - impression.click_time;
        cr_assert(click >= 0 && click <= config.click_window_ms);
        cr_assert(purchase >= 0 && purchase <= config.purchase_window_ms);
        clicks += impression.clicked;
        click_ms += impression.clicked ? (double)click : 0;
        purchases += impression.purchased;
        hour += impression.purchased && purchase <= 3600000;
        day += impression.purchased && purchase <= 86400000;
    }
    // .99 * 40 s + .01 * 1800 s (1 - 1 / (e - 1)) of the tail that is cut at its mean.
    cr_assert_float_eq(click_ms / clicks, 47100, 1500);
    // label-delay.md, section 5: slow mean 2 d with a window of 7 d gives .37 / .67.
    cr_assert_float_eq(hour / purchases, .37, .02);
    cr_assert_float_eq(day / purchases, .67, .02);
    daemon_market_free(market);
}

Test(market, strays_are_of_every_sort_and_never_a_true_action)
{
    struct daemon_market_config config = config_small(30000);
    config.strays = .5;
    config.ctr = config.cvr = .3;
    config.duplicates = 0;
    struct daemon_market *market = market_make(&config);
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    unsigned unknown[3] = {0}, null = 0, second[3] = {0}, beyond[3] = {0}, bare = 0, true_actions[3] = {0};
    unsigned clicked = 0, purchased = 0;
    while (daemon_market_next(market, &event, &impression)) {
        if (event.rank == 0) {
            clicked += impression->clicked;
            purchased += impression->purchased;
        } else if (event.ordinal == 0) {
            true_actions[event.rank]++;
        } else if (event.reference == DAEMON_MARKET_NULL) {
            null++;
        } else if (event.reference == DAEMON_MARKET_UNKNOWN) {
            unknown[event.rank]++;
        } else if (event.rank == 1 && impression->clicked) {
            cr_assert_geq(event.event_time, impression->click_time);
            second[1]++;
        } else if (event.rank == 1) {
            cr_assert_gt(event.event_time - impression->event_time, config.click_window_ms);
            beyond[1]++;
        } else if (impression->purchased) {
            cr_assert_geq(event.event_time, impression->purchase_time);
            second[2]++;
        } else if (impression->clicked) {
            cr_assert_gt(event.event_time - impression->click_time, config.purchase_window_ms);
            beyond[2]++;
        } else {
            bare++;
        }
    }
    cr_assert_eq(true_actions[1], clicked);
    cr_assert_eq(true_actions[2], purchased);
    cr_assert(null && bare && unknown[1] && unknown[2] && second[1] && second[2] && beyond[1] && beyond[2]);
    daemon_market_free(market);
}

Test(market, a_jump_moves_one_item_from_its_moment_on)
{
    struct daemon_market_config config = config_small(5000);
    config.jump_item = 1;
    config.jump_ms = 50000; // half of 5000 at 50/s
    config.jump_logit = 2;
    struct daemon_market *calm = market_make(&config);
    config.jump = true;
    struct daemon_market *jumpy = market_make(&config);
    unsigned moved = 0;
    for (uint64_t i = 0; i < config.impressions; i++) {
        struct daemon_market_impression before, after;
        daemon_market_impression(calm, i, &before);
        daemon_market_impression(jumpy, i, &after);
        bool jumped = after.item == 1 && after.event_time >= config.start_ms + config.jump_ms;
        moved += jumped;
        double logit = log(after.pctr / (1 - after.pctr)) - log(before.pctr / (1 - before.pctr));
        cr_assert_float_eq(logit, jumped ? 2 : 0, 1e-9);
        cr_assert_eq(after.pcvr, before.pcvr);
        cr_assert_eq(daemon_market_pctr_at(jumpy, &after, after.event_time), after.pctr);
        cr_assert_eq(daemon_market_pctr_at(jumpy, &after, config.start_ms), before.pctr);
    }
    cr_assert_gt(moved, 10);
    daemon_market_free(calm);
    daemon_market_free(jumpy);
}

Test(market, settings_that_cannot_be_are_refused_by_name)
{
    struct daemon_market_config bad[] = {daemon_market_defaults, daemon_market_defaults,
                                         daemon_market_defaults, daemon_market_defaults,
                                         daemon_market_defaults};
    static const char *const names[] = {"lanes", "rate", "ctr", "late", "users"};
    bad[0].lanes = 0;
    bad[1].rate = (double)NAN;
    bad[2].ctr = 1;
    bad[3].late = -.1;
    bad[4].users = 0;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct base_error error = {0};
        cr_assert_null(daemon_market_new(&bad[i], &error));
        cr_assert_eq(error.code, BASE_EINVAL);
        cr_assert_not_null(strstr(error.text, names[i]), "%s", error.text);
    }
    daemon_market_free(NULL);
}

// Online logistic models for both stages, Adagrad, one pass: the signal has to be there for whoever learns in
// one pass.
enum { LEARNER_ROWS = 1 << 18, LEARNER_KEYS = DAEMON_MARKET_SLOTS + DAEMON_MARKET_INTERESTS };

struct learner {
    float weight[2][LEARNER_ROWS], square[2][LEARNER_ROWS];
    double bias[2];
};

static void learner_step(struct learner *learner, const struct daemon_market_impression *impression,
                         double out[2])
{
    uint32_t rows[LEARNER_KEYS], count = 0;
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        bool several = s == DAEMON_MARKET_SLOT_INTERESTS;
        for (uint32_t k = 0; k < (several ? DAEMON_MARKET_INTERESTS : 1u); k++) {
            uint32_t value = several ? impression->interests[k] : impression->slot[s];
            rows[count++] = (uint32_t)(base_hash_slot_integer(s, value) % LEARNER_ROWS);
        }
    }
    double p[2];
    for (int task = 0; task < 2; task++) {
        double logit = learner->bias[task];
        for (uint32_t k = 0; k < count; k++) {
            logit += learner->weight[task][rows[k]];
        }
        p[task] = 1 / (1 + exp(-logit));
    }
    out[0] = p[0];
    out[1] = p[0] * p[1];
    // ESMM: the product's loss reaches the second logit only.
    const double slope[2] = {p[0] - impression->clicked,
                             impression->purchased ? p[1] - 1 : out[1] * (1 - p[1]) / (1 - out[1])};
    for (int task = 0; task < 2; task++) {
        learner->bias[task] -= .001 * slope[task];
        for (uint32_t k = 0; k < count; k++) {
            learner->square[task][rows[k]] += (float)(slope[task] * slope[task]);
            learner->weight[task][rows[k]] -=
                (float)(.1 * slope[task] / sqrt(1 + (double)learner->square[task][rows[k]]));
        }
    }
}

static double loss(bool label, double p)
{
    return label ? -log(p) : -log1p(-p);
}

static double entropy(double p)
{
    return -p * log(p) - (1 - p) * log1p(-p);
}

Test(market, can_be_learned_in_one_pass)
{
    enum { COUNT = 300000 };
    struct daemon_market_config config = daemon_market_defaults;
    config.impressions = COUNT;
    struct daemon_market *market = market_make(&config);
    struct learner *learner = base_alloc_zeroed(1, sizeof *learner);
    learner->bias[0] = -3;
    learner->bias[1] = -2;
    double count = 0, model[2] = {0}, truth[2] = {0}, positives[2] = {0};
    for (uint64_t i = 0; i < COUNT; i++) {
        struct daemon_market_impression impression;
        daemon_market_impression(market, i, &impression);
        double predicted[2];
        learner_step(learner, &impression, predicted);
        if (i < COUNT * 3 / 4) {
            continue;
        }
        const double known[2] = {impression.pctr, impression.pctr * impression.pcvr};
        const bool label[2] = {impression.clicked, impression.purchased};
        count++;
        for (int task = 0; task < 2; task++) {
            positives[task] += label[task];
            model[task] += loss(label[task], predicted[task]);
            truth[task] += loss(label[task], known[task]);
        }
    }
    static const double required[2] = {.6, .4};
    for (int task = 0; task < 2; task++) {
        double constant = entropy(positives[task] / count);
        double closed = (constant - model[task] / count) / (constant - truth[task] / count);
        cr_assert_gt(constant - truth[task] / count, 0);
        cr_assert_gt(closed, required[task], "task %d closes %.3f", task, closed);
    }
    free(learner);
    daemon_market_free(market);
}
