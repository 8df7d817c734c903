// Fuzzer of chunks: the input gets a checksum that fits, so that the parser is reached. What it takes can be
// read in full, and a rows chunk of fp32 written again gives the same bytes.
#include <stdlib.h>

#include "base/hash.h"
#include "publisher/chunk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk_dense(const struct publisher_chunk *chunk)
{
    struct base_reader walk = {chunk->pieces, false};
    struct publisher_piece piece;
    uint32_t pieces = 0;
    while (publisher_chunk_piece(&walk, &piece)) {
        pieces++;
        if (piece.first + piece.elements.size / 4 > (uint64_t)piece.rows * piece.columns) {
            abort();
        }
    }
    if (pieces != chunk->count || walk.rest.size != 0) {
        abort();
    }
}

static void walk_rows(const struct publisher_chunk *chunk, struct base_span bytes)
{
    uint64_t *keys = base_alloc(chunk->count * sizeof *keys);
    uint64_t *tombstones = base_alloc(chunk->removed * sizeof *tombstones);
    float *vectors = base_alloc((size_t)chunk->count * chunk->dimension * sizeof *vectors);
    for (uint32_t i = 0; i < chunk->removed; i++) {
        tombstones[i] = publisher_chunk_removal(chunk, i);
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        keys[i] = publisher_chunk_key(chunk, i);
        publisher_chunk_vector(chunk, i, vectors + (size_t)i * chunk->dimension);
    }
    if (!chunk->half) {
        struct base_buffer again = {0};
        struct base_error error;
        uint64_t checksum;
        struct publisher_chunk_rows rows = {chunk->slot, chunk->dimension, false, chunk->removed,
                                            tombstones,  chunk->count,     keys,  vectors};
        if (publisher_chunk_write_rows(&again, chunk->id, &rows, &checksum, &error) ||
            !base_span_equal(base_buffer_span(&again), bytes)) {
            abort();
        }
        base_buffer_free(&again);
    }
    free(keys);
    free(tombstones);
    free(vectors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct base_buffer sealed = {0};
    static const char magic[] = "FRSHCHNK";
    base_buffer_append(&sealed, magic, 8);
    base_buffer_append(&sealed, data, size);
    base_buffer_u64(&sealed, base_hash_bytes(base_buffer_span(&sealed), 0));
    struct publisher_chunk chunk;
    struct base_error error = {0};
    if (publisher_chunk_parse(base_buffer_span(&sealed), &chunk, &error) == 0) {
        if (chunk.kind == PUBLISHER_CHUNK_DENSE) {
            walk_dense(&chunk);
        } else {
            walk_rows(&chunk, base_buffer_span(&sealed));
        }
    } else if (error.code != BASE_EFORMAT || !error.text[0]) {
        abort();
    }
    publisher_chunk_parse(base_span_make(data, size), &chunk, &error); // as it came
    base_buffer_free(&sealed);
    return 0;
}
