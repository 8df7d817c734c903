// The cut: begun, copied in portions, taken, written. See cut.h; rows and candidates are marks.c's.
#include "trainer/cut.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/hash.h"
#include "base/section.h"
#include "trainer/cut_format.h"
#include "trainer/cut_private.h"
#include "trainer/growth.h"
#include "trainer/model_private.h"

// ---- filling it ----

static void cut_copy_dense(struct trainer_cut *cut, struct trainer_model *model)
{
    size_t network_size = trainer_network_size(model->network), oov_size;
    const float *oov = trainer_table_oov(model->table, &oov_size);
    cut->tensors = model->cut_tensor_count;
    cut->tensor = base_alloc((cut->tensors + 1) * sizeof *cut->tensor);
    memcpy(cut->tensor, model->tensors, cut->tensors * sizeof *cut->tensor);
    cut->dense_size = model->cut_dense_size;
    cut->dense = base_alloc((cut->dense_size + 1) * sizeof *cut->dense);
    memcpy(cut->dense, trainer_network_slab(model->network), network_size * sizeof *cut->dense);
    memcpy(cut->dense + network_size, oov, oov_size * sizeof *cut->dense);
    if (model->log_variance) {
        memcpy(cut->dense + model->dense_size, model->log_variance,
               (model->cut_dense_size - model->dense_size) * sizeof *cut->dense);
    }
}

static void cut_copy_state(struct trainer_cut *cut, struct trainer_model *model)
{
    cut->version = CUT_VERSION_STATELESS;
    if (trainer_update_stateless(model->update)) {
        return;
    }
    cut->update = trainer_update_figures(model->update);
    cut->learned = model->tensor_count;
    cut->version = CUT_VERSION_NETWORK;
    if (model->log_variance &&
        trainer_update_optimiser(model->update, cut->learned)->kind != TRAINER_OPTIMISER_SGD) {
        cut->learned = model->cut_tensor_count;
        cut->version = CUT_VERSION;
    }
    cut->optimiser = base_alloc_zeroed(cut->learned, sizeof *cut->optimiser);
    cut->state_floats = base_alloc_zeroed(cut->learned, sizeof *cut->state_floats);
    for (uint32_t t = 0; t < cut->learned; t++) {
        cut->optimiser[t] = *trainer_update_optimiser(model->update, t);
        trainer_update_state(model->update, t, &cut->state_floats[t]);
        cut->state_size += cut->state_floats[t];
    }
    cut->state = base_alloc((cut->state_size + 1) * sizeof *cut->state);
    float *to = cut->state;
    for (uint32_t t = 0; t < cut->learned; t++) {
        size_t floats;
        const float *from = trainer_update_state(model->update, t, &floats);
        if (floats) {
            memcpy(to, from, floats * sizeof *to);
        }
        to += floats;
    }
}

static void cut_copy_slots(struct trainer_cut *cut, const struct trainer_model *model)
{
    cut->slots = model->config.features.slots;
    cut->slot = base_alloc_zeroed(cut->slots + 1, sizeof *cut->slot);
    cut->name = base_alloc_zeroed(cut->slots + 1, sizeof *cut->name);
    cut->number = base_alloc_zeroed(cut->slots + 1, sizeof *cut->number);
    cut->order = base_alloc_zeroed(cut->slots + 1, sizeof *cut->order);
    for (uint32_t s = 0; s < cut->slots; s++) {
        const char *name = model->config.features.slot[s].row.name; // fits: trainer_model_new checks it
        memcpy(cut->name[s], name, strlen(name));
        cut->number[s] = model->cut_slot[s];
        cut->order[cut->number[s]] = s;
    }
    struct growth_shape *shape = base_alloc(sizeof *shape);
    growth_shape_of(&model->config, shape);
    growth_shape_save(shape, &cut->shape);
    free(shape);
}

void trainer_model_cut_begin(struct trainer_model *model)
{
    assert(model->training && !model->cut);
    struct trainer_cut *cut = base_alloc_zeroed(1, sizeof *cut);
    cut_copy_slots(cut, model);
    cut->stale = model->stale;
    model->stale = (struct base_buffer){0};
    cut->examples = model->examples;
    cut->settled_tick = model->settled_tick;
    cut->flying_tick = model->flying_tick;
    cut_copy_dense(cut, model);
    cut_copy_state(cut, model);
    table_cut_begin(model->table, cut);
    model->cut = cut;
    base_failpoint("cut.frozen");
}

bool trainer_model_cut_copy(struct trainer_model *model, size_t rows)
{
    if (model->cut && !model->cut->complete) {
        model->cut->complete = table_cut_copy(model->table, rows);
        base_failpoint("cut.copying");
    }
    return !model->cut || model->cut->complete;
}

