// The daemon's configuration: what no row can check alone. Every check runs; each adds its own problems.
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "daemon/config_private.h"
#include "trainer/body.h"

enum {
    CHECK_NAME_MAX = 64,        // bytes of a model's, slot's or numeric input's name
    CHECK_ACTION_NAME_MAX = 32, // bytes of an action's name
    CHECK_WORD_MAX = 80,        // bytes of a name with something put before or behind
};

static const char name_letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
static const char action_letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

struct check {
    struct daemon_config *config;
    struct base_config_problems *problems;
};

#define FAIL(check, field, ...) \
    base_config_problem((check)->problems, (check)->config->memory, false, field, __VA_ARGS__)
#define WARN(check, field, ...) \
    base_config_problem((check)->problems, (check)->config->memory, true, field, __VA_ARGS__)

static bool check_refused(const struct check *check, const void *field)
{
    return base_config_refused(check->config->memory, field);
}

static bool check_given(const struct check *check, const void *field)
{
    return base_config_given(check->config->memory, field);
}

static bool text_set(const char *text)
{
    return text && text[0];
}

static bool text_equal(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static bool name_fits(const char *name, const char *letters, size_t max)
{
    size_t size = name ? strlen(name) : 0;
    return size > 0 && size <= max && strspn(name, letters) == size;
}

// --- model ---

static void check_widths(const struct check *check, const struct base_config_uints *widths)
{
    if (widths->count > TRAINER_LAYERS_MAX) {
        FAIL(check, widths, "%u layers; at most %d are allowed", widths->count, TRAINER_LAYERS_MAX);
    }
    for (uint32_t i = 0; i < widths->count; i++) {
        uint64_t width = widths->item[i];
        if (width % TRAINER_WIDTH_STEP != 0) {
            uint64_t near = (width + TRAINER_WIDTH_STEP / 2) / TRAINER_WIDTH_STEP * TRAINER_WIDTH_STEP;
            FAIL(check, widths, "the width %llu is not a multiple of %d (%llu is)", (unsigned long long)width,
                 TRAINER_WIDTH_STEP, (unsigned long long)(near ? near : TRAINER_WIDTH_STEP));
        }
    }
}

static void check_model(const struct check *check)
{
    const struct daemon_config_model *model = &check->config->model;
    if (!name_fits(model->name, name_letters, CHECK_NAME_MAX)) {
        FAIL(check, &model->name, "\"%.64s\" must be 1 to %d of a-z, A-Z, 0-9, '_', '-', '.'", model->name,
             CHECK_NAME_MAX);
    }
    if (model->levels.count > TRAINER_LEVELS_MAX) {
        FAIL(check, &model->levels, "%u levels; at most %d are allowed", model->levels.count,
             TRAINER_LEVELS_MAX);
    }
    const struct daemon_config_level *levels = model->levels.item;
    for (uint32_t i = 0; i < model->levels.count; i++) {
        check_widths(check, &levels[i].experts);
        if (levels[i].per_task + levels[i].shared == 0 &&
            trainer_body_reads_experts((enum trainer_body)model->body, i)) {
            FAIL(check, &levels[i].per_task, "a level needs experts: per_task or shared must be above 0");
        }
    }
    check_widths(check, &model->towers);
    // A step of SGD moves by this share of what the penalty ties apart; above 1 it would overshoot for good.
    double pull = 2 * model->rate.dense * model->soft_l2 * check->config->actions.count;
    if (model->body == TRAINER_BODY_SOFT_L2 && model->optimizer.dense.kind == TRAINER_OPTIMISER_SGD &&
        pull > 1) {
        FAIL(check, &model->soft_l2,
             "%g is too much at rate.dense %g: 2 * rate * soft_l2 * actions must not exceed 1",
             model->soft_l2, model->rate.dense);
    }
}

// --- source, registry ---

static bool name_secret(const char *name)
{
    return strstr(name, "password") || strstr(name, "secret") || strstr(name, "ssl.key.pem") ||
           strcmp(name, "sasl.oauthbearer.config") == 0;
}

static void check_properties(const struct check *check)
{
    const struct daemon_config_source *source = &check->config->source;
    if (source->properties.count + source->property_files.count > CONSUMER_KAFKA_PROPERTIES_MAX) {
        FAIL(check, &source->properties, "%u properties; at most %d are allowed",
             source->properties.count + source->property_files.count, CONSUMER_KAFKA_PROPERTIES_MAX);
    }
    for (uint32_t i = 0; i < source->properties.count; i++) {
        const char *name = source->properties.name[i];
        if (name_secret(name)) {
            WARN(check, &source->properties, "the secret %.64s stands in the file; use property_files", name);
        }
        for (uint32_t k = 0; k < source->property_files.count; k++) {
            if (strcmp(source->property_files.name[k], name) == 0) {
                FAIL(check, &source->property_files, "%.64s is given in properties too", name);
            }
        }
    }
}

static void check_source(const struct check *check)
{
    const struct daemon_config_source *source = &check->config->source;
    if (source->kind < 0) {
        return; // told by its row
    }
    bool kafka = source->kind == DAEMON_SOURCE_KAFKA;
    const void *other[] = {
        kafka ? (const void *)&source->path : &source->bootstrap,
        kafka ? (const void *)&source->lanes : &source->properties,
        kafka ? (const void *)&source->key : &source->property_files,
        kafka ? (const void *)&source->read_ahead : &source->start,
        kafka ? NULL : &source->memory,
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        if (other[i] && check_given(check, other[i])) {
            WARN(check, other[i], "has no effect on a source of kind %s", kafka ? "kafka" : "files");
        }
    }
    if (kafka && !text_set(source->bootstrap)) {
        FAIL(check, &source->bootstrap, "must be given for a source of kind kafka");
    }
    if (!kafka && !text_set(source->path)) {
        FAIL(check, &source->path, "must be given for a source of kind files");
    }
    if (!kafka && source->lanes > 0 && !text_set(source->key)) {
        FAIL(check, &source->key, "must be given where lanes is above 0");
    }
    check_properties(check);
    config_offsets_check(check->config, check->problems);
}

// Whether a URL's host is this machine.
static bool url_local(const char *url)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "[::1]"};
    const char *host = strstr(url, "://");
    for (size_t i = 0; host && i < sizeof hosts / sizeof *hosts; i++) {
        size_t size = strlen(hosts[i]);
        if (strncmp(host + 3, hosts[i], size) == 0 && strchr(":/", host[3 + size])) {
            return true; // strchr finds the NUL too
        }
    }
    return false;
}

