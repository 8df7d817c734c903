// Generations: columns brought into the present order, the list saved and restored, and what a lane makes of
// impressions that are older than an action. That restarts change nothing is
// consumer_ingest_restart_property.c's.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "consumer/generations.h"
#include "consumer/lane.h"
#include "support_directory.h"

static struct base_error error;

static struct consumer_generations_columns columns_of(const char *const *categorical, uint32_t categoricals,
                                                      const char *const *numeric, uint32_t numerics)
{
    return (struct consumer_generations_columns){{categoricals, numerics}, categorical, numeric};
}

static const char *const two_keys[] = {"a", "b"}, *const three_keys[] = {"c", "b", "a"},
                         *const one_key[] = {"b"}, *const one_number[] = {"x"},
                         *const two_numbers[] = {"y", "x"};

// Two keys of column a, one of b; x = 0.5.
static const struct {
    uint16_t count[4];
    double x;
    uint64_t key[3];
} packed = {{2, 1}, 0.5, {10, 11, 20}};

static struct consumer_generations *grow(const struct consumer_generations *from,
                                         struct consumer_generations_columns columns, uint32_t ranks,
                                         uint32_t held)
{
    struct base_buffer state = {0};
    consumer_generations_save(from, &state);
    struct consumer_generations *to = consumer_generations_new(&columns, ranks);
    cr_assert_eq(consumer_generations_restore(to, base_buffer_span(&state), &error), 0, "%s", error.text);
    cr_assert_eq(consumer_generations_settle(to, held, &error), 0, "%s", error.text);
    base_buffer_free(&state);
    return to;
}

