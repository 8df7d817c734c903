// Matrix products. See gemm.h.
//
// C is computed in blocks of up to GEMM_ROWS x GEMM_COLUMNS numbers, which are held in registers over a
// whole piece of the inner dimension. Each step takes a row of B's panel (two vectors) and a number of A for
// each row of C. A is read where it lies, by strides, so that the forms A B and A^T B differ in nothing else;
// B's panel is packed once for all rows of C, for A B^T transposed on the way.
#include "trainer/gemm.h"

#include "base/simd.h"
#include "trainer/blas.h"

// y[n x width] = max(0, y + bias). The comparison is written so that NaN passes.
BASE_SIMD
static void gemm_activate(uint32_t m, uint32_t n, const float *bias, float *c, size_t ldc)
{
    for (uint32_t r = 0; r < m; r++) {
        float *row = c + r * ldc;
        for (uint32_t j = 0; j < n; j++) {
            float sum = row[j] + bias[j];
            row[j] = sum < 0.0f ? 0.0f : sum;
        }
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

#define GEMM_AVX512 __attribute__((target("avx512f")))
#define GEMM_INLINE __attribute__((target("avx512f"), always_inline)) static inline

enum {
    GEMM_ROWS = 8, // measured: docs/speed.md
    GEMM_VECTOR = 16,
    GEMM_COLUMNS = 2 * GEMM_VECTOR,
    GEMM_WIDE = 64, // columns of B that are packed at a time
    GEMM_AHEAD = 8, // rows of B that are prefetched ahead of their packing
};

// A piece's product: C = [C +] alpha A B, then bias and ReLU.
struct gemm_piece {
    uint32_t k;
    const float *a; // A's element (i, p) is a[i * row + p * inner]
    size_t row, inner;
    float alpha;
    bool add;
    const float *bias; // NULL: none
};

bool trainer_gemm_own(void)
{
    return trainer_blas_rows_stable() && __builtin_cpu_supports("avx512f");
}

GEMM_INLINE void gemm_store(const struct gemm_piece *piece, __m512 sum, const float *bias, float *c)
{
    __m512 value = _mm512_fmadd_ps(sum, _mm512_set1_ps(piece->alpha),
                                   piece->add ? _mm512_loadu_ps(c) : _mm512_setzero_ps());
    if (bias) {
        value = _mm512_add_ps(value, _mm512_loadu_ps(bias));
        __mmask16 below = _mm512_cmp_ps_mask(value, _mm512_setzero_ps(), _CMP_LT_OQ);
        value = _mm512_mask_blend_ps(below, value, _mm512_setzero_ps());
    }
    _mm512_storeu_ps(c, value);
}

// `rows` rows from row i on of the panel's columns at c; `two`: both of its vectors count. `rows` is a
// constant where this is inlined.
GEMM_INLINE void gemm_block(const struct gemm_piece *piece, uint32_t rows, uint32_t i, const float *panel,
                            bool two, const float *bias, float *c, size_t ldc)
{
    __m512 low[GEMM_ROWS], high[GEMM_ROWS];
    for (uint32_t r = 0; r < rows; r++) {
        low[r] = high[r] = _mm512_setzero_ps();
        __builtin_prefetch(c + r * ldc, 1); // it takes the piece's time to come
        __builtin_prefetch(c + r * ldc + GEMM_VECTOR, 1);
    }
    const float *a = piece->a + i * piece->row;
    size_t row = piece->row, inner = piece->inner;
    for (uint32_t p = piece->k; p > 0; p--, a += inner, panel += GEMM_COLUMNS) {
        __m512 b_low = _mm512_load_ps(panel), b_high = _mm512_load_ps(panel + GEMM_VECTOR);
        for (uint32_t r = 0; r < rows; r++) {
            __m512 number = _mm512_set1_ps(a[r * row]);
            low[r] = _mm512_fmadd_ps(number, b_low, low[r]);
            high[r] = _mm512_fmadd_ps(number, b_high, high[r]);
        }
    }
    for (uint32_t r = 0; r < rows; r++, c += ldc) {
        gemm_store(piece, low[r], bias, c);
        if (two) {
            gemm_store(piece, high[r], bias ? bias + GEMM_VECTOR : NULL, c + GEMM_VECTOR);
        }
    }
}

#define GEMM_CASE(rows)                                       \
    case rows:                                                \
        gemm_block(piece, rows, i, panel, two, bias, c, ldc); \
        break

GEMM_AVX512
static void gemm_rows(const struct gemm_piece *piece, uint32_t rows, uint32_t i, const float *panel, bool two,
                      const float *bias, float *c, size_t ldc)
{
    switch (rows) {
        GEMM_CASE(1);
        GEMM_CASE(2);
        GEMM_CASE(3);
        GEMM_CASE(4);
        GEMM_CASE(5);
        GEMM_CASE(6);
        GEMM_CASE(7);
        GEMM_CASE(8);
    default:
        break;
    }
}

// C's m rows over a packed panel of n <= GEMM_WIDE columns. The rows are cut evenly.
GEMM_AVX512
static void gemm_panel(const struct gemm_piece *piece, uint32_t m, uint32_t n, const float *panel,
                       const float *bias, float *c, size_t ldc)
{
    uint32_t cuts = (m + GEMM_ROWS - 1) / GEMM_ROWS;
    for (uint32_t cut = 0, i = 0; cut < cuts; cut++) {
        uint32_t end = (uint32_t)((uint64_t)m * (cut + 1) / cuts);
        for (uint32_t j = 0; j < n; j += GEMM_COLUMNS) {
            gemm_rows(piece, end - i, i, panel + (size_t)j * piece->k, n - j >= GEMM_COLUMNS,
                      bias ? bias + j : NULL, c + i * ldc + j, ldc);
        }
        i = end;
    }
}

// Packs B [k x n] by columns of GEMM_COLUMNS; the last may be half.
GEMM_AVX512
static void gemm_pack(uint32_t k, uint32_t n, const float *b, size_t ldb, float *panel)
{
    for (uint32_t j = 0; j < n; j += GEMM_COLUMNS) {
        bool two = n - j >= GEMM_COLUMNS;
        for (uint32_t p = 0; p < k; p++, panel += GEMM_COLUMNS) {
            const float *row = b + p * ldb + j;
            __builtin_prefetch(row + GEMM_AHEAD * ldb);
            __builtin_prefetch(row + GEMM_AHEAD * ldb + GEMM_VECTOR);
            _mm512_store_ps(panel, _mm512_loadu_ps(row));
            _mm512_store_ps(panel + GEMM_VECTOR,
                            two ? _mm512_loadu_ps(row + GEMM_VECTOR) : _mm512_setzero_ps());
        }
    }
}

// to[j][i] = b[i][j] for 16 x 16 numbers; rows of `to` are GEMM_COLUMNS apart.
GEMM_INLINE void gemm_transpose(const float *b, size_t ldb, float *to)
{
    __m512 x[16], y[16];
    for (int i = 0; i < 16; i++) {
        x[i] = _mm512_loadu_ps(b + (size_t)i * ldb);
    }
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) { // 4 x 4 blocks: x[i + c] has column c of each
        __m512d a = _mm512_castps_pd(y[i]), b2 = _mm512_castps_pd(y[i + 2]);
        __m512d c = _mm512_castps_pd(y[i + 1]), d = _mm512_castps_pd(y[i + 3]);
        x[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b2));
        x[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b2));
        x[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
        x[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
    }
    for (int i = 0; i < 4; i++) {
        y[i] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0x88);
        y[i + 4] = _mm512_shuffle_f32x4(x[i], x[i + 4], 0xdd);
        y[i + 8] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0x88);
        y[i + 12] = _mm512_shuffle_f32x4(x[i + 8], x[i + 12], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        _mm512_store_ps(to + i * GEMM_COLUMNS, _mm512_shuffle_f32x4(y[i], y[i + 8], 0x88));
        _mm512_store_ps(to + (i + 8) * GEMM_COLUMNS, _mm512_shuffle_f32x4(y[i], y[i + 8], 0xdd));
    }
}

