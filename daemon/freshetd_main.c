// freshetd: the daemon. main = parse, configure, block signals, build, start, READY, loop, STOPPING.
//
// Exit status: 0 asked to stop, or files learned to their end and published; 1 a part failed (the last log
// line says which); 78 (EX_CONFIG) the configuration is wrong, which the service manager does not retry.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "daemon/config_print.h"
#include "daemon/lock.h"
#include "daemon/notify.h"
#include "daemon/pipeline.h"
#include "daemon/signals.h"
#include "daemon/status.h"
#include "trainer/blas.h"
#include "trainer/cut.h"

enum {
    EXIT_CONFIG = 78,
    LOOP_MS = 200,          // how long a signal is waited for at a time
    STATUS_MS = 1000,       // how often the status file is renewed
    REPORT_MS = 30000,      // how often progress is logged
    STOP_MARGIN_MS = 30000, // what the drain may take, as told to the service manager
};

struct freshetd {
    struct daemon_config *config;
    struct base_log *log;
    struct daemon_notify *notify;
    struct daemon_signals *signals;
    struct daemon_lock *lock; // of the state directory
    struct daemon_pipeline *pipeline;
    int64_t watchdog_ns; // 0: none
    bool ready;

    struct daemon_pipeline_state shown; // at the last status
    struct daemon_status_times shown_times;
    struct daemon_status_source source;
    int64_t reported_ns, petted_ns;
    uint64_t petted_ingest, petted_learner; // their beats when the watchdog was last petted
    uint64_t publications;                  // logged so far
    char publication_error[BASE_ERROR_TEXT_MAX];
    int64_t trouble_ms; // of the source, logged so far
    bool blocked;       // logged so
};

static int usage(FILE *out, int status)
{
    fprintf(out,
            "usage: freshetd -c FILE\n"
            "  -c, --config FILE   the configuration (docs/CONFIGURATION.md)\n"
            "      --failpoints    lists the places that FRESHET_FAILPOINT=NAME[:N] kills at, for tests\n"
            "      --version\n");
    return status;
}

static int list_failpoints(void)
{
    const char *name, *when;
    for (size_t i = 0; (name = base_failpoint_name(i, &when)); i++) {
        printf("%s\t%s\n", name, when);
    }
    return 0;
}

// Loads the configuration and prints every problem of it. NULL: it has errors, or is not for a daemon.
static struct daemon_config *load(const char *path)
{
    struct base_config_problems *problems = base_alloc_zeroed(1, sizeof *problems);
    struct daemon_config *config = daemon_config_load(path, problems);
    if (config && base_config_given(config->memory, &config->source.ends)) {
        base_config_problem(problems, config->memory, false, &config->source.ends,
                            "is for freshet replay; the daemon has no end");
        daemon_config_free(config);
        config = NULL;
    }
    daemon_config_print(problems, stderr);
    free(problems);
    return config;
}

// Logs what changed about publications since the last look.
static void log_publications(struct freshetd *freshetd, const struct daemon_outbox_state *outbox)
{
    if (outbox->publications > freshetd->publications) {
        freshetd->publications = outbox->publications;
        char version[64];
        snprintf(version, sizeof version, "%" PRIu64 ".%" PRIu64, outbox->last.version.epoch,
                 outbox->last.version.number);
        base_log_write(freshetd->log, BASE_LOG_DEBUG, "published a version",
                       BASE_LOG_FIELDS(base_log_string("version", version),
                                       base_log_uint("rows", outbox->last.rows),
                                       base_log_uint("bytes", outbox->last.bytes)));
    }
    const char *text = outbox->error.code == BASE_OK ? "" : outbox->error.text;
    if (strcmp(text, freshetd->publication_error) != 0) {
        snprintf(freshetd->publication_error, sizeof freshetd->publication_error, "%s", text);
        if (text[0]) {
            base_log_error(freshetd->log, BASE_LOG_WARNING, "publication failed", &outbox->error);
        } else {
            base_log_write(freshetd->log, BASE_LOG_INFO, "publication works again", NULL, 0);
        }
    }
}

