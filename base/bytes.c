// Bytes: the growing buffer, the bounded reader, and memory that must be there. See bytes.h.
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>

static void *alloc_check(void *memory, size_t size)
{
    if (!memory) {
        fprintf(stderr, "freshet: out of memory (%zu bytes)\n", size);
        abort();
    }
    return memory;
}

void *base_alloc(size_t size)
{
    return alloc_check(malloc(size ? size : 1), size);
}

void *base_alloc_zeroed(size_t count, size_t size)
{
    return alloc_check(calloc(count ? count : 1, size ? size : 1), size);
}

void *base_realloc(void *old, size_t size)
{
    return alloc_check(realloc(old, size ? size : 1), size);
}

void *base_alloc_aligned(size_t size)
{
    size_t rounded = (size + 63) / 64 * 64;
    if (rounded == 0) {
        rounded = 64;
    }
    void *memory = alloc_check(aligned_alloc(64, rounded), rounded);
    memset(memory, 0, rounded);
    return memory;
}

void base_buffer_reserve(struct base_buffer *buffer, size_t more)
{
    size_t need = buffer->size + more;
    if (need <= buffer->capacity) {
        return;
    }
    size_t capacity = buffer->capacity ? buffer->capacity : 64;
    while (capacity < need) {
        capacity *= 2;
    }
    buffer->data = base_realloc(buffer->data, capacity);
    buffer->capacity = capacity;
}

void base_buffer_append(struct base_buffer *buffer, const void *data, size_t size)
{
    if (size == 0) {
        return;
    }
    base_buffer_reserve(buffer, size);
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
}

// Little-endian, byte by byte: compilers make one store of it where the machine is little-endian.
static void buffer_number(struct base_buffer *buffer, uint64_t value, unsigned width)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < width; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    base_buffer_append(buffer, bytes, width);
}

void base_buffer_u8(struct base_buffer *buffer, uint8_t value)
{
    buffer_number(buffer, value, 1);
}

void base_buffer_u16(struct base_buffer *buffer, uint16_t value)
{
    buffer_number(buffer, value, 2);
}

void base_buffer_u32(struct base_buffer *buffer, uint32_t value)
{
    buffer_number(buffer, value, 4);
}

void base_buffer_u64(struct base_buffer *buffer, uint64_t value)
{
    buffer_number(buffer, value, 8);
}

void base_buffer_clear(struct base_buffer *buffer)
{
    buffer->size = 0;
}

void base_buffer_free(struct base_buffer *buffer)
{
    if (!buffer) {
        return;
    }
    free(buffer->data);
    *buffer = (struct base_buffer){0};
}

struct base_span base_reader_bytes(struct base_reader *reader, size_t size)
{
    if (reader->failed || size > reader->rest.size) {
        reader->failed = true;
        return (struct base_span){0};
    }
    struct base_span bytes = {reader->rest.data, size};
    reader->rest.data += size;
    reader->rest.size -= size;
    return bytes;
}

static uint64_t reader_number(struct base_reader *reader, unsigned width)
{
    struct base_span bytes = base_reader_bytes(reader, width);
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes.size; i++) {
        value |= (uint64_t)bytes.data[i] << (8 * i);
    }
    return value;
}

uint8_t base_reader_u8(struct base_reader *reader)
{
    return (uint8_t)reader_number(reader, 1);
}

uint16_t base_reader_u16(struct base_reader *reader)
{
    return (uint16_t)reader_number(reader, 2);
}

uint32_t base_reader_u32(struct base_reader *reader)
{
    return (uint32_t)reader_number(reader, 4);
}

uint64_t base_reader_u64(struct base_reader *reader)
{
    return reader_number(reader, 8);
}
