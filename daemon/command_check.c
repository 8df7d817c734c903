// freshet check: is the configuration right, what will it do, and what will it need?
//
//   load -> problems -> decoders and network made as the daemon would -> plan -> needs from rates and windows
//
// What is printed depends on the file, the options and the source alone; of the machine it speaks only where
// something does not fit.
#include <assert.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "daemon/command.h"
#include "daemon/config_print.h"
#include "daemon/needs.h"
#include "trainer/body.h"
#include "trainer/weighting.h"

enum { CHECK_SOURCE_TIMEOUT_MS = 3000 }; // for asking the broker

struct check_options {
    const char *path;
    struct daemon_needs_rates rates;
    uint64_t lanes; // 0: ask the source
};

// --- Printing ---

enum { TEXT_MAX = 64 };

static const char *text_duration(int64_t ms, char out[TEXT_MAX])
{
    char exact[BASE_CONFIG_NUMBER_MAX];
    snprintf(out, TEXT_MAX, "%s", base_config_format_duration(ms, exact));
    return out;
}

static const char *text_bytes(double bytes, char out[TEXT_MAX])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    unsigned unit = 0;
    for (; bytes >= 1024 && unit < sizeof units / sizeof *units - 1; unit++) {
        bytes /= 1024;
    }
    snprintf(out, TEXT_MAX, bytes < 10 && unit > 0 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return out;
}

// --- The source ---

// Lanes as the source has them; 0: it could not be asked, and `why` says why.
static uint32_t ask_source(const struct daemon_config *config, struct base_error *why)
{
    struct consumer_source *source;
    if (config->source.kind == DAEMON_SOURCE_KAFKA) {
        struct consumer_kafka_config kafka;
        daemon_config_kafka(config, &kafka);
        kafka.timeout_ms =
            kafka.timeout_ms < CHECK_SOURCE_TIMEOUT_MS ? kafka.timeout_ms : CHECK_SOURCE_TIMEOUT_MS;
        source = consumer_kafka_open(&kafka, why);
    } else {
        struct consumer_files_config files;
        daemon_config_files(config, &files);
        source = consumer_files_open(&files, why);
    }
    if (!source) {
        return 0;
    }
    uint32_t lanes = source->lanes;
    source->operations->close(source);
    return lanes;
}

static void print_source(const struct daemon_config *config, const struct check_options *options,
                         uint32_t *lanes)
{
    const struct daemon_config_source *source = &config->source;
    bool kafka = source->kind == DAEMON_SOURCE_KAFKA;
    struct base_error why;
    *lanes = options->lanes ? (uint32_t)options->lanes : ask_source(config, &why);
    printf("\nsource: %s %s\n", kafka ? "kafka" : "files", kafka ? source->bootstrap : source->path);
    if (*lanes > 0) {
        printf("  lanes: %u%s\n", *lanes, options->lanes ? " (as told)" : "");
        return;
    }
    *lanes = 1;
    printf("  lanes: unknown, 1 is assumed below (%s)\n", why.text);
}

static const char *framing_name(const struct daemon_config *config, uint32_t rank)
{
    static const char *const names[] = {"confluent", "single_object", "bare"};
    struct consumer_decoder_config decoder;
    daemon_config_decoder(config, rank, &decoder);
    return config->source.kind == DAEMON_SOURCE_FILES ? "container" : names[decoder.framing];
}

static void print_topics(const struct daemon_config *config)
{
    printf("\ntopics:\n  %-4s %-16s %-24s %-13s %-9s %s\n", "rank", "what", "topic", "framing", "lateness",
           "dedupe");
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_topic *topic = daemon_config_topic(config, rank);
        char lateness[TEXT_MAX], dedupe[TEXT_MAX];
        printf("  %-4u %-16s %-24s %-13s %-9s %s\n", rank, daemon_config_rank_name(config, rank),
               topic->topic, framing_name(config, rank), text_duration(topic->allowed_lateness, lateness),
               text_duration(daemon_config_dedupe(config, rank), dedupe));
    }
}

static void print_tasks(const struct daemon_config *config)
{
    printf("\ntasks:\n  %-4s %-16s %-16s %-14s %-9s %-9s %s\n", "task", "what", "after", "join", "wait",
           "window", "weight");
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_action *action = daemon_config_action(config, rank);
        char wait[TEXT_MAX], window[TEXT_MAX], task[TEXT_MAX];
        snprintf(task, sizeof task, action->as ? "-" : "%u", rank - 1);
        printf("  %-4s %-16s %-16s %-14s %-9s %-9s ", task, action->name,
               daemon_config_rank_name(config, daemon_needs_parent(config, rank)),
               action->join == DAEMON_JOIN_LAST_TOUCH ? "last_touch" : "impression_id",
               text_duration(action->wait, wait), text_duration(action->window, window));
        if (action->as) {
            printf("as %s\n", action->as);
        } else {
            printf("%g%s\n", action->weight, action->side ? " (side)" : "");
        }
    }
}

