// A replica of the published model. See replica.h.
#include "publisher/replica.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

// A dense tensor of the model and where its numbers lie.
struct replica_tensor {
    char name[TRAINER_TENSOR_NAME_MAX];
    uint32_t rows, columns;
    float *numbers;
};

struct publisher_replica {
    struct trainer_model *model;
    struct trainer_table *table;
    uint32_t slots;
    const struct trainer_slot_config *slot; // [slots] of the model's configuration
    uint32_t tensors;
    struct replica_tensor *tensor; // [tensors]: the network's, then the slots' out-of-vocabulary rows
    uint32_t scorers;
    struct trainer_scorer **scorer; // [scorers]
};

static void replica_list_tensors(struct publisher_replica *replica)
{
    uint32_t dense;
    size_t oov_size;
    struct trainer_network *network = trainer_model_network(replica->model);
    const struct trainer_tensor *tensor = trainer_network_tensors(network, &dense);
    float *slab = trainer_network_slab(network);
    float *oov = trainer_table_oov(replica->table, &oov_size);
    replica->tensors = dense + replica->slots;
    replica->tensor = base_alloc_zeroed(replica->tensors, sizeof *replica->tensor);
    for (uint32_t i = 0; i < dense; i++) {
        struct replica_tensor *to = &replica->tensor[i];
        snprintf(to->name, sizeof to->name, "%s", tensor[i].name);
        to->rows = tensor[i].rows;
        to->columns = tensor[i].columns;
        to->numbers = slab + tensor[i].offset;
    }
    for (uint32_t s = 0; s < replica->slots; s++) {
        struct replica_tensor *to = &replica->tensor[dense + s];
        snprintf(to->name, sizeof to->name, "oov.%s", replica->slot[s].row.name);
        to->rows = 1;
        to->columns = replica->slot[s].row.dimension;
        to->numbers = oov + trainer_table_oov_offset(replica->table, (uint16_t)s);
    }
}

struct publisher_replica *publisher_replica_new(const struct trainer_model_config *config, uint32_t scorers,
                                                struct base_error *error)
{
    struct publisher_replica *replica = base_alloc_zeroed(1, sizeof *replica);
    replica->model = trainer_model_new(config, false, error);
    if (!replica->model) {
        goto out;
    }
    const struct trainer_features_config *features = &trainer_model_config(replica->model)->features;
    replica->table = trainer_model_table(replica->model);
    replica->slots = features->slots;
    replica->slot = features->slot;
    replica_list_tensors(replica);
    replica->scorer = base_alloc_zeroed(scorers, sizeof *replica->scorer);
    for (; replica->scorers < scorers; replica->scorers++) {
        struct trainer_scorer *scorer = trainer_scorer_new(replica->model, error);
        if (!scorer) {
            goto out;
        }
        replica->scorer[replica->scorers] = scorer;
    }
    return replica;
out:
    publisher_replica_free(replica);
    return NULL;
}

void publisher_replica_free(struct publisher_replica *replica)
{
    if (!replica) {
        return;
    }
    for (uint32_t i = 0; i < replica->scorers; i++) {
        trainer_scorer_free(replica->scorer[i]);
    }
    free(replica->scorer);
    free(replica->tensor);
    trainer_model_free(replica->model);
    free(replica);
}

struct trainer_model *publisher_replica_model(struct publisher_replica *replica)
{
    return replica->model;
}

struct trainer_scorer *publisher_replica_scorer(struct publisher_replica *replica, uint32_t i)
{
    assert(i < replica->scorers);
    return replica->scorer[i];
}

