// The daemon's configuration: what the example gives the rooms, and every cross check.
#include "daemon/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_directory.h"
#include "trainer/body.h"

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

#define FILES "source: {kind: files, path: /data}\n"
#define SLOTS "slots: [{name: brand, path: categorical.brand}]\n"
#define MINIMAL FILES SLOTS

// Among the problems of `text` is one that contains `expected`; and the text gives a configuration only if it
// is no error.
static void expect(const char *text, const char *expected, bool warning)
{
    struct fixture *fixture = fixture_load(text);
    bool found = false;
    for (uint32_t i = 0; i < fixture->problems.count; i++) {
        const struct base_config_problem *problem = &fixture->problems.item[i];
        found = found || (problem->warning == warning && strstr(problem->text, expected));
    }
    cr_assert(found, "no \"%s\" in:\n%s\nfirst: %s", expected, text, fixture->problems.item[0].text);
    cr_assert_eq(fixture->problems.errors == 0, fixture->config != NULL);
    cr_assert_eq(fixture->problems.errors, !warning, "%s\n%s\n%s", text, fixture->problems.item[0].text,
                 fixture->problems.item[1].text);
    fixture_free(fixture);
}

static void error(const char *text, const char *expected)
{
    expect(text, expected, false);
}

static void warning(const char *text, const char *expected)
{
    expect(text, expected, true);
}

static struct fixture *good(const char *text)
{
    struct fixture *fixture = fixture_load(text);
    cr_assert_not_null(fixture->config, "%s", fixture->problems.item[0].text);
    cr_assert_eq(fixture->problems.count, 0, "%s", fixture->problems.item[0].text);
    return fixture;
}

// --- What the rooms get ---

Test(daemon_config, defaults)
{
    struct fixture *fixture = good(MINIMAL);
    const struct daemon_config *config = fixture->config;
    cr_assert_eq(daemon_config_ranks(config), 3);
    cr_assert_str_eq(config->state_dir, "/var/lib/freshet");
    cr_assert_eq(config->tick, 500);
    cr_assert_eq(config->log_level, BASE_LOG_INFO);
    cr_assert_eq(config->publish.interval, 1000);
    cr_assert_str_eq(daemon_config_rank_name(config, 0), "impression");
    cr_assert_str_eq(daemon_config_rank_name(config, 2), "purchase");
    const struct trainer_model_config *model = daemon_config_model(config);
    cr_assert_eq(model->network.levels, 2);
    cr_assert_eq(model->network.level[0].layers, 2);
    cr_assert_eq(model->network.level[0].widths[1], 128);
    cr_assert_eq(model->network.level[1].per_task, 2);
    cr_assert_eq(model->network.tower_widths[0], 64);
    cr_assert_eq(model->network.inputs, 16);
    cr_assert_eq(model->network.batch, 256);
    cr_assert_not(model->loss.full);
    cr_assert_eq(model->loss.stages, 2);
    cr_assert_eq(model->loss.tasks, 2);
    cr_assert_eq(model->rows_max, 4000000);
    struct publisher_config publisher;
    daemon_config_publisher(config, &publisher);
    cr_assert_str_eq(publisher.model, "default");
    cr_assert_str_eq(publisher.redis.host, "127.0.0.1");
    cr_assert_eq(publisher.redis.port, 6379);
    cr_assert_null(publisher.redis.socket);
    cr_assert_eq(publisher.garbage_ttl_s, 600);
    cr_assert_not(publisher.half);
    struct consumer_registry_config registry;
    cr_assert_not(daemon_config_registry(config, &registry));
    fixture_free(fixture);
}

Test(daemon_config, the_example_is_good)
{
    struct base_config_problems *problems = calloc(1, sizeof *problems);
    struct daemon_config *config = daemon_config_load(FRESHET_SOURCE_DIR "/ops/freshet.yaml", problems);
    cr_assert_not_null(config, "%s", problems->item[0].text);
    cr_assert_eq(problems->count, 0, "%s", problems->item[0].text);
    struct consumer_kafka_config kafka;
    daemon_config_kafka(config, &kafka);
    cr_assert_str_eq(kafka.bootstrap, "127.0.0.1:9092");
    cr_assert_eq(kafka.ranks, 3);
    cr_assert_str_eq(kafka.topics[2], "purchases");
    cr_assert_eq(kafka.memory_mb, 256);
    cr_assert_eq(kafka.start, CONSUMER_OFFSET_EARLIEST);
    cr_assert_eq(kafka.timeout_ms, 30000);
    cr_assert_null(kafka.offsets);
    struct consumer_registry_config registry;
    cr_assert(daemon_config_registry(config, &registry));
    cr_assert_str_eq(registry.url, "http://127.0.0.1:8081");
    cr_assert_str_eq(registry.cache_dir, "/var/lib/freshet/schemas");
    cr_assert_eq(registry.timeout_ms, 5000);
    daemon_config_free(config);
    free(problems);
}

