// Kept cuts: made, listed, rotated, pinned, dropped. See cuts.h.
//
// A kept cut is made under the name cuts/.keep and gets its own by a rename once all of it is durable; to be
// dropped it is renamed to cuts/.drop-<n> first. So whatever has a number for a name is whole. What a crash
// leaves under the other names is removed the next time.
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "daemon/cuts_private.h"

#define KEPT_NEW ".keep"
#define KEPT_DROPPED ".drop-"

enum { KEPT_STATE_MAX = 65536, KEPT_NAME_MAX = 32, KEPT_HOUR_MS = 3600 * 1000 };

static int kept_join(const char *state_dir, const char *name, char path[DAEMON_CUTS_PATH_MAX],
                     struct base_error *error)
{
    char below[DAEMON_CUTS_PATH_MAX];
    snprintf(below, sizeof below, "cuts%s%s", *name ? "/" : "", name);
    return daemon_cuts_join(path, state_dir, below, error);
}

static int kept_number_path(const char *state_dir, uint64_t number, char path[DAEMON_CUTS_PATH_MAX],
                            struct base_error *error)
{
    char name[KEPT_NAME_MAX];
    snprintf(name, sizeof name, "%" PRIu64, number);
    return kept_join(state_dir, name, path, error);
}

// The number that a directory's name is; 0: it is none.
static uint64_t kept_parse(const char *name)
{
    uint64_t number = 0;
    if (*name == '0' || strlen(name) > 19) {
        return 0;
    }
    for (; *name; name++) {
        if (*name < '0' || *name > '9') {
            return 0;
        }
        number = 10 * number + (uint64_t)(*name - '0');
    }
    return number;
}

// ---- listing ----

int daemon_cuts_state(const char *directory, struct daemon_cut_record *record, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    struct base_buffer buffer = {0};
    int result = daemon_cuts_join(path, directory, CUTS_STATE_NAME, error);
    if (result == 0) {
        result = base_disk_read(path, KEPT_STATE_MAX, &buffer, error);
    }
    if (result == 0) {
        result = daemon_cuts_unpack(base_buffer_span(&buffer), record, path, error);
    } else if (error->code == BASE_ELIMIT) {
        error->code = BASE_EFORMAT;
    }
    base_buffer_free(&buffer);
    return result;
}

// Fills *kept of the number in its record.
static int kept_look(const char *state_dir, struct daemon_cuts_kept *kept, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    uint64_t number = kept->record.number;
    struct cuts_tree tree;
    if (kept_number_path(state_dir, number, path, error) || daemon_cuts_tree_read(path, &tree, error)) {
        return -1;
    }
    for (size_t i = 0; i < tree.count; i++) {
        kept->files += !tree.entry[i].directory;
        kept->bytes += tree.entry[i].size;
    }
    daemon_cuts_tree_clear(&tree);
    kept->pinned = daemon_cuts_has(path, CUTS_KEEP_NAME);
    if (daemon_cuts_state(path, &kept->record, &kept->damage)) {
        kept->record.number = number;
    } else if (kept->record.number != number) {
        base_error_set(&kept->damage, BASE_EFORMAT, "%s/" CUTS_STATE_NAME " is that of cut %" PRIu64, path,
                       kept->record.number);
        kept->record = (struct daemon_cut_record){.number = number};
    }
    return 0;
}

// By time: after an older cut was imported, numbers come again. Damaged ones, whose time is 0, at the end.
static int kept_order(const void *left, const void *right)
{
    const struct daemon_cut_record *a = &((const struct daemon_cuts_kept *)left)->record;
    const struct daemon_cut_record *b = &((const struct daemon_cuts_kept *)right)->record;
    return a->wall_ms != b->wall_ms ? (a->wall_ms < b->wall_ms) - (a->wall_ms > b->wall_ms)
                                    : (a->number < b->number) - (a->number > b->number);
}

// The numbers of the kept cuts, nothing else, in no order.
static int kept_numbers(const char *state_dir, struct daemon_cuts_kept **kept, size_t *count,
                        struct base_error *error)
{
    char cuts[DAEMON_CUTS_PATH_MAX];
    struct daemon_cuts_kept *found = NULL;
    size_t size = 0;
    int result = 0;
    if (kept_join(state_dir, "", cuts, error)) {
        return -1;
    }
    DIR *directory = opendir(cuts);
    if (!directory && errno != ENOENT) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot read %s", cuts);
    }
    for (struct dirent *entry; directory && result == 0 && (entry = readdir(directory));) {
        uint64_t number = kept_parse(entry->d_name);
        if (number && size == DAEMON_CUTS_KEPT_MAX) {
            result =
                base_error_set(error, BASE_ELIMIT, "more than %d cuts in %s", DAEMON_CUTS_KEPT_MAX, cuts);
        } else if (number) {
            found = base_realloc(found, (size + 1) * sizeof *found);
            found[size++] = (struct daemon_cuts_kept){.record = {.number = number}};
        }
    }
    if (directory) {
        closedir(directory);
    }
    if (result) {
        free(found);
        return -1;
    }
    *kept = found;
    *count = size;
    return 0;
}

