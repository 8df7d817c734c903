// What librdkafka complains of, from any of its threads: kept until ingest asks. Private to kafka*.c.
#ifndef CONSUMER_KAFKA_TROUBLE_H
#define CONSUMER_KAFKA_TROUBLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"

enum { CONSUMER_KAFKA_TEXT_MAX = 256 };

struct consumer_kafka_trouble {
    pthread_mutex_t mutex;
    atomic_bool any; // one of the two below is set; lets the hot path look without the mutex
    bool lasting;    // nothing can be read any more
    bool passing;    // heals by itself; told once
    struct base_error lasting_error;
    struct base_error passing_error;
    char last[CONSUMER_KAFKA_TEXT_MAX]; // the last text of librdkafka's, for messages of ours; "": none
};

void consumer_kafka_trouble_init(struct consumer_kafka_trouble *trouble);
void consumer_kafka_trouble_done(struct consumer_kafka_trouble *trouble);

// Both keep the first error until it is taken. Any thread.
void consumer_kafka_trouble_last(struct consumer_kafka_trouble *trouble, const struct base_error *error);
void consumer_kafka_trouble_pass(struct consumer_kafka_trouble *trouble, const struct base_error *error);

// Keeps a text of librdkafka's (a log line, a reason). Any thread.
void consumer_kafka_trouble_note(struct consumer_kafka_trouble *trouble, const char *text);

// -1 with the lasting error, each time, or with the passing one, once; else 0. Any thread.
int consumer_kafka_trouble_take(struct consumer_kafka_trouble *trouble, struct base_error *error);
// As above, the lasting error only.
int consumer_kafka_trouble_check(struct consumer_kafka_trouble *trouble, struct base_error *error);

// Copies the last text, or "no answer", into `text` of CONSUMER_KAFKA_TEXT_MAX bytes.
void consumer_kafka_trouble_text(struct consumer_kafka_trouble *trouble, char *text);

#endif
