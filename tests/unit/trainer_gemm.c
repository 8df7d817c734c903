// Our own matrix kernels: the library's bits in every form and shape, bias and ReLU, nothing beside the
// block.
#include "trainer/gemm.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/random.h"
#include "trainer/blas.h"

enum { ROWS_MAX = 200, WIDTH_MAX = 400, LD = 400 };

static float *random_matrix(const char *name)
{
    float *matrix = base_alloc_aligned((size_t)LD * LD * sizeof *matrix);
    uint64_t key = base_random_key(1, name);
    for (size_t i = 0; i < (size_t)LD * LD; i++) {
        matrix[i] = (float)(2.0 * base_random_uniform(key, i) - 1.0);
    }
    return matrix;
}

struct shape {
    uint32_t m, n, k;
};

struct matrices {
    float *a, *b, *c, *expected;
};

static struct matrices matrices_new(void)
{
    return (struct matrices){random_matrix("a"), random_matrix("b"), random_matrix("c"), random_matrix("c")};
}

static void matrices_free(struct matrices *m)
{
    free(m->a);
    free(m->b);
    free(m->c);
    free(m->expected);
}

static void check(const struct matrices *m, const char *form, struct shape s)
{
    cr_assert_arr_eq(m->c, m->expected, (size_t)LD * LD * sizeof(float), "%s %u x %u x %u", form, s.m, s.n,
                     s.k);
}

static void check_shape(struct matrices *m, struct shape s)
{
    trainer_gemm_nn(s.m, s.n, s.k, m->a, LD, m->b, LD, NULL, m->c, LD);
    trainer_blas_nn(s.m, s.n, s.k, m->a, LD, m->b, LD, false, m->expected, LD);
    check(m, "nn", s);
    for (int add = 0; add < 2; add++) {
        trainer_gemm_nt(s.m, s.n, s.n, s.k, m->a, LD, m->b, LD, add, m->c, LD);
        trainer_blas_nt(s.m, s.n, s.k, m->a, LD, m->b, LD, add, m->expected, LD);
        check(m, add ? "nt, added" : "nt", s);
    }
    trainer_gemm_tn(s.m, s.n, s.k, -0.0123f, m->a, LD, m->b, LD, m->c, LD);
    trainer_blas_tn(s.m, s.n, s.k, -0.0123f, m->a, LD, m->b, LD, m->expected, LD);
    check(m, "tn", s);
}

// Of one vector, one and a half panels, several; every height of a block; pieces; on both sides of what is
// small.
Test(trainer_gemm, has_the_librarys_bits)
{
    static const uint32_t heights[] = {2, 3, 7, 11, 12, 13, 23, 64, 70, 129, ROWS_MAX};
    static const uint32_t widths[] = {16, 32, 48, 64, 80, 128, 144}, inners[] = {16, 64, 128, 384, WIDTH_MAX};
    struct matrices m = matrices_new();
    for (size_t h = 0; h < sizeof heights / sizeof *heights; h++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            for (size_t i = 0; i < sizeof inners / sizeof *inners; i++) {
                check_shape(&m, (struct shape){heights[h], widths[w], inners[i]});
            }
        }
    }
    matrices_free(&m);
}

// The weight gradients' inner dimension is the number of rows, whatever it is.
Test(trainer_gemm, any_inner_dimension_of_a_weight_gradient)
{
    struct matrices m = matrices_new();
    for (uint32_t k = 2; k <= WIDTH_MAX; k += k < 40 ? 1 : 37) {
        trainer_gemm_tn(384, 128, k, 0.37f, m.a, LD, m.b, LD, m.c, LD);
        trainer_blas_tn(384, 128, k, 0.37f, m.a, LD, m.b, LD, m.expected, LD);
        check(&m, "tn", (struct shape){384, 128, k});
    }
    matrices_free(&m);
}

// The slow twin: one chain of fma for each result, pieces added in order.
Test(trainer_gemm, forward_is_a_chain_of_fma)
{
    if (!trainer_gemm_own()) {
        cr_skip_test("core type %s has kernels of its own", trainer_blas_core());
    }
    enum { M = 17, N = 48, K = WIDTH_MAX };
    struct matrices m = matrices_new();
    trainer_gemm_nn(M, N, K, m.a, LD, m.b, LD, NULL, m.c, LD);
    for (uint32_t i = 0; i < M; i++) {
        for (uint32_t j = 0; j < N; j++) {
            float total = 0.0f;
            for (uint32_t at = 0; at < K; at += TRAINER_BLAS_PIECE) {
                float sum = 0.0f;
                for (uint32_t p = at; p < K && p < at + TRAINER_BLAS_PIECE; p++) {
                    sum = fmaf(m.a[i * LD + p], m.b[p * LD + j], sum);
                }
                total += sum;
            }
            cr_assert_eq(m.c[i * LD + j], total, "%u %u", i, j);
        }
    }
    matrices_free(&m);
}

Test(trainer_gemm, bias_and_relu)
{
    enum { M = 14, N = 80 };
    static const uint32_t inners[] = {64, WIDTH_MAX};
    struct matrices m = matrices_new();
    for (size_t i = 0; i < 2; i++) {
        m.a[3] = NAN; // row 0 alone
        trainer_gemm_nn(M, N, inners[i], m.a, LD, m.b, LD, m.b + LD, m.c, LD);
        trainer_blas_nn(M, N, inners[i], m.a, LD, m.b, LD, false, m.expected, LD);
        uint32_t zeros = 0;
        for (uint32_t r = 0; r < M; r++) {
            for (uint32_t c = 0; c < N; c++) {
                float sum = m.expected[r * LD + c] + m.b[LD + c], result = m.c[r * LD + c];
                cr_assert(r == 0 ? isnan(result) : result == (sum < 0.0f ? 0.0f : sum), "%u %u", r, c);
                zeros += result == 0.0f;
            }
        }
        cr_assert(zeros > M && zeros < M * N - M);
    }
    matrices_free(&m);
}

// Halves of a block have the bits of the whole, also where they would be small by themselves.
Test(trainer_gemm, halves_of_a_block)
{
    static const uint32_t inners[] = {16, 48, 64, 128, 256, 384};
    struct matrices m = matrices_new();
    for (uint32_t rows = 32; rows <= ROWS_MAX; rows += rows < 64 ? 1 : 17) {
        for (size_t i = 0; i < sizeof inners / sizeof *inners; i++) {
            for (int add = 0; add < 2; add++) {
                trainer_gemm_nt(rows, 128, 128, inners[i], m.a, LD, m.b, LD, add, m.expected, LD);
                trainer_gemm_nt(rows, 64, 128, inners[i], m.a, LD, m.b, LD, add, m.c, LD);
                trainer_gemm_nt(rows, 64, 128, inners[i], m.a, LD, m.b + 64 * LD, LD, add, m.c + 64, LD);
                check(&m, "halves", (struct shape){rows, 128, inners[i]});
            }
        }
    }
    matrices_free(&m);
}
