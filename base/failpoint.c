// Fail points. See failpoint.h.
#include "base/failpoint.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FAILPOINT_PASSES_MAX = 1000000000 };

static const struct {
    const char *name, *when;
} table[] = {
#define FAILPOINT_ROW(name, when) {name, when},
    BASE_FAILPOINTS(FAILPOINT_ROW)
#undef FAILPOINT_ROW
};

const char *base_failpoint_armed;
static atomic_int passes_left;
static int failpoint_signal;

const char *base_failpoint_name(size_t i, const char **when)
{
    if (i >= sizeof table / sizeof *table) {
        return NULL;
    }
    if (when) {
        *when = table[i].when;
    }
    return table[i].name;
}

// The table's own text for a name of `size` bytes, or NULL.
static const char *failpoint_find(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strlen(table[i].name) == size && memcmp(table[i].name, name, size) == 0) {
            return table[i].name;
        }
    }
    return NULL;
}

// ":n" or ":n:stop". 0: understood.
static int failpoint_parse(const char *text, int *count, int *number)
{
    char *end;
    errno = 0;
    long value = text[1] >= '0' && text[1] <= '9' ? strtol(text + 1, &end, 10) : 0;
    if (errno != 0 || value < 1 || value > FAILPOINT_PASSES_MAX) {
        return -1;
    }
    if (*end != '\0' && strcmp(end, ":stop") != 0) {
        return -1;
    }
    *count = (int)value;
    *number = *end == '\0' ? SIGKILL : SIGSTOP;
    return 0;
}

int base_failpoint_arm(const char *text, struct base_error *error)
{
    if (!text || text[0] == '\0') {
        base_failpoint_armed = NULL;
        return 0;
    }
    size_t size = strcspn(text, ":");
    const char *name = failpoint_find(text, size);
    int count = 1;
    int number = SIGKILL;
    if (!name) {
        return base_error_set(error, BASE_EINVAL, "there is no fail point %.*s", (int)size, text);
    }
    if (text[size] != '\0' && failpoint_parse(text + size, &count, &number)) {
        return base_error_set(error, BASE_EINVAL, "a fail point is NAME, NAME:N or NAME:N:stop, not %s",
                              text);
    }
    atomic_store(&passes_left, count);
    failpoint_signal = number;
    base_failpoint_armed = name;
    return 0;
}

void base_failpoint_pass(const char *name)
{
    if (strcmp(name, base_failpoint_armed) != 0 || atomic_fetch_sub(&passes_left, 1) != 1) {
        return;
    }
    char line[128];
    int size = snprintf(line, sizeof line, "fail point %s\n", name);
    if (write(STDERR_FILENO, line, (size_t)size) < 0) {
        // Whoever armed it sees the process end all the same.
    }
    kill(getpid(), failpoint_signal);
}
