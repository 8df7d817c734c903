// A minibatch. While it is filled the byte buffer may move, so that spans hold offsets until it is sealed.
#include "base/minibatch.h"

#include <assert.h>
#include <stdlib.h>

struct base_minibatch *base_minibatch_new(uint32_t capacity)
{
    struct base_minibatch *minibatch = base_alloc_zeroed(1, sizeof *minibatch);
    minibatch->samples = base_alloc_zeroed(capacity, sizeof *minibatch->samples);
    minibatch->capacity = capacity;
    return minibatch;
}

void base_minibatch_clear(struct base_minibatch *minibatch, int64_t tick)
{
    minibatch->tick = tick;
    minibatch->count = 0;
    base_buffer_clear(&minibatch->bytes);
}

void base_minibatch_free(struct base_minibatch *minibatch)
{
    if (!minibatch) {
        return;
    }
    base_buffer_free(&minibatch->bytes);
    free(minibatch->samples);
    free(minibatch);
}

// Appends bytes at an 8-byte boundary and returns a span that holds their offset instead of an address.
static struct base_span minibatch_store(struct base_minibatch *minibatch, struct base_span span)
{
    static const uint8_t zeros[8];
    base_buffer_append(&minibatch->bytes, zeros, (8 - minibatch->bytes.size % 8) % 8);
    struct base_span stored = {(const uint8_t *)(uintptr_t)minibatch->bytes.size, span.size};
    base_buffer_append(&minibatch->bytes, span.data, span.size);
    return stored;
}

void base_minibatch_add(struct base_minibatch *minibatch, const struct base_sample *sample)
{
    assert(minibatch->count < minibatch->capacity);
    struct base_sample *copy = &minibatch->samples[minibatch->count++];
    *copy = *sample;
    copy->columns = minibatch_store(minibatch, sample->columns);
    copy->impression_id = minibatch_store(minibatch, sample->impression_id);
}

void base_minibatch_seal(struct base_minibatch *minibatch)
{
    for (uint32_t i = 0; i < minibatch->count; i++) {
        struct base_sample *sample = &minibatch->samples[i];
        sample->columns.data = minibatch->bytes.data + (uintptr_t)sample->columns.data;
        sample->impression_id.data = minibatch->bytes.data + (uintptr_t)sample->impression_id.data;
    }
}
