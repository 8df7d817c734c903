// Chunks: encoding and checked decoding. See chunk.h; the bytes are those of schemas/publication.md.
//
// The writer lays a chunk out in one pass over memory that is reserved once; the parser checks all of it
// before anybody reads a number, so that the accessors need no checks. Numbers are little-endian on the wire
// and are moved by memcpy.
#include "publisher/chunk.h"

#include <assert.h>

#include "base/hash.h"
#include "publisher/half.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are copied as little-endian numbers");
_Static_assert(sizeof(float) == 4, "fp32");

static const char chunk_magic[8] = {'F', 'R', 'S', 'H', 'C', 'H', 'N', 'K'};

enum { ELEMENT_FP32 = 1, ELEMENT_FP16 = 2 };

enum { CHUNK_PAYLOAD = PUBLISHER_CHUNK_BYTES - PUBLISHER_CHUNK_HEADER - PUBLISHER_CHUNK_TRAILER };

static size_t chunk_pad(size_t size)
{
    return (8 - size % 8) % 8;
}

uint32_t publisher_chunk_tombstones_fit(void)
{
    return CHUNK_PAYLOAD / 8;
}

uint32_t publisher_chunk_rows_fit(uint32_t dimension, bool half, uint32_t removed)
{
    assert(removed <= publisher_chunk_tombstones_fit());
    uint32_t row = 8 + dimension * (half ? 2 : 4);
    return (CHUNK_PAYLOAD - removed * 8) / row;
}

static void chunk_write_header(struct base_buffer *out, enum publisher_chunk_kind kind, bool half,
                               struct publisher_chunk_id id, const struct publisher_chunk_rows *rows)
{
    base_buffer_append(out, chunk_magic, sizeof chunk_magic);
    base_buffer_u16(out, PUBLISHER_CHUNK_FORMAT);
    base_buffer_u8(out, (uint8_t)kind);
    base_buffer_u8(out, half ? ELEMENT_FP16 : ELEMENT_FP32);
    base_buffer_u32(out, rows->slot);
    base_buffer_u32(out, rows->dimension);
    base_buffer_u32(out, rows->count);
    base_buffer_u32(out, rows->removed);
    base_buffer_u32(out, id.index);
    base_buffer_u64(out, id.version.epoch);
    base_buffer_u64(out, id.version.number);
}

static uint64_t chunk_write_trailer(struct base_buffer *out)
{
    uint64_t checksum = base_hash_bytes(base_buffer_span(out), 0);
    base_buffer_u64(out, checksum);
    assert(out->size <= PUBLISHER_CHUNK_BYTES);
    return checksum;
}

int publisher_chunk_write_rows(struct base_buffer *out, struct publisher_chunk_id id,
                               const struct publisher_chunk_rows *rows, uint64_t *checksum,
                               struct base_error *error)
{
    assert(rows->dimension > 0 && rows->dimension % 4 == 0 && rows->dimension <= TRAINER_DIMENSION_MAX);
    assert(rows->count <= publisher_chunk_rows_fit(rows->dimension, rows->half, rows->removed));

    base_buffer_clear(out);
    base_buffer_reserve(out, PUBLISHER_CHUNK_BYTES);
    chunk_write_header(out, PUBLISHER_CHUNK_ROWS, rows->half, id, rows);
    base_buffer_append(out, rows->keys, (size_t)rows->count * 8);
    base_buffer_append(out, rows->tombstones, (size_t)rows->removed * 8);

    size_t elements = (size_t)rows->count * rows->dimension;
    if (rows->half) {
        if (!publisher_half_encode(rows->vectors, elements, out->data + out->size)) {
            return base_error_set(error, BASE_ELIMIT, "a vector of slot %u is beyond the range of fp16",
                                  rows->slot);
        }
        out->size += elements * 2;
    } else {
        base_buffer_append(out, rows->vectors, elements * 4);
    }
    *checksum = chunk_write_trailer(out);
    return 0;
}

static size_t piece_overhead(size_t name_size)
{
    return PUBLISHER_PIECE_HEADER + name_size + chunk_pad(name_size);
}

static void chunk_write_piece(struct base_buffer *out, const struct trainer_tensor *tensor,
                              const float *dense, size_t first, uint32_t elements)
{
    static const uint8_t zeros[8];
    size_t name_size = strlen(tensor->name);
    base_buffer_u32(out, tensor->rows);
    base_buffer_u32(out, tensor->columns);
    base_buffer_u64(out, first);
    base_buffer_u32(out, elements);
    base_buffer_u16(out, (uint16_t)name_size);
    base_buffer_u16(out, 0);
    base_buffer_append(out, tensor->name, name_size);
    base_buffer_append(out, zeros, chunk_pad(name_size));
    base_buffer_append(out, dense + tensor->offset + first, (size_t)elements * 4);
    base_buffer_append(out, zeros, chunk_pad((size_t)elements * 4));
}

