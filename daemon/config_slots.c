// The daemon's configuration: slots that are more than a column: crosses, positions. What no row can check
// alone.
#include <string.h>

#include "base/hash.h"
#include "daemon/config_private.h"

struct slots {
    const struct daemon_config *config;
    struct base_config_problems *problems;
};

#define FAIL(slots, field, ...) \
    base_config_problem((slots)->problems, (slots)->config->memory, false, field, __VA_ARGS__)

#define WARN(slots, field, ...) \
    base_config_problem((slots)->problems, (slots)->config->memory, true, field, __VA_ARGS__)

uint32_t config_slots_find(const struct daemon_config *config, const char *name)
{
    uint32_t place = 0;
    for (; place < config->slots.count; place++) {
        const char *other = daemon_config_slot(config, place)->name;
        if (other && strcmp(other, name) == 0) {
            break;
        }
    }
    return place;
}

static void check_crossed(const struct slots *slots, const struct daemon_config_slot *slot, uint32_t number)
{
    const char *name = slot->cross.item[number];
    uint32_t place = config_slots_find(slots->config, name);
    if (place == slots->config->slots.count) {
        FAIL(slots, &slot->cross, "there is no slot \"%.64s\"", name);
        return;
    }
    const struct daemon_config_slot *other = daemon_config_slot(slots->config, place);
    if (other == slot) {
        FAIL(slots, &slot->cross, "\"%.64s\" is the cross itself", name);
    } else if (other->cross.count > 0) {
        FAIL(slots, &slot->cross, "\"%.64s\" is a cross; a cross combines slots that are none", name);
    } else if (other->role == DAEMON_ROLE_POSITION) {
        FAIL(slots, &slot->cross, "\"%.64s\" is a position, which the network's input must not hold", name);
    }
    for (uint32_t before = 0; before < number; before++) {
        if (strcmp(slot->cross.item[before], name) == 0) {
            FAIL(slots, &slot->cross, "\"%.64s\" is given twice", name);
            break;
        }
    }
}

static void check_cross(const struct slots *slots, const struct daemon_config_slot *slot)
{
    if (slot->cross.count == 1 || slot->cross.count > TRAINER_CROSS_SLOTS_MAX) {
        FAIL(slots, &slot->cross, "a cross is of 2 to %d slots, not of %u", TRAINER_CROSS_SLOTS_MAX,
             slot->cross.count);
        return;
    }
    if (base_config_given(slots->config->memory, &slot->path)) {
        FAIL(slots, &slot->path, "stands beside cross; a cross has no path of its own");
    }
    if (slot->boundaries.count > 0) {
        FAIL(slots, &slot->boundaries, "stand beside cross; only a number has boundaries");
    }
    for (uint32_t i = 0; i < slot->cross.count; i++) {
        check_crossed(slots, slot, i);
    }
}

int config_slots_serving(const struct daemon_config_slot *slot, uint64_t *key)
{
    uint64_t salt = base_hash_slot_salt(slot->name);
    if (slot->boundaries.count > 0) {
        double value;
        int64_t bucket = 0;
        if (base_config_parse_real(slot->serving, &value)) {
            return -1;
        }
        for (uint32_t i = 0; i < slot->boundaries.count; i++) {
            bucket += slot->boundaries.item[i] <= value;
        }
        *key = base_hash_slot_integer(salt, bucket);
        return 0;
    }
    if (slot->serving_as == DAEMON_SERVING_INTEGER) {
        int64_t value;
        if (base_config_parse_int(slot->serving, &value)) {
            return -1;
        }
        *key = base_hash_slot_integer(salt, value);
        return 0;
    }
    *key = base_hash_slot_bytes(salt, base_span_string(slot->serving));
    return 0;
}

// Another feature of the same path brings the position into the network's input after all.
static void check_position_path(const struct slots *slots, const struct daemon_config_slot *slot)
{
    const struct daemon_config *config = slots->config;
    for (uint32_t i = 0; i < config->slots.count + config->numerics.count; i++) {
        bool numeric = i >= config->slots.count;
        const struct daemon_config_slot *other = numeric ? NULL : daemon_config_slot(config, i);
        const char *path =
            numeric ? daemon_config_numeric(config, i - config->slots.count)->path : other->path;
        bool feature = numeric || (other->role == DAEMON_ROLE_FEATURE && other->cross.count == 0);
        if (feature && path && slot->path && strcmp(path, slot->path) == 0) {
            WARN(slots, &slot->role, "\"%.64s\" is a feature too: the network learns it, and scores with it",
                 slot->path);
            return;
        }
    }
}

static void check_position(const struct slots *slots, const struct daemon_config_slot *slot)
{
    uint64_t key;
    if (slot->dimension != TRAINER_POSITION_DIMENSION) {
        FAIL(slots, &slot->dimension, "a position's row has %d numbers, the least, of which one counts",
             TRAINER_POSITION_DIMENSION);
    }
    if (slot->cross.count > 0) {
        FAIL(slots, &slot->role, "a cross cannot be a position");
        return;
    }
    if (slot->serving && slot->name && slot->serving_as >= 0 && config_slots_serving(slot, &key)) {
        FAIL(slots, &slot->serving, "\"%.64s\" is not %s", slot->serving,
             slot->boundaries.count > 0 ? "a number" : "an integer");
    }
    if (slot->boundaries.count > 0 && base_config_given(slots->config->memory, &slot->serving_as)) {
        WARN(slots, &slot->serving_as, "has no effect where there are boundaries");
    }
    check_position_path(slots, slot);
}

static void check_feature(const struct slots *slots, const struct daemon_config_slot *slot)
{
    const void *fields[] = {&slot->serving, &slot->serving_as};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        if (base_config_given(slots->config->memory, fields[i])) {
            WARN(slots, fields[i], "has an effect with the role position only");
        }
    }
}

void config_slots_check(const struct daemon_config *config, struct base_config_problems *problems)
{
    const struct slots slots = {config, problems};
    uint32_t features = config->numerics.count;
    for (uint32_t i = 0; i < config->slots.count; i++) {
        const struct daemon_config_slot *slot = daemon_config_slot(config, i);
        if (slot->cross.count > 0) {
            check_cross(&slots, slot);
        }
        if (slot->role == DAEMON_ROLE_POSITION) {
            check_position(&slots, slot);
        } else {
            check_feature(&slots, slot);
            features++;
        }
    }
    if (features == 0 && config->slots.count > 0) {
        FAIL(&slots, &config->slots, "no features: a position is none");
    }
}
