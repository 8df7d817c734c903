// Configuration scalars: numbers, durations and sizes as people write them, and back. See config.h.
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/config.h"

struct scalar_unit {
    const char *name;
    uint64_t factor;
};

// From large to small: the order in which parts may follow each other, and in which they are printed.
static const struct scalar_unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

static const struct scalar_unit bytes_units[] = {
    {"TiB", UINT64_C(1) << 40},
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"TB", 1000000000000},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"kB", 1000},
    {"B", 1},
};

enum {
    DURATION_UNITS = sizeof duration_units / sizeof *duration_units,
    BYTES_UNITS = sizeof bytes_units / sizeof *bytes_units,
};

static bool scalar_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Reads decimal digits, '_' allowed between two of them. Returns the first byte after, or NULL: no digit, a
// '_' at an end, or more than 64 bits.
static const char *scalar_digits(const char *text, uint64_t *value)
{
    if (!scalar_digit(*text)) {
        return NULL;
    }
    uint64_t sum = 0;
    for (; scalar_digit(*text) || *text == '_'; text++) {
        if (*text == '_') {
            if (!scalar_digit(text[1])) {
                return NULL;
            }
            continue;
        }
        uint64_t digit = (uint64_t)(*text - '0');
        if (sum > (UINT64_MAX - digit) / 10) {
            return NULL;
        }
        sum = sum * 10 + digit;
    }
    *value = sum;
    return text;
}

int base_config_parse_uint(const char *text, uint64_t *value)
{
    uint64_t parsed;
    const char *end = scalar_digits(text, &parsed);
    if (!end || *end) {
        return -1;
    }
    *value = parsed;
    return 0;
}

int base_config_parse_int(const char *text, int64_t *value)
{
    bool negative = *text == '-';
    uint64_t magnitude;
    if (base_config_parse_uint(text + negative, &magnitude) != 0 ||
        magnitude > (uint64_t)INT64_MAX + negative) {
        return -1;
    }
    *value = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return 0;
}

int base_config_parse_real(const char *text, double *value)
{
    // strtod takes more than we want: leading blanks, hexadecimal, "inf", "nan".
    if (text[strspn(text, "0123456789+-.eE_")] || !*text) {
        return -1;
    }
    char plain[64];
    size_t size = 0;
    for (const char *c = text; *c; c++) {
        if (*c == '_') {
            if (c == text || !scalar_digit(c[-1]) || !scalar_digit(c[1])) {
                return -1;
            }
            continue;
        }
        if (size == sizeof plain - 1) {
            return -1;
        }
        plain[size++] = *c;
    }
    plain[size] = '\0';
    char *end;
    double parsed = strtod(plain, &end);
    if (end == plain || *end || !isfinite(parsed)) {
        return -1;
    }
    *value = parsed;
    return 0;
}

int base_config_parse_duration(const char *text, int64_t *ms)
{
    if (strcmp(text, "0") == 0) {
        *ms = 0;
        return 0;
    }
    uint64_t sum = 0;
    for (unsigned next = 0; *text;) {
        uint64_t count;
        const char *name = scalar_digits(text, &count);
        if (!name) {
            return -1;
        }
        size_t length = strspn(name, "dhms");
        unsigned unit = next;
        while (unit < DURATION_UNITS && (strlen(duration_units[unit].name) != length ||
                                         strncmp(duration_units[unit].name, name, length) != 0)) {
            unit++;
        }
        if (unit == DURATION_UNITS || count > ((uint64_t)INT64_MAX - sum) / duration_units[unit].factor) {
            return -1;
        }
        sum += count * duration_units[unit].factor;
        next = unit + 1;
        text = name + length;
        if (!*text) {
            *ms = (int64_t)sum;
            return 0;
        }
    }
    return -1;
}

int base_config_parse_bytes(const char *text, uint64_t *bytes)
{
    uint64_t count;
    const char *name = scalar_digits(text, &count);
    if (!name) {
        return -1;
    }
    uint64_t factor = *name ? 0 : 1;
    for (unsigned unit = 0; unit < BYTES_UNITS && factor == 0; unit++) {
        factor = strcmp(bytes_units[unit].name, name) == 0 ? bytes_units[unit].factor : 0;
    }
    if (factor == 0 || count > UINT64_MAX / factor) {
        return -1;
    }
    *bytes = count * factor;
    return 0;
}

const char *base_config_format_duration(int64_t ms, char out[BASE_CONFIG_NUMBER_MAX])
{
    uint64_t rest = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    size_t used = (size_t)snprintf(out, BASE_CONFIG_NUMBER_MAX, "%s", ms < 0 ? "-" : ms == 0 ? "0" : "");
    for (unsigned unit = 0; unit < DURATION_UNITS; unit++) {
        uint64_t count = rest / duration_units[unit].factor;
        rest %= duration_units[unit].factor;
        if (count > 0) {
            used += (size_t)snprintf(out + used, BASE_CONFIG_NUMBER_MAX - used, "%llu%s",
                                     (unsigned long long)count, duration_units[unit].name);
        }
    }
    return out;
}

const char *base_config_format_bytes(uint64_t bytes, char out[BASE_CONFIG_NUMBER_MAX])
{
    unsigned unit = 0;
    while (unit < 4 && (bytes == 0 || bytes % bytes_units[unit].factor != 0)) {
        unit++;
    }
    bool binary = unit < 4;
    snprintf(out, BASE_CONFIG_NUMBER_MAX, "%llu%s",
             (unsigned long long)(binary ? bytes / bytes_units[unit].factor : bytes),
             binary ? bytes_units[unit].name : "");
    return out;
}

const char *base_config_format_real(double value, char out[BASE_CONFIG_NUMBER_MAX])
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, BASE_CONFIG_NUMBER_MAX, "%.*g", digits, value);
        if (strtod(out, NULL) == value) {
            break;
        }
    }
    return out;
}

enum { NEAREST_WORD_MAX = 48 }; // longer words have no neighbours

// Edit distance with neighbours swapped counting as one (optimal string alignment); three rows of the matrix.
static size_t nearest_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t rows[3][NEAREST_WORD_MAX + 1] = {{0}};
    for (size_t j = 0; j <= b_size; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return rows[a_size % 3][b_size];
}

const char *base_config_nearest(const char *word, const char *const *names)
{
    size_t size = strlen(word);
    if (size > NEAREST_WORD_MAX) {
        return NULL;
    }
    const char *nearest = NULL;
    size_t least = size / 3 + 1; // a third of the word may be wrong
    for (; *names; names++) {
        size_t name_size = strlen(*names);
        if (name_size > NEAREST_WORD_MAX) {
            continue;
        }
        size_t distance = nearest_distance(word, size, *names, name_size);
        if (distance < name_size && (distance < least || (distance == least && !nearest))) {
            least = distance;
            nearest = *names;
        }
    }
    return nearest;
}
