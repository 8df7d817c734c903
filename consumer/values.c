// Values of joined actions. See values.h. Open addressing with linear probing, at most half full; a removed
// entry's followers move up, so that there are no tombstones.
#include "consumer/values.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "consumer/event.h"

enum { VALUES_CAPACITY_MIN = 16 };

static_assert((int)CONSUMER_TOPICS_MAX <= 8, "three bits of a key");

struct values_entry {
    uint64_t key; // number * 8 + rank + 1; 0: empty
    float value;
};

struct consumer_values {
    struct values_entry *entries; // [capacity], a power of two
    uint64_t capacity, count;
};

struct consumer_values *consumer_values_new(void)
{
    struct consumer_values *values = base_alloc_zeroed(1, sizeof *values);
    values->capacity = VALUES_CAPACITY_MIN;
    values->entries = base_alloc_zeroed(values->capacity, sizeof *values->entries);
    return values;
}

void consumer_values_free(struct consumer_values *values)
{
    if (values) {
        free(values->entries);
        free(values);
    }
}

static uint64_t values_key(uint64_t number, uint32_t rank)
{
    assert(number >> 56 == 0 && rank < CONSUMER_TOPICS_MAX);
    return number * 8 + rank + 1;
}

static uint64_t values_home(const struct consumer_values *values, uint64_t key)
{
    return (key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (values->capacity - 1);
}

// Where the key stands, or the empty place where it would.
static uint64_t values_place(const struct consumer_values *values, uint64_t key)
{
    uint64_t place = values_home(values, key);
    while (values->entries[place].key != 0 && values->entries[place].key != key) {
        place = (place + 1) & (values->capacity - 1);
    }
    return place;
}

static void values_set(struct consumer_values *values, struct values_entry entry)
{
    uint64_t place = values_place(values, entry.key);
    values->count += values->entries[place].key == 0;
    values->entries[place] = entry;
}

// Into a table of `capacity`, without the values of `rank` at records below `number`.
static void values_rebuild(struct consumer_values *values, uint64_t capacity, uint64_t number, uint32_t rank)
{
    struct consumer_values old = *values;
    values->entries = base_alloc_zeroed(capacity, sizeof *values->entries);
    values->capacity = capacity;
    values->count = 0;
    for (uint64_t i = 0; i < old.capacity; i++) {
        uint64_t key = old.entries[i].key;
        bool gone = key != 0 && (key - 1) % 8 == rank && (key - 1) / 8 < number;
        if (key != 0 && !gone) {
            values_set(values, old.entries[i]);
        }
    }
    free(old.entries);
}

void consumer_values_put(struct consumer_values *values, uint64_t number, uint32_t rank, float value)
{
    if (2 * (values->count + 1) > values->capacity) {
        values_rebuild(values, 2 * values->capacity, 0, 0);
    }
    values_set(values, (struct values_entry){values_key(number, rank), value});
}

float consumer_values_get(const struct consumer_values *values, uint64_t number, uint32_t rank)
{
    if (values->count == 0) {
        return NAN; // the usual case
    }
    const struct values_entry *entry = &values->entries[values_place(values, values_key(number, rank))];
    return entry->key != 0 ? entry->value : NAN;
}

void consumer_values_remove(struct consumer_values *values, uint64_t number, uint32_t rank)
{
    if (values->count == 0) {
        return;
    }
    uint64_t mask = values->capacity - 1;
    uint64_t hole = values_place(values, values_key(number, rank));
    if (values->entries[hole].key == 0) {
        return;
    }
    values->count--;
    for (uint64_t i = (hole + 1) & mask; values->entries[i].key != 0; i = (i + 1) & mask) {
        // It may fill the hole unless its home lies cyclically in (hole, i].
        uint64_t home = values_home(values, values->entries[i].key);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            values->entries[hole] = values->entries[i];
            hole = i;
        }
    }
    values->entries[hole] = (struct values_entry){0};
}

void consumer_values_remove_below(struct consumer_values *values, uint64_t number, uint32_t rank)
{
    values_rebuild(values, values->capacity, number, rank);
}

uint64_t consumer_values_count(const struct consumer_values *values)
{
    return values->count;
}

uint64_t consumer_values_bytes(const struct consumer_values *values)
{
    return sizeof *values + values->capacity * sizeof *values->entries;
}
