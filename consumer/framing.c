// Framings: Confluent's and Avro's single-object encoding. See framing.h.
#include "consumer/framing.h"

int consumer_framing_parse(enum consumer_framing framing, struct base_span value,
                           struct consumer_frame *frame, struct base_error *error)
{
    struct base_reader reader = {.rest = value};
    uint64_t schema = 0;
    if (framing == CONSUMER_FRAMING_CONFLUENT) {
        if (value.size < 5) {
            return base_error_set(error, BASE_EFORMAT, "framing: %zu bytes are too few for a schema id",
                                  value.size);
        }
        uint8_t magic = base_reader_u8(&reader);
        if (magic != 0) {
            return base_error_set(error, BASE_EFORMAT, "framing: the first byte is 0x%02x, not 0x00", magic);
        }
        for (int i = 0; i < 4; i++) {
            schema = schema << 8 | base_reader_u8(&reader);
        }
    } else if (framing == CONSUMER_FRAMING_SINGLE_OBJECT) {
        if (value.size < 10) {
            return base_error_set(error, BASE_EFORMAT, "framing: %zu bytes are too few for a fingerprint",
                                  value.size);
        }
        if (base_reader_u8(&reader) != 0xc3 || base_reader_u8(&reader) != 0x01) {
            return base_error_set(error, BASE_EFORMAT, "framing: the first bytes are not C3 01");
        }
        schema = base_reader_u64(&reader);
    }
    *frame = (struct consumer_frame){.schema = schema, .body = reader.rest};
    return 0;
}
