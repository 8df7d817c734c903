// Hashes (XXH3, 64 bits) and the key of a categorical value: the one place that says which bytes are hashed.
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stdint.h>

#include "base/bytes.h"

uint64_t base_hash_bytes(struct base_span bytes, uint64_t seed);

// The salt of a slot: XXH3 of its name, seed 0.
uint64_t base_hash_slot_salt(const char *slot_name);

// The 64-bit key of a slot's value: XXH3 of the value's canonical bytes, seeded with the slot's salt.
// Canonical bytes: of a string, bytes, fixed or enum (its symbol) the bytes themselves; of an integer, of a
// boolean (0 or 1) and of a bucket number eight bytes, little-endian two's complement.
uint64_t base_hash_slot_bytes(uint64_t salt, struct base_span value);
uint64_t base_hash_slot_integer(uint64_t salt, int64_t value);

// The key of a combination of keys, as a cross of slots makes it: XXH3 of the keys, eight bytes each,
// little-endian, in order, seeded with the cross' salt. At most BASE_HASH_KEYS_MAX keys.
enum { BASE_HASH_KEYS_MAX = 4 };
uint64_t base_hash_slot_keys(uint64_t salt, const uint64_t *keys, uint32_t count);

// A running hash over several pieces, equal to that of their concatenation. Thread: the caller's.
struct base_hasher *base_hasher_new(void);
void base_hasher_update(struct base_hasher *hasher, const void *data, size_t size);
uint64_t base_hasher_digest(const struct base_hasher *hasher);
void base_hasher_free(struct base_hasher *hasher);

#endif
