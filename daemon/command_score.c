// freshet score: impressions scored with the version that Redis holds, by the reader library: what a serving
// process would answer. One JSON object a line.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "consumer/decoder.h"
#include "consumer/files_container.h"
#include "consumer/skip.h"
#include "daemon/command.h"
#include "daemon/jsonline.h"
#include "daemon/target.h"
#include "publisher/reader.h"

static const char usage_text[] =
    "usage: freshet score (-c FILE | [--redis HOST[:PORT] | --socket PATH] --model NAME) [--json FILE | "
    "--avro FILE]\n"
    "Scores impressions with the version that Redis holds. One JSON object a line: impression_id, version, "
    "and per\n"
    "task its conditional probability and that of the whole chain up to it; of tasks with values the value\n"
    "that is to be expected (with ziln of the impression, beside the conditional probability).\n"
    "\n"
    "  --json FILE      impressions, a JSON object a line; - or nothing: standard input\n"
    "  --avro FILE      impressions, an Avro container\n"
    "  --id PATH        field of the impression's id (impression_id)\n"
    "  --time PATH      --avro: field of the event time (event_time)\n";

struct score {
    struct daemon_target target;
    const char *json, *avro, *id, *time;
    struct publisher_reader *reader;
    struct base_buffer columns, text; // of a JSON line: what is scored, the id
};

static int usage(FILE *out, int status)
{
    fputs(usage_text, out);
    return status;
}

// Scores one impression and prints its line.
static int score_print(struct score *score, struct base_span columns, struct base_span id,
                       struct base_error *error)
{
    float conditional[BASE_TASKS_MAX], products[BASE_TASKS_MAX];
    struct publisher_version version;
    if (publisher_reader_score(score->reader, &columns, 1, conditional, products, &version, error)) {
        return -1;
    }
    const struct trainer_model_config *model = &publisher_reader_descriptor(score->reader)->config;
    char text[64];
    snprintf(text, sizeof text, "%" PRIu64 ".%" PRIu64, version.epoch, version.number);
    json_t *tasks = json_array();
    for (uint32_t task = 0; task < model->loss.tasks; task++) {
        enum trainer_loss_kind kind = (enum trainer_loss_kind)model->loss.kind[task];
        bool probable = kind == TRAINER_LOSS_BCE || kind == TRAINER_LOSS_ZILN;
        json_t *said = json_pack("{s:s}", "name", model->task_names[task]);
        if (probable) {
            json_object_set_new(said, "conditional", json_real((double)conditional[task]));
        }
        json_object_set_new(said, kind == TRAINER_LOSS_BCE ? "product" : "value",
                            json_real((double)products[task]));
        json_array_append_new(tasks, said);
    }
    json_t *line = json_object();
    json_t *name = id.data ? json_stringn((const char *)id.data, id.size) : NULL; // NULL too: not UTF-8
    json_object_set_new(line, "impression_id", name ? name : json_null());
    json_object_set_new(line, "version", json_string(text));
    json_object_set_new(line, "tasks", tasks);
    json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    fputc('\n', stdout);
    json_decref(line);
    return 0;
}

// Scores one line of JSON; an id that is no string is null.
static int score_line(struct score *score, const char *line, size_t size, struct base_error *error)
{
    if (daemon_jsonline_columns(line, size, publisher_reader_descriptor(score->reader), &score->columns,
                                error)) {
        return -1;
    }
    bool named = daemon_jsonline_string(line, size, score->id, &score->text);
    struct base_span id = named ? base_buffer_span(&score->text) : (struct base_span){0};
    return score_print(score, base_buffer_span(&score->columns), id, error);
}

static int score_json(struct score *score, struct base_error *error)
{
    bool standard = !score->json || strcmp(score->json, "-") == 0;
    const char *name = standard ? "standard input" : score->json;
    FILE *file = standard ? stdin : fopen(score->json, "r");
    if (!file) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", name);
    }
    char *line = NULL;
    size_t capacity = 0;
    int status = 0;
    ssize_t size;
    for (uint64_t number = 1; status == 0 && (size = getline(&line, &capacity, file)) >= 0; number++) {
        if (size <= 1) {
            continue;
        }
        status = score_line(score, line, (size_t)size, error);
        if (status) {
            base_error_prefix(error, "%s:%" PRIu64, name, number);
        }
    }
    if (status == 0 && ferror(file)) {
        status = base_error_set_errno(error, BASE_EIO, errno, "%s", name);
    }
    free(line);
    if (!standard) {
        fclose(file);
    }
    return status;
}

