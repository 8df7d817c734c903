// Publications of a made-up model, and readers that look through each version: the programs behind
// tests/chaos/readers.
//
//   publications publish SOCKET COUNT PAUSE_MS MIN_EPOCH GENERATION   publishes COUNT generations
//   publications follow SOCKET                                        follows until standard input ends
//
// All numbers of generation g are g, and which rows it has follows from g, so that a version that mixes two
// generations is seen at once. A generation is published once at most; its number is also its tick.
//
// What is printed, a line each, is what a real publisher would make durable: "epoch E" before a version
// carries it, "intend G" before anything of generation G is sent, and "done G VERSION" after it. A reader
// prints "held VERSION G" for each version, and "wrong TEXT" for what must not be. Exit status of publish: 0
// done, 3 a newer epoch has taken over, 1 anything else that cannot pass.
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/hash.h"
#include "publisher/reader.h"
#include "tests/unit/publisher_model.h"

enum { ROWS = 200, TTL_S = 30, RETRY_MS = 20, FOLLOW_MS = 50, TIMEOUT_MS = 1000, CONFLICT = 3 };

static const char model_name[] = "chaos";

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int failed(const char *what, const struct base_error *error)
{
    fprintf(stderr, "publications: %s: %s\n", what, error->text);
    return error->code == BASE_ECONFLICT ? CONFLICT : 1;
}

// Row r comes and goes.
static bool has_row(uint64_t generation, uint64_t row)
{
    return (generation + row) % 5 != 0;
}

static uint64_t row_key(uint32_t slot, int64_t row)
{
    return base_hash_slot_integer(base_hash_slot_salt(model_config(0)->features.slot[slot].row.name), row);
}

static void fill(float *numbers, size_t count, uint64_t generation)
{
    for (size_t i = 0; i < count; i++) {
        numbers[i] = (float)generation;
    }
}

// ---- publishing ----

static void snapshot_tensors(struct trainer_snapshot *snapshot, struct trainer_model *model)
{
    uint32_t dense;
    size_t oov_size;
    const struct trainer_network *network = trainer_model_network(model);
    struct trainer_table *table = trainer_model_table(model);
    const struct trainer_tensor *tensor = trainer_network_tensors(network, &dense);
    size_t slab_size = trainer_network_size(network);
    trainer_table_oov(table, &oov_size);
    snapshot->tensors = dense + MODEL_SLOTS;
    snapshot->tensor = base_alloc_zeroed(snapshot->tensors, sizeof *snapshot->tensor);
    memcpy(snapshot->tensor, tensor, dense * sizeof *tensor);
    for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++) {
        const struct trainer_table_slot_config *row = &model_config(0)->features.slot[slot].row;
        struct trainer_tensor *oov = &snapshot->tensor[dense + slot];
        snprintf(oov->name, sizeof oov->name, "oov.%s", row->name);
        oov->rows = 1;
        oov->columns = row->dimension;
        oov->offset = slab_size + trainer_table_oov_offset(table, (uint16_t)slot);
    }
    snapshot->dense_size = slab_size + oov_size;
    snapshot->dense = base_alloc_zeroed(snapshot->dense_size, sizeof *snapshot->dense);
    for (uint32_t i = 0; i < snapshot->tensors; i++) { // what lies between them is zero
        const struct trainer_tensor *at = &snapshot->tensor[i];
        fill(snapshot->dense + at->offset, (size_t)at->rows * at->columns, (uint64_t)snapshot->tick);
    }
}

