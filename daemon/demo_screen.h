// What a demonstration shows: the daemon's status file, the truth over the same minute, the watched item.
#ifndef DAEMON_DEMO_SCREEN_H
#define DAEMON_DEMO_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "daemon/market.h"
#include "publisher/publisher.h"

enum { DAEMON_DEMO_TASKS = 2, DAEMON_DEMO_VERSION_MAX = 48 };

// Of status.json; numbers that are null there are NaN here.
struct daemon_demo_status {
    double events, dead_letters, samples, minibatches;
    double events_per_s, samples_per_s;
    double watermark_lag_ms, freshness_ms;
    char version[DAEMON_DEMO_VERSION_MAX]; // "-": nothing published yet
    struct {
        double log_loss, constant, count;
    } task[DAEMON_DEMO_TASKS];
};

// Reads the file. BASE_EIO, or BASE_EFORMAT if it is not such an object.
int daemon_demo_status_read(const char *path, struct daemon_demo_status *status, struct base_error *error);

// The truth's log loss on the samples that the daemon makes of the stream (rule 20 of docs/join.md), by the
// second of their due time: pCTR on the click's labels, pCTCVR on the purchase's. The model is judged on the
// same samples.
enum { DAEMON_DEMO_TRUTH_SECONDS = 128 }; // the last minute, and what is due after an impression
struct daemon_demo_truth {
    struct {
        int64_t second;
        double count[DAEMON_DEMO_TASKS], loss[DAEMON_DEMO_TASKS];
    } bucket[DAEMON_DEMO_TRUTH_SECONDS];
};
// The waits are those of the funnel, ms.
void daemon_demo_truth_add(struct daemon_demo_truth *truth, const struct daemon_market_impression *impression,
                           int64_t click_wait, int64_t purchase_wait);
// Mean loss over the samples of the `seconds` before `end_ms`; NaN: none.
double daemon_demo_truth_loss(const struct daemon_demo_truth *truth, int task, int64_t end_ms, int seconds);

struct daemon_demo_view {
    int second, seconds; // of the demonstration
    int64_t jump_ms;     // since the jump; negative: before
    double truth_loss[DAEMON_DEMO_TASKS];
    bool compared; // the item could be scored
    double predicted, truth;
    struct publisher_version version; // that predicted
    const char *bootstrap, *redis, *item;
};

// Draws over the terminal's screen, or prints one line.
void daemon_demo_screen_draw(const struct daemon_demo_status *status, const struct daemon_demo_view *view);
void daemon_demo_screen_line(const struct daemon_demo_status *status, const struct daemon_demo_view *view);

#endif
