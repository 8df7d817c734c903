// Fuzzer of container files: header, blocks, decompression, and the cut into records with their keys.
// Whatever is taken for records lies one behind the other in the block's data.
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "consumer/files_blocks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_block(const struct consumer_files_block *block, uint32_t lanes)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < block->count; i++) {
        const struct consumer_files_record *record = &block->cut[i];
        if (record->start != total || record->lane >= lanes) {
            abort();
        }
        total += record->size;
    }
    if (total != block->data.size || block->first[lanes] != block->count) {
        abort();
    }
}

static void read_blocks(const struct consumer_files_container *container,
                        const struct consumer_schema *schema)
{
    struct base_error error;
    struct consumer_skip_path path;
    struct consumer_files_blocks blocks = {0};
    struct consumer_files_block *block;
    struct consumer_files_cut cut = {.root = consumer_schema_root(schema), .lanes = 1};
    if (consumer_skip_resolve(cut.root, "k", &path, &error) == 0) {
        cut.path = &path;
        cut.lanes = 3;
    }
    size_t offset = container->first;
    while (cut.root->least > 0 &&
           consumer_files_blocks_get(&blocks, container, offset, &cut, &block, &error) > 0) {
        check_block(block, cut.lanes);
        offset = block->next;
        consumer_files_blocks_release(block);
    }
    consumer_files_blocks_done(&blocks);
}

static const char *const schemas[] = {
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"k\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"double\"}},"
    "{\"name\":\"next\",\"type\":[\"null\",\"R\"]}]}",
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"k\",\"type\":\"long\"},"
    "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":\"null\"}}},"
    "{\"name\":\"f\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}}]}",
    "[\"bytes\",\"float\",\"boolean\"]",
};

// The file's bytes for an input.
static void make_file(struct base_buffer *buffer, const uint8_t *data, size_t size)
{
    static const uint8_t sync[CONSUMER_FILES_SYNC] = {7};
    unsigned choice = size > 0 ? data[0] : 0;
    data += size > 0;
    size -= size > 0;
    if (choice % 3 == 0) {
        base_buffer_append(buffer, data, size);
        return;
    }
    base_buffer_append(buffer, "Obj\1", 4);
    consumer_schema_put_long(buffer, 2);
    consumer_schema_put_bytes(buffer, base_span_string("avro.schema"));
    consumer_schema_put_bytes(buffer, base_span_string(schemas[choice / 3 % 3]));
    consumer_schema_put_bytes(buffer, base_span_string("avro.codec"));
    consumer_schema_put_bytes(buffer, base_span_string(choice / 9 % 2 ? "deflate" : "null"));
    consumer_schema_put_long(buffer, 0);
    base_buffer_append(buffer, sync, sizeof sync);
    if (choice % 3 == 2 && size > 0) {
        consumer_schema_put_long(buffer, data[0]);
        consumer_schema_put_bytes(buffer, base_span_make(data + 1, size - 1));
        base_buffer_append(buffer, sync, sizeof sync);
    } else {
        base_buffer_append(buffer, data, size);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct base_error error;
    struct consumer_files_container container;
    struct base_buffer bytes = {0};
    make_file(&bytes, data, size);
    int file = memfd_create("fuzz", MFD_CLOEXEC);
    if (file < 0 || write(file, bytes.data, bytes.size) != (ssize_t)bytes.size) {
        abort();
    }
    base_buffer_free(&bytes);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (consumer_files_container_open(&container, path, &error) == 0) {
        struct consumer_schema *schema = consumer_schema_parse(container.schema, &error);
        if (schema) {
            read_blocks(&container, schema);
            consumer_schema_free(schema);
        }
        consumer_files_container_close(&container);
    }
    close(file);
    return 0;
}