// --- The model ---

struct check_dense {
    uint64_t parameters;
    uint64_t state;          // bytes of optimizer state
    uint32_t tensors, plain; // those that plain SGD moves
};

// Makes the network as the daemon would, without buffers to train in, and counts its parameters.
static int count_parameters(const struct trainer_model_config *model, struct check_dense *dense,
                            struct base_error *error)
{
    if (trainer_features_check(&model->features, error) != 0) {
        return -1;
    }
    struct trainer_workers *workers = trainer_workers_new(1, error);
    if (!workers) {
        return -1;
    }
    int status = -1;
    struct trainer_network *network = trainer_network_new(&model->network, false, workers, error);
    struct trainer_tensor beside;
    bool weighting = trainer_weighting_tensor(&model->loss, &beside);
    if (network &&
        trainer_update_check_rules(&model->update, network, weighting ? &beside : NULL, error) == 0) {
        const struct trainer_tensor *tensor = trainer_network_tensors(network, &dense->tensors);
        for (uint32_t i = 0; i < dense->tensors; i++) {
            const struct trainer_optimiser_config optimiser =
                trainer_update_tensor(&model->update, &tensor[i]);
            uint64_t size = (uint64_t)tensor[i].rows * tensor[i].columns;
            dense->parameters += size;
            dense->state += size * trainer_optimiser_parts(&optimiser) * sizeof(float);
            dense->plain += optimiser.kind == TRAINER_OPTIMISER_SGD;
        }
        status = 0;
    }
    trainer_network_free(network);
    trainer_workers_free(workers);
    return status;
}

static void print_features(const struct trainer_features_config *features,
                           const struct trainer_update_config *update)
{
    printf("\nfeatures: %u slots, %u numeric inputs, %u columns, input width %u\n", features->slots,
           features->numerics, features->layout.categorical + features->layout.numeric,
           trainer_features_width(features));
    for (uint32_t i = 0; i < features->slots; i++) {
        const struct trainer_slot_config *slot = &features->slot[i];
        char expiry[TEXT_MAX];
        printf("  slot %-24s dimension %-4u %s pooling, admission %u, expiry %s", slot->row.name,
               slot->row.dimension, slot->pooling == TRAINER_POOLING_MEAN ? "mean" : "sum",
               slot->row.admission,
               slot->row.expiry_ms ? text_duration(slot->row.expiry_ms, expiry) : "never");
        if (slot->bucketised) {
            printf(", %u buckets", slot->boundaries + 1);
        }
        for (uint32_t c = 0; c < slot->crossed; c++) {
            printf("%s%s", c ? " x " : ", cross of ", features->slot[slot->cross[c]].row.name);
        }
        if (slot->position) {
            printf(", position, scored %s", slot->serves ? "at one value" : "without");
        }
        const struct trainer_optimiser_config *optimiser = trainer_update_slot(update, i);
        if (optimiser->kind != TRAINER_OPTIMISER_SGD) {
            printf(", %s (%zu B of state a row)", trainer_optimiser_name(optimiser->kind),
                   trainer_optimiser_words(optimiser, slot->row.dimension) * sizeof(float));
        }
        printf("\n");
    }
    for (uint32_t i = 0; i < features->numerics; i++) {
        const struct trainer_numeric_config *numeric = &features->numeric[i];
        printf("  numeric %-21s %s(x - %g) / %g\n", numeric->name, numeric->log1p ? "log1p, " : "",
               numeric->mean, numeric->deviation);
    }
}

static int print_model(const struct daemon_config *config)
{
    const struct trainer_model_config *model = daemon_config_model(config);
    struct base_error error;
    struct check_dense dense = {0};
    if (trainer_update_check(&model->update, model->features.slots, &error) != 0 ||
        count_parameters(model, &dense, &error) != 0) {
        fprintf(stderr, "error: model: %s\n", error.text);
        return -1;
    }
    print_features(&model->features, &model->update);
    printf("\nmodel: %s, %s of %u levels, %u tasks, batch %u, %s\n", config->model.name,
           trainer_body_names[model->network.body], model->network.levels, model->network.tasks,
           model->network.batch, model->loss.full ? "ctcvr_to_ctr full" : "ctcvr_to_ctr stop");
    printf("  dense: %llu parameters in %u tensors\n", (unsigned long long)dense.parameters, dense.tensors);
    if (dense.plain < dense.tensors) {
        char bytes[TEXT_MAX];
        printf("  optimizer: %s, %s of state\n", trainer_optimiser_name(model->update.dense.kind),
               text_bytes((double)dense.state, bytes));
    }
    printf("  rows: at most %llu\n", (unsigned long long)model->rows_max);
    printf("  compute: %.3f MFLOP an example trained, %.3f scored\n",
           trainer_network_flop_step(&model->network) / 1e6,
           trainer_network_flop_forward(&model->network) / 1e6);
    return 0;
}

