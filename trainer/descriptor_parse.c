// Parsing a descriptor. See descriptor.h.
//
// Every object must have exactly the fields that this version writes; the tensor table must be the one that
// the body makes here; and the text must be the canonical form of what was read. So a reader never scores by
// a guess.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/body.h"
#include "trainer/descriptor_private.h"

// A bound against descriptors that would make a reader allocate without end: weights of the dense network.
#define DESCRIPTOR_WEIGHTS_MAX 268435456.0

// What a parsed descriptor borrows from.
struct descriptor_memory {
    json_t *root; // all strings
    struct trainer_slot_config slot[TRAINER_SLOTS_MAX];
    struct trainer_numeric_config numeric[BASE_NUMERIC_MAX];
    const char *categorical_names[BASE_CATEGORICAL_MAX], *categorical_paths[BASE_CATEGORICAL_MAX];
    const char *numeric_names[BASE_NUMERIC_MAX], *numeric_paths[BASE_NUMERIC_MAX];
};

// Checks that `object` is one and that its fields are `names` (NULL-terminated), all and only.
static int fields_are(const json_t *object, const char *where, const char *const *names,
                      struct base_error *error)
{
    if (!json_is_object(object)) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: %s is no object", where);
    }
    size_t count = 0;
    for (; names[count]; count++) {
        if (!json_object_get(object, names[count])) {
            return base_error_set(error, BASE_EFORMAT, "descriptor: %s lacks %s", where, names[count]);
        }
    }
    json_t *iterated = (json_t *)object; // jansson's iterators take no const
    for (void *it = json_object_iter(iterated); it; it = json_object_iter_next(iterated, it)) {
        size_t i = 0;
        while (i < count && strcmp(names[i], json_object_iter_key(it)) != 0) {
            i++;
        }
        if (i == count) {
            return base_error_set(error, BASE_EFORMAT,
                                  "descriptor: %s has %s, which this version does not know", where,
                                  json_object_iter_key(it));
        }
    }
    return 0;
}

// The readers of one field. fields_are has run: the field exists.
static int field_uint(const json_t *object, const char *where, const char *name, uint32_t least,
                      uint32_t most, uint32_t *value, struct base_error *error)
{
    const json_t *field = json_object_get(object, name);
    json_int_t number = json_integer_value(field);
    if (!json_is_integer(field) || number < least || number > most) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: %s.%s is not an integer in %u..%u", where,
                              name, least, most);
    }
    *value = (uint32_t)number;
    return 0;
}

static int field_real(const json_t *object, const char *where, const char *name, double *value,
                      struct base_error *error)
{
    const json_t *field = json_object_get(object, name);
    if (!json_is_real(field)) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: %s.%s is not a real number", where, name);
    }
    *value = json_real_value(field);
    return 0;
}

static int field_bool(const json_t *object, const char *where, const char *name, bool *value,
                      struct base_error *error)
{
    const json_t *field = json_object_get(object, name);
    if (!json_is_boolean(field)) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: %s.%s is neither true nor false", where,
                              name);
    }
    *value = json_is_true(field);
    return 0;
}

static int field_string(const json_t *object, const char *where, const char *name, const char **value,
                        struct base_error *error)
{
    const json_t *field = json_object_get(object, name);
    if (!json_is_string(field)) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: %s.%s is not a string", where, name);
    }
    *value = json_string_value(field);
    return 0;
}

static int field_equals(const json_t *object, const char *where, const char *name, const char *known,
                        struct base_error *error)
{
    const char *value = "";
    if (field_string(object, where, name, &value, error)) {
        return -1;
    }
    if (strcmp(value, known) != 0) {
        return base_error_set(error, BASE_EFORMAT,
                              "descriptor: %s.%s is \"%.80s\", which this version does not know", where, name,
                              value);
    }
    return 0;
}

static int field_array(const json_t *object, const char *where, const char *name, uint32_t least,
                       uint32_t most, const json_t **array, uint32_t *count, struct base_error *error)
{
    *array = json_object_get(object, name);
    if (!json_is_array(*array) || json_array_size(*array) < least || json_array_size(*array) > most) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: %s.%s is not an array of %u..%u", where, name,
                              least, most);
    }
    *count = (uint32_t)json_array_size(*array);
    return 0;
}

