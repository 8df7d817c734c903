// Tests of a lane, rule by rule of docs/join.md: small stories of events, and what comes out, written down.
//
// A sample is written as "kind@due id mask/labels": tasks in the mask are c (click), p (purchase) and further
// letters by task; labels are digits, all tasks.
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <xxhash.h>

#include "consumer/lane.h"
#include "support_directory.h"

enum { TRACE_MAX = 4096, OFFSETS = 1000 };

struct story {
    struct consumer_lane_config config;
    char directory[SUPPORT_DIRECTORY_MAX];
    struct consumer_lane *lane;
    int64_t offset[CONSUMER_TOPICS_MAX];
    char trace[TRACE_MAX];
    struct base_sample last;
    uint64_t sequence; // expected next
};

// click: wait 10, window 20; purchase: wait 15, window 100.
static void story_begin(struct story *story)
{
    *story = (struct story){
        .config =
            {
                .ranks = 3,
                .action = {[1] = {.name = "click", .parent = 0, .wait = 10, .window = 20},
                           [2] = {.name = "purchase", .parent = 1, .wait = 15, .window = 100}},
                .dedupe = {20, 100, 100},
                .orphan_timeout = 50,
                .keep_negatives = 1,
                .segment_bytes = 4096,
            },
    };
    support_directory_make(story->directory);
    story->config.directory = story->directory;
}

static void story_open(struct story *story)
{
    struct base_error error;
    story->lane = consumer_lane_new(&story->config, &error);
    cr_assert(story->lane, "%s", error.text);
}

static int story_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)error;
    struct story *story = context;
    uint32_t tasks = story->config.ranks - 1;
    size_t used = strlen(story->trace);
    used += (size_t)snprintf(story->trace + used, TRACE_MAX - used, "%s%s@%lld %.*s ", used ? ", " : "",
                             base_kind_name(sample->kind), (long long)sample->due_time,
                             (int)sample->impression_id.size, (const char *)sample->impression_id.data);
    for (uint32_t k = 0; k < tasks; k++) {
        if (sample->mask >> k & 1) {
            story->trace[used++] = "cpxyz"[k];
        }
    }
    story->trace[used++] = '/';
    for (uint32_t k = 0; k < tasks; k++) {
        story->trace[used++] = (char)('0' + sample->label[k]);
    }
    story->trace[used] = '\0';
    cr_assert_eq(sample->sequence, story->sequence++);
    story->last = *sample;
    return 0;
}

static struct base_span span(const char *text)
{
    return text ? base_span_string(text) : (struct base_span){0};
}

// An action with an event id and a touch key of its own choosing.
static void push_full(struct story *story, uint32_t rank, int64_t time, const char *id, const char *reference,
                      const char *touch)
{
    struct base_error error;
    struct consumer_event event = {
        .rank = rank,
        .lane = story->config.lane,
        .offset = story->offset[rank]++,
        .event_time = time,
        .event_id = span(id),
        .impression_id = span(reference),
        .touch = span(touch),
        .value = NAN,
    };
    int pushed = consumer_lane_push(story->lane, &event, &error);
    cr_assert_eq(pushed, 0, "%s", error.text);
}

static void push(struct story *story, uint32_t rank, int64_t time, const char *reference)
{
    push_full(story, rank, time, NULL, reference, NULL);
}

static void run(struct story *story, int64_t until)
{
    struct base_error error;
    int result = consumer_lane_run(story->lane, until, story_sink, story, &error);
    cr_assert_eq(result, 0, "%s", error.text);
}

static void finish(struct story *story)
{
    for (uint32_t rank = 0; rank < story->config.ranks; rank++) {
        consumer_lane_raise(story->lane, rank, CONSUMER_TIME_MAX);
    }
    run(story, CONSUMER_TIME_MAX);
    cr_assert_eq(consumer_lane_next_time(story->lane), CONSUMER_TIME_MAX);
}

// Finishes the lane if the story has not, and compares what came out.
static void story_expect(struct story *story, const char *expected)
{
    finish(story);
    cr_assert_str_eq(story->trace, expected);
}

