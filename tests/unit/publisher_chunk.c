// Chunks: round trips, what fits, and refusal of every damaged one.
#include "publisher/chunk.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/random.h"
#include "publisher/half.h"
#include "publisher_support.h"

static const struct publisher_chunk_id an_id = {{7, 9}, 3};

// A chunk of `count` rows and `removed` tombstones with numbers by their place.
static struct base_buffer rows_chunk(uint32_t dimension, bool half, uint32_t count, uint32_t removed)
{
    struct base_buffer out = {0};
    struct base_error error;
    uint64_t checksum;
    uint64_t *keys = base_alloc(count * sizeof *keys);
    uint64_t *tombstones = base_alloc(removed * sizeof *tombstones);
    float *vectors = base_alloc((size_t)count * dimension * sizeof *vectors);
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = base_random_bits(1, i);
    }
    for (uint32_t i = 0; i < removed; i++) {
        tombstones[i] = base_random_bits(2, i);
    }
    for (size_t i = 0; i < (size_t)count * dimension; i++) {
        vectors[i] = (float)base_random_normal(3, i);
    }
    struct publisher_chunk_rows rows = {2, dimension, half, removed, tombstones, count, keys, vectors};
    cr_assert_eq(publisher_chunk_write_rows(&out, an_id, &rows, &checksum, &error), 0);
    free(keys);
    free(tombstones);
    free(vectors);
    return out;
}

// Puts a checksum that fits under changed bytes.
static void reseal(struct base_buffer *chunk)
{
    uint64_t checksum = base_hash_bytes(base_span_make(chunk->data, chunk->size - 8), 0);
    memcpy(chunk->data + chunk->size - 8, &checksum, 8);
}

static bool refused(const struct base_buffer *chunk)
{
    struct publisher_chunk parsed;
    struct base_error error = {0};
    int failed = publisher_chunk_parse(base_buffer_span(chunk), &parsed, &error);
    cr_assert(!failed || (error.code == BASE_EFORMAT && error.text[0]));
    return failed;
}

Test(publisher_chunk, rows_come_back)
{
    static const uint32_t dimensions[] = {4, 16, 20, 256};
    for (int half = 0; half < 2; half++) {
        for (size_t d = 0; d < 4; d++) {
            uint32_t removed = 5;
            uint32_t count = publisher_chunk_rows_fit(dimensions[d], half, removed);
            struct base_buffer bytes = rows_chunk(dimensions[d], half, count, removed);
            struct publisher_chunk chunk;
            struct base_error error;
            cr_assert_leq(bytes.size, PUBLISHER_CHUNK_BYTES);
            cr_assert_gt(bytes.size + 8 + dimensions[d] * (half ? 2 : 4), PUBLISHER_CHUNK_BYTES);
            cr_assert_eq(publisher_chunk_parse(base_buffer_span(&bytes), &chunk, &error), 0, "%s",
                         error.text);
            cr_assert(chunk.kind == PUBLISHER_CHUNK_ROWS && chunk.half == half && chunk.slot == 2 &&
                      chunk.dimension == dimensions[d] && chunk.count == count && chunk.removed == removed &&
                      chunk.id.index == 3 && chunk.id.version.epoch == 7 && chunk.id.version.number == 9);
            for (uint32_t i = 0; i < removed; i++) {
                cr_assert_eq(publisher_chunk_removal(&chunk, i), base_random_bits(2, i));
            }
            for (uint32_t i = 0; i < count; i++) {
                float vector[256];
                cr_assert_eq(publisher_chunk_key(&chunk, i), base_random_bits(1, i));
                publisher_chunk_vector(&chunk, i, vector);
                for (uint32_t j = 0; j < dimensions[d]; j++) {
                    float want = (float)base_random_normal(3, (uint64_t)i * dimensions[d] + j);
                    want = half ? publisher_half_to_float(publisher_half_from_float(want)) : want;
                    cr_assert_eq(vector[j], want);
                }
            }
            base_buffer_free(&bytes);
        }
    }
}

Test(publisher_chunk, tombstones_alone_and_nothing_at_all)
{
    struct base_buffer full = rows_chunk(16, false, 0, publisher_chunk_tombstones_fit());
    struct base_buffer empty = rows_chunk(16, false, 0, 0);
    cr_assert_not(refused(&full));
    cr_assert_not(refused(&empty));
    cr_assert_eq(publisher_chunk_rows_fit(16, false, publisher_chunk_tombstones_fit()), 0);
    base_buffer_free(&full);
    base_buffer_free(&empty);
}

Test(publisher_chunk, vectors_beyond_fp16_are_refused)
{
    struct base_buffer out = {0};
    struct base_error error;
    uint64_t checksum;
    uint64_t key = 1;
    float vector[4] = {0, 0, 1e6f, 0};
    struct publisher_chunk_rows rows = {
        .dimension = 4, .half = true, .count = 1, .keys = &key, .vectors = vector};
    cr_assert_eq(publisher_chunk_write_rows(&out, an_id, &rows, &checksum, &error), -1);
    cr_assert_eq(error.code, BASE_ELIMIT);
    base_buffer_free(&out);
}

