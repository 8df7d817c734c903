// An embedded Kafka broker for demonstrations and tests: librdkafka's mock cluster in a process of its own.
//
// Real protocol over 127.0.0.1, but no disk, and a partition keeps its newest 5 MiB or 100,000 message sets:
// whoever produces must not run ahead of whoever consumes by more than that.
#ifndef DAEMON_BROKER_H
#define DAEMON_BROKER_H

#include <stdint.h>

#include "base/error.h"

struct daemon_broker;

// Forks, so call it before any thread is started. The child ends with daemon_broker_free, or with us.
struct daemon_broker *daemon_broker_new(const char *const *topics, uint32_t count, uint32_t partitions,
                                        struct base_error *error);
// "127.0.0.1:PORT"; lives as long as the broker.
const char *daemon_broker_bootstrap(const struct daemon_broker *broker);
void daemon_broker_free(struct daemon_broker *broker);

#endif
