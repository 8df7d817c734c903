// The daemon's configuration: how its model learns. Checks what no row can check alone, and makes the update.
#include <math.h>

#include "daemon/config_private.h"

struct updates {
    const struct daemon_config *config;
    struct base_config_problems *problems;
};

#define FAIL(updates, field, ...) \
    base_config_problem((updates)->problems, (updates)->config->memory, false, field, __VA_ARGS__)
#define WARN(updates, field, ...) \
    base_config_problem((updates)->problems, (updates)->config->memory, true, field, __VA_ARGS__)

enum {
    USED_BY_MOMENTUM = 1 << TRAINER_OPTIMISER_MOMENTUM,
    USED_BY_ADAGRAD = 1 << TRAINER_OPTIMISER_ADAGRAD | 1 << TRAINER_OPTIMISER_ROWWISE_ADAGRAD,
    USED_BY_FTRL = 1 << TRAINER_OPTIMISER_FTRL,
    USED_BY_ADAM = 1 << TRAINER_OPTIMISER_ADAM,
};

static const struct daemon_config_tensor *config_tensor(const struct daemon_config *config, uint32_t index)
{
    return (const struct daemon_config_tensor *)config->model.tensors.item + index;
}

// --- Checking ---

// Constants that were given and that no optimizer of the side reads. `used`: a bit for each kind.
static void check_constants(const struct updates *updates, const struct daemon_config_optimizer *side,
                            int used)
{
    const struct {
        const void *field;
        int readers;
        const char *names;
    } rows[] = {
        {&side->momentum, USED_BY_MOMENTUM, "momentum"},
        {&side->initial, USED_BY_ADAGRAD | USED_BY_FTRL, "adagrad, rowwise_adagrad and ftrl"},
        {&side->epsilon, USED_BY_ADAGRAD | USED_BY_ADAM, "adagrad, rowwise_adagrad and adam"},
        {&side->half_life, USED_BY_ADAGRAD, "adagrad and rowwise_adagrad"},
        {&side->beta, USED_BY_FTRL, "ftrl"},
        {&side->lambda1, USED_BY_FTRL, "ftrl"},
        {&side->lambda2, USED_BY_FTRL, "ftrl"},
        {&side->beta1, USED_BY_ADAM, "adam"},
        {&side->beta2, USED_BY_ADAM, "adam"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!(used & rows[i].readers) && base_config_given(updates->config->memory, rows[i].field)) {
            WARN(updates, rows[i].field, "has an effect with %s only", rows[i].names);
        }
    }
}

// FTRL's alpha: not 0, and constant.
static void check_alpha(const struct updates *updates, const double *rate,
                        const struct daemon_config_schedule *schedule)
{
    if (!(*rate >= 1e-9)) {
        FAIL(updates, rate, "ftrl's alpha must be at least 1e-9");
    }
    if (schedule->warmup > 0 || schedule->half_life > 0) {
        FAIL(updates, schedule->warmup > 0 ? &schedule->warmup : &schedule->half_life,
             "ftrl's alpha must be constant, for its state rests on it");
    }
}

static void check_schedule(const struct updates *updates, const struct daemon_config_schedule *schedule)
{
    if (schedule->floor > 0 && schedule->half_life == 0) {
        WARN(updates, &schedule->floor, "has an effect with a half_life only");
    }
}

// The bit of the kind that a slot or tensor is learned by.
static int check_own(const struct updates *updates, const struct daemon_config_update *own, int inherited,
                     const double *rate, const struct daemon_config_schedule *schedule)
{
    int kind = own->optimizer >= 0 ? own->optimizer : inherited;
    if (kind == TRAINER_OPTIMISER_FTRL) {
        check_alpha(updates, isnan(own->rate) ? rate : &own->rate, schedule);
    }
    return 1 << kind;
}