static const struct consumer_lane_counters *counters(const struct story *story)
{
    return consumer_lane_counters(story->lane);
}

static void story_end(struct story *story)
{
    consumer_lane_free(story->lane);
    support_directory_remove(story->directory);
}

// The story of the test that runs; Criterion gives every test a process of its own.
static struct story story;

static void begin(void)
{
    story_begin(&story);
}

static void end(void)
{
    story_end(&story);
}

TestSuite(lane, .init = begin, .fini = end);

// Rules 1 and 8: at one time events go before cursors, so every bound is inclusive.
Test(lane, click_at_the_wait_is_c1)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 10, "i");
    story_expect(&story, "C1@10 i c/10, C1@25 i p/00, F3@110 i /10");
}

Test(lane, click_after_the_wait_is_l)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 11, "i");
    story_expect(&story, "N0@10 i cp/00, L@11 i c/10, F3@111 i /10");
    cr_assert_eq(counters(&story)->samples[BASE_L], 1);
}

Test(lane, impressions_go_before_clicks_at_one_time)
{
    story_open(&story);
    push(&story, 1, 5, "i");
    push(&story, 0, 5, "i");
    finish(&story);
    cr_assert_eq(counters(&story)->orphaned[1], 0);
}

Test(lane, cursors_of_one_time_go_by_class)
{
    // At 20: b's wait, a's click's wait, then c's click's F3, each of another class.
    story.config.action[1].wait = 10;
    story.config.action[2] = (struct consumer_action_config){"purchase", 1, false, false, 5, 15};
    story_open(&story);
    push(&story, 0, 0, "c");
    push(&story, 1, 5, "c");
    push(&story, 0, 10, "b");
    push(&story, 0, 10, "a");
    push(&story, 1, 15, "a");
    story_expect(&story,
                 "C1@10 c c/10, C1@10 c p/00, N0@20 b cp/00, C1@20 a c/10, C1@20 a p/00, F3@20 c /10, "
                 "F3@30 a /10");
}

// Rule 2.
Test(lane, a_late_record_takes_the_watermark_as_its_time)
{
    story.config.allowed_lateness[0] = 5;
    story_open(&story);
    cr_assert_eq(consumer_lane_partition_watermark(story.lane, 0), CONSUMER_TIME_MIN);
    push(&story, 0, 100, "a"); // the watermark is now 95
    push(&story, 0, 95, "b");  // on it: not late
    push(&story, 0, 94, "c");  // below it: late, at 95
    cr_assert_eq(consumer_lane_partition_watermark(story.lane, 0), 95);
    story_expect(&story, "N0@105 b cp/00, N0@105 c cp/00, N0@110 a cp/00");
    cr_assert_eq(counters(&story)->late[0], 1);
    cr_assert_eq(story.last.event_time, 100);
}

Test(lane, an_idle_raise_clamps_and_never_goes_back)
{
    story_open(&story);
    consumer_lane_raise(story.lane, 0, 50);
    consumer_lane_raise(story.lane, 0, 40);
    cr_assert_eq(consumer_lane_partition_watermark(story.lane, 0), 50);
    push(&story, 0, 45, "a");
    story_expect(&story, "N0@60 a cp/00");
    cr_assert_eq(story.last.event_time, 45, "labels keep the event time");
    cr_assert_eq(counters(&story)->late[0], 1);
}

Test(lane, the_lanes_watermark_is_its_least)
{
    story_open(&story);
    push(&story, 0, 100, "a");
    cr_assert_eq(consumer_lane_watermark(story.lane), CONSUMER_TIME_MIN);
    consumer_lane_raise(story.lane, 1, 30);
    consumer_lane_raise(story.lane, 2, CONSUMER_TIME_MAX);
    cr_assert_eq(consumer_lane_watermark(story.lane), 30);
    run(&story, 29);
    cr_assert_eq(consumer_lane_next_time(story.lane), 100);
}

