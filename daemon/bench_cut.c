// The benchmark of the cut's trainer half: the reference model over 10 million rows of dimension 16 is cut
// again and again while it trains; then all of it is written, read back and compared.
//   begin    how long the trainer stands still, after few changes and after every row has changed
//   copy     what a row's copying costs; its limit is a memcpy of the same bytes, all of them in a row
//   restore  from an array in memory; its limit is a memcpy of the same bytes into fresh memory
//   restart  from the database on disk, opening included; its limit is the restore from memory
//   cost     of cuts into the database while training runs at full speed: all processor time but training's
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/random.h"
#include "daemon/bench.h"
#include "daemon/bench_machine.h"
#include "daemon/scratch.h"
#include "daemon/store.h"
#include "trainer/arena.h"
#include "trainer/cut.h"

enum {
    CUT_SLOTS = 20,
    CUT_DIMENSION = 16,
    CUT_IDS = 500000, // a slot
    CUT_ROWS = CUT_SLOTS * CUT_IDS,
    CUT_BATCH = 256,
    CUT_MINIBATCHES = 2048, // made beforehand, taken in turn
    CUT_CUTS = 60,          // of them every CUT_WHOLE-th after every row has changed
    CUT_WHOLE = 20,
    CUT_BETWEEN = 10,            // minibatches between two cuts
    CUT_PORTION = 4096,          // rows that are copied after a minibatch
    CUT_BLOCK = 1000,            // keys of one call
    CUT_WORKERS_MAX = 2,         // of restoring
    CUT_BATCH_BYTES = 128 << 20, // of a write batch, and dirty before a cut
    CUT_COST_SECONDS = 60,
    CUT_COST_INTERVAL = 30, // seconds between two cuts, if no more is dirty sooner
    CUT_COST_BEHIND = 2,    // as daemon/cutter.c
};
#define CUT_COST_SHARE 0.05

struct cut_bench {
    struct trainer_slot_config slot[CUT_SLOTS];
    char names[CUT_SLOTS][8];
    uint64_t salt[CUT_SLOTS];
    struct trainer_model_config config;
    struct trainer_model *model;
    struct base_minibatch *minibatches[CUT_MINIBATCHES];
    double restored[CUT_WORKERS_MAX + 1]; // seconds, from memory, by workers
    uint32_t next;                        // minibatch
    double begin[CUT_CUTS], begin_cpu[CUT_CUTS];
    double copied, portion_most; // seconds of copying in the trainer's thread, all and the longest portion
    uint64_t rows, forced;
    double trained; // seconds of steps while a cut was in progress
    uint32_t steps;
};

static void cut_configure(struct cut_bench *bench)
{
    for (uint32_t s = 0; s < CUT_SLOTS; s++) {
        snprintf(bench->names[s], sizeof bench->names[s], "slot%u", s);
        bench->salt[s] = base_hash_slot_salt(bench->names[s]);
        bench->slot[s] =
            (struct trainer_slot_config){.row = {bench->names[s], CUT_DIMENSION, 1, 0}, .column = s};
    }
    bench->config = (struct trainer_model_config){
        .features = {{CUT_SLOTS, 0}, CUT_SLOTS, bench->slot, 0, NULL},
        .network = {.levels = 2,
                    .level = {{{256, 128}, 2, 2, 2}, {{128}, 1, 2, 2}},
                    .tower_widths = {64},
                    .tower_layers = 1,
                    .batch = CUT_BATCH},
        .loss = {.tasks = 2, .stages = 2, .task_weight = {1, 1}, .keep_negatives = 1},
        .task_names = {"click", "purchase"},
        .update.dense.rate = 0.01,
        .update.sparse.rate = 0.01,
        .seed = 1,
        .rows_max = CUT_ROWS,
        .workers = 1,
    };
}

// Resolves every id of every slot: all rows are new, or seen again.
static void cut_see_all(struct cut_bench *bench)
{
    uint64_t keys[CUT_BLOCK];
    uint16_t slots[CUT_BLOCK];
    trainer_row rows[CUT_BLOCK];
    for (uint32_t s = 0; s < CUT_SLOTS; s++) {
        for (uint32_t id = 0; id < CUT_IDS; id += CUT_BLOCK) {
            for (uint32_t i = 0; i < CUT_BLOCK; i++) {
                keys[i] = base_hash_slot_integer(bench->salt[s], id + i);
                slots[i] = (uint16_t)s;
            }
            trainer_table_resolve(trainer_model_table(bench->model), keys, slots, CUT_BLOCK, 0, rows);
        }
    }
}

