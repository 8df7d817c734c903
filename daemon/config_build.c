// The daemon's configuration: what the rooms take of it. Built once after the checks; lent from then on.
//
// Columns: a slot without boundaries is a categorical column; numeric inputs, then slots with boundaries, are
// the numeric columns; a cross has none. Tasks: the actions in their order, stages first.
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "consumer/schema.h"
#include "consumer/schemas.h"
#include "daemon/config_private.h"

// --- Building ---

static const char *build_schema(struct daemon_config *config, const void *field, const char *path,
                                struct base_config_problems *problems)
{
    struct base_error error;
    const char *text = base_config_file(config->memory, path, CONSUMER_SCHEMA_TEXT_MAX, &error);
    if (!text) {
        base_config_problem(problems, config->memory, false, field, "%s", error.text);
    }
    return text;
}

// The schema of a topic that has none of its own.
static const char *build_default_schema(const struct daemon_config *config, uint32_t rank)
{
    const char *name = daemon_config_rank_name(config, rank);
    return rank == 0                       ? consumer_schemas_impression
           : strcmp(name, "click") == 0    ? consumer_schemas_click
           : strcmp(name, "purchase") == 0 ? consumer_schemas_purchase
                                           : consumer_schemas_action;
}

static void build_schemas(struct daemon_config *config, uint32_t rank, struct base_config_problems *problems)
{
    const struct daemon_config_topic *topic = daemon_config_topic(config, rank);
    uint32_t count = 1 + topic->writer_schemas.count;
    const char **schemas = base_config_memory(config->memory, count * sizeof *schemas);
    if (!topic->schema) {
        schemas[0] = build_default_schema(config, rank);
    } else if (topic->schema[0]) {
        schemas[0] = build_schema(config, &topic->schema, topic->schema, problems);
    }
    for (uint32_t i = 1; i < count; i++) {
        schemas[i] =
            build_schema(config, &topic->writer_schemas,
                         base_config_path(config->memory, topic->writer_schemas.item[i - 1]), problems);
    }
    config->built->topic[rank].schemas = schemas;
    config->built->topic[rank].schemas_count = count;
}

// The touch fields of each topic: its own, else those of the first child that joins to it by last touch.
static void build_touch(struct daemon_config *config)
{
    for (uint32_t rank = daemon_config_ranks(config); rank-- > 0;) {
        struct daemon_config_built_topic *built = &config->built->topic[rank];
        built->touch = &daemon_config_topic(config, rank)->touch;
        for (uint32_t child = rank + 1; child < daemon_config_ranks(config) && built->touch->count == 0;
             child++) {
            if (daemon_config_action(config, child)->join == DAEMON_JOIN_LAST_TOUCH &&
                config->built->topic[child].parent == rank) {
                built->touch = config->built->topic[child].touch;
            }
        }
    }
}

static void build_parents(struct daemon_config *config)
{
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_action *action = daemon_config_action(config, rank);
        uint32_t parent = rank - 1;
        for (uint32_t stage = 0; action->side && stage < rank; stage++) {
            parent = strcmp(daemon_config_rank_name(config, stage), action->parent) == 0 ? stage : parent;
        }
        config->built->topic[rank].parent = parent;
    }
}

// The columns' names in saved state. A numeric input and a slot of buckets may have one name.
static void build_generation(struct daemon_config *config, uint32_t numerics)
{
    struct daemon_config_built *built = config->built;
    uint32_t count = built->layout.numeric;
    const char **names = base_config_memory(config->memory, (count + 1) * sizeof *names);
    for (uint32_t i = 0; i < count; i++) {
        size_t size = strlen(built->columns.numeric[i]) + sizeof "numeric ";
        char *name = base_config_memory(config->memory, size);
        snprintf(name, size, "%s %s", i < numerics ? "numeric" : "slot", built->columns.numeric[i]);
        names[i] = name;
    }
    built->generation =
        (struct consumer_generations_columns){built->layout, built->columns.categorical, names};
}

