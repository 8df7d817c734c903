// See trainer_cut_support.h.
#include "trainer_cut_support.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct trainer_slot_config cut_slots[CUT_SLOTS];

static int key_compare(struct base_span a, struct base_span b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

// The first entry that is not below the key.
static size_t map_place(const struct map *map, struct base_span key)
{
    size_t from = 0, to = map->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (key_compare(base_buffer_span(&map->entries[middle].key), key) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

struct map_entry *map_find(struct map *map, struct base_span key)
{
    size_t place = map_place(map, key);
    bool found = place < map->count && key_compare(base_buffer_span(&map->entries[place].key), key) == 0;
    return found ? &map->entries[place] : NULL;
}

void map_put(struct map *map, struct base_span key, struct base_span value)
{
    struct map_entry *entry = map_find(map, key);
    if (!entry) {
        size_t place = map_place(map, key);
        if (map->count == map->capacity) {
            map->capacity = map->capacity ? 2 * map->capacity : 64;
            map->entries = base_realloc(map->entries, map->capacity * sizeof *map->entries);
        }
        entry = &map->entries[place];
        memmove(entry + 1, entry, (map->count - place) * sizeof *entry);
        map->count++;
        *entry = (struct map_entry){0};
        base_buffer_append(&entry->key, key.data, key.size);
    }
    base_buffer_clear(&entry->value);
    base_buffer_append(&entry->value, value.data, value.size);
}

void map_remove(struct map *map, struct base_span key)
{
    struct map_entry *entry = map_find(map, key);
    if (entry) {
        base_buffer_free(&entry->key);
        base_buffer_free(&entry->value);
        map->count--;
        memmove(entry, entry + 1, (map->count - (size_t)(entry - map->entries)) * sizeof *entry);
    }
}

void map_free(struct map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        base_buffer_free(&map->entries[i].key);
        base_buffer_free(&map->entries[i].value);
    }
    free(map->entries);
    *map = (struct map){0};
}

static void sink_put(void *context, struct base_span key, struct base_span value)
{
    map_put(context, key, value);
}

static void sink_remove(void *context, struct base_span key)
{
    map_remove(context, key);
}

void map_write(struct map *map, const struct trainer_cut *cut)
{
    const struct trainer_cut_sink sink = {sink_put, sink_remove, map};
    trainer_cut_write(cut, &sink);
}

static int map_scan(void *context, struct base_span prefix, trainer_cut_each *each, void *each_context,
                    struct base_error *error)
{
    const struct map *map = context;
    for (size_t i = map_place(map, prefix); i < map->count; i++) {
        struct base_span key = base_buffer_span(&map->entries[i].key);
        if (key.size < prefix.size || memcmp(key.data, prefix.data, prefix.size) != 0) {
            break;
        }
        int result = each(each_context, key, base_buffer_span(&map->entries[i].value), error);
        if (result) {
            return result;
        }
    }
    return 0;
}

struct trainer_cut_source map_source(struct map *map, bool parallel)
{
    return (struct trainer_cut_source){map_scan, map, parallel};
}

// Bytes at the end of a value that publications alone see. Without tombstones there are 29 of state, 16 a
// slot of lists, and the section's checksum.
static size_t value_tail(struct base_span key, uint32_t slots)
{
    return key.data[0] == 'r' ? 8 : key.data[0] == 'm' ? 29 + 16 * (size_t)slots + 8 : 0;
}

void map_compare(const struct map *a, const struct map *b, uint32_t slots, bool loosely)
{
    cr_assert_eq(a->count, b->count, "%zu keys and %zu", a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        struct base_span key = base_buffer_span(&a->entries[i].key);
        struct base_span left = base_buffer_span(&a->entries[i].value);
        struct base_span right = base_buffer_span(&b->entries[i].value);
        cr_assert(base_span_equal(key, base_buffer_span(&b->entries[i].key)), "key %zu", i);
        if (loosely) {
            size_t tail = value_tail(key, slots);
            size_t header = key.data[0] == 'm' ? 20 : 0; // has the size
            size_t least = left.size < right.size ? left.size : right.size;
            cr_assert_geq(least, tail + header);
            left = base_span_make(left.data + header, least - tail - header);
            right = base_span_make(right.data + header, least - tail - header);
        }
        cr_assert(base_span_equal(left, right), "value of key %zu: '%c', of %zu and %zu bytes", i,
                  key.data[0], left.size, right.size);
    }
}

struct trainer_model_config *cut_config_make(uint32_t workers, uint64_t rows_max)
{
    struct trainer_model_config *config = model_config_make(workers);
    memcpy(cut_slots, config->features.slot, MODEL_SLOTS * sizeof *cut_slots);
    cut_slots[3] = (struct trainer_slot_config){
        .row = {"often", 8, 4, 250}, .column = 1, .pooling = TRAINER_POOLING_MEAN};
    cut_slots[4] = (struct trainer_slot_config){.row = {"guest", 4, 2, 900}, .column = 0};
    cut_slots[5] = (struct trainer_slot_config){.row = {"seen", 16, 1, 400}, .column = 2};
    cut_slots[6] = (struct trainer_slot_config){
        .row = {"user x items", 12, 2, 700}, .crossed = 2, .cross = {0, 1}, .pooling = TRAINER_POOLING_MEAN};
    cut_slots[7] = (struct trainer_slot_config){.row = {"place", 4, 1, 500}, .column = 1, .position = true};
    config->features.slots = CUT_SLOTS;
    config->features.slot = cut_slots;
    config->rows_max = rows_max;
    return config;
}

void cut_config_update(struct trainer_model_config *config, uint64_t way)
{
    static const struct {
        enum trainer_optimiser_kind dense, sparse;
        double half_life;
        bool mixed, clips;
    } ways[CUT_UPDATES] = {
        {.dense = TRAINER_OPTIMISER_SGD},
        {TRAINER_OPTIMISER_MOMENTUM, TRAINER_OPTIMISER_ADAGRAD, 0, false, false},
        {TRAINER_OPTIMISER_ADAM, TRAINER_OPTIMISER_ROWWISE_ADAGRAD, 0, false, false},
        {TRAINER_OPTIMISER_ADAGRAD, TRAINER_OPTIMISER_ROWWISE_ADAGRAD, 50, false, true},
        {TRAINER_OPTIMISER_FTRL, TRAINER_OPTIMISER_FTRL, 0, false, false},
        {TRAINER_OPTIMISER_ADAM, TRAINER_OPTIMISER_ADAM, 0, false, true},
        {TRAINER_OPTIMISER_SGD, TRAINER_OPTIMISER_MOMENTUM, 30, true, false},
        {TRAINER_OPTIMISER_SGD, TRAINER_OPTIMISER_SGD, 0, false, true},
        {TRAINER_OPTIMISER_SGD, TRAINER_OPTIMISER_ADAGRAD, 40, false, false},
    };
    static struct trainer_optimiser_config slots[CUT_SLOTS];
    static struct trainer_tensor_rule rules[2];
    struct trainer_update_config *update = &config->update;
    if (way == 0) {
        return;
    }
    update->dense = trainer_optimiser_usual(ways[way].dense, 0.02);
    update->sparse = trainer_optimiser_usual(ways[way].sparse, 0.1);
    update->dense.half_life = update->sparse.half_life = ways[way].half_life;
    update->dense.lambda1 = update->sparse.lambda1 = 0.001;
    if (ways[way].clips) {
        update->clip_dense = 0.4;
        update->clip_sparse = 0.3;
        update->dense.l2 = update->sparse.l2 = 0.01;
        update->schedule_dense = (struct trainer_schedule){.warmup = 300, .half_life = 900, .floor = 0.5};
        update->schedule_sparse = (struct trainer_schedule){.warmup = 100};
    }
    if (ways[way].mixed) { // every kind at once
        for (uint32_t s = 0; s < CUT_SLOTS; s++) {
            slots[s] = trainer_optimiser_usual((enum trainer_optimiser_kind)(s % TRAINER_OPTIMISERS), 0.05);
            slots[s].half_life = ways[way].half_life;
        }
        rules[0] = (struct trainer_tensor_rule){"*.expert?.layer0.*",
                                                trainer_optimiser_usual(TRAINER_OPTIMISER_FTRL, 0.1)};
        rules[1] =
            (struct trainer_tensor_rule){"*.bias", trainer_optimiser_usual(TRAINER_OPTIMISER_ADAM, 0.01)};
        update->slot = slots;
        update->rules = 2;
        update->rule = rules;
    }
}

struct trainer_cut_figures cut_at_once(struct trainer_model *model, struct map *map)
{
    trainer_model_cut_begin(model);
    cr_assert(trainer_model_cut_copy(model, SIZE_MAX));
    struct trainer_cut *cut = trainer_model_cut_take(model);
    struct trainer_cut_figures figures = trainer_cut_figures(cut);
    map_write(map, cut);
    trainer_cut_free(cut);
    return figures;
}

struct trainer_model *cut_restore(const struct trainer_model_config *config, struct map *map)
{
    struct base_error error;
    struct trainer_model *model = model_make(config, true);
    struct trainer_cut_source source = map_source(map, config->workers > 1);
    cr_assert_eq(trainer_model_restore(model, &source, &error), 0, "%s", error.text);
    return model;
}