// Rule 7: alive to the millisecond.
Test(lane, a_click_at_the_end_of_the_window_joins)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 20, "i");
    story_expect(&story, "N0@10 i cp/00, L@20 i c/10, F3@120 i /10");
}

Test(lane, a_click_of_a_dead_impression_waits_and_expires)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 21, "i");
    story_expect(&story, "N0@10 i cp/00");
    cr_assert_eq(counters(&story)->orphaned[1], 1);
    cr_assert_eq(counters(&story)->expired[1], 1);
    cr_assert_eq(counters(&story)->beyond[1], 0);
}

Test(lane, a_late_click_loses_its_partner_but_not_its_time)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 21, NULL);
    push(&story, 1, 5, "i"); // at 21: the impression has been dropped
    story_expect(&story, "N0@10 i cp/00");
    cr_assert_eq(counters(&story)->late[1], 1);
    cr_assert_eq(counters(&story)->expired[1], 1);
}

// Rule 9: membership goes by event times.
Test(lane, a_click_beyond_the_window_is_counted_and_starts_nothing)
{
    story_open(&story);
    consumer_lane_raise(story.lane, 0, 10);
    push(&story, 0, 0, "i");  // late: enters at 10, alive till 30
    push(&story, 1, 21, "i"); // 21 after its time
    push(&story, 1, 22, "i");
    push(&story, 1, 20, "i"); // late, at 22, but in the window: the first that counts
    story_expect(&story, "N0@20 i cp/00, L@22 i c/10, F3@122 i /10");
    cr_assert_eq(counters(&story)->beyond[1], 2);
    cr_assert_eq(counters(&story)->joined[1], 1);
}

Test(lane, a_negative_delay_is_counted)
{
    story_open(&story);
    push(&story, 1, 4, "i");
    push(&story, 0, 5, "i");
    story_expect(&story, "C1@15 i c/10, C1@20 i p/00, F3@105 i /10");
    cr_assert_eq(counters(&story)->negative_delay[1], 1);
}

// Rule 10: the kind follows the order of handling.
Test(lane, a_click_read_late_is_l_though_its_delay_is_short)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 15, NULL);
    push(&story, 1, 3, "i");
    story_expect(&story, "N0@10 i cp/00, L@15 i c/10, F3@115 i /10");
}

Test(lane, an_early_purchase_of_a_late_click_comes_at_the_clicks_wait)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 12, "i");
    push(&story, 2, 13, "i");
    story_expect(&story, "N0@10 i cp/00, L@12 i c/10, C1@27 i p/01, F3@112 i /11");
}

Test(lane, a_purchase_after_the_wait_is_d2)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 5, "i");
    push(&story, 2, 21, "i");
    story_expect(&story, "C1@10 i c/10, C1@20 i p/00, D2@21 i p/01, F3@105 i /11");
}

// Rule 11: F3 at the click's window, a purchase at that very time included.
Test(lane, f3_counts_a_purchase_at_its_own_time)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 5, "i");
    push(&story, 2, 105, "i");
    story_expect(&story, "C1@10 i c/10, C1@20 i p/00, D2@105 i p/01, F3@105 i /11");
}

// Rule 12.
Test(lane, three_stages_pay_negatives_where_the_journey_ends)
{
    story.config.ranks = 4;
    story.config.action[2] = (struct consumer_action_config){"cart", 1, false, false, 10, 50};
    story.config.action[3] = (struct consumer_action_config){"purchase", 2, false, false, 10, 60};
    story.config.dedupe[3] = 60;
    story_open(&story);
    push(&story, 0, 0, "a");
    push(&story, 0, 0, "b");
    push(&story, 1, 5, "b");
    push(&story, 0, 0, "d");
    push(&story, 1, 5, "d");
    push(&story, 2, 8, "d");
    push(&story, 3, 19, "d"); // after the cart's wait
    story_expect(&story, "N0@10 a cpx/000, C1@10 b c/100, C1@10 d c/100, C1@15 b px/000, C1@15 d p/010, "
                         "C1@18 d x/000, D2@19 d x/001, F3@55 b /100, F3@55 d /110, F3@68 d /111");
}

