// The cuts of a state directory: what is recorded of each, which one was the last, and those that are kept.
//
//   db/         the database: rows, dense tensors, saved states, and the record of the cut it is at
//   lanes/      journey logs      journal/   decisions
//   LAST_CUT    which cut was the last one made
//   cuts/<n>/   kept cut n: db/ (a checkpoint), lanes/ and journal/ (hard links), STATE (its record); KEEP if
//               it is pinned, MANIFEST if it was imported
//
// A cut is made by one write batch of the database, then LAST_CUT is replaced. So at a start the database is
// at LAST_CUT's cut, or at the next one if the crash fell between the two. If it is at an older one, somebody
// put back a copy of it, and going on would learn twice what was published: refused.
//
// Thread: the functions that change a state directory, one at a time; those that read kept cuts, any. Kept
// cuts may be read, pinned and dropped by another process while the daemon runs.
#ifndef DAEMON_CUTS_H
#define DAEMON_CUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/disk.h"
#include "base/error.h"
#include "daemon/store.h"

enum {
    DAEMON_CUTS_ERA_MAX = 256,   // bytes of an era's text with its end
    DAEMON_CUTS_NAME_MAX = 32,   // bytes of a blob's name with its end
    DAEMON_CUTS_PATH_MAX = 4096, // bytes of a path with its end
    DAEMON_CUTS_KEPT_MAX = 4096, // kept cuts of a state directory
};

// Names of the blobs that the daemon saves.
#define DAEMON_CUTS_INGEST "ingest"           // consumer_ingest_save
#define DAEMON_CUTS_LEARNER "learner"         // evaluator and what else the learner goes on from
#define DAEMON_CUTS_PUBLICATION "publication" // what is published

struct daemon_config; // daemon/config.h

struct daemon_cut_record {
    uint64_t number;   // from 1 on; 0: there is none
    int64_t tick;      // the last one in it
    int64_t frontier;  // ms: everything up to here is handled
    int64_t wall_ms;   // when it was made
    uint64_t examples; // learned from
    uint64_t rows;     // of all slots
    uint64_t journal;  // position from which the decision journal is to be obeyed
    uint64_t config;   // daemon_config.hash
    uint64_t store;    // identity of the database: daemon_cuts_identity when its first cut is made
    char era[DAEMON_CUTS_ERA_MAX]; // the arithmetic: BLAS, core type, CPU features
};

// ---- the record and the blobs in the database ----
// Keys: "s/cut" and "s/blob/<name>", each value a section.

void daemon_cuts_put(struct daemon_store_batch *batch, const struct daemon_cut_record *record);
// Errors: BASE_ENOTFOUND (no cut was made yet), BASE_EFORMAT, the store's.
int daemon_cuts_get(struct daemon_store *store, struct daemon_cut_record *record, struct base_error *error);
// Of names with at most DAEMON_CUTS_NAME_MAX - 1 characters.
void daemon_cuts_put_blob(struct daemon_store_batch *batch, const char *name, struct base_span blob);
// Into `blob`, which is cleared first. Errors: as above.
int daemon_cuts_get_blob(struct daemon_store *store, const char *name, struct base_buffer *blob,
                         struct base_error *error);
// A random number that is not 0. Errors: BASE_EIO.
int daemon_cuts_identity(uint64_t *identity, struct base_error *error);

// ---- LAST_CUT ----

// After the write batch: replaces LAST_CUT. Errors: the disk's.
int daemon_cuts_made(struct base_disk *disk, const char *state_dir, const struct daemon_cut_record *record,
                     struct base_error *error);
// At the start: the cut that the database is at, compared with LAST_CUT; record->number 0: neither has one.
// Errors: BASE_ECONFLICT, fatal (the database is older than LAST_CUT, or another one, or LAST_CUT is
// missing), BASE_EFORMAT (LAST_CUT or the record is damaged), the store's.
int daemon_cuts_last(const char *state_dir, struct daemon_store *store, struct daemon_cut_record *record,
                     struct base_error *error);
// Then: replaces a LAST_CUT that names another cut, or none, because of a crash between the two. Else a
// second crash of that sort could not be told from a lost file. Errors: the disk's.
int daemon_cuts_name_last(struct base_disk *disk, const char *state_dir,
                          const struct daemon_cut_record *record, struct base_error *error);

// ---- kept cuts ----

