// freshet demo: the main job, live, on one terminal. See demo_world.h, demo_item.h, demo_screen.h.
//
// This process plays the marketplace and a serving process: it produces the live stream, so it knows the
// truth, and follows the published model with the reader library. The daemon under it is freshetd as it is.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/config.h"
#include "daemon/command.h"
#include "daemon/demo_item.h"
#include "daemon/demo_screen.h"
#include "daemon/demo_world.h"
#include "daemon/market.h"
#include "daemon/produce.h"

enum {
    SECONDS_MIN = 10,
    SECONDS_MAX = 24 * 3600,
    FOLLOW_MS = 20,    // the loop's nap
    LOSS_SECONDS = 60, // of the truth's log loss, as the daemon's
    TIMEOUT_MS = 10000,
    UNREAD_MAX = 3 << 20 // bytes that the daemon has not read yet: the broker keeps 5 MiB a partition
};

static const double JUMP_LOGIT = 2.2;

static const char usage[] = "usage: freshet demo [--seconds N] [--rate R] [--seed S]\n"
                            "Starts a private Redis, an embedded broker and freshetd, streams a simulated "
                            "marketplace through them and\n"
                            "shows the model learning; ends by itself and leaves nothing behind.\n"
                            "\n"
                            "  --seconds N   how long, at least 10 (60)\n"
                            "  --rate R      impressions a second (2000)\n"
                            "  --seed S      of the marketplace (1)\n";

struct options {
    uint64_t seconds, seed;
    double rate;
};

struct demo {
    struct options options;
    struct daemon_demo_world *world;
    struct daemon_demo_item *item;
    struct daemon_market *market;
    struct daemon_produce_sink *sink;
    struct daemon_produce_record record;
    struct daemon_demo_truth *truth;
    struct daemon_demo_status status;
    int64_t start_ms, jump_ms; // wall
    bool waiting;              // `event` is the next to produce
    struct daemon_market_event event;
    struct daemon_market_impression impression;
    uint64_t records, bytes; // produced
    // For the summary.
    double before;    // last prediction before the jump; NaN: none
    double halfway_s; // seconds after the jump until the prediction had gone half the way; NaN: not
    double predicted, true_now;
};

static volatile sig_atomic_t stopped;

static void handle_stop(int signal)
{
    (void)signal;
    stopped = 1;
}

// 0; 1: help is wanted; -1: wrong usage.
static int options_parse(int argc, char **argv, struct options *options)
{
    static const struct option flags[] = {{"seconds", required_argument, NULL, 's'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"seed", required_argument, NULL, 'e'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    optind = 0; // glibc: begin anew
    for (int flag; (flag = getopt_long(argc, argv, "h", flags, NULL)) != -1;) {
        if (flag == 'h') {
            return 1;
        }
        int result = flag == 's'   ? base_config_parse_uint(optarg, &options->seconds)
                     : flag == 'r' ? base_config_parse_real(optarg, &options->rate)
                     : flag == 'e' ? base_config_parse_uint(optarg, &options->seed)
                                   : -1;
        if (result < 0) {
            return -1;
        }
    }
    bool fits = options->seconds >= SECONDS_MIN && options->seconds <= SECONDS_MAX && options->rate >= 10 &&
                options->rate <= 100000;
    return optind == argc && fits ? 0 : -1;
}

// freshetd lies beside us.
static int demo_daemon_path(char path[PATH_MAX], struct base_error *error)
{
    static const char name[] = "freshetd";
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX - sizeof name);
    if (size < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "/proc/self/exe");
    }
    path[size] = 0;
    char *slash = strrchr(path, '/');
    memcpy(slash + 1, name, sizeof name);
    if (access(path, X_OK) < 0) {
        return base_error_set_errno(error, BASE_ENOTFOUND, errno, "%s", path);
    }
    return 0;
}

