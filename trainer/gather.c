// The features of a minibatch. See gather.h.
//
// Occurrences lie slot after slot: those of slot s and sample i are begin[s * (batch + 1) + i] up to the next
// entry. For the update the occurrences of a slot are grouped by row with a small hash table, each group a
// chain in sample order; the sum of a chain is then applied at once.
#include "trainer/gather.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"

enum {
    GATHER_END = -1,
    GATHER_AHEAD = 8, // rows that are prefetched ahead of their update
};

struct gather_slot {
    uint32_t offset; // in x
    uint32_t dimension;
    bool mean;
    bool position;
    uint32_t bias; // position: which of them
    uint64_t salt;
    uint64_t *bucket_keys; // bucketised: [boundaries + 1] key of every bucket
    double squares;        // of the update's gradients
};

struct trainer_gather {
    const struct trainer_features_config *features;
    struct gather_slot *slot; // [slots]
    uint32_t batch, width;
    uint32_t numerics_offset; // in x
    uint32_t positions;
    uint32_t n;
    bool serving;              // what was read
    struct base_columns *view; // [batch]
    uint32_t *begin;           // [slots x (batch + 1)]
    uint32_t *column_keys;     // [categorical]: where a sample's keys of a column start
    float *x;                  // [batch x width]
    float *bias;               // [(1 + positions) x batch]: the sum, then each position's
    uint64_t cut;              // combinations of crosses that were left out
    // By occurrence, [capacity]:
    uint32_t occurrences, capacity;
    uint64_t *keys;
    uint16_t *slots;
    uint32_t *sample;
    trainer_row *rows;
    int64_t *next;     // the next occurrence of the same row; GATHER_END
    uint32_t *last;    // of a chain's first occurrence: its last one
    uint32_t *first;   // the first occurrences of the slot's rows, from the slot's first place on
    uint32_t *buckets; // [4 x capacity] hash tables of first occurrences + 1
    // Arguments of the tiles.
    struct trainer_table *table;
    const struct trainer_table *table_const;
    const float *dx;
    const float *dlogits; // of the bias, [n], `stride` apart
    uint32_t stride;
    const struct trainer_optimiser_step *steps; // [slots]
};

static uint32_t *gather_begin(const struct trainer_gather *gather, uint32_t slot)
{
    return &gather->begin[(size_t)slot * (gather->batch + 1)];
}

struct trainer_gather *trainer_gather_new(const struct trainer_features_config *features, uint32_t batch)
{
    struct trainer_gather *gather = base_alloc_zeroed(1, sizeof *gather);
    gather->features = features;
    gather->batch = batch;
    gather->width = trainer_features_width(features);
    gather->slot = base_alloc_zeroed(features->slots + 1, sizeof *gather->slot);
    for (uint32_t s = 0; s < features->slots; s++) {
        const struct trainer_slot_config *config = &features->slot[s];
        struct gather_slot *slot = &gather->slot[s];
        slot->dimension = config->row.dimension;
        slot->mean = config->pooling == TRAINER_POOLING_MEAN;
        slot->position = config->position;
        if (slot->position) {
            slot->bias = gather->positions++;
        } else {
            slot->offset = gather->numerics_offset;
            gather->numerics_offset += slot->dimension;
        }
        slot->salt = base_hash_slot_salt(config->row.name);
        if (config->bucketised) {
            slot->bucket_keys = base_alloc((config->boundaries + 1) * sizeof *slot->bucket_keys);
            for (uint32_t i = 0; i <= config->boundaries; i++) {
                slot->bucket_keys[i] = base_hash_slot_integer(slot->salt, i);
            }
        }
    }
    gather->view = base_alloc(batch * sizeof *gather->view);
    gather->begin = base_alloc_zeroed((size_t)(features->slots + 1) * (batch + 1), sizeof *gather->begin);
    gather->column_keys = base_alloc_zeroed(features->layout.categorical + 1, sizeof *gather->column_keys);
    gather->bias = base_alloc_zeroed((size_t)(1 + gather->positions) * batch, sizeof *gather->bias);
    gather->x = base_alloc_aligned((size_t)batch * gather->width * sizeof *gather->x);
    return gather;
}

