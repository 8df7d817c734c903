// Trees of files: read, taken over by links and copies, removed. See cuts_private.h.
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "daemon/cuts_private.h"

enum { TREE_PIECE = 1 << 20 }; // bytes copied or hashed at a time

// ---- reading ----

static int tree_order(const void *left, const void *right)
{
    const struct cuts_entry *a = left, *b = right;
    return strcmp(a->name, b->name);
}

static int tree_add(struct cuts_tree *tree, const char *name, bool directory, uint64_t size,
                    struct base_error *error)
{
    if (tree->count == CUTS_TREE_MAX) {
        return base_error_set(error, BASE_ELIMIT, "more than %d files below one directory", CUTS_TREE_MAX);
    }
    if (tree->count == tree->room) {
        tree->room = tree->room ? 2 * tree->room : 64;
        tree->entry = base_realloc(tree->entry, tree->room * sizeof *tree->entry);
    }
    size_t length = strlen(name) + 1;
    struct cuts_entry entry = {base_alloc(length), directory, size};
    memcpy(entry.name, name, length);
    tree->entry[tree->count++] = entry;
    return 0;
}

// Adds what is in the directory `root`/`below` ("": the root itself).
static int tree_walk(const char *root, const char *below, int depth, struct cuts_tree *tree,
                     struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX], name[DAEMON_CUTS_PATH_MAX];
    if (daemon_cuts_join(path, root, below, error)) {
        return -1;
    }
    DIR *directory = opendir(path);
    if (!directory) {
        return errno == ENOENT ? 0 : base_error_set_errno(error, BASE_EIO, errno, "cannot read %s", path);
    }
    int result = 0;
    for (struct dirent *entry; result == 0 && (errno = 0, entry = readdir(directory));) {
        struct stat status;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if ((size_t)snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", entry->d_name) >=
            sizeof name) {
            result = base_error_set(error, BASE_ELIMIT, "the path %.40s... is too long", path);
        } else if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW)) {
            result = errno == ENOENT ? 0
                                     : base_error_set_errno(error, BASE_EIO, errno, "cannot look at %s/%s",
                                                            path, entry->d_name);
        } else if (S_ISREG(status.st_mode)) {
            result = tree_add(tree, name, false, (uint64_t)status.st_size, error);
        } else if (!S_ISDIR(status.st_mode) || depth == CUTS_TREE_DEPTH) {
            result = base_error_set(error, BASE_EIO, "%s/%s is not expected here", path, entry->d_name);
        } else {
            result = tree_add(tree, name, true, 0, error);
            result = result ? result : tree_walk(root, name, depth + 1, tree, error);
        }
    }
    closedir(directory);
    return result;
}

int daemon_cuts_tree_read(const char *root, struct cuts_tree *tree, struct base_error *error)
{
    *tree = (struct cuts_tree){0};
    if (tree_walk(root, "", 0, tree, error)) {
        daemon_cuts_tree_clear(tree);
        return -1;
    }
    if (tree->count) {
        qsort(tree->entry, tree->count, sizeof *tree->entry, tree_order);
    }
    return 0;
}

void daemon_cuts_tree_clear(struct cuts_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        free(tree->entry[i].name);
    }
    free(tree->entry);
    *tree = (struct cuts_tree){0};
}

// ---- taking over ----

// Reads a piece of a file: its size, 0 at the end.
static int tree_read_piece(int fd, const char *path, uint8_t *piece, size_t *size, struct base_error *error)
{
    ssize_t count;
    do {
        count = read(fd, piece, TREE_PIECE);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot read %s", path);
    }
    *size = (size_t)count;
    return 0;
}

// 1: there is no `from` (any more).
static int tree_copy(struct base_disk *disk, const char *from, const char *to, struct base_error *error)
{
    int in = open(from, O_RDONLY | O_CLOEXEC), out = -1, result = -1;
    uint8_t *piece = NULL;
    if (in < 0) {
        return errno == ENOENT ? 1 : base_error_set_errno(error, BASE_EIO, errno, "cannot open %s", from);
    }
    if (base_disk_open(disk, to, O_WRONLY | O_CREAT | O_EXCL, &out, error)) {
        goto out;
    }
    piece = base_alloc(TREE_PIECE);
    uint64_t offset = 0;
    for (size_t size = 1; size; offset += size) {
        if (tree_read_piece(in, from, piece, &size, error) ||
            (size && base_disk_write(disk, out, to, base_span_make(piece, size), offset, error))) {
            goto out;
        }
    }
    result = base_disk_sync(disk, out, to, error);
out:
    free(piece);
    if (out >= 0) {
        close(out);
    }
    close(in);
    return result;
}

