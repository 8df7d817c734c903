// The log: lines, quoting, levels, the journal's prefixes, repetition, threads.
#include "base/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_MAX = 1 << 16 };

struct fixture {
    struct base_log *log;
    int64_t now_ms; // of both clocks
    int fds[2];
    char text[READ_MAX];
    struct base_clock clock;
};

static int64_t fixture_ns(void *context)
{
    return ((struct fixture *)context)->now_ms * 1000000;
}

static int64_t fixture_ms(void *context)
{
    return 1795503379123 + ((struct fixture *)context)->now_ms; // 2026-11-24T06:56:19.123Z
}

static struct fixture *fixture_new(enum base_log_level level)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    cr_assert_eq(pipe2(fixture->fds, O_NONBLOCK), 0);
    cr_assert_gt(fcntl(fixture->fds[1], F_SETPIPE_SZ, 1 << 20), 0);
    fixture->clock = (struct base_clock){fixture_ns, fixture_ms, fixture};
    struct base_log_config config = {.level = level, .fd = fixture->fds[1], .clock = &fixture->clock};
    fixture->log = base_log_new(&config);
    return fixture;
}

// What was written since the last call.
static const char *fixture_text(struct fixture *fixture)
{
    ssize_t size = read(fixture->fds[0], fixture->text, READ_MAX - 1);
    fixture->text[size > 0 ? size : 0] = '\0';
    return fixture->text;
}

static void fixture_free(struct fixture *fixture)
{
    base_log_free(fixture->log);
    close(fixture->fds[0]);
    close(fixture->fds[1]);
    free(fixture);
}

#define TIME "time=2026-11-24T06:56:19.123Z "

Test(log, a_line_with_every_type_of_field)
{
    struct fixture *fixture = fixture_new(BASE_LOG_INFO);
    base_log_write(fixture->log, BASE_LOG_INFO, "published",
                   BASE_LOG_FIELDS(base_log_string("version", "3.17"), base_log_int("delta", -5),
                                   base_log_uint("rows", UINT64_MAX), base_log_real("share", 0.25),
                                   base_log_bool("full", true), base_log_bool("half", false),
                                   base_log_string("none", NULL)));
    cr_assert_str_eq(fixture_text(fixture), TIME "level=info message=published version=3.17 delta=-5 "
                                                 "rows=18446744073709551615 share=0.25 full=true half=false "
                                                 "none=none\n");
    fixture_free(fixture);
}

Test(log, values_that_would_break_the_line_are_quoted)
{
    struct fixture *fixture = fixture_new(BASE_LOG_INFO);
    base_log_write(fixture->log, BASE_LOG_ERROR, "two words",
                   BASE_LOG_FIELDS(base_log_string("empty", ""), base_log_string("equals", "a=b"),
                                   base_log_string("quote", "say \"x\\y\""),
                                   base_log_string("line", "a\nb\tc\x7f"), base_log_string("utf8", "größe")));
    cr_assert_str_eq(fixture_text(fixture),
                     TIME "level=error message=\"two words\" empty=\"\" equals=\"a=b\" "
                          "quote=\"say \\\"x\\\\y\\\"\" line=\"a\\nb\\x09c\\x7f\" utf8=größe\n");
    fixture_free(fixture);
}

Test(log, levels_below_the_threshold_are_dropped)
{
    struct fixture *fixture = fixture_new(BASE_LOG_WARNING);
    base_log_write(fixture->log, BASE_LOG_DEBUG, "debug", NULL, 0);
    base_log_write(fixture->log, BASE_LOG_INFO, "info", NULL, 0);
    cr_assert_str_eq(fixture_text(fixture), "");
    base_log_write(fixture->log, BASE_LOG_WARNING, "warning", NULL, 0);
    base_log_write(fixture->log, BASE_LOG_ERROR, "error", NULL, 0);
    cr_assert_str_eq(fixture_text(fixture),
                     TIME "level=warning message=warning\n" TIME "level=error message=error\n");
    cr_assert_not(base_log_wants(fixture->log, BASE_LOG_INFO));
    cr_assert(base_log_wants(fixture->log, BASE_LOG_WARNING));
    fixture_free(fixture);
}

