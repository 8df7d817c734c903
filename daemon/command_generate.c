// freshet generate: the simulated marketplace into Avro files or Kafka. See market.h, produce.h.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/config.h"
#include "daemon/command.h"
#include "daemon/market.h"
#include "daemon/produce.h"

enum { PROPERTIES_MAX = 64, TIMEOUT_MS = 30000, NAP_MAX_MS = 50 };

struct options {
    struct daemon_market_config market;
    struct daemon_produce_kafka_config kafka;
    const char *files, *truth;
    bool live;
    char *topics;                        // the text that kafka.topics point into, or NULL
    char *property_text[PROPERTIES_MAX]; // "name\0value"
    const char *property_names[PROPERTIES_MAX];
    const char *property_values[PROPERTIES_MAX];
};

static const char usage[] =
    "usage: freshet generate (--files DIR | --bootstrap HOST:PORT) [options]\n"
    "Writes impressions, clicks and purchases with known probabilities, in the order of their arrival;\n"
    "files and Kafka partitions of one seed hold the same records at the same offsets.\n"
    "\n"
    "  --files DIR             Avro containers DIR/<topic>/<lane>.avro\n"
    "  --bootstrap HOST:PORT   Kafka; partition = XXH3(user_id) % lanes\n"
    "    --create-topics       make the topics that are missing\n"
    "    --framing F           single_object (default), bare, confluent\n"
    "    --registry URL        confluent: where the schemas are registered\n"
    "    -X NAME=VALUE         a property for librdkafka\n"
    "  --topics I,C,P          names (impressions,clicks,purchases)\n"
    "  --truth FILE            Avro container: true pCTR, pCVR and outcome by impression_id\n"
    "  --live                  event time follows the clock; ends with the last purchase, or Ctrl-C\n"
    "  --impressions N         0: without end (2000000)\n"
    "  --seed S                (1)\n"
    "  --lanes P               partitions of each topic (4)\n"
    "  --rate R                impressions a second of event time (50)\n"
    "  --start MS              event time of the first, ms since 1970\n"
    "  --users N --items N --campaigns N\n"
    "  --ctr X --cvr X         mean true probabilities (0.05, 0.12)\n"
    "  --strength X            multiplies all effects (1)\n"
    "  --delay-scale X         multiplies click and purchase delays (1)\n"
    "  --click-window D --purchase-window D   delays are cut here (30m, 7d)\n"
    "  --network D             mean network delay (200ms)\n"
    "  --late X --late-delay D share of records delayed further, and its mean (0.001, 1m)\n"
    "  --duplicates X          share of records that arrive twice (0.001)\n"
    "  --strays X              share of impressions with an action that must not count (0.001)\n"
    "  --jump ITEM:D:LOGIT     an item whose click logit rises by LOGIT after D\n";

enum value_type { VALUE_UINT, VALUE_U32, VALUE_INT, VALUE_REAL, VALUE_DURATION, VALUE_DURATION_REAL };

// The market's settings that are one number each.
static const struct market_row {
    const char *name;
    enum value_type type;
    size_t offset;
} market_rows[] = {
#define ROW(name, type, field)                                   \
    {                                                            \
        name, type, offsetof(struct daemon_market_config, field) \
    }
    ROW("impressions", VALUE_UINT, impressions),
    ROW("seed", VALUE_UINT, seed),
    ROW("lanes", VALUE_U32, lanes),
    ROW("rate", VALUE_REAL, rate),
    ROW("start", VALUE_INT, start_ms),
    ROW("users", VALUE_U32, users),
    ROW("items", VALUE_U32, items),
    ROW("campaigns", VALUE_U32, campaigns),
    ROW("ctr", VALUE_REAL, ctr),
    ROW("cvr", VALUE_REAL, cvr),
    ROW("strength", VALUE_REAL, strength),
    ROW("delay-scale", VALUE_REAL, delay_scale),
    ROW("click-window", VALUE_DURATION, click_window_ms),
    ROW("purchase-window", VALUE_DURATION, purchase_window_ms),
    ROW("network", VALUE_DURATION_REAL, network_ms),
    ROW("late", VALUE_REAL, late),
    ROW("late-delay", VALUE_DURATION_REAL, late_ms),
    ROW("duplicates", VALUE_REAL, duplicates),
    ROW("strays", VALUE_REAL, strays),
#undef ROW
};
enum { MARKET_ROWS = sizeof market_rows / sizeof *market_rows };

static int option_number(const struct market_row *row, const char *text, struct daemon_market_config *config)
{
    char *at = (char *)config + row->offset;
    uint64_t wide;
    int64_t ms;
    switch (row->type) {
    case VALUE_UINT:
        return base_config_parse_uint(text, (uint64_t *)(void *)at);
    case VALUE_U32:
        if (base_config_parse_uint(text, &wide) < 0 || wide > UINT32_MAX) {
            return -1;
        }
        *(uint32_t *)(void *)at = (uint32_t)wide;
        return 0;
    case VALUE_INT:
        return base_config_parse_int(text, (int64_t *)(void *)at);
    case VALUE_REAL:
        return base_config_parse_real(text, (double *)(void *)at);
    case VALUE_DURATION:
        return base_config_parse_duration(text, (int64_t *)(void *)at);
    case VALUE_DURATION_REAL:
        if (base_config_parse_duration(text, &ms) < 0) {
            return -1;
        }
        *(double *)(void *)at = (double)ms;
        return 0;
    }
    return -1;
}