void trainer_gather_free(struct trainer_gather *gather)
{
    if (!gather) {
        return;
    }
    for (uint32_t s = 0; s < gather->features->slots; s++) {
        free(gather->slot[s].bucket_keys);
    }
    free(gather->slot);
    free(gather->view);
    free(gather->begin);
    free(gather->column_keys);
    free(gather->x);
    free(gather->bias);
    free(gather->keys);
    free(gather->slots);
    free(gather->sample);
    free(gather->rows);
    free(gather->next);
    free(gather->last);
    free(gather->first);
    free(gather->buckets);
    free(gather);
}

// Room for `count` occurrences; bounded by batch x slots x BASE_COLUMN_KEYS_MAX.
static void gather_reserve(struct trainer_gather *gather, uint32_t count)
{
    if (count <= gather->capacity) {
        return;
    }
    uint32_t capacity = count < 1024 ? 1024 : count + count / 2;
    gather->capacity = capacity;
    gather->keys = base_realloc(gather->keys, capacity * sizeof *gather->keys);
    gather->slots = base_realloc(gather->slots, capacity * sizeof *gather->slots);
    gather->sample = base_realloc(gather->sample, capacity * sizeof *gather->sample);
    gather->rows = base_realloc(gather->rows, capacity * sizeof *gather->rows);
    gather->next = base_realloc(gather->next, capacity * sizeof *gather->next);
    gather->last = base_realloc(gather->last, capacity * sizeof *gather->last);
    gather->first = base_realloc(gather->first, capacity * sizeof *gather->first);
    gather->buckets = base_realloc(gather->buckets, 4 * (size_t)capacity * sizeof *gather->buckets);
}

// The number of keys that a sample has in a slot.
static uint32_t gather_keys(const struct trainer_slot_config *slot, const struct base_columns *view)
{
    if (slot->bucketised) {
        return isnan(view->numeric[slot->column]) ? 0u : 1u;
    }
    return view->count[slot->column];
}

// The number of combinations that a sample has in a cross; those beyond the bound are counted.
static uint32_t gather_combinations(struct trainer_gather *gather, const struct trainer_slot_config *cross,
                                    const struct base_columns *view)
{
    uint64_t combinations = 1; // at most 2^40
    for (uint32_t c = 0; c < cross->crossed; c++) {
        combinations *= gather_keys(&gather->features->slot[cross->cross[c]], view);
    }
    if (combinations > TRAINER_CROSS_KEYS_MAX) {
        gather->cut += combinations - TRAINER_CROSS_KEYS_MAX;
        return TRAINER_CROSS_KEYS_MAX;
    }
    return (uint32_t)combinations;
}

