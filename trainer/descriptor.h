// The descriptor: everything a reader must know to turn an impression into the model's input and output, as
// canonical JSON. schemas/publication.md is its contract.
#ifndef TRAINER_DESCRIPTOR_H
#define TRAINER_DESCRIPTOR_H

#include "trainer/model.h"

enum { TRAINER_DESCRIPTOR_BATCH = 256 }; // network.batch of a parsed configuration; it changes no score

struct trainer_descriptor_columns {
    const char *const *categorical; // [layout.categorical] names whose salts key the values
    const char *const *categorical_paths;
    const char *const *numeric; // [layout.numeric]
    const char *const *numeric_paths;
};

// The canonical JSON (sorted keys, no white space, shortest round-trip numbers); the caller frees. What only
// training needs (admission, expiry, rates, loss weights, seed) is left out. NULL: trainer_network_new would
// refuse the configuration. Names and paths are UTF-8.
char *trainer_descriptor_write(const struct trainer_model_config *config,
                               const struct trainer_descriptor_columns *columns);
// XXH3 of the text.
uint64_t trainer_descriptor_hash(const char *json);

// A parsed descriptor: the model's configuration and the columns' names, owned. What only training needs is
// neutral: admission 1, no expiry, rates 0, weights 1, one worker, TRAINER_ROWS_MAX.
struct trainer_descriptor {
    struct trainer_model_config config;
    struct trainer_descriptor_columns columns;
    void *memory;
};

// NULL: BASE_EFORMAT names the field. Anything unknown is refused: another format, a further field, a body
// that makes other tensors than the table says, text that is not canonical.
struct trainer_descriptor *trainer_descriptor_parse(const char *json, size_t size, struct base_error *error);
void trainer_descriptor_free(struct trainer_descriptor *descriptor);

#endif
