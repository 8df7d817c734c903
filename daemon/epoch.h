// EPOCH: the highest epoch that versions of this state directory may carry, kept beside the cuts.
//
// Redis gives out epochs, and may come back empty or without its last writes. The cut has the epoch too, but
// only that of the time when it was made. So each epoch is written here after it was taken and before a
// version carries it (publisher_config.remember), and the next process asks for one above it: a version's
// name is never used twice.
#ifndef DAEMON_EPOCH_H
#define DAEMON_EPOCH_H

#include "base/disk.h"

// Replaces <state_dir>/EPOCH, durably. Errors: the disk's.
int daemon_epoch_write(struct base_disk *disk, const char *state_dir, uint64_t epoch,
                       struct base_error *error);
// *epoch is 0 if there is no such file. Errors: BASE_EFORMAT, BASE_EIO.
int daemon_epoch_read(const char *state_dir, uint64_t *epoch, struct base_error *error);

#endif
