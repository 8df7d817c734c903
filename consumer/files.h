// The file source: a directory of Avro object container files, bounded. See source.h.
//
// Topics are sub-directories of `path` named as the topic. With `lanes` 0 the lane of a file is the number
// that stands before ".avro" at its name's end ("part-00003.avro": 3; several files of one lane,
// "3.0001.avro", are read in the order of their names), and there are as many lanes as the largest number
// + 1. With `lanes` > 0 every file is read in the order of its name and each record goes to lane XXH3(key
// field's bytes) % lanes. An offset is the record's number within its topic and lane, from 0.
//
// The bytes that are hashed are the canonical ones of base/hash.h, of a null key none; seed 0. Files that do
// not end in ".avro" are passed over. Files must not change while they are read (they are mapped).
#ifndef CONSUMER_FILES_H
#define CONSUMER_FILES_H

#include "consumer/source.h"

struct consumer_files_config {
    const char *path;
    uint32_t ranks;
    const char *topics[CONSUMER_TOPICS_MAX];
    uint32_t lanes;  // 0: by file name
    const char *key; // lanes > 0: the path of the field whose hash chooses the lane ("user_id")
    uint32_t fetch;  // messages of one poll at most (1..65536); never changes any result
    // First offset of each partition: [ranks * lanes], rank-major; CONSUMER_OFFSET_EARLIEST is 0, as NULL for
    // all. `offset_lanes` is the
    // number of lanes they were made for; another number is an error.
    const int64_t *offsets;
    uint32_t offset_lanes;
};

// Maps every file and reads its header. Errors name the file or directory: BASE_EIO, BASE_EFORMAT,
// BASE_EINVAL (a name without a lane, an unknown codec, a schema without the key), BASE_ENOTFOUND (no
// directory of a topic). A corrupt block is an error (BASE_EFORMAT, with file and byte) of the poll that
// comes to it.

struct consumer_source *consumer_files_open(const struct consumer_files_config *config,
                                            struct base_error *error);

#endif
