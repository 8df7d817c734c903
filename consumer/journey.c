// A journey log: records on segments.h, found through index.h. See journey.h.
//
// Per held record an entry of 16 bytes lies in a queue of fixed chunks, so that dropping a segment needs no
// look at the log: the tags say which index slots to empty.
#include "consumer/journey.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "consumer/event.h"
#include "consumer/generations.h"
#include "consumer/index.h"
#include "consumer/segments.h"

enum {
    JOURNEY_CHUNK = 256, // entries of a chunk
    JOURNEY_AHEAD = 8,   // records between the look at an index slot and its use, in a rebuild
};

// `kind` and the sizes are the format of CONSUMER_SEGMENTS_VERSION.
enum journey_kind {
    JOURNEY_RECORD = 1, // a journey at this stage
    JOURNEY_MARK = 2,   // an action without a stage was joined to record `parent`
};

enum {
    JOURNEY_PAID = 1,   // struct consumer_journey_record.paid
    JOURNEY_TOUCH = 2,  // has a touch key
    JOURNEY_VALUE = 4,  // the action has a value; logs from before there were values have no such record
    JOURNEY_WEIGHT = 8, // the impression has a weight; likewise
    // The upper half is the generation; logs from before there were several have no other than 0.
    JOURNEY_GENERATION_SHIFT = 4,
};

struct journey_header {
    uint8_t prefix[CONSUMER_SEGMENTS_PREFIX];
    uint8_t kind;
    uint8_t flags;
    uint16_t rank; // of a mark's action
    uint32_t columns_size;
    uint32_t id_size;
    uint32_t touch_size;
    int64_t entry;
    int64_t event_time;
    int64_t impression_time;
    uint64_t parent;
    uint64_t previous; // a mark's: the bits of its value
    // columns, padded to 8; id; touch; padding to 8; the value's bits, if there is one; the weight's, if
    // there is one, and 4 bytes of padding
};

static_assert(sizeof(struct journey_header) % 8 == 0, "columns stay aligned");
static_assert((int)CONSUMER_TOPICS_MAX <= 8, "a bit an action in journey_entry.joined");
static_assert((int)CONSUMER_GENERATIONS_MAX <= 16, "half a byte of journey_header.flags");

struct journey_entry {
    uint64_t position : 56;
    uint64_t joined : 8; // bit r: the action of rank r
    uint32_t id_tag;
    uint32_t touch_tag; // 0: no touch key
};

static_assert(sizeof(struct journey_entry) == 16, "16 bytes a record");

struct consumer_journey {
    struct consumer_segments *segments;
    struct consumer_index *by_id; // or NULL
    struct consumer_index *by_touch;
    struct consumer_values *values;
    int64_t retention;
    int64_t last_entry;
    uint32_t generations; // that a restore found

    struct journey_entry **chunks; // a ring: [chunk_capacity], a power of two
    uint64_t chunk_capacity;
    uint64_t begin; // numbers held: [begin, end)
    uint64_t end;
};

static struct consumer_journey *journey_make(const struct consumer_journey_config *config)
{
    struct consumer_journey *journey = base_alloc_zeroed(1, sizeof *journey);
    journey->retention = config->retention;
    journey->last_entry = INT64_MIN;
    journey->values = consumer_values_new();
    journey->by_id = config->by_id ? consumer_index_new() : NULL;
    journey->by_touch = config->by_touch ? consumer_index_new() : NULL;
    return journey;
}

static struct consumer_segments_config journey_segments(const struct consumer_journey_config *config)
{
    return (struct consumer_segments_config){
        .directory = config->directory,
        .name = config->name,
        .lane = config->lane,
        .segment_bytes = config->segment_bytes,
        .disk = config->disk,
        .keep_dropped = config->keep_dropped,
    };
}

