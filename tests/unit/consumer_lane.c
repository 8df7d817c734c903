// Tests of a lane, rule by rule of docs/join.md: small stories of events, and what comes out, written down.
// consumer_lane_story.h says how.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <xxhash.h>

#include "consumer_lane_story.h"

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
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 10, "i");
    story_expect(&story, "C1@10 i c/10, C1@25 i p/00, F3@110 i /10");
}

Test(lane, click_after_the_wait_is_l)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 11, "i");
    story_expect(&story, "N0@10 i cp/00, L@11 i c/10, F3@111 i /10");
    cr_assert_eq(story_counters(&story)->samples[BASE_L], 1);
}

Test(lane, impressions_go_before_clicks_at_one_time)
{
    story_open(&story);
    story_push(&story, 1, 5, "i");
    story_push(&story, 0, 5, "i");
    story_finish(&story);
    cr_assert_eq(story_counters(&story)->orphaned[1], 0);
}

Test(lane, cursors_of_one_time_go_by_class)
{
    // At 20: b's wait, a's click's wait, then c's click's F3, each of another class.
    story.config.action[1].wait = 10;
    story.config.action[2] = (struct consumer_action_config){"purchase", 1, false, false, 5, 15, 0};
    story_open(&story);
    story_push(&story, 0, 0, "c");
    story_push(&story, 1, 5, "c");
    story_push(&story, 0, 10, "b");
    story_push(&story, 0, 10, "a");
    story_push(&story, 1, 15, "a");
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
    story_push(&story, 0, 100, "a"); // the watermark is now 95
    story_push(&story, 0, 95, "b");  // on it: not late
    story_push(&story, 0, 94, "c");  // below it: late, at 95
    cr_assert_eq(consumer_lane_partition_watermark(story.lane, 0), 95);
    story_expect(&story, "N0@105 b cp/00, N0@105 c cp/00, N0@110 a cp/00");
    cr_assert_eq(story_counters(&story)->late[0], 1);
    cr_assert_eq(story.last.event_time, 100);
}

Test(lane, an_idle_raise_clamps_and_never_goes_back)
{
    story_open(&story);
    consumer_lane_raise(story.lane, 0, 50);
    consumer_lane_raise(story.lane, 0, 40);
    cr_assert_eq(consumer_lane_partition_watermark(story.lane, 0), 50);
    story_push(&story, 0, 45, "a");
    story_expect(&story, "N0@60 a cp/00");
    cr_assert_eq(story.last.event_time, 45, "labels keep the event time");
    cr_assert_eq(story_counters(&story)->late[0], 1);
}

Test(lane, the_lanes_watermark_is_its_least)
{
    story_open(&story);
    story_push(&story, 0, 100, "a");
    cr_assert_eq(consumer_lane_watermark(story.lane), CONSUMER_TIME_MIN);
    consumer_lane_raise(story.lane, 1, 30);
    consumer_lane_raise(story.lane, 2, CONSUMER_TIME_MAX);
    cr_assert_eq(consumer_lane_watermark(story.lane), 30);
    story_run(&story, 29);
    cr_assert_eq(consumer_lane_next_time(story.lane), 100);
}

// Rule 7: alive to the millisecond.
Test(lane, a_click_at_the_end_of_the_window_joins)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 20, "i");
    story_expect(&story, "N0@10 i cp/00, L@20 i c/10, F3@120 i /10");
}

Test(lane, a_click_of_a_dead_impression_waits_and_expires)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 21, "i");
    story_expect(&story, "N0@10 i cp/00");
    cr_assert_eq(story_counters(&story)->orphaned[1], 1);
    cr_assert_eq(story_counters(&story)->expired[1], 1);
    cr_assert_eq(story_counters(&story)->beyond[1], 0);
}

Test(lane, a_late_click_loses_its_partner_but_not_its_time)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 21, NULL);
    story_push(&story, 1, 5, "i"); // at 21: the impression has been dropped
    story_expect(&story, "N0@10 i cp/00");
    cr_assert_eq(story_counters(&story)->late[1], 1);
    cr_assert_eq(story_counters(&story)->expired[1], 1);
}

// Rule 9: membership goes by event times.
Test(lane, a_click_beyond_the_window_is_counted_and_starts_nothing)
{
    story_open(&story);
    consumer_lane_raise(story.lane, 0, 10);
    story_push(&story, 0, 0, "i");  // late: enters at 10, alive till 30
    story_push(&story, 1, 21, "i"); // 21 after its time
    story_push(&story, 1, 22, "i");
    story_push(&story, 1, 20, "i"); // late, at 22, but in the window: the first that counts
    story_expect(&story, "N0@20 i cp/00, L@22 i c/10, F3@122 i /10");
    cr_assert_eq(story_counters(&story)->beyond[1], 2);
    cr_assert_eq(story_counters(&story)->joined[1], 1);
}