Test(daemon_config, columns_of_slots_buckets_and_numbers)
{
    struct fixture *fixture =
        good(FILES "slots:\n"
                   "  - {name: a, path: categorical.a, dimension: 8, expiry: 1d, admission: 3}\n"
                   "  - {name: b, path: numeric.b, boundaries: [1, 2.5], dimension: 4}\n"
                   "  - {name: user_id, pooling: mean}\n"
                   "numerics:\n"
                   "  - {name: c, path: numeric.c, log1p: true, mean: 2, deviation: 3}\n");
    const struct daemon_config *config = fixture->config;
    struct base_columns_layout layout = daemon_config_layout(config);
    cr_assert_eq(layout.categorical, 2);
    cr_assert_eq(layout.numeric, 2);
    const struct trainer_descriptor_columns *columns = daemon_config_columns(config);
    cr_assert_str_eq(columns->categorical[0], "a");
    cr_assert_str_eq(columns->categorical_paths[0], "categorical.a");
    cr_assert_str_eq(columns->categorical_paths[1], "user_id", "a path's default is the name");
    cr_assert_str_eq(columns->numeric[0], "c");
    cr_assert_str_eq(columns->numeric_paths[1], "numeric.b");

    const struct trainer_features_config *features = &daemon_config_model(config)->features;
    cr_assert_eq(features->slots, 3);
    cr_assert_eq(features->slot[0].column, 0);
    cr_assert_eq(features->slot[0].row.dimension, 8);
    cr_assert_eq(features->slot[0].row.admission, 3);
    cr_assert_eq(features->slot[0].row.expiry_ms, 86400000);
    cr_assert(features->slot[1].bucketised);
    cr_assert_eq(features->slot[1].column, 1, "behind the numeric inputs");
    cr_assert_eq(features->slot[1].boundaries, 2);
    cr_assert_eq(features->slot[1].boundary[1], 2.5);
    cr_assert_eq(features->slot[2].column, 1);
    cr_assert_eq(features->slot[2].pooling, TRAINER_POOLING_MEAN);
    cr_assert_eq(features->numerics, 1);
    cr_assert_eq(features->numeric[0].column, 0);
    cr_assert(features->numeric[0].log1p);
    cr_assert_eq(features->numeric[0].deviation, 3);

    struct consumer_decoder_config decoder;
    daemon_config_decoder(config, 0, &decoder);
    cr_assert_eq(decoder.layout.categorical, 2);
    cr_assert_str_eq(decoder.categorical[1].path, "user_id");
    cr_assert_str_eq(decoder.numeric[1].name, "b");
    cr_assert_eq(decoder.framing, CONSUMER_FRAMING_BARE, "files");
    cr_assert_str_eq(decoder.event_time, "event_time");
    cr_assert_null(decoder.event_id);
    cr_assert_null(decoder.value);
    struct base_error why;
    struct consumer_decoder *made = consumer_decoder_new(&decoder, NULL, &why);
    cr_assert_not_null(made, "%s", why.text);
    consumer_decoder_free(made);
    daemon_config_decoder(config, 1, &decoder);
    cr_assert_eq(decoder.layout.categorical, 0, "features are the impression's");
    cr_assert_str_eq(decoder.event_id, "event_id");
    made = consumer_decoder_new(&decoder, NULL, &why);
    cr_assert_not_null(made, "%s", why.text);
    consumer_decoder_free(made);
    fixture_free(fixture);
}

#define FUNNEL                                                                                            \
    "actions:\n"                                                                                          \
    "  - {name: click, topic: clicks, wait: 2m, window: 10m, dedupe: 1h}\n"                               \
    "  - {name: cart, topic: carts, wait: 5m, window: 1h, join: last_touch, touch: [user_id, item_id]}\n" \
    "  - {name: purchase, topic: orders, wait: 10m, window: 1d, weight: 2}\n"                             \
    "  - {name: like, topic: likes, wait: 5m, window: 30m, side: true, parent: click}\n"                  \
    "  - {name: view, topic: views, wait: 5m, window: 30m, side: true, parent: impression}\n"