// Packs B^T of B [n x k] as gemm_pack; k is a multiple of 16. A last half column stays unset: it is not used.
GEMM_AVX512
static void gemm_pack_transposed(uint32_t k, uint32_t n, const float *b, size_t ldb, float *panel)
{
    for (uint32_t j = 0; j < n; j += GEMM_VECTOR) {
        float *to = panel + (size_t)(j / GEMM_COLUMNS) * k * GEMM_COLUMNS + j % GEMM_COLUMNS;
        for (uint32_t p = 0; p < k; p += GEMM_VECTOR) {
            gemm_transpose(b + j * ldb + p, ldb, to + (size_t)p * GEMM_COLUMNS);
        }
    }
}

// C [m x n] = [C +] alpha A B over one piece.
static void gemm_multiply(const struct gemm_piece *piece, uint32_t m, uint32_t n, bool transposed,
                          const float *b, size_t ldb, float *c, size_t ldc)
{
    _Alignas(64) float panel[TRAINER_BLAS_PIECE * GEMM_WIDE];
    for (uint32_t j = 0; j < n; j += GEMM_WIDE) {
        uint32_t columns = n - j < GEMM_WIDE ? n - j : GEMM_WIDE;
        if (transposed) {
            gemm_pack_transposed(piece->k, columns, b + j * ldb, ldb, panel);
        } else {
            gemm_pack(piece->k, columns, b + j, ldb, panel);
        }
        gemm_panel(piece, m, columns, panel, piece->bias ? piece->bias + j : NULL, c + j, ldc);
    }
}
#else
struct gemm_piece {
    uint32_t k;
    const float *a;
    size_t row, inner;
    float alpha;
    bool add;
    const float *bias;
};

