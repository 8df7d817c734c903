// The configuration table: every type, every refusal with its place, secrets, marks, the canonical text and
// the reference page.
#include "base/config.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support_directory.h"

// --- A table with one row a type ---

struct leaf {
    const char *name;
    uint64_t weight;
    struct base_config_uints widths;
};

struct tree {
    double depth;
    const char *must;
};

struct sample {
    bool yes;
    int64_t offset;
    uint64_t count;
    double ratio;
    const char *title;
    const char *directory;
    int colour;
    int64_t wait;
    int64_t absent_wait;
    uint64_t memory;
    struct base_config_strings names;
    struct base_config_uints widths;
    struct base_config_reals bounds;
    struct base_config_map properties;
    struct base_config_records leaves;
    struct tree tree;
    const char *password;
    double absent_ratio;
    int absent_colour;
};

static const char *const colours[] = {"red", "green", "blue", NULL};

static const struct base_config_row leaf_rows[] = {
    {.name = "name",
     .type = BASE_CONFIG_STRING,
     .offset = offsetof(struct leaf, name),
     .flags = BASE_CONFIG_REQUIRED,
     .description = "A leaf's name."},
    {.name = "weight",
     .type = BASE_CONFIG_UINT,
     .offset = offsetof(struct leaf, weight),
     .fallback = "3",
     .max = 10,
     .description = "Its weight."},
    {.name = "widths",
     .type = BASE_CONFIG_UINTS,
     .offset = offsetof(struct leaf, widths),
     .fallback = "[]",
     .description = "Widths."},
};
static const struct base_config_table leaf_table = {"A leaf.", sizeof(struct leaf), leaf_rows, 3};

static const struct base_config_row tree_rows[] = {
    {.name = "depth",
     .type = BASE_CONFIG_REAL,
     .offset = offsetof(struct tree, depth),
     .fallback = "0.5",
     .min = 0.25,
     .max = 4,
     .description = "Depth."},
    {.name = "must",
     .type = BASE_CONFIG_STRING,
     .offset = offsetof(struct tree, must),
     .flags = BASE_CONFIG_REQUIRED,
     .description = "it is needed"},
};
static const struct base_config_table tree_table = {"A tree.", sizeof(struct tree), tree_rows, 2};

#define ROW(field, kind, ...)                                                   \
    {                                                                           \
        .name = #field, .type = kind, .offset = offsetof(struct sample, field), \
        .description = "The " #field ".", __VA_ARGS__                           \
    }

static const struct base_config_row rows[] = {
    ROW(yes, BASE_CONFIG_BOOL, .fallback = "true"),
    ROW(offset, BASE_CONFIG_INT, .fallback = "-2", .min = -5, .max = 5),
    ROW(count, BASE_CONFIG_UINT, .fallback = "1_000"),
    ROW(ratio, BASE_CONFIG_REAL, .fallback = "0.125", .min = 0.001, .max = 1),
    ROW(title, BASE_CONFIG_STRING, .fallback = "no title"),
    ROW(directory, BASE_CONFIG_PATH, .fallback = "/var/x"),
    ROW(colour, BASE_CONFIG_ENUM, .fallback = "green", .choices = colours),
    ROW(wait, BASE_CONFIG_DURATION, .fallback = "1h30m", .min = 1000, .max = 86400000),
    ROW(absent_wait, BASE_CONFIG_DURATION),
    ROW(memory, BASE_CONFIG_BYTES, .fallback = "128MiB", .min = 4096, .max = 1099511627776.0),
    ROW(names, BASE_CONFIG_STRINGS, .fallback = "[a, b]"),
    ROW(widths, BASE_CONFIG_UINTS, .fallback = "[16, 32]", .min = 1, .max = 64, .items_min = 1),
    ROW(bounds, BASE_CONFIG_REALS, .fallback = "[]"),
    ROW(properties, BASE_CONFIG_MAP, .fallback = "{}", .flags = BASE_CONFIG_OPERATIONAL),
    ROW(leaves, BASE_CONFIG_RECORDS, .fallback = "[{name: oak}]", .table = &leaf_table),
    ROW(tree, BASE_CONFIG_RECORD, .table = &tree_table),
    ROW(password, BASE_CONFIG_STRING, .flags = BASE_CONFIG_SECRET),
    ROW(absent_ratio, BASE_CONFIG_REAL),
    ROW(absent_colour, BASE_CONFIG_ENUM, .choices = colours),
};
static const struct base_config_table table = {"# Sample", sizeof(struct sample), rows,
                                               sizeof rows / sizeof *rows};

struct fixture {
    struct base_config *config;
    struct base_config_problems problems;
    struct sample sample;
    int status;
};

static struct fixture *fixture_read(const char *text)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->config = base_config_new();
    fixture->status = base_config_read(fixture->config, &table, "f.yaml", base_span_string(text),
                                       &fixture->sample, &fixture->problems);
    return fixture;
}

