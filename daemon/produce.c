// An event as an Avro record. See produce.h.
//
// The fields are written in the order of schemas/*.avsc; a test reads them back with Avro C and those
// schemas.
#include "daemon/produce.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "consumer/schema.h"
#include "consumer/schemas.h"

const char *daemon_produce_schema(uint32_t rank)
{
    static const char *const schemas[DAEMON_MARKET_RANKS] = {
        consumer_schemas_impression, consumer_schemas_click, consumer_schemas_purchase};
    return schemas[rank];
}

void daemon_produce_impression_id(uint64_t seed, uint64_t index, char id[DAEMON_PRODUCE_ID_MAX])
{
    snprintf(id, DAEMON_PRODUCE_ID_MAX, "%" PRIx64 "-%" PRIx64, seed, index);
}

void daemon_produce_user_id(uint32_t user, char id[DAEMON_PRODUCE_ID_MAX])
{
    snprintf(id, DAEMON_PRODUCE_ID_MAX, "u%" PRIu32, user);
}

void daemon_produce_item_id(uint32_t item, char id[DAEMON_PRODUCE_ID_MAX])
{
    snprintf(id, DAEMON_PRODUCE_ID_MAX, "i%" PRIu32, item);
}

static void put_string(struct base_buffer *body, const char *text)
{
    consumer_schema_put_bytes(body, base_span_string(text));
}

static void put_double(struct base_buffer *body, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    base_buffer_u64(body, bits);
}

// A slot's value in decimal: what put_string(snprintf("%u")) would write, without the cost.
static void put_number_text(struct base_buffer *body, uint32_t value)
{
    uint8_t digits[10];
    size_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    consumer_schema_put_bytes(body, base_span_make(digits + at, sizeof digits - at));
}

static void put_features(struct base_buffer *body, const struct daemon_market_impression *impression)
{
    consumer_schema_put_long(body, DAEMON_MARKET_SLOTS); // map of arrays
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        bool several = s == DAEMON_MARKET_SLOT_INTERESTS;
        uint32_t count = several ? DAEMON_MARKET_INTERESTS : 1;
        const uint32_t *values = several ? impression->interests : &impression->slot[s];
        put_string(body, daemon_market_slot_name(s));
        consumer_schema_put_long(body, count);
        for (uint32_t k = 0; k < count; k++) {
            put_number_text(body, values[k]);
        }
        consumer_schema_put_long(body, 0);
    }
    consumer_schema_put_long(body, 0);
    consumer_schema_put_long(body, DAEMON_MARKET_NUMBERS); // map of doubles
    for (uint32_t n = 0; n < DAEMON_MARKET_NUMBERS; n++) {
        put_string(body, daemon_market_number_name(n));
        put_double(body, impression->number[n]);
    }
    consumer_schema_put_long(body, 0);
}

// A union's branch: 0 is null, 1 the value.
static void put_branch(struct base_buffer *body, int branch)
{
    consumer_schema_put_long(body, branch);
}

static void encode_impression(const struct daemon_market_impression *impression, const char *impression_id,
                              const char *user, const char *item, struct base_buffer *body)
{
    char request[DAEMON_PRODUCE_ID_MAX];
    snprintf(request, sizeof request, "r%" PRIx64, impression->request);
    put_string(body, impression_id);
    consumer_schema_put_long(body, impression->event_time);
    put_string(body, user);
    put_string(body, item);
    put_branch(body, 1);
    put_string(body, request);
    put_branch(body, 1);
    consumer_schema_put_long(body, impression->position);
    put_features(body, impression);
}

static void encode_action(const struct daemon_market_event *event,
                          const struct daemon_market_impression *impression, const char *impression_id,
                          const char *user, const char *item, struct base_buffer *body)
{
    static const char letters[DAEMON_MARKET_RANKS] = {'m', 'c', 'p'};
    char id[2 * DAEMON_PRODUCE_ID_MAX];
    if (event->ordinal == 0) {
        snprintf(id, sizeof id, "%c%s", letters[event->rank], impression_id);
    } else {
        snprintf(id, sizeof id, "%c%s.%" PRIu32, letters[event->rank], impression_id, event->ordinal);
    }
    put_branch(body, 1);
    put_string(body, id);
    consumer_schema_put_long(body, event->event_time);
    put_branch(body, event->reference != DAEMON_MARKET_NULL);
    if (event->reference == DAEMON_MARKET_UNKNOWN) {
        snprintf(id, sizeof id, "?%s", impression_id);
        put_string(body, id);
    } else if (event->reference == DAEMON_MARKET_OWN) {
        put_string(body, impression_id);
    }
    put_string(body, user);
    put_string(body, item);
    // What was paid: the price is a standard normal on a logarithmic scale about 20.
    put_branch(body, event->rank == 2);
    if (event->rank == 2) {
        put_double(body, round(2000 * exp(impression->number[0])) / 100);
    }
}

void daemon_produce_encode(uint64_t seed, const struct daemon_market_event *event,
                           const struct daemon_market_impression *impression,
                           struct daemon_produce_record *record)
{
    char id[DAEMON_PRODUCE_ID_MAX], user[DAEMON_PRODUCE_ID_MAX], item[DAEMON_PRODUCE_ID_MAX];
    daemon_produce_impression_id(seed, impression->index, id);
    daemon_produce_user_id(impression->user, user);
    daemon_produce_item_id(impression->item, item);
    record->rank = event->rank;
    record->lane = impression->lane;
    record->timestamp = event->event_time;
    base_buffer_clear(&record->key);
    base_buffer_append(&record->key, user, strlen(user));
    base_buffer_clear(&record->body);
    if (event->rank == 0) {
        encode_impression(impression, id, user, item, &record->body);
    } else {
        encode_action(event, impression, id, user, item, &record->body);
    }
}

void daemon_produce_record_free(struct daemon_produce_record *record)
{
    base_buffer_free(&record->key);
    base_buffer_free(&record->body);
}