int daemon_cuts_list(const char *state_dir, struct daemon_cuts_kept **kept, size_t *count,
                     struct base_error *error)
{
    struct daemon_cuts_kept *found;
    size_t size;
    if (kept_numbers(state_dir, &found, &size, error)) {
        return -1;
    }
    for (size_t i = 0; i < size; i++) {
        if (kept_look(state_dir, &found[i], error)) {
            free(found);
            return -1;
        }
    }
    if (size) {
        qsort(found, size, sizeof *found, kept_order);
    }
    *kept = found;
    *count = size;
    return 0;
}

int daemon_cuts_journal(const char *state_dir, uint64_t *position, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX];
    struct daemon_cuts_kept *kept;
    size_t count;
    uint64_t least = *position;
    int result = kept_numbers(state_dir, &kept, &count, error);
    if (result) {
        return -1;
    }
    for (size_t i = 0; i < count && result == 0; i++) {
        struct daemon_cut_record record;
        struct base_error damage; // or it was dropped just now
        result = kept_number_path(state_dir, kept[i].record.number, path, error);
        if (result == 0 && daemon_cuts_state(path, &record, &damage) == 0 && record.journal < least) {
            least = record.journal;
        }
    }
    free(kept);
    if (result == 0) {
        *position = least;
    }
    return result;
}

int daemon_cuts_path(const char *state_dir, uint64_t number, char path[DAEMON_CUTS_PATH_MAX],
                     struct base_error *error)
{
    if (number == 0) {
        struct daemon_cuts_kept *kept;
        size_t count;
        if (daemon_cuts_list(state_dir, &kept, &count, error)) {
            return -1;
        }
        number = count ? kept[0].record.number : 0;
        free(kept);
        if (number == 0) {
            return base_error_set(error, BASE_ENOTFOUND, "no cut is kept in %s", state_dir);
        }
    }
    char found[DAEMON_CUTS_PATH_MAX];
    if (kept_number_path(state_dir, number, found, error)) {
        return -1;
    }
    if (access(found, F_OK)) {
        return base_error_set(error, BASE_ENOTFOUND, "cut %" PRIu64 " is not kept in %s", number, state_dir);
    }
    memcpy(path, found, strlen(found) + 1);
    return 0;
}

// ---- dropping ----

// Removes what was left under a name that says that it is to be removed.
static int kept_sweep(const char *state_dir, struct base_error *error)
{
    char cuts[DAEMON_CUTS_PATH_MAX], path[DAEMON_CUTS_PATH_MAX];
    int result = 0;
    if (kept_join(state_dir, "", cuts, error)) {
        return -1;
    }
    DIR *directory = opendir(cuts);
    for (struct dirent *entry; directory && result == 0 && (entry = readdir(directory));) {
        if (strncmp(entry->d_name, KEPT_DROPPED, strlen(KEPT_DROPPED)) == 0) {
            result = daemon_cuts_join(path, cuts, entry->d_name, error);
            result = result ? result : daemon_cuts_tree_remove(path, error);
        }
    }
    if (directory) {
        closedir(directory);
    }
    return result;
}

int daemon_cuts_drop(struct base_disk *disk, const char *state_dir, uint64_t number, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX], cuts[DAEMON_CUTS_PATH_MAX], dropped[DAEMON_CUTS_PATH_MAX];
    char name[KEPT_NAME_MAX];
    snprintf(name, sizeof name, KEPT_DROPPED "%" PRIu64, number);
    if (number == 0) {
        return base_error_set(error, BASE_ENOTFOUND, "there is no cut 0");
    }
    if (daemon_cuts_path(state_dir, number, path, error) || kept_join(state_dir, "", cuts, error) ||
        kept_join(state_dir, name, dropped, error) || daemon_cuts_tree_remove(dropped, error) ||
        base_disk_rename(disk, path, dropped, error) || base_disk_sync_directory(disk, cuts, error)) {
        return -1;
    }
    return daemon_cuts_tree_remove(dropped, error);
}

