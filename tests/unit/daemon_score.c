// freshet score against a real Redis: JSON lines and an Avro container get the same answers, the reader's
// own; errors name the file and the line.
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "daemon/produce_container.h"
#include "daemon_support.h"
#include "publisher/reader.h"
#include "support_directory.h"
#include "support_redis.h"

enum { PATH_BYTES = SUPPORT_DIRECTORY_MAX + 32 };

struct world {
    struct support_redis *redis;
    char directory[SUPPORT_DIRECTORY_MAX];
    struct support_outcome *outcome;
};

static const char *const slot_names[] = {"item", "shop", "place"};
static const char *const slot_paths[] = {"shown.item", "shown.shop", "shown.place"};
static const struct trainer_descriptor_columns columns = {slot_names, slot_paths, NULL, NULL};

static const struct trainer_loss_config funnel = {
    .tasks = 2, .stages = 2, .task_weight = {1, 1}, .keep_negatives = 1};
// A purchase with its value, and beside the funnel seconds watched and a number of likes.
static const struct trainer_loss_config valued = {
    .tasks = 4,
    .stages = 2,
    .parent = {0, 0, 0, UINT32_MAX},
    .kind = {TRAINER_LOSS_BCE, TRAINER_LOSS_ZILN, TRAINER_LOSS_MSE, TRAINER_LOSS_POISSON},
    .task_weight = {1, 1, 1, 1},
    .keep_negatives = 1};

// Item and shop, their cross, and a place that is scored as "first".
static struct trainer_slot_config slots[4] = {
    {.row = {.name = "item", .dimension = 16, .admission = 1}},
    {.row = {.name = "shop", .dimension = 4, .admission = 1}, .column = 1},
    {.row = {.name = "pair", .dimension = 4, .admission = 1}, .crossed = 2, .cross = {0, 1}},
    {.row = {.name = "place", .dimension = 4, .admission = 1}, .column = 2, .position = true, .serves = true},
};

// One step on impressions of one item, one shop, one place, which all were clicked.
static void model_learn(struct trainer_model *model)
{
    uint64_t bytes[4] = {1 | 1 << 16 | UINT64_C(1) << 32};
    for (uint32_t c = 0; c < 3; c++) {
        static const char *const values[] = {"x", "s", "first"};
        bytes[1 + c] = base_hash_slot_bytes(base_hash_slot_salt(slot_names[c]), base_span_string(values[c]));
    }
    struct base_minibatch *minibatch = base_minibatch_new(8);
    base_minibatch_clear(minibatch, 0);
    for (uint64_t i = 0; i < 8; i++) {
        base_minibatch_add(minibatch, &(struct base_sample){.mask = 1,
                                                            .label = {1},
                                                            .weight = {1},
                                                            .trains = 1,
                                                            .sequence = i,
                                                            .impression_id = base_span_string("i"),
                                                            .columns = base_span_make(bytes, sizeof bytes)});
    }
    base_minibatch_seal(minibatch);
    struct trainer_step step;
    struct base_error error;
    cr_assert(trainer_model_step(model, minibatch, &step, &error) == 0 && !step.set_aside);
    base_minibatch_free(minibatch);
}

// Publishes an untrained model of items: its network's first weights are random, so that items differ.
// derived: one of all slots, that has learned a step.
static void model_publish(const char *socket, const struct trainer_loss_config *loss, bool derived)
{
    const struct trainer_model_config config = {
        .features = {.layout = {.categorical = derived ? 3 : 1}, .slots = derived ? 4 : 1, .slot = slots},
        .network = {.levels = 1,
                    .level = {{.widths = {16}, .layers = 1, .per_task = 1, .shared = 1}},
                    .tower_widths = {16},
                    .tower_layers = 1,
                    .batch = 8},
        .loss = *loss,
        .task_names = {"click", "purchase", "watched", "likes"},
        .update.dense.rate = 0.1,
        .update.sparse.rate = 1,
        .rows_max = 1000,
        .workers = 1,
    };
    struct base_error error = {0};
    struct trainer_model *model = trainer_model_new(&config, true, &error);
    cr_assert(model, "%s", error.text);
    if (derived) {
        model_learn(model);
    }
    char *descriptor = trainer_descriptor_write(trainer_model_config(model), &columns);
    const struct publisher_config config_publisher = {
        .redis = {.socket = socket, .timeout_ms = 2000},
        .model = "test",
        .descriptor = descriptor,
        .garbage_ttl_s = 60,
        .base_ratio = 10,
    };
    struct publisher *publisher = publisher_new(&config_publisher, &error);
    cr_assert(publisher && publisher_start(publisher, 0, &error) == 0, "%s", error.text);
    struct trainer_snapshot *snapshot = trainer_model_snapshot(model, 1, true);
    struct publisher_result result;
    cr_assert_eq(publisher_publish(publisher, snapshot, NULL, &result, &error), 0, "%s", error.text);
    trainer_model_settle(model, snapshot, true);
    trainer_snapshot_free(snapshot);
    publisher_free(publisher);
    trainer_model_free(model);
    free(descriptor);
}