// One id a slot, of probability about 1 / rank.
static void cut_make_minibatches(struct cut_bench *bench)
{
    uint64_t key = base_random_key(2, "bench samples"), number = 0;
    for (uint32_t m = 0; m < CUT_MINIBATCHES; m++) {
        struct base_minibatch *minibatch = bench->minibatches[m] = base_minibatch_new(CUT_BATCH);
        base_minibatch_clear(minibatch, 0);
        for (uint32_t i = 0; i < CUT_BATCH; i++) {
            uint64_t bytes[2 * CUT_SLOTS];
            uint16_t *count = (uint16_t *)(void *)bytes;
            uint64_t *keys = bytes + CUT_SLOTS * sizeof *count / sizeof *bytes;
            for (uint32_t s = 0; s < CUT_SLOTS; s++) {
                uint32_t rank = (uint32_t)exp(base_random_uniform(key, number++) * log(CUT_IDS + 1.0)) - 1;
                count[s] = 1;
                keys[s] = base_hash_slot_integer(bench->salt[s], rank < CUT_IDS ? rank : CUT_IDS - 1);
            }
            bool click = i % 20 == 0;
            struct base_sample sample = {
                .kind = click ? BASE_C1 : BASE_N0,
                .mask = 3,
                .trains = 1,
                .label = {click, 0},
                .weight = {1, 1},
                .impression_id = base_span_string("impression"),
                .columns = base_span_make(bytes, CUT_SLOTS * (sizeof *count + sizeof *keys))};
            base_minibatch_add(minibatch, &sample);
        }
        base_minibatch_seal(minibatch);
    }
}

// Trains on one minibatch; returns the seconds, below 0 after an error.
static double cut_step(struct cut_bench *bench, struct base_error *error)
{
    struct trainer_step step;
    double begin = daemon_bench_cpu_seconds();
    if (trainer_model_step(bench->model, bench->minibatches[bench->next], &step, error)) {
        return -1;
    }
    bench->next = (bench->next + 1) % CUT_MINIBATCHES;
    return daemon_bench_cpu_seconds() - begin;
}

// Begins a cut and copies it while training goes on.
static struct trainer_cut *cut_take(struct cut_bench *bench, uint32_t c, struct base_error *error)
{
    double begin = daemon_bench_seconds(), cpu = daemon_bench_cpu_seconds();
    trainer_model_cut_begin(bench->model);
    bench->begin[c] = daemon_bench_seconds() - begin;
    bench->begin_cpu[c] = daemon_bench_cpu_seconds() - cpu;
    for (;;) {
        double step = cut_step(bench, error);
        if (step < 0) {
            return NULL;
        }
        bench->trained += step;
        bench->steps++;
        begin = daemon_bench_cpu_seconds();
        bool complete = trainer_model_cut_copy(bench->model, CUT_PORTION);
        double portion = daemon_bench_cpu_seconds() - begin;
        bench->copied += portion;
        bench->portion_most = fmax(bench->portion_most, portion);
        if (complete) {
            break;
        }
    }
    struct trainer_cut *cut = trainer_model_cut_take(bench->model);
    struct trainer_cut_figures figures = trainer_cut_figures(cut);
    bench->rows += figures.rows;
    bench->forced += figures.forced;
    return cut;
}

// Seconds of a memcpy of so many bytes, `step` at a time, into memory that was never touched or that was.
static double cut_copy_limit(uint64_t bytes, size_t step, bool fresh)
{
    char *from = trainer_arena_pages(bytes), *to = trainer_arena_pages(bytes);
    memset(from, 1, bytes);
    if (!fresh) {
        memset(to, 1, bytes);
    }
    double begin = daemon_bench_cpu_seconds();
    for (uint64_t at = 0; at + step <= bytes; at += step) {
        memcpy(to + at, from + at, step);
    }
    double seconds = daemon_bench_cpu_seconds() - begin;
    trainer_arena_pages_free(from, bytes);
    trainer_arena_pages_free(to, bytes);
    return seconds;
}

