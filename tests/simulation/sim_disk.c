// A disk that forgets what was not synced. See sim_disk.h.
//
// Every file has a record: its content as far as it is durable, and the changes since. There are two maps
// from names to records: the names now (those of the real directory), and the durable ones, with a list of
// changes of names between them. A sync of a file moves its changes into its durable content, a sync of a
// directory its changes of names into the durable map. A power cut plays the changes, some of them, and
// writes the directory anew from the result.
#include "simulation/sim_disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 512, SECTOR = 512, WORD = 8 };

struct change { // of a file's content
    enum { CHANGE_WRITE, CHANGE_ALLOCATE, CHANGE_TRUNCATE } kind;
    uint64_t offset; // or the size
    uint8_t *bytes;
    size_t size;
    bool lost; // a sync has failed: no later one makes it durable
};

struct content { // what lies beyond the bytes is zeros
    struct base_buffer bytes;
    uint64_t size;
};

struct record {     // of a file, or of a directory
    uint64_t inode; // 0: no longer that of a file that exists
    bool directory;
    struct content durable;
    struct change *changes;
    uint32_t count, capacity;
    bool marked;
    struct record *next;
};

struct name {
    char *path;
    struct record *record;
};

struct names {
    struct name *name;
    uint32_t count, capacity;
};

struct rename { // a change of names: `path` gets the record (NULL: is removed), `from`, if any, goes away
    char *path, *from;
    struct record *record;
};

struct sim_disk {
    struct base_disk base; // first
    struct sim_faults *faults;
    bool dead; // operations fail
    char directory[128];
    struct record *records;
    struct names now, durable;
    struct rename *renames;
    uint32_t rename_count, rename_capacity;
    char stranger[PATH_BYTES];
    struct sim_disk_counts counts;
};

static struct sim_disk *disk_of(struct base_disk *base)
{
    return (struct sim_disk *)base;
}

// ---- names ----

// The path without doubled or last slashes.
static void path_tidy(const char *path, char tidy[PATH_BYTES])
{
    size_t size = 0;
    for (; *path; path++) {
        if (*path != '/' || path[1] != '/') {
            assert(size + 1 < PATH_BYTES);
            tidy[size++] = *path;
        }
    }
    size -= size > 1 && tidy[size - 1] == '/';
    tidy[size] = '\0';
}

static char *path_copy(const char *path)
{
    size_t size = strlen(path) + 1;
    return memcpy(base_alloc(size), path, size);
}

static void path_parent(const char *path, char parent[PATH_BYTES])
{
    const char *slash = strrchr(path, '/');
    assert(slash);
    snprintf(parent, PATH_BYTES, "%.*s", (int)(slash - path), path);
}

static struct record *names_get(const struct names *names, const char *path)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->name[i].path, path) == 0) {
            return names->name[i].record;
        }
    }
    return NULL;
}

static void names_set(struct names *names, const char *path, struct record *record)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->name[i].path, path) == 0) {
            if (record) {
                names->name[i].record = record;
            } else {
                free(names->name[i].path);
                names->name[i] = names->name[--names->count];
            }
            return;
        }
    }
    if (!record) {
        return;
    }
    if (names->count == names->capacity) {
        names->capacity = names->capacity ? names->capacity * 2 : 64;
        names->name = base_realloc(names->name, names->capacity * sizeof *names->name);
    }
    names->name[names->count++] = (struct name){path_copy(path), record};
}

static void names_clear(struct names *names)
{
    for (uint32_t i = 0; i < names->count; i++) {
        free(names->name[i].path);
    }
    names->count = 0;
}

static void names_apply(struct names *names, const struct rename *rename)
{
    if (rename->from) {
        names_set(names, rename->from, NULL);
    }
    names_set(names, rename->path, rename->record);
}