// --- Needs ---

// Says what this machine cannot give. A disk is judged where the nearest existing folder of state_dir lies.
static void print_misfits(const struct daemon_config *config, const struct daemon_needs *needs)
{
    char need[TEXT_MAX], have[TEXT_MAX];
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    if (needs->memory > memory) {
        printf("warning: %s of memory may be needed, this machine has %s\n", text_bytes(needs->memory, need),
               text_bytes(memory, have));
    }
    char path[DAEMON_CONFIG_PATH_MAX];
    snprintf(path, sizeof path, "%s", config->state_dir);
    struct statvfs disk;
    while (statvfs(path, &disk) != 0) {
        char *slash = strrchr(path, '/');
        if (!slash) {
            return;
        }
        slash[slash == path ? 1 : 0] = '\0';
        if (path[1] == '\0' && statvfs(path, &disk) != 0) {
            return;
        }
    }
    double room = (double)disk.f_bavail * (double)disk.f_frsize;
    if (needs->disk > room) {
        printf("warning: %s of disk will be needed, %s has %s left\n", text_bytes(needs->disk, need), path,
               text_bytes(room, have));
    }
}

static void print_needs(const struct daemon_config *config, const struct check_options *options,
                        uint32_t lanes)
{
    char disk[TEXT_MAX], memory[TEXT_MAX], keep[TEXT_MAX], name[TEXT_MAX];
    struct daemon_needs needs;
    daemon_needs(config, &options->rates, lanes, &needs);
    printf("\nneeds at %g impressions a second, ctr %g, cvr %g:\n", options->rates.impressions,
           options->rates.ctr, options->rates.cvr);
    for (uint32_t stage = 0; stage < daemon_config_ranks(config); stage++) {
        const struct daemon_needs_log *log = &needs.journeys[stage];
        if (log->disk > 0) {
            snprintf(name, sizeof name, "journeys of %.32s", daemon_config_rank_name(config, stage));
            printf("  %-26s %12.0f records of %.0f B, %s: disk %s, memory %s\n", name, log->records,
                   log->record_bytes, text_duration(log->retention, keep), text_bytes(log->disk, disk),
                   text_bytes(log->memory, memory));
        }
    }
    printf("  %-26s %12.0f ids: disk %s, memory %s\n", "remembered actions", needs.ids.records,
           text_bytes(needs.ids.disk, disk), text_bytes(needs.ids.memory, memory));
    printf("  %-26s %12.0f if every action waited in vain: memory %s\n", "orphans, at most", needs.orphans,
           text_bytes(needs.orphan_memory, memory));
    if (needs.values > 0) {
        printf("  %-26s %12.0f: memory %s\n", "values that wait", needs.values,
               text_bytes(needs.value_memory, memory));
    }
    char state[TEXT_MAX] = "";
    if (needs.row_words > 0) {
        snprintf(state, sizeof state, " with %zu B of optimizer state", needs.row_words * sizeof(float));
    }
    printf("  %-26s %12.0f rows of dimension %u%s: memory %s\n", "embedding rows, at most", needs.rows,
           needs.row_dimension, state, text_bytes(needs.row_memory, memory));
    printf("  %-26s disk %s, memory %s\n", "database and a cut", text_bytes(needs.database, disk),
           text_bytes(needs.cut_memory, memory));
    if (config->source.kind == DAEMON_SOURCE_KAFKA) {
        printf("  %-26s memory %s\n", "fetched ahead, at most", text_bytes(needs.fetch_memory, memory));
    }
    printf("  together: memory %s, disk %s\n", text_bytes(needs.memory, memory),
           text_bytes(needs.disk, disk));
    if (needs.kept > 0) {
        printf("  kept cuts, beside that and at most: disk %s (they share what did not change)\n",
               text_bytes(needs.kept, disk));
    }
    print_misfits(config, &needs);
}

static void print_freshness(const struct daemon_config *config)
{
    int64_t lateness = 0;
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        int64_t other = daemon_config_topic(config, rank)->allowed_lateness;
        lateness = other > lateness ? other : lateness;
    }
    int64_t fresh = lateness + config->tick + config->publish.interval;
    char a[TEXT_MAX], b[TEXT_MAX], c[TEXT_MAX], d[TEXT_MAX], e[TEXT_MAX];
    printf("\nfreshness: from due to published about %s (lateness %s + tick %s + publication %s)\n",
           text_duration(fresh, a), text_duration(lateness, b), text_duration(config->tick, c),
           text_duration(config->publish.interval, d));
    printf("  with an idle partition up to %s more\n", text_duration(config->idle_timeout, e));
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_action *action = daemon_config_action(config, rank);
        printf("  %s: %s after its parent; a late one %s after itself\n", action->name,
               text_duration(action->wait + fresh, a), text_duration(fresh, b));
    }
}

