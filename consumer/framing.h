// Framings: what stands before the body of an Avro message and names its writer schema.
#ifndef CONSUMER_FRAMING_H
#define CONSUMER_FRAMING_H

#include "base/error.h"
#include "consumer/decoder.h"

struct consumer_frame {
    uint64_t schema;       // CONFLUENT: the registry's id; SINGLE_OBJECT: the fingerprint; BARE: 0
    struct base_span body; // borrowed from the message
};

// Takes the framing off. -1: BASE_EFORMAT, why it is none.
int consumer_framing_parse(enum consumer_framing framing, struct base_span value,
                           struct consumer_frame *frame, struct base_error *error);

#endif
