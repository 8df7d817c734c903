// The reader library against a real Redis: it holds what the trainer has, or what it held before.
#include "publisher/reader.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "publisher/half.h"
#include "publisher_model.h"
#include "publisher_support.h"

// A trainer, its publisher and a reader of the model "test".
struct scene {
    struct support_redis *redis;
    const char *socket;
    struct trainer_model *model;
    uint64_t step;
    struct publisher *publisher;
    struct publisher_reader *reader;
    struct base_error error;
};

static struct publisher *scene_publisher(const char *socket, int variant, bool half)
{
    struct base_error error;
    char *descriptor = model_descriptor(variant);
    cr_assert(descriptor);
    struct publisher_config config = {
        .redis = support_config(socket),
        .model = "test",
        .descriptor = descriptor,
        .half = half,
        .garbage_ttl_s = SUPPORT_TTL,
        .base_ratio = 100,
    };
    struct publisher *publisher = publisher_new(&config, &error);
    cr_assert(publisher, "%s", error.text);
    free(descriptor);
    cr_assert_eq(publisher_start(publisher, 0, &error), 0, "%s", error.text);
    return publisher;
}

static struct publisher_reader *scene_reader(const char *socket)
{
    struct base_error error;
    struct publisher_reader_config config = {.redis = support_config(socket), .model = "test", .scorers = 2};
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    cr_assert(reader, "%s", error.text);
    return reader;
}

static void scene_open(struct scene *scene)
{
    *scene = (struct scene){.redis = support_redis_start(NULL)};
    scene->socket = support_redis_socket(scene->redis);
    scene->model = trainer_model_new(model_config(0), true, &scene->error);
    cr_assert(scene->model, "%s", scene->error.text);
    scene->publisher = scene_publisher(scene->socket, 0, false);
    scene->reader = scene_reader(scene->socket);
}

static void scene_close(struct scene *scene)
{
    publisher_reader_free(scene->reader);
    publisher_free(scene->publisher);
    trainer_model_free(scene->model);
    support_redis_stop(scene->redis);
}

// Trains a little and publishes.
static struct publisher_result scene_publish(struct scene *scene, bool full)
{
    model_train(scene->model, &scene->step, 4);
    struct publisher_result result;
    struct trainer_snapshot *snapshot = trainer_model_snapshot(
        scene->model, (int64_t)scene->step, full || publisher_wants_full(scene->publisher));
    cr_assert_eq(publisher_publish(scene->publisher, snapshot, NULL, &result, &scene->error), 0, "%s",
                 scene->error.text);
    trainer_model_settle(scene->model, snapshot, true);
    trainer_snapshot_free(snapshot);
    return result;
}

static int follow(struct publisher_reader *reader, int timeout_ms, bool *changed, struct base_error *error)
{
    *error = (struct base_error){0};
    return publisher_reader_follow(reader, timeout_ms, changed, error);
}

static void must_change(struct scene *scene)
{
    bool changed = false;
    cr_assert_eq(follow(scene->reader, 1000, &changed, &scene->error), 0, "%s", scene->error.text);
    cr_assert(changed);
}

static void must_equal(struct scene *scene)
{
    cr_assert_eq(publisher_reader_hash(scene->reader), trainer_model_hash(scene->model));
    cr_assert_eq(publisher_reader_rows(scene->reader), trainer_table_rows(trainer_model_table(scene->model)));
    cr_assert_eq(publisher_reader_tick(scene->reader), (int64_t)scene->step);
}

Test(publisher_reader, configurations_that_cannot_be)
{
    struct base_error error;
    struct publisher_reader_config config = {.redis = support_config("/nowhere"), .model = "a b"};
    cr_assert_null(publisher_reader_new(&config, &error));
    cr_assert_eq(error.code, BASE_EINVAL);
    config.model = "m";
    config.scorers = 100000;
    cr_assert_null(publisher_reader_new(&config, &error));
    config.scorers = 0;
    config.redis.socket = NULL;
    cr_assert_null(publisher_reader_new(&config, &error));
    publisher_reader_free(NULL);
    config.redis.socket = "/nowhere";
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    bool changed;
    cr_assert_eq(publisher_reader_follow(reader, 0, &changed, &error), -1);
    cr_assert(error.code == BASE_ENETWORK && error.retriable);
    publisher_reader_free(reader);
}