Test(generations, old_columns_come_into_the_present_order)
{
    struct consumer_generations *first =
        consumer_generations_new(&(struct consumer_generations_columns){{2, 1}, two_keys, one_number}, 3);
    struct consumer_arena arena = {0};
    struct base_span columns = base_span_make(&packed, sizeof packed);
    cr_assert_eq(consumer_generations_columns(first, 0, &arena, &columns, &error), 0);
    cr_assert_eq(columns.data, (const void *)&packed, "nothing to do");
    struct consumer_generations *second = grow(first, columns_of(three_keys, 3, two_numbers, 2), 4, 1);
    cr_assert_eq(consumer_generations_present(second), 1);
    cr_assert_eq(consumer_generations_ranks(second, 0), 3);
    cr_assert_eq(consumer_generations_ranks(second, 1), 4);
    cr_assert_eq(consumer_generations_columns(second, 0, &arena, &columns, &error), 0);
    struct base_columns view;
    cr_assert(base_columns_view(columns, (struct base_columns_layout){3, 2}, &view));
    cr_assert(view.count[0] == 0 && view.count[1] == 1 && view.count[2] == 2);
    cr_assert(view.keys[0] == 20 && view.keys[1] == 10 && view.keys[2] == 11);
    cr_assert(isnan(view.numeric[0]) && view.numeric[1] == 0.5);
    // What is no more is left out.
    struct consumer_generations *third = grow(second, columns_of(one_key, 1, NULL, 0), 4, 3);
    columns = base_span_make(&packed, sizeof packed);
    cr_assert_eq(consumer_generations_columns(third, 0, &arena, &columns, &error), 0);
    cr_assert(base_columns_view(columns, (struct base_columns_layout){1, 0}, &view));
    cr_assert(view.count[0] == 1 && view.keys[0] == 20);
    // A journey that is not of its generation's columns.
    columns = base_span_make(&packed, sizeof packed - 8);
    cr_assert_eq(consumer_generations_columns(third, 0, &arena, &columns, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    consumer_arena_free(&arena);
    consumer_generations_free(first);
    consumer_generations_free(second);
    consumer_generations_free(third);
}

Test(generations, what_no_log_holds_is_forgotten)
{
    struct consumer_generations *first =
        consumer_generations_new(&(struct consumer_generations_columns){{2, 1}, two_keys, one_number}, 3);
    // Nothing has changed: the number goes on, whether something of it is held or not.
    struct consumer_generations *same = grow(first, columns_of(two_keys, 2, one_number, 1), 3, 0);
    cr_assert_eq(consumer_generations_present(same), 0);
    consumer_generations_free(same);
    // Something has, and nothing is held: the number is free again.
    struct consumer_generations *second = grow(first, columns_of(one_key, 1, NULL, 0), 3, 0);
    cr_assert_eq(consumer_generations_present(second), 0);
    // Held records of a generation that nobody knows.
    struct base_buffer state = {0};
    consumer_generations_save(second, &state);
    struct consumer_generations *other =
        consumer_generations_new(&(struct consumer_generations_columns){{1, 0}, one_key, NULL}, 3);
    cr_assert_eq(consumer_generations_restore(other, base_buffer_span(&state), &error), 0);
    cr_assert_eq(consumer_generations_settle(other, 4, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    consumer_generations_free(other);
    base_buffer_free(&state);
    consumer_generations_free(first);
    consumer_generations_free(second);
}

Test(generations, there_are_only_so_many_at_once)
{
    struct consumer_generations *now =
        consumer_generations_new(&(struct consumer_generations_columns){{1, 0}, one_key, NULL}, 2);
    uint32_t held = 0;
    for (uint32_t i = 1; i < CONSUMER_GENERATIONS_MAX; i++) {
        held |= 1u << consumer_generations_present(now);
        struct consumer_generations *next =
            grow(now, i % 2 ? columns_of(two_keys, 2, NULL, 0) : columns_of(one_key, 1, NULL, 0), 2, held);
        consumer_generations_free(now);
        now = next;
        cr_assert_eq(consumer_generations_present(now), i);
    }
    held |= 1u << consumer_generations_present(now);
    struct base_buffer state = {0};
    consumer_generations_save(now, &state);
    for (int once = 0; once < 2; once++) { // the second time the oldest has left its window
        struct consumer_generations *more =
            consumer_generations_new(&(struct consumer_generations_columns){{3, 0}, three_keys, NULL}, 2);
        cr_assert_eq(consumer_generations_restore(more, base_buffer_span(&state), &error), 0);
        int status = consumer_generations_settle(more, once ? held & ~1u : held, &error);
        cr_assert_eq(status, once ? 0 : -1);
        cr_assert(once || (error.code == BASE_ELIMIT && strstr(error.text, "wait until")), "%s", error.text);
        consumer_generations_free(more);
    }
    consumer_generations_free(now);
    base_buffer_free(&state);
}

Test(generations, a_damaged_list_is_refused)
{
    struct base_buffer state = {0};
    struct consumer_generations *first =
        consumer_generations_new(&(struct consumer_generations_columns){{2, 1}, two_keys, one_number}, 3);
    consumer_generations_save(first, &state);
    for (size_t size = 0; size < state.size; size++) {
        struct consumer_generations *other =
            consumer_generations_new(&(struct consumer_generations_columns){{2, 1}, two_keys, one_number}, 3);
        cr_assert_eq(consumer_generations_restore(other, base_span_make(state.data, size), &error), -1);
        cr_assert_eq(error.code, BASE_EFORMAT);
        consumer_generations_free(other);
    }
    consumer_generations_free(first);
    base_buffer_free(&state);
}

// ---- a lane ----

struct heard {
    char text[1024];
};

static int hear(void *context, const struct base_sample *sample, struct base_error *unused)
{
    (void)unused;
    struct heard *heard = context;
    size_t size = strlen(heard->text);
    snprintf(heard->text + size, sizeof heard->text - size, "%s %.*s %x/%x; ", base_kind_name(sample->kind),
             (int)sample->impression_id.size, (const char *)sample->impression_id.data, sample->mask,
             (unsigned)(sample->label[0] | sample->label[1] << 1 | sample->label[2] << 2) & sample->mask);
    return 0;
}

static void push(struct consumer_lane *lane, uint32_t rank, int64_t time, const char *id, const char *of)
{
    const struct consumer_event event = {.rank = rank,
                                         .offset = time,
                                         .event_time = time,
                                         .event_id = base_span_string(id),
                                         .impression_id = base_span_string(of),
                                         .value = NAN,
                                         .columns = rank ? (struct base_span){0}
                                                         : base_span_make(&packed, sizeof packed)};
    cr_assert_eq(consumer_lane_push(lane, &event, &error), 0, "%s", error.text);
}

// Click, purchase; then "save" on the click and "like" on the impression are new.
static const struct consumer_lane_config grown_lane = {
    .ranks = 5,
    .action = {[1] = {.name = "click", .wait = 10, .window = 100},
               [2] = {.name = "purchase", .parent = 1, .wait = 10, .window = 100},
               [3] = {.name = "save", .parent = 1, .side = true, .wait = 10, .window = 100},
               [4] = {.name = "like", .side = true, .wait = 10, .window = 100}},
    .dedupe = {100, 100, 100, 100, 100},
    .orphan_timeout = 50,
    .keep_negatives = 1,
    .segment_bytes = 4096,
};

struct growth {
    char directory[SUPPORT_DIRECTORY_MAX];
    struct consumer_generations *first, *second;
    struct consumer_lane_config config; // after it
    struct base_buffer state;           // before it
};

// What a lane of click and purchase saved, with three impressions, of which one was clicked.
static void growth_begin(struct growth *growth)
{
    *growth = (struct growth){.config = grown_lane};
    support_directory_make(growth->directory);
    growth->first =
        consumer_generations_new(&(struct consumer_generations_columns){{2, 1}, two_keys, one_number}, 3);
    growth->second = grow(growth->first, columns_of(two_keys, 2, one_number, 1), 5, 1);
    growth->config.directory = growth->directory;
    struct consumer_lane_config config = growth->config;
    config.ranks = 3;
    config.generations = growth->first;
    growth->config.generations = growth->second;
    struct consumer_lane *lane = consumer_lane_new(&config, &error);
    cr_assert(lane, "%s", error.text);
    struct heard heard = {""};
    push(lane, 0, 1, "i", "i"); // clicked before the growth
    push(lane, 0, 2, "j", "j"); // and after it
    push(lane, 0, 3, "k", "k"); // never
    push(lane, 1, 5, "c", "i");
    for (uint32_t rank = 0; rank < 3; rank++) {
        consumer_lane_raise(lane, rank, 6);
    }
    cr_assert_eq(consumer_lane_run(lane, 5, hear, &heard, &error), 0);
    cr_assert_str_eq(heard.text, "");
    struct base_sync *sync = base_sync_new(NULL);
    cr_assert_eq(consumer_lane_save(lane, 1, &growth->state, sync, &error), 0);
    cr_assert_eq(base_sync_run(sync, &error), 0);
    base_sync_free(sync);
    consumer_lane_free(lane);
}

static void growth_end(struct growth *growth)
{
    base_buffer_free(&growth->state);
    consumer_generations_free(growth->first);
    consumer_generations_free(growth->second);
    support_directory_remove(growth->directory);
}

static struct consumer_lane *growth_restore(const struct growth *growth,
                                            const struct consumer_lane_config *config)
{
    struct base_reader reader = {base_buffer_span(&growth->state), false};
    return consumer_lane_restore(config, &reader, &error);
}

// A stage of the funnel cannot come, nor can an action go; what is remembered of ids may stay for longer, as
// of a topic that takes the longest window, not shorter.
Test(generations, what_is_no_growth_of_a_lane_is_refused)
{
    struct growth growth;
    growth_begin(&growth);
    struct consumer_lane_config other = growth.config;
    other.ranks = 4;
    other.action[3] =
        (struct consumer_action_config){.name = "return", .parent = 2, .wait = 10, .window = 100};
    cr_assert_null(growth_restore(&growth, &other));
    cr_assert(error.code == BASE_ECONFLICT && strstr(error.text, "return is new and a stage"), "%s",
              error.text);
    other = growth.config;
    other.ranks = 2;
    cr_assert_null(growth_restore(&growth, &other));
    cr_assert(error.code == BASE_ECONFLICT && strstr(error.text, "not removed"), "%s", error.text);
    other = growth.config;
    other.dedupe[2] = 50;
    cr_assert_null(growth_restore(&growth, &other));
    cr_assert(error.code == BASE_ECONFLICT && strstr(error.text, "purchase's dedupe"), "%s", error.text);
    growth_end(&growth);
}

Test(generations, an_action_is_not_asked_of_impressions_that_are_older)
{
    struct growth growth;
    growth_begin(&growth);
    growth.config.dedupe[1] = 200;
    struct consumer_lane *lane = growth_restore(&growth, &growth.config);
    cr_assert(lane, "%s", error.text);
    cr_assert_eq(consumer_lane_generations(lane), 1);
    struct heard heard = {""};
    for (uint32_t rank = 0; rank < 5; rank++) {
        consumer_lane_place(lane, rank, 6, 6);
    }
    push(lane, 0, 6, "n", "n"); // new: clicked, saved, liked
    push(lane, 0, 7, "m", "m"); // new: nothing
    push(lane, 1, 8, "d", "j");
    push(lane, 1, 9, "e", "n");
    push(lane, 3, 9, "s", "i");  // of an old impression's old click
    push(lane, 3, 10, "t", "j"); // of an old impression's new click
    push(lane, 3, 11, "u", "n");
    push(lane, 4, 11, "l", "k"); // of an old impression
    push(lane, 4, 12, "o", "n");
    push(lane, 4, 13, "p", "nowhere"); // waits
    for (uint32_t rank = 0; rank < 5; rank++) {
        consumer_lane_raise(lane, rank, 25);
    }
    cr_assert_eq(consumer_lane_run(lane, 24, hear, &heard, &error), 0, "%s", error.text);
    // Tasks: 1 click, 2 purchase, 4 save, 8 like. Of old impressions nothing is said of 4 and 8.
    cr_assert_str_eq(heard.text, "C1 i 1/1; C1 j 1/1; N0 k 3/0; C1 i 2/0; C1 n 1/1; C1 n 8/0; "
                                 "N0 m 7/0; N0 m 8/0; C1 j 2/0; C1 n 2/0; C1 n 4/4; ");
    const struct consumer_lane_counters *counters = consumer_lane_counters(lane);
    cr_assert(counters->beyond[3] == 2 && counters->joined[3] == 1);
    cr_assert(counters->beyond[4] == 1 && counters->joined[4] == 1 && counters->orphaned[4] == 1);
    consumer_lane_free(lane);
    growth_end(&growth);
}
