// The calls to BLAS: the right kernels, the right numbers, and rows that do not depend on the call's shape.
#include "trainer/blas.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer_rig_support.h"

Test(trainer_blas, runs_the_wanted_kernels_on_one_thread)
{
    const char *wanted = trainer_blas_wanted();
    if (wanted) {
        cr_expect_str_eq(getenv("OPENBLAS_CORETYPE"), wanted);
        cr_expect_str_eq(trainer_blas_core(), wanted);
    }
    cr_expect_str_eq(getenv("OPENBLAS_NUM_THREADS"), "1");
    cr_expect_null(getenv("OPENBLAS_L2_SIZE"));
    char text[TRAINER_BLAS_TEXT_MAX];
    trainer_blas_describe(text, sizeof text);
    cr_expect(strstr(text, "OpenBLAS") && strstr(text, trainer_blas_core()) && strstr(text, "threads 1"),
              "%s", text);
    char cut[8];
    trainer_blas_describe(cut, sizeof cut);
    cr_expect_eq(strlen(cut), sizeof cut - 1);
}

// With the environment right, or wrong again in the process that was executed anew, it returns.
Test(trainer_blas, pin_does_not_loop)
{
    char *argv[] = {(char[]){"test"}, NULL};
    trainer_blas_pin(argv);
    char self[32];
    snprintf(self, sizeof self, "%ld", (long)getpid());
    setenv("FRESHET_BLAS_PINNED", self, 1);
    setenv("OPENBLAS_NUM_THREADS", "7", 1);
    trainer_blas_pin(argv);
    cr_expect_str_eq(getenv("OPENBLAS_NUM_THREADS"), "7");
}

static float *random_matrix(size_t floats, const char *name)
{
    float *matrix = base_alloc_aligned(floats * sizeof *matrix);
    uint64_t key = base_random_key(1, name);
    for (size_t i = 0; i < floats; i++) {
        matrix[i] = (float)(2.0 * base_random_uniform(key, i) - 1.0);
    }
    return matrix;
}

enum { M = 19, N = 48, LD = 1040 };

// form 0: A B, 1: A B^T, 2: alpha A^T B; A's and B's element (row, inner) by the form.
static double product(int form, const float *a, const float *b, uint32_t i, uint32_t j, uint32_t k)
{
    double sum = 0.0;
    for (uint32_t p = 0; p < k; p++) {
        double left = form == 2 ? a[(size_t)p * LD + i] : a[(size_t)i * LD + p];
        double right = form == 1 ? b[(size_t)j * LD + p] : b[(size_t)p * LD + j];
        sum += left * right;
    }
    return sum;
}

static void check_form(int form, uint32_t k, bool add)
{
    float *a = random_matrix((size_t)LD * LD, "a"), *b = random_matrix((size_t)LD * LD, "b");
    float *c = random_matrix((size_t)M * LD, "c"), *before = random_matrix((size_t)M * LD, "c");
    const float alpha = form == 2 ? -0.375f : 1.0f;
    if (form == 0) {
        trainer_blas_nn(M, N, k, a, LD, b, LD, add, c, LD);
    } else if (form == 1) {
        trainer_blas_nt(M, N, k, a, LD, b, LD, add, c, LD);
    } else {
        trainer_blas_tn(M, N, k, alpha, a, LD, b, LD, c, LD);
    }
    for (uint32_t i = 0; i < M; i++) {
        for (uint32_t j = 0; j < LD; j++) {
            size_t at = (size_t)i * LD + j;
            double sum = (add || form == 2 || j >= N ? before[at] : 0.0) +
                         (j < N ? alpha * product(form, a, b, i, j, k) : 0.0);
            cr_assert_float_eq(c[at], sum, 2e-6 * sqrt(k) + 1e-30, "form %d k %u row %u column %u", form, k,
                               i, j);
        }
    }
    free(a);
    free(b);
    free(c);
    free(before);
}

Test(trainer_blas, forms_match_their_definitions)
{
    const uint32_t inner[] = {1, 16, 383, 384, 385, 768, 1000};
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        for (int form = 0; form < 3; form++) {
            check_form(form, inner[i], true);
            check_form(form, inner[i], false);
        }
    }
}

// Why a row does not depend on the others: its sums are fused multiply-adds in the order of the inner
// dimension.
Test(trainer_blas, a_piece_is_a_chain_of_fused_multiply_adds)
{
    need_stable_rows();
    enum { ROWS = 37, WIDTH = 48, INNER = TRAINER_BLAS_PIECE };
    float *x = random_matrix(ROWS * INNER, "x"), *w = random_matrix(INNER * WIDTH, "w");
    float *y = random_matrix(ROWS * WIDTH, "y");
    trainer_blas_nn(ROWS, WIDTH, INNER, x, INNER, w, WIDTH, false, y, WIDTH);
    for (uint32_t r = 0; r < ROWS; r++) {
        for (uint32_t c = 0; c < WIDTH; c++) {
            float sum = 0.0f;
            for (uint32_t k = 0; k < INNER; k++) {
                sum = fmaf(x[r * INNER + k], w[k * WIDTH + c], sum);
            }
            cr_assert_eq(y[r * WIDTH + c], sum, "row %u column %u", r, c);
        }
    }
    free(x);
    free(w);
    free(y);
}

// The promise that the forward pass rests on: the first n rows of a product are those of any longer one.
Test(trainer_blas, rows_do_not_depend_on_their_number)
{
    need_stable_rows();
    enum { ROWS = 1024, WIDTH = 512, INNER = 768 };
    float *x = random_matrix((size_t)ROWS * INNER, "x"), *w = random_matrix((size_t)INNER * WIDTH, "w");
    float *all = random_matrix((size_t)ROWS * WIDTH, "all"),
          *some = random_matrix((size_t)ROWS * WIDTH, "some");
    const uint32_t widths[] = {16, 32, 48, 112, 128, 272, 512}, inners[] = {16, 48, 128, 384, 400, 768};
    for (size_t a = 0; a < sizeof widths / sizeof *widths; a++) {
        for (size_t b = 0; b < sizeof inners / sizeof *inners; b++) {
            trainer_blas_nn(ROWS, widths[a], inners[b], x, inners[b], w, WIDTH, false, all, widths[a]);
            for (uint32_t n = 2; n <= ROWS; n = n < 72 ? n + 1 : n + 119) {
                trainer_blas_nn(n, widths[a], inners[b], x, inners[b], w, WIDTH, false, some, widths[a]);
                cr_assert_eq(memcmp(all, some, (size_t)n * widths[a] * sizeof *all), 0, "%u x %u x %u", n,
                             widths[a], inners[b]);
            }
        }
    }
    free(x);
    free(w);
    free(all);
    free(some);
}
