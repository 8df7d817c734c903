// The sentence for a log that is not as it was when it was read: what happened, and the command by which the
// operator decides.
#ifndef CONSUMER_LOG_CHANGED_H
#define CONSUMER_LOG_CHANGED_H

#include <stdint.h>

#include "base/error.h"

// What a log that is another one leaves to decide.
#define CONSUMER_LOG_NEW "--new-log --to earliest"

// "topic T, partition P: <what>: freshet skip -c FILE --topic T --partition P <arguments>", fatal: nothing is
// learned before the operator has decided. Returns -1.
int consumer_log_changed(struct base_error *error, enum base_error_code code, const char *topic,
                         uint32_t lane, const char *arguments, const char *what, ...)
    __attribute__((format(printf, 6, 7)));
// Offset `wanted` is not in a log that has [low, high). BASE_ENOTFOUND; returns -1.
int consumer_log_lacks(struct base_error *error, const char *topic, uint32_t lane, int64_t wanted,
                       int64_t low, int64_t high);

#endif
