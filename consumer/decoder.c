// The decoder: framing, writer schema, plan, event. See decoder.h.
//
// Plans are kept by what names the writer schema: the registry's id, the fingerprint, or the source's number.
// A schema that cannot be compiled is kept too, with the reason: its messages are dead without compiling
// again.
#include "consumer/decoder.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "consumer/framing.h"
#include "consumer/plan.h"

enum {
    DECODER_PLANS_MAX = 256, // writer schemas at a time; beyond it the one that came first goes
    DECODER_TARGETS_MAX = 5 + CONSUMER_TOUCH_FIELDS_MAX + BASE_CATEGORICAL_MAX + BASE_NUMERIC_MAX,
};

// Places of ids and of values in consumer_output.
enum { DECODER_ID_EVENT, DECODER_ID_IMPRESSION, DECODER_ID_TOUCH };
enum { DECODER_VALUE_ACTION, DECODER_VALUE_WEIGHT = 0, DECODER_VALUE_PROPENSITY };

static_assert(DECODER_ID_TOUCH + CONSUMER_TOUCH_FIELDS_MAX <= CONSUMER_PLAN_IDS_MAX, "room for all ids");

struct decoder_plan {
    const struct consumer_source *source; // that gave the schema, or NULL
    uint64_t schema;
    struct consumer_plan *plan; // NULL: cannot be compiled
    char *reason;               // then why
};

struct consumer_decoder {
    char *topic;
    uint32_t rank;
    enum consumer_framing framing;
    bool time_from_kafka;
    uint32_t touch_fields;
    bool weighted; // weight or propensity is configured
    double propensity_min;
    struct consumer_registry *registry;
    struct consumer_schema *reader;   // or NULL
    struct consumer_schema **writers; // all that are configured, the reader first
    uint32_t writer_count;
    struct consumer_target *targets;
    uint32_t target_count;
    struct consumer_output *output;
    struct decoder_plan plans[DECODER_PLANS_MAX];
    uint32_t plan_count, plan_oldest, plan_last;
    uint8_t touch[CONSUMER_ID_MAX + CONSUMER_TOUCH_FIELDS_MAX * sizeof(uint32_t)];
};

static void decoder_target(struct consumer_decoder *decoder, enum consumer_role role, uint32_t index,
                           const char *path, uint64_t salt)
{
    if (path) {
        char *copy = base_alloc(strlen(path) + 1);
        memcpy(copy, path, strlen(path) + 1);
        decoder->targets[decoder->target_count++] =
            (struct consumer_target){.role = role, .index = index, .path = copy, .salt = salt};
    }
}

static int decoder_targets(struct consumer_decoder *decoder, const struct consumer_decoder_config *config,
                           struct base_error *error)
{
    bool impression = config->rank == 0;
    if (impression && !config->impression_id) {
        return base_error_set(error, BASE_EINVAL, "an impression needs a path to its impression_id");
    }
    if (!config->time_from_kafka && !config->event_time) {
        return base_error_set(error, BASE_EINVAL, "no path to the event time, and it is not Kafka's");
    }
    if (config->touch_fields > CONSUMER_TOUCH_FIELDS_MAX ||
        config->layout.categorical > BASE_CATEGORICAL_MAX || config->layout.numeric > BASE_NUMERIC_MAX) {
        return base_error_set(error, BASE_ELIMIT, "too many touch fields or columns");
    }
    if (impression && config->propensity && !(config->propensity_min > 0 && config->propensity_min <= 1)) {
        return base_error_set(error, BASE_EINVAL,
                              "the least propensity must be above 0 and at most 1, not %g",
                              config->propensity_min);
    }
    decoder->targets = base_alloc_zeroed(DECODER_TARGETS_MAX, sizeof *decoder->targets);
    if (!config->time_from_kafka) {
        decoder_target(decoder, CONSUMER_ROLE_TIME, 0, config->event_time, 0);
    }
    decoder_target(decoder, CONSUMER_ROLE_ID, DECODER_ID_IMPRESSION, config->impression_id, 0);
    for (uint32_t i = 0; i < config->touch_fields; i++) {
        decoder_target(decoder, CONSUMER_ROLE_ID, DECODER_ID_TOUCH + i, config->touch[i], 0);
    }
    if (!impression) {
        decoder_target(decoder, CONSUMER_ROLE_ID, DECODER_ID_EVENT, config->event_id, 0);
        decoder_target(decoder, CONSUMER_ROLE_VALUE, DECODER_VALUE_ACTION, config->value, 0);
        return 0;
    }
    decoder_target(decoder, CONSUMER_ROLE_VALUE, DECODER_VALUE_WEIGHT, config->weight, 0);
    decoder_target(decoder, CONSUMER_ROLE_VALUE, DECODER_VALUE_PROPENSITY, config->propensity, 0);
    for (uint32_t i = 0; i < config->layout.categorical; i++) {
        const struct consumer_column *column = &config->categorical[i];
        decoder_target(decoder, CONSUMER_ROLE_CATEGORICAL, i, column->path,
                       base_hash_slot_salt(column->name));
    }
    for (uint32_t i = 0; i < config->layout.numeric; i++) {
        decoder_target(decoder, CONSUMER_ROLE_NUMERIC, i, config->numeric[i].path, 0);
    }
    return 0;
}

