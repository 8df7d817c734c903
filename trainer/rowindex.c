// Index of keys. See rowindex.h.
#include "trainer/rowindex.h"

#include <assert.h>

enum { ROWINDEX_BITS_MIN = 6, ROWINDEX_BITS_MAX = 32 };

static uint64_t *rowindex_entries(uint32_t bits)
{
    return trainer_arena_pages(sizeof(uint64_t) << bits);
}

void trainer_rowindex_init(struct trainer_rowindex *index)
{
    *index = (struct trainer_rowindex){rowindex_entries(ROWINDEX_BITS_MIN), ROWINDEX_BITS_MIN, 0};
}

void trainer_rowindex_free(struct trainer_rowindex *index)
{
    trainer_arena_pages_free(index->entries, sizeof *index->entries << index->bits);
    *index = (struct trainer_rowindex){0};
}

static uint64_t rowindex_mask(const struct trainer_rowindex *index)
{
    return (UINT64_C(1) << index->bits) - 1;
}

// Only the hash's upper half is used, which the entry has.
static void rowindex_place(struct trainer_rowindex *index, uint64_t entry)
{
    uint64_t i = trainer_rowindex_home(index, entry);
    while (index->entries[i]) {
        i = (i + 1) & rowindex_mask(index);
    }
    index->entries[i] = entry;
}

static void rowindex_grow(struct trainer_rowindex *index)
{
    assert(index->bits < ROWINDEX_BITS_MAX);
    uint64_t *old = index->entries;
    uint64_t size = UINT64_C(1) << index->bits;
    index->bits++;
    index->entries = rowindex_entries(index->bits);
    for (uint64_t i = 0; i < size; i++) {
        if (old[i]) {
            rowindex_place(index, old[i]);
        }
    }
    trainer_arena_pages_free(old, size * sizeof *old);
}

void trainer_rowindex_reserve(struct trainer_rowindex *index, uint64_t count)
{
    assert(index->used == 0);
    uint32_t bits = index->bits;
    while (4 * (count + 1) > UINT64_C(3) << bits) {
        bits++;
    }
    assert(bits <= ROWINDEX_BITS_MAX);
    if (bits > index->bits) {
        trainer_rowindex_free(index);
        *index = (struct trainer_rowindex){rowindex_entries(bits), bits, 0};
    }
}

void trainer_rowindex_insert(struct trainer_rowindex *index, uint64_t hash, uint32_t row)
{
    if (4 * (index->used + 1) > UINT64_C(3) << index->bits) {
        rowindex_grow(index);
    }
    rowindex_place(index, (hash & ~(uint64_t)UINT32_MAX) | (row + 1));
    index->used++;
}

void trainer_rowindex_remove(struct trainer_rowindex *index, uint64_t hash, uint32_t row)
{
    uint64_t mask = rowindex_mask(index);
    uint64_t *entries = index->entries;
    uint64_t hole = trainer_rowindex_home(index, hash);
    while ((uint32_t)entries[hole] != row + 1) {
        assert(entries[hole]);
        hole = (hole + 1) & mask;
    }
    // An entry behind the hole moves into it unless its home lies between the two.
    for (uint64_t i = (hole + 1) & mask; entries[i]; i = (i + 1) & mask) {
        uint64_t home = trainer_rowindex_home(index, entries[i]);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            entries[hole] = entries[i];
            hole = i;
        }
    }
    entries[hole] = 0;
    index->used--;
}