Test(log, names_of_levels)
{
    cr_assert_str_eq(base_log_level_name(BASE_LOG_DEBUG), "debug");
    cr_assert_str_eq(base_log_level_name(BASE_LOG_ERROR), "error");
    cr_assert_null(base_log_level_names[BASE_LOG_LEVELS]);
}

Test(log, errors_are_fields)
{
    struct fixture *fixture = fixture_new(BASE_LOG_INFO);
    struct base_error error;
    base_error_set(&error, BASE_ENETWORK, "no route");
    base_log_error(fixture->log, BASE_LOG_WARNING, "publication failed", &error);
    cr_assert_str_eq(fixture_text(fixture),
                     TIME "level=warning message=\"publication failed\" error=\"no route\" code=network\n");
    fixture_free(fixture);
}

Test(log, a_long_line_is_cut)
{
    struct fixture *fixture = fixture_new(BASE_LOG_INFO);
    char *value = malloc(2 * BASE_LOG_LINE_MAX);
    memset(value, 'v', 2 * BASE_LOG_LINE_MAX - 1);
    value[2 * BASE_LOG_LINE_MAX - 1] = '\0';
    base_log_write(fixture->log, BASE_LOG_INFO, "long", BASE_LOG_FIELDS(base_log_string("v", value)));
    const char *text = fixture_text(fixture);
    cr_assert_eq(strlen(text), BASE_LOG_LINE_MAX);
    cr_assert_str_eq(text + BASE_LOG_LINE_MAX - 6, "vv...\n");
    free(value);
    fixture_free(fixture);
}

Test(log, times_before_1970)
{
    struct fixture *fixture = fixture_new(BASE_LOG_INFO);
    fixture->now_ms = -1795503379123 - 1;
    base_log_write(fixture->log, BASE_LOG_INFO, "old", NULL, 0);
    cr_assert_str_eq(fixture_text(fixture), "time=1969-12-31T23:59:59.999Z level=info message=old\n");
    fixture_free(fixture);
}

// The journal's stream is known by its device and inode.
Test(log, the_journal_gets_priorities_and_no_time)
{
    static const char *const expected[] = {"<7>level=debug message=x\n", "<6>level=info message=x\n",
                                           "<4>level=warning message=x\n", "<3>level=error message=x\n"};
    int fds[2];
    cr_assert_eq(pipe2(fds, O_NONBLOCK), 0);
    struct stat status;
    cr_assert_eq(fstat(fds[1], &status), 0);
    char stream[64], text[256];
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    struct base_log_config config = {.level = BASE_LOG_DEBUG, .fd = fds[1], .journal_stream = stream};
    struct base_log *log = base_log_new(&config);
    for (int level = 0; level < BASE_LOG_LEVELS; level++) {
        base_log_write(log, (enum base_log_level)level, "x", NULL, 0);
        ssize_t size = read(fds[0], text, sizeof text - 1);
        cr_assert_gt(size, 0);
        text[size] = '\0';
        cr_assert_str_eq(text, expected[level]);
    }
    base_log_free(log);

    static const char *const others[] = {"1:2", "", "nonsense", NULL};
    for (int i = 0; i < 4; i++) {
        config.journal_stream = others[i];
        log = base_log_new(&config);
        base_log_write(log, BASE_LOG_INFO, "x", NULL, 0);
        ssize_t size = read(fds[0], text, sizeof text - 1);
        cr_assert_gt(size, 5);
        cr_assert_eq(strncmp(text, "time=", 5), 0, "another stream");
        base_log_free(log);
    }
    close(fds[0]);
    close(fds[1]);
}

static unsigned lines(const char *text)
{
    unsigned count = 0;
    for (; *text; text++) {
        count += *text == '\n';
    }
    return count;
}

