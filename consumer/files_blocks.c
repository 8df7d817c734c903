// Blocks cut into records and kept while somebody stands on them. See files_blocks.h.
#include "consumer/files_blocks.h"

#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"

enum { UNUSED_MAX = 8 }; // blocks that nobody stands on

static void block_free(struct consumer_files_block *block)
{
    if (block) {
        base_buffer_free(&block->buffer);
        free(block->records);
        free(block->cut);
        free(block->first);
        free(block);
    }
}

static struct consumer_files_block *blocks_find(struct consumer_files_blocks *blocks,
                                                const struct consumer_files_container *container,
                                                size_t offset)
{
    for (uint32_t i = 0; i < blocks->count; i++) {
        if (blocks->blocks[i]->container == container && blocks->blocks[i]->offset == offset) {
            return blocks->blocks[i];
        }
    }
    return NULL;
}

// A block to fill: the one unused for longest, if there are enough of them, else a new one.
static struct consumer_files_block *blocks_take(struct consumer_files_blocks *blocks, uint32_t lanes)
{
    struct consumer_files_block *oldest = NULL;
    uint32_t unused = 0;
    for (uint32_t i = 0; i < blocks->count; i++) {
        struct consumer_files_block *block = blocks->blocks[i];
        if (block->references == 0) {
            unused++;
            oldest = !oldest || block->used < oldest->used ? block : oldest;
        }
    }
    if (unused >= UNUSED_MAX) {
        return oldest;
    }
    if (blocks->count == blocks->capacity) {
        blocks->capacity = blocks->capacity ? blocks->capacity * 2 : 16;
        blocks->blocks = base_realloc(blocks->blocks, blocks->capacity * sizeof *blocks->blocks);
    }
    struct consumer_files_block *block = base_alloc_zeroed(1, sizeof *block);
    block->first = base_alloc_zeroed((size_t)lanes + 1, sizeof *block->first);
    blocks->blocks[blocks->count++] = block;
    return block;
}

// Cuts the data into `cut`.
static int block_cut(struct consumer_files_block *block, const struct consumer_files_cut *cut,
                     struct base_error *error)
{
    struct base_span rest = block->data;
    for (uint32_t i = 0; i < block->count; i++) {
        size_t size;
        struct consumer_skip_key key;
        if (consumer_skip_datum(cut->root, cut->path, rest, &size, &key, error)) {
            return -1;
        }
        block->cut[i] = (struct consumer_files_record){
            .start = (uint32_t)(block->data.size - rest.size),
            .size = (uint32_t)size,
            .lane = cut->path ? (uint32_t)(base_hash_bytes(key.bytes, 0) % cut->lanes) : 0,
        };
        rest.data += size;
        rest.size -= size;
    }
    return rest.size == 0 ? 0 : base_error_set(error, BASE_EFORMAT, "bytes are left over after its records");
}

// Sorts `cut` by lane into `records`, keeping the order within a lane.
static void block_sort(struct consumer_files_block *block, uint32_t lanes)
{
    uint32_t *first = block->first;
    memset(first, 0, ((size_t)lanes + 1) * sizeof *first);
    for (uint32_t i = 0; i < block->count; i++) {
        first[block->cut[i].lane + 1]++;
    }
    for (uint32_t lane = 0; lane < lanes; lane++) {
        first[lane + 1] += first[lane];
    }
    for (uint32_t i = 0; i < block->count; i++) {
        block->records[first[block->cut[i].lane]++] = block->cut[i];
    }
    // Each entry has moved on to the next lane's begin: shift back.
    memmove(first + 1, first, lanes * sizeof *first);
    first[0] = 0;
}

static int block_fill(struct consumer_files_block *block, const struct consumer_files_container *container,
                      size_t offset, const struct consumer_files_cut *cut, struct base_error *error)
{
    struct consumer_files_raw raw;
    block->container = NULL; // not to be found if this fails
    int state = consumer_files_container_block(container, offset, &raw, error);
    if (state <= 0) {
        return state;
    }
    if (consumer_files_container_data(container, offset, &raw, &block->buffer, &block->data, error)) {
        return -1;
    }
    if (raw.count > block->data.size / cut->root->least) {
        return base_error_set(error, BASE_EFORMAT, "%s: the block at byte %zu has more records than bytes",
                              container->path, offset);
    }
    block->count = (uint32_t)raw.count;
    if (block->count > block->capacity) {
        block->capacity = block->count;
        block->records = base_realloc(block->records, block->capacity * sizeof *block->records);
        block->cut = base_realloc(block->cut, block->capacity * sizeof *block->cut);
    }
    if (block_cut(block, cut, error)) {
        return base_error_prefix(error, "%s: the block at byte %zu", container->path, offset);
    }
    block_sort(block, cut->lanes);
    block->container = container;
    block->offset = offset;
    block->next = raw.next;
    return 1;
}

int consumer_files_blocks_get(struct consumer_files_blocks *blocks,
                              const struct consumer_files_container *container, size_t offset,
                              const struct consumer_files_cut *cut, struct consumer_files_block **block,
                              struct base_error *error)
{
    struct consumer_files_block *found = blocks_find(blocks, container, offset);
    if (!found) {
        found = blocks_take(blocks, cut->lanes);
        assert(found->references == 0);
        int state = block_fill(found, container, offset, cut, error);
        if (state <= 0) {
            return state;
        }
    }
    found->references++;
    found->used = ++blocks->clock;
    *block = found;
    return 1;
}

void consumer_files_blocks_release(struct consumer_files_block *block)
{
    if (block) {
        assert(block->references > 0);
        block->references--;
    }
}

void consumer_files_blocks_done(struct consumer_files_blocks *blocks)
{
    for (uint32_t i = 0; i < blocks->count; i++) {
        block_free(blocks->blocks[i]);
    }
    free(blocks->blocks);
    memset(blocks, 0, sizeof *blocks);
}
