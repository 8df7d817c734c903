// A slot's rows and candidates out of a cut. See restore_private.h.
//
// How many rows there are is known before, so that the arena's rows and the index are made at once. Rows come
// ascending by key, which is by chance for the index: an entry is prefetched when its row is read and made
// when RESTORE_AHEAD more have been.
#include <assert.h>
#include <string.h>

#include "base/hash.h"
#include "trainer/cut_format.h"
#include "trainer/restore_private.h"

enum {
    RESTORE_AHEAD = 16, // a power of two
    RESTORE_VALUE_MAX = CUT_ROW_FLOATS_MAX * sizeof(float) + CUT_ROW_TAIL,
};

struct restore_rows {
    struct trainer_table *table;
    struct table_slot *slot;
    const char *name;
    struct restore_slot *saved;
    uint64_t count;    // read so far
    uint64_t previous; // key
    uint64_t hashes[RESTORE_AHEAD];
};

bool restore_checksum_fits(struct base_span key, struct base_span value, uint8_t *bytes)
{
    size_t size = value.size - CUT_CHECKSUM;
    uint32_t written;
    memcpy(&written, value.data + size, CUT_CHECKSUM);
    memcpy(bytes, key.data, key.size);
    memcpy(bytes + key.size, value.data, size);
    return (uint32_t)base_hash_bytes(base_span_make(bytes, key.size + size), 0) == written;
}

static void rows_insert(struct restore_rows *rows, uint64_t number)
{
    trainer_rowindex_insert(&rows->slot->index, rows->hashes[number % RESTORE_AHEAD],
                            rows->saved->first + (uint32_t)number);
}

// The row into the chain of its deadline. False: it should have been dropped before the cut.
static bool rows_chain(struct restore_rows *rows, uint32_t row)
{
    struct table_slot *slot = rows->slot;
    int64_t bucket = table_slot_bucket(slot, trainer_arena_meta(slot->arena, row)->last_seen + slot->expiry);
    if (bucket <= slot->expired) {
        if (rows->saved->expiry_fits) {
            return false;
        }
        slot->expired = bucket - 1; // of a shorter expiry than the saved one: due at the next chance
    }
    table_slot_chain(slot, row);
    return true;
}

static int rows_error(const struct restore_rows *rows, uint64_t key, struct base_error *error,
                      const char *what)
{
    return base_error_set(error, BASE_EFORMAT, "the cut's row %016llx of slot %s %s", (unsigned long long)key,
                          rows->name, what);
}

static int restore_row(void *context, struct base_span key, struct base_span value, struct base_error *error)
{
    struct restore_rows *rows = context;
    struct table_slot *slot = rows->slot;
    size_t floats = trainer_arena_row_size(slot->arena);
    uint8_t bytes[CUT_KEY_MAX + RESTORE_VALUE_MAX];
    if (key.size != CUT_KEY_ROW_SIZE) {
        return base_error_set(error, BASE_EFORMAT, "the cut has a row of slot %s whose key is of %zu bytes",
                              rows->name, key.size);
    }
    uint64_t number = cut_load_big(key.data + CUT_KEY_SLOT_SIZE, 8);
    if (value.size != floats + CUT_ROW_TAIL) {
        return rows_error(rows, number, error, "is not of the size that its dimension and optimiser ask for");
    }
    if (!restore_checksum_fits(key, value, bytes)) {
        return rows_error(rows, number, error, "is corrupt: its checksum does not fit");
    }
    if (rows->count && number <= rows->previous) {
        return rows_error(rows, number, error, "comes out of order");
    }
    if (rows->count == rows->saved->rows) {
        return rows_error(rows, number, error, "is one more than the cut counted");
    }
    uint32_t row = rows->saved->first + (uint32_t)rows->count;
    struct trainer_meta *meta = trainer_arena_meta(slot->arena, row);
    struct base_reader tail = {base_span_make(value.data + floats, CUT_ROW_TAIL), false};
    *meta = (struct trainer_meta){
        .key = number, .next = TRAINER_ROW_NONE, .slot = (uint8_t)(slot - rows->table->slot), .used = 1};
    meta->last_seen = (int64_t)base_reader_u64(&tail);
    meta->count = base_reader_u32(&tail);
    meta->stamp = base_reader_u32(&tail);
    if (meta->last_seen > rows->table->now || meta->last_seen < -RESTORE_TIME_MAX ||
        meta->stamp > rows->table->snapshots) {
        return rows_error(rows, number, error, "is of a later time than the cut");
    }
    memcpy(trainer_arena_vector(slot->arena, row), value.data, floats); // and state
    if (slot->expiry && !rows_chain(rows, row)) {
        return rows_error(rows, number, error, "had expired before the cut");
    }
    table_restore_changed(rows->table, slot, row);
    if (rows->count >= RESTORE_AHEAD) {
        rows_insert(rows, rows->count - RESTORE_AHEAD);
    }
    uint64_t hash = trainer_rowindex_hash(number);
    rows->hashes[rows->count % RESTORE_AHEAD] = hash;
    __builtin_prefetch(&slot->index.entries[trainer_rowindex_home(&slot->index, hash)], 1);
    rows->previous = number;
    rows->count++;
    return 0;
}