// Does it now, and notes it until the directory is synced.
static void disk_rename(struct sim_disk *disk, const char *path, const char *from, struct record *record)
{
    if (disk->rename_count == disk->rename_capacity) {
        disk->rename_capacity = disk->rename_capacity ? disk->rename_capacity * 2 : 64;
        disk->renames = base_realloc(disk->renames, disk->rename_capacity * sizeof *disk->renames);
    }
    struct rename *rename = &disk->renames[disk->rename_count++];
    *rename = (struct rename){path_copy(path), from ? path_copy(from) : NULL, record};
    names_apply(&disk->now, rename);
}

static void rename_done(struct rename *rename)
{
    free(rename->path);
    free(rename->from);
}

// ---- records ----

static struct record *record_new(struct sim_disk *disk, uint64_t inode, bool directory)
{
    // The number may have been that of a file that is gone.
    for (struct record *each = disk->records; each; each = each->next) {
        each->inode = each->inode == inode ? 0 : each->inode;
    }
    struct record *record = base_alloc_zeroed(1, sizeof *record);
    record->inode = inode;
    record->directory = directory;
    record->next = disk->records;
    disk->records = record;
    return record;
}

static void record_free(struct record *record)
{
    for (uint32_t i = 0; i < record->count; i++) {
        free(record->changes[i].bytes);
    }
    free(record->changes);
    base_buffer_free(&record->durable.bytes);
    free(record);
}

static struct record *record_of(struct sim_disk *disk, int fd)
{
    struct stat status;
    int failed = fstat(fd, &status);
    assert(!failed);
    (void)failed;
    struct record *record = disk->records;
    while (record && record->inode != status.st_ino) {
        record = record->next;
    }
    assert(record); // else the file was not opened through the disk
    return record;
}

static void record_change(struct record *record, struct change change)
{
    if (record->count == record->capacity) {
        record->capacity = record->capacity ? record->capacity * 2 : 16;
        record->changes = base_realloc(record->changes, record->capacity * sizeof *record->changes);
    }
    record->changes[record->count++] = change;
}

static void content_resize(struct content *content, uint64_t size)
{
    content->size = size;
    content->bytes.size = content->bytes.size < size ? content->bytes.size : (size_t)size;
}

static void content_write(struct content *content, uint64_t offset, const uint8_t *bytes, size_t size)
{
    struct base_buffer *buffer = &content->bytes;
    if (size == 0) {
        return;
    }
    size_t end = (size_t)offset + size;
    if (end > buffer->size) {
        size_t more = end - buffer->size;
        base_buffer_reserve(buffer, more);
        memset(buffer->data + buffer->size, 0, more);
        buffer->size = end;
    }
    memcpy(buffer->data + offset, bytes, size);
    content->size = content->size > end ? content->size : end;
}

static void content_apply(struct content *content, const struct change *change)
{
    switch (change->kind) {
    case CHANGE_WRITE:
        content_write(content, change->offset, change->bytes, change->size);
        break;
    case CHANGE_ALLOCATE:
        content_resize(content, change->offset > content->size ? change->offset : content->size);
        break;
    case CHANGE_TRUNCATE:
        content_resize(content, change->offset);
        break;
    }
}

// All changes are durable now, but for those whose sync has failed.
static void record_sync(struct record *record)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < record->count; i++) {
        struct change *change = &record->changes[i];
        if (change->lost) {
            record->changes[left++] = *change;
        } else {
            content_apply(&record->durable, change);
            free(change->bytes);
        }
    }
    record->count = left;
}

static void mark_names(const struct names *names)
{
    for (uint32_t i = 0; i < names->count; i++) {
        names->name[i].record->marked = true;
    }
}

// Frees the records of files that no name leads to any more, now or after a power cut.
static void disk_sweep(struct sim_disk *disk)
{
    for (struct record *record = disk->records; record; record = record->next) {
        record->marked = false;
    }
    mark_names(&disk->now);
    mark_names(&disk->durable);
    for (uint32_t i = 0; i < disk->rename_count; i++) {
        if (disk->renames[i].record) {
            disk->renames[i].record->marked = true;
        }
    }
    for (struct record **at = &disk->records; *at;) {
        struct record *record = *at;
        // One whose file is still open somewhere is written to, in vain.
        if (record->marked || record->inode) {
            at = &record->next;
        } else {
            *at = record->next;
            record_free(record);
        }
    }
}

