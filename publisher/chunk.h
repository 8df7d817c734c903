// Chunks: the immutable pieces of a version, at most PUBLISHER_CHUNK_BYTES each. A rows chunk holds rows and
// tombstones of one slot, a dense chunk pieces of dense tensors. The bytes are specified in
// schemas/publication.md.
#ifndef PUBLISHER_CHUNK_H
#define PUBLISHER_CHUNK_H

#include "base/bytes.h"
#include "publisher/publisher.h"

enum {
    PUBLISHER_CHUNK_FORMAT = 1,
    PUBLISHER_CHUNK_HEADER = 48, // bytes before the keys or pieces
    PUBLISHER_CHUNK_TRAILER = 8, // the checksum
    PUBLISHER_PIECE_HEADER = 24, // bytes of a piece before the tensor's name
};

enum publisher_chunk_kind { PUBLISHER_CHUNK_ROWS = 1, PUBLISHER_CHUNK_DENSE = 2 };

// Which chunk of which version.
struct publisher_chunk_id {
    struct publisher_version version;
    uint32_t index; // among the chunks of its kind
};

// Rows and tombstones of one slot, to be written.
struct publisher_chunk_rows {
    uint32_t slot;
    uint32_t dimension; // a multiple of 4, at most TRAINER_DIMENSION_MAX
    bool half;
    uint32_t removed;
    const uint64_t *tombstones; // [removed]
    uint32_t count;
    const uint64_t *keys; // [count]
    const float *vectors; // [count x dimension]
};

// Most rows that fit beside `removed` tombstones (themselves at most publisher_chunk_tombstones_fit()).
uint32_t publisher_chunk_rows_fit(uint32_t dimension, bool half, uint32_t removed);
uint32_t publisher_chunk_tombstones_fit(void);

// Writes a chunk into `out` (cleared first); what is given must fit. Error: BASE_ELIMIT, a vector is beyond
// the range of fp16 (or not a number).
int publisher_chunk_write_rows(struct base_buffer *out, struct publisher_chunk_id id,
                               const struct publisher_chunk_rows *rows, uint64_t *checksum,
                               struct base_error *error);

// Where a walk over the dense tensors stands. Zero-initialised: at the start.
struct publisher_chunk_cursor {
    uint32_t tensor;
    size_t element;
};

// Writes the next pieces into `out` (cleared first), as many as fit, and moves the cursor. The walk is over
// when cursor->tensor == tensors. Must not be called then.
void publisher_chunk_write_dense(struct base_buffer *out, struct publisher_chunk_id id,
                                 const struct trainer_tensor *tensor, uint32_t tensors, const float *dense,
                                 struct publisher_chunk_cursor *cursor, uint64_t *checksum);

// A parsed chunk: views into the bytes it was parsed from.
struct publisher_chunk {
    enum publisher_chunk_kind kind;
    struct publisher_chunk_id id;
    bool half;
    uint32_t slot, dimension;
    uint32_t count;            // rows, or pieces
    uint32_t removed;          // tombstones
    struct base_span keys;     // [count] uint64
    struct base_span removals; // [removed] uint64
    struct base_span vectors;  // [count x dimension] elements
    struct base_span pieces;   // dense
    uint64_t checksum;
};

// Checks everything: sizes, known values, zero padding, checksum. Error: BASE_EFORMAT says what is wrong.
int publisher_chunk_parse(struct base_span bytes, struct publisher_chunk *chunk, struct base_error *error);

// Row i's key and vector (out: [dimension]); tombstone i.
uint64_t publisher_chunk_key(const struct publisher_chunk *chunk, uint32_t i);
void publisher_chunk_vector(const struct publisher_chunk *chunk, uint32_t i, float *out);
uint64_t publisher_chunk_removal(const struct publisher_chunk *chunk, uint32_t i);

// A run of elements of a tensor.
struct publisher_piece {
    struct base_span name;
    uint32_t rows, columns;
    uint64_t first;            // index of its first element in the tensor, row-major
    struct base_span elements; // fp32
};

// Takes the next piece from `walk`, which starts as {chunk->pieces}. False at the end.
bool publisher_chunk_piece(struct base_reader *walk, struct publisher_piece *piece);

#endif