// `loss`: of the published model; NULL: none is.
static void world_open(struct world *world, const struct trainer_loss_config *loss)
{
    support_directory_make(world->directory);
    world->redis = support_redis_start(NULL);
    if (loss) {
        model_publish(support_redis_socket(world->redis), loss, false);
    }
}

static void world_close(struct world *world)
{
    support_redis_stop(world->redis);
    support_directory_remove(world->directory);
    free(world->outcome);
}

// Runs `freshet score --socket ... --model test OPTION FILE [--id PATH]`; the outcome is the world's.
static const struct support_outcome *run(struct world *world, const char *option, const char *path,
                                         const char *id)
{
    const char *const arguments[] = {"--socket",
                                     support_redis_socket(world->redis),
                                     "--model",
                                     "test",
                                     option,
                                     path,
                                     id ? "--id" : NULL,
                                     id,
                                     NULL};
    free(world->outcome);
    world->outcome = support_command(daemon_command_score, "score", arguments);
    return world->outcome;
}

static void file_write(const struct world *world, const char *name, const char *text, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%s", world->directory, name);
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0);
    fclose(file);
}

// impression_id, event_time, shown {item}; strings shorter than 64 bytes.
static void avro_write(const struct world *world, const char *const ids[], const char *const items[],
                       int count, char path[PATH_BYTES])
{
    static const char schema[] =
        "{\"type\":\"record\",\"name\":\"i\",\"fields\":[{\"name\":\"impression_id\",\"type\":\"string\"},"
        "{\"name\":\"event_time\",\"type\":\"long\"},{\"name\":\"shown\",\"type\":{\"type\":\"record\","
        "\"name\":\"s\",\"fields\":[{\"name\":\"item\",\"type\":\"string\"}]}}]}";
    const uint8_t sync[DAEMON_PRODUCE_SYNC_BYTES] = {1};
    snprintf(path, PATH_BYTES, "%s/impressions.avro", world->directory);
    struct base_error error = {0};
    struct daemon_produce_container *container = daemon_produce_container_new(path, schema, sync, &error);
    cr_assert(container, "%s", error.text);
    for (int i = 0; i < count; i++) {
        char record[256];
        int size = snprintf(record, sizeof record, "%c%s%c%c%s", (char)(2 * strlen(ids[i])), ids[i], 2,
                            (char)(2 * strlen(items[i])), items[i]);
        cr_assert_eq(daemon_produce_container_append(container, base_span_make(record, (size_t)size), &error),
                     0);
    }
    cr_assert_eq(daemon_produce_container_finish(container, &error), 0, "%s", error.text);
    daemon_produce_container_free(container);
}

// What the reader library says of an item.
static void reader_score(const struct world *world, const char *item, float *conditional, float *products)
{
    const struct publisher_reader_config config = {
        .redis = {.socket = support_redis_socket(world->redis), .timeout_ms = 2000}, .model = "test"};
    struct base_error error = {0};
    bool changed;
    struct publisher_reader *reader = publisher_reader_new(&config, &error);
    cr_assert(reader && publisher_reader_follow(reader, 0, &changed, &error) == 0, "%s", error.text);
    const uint64_t keys[] = {1, base_hash_slot_bytes(base_hash_slot_salt("item"), base_span_string(item))};
    const struct base_span span = base_span_make(keys, sizeof keys);
    struct publisher_version version;
    cr_assert_eq(publisher_reader_score(reader, &span, 1, conditional, products, &version, &error), 0);
    publisher_reader_free(reader);
}

