// The sentence for a log that is not as it was. See log_changed.h.
#include "consumer/log_changed.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    LOG_FRAME = 40, // characters of a sentence around its topic, what happened, and the command
    LOG_NAME = 20,  // of a topic's name where it does not fit twice
};

int consumer_log_changed(struct base_error *error, enum base_error_code code, const char *topic,
                         uint32_t lane, const char *arguments, const char *what, ...)
{
    char text[BASE_ERROR_TEXT_MAX], command[BASE_ERROR_TEXT_MAX];
    va_list list;
    va_start(list, what);
    vsnprintf(text, sizeof text, what, list);
    va_end(list);
    int length = snprintf(command, sizeof command, "freshet skip -c FILE --topic %s --partition %u %s", topic,
                          lane, arguments);
    int room = BASE_ERROR_TEXT_MAX - LOG_FRAME - length; // the command has to be whole
    int name = (int)strlen(topic) + (int)strlen(text) > room ? LOG_NAME : (int)strlen(topic);
    base_error_set(error, code, "topic %.*s, partition %u: %.*s: %s", name, topic, lane,
                   room - name > 0 ? room - name : 0, text, command);
    error->fatal = true;
    return -1;
}

int consumer_log_lacks(struct base_error *error, const char *topic, uint32_t lane, int64_t wanted,
                       int64_t low, int64_t high)
{
    char arguments[64];
    if (wanted < low) {
        snprintf(arguments, sizeof arguments, "--to %lld", (long long)low);
        return consumer_log_changed(error, BASE_ENOTFOUND, topic, lane, arguments,
                                    "offset %lld is gone, the log begins at %lld; to go on without what lay "
                                    "between",
                                    (long long)wanted, (long long)low);
    }
    return consumer_log_changed(
        error, BASE_ENOTFOUND, topic, lane, CONSUMER_LOG_NEW,
        "offset %lld is beyond the log's end at %lld: it was truncated, or the topic was "
        "made anew; to go on with what it holds now, from its start (or its end: --to "
        "latest)",
        (long long)wanted, (long long)high);
}