// "ITEM:DURATION:LOGIT"
static int option_jump(const char *text, struct daemon_market_config *config)
{
    char copy[128], *rest = copy;
    if (strlen(text) >= sizeof copy) {
        return -1;
    }
    memcpy(copy, text, strlen(text) + 1);
    const char *item = strsep(&rest, ":"), *after = strsep(&rest, ":"), *logit = rest;
    uint64_t number;
    if (!item || !after || !logit || base_config_parse_uint(item, &number) < 0 || number > UINT32_MAX ||
        base_config_parse_duration(after, &config->jump_ms) < 0 ||
        base_config_parse_real(logit, &config->jump_logit) < 0) {
        return -1;
    }
    config->jump = true;
    config->jump_item = (uint32_t)number;
    return 0;
}

static int option_topics(const char *text, struct options *options)
{
    free(options->topics);
    options->topics = strdup(text);
    char *rest = options->topics;
    for (int rank = 0; rank < DAEMON_MARKET_RANKS; rank++) {
        const char *name = strsep(&rest, ",");
        if (!name || !*name) {
            return -1;
        }
        options->kafka.topics[rank] = name;
    }
    return rest ? -1 : 0;
}

static int option_framing(const char *text, enum consumer_framing *framing)
{
    static const char *const names[] = {[CONSUMER_FRAMING_CONFLUENT] = "confluent",
                                        [CONSUMER_FRAMING_SINGLE_OBJECT] = "single_object",
                                        [CONSUMER_FRAMING_BARE] = "bare"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *framing = (enum consumer_framing)i;
            return 0;
        }
    }
    return -1;
}

static int option_property(const char *text, struct options *options)
{
    const char *equals = strchr(text, '=');
    uint32_t n = options->kafka.properties;
    if (!equals || n == PROPERTIES_MAX) {
        return -1;
    }
    char *copy = strdup(text);
    copy[equals - text] = 0;
    options->property_text[n] = copy;
    options->property_names[n] = copy;
    options->property_values[n] = copy + (equals - text) + 1;
    options->kafka.properties++;
    return 0;
}

enum flag {
    FLAG_FILES = 1000,
    FLAG_BOOTSTRAP,
    FLAG_CREATE,
    FLAG_FRAMING,
    FLAG_REGISTRY,
    FLAG_TOPICS,
    FLAG_TRUTH,
    FLAG_LIVE,
    FLAG_JUMP
};

static int option_set(int flag, const char *text, struct options *options)
{
    switch (flag) {
    case FLAG_FILES:
        options->files = text;
        return 0;
    case FLAG_BOOTSTRAP:
        options->kafka.bootstrap = text;
        return 0;
    case FLAG_CREATE:
        options->kafka.create_topics = true;
        return 0;
    case FLAG_REGISTRY:
        options->kafka.registry = text;
        return 0;
    case FLAG_TRUTH:
        options->truth = text;
        return 0;
    case FLAG_LIVE:
        options->live = true;
        return 0;
    case FLAG_FRAMING:
        return option_framing(text, &options->kafka.framing);
    case FLAG_TOPICS:
        return option_topics(text, options);
    case FLAG_JUMP:
        return option_jump(text, &options->market);
    case 'X':
        return option_property(text, options);
    default:
        return flag >= 0 && flag < MARKET_ROWS ? option_number(&market_rows[flag], text, &options->market)
                                               : -1;
    }
}

// 0; 1: help is wanted; -1: wrong usage.
static int options_parse(int argc, char **argv, struct options *options)
{
    static const struct option flags[] = {
        {"files", required_argument, NULL, FLAG_FILES},
        {"bootstrap", required_argument, NULL, FLAG_BOOTSTRAP},
        {"create-topics", no_argument, NULL, FLAG_CREATE},
        {"framing", required_argument, NULL, FLAG_FRAMING},
        {"registry", required_argument, NULL, FLAG_REGISTRY},
        {"topics", required_argument, NULL, FLAG_TOPICS},
        {"truth", required_argument, NULL, FLAG_TRUTH},
        {"live", no_argument, NULL, FLAG_LIVE},
        {"jump", required_argument, NULL, FLAG_JUMP},
        {"help", no_argument, NULL, 'h'},
    };
    enum { FLAGS = sizeof flags / sizeof *flags };
    struct option all[FLAGS + MARKET_ROWS + 1];
    memset(all, 0, sizeof all);
    memcpy(all, flags, sizeof flags);
    for (int i = 0; i < MARKET_ROWS; i++) {
        all[FLAGS + i] = (struct option){market_rows[i].name, required_argument, NULL, i};
    }
    optind = 0; // glibc: begin anew
    for (int flag; (flag = getopt_long(argc, argv, "X:h", all, NULL)) != -1;) {
        if (flag == 'h') {
            return 1;
        }
        if (flag == '?') {
            return -1;
        }
        if (option_set(flag, optarg, options) < 0) {
            fprintf(stderr, "freshet generate: %s: not a value for this option\n", optarg);
            return -1;
        }
    }
    if (optind != argc || !options->files == !options->kafka.bootstrap) {
        return -1;
    }
    return 0;
}

