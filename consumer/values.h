// Values of joined actions, until their samples are emitted: a map from (record, action) to a float. In
// memory only; the journey logs say them again after a restart. Thread: one at a time.
#ifndef CONSUMER_VALUES_H
#define CONSUMER_VALUES_H

#include <stdint.h>

struct consumer_values;

struct consumer_values *consumer_values_new(void);
void consumer_values_free(struct consumer_values *values); // takes NULL

// `rank` is below CONSUMER_TOPICS_MAX, `number` below 2^56. A value that is there is replaced.
void consumer_values_put(struct consumer_values *values, uint64_t number, uint32_t rank, float value);
// NaN: there is none.
float consumer_values_get(const struct consumer_values *values, uint64_t number, uint32_t rank);
// Forgets the value, if there is one.
void consumer_values_remove(struct consumer_values *values, uint64_t number, uint32_t rank);
// Forgets those of an action at all records below `number`.
void consumer_values_remove_below(struct consumer_values *values, uint64_t number, uint32_t rank);

uint64_t consumer_values_count(const struct consumer_values *values);
uint64_t consumer_values_bytes(const struct consumer_values *values);

#endif
