// Shared by the writer and the parser of descriptors (descriptor.c, descriptor_parse.c).
#ifndef TRAINER_DESCRIPTOR_PRIVATE_H
#define TRAINER_DESCRIPTOR_PRIVATE_H

#include <jansson.h>

#include "trainer/descriptor.h"

// The second has slots that are more than a column's rows in x. A format of its own, so that also readers
// which look at no slot's fields refuse it.
enum { DESCRIPTOR_FORMAT = 1, DESCRIPTOR_FORMAT_DERIVED = 2 };

enum { DESCRIPTOR_KEY_DIGITS = 16 }; // of a key, hexadecimal, lower case
#define DESCRIPTOR_POSITION "position"
#define DESCRIPTOR_HASHING "xxh3-64 seeded with xxh3-64(slot name)"
#define DESCRIPTOR_CANONICAL_BYTES                                                                           \
    "string, bytes, fixed, enum symbol: its bytes; integer, boolean, bucket number: 8 bytes, little-endian " \
    "two's "                                                                                                 \
    "complement"

extern const char *const descriptor_losses[]; // by enum trainer_loss_kind

// Canonical JSON of a value: object keys sorted by bytes, no white space, a real with the fewest digits that
// read back as the same number. The caller frees.
char *descriptor_canonical(const json_t *value);

// The format that says what these features are.
uint32_t descriptor_format(const struct trainer_features_config *features);

// The tasks of a configuration, as JSON.
json_t *descriptor_tasks(const struct trainer_model_config *config);

// The tensor table of a configuration, as JSON. NULL: the network cannot be (`error` says why).
json_t *descriptor_tensors(const struct trainer_model_config *config, struct base_error *error);

#endif
