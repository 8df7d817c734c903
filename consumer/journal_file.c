// The bytes of a journal's file. See journal_file.h.
#include "consumer/journal_file.h"

#include <assert.h>

#include "base/hash.h"

#define JOURNAL_MAGIC "FRSHJRNL"
enum { JOURNAL_VERSION = 1, JOURNAL_MAGIC_SIZE = 8, JOURNAL_CHECKSUM = 4 };

// ---- writing ----------------------------------------------------------------

void consumer_journal_file_begin(struct base_buffer *buffer, uint64_t position, uint32_t size)
{
    size_t begin = buffer->size;
    base_buffer_append(buffer, JOURNAL_MAGIC, JOURNAL_MAGIC_SIZE);
    base_buffer_u32(buffer, JOURNAL_VERSION);
    base_buffer_u64(buffer, position);
    base_buffer_u32(buffer, size);
    base_buffer_u64(buffer, base_hash_bytes(base_span_make(buffer->data + begin, buffer->size - begin), 0));
}

static uint32_t record_checksum(struct base_span rest, uint64_t position)
{
    return (uint32_t)base_hash_bytes(rest, position);
}

void consumer_journal_file_put(struct base_buffer *buffer, uint64_t position, uint64_t group,
                               enum consumer_journal_kind kind, struct base_span payload)
{
    assert(payload.size <= CONSUMER_JOURNAL_PAYLOAD_MAX);
    assert(group <= position && position - group <= UINT32_MAX);
    size_t begin = buffer->size;
    base_buffer_u32(buffer, 0);
    base_buffer_u32(buffer, (uint32_t)payload.size);
    base_buffer_u32(buffer, (uint32_t)(position - group));
    base_buffer_u8(buffer, (uint8_t)kind);
    if (payload.size) {
        base_buffer_append(buffer, payload.data, payload.size);
    }
    size_t rest = begin + JOURNAL_CHECKSUM;
    uint32_t checksum = record_checksum(base_span_make(buffer->data + rest, buffer->size - rest), position);
    for (int i = 0; i < JOURNAL_CHECKSUM; i++) {
        buffer->data[begin + (size_t)i] = (uint8_t)(checksum >> (8 * i));
    }
}

// ---- reading ----------------------------------------------------------------

// The record at `offset` of the file, if there is a whole and undamaged one.
static bool record_at(const struct consumer_journal_file *file, size_t offset,
                      struct consumer_journal_record *record)
{
    struct base_reader reader = {.rest =
                                     base_span_make(file->bytes.data + offset, file->bytes.size - offset)};
    uint32_t checksum = base_reader_u32(&reader);
    struct base_span rest = reader.rest;
    uint32_t size = base_reader_u32(&reader);
    uint32_t back = base_reader_u32(&reader);
    uint8_t kind = base_reader_u8(&reader);
    if (reader.failed || size > CONSUMER_JOURNAL_PAYLOAD_MAX || size > reader.rest.size || kind == 0 ||
        kind >= CONSUMER_JOURNAL_KINDS) {
        return false;
    }
    rest.size = CONSUMER_JOURNAL_FRAME - JOURNAL_CHECKSUM + size;
    uint64_t position = file->position + offset;
    *record = (struct consumer_journal_record){(enum consumer_journal_kind)kind, position, position - back,
                                               base_span_make(reader.rest.data, size)};
    return record_checksum(rest, record->position) == checksum;
}

// Is there a record of a group that begins after `offset`? Then what lies there had been synced.
static bool record_after(const struct consumer_journal_file *file, size_t offset)
{
    struct consumer_journal_record record;
    for (size_t at = offset + 1; at + CONSUMER_JOURNAL_FRAME <= file->bytes.size; at++) {
        if (record_at(file, at, &record) && record.group > file->position + offset) {
            return true;
        }
    }
    return false;
}

