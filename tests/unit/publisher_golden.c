// Publications, as Redis held them, are read for ever: tests/golden/state-1/publication*.bin, with a
// descriptor of format 1, and state-2/publication.bin, of format 2; made by tests/golden/make_state.c.
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/disk.h"
#include "base/hash.h"
#include "publisher/chunk.h"
#include "publisher/manifest.h"
#include "publisher/reader.h"
#include "publisher_support.h"

#define GOLDEN FRESHET_SOURCE_DIR "/tests/golden/"

static struct base_error error;

static struct base_span take(struct base_reader *reader)
{
    uint32_t size = base_reader_u32(reader);
    return base_reader_bytes(reader, size);
}

// Puts the keys into Redis; `each` looks at them, or is NULL.
static void load(const char *name, const char *socket,
                 void (*each)(struct base_span key, struct base_span value))
{
    char path[512];
    struct base_buffer bytes = {0};
    snprintf(path, sizeof path, "%s%s", GOLDEN, name);
    cr_assert_eq(base_disk_read(path, 1 << 20, &bytes, &error), 0, "%s", error.text);
    struct base_reader reader = {.rest = base_buffer_span(&bytes)};
    redisContext *context = socket ? support_connect(socket) : NULL;
    while (reader.rest.size) {
        struct base_span key = take(&reader), value = take(&reader);
        cr_assert_not(reader.failed);
        if (context) {
            freeReplyObject(support_run(context, "SET %b %b", key.data, key.size, value.data, value.size));
        }
        if (each) {
            each(key, value);
        }
    }
    if (context) {
        redisFree(context);
    }
    base_buffer_free(&bytes);
}

struct expected {
    const char *name;
    uint64_t epoch, number, rows, hash;
    int64_t tick;
    uint32_t tasks, slots, item;                            // item: the place of that slot
    uint32_t dimension;                                     // of it
    void (*also)(const struct trainer_model_config *model); // NULL: no more is expected
};

static void expect(const struct expected *expected)
{
    struct support_redis *redis = support_redis_start(NULL);
    load(expected->name, support_redis_socket(redis), NULL);
    const struct publisher_reader_config config = {.redis = support_config(support_redis_socket(redis)),
                                                   .model = "test"};
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    bool changed = false;
    cr_assert(reader && publisher_reader_follow(reader, 0, &changed, &error) == 0, "%s", error.text);
    struct publisher_version version = publisher_reader_version(reader);
    cr_expect(version.epoch == expected->epoch && version.number == expected->number, "%s: %llu.%llu",
              expected->name, (unsigned long long)version.epoch, (unsigned long long)version.number);
    cr_expect_eq(publisher_reader_rows(reader), expected->rows, "%llu",
                 (unsigned long long)publisher_reader_rows(reader));
    cr_expect_eq(publisher_reader_tick(reader), expected->tick, "%lld",
                 (long long)publisher_reader_tick(reader));
    cr_expect_eq(publisher_reader_hash(reader), expected->hash, "%016llx",
                 (unsigned long long)publisher_reader_hash(reader));
    const struct trainer_model_config *model = &publisher_reader_descriptor(reader)->config;
    cr_assert_eq(model->loss.tasks, expected->tasks);
    cr_assert_str_eq(model->task_names[1], "purchase");
    cr_assert_eq(model->features.slots, expected->slots);
    cr_assert_str_eq(model->features.slot[expected->item].row.name, "item");
    cr_assert_eq(model->features.slot[expected->item].row.dimension, expected->dimension);
    if (expected->also) {
        expected->also(model);
    }
    publisher_reader_free(reader);
    support_redis_stop(redis);
}

Test(publisher_golden, version_1_in_fp32)
{
    expect(&(struct expected){"state-1/publication.bin", 1, 6, 40, UINT64_C(0x36a612eeaa30fe79),
                              INT64_C(17000714185), 2, 2, 1, 8, NULL});
}

Test(publisher_golden, version_1_in_fp16)
{
    expect(&(struct expected){"state-1/publication-fp16.bin", 1, 7, 40, UINT64_C(0x02dabccfba80ac6b),
                              INT64_C(17000714644), 2, 2, 1, 8, NULL});
}