// A generation whole. As a delta it is one upon any earlier generation: all rows are in it, or tombstones.
static struct trainer_snapshot *make_snapshot(struct trainer_model *model, uint64_t generation, bool full)
{
    struct trainer_snapshot *snapshot = base_alloc_zeroed(1, sizeof *snapshot);
    snapshot->tick = (int64_t)generation;
    snapshot->examples = generation;
    snapshot->full = full;
    snapshot->slots = MODEL_SLOTS;
    snapshot->rows = base_alloc_zeroed(MODEL_SLOTS, sizeof *snapshot->rows);
    for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++) {
        struct trainer_snapshot_rows *rows = &snapshot->rows[slot];
        rows->dimension = model_config(0)->features.slot[slot].row.dimension;
        rows->keys = base_alloc(ROWS * sizeof *rows->keys);
        rows->tombstones = base_alloc(ROWS * sizeof *rows->tombstones);
        rows->vectors = base_alloc(ROWS * rows->dimension * sizeof *rows->vectors);
        for (int64_t row = 0; row < ROWS; row++) {
            if (has_row(generation, (uint64_t)row)) {
                rows->keys[rows->count++] = row_key(slot, row);
            } else {
                rows->tombstones[rows->removed++] = row_key(slot, row);
            }
        }
        fill(rows->vectors, rows->count * rows->dimension, generation);
        snapshot->rows_total += rows->count;
    }
    snapshot_tensors(snapshot, model);
    return snapshot;
}

// Whoever reads our output remembers it when we are gone.
static int remember(void *context, uint64_t epoch, struct base_error *error)
{
    (void)context, (void)error;
    printf("epoch %" PRIu64 "\n", epoch);
    return 0;
}

// Publishes one generation, again and again until it is there. 0, or the exit status.
static int publish_one(struct publisher *publisher, struct trainer_model *model, uint64_t generation)
{
    printf("intend %" PRIu64 "\n", generation);
    for (;;) {
        struct base_error error;
        struct publisher_result result;
        struct trainer_snapshot *snapshot = make_snapshot(model, generation, publisher_wants_full(publisher));
        int refused = publisher_publish(publisher, snapshot, NULL, &result, &error);
        trainer_snapshot_free(snapshot);
        if (!refused) {
            printf("done %" PRIu64 " %" PRIu64 ".%" PRIu64 "\n", generation, result.version.epoch,
                   result.version.number);
            return 0;
        }
        if (!error.retriable) {
            return failed("publishing", &error);
        }
        pause_ms(RETRY_MS);
    }
}

static int publish(char **argument)
{
    uint64_t count = strtoull(argument[1], NULL, 10);
    long between_ms = strtol(argument[2], NULL, 10);
    uint64_t min_epoch = strtoull(argument[3], NULL, 10);
    uint64_t generation = strtoull(argument[4], NULL, 10);
    struct base_error error;
    char *descriptor = model_descriptor(0);
    struct publisher_config config = {
        .redis = {.socket = argument[0], .timeout_ms = TIMEOUT_MS},
        .model = model_name,
        .descriptor = descriptor,
        .lineage = model_name,
        .garbage_ttl_s = TTL_S,
        .remember = remember,
        .base_ratio = 12, // a delta has as many rows as a base: a base every dozen versions
    };
    struct trainer_model *model = trainer_model_new(model_config(0), false, &error);
    struct publisher *publisher = model ? publisher_new(&config, &error) : NULL;
    int status = publisher ? 0 : failed("starting", &error);
    while (status == 0 && publisher_start(publisher, min_epoch, &error)) {
        if (!error.retriable) {
            status = failed("taking the epoch", &error);
        }
        pause_ms(RETRY_MS);
    }
    for (uint64_t end = generation + count; status == 0 && generation < end; generation++) {
        status = publish_one(publisher, model, generation);
        pause_ms(between_ms);
    }
    publisher_free(publisher);
    trainer_model_free(model);
    free(descriptor);
    return status;
}

// ---- following ----

