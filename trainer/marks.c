// What changed since the last cut, and its copying while training goes on. See trainer/cut.h.
//
// A row carries the generation, 1 or 2, in which it was resolved last, and its chunk a bit for it; so do
// buckets of candidates, with a byte each. When a cut begins the generations change places: what is marked
// with the old one is frozen. The copying walks the old one's bits and clears the marks. Who is about to
// change a frozen row copies it first: that is the one branch which resolving pays for. Bits may say too much
// (a row that was copied early, or freed): the row's own mark decides.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "trainer/cut_format.h"
#include "trainer/cut_private.h"

enum { MARKS_ROW_COST = 64 }; // a row's share of the budget, in words of marks looked at

static uint8_t table_frozen(const struct trainer_table *table)
{
    return (uint8_t)(3 - table->generation);
}

static uint64_t slot_row_bytes(const struct table_slot *slot)
{
    return CUT_KEY_ROW_SIZE + trainer_arena_row_size(slot->arena) + CUT_ROW_TAIL;
}

void *cut_records_add(struct cut_records *records, size_t size)
{
    size = cut_records_size(size);
    assert(size <= CUT_CHUNK);
    struct cut_chunk *last = records->last;
    if (!last || CUT_CHUNK - last->used < size) {
        struct cut_chunk *chunk = base_alloc(sizeof *chunk);
        chunk->next = NULL;
        chunk->used = 0;
        if (last) {
            last->next = chunk;
        } else {
            records->first = chunk;
        }
        records->last = last = chunk;
    }
    void *record = last->data + last->used;
    last->used += size;
    records->count++;
    return record;
}

static void table_copy_row(struct trainer_table *table, const struct trainer_arena *arena, uint32_t row)
{
    struct trainer_meta *meta = trainer_arena_meta(arena, row);
    size_t size = trainer_arena_row_size(arena);
    uint8_t *record = cut_records_add(&table->cut->rows, sizeof *meta + size);
    memcpy(record, meta, sizeof *meta);
    memcpy(record + sizeof *meta, trainer_arena_vector(arena, row), size);
    meta->dirty = 0;
}

static void table_copy_bucket(struct trainer_table *table, struct table_slot *slot, uint32_t bucket)
{
    struct cut_bucket *record = cut_records_add(&table->cut->buckets, sizeof *record);
    record->slot = (uint32_t)(slot - table->slot);
    record->number = bucket;
    memcpy(record->entries, slot->candidates.entries + (size_t)bucket * TRAINER_CANDIDATES_WAYS,
           sizeof record->entries);
    slot->candidates.marks[bucket] = 0;
}

void table_mark(struct trainer_table *table, struct table_slot *slot, uint32_t row)
{
    struct trainer_arena *arena = slot->arena;
    struct trainer_meta *meta = trainer_arena_meta(arena, row);
    assert(meta->dirty != table->generation);
    if (meta->dirty) {
        table_copy_row(table, arena, row);
        table->cut->forced++;
    }
    meta->dirty = table->generation;
    uint32_t place = row & ((1u << arena->shift) - 1);
    trainer_arena_marks(arena, row >> arena->shift, table->generation)[place / 64] |= UINT64_C(1)
                                                                                      << place % 64;
    table->dirty_bytes += slot_row_bytes(slot);
}

void table_mark_bucket(struct trainer_table *table, struct table_slot *slot, uint32_t bucket)
{
    uint8_t *mark = &slot->candidates.marks[bucket];
    if (*mark) {
        table_copy_bucket(table, slot, bucket);
    }
    *mark = table->generation;
    table->dirty_bytes += CUT_KEY_CANDIDATES_SIZE + TRAINER_CANDIDATES_WAYS * CUT_CANDIDATE + CUT_CHECKSUM;
}

void table_mark_dropped(struct trainer_table *table, struct table_slot *slot, uint32_t row)
{
    const struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
    if (meta->dirty == table->generation) {
        table->dirty_bytes -= slot_row_bytes(slot);
    } else if (meta->dirty) {
        table_copy_row(table, slot->arena, row);
        table->cut->forced++;
    }
    if (table->durable) {
        table_list_push(&slot->dropped, meta->key);
        table->dirty_bytes += CUT_KEY_ROW_SIZE;
    }
}

static void list_copy(struct table_list *copy, const struct table_list *list)
{
    *copy = (struct table_list){NULL, list->count, list->count};
    if (list->count) {
        copy->items = base_alloc(list->count * sizeof *copy->items);
        memcpy(copy->items, list->items, list->count * sizeof *copy->items);
    }
}

static void table_save_publication(const struct trainer_table *table, struct trainer_cut *cut)
{
    uint64_t tombstones = 0;
    for (uint32_t s = 0; s < table->slots; s++) {
        tombstones += table->slot[s].tombstones.count + table->slot[s].flying_tombstones.count;
    }
    cut->snapshots = table->snapshots;
    if (!table->tracking || tombstones > CUT_TOMBSTONES_MAX) {
        cut->base = CUT_BASE_NONE;
        return;
    }
    cut->base = table_has_base(table) ? CUT_BASE_SETTLED : CUT_BASE_FLYING;
    cut->settled = table->settled;
    cut->flying = table->flying;
    for (uint32_t s = 0; s < table->slots; s++) {
        list_copy(&cut->slot[s].tombstones, &table->slot[s].tombstones);
        list_copy(&cut->slot[s].flying_tombstones, &table->slot[s].flying_tombstones);
    }
}

