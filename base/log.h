// The log: one line a record, logfmt, on one file descriptor. Only the edge (daemon/) logs; library code
// returns errors.
//
//   time=2026-11-24T06:56:19.123Z level=info message="published a version" version=3.17 rows=1200
//
// Under systemd (the descriptor is the journal's stream) a line starts with sd-daemon's "<6>" and has no time
// of its own. A message that repeats too fast is held back and counted; the next one that passes says how
// many.
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

enum base_log_level { BASE_LOG_DEBUG, BASE_LOG_INFO, BASE_LOG_WARNING, BASE_LOG_ERROR, BASE_LOG_LEVELS };

enum {
    BASE_LOG_LINE_MAX = 4096,     // bytes of a line; a longer one is cut and ends in "..."
    BASE_LOG_BURST = 10,          // records of one message that pass in an interval
    BASE_LOG_INTERVAL_MS = 10000, // of the monotonic clock, from the first record of a burst
    BASE_LOG_MESSAGES_MAX = 128,  // messages whose repetition is watched; the longest unseen makes room
};

// "debug", "info", "warning", "error".
const char *base_log_level_name(enum base_log_level level);
// Their names, NULL-terminated, for a configuration's choices.
extern const char *const base_log_level_names[BASE_LOG_LEVELS + 1];

// A key=value of a record. Keys are ours: letters, digits, '_', '.'.
struct base_log_field {
    const char *key;
    enum { BASE_LOG_STRING, BASE_LOG_INT, BASE_LOG_UINT, BASE_LOG_REAL, BASE_LOG_BOOL } type;
    union {
        const char *string; // NULL prints as none
        int64_t i;
        uint64_t u;
        double real;
        bool yes;
    } value;
};

static inline struct base_log_field base_log_string(const char *key, const char *value)
{
    return (struct base_log_field){.key = key, .type = BASE_LOG_STRING, .value.string = value};
}
static inline struct base_log_field base_log_int(const char *key, int64_t value)
{
    return (struct base_log_field){.key = key, .type = BASE_LOG_INT, .value.i = value};
}
static inline struct base_log_field base_log_uint(const char *key, uint64_t value)
{
    return (struct base_log_field){.key = key, .type = BASE_LOG_UINT, .value.u = value};
}
static inline struct base_log_field base_log_real(const char *key, double value)
{
    return (struct base_log_field){.key = key, .type = BASE_LOG_REAL, .value.real = value};
}
static inline struct base_log_field base_log_bool(const char *key, bool value)
{
    return (struct base_log_field){.key = key, .type = BASE_LOG_BOOL, .value.yes = value};
}

struct base_log_config {
    enum base_log_level level;      // records below it are dropped
    int fd;                         // borrowed
    const char *journal_stream;     // the environment's JOURNAL_STREAM, or NULL
    const struct base_clock *clock; // NULL: the system's
};

struct base_log;

struct base_log *base_log_new(const struct base_log_config *config);
// Tells what is still held back, then frees. Takes NULL.
void base_log_free(struct base_log *log);
// True if records of the level are written: to spare the making of costly fields.
bool base_log_wants(const struct base_log *log, enum base_log_level level);

// Writes a record, as one write. `message` is a constant text: it, with the level, is what repetition is
// measured by. Any thread. `fields` may be NULL if count is 0. A descriptor that fails loses the record,
// nothing else.
//   base_log_write(log, BASE_LOG_INFO, "published a version", BASE_LOG_FIELDS(base_log_uint("rows", rows)));
//   base_log_write(log, BASE_LOG_INFO, "stopping", NULL, 0);
void base_log_write(struct base_log *log, enum base_log_level level, const char *message,
                    const struct base_log_field *fields, size_t count);
#define BASE_LOG_FIELDS(...)                      \
    (const struct base_log_field[]){__VA_ARGS__}, \
        sizeof((const struct base_log_field[]){__VA_ARGS__}) / sizeof(struct base_log_field)

// A record with the fields error="<text>" and code=<name>.
void base_log_error(struct base_log *log, enum base_log_level level, const char *message,
                    const struct base_error *error);

#endif