Test(daemon_config, a_funnel_with_side_actions)
{
    struct fixture *fixture = good(MINIMAL FUNNEL "orphan_max: 9\nkeep_negatives: 0.5\nsegment: 1MiB\n"
                                                  "model: {ctcvr_to_ctr: full}\nstate_dir: /s\n");
    const struct daemon_config *config = fixture->config;
    char directory[DAEMON_CONFIG_PATH_MAX];
    struct consumer_lane_config lane;
    daemon_config_lane(config, 3, directory, &lane);
    cr_assert_str_eq(lane.directory, "/s/lanes/3");
    cr_assert_eq(lane.lane, 3);
    cr_assert_eq(lane.ranks, 6);
    cr_assert_eq(lane.orphan_max, 9);
    cr_assert_eq(lane.keep_negatives, 0.5);
    cr_assert_eq(lane.segment_bytes, 1 << 20);
    static const uint32_t parents[] = {0, 0, 1, 2, 1, 0};
    for (uint32_t rank = 1; rank < 6; rank++) {
        cr_assert_eq(lane.action[rank].parent, parents[rank]);
        cr_assert_eq(lane.action[rank].side, rank > 3);
        cr_assert_eq(lane.action[rank].last_touch, rank == 2);
    }
    cr_assert_eq(lane.dedupe[0], 600000, "impressions: the first action's window");
    cr_assert_eq(lane.dedupe[1], 3600000, "as given");
    cr_assert_eq(lane.dedupe[5], 86400000, "the longest window");
    cr_assert_eq(lane.action[3].wait, 600000);
    cr_assert_eq(lane.allowed_lateness[4], 2000);

    const struct trainer_loss_config *loss = &daemon_config_model(config)->loss;
    cr_assert_eq(loss->tasks, 5);
    cr_assert_eq(loss->stages, 3);
    cr_assert(loss->full);
    cr_assert_eq(loss->keep_negatives, 0.5f);
    cr_assert_eq(loss->task_weight[2], 2);
    cr_assert_eq(loss->parent[3], 0, "like multiplies the click's product");
    cr_assert_eq(loss->parent[4], UINT32_MAX, "view stands alone");
    cr_assert_str_eq(daemon_config_model(config)->task_names[3], "like");

    // A stage that a last touch refers to gets its child's fields; the others get none.
    struct consumer_decoder_config decoder;
    static const uint32_t fields[] = {0, 2, 2, 0, 0, 0};
    for (uint32_t rank = 0; rank < 6; rank++) {
        daemon_config_decoder(config, rank, &decoder);
        cr_assert_eq(decoder.touch_fields, fields[rank], "rank %u", rank);
    }
    daemon_config_decoder(config, 1, &decoder);
    cr_assert_str_eq(decoder.touch[1], "item_id");
    fixture_free(fixture);
}

Test(daemon_config, kafka_with_its_properties)
{
    struct fixture *fixture = good("source: {kind: kafka, bootstrap: 'a:1,b:2', start: latest, memory: 5MiB, "
                                   "properties: {client.id: x, fetch.wait.max.ms: 100}}\n"
                                   "registry: {url: 'https://r/x'}\n" SLOTS "impression: {time: kafka}\n");
    struct consumer_kafka_config kafka;
    daemon_config_kafka(fixture->config, &kafka);
    cr_assert_eq(kafka.properties, 2);
    cr_assert_str_eq(kafka.property_names[1], "fetch.wait.max.ms");
    cr_assert_str_eq(kafka.property_values[1], "100");
    cr_assert_eq(kafka.start, CONSUMER_OFFSET_LATEST);
    cr_assert_eq(kafka.memory_mb, 5);
    struct consumer_decoder_config decoder;
    daemon_config_decoder(fixture->config, 0, &decoder);
    cr_assert(decoder.time_from_kafka);
    cr_assert_null(decoder.event_time);
    cr_assert_eq(decoder.framing, CONSUMER_FRAMING_CONFLUENT);
    fixture_free(fixture);
}

Test(daemon_config, files_and_their_lanes)
{
    struct fixture *fixture =
        good("source: {kind: files, path: data, lanes: 8, key: user_id, read_ahead: 7}\n" SLOTS);
    struct consumer_files_config files;
    daemon_config_files(fixture->config, &files);
    cr_assert_str_eq(files.path, "data");
    cr_assert_eq(files.lanes, 8);
    cr_assert_str_eq(files.key, "user_id");
    cr_assert_eq(files.fetch, 7);
    cr_assert_eq(files.ranks, 3);
    cr_assert_str_eq(files.topics[0], "impressions");
    fixture_free(fixture);
}

Test(daemon_config, redis_addresses)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } cases[] = {{"h:1", "h", 1}, {"10.0.0.1:65535", "10.0.0.1", 65535}, {"'[::1]:6379'", "::1", 6379}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 MINIMAL "redis: {address: %s, timeout: 3s, database: 2}\npublish: {format: fp16}\n",
                 cases[i].text);
        struct fixture *fixture = good(text);
        struct publisher_config publisher;
        daemon_config_publisher(fixture->config, &publisher);
        cr_assert_str_eq(publisher.redis.host, cases[i].host);
        cr_assert_eq(publisher.redis.port, cases[i].port);
        cr_assert_eq(publisher.redis.timeout_ms, 3000);
        cr_assert_eq(publisher.redis.database, 2);
        cr_assert(publisher.half);
        fixture_free(fixture);
    }
    static const char *const bad[] = {"h",   "'h:'",       "':1'",        "h:0",   "h:65536",
                                      "h:x", "'::1:6379'", "'[::1:6379'", "'[]:1'"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[256];
        snprintf(text, sizeof text, MINIMAL "redis: {address: %s}\n", bad[i]);
        error(text, "is not host:port");
    }
    struct fixture *fixture = good(MINIMAL "redis: {socket: /run/redis.sock}\n");
    struct publisher_redis_config redis;
    daemon_config_redis(fixture->config, &redis);
    cr_assert_null(redis.host);
    cr_assert_str_eq(redis.socket, "/run/redis.sock");
    fixture_free(fixture);
}

