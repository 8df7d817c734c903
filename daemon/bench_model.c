// The benchmark of the whole training step: columns to changed weights, with the reference model over a table
// of 24 million rows and ids after Zipf; or, with a body named, that of other bodies over a tenth of the
// rows. Its limit is the dense half's matrix products alone (bench_limit.h), measured in turns in the same
// run.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/random.h"
#include "daemon/bench.h"
#include "daemon/bench_limit.h"
#include "daemon/bench_machine.h"
#include "trainer/body.h"
#include "trainer/model.h"

enum {
    MODEL_SLOTS = 24,
    MODEL_DIMENSION = 16,
    MODEL_IDS = 1000000,       // a slot
    MODEL_IDS_BODIES = 100000, // where bodies are compared
    MODEL_TASKS = 2,
    MODEL_BATCH_MAX = 1024,
    MODEL_SAMPLES = 128 * MODEL_BATCH_MAX, // made beforehand, taken in turn
    MODEL_EXAMPLES = 2048, // of one measurement: short, so that some escape what else the machine does
    MODEL_TURNS = 48,      // measurements, of which the best counts; the limit takes as many
    MODEL_WORKERS_MAX = 2,
};

struct model_bench {
    struct trainer_slot_config slot[MODEL_SLOTS];
    char names[MODEL_SLOTS][8];
    uint64_t salt[MODEL_SLOTS];
    struct trainer_model_config config;
    uint32_t ids; // a slot
    struct trainer_model *model;
    struct daemon_bench_limit *limit;
    struct base_minibatch **minibatches; // [MODEL_SAMPLES / batch] of the batch that is measured
    uint32_t batch;
    uint32_t next; // minibatch
};

static void model_configure(struct model_bench *bench, enum trainer_body body)
{
    for (uint32_t s = 0; s < MODEL_SLOTS; s++) {
        snprintf(bench->names[s], sizeof bench->names[s], "slot%u", s);
        bench->salt[s] = base_hash_slot_salt(bench->names[s]);
        bench->slot[s] =
            (struct trainer_slot_config){.row = {bench->names[s], MODEL_DIMENSION, 1, 0}, .column = s};
    }
    bench->config = (struct trainer_model_config){
        .features = {{MODEL_SLOTS, 0}, MODEL_SLOTS, bench->slot, 0, NULL},
        .network = daemon_bench_reference(),
        .loss = {.tasks = MODEL_TASKS, .stages = MODEL_TASKS, .task_weight = {1, 1}, .keep_negatives = 1},
        .task_names = {"click", "purchase"},
        .update.dense.rate = 0.01,
        .update.sparse.rate = 0.01,
        .seed = 1,
        .rows_max = (uint64_t)MODEL_SLOTS * bench->ids,
    };
    bench->config.network.body = body;
    bench->config.network.soft_l2 = body == TRAINER_BODY_SOFT_L2 ? 0.01f : 0.0f;
}

// All ids of all slots get a row.
static void model_fill(struct model_bench *bench)
{
    enum { BLOCK = 1000 };
    uint64_t keys[BLOCK];
    uint16_t slots[BLOCK];
    trainer_row rows[BLOCK];
    for (uint32_t s = 0; s < MODEL_SLOTS; s++) {
        for (uint32_t id = 0; id < bench->ids; id += BLOCK) {
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
        uint32_t rank = (uint32_t)exp(u * log(bench->ids + 1.0)) - 1;
        count[s] = 1;
        keys[s] = base_hash_slot_integer(bench->salt[s], rank < bench->ids ? rank : bench->ids - 1);
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
    double best = INFINITY, limit = INFINITY, seconds = 0;
    model_make_minibatches(bench, batch);
    for (uint32_t turn = 0; turn <= MODEL_TURNS; turn++) {
        if (model_turn(bench, &seconds, error)) {
            return -1;
        }
        best = turn ? fmin(best, seconds) : best; // the first warms up
        limit = daemon_bench_limit_turn(bench->limit, batch, NULL);
    }
    double rate = MODEL_EXAMPLES / best, most = batch / limit;
    double gflop = 1e-9 * trainer_network_flop_step(&bench->config.network);
    const struct trainer_table *table = trainer_model_table(bench->model);
    fprintf(out,
            "{\"bench\":\"train\",\"body\":\"%s\",\"batch\":%u,\"workers\":%u,\"examples_per_second\":%.0f,"
            "\"gflop_per_second\":%.1f,\"limit_examples_per_second\":%.0f,\"limit_gflop_per_second\":%.1f,"
            "\"limit_threads\":1,\"ratio\":%.3f,\"rows\":%llu,\"table_bytes\":%llu",
            trainer_body_names[bench->config.network.body], batch, bench->config.workers, rate, rate * gflop,
            most, most * gflop, rate / most, (unsigned long long)trainer_table_rows(table),
            (unsigned long long)trainer_table_bytes(table));
    daemon_bench_end(out, bench->config.workers);
    return 0;
}

// One body with 1 and 2 workers, over `batches` [count].
static int model_bench_body(struct model_bench *bench, enum trainer_body body, const uint32_t *batches,
                            size_t count, FILE *out, struct base_error *error)
{
    model_configure(bench, body);
    bench->limit = daemon_bench_limit_new(&bench->config.network, error);
    int result = bench->limit ? 0 : -1;
    for (uint32_t workers = 1; workers <= MODEL_WORKERS_MAX && result == 0; workers++) {
        bench->config.workers = workers;
        bench->model = trainer_model_new(&bench->config, true, error);
        if (!bench->model) {
            result = -1;
            break;
        }
        model_fill(bench);
        for (size_t b = 0; b < count && result == 0; b++) {
            result = model_measure(bench, batches[b], out, error);
        }
        trainer_model_free(bench->model);
    }
    daemon_bench_limit_free(bench->limit);
    return result;
}

static int model_bench_end(struct model_bench *bench, int result, const struct base_error *error)
{
    if (result != 0) {
        fprintf(stderr, "bench train: %s\n", error->text);
    }
    model_drop_minibatches(bench);
    free(bench);
    return result == 0 ? 0 : 1;
}

int daemon_bench_train(FILE *out)
{
    static const uint32_t batches[] = {64, 256, MODEL_BATCH_MAX};
    struct model_bench *bench = base_alloc_zeroed(1, sizeof *bench);
    struct base_error error;
    bench->ids = MODEL_IDS;
    int result =
        model_bench_body(bench, TRAINER_BODY_PLE, batches, sizeof batches / sizeof *batches, out, &error);
    return model_bench_end(bench, result, &error);
}

bool daemon_bench_train_knows(const char *name)
{
    bool known = strcmp(name, "all") == 0;
    for (int body = 0; trainer_body_names[body]; body++) {
        known |= strcmp(name, trainer_body_names[body]) == 0;
    }
    return known;
}

int daemon_bench_train_body(const char *name, FILE *out)
{
    static const uint32_t batches[] = {64, 256};
    struct model_bench *bench = base_alloc_zeroed(1, sizeof *bench);
    struct base_error error;
    int result = 0;
    bench->ids = MODEL_IDS_BODIES;
    for (int body = 0; trainer_body_names[body] && result == 0; body++) {
        if (strcmp(name, "all") == 0 || strcmp(name, trainer_body_names[body]) == 0) {
            result = model_bench_body(bench, (enum trainer_body)body, batches,
                                      sizeof batches / sizeof *batches, out, &error);
        }
    }
    return model_bench_end(bench, result, &error);
}
