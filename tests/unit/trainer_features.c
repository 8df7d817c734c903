// Features and the gather: against twins in double precision, and by finite differences through the
// embedding.
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/random.h"
#include "trainer/gather.h"

enum { BATCH = 40, COLUMNS = 3, NUMBERS = 2, SLOTS = 5 };

static struct trainer_slot_config feature_slots[SLOTS] = {
    {.row = {"user", 16, 1, 0}, .column = 0},
    {.row = {"items", 8, 1, 0}, .column = 1, .pooling = TRAINER_POOLING_SUM},
    {.row = {"tags", 4, 2, 0}, .column = 2, .pooling = TRAINER_POOLING_MEAN},
    {.row = {"price", 4, 1, 0}, .bucketised = true, .column = 1, .boundaries = 3, .boundary = {-1, 0, 10}},
    {.row = {"again", 16, 1, 0}, .column = 1, .pooling = TRAINER_POOLING_MEAN},
};
static struct trainer_numeric_config feature_numerics[2] = {
    {"age", 0, false, 30, 10},
    {"price", 1, true, 0, 1},
};
static const struct trainer_features_config features = {
    {COLUMNS, NUMBERS}, SLOTS, feature_slots, 2, feature_numerics};
enum { WIDTH = 64 }; // 16 + 8 + 4 + 4 + 16 + 2 = 50

// An impression as plain arrays, and its bytes.
struct impression {
    uint32_t count[COLUMNS];
    uint64_t keys[COLUMNS][8];
    double numbers[NUMBERS];
    struct base_buffer bytes;
};

struct fixture {
    struct impression impressions[BATCH];
    struct base_span columns[BATCH];
    struct trainer_table *table;
    struct trainer_gather *gather;
    struct trainer_workers *workers;
};

static void impression_pack(struct impression *impression)
{
    struct base_buffer *bytes = &impression->bytes;
    base_buffer_clear(bytes);
    for (uint32_t c = 0; c < 4; c++) {
        uint16_t count = c < COLUMNS ? (uint16_t)impression->count[c] : 0;
        base_buffer_append(bytes, &count, sizeof count);
    }
    base_buffer_append(bytes, impression->numbers, sizeof impression->numbers);
    for (uint32_t c = 0; c < COLUMNS; c++) {
        base_buffer_append(bytes, impression->keys[c], impression->count[c] * sizeof(uint64_t));
    }
}

static void fixture_fill(struct fixture *fixture, uint64_t seed)
{
    uint64_t key = base_random_key(seed, "impressions"), counter = 0;
    for (uint32_t i = 0; i < BATCH; i++) {
        struct impression *impression = &fixture->impressions[i];
        for (uint32_t c = 0; c < COLUMNS; c++) {
            impression->count[c] = c == 0 ? 1 : (uint32_t)(base_random_bits(key, counter++) % 6);
            for (uint32_t j = 0; j < impression->count[c]; j++) {
                impression->keys[c][j] = base_random_bits(key, counter++) % 12;
            }
        }
        static const double odd[] = {NAN, INFINITY, -INFINITY, 0, -1, 10, 1e300};
        uint64_t pick = base_random_bits(key, counter++) % 14;
        impression->numbers[0] = 100 * base_random_uniform(key, counter++);
        impression->numbers[1] = pick < 7 ? odd[pick] : 20 * base_random_normal(key, counter++);
        impression_pack(impression);
        fixture->columns[i] = base_buffer_span(&impression->bytes);
    }
}

static struct fixture *fixture_new(uint32_t workers)
{
    struct base_error error;
    struct fixture *fixture = base_alloc_zeroed(1, sizeof *fixture);
    struct trainer_table_slot_config slots[SLOTS];
    for (uint32_t s = 0; s < SLOTS; s++) {
        slots[s] = feature_slots[s].row;
    }
    struct trainer_table_config config = {SLOTS, slots, 3, 1000, true, NULL};
    fixture->table = trainer_table_new(&config, &error);
    fixture->gather = trainer_gather_new(&features, BATCH);
    fixture->workers = trainer_workers_new(workers, &error);
    cr_assert(fixture->table && fixture->workers);
    return fixture;
}