static void build_columns(struct daemon_config *config)
{
    struct daemon_config_built *built = config->built;
    uint32_t slots = config->slots.count, numerics = config->numerics.count;
    struct consumer_column *categorical = base_config_memory(config->memory, slots * sizeof *categorical);
    struct consumer_column *numeric =
        base_config_memory(config->memory, (slots + numerics) * sizeof *numeric);
    struct base_columns_layout layout = {0};
    for (uint32_t i = 0; i < numerics; i++) {
        const struct daemon_config_numeric *row = daemon_config_numeric(config, i);
        numeric[layout.numeric++] = (struct consumer_column){row->name, row->path};
    }
    for (uint32_t i = 0; i < slots; i++) {
        const struct daemon_config_slot *row = daemon_config_slot(config, i);
        struct consumer_column column = {row->name, row->path};
        if (row->cross.count > 0) {
            continue;
        }
        if (row->boundaries.count > 0) {
            numeric[layout.numeric++] = column;
        } else {
            categorical[layout.categorical++] = column;
        }
    }
    built->categorical = categorical;
    built->numeric = numeric;
    built->layout = layout;

    const char **names = base_config_memory(config->memory, 4 * (slots + numerics) * sizeof *names);
    const char **lists[4];
    for (uint32_t i = 0; i < 4; i++) {
        lists[i] = names + i * (slots + numerics);
    }
    for (uint32_t i = 0; i < layout.categorical; i++) {
        lists[0][i] = categorical[i].name;
        lists[1][i] = categorical[i].path;
    }
    for (uint32_t i = 0; i < layout.numeric; i++) {
        lists[2][i] = numeric[i].name;
        lists[3][i] = numeric[i].path;
    }
    built->columns = (struct trainer_descriptor_columns){lists[0], lists[1], lists[2], lists[3]};
    build_generation(config, numerics);
}

static void build_features(struct daemon_config *config, struct trainer_features_config *features)
{
    features->layout = config->built->layout;
    features->slots = config->slots.count;
    features->slot = base_config_memory(config->memory, features->slots * sizeof *features->slot);
    features->numerics = config->numerics.count;
    features->numeric = base_config_memory(config->memory, features->numerics * sizeof *features->numeric);
    uint32_t categorical = 0, numeric = features->numerics;
    for (uint32_t i = 0; i < features->slots; i++) {
        const struct daemon_config_slot *row = daemon_config_slot(config, i);
        struct trainer_slot_config *slot = &features->slot[i];
        slot->row.name = row->name;
        slot->row.dimension = (uint32_t)row->dimension;
        slot->row.admission = (uint32_t)row->admission;
        slot->row.expiry_ms = row->expiry;
        slot->pooling = (enum trainer_pooling)row->pooling;
        if (row->cross.count > 0) {
            slot->crossed = row->cross.count;
            for (uint32_t c = 0; c < slot->crossed; c++) {
                slot->cross[c] = (uint16_t)config_slots_find(config, row->cross.item[c]);
            }
            continue;
        }
        slot->bucketised = row->boundaries.count > 0;
        slot->column = slot->bucketised ? numeric++ : categorical++;
        slot->boundaries = row->boundaries.count;
        if (slot->bucketised) {
            memcpy(slot->boundary, row->boundaries.item, slot->boundaries * sizeof *slot->boundary);
        }
        slot->position = row->role == DAEMON_ROLE_POSITION;
        slot->serves = slot->position && row->serving;
        if (slot->serves) {
            config_slots_serving(row, &slot->serving);
        }
    }
    for (uint32_t i = 0; i < features->numerics; i++) {
        const struct daemon_config_numeric *row = daemon_config_numeric(config, i);
        features->numeric[i] = (struct trainer_numeric_config){.name = row->name,
                                                               .column = i,
                                                               .log1p = row->log1p,
                                                               .mean = row->mean,
                                                               .deviation = row->deviation};
    }
}

static void build_widths(const struct base_config_uints *from, uint32_t *widths, uint32_t *count)
{
    assert(from->count <= TRAINER_LAYERS_MAX);
    *count = from->count;
    for (uint32_t i = 0; i < from->count; i++) {
        widths[i] = (uint32_t)from->item[i];
    }
}

static void build_model(struct daemon_config *config)
{
    const struct daemon_config_model *from = &config->model;
    struct trainer_model_config *model = &config->built->model;
    build_features(config, &model->features);

    struct trainer_network_config *network = &model->network;
    network->inputs = trainer_features_width(&model->features);
    network->tasks = daemon_config_tasks(config);
    network->body = (enum trainer_body)from->body;
    network->soft_l2 = (float)from->soft_l2;
    network->levels = from->levels.count;
    network->batch = (uint32_t)from->batch;
    network->seed = from->seed;
    const struct daemon_config_level *levels = from->levels.item;
    for (uint32_t i = 0; i < network->levels; i++) {
        build_widths(&levels[i].experts, network->level[i].widths, &network->level[i].layers);
        network->level[i].per_task = (uint32_t)levels[i].per_task;
        network->level[i].shared = (uint32_t)levels[i].shared;
    }
    build_widths(&from->towers, network->tower_widths, &network->tower_layers);
    config_update_build(config);
    model->seed = from->seed;
    model->rows_max = from->rows_max;
    model->workers = (uint32_t)from->workers;
}

