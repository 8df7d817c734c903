// Configuration: the owner of what was read, and the list of problems. config_read.c reads. See config.h.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/config_private.h"

// --- The owner: memory, and where each field was set ---

struct config_block {
    struct config_block *next;
    max_align_t data[];
};

struct base_config *base_config_new(void)
{
    struct base_config *config = base_alloc_zeroed(1, sizeof *config);
    config->name = "";
    return config;
}

void base_config_free(struct base_config *config)
{
    if (!config) {
        return;
    }
    while (config->blocks) {
        struct config_block *next = config->blocks->next;
        free(config->blocks);
        config->blocks = next;
    }
    free(config->mark);
    free(config);
}

void *base_config_memory(struct base_config *config, size_t size)
{
    struct config_block *block = base_alloc_zeroed(1, sizeof *block + size);
    block->next = config->blocks;
    config->blocks = block;
    return block->data;
}

char *base_config_copy(struct base_config *config, const void *text, size_t size)
{
    char *copy = base_config_memory(config, size + 1);
    memcpy(copy, text, size);
    return copy;
}

const char *base_config_string(struct base_config *config, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    assert(size >= 0);
    char *text = base_config_memory(config, (size_t)size + 1);
    vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return text;
}

struct config_mark *base_config_mark(const struct base_config *config, const void *field)
{
    for (size_t i = config->marks; i > 0; i--) {
        if (config->mark[i - 1].field == field) {
            return &config->mark[i - 1];
        }
    }
    return NULL;
}

struct config_mark *base_config_mark_add(struct base_config *config, const void *field, const char *path)
{
    if (config->marks == config->marks_capacity) {
        config->marks_capacity = config->marks_capacity ? 2 * config->marks_capacity : 64;
        config->mark = base_realloc(config->mark, config->marks_capacity * sizeof *config->mark);
    }
    struct config_mark *mark = &config->mark[config->marks++];
    *mark = (struct config_mark){.field = field, .path = base_config_copy(config, path, strlen(path))};
    return mark;
}

bool base_config_given(const struct base_config *config, const void *field)
{
    const struct config_mark *mark = base_config_mark(config, field);
    return mark && mark->state == CONFIG_GIVEN;
}

bool base_config_refused(const struct base_config *config, const void *field)
{
    const struct config_mark *mark = base_config_mark(config, field);
    return mark && mark->state == CONFIG_REFUSED;
}

// --- Problems ---

void base_config_problem_add(struct base_config_problems *problems, bool warning, const char *where,
                             const char *format, va_list args)
{
    *(warning ? &problems->warnings : &problems->errors) += 1;
    if (problems->count == BASE_CONFIG_PROBLEMS_MAX) {
        return;
    }
    struct base_config_problem *problem = &problems->item[problems->count++];
    problem->warning = warning;
    size_t used = (size_t)snprintf(problem->text, sizeof problem->text, "%s%s", where, where[0] ? ": " : "");
    if (used < sizeof problem->text) {
        vsnprintf(problem->text + used, sizeof problem->text - used, format, args);
    }
}

void base_config_problem(struct base_config_problems *problems, const struct base_config *config,
                         bool warning, const void *field, const char *format, ...)
{
    char where[BASE_CONFIG_PROBLEM_TEXT / 2];
    const struct config_mark *mark = field ? base_config_mark(config, field) : NULL;
    if (mark && mark->state == CONFIG_REFUSED) {
        return;
    }
    if (mark) {
        snprintf(where, sizeof where, "%s:%zu:%zu: %s", config->name, mark->line, mark->column, mark->path);
    } else {
        snprintf(where, sizeof where, "%s", config->name);
    }
    va_list args;
    va_start(args, format);
    base_config_problem_add(problems, warning, where, format, args);
    va_end(args);
}

// --- Files ---

const char *base_config_path(struct base_config *config, const char *path)
{
    const char *slash = strrchr(config->name, '/');
    if (path[0] == '/' || path[0] == '\0' || !slash) {
        return path;
    }
    return base_config_string(config, "%.*s/%s", (int)(slash - config->name), config->name, path);
}

const char *base_config_file(struct base_config *config, const char *path, size_t max,
                             struct base_error *error)
{
    char *content = NULL;
    // Not blocking: a FIFO must not hold us up before we see that it is none of the files we read.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        base_error_set_errno(error, errno == ENOENT ? BASE_ENOTFOUND : BASE_EIO, errno, "cannot open %s",
                             path);
        return NULL;
    }
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        base_error_set(error, BASE_EINVAL, "%s is not a file", path);
        goto out;
    }
    if (status.st_size < 0 || (uint64_t)status.st_size > max) {
        base_error_set(error, BASE_ELIMIT, "%s is larger than %zu bytes", path, max);
        goto out;
    }
    size_t size = (size_t)status.st_size;
    char *bytes = base_config_memory(config, size + 1);
    for (size_t used = 0; used < size;) {
        ssize_t got = read(fd, bytes + used, size - used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            base_error_set_errno(error, BASE_EIO, got < 0 ? errno : EIO, "cannot read %s", path);
            goto out;
        }
        used += (size_t)got;
    }
    if (memchr(bytes, '\0', size)) {
        base_error_set(error, BASE_EFORMAT, "%s holds a NUL byte", path);
        goto out;
    }
    content = bytes;
out:
    close(fd);
    return content;
}
