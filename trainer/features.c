// Features: what a configuration may say, and its copy. See features.h; the work on a minibatch is in
// gather.c.
#include "trainer/features.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/network.h"

uint32_t trainer_features_width(const struct trainer_features_config *config)
{
    uint32_t width = config->numerics;
    for (uint32_t s = 0; s < config->slots; s++) {
        width += config->slot[s].position ? 0 : config->slot[s].row.dimension;
    }
    return (width + TRAINER_WIDTH_STEP - 1) / TRAINER_WIDTH_STEP * TRAINER_WIDTH_STEP;
}

static int features_check_boundaries(const struct trainer_slot_config *slot, struct base_error *error)
{
    if (slot->boundaries < 1 || slot->boundaries > TRAINER_BOUNDARIES_MAX) {
        return base_error_set(error, BASE_EINVAL, "slot %s: %u boundaries are not in 1..%d", slot->row.name,
                              slot->boundaries, TRAINER_BOUNDARIES_MAX);
    }
    for (uint32_t i = 0; i < slot->boundaries; i++) {
        if (!isfinite(slot->boundary[i])) {
            return base_error_set(error, BASE_EINVAL, "slot %s: boundary %u is not finite", slot->row.name,
                                  i);
        }
        if (i > 0 && slot->boundary[i] <= slot->boundary[i - 1]) {
            return base_error_set(error, BASE_EINVAL, "slot %s: boundary %u does not ascend", slot->row.name,
                                  i);
        }
    }
    return 0;
}

static int features_check_cross(const struct trainer_features_config *config,
                                const struct trainer_slot_config *slot, struct base_error *error)
{
    if (slot->crossed < 2 || slot->crossed > TRAINER_CROSS_SLOTS_MAX) {
        return base_error_set(error, BASE_EINVAL, "slot %s: a cross of %u slots is not one of 2..%d",
                              slot->row.name, slot->crossed, TRAINER_CROSS_SLOTS_MAX);
    }
    if (slot->bucketised) {
        return base_error_set(error, BASE_EINVAL, "slot %s: a cross has no boundaries", slot->row.name);
    }
    for (uint32_t c = 0; c < slot->crossed; c++) {
        uint32_t other = slot->cross[c];
        if (other >= config->slots) {
            return base_error_set(error, BASE_EINVAL, "slot %s: a cross with slot %u, but there are %u",
                                  slot->row.name, other, config->slots);
        }
        if (config->slot[other].crossed) {
            return base_error_set(error, BASE_EINVAL, "slot %s: a cross with slot %s, which is a cross",
                                  slot->row.name, config->slot[other].row.name);
        }
        if (config->slot[other].position) {
            return base_error_set(error, BASE_EINVAL,
                                  "slot %s: a cross with slot %s, which is a position and must not reach x",
                                  slot->row.name, config->slot[other].row.name);
        }
        for (uint32_t before = 0; before < c; before++) {
            if (slot->cross[before] == other) {
                return base_error_set(error, BASE_EINVAL, "slot %s: a cross with slot %s twice",
                                      slot->row.name, config->slot[other].row.name);
            }
        }
    }
    return 0;
}

static int features_check_slot(const struct trainer_features_config *config,
                               const struct trainer_slot_config *slot, struct base_error *error)
{
    if (slot->pooling != TRAINER_POOLING_SUM && slot->pooling != TRAINER_POOLING_MEAN) {
        return base_error_set(error, BASE_EINVAL, "slot %s: unknown pooling %d", slot->row.name,
                              (int)slot->pooling);
    }
    if (slot->position && (slot->crossed || slot->row.dimension != TRAINER_POSITION_DIMENSION)) {
        return base_error_set(error, BASE_EINVAL,
                              "slot %s: a position is a column, no cross, and has dimension %d",
                              slot->row.name, TRAINER_POSITION_DIMENSION);
    }
    if (slot->crossed) {
        return features_check_cross(config, slot, error);
    }
    uint32_t columns = slot->bucketised ? config->layout.numeric : config->layout.categorical;
    if (slot->column >= columns) {
        return base_error_set(error, BASE_EINVAL, "slot %s: column %u, but there are %u", slot->row.name,
                              slot->column, columns);
    }
    return slot->bucketised ? features_check_boundaries(slot, error) : 0;
}

int trainer_features_check(const struct trainer_features_config *config, struct base_error *error)
{
    if (config->layout.categorical > BASE_CATEGORICAL_MAX || config->layout.numeric > BASE_NUMERIC_MAX) {
        return base_error_set(error, BASE_EINVAL, "%u categorical and %u numeric columns; at most %d and %d",
                              config->layout.categorical, config->layout.numeric, BASE_CATEGORICAL_MAX,
                              BASE_NUMERIC_MAX);
    }
    if (config->slots > TRAINER_SLOTS_MAX || config->numerics > BASE_NUMERIC_MAX) {
        return base_error_set(error, BASE_EINVAL, "%u slots and %u numeric inputs; at most %d and %d",
                              config->slots, config->numerics, TRAINER_SLOTS_MAX, BASE_NUMERIC_MAX);
    }
    if (trainer_features_width(config) == 0) {
        return base_error_set(error, BASE_EINVAL, "neither a slot nor a numeric input");
    }
    for (uint32_t s = 0; s < config->slots; s++) {
        if (features_check_slot(config, &config->slot[s], error)) {
            return -1;
        }
    }
    for (uint32_t i = 0; i < config->numerics; i++) {
        const struct trainer_numeric_config *numeric = &config->numeric[i];
        if (numeric->column >= config->layout.numeric) {
            return base_error_set(error, BASE_EINVAL, "numeric input %s: column %u, but there are %u",
                                  numeric->name, numeric->column, config->layout.numeric);
        }
        if (!isfinite(numeric->mean) || !isfinite(numeric->deviation) || numeric->deviation <= 0) {
            return base_error_set(error, BASE_EINVAL, "numeric input %s: mean %g and deviation %g cannot be",
                                  numeric->name, numeric->mean, numeric->deviation);
        }
    }
    return 0;
}

static char *features_name_copy(const char *name)
{
    size_t size = strlen(name) + 1;
    return memcpy(base_alloc(size), name, size);
}

void trainer_features_config_copy(struct trainer_features_config *copy,
                                  const struct trainer_features_config *config)
{
    *copy = *config;
    copy->slot = base_alloc_zeroed(config->slots + 1, sizeof *copy->slot);
    for (uint32_t s = 0; s < config->slots; s++) {
        copy->slot[s] = config->slot[s];
        copy->slot[s].row.name = features_name_copy(config->slot[s].row.name);
    }
    copy->numeric = base_alloc_zeroed(config->numerics + 1, sizeof *copy->numeric);
    for (uint32_t i = 0; i < config->numerics; i++) {
        copy->numeric[i] = config->numeric[i];
        copy->numeric[i].name = features_name_copy(config->numeric[i].name);
    }
}

void trainer_features_config_clear(struct trainer_features_config *config)
{
    for (uint32_t s = 0; config->slot && s < config->slots; s++) {
        free((char *)config->slot[s].row.name);
    }
    for (uint32_t i = 0; config->numeric && i < config->numerics; i++) {
        free((char *)config->numeric[i].name);
    }
    free(config->slot);
    free(config->numeric);
    *config = (struct trainer_features_config){0};
}
