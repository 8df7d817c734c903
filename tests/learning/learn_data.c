// A dataset of the learning tests; see learn_data.h.
#include "learn_data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

static const char learn_magic[16] = {'f', 'r', 'e', 's', 'h', 'e', 't', ' ',
                                     'l', 'e', 'a', 'r', 'n', ' ', '1', '\n'};

static int data_map(struct learn_data *data, const char *path, struct base_error *error)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0) {
        base_error_set_errno(error, BASE_EIO, errno, "%s", path);
    } else if (status.st_size < 32) {
        base_error_set(error, BASE_EFORMAT, "%s: no dataset", path);
    } else {
        data->size = (size_t)status.st_size;
        data->map = mmap(NULL, data->size, PROT_READ, MAP_PRIVATE, file, 0);
        if (data->map == MAP_FAILED) {
            data->map = NULL;
            base_error_set_errno(error, BASE_EIO, errno, "%s", path);
        }
    }
    if (file >= 0) {
        close(file);
    }
    return data->map ? 0 : -1;
}

// Sets the arrays' places; false if the file's size is another.
static bool data_place(struct learn_data *data)
{
    const uint8_t *at = data->map;
    uint32_t head[4];
    memcpy(head, at + sizeof learn_magic, sizeof head);
    data->samples = head[0];
    data->slots = head[1];
    data->numerics = head[2];
    data->tasks = head[3];
    if (data->slots > TRAINER_SLOTS_MAX || data->numerics > BASE_NUMERIC_MAX ||
        data->tasks > BASE_TASKS_MAX || data->tasks == 0 || data->samples == 0) {
        return false;
    }
    size_t n = data->samples, ids = n * data->slots, numbers = n * data->numerics, tasks = n * data->tasks;
    if (data->size !=
        32 + ids * sizeof(uint64_t) + numbers * sizeof(double) + tasks * (2 * sizeof(float) + 2)) {
        return false;
    }
    data->ids = (const void *)(at + 32);
    data->numbers = (const void *)(data->ids + ids);
    data->weights = (const void *)(data->numbers + numbers);
    data->values = data->weights + tasks;
    data->labels = (const void *)(data->values + tasks);
    data->masks = data->labels + tasks;
    return true;
}

static int data_check(const struct learn_data *data, const char *path, struct base_error *error)
{
    for (uint32_t i = 0; i < data->samples; i++) {
        bool some = false;
        for (uint32_t k = 0; k < data->tasks; k++) {
            some = some || data->masks[(size_t)i * data->tasks + k];
        }
        if (!some) {
            return base_error_set(error, BASE_EFORMAT, "%s: sample %u has no task", path, i);
        }
    }
    return 0;
}

int learn_data_open(struct learn_data *data, const char *path, const struct trainer_features_config *features,
                    uint32_t tasks, struct base_error *error)
{
    *data = (struct learn_data){0};
    if (data_map(data, path, error)) {
        return -1;
    }
    if (memcmp(data->map, learn_magic, sizeof learn_magic) != 0 || !data_place(data)) {
        return base_error_set(error, BASE_EFORMAT, "%s: no dataset", path);
    }
    struct base_columns_layout layout = features->layout;
    if (data->slots != layout.categorical || data->numerics != layout.numeric || data->tasks != tasks) {
        return base_error_set(
            error, BASE_EFORMAT, "%s: %u slots, %u numerics, %u tasks; the configuration has %u, %u, %u",
            path, data->slots, data->numerics, data->tasks, layout.categorical, layout.numeric, tasks);
    }
    for (uint32_t s = 0; s < features->slots; s++) {
        const struct trainer_slot_config *slot = &features->slot[s];
        if (!slot->bucketised) {
            data->salts[slot->column] = base_hash_slot_salt(slot->row.name);
        }
    }
    data->row = base_alloc_aligned(base_columns_header_size(layout) + data->slots * sizeof *data->row);
    return data_check(data, path, error);
}

void learn_data_close(struct learn_data *data)
{
    if (data->map) {
        munmap(data->map, data->size);
    }
    free(data->row);
    *data = (struct learn_data){0};
}

struct base_span learn_data_columns(struct learn_data *data, uint32_t number)
{
    struct base_columns_layout layout = {data->slots, data->numerics};
    size_t size = base_columns_header_size(layout);
    uint16_t *counts = (uint16_t *)(void *)data->row;
    uint64_t *keys = data->row + size / sizeof *data->row;
    const uint64_t *ids = data->ids + (size_t)number * data->slots;
    memset(data->row, 0, size);
    for (uint32_t s = 0; s < data->slots; s++) {
        counts[s] = ids[s] != LEARN_NO_ID;
        if (counts[s]) {
            *keys++ = learn_data_key(data, s, ids[s]);
            size += sizeof *keys;
        }
    }
    if (data->numerics > 0) {
        size_t place = base_columns_header_size(layout) / sizeof *data->row - data->numerics;
        memcpy(data->row + place, data->numbers + (size_t)number * data->numerics,
               data->numerics * sizeof *data->numbers);
    }
    return base_span_make(data->row, size);
}

void learn_data_sample(struct learn_data *data, uint32_t number, struct base_sample *sample)
{
    size_t place = (size_t)number * data->tasks;
    *sample = (struct base_sample){.kind = BASE_N0,
                                   .trains = 1,
                                   .task = BASE_TASKS_MAX,
                                   .sequence = number,
                                   .impression_id = base_span_string("impression"),
                                   .columns = learn_data_columns(data, number)};
    for (uint32_t k = 0; k < data->tasks; k++) {
        if (!data->masks[place + k]) {
            continue;
        }
        sample->mask |= (uint8_t)(1u << k);
        sample->task = sample->task == BASE_TASKS_MAX ? (uint8_t)k : sample->task;
        sample->label[k] = data->labels[place + k];
        sample->weight[k] = data->weights[place + k];
        sample->value[k] = sample->label[k] ? data->values[place + k] : 0.0f;
        sample->kind = sample->label[k] ? BASE_C1 : sample->kind;
    }
}

void learn_data_minibatch(struct learn_data *data, uint32_t begin, uint32_t count,
                          struct base_minibatch *minibatch)
{
    base_minibatch_clear(minibatch, 0);
    for (uint32_t i = 0; i < count; i++) {
        struct base_sample sample;
        learn_data_sample(data, begin + i, &sample);
        base_minibatch_add(minibatch, &sample);
    }
    base_minibatch_seal(minibatch);
}

uint64_t learn_data_ids(const struct learn_data *data, uint32_t column)
{
    uint64_t ids = 0;
    for (uint32_t i = 0; i < data->samples; i++) {
        uint64_t id = data->ids[(size_t)i * data->slots + column];
        ids = id != LEARN_NO_ID && id >= ids ? id + 1 : ids;
    }
    return ids;
}

uint64_t learn_data_key(const struct learn_data *data, uint32_t column, uint64_t id)
{
    return base_hash_slot_integer(data->salts[column], (int64_t)id);
}
