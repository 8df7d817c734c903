// A ring of records that may not be handled yet. See ingest_unhandled.h.
#include "consumer/ingest_unhandled.h"

#include <stdlib.h>

#include "base/bytes.h"

enum { CAPACITY_FIRST = 64 };

static struct consumer_unhandled_record *unhandled_at(struct consumer_unhandled *unhandled, size_t index)
{
    return &unhandled->records[(unhandled->first + index) & (unhandled->capacity - 1)];
}

// Forgets up to `most` handled records at the front.
static void unhandled_forget(struct consumer_unhandled *unhandled, int64_t frontier, size_t most)
{
    while (most-- > 0 && unhandled->count > 0 && unhandled_at(unhandled, 0)->time <= frontier) {
        unhandled->first = (unhandled->first + 1) & (unhandled->capacity - 1);
        unhandled->count--;
    }
}

static void unhandled_grow(struct consumer_unhandled *unhandled)
{
    size_t capacity = unhandled->capacity ? unhandled->capacity * 2 : CAPACITY_FIRST;
    struct consumer_unhandled_record *records = base_alloc(capacity * sizeof *records);
    for (size_t i = 0; i < unhandled->count; i++) {
        records[i] = *unhandled_at(unhandled, i);
    }
    free(unhandled->records);
    unhandled->records = records;
    unhandled->capacity = capacity;
    unhandled->first = 0;
}

void consumer_unhandled_add(struct consumer_unhandled *unhandled,
                            const struct consumer_unhandled_record *record, int64_t frontier)
{
    unhandled_forget(unhandled, frontier, 2);
    if (unhandled->count == unhandled->capacity) {
        unhandled_grow(unhandled);
    }
    unhandled->count++;
    *unhandled_at(unhandled, unhandled->count - 1) = *record;
}

const struct consumer_unhandled_record *consumer_unhandled_first(struct consumer_unhandled *unhandled,
                                                                 int64_t frontier)
{
    unhandled_forget(unhandled, frontier, unhandled->count);
    return unhandled->count ? unhandled_at(unhandled, 0) : NULL;
}

void consumer_unhandled_done(struct consumer_unhandled *unhandled)
{
    free(unhandled->records);
    memset(unhandled, 0, sizeof *unhandled);
}