// Keeps the cut that the database is at: nothing may be written to it meanwhile, and what the cut needs of
// lanes/ and journal/ may not be removed. Takes as long as a flush of the database. A crash leaves the whole
// of it or nothing that is seen. One that is kept already stays; so does a pinned one of the same number from
// before an older cut was imported, and then this one is not kept. Errors: the disk's, the store's (a store
// in memory cannot be kept).
//
// lanes/ and journal/ hold the files that go on being appended to in the live directory, and that a restart
// cuts back to the last cut. Lengths only grow from cut to cut, so bytes below those of a kept cut are never
// changed; what lies above them does not count.
int daemon_cuts_keep(struct base_disk *disk, const char *state_dir, struct daemon_store *store,
                     const struct daemon_cut_record *record, struct base_error *error);

struct daemon_cuts_kept {
    struct daemon_cut_record record; // of number alone if it is damaged
    bool pinned;
    uint64_t files, bytes;    // on disk, what is shared with other cuts and the live state included
    struct base_error damage; // code BASE_OK: STATE is right
};

// All kept cuts, the newest first; *kept to be freed by the caller. Errors: BASE_EIO, BASE_ELIMIT.
int daemon_cuts_list(const char *state_dir, struct daemon_cuts_kept **kept, size_t *count,
                     struct base_error *error);
// Drops those that need not stay: not the newest `keep`, not the newest of one of the last `hours` hours
// before now_ms, not pinned, not damaged. Errors: BASE_EIO.
int daemon_cuts_rotate(struct base_disk *disk, const char *state_dir, uint64_t keep, uint64_t hours,
                       int64_t now_ms, struct base_error *error);
// Lowers *position to where the decision journal has to begin for every kept cut that is not damaged: the
// live journal goes on from them (replay --from). Errors: BASE_EIO, BASE_ELIMIT.
int daemon_cuts_journal(const char *state_dir, uint64_t *position, struct base_error *error);
// Never dropped by rotation any more; `number` 0: the newest, whose number it becomes. Errors:
// BASE_ENOTFOUND, the disk's.
int daemon_cuts_pin(struct base_disk *disk, const char *state_dir, uint64_t *number,
                    struct base_error *error);
// Drops one, pinned or not. Errors: BASE_ENOTFOUND, the disk's.
int daemon_cuts_drop(struct base_disk *disk, const char *state_dir, uint64_t number,
                     struct base_error *error);
// "<state_dir>/cuts/<number>"; `number` 0: the newest. Errors: BASE_ENOTFOUND.
int daemon_cuts_path(const char *state_dir, uint64_t number, char path[DAEMON_CUTS_PATH_MAX],
                     struct base_error *error);
// The record of a kept or exported cut in `directory`. Errors: BASE_ENOTFOUND, BASE_EFORMAT, BASE_EIO.
int daemon_cuts_state(const char *directory, struct daemon_cut_record *record, struct base_error *error);

// ---- elsewhere ----

// Makes the new directory `to`, whose parent exists, a state directory at the cut in `from`: a kept or
// exported cut, or a state directory that no process uses. For a replay: without cuts of its own. `from`
// stays as it is: files that will be written to are copied, now or by the restore, others linked, or copied
// to another file system. Errors: BASE_ENOTFOUND, BASE_EFORMAT, the disk's.
int daemon_cuts_prepare(struct base_disk *disk, const char *from, const char *to, struct base_error *error);
// Copies a kept cut (0: the newest) to the new directory `to`, with a MANIFEST: size and XXH3 of every file.
// Errors: BASE_ENOTFOUND, BASE_ECONFLICT (`to` is there already), BASE_EFORMAT, the disk's.
int daemon_cuts_export(struct base_disk *disk, const char *state_dir, uint64_t number, const char *to,
                       struct base_error *error);
// Copies an exported cut, verified against its MANIFEST, to the kept ones, pinned; or, with `live`, makes it
// what the daemon goes on from: the state directory may then hold no database. Errors: BASE_ECONFLICT (there
// is one; or that cut is kept already), BASE_EFORMAT (naming the file), the disk's.
int daemon_cuts_import(struct base_disk *disk, const char *state_dir, const char *from, bool live,
                       struct base_error *error);
// Verifies a kept or exported cut as far as that goes without the configuration: MANIFEST (if there is one),
// STATE, every block of the database, and that its record is STATE's. Errors: BASE_EFORMAT, naming the file.
int daemon_cuts_verify(const char *directory, struct daemon_cut_record *record, struct base_error *error);
// The rest: journal and journey logs, by opening them as a restart with that configuration would, but without
// changing anything. Errors: BASE_EFORMAT, naming file and offset; BASE_ECONFLICT (it is of other topics).
int daemon_cuts_verify_logs(const struct daemon_config *config, const char *directory,
                            struct base_error *error);

#endif