static void fixture_free(struct fixture *fixture)
{
    base_config_free(fixture->config);
    free(fixture);
}

// A text with tree.must given, so that only the error under test appears.
#define MUST "tree: {must: x}\n"

// Reads `text` and asserts that it has exactly this one error.
static void one_error(const char *text, const char *expected)
{
    struct fixture *fixture = fixture_read(text);
    cr_assert_eq(fixture->status, -1, "no error in: %s", text);
    cr_assert_eq(fixture->problems.errors, 1, "%u errors in: %s (%s; %s)", fixture->problems.errors, text,
                 fixture->problems.item[0].text, fixture->problems.item[1].text);
    cr_assert_str_eq(fixture->problems.item[0].text, expected);
    fixture_free(fixture);
}

static void good(const char *text)
{
    struct fixture *fixture = fixture_read(text);
    cr_assert_eq(fixture->status, 0, "%s", fixture->problems.item[0].text);
    fixture_free(fixture);
}

// --- Values ---

Test(config, defaults_of_every_type)
{
    struct fixture *fixture = fixture_read(MUST);
    const struct sample *sample = &fixture->sample;
    cr_assert_eq(fixture->status, 0, "%s", fixture->problems.item[0].text);
    cr_assert_eq(fixture->problems.count, 0);
    cr_assert(sample->yes);
    cr_assert_eq(sample->offset, -2);
    cr_assert_eq(sample->count, 1000);
    cr_assert_eq(sample->ratio, 0.125);
    cr_assert_str_eq(sample->title, "no title");
    cr_assert_str_eq(sample->directory, "/var/x");
    cr_assert_eq(sample->colour, 1);
    cr_assert_eq(sample->wait, 5400000);
    cr_assert_eq(sample->absent_wait, -1);
    cr_assert_eq(sample->memory, 128u << 20);
    cr_assert_eq(sample->names.count, 2);
    cr_assert_str_eq(sample->names.item[1], "b");
    cr_assert_eq(sample->widths.item[1], 32);
    cr_assert_eq(sample->bounds.count, 0);
    cr_assert_eq(sample->properties.count, 0);
    cr_assert_eq(sample->leaves.count, 1);
    const struct leaf *leaf = sample->leaves.item;
    cr_assert_str_eq(leaf->name, "oak");
    cr_assert_eq(leaf->weight, 3);
    cr_assert_eq(sample->tree.depth, 0.5);
    cr_assert_null(sample->password);
    cr_assert(isnan(sample->absent_ratio));
    cr_assert_eq(sample->absent_colour, -1);
    fixture_free(fixture);
}

Test(config, values_of_every_type)
{
    struct fixture *fixture =
        fixture_read("yes: false\noffset: 5\ncount: 18446744073709551615\nratio: 1e-3\n"
                     "title: 'it''s'\ndirectory: /abs\ncolour: blue\nwait: 2s\n"
                     "absent_wait: 0\nmemory: 1GB\nnames: ['12', x y]\nwidths: [64]\n"
                     "bounds: [-1.5, 2]\nproperties: {a.b: 'c', d: 7}\n"
                     "leaves:\n  - name: elm\n    widths: [1, 2]\n  - {name: fir, weight: 10}\n"
                     "tree:\n  must: y\n  depth: 4\nabsent_ratio: -0.5\nabsent_colour: red\n");
    const struct sample *sample = &fixture->sample;
    cr_assert_eq(fixture->status, 0, "%s", fixture->problems.item[0].text);
    cr_assert_not(sample->yes);
    cr_assert_eq(sample->offset, 5);
    cr_assert_eq(sample->count, UINT64_MAX);
    cr_assert_eq(sample->ratio, 0.001);
    cr_assert_str_eq(sample->title, "it's");
    cr_assert_str_eq(sample->directory, "/abs");
    cr_assert_eq(sample->colour, 2);
    cr_assert_eq(sample->wait, 2000);
    cr_assert_eq(sample->absent_wait, 0);
    cr_assert_eq(sample->memory, 1000000000);
    cr_assert_str_eq(sample->names.item[0], "12");
    cr_assert_eq(sample->widths.count, 1);
    cr_assert_eq(sample->bounds.item[0], -1.5);
    cr_assert_str_eq(sample->properties.name[0], "a.b");
    cr_assert_str_eq(sample->properties.value[1], "7");
    const struct leaf *leaf = sample->leaves.item;
    cr_assert_eq(sample->leaves.count, 2);
    cr_assert_eq(leaf[0].widths.count, 2);
    cr_assert_eq(leaf[0].weight, 3, "a record's own default");
    cr_assert_eq(leaf[1].weight, 10);
    cr_assert_eq(sample->tree.depth, 4);
    cr_assert_eq(sample->absent_ratio, -0.5);
    cr_assert_eq(sample->absent_colour, 0);
    fixture_free(fixture);
}

