// The daemon's configuration: slots that are more than a column: crosses. What no row can check alone.
#include <string.h>

#include "daemon/config_private.h"

struct slots {
    const struct daemon_config *config;
    struct base_config_problems *problems;
};

#define FAIL(slots, field, ...) \
    base_config_problem((slots)->problems, (slots)->config->memory, false, field, __VA_ARGS__)

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

void config_slots_check(const struct daemon_config *config, struct base_config_problems *problems)
{
    const struct slots slots = {config, problems};
    for (uint32_t i = 0; i < config->slots.count; i++) {
        const struct daemon_config_slot *slot = daemon_config_slot(config, i);
        if (slot->cross.count > 0) {
            check_cross(&slots, slot);
        }
    }
}
