// Bytes: a borrowed span, a growing buffer, and fixed-width little-endian numbers in both.
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Borrowed bytes. data == NULL is "null", which is not the empty string.
struct base_span {
    const uint8_t *data;
    size_t size;
};

static inline struct base_span base_span_make(const void *data, size_t size)
{
    return (struct base_span){(const uint8_t *)data, size};
}

static inline struct base_span base_span_string(const char *text)
{
    return base_span_make(text, strlen(text));
}

// Equal by bytes; null equals nothing, not even null.
static inline bool base_span_equal(struct base_span a, struct base_span b)
{
    return a.data && b.data && a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

// A buffer that owns its bytes and grows by doubling. Zero-initialised is empty.
struct base_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

// All of these abort the process if memory runs out: the sizes they are used for are bounded by the caller.
void base_buffer_reserve(struct base_buffer *buffer, size_t more);
void base_buffer_append(struct base_buffer *buffer, const void *data, size_t size);
void base_buffer_u8(struct base_buffer *buffer, uint8_t value);
void base_buffer_u16(struct base_buffer *buffer, uint16_t value);
void base_buffer_u32(struct base_buffer *buffer, uint32_t value);
void base_buffer_u64(struct base_buffer *buffer, uint64_t value);
void base_buffer_clear(struct base_buffer *buffer); // size 0, memory kept
void base_buffer_free(struct base_buffer *buffer);  // takes NULL

// A buffer's content as a borrowed span; valid until the buffer changes.
static inline struct base_span base_buffer_span(const struct base_buffer *buffer)
{
    return (struct base_span){buffer->data, buffer->size};
}

// A reader that walks a span. After a read beyond the end `failed` stays true and every read gives zeros.
struct base_reader {
    struct base_span rest;
    bool failed;
};

uint8_t base_reader_u8(struct base_reader *reader);
uint16_t base_reader_u16(struct base_reader *reader);
uint32_t base_reader_u32(struct base_reader *reader);
uint64_t base_reader_u64(struct base_reader *reader);
// The next `size` bytes, borrowed; a null span beyond the end.
struct base_span base_reader_bytes(struct base_reader *reader, size_t size);

// Memory that must be there: malloc, calloc and realloc that abort with a line on standard error when the
// system has none left. For bounded sizes; what a peer or a file can make large is checked before.
void *base_alloc(size_t size);
void *base_alloc_zeroed(size_t count, size_t size);
void *base_realloc(void *old, size_t size);
// Aligned to 64 bytes, zeroed; release with free().
void *base_alloc_aligned(size_t size);

#endif