Test(config, texts_may_look_like_anything)
{
    struct fixture *fixture = fixture_read(MUST "title: 007\n");
    cr_assert_str_eq(fixture->sample.title, "007");
    fixture_free(fixture);
    good(MUST "title: yes\n");
    good(MUST "title: ''\n");
    good(MUST "title: 'null'\n");
}

Test(config, empty_texts_are_all_defaults)
{
    one_error("", "f.yaml:1:1: tree.must: must be given: it is needed");
    one_error("# nothing\n", "f.yaml:1:1: tree.must: must be given: it is needed");
    one_error("yes: true\n", "f.yaml:1:1: tree.must: must be given: it is needed");
    one_error("tree: {}\n", "f.yaml:1:7: tree.must: must be given: it is needed");
}

// --- Refusals ---

Test(config, unknown_settings_are_refused_with_a_guess)
{
    one_error(MUST "colur: red\n", "f.yaml:2:1: unknown setting \"colur\" (did you mean \"colour\"?)");
    one_error(MUST "zzzzzz: red\n", "f.yaml:2:1: unknown setting \"zzzzzz\"");
    one_error("tree: {must: x, detph: 1}\n",
              "f.yaml:1:17: tree: unknown setting \"detph\" (did you mean \"depth\"?)");
    one_error(MUST "leaves: [{name: a}, {name: b, wieght: 1}]\n",
              "f.yaml:2:31: leaves[1]: unknown setting \"wieght\" (did you mean \"weight\"?)");
    one_error(MUST "title_file: x\n", "f.yaml:2:1: unknown setting \"title_file\"");
}

Test(config, doubles_are_refused)
{
    one_error(MUST "yes: true\nyes: false\n", "f.yaml:3:1: yes: is given twice");
    one_error(MUST "properties: {a: b, a: c}\n", "f.yaml:2:20: properties: \"a\" is given twice");
    one_error(MUST "tree: {must: x}\n", "f.yaml:2:1: tree: is given twice");
    struct fixture *fixture = fixture_read(MUST "password: x\npassword_file: /none\n");
    cr_assert_eq(fixture->problems.errors, 1);
    cr_assert_str_eq(fixture->problems.item[1].text, "f.yaml:3:1: password_file: is given twice");
    fixture_free(fixture);
}

Test(config, wrong_kinds_are_refused)
{
    one_error(MUST "yes: [true]\n", "f.yaml:2:6: yes: expected true or false, found a list");
    one_error(MUST "yes: maybe\n", "f.yaml:2:6: yes: expected true or false, found \"maybe\"");
    one_error(MUST "yes: 'true'\n", "f.yaml:2:6: yes: expected true or false, found a quoted text");
    one_error(MUST "count: -1\n", "f.yaml:2:8: count: expected a whole number, found \"-1\"");
    one_error(MUST "count: 18446744073709551616\n",
              "f.yaml:2:8: count: expected a whole number, found \"18446744073709551616\"");
    one_error(MUST "offset: 1.5\n", "f.yaml:2:9: offset: expected an integer, found \"1.5\"");
    one_error(MUST "ratio: inf\n", "f.yaml:2:8: ratio: expected a number, found \"inf\"");
    one_error(MUST "wait: 5\n",
              "f.yaml:2:7: wait: expected a duration (500ms, 2s, 10m, 1h30m, 7d), found \"5\"");
    one_error(MUST "memory: 5 MiB\n",
              "f.yaml:2:9: memory: expected a size (4096, 128MiB, 1GB), found \"5 MiB\"");
    one_error(MUST "title: {a: b}\n", "f.yaml:2:8: title: expected a text, found a mapping");
    one_error(MUST "title:\n", "f.yaml:2:7: title: has no value; expected a text");
    one_error(MUST "title: ~\n", "f.yaml:2:8: title: has no value; expected a text");
    one_error(MUST "title: null\n", "f.yaml:2:8: title: has no value; expected a text");
    one_error(MUST "title: \"a\\0b\"\n", "f.yaml:2:8: title: a NUL byte in the text");
    one_error(MUST "directory: [a]\n", "f.yaml:2:12: directory: expected a path, found a list");
    one_error(MUST "names: a\n", "f.yaml:2:8: names: expected a list of texts, found a single value");
    one_error(MUST "names: [[a]]\n", "f.yaml:2:9: names[0]: expected a text, found a list");
    one_error(MUST "properties: [a]\n",
              "f.yaml:2:13: properties: expected a mapping of names to texts, found a list");
    one_error(MUST "properties: {a: [b]}\n", "f.yaml:2:17: properties.a: expected a text, found a list");
    one_error(MUST "properties: {[a]: b}\n", "f.yaml:2:14: properties: expected a name, found a list");
    one_error(MUST "leaves: {name: a}\n", "f.yaml:2:9: leaves: expected a list of mappings, found a mapping");
    one_error(MUST "leaves: [a]\n", "f.yaml:2:10: leaves[0]: expected a mapping, found a single value");
    one_error("tree: [a]\n", "f.yaml:1:7: tree: expected a mapping, found a list");
    one_error("- a\n", "f.yaml:1:1: expected a mapping, found a list");
    one_error(MUST "[a]: b\n", "f.yaml:2:1: expected a setting's name, found a list");
    one_error(MUST "colour: gren\n",
              "f.yaml:2:9: colour: \"gren\" is not one of: red, green, blue (did you mean \"green\"?)");
    one_error(MUST "colour: orange-like\n",
              "f.yaml:2:9: colour: \"orange-like\" is not one of: red, green, blue");
    one_error(MUST "colour: [red]\n", "f.yaml:2:9: colour: expected one of its choices, found a list");
}

