// Configuration: what config.c (the owner: memory, marks, problems) and config_read.c (the reader) share.
#ifndef BASE_CONFIG_PRIVATE_H
#define BASE_CONFIG_PRIVATE_H

#include <stdarg.h>

#include "base/config.h"

enum config_state { CONFIG_DEFAULT, CONFIG_GIVEN, CONFIG_REFUSED };

struct config_mark {
    const void *field;
    const char *path;
    size_t line, column; // from 1; of the enclosing record if the field has its default
    enum config_state state;
};

struct base_config {
    struct config_block *blocks;
    const char *name; // of the file
    struct config_mark *mark;
    size_t marks, marks_capacity;
};

// A copy of `size` bytes with a NUL behind them, as long-lived as the config.
char *base_config_copy(struct base_config *config, const void *text, size_t size);
// The mark of a field, or NULL. Looks at the latest first: reading asks for fields of the record at hand.
struct config_mark *base_config_mark(const struct base_config *config, const void *field);
// Adds a mark; the field must have none yet. `path` is copied.
struct config_mark *base_config_mark_add(struct base_config *config, const void *field, const char *path);
// Counts a problem and keeps it as "<where>: <text>" while there is room.
void base_config_problem_add(struct base_config_problems *problems, bool warning, const char *where,
                             const char *format, va_list args) __attribute__((format(printf, 4, 0)));

#endif