Test(lane, a_negative_delay_is_counted)
{
    story_open(&story);
    story_push(&story, 1, 4, "i");
    story_push(&story, 0, 5, "i");
    story_expect(&story, "C1@15 i c/10, C1@20 i p/00, F3@105 i /10");
    cr_assert_eq(story_counters(&story)->negative_delay[1], 1);
}

// Rule 10: the kind follows the order of handling.
Test(lane, a_click_read_late_is_l_though_its_delay_is_short)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 15, NULL);
    story_push(&story, 1, 3, "i");
    story_expect(&story, "N0@10 i cp/00, L@15 i c/10, F3@115 i /10");
}

Test(lane, an_early_purchase_of_a_late_click_comes_at_the_clicks_wait)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 12, "i");
    story_push(&story, 2, 13, "i");
    story_expect(&story, "N0@10 i cp/00, L@12 i c/10, C1@27 i p/01, F3@112 i /11");
}

Test(lane, a_purchase_after_the_wait_is_d2)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 5, "i");
    story_push(&story, 2, 21, "i");
    story_expect(&story, "C1@10 i c/10, C1@20 i p/00, D2@21 i p/01, F3@105 i /11");
}

// Rule 11: F3 at the click's window, a purchase at that very time included.
Test(lane, f3_counts_a_purchase_at_its_own_time)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 5, "i");
    story_push(&story, 2, 105, "i");
    story_expect(&story, "C1@10 i c/10, C1@20 i p/00, D2@105 i p/01, F3@105 i /11");
}

// Rule 12.
Test(lane, three_stages_pay_negatives_where_the_journey_ends)
{
    story.config.ranks = 4;
    story.config.action[2] = (struct consumer_action_config){"cart", 1, false, false, 10, 50, 0};
    story.config.action[3] = (struct consumer_action_config){"purchase", 2, false, false, 10, 60, 0};
    story.config.dedupe[3] = 60;
    story_open(&story);
    story_push(&story, 0, 0, "a");
    story_push(&story, 0, 0, "b");
    story_push(&story, 1, 5, "b");
    story_push(&story, 0, 0, "d");
    story_push(&story, 1, 5, "d");
    story_push(&story, 2, 8, "d");
    story_push(&story, 3, 19, "d"); // after the cart's wait
    story_expect(&story, "N0@10 a cpx/000, C1@10 b c/100, C1@10 d c/100, C1@15 b px/000, C1@15 d p/010, "
                         "C1@18 d x/000, D2@19 d x/001, F3@55 b /100, F3@55 d /110, F3@68 d /111");
}

Test(lane, a_late_cart_has_paid_its_purchase_negative)
{
    story.config.ranks = 4;
    story.config.action[2] = (struct consumer_action_config){"cart", 1, false, false, 10, 50, 0};
    story.config.action[3] = (struct consumer_action_config){"purchase", 2, false, false, 10, 60, 0};
    story_open(&story);
    story_push(&story, 0, 0, "a");
    story_push(&story, 1, 5, "a");
    story_push(&story, 2, 16, "a");
    story_expect(&story, "C1@10 a c/100, C1@15 a px/000, D2@16 a p/010, F3@55 a /110, F3@76 a /110");
    cr_assert_eq(story.last.task, 2, "the last F3 is the purchase's");
}

Test(lane, a_side_action_of_the_click_has_a_wait_of_its_own)
{
    story.config.ranks = 4;
    story.config.action[3] = (struct consumer_action_config){"like", 1, true, false, 3, 30, 0};
    story_open(&story);
    story_push(&story, 0, 0, "a"); // unclicked: pays the like too
    story_push(&story, 0, 0, "b");
    story_push(&story, 1, 5, "b");
    story_push(&story, 3, 8, "b"); // within its wait
    story_push(&story, 0, 20, "d");
    story_push(&story, 1, 21, "d");
    story_push(&story, 3, 25, "d"); // late
    story_expect(&story, "C1@8 b x/001, N0@10 a cpx/000, C1@10 b c/100, C1@20 b p/000, C1@24 d x/000, "
                         "D2@25 d x/001, C1@30 d c/100, C1@36 d p/000, F3@105 b /100, F3@121 d /100");
}

