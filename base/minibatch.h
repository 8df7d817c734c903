// A minibatch: samples of one tick with a copy of the bytes they borrow. The unit that crosses from ingest to
// the trainer. Filled once by one thread, then read by others; reused through base_minibatch_clear.
#ifndef BASE_MINIBATCH_H
#define BASE_MINIBATCH_H

#include "base/sample.h"

struct base_minibatch {
    int64_t tick;
    uint32_t count;              // samples in it
    uint32_t capacity;           // samples it can hold: the configured batch
    struct base_sample *samples; // [capacity]; spans point into bytes
    struct base_buffer bytes;    // the samples' columns and ids
};

// Room for `capacity` samples. base_minibatch_free takes NULL.
struct base_minibatch *base_minibatch_new(uint32_t capacity);
void base_minibatch_clear(struct base_minibatch *minibatch, int64_t tick);
void base_minibatch_free(struct base_minibatch *minibatch);

// Copies `sample` and the bytes it borrows. The minibatch must not be full. Earlier samples' spans become
// valid again only with base_minibatch_seal.
void base_minibatch_add(struct base_minibatch *minibatch, const struct base_sample *sample);
// Ends the filling: from here on the samples' spans point into the minibatch's own bytes.
void base_minibatch_seal(struct base_minibatch *minibatch);

#endif