// --- Files that a configuration names ---

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[SUPPORT_DIRECTORY_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static struct daemon_config *load_in(const char *directory, const char *text,
                                     struct base_config_problems *problems)
{
    char path[SUPPORT_DIRECTORY_MAX + 64];
    write_file(directory, "c.yaml", text);
    snprintf(path, sizeof path, "%s/c.yaml", directory);
    memset(problems, 0, sizeof *problems);
    return daemon_config_load(path, problems);
}

Test(daemon_config, schemas_from_files_count_by_content)
{
    char directory[SUPPORT_DIRECTORY_MAX];
    support_directory_make(directory);
    struct base_config_problems *problems = calloc(1, sizeof *problems);
    write_file(directory, "a.avsc", "{\"a\": 1}");
    write_file(directory, "b.avsc", "{\"a\": 1}");
    write_file(directory, "c.avsc", "{\"a\": 2}");
    struct daemon_config *a = load_in(directory, MINIMAL "impression: {schema: a.avsc}\n", problems);
    struct daemon_config *b = load_in(directory, MINIMAL "impression: {schema: b.avsc}\n", problems);
    struct daemon_config *c = load_in(directory,
                                      MINIMAL "impression: {schema: c.avsc, framing: single_object, "
                                              "writer_schemas: [b.avsc]}\n",
                                      problems);
    cr_assert(a && b && c, "%s", problems->item[0].text);
    struct consumer_decoder_config decoder;
    daemon_config_decoder(a, 0, &decoder);
    cr_assert_str_eq(decoder.schemas[0], "{\"a\": 1}");
    cr_assert_eq(decoder.schema_count, 1);
    cr_assert_eq(a->hash, b->hash);
    cr_assert_neq(a->hash, c->hash);
    daemon_config_decoder(c, 0, &decoder);
    cr_assert_eq(decoder.schema_count, 2);
    cr_assert_str_eq(decoder.schemas[1], "{\"a\": 1}");
    daemon_config_free(a);
    daemon_config_free(b);
    daemon_config_free(c);

    cr_assert_null(
        load_in(directory, MINIMAL "impression: {schema: none.avsc, writer_schemas: [d.avsc]}\n", problems));
    cr_assert_eq(problems->errors, 2);
    cr_assert(strstr(problems->item[1].text, "impression.schema: cannot open"));
    free(problems);
    support_directory_remove(directory);
}

Test(daemon_config, properties_from_files)
{
    char directory[SUPPORT_DIRECTORY_MAX];
    support_directory_make(directory);
    struct base_config_problems *problems = calloc(1, sizeof *problems);
    write_file(directory, "password", "geheim\nmore\n");
    static const char text[] =
        "source: {kind: kafka, bootstrap: 'a:1', property_files: {sasl.password: password}}\n"
        "registry: {url: 'http://localhost:1', user: u, password_file: password}\n"
        "redis: {password_file: password, user: u}\n" SLOTS;
    struct daemon_config *config = load_in(directory, text, problems);
    cr_assert_not_null(config, "%s", problems->item[0].text);
    struct consumer_kafka_config kafka;
    daemon_config_kafka(config, &kafka);
    cr_assert_str_eq(kafka.property_names[0], "sasl.password");
    cr_assert_str_eq(kafka.property_values[0], "geheim");
    cr_assert_str_eq(config->registry.password, "geheim");
    cr_assert_str_eq(config->redis.password, "geheim");
    daemon_config_free(config);

    cr_assert_null(load_in(directory,
                           "source: {kind: kafka, bootstrap: 'a:1', property_files: {sasl.password: /none}}\n"
                           "registry: {url: 'https://r'}\n" SLOTS,
                           problems));
    cr_assert(strstr(problems->item[0].text, "sasl.password: cannot open /none"));
    free(problems);
    support_directory_remove(directory);
}

Test(daemon_config, a_file_that_is_not_there)
{
    struct base_config_problems problems = {0};
    cr_assert_null(daemon_config_load("/nowhere/c.yaml", &problems));
    cr_assert_eq(problems.errors, 1);
    cr_assert(strstr(problems.item[0].text, "cannot open /nowhere/c.yaml"));
    daemon_config_free(NULL);
}

// --- The hash ---

Test(daemon_config, the_hash_follows_what_is_learned)
{
    struct fixture *base = good(MINIMAL);
    static const char *const same[] = {
        "redis: {address: 'h:1', timeout: 9s}\n",
        "publish: {interval: 7s, format: fp16}\n",
        "model: {workers: 8}\n",
        "state_dir: /elsewhere\nlog_level: debug\n",
        "tick: 500ms\n",
        "idle_timeout: 9s\nfuture: 1h\n",
        "segment: 1MiB\n",
        "orphan_timeout: 600s\n",
        "model: {soft_l2: 0.01, body: ple}\n",
        "impression: {propensity_min: 0.01, fields: {weight: '', propensity: ''}}\n",
        "negatives_correction: log_odds\n",
    };
    static const char *const other[] = {
        "tick: 501ms\n",
        "model: {seed: 2}\n",
        "model: {batch: 128}\n",
        "model: {rate: {dense: 0.06}}\n",
        "model: {towers: [32]}\n",
        "orphan_timeout: 11m\n",
        "impression: {allowed_lateness: 3s}\n",
        "numerics: [{name: price, path: numeric.price}]\n",
        "keep_negatives: 0.9\n",
        "impression: {fields: {weight: numeric.weight}}\n",
        "impression: {fields: {propensity: numeric.weight}}\n",
        "keep_negatives: 0.9\nnegatives_correction: weight\n",
        "actions: [{name: click, topic: clicks, wait: 10m, window: 30m}]\n",
        "model: {ctcvr_to_ctr: full}\n",
        "model: {body: mmoe}\n",
        "model: {soft_l2: 0.02}\n",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same + sizeof other / sizeof *other; i++) {
        bool equal = i < sizeof same / sizeof *same;
        char text[512];
        snprintf(text, sizeof text, MINIMAL "%s", equal ? same[i] : other[i - sizeof same / sizeof *same]);
        struct fixture *fixture = fixture_load(text);
        cr_assert_not_null(fixture->config, "%s: %s", text, fixture->problems.item[0].text);
        cr_assert_eq(fixture->config->hash == base->config->hash, equal, "%s", text);
        fixture_free(fixture);
    }
    fixture_free(base);
}

// --- Cross checks ---

Test(daemon_config, checks_of_the_model)
{
    error(MINIMAL "model: {name: 'a b'}\n", "f.yaml:3:9: model.name: \"a b\" must be 1 to 64");
    error(MINIMAL "model: {name: ''}\n", "must be 1 to 64");
    error(MINIMAL "model: {towers: [64, 50]}\n",
          "model.towers: the width 50 is not a multiple of 16 (48 is)");
    error(MINIMAL "model: {levels: [{experts: [23]}]}\n",
          "model.levels[0].experts: the width 23 is not a multiple");
    error(MINIMAL "model: {levels: [{per_task: 0, shared: 0}]}\n", "a level needs experts");
    error(MINIMAL "model: {towers: [16, 16, 16, 16, 16, 16, 16, 16, 16]}\n", "9 layers; at most 8");
    error(MINIMAL "model: {levels: [{}, {}, {}, {}, {}, {}, {}, {}, {}]}\n", "9 levels; at most 8");
    error(MINIMAL "model: {body: sluice}\n", "\"sluice\" is not one of: ple, cgc, ml_mmoe");
    error(MINIMAL "model: {body: moe, levels: [{per_task: 0, shared: 0}]}\n", "a level needs experts");
    error(MINIMAL "model: {body: soft_l2, soft_l2: -0.1}\n", "model.soft_l2");
    error(MINIMAL "model: {body: soft_l2, soft_l2: 100}\n", "model.soft_l2: 100 is too much");
}

// One line changes the body.
Test(daemon_config, every_body_takes_the_same_levels)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        char text[512];
        snprintf(text, sizeof text,
                 MINIMAL "model: {levels: [{experts: [32, 16]}, {experts: [16]}], body: %s}\n",
                 trainer_body_names[body]);
        struct fixture *fixture = fixture_load(text);
        cr_assert_not_null(fixture->config, "%s: %s", text, fixture->problems.item[0].text);
        const struct trainer_network_config *network = &daemon_config_model(fixture->config)->network;
        cr_expect_eq(network->body, body);
        cr_expect_float_eq(network->soft_l2, 0.01f, 0.0f);
        cr_expect_eq(network->levels, 2u);
        fixture_free(fixture);
    }
    // Adam's steps do not grow with the penalty.
    struct fixture *fixture =
        good(MINIMAL "model: {body: soft_l2, soft_l2: 100, optimizer: {dense: {kind: adam}}}\n");
    fixture_free(fixture);
    // Without experts there are no numbers of experts to be wrong.
    fixture = good(MINIMAL "model: {body: shared_bottom, levels: [{per_task: 0, shared: 0}]}\n");
    fixture_free(fixture);
}

