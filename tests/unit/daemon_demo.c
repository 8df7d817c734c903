// Tests of the demonstration's parts: the status it reads, the truth it computes, what it leaves behind; and
// of the command line of `freshet generate`.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/command.h"
#include "daemon/demo_screen.h"
#include "daemon/demo_world.h"
#include "tests/unit/support_directory.h"

static int status_read(const char *text, struct daemon_demo_status *status, struct base_error *error)
{
    char path[SUPPORT_DIRECTORY_MAX], name[SUPPORT_DIRECTORY_MAX + 16];
    support_directory_make(path);
    snprintf(name, sizeof name, "%s/status.json", path);
    FILE *file = fopen(name, "w");
    fputs(text, file);
    fclose(file);
    int result = daemon_demo_status_read(name, status, error);
    support_directory_remove(path);
    return result;
}

Test(demo, status_takes_null_for_what_is_not_known_yet)
{
    struct base_error error = {0};
    struct daemon_demo_status status;
    int result = status_read(
        "{\"events\": 7, \"samples\": 5, \"events_per_s\": 2.5, \"watermark_lag_ms\": null, \"version\": "
        "null,"
        " \"tasks\": [{\"name\": \"click\", \"log_loss\": 0.25, \"constant_log_loss\": 0.5, \"count\": 5},"
        " {\"name\": \"purchase\", \"log_loss\": null}]}",
        &status, &error);
    cr_assert_eq(result, 0, "%s", error.text);
    cr_assert_eq(status.events, 7);
    cr_assert_eq(status.events_per_s, 2.5);
    cr_assert(isnan(status.watermark_lag_ms) && isnan(status.freshness_ms));
    cr_assert_str_eq(status.version, "-");
    cr_assert_eq(status.task[0].log_loss, .25);
    cr_assert_eq(status.task[0].constant, .5);
    cr_assert(isnan(status.task[1].log_loss));
}

Test(demo, status_that_is_not_one_is_an_error)
{
    struct base_error error = {0};
    struct daemon_demo_status status;
    cr_assert_eq(status_read("{\"events\": 7", &status, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert_eq(status_read("{\"events\": 7, \"tasks\": []}", &status, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert_eq(daemon_demo_status_read("/nonexistent", &status, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
}

// Waits of 3 s and 4 s; p = .5, q = .5.
Test(demo, truth_is_judged_on_the_samples_of_the_join)
{
    static const struct {
        bool clicked, purchased;
        int64_t click, purchase; // delays, ms
        double losses[DAEMON_DEMO_TASKS];
        double counts[DAEMON_DEMO_TASKS];
    } cases[] = {
        {false, false, 0, 0, {.5, .75}, {1, 1}},        // N0
        {true, false, 1000, 0, {.5, .75}, {1, 1}},      // C1, C1 with 0
        {true, true, 1000, 2000, {.5, .25}, {1, 1}},    // C1, C1 with 1
        {true, true, 1000, 6000, {.5, .1875}, {1, 2}},  // C1, C1 with 0, D2
        {true, false, 5000, 0, {.25, .75}, {2, 1}},     // N0, L
        {true, true, 5000, 2000, {.25, .1875}, {2, 2}}, // N0, L, C1 with 1
        {true, true, 5000, 6000, {.25, .1875}, {2, 2}}, // N0, L, D2
        {true, true, 3000, 4000, {.5, .25}, {1, 1}},    // both waits to the millisecond
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct daemon_market_impression impression = {.event_time = 100000,
                                                      .pctr = .5,
                                                      .pcvr = .5,
                                                      .clicked = cases[i].clicked,
                                                      .purchased = cases[i].purchased};
        impression.click_time = impression.event_time + cases[i].click;
        impression.purchase_time = impression.click_time + cases[i].purchase;
        struct daemon_demo_truth *truth = calloc(1, sizeof *truth);
        daemon_demo_truth_add(truth, &impression, 3000, 4000);
        for (int task = 0; task < DAEMON_DEMO_TASKS; task++) {
            double mean = -log(cases[i].losses[task]) / cases[i].counts[task];
            cr_assert_float_eq(daemon_demo_truth_loss(truth, task, 150000, 60), mean, 1e-12,
                               "case %zu, task %d", i, task);
            cr_assert(isnan(daemon_demo_truth_loss(truth, task, 100000, 60)), "nothing is due yet");
            cr_assert(isnan(daemon_demo_truth_loss(truth, task, 200000, 60)),
                      "all is more than a minute old");
        }
        free(truth);
    }
}

Test(demo, a_daemon_that_does_not_start_is_told_and_nothing_stays)
{
    static const char *const topics[] = {"impressions", "clicks", "purchases"};
    struct base_error error = {0};
    char path[SUPPORT_DIRECTORY_MAX];
    support_directory_make(path);
    setenv("TMPDIR", path, 1);
    cr_assert_null(daemon_demo_world_new("/bin/false", topics, &error));
    cr_assert_not_null(strstr(error.text, "freshetd ended at once"), "%s", error.text);
    cr_assert_null(daemon_demo_world_new("/nonexistent/freshetd", topics, &error));
    cr_assert_not_null(strstr(error.text, "No such file"), "%s", error.text);
    cr_assert_eq(rmdir(path), 0, "it is empty");
    setenv("TMPDIR", "/nonexistent", 1);
    cr_assert_null(daemon_demo_world_new("/bin/false", topics, &error));
    cr_assert_eq(error.code, BASE_EIO);
    daemon_demo_world_free(NULL);
}

static int generate(const char *first, const char *second, const char *third, const char *fourth)
{
    char *arguments[] = {(char *)(uintptr_t) "generate", (char *)(uintptr_t)first,  (char *)(uintptr_t)second,
                         (char *)(uintptr_t)third,       (char *)(uintptr_t)fourth, NULL};
    int count = 0;
    while (arguments[count]) {
        count++;
    }
    return daemon_command_generate(count, arguments);
}

Test(generate, wrong_usage_is_2_and_failure_1)
{
    cr_assert_eq(generate(NULL, NULL, NULL, NULL), 2);
    cr_assert_eq(generate("--files", "/tmp/x", "--lanes", "many"), 2);
    cr_assert_eq(generate("--files", "/tmp/x", "--jump", "1:2"), 2);
    cr_assert_eq(generate("--files", "/tmp/x", "--topics", "a,b"), 2);
    cr_assert_eq(generate("--files", "/tmp/x", "--framing", "none"), 2);
    cr_assert_eq(generate("--files", "/tmp/x", "-X", "nothing"), 2);
    cr_assert_eq(generate("--files", "/tmp/x", "--bootstrap", "127.0.0.1:1"), 2);
    cr_assert_eq(generate("--files", "/proc/none", "--impressions", "10"), 1);
    cr_assert_eq(generate("--files", "/tmp/x", "--lanes", "0"), 1);
    cr_assert_eq(generate("--help", NULL, NULL, NULL), 0);
}