Test(publisher_reader, nothing_published)
{
    struct scene scene;
    scene_open(&scene);
    bool changed = true;
    cr_assert_eq(follow(scene.reader, 20, &changed, &scene.error), -1);
    cr_assert(scene.error.code == BASE_ENOTFOUND && scene.error.retriable);
    cr_assert(changed, "untouched");
    cr_assert_eq(publisher_reader_version(scene.reader).epoch, 0);
    cr_assert_eq(publisher_reader_rows(scene.reader), 0);
    cr_assert_eq(publisher_reader_hash(scene.reader), 0);
    cr_assert_null(publisher_reader_descriptor(scene.reader));
    uint64_t room[MODEL_COLUMNS_SIZE / 8];
    struct base_span columns = model_columns(5, 0, room);
    struct publisher_version version;
    float products[MODEL_TASKS];
    cr_assert_eq(publisher_reader_score(scene.reader, &columns, 1, NULL, products, &version, &scene.error),
                 -1);
    cr_assert_eq(scene.error.code, BASE_ENOTFOUND);
    scene_close(&scene);
}

Test(publisher_reader, holds_the_trainers_bits)
{
    struct scene scene;
    scene_open(&scene);
    uint64_t tombstones = 0;
    for (int i = 0; i < 30; i++) {
        struct publisher_result result = scene_publish(&scene, i % 11 == 0);
        tombstones += result.tombstones;
        must_change(&scene);
        must_equal(&scene);
        cr_assert_eq(publisher_version_compare(publisher_reader_version(scene.reader), result.version), 0);
        if (i % 7 == 6) { // a reader that comes late bootstraps from base and deltas
            publisher_reader_free(scene.reader);
            scene.reader = scene_reader(scene.socket);
            must_change(&scene);
            must_equal(&scene);
        }
    }
    cr_assert_gt(tombstones, 50, "rows expire in this stream");
    bool changed = true;
    cr_assert_eq(follow(scene.reader, 30, &changed, &scene.error), 0);
    cr_assert_not(changed);
    scene_close(&scene);
}

Test(publisher_reader, scores_are_the_trainers_bits)
{
    enum { COUNT = 200 };
    struct scene scene;
    scene_open(&scene);
    static uint64_t rooms[COUNT][MODEL_COLUMNS_SIZE / 8];
    static float want[2][COUNT * MODEL_TASKS], got[2][COUNT * MODEL_TASKS];
    struct base_span columns[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        columns[i] = model_columns(i % 2 ? 1 : 5, i * 10, rooms[i]); // half of them trained on
    }
    for (int i = 0; i < 3; i++) {
        scene_publish(&scene, false);
        must_change(&scene);
        struct publisher_version version;
        cr_assert_eq(trainer_model_predict(scene.model, columns, COUNT, want[0], want[1], &scene.error), 0);
        cr_assert_eq(
            publisher_reader_score(scene.reader, columns, COUNT, got[0], got[1], &version, &scene.error), 0);
        cr_assert_eq(memcmp(want, got, sizeof want), 0);
        cr_assert_eq(version.number, (uint64_t)i + 1);
        cr_assert_eq(publisher_reader_score(scene.reader, columns, 1, NULL, got[0], &version, &scene.error),
                     0);
    }
    struct publisher_version version = {8, 8};
    struct base_span broken = base_span_make(rooms[0], 8);
    cr_assert_eq(publisher_reader_score(scene.reader, &broken, 1, got[0], NULL, &version, &scene.error), -1);
    cr_assert(scene.error.code == BASE_EFORMAT && version.epoch == 8);
    cr_assert_str_eq(publisher_reader_descriptor(scene.reader)->config.task_names[1], "purchase");
    scene_close(&scene);
}

// With fp16 the rows are the trainer's, rounded.
Test(publisher_reader, half_precision_rows)
{
    struct scene scene;
    scene_open(&scene);
    publisher_free(scene.publisher);
    scene.publisher = scene_publisher(scene.socket, 0, true);
    for (int round = 0; round < 2; round++) {
        model_train(scene.model, &scene.step, 4);
        struct publisher_result result;
        struct trainer_snapshot *snapshot =
            trainer_model_snapshot(scene.model, (int64_t)scene.step, round == 0);
        cr_assert_eq(publisher_publish(scene.publisher, snapshot, NULL, &result, &scene.error), 0);
        trainer_model_settle(scene.model, snapshot, true);
        trainer_snapshot_free(snapshot);
        must_change(&scene);
    }
    // The same rounding, applied to a copy of the model through the table's own interface.
    struct trainer_model *twin = trainer_model_new(model_config(0), false, &scene.error);
    struct trainer_snapshot *all = trainer_model_snapshot(scene.model, 0, true);
    size_t oov_size;
    float *oov = trainer_table_oov(trainer_model_table(twin), &oov_size);
    size_t slab = trainer_network_size(trainer_model_network(twin));
    memcpy(trainer_network_slab(trainer_model_network(twin)), all->dense, slab * sizeof(float));
    memcpy(oov, all->dense + slab, oov_size * sizeof(float));
    for (uint16_t s = 0; s < all->slots; s++) {
        for (size_t i = 0; i < all->rows[s].count; i++) {
            float vector[TRAINER_DIMENSION_MAX];
            uint32_t dimension = all->rows[s].dimension;
            for (uint32_t j = 0; j < dimension; j++) {
                vector[j] = publisher_half_to_float(
                    publisher_half_from_float(all->rows[s].vectors[i * dimension + j]));
            }
            trainer_table_set(trainer_model_table(twin), s, all->rows[s].keys[i], vector, &scene.error);
        }
    }
    cr_assert_eq(publisher_reader_hash(scene.reader), trainer_model_hash(twin));
    trainer_model_settle(scene.model, all, true);
    trainer_snapshot_free(all);
    trainer_model_free(twin);
    scene_close(&scene);
}

