// Versions and key names. See keys.h.
#include "publisher/keys.h"

#include <inttypes.h>
#include <stdio.h>

bool publisher_keys_model_valid(const char *model)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
    size_t size = model ? strlen(model) : 0;
    return size > 0 && size <= PUBLISHER_MODEL_MAX && strspn(model, allowed) == size;
}

void publisher_version_format(struct publisher_version version, char text[static PUBLISHER_VERSION_MAX])
{
    snprintf(text, PUBLISHER_VERSION_MAX, "%" PRIu64 ".%" PRIu64, version.epoch, version.number);
}

// Takes a decimal number without leading zeros from the front of `text`; false if there is none or it is
// beyond the limit.
static bool version_take_number(struct base_span *text, uint64_t *number)
{
    uint64_t value = 0;
    size_t digits = 0;
    while (digits < text->size && text->data[digits] >= '0' && text->data[digits] <= '9') {
        value = value * 10 + (uint64_t)(text->data[digits] - '0');
        if (value > PUBLISHER_VERSION_LIMIT) {
            return false;
        }
        digits++;
    }
    if (digits == 0 || (digits > 1 && text->data[0] == '0')) {
        return false;
    }
    text->data += digits;
    text->size -= digits;
    *number = value;
    return true;
}

static bool version_take(struct base_span *text, struct publisher_version *version)
{
    struct publisher_version taken;
    if (!version_take_number(text, &taken.epoch) || taken.epoch == 0 || text->size == 0 ||
        text->data[0] != '.') {
        return false;
    }
    text->data++;
    text->size--;
    if (!version_take_number(text, &taken.number)) {
        return false;
    }
    *version = taken;
    return true;
}

bool publisher_version_parse(struct base_span text, struct publisher_version *version)
{
    struct publisher_version taken;
    if (!version_take(&text, &taken) || text.size != 0) {
        return false;
    }
    *version = taken;
    return true;
}

int publisher_version_compare(struct publisher_version a, struct publisher_version b)
{
    if (a.epoch != b.epoch) {
        return a.epoch < b.epoch ? -1 : 1;
    }
    return a.number < b.number ? -1 : a.number > b.number;
}

void publisher_hash_format(uint64_t hash, char text[static 17])
{
    snprintf(text, 17, "%016" PRIx64, hash);
}

bool publisher_hash_parse(struct base_span text, uint64_t *hash)
{
    if (text.size != 16) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < 16; i++) {
        uint8_t c = text.data[i];
        if (c >= '0' && c <= '9') {
            value = value << 4 | (uint64_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    *hash = value;
    return true;
}

void publisher_head_format(struct publisher_version version, uint64_t checksum,
                           char text[static PUBLISHER_HEAD_MAX])
{
    snprintf(text, PUBLISHER_HEAD_MAX, "%" PRIu64 ".%" PRIu64 " %016" PRIx64, version.epoch, version.number,
             checksum);
}

bool publisher_head_parse(struct base_span text, struct publisher_version *version, uint64_t *checksum)
{
    struct publisher_version taken;
    if (!version_take(&text, &taken) || text.size == 0 || text.data[0] != ' ') {
        return false;
    }
    text.data++;
    text.size--;
    if (!publisher_hash_parse(text, checksum)) {
        return false;
    }
    *version = taken;
    return true;
}

void publisher_key_epoch(const char *model, char key[static PUBLISHER_KEY_MAX])
{
    snprintf(key, PUBLISHER_KEY_MAX, "{freshet:%s}:epoch", model);
}

void publisher_key_head(const char *model, char key[static PUBLISHER_KEY_MAX])
{
    snprintf(key, PUBLISHER_KEY_MAX, "{freshet:%s}:head", model);
}

void publisher_key_versions(const char *model, char key[static PUBLISHER_KEY_MAX])
{
    snprintf(key, PUBLISHER_KEY_MAX, "{freshet:%s}:versions", model);
}

void publisher_key_descriptor(const char *model, uint64_t hash, char key[static PUBLISHER_KEY_MAX])
{
    snprintf(key, PUBLISHER_KEY_MAX, "{freshet:%s}:descriptor:%016" PRIx64, model, hash);
}

void publisher_key_manifest(const char *model, struct publisher_version version,
                            char key[static PUBLISHER_KEY_MAX])
{
    snprintf(key, PUBLISHER_KEY_MAX, "{freshet:%s}:%" PRIu64 ".%" PRIu64 ":manifest", model, version.epoch,
             version.number);
}

void publisher_key_part(const char *model, struct publisher_version version,
                        char key[static PUBLISHER_KEY_MAX])
{
    snprintf(key, PUBLISHER_KEY_MAX, "{freshet:%s}:%" PRIu64 ".%" PRIu64 ":part", model, version.epoch,
             version.number);
}

void publisher_key_rows(const char *model, struct publisher_version version, uint32_t index,
                        char key[static PUBLISHER_KEY_MAX])
{
    snprintf(key, PUBLISHER_KEY_MAX, "{freshet:%s}:%" PRIu64 ".%" PRIu64 ":rows:%" PRIu32, model,
             version.epoch, version.number, index);
}

void publisher_key_dense(const char *model, struct publisher_version version, uint32_t index,
                         char key[static PUBLISHER_KEY_MAX])
{
    snprintf(key, PUBLISHER_KEY_MAX, "{freshet:%s}:%" PRIu64 ".%" PRIu64 ":dense:%" PRIu32, model,
             version.epoch, version.number, index);
}
