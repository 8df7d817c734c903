// What the publisher's tests share. See publisher_support.h.
#include "publisher_support.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "publisher/load.h"
#include "publisher/names.h"

struct publisher_redis_config support_config(const char *socket)
{
    return (struct publisher_redis_config){.socket = socket, .timeout_ms = 2000};
}

struct publisher *support_publisher(const char *socket, bool half)
{
    struct base_error error;
    struct publisher_config config = {
        .redis = support_config(socket),
        .model = "test",
        .descriptor = "{\"made\":\"by hand\"}",
        .half = half,
        .garbage_ttl_s = SUPPORT_TTL,
        .base_ratio = 100,
    };
    struct publisher *publisher = publisher_new(&config, &error);
    cr_assert(publisher, "%s", error.text);
    return publisher;
}

struct publisher *support_publisher_started(const char *socket)
{
    struct base_error error;
    struct publisher *publisher = support_publisher(socket, false);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0, "%s", error.text);
    return publisher;
}

static void snapshot_rows(struct trainer_snapshot_rows *rows, uint32_t dimension, uint32_t count,
                          uint32_t removed, uint64_t seed)
{
    rows->dimension = dimension;
    rows->count = count;
    rows->keys = base_alloc(count * sizeof *rows->keys);
    rows->vectors = base_alloc((size_t)count * dimension * sizeof *rows->vectors);
    rows->removed = removed;
    rows->tombstones = base_alloc(removed * sizeof *rows->tombstones);
    for (uint32_t i = 0; i < count; i++) {
        rows->keys[i] = base_random_bits(seed, i);
    }
    for (uint32_t i = 0; i < removed; i++) {
        rows->tombstones[i] = base_random_bits(seed + 1, i);
    }
    for (size_t i = 0; i < (size_t)count * dimension; i++) {
        rows->vectors[i] = (float)base_random_uniform(seed + 2, i) - 0.5f;
    }
}

struct trainer_snapshot *support_snapshot(uint32_t rows, uint32_t removed, uint64_t seed, bool full)
{
    static const struct trainer_tensor tensors[] = {
        {"tower.weight", 300, 256, 0}, // 300 KiB: two chunks
        {"tower.bias", 1, 5, 76800},   {"oov.a", 1, 4, 76816},
        {"oov.b", 1, 8, 76832},        {"oov.c", 1, 16, 76848},
    };
    struct trainer_snapshot *snapshot = base_alloc_zeroed(1, sizeof *snapshot);
    snapshot->tick = (int64_t)seed;
    snapshot->examples = seed * 10;
    snapshot->full = full;
    snapshot->slots = SUPPORT_SLOTS;
    snapshot->rows = base_alloc_zeroed(SUPPORT_SLOTS, sizeof *snapshot->rows);
    for (uint32_t s = 0; s < SUPPORT_SLOTS; s++) {
        snapshot_rows(&snapshot->rows[s], 4u << s, rows, removed, seed * 16 + s);
    }
    snapshot->tensors = sizeof tensors / sizeof *tensors;
    snapshot->tensor = base_alloc(sizeof tensors);
    memcpy(snapshot->tensor, tensors, sizeof tensors);
    snapshot->dense_size = 76864;
    snapshot->dense = base_alloc_zeroed(snapshot->dense_size, sizeof *snapshot->dense);
    for (size_t i = 0; i < snapshot->dense_size; i++) {
        snapshot->dense[i] = (float)base_random_uniform(seed + 5, i);
    }
    snapshot->rows_total = (uint64_t)rows * SUPPORT_SLOTS;
    return snapshot;
}

redisContext *support_connect(const char *socket)
{
    redisContext *context = redisConnectUnix(socket);
    cr_assert(context && !context->err, "cannot connect to %s", socket);
    return context;
}

redisReply *support_run(redisContext *context, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    redisReply *reply = redisvCommand(context, format, arguments);
    va_end(arguments);
    cr_assert(reply, "%s: %s", format, context->errstr);
    cr_assert_neq(reply->type, REDIS_REPLY_ERROR, "%s: %s", format, reply->str);
    return reply;
}

