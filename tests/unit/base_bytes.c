// Spans, the growing buffer, the bounded reader, and memory that must be there.
#include "base/bytes.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

Test(bytes, span_equality_is_by_bytes)
{
    cr_assert(base_span_equal(base_span_string("abc"), base_span_make("abcd", 3)));
    cr_assert_not(base_span_equal(base_span_string("abc"), base_span_string("abd")));
    cr_assert_not(base_span_equal(base_span_string("abc"), base_span_string("ab")));
    cr_assert(base_span_equal(base_span_make("a\0b", 3), base_span_make("a\0b", 3)));
    cr_assert_not(base_span_equal(base_span_make("a\0b", 3), base_span_make("a\0c", 3)));
}

Test(bytes, null_equals_nothing_and_is_not_empty)
{
    struct base_span null = {0};
    cr_assert_not(base_span_equal(null, null));
    cr_assert_not(base_span_equal(null, base_span_string("")));
    cr_assert_not(base_span_equal(base_span_string(""), null));
    cr_assert(base_span_equal(base_span_string(""), base_span_make("x", 0)));
}

Test(bytes, numbers_are_little_endian_and_come_back)
{
    struct base_buffer buffer = {0};
    base_buffer_u8(&buffer, 0x01);
    base_buffer_u16(&buffer, 0x0302);
    base_buffer_u32(&buffer, 0x07060504);
    base_buffer_u64(&buffer, 0x0f0e0d0c0b0a0908u);
    cr_assert_eq(buffer.size, 15);
    for (uint8_t i = 0; i < 15; i++) {
        cr_assert_eq(buffer.data[i], i + 1);
    }
    struct base_reader reader = {.rest = base_buffer_span(&buffer)};
    cr_assert_eq(base_reader_u8(&reader), 0x01);
    cr_assert_eq(base_reader_u16(&reader), 0x0302);
    cr_assert_eq(base_reader_u32(&reader), 0x07060504u);
    cr_assert_eq(base_reader_u64(&reader), 0x0f0e0d0c0b0a0908u);
    cr_assert_not(reader.failed);
    cr_assert_eq(reader.rest.size, 0);
    base_buffer_free(&buffer);
}

Test(bytes, a_reader_beyond_the_end_fails_for_good)
{
    struct base_reader reader = {.rest = base_span_make("\x01\x02\x03", 3)};
    cr_assert_eq(base_reader_u32(&reader), 0);
    cr_assert(reader.failed);
    cr_assert_eq(base_reader_u8(&reader), 0, "nothing is read after a failure");
    cr_assert_eq(base_reader_u16(&reader), 0);
    cr_assert_eq(base_reader_u64(&reader), 0);
    cr_assert_null(base_reader_bytes(&reader, 0).data);
}

Test(bytes, a_reader_lends_bytes)
{
    const char *text = "abcdef";
    struct base_reader reader = {.rest = base_span_string(text)};
    cr_assert(base_span_equal(base_reader_bytes(&reader, 4), base_span_string("abcd")));
    cr_assert_eq(base_reader_bytes(&reader, 0).size, 0);
    cr_assert_not(reader.failed);
    cr_assert_null(base_reader_bytes(&reader, 3).data);
    cr_assert(reader.failed);
}

Test(bytes, a_buffer_grows_and_is_reused)
{
    struct base_buffer buffer = {0};
    for (uint32_t i = 0; i < 10000; i++) {
        base_buffer_u32(&buffer, i);
    }
    cr_assert_eq(buffer.size, 40000);
    cr_assert_leq(buffer.size, buffer.capacity);
    struct base_reader reader = {.rest = base_buffer_span(&buffer)};
    for (uint32_t i = 0; i < 10000; i++) {
        cr_assert_eq(base_reader_u32(&reader), i);
    }
    size_t capacity = buffer.capacity;
    base_buffer_clear(&buffer);
    cr_assert_eq(buffer.size, 0);
    cr_assert_eq(buffer.capacity, capacity);
    base_buffer_reserve(&buffer, capacity);
    cr_assert_eq(buffer.capacity, capacity, "what fits does not grow it");
    base_buffer_append(&buffer, NULL, 0);
    cr_assert_eq(buffer.size, 0);
    base_buffer_free(&buffer);
    cr_assert_null(buffer.data);
    cr_assert_eq(buffer.capacity, 0);
    base_buffer_free(&buffer);
    base_buffer_free(NULL);
}

Test(bytes, memory_of_no_size_is_memory)
{
    void *a = base_alloc(0);
    void *b = base_alloc_zeroed(0, 8);
    void *c = base_alloc_aligned(0);
    void *d = base_realloc(NULL, 0);
    cr_assert(a && b && c && d);
    free(a);
    free(b);
    free(c);
    free(d);
}

Test(bytes, zeroed_and_aligned)
{
    uint8_t *zeroed = base_alloc_zeroed(100, 3);
    uint8_t *aligned = base_alloc_aligned(100);
    cr_assert_eq((uintptr_t)aligned % 64, 0);
    for (size_t i = 0; i < 300; i++) {
        cr_assert_eq(zeroed[i], 0);
        cr_assert_eq(aligned[i % 100], 0);
    }
    zeroed = base_realloc(zeroed, 1000);
    cr_assert_eq(zeroed[299], 0);
    free(zeroed);
    free(aligned);
}

#ifndef FRESHET_SANITIZED // their allocators end the process in their own way
static size_t too_much(void)
{
    volatile size_t size = SIZE_MAX / 4;
    return size;
}

Test(bytes, no_memory_aborts, .signal = SIGABRT)
{
    free(base_alloc(too_much()));
}

Test(bytes, no_zeroed_memory_aborts, .signal = SIGABRT)
{
    free(base_alloc_zeroed(too_much(), 16)); // the product does not fit size_t either
}

Test(bytes, no_more_memory_aborts, .signal = SIGABRT)
{
    void *old = base_alloc(1);
    free(base_realloc(old, too_much()));
}
#endif