// Makes `model` the generation that a reader at that tick must hold.
static int make_expected(struct trainer_model *model, uint64_t generation, struct base_error *error)
{
    struct trainer_table *table = trainer_model_table(model);
    struct trainer_network *network = trainer_model_network(model);
    float vector[TRAINER_DIMENSION_MAX];
    size_t oov_size;
    float *oov = trainer_table_oov(table, &oov_size);
    float *slab = trainer_network_slab(network);
    uint32_t dense;
    const struct trainer_tensor *tensor = trainer_network_tensors(network, &dense);
    for (uint32_t i = 0; i < dense; i++) {
        fill(slab + tensor[i].offset, (size_t)tensor[i].rows * tensor[i].columns, generation);
    }
    fill(vector, TRAINER_DIMENSION_MAX, generation);
    for (uint32_t slot = 0; slot < MODEL_SLOTS; slot++) {
        uint32_t dimension = model_config(0)->features.slot[slot].row.dimension;
        fill(oov + trainer_table_oov_offset(table, (uint16_t)slot), dimension, generation);
        for (int64_t row = 0; row < ROWS; row++) {
            uint64_t key = row_key(slot, row);
            if (!has_row(generation, (uint64_t)row)) {
                trainer_table_remove(table, (uint16_t)slot, key);
            } else if (trainer_table_set(table, (uint16_t)slot, key, vector, error)) {
                return -1;
            }
        }
    }
    return 0;
}

// Looks through the version held.
static int inspect(struct publisher_reader *reader, struct trainer_model *expected,
                   struct publisher_version *last, uint64_t *last_generation, struct base_error *error)
{
    struct publisher_version version = publisher_reader_version(reader);
    uint64_t generation = (uint64_t)publisher_reader_tick(reader);
    if (make_expected(expected, generation, error)) {
        return -1;
    }
    if (publisher_reader_hash(reader) != trainer_model_hash(expected)) {
        printf("wrong %" PRIu64 ".%" PRIu64 " is not generation %" PRIu64 "\n", version.epoch, version.number,
               generation);
    }
    bool older =
        version.epoch < last->epoch || (version.epoch == last->epoch && version.number < last->number);
    if (older || generation < *last_generation) {
        printf("wrong %" PRIu64 ".%" PRIu64 " (%" PRIu64 ") after %" PRIu64 ".%" PRIu64 " (%" PRIu64 ")\n",
               version.epoch, version.number, generation, last->epoch, last->number, *last_generation);
    }
    *last = version;
    *last_generation = generation;
    printf("held %" PRIu64 ".%" PRIu64 " %" PRIu64 "\n", version.epoch, version.number, generation);
    return 0;
}

static bool input_ended(void)
{
    char byte;
    struct pollfd input = {STDIN_FILENO, POLLIN, 0};
    return poll(&input, 1, 0) == 1 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static int follow(char **argument)
{
    struct base_error error;
    struct publisher_reader_config config = {.redis = {.socket = argument[0], .timeout_ms = TIMEOUT_MS},
                                             .model = model_name};
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    struct trainer_model *expected = reader ? trainer_model_new(model_config(0), false, &error) : NULL;
    int status = expected ? 0 : failed("starting", &error);
    struct publisher_version last = {0, 0};
    uint64_t last_generation = 0;
    while (status == 0 && !input_ended()) {
        bool changed = false;
        if (publisher_reader_follow(reader, FOLLOW_MS, &changed, &error) == 0) {
            if (changed && inspect(reader, expected, &last, &last_generation, &error)) {
                status = failed("looking", &error);
            }
            continue;
        }
        // The server away, a key away, head for a while behind what it was: all pass. Nothing else may be.
        if (error.code != BASE_ENETWORK && error.code != BASE_ENOTFOUND && error.code != BASE_ECONFLICT &&
            error.code != BASE_EREFUSED) {
            printf("wrong %s\n", error.text);
        }
        pause_ms(RETRY_MS);
    }
    trainer_model_free(expected);
    publisher_reader_free(reader);
    return status;
}

int main(int argc, char **argv)
{
    struct base_error error;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (base_failpoint_arm(getenv("FRESHET_FAILPOINT"), &error)) {
        return failed("FRESHET_FAILPOINT", &error);
    }
    if (argc == 7 && strcmp(argv[1], "publish") == 0) {
        return publish(argv + 2);
    }
    if (argc == 3 && strcmp(argv[1], "follow") == 0) {
        return follow(argv + 2);
    }
    fprintf(stderr,
            "usage: publications publish SOCKET COUNT PAUSE_MS MIN_EPOCH GENERATION | follow SOCKET\n");
    return 2;
}
