// EPOCH. See epoch.h.
#include "daemon/epoch.h"

#include <stdio.h>

#include "base/section.h"

#define EPOCH_MAGIC "FRSHEPOC"

enum { EPOCH_VERSION = 1, EPOCH_PATH_MAX = 4096, EPOCH_FILE_MAX = 4096 };

static int epoch_path(const char *state_dir, char path[EPOCH_PATH_MAX], struct base_error *error)
{
    if ((size_t)snprintf(path, EPOCH_PATH_MAX, "%s/EPOCH", state_dir) >= EPOCH_PATH_MAX) {
        return base_error_set(error, BASE_ELIMIT, "the path %.40s... is too long", state_dir);
    }
    return 0;
}

int daemon_epoch_write(struct base_disk *disk, const char *state_dir, uint64_t epoch,
                       struct base_error *error)
{
    char path[EPOCH_PATH_MAX];
    if (epoch_path(state_dir, path, error)) {
        return -1;
    }
    struct base_buffer buffer = {0};
    size_t mark = base_section_begin(&buffer, EPOCH_MAGIC, EPOCH_VERSION);
    base_buffer_u64(&buffer, epoch);
    base_section_end(&buffer, mark);
    int result = base_disk_replace(disk, path, base_buffer_span(&buffer), error);
    base_buffer_free(&buffer);
    return result;
}

int daemon_epoch_read(const char *state_dir, uint64_t *epoch, struct base_error *error)
{
    char path[EPOCH_PATH_MAX];
    if (epoch_path(state_dir, path, error)) {
        return -1;
    }
    struct base_buffer buffer = {0};
    int result = base_disk_read(path, EPOCH_FILE_MAX, &buffer, error);
    if (result && error->code == BASE_ENOTFOUND) {
        *epoch = 0;
        result = 0;
    } else if (result && error->code == BASE_ELIMIT) {
        error->code = BASE_EFORMAT;
    } else if (result == 0) {
        struct base_reader from = {.rest = base_buffer_span(&buffer)}, payload;
        result = base_section_open(&from, EPOCH_MAGIC, EPOCH_VERSION, &payload, path, error);
        uint64_t read = result ? 0 : base_reader_u64(&payload);
        if (result == 0 && (result = base_section_close(&payload, path, error)) == 0) {
            *epoch = read;
        }
    }
    base_buffer_free(&buffer);
    return result;
}
