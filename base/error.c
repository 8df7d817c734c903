// The one error object: filling and prefixing. See error.h.
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void error_fill(struct base_error *error, enum base_error_code code, const char *format, va_list args)
{
    error->code = code;
    error->retriable = code == BASE_ENETWORK;
    error->fatal = false;
    vsnprintf(error->text, sizeof error->text, format, args);
}

int base_error_set(struct base_error *error, enum base_error_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_fill(error, code, format, args);
    va_end(args);
    return -1;
}

int base_error_set_errno(struct base_error *error, enum base_error_code code, int number, const char *format,
                         ...)
{
    va_list args;
    va_start(args, format);
    error_fill(error, code, format, args);
    va_end(args);

    char reason[128];
    const char *text = strerror_r(number, reason, sizeof reason);
    size_t used = strlen(error->text);
    snprintf(error->text + used, sizeof error->text - used, ": %s", text);
    return -1;
}

int base_error_prefix(struct base_error *error, const char *format, ...)
{
    char old[BASE_ERROR_TEXT_MAX];
    memcpy(old, error->text, sizeof old);
    old[sizeof old - 1] = '\0';

    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);

    size_t used = strlen(error->text);
    snprintf(error->text + used, sizeof error->text - used, ": %s", old);
    return -1;
}

const char *base_error_code_name(enum base_error_code code)
{
    static const char *const names[] = {
        [BASE_OK] = "ok",
        [BASE_EINVAL] = "invalid",
        [BASE_EFORMAT] = "format",
        [BASE_EIO] = "io",
        [BASE_ENOMEM] = "memory",
        [BASE_ELIMIT] = "limit",
        [BASE_ENETWORK] = "network",
        [BASE_EREFUSED] = "refused",
        [BASE_ECONFLICT] = "conflict",
        [BASE_ENOTFOUND] = "not found",
        [BASE_ESTOPPED] = "stopped",
    };
    return (unsigned)code < sizeof names / sizeof *names ? names[code] : "unknown";
}