Test(daemon_config, checks_of_the_source)
{
    error("source: {kind: kafka}\nregistry: {url: 'https://r'}\n" SLOTS,
          "f.yaml:1:9: source.bootstrap: must be given");
    error("source: {kind: files}\n" SLOTS, "source.path: must be given for a source of kind files");
    error("source: {kind: files, path: x, lanes: 3}\n" SLOTS,
          "source.key: must be given where lanes is above 0");
    error(SLOTS, "source.kind: must be given");
    warning("source: {kind: files, path: x, bootstrap: a}\n" SLOTS, "source.bootstrap: has no effect");
    warning("source: {kind: kafka, bootstrap: a, path: x}\nregistry: {url: 'https://r'}\n" SLOTS,
            "source.path: has no effect");
    warning("source: {kind: kafka, bootstrap: a, properties: {sasl.password: x}}\nregistry: {url: "
            "'https://r'}\n" SLOTS,
            "the secret sasl.password stands in the file");
    error("source: {kind: kafka, bootstrap: a, properties: {a: x}, property_files: {a: /x}}\n"
          "registry: {url: 'https://r'}\n" SLOTS,
          "a is given in properties too");
    char text[4096] =
        "registry: {url: 'https://r'}\n" SLOTS "source: {kind: kafka, bootstrap: a, properties: {";
    for (int i = 0; i <= CONSUMER_KAFKA_PROPERTIES_MAX; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "p%d: x, ", i);
    }
    snprintf(text + strlen(text), sizeof text - strlen(text), "}}\n");
    error(text, "65 properties; at most 64");
}