Test(lane, a_side_action_of_the_impression_pays_apart)
{
    story.config.ranks = 4;
    story.config.action[3] = (struct consumer_action_config){"hide", 0, true, false, 2, 30, 0};
    story_open(&story);
    story_push(&story, 0, 0, "a");
    story_push(&story, 3, 25, "a"); // the click's window is over, this one's is not
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
    story_push(&story, 0, 0, "i");
    story_push(&other, 1, 1, "i");
    story_expect(&story, "N0@10 i cp/00");
    story_expect(&other, "");
    cr_assert_eq(story_counters(&other)->expired[1], 1);
    story_end(&other);
}

// Rule 14.
Test(lane, the_first_handled_click_and_purchase_count)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 1, 4, "i");
    story_push(&story, 1, 5, "i");
    story_push(&story, 2, 6, "i");
    story_push(&story, 2, 7, "i");
    story_expect(&story, "C1@10 i c/10, C1@19 i p/01, F3@104 i /11");
    cr_assert_eq(story_counters(&story)->second[1], 1);
    cr_assert_eq(story_counters(&story)->second[2], 1);
}

// Rules 15 and 16.
Test(lane, a_purchase_without_a_joined_click_waits)
{
    story_open(&story);
    story_push(&story, 0, 0, "i");
    story_push(&story, 2, 3, "i");
    story_expect(&story, "N0@10 i cp/00");
    cr_assert_eq(story_counters(&story)->expired[2], 1);
}

Test(lane, purchase_then_click_then_impression_join_as_a_chain)
{
    story_open(&story);
    story_push(&story, 2, 8, "i");
    story_push(&story, 1, 9, "i");
    story_push(&story, 0, 10, "i");
    story_expect(&story, "C1@20 i c/10, C1@25 i p/01, F3@110 i /11");
    cr_assert_eq(story_counters(&story)->orphaned[1], 1);
    cr_assert_eq(story_counters(&story)->orphaned[2], 1);
}

Test(lane, an_orphan_waits_until_its_timeout_inclusive)
{
    story_open(&story);
    story_push(&story, 1, 0, "a");
    story_push(&story, 1, 0, "b");
    story_push(&story, 0, 50, "a");
    story_push(&story, 0, 51, "b");
    story_expect(&story, "C1@60 a c/10, N0@61 b cp/00, C1@65 a p/00, F3@150 a /10");
    cr_assert_eq(story_counters(&story)->expired[1], 1);
}

Test(lane, a_second_orphan_is_counted_and_gone)
{
    story_open(&story);
    story_push(&story, 1, 1, "a");
    story_push(&story, 1, 2, "a");
    story_push(&story, 0, 3, "a");
    story_finish(&story);
    cr_assert_eq(story_counters(&story)->second[1], 1);
    cr_assert_eq(story_counters(&story)->expired[1], 0);
    cr_assert_eq(consumer_lane_usage(story.lane).orphans, 0);
}

Test(lane, an_orphan_beyond_the_window_is_counted_and_gone)
{
    story_open(&story);
    story_push(&story, 1, 40, "a");
    story_push(&story, 1, 20, "a"); // late: after the other
    story_push(&story, 0, 50, "z");
    story_push(&story, 0, 0, "a"); // late, at 50: 40 is beyond its window, 20 is not
    story_finish(&story);
    cr_assert_eq(story_counters(&story)->beyond[1], 1);
    cr_assert_eq(story_counters(&story)->joined[1], 1);
}

Test(lane, orphan_max_pushes_out_the_oldest)
{
    story.config.orphan_max = 2;
    story_open(&story);
    story_push(&story, 1, 1, "a");
    story_push(&story, 2, 2, "b");
    story_push(&story, 1, 3, "d");
    story_push(&story, 0, 4, "a");
    story_push(&story, 0, 4, "d");
    story_expect(&story, "N0@14 a cp/00, C1@14 d c/10, C1@19 d p/00, F3@104 d /10");
    cr_assert_eq(story_counters(&story)->evicted[1], 1);
    cr_assert_eq(story_counters(&story)->expired[2], 1);
}

// Rule 17.
Test(lane, last_touch_takes_the_latest_click_not_after_the_purchase)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    for (int i = 0; i < 3; i++) {
        story_push(&story, 0, 0, (const char *[]){"a", "b", "d"}[i]);
    }
    story_push_full(&story, 1, 9, NULL, "d", "k"); // after the purchase's time
    story_push_full(&story, 1, 6, NULL, "b", "k"); // late: entered last but not the latest click
    story_push_full(&story, 1, 5, NULL, "a", "k");
    story_push_full(&story, 2, 8, NULL, NULL, "k");
    story_push_full(&story, 2, 10, NULL, NULL, "other");
    story_push_full(&story, 2, 11, NULL, NULL, NULL);
    story_finish(&story);
    cr_assert(strstr(story.trace, "C1@24 b p/01"), "%s", story.trace);
    cr_assert_eq(story_counters(&story)->joined[2], 1);
    cr_assert_eq(story_counters(&story)->no_reference[2], 1);
    cr_assert_eq(story_counters(&story)->expired[2], 1);
}

