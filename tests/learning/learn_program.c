// learn: trains the model of a configuration on a dataset, in order, and tells what it did. The learning
// tests and the comparison with PyTorch drive it; of the configuration it takes what the trainer takes
// (model, slots, numerics, actions).
//
// Rows of all ids up to the greatest of a slot are made before anything else, so that the weights at the
// start can be written whole. Predictions are made before each update; then, with the weights of the end, for
// what was held out.
//
// With --turns it waits for lines on standard input, each a number of minibatches, trains on so many, in turn
// through the dataset, and answers with a line: the seconds that took. Building minibatches is not counted.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "daemon/config.h"
#include "daemon/config_print.h"
#include "learn_weights.h"
#include "trainer/blas.h"
#include "trainer/model.h"

static const char usage[] =
    "usage: learn CONFIG DATA [options]\n"
    "  --train N            learn from the first N samples (default: all); the rest is held out\n"
    "  --passes N           so many times (default: 1)\n"
    "  --seed N             instead of the configured one\n"
    "  --workers N          instead of the configured number\n"
    "  --ids N              rows of the ids 0..N-1 of every slot, if the data has fewer\n"
    "  --load FILE          start from these weights (learn_weights.h), as far as they go\n"
    "  --initial FILE       write the weights at the start\n"
    "  --final FILE         write the weights at the end\n"
    "  --losses FILE        write each minibatch's summed losses, float32 [steps x tasks]\n"
    "  --predictions FILE   write float32 [samples x 2 tasks]: of each sample the conditional\n"
    "                       probabilities, then the products; trained samples as of the last pass\n"
    "  --values             every task is a value, without a funnel: squared error of log1p\n"
    "  --turns              train in turns, on command\n";

struct learn_options {
    const char *config, *data, *load, *initial, *final, *losses, *predictions;
    uint64_t train, passes, seed, workers, ids;
    bool seeded, values, turns;
};

struct learn {
    struct learn_options options;
    struct daemon_config *config;
    struct trainer_model_config model_config;
    struct learn_data data;
    struct trainer_model *model;
    struct base_minibatch *minibatch;
    FILE *losses;
    float *predictions;          // [samples x 2 tasks], or NULL
    double loss[BASE_TASKS_MAX]; // summed over the last pass
    uint64_t steps, set_aside;
    double seconds; // in steps
};

static double learn_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// --- Options ---

enum {
    OPTION_TRAIN = 256,
    OPTION_PASSES,
    OPTION_SEED,
    OPTION_WORKERS,
    OPTION_IDS,
    OPTION_LOAD,
    OPTION_INITIAL,
    OPTION_FINAL,
    OPTION_LOSSES,
    OPTION_PREDICTIONS,
    OPTION_VALUES,
    OPTION_TURNS
};

static const struct option long_options[] = {{"train", required_argument, NULL, OPTION_TRAIN},
                                             {"passes", required_argument, NULL, OPTION_PASSES},
                                             {"seed", required_argument, NULL, OPTION_SEED},
                                             {"workers", required_argument, NULL, OPTION_WORKERS},
                                             {"ids", required_argument, NULL, OPTION_IDS},
                                             {"load", required_argument, NULL, OPTION_LOAD},
                                             {"initial", required_argument, NULL, OPTION_INITIAL},
                                             {"final", required_argument, NULL, OPTION_FINAL},
                                             {"losses", required_argument, NULL, OPTION_LOSSES},
                                             {"predictions", required_argument, NULL, OPTION_PREDICTIONS},
                                             {"values", no_argument, NULL, OPTION_VALUES},
                                             {"turns", no_argument, NULL, OPTION_TURNS},
                                             {NULL, 0, NULL, 0}};

static bool option_number(const char *text, uint64_t *number)
{
    char *end;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0';
}

static bool learn_parse(struct learn_options *options, int argc, char **argv)
{
    *options = (struct learn_options){.train = UINT64_MAX, .passes = 1};
    int option;
    bool right = true;
    while (right && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case OPTION_TRAIN:
            right = option_number(optarg, &options->train);
            break;
        case OPTION_PASSES:
            right = option_number(optarg, &options->passes);
            break;
        case OPTION_SEED:
            right = options->seeded = option_number(optarg, &options->seed);
            break;
        case OPTION_WORKERS:
            right = option_number(optarg, &options->workers);
            break;
        case OPTION_IDS:
            right = option_number(optarg, &options->ids);
            break;
        case OPTION_LOAD:
            options->load = optarg;
            break;
        case OPTION_INITIAL:
            options->initial = optarg;
            break;
        case OPTION_FINAL:
            options->final = optarg;
            break;
        case OPTION_LOSSES:
            options->losses = optarg;
            break;
        case OPTION_PREDICTIONS:
            options->predictions = optarg;
            break;
        case OPTION_VALUES:
            options->values = true;
            break;
        case OPTION_TURNS:
            options->turns = true;
            break;
        default:
            right = false;
        }
    }
    if (!right || argc - optind != 2 || options->passes == 0) {
        return false;
    }
    options->config = argv[optind];
    options->data = argv[optind + 1];
    return true;
}

