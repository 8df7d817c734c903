// The descriptor: canonical text, round trip, and everything that a reader has to refuse.
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/descriptor.h"
#include "trainer_model_support.h"

static const char *const categorical_names[] = {"user", "items", "rare"};
static const char *const categorical_paths[] = {"user.id", "basket.items", "caf\xc3\xa9 \"x\""};
static const char *const numeric_names[] = {"age", "price"};
static const char *const numeric_paths[] = {"user.age", "price"};
static const struct trainer_descriptor_columns columns = {categorical_names, categorical_paths, numeric_names,
                                                          numeric_paths};

// Everything that a descriptor can say, odd numbers included.
static struct trainer_model_config *rich_config(void)
{
    static struct trainer_slot_config slots[MODEL_SLOTS + 1];
    static struct trainer_numeric_config numerics[2];
    struct trainer_model_config *config = model_config_make(1);
    memcpy(slots, config->features.slot, MODEL_SLOTS * sizeof *slots);
    slots[MODEL_SLOTS] =
        (struct trainer_slot_config){.row = {"price bucket", 12, 1, 0},
                                     .bucketised = true,
                                     .column = 1,
                                     .boundaries = 7,
                                     .boundary = {-1e300, -0.1, 0, DBL_MIN, 1.0 / 3, 3, 1e22}};
    numerics[0] = config->features.numeric[0];
    numerics[1] = (struct trainer_numeric_config){"price", 1, true, 0.1 + 0.2, 123456.789};
    config->features = (struct trainer_features_config){{3, 2}, MODEL_SLOTS + 1, slots, 2, numerics};
    return config;
}

static char *rich_text(void)
{
    char *text = trainer_descriptor_write(rich_config(), &columns);
    cr_assert_not_null(text);
    return text;
}

static struct trainer_descriptor *parse(const char *text)
{
    struct base_error error;
    struct trainer_descriptor *descriptor = trainer_descriptor_parse(text, strlen(text), &error);
    cr_assert_not_null(descriptor, "%s", error.text);
    return descriptor;
}

Test(trainer_descriptor, text_is_canonical)
{
    char *text = rich_text();
    const char *expected =
        "{\"body\":{\"kind\":\"ple\",\"levels\":[{\"per_task\":1,\"shared\":1,\"widths\":[32,16]},"
        "{\"per_task\":1,\"shared\":2,\"widths\":[16]}],\"tower_widths\":[16]},"
        "\"canonical_bytes\":\"string, bytes, fixed, enum symbol: its bytes; integer, boolean, bucket "
        "number: 8 bytes, "
        "little-endian two's complement\","
        "\"columns\":{\"categorical\":[{\"name\":\"user\",\"path\":\"user.id\"},"
        "{\"name\":\"items\",\"path\":\"basket.items\"},{\"name\":\"rare\",\"path\":\"caf\xc3\xa9 "
        "\\\"x\\\"\"}],"
        "\"numeric\":[{\"name\":\"age\",\"path\":\"user.age\"},{\"name\":\"price\",\"path\":\"price\"}]},"
        "\"format\":1,\"hashing\":\"xxh3-64 seeded with xxh3-64(slot name)\",\"inputs\":32,"
        "\"numeric_inputs\":[{\"column\":0,\"deviation\":2.0,\"log1p\":false,\"mean\":1.0,\"name\":\"age\"},"
        "{\"column\":1,\"deviation\":123456.789,\"log1p\":true,\"mean\":0.30000000000000004,\"name\":"
        "\"price\"}],"
        "\"slots\":[{\"categorical\":0,\"dimension\":4,\"name\":\"user\",\"pooling\":\"sum\"},"
        "{\"categorical\":1,\"dimension\":8,\"name\":\"items\",\"pooling\":\"mean\"},"
        "{\"categorical\":2,\"dimension\":4,\"name\":\"rare\",\"pooling\":\"sum\"},"
        "{\"boundaries\":[-1e300,-0.1,0.0,2.2250738585072014e-308,0.3333333333333333,3.0,1e22],"
        "\"dimension\":12,\"name\":\"price bucket\",\"numeric\":1,\"pooling\":\"sum\"}],"
        "\"tasks\":[{\"name\":\"click\",\"stage\":true},{\"name\":\"purchase\",\"stage\":true},"
        "{\"name\":\"favourite\",\"parent\":0,\"stage\":false}],\"tensors\":[{\"columns\":";
    cr_assert_eq(strncmp(text, expected, strlen(expected)), 0, "%s", text);
    const char *end = "{\"columns\":12,\"name\":\"oov.price bucket\",\"rows\":1}]}";
    cr_assert_str_eq(text + strlen(text) - strlen(end), end);
    free(text);
}