static int file_check_header(const struct consumer_journal_file *file, size_t *first,
                             struct base_error *error)
{
    struct base_reader reader = {.rest = file->bytes};
    struct base_span magic = base_reader_bytes(&reader, JOURNAL_MAGIC_SIZE);
    uint32_t version = base_reader_u32(&reader);
    uint64_t position = base_reader_u64(&reader);
    uint32_t size = base_reader_u32(&reader);
    uint64_t checksum = base_reader_u64(&reader);
    struct base_span header = base_span_make(file->bytes.data, CONSUMER_JOURNAL_HEADER - 8);
    if (reader.failed || memcmp(magic.data, JOURNAL_MAGIC, JOURNAL_MAGIC_SIZE) != 0 ||
        checksum != base_hash_bytes(header, 0)) {
        return base_error_set(error, BASE_EFORMAT, "%s: its header is damaged at offset 0", file->path);
    }
    if (version != JOURNAL_VERSION) {
        return base_error_set(error, BASE_EFORMAT, "%s has version %u, this program reads %d", file->path,
                              version, JOURNAL_VERSION);
    }
    if (position != file->position) {
        return base_error_set(error, BASE_EFORMAT, "%s begins at position %llu by its header", file->path,
                              (unsigned long long)position);
    }
    *first = size;
    return 0;
}

int consumer_journal_file_read(const struct consumer_journal_file *file,
                               int (*each)(void *context, const struct consumer_journal_record *record,
                                           struct base_error *error),
                               void *context, size_t *valid, struct base_error *error)
{
    // What a file begins with is never torn: it gets its name when that is durable.
    size_t first = 0;
    if (file_check_header(file, &first, error)) {
        return -1;
    }
    uint64_t durable = file->durable > file->position + first ? file->durable : file->position + first;
    size_t offset = CONSUMER_JOURNAL_HEADER;
    struct consumer_journal_record record;
    while (offset < file->bytes.size && record_at(file, offset, &record)) {
        if (each(context, &record, error)) {
            return base_error_prefix(error, "%s: the record at offset %zu", file->path, offset);
        }
        offset += CONSUMER_JOURNAL_FRAME + record.payload.size;
    }
    if (file->position + offset < durable || (offset < file->bytes.size && record_after(file, offset))) {
        return base_error_set(error, BASE_EFORMAT, "%s: the record at offset %zu is damaged or missing",
                              file->path, offset);
    }
    *valid = offset;
    return 0;
}

// ---- decisions --------------------------------------------------------------

void consumer_journal_file_decision(struct base_buffer *payload,
                                    const struct consumer_ingest_decision *decision)
{
    base_buffer_u32(payload, decision->rank);
    base_buffer_u32(payload, decision->lane);
    base_buffer_u64(payload, (uint64_t)decision->next);
    if (decision->what == CONSUMER_INGEST_RAISED) {
        base_buffer_u64(payload, (uint64_t)decision->watermark);
    }
}

int consumer_journal_file_decide(const struct consumer_journal_record *record,
                                 struct consumer_ingest_decision *decision)
{
    struct base_reader reader = {.rest = record->payload};
    struct consumer_ingest_decision read = {
        .what = record->kind == CONSUMER_JOURNAL_RAISED        ? CONSUMER_INGEST_RAISED
                : record->kind == CONSUMER_JOURNAL_UNDECODABLE ? CONSUMER_INGEST_UNDECODABLE
                                                               : CONSUMER_INGEST_FUTURE};
    read.rank = base_reader_u32(&reader);
    read.lane = base_reader_u32(&reader);
    read.next = (int64_t)base_reader_u64(&reader);
    read.watermark = read.what == CONSUMER_INGEST_RAISED ? (int64_t)base_reader_u64(&reader) : 0;
    if (reader.failed || reader.rest.size || read.next < 0 || read.watermark > 4 * CONSUMER_TIME_BOUND) {
        return -1;
    }
    *decision = read;
    return 0;
}
