// Gates and mixtures against loops in double, and their gradient by finite differences.
#include "trainer/mixture.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"

enum { N = 13, WIDTH = 48, COUNT = 5, STRIDE = 16, COLUMN = 7 };

static void fill(float *values, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)base_random_normal(base_random_key(8, name), i);
    }
}

static const struct trainer_rows rows = {3, 11}; // a block: the other rows belong to others

Test(trainer_mixture, softmax)
{
    float s[N * STRIDE], before[N * STRIDE];
    fill(s, N * STRIDE, "s");
    for (uint32_t i = 0; i < COUNT; i++) {
        s[4 * STRIDE + COLUMN + i] = 1e4f * (float)i; // would overflow without the shift
        s[5 * STRIDE + COLUMN + i] = -1e4f;
    }
    memcpy(before, s, sizeof s);
    trainer_mixture_softmax(rows, STRIDE, COLUMN, COUNT, s);
    for (uint32_t r = 0; r < N; r++) {
        const float *b = before + r * STRIDE + COLUMN;
        double sum = 0.0;
        for (uint32_t i = 0; i < COUNT; i++) {
            sum += exp((double)b[i] - fmax(b[0], b[COUNT - 1]));
        }
        for (uint32_t c = 0; c < STRIDE; c++) {
            bool own = r >= rows.begin && r < rows.end && c >= COLUMN && c < COLUMN + COUNT;
            double expected = own ? exp((double)before[r * STRIDE + c] - fmax(b[0], b[COUNT - 1])) / sum
                                  : before[r * STRIDE + c];
            cr_assert_float_eq(s[r * STRIDE + c], expected, 1e-6, "%u %u", r, c);
        }
    }
    for (uint32_t bad = 0; bad < COUNT; bad++) { // a score that is not a number spoils its gate, visibly
        fill(s, N * STRIDE, "s");
        s[6 * STRIDE + COLUMN + bad] = NAN;
        trainer_mixture_softmax(rows, STRIDE, COLUMN, COUNT, s);
        for (uint32_t i = 0; i < COUNT; i++) {
            cr_expect(isnan(s[6 * STRIDE + COLUMN + i]));
        }
    }
}

Test(trainer_mixture, sum)
{
    static float values[COUNT][N * WIDTH], weights[N * STRIDE], mask[N * WIDTH], out[N * WIDTH],
        before[N * WIDTH];
    struct trainer_mixture_term terms[COUNT];
    fill(weights, N * STRIDE, "w");
    fill(mask, N * WIDTH, "mask");
    fill(before, N * WIDTH, "out");
    for (uint32_t i = 0; i < COUNT; i++) {
        fill(values[i], N * WIDTH, (const char[]){(char)('a' + i), 0});
        terms[i] = (struct trainer_mixture_term){values[i], weights + COLUMN + i, STRIDE};
    }
    for (int masked = 0; masked < 2; masked++) {
        memcpy(out, before, sizeof out);
        trainer_mixture_sum(rows, WIDTH, COUNT, terms, masked ? mask : NULL, out);
        for (uint32_t i = 0; i < N * WIDTH; i++) {
            uint32_t r = i / WIDTH;
            double expected = 0.0;
            for (uint32_t e = 0; e < COUNT; e++) {
                expected += (double)weights[r * STRIDE + COLUMN + e] * values[e][i];
            }
            if (masked && mask[i] <= 0.0f) {
                expected = 0.0;
            }
            if (r < rows.begin || r >= rows.end) {
                expected = before[i];
            }
            cr_assert_float_eq(out[i], expected, 1e-5, "%u", i);
        }
    }
}

// loss = <dh, h(scores)> has dh as its gradient by h; by the scores it is compared with central differences.
static double loss_of(const double *s, const float experts[COUNT][N * WIDTH], const float *dh, uint32_t r)
{
    double sum = 0.0, loss = 0.0;
    for (uint32_t i = 0; i < COUNT; i++) {
        sum += exp(s[i]);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        for (uint32_t c = 0; c < WIDTH; c++) {
            loss += exp(s[i]) / sum * experts[i][r * WIDTH + c] * dh[r * WIDTH + c];
        }
    }
    return loss;
}

Test(trainer_mixture, backward)
{
    static float experts[COUNT][N * WIDTH], scores[N * STRIDE], g[N * STRIDE], dh[N * WIDTH], ds[N * STRIDE];
    const float *pointers[COUNT];
    fill(scores, N * STRIDE, "s");
    fill(dh, N * WIDTH, "dh");
    memcpy(g, scores, sizeof g);
    for (uint32_t i = 0; i < COUNT; i++) {
        fill(experts[i], N * WIDTH, (const char[]){(char)('a' + i), 0});
        pointers[i] = experts[i];
    }
    trainer_mixture_softmax(rows, STRIDE, COLUMN, COUNT, g);
    trainer_mixture_backward(rows, WIDTH, COUNT, pointers, dh, STRIDE, COLUMN, g, ds);
    for (uint32_t r = 0; r < N; r++) {
        for (uint32_t c = 0; c < STRIDE; c++) {
            double s[COUNT], expected = 0.0;
            for (uint32_t i = 0; i < COUNT; i++) {
                s[i] = scores[r * STRIDE + COLUMN + i];
            }
            if (r >= rows.begin && r < rows.end && c >= COLUMN && c < COLUMN + COUNT) {
                s[c - COLUMN] += 1e-5;
                expected = loss_of(s, experts, dh, r);
                s[c - COLUMN] -= 2e-5;
                expected = (expected - loss_of(s, experts, dh, r)) / 2e-5;
            }
            cr_assert_float_eq(ds[r * STRIDE + c], expected, 2e-5, "%u %u", r, c);
        }
    }
}
