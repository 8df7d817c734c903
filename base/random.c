// Random numbers from counters. See random.h.
#include "base/random.h"

#include <math.h>

#include "base/hash.h"

static uint64_t random_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t base_random_key(uint64_t seed, const char *purpose)
{
    return base_hash_bytes(base_span_string(purpose), seed);
}

uint64_t base_random_bits(uint64_t key, uint64_t counter)
{
    return random_mix(random_mix(key) + counter * 0x9e3779b97f4a7c15u);
}

double base_random_uniform(uint64_t key, uint64_t counter)
{
    return (double)(base_random_bits(key, counter) >> 11) * 0x1p-53;
}

double base_random_normal(uint64_t key, uint64_t counter)
{
    double u = 1.0 - base_random_uniform(key, 2 * counter); // (0, 1]: its logarithm is finite
    double v = base_random_uniform(key, 2 * counter + 1);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

double base_random_exponential(uint64_t key, uint64_t counter)
{
    return -log(1.0 - base_random_uniform(key, counter));
}