void publisher_chunk_write_dense(struct base_buffer *out, struct publisher_chunk_id id,
                                 const struct trainer_tensor *tensor, uint32_t tensors, const float *dense,
                                 struct publisher_chunk_cursor *cursor, uint64_t *checksum)
{
    assert(cursor->tensor < tensors);
    base_buffer_clear(out);
    base_buffer_reserve(out, PUBLISHER_CHUNK_BYTES);
    struct publisher_chunk_rows head = {.count = 0};
    chunk_write_header(out, PUBLISHER_CHUNK_DENSE, false, id, &head);

    size_t room = CHUNK_PAYLOAD;
    while (cursor->tensor < tensors) {
        const struct trainer_tensor *next = &tensor[cursor->tensor];
        size_t total = (size_t)next->rows * next->columns;
        assert(total > 0);
        size_t left = total - cursor->element;
        size_t overhead = piece_overhead(strlen(next->name));
        // Two elements keep the padding out of the sum.
        if (room < overhead + 8) {
            break;
        }
        size_t fit = (room - overhead) / 8 * 2;
        size_t elements = left < fit ? left : fit;
        chunk_write_piece(out, next, dense, cursor->element, (uint32_t)elements);
        room -= overhead + elements * 4 + chunk_pad(elements * 4);
        head.count++;
        cursor->element += elements;
        if (cursor->element == total) {
            cursor->tensor++;
            cursor->element = 0;
        }
    }
    memcpy(out->data + 20, &head.count, sizeof head.count);
    *checksum = chunk_write_trailer(out);
}

static bool span_is_zero(struct base_span span)
{
    for (size_t i = 0; i < span.size; i++) {
        if (span.data[i] != 0) {
            return false;
        }
    }
    return true;
}

// Reads a piece; false if the bytes are not one.
static bool piece_read(struct base_reader *walk, struct publisher_piece *piece)
{
    struct publisher_piece read;
    read.rows = base_reader_u32(walk);
    read.columns = base_reader_u32(walk);
    read.first = base_reader_u64(walk);
    uint32_t elements = base_reader_u32(walk);
    uint16_t name_size = base_reader_u16(walk);
    uint16_t reserved = base_reader_u16(walk);
    if (walk->failed || reserved != 0 || name_size == 0 || name_size >= TRAINER_TENSOR_NAME_MAX) {
        return false;
    }
    read.name = base_reader_bytes(walk, name_size);
    struct base_span name_pad = base_reader_bytes(walk, chunk_pad(name_size));
    read.elements = base_reader_bytes(walk, (size_t)elements * 4);
    struct base_span pad = base_reader_bytes(walk, chunk_pad((size_t)elements * 4));
    if (walk->failed || !span_is_zero(name_pad) || !span_is_zero(pad) ||
        memchr(read.name.data, 0, name_size)) {
        return false;
    }
    uint64_t total = (uint64_t)read.rows * read.columns;
    if (elements == 0 || read.first >= total || elements > total - read.first) {
        return false;
    }
    *piece = read;
    return true;
}

static int chunk_parse_dense(struct publisher_chunk *chunk, struct base_reader *reader,
                             struct base_error *error)
{
    if (chunk->slot != 0 || chunk->dimension != 0 || chunk->removed != 0 || chunk->half) {
        return base_error_set(error, BASE_EFORMAT, "a dense chunk's header has fields of a rows chunk");
    }
    chunk->pieces = reader->rest;
    struct publisher_piece piece;
    for (uint32_t i = 0; i < chunk->count; i++) {
        if (!piece_read(reader, &piece)) {
            return base_error_set(error, BASE_EFORMAT, "piece %u of a dense chunk is malformed", i);
        }
    }
    if (reader->rest.size != 0) {
        return base_error_set(error, BASE_EFORMAT, "a dense chunk has %zu bytes after its last piece",
                              reader->rest.size);
    }
    return 0;
}

