// What a demonstration shows. See demo_screen.h.
#include "daemon/demo_screen.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BAR_WIDTH = 48 };

static const double BAR_FULL = .6; // the pCTR of a full bar

static const char *const task_titles[DAEMON_DEMO_TASKS] = {"click (pCTR)", "purchase (pCTCVR)"};

static double status_number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

int daemon_demo_status_read(const char *path, struct daemon_demo_status *status, struct base_error *error)
{
    json_error_t problem;
    json_t *root = json_load_file(path, 0, &problem);
    if (!root) {
        return base_error_set(error, BASE_EIO, "%s: %s", path, problem.text);
    }
    const json_t *tasks = json_object_get(root, "tasks");
    if (json_array_size(tasks) != DAEMON_DEMO_TASKS) {
        json_decref(root);
        return base_error_set(error, BASE_EFORMAT, "%s: not the status of two tasks", path);
    }
    *status = (struct daemon_demo_status){
        .events = status_number(root, "events"),
        .dead_letters = status_number(root, "dead_letters"),
        .samples = status_number(root, "samples"),
        .minibatches = status_number(root, "minibatches"),
        .events_per_s = status_number(root, "events_per_s"),
        .samples_per_s = status_number(root, "samples_per_s"),
        .watermark_lag_ms = status_number(root, "watermark_lag_ms"),
        .freshness_ms = status_number(root, "freshness_ms"),
        .version = "-",
    };
    const char *version = json_string_value(json_object_get(root, "version"));
    if (version) {
        snprintf(status->version, sizeof status->version, "%s", version);
    }
    for (size_t task = 0; task < DAEMON_DEMO_TASKS; task++) {
        const json_t *entry = json_array_get(tasks, task);
        status->task[task].log_loss = status_number(entry, "log_loss");
        status->task[task].constant = status_number(entry, "constant_log_loss");
        status->task[task].count = status_number(entry, "count");
    }
    json_decref(root);
    return 0;
}

static int64_t truth_second(int64_t ms)
{
    return ms / 1000 - (ms % 1000 < 0);
}

static size_t truth_slot(int64_t second)
{
    return (size_t)((uint64_t)second % DAEMON_DEMO_TRUTH_SECONDS);
}

// A sample due at `due` whose label of `task` is `label`; `p` is the true probability.
static void truth_sample(struct daemon_demo_truth *truth, int64_t due, int task, bool label, double p)
{
    int64_t second = truth_second(due);
    size_t slot = truth_slot(second);
    if (truth->bucket[slot].second != second) {
        memset(&truth->bucket[slot], 0, sizeof truth->bucket[slot]);
        truth->bucket[slot].second = second;
    }
    truth->bucket[slot].count[task] += 1;
    truth->bucket[slot].loss[task] -= label ? log(p) : log1p(-p);
}

void daemon_demo_truth_add(struct daemon_demo_truth *truth, const struct daemon_market_impression *impression,
                           int64_t click_wait, int64_t purchase_wait)
{
    double click = impression->pctr, product = impression->pctr * impression->pcvr;
    int64_t due = impression->event_time + click_wait;
    bool early = impression->clicked && impression->click_time <= due;
    truth_sample(truth, due, 0, early, click); // N0 or C1
    if (!early) {
        truth_sample(truth, due, 1, false, product); // N0 pays for both
    }
    if (impression->clicked && !early) {
        truth_sample(truth, impression->click_time, 0, true, click); // L
    }
    due = impression->click_time + purchase_wait;
    bool soon = impression->purchased && impression->purchase_time <= due;
    if (early || soon) {
        truth_sample(truth, due, 1, soon, product); // C1
    }
    if (impression->purchased && !soon) {
        truth_sample(truth, impression->purchase_time, 1, true, product); // D2
    }
}

double daemon_demo_truth_loss(const struct daemon_demo_truth *truth, int task, int64_t end_ms, int seconds)
{
    double count = 0, loss = 0;
    int64_t end = truth_second(end_ms);
    for (int64_t second = end - seconds; second < end; second++) {
        size_t slot = truth_slot(second);
        if (truth->bucket[slot].second == second) {
            count += truth->bucket[slot].count[task];
            loss += truth->bucket[slot].loss[task];
        }
    }
    return count > 0 ? loss / count : (double)NAN;
}