int daemon_cuts_rotate(struct base_disk *disk, const char *state_dir, uint64_t keep, uint64_t hours,
                       int64_t now_ms, struct base_error *error)
{
    struct daemon_cuts_kept *kept;
    size_t count;
    if (kept_sweep(state_dir, error) || daemon_cuts_list(state_dir, &kept, &count, error)) {
        return -1;
    }
    int64_t now = now_ms / KEPT_HOUR_MS, last = INT64_MAX;
    uint64_t newest = 0;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) { // from the newest on
        if (kept[i].pinned || kept[i].damage.code != BASE_OK) {
            continue;
        }
        int64_t hour = kept[i].record.wall_ms / KEPT_HOUR_MS;
        bool first = hour != last, recent = now - hour < (int64_t)hours;
        last = hour;
        if (newest++ >= keep && !(first && recent)) {
            result = daemon_cuts_drop(disk, state_dir, kept[i].record.number, error);
        }
    }
    free(kept);
    return result;
}

int daemon_cuts_pin(struct base_disk *disk, const char *state_dir, uint64_t *number, struct base_error *error)
{
    char path[DAEMON_CUTS_PATH_MAX], pin[DAEMON_CUTS_PATH_MAX];
    if (daemon_cuts_path(state_dir, *number, path, error) ||
        daemon_cuts_join(pin, path, CUTS_KEEP_NAME, error) ||
        base_disk_replace(disk, pin, base_span_string("pinned\n"), error)) {
        return -1;
    }
    *number = kept_parse(strrchr(path, '/') + 1);
    return 0;
}

// ---- keeping ----

static int kept_fill(struct base_disk *disk, const char *state_dir, const char *to,
                     struct daemon_store *store, const struct daemon_cut_record *record,
                     struct base_error *error)
{
    static const char *const linked[] = {"lanes", "journal"};
    char from[DAEMON_CUTS_PATH_MAX], path[DAEMON_CUTS_PATH_MAX];
    if (base_disk_make_directory(disk, to, error) || daemon_cuts_join(path, to, "db", error) ||
        daemon_store_checkpoint(store, path, error)) {
        return -1;
    }
    for (size_t i = 0; i < sizeof linked / sizeof *linked; i++) {
        if (daemon_cuts_join(from, state_dir, linked[i], error) ||
            daemon_cuts_join(path, to, linked[i], error) ||
            daemon_cuts_replicate(disk, from, path, daemon_cuts_link_all, error)) {
            return -1;
        }
    }
    struct base_buffer buffer = {0};
    daemon_cuts_pack(&buffer, record);
    int result = daemon_cuts_join(path, to, CUTS_STATE_NAME, error);
    if (result == 0) { // syncs `to` as well
        result = base_disk_replace(disk, path, base_buffer_span(&buffer), error);
    }
    base_buffer_free(&buffer);
    return result;
}

// Whether there is room for the cut's name: 1, it is kept already, or another one of its number, from before
// an older cut was imported, is pinned; such a one that is not pinned is dropped.
static int kept_room(struct base_disk *disk, const char *state_dir, const char *path,
                     const struct daemon_cut_record *record, struct base_error *error)
{
    struct daemon_cut_record kept;
    struct base_error ignored;
    if (access(path, F_OK)) {
        return 0;
    }
    if (daemon_cuts_has(path, CUTS_KEEP_NAME) ||
        (daemon_cuts_state(path, &kept, &ignored) == 0 && kept.store == record->store &&
         kept.tick == record->tick && kept.wall_ms == record->wall_ms)) {
        return 1;
    }
    return daemon_cuts_drop(disk, state_dir, record->number, error);
}

int daemon_cuts_keep(struct base_disk *disk, const char *state_dir, struct daemon_store *store,
                     const struct daemon_cut_record *record, struct base_error *error)
{
    char cuts[DAEMON_CUTS_PATH_MAX], fresh[DAEMON_CUTS_PATH_MAX], path[DAEMON_CUTS_PATH_MAX];
    if (kept_join(state_dir, "", cuts, error) || kept_join(state_dir, KEPT_NEW, fresh, error) ||
        kept_number_path(state_dir, record->number, path, error)) {
        return -1;
    }
    int room = kept_room(disk, state_dir, path, record, error);
    if (room) {
        return room < 0 ? -1 : 0;
    }
    if (base_disk_make_directory(disk, cuts, error) || base_disk_sync_directory(disk, state_dir, error) ||
        daemon_cuts_tree_remove(fresh, error) || kept_fill(disk, state_dir, fresh, store, record, error)) {
        return -1;
    }
    base_failpoint("kept.filled");
    if (base_disk_rename(disk, fresh, path, error)) {
        return -1;
    }
    base_failpoint("kept.named");
    return base_disk_sync_directory(disk, cuts, error);
}
