// Losses of a sample. See loss.h; docs/losses.md derives the formulas and gives their errors.
//
// A stage's logit is its first output, or, of the stage that `branch` parts in two, the logit of both
// branches together; what comes to it is spread over the outputs that it was made of (struct loss_stage).
#include "trainer/loss.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static bool loss_is_value(const struct trainer_loss_config *config, uint32_t k)
{
    return config->kind[k] == TRAINER_LOSS_MSE || config->kind[k] == TRAINER_LOSS_POISSON;
}

// Is stage k parted in two?
static bool loss_is_branched(const struct trainer_loss_config *config, uint32_t k)
{
    return config->branch && k == config->parent[config->branch] + 1;
}

static bool loss_is_imputed(const struct trainer_loss_config *config, uint32_t k)
{
    return config->correction == TRAINER_CORRECTION_DR && k == 1;
}

uint32_t trainer_loss_outputs(const struct trainer_loss_config *config, uint32_t k)
{
    uint32_t outputs = 1;
    outputs += config->kind[k] == TRAINER_LOSS_ZILN ? 2 : 0;
    outputs += loss_is_branched(config, k);
    outputs += loss_is_imputed(config, k);
    return outputs;
}

void trainer_loss_towers(const struct trainer_loss_config *config, uint8_t outputs[static BASE_TASKS_MAX])
{
    for (uint32_t k = 0; k < BASE_TASKS_MAX; k++) {
        outputs[k] = k < config->tasks ? (uint8_t)trainer_loss_outputs(config, k) : 0;
    }
}

uint32_t trainer_loss_place(const struct trainer_loss_config *config, uint32_t k)
{
    uint32_t place = 0;
    for (uint32_t i = 0; i < k; i++) {
        place += trainer_loss_outputs(config, i);
    }
    return place;
}

static int check_kinds(const struct trainer_loss_config *config, struct base_error *error)
{
    for (uint32_t k = 0; k < config->tasks; k++) {
        if (config->kind[k] >= TRAINER_LOSS_KINDS) {
            return base_error_set(error, BASE_EINVAL, "task %u: there is no loss %u", k, config->kind[k]);
        }
        if (k < config->stages && loss_is_value(config, k)) {
            return base_error_set(error, BASE_EINVAL,
                                  "task %u: a stage's loss is bce or ziln; mse and poisson have no "
                                  "probability that the funnel could multiply",
                                  k);
        }
        if (trainer_loss_outputs(config, k) > TRAINER_LOSS_LOGITS_MAX / BASE_TASKS_MAX) {
            return base_error_set(
                error, BASE_EINVAL,
                "task %u: %u logits; ziln, a branch and the doubly robust correction do not "
                "go together",
                k, trainer_loss_outputs(config, k));
        }
    }
    return 0;
}

static int check_branch(const struct trainer_loss_config *config, struct base_error *error)
{
    uint32_t branch = config->branch;
    if (branch == 0) {
        return 0;
    }
    if (branch < config->stages || branch >= config->tasks || config->parent[branch] == UINT32_MAX ||
        config->parent[branch] + 1 >= config->stages || config->kind[branch] != TRAINER_LOSS_BCE) {
        return base_error_set(error, BASE_EINVAL,
                              "task %u cannot part a stage in two: it must be a side task with the loss bce "
                              "that hangs on a stage before the last",
                              branch);
    }
    return 0;
}

int trainer_loss_check(const struct trainer_loss_config *config, struct base_error *error)
{
    if (config->tasks < 1 || config->tasks > BASE_TASKS_MAX || config->stages > config->tasks) {
        return base_error_set(error, BASE_EINVAL,
                              "%u tasks with %u stages: there are 1..%d tasks, and stages 0..tasks",
                              config->tasks, config->stages, BASE_TASKS_MAX);
    }
    for (uint32_t k = config->stages; k < config->tasks; k++) {
        if (config->parent[k] != UINT32_MAX && config->parent[k] >= config->stages) {
            return base_error_set(error, BASE_EINVAL, "task %u: its parent %u is no stage", k,
                                  config->parent[k]);
        }
    }
    if (config->correction != TRAINER_CORRECTION_NONE && config->stages < 2) {
        return base_error_set(error, BASE_EINVAL, "a correction of the conversion rate needs two stages");
    }
    return check_branch(config, error) ? -1 : check_kinds(config, error);
}

float trainer_loss_value(const struct trainer_loss_config *config, const struct base_sample *sample,
                         uint32_t k)
{
    if (!sample->label[k]) {
        return 0.0f;
    }
    float value = sample->value[k];
    bool fits = config->kind[k] == TRAINER_LOSS_ZILN ? value > 0.0f : value >= 0.0f;
    return fits && isfinite(value) ? value : NAN;
}

bool trainer_loss_counts(const struct trainer_loss_config *config, const struct base_sample *sample,
                         uint32_t k)
{
    if (!(sample->mask >> k & 1)) {
        return false;
    }
    if (!loss_is_value(config, k)) {
        return true;
    }
    return !isnan(trainer_loss_value(config, sample, k)) && (sample->label[k] || !config->events[k]);
}