struct consumer_journey *consumer_journey_new(const struct consumer_journey_config *config,
                                              struct base_error *error)
{
    struct consumer_segments_config segments = journey_segments(config);
    struct consumer_journey *journey = journey_make(config);
    journey->segments = consumer_segments_new(&segments, error);
    if (!journey->segments) {
        consumer_journey_free(journey);
        return NULL;
    }
    return journey;
}

void consumer_journey_free(struct consumer_journey *journey)
{
    if (!journey) {
        return;
    }
    for (uint64_t i = 0; i < journey->chunk_capacity; i++) {
        free(journey->chunks[i]);
    }
    free(journey->chunks);
    consumer_segments_free(journey->segments);
    consumer_values_free(journey->values);
    consumer_index_free(journey->by_id);
    consumer_index_free(journey->by_touch);
    free(journey);
}

static struct journey_entry *journey_entry(const struct consumer_journey *journey, uint64_t number)
{
    assert(journey->begin <= number && number < journey->end);
    uint64_t chunk = number / JOURNEY_CHUNK % journey->chunk_capacity;
    return &journey->chunks[chunk][number % JOURNEY_CHUNK];
}

// Room for the entry of number `end`.
static void journey_grow(struct consumer_journey *journey)
{
    uint64_t first = journey->begin / JOURNEY_CHUNK;
    uint64_t last = journey->end / JOURNEY_CHUNK;
    if (last - first >= journey->chunk_capacity) {
        uint64_t capacity = journey->chunk_capacity ? 2 * journey->chunk_capacity : 1;
        struct journey_entry **chunks = base_alloc_zeroed(capacity, sizeof *chunks);
        for (uint64_t i = first; i < last; i++) {
            chunks[i % capacity] = journey->chunks[i % journey->chunk_capacity];
        }
        free(journey->chunks);
        journey->chunks = chunks;
        journey->chunk_capacity = capacity;
    }
    struct journey_entry **chunk = &journey->chunks[last % journey->chunk_capacity];
    if (!*chunk) {
        *chunk = base_alloc(JOURNEY_CHUNK * sizeof **chunk);
    }
}

// A number from its low 32 bits, as the indexes hold it.
static uint64_t journey_number(const struct consumer_journey *journey, uint32_t low)
{
    return journey->begin + (uint32_t)(low - (uint32_t)journey->begin);
}

static size_t journey_padded(size_t size)
{
    return (size + 7) / 8 * 8;
}

// What value and weight take behind all else.
static size_t journey_numbers(bool valued, bool weighted)
{
    return (valued ? sizeof(double) : 0) + (weighted ? sizeof(uint64_t) : 0);
}

// Of a record without them.
static size_t journey_size(const struct journey_header *header)
{
    return sizeof *header + journey_padded(header->columns_size) +
           journey_padded((size_t)header->id_size + header->touch_size);
}

static void journey_view(const struct journey_header *header, struct consumer_journey_record *record)
{
    const uint8_t *bytes = (const uint8_t *)(header + 1);
    const uint8_t *id = bytes + journey_padded(header->columns_size);
    *record = (struct consumer_journey_record){
        .entry = header->entry,
        .event_time = header->event_time,
        .impression_time = header->impression_time,
        .parent = header->parent,
        .previous = header->previous,
        .paid = header->flags & JOURNEY_PAID,
        .generation = header->flags >> JOURNEY_GENERATION_SHIFT,
        .impression_id = {id, header->id_size},
        .columns = {bytes, header->columns_size},
    };
    if (header->flags & JOURNEY_TOUCH) {
        record->touch = base_span_make(id + header->id_size, header->touch_size);
    }
    if (header->flags & JOURNEY_VALUE) {
        record->valued = true;
        memcpy(&record->value, (const uint8_t *)header + journey_size(header), sizeof record->value);
    }
    if (header->flags & JOURNEY_WEIGHT) {
        size_t place = journey_size(header) + journey_numbers(record->valued, false);
        record->weighted = true;
        memcpy(&record->weight, (const uint8_t *)header + place, sizeof record->weight);
    }
}