Test(config, bounds_are_inclusive)
{
    good(MUST "offset: -5\nratio: 0.001\nwait: 1s\nmemory: 4096\nwidths: [1, 64]\n");
    good(MUST "offset: 5\nratio: 1\nwait: 1d\nmemory: 1TB\n");
    one_error(MUST "offset: 6\n", "f.yaml:2:9: offset: 6 is out of bounds: -5 to 5");
    one_error(MUST "offset: -6\n", "f.yaml:2:9: offset: -6 is out of bounds: -5 to 5");
    one_error(MUST "ratio: 1.5\n", "f.yaml:2:8: ratio: 1.5 is out of bounds: 0.001 to 1");
    one_error(MUST "wait: 999ms\n", "f.yaml:2:7: wait: 999ms is out of bounds: 1s to 1d");
    one_error(MUST "memory: 4KiB\nwidths: [1, 65]\n", "f.yaml:3:13: widths[1]: 65 is out of bounds: 1 to 64");
    one_error(MUST "memory: 4095\n", "f.yaml:2:9: memory: 4095 is out of bounds: 4KiB to 1TiB");
    one_error(MUST "widths: []\n", "f.yaml:2:9: widths: 0 items; from 1 to 4096 are allowed");
}

Test(config, every_error_in_one_run)
{
    struct fixture *fixture =
        fixture_read("yes: 1\ncount: x\nwat: 3\nleaves:\n  - weight: 11\n  - {name: [a]}\n"
                     "widths: [0, a]\n");
    static const char *const expected[] = {
        "f.yaml:1:6: yes: expected true or false, found \"1\"",
        "f.yaml:2:8: count: expected a whole number, found \"x\"",
        "f.yaml:3:1: unknown setting \"wat\" (did you mean \"wait\"?)",
        "f.yaml:5:13: leaves[0].weight: 11 is out of bounds: 0 to 10",
        "f.yaml:5:5: leaves[0].name: must be given: A leaf's name.",
        "f.yaml:6:12: leaves[1].name: expected a text, found a list",
        "f.yaml:7:10: widths[0]: 0 is out of bounds: 1 to 64",
        "f.yaml:7:13: widths[1]: expected a whole number, found \"a\"",
        "f.yaml:1:1: tree.must: must be given: it is needed",
    };
    cr_assert_eq(fixture->problems.errors, sizeof expected / sizeof *expected);
    for (uint32_t i = 0; i < fixture->problems.count; i++) {
        cr_assert_str_eq(fixture->problems.item[i].text, expected[i]);
        cr_assert_not(fixture->problems.item[i].warning);
    }
    // What was refused has its default.
    cr_assert(fixture->sample.yes);
    cr_assert_eq(fixture->sample.count, 1000);
    cr_assert_eq(fixture->sample.widths.count, 2);
    cr_assert_eq(((const struct leaf *)fixture->sample.leaves.item)[0].weight, 3);
    fixture_free(fixture);
}

Test(config, problems_beyond_the_list_are_counted)
{
    struct base_buffer text = {0};
    base_buffer_append(&text, "widths: [", 9);
    for (int i = 0; i < 100; i++) {
        base_buffer_append(&text, "x,", 2);
    }
    base_buffer_append(&text, "]\n" MUST "\0", 2 + sizeof MUST);
    struct fixture *fixture = fixture_read((const char *)text.data);
    cr_assert_eq(fixture->problems.errors, 100);
    cr_assert_eq(fixture->problems.count, BASE_CONFIG_PROBLEMS_MAX);
    fixture_free(fixture);
    base_buffer_free(&text);
}

Test(config, what_is_not_yaml_is_refused_with_its_place)
{
    struct fixture *fixture = fixture_read("yes: true\ncount: [1\n");
    cr_assert_eq(fixture->problems.errors, 1);
    cr_assert_eq(strncmp(fixture->problems.item[0].text, "f.yaml:3:1: not YAML: ", 22), 0, "%s",
                 fixture->problems.item[0].text);
    cr_assert_eq(fixture->sample.count, 1000, "defaults all the same");
    fixture_free(fixture);

    fixture = fixture_read("yes: \xff\xfe\n");
    cr_assert_eq(fixture->problems.errors, 1);
    cr_assert(strstr(fixture->problems.item[0].text, "not YAML: "));
    fixture_free(fixture);
}