static int decoder_schemas(struct consumer_decoder *decoder, const struct consumer_decoder_config *config,
                           struct base_error *error)
{
    uint32_t count = config->schemas ? config->schema_count : 0;
    decoder->writers = base_alloc_zeroed(count, sizeof *decoder->writers);
    for (uint32_t i = 0; i < count; i++) {
        if (!config->schemas[i]) {
            continue;
        }
        struct consumer_schema *schema = consumer_schema_parse(base_span_string(config->schemas[i]), error);
        if (!schema) {
            return base_error_prefix(error, "schema %u of the configuration", i);
        }
        decoder->writers[decoder->writer_count++] = schema;
        if (i == 0) {
            decoder->reader = schema;
        }
    }
    if (!decoder->reader) {
        return 0;
    }
    return consumer_plan_check(decoder->reader, decoder->targets, decoder->target_count, error);
}

struct consumer_decoder *consumer_decoder_new(const struct consumer_decoder_config *config,
                                              struct consumer_registry *registry, struct base_error *error)
{
    struct consumer_decoder *decoder = base_alloc_zeroed(1, sizeof *decoder);
    struct base_columns_layout none = {0};
    decoder->topic = base_alloc(strlen(config->topic) + 1);
    memcpy(decoder->topic, config->topic, strlen(config->topic) + 1);
    decoder->rank = config->rank;
    decoder->framing = config->framing;
    decoder->time_from_kafka = config->time_from_kafka;
    decoder->touch_fields = config->touch_fields;
    decoder->weighted = config->rank == 0 && (config->weight || config->propensity);
    decoder->propensity_min = config->propensity_min;
    decoder->registry = registry;
    int failed = 0;
    if (config->framing == CONSUMER_FRAMING_CONFLUENT && !registry) {
        failed = base_error_set(error, BASE_EINVAL, "Confluent's framing needs a schema registry");
    }
    failed = failed || decoder_targets(decoder, config, error) || decoder_schemas(decoder, config, error);
    if (failed) {
        base_error_prefix(error, "topic %s", config->topic);
        consumer_decoder_free(decoder);
        return NULL;
    }
    decoder->output = consumer_output_new(config->rank == 0 ? config->layout : none);
    return decoder;
}

static void decoder_plan_clear(struct decoder_plan *plan)
{
    consumer_plan_free(plan->plan);
    free(plan->reason);
    *plan = (struct decoder_plan){0};
}

void consumer_decoder_free(struct consumer_decoder *decoder)
{
    if (!decoder) {
        return;
    }
    for (uint32_t i = 0; i < decoder->plan_count; i++) {
        decoder_plan_clear(&decoder->plans[i]);
    }
    for (uint32_t i = 0; i < decoder->writer_count; i++) {
        consumer_schema_free(decoder->writers[i]);
    }
    for (uint32_t i = 0; i < decoder->target_count; i++) {
        free((char *)decoder->targets[i].path);
    }
    free(decoder->writers);
    free(decoder->targets);
    consumer_output_free(decoder->output);
    free(decoder->topic);
    free(decoder);
}

// Compiles for a writer schema, once: what fails here fails for every message of it.
static void decoder_plan_compile(struct consumer_decoder *decoder, struct decoder_plan *plan,
                                 const struct consumer_schema *writer)
{
    struct base_error error;
    plan->plan =
        consumer_plan_compile(writer, decoder->reader, decoder->targets, decoder->target_count, &error);
    if (!plan->plan) {
        plan->reason = base_alloc(sizeof error.text);
        memcpy(plan->reason, error.text, sizeof error.text);
    }
}

static void decoder_plan_parse(struct consumer_decoder *decoder, struct decoder_plan *plan, const char *text)
{
    struct base_error error;
    struct consumer_schema *writer = consumer_schema_parse(base_span_string(text), &error);
    if (writer) {
        decoder_plan_compile(decoder, plan, writer);
        consumer_schema_free(writer);
        return;
    }
    plan->reason = base_alloc(sizeof error.text);
    memcpy(plan->reason, error.text, sizeof error.text);
}

