// Events that wait: pool and heap. See pending.h.
#include "consumer/pending.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/section.h"

enum {
    POOL_CLASSES = 64,           // sizes with a free list; larger blocks come from malloc
    POOL_SLAB_MIN = 16384,       // bytes taken at a time, doubling
    POOL_SLAB_MAX = 1024 * 1024, // up to this
    HEAP_WAYS = 4,               // children of a node
    HEAP_CAPACITY_MIN = 64,      // events
};

struct pool_slab {
    struct pool_slab *next;
    max_align_t bytes[];
};

struct consumer_pool {
    struct consumer_pending *free[POOL_CLASSES + 1]; // [size / CONSUMER_POOL_STEP]
    struct pool_slab *slabs;
    uint8_t *rest; // of the newest slab
    size_t rest_size;
    size_t slab_size;
};

struct consumer_pool *consumer_pool_new(void)
{
    struct consumer_pool *pool = base_alloc_zeroed(1, sizeof *pool);
    pool->slab_size = POOL_SLAB_MIN;
    return pool;
}

void consumer_pool_free(struct consumer_pool *pool)
{
    if (!pool) {
        return;
    }
    while (pool->slabs) {
        struct pool_slab *slab = pool->slabs;
        pool->slabs = slab->next;
        free(slab);
    }
    free(pool);
}

// A block of `size` bytes, a multiple of CONSUMER_POOL_STEP.
static struct consumer_pending *pool_block(struct consumer_pool *pool, size_t size)
{
    if (size > POOL_CLASSES * CONSUMER_POOL_STEP) {
        return base_alloc(size);
    }
    struct consumer_pending *block = pool->free[size / CONSUMER_POOL_STEP];
    if (block) {
        pool->free[size / CONSUMER_POOL_STEP] = block->older;
        return block;
    }
    if (pool->rest_size < size) {
        struct pool_slab *slab = base_alloc(sizeof *slab + pool->slab_size);
        slab->next = pool->slabs;
        pool->slabs = slab;
        pool->rest = (uint8_t *)slab->bytes;
        pool->rest_size = pool->slab_size;
        pool->slab_size *= pool->slab_size < POOL_SLAB_MAX ? 2 : 1;
    }
    block = (void *)pool->rest;
    pool->rest += size;
    pool->rest_size -= size;
    return block;
}

static void pool_copy(struct base_span *span, uint8_t **to)
{
    if (span->data) {
        if (span->size) {
            memcpy(*to, span->data, span->size);
        }
        span->data = *to;
        *to += span->size;
    }
}

// Bytes of an event's block.
static size_t pool_size(const struct consumer_event *event)
{
    size_t size = sizeof(struct consumer_pending) + event->columns.size + event->impression_id.size +
                  event->event_id.size + event->touch.size;
    return (size + CONSUMER_POOL_STEP - 1) / CONSUMER_POOL_STEP * CONSUMER_POOL_STEP;
}

struct consumer_pending *consumer_pool_take(struct consumer_pool *pool, const struct consumer_event *event)
{
    struct consumer_event copy = *event;
    if (copy.rank == 0) {
        copy.event_id = (struct base_span){0}; // the impression_id itself
    }
    struct consumer_pending *pending = pool_block(pool, pool_size(&copy));
    uint8_t *to = (uint8_t *)(pending + 1);
    pool_copy(&copy.columns, &to);
    pool_copy(&copy.impression_id, &to);
    pool_copy(&copy.event_id, &to);
    pool_copy(&copy.touch, &to);
    *pending = (struct consumer_pending){.event = copy};
    if (copy.impression_id.data) {
        pending->id_hash = base_hash_bytes(copy.impression_id, 0);
    }
    return pending;
}

size_t consumer_pending_bytes(const struct consumer_pending *pending)
{
    return pool_size(&pending->event);
}

void consumer_pool_give(struct consumer_pool *pool, struct consumer_pending *pending)
{
    size_t size = pool_size(&pending->event);
    if (size > POOL_CLASSES * CONSUMER_POOL_STEP) {
        free(pending);
        return;
    }
    pending->older = pool->free[size / CONSUMER_POOL_STEP];
    pool->free[size / CONSUMER_POOL_STEP] = pending;
}

