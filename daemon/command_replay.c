// freshet replay: a bounded run over files or a topic's present content: the same join, the same training, no
// clock.
//
// Prints, as one JSON object: events, samples by kind, the joiner's counters, what was predicted before each
// update, and the weight hash. Nothing is published unless asked for.
//
// A signal stops it in order: what was read is learned, and the temporary directory goes; a second one, or
// one that comes while a broker or Redis is waited for, ends it at once, and the directory goes all the same.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "daemon/command.h"
#include "daemon/config_print.h"
#include "daemon/lock.h"
#include "daemon/scratch.h"
#include "daemon/signals.h"
#include "daemon/status.h"

enum { REPLAY_REMOVE_TRIES = 1000, REPLAY_LOOK_MS = 100, REPLAY_BAR = 30, REPLAY_SIGNALLED = 128 };

static const char usage[] =
    "usage: freshet replay -c FILE [options]\n"
    "Runs the configured source from its start to its present end (Kafka: or from source.offsets to\n"
    "source.ends) and prints counts and the weight hash (JSON).\n"
    "\n"
    "  -c, --config FILE    the configuration\n"
    "      --from CUT       go on from a kept cut (freshet cuts), obeying the journal of decisions\n"
    "      --to TICK        stop after this tick; --to cut:N: after the tick of a kept cut\n"
    "      --obey DIR       decide as a journal of decisions says (<state_dir>/journal): what a daemon did\n"
    "      --finish         let everything that waits run out: watermark +infinity after the last record\n"
    "      --samples FILE   write the joined samples as an Avro container (schemas/sample.avsc)\n"
    "      --features       with the features' ids\n"
    "      --predictions FILE   what was predicted before each update (daemon/learner.h)\n"
    "      --publish        publish to the configured Redis; not with --finish\n"
    "      --workers N      instead of the configured number; changes no result\n"
    "      --fetch N        files: messages read ahead a partition; changes no result\n"
    "      --state-dir DIR  instead of the configured one; default: a temporary directory, removed at the "
    "end\n"
    "      --quiet          no progress on standard error\n";

struct replay_options {
    const char *path;
    const char *from; // kept cut, or NULL
    const char *to;   // tick or "cut:N", or NULL
    int64_t to_tick;
    char state[DAEMON_CUTS_PATH_MAX];   // the temporary one's path
    char journal[DAEMON_CUTS_PATH_MAX]; // of --from
    bool quiet;
    struct daemon_pipeline_options pipeline;
};

static int replay_number(const char *name, const char *text, uint32_t *number)
{
    uint64_t value;
    if (base_config_parse_uint(text, &value) || value == 0 || value > UINT32_MAX) {
        fprintf(stderr, "freshet replay: --%s: not a positive number: %s\n", name, text);
        return -1;
    }
    *number = (uint32_t)value;
    return 0;
}

// 0, or the exit status + 1.
static int replay_parse(int argc, char **argv, struct replay_options *options)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"from", required_argument, NULL, 'b'},
        {"to", required_argument, NULL, 't'},
        {"obey", required_argument, NULL, 'o'},
        {"finish", no_argument, NULL, 'f'},
        {"samples", required_argument, NULL, 's'},
        {"features", no_argument, NULL, 'F'},
        {"predictions", required_argument, NULL, 'p'},
        {"publish", no_argument, NULL, 'P'},
        {"workers", required_argument, NULL, 'w'},
        {"fetch", required_argument, NULL, 'n'},
        {"state-dir", required_argument, NULL, 'd'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    options->pipeline.bounded = true;
    optind = 0; // glibc: begin anew
    for (int option; (option = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            options->path = optarg;
            break;
        case 'b':
            options->from = optarg;
            break;
        case 't':
            options->to = optarg;
            break;
        case 'o':
            options->pipeline.obey = optarg;
            break;
        case 'f':
            options->pipeline.finish = true;
            break;
        case 's':
            options->pipeline.samples = optarg;
            break;
        case 'F':
            options->pipeline.features = true;
            break;
        case 'p':
            options->pipeline.predictions = optarg;
            break;
        case 'P':
            options->pipeline.publish = true;
            break;
        case 'w':
            if (replay_number("workers", optarg, &options->pipeline.workers)) {
                return 3;
            }
            break;
        case 'n':
            if (replay_number("fetch", optarg, &options->pipeline.fetch)) {
                return 3;
            }
            break;
        case 'd':
            options->pipeline.state_dir = optarg;
            break;
        case 'q':
            options->quiet = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return 1;
        default:
            fputs(usage, stderr);
            return 3;
        }
    }
    if (!options->path || optind != argc) {
        fputs(usage, stderr);
        return 3;
    }
    // Past the stream's end come late positives without new negatives: right for counts, not for serving.
    if (options->pipeline.finish && options->pipeline.publish) {
        fprintf(stderr,
                "freshet replay: --finish runs the model past the end of the stream, which is not to be "
                "published: leave out --finish or --publish\n");
        return 3;
    }
    return 0;
}