static volatile sig_atomic_t stopped;

static void handle_stop(int signal)
{
    (void)signal;
    stopped = 1;
}

// Waits until the clock shows `wall_ms`.
static void pace(int64_t wall_ms)
{
    int64_t left;
    while (!stopped && (left = wall_ms - base_clock_wall_ms(&base_clock_system)) > 0) {
        int64_t nap = left < NAP_MAX_MS ? left : NAP_MAX_MS;
        nanosleep(&(struct timespec){.tv_nsec = nap * 1000000}, NULL);
    }
}

static int generate(struct daemon_market *market, struct daemon_produce_sink *sink,
                    struct daemon_produce_truth *truth, bool live, uint64_t counts[DAEMON_MARKET_RANKS],
                    struct base_error *error)
{
    struct daemon_produce_record record = {0};
    struct daemon_market_event event;
    const struct daemon_market_impression *impression;
    uint64_t seed = daemon_market_config(market)->seed;
    int result = 0;
    while (result == 0 && !stopped && daemon_market_next(market, &event, &impression)) {
        if (live) {
            pace(event.arrival_time);
        }
        daemon_produce_encode(seed, &event, impression, &record);
        result = sink->operations->put(sink, &record, error);
        counts[event.rank]++;
        if (result == 0 && truth && event.rank == 0 && !event.again) {
            result = daemon_produce_truth_put(truth, impression, error);
        }
    }
    if (result == 0) {
        result = sink->operations->finish(sink, error);
    }
    if (result == 0 && truth) {
        result = daemon_produce_truth_finish(truth, error);
    }
    daemon_produce_record_free(&record);
    return result;
}

static int generate_open(const struct options *options, struct daemon_market **market,
                         struct daemon_produce_sink **sink, struct daemon_produce_truth **truth,
                         struct base_error *error)
{
    const struct daemon_market_config *config = &options->market;
    *market = daemon_market_new(config, error);
    if (!*market) {
        return -1;
    }
    if (options->truth) {
        *truth = daemon_produce_truth_new(options->truth, config->seed, error);
        if (!*truth) {
            return -1;
        }
    }
    *sink = options->files ? daemon_produce_files_new(options->files, options->kafka.topics, config->lanes,
                                                      config->seed, error)
                           : daemon_produce_kafka_new(&options->kafka, error);
    return *sink ? 0 : -1;
}

static int generate_run(const struct options *options)
{
    struct base_error error = {0};
    struct daemon_market *market = NULL;
    struct daemon_produce_sink *sink = NULL;
    struct daemon_produce_truth *truth = NULL;
    uint64_t counts[DAEMON_MARKET_RANKS] = {0};
    int64_t began = base_clock_monotonic_ns(&base_clock_system);
    int result = generate_open(options, &market, &sink, &truth, &error);
    if (result == 0) {
        result = generate(market, sink, truth, options->live, counts, &error);
    }
    if (result == 0) {
        double seconds = (double)(base_clock_monotonic_ns(&base_clock_system) - began) * 1e-9;
        printf("{\"impressions\": %" PRIu64 ", \"clicks\": %" PRIu64 ", \"purchases\": %" PRIu64
               ", \"seconds\": %.3f}\n",
               counts[0], counts[1], counts[2], seconds);
    } else {
        fprintf(stderr, "freshet generate: %s\n", error.text);
    }
    if (sink) {
        sink->operations->free(sink);
    }
    daemon_produce_truth_free(truth);
    daemon_market_free(market);
    return result == 0 ? 0 : 1;
}

int daemon_command_generate(int argc, char **argv)
{
    struct options options = {.market = daemon_market_defaults};
    options.kafka.topics[0] = "impressions";
    options.kafka.topics[1] = "clicks";
    options.kafka.topics[2] = "purchases";
    options.kafka.framing = CONSUMER_FRAMING_SINGLE_OBJECT;
    options.kafka.timeout_ms = TIMEOUT_MS;
    options.kafka.property_names = options.property_names;
    options.kafka.property_values = options.property_values;
    options.market.start_ms = INT64_MIN; // not given
    int status = options_parse(argc, argv, &options);
    if (status != 0) {
        fputs(usage, status > 0 ? stdout : stderr);
        status = status > 0 ? 0 : 2;
        goto out;
    }
    if (options.market.start_ms == INT64_MIN) {
        options.market.start_ms =
            options.live ? base_clock_wall_ms(&base_clock_system) : daemon_market_defaults.start_ms;
    }
    options.kafka.lanes = options.market.lanes;
    stopped = 0;
    struct sigaction action = {.sa_handler = handle_stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    status = generate_run(&options);
out:
    for (uint32_t i = 0; i < options.kafka.properties; i++) {
        free(options.property_text[i]);
    }
    free(options.topics);
    return status;
}