// A reader that slept takes only the deltas it lacks: the base may even be gone.
Test(publisher_reader, missed_versions_are_caught_up_by_deltas)
{
    struct scene scene;
    scene_open(&scene);
    scene_publish(&scene, true);
    must_change(&scene);
    for (int i = 0; i < 5; i++) {
        scene_publish(&scene, false);
    }
    redisContext *context = support_connect(scene.socket);
    redisReply *gone = support_run(context, "DEL {freshet:test}:1.1:rows:0 {freshet:test}:1.1:part");
    cr_assert_eq(gone->integer, 2);
    freeReplyObject(gone);
    must_change(&scene);
    must_equal(&scene);
    redisFree(context);
    scene_close(&scene);
}

// Head's manifest, the descriptor, a list, a rows chunk, a dense chunk: each missing, cut short, or with one
// bit flipped. The version held stays, and the next call after the repair loads all anew.
Test(publisher_reader, missing_and_damaged_keys_keep_the_version_held)
{
    struct scene scene;
    scene_open(&scene);
    scene_publish(&scene, true);
    must_change(&scene);
    uint64_t held = publisher_reader_hash(scene.reader);
    scene_publish(&scene, true);
    redisContext *context = support_connect(scene.socket);
    redisReply *keys = support_run(context, "KEYS {freshet:test}:1.2:*");
    redisReply *descriptors = support_run(context, "KEYS {freshet:test}:descriptor:*");
    cr_assert_eq(descriptors->elements, 1);
    cr_assert_gt(keys->elements, 5);
    for (size_t k = 0; k <= keys->elements; k++) {
        bool descriptor = k == keys->elements;
        const char *key = descriptor ? descriptors->element[0]->str : keys->element[k]->str;
        redisReply *value = support_run(context, "GET %s", key);
        for (int damage = 0; damage < 3; damage++) {
            char *bytes = base_alloc(value->len);
            memcpy(bytes, value->str, value->len);
            bytes[value->len / 2] ^= 4;
            if (damage == 0) {
                freeReplyObject(support_run(context, "DEL %s", key));
            } else {
                size_t size = damage == 1 ? value->len - 1 : value->len;
                freeReplyObject(support_run(context, "SET %s %b", key, bytes, size));
            }
            free(bytes);
            // A reader that holds the descriptor does not read it again; one that comes new does.
            struct publisher_reader *fresh = scene_reader(scene.socket);
            struct publisher_reader *readers[2] = {fresh, scene.reader};
            for (int r = 0; r < (descriptor ? 1 : 2); r++) {
                bool changed = false;
                cr_assert_eq(follow(readers[r], 0, &changed, &scene.error), -1, "%s, damage %d", key, damage);
                cr_assert_eq(scene.error.code, damage == 0 ? BASE_ENOTFOUND : BASE_EFORMAT, "%s: %s", key,
                             scene.error.text);
                cr_assert(scene.error.retriable);
                cr_assert(strstr(scene.error.text, key), "%s", scene.error.text);
            }
            cr_assert_eq(publisher_reader_hash(scene.reader), held);
            cr_assert_eq(publisher_reader_version(scene.reader).number, 1);
            freeReplyObject(support_run(context, "SET %s %b", key, value->str, value->len));
            bool changed = false;
            cr_assert_eq(follow(fresh, 0, &changed, &scene.error), 0, "%s", scene.error.text);
            cr_assert(changed && publisher_reader_hash(fresh) == trainer_model_hash(scene.model));
            publisher_reader_free(fresh);
        }
        freeReplyObject(value);
    }
    must_change(&scene);
    must_equal(&scene);
    freeReplyObject(keys);
    freeReplyObject(descriptors);
    redisFree(context);
    scene_close(&scene);
}