Test(daemon_config, checks_of_the_registry)
{
    error("source: {kind: kafka, bootstrap: a}\nimpression: {framing: bare}\n"
          "actions: [{name: click, topic: c, wait: 1m, window: 1m}]\n" SLOTS,
          "actions[0].framing: the framing confluent needs registry.url");
    error(MINIMAL "registry: {url: 'https://x', user: x, password_file: /dev/null}\n", "is not a file");
    error(MINIMAL "registry: {url: 'ftp://x'}\n", "must begin with http:// or https://");
    error(MINIMAL "registry: {url: 'https://x', user: u}\n", "registry.user: user and password go together");
    error(MINIMAL "registry: {ca_file: x}\n",
          "registry.url: must be given where the registry has other settings");
    warning(MINIMAL "registry: {url: 'http://example:80'}\n", "without TLS");
    warning(MINIMAL "registry: {url: 'http://localhostess'}\n", "without TLS");
    fixture_free(good(MINIMAL "registry: {url: 'http://localhost'}\n"));
    fixture_free(good(MINIMAL "registry: {url: 'http://[::1]:80/x'}\n"));
    fixture_free(good(MINIMAL "registry: {url: 'http://127.0.0.1/x'}\n"));
    struct fixture *fixture =
        fixture_load(MINIMAL "registry: {url: 'https://x', user: u, password: p, token: t}\n");
    cr_assert_eq(fixture->problems.errors, 1);
    cr_assert_eq(fixture->problems.warnings, 2, "two secrets stand in the file");
    cr_assert(strstr(fixture->problems.item[2].text, "only one kind of login can be"));
    fixture_free(fixture);
}

#define ACTIONS(...) MINIMAL "actions: [" __VA_ARGS__ "]\n"
#define CLICK "{name: click, topic: clicks, wait: 1m, window: 5m}"

Test(daemon_config, checks_of_the_funnel)
{
    error(ACTIONS("{name: click, topic: clicks, wait: 6m, window: 5m}"),
          "f.yaml:3:40: actions[0].wait: the wait, 6m, is longer than the window, 5m");
    error(ACTIONS("{name: click, topic: clicks, window: 5m}"), "actions[0].wait: must be given");
    error(ACTIONS("{topic: clicks, wait: 1m, window: 5m}"), "actions[0].name: must be given");
    error(ACTIONS("{name: Click, topic: clicks, wait: 1m, window: 5m}"), "must be 1 to 32 of a-z, 0-9");
    error(ACTIONS("{name: impression, topic: clicks, wait: 1m, window: 5m}"), "\"impression\" is taken");
    error(ACTIONS(CLICK ", {name: click, topic: c2, wait: 1m, window: 5m}"),
          "actions[1].name: \"click\" is taken");
    error(ACTIONS(CLICK ", {name: buy, topic: clicks, wait: 1m, window: 5m}"),
          "actions[1].topic: \"clicks\" is the topic of click already");
    error(ACTIONS("{name: click, topic: impressions, wait: 1m, window: 5m}"),
          "is the topic of impression already");
    error(ACTIONS("{name: click, topic: '', wait: 1m, window: 5m}"), "actions[0].topic: must not be empty");
    error(MINIMAL "actions: []\n", "0 items; from 1");
    error(ACTIONS("{name: a, topic: a, wait: 0, window: 0, side: true, parent: impression}"),
          "actions[0].side: the first action must be a stage of the funnel");
    error(ACTIONS(CLICK ", {name: a, topic: a, wait: 0, window: 0, side: true}"),
          "actions[1].parent: must be given for a side action");
    error(ACTIONS(CLICK ", {name: a, topic: a, wait: 0, window: 0, side: true, parent: none}"),
          "\"none\" is neither \"impression\" nor an action of the funnel");
    error(ACTIONS(CLICK ", {name: a, topic: a, wait: 0, window: 0, side: true, parent: click}"),
          "\"click\" is neither \"impression\" nor an action of the funnel before its last");
    error(ACTIONS(CLICK ", {name: a, topic: a, wait: 0, window: 0, parent: impression}"),
          "an action of the funnel follows the one before it");
    error(ACTIONS(CLICK ", {name: a, topic: a, wait: 0, window: 0, side: true, parent: impression}, "
                        "{name: b, topic: b, wait: 0, window: 0}"),
          "actions[2].side: an action of the funnel comes after a side action");
    char text[2048] = MINIMAL "actions: [";
    for (int i = 0; i < 8; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "{name: a%d, topic: t%d, wait: 0, window: 0}, ", i, i);
    }
    snprintf(text + strlen(text), sizeof text - strlen(text), "]\n");
    error(text, "8 actions; at most 7");
}