void config_update_check(const struct daemon_config *config, struct base_config_problems *problems)
{
    const struct updates updates = {config, problems};
    const struct daemon_config_model *model = &config->model;
    const struct daemon_config_optimizer *dense = &model->optimizer.dense, *sparse = &model->optimizer.sparse;
    int dense_used = 1 << dense->kind, sparse_used = 0;
    if (dense->kind == TRAINER_OPTIMISER_ROWWISE_ADAGRAD) {
        FAIL(&updates, &dense->kind, "rowwise_adagrad is for embedding rows");
    }
    if (dense->kind == TRAINER_OPTIMISER_FTRL) {
        check_alpha(&updates, &model->rate.dense, &model->schedule.dense);
    }
    if (model->tensors.count > TRAINER_RULES_MAX) {
        FAIL(&updates, &model->tensors, "%u patterns; at most %d are allowed", model->tensors.count,
             TRAINER_RULES_MAX);
    }
    for (uint32_t i = 0; i < model->tensors.count; i++) {
        const struct daemon_config_update *own = &config_tensor(config, i)->update;
        if (own->optimizer == TRAINER_OPTIMISER_ROWWISE_ADAGRAD) {
            FAIL(&updates, &own->optimizer, "rowwise_adagrad is for embedding rows");
        }
        dense_used |= check_own(&updates, own, dense->kind, &model->rate.dense, &model->schedule.dense);
    }
    for (uint32_t i = 0; i < config->slots.count; i++) {
        sparse_used |= check_own(&updates, &daemon_config_slot(config, i)->update, sparse->kind,
                                 &model->rate.sparse, &model->schedule.sparse);
    }
    check_constants(&updates, dense, dense_used);
    check_constants(&updates, sparse, sparse_used);
    check_schedule(&updates, &model->schedule.dense);
    check_schedule(&updates, &model->schedule.sparse);
}

// --- Building ---

static struct trainer_optimiser_config update_optimiser(const struct daemon_config_optimizer *from,
                                                        double rate, double l2)
{
    return (struct trainer_optimiser_config){
        .kind = (enum trainer_optimiser_kind)from->kind,
        .rate = rate,
        .l2 = l2,
        .momentum = from->momentum,
        .initial = from->initial,
        .epsilon = from->epsilon,
        .half_life = (double)from->half_life,
        .beta = from->beta,
        .lambda1 = from->lambda1,
        .lambda2 = from->lambda2,
        .beta1 = from->beta1,
        .beta2 = from->beta2,
    };
}

static struct trainer_optimiser_config update_own(struct trainer_optimiser_config optimiser,
                                                  const struct daemon_config_update *own)
{
    if (own->optimizer >= 0) {
        optimiser.kind = (enum trainer_optimiser_kind)own->optimizer;
    }
    optimiser.rate = isnan(own->rate) ? optimiser.rate : own->rate;
    optimiser.l2 = isnan(own->l2) ? optimiser.l2 : own->l2;
    return optimiser;
}

static struct trainer_schedule update_schedule(const struct daemon_config_schedule *from)
{
    return (struct trainer_schedule){from->warmup, (double)from->half_life, from->floor};
}

void config_update_build(struct daemon_config *config)
{
    const struct daemon_config_model *model = &config->model;
    struct trainer_update_config *update = &config->built->model.update;
    update->dense = update_optimiser(&model->optimizer.dense, model->rate.dense, model->l2.dense);
    update->sparse = update_optimiser(&model->optimizer.sparse, model->rate.sparse, model->l2.sparse);
    update->clip_dense = model->clip.dense;
    update->clip_sparse = model->clip.sparse;
    update->schedule_dense = update_schedule(&model->schedule.dense);
    update->schedule_sparse = update_schedule(&model->schedule.sparse);
    update->rules = model->tensors.count;
    update->rule = base_config_memory(config->memory, update->rules * sizeof *update->rule);
    for (uint32_t i = 0; i < update->rules; i++) {
        const struct daemon_config_tensor *tensor = config_tensor(config, i);
        update->rule[i].match = tensor->match;
        update->rule[i].optimiser = update_own(update->dense, &tensor->update);
    }
    update->slot = base_config_memory(config->memory, config->slots.count * sizeof *update->slot);
    for (uint32_t i = 0; i < config->slots.count; i++) {
        update->slot[i] = update_own(update->sparse, &daemon_config_slot(config, i)->update);
    }
}
