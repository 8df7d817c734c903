// The upload of a version: its chunks, the list of its part and the texts beside them, as pipelined SETs of
// keys that expire until head refers to them.
#ifndef PUBLISHER_UPLOAD_H
#define PUBLISHER_UPLOAD_H

#include "publisher/manifest.h"
#include "publisher/names.h"
#include "publisher/redis.h"

struct publisher_upload {
    struct publisher_redis *redis; // connected; nothing owed
    const char *model;
    struct publisher_version version;
    bool half;
    int64_t ttl_s;
    struct publisher_names *names; // grows by the keys set
    struct base_buffer *scratch;   // for the chunk being written
};

// Uploads rows, tombstones (of a delta) and the list of the part. Replies may be owed afterwards. Errors:
// BASE_ENETWORK; BASE_EREFUSED; BASE_ELIMIT, too many chunks or a vector beyond fp16.
int publisher_upload_rows(struct publisher_upload *upload, const struct trainer_snapshot *snapshot,
                          struct publisher_part *part, struct base_error *error);

// Uploads the dense tensors and fills the manifest's dense chunks and tensors, which must be empty. Errors:
// as above.
int publisher_upload_dense(struct publisher_upload *upload, const struct trainer_snapshot *snapshot,
                           struct publisher_manifest *manifest, struct base_error *error);

// Sets one key; a key that is there already is BASE_EREFUSED.
int publisher_upload_text(struct publisher_upload *upload, const char *key, const char *text,
                          struct base_error *error);

// Reads all replies owed. Error: the first refusal.
int publisher_upload_finish(struct publisher_upload *upload, struct base_error *error);

#endif
