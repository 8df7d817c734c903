// The simulated marketplace: impressions, clicks and purchases whose true probabilities are known.
//
// Every impression is a pure function of (configuration, its index): its request, user, item and features,
// its true pCTR and pCVR (a logistic model over those features), whether and when it is clicked and bought.
// daemon_market_next walks the events in the order in which they *arrive*: event time + network delay, a few
// of them late, doubled, or astray. Nothing here reads a clock or a file. Thread: one at a time.
//
//   request (user, time, context) -> 5 impressions, one a position -> click after a delay -> purchase
#ifndef DAEMON_MARKET_H
#define DAEMON_MARKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum {
    DAEMON_MARKET_RANKS = 3,     // topics: impression, click, purchase
    DAEMON_MARKET_SLATE = 5,     // impressions of one request: positions 0..4
    DAEMON_MARKET_SLOTS = 24,    // categorical features
    DAEMON_MARKET_NUMBERS = 6,   // numeric features
    DAEMON_MARKET_INTERESTS = 3, // values of the one slot that has several
    DAEMON_MARKET_USERS_MAX = 10000000,
    DAEMON_MARKET_ITEMS_MAX = 10000000,
    DAEMON_MARKET_CAMPAIGNS_MAX = 100000,
};

// The slot with several values (daemon_market_impression.interests, not .slot).
enum { DAEMON_MARKET_SLOT_INTERESTS = 18 };

struct daemon_market_config {
    uint64_t seed;
    uint64_t impressions; // how many; 0: without end
    uint32_t lanes;       // partitions of each topic, 1..4096
    double rate;          // impressions a second of event time
    int64_t start_ms;     // event time of the first request
    uint32_t users, items, campaigns;
    double ctr;         // mean true pCTR, over a week
    double cvr;         // mean true pCVR, over clicks
    double strength;    // multiplies the standard deviation of every effect: 1; 0 makes constants
    double delay_scale; // multiplies the means of click and purchase delays: 1
    int64_t click_window_ms, purchase_window_ms; // delays are drawn below these; past them nothing counts
    double network_ms;                           // mean network delay, exponential
    double late;                                 // share of records that are delayed further,
    double late_ms;                              //   by this mean, exponential
    double duplicates;                           // share of records that arrive twice
    double
        strays; // share of impressions with an action that must not count: see enum market_stray in market.c
    bool jump;  // the logit of pCTR of `jump_item` rises by `jump_logit` at start_ms + jump_ms
    uint32_t jump_item;
    int64_t jump_ms;
    double jump_logit;
};

// 2 M impressions in 11 hours, four lanes, the delays of docs/label-delay.md section 5, windows of 30 minutes
// and 7 days, 0.1 % late, 0.1 % duplicates, 0.1 % strays.
extern const struct daemon_market_config daemon_market_defaults;

struct daemon_market_impression {
    uint64_t index;
    uint64_t request;
    int64_t event_time;
    uint32_t lane; // XXH3(user_id) % lanes
    uint32_t position;
    uint32_t user, item;
    uint32_t slot[DAEMON_MARKET_SLOTS];
    uint32_t interests[DAEMON_MARKET_INTERESTS];
    double number[DAEMON_MARKET_NUMBERS];
    double pctr, pcvr; // the truth: P(click within its window), P(purchase within its window | click)
    bool clicked, purchased;
    int64_t click_time, purchase_time; // event times, if so
};

// What an action names as its impression.
enum daemon_market_reference {
    DAEMON_MARKET_OWN,     // the impression
    DAEMON_MARKET_UNKNOWN, // one that never was
    DAEMON_MARKET_NULL,
};

struct daemon_market_event {
    uint32_t rank;    // 0 impression, 1 click, 2 purchase
    uint32_t ordinal; // tells the events of one impression and rank apart; 0: the true one. Part of the id
    bool again;       // the second arrival of a record
    enum daemon_market_reference reference;
    int64_t event_time;
    int64_t arrival_time;
    uint64_t impression; // its index
};

struct daemon_market;

// Errors: BASE_EINVAL names the setting that cannot be.
struct daemon_market *daemon_market_new(const struct daemon_market_config *config, struct base_error *error);
void daemon_market_free(struct daemon_market *market);
const struct daemon_market_config *daemon_market_config(const struct daemon_market *market);

// The next event by (arrival time, order of birth) and the impression that it belongs to, borrowed until the
// next call. False after the last. Memory: the events under way, that is those of one longest delay.
bool daemon_market_next(struct daemon_market *market, struct daemon_market_event *event,
                        const struct daemon_market_impression **impression);

// The impression of an index, whether or not the walk has come to it.
void daemon_market_impression(const struct daemon_market *market, uint64_t index,
                              struct daemon_market_impression *impression);

// True pCTR of `impression` if its event time were `time`: before or after the jump.
double daemon_market_pctr_at(const struct daemon_market *market,
                             const struct daemon_market_impression *impression, int64_t time);

const char *daemon_market_slot_name(uint32_t slot);
const char *daemon_market_number_name(uint32_t number);

#endif