// The decoder that takes the descriptor's columns out of records of `schema`.
static struct consumer_decoder *score_decoder(const struct score *score, const char *schema,
                                              struct base_error *error)
{
    const struct trainer_descriptor *descriptor = publisher_reader_descriptor(score->reader);
    struct consumer_column categorical[BASE_CATEGORICAL_MAX], numeric[BASE_NUMERIC_MAX];
    struct consumer_decoder_config config = {
        .topic = score->avro,
        .framing = CONSUMER_FRAMING_BARE,
        .schemas = &schema,
        .schema_count = 1,
        .event_time = score->time,
        .impression_id = score->id,
        .categorical = categorical,
        .numeric = numeric,
        .layout = descriptor->config.features.layout,
    };
    for (uint32_t i = 0; i < config.layout.categorical; i++) {
        categorical[i] = (struct consumer_column){descriptor->columns.categorical[i],
                                                  descriptor->columns.categorical_paths[i]};
    }
    for (uint32_t i = 0; i < config.layout.numeric; i++) {
        numeric[i] =
            (struct consumer_column){descriptor->columns.numeric[i], descriptor->columns.numeric_paths[i]};
    }
    return consumer_decoder_new(&config, NULL, error);
}

// Scores the records of one block.
static int score_block(struct score *score, struct consumer_decoder *decoder,
                       const struct consumer_schema *schema, struct base_span data, uint64_t count,
                       struct base_error *error)
{
    for (uint64_t i = 0; i < count; i++) {
        size_t size;
        if (consumer_skip_datum(consumer_schema_root(schema), NULL, data, &size, NULL, error)) {
            return -1;
        }
        const struct consumer_message message = {.timestamp = -1, .value = {data.data, size}};
        struct consumer_event event;
        if (consumer_decoder_decode(decoder, NULL, &message, &event, error) != CONSUMER_DECODE_EVENT ||
            score_print(score, event.columns, event.impression_id, error)) {
            return base_error_prefix(error, "record %" PRIu64 " of a block", i);
        }
        data.data += size;
        data.size -= size;
    }
    return 0;
}

static int score_avro(struct score *score, struct base_error *error)
{
    struct consumer_files_container container = {0};
    struct consumer_schema *schema = NULL;
    struct consumer_decoder *decoder = NULL;
    struct base_buffer unpacked = {0};
    char *text = NULL;
    int status = -1;
    if (consumer_files_container_open(&container, score->avro, error)) {
        goto out;
    }
    text = strndup((const char *)container.schema.data, container.schema.size);
    schema = consumer_schema_parse(container.schema, error);
    decoder = schema ? score_decoder(score, text, error) : NULL;
    if (!decoder) {
        goto out;
    }
    struct consumer_files_raw block;
    for (size_t offset = container.first;
         (status = consumer_files_container_block(&container, offset, &block, error)) == 1;
         offset = block.next) {
        struct base_span data;
        if (consumer_files_container_data(&container, offset, &block, &unpacked, &data, error) ||
            score_block(score, decoder, schema, data, block.count, error)) {
            base_error_prefix(error, "%s: block at byte %zu", score->avro, offset);
            status = -1;
            break;
        }
    }

out:
    consumer_decoder_free(decoder);
    consumer_schema_free(schema);
    base_buffer_free(&unpacked);
    free(text);
    consumer_files_container_close(&container);
    return status;
}

static int score_run(struct score *score, struct base_error *error)
{
    const struct publisher_reader_config config = {.redis = score->target.redis,
                                                   .model = score->target.model};
    score->reader = publisher_reader_new(&config, error);
    bool changed;
    if (!score->reader || publisher_reader_follow(score->reader, 0, &changed, error)) {
        return -1;
    }
    return score->avro ? score_avro(score, error) : score_json(score, error);
}

int daemon_command_score(int argc, char **argv)
{
    static const struct option longs[] = {DAEMON_TARGET_OPTIONS,
                                          {"json", required_argument, NULL, 'j'},
                                          {"avro", required_argument, NULL, 'a'},
                                          {"id", required_argument, NULL, 'i'},
                                          {"time", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    struct score score = {.id = "impression_id", .time = "event_time"};
    optind = 0; // glibc: begin anew
    for (int option; (option = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;) {
        switch (option) {
        case 'j':
            score.json = optarg;
            break;
        case 'a':
            score.avro = optarg;
            break;
        case 'i':
            score.id = optarg;
            break;
        case 't':
            score.time = optarg;
            break;
        case 'h':
            return usage(stdout, 0);
        default:
            if (!daemon_target_option(&score.target, option, optarg)) {
                return usage(stderr, 2);
            }
        }
    }
    int status = optind == argc && !(score.json && score.avro) ? daemon_target_resolve(&score.target) : 2;
    if (status == 2) {
        return usage(stderr, 2);
    }
    struct base_error error = {0};
    if (status == 0 && score_run(&score, &error)) {
        fflush(stdout);
        fprintf(stderr, "freshet score: %s\n", error.text);
        status = 1;
    }
    publisher_reader_free(score.reader);
    base_buffer_free(&score.columns);
    base_buffer_free(&score.text);
    daemon_target_clear(&score.target);
    return status;
}
