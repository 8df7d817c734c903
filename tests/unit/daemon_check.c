// freshet check: its golden output, its errors, its exit statuses.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon_support.h"
#include "support_directory.h"

static struct support_outcome *run(const char *const *arguments)
{
    return support_command(daemon_command_check, "check", arguments);
}

#define RUN(...) run((const char *const[]){__VA_ARGS__, NULL})

static char *read_file(const char *path)
{
    char *text = calloc(1, DAEMON_SUPPORT_TEXT);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    text[fread(text, 1, DAEMON_SUPPORT_TEXT - 1, file)] = '\0';
    fclose(file);
    return text;
}

Test(check, golden_output)
{
    cr_assert_eq(chdir(FRESHET_SOURCE_DIR "/tests/golden"), 0);
    struct support_outcome *outcome =
        RUN("-c", "check.yaml", "--lanes", "4", "--rate", "2000", "--ctr", "0.1", "--cvr", "0.02");
    char *golden = read_file("check.txt");
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    cr_assert_str_eq(outcome->out, golden);
    cr_assert_str_eq(outcome->err,
                     "warning: check.yaml:16:18: slots[2].path: \"categorical.hour\" looks local in time "
                     "(hour): late positives make such a feature miscalibrated; docs/label-delay.md, "
                     "arrival aliasing\n");
    free(golden);
    free(outcome);
}

Test(check, the_example_is_good)
{
    struct support_outcome *outcome = RUN("-c", FRESHET_SOURCE_DIR "/ops/freshet.yaml", "--lanes", "4");
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    cr_assert_str_eq(outcome->err, "");
    free(outcome);
}

struct place {
    char directory[SUPPORT_DIRECTORY_MAX];
    char path[SUPPORT_DIRECTORY_MAX + 16];
};

static struct support_outcome *run_text(struct place *place, const char *text)
{
    support_directory_make(place->directory);
    snprintf(place->path, sizeof place->path, "%s/c.yaml", place->directory);
    FILE *file = fopen(place->path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
    struct support_outcome *outcome = RUN("-c", place->path);
    support_directory_remove(place->directory);
    return outcome;
}

// Layers, gates and towers of every body are counted: two actions, 32 inputs, one level of 64-32, tower 16.
Test(check, every_body_is_counted)
{
    const int inputs = 32, expert = inputs * 64 + 64 + 64 * 32 + 32, towers = 2 * (32 * 16 + 16 + 16 + 1);
    const struct {
        const char *name;
        int parameters, tensors;
    } bodies[] = {
        {"ple", 4 * expert + 2 * inputs * 3 + towers, 16 + 2 + 8},
        {"cgc", 4 * expert + 2 * inputs * 3 + towers, 16 + 2 + 8},
        {"ml_mmoe", 4 * expert + 2 * inputs * 4 + towers, 16 + 2 + 8},
        {"mmoe", 4 * expert + 2 * inputs * 4 + towers, 16 + 2 + 8},
        {"moe", 4 * expert + inputs * 4 + towers, 16 + 1 + 8},
        {"customized", 3 * expert + 2 * 32 * 16 + towers, 12 + 8},
        {"cross_stitch", 2 * expert + 2 * 4 + towers, 8 + 2 + 8},
        {"soft_l2", 2 * expert + towers, 8 + 8},
        {"shared_bottom", expert + towers, 4 + 8},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct place place;
        char text[512], line[64];
        snprintf(text, sizeof text,
                 "source: {kind: files, path: data}\nslots: [{name: brand, path: categorical.brand, "
                 "dimension: 32}]\n"
                 "model: {body: %s, levels: [{experts: [64, 32], per_task: 1, shared: 2}], towers: [16]}\n",
                 bodies[i].name);
        struct support_outcome *outcome = run_text(&place, text);
        cr_assert_eq(outcome->status, 0, "%s", outcome->err);
        snprintf(line, sizeof line, "model: default, %s of 1 levels, 2 tasks,", bodies[i].name);
        cr_expect(strstr(outcome->out, line), "%s: %s", line, outcome->out);
        snprintf(line, sizeof line, "dense: %d parameters in %d tensors", bodies[i].parameters,
                 bodies[i].tensors);
        cr_expect(strstr(outcome->out, line), "%s %s: %s", bodies[i].name, line, outcome->out);
        free(outcome);
    }
}

// Crosses and positions are named; the position is no part of the input's width.
Test(check, slots_made_of_slots_are_named)
{
    struct place place;
    struct support_outcome *outcome = run_text(
        &place, "source: {kind: files, path: data}\n"
                "slots:\n"
                "  - {name: brand, path: categorical.brand, dimension: 8}\n"
                "  - {name: price, path: numeric.price, dimension: 8, boundaries: [1, 10]}\n"
                "  - {name: pair, cross: [price, brand], dimension: 16}\n"
                "  - {name: place, path: position, role: position, serving: 1, serving_as: integer}\n"
                "  - {name: page, path: numeric.page, role: position, boundaries: [2]}\n");
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    cr_expect_str_eq(outcome->err, "");
    static const char *const said[] = {
        "features: 5 slots, 0 numeric inputs, 4 columns, input width 32\n",
        "dimension 16   sum pooling, admission 1, expiry 30d, cross of price x brand\n",
        "dimension 4    sum pooling, admission 1, expiry 30d, position, scored at one value\n",
        "expiry 30d, 2 buckets, position, scored without\n",
    };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        cr_expect(strstr(outcome->out, said[i]), "%s: %s", said[i], outcome->out);
    }
    free(outcome);
}

