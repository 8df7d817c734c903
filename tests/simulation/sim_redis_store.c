// The keys of the simulated Redis. See sim_redis_store.h.
#include "simulation/sim_redis_store.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "simulation/sim_redis.h"

enum { STORE_BUCKETS = 64 };

// ---- values ----

struct sim_value *sim_value_new(struct base_span bytes)
{
    struct sim_value *value = base_alloc(sizeof *value + bytes.size);
    value->references = 1;
    value->size = bytes.size;
    if (bytes.size) {
        memcpy(value->data, bytes.data, bytes.size);
    }
    return value;
}

static void value_release(struct sim_value *value)
{
    if (value && --value->references == 0) {
        free(value);
    }
}

static uint64_t value_hash(const struct sim_value *value, uint64_t seed)
{
    return base_hash_bytes(base_span_make(value->data, value->size), seed);
}

struct sim_announcement *sim_announcement_new(struct sim_announcement *older, int64_t ms, uint64_t sequence,
                                              struct base_span fields)
{
    struct sim_announcement *announcement = base_alloc_zeroed(1, sizeof *announcement);
    announcement->references = 1;
    announcement->older = older;
    announcement->count = 1 + (older ? older->count : 0);
    announcement->ms = ms;
    announcement->sequence = sequence;
    announcement->fields = sim_value_new(fields);
    uint64_t id[3] = {older ? older->hash : 0, (uint64_t)ms, sequence};
    announcement->hash = value_hash(announcement->fields, base_hash_bytes(base_span_make(id, sizeof id), 0));
    return announcement;
}

void sim_announcement_release(struct sim_announcement *announcement)
{
    while (announcement && --announcement->references == 0) {
        struct sim_announcement *older = announcement->older;
        value_release(announcement->fields);
        free(announcement);
        announcement = older;
    }
}

struct sim_entry *sim_entry_string(struct sim_value *value, int64_t expires_ms)
{
    struct sim_entry *entry = base_alloc_zeroed(1, sizeof *entry);
    *entry = (struct sim_entry){.references = 1, .value = value, .expires_ms = expires_ms};
    entry->hash = value_hash(value, (uint64_t)expires_ms);
    return entry;
}

struct sim_entry *sim_entry_stream(struct sim_announcement *newest, int64_t expires_ms)
{
    struct sim_entry *entry = base_alloc_zeroed(1, sizeof *entry);
    *entry = (struct sim_entry){.references = 1, .newest = newest, .expires_ms = expires_ms};
    entry->hash = base_hash_bytes(base_span_make(&newest->hash, sizeof newest->hash), (uint64_t)expires_ms);
    return entry;
}

struct sim_entry *sim_entry_expiring(const struct sim_entry *entry, int64_t expires_ms)
{
    if (entry->value) {
        entry->value->references++;
        return sim_entry_string(entry->value, expires_ms);
    }
    entry->newest->references++;
    return sim_entry_stream(entry->newest, expires_ms);
}

static void entry_release(struct sim_entry *entry)
{
    if (entry && --entry->references == 0) {
        value_release(entry->value);
        sim_announcement_release(entry->newest);
        free(entry);
    }
}

// ---- keys ----

void sim_store_init(struct sim_store *store)
{
    *store = (struct sim_store){
        .buckets = base_alloc_zeroed(STORE_BUCKETS, sizeof(struct sim_slot *)),
        .bucket_count = STORE_BUCKETS,
        .undo = base_alloc(SIM_REDIS_UNDO_MAX * sizeof(struct sim_undo)),
    };
}

static void store_drop_undo(struct sim_store *store, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        entry_release(store->undo[i].before);
    }
    store->undo_count -= count;
    store->undone_before += count;
    memmove(store->undo, store->undo + count, store->undo_count * sizeof *store->undo);
}

void sim_store_done(struct sim_store *store)
{
    store_drop_undo(store, store->undo_count);
    for (uint32_t i = 0; i < store->bucket_count; i++) {
        while (store->buckets[i]) {
            struct sim_slot *slot = store->buckets[i];
            store->buckets[i] = slot->next;
            entry_release(slot->entry);
            free(slot->key);
            free(slot);
        }
    }
    free(store->buckets);
    free(store->undo);
}