static void check_registry(const struct check *check)
{
    const struct daemon_config_registry *registry = &check->config->registry;
    bool credentials = registry->user || registry->password || registry->token;
    if (!text_set(registry->url)) {
        if (credentials || registry->ca_file) {
            FAIL(check, &registry->url, "must be given where the registry has other settings");
        }
        return;
    }
    bool plain = strncmp(registry->url, "http://", 7) == 0;
    if (!plain && strncmp(registry->url, "https://", 8) != 0) {
        FAIL(check, &registry->url, "must begin with http:// or https://");
    }
    if (plain && !url_local(registry->url)) {
        WARN(check, &registry->url, "without TLS%s; use https://",
             credentials ? ", the password crosses the network in clear" : "");
    }
    if (registry->token && (registry->user || registry->password)) {
        FAIL(check, &registry->token, "stands beside user and password; only one kind of login can be");
    }
    if (!registry->user != !registry->password && !check_refused(check, &registry->password)) {
        FAIL(check, registry->user ? (const void *)&registry->user : &registry->password,
             "user and password go together");
    }
}

// --- topics and the funnel ---

static void check_topic(const struct check *check, uint32_t rank)
{
    const struct daemon_config *config = check->config;
    const struct daemon_config_topic *topic = daemon_config_topic(config, rank);
    if (!text_set(topic->topic)) {
        FAIL(check, &topic->topic, "must not be empty");
        return;
    }
    for (uint32_t other = 0; other < rank; other++) {
        if (text_equal(daemon_config_topic(config, other)->topic, topic->topic)) {
            FAIL(check, &topic->topic, "\"%.64s\" is the topic of %s already", topic->topic,
                 daemon_config_rank_name(config, other));
        }
    }
    bool kafka = config->source.kind == DAEMON_SOURCE_KAFKA;
    if (kafka && topic->framing == CONSUMER_FRAMING_CONFLUENT && !text_set(config->registry.url)) {
        FAIL(check, &topic->framing, "the framing confluent needs registry.url");
    }
    bool own = topic->schema && !topic->schema[0];
    if (kafka && topic->framing != CONSUMER_FRAMING_CONFLUENT && own) {
        FAIL(check, &topic->schema, "without a registry a schema is needed");
    }
    if (topic->framing != CONSUMER_FRAMING_SINGLE_OBJECT && topic->writer_schemas.count > 0) {
        WARN(check, &topic->writer_schemas, "has an effect with the framing single_object only");
    }
    if (topic->time == DAEMON_TIME_KAFKA && !kafka) {
        WARN(check, &topic->time, "files have no timestamps; every record of the topic would be set aside");
    }
    if (topic->time == DAEMON_TIME_RECORD && !text_set(topic->fields.event_time)) {
        FAIL(check, &topic->fields.event_time, "must not be empty unless time is kafka");
    }
    if (topic->touch.count > CONSUMER_TOUCH_FIELDS_MAX) {
        FAIL(check, &topic->touch, "%u fields; at most %d are allowed", topic->touch.count,
             CONSUMER_TOUCH_FIELDS_MAX);
    }
}