int consumer_journey_read(struct consumer_journey *journey, uint64_t number,
                          struct consumer_journey_record *record, struct base_error *error)
{
    const void *header =
        consumer_segments_read(journey->segments, journey_entry(journey, number)->position, error);
    if (!header) {
        return -1;
    }
    journey_view(header, record);
    return 0;
}

int consumer_journey_pin(struct consumer_journey *journey, uint64_t number,
                         struct consumer_journey_record *record, struct base_error *error)
{
    const void *header =
        consumer_segments_pin(journey->segments, journey_entry(journey, number)->position, error);
    if (!header) {
        return -1;
    }
    journey_view(header, record);
    return 0;
}

// Searches one index for the record whose key is `key`; *probe is where it stands if *number is one.
static int journey_find(struct consumer_journey *journey, const struct consumer_index *index,
                        struct base_span key, uint32_t tag, struct consumer_index_probe *probe,
                        uint64_t *number, struct consumer_journey_record *record, struct base_error *error)
{
    for (bool found = consumer_index_first(index, tag, probe); found;
         found = consumer_index_next(index, tag, probe)) {
        uint64_t candidate = journey_number(journey, probe->number);
        if (consumer_journey_read(journey, candidate, record, error) != 0) {
            return -1;
        }
        if (base_span_equal(key, index == journey->by_id ? record->impression_id : record->touch)) {
            *number = candidate;
            return 0;
        }
    }
    *number = CONSUMER_JOURNEY_NONE;
    return 0;
}

int consumer_journey_find_id(struct consumer_journey *journey, struct base_span id, uint64_t id_hash,
                             uint64_t *number, struct consumer_journey_record *record,
                             struct base_error *error)
{
    struct consumer_index_probe probe;
    return journey_find(journey, journey->by_id, id, consumer_index_tag(id_hash), &probe, number, record,
                        error);
}

int consumer_journey_find_touch(struct consumer_journey *journey, struct base_span touch, uint64_t *number,
                                struct consumer_journey_record *record, struct base_error *error)
{
    struct consumer_index_probe probe;
    uint32_t tag = consumer_index_tag(base_hash_bytes(touch, 0));
    return journey_find(journey, journey->by_touch, touch, tag, &probe, number, record, error);
}

void consumer_journey_prefetch(const struct consumer_journey *journey, uint64_t id_hash)
{
    consumer_index_prefetch(journey->by_id, consumer_index_tag(id_hash));
}

// Makes `number` the latest record of `key`; *previous is the one it was till now.
static int journey_index(struct consumer_journey *journey, struct consumer_index *index, struct base_span key,
                         uint32_t tag, uint64_t number, uint64_t *previous, struct base_error *error)
{
    struct consumer_index_probe probe;
    struct consumer_journey_record record;
    if (journey_find(journey, index, key, tag, &probe, previous, &record, error) != 0) {
        return -1;
    }
    if (*previous == CONSUMER_JOURNEY_NONE) {
        consumer_index_insert(index, tag, (uint32_t)number);
    } else {
        consumer_index_replace(index, &probe, (uint32_t)number);
    }
    return 0;
}