bool trainer_gemm_own(void)
{
    return false;
}

static void gemm_multiply(const struct gemm_piece *piece, uint32_t m, uint32_t n, bool transposed,
                          const float *b, size_t ldb, float *c, size_t ldc)
{
    (void)piece, (void)m, (void)n, (void)transposed, (void)b, (void)ldb, (void)c, (void)ldc;
}
#endif

static uint32_t gemm_inner(uint32_t k, uint32_t at)
{
    return k - at < TRAINER_BLAS_PIECE ? k - at : TRAINER_BLAS_PIECE;
}

static bool gemm_small(uint32_t m, uint32_t n, uint32_t k)
{
    return (uint64_t)m * n * k <= TRAINER_GEMM_SMALL;
}

void trainer_gemm_nn(uint32_t m, uint32_t n, uint32_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, const float *bias, float *c, size_t ldc)
{
    if (!trainer_gemm_own()) {
        trainer_blas_nn(m, n, k, a, lda, b, ldb, false, c, ldc);
        if (bias) {
            gemm_activate(m, n, bias, c, ldc);
        }
        return;
    }
    for (uint32_t at = 0; at < k; at += TRAINER_BLAS_PIECE) {
        uint32_t inner = gemm_inner(k, at);
        struct gemm_piece piece = {inner, a + at, lda, 1, 1.0f, at > 0, at + inner == k ? bias : NULL};
        gemm_multiply(&piece, m, n, false, b + at * ldb, ldb, c, ldc);
    }
}

void trainer_gemm_nt(uint32_t m, uint32_t n, uint32_t whole, uint32_t k, const float *a, size_t lda,
                     const float *b, size_t ldb, bool add, float *c, size_t ldc)
{
    bool own = trainer_gemm_own();
    for (uint32_t at = 0; at < k; at += TRAINER_BLAS_PIECE) {
        uint32_t inner = gemm_inner(k, at);
        struct gemm_piece piece = {inner, a + at, lda, 1, 1.0f, add || at > 0, NULL};
        if (own && !gemm_small(m, whole, inner)) {
            gemm_multiply(&piece, m, n, true, b + at, ldb, c, ldc);
        } else {
            trainer_blas_nt(m, n, inner, piece.a, lda, b + at, ldb, piece.add, c, ldc);
        }
    }
}

void trainer_gemm_tn(uint32_t m, uint32_t n, uint32_t k, float alpha, const float *a, size_t lda,
                     const float *b, size_t ldb, float *c, size_t ldc)
{
    bool own = trainer_gemm_own();
    for (uint32_t at = 0; at < k; at += TRAINER_BLAS_PIECE) {
        uint32_t inner = gemm_inner(k, at);
        struct gemm_piece piece = {inner, a + at * lda, 1, lda, alpha, true, NULL};
        if (own && !gemm_small(m, n, inner)) {
            gemm_multiply(&piece, m, n, false, b + at * ldb, ldb, c, ldc);
        } else {
            trainer_blas_tn(m, n, inner, alpha, piece.a, lda, b + at * ldb, ldb, c, ldc);
        }
    }
}