// The rank of the stage that a side action names as its parent; -1: none.
static int side_parent(const struct daemon_config *config, const char *name)
{
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        if (text_equal(daemon_config_rank_name(config, rank), name)) {
            return (int)rank;
        }
    }
    return -1;
}

static void check_place(const struct check *check, uint32_t rank, uint32_t last)
{
    const struct daemon_config *config = check->config;
    const struct daemon_config_action *action = daemon_config_action(config, rank);
    if (!action->side) {
        if (rank > last) {
            FAIL(check, &action->side,
                 "an action of the funnel comes after a side action; side actions come last");
        }
        if (action->parent && !text_equal(action->parent, daemon_config_rank_name(config, rank - 1))) {
            FAIL(check, &action->parent,
                 "an action of the funnel follows the one before it; only side actions "
                 "choose their parent");
        }
        return;
    }
    if (!action->parent) {
        FAIL(check, &action->parent, "must be given for a side action");
        return;
    }
    int parent = side_parent(config, action->parent);
    if (parent < 0 || (uint32_t)parent >= last) {
        FAIL(check, &action->parent,
             "\"%.64s\" is neither \"impression\" nor an action of the funnel before its last",
             action->parent);
    }
}

static void check_join(const struct check *check, uint32_t rank)
{
    const struct daemon_config *config = check->config;
    const struct daemon_config_action *action = daemon_config_action(config, rank);
    const struct daemon_config_topic *topic = &action->topic;
    if (action->join == DAEMON_JOIN_IMPRESSION_ID) {
        if (!text_set(topic->fields.impression_id)) {
            FAIL(check, &topic->fields.impression_id, "must not be empty where join is impression_id");
        }
        return;
    }
    if (topic->touch.count == 0) {
        FAIL(check, &topic->touch, "must be given where join is last_touch");
        return;
    }
    int parent = action->side ? side_parent(config, action->parent) : (int)rank - 1;
    if (parent < 0) {
        return; // told by check_place
    }
    uint32_t theirs = daemon_config_topic(config, (uint32_t)parent)->touch.count;
    if (theirs > 0 && theirs != topic->touch.count) {
        FAIL(check, &topic->touch, "has %u fields where its parent %s has %u", topic->touch.count,
             daemon_config_rank_name(config, (uint32_t)parent), theirs);
    }
}