// A number, or "-" where there is none.
static const char *text_number(char text[32], double value, const char *format)
{
    if (isnan(value)) {
        return "-";
    }
    snprintf(text, 32, format, value);
    return text;
}

static const char *text_closed(char text[32], const struct daemon_demo_status *status,
                               const struct daemon_demo_view *view, int task)
{
    double constant = status->task[task].constant, gap = constant - view->truth_loss[task];
    if (!(gap > 1e-6)) {
        return "-";
    }
    return text_number(text, 100 * (constant - status->task[task].log_loss) / gap, "%.0f %%");
}

static void draw_bar(const char *title, double value)
{
    char bar[BAR_WIDTH + 1];
    int full = (int)(value / BAR_FULL * BAR_WIDTH + .5);
    full = full < 0 ? 0 : full > BAR_WIDTH ? BAR_WIDTH : full;
    memset(bar, '#', (size_t)full);
    bar[full] = 0;
    printf("   %-16s %.4f  %s\033[K\n", title, value, bar);
}

void daemon_demo_screen_draw(const struct daemon_demo_status *status, const struct daemon_demo_view *view)
{
    char a[32], b[32], c[32], d[32];
    printf("\033[H freshet demo   %d of %d s\033[K\n\033[K\n", view->second, view->seconds);
    printf(" broker %s, Redis %s\033[K\n\033[K\n", view->bootstrap, view->redis);
    printf(" events/s  %8s   in all %.0f\033[K\n", text_number(a, status->events_per_s, "%.0f"),
           status->events);
    printf(" samples/s %8s   in all %.0f in %.0f minibatches\033[K\n",
           text_number(a, status->samples_per_s, "%.0f"), status->samples, status->minibatches);
    printf(" watermark lag %s s   version %s   freshness %s s\033[K\n\033[K\n",
           text_number(a, status->watermark_lag_ms / 1000, "%.2f"), status->version,
           text_number(b, status->freshness_ms / 1000, "%.2f"));
    printf(" log loss of the last minute   model  constant     truth  gap closed\033[K\n");
    for (int task = 0; task < DAEMON_DEMO_TASKS; task++) {
        printf("   %-24s %8s  %8s  %8s  %10s\033[K\n", task_titles[task],
               text_number(a, status->task[task].log_loss, "%.5f"),
               text_number(b, status->task[task].constant, "%.5f"),
               text_number(c, view->truth_loss[task], "%.5f"), text_closed(d, status, view, task));
    }
    printf("\033[K\n item %s: its true pCTR ", view->item);
    if (view->jump_ms < 0) {
        printf("jumps in %.0f s\033[K\n", ceil((double)-view->jump_ms / 1000));
    } else {
        printf("jumped %.0f s ago\033[K\n", (double)view->jump_ms / 1000);
    }
    if (view->compared) {
        draw_bar("truth", view->truth);
        draw_bar("read from Redis", view->predicted);
        printf("   scored with version %" PRIu64 ".%" PRIu64 "\033[K\n", view->version.epoch,
               view->version.number);
    }
    printf("\033[J");
    fflush(stdout);
}

void daemon_demo_screen_line(const struct daemon_demo_status *status, const struct daemon_demo_view *view)
{
    char a[32], b[32], c[32], d[32];
    printf("%3d s  events/s %s samples/s %s lag %s s version %s freshness %s s", view->second,
           text_number(a, status->events_per_s, "%.0f"), text_number(b, status->samples_per_s, "%.0f"),
           text_number(c, status->watermark_lag_ms / 1000, "%.2f"), status->version,
           text_number(d, status->freshness_ms / 1000, "%.2f"));
    static const char *const names[DAEMON_DEMO_TASKS] = {"click", "purchase"};
    for (int task = 0; task < DAEMON_DEMO_TASKS; task++) {
        printf(" | %s loss %s constant %s truth %s", names[task],
               text_number(a, status->task[task].log_loss, "%.5f"),
               text_number(b, status->task[task].constant, "%.5f"),
               text_number(c, view->truth_loss[task], "%.5f"));
    }
    if (view->compared) {
        printf(" | item %s true %.4f Redis %.4f%s", view->item, view->truth, view->predicted,
               view->jump_ms >= 0 ? " (jumped)" : "");
    }
    printf("\n");
    fflush(stdout);
}