Test(trainer_descriptor, reads_back_what_was_written)
{
    char *text = rich_text();
    const struct trainer_model_config *config = rich_config();
    struct trainer_descriptor *descriptor = parse(text);
    const struct trainer_model_config *read = &descriptor->config;
    cr_assert_eq(read->features.slots, config->features.slots);
    for (uint32_t s = 0; s < config->features.slots; s++) {
        const struct trainer_slot_config *slot = &config->features.slot[s], *same = &read->features.slot[s];
        cr_assert_str_eq(same->row.name, slot->row.name);
        cr_assert(same->row.dimension == slot->row.dimension && same->pooling == slot->pooling);
        cr_assert(same->bucketised == slot->bucketised && same->column == slot->column);
        cr_assert_eq(same->boundaries, slot->boundaries);
        cr_assert(memcmp(same->boundary, slot->boundary, slot->boundaries * sizeof(double)) == 0);
    }
    for (uint32_t i = 0; i < 2; i++) {
        const struct trainer_numeric_config *numeric = &config->features.numeric[i];
        const struct trainer_numeric_config *same = &read->features.numeric[i];
        cr_assert_str_eq(same->name, numeric->name);
        cr_assert(same->column == numeric->column && same->log1p == numeric->log1p);
        cr_assert(same->mean == numeric->mean && same->deviation == numeric->deviation);
        cr_assert_str_eq(descriptor->columns.numeric[i], numeric_names[i]);
        cr_assert_str_eq(descriptor->columns.numeric_paths[i], numeric_paths[i]);
    }
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_str_eq(descriptor->columns.categorical[i], categorical_names[i]);
        cr_assert_str_eq(descriptor->columns.categorical_paths[i], categorical_paths[i]);
        cr_assert_str_eq(read->task_names[i], config->task_names[i]);
    }
    cr_assert(read->loss.tasks == 3 && read->loss.stages == 2 && read->loss.parent[2] == 0);
    char *again = trainer_descriptor_write(read, &descriptor->columns);
    cr_assert_str_eq(again, text);
    cr_assert_eq(trainer_descriptor_hash(again), trainer_descriptor_hash(text));
    again[20]++;
    cr_assert_neq(trainer_descriptor_hash(again), trainer_descriptor_hash(text));
    free(again);
    free(text);
    trainer_descriptor_free(descriptor);
    trainer_descriptor_free(NULL);
}

Test(trainer_descriptor, side_tasks_without_a_product_read_back)
{
    struct trainer_model_config *config = rich_config();
    config->loss.parent[2] = UINT32_MAX;
    char *text = trainer_descriptor_write(config, &columns);
    cr_assert_not_null(strstr(text, "\"parent\":null"));
    struct trainer_descriptor *descriptor = parse(text);
    cr_assert_eq(descriptor->config.loss.parent[2], UINT32_MAX);
    trainer_descriptor_free(descriptor);
    free(text);
}

// The rich configuration with two crosses, one of them in front of what it combines.
static struct trainer_model_config *crossed_config(void)
{
    static struct trainer_slot_config slots[MODEL_SLOTS + 3];
    struct trainer_model_config *config = rich_config();
    memcpy(slots + 1, config->features.slot, (MODEL_SLOTS + 1) * sizeof *slots);
    slots[0] = (struct trainer_slot_config){.row = {"user x bucket", 4, 1, 0}, .crossed = 2, .cross = {1, 4}};
    slots[MODEL_SLOTS + 2] = (struct trainer_slot_config){
        .row = {"all", 8, 1, 0}, .crossed = 4, .cross = {3, 1, 4, 2}, .pooling = TRAINER_POOLING_MEAN};
    config->features.slot = slots;
    config->features.slots = MODEL_SLOTS + 3;
    return config;
}