// The impressions' weights.
static void check_weights(const struct check *check)
{
    const struct daemon_config *config = check->config;
    const struct daemon_config_topic *impression = &config->impression;
    const struct daemon_config_fields *fields = &impression->fields;
    if (text_set(fields->weight) && text_equal(fields->weight, fields->propensity)) {
        FAIL(check, &fields->propensity, "\"%.64s\" is the weight as well; divided by itself it says nothing",
             fields->propensity);
    }
    if (!text_set(fields->propensity) && check_given(check, &impression->propensity_min)) {
        WARN(check, &impression->propensity_min, "has no effect without fields.propensity");
    }
    if (config->keep_negatives >= 1 && check_given(check, &config->negatives_correction) &&
        !check_refused(check, &config->keep_negatives)) {
        WARN(check, &config->negatives_correction, "has no effect where keep_negatives is 1");
    }
}

static void check_actions(const struct check *check)
{
    const struct daemon_config *config = check->config;
    if (config->actions.count > DAEMON_CONFIG_ACTIONS_MAX) {
        FAIL(check, &config->actions, "%u actions; at most %d are allowed", config->actions.count,
             DAEMON_CONFIG_ACTIONS_MAX);
        return;
    }
    check_topic(check, 0);
    check_weights(check);
    if (!text_set(config->impression.fields.impression_id)) {
        FAIL(check, &config->impression.fields.impression_id, "must not be empty");
    }
    uint32_t last = 0; // of the funnel
    while (last < config->actions.count && !daemon_config_action(config, last + 1)->side) {
        last++;
    }
    if (last == 0 && config->actions.count > 0) {
        FAIL(check, &daemon_config_action(config, 1)->side, "the first action must be a stage of the funnel");
    }
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_action *action = daemon_config_action(config, rank);
        check_topic(check, rank);
        if (!action->name) {
            continue; // told by its row
        }
        if (!name_fits(action->name, action_letters, CHECK_ACTION_NAME_MAX)) {
            FAIL(check, &action->name, "\"%.64s\" must be 1 to %d of a-z, 0-9, '_', '-'", action->name,
                 CHECK_ACTION_NAME_MAX);
        }
        if (side_parent(config, action->name) < (int)rank) {
            FAIL(check, &action->name, "\"%.64s\" is taken", action->name);
        }
        if (action->wait > action->window && !check_refused(check, &action->window) && action->window >= 0) {
            char wait[BASE_CONFIG_NUMBER_MAX], window[BASE_CONFIG_NUMBER_MAX];
            FAIL(check, &action->wait, "the wait, %s, is longer than the window, %s",
                 base_config_format_duration(action->wait, wait),
                 base_config_format_duration(action->window, window));
        }
        if (last > 0) {
            check_place(check, rank, last);
        }
        check_join(check, rank);
    }
}

// --- features ---

// Whether `word` speaks of an action by its name: is_click, clicked, click_time ...
static bool word_tells(const char *word, const char *action)
{
    static const char *const forms[] = {"%s",       "%sed",     "%sd",     "is_%s",     "has_%s",
                                        "label_%s", "%s_label", "%s_time", "%s_at",     "%s_ts",
                                        "%s_value", "%s_id",    "y_%s",    "target_%s", "%s_delay"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const char *hole = strstr(forms[i], "%s");
        size_t before = (size_t)(hole - forms[i]), size = strlen(action);
        const char *after = hole + 2;
        if (strncmp(word, forms[i], before) == 0 && strncmp(word + before, action, size) == 0 &&
            strcmp(word + before + size, after) == 0) {
            return true;
        }
    }
    return false;
}

static const char *path_leaf(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

// Refuses what is known only after the impression: with a label among the features all looks well and nothing
// is learned. Only names can be judged here; that the path exists in the schema is the decoder's to check.
static void check_leak(const struct check *check, const char *const *field)
{
    static const char *const labels[] = {"label", "labels", "target", "converted", "conversion", "outcome"};
    const struct daemon_config *config = check->config;
    const char *leaf = path_leaf(*field);
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        if (strcmp(leaf, labels[i]) == 0) {
            FAIL(check, field, "\"%.64s\" names a label, and a label cannot be a feature", *field);
            return;
        }
    }
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_action *action = daemon_config_action(config, rank);
        const struct daemon_config_fields *fields = &action->topic.fields;
        bool tells = (action->name && word_tells(leaf, action->name)) || text_equal(*field, fields->value) ||
                     text_equal(*field, fields->event_id);
        if (tells) {
            FAIL(check, field,
                 "\"%.64s\" is known only after the impression (the action %s), and cannot be a feature",
                 *field, action->name ? action->name : "");
            return;
        }
    }
    if (text_equal(*field, config->impression.fields.impression_id)) {
        FAIL(check, field,
             "\"%.64s\" is the impression's identity: every value is seen once, nothing can be learned",
             *field);
    }
}

