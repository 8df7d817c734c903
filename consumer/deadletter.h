// Dead letters: messages that could not be used, in Avro object container files that an operator can read.
//
// Record: topic, partition, offset, timestamp (null if none), key (null), value (null), reason, wall time.
#ifndef CONSUMER_DEADLETTER_H
#define CONSUMER_DEADLETTER_H

#include "consumer/source.h"

struct consumer_deadletter;

// Appends to files under `directory` (made if missing), a new one at each open and at each `max_bytes`; the
// oldest are never removed by us. Creates a file only with the first letter.
struct consumer_deadletter *consumer_deadletter_new(const char *directory, uint64_t max_bytes,
                                                    struct base_error *error);
int consumer_deadletter_add(struct consumer_deadletter *deadletter, const char *topic,
                            const struct consumer_message *message, const char *reason, int64_t wall_ms,
                            struct base_error *error);
// Makes what was added durable (flush, fdatasync).
int consumer_deadletter_sync(struct consumer_deadletter *deadletter, struct base_error *error);
uint64_t consumer_deadletter_count(const struct consumer_deadletter *deadletter);
void consumer_deadletter_free(struct consumer_deadletter *deadletter);

#endif