Test(check, every_error_is_told)
{
    struct place place;
    struct support_outcome *outcome =
        run_text(&place, "source: {kind: files}\nslots: [{name: clicked}]\nwat: 1\n");
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, "c.yaml:3:1: unknown setting \"wat\""), "%s", outcome->err);
    cr_assert(strstr(outcome->err, "source.path: must be given"));
    cr_assert(strstr(outcome->err, "is known only after the impression"));
    cr_assert(strstr(outcome->out, "c.yaml: bad, 3 errors, 0 warnings\n"));
    free(outcome);
}

Test(check, optimizers_and_the_memory_of_their_state)
{
    struct place place;
    struct support_outcome *outcome =
        run_text(&place, "source: {kind: files, path: x}\n"
                         "slots: [{name: user_id}, {name: brand, path: categorical.brand, optimizer: adam}]\n"
                         "model: {rows_max: 1_000_000, optimizer: {dense: {kind: adam}, sparse: {kind: "
                         "rowwise_adagrad}}, tensors: [{match: '*.bias', optimizer: sgd}]}\n");
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    cr_assert(strstr(outcome->out, "expiry 30d, rowwise_adagrad (4 B of state a row)\n"), "%s", outcome->out);
    cr_assert(strstr(outcome->out, "expiry 30d, adam (132 B of state a row)\n"));
    cr_assert(strstr(outcome->out, "  optimizer: adam, "));
    cr_assert(strstr(outcome->out, "rows of dimension 16 with 132 B of optimizer state: memory 254 MiB\n"),
              "%s", outcome->out);
    free(outcome);
    outcome = run_text(&place, "source: {kind: files, path: x}\nslots: [{name: user_id}]\n"
                               "model: {tensors: [{match: 'tower.*', rate: 1}]}\n");
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, "model: tensors \"tower.*\": there is none of that name"), "%s",
              outcome->err);
    free(outcome);
}

Test(check, more_problems_than_are_kept)
{
    char text[4096];
    size_t used = (size_t)snprintf(text, sizeof text, "source: {kind: files, path: x}\nslots: [");
    for (int i = 0; i < 100; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "{x: 1},");
    }
    snprintf(text + used, sizeof text - used, "]\n");
    struct place place;
    struct support_outcome *outcome = run_text(&place, text);
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, "and 136 more\n"), "%s", outcome->err);
    free(outcome);
}