Test(lane, a_late_cart_has_paid_its_purchase_negative)
{
    story.config.ranks = 4;
    story.config.action[2] = (struct consumer_action_config){"cart", 1, false, false, 10, 50};
    story.config.action[3] = (struct consumer_action_config){"purchase", 2, false, false, 10, 60};
    story_open(&story);
    push(&story, 0, 0, "a");
    push(&story, 1, 5, "a");
    push(&story, 2, 16, "a");
    story_expect(&story, "C1@10 a c/100, C1@15 a px/000, D2@16 a p/010, F3@55 a /110, F3@76 a /110");
    cr_assert_eq(story.last.task, 2, "the last F3 is the purchase's");
}

Test(lane, a_side_action_of_the_click_has_a_wait_of_its_own)
{
    story.config.ranks = 4;
    story.config.action[3] = (struct consumer_action_config){"like", 1, true, false, 3, 30};
    story_open(&story);
    push(&story, 0, 0, "a"); // unclicked: pays the like too
    push(&story, 0, 0, "b");
    push(&story, 1, 5, "b");
    push(&story, 3, 8, "b"); // within its wait
    push(&story, 0, 20, "d");
    push(&story, 1, 21, "d");
    push(&story, 3, 25, "d"); // late
    story_expect(&story, "C1@8 b x/001, N0@10 a cpx/000, C1@10 b c/100, C1@20 b p/000, C1@24 d x/000, "
                         "D2@25 d x/001, C1@30 d c/100, C1@36 d p/000, F3@105 b /100, F3@121 d /100");
}

Test(lane, a_side_action_of_the_impression_pays_apart)
{
    story.config.ranks = 4;
    story.config.action[3] = (struct consumer_action_config){"hide", 0, true, false, 2, 30};
    story_open(&story);
    push(&story, 0, 0, "a");
    push(&story, 3, 25, "a"); // the click's window is over, this one's is not
    story_expect(&story, "N0@2 a x/000, N0@10 a cp/000, D2@25 a x/001");
}

// Rule 13.
Test(lane, a_lane_joins_alone)
{
    struct story other;
    story_begin(&other);
    other.config.lane = 1;
    story_open(&story);
    story_open(&other);
    push(&story, 0, 0, "i");
    push(&other, 1, 1, "i");
    story_expect(&story, "N0@10 i cp/00");
    story_expect(&other, "");
    cr_assert_eq(counters(&other)->expired[1], 1);
    story_end(&other);
}

// Rule 14.
Test(lane, the_first_handled_click_and_purchase_count)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 1, 4, "i");
    push(&story, 1, 5, "i");
    push(&story, 2, 6, "i");
    push(&story, 2, 7, "i");
    story_expect(&story, "C1@10 i c/10, C1@19 i p/01, F3@104 i /11");
    cr_assert_eq(counters(&story)->second[1], 1);
    cr_assert_eq(counters(&story)->second[2], 1);
}

// Rules 15 and 16.
Test(lane, a_purchase_without_a_joined_click_waits)
{
    story_open(&story);
    push(&story, 0, 0, "i");
    push(&story, 2, 3, "i");
    story_expect(&story, "N0@10 i cp/00");
    cr_assert_eq(counters(&story)->expired[2], 1);
}

Test(lane, purchase_then_click_then_impression_join_as_a_chain)
{
    story_open(&story);
    push(&story, 2, 8, "i");
    push(&story, 1, 9, "i");
    push(&story, 0, 10, "i");
    story_expect(&story, "C1@20 i c/10, C1@25 i p/01, F3@110 i /11");
    cr_assert_eq(counters(&story)->orphaned[1], 1);
    cr_assert_eq(counters(&story)->orphaned[2], 1);
}

Test(lane, an_orphan_waits_until_its_timeout_inclusive)
{
    story_open(&story);
    push(&story, 1, 0, "a");
    push(&story, 1, 0, "b");
    push(&story, 0, 50, "a");
    push(&story, 0, 51, "b");
    story_expect(&story, "C1@60 a c/10, N0@61 b cp/00, C1@65 a p/00, F3@150 a /10");
    cr_assert_eq(counters(&story)->expired[1], 1);
}