static void fixture_free(struct fixture *fixture)
{
    for (uint32_t i = 0; i < BATCH; i++) {
        base_buffer_free(&fixture->impressions[i].bytes);
    }
    trainer_gather_free(fixture->gather);
    trainer_table_free(fixture->table);
    trainer_workers_free(fixture->workers);
    free(fixture);
}

// Plain SGD.
static void fixture_scatter(struct fixture *fixture, const float *dx, double rate)
{
    const struct trainer_optimiser_config sgd = {.rate = rate};
    struct trainer_optimiser_step steps[SLOTS];
    for (uint32_t s = 0; s < SLOTS; s++) {
        steps[s] = (struct trainer_optimiser_step){.config = &sgd, .rate = rate, .divisor = 1, .batch = 1};
    }
    trainer_gather_scatter(fixture->gather, fixture->table, dx, steps, fixture->workers);
}

// The keys of a slot of an impression, by the words of features.h.
static uint32_t twin_keys(const struct impression *impression, uint32_t s, uint64_t *keys)
{
    const struct trainer_slot_config *slot = &feature_slots[s];
    if (!slot->bucketised) {
        memcpy(keys, impression->keys[slot->column], sizeof impression->keys[0]);
        return impression->count[slot->column];
    }
    double value = impression->numbers[slot->column];
    int64_t bucket = 0;
    for (uint32_t i = 0; i < slot->boundaries; i++) {
        bucket += slot->boundary[i] <= value;
    }
    keys[0] = base_hash_slot_integer(base_hash_slot_salt(slot->row.name), bucket);
    return value == value;
}

static trainer_row twin_row(const struct trainer_table *table, uint16_t slot, uint64_t key)
{
    trainer_row row;
    trainer_table_find(table, &key, &slot, 1, &row);
    return row;
}

static void twin_x(const struct fixture *fixture, const struct impression *impression, double *x)
{
    memset(x, 0, WIDTH * sizeof *x);
    uint32_t offset = 0;
    for (uint32_t s = 0; s < SLOTS; s++) {
        uint64_t keys[8];
        uint32_t count = twin_keys(impression, s, keys), dimension = feature_slots[s].row.dimension;
        for (uint32_t j = 0; j < count; j++) {
            const float *vector = trainer_table_vector_const(fixture->table, (uint16_t)s,
                                                             twin_row(fixture->table, (uint16_t)s, keys[j]));
            for (uint32_t d = 0; d < dimension; d++) {
                bool mean = feature_slots[s].pooling == TRAINER_POOLING_MEAN;
                x[offset + d] += (double)vector[d] / (mean ? count : 1);
            }
        }
        offset += dimension;
    }
    double age = (impression->numbers[0] - 30) / 10;
    double price =
        impression->numbers[1] < 0 ? -log1p(-impression->numbers[1]) : log1p(impression->numbers[1]);
    x[offset] = isfinite(age) ? age : 0;
    x[offset + 1] = isfinite(price) ? price : 0;
}

static const float *fixture_pool(struct fixture *fixture)
{
    trainer_gather_find(fixture->gather, fixture->table);
    return trainer_gather_pool(fixture->gather, fixture->table, fixture->workers);
}

static void fixture_read(struct fixture *fixture)
{
    struct base_error error;
    cr_assert_eq(trainer_gather_read(fixture->gather, fixture->columns, BATCH, &error), 0, "%s", error.text);
}

