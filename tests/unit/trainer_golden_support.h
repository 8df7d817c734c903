// Golden files from PyTorch (tests/golden/trainer/make_*.py): named matrices of float32, and the comparison.
#ifndef TRAINER_GOLDEN_SUPPORT_H
#define TRAINER_GOLDEN_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "base/sample.h"

enum { GOLDEN_NAME_MAX = 128 };

struct golden;

// Reads tests/golden/trainer/<name>; the caller frees.
struct golden *golden_read(const char *name);
void golden_free(struct golden *golden);
// The matrix called printf(format, mode, name), [rows x columns]; the test fails if it is not there.
const float *golden_find(const struct golden *golden, uint32_t rows, uint32_t columns, const char *format,
                         const char *mode, const char *name);
// Row `row` of the records kind, mask, label, weight and value, each of `rows` rows, as a sample without
// columns.
struct base_sample golden_sample(const struct golden *golden, uint32_t rows, uint32_t tasks, uint32_t row);
// Each within 1e-5 of the largest magnitude of `expected`.
void golden_expect(const float *values, const float *expected, size_t count, const char *mode,
                   const char *what, const char *name);

#endif
