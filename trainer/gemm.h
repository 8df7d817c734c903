// Matrix products of a network's layers: our own AVX-512 kernels where they give the library's bits, else the
// library (blas.h).
//
// They run where the library runs its SkylakeX kernels. Those compute a piece of the inner dimension as one
// chain of fma in order of k for each result, and so do ours: docs/determinism.md, section 3. Ours are the
// faster ones on the network's shapes because nothing but a narrow panel of B is packed, in the first-level
// cache's own order, and because bias and ReLU are done before a result leaves its register.
//
// The library computes small products otherwise (for the form A B^T even in another order). To keep its bits
// these are left to it: a piece with at most TRAINER_GEMM_SMALL multiplications, except in the form A B,
// where both agree.
//
// Widths of C and inner dimensions of A B^T are multiples of 16; all else as in blas.h.
#ifndef TRAINER_GEMM_H
#define TRAINER_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRAINER_GEMM_SMALL = 1000000 };

// True where our own kernels run.
bool trainer_gemm_own(void);

// C [m x n] = A [m x k] B [k x n]; then, unless `bias` [n] is NULL, C = max(0, C + bias) in every row; a NaN
// stays a NaN.
void trainer_gemm_nn(uint32_t m, uint32_t n, uint32_t k, const float *a, size_t lda, const float *b,
                     size_t ldb, const float *bias, float *c, size_t ldc);
// C [m x n] = A [m x k] B^T with B [n x k], or C += A B^T if `add`. C is a block of `whole` columns' product,
// whose size decides whether it is small.
void trainer_gemm_nt(uint32_t m, uint32_t n, uint32_t whole, uint32_t k, const float *a, size_t lda,
                     const float *b, size_t ldb, bool add, float *c, size_t ldc);
// C [m x n] += alpha A^T B with A [k x m], B [k x n].
void trainer_gemm_tn(uint32_t m, uint32_t n, uint32_t k, float alpha, const float *a, size_t lda,
                     const float *b, size_t ldb, float *c, size_t ldc);

#endif