// ---- operations ----

// True if the process is dead, or dies here.
static bool disk_dies(struct sim_disk *disk)
{
    disk->dead = disk->dead || sim_fault(disk->faults, "disk.dead");
    return disk->dead;
}

static const struct base_disk_operations *system_operations(void)
{
    return base_disk_system.operations;
}

static int disk_open(struct base_disk *base, const char *path, int flags, int *fd)
{
    struct sim_disk *disk = disk_of(base);
    char tidy[PATH_BYTES];
    struct stat status;
    path_tidy(path, tidy);
    if (disk_dies(disk)) {
        return EIO;
    }
    bool there = stat(path, &status) == 0;
    if (!there && flags & O_CREAT && sim_fault(disk->faults, "disk.full")) {
        return ENOSPC;
    }
    int result = system_operations()->open(&base_disk_system, path, flags, fd);
    if (result) {
        return result;
    }
    fstat(*fd, &status);
    struct record *record = names_get(&disk->now, tidy);
    if (!there) {
        record = record_new(disk, status.st_ino, false);
        disk_rename(disk, tidy, NULL, record);
    } else if (!record) { // made by somebody else: no power cut leaves it
        record = record_new(disk, status.st_ino, S_ISDIR(status.st_mode));
        names_set(&disk->now, tidy, record);
    } else if (flags & O_TRUNC) {
        record_change(record, (struct change){.kind = CHANGE_TRUNCATE});
    }
    return 0;
}

static int disk_write(struct base_disk *base, int fd, const char *path, struct base_span bytes,
                      uint64_t offset)
{
    struct sim_disk *disk = disk_of(base);
    struct record *record = record_of(disk, fd);
    if (disk->dead) {
        return EIO;
    }
    int fault = sim_fault(disk->faults, "disk.full") ? ENOSPC : 0;
    fault = sim_fault(disk->faults, "disk.write") || disk_dies(disk) ? EIO : fault;
    if (fault) { // some of it may have been written
        bytes.size = sim_random_below(sim_faults_draw(disk->faults, "disk.write"), bytes.size + 1);
    }
    int result = system_operations()->write(&base_disk_system, fd, path, bytes, offset);
    if (result) {
        return result;
    }
    uint8_t *copy = base_alloc(bytes.size + 1);
    memcpy(copy, bytes.data, bytes.size);
    record_change(record, (struct change){CHANGE_WRITE, offset, copy, bytes.size, false});
    disk->counts.writes++;
    return fault;
}

static int disk_allocate(struct base_disk *base, int fd, const char *path, uint64_t size)
{
    struct sim_disk *disk = disk_of(base);
    if (disk_dies(disk)) {
        return EIO;
    }
    if (sim_fault(disk->faults, "disk.full")) {
        return ENOSPC;
    }
    // Without taking the room: what is not written costs nothing, neither here nor in a simulation.
    struct stat status;
    int result = fstat(fd, &status) ? errno : 0;
    if (result == 0 && (uint64_t)status.st_size < size) {
        result = system_operations()->truncate(&base_disk_system, fd, path, size);
    }
    if (result == 0) {
        record_change(record_of(disk, fd), (struct change){.kind = CHANGE_ALLOCATE, .offset = size});
    }
    return result;
}

static int disk_truncate(struct base_disk *base, int fd, const char *path, uint64_t size)
{
    struct sim_disk *disk = disk_of(base);
    if (disk_dies(disk)) {
        return EIO;
    }
    int result = system_operations()->truncate(&base_disk_system, fd, path, size);
    if (result == 0) {
        record_change(record_of(disk, fd), (struct change){.kind = CHANGE_TRUNCATE, .offset = size});
    }
    return result;
}

