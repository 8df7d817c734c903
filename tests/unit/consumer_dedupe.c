// Tests of the remembered event ids.
#include "consumer/dedupe.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "support_directory.h"

static char directory[SUPPORT_DIRECTORY_MAX];
static struct base_error error;
static struct consumer_dedupe *dedupe;

static void begin(void)
{
    support_directory_make(directory);
    struct consumer_dedupe_config config = {
        .directory = directory, .name = "click.seen", .segment_bytes = 512, .dedupe = 10};
    dedupe = consumer_dedupe_new(&config, &error);
    cr_assert(dedupe, "%s", error.text);
}

static void end(void)
{
    consumer_dedupe_free(dedupe);
    support_directory_remove(directory);
}

TestSuite(dedupe, .init = begin, .fini = end);

static bool check(const void *id, size_t size, int64_t now)
{
    bool duplicate;
    int checked = consumer_dedupe_check(dedupe, base_span_make(id, size), now, &duplicate, &error);
    cr_assert_eq(checked, 0, "%s", error.text);
    return duplicate;
}

Test(dedupe, remembers_until_inclusive_and_is_not_renewed)
{
    cr_assert(!check("a", 1, 0));
    cr_assert(check("a", 1, 0));
    cr_assert(check("a", 1, 10));
    cr_assert(!check("a", 1, 11));
    cr_assert(check("a", 1, 21));
    cr_assert(!check("a", 1, 22));
}

Test(dedupe, compares_bytes)
{
    cr_assert(!check("", 0, 0));
    cr_assert(!check("\0", 1, 0));
    cr_assert(!check("\0\0", 2, 0));
    cr_assert(!check("a", 1, 0));
    cr_assert(!check("A", 1, 0));
    cr_assert(check("", 0, 0));
    cr_assert(check("\0\0", 2, 0));
}

Test(dedupe, forgets_segments_after_their_time)
{
    char id[16];
    for (int64_t now = 0; now < 2000; now++) {
        int size = snprintf(id, sizeof id, "%lld", (long long)now);
        cr_assert(!check(id, (size_t)size, now));
        if (now >= 10) {
            size = snprintf(id, sizeof id, "%lld", (long long)now - 10);
            cr_assert(check(id, (size_t)size, now));
        }
        while (consumer_dedupe_drop_time(dedupe) <= now) {
            consumer_dedupe_drop(dedupe);
        }
        consumer_dedupe_release(dedupe);
    }
    cr_assert_lt(consumer_dedupe_count(dedupe), 40);
    cr_assert_lt(consumer_dedupe_disk_bytes(dedupe), 20 * 512);
    cr_assert_lt(consumer_dedupe_memory_bytes(dedupe), 32768);
    struct base_buffer state = {0};
    struct base_sync *sync = base_sync_new(NULL);
    cr_assert_eq(consumer_dedupe_save(dedupe, 1, &state, sync, &error), 0); // writes the buffer out
    base_sync_free(sync);
    base_buffer_free(&state);
}