static int check_visit(void *context, const struct publisher_chunk *chunk, struct publisher_reply **reply,
                       struct base_error *error)
{
    (void)reply, (void)error;
    uint64_t *rows = context;
    *rows += chunk->kind == PUBLISHER_CHUNK_ROWS ? chunk->count : 0;
    return 0;
}

// Loads all of the version and lists its keys.
static void check_load(const char *socket, struct base_span head, struct publisher_names *names,
                       struct publisher_version *version)
{
    struct base_error error;
    struct publisher_redis_config config = support_config(socket);
    struct publisher_redis *redis = publisher_redis_new(&config, &error);
    struct publisher_reply *descriptor = NULL;
    uint64_t rows = 0;
    char key[PUBLISHER_KEY_MAX];
    cr_assert_eq(publisher_redis_connect(redis, &error), 0, "%s", error.text);
    struct publisher_manifest *manifest = publisher_load_manifest(redis, "test", head, &error);
    cr_assert(manifest, "%s", error.text);
    cr_assert_eq(publisher_load_descriptor(redis, "test", manifest->descriptor, &descriptor, &error), 0, "%s",
                 error.text);
    cr_assert_eq(publisher_load_part(redis, "test", &manifest->base, true, check_visit, &rows, &error), 0,
                 "%s", error.text);
    for (uint32_t i = 0; i < manifest->deltas; i++) {
        cr_assert_eq(
            publisher_load_part(redis, "test", &manifest->delta[i], false, check_visit, &rows, &error), 0,
            "%s", error.text);
        publisher_names_add_part(names, "test", &manifest->delta[i]);
    }
    cr_assert_eq(publisher_load_dense(redis, "test", manifest, check_visit, &rows, &error), 0, "%s",
                 error.text);
    publisher_names_add_part(names, "test", &manifest->base);
    publisher_names_add_dense(names, "test", manifest);
    publisher_key_manifest("test", manifest->version, key);
    publisher_names_add(names, key);
    publisher_key_descriptor("test", manifest->descriptor, key);
    publisher_names_add(names, key);
    *version = manifest->version;
    publisher_reply_free(descriptor);
    publisher_manifest_free(manifest);
    publisher_redis_free(redis);
}

static bool names_has(const struct base_span *words, uint32_t count, const char *key)
{
    for (uint32_t i = 0; i < count; i++) {
        if (base_span_equal(words[i], base_span_string(key))) {
            return true;
        }
    }
    return false;
}

struct publisher_version support_check(const char *socket)
{
    struct publisher_version version = {0};
    struct publisher_names names = {0};
    redisContext *context = support_connect(socket);
    redisReply *head = support_run(context, "GET {freshet:test}:head");
    if (head->type == REDIS_REPLY_STRING) {
        check_load(socket, base_span_make(head->str, head->len), &names, &version);
    }
    publisher_names_add(&names, "{freshet:test}:head");
    publisher_names_add(&names, "{freshet:test}:epoch");
    publisher_names_add(&names, "{freshet:test}:versions");
    struct base_span *words = base_alloc(names.count * sizeof *words);
    publisher_names_spans(&names, words);

    redisReply *keys = support_run(context, "KEYS *");
    uint32_t referred = 0;
    for (size_t i = 0; i < keys->elements; i++) {
        const char *key = keys->element[i]->str;
        redisReply *ttl = support_run(context, "TTL %s", key);
        bool keeps = names_has(words, names.count, key);
        cr_assert(keeps ? ttl->integer == -1 : ttl->integer > 0 && ttl->integer <= SUPPORT_TTL,
                  "key %s, %s, has expiry %lld", key, keeps ? "referred to" : "garbage", ttl->integer);
        referred += keeps;
        freeReplyObject(ttl);
    }
    cr_assert(version.epoch == 0 || referred == names.count, "%u of %u keys are there", referred,
              names.count);
    freeReplyObject(keys);
    freeReplyObject(head);
    free(words);
    publisher_names_free(&names);
    redisFree(context);
    return version;
}