static int disk_sync(struct base_disk *base, int fd, const char *path)
{
    (void)path;
    struct sim_disk *disk = disk_of(base);
    if (disk_dies(disk)) {
        return EIO;
    }
    struct record *record = record_of(disk, fd);
    disk->counts.syncs++;
    bool lost = sim_fault(disk->faults, "disk.sync_lost");
    for (uint32_t i = 0; lost && i < record->count; i++) {
        record->changes[i].lost = true;
    }
    if (sim_fault(disk->faults, "disk.sync") || lost) {
        return EIO;
    }
    record_sync(record);
    return 0;
}

static int disk_sync_directory(struct base_disk *base, const char *path)
{
    struct sim_disk *disk = disk_of(base);
    char tidy[PATH_BYTES], parent[PATH_BYTES];
    path_tidy(path, tidy);
    if (disk_dies(disk)) {
        return EIO;
    }
    disk->counts.syncs++;
    if (access(path, F_OK)) {
        return errno;
    }
    if (sim_fault(disk->faults, "disk.sync")) {
        return EIO;
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < disk->rename_count; i++) {
        struct rename *rename = &disk->renames[i];
        path_parent(rename->path, parent);
        if (strcmp(parent, tidy) == 0) {
            names_apply(&disk->durable, rename);
            rename_done(rename);
        } else {
            disk->renames[left++] = *rename;
        }
    }
    disk->rename_count = left;
    disk_sweep(disk);
    return 0;
}

static int disk_rename_operation(struct base_disk *base, const char *from, const char *to)
{
    struct sim_disk *disk = disk_of(base);
    char tidy_from[PATH_BYTES], tidy_to[PATH_BYTES], parent_from[PATH_BYTES], parent_to[PATH_BYTES];
    if (disk_dies(disk)) {
        return EIO;
    }
    path_tidy(from, tidy_from);
    path_tidy(to, tidy_to);
    path_parent(tidy_from, parent_from);
    path_parent(tidy_to, parent_to);
    assert(strcmp(parent_from, parent_to) == 0); // between directories is not made
    int result = system_operations()->rename(&base_disk_system, from, to);
    if (result == 0) {
        struct record *record = names_get(&disk->now, tidy_from);
        assert(record && !record->directory);
        disk_rename(disk, tidy_to, tidy_from, record);
    }
    return result;
}

static int disk_link(struct base_disk *base, const char *from, const char *to)
{
    struct sim_disk *disk = disk_of(base);
    char tidy_from[PATH_BYTES], tidy_to[PATH_BYTES];
    if (disk_dies(disk)) {
        return EIO;
    }
    path_tidy(from, tidy_from);
    path_tidy(to, tidy_to);
    if (sim_fault(disk->faults, "disk.full")) {
        return ENOSPC;
    }
    int result = system_operations()->link(&base_disk_system, from, to);
    if (result == 0) {
        struct record *record = names_get(&disk->now, tidy_from);
        assert(record);
        disk_rename(disk, tidy_to, NULL, record);
    }
    return result;
}

static int disk_unlink(struct base_disk *base, const char *path)
{
    struct sim_disk *disk = disk_of(base);
    char tidy[PATH_BYTES];
    if (disk_dies(disk)) {
        return EIO;
    }
    path_tidy(path, tidy);
    int result = system_operations()->unlink(&base_disk_system, path);
    if (result == 0) {
        disk_rename(disk, tidy, NULL, NULL);
    }
    return result;
}

static int disk_make_directory(struct base_disk *base, const char *path)
{
    struct sim_disk *disk = disk_of(base);
    char tidy[PATH_BYTES];
    struct stat status;
    path_tidy(path, tidy);
    if (disk_dies(disk)) {
        return EIO;
    }
    bool there = stat(path, &status) == 0;
    if (!there && sim_fault(disk->faults, "disk.full")) {
        return ENOSPC;
    }
    int result = system_operations()->make_directory(&base_disk_system, path);
    if (result == 0 && !there) {
        stat(path, &status);
        disk_rename(disk, tidy, NULL, record_new(disk, status.st_ino, true));
    }
    return result;
}

