// Arenas of rows. See arena.h.
#include "trainer/arena.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bytes.h"

static size_t arena_round(size_t size)
{
    return (size + TRAINER_ARENA_CHUNK - 1) / TRAINER_ARENA_CHUNK * TRAINER_ARENA_CHUNK;
}

void *trainer_arena_pages(size_t size)
{
    if (size < TRAINER_ARENA_CHUNK) {
        return base_alloc_aligned(size);
    }
    // One huge page more than needed, so that the rest can start at a huge page's boundary.
    size = arena_round(size);
    uint8_t *memory =
        mmap(NULL, size + TRAINER_ARENA_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "out of memory: %zu bytes for the embedding table\n", size);
        abort();
    }
    size_t before = (TRAINER_ARENA_CHUNK - (uintptr_t)memory % TRAINER_ARENA_CHUNK) % TRAINER_ARENA_CHUNK;
    if (before) {
        munmap(memory, before);
    }
    munmap(memory + before + size, TRAINER_ARENA_CHUNK - before);
    // Only a wish: without huge pages the table works, slower.
    (void)madvise(memory + before, size, MADV_HUGEPAGE);
    return memory + before;
}

void trainer_arena_pages_free(void *memory, size_t size)
{
    if (memory && size >= TRAINER_ARENA_CHUNK) {
        munmap(memory, arena_round(size));
    } else {
        free(memory);
    }
}

_Static_assert(sizeof(struct trainer_meta) << TRAINER_ARENA_METAS == TRAINER_ARENA_CHUNK, "a huge page");

static size_t arena_vectors_size(const struct trainer_arena *arena)
{
    return trainer_arena_row_size(arena) << arena->shift;
}

void trainer_arena_init(struct trainer_arena *arena, uint32_t dimension, uint32_t words)
{
    *arena = (struct trainer_arena){.dimension = dimension, .words = words, .free = TRAINER_ROW_NONE};
    while (arena_vectors_size(arena) < TRAINER_ARENA_CHUNK) {
        arena->shift++;
    }
}

void trainer_arena_free(struct trainer_arena *arena)
{
    for (uint32_t i = 0; i < arena->chunks; i++) {
        trainer_arena_pages_free(arena->vectors[i], arena_vectors_size(arena));
        free(arena->marks[i]);
    }
    for (uint32_t i = 0; i < arena->pages; i++) {
        trainer_arena_pages_free(arena->meta[i], TRAINER_ARENA_CHUNK);
    }
    free(arena->meta);
    free(arena->vectors);
    free(arena->marks);
    *arena = (struct trainer_arena){0};
}

static void arena_add_chunk(struct trainer_arena *arena)
{
    if (arena->chunks == arena->capacity) {
        arena->capacity = arena->capacity ? 2 * arena->capacity : 16;
        arena->vectors = base_realloc(arena->vectors, arena->capacity * sizeof *arena->vectors);
        arena->marks = base_realloc(arena->marks, arena->capacity * sizeof *arena->marks);
    }
    arena->vectors[arena->chunks] = trainer_arena_pages(arena_vectors_size(arena));
    arena->marks[arena->chunks] = base_alloc_zeroed(2 * trainer_arena_words(arena), sizeof **arena->marks);
    arena->chunks++;
}

static void arena_add_page(struct trainer_arena *arena)
{
    if (arena->pages == arena->pages_capacity) {
        arena->pages_capacity = arena->pages_capacity ? 2 * arena->pages_capacity : 16;
        arena->meta = base_realloc(arena->meta, arena->pages_capacity * sizeof *arena->meta);
    }
    arena->meta[arena->pages++] = trainer_arena_pages(TRAINER_ARENA_CHUNK);
}

// Room for all of `rows`.
static void arena_grow(struct trainer_arena *arena)
{
    while ((uint64_t)arena->chunks << arena->shift < arena->rows) {
        arena_add_chunk(arena);
    }
    while ((uint64_t)arena->pages << TRAINER_ARENA_METAS < arena->rows) {
        arena_add_page(arena);
    }
}

uint32_t trainer_arena_take(struct trainer_arena *arena)
{
    uint32_t row = arena->free;
    if (row != TRAINER_ROW_NONE) {
        arena->free = trainer_arena_meta(arena, row)->next;
    } else {
        row = arena->rows++;
        arena_grow(arena);
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

uint32_t trainer_arena_extend(struct trainer_arena *arena, uint32_t count)
{
    uint32_t first = arena->rows;
    assert(count <= TRAINER_ROW_NONE / 2 - first);
    arena->rows += count;
    arena_grow(arena);
    return first;
}

uint64_t trainer_arena_bytes(const struct trainer_arena *arena)
{
    return (uint64_t)arena->chunks *
               (arena_vectors_size(arena) + 2 * trainer_arena_words(arena) * sizeof **arena->marks) +
           (uint64_t)arena->pages * TRAINER_ARENA_CHUNK;
}