// The hash of all settings that are not operational, and of the schemas' texts.
static void build_hash(struct daemon_config *config)
{
    struct base_buffer text = {0};
    base_config_canonical(&daemon_config_table, config, &text);
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_built_topic *topic = &config->built->topic[rank];
        for (uint32_t i = 0; i < topic->schemas_count; i++) {
            const char *schema = topic->schemas[i] ? topic->schemas[i] : "";
            base_buffer_append(&text, schema, strlen(schema) + 1);
        }
    }
    config->hash = base_hash_bytes(base_buffer_span(&text), 0);
    base_buffer_free(&text);
}

// Kafka's properties that stand in files of their own.
static void build_properties(struct daemon_config *config, struct base_config_problems *problems)
{
    struct daemon_config_source *source = &config->source;
    struct daemon_config_built *built = config->built;
    for (uint32_t i = 0; i < source->properties.count; i++) {
        built->property_names[built->properties] = source->properties.name[i];
        built->property_values[built->properties++] = source->properties.value[i];
    }
    for (uint32_t i = 0; i < source->property_files.count; i++) {
        struct base_error error;
        const char *text = base_config_file(config->memory,
                                            base_config_path(config->memory, source->property_files.value[i]),
                                            BASE_CONFIG_SECRET_MAX, &error);
        if (!text) {
            base_config_problem(problems, config->memory, false, &source->property_files, "%.64s: %s",
                                source->property_files.name[i], error.text);
            continue;
        }
        built->property_names[built->properties] = source->property_files.name[i];
        built->property_values[built->properties++] =
            base_config_string(config->memory, "%.*s", (int)strcspn(text, "\r\n"), text);
    }
}

static void build_offsets(struct daemon_config *config, struct base_config_problems *problems)
{
    struct daemon_config_built *built = config->built;
    if (config->source.kind == DAEMON_SOURCE_KAFKA) {
        built->offsets = config_offsets(config, &config->source.offsets, &built->offset_lanes, problems);
        built->ends = config_offsets(config, &config->source.ends, &built->offset_lanes, problems);
    }
}

void config_build(struct daemon_config *config, struct base_config_problems *problems)
{
    config->built = base_config_memory(config->memory, sizeof *config->built);
    build_parents(config);
    build_touch(config);
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        build_schemas(config, rank, problems);
    }
    build_properties(config, problems);
    build_offsets(config, problems);
    build_columns(config);
    build_model(config);
    config_tasks_build(config, problems);
    build_hash(config);
    config->built->registry_cache = base_config_string(config->memory, "%s/schemas", config->state_dir);
}

// --- Lending ---

void daemon_config_kafka(const struct daemon_config *config, struct consumer_kafka_config *kafka)
{
    const struct daemon_config_source *source = &config->source;
    const struct daemon_config_built *built = config->built;
    *kafka = (struct consumer_kafka_config){
        .bootstrap = source->bootstrap,
        .group = config->model.name,
        .ranks = daemon_config_ranks(config),
        .properties = built->properties,
        .start = source->start == DAEMON_START_LATEST ? CONSUMER_OFFSET_LATEST : CONSUMER_OFFSET_EARLIEST,
        .offsets = built->offsets,
        .ends = built->ends,
        .offset_lanes = built->offset_lanes,
        .memory_mb = (uint32_t)(source->memory >> 20),
        .timeout_ms = (int)source->timeout,
    };
    for (uint32_t rank = 0; rank < kafka->ranks; rank++) {
        kafka->topics[rank] = daemon_config_topic(config, rank)->topic;
    }
    memcpy(kafka->property_names, built->property_names, sizeof built->property_names);
    memcpy(kafka->property_values, built->property_values, sizeof built->property_values);
}

void daemon_config_files(const struct daemon_config *config, struct consumer_files_config *files)
{
    const struct daemon_config_source *source = &config->source;
    *files = (struct consumer_files_config){
        .path = source->path,
        .ranks = daemon_config_ranks(config),
        .lanes = (uint32_t)source->lanes,
        .key = source->key,
        .fetch = (uint32_t)source->read_ahead,
    };
    for (uint32_t rank = 0; rank < files->ranks; rank++) {
        files->topics[rank] = daemon_config_topic(config, rank)->topic;
    }
}

bool daemon_config_registry(const struct daemon_config *config, struct consumer_registry_config *registry)
{
    const struct daemon_config_registry *from = &config->registry;
    if (!from->url) {
        return false;
    }
    *registry = (struct consumer_registry_config){
        .url = from->url,
        .cache_dir = config->built->registry_cache,
        .user = from->user,
        .password = from->password,
        .token = from->token,
        .ca_file = from->ca_file,
        .timeout_ms = (int)from->timeout,
        .negative_ms = (int)from->negative,
    };
    return true;
}