// The number of boundaries <= value.
static uint32_t gather_bucket(const struct trainer_slot_config *slot, double value)
{
    uint32_t low = 0, high = slot->boundaries;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (slot->boundary[middle] <= value) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void gather_number(struct trainer_gather *gather)
{
    const struct trainer_features_config *features = gather->features;
    uint32_t total = 0;
    for (uint32_t s = 0; s < features->slots; s++) {
        const struct trainer_slot_config *slot = &features->slot[s];
        uint32_t *begin = gather_begin(gather, s);
        for (uint32_t i = 0; i < gather->n; i++) {
            begin[i] = total;
            if (slot->position && gather->serving) {
                total += slot->serves;
            } else {
                total += slot->crossed ? gather_combinations(gather, slot, &gather->view[i])
                                       : gather_keys(slot, &gather->view[i]);
            }
        }
        begin[gather->n] = total;
    }
    gather_reserve(gather, total);
    gather->occurrences = total;
}

static void gather_copy_keys(struct trainer_gather *gather, uint32_t i)
{
    const struct trainer_features_config *features = gather->features;
    const struct base_columns *view = &gather->view[i];
    uint32_t total = 0;
    for (uint32_t c = 0; c < features->layout.categorical; c++) {
        gather->column_keys[c] = total;
        total += view->count[c];
    }
    for (uint32_t s = 0; s < features->slots; s++) {
        const struct trainer_slot_config *slot = &features->slot[s];
        const uint32_t *begin = gather_begin(gather, s);
        const uint64_t *keys;
        if (slot->crossed) {
            continue; // gather_cross, when the others are there
        }
        if (slot->position && gather->serving) {
            keys = &slot->serving;
        } else if (slot->bucketised) {
            keys = &gather->slot[s].bucket_keys[gather_bucket(slot, view->numeric[slot->column])];
        } else {
            keys = &view->keys[gather->column_keys[slot->column]];
        }
        for (uint32_t o = begin[i]; o < begin[i + 1]; o++) {
            gather->keys[o] = *keys++;
            gather->slots[o] = (uint16_t)s;
            gather->sample[o] = i;
        }
    }
}

// The keys of a cross of sample i: combinations of the keys that its slots have by now.
static void gather_cross(struct trainer_gather *gather, uint32_t s, uint32_t i)
{
    const struct trainer_slot_config *cross = &gather->features->slot[s];
    const uint32_t *begin = gather_begin(gather, s);
    uint32_t digit[TRAINER_CROSS_SLOTS_MAX] = {0}; // which key of each slot: counted up, the last first
    for (uint32_t o = begin[i]; o < begin[i + 1]; o++) {
        uint64_t keys[TRAINER_CROSS_SLOTS_MAX];
        for (uint32_t c = 0; c < cross->crossed; c++) {
            keys[c] = gather->keys[gather_begin(gather, cross->cross[c])[i] + digit[c]];
        }
        gather->keys[o] = base_hash_slot_keys(gather->slot[s].salt, keys, cross->crossed);
        gather->slots[o] = (uint16_t)s;
        gather->sample[o] = i;
        for (uint32_t c = cross->crossed; c-- > 0;) {
            const uint32_t *of = gather_begin(gather, cross->cross[c]);
            if (++digit[c] < of[i + 1] - of[i]) {
                break;
            }
            digit[c] = 0;
        }
    }
}

static void gather_crosses(struct trainer_gather *gather)
{
    for (uint32_t s = 0; s < gather->features->slots; s++) {
        for (uint32_t i = 0; gather->features->slot[s].crossed && i < gather->n; i++) {
            gather_cross(gather, s, i);
        }
    }
}

static int gather_read(struct trainer_gather *gather, const struct base_span *columns, uint32_t n,
                       bool serving, struct base_error *error)
{
    assert(n <= gather->batch);
    gather->n = 0;
    gather->serving = serving;
    gather->dlogits = NULL;
    gather->occurrences = 0;
    gather->cut = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!base_columns_view(columns[i], gather->features->layout, &gather->view[i])) {
            return base_error_set(error, BASE_EFORMAT,
                                  "columns of sample %u: %zu bytes do not fit the layout", i,
                                  columns[i].size);
        }
    }
    gather->n = n;
    gather_number(gather);
    for (uint32_t i = 0; i < n; i++) {
        gather_copy_keys(gather, i);
    }
    gather_crosses(gather);
    return 0;
}

int trainer_gather_read(struct trainer_gather *gather, const struct base_span *columns, uint32_t n,
                        struct base_error *error)
{
    return gather_read(gather, columns, n, false, error);
}

int trainer_gather_read_serving(struct trainer_gather *gather, const struct base_span *columns, uint32_t n,
                                struct base_error *error)
{
    return gather_read(gather, columns, n, true, error);
}

static void resolve_tile(void *context, uint32_t s)
{
    struct trainer_gather *gather = context;
    uint32_t from = gather_begin(gather, s)[0], to = gather_begin(gather, s)[gather->n];
    trainer_table_resolve_known(gather->table, gather->keys + from, gather->slots + from, to - from,
                                gather->rows + from);
}

void trainer_gather_resolve(struct trainer_gather *gather, struct trainer_table *table, int64_t now,
                            struct trainer_workers *workers)
{
    gather->table = table;
    trainer_table_advance(table, now);
    trainer_workers_run(workers, gather->features->slots, resolve_tile, gather);
    trainer_table_resolve_rest(table, gather->keys, gather->slots, gather->occurrences, gather->rows);
}

void trainer_gather_find(struct trainer_gather *gather, const struct trainer_table *table)
{
    trainer_table_find(table, gather->keys, gather->slots, gather->occurrences, gather->rows);
}

static float numeric_value(const struct trainer_numeric_config *numeric, double value)
{
    if (numeric->log1p) {
        value = copysign(log1p(fabs(value)), value);
    }
    float result = (float)((value - numeric->mean) / numeric->deviation);
    return isfinite(result) ? result : 0.0f;
}

