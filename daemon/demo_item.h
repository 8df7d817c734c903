// One item of the demonstration: what the model that serving processes read from Redis predicts for it, and
// what is true. Both are means over the same recent impressions of the item, true pCTR taken as of now.
#ifndef DAEMON_DEMO_ITEM_H
#define DAEMON_DEMO_ITEM_H

#include "daemon/market.h"
#include "publisher/reader.h"

enum { DAEMON_DEMO_PROBES = 128 }; // most recent impressions of the item

struct daemon_demo_item;

// Reads the model `model` at `redis_socket`; it need not be there yet. Both strings are borrowed.
struct daemon_demo_item *daemon_demo_item_new(const char *redis_socket, const char *model,
                                              struct base_error *error);
void daemon_demo_item_free(struct daemon_demo_item *item);

// Remembers an impression of the item.
void daemon_demo_item_add(struct daemon_demo_item *item, const struct daemon_market_impression *impression);
// Waits up to timeout_ms for a newer version and loads it. 0, also while there is none yet; else what the
// reader says.
int daemon_demo_item_follow(struct daemon_demo_item *item, int timeout_ms, struct base_error *error);
// Means of predicted and true pCTR at `now`, and the version that predicted. False: no version or impression
// yet.
bool daemon_demo_item_compare(struct daemon_demo_item *item, const struct daemon_market *market, int64_t now,
                              double *predicted, double *truth, struct publisher_version *version);

#endif
