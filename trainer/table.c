// The embedding table: rows, admission, expiry. See table.h.
//
//   key --rowindex (a slot's own)--> row number --arena (a dimension's)--> meta, vector
//
// Each of the three is a cache miss in a large table, so that keys are resolved in blocks: all homes are
// prefetched, then, by the hash alone, all rows; then the block is worked off in order. What changed since
// the last publication is kept in changes.c, since the last cut in marks.c.
#include "trainer/table.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/random.h"
#include "trainer/table_private.h"

enum { TABLE_BLOCK = 64 };

static int table_check_optimiser(const char *name, const struct trainer_optimiser_config *optimiser,
                                 struct base_error *error)
{
    char what[128];
    snprintf(what, sizeof what, "slot %.100s", name);
    return trainer_optimiser_check(optimiser, true, what, error);
}

static int table_check(const struct trainer_table_config *config, struct base_error *error)
{
    if (config->slots > TRAINER_SLOTS_MAX) {
        return base_error_set(error, BASE_EINVAL, "%u slots; at most %d", config->slots, TRAINER_SLOTS_MAX);
    }
    if (config->rows_max < 1 || config->rows_max > TRAINER_ROWS_MAX) {
        return base_error_set(error, BASE_EINVAL, "rows_max %llu is not in 1..%d",
                              (unsigned long long)config->rows_max, TRAINER_ROWS_MAX);
    }
    for (uint32_t s = 0; s < config->slots; s++) {
        const struct trainer_table_slot_config *slot = &config->slot[s];
        if (slot->dimension < 4 || slot->dimension > TRAINER_DIMENSION_MAX || slot->dimension % 4) {
            return base_error_set(error, BASE_EINVAL, "slot %s: dimension %u is not a multiple of 4 in 4..%d",
                                  slot->name, slot->dimension, TRAINER_DIMENSION_MAX);
        }
        if (slot->admission < 1) {
            return base_error_set(error, BASE_EINVAL, "slot %s: admission is 0; 1 admits at once",
                                  slot->name);
        }
        if (config->training && config->optimiser &&
            table_check_optimiser(slot->name, &config->optimiser[s], error)) {
            return -1;
        }
        if (slot->expiry_ms < 0 || slot->expiry_ms > INT64_C(1) << 53) {
            return base_error_set(error, BASE_EINVAL, "slot %s: expiry %lld ms is not in 0..2^53", slot->name,
                                  (long long)slot->expiry_ms);
        }
        for (uint32_t other = 0; other < s; other++) {
            if (strcmp(slot->name, config->slot[other].name) == 0) {
                return base_error_set(error, BASE_EINVAL, "two slots are named %s", slot->name);
            }
        }
    }
    return 0;
}

static struct trainer_arena *table_arena(struct trainer_table *table, uint32_t dimension, uint32_t words)
{
    for (uint32_t i = 0; i < table->arenas; i++) {
        if (table->arena[i].dimension == dimension && table->arena[i].words == words) {
            return &table->arena[i];
        }
    }
    trainer_arena_init(&table->arena[table->arenas], dimension, words);
    return &table->arena[table->arenas++];
}

