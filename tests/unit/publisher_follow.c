// A reader follows hundreds of publications while threads score: no score ever mixes two versions.
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/hash.h"
#include "base/random.h"
#include "publisher/reader.h"
#include "publisher_model.h"
#include "publisher_support.h"

enum {
    VERSIONS = 320,
    THREADS = 3,
    SCORERS = 2, // fewer than threads
    IMPRESSIONS = 6,
    ROWS = 60, // of each slot
    FULL_EVERY = 45,
};

// All weights of version v come from v alone, so that its scores are known and any mixture has others.
struct theatre {
    struct publisher_reader *reader;
    struct base_span columns[IMPRESSIONS];
    atomic_bool done;
    pthread_mutex_t mutex; // guards:
    float expected[VERSIONS + 1][IMPRESSIONS * MODEL_TASKS];
};

static float weight(uint64_t version, uint64_t i)
{
    return (float)(base_random_uniform(version, i) - 0.5) * 0.5f;
}

// Row r of a slot is in version v unless (v + r) % 5 == 0: it comes and goes.
static bool has_row(uint64_t version, uint64_t row)
{
    return (version + row) % 5 != 0;
}

static uint64_t row_key(const struct trainer_model_config *config, uint32_t slot, int64_t row)
{
    return base_hash_slot_integer(base_hash_slot_salt(config->features.slot[slot].row.name), row);
}

// Gives the model version v's weights and returns them as a snapshot.
static struct trainer_snapshot *version_snapshot(struct trainer_model *model, uint64_t v)
{
    const struct trainer_model_config *config = trainer_model_config(model);
    struct trainer_table *table = trainer_model_table(model);
    struct base_error error;
    uint32_t dense;
    size_t oov_size;
    size_t slab_size = trainer_network_size(trainer_model_network(model));
    float *slab = trainer_network_slab(trainer_model_network(model));
    float *oov = trainer_table_oov(table, &oov_size);
    const struct trainer_tensor *tensor = trainer_network_tensors(trainer_model_network(model), &dense);

    struct trainer_snapshot *snapshot = base_alloc_zeroed(1, sizeof *snapshot);
    snapshot->tick = (int64_t)v;
    snapshot->full = v % FULL_EVERY == 1;
    snapshot->slots = MODEL_SLOTS;
    snapshot->rows = base_alloc_zeroed(MODEL_SLOTS, sizeof *snapshot->rows);
    snapshot->tensors = dense + MODEL_SLOTS;
    snapshot->tensor = base_alloc_zeroed(snapshot->tensors, sizeof *snapshot->tensor);
    snapshot->dense_size = slab_size + oov_size;
    snapshot->dense = base_alloc_zeroed(snapshot->dense_size, sizeof *snapshot->dense);
    memcpy(snapshot->tensor, tensor, dense * sizeof *tensor);
    for (uint32_t s = 0; s < MODEL_SLOTS; s++) {
        struct trainer_tensor *row = &snapshot->tensor[dense + s];
        snprintf(row->name, sizeof row->name, "oov.%s", config->features.slot[s].row.name);
        row->rows = 1;
        row->columns = config->features.slot[s].row.dimension;
        row->offset = slab_size + trainer_table_oov_offset(table, (uint16_t)s);
    }
    for (uint32_t t = 0; t < snapshot->tensors; t++) {
        struct trainer_tensor *at = &snapshot->tensor[t];
        for (size_t i = 0; i < (size_t)at->rows * at->columns; i++) {
            snapshot->dense[at->offset + i] = weight(v, t * 1000000 + i);
        }
    }
    memcpy(slab, snapshot->dense, slab_size * sizeof *slab);
    memcpy(oov, snapshot->dense + slab_size, oov_size * sizeof *oov);

    for (uint32_t s = 0; s < MODEL_SLOTS; s++) {
        struct trainer_snapshot_rows *rows = &snapshot->rows[s];
        rows->dimension = config->features.slot[s].row.dimension;
        rows->keys = base_alloc(ROWS * sizeof *rows->keys);
        rows->tombstones = base_alloc(ROWS * sizeof *rows->tombstones);
        rows->vectors = base_alloc(ROWS * rows->dimension * sizeof *rows->vectors);
        for (int64_t r = 0; r < ROWS; r++) {
            uint64_t key = row_key(config, s, r);
            if (!has_row(v, (uint64_t)r)) {
                rows->tombstones[rows->removed++] = key;
                trainer_table_remove(table, (uint16_t)s, key);
                continue;
            }
            float *vector = rows->vectors + rows->count * rows->dimension;
            for (uint32_t j = 0; j < rows->dimension; j++) {
                vector[j] = weight(v, 100000000 + s * 1000000 + (uint64_t)r * 1000 + j);
            }
            rows->keys[rows->count++] = key;
            cr_assert_eq(trainer_table_set(table, (uint16_t)s, key, vector, &error), 0);
        }
        snapshot->rows_total += rows->count;
    }
    return snapshot;
}