// The place of a writer schema's plan, emptied of another one if there is no room.
static struct decoder_plan *decoder_plan_place(struct consumer_decoder *decoder)
{
    uint32_t place = decoder->plan_count;
    if (place == DECODER_PLANS_MAX) {
        place = decoder->plan_oldest;
        decoder->plan_oldest = (place + 1) % DECODER_PLANS_MAX;
        decoder_plan_clear(&decoder->plans[place]);
    } else {
        decoder->plan_count++;
    }
    decoder->plan_last = place;
    return &decoder->plans[place];
}

static const struct consumer_schema *decoder_writer(const struct consumer_decoder *decoder, uint64_t schema)
{
    if (decoder->framing == CONSUMER_FRAMING_BARE) {
        // The configured writer schema: the one behind the reader's, or that itself.
        uint32_t place = decoder->reader && decoder->writer_count > 1;
        return place < decoder->writer_count ? decoder->writers[place] : NULL;
    }
    for (uint32_t i = 0; i < decoder->writer_count; i++) {
        if (consumer_schema_fingerprint(decoder->writers[i]) == schema) {
            return decoder->writers[i];
        }
    }
    return NULL;
}

// The plan for a writer schema, from the kept ones or anew.
static enum consumer_decode decoder_plan_get(struct consumer_decoder *decoder, struct consumer_source *source,
                                             uint64_t schema, const struct decoder_plan **found,
                                             struct base_error *error)
{
    for (uint32_t i = 0; i < decoder->plan_count; i++) {
        uint32_t place = (decoder->plan_last + i) % decoder->plan_count;
        const struct decoder_plan *plan = &decoder->plans[place];
        if (plan->schema == schema && plan->source == source) {
            decoder->plan_last = place;
            *found = plan;
            return CONSUMER_DECODE_EVENT;
        }
    }
    const char *text = NULL;
    const struct consumer_schema *writer = NULL;
    if (source) {
        text = source->operations->schema(source, (uint32_t)schema);
    } else if (decoder->framing == CONSUMER_FRAMING_CONFLUENT) {
        if (consumer_registry_schema(decoder->registry, (uint32_t)schema, &text, error)) {
            return error->retriable ? CONSUMER_DECODE_BLOCKED : CONSUMER_DECODE_DEAD;
        }
    } else {
        writer = decoder_writer(decoder, schema);
    }
    if (!text && !writer) {
        base_error_set(error, BASE_ENOTFOUND, "no schema is known for %s %016llx",
                       decoder->framing == CONSUMER_FRAMING_SINGLE_OBJECT ? "fingerprint"
                                                                          : "message of number",
                       (unsigned long long)schema);
        return CONSUMER_DECODE_DEAD;
    }
    struct decoder_plan *plan = decoder_plan_place(decoder);
    plan->source = source;
    plan->schema = schema;
    if (text) {
        decoder_plan_parse(decoder, plan, text);
    } else {
        decoder_plan_compile(decoder, plan, writer);
    }
    *found = plan;
    return CONSUMER_DECODE_EVENT;
}

// Where the record has a value.
static const char *decoder_path(const struct consumer_decoder *decoder, uint32_t value)
{
    const struct consumer_target *target = decoder->targets;
    while (target->role != CONSUMER_ROLE_VALUE || target->index != value) {
        target++;
    }
    return target->path;
}

// The configured fields' bytes, each behind its length. False if that is too long; null if a field is.
static bool decoder_touch(struct consumer_decoder *decoder, struct base_span *touch)
{
    const struct base_span *field = decoder->output->id + DECODER_ID_TOUCH;
    *touch = (struct base_span){0};
    for (uint32_t i = 0; i < decoder->touch_fields; i++) {
        if (!field[i].data) {
            return true;
        }
    }
    size_t size = 0;
    for (uint32_t i = 0; i < decoder->touch_fields; i++) {
        if (size + sizeof(uint32_t) + field[i].size > CONSUMER_ID_MAX) {
            return false;
        }
        for (unsigned k = 0; k < sizeof(uint32_t); k++) {
            decoder->touch[size++] = (uint8_t)(field[i].size >> (8 * k));
        }
        memcpy(decoder->touch + size, field[i].data, field[i].size);
        size += field[i].size;
    }
    if (decoder->touch_fields > 0) {
        *touch = base_span_make(decoder->touch, size);
    }
    return true;
}

