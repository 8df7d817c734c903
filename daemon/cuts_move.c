// Cuts elsewhere: a state directory made of one, export, import. See cuts.h.
//
// MANIFEST is a text: "freshet cut 1", the format's version; a line for each file, "<XXH3, 16 hex digits>
// <bytes> <name>", sorted by name; the last line is "end <XXH3 of the lines before>".
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "daemon/cuts_private.h"

#define MOVE_IMPORT ".import"
#define MOVE_MANIFEST_MAGIC "freshet cut "
#define MOVE_MANIFEST_FIRST MOVE_MANIFEST_MAGIC "1\n"

enum { MOVE_MANIFEST_MAX = 1 << 28 };

// What a cut consists of, in the order in which an import gives it its names; with LAST_CUT, which says that
// all is there, at the end.
static const char *const move_parts[] = {"lanes", "journal", "db", "LAST_CUT"};

// RocksDB's own lock and information log, in the database's directory.
static bool move_incidental(const char *name)
{
    return strncmp(name, "LOG", 3) == 0 || strcmp(name, "LOCK") == 0;
}

// ---- a state directory of a cut ----

// Table files never change; RocksDB writes to others.
static enum cuts_way move_choose_db(const struct cuts_tree *tree, size_t index)
{
    const char *name = tree->entry[index].name;
    size_t size = strlen(name);
    if (move_incidental(name)) {
        return CUTS_SKIP;
    }
    return size > 4 && strcmp(name + size - 4, ".sst") == 0 ? CUTS_LINK : CUTS_COPY;
}

static enum cuts_way move_choose_db_copy(const struct cuts_tree *tree, size_t index)
{
    return move_incidental(tree->entry[index].name) ? CUTS_SKIP : CUTS_COPY;
}

// The record of what lies in `from`, which becomes that of the database in `to`.
static int move_record(const char *from, const char *to, struct daemon_cut_record *record,
                       struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    if (daemon_cuts_join(path, to, "db", error)) {
        return -1;
    }
    struct daemon_store *store = daemon_store_open(path, false, true, error);
    if (!store) {
        return -1;
    }
    struct daemon_cut_record state;
    int result = -1;
    if (!daemon_cuts_has(from, CUTS_STATE_NAME)) { // a state directory
        result = daemon_cuts_last(from, store, record, error);
        if (result == 0 && record->number == 0) {
            result = base_error_set(error, BASE_ENOTFOUND, "no cut was made in %s", from);
        }
    } else if (daemon_cuts_state(from, &state, error) == 0 && daemon_cuts_get(store, record, error) == 0) {
        result = 0;
        if (record->number != state.number || record->store != state.store) {
            result = base_error_set(error, BASE_EFORMAT,
                                    "%s/" CUTS_STATE_NAME " is of cut %" PRIu64
                                    ", the database beside it of cut %" PRIu64,
                                    from, state.number, record->number);
        }
    }
    daemon_store_close(store);
    return result;
}

// `lanes` and `db` say how the journey logs and the files of the database are taken over.
static int move_prepare(struct base_disk *disk, const char *from, const char *to, cuts_choose *lanes,
                        cuts_choose *db, struct base_error *error)
{
    cuts_choose *const choose[] = {lanes, daemon_cuts_copy_all, db};
    char source[DAEMON_CUTS_PATH_MAX], target[DAEMON_CUTS_PATH_MAX];
    struct daemon_cut_record record;
    if (access(to, F_OK) == 0) {
        return base_error_set(error, BASE_ECONFLICT, "%s is there already", to);
    }
    if (!daemon_cuts_has(from, "db")) {
        return base_error_set(error, BASE_ENOTFOUND, "there is no cut in %s", from);
    }
    if (base_disk_make_directory(disk, to, error)) {
        return -1;
    }
    for (size_t i = 0; i < sizeof choose / sizeof *choose; i++) {
        if (daemon_cuts_join(source, from, move_parts[i], error) ||
            daemon_cuts_join(target, to, move_parts[i], error) ||
            daemon_cuts_replicate(disk, source, target, choose[i], error)) {
            return -1;
        }
    }
    if (move_record(from, to, &record, error)) {
        return -1;
    }
    return daemon_cuts_made(disk, to, &record, error); // syncs `to` as well
}

