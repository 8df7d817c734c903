// Writing a descriptor. See descriptor.h.
#include "trainer/descriptor.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "trainer/body.h"
#include "trainer/descriptor_private.h"

static void canonical_text(struct base_buffer *out, const char *text)
{
    base_buffer_append(out, text, strlen(text));
}

// Text as jansson writes it, whatever the locale says about decimal points.
static void canonical_scalar(struct base_buffer *out, const json_t *value, size_t flags)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | flags);
    assert(text);
    canonical_text(out, text);
    free(text);
}

static void canonical_real(struct base_buffer *out, const json_t *value)
{
    for (size_t digits = 1; digits < 17; digits++) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
        json_t *read = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
        bool same = read && json_real_value(read) == json_real_value(value);
        if (same) {
            canonical_text(out, text);
        }
        json_decref(read);
        free(text);
        if (same) {
            return;
        }
    }
    canonical_scalar(out, value, JSON_REAL_PRECISION(17));
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static void canonical_value(struct base_buffer *out, const json_t *value);

static void canonical_object(struct base_buffer *out, const json_t *value)
{
    json_t *object = (json_t *)value; // jansson's iterators take no const
    size_t count = 0;
    const char **names = base_alloc((json_object_size(object) + 1) * sizeof *names);
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        names[count++] = json_object_iter_key(it);
    }
    qsort(names, count, sizeof *names, compare_names);
    canonical_text(out, "{");
    for (size_t i = 0; i < count; i++) {
        json_t *name = json_string(names[i]);
        canonical_text(out, i ? "," : "");
        canonical_scalar(out, name, 0);
        canonical_text(out, ":");
        canonical_value(out, json_object_get(object, names[i]));
        json_decref(name);
    }
    canonical_text(out, "}");
    free(names);
}

// Depth is bounded by jansson's parser (2048) or by what the writer below builds (4).
static void canonical_value(struct base_buffer *out, const json_t *value)
{
    if (json_is_object(value)) {
        canonical_object(out, value);
    } else if (json_is_array(value)) {
        canonical_text(out, "[");
        for (size_t i = 0; i < json_array_size(value); i++) {
            canonical_text(out, i ? "," : "");
            canonical_value(out, json_array_get(value, i));
        }
        canonical_text(out, "]");
    } else if (json_is_real(value)) {
        canonical_real(out, value);
    } else {
        canonical_scalar(out, value, 0);
    }
}

char *descriptor_canonical(const json_t *value)
{
    struct base_buffer out = {0};
    canonical_value(&out, value);
    base_buffer_u8(&out, 0);
    return (char *)out.data;
}

// Puts `value` (a reference handed over) into an object or at the end of an array. Only memory or bytes that
// are not UTF-8 can make it fail.
static void put(json_t *object, const char *name, json_t *value)
{
    int failed = json_object_set_new(object, name, value);
    assert(!failed);
}

static void add(json_t *array, json_t *value)
{
    int failed = json_array_append_new(array, value);
    assert(!failed);
}

static json_t *write_numbers(const uint32_t *numbers, uint32_t count)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        add(array, json_integer(numbers[i]));
    }
    return array;
}

static json_t *write_columns(const char *const *names, const char *const *paths, uint32_t count)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_t *column = json_object();
        put(column, "name", json_string(names[i]));
        put(column, "path", json_string(paths[i]));
        add(array, column);
    }
    return array;
}

static json_t *write_slots(const struct trainer_features_config *features)
{
    json_t *array = json_array();
    for (uint32_t s = 0; s < features->slots; s++) {
        const struct trainer_slot_config *config = &features->slot[s];
        json_t *slot = json_object();
        put(slot, "name", json_string(config->row.name));
        put(slot, "dimension", json_integer(config->row.dimension));
        put(slot, "pooling", json_string(config->pooling == TRAINER_POOLING_MEAN ? "mean" : "sum"));
        if (config->crossed) {
            json_t *cross = json_array();
            for (uint32_t c = 0; c < config->crossed; c++) {
                add(cross, json_integer(config->cross[c]));
            }
            put(slot, "cross", cross);
        } else {
            put(slot, config->bucketised ? "numeric" : "categorical", json_integer(config->column));
        }
        if (config->bucketised) {
            json_t *boundaries = json_array();
            for (uint32_t i = 0; i < config->boundaries; i++) {
                add(boundaries, json_real(config->boundary[i]));
            }
            put(slot, "boundaries", boundaries);
        }
        if (config->position) {
            put(slot, "role", json_string(DESCRIPTOR_POSITION));
        }
        if (config->position && config->serves) {
            char key[DESCRIPTOR_KEY_DIGITS + 1];
            snprintf(key, sizeof key, "%016" PRIx64, config->serving);
            put(slot, "serving", json_string(key));
        }
        add(array, slot);
    }
    return array;
}

static json_t *write_numeric_inputs(const struct trainer_features_config *features)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < features->numerics; i++) {
        const struct trainer_numeric_config *config = &features->numeric[i];
        json_t *numeric = json_object();
        put(numeric, "name", json_string(config->name));
        put(numeric, "column", json_integer(config->column));
        put(numeric, "log1p", json_boolean(config->log1p));
        put(numeric, "mean", json_real(config->mean));
        put(numeric, "deviation", json_real(config->deviation));
        add(array, numeric);
    }
    return array;
}

