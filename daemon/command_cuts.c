// freshet cuts: the kept cuts of a state directory: list, pin, drop, take elsewhere and back, verify.
//
// All but `import --live` works beside a running daemon: kept cuts are whole once they have their name.
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/config.h"
#include "daemon/command.h"
#include "daemon/config_print.h"
#include "daemon/cuts.h"
#include "daemon/lock.h"

static const char usage[] =
    "usage: freshet cuts list -c FILE [--json]       the kept cuts, the newest first\n"
    "       freshet cuts keep -c FILE [CUT]          keep it until it is dropped by hand; default: the "
    "newest\n"
    "       freshet cuts drop -c FILE CUT            drop it now, pinned or not\n"
    "       freshet cuts export -c FILE CUT DIR      copy it to a new directory, with a MANIFEST of "
    "checksums\n"
    "       freshet cuts import -c FILE DIR          verify an exported one, and keep it\n"
    "       freshet cuts import -c FILE --live DIR   or make it what freshetd goes on from, in an empty "
    "state_dir\n"
    "       freshet cuts verify -c FILE [CUT|DIR]    compare every checksum; default: the newest\n"
    "      --state-dir DIR   instead of the configured one\n";

struct cuts_options {
    const char *path; // of the configuration
    const char *state_dir;
    bool json, live;
    char **word; // what follows the action
    int words;
    const struct daemon_config *config;
};

enum { CUTS_MOMENT_MAX = 32 };

static const char *cuts_moment(int64_t ms, char out[CUTS_MOMENT_MAX])
{
    time_t seconds = (time_t)(ms / 1000 - (ms % 1000 < 0));
    struct tm broken;
    if (!gmtime_r(&seconds, &broken) || !strftime(out, CUTS_MOMENT_MAX, "%Y-%m-%dT%H:%M:%SZ", &broken)) {
        snprintf(out, CUTS_MOMENT_MAX, "?");
    }
    return out;
}

// A cut's number; 0: it is none.
static uint64_t cuts_number(const char *text)
{
    uint64_t number;
    return base_config_parse_uint(text, &number) ? 0 : number;
}

// The number that the first word is, or 0 without a word. -1: it is none.
static int cuts_given(const struct cuts_options *options, uint64_t *number, struct base_error *error)
{
    *number = options->words ? cuts_number(options->word[0]) : 0;
    return options->words && *number == 0
               ? base_error_set(error, BASE_EINVAL, "not a cut's number: %s", options->word[0])
               : 0;
}

// ---- list ----

static void print_table(const struct daemon_cuts_kept *kept, size_t count, const struct cuts_options *options)
{
    int64_t now = base_clock_wall_ms(&base_clock_system);
    printf("%8s  %-20s  %-20s  %9s  %14s  %12s  %14s\n", "cut", "made", "up to", "age", "examples", "rows",
           "bytes");
    for (size_t i = 0; i < count; i++) {
        const struct daemon_cut_record *record = &kept[i].record;
        char made[CUTS_MOMENT_MAX], tick[CUTS_MOMENT_MAX];
        if (kept[i].damage.code != BASE_OK) {
            printf("%8" PRIu64 "  damaged: %s\n", record->number, kept[i].damage.text);
            continue;
        }
        int64_t age = (now - record->wall_ms) / 1000;
        printf("%8" PRIu64 "  %-20s  %-20s  %8" PRId64 "s  %14" PRIu64 "  %12" PRIu64 "  %14" PRIu64 "%s\n",
               record->number, cuts_moment(record->wall_ms, made),
               cuts_moment((record->tick + 1) * options->config->tick, tick), age, record->examples,
               record->rows, kept[i].bytes, kept[i].pinned ? "  pinned" : "");
    }
}

static void print_json(const struct daemon_cuts_kept *kept, size_t count, const struct cuts_options *options)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const struct daemon_cut_record *record = &kept[i].record;
        char made[CUTS_MOMENT_MAX], tick[CUTS_MOMENT_MAX];
        json_t *cut =
            json_pack("{s:I, s:b, s:I, s:I}", "cut", (json_int_t)record->number, "pinned", kept[i].pinned,
                      "bytes", (json_int_t)kept[i].bytes, "files", (json_int_t)kept[i].files);
        if (kept[i].damage.code != BASE_OK) {
            json_object_set_new(cut, "damage", json_string(kept[i].damage.text));
        } else {
            json_object_set_new(cut, "made", json_string(cuts_moment(record->wall_ms, made)));
            json_object_set_new(cut, "tick", json_integer(record->tick));
            json_object_set_new(cut, "up_to",
                                json_string(cuts_moment((record->tick + 1) * options->config->tick, tick)));
            json_object_set_new(cut, "examples", json_integer((json_int_t)record->examples));
            json_object_set_new(cut, "rows", json_integer((json_int_t)record->rows));
            json_object_set_new(cut, "era", json_string(record->era));
        }
        json_array_append_new(list, cut);
    }
    char *text = json_dumps(list, JSON_INDENT(2));
    puts(text);
    free(text);
    json_decref(list);
}