// Logs what is in the way of reading, and when a partition no longer waits.
static void log_source(struct freshetd *freshetd, const struct daemon_pipeline_state *state)
{
    if (state->trouble_ms != freshetd->trouble_ms) {
        freshetd->trouble_ms = state->trouble_ms;
        base_log_error(freshetd->log, BASE_LOG_WARNING, "the source is away: reading goes on when it is back",
                       &state->trouble);
    }
    bool blocked = state->ingest.blocked_error.code != BASE_OK;
    if (blocked != freshetd->blocked) {
        freshetd->blocked = blocked;
        if (blocked) {
            base_log_error(freshetd->log, BASE_LOG_WARNING, "a partition waits for a schema",
                           &state->ingest.blocked_error);
        } else {
            base_log_write(freshetd->log, BASE_LOG_INFO, "no partition waits for a schema any more", NULL, 0);
        }
    }
}

static void log_progress(struct freshetd *freshetd, const struct daemon_pipeline_state *state)
{
    base_log_write(freshetd->log, BASE_LOG_INFO, "progress",
                   BASE_LOG_FIELDS(base_log_uint("events", state->ingest.counts.events),
                                   base_log_uint("samples", state->learner.samples),
                                   base_log_uint("lag", state->ingest.lag),
                                   base_log_uint("dead_letters", state->ingest.counts.dead),
                                   base_log_uint("publications", state->outbox.publications)));
}

// READY once the source answered (the pipeline was built) and Redis gave an epoch.
static void become_ready(struct freshetd *freshetd, const struct daemon_pipeline_state *state)
{
    if (freshetd->ready || !state->outbox.connected) {
        return;
    }
    struct base_error error = {0};
    freshetd->ready = true;
    daemon_notify_ready(freshetd->notify, "training", &error);
    base_log_write(freshetd->log, BASE_LOG_INFO, "ready", NULL, 0);
}

// Tells the watchdog that we live, if both threads have moved on since it was last told.
static void pet_watchdog(struct freshetd *freshetd, const struct daemon_pipeline_state *state, int64_t now)
{
    if (freshetd->watchdog_ns == 0 || now - freshetd->petted_ns < freshetd->watchdog_ns) {
        return;
    }
    if ((state->beats != freshetd->petted_ingest || state->ended) &&
        state->learner.beats != freshetd->petted_learner) {
        struct base_error error = {0};
        daemon_notify_watchdog(freshetd->notify, &error);
        freshetd->petted_ns = now;
        freshetd->petted_ingest = state->beats;
        freshetd->petted_learner = state->learner.beats;
    }
}

static void show_status(struct freshetd *freshetd, const struct daemon_pipeline_state *state)
{
    struct daemon_status_times times = {base_clock_monotonic_ns(&base_clock_system),
                                        base_clock_wall_ms(&base_clock_system)};
    char *statistics = daemon_pipeline_statistics(freshetd->pipeline);
    daemon_status_source_read(&freshetd->source, freshetd->config, statistics);
    free(statistics);
    freshetd->source.trouble = state->trouble;
    freshetd->source.trouble_ms = state->trouble_ms;
    char *text = daemon_status_text(freshetd->config, &freshetd->shown, freshetd->shown_times, state, times,
                                    &freshetd->source);
    struct base_error error = {0};
    if (daemon_status_write(freshetd->config->state_dir, text, &error)) {
        base_log_error(freshetd->log, BASE_LOG_WARNING, "cannot write the status file", &error);
    }
    free(text);
    daemon_notify_status(freshetd->notify, &error,
                         "lag %" PRIu64 " messages, %" PRIu64 " samples, version %" PRIu64 ".%" PRIu64,
                         state->ingest.lag, state->learner.samples, state->outbox.last.version.epoch,
                         state->outbox.last.version.number);
    freshetd->shown = *state;
    freshetd->shown_times = times;
}

// Runs until a signal (true) or until all that there is to learn is learned and published, or a part failed.
static bool loop(struct freshetd *freshetd)
{
    for (;;) {
        int signal = daemon_signals_wait(freshetd->signals, LOOP_MS);
        if (daemon_signals_ends(signal)) {
            base_log_write(freshetd->log, BASE_LOG_INFO, "asked to stop",
                           BASE_LOG_FIELDS(base_log_string("signal", strsignal(signal))));
            return true;
        }
        struct daemon_pipeline_state state;
        daemon_pipeline_state(freshetd->pipeline, &state);
        int64_t now = base_clock_monotonic_ns(&base_clock_system);
        become_ready(freshetd, &state);
        pet_watchdog(freshetd, &state, now);
        if (now - freshetd->shown_times.monotonic_ns >= (int64_t)STATUS_MS * 1000000) {
            show_status(freshetd, &state);
        }
        log_publications(freshetd, &state.outbox);
        log_source(freshetd, &state);
        if (now - freshetd->reported_ns >= (int64_t)REPORT_MS * 1000000) {
            freshetd->reported_ns = now;
            log_progress(freshetd, &state);
        }
        // The learner ends after ingest has, whatever ended that.
        if (state.learner.ended || state.outbox.failed) {
            return false;
        }
    }
}

