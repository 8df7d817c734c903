// The weights of a model as a file; see learn_weights.h.
#include "learn_weights.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { WEIGHTS_BLOCK = 1024 }; // ids resolved at once

static const struct trainer_features_config *weights_features(const struct trainer_model *model)
{
    return &trainer_model_config(model)->features;
}

// The slot of a categorical column; every column has one.
static uint16_t weights_slot(const struct trainer_model *model, uint32_t column)
{
    const struct trainer_features_config *features = weights_features(model);
    uint16_t s = 0;
    while (features->slot[s].bucketised || features->slot[s].column != column) {
        s++;
    }
    return s;
}

static uint64_t weights_ids(const struct learn_data *data, uint32_t column, uint64_t ids)
{
    uint64_t present = learn_data_ids(data, column);
    return present > ids ? present : ids;
}

// The rows of ids [begin, begin + count) of a column, made if need be. count <= WEIGHTS_BLOCK.
static void weights_resolve(struct trainer_model *model, const struct learn_data *data, uint32_t column,
                            uint64_t begin, uint32_t count, trainer_row *rows)
{
    uint16_t slot = weights_slot(model, column), slots[WEIGHTS_BLOCK];
    uint64_t keys[WEIGHTS_BLOCK];
    for (uint32_t i = 0; i < count; i++) {
        keys[i] = learn_data_key(data, column, begin + i);
        slots[i] = slot;
    }
    trainer_table_resolve(trainer_model_table(model), keys, slots, count, 0, rows);
}

static uint32_t weights_block(uint64_t begin, uint64_t end)
{
    return end - begin < WEIGHTS_BLOCK ? (uint32_t)(end - begin) : WEIGHTS_BLOCK;
}

void learn_weights_make_rows(struct trainer_model *model, const struct learn_data *data, uint64_t ids)
{
    trainer_row rows[WEIGHTS_BLOCK];
    for (uint32_t column = 0; column < data->slots; column++) {
        uint64_t count = weights_ids(data, column, ids);
        for (uint64_t begin = 0; begin < count; begin += WEIGHTS_BLOCK) {
            weights_resolve(model, data, column, begin, weights_block(begin, count), rows);
        }
    }
}

// --- Writing ---

static void weights_write_head(FILE *file, const char *name, uint64_t rows, uint32_t columns)
{
    uint32_t length = (uint32_t)strlen(name), shape[2] = {(uint32_t)rows, columns};
    fwrite(&length, sizeof length, 1, file);
    fwrite(name, 1, length, file);
    fwrite(shape, sizeof shape, 1, file);
}

static void weights_write_rows(struct trainer_model *model, const struct learn_data *data, uint32_t column,
                               uint64_t ids, FILE *file)
{
    uint16_t slot = weights_slot(model, column);
    const struct trainer_table_slot_config *config = &weights_features(model)->slot[slot].row;
    uint64_t count = weights_ids(data, column, ids);
    trainer_row rows[WEIGHTS_BLOCK];
    char name[TRAINER_TENSOR_NAME_MAX + 8];
    snprintf(name, sizeof name, "rows.%s", config->name);
    weights_write_head(file, name, count, config->dimension);
    for (uint64_t begin = 0; begin < count; begin += WEIGHTS_BLOCK) {
        uint32_t n = weights_block(begin, count);
        weights_resolve(model, data, column, begin, n, rows);
        for (uint32_t i = 0; i < n; i++) {
            fwrite(trainer_table_vector(trainer_model_table(model), slot, rows[i]), sizeof(float),
                   config->dimension, file);
        }
    }
}

int learn_weights_write(struct trainer_model *model, const struct learn_data *data, uint64_t ids,
                        const char *path, struct base_error *error)
{
    FILE *file = fopen(path, "wbe");
    if (!file) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", path);
    }
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_model_tensors(model, &count);
    for (uint32_t t = 0; t < count; t++) {
        weights_write_head(file, tensors[t].name, tensors[t].rows, tensors[t].columns);
        fwrite(trainer_model_tensor(model, t), sizeof(float), (size_t)tensors[t].rows * tensors[t].columns,
               file);
    }
    for (uint32_t column = 0; column < data->slots; column++) {
        weights_write_rows(model, data, column, ids, file);
    }
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed) {
        return base_error_set(error, BASE_EIO, "%s: not written", path);
    }
    return 0;
}

// --- Reading ---

struct weights_record {
    char name[TRAINER_TENSOR_NAME_MAX + 8];
    uint32_t shape[2]; // rows, columns
};

// 1: a record's head was read; 0: the file is at its end; -1: it is no such file.
static int weights_read_head(FILE *file, struct weights_record *record)
{
    uint32_t length;
    size_t got = fread(&length, 1, sizeof length, file);
    if (got == 0) {
        return 0;
    }
    if (got != sizeof length || length >= sizeof record->name ||
        fread(record->name, 1, length, file) != length) {
        return -1;
    }
    record->name[length] = '\0';
    return fread(record->shape, sizeof record->shape, 1, file) == 1 ? 1 : -1;
}

static bool weights_read_rows(struct trainer_model *model, const struct learn_data *data, FILE *file,
                              const struct weights_record *record)
{
    for (uint32_t column = 0; column < data->slots; column++) {
        uint16_t slot = weights_slot(model, column);
        const struct trainer_table_slot_config *config = &weights_features(model)->slot[slot].row;
        if (strcmp(record->name + strlen("rows."), config->name) != 0) {
            continue;
        }
        bool right = config->dimension == record->shape[1];
        for (uint32_t id = 0; right && id < record->shape[0]; id++) {
            trainer_row row;
            weights_resolve(model, data, column, id, 1, &row);
            right = fread(trainer_table_vector(trainer_model_table(model), slot, row), sizeof(float),
                          config->dimension, file) == config->dimension;
        }
        return right;
    }
    return false;
}

static bool weights_read_tensor(struct trainer_model *model, FILE *file, const struct weights_record *record)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_model_tensors(model, &count);
    for (uint32_t t = 0; t < count; t++) {
        if (strcmp(tensors[t].name, record->name) == 0) {
            size_t size = (size_t)tensors[t].rows * tensors[t].columns;
            return tensors[t].rows == record->shape[0] && tensors[t].columns == record->shape[1] &&
                   fread(trainer_model_tensor(model, t), sizeof(float), size, file) == size;
        }
    }
    return false;
}

int learn_weights_read(struct trainer_model *model, const struct learn_data *data, const char *path,
                       struct base_error *error)
{
    FILE *file = fopen(path, "rbe");
    if (!file) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", path);
    }
    struct weights_record record = {0};
    int more;
    bool right = true;
    while (right && (more = weights_read_head(file, &record)) == 1) {
        right = strncmp(record.name, "rows.", strlen("rows.")) == 0
                    ? weights_read_rows(model, data, file, &record)
                    : weights_read_tensor(model, file, &record);
    }
    fclose(file);
    return right && more == 0 ? 0
                              : base_error_set(error, BASE_EFORMAT, "%s: %s does not fit", path, record.name);
}

uint64_t learn_weights_count(struct trainer_model *model)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(trainer_model_network(model), &count);
    uint64_t numbers = 0;
    for (uint32_t t = 0; t < count; t++) {
        numbers += (uint64_t)tensors[t].rows * tensors[t].columns;
    }
    return numbers;
}
