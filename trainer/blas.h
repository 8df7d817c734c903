// BLAS: the one place that calls the library, and the choice of its kernels. Only blas.c includes cblas.h.
//
// All matrices are row-major; a leading dimension (ld) is the distance between two rows, in floats. Inner
// dimensions are cut into pieces of at most TRAINER_BLAS_PIECE, added in ascending order, so that the library
// never chooses where to cut. docs/determinism.md says what this guarantees under which kernels.
#ifndef TRAINER_BLAS_H
#define TRAINER_BLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TRAINER_BLAS_PIECE = 384,
    TRAINER_BLAS_TEXT_MAX = 512,
};

// Makes the library run the wanted kernels, single-threaded: if the environment (OPENBLAS_CORETYPE,
// OPENBLAS_NUM_THREADS, OPENBLAS_L2_SIZE) differs from it, sets it and executes this program anew, because
// the library reads it when it is loaded. Call first in main, before any thread. It returns when nothing
// needs to change, or when executing failed (the program then runs with the kernels it has, and
// trainer_blas_describe tells). `argv` is main's.
void trainer_blas_pin(char **argv);

// The core type that trainer_blas_pin chooses on this machine: "SkylakeX" with AVX-512 F, BW, VL and DQ,
// "Haswell" with AVX2 and FMA, else NULL (the library's own choice).
const char *trainer_blas_wanted(void);
// The core type that runs.
const char *trainer_blas_core(void);
// True if under the core type that runs a row's result does not depend on how many rows are in the call.
bool trainer_blas_rows_stable(void);

// Version, core type, threads, CPU features and the C library's version (expf and its kin), in one line, cut
// at `size`. Two processes with the same text compute the same bits.
void trainer_blas_describe(char *text, size_t size);

// C [m x n] = A [m x k] B [k x n], or C += A B if `add`.
void trainer_blas_nn(uint32_t m, uint32_t n, uint32_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, bool add, float *c, size_t ldc);
// C [m x n] = A [m x k] B^T with B [n x k], or C += A B^T if `add`.
void trainer_blas_nt(uint32_t m, uint32_t n, uint32_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, bool add, float *c, size_t ldc);
// C [m x n] += alpha A^T B with A [k x m], B [k x n].
void trainer_blas_tn(uint32_t m, uint32_t n, uint32_t k, float alpha, const float *a, size_t lda,
                     const float *b, size_t ldb, float *c, size_t ldc);

#endif