Test(daemon_config, a_stage_without_a_name_is_one_error)
{
    struct fixture *fixture =
        fixture_load(ACTIONS("{topic: clicks, wait: 1m, window: 5m}, "
                             "{name: buy, topic: b, wait: 0, window: 0, parent: click}, "
                             "{name: x, topic: c, wait: 0, window: 0, side: true, parent: y}"));
    cr_assert_null(fixture->config);
    cr_assert(strstr(fixture->problems.item[0].text, "actions[0].name: must be given"));
    fixture_free(fixture);
}

Test(daemon_config, checks_of_joins_and_fields)
{
    error(ACTIONS("{name: click, topic: clicks, wait: 1m, window: 5m, fields: {impression_id: ''}}"),
          "must not be empty where join is impression_id");
    error(ACTIONS(CLICK ", {name: buy, topic: b, wait: 1m, window: 5m, join: last_touch}"),
          "actions[1].touch: must be given where join is last_touch");
    error(ACTIONS("{name: click, topic: clicks, wait: 1m, window: 5m, touch: [user_id]}, "
                  "{name: buy, topic: b, wait: 1m, window: 5m, join: last_touch, touch: [user_id, item_id]}"),
          "actions[1].touch: has 2 fields where its parent click has 1");
    error(ACTIONS(CLICK ", {name: b, topic: b, wait: 0, window: 0, join: last_touch, touch: [a, b, c, d, e, "
                        "f, g, h, i]}"),
          "9 fields; at most 8");
    error(MINIMAL "impression: {fields: {impression_id: ''}}\n",
          "impression.fields.impression_id: must not be empty");
    error(MINIMAL "impression: {fields: {event_time: ''}}\n",
          "impression.fields.event_time: must not be empty unless");
    warning(MINIMAL "impression: {time: kafka}\n", "files have no timestamps");
    warning(MINIMAL "impression: {writer_schemas: [" FRESHET_SOURCE_DIR "/schemas/impression.avsc]}\n",
            "has an effect with the framing single_object only");
    error("source: {kind: kafka, bootstrap: a}\nregistry: {url: 'https://r'}\n"
          "impression: {framing: bare, schema: ''}\n" SLOTS,
          "impression.schema: without a registry a schema is needed");
    struct fixture *fixture = good(MINIMAL "impression: {schema: ''}\n");
    struct consumer_decoder_config decoder;
    daemon_config_decoder(fixture->config, 0, &decoder);
    cr_assert_null(decoder.schemas[0], "the writer's own");
    fixture_free(fixture);
}

static void feature_error(const char *path, const char *expected)
{
    char text[512];
    snprintf(text, sizeof text,
             FILES "actions: [{name: click, topic: clicks, wait: 1m, window: 5m}, "
                   "{name: purchase, topic: p, wait: 1m, window: 5m, fields: {value: order_value}}]\n"
                   "slots: [{name: x, path: %s}]\n",
             path);
    error(text, expected);
    snprintf(text, sizeof text,
             FILES "actions: [{name: click, topic: clicks, wait: 1m, window: 5m}, "
                   "{name: purchase, topic: p, wait: 1m, window: 5m, fields: {value: order_value}}]\n"
                   "numerics: [{name: x, path: %s}]\n",
             path);
    error(text, expected);
}

Test(daemon_config, labels_are_no_features)
{
    static const char *const after[] = {
        "click",       "clicked",        "is_click",    "click_time", "purchased",   "categorical.purchase",
        "label_click", "purchase_value", "order_value", "event_id",   "has_purchase"};
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        feature_error(after[i], "is known only after the impression");
    }
    feature_error("label", "names a label");
    feature_error("numeric.target", "names a label");
    feature_error("impression_id", "is the impression's identity");
    static const char *const before[] = {"user_clicks_30d", "clickiness", "categorical.brand", "ctr"};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        char text[256];
        snprintf(text, sizeof text, FILES "slots: [{name: x, path: %s}]\n", before[i]);
        fixture_free(good(text));
    }
}