static void journey_fill(struct journey_header *header, const struct consumer_journey_record *record,
                         uint64_t previous, size_t size)
{
    // The padding is part of the checksum: the last words first, then what overwrites their beginning.
    uint8_t *behind = (uint8_t *)header + size - journey_numbers(record->valued, record->weighted);
    memset(behind - 8, 0, 8);
    if (record->valued) {
        memcpy(behind, &record->value, sizeof record->value);
        behind += sizeof record->value;
    }
    if (record->weighted) {
        memset(behind, 0, 8);
        memcpy(behind, &record->weight, sizeof record->weight);
    }
    *header = (struct journey_header){
        .kind = JOURNEY_RECORD,
        .flags = (uint8_t)((record->paid ? JOURNEY_PAID : 0) | (record->touch.data ? JOURNEY_TOUCH : 0) |
                           (record->valued ? JOURNEY_VALUE : 0) | (record->weighted ? JOURNEY_WEIGHT : 0) |
                           record->generation << JOURNEY_GENERATION_SHIFT),
        .columns_size = (uint32_t)record->columns.size,
        .id_size = (uint32_t)record->impression_id.size,
        .touch_size = (uint32_t)record->touch.size,
        .entry = record->entry,
        .event_time = record->event_time,
        .impression_time = record->impression_time,
        .parent = record->parent,
        .previous = previous,
    };
    uint8_t *to = (uint8_t *)(header + 1);
    if (record->columns.size) {
        size_t padded = journey_padded(record->columns.size);
        memset(to + padded - 8, 0, 8);
        memcpy(to, record->columns.data, record->columns.size);
        to += padded;
    }
    if (record->impression_id.size) {
        memcpy(to, record->impression_id.data, record->impression_id.size);
        to += record->impression_id.size;
    }
    if (record->touch.size) {
        memcpy(to, record->touch.data, record->touch.size);
    }
}

int consumer_journey_append(struct consumer_journey *journey, const struct consumer_journey_record *record,
                            uint64_t id_hash, uint64_t *number, struct base_error *error)
{
    assert(record->entry >= journey->last_entry);
    if (journey->end - journey->begin >= CONSUMER_INDEX_MAX) {
        return base_error_set(error, BASE_ELIMIT, "a journey log holds %d records: no more fit its index",
                              CONSUMER_INDEX_MAX);
    }
    struct journey_entry entry = {.id_tag = consumer_index_tag(id_hash)};
    uint64_t fresh = journey->end;
    uint64_t previous = CONSUMER_JOURNEY_NONE;
    uint64_t older;
    if (journey->by_touch && record->touch.data) {
        entry.touch_tag = consumer_index_tag(base_hash_bytes(record->touch, 0));
        if (journey_index(journey, journey->by_touch, record->touch, entry.touch_tag, fresh, &previous,
                          error) != 0) {
            return -1;
        }
    }
    if (journey->by_id && journey_index(journey, journey->by_id, record->impression_id, entry.id_tag, fresh,
                                        &older, error) != 0) {
        return -1;
    }

    size_t size = sizeof(struct journey_header) + journey_padded(record->columns.size) +
                  journey_padded(record->impression_id.size + record->touch.size) +
                  journey_numbers(record->valued, record->weighted);
    struct journey_header *header = consumer_segments_begin(journey->segments, size, fresh, error);
    if (!header) {
        return -1;
    }
    journey_fill(header, record, previous, size);
    uint64_t position = consumer_segments_end(journey->segments, record->entry, fresh + 1);
    entry.position = position & CONSUMER_SEGMENTS_POSITION_MAX;
    journey_grow(journey);
    journey->end++;
    *journey_entry(journey, fresh) = entry;
    journey->last_entry = record->entry;
    *number = fresh;
    return 0;
}

void consumer_journey_join(struct consumer_journey *journey, uint64_t number, uint32_t rank)
{
    struct journey_entry *entry = journey_entry(journey, number);
    assert(!(entry->joined >> rank & 1));
    entry->joined = (entry->joined | UINT64_C(1) << rank) & 0xff;
}

int consumer_journey_mark(struct consumer_journey *journey, uint64_t number, uint32_t rank, int64_t now,
                          int64_t event_time, double value, struct base_error *error)
{
    struct journey_header *header =
        consumer_segments_begin(journey->segments, sizeof *header, journey->end, error);
    if (!header) {
        return -1;
    }
    *header = (struct journey_header){
        .kind = JOURNEY_MARK,
        .rank = (uint16_t)rank,
        .entry = now,
        .event_time = event_time,
        .parent = number,
    };
    if (!isnan(value)) {
        header->flags = JOURNEY_VALUE;
        memcpy(&header->previous, &value, sizeof value);
    }
    consumer_segments_end(journey->segments, journey->last_entry, journey->end);
    consumer_journey_join(journey, number, rank);
    return 0;
}

