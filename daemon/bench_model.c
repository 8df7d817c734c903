// The benchmark of the whole training step: columns to changed weights, with the reference model over a table
// of 24 million rows and ids after Zipf. Its limit is the dense half's matrix products alone (bench_train.c),
// measured in the same run.
#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/random.h"
#include "daemon/bench.h"
#include "daemon/bench_machine.h"
#include "trainer/model.h"

enum {
    MODEL_SLOTS = 24,
    MODEL_DIMENSION = 16,
    MODEL_IDS = 1000000, // a slot
    MODEL_TASKS = 2,
    MODEL_BATCH_MAX = 1024,
    MODEL_SAMPLES = 128 * MODEL_BATCH_MAX, // made beforehand, taken in turn
    MODEL_EXAMPLES = 8192,                 // of one measurement
    MODEL_TURNS = 12,                      // measurements, of which the best counts
    MODEL_WORKERS_MAX = 2,
};

struct model_bench {
    struct trainer_slot_config slot[MODEL_SLOTS];
    char names[MODEL_SLOTS][8];
    uint64_t salt[MODEL_SLOTS];
    struct trainer_model_config config;
    struct trainer_model *model;
    struct base_minibatch **minibatches; // [MODEL_SAMPLES / batch] of the batch that is measured
    uint32_t batch;
    uint32_t next; // minibatch
};

static void model_configure(struct model_bench *bench)
{
    for (uint32_t s = 0; s < MODEL_SLOTS; s++) {
        snprintf(bench->names[s], sizeof bench->names[s], "slot%u", s);
        bench->salt[s] = base_hash_slot_salt(bench->names[s]);
        bench->slot[s] =
            (struct trainer_slot_config){.row = {bench->names[s], MODEL_DIMENSION, 1, 0}, .column = s};
    }
    bench->config = (struct trainer_model_config){
        .features = {{MODEL_SLOTS, 0}, MODEL_SLOTS, bench->slot, 0, NULL},
        .network = {.levels = 2,
                    .level = {{{256, 128}, 2, 2, 2}, {{128}, 1, 2, 2}},
                    .tower_widths = {64},
                    .tower_layers = 1,
                    .batch = MODEL_BATCH_MAX},
        .loss = {.tasks = MODEL_TASKS, .stages = MODEL_TASKS, .task_weight = {1, 1}, .keep_negatives = 1},
        .task_names = {"click", "purchase"},
        .update.dense.rate = 0.01,
        .update.sparse.rate = 0.01,
        .seed = 1,
        .rows_max = (uint64_t)MODEL_SLOTS * MODEL_IDS,
    };
}

// All ids of all slots get a row.
static void model_fill(struct model_bench *bench)
{
    enum { BLOCK = 1000 };
    uint64_t keys[BLOCK];
    uint16_t slots[BLOCK];
    trainer_row rows[BLOCK];
    for (uint32_t s = 0; s < MODEL_SLOTS; s++) {
        for (uint32_t id = 0; id < MODEL_IDS; id += BLOCK) {
            for (uint32_t i = 0; i < BLOCK; i++) {
                keys[i] = base_hash_slot_integer(bench->salt[s], id + i);
                slots[i] = (uint16_t)s;
            }
            trainer_table_resolve(trainer_model_table(bench->model), keys, slots, BLOCK, 0, rows);
        }
    }
}

// Sample `number`: one id a slot, of probability about 1 / rank; a click in twenty, each with both parts in
// one.
static void model_sample(const struct model_bench *bench, uint64_t number, struct base_sample *sample,
                         uint64_t *bytes)
{
    uint64_t key = base_random_key(2, "bench samples");
    uint16_t *count = (uint16_t *)(void *)bytes;
    uint64_t *keys = bytes + MODEL_SLOTS * sizeof *count / sizeof *bytes;
    for (uint32_t s = 0; s < MODEL_SLOTS; s++) {
        double u = base_random_uniform(key, number * MODEL_SLOTS + s);
        uint32_t rank = (uint32_t)exp(u * log(MODEL_IDS + 1.0)) - 1;
        count[s] = 1;
        keys[s] = base_hash_slot_integer(bench->salt[s], rank < MODEL_IDS ? rank : MODEL_IDS - 1);
    }
    bool click = number % 20 == 0;
    *sample =
        (struct base_sample){.kind = click ? BASE_C1 : BASE_N0,
                             .mask = 3,
                             .trains = 1,
                             .label = {click, number % 200 == 0},
                             .weight = {1, 1},
                             .impression_id = base_span_string("impression"),
                             .columns = base_span_make(bytes, MODEL_SLOTS * (sizeof *count + sizeof *keys))};
}

