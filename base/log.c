// The log: composing logfmt lines, and holding back what repeats. See log.h.
//
// A line is composed in a buffer on the stack and written with one write(2), so that lines of several threads
// do not mix; the lock guards only the table of repetitions.
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"

struct log_repeat {
    uint64_t key;     // hash of level and message; 0: free
    int64_t start_ns; // of the burst
    int64_t last_ns;  // last seen
    uint32_t passed;  // in this interval
    uint64_t held;    // held back since the last that passed
    enum base_log_level level;
    char message[64]; // for the last word on it
};

struct base_log {
    enum base_log_level level;
    int fd;
    bool journal;
    const struct base_clock *clock;
    pthread_mutex_t lock;
    struct log_repeat repeat[BASE_LOG_MESSAGES_MAX];
};

const char *const base_log_level_names[BASE_LOG_LEVELS + 1] = {"debug", "info", "warning", "error", NULL};

const char *base_log_level_name(enum base_log_level level)
{
    assert((unsigned)level < BASE_LOG_LEVELS);
    return base_log_level_names[level];
}

// JOURNAL_STREAM is "device:inode" of the stream that systemd connected (sd-daemon(3)); a descriptor that was
// redirected since is another one.
static bool log_is_journal(int fd, const char *stream)
{
    unsigned long long device, inode;
    struct stat status;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &status) == 0 &&
           status.st_dev == device && status.st_ino == inode;
}

struct base_log *base_log_new(const struct base_log_config *config)
{
    struct base_log *log = base_alloc_zeroed(1, sizeof *log);
    log->level = config->level;
    log->fd = config->fd;
    log->journal = log_is_journal(config->fd, config->journal_stream);
    log->clock = config->clock ? config->clock : &base_clock_system;
    pthread_mutex_init(&log->lock, NULL);
    return log;
}

bool base_log_wants(const struct base_log *log, enum base_log_level level)
{
    return level >= log->level;
}

// --- Composing ---

struct log_line {
    size_t used;
    char text[BASE_LOG_LINE_MAX];
};

static void line_bytes(struct log_line *line, const char *text, size_t size)
{
    size_t room = sizeof line->text - 1 - line->used; // one byte stays for the end of the line
    if (size > room) {
        size = room;
    }
    memcpy(line->text + line->used, text, size);
    line->used += size;
}

static void line_text(struct log_line *line, const char *text)
{
    line_bytes(line, text, strlen(text));
}

// A value: bare if it is made of plain characters, else quoted with what would break the line escaped.
static void line_value(struct log_line *line, const char *value)
{
    bool bare = value[0] != '\0';
    for (const char *c = value; *c && bare; c++) {
        bare = (unsigned char)*c > ' ' && *c != '"' && *c != '=' && *c != '\\' && *c != 0x7f;
    }
    if (bare) {
        line_text(line, value);
        return;
    }
    line_text(line, "\"");
    for (const char *c = value; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (byte == '"' || byte == '\\') {
            line_bytes(line, (char[]){'\\', *c}, 2);
        } else if (byte == '\n') {
            line_text(line, "\\n");
        } else if (byte < ' ' || byte == 0x7f) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\x%02x", byte);
            line_text(line, escape);
        } else {
            line_bytes(line, c, 1);
        }
    }
    line_text(line, "\"");
}

static void line_field(struct log_line *line, const struct base_log_field *field)
{
    char number[32] = "";
    line_text(line, " ");
    line_text(line, field->key);
    line_text(line, "=");
    switch (field->type) {
    case BASE_LOG_STRING:
        line_value(line, field->value.string ? field->value.string : "none");
        return;
    case BASE_LOG_INT:
        snprintf(number, sizeof number, "%" PRId64, field->value.i);
        break;
    case BASE_LOG_UINT:
        snprintf(number, sizeof number, "%" PRIu64, field->value.u);
        break;
    case BASE_LOG_REAL:
        snprintf(number, sizeof number, "%.6g", field->value.real);
        break;
    case BASE_LOG_BOOL:
        line_text(line, field->value.yes ? "true" : "false");
        return;
    }
    line_text(line, number);
}