Test(daemon_config, features_local_in_time_are_warned_of)
{
    static const char *const local[] = {"hour", "categorical.hour_of_day", "event_time",
                                        "numeric.day-of-week", "date"};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++) {
        char text[256];
        snprintf(text, sizeof text, FILES "slots: [{name: x, path: %s}]\n", local[i]);
        warning(text, "looks local in time");
    }
    fixture_free(good(FILES "slots: [{name: x, path: categorical.daylight}]\n"));
}

Test(daemon_config, checks_of_features)
{
    error(FILES, "no features");
    error(FILES "slots: [{name: a, dimension: 6}]\n", "slots[0].dimension: 6 is not a multiple of 4");
    error(FILES "slots: [{name: a, path: numeric.a, boundaries: [1, 1]}]\n",
          "slots[0].boundaries: must ascend: 1 follows 1");
    error(FILES "slots: [{name: a}, {name: a}]\n", "slots[1].name: \"a\" is taken");
    error(FILES "slots: [{name: a}]\nnumerics: [{name: a}]\n", "numerics[0].name: \"a\" is taken");
    error(FILES "slots: [{name: a b, path: x}]\n", "must be 1 to 64 of");
    error(FILES "slots: [{name: a, path: ''}]\n", "slots[0].path: an empty path");
    error(FILES "slots: [{path: a}]\n", "slots[0].name: must be given");
    error(FILES "numerics: [{name: a, deviation: 0}]\n", "out of bounds");
    static char text[65536];
    static const struct {
        const char *head, *item;
        int count;
        const char *expected;
    } cases[] = {
        {"slots: [", "{name: s%d}, ", 257, "f.yaml:2:1: slots: at most 256 are allowed"},
        {"numerics: [", "{name: n%d}, ", 257, "f.yaml:2:1: numerics: at most 256 are allowed"},
        {"numerics: [{name: n}]\nslots: [", "{name: s%d, boundaries: [1], dimension: 4}, ", 256,
         "257 numeric columns with those of bucketised slots"},
        {"slots: [", "{name: s%d, dimension: 256}, ", 33, "the network's input is 8448 wide; at most 8192"},
        {"slots: [{name: a, path: b, boundaries: [", "%d, ", 257, "257 boundaries; at most 256"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t used = (size_t)snprintf(text, sizeof text, FILES "%s", cases[i].head);
        for (int k = 0; k < cases[i].count; k++) {
            char item[128];
            const char *hole = strstr(cases[i].item, "%d");
            snprintf(item, sizeof item, "%.*s%d%s", (int)(hole - cases[i].item), cases[i].item, k, hole + 2);
            used += (size_t)snprintf(text + used, sizeof text - used, "%s", item);
        }
        snprintf(text + used, sizeof text - used, i == 4 ? "]}]\n" : "]\n");
        error(text, cases[i].expected);
    }
}

Test(daemon_config, checks_of_redis_and_the_rest)
{
    error(MINIMAL "redis: {address: 'a:1', socket: /s}\n", "redis.socket: stands beside address");
    error(MINIMAL "redis: {user: u}\n", "redis.user: a user needs a password");
    warning(MINIMAL "redis: {password: u}\n", "the secret stands in the file");
    warning(MINIMAL "publish: {interval: 100ms}\n", "publish.interval: is below the tick");
    error(MINIMAL "publish: {garbage_ttl: 10500ms}\n", "must be whole seconds");
    error(MINIMAL "state_dir: ''\n", "state_dir: must not be empty");
    char text[8192] = MINIMAL "state_dir: /";
    size_t used = strlen(text);
    memset(text + used, 'x', 4096);
    snprintf(text + used + 4096, 8, "\n");
    error(text, "state_dir: is too long");
}

Test(daemon_config, one_cause_is_one_error)
{
    // The refused window must not be compared with, nor the refused list of slots be called empty.
    error(MINIMAL "actions: [{name: click, topic: clicks, wait: 1h, window: x}]\n",
          "actions[0].window: expected a duration");
    error(FILES "slots: x\n", "slots: expected a list of mappings");
    error("source: {kind: x}\n" SLOTS, "source.kind: \"x\" is not one of");
}

// --- The reference page ---

Test(daemon_config, the_reference_page_is_up_to_date)
{
    struct base_buffer page = {0};
    base_config_reference(&daemon_config_table, &page);
    FILE *file = fopen(FRESHET_SOURCE_DIR "/docs/CONFIGURATION.md", "r");
    cr_assert_not_null(file);
    char *text = calloc(1, page.size + 2);
    size_t size = fread(text, 1, page.size + 1, file);
    fclose(file);
    cr_assert(size == page.size && memcmp(text, page.data, size) == 0,
              "run: freshet check --reference >docs/CONFIGURATION.md");
    free(text);
    base_buffer_free(&page);
}