// A vector of mean 0 and standard deviation 0.01 / sqrt(dimension): each number is the sum of four uniform
// 16-bit numbers, scaled. Near to a normal one, cheap, and exact on every machine, where logarithms are not.
static void table_draw(uint64_t random_key, float *vector, uint32_t dimension)
{
    const double variance = (65536.0 * 65536.0 - 1.0) / 12.0 * 4.0;
    const float scale = (float)(0.01 / sqrt(dimension * variance));
    for (uint32_t i = 0; i < dimension; i++) {
        uint64_t bits = base_random_bits(random_key, i);
        int32_t sum =
            (int32_t)((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
        vector[i] = (float)(sum - 2 * 65535) * scale;
    }
}

static void table_start_state(const struct table_slot *slot, const float *vector, float *state)
{
    if (slot->words) {
        trainer_optimiser_start_row(&slot->optimiser, vector, slot->dimension, state);
    }
}

static void table_slot_init(struct trainer_table *table, uint32_t s,
                            const struct trainer_table_config *config)
{
    struct table_slot *slot = &table->slot[s];
    const struct trainer_table_slot_config *from = &config->slot[s];
    if (config->training && config->optimiser) {
        slot->optimiser = config->optimiser[s];
        slot->words = trainer_optimiser_words(&slot->optimiser, from->dimension);
    }
    slot->arena = table_arena(table, from->dimension, slot->words);
    slot->dimension = from->dimension;
    slot->oov_state = table->oov_state_size;
    table->oov_state_size += slot->words;
    slot->oov = table->oov_size;
    table->oov_size += (from->dimension + 15u) / 16 * 16;
    trainer_rowindex_init(&slot->index);
    if (!config->training) {
        return;
    }
    slot->admission = from->admission;
    slot->expiry = from->expiry_ms;
    if (slot->admission > 1) {
        uint64_t share = config->rows_max / config->slots;
        trainer_candidates_init(&slot->candidates,
                                share < TRAINER_CANDIDATES_MAX ? share : TRAINER_CANDIDATES_MAX);
    }
    if (slot->expiry) {
        slot->granule = (slot->expiry + TABLE_EXPIRY_BUCKETS - 1) / TABLE_EXPIRY_BUCKETS;
        slot->expired = INT64_MIN;
        slot->ring = base_alloc(TABLE_EXPIRY_RING * sizeof *slot->ring);
        memset(slot->ring, 0xff, TABLE_EXPIRY_RING * sizeof *slot->ring); // TRAINER_ROW_NONE
    }
}

struct trainer_table *trainer_table_new(const struct trainer_table_config *config, struct base_error *error)
{
    if (table_check(config, error)) {
        return NULL;
    }
    struct trainer_table *table = base_alloc_zeroed(1, sizeof *table);
    table->slots = config->slots;
    table->slot = base_alloc_zeroed(config->slots + 1, sizeof *table->slot);
    table->row_key = base_random_key(config->seed, "embedding rows");
    table->rows_max = config->rows_max;
    table->training = config->training;
    table->now = INT64_MIN;
    table->generation = 1;
    for (uint32_t s = 0; s < config->slots; s++) {
        table_slot_init(table, s, config);
    }
    table->oov = base_alloc_aligned((table->oov_size + 16) * sizeof *table->oov);
    table->oov_state = base_alloc_aligned((table->oov_state_size + 16) * sizeof *table->oov_state);
    for (uint32_t s = 0; s < config->slots; s++) {
        uint64_t salt = base_hash_slot_salt(config->slot[s].name);
        uint64_t random_key = base_random_key(config->seed, "out-of-vocabulary rows") ^ salt;
        table_draw(random_key, table->oov + table->slot[s].oov, table->slot[s].dimension);
        table_start_state(&table->slot[s], table->oov + table->slot[s].oov,
                          table->oov_state + table->slot[s].oov_state);
    }
    return table;
}

void trainer_table_start_zero(struct trainer_table *table, uint16_t slot_number)
{
    assert(slot_number < table->slots && table->rows == 0);
    struct table_slot *slot = &table->slot[slot_number];
    float *oov = table->oov + slot->oov;
    slot->zero = true;
    memset(oov, 0, slot->dimension * sizeof *oov);
    table_start_state(slot, oov, table->oov_state + slot->oov_state);
}

void trainer_table_free(struct trainer_table *table)
{
    if (!table) {
        return;
    }
    for (uint32_t s = 0; s < table->slots; s++) {
        struct table_slot *slot = &table->slot[s];
        trainer_rowindex_free(&slot->index);
        trainer_candidates_free(&slot->candidates);
        table_list_free(&slot->changed);
        table_list_free(&slot->tombstones);
        table_list_free(&slot->flying);
        table_list_free(&slot->flying_tombstones);
        table_list_free(&slot->dropped);
        free(slot->ring);
    }
    for (uint32_t i = 0; i < table->arenas; i++) {
        trainer_arena_free(&table->arena[i]);
    }
    free(table->oov);
    free(table->oov_state);
    free(table->slot);
    free(table);
}

// A row for a key that has none; its vector and state are the caller's to fill.
static uint32_t table_add(struct trainer_table *table, struct table_slot *slot, uint64_t key, uint64_t hash)
{
    uint32_t row = trainer_arena_take(slot->arena);
    struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
    meta->key = key;
    meta->slot = (uint8_t)(slot - table->slot);
    trainer_rowindex_insert(&slot->index, hash, row);
    table->rows++;
    return row;
}

// An occurrence of a key without a row: counts it, and makes the row if it is admitted.
static trainer_row table_admit(struct trainer_table *table, struct table_slot *slot, uint64_t key,
                               uint64_t hash)
{
    trainer_row oov = TRAINER_ROW_OOV | (uint32_t)(slot - table->slot);
    uint64_t count = 1;
    struct trainer_candidate *candidate = NULL;
    if (slot->admission > 1) {
        uint32_t bucket = trainer_candidates_number(&slot->candidates, hash);
        if (slot->candidates.marks[bucket] != table->generation) {
            table_mark_bucket(table, slot, bucket);
        }
        candidate = trainer_candidates_count(&slot->candidates, hash, key, table->now, slot->expiry);
        count = candidate->count;
        if (count < slot->admission) {
            return oov;
        }
    }
    if (table->rows == table->rows_max) {
        table->refused++;
        return oov;
    }
    uint32_t row = table_add(table, slot, key, hash);
    table_mark(table, slot, row);
    struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
    meta->last_seen = table->now;
    meta->count = count < UINT32_MAX ? (uint32_t)count : UINT32_MAX;
    float *vector = trainer_arena_vector(slot->arena, row);
    if (candidate) {
        candidate->count = 0;
        memcpy(vector, table->oov + slot->oov, slot->dimension * sizeof *vector);
    } else if (slot->zero) {
        memset(vector, 0, slot->dimension * sizeof *vector);
    } else {
        table_draw(table->row_key ^ key, vector, slot->dimension);
    }
    table_start_state(slot, vector, vector + slot->dimension);
    if (slot->expiry) {
        if (slot->expired == INT64_MIN) {
            slot->expired = table_slot_bucket(slot, table->now) - 1;
        }
        table_slot_chain(slot, row);
    }
    table_changed(table, slot, row);
    return row;
}

// Brings the rows of a block of keys into the cache, and their hashes into `hashes`.
static void table_warm(const struct trainer_table *table, const uint64_t *keys, const uint16_t *slots,
                       size_t n, uint64_t *hashes)
{
    for (size_t i = 0; i < n; i++) {
        assert(slots[i] < table->slots);
        const struct trainer_rowindex *index = &table->slot[slots[i]].index;
        hashes[i] = trainer_rowindex_hash(keys[i]);
        __builtin_prefetch(&index->entries[trainer_rowindex_home(index, hashes[i])]);
    }
    for (size_t i = 0; i < n; i++) {
        const struct table_slot *slot = &table->slot[slots[i]];
        uint32_t row = trainer_rowindex_guess(&slot->index, hashes[i]);
        if (row != TRAINER_ROW_NONE) {
            trainer_table_prefetch(table, slots[i], row);
        } else if (slot->admission > 1) {
            __builtin_prefetch(trainer_candidates_bucket(&slot->candidates, hashes[i]), 1);
        }
    }
}

void trainer_table_advance(struct trainer_table *table, int64_t now)
{
    assert(table->training);
    table->now = now > table->now ? now : table->now;
}

static void table_seen(const struct trainer_table *table, struct trainer_meta *meta)
{
    meta->last_seen = table->now;
    meta->count += meta->count < UINT32_MAX;
}

// One block of trainer_table_resolve_known.
static void table_resolve_block(const struct trainer_table *table, const uint64_t *keys,
                                const uint16_t *slots, size_t n, trainer_row *rows)
{
    uint64_t hashes[TABLE_BLOCK];
    table_warm(table, keys, slots, n, hashes);
    for (size_t i = 0; i < n; i++) {
        const struct table_slot *slot = &table->slot[slots[i]];
        rows[i] = trainer_rowindex_find(&slot->index, slot->arena, hashes[i], keys[i]);
        if (rows[i] == TRAINER_ROW_NONE) {
            continue;
        }
        struct trainer_meta *meta = trainer_arena_meta(slot->arena, rows[i]);
        assert(meta->slot == slots[i]);
        if (meta->dirty == table->generation) {
            table_seen(table, meta);
        } else {
            rows[i] = TRAINER_ROW_NONE;
        }
    }
}

void trainer_table_resolve_known(struct trainer_table *table, const uint64_t *keys, const uint16_t *slots,
                                 size_t n, trainer_row *rows)
{
    for (size_t start = 0; start < n; start += TABLE_BLOCK) {
        size_t count = n - start < TABLE_BLOCK ? n - start : TABLE_BLOCK;
        table_resolve_block(table, keys + start, slots + start, count, rows + start);
    }
}

void trainer_table_resolve_rest(struct trainer_table *table, const uint64_t *keys, const uint16_t *slots,
                                size_t n, trainer_row *rows)
{
    for (size_t i = 0; i < n; i++) {
        if (rows[i] != TRAINER_ROW_NONE) {
            continue;
        }
        struct table_slot *slot = &table->slot[slots[i]];
        uint64_t hash = trainer_rowindex_hash(keys[i]);
        uint32_t row = trainer_rowindex_find(&slot->index, slot->arena, hash, keys[i]); // made meanwhile?
        if (row == TRAINER_ROW_NONE) {
            rows[i] = table_admit(table, slot, keys[i], hash);
            continue;
        }
        struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
        if (meta->dirty != table->generation) {
            table_mark(table, slot, row);
        }
        table_seen(table, meta);
        rows[i] = row;
    }
}

void trainer_table_resolve(struct trainer_table *table, const uint64_t *keys, const uint16_t *slots, size_t n,
                           int64_t now, trainer_row *rows)
{
    trainer_table_advance(table, now);
    for (size_t start = 0; start < n; start += TABLE_BLOCK) {
        size_t count = n - start < TABLE_BLOCK ? n - start : TABLE_BLOCK;
        table_resolve_block(table, keys + start, slots + start, count, rows + start);
        trainer_table_resolve_rest(table, keys + start, slots + start, count, rows + start);
    }
}

void trainer_table_find(const struct trainer_table *table, const uint64_t *keys, const uint16_t *slots,
                        size_t n, trainer_row *rows)
{
    for (size_t start = 0; start < n; start += TABLE_BLOCK) {
        uint64_t hashes[TABLE_BLOCK];
        size_t end = n - start < TABLE_BLOCK ? n : start + TABLE_BLOCK;
        table_warm(table, keys + start, slots + start, end - start, hashes);
        for (size_t i = start; i < end; i++) {
            const struct table_slot *slot = &table->slot[slots[i]];
            uint32_t row = trainer_rowindex_find(&slot->index, slot->arena, hashes[i - start], keys[i]);
            rows[i] = row == TRAINER_ROW_NONE ? TRAINER_ROW_OOV | slots[i] : row;
        }
    }
}

const float *trainer_table_vector_const(const struct trainer_table *table, uint16_t slot, trainer_row row)
{
    assert(slot < table->slots);
    if (row & TRAINER_ROW_OOV) {
        assert(row == (TRAINER_ROW_OOV | slot));
        return table->oov + table->slot[slot].oov;
    }
    return trainer_arena_vector(table->slot[slot].arena, row);
}

float *trainer_table_vector(struct trainer_table *table, uint16_t slot, trainer_row row)
{
    return (float *)trainer_table_vector_const(table, slot, row);
}

float *trainer_table_state(struct trainer_table *table, uint16_t slot, trainer_row row)
{
    assert(slot < table->slots);
    if (table->slot[slot].words == 0) {
        return NULL;
    }
    return row & TRAINER_ROW_OOV ? table->oov_state + table->slot[slot].oov_state
                                 : trainer_table_vector(table, slot, row) + table->slot[slot].dimension;
}

uint32_t trainer_table_words(const struct trainer_table *table, uint16_t slot)
{
    assert(slot < table->slots);
    return table->slot[slot].words;
}

void trainer_table_prefetch(const struct trainer_table *table, uint16_t slot, trainer_row row)
{
    const char *vector = (const char *)trainer_table_vector_const(table, slot, row);
    if (!(row & TRAINER_ROW_OOV)) {
        __builtin_prefetch(trainer_arena_meta(table->slot[slot].arena, row), 1);
    }
    for (size_t line = 0; line < trainer_arena_row_size(table->slot[slot].arena); line += 64) {
        __builtin_prefetch(vector + line, 1);
    }
}

static void table_drop(struct trainer_table *table, struct table_slot *slot, uint32_t row)
{
    uint64_t key = trainer_arena_meta(slot->arena, row)->key;
    if (table->training) {
        table_mark_dropped(table, slot, row);
    }
    trainer_rowindex_remove(&slot->index, trainer_rowindex_hash(key), row);
    trainer_arena_give(slot->arena, row);
    table->rows--;
    table_removed(table, slot, key);
}

// Empties the buckets up to `due`: a row seen again since it was chained moves on, the others go.
static void slot_expire(struct trainer_table *table, struct table_slot *slot, int64_t due)
{
    int64_t bucket = slot->expired + 1;
    if (due - bucket >= TABLE_EXPIRY_RING) {
        bucket = due - TABLE_EXPIRY_RING + 1; // every chain once
    }
    slot->expired = due;
    for (; bucket <= due; bucket++) {
        uint32_t *head = &slot->ring[(uint64_t)bucket % TABLE_EXPIRY_RING];
        uint32_t row = *head;
        *head = TRAINER_ROW_NONE;
        while (row != TRAINER_ROW_NONE) {
            struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
            uint32_t next = meta->next;
            if (table_slot_bucket(slot, meta->last_seen + slot->expiry) <= due) {
                table_drop(table, slot, row);
            } else {
                table_slot_chain(slot, row);
            }
            row = next;
        }
    }
}

void trainer_table_expire(struct trainer_table *table, int64_t now)
{
    assert(table->training);
    table->now = now > table->now ? now : table->now;
    for (uint32_t s = 0; s < table->slots; s++) {
        struct table_slot *slot = &table->slot[s];
        if (slot->expiry && slot->expired != INT64_MIN) {
            int64_t due = table_slot_bucket(slot, table->now) - 1;
            if (due > slot->expired) {
                slot_expire(table, slot, due);
            }
        }
    }
}

float *trainer_table_oov(struct trainer_table *table, size_t *size)
{
    *size = table->oov_size;
    return table->oov;
}

size_t trainer_table_oov_offset(const struct trainer_table *table, uint16_t slot)
{
    assert(slot < table->slots);
    return table->slot[slot].oov;
}

int trainer_table_set(struct trainer_table *table, uint16_t slot_number, uint64_t key, const float *vector,
                      struct base_error *error)
{
    assert(!table->training && slot_number < table->slots);
    struct table_slot *slot = &table->slot[slot_number];
    uint64_t hash = trainer_rowindex_hash(key);
    uint32_t row = trainer_rowindex_find(&slot->index, slot->arena, hash, key);
    if (row == TRAINER_ROW_NONE) {
        if (table->rows == table->rows_max) {
            return base_error_set(error, BASE_ELIMIT, "the table is full: %llu rows",
                                  (unsigned long long)table->rows_max);
        }
        row = table_add(table, slot, key, hash);
    }
    memcpy(trainer_arena_vector(slot->arena, row), vector, slot->dimension * sizeof *vector);
    return 0;
}

void trainer_table_remove(struct trainer_table *table, uint16_t slot_number, uint64_t key)
{
    assert(!table->training && slot_number < table->slots);
    struct table_slot *slot = &table->slot[slot_number];
    uint32_t row = table_slot_find(slot, key);
    if (row != TRAINER_ROW_NONE) {
        table_drop(table, slot, row);
    }
}

uint64_t trainer_table_rows(const struct trainer_table *table)
{
    return table->rows;
}

uint64_t trainer_table_slot_rows(const struct trainer_table *table, uint16_t slot)
{
    assert(slot < table->slots);
    return table->slot[slot].index.used;
}

uint64_t trainer_table_bytes(const struct trainer_table *table)
{
    uint64_t bytes = sizeof *table + (table->oov_size + table->oov_state_size) * sizeof *table->oov;
    for (uint32_t i = 0; i < table->arenas; i++) {
        bytes += trainer_arena_bytes(&table->arena[i]);
    }
    for (uint32_t s = 0; s < table->slots; s++) {
        const struct table_slot *slot = &table->slot[s];
        bytes += sizeof *slot + (sizeof *slot->index.entries << slot->index.bits);
        bytes += slot->ring ? TABLE_EXPIRY_RING * sizeof *slot->ring : 0;
        bytes += slot->candidates.bits ? sizeof *slot->candidates.entries << slot->candidates.bits : 0;
        bytes += trainer_candidates_buckets(&slot->candidates);
        bytes +=
            sizeof(uint64_t) * (slot->changed.capacity + slot->tombstones.capacity + slot->flying.capacity +
                                slot->flying_tombstones.capacity + slot->dropped.capacity);
    }
    return bytes;
}

uint64_t trainer_table_refused(const struct trainer_table *table)
{
    return table->refused;
}

uint64_t trainer_table_hash(const struct trainer_table *table)
{
    uint64_t sum = XXH3_64bits(table->oov, table->oov_size * sizeof *table->oov);
    for (uint32_t i = 0; i < table->arenas; i++) {
        const struct trainer_arena *arena = &table->arena[i];
        for (uint32_t row = 0; row < arena->rows; row++) {
            const struct trainer_meta *meta = trainer_arena_meta(arena, row);
            if (meta->used) {
                // Key and slot enter by the seed: a bijection of the key, then the slot on top.
                uint64_t seed = trainer_rowindex_hash(meta->key) + meta->slot;
                sum += XXH3_64bits_withSeed(trainer_arena_vector(arena, row),
                                            arena->dimension * sizeof(float), seed);
            }
        }
    }
    return sum;
}
