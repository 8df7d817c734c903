// The sentences about a log that has changed, word for word: docs/operations.md quotes them.
#include "consumer/log_changed.h"

#include <criterion/criterion.h>
#include <string.h>

Test(consumer_log_changed, sentences)
{
    struct base_error error;
    cr_assert_eq(consumer_log_lacks(&error, "clicks", 3, 900, 1200, 5000), -1);
    cr_assert_eq(error.code, BASE_ENOTFOUND);
    cr_assert(error.fatal && !error.retriable);
    cr_assert_str_eq(error.text,
                     "topic clicks, partition 3: offset 900 is gone, the log begins at 1200; to go on "
                     "without what lay between: freshet skip -c FILE --topic clicks --partition 3 --to "
                     "1200");
    cr_assert_eq(consumer_log_lacks(&error, "clicks", 3, 900, 0, 80), -1);
    cr_assert_str_eq(error.text,
                     "topic clicks, partition 3: offset 900 is beyond the log's end at 80: it was "
                     "truncated, or the topic was made anew; to go on with what it holds now, from its start "
                     "(or its end: --to latest): freshet skip -c FILE --topic clicks --partition 3 "
                     "--new-log --to earliest");
    cr_assert_eq(consumer_log_changed(&error, BASE_EFORMAT, "clicks", 3, "--to OFFSET", "it is %s", "odd"),
                 -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert_str_eq(error.text, "topic clicks, partition 3: it is odd: freshet skip -c FILE --topic clicks "
                                 "--partition 3 --to OFFSET");
}

// Kafka's names have up to 249 characters, and the command has to be whole.
Test(consumer_log_changed, a_long_topic)
{
    char topic[250];
    struct base_error error;
    memset(topic, 't', sizeof topic - 1);
    topic[sizeof topic - 1] = '\0';
    consumer_log_lacks(&error, topic, 4095, INT64_MAX - 1, 0, INT64_MAX - 2);
    cr_assert(strstr(error.text, "ttt --partition 4095 --new-log --to earliest"), "%s", error.text);
    cr_assert(strstr(error.text,
                     "topic tttttttttttttttttttt, partition 4095: offset 9223372036854775806 is beyond"),
              "%s", error.text);
}