Test(trainer_features, x_agrees_with_its_twin)
{
    cr_assert_eq(trainer_features_width(&features), WIDTH);
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct fixture *fixture = fixture_new(1 + seed % 2);
        fixture_fill(fixture, seed);
        fixture_read(fixture);
        trainer_gather_resolve(fixture->gather, fixture->table, 0, fixture->workers);
        const float *x = fixture_pool(fixture);
        cr_assert_eq((uintptr_t)x % 64, 0);
        for (uint32_t i = 0; i < BATCH; i++) {
            double twin[WIDTH];
            twin_x(fixture, &fixture->impressions[i], twin);
            for (uint32_t j = 0; j < WIDTH; j++) {
                double value = (double)x[i * WIDTH + j];
                cr_assert(fabs(value - twin[j]) <= 1e-6 * (1 + fabs(twin[j])), "%u %u: %g %g", i, j, value,
                          twin[j]);
            }
        }
        fixture_free(fixture);
    }
}

// The rows of all occurrences of a slot, with the sample and the weight of each in the pool.
struct occurrences {
    uint32_t count;
    trainer_row rows[BATCH * 8];
    uint32_t sample[BATCH * 8];
    double share[BATCH * 8];
};

static void twin_occurrences(const struct fixture *fixture, uint32_t s, struct occurrences *all)
{
    all->count = 0;
    for (uint32_t i = 0; i < BATCH; i++) {
        uint64_t keys[8];
        uint32_t n = twin_keys(&fixture->impressions[i], s, keys);
        for (uint32_t j = 0; j < n; j++) {
            all->rows[all->count] = twin_row(fixture->table, (uint16_t)s, keys[j]);
            all->sample[all->count] = i;
            all->share[all->count++] = feature_slots[s].pooling == TRAINER_POOLING_MEAN ? 1.0 / n : 1;
        }
    }
}

static uint32_t slot_offset(uint32_t s)
{
    uint32_t offset = 0;
    for (uint32_t before = 0; before < s; before++) {
        offset += feature_slots[before].row.dimension;
    }
    return offset;
}

static void compare_update(const struct fixture *fixture, const struct fixture *before, const float *dx,
                           double rate)
{
    struct occurrences *all = base_alloc(sizeof *all);
    uint32_t shared = 0, oov = 0;
    for (uint32_t s = 0; s < SLOTS; s++) {
        twin_occurrences(fixture, s, all);
        for (uint32_t o = 0; o < all->count; o++) {
            const float *vector = trainer_table_vector_const(fixture->table, (uint16_t)s, all->rows[o]);
            const float *old = trainer_table_vector_const(before->table, (uint16_t)s, all->rows[o]);
            oov += (all->rows[o] & TRAINER_ROW_OOV) != 0;
            for (uint32_t d = 0; d < feature_slots[s].row.dimension; d++) {
                double sum = 0;
                for (uint32_t other = 0; other < all->count; other++) {
                    if (all->rows[other] == all->rows[o]) {
                        shared += other != o;
                        sum +=
                            (double)dx[all->sample[other] * WIDTH + slot_offset(s) + d] * all->share[other];
                    }
                }
                double expected = (double)old[d] - rate * sum;
                cr_assert(fabs((double)vector[d] - expected) < 1e-5, "slot %u: %g %g", s, (double)vector[d],
                          expected);
            }
        }
    }
    cr_assert_gt(shared, 100);
    cr_assert_gt(oov, 0);
    free(all);
}