void table_cut_begin(struct trainer_table *table, struct trainer_cut *cut)
{
    assert(table->training && !table->cut && cut->slots == table->slots);
    for (uint32_t s = 0; s < table->slots; s++) {
        struct table_slot *slot = &table->slot[s];
        cut->slot[s] = (struct cut_slot){.dimension = slot->dimension,
                                         .words = slot->words,
                                         .expiry = slot->expiry,
                                         .rows = slot->index.used,
                                         .expired = slot->expired,
                                         .buckets = trainer_candidates_buckets(&slot->candidates),
                                         .dropped = slot->dropped};
        slot->dropped = (struct table_list){0};
    }
    cut->now = table->now;
    cut->refused = table->refused;
    table_save_publication(table, cut);
    table->generation = table_frozen(table);
    table->dirty_bytes = 0;
    table->durable = true;
    table->walk = (struct table_walk){0};
    table->cut = cut;
}

// Copies the frozen ones of the 64 rows of a word of marks. Returns how many.
static uint32_t table_copy_word(struct trainer_table *table, const struct trainer_arena *arena,
                                uint32_t first, uint64_t word)
{
    uint8_t frozen = table_frozen(table);
    for (uint64_t rest = word; rest; rest &= rest - 1) {
        uint32_t row = first + (uint32_t)__builtin_ctzll(rest);
        __builtin_prefetch(trainer_arena_meta(arena, row), 1);
        const char *vector = (const char *)trainer_arena_vector(arena, row);
        for (size_t line = 0; line < trainer_arena_row_size(arena); line += 64) {
            __builtin_prefetch(vector + line);
        }
    }
    uint32_t copied = 0;
    for (uint64_t rest = word; rest; rest &= rest - 1) {
        uint32_t row = first + (uint32_t)__builtin_ctzll(rest);
        if (trainer_arena_meta(arena, row)->dirty == frozen) {
            table_copy_row(table, arena, row);
            copied++;
        }
    }
    return copied;
}

// Goes on through the chunk that the walk stands in; false: the budget is spent.
static bool table_copy_chunk(struct trainer_table *table, const struct trainer_arena *arena, size_t *budget)
{
    struct table_walk *walk = &table->walk;
    uint64_t *marks = trainer_arena_marks(arena, walk->chunk, table_frozen(table));
    size_t words = trainer_arena_words(arena);
    for (; walk->word < words; walk->word++) {
        size_t cost = 1;
        if (*budget == 0) {
            return false;
        }
        if (marks[walk->word]) {
            uint32_t first = (walk->chunk << arena->shift) + (uint32_t)walk->word * 64;
            cost += (size_t)table_copy_word(table, arena, first, marks[walk->word]) * MARKS_ROW_COST;
            marks[walk->word] = 0;
        }
        *budget -= cost < *budget ? cost : *budget;
    }
    return true;
}

static bool table_copy_rows(struct trainer_table *table, size_t *budget)
{
    struct table_walk *walk = &table->walk;
    for (; walk->arena < table->arenas; walk->arena++, walk->chunk = 0) {
        for (; walk->chunk < table->arena[walk->arena].chunks; walk->chunk++, walk->word = 0) {
            if (!table_copy_chunk(table, &table->arena[walk->arena], budget)) {
                return false;
            }
        }
    }
    return true;
}

static bool table_copy_candidates(struct trainer_table *table, size_t *budget)
{
    struct table_walk *walk = &table->walk;
    uint8_t frozen = table_frozen(table);
    for (; walk->slot < table->slots; walk->slot++, walk->bucket = 0) {
        struct table_slot *slot = &table->slot[walk->slot];
        uint32_t buckets = trainer_candidates_buckets(&slot->candidates);
        while (walk->bucket < buckets) {
            if (*budget == 0) {
                return false;
            }
            size_t cost = 1;
            uint32_t end = walk->bucket + 8; // buckets are a multiple of it
            for (; walk->bucket < end; walk->bucket++) {
                if (slot->candidates.marks[walk->bucket] == frozen) {
                    table_copy_bucket(table, slot, walk->bucket);
                    cost += MARKS_ROW_COST;
                }
            }
            *budget -= cost < *budget ? cost : *budget;
        }
    }
    return true;
}

bool table_cut_copy(struct trainer_table *table, size_t rows)
{
    assert(table->cut);
    size_t budget = rows < SIZE_MAX / MARKS_ROW_COST ? rows * MARKS_ROW_COST : SIZE_MAX;
    budget += budget == 0;
    bool complete = table_copy_rows(table, &budget) && table_copy_candidates(table, &budget);
    if (complete) {
        table->cut = NULL;
    }
    return complete;
}
