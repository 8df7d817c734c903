// The daemon's configuration: losses, funnel and joint loss, and what cannot be of them.
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"

// A shop: click, purchase with its value; cart, watch and count beside. The holes: settings of the model, of
// the purchase, of the watch.
static const char shop[] =
    "source: {kind: files, path: /data}\n"
    "slots: [{name: brand, path: categorical.brand}]\n"
    "model: {%s}\n"
    "actions:\n"
    "  - {name: click, topic: clicks, wait: 10m, window: 1h}\n"
    "  - {name: purchase, topic: purchases, wait: 1h, window: 1d%s}\n"
    "  - {name: cart, topic: carts, side: true, parent: click, wait: 1h, window: 1d}\n"
    "  - {name: watch, topic: watches, side: true, parent: click, wait: 1h, window: 1d%s}\n"
    "  - {name: share, topic: shares, side: true, parent: impression, wait: 1h, window: 1d}\n";

static struct daemon_config *load(const char *model, const char *purchase, const char *watch,
                                  struct base_config_problems *problems)
{
    char text[4096];
    snprintf(text, sizeof text, shop, model, purchase, watch);
    *problems = (struct base_config_problems){0};
    return daemon_config_load_text("f.yaml", base_span_string(text), problems);
}

static struct daemon_config *good(const char *model, const char *purchase, const char *watch)
{
    struct base_config_problems problems;
    struct daemon_config *config = load(model, purchase, watch, &problems);
    cr_assert(config && problems.count == 0, "%s", problems.item[0].text);
    return config;
}

static void expect(const char *model, const char *purchase, const char *watch, const char *text, bool warning)
{
    struct base_config_problems problems;
    struct daemon_config *config = load(model, purchase, watch, &problems);
    cr_assert_eq(problems.count, 1, "%s: %u problems", text, problems.count);
    cr_expect(strstr(problems.item[0].text, text), "%s", problems.item[0].text);
    cr_expect_eq(config != NULL, warning);
    daemon_config_free(config);
}

Test(daemon_config_tasks, defaults_are_the_losses_of_old)
{
    struct daemon_config *config = good("", "", "");
    const struct trainer_loss_config *loss = &daemon_config_model(config)->loss;
    for (uint32_t k = 0; k < 5; k++) {
        cr_expect(loss->kind[k] == TRAINER_LOSS_BCE && !loss->events[k] && loss->decay[k] == 1);
        cr_expect_eq(trainer_loss_outputs(loss, k), 1);
    }
    cr_expect(loss->branch == 0 && loss->correction == TRAINER_CORRECTION_NONE &&
              loss->weighting == TRAINER_WEIGHTING_FIXED);
    // A file that says the defaults is the same to the hash.
    struct daemon_config *said =
        good("funnel: chain, weighting: fixed, decay_examples: 1000000, cvr: {correction: none}",
             ", loss: bce, decay: 1", "");
    cr_expect_eq(said->hash, config->hash);
    daemon_config_free(said);
    said = good("", ", decay: 0.5", "");
    cr_expect_neq(said->hash, config->hash);
    daemon_config_free(said);
    daemon_config_free(config);
}

Test(daemon_config_tasks, losses_and_weights)
{
    struct daemon_config *config = good(
        "weighting: uncertainty, decay_examples: 5000, cvr: {correction: ips, weight: 0.5, propensity_min: "
        "0.2}",
        ", loss: ziln, decay: 0.5, fields: {value: order_value}",
        ", loss: mse, space: events, fields: {value: seconds}");
    const struct trainer_loss_config *loss = &daemon_config_model(config)->loss;
    cr_expect(loss->kind[1] == TRAINER_LOSS_ZILN && loss->kind[3] == TRAINER_LOSS_MSE && loss->events[3]);
    cr_expect(loss->decay[1] == 0.5f && loss->decay_examples == 5000);
    cr_expect_eq(loss->weighting, TRAINER_WEIGHTING_UNCERTAINTY);
    cr_expect(loss->correction == TRAINER_CORRECTION_IPS && loss->correction_weight == 0.5f &&
              loss->propensity_min == 0.2f);
    cr_expect(loss->parent[3] == 0 && loss->parent[4] == UINT32_MAX);
    daemon_config_free(config);
}

Test(daemon_config_tasks, esm2)
{
    struct daemon_config *config = good("funnel: esm2, branch: cart, cvr: {correction: dr}", "", "");
    const struct trainer_loss_config *loss = &daemon_config_model(config)->loss;
    cr_expect_eq(loss->branch, 2);
    cr_expect_eq(trainer_loss_outputs(loss, 1), 3); // two branches, the imputed error
    daemon_config_free(config);
}

