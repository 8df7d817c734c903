// Function versions by instruction set, chosen when the program starts. The arithmetic is the same in each:
// loops marked so are element-wise or sum in a fixed number of lanes, and contraction is off.
#ifndef BASE_SIMD_H
#define BASE_SIMD_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(FRESHET_SANITIZED)
#define BASE_SIMD __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define BASE_SIMD
#endif

#endif
