// A funnel: the lane's configuration checked and compiled. See funnel.h.
#include "consumer/funnel.h"

#include <assert.h>
#include <string.h>

#include "base/sample.h"
#include "consumer/segments.h"

static_assert((int)CONSUMER_TOPICS_MAX - 1 <= (int)BASE_TASKS_MAX, "a task an action");

static bool funnel_span_fits(int64_t ms)
{
    return ms >= 0 && ms <= CONSUMER_TIME_BOUND;
}

// A name becomes part of file names and metrics.
static bool funnel_name_fits(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    return length > 0 && length <= CONSUMER_ACTION_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length;
}

static int funnel_check_name(const struct consumer_lane_config *config, uint32_t rank,
                             struct base_error *error)
{
    const char *name = config->action[rank].name;
    if (!funnel_name_fits(name)) {
        return base_error_set(error, BASE_EINVAL,
                              "action %u: its name \"%s\" must be 1 to %d of a-z, 0-9, '_', '-'", rank,
                              name ? name : "", CONSUMER_ACTION_NAME_MAX);
    }
    bool taken = strcmp(name, "impression") == 0;
    for (uint32_t other = 1; other < rank; other++) {
        taken = taken || strcmp(name, config->action[other].name) == 0;
    }
    return taken ? base_error_set(error, BASE_EINVAL, "action %s: the name is taken", name) : 0;
}

static int funnel_check_action(const struct consumer_lane_config *config, uint32_t rank, uint32_t last,
                               struct base_error *error)
{
    const struct consumer_action_config *action = &config->action[rank];
    if (!funnel_span_fits(action->window) || !funnel_span_fits(action->wait)) {
        return base_error_set(error, BASE_EINVAL, "action %s: wait and window must be 0 to 2^53 ms",
                              action->name);
    }
    if (action->wait > action->window) {
        return base_error_set(error, BASE_EINVAL,
                              "action %s: its wait (%lld ms) is longer than its window (%lld ms)",
                              action->name, (long long)action->wait, (long long)action->window);
    }
    if (action->side && action->parent >= last) {
        return base_error_set(error, BASE_EINVAL,
                              "action %s: its parent %u must be a stage: the impression (0) or an action of "
                              "the funnel before the last (%u)",
                              action->name, action->parent, last);
    }
    if (!action->side && rank > last) {
        return base_error_set(error, BASE_EINVAL,
                              "action %s: actions of the funnel must come before all side actions",
                              action->name);
    }
    if (!action->side && action->parent != rank - 1) {
        return base_error_set(error, BASE_EINVAL,
                              "action %s: its parent must be %u, the one before it in the funnel, not %u",
                              action->name, rank - 1, action->parent);
    }
    return 0;
}

static int funnel_check_as(const struct consumer_lane_config *config, uint32_t rank, struct base_error *error)
{
    const struct consumer_action_config *action = &config->action[rank];
    if (action->as == 0) {
        return rank > 1 && config->action[rank - 1].as != 0
                   ? base_error_set(error, BASE_EINVAL,
                                    "action %s: it must come before all that count as another one",
                                    action->name)
                   : 0;
    }
    const struct consumer_action_config *other = action->as < rank ? &config->action[action->as] : NULL;
    if (!other || !action->side || !other->side || other->as != 0 || other->parent != action->parent ||
        other->wait != action->wait || other->window != action->window) {
        return base_error_set(
            error, BASE_EINVAL,
            "action %s: it can count as a side action before it with the same parent, wait and "
            "window, not as %u",
            action->name, action->as);
    }
    return 0;
}

