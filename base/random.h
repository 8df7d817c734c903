// Random numbers from counters: a number is a pure function of (key, counter), so it depends on neither order
// nor threads. A key names a purpose ("weights of tower 1"): base_random_key.
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

// The key of a purpose under a seed.
uint64_t base_random_key(uint64_t seed, const char *purpose);
// 64 uniform bits: SplitMix64's finaliser over key and counter (Steele, Lea, Flood 2014).
uint64_t base_random_bits(uint64_t key, uint64_t counter);
// Uniform in [0, 1), 53 bits.
double base_random_uniform(uint64_t key, uint64_t counter);
// Standard normal by Box-Muller from counters 2c and 2c + 1.
double base_random_normal(uint64_t key, uint64_t counter);
// Exponential of mean 1.
double base_random_exponential(uint64_t key, uint64_t counter);

#endif