// One line that overwrites itself on a terminal: rates, and of Kafka, whose end is known, share done and time
// left.
static void replay_progress(const struct daemon_pipeline_state *state, double seconds, bool end_known)
{
    if (!end_known) {
        fprintf(stderr, "\r%" PRIu64 " events  %.0f events/s  %.0f samples/s   ", state->ingest.counts.events,
                (double)state->ingest.counts.events / seconds, (double)state->learner.samples / seconds);
        fflush(stderr);
        return;
    }
    uint64_t all = state->ingest.counts.read + state->ingest.lag;
    double share = all ? (double)state->ingest.counts.read / (double)all : 0;
    char bar[REPLAY_BAR + 1];
    for (int i = 0; i < REPLAY_BAR; i++) {
        bar[i] = i < (int)(share * REPLAY_BAR) ? '#' : '.';
    }
    bar[REPLAY_BAR] = '\0';
    fprintf(stderr, "\r[%s] %5.1f %%  %" PRIu64 " events  %.0f events/s  %.0f samples/s  %.0f s left   ", bar,
            100 * share, state->ingest.counts.events, (double)state->ingest.counts.events / seconds,
            (double)state->learner.samples / seconds, share > 0 ? seconds * (1 - share) / share : 0.0);
    fflush(stderr);
}

static bool replay_ends(int number)
{
    return daemon_signals_ends(number) || number == SIGHUP;
}

// Seen by the watch: ends the process at once. What runs besides has nothing that anybody would miss; but it
// may make a file in what is being removed, which is then removed again. Once `temporary` is gone it can make
// none: the state directory lies one below it.
static void replay_quit(void *temporary, int number)
{
    if (replay_ends(number)) {
        struct base_error ignored;
        for (int tries = 0; daemon_scratch_remove(temporary, &ignored) && tries < REPLAY_REMOVE_TRIES;
             tries++) {
        }
        _exit(REPLAY_SIGNALLED + number);
    }
}

// Waits until all is learned, or for a signal: its number, else 0.
static int replay_wait(struct daemon_pipeline *pipeline, const struct replay_options *options,
                       struct daemon_signals *signals, bool end_known, int64_t begin)
{
    int number = 0;
    bool show = !options->quiet && isatty(STDERR_FILENO);
    struct daemon_pipeline_state state;
    do {
        number = daemon_signals_wait(signals, REPLAY_LOOK_MS);
        daemon_pipeline_state(pipeline, &state);
        if (show) {
            replay_progress(&state, (double)(base_clock_monotonic_ns(&base_clock_system) - begin) / 1e9,
                            end_known);
        }
    } while (!state.learner.ended && !replay_ends(number));
    if (show) {
        fputc('\n', stderr);
    }
    return replay_ends(number) ? number : 0;
}

static void replay_print(const struct daemon_config *config, const struct daemon_pipeline *pipeline,
                         const struct daemon_pipeline_state *state, struct daemon_status_times begin,
                         struct daemon_status_times end)
{
    static const struct daemon_pipeline_state before;
    char *text = daemon_status_text(config, &before, begin, state, end, NULL);
    json_t *object = json_loads(text, 0, NULL);
    free(text);
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, daemon_pipeline_hash(pipeline));
    json_object_set_new(object, "weights", json_string(hash));
    json_object_set_new(object, "seconds", json_real((double)(end.monotonic_ns - begin.monotonic_ns) / 1e9));
    json_dumpf(object, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    fputc('\n', stdout);
    json_decref(object);
}

// The exit status. `temporary` is removed if a signal ends the process here.
// Works out --to.
static int replay_limit(const struct daemon_config *config, struct replay_options *options,
                        struct base_error *error)
{
    if (!options->to) {
        return 0;
    }
    const char *number = strncmp(options->to, "cut:", 4) == 0 ? options->to + 4 : options->to;
    char *end;
    errno = 0;
    options->to_tick = strtoll(number, &end, 10);
    if (errno || end == number || *end) {
        return base_error_set(error, BASE_EINVAL, "--to: neither a tick nor cut:N: %s", options->to);
    }
    if (number != options->to) {
        char path[DAEMON_CUTS_PATH_MAX];
        struct daemon_cut_record record;
        if (daemon_cuts_path(config->state_dir, (uint64_t)options->to_tick, path, error) ||
            daemon_cuts_state(path, &record, error)) {
            return -1;
        }
        options->to_tick = record.tick;
    }
    options->pipeline.to = &options->to_tick;
    return 0;
}