Test(config, one_document_without_aliases_and_tags)
{
    one_error(MUST "---\nyes: true\n", "f.yaml:3:1: a second document");
    one_error(MUST "names: [&a x, *a]\n", "f.yaml:2:9: names[1]: aliases are not supported");
    one_error(MUST "leaves: &l [{name: a}]\nproperties: {a: *l}\n",
              "f.yaml:2:9: properties.a: aliases are not supported");
    one_error(MUST "title: !!str x\nyes: !!bool true\n", "f.yaml:3:6: yes: tags are not supported");
    one_error(MUST "names: !mine [a]\n", "f.yaml:2:8: names: tags are not supported");
    struct fixture *fixture = fixture_read(MUST "---\n[\n");
    cr_assert_eq(fixture->problems.errors, 1);
    cr_assert(strstr(fixture->problems.item[0].text, "not YAML"));
    fixture_free(fixture);
}

Test(config, too_many_items_and_bytes)
{
    struct base_buffer text = {0};
    base_buffer_append(&text, "names: [", 8);
    for (int i = 0; i <= BASE_CONFIG_ITEMS_MAX; i++) {
        base_buffer_append(&text, "x,", 2);
    }
    base_buffer_append(&text, "]\n" MUST "\0", 2 + sizeof MUST);
    one_error((const char *)text.data, "f.yaml:1:8: names: 4097 items; from 0 to 4096 are allowed");

    base_buffer_clear(&text);
    base_buffer_append(&text, MUST "properties: {", sizeof MUST - 1 + 13);
    for (int i = 0; i <= BASE_CONFIG_ITEMS_MAX; i++) {
        char entry[16];
        int size = snprintf(entry, sizeof entry, "k%d: v, ", i);
        base_buffer_append(&text, entry, (size_t)size);
    }
    base_buffer_append(&text, "}\n\0", 3);
    one_error((const char *)text.data, "f.yaml:2:13: properties: 4097 entries; at most 4096 are allowed");

    base_buffer_clear(&text);
    base_buffer_append(&text, "#", 1);
    for (int i = 0; i < BASE_CONFIG_FILE_MAX; i++) {
        base_buffer_u8(&text, 'x');
    }
    base_buffer_u8(&text, 0);
    one_error((const char *)text.data, "f.yaml:1:1: larger than 1048576 bytes");
    base_buffer_free(&text);
}

// --- Files and secrets ---

static void write_file(const char *path, const char *text, size_t size, mode_t mode)
{
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(text, 1, size, file), size);
    fclose(file);
    chmod(path, mode);
}

struct files {
    char directory[SUPPORT_DIRECTORY_MAX];
    char config[SUPPORT_DIRECTORY_MAX + 32];
    char secret[SUPPORT_DIRECTORY_MAX + 32];
};

static struct fixture *files_read(const struct files *files, const char *text)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->config = base_config_new();
    fixture->status = base_config_read(fixture->config, &table, files->config, base_span_string(text),
                                       &fixture->sample, &fixture->problems);
    return fixture;
}

static void files_make(struct files *files)
{
    support_directory_make(files->directory);
    snprintf(files->config, sizeof files->config, "%s/c.yaml", files->directory);
    snprintf(files->secret, sizeof files->secret, "%s/secret", files->directory);
}

Test(config, relative_paths_count_from_the_file)
{
    struct files files;
    files_make(&files);
    struct fixture *fixture = files_read(&files, MUST "directory: sub/dir\n");
    char expected[SUPPORT_DIRECTORY_MAX + 32];
    snprintf(expected, sizeof expected, "%s/sub/dir", files.directory);
    cr_assert_str_eq(fixture->sample.directory, expected);
    fixture_free(fixture);
    fixture = fixture_read(MUST "directory: sub/dir\n");
    cr_assert_str_eq(fixture->sample.directory, "sub/dir", "a file without a directory");
    fixture_free(fixture);
    fixture = files_read(&files, MUST "directory: ''\n");
    cr_assert_str_eq(fixture->sample.directory, "");
    fixture_free(fixture);
    support_directory_remove(files.directory);
}

Test(config, a_secret_comes_from_its_file)
{
    struct files files;
    files_make(&files);
    write_file(files.secret, "open sesame\r\nsecond line\n", 25, 0600);
    struct fixture *fixture = files_read(&files, MUST "password_file: secret\n");
    cr_assert_eq(fixture->status, 0, "%s", fixture->problems.item[0].text);
    cr_assert_eq(fixture->problems.count, 0);
    cr_assert_str_eq(fixture->sample.password, "open sesame");
    cr_assert(base_config_given(fixture->config, &fixture->sample.password));
    fixture_free(fixture);

    write_file(files.secret, "x", 1, 0644);
    fixture = files_read(&files, MUST "password_file: secret\n");
    cr_assert_eq(fixture->status, 0);
    cr_assert_eq(fixture->problems.warnings, 1);
    cr_assert(strstr(fixture->problems.item[0].text, "can be read by everybody"));
    cr_assert_str_eq(fixture->sample.password, "x");
    fixture_free(fixture);
    support_directory_remove(files.directory);
}

