// The embedding table: against a naive twin that knows only content, and property by property.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer/snapshot.h"
#include "trainer/table.h"

enum { SLOTS = 4, KEYS = 80, TWIN_MAX = 512 };

static const struct trainer_table_slot_config slots_mixed[SLOTS] = {
    {"user", 16, 1, 500}, {"item", 8, 3, 2000}, {"shop", 16, 2, 0}, {"city", 4, 1, 7}};

static struct trainer_table *table_make(const struct trainer_table_slot_config *slots, uint32_t count,
                                        uint64_t rows_max, bool training)
{
    struct trainer_table_config config = {count, slots, 7, rows_max, training, NULL};
    struct base_error error;
    struct trainer_table *table = trainer_table_new(&config, &error);
    cr_assert_not_null(table, "%s", error.text);
    return table;
}

static trainer_row resolve_one(struct trainer_table *table, uint16_t slot, uint64_t key, int64_t now)
{
    trainer_row row;
    trainer_table_resolve(table, &key, &slot, 1, now, &row);
    return row;
}

static trainer_row find_one(const struct trainer_table *table, uint16_t slot, uint64_t key)
{
    trainer_row row;
    trainer_table_find(table, &key, &slot, 1, &row);
    return row;
}

// The twin: a flat list of rows, a flat list of counts, and sets of what changed and what went since the last
// settled snapshot, all by (slot, key).
struct twin_row {
    uint16_t slot;
    uint64_t key;
    int64_t last_seen;
    float vector[16];
};

struct twin {
    const struct trainer_table_slot_config *slot;
    struct twin_row rows[TWIN_MAX];
    size_t count;
    uint64_t rows_max, refused;
    uint64_t seen[SLOTS][KEYS];
    int64_t seen_at[SLOTS][KEYS];
};

static struct twin_row *twin_find(struct twin *twin, uint16_t slot, uint64_t key)
{
    for (size_t i = 0; i < twin->count; i++) {
        if (twin->rows[i].slot == slot && twin->rows[i].key == key) {
            return &twin->rows[i];
        }
    }
    return NULL;
}

