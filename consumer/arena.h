// An arena: small pieces of memory with one lifetime. Never moves what it gave.
#ifndef CONSUMER_ARENA_H
#define CONSUMER_ARENA_H

#include <stddef.h>

// Zero-initialised is empty.
struct consumer_arena {
    struct consumer_arena_block *blocks;
};

// `size` zeroed bytes, aligned for any type, that live until consumer_arena_free.
void *consumer_arena_alloc(struct consumer_arena *arena, size_t size);
// A copy of `size` bytes, with a NUL behind them.
char *consumer_arena_copy(struct consumer_arena *arena, const void *data, size_t size);
void consumer_arena_free(struct consumer_arena *arena);

#endif
