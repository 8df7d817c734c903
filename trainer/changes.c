// What changed since the last published state: lists of changed rows and of tombstones a slot, and the
// snapshot in flight. See trainer_table_snapshot in table.h.
//
// The lists may hold too much and are cleaned when they are read: a changed row may have been freed, used
// again by another key or slot, and listed twice; a tombstone's key may have a row again. So neither dropping
// nor admitting a row has to search them. They are cleaned too before they grow, so that both stay within
// twice what is true.
//
// A cut does not save the list of changed rows: every row has a stamp, the number of snapshots that had been
// taken when it was listed, and is saved with it. Rows whose stamp is below the number of the settled
// snapshot have not changed since; of the others, those below that of the snapshot in flight are in that.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/snapshot.h"
#include "trainer/table_private.h"

enum { META_CHANGED = 1, META_KEPT = 2 }; // values of trainer_meta.changed; KEPT only within a cleaning

// Makes room for more. A list that was cleaned just before and is still more than half full grows, so that
// cleaning costs a push O(1).
static void list_grow(struct table_list *list)
{
    if (list->count >= list->capacity / 2) {
        list->capacity = list->capacity ? 2 * list->capacity : 64;
        list->items = base_realloc(list->items, list->capacity * sizeof *list->items);
    }
}

void table_list_push(struct table_list *list, uint64_t item)
{
    if (list->count == list->capacity) {
        list_grow(list);
    }
    list->items[list->count++] = item;
}

void table_list_free(struct table_list *list)
{
    free(list->items);
    *list = (struct table_list){0};
}

static struct trainer_meta *slot_changed_meta(const struct trainer_table *table,
                                              const struct table_slot *slot, uint32_t row)
{
    struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
    bool mine = meta->used && meta->slot == slot - table->slot;
    return mine && meta->changed == META_CHANGED ? meta : NULL;
}

