// The database behind the cut: keys and values, both bytes, in the order of their bytes (unsigned). What is
// written in one batch is there as a whole after a crash, or not at all.
//
// Two implementations behind one interface: store_rocks.c (RocksDB, in a directory) and store_memory.c (a
// sorted array, for the simulation). store.c has the batch and the way to the implementation.
//
// Thread: a store is written by one thread at a time. Get, scan and checkpoint may be called by several at
// once, also beside a write; a scan sees the store as it was when it began.
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

enum {
    DAEMON_STORE_KEY_MAX = 1024,       // bytes of a key, at least 1
    DAEMON_STORE_VALUE_MAX = 1u << 30, // bytes of a value
};

struct daemon_store;
struct daemon_store_batch;

// Called with each key in ascending order; the spans live until it returns. Not 0 ends the scan with that
// value; a callback that fails fills `error` and returns -1.
typedef int daemon_store_each(void *context, struct base_span key, struct base_span value,
                              struct base_error *error);

// ---- opening ----

// Opens the RocksDB database in the directory `path`; `create`: makes it (and its directory, whose parent
// must exist) if there is none. `read_only`: changes nothing and takes no lock; the database must not be
// written to meanwhile. Errors: BASE_ENOTFOUND (none there, and not to be created), BASE_ECONFLICT (another
// process uses it), BASE_EFORMAT (damaged; the text names the file where RocksDB does), BASE_EIO.
struct daemon_store *daemon_store_open(const char *path, bool create, bool read_only,
                                       struct base_error *error);
void daemon_store_close(struct daemon_store *store); // takes NULL
const char *daemon_store_path(const struct daemon_store *store);

// A store in memory, lost when it is closed. It has no directory: a checkpoint is refused (BASE_EINVAL).
struct daemon_store *daemon_store_memory_new(void);
// Another store with the same content: what a crash now would leave.
struct daemon_store *daemon_store_memory_clone(const struct daemon_store *store);
// `before` is called before every write; if it returns -1 (and fills the error), nothing is written and the
// write fails with it, marked fatal. NULL: none.
void daemon_store_memory_fail(struct daemon_store *store,
                              int (*before)(void *context, struct base_error *error), void *context);

// ---- writing ----

struct daemon_store_batch *daemon_store_batch_new(void);
void daemon_store_batch_free(struct daemon_store_batch *batch); // takes NULL
void daemon_store_batch_clear(struct daemon_store_batch *batch);
// Both are copied. Of several changes to one key the last one counts.
void daemon_store_batch_put(struct daemon_store_batch *batch, struct base_span key, struct base_span value);
void daemon_store_batch_remove(struct daemon_store_batch *batch, struct base_span key);
size_t daemon_store_batch_bytes(const struct daemon_store_batch *batch); // of keys and values so far

// Writes the whole batch, durably when it returns. The batch stays as it is. Errors, all fatal (what is on
// the disk is then unknown until the next start): BASE_EIO, BASE_EFORMAT.
int daemon_store_write(struct daemon_store *store, struct daemon_store_batch *batch,
                       struct base_error *error);

// ---- reading ----

// The value of `key` into `value`, which is cleared first. Errors: BASE_ENOTFOUND (`value` untouched),
// BASE_EFORMAT, BASE_EIO. Not for loops: after a write a get may cost a second.
int daemon_store_get(struct daemon_store *store, struct base_span key, struct base_buffer *value,
                     struct base_error *error);
// Calls `each` with every key that begins with `prefix` (empty: all). Every checksum is verified. Errors: as
// above, and each's.
int daemon_store_scan(struct daemon_store *store, struct base_span prefix, daemon_store_each *each,
                      void *context, struct base_error *error);
// Makes a database of its own in the new directory `path`, on the same file system, with the content as it is
// now: hard links to files that never change, and a few small files. Durable when it returns but for the name
// `path` itself. Errors: BASE_EIO, BASE_EFORMAT, BASE_EINVAL.
int daemon_store_checkpoint(struct daemon_store *store, const char *path, struct base_error *error);

#endif
