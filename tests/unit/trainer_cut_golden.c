// A cut of version 1, written by tests/golden/trainer/make_cut.py from the format's description: it is read
// for ever, and written back the same.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "trainer_cut_support.h"

static struct trainer_slot_config golden_slots[] = {{.row = {"user", 4, 3, 0}, .column = 0},
                                                    {.row = {"item", 8, 1, 25600}, .column = 1}};

static const struct trainer_model_config golden_config = {
    .features = {{2, 0}, 2, golden_slots, 0, NULL},
    .network = {.levels = 1, .level = {{.widths = {16}, .layers = 1, .shared = 1}}, .batch = 8},
    .loss = {.tasks = 1, .stages = 1, .task_weight = {1}, .keep_negatives = 1},
    .task_names = {"click"},
    .update.dense.rate = 0.5,
    .update.sparse.rate = 1,
    .seed = 11,
    .rows_max = 2000,
    .workers = 1,
};

static uint32_t read_u32(FILE *file)
{
    uint8_t bytes[4];
    cr_assert_eq(fread(bytes, 1, sizeof bytes, file), sizeof bytes);
    struct base_reader reader = {base_span_make(bytes, sizeof bytes), false};
    return base_reader_u32(&reader);
}

static void golden_read(struct map *map)
{
    FILE *file = fopen(FRESHET_SOURCE_DIR "/tests/golden/trainer/cut-1.bin", "rb");
    cr_assert_not_null(file);
    static uint8_t key[64], value[65536];
    int next;
    while ((next = fgetc(file)) != EOF) {
        cr_assert_eq(ungetc(next, file), next);
        uint32_t key_size = read_u32(file);
        cr_assert(key_size <= sizeof key && fread(key, 1, key_size, file) == key_size);
        uint32_t value_size = read_u32(file);
        cr_assert(value_size <= sizeof value && fread(value, 1, value_size, file) == value_size);
        map_put(map, base_span_make(key, key_size), base_span_make(value, value_size));
    }
    fclose(file);
}

static void golden_check_row(struct trainer_table *table, uint16_t slot, uint64_t key, uint32_t dimension)
{
    trainer_row row;
    trainer_table_find(table, &key, &slot, 1, &row);
    cr_assert_neq(row, TRAINER_ROW_OOV | slot);
    for (uint32_t i = 0; i < dimension; i++) {
        cr_assert_eq(trainer_table_vector(table, slot, row)[i], (float)(key % 1000 + i) / 64);
    }
}

Test(trainer_cut, version_1_is_read_for_ever)
{
    struct map map = {0}, again = {0};
    golden_read(&map);
    struct trainer_model *model = cut_restore(&golden_config, &map);
    struct trainer_table *table = trainer_model_table(model);
    cr_assert_eq(trainer_model_examples(model), 12345);
    cr_assert_eq(trainer_table_refused(table), 17);
    cr_assert_eq(trainer_table_slot_rows(table, 0), 2);
    cr_assert_eq(trainer_table_slot_rows(table, 1), 20);
    golden_check_row(table, 0, UINT64_C(3) << 40, 4);
    golden_check_row(table, 0, UINT64_C(0xfedcba9876543210), 4);
    for (uint64_t key = 0; key < 20; key++) {
        golden_check_row(table, 1, key * key, 8);
    }
    uint32_t tensors;
    trainer_model_tensors(model, &tensors);
    cr_assert_eq(tensors, 7);
    cr_assert_eq(trainer_model_tensor(model, 1)[15], 16.0f / 64);
    cr_assert_eq(trainer_model_tensor(model, 6)[7], 13.0f / 64);
    cr_assert_eq(trainer_model_hash(model), UINT64_C(0xdc0eefb11739ae73));
    // Marked as changed or not, its cut holds what there is.
    trainer_model_head(model, 44, 50);
    struct trainer_snapshot *snapshot = trainer_model_snapshot(model, 50, false);
    cr_assert_not(snapshot->full);
    cr_assert_eq(snapshot->rows[0].count, 1); // stamp 4
    cr_assert_eq(snapshot->rows[1].count, 4);
    cr_assert_eq(snapshot->rows[1].removed, 1);
    cr_assert_eq(snapshot->rows[1].tombstones[0], 99);
    trainer_model_settle(model, snapshot, true);
    trainer_snapshot_free(snapshot);
    trainer_model_free(model);
    // A key on its way to admission: counted twice, the third time admits it.
    model = cut_restore(&golden_config, &map);
    const uint64_t key = 1001;
    const uint16_t slot = 0;
    trainer_row row;
    trainer_table_resolve(trainer_model_table(model), &key, &slot, 1, 1000000, &row);
    cr_assert_eq(row & TRAINER_ROW_OOV, 0);
    trainer_model_free(model);
    // The format has one form: what is read is written the same, and beside it what feeds the network.
    model = cut_restore(&golden_config, &map);
    for (size_t i = 0; i < map.count; i++) {
        if (map.entries[i].key.data[0] != 'r' && map.entries[i].key.data[0] != 'a') {
            continue;
        }
        map_put(&again, base_buffer_span(&map.entries[i].key), base_buffer_span(&map.entries[i].value));
    }
    cut_at_once(model, &again);
    map_remove(&again, base_span_string("x"));
    cr_assert_eq(again.count, map.count);
    map_compare(&map, &again, 2, false);
    trainer_model_free(model);
    map_free(&map);
    map_free(&again);
}