static const char *path_or_null(const char *path)
{
    return path && path[0] ? path : NULL;
}

void daemon_config_decoder(const struct daemon_config *config, uint32_t rank,
                           struct consumer_decoder_config *decoder)
{
    const struct daemon_config_topic *topic = daemon_config_topic(config, rank);
    const struct daemon_config_built_topic *built = &config->built->topic[rank];
    *decoder = (struct consumer_decoder_config){
        .topic = topic->topic,
        .rank = rank,
        // A file's records are bare and bring their schema with them.
        .framing = config->source.kind == DAEMON_SOURCE_FILES ? CONSUMER_FRAMING_BARE
                                                              : (enum consumer_framing)topic->framing,
        .schemas = built->schemas,
        .schema_count = built->schemas_count,
        .time_from_kafka = topic->time == DAEMON_TIME_KAFKA,
        .event_time = topic->time == DAEMON_TIME_KAFKA ? NULL : path_or_null(topic->fields.event_time),
        .event_id = path_or_null(topic->fields.event_id),
        .impression_id = path_or_null(topic->fields.impression_id),
        .value = path_or_null(topic->fields.value),
        .weight = path_or_null(topic->fields.weight),
        .propensity = path_or_null(topic->fields.propensity),
        .propensity_min = topic->propensity_min,
        .touch_fields = built->touch->count,
    };
    for (uint32_t i = 0; i < decoder->touch_fields; i++) {
        decoder->touch[i] = built->touch->item[i];
    }
    if (rank == 0) {
        decoder->categorical = config->built->categorical;
        decoder->numeric = config->built->numeric;
        decoder->layout = config->built->layout;
    }
}

void daemon_config_lane(const struct daemon_config *config, uint32_t lane,
                        char directory[DAEMON_CONFIG_PATH_MAX], struct consumer_lane_config *lane_config)
{
    int size = snprintf(directory, DAEMON_CONFIG_PATH_MAX, "%s/lanes/%u", config->state_dir, lane);
    assert(size > 0 && size < DAEMON_CONFIG_PATH_MAX);
    *lane_config = (struct consumer_lane_config){
        .lane = lane,
        .directory = directory,
        .ranks = daemon_config_ranks(config),
        .orphan_timeout = config->orphan_timeout,
        .orphan_max = config->orphan_max,
        .keep_negatives = config->keep_negatives,
        .weighs_negatives = config->negatives_correction == DAEMON_NEGATIVES_WEIGHT,
        .segment_bytes = config->segment,
    };
    for (uint32_t rank = 0; rank < lane_config->ranks; rank++) {
        lane_config->allowed_lateness[rank] = daemon_config_topic(config, rank)->allowed_lateness;
        lane_config->dedupe[rank] = daemon_config_dedupe(config, rank);
        if (rank > 0) {
            const struct daemon_config_action *action = daemon_config_action(config, rank);
            lane_config->action[rank] = (struct consumer_action_config){
                .name = action->name,
                .parent = config->built->topic[rank].parent,
                .side = action->side,
                .last_touch = action->join == DAEMON_JOIN_LAST_TOUCH,
                .wait = action->wait,
                .window = action->window,
                .as = config->built->topic[rank].as,
            };
        }
    }
}

const struct trainer_model_config *daemon_config_model(const struct daemon_config *config)
{
    return &config->built->model;
}

const struct trainer_descriptor_columns *daemon_config_columns(const struct daemon_config *config)
{
    return &config->built->columns;
}

bool daemon_config_weighted(const struct daemon_config *config)
{
    const struct daemon_config_fields *fields = &config->impression.fields;
    return path_or_null(fields->weight) || path_or_null(fields->propensity);
}

const struct consumer_generations_columns *daemon_config_generation(const struct daemon_config *config)
{
    return &config->built->generation;
}

struct base_columns_layout daemon_config_layout(const struct daemon_config *config)
{
    return config->built->layout;
}

void daemon_config_redis(const struct daemon_config *config, struct publisher_redis_config *redis)
{
    const struct daemon_config_redis *from = &config->redis;
    *redis = (struct publisher_redis_config){
        .host = from->host,
        .port = from->port,
        .socket = from->socket,
        .user = from->user,
        .password = from->password,
        .database = (uint32_t)from->database,
        .timeout_ms = (int)from->timeout,
    };
}

void daemon_config_publisher(const struct daemon_config *config, struct publisher_config *publisher)
{
    *publisher = (struct publisher_config){
        .model = config->model.name,
        .half = config->publish.format == DAEMON_FORMAT_FP16,
        .garbage_ttl_s = config->publish.garbage_ttl / 1000,
        .base_ratio = config->publish.base_ratio,
    };
    daemon_config_redis(config, &publisher->redis);
}