Test(config, an_inline_secret_is_warned_of)
{
    struct fixture *fixture = fixture_read(MUST "password: abc\n");
    cr_assert_eq(fixture->status, 0);
    cr_assert_eq(fixture->problems.warnings, 1);
    cr_assert_str_eq(fixture->problems.item[0].text,
                     "f.yaml:2:11: password: the secret stands in the file; use password_file");
    cr_assert(fixture->problems.item[0].warning);
    cr_assert_str_eq(fixture->sample.password, "abc");
    fixture_free(fixture);
}

static void secret_error(const struct files *files, const char *expected)
{
    struct fixture *fixture = files_read(files, MUST "password_file: secret\n");
    cr_assert_eq(fixture->problems.errors, 1);
    cr_assert(strstr(fixture->problems.item[0].text, expected), "%s", fixture->problems.item[0].text);
    cr_assert(strstr(fixture->problems.item[0].text, "c.yaml:2:16: password_file: "));
    cr_assert_null(fixture->sample.password);
    cr_assert(base_config_refused(fixture->config, &fixture->sample.password));
    fixture_free(fixture);
}

Test(config, secrets_that_cannot_be_read)
{
    struct files files;
    files_make(&files);
    secret_error(&files, "No such file or directory");
    write_file(files.secret, "\nx", 2, 0600);
    secret_error(&files, "the first line is empty");
    write_file(files.secret, "a\0b", 3, 0600);
    secret_error(&files, "holds a NUL byte");
    char large[BASE_CONFIG_SECRET_MAX + 1];
    memset(large, 'x', sizeof large);
    write_file(files.secret, large, sizeof large, 0600);
    secret_error(&files, "is larger than 4096 bytes");
    unlink(files.secret);
    cr_assert_eq(mkfifo(files.secret, 0600), 0);
    secret_error(&files, "is not a file");
    unlink(files.secret);
    struct fixture *fixture = files_read(&files, MUST "password_file: [a]\n");
    cr_assert_eq(fixture->problems.errors, 1);
    fixture_free(fixture);
    support_directory_remove(files.directory);
}

Test(config, files_are_read_whole)
{
    struct files files;
    files_make(&files);
    struct base_config *config = base_config_new();
    struct base_error why;
    write_file(files.config, "a: b\n", 5, 0600);
    cr_assert_str_eq(base_config_file(config, files.config, 5, &why), "a: b\n");
    cr_assert_null(base_config_file(config, files.config, 4, &why));
    cr_assert_eq(why.code, BASE_ELIMIT);
    cr_assert_null(base_config_file(config, "/nowhere/c.yaml", 5, &why));
    cr_assert_eq(why.code, BASE_ENOTFOUND);
    cr_assert_str_eq(why.text, "cannot open /nowhere/c.yaml: No such file or directory");
    cr_assert_null(base_config_file(config, files.directory, 5, &why));
    cr_assert_eq(why.code, BASE_EINVAL);
    base_config_free(config);
    base_config_free(NULL);
    support_directory_remove(files.directory);
}

// --- Marks and the caller's own problems ---

Test(config, the_callers_problems_have_their_places)
{
    struct fixture *fixture = fixture_read("tree:\n  must: x\nwait: 3s\ncount: x\nleaves:\n  - name: a\n");
    struct base_config_problems problems = {0};
    const struct sample *sample = &fixture->sample;
    const struct leaf *leaf = sample->leaves.item;
    base_config_problem(&problems, fixture->config, false, &sample->wait, "too long for %s", "it");
    base_config_problem(&problems, fixture->config, true, &sample->tree.depth, "a default");
    base_config_problem(&problems, fixture->config, false, &leaf->weight, "in a list");
    base_config_problem(&problems, fixture->config, false, &sample->count, "its own value was refused");
    base_config_problem(&problems, fixture->config, false, NULL, "of the whole file");
    base_config_problem(&problems, fixture->config, false, &problems, "a field that was never read");
    cr_assert_eq(problems.count, 5);
    cr_assert_eq(problems.warnings, 1);
    cr_assert_eq(problems.errors, 4);
    cr_assert_str_eq(problems.item[0].text, "f.yaml:3:1: wait: too long for it");
    cr_assert_str_eq(problems.item[1].text, "f.yaml:2:3: tree.depth: a default");
    cr_assert(problems.item[1].warning);
    cr_assert_str_eq(problems.item[2].text, "f.yaml:6:5: leaves[0].weight: in a list");
    cr_assert_str_eq(problems.item[3].text, "f.yaml: of the whole file");
    cr_assert_str_eq(problems.item[4].text, "f.yaml: a field that was never read");
    cr_assert(base_config_given(fixture->config, &sample->wait));
    cr_assert_not(base_config_given(fixture->config, &sample->ratio));
    cr_assert_not(base_config_given(fixture->config, &sample->count));
    cr_assert_not(base_config_given(fixture->config, &problems));
    cr_assert(base_config_refused(fixture->config, &sample->count));
    cr_assert_not(base_config_refused(fixture->config, &sample->wait));
    fixture_free(fixture);
}