// What a resolve does; *made says whether it made the row. NULL: out of vocabulary.
static struct twin_row *twin_resolve(struct twin *twin, uint16_t slot, uint64_t key, int64_t now, bool *made)
{
    struct twin_row *row = twin_find(twin, slot, key);
    *made = false;
    if (row) {
        row->last_seen = now;
        return row;
    }
    const struct trainer_table_slot_config *config = &twin->slot[slot];
    uint64_t *seen = &twin->seen[slot][key];
    if (config->expiry_ms && now - twin->seen_at[slot][key] > config->expiry_ms) {
        *seen = 0;
    }
    ++*seen;
    twin->seen_at[slot][key] = now;
    if (*seen < config->admission) {
        return NULL;
    }
    if (twin->count == twin->rows_max) {
        twin->refused++;
        return NULL;
    }
    *seen = 0;
    *made = true;
    twin->rows[twin->count] = (struct twin_row){slot, key, now, {0}};
    return &twin->rows[twin->count++];
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static void twin_expire(struct twin *twin, int64_t now)
{
    size_t kept = 0;
    for (size_t i = 0; i < twin->count; i++) {
        int64_t expiry = twin->slot[twin->rows[i].slot].expiry_ms;
        int64_t granule = expiry > 256 ? (expiry + 255) / 256 : 1;
        bool gone = expiry && now >= (floor_div(twin->rows[i].last_seen + expiry, granule) + 1) * granule;
        if (!gone) {
            twin->rows[kept++] = twin->rows[i];
        }
    }
    twin->count = kept;
}

static void twin_compare(struct twin *twin, const struct trainer_table *table)
{
    cr_assert_eq(trainer_table_rows(table), twin->count);
    cr_assert_eq(trainer_table_refused(table), twin->refused);
    for (uint16_t s = 0; s < SLOTS; s++) {
        uint64_t in_slot = 0;
        for (uint64_t key = 0; key < KEYS; key++) {
            trainer_row row = find_one(table, s, key);
            const struct twin_row *expected = twin_find(twin, s, key);
            cr_assert_eq(row != (TRAINER_ROW_OOV | s), expected != NULL, "slot %u key %lu", s,
                         (unsigned long)key);
            if (expected) {
                in_slot++;
                cr_assert(memcmp(trainer_table_vector_const(table, s, row), expected->vector,
                                 twin->slot[s].dimension * sizeof(float)) == 0);
            }
        }
        cr_assert_eq(trainer_table_slot_rows(table, s), in_slot);
    }
}

// A replica that a snapshot is applied to, as a reader does it.
static void replica_apply(struct trainer_table **replica, const struct trainer_snapshot_rows *rows, bool full)
{
    struct base_error error;
    if (full) {
        trainer_table_free(*replica);
        *replica = table_make(slots_mixed, SLOTS, 1 << 20, false);
    }
    for (uint16_t s = 0; s < SLOTS; s++) {
        for (size_t i = 0; i < rows[s].count; i++) {
            cr_assert(trainer_table_set(*replica, s, rows[s].keys[i], rows[s].vectors + i * rows[s].dimension,
                                        &error) == 0);
        }
        for (size_t i = 0; i < rows[s].removed; i++) {
            for (size_t j = 0; j < rows[s].count; j++) {
                cr_assert_neq(rows[s].tombstones[i], rows[s].keys[j]);
            }
            trainer_table_remove(*replica, s, rows[s].tombstones[i]);
        }
    }
}

static void rows_free(struct trainer_snapshot_rows *rows)
{
    for (uint16_t s = 0; s < SLOTS; s++) {
        free(rows[s].keys);
        free(rows[s].vectors);
        free(rows[s].tombstones);
    }
}

struct simulation {
    uint64_t key, counter;
    int64_t now;
    struct trainer_table *table, *replica;
    struct twin twin;
    struct trainer_snapshot_rows flying[SLOTS];
    bool in_flight, flying_full;
    uint64_t flying_hash;
    uint32_t published, failed, deltas, removed;
};

static uint64_t draw(struct simulation *simulation, uint64_t below)
{
    return base_random_bits(simulation->key, simulation->counter++) % below;
}

// In one go, or in three steps with one slot after the other, the last first.
static void simulate_resolve(struct simulation *simulation, const uint64_t *keys, const uint16_t *slots,
                             size_t n, trainer_row *rows)
{
    if (draw(simulation, 2)) {
        trainer_table_resolve(simulation->table, keys, slots, n, simulation->now, rows);
        return;
    }
    trainer_table_advance(simulation->table, simulation->now);
    for (uint32_t s = SLOTS; s-- > 0;) {
        for (size_t i = 0; i < n; i++) {
            if (slots[i] == s) {
                trainer_table_resolve_known(simulation->table, &keys[i], &slots[i], 1, &rows[i]);
            }
        }
    }
    trainer_table_resolve_rest(simulation->table, keys, slots, n, rows);
}

// A minibatch: resolves, then moves every row once, as the optimiser does.
static void simulate_minibatch(struct simulation *simulation)
{
    uint64_t keys[100];
    uint16_t slots[100];
    trainer_row rows[100];
    size_t n = 1 + draw(simulation, 100);
    for (size_t i = 0; i < n; i++) {
        slots[i] = (uint16_t)draw(simulation, SLOTS);
        keys[i] = draw(simulation, 1 + draw(simulation, KEYS));
    }
    simulate_resolve(simulation, keys, slots, n, rows);
    for (size_t i = 0; i < n; i++) {
        bool made;
        struct twin_row *expected =
            twin_resolve(&simulation->twin, slots[i], keys[i], simulation->now, &made);
        cr_assert_eq(rows[i] != (TRAINER_ROW_OOV | slots[i]), expected != NULL);
        if (!expected) {
            continue;
        }
        size_t size = slots_mixed[slots[i]].dimension * sizeof(float);
        float *vector = trainer_table_vector(simulation->table, slots[i], rows[i]);
        if (made) {
            memcpy(expected->vector, vector, size);
        }
        cr_assert(memcmp(vector, expected->vector, size) == 0);
    }
    for (size_t i = 0; i < n; i++) {
        if (rows[i] & TRAINER_ROW_OOV || draw(simulation, 3) == 0) {
            continue;
        }
        trainer_table_vector(simulation->table, slots[i], rows[i])[0] += 1;
        twin_find(&simulation->twin, slots[i], keys[i])->vector[0] += 1;
        trainer_table_touch(simulation->table, slots[i], rows[i]);
    }
}

static void simulate_publication(struct simulation *simulation)
{
    if (!simulation->in_flight) {
        bool full = draw(simulation, 8) == 0;
        simulation->flying_full = trainer_table_snapshot(simulation->table, full, simulation->flying);
        cr_assert(simulation->flying_full || !full);
        simulation->flying_hash = trainer_table_hash(simulation->table);
        simulation->in_flight = true;
        return;
    }
    bool published = draw(simulation, 2) == 0;
    trainer_table_settle(simulation->table, published);
    simulation->in_flight = false;
    if (published) {
        replica_apply(&simulation->replica, simulation->flying, simulation->flying_full);
        cr_assert_eq(trainer_table_hash(simulation->replica), simulation->flying_hash);
        simulation->published++;
        simulation->deltas += !simulation->flying_full;
        for (uint16_t s = 0; s < SLOTS; s++) {
            simulation->removed += (uint32_t)simulation->flying[s].removed;
        }
    } else {
        simulation->failed++;
    }
    rows_free(simulation->flying);
}

Test(trainer_table, agrees_with_its_twin_and_its_replica)
{
    uint32_t published = 0, failed = 0, deltas = 0, removed = 0;
    for (uint64_t seed = 0; seed < 12; seed++) {
        struct simulation *simulation = base_alloc_zeroed(1, sizeof *simulation);
        uint64_t rows_max = seed % 3 == 0 ? 60 : 1000;
        simulation->key = base_random_key(seed, "table simulation");
        simulation->now = seed % 2 ? -3000 : 1700000000000;
        simulation->table = table_make(slots_mixed, SLOTS, rows_max, true);
        simulation->twin.slot = slots_mixed;
        simulation->twin.rows_max = rows_max;
        for (int step = 0; step < 500; step++) {
            simulation->now += (int64_t)draw(simulation, draw(simulation, 20) == 0 ? 3000 : 12);
            simulate_minibatch(simulation);
            if (draw(simulation, 2) == 0) {
                trainer_table_expire(simulation->table, simulation->now);
                twin_expire(&simulation->twin, simulation->now);
            }
            if (draw(simulation, 3) == 0) {
                simulate_publication(simulation);
            }
            if (step % 20 == 0) {
                twin_compare(&simulation->twin, simulation->table);
            }
        }
        if (simulation->in_flight) {
            rows_free(simulation->flying);
        }
        published += simulation->published;
        failed += simulation->failed;
        deltas += simulation->deltas;
        removed += simulation->removed;
        trainer_table_free(simulation->table);
        trainer_table_free(simulation->replica);
        free(simulation);
    }
    cr_assert_gt(published, 100);
    cr_assert_gt(failed, 100);
    cr_assert_gt(deltas, 100);
    cr_assert_gt(removed, 100);
}

Test(trainer_table, survives_growth_and_deletion)
{
    const struct trainer_table_slot_config slot = {"user", 4, 1, 1000};
    struct trainer_table *table = table_make(&slot, 1, TRAINER_ROWS_MAX, true);
    // Keys in a row and far apart; every third is seen again before the rest goes.
    enum { COUNT = 300000 };
    for (uint64_t key = 0; key < COUNT; key++) {
        float *vector = trainer_table_vector(table, 0, resolve_one(table, 0, key << (key % 2 ? 40 : 0), 0));
        vector[0] = (float)key;
    }
    for (uint64_t key = 0; key < COUNT; key += 3) {
        resolve_one(table, 0, key << (key % 2 ? 40 : 0), 500);
    }
    cr_assert_eq(trainer_table_rows(table), COUNT);
    trainer_table_expire(table, 1004);
    cr_assert_eq(trainer_table_rows(table), COUNT / 3);
    for (uint64_t key = 0; key < COUNT; key++) {
        trainer_row row = find_one(table, 0, key << (key % 2 ? 40 : 0));
        cr_assert_eq(row != TRAINER_ROW_OOV, key % 3 == 0);
        if (key % 3 == 0) {
            cr_assert_eq(trainer_table_vector_const(table, 0, row)[0], (float)key);
        }
    }
    // Freed rows are used again.
    uint64_t bytes = trainer_table_bytes(table);
    for (uint64_t key = 0; key < COUNT / 2; key++) {
        resolve_one(table, 0, key * 0x9e3779b97f4a7c15u, 1004);
    }
    cr_assert_eq(trainer_table_bytes(table), bytes);
    trainer_table_free(table);
}

Test(trainer_table, addresses_are_stable)
{
    const struct trainer_table_slot_config slot = {"user", 16, 1, 0};
    struct trainer_table *table = table_make(&slot, 1, TRAINER_ROWS_MAX, true);
    trainer_row row = resolve_one(table, 0, 5, 0);
    const float *vector = trainer_table_vector(table, 0, row);
    cr_assert_eq((uintptr_t)vector % 64, 0);
    for (uint64_t key = 100; key < 100000; key++) {
        resolve_one(table, 0, key, 0);
    }
    cr_assert_eq(trainer_table_vector(table, 0, find_one(table, 0, 5)), vector);
    trainer_table_free(table);
}

Test(trainer_table, new_rows_follow_from_key_and_seed_alone)
{
    const struct trainer_table_slot_config slot = {"user", 16, 1, 0};
    struct trainer_table *one = table_make(&slot, 1, 100000, true);
    struct trainer_table *other = table_make(&slot, 1, 100000, true);
    double sum = 0, squares = 0;
    enum { COUNT = 20000 };
    for (uint64_t key = 0; key < COUNT; key++) {
        resolve_one(one, 0, key, 0);
        resolve_one(other, 0, COUNT - 1 - key, 0);
    }
    cr_assert_eq(trainer_table_hash(one), trainer_table_hash(other));
    for (uint64_t key = 0; key < COUNT; key++) {
        const float *vector = trainer_table_vector(one, 0, find_one(one, 0, key));
        const float *same = trainer_table_vector(other, 0, find_one(other, 0, key));
        cr_assert(memcmp(vector, same, 16 * sizeof *vector) == 0);
        for (int j = 0; j < 16; j++) {
            sum += (double)vector[j];
            squares += (double)vector[j] * (double)vector[j];
        }
    }
    double n = 16.0 * COUNT, deviation = sqrt(squares / n);
    cr_assert(fabs(sum / n) < 4 * 0.0025 / sqrt(n));
    cr_assert(fabs(deviation - 0.0025) < 0.0025 * 0.01, "%g", deviation);
    trainer_table_free(one);
    trainer_table_free(other);
}

Test(trainer_table, hash_sees_every_part_of_the_content)
{
    const struct trainer_table_slot_config slots[2] = {{"user", 4, 1, 0}, {"item", 4, 1, 0}};
    struct trainer_table *table = table_make(slots, 2, 100, false);
    struct base_error error;
    const float vector[4] = {1, 2, 3, 4};
    uint64_t hashes[6];
    hashes[0] = trainer_table_hash(table);
    trainer_table_set(table, 0, 5, vector, &error);
    hashes[1] = trainer_table_hash(table);
    trainer_table_remove(table, 0, 5);
    cr_assert_eq(trainer_table_hash(table), hashes[0]);
    trainer_table_set(table, 1, 5, vector, &error);
    hashes[2] = trainer_table_hash(table);
    trainer_table_remove(table, 1, 5);
    trainer_table_set(table, 0, 6, vector, &error);
    hashes[3] = trainer_table_hash(table);
    trainer_table_vector(table, 0, find_one(table, 0, 6))[3] = 5;
    hashes[4] = trainer_table_hash(table);
    size_t size;
    trainer_table_oov(table, &size)[trainer_table_oov_offset(table, 1)] += 1;
    hashes[5] = trainer_table_hash(table);
    for (int i = 0; i < 6; i++) {
        for (int j = 0; j < i; j++) {
            cr_assert_neq(hashes[i], hashes[j], "%d %d", i, j);
        }
    }
    trainer_table_free(table);
}

Test(trainer_table, admitted_rows_copy_the_oov_row_of_that_moment)
{
    const struct trainer_table_slot_config slot = {"user", 8, 3, 100};
    struct trainer_table *table = table_make(&slot, 1, 100, true);
    size_t size;
    float *oov = trainer_table_oov(table, &size);
    cr_assert_eq(resolve_one(table, 0, 5, 0), TRAINER_ROW_OOV);
    cr_assert_eq(resolve_one(table, 0, 5, 0), TRAINER_ROW_OOV);
    // Beyond the expiry the count starts again.
    cr_assert_eq(resolve_one(table, 0, 5, 101), TRAINER_ROW_OOV);
    cr_assert_eq(resolve_one(table, 0, 5, 201), TRAINER_ROW_OOV);
    oov[0] = 42;
    trainer_row row = resolve_one(table, 0, 5, 301);
    cr_assert_neq(row, TRAINER_ROW_OOV);
    cr_assert(memcmp(trainer_table_vector(table, 0, row), oov, 8 * sizeof *oov) == 0);
    oov[0] = 43;
    cr_assert_eq(trainer_table_vector(table, 0, row)[0], 42.0f);
    cr_assert_eq(trainer_table_vector(table, 0, TRAINER_ROW_OOV), oov);
    trainer_table_free(table);
}

// However many keys go by, counting takes no more memory, and a frequent key is admitted all the same.
Test(trainer_table, candidates_are_bounded)
{
    const struct trainer_table_slot_config slot = {"user", 4, 4, 0};
    struct trainer_table *table = table_make(&slot, 1, 2000, true);
    uint64_t bytes = trainer_table_bytes(table), counter = 1000, admitted_at = 0;
    for (uint64_t round = 0; round < 50; round++) {
        for (int i = 0; i < 500; i++) {
            cr_assert_eq(resolve_one(table, 0, counter++, (int64_t)round), TRAINER_ROW_OOV);
        }
        if (resolve_one(table, 0, 7, (int64_t)round) != TRAINER_ROW_OOV && !admitted_at) {
            admitted_at = round + 1;
        }
    }
    cr_assert_eq(admitted_at, 4);
    cr_assert_eq(trainer_table_rows(table), 1);
    cr_assert_leq(trainer_table_bytes(table), bytes + (8 << 20)); // the first chunk of rows
    trainer_table_free(table);
}

Test(trainer_table, rows_max_refuses_and_counts)
{
    const struct trainer_table_slot_config slot = {"user", 4, 1, 10};
    struct trainer_table *table = table_make(&slot, 1, 2, true);
    cr_assert_neq(resolve_one(table, 0, 1, 0), TRAINER_ROW_OOV);
    cr_assert_neq(resolve_one(table, 0, 2, 5), TRAINER_ROW_OOV);
    cr_assert_eq(resolve_one(table, 0, 3, 5), TRAINER_ROW_OOV);
    cr_assert_eq(trainer_table_refused(table), 1);
    trainer_table_expire(table, 11);
    cr_assert_eq(find_one(table, 0, 1), TRAINER_ROW_OOV);
    cr_assert_neq(resolve_one(table, 0, 3, 12), TRAINER_ROW_OOV);
    trainer_table_free(table);
    struct base_error error = {0};
    table = table_make(&slot, 1, 1, false);
    const float vector[4] = {0};
    cr_assert_eq(trainer_table_set(table, 0, 1, vector, &error), 0);
    cr_assert_eq(trainer_table_set(table, 0, 1, vector, &error), 0);
    cr_assert_eq(trainer_table_set(table, 0, 2, vector, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
    trainer_table_remove(table, 0, 9);
    cr_assert_eq(trainer_table_rows(table), 1);
    trainer_table_free(table);
}

// Tombstones of a snapshot that was not published come again; a key that has a row again has none.
Test(trainer_table, tombstones_survive_a_failed_publication)
{
    const struct trainer_table_slot_config slots[SLOTS] = {
        {"a", 4, 1, 10}, {"b", 4, 1, 0}, {"c", 4, 1, 0}, {"d", 4, 1, 0}};
    struct trainer_table *table = table_make(slots, SLOTS, 100, true);
    struct trainer_snapshot_rows rows[SLOTS];
    for (uint64_t key = 1; key <= 3; key++) {
        resolve_one(table, 0, key, 0);
    }
    cr_assert(trainer_table_snapshot(table, false, rows)); // nothing to build on: full
    cr_assert_eq(rows[0].count, 3);
    trainer_table_settle(table, true);
    rows_free(rows);
    trainer_table_expire(table, 11);
    cr_assert_not(trainer_table_snapshot(table, false, rows));
    cr_assert_eq(rows[0].count, 0);
    cr_assert_eq(rows[0].removed, 3);
    resolve_one(table, 0, 2, 12);
    trainer_table_settle(table, false);
    rows_free(rows);
    cr_assert_not(trainer_table_snapshot(table, false, rows));
    cr_assert_eq(rows[0].removed, 2);
    cr_assert_eq(rows[0].tombstones[0], 1);
    cr_assert_eq(rows[0].tombstones[1], 3);
    cr_assert_eq(rows[0].count, 1);
    cr_assert_eq(rows[0].keys[0], 2);
    // In flight: 2 changed. It expires meanwhile, and the publication fails.
    trainer_table_expire(table, 30);
    trainer_table_settle(table, false);
    rows_free(rows);
    cr_assert_not(trainer_table_snapshot(table, false, rows));
    cr_assert_eq(rows[0].removed, 3);
    cr_assert_eq(rows[0].count, 0);
    trainer_table_settle(table, true);
    rows_free(rows);
    cr_assert_not(trainer_table_snapshot(table, false, rows));
    cr_assert_eq(rows[0].removed, 0);
    trainer_table_settle(table, true);
    rows_free(rows);
    trainer_table_free(table);
}

Test(trainer_table, failed_first_snapshot_makes_the_next_full)
{
    struct trainer_table *table = table_make(slots_mixed, SLOTS, 100, true);
    struct trainer_snapshot_rows rows[SLOTS];
    resolve_one(table, 0, 1, 0);
    cr_assert(trainer_table_snapshot(table, true, rows));
    rows_free(rows);
    trainer_table_settle(table, false);
    cr_assert(trainer_table_snapshot(table, false, rows));
    cr_assert_eq(rows[0].count, 1);
    rows_free(rows);
    trainer_table_settle(table, true);
    // A full one that fails leaves what had changed before it, and only that.
    resolve_one(table, 0, 2, 0);
    cr_assert(trainer_table_snapshot(table, true, rows));
    cr_assert_eq(rows[0].count, 2);
    rows_free(rows);
    trainer_table_settle(table, false);
    cr_assert_not(trainer_table_snapshot(table, false, rows));
    cr_assert_eq(rows[0].count, 1);
    cr_assert_eq(rows[0].keys[0], 2);
    rows_free(rows);
    trainer_table_settle(table, true);
    trainer_table_free(table);
}

// Rows and tombstones that come and go without a publication do not pile up.
Test(trainer_table, lists_of_changes_stay_in_bounds)
{
    const struct trainer_table_slot_config slot[SLOTS] = {
        {"a", 4, 1, 10}, {"b", 4, 1, 0}, {"c", 4, 1, 0}, {"d", 4, 1, 0}};
    struct trainer_table *table = table_make(slot, SLOTS, 1000, true);
    struct trainer_snapshot_rows rows[SLOTS];
    trainer_table_snapshot(table, true, rows);
    trainer_table_settle(table, true);
    rows_free(rows);
    int64_t now = 0;
    uint64_t bytes = 0;
    for (int round = 0; round < 3000; round++, now += 20) {
        for (uint64_t key = 0; key < 100; key++) {
            resolve_one(table, 0, key, now);
        }
        trainer_table_expire(table, now + 11);
        if (round == 10) {
            bytes = trainer_table_bytes(table);
        }
    }
    cr_assert_leq(trainer_table_bytes(table), bytes);
    cr_assert_not(trainer_table_snapshot(table, false, rows));
    cr_assert_eq(rows[0].removed, 100);
    trainer_table_settle(table, true);
    rows_free(rows);
    trainer_table_free(table);
}

Test(trainer_table, too_many_tombstones_make_the_next_snapshot_full)
{
    const struct trainer_table_slot_config slot[SLOTS] = {
        {"a", 4, 1, 1}, {"b", 4, 1, 0}, {"c", 4, 1, 0}, {"d", 4, 1, 0}};
    struct trainer_table *table = table_make(slot, SLOTS, 1 << 20, true);
    struct trainer_snapshot_rows rows[SLOTS];
    trainer_table_snapshot(table, true, rows);
    trainer_table_settle(table, true);
    rows_free(rows);
    uint64_t key = 0;
    for (int64_t now = 0; key <= TRAINER_TOMBSTONES_MAX; now += 10) {
        for (int i = 0; i < 1 << 18; i++) {
            resolve_one(table, 0, key++, now);
        }
        trainer_table_expire(table, now + 9);
    }
    resolve_one(table, 1, 5, 0);
    cr_assert(trainer_table_snapshot(table, false, rows));
    cr_assert_eq(rows[1].count, 1);
    trainer_table_settle(table, true);
    rows_free(rows);
    cr_assert_not(trainer_table_snapshot(table, false, rows));
    trainer_table_settle(table, true);
    rows_free(rows);
    trainer_table_free(table);
}

Test(trainer_table, refuses_settings_that_cannot_be)
{
    static const struct {
        struct trainer_table_slot_config slot;
        uint64_t rows_max;
        const char *said;
    } cases[] = {
        {{"user", 3, 1, 0}, 10, "dimension"},
        {{"user", 0, 1, 0}, 10, "dimension"},
        {{"user", 260, 1, 0}, 10, "dimension"},
        {{"user", 4, 0, 0}, 10, "admission"},
        {{"user", 4, 1, -1}, 10, "expiry"},
        {{"user", 4, 1, INT64_MAX}, 10, "expiry"},
        {{"user", 4, 1, 0}, 0, "rows_max"},
        {{"user", 4, 1, 0}, UINT64_C(1) << 31, "rows_max"},
        {{"twice", 4, 1, 0}, 10, "two slots are named"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct trainer_table_slot_config slots[2] = {cases[i].slot, {"twice", 4, 1, 0}};
        struct trainer_table_config config = {2, slots, 0, cases[i].rows_max, true, NULL};
        struct base_error error = {0};
        cr_assert_null(trainer_table_new(&config, &error));
        cr_assert_eq(error.code, BASE_EINVAL);
        cr_assert_not_null(strstr(error.text, cases[i].said), "%s", error.text);
    }
    struct trainer_table_config config = {TRAINER_SLOTS_MAX + 1, NULL, 0, 10, true, NULL};
    struct base_error error = {0};
    cr_assert_null(trainer_table_new(&config, &error));
    trainer_table_free(NULL);
}