Test(lane, a_second_orphan_is_counted_and_gone)
{
    story_open(&story);
    push(&story, 1, 1, "a");
    push(&story, 1, 2, "a");
    push(&story, 0, 3, "a");
    finish(&story);
    cr_assert_eq(counters(&story)->second[1], 1);
    cr_assert_eq(counters(&story)->expired[1], 0);
    cr_assert_eq(consumer_lane_usage(story.lane).orphans, 0);
}

Test(lane, an_orphan_beyond_the_window_is_counted_and_gone)
{
    story_open(&story);
    push(&story, 1, 40, "a");
    push(&story, 1, 20, "a"); // late: after the other
    push(&story, 0, 50, "z");
    push(&story, 0, 0, "a"); // late, at 50: 40 is beyond its window, 20 is not
    finish(&story);
    cr_assert_eq(counters(&story)->beyond[1], 1);
    cr_assert_eq(counters(&story)->joined[1], 1);
}

Test(lane, orphan_max_pushes_out_the_oldest)
{
    story.config.orphan_max = 2;
    story_open(&story);
    push(&story, 1, 1, "a");
    push(&story, 2, 2, "b");
    push(&story, 1, 3, "d");
    push(&story, 0, 4, "a");
    push(&story, 0, 4, "d");
    story_expect(&story, "N0@14 a cp/00, C1@14 d c/10, C1@19 d p/00, F3@104 d /10");
    cr_assert_eq(counters(&story)->evicted[1], 1);
    cr_assert_eq(counters(&story)->expired[2], 1);
}

// Rule 17.
Test(lane, last_touch_takes_the_latest_click_not_after_the_purchase)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    for (int i = 0; i < 3; i++) {
        push(&story, 0, 0, (const char *[]){"a", "b", "d"}[i]);
    }
    push_full(&story, 1, 9, NULL, "d", "k"); // after the purchase's time
    push_full(&story, 1, 6, NULL, "b", "k"); // late: entered last but not the latest click
    push_full(&story, 1, 5, NULL, "a", "k");
    push_full(&story, 2, 8, NULL, NULL, "k");
    push_full(&story, 2, 10, NULL, NULL, "other");
    push_full(&story, 2, 11, NULL, NULL, NULL);
    finish(&story);
    cr_assert(strstr(story.trace, "C1@24 b p/01"), "%s", story.trace);
    cr_assert_eq(counters(&story)->joined[2], 1);
    cr_assert_eq(counters(&story)->no_reference[2], 1);
    cr_assert_eq(counters(&story)->expired[2], 1);
}

Test(lane, last_touch_ties_go_to_the_last_to_enter)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    push(&story, 0, 0, "a");
    push(&story, 0, 0, "b");
    push_full(&story, 1, 5, NULL, "a", "k");
    push_full(&story, 1, 5, NULL, "b", "k");
    push_full(&story, 2, 6, NULL, NULL, "k");
    story_expect(&story,
                 "C1@10 a c/10, C1@10 b c/10, C1@20 a p/00, C1@20 b p/01, F3@105 a /10, F3@105 b /11");
}

Test(lane, last_touch_does_not_fall_through_to_an_older_click)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    push(&story, 0, 0, "a");
    push(&story, 0, 0, "b");
    push_full(&story, 1, 4, NULL, "a", "k");
    push_full(&story, 1, 5, NULL, "b", "k");
    push_full(&story, 2, 6, NULL, NULL, "k");
    push_full(&story, 2, 7, NULL, NULL, "k");
    finish(&story);
    cr_assert_eq(counters(&story)->joined[2], 1);
    cr_assert_eq(counters(&story)->second[2], 1);
}

Test(lane, a_second_click_of_an_impression_is_no_touch)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    push(&story, 0, 0, "a");
    push_full(&story, 1, 4, NULL, "a", "k");
    push_full(&story, 1, 5, NULL, "a", "m");
    push_full(&story, 2, 6, NULL, NULL, "m");
    finish(&story);
    cr_assert_eq(counters(&story)->joined[2], 0);
    cr_assert_eq(counters(&story)->expired[2], 1);
}