Test(daemon_score, lines_and_containers_get_the_readers_answers)
{
    struct world world = {0};
    world_open(&world, &funnel);
    char lines[PATH_BYTES], avro[PATH_BYTES], first[DAEMON_SUPPORT_TEXT];
    file_write(&world, "i.jsonl",
               "{\"impression_id\": \"a\", \"shown\": {\"item\": \"x\"}}\n"
               "\n"
               "{\"impression_id\": \"b\", \"shown\": {\"item\": \"y\"}}",
               lines);
    const struct support_outcome *outcome = run(&world, "--json", lines, NULL);
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    snprintf(first, sizeof first, "%s", outcome->out);
    avro_write(&world, (const char *const[]){"a", "b"}, (const char *const[]){"x", "y"}, 2, avro);
    outcome = run(&world, "--avro", avro, NULL);
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    cr_assert_str_eq(outcome->out, first);

    char *second_line = strchr(first, '\n');
    cr_assert(second_line && strchr(second_line + 1, '\n')[1] == '\0', "two lines: %s", first);
    float conditional[2], products[2];
    reader_score(&world, "y", conditional, products);
    json_t *line = json_loads(second_line, 0, NULL);
    cr_assert(line, "%s", first);
    cr_assert_str_eq(json_string_value(json_object_get(line, "impression_id")), "b");
    const json_t *task = json_array_get(json_object_get(line, "tasks"), 1);
    cr_assert_str_eq(json_string_value(json_object_get(task, "name")), "purchase");
    cr_assert_float_eq(json_real_value(json_object_get(task, "product")), (double)products[1], 1e-7);
    json_decref(line);
    world_close(&world);
}

static double said(const json_t *task, const char *key)
{
    const json_t *value = json_object_get(task, key);
    cr_assert(json_is_real(value), "%s", key);
    return json_real_value(value);
}

// The click's probability in the first line of an outcome that lies `line` lines on.
static double click_of(const struct support_outcome *outcome, int line)
{
    const char *at = outcome->out;
    for (; line > 0; line--) {
        at = strchr(at, '\n') + 1;
    }
    json_t *object = json_loads(at, JSON_DISABLE_EOF_CHECK, NULL);
    cr_assert(object, "%s", at);
    double probability = said(json_array_get(json_object_get(object, "tasks"), 0), "product");
    json_decref(object);
    return probability;
}

// A place that is said, another, and none make no difference; that it was learned does.
Test(daemon_score, crosses_and_positions)
{
    struct world world = {0};
    world_open(&world, NULL);
    slots[3].serving = base_hash_slot_bytes(base_hash_slot_salt("place"), base_span_string("first"));
    model_publish(support_redis_socket(world.redis), &funnel, true);
    char path[PATH_BYTES];
    file_write(&world, "i.jsonl",
               "{\"shown\": {\"item\": \"x\", \"shop\": \"s\", \"place\": \"first\"}}\n"
               "{\"shown\": {\"item\": \"x\", \"shop\": \"s\", \"place\": \"last\"}}\n"
               "{\"shown\": {\"item\": \"x\", \"shop\": \"s\"}}\n"
               "{\"shown\": {\"item\": \"x\", \"shop\": \"t\"}}\n",
               path);
    const struct support_outcome *outcome = run(&world, "--json", path, NULL);
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    double first = click_of(outcome, 0);
    cr_assert_eq(click_of(outcome, 1), first);
    cr_assert_eq(click_of(outcome, 2), first);
    cr_assert_neq(click_of(outcome, 3), first); // another shop and another combination
    slots[3].serving = base_hash_slot_bytes(base_hash_slot_salt("place"), base_span_string("last"));
    model_publish(support_redis_socket(world.redis), &funnel, true);
    outcome = run(&world, "--json", path, NULL);
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    double never_seen = click_of(outcome, 0), odds = first / (1 - first) / (never_seen / (1 - never_seen));
    // The bias of one step: the rate 1, the gradient 1 - p with p as the network began.
    cr_assert(odds > exp(0.3) && odds < exp(0.7), "%g", odds);
    world_close(&world);
}