bool consumer_journey_joined(const struct consumer_journey *journey, uint64_t number, uint32_t rank)
{
    return journey_entry(journey, number)->joined >> rank & 1;
}

struct consumer_values *consumer_journey_values(struct consumer_journey *journey)
{
    return journey->values;
}

float consumer_journey_value(double value)
{
    return fabs(value) <= (double)FLT_MAX ? (float)value : NAN;
}

uint32_t consumer_journey_generations(const struct consumer_journey *journey)
{
    return journey->generations;
}

uint64_t consumer_journey_begin(const struct consumer_journey *journey)
{
    return journey->begin;
}

uint64_t consumer_journey_end(const struct consumer_journey *journey)
{
    return journey->end;
}

int64_t consumer_journey_drop_time(const struct consumer_journey *journey)
{
    int64_t time;
    uint64_t number;
    return consumer_segments_oldest(journey->segments, &time, &number) ? time + journey->retention
                                                                       : INT64_MAX;
}

void consumer_journey_drop(struct consumer_journey *journey)
{
    int64_t time;
    uint64_t end;
    bool ended = consumer_segments_oldest(journey->segments, &time, &end);
    assert(ended);
    while (journey->begin < end) {
        uint64_t number = journey->begin;
        const struct journey_entry *entry = journey_entry(journey, number);
        if (journey->by_id) {
            consumer_index_remove(journey->by_id, entry->id_tag, (uint32_t)number);
        }
        if (entry->touch_tag) {
            consumer_index_remove(journey->by_touch, entry->touch_tag, (uint32_t)number);
        }
        journey->begin++;
        if (journey->begin % JOURNEY_CHUNK == 0) {
            struct journey_entry **chunk = &journey->chunks[number / JOURNEY_CHUNK % journey->chunk_capacity];
            free(*chunk);
            *chunk = NULL;
        }
    }
    consumer_segments_drop(journey->segments);
}

void consumer_journey_release(struct consumer_journey *journey)
{
    consumer_segments_release(journey->segments);
}

uint64_t consumer_journey_memory_bytes(const struct consumer_journey *journey)
{
    uint64_t bytes = sizeof *journey + journey->chunk_capacity * sizeof *journey->chunks;
    for (uint64_t i = 0; i < journey->chunk_capacity; i++) {
        bytes += journey->chunks[i] ? JOURNEY_CHUNK * sizeof **journey->chunks : 0;
    }
    bytes += consumer_values_bytes(journey->values);
    bytes += journey->by_id ? consumer_index_bytes(journey->by_id) : 0;
    bytes += journey->by_touch ? consumer_index_bytes(journey->by_touch) : 0;
    return bytes;
}

uint64_t consumer_journey_disk_bytes(const struct consumer_journey *journey)
{
    return consumer_segments_disk_bytes(journey->segments);
}

// ---- saving and restoring ---------------------------------------------------

int consumer_journey_save(struct consumer_journey *journey, uint64_t cut, struct base_buffer *state,
                          struct base_sync *sync, struct base_error *error)
{
    size_t before = state->size;
    base_buffer_u64(state, journey->begin);
    base_buffer_u64(state, journey->end);
    base_buffer_u64(state, (uint64_t)journey->last_entry);
    if (consumer_segments_save(journey->segments, cut, state, sync, error) != 0) {
        state->size = before;
        return -1;
    }
    return 0;
}

void consumer_journey_cut_done(struct consumer_journey *journey, uint64_t cut)
{
    consumer_segments_cut_done(journey->segments, cut);
}