// The file below `from` likewise below `to`.
static int tree_take(struct base_disk *disk, const char *from, const char *to, enum cuts_way way,
                     struct base_error *error)
{
    if (way == CUTS_LINK) {
        struct base_disk *used = disk ? disk : &base_disk_system;
        int status = used->operations->link(used, from, to);
        if (status == 0 || status == ENOENT) {
            return 0;
        }
        if (status != EXDEV && status != EMLINK && status != EPERM) {
            return base_error_set_errno(error, BASE_EIO, status, "cannot link %s to %s", from, to);
        }
    }
    return tree_copy(disk, from, to, error) < 0 ? -1 : 0;
}

enum cuts_way daemon_cuts_link_all(const struct cuts_tree *tree, size_t index)
{
    (void)tree;
    (void)index;
    return CUTS_LINK;
}

enum cuts_way daemon_cuts_copy_all(const struct cuts_tree *tree, size_t index)
{
    (void)tree;
    (void)index;
    return CUTS_COPY;
}

static int tree_replicate(struct base_disk *disk, const char *from, const char *to,
                          const struct cuts_tree *tree, cuts_choose *choose, struct base_error *error)
{
    char source[DAEMON_CUTS_PATH_MAX], target[DAEMON_CUTS_PATH_MAX];
    for (size_t i = 0; i < tree->count; i++) {
        const struct cuts_entry *entry = &tree->entry[i];
        enum cuts_way way = entry->directory ? CUTS_SKIP : choose(tree, i);
        if (daemon_cuts_join(source, from, entry->name, error) ||
            daemon_cuts_join(target, to, entry->name, error) ||
            (entry->directory && base_disk_make_directory(disk, target, error)) ||
            (way != CUTS_SKIP && tree_take(disk, source, target, way, error))) {
            return -1;
        }
    }
    for (size_t i = tree->count; i-- > 0;) { // what is in a directory before its name
        if (tree->entry[i].directory && (daemon_cuts_join(target, to, tree->entry[i].name, error) ||
                                         base_disk_sync_directory(disk, target, error))) {
            return -1;
        }
    }
    return base_disk_sync_directory(disk, to, error);
}

int daemon_cuts_replicate(struct base_disk *disk, const char *from, const char *to, cuts_choose *choose,
                          struct base_error *error)
{
    struct cuts_tree tree;
    if (daemon_cuts_tree_read(from, &tree, error)) {
        return -1;
    }
    int result = base_disk_make_directory(disk, to, error);
    if (result == 0) {
        result = tree_replicate(disk, from, to, &tree, choose, error);
    }
    daemon_cuts_tree_clear(&tree);
    return result;
}

// ---- removing, hashing ----

int daemon_cuts_tree_remove(const char *path, struct base_error *error)
{
    struct cuts_tree tree;
    char name[DAEMON_CUTS_PATH_MAX];
    if (daemon_cuts_tree_read(path, &tree, error)) {
        return -1;
    }
    int result = 0;
    for (size_t i = tree.count; result == 0 && i-- > 0;) { // what is in a directory before it
        result = daemon_cuts_join(name, path, tree.entry[i].name, error);
        if (result == 0 && remove(name) && errno != ENOENT) {
            result = base_error_set_errno(error, BASE_EIO, errno, "cannot remove %s", name);
        }
    }
    daemon_cuts_tree_clear(&tree);
    if (result == 0 && remove(path) && errno != ENOENT) {
        result = base_error_set_errno(error, BASE_EIO, errno, "cannot remove %s", path);
    }
    return result;
}

int daemon_cuts_file_hash(const char *path, uint64_t *hash, uint64_t *size, struct base_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return base_error_set_errno(error, errno == ENOENT ? BASE_ENOTFOUND : BASE_EIO, errno,
                                    "cannot open %s", path);
    }
    struct base_hasher *hasher = base_hasher_new();
    uint8_t *piece = base_alloc(TREE_PIECE);
    uint64_t total = 0;
    int result = 0;
    for (size_t count = 1; count && result == 0;) {
        result = tree_read_piece(fd, path, piece, &count, error);
        if (result == 0) {
            base_hasher_update(hasher, piece, count);
            total += count;
        }
    }
    if (result == 0) {
        *hash = base_hasher_digest(hasher);
        *size = total;
    }
    free(piece);
    base_hasher_free(hasher);
    close(fd);
    return result;
}