void consumer_pending_save(const struct consumer_pending *pending, struct base_buffer *state)
{
    const struct consumer_event *event = &pending->event;
    uint64_t value;
    memcpy(&value, &event->value, sizeof value);
    base_buffer_u32(state, event->rank);
    base_buffer_u64(state, (uint64_t)event->offset);
    base_buffer_u64(state, (uint64_t)event->event_time);
    base_buffer_u64(state, (uint64_t)pending->time);
    base_buffer_u64(state, value);
    base_section_put_span(state, event->event_id);
    base_section_put_span(state, event->impression_id);
    base_section_put_span(state, event->touch);
    base_section_put_span(state, event->columns);
}

struct consumer_pending *consumer_pool_restore(struct consumer_pool *pool, uint32_t lane, uint32_t ranks,
                                               struct base_reader *state)
{
    struct consumer_event event = {.lane = lane};
    event.rank = base_reader_u32(state);
    event.offset = (int64_t)base_reader_u64(state);
    event.event_time = (int64_t)base_reader_u64(state);
    int64_t time = (int64_t)base_reader_u64(state);
    uint64_t value = base_reader_u64(state);
    memcpy(&event.value, &value, sizeof value);
    event.event_id = base_section_get_span(state);
    event.impression_id = base_section_get_span(state);
    event.touch = base_section_get_span(state);
    event.columns = base_section_get_span(state);
    if (event.rank == 0 || event.rank >= ranks || event.offset < 0 || event.offset > CONSUMER_OFFSET_MAX ||
        event.event_time < -CONSUMER_TIME_BOUND || event.event_time > CONSUMER_TIME_BOUND ||
        time < event.event_time || time > 4 * CONSUMER_TIME_BOUND) {
        state->failed = true;
    }
    if (state->failed) {
        return NULL;
    }
    struct consumer_pending *pending = consumer_pool_take(pool, &event);
    pending->time = time;
    return pending;
}

struct heap_entry {
    int64_t time;
    uint64_t order; // rank above offset
    struct consumer_pending *pending;
};

struct consumer_heap {
    struct heap_entry *entries; // [capacity]
    size_t count;
    size_t capacity;
};

struct consumer_heap *consumer_heap_new(void)
{
    struct consumer_heap *heap = base_alloc_zeroed(1, sizeof *heap);
    heap->capacity = HEAP_CAPACITY_MIN;
    heap->entries = base_alloc(heap->capacity * sizeof *heap->entries);
    return heap;
}

void consumer_heap_free(struct consumer_heap *heap)
{
    if (heap) {
        free(heap->entries);
        free(heap);
    }
}

static bool heap_before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

void consumer_heap_push(struct consumer_heap *heap, struct consumer_pending *pending)
{
    assert(pending->event.offset >= 0 && pending->event.offset <= CONSUMER_OFFSET_MAX);
    if (heap->count == heap->capacity) {
        heap->capacity *= 2;
        heap->entries = base_realloc(heap->entries, heap->capacity * sizeof *heap->entries);
    }
    struct heap_entry entry = {
        pending->time, (uint64_t)pending->event.rank << 56 | (uint64_t)pending->event.offset, pending};
    size_t hole = heap->count++;
    while (hole > 0) {
        size_t parent = (hole - 1) / HEAP_WAYS;
        if (!heap_before(&entry, &heap->entries[parent])) {
            break;
        }
        heap->entries[hole] = heap->entries[parent];
        hole = parent;
    }
    heap->entries[hole] = entry;
}

struct consumer_pending *consumer_heap_first(const struct consumer_heap *heap)
{
    return heap->count ? heap->entries[0].pending : NULL;
}

struct consumer_pending *consumer_heap_pop(struct consumer_heap *heap)
{
    assert(heap->count);
    struct consumer_pending *first = heap->entries[0].pending;
    struct heap_entry last = heap->entries[--heap->count];
    size_t hole = 0;
    for (;;) {
        size_t child = HEAP_WAYS * hole + 1;
        if (child >= heap->count) {
            break;
        }
        size_t end = child + HEAP_WAYS < heap->count ? child + HEAP_WAYS : heap->count;
        size_t least = child;
        for (size_t i = child + 1; i < end; i++) {
            if (heap_before(&heap->entries[i], &heap->entries[least])) {
                least = i;
            }
        }
        if (!heap_before(&heap->entries[least], &last)) {
            break;
        }
        heap->entries[hole] = heap->entries[least];
        hole = least;
    }
    heap->entries[hole] = last;
    return first;
}

uint64_t consumer_heap_count(const struct consumer_heap *heap)
{
    return heap->count;
}
