// The compact index of a journey log: from the hash of a key to the numbers of records that may have it.
//
// A slot is eight bytes: 32 bits of the key's hash (the tag) and the low 32 bits of a record's number. The
// keys themselves stay in the log, so that whoever finds a number compares the whole key there: a tag alone
// never decides. Linear probing over a table that grows by half at a load of 4/5, so a record costs 10 to 15
// bytes here. Thread: one at a time.
#ifndef CONSUMER_INDEX_H
#define CONSUMER_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CONSUMER_INDEX_MAX = 0x7fffffff,  // records in one index
    CONSUMER_INDEX_RECORD_BYTES = 15, // most that a record costs here, in a large index
};

struct consumer_index;

struct consumer_index *consumer_index_new(void);
void consumer_index_free(struct consumer_index *index); // takes NULL

// The tag of a key's hash; never 0.
uint32_t consumer_index_tag(uint64_t hash);

// Where a search stands. Valid until the index changes.
struct consumer_index_probe {
    uint32_t slot;
    uint32_t number; // low 32 bits of the number found
};

// The first and the next record with this tag; false: there is none.
bool consumer_index_first(const struct consumer_index *index, uint32_t tag,
                          struct consumer_index_probe *probe);
bool consumer_index_next(const struct consumer_index *index, uint32_t tag,
                         struct consumer_index_probe *probe);

// Adds a record. The index must hold fewer than CONSUMER_INDEX_MAX.
void consumer_index_insert(struct consumer_index *index, uint32_t tag, uint32_t number);
// Puts a record in the place of the one that `probe` found, whose key it shares.
void consumer_index_replace(struct consumer_index *index, const struct consumer_index_probe *probe,
                            uint32_t number);
// Takes a record out. False: it was not in it (another took its place).
bool consumer_index_remove(struct consumer_index *index, uint32_t tag, uint32_t number);

// Asks the processor for the slots where a search of `tag` begins.
void consumer_index_prefetch(const struct consumer_index *index, uint32_t tag);

uint32_t consumer_index_count(const struct consumer_index *index);
size_t consumer_index_bytes(const struct consumer_index *index);

#endif
