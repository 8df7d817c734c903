// Fuzzer of the journal's files: the input as it came, and as the payloads of records whose checksums fit,
// which are then cut short, or damaged in one byte. What is written comes back; damage is torn off or told.
#include <stdlib.h>

#include "base/hash.h"
#include "consumer/journal_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { POSITION = 1000 };

// Each record in turn, its decision written again.
static int each(void *context, const struct consumer_journal_record *record, struct base_error *error)
{
    struct consumer_ingest_decision decision;
    uint64_t *hash = context;
    *hash = base_hash_bytes(record->payload, *hash + record->position + record->kind);
    if (record->kind <= CONSUMER_JOURNAL_FUTURE && consumer_journal_file_decide(record, &decision) == 0) {
        struct base_buffer payload = {0};
        consumer_journal_file_decision(&payload, &decision);
        if (!base_span_equal(base_buffer_span(&payload), record->payload)) {
            abort();
        }
        base_buffer_free(&payload);
    }
    return record->payload.size == 77 ? base_error_set(error, BASE_ECONFLICT, "77") : 0;
}

// 0 with what was valid and its hash, or the error's code.
static int read_file(struct base_span bytes, uint64_t durable, size_t *valid, uint64_t *hash)
{
    const struct consumer_journal_file file = {"file", bytes, POSITION, durable};
    struct base_error error = {0};
    *hash = 0;
    if (consumer_journal_file_read(&file, each, hash, valid, &error) == 0) {
        if (*valid < CONSUMER_JOURNAL_HEADER || *valid > bytes.size) {
            abort();
        }
        return 0;
    }
    if ((error.code != BASE_EFORMAT && error.code != BASE_ECONFLICT) || !error.text[0]) {
        abort();
    }
    return (int)error.code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t valid;
    uint64_t hash, other;
    read_file(base_span_make(data, size), 0, &valid, &hash);

    // Two bytes say where the harm is done; then records of a kind, a size, and so many bytes.
    struct base_reader input = {.rest = base_span_make(data, size)};
    size_t harm = base_reader_u16(&input);
    struct base_buffer bytes = {0};
    consumer_journal_file_begin(&bytes, POSITION, CONSUMER_JOURNAL_HEADER);
    while (input.rest.size > 2) {
        uint8_t kind = base_reader_u8(&input);
        uint8_t length = base_reader_u8(&input);
        struct base_span payload =
            base_reader_bytes(&input, length < input.rest.size ? length : input.rest.size);
        consumer_journal_file_put(&bytes, POSITION + bytes.size, POSITION + bytes.size,
                                  (enum consumer_journal_kind)(1 + kind % (CONSUMER_JOURNAL_KINDS - 1)),
                                  payload);
    }
    int status = read_file(base_buffer_span(&bytes), 0, &valid, &hash);
    if (status == BASE_EFORMAT || (status == 0 && valid != bytes.size)) {
        abort();
    }
    if (status == 0) {
        harm = CONSUMER_JOURNAL_HEADER + harm % (bytes.size - CONSUMER_JOURNAL_HEADER + 1);
        if (read_file(base_span_make(bytes.data, harm), 0, &valid, &other) || valid > harm) {
            abort(); // cut short, it is a torn tail
        }
        if (valid < harm &&
            read_file(base_span_make(bytes.data, harm), POSITION + harm, &valid, &other) != BASE_EFORMAT) {
            abort(); // of what was durable nothing may be missing
        }
        if (harm < bytes.size) {
            bytes.data[harm] ^= 1;
            if (read_file(base_buffer_span(&bytes), 0, &valid, &other) == 0 && valid > harm) {
                abort();
            }
        }
    }
    base_buffer_free(&bytes);
    return 0;
}
