// Fuzzer of manifests, lists of parts, heads and versions: what is taken and written again is taken again and
// gives the same text.
#include <stdlib.h>

#include "publisher/keys.h"
#include "publisher/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_manifest(struct base_span text)
{
    struct base_error error;
    struct publisher_manifest *manifest = publisher_manifest_parse(text, "m", &error);
    if (!manifest) {
        return;
    }
    char *first = publisher_manifest_write(manifest, "m", &error);
    struct publisher_manifest *again =
        first ? publisher_manifest_parse(base_span_string(first), "m", &error) : NULL;
    char *second = again ? publisher_manifest_write(again, "m", &error) : NULL;
    if (!second || strcmp(first, second) != 0) {
        abort();
    }
    free(first);
    free(second);
    publisher_manifest_free(manifest);
    publisher_manifest_free(again);
}

static void try_list(struct base_span text)
{
    struct base_error error;
    struct publisher_list *list = publisher_list_parse(text, &error);
    if (!list) {
        return;
    }
    char *first = publisher_list_write(list);
    struct publisher_list *again = publisher_list_parse(base_span_string(first), &error);
    if (!again || again->chunks != list->chunks) {
        abort();
    }
    free(first);
    publisher_list_free(list);
    publisher_list_free(again);
}

static void try_head(struct base_span text)
{
    struct publisher_version version;
    uint64_t checksum;
    char written[PUBLISHER_HEAD_MAX];
    if (publisher_head_parse(text, &version, &checksum)) {
        publisher_head_format(version, checksum, written);
        if (!base_span_equal(text, base_span_string(written))) {
            abort();
        }
    }
    char short_text[PUBLISHER_VERSION_MAX];
    if (publisher_version_parse(text, &version)) {
        publisher_version_format(version, short_text);
        if (!base_span_equal(text, base_span_string(short_text))) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct base_span text = base_span_make(size ? data : (const uint8_t *)"", size);
    try_manifest(text);
    try_list(text);
    try_head(text);
    return 0;
}
