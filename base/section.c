// Framed, checksummed pieces of saved state. See section.h.
#include "base/section.h"

#include <assert.h>

#include "base/hash.h"

enum { SECTION_MAGIC = 8, SECTION_HEADER = SECTION_MAGIC + 4 + 8, SECTION_CHECKSUM = 8 };

static void section_store(uint8_t *to, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        to[i] = (uint8_t)(value >> (8 * i));
    }
}

size_t base_section_begin(struct base_buffer *buffer, const char *magic, uint32_t version)
{
    assert(strlen(magic) == SECTION_MAGIC);
    size_t mark = buffer->size;
    base_buffer_append(buffer, magic, SECTION_MAGIC);
    base_buffer_u32(buffer, version);
    base_buffer_u64(buffer, 0);
    return mark;
}

void base_section_end(struct base_buffer *buffer, size_t mark)
{
    assert(mark + SECTION_HEADER <= buffer->size);
    section_store(buffer->data + mark + SECTION_MAGIC + 4, buffer->size - mark - SECTION_HEADER);
    struct base_span all = base_span_make(buffer->data + mark, buffer->size - mark);
    base_buffer_u64(buffer, base_hash_bytes(all, 0));
}

int base_section_open(struct base_reader *from, const char *magic, uint32_t version,
                      struct base_reader *payload, const char *what, struct base_error *error)
{
    struct base_reader at = *from;
    struct base_span found = base_reader_bytes(&at, SECTION_MAGIC);
    uint32_t written = base_reader_u32(&at);
    uint64_t size = base_reader_u64(&at);
    if (at.failed || at.rest.size < SECTION_CHECKSUM || size > at.rest.size - SECTION_CHECKSUM) {
        return base_error_set(error, BASE_EFORMAT, "%s is cut short", what);
    }
    if (memcmp(found.data, magic, SECTION_MAGIC) != 0) {
        return base_error_set(error, BASE_EFORMAT, "%s does not begin with %s", what, magic);
    }
    struct base_span all = base_span_make(from->rest.data, SECTION_HEADER + size);
    struct base_span bytes = base_reader_bytes(&at, size);
    if (base_reader_u64(&at) != base_hash_bytes(all, 0)) {
        return base_error_set(error, BASE_EFORMAT, "%s is corrupt: its checksum does not fit", what);
    }
    if (written == 0 || written > version) {
        return base_error_set(error, BASE_EFORMAT, "%s has version %u, this program reads up to %u", what,
                              written, version);
    }
    *from = at;
    *payload = (struct base_reader){.rest = bytes};
    return 0;
}

int base_section_close(const struct base_reader *payload, const char *what, struct base_error *error)
{
    if (payload->failed || payload->rest.size) {
        return base_error_set(error, BASE_EFORMAT, "%s is %s than its format says", what,
                              payload->failed ? "shorter" : "longer");
    }
    return 0;
}

void base_section_put_span(struct base_buffer *buffer, struct base_span span)
{
    base_buffer_u64(buffer, span.data ? span.size : UINT64_MAX);
    if (span.data && span.size) {
        base_buffer_append(buffer, span.data, span.size);
    }
}

struct base_span base_section_get_span(struct base_reader *reader)
{
    uint64_t size = base_reader_u64(reader);
    if (size == UINT64_MAX) {
        return (struct base_span){0};
    }
    return base_reader_bytes(reader, size);
}
