// Versions and the names of Redis keys, as schemas/publication.md lists them.
#ifndef PUBLISHER_KEYS_H
#define PUBLISHER_KEYS_H

#include "publisher/publisher.h"

enum {
    PUBLISHER_MODEL_MAX = 64,   // characters of a model's name
    PUBLISHER_VERSION_MAX = 48, // characters of a version's text, the end included
    PUBLISHER_KEY_MAX = 192,    // characters of a key, the end included
    PUBLISHER_HEAD_MAX = 80,    // characters of head's value, the end included
};

// Largest epoch and number: Lua and JSON keep integers as doubles.
#define PUBLISHER_VERSION_LIMIT ((UINT64_C(1) << 53) - 1)

// True if `model` is 1 to PUBLISHER_MODEL_MAX of A-Z a-z 0-9 _ . -
bool publisher_keys_model_valid(const char *model);

// "<epoch>.<number>"; parse takes nothing else: no sign, space or leading zero, epoch 1 or more, number 0 or
// more. `version` is untouched on failure.
void publisher_version_format(struct publisher_version version, char text[static PUBLISHER_VERSION_MAX]);
bool publisher_version_parse(struct base_span text, struct publisher_version *version);
// -1, 0 or 1: by epoch, then by number.
int publisher_version_compare(struct publisher_version a, struct publisher_version b);

// Sixteen lower-case hexadecimal digits.
void publisher_hash_format(uint64_t hash, char text[static 17]);
bool publisher_hash_parse(struct base_span text, uint64_t *hash);

// Head's value: "<version> <checksum of the manifest>".
void publisher_head_format(struct publisher_version version, uint64_t checksum,
                           char text[static PUBLISHER_HEAD_MAX]);
bool publisher_head_parse(struct base_span text, struct publisher_version *version, uint64_t *checksum);

// Keys of the model; `model` is valid.
void publisher_key_epoch(const char *model, char key[static PUBLISHER_KEY_MAX]);
void publisher_key_head(const char *model, char key[static PUBLISHER_KEY_MAX]);
void publisher_key_versions(const char *model, char key[static PUBLISHER_KEY_MAX]);
void publisher_key_descriptor(const char *model, uint64_t hash, char key[static PUBLISHER_KEY_MAX]);
void publisher_key_manifest(const char *model, struct publisher_version version,
                            char key[static PUBLISHER_KEY_MAX]);
void publisher_key_part(const char *model, struct publisher_version version,
                        char key[static PUBLISHER_KEY_MAX]);
void publisher_key_rows(const char *model, struct publisher_version version, uint32_t index,
                        char key[static PUBLISHER_KEY_MAX]);
void publisher_key_dense(const char *model, struct publisher_version version, uint32_t index,
                         char key[static PUBLISHER_KEY_MAX]);

#endif