// A rebuild: what the log's records say goes into the entries at once, into the indexes JOURNEY_AHEAD records
// later, when their slots have come from memory.
struct journey_scan {
    struct consumer_journey *journey;
    struct consumer_journey *parent; // or NULL
    uint32_t rank;                   // of the action whose log this is, if there is a parent
    uint64_t end;                    // number after the last record, as it was saved
    int64_t last_entry;              // as it was saved
    uint64_t first;                  // number at which the present segment began
    uint64_t indexed;                // numbers below are in the indexes
    const struct journey_header *ahead[JOURNEY_AHEAD]; // [number % JOURNEY_AHEAD]
};

// Times that no sum of times and windows wraps.
static bool journey_time_fits(int64_t time)
{
    return time >= -4 * CONSUMER_TIME_BOUND && time <= 4 * CONSUMER_TIME_BOUND;
}

// Makes a record the latest of its id.
static bool journey_scan_id(struct consumer_journey *journey, uint64_t number, struct base_span id)
{
    uint64_t older;
    struct base_error ignored;
    return journey_index(journey, journey->by_id, id, journey_entry(journey, number)->id_tag, number, &older,
                         &ignored) == 0;
}

// And of its touch key: the record names the one before it.
static bool journey_scan_touch(struct consumer_journey *journey, uint64_t number, uint64_t previous)
{
    uint32_t tag = journey_entry(journey, number)->touch_tag;
    if (previous == CONSUMER_JOURNEY_NONE || previous < journey->begin) {
        consumer_index_insert(journey->by_touch, tag, (uint32_t)number);
        return true;
    }
    struct consumer_index_probe probe;
    for (bool found = consumer_index_first(journey->by_touch, tag, &probe); found;
         found = consumer_index_next(journey->by_touch, tag, &probe)) {
        if (probe.number == (uint32_t)previous) {
            consumer_index_replace(journey->by_touch, &probe, (uint32_t)number);
            return true;
        }
    }
    return false;
}

// Puts the next record into the indexes.
static bool journey_scan_index(struct journey_scan *scan)
{
    struct consumer_journey *journey = scan->journey;
    uint64_t number = scan->indexed++;
    const struct journey_header *header = scan->ahead[number % JOURNEY_AHEAD];
    struct consumer_journey_record record;
    journey_view(header, &record);
    return (!journey->by_id || journey_scan_id(journey, number, record.impression_id)) &&
           (!journey->by_touch || !record.touch.data ||
            journey_scan_touch(journey, number, header->previous));
}

// The action of `rank` was joined to record `number`, if that is still held; `value` NaN: it has none.
static bool journey_scan_join(struct consumer_journey *journey, uint64_t number, uint32_t rank, double value)
{
    if (number >= journey->end || rank >= CONSUMER_TOPICS_MAX) {
        return false;
    }
    if (number < journey->begin) {
        return true;
    }
    if (consumer_journey_joined(journey, number, rank)) {
        return false;
    }
    consumer_journey_join(journey, number, rank);
    if (!isnan(consumer_journey_value(value))) {
        consumer_values_put(journey->values, number, rank, consumer_journey_value(value));
    }
    return true;
}

static bool journey_scan_record(struct journey_scan *scan, const struct journey_header *header, size_t size,
                                uint64_t position)
{
    struct consumer_journey *journey = scan->journey;
    uint64_t number = journey->end;
    bool valued = header->flags & JOURNEY_VALUE;
    // Sizes that are not the record's would be read beyond its end.
    if (size != journey_size(header) + journey_numbers(valued, header->flags & JOURNEY_WEIGHT)) {
        return false;
    }
    struct consumer_journey_record record;
    journey_view(header, &record);
    bool touch = header->flags & JOURNEY_TOUCH;
    if (number == scan->end || !journey_time_fits(header->entry) || header->entry < journey->last_entry ||
        header->entry > scan->last_entry || (!touch && header->touch_size) ||
        (header->previous != CONSUMER_JOURNEY_NONE && header->previous >= number) ||
        (scan->parent &&
         !journey_scan_join(scan->parent, header->parent, scan->rank, valued ? record.value : NAN))) {
        return false;
    }
    if (number - scan->indexed == JOURNEY_AHEAD && !journey_scan_index(scan)) {
        return false;
    }
    struct journey_entry entry = {.position = position & CONSUMER_SEGMENTS_POSITION_MAX};
    entry.id_tag = consumer_index_tag(base_hash_bytes(record.impression_id, 0));
    if (journey->by_id) {
        consumer_index_prefetch(journey->by_id, entry.id_tag);
    }
    if (journey->by_touch && touch) {
        entry.touch_tag = consumer_index_tag(base_hash_bytes(record.touch, 0));
        consumer_index_prefetch(journey->by_touch, entry.touch_tag);
    }
    journey->generations |= UINT32_C(1) << record.generation;
    journey_grow(journey);
    journey->end++;
    *journey_entry(journey, number) = entry;
    journey->last_entry = header->entry;
    scan->ahead[number % JOURNEY_AHEAD] = header;
    return true;
}