int daemon_cuts_prepare(struct base_disk *disk, const char *from, const char *to, struct base_error *error)
{
    // A log that is restored for a replay unshares the segment that it writes to (consumer/segments.h).
    return move_prepare(disk, from, to, daemon_cuts_link_all, move_choose_db, error);
}

// ---- MANIFEST ----

// What a manifest lists of a cut's files, and what it does not know.
static bool move_listed(const struct cuts_entry *entry)
{
    const char *name = entry->name;
    return !entry->directory && strcmp(name, CUTS_MANIFEST_NAME) != 0 && strcmp(name, CUTS_KEEP_NAME) != 0 &&
           !(strncmp(name, "db/", 3) == 0 && move_incidental(name + 3));
}

static enum cuts_way move_choose_listed(const struct cuts_tree *tree, size_t index)
{
    return move_listed(&tree->entry[index]) ? CUTS_COPY : CUTS_SKIP;
}

static void manifest_line(struct base_buffer *manifest, uint64_t hash, uint64_t size, const char *name)
{
    char text[DAEMON_CUTS_PATH_MAX + 64];
    int length = snprintf(text, sizeof text, "%016" PRIx64 " %" PRIu64 " %s\n", hash, size, name);
    base_buffer_append(manifest, text, (size_t)length);
}

static int manifest_make(struct base_disk *disk, const char *directory, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX], end[64];
    struct cuts_tree tree;
    struct base_buffer manifest = {0};
    int result = -1;
    if (daemon_cuts_tree_read(directory, &tree, error)) {
        return -1;
    }
    base_buffer_append(&manifest, MOVE_MANIFEST_FIRST, strlen(MOVE_MANIFEST_FIRST));
    for (size_t i = 0; i < tree.count; i++) {
        uint64_t hash, size;
        if (!move_listed(&tree.entry[i])) {
            continue;
        }
        if (strchr(tree.entry[i].name, '\n') ||
            daemon_cuts_join(path, directory, tree.entry[i].name, error) ||
            daemon_cuts_file_hash(path, &hash, &size, error)) {
            goto out;
        }
        manifest_line(&manifest, hash, size, tree.entry[i].name);
    }
    snprintf(end, sizeof end, "end %016" PRIx64 "\n", base_hash_bytes(base_buffer_span(&manifest), 0));
    base_buffer_append(&manifest, end, strlen(end));
    if (daemon_cuts_join(path, directory, CUTS_MANIFEST_NAME, error) == 0) {
        result = base_disk_replace(disk, path, base_buffer_span(&manifest), error);
    }
out:
    base_buffer_free(&manifest);
    daemon_cuts_tree_clear(&tree);
    return result;
}

// The next line without its end, taken off; empty after the last one.
static struct base_span manifest_next(struct base_reader *lines)
{
    const uint8_t *end = lines->rest.size ? memchr(lines->rest.data, '\n', lines->rest.size) : NULL;
    struct base_span line =
        base_reader_bytes(lines, end ? (size_t)(end - lines->rest.data) : lines->rest.size);
    if (end) {
        base_reader_u8(lines);
    }
    return line;
}

// Takes the version's line off.
static int manifest_version(const char *path, struct base_reader *lines, struct base_error *error)
{
    const size_t magic = strlen(MOVE_MANIFEST_MAGIC);
    struct base_span first = manifest_next(lines);
    if (first.size < magic || memcmp(first.data, MOVE_MANIFEST_MAGIC, magic) != 0) {
        return base_error_set(error, BASE_EFORMAT, "%s does not begin with \"" MOVE_MANIFEST_MAGIC "\"",
                              path);
    }
    if (!base_span_equal(first, base_span_make(MOVE_MANIFEST_FIRST, strlen(MOVE_MANIFEST_FIRST) - 1))) {
        return base_error_set(error, BASE_EFORMAT, "%s has version %.*s, this program reads 1", path,
                              (int)(first.size - magic), (const char *)first.data + magic);
    }
    return 0;
}

