// The compact index of a journey log: linear probing over eight-byte slots. See index.h.
//
// A tag's home is tag * capacity / 2^32, so that any capacity serves and growth by half keeps the table
// dense. Removal shifts the followers back: there are no tombstones, and the table never needs cleaning.
#include "consumer/index.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"

enum { INDEX_CAPACITY_MIN = 16 };

struct index_slot {
    uint32_t tag; // 0: empty
    uint32_t number;
};

struct consumer_index {
    struct index_slot *slots; // [capacity]
    uint32_t capacity;
    uint32_t count;
};

struct consumer_index *consumer_index_new(void)
{
    struct consumer_index *index = base_alloc_zeroed(1, sizeof *index);
    index->capacity = INDEX_CAPACITY_MIN;
    index->slots = base_alloc_zeroed(index->capacity, sizeof *index->slots);
    return index;
}

void consumer_index_free(struct consumer_index *index)
{
    if (index) {
        free(index->slots);
        free(index);
    }
}

uint32_t consumer_index_tag(uint64_t hash)
{
    uint32_t tag = (uint32_t)hash;
    return tag ? tag : 1;
}

static uint32_t index_home(const struct consumer_index *index, uint32_t tag)
{
    return (uint32_t)(((uint64_t)tag * index->capacity) >> 32);
}

static uint32_t index_after(const struct consumer_index *index, uint32_t slot)
{
    return slot + 1 == index->capacity ? 0 : slot + 1;
}

// The first slot from `slot` on that has the tag; false at an empty one.
static bool index_seek(const struct consumer_index *index, uint32_t tag, uint32_t slot,
                       struct consumer_index_probe *probe)
{
    for (; index->slots[slot].tag; slot = index_after(index, slot)) {
        if (index->slots[slot].tag == tag) {
            *probe = (struct consumer_index_probe){slot, index->slots[slot].number};
            return true;
        }
    }
    return false;
}

bool consumer_index_first(const struct consumer_index *index, uint32_t tag,
                          struct consumer_index_probe *probe)
{
    return index_seek(index, tag, index_home(index, tag), probe);
}

bool consumer_index_next(const struct consumer_index *index, uint32_t tag, struct consumer_index_probe *probe)
{
    return index_seek(index, tag, index_after(index, probe->slot), probe);
}

static void index_place(struct consumer_index *index, struct index_slot entry)
{
    uint32_t slot = index_home(index, entry.tag);
    while (index->slots[slot].tag) {
        slot = index_after(index, slot);
    }
    index->slots[slot] = entry;
}

static void index_grow(struct consumer_index *index)
{
    struct index_slot *old = index->slots;
    uint32_t old_capacity = index->capacity;
    index->capacity = old_capacity + old_capacity / 2;
    index->slots = base_alloc_zeroed(index->capacity, sizeof *index->slots);
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i].tag) {
            index_place(index, old[i]);
        }
    }
    free(old);
}

void consumer_index_insert(struct consumer_index *index, uint32_t tag, uint32_t number)
{
    assert(tag && index->count < CONSUMER_INDEX_MAX);
    if ((uint64_t)(index->count + 1) * 5 > (uint64_t)index->capacity * 4) {
        index_grow(index);
    }
    index_place(index, (struct index_slot){tag, number});
    index->count++;
}

void consumer_index_replace(struct consumer_index *index, const struct consumer_index_probe *probe,
                            uint32_t number)
{
    assert(index->slots[probe->slot].tag && index->slots[probe->slot].number == probe->number);
    index->slots[probe->slot].number = number;
}

// Empties `hole`, moving back whatever a search could no longer reach across it.
static void index_close(struct consumer_index *index, uint32_t hole)
{
    uint32_t slot = hole;
    for (;;) {
        slot = index_after(index, slot);
        if (!index->slots[slot].tag) {
            break;
        }
        uint32_t home = index_home(index, index->slots[slot].tag);
        // Its home lies cyclically in (hole, slot]: a search for it does not pass the hole.
        bool reachable = hole <= slot ? hole < home && home <= slot : hole < home || home <= slot;
        if (!reachable) {
            index->slots[hole] = index->slots[slot];
            hole = slot;
        }
    }
    index->slots[hole] = (struct index_slot){0, 0};
}

bool consumer_index_remove(struct consumer_index *index, uint32_t tag, uint32_t number)
{
    struct consumer_index_probe probe;
    for (bool found = consumer_index_first(index, tag, &probe); found;
         found = consumer_index_next(index, tag, &probe)) {
        if (probe.number == number) {
            index_close(index, probe.slot);
            index->count--;
            return true;
        }
    }
    return false;
}

void consumer_index_prefetch(const struct consumer_index *index, uint32_t tag)
{
    __builtin_prefetch(&index->slots[index_home(index, tag)]);
}

uint32_t consumer_index_count(const struct consumer_index *index)
{
    return index->count;
}

size_t consumer_index_bytes(const struct consumer_index *index)
{
    return sizeof *index + index->capacity * sizeof *index->slots;
}
