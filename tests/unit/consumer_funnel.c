// Tests of the checks on a lane's configuration, and of what is compiled from it.
#include "consumer/funnel.h"

#include <criterion/criterion.h>
#include <math.h>

static struct consumer_lane_config config;
static struct consumer_funnel funnel;

static void begin(void)
{
    config = (struct consumer_lane_config){
        .directory = "/tmp",
        .ranks = 5,
        .action = {[1] = {"click", 0, false, false, 10, 20, 0},
                   [2] = {"cart", 1, false, false, 10, 30, 0},
                   [3] = {"purchase", 2, false, true, 10, 40, 0},
                   [4] = {"like", 1, true, false, 10, 50, 0}},
        .keep_negatives = 1,
        .segment_bytes = 1 << 20,
    };
}

TestSuite(funnel, .init = begin);

static void refuse(const char *names)
{
    struct base_error error = {0};
    cr_assert_eq(consumer_funnel_compile(&config, &funnel, &error), -1);
    cr_assert_eq(error.code, BASE_EINVAL);
    cr_assert(strstr(error.text, names), "%s", error.text);
    struct consumer_lane *lane = consumer_lane_new(&config, &error);
    cr_assert_null(lane);
    begin();
}

Test(funnel, compiles_stages_and_negatives)
{
    struct base_error error;
    config.dedupe[0] = 25;
    cr_assert_eq(consumer_funnel_compile(&config, &funnel, &error), 0, "%s", error.text);
    cr_assert_eq(funnel.stages, 3);
    cr_assert_eq(funnel.stage[0].children, 1);
    cr_assert_eq(funnel.stage[0].retention, 25, "as long as its ids are remembered");
    cr_assert_eq(funnel.stage[1].children, 2);
    cr_assert_eq(funnel.stage[1].child[1], 4);
    cr_assert_eq(funnel.stage[1].retention, 50);
    cr_assert(funnel.stage[1].by_id && !funnel.stage[1].by_touch);
    cr_assert(!funnel.stage[2].by_id && funnel.stage[2].by_touch);
    cr_assert_eq(funnel.negatives[1], 0xf);
    cr_assert_eq(funnel.negatives[2], 0x6, "the like hangs on the click, not on the cart");
    cr_assert_eq(funnel.negatives[3], 0x4);
    cr_assert_eq(funnel.negatives[4], 0x8);
}

// What its parent asks of an action, a restart learns from the action's own record.
Test(funnel, a_stage_is_held_as_long_as_its_parent_asks_for_it)
{
    struct base_error error;
    config.action[1].window = 60;
    cr_assert_eq(consumer_funnel_compile(&config, &funnel, &error), 0, "%s", error.text);
    cr_assert_eq(funnel.stage[0].retention, 60);
    cr_assert_eq(funnel.stage[1].retention, 60, "longer than its own actions need it");
    cr_assert_eq(funnel.stage[2].retention, 40);
}

Test(funnel, refuses_windows_that_cannot_be)
{
    config.action[2].wait = 31;
    refuse("cart");
    config.action[3].wait = -1;
    refuse("purchase");
    config.action[3].window = CONSUMER_TIME_BOUND + 1;
    refuse("purchase");
    config.dedupe[1] = -1;
    refuse("click");
    config.allowed_lateness[0] = -1;
    refuse("impression");
    config.orphan_timeout = -1;
    refuse("orphan_timeout");
}

Test(funnel, refuses_parents_that_cannot_be)
{
    config.action[2].parent = 0;
    refuse("cart");
    config.action[4].parent = 3; // the last of the funnel starts no stage
    refuse("like");
    config.action[4].parent = 4;
    refuse("like");
    config.action[3].side = true; // then the cart is last, and a side action hangs on it
    refuse("purchase");
    config.action[4].side = false;
    config.action[3].side = true;
    config.action[3].parent = 1;
    refuse("like");
    config.action[1].side = true;
    refuse("click");
}

Test(funnel, refuses_names_that_cannot_be)
{
    static const char *const names[] = {
        "",    "Click", "a/b",        "..",
        "a b", "cart",  "impression", "0123456789012345678901234567890123456789012345678",
        NULL};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        config.action[3].name = names[i];
        refuse("action");
    }
}

Test(funnel, refuses_settings_that_cannot_be)
{
    config.keep_negatives = 0;
    refuse("keep_negatives");
    config.keep_negatives = 1.5;
    refuse("keep_negatives");
    config.keep_negatives = (double)NAN;
    refuse("keep_negatives");
    config.segment_bytes = 100;
    refuse("segment_bytes");
    config.ranks = 1;
    refuse("actions");
    config.ranks = CONSUMER_TOPICS_MAX + 1;
    refuse("actions");
    config.directory = "";
    refuse("directory");
}

// A favourite that counts as a like: a child to look for, without a task.
Test(funnel, an_action_counts_as_another)
{
    struct base_error error;
    config.ranks = 6;
    config.action[5] = (struct consumer_action_config){"favourite", 1, true, true, 10, 50, 4};
    cr_assert_eq(consumer_funnel_compile(&config, &funnel, &error), 0, "%s", error.text);
    cr_assert(funnel.ranks == 6 && funnel.tasks == 4);
    cr_assert(funnel.stage[1].children == 3 && funnel.stage[1].by_touch);
    cr_assert_eq(funnel.negatives[1], 0xf);
    config.action[5].as = 3;
    refuse("favourite");
    for (uint32_t wrong = 0; wrong < 3; wrong++) {
        config.ranks = 6;
        config.action[5] = (struct consumer_action_config){"favourite", 1, true, true, 10, 50, 4};
        *(wrong == 0   ? &config.action[5].wait
          : wrong == 1 ? &config.action[5].window
                       : &config.action[4].window) -= 1;
        refuse("favourite");
    }
    config.ranks = 7;
    config.action[5] = (struct consumer_action_config){"favourite", 1, true, true, 10, 50, 4};
    config.action[6] = (struct consumer_action_config){"share", 1, true, true, 10, 50, 0};
    refuse("share");
}
