// The descriptor: everything a reader must know to turn an impression into the model's input and output, as
// canonical JSON. schemas/publication.md is its contract.
#ifndef TRAINER_DESCRIPTOR_H
#define TRAINER_DESCRIPTOR_H

#include "trainer/model.h"

// The canonical JSON (sorted keys, no white space, shortest round-trip numbers); the caller frees. Column
// names are in trainer_descriptor_columns.
struct trainer_descriptor_columns {
    const char *const *categorical; // [layout.categorical] names whose salts key the values
    const char *const *categorical_paths;
    const char *const *numeric; // [layout.numeric]
    const char *const *numeric_paths;
};

char *trainer_descriptor_write(const struct trainer_model_config *config,
                               const struct trainer_descriptor_columns *columns);
// XXH3 of the text.
uint64_t trainer_descriptor_hash(const char *json);

// A parsed descriptor: the model's configuration and the columns' names, owned.
struct trainer_descriptor {
    struct trainer_model_config config;
    struct trainer_descriptor_columns columns;
    void *memory;
};

// NULL: BASE_EFORMAT names the field; anything unknown is refused.
struct trainer_descriptor *trainer_descriptor_parse(const char *json, size_t size, struct base_error *error);
void trainer_descriptor_free(struct trainer_descriptor *descriptor);

#endif
