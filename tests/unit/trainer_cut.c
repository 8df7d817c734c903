// The cut, property by property: damage is refused, a configuration that does not fit is named, heads,
// limits.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/random.h"
#include "trainer_cut_support.h"

enum { CUT_STEPS = 12 };

static struct trainer_model *model_trained(const struct trainer_model_config *config, uint32_t steps)
{
    struct trainer_model *model = model_make(config, true);
    model_train(model, 3, 0, steps);
    return model;
}

static struct map map_make(const struct trainer_model_config *config)
{
    struct map map = {0};
    struct trainer_model *model = model_trained(config, CUT_STEPS);
    cut_at_once(model, &map);
    trainer_model_free(model);
    return map;
}

// Tries to restore; the error must have the code and contain both texts.
static void refuse(const struct trainer_model_config *config, struct map *map, enum base_error_code code,
                   const char *text, const char *and)
{
    struct base_error error;
    struct trainer_model *model = model_make(config, true);
    struct trainer_cut_source source = map_source(map, false);
    cr_assert_eq(trainer_model_restore(model, &source, &error), -1);
    cr_assert_eq(error.code, code, "%s", error.text);
    cr_assert_not_null(strstr(error.text, text), "%s", error.text);
    cr_assert_not_null(strstr(error.text, and), "%s", error.text);
    trainer_model_free(model);
}

static struct map_entry *entry_of(struct map *map, char kind, uint32_t slot)
{
    for (size_t i = 0; i < map->count; i++) {
        const uint8_t *key = map->entries[i].key.data;
        if (key[0] == kind && (kind == 'm' || kind == 'd' || key[2] == slot)) {
            return &map->entries[i];
        }
    }
    cr_assert_fail("no entry %c of slot %u", kind, slot);
    return NULL;
}

// The end of a row's or piece's value made to fit again.
static void entry_seal(struct map_entry *entry)
{
    struct base_buffer bytes = {0};
    base_buffer_append(&bytes, entry->key.data, entry->key.size);
    base_buffer_append(&bytes, entry->value.data, entry->value.size - 4);
    uint32_t checksum = (uint32_t)base_hash_bytes(base_buffer_span(&bytes), 0);
    memcpy(entry->value.data + entry->value.size - 4, &checksum, 4);
    base_buffer_free(&bytes);
}

Test(trainer_cut, a_model_comes_back_on_any_number_of_workers)
{
    struct map map = map_make(cut_config_make(1, 100000));
    struct trainer_model *model = model_trained(cut_config_make(1, 100000), CUT_STEPS);
    for (uint32_t workers = 1; workers <= 3; workers++) {
        struct trainer_model *other = cut_restore(cut_config_make(workers, 100000), &map);
        cr_assert_eq(trainer_model_hash(other), trainer_model_hash(model));
        cr_assert_eq(trainer_model_examples(other), trainer_model_examples(model));
        trainer_model_free(other);
    }
    trainer_model_free(model);
    map_free(&map);
}

Test(trainer_cut, a_model_that_has_learned_nothing_is_saved_too)
{
    struct map map = {0};
    struct trainer_model *model = model_make(cut_config_make(1, 100000), true);
    cut_at_once(model, &map);
    struct trainer_model *other = cut_restore(cut_config_make(1, 100000), &map);
    model_train(model, 3, 0, CUT_STEPS);
    model_train(other, 3, 0, CUT_STEPS);
    cr_assert_eq(trainer_model_hash(other), trainer_model_hash(model));
    trainer_model_free(model);
    trainer_model_free(other);
    map_free(&map);
}

Test(trainer_cut, a_flipped_bit_anywhere_is_refused)
{
    const struct trainer_model_config *config = cut_config_make(1, 100000);
    struct map map = map_make(config);
    uint64_t random = base_random_key(1, "flipped bits");
    for (size_t i = 0; i < map.count; i++) {
        struct map_entry *entry = &map.entries[i];
        bool row = entry->key.data[0] == 'r';
        size_t place = base_random_bits(random, i) % entry->value.size;
        entry->value.data[place] ^= (uint8_t)(1u << i % 8);
        char name[32] = "";
        if (row) {
            snprintf(name, sizeof name, "%02x%02x of slot %s", entry->key.data[9], entry->key.data[10],
                     config->features.slot[entry->key.data[2]].row.name);
        }
        refuse(config, &map, BASE_EFORMAT, "the cut's", name);
        entry->value.data[place] ^= (uint8_t)(1u << i % 8);
    }
    // Every byte of the small ones.
    struct map_entry *some[] = {entry_of(&map, 'm', 0), entry_of(&map, 'r', 0), entry_of(&map, 'r', 5),
                                entry_of(&map, 'a', 2)};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        size_t step = i == 0 ? 7 : 1;
        for (size_t place = 0; place < some[i]->value.size; place += step) {
            some[i]->value.data[place] ^= 0x10;
            refuse(config, &map, BASE_EFORMAT, "the cut's", "");
            some[i]->value.data[place] ^= 0x10;
        }
    }
    trainer_model_free(cut_restore(config, &map)); // as it was
    map_free(&map);
}

