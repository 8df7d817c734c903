// The calls to BLAS and the choice of its kernels. See blas.h.
#include "trainer/blas.h"

#include <cblas.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Holds the process id of a program that was executed anew, so that it does not try a second time.
static const char *const blas_guard = "FRESHET_BLAS_PINNED";

#if defined(__x86_64__)
struct blas_feature {
    const char *name;
    bool present;
};

enum { BLAS_FEATURES = 6 };

static void blas_features(struct blas_feature features[BLAS_FEATURES])
{
    __builtin_cpu_init();
    features[0] = (struct blas_feature){"avx2", __builtin_cpu_supports("avx2") != 0};
    features[1] = (struct blas_feature){"fma", __builtin_cpu_supports("fma") != 0};
    features[2] = (struct blas_feature){"avx512f", __builtin_cpu_supports("avx512f") != 0};
    features[3] = (struct blas_feature){"avx512bw", __builtin_cpu_supports("avx512bw") != 0};
    features[4] = (struct blas_feature){"avx512vl", __builtin_cpu_supports("avx512vl") != 0};
    features[5] = (struct blas_feature){"avx512dq", __builtin_cpu_supports("avx512dq") != 0};
}

const char *trainer_blas_wanted(void)
{
    struct blas_feature features[BLAS_FEATURES];
    blas_features(features);
    uint32_t present = 0;
    for (uint32_t i = 0; i < BLAS_FEATURES && features[i].present; i++) {
        present++;
    }
    return present == BLAS_FEATURES ? "SkylakeX" : present >= 2 ? "Haswell" : NULL;
}

static void blas_append_features(char *text, size_t size)
{
    struct blas_feature features[BLAS_FEATURES];
    blas_features(features);
    for (uint32_t i = 0; i < BLAS_FEATURES; i++) {
        size_t length = strlen(text);
        if (features[i].present) {
            snprintf(text + length, size - length, " %s", features[i].name);
        }
    }
}
#else
const char *trainer_blas_wanted(void)
{
    return NULL;
}

static void blas_append_features(char *text, size_t size)
{
    (void)text;
    (void)size;
}
#endif

static bool blas_environment_is(const char *name, const char *value)
{
    const char *present = getenv(name);
    return value ? present && strcmp(present, value) == 0 : !present;
}

void trainer_blas_pin(char **argv)
{
    const char *core = trainer_blas_wanted();
    if ((!core || blas_environment_is("OPENBLAS_CORETYPE", core)) &&
        blas_environment_is("OPENBLAS_NUM_THREADS", "1") && blas_environment_is("OPENBLAS_L2_SIZE", NULL)) {
        return;
    }
    char self[32];
    snprintf(self, sizeof self, "%ld", (long)getpid());
    if (blas_environment_is(blas_guard, self)) {
        return;
    }
    if ((core && setenv("OPENBLAS_CORETYPE", core, 1) != 0) || setenv("OPENBLAS_NUM_THREADS", "1", 1) != 0 ||
        unsetenv("OPENBLAS_L2_SIZE") != 0 || setenv(blas_guard, self, 1) != 0) {
        return;
    }
    execv("/proc/self/exe", argv);
}

const char *trainer_blas_core(void)
{
    return openblas_get_corename();
}

bool trainer_blas_rows_stable(void)
{
    return strcmp(openblas_get_corename(), "SkylakeX") == 0;
}

void trainer_blas_describe(char *text, size_t size)
{
    char line[TRAINER_BLAS_TEXT_MAX];
    snprintf(line, sizeof line, "%s, core %s, threads %d, glibc %s, cpu", openblas_get_config(),
             openblas_get_corename(), openblas_get_num_threads(), gnu_get_libc_version());
    blas_append_features(line, sizeof line);
    snprintf(text, size, "%s", line);
}

static uint32_t blas_piece(uint32_t k, uint32_t begin)
{
    return k - begin < TRAINER_BLAS_PIECE ? k - begin : TRAINER_BLAS_PIECE;
}

void trainer_blas_nn(uint32_t m, uint32_t n, uint32_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, bool add, float *c, size_t ldc)
{
    for (uint32_t at = 0; at < k; at += TRAINER_BLAS_PIECE) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)m, (blasint)n,
                    (blasint)blas_piece(k, at), 1.0f, a + at, (blasint)lda, b + at * ldb, (blasint)ldb,
                    add || at > 0 ? 1.0f : 0.0f, c, (blasint)ldc);
    }
}

void trainer_blas_nt(uint32_t m, uint32_t n, uint32_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, bool add, float *c, size_t ldc)
{
    for (uint32_t at = 0; at < k; at += TRAINER_BLAS_PIECE) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n,
                    (blasint)blas_piece(k, at), 1.0f, a + at, (blasint)lda, b + at, (blasint)ldb,
                    add || at > 0 ? 1.0f : 0.0f, c, (blasint)ldc);
    }
}

void trainer_blas_tn(uint32_t m, uint32_t n, uint32_t k, float alpha, const float *a, size_t lda,
                     const float *b, size_t ldb, float *c, size_t ldc)
{
    for (uint32_t at = 0; at < k; at += TRAINER_BLAS_PIECE) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)m, (blasint)n,
                    (blasint)blas_piece(k, at), alpha, a + at * lda, (blasint)lda, b + at * ldb, (blasint)ldb,
                    1.0f, c, (blasint)ldc);
    }
}