Test(lane, last_touch_ties_go_to_the_last_to_enter)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    story_push(&story, 0, 0, "a");
    story_push(&story, 0, 0, "b");
    story_push_full(&story, 1, 5, NULL, "a", "k");
    story_push_full(&story, 1, 5, NULL, "b", "k");
    story_push_full(&story, 2, 6, NULL, NULL, "k");
    story_expect(&story,
                 "C1@10 a c/10, C1@10 b c/10, C1@20 a p/00, C1@20 b p/01, F3@105 a /10, F3@105 b /11");
}

Test(lane, last_touch_does_not_fall_through_to_an_older_click)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    story_push(&story, 0, 0, "a");
    story_push(&story, 0, 0, "b");
    story_push_full(&story, 1, 4, NULL, "a", "k");
    story_push_full(&story, 1, 5, NULL, "b", "k");
    story_push_full(&story, 2, 6, NULL, NULL, "k");
    story_push_full(&story, 2, 7, NULL, NULL, "k");
    story_finish(&story);
    cr_assert_eq(story_counters(&story)->joined[2], 1);
    cr_assert_eq(story_counters(&story)->second[2], 1);
}

Test(lane, a_second_click_of_an_impression_is_no_touch)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    story_push(&story, 0, 0, "a");
    story_push_full(&story, 1, 4, NULL, "a", "k");
    story_push_full(&story, 1, 5, NULL, "a", "m");
    story_push_full(&story, 2, 6, NULL, NULL, "m");
    story_finish(&story);
    cr_assert_eq(story_counters(&story)->joined[2], 0);
    cr_assert_eq(story_counters(&story)->expired[2], 1);
}

Test(lane, a_touch_orphan_is_taken_by_the_first_fitting_click)
{
    story.config.action[2].last_touch = true;
    story_open(&story);
    story_push(&story, 0, 0, "a");
    story_push(&story, 0, 0, "b");
    story_push_full(&story, 2, 7, NULL, NULL, "k");
    story_push_full(&story, 1, 8, NULL, "a", "k"); // after the purchase: does not fit
    story_push_full(&story, 1, 6, NULL, "b", "k"); // late, fits
    story_finish(&story);
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
    story_push(&story, 0, 0, "a");
    story_push(&story, 0, 30, "a"); // a duplicate, and does not renew
    story_push(&story, 0, 31, "a");
    story_push_full(&story, 1, 0, "e", "x", NULL); // handled, not joined: counts
    story_push_full(&story, 1, 30, "e", "a", NULL);
    story_push_full(&story, 1, 32, "e", "a", NULL);
    story_expect(&story, "N0@10 a cp/00, C1@41 a c/10, C1@47 a p/00, F3@132 a /10");
    cr_assert_eq(story_counters(&story)->duplicate[0], 1);
    cr_assert_eq(story_counters(&story)->duplicate[1], 1);
    cr_assert_eq(story_counters(&story)->events[0], 3);
}

Test(lane, topics_remember_apart_and_null_ids_are_not_remembered)
{
    story_open(&story);
    story_push_full(&story, 0, 0, "a", "a", NULL);
    story_push_full(&story, 1, 1, "a", "a", NULL);
    story_push_full(&story, 2, 2, "a", "a", NULL);
    story_push_full(&story, 2, 2, NULL, "a", NULL);
    story_push_full(&story, 2, 2, NULL, "a", NULL);
    story_finish(&story);
    cr_assert_eq(story_counters(&story)->duplicate[1] + story_counters(&story)->duplicate[2], 0);
    cr_assert_eq(story_counters(&story)->second[2], 2);
}

