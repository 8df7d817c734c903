// The file source: a directory of Avro object container files, bounded. See source.h.
//
// Topics are sub-directories of `path` named as the topic. With `lanes` 0 the lane of a file is the number
// that stands before ".avro" at its name's end ("part-00003.avro": 3; several files of one lane,
// "3.0001.avro", are read in the order of their names), and there are as many lanes as the largest number
// + 1. With `lanes` > 0 every file is read in the order of its name and each record goes to lane XXH3(key
// field's bytes) % lanes. An offset is the record's number within its topic and lane, from 0.
#ifndef CONSUMER_FILES_H
#define CONSUMER_FILES_H

#include "consumer/source.h"

struct consumer_files_config {
    const char *path;
    uint32_t ranks;
    const char *topics[CONSUMER_TOPICS_MAX];
    uint32_t lanes;  // 0: by file name
    const char *key; // lanes > 0: the path of the field whose hash chooses the lane ("user_id")
    uint32_t fetch;  // messages decoded ahead a partition (1..65536); never changes any result
};

struct consumer_source *consumer_files_open(const struct consumer_files_config *config,
                                            struct base_error *error);

#endif
