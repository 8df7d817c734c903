// Tests of the status file: every key that docs/STATUS.md lists and no other, rates, null for what is
// unknown.
#include "daemon/status.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support_directory.h"

static const char configuration[] =
    "state_dir: /tmp/unused\n"
    "source: {kind: files, path: /tmp/unused}\n"
    "tick: 500ms\n"
    "model: {name: shop, levels: [{experts: [16], per_task: 1, shared: 1}], towers: [16]}\n"
    "impression: {topic: i, framing: bare}\n"
    "actions: [{name: click, topic: c, framing: bare, wait: 1m, window: 2m}]\n"
    "slots: [{name: user, path: categorical.user, dimension: 16}]\n"
    "redis: {address: 'example:7001'}\n";

static struct daemon_config *config_make(void)
{
    struct base_config_problems problems = {0};
    struct daemon_config *config =
        daemon_config_load_text("c.yaml", base_span_string(configuration), &problems);
    cr_assert(config, "%s", problems.item[0].text);
    return config;
}

static struct daemon_pipeline_state state_make(void)
{
    struct daemon_pipeline_state state = {0};
    state.ingest.watermark = INT64_MIN;
    state.learner.tick = INT64_MIN;
    state.learner.tasks = 1;
    return state;
}

static json_t *status_of_source(const struct daemon_status_source *source,
                                const struct daemon_pipeline_state *before, struct daemon_status_times then,
                                const struct daemon_pipeline_state *now, struct daemon_status_times at)
{
    struct daemon_config *config = config_make();
    char *text = daemon_status_text(config, before, then, now, at, source);
    json_t *object = json_loads(text, 0, NULL);
    cr_assert(object, "%s", text);
    free(text);
    daemon_config_free(config);
    return object;
}

static json_t *status_json(const struct daemon_pipeline_state *before, struct daemon_status_times then,
                           const struct daemon_pipeline_state *now, struct daemon_status_times at)
{
    return status_of_source(NULL, before, then, now, at);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "%s", key);
    return json_number_value(value);
}