// Rule 19: the empty string is a value, NUL a byte.
Test(lane, ids_compare_by_bytes)
{
    story_open(&story);
    story_push(&story, 0, 0, "");
    story_push(&story, 1, 1, "");
    story_push(&story, 1, 2, NULL);
    struct base_error error;
    struct consumer_event event = {.rank = 0, .offset = 1, .impression_id = base_span_make("\0", 1)};
    cr_assert_eq(consumer_lane_push(story.lane, &event, &error), 0);
    story_finish(&story);
    cr_assert_eq(story_counters(&story)->joined[1], 1);
    cr_assert_eq(story_counters(&story)->no_reference[1], 1);
    cr_assert_eq(story_counters(&story)->duplicate[0], 0);
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
        story_push(&story, 0, i, id);
        kept += (double)XXH3_64bits(id, strlen(id)) < 0.25 * 18446744073709551616.0;
        story.trace[0] = '\0';
        consumer_lane_raise(story.lane, 1, CONSUMER_TIME_MAX);
        consumer_lane_raise(story.lane, 2, CONSUMER_TIME_MAX);
        story_run(&story, i - 1);
    }
    story.trace[0] = '\0';
    story_finish(&story);
    cr_assert_eq(story_counters(&story)->samples[BASE_N0], kept);
    cr_assert_eq(story_counters(&story)->not_kept, 400 - kept);
    cr_assert_eq(story.sequence, kept, "a dropped one takes no number");
    cr_assert_eq(story.last.weight[0], 1.0f);
    cr_assert_eq(story.last.weight[1], 4.0f);
}

Test(lane, negatives_of_the_click_weigh_one_over_r_if_they_are_to)
{
    story.config.keep_negatives = 1 / 3.0;
    story.config.weighs_negatives = true;
    story_open(&story);
    char id[16];
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof id, "id%d", i);
        story_push(&story, 0, i, id);
    }
    story_finish(&story);
    cr_assert_gt(story_counters(&story)->samples[BASE_N0], 0);
    cr_assert(story.last.kind == BASE_N0 && story.last.weight[0] == 3.0f && story.last.weight[1] == 3.0f);
}

// Rule 25: the impression's weight multiplies every sample's, whatever its kind, before a restart and after.
Test(lane, an_impressions_weight_is_in_all_its_samples)
{
    static const char *const kinds[] = {"N0", "C1", "L", "D2", "F3"};
    static const int64_t clicks[] = {0, 3, 15, 3, 3}, purchases[] = {0, 5, 0, 40, 0};
    story.config.keep_negatives = 0.5;
    for (uint32_t i = 0; i < 5; i++) {
        for (int weighted = 0; weighted < 3; weighted++) {
            story_open(&story);
            story.sequence = 0;
            memset(story.offset, 0, sizeof story.offset);
            story.trace[0] = '\0';
            struct consumer_event event = {.impression_id = base_span_string("i1"),
                                           .event_id = base_span_string("i1"),
                                           .weighted = weighted > 0,
                                           .weight = weighted == 2 ? 0.75f : 0};
            struct base_error error;
            cr_assert_eq(consumer_lane_push(story.lane, &event, &error), 0);
            if (clicks[i]) {
                story_push(&story, 1, clicks[i], "i1");
            }
            if (purchases[i]) {
                story_push(&story, 2, purchases[i], "i1");
            }
            consumer_lane_raise(story.lane, 0, CONSUMER_TIME_MAX);
            consumer_lane_raise(story.lane, 1, CONSUMER_TIME_MAX);
            consumer_lane_raise(story.lane, 2, CONSUMER_TIME_MAX);
            story_run(&story, i == 4 ? 400 : i == 0 ? 10 : i == 1 ? 20 : i == 2 ? 15 : 40);
            const struct base_sample *last = &story.last;
            float weight = weighted == 2 ? 0.75f : weighted ? 0 : 1;
            cr_assert_str_eq(base_kind_name(last->kind), kinds[i], "%s", story.trace);
            cr_assert_eq(base_sample_impression_weight(last), weight);
            cr_assert_eq(last->weight[0], last->mask & 1 ? weight : 0, "%s", story.trace);
            cr_assert_eq(last->weight[1], last->mask & 2 ? weight * (i == 0 ? 2 : 1) : 0, "%s", story.trace);
            consumer_lane_free(story.lane);
        }
    }
    story_open(&story);
}

Test(lane, f3_trains_only_if_some_loss_uses_it)
{
    for (int train = 0; train < 2; train++) {
        story.config.train_final = train;
        story_open(&story);
        story.sequence = 0;
        memset(story.offset, 0, sizeof story.offset);
        story_push(&story, 0, 0, "i");
        story_push(&story, 1, 1, "i");
        story_finish(&story);
        cr_assert_eq(story.last.kind, BASE_F3);
        cr_assert_eq(story.last.trains, train);
        cr_assert_eq(story.last.mask, 0);
        cr_assert_eq(story.last.weight[0], 0);
        if (!train) {
            consumer_lane_free(story.lane);
        }
    }
}