static bool journey_visit_record(void *context, const void *record, size_t size, uint64_t position)
{
    struct journey_scan *scan = context;
    const struct journey_header *header = record;
    if (size < sizeof *header) {
        return false;
    }
    if (header->kind == JOURNEY_MARK) {
        double value = NAN;
        if (header->flags & JOURNEY_VALUE) {
            memcpy(&value, &header->previous, sizeof value);
        }
        return size == sizeof *header &&
               journey_scan_join(scan->journey, header->parent, header->rank, value);
    }
    return header->kind == JOURNEY_RECORD && journey_scan_record(scan, header, size, position);
}

static bool journey_visit_segment(void *context, uint64_t first, int64_t time, uint64_t number)
{
    struct journey_scan *scan = context;
    const struct consumer_journey *journey = scan->journey;
    // Marks alone do not say the time of the record before them, which may be gone.
    bool known = journey->end > journey->begin;
    bool right = first == scan->first && number == journey->end &&
                 (known ? time == journey->last_entry : time <= scan->last_entry && journey_time_fits(time));
    scan->first = number;
    return right;
}

struct consumer_journey *consumer_journey_restore(const struct consumer_journey_config *config,
                                                  struct base_reader *state, struct consumer_journey *parent,
                                                  uint32_t rank, int64_t now, struct base_error *error)
{
    struct consumer_segments_config segments = journey_segments(config);
    struct consumer_journey *journey = journey_make(config);
    struct journey_scan scan = {.journey = journey, .parent = parent, .rank = rank};
    struct consumer_segments_visitor visitor = {journey_visit_record, journey_visit_segment, &scan};
    struct base_reader rest = *state;
    journey->begin = base_reader_u64(&rest);
    scan.end = base_reader_u64(&rest);
    scan.last_entry = (int64_t)base_reader_u64(&rest);
    scan.first = scan.indexed = journey->end = journey->begin;
    if (rest.failed || scan.end < journey->begin || scan.end - journey->begin > CONSUMER_INDEX_MAX ||
        scan.last_entry > now || (scan.last_entry != INT64_MIN && !journey_time_fits(scan.last_entry))) {
        base_error_set(error, BASE_EFORMAT, "the saved state of %s is corrupt: its numbers cannot be",
                       config->name);
        goto fail;
    }
    journey->segments = consumer_segments_restore(&segments, &rest, error);
    if (!journey->segments || consumer_segments_scan(journey->segments, &visitor, error) != 0) {
        goto fail;
    }
    while (scan.indexed < journey->end) {
        if (!journey_scan_index(&scan)) {
            goto corrupt;
        }
    }
    if (journey->end != scan.end ||
        (journey->end > journey->begin && journey->last_entry != scan.last_entry)) {
        goto corrupt;
    }
    journey->last_entry = scan.last_entry;
    *state = rest;
    return journey;
corrupt:
    base_error_set(error, BASE_EFORMAT, "%s/%s is corrupt: its records are not those that were saved",
                   config->directory, config->name);
fail:
    consumer_journey_free(journey);
    return NULL;
}