// The weight of an impression: its own over its propensity. Both count 1 where they are null or absent.
static int decoder_weight(const struct consumer_decoder *decoder, struct consumer_event *event,
                          struct base_error *error)
{
    const struct consumer_output *output = decoder->output;
    const double *value = output->value;
    bool weighted = output->has_value[DECODER_VALUE_WEIGHT];
    bool shown = output->has_value[DECODER_VALUE_PROPENSITY];
    double weight = weighted ? value[DECODER_VALUE_WEIGHT] : 1;
    double propensity = shown ? value[DECODER_VALUE_PROPENSITY] : 1;
    // Written so that NaN is refused.
    if (!(weight >= 0 && weight <= CONSUMER_WEIGHT_MAX)) {
        return base_error_set(error, BASE_EFORMAT, "the weight (%s) is %g, not in [0, %g]",
                              decoder_path(decoder, DECODER_VALUE_WEIGHT), weight, CONSUMER_WEIGHT_MAX);
    }
    if (!(propensity > 0 && propensity <= 1)) {
        return base_error_set(error, BASE_EFORMAT, "the propensity (%s) is %g, not in (0, 1]",
                              decoder_path(decoder, DECODER_VALUE_PROPENSITY), propensity);
    }
    event->weighted = weighted || shown;
    event->weight = (float)(weight / (shown ? fmax(propensity, decoder->propensity_min) : 1));
    return 0;
}

static int decoder_event(struct consumer_decoder *decoder, const struct consumer_message *message,
                         struct consumer_event *event, struct base_error *error)
{
    struct consumer_output *output = decoder->output;
    struct consumer_event made = {.rank = decoder->rank, .lane = message->lane, .offset = message->offset};
    if (decoder->time_from_kafka ? message->timestamp == -1 : !output->has_time) {
        return base_error_set(error, BASE_EFORMAT, "no event time");
    }
    made.event_time = decoder->time_from_kafka ? message->timestamp : output->time;
    if (made.event_time > CONSUMER_TIME_BOUND || made.event_time < -CONSUMER_TIME_BOUND) {
        return base_error_set(error, BASE_EFORMAT, "event time %lld is out of bounds",
                              (long long)made.event_time);
    }
    made.impression_id = output->id[DECODER_ID_IMPRESSION];
    made.event_id = output->id[decoder->rank == 0 ? DECODER_ID_IMPRESSION : DECODER_ID_EVENT];
    made.value = decoder->rank > 0 ? output->value[DECODER_VALUE_ACTION] : (double)NAN;
    if (decoder->rank == 0 && !made.impression_id.data) {
        return base_error_set(error, BASE_EFORMAT, "no impression_id");
    }
    if (made.impression_id.size > CONSUMER_ID_MAX || made.event_id.size > CONSUMER_ID_MAX ||
        !decoder_touch(decoder, &made.touch)) {
        return base_error_set(error, BASE_EFORMAT, "an id or touch key of more than %d bytes",
                              CONSUMER_ID_MAX);
    }
    if (decoder->rank == 0) {
        made.columns = consumer_output_columns(output);
        if (decoder->weighted && decoder_weight(decoder, &made, error) != 0) {
            return -1;
        }
    }
    *event = made;
    return 0;
}

enum consumer_decode consumer_decoder_decode(struct consumer_decoder *decoder, struct consumer_source *source,
                                             const struct consumer_message *message,
                                             struct consumer_event *event, struct base_error *error)
{
    if (!message->value.data) {
        base_error_set(error, BASE_EFORMAT, "tombstone");
        return CONSUMER_DECODE_DEAD;
    }
    struct consumer_frame frame = {.schema = message->schema, .body = message->value};
    assert(!message->bare || source);
    if (!message->bare && consumer_framing_parse(decoder->framing, message->value, &frame, error)) {
        return CONSUMER_DECODE_DEAD;
    }
    const struct decoder_plan *plan;
    enum consumer_decode answer =
        decoder_plan_get(decoder, message->bare ? source : NULL, frame.schema, &plan, error);
    if (answer != CONSUMER_DECODE_EVENT) {
        return answer;
    }
    if (!plan->plan) {
        base_error_set(error, BASE_EFORMAT, "%s", plan->reason);
        return CONSUMER_DECODE_DEAD;
    }
    if (consumer_plan_run(plan->plan, frame.body, decoder->output, error) ||
        decoder_event(decoder, message, event, error)) {
        return CONSUMER_DECODE_DEAD;
    }
    return CONSUMER_DECODE_EVENT;
}

uint64_t consumer_decoder_cut_keys(const struct consumer_decoder *decoder)
{
    return decoder->output->cut;
}