// A row of logits, and where each task's begin in it.
struct loss_row {
    const struct trainer_loss_config *config;
    const float *logits;
    uint32_t place[BASE_TASKS_MAX + 1];
};

static struct loss_row loss_row_of(const struct trainer_loss_config *config, const float *logits)
{
    struct loss_row row = {.config = config, .logits = logits};
    for (uint32_t k = 0; k < config->tasks; k++) {
        row.place[k + 1] = row.place[k] + trainer_loss_outputs(config, k);
    }
    return row;
}

// The logit of a stage or side task, and what it was made of: derivative[i] by the output at place[i].
struct loss_stage {
    float logit;
    uint32_t parts; // the task's own first; the branch's logit is the last
    uint32_t place[3];
    float derivative[3];
    uint32_t own; // how many are the task's own
};

static struct loss_stage loss_stage_of(const struct loss_row *row, uint32_t k)
{
    const struct trainer_loss_config *config = row->config;
    const float *logits = row->logits;
    uint32_t place = row->place[k];
    struct loss_stage stage = {
        .logit = logits[place], .parts = 1, .place = {place}, .derivative = {1.0f}, .own = 1};
    if (loss_is_branched(config, k)) {
        uint32_t second = place + (config->kind[k] == TRAINER_LOSS_ZILN ? 3 : 1);
        uint32_t action = row->place[config->branch];
        const float a[] = {logits[action], logits[place], logits[second]};
        float dv[3];
        stage = (struct loss_stage){
            .logit = trainer_loss_branch(a, dv), .parts = 3, .place = {place, second, action}, .own = 2};
        stage.derivative[0] = dv[1];
        stage.derivative[1] = dv[2];
        stage.derivative[2] = dv[0];
    }
    return stage;
}

// Adds a gradient by a stage's logit to its outputs': all of them, or the task's own.
static void loss_stage_spread(const struct loss_stage *stage, float gradient, bool all, float *dlogits)
{
    if (stage->parts == 1) {
        dlogits[stage->place[0]] += gradient;
        return;
    }
    for (uint32_t i = 0; i < (all ? stage->parts : stage->own); i++) {
        dlogits[stage->place[i]] += gradient * stage->derivative[i];
    }
}

// The stages before task k that its product contains: 0 .. result-1. Its own logit comes after them.
static uint32_t loss_before(const struct trainer_loss_config *config, uint32_t k)
{
    if (k < config->stages) {
        return k;
    }
    return config->parent[k] == UINT32_MAX ? 0 : config->parent[k] + 1;
}

// Binary cross-entropy of task k's product, times `weight`; its gradient is added to dlogits.
static float loss_product(const struct loss_row *row, uint32_t k, bool label, float weight, float *dlogits)
{
    const struct trainer_loss_config *config = row->config;
    uint32_t before = loss_before(config, k);
    struct loss_stage stage[BASE_TASKS_MAX + 1];
    float a[BASE_TASKS_MAX + 1], da[BASE_TASKS_MAX + 1];
    for (uint32_t i = 0; i <= before; i++) {
        stage[i] = loss_stage_of(row, i < before ? i : k);
        a[i] = stage[i].logit;
    }
    if (k == 0 && config->stages > 0 && config->keep_negatives != 1.0f && !config->negatives_weighted) {
        a[before] -= logf(config->keep_negatives);
    }
    float loss = trainer_loss_product(a, before + 1, label, da);
    if (config->full) {
        for (uint32_t i = 0; i < before; i++) {
            loss_stage_spread(&stage[i], weight * da[i], true, dlogits);
        }
    }
    loss_stage_spread(&stage[before], weight * da[before], config->full, dlogits);
    return weight * loss;
}

// The loss of a value: of the whole task, or of what ziln adds to its product.
static float loss_value(const struct loss_row *row, uint32_t k, float value, float weight, float *dlogits)
{
    const struct trainer_loss_config *config = row->config;
    const float *logits = row->logits;
    uint32_t place = row->place[k];
    float da[2] = {0.0f, 0.0f}, loss;
    if (config->kind[k] == TRAINER_LOSS_ZILN) {
        loss = trainer_loss_lognormal(logits + place + 1, value, da);
        dlogits[place + 1] += weight * da[0];
        dlogits[place + 2] += weight * da[1];
        return weight * loss;
    }
    loss = config->kind[k] == TRAINER_LOSS_MSE ? trainer_loss_squared(logits[place], value, da)
                                               : trainer_loss_poisson(logits[place], value, da);
    dlogits[place] += weight * da[0];
    return weight * loss;
}

static float loss_task(const struct loss_row *row, const struct base_sample *sample, uint32_t k,
                       float *dlogits)
{
    const struct trainer_loss_config *config = row->config;
    float weight = config->task_weight[k] * sample->weight[k];
    if (loss_is_value(config, k)) {
        return loss_value(row, k, trainer_loss_value(config, sample, k), weight, dlogits);
    }
    bool label = sample->label[k] != 0;
    float loss = loss_product(row, k, label, weight, dlogits);
    if (config->kind[k] == TRAINER_LOSS_ZILN && label) {
        float value = trainer_loss_value(config, sample, k);
        loss += isnan(value) ? 0.0f : loss_value(row, k, value, weight, dlogits);
    }
    return loss;
}