Test(log, repetition_is_held_back_and_counted)
{
    struct fixture *fixture = fixture_new(BASE_LOG_INFO);
    for (int i = 0; i < BASE_LOG_BURST + 25; i++) {
        base_log_write(fixture->log, BASE_LOG_WARNING, "again", BASE_LOG_FIELDS(base_log_int("i", i)));
    }
    cr_assert_eq(lines(fixture_text(fixture)), BASE_LOG_BURST);
    base_log_write(fixture->log, BASE_LOG_WARNING, "another", NULL, 0);
    base_log_write(fixture->log, BASE_LOG_ERROR, "again", NULL, 0);
    cr_assert_eq(lines(fixture_text(fixture)), 2, "another message, another level");

    fixture->now_ms += BASE_LOG_INTERVAL_MS - 1;
    base_log_write(fixture->log, BASE_LOG_WARNING, "again", NULL, 0);
    cr_assert_str_eq(fixture_text(fixture), "");
    fixture->now_ms += 1;
    base_log_write(fixture->log, BASE_LOG_WARNING, "again", BASE_LOG_FIELDS(base_log_int("i", 7)));
    cr_assert(strstr(fixture_text(fixture), "message=again i=7 held_back=26\n"));
    base_log_write(fixture->log, BASE_LOG_WARNING, "again", NULL, 0);
    cr_assert_null(strstr(fixture_text(fixture), "held_back"), "told once");
    fixture_free(fixture);
}

Test(log, what_is_held_back_is_told_at_the_end)
{
    struct fixture *fixture = fixture_new(BASE_LOG_INFO);
    for (int i = 0; i < BASE_LOG_BURST + 3; i++) {
        base_log_write(fixture->log, BASE_LOG_INFO, "again and again", NULL, 0);
    }
    fixture_text(fixture);
    base_log_free(fixture->log);
    fixture->log = NULL;
    cr_assert_str_eq(fixture_text(fixture), TIME "level=info message=\"again and again\" held_back=3\n");
    fixture_free(fixture);
}

Test(log, the_message_unseen_for_longest_makes_room)
{
    struct fixture *fixture = fixture_new(BASE_LOG_INFO);
    for (int i = 0; i < BASE_LOG_BURST + 2; i++) {
        base_log_write(fixture->log, BASE_LOG_INFO, "first", NULL, 0);
    }
    for (int i = 0; i < BASE_LOG_MESSAGES_MAX - 1; i++) {
        char message[32];
        fixture->now_ms++;
        snprintf(message, sizeof message, "message-%d", i);
        base_log_write(fixture->log, BASE_LOG_INFO, message, NULL, 0);
    }
    fixture_text(fixture);
    fixture->now_ms++;
    base_log_write(fixture->log, BASE_LOG_INFO, "one-more", NULL, 0);
    const char *text = fixture_text(fixture);
    cr_assert(strstr(text, "message=first held_back=2\n"), "%s", text);
    cr_assert(strstr(text, "message=one-more\n"));
    cr_assert_eq(lines(text), 2);
    fixture_free(fixture);
}

Test(log, a_descriptor_that_fails_loses_the_record_only)
{
    struct base_log_config config = {.level = BASE_LOG_INFO, .fd = -1};
    struct base_log *log = base_log_new(&config);
    base_log_write(log, BASE_LOG_INFO, "lost", NULL, 0);
    base_log_free(log);
    base_log_free(NULL);
}

enum { WRITERS = 4, RECORDS = 200 };

static void *writer(void *context)
{
    struct base_log *log = context;
    for (int i = 0; i < RECORDS; i++) {
        char message[32];
        snprintf(message, sizeof message, "message-%d", i % 40);
        base_log_write(log, BASE_LOG_INFO, message, BASE_LOG_FIELDS(base_log_int("i", i)));
    }
    return NULL;
}

Test(log, threads_do_not_mix_lines)
{
    struct fixture *fixture = fixture_new(BASE_LOG_INFO);
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, writer, fixture->log), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    const char *text = fixture_text(fixture);
    cr_assert_eq(lines(text), 40 * BASE_LOG_BURST);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        cr_assert_eq(strncmp(line, TIME "level=info message=message-", strlen(TIME) + 27), 0, "%.80s", line);
    }
    fixture_free(fixture);
}