Test(lane, a_touch_orphan_is_taken_by_the_first_fitting_click)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    push(&story, 0, 0, "a");
    push(&story, 0, 0, "b");
    push_full(&story, 2, 7, NULL, NULL, "k");
    push_full(&story, 1, 8, NULL, "a", "k"); // after the purchase: does not fit
    push_full(&story, 1, 6, NULL, "b", "k"); // late, fits
    finish(&story);
    cr_assert(strstr(story.trace, "C1@23 b p/01"), "%s", story.trace);
    cr_assert(strstr(story.trace, "C1@23 a p/00"), "%s", story.trace);
}

// Rule 18.
Test(lane, an_id_is_remembered_until_inclusive)
{
    story.config.action[1].window = 10;
    story.config.dedupe[0] = 30; // longer than the window
    story.config.dedupe[1] = 30;
    story_open(&story);
    push(&story, 0, 0, "a");
    push(&story, 0, 30, "a"); // a duplicate, and does not renew
    push(&story, 0, 31, "a");
    push_full(&story, 1, 0, "e", "x", NULL); // handled, not joined: counts
    push_full(&story, 1, 30, "e", "a", NULL);
    push_full(&story, 1, 32, "e", "a", NULL);
    story_expect(&story, "N0@10 a cp/00, C1@41 a c/10, C1@47 a p/00, F3@132 a /10");
    cr_assert_eq(counters(&story)->duplicate[0], 1);
    cr_assert_eq(counters(&story)->duplicate[1], 1);
    cr_assert_eq(counters(&story)->events[0], 3);
}

Test(lane, topics_remember_apart_and_null_ids_are_not_remembered)
{
    story_open(&story);
    push_full(&story, 0, 0, "a", "a", NULL);
    push_full(&story, 1, 1, "a", "a", NULL);
    push_full(&story, 2, 2, "a", "a", NULL);
    push_full(&story, 2, 2, NULL, "a", NULL);
    push_full(&story, 2, 2, NULL, "a", NULL);
    finish(&story);
    cr_assert_eq(counters(&story)->duplicate[1] + counters(&story)->duplicate[2], 0);
    cr_assert_eq(counters(&story)->second[2], 2);
}

// Rule 19: the empty string is a value, NUL a byte.
Test(lane, ids_compare_by_bytes)
{
    story_open(&story);
    push(&story, 0, 0, "");
    push(&story, 1, 1, "");
    push(&story, 1, 2, NULL);
    struct base_error error;
    struct consumer_event event = {.rank = 0, .offset = 1, .impression_id = base_span_make("\0", 1)};
    cr_assert_eq(consumer_lane_push(story.lane, &event, &error), 0);
    finish(&story);
    cr_assert_eq(counters(&story)->joined[1], 1);
    cr_assert_eq(counters(&story)->no_reference[1], 1);
    cr_assert_eq(counters(&story)->duplicate[0], 0);
}

// Rules 20, 22, 23.
Test(lane, sampled_negatives_weigh_one_over_r)
{
    story.config.keep_negatives = 0.25;
    story_open(&story);
    char id[16];
    uint64_t kept = 0;
    for (int i = 0; i < 400; i++) {
        snprintf(id, sizeof id, "id%d", i);
        push(&story, 0, i, id);
        kept += (double)XXH3_64bits(id, strlen(id)) < 0.25 * 18446744073709551616.0;
        story.trace[0] = '\0';
        consumer_lane_raise(story.lane, 1, CONSUMER_TIME_MAX);
        consumer_lane_raise(story.lane, 2, CONSUMER_TIME_MAX);
        run(&story, i - 1);
    }
    story.trace[0] = '\0';
    finish(&story);
    cr_assert_eq(counters(&story)->samples[BASE_N0], kept);
    cr_assert_eq(counters(&story)->not_kept, 400 - kept);
    cr_assert_eq(story.sequence, kept, "a dropped one takes no number");
    cr_assert_eq(story.last.weight[0], 1.0f);
    cr_assert_eq(story.last.weight[1], 4.0f);
}

