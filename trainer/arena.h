// An arena: the rows of one dimension, in chunks that never move, so that a row's address is stable.
//
// A row's vector and what is known about it lie apart: vectors stay whole cache lines, and expiry walks the
// narrow part only. An optimiser's state lies behind the vector. Both are whole huge pages; freed rows are
// used again, the last one freed first.
#ifndef TRAINER_ARENA_H
#define TRAINER_ARENA_H

#include <stddef.h>
#include <stdint.h>

enum {
    TRAINER_ARENA_CHUNK = 2 << 20, // bytes of a huge page: of a chunk's vectors, at least, and of metas
    TRAINER_ARENA_METAS = 16,      // 1 << 16 metas are as much
};
#define TRAINER_ROW_NONE UINT32_MAX // no row

struct trainer_meta {
    uint64_t key;
    int64_t last_seen; // event time, ms
    uint32_t next;     // the next row of the expiry bucket or of the free list
    uint32_t count;    // occurrences, saturating
    uint8_t slot;
    uint8_t used;
    uint8_t changed; // it is in its slot's list of changed rows
    uint8_t dirty;   // the cut's generation in which it was resolved last; 0: the last cut has it (marks.c)
    uint32_t stamp;  // snapshots that had been taken when it changed last
};

struct trainer_arena {
    uint32_t dimension;
    uint32_t words; // of optimiser state behind each vector
    uint32_t shift; // a chunk has 1 << shift rows
    uint32_t rows;  // rows ever made; those free included
    uint32_t free;  // head of the free list
    uint32_t chunks, capacity;
    float **vectors;  // [capacity], by chunk
    uint64_t **marks; // two bit sets of a chunk's rows, one a generation of cuts (marks.c)
    uint32_t pages, pages_capacity;
    struct trainer_meta **meta; // [pages_capacity], by 1 << TRAINER_ARENA_METAS rows
};

static inline struct trainer_meta *trainer_arena_meta(const struct trainer_arena *arena, uint32_t row)
{
    return &arena->meta[row >> TRAINER_ARENA_METAS][row & ((1u << TRAINER_ARENA_METAS) - 1)];
}

static inline float *trainer_arena_vector(const struct trainer_arena *arena, uint32_t row)
{
    size_t place = row & ((1u << arena->shift) - 1);
    return &arena->vectors[row >> arena->shift][place * (arena->dimension + arena->words)];
}

// Bytes of a row's vector and state together.
static inline size_t trainer_arena_row_size(const struct trainer_arena *arena)
{
    return (arena->dimension + (size_t)arena->words) * sizeof(float);
}

// The chunk's rows that were marked in `generation` (1 or 2), a bit a row: [trainer_arena_words].
static inline size_t trainer_arena_words(const struct trainer_arena *arena)
{
    return (((size_t)1 << arena->shift) + 63) / 64;
}

static inline uint64_t *trainer_arena_marks(const struct trainer_arena *arena, uint32_t chunk,
                                            uint8_t generation)
{
    return arena->marks[chunk] + (generation - 1u) * trainer_arena_words(arena);
}

void trainer_arena_init(struct trainer_arena *arena, uint32_t dimension, uint32_t words);
void trainer_arena_free(struct trainer_arena *arena); // its contents; takes a zeroed one
// A row to fill; its meta is zeroed but for `used`. Aborts if memory runs out.
uint32_t trainer_arena_take(struct trainer_arena *arena);
void trainer_arena_give(struct trainer_arena *arena, uint32_t row);
// `count` rows in a row that no take will give out, and their first: their meta is zeroed; who asked for them
// sets what is used.
uint32_t trainer_arena_extend(struct trainer_arena *arena, uint32_t count);
uint64_t trainer_arena_bytes(const struct trainer_arena *arena);

// Zeroed memory, 64-byte aligned; from TRAINER_ARENA_CHUNK bytes on straight from the system, on huge pages
// if it has them. Aborts if there is none. trainer_arena_pages_free takes the size again, and NULL.
void *trainer_arena_pages(size_t size);
void trainer_arena_pages_free(void *memory, size_t size);

#endif
