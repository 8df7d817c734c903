// A place for a decision journal of two topics and three partitions; shared by the journal's tests.
#ifndef CONSUMER_JOURNAL_SUPPORT_H
#define CONSUMER_JOURNAL_SUPPORT_H

#include "consumer/journal.h"
#include "support_directory.h"

enum { JOURNAL_PATH_MAX = SUPPORT_DIRECTORY_MAX + 64 };

struct place {
    char root[SUPPORT_DIRECTORY_MAX];
    char directory[JOURNAL_PATH_MAX];
    struct consumer_journal_config config;
};

// `file_bytes`: as of the configuration; 0: the default.
void place_begin(struct place *place, uint64_t file_bytes);
void place_end(struct place *place);
struct consumer_journal *place_open(struct place *place, uint64_t from);

#endif
