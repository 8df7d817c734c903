// Blocks of container files cut into records, shared by the cursors that stand on them. Private to files*.c.
//
// With lanes by key every block holds records of every lane. Each lane has a cursor of its own over the same
// files; ingest keeps them close together, so they mostly want the same block. It is decompressed and cut
// once, its records sorted by lane, and kept while a cursor stands on it, and a few more after that. A cursor
// that comes later cuts it again: slower, never wrong, and nothing has to be buffered for it.
#ifndef CONSUMER_FILES_BLOCKS_H
#define CONSUMER_FILES_BLOCKS_H

#include "consumer/files_container.h"
#include "consumer/skip.h"

struct consumer_files_record {
    uint32_t start; // in the block's data
    uint32_t size;
    uint32_t lane;
};

struct consumer_files_block {
    const struct consumer_files_container *container;
    size_t offset;
    size_t next;           // offset of the block after it
    uint32_t references;   // cursors that stand on it
    uint64_t used;         // when it was last asked for
    struct base_span data; // in the file or in `buffer`
    struct base_buffer buffer;
    uint32_t count;
    uint32_t capacity;
    struct consumer_files_record *records; // [count] by lane, within a lane in the file's order
    struct consumer_files_record *cut;     // [count] in the file's order
    uint32_t *first;                       // [lanes + 1]: where a lane's records begin
};

// How a file's blocks are cut.
struct consumer_files_cut {
    const struct consumer_schema_node *root;
    const struct consumer_skip_path *path; // NULL: no key, everything is lane 0
    uint32_t lanes;
};

struct consumer_files_blocks {
    struct consumer_files_block **blocks;
    uint32_t count;
    uint32_t capacity;
    uint64_t clock; // of `used`
};

// The block at `offset`, which must be released. 1: *block is set; 0: the file ends there; -1: the error.
int consumer_files_blocks_get(struct consumer_files_blocks *blocks,
                              const struct consumer_files_container *container, size_t offset,
                              const struct consumer_files_cut *cut, struct consumer_files_block **block,
                              struct base_error *error);
void consumer_files_blocks_release(struct consumer_files_block *block); // takes NULL
void consumer_files_blocks_done(struct consumer_files_blocks *blocks);

#endif