static int cuts_list(const struct cuts_options *options, struct base_error *error)
{
    struct daemon_cuts_kept *kept;
    size_t count;
    if (daemon_cuts_list(options->state_dir, &kept, &count, error)) {
        return -1;
    }
    if (options->json) {
        print_json(kept, count, options);
    } else {
        print_table(kept, count, options);
    }
    free(kept);
    return 0;
}

// ---- the other actions ----

static int cuts_keep(const struct cuts_options *options, struct base_error *error)
{
    uint64_t number;
    if (cuts_given(options, &number, error) || daemon_cuts_pin(NULL, options->state_dir, &number, error)) {
        return -1;
    }
    printf("cut %" PRIu64 " stays until it is dropped\n", number);
    return 0;
}

static int cuts_drop(const struct cuts_options *options, struct base_error *error)
{
    uint64_t number;
    if (cuts_given(options, &number, error) || daemon_cuts_drop(NULL, options->state_dir, number, error)) {
        return -1;
    }
    printf("cut %" PRIu64 " is dropped\n", number);
    return 0;
}

static int cuts_export(const struct cuts_options *options, struct base_error *error)
{
    uint64_t number;
    if (cuts_given(options, &number, error) ||
        daemon_cuts_export(NULL, options->state_dir, number, options->word[1], error)) {
        return -1;
    }
    printf("cut %" PRIu64 " is in %s\n", number, options->word[1]);
    return 0;
}

static int cuts_import(const struct cuts_options *options, struct base_error *error)
{
    struct daemon_lock *lock = NULL;
    struct daemon_cut_record record;
    if (options->live && !(lock = daemon_lock_take(options->state_dir, error))) {
        return -1;
    }
    int result = daemon_cuts_import(NULL, options->state_dir, options->word[0], options->live, error);
    daemon_lock_free(lock);
    if (result || daemon_cuts_state(options->word[0], &record, error)) {
        return -1;
    }
    printf(options->live ? "%s goes on from cut %" PRIu64 "\n" : "%s keeps cut %" PRIu64 ", pinned\n",
           options->state_dir, record.number);
    return 0;
}

static int cuts_verify(const struct cuts_options *options, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    const char *directory = path;
    struct daemon_cut_record record;
    if (options->words && cuts_number(options->word[0]) == 0) {
        directory = options->word[0];
    } else if (daemon_cuts_path(options->state_dir, options->words ? cuts_number(options->word[0]) : 0, path,
                                error)) {
        return -1;
    }
    if (daemon_cuts_verify(directory, &record, error) ||
        daemon_cuts_verify_logs(options->config, directory, error)) {
        return -1;
    }
    printf("cut %" PRIu64 " in %s is whole\n", record.number, directory);
    return 0;
}

static const struct cuts_action {
    const char *name;
    int (*run)(const struct cuts_options *options, struct base_error *error);
    int least, most; // words that follow
} actions[] = {
    {"list", cuts_list, 0, 0},     {"keep", cuts_keep, 0, 1},     {"drop", cuts_drop, 1, 1},
    {"export", cuts_export, 2, 2}, {"import", cuts_import, 1, 1}, {"verify", cuts_verify, 0, 1},
};

static int cuts_run(const struct cuts_action *action, struct cuts_options *options)
{
    struct daemon_config *config = daemon_config_load_and_print(options->path);
    if (!config) {
        return 1;
    }
    struct base_error error;
    options->config = config;
    options->state_dir = options->state_dir ? options->state_dir : config->state_dir;
    int failed = action->run(options, &error);
    if (failed) {
        fprintf(stderr, "freshet cuts: %s\n", error.text);
    }
    daemon_config_free(config);
    return failed ? 1 : 0;
}

int daemon_command_cuts(int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'}, {"state-dir", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},         {"live", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    struct cuts_options options = {0};
    optind = 0;
    for (int option; (option = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;) {
        switch (option) {
        case 'c':
            options.path = optarg;
            break;
        case 's':
            options.state_dir = optarg;
            break;
        case 'j':
            options.json = true;
            break;
        case 'l':
            options.live = true;
            break;
        default:
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    options.word = argv + optind + 1;
    options.words = argc - optind - 1;
    for (size_t i = 0; options.words >= 0 && options.path && i < sizeof actions / sizeof *actions; i++) {
        const struct cuts_action *action = &actions[i];
        if (strcmp(action->name, argv[optind]) == 0 && options.words >= action->least &&
            options.words <= action->most && (!options.json || action->run == cuts_list) &&
            (!options.live || action->run == cuts_import)) {
            return cuts_run(action, &options);
        }
    }
    fputs(usage, stderr);
    return 2;
}