static void expect_derived(const struct trainer_model_config *model)
{
    const struct trainer_slot_config *cross = &model->features.slot[4], *place = &model->features.slot[6];
    cr_assert_str_eq(model->task_names[2], "favourite");
    cr_assert_str_eq(cross->row.name, "gender_age");
    cr_assert(cross->crossed == 2 && cross->cross[0] == 0 && cross->cross[1] == 5);
    cr_assert_str_eq(place->row.name, "place");
    cr_assert(place->position);
    cr_assert_eq(model->features.numerics, 1);
}

Test(publisher_golden, version_2_with_a_cross_and_a_position)
{
    expect(&(struct expected){"state-2/publication.bin", 2, 3, 75, UINT64_C(0x26700e53261fe349),
                              INT64_C(17000712844), 3, 8, 2, 4, expect_derived});
}

// ---- later formats ----

static int chunks, manifests, lists, descriptors;

static bool has(struct base_span span, const char *text)
{
    return memmem(span.data, span.size, text, strlen(text)) != NULL;
}

// The text, of this format, with its format raised.
static struct base_buffer raised(struct base_span text, int format)
{
    struct base_buffer copy = {0};
    char is[32];
    base_buffer_append(&copy, text.data, text.size);
    snprintf(is, sizeof is, "\"format\":%d", format);
    char *found = memmem(copy.data, copy.size, is, strlen(is));
    cr_assert_not_null(found);
    found[strlen(is) - 1]++;
    return copy;
}

static void refuse(struct base_span key, struct base_span value)
{
    if (has(key, ":rows:") || has(key, ":dense:")) {
        struct base_buffer copy = {0};
        struct publisher_chunk chunk;
        base_buffer_append(&copy, value.data, value.size);
        cr_assert_eq(publisher_chunk_parse(base_buffer_span(&copy), &chunk, &error), 0, "%s", error.text);
        copy.data[8] = 2;
        uint64_t sum = base_hash_bytes(base_span_make(copy.data, copy.size - 8), 0);
        for (int i = 0; i < 8; i++) {
            copy.data[copy.size - 8 + (size_t)i] = (uint8_t)(sum >> (8 * i));
        }
        cr_assert_eq(publisher_chunk_parse(base_buffer_span(&copy), &chunk, &error), -1);
        cr_assert(strstr(error.text, "format 2"), "%s", error.text);
        base_buffer_free(&copy);
        chunks++;
    } else if (has(key, ":manifest")) {
        struct base_buffer copy = raised(value, 1);
        cr_assert_null(publisher_manifest_parse(base_buffer_span(&copy), "test", &error));
        cr_assert(error.code == BASE_EFORMAT && strstr(error.text, "unknown format"), "%s", error.text);
        base_buffer_free(&copy);
        manifests++;
    } else if (has(key, ":part")) {
        struct base_buffer copy = raised(value, 1);
        cr_assert_null(publisher_list_parse(base_buffer_span(&copy), &error));
        cr_assert(error.code == BASE_EFORMAT && strstr(error.text, "unknown format"), "%s", error.text);
        base_buffer_free(&copy);
        lists++;
    } else if (has(key, ":descriptor:")) {
        struct base_buffer copy = raised(value, has(value, "\"format\":2") ? 2 : 1);
        cr_assert_null(trainer_descriptor_parse((const char *)copy.data, copy.size, &error));
        cr_assert(error.code == BASE_EFORMAT && strstr(error.text, "format"), "%s", error.text);
        base_buffer_free(&copy);
        descriptors++;
    }
}

static void refuse_later(const char *name)
{
    chunks = manifests = lists = descriptors = 0;
    load(name, NULL, refuse);
    cr_assert(chunks > 3 && manifests == 1 && lists > 1 && descriptors == 1,
              "%d chunks, %d manifests, %d lists, %d descriptors", chunks, manifests, lists, descriptors);
}

Test(publisher_golden, a_later_format_is_refused)
{
    refuse_later("state-1/publication.bin");
    refuse_later("state-2/publication.bin");
}