static void *score_run(void *context)
{
    struct theatre *theatre = context;
    uint64_t last = 0;
    uint64_t scored = 0;
    while (!atomic_load(&theatre->done)) {
        float products[IMPRESSIONS * MODEL_TASKS];
        struct publisher_version version;
        struct base_error error;
        if (publisher_reader_score(theatre->reader, theatre->columns, IMPRESSIONS, NULL, products, &version,
                                   &error)) {
            cr_assert_eq(error.code, BASE_ENOTFOUND);
            continue;
        }
        pthread_mutex_lock(&theatre->mutex);
        bool same = memcmp(theatre->expected[version.number], products, sizeof products) == 0;
        pthread_mutex_unlock(&theatre->mutex);
        cr_assert(same, "a score that is not of version %d", (int)version.number);
        cr_assert_geq(version.number, last, "versions go back");
        last = version.number;
        scored++;
    }
    cr_assert_gt(scored, 10);
    return NULL;
}

static void *follow_run(void *context)
{
    struct theatre *theatre = context;
    uint64_t versions = 0;
    while (publisher_reader_version(theatre->reader).number < VERSIONS) {
        struct base_error error;
        bool changed = false;
        int failed = publisher_reader_follow(theatre->reader, 1000, &changed, &error);
        cr_assert(!failed || error.code == BASE_ENOTFOUND, "%s", error.text);
        versions += changed;
    }
    cr_assert_gt(versions, 5);
    atomic_store(&theatre->done, true);
    return NULL;
}

Test(publisher_follow, no_score_mixes_versions)
{
    static struct theatre theatre;
    static uint64_t rooms[IMPRESSIONS][MODEL_COLUMNS_SIZE / 8];
    struct base_error error;
    struct support_redis *redis = support_redis_start(NULL);
    char *descriptor = model_descriptor(0);
    struct publisher_config config = {
        .redis = support_config(support_redis_socket(redis)),
        .model = "test",
        .descriptor = descriptor,
        .garbage_ttl_s = SUPPORT_TTL,
        .base_ratio = 1000,
    };
    struct publisher_reader_config reader_config = {
        .redis = config.redis, .model = "test", .scorers = SCORERS};
    struct publisher *publisher = publisher_new(&config, &error);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0, "%s", error.text);
    theatre.reader = publisher_reader_new(&reader_config, &error);
    pthread_mutex_init(&theatre.mutex, NULL);
    for (uint64_t i = 0; i < IMPRESSIONS; i++) {
        theatre.columns[i] = model_columns(3, i, rooms[i]);
    }
    struct trainer_model *model = trainer_model_new(model_config(0), false, &error);
    cr_assert(model, "%s", error.text);

    pthread_t threads[THREADS + 1];
    pthread_create(&threads[THREADS], NULL, follow_run, &theatre);
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, score_run, &theatre);
    }
    for (uint64_t v = 1; v <= VERSIONS; v++) {
        struct trainer_snapshot *snapshot = version_snapshot(model, v);
        struct publisher_result result;
        float products[IMPRESSIONS * MODEL_TASKS];
        cr_assert_eq(trainer_model_predict(model, theatre.columns, IMPRESSIONS, NULL, products, &error), 0);
        pthread_mutex_lock(&theatre.mutex);
        memcpy(theatre.expected[v], products, sizeof products);
        pthread_mutex_unlock(&theatre.mutex);
        cr_assert(v == 1 || memcmp(theatre.expected[v - 1], products, sizeof products) != 0);
        cr_assert_eq(publisher_publish(publisher, snapshot, NULL, &result, &error), 0, "%s", error.text);
        cr_assert_eq(result.version.number, v);
        trainer_snapshot_free(snapshot);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    for (int i = 0; i <= THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    cr_assert_eq(publisher_reader_hash(theatre.reader), trainer_model_hash(model));
    support_check(support_redis_socket(redis));
    publisher_reader_free(theatre.reader);
    publisher_free(publisher);
    trainer_model_free(model);
    free(descriptor);
    support_redis_stop(redis);
}