// The update against sums in double precision, row by row; out-of-vocabulary rows like the others.
Test(trainer_features, update_agrees_with_its_twin)
{
    for (uint64_t seed = 0; seed < 6; seed++) {
        struct fixture *fixture = fixture_new(1 + seed % 2), *before = fixture_new(1);
        struct fixture *both[2] = {fixture, before};
        for (int f = 0; f < 2; f++) {
            fixture_fill(both[f], 100 + seed);
            // Some tags are left without a row: only the first half of the samples is counted.
            struct base_error error;
            cr_assert_eq(trainer_gather_read(both[f]->gather, both[f]->columns, 8, &error), 0);
            trainer_gather_resolve(both[f]->gather, both[f]->table, 0, both[f]->workers);
            fixture_read(both[f]);
        }
        fixture_pool(fixture);
        float *dx = base_alloc(BATCH * WIDTH * sizeof *dx);
        uint64_t key = base_random_key(seed, "direction");
        for (uint32_t i = 0; i < BATCH * WIDTH; i++) {
            dx[i] = (float)base_random_normal(key, i);
        }
        fixture_scatter(fixture, dx, 0.125);
        compare_update(fixture, before, dx, 0.125);
        free(dx);
        fixture_free(fixture);
        fixture_free(before);
    }
}

// sum of sin(x) over all samples.
static double fixture_loss(struct fixture *fixture)
{
    const float *x = fixture_pool(fixture);
    double loss = 0;
    for (uint32_t i = 0; i < BATCH * WIDTH; i++) {
        loss += sin((double)x[i]);
    }
    return loss;
}

Test(trainer_features, update_is_the_gradient_by_finite_differences)
{
    struct fixture *fixture = fixture_new(1), *moved = fixture_new(2);
    struct fixture *both[2] = {fixture, moved};
    for (int f = 0; f < 2; f++) {
        fixture_fill(both[f], 5);
        fixture_read(both[f]);
        trainer_gather_resolve(both[f]->gather, both[f]->table, 0, both[f]->workers);
    }
    float *dx = base_alloc(BATCH * WIDTH * sizeof *dx);
    const float *x = fixture_pool(moved);
    for (uint32_t i = 0; i < BATCH * WIDTH; i++) {
        dx[i] = (float)cos((double)x[i]);
    }
    fixture_scatter(moved, dx, 1);
    for (uint16_t s = 0; s < SLOTS; s++) {
        uint64_t keys[8];
        cr_assert_geq(twin_keys(&fixture->impressions[3], s, keys), 1);
        trainer_row row = twin_row(fixture->table, s, keys[0]);
        float *vector = trainer_table_vector(fixture->table, s, row);
        const float *after = trainer_table_vector_const(moved->table, s, row);
        for (uint32_t d = 0; d < feature_slots[s].row.dimension; d++) {
            float old = vector[d];
            vector[d] = old + 0.0078125f;
            double above = fixture_loss(fixture);
            vector[d] = old - 0.0078125f;
            double below = fixture_loss(fixture);
            vector[d] = old;
            double expected = (above - below) / 0.015625, gradient = (double)old - (double)after[d];
            cr_assert(fabs(gradient - expected) < 1e-3 * (1 + fabs(expected)), "slot %u: %g %g", s, gradient,
                      expected);
        }
    }
    free(dx);
    fixture_free(fixture);
    fixture_free(moved);
}

// A key that is admitted within a minibatch: its earlier occurrence moves the out-of-vocabulary row, the
// later one its own; each row is marked as changed.
Test(trainer_features, occurrences_before_admission_train_the_oov_row)
{
    struct fixture *fixture = fixture_new(1);
    fixture_fill(fixture, 0);
    for (uint32_t i = 0; i < 2; i++) {
        fixture->impressions[i].count[2] = 1;
        fixture->impressions[i].keys[2][0] = 77;
        impression_pack(&fixture->impressions[i]);
        fixture->columns[i] = base_buffer_span(&fixture->impressions[i].bytes);
    }
    struct base_error error;
    size_t size;
    const float *oov = trainer_table_oov(fixture->table, &size) + trainer_table_oov_offset(fixture->table, 2);
    float start = oov[0], dx[2 * WIDTH] = {0};
    dx[slot_offset(2)] = 1;
    dx[WIDTH + slot_offset(2)] = 10;
    cr_assert_eq(trainer_gather_read(fixture->gather, fixture->columns, 2, &error), 0);
    trainer_gather_resolve(fixture->gather, fixture->table, 0, fixture->workers);
    trainer_gather_pool(fixture->gather, fixture->table, fixture->workers);
    fixture_scatter(fixture, dx, 1);
    trainer_row row = twin_row(fixture->table, 2, 77);
    cr_assert_not(row & TRAINER_ROW_OOV);
    cr_assert_eq(oov[0], start - 1);
    cr_assert_eq(trainer_table_vector_const(fixture->table, 2, row)[0], start - 10);
    fixture_free(fixture);
}