static int parse_columns(const json_t *columns, const char *name, uint32_t most, const char **names,
                         const char **paths, uint32_t *count, struct base_error *error)
{
    static const char *const fields[] = {"name", "path", NULL};
    const json_t *array;
    if (field_array(columns, "columns", name, 0, most, &array, count, error)) {
        return -1;
    }
    for (uint32_t i = 0; i < *count; i++) {
        const json_t *column = json_array_get(array, i);
        if (fields_are(column, "columns[]", fields, error) ||
            field_string(column, "columns[]", "name", &names[i], error) ||
            field_string(column, "columns[]", "path", &paths[i], error)) {
            return -1;
        }
    }
    return 0;
}

static int parse_boundaries(const json_t *json, struct trainer_slot_config *slot, struct base_error *error)
{
    const json_t *array;
    if (field_array(json, "slots[]", "boundaries", 1, TRAINER_BOUNDARIES_MAX, &array, &slot->boundaries,
                    error)) {
        return -1;
    }
    for (uint32_t i = 0; i < slot->boundaries; i++) {
        if (!json_is_real(json_array_get(array, i))) {
            return base_error_set(error, BASE_EFORMAT,
                                  "descriptor: slots[].boundaries[] is not a real number");
        }
        slot->boundary[i] = json_real_value(json_array_get(array, i));
    }
    return 0;
}

// trainer_features_check says the rest of it.
static int parse_cross(const json_t *json, struct trainer_slot_config *slot, struct base_error *error)
{
    const json_t *array;
    if (field_array(json, "slots[]", "cross", 2, TRAINER_CROSS_SLOTS_MAX, &array, &slot->crossed, error)) {
        return -1;
    }
    for (uint32_t i = 0; i < slot->crossed; i++) {
        const json_t *place = json_array_get(array, i);
        json_int_t number = json_integer_value(place);
        if (!json_is_integer(place) || number < 0 || number >= TRAINER_SLOTS_MAX) {
            return base_error_set(error, BASE_EFORMAT,
                                  "descriptor: slots[].cross[] is not the place of a slot");
        }
        slot->cross[i] = (uint16_t)number;
    }
    return 0;
}

// What a position is scored as; that the text is canonical is checked at the end.
static int parse_role(const json_t *json, struct trainer_slot_config *slot, struct base_error *error)
{
    slot->position = json_object_get(json, "role") != NULL;
    slot->serves = json_object_get(json, "serving") != NULL;
    if (slot->position && field_equals(json, "slots[]", "role", DESCRIPTOR_POSITION, error)) {
        return -1;
    }
    const char *key = "";
    if (!slot->serves) {
        return 0;
    }
    if (field_string(json, "slots[]", "serving", &key, error)) {
        return -1;
    }
    if (strlen(key) != DESCRIPTOR_KEY_DIGITS || strspn(key, "0123456789abcdef") != DESCRIPTOR_KEY_DIGITS) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: slots[].serving is not a key of %d digits",
                              DESCRIPTOR_KEY_DIGITS);
    }
    slot->serving = strtoull(key, NULL, 16);
    return 0;
}

// Where a slot's keys come from: a column, a column and boundaries, other slots.
static int parse_source(const json_t *json, struct trainer_slot_config *slot, struct base_error *error)
{
    if (json_object_get(json, "cross")) {
        return parse_cross(json, slot, error);
    }
    const char *source = slot->bucketised ? "numeric" : "categorical";
    if (field_uint(json, "slots[]", source, 0, BASE_CATEGORICAL_MAX, &slot->column, error)) {
        return -1;
    }
    return slot->bucketised ? parse_boundaries(json, slot, error) : 0;
}

static int parse_slot(const json_t *json, struct trainer_slot_config *slot, struct base_error *error)
{
    const char *fields[] = {"name", "dimension", "pooling", NULL, NULL, NULL, NULL, NULL};
    const char *pooling = "";
    uint32_t count = 3;
    slot->bucketised = json_object_get(json, "numeric") != NULL;
    fields[count++] = json_object_get(json, "cross") ? "cross" : slot->bucketised ? "numeric" : "categorical";
    if (slot->bucketised) {
        fields[count++] = "boundaries";
    }
    if (json_object_get(json, "role")) {
        fields[count++] = "role";
        fields[count++] = json_object_get(json, "serving") ? "serving" : NULL;
    }
    if (fields_are(json, "slots[]", fields, error) ||
        field_string(json, "slots[]", "name", &slot->row.name, error) ||
        field_uint(json, "slots[]", "dimension", 4, TRAINER_DIMENSION_MAX, &slot->row.dimension, error) ||
        field_string(json, "slots[]", "pooling", &pooling, error) || parse_source(json, slot, error) ||
        parse_role(json, slot, error)) {
        return -1;
    }
    slot->row.admission = 1;
    bool mean = strcmp(pooling, "mean") == 0;
    if (!mean && strcmp(pooling, "sum") != 0) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: pooling \"%.80s\" is not known", pooling);
    }
    slot->pooling = mean ? TRAINER_POOLING_MEAN : TRAINER_POOLING_SUM;
    return 0;
}