Test(trainer_cut, what_is_missing_or_cut_short_is_refused)
{
    const struct trainer_model_config *config = cut_config_make(1, 100000);
    static const struct {
        char kind;
        uint32_t slot;
        const char *missing, *shorter; // texts
    } cases[] = {
        {'r', 0, "rows of slot user and counted", "size that its dimension and"},
        {'r', 5, "rows of slot seen and counted", "size that its dimension and"},
        {'d', 0, "missing, misplaced or corrupt", "missing, misplaced or corrupt"},
        {'a', 2, NULL, "candidates of slot rare"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct map map = map_make(config);
        struct map_entry *entry = entry_of(&map, cases[i].kind, cases[i].slot);
        for (int shorter = 1; shorter < 6; shorter++) {
            entry->value.size -= 1;
            refuse(config, &map, BASE_EFORMAT, cases[i].shorter, "");
        }
        entry->value.size = 0;
        refuse(config, &map, BASE_EFORMAT, cases[i].shorter, "");
        if (cases[i].missing) {
            map_remove(&map, base_buffer_span(&entry->key));
            refuse(config, &map, BASE_EFORMAT, cases[i].missing, "");
        }
        map_free(&map);
    }
    struct map map = map_make(config);
    entry_of(&map, 'm', 0)->value.size -= 1;
    refuse(config, &map, BASE_EFORMAT, "the cut's model section is cut short", "");
    map_free(&map);
    refuse(config, &map, BASE_ENOTFOUND, "no cut", "");
}

static void put_copy(struct map *map, const struct map_entry *from, size_t place, uint8_t change)
{
    struct base_buffer key = {0}, value = {0};
    base_buffer_append(&key, from->key.data, from->key.size);
    base_buffer_append(&value, from->value.data, from->value.size);
    key.data[place] ^= change;
    map_put(map, base_buffer_span(&key), base_buffer_span(&value));
    entry_seal(map_find(map, base_buffer_span(&key)));
    base_buffer_free(&key);
    base_buffer_free(&value);
}

// Entries with right checksums in wrong places.
Test(trainer_cut, what_is_misplaced_is_refused)
{
    const struct trainer_model_config *config = cut_config_make(1, 100000);
    static const struct {
        char kind;
        uint32_t slot;
        size_t place;
        uint8_t change;
        const char *text, *and;
    } cases[] = {
        {'r', 0, 10, 0x80, "is one more than the cut counted", "of slot user"},
        {'r', 0, 2, 0x40, "row 00000000000000", "of slot 64, which the model has not"},
        {'r', 0, 1, 0x01, "row 00000000000000", "of slot 256, which the model has not"},
        {'a', 2, 1, 0x02, "bucket", "of slot 514, which the model has not"},
        {'a', 2, 6, 0x01, "of slot rare, bucket", "cannot be there"},
        {'a', 2, 4, 0x01, "candidates of slot rare, bucket", "corrupt"},
        {'a', 2, 2, 0x02, "candidates of slot user, bucket", "corrupt"}, // which has none
        {'d', 0, 1, 0x80, "of no tensor", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct map map = map_make(config);
        put_copy(&map, entry_of(&map, cases[i].kind, cases[i].slot), cases[i].place, cases[i].change);
        refuse(config, &map, BASE_EFORMAT, cases[i].text, cases[i].and);
        map_free(&map);
    }
    for (int longer = 0; longer < 2; longer++) {
        struct map map = map_make(config);
        struct map_entry *entry = entry_of(&map, longer ? 'r' : 'm', 0);
        struct base_buffer key = {0};
        base_buffer_append(&key, entry->key.data, entry->key.size);
        base_buffer_u8(&key, 0);
        map_put(&map, base_buffer_span(&key), base_buffer_span(&entry->value));
        refuse(config, &map, BASE_EFORMAT, longer ? "key is of 12 bytes" : "key of 2 bytes", "");
        base_buffer_free(&key);
        map_free(&map);
    }
}

// Numbers that cannot be, though the checksum fits.
Test(trainer_cut, rows_of_another_time_are_refused)
{
    const struct trainer_model_config *config = cut_config_make(1, 100000);
    static const struct {
        size_t from_end;
        uint8_t value;
        const char *text;
    } cases[] = {
        {20 - 5, 0x7f, "of a later time"}, // last seen
        {20 - 7, 0x80, "of a later time"}, // the same, far too early
        {8, 0x01, "of a later time"},      // stamp
        {20 - 5, 0xff, "had expired before"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct map map = map_make(config);
        struct map_entry *entry = entry_of(&map, 'r', 5);
        entry->value.data[entry->value.size - cases[i].from_end] = cases[i].value;
        if (cases[i].value == 0xff) { // -2^40 and something
            memset(entry->value.data + entry->value.size - 15, 0xff, 3);
        }
        entry_seal(entry);
        refuse(config, &map, BASE_EFORMAT, cases[i].text, "of slot seen");
        map_free(&map);
    }
}

Test(trainer_cut, a_source_that_fails_or_lies_is_refused)
{
    const struct trainer_model_config *config = cut_config_make(1, 100000);
    struct map map = map_make(config);
    // Out of order: two rows of a slot change places.
    struct map_entry *entry = entry_of(&map, 'r', 0);
    struct map_entry kept = entry[0];
    entry[0] = entry[1];
    entry[1] = kept;
    refuse(config, &map, BASE_EFORMAT, "of slot user comes out of order", "");
    map_free(&map);
}

static int failing_scan(void *context, struct base_span prefix, trainer_cut_each *each, void *each_context,
                        struct base_error *error)
{
    struct trainer_cut_source *source = context;
    if (prefix.data[0] == 'r' && prefix.size == 3 && prefix.data[2] == 1) {
        return base_error_set(error, BASE_EIO, "the disk is gone");
    }
    return source->scan(source->context, prefix, each, each_context, error);
}

Test(trainer_cut, an_error_of_the_source_is_handed_on)
{
    for (uint32_t workers = 1; workers <= 2; workers++) {
        const struct trainer_model_config *config = cut_config_make(workers, 100000);
        struct map map = map_make(config);
        struct base_error error;
        struct trainer_model *model = model_make(config, true);
        struct trainer_cut_source inner = map_source(&map, workers > 1);
        struct trainer_cut_source source = {failing_scan, &inner, workers > 1};
        cr_assert_eq(trainer_model_restore(model, &source, &error), -1);
        cr_assert_eq(error.code, BASE_EIO);
        cr_assert_str_eq(error.text, "the disk is gone");
        trainer_model_free(model);
        map_free(&map);
    }
}

// ---- optimisers ----

// Ways of cut_config_update: 2 is Adam with row-wise Adagrad, 3 has half-lives, 4 is FTRL, 7 SGD that clips.
static const struct {
    uint64_t saved, now;
    const char *text, *and;
} update_cases[] = {
    {2, 0, "tensor level0.task0.expert0.layer0.weight is learned by sgd and was by adam", ""},
    {0, 2, "tensor level0.task0.expert0.layer0.weight is learned by adam and was by sgd", ""},
    {5, 2, "slot user is learned by rowwise_adagrad and was by adam", ""},
    {6, 7, "is learned by sgd and was by ftrl", ""},
    {7, 8, "slot user is learned by adagrad and was by sgd", ""},
};

Test(trainer_cut, another_optimiser_is_named)
{
    for (size_t i = 0; i < sizeof update_cases / sizeof *update_cases; i++) {
        struct trainer_model_config *config = cut_config_make(1, 100000);
        cut_config_update(config, update_cases[i].saved);
        struct map map = map_make(config);
        config = cut_config_make(1, 100000);
        cut_config_update(config, update_cases[i].now);
        refuse(config, &map, BASE_ECONFLICT, update_cases[i].text, update_cases[i].and);
        map_free(&map);
    }
}

// Rates and most constants may change. FTRL's weights rest on its constants, a half-life on the row's clock.
Test(trainer_cut, constants_may_change_where_the_state_does_not_rest_on_them)
{
    struct trainer_model_config *config = cut_config_make(1, 100000);
    cut_config_update(config, 5);
    struct map map = map_make(config);
    config->update.dense.rate = 0.5;
    config->update.sparse.beta2 = 0.9;
    config->update.clip_dense = 0;
    trainer_model_free(cut_restore(config, &map));
    map_free(&map);

    config = cut_config_make(1, 100000);
    cut_config_update(config, 4);
    map = map_make(config);
    config->update.dense.beta = 2;
    refuse(config, &map, BASE_ECONFLICT, "tensor level0.task0.expert0.layer0.weight: ftrl's alpha",
           "0.02, 2, ");
    cut_config_update(config, 4);
    config->update.sparse.lambda2 = 0.25;
    refuse(config, &map, BASE_ECONFLICT, "slot user: ftrl's alpha", "0.25");
    map_free(&map);

    config = cut_config_make(1, 100000);
    cut_config_update(config, 3);
    map = map_make(config);
    config->update.sparse.half_life = 0;
    refuse(config, &map, BASE_ECONFLICT, "slot user: rowwise_adagrad keeps 1 numbers of state and kept 3",
           "");
    config->update.sparse.half_life = 7;
    trainer_model_free(cut_restore(config, &map));
    map_free(&map);
}

// An old cut of plain SGD goes on when clipping is switched on, and the other way round.
Test(trainer_cut, clipping_comes_and_goes)
{
    for (int from = 0; from < 2; from++) {
        struct trainer_model_config *config = cut_config_make(1, 100000);
        cut_config_update(config, from ? 7 : 0);
        struct map map = map_make(config);
        config = cut_config_make(1, 100000);
        cut_config_update(config, from ? 0 : 7);
        struct trainer_model *model = cut_restore(config, &map);
        model_train(model, 3, CUT_STEPS * MODEL_BATCH, 2);
        cr_expect_eq(trainer_model_update_figures(model).steps, from ? CUT_STEPS : 2);
        trainer_model_free(model);
        map_free(&map);
    }
}

Test(trainer_cut, damaged_optimiser_state_is_refused)
{
    struct trainer_model_config *config = cut_config_make(1, 100000);
    cut_config_update(config, 5);
    struct map map = map_make(config);
    struct map_entry *entry = entry_of(&map, 'o', 0);
    entry->value.data[5] ^= 1;
    refuse(config, &map, BASE_EFORMAT, "piece 0 of the cut's state of tensor level0.task0.expert0",
           "corrupt");
    entry->value.data[5] ^= 1;
    put_copy(&map, entry, 1, 0x40);
    refuse(config, &map, BASE_EFORMAT, "optimiser state of no tensor", "");
    map_free(&map);
    map = map_make(config);
    size_t last = map.count - 1;
    while (map.entries[last].key.data[0] != 'o') {
        last--;
    }
    map_remove(&map, base_buffer_span(&map.entries[last].key));
    refuse(config, &map, BASE_EFORMAT, "the cut lacks piece 0 of state of tensor oov.place", "");
    map_free(&map);
    // A row that is shorter than its slot's state asks for.
    map = map_make(config);
    entry_of(&map, 'r', 0)->value.size -= 4;
    refuse(config, &map, BASE_EFORMAT,
           "of slot user is not of the size that its dimension and optimiser ask for", "");
    map_free(&map);
}

// ---- configurations that do not fit ----

static void change_name(struct trainer_model_config *config)
{
    config->features.slot[1].row.name = "things";
}

static void change_dimension(struct trainer_model_config *config)
{
    config->features.slot[1].row.dimension = 16;
}

static void change_slots(struct trainer_model_config *config)
{
    config->features.slots = CUT_SLOTS - 1;
}

static void change_admission(struct trainer_model_config *config)
{
    config->features.slot[2].row.admission = 1;
}

static void change_rows_max(struct trainer_model_config *config)
{
    config->rows_max = 60;
}

static void change_width(struct trainer_model_config *config)
{
    config->network.level[0].widths[0] = 48;
}

static void change_tower(struct trainer_model_config *config)
{
    config->network.tower_layers = 0;
}

Test(trainer_cut, a_configuration_that_does_not_fit_is_named)
{
    static const struct {
        void (*change)(struct trainer_model_config *config);
        const char *text, *and;
    } cases[] = {
        {change_name, "the model has no slot items", "put it back"},
        {change_dimension, "slot items has dimension 16 and had 8", ""},
        {change_slots, "the model has no slot place", "put it back"},
        {change_admission, "slot rare counts towards admission in 0 buckets and did in", ""},
        {change_rows_max, "more rows than rows_max, 60", ""},
        {change_width, "tensor level0.task0.expert0.layer0.weight is 64 x 48 and was 64 x 32", ""},
        {change_tower, "is task0.tower.output.weight and was task0.tower.layer0.weight", ""},
    };
    struct map map = map_make(cut_config_make(1, 1000));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trainer_model_config *config = cut_config_make(1, 1000);
        cases[i].change(config);
        refuse(config, &map, BASE_ECONFLICT, cases[i].text, cases[i].and);
    }
    map_free(&map);
}

// Expiry may change: rows then live as long as the new one says.
Test(trainer_cut, another_expiry_is_taken_up)
{
    for (int shorter = 0; shorter < 2; shorter++) {
        struct map map = map_make(cut_config_make(1, 100000));
        struct trainer_model_config *config = cut_config_make(1, 100000);
        config->features.slot[5].row.expiry_ms = shorter ? 37 : 100000;
        struct trainer_model *model = cut_restore(config, &map);
        const struct trainer_table *table = trainer_model_table(model);
        int64_t now = (CUT_STEPS * MODEL_BATCH - 1) * 10;
        uint64_t before = trainer_table_slot_rows(table, 5);
        cr_assert_gt(before, 30);
        trainer_model_tick(model, now + 1);
        cr_assert_eq(trainer_table_slot_rows(table, 5), shorter ? MODEL_BATCH : before); // the last minibatch
        trainer_model_tick(model, now + 99000);
        cr_assert_eq(trainer_table_slot_rows(table, 5), shorter ? 0 : before);
        trainer_model_tick(model, now + 102000);
        cr_assert_eq(trainer_table_slot_rows(table, 5), 0);
        trainer_model_free(model);
        map_free(&map);
    }
}

// ---- heads ----

enum { HEAD_SETTLED = 10, HEAD_FLYING = 20, HEAD_CUT = 25 };

// Settled at tick 10, in flight at tick 20, cut at tick 25 (ticks are steps).
static struct trainer_model *head_make(struct map *map)
{
    struct trainer_model *model = model_trained(cut_config_make(1, 100000), HEAD_SETTLED);
    struct trainer_snapshot *snapshot = trainer_model_snapshot(model, HEAD_SETTLED, false);
    trainer_model_settle(model, snapshot, true);
    trainer_snapshot_free(snapshot);
    model_train(model, 3, HEAD_SETTLED * MODEL_BATCH, HEAD_FLYING - HEAD_SETTLED);
    snapshot = trainer_model_snapshot(model, HEAD_FLYING, false);
    cr_assert_not(snapshot->full);
    model_train(model, 3, HEAD_FLYING * MODEL_BATCH, HEAD_CUT - HEAD_FLYING);
    cut_at_once(model, map);
    trainer_model_settle(model, snapshot, true);
    trainer_snapshot_free(snapshot);
    return model;
}

// How many rows and tombstones a delta of the model at `tick` has; -1: it is full.
static int delta_size(struct trainer_model *model, int64_t tick)
{
    struct trainer_snapshot *snapshot = trainer_model_snapshot(model, tick, false);
    size_t size = 0;
    for (uint32_t s = 0; s < snapshot->slots; s++) {
        size += snapshot->rows[s].count + snapshot->rows[s].removed;
    }
    int result = snapshot->full ? -1 : (int)size;
    trainer_model_settle(model, snapshot, true);
    trainer_snapshot_free(snapshot);
    return result;
}

Test(trainer_cut, a_delta_builds_on_what_readers_have)
{
    struct map map = {0};
    struct trainer_model *model = head_make(&map);
    int since_flying = delta_size(model, HEAD_CUT);
    cr_assert_gt(since_flying, 20);
    static const struct {
        int64_t tick;
        bool full;
    } cases[] = {{HEAD_SETTLED, false},   {HEAD_FLYING, false}, {HEAD_CUT, false},
                 {HEAD_FLYING - 1, true}, {INT64_MIN, true},    {HEAD_CUT + 1, true}};
    int sizes[6];
    for (size_t i = 0; i < 6; i++) {
        struct trainer_model *other = cut_restore(cut_config_make(1, 100000), &map);
        trainer_model_head(other, cases[i].tick, HEAD_CUT);
        sizes[i] = delta_size(other, HEAD_CUT);
        cr_assert_eq(sizes[i] < 0, cases[i].full, "case %zu", i);
        // Whatever it was, the next one is a delta that holds nothing.
        cr_assert_eq(delta_size(other, HEAD_CUT), 0);
        trainer_model_free(other);
    }
    cr_assert_gt(sizes[0], since_flying);
    cr_assert_eq(sizes[1], since_flying);
    cr_assert_eq(sizes[2], 0);
    trainer_model_free(model);
    map_free(&map);
}

Test(trainer_cut, until_a_head_is_told_a_snapshot_is_full)
{
    struct map map = {0};
    struct trainer_model *model = head_make(&map);
    struct trainer_model *other = cut_restore(cut_config_make(1, 100000), &map);
    // A cut before the head is told hands the question on.
    cut_at_once(other, &map);
    struct trainer_model *third = cut_restore(cut_config_make(1, 100000), &map);
    trainer_model_head(third, HEAD_FLYING, HEAD_CUT);
    cr_assert_eq(delta_size(third, HEAD_CUT), delta_size(model, HEAD_CUT));
    cr_assert_eq(delta_size(other, HEAD_CUT), -1);
    cr_assert_eq(delta_size(other, HEAD_CUT), 0);
    trainer_model_free(model);
    trainer_model_free(other);
    trainer_model_free(third);
    map_free(&map);
}

// More tombstones than a cut takes along: the restored model's first snapshot is full.
Test(trainer_cut, too_many_tombstones_are_not_taken_along)
{
    static struct trainer_slot_config slots[] = {{.row = {"user", 4, 1, 0}, .column = 0},
                                                 {.row = {"item", 4, 1, 1000}, .column = 1}};
    struct trainer_model_config *config = cut_config_make(1, 4000000);
    config->features.slots = 2;
    config->features.slot = slots;
    struct trainer_model *model = model_make(config, true);
    struct trainer_table *table = trainer_model_table(model);
    delta_size(model, 0);
    enum { BLOCK = 1024 };
    static uint64_t keys[BLOCK];
    static uint16_t numbers[BLOCK];
    static trainer_row rows[BLOCK];
    for (uint64_t key = 0; key <= (1 << 20); key += BLOCK) {
        for (uint32_t i = 0; i < BLOCK; i++) {
            keys[i] = key + i;
            numbers[i] = 1;
        }
        trainer_table_resolve(table, keys, numbers, BLOCK, 0, rows);
        for (uint32_t i = 0; i < BLOCK; i++) {
            trainer_table_touch(table, 1, rows[i]);
        }
    }
    trainer_model_tick(model, 2000);
    cr_assert_eq(trainer_table_rows(table), 0);
    struct map map = {0};
    cut_at_once(model, &map);
    struct trainer_model *other = cut_restore(config, &map);
    trainer_model_head(other, 0, 1);
    cr_assert_eq(delta_size(other, 1), -1);
    cr_assert_eq(delta_size(model, 1), (1 << 20) + BLOCK); // the saved one goes on
    trainer_model_free(model);
    trainer_model_free(other);
    map_free(&map);
}

// ---- copying ----

Test(trainer_cut, copying_keeps_to_its_portion)
{
    const struct trainer_model_config *config = cut_config_make(1, 100000);
    struct trainer_model *model = model_trained(config, 40);
    uint64_t rows = trainer_table_rows(trainer_model_table(model));
    cr_assert_gt(rows, 150);
    cr_assert_gt(trainer_model_dirty_bytes(model), rows * 40);
    cr_assert_null(trainer_model_cut_take(model));
    trainer_model_cut_begin(model);
    uint32_t portions = 1;
    while (!trainer_model_cut_copy(model, 1)) {
        portions++;
    }
    cr_assert_gt(portions, rows / 64 / 4); // up to 64 a portion, and four arenas
    struct trainer_cut *cut = trainer_model_cut_take(model);
    cr_assert_eq(trainer_cut_figures(cut).rows, rows);
    cr_assert_eq(trainer_cut_figures(cut).forced, 0);
    trainer_cut_free(cut);
    trainer_cut_free(NULL);
    trainer_model_cut_begin(model); // dropped half done with the model
    trainer_model_free(model);
}