static int cut_measure(struct cut_bench *bench, FILE *out, struct base_error *error)
{
    double plain = 0;
    for (uint32_t c = 0; c < CUT_CUTS; c++) {
        for (uint32_t m = 0; m < CUT_BETWEEN; m++) {
            double step = cut_step(bench, error);
            if (step < 0) {
                return -1;
            }
            plain += step;
        }
        if (c % CUT_WHOLE == CUT_WHOLE - 1) {
            cut_see_all(bench);
        }
        struct trainer_cut *cut = cut_take(bench, c, error);
        if (!cut) {
            return -1;
        }
        trainer_cut_free(cut);
    }
    daemon_bench_sort(bench->begin, CUT_CUTS);
    daemon_bench_sort(bench->begin_cpu, CUT_CUTS);
    fprintf(out,
            "{\"bench\":\"cut\",\"what\":\"begin\",\"rows\":%d,\"cuts\":%d,\"whole\":%d,"
            "\"standstill_ms_p50\":%.3f,\"standstill_ms_p99\":%.3f,\"standstill_ms_max\":%.3f,"
            "\"standstill_cpu_ms_max\":%.3f,"
            "\"portion_cpu_ms_max\":%.3f",
            CUT_ROWS, CUT_CUTS, CUT_CUTS / CUT_WHOLE, 1e3 * bench->begin[CUT_CUTS / 2],
            1e3 * bench->begin[CUT_CUTS * 99 / 100], 1e3 * bench->begin[CUT_CUTS - 1],
            1e3 * bench->begin_cpu[CUT_CUTS - 1], 1e3 * bench->portion_most);
    daemon_bench_end(out, 1);
    size_t size = CUT_DIMENSION * sizeof(float) + sizeof(struct trainer_meta);
    double limit = cut_copy_limit(CUT_ROWS * size, size, false) / CUT_ROWS;
    double row = bench->copied / (double)(bench->rows - bench->forced);
    fprintf(out,
            "{\"bench\":\"cut\",\"what\":\"copy\",\"rows\":%llu,\"forced\":%llu,\"ns_a_row\":%.1f,"
            "\"limit_ns_a_row\":%.1f,\"ratio\":%.3f,\"step_ms\":%.3f,\"step_ms_while_copying\":%.3f,"
            "\"portion_ms\":%.3f",
            (unsigned long long)bench->rows, (unsigned long long)bench->forced, 1e9 * row, 1e9 * limit,
            limit / row, 1e3 * plain / (CUT_CUTS * CUT_BETWEEN), 1e3 * bench->trained / bench->steps,
            1e3 * bench->copied / bench->steps);
    daemon_bench_end(out, 1);
    return 0;
}

// ---- restoring ----

struct cut_entry {
    uint64_t at; // of key, value
    uint32_t key, value;
};

struct cut_array {
    struct base_buffer bytes;
    struct cut_entry *entries;
    size_t count, capacity;
};

static void array_put(void *context, struct base_span key, struct base_span value)
{
    struct cut_array *array = context;
    if (array->count == array->capacity) {
        array->capacity = array->capacity ? 2 * array->capacity : 1 << 20;
        array->entries = base_realloc(array->entries, array->capacity * sizeof *array->entries);
    }
    array->entries[array->count++] =
        (struct cut_entry){array->bytes.size, (uint32_t)key.size, (uint32_t)value.size};
    base_buffer_append(&array->bytes, key.data, key.size);
    base_buffer_append(&array->bytes, value.data, value.size);
}

static void array_remove(void *context, struct base_span key)
{
    (void)context; // a first cut removes what is not there
    (void)key;
}

static struct base_span array_key(const struct cut_array *array, size_t i)
{
    return base_span_make(array->bytes.data + array->entries[i].at, array->entries[i].key);
}

