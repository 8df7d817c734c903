// What librdkafka complains of, handed from its threads to ingest. See kafka_trouble.h.
#include "consumer/kafka_trouble.h"

#include <stdio.h>
#include <string.h>

void consumer_kafka_trouble_init(struct consumer_kafka_trouble *trouble)
{
    memset(trouble, 0, sizeof *trouble);
    pthread_mutex_init(&trouble->mutex, NULL);
    atomic_init(&trouble->any, false);
}

void consumer_kafka_trouble_done(struct consumer_kafka_trouble *trouble)
{
    pthread_mutex_destroy(&trouble->mutex);
}

void consumer_kafka_trouble_last(struct consumer_kafka_trouble *trouble, const struct base_error *error)
{
    pthread_mutex_lock(&trouble->mutex);
    if (!trouble->lasting) {
        trouble->lasting = true;
        trouble->lasting_error = *error;
        atomic_store(&trouble->any, true);
    }
    pthread_mutex_unlock(&trouble->mutex);
}

void consumer_kafka_trouble_pass(struct consumer_kafka_trouble *trouble, const struct base_error *error)
{
    pthread_mutex_lock(&trouble->mutex);
    if (!trouble->passing) {
        trouble->passing = true;
        trouble->passing_error = *error;
        atomic_store(&trouble->any, true);
    }
    pthread_mutex_unlock(&trouble->mutex);
}

void consumer_kafka_trouble_note(struct consumer_kafka_trouble *trouble, const char *text)
{
    pthread_mutex_lock(&trouble->mutex);
    snprintf(trouble->last, sizeof trouble->last, "%s", text);
    pthread_mutex_unlock(&trouble->mutex);
}

int consumer_kafka_trouble_take(struct consumer_kafka_trouble *trouble, struct base_error *error)
{
    if (!atomic_load(&trouble->any)) {
        return 0;
    }
    int result = 0;
    pthread_mutex_lock(&trouble->mutex);
    if (trouble->lasting) {
        *error = trouble->lasting_error;
        result = -1;
    } else if (trouble->passing) {
        *error = trouble->passing_error;
        trouble->passing = false;
        atomic_store(&trouble->any, false);
        result = -1;
    }
    pthread_mutex_unlock(&trouble->mutex);
    return result;
}

int consumer_kafka_trouble_check(struct consumer_kafka_trouble *trouble, struct base_error *error)
{
    int result = 0;
    pthread_mutex_lock(&trouble->mutex);
    if (trouble->lasting) {
        *error = trouble->lasting_error;
        result = -1;
    }
    pthread_mutex_unlock(&trouble->mutex);
    return result;
}

void consumer_kafka_trouble_text(struct consumer_kafka_trouble *trouble, char *text)
{
    pthread_mutex_lock(&trouble->mutex);
    snprintf(text, CONSUMER_KAFKA_TEXT_MAX, "%s", trouble->last[0] ? trouble->last : "no answer");
    pthread_mutex_unlock(&trouble->mutex);
}