static void line_time(struct log_line *line, int64_t wall_ms)
{
    int64_t seconds = wall_ms / 1000 - (wall_ms % 1000 < 0);
    struct tm parts;
    char text[64];
    time_t clock = (time_t)seconds;
    gmtime_r(&clock, &parts);
    size_t used = strftime(text, sizeof text, "time=%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, sizeof text - used, ".%03dZ ", (int)(wall_ms - seconds * 1000));
    line_text(line, text);
}

// Ends the line and writes it. What the descriptor does not take is lost: there is nobody to tell.
static void line_write(struct log_line *line, int fd)
{
    if (line->used == sizeof line->text - 1) {
        memcpy(line->text + line->used - 3, "...", 3);
    }
    line->text[line->used++] = '\n';
    for (size_t done = 0; done < line->used;) {
        ssize_t wrote = write(fd, line->text + done, line->used - done);
        if (wrote < 0 && errno == EINTR) {
            continue;
        }
        if (wrote <= 0) {
            return;
        }
        done += (size_t)wrote;
    }
}

static void log_emit(struct base_log *log, enum base_log_level level, const char *message,
                     const struct base_log_field *fields, size_t count, uint64_t held)
{
    // syslog's priorities, as sd-daemon's prefixes.
    static const char *const priorities[BASE_LOG_LEVELS] = {"<7>", "<6>", "<4>", "<3>"};
    struct log_line line;
    line.used = 0;
    if (log->journal) {
        line_text(&line, priorities[level]);
    } else {
        line_time(&line, base_clock_wall_ms(log->clock));
    }
    line_text(&line, "level=");
    line_text(&line, base_log_level_name(level));
    line_text(&line, " message=");
    line_value(&line, message);
    for (size_t i = 0; i < count; i++) {
        line_field(&line, &fields[i]);
    }
    if (held > 0) {
        struct base_log_field field = base_log_uint("held_back", held);
        line_field(&line, &field);
    }
    line_write(&line, log->fd);
}

// --- Repetition ---

// The entry of a message: its own, a free one, or that of the message unseen for longest, whose last word is
// handed out in *lost to be told. Under the lock.
static struct log_repeat *repeat_find(struct base_log *log, uint64_t key, struct log_repeat *lost)
{
    struct log_repeat *oldest = &log->repeat[0];
    for (uint32_t i = 0; i < BASE_LOG_MESSAGES_MAX; i++) {
        struct log_repeat *repeat = &log->repeat[i];
        if (repeat->key == key) {
            return repeat;
        }
        if (oldest->key != 0 && (repeat->key == 0 || repeat->last_ns < oldest->last_ns)) {
            oldest = repeat;
        }
    }
    *lost = *oldest;
    *oldest = (struct log_repeat){0};
    return oldest;
}

// Whether a record passes; *held: how many were held back before it.
static bool repeat_passes(struct base_log *log, enum base_log_level level, const char *message,
                          uint64_t *held, struct log_repeat *lost)
{
    uint64_t key = base_hash_bytes(base_span_string(message), (uint64_t)level + 1);
    key = key ? key : 1;
    int64_t now = base_clock_monotonic_ns(log->clock);
    pthread_mutex_lock(&log->lock);
    struct log_repeat *repeat = repeat_find(log, key, lost);
    if (repeat->key == 0 || now - repeat->start_ns >= (int64_t)BASE_LOG_INTERVAL_MS * 1000000) {
        repeat->key = key;
        repeat->start_ns = now;
        repeat->passed = 0;
        repeat->level = level;
        snprintf(repeat->message, sizeof repeat->message, "%s", message);
    }
    repeat->last_ns = now;
    bool passes = repeat->passed < BASE_LOG_BURST;
    if (passes) {
        repeat->passed++;
        *held = repeat->held;
        repeat->held = 0;
    } else {
        repeat->held++;
    }
    pthread_mutex_unlock(&log->lock);
    return passes;
}

static void repeat_tell(struct base_log *log, const struct log_repeat *repeat)
{
    if (repeat->key != 0 && repeat->held > 0) {
        log_emit(log, repeat->level, repeat->message, NULL, 0, repeat->held);
    }
}

void base_log_write(struct base_log *log, enum base_log_level level, const char *message,
                    const struct base_log_field *fields, size_t count)
{
    if (!base_log_wants(log, level)) {
        return;
    }
    uint64_t held = 0;
    struct log_repeat lost = {0};
    bool passes = repeat_passes(log, level, message, &held, &lost);
    repeat_tell(log, &lost);
    if (passes) {
        log_emit(log, level, message, fields, count, held);
    }
}

void base_log_error(struct base_log *log, enum base_log_level level, const char *message,
                    const struct base_error *error)
{
    base_log_write(log, level, message,
                   BASE_LOG_FIELDS(base_log_string("error", error->text),
                                   base_log_string("code", base_error_code_name(error->code))));
}

void base_log_free(struct base_log *log)
{
    if (!log) {
        return;
    }
    for (uint32_t i = 0; i < BASE_LOG_MESSAGES_MAX; i++) {
        repeat_tell(log, &log->repeat[i]);
    }
    pthread_mutex_destroy(&log->lock);
    free(log);
}