Test(trainer_descriptor, crosses_read_back_and_have_a_format_of_their_own)
{
    char *text = trainer_descriptor_write(crossed_config(), &columns);
    cr_assert_not_null(
        strstr(text, "{\"cross\":[1,4],\"dimension\":4,\"name\":\"user x bucket\",\"pooling\":\"sum\"}"));
    cr_assert_not_null(
        strstr(text, "{\"cross\":[3,1,4,2],\"dimension\":8,\"name\":\"all\",\"pooling\":\"mean\"}"));
    cr_assert_not_null(strstr(text, "\"format\":2,"));
    struct trainer_descriptor *descriptor = parse(text);
    const struct trainer_slot_config *read = descriptor->config.features.slot;
    cr_assert(read[0].crossed == 2 && read[0].cross[0] == 1 && read[0].cross[1] == 4 && !read[0].bucketised);
    cr_assert(read[MODEL_SLOTS + 2].crossed == 4 && read[1].crossed == 0);
    char *again = trainer_descriptor_write(&descriptor->config, &descriptor->columns);
    cr_assert_str_eq(again, text);
    free(again);
    free(text);
    trainer_descriptor_free(descriptor);
}

// Two positions: a column scored at a key, a bucket scored without.
static struct trainer_model_config *placed_config(void)
{
    struct trainer_model_config *config = rich_config();
    struct trainer_slot_config *slots = config->features.slot;
    slots[2].position = slots[2].serves = true;
    slots[2].serving = 0x00fedcba98765432;
    slots[3].position = true;
    slots[3].row.dimension = 4;
    return config;
}

Test(trainer_descriptor, positions_read_back)
{
    char *text = trainer_descriptor_write(placed_config(), &columns);
    cr_assert_not_null(strstr(text, "{\"categorical\":2,\"dimension\":4,\"name\":\"rare\",\"pooling\":"
                                    "\"sum\",\"role\":\"position\",\"serving\":\"00fedcba98765432\"}"));
    cr_assert_not_null(strstr(text, "\"numeric\":1,\"pooling\":\"sum\",\"role\":\"position\"}"));
    cr_assert_not_null(strstr(text, "\"format\":2,"));
    cr_assert_not_null(strstr(text, "\"inputs\":16,"));
    struct trainer_descriptor *descriptor = parse(text);
    const struct trainer_slot_config *read = descriptor->config.features.slot;
    cr_assert(read[2].position && read[2].serves && read[2].serving == 0x00fedcba98765432);
    cr_assert(read[3].position && !read[3].serves && read[3].bucketised && !read[1].position);
    char *again = trainer_descriptor_write(&descriptor->config, &descriptor->columns);
    cr_assert_str_eq(again, text);
    free(again);
    free(text);
    trainer_descriptor_free(descriptor);
}

// Losses that are not bce, a stage in two branches, an imputed error: said where they are, and only there.
Test(trainer_descriptor, losses_read_back)
{
    struct trainer_model_config *config = rich_config();
    config->loss.parent[2] = 0;
    for (uint32_t form = 0; form < 3; form++) {
        struct trainer_loss_config *loss = &config->loss;
        memset(loss->kind, 0, sizeof loss->kind);
        loss->branch = form == 1 ? 2 : 0;
        loss->correction = form == 2 ? TRAINER_CORRECTION_DR : TRAINER_CORRECTION_NONE;
        loss->propensity_min = 0.1f;
        loss->kind[1] = TRAINER_LOSS_ZILN * (form < 2);
        loss->kind[2] = form == 1 ? TRAINER_LOSS_BCE : form ? TRAINER_LOSS_POISSON : TRAINER_LOSS_MSE;
        char *text = trainer_descriptor_write(config, &columns);
        cr_assert_not_null(text);
        cr_expect_eq(strstr(text, "\"loss\":\"ziln\"") != NULL, form < 2);
        cr_expect_eq(strstr(text, "\"loss\":\"mse\"") != NULL, form == 0);
        cr_expect_eq(strstr(text, "\"loss\":\"poisson\"") != NULL, form == 2);
        cr_expect_eq(strstr(text, "\"branch\":2") != NULL, form == 1);
        cr_expect_eq(strstr(text, "\"imputed\":true") != NULL, form == 2);
        cr_expect_null(strstr(text, "\"loss\":\"bce\""));
        struct trainer_descriptor *read = parse(text);
        const struct trainer_loss_config *back = &read->config.loss;
        cr_expect(memcmp(back->kind, loss->kind, sizeof loss->kind) == 0 && back->branch == loss->branch);
        for (uint32_t k = 0; k < MODEL_TASKS; k++) {
            cr_expect_eq(read->config.network.outputs[k], trainer_loss_outputs(loss, k));
        }
        trainer_model_free(model_make(&read->config, false));
        trainer_descriptor_free(read);
        free(text);
    }
}