static void pool_numerics(struct trainer_gather *gather)
{
    const struct trainer_features_config *features = gather->features;
    for (uint32_t i = 0; i < gather->n; i++) {
        float *out = &gather->x[(size_t)i * gather->width + gather->numerics_offset];
        for (uint32_t j = 0; j < features->numerics; j++) {
            out[j] =
                numeric_value(&features->numeric[j], gather->view[i].numeric[features->numeric[j].column]);
        }
    }
}

// A position's part of the bias.
static void pool_position(struct trainer_gather *gather, uint32_t s)
{
    const struct gather_slot *slot = &gather->slot[s];
    const uint32_t *begin = gather_begin(gather, s);
    float *out = &gather->bias[(size_t)(1 + slot->bias) * gather->batch];
    for (uint32_t i = 0; i < gather->n; i++) {
        out[i] = 0;
        for (uint32_t o = begin[i]; o < begin[i + 1]; o++) {
            out[i] += *trainer_table_vector_const(gather->table_const, (uint16_t)s, gather->rows[o]);
        }
        if (slot->mean && begin[i + 1] - begin[i] > 1) {
            out[i] *= 1.0f / (float)(begin[i + 1] - begin[i]);
        }
    }
}

static void pool_bias(struct trainer_gather *gather)
{
    memset(gather->bias, 0, gather->n * sizeof *gather->bias);
    for (uint32_t p = 1; p <= gather->positions; p++) {
        for (uint32_t i = 0; i < gather->n; i++) {
            gather->bias[i] += gather->bias[(size_t)p * gather->batch + i];
        }
    }
}

// Tile `s` < slots: the slot's columns of x, or its part of the bias; the last tile: the numeric inputs.
static void pool_tile(void *context, uint32_t s)
{
    struct trainer_gather *gather = context;
    if (s == gather->features->slots) {
        pool_numerics(gather);
        return;
    }
    const struct gather_slot *slot = &gather->slot[s];
    if (slot->position) {
        pool_position(gather, s);
        return;
    }
    const uint32_t *begin = gather_begin(gather, s);
    uint32_t dimension = slot->dimension;
    for (uint32_t i = 0; i < gather->n; i++) {
        float *restrict out = &gather->x[(size_t)i * gather->width + slot->offset];
        uint32_t o = begin[i], end = begin[i + 1];
        if (o == end) {
            memset(out, 0, dimension * sizeof *out);
            continue;
        }
        memcpy(out, trainer_table_vector_const(gather->table_const, (uint16_t)s, gather->rows[o]),
               dimension * sizeof *out);
        while (++o < end) {
            const float *vector =
                trainer_table_vector_const(gather->table_const, (uint16_t)s, gather->rows[o]);
            for (uint32_t j = 0; j < dimension; j++) {
                out[j] += vector[j];
            }
        }
        if (slot->mean && end - begin[i] > 1) {
            float share = 1.0f / (float)(end - begin[i]);
            for (uint32_t j = 0; j < dimension; j++) {
                out[j] *= share;
            }
        }
    }
}

const float *trainer_gather_pool(struct trainer_gather *gather, const struct trainer_table *table,
                                 struct trainer_workers *workers)
{
    gather->table_const = table;
    trainer_workers_run(workers, gather->features->slots + 1, pool_tile, gather);
    pool_bias(gather);
    return gather->x;
}

const float *trainer_gather_bias(const struct trainer_gather *gather)
{
    return gather->positions ? gather->bias : NULL;
}

void trainer_gather_bias_gradient(struct trainer_gather *gather, const float *dlogits, uint32_t stride)
{
    gather->dlogits = dlogits;
    gather->stride = stride;
}

// Chains the occurrences from..to of a slot by row; returns the number of chains, whose first occurrences are
// then in first[from ...] in the order of their first samples.
static uint32_t scatter_group(struct trainer_gather *gather, uint32_t from, uint32_t to)
{
    uint32_t bits = 1;
    while (1u << bits < 2 * (to - from)) {
        bits++;
    }
    uint32_t *buckets = &gather->buckets[4 * (size_t)from]; // 1 << bits < 4 * (to - from)
    memset(buckets, 0, sizeof *buckets << bits);
    uint32_t mask = (1u << bits) - 1;
    uint32_t groups = 0;
    for (uint32_t o = from; o < to; o++) {
        trainer_row row = gather->rows[o];
        uint32_t b = (row * 2654435769u) >> (32 - bits);
        while (buckets[b] && gather->rows[buckets[b] - 1] != row) {
            b = (b + 1) & mask;
        }
        gather->next[o] = GATHER_END;
        if (buckets[b]) {
            uint32_t head = buckets[b] - 1;
            gather->next[gather->last[head]] = o;
            gather->last[head] = o;
        } else {
            buckets[b] = o + 1;
            gather->last[o] = o;
            gather->first[from + groups++] = o;
        }
    }
    return groups;
}