static void store_grow(struct sim_store *store)
{
    uint32_t count = store->bucket_count * 2;
    struct sim_slot **buckets = base_alloc_zeroed(count, sizeof *buckets);
    for (uint32_t i = 0; i < store->bucket_count; i++) {
        while (store->buckets[i]) {
            struct sim_slot *slot = store->buckets[i];
            store->buckets[i] = slot->next;
            slot->next = buckets[slot->key_hash % count];
            buckets[slot->key_hash % count] = slot;
        }
    }
    free(store->buckets);
    store->buckets = buckets;
    store->bucket_count = count;
}

struct sim_slot *sim_store_slot(struct sim_store *store, struct base_span key)
{
    uint64_t hash = base_hash_bytes(key, 0);
    for (struct sim_slot *slot = store->buckets[hash % store->bucket_count]; slot; slot = slot->next) {
        if (slot->key_hash == hash && base_span_equal(base_span_make(slot->key, slot->key_size), key)) {
            return slot;
        }
    }
    if (store->slot_count == store->bucket_count) {
        store_grow(store);
    }
    struct sim_slot *slot = base_alloc_zeroed(1, sizeof *slot);
    slot->key = base_alloc(key.size + 1);
    memcpy(slot->key, key.data, key.size);
    slot->key[key.size] = '\0';
    slot->key_size = key.size;
    slot->key_hash = hash;
    slot->next = store->buckets[hash % store->bucket_count];
    store->buckets[hash % store->bucket_count] = slot;
    store->slot_count++;
    return slot;
}

// What a key adds to the hash of all: by XOR, so that the order does not matter.
static uint64_t slot_hash(const struct sim_slot *slot)
{
    if (!slot->entry) {
        return 0;
    }
    uint64_t pair[2] = {slot->key_hash, slot->entry->hash};
    return base_hash_bytes(base_span_make(pair, sizeof pair), 1);
}

void sim_store_put(struct sim_store *store, struct sim_slot *slot, struct sim_entry *entry)
{
    if (!slot->entry && !entry) {
        return;
    }
    if (store->undo_count == SIM_REDIS_UNDO_MAX) {
        store_drop_undo(store, SIM_REDIS_UNDO_MAX / 2);
    }
    store->undo[store->undo_count++] = (struct sim_undo){slot, slot->entry, store->command};
    store->hash ^= slot_hash(slot);
    slot->entry = entry;
    store->hash ^= slot_hash(slot);
}

void sim_store_each(struct sim_store *store, void (*visit)(void *context, struct sim_slot *slot),
                    void *context)
{
    for (uint32_t i = 0; i < store->bucket_count; i++) {
        for (struct sim_slot *slot = store->buckets[i]; slot; slot = slot->next) {
            if (slot->entry) {
                visit(context, slot);
            }
        }
    }
}

uint64_t sim_store_mark(const struct sim_store *store)
{
    return store->undone_before + store->undo_count;
}

static void store_undo_last(struct sim_store *store)
{
    struct sim_undo *undo = &store->undo[--store->undo_count];
    store->hash ^= slot_hash(undo->slot);
    entry_release(undo->slot->entry);
    undo->slot->entry = undo->before;
    store->hash ^= slot_hash(undo->slot);
}

void sim_store_rewind(struct sim_store *store, uint64_t mark)
{
    assert(mark >= store->undone_before && mark <= store->undone_before + store->undo_count);
    while (store->undone_before + store->undo_count > mark) {
        store_undo_last(store);
    }
}

void sim_store_forget(struct sim_store *store, uint32_t commands)
{
    for (uint32_t i = 0; i < commands && store->undo_count > 0; i++) {
        uint64_t command = store->undo[store->undo_count - 1].command;
        while (store->undo_count > 0 && store->undo[store->undo_count - 1].command == command) {
            store_undo_last(store);
        }
    }
}

static void slot_remove(void *context, struct sim_slot *slot)
{
    sim_store_put(context, slot, NULL);
}

void sim_store_clear(struct sim_store *store)
{
    sim_store_each(store, slot_remove, store);
    store_drop_undo(store, store->undo_count);
}