Test(trainer_features, minibatches_without_keys_or_samples)
{
    struct base_error error;
    struct fixture *fixture = fixture_new(1);
    fixture_fill(fixture, 0);
    for (uint32_t i = 0; i < BATCH; i++) {
        memset(fixture->impressions[i].count, 0, sizeof fixture->impressions[i].count);
        fixture->impressions[i].numbers[0] = fixture->impressions[i].numbers[1] = (double)NAN;
        impression_pack(&fixture->impressions[i]);
        fixture->columns[i] = base_buffer_span(&fixture->impressions[i].bytes);
    }
    fixture_read(fixture);
    trainer_gather_resolve(fixture->gather, fixture->table, 0, fixture->workers);
    cr_assert_eq(trainer_gather_occurrences(fixture->gather), 0);
    const float *x = fixture_pool(fixture);
    for (uint32_t i = 0; i < BATCH * WIDTH; i++) {
        cr_assert_eq(x[i], 0.0f);
    }
    fixture_scatter(fixture, x, 1);
    cr_assert_eq(trainer_table_rows(fixture->table), 0);
    cr_assert_eq(trainer_gather_read(fixture->gather, fixture->columns, 0, &error), 0);
    fixture_pool(fixture);
    fixture_free(fixture);
    trainer_gather_free(NULL);
}

Test(trainer_features, columns_that_do_not_fit_are_named)
{
    struct base_error error = {0};
    struct fixture *fixture = fixture_new(1);
    fixture_fill(fixture, 0);
    fixture->columns[7].size -= 8;
    cr_assert_eq(trainer_gather_read(fixture->gather, fixture->columns, BATCH, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert_not_null(strstr(error.text, "sample 7"), "%s", error.text);
    fixture_free(fixture);
}

Test(trainer_features, refuses_settings_that_cannot_be)
{
    struct trainer_slot_config slot = feature_slots[3];
    struct trainer_numeric_config numeric = feature_numerics[0];
    struct trainer_features_config config = {{COLUMNS, NUMBERS}, 1, &slot, 1, &numeric};
    struct base_error error = {0};
    cr_assert_eq(trainer_features_check(&config, &error), 0);
#define REFUSED(said)                                          \
    cr_assert_eq(trainer_features_check(&config, &error), -1); \
    cr_assert_eq(error.code, BASE_EINVAL);                     \
    cr_assert_not_null(strstr(error.text, said), "%s", error.text)
    slot.column = NUMBERS;
    REFUSED("column");
    slot.column = 0;
    slot.boundary[1] = slot.boundary[0];
    REFUSED("ascend");
    slot.boundary[1] = (double)INFINITY;
    REFUSED("finite");
    slot.boundaries = 0;
    REFUSED("boundaries");
    slot = feature_slots[0];
    slot.pooling = (enum trainer_pooling)7;
    REFUSED("pooling");
    slot = feature_slots[0];
    numeric.deviation = 0;
    REFUSED("deviation");
    numeric.deviation = 1;
    numeric.mean = (double)NAN;
    REFUSED("mean");
    numeric.mean = 0;
    numeric.column = 2;
    REFUSED("column");
    config.slots = config.numerics = 0;
    REFUSED("neither");
    config.slots = TRAINER_SLOTS_MAX + 1;
    REFUSED("at most");
    config.layout.numeric = BASE_NUMERIC_MAX + 1;
    REFUSED("columns");
}
