// A list of Redis keys: what a publication has set, keeps or supersedes.
#ifndef PUBLISHER_NAMES_H
#define PUBLISHER_NAMES_H

#include "publisher/keys.h"
#include "publisher/manifest.h"

// Zero-initialised is empty.
struct publisher_names {
    struct base_buffer text; // the keys, each with its terminating zero
    uint32_t count;
};

void publisher_names_add(struct publisher_names *names, const char *key);
void publisher_names_append(struct publisher_names *names, const struct publisher_names *more);
void publisher_names_clear(struct publisher_names *names);
void publisher_names_free(struct publisher_names *names); // takes NULL

// Writes all keys as spans, borrowed until the list changes: words has room for names->count.
void publisher_names_spans(const struct publisher_names *names, struct base_span *words);

// The part's list and its rows chunks; the dense chunks of a version.
void publisher_names_add_part(struct publisher_names *names, const char *model,
                              const struct publisher_part *part);
void publisher_names_add_dense(struct publisher_names *names, const char *model,
                               const struct publisher_manifest *manifest);
// What `next` supersedes of its predecessor `old`: the manifest and the dense chunks; the parts unless they
// have the same base; the descriptor unless it is the same.
void publisher_names_add_superseded(struct publisher_names *names, const char *model,
                                    const struct publisher_manifest *old,
                                    const struct publisher_manifest *next);

#endif