Test(lane, f3_trains_only_if_some_loss_uses_it)
{
    for (int train = 0; train < 2; train++) {
        story.config.train_final = train;
        story_open(&story);
        story.sequence = 0;
        memset(story.offset, 0, sizeof story.offset);
        push(&story, 0, 0, "i");
        push(&story, 1, 1, "i");
        finish(&story);
        cr_assert_eq(story.last.kind, BASE_F3);
        cr_assert_eq(story.last.trains, train);
        cr_assert_eq(story.last.mask, 0);
        cr_assert_eq(story.last.weight[0], 0);
        if (!train) {
            consumer_lane_free(story.lane);
        }
    }
}

// The lane's own contract.
Test(lane, push_refuses_what_the_contract_forbids)
{
    story_open(&story);
    static uint8_t long_id[CONSUMER_ID_MAX + 1];
    push(&story, 0, 0, "a");
    consumer_lane_raise(story.lane, 2, CONSUMER_TIME_MAX);
    const struct consumer_event good = {.rank = 0, .offset = 1, .impression_id = base_span_string("b")};
    struct consumer_event bad[9];
    for (int i = 0; i < 9; i++) {
        bad[i] = good;
    }
    bad[0].rank = 3;
    bad[1].lane = 1;
    bad[2].offset = 0;
    bad[3].event_time = CONSUMER_TIME_BOUND + 1;
    bad[4].event_time = -CONSUMER_TIME_BOUND - 1;
    bad[5].impression_id = base_span_make(long_id, sizeof long_id);
    bad[6].impression_id = (struct base_span){0};
    bad[7].rank = 2;
    bad[8].offset = INT64_MAX;
    for (int i = 0; i < 9; i++) {
        struct base_error error = {0};
        cr_assert_eq(consumer_lane_push(story.lane, &bad[i], &error), -1, "%d", i);
        cr_assert_eq(error.code, BASE_EINVAL);
    }
    struct base_error error;
    cr_assert_eq(consumer_lane_push(story.lane, &good, &error), 0);
    cr_assert_eq(consumer_lane_usage(story.lane).pending, 2);
}

static int refusing_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)context;
    (void)sample;
    return base_error_set(error, BASE_ESTOPPED, "enough");
}

Test(lane, the_sinks_error_stops_the_run)
{
    story_open(&story);
    push(&story, 0, 0, "a");
    for (uint32_t rank = 0; rank < 3; rank++) {
        consumer_lane_raise(story.lane, rank, CONSUMER_TIME_MAX);
    }
    struct base_error error;
    cr_assert_eq(consumer_lane_run(story.lane, CONSUMER_TIME_MAX, refusing_sink, NULL, &error), -1);
    cr_assert_eq(error.code, BASE_ESTOPPED);
}

Test(lane, usage_counts_what_is_held)
{
    story_open(&story);
    push(&story, 0, 0, "a");
    push_full(&story, 1, 1, "e", "a", NULL);
    push_full(&story, 1, 2, "f", "z", NULL);
    cr_assert_eq(consumer_lane_usage(story.lane).pending, 3);
    consumer_lane_raise(story.lane, 0, 5);
    consumer_lane_raise(story.lane, 1, 5);
    consumer_lane_raise(story.lane, 2, 5);
    run(&story, 4);
    struct consumer_lane_usage usage = consumer_lane_usage(story.lane);
    cr_assert_eq(usage.pending, 0);
    cr_assert_eq(usage.journeys, 2);
    cr_assert_eq(usage.orphans, 1);
    cr_assert_eq(usage.remembered, 2);
    cr_assert_gt(usage.index_bytes, 0);
    cr_assert_eq(usage.log_bytes, 3 * 4096, "impressions, clicks, and the clicks' ids");
}