// What a task says follows from its loss: mse and poisson the value to expect and no probability, ziln both.
Test(daemon_score, tasks_with_values_say_what_to_expect)
{
    struct world world = {0};
    world_open(&world, &valued);
    char path[PATH_BYTES];
    file_write(&world, "i.jsonl", "{\"impression_id\": \"a\", \"shown\": {\"item\": \"x\"}}\n", path);
    const struct support_outcome *outcome = run(&world, "--json", path, NULL);
    cr_assert_eq(outcome->status, 0, "%s", outcome->err);
    json_t *line = json_loads(outcome->out, 0, NULL);
    const json_t *tasks = json_object_get(line, "tasks");
    cr_assert_eq(json_array_size(tasks), 4, "%s", outcome->out);
    float conditional[4], products[4];
    reader_score(&world, "x", conditional, products);
    static const char *const names[] = {"click", "purchase", "watched", "likes"};
    for (uint32_t k = 0; k < 4; k++) {
        const json_t *task = json_array_get(tasks, k);
        bool probable = k < 2;
        cr_expect_str_eq(json_string_value(json_object_get(task, "name")), names[k]);
        cr_expect_eq(json_object_size(task), probable ? 3 : 2, "%s", outcome->out);
        cr_expect_float_eq(said(task, k == 0 ? "product" : "value"), (double)products[k],
                           1e-7 * (1 + (double)products[k]));
        if (probable) {
            cr_expect_float_eq(said(task, "conditional"), (double)conditional[k], 1e-7);
        }
    }
    // A value to expect, not a probability: that of the purchase would be below this product.
    cr_expect(products[1] > conditional[0] * conditional[1], "%g", (double)products[1]);
    json_decref(line);
    world_close(&world);
}

Test(daemon_score, the_id_may_lie_deep_or_be_none)
{
    struct world world = {0};
    world_open(&world, &funnel);
    char path[PATH_BYTES];
    file_write(&world, "i.jsonl", "{\"meta\": {\"id\": \"deep\"}, \"shown\": {\"item\": \"x\"}}\n", path);
    cr_assert(strstr(run(&world, "--json", path, "meta.id")->out, "\"impression_id\":\"deep\""), "%s",
              world.outcome->out);
    cr_assert(strstr(run(&world, "--json", path, NULL)->out, "\"impression_id\":null"), "%s",
              world.outcome->out);
    // Bytes that JSON cannot hold.
    avro_write(&world, (const char *const[]){"\xff"}, (const char *const[]){"x"}, 1, path);
    cr_assert(strstr(run(&world, "--avro", path, NULL)->out, "\"impression_id\":null"), "%s",
              world.outcome->out);
    world_close(&world);
}

Test(daemon_score, errors_name_the_place)
{
    struct world world = {0};
    world_open(&world, &funnel);
    char path[PATH_BYTES], place[PATH_BYTES + 8];
    file_write(&world, "i.jsonl", "{\"shown\": {\"item\": \"x\"}}\n{\"shown\": ", path);
    snprintf(place, sizeof place, "%s:2: ", path);
    const struct support_outcome *outcome = run(&world, "--json", path, NULL);
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, place), "%s", outcome->err);
    cr_assert(strstr(outcome->out, "\"tasks\""), "what came before is answered");

    outcome = run(&world, "--json", world.directory, NULL); // opens, but cannot be read
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, world.directory), "%s", outcome->err);

    const char *const options[] = {"--json", "--avro"};
    for (int i = 0; i < 2; i++) {
        outcome = run(&world, options[i], "/nowhere/impressions", NULL);
        cr_assert_eq(outcome->status, 1);
        cr_assert(strstr(outcome->err, "/nowhere/impressions"), "%s", outcome->err);
    }
    outcome = run(&world, "--avro", path, NULL); // no container
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, path), "%s", outcome->err);
    cr_assert_eq(run(&world, "--nothing", path, NULL)->status, 2);
    world_close(&world);
}

Test(daemon_score, nothing_is_published)
{
    struct world world = {0};
    world_open(&world, NULL);
    const struct support_outcome *outcome = run(&world, "--json", "/dev/null", NULL);
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, "test"), "the model is named: %s", outcome->err);
    support_redis_kill(world.redis);
    outcome = run(&world, "--json", "/dev/null", NULL);
    cr_assert_eq(outcome->status, 1);
    cr_assert(strstr(outcome->err, support_redis_socket(world.redis)), "%s", outcome->err);
    world_close(&world);
}