static int key_compare(struct base_span a, struct base_span b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int array_compare(const void *left, const void *right, void *context)
{
    const struct cut_entry *a = left, *b = right;
    const uint8_t *bytes = ((const struct cut_array *)context)->bytes.data;
    return key_compare(base_span_make(bytes + a->at, a->key), base_span_make(bytes + b->at, b->key));
}

static int array_scan(void *context, struct base_span prefix, trainer_cut_each *each, void *each_context,
                      struct base_error *error)
{
    const struct cut_array *array = context;
    size_t from = 0, to = array->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (key_compare(array_key(array, middle), prefix) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    int result = 0;
    for (size_t i = from; i < array->count && result == 0; i++) {
        struct base_span key = array_key(array, i);
        if (key.size < prefix.size || memcmp(key.data, prefix.data, prefix.size) != 0) {
            break;
        }
        result = each(each_context, key, base_span_make(key.data + key.size, array->entries[i].value), error);
    }
    return result;
}

// The array as a database hands it out: entries lie as they sort.
static void array_sort(struct cut_array *array)
{
    qsort_r(array->entries, array->count, sizeof *array->entries, array_compare, array);
    struct base_buffer sorted = {0};
    base_buffer_reserve(&sorted, array->bytes.size);
    for (size_t i = 0; i < array->count; i++) {
        struct cut_entry *entry = &array->entries[i];
        uint64_t at = sorted.size;
        base_buffer_append(&sorted, array->bytes.data + entry->at, (size_t)entry->key + entry->value);
        entry->at = at;
    }
    base_buffer_free(&array->bytes);
    array->bytes = sorted;
}

// Restores with a number of workers; the result must be the model whose hash it was.
static int cut_restore(struct cut_bench *bench, struct cut_array *array, uint32_t workers, uint64_t hash,
                       FILE *out, struct base_error *error)
{
    const struct trainer_cut_source source = {array_scan, array, true};
    bench->config.workers = workers;
    struct trainer_model *model = trainer_model_new(&bench->config, true, error);
    if (!model) {
        return -1;
    }
    double begin = daemon_bench_seconds(), cpu = daemon_bench_cpu_seconds();
    int result = trainer_model_restore(model, &source, error);
    double seconds = daemon_bench_seconds() - begin;
    cpu = daemon_bench_cpu_seconds() - cpu; // of this thread, which is all of it with one worker
    if (result == 0 && trainer_model_hash(model) != hash) {
        result = base_error_set(error, BASE_EINVAL, "the restored model differs");
    }
    trainer_model_free(model);
    bench->restored[workers] = seconds;
    if (result == 0) {
        double limit = cut_copy_limit(array->bytes.size, 4096, true);
        fprintf(out,
                "{\"bench\":\"cut\",\"what\":\"restore\",\"rows\":%d,\"bytes\":%zu,\"workers\":%u,"
                "\"seconds\":%.3f,\"cpu_seconds\":%.3f,"
                "\"us_a_row\":%.3f,\"limit_seconds\":%.3f,\"ratio\":%.3f",
                CUT_ROWS, array->bytes.size, workers, seconds, cpu, 1e6 * seconds / CUT_ROWS, limit,
                limit / seconds);
        daemon_bench_end(out, workers);
    }
    return result;
}

// ---- the database ----

static void batch_put(void *context, struct base_span key, struct base_span value)
{
    daemon_store_batch_put(context, key, value);
}

static void batch_remove(void *context, struct base_span key)
{
    daemon_store_batch_remove(context, key);
}

static int store_scan(void *context, struct base_span prefix, trainer_cut_each *each, void *each_context,
                      struct base_error *error)
{
    return daemon_store_scan(context, prefix, each, each_context, error);
}

static int cut_fill_database(const char *path, const struct cut_array *array, struct base_error *error)
{
    struct daemon_store *store = daemon_store_open(path, true, false, error);
    if (!store) {
        return -1;
    }
    struct daemon_store_batch *batch = daemon_store_batch_new();
    int result = 0;
    for (size_t i = 0; i < array->count && result == 0; i++) {
        struct base_span key = array_key(array, i);
        daemon_store_batch_put(batch, key, base_span_make(key.data + key.size, array->entries[i].value));
        if (daemon_store_batch_bytes(batch) >= CUT_BATCH_BYTES || i + 1 == array->count) {
            result = daemon_store_write(store, batch, error);
            daemon_store_batch_clear(batch);
        }
    }
    daemon_store_batch_free(batch);
    daemon_store_close(store);
    return result;
}

// Opens the database, which stays open in *store, and restores bench->model from it, as a restart does.
static int cut_restart(struct cut_bench *bench, const char *path, uint64_t hash, uint32_t workers,
                       struct daemon_store **store, FILE *out, struct base_error *error)
{
    double begin = daemon_bench_seconds();
    *store = daemon_store_open(path, false, false, error);
    if (!*store) {
        return -1;
    }
    double opened = daemon_bench_seconds() - begin;
    bench->config.workers = workers;
    bench->model = trainer_model_new(&bench->config, true, error);
    const struct trainer_cut_source source = {store_scan, *store, true};
    if (!bench->model || trainer_model_restore(bench->model, &source, error)) {
        return -1;
    }
    double seconds = daemon_bench_seconds() - begin;
    if (trainer_model_hash(bench->model) != hash) {
        return base_error_set(error, BASE_EINVAL, "the model restored from the database differs");
    }
    fprintf(out,
            "{\"bench\":\"cut\",\"what\":\"restart\",\"rows\":%d,\"workers\":%u,\"open_seconds\":%.3f,"
            "\"seconds\":%.3f,\"us_a_row\":%.3f,\"limit_seconds\":%.3f,\"ratio\":%.3f",
            CUT_ROWS, workers, opened, seconds, 1e6 * seconds / CUT_ROWS, bench->restored[workers],
            bench->restored[workers] / seconds);
    daemon_bench_end(out, workers);
    return 0;
}

// One cut on its way into the database, on a thread of its own.
struct cut_writer {
    struct daemon_store *store;
    struct trainer_cut *cut;
    pthread_t thread;
    bool running;
    atomic_bool done;
    int result;
    double cpu;
    size_t bytes;
    struct base_error error;
};

static void *cut_write(void *context)
{
    struct cut_writer *writer = context;
    double begin = daemon_bench_cpu_seconds();
    struct daemon_store_batch *batch = daemon_store_batch_new();
    const struct trainer_cut_sink sink = {batch_put, batch_remove, batch};
    trainer_cut_write(writer->cut, &sink);
    writer->bytes = daemon_store_batch_bytes(batch);
    writer->result = daemon_store_write(writer->store, batch, &writer->error);
    daemon_store_batch_free(batch);
    trainer_cut_free(writer->cut);
    writer->cpu = daemon_bench_cpu_seconds() - begin;
    atomic_store(&writer->done, true);
    return NULL;
}

static double cut_process_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

struct cut_cost {
    uint32_t cuts, steps;
    double trained, standstill; // CPU seconds; seconds at most
    size_t bytes;
};

// Trains for CUT_COST_SECONDS, cutting as the daemon would.
static int cut_train(struct cut_bench *bench, struct cut_writer *writer, struct cut_cost *cost,
                     struct base_error *error)
{
    double start = daemon_bench_seconds(), begun = start, rest = 0;
    bool copying = false;
    while (daemon_bench_seconds() - start < CUT_COST_SECONDS || writer->running) {
        double step = cut_step(bench, error);
        if (step < 0) {
            return -1;
        }
        cost->trained += step;
        cost->steps++;
        double now = daemon_bench_seconds();
        bool due =
            now - begun >= CUT_COST_INTERVAL || trainer_model_dirty_bytes(bench->model) >= CUT_BATCH_BYTES;
        if (due && !copying && !writer->running && now - begun >= rest && now - start < CUT_COST_SECONDS) {
            begun = now;
            trainer_model_cut_begin(bench->model);
            cost->standstill = fmax(cost->standstill, daemon_bench_seconds() - now);
            copying = true;
        }
        if (copying && trainer_model_cut_copy(bench->model, CUT_PORTION)) {
            copying = false;
            *writer =
                (struct cut_writer){.store = writer->store, .cut = trainer_model_cut_take(bench->model)};
            writer->running = pthread_create(&writer->thread, NULL, cut_write, writer) == 0;
        }
        if (writer->running && atomic_load(&writer->done)) {
            pthread_join(writer->thread, NULL);
            writer->running = false;
            if (writer->result) {
                *error = writer->error;
                return -1;
            }
            cost->cuts++;
            cost->bytes += writer->bytes;
            rest = CUT_COST_BEHIND * writer->cpu / CUT_COST_SHARE;
        }
    }
    return 0;
}

static int cut_measure_cost(struct cut_bench *bench, struct daemon_store *store, FILE *out,
                            struct base_error *error)
{
    struct cut_writer writer = {.store = store};
    struct cut_cost cost = {0};
    double cpu = cut_process_seconds(), begin = daemon_bench_seconds();
    if (cut_train(bench, &writer, &cost, error)) {
        return -1;
    }
    double seconds = daemon_bench_seconds() - begin;
    cpu = cut_process_seconds() - cpu;
    fprintf(out,
            "{\"bench\":\"cut\",\"what\":\"cost\",\"rows\":%d,\"seconds\":%.1f,\"examples_per_s\":%.0f,"
            "\"cuts\":%u,\"bytes_a_cut\":%zu,\"standstill_ms_max\":%.3f,\"cpu_seconds\":%.2f,"
            "\"training_cpu_seconds\":%.2f,\"share\":%.4f",
            CUT_ROWS, seconds, cost.steps * (double)CUT_BATCH / seconds, cost.cuts,
            cost.cuts ? cost.bytes / cost.cuts : 0, 1e3 * cost.standstill, cpu, cost.trained,
            (cpu - cost.trained) / cpu);
    daemon_bench_end(out, 1);
    return 0;
}

static int cut_database(struct cut_bench *bench, const struct cut_array *array, uint64_t hash, FILE *out,
                        struct base_error *error)
{
    char directory[DAEMON_SCRATCH_MAX], path[DAEMON_SCRATCH_MAX + 8];
    struct daemon_store *store = NULL;
    struct base_error ignored;
    if (daemon_scratch_make("bench-cut", directory, error)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/db", directory);
    int result = cut_fill_database(path, array, error);
    for (uint32_t workers = CUT_WORKERS_MAX; workers >= 1 && result == 0;
         workers--) { // the last one trains on
        trainer_model_free(bench->model);
        bench->model = NULL;
        daemon_store_close(store);
        store = NULL;
        result = cut_restart(bench, path, hash, workers, &store, out, error);
    }
    if (result == 0) {
        bench->next = 0;
        result = cut_measure_cost(bench, store, out, error);
    }
    trainer_model_free(bench->model);
    bench->model = NULL;
    daemon_store_close(store);
    daemon_scratch_remove(directory, &ignored);
    return result;
}

// Everything is written by a model that was never cut: the first cut of `bench->model`.
static int cut_bench_run(struct cut_bench *bench, struct cut_array *array, FILE *out,
                         struct base_error *error)
{
    bench->model = trainer_model_new(&bench->config, true, error);
    if (!bench->model) {
        return -1;
    }
    cut_make_minibatches(bench);
    cut_see_all(bench);
    trainer_model_head(bench->model, 0, 0); // as if readers had it: changes are listed
    trainer_model_cut_begin(bench->model);
    trainer_model_cut_copy(bench->model, SIZE_MAX);
    uint64_t hash = trainer_model_hash(bench->model);
    struct trainer_cut *cut = trainer_model_cut_take(bench->model);
    const struct trainer_cut_sink sink = {array_put, array_remove, array};
    double begun = daemon_bench_cpu_seconds();
    trainer_cut_write(cut, &sink);
    double written = daemon_bench_cpu_seconds() - begun;
    trainer_cut_free(cut);
    fprintf(out, "{\"bench\":\"cut\",\"what\":\"write\",\"rows\":%d,\"bytes\":%zu,\"us_a_row\":%.3f",
            CUT_ROWS, array->bytes.size, 1e6 * written / CUT_ROWS);
    daemon_bench_end(out, 1);
    int result = cut_measure(bench, out, error);
    trainer_model_free(bench->model);
    bench->model = NULL;
    array_sort(array);
    for (uint32_t workers = 1; workers <= CUT_WORKERS_MAX && result == 0; workers++) {
        result = cut_restore(bench, array, workers, hash, out, error);
    }
    return result == 0 ? cut_database(bench, array, hash, out, error) : result;
}

int daemon_bench_cut(FILE *out)
{
    struct cut_bench *bench = base_alloc_zeroed(1, sizeof *bench);
    struct cut_array array = {0};
    struct base_error error;
    cut_configure(bench);
    int result = cut_bench_run(bench, &array, out, &error);
    if (result != 0) {
        fprintf(stderr, "bench cut: %s\n", error.text);
    }
    for (uint32_t m = 0; m < CUT_MINIBATCHES; m++) {
        base_minibatch_free(bench->minibatches[m]);
    }
    base_buffer_free(&array.bytes);
    free(array.entries);
    free(bench);
    return result == 0 ? 0 : 1;
}