Test(check, paths_that_the_schema_does_not_know)
{
    struct place place;
    struct support_outcome *outcome = run_text(
        &place, "source: {kind: files, path: x}\nslots: [{name: nosuch}]\n"
                "actions: [{name: click, topic: clicks, wait: 1m, window: 1m, fields: {value: none}}]\n");
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, "error: impression: "), "%s", outcome->err);
    cr_assert(strstr(outcome->err, "\"nosuch\""));
    cr_assert(strstr(outcome->err, "error: click: "));
    cr_assert(strstr(outcome->out, "bad, 2 errors"));
    free(outcome);
}

Test(check, a_source_that_does_not_answer_is_said)
{
    struct place place;
    struct support_outcome *outcome =
        run_text(&place, "source: {kind: kafka, bootstrap: '127.0.0.1:1', timeout: 300ms}\n"
                         "registry: {url: 'http://127.0.0.1:1'}\nslots: [{name: user_id}]\n");
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    cr_assert(strstr(outcome->out, "source: kafka 127.0.0.1:1\n  lanes: unknown, 1 is assumed below ("), "%s",
              outcome->out);
    cr_assert(strstr(outcome->out, "fetched ahead, at most"));
    free(outcome);
}

Test(check, what_does_not_fit_is_said)
{
    struct place place;
    struct support_outcome *outcome =
        run_text(&place, "source: {kind: files, path: x}\nslots: [{name: user_id, dimension: 256}]\n"
                         "actions: [{name: click, topic: c, wait: 1m, window: 400d},\n"
                         "  {name: purchase, topic: p, wait: 1m, window: 400d}]\n"
                         "state_dir: /nowhere/at/all\nmodel: {rows_max: 2_000_000_000}\norphan_max: 5\n");
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    cr_assert(strstr(outcome->out, "of memory may be needed, this machine has"), "%s", outcome->out);
    cr_assert(strstr(outcome->out, "of disk will be needed, / has"));
    cr_assert(strstr(outcome->out, "           5 if every action waited in vain"), "%s", outcome->out);
    free(outcome);
}

Test(check, files_are_asked_for_their_lanes)
{
    struct place place;
    struct support_outcome *outcome =
        run_text(&place, "source: {kind: files, path: nowhere}\nslots: [{name: user_id}]\n");
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    cr_assert(strstr(outcome->out, "lanes: unknown"), "%s", outcome->out);
    free(outcome);
}

Test(check, a_file_that_is_not_there)
{
    struct support_outcome *outcome = RUN("--config", "/nowhere/c.yaml");
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, "error: "));
    cr_assert(strstr(outcome->err, "cannot open /nowhere/c.yaml"));
    free(outcome);
}

Test(check, the_reference_page_is_printed)
{
    struct support_outcome *outcome = RUN("--reference");
    char *page = read_file(FRESHET_SOURCE_DIR "/docs/CONFIGURATION.md");
    cr_assert_eq(outcome->status, 0);
    cr_assert_str_eq(outcome->out, page);
    free(page);
    free(outcome);
}

static void wrong(struct support_outcome *outcome)
{
    cr_assert_eq(outcome->status, 2);
    cr_assert(strstr(outcome->err, "usage: freshet check"));
    cr_assert_str_eq(outcome->out, "");
    free(outcome);
}

Test(check, wrong_usage)
{
    wrong(run((const char *const[]){NULL}));
    wrong(RUN("-c"));
    wrong(RUN("-c", "x", "more"));
    wrong(RUN("-x"));
    wrong(RUN("--reference", "-c", "x"));
    wrong(RUN("-c", "x", "--rate", "-1"));
    wrong(RUN("-c", "x", "--rate", "fast"));
    wrong(RUN("-c", "x", "--ctr", "1.1"));
    wrong(RUN("-c", "x", "--cvr", "-0.1"));
    wrong(RUN("-c", "x", "--lanes", "0"));
    wrong(RUN("-c", "x", "--lanes", "4097"));
}
