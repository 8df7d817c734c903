// The item that a demonstration watches. See demo_item.h.
#include "daemon/demo_item.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "daemon/jsonline.h"
#include "daemon/produce.h"

enum { LINE_MAX_BYTES = 8192, REDIS_TIMEOUT_MS = 2000 };

struct daemon_demo_item {
    struct publisher_reader *reader;
    struct daemon_market_impression probe[DAEMON_DEMO_PROBES]; // a ring
    uint64_t seen;
    struct base_buffer columns[DAEMON_DEMO_PROBES];
};

struct daemon_demo_item *daemon_demo_item_new(const char *redis_socket, const char *model,
                                              struct base_error *error)
{
    struct publisher_reader_config config = {
        .redis = {.socket = redis_socket, .timeout_ms = REDIS_TIMEOUT_MS}, .model = model, .scorers = 1};
    struct publisher_reader *reader = publisher_reader_new(&config, error);
    if (!reader) {
        return NULL;
    }
    struct daemon_demo_item *item = base_alloc_zeroed(1, sizeof *item);
    item->reader = reader;
    return item;
}

void daemon_demo_item_free(struct daemon_demo_item *item)
{
    if (!item) {
        return;
    }
    publisher_reader_free(item->reader);
    for (int i = 0; i < DAEMON_DEMO_PROBES; i++) {
        base_buffer_free(&item->columns[i]);
    }
    free(item);
}

void daemon_demo_item_add(struct daemon_demo_item *item, const struct daemon_market_impression *impression)
{
    item->probe[item->seen++ % DAEMON_DEMO_PROBES] = *impression;
}

int daemon_demo_item_follow(struct daemon_demo_item *item, int timeout_ms, struct base_error *error)
{
    bool changed = false;
    if (publisher_reader_follow(item->reader, timeout_ms, &changed, error) == 0) {
        return 0;
    }
    if (error->code == BASE_ENOTFOUND || error->retriable) {
        nanosleep(&(struct timespec){.tv_nsec = timeout_ms % 1000 * 1000000L}, NULL);
        return 0;
    }
    return -1;
}

// The impression as a serving process would have it.
static size_t item_line(const struct daemon_market_impression *impression, char line[LINE_MAX_BYTES])
{
    char user[DAEMON_PRODUCE_ID_MAX], thing[DAEMON_PRODUCE_ID_MAX];
    daemon_produce_user_id(impression->user, user);
    daemon_produce_item_id(impression->item, thing);
    size_t at = 0;
#define PUT(...) at += (size_t)snprintf(line + at, LINE_MAX_BYTES - at, __VA_ARGS__)
    PUT("{\"user_id\":\"%s\",\"item_id\":\"%s\",\"categorical\":{", user, thing);
    for (uint32_t s = 0; s < DAEMON_MARKET_SLOTS; s++) {
        bool several = s == DAEMON_MARKET_SLOT_INTERESTS;
        const uint32_t *values = several ? impression->interests : &impression->slot[s];
        PUT("%s\"%s\":[", s ? "," : "", daemon_market_slot_name(s));
        for (uint32_t k = 0; k < (several ? DAEMON_MARKET_INTERESTS : 1u); k++) {
            PUT("%s\"%" PRIu32 "\"", k ? "," : "", values[k]);
        }
        PUT("]");
    }
    PUT("},\"numeric\":{");
    for (uint32_t n = 0; n < DAEMON_MARKET_NUMBERS; n++) {
        PUT("%s\"%s\":%.17g", n ? "," : "", daemon_market_number_name(n), impression->number[n]);
    }
    PUT("}}");
#undef PUT
    return at;
}

bool daemon_demo_item_compare(struct daemon_demo_item *item, const struct daemon_market *market, int64_t now,
                              double *predicted, double *truth, struct publisher_version *version)
{
    const struct trainer_descriptor *descriptor = publisher_reader_descriptor(item->reader);
    uint32_t count = item->seen < DAEMON_DEMO_PROBES ? (uint32_t)item->seen : DAEMON_DEMO_PROBES;
    if (!descriptor || count == 0) {
        return false;
    }
    struct base_error error;
    struct base_span spans[DAEMON_DEMO_PROBES];
    float scores[DAEMON_DEMO_PROBES * BASE_TASKS_MAX];
    uint32_t tasks = descriptor->config.loss.tasks;
    double sum = 0, true_sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        char line[LINE_MAX_BYTES];
        size_t size = item_line(&item->probe[i], line);
        if (daemon_jsonline_columns(line, size, descriptor, &item->columns[i], &error) < 0) {
            return false;
        }
        spans[i] = base_buffer_span(&item->columns[i]);
        true_sum += daemon_market_pctr_at(market, &item->probe[i], now);
    }
    if (publisher_reader_score(item->reader, spans, count, scores, NULL, version, &error) < 0) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        sum += (double)scores[i * tasks];
    }
    *predicted = sum / count;
    *truth = true_sum / count;
    return true;
}
