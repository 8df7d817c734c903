// The reserve: room on the disk that is held in a file, so that a disk that fills up still takes the last
// cut.
//
// A database that runs out of space in the middle of a write is no longer to be trusted until it was opened
// anew. So the room is looked at before each cut: where it is short, the reserve is given up, the cut is made
// with it, and the process ends in order, with everything saved.
#ifndef DAEMON_RESERVE_H
#define DAEMON_RESERVE_H

#include "base/disk.h"

struct daemon_reserve;

// Holds `bytes` in <state_dir>/RESERVE (0: none; a file that is there is removed). Errors: BASE_EIO, there is
// no room for it.
struct daemon_reserve *daemon_reserve_new(struct base_disk *disk, const char *state_dir, uint64_t bytes,
                                          struct base_error *error);
void daemon_reserve_free(struct daemon_reserve *reserve); // the file stays; takes NULL

// Sees to it that `bytes` can be written. *short_of_room: only by giving up the reserve, which it did.
// Errors: BASE_EIO: not even so, or the disk's.
int daemon_reserve_make_room(struct daemon_reserve *reserve, uint64_t bytes, bool *short_of_room,
                             struct base_error *error);

#endif
