// The daemon's configuration: what its tasks learn by. Checks what no row can check alone, and makes the
// loss.
#include <string.h>

#include "daemon/config_private.h"

struct tasks {
    const struct daemon_config *config;
    struct base_config_problems *problems;
};

#define FAIL(tasks, field, ...) \
    base_config_problem((tasks)->problems, (tasks)->config->memory, false, field, __VA_ARGS__)
#define WARN(tasks, field, ...) \
    base_config_problem((tasks)->problems, (tasks)->config->memory, true, field, __VA_ARGS__)

static const struct daemon_config_action *tasks_action(const struct daemon_config *config, const char *name,
                                                       uint32_t *rank)
{
    for (*rank = 1; name && *rank < daemon_config_ranks(config); (*rank)++) {
        const struct daemon_config_action *action = daemon_config_action(config, *rank);
        if (action->name && strcmp(action->name, name) == 0) {
            return action;
        }
    }
    return NULL;
}

static void check_action(const struct tasks *tasks, const struct daemon_config_action *action)
{
    const struct daemon_config_fields *fields = &action->topic.fields;
    bool value = action->loss == TRAINER_LOSS_MSE || action->loss == TRAINER_LOSS_POISSON;
    if (value && !action->side) {
        FAIL(
            tasks, &action->loss,
            "an action of the funnel is learned by bce or ziln; mse and poisson have no probability that its "
            "products could multiply");
    }
    if (action->loss > TRAINER_LOSS_BCE && !(fields->value && fields->value[0])) {
        FAIL(tasks, &fields->value, "must be given where the loss is about a value");
    }
    if (action->space == DAEMON_SPACE_EVENTS && action->loss >= 0 && !value) {
        WARN(tasks, &action->space, "has an effect with the losses mse and poisson only");
    }
}

static void check_as(const struct tasks *tasks, uint32_t rank)
{
    const struct daemon_config_action *action = daemon_config_action(tasks->config, rank);
    uint32_t before;
    if (!action->as) {
        if (rank > 1 && daemon_config_action(tasks->config, rank - 1)->as) {
            FAIL(tasks, &action->name, "must come before the actions that count as another (`as`)");
        }
        return;
    }
    const struct daemon_config_action *other = tasks_action(tasks->config, action->as, &before);
    if (!other || before >= rank || !other->side || other->as || !action->side) {
        FAIL(tasks, &action->as, "\"%.64s\" is no side action before it with a task", action->as);
    } else if (!action->parent || !other->parent || strcmp(action->parent, other->parent) != 0 ||
               action->wait != other->wait || action->window != other->window) {
        FAIL(tasks, &action->as, "parent, wait and window must be those of %.64s", action->as);
    } else if (action->loss > TRAINER_LOSS_BCE) {
        FAIL(tasks, &action->loss, "is that of %.64s, as which it counts", action->as);
    }
}

static void check_branch(const struct tasks *tasks)
{
    const struct daemon_config_model *model = &tasks->config->model;
    uint32_t rank;
    if (model->funnel != DAEMON_FUNNEL_ESM2) {
        if (model->branch) {
            WARN(tasks, &model->branch, "has an effect with the funnel esm2 only");
        }
        return;
    }
    const struct daemon_config_action *action = tasks_action(tasks->config, model->branch, &rank);
    if (!model->branch) {
        FAIL(tasks, &model->branch, "must be given with the funnel esm2: a side action");
    } else if (!action || !action->side || action->as) {
        FAIL(tasks, &model->branch, "\"%.64s\" is no side action with a task", model->branch);
    } else if (action->parent && strcmp(action->parent, "impression") == 0) {
        FAIL(tasks, &model->branch,
             "\"%.64s\" hangs on the impression; it must hang on a stage before the last", model->branch);
    } else if (action->loss > TRAINER_LOSS_BCE) {
        FAIL(tasks, &model->branch, "\"%.64s\" must be learned by bce", model->branch);
    }
}

static void check_cvr(const struct tasks *tasks)
{
    const struct daemon_config *config = tasks->config;
    const struct daemon_config_cvr *cvr = &config->model.cvr;
    uint32_t stages = 0;
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        stages += !daemon_config_action(config, rank)->side;
    }
    if (cvr->correction > TRAINER_CORRECTION_NONE && stages < 2) {
        FAIL(tasks, &cvr->correction, "needs a second stage of the funnel");
    }
    const double *others[] = {&cvr->weight, &cvr->propensity_min};
    for (uint32_t i = 0; i < 2 && cvr->correction == TRAINER_CORRECTION_NONE; i++) {
        if (base_config_given(config->memory, others[i])) {
            WARN(tasks, others[i], "has no effect without a correction");
        }
    }
}

void config_tasks_check(const struct daemon_config *config, struct base_config_problems *problems)
{
    const struct tasks tasks = {config, problems};
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        check_action(&tasks, daemon_config_action(config, rank));
        check_as(&tasks, rank);
    }
    check_branch(&tasks);
    check_cvr(&tasks);
}

void config_tasks_build(struct daemon_config *config, struct base_config_problems *problems)
{
    const struct daemon_config_model *from = &config->model;
    struct trainer_model_config *model = &config->built->model;
    struct trainer_loss_config *loss = &model->loss;
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        uint32_t as;
        config->built->topic[rank].as =
            tasks_action(config, daemon_config_action(config, rank)->as, &as) ? as : 0;
    }
    loss->tasks = daemon_config_tasks(config);
    loss->full = from->ctcvr_to_ctr == DAEMON_CTCVR_FULL;
    loss->keep_negatives = (float)config->keep_negatives;
    loss->negatives_weighted = config->negatives_correction == DAEMON_NEGATIVES_WEIGHT;
    loss->weighting = (enum trainer_weighting)from->weighting;
    loss->decay_examples = (double)from->decay_examples;
    loss->correction = (enum trainer_correction)from->cvr.correction;
    loss->correction_weight = (float)from->cvr.weight;
    loss->propensity_min = (float)from->cvr.propensity_min;
    for (uint32_t task = 0; task < loss->tasks; task++) {
        const struct daemon_config_action *action = daemon_config_action(config, task + 1);
        uint32_t parent = config->built->topic[task + 1].parent;
        loss->stages += !action->side;
        // A side task multiplies the product of the stage that it hangs on; on the impression there is none.
        loss->parent[task] = action->side && parent > 0 ? parent - 1 : UINT32_MAX;
        loss->task_weight[task] = (float)action->weight;
        loss->kind[task] = (uint8_t)action->loss;
        loss->events[task] = action->space == DAEMON_SPACE_EVENTS;
        loss->decay[task] = (float)action->decay;
        model->task_names[task] = action->name;
    }
    uint32_t rank;
    if (from->funnel == DAEMON_FUNNEL_ESM2 && tasks_action(config, from->branch, &rank)) {
        loss->branch = rank - 1;
    }
    struct base_error error;
    if (trainer_loss_check(loss, &error)) {
        base_config_problem(problems, config->memory, false, &config->actions, "%s", error.text);
        return;
    }
    trainer_loss_towers(loss, model->network.outputs);
}