static FILE *learn_create(const char *path, struct base_error *error)
{
    FILE *file = fopen(path, "wbe");
    if (!file) {
        base_error_set_errno(error, BASE_EIO, errno, "%s", path);
    }
    return file;
}

static int learn_close(FILE *file, const char *path, struct base_error *error)
{
    bool failed = ferror(file) != 0;
    return fclose(file) != 0 || failed ? base_error_set(error, BASE_EIO, "%s: not written", path) : 0;
}

// --- Training ---

static void learn_keep(struct learn *learn, uint32_t begin, const struct trainer_step *step)
{
    uint32_t tasks = learn->data.tasks;
    for (uint32_t i = 0; learn->predictions && i < step->count; i++) {
        float *to = learn->predictions + (size_t)(begin + i) * 2 * tasks;
        memcpy(to, step->conditional + (size_t)i * tasks, tasks * sizeof *to);
        memcpy(to + tasks, step->products + (size_t)i * tasks, tasks * sizeof *to);
    }
    for (uint32_t k = 0; k < tasks; k++) {
        learn->loss[k] += (double)step->loss[k];
    }
    if (learn->losses) {
        fwrite(step->loss, sizeof *step->loss, tasks, learn->losses);
    }
}

static int learn_step(struct learn *learn, const struct base_minibatch *minibatch, struct trainer_step *step,
                      struct base_error *error)
{
    double begin = learn_clock();
    if (trainer_model_step(learn->model, minibatch, step, error)) {
        return -1;
    }
    learn->seconds += learn_clock() - begin;
    learn->steps++;
    learn->set_aside += step->set_aside;
    return 0;
}

static int learn_train(struct learn *learn, struct base_error *error)
{
    uint32_t batch = learn->minibatch->capacity, train = (uint32_t)learn->options.train;
    for (uint64_t pass = 0; pass < learn->options.passes; pass++) {
        memset(learn->loss, 0, sizeof learn->loss);
        for (uint32_t begin = 0; begin < train; begin += batch) {
            uint32_t n = train - begin < batch ? train - begin : batch;
            struct trainer_step step;
            learn_data_minibatch(&learn->data, begin, n, learn->minibatch);
            if (learn_step(learn, learn->minibatch, &step, error)) {
                return -1;
            }
            learn_keep(learn, begin, &step);
        }
    }
    return 0;
}

// Predicts what was held out, with the weights of the end.
static int learn_predict(struct learn *learn, struct base_error *error)
{
    uint32_t tasks = learn->data.tasks;
    float conditional[BASE_TASKS_MAX], products[BASE_TASKS_MAX];
    for (uint32_t i = (uint32_t)learn->options.train; i < learn->data.samples; i++) {
        struct base_span columns = learn_data_columns(&learn->data, i);
        if (trainer_model_predict(learn->model, &columns, 1, conditional, products, error)) {
            return -1;
        }
        float *to = learn->predictions + (size_t)i * 2 * tasks;
        memcpy(to, conditional, tasks * sizeof *to);
        memcpy(to + tasks, products, tasks * sizeof *to);
    }
    return 0;
}

static int learn_write_predictions(const struct learn *learn, struct base_error *error)
{
    const char *path = learn->options.predictions;
    FILE *file = learn_create(path, error);
    if (!file) {
        return -1;
    }
    fwrite(learn->predictions, sizeof(float), (size_t)learn->data.samples * 2 * learn->data.tasks, file);
    return learn_close(file, path, error);
}

// --- Turns ---

static int learn_turns(struct learn *learn, struct base_error *error)
{
    uint32_t batch = learn->minibatch->capacity, count = (uint32_t)(learn->options.train / batch), next = 0;
    if (count == 0) {
        return base_error_set(error, BASE_EINVAL, "fewer samples than a minibatch has");
    }
    struct base_minibatch **minibatches = base_alloc_zeroed(count, sizeof *minibatches);
    for (uint32_t m = 0; m < count; m++) {
        minibatches[m] = base_minibatch_new(batch);
        learn_data_minibatch(&learn->data, m * batch, batch, minibatches[m]);
    }
    printf("ready\n");
    fflush(stdout);
    char line[32];
    int result = 0;
    while (result == 0 && fgets(line, sizeof line, stdin)) {
        long steps = strtol(line, NULL, 10);
        double begin = learn_clock();
        for (long s = 0; s < steps && result == 0; s++, next = (next + 1) % count) {
            struct trainer_step step;
            result = learn_step(learn, minibatches[next], &step, error);
        }
        printf("%.9f\n", learn_clock() - begin);
        fflush(stdout);
    }
    for (uint32_t m = 0; m < count; m++) {
        base_minibatch_free(minibatches[m]);
    }
    free(minibatches);
    return result;
}

