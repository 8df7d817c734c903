// The daemon's configuration: what config_check.c and config_build.c offer to config.c.
#ifndef DAEMON_CONFIG_PRIVATE_H
#define DAEMON_CONFIG_PRIVATE_H

#include "daemon/config.h"

// Checks what no row can check alone, and adds problems. Also splits redis.address.
void config_check(struct daemon_config *config, struct base_config_problems *problems);
// Makes config->built and config->hash of a configuration without errors. Files that cannot be read are
// problems.
void config_build(struct daemon_config *config, struct base_config_problems *problems);

struct daemon_config_built_topic {
    const char *const *schemas; // texts, the reader's first (NULL: the writer's own)
    uint32_t schemas_count;
    uint32_t parent;                         // an action's: the rank it follows
    const struct base_config_strings *touch; // its own fields, or inherited
};

struct daemon_config_built {
    struct daemon_config_built_topic topic[CONSUMER_TOPICS_MAX]; // [rank]
    const char *property_names[CONSUMER_KAFKA_PROPERTIES_MAX];
    const char *property_values[CONSUMER_KAFKA_PROPERTIES_MAX];
    uint32_t properties;
    const struct consumer_column *categorical, *numeric;
    struct base_columns_layout layout;
    struct trainer_model_config model;
    struct trainer_descriptor_columns columns;
    const char *registry_cache;
};

#endif