// Faults of the disk come out of the run with the file's name.
Test(lane, a_full_disk_fails_the_run)
{
    story_open(&story);
    push(&story, 0, 0, "a");
    for (uint32_t rank = 0; rank < 3; rank++) {
        consumer_lane_raise(story.lane, rank, CONSUMER_TIME_MAX);
    }
    struct rlimit limit = {1024, 1024};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct base_error error;
    cr_assert_eq(consumer_lane_run(story.lane, CONSUMER_TIME_MAX, story_sink, &story, &error), -1);
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, "impression.journey.0000000000"), "%s", error.text);
}

Test(lane, a_corrupt_record_fails_the_run)
{
    story_open(&story);
    push(&story, 0, 0, "a");
    push(&story, 0, 1, "b");
    for (uint32_t rank = 0; rank < 3; rank++) {
        consumer_lane_raise(story.lane, rank, CONSUMER_TIME_MAX);
    }
    run(&story, 10); // a is emitted, and so both are in the file
    cr_assert_str_eq(story.trace, "N0@10 a cp/00");
    char path[256];
    snprintf(path, sizeof path, "%s/impression.journey.0000000000", story.directory);
    FILE *file = fopen(path, "r+b");
    cr_assert_eq(fseek(file, 56 + 72 + 64, SEEK_SET), 0); // b's id
    cr_assert_eq(fputc('x', file), 'x');
    fclose(file);
    struct base_error error;
    cr_assert_eq(consumer_lane_run(story.lane, CONSUMER_TIME_MAX, story_sink, &story, &error), -1);
    cr_assert_eq(error.code, BASE_EFORMAT);
    cr_assert(strstr(error.text, path), "%s", error.text);
    cr_assert_str_eq(story.trace, "N0@10 a cp/00");
}

Test(lane, a_directory_that_cannot_be_made_is_an_error)
{
    char path[2 * SUPPORT_DIRECTORY_MAX];
    snprintf(path, sizeof path, "%s/file", story.directory);
    fclose(fopen(path, "w"));
    snprintf(path, sizeof path, "%s/file/lane", story.directory);
    story.config.directory = path;
    struct base_error error;
    cr_assert_null(consumer_lane_new(&story.config, &error));
    cr_assert_eq(error.code, BASE_EIO);
    cr_assert(strstr(error.text, path), "%s", error.text);
}

static int counting_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)sample;
    (void)error;
    ++*(uint64_t *)context;
    return 0;
}

// The memory promise: 32 bytes a journey; and old segments leave the disk.
Test(lane, a_journey_costs_at_most_32_bytes_and_old_segments_go)
{
    enum { JOURNEYS = 100000 };
    story.config.action[1].wait = 100;
    story.config.action[1].window = 1000;
    story.config.segment_bytes = 1 << 20;
    story_open(&story);
    for (int i = 0; i < JOURNEYS; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        push(&story, 0, i / 100, id);
    }
    struct base_error error;
    uint64_t samples = 0;
    for (uint32_t rank = 0; rank < 3; rank++) {
        consumer_lane_raise(story.lane, rank, CONSUMER_TIME_MAX);
    }
    cr_assert_eq(consumer_lane_run(story.lane, JOURNEYS / 100, counting_sink, &samples, &error), 0);
    struct consumer_lane_usage full = consumer_lane_usage(story.lane);
    cr_assert_eq(full.journeys, JOURNEYS);
    cr_assert_leq(full.index_bytes, 32 * full.journeys + 16384);

    // Everything is past its window: only the segment being written is kept, its files go with the next run.
    cr_assert_eq(consumer_lane_run(story.lane, 10000, counting_sink, &samples, &error), 0);
    cr_assert_eq(consumer_lane_usage(story.lane).log_bytes, full.log_bytes);
    cr_assert_eq(consumer_lane_run(story.lane, 10001, counting_sink, &samples, &error), 0);
    struct consumer_lane_usage empty = consumer_lane_usage(story.lane);
    cr_assert_eq(empty.log_bytes, 1 << 20);
    cr_assert_lt(empty.journeys, JOURNEYS / 5);
    cr_assert_eq(samples, JOURNEYS);
}