// What only training needs leaves no trace in the descriptor, so that it does not change the model's
// identity.
Test(trainer_descriptor, training_settings_leave_no_trace)
{
    char *text = rich_text();
    struct trainer_model_config *config = rich_config();
    config->features.slot[0].row.admission = 5;
    config->features.slot[0].row.expiry_ms = 77;
    config->update.dense.rate = 3;
    config->seed = 99;
    config->workers = 2;
    config->loss.task_weight[0] = 9;
    char *other = trainer_descriptor_write(config, &columns);
    cr_assert_str_eq(text, other);
    free(text);
    free(other);
}

// A model made of nothing but descriptor and snapshot scores as the trainer does, bit for bit.
static void expect_reader_scores(enum trainer_body body)
{
    struct base_error error;
    struct trainer_model_config *config = model_config_make(1);
    config->network.body = body;
    config->network.soft_l2 = 0.125f;
    struct trainer_model *model = model_make(config, true);
    char *text = trainer_descriptor_write(config, &columns);
    struct trainer_descriptor *descriptor = parse(text);
    cr_assert_eq(descriptor->config.network.body, body);
    model_train(model, 1, 0, 20);
    struct trainer_snapshot *snapshot = trainer_model_snapshot(model, 0, true);
    struct trainer_model *reader = model_load(NULL, &descriptor->config, snapshot);
    cr_assert_eq(trainer_model_hash(reader), trainer_model_hash(model));
    struct base_minibatch *minibatch = model_minibatch(4, 0, 30);
    struct base_span spans[30];
    float products[2][30 * MODEL_TASKS];
    for (uint32_t i = 0; i < 30; i++) {
        spans[i] = minibatch->samples[i].columns;
    }
    cr_assert_eq(trainer_model_predict(model, spans, 30, NULL, products[0], &error), 0);
    cr_assert_eq(trainer_model_predict(reader, spans, 30, NULL, products[1], &error), 0);
    cr_assert(memcmp(products[0], products[1], sizeof products[0]) == 0);
    base_minibatch_free(minibatch);
    trainer_model_settle(model, snapshot, true);
    trainer_snapshot_free(snapshot);
    trainer_model_free(reader);
    trainer_model_free(model);
    trainer_descriptor_free(descriptor);
    free(text);
}

Test(trainer_descriptor, a_reader_made_of_it_scores_the_same_bits)
{
    for (enum trainer_body body = 0; body < TRAINER_BODIES; body++) {
        expect_reader_scores(body);
    }
}

static void expect_refused(const char *text, size_t size, const char *said)
{
    struct base_error error = {0};
    cr_assert_null(trainer_descriptor_parse(text, size, &error), "%s", said);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert_not_null(strstr(error.text, said), "%s: %s", said, error.text);
}

// A change of the descriptor's text, and a word of what is then said.
struct edit {
    const char *from, *to, *said;
};

static void expect_edits_refused(const struct edit *edits, size_t count)
{
    char *text = rich_text();
    size_t room = 2 * strlen(text);
    char *edited = base_alloc(room);
    for (size_t i = 0; i < count; i++) {
        // "}]}" is the end; other texts are taken where they stand first.
        bool end = strcmp(edits[i].from, "}]}") == 0;
        char *at = end ? text + strlen(text) - 3 : strstr(text, edits[i].from);
        cr_assert_not_null(at, "%s", edits[i].from);
        snprintf(edited, room, "%.*s%s%s", (int)(at - text), text, edits[i].to, at + strlen(edits[i].from));
        expect_refused(edited, strlen(edited), edits[i].said);
    }
    free(edited);
    free(text);
}