static int funnel_check_lane(const struct consumer_lane_config *config, struct base_error *error)
{
    if (config->ranks < 2 || config->ranks > CONSUMER_TOPICS_MAX) {
        return base_error_set(error, BASE_EINVAL, "a lane has 1 to %d actions, not %lld",
                              CONSUMER_TOPICS_MAX - 1, (long long)config->ranks - 1);
    }
    for (uint32_t rank = 0; rank < config->ranks; rank++) {
        const char *name = rank && config->action[rank].name ? config->action[rank].name : "impression";
        if (!funnel_span_fits(config->allowed_lateness[rank]) || !funnel_span_fits(config->dedupe[rank])) {
            return base_error_set(error, BASE_EINVAL,
                                  "topic of %s: allowed_lateness and dedupe must be 0 to 2^53 ms", name);
        }
    }
    if (!funnel_span_fits(config->orphan_timeout)) {
        return base_error_set(error, BASE_EINVAL, "orphan_timeout must be 0 to 2^53 ms");
    }
    if (!(config->keep_negatives > 0 && config->keep_negatives <= 1)) {
        return base_error_set(error, BASE_EINVAL, "keep_negatives must be above 0 and at most 1, not %g",
                              config->keep_negatives);
    }
    if (config->segment_bytes < CONSUMER_SEGMENTS_MIN || config->segment_bytes > UINT32_MAX) {
        return base_error_set(error, BASE_EINVAL, "segment_bytes must be %d to 2^32 - 1, not %llu",
                              CONSUMER_SEGMENTS_MIN, (unsigned long long)config->segment_bytes);
    }
    if (!config->directory || !*config->directory) {
        return base_error_set(error, BASE_EINVAL, "a lane needs a directory for its journey logs");
    }
    return 0;
}

static void funnel_compile_stage(struct consumer_funnel *funnel, uint32_t stage)
{
    struct consumer_funnel_stage *compiled = &funnel->stage[stage];
    compiled->name = stage ? funnel->action[stage].name : "impression";
    compiled->next = stage + 1;
    // Whoever looks whether a stage's action is joined is told by the action's own record after a restart.
    compiled->retention = stage ? funnel->action[stage].window : 0;
    for (uint32_t rank = 1; rank < funnel->ranks; rank++) {
        const struct consumer_action_config *action = &funnel->action[rank];
        if (action->parent != stage) {
            continue;
        }
        compiled->child[compiled->children++] = rank;
        compiled->by_id = compiled->by_id || !action->last_touch;
        compiled->by_touch = compiled->by_touch || action->last_touch;
        if (action->window > compiled->retention) {
            compiled->retention = action->window;
        }
    }
}

// A product is deeper than an action if it hangs on the stage that the action starts, or below.
static uint8_t funnel_negatives(const struct consumer_funnel *funnel, uint32_t rank)
{
    unsigned tasks = 1u << (rank - 1);
    for (uint32_t other = 1; other < funnel->ranks && !funnel->action[rank].side; other++) {
        if (funnel->action[other].parent >= rank && !funnel->action[other].as) {
            tasks |= 1u << (other - 1);
        }
    }
    return (uint8_t)tasks;
}

int consumer_funnel_compile(const struct consumer_lane_config *config, struct consumer_funnel *funnel,
                            struct base_error *error)
{
    if (funnel_check_lane(config, error) != 0) {
        return -1;
    }
    uint32_t last = 0; // action of the funnel
    while (last + 1 < config->ranks && !config->action[last + 1].side) {
        last++;
    }
    for (uint32_t rank = 1; rank < config->ranks; rank++) {
        if (funnel_check_name(config, rank, error) != 0) {
            return -1;
        }
        if (last == 0) {
            return base_error_set(error, BASE_EINVAL,
                                  "action %s: the first action must be one of the funnel, not a side action",
                                  config->action[rank].name);
        }
        if (funnel_check_action(config, rank, last, error) != 0 ||
            funnel_check_as(config, rank, error) != 0) {
            return -1;
        }
    }

    struct consumer_funnel compiled = {.ranks = config->ranks, .stages = last};
    memcpy(compiled.action, config->action, sizeof compiled.action);
    for (uint32_t rank = 1; rank < compiled.ranks; rank++) {
        compiled.tasks += config->action[rank].as == 0;
    }
    for (uint32_t stage = 0; stage < compiled.stages; stage++) {
        funnel_compile_stage(&compiled, stage);
    }
    compiled.stage[0].by_id = true;
    if (config->dedupe[0] > compiled.stage[0].retention) {
        compiled.stage[0].retention = config->dedupe[0];
    }
    for (uint32_t rank = 1; rank < compiled.ranks; rank++) {
        compiled.negatives[rank] = funnel_negatives(&compiled, rank);
    }
    *funnel = compiled;
    return 0;
}
