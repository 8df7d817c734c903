// A client of a schema registry that speaks Confluent's REST API; ids are cached in memory and on disk for
// ever.
#ifndef CONSUMER_REGISTRY_H
#define CONSUMER_REGISTRY_H

#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

struct consumer_registry_config {
    const char *url;                // base URL with its path ("http://127.0.0.1:8081/apis/ccompat/v7")
    const char *cache_dir;          // a directory for ids seen; NULL: memory only
    const char *user, *password;    // basic authentication, or NULL
    const char *token;              // bearer authentication, or NULL
    const char *ca_file;            // NULL: the system's
    int timeout_ms;                 // for one request
    int negative_ms;                // how long "no such id" and a failure are remembered
    const struct base_clock *clock; // NULL: the system's
};

struct consumer_registry;

struct consumer_registry *consumer_registry_new(const struct consumer_registry_config *config,
                                                struct base_error *error);
void consumer_registry_free(struct consumer_registry *registry);

// The schema's JSON text by id; *schema lives as long as the registry. Never waits: an id that is not cached
// is fetched by a thread of the registry, and until its answer is there the call fails with a retriable
// BASE_ENETWORK ("schema 7: asked"). An id that the registry does not know (its own 404 with error code 40403) or
// has as something other than Avro: BASE_ENOTFOUND, not retriable. Every other failure is retriable.
int consumer_registry_schema(struct consumer_registry *registry, uint32_t id, const char **schema,
                             struct base_error *error);

#endif