// Building waits for the broker and the registry, each for as long as its timeout allows, and nothing within
// asks for signals. So a watch does, and ends the process where it stands. That loses nothing: no record has
// been read yet, and what lies in the state directory must bear an end at any moment anyhow.
static void quit(void *context, int number)
{
    struct freshetd *freshetd = context;
    if (daemon_signals_ends(number)) {
        struct base_error ignored;
        base_log_write(freshetd->log, BASE_LOG_INFO, "asked to stop before the start",
                       BASE_LOG_FIELDS(base_log_string("signal", strsignal(number))));
        daemon_notify_stopping(freshetd->notify, "ended while starting", &ignored);
        _exit(0);
    }
}

static int build(struct freshetd *freshetd, struct base_error *error)
{
    freshetd->signals = daemon_signals_new(error);
    if (!freshetd->signals) {
        return -1;
    }
    freshetd->notify = daemon_notify_new(getenv("NOTIFY_SOCKET"), error);
    if (!freshetd->notify) {
        return -1;
    }
    freshetd->watchdog_ns =
        daemon_notify_watchdog_interval(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID")) * 1000;
    freshetd->lock = daemon_lock_take(freshetd->config->state_dir, error);
    if (!freshetd->lock) {
        return -1;
    }
    // A file source is a bounded job under the daemon too: it ends when the files do.
    const struct daemon_pipeline_options options = {
        .durable = true,
        .publish = true,
        .finish = freshetd->config->source.kind == DAEMON_SOURCE_FILES,
        .bounded = freshetd->config->source.kind == DAEMON_SOURCE_FILES,
    };
    struct daemon_signals_watch *watch = daemon_signals_watch_new(freshetd->signals, quit, freshetd, error);
    if (!watch) {
        return -1;
    }
    freshetd->pipeline = daemon_pipeline_new(freshetd->config, &options, error);
    daemon_signals_watch_free(watch);
    return freshetd->pipeline ? daemon_pipeline_start(freshetd->pipeline, error) : -1;
}

static void log_news(const struct freshetd *freshetd, const struct daemon_pipeline_beginning *beginning)
{
    static const char *const texts[] = {
        [TRAINER_NEWS_SLOT] = "a slot is new: it has no rows yet, its weights start at zero, no output moves",
        [TRAINER_NEWS_NUMERIC] = "a numeric input is new: its weights start at zero, no output moves",
        [TRAINER_NEWS_TASK] = "a task is new: it learns from impressions that are read from now on",
    };
    static const char *const fields[] = {"slot", "numeric", "task"};
    for (uint32_t i = 0; i < beginning->news_count; i++) {
        enum trainer_news_kind kind = beginning->news[i].kind;
        base_log_write(freshetd->log, BASE_LOG_INFO, texts[kind],
                       BASE_LOG_FIELDS(base_log_string(fields[kind], beginning->news[i].name)));
    }
    uint32_t ranks = daemon_config_ranks(freshetd->config);
    for (uint32_t rank = ranks - beginning->new_actions; rank < ranks; rank++) {
        base_log_write(
            freshetd->log, BASE_LOG_INFO, "an action is new: impressions before it do not know it",
            BASE_LOG_FIELDS(base_log_string("action", daemon_config_rank_name(freshetd->config, rank)),
                            base_log_string("topic", daemon_config_topic(freshetd->config, rank)->topic)));
    }
}

// What the state directory held. Other arithmetic or settings end what a replay can reproduce: loudly.
static void log_beginning(const struct freshetd *freshetd)
{
    struct daemon_pipeline_beginning beginning;
    daemon_pipeline_beginning(freshetd->pipeline, &beginning);
    if (beginning.cut == 0) {
        base_log_write(freshetd->log, BASE_LOG_INFO, "no cut yet: beginning afresh", NULL, 0);
        return;
    }
    base_log_write(freshetd->log, BASE_LOG_INFO, "going on from the last cut",
                   BASE_LOG_FIELDS(base_log_uint("cut", beginning.cut), base_log_int("tick", beginning.tick),
                                   base_log_uint("examples", beginning.examples),
                                   base_log_uint("decisions", beginning.decisions)));
    if (beginning.new_era) {
        base_log_write(freshetd->log, BASE_LOG_WARNING,
                       "a new determinism era: this machine's arithmetic is not the cut's; the weights from "
                       "here on are others than the old one would have made, and are published in full",
                       NULL, 0);
    }
    if (beginning.new_config) {
        base_log_write(freshetd->log, BASE_LOG_WARNING,
                       "settings have changed since the cut: a replay from before it needs the old ones",
                       NULL, 0);
    }
    log_news(freshetd, &beginning);
}

static int run(struct freshetd *freshetd)
{
    struct base_error error = {0};
    char blas[TRAINER_BLAS_TEXT_MAX];
    trainer_blas_describe(blas, sizeof blas);
    base_log_write(freshetd->log, BASE_LOG_INFO, "starting",
                   BASE_LOG_FIELDS(base_log_string("version", FRESHET_VERSION), base_log_string("blas", blas),
                                   base_log_string("model", freshetd->config->model.name)));
    freshetd->shown_times.monotonic_ns = base_clock_monotonic_ns(&base_clock_system); // rates begin here
    if (build(freshetd, &error)) {
        base_log_error(freshetd->log, BASE_LOG_ERROR, "cannot start", &error);
        return 1;
    }
    log_beginning(freshetd);
    bool asked = loop(freshetd);

    struct base_error ignored = {0};
    daemon_notify_stopping(freshetd->notify, "draining", &ignored);
    daemon_notify_extend(freshetd->notify, (int64_t)STOP_MARGIN_MS * 1000, &ignored);
    daemon_pipeline_stop(freshetd->pipeline);
    int status = daemon_pipeline_join(freshetd->pipeline, &error);
    struct daemon_pipeline_state state;
    daemon_pipeline_state(freshetd->pipeline, &state);
    show_status(freshetd, &state);
    log_publications(freshetd, &state.outbox);
    log_progress(freshetd, &state);
    if (status == 0 && !asked && state.outbox.error.code != BASE_OK) {
        status = -1;
        error = state.outbox.error;
        base_error_prefix(&error, "the last state is not published");
    }
    if (status) {
        base_log_error(freshetd->log, BASE_LOG_ERROR, "stopped by an error", &error);
        return 1;
    }
    base_log_write(freshetd->log, BASE_LOG_INFO, "stopped", NULL, 0);
    return 0;
}

int main(int argc, char **argv)
{
    trainer_blas_pin(argv); // first: it may run this program anew, with the right kernels
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"failpoints", no_argument, NULL, 'F'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *path = NULL;
    for (int option; (option = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case 'F':
            return list_failpoints();
        case 'v':
            printf("freshetd %s\n", FRESHET_VERSION);
            return 0;
        case 'h':
            return usage(stdout, 0);
        default:
            return usage(stderr, 2);
        }
    }
    if (!path || optind != argc) {
        return usage(stderr, 2);
    }
    struct base_error error;
    if (base_failpoint_arm(getenv("FRESHET_FAILPOINT"), &error)) {
        fprintf(stderr, "freshetd: FRESHET_FAILPOINT: %s\n", error.text);
        return 2;
    }
    struct freshetd freshetd = {.config = load(path)};
    if (!freshetd.config) {
        return EXIT_CONFIG;
    }
    const struct base_log_config log = {
        .level = (enum base_log_level)freshetd.config->log_level,
        .fd = STDERR_FILENO,
        .journal_stream = getenv("JOURNAL_STREAM"),
    };
    freshetd.log = base_log_new(&log);
    int status = run(&freshetd);
    daemon_pipeline_free(freshetd.pipeline);
    daemon_lock_free(freshetd.lock);
    daemon_signals_free(freshetd.signals);
    daemon_notify_free(freshetd.notify);
    base_log_free(freshetd.log);
    daemon_config_free(freshetd.config);
    return status;
}