static int demo_open(struct demo *demo, struct base_error *error)
{
    static const char *const topics[DAEMON_MARKET_RANKS] = {"impressions", "clicks", "purchases"};
    char program[PATH_MAX];
    if (demo_daemon_path(program, error) < 0) {
        return -1;
    }
    demo->world = daemon_demo_world_new(program, topics, error);
    if (!demo->world) {
        return -1;
    }
    struct daemon_produce_kafka_config kafka = {
        .bootstrap = daemon_demo_world_bootstrap(demo->world),
        .topics = {topics[0], topics[1], topics[2]},
        .lanes = DAEMON_DEMO_LANES,
        .framing = CONSUMER_FRAMING_SINGLE_OBJECT,
        .timeout_ms = TIMEOUT_MS,
    };
    demo->sink = daemon_produce_kafka_new(&kafka, error);
    demo->item = demo->sink
                     ? daemon_demo_item_new(daemon_demo_world_redis(demo->world), DAEMON_DEMO_MODEL, error)
                     : NULL;
    if (!demo->item) {
        return -1;
    }
    demo->start_ms = base_clock_wall_ms(&base_clock_system);
    demo->jump_ms = demo->start_ms + (int64_t)demo->options.seconds * 500;
    struct daemon_market_config market = daemon_market_defaults;
    market.seed = demo->options.seed;
    market.impressions = 0;
    market.lanes = DAEMON_DEMO_LANES;
    market.rate = demo->options.rate;
    market.start_ms = demo->start_ms;
    market.users = 20000;
    market.items = 2000;
    market.campaigns = 100;
    market.ctr = .08;
    market.cvr = .2;
    market.delay_scale = .025;
    market.click_window_ms = DAEMON_DEMO_CLICK_WINDOW;
    market.purchase_window_ms = DAEMON_DEMO_PURCHASE_WINDOW;
    market.network_ms = 50;
    market.late_ms = 3000;
    market.jump = true;
    market.jump_item = 0;
    market.jump_ms = demo->jump_ms - demo->start_ms;
    market.jump_logit = JUMP_LOGIT;
    demo->market = daemon_market_new(&market, error);
    demo->truth = base_alloc_zeroed(1, sizeof *demo->truth);
    return demo->market ? 0 : -1;
}

static int demo_produce_one(struct demo *demo, struct base_error *error)
{
    const struct daemon_market_impression *impression = &demo->impression;
    daemon_produce_encode(demo->options.seed, &demo->event, impression, &demo->record);
    demo->records++;
    demo->bytes += demo->record.body.size;
    if (demo->event.rank == 0 && !demo->event.again) {
        daemon_demo_truth_add(demo->truth, impression, DAEMON_DEMO_CLICK_WAIT, DAEMON_DEMO_PURCHASE_WAIT);
        if (impression->item == 0) {
            daemon_demo_item_add(demo->item, impression);
        }
    }
    return demo->sink->operations->put(demo->sink, &demo->record, error);
}

// Produces what has arrived by `now`, unless the daemon is too far behind for what the broker keeps.
static int demo_produce(struct demo *demo, int64_t now, struct base_error *error)
{
    for (;;) {
        if (!demo->waiting) {
            const struct daemon_market_impression *impression;
            daemon_market_next(demo->market, &demo->event, &impression); // a market without end
            demo->impression = *impression;
            demo->waiting = true;
        }
        double unread = (double)demo->records - demo->status.events - demo->status.dead_letters;
        double mean = demo->records ? (double)demo->bytes / (double)demo->records : 0;
        if (demo->event.arrival_time > now || unread * mean > UNREAD_MAX) {
            return 0;
        }
        demo->waiting = false;
        if (demo_produce_one(demo, error) < 0) {
            return -1;
        }
    }
}

