// The source in status.json: a few numbers out of librdkafka's statistics, and what went wrong last.
#ifndef DAEMON_STATUS_SOURCE_H
#define DAEMON_STATUS_SOURCE_H

#include "daemon/config.h"

// Zero-initialised: nothing is known.
struct daemon_status_source {
    bool known; // statistics were read
    uint32_t brokers, brokers_up;
    int64_t moment_us;                  // of the statistics, a monotonic clock's
    uint64_t messages, bytes;           // received until then
    double messages_per_s, bytes_per_s; // between the last two statistics
    int64_t lag[CONSUMER_TOPICS_MAX];   // [rank] messages that have not been taken; -1: not known
    struct base_error trouble;          // the last one that heals by itself; BASE_OK: there was none
    int64_t trouble_ms;                 // when, by the wall clock
};

// Reads a text of consumer_source_operations.statistics into `source`, over what was read before. NULL, and a
// text that is no JSON object, changes nothing.
void daemon_status_source_read(struct daemon_status_source *source, const struct daemon_config *config,
                               const char *statistics);

#endif
