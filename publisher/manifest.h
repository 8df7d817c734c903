// The manifest of a version and the lists of its parts, as canonical JSON. schemas/publication.md is their
// contract.
//
// A part is what one version added: a base (all rows) or a delta. A manifest names one base, the deltas upon
// it in order, and lists the chunks of the dense tensors, which are always whole.
#ifndef PUBLISHER_MANIFEST_H
#define PUBLISHER_MANIFEST_H

#include "base/bytes.h"
#include "publisher/publisher.h"

enum {
    PUBLISHER_MANIFEST_FORMAT = 1,
    PUBLISHER_PART_FORMAT = 1,
    PUBLISHER_PART_CHUNKS_MAX = 1 << 17,  // rows chunks of a part: 32 GiB
    PUBLISHER_DENSE_CHUNKS_MAX = 1 << 13, // dense chunks of a version: 2 GiB
    PUBLISHER_TENSORS_MAX = 1 << 16,
    PUBLISHER_JSON_MAX = 64 << 20, // bytes of a manifest or part list
};

// A chunk as lists name it; its key follows from the version, the kind and its place in the list.
struct publisher_entry {
    uint64_t checksum;
    uint32_t size; // bytes
    uint32_t slot; // rows chunks
    uint32_t rows;
    uint32_t tombstones;
};

// A part as a manifest names it.
struct publisher_part {
    struct publisher_version version; // that added it
    uint64_t checksum;                // of the list's bytes
    uint32_t chunks;
    uint64_t rows, tombstones, bytes; // sums over its chunks
};

struct publisher_tensor {
    char name[TRAINER_TENSOR_NAME_MAX];
    uint32_t rows, columns;
};

struct publisher_manifest {
    struct publisher_version version;
    struct publisher_version predecessor; // epoch 0: none
    uint64_t descriptor;                  // hash
    bool half;
    int64_t tick;
    uint64_t examples;
    uint64_t rows; // of the whole table
    struct publisher_part base;
    uint32_t deltas;
    struct publisher_part *delta; // [deltas]
    uint32_t dense_chunks;
    struct publisher_entry *dense; // [dense_chunks]
    uint32_t tensors;
    struct publisher_tensor *tensor; // [tensors]
    char *lineage;                   // whose it is, or NULL
    char *metrics;                   // JSON object, or NULL
};

// The canonical text, which the caller frees. Error: BASE_EINVAL, metrics are not a JSON object.
char *publisher_manifest_write(const struct publisher_manifest *manifest, const char *model,
                               struct base_error *error);
// Owned by the caller. NULL: BASE_EFORMAT names the field. `model` must be the one it names.
struct publisher_manifest *publisher_manifest_parse(struct base_span text, const char *model,
                                                    struct base_error *error);
void publisher_manifest_free(struct publisher_manifest *manifest);

// The list of a part's chunks. `full`: a base.
struct publisher_list {
    struct publisher_version version;
    bool full;
    uint32_t chunks;
    struct publisher_entry *entry; // [chunks]
};

char *publisher_list_write(const struct publisher_list *list);
struct publisher_list *publisher_list_parse(struct base_span text, struct base_error *error);
void publisher_list_free(struct publisher_list *list);

#endif