Test(trainer_descriptor, refuses_what_it_does_not_know)
{
    static const struct edit edits[] = {
        {"\"format\":1", "\"format\":2", "format"},
        {"\"format\":1,", "", "no format"},
        {"{\"body\"", "{\"aaa\":1,\"body\"", "aaa"},
        {"\"inputs\":32", "\"inputs\":48", "inputs"},
        {"xxh3-64 seeded", "murmur seeded", "hashing"},
        {"little-endian", "big-endian", "canonical_bytes"},
        {"\"name\":\"click\",", "\"loss\":\"huber\",\"name\":\"click\",", "huber"},
        {"\"name\":\"click\",", "\"loss\":\"bce\",\"name\":\"click\",", "tasks are not those"},
        {"\"name\":\"click\",", "\"loss\":\"mse\",\"name\":\"click\",", "a stage's loss"},
        {"\"name\":\"purchase\",", "\"branch\":7,\"name\":\"purchase\",", "task 7 cannot"},
        {"\"kind\":\"ple\"", "\"kind\":\"mmoe\"", "tensors"},
        {"\"kind\":\"ple\"", "\"kind\":\"sluice\"", "kind"},
        {"\"kind\":\"ple\"", "\"kind\":\"\"", "kind"},
        {"\"kind\":\"ple\"", "\"kind\":\"soft_l2\",\"soft_l2\":0.5", "soft_l2"},
        {"\"kind\":\"ple\",", "", "kind"},
        {"\"levels\":[{\"per_task\":1,\"shared\":1,\"widths\":[32,16]},",
         "\"levels\":[{\"per_task\":1,\"shared\":1,"
         "\"skip\":true,\"widths\":[32,16]},",
         "skip"},
        {"\"widths\":[32,16]", "\"widths\":[48,16]", "tensors"},
        {"\"widths\":[32,16]", "\"widths\":[33,16]", "body"},
        {"\"widths\":[32,16]", "\"widths\":[0,16]", "widths"},
        {"\"widths\":[32,16]", "\"widths\":[8192,8192,8192,8192,8192,8192]", "weights"},
        {"\"widths\":[32,16]", "\"widths\":[]", "widths"},
        {"\"widths\":[32,16]", "\"widths\":\"32\"", "widths"},
        {"\"shared\":1", "\"shared\":33", "shared"},
        {"\"tower_widths\":[16]", "\"tower_widths\":[16.5]", "tower_widths"},
        {"\"deviation\":2.0", "\"deviation\":0.0", "deviation"},
        {"\"deviation\":2.0", "\"deviation\":null", "deviation"},
        {"\"log1p\":false", "\"log1p\":0", "log1p"},
        {"\"column\":1", "\"column\":2", "column"},
        {"\"column\":1", "\"column\":-1", "column"},
        {"\"name\":\"favourite\",\"parent\":0", "\"name\":\"favourite\",\"parent\":2", "parent"},
        {"\"name\":\"favourite\",\"parent\":0,\"stage\":false", "\"name\":\"favourite\",\"stage\":7",
         "parent"},
        {"\"name\":\"favourite\",\"parent\":0,\"stage\":false",
         "\"name\":\"favourite\",\"parent\":0,\"stage\":7", "stage"},
        {"{\"name\":\"click\",\"stage\":true}", "{\"name\":\"click\",\"parent\":0,\"stage\":false}",
         "stages"},
        {"{\"name\":\"user\",\"path\":\"user.id\"}", "{\"name\":\"user\"}", "path"},
        {"{\"name\":\"user\",\"path\":\"user.id\"}", "[]", "columns"},
        {"\"columns\":{\"categorical\"", "\"columns\":{\"bytes\":[],\"categorical\"", "bytes"},
        {"\"tasks\":[",
         "\"tasks\":[{\"name\":\"a\",\"stage\":true},{\"name\":\"a\",\"stage\":true},"
         "{\"name\":\"a\",\"stage\":true},{\"name\":\"a\",\"stage\":true},{\"name\":\"a\",\"stage\":true},"
         "{\"name\":\"a\",\"stage\":true},",
         "tasks"},
        {"\"name\":\"oov.rare\",\"rows\":1", "\"name\":\"oov.rare\",\"rows\":2", "tensors"},
        {",\"format\"", ", \"format\"", "canonical"},
        {"{\"body\"", "{\"format\":1,\"body\"", "duplicate"},
        {"}]}", "}]} ", "canonical"},
        {"}]}", "}]}x", "byte"},
    };
    expect_edits_refused(edits, sizeof edits / sizeof *edits);
}

