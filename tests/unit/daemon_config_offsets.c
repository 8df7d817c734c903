// The daemon's configuration: source.offsets and source.ends, the tables that they give and every error.
#include "daemon/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REST                                                 \
    "registry: {url: 'https://r'}\nslots: [{name: brand}]\n" \
    "actions: [{name: click, topic: clicks.of/x, wait: 1m, window: 2m}]\n"
#define KAFKA(settings) "source: {kind: kafka, bootstrap: b, " settings "}\n" REST

struct fixture {
    struct base_config_problems problems;
    struct daemon_config *config;
};

static struct fixture *fixture_load(const char *text)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->config = daemon_config_load_text("f.yaml", base_span_string(text), &fixture->problems);
    return fixture;
}

static void fixture_free(struct fixture *fixture)
{
    daemon_config_free(fixture->config);
    free(fixture);
}

static struct fixture *good(const char *text)
{
    struct fixture *fixture = fixture_load(text);
    cr_assert_not_null(fixture->config, "%s", fixture->problems.item[0].text);
    cr_assert_eq(fixture->problems.count, 0, "%s", fixture->problems.item[0].text);
    return fixture;
}

// The one problem of `text` is an error and begins with `expected`.
static void error(const char *text, const char *expected)
{
    struct fixture *fixture = fixture_load(text);
    cr_assert_null(fixture->config, "%s", text);
    cr_assert_eq(fixture->problems.count, 1, "%s\n%s\n%s", text, fixture->problems.item[0].text,
                 fixture->problems.item[1].text);
    const char *told = fixture->problems.item[0].text;
    cr_assert_eq(strncmp(told, expected, strlen(expected)), 0, "%s\nis not\n%s", told, expected);
    fixture_free(fixture);
}

Test(daemon_config_offsets, absent)
{
    struct fixture *fixture = good(KAFKA("start: latest"));
    struct consumer_kafka_config kafka;
    daemon_config_kafka(fixture->config, &kafka);
    cr_assert_null(kafka.offsets);
    cr_assert_null(kafka.ends);
    cr_assert_eq(kafka.start, CONSUMER_OFFSET_LATEST);
    fixture_free(fixture);
}

Test(daemon_config_offsets, tables_are_rank_major)
{
    // A topic's name is all before the last slash, whatever the order of the entries.
    struct fixture *fixture =
        good(KAFKA("offsets: {clicks.of/x/1: latest, impressions/1: 7, impressions/0: earliest, "
                   "clicks.of/x/0: 9223372036854775807}"));
    struct consumer_kafka_config kafka;
    daemon_config_kafka(fixture->config, &kafka);
    static const int64_t offsets[] = {CONSUMER_OFFSET_EARLIEST, 7, INT64_MAX, CONSUMER_OFFSET_LATEST};
    cr_assert_eq(kafka.offset_lanes, 2);
    cr_assert_eq(memcmp(kafka.offsets, offsets, sizeof offsets), 0);
    cr_assert_null(kafka.ends);
    fixture_free(fixture);
}

Test(daemon_config_offsets, ends_with_and_without_offsets)
{
    struct fixture *fixture = good(KAFKA("start: latest, ends: {impressions/0: 1_000, clicks.of/x/0: 0}"));
    struct consumer_kafka_config kafka;
    daemon_config_kafka(fixture->config, &kafka);
    cr_assert_null(kafka.offsets);
    cr_assert_eq(kafka.offset_lanes, 1);
    cr_assert_eq(kafka.ends[0], 1000);
    cr_assert_eq(kafka.ends[1], 0);
    fixture_free(fixture);

    fixture = good(KAFKA("offsets: {impressions/0: 5, clicks.of/x/0: latest}, "
                         "ends: {impressions/0: 5, clicks.of/x/0: 6}"));
    daemon_config_kafka(fixture->config, &kafka);
    cr_assert_eq(kafka.offset_lanes, 1);
    cr_assert_eq(kafka.offsets[0], 5);
    cr_assert_eq(kafka.offsets[1], CONSUMER_OFFSET_LATEST);
    cr_assert_eq(kafka.ends[0], 5);
    cr_assert_eq(kafka.ends[1], 6);
    fixture_free(fixture);
}

Test(daemon_config_offsets, operational_as_start_is)
{
    struct fixture *base = good(KAFKA("memory: 5MiB"));
    struct fixture *other = good(KAFKA("offsets: {impressions/0: 1, clicks.of/x/0: 2}, "
                                       "ends: {impressions/0: 3, clicks.of/x/0: 4}"));
    struct fixture *start = good(KAFKA("start: latest"));
    cr_assert_eq(base->config->hash, start->config->hash);
    cr_assert_eq(base->config->hash, other->config->hash);
    fixture_free(start);
    fixture_free(other);
    fixture_free(base);
}