// A weight or propensity is known with the impression, so that it leaks no label; but the serving side has
// none, and a model that reads it can undo what it is for.
static void check_weight_read(const struct check *check, const char *const *field)
{
    const struct daemon_config_fields *fields = &check->config->impression.fields;
    bool weight = text_equal(*field, fields->weight);
    if (weight || text_equal(*field, fields->propensity)) {
        WARN(check, field, "\"%.64s\" is the impression's %s too: is it known when the model is asked?",
             *field, weight ? "weight" : "propensity");
    }
}

// Warns of features that are local in time: negatives arrive now, positives later, so that the present hour
// looks barren (docs/label-delay.md, arrival aliasing).
static void check_alias(const struct check *check, const char *const *field)
{
    static const char *const words[] = {"hour", "hod",   "minute", "day",       "dow", "weekday", "date",
                                        "week", "month", "time",   "timestamp", "ts",  "flight"};
    const char *path = *field;
    while (*path) {
        size_t size = strcspn(path, "._-");
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
            if (strlen(words[i]) == size && strncmp(path, words[i], size) == 0) {
                WARN(check, field,
                     "\"%.64s\" looks local in time (%s): late positives make such a feature miscalibrated; "
                     "docs/label-delay.md, arrival aliasing",
                     *field, words[i]);
                return;
            }
        }
        path += size + (path[size] != '\0');
    }
}

// path: NULL: it has none.
static void check_feature_name(const struct check *check, const char *const *field, const char *const *path)
{
    if (!*field) {
        return; // told by its row
    }
    if (!name_fits(*field, name_letters, CHECK_NAME_MAX)) {
        FAIL(check, field, "\"%.64s\" must be 1 to %d of a-z, A-Z, 0-9, '_', '-', '.'", *field,
             CHECK_NAME_MAX);
    }
    if (!path) {
        return;
    }
    const void *where = check_given(check, path) ? (const void *)path : field;
    if (!text_set(*path)) {
        FAIL(check, where, "an empty path");
        return;
    }
    check_leak(check, where);
    check_weight_read(check, where);
    check_alias(check, where);
}

static void check_slot(const struct check *check, const struct daemon_config_slot *slot)
{
    check_feature_name(check, &slot->name, slot->cross.count > 0 ? NULL : &slot->path);
    if (slot->dimension % 4 != 0) {
        FAIL(check, &slot->dimension, "%llu is not a multiple of 4", (unsigned long long)slot->dimension);
    }
    if (slot->boundaries.count > TRAINER_BOUNDARIES_MAX) {
        FAIL(check, &slot->boundaries, "%u boundaries; at most %d are allowed", slot->boundaries.count,
             TRAINER_BOUNDARIES_MAX);
    }
    for (uint32_t i = 1; i < slot->boundaries.count; i++) {
        if (!(slot->boundaries.item[i] > slot->boundaries.item[i - 1])) {
            FAIL(check, &slot->boundaries, "must ascend: %g follows %g", slot->boundaries.item[i],
                 slot->boundaries.item[i - 1]);
            break;
        }
    }
}

static const char *const *feature_name(const struct daemon_config *config, uint32_t index)
{
    return index < config->slots.count ? &daemon_config_slot(config, index)->name
                                       : &daemon_config_numeric(config, index - config->slots.count)->name;
}