Test(config, long_texts_are_cut)
{
    char name[BASE_CONFIG_PROBLEM_TEXT * 2], text[2 * sizeof name];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    snprintf(text, sizeof text, MUST "properties: {%s: [x]}\n", name);
    struct fixture *fixture = fixture_read(text);
    cr_assert_eq(fixture->problems.errors, 1);
    cr_assert_lt(strlen(fixture->problems.item[0].text), BASE_CONFIG_PROBLEM_TEXT);
    fixture_free(fixture);
}

Test(config, memory_of_the_config)
{
    struct base_config *config = base_config_new();
    uint8_t *bytes = base_config_memory(config, 100);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(bytes[i], 0);
    }
    cr_assert_eq((uintptr_t)bytes % 16, 0);
    cr_assert_not_null(base_config_memory(config, 0));
    cr_assert_str_eq(base_config_string(config, "%s-%d", "a", 7), "a-7");
    base_config_free(config);
}

// --- Canonical text and reference page ---

static char *canonical(const struct sample *sample)
{
    struct base_buffer out = {0};
    base_config_canonical(&table, sample, &out);
    base_buffer_u8(&out, 0);
    return (char *)out.data;
}

Test(config, canonical_text_knows_every_type)
{
    struct fixture *fixture =
        fixture_read("title: 'a \"b\"\n\n  c'\npassword: abc\nbounds: [1, 2.5]\nproperties: {a: b}\n" MUST);
    char *text = canonical(&fixture->sample);
    cr_assert_str_eq(text,
                     "yes: true\noffset: -2\ncount: 1000\nratio: 0.125\ntitle: \"a \\x22b\\x22\\x0ac\"\n"
                     "directory: \"/var/x\"\ncolour: green\nwait: 5400000\nabsent_wait: -1\n"
                     "memory: 134217728\nnames: [\"a\", \"b\"]\nwidths: [16, 32]\nbounds: [1, 2.5]\n"
                     "leaves: 1\nleaves[0].name: \"oak\"\nleaves[0].weight: 3\nleaves[0].widths: []\n"
                     "tree.depth: 0.5\ntree.must: \"x\"\npassword: \"secret\"\nabsent_ratio: none\n"
                     "absent_colour: none\n");
    free(text);
    fixture_free(fixture);
}

Test(config, canonical_texts_are_equal_for_equal_settings)
{
    struct fixture *a = fixture_read(MUST);
    struct fixture *b =
        fixture_read("tree:\n    must: 'x'\ncount: 1000\nwait: 90m\nproperties: {operational: too}\n");
    struct fixture *c = fixture_read(MUST "wait: 91m\n");
    cr_assert_eq(b->status, 0, "%s", b->problems.item[0].text);
    char *text_a = canonical(&a->sample), *text_b = canonical(&b->sample), *text_c = canonical(&c->sample);
    cr_assert_str_eq(text_a, text_b);
    cr_assert_str_neq(text_a, text_c);
    free(text_a);
    free(text_b);
    free(text_c);
    fixture_free(a);
    fixture_free(b);
    fixture_free(c);
}

Test(config, canonical_maps)
{
    struct map_only {
        struct base_config_map map;
    } object;
    static const struct base_config_row map_rows[] = {
        {.name = "map", .type = BASE_CONFIG_MAP, .offset = 0, .fallback = "{}", .description = "m"}};
    static const struct base_config_table map_table = {"m", sizeof(struct map_only), map_rows, 1};
    struct base_config *config = base_config_new();
    struct base_config_problems problems = {0};
    base_config_read(config, &map_table, "m", base_span_string("map: {b: 1, a: '\"'}"), &object, &problems);
    struct base_buffer out = {0};
    base_config_canonical(&map_table, &object, &out);
    base_buffer_u8(&out, 0);
    cr_assert_str_eq((char *)out.data, "map: [\"b\": \"1\", \"a\": \"\\x22\"]\n");
    base_buffer_free(&out);
    base_config_free(config);
}

