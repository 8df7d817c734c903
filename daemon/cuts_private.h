// Shared by the files that keep, move and verify cuts: the record's bytes, paths, and trees of files.
#ifndef DAEMON_CUTS_PRIVATE_H
#define DAEMON_CUTS_PRIVATE_H

#include "daemon/cuts.h"

#define CUTS_STATE_NAME "STATE"
#define CUTS_KEEP_NAME "KEEP"
#define CUTS_MANIFEST_NAME "MANIFEST"

// A record as a section, and back. `what` names it in errors (BASE_EFORMAT).
void daemon_cuts_pack(struct base_buffer *buffer, const struct daemon_cut_record *record);
int daemon_cuts_unpack(struct base_span bytes, struct daemon_cut_record *record, const char *what,
                       struct base_error *error);

// "<directory>/<name>". Errors: BASE_ELIMIT.
int daemon_cuts_join(char path[DAEMON_CUTS_PATH_MAX], const char *directory, const char *name,
                     struct base_error *error);

// Whether "<directory>/<name>" exists.
bool daemon_cuts_has(const char *directory, const char *name);

// Compares a cut's files with the MANIFEST beside them. Errors: BASE_EFORMAT, BASE_ENOTFOUND, BASE_EIO.
int daemon_cuts_manifest_verify(const char *directory, struct base_error *error);

// ---- trees of files: cuts_tree.c ----

enum { CUTS_TREE_MAX = 1 << 20, CUTS_TREE_DEPTH = 4 }; // entries; directories within directories

struct cuts_entry {
    char *name; // below the root
    bool directory;
    uint64_t size; // of a file
};

// Everything below a directory, sorted by name: a directory before what is in it, numbered files in order.
struct cuts_tree {
    struct cuts_entry *entry;
    size_t count, room;
};

// Errors: BASE_EIO (also for anything but files and directories), BASE_ELIMIT. What vanishes meanwhile is
// left out.
int daemon_cuts_tree_read(const char *root, struct cuts_tree *tree, struct base_error *error);
void daemon_cuts_tree_clear(struct cuts_tree *tree);

enum cuts_way {
    CUTS_SKIP,
    CUTS_LINK, // or copy, to another file system; a file that has vanished is left out
    CUTS_COPY,
};

// How a tree's file is taken over.
typedef enum cuts_way cuts_choose(const struct cuts_tree *tree, size_t index);

// Takes over the tree below `from` to the directory `to`, which is made, and syncs all of it but the name
// `to` itself. A `from` that does not exist is an empty tree. Errors: the disk's, the tree's.
int daemon_cuts_replicate(struct base_disk *disk, const char *from, const char *to, cuts_choose *choose,
                          struct base_error *error);

enum cuts_way daemon_cuts_link_all(const struct cuts_tree *tree, size_t index);
enum cuts_way daemon_cuts_copy_all(const struct cuts_tree *tree, size_t index);

// Removes a directory with all that is in it; one that is not there is removed already. It is not durable,
// and need not be: what is removed has no name any more that means something. Errors: BASE_EIO.
int daemon_cuts_tree_remove(const char *path, struct base_error *error);

// XXH3 of a file's bytes, and their count. Errors: BASE_ENOTFOUND, BASE_EIO.
int daemon_cuts_file_hash(const char *path, uint64_t *hash, uint64_t *size, struct base_error *error);

#endif