// A delta that is damaged: the whole is loaded anew as soon as it is there.
Test(publisher_reader, a_lost_delta_is_mended_by_the_next_base)
{
    struct scene scene;
    scene_open(&scene);
    scene_publish(&scene, true);
    must_change(&scene);
    uint64_t held = publisher_reader_hash(scene.reader);
    scene_publish(&scene, false);
    redisContext *context = support_connect(scene.socket);
    freeReplyObject(support_run(context, "DEL {freshet:test}:1.2:rows:1"));
    for (int i = 0; i < 4; i++) {
        bool changed;
        cr_assert_eq(follow(scene.reader, 5, &changed, &scene.error), -1);
        cr_assert_eq(publisher_reader_hash(scene.reader), held);
    }
    // The publisher notices, too.
    model_train(scene.model, &scene.step, 1);
    struct publisher_result result;
    struct trainer_snapshot *snapshot = trainer_model_snapshot(scene.model, 9, false);
    cr_assert_eq(publisher_publish(scene.publisher, snapshot, NULL, &result, &scene.error), -1);
    trainer_model_settle(scene.model, snapshot, false);
    trainer_snapshot_free(snapshot);
    scene_publish(&scene, false);
    must_change(&scene);
    must_equal(&scene);
    redisFree(context);
    scene_close(&scene);
}

Test(publisher_reader, an_older_version_is_refused_until_accepted)
{
    struct scene scene;
    scene_open(&scene);
    scene_publish(&scene, true);
    must_change(&scene);
    uint64_t first = publisher_reader_hash(scene.reader);
    redisContext *context = support_connect(scene.socket);
    redisReply *old = support_run(context, "GET {freshet:test}:head");
    scene_publish(&scene, true);
    must_change(&scene);
    freeReplyObject(support_run(context, "SET {freshet:test}:head %b", old->str, old->len));
    bool changed = false;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(follow(scene.reader, 20, &changed, &scene.error), -1);
        cr_assert_eq(scene.error.code, BASE_ECONFLICT);
        must_equal(&scene);
    }
    publisher_reader_accept_older(scene.reader);
    must_change(&scene);
    cr_assert_eq(publisher_reader_hash(scene.reader), first);
    cr_assert_eq(publisher_reader_version(scene.reader).number, 1);

    // Redis loses everything: what is held stays; the publisher's new epoch is newer.
    freeReplyObject(support_run(context, "FLUSHALL"));
    cr_assert_eq(follow(scene.reader, 0, &changed, &scene.error), -1);
    cr_assert_eq(scene.error.code, BASE_ENOTFOUND);
    cr_assert_eq(publisher_reader_hash(scene.reader), first);
    model_train(scene.model, &scene.step, 1);
    struct publisher_result result;
    struct trainer_snapshot *snapshot = trainer_model_snapshot(scene.model, 9, true);
    cr_assert_eq(publisher_publish(scene.publisher, snapshot, NULL, &result, &scene.error), -1);
    trainer_model_settle(scene.model, snapshot, false);
    trainer_snapshot_free(snapshot);
    scene_publish(&scene, true);
    must_change(&scene);
    must_equal(&scene);
    freeReplyObject(old);
    redisFree(context);
    scene_close(&scene);
}

Test(publisher_reader, another_descriptor_swaps_the_model)
{
    struct scene scene;
    scene_open(&scene);
    scene_publish(&scene, true);
    must_change(&scene);
    cr_assert_eq(publisher_reader_descriptor(scene.reader)->config.network.tower_widths[0], 16);
    trainer_model_free(scene.model);
    publisher_free(scene.publisher);
    scene.model = trainer_model_new(model_config(1), true, &scene.error);
    scene.publisher = scene_publisher(scene.socket, 1, false);
    scene_publish(&scene, true);
    must_change(&scene);
    must_equal(&scene);
    cr_assert_eq(publisher_reader_descriptor(scene.reader)->config.network.tower_widths[0], 32);
    support_check(scene.socket);
    scene_close(&scene);
}

