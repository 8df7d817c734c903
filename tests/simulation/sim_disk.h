// A disk that forgets what was not synced: real files in a directory of their own (in memory, where the
// system has such a place), and beside each what a power cut would leave of it.
//
// Two ends of a process. kill -9: everything written stays, but is still not on the disk. A power cut: what
// was synced is there; each write since is there, is not, or is torn; each name since (created, renamed,
// linked, removed) is there or not, whatever the file itself was synced to. A rename is whole or not at all.
// A file without a name is gone; a name whose directory has no name as well.
//
// Files may be opened for reading and mapped as usual. Whatever changes them has to come through here: a name
// that did not (see sim_disk_stranger) is lost at every power cut. All descriptors and maps of the process
// that "died" have to be closed before sim_disk_crash.
//
// Sites: disk.full (ENOSPC), disk.write (EIO, a part may be written), disk.sync (EIO; a later sync may do
// it), disk.sync_lost (EIO, and what was to be synced never is, even if a later sync succeeds, as with some
// file systems whose cache then holds what the disk does not; off unless it is given a rate), disk.dead (at
// this operation the process dies: it and all after it fail, until one of the two ends). Thread: one.
#ifndef TESTS_SIMULATION_SIM_DISK_H
#define TESTS_SIMULATION_SIM_DISK_H

#include "base/disk.h"
#include "simulation/sim_random.h"

struct sim_disk;

struct sim_disk *sim_disk_new(struct sim_faults *faults); // borrowed; NULL: no faults
void sim_disk_free(struct sim_disk *disk);                // removes the directory with all in it
struct base_disk *sim_disk_base(struct sim_disk *disk);
const char *sim_disk_directory(const struct sim_disk *disk); // absolute

bool sim_disk_dead(const struct sim_disk *disk);
void sim_disk_kill(struct sim_disk *disk);
void sim_disk_crash(struct sim_disk *disk, struct sim_random *random);
// As sim_disk_crash, but the worst: nothing of what was not synced is left.
void sim_disk_crash_clean(struct sim_disk *disk);
// A name below the directory that was not made through the disk, or NULL.
const char *sim_disk_stranger(struct sim_disk *disk);

struct sim_disk_counts {
    uint64_t writes, syncs, crashes;
    uint64_t kept, dropped, torn;       // writes not synced, at power cuts
    uint64_t names_kept, names_dropped; // likewise
};
struct sim_disk_counts sim_disk_counts(const struct sim_disk *disk);

#endif