static void check_features(const struct check *check)
{
    const struct daemon_config *config = check->config;
    uint32_t slots = config->slots.count, numerics = config->numerics.count;
    if (slots > TRAINER_SLOTS_MAX || numerics > BASE_NUMERIC_MAX) {
        FAIL(check, slots > TRAINER_SLOTS_MAX ? &config->slots : &config->numerics, "at most %d are allowed",
             slots > TRAINER_SLOTS_MAX ? (int)TRAINER_SLOTS_MAX : (int)BASE_NUMERIC_MAX);
        return;
    }
    if (slots + numerics == 0 && !check_refused(check, &config->slots) &&
        !check_refused(check, &config->numerics)) {
        FAIL(check, &config->slots, "no features: slots or numerics must be given");
    }
    uint32_t columns = numerics;
    uint64_t width = numerics;
    for (uint32_t i = 0; i < slots; i++) {
        const struct daemon_config_slot *slot = daemon_config_slot(config, i);
        check_slot(check, slot);
        columns += slot->boundaries.count > 0;
        width += slot->role == DAEMON_ROLE_POSITION ? 0 : slot->dimension;
    }
    for (uint32_t i = 0; i < numerics; i++) {
        const struct daemon_config_numeric *numeric = daemon_config_numeric(config, i);
        check_feature_name(check, &numeric->name, &numeric->path);
    }
    for (uint32_t i = 1; i < slots + numerics; i++) {
        const char *const *name = feature_name(config, i);
        for (uint32_t k = 0; k < i && *name; k++) {
            if (text_equal(*feature_name(config, k), *name)) {
                FAIL(check, name, "\"%.64s\" is taken", *name);
                break;
            }
        }
    }
    config_slots_check(config, check->problems);
    if (columns > BASE_NUMERIC_MAX) {
        FAIL(check, &config->numerics,
             "%u numeric columns with those of bucketised slots; at most %d are allowed", columns,
             BASE_NUMERIC_MAX);
    }
    if (width > TRAINER_WIDTH_MAX) {
        FAIL(check, &config->slots, "the network's input is %llu wide; at most %d is allowed",
             (unsigned long long)width, TRAINER_WIDTH_MAX);
    }
}

// --- redis, publish, the rest ---

// Splits "host:port" or "[host]:port".
static void check_address(const struct check *check)
{
    struct daemon_config_redis *redis = &check->config->redis;
    const char *address = redis->address ? redis->address : "127.0.0.1:6379";
    const char *colon = strrchr(address, ':');
    bool bracket = address[0] == '[';
    uint64_t port = 0;
    const char *begin = address + bracket;
    const char *end = colon && bracket ? colon - 1 : colon;
    if (!colon || base_config_parse_uint(colon + 1, &port) != 0 || port == 0 || port > UINT16_MAX ||
        end <= begin || (bracket && *end != ']') || (!bracket && memchr(begin, ':', (size_t)(end - begin)))) {
        FAIL(check, &redis->address, "\"%.64s\" is not host:port", address);
        return;
    }
    redis->host = base_config_string(check->config->memory, "%.*s", (int)(end - begin), begin);
    redis->port = (uint16_t)port;
}

static void check_redis(const struct check *check)
{
    const struct daemon_config_redis *redis = &check->config->redis;
    if (redis->address && redis->socket) {
        FAIL(check, &redis->socket, "stands beside address; only one of them can be");
    }
    if (!redis->socket) {
        check_address(check);
    }
    if (redis->user && !redis->password && !check_refused(check, &redis->password)) {
        FAIL(check, &redis->user, "a user needs a password");
    }
}

static void check_rest(const struct check *check)
{
    const struct daemon_config *config = check->config;
    if (!text_set(config->state_dir)) {
        FAIL(check, &config->state_dir, "must not be empty");
    } else if (strlen(config->state_dir) > DAEMON_CONFIG_PATH_MAX - 64) {
        FAIL(check, &config->state_dir, "is too long");
    }
    if (config->publish.interval < config->tick) {
        WARN(check, &config->publish.interval, "is below the tick; versions come at ends of ticks only");
    }
    if (config->publish.garbage_ttl % 1000 != 0) {
        FAIL(check, &config->publish.garbage_ttl, "must be whole seconds");
    }
}

void config_check(struct daemon_config *config, struct base_config_problems *problems)
{
    struct check check = {config, problems};
    check_rest(&check);
    check_model(&check);
    check_source(&check);
    check_registry(&check);
    check_actions(&check);
    config_tasks_check(config, problems);
    config_update_check(config, problems);
    check_features(&check);
    check_redis(&check);
}