static json_t *write_body(const struct trainer_network_config *network)
{
    json_t *levels = json_array();
    for (uint32_t l = 0; l < network->levels; l++) {
        const struct trainer_level_config *config = &network->level[l];
        json_t *level = json_object();
        put(level, "widths", write_numbers(config->widths, config->layers));
        put(level, "per_task", json_integer(config->per_task));
        put(level, "shared", json_integer(config->shared));
        add(levels, level);
    }
    json_t *body = json_object();
    put(body, "kind", json_string(trainer_body_names[network->body]));
    put(body, "levels", levels);
    put(body, "tower_widths", write_numbers(network->tower_widths, network->tower_layers));
    return body;
}

const char *const descriptor_losses[] = {"bce", "mse", "poisson", "ziln"};

// What is not said is bce, one branch, nothing imputed.
json_t *descriptor_tasks(const struct trainer_model_config *config)
{
    const struct trainer_loss_config *loss = &config->loss;
    json_t *array = json_array();
    for (uint32_t k = 0; k < config->loss.tasks; k++) {
        json_t *task = json_object();
        bool stage = k < config->loss.stages;
        if (loss->kind[k] != TRAINER_LOSS_BCE) {
            put(task, "loss", json_string(descriptor_losses[loss->kind[k]]));
        }
        if (loss->branch && k == loss->parent[loss->branch] + 1) {
            put(task, "branch", json_integer(loss->branch));
        }
        if (loss->correction == TRAINER_CORRECTION_DR && k == 1) {
            put(task, "imputed", json_true());
        }
        put(task, "name", json_string(config->task_names[k]));
        put(task, "stage", json_boolean(stage));
        if (!stage) {
            bool alone = config->loss.parent[k] == UINT32_MAX;
            put(task, "parent", alone ? json_null() : json_integer(config->loss.parent[k]));
        }
        add(array, task);
    }
    return array;
}

static void write_tensor(json_t *array, const char *name, uint32_t rows, uint32_t columns)
{
    json_t *tensor = json_object();
    put(tensor, "name", json_string(name));
    put(tensor, "rows", json_integer(rows));
    put(tensor, "columns", json_integer(columns));
    add(array, tensor);
}

json_t *descriptor_tensors(const struct trainer_model_config *config, struct base_error *error)
{
    struct trainer_network_config shape = config->network;
    shape.inputs = trainer_features_width(&config->features);
    shape.tasks = config->loss.tasks;
    trainer_loss_towers(&config->loss, shape.outputs);
    shape.batch = 1;
    struct trainer_graph *graph = trainer_body_new(&shape, error);
    if (!graph) {
        return NULL;
    }
    json_t *array = json_array();
    for (uint32_t i = 0; i < graph->tensors; i++) {
        write_tensor(array, graph->tensor[i].name, graph->tensor[i].rows, graph->tensor[i].columns);
    }
    trainer_graph_free(graph);
    for (uint32_t s = 0; s < config->features.slots; s++) {
        char name[TRAINER_TENSOR_NAME_MAX];
        snprintf(name, sizeof name, "oov.%s", config->features.slot[s].row.name);
        write_tensor(array, name, 1, config->features.slot[s].row.dimension);
    }
    return array;
}

uint32_t descriptor_format(const struct trainer_features_config *features)
{
    uint32_t format = DESCRIPTOR_FORMAT;
    for (uint32_t s = 0; s < features->slots; s++) {
        bool derived = features->slot[s].crossed || features->slot[s].position;
        format = derived ? DESCRIPTOR_FORMAT_DERIVED : format;
    }
    return format;
}

char *trainer_descriptor_write(const struct trainer_model_config *config,
                               const struct trainer_descriptor_columns *columns)
{
    struct base_error error;
    json_t *tensors = descriptor_tensors(config, &error);
    if (!tensors) {
        return NULL;
    }
    const struct trainer_features_config *features = &config->features;
    json_t *all = json_object();
    put(all, "categorical",
        write_columns(columns->categorical, columns->categorical_paths, features->layout.categorical));
    put(all, "numeric", write_columns(columns->numeric, columns->numeric_paths, features->layout.numeric));
    json_t *root = json_object();
    put(root, "format", json_integer(descriptor_format(features)));
    put(root, "hashing", json_string(DESCRIPTOR_HASHING));
    put(root, "canonical_bytes", json_string(DESCRIPTOR_CANONICAL_BYTES));
    put(root, "columns", all);
    put(root, "slots", write_slots(features));
    put(root, "numeric_inputs", write_numeric_inputs(features));
    put(root, "inputs", json_integer(trainer_features_width(features)));
    put(root, "body", write_body(&config->network));
    put(root, "tasks", descriptor_tasks(config));
    put(root, "tensors", tensors);
    char *text = descriptor_canonical(root);
    json_decref(root);
    return text;
}

uint64_t trainer_descriptor_hash(const char *json)
{
    return base_hash_bytes(base_span_string(json), 0);
}