struct trainer_cut *trainer_model_cut_take(struct trainer_model *model)
{
    struct trainer_cut *cut = model->cut;
    assert(!cut || cut->complete);
    base_failpoint("cut.copied");
    model->cut = NULL;
    return cut;
}

uint64_t trainer_model_dirty_bytes(const struct trainer_model *model)
{
    return model->table->dirty_bytes + model->cut_dense_size * sizeof(float) +
           trainer_update_state_bytes(model->update);
}

static void records_free(struct cut_records *records)
{
    while (records->first) {
        struct cut_chunk *chunk = records->first;
        records->first = chunk->next;
        free(chunk);
    }
}

void trainer_cut_free(struct trainer_cut *cut)
{
    if (!cut) {
        return;
    }
    for (uint32_t s = 0; s < cut->slots; s++) {
        table_list_free(&cut->slot[s].dropped);
        table_list_free(&cut->slot[s].tombstones);
        table_list_free(&cut->slot[s].flying_tombstones);
    }
    records_free(&cut->rows);
    records_free(&cut->buckets);
    base_buffer_free(&cut->shape);
    base_buffer_free(&cut->stale);
    free(cut->slot);
    free(cut->number);
    free(cut->order);
    free(cut->name);
    free(cut->tensor);
    free(cut->dense);
    free(cut->optimiser);
    free(cut->state_floats);
    free(cut->state);
    free(cut);
}

struct trainer_cut_figures trainer_cut_figures(const struct trainer_cut *cut)
{
    struct trainer_cut_figures figures = {.rows = cut->rows.count,
                                          .forced = cut->forced,
                                          .buckets = cut->buckets.count,
                                          .bytes = sizeof *cut +
                                                   (cut->dense_size + cut->state_size) * sizeof(float)};
    for (uint32_t s = 0; s < cut->slots; s++) {
        const struct cut_slot *slot = &cut->slot[s];
        figures.dropped += slot->dropped.count;
        figures.bytes += sizeof(uint64_t) * (slot->dropped.capacity + slot->tombstones.capacity +
                                             slot->flying_tombstones.capacity);
    }
    const struct cut_chunk *lists[] = {cut->rows.first, cut->buckets.first};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (const struct cut_chunk *chunk = lists[i]; chunk; chunk = chunk->next) {
            figures.bytes += sizeof *chunk;
        }
    }
    return figures;
}

// ---- writing it ----

// A key and its value, one behind the other, so that the checksum covers both.
struct cut_entry {
    uint8_t *bytes; // [CUT_KEY_MAX + CUT_VALUE_MAX]
    size_t key, size;
};

static void entry_key(struct cut_entry *entry, uint8_t kind)
{
    entry->bytes[0] = kind;
    entry->size = entry->key = 1;
}

static void entry_key_number(struct cut_entry *entry, uint64_t number, size_t size)
{
    cut_store_big(entry->bytes + entry->size, number, size);
    entry->size = entry->key = entry->size + size;
}

static void entry_value(struct cut_entry *entry, const void *data, size_t size)
{
    assert(entry->size + size <= CUT_KEY_MAX + CUT_VALUE_MAX - CUT_CHECKSUM);
    memcpy(entry->bytes + entry->size, data, size);
    entry->size += size;
}

static void entry_put(struct cut_entry *entry, const struct trainer_cut_sink *sink)
{
    uint32_t checksum = (uint32_t)base_hash_bytes(base_span_make(entry->bytes, entry->size), 0);
    memcpy(entry->bytes + entry->size, &checksum, CUT_CHECKSUM);
    entry->size += CUT_CHECKSUM;
    sink->put(sink->context, base_span_make(entry->bytes, entry->key),
              base_span_make(entry->bytes + entry->key, entry->size - entry->key));
}

static void entry_remove(const struct cut_entry *entry, const struct trainer_cut_sink *sink)
{
    sink->remove(sink->context, base_span_make(entry->bytes, entry->key));
}

static void entry_row_key(struct cut_entry *entry, uint32_t slot, uint64_t key)
{
    entry_key(entry, CUT_KEY_ROW);
    entry_key_number(entry, slot, 2);
    entry_key_number(entry, key, 8);
}

// What a smaller model left under other keys.
static void cut_write_stale(const struct trainer_cut *cut, const struct trainer_cut_sink *sink)
{
    struct base_reader reader = {base_buffer_span(&cut->stale), false};
    while (reader.rest.size) {
        uint8_t size = base_reader_u8(&reader);
        sink->remove(sink->context, base_reader_bytes(&reader, size));
    }
}