static int parse_numeric_input(const json_t *json, struct trainer_numeric_config *numeric,
                               struct base_error *error)
{
    static const char *const fields[] = {"name", "column", "log1p", "mean", "deviation", NULL};
    const char *where = "numeric_inputs[]";
    if (fields_are(json, where, fields, error) || field_string(json, where, "name", &numeric->name, error) ||
        field_uint(json, where, "column", 0, BASE_NUMERIC_MAX, &numeric->column, error) ||
        field_bool(json, where, "log1p", &numeric->log1p, error) ||
        field_real(json, where, "mean", &numeric->mean, error) ||
        field_real(json, where, "deviation", &numeric->deviation, error)) {
        return -1;
    }
    return 0;
}

static int parse_features(const json_t *root, struct descriptor_memory *memory,
                          struct trainer_descriptor *descriptor, struct base_error *error)
{
    static const char *const fields[] = {"categorical", "numeric", NULL};
    struct trainer_features_config *features = &descriptor->config.features;
    const json_t *columns = json_object_get(root, "columns"), *slots, *numerics;
    if (fields_are(columns, "columns", fields, error) ||
        parse_columns(columns, "categorical", BASE_CATEGORICAL_MAX, memory->categorical_names,
                      memory->categorical_paths, &features->layout.categorical, error) ||
        parse_columns(columns, "numeric", BASE_NUMERIC_MAX, memory->numeric_names, memory->numeric_paths,
                      &features->layout.numeric, error) ||
        field_array(root, "root", "slots", 0, TRAINER_SLOTS_MAX, &slots, &features->slots, error) ||
        field_array(root, "root", "numeric_inputs", 0, BASE_NUMERIC_MAX, &numerics, &features->numerics,
                    error)) {
        return -1;
    }
    descriptor->columns = (struct trainer_descriptor_columns){
        memory->categorical_names, memory->categorical_paths, memory->numeric_names, memory->numeric_paths};
    features->slot = memory->slot;
    features->numeric = memory->numeric;
    for (uint32_t s = 0; s < features->slots; s++) {
        if (parse_slot(json_array_get(slots, s), &memory->slot[s], error)) {
            return -1;
        }
    }
    for (uint32_t i = 0; i < features->numerics; i++) {
        if (parse_numeric_input(json_array_get(numerics, i), &memory->numeric[i], error)) {
            return -1;
        }
    }
    uint32_t inputs;
    if (trainer_features_check(features, error)) {
        error->code = BASE_EFORMAT;
        return base_error_prefix(error, "descriptor");
    }
    uint32_t width = trainer_features_width(features);
    return field_uint(root, "root", "inputs", width, width, &inputs, error);
}

static int parse_widths(const json_t *object, const char *where, const char *name, uint32_t least,
                        uint32_t *widths, uint32_t *layers, struct base_error *error)
{
    const json_t *array;
    if (field_array(object, where, name, least, TRAINER_LAYERS_MAX, &array, layers, error)) {
        return -1;
    }
    for (uint32_t i = 0; i < *layers; i++) {
        const json_t *width = json_array_get(array, i);
        json_int_t number = json_integer_value(width);
        if (!json_is_integer(width) || number < 1 || number > TRAINER_WIDTH_MAX) {
            return base_error_set(error, BASE_EFORMAT, "descriptor: %s.%s[] is not an integer in 1..%d",
                                  where, name, TRAINER_WIDTH_MAX);
        }
        widths[i] = (uint32_t)number;
    }
    return 0;
}

static int parse_kind(const json_t *body, enum trainer_body *kind, struct base_error *error)
{
    const char *name = "";
    if (field_string(body, "body", "kind", &name, error)) {
        return -1;
    }
    for (uint32_t i = 0; i < TRAINER_BODIES; i++) {
        if (strcmp(name, trainer_body_names[i]) == 0) {
            *kind = (enum trainer_body)i;
            return 0;
        }
    }
    return base_error_set(error, BASE_EFORMAT, "descriptor: body.kind \"%.80s\" is not known", name);
}