static int chunk_parse_rows(struct publisher_chunk *chunk, struct base_reader *reader,
                            struct base_error *error)
{
    if (chunk->dimension == 0 || chunk->dimension % 4 != 0 || chunk->dimension > TRAINER_DIMENSION_MAX) {
        return base_error_set(error, BASE_EFORMAT, "a rows chunk has dimension %u", chunk->dimension);
    }
    size_t width = (size_t)chunk->dimension * (chunk->half ? 2 : 4);
    chunk->keys = base_reader_bytes(reader, (size_t)chunk->count * 8);
    chunk->removals = base_reader_bytes(reader, (size_t)chunk->removed * 8);
    chunk->vectors = base_reader_bytes(reader, (size_t)chunk->count * width);
    if (reader->failed || reader->rest.size != 0) {
        return base_error_set(error, BASE_EFORMAT,
                              "a rows chunk's size does not fit %u rows of dimension %u and %u tombstones",
                              chunk->count, chunk->dimension, chunk->removed);
    }
    return 0;
}

int publisher_chunk_parse(struct base_span bytes, struct publisher_chunk *chunk, struct base_error *error)
{
    if (bytes.size < PUBLISHER_CHUNK_HEADER + PUBLISHER_CHUNK_TRAILER || bytes.size > PUBLISHER_CHUNK_BYTES) {
        return base_error_set(error, BASE_EFORMAT, "a chunk of %zu bytes", bytes.size);
    }
    struct base_span content = {bytes.data, bytes.size - PUBLISHER_CHUNK_TRAILER};
    struct base_reader trailer = {{bytes.data + content.size, PUBLISHER_CHUNK_TRAILER}, false};
    struct publisher_chunk parsed = {.checksum = base_reader_u64(&trailer)};
    if (memcmp(content.data, chunk_magic, sizeof chunk_magic) != 0) {
        return base_error_set(error, BASE_EFORMAT, "not a chunk: its magic number is wrong");
    }
    if (base_hash_bytes(content, 0) != parsed.checksum) {
        return base_error_set(error, BASE_EFORMAT, "a chunk's checksum does not fit its bytes");
    }

    struct base_reader reader = {content, false};
    base_reader_bytes(&reader, sizeof chunk_magic);
    uint16_t format = base_reader_u16(&reader);
    uint8_t kind = base_reader_u8(&reader);
    uint8_t element = base_reader_u8(&reader);
    parsed.slot = base_reader_u32(&reader);
    parsed.dimension = base_reader_u32(&reader);
    parsed.count = base_reader_u32(&reader);
    parsed.removed = base_reader_u32(&reader);
    parsed.id.index = base_reader_u32(&reader);
    parsed.id.version.epoch = base_reader_u64(&reader);
    parsed.id.version.number = base_reader_u64(&reader);
    if (format != PUBLISHER_CHUNK_FORMAT) {
        return base_error_set(error, BASE_EFORMAT, "a chunk of format %u; known is %d", format,
                              PUBLISHER_CHUNK_FORMAT);
    }
    if (element != ELEMENT_FP32 && element != ELEMENT_FP16) {
        return base_error_set(error, BASE_EFORMAT, "a chunk with elements of unknown type %u", element);
    }
    parsed.half = element == ELEMENT_FP16;

    int failed;
    if (kind == PUBLISHER_CHUNK_ROWS) {
        parsed.kind = PUBLISHER_CHUNK_ROWS;
        failed = chunk_parse_rows(&parsed, &reader, error);
    } else if (kind == PUBLISHER_CHUNK_DENSE) {
        parsed.kind = PUBLISHER_CHUNK_DENSE;
        failed = chunk_parse_dense(&parsed, &reader, error);
    } else {
        failed = base_error_set(error, BASE_EFORMAT, "a chunk of unknown kind %u", kind);
    }
    if (failed) {
        return -1;
    }
    *chunk = parsed;
    return 0;
}

uint64_t publisher_chunk_key(const struct publisher_chunk *chunk, uint32_t i)
{
    assert(i < chunk->count);
    uint64_t key;
    memcpy(&key, chunk->keys.data + (size_t)i * 8, sizeof key);
    return key;
}

uint64_t publisher_chunk_removal(const struct publisher_chunk *chunk, uint32_t i)
{
    assert(i < chunk->removed);
    uint64_t key;
    memcpy(&key, chunk->removals.data + (size_t)i * 8, sizeof key);
    return key;
}

void publisher_chunk_vector(const struct publisher_chunk *chunk, uint32_t i, float *out)
{
    assert(i < chunk->count);
    size_t first = (size_t)i * chunk->dimension;
    if (chunk->half) {
        publisher_half_decode(chunk->vectors.data + first * 2, chunk->dimension, out);
    } else {
        memcpy(out, chunk->vectors.data + first * 4, (size_t)chunk->dimension * 4);
    }
}

bool publisher_chunk_piece(struct base_reader *walk, struct publisher_piece *piece)
{
    return walk->rest.size > 0 && piece_read(walk, piece);
}