static int demo_show(struct demo *demo, int64_t now, bool terminal, struct base_error *error)
{
    if (daemon_demo_world_check(demo->world, error) < 0 ||
        daemon_demo_status_read(daemon_demo_world_status(demo->world), &demo->status, error) < 0) {
        return -1;
    }
    struct daemon_demo_view view = {
        .second = (int)((now - demo->start_ms) / 1000),
        .seconds = (int)demo->options.seconds,
        .jump_ms = now - demo->jump_ms,
        .bootstrap = daemon_demo_world_bootstrap(demo->world),
        .redis = daemon_demo_world_redis(demo->world),
        .item = "i0",
    };
    for (int task = 0; task < DAEMON_DEMO_TASKS; task++) {
        view.truth_loss[task] =
            daemon_demo_truth_loss(demo->truth, task, now - DAEMON_DEMO_LATENESS, LOSS_SECONDS);
    }
    view.compared =
        daemon_demo_item_compare(demo->item, demo->market, now, &view.predicted, &view.truth, &view.version);
    if (view.compared) {
        demo->predicted = view.predicted;
        demo->true_now = view.truth;
        if (view.jump_ms < 0) {
            demo->before = view.predicted;
        } else if (isnan(demo->halfway_s) && view.predicted > (demo->before + view.truth) / 2) {
            demo->halfway_s = (double)view.jump_ms / 1000;
        }
    }
    (terminal ? daemon_demo_screen_draw : daemon_demo_screen_line)(&demo->status, &view);
    return 0;
}

static int demo_run(struct demo *demo, struct base_error *error)
{
    bool terminal = isatty(STDOUT_FILENO);
    int64_t end = demo->start_ms + (int64_t)demo->options.seconds * 1000;
    int64_t next_show = demo->start_ms + 1000;
    if (terminal) {
        printf("\033[2J");
    }
    while (!stopped) {
        int64_t now = base_clock_wall_ms(&base_clock_system);
        if (demo_produce(demo, now, error) < 0) {
            return -1;
        }
        if (now >= next_show) {
            if (demo_show(demo, now, terminal, error) < 0) {
                return -1;
            }
            next_show += 1000;
        }
        if (now >= end) {
            return 0;
        }
        if (daemon_demo_item_follow(demo->item, FOLLOW_MS, error) < 0) {
            return -1;
        }
    }
    return 0;
}

static void demo_summary(const struct demo *demo)
{
    const struct daemon_demo_status *status = &demo->status;
    printf("\nSummary: %.0f events, %.0f samples, %.0f minibatches, version %s.\n", status->events,
           status->samples, status->minibatches, status->version);
    if (!isnan(demo->before)) {
        printf("Item i0: predicted pCTR %.4f before its jump, %.4f at the end; the truth is %.4f.\n",
               demo->before, demo->predicted, demo->true_now);
    }
    if (!isnan(demo->halfway_s)) {
        printf("The prediction read from Redis had gone half the way %.0f s after the jump.\n",
               demo->halfway_s);
    }
}

int daemon_command_demo(int argc, char **argv)
{
    struct demo demo = {
        .options = {.seconds = 60, .rate = 2000, .seed = 1}, .before = (double)NAN, .halfway_s = (double)NAN};
    int parsed = options_parse(argc, argv, &demo.options);
    if (parsed != 0) {
        fputs(usage, parsed > 0 ? stdout : stderr);
        return parsed > 0 ? 0 : 2;
    }
    stopped = 0;
    struct sigaction action = {.sa_handler = handle_stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    struct base_error error = {0};
    int result = demo_open(&demo, &error);
    if (result == 0) {
        result = demo_run(&demo, &error);
    }
    struct base_error ignored;
    if (demo.sink && demo.sink->operations->finish(demo.sink, result == 0 ? &error : &ignored) < 0) {
        result = -1;
    }
    if (result == 0 && !stopped && strcmp(demo.status.version, "-") == 0) {
        result = base_error_set(&error, BASE_ENOTFOUND, "the daemon published no version in %" PRIu64 " s",
                                demo.options.seconds);
    }
    if (result == 0) {
        demo_summary(&demo);
    } else {
        fprintf(stderr, "freshet demo: %s\n", error.text);
    }
    daemon_demo_item_free(demo.item);
    if (demo.sink) {
        demo.sink->operations->free(demo.sink);
    }
    daemon_demo_world_free(demo.world);
    daemon_market_free(demo.market);
    daemon_produce_record_free(&demo.record);
    free(demo.truth);
    return result == 0 ? 0 : 1;
}