static int parse_body(const json_t *root, struct trainer_network_config *network, struct base_error *error)
{
    static const char *const body_fields[] = {"kind", "levels", "tower_widths", NULL};
    static const char *const level_fields[] = {"widths", "per_task", "shared", NULL};
    const json_t *body = json_object_get(root, "body"), *levels;
    if (fields_are(body, "body", body_fields, error) || parse_kind(body, &network->body, error) ||
        field_array(body, "body", "levels", 1, TRAINER_LEVELS_MAX, &levels, &network->levels, error) ||
        parse_widths(body, "body", "tower_widths", 0, network->tower_widths, &network->tower_layers, error)) {
        return -1;
    }
    for (uint32_t l = 0; l < network->levels; l++) {
        const json_t *json = json_array_get(levels, l);
        struct trainer_level_config *level = &network->level[l];
        if (fields_are(json, "levels[]", level_fields, error) ||
            parse_widths(json, "levels[]", "widths", 1, level->widths, &level->layers, error) ||
            field_uint(json, "levels[]", "per_task", 0, TRAINER_EXPERTS_MAX, &level->per_task, error) ||
            field_uint(json, "levels[]", "shared", 0, TRAINER_EXPERTS_MAX, &level->shared, error)) {
            return -1;
        }
    }
    return 0;
}

// What a task says beyond its name and place, if it does: a loss that is not bce, a branch, an imputed error.
static int parse_task_loss(const json_t *json, uint32_t k, struct trainer_loss_config *loss,
                           struct base_error *error)
{
    const char *name = descriptor_losses[TRAINER_LOSS_BCE];
    bool imputed = false;
    if ((json_object_get(json, "loss") && field_string(json, "tasks[]", "loss", &name, error)) ||
        (json_object_get(json, "branch") &&
         field_uint(json, "tasks[]", "branch", 1, BASE_TASKS_MAX - 1, &loss->branch, error)) ||
        (json_object_get(json, "imputed") && field_bool(json, "tasks[]", "imputed", &imputed, error))) {
        return -1;
    }
    uint8_t kind = 0;
    while (kind < TRAINER_LOSS_KINDS && strcmp(descriptor_losses[kind], name) != 0) {
        kind++;
    }
    if (kind == TRAINER_LOSS_KINDS) {
        return base_error_set(error, BASE_EFORMAT,
                              "descriptor: tasks[].loss is \"%.80s\", which this version does not know",
                              name);
    }
    loss->kind[k] = kind;
    loss->correction = imputed ? TRAINER_CORRECTION_DR : loss->correction;
    return 0;
}

static int parse_task(const json_t *json, uint32_t k, struct trainer_model_config *config,
                      struct base_error *error)
{
    static const char *const optional[] = {"loss", "branch", "imputed"};
    const char *fields[] = {"name", "stage", NULL, NULL, NULL, NULL, NULL};
    struct trainer_loss_config *loss = &config->loss;
    bool stage = json_is_true(json_object_get(json, "stage")), is_stage;
    uint32_t count = 2;
    if (!stage) {
        fields[count++] = "parent";
    }
    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++) {
        if (json_object_get(json, optional[i])) {
            fields[count++] = optional[i];
        }
    }
    if (fields_are(json, "tasks[]", fields, error) ||
        field_bool(json, "tasks[]", "stage", &is_stage, error) ||
        field_string(json, "tasks[]", "name", &config->task_names[k], error) ||
        parse_task_loss(json, k, loss, error)) {
        return -1;
    }
    loss->parent[k] = UINT32_MAX;
    if (stage && loss->stages == k) {
        loss->stages++;
        return 0;
    }
    if (stage || loss->stages == 0) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: stages do not come before side tasks");
    }
    if (json_is_null(json_object_get(json, "parent"))) {
        return 0;
    }
    return field_uint(json, "tasks[]", "parent", 0, loss->stages - 1, &loss->parent[k], error);
}

// The loss must be one, and what its tasks say must be what this version would write for it.
static int check_loss(const json_t *tasks, const struct trainer_model_config *config,
                      struct base_error *error)
{
    if (trainer_loss_check(&config->loss, error)) {
        error->code = BASE_EFORMAT;
        return base_error_prefix(error, "descriptor");
    }
    json_t *written = descriptor_tasks(config);
    bool same = json_equal(written, tasks);
    json_decref(written);
    return same ? 0
                : base_error_set(error, BASE_EFORMAT,
                                 "descriptor: tasks are not those that this version makes");
}

