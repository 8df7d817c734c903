// Tests of the orphans, and of the pool and the heap that hold events before.
#include "consumer/orphans.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"

static struct base_span span(const char *text)
{
    return base_span_string(text);
}

static struct consumer_pending *take(struct consumer_pool *pool, uint32_t rank, int64_t offset,
                                     const char *reference)
{
    struct consumer_event event = {
        .rank = rank, .offset = offset, .impression_id = span(reference), .touch = span("touch")};
    return consumer_pool_take(pool, &event);
}

Test(orphans, are_found_oldest_first_by_rank_and_key)
{
    struct consumer_pool *pool = consumer_pool_new();
    struct consumer_orphans *orphans = consumer_orphans_new();
    struct consumer_pending *a = take(pool, 1, 0, "x");
    struct consumer_pending *b = take(pool, 2, 1, "x");
    struct consumer_pending *c = take(pool, 1, 2, "x");
    struct consumer_pending *d = take(pool, 1, 3, "y");
    struct consumer_pending *all[] = {a, b, c, d};
    for (int i = 0; i < 4; i++) {
        consumer_orphans_add(orphans, all[i], all[i]->event.impression_id);
    }
    cr_assert_eq(consumer_orphans_count(orphans), 4);
    cr_assert_eq(consumer_orphans_find(orphans, 1, span("x")), a);
    cr_assert_eq(a->same_newer, c);
    cr_assert_null(c->same_newer);
    cr_assert_eq(consumer_orphans_find(orphans, 2, span("x")), b);
    cr_assert_eq(consumer_orphans_find(orphans, 1, span("y")), d);
    cr_assert_null(consumer_orphans_find(orphans, 2, span("y")));
    cr_assert_null(consumer_orphans_find(orphans, 3, span("x")));
    cr_assert_eq(consumer_orphans_oldest(orphans), a);

    // The key outlives the orphan whose bytes it was found by.
    consumer_orphans_take(orphans, a);
    memset((void *)(uintptr_t)a->event.impression_id.data, 'z', 1);
    consumer_pool_give(pool, a);
    cr_assert_eq(consumer_orphans_find(orphans, 1, span("x")), c);
    cr_assert_eq(consumer_orphans_oldest(orphans), b);
    consumer_orphans_take(orphans, c);
    cr_assert_null(consumer_orphans_find(orphans, 1, span("x")));
    consumer_orphans_take(orphans, d);
    consumer_orphans_take(orphans, b);
    cr_assert_null(consumer_orphans_oldest(orphans));
    consumer_orphans_free(orphans);
    consumer_pool_give(pool, b);
    consumer_pool_give(pool, c);
    consumer_pool_give(pool, d);
    consumer_pool_free(pool);
}

Test(orphans, many_come_and_go)
{
    enum { MANY = 2000 };
    struct consumer_pool *pool = consumer_pool_new();
    struct consumer_orphans *orphans = consumer_orphans_new();
    struct consumer_pending **held = calloc(MANY, sizeof *held);
    uint64_t empty = consumer_orphans_bytes(orphans);
    uint64_t count = 0;
    for (uint64_t i = 0; i < 10 * MANY; i++) {
        uint64_t at = base_random_bits(5, i) % MANY;
        char id[16];
        snprintf(id, sizeof id, "%llu", (unsigned long long)at / 3);
        if (held[at]) {
            consumer_orphans_take(orphans, held[at]);
            consumer_pool_give(pool, held[at]);
            held[at] = NULL;
            count--;
        } else {
            held[at] = take(pool, 1 + (uint32_t)at % 3, (int64_t)i, id);
            consumer_orphans_add(orphans, held[at], held[at]->event.impression_id);
            count++;
        }
        cr_assert_eq(consumer_orphans_count(orphans), count);
    }
    cr_assert_gt(consumer_orphans_bytes(orphans), empty + count * sizeof **held);
    int64_t last = -1;
    while (consumer_orphans_count(orphans)) {
        struct consumer_pending *oldest = consumer_orphans_oldest(orphans);
        cr_assert_gt(oldest->event.offset, last, "in the order in which they came");
        last = oldest->event.offset;
        char id[16];
        snprintf(id, sizeof id, "%.*s", (int)oldest->event.impression_id.size,
                 (const char *)oldest->event.impression_id.data);
        cr_assert_eq(consumer_orphans_find(orphans, oldest->event.rank, span(id)), oldest);
        consumer_orphans_take(orphans, oldest);
        consumer_pool_give(pool, oldest);
    }
    consumer_orphans_free(orphans);
    consumer_pool_free(pool);
    free(held);
}

Test(pending, a_copy_owns_its_bytes)
{
    struct consumer_pool *pool = consumer_pool_new();
    for (size_t size = 0; size < 20000; size += 331) {
        uint64_t columns[20000 / 8 + 1];
        char id[] = "impression";
        char touch[] = "";
        memset(columns, 7, sizeof columns);
        struct consumer_event event = {
            .rank = 0,
            .impression_id = span(id),
            .event_id = span(id),
            .touch = base_span_make(touch, 0),
            .columns = base_span_make(columns, size / 8 * 8),
        };
        struct consumer_pending *pending = consumer_pool_take(pool, &event);
        memset(columns, 0, sizeof columns);
        id[0] = 'x';
        cr_assert(base_span_equal(pending->event.impression_id, span("impression")));
        cr_assert(pending->event.touch.data, "empty is not null");
        cr_assert_null(pending->event.event_id.data, "an impression's is its impression_id");
        cr_assert_eq((uintptr_t)pending->event.columns.data % 8, 0);
        for (size_t i = 0; i < size / 8 * 8; i++) {
            cr_assert_eq(pending->event.columns.data[i], 7);
        }
        consumer_pool_give(pool, pending);
    }
    consumer_pool_free(pool);
}

Test(pending, the_heap_orders_by_time_rank_and_offset)
{
    enum { EVENTS = 3000 };
    struct consumer_pool *pool = consumer_pool_new();
    struct consumer_heap *heap = consumer_heap_new();
    for (uint64_t i = 0; i < EVENTS; i++) {
        uint64_t bits = base_random_bits(9, i);
        struct consumer_pending *pending = take(pool, bits & 7, (int64_t)(bits >> 8 & 0xff), "i");
        pending->time = (int64_t)(bits >> 16 & 0xf) - 8;
        consumer_heap_push(heap, pending);
    }
    struct consumer_pending *last = consumer_heap_pop(heap);
    for (uint64_t i = 1; i < EVENTS; i++) {
        cr_assert_eq(consumer_heap_count(heap), EVENTS - i);
        struct consumer_pending *next = consumer_heap_first(heap);
        cr_assert_eq(consumer_heap_pop(heap), next);
        bool ordered = last->time != next->time               ? last->time < next->time
                       : last->event.rank != next->event.rank ? last->event.rank < next->event.rank
                                                              : last->event.offset <= next->event.offset;
        cr_assert(ordered);
        consumer_pool_give(pool, last);
        last = next;
    }
    consumer_pool_give(pool, last);
    cr_assert_null(consumer_heap_first(heap));
    consumer_heap_free(heap);
    consumer_pool_free(pool);
}
