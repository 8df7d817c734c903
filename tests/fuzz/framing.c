// Fuzzes the decoder from the outside: the first byte chooses topic and framing, the rest is a message.
#include <stdlib.h>

#include "base/bytes.h"
#include "consumer/decoder.h"
#include "consumer/framing.h"
#include "consumer/schemas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct consumer_decoder *decoder_of(bool impression, enum consumer_framing framing)
{
    static const struct consumer_column categorical[] = {{"brand", "categorical.brand"}, {"user", "user_id"}};
    static const struct consumer_column numeric[] = {{"price", "numeric.price"}};
    const char *schemas[] = {impression ? consumer_schemas_impression : consumer_schemas_click};
    struct consumer_decoder_config config = {.topic = "t",
                                             .rank = !impression,
                                             .framing = framing,
                                             .schemas = schemas,
                                             .schema_count = 1,
                                             .event_time = "event_time",
                                             .impression_id = "impression_id",
                                             .touch = {"user_id", "item_id"},
                                             .touch_fields = 2,
                                             .weight = impression ? "numeric.weight" : NULL,
                                             .propensity = impression ? "position" : NULL,
                                             .propensity_min = 0.1,
                                             .categorical = categorical,
                                             .numeric = numeric,
                                             .layout = {.categorical = 2, .numeric = 1}};
    struct base_error error;
    return consumer_decoder_new(&config, NULL, &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct consumer_decoder *decoders[4];
    if (!decoders[0]) {
        for (int i = 0; i < 4; i++) {
            decoders[i] = decoder_of(i & 1, i & 2 ? CONSUMER_FRAMING_SINGLE_OBJECT : CONSUMER_FRAMING_BARE);
        }
    }
    if (size == 0) {
        return 0;
    }
    struct base_error error;
    struct consumer_frame frame;
    struct consumer_event event;
    struct consumer_message message = {.value = base_span_make(data + 1, size - 1)};
    if (consumer_framing_parse(CONSUMER_FRAMING_CONFLUENT, message.value, &frame, &error) == 0 &&
        frame.body.data + frame.body.size != data + size) {
        abort();
    }
    enum consumer_decode answer =
        consumer_decoder_decode(decoders[data[0] & 3], NULL, &message, &event, &error);
    if (answer == CONSUMER_DECODE_EVENT &&
        (event.impression_id.size > CONSUMER_ID_MAX || event.touch.size > CONSUMER_ID_MAX ||
         event.event_time > CONSUMER_TIME_BOUND || event.event_time < -CONSUMER_TIME_BOUND)) {
        abort();
    }
    if (answer == CONSUMER_DECODE_BLOCKED) {
        abort();
    }
    return 0;
}