// Makes the temporary state directory be at the cut that --from names, and lets the daemon's decisions after
// it be obeyed.
static int replay_begin(const struct daemon_config *config, struct replay_options *options,
                        struct base_error *error)
{
    if (!options->from) {
        return 0;
    }
    uint64_t number;
    char kept[DAEMON_CUTS_PATH_MAX];
    if (base_config_parse_uint(options->from, &number) || number == 0) {
        return base_error_set(error, BASE_EINVAL, "--from: not a cut's number: %s", options->from);
    }
    if (daemon_cuts_path(config->state_dir, number, kept, error) ||
        daemon_cuts_prepare(NULL, kept, options->state, error)) {
        return -1;
    }
    snprintf(options->journal, sizeof options->journal, "%s/journal", config->state_dir);
    options->pipeline.restore = true;
    if (!options->pipeline.obey) {
        options->pipeline.obey = options->journal;
    }
    return 0;
}

static int replay_run(const struct daemon_config *config, const struct replay_options *options,
                      char *temporary)
{
    struct base_error error = {0};
    int status = 1;
    struct daemon_status_times begin = {base_clock_monotonic_ns(&base_clock_system),
                                        base_clock_wall_ms(&base_clock_system)};
    struct daemon_pipeline *pipeline = NULL;
    struct daemon_signals_watch *watch = NULL;
    struct daemon_lock *lock = NULL;
    struct daemon_signals *signals = daemon_signals_new(&error);
    if (!signals || !(lock = daemon_lock_take(options->pipeline.state_dir, &error)) ||
        !(watch = daemon_signals_watch_new(signals, replay_quit, temporary, &error)) ||
        !(pipeline = daemon_pipeline_new(config, &options->pipeline, &error))) {
        goto out;
    }
    daemon_signals_watch_free(watch);
    watch = NULL;
    if (daemon_pipeline_start(pipeline, &error)) {
        goto out;
    }
    int number = replay_wait(pipeline, options, signals, config->source.kind == DAEMON_SOURCE_KAFKA,
                             begin.monotonic_ns);
    if (number) {
        daemon_pipeline_stop(pipeline);
    }
    watch = daemon_signals_watch_new(signals, replay_quit, temporary, &error);
    if (!watch || daemon_pipeline_join(pipeline, &error)) {
        goto out;
    }
    if (number) {
        base_error_set(&error, BASE_ESTOPPED, "stopped: %s", strsignal(number));
        status = REPLAY_SIGNALLED + number;
        goto out;
    }
    struct daemon_status_times end = {base_clock_monotonic_ns(&base_clock_system),
                                      base_clock_wall_ms(&base_clock_system)};
    struct daemon_pipeline_state state;
    daemon_pipeline_state(pipeline, &state);
    replay_print(config, pipeline, &state, begin, end);
    if (state.outbox.error.code != BASE_OK) { // Redis did not take the end in time
        error = state.outbox.error;
        base_error_prefix(&error, "the last state is not published");
        goto out;
    }
    status = 0;

out:
    if (status) {
        fprintf(stderr, "freshet replay: %s\n", error.text);
    }
    daemon_pipeline_free(pipeline);
    daemon_lock_free(lock);
    daemon_signals_watch_free(watch);
    daemon_signals_free(signals);
    return status;
}

int daemon_command_replay(int argc, char **argv)
{
    struct replay_options options = {0};
    int status = replay_parse(argc, argv, &options);
    if (status) {
        return status - 1;
    }
    struct daemon_config *config = daemon_config_load_and_print(options.path);
    if (!config) {
        return 1;
    }
    char temporary[DAEMON_SCRATCH_MAX] = "";
    struct base_error error;
    if (!options.pipeline.state_dir || options.from) {
        status = daemon_scratch_make("replay", temporary, &error);
        snprintf(options.state, sizeof options.state, "%s/state", temporary);
        options.pipeline.state_dir = options.state;
    }
    if (status == 0) {
        status = replay_begin(config, &options, &error) || replay_limit(config, &options, &error);
    }
    if (status == 0) {
        status = replay_run(config, &options, temporary);
    } else {
        fprintf(stderr, "freshet replay: %s\n", error.text);
        status = 1;
    }
    if (daemon_scratch_remove(temporary, &error) != 0) {
        fprintf(stderr, "freshet replay: %s\n", error.text);
    }
    daemon_config_free(config);
    return status;
}
