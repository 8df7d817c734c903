// Minibatches: copies of samples and of what they borrow, aligned, reused; and the kinds' names.
#include "base/minibatch.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

static struct base_sample sample_make(const char *id, const uint64_t *columns, size_t words)
{
    struct base_sample sample = {.due_time = 7, .kind = BASE_C1, .mask = 1, .trains = 1};
    sample.impression_id = base_span_string(id);
    sample.columns = base_span_make(columns, words * 8);
    return sample;
}

Test(minibatch, samples_are_copied_with_their_bytes)
{
    struct base_minibatch *minibatch = base_minibatch_new(100);
    base_minibatch_clear(minibatch, 42);
    for (uint64_t i = 0; i < 100; i++) {
        // What is borrowed is gone by the time of the seal.
        char id[16];
        snprintf(id, sizeof id, "id-%llu", (unsigned long long)i);
        uint64_t columns[3] = {i, i + 1, i + 2};
        struct base_sample sample = sample_make(id, columns, i % 4);
        sample.sequence = i;
        base_minibatch_add(minibatch, &sample);
    }
    base_minibatch_seal(minibatch);
    cr_assert_eq(minibatch->tick, 42);
    cr_assert_eq(minibatch->count, 100);
    for (uint64_t i = 0; i < 100; i++) {
        const struct base_sample *sample = &minibatch->samples[i];
        char id[16];
        snprintf(id, sizeof id, "id-%llu", (unsigned long long)i);
        cr_assert(base_span_equal(sample->impression_id, base_span_string(id)));
        cr_assert_eq((uintptr_t)sample->columns.data % 8, 0);
        cr_assert_eq(sample->columns.size, i % 4 * 8);
        for (uint64_t k = 0; k < i % 4; k++) {
            cr_assert_eq(((const uint64_t *)(const void *)sample->columns.data)[k], i + k);
        }
        cr_assert_eq(sample->sequence, i);
        cr_assert_eq(sample->kind, BASE_C1);
    }
    base_minibatch_free(minibatch);
}

Test(minibatch, clearing_keeps_the_memory)
{
    struct base_minibatch *minibatch = base_minibatch_new(2);
    uint64_t columns[1] = {5};
    struct base_sample sample = sample_make("a", columns, 1);
    base_minibatch_add(minibatch, &sample);
    base_minibatch_add(minibatch, &sample);
    base_minibatch_seal(minibatch);
    const uint8_t *data = minibatch->bytes.data;
    base_minibatch_clear(minibatch, 43);
    cr_assert_eq(minibatch->count, 0);
    cr_assert_eq(minibatch->tick, 43);
    base_minibatch_add(minibatch, &sample);
    base_minibatch_seal(minibatch);
    cr_assert_eq(minibatch->bytes.data, data);
    cr_assert(base_span_equal(minibatch->samples[0].impression_id, base_span_string("a")));
    base_minibatch_free(minibatch);
    base_minibatch_free(NULL);
}

Test(minibatch, a_full_one_takes_no_more, .signal = SIGABRT)
{
    struct base_minibatch *minibatch = base_minibatch_new(1);
    struct base_sample sample = sample_make("a", NULL, 0);
    base_minibatch_add(minibatch, &sample);
    base_minibatch_add(minibatch, &sample);
}

Test(sample, kinds_have_names)
{
    static const char *const names[BASE_KINDS] = {"N0", "C1", "L", "D2", "F3"};
    for (int kind = 0; kind < BASE_KINDS; kind++) {
        cr_assert_str_eq(base_kind_name((enum base_kind)kind), names[kind]);
    }
}