static int restore_bucket(void *context, struct base_span key, struct base_span value,
                          struct base_error *error)
{
    const struct restore_rows *rows = context;
    const struct trainer_candidates *candidates = &rows->slot->candidates;
    uint8_t bytes[CUT_KEY_MAX + TRAINER_CANDIDATES_WAYS * CUT_CANDIDATE + CUT_CHECKSUM];
    if (key.size != CUT_KEY_CANDIDATES_SIZE) {
        return base_error_set(error, BASE_EFORMAT,
                              "the cut has candidates of slot %s whose key is of %zu bytes", rows->name,
                              key.size);
    }
    if (!rows->saved->buckets_fit) {
        restore_stale(&rows->saved->stale, key);
        return 0;
    }
    uint32_t number = (uint32_t)cut_load_big(key.data + CUT_KEY_SLOT_SIZE, 4);
    size_t count = value.size / CUT_CANDIDATE;
    if (number >= trainer_candidates_buckets(candidates) || count < 1 || count > TRAINER_CANDIDATES_WAYS ||
        value.size != count * CUT_CANDIDATE + CUT_CHECKSUM || !restore_checksum_fits(key, value, bytes)) {
        return base_error_set(error, BASE_EFORMAT, "the cut's candidates of slot %s, bucket %u, are corrupt",
                              rows->name, number);
    }
    struct trainer_candidate *entries = &candidates->entries[(size_t)number * TRAINER_CANDIDATES_WAYS];
    struct base_reader reader = {value, false};
    for (size_t i = 0; i < count; i++) {
        entries[i].key = base_reader_u64(&reader);
        entries[i].last_seen = (int64_t)base_reader_u64(&reader);
        entries[i].count = base_reader_u64(&reader);
        bool mine = trainer_candidates_number(candidates, trainer_rowindex_hash(entries[i].key)) == number;
        bool ascends = i == 0 || entries[i - 1].key < entries[i].key;
        if (!mine || !ascends || entries[i].count == 0 || entries[i].last_seen > rows->table->now ||
            entries[i].last_seen < -RESTORE_TIME_MAX) {
            return base_error_set(error, BASE_EFORMAT,
                                  "the cut's candidate %016llx of slot %s, bucket %u, cannot be there",
                                  (unsigned long long)entries[i].key, rows->name, number);
        }
    }
    return 0;
}

void restore_stale(struct base_buffer *stale, struct base_span key)
{
    base_buffer_u8(stale, (uint8_t)key.size);
    base_buffer_append(stale, key.data, key.size);
}

int restore_slot_read(struct trainer_table *table, uint32_t number, const char *name,
                      struct restore_slot *saved, const struct trainer_cut_source *source,
                      struct base_error *error)
{
    struct table_slot *slot = &table->slot[saved->slot];
    struct restore_rows rows = {.table = table, .slot = slot, .name = name, .saved = saved};
    trainer_rowindex_reserve(&slot->index, saved->rows);
    uint8_t prefix[CUT_KEY_SLOT_SIZE] = {CUT_KEY_ROW};
    cut_store_big(prefix + 1, number, 2);
    if (source->scan(source->context, base_span_make(prefix, sizeof prefix), restore_row, &rows, error)) {
        return -1;
    }
    if (rows.count != saved->rows) {
        return base_error_set(error, BASE_EFORMAT, "the cut has %llu rows of slot %s and counted %llu",
                              (unsigned long long)rows.count, name, (unsigned long long)saved->rows);
    }
    for (uint64_t i = rows.count > RESTORE_AHEAD ? rows.count - RESTORE_AHEAD : 0; i < rows.count; i++) {
        rows_insert(&rows, i);
    }
    prefix[0] = CUT_KEY_CANDIDATES;
    return source->scan(source->context, base_span_make(prefix, sizeof prefix), restore_bucket, &rows, error);
}