// First what went, since a key may have come back.
static void cut_write_dropped(const struct trainer_cut *cut, struct cut_entry *entry,
                              const struct trainer_cut_sink *sink)
{
    for (uint32_t s = 0; s < cut->slots; s++) {
        for (size_t i = 0; i < cut->slot[s].dropped.count; i++) {
            entry_row_key(entry, cut->number[s], cut->slot[s].dropped.items[i]);
            entry_remove(entry, sink);
        }
    }
}

static void cut_write_rows(const struct trainer_cut *cut, struct cut_entry *entry,
                           const struct trainer_cut_sink *sink)
{
    for (const struct cut_chunk *chunk = cut->rows.first; chunk; chunk = chunk->next) {
        for (size_t at = 0; at < chunk->used;) {
            struct trainer_meta meta;
            memcpy(&meta, chunk->data + at, sizeof meta);
            const struct cut_slot *slot = &cut->slot[meta.slot];
            size_t size = (slot->dimension + (size_t)slot->words) * sizeof(float);
            entry_row_key(entry, cut->number[meta.slot], meta.key);
            entry_value(entry, chunk->data + at + sizeof meta, size);
            entry_value(entry, &meta.last_seen, sizeof meta.last_seen);
            entry_value(entry, &meta.count, sizeof meta.count);
            entry_value(entry, &meta.stamp, sizeof meta.stamp);
            entry_put(entry, sink);
            at += cut_records_size(sizeof meta + size);
        }
    }
}

static int compare_candidates(const void *left, const void *right)
{
    const struct trainer_candidate *a = left, *b = right;
    return (a->key > b->key) - (a->key < b->key);
}

static void cut_write_buckets(const struct trainer_cut *cut, struct cut_entry *entry,
                              const struct trainer_cut_sink *sink)
{
    for (const struct cut_chunk *chunk = cut->buckets.first; chunk; chunk = chunk->next) {
        struct cut_bucket bucket;
        for (size_t at = 0; at < chunk->used; at += cut_records_size(sizeof bucket)) {
            memcpy(&bucket, chunk->data + at, sizeof bucket);
            size_t count = 0;
            for (size_t i = 0; i < TRAINER_CANDIDATES_WAYS; i++) {
                if (bucket.entries[i].count) {
                    bucket.entries[count++] = bucket.entries[i];
                }
            }
            qsort(bucket.entries, count, sizeof *bucket.entries, compare_candidates);
            entry_key(entry, CUT_KEY_CANDIDATES);
            entry_key_number(entry, cut->number[bucket.slot], 2);
            entry_key_number(entry, bucket.number, 4);
            for (size_t i = 0; i < count; i++) {
                entry_value(entry, &bucket.entries[i].key, sizeof bucket.entries[i].key);
                entry_value(entry, &bucket.entries[i].last_seen, sizeof bucket.entries[i].last_seen);
                entry_value(entry, &bucket.entries[i].count, sizeof bucket.entries[i].count);
            }
            if (count) {
                entry_put(entry, sink);
            } else {
                entry_remove(entry, sink);
            }
        }
    }
}

static void cut_write_pieces(struct cut_entry *entry, uint8_t kind, uint32_t tensor, const float *from,
                             size_t floats, const struct trainer_cut_sink *sink)
{
    for (size_t at = 0; at < floats; at += CUT_PIECE) {
        size_t count = floats - at < CUT_PIECE ? floats - at : CUT_PIECE;
        entry_key(entry, kind);
        entry_key_number(entry, tensor, 4);
        entry_key_number(entry, at / CUT_PIECE, 4);
        entry_value(entry, from + at, count * sizeof *from);
        entry_put(entry, sink);
    }
}

static void cut_write_dense(const struct trainer_cut *cut, struct cut_entry *entry,
                            const struct trainer_cut_sink *sink)
{
    for (uint32_t t = 0; t < cut->tensors; t++) {
        const struct trainer_tensor *tensor = &cut->tensor[t];
        size_t floats = (size_t)tensor->rows * tensor->columns;
        cut_write_pieces(entry, CUT_KEY_DENSE, t, cut->dense + tensor->offset, floats, sink);
    }
    const float *state = cut->state;
    for (uint32_t t = 0; t < cut->learned; t++) {
        cut_write_pieces(entry, CUT_KEY_STATE, t, state, cut->state_floats[t], sink);
        state += cut->state_floats[t];
    }
}

