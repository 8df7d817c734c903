// See trainer_golden_support.h.
#include "trainer_golden_support.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { RECORDS_MAX = 1024 };
static const double tolerance = 1e-5; // of the largest value of the record

struct record {
    char name[GOLDEN_NAME_MAX];
    uint32_t rows, columns;
    float *values;
};

struct golden {
    uint32_t count;
    struct record record[RECORDS_MAX];
};

struct golden *golden_read(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, FRESHET_SOURCE_DIR "/tests/golden/trainer/%s", name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    struct golden *golden = base_alloc_zeroed(1, sizeof *golden);
    uint32_t length;
    while (fread(&length, sizeof length, 1, file) == 1) {
        cr_assert(golden->count < RECORDS_MAX && length < GOLDEN_NAME_MAX);
        struct record *record = &golden->record[golden->count++];
        uint32_t shape[2];
        cr_assert(fread(record->name, 1, length, file) == length && fread(shape, sizeof shape, 1, file) == 1);
        record->rows = shape[0];
        record->columns = shape[1];
        size_t floats = (size_t)record->rows * record->columns;
        record->values = base_alloc_aligned(floats * sizeof(float));
        cr_assert_eq(fread(record->values, sizeof(float), floats, file), floats);
    }
    fclose(file);
    return golden;
}

void golden_free(struct golden *golden)
{
    for (uint32_t i = 0; i < golden->count; i++) {
        free(golden->record[i].values);
    }
    free(golden);
}

const float *golden_find(const struct golden *golden, uint32_t rows, uint32_t columns, const char *format,
                         const char *mode, const char *name)
{
    char wanted[GOLDEN_NAME_MAX];
    snprintf(wanted, sizeof wanted, format, mode, name);
    for (uint32_t i = 0; i < golden->count; i++) {
        if (strcmp(golden->record[i].name, wanted) == 0) {
            cr_assert(golden->record[i].rows == rows && golden->record[i].columns == columns, "%s", wanted);
            return golden->record[i].values;
        }
    }
    cr_assert_fail("no record %s", wanted);
    return NULL;
}

struct base_sample golden_sample(const struct golden *golden, uint32_t rows, uint32_t tasks, uint32_t row)
{
    static const char *const names[] = {"mask", "label", "weight", "value"};
    const float *of[4];
    for (uint32_t i = 0; i < 4; i++) {
        of[i] = golden_find(golden, rows, tasks, "%s%s", names[i], "") + (size_t)row * tasks;
    }
    struct base_sample sample = {.kind = (uint8_t)golden_find(golden, rows, 1, "%s%s", "kind", "")[row],
                                 .trains = 1};
    for (uint32_t k = 0; k < tasks; k++) {
        sample.mask |= (uint8_t)((of[0][k] > 0) << k);
        sample.label[k] = of[1][k] > 0;
        sample.weight[k] = of[2][k];
        sample.value[k] = sample.label[k] ? of[3][k] : 0;
    }
    return sample;
}

void golden_expect(const float *values, const float *expected, size_t count, const char *mode,
                   const char *what, const char *name)
{
    double most = 0.0, error = 0.0;
    for (size_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)expected[i]));
        error = fmax(error, fabs((double)values[i] - (double)expected[i]));
    }
    cr_expect(error <= tolerance * most, "%s %s %s: error %.3g of %.3g", mode, what, name, error, most);
}