// A cart or a favourite, whichever comes first.
Test(daemon_config_tasks, an_action_that_counts_as_another)
{
    static const char text[] =
        "source: {kind: files, path: /data}\n"
        "slots: [{name: brand, path: categorical.brand}]\n"
        "model: {funnel: esm2, branch: cart}\n"
        "actions:\n"
        "  - {name: click, topic: clicks, wait: 10m, window: 1h}\n"
        "  - {name: purchase, topic: purchases, wait: 1h, window: 1d}\n"
        "  - {name: cart, topic: carts, side: true, parent: click, wait: 1h, window: 1d}\n"
        "  - {name: favourite, topic: favourites, side: true, parent: click, wait: %s, window: 1d, as: "
        "%s%s}\n"
        "%s";
    static const struct {
        const char *wait, *as, *more, *after, *said;
    } cases[] = {
        {"1h", "cart", "", "", NULL},
        {"2h", "cart", "", "", "must be those of cart"},
        {"1h", "basket", "", "", "\"basket\" is no side action"},
        {"1h", "purchase", "", "", "\"purchase\" is no side action"},
        {"1h", "cart", ", loss: mse, fields: {value: v}", "", "is that of cart"},
        {"1h", "cart", "", "  - {name: share, topic: s, side: true, parent: click, wait: 1h, window: 1d}\n",
         "must come before the actions that count as another"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char filled[4096];
        snprintf(filled, sizeof filled, text, cases[i].wait, cases[i].as, cases[i].more, cases[i].after);
        struct base_config_problems problems = {0};
        struct daemon_config *config = daemon_config_load_text("f.yaml", base_span_string(filled), &problems);
        if (cases[i].said) {
            cr_assert(!config && strstr(problems.item[0].text, cases[i].said), "%s", problems.item[0].text);
            continue;
        }
        cr_assert(config, "%s", problems.item[0].text);
        cr_expect(daemon_config_model(config)->loss.tasks == 3 && daemon_config_tasks(config) == 3);
        cr_expect_eq(daemon_config_model(config)->network.tasks, 3);
        char directory[DAEMON_CONFIG_PATH_MAX];
        struct consumer_lane_config lane;
        daemon_config_lane(config, 0, directory, &lane);
        cr_expect(lane.ranks == 5 && lane.action[4].as == 3 && lane.action[3].as == 0);
        daemon_config_free(config);
    }
}

Test(daemon_config_tasks, what_cannot_be)
{
    expect("", ", loss: mse, fields: {value: order_value}", "", "an action of the funnel is learned by",
           false);
    expect("", ", loss: ziln", "", "must be given where the loss is about a value", false);
    expect("", "", ", loss: poisson", "must be given where the loss is about a value", false);
    expect("", "", ", space: events", "the losses mse and poisson only", true);
    expect("branch: cart", "", "", "the funnel esm2 only", true);
    expect("funnel: esm2", "", "", "must be given with the funnel esm2", false);
    expect("funnel: esm2, branch: basket", "", "", "\"basket\" is no side action with a task", false);
    expect("funnel: esm2, branch: purchase", "", "", "\"purchase\" is no side action with a task", false);
    expect("funnel: esm2, branch: share", "", "", "hangs on the impression", false);
    expect("funnel: esm2, branch: watch", "", ", loss: mse, fields: {value: seconds}",
           "must be learned by bce", false);
    expect("cvr: {weight: 2}", "", "", "has no effect without a correction", true);
    expect("funnel: esm2, branch: cart, cvr: {correction: dr}", ", loss: ziln, fields: {value: order_value}",
           "", "5 logits", false);
    struct base_config_problems problems = {0};
    const char *one = "source: {kind: files, path: /data}\n"
                      "slots: [{name: brand, path: categorical.brand}]\n"
                      "model: {cvr: {correction: ips}}\n"
                      "actions: [{name: click, topic: clicks, wait: 10m, window: 1h}]\n";
    cr_expect_null(daemon_config_load_text("f.yaml", base_span_string(one), &problems));
    cr_expect(strstr(problems.item[0].text, "needs a second stage"), "%s", problems.item[0].text);
}

// The value of an action is known only after the impression: under that path it is no feature.
Test(daemon_config_tasks, the_value_that_is_learned_is_no_feature)
{
    char text[4096], with[4096];
    snprintf(text, sizeof text, shop, "", ", loss: ziln, fields: {value: order.value}", "");
    snprintf(with, sizeof with, "%snumerics: [{name: amount, path: order.value}]\n", text);
    struct base_config_problems problems = {0};
    cr_expect_null(daemon_config_load_text("f.yaml", base_span_string(with), &problems));
    cr_expect_eq(problems.errors, 1);
    cr_expect(strstr(problems.item[0].text, "known only after the impression"), "%s", problems.item[0].text);
}