static void model_save_list(struct base_buffer *buffer, const struct table_list *list)
{
    base_buffer_u64(buffer, list->count);
    for (size_t i = 0; i < list->count; i++) {
        base_buffer_u64(buffer, list->items[i]);
    }
}

static void cut_save_publication(const struct trainer_cut *cut, struct base_buffer *buffer)
{
    // What the state does not use is zero: the map depends on the state alone.
    bool settled = cut->base == CUT_BASE_SETTLED, flying = cut->flying != 0;
    base_buffer_u8(buffer, cut->base);
    base_buffer_u32(buffer, cut->snapshots);
    base_buffer_u32(buffer, settled ? cut->settled : 0);
    base_buffer_u64(buffer, settled ? (uint64_t)cut->settled_tick : 0);
    base_buffer_u32(buffer, cut->flying);
    base_buffer_u64(buffer, flying ? (uint64_t)cut->flying_tick : 0);
    for (uint32_t n = 0; n < cut->slots; n++) {
        const struct cut_slot *slot = &cut->slot[cut->order[n]];
        model_save_list(buffer, &slot->tombstones);
        model_save_list(buffer, &slot->flying_tombstones);
    }
}

static void cut_save_real(struct base_buffer *buffer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    base_buffer_u64(buffer, bits);
}

static void cut_save_update(const struct trainer_cut *cut, struct base_buffer *buffer)
{
    base_buffer_u64(buffer, cut->update.steps);
    base_buffer_u64(buffer, cut->update.clipped_dense);
    base_buffer_u64(buffer, cut->update.clipped_sparse);
    for (uint32_t t = 0; t < cut->learned; t++) {
        const struct trainer_optimiser_config *optimiser = &cut->optimiser[t];
        base_buffer_u8(buffer, (uint8_t)optimiser->kind);
        base_buffer_u64(buffer, cut->state_floats[t]);
        if (optimiser->kind == TRAINER_OPTIMISER_FTRL) {
            cut_save_real(buffer, optimiser->rate);
            cut_save_real(buffer, optimiser->beta);
            cut_save_real(buffer, optimiser->lambda1);
            cut_save_real(buffer, optimiser->lambda2);
        }
    }
}

static void cut_write_model(const struct trainer_cut *cut, const struct trainer_cut_sink *sink)
{
    struct base_buffer buffer = {0};
    size_t mark = base_section_begin(&buffer, CUT_MAGIC, cut->version);
    base_buffer_u64(&buffer, cut->examples);
    base_buffer_u64(&buffer, (uint64_t)cut->now);
    base_buffer_u64(&buffer, cut->refused);
    base_buffer_u32(&buffer, cut->slots);
    for (uint32_t n = 0; n < cut->slots; n++) {
        const struct cut_slot *slot = &cut->slot[cut->order[n]];
        base_section_put_span(&buffer, base_span_string(cut->name[cut->order[n]]));
        base_buffer_u32(&buffer, slot->dimension);
        base_buffer_u32(&buffer, slot->words * (uint32_t)sizeof(float));
        base_buffer_u64(&buffer, (uint64_t)slot->expiry);
        base_buffer_u64(&buffer, slot->rows);
        base_buffer_u64(&buffer, (uint64_t)slot->expired);
        base_buffer_u32(&buffer, slot->buckets);
    }
    base_buffer_u32(&buffer, cut->tensors);
    for (uint32_t t = 0; t < cut->tensors; t++) {
        base_section_put_span(&buffer, base_span_string(cut->tensor[t].name));
        base_buffer_u32(&buffer, cut->tensor[t].rows);
        base_buffer_u32(&buffer, cut->tensor[t].columns);
    }
    if (cut->learned) {
        cut_save_update(cut, &buffer);
    }
    cut_save_publication(cut, &buffer);
    base_section_end(&buffer, mark);
    static const uint8_t key = CUT_KEY_MODEL, shape = CUT_KEY_SHAPE;
    sink->put(sink->context, base_span_make(&key, 1), base_buffer_span(&buffer));
    sink->put(sink->context, base_span_make(&shape, 1), base_buffer_span(&cut->shape));
    base_buffer_free(&buffer);
}

void trainer_cut_write(const struct trainer_cut *cut, const struct trainer_cut_sink *sink)
{
    assert(cut->complete);
    struct cut_entry entry = {.bytes = base_alloc(CUT_KEY_MAX + CUT_VALUE_MAX)};
    cut_write_stale(cut, sink);
    cut_write_dropped(cut, &entry, sink);
    cut_write_rows(cut, &entry, sink);
    cut_write_buckets(cut, &entry, sink);
    cut_write_dense(cut, &entry, sink);
    cut_write_model(cut, sink);
    free(entry.bytes);
}