// Adds the gradients of a chain into `sum`; returns how many they are.
static uint32_t scatter_sum(const struct trainer_gather *gather, uint32_t s, uint32_t head,
                            float *restrict sum)
{
    const struct gather_slot *slot = &gather->slot[s];
    const uint32_t *begin = gather_begin(gather, s);
    uint32_t count = 0;
    memset(sum, 0, slot->dimension * sizeof *sum);
    for (int64_t o = head; o != GATHER_END; o = gather->next[o], count++) {
        uint32_t i = gather->sample[o];
        const float *restrict gradient = &gather->dx[(size_t)i * gather->width + slot->offset];
        float share = slot->mean ? 1.0f / (float)(begin[i + 1] - begin[i]) : 1.0f;
        if (slot->position) {
            sum[0] += gather->dlogits[(size_t)i * gather->stride] * share;
            continue;
        }
        for (uint32_t j = 0; j < slot->dimension; j++) {
            sum[j] += gradient[j] * share;
        }
    }
    return count;
}

// scatter_group of all that a slot has.
static uint32_t scatter_group_slot(struct trainer_gather *gather, uint32_t s)
{
    const uint32_t *begin = gather_begin(gather, s);
    return begin[0] == begin[gather->n] ? 0 : scatter_group(gather, begin[0], begin[gather->n]);
}

static void scatter_tile(void *context, uint32_t s)
{
    struct trainer_gather *gather = context;
    uint32_t from = gather_begin(gather, s)[0], dimension = gather->slot[s].dimension;
    uint32_t groups = scatter_group_slot(gather, s);
    uint16_t slot = (uint16_t)s;
    float sum[TRAINER_DIMENSION_MAX];
    for (uint32_t g = 0; g < groups; g++) {
        uint32_t head = gather->first[from + g];
        if (g + GATHER_AHEAD < groups) {
            trainer_row ahead = gather->rows[gather->first[from + g + GATHER_AHEAD]];
            trainer_table_prefetch(gather->table, slot, ahead);
        }
        uint32_t count = scatter_sum(gather, s, head, sum);
        trainer_row row = gather->rows[head];
        trainer_optimiser_apply_row(&gather->steps[s], trainer_table_vector(gather->table, slot, row), sum,
                                    dimension, trainer_table_state(gather->table, slot, row), count);
        trainer_table_touch(gather->table, slot, row);
    }
}

void trainer_gather_scatter(struct trainer_gather *gather, struct trainer_table *table, const float *dx,
                            const struct trainer_optimiser_step *steps, struct trainer_workers *workers)
{
    gather->table = table;
    gather->dx = dx;
    gather->steps = steps;
    trainer_workers_run(workers, gather->features->slots, scatter_tile, gather);
}

static void squares_tile(void *context, uint32_t s)
{
    struct trainer_gather *gather = context;
    uint32_t from = gather_begin(gather, s)[0], groups = scatter_group_slot(gather, s);
    float sum[TRAINER_DIMENSION_MAX];
    double squares = 0;
    for (uint32_t g = 0; g < groups; g++) {
        scatter_sum(gather, s, gather->first[from + g], sum);
        squares += trainer_optimiser_squares(sum, gather->slot[s].dimension);
    }
    gather->slot[s].squares = squares;
}

double trainer_gather_squares(struct trainer_gather *gather, const float *dx, struct trainer_workers *workers)
{
    gather->dx = dx;
    trainer_workers_run(workers, gather->features->slots, squares_tile, gather);
    double squares = 0;
    for (uint32_t s = 0; s < gather->features->slots; s++) {
        squares += gather->slot[s].squares;
    }
    return squares;
}

uint32_t trainer_gather_occurrences(const struct trainer_gather *gather)
{
    return gather->occurrences;
}

uint64_t trainer_gather_cut(const struct trainer_gather *gather)
{
    return gather->cut;
}