int publisher_replica_check_tensors(const struct publisher_replica *replica,
                                    const struct publisher_manifest *manifest, struct base_error *error)
{
    if (manifest->tensors != replica->tensors) {
        return base_error_set(error, BASE_EFORMAT,
                              "the manifest has %u dense tensors, the descriptor's model %u",
                              manifest->tensors, replica->tensors);
    }
    for (uint32_t i = 0; i < replica->tensors; i++) {
        const struct publisher_tensor *found = &manifest->tensor[i];
        const struct replica_tensor *own = &replica->tensor[i];
        if (strcmp(found->name, own->name) != 0 || found->rows != own->rows ||
            found->columns != own->columns) {
            return base_error_set(
                error, BASE_EFORMAT, "dense tensor %u is %s [%u, %u], in the descriptor's model %s [%u, %u]",
                i, found->name, found->rows, found->columns, own->name, own->rows, own->columns);
        }
    }
    return 0;
}

int publisher_replica_check_rows(const struct publisher_replica *replica, const struct publisher_chunk *chunk,
                                 struct base_error *error)
{
    assert(chunk->kind == PUBLISHER_CHUNK_ROWS);
    if (chunk->slot >= replica->slots || replica->slot[chunk->slot].row.dimension != chunk->dimension) {
        return base_error_set(error, BASE_EFORMAT,
                              "a chunk with rows of slot %u of dimension %u does not fit the descriptor",
                              chunk->slot, chunk->dimension);
    }
    return 0;
}

// Where the next piece belongs: moves the cursor past it. NULL if it is not the piece that comes next.
static float *replica_place(const struct publisher_replica *replica, const struct publisher_piece *piece,
                            struct publisher_chunk_cursor *cursor)
{
    if (cursor->tensor == replica->tensors) {
        return NULL;
    }
    const struct replica_tensor *tensor = &replica->tensor[cursor->tensor];
    if (!base_span_equal(piece->name, base_span_string(tensor->name)) || piece->rows != tensor->rows ||
        piece->columns != tensor->columns || piece->first != cursor->element) {
        return NULL;
    }
    float *numbers = tensor->numbers + cursor->element;
    cursor->element += piece->elements.size / 4;
    if (cursor->element == (size_t)tensor->rows * tensor->columns) {
        cursor->tensor++;
        cursor->element = 0;
    }
    return numbers;
}

int publisher_replica_check_dense(const struct publisher_replica *replica,
                                  const struct publisher_chunk *chunk, struct publisher_chunk_cursor *cursor,
                                  struct base_error *error)
{
    assert(chunk->kind == PUBLISHER_CHUNK_DENSE);
    struct base_reader walk = {chunk->pieces, false};
    struct publisher_piece piece;
    while (publisher_chunk_piece(&walk, &piece)) {
        if (!replica_place(replica, &piece, cursor)) {
            return base_error_set(error, BASE_EFORMAT, "a piece of %.*s is not the one that comes next",
                                  (int)piece.name.size, (const char *)piece.name.data);
        }
    }
    return 0;
}

bool publisher_replica_dense_complete(const struct publisher_replica *replica,
                                      const struct publisher_chunk_cursor *cursor)
{
    return cursor->tensor == replica->tensors;
}

int publisher_replica_apply_rows(struct publisher_replica *replica, const struct publisher_chunk *chunk,
                                 struct base_error *error)
{
    float vector[TRAINER_DIMENSION_MAX];
    uint16_t slot = (uint16_t)chunk->slot;
    for (uint32_t i = 0; i < chunk->removed; i++) {
        trainer_table_remove(replica->table, slot, publisher_chunk_removal(chunk, i));
    }
    for (uint32_t i = 0; i < chunk->count; i++) {
        publisher_chunk_vector(chunk, i, vector);
        if (trainer_table_set(replica->table, slot, publisher_chunk_key(chunk, i), vector, error)) {
            return -1;
        }
    }
    return 0;
}

void publisher_replica_apply_dense(struct publisher_replica *replica, const struct publisher_chunk *chunk,
                                   struct publisher_chunk_cursor *cursor)
{
    struct base_reader walk = {chunk->pieces, false};
    struct publisher_piece piece;
    while (publisher_chunk_piece(&walk, &piece)) {
        float *numbers = replica_place(replica, &piece, cursor);
        assert(numbers);
        memcpy(numbers, piece.elements.data, piece.elements.size);
    }
}
