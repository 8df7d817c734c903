// Publishes versions of a small trained model and scores with the C reader, step by step at the word of
// reader_python.py. Arguments: socket, fp32 or fp16, a body, losses or features. Each line on standard input
// publishes a version, "base" or "delta"; the answer is one line of JSON: what the C reader holds and the
// scores of some impressions.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/columns.h"
#include "publisher/reader.h"
#include "tests/unit/publisher_model.h"
#include "trainer/blas.h"
#include "trainer/body.h"

enum { IMPRESSIONS = 40 };

static void must(int failed, const struct base_error *error)
{
    if (failed) {
        fprintf(stderr, "reader_python: %s\n", error->text);
        exit(1);
    }
}

// The impression's keys, column by column, and its numbers (null: NaN).
static void print_columns(struct base_span bytes)
{
    struct base_columns columns;
    if (!base_columns_view(bytes, model_config(0)->features.layout, &columns)) {
        abort();
    }
    const uint64_t *key = columns.keys;
    printf("{\"keys\":[");
    for (int c = 0; c < 3; c++) {
        printf("%s[", c ? "," : "");
        for (int i = 0; i < columns.count[c]; i++) {
            printf("%s%" PRIu64, i ? "," : "", *key++);
        }
        printf("]");
    }
    printf("],\"numbers\":[");
    for (int i = 0; i < 2; i++) {
        if (isnan(columns.numeric[i])) {
            printf("%snull", i ? "," : "");
        } else {
            printf("%s%.17g", i ? "," : "", columns.numeric[i]);
        }
    }
    printf("]}");
}

static void print_floats(const char *name, const float *numbers, int count)
{
    printf(",\"%s\":[", name);
    for (int i = 0; i < count; i++) {
        printf("%s%.9g", i ? "," : "", (double)numbers[i]);
    }
    printf("]");
}

static void print_version(struct publisher_reader *reader)
{
    static uint64_t rooms[IMPRESSIONS][MODEL_COLUMNS_SIZE / 8];
    float conditional[IMPRESSIONS * MODEL_TASKS], products[IMPRESSIONS * MODEL_TASKS];
    struct base_span columns[IMPRESSIONS];
    struct publisher_version version;
    struct base_error error;
    printf("{\"impressions\":[");
    for (uint64_t i = 0; i < IMPRESSIONS; i++) {
        columns[i] = model_columns(i % 2 ? 1 : 5, i * 25, rooms[i]);
        printf("%s", i ? "," : "");
        print_columns(columns[i]);
    }
    must(publisher_reader_score(reader, columns, IMPRESSIONS, conditional, products, &version, &error),
         &error);
    printf("],\"epoch\":%" PRIu64 ",\"number\":%" PRIu64 ",\"tick\":%" PRId64 ",\"rows\":%" PRIu64,
           version.epoch, version.number, publisher_reader_tick(reader), publisher_reader_rows(reader));
    print_floats("conditional", conditional, IMPRESSIONS * MODEL_TASKS);
    print_floats("products", products, IMPRESSIONS * MODEL_TASKS);
    printf("}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    trainer_blas_pin(argv);
    static const char *const others[] = {"values", "esm2", "imputed", "features"};
    int variant = MODEL_BODIES;
    while (argc == 4 && variant < MODEL_VARIANTS &&
           strcmp(argv[3], variant < MODEL_LOSSES ? trainer_body_names[variant - MODEL_BODIES]
                                                  : others[variant - MODEL_LOSSES]) != 0) {
        variant++;
    }
    if (argc != 4 || variant == MODEL_VARIANTS) {
        fprintf(stderr, "usage: reader_python SOCKET fp32|fp16 BODY|values|esm2|imputed|features\n");
        return 2;
    }
    struct base_error error;
    struct publisher_config config = {
        .redis = {.socket = argv[1], .timeout_ms = 5000},
        .model = "test",
        .descriptor = model_descriptor(variant),
        .half = strcmp(argv[2], "fp16") == 0,
        .garbage_ttl_s = 60,
        .base_ratio = 100,
    };
    struct publisher_reader_config reader_config = {.redis = config.redis, .model = "test"};
    struct trainer_model *model = trainer_model_new(model_config(variant), true, &error);
    struct publisher *publisher = model ? publisher_new(&config, &error) : NULL;
    struct publisher_reader *reader = publisher ? publisher_reader_new(&reader_config, &error) : NULL;
    must(!reader, &error);
    must(publisher_start(publisher, 0, &error), &error);

    char line[16];
    uint64_t step = 0;
    while (fgets(line, sizeof line, stdin)) {
        bool changed;
        struct publisher_result result;
        model_train(model, &step, 4);
        struct trainer_snapshot *snapshot =
            trainer_model_snapshot(model, (int64_t)step, strcmp(line, "base\n") == 0);
        must(publisher_publish(publisher, snapshot, "{\"auc\":0.5}", &result, &error), &error);
        trainer_model_settle(model, snapshot, true);
        trainer_snapshot_free(snapshot);
        must(publisher_reader_follow(reader, 1000, &changed, &error), &error);
        print_version(reader);
    }
    publisher_reader_free(reader);
    publisher_free(publisher);
    trainer_model_free(model);
    free((char *)config.descriptor);
    return 0;
}
