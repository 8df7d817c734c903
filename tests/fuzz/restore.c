// Fuzzer of a model's restoring: the input changes bytes of a right cut, whose checksums are then made to
// fit, so that what lies behind them is reached. What is taken must go on: expire, admit, publish, learn and
// be cut again. Half of the inputs are about a model with optimisers that keep state; half are restored by a
// model that has one more slot and one more task.
#include <stdlib.h>

#include "base/hash.h"
#include "trainer/cut.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SLOTS = 3, ENTRIES_MAX = 512, CHANGES_MAX = 16, CHANGE_SIZE = 5 };

struct entry {
    struct base_buffer key, value;
};

struct entries {
    struct entry entry[ENTRIES_MAX];
    size_t count;
};

static struct trainer_slot_config slots[SLOTS + 1] = {{.row = {"user", 4, 1, 300}, .column = 0},
                                                      {.row = {"item", 8, 3, 0}, .column = 0},
                                                      {.row = {"shop", 4, 2, 5000}, .column = 0},
                                                      {.row = {"new", 4, 2, 900}, .column = 0}};

static struct trainer_optimiser_config optimisers[SLOTS + 1] = {
    {.kind = TRAINER_OPTIMISER_ROWWISE_ADAGRAD,
     .rate = 0.1,
     .initial = 0.1,
     .epsilon = 1e-8,
     .half_life = 50},
    {.kind = TRAINER_OPTIMISER_ADAM, .rate = 0.1, .epsilon = 1e-8, .beta1 = 0.9, .beta2 = 0.999},
    {.kind = TRAINER_OPTIMISER_FTRL, .rate = 0.1, .initial = 0.1, .beta = 1},
    {.kind = TRAINER_OPTIMISER_MOMENTUM, .rate = 0.1, .momentum = 0.9}};

static const struct trainer_update_config updates[2] = {
    {.clip_dense = 0},
    {.dense = {.kind = TRAINER_OPTIMISER_MOMENTUM, .rate = 0.1, .momentum = 0.9}, .slot = optimisers}};

static const struct trainer_model_config fixed = {
    .features = {{1, 0}, SLOTS, slots, 0, NULL},
    .network = {.levels = 1, .level = {{.widths = {16}, .layers = 1, .shared = 1}}, .batch = 8},
    .loss = {.tasks = 1, .stages = 1, .task_weight = {1, 1}, .keep_negatives = 1},
    .task_names = {"click", "like"},
    .rows_max = 200,
    .workers = 1,
};

static struct trainer_model *model_make(int way, bool grown)
{
    struct base_error error;
    struct trainer_model_config config = fixed;
    config.update = updates[way];
    config.features.slots += grown;
    config.loss.tasks += grown;
    struct trainer_model *model = trainer_model_new(&config, true, &error);
    if (!model) {
        abort();
    }
    return model;
}

static void entries_put(void *context, struct base_span key, struct base_span value)
{
    struct entries *entries = context;
    if (entries->count == ENTRIES_MAX) {
        abort();
    }
    struct entry *entry = &entries->entry[entries->count++];
    base_buffer_append(&entry->key, key.data, key.size);
    base_buffer_append(&entry->value, value.data, value.size);
}

static void entries_remove(void *context, struct base_span key)
{
    (void)context;
    (void)key;
}

static void entries_free(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) {
        base_buffer_free(&entries->entry[i].key);
        base_buffer_free(&entries->entry[i].value);
    }
    free(entries);
}

