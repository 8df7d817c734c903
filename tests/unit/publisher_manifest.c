// Manifests, lists, versions and hashes: round trips, canonical text, refusals.
#include "publisher/manifest.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "publisher/keys.h"

static struct publisher_manifest *a_manifest(uint32_t deltas)
{
    struct publisher_manifest *manifest = base_alloc_zeroed(1, sizeof *manifest);
    manifest->version = (struct publisher_version){3, 17 + deltas};
    manifest->predecessor = (struct publisher_version){3, 16};
    manifest->descriptor = 0xfedcba9876543210;
    manifest->tick = -5;
    manifest->examples = 1234567890123;
    manifest->rows = 42;
    manifest->base = (struct publisher_part){{3, 17}, 1, 2, 30, 0, 5000};
    manifest->deltas = deltas;
    manifest->delta = base_alloc_zeroed(deltas, sizeof *manifest->delta);
    for (uint32_t i = 0; i < deltas; i++) {
        manifest->delta[i] = (struct publisher_part){{3, 18 + i}, UINT64_MAX, 1, 3, 1, 100};
    }
    manifest->dense_chunks = 1;
    manifest->dense = base_alloc_zeroed(1, sizeof *manifest->dense);
    manifest->dense[0] = (struct publisher_entry){.checksum = 0xabc, .size = 1000};
    manifest->tensors = 1;
    manifest->tensor = base_alloc_zeroed(1, sizeof *manifest->tensor);
    manifest->tensor[0] = (struct publisher_tensor){"bias", 1, 6};
    return manifest;
}

static char *write_text(const struct publisher_manifest *manifest)
{
    struct base_error error;
    char *text = publisher_manifest_write(manifest, "m", &error);
    cr_assert(text, "%s", error.text);
    return text;
}

Test(publisher_manifest, the_text_is_canonical)
{
    struct publisher_manifest *manifest = a_manifest(1);
    manifest->lineage = strdup("abc.1");
    manifest->metrics = strdup(" {\"b\" : 2, \"a\" : [1.5]} ");
    char *text = write_text(manifest);
    cr_assert_str_eq(text,
                     "{\"base\":{\"bytes\":5000,\"checksum\":\"0000000000000001\",\"chunks\":2,\"rows\":30,"
                     "\"tombstones\":0,\"version\":\"3.17\"},\"deltas\":[{\"bytes\":100,"
                     "\"checksum\":\"ffffffffffffffff\",\"chunks\":1,\"rows\":3,\"tombstones\":1,"
                     "\"version\":\"3.18\"}],\"dense\":{\"chunks\":[{\"checksum\":\"0000000000000abc\","
                     "\"size\":1000}],\"tensors\":[{\"columns\":6,\"name\":\"bias\",\"rows\":1}]},"
                     "\"descriptor\":\"fedcba9876543210\",\"element\":\"fp32\",\"examples\":1234567890123,"
                     "\"format\":1,\"lineage\":\"abc.1\",\"metrics\":{\"a\":[1.5],\"b\":2},\"model\":\"m\","
                     "\"predecessor\":\"3.16\","
                     "\"rows\":42,\"tick\":-5,\"version\":\"3.18\"}");
    free(text);
    publisher_manifest_free(manifest);
}

Test(publisher_manifest, comes_back)
{
    struct publisher_manifest *manifest = a_manifest(PUBLISHER_DELTAS_MAX);
    manifest->predecessor = (struct publisher_version){0};
    manifest->half = true;
    char *text = write_text(manifest);
    struct base_error error;
    struct publisher_manifest *parsed = publisher_manifest_parse(base_span_string(text), "m", &error);
    cr_assert(parsed, "%s", error.text);
    char *again = write_text(parsed);
    cr_assert_str_eq(text, again);
    cr_assert(parsed->half && parsed->predecessor.epoch == 0);
    publisher_manifest_free(parsed);
    publisher_manifest_free(manifest);
    free(text);
    free(again);
}

Test(publisher_manifest, metrics_must_be_an_object)
{
    static const char *const wrong[] = {"", "[1]", "1", "{\"a\":}", "{} {}"};
    struct publisher_manifest *manifest = a_manifest(0);
    for (size_t i = 0; i < 5; i++) {
        struct base_error error;
        manifest->metrics = (char *)wrong[i];
        cr_assert_null(publisher_manifest_write(manifest, "m", &error));
        cr_assert_eq(error.code, BASE_EINVAL);
    }
    manifest->metrics = NULL;
    publisher_manifest_free(manifest);
}

// Replaces the first `from` in text by `to`.
static char *replace(const char *text, const char *from, const char *to)
{
    const char *place = strstr(text, from);
    cr_assert(place, "%s is not in the text", from);
    size_t size = strlen(text) + strlen(to) + 1;
    char *changed = base_alloc(size);
    snprintf(changed, size, "%.*s%s%s", (int)(place - text), text, to, place + strlen(from));
    return changed;
}