Test(daemon_status, numbers_and_rates)
{
    struct daemon_pipeline_state before = state_make(), now = state_make();
    before.ingest.counts.events = 100;
    before.learner.samples = 50;
    now.ingest =
        (struct consumer_ingest_state){.counts.events = 300, .counts.dead = 3, .lag = 7, .watermark = 900};
    now.ingest.counters.late[0] = 4;
    now.ingest.counters.joined[1] = 5;
    now.ingest.counters.not_kept = 6;
    now.learner.samples = 60;
    now.learner.minibatches = 9;
    now.learner.set_aside = 1;
    now.learner.tick = 12;
    now.learner.rows = 77;
    now.learner.total[0] = (struct trainer_evaluation){.events = 8, .positives = 2, .auc = NAN};
    now.outbox.last.version.epoch = 3;
    now.outbox.last.version.number = 9;
    now.outbox.last.rows = 11;
    now.outbox.last_tick = 12;
    now.outbox.last_wall_ms = 7000;
    now.outbox.publications = 2;
    json_t *object = status_json(&before, (struct daemon_status_times){1000000000, 0}, &now,
                                 (struct daemon_status_times){3000000000, 1000});
    static const struct {
        const char *key;
        double value;
    } rows[] = {
        {"time_ms", 1000},    {"events", 300},
        {"dead_letters", 3},  {"samples", 60},
        {"minibatches", 9},   {"set_aside", 1},
        {"lag", 7},           {"events_per_s", 100},
        {"samples_per_s", 5}, {"watermark_ms", 900},
        {"tick", 12},         {"watermark_lag_ms", 100},
        {"rows", 77},         {"freshness_ms", 500},
        {"publications", 2},  {"published_rows", 11},
        {"not_kept", 6},      {"publication_failures", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert_float_eq(number(object, rows[i].key), rows[i].value, 1e-9, "%s", rows[i].key);
    }
    cr_assert_str_eq(json_string_value(json_object_get(object, "version")), "3.9");
    cr_assert(json_is_null(json_object_get(object, "publication_error")));
    const json_t *topics = json_object_get(object, "topics");
    cr_assert_eq(number(json_object_get(topics, "impression"), "late"), 4);
    cr_assert_eq(number(json_object_get(topics, "click"), "joined"), 5);
    const json_t *task = json_array_get(json_object_get(object, "tasks_total"), 0);
    cr_assert_str_eq(json_string_value(json_object_get(task, "name")), "click");
    cr_assert_eq(number(task, "count"), 8);
    cr_assert(json_is_null(json_object_get(task, "auc")), "JSON has no NaN");
    json_decref(object);
}

// Tasks with values show them beside their probability, or instead of it.
Test(daemon_status, values_of_tasks)
{
    static const char text[] =
        "source: {kind: files, path: /tmp/unused}\n"
        "actions:\n"
        "  - {name: click, topic: c, wait: 1m, window: 2m}\n"
        "  - {name: purchase, topic: p, wait: 1m, window: 2m, loss: ziln, fields: {value: value}}\n"
        "  - {name: watch, topic: w, side: true, parent: click, wait: 1m, window: 2m, loss: mse, "
        "fields: {value: seconds}}\n"
        "slots: [{name: user, path: categorical.user}]\n";
    struct base_config_problems problems = {0};
    struct daemon_config *config = daemon_config_load_text("c.yaml", base_span_string(text), &problems);
    cr_assert(config, "%s", problems.item[0].text);
    struct daemon_pipeline_state state = state_make();
    state.learner.tasks = 3;
    state.learner.total[1].events = 9;
    state.learner.value_total[1] = (struct trainer_value_evaluation){9, 30, 1.5, 2.5, 0.75};
    state.learner.value_total[2] = (struct trainer_value_evaluation){4, 8, 0.5, NAN, 1.25};
    struct daemon_status_times times = {5, 5};
    char *json = daemon_status_text(config, &state, times, &state, times, NULL);
    json_t *object = json_loads(json, 0, NULL), *tasks = json_object_get(object, "tasks_total");
    cr_assert_null(json_object_get(json_array_get(tasks, 0), "value"));
    const json_t *purchase = json_array_get(tasks, 1), *watch = json_array_get(tasks, 2);
    cr_assert_eq(number(purchase, "count"), 9);
    const json_t *value = json_object_get(purchase, "value");
    cr_assert(number(value, "sum") == 30 && number(value, "deviance") == 1.5);
    cr_assert(number(value, "constant_deviance") == 2.5 && number(value, "calibration") == 0.75);
    cr_assert_null(json_object_get(watch, "auc"));
    value = json_object_get(watch, "value");
    cr_assert(number(value, "squared_error") == 0.5 &&
              json_is_null(json_object_get(value, "constant_squared_error")));
    json_decref(object);
    free(json);
    daemon_config_free(config);
}

Test(daemon_status, what_is_not_known_is_null)
{
    struct daemon_pipeline_state state = state_make();
    state.outbox.error = (struct base_error){.code = BASE_ENETWORK, .text = "no \"Redis\""};
    struct daemon_status_times times = {5, 5};
    json_t *object = status_json(&state, times, &state, times);
    static const char *const keys[] = {"watermark_ms", "watermark_lag_ms", "tick",          "version",
                                       "freshness_ms", "clipped_dense",    "clipped_sparse"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        cr_assert(json_is_null(json_object_get(object, keys[i])), "%s", keys[i]);
    }
    cr_assert_eq(number(object, "events_per_s"), 0, "no time has passed");
    cr_assert_str_eq(json_string_value(json_object_get(object, "publication_error")), "no \"Redis\"");
    json_decref(object);
}

Test(daemon_status, the_share_of_clipped_steps_and_what_crosses_left_out)
{
    struct base_config_problems problems = {0};
    struct daemon_config *config = daemon_config_load_text(
        "c.yaml",
        base_span_string(
            "{source: {kind: files, path: x}, slots: [{name: a, path: b}], model: {clip: {dense: 1}}}"),
        &problems);
    cr_assert_not_null(config, "%s", problems.item[0].text);
    struct daemon_pipeline_state state = state_make();
    struct daemon_status_times times = {5, 5};
    for (uint64_t steps = 0; steps <= 8; steps += 8) {
        state.learner.update = (struct trainer_update_figures){steps, steps / 4, steps / 2};
        state.learner.cut_crosses = 3 * steps;
        char *text = daemon_status_text(config, &state, times, &state, times, NULL);
        json_error_t error;
        json_t *object = json_loads(text, 0, &error);
        cr_assert_eq(number(object, "clipped_dense"), steps ? 0.25 : 0);
        cr_assert(json_is_null(json_object_get(object, "clipped_sparse")));
        cr_assert_eq(number(object, "cut_crosses"), 3 * (double)steps);
        json_decref(object);
        free(text);
    }
    daemon_config_free(config);
}

// The page's rows are "| `key`, `key` | text |".
Test(daemon_status, every_key_is_in_the_page)
{
    char page[16384];
    FILE *file = fopen(FRESHET_SOURCE_DIR "/docs/STATUS.md", "r");
    cr_assert_not_null(file);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    struct daemon_pipeline_state state = state_make();
    struct daemon_status_times times = {5, 5};
    const struct daemon_status_source source = {0};
    json_t *object = status_of_source(&source, &state, times, &state, times);
    const json_t *topic = json_object_get(json_object_get(object, "topics"), "click");
    const json_t *task = json_array_get(json_object_get(object, "tasks"), 0);
    const json_t *const objects[] = {object, topic, task, json_object_get(object, "source")};
    for (size_t i = 0; i < 4; i++) {
        const char *key;
        json_t *value;
        cr_assert_gt(json_object_size(objects[i]), 5);
        json_object_foreach((json_t *)(uintptr_t)objects[i], key, value)
        {
            char quoted[64];
            snprintf(quoted, sizeof quoted, "`%s`", key);
            cr_assert(strstr(page, quoted), "docs/STATUS.md lacks %s", quoted);
        }
    }
    json_decref(object);
}

Test(daemon_status, source)
{
    struct daemon_pipeline_state state = state_make();
    struct daemon_status_times times = {5, 5000};
    json_t *object = status_json(&state, times, &state, times);
    cr_assert(json_is_null(json_object_get(object, "source")), "a replay's");
    json_decref(object);

    struct daemon_status_source source = {0};
    object = status_of_source(&source, &state, times, &state, times);
    json_t *of_source = json_object_get(object, "source");
    static const char *const unknown[] = {"brokers", "brokers_up",  "received_per_s", "received_bytes_per_s",
                                          "error",   "error_age_ms"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        cr_assert(json_is_null(json_object_get(of_source, unknown[i])), "%s", unknown[i]);
    }
    json_decref(object);

    source = (struct daemon_status_source){.known = true,
                                           .brokers = 3,
                                           .brokers_up = 2,
                                           .messages_per_s = 1.5,
                                           .bytes_per_s = 99,
                                           .lag = {7, -1},
                                           .trouble = {.code = BASE_ENETWORK, .text = "no broker"},
                                           .trouble_ms = 4200};
    object = status_of_source(&source, &state, times, &state, times);
    of_source = json_object_get(object, "source");
    cr_assert_str_eq(json_string_value(json_object_get(of_source, "kind")), "files");
    cr_assert_eq(number(of_source, "brokers"), 3);
    cr_assert_eq(number(of_source, "brokers_up"), 2);
    cr_assert_eq(number(of_source, "received_per_s"), 1.5);
    cr_assert_eq(number(of_source, "received_bytes_per_s"), 99);
    cr_assert_eq(number(json_object_get(of_source, "unread"), "impression"), 7);
    cr_assert(json_is_null(json_object_get(json_object_get(of_source, "unread"), "click")));
    cr_assert_str_eq(json_string_value(json_object_get(of_source, "error")), "no broker");
    cr_assert_eq(number(of_source, "error_age_ms"), 800);
    json_decref(object);
}

Test(daemon_status, the_file_is_replaced_whole)
{
    char directory[SUPPORT_DIRECTORY_MAX], path[SUPPORT_DIRECTORY_MAX + 16], text[64];
    support_directory_make(directory);
    snprintf(path, sizeof path, "%s/status.json", directory);
    struct base_error error = {0};
    cr_assert_eq(daemon_status_write(directory, "{\"a\": 1, \"b\": 2}", &error), 0, "%s", error.text);
    cr_assert_eq(daemon_status_write(directory, "{}", &error), 0, "%s", error.text);
    FILE *file = fopen(path, "r");
    cr_assert(file && fgets(text, sizeof text, file));
    fclose(file);
    cr_assert_str_eq(text, "{}\n");
    snprintf(text, sizeof text, "%s", directory);
    support_directory_remove(directory);
    cr_assert_eq(daemon_status_write(directory, "{}", &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, text), "%s", error.text);
}