// Reads the file into `manifest`; `lines` are those of the files.
static int manifest_read(const char *directory, struct base_buffer *manifest, struct base_reader *lines,
                         struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX], end[64];
    if (daemon_cuts_join(path, directory, CUTS_MANIFEST_NAME, error) ||
        base_disk_read(path, MOVE_MANIFEST_MAX, manifest, error)) {
        return -1;
    }
    size_t size = (size_t)snprintf(end, sizeof end, "end %016x\n", 0);
    if (manifest->size >= size) {
        struct base_span summed = base_span_make(manifest->data, manifest->size - size);
        snprintf(end, sizeof end, "end %016" PRIx64 "\n", base_hash_bytes(summed, 0));
        if (memcmp(manifest->data + summed.size, end, size) == 0) {
            *lines = (struct base_reader){.rest = summed};
            return manifest_version(path, lines, error);
        }
    }
    return base_error_set(error, BASE_EFORMAT, "%s is corrupt: its last line is not the sum of those before",
                          path);
}

static int move_order(struct base_span a, struct base_span b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

// The name in a line: what follows the second blank.
static struct base_span manifest_name(struct base_span line)
{
    for (int i = 0; i < 2 && line.size; i++) {
        const uint8_t *blank = memchr(line.data, ' ', line.size);
        size_t size = blank ? (size_t)(blank - line.data) + 1 : line.size;
        line = base_span_make(line.data + size, line.size - size);
    }
    return line;
}

static int manifest_missing(const char *directory, struct base_span name, struct base_error *error)
{
    return base_error_set(error, BASE_EFORMAT, "%s/%.*s is missing, the manifest lists it", directory,
                          (int)name.size, (const char *)name.data);
}

// Compares a file with the next line.
static int manifest_compare(const char *directory, const char *name, struct base_reader *lines,
                            struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    struct base_buffer found = {0};
    uint64_t hash, size;
    if (daemon_cuts_join(path, directory, name, error)) {
        return -1;
    }
    struct base_span line = manifest_next(lines), listed = manifest_name(line);
    int order = listed.size ? move_order(listed, base_span_string(name)) : 1;
    if (order) {
        return order < 0 ? manifest_missing(directory, listed, error)
                         : base_error_set(error, BASE_EFORMAT, "%s is not in the manifest", path);
    }
    if (daemon_cuts_file_hash(path, &hash, &size, error)) {
        return -1;
    }
    manifest_line(&found, hash, size, name);
    bool same = found.size == line.size + 1 && memcmp(found.data, line.data, line.size) == 0;
    base_buffer_free(&found);
    return same ? 0
                : base_error_set(
                      error, BASE_EFORMAT,
                      "%s is corrupt: sum %016" PRIx64 " of %" PRIu64 " bytes, the manifest says %.*s", path,
                      hash, size, (int)(line.size - listed.size - 1), (const char *)line.data);
}

int daemon_cuts_manifest_verify(const char *directory, struct base_error *error)
{
    struct base_buffer manifest = {0};
    struct cuts_tree tree = {0};
    struct base_reader lines;
    int result = manifest_read(directory, &manifest, &lines, error);
    if (result == 0) {
        result = daemon_cuts_tree_read(directory, &tree, error);
    }
    for (size_t i = 0; i < tree.count && result == 0; i++) {
        if (move_listed(&tree.entry[i])) {
            result = manifest_compare(directory, tree.entry[i].name, &lines, error);
        }
    }
    if (result == 0 && lines.rest.size) {
        result = manifest_missing(directory, manifest_name(manifest_next(&lines)), error);
    }
    daemon_cuts_tree_clear(&tree);
    base_buffer_free(&manifest);
    return result;
}

// ---- export, import ----

int daemon_cuts_export(struct base_disk *disk, const char *state_dir, uint64_t number, const char *to,
                       struct base_error *error)
{
    char from[DAEMON_CUTS_PATH_MAX];
    struct daemon_cut_record record;
    if (daemon_cuts_path(state_dir, number, from, error) || daemon_cuts_state(from, &record, error)) {
        return -1;
    }
    if (access(to, F_OK) == 0) {
        return base_error_set(error, BASE_ECONFLICT, "%s is there already", to);
    }
    if (daemon_cuts_replicate(disk, from, to, move_choose_listed, error)) {
        return -1;
    }
    return manifest_make(disk, to, error); // the last file: without it there is nothing to import
}

static int import_kept(struct base_disk *disk, const char *state_dir, const char *from,
                       const struct daemon_cut_record *record, struct base_error *error)
{
    char cuts[DAEMON_CUTS_PATH_MAX], fresh[DAEMON_CUTS_PATH_MAX], path[DAEMON_CUTS_PATH_MAX];
    char name[32];
    snprintf(name, sizeof name, "%" PRIu64, record->number);
    if (daemon_cuts_join(cuts, state_dir, "cuts", error) || daemon_cuts_join(path, cuts, name, error) ||
        daemon_cuts_join(fresh, cuts, MOVE_IMPORT, error)) {
        return -1;
    }
    if (access(path, F_OK) == 0) {
        return base_error_set(error, BASE_ECONFLICT, "cut %" PRIu64 " is kept already in %s", record->number,
                              state_dir);
    }
    char pin[DAEMON_CUTS_PATH_MAX];
    if (base_disk_make_directory(disk, state_dir, error) || base_disk_make_directory(disk, cuts, error) ||
        base_disk_sync_directory(disk, state_dir, error) || daemon_cuts_tree_remove(fresh, error) ||
        daemon_cuts_replicate(disk, from, fresh, daemon_cuts_copy_all, error) ||
        daemon_cuts_join(pin, fresh, CUTS_KEEP_NAME, error) ||
        base_disk_replace(disk, pin, base_span_string("imported\n"), error) ||
        daemon_cuts_manifest_verify(fresh, error) || base_disk_rename(disk, fresh, path, error)) {
        return -1;
    }
    return base_disk_sync_directory(disk, cuts, error);
}

static int import_live(struct base_disk *disk, const char *state_dir, const char *from,
                       struct base_error *error)
{
    char fresh[DAEMON_CUTS_PATH_MAX], source[DAEMON_CUTS_PATH_MAX], target[DAEMON_CUTS_PATH_MAX];
    for (size_t i = 0; i < sizeof move_parts / sizeof *move_parts; i++) {
        if (daemon_cuts_has(state_dir, move_parts[i])) {
            return base_error_set(error, BASE_ECONFLICT,
                                  "%s/%s is there: a cut can be taken over only where there is no state",
                                  state_dir, move_parts[i]);
        }
    }
    if (base_disk_make_directory(disk, state_dir, error) ||
        daemon_cuts_join(fresh, state_dir, MOVE_IMPORT, error) || daemon_cuts_tree_remove(fresh, error) ||
        daemon_cuts_manifest_verify(from, error) ||
        move_prepare(disk, from, fresh, daemon_cuts_copy_all, move_choose_db_copy, error)) {
        return -1;
    }
    for (size_t i = 0; i < sizeof move_parts / sizeof *move_parts; i++) {
        if (daemon_cuts_join(source, fresh, move_parts[i], error) ||
            daemon_cuts_join(target, state_dir, move_parts[i], error) ||
            base_disk_rename(disk, source, target, error) ||
            base_disk_sync_directory(disk, state_dir, error)) {
            return -1;
        }
    }
    return daemon_cuts_tree_remove(fresh, error);
}

int daemon_cuts_import(struct base_disk *disk, const char *state_dir, const char *from, bool live,
                       struct base_error *error)
{
    struct daemon_cut_record record;
    if (!daemon_cuts_has(from, CUTS_MANIFEST_NAME)) {
        return base_error_set(error, BASE_ENOTFOUND, "%s is no exported cut: it has no " CUTS_MANIFEST_NAME,
                              from);
    }
    if (daemon_cuts_state(from, &record, error)) {
        return -1;
    }
    return live ? import_live(disk, state_dir, from, error)
                : import_kept(disk, state_dir, from, &record, error);
}
