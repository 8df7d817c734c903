// Arena: a list of blocks, each cut into pieces from its start. See arena.h.
#include "consumer/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { ARENA_BLOCK = 4096 };

struct consumer_arena_block {
    struct consumer_arena_block *next;
    size_t used;
    size_t size;
    alignas(max_align_t) unsigned char bytes[];
};

void *consumer_arena_alloc(struct consumer_arena *arena, size_t size)
{
    size = (size + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    struct consumer_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < size) {
        size_t room = size > ARENA_BLOCK ? size : ARENA_BLOCK;
        block = base_alloc_zeroed(1, sizeof *block + room);
        block->size = room;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *piece = block->bytes + block->used;
    block->used += size;
    return piece;
}

char *consumer_arena_copy(struct consumer_arena *arena, const void *data, size_t size)
{
    char *copy = consumer_arena_alloc(arena, size + 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

void consumer_arena_free(struct consumer_arena *arena)
{
    while (arena->blocks) {
        struct consumer_arena_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
}