// --- The whole ---

// Makes the tasks values, and the funnel's stages side tasks that hang on the impression.
static void learn_take_values(struct trainer_loss_config *loss)
{
    loss->stages = 0;
    for (uint32_t k = 0; k < loss->tasks; k++) {
        loss->parent[k] = UINT32_MAX;
        loss->kind[k] = TRAINER_LOSS_MSE;
    }
}

static int learn_open(struct learn *learn, struct base_error *error)
{
    const struct learn_options *options = &learn->options;
    learn->model_config = *daemon_config_model(learn->config);
    learn->model_config.seed = options->seeded ? options->seed : learn->model_config.seed;
    learn->model_config.workers = options->workers ? (uint32_t)options->workers : learn->model_config.workers;
    if (options->values) {
        learn_take_values(&learn->model_config.loss);
    }
    const struct trainer_model_config *config = &learn->model_config;
    if (learn_data_open(&learn->data, options->data, &config->features, config->loss.tasks, error)) {
        return -1;
    }
    if (options->train > learn->data.samples) {
        learn->options.train = learn->data.samples;
    }
    learn->model = trainer_model_new(config, true, error);
    if (!learn->model) {
        return -1;
    }
    learn->minibatch = base_minibatch_new(config->network.batch);
    if (options->predictions) {
        learn->predictions =
            base_alloc_zeroed((size_t)learn->data.samples * 2 * learn->data.tasks, sizeof(float));
    }
    learn->losses = options->losses ? learn_create(options->losses, error) : NULL;
    return options->losses && !learn->losses ? -1 : 0;
}

static void learn_report(const struct learn *learn)
{
    char blas[TRAINER_BLAS_TEXT_MAX];
    trainer_blas_describe(blas, sizeof blas);
    printf("{\"examples\": %" PRIu64 ", \"steps\": %" PRIu64 ", \"set_aside\": %" PRIu64
           ", \"parameters\": %" PRIu64 ", \"rows\": %" PRIu64 ", \"seconds\": %.6f, \"workers\": %u, "
           "\"loss\": [",
           trainer_model_examples(learn->model), learn->steps, learn->set_aside,
           learn_weights_count(learn->model), trainer_table_rows(trainer_model_table(learn->model)),
           learn->seconds, learn->model_config.workers);
    for (uint32_t k = 0; k < learn->data.tasks; k++) {
        double loss = learn->loss[k] / (double)(learn->options.train ? learn->options.train : 1);
        printf("%s", k ? ", " : "");
        if (isfinite(loss)) {
            printf("%.9g", loss);
        } else {
            printf("null"); // JSON has no other word for it
        }
    }
    printf("], \"weights\": \"%016" PRIx64 "\", \"blas\": \"%s\"}\n", trainer_model_hash(learn->model), blas);
}

static int learn_run(struct learn *learn, struct base_error *error)
{
    const struct learn_options *options = &learn->options;
    if (learn_open(learn, error)) {
        return -1;
    }
    learn_weights_make_rows(learn->model, &learn->data, options->ids);
    if (options->load && learn_weights_read(learn->model, &learn->data, options->load, error)) {
        return -1;
    }
    if (options->initial &&
        learn_weights_write(learn->model, &learn->data, options->ids, options->initial, error)) {
        return -1;
    }
    if (options->turns) {
        return learn_turns(learn, error);
    }
    if (learn_train(learn, error)) {
        return -1;
    }
    if (learn->predictions && (learn_predict(learn, error) || learn_write_predictions(learn, error))) {
        return -1;
    }
    if (options->final &&
        learn_weights_write(learn->model, &learn->data, options->ids, options->final, error)) {
        return -1;
    }
    if (learn->losses) {
        int result = learn_close(learn->losses, options->losses, error);
        learn->losses = NULL;
        if (result) {
            return -1;
        }
    }
    learn_report(learn);
    return 0;
}

int main(int argc, char **argv)
{
    trainer_blas_pin(argv); // first: it may run this program anew, with the right kernels
    struct learn learn = {0};
    if (!learn_parse(&learn.options, argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    struct base_error error = {0};
    int result = 1;
    learn.config = daemon_config_load_and_print(learn.options.config);
    if (learn.config) {
        result = learn_run(&learn, &error) ? 1 : 0;
    }
    if (result && error.text[0]) {
        fprintf(stderr, "learn: %s\n", error.text);
    }
    if (learn.losses) {
        fclose(learn.losses);
    }
    free(learn.predictions);
    base_minibatch_free(learn.minibatch);
    trainer_model_free(learn.model);
    learn_data_close(&learn.data);
    daemon_config_free(learn.config);
    return result;
}
