// Arenas of rows. See arena.h.
#include "trainer/arena.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"

void *trainer_arena_pages(size_t size)
{
    size_t huge = TRAINER_ARENA_CHUNK;
    if (size < huge) {
        return base_alloc_aligned(size);
    }
    size = (size + huge - 1) / huge * huge;
    void *memory = aligned_alloc(huge, size);
    if (!memory) {
        fprintf(stderr, "out of memory: %zu bytes for the embedding table\n", size);
        abort();
    }
    // Only a wish: without huge pages the table works, slower.
    (void)madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 0, size);
    return memory;
}

void trainer_arena_init(struct trainer_arena *arena, uint32_t dimension)
{
    *arena = (struct trainer_arena){.dimension = dimension, .free = TRAINER_ROW_NONE};
    while (((size_t)dimension * sizeof(float) << arena->shift) < TRAINER_ARENA_CHUNK) {
        arena->shift++;
    }
}

void trainer_arena_free(struct trainer_arena *arena)
{
    for (uint32_t i = 0; i < arena->chunks; i++) {
        free(arena->meta[i]);
        free(arena->vectors[i]);
    }
    free(arena->meta);
    free(arena->vectors);
    *arena = (struct trainer_arena){0};
}

static void arena_grow(struct trainer_arena *arena)
{
    if (arena->chunks == arena->capacity) {
        arena->capacity = arena->capacity ? 2 * arena->capacity : 16;
        arena->meta = base_realloc(arena->meta, arena->capacity * sizeof *arena->meta);
        arena->vectors = base_realloc(arena->vectors, arena->capacity * sizeof *arena->vectors);
    }
    size_t rows = (size_t)1 << arena->shift;
    arena->meta[arena->chunks] = trainer_arena_pages(rows * sizeof(struct trainer_meta));
    arena->vectors[arena->chunks] = trainer_arena_pages(rows * arena->dimension * sizeof(float));
    arena->chunks++;
}

uint32_t trainer_arena_take(struct trainer_arena *arena)
{
    uint32_t row = arena->free;
    if (row != TRAINER_ROW_NONE) {
        arena->free = trainer_arena_meta(arena, row)->next;
    } else {
        if (arena->rows >> arena->shift == arena->chunks) {
            arena_grow(arena);
        }
        row = arena->rows++;
    }
    struct trainer_meta *meta = trainer_arena_meta(arena, row);
    assert(!meta->used);
    *meta = (struct trainer_meta){.used = 1, .next = TRAINER_ROW_NONE};
    return row;
}

void trainer_arena_give(struct trainer_arena *arena, uint32_t row)
{
    struct trainer_meta *meta = trainer_arena_meta(arena, row);
    assert(meta->used);
    *meta = (struct trainer_meta){.next = arena->free};
    arena->free = row;
}

uint64_t trainer_arena_bytes(const struct trainer_arena *arena)
{
    uint64_t row = sizeof(struct trainer_meta) + arena->dimension * sizeof(float);
    return ((uint64_t)arena->chunks << arena->shift) * row;
}