static void model_drop_minibatches(struct model_bench *bench)
{
    for (uint32_t m = 0; bench->minibatches && m < MODEL_SAMPLES / bench->batch; m++) {
        base_minibatch_free(bench->minibatches[m]);
    }
    free(bench->minibatches);
    bench->minibatches = NULL;
}

static void model_make_minibatches(struct model_bench *bench, uint32_t batch)
{
    model_drop_minibatches(bench);
    bench->batch = batch;
    bench->next = 0;
    bench->minibatches = base_alloc_zeroed(MODEL_SAMPLES / batch, sizeof *bench->minibatches);
    for (uint32_t m = 0; m < MODEL_SAMPLES / batch; m++) {
        struct base_minibatch *minibatch = base_minibatch_new(batch);
        base_minibatch_clear(minibatch, 0);
        for (uint32_t i = 0; i < batch; i++) {
            struct base_sample sample;
            uint64_t bytes[2 * MODEL_SLOTS];
            model_sample(bench, (uint64_t)m * batch + i, &sample, bytes);
            base_minibatch_add(minibatch, &sample);
        }
        base_minibatch_seal(minibatch);
        bench->minibatches[m] = minibatch;
    }
}

// Trains on MODEL_EXAMPLES; *seconds: that it took. -1 if a step failed or was set aside.
static int model_turn(struct model_bench *bench, double *seconds, struct base_error *error)
{
    double begin = daemon_bench_seconds();
    for (uint32_t done = 0; done < MODEL_EXAMPLES; done += bench->batch) {
        struct trainer_step step;
        if (trainer_model_step(bench->model, bench->minibatches[bench->next], &step, error)) {
            return -1;
        }
        if (step.set_aside) {
            return base_error_set(error, BASE_EINVAL, "a step was not finite");
        }
        bench->next = (bench->next + 1) % (MODEL_SAMPLES / bench->batch);
    }
    *seconds = daemon_bench_seconds() - begin;
    return 0;
}

static int model_measure(struct model_bench *bench, uint32_t batch, FILE *out, struct base_error *error)
{
    double best = INFINITY, seconds = 0;
    model_make_minibatches(bench, batch);
    double limit = daemon_bench_gemm_limit(batch);
    for (uint32_t turn = 0; turn <= MODEL_TURNS; turn++) {
        if (model_turn(bench, &seconds, error)) {
            return -1;
        }
        best = turn ? fmin(best, seconds) : best; // the first warms up
    }
    limit = fmax(limit, daemon_bench_gemm_limit(batch));
    double rate = MODEL_EXAMPLES / best,
           gflop = 1e-9 * trainer_network_flop_step(&trainer_model_config(bench->model)->network);
    const struct trainer_table *table = trainer_model_table(bench->model);
    fprintf(out,
            "{\"bench\":\"train\",\"batch\":%u,\"workers\":%u,\"examples_per_second\":%.0f,"
            "\"gflop_per_second\":%.1f,\"limit_examples_per_second\":%.0f,\"limit_threads\":1,\"ratio\":%.3f,"
            "\"rows\":%llu,\"table_bytes\":%llu",
            batch, bench->config.workers, rate, rate * gflop, limit, rate / limit,
            (unsigned long long)trainer_table_rows(table), (unsigned long long)trainer_table_bytes(table));
    daemon_bench_end(out, bench->config.workers);
    return 0;
}

int daemon_bench_train(FILE *out)
{
    static const uint32_t batches[] = {64, 256, 1024};
    struct model_bench *bench = base_alloc_zeroed(1, sizeof *bench);
    struct base_error error;
    int result = 0;
    model_configure(bench);
    for (uint32_t workers = 1; workers <= MODEL_WORKERS_MAX && result == 0; workers++) {
        bench->config.workers = workers;
        bench->model = trainer_model_new(&bench->config, true, &error);
        if (!bench->model) {
            result = -1;
            break;
        }
        model_fill(bench);
        for (size_t b = 0; b < sizeof batches / sizeof *batches && result == 0; b++) {
            result = model_measure(bench, batches[b], out, &error);
        }
        trainer_model_free(bench->model);
    }
    if (result != 0) {
        fprintf(stderr, "bench train: %s\n", error.text);
    }
    model_drop_minibatches(bench);
    free(bench);
    return result == 0 ? 0 : 1;
}