// A row that was added later shows only where it is set, so that older files keep their hash.
Test(config, canonical_text_leaves_added_defaults_out)
{
    struct added_leaf {
        double weight;
        uint64_t size;
    };
    struct added {
        int64_t old, wait, number;
        double real, absent_real;
        uint64_t count;
        bool yes;
        int colour;
        const char *title, *empty;
        struct base_config_uints list;
        struct base_config_records leaves;
        struct added_leaf leaf;
    } object;
#define ADDED(in, field, kind, ...)                                                                     \
    {                                                                                                   \
        .name = #field, .type = kind, .offset = offsetof(struct in, field), .flags = BASE_CONFIG_ADDED, \
        .description = "a", __VA_ARGS__                                                                 \
    }
    static const struct base_config_row added_leaf_rows[] = {
        ADDED(added_leaf, weight, BASE_CONFIG_REAL, .fallback = "0.50"),
        ADDED(added_leaf, size, BASE_CONFIG_BYTES, .fallback = "1MiB"),
    };
    static const struct base_config_table added_leaf_table = {"l", sizeof(struct added_leaf), added_leaf_rows,
                                                              2};
    static const struct base_config_row added_rows[] = {
        {.name = "old", .type = BASE_CONFIG_INT, .offset = 0, .fallback = "7", .description = "o"},
        ADDED(added, wait, BASE_CONFIG_DURATION, .fallback = "1h"),
        ADDED(added, number, BASE_CONFIG_INT),
        ADDED(added, real, BASE_CONFIG_REAL, .fallback = "1e-3"),
        ADDED(added, absent_real, BASE_CONFIG_REAL),
        ADDED(added, count, BASE_CONFIG_UINT, .fallback = "1_000"),
        ADDED(added, yes, BASE_CONFIG_BOOL, .fallback = "true"),
        ADDED(added, colour, BASE_CONFIG_ENUM, .choices = colours),
        ADDED(added, title, BASE_CONFIG_STRING),
        ADDED(added, empty, BASE_CONFIG_STRING, .fallback = "''"),
        ADDED(added, list, BASE_CONFIG_UINTS, .fallback = "[]"),
        ADDED(added, leaves, BASE_CONFIG_RECORDS, .table = &added_leaf_table),
        ADDED(added, leaf, BASE_CONFIG_RECORD, .table = &added_leaf_table),
    };
    static const struct base_config_table added_table = {"a", sizeof(struct added), added_rows,
                                                         sizeof added_rows / sizeof *added_rows};
    static const struct {
        const char *file, *text;
    } cases[] = {
        {"{}", "old: 7\n"},
        {"{wait: 60m, real: 0.001, count: 1000, yes: true, leaf: {weight: 0.5, size: 1MiB}, list: [], "
         "empty: ''}",
         "old: 7\n"},
        {"{wait: 61m, number: 1, real: 2, absent_real: 3, count: 4, yes: false, colour: red, title: '', "
         "empty: x, "
         "list: [5], leaves: [{weight: 6}], leaf: {size: 7}}",
         "old: 7\nwait: 3660000\nnumber: 1\nreal: 2\nabsent_real: 3\ncount: 4\nyes: false\ncolour: red\n"
         "title: \"\"\nempty: \"x\"\nlist: [5]\nleaves: 1\nleaves[0].weight: 6\nleaf.size: 7\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct base_config *config = base_config_new();
        struct base_config_problems problems = {0};
        cr_assert_eq(
            base_config_read(config, &added_table, "a", base_span_string(cases[i].file), &object, &problems),
            0, "%s", problems.item[0].text);
        struct base_buffer out = {0};
        base_config_canonical(&added_table, &object, &out);
        base_buffer_u8(&out, 0);
        cr_assert_str_eq((char *)out.data, cases[i].text);
        base_buffer_free(&out);
        base_config_free(config);
    }
}

Test(config, reference_page)
{
    struct base_buffer out = {0};
    base_config_reference(&table, &out);
    base_buffer_u8(&out, 0);
    const char *page = (const char *)out.data;
    static const char *const lines[] = {
        "# Sample\n\n| setting | type, bounds | default | what it is |\n|---|---|---|---|\n",
        "| `yes` | true, false | `true` | The yes. |\n",
        "| `offset` | integer, -5 to 5 | `-2` | The offset. |\n",
        "| `ratio` | number, 0.001 to 1 | `0.125` | The ratio. |\n",
        "| `colour` | `red`, `green`, `blue` | `green` | The colour. |\n",
        "| `wait` | duration, 1s to 1d | `1h30m` | The wait. |\n",
        "| `absent_wait` | duration | | The absent_wait. |\n",
        "| `widths` | list of whole numbers, 1 to 64, at least 1 | `[16, 32]` | The widths. |\n",
        " Better `password_file`, the path of a file whose first line it is. |\n",
        "\n## `leaves[]`\n\nA leaf.\n\n",
        "| `name` (required) | text | | A leaf's name. |\n",
        "\n## `tree`\n\nA tree.\n\n",
        "| `memory` | size, 4KiB to 1TiB | `128MiB` | The memory. |\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        cr_assert(strstr(page, lines[i]), "missing: %s in:\n%s", lines[i], page);
    }
    base_buffer_free(&out);
}