static const struct base_disk_operations disk_operations = {
    .open = disk_open,
    .write = disk_write,
    .allocate = disk_allocate,
    .truncate = disk_truncate,
    .sync = disk_sync,
    .sync_directory = disk_sync_directory,
    .rename = disk_rename_operation,
    .link = disk_link,
    .unlink = disk_unlink,
    .make_directory = disk_make_directory,
};

// ---- life ----

struct sim_disk *sim_disk_new(struct sim_faults *faults)
{
    struct sim_disk *disk = base_alloc_zeroed(1, sizeof *disk);
    disk->base.operations = &disk_operations;
    disk->faults = faults;
    const char *temporary = getenv("TMPDIR");
    const char *place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : temporary ? temporary : "/tmp";
    snprintf(disk->directory, sizeof disk->directory, "%s/freshet-sim-XXXXXX", place);
    if (!mkdtemp(disk->directory)) {
        perror(disk->directory);
        abort();
    }
    if (faults) { // of each operation; most of them end the process
        sim_faults_rate(faults, "disk.full", 0.0005);
        sim_faults_rate(faults, "disk.write", 0.0005);
        sim_faults_rate(faults, "disk.sync", 0.002);
        sim_faults_rate(faults, "disk.sync_lost", 0);
        sim_faults_rate(faults, "disk.dead", 0.001);
    }
    return disk;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind;
    return walk->level > 0 ? remove(path) : 0;
}