Test(trainer_descriptor, refuses_slots_that_cannot_be)
{
    static const struct edit edits[] = {
        {"\"pooling\":\"mean\"", "\"pooling\":\"max\"", "pooling"},
        {"\"pooling\":\"mean\"", "\"pooling\":3", "pooling"},
        {"\"categorical\":1,", "\"categorical\":3,", "items"},
        {"\"pooling\":\"mean\"", "\"pooling\":\"mean\",\"role\":\"position\"", "slot items: a position is"},
        {"\"name\":\"user\",\"pooling\":\"sum\"",
         "\"name\":\"user\",\"pooling\":\"sum\",\"role\":\"position\"", "not of format 1"},
        {"\"name\":\"user\",\"pooling\":\"sum\"",
         "\"name\":\"user\",\"pooling\":\"sum\",\"role\":\"feature\"", "slots[].role is \"feature\""},
        {"\"pooling\":\"mean\"", "\"pooling\":\"mean\",\"serving\":\"0000000000000001\"",
         "slots[] has serving"},
        {"\"pooling\":\"mean\"",
         "\"pooling\":\"mean\",\"role\":\"position\",\"serving\":\"000000000000000G\"",
         "not a key of 16 digits"},
        {"\"pooling\":\"mean\"", "\"pooling\":\"mean\",\"role\":\"position\",\"serving\":\"1\"",
         "not a key of 16 digits"},
        {"\"pooling\":\"mean\"", "\"pooling\":\"mean\",\"role\":\"position\",\"serving\":7",
         "serving is not a string"},
        {"\"categorical\":1,", "\"columns\":[0,1],", "categorical"},
        {"\"categorical\":1,", "\"cross\":[0,1],", "a cross with slot items, which is a cross"},
        {"\"categorical\":1,", "\"cross\":[0,2],", "not of format 1"},
        {"\"categorical\":1,", "\"cross\":[0,4],", "there are 4"},
        {"\"categorical\":1,", "\"cross\":[0,0],", "slot user twice"},
        {"\"categorical\":1,", "\"cross\":[0],", "cross is not an array of 2..4"},
        {"\"categorical\":1,", "\"cross\":[0,-1],", "not the place of a slot"},
        {"\"categorical\":1,", "\"cross\":[0,\"user\"],", "not the place of a slot"},
        {"\"categorical\":1,", "\"categorical\":1,\"cross\":[0,2],", "slots[] has categorical"},
        {"\"dimension\":8", "\"dimension\":2", "dimension"},
        {"\"dimension\":8", "\"dimension\":12", "inputs"},
        {"\"dimension\":8,\"name\":\"items\"", "\"dimension\":8,\"name\":\"itemz\"", "tensors"},
        {"\"name\":\"items\",\"pooling\"",
         "\"name\":\"a name that is too long for a tensor, which has to fit 64 bytes\",\"pooling\"", "name"},
        {"\"boundaries\":[-1e300,-0.1,", "\"boundaries\":[-0.1,-1e300,", "ascend"},
        {"\"boundaries\":[-1e300,", "\"boundaries\":[\"x\",", "boundaries"},
        {"-0.1,0.0,", "-0.1,0,", "boundaries"},
        {"-0.1,0.0,", "-0.1,0.00,", "canonical"},
    };
    expect_edits_refused(edits, sizeof edits / sizeof *edits);
}

Test(trainer_descriptor, refuses_what_is_cut_off)
{
    char *text = rich_text();
    for (size_t size = 0; size < strlen(text); size += 7) {
        expect_refused(text, size, "descriptor");
    }
    expect_refused("[]", 2, "format");
    expect_refused("{}", 2, "format");
    free(text);
}

Test(trainer_descriptor, is_not_written_for_a_network_that_cannot_be)
{
    struct trainer_model_config *config = rich_config();
    config->network.tower_widths[0] = 7;
    cr_assert_null(trainer_descriptor_write(config, &columns));
}
