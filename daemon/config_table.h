// How the rows of the configuration's tables are written, and the tables that lie in files of their own. For
// config_table.c and config_table_model.c alone.
#ifndef DAEMON_CONFIG_TABLE_H
#define DAEMON_CONFIG_TABLE_H

#include "daemon/config.h"

#define FIELD(record, field) .offset = offsetof(struct record, field)
#define COUNT(rows) (sizeof(rows) / sizeof *(rows))
#define TABLE(table_title, record, table_rows)                                       \
    {                                                                                \
        .title = (table_title), .size = sizeof(struct record), .rows = (table_rows), \
        .count = COUNT(table_rows)                                                   \
    }
// A section inline in the whole configuration: its struct has a tag of its own.
#define SECTION(section, record, inner, text)                                                    \
    {                                                                                            \
        .name = #section, .type = BASE_CONFIG_RECORD, FIELD(record, section), .table = &(inner), \
        .description = (text)                                                                    \
    }

// What a slot or a tensor may have of its own, in the record's field `update`.
#define UPDATE_ROWS(record, of_what, side)                                                               \
    {.name = "optimizer",                                                                                \
     .type = BASE_CONFIG_ENUM,                                                                           \
     FIELD(record, update.optimizer),                                                                    \
     .flags = BASE_CONFIG_ADDED,                                                                         \
     .choices = config_optimizer_choices,                                                                \
     .description = of_what ", with the constants of model.optimizer." side "; default: its kind too."}, \
        {.name = "rate",                                                                                 \
         .type = BASE_CONFIG_REAL,                                                                       \
         FIELD(record, update.rate),                                                                     \
         .max = 100,                                                                                     \
         .flags = BASE_CONFIG_ADDED,                                                                     \
         .description = of_what "; default: model.rate." side "."},                                      \
    {                                                                                                    \
        .name = "l2", .type = BASE_CONFIG_REAL, FIELD(record, update.l2), .max = 100,                    \
        .flags = BASE_CONFIG_ADDED, .description = of_what "; default: model.l2." side "."               \
    }
extern const char *const config_optimizer_choices[]; // enum trainer_optimiser_kind

#define MS_HOUR 3600e3
#define MS_DAY 86400e3

extern const struct base_config_table config_model_table;
extern const struct base_config_table config_slot_table;
extern const struct base_config_table config_optimizers_table, config_schedules_table, config_l2_table,
    config_clip_table, config_tensor_table;
extern const struct base_config_table config_numeric_table;

#endif
