// Hashes: thin names over xxHash. See hash.h.
#include "base/hash.h"

#include <assert.h>

// Compiled here from its header, with our own optimisation: Debian's library takes twice as long for more
// than 240 bytes, and records, segments and the log's check are that long. The values are the same.
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t base_hash_bytes(struct base_span bytes, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes.data, bytes.size, seed);
}

uint64_t base_hash_slot_salt(const char *slot_name)
{
    return base_hash_bytes(base_span_string(slot_name), 0);
}

uint64_t base_hash_slot_bytes(uint64_t salt, struct base_span value)
{
    return base_hash_bytes(value, salt);
}

static void hash_put(uint8_t bytes[8], uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
}

uint64_t base_hash_slot_integer(uint64_t salt, int64_t value)
{
    uint8_t bytes[8];
    hash_put(bytes, (uint64_t)value);
    return base_hash_bytes(base_span_make(bytes, sizeof bytes), salt);
}

uint64_t base_hash_slot_keys(uint64_t salt, const uint64_t *keys, uint32_t count)
{
    uint8_t bytes[8 * BASE_HASH_KEYS_MAX];
    assert(count <= BASE_HASH_KEYS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        hash_put(bytes + (size_t)8 * i, keys[i]);
    }
    return base_hash_bytes(base_span_make(bytes, (size_t)8 * count), salt);
}

// The state itself is xxHash's; the wrapper type keeps its header out of ours.
struct base_hasher *base_hasher_new(void)
{
    XXH3_state_t *state = XXH3_createState();
    if (state) {
        XXH3_64bits_reset(state);
    }
    return (struct base_hasher *)state;
}

void base_hasher_update(struct base_hasher *hasher, const void *data, size_t size)
{
    XXH3_64bits_update((XXH3_state_t *)hasher, data, size);
}

uint64_t base_hasher_digest(const struct base_hasher *hasher)
{
    return XXH3_64bits_digest((const XXH3_state_t *)hasher);
}

void base_hasher_free(struct base_hasher *hasher)
{
    XXH3_freeState((XXH3_state_t *)hasher);
}