// Versions whose checksums fit but that are not of the descriptor's model, or whose descriptor is not one.
Test(publisher_reader, versions_of_another_model_are_refused)
{
    for (int wrong = 0; wrong < 6; wrong++) {
        struct scene scene;
        scene_open(&scene);
        scene_publish(&scene, true);
        must_change(&scene);
        if (wrong == 5) {
            publisher_free(scene.publisher);
            scene.publisher = support_publisher_started(scene.socket); // "made by hand"
        }
        struct trainer_snapshot *snapshot = trainer_model_snapshot(scene.model, 1, true);
        uint32_t tensors = snapshot->tensors;
        uint32_t slots = snapshot->slots;
        uint32_t dimension = snapshot->rows[0].dimension;
        if (wrong == 0) {
            snapshot->tensors--;
        } else if (wrong == 1) {
            snapshot->tensor[0].rows--;
        } else if (wrong == 2) {
            snapshot->tensor[1].name[0] = 'X';
        } else if (wrong == 3) {
            snapshot->rows[0].dimension = 4;
        } else if (wrong == 4) {
            snapshot->slots++; // the array has room for one more
            snapshot->rows[slots] = (struct trainer_snapshot_rows){.dimension = 4,
                                                                   .count = 1,
                                                                   .keys = snapshot->rows[2].keys,
                                                                   .vectors = snapshot->rows[2].vectors};
        }
        struct publisher_result result;
        cr_assert_eq(publisher_publish(scene.publisher, snapshot, NULL, &result, &scene.error), 0, "%s",
                     scene.error.text);
        bool changed;
        uint64_t held = publisher_reader_hash(scene.reader);
        cr_assert_eq(follow(scene.reader, 0, &changed, &scene.error), -1, "case %d", wrong);
        cr_assert_eq(scene.error.code, BASE_EFORMAT, "case %d: %s", wrong, scene.error.text);
        cr_assert_eq(publisher_reader_hash(scene.reader), held);
        snapshot->tensors = tensors;
        snapshot->slots = slots;
        snapshot->rows[0].dimension = dimension;
        trainer_model_settle(scene.model, snapshot, true);
        trainer_snapshot_free(snapshot);
        scene_close(&scene);
    }
}

// The connection is cut at points all over a bootstrap and a follow: always the version before or the one
// after.
Test(publisher_reader, a_cut_connection_keeps_the_version_held)
{
    struct scene scene;
    scene_open(&scene);
    struct support_proxy *proxy = support_proxy_start(scene.redis);
    scene_publish(&scene, true);
    for (int round = 0; round < 2; round++) { // a bootstrap, then a delta
        uint64_t up, down, held = 0;
        struct publisher_reader *reader = scene_reader(support_proxy_socket(proxy));
        bool changed;
        if (round == 1) {
            cr_assert_eq(follow(reader, 0, &changed, &scene.error), 0);
            held = publisher_reader_hash(reader);
            scene_publish(&scene, false);
        }
        struct publisher_reader *measured = scene_reader(support_proxy_socket(proxy));
        support_proxy_counts(proxy, &up, &down);
        cr_assert_eq(follow(measured, 0, &changed, &scene.error), 0);
        support_proxy_counts(proxy, &up, &down);
        publisher_reader_free(measured);
        for (int i = 0; i < 20; i++) {
            int64_t at = (int64_t)(round == 0 ? down : 3000) * i / 20 + 1;
            support_proxy_cut(proxy, -1, at);
            cr_assert_eq(follow(reader, 0, &changed, &scene.error), -1, "round %d, point %d", round, i);
            cr_assert(scene.error.code == BASE_ENETWORK && scene.error.retriable);
            cr_assert_eq(publisher_reader_hash(reader), held);
            support_proxy_heal(proxy);
        }
        cr_assert_eq(follow(reader, 0, &changed, &scene.error), 0, "%s", scene.error.text);
        cr_assert_eq(publisher_reader_hash(reader), trainer_model_hash(scene.model));
        publisher_reader_free(reader);
    }
    support_proxy_stop(proxy);
    scene_close(&scene);
}

// Where it may not read the stream it polls head.
Test(publisher_reader, follows_without_announcements)
{
    struct scene scene;
    scene_open(&scene);
    redisContext *context = support_connect(scene.socket);
    freeReplyObject(support_run(context, "ACL SETUSER reader on >word ~* +get +select"));
    struct publisher_reader_config config = {.redis = support_config(scene.socket), .model = "test"};
    config.redis.user = "reader";
    config.redis.password = "word";
    publisher_reader_free(scene.reader);
    scene.reader = publisher_reader_new(&config, &scene.error);
    scene_publish(&scene, true);
    must_change(&scene);
    bool changed;
    cr_assert_eq(follow(scene.reader, 150, &changed, &scene.error), 0, "%s", scene.error.text);
    cr_assert_not(changed);
    scene_publish(&scene, false);
    must_change(&scene);
    must_equal(&scene);
    redisFree(context);
    scene_close(&scene);
}
