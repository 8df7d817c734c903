// The keys of the simulated Redis: values that are never changed but replaced, and a list of what they
// replaced, so that the last changes can be taken back.
#ifndef TESTS_SIMULATION_SIM_REDIS_STORE_H
#define TESTS_SIMULATION_SIM_REDIS_STORE_H

#include "base/bytes.h"

// Bytes shared by all that refer to them.
struct sim_value {
    uint32_t references;
    size_t size;
    uint8_t data[];
};

// An entry of a stream, the newest first; older ones are shared.
struct sim_announcement {
    uint32_t references;
    struct sim_announcement *older;
    uint64_t count; // with the older ones
    int64_t ms;     // the id's two halves
    uint64_t sequence;
    uint64_t hash;            // of it and the older ones
    struct sim_value *fields; // RESP: the array of fields and values
};

// What a key holds: a string or a stream.
struct sim_entry {
    uint32_t references;
    struct sim_value *value;         // string; else NULL
    struct sim_announcement *newest; // stream; else NULL
    int64_t expires_ms;              // monotonic; -1: never
    uint64_t hash;
};

struct sim_slot {
    char *key; // stays once seen
    size_t key_size;
    uint64_t key_hash;
    struct sim_entry *entry; // NULL: no such key now
    struct sim_slot *next;   // of the same bucket
};

struct sim_undo {
    struct sim_slot *slot;
    struct sim_entry *before; // NULL: none
    uint64_t command;         // which made the change
};

struct sim_store {
    struct sim_slot **buckets;
    uint32_t bucket_count, slot_count;
    uint64_t hash; // of all entries together
    uint64_t command;
    struct sim_undo *undo; // the last undo_count of undone_before + undo_count changes
    uint32_t undo_count;
    uint64_t undone_before; // changes that are too old to be undone
};

void sim_store_init(struct sim_store *store);
void sim_store_done(struct sim_store *store);
// Makes the slot of a key if there is none.
struct sim_slot *sim_store_slot(struct sim_store *store, struct base_span key);
// Puts an entry (owned by the store from here on; NULL: removes) in place of what is there.
void sim_store_put(struct sim_store *store, struct sim_slot *slot, struct sim_entry *entry);
void sim_store_each(struct sim_store *store, void (*visit)(void *context, struct sim_slot *slot),
                    void *context);
uint64_t sim_store_mark(const struct sim_store *store);
void sim_store_rewind(struct sim_store *store, uint64_t mark);
// Takes back the last `commands` commands that changed something, as far as they are known.
void sim_store_forget(struct sim_store *store, uint32_t commands);
// Removes all, for good.
void sim_store_clear(struct sim_store *store);

struct sim_value *sim_value_new(struct base_span bytes);
struct sim_entry *sim_entry_string(struct sim_value *value, int64_t expires_ms); // takes the reference
struct sim_entry *sim_entry_stream(struct sim_announcement *newest, int64_t expires_ms); // likewise
// A copy with another expiry.
struct sim_entry *sim_entry_expiring(const struct sim_entry *entry, int64_t expires_ms);
struct sim_announcement *sim_announcement_new(struct sim_announcement *older, int64_t ms, uint64_t sequence,
                                              struct base_span fields); // takes older's reference
void sim_announcement_release(struct sim_announcement *announcement);

#endif
