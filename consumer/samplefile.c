// Sample files. See samplefile.h.
#include "consumer/samplefile.h"

#include <math.h>
#include <stdlib.h>

#include "consumer/container.h"
#include "consumer/schema.h"
#include "consumer/schemas.h"

// A sample of all columns, all full, and names of a kilobyte fits.
enum { SAMPLEFILE_CAPACITY = 4 << 20 };

struct consumer_samplefile {
    struct consumer_samplefile_config config;
    struct consumer_container *container;
    struct base_buffer record;
};

struct consumer_samplefile *consumer_samplefile_create(const struct consumer_samplefile_config *config,
                                                       struct base_error *error)
{
    if (config->tasks == 0 || config->tasks > BASE_TASKS_MAX) {
        base_error_set(error, BASE_EINVAL, "%s: %u tasks", config->path, config->tasks);
        return NULL;
    }
    struct consumer_container *container = consumer_container_create(
        config->path, consumer_schemas_sample, config->codec, SAMPLEFILE_CAPACITY, error);
    if (!container) {
        return NULL;
    }
    struct consumer_samplefile *samplefile = base_alloc_zeroed(1, sizeof *samplefile);
    samplefile->config = *config;
    samplefile->container = container;
    return samplefile;
}

// Is it UTF-8 (RFC 3629: shortest forms, no surrogates, up to U+10FFFF)?
static bool samplefile_utf8(struct base_span text)
{
    for (size_t i = 0; i < text.size;) {
        uint8_t lead = text.data[i++];
        if (lead < 0x80) {
            continue;
        }
        size_t more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || text.size - i < more) {
            return false;
        }
        // The second byte's bounds keep out long forms, surrogates and what lies above U+10FFFF.
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        for (size_t k = 0; k < more; k++, i++) {
            if (text.data[i] < low || text.data[i] > high) {
                return false;
            }
            low = 0x80;
            high = 0xbf;
        }
    }
    return true;
}

static void samplefile_put_float(struct base_buffer *record, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    base_buffer_u32(record, bits);
}

static void samplefile_put_double(struct base_buffer *record, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    base_buffer_u64(record, bits);
}

static void samplefile_tasks(struct consumer_samplefile *samplefile, const struct base_sample *sample)
{
    struct base_buffer *record = &samplefile->record;
    uint32_t tasks = samplefile->config.tasks;
    consumer_schema_put_long(record, tasks);
    for (uint32_t i = 0; i < tasks; i++) {
        consumer_schema_put_bytes(record, base_span_string(samplefile->config.task_names[i]));
        consumer_schema_put_long(record, sample->label[i]);
        base_buffer_u8(record, sample->mask >> i & 1);
        samplefile_put_float(record, sample->weight[i]);
        bool valued = sample->label[i] && !isnan(sample->value[i]);
        consumer_schema_put_long(record, valued);
        if (valued) {
            samplefile_put_float(record, sample->value[i]);
        }
    }
    consumer_schema_put_long(record, 0);
}

static void samplefile_features(struct consumer_samplefile *samplefile, const struct base_columns *columns)
{
    const struct consumer_samplefile_config *config = &samplefile->config;
    struct base_buffer *record = &samplefile->record;
    const uint64_t *key = columns->keys;
    if (config->layout.categorical > 0) {
        consumer_schema_put_long(record, config->layout.categorical);
    }
    for (uint32_t i = 0; i < config->layout.categorical; i++) {
        consumer_schema_put_bytes(record, base_span_string(config->categorical[i]));
        if (columns->count[i] > 0) {
            consumer_schema_put_long(record, columns->count[i]);
        }
        for (uint16_t k = 0; k < columns->count[i]; k++) {
            consumer_schema_put_long(record, (int64_t)*key++);
        }
        consumer_schema_put_long(record, 0);
    }
    consumer_schema_put_long(record, 0);

    for (uint32_t i = 0; i < config->layout.numeric; i++) {
        if (!isnan(columns->numeric[i])) {
            consumer_schema_put_long(record, 1); // a block an entry: their number is not known before
            consumer_schema_put_bytes(record, base_span_string(config->numeric[i]));
            samplefile_put_double(record, columns->numeric[i]);
        }
    }
    consumer_schema_put_long(record, 0);
}

int consumer_samplefile_add(struct consumer_samplefile *samplefile, const struct base_sample *sample,
                            int64_t tick, struct base_error *error)
{
    struct base_buffer *record = &samplefile->record;
    struct base_columns columns;
    bool features = samplefile->config.features;
    if (features && !base_columns_view(sample->columns, samplefile->config.layout, &columns)) {
        return base_error_set(error, BASE_EFORMAT, "%s: a sample's columns do not fit the layout",
                              samplefile->config.path);
    }
    base_buffer_clear(record);
    consumer_schema_put_long(record, samplefile_utf8(sample->impression_id) ? 0 : 1);
    consumer_schema_put_bytes(record, sample->impression_id);
    consumer_schema_put_long(record, sample->lane);
    consumer_schema_put_long(record, (int64_t)sample->sequence);
    consumer_schema_put_long(record,
                             sample->kind); // the schema's symbols stand in the order of enum base_kind
    consumer_schema_put_long(record, sample->due_time);
    consumer_schema_put_long(record, sample->event_time);
    consumer_schema_put_long(record, tick);
    samplefile_tasks(samplefile, sample);
    consumer_schema_put_long(record, features);
    if (features) {
        samplefile_features(samplefile, &columns);
    }
    return consumer_container_append(samplefile->container, base_buffer_span(record), error);
}

int consumer_samplefile_close(struct consumer_samplefile *samplefile, struct base_error *error)
{
    if (!samplefile) {
        return 0;
    }
    int result = consumer_container_close(samplefile->container, error);
    base_buffer_free(&samplefile->record);
    free(samplefile);
    return result;
}
