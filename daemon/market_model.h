// The marketplace's truth: from an index to an impression. Internal to market.c; see market.h.
#ifndef DAEMON_MARKET_MODEL_H
#define DAEMON_MARKET_MODEL_H

#include "daemon/market.h"

struct daemon_market_model;

// Draws popularity and effects, and sets the intercepts so that the means of pCTR and pCVR are those
// configured.
struct daemon_market_model *daemon_market_model_new(const struct daemon_market_config *config);
void daemon_market_model_free(struct daemon_market_model *model);

void daemon_market_model_impression(const struct daemon_market_model *model, uint64_t index,
                                    struct daemon_market_impression *impression);
double daemon_market_model_pctr(const struct daemon_market_model *model,
                                const struct daemon_market_impression *impression, int64_t time);
// Event time of a request's impressions; does not decrease with the request.
int64_t daemon_market_model_request_time(const struct daemon_market_model *model, uint64_t request);

#endif
