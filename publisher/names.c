// Lists of Redis keys. See names.h.
#include "publisher/names.h"

void publisher_names_add(struct publisher_names *names, const char *key)
{
    base_buffer_append(&names->text, key, strlen(key) + 1);
    names->count++;
}

void publisher_names_append(struct publisher_names *names, const struct publisher_names *more)
{
    base_buffer_append(&names->text, more->text.data, more->text.size);
    names->count += more->count;
}

void publisher_names_clear(struct publisher_names *names)
{
    base_buffer_clear(&names->text);
    names->count = 0;
}

void publisher_names_free(struct publisher_names *names)
{
    if (names) {
        base_buffer_free(&names->text);
        names->count = 0;
    }
}

void publisher_names_spans(const struct publisher_names *names, struct base_span *words)
{
    const char *key = (const char *)names->text.data;
    for (uint32_t i = 0; i < names->count; i++) {
        words[i] = base_span_string(key);
        key += words[i].size + 1;
    }
}

void publisher_names_add_part(struct publisher_names *names, const char *model,
                              const struct publisher_part *part)
{
    char key[PUBLISHER_KEY_MAX];
    publisher_key_part(model, part->version, key);
    publisher_names_add(names, key);
    for (uint32_t i = 0; i < part->chunks; i++) {
        publisher_key_rows(model, part->version, i, key);
        publisher_names_add(names, key);
    }
}

void publisher_names_add_dense(struct publisher_names *names, const char *model,
                               const struct publisher_manifest *manifest)
{
    char key[PUBLISHER_KEY_MAX];
    for (uint32_t i = 0; i < manifest->dense_chunks; i++) {
        publisher_key_dense(model, manifest->version, i, key);
        publisher_names_add(names, key);
    }
}

void publisher_names_add_superseded(struct publisher_names *names, const char *model,
                                    const struct publisher_manifest *old,
                                    const struct publisher_manifest *next)
{
    char key[PUBLISHER_KEY_MAX];
    publisher_key_manifest(model, old->version, key);
    publisher_names_add(names, key);
    publisher_names_add_dense(names, model, old);
    if (publisher_version_compare(old->base.version, next->base.version) != 0) {
        publisher_names_add_part(names, model, &old->base);
        for (uint32_t i = 0; i < old->deltas; i++) {
            publisher_names_add_part(names, model, &old->delta[i]);
        }
    }
    if (old->descriptor != next->descriptor) {
        publisher_key_descriptor(model, old->descriptor, key);
        publisher_names_add(names, key);
    }
}
