// The daemon's configuration: what its files offer to each other.
#ifndef DAEMON_CONFIG_PRIVATE_H
#define DAEMON_CONFIG_PRIVATE_H

#include "daemon/config.h"

// Checks what no row can check alone, and adds problems. Also splits redis.address.
void config_check(struct daemon_config *config, struct base_config_problems *problems);
// The part of config_check that is about source.offsets and source.ends.
void config_offsets_check(const struct daemon_config *config, struct base_config_problems *problems);
// The part that is about slots that stand on other slots.
void config_slots_check(const struct daemon_config *config, struct base_config_problems *problems);
// The place of the slot of that name; slots.count: there is none.
uint32_t config_slots_find(const struct daemon_config *config, const char *name);
// The key of what a position is scored as. -1: `serving`, which is given, is not of its type.
int config_slots_serving(const struct daemon_config_slot *slot, uint64_t *key);
// The part that is about losses, funnel and joint loss; and what config_build makes of it: built->model.loss
// and the tasks' names.
void config_tasks_check(const struct daemon_config *config, struct base_config_problems *problems);
void config_tasks_build(struct daemon_config *config, struct base_config_problems *problems);
// The part that is about optimisers, schedules and clipping; and what config_build makes of it:
// built->model.update.
void config_update_check(const struct daemon_config *config, struct base_config_problems *problems);
void config_update_build(struct daemon_config *config);
// The table [ranks * lanes], rank-major, of source.offsets or source.ends (`map` is one of these fields), and
// its lanes. NULL, and *lanes untouched: not given, or the problems were added. Every topic must have a name.
const int64_t *config_offsets(const struct daemon_config *config, const struct base_config_map *map,
                              uint32_t *lanes, struct base_config_problems *problems);
// Makes config->built and config->hash of a configuration without errors. Files that cannot be read are
// problems.
void config_build(struct daemon_config *config, struct base_config_problems *problems);

struct daemon_config_built_topic {
    const char *const *schemas; // texts, the reader's first (NULL: the writer's own)
    uint32_t schemas_count;
    uint32_t parent;                         // an action's: the rank it follows
    uint32_t as;                             // and the rank it counts as; 0: itself
    const struct base_config_strings *touch; // its own fields, or inherited
};

struct daemon_config_built {
    struct daemon_config_built_topic topic[CONSUMER_TOPICS_MAX]; // [rank]
    const char *property_names[CONSUMER_KAFKA_PROPERTIES_MAX];
    const char *property_values[CONSUMER_KAFKA_PROPERTIES_MAX];
    uint32_t properties;
    const int64_t *offsets, *ends; // [ranks * offset_lanes] each, or NULL
    uint32_t offset_lanes;
    const struct consumer_column *categorical, *numeric;
    struct base_columns_layout layout;
    struct trainer_model_config model;
    struct trainer_descriptor_columns columns;
    struct consumer_generations_columns generation;
    const char *registry_cache;
};

#endif