// Leaves every changed row of the slot once.
static void slot_clean_changed(const struct trainer_table *table, struct table_slot *slot)
{
    struct table_list *list = &slot->changed;
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        struct trainer_meta *meta = slot_changed_meta(table, slot, (uint32_t)list->items[i]);
        if (meta) {
            meta->changed = META_KEPT;
            list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
    for (size_t i = 0; i < kept; i++) {
        trainer_arena_meta(slot->arena, (uint32_t)list->items[i])->changed = META_CHANGED;
    }
}

// Lists a row that is not listed yet.
static void slot_list_changed(struct trainer_table *table, struct table_slot *slot, uint32_t row)
{
    if (slot->changed.count == slot->changed.capacity) {
        slot_clean_changed(table, slot);
        list_grow(&slot->changed);
    }
    trainer_arena_meta(slot->arena, row)->changed = META_CHANGED;
    table_list_push(&slot->changed, row);
}

void table_changed(struct trainer_table *table, struct table_slot *slot, uint32_t row)
{
    if (table->tracking) {
        trainer_arena_meta(slot->arena, row)->stamp = table->snapshots;
        slot_list_changed(table, slot, row);
    }
}

void trainer_table_touch(struct trainer_table *table, uint16_t slot, trainer_row row)
{
    assert(slot < table->slots);
    if (!(row & TRAINER_ROW_OOV) && !trainer_arena_meta(table->slot[slot].arena, row)->changed) {
        table_changed(table, &table->slot[slot], row);
    }
}

static int compare_keys(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

// Leaves every key without a row once, in ascending order.
static void slot_clean_tombstones(struct table_slot *slot)
{
    struct table_list *list = &slot->tombstones;
    if (list->count > 1) {
        qsort(list->items, list->count, sizeof *list->items, compare_keys);
    }
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        uint64_t key = list->items[i];
        bool again = kept > 0 && list->items[kept - 1] == key;
        if (!again && table_slot_find(slot, key) == TRAINER_ROW_NONE) {
            list->items[kept++] = key;
        }
    }
    list->count = kept;
}

// Forgets what was in flight.
static void table_forget_flying(struct trainer_table *table)
{
    table->flying = 0;
    for (uint32_t s = 0; s < table->slots; s++) {
        table->slot[s].flying.count = 0;
        table->slot[s].flying_tombstones.count = 0;
    }
}

// Gives up building deltas: the next snapshot is full.
static void table_stop_tracking(struct trainer_table *table)
{
    table->tracking = false;
    table->settled = 0;
    for (uint32_t s = 0; s < table->slots; s++) {
        struct table_slot *slot = &table->slot[s];
        slot_clean_changed(table, slot);
        for (size_t i = 0; i < slot->changed.count; i++) {
            trainer_arena_meta(slot->arena, (uint32_t)slot->changed.items[i])->changed = 0;
        }
        slot->changed.count = 0;
        slot->tombstones.count = 0;
    }
}

void table_removed(struct trainer_table *table, struct table_slot *slot, uint64_t key)
{
    if (!table->tracking) {
        return;
    }
    if (slot->tombstones.count == slot->tombstones.capacity) {
        slot_clean_tombstones(slot);
        list_grow(&slot->tombstones);
    }
    if (slot->tombstones.count >= TRAINER_TOMBSTONES_MAX) {
        table_stop_tracking(table);
        return;
    }
    table_list_push(&slot->tombstones, key);
}

static void rows_reserve(struct trainer_snapshot_rows *rows, const struct table_slot *slot, size_t count)
{
    *rows = (struct trainer_snapshot_rows){.dimension = slot->dimension};
    rows->keys = base_alloc((count + 1) * sizeof *rows->keys);
    rows->vectors = base_alloc((count * slot->dimension + 1) * sizeof *rows->vectors);
}

static void rows_add(struct trainer_snapshot_rows *rows, const struct table_slot *slot, uint32_t row)
{
    memcpy(rows->vectors + rows->count * rows->dimension, trainer_arena_vector(slot->arena, row),
           rows->dimension * sizeof(float));
    rows->keys[rows->count++] = trainer_arena_meta(slot->arena, row)->key;
}

// Moves the slot's changes into flight and copies them into `rows` unless that is to hold all rows anyway.
static void slot_take_off(struct trainer_table *table, struct table_slot *slot, bool full,
                          struct trainer_snapshot_rows *rows)
{
    slot_clean_changed(table, slot);
    slot_clean_tombstones(slot);
    rows_reserve(rows, slot, full ? slot->index.used : slot->changed.count);
    for (size_t i = 0; i < slot->changed.count; i++) {
        uint32_t row = (uint32_t)slot->changed.items[i];
        struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
        meta->changed = 0;
        table_list_push(&slot->flying, meta->key);
        if (!full) {
            rows_add(rows, slot, row);
        }
    }
    slot->changed.count = 0;
    struct table_list empty = slot->flying_tombstones;
    slot->flying_tombstones = slot->tombstones;
    slot->tombstones = empty;
    rows->removed = full ? 0 : slot->flying_tombstones.count;
    rows->tombstones = base_alloc((rows->removed + 1) * sizeof *rows->tombstones);
    if (rows->removed) {
        memcpy(rows->tombstones, slot->flying_tombstones.items, rows->removed * sizeof *rows->tombstones);
    }
}

bool trainer_table_snapshot(struct trainer_table *table, bool full, struct trainer_snapshot_rows *rows)
{
    assert(table->training && !table->in_flight);
    if (table->undecided) {
        table_head(table, TABLE_HEAD_NONE);
    }
    full = full || !table->tracking;
    assert(table->snapshots < UINT32_MAX);
    table->flying = ++table->snapshots;
    table->in_flight = true;
    table->tracking_before = table->tracking;
    table->tracking = true;
    for (uint32_t s = 0; s < table->slots; s++) {
        slot_take_off(table, &table->slot[s], full, &rows[s]);
    }
    if (!full) {
        return false;
    }
    for (uint32_t i = 0; i < table->arenas; i++) {
        const struct trainer_arena *arena = &table->arena[i];
        for (uint32_t row = 0; row < arena->rows; row++) {
            const struct trainer_meta *meta = trainer_arena_meta(arena, row);
            if (meta->used) {
                rows_add(&rows[meta->slot], &table->slot[meta->slot], row);
            }
        }
    }
    return true;
}

// Tombstones that flew count again. A key that has got a row again since is listed as changed already.
static void slot_land_tombstones(struct trainer_table *table, struct table_slot *slot)
{
    for (size_t i = 0; i < slot->flying_tombstones.count && table->tracking; i++) {
        if (table_slot_find(slot, slot->flying_tombstones.items[i]) == TRAINER_ROW_NONE) {
            table_removed(table, slot, slot->flying_tombstones.items[i]);
        }
    }
}

// What flew counts as changed again, with the stamps it has. A key that has lost its row since has its
// tombstone already.
static void slot_land(struct trainer_table *table, struct table_slot *slot)
{
    for (size_t i = 0; i < slot->flying.count; i++) {
        uint32_t row = table_slot_find(slot, slot->flying.items[i]);
        if (row != TRAINER_ROW_NONE && !trainer_arena_meta(slot->arena, row)->changed) {
            slot_list_changed(table, slot, row);
        }
    }
    slot_land_tombstones(table, slot);
}

// What flew, and whether readers have got it, is decided.
static void table_decide(struct trainer_table *table, bool published)
{
    if (!published && !table->tracking_before) {
        table_stop_tracking(table);
    }
    if (published && table->tracking) {
        table->settled = table->flying;
    }
    for (uint32_t s = 0; s < table->slots && !published && table->tracking; s++) {
        slot_land(table, &table->slot[s]);
    }
    table_forget_flying(table);
}

void trainer_table_settle(struct trainer_table *table, bool published)
{
    assert(table->in_flight);
    table->in_flight = false;
    table_decide(table, published);
}

bool table_has_base(const struct trainer_table *table)
{
    return table->tracking && (table->flying == 0 || table->tracking_before);
}

void table_head(struct trainer_table *table, enum table_head head)
{
    assert(!table->in_flight);
    table->undecided = false;
    if ((head == TABLE_HEAD_SETTLED || head == TABLE_HEAD_FLYING) && table->flying) {
        table_decide(table, head == TABLE_HEAD_FLYING);
    }
    if (head == TABLE_HEAD_PRESENT || head == TABLE_HEAD_NONE) {
        table_forget_flying(table);
        table_stop_tracking(table);
    }
    if (head == TABLE_HEAD_PRESENT) {
        assert(table->snapshots < UINT32_MAX);
        table->settled = ++table->snapshots;
        table->tracking = true;
    }
}

void table_restore_changed(struct trainer_table *table, struct table_slot *slot, uint32_t row)
{
    const struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
    if (!table->tracking) {
        return;
    }
    if (meta->stamp >= (table->flying ? table->flying : table->settled)) {
        slot_list_changed(table, slot, row);
    } else if (table->tracking_before && meta->stamp >= table->settled) {
        table_list_push(&slot->flying, meta->key);
    }
}