// Removes all below the directory.
static void disk_wipe(const struct sim_disk *disk)
{
    nftw(disk->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void sim_disk_free(struct sim_disk *disk)
{
    if (!disk) {
        return;
    }
    disk_wipe(disk);
    rmdir(disk->directory);
    while (disk->records) {
        struct record *record = disk->records;
        disk->records = record->next;
        record_free(record);
    }
    for (uint32_t i = 0; i < disk->rename_count; i++) {
        rename_done(&disk->renames[i]);
    }
    names_clear(&disk->now);
    names_clear(&disk->durable);
    free(disk->now.name);
    free(disk->durable.name);
    free(disk->renames);
    free(disk);
}

struct base_disk *sim_disk_base(struct sim_disk *disk)
{
    return &disk->base;
}

const char *sim_disk_directory(const struct sim_disk *disk)
{
    return disk->directory;
}

struct sim_disk_counts sim_disk_counts(const struct sim_disk *disk)
{
    return disk->counts;
}

static const char *walk_stranger(struct sim_disk *disk, const char *path)
{
    for (uint32_t i = 0; i < disk->now.count; i++) {
        if (strcmp(disk->now.name[i].path, path) == 0) {
            return NULL;
        }
    }
    snprintf(disk->stranger, sizeof disk->stranger, "%s", path);
    return disk->stranger;
}

const char *sim_disk_stranger(struct sim_disk *disk)
{
    char command[PATH_BYTES];
    char line[PATH_BYTES];
    const char *found = NULL;
    snprintf(command, sizeof command, "find %s -mindepth 1", disk->directory);
    FILE *list = popen(command, "r");
    while (list && fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = '\0';
        found = found ? found : walk_stranger(disk, line);
    }
    if (list) {
        pclose(list);
    }
    return found;
}

// ---- the power cut ----

// Some pieces of a write: each one by itself, or those before or after a place.
static void crash_tear(struct content *content, const struct change *change, struct sim_random *random)
{
    uint64_t piece = sim_random_bits(random) & 1 ? SECTOR : WORD;
    uint64_t way = sim_random_below(random, 3);
    uint64_t place = change->offset + sim_random_below(random, change->size + 1);
    uint64_t end = change->offset + change->size;
    for (uint64_t at = change->offset; at < end;) {
        uint64_t next = (at / piece + 1) * piece;
        next = next < end ? next : end;
        bool kept = way == 0 ? sim_random_bits(random) & 1 : way == 1 ? next <= place : at >= place;
        if (kept) {
            content_write(content, at, change->bytes + (at - change->offset), next - at);
        }
        at = next;
    }
}

// A file's content after the cut; `random` NULL: no change since the last sync is left.
static void crash_file(struct sim_disk *disk, struct record *record, struct sim_random *random)
{
    for (uint32_t i = 0; i < record->count; i++) {
        struct change *change = &record->changes[i];
        uint64_t fate = random ? sim_random_below(random, 3) : 0;
        if (fate == 1 || (fate == 2 && change->kind != CHANGE_WRITE)) {
            content_apply(&record->durable, change);
            disk->counts.kept++;
        } else if (fate == 2) {
            crash_tear(&record->durable, change, random);
            disk->counts.torn++;
        } else {
            disk->counts.dropped++;
        }
        free(change->bytes);
    }
    record->count = 0;
}

// Changes of names: each one that is still possible, or not.
static void crash_names(struct sim_disk *disk, struct sim_random *random)
{
    for (uint32_t i = 0; i < disk->rename_count; i++) {
        struct rename *rename = &disk->renames[i];
        bool possible = !rename->from || names_get(&disk->durable, rename->from) == rename->record;
        if (possible && random && sim_random_bits(random) & 1) {
            names_apply(&disk->durable, rename);
            disk->counts.names_kept++;
        } else {
            disk->counts.names_dropped++;
        }
        rename_done(rename);
    }
    disk->rename_count = 0;
}

// Writes the file of a record to a path, or links it to where it stands already.
static void crash_restore(struct sim_disk *disk, struct record *record, const char *path)
{
    struct stat status;
    int failed = 0;
    if (record->directory) {
        failed = mkdir(path, 0750) || stat(path, &status);
    } else if (record->inode) {
        const char *first = NULL;
        for (uint32_t i = 0; i < disk->now.count && !first; i++) {
            first = disk->now.name[i].record == record ? disk->now.name[i].path : NULL;
        }
        failed = !first || link(first, path) || stat(path, &status);
    } else {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
        failed = fd < 0 ||
                 base_disk_system.operations->write(&base_disk_system, fd, path,
                                                    base_buffer_span(&record->durable.bytes), 0) ||
                 ftruncate(fd, (off_t)record->durable.size) || fstat(fd, &status);
        close(fd);
    }
    if (failed) {
        perror(path);
        abort();
    }
    record->inode = status.st_ino;
    names_set(&disk->now, path, record);
}

static int name_compare(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

// Writes the directory anew: the durable names whose directories are there.
static void crash_write(struct sim_disk *disk)
{
    disk_wipe(disk);
    names_clear(&disk->now);
    for (struct record *record = disk->records; record; record = record->next) {
        record->inode = 0;
    }
    struct names durable = disk->durable;
    disk->durable = (struct names){0};
    // A directory sorts before what is in it.
    qsort(durable.name, durable.count, sizeof *durable.name, name_compare);
    for (uint32_t i = 0; i < durable.count; i++) {
        char parent[PATH_BYTES];
        path_parent(durable.name[i].path, parent);
        if (strcmp(parent, disk->directory) == 0 || names_get(&disk->durable, parent)) {
            crash_restore(disk, durable.name[i].record, durable.name[i].path);
            names_set(&disk->durable, durable.name[i].path, durable.name[i].record);
        }
    }
    names_clear(&durable);
    free(durable.name);
    disk_sweep(disk);
}

void sim_disk_crash(struct sim_disk *disk, struct sim_random *random)
{
    disk->counts.crashes++;
    disk->dead = false;
    // The newest first: an order that is the same in each run.
    for (struct record *record = disk->records; record; record = record->next) {
        crash_file(disk, record, random);
    }
    crash_names(disk, random);
    crash_write(disk);
}

bool sim_disk_dead(const struct sim_disk *disk)
{
    return disk->dead;
}

void sim_disk_kill(struct sim_disk *disk)
{
    disk->dead = false;
}

void sim_disk_crash_clean(struct sim_disk *disk)
{
    sim_disk_crash(disk, NULL);
}