Test(publisher_manifest, what_does_not_fit_is_refused)
{
    static const char *const changes[][2] = {
        {"\"format\":1", "\"format\":2"},
        {"\"format\":1", "\"format\":\"1\""},
        {"\"model\":\"m\"", "\"model\":\"n\""},
        {"\"element\":\"fp32\"", "\"element\":\"bf16\""},
        {"\"version\":\"3.18\"}]", "\"version\":\"3.17\"}]"},
        {"\"version\":\"3.18\"}]", "\"version\":\"3.19\"}]"},
        {"\"rows\":42", "\"rows\":-1"},
        {"\"rows\":42", "\"rows\":1.5"},
        {"\"tick\":-5", "\"tick\":null"},
        {"\"predecessor\":\"3.16\"", "\"predecessor\":\"03.16\""},
        {"\"descriptor\":\"f", "\"descriptor\":\"F"},
        {"\"size\":1000", "\"size\":262145"},
        {"\"chunks\":2", "\"chunks\":131073"},
        {"\"name\":\"bias\"", "\"name\":\"\""},
        {"\"metrics\":{}", "\"metrics\":[]"},
        {"\"metrics\":{},", ""},
        {"\"deltas\":[", "\"delta\":["},
        {"{\"base\"", "{{\"base\""},
        {"\"tick\":-5", "\"tick\":-5,\"tick\":-5"},
    };
    struct publisher_manifest *manifest = a_manifest(1);
    char *text = write_text(manifest);
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct base_error error;
        char *changed = replace(text, changes[i][0], changes[i][1]);
        cr_assert_null(publisher_manifest_parse(base_span_string(changed), "m", &error), "change %zu", i);
        cr_assert_eq(error.code, BASE_EFORMAT);
        free(changed);
    }
    free(text);
    publisher_manifest_free(manifest);
}

Test(publisher_manifest, lists_come_back_and_are_checked)
{
    struct publisher_entry entries[2] = {{UINT64_MAX, 262144, 255, 100, 0}, {1, 64, 0, 0, 1}};
    struct publisher_list list = {{1, 2}, false, 2, entries};
    struct base_error error;
    char *text = publisher_list_write(&list);
    cr_assert_str_eq(text, "{\"chunks\":[{\"checksum\":\"ffffffffffffffff\",\"rows\":100,\"size\":262144,"
                           "\"slot\":255,\"tombstones\":0},{\"checksum\":\"0000000000000001\",\"rows\":0,"
                           "\"size\":64,\"slot\":0,\"tombstones\":1}],\"format\":1,\"kind\":\"delta\","
                           "\"version\":\"1.2\"}");
    struct publisher_list *parsed = publisher_list_parse(base_span_string(text), &error);
    cr_assert(parsed && parsed->chunks == 2 && !parsed->full);
    cr_assert_eq(memcmp(parsed->entry, entries, sizeof entries), 0);
    publisher_list_free(parsed);

    static const char *const changes[][2] = {
        {"\"format\":1", "\"format\":0"}, {"\"kind\":\"delta\"", "\"kind\":\"other\""},
        {"\"slot\":255", "\"slot\":256"}, {"\"size\":262144", "\"size\":262145"},
        {"\"version\"", "\"Version\""},   {"\"chunks\":[", "\"chunk\":["},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char *changed = replace(text, changes[i][0], changes[i][1]);
        cr_assert_null(publisher_list_parse(base_span_string(changed), &error), "change %zu", i);
        cr_assert_eq(error.code, BASE_EFORMAT);
        free(changed);
    }
    free(text);
}

Test(publisher_keys, versions_and_heads_are_read_strictly)
{
    static const char *const wrong[] = {"",
                                        "1",
                                        "1.",
                                        ".1",
                                        "0.1",
                                        "01.1",
                                        "1.01",
                                        "+1.1",
                                        " 1.1",
                                        "1.1 ",
                                        "1.-1",
                                        "a.1",
                                        "1.1.1",
                                        "9007199254740992.1",
                                        "99999999999999999999.1"};
    struct publisher_version version = {77, 77};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_not(publisher_version_parse(base_span_string(wrong[i]), &version), "'%s'", wrong[i]);
        cr_assert(version.epoch == 77 && version.number == 77);
    }
    char text[PUBLISHER_VERSION_MAX];
    struct publisher_version most = {PUBLISHER_VERSION_LIMIT, 0};
    publisher_version_format(most, text);
    cr_assert(publisher_version_parse(base_span_string(text), &version));
    cr_assert_eq(publisher_version_compare(version, most), 0);
    cr_assert_lt(
        publisher_version_compare((struct publisher_version){1, 9}, (struct publisher_version){2, 1}), 0);
    cr_assert_gt(
        publisher_version_compare((struct publisher_version){2, 2}, (struct publisher_version){2, 1}), 0);

    char head[PUBLISHER_HEAD_MAX];
    uint64_t checksum;
    publisher_head_format((struct publisher_version){3, 17}, 0xab, head);
    cr_assert_str_eq(head, "3.17 00000000000000ab");
    cr_assert(publisher_head_parse(base_span_string(head), &version, &checksum) && checksum == 0xab);
    cr_assert_not(publisher_head_parse(base_span_string("3.17"), &version, &checksum));
    cr_assert_not(publisher_head_parse(base_span_string("3.17 0"), &version, &checksum));
    cr_assert_not(publisher_head_parse(base_span_string("3.17 00000000000000AB"), &version, &checksum));
    cr_assert_not(publisher_head_parse(base_span_string("3.17 00000000000000ab "), &version, &checksum));
}

Test(publisher_keys, a_models_name_cannot_break_the_hash_tag)
{
    char longest[PUBLISHER_MODEL_MAX + 2];
    memset(longest, 'a', sizeof longest);
    longest[PUBLISHER_MODEL_MAX + 1] = '\0';
    cr_assert_not(publisher_keys_model_valid(longest));
    longest[PUBLISHER_MODEL_MAX] = '\0';
    cr_assert(publisher_keys_model_valid(longest));
    cr_assert(publisher_keys_model_valid("Shop_1.ads-eu"));
    cr_assert_not(publisher_keys_model_valid(NULL));
    cr_assert_not(publisher_keys_model_valid(""));
    cr_assert_not(publisher_keys_model_valid("a}b"));
    cr_assert_not(publisher_keys_model_valid("a:b"));
    cr_assert_not(publisher_keys_model_valid("a b"));
}
