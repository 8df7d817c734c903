// Written forms of the configuration: durations, sizes, numbers, and the nearest word.
#include <criterion/criterion.h>
#include <string.h>

#include "base/config.h"

Test(config_forms, durations)
{
    static const struct {
        const char *text;
        int64_t ms; // -1: refused
    } cases[] = {
        {"0", 0},
        {"0s", 0},
        {"1ms", 1},
        {"500ms", 500},
        {"2s", 2000},
        {"10m", 600000},
        {"7d", 604800000},
        {"1h30m", 5400000},
        {"1d2h3m4s5ms", 93784005},
        {"1_000s", 1000000},
        {"9223372036854775807ms", INT64_MAX},
        {"9223372036854775808ms", -1},
        {"106751991168d", -1},
        {"", -1},
        {"5", -1},
        {"s", -1},
        {"1.5s", -1},
        {"-1s", -1},
        {"1 s", -1},
        {"1s ", -1},
        {"30m1h", -1},
        {"1s1s", -1},
        {"1x", -1},
        {"1sm", -1},
        {"1w", -1},
        {"_1s", -1},
        {"1_s", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = 77;
        int status = base_config_parse_duration(cases[i].text, &ms);
        cr_assert_eq(status, cases[i].ms < 0 ? -1 : 0, "%s", cases[i].text);
        cr_assert_eq(ms, cases[i].ms < 0 ? 77 : cases[i].ms, "%s: %lld", cases[i].text, (long long)ms);
        char out[BASE_CONFIG_NUMBER_MAX];
        int64_t again;
        if (status == 0) {
            cr_assert_eq(base_config_parse_duration(base_config_format_duration(ms, out), &again), 0, "%s",
                         out);
            cr_assert_eq(again, ms);
        }
    }
    char out[BASE_CONFIG_NUMBER_MAX];
    cr_assert_str_eq(base_config_format_duration(-5400000, out), "-1h30m");
    cr_assert_str_eq(base_config_format_duration(INT64_MIN, out), "-106751991167d7h12m55s808ms");
}

Test(config_forms, sizes)
{
    static const struct {
        const char *text;
        int64_t bytes; // -1: refused
    } cases[] = {
        {"0", 0},
        {"4096", 4096},
        {"7B", 7},
        {"3kB", 3000},
        {"1KiB", 1024},
        {"2MB", 2000000},
        {"128MiB", 134217728},
        {"1GB", 1000000000},
        {"1GiB", 1073741824},
        {"1TB", 1000000000000},
        {"1TiB", INT64_C(1) << 40},
        {"1K", -1},
        {"1.5MiB", -1},
        {"MiB", -1},
        {"-1", -1},
        {"1 MiB", -1},
        {"", -1},
        {"16777216TiB", -1},
        {"18446744073709551616", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t bytes = 77;
        int status = base_config_parse_bytes(cases[i].text, &bytes);
        cr_assert_eq(status, cases[i].bytes < 0 ? -1 : 0, "%s", cases[i].text);
        cr_assert_eq(bytes, cases[i].bytes < 0 ? 77 : (uint64_t)cases[i].bytes, "%s", cases[i].text);
        char out[BASE_CONFIG_NUMBER_MAX];
        uint64_t again;
        if (status == 0) {
            cr_assert_eq(base_config_parse_bytes(base_config_format_bytes(bytes, out), &again), 0, "%s", out);
            cr_assert_eq(again, bytes);
        }
    }
    char out[BASE_CONFIG_NUMBER_MAX];
    cr_assert_str_eq(base_config_format_bytes(4097, out), "4097");
    cr_assert_str_eq(base_config_format_bytes(0, out), "0");
    cr_assert_str_eq(base_config_format_bytes(3u << 20, out), "3MiB");
}

Test(config_forms, integers)
{
    int64_t i = 77;
    uint64_t u = 77;
    cr_assert_eq(base_config_parse_int("-9223372036854775808", &i), 0);
    cr_assert_eq(i, INT64_MIN);
    cr_assert_eq(base_config_parse_int("9223372036854775807", &i), 0);
    cr_assert_eq(i, INT64_MAX);
    static const char *const bad[] = {
        "9223372036854775808", "-9223372036854775809", "+1", "--1", "", "-", "1a", "0x1"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        cr_assert_eq(base_config_parse_int(bad[k], &i), -1, "%s", bad[k]);
    }
    cr_assert_eq(i, INT64_MAX, "untouched");
    cr_assert_eq(base_config_parse_uint("1_000_000", &u), 0);
    cr_assert_eq(u, 1000000);
    static const char *const bad_uint[] = {"", "-1", "1__0", "_1", "1_", "18446744073709551616", " 1"};
    for (size_t k = 0; k < sizeof bad_uint / sizeof *bad_uint; k++) {
        cr_assert_eq(base_config_parse_uint(bad_uint[k], &u), -1, "%s", bad_uint[k]);
    }
    cr_assert_eq(u, 1000000);
}

Test(config_forms, reals)
{
    double r = 77;
    static const struct {
        const char *text;
        double value;
    } good_cases[] = {{"0", 0}, {"-1.5", -1.5}, {"+2", 2}, {"1e-3", 0.001}, {".5", 0.5}, {"1_000.5", 1000.5}};
    for (size_t k = 0; k < sizeof good_cases / sizeof *good_cases; k++) {
        cr_assert_eq(base_config_parse_real(good_cases[k].text, &r), 0, "%s", good_cases[k].text);
        cr_assert_eq(r, good_cases[k].value);
    }
    static const char *const bad[] = {
        "",      "e",
        "1e999", "nan",
        "inf",   "0x1p3",
        " 1",    "1 ",
        "1,5",   "_1",
        "1_",    "1_.5",
        "1.2.3", "11111111111111111111111111111111111111111111111111111111111111111111"};
    r = 77;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        cr_assert_eq(base_config_parse_real(bad[k], &r), -1, "%s", bad[k]);
    }
    cr_assert_eq(r, 77, "untouched");
    static const double values[] = {0, 0.1, -1e300, 5e-324, 1.0 / 3, 123456789, 0.333};
    for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
        char out[BASE_CONFIG_NUMBER_MAX];
        cr_assert_eq(base_config_parse_real(base_config_format_real(values[k], out), &r), 0, "%s", out);
        cr_assert_eq(r, values[k], "%s", out);
    }
    char out[BASE_CONFIG_NUMBER_MAX];
    cr_assert_str_eq(base_config_format_real(0.1, out), "0.1");
}

Test(config_forms, nearest_words)
{
    static const char *const names[] = {"wait", "window", "workers",
                                        "a-name-that-is-longer-than-any-that-anybody-would-type", NULL};
    cr_assert_str_eq(base_config_nearest("wiat", names), "wait");
    cr_assert_str_eq(base_config_nearest("windw", names), "window");
    cr_assert_str_eq(base_config_nearest("worker", names), "workers");
    cr_assert_null(base_config_nearest("publish", names));
    cr_assert_null(base_config_nearest("", names));
    cr_assert_null(base_config_nearest("x", names));
    cr_assert_null(base_config_nearest("a-name-that-is-longer-than-any-that-anybody-would-typo", names));
}