// Every tensor comes back whole from however many chunks.
Test(publisher_chunk, dense_tensors_come_back)
{
    struct trainer_snapshot *snapshot = support_snapshot(0, 0, 1, true);
    float *back = base_alloc_zeroed(snapshot->dense_size, sizeof *back);
    struct publisher_chunk_cursor cursor = {0};
    struct base_buffer bytes = {0};
    uint32_t chunks = 0;
    while (cursor.tensor < snapshot->tensors) {
        uint64_t checksum;
        struct publisher_chunk chunk;
        struct base_error error;
        struct publisher_chunk_id id = {{1, 1}, chunks++};
        publisher_chunk_write_dense(&bytes, id, snapshot->tensor, snapshot->tensors, snapshot->dense, &cursor,
                                    &checksum);
        cr_assert_leq(bytes.size, PUBLISHER_CHUNK_BYTES);
        cr_assert_eq(publisher_chunk_parse(base_buffer_span(&bytes), &chunk, &error), 0, "%s", error.text);
        cr_assert_eq(chunk.checksum, checksum);
        struct base_reader walk = {chunk.pieces, false};
        struct publisher_piece piece;
        uint32_t pieces = 0;
        for (; publisher_chunk_piece(&walk, &piece); pieces++) {
            for (uint32_t i = 0; i < snapshot->tensors; i++) {
                const struct trainer_tensor *tensor = &snapshot->tensor[i];
                if (base_span_equal(piece.name, base_span_string(tensor->name))) {
                    cr_assert(piece.rows == tensor->rows && piece.columns == tensor->columns);
                    memcpy(back + tensor->offset + piece.first, piece.elements.data, piece.elements.size);
                }
            }
        }
        cr_assert_eq(pieces, chunk.count);
    }
    cr_assert_eq(chunks, 2);
    for (uint32_t i = 0; i < snapshot->tensors; i++) {
        const struct trainer_tensor *tensor = &snapshot->tensor[i];
        cr_assert_eq(memcmp(back + tensor->offset, snapshot->dense + tensor->offset,
                            (size_t)tensor->rows * tensor->columns * 4),
                     0, "%s", tensor->name);
    }
    base_buffer_free(&bytes);
    free(back);
    trainer_snapshot_free(snapshot);
}

// Any flipped bit and any cut is found by the checksum.
Test(publisher_chunk, damage_is_found)
{
    struct base_buffer chunk = rows_chunk(8, false, 20, 4);
    for (size_t bit = 0; bit < chunk.size * 8; bit++) {
        chunk.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert(refused(&chunk), "bit %zu", bit);
        chunk.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    size_t whole = chunk.size;
    for (chunk.size = 0; chunk.size < whole; chunk.size++) {
        cr_assert(refused(&chunk), "cut to %zu", chunk.size);
    }
    cr_assert_not(refused(&chunk));
    base_buffer_free(&chunk);
}

// Bytes whose checksum fits but whose header does not.
Test(publisher_chunk, unknown_headers_are_refused)
{
    static const struct {
        size_t offset;
        uint8_t value;
    } changes[] = {
        {0, 'f'},                   // magic
        {8, 2},                     // format
        {9, 1},   {10, 0}, {10, 3}, // kind
        {11, 0},  {11, 3},          // element
        {11, 2},                    // fp16 of half the size
        {16, 0},  {16, 6}, {17, 2}, // dimension: 0, not a multiple of 4, 520
        {20, 19}, {23, 1}, {24, 5}, // counts that do not fit the size
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct base_buffer chunk = rows_chunk(8, false, 20, 4);
        chunk.data[changes[i].offset] = changes[i].value;
        reseal(&chunk);
        cr_assert(refused(&chunk), "change %zu", i);
        base_buffer_free(&chunk);
    }
}

Test(publisher_chunk, malformed_pieces_are_refused)
{
    static const struct {
        size_t offset;
        uint8_t value;
    } changes[] = {
        {12, 1},                             // slot
        {16, 4},                             // dimension
        {20, 2},          {20, 0},           // pieces: one too many, one too few
        {24, 1},                             // tombstones
        {11, 2},                             // element
        {48, 2},          {48, 0},           // rows of the tensor: fewer elements than the piece has
        {52, 4},                             // columns
        {56, 1},                             // first element: the piece ends beyond the tensor
        {64, 0},          {64, 9},           // elements: none, too many
        {68, 0},          {68, 64}, {68, 3}, // size of the name
        {70, 1},                             // reserved
        {72, 0},                             // a zero in the name
        {48 + 24 + 7, 1},                    // padding
    };
    struct trainer_tensor tensor = {.name = "bias", .rows = 1, .columns = 6};
    float numbers[6] = {1, 2, 3, 4, 5, 6};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct base_buffer chunk = {0};
        struct publisher_chunk_cursor cursor = {0};
        uint64_t checksum;
        publisher_chunk_write_dense(&chunk, an_id, &tensor, 1, numbers, &cursor, &checksum);
        cr_assert_not(refused(&chunk));
        cr_assert_neq(chunk.data[changes[i].offset], changes[i].value, "change %zu", i);
        chunk.data[changes[i].offset] = changes[i].value;
        reseal(&chunk);
        if (changes[i].offset == 48 && changes[i].value == 2) {
            cr_assert_not(refused(&chunk), "a larger tensor is well-formed");
        } else {
            cr_assert(refused(&chunk), "change %zu", i);
        }
        base_buffer_free(&chunk);
    }
}