static int parse_model(const json_t *root, struct trainer_model_config *config, struct base_error *error)
{
    const json_t *tasks;
    if (field_array(root, "root", "tasks", 1, BASE_TASKS_MAX, &tasks, &config->loss.tasks, error) ||
        parse_body(root, &config->network, error)) {
        return -1;
    }
    for (uint32_t k = 0; k < config->loss.tasks; k++) {
        if (parse_task(json_array_get(tasks, k), k, config, error)) {
            return -1;
        }
        config->loss.task_weight[k] = 1;
    }
    if (check_loss(tasks, config, error)) {
        return -1;
    }
    // What only training needs, neutral, and room for scoring. The batch changes no bit of a score.
    config->loss.keep_negatives = 1;
    config->network.inputs = trainer_features_width(&config->features);
    config->network.tasks = config->loss.tasks;
    trainer_loss_towers(&config->loss, config->network.outputs);
    config->network.batch = TRAINER_DESCRIPTOR_BATCH;
    config->rows_max = TRAINER_ROWS_MAX;
    config->workers = 1;
    return 0;
}

// The weights' table is the one that this version makes of the body.
static int check_tensors(const json_t *root, const struct trainer_model_config *config,
                         struct base_error *error)
{
    for (uint32_t s = 0; s < config->features.slots; s++) {
        if (strlen(config->features.slot[s].row.name) + strlen("oov.") >= TRAINER_TENSOR_NAME_MAX) {
            return base_error_set(error, BASE_EFORMAT, "descriptor: slots[].name is longer than %d bytes",
                                  TRAINER_TENSOR_NAME_MAX - 5);
        }
    }
    if (trainer_network_flop_forward(&config->network) / 2 > DESCRIPTOR_WEIGHTS_MAX) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: the body has more than %.0f weights",
                              DESCRIPTOR_WEIGHTS_MAX);
    }
    json_t *tensors = descriptor_tensors(config, error);
    if (!tensors) {
        error->code = BASE_EFORMAT;
        return base_error_prefix(error, "descriptor: body");
    }
    bool same = json_equal(tensors, json_object_get(root, "tensors"));
    json_decref(tensors);
    if (!same) {
        return base_error_set(error, BASE_EFORMAT,
                              "descriptor: tensors are not those that this version makes");
    }
    return 0;
}

static int parse_root(const json_t *root, struct descriptor_memory *memory,
                      struct trainer_descriptor *descriptor, struct base_error *error)
{
    static const char *const fields[] = {
        "format", "hashing", "canonical_bytes", "columns", "slots", "numeric_inputs",
        "inputs", "body",    "tasks",           "tensors", NULL};
    uint32_t format = 0;
    if (!json_is_object(root) || !json_object_get(root, "format")) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: no format");
    }
    // First the format: of another version nothing else can be expected to fit.
    if (field_uint(root, "root", "format", DESCRIPTOR_FORMAT, DESCRIPTOR_FORMAT_DERIVED, &format, error) ||
        fields_are(root, "root", fields, error) ||
        field_equals(root, "root", "hashing", DESCRIPTOR_HASHING, error) ||
        field_equals(root, "root", "canonical_bytes", DESCRIPTOR_CANONICAL_BYTES, error) ||
        parse_features(root, memory, descriptor, error) || parse_model(root, &descriptor->config, error) ||
        check_tensors(root, &descriptor->config, error)) {
        return -1;
    }
    if (format != descriptor_format(&descriptor->config.features)) {
        return base_error_set(error, BASE_EFORMAT, "descriptor: what it says is not of format %u", format);
    }
    return 0;
}

static int check_canonical(const json_t *root, const char *json, size_t size, struct base_error *error)
{
    char *canonical = descriptor_canonical(root);
    bool same = strlen(canonical) == size && memcmp(canonical, json, size) == 0;
    free(canonical);
    return same ? 0 : base_error_set(error, BASE_EFORMAT, "descriptor: the text is not canonical");
}

struct trainer_descriptor *trainer_descriptor_parse(const char *json, size_t size, struct base_error *error)
{
    json_error_t problem;
    json_t *root = json_loadb(json, size, JSON_REJECT_DUPLICATES, &problem);
    if (!root) {
        base_error_set(error, BASE_EFORMAT, "descriptor: %s at byte %d", problem.text, problem.position);
        return NULL;
    }
    struct trainer_descriptor *descriptor = base_alloc_zeroed(1, sizeof *descriptor);
    struct descriptor_memory *memory = base_alloc_zeroed(1, sizeof *memory);
    descriptor->memory = memory;
    memory->root = root;
    if (parse_root(root, memory, descriptor, error) || check_canonical(root, json, size, error)) {
        trainer_descriptor_free(descriptor);
        return NULL;
    }
    return descriptor;
}

void trainer_descriptor_free(struct trainer_descriptor *descriptor)
{
    if (!descriptor) {
        return;
    }
    struct descriptor_memory *memory = descriptor->memory;
    json_decref(memory->root);
    free(memory);
    free(descriptor);
}