static int entry_compare(const void *left, const void *right)
{
    const struct base_buffer *a = &((const struct entry *)left)->key;
    const struct base_buffer *b = &((const struct entry *)right)->key;
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

static int entries_scan(void *context, struct base_span prefix, trainer_cut_each *each, void *each_context,
                        struct base_error *error)
{
    const struct entries *entries = context;
    int result = 0;
    for (size_t i = 0; i < entries->count && result == 0; i++) {
        struct base_span key = base_buffer_span(&entries->entry[i].key);
        if (key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0) {
            result = each(each_context, key, base_buffer_span(&entries->entry[i].value), error);
        }
    }
    return result;
}

// Some life: rows come, go, are counted towards admission, change and are published.
static void live(struct trainer_model *model, int way, int64_t from)
{
    enum { KEYS = 24 };
    struct trainer_table *table = trainer_model_table(model);
    for (int64_t now = from; now < from + 1000; now += 50) {
        uint64_t keys[KEYS];
        uint16_t numbers[KEYS];
        trainer_row rows[KEYS];
        for (uint32_t i = 0; i < KEYS; i++) {
            keys[i] = (uint64_t)(now / 100) % 7 * 5 + i;
            numbers[i] = (uint16_t)(i % SLOTS);
        }
        trainer_model_tick(model, now);
        trainer_table_resolve(table, keys, numbers, KEYS, now, rows);
        for (uint32_t i = 0; i < KEYS; i++) {
            const struct trainer_optimiser_step step = {.config = way ? &optimisers[numbers[i]]
                                                                      : &updates[0].sparse,
                                                        .rate = 0.1,
                                                        .divisor = 8,
                                                        .batch = 8,
                                                        .examples = (uint64_t)now + 1};
            const float sum[8] = {1, -1, 0, 2};
            trainer_optimiser_apply_row(&step, trainer_table_vector(table, numbers[i], rows[i]), sum,
                                        slots[numbers[i]].row.dimension,
                                        trainer_table_state(table, numbers[i], rows[i]), 1);
            trainer_table_touch(table, numbers[i], rows[i]);
        }
        if (now % 200 == 0) {
            struct trainer_snapshot *snapshot = trainer_model_snapshot(model, now, false);
            trainer_model_settle(model, snapshot, now % 400 == 0);
            trainer_snapshot_free(snapshot);
        }
    }
}

static struct entries *cut(struct trainer_model *model)
{
    struct entries *entries = base_alloc_zeroed(1, sizeof *entries);
    const struct trainer_cut_sink sink = {entries_put, entries_remove, entries};
    trainer_model_cut_begin(model);
    if (!trainer_model_cut_copy(model, SIZE_MAX)) {
        abort();
    }
    struct trainer_cut *taken = trainer_model_cut_take(model);
    trainer_cut_write(taken, &sink);
    trainer_cut_free(taken);
    return entries;
}

static void entry_seal(struct entry *entry)
{
    struct base_buffer bytes = {0};
    bool section = entry->key.data[0] == 'm' || entry->key.data[0] == 'x';
    size_t checksum = section ? 8 : 4;
    if (!section) {
        base_buffer_append(&bytes, entry->key.data, entry->key.size);
    }
    base_buffer_append(&bytes, entry->value.data, entry->value.size - checksum);
    uint64_t hash = base_hash_bytes(base_buffer_span(&bytes), 0);
    memcpy(entry->value.data + entry->value.size - checksum, &hash, checksum);
    base_buffer_free(&bytes);
}

// A change: which entry (half of them one of the two sections), where in key and value, what is changed
// there.
static void entries_change(struct entries *entries, const uint8_t *change)
{
    size_t number = change[0] | (size_t)(change[1] & 0x7f) << 8;
    struct entry *entry = &entries->entry[number % entries->count];
    for (size_t i = 0; i < entries->count && change[1] & 0x80; i++) {
        entry = entries->entry[i].key.data[0] == (change[1] & 1 ? 'x' : 'm') ? &entries->entry[i] : entry;
    }
    size_t place = (change[2] | (size_t)change[3] << 8) % (entry->key.size + entry->value.size);
    if (place < entry->key.size) {
        entry->key.data[place] ^= change[4];
    } else {
        entry->value.data[place - entry->key.size] ^= change[4];
    }
    entry_seal(entry);
}

// A right cut of a model that has lived, ascending.
static struct entries *right_make(int way)
{
    struct trainer_model *model = model_make(way, false);
    live(model, way, 0);
    struct entries *entries = cut(model);
    trainer_model_free(model);
    qsort(entries->entry, entries->count, sizeof *entries->entry, entry_compare);
    return entries;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int way = size / 2 % 2;
    struct entries *entries = right_make(way);
    for (size_t i = 0; i < CHANGES_MAX && size >= (i + 1) * CHANGE_SIZE; i++) {
        entries_change(entries, data + i * CHANGE_SIZE);
    }
    qsort(entries->entry, entries->count, sizeof *entries->entry, entry_compare);
    const struct trainer_cut_source source = {entries_scan, entries, false};
    struct trainer_model *model = model_make(way, size / 4 % 2);
    struct base_error error = {0};
    if (trainer_model_restore(model, &source, &error) == 0) {
        trainer_model_head(model, size % 2 ? 800 : 600, 1000);
        live(model, way, 1000);
        entries_free(cut(model));
    } else if ((error.code != BASE_EFORMAT && error.code != BASE_ECONFLICT && error.code != BASE_ENOTFOUND) ||
               !error.text[0]) {
        abort();
    }
    trainer_model_free(model);
    entries_free(entries);
    return 0;
}