// What a sample says of the conversion of a click.
struct loss_observation {
    bool counted;  // the impression enters here: N0, or the purchase part of C1
    bool observed; // o: a click whose conversion is `label` as far as is known
    bool label;
    float weight;
};

// A late click (L) has paid its product's negative as N0: here it begins as one that did not convert, until
// its purchase comes (D2), as in the evaluator's conditional measure.
static struct loss_observation loss_observe(const struct base_sample *sample)
{
    struct loss_observation seen = {.weight = 1.0f};
    if (sample->mask >> 1 & 1) {
        seen.counted = sample->kind == BASE_N0 || sample->kind == BASE_C1;
        seen.observed = sample->kind != BASE_N0;
        seen.label = sample->label[1] != 0;
        seen.weight = sample->weight[1];
    } else if (sample->kind == BASE_L && sample->mask & 1) {
        seen.observed = true;
        seen.weight = sample->weight[0];
    }
    return seen;
}

// ESCM2's term: inverse propensity o d / p, or doubly robust e + o (d - e) / p + o (d - e)^2 / p; d is the
// cross-entropy of the conversion given the click, e = softplus(the imputed error's logit), p = max(pCTR,
// propensity_min). No gradient flows through p, and none through d in the square, which teaches e alone: it
// would pull the conversion off the truth.
static float loss_correction(const struct loss_row *row, const struct base_sample *sample, float *dlogits)
{
    const struct trainer_loss_config *config = row->config;
    const float *logits = row->logits;
    struct loss_observation seen = loss_observe(sample);
    float weight = config->task_weight[1] * config->correction_weight * seen.weight;
    struct loss_stage stage = loss_stage_of(row, 1);
    float share =
        seen.observed ? 1.0f / fmaxf(trainer_loss_sigmoid(logits[0]), config->propensity_min) : 0.0f;
    float derivative = 0.0f;
    float error = seen.observed ? trainer_loss_product(&stage.logit, 1, seen.label, &derivative) : 0.0f;
    float loss = share * error;
    if (config->correction == TRAINER_CORRECTION_DR) {
        uint32_t place = row->place[2] - 1;
        float imputed = trainer_loss_softplus(logits[place]);
        float apart = seen.observed ? error - imputed : 0.0f, counted = seen.counted ? 1.0f : 0.0f;
        loss = counted * imputed + share * (apart + apart * apart);
        dlogits[place] +=
            weight * (counted - share * (1.0f + 2.0f * apart)) * trainer_loss_sigmoid(logits[place]);
    }
    if (seen.observed) {
        loss_stage_spread(&stage, weight * share * derivative, config->full, dlogits);
    }
    return weight * loss;
}

void trainer_loss_sample(const struct trainer_loss_config *config, const float *logits,
                         const struct base_sample *sample, float *dlogits, float *loss)
{
    assert(config->stages <= config->tasks && config->tasks <= BASE_TASKS_MAX);
    const struct loss_row row = loss_row_of(config, logits);
    memset(dlogits, 0, row.place[config->tasks] * sizeof *dlogits);
    for (uint32_t k = 0; k < config->tasks; k++) {
        loss[k] = 0.0f;
        if (trainer_loss_counts(config, sample, k)) {
            loss[k] = loss_task(&row, sample, k, dlogits);
        }
    }
    if (config->correction != TRAINER_CORRECTION_NONE) {
        loss[1] += loss_correction(&row, sample, dlogits);
    }
}

void trainer_loss_probabilities(const struct trainer_loss_config *config, const float *logits,
                                float *conditional, float *products)
{
    const struct loss_row row = loss_row_of(config, logits);
    float chain[BASE_TASKS_MAX + 1] = {1.0f}; // chain[i]: stages 0 .. i-1 all happen
    for (uint32_t k = 0; k < config->tasks; k++) {
        const float *own = logits + row.place[k];
        float probability = 0.0f, product = 0.0f;
        switch ((enum trainer_loss_kind)config->kind[k]) {
        case TRAINER_LOSS_BCE:
        case TRAINER_LOSS_ZILN:
            probability = trainer_loss_sigmoid(loss_stage_of(&row, k).logit);
            product = chain[loss_before(config, k)] * probability;
            break;
        case TRAINER_LOSS_MSE:
            probability = product = trainer_loss_squared_value(*own);
            break;
        case TRAINER_LOSS_POISSON:
            probability = product = trainer_loss_poisson_value(*own);
            break;
        case TRAINER_LOSS_KINDS:
            assert(false);
        }
        if (k < config->stages) {
            chain[k + 1] = product;
        }
        if (config->kind[k] == TRAINER_LOSS_ZILN) {
            product *= trainer_loss_lognormal_value(own + 1);
        }
        if (conditional) {
            conditional[k] = probability;
        }
        if (products) {
            products[k] = product;
        }
    }
}
