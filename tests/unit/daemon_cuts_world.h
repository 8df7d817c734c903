// A state directory for the tests of cuts: its logs are made up; daemon_cuts_command.c has real ones.
#ifndef TESTS_UNIT_DAEMON_CUTS_WORLD_H
#define TESTS_UNIT_DAEMON_CUTS_WORLD_H

#include <sys/types.h>

#include "daemon/cuts.h"
#include "support_directory.h"

enum { PATH_ROOM = 512, HOUR_MS = 3600 * 1000 };

struct place {
    char directory[SUPPORT_DIRECTORY_MAX];
    char state[PATH_ROOM];
    struct daemon_store *store;
    struct daemon_cut_record record; // of the last cut
};

void place_path(const struct place *place, const char *name, char path[PATH_ROOM]);
void place_write(const struct place *place, const char *name, const char *text);
void place_expect_file(const struct place *place, const char *name, const char *text);
bool place_has(const struct place *place, const char *name);
void place_make_directory(const struct place *place, const char *name);
void place_open_store(struct place *place);
void place_make(struct place *place);
void place_remove(struct place *place);
// The next cut's batch, `hours` after the epoch.
void place_write_cut(struct place *place, int64_t hours);
void place_make_cut(struct place *place, int64_t hours);
void place_keep_cut(struct place *place);
// What a start finds is cut `number`.
void place_expect_last(struct place *place, uint64_t number);
// The kept cuts as "3 2! 1": newest first, ! pinned, ? damaged.
void place_expect_kept(const struct place *place, const char *expected);
void place_flip(const struct place *place, const char *name, off_t offset);

#endif