Test(daemon_config_offsets, entries_that_are_none)
{
    error(KAFKA("offsets: {impressions: 1}"),
          "f.yaml:1:37: source.offsets: \"impressions\" is not topic/partition");
    error(KAFKA("offsets: {impressions/: 1}"), "f.yaml:1:37: source.offsets: \"impressions/\" is not topic");
    error(KAFKA("offsets: {impressions/-1: 1}"),
          "f.yaml:1:37: source.offsets: \"impressions/-1\" is not topic");
    error(KAFKA("offsets: {impressions/x: 1}"),
          "f.yaml:1:37: source.offsets: \"impressions/x\" is not topic");
    error(KAFKA("offsets: {impressions/4096: 1}"),
          "f.yaml:1:37: source.offsets: \"impressions/4096\": at most 4096 partitions are possible");
    error(KAFKA("ends: {impression/0: 1}"),
          "f.yaml:1:37: source.ends: \"impression/0\": no topic of that name is configured");
    error(KAFKA("ends: {clicks.of/0: 1}"), "f.yaml:1:37: source.ends: \"clicks.of/0\": no topic");
}

Test(daemon_config_offsets, values_that_are_no_offsets)
{
    error(
        KAFKA("offsets: {impressions/0: 1h, clicks.of/x/0: 1}"),
        "f.yaml:1:37: source.offsets: impressions/0: \"1h\" is not an offset: a number, earliest or latest");
    error(KAFKA("offsets: {impressions/0: -1, clicks.of/x/0: 1}"),
          "f.yaml:1:37: source.offsets: impressions/0: \"-1\" is not");
    error(KAFKA("offsets: {impressions/0: 9223372036854775808, clicks.of/x/0: 1}"),
          "f.yaml:1:37: source.offsets: impressions/0: \"9223372036854775808\" is not");
    struct fixture *fixture = fixture_load(KAFKA("ends: {impressions/0: latest, clicks.of/x/0: earliest}"));
    cr_assert_eq(fixture->problems.errors, 2);
    cr_assert_str_eq(fixture->problems.item[0].text,
                     "f.yaml:1:37: source.ends: impressions/0: \"latest\" is not an offset: a number");
    fixture_free(fixture);
}

Test(daemon_config_offsets, missing_and_doubled)
{
    error(KAFKA("offsets: {}"), "f.yaml:1:37: source.offsets: names no partition");
    error(KAFKA("offsets: {impressions/0: 1}"),
          "f.yaml:1:37: source.offsets: \"clicks.of/x/0\" is missing; partitions 0 to 0 of every topic");
    error(KAFKA("ends: {impressions/0: 1, impressions/3: 1, clicks.of/x/0: 1, clicks.of/x/1: 1, "
                "clicks.of/x/2: 1, clicks.of/x/3: 2}"),
          "f.yaml:1:37: source.ends: \"impressions/1\" is missing, and others; partitions 0 to 3 of every");
    error(KAFKA("offsets: {impressions/0: 1, clicks.of/x/0: 1, clicks.of/x/00: 1}"),
          "f.yaml:1:37: source.offsets: \"clicks.of/x/00\" is given twice");
    error(KAFKA("offsets: {impressions/0: 1, clicks.of/x/0: 1, clicks.of/x/0: 1}"), "f.yaml:1:");
}

Test(daemon_config_offsets, offsets_against_ends)
{
    error(KAFKA("offsets: {impressions/0: 1, clicks.of/x/0: 1}, ends: {impressions/0: 1, clicks.of/x/0: 1, "
                "impressions/1: 1, clicks.of/x/1: 1}"),
          "f.yaml:1:84: source.ends: is for 2 partitions a topic where offsets is for 1");
    error(KAFKA("offsets: {impressions/0: 1, clicks.of/x/0: 9}, ends: {impressions/0: 1, clicks.of/x/0: 8}"),
          "f.yaml:1:84: source.ends: clicks.of/x/0 ends at 8, before it begins, at 9");
}

Test(daemon_config_offsets, files_have_none)
{
    error("source: {kind: files, path: x, offsets: {impressions/0: 1}}\n" REST,
          "f.yaml:1:32: source.offsets: a source of kind files has no offsets");
    error("source: {kind: files, path: x, ends: {}}\n" REST,
          "f.yaml:1:32: source.ends: a source of kind files has no offsets");
}

Test(daemon_config_offsets, start_beside_offsets_is_warned_of)
{
    struct fixture *fixture =
        fixture_load(KAFKA("start: latest, offsets: {impressions/0: 1, clicks.of/x/0: 1}"));
    cr_assert_not_null(fixture->config);
    cr_assert_eq(fixture->problems.warnings, 1);
    cr_assert_str_eq(fixture->problems.item[0].text,
                     "f.yaml:1:37: source.start: has no effect beside offsets");
    fixture_free(fixture);
}

Test(daemon_config_offsets, topics_that_are_wrong_are_one_error)
{
    error("source: {kind: kafka, bootstrap: b, offsets: {a/0: 1}}\nregistry: {url: 'https://r'}\n"
          "slots: [{name: brand}]\nactions: [{name: click, topic: '', wait: 1m, window: 2m}]\n",
          "f.yaml:4:25: actions[0].topic: must not be empty");
    error("source: {kind: kafka, bootstrap: b, offsets: {a/0: 1}}\nregistry: {url: 'https://r'}\n"
          "slots: [{name: brand}]\nactions: x\n",
          "f.yaml:4:10: actions: ");
    error("source: {kind: kafka, bootstrap: b, offsets: x}\n" REST, "f.yaml:1:46: source.offsets: ");
}
