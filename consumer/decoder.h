// The decoder: from a message's bytes to an event. Knows framings, schemas and plans; one decoder a topic.
//
//   message.value -> framing (framing.c) -> writer schema (registry.c, or the file's own, or configured)
//     -> plan for (writer schema, configured paths) (plan.c), compiled once and kept -> consumer_event
//
// What cannot be decoded is not an error of the call: it is CONSUMER_DECODE_DEAD with a reason, and the
// caller sets the message aside (deadletter.h).
#ifndef CONSUMER_DECODER_H
#define CONSUMER_DECODER_H

#include "base/columns.h"
#include "consumer/registry.h"
#include "consumer/source.h"

enum consumer_framing {
    CONSUMER_FRAMING_CONFLUENT,     // 0x00, schema id (4 bytes, big-endian), body
    CONSUMER_FRAMING_SINGLE_OBJECT, // C3 01, CRC-64-AVRO fingerprint (8 bytes, little-endian), body
    CONSUMER_FRAMING_BARE,          // the body, written with the configured schema
};

enum { CONSUMER_TOUCH_FIELDS_MAX = 8 };

// A column to extract from an impression. `path` names a field of the record ("user.age"), or a map's entry
// ("categorical.brand"); a path that the reader schema does not know is refused at the start, except that any
// key may be asked of a map.
struct consumer_column {
    const char *name; // categorical: the slot, whose salt keys the values
    const char *path;
};

struct consumer_decoder_config {
    const char *topic; // for messages
    uint32_t rank;     // 0: an impression
    enum consumer_framing framing;
    const char *const
        *schemas;           // JSON texts: the reader schema first (NULL: the writer's own is the reader's);
    uint32_t schema_count;  //   with single-object framing all known writer schemas follow
    bool time_from_kafka;   // event time is the message's timestamp
    const char *event_time; // paths; NULL where not configured
    const char *event_id;
    const char *impression_id;
    const char *value;      // of an action
    const char *weight;     // of an impression: a number in [0, CONSUMER_WEIGHT_MAX]
    const char *propensity; // of an impression: a number in (0, 1]; its weight is divided by it,
    double propensity_min;  //   or by this, in (0, 1], where that is more
    const char *touch[CONSUMER_TOUCH_FIELDS_MAX];
    uint32_t touch_fields;
    const struct consumer_column *categorical; // impression only
    const struct consumer_column *numeric;
    struct base_columns_layout layout;
};

struct consumer_decoder;

// `registry` may be NULL unless framing is CONFLUENT; it must outlive the decoder and may be shared by all
// decoders of a thread. Errors: a schema that does not parse, a path it does not know, a path whose type
// cannot serve (the text names topic, path, types).
struct consumer_decoder *consumer_decoder_new(const struct consumer_decoder_config *config,
                                              struct consumer_registry *registry, struct base_error *error);
void consumer_decoder_free(struct consumer_decoder *decoder);

enum consumer_decode {
    CONSUMER_DECODE_EVENT,   // *event is set; its spans are valid until the next call or the message's end
    CONSUMER_DECODE_DEAD,    // undecodable: error->text is the reason
    CONSUMER_DECODE_BLOCKED, // a transient failure (registry): try the same message again later
};

// Decodes one message. `source` gives bare file messages their schema; may be NULL otherwise.
enum consumer_decode consumer_decoder_decode(struct consumer_decoder *decoder, struct consumer_source *source,
                                             const struct consumer_message *message,
                                             struct consumer_event *event, struct base_error *error);

// Counters for metrics: keys cut by BASE_COLUMN_KEYS_MAX.
uint64_t consumer_decoder_cut_keys(const struct consumer_decoder *decoder);

#endif