// --- The command ---

// Makes every topic's decoder, as the daemon would: unknown paths and types that cannot serve come out here.
// Returns the number of errors told.
static uint32_t check_decoders(const struct daemon_config *config)
{
    struct consumer_registry_config registry_config;
    struct consumer_registry *registry = NULL;
    struct base_error error;
    uint32_t errors = 0;
    if (daemon_config_registry(config, &registry_config)) {
        registry_config.cache_dir = NULL; // a check leaves nothing behind
        registry = consumer_registry_new(&registry_config, &error);
        if (!registry) {
            fprintf(stderr, "error: registry: %s\n", error.text);
            return 1;
        }
    }
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        struct consumer_decoder_config decoder_config;
        daemon_config_decoder(config, rank, &decoder_config);
        struct consumer_decoder *decoder = consumer_decoder_new(&decoder_config, registry, &error);
        if (!decoder) {
            fprintf(stderr, "error: %s: %s\n", daemon_config_rank_name(config, rank), error.text);
            errors++;
        }
        consumer_decoder_free(decoder);
    }
    consumer_registry_free(registry);
    return errors;
}

static int check_run(const struct check_options *options)
{
    struct base_config_problems *problems = base_alloc_zeroed(1, sizeof *problems);
    struct daemon_config *config = daemon_config_load(options->path, problems);
    daemon_config_print(problems, stderr);
    uint32_t errors = problems->errors + (config ? check_decoders(config) : 0);
    int status = errors > 0;
    printf("%s: %s, %u errors, %u warnings\n", options->path, status == 0 ? "good" : "bad", errors,
           problems->warnings);
    if (status == 0) {
        uint32_t lanes;
        printf("settings: %016llx\n", (unsigned long long)config->hash);
        print_source(config, options, &lanes);
        print_topics(config);
        print_tasks(config);
        status = print_model(config) == 0 ? 0 : 1;
        if (status == 0) {
            print_needs(config, options, lanes);
            print_freshness(config);
        }
    }
    daemon_config_free(config);
    free(problems);
    return status;
}

static int print_reference(void)
{
    struct base_buffer page = {0};
    base_config_reference(&daemon_config_table, &page);
    size_t wrote = fwrite(page.data, 1, page.size, stdout);
    int status = wrote == page.size && fflush(stdout) == 0 ? 0 : 1;
    base_buffer_free(&page);
    return status;
}

static int usage(FILE *out, int status)
{
    fprintf(out,
            "usage: freshet check -c FILE [--rate IMPRESSIONS_PER_SECOND] [--ctr SHARE] [--cvr SHARE]\n"
            "                     [--lanes N]\n"
            "       freshet check --reference\n"
            "Says whether a configuration is right, what it will do and what it needs. --lanes N does not\n"
            "ask the source. --reference prints the reference page of all settings.\n");
    return status;
}

static bool share(const char *text, double *value)
{
    return base_config_parse_real(text, value) == 0 && *value >= 0 && *value <= 1;
}

int daemon_command_check(int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'}, {"reference", no_argument, NULL, 'R'},
        {"rate", required_argument, NULL, 'r'},   {"ctr", required_argument, NULL, 't'},
        {"cvr", required_argument, NULL, 'v'},    {"lanes", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    struct check_options options = {.rates = {.impressions = 1000, .ctr = 0.05, .cvr = 0.05}};
    bool reference = false, good = true;
    optind = 0; // glibc: begin anew
    for (int option; good && (option = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;) {
        switch (option) {
        case 'c':
            options.path = optarg;
            break;
        case 'R':
            reference = true;
            break;
        case 'r':
            good = base_config_parse_real(optarg, &options.rates.impressions) == 0 &&
                   options.rates.impressions >= 0;
            break;
        case 't':
            good = share(optarg, &options.rates.ctr);
            break;
        case 'v':
            good = share(optarg, &options.rates.cvr);
            break;
        case 'l':
            good = base_config_parse_uint(optarg, &options.lanes) == 0 && options.lanes >= 1 &&
                   options.lanes <= CONSUMER_LANES_MAX;
            break;
        case 'h':
            return usage(stdout, 0);
        default:
            good = false;
        }
    }
    if (!good || optind != argc || (reference ? options.path != NULL : options.path == NULL)) {
        return usage(stderr, 2);
    }
    return reference ? print_reference() : check_run(&options);
}
