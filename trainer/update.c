// The second half of a step. See update.h.
#include "trainer/update.h"

#include <assert.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { UPDATE_TILE = 16384 }; // weights

struct update_tensor {
    struct trainer_optimiser_config optimiser;
    size_t offset, size; // in the network's slab
    size_t state;        // offset of its state: one part [size], then the other
};

struct update_tile {
    uint32_t tensor;
    uint32_t count;
    size_t first; // weight of the tensor
    double squares;
};

struct trainer_update {
    const struct trainer_update_config *config;
    struct trainer_network *network;
    struct trainer_table *table;
    struct trainer_workers *workers;
    uint32_t slots, batch;
    bool folded; // dense tensors are plain SGD of one rate: the network's own update
    bool stateless;
    uint32_t tensors, tiles;
    struct update_tensor *tensor; // [tensors]
    struct update_tile *tile;     // [tiles]
    struct update_tensor beside;  // its size is 0 if there is none
    float *beside_weights;
    float *state; // [state_size], of dense tensors and the one beside
    size_t state_size;
    float *gradient;                            // [network's size]; NULL if folded
    struct trainer_optimiser_step *tensor_step; // [tensors]
    struct trainer_optimiser_step *slot_step;   // [slots]
    struct trainer_update_figures figures;
};

// ---- Configuration ----

double trainer_schedule_factor(const struct trainer_schedule *schedule, uint64_t examples)
{
    double factor = 1;
    if (schedule->warmup > examples) {
        factor = (double)examples / (double)schedule->warmup;
    }
    if (schedule->half_life > 0) {
        double left = exp2(-(double)examples / schedule->half_life);
        factor *= left > schedule->floor ? left : schedule->floor;
    }
    return factor;
}

const struct trainer_optimiser_config *trainer_update_slot(const struct trainer_update_config *config,
                                                           uint32_t slot)
{
    return config->slot ? &config->slot[slot] : &config->sparse;
}

static int update_check_schedule(const struct trainer_schedule *schedule, bool ftrl, const char *what,
                                 struct base_error *error)
{
    if (!(schedule->half_life == 0 || (schedule->half_life >= 1 && schedule->half_life <= 1e18))) {
        return base_error_set(error, BASE_EINVAL, "the %s schedule's half_life %g is not 0 or in 1..1e18",
                              what, schedule->half_life);
    }
    if (!(schedule->floor >= 0 && schedule->floor <= 1)) {
        return base_error_set(error, BASE_EINVAL, "the %s schedule's floor %g is not in 0..1", what,
                              schedule->floor);
    }
    if (ftrl && (schedule->warmup || schedule->half_life > 0)) {
        return base_error_set(
            error, BASE_EINVAL,
            "the %s rate has a schedule: ftrl's alpha must be constant, for its state rests "
            "on it",
            what);
    }
    return 0;
}

static int update_check_clip(double clip, const char *what, struct base_error *error)
{
    if (!(clip >= 0 && clip <= 1e30)) {
        return base_error_set(error, BASE_EINVAL, "the %s clip %g is not in 0..1e30", what, clip);
    }
    return 0;
}

int trainer_update_check(const struct trainer_update_config *config, uint32_t slots, struct base_error *error)
{
    bool ftrl_dense = config->dense.kind == TRAINER_OPTIMISER_FTRL,
         ftrl_sparse = !config->slot && config->sparse.kind == TRAINER_OPTIMISER_FTRL;
    if (trainer_optimiser_check(&config->dense, false, "dense", error) ||
        trainer_optimiser_check(&config->sparse, true, "sparse", error) ||
        update_check_clip(config->clip_dense, "dense", error) ||
        update_check_clip(config->clip_sparse, "sparse", error)) {
        return -1;
    }
    if (config->rules > TRAINER_RULES_MAX) {
        return base_error_set(error, BASE_EINVAL, "%u rules for tensors; at most %d", config->rules,
                              TRAINER_RULES_MAX);
    }
    for (uint32_t i = 0; i < config->rules; i++) {
        char what[128];
        snprintf(what, sizeof what, "tensors \"%.64s\"", config->rule[i].match);
        if (trainer_optimiser_check(&config->rule[i].optimiser, false, what, error)) {
            return -1;
        }
        ftrl_dense |= config->rule[i].optimiser.kind == TRAINER_OPTIMISER_FTRL;
    }
    for (uint32_t s = 0; s < slots && config->slot; s++) { // the table checks them
        ftrl_sparse |= config->slot[s].kind == TRAINER_OPTIMISER_FTRL;
    }
    return update_check_schedule(&config->schedule_dense, ftrl_dense, "dense", error) ||
                   update_check_schedule(&config->schedule_sparse, ftrl_sparse, "sparse", error)
               ? -1
               : 0;
}

static void *update_copy(const void *from, size_t size)
{
    return from && size ? memcpy(base_alloc(size), from, size) : NULL;
}

void trainer_update_config_copy(struct trainer_update_config *copy,
                                const struct trainer_update_config *config, uint32_t slots)
{
    *copy = *config;
    copy->slot = update_copy(config->slot, slots * sizeof *config->slot);
    copy->rule = update_copy(config->rule, config->rules * sizeof *config->rule);
    for (uint32_t i = 0; i < config->rules; i++) {
        copy->rule[i].match = update_copy(config->rule[i].match, strlen(config->rule[i].match) + 1);
    }
}

void trainer_update_config_clear(struct trainer_update_config *config)
{
    for (uint32_t i = 0; i < config->rules && config->rule; i++) {
        free((char *)(uintptr_t)config->rule[i].match);
    }
    free(config->rule);
    free(config->slot);
    config->rules = 0;
    config->rule = NULL;
    config->slot = NULL;
}

// ---- Making ----

static const struct trainer_tensor_rule *update_find_rule(const struct trainer_update_config *config,
                                                          const char *name)
{
    for (uint32_t i = 0; i < config->rules; i++) {
        if (fnmatch(config->rule[i].match, name, 0) == 0) {
            return &config->rule[i];
        }
    }
    return NULL;
}

int trainer_update_check_rules(const struct trainer_update_config *config,
                               const struct trainer_network *network, const struct trainer_tensor *beside,
                               struct base_error *error)
{
    uint32_t count;
    const struct trainer_tensor *tensors = trainer_network_tensors(network, &count);
    for (uint32_t i = 0; i < config->rules; i++) {
        bool found = beside && fnmatch(config->rule[i].match, beside->name, 0) == 0;
        for (uint32_t t = 0; t < count && !found; t++) {
            found = fnmatch(config->rule[i].match, tensors[t].name, 0) == 0;
        }
        if (!found) {
            return base_error_set(error, BASE_EINVAL, "tensors \"%.64s\": there is none of that name",
                                  config->rule[i].match);
        }
    }
    return 0;
}

struct trainer_optimiser_config trainer_update_tensor(const struct trainer_update_config *config,
                                                      const struct trainer_tensor *tensor)
{
    const struct trainer_tensor_rule *rule = update_find_rule(config, tensor->name);
    struct trainer_optimiser_config optimiser = rule ? rule->optimiser : config->dense;
    if (!rule && tensor->rows == 1) {
        optimiser.l2 = 0;
    }
    return optimiser;
}

static void update_list_tensor(struct trainer_update *update, const struct trainer_tensor *from,
                               struct update_tensor *tensor)
{
    tensor->optimiser = trainer_update_tensor(update->config, from);
    tensor->offset = from->offset;
    tensor->size = (size_t)from->rows * from->columns;
    tensor->state = update->state_size;
    update->state_size += trainer_optimiser_parts(&tensor->optimiser) * tensor->size;
    update->stateless &= tensor->optimiser.kind == TRAINER_OPTIMISER_SGD;
}

static void update_list_tensors(struct trainer_update *update, const struct trainer_tensor *beside)
{
    const struct trainer_update_config *config = update->config;
    const struct trainer_tensor *tensors = trainer_network_tensors(update->network, &update->tensors);
    update->tensor = base_alloc_zeroed(update->tensors, sizeof *update->tensor);
    update->folded = config->clip_dense == 0;
    update->stateless = config->clip_dense == 0 && config->clip_sparse == 0;
    for (uint32_t t = 0; t < update->tensors; t++) {
        struct update_tensor *tensor = &update->tensor[t];
        update_list_tensor(update, &tensors[t], tensor);
        update->folded &= tensor->optimiser.kind == TRAINER_OPTIMISER_SGD && tensor->optimiser.l2 == 0 &&
                          tensor->optimiser.rate == config->dense.rate;
        update->tiles += (uint32_t)((tensor->size + UPDATE_TILE - 1) / UPDATE_TILE);
    }
    for (uint32_t s = 0; s < update->slots; s++) {
        update->stateless &= trainer_update_slot(config, s)->kind == TRAINER_OPTIMISER_SGD;
    }
    if (beside) {
        update_list_tensor(update, beside, &update->beside);
    }
}

static void update_list_tiles(struct trainer_update *update)
{
    update->tile = base_alloc_zeroed(update->tiles + 1, sizeof *update->tile);
    struct update_tile *tile = update->tile;
    for (uint32_t t = 0; t < update->tensors; t++) {
        for (size_t at = 0; at < update->tensor[t].size; at += UPDATE_TILE) {
            size_t rest = update->tensor[t].size - at;
            *tile++ = (struct update_tile){
                .tensor = t, .first = at, .count = (uint32_t)(rest < UPDATE_TILE ? rest : UPDATE_TILE)};
        }
    }
}

// The parts of a tensor's state, from its weight `at` on.
static float *update_part(const struct trainer_update *update, const struct update_tensor *tensor,
                          uint32_t part, size_t at)
{
    bool there = part < trainer_optimiser_parts(&tensor->optimiser);
    return there ? update->state + tensor->state + part * tensor->size + at : NULL;
}

static void update_start(struct trainer_update *update, const struct update_tensor *tensor, const float *w)
{
    trainer_optimiser_start(&tensor->optimiser, w, tensor->size, update_part(update, tensor, 0, 0),
                            update_part(update, tensor, 1, 0));
}

struct trainer_update *trainer_update_new(const struct trainer_update_config *config, uint32_t slots,
                                          uint32_t batch, struct trainer_network *network,
                                          struct trainer_table *table, const struct trainer_tensor *beside,
                                          float *weights, struct trainer_workers *workers,
                                          struct base_error *error)
{
    struct trainer_update *update = base_alloc_zeroed(1, sizeof *update);
    *update = (struct trainer_update){.config = config,
                                      .network = network,
                                      .table = table,
                                      .workers = workers,
                                      .slots = slots,
                                      .batch = batch,
                                      .beside_weights = weights};
    if (trainer_update_check_rules(config, network, beside, error)) {
        trainer_update_free(update);
        return NULL;
    }
    update_list_tensors(update, beside);
    update_list_tiles(update);
    update->tensor_step = base_alloc_zeroed(update->tensors, sizeof *update->tensor_step);
    update->slot_step = base_alloc_zeroed(slots + 1, sizeof *update->slot_step);
    if (!update->folded) {
        update->gradient = base_alloc_aligned(trainer_network_size(network) * sizeof *update->gradient);
    }
    if (update->state_size) {
        update->state = base_alloc_aligned(update->state_size * sizeof *update->state);
    }
    for (uint32_t t = 0; t < update->tensors; t++) {
        update_start(update, &update->tensor[t], trainer_network_slab(network) + update->tensor[t].offset);
    }
    if (beside) {
        update_start(update, &update->beside, weights);
    }
    return update;
}

void trainer_update_free(struct trainer_update *update)
{
    if (!update) {
        return;
    }
    free(update->tensor);
    free(update->tile);
    free(update->state);
    free(update->gradient);
    free(update->tensor_step);
    free(update->slot_step);
    free(update);
}

// ---- A step ----

// What a sum over the minibatch is divided by: batch, or more, so that the norm is at most `clip`.
static double update_divisor(const struct trainer_update *update, double squares, double clip,
                             uint64_t *clipped)
{
    double norm = sqrt(squares) / update->batch;
    if (norm > clip) {
        (*clipped)++;
        return update->batch * (norm / clip);
    }
    return update->batch;
}

static void update_rows(struct trainer_update *update, struct trainer_gather *gather, const float *dx,
                        const struct trainer_optimiser_step *common)
{
    const struct trainer_update_config *config = update->config;
    double factor = trainer_schedule_factor(&config->schedule_sparse, common->examples);
    double divisor = common->divisor;
    if (config->clip_sparse > 0) {
        double squares = trainer_gather_squares(gather, dx, update->workers);
        divisor = update_divisor(update, squares, config->clip_sparse, &update->figures.clipped_sparse);
    }
    for (uint32_t s = 0; s < update->slots; s++) {
        struct trainer_optimiser_step *step = &update->slot_step[s];
        *step = *common;
        step->config = trainer_update_slot(config, s);
        step->rate = step->config->rate * factor;
        step->divisor = divisor;
    }
    trainer_gather_scatter(gather, update->table, dx, update->slot_step, update->workers);
}

static void update_square_tile(void *context, uint32_t index)
{
    struct trainer_update *update = context;
    struct update_tile *tile = &update->tile[index];
    const float *gradient = update->gradient + update->tensor[tile->tensor].offset + tile->first;
    tile->squares = trainer_optimiser_squares(gradient, tile->count);
}

static void update_apply_tile(void *context, uint32_t index)
{
    struct trainer_update *update = context;
    const struct update_tile *tile = &update->tile[index];
    const struct update_tensor *tensor = &update->tensor[tile->tensor];
    size_t at = tensor->offset + tile->first;
    trainer_optimiser_apply(&update->tensor_step[tile->tensor], trainer_network_slab(update->network) + at,
                            update->gradient + at, tile->count, update_part(update, tensor, 0, tile->first),
                            update_part(update, tensor, 1, tile->first));
}

static void update_beside(struct trainer_update *update, const float *gradient,
                          const struct trainer_optimiser_step *common)
{
    const struct update_tensor *tensor = &update->beside;
    struct trainer_optimiser_step step = *common;
    step.config = &tensor->optimiser;
    step.rate =
        tensor->optimiser.rate * trainer_schedule_factor(&update->config->schedule_dense, common->examples);
    trainer_optimiser_apply(&step, update->beside_weights, gradient, tensor->size,
                            update_part(update, tensor, 0, 0), update_part(update, tensor, 1, 0));
}

static void update_dense(struct trainer_update *update, const float *x,
                         const struct trainer_optimiser_step *common)
{
    const struct trainer_update_config *config = update->config;
    double factor = trainer_schedule_factor(&config->schedule_dense, common->examples);
    double divisor = common->divisor;
    if (update->folded) {
        trainer_network_apply(update->network, x, common->count,
                              (float)(config->dense.rate * factor / divisor));
        return;
    }
    trainer_network_gradient(update->network, x, common->count, update->gradient);
    if (config->clip_dense > 0) {
        trainer_workers_run(update->workers, update->tiles, update_square_tile, update);
        double squares = 0;
        for (uint32_t i = 0; i < update->tiles; i++) {
            squares += update->tile[i].squares;
        }
        divisor = update_divisor(update, squares, config->clip_dense, &update->figures.clipped_dense);
    }
    for (uint32_t t = 0; t < update->tensors; t++) {
        struct trainer_optimiser_step *step = &update->tensor_step[t];
        *step = *common;
        step->config = &update->tensor[t].optimiser;
        step->rate = step->config->rate * factor;
        step->divisor = divisor;
    }
    trainer_workers_run(update->workers, update->tiles, update_apply_tile, update);
}

void trainer_update_step(struct trainer_update *update, struct trainer_gather *gather, const float *x,
                         const float *dx, const float *beside, uint32_t n, uint64_t examples)
{
    update->figures.steps += !update->stateless;
    const struct trainer_optimiser_step common = {.divisor = update->batch,
                                                  .batch = update->batch,
                                                  .examples = examples,
                                                  .count = n,
                                                  .steps = update->figures.steps};
    // Rows first only because dx is still in the cache.
    update_rows(update, gather, dx, &common);
    update_dense(update, x, &common);
    if (update->beside.size) {
        update_beside(update, beside, &common);
    }
}

// ---- Figures and state ----

struct trainer_update_figures trainer_update_figures(const struct trainer_update *update)
{
    return update->figures;
}

void trainer_update_set_figures(struct trainer_update *update, struct trainer_update_figures figures)
{
    update->figures = figures;
}

bool trainer_update_stateless(const struct trainer_update *update)
{
    return update->stateless;
}

// NULL: the number is that of a slot.
static const struct update_tensor *update_dense_tensor(const struct trainer_update *update, uint32_t tensor)
{
    assert(tensor < update->tensors + update->slots + (update->beside.size != 0));
    bool beside = tensor == update->tensors + update->slots;
    return beside ? &update->beside : tensor < update->tensors ? &update->tensor[tensor] : NULL;
}

const struct trainer_optimiser_config *trainer_update_optimiser(const struct trainer_update *update,
                                                                uint32_t tensor)
{
    const struct update_tensor *dense = update_dense_tensor(update, tensor);
    return dense ? &dense->optimiser : trainer_update_slot(update->config, tensor - update->tensors);
}

float *trainer_update_state(struct trainer_update *update, uint32_t tensor, size_t *floats)
{
    const struct update_tensor *dense = update_dense_tensor(update, tensor);
    if (!dense) {
        uint16_t slot = (uint16_t)(tensor - update->tensors);
        *floats = trainer_table_words(update->table, slot);
        return trainer_table_state(update->table, slot, TRAINER_ROW_OOV | slot);
    }
    *floats = trainer_optimiser_parts(&dense->optimiser) * dense->size;
    return *floats ? update->state + dense->state : NULL;
}

void trainer_update_restart(struct trainer_update *update, uint32_t tensor)
{
    const struct update_tensor *dense = update_dense_tensor(update, tensor);
    assert(dense);
    update_start(update, dense,
                 dense == &update->beside ? update->beside_weights
                                          : trainer_network_slab(update->network) + dense->offset);
}

uint64_t trainer_update_state_bytes(const struct trainer_update *update)
{
    return update->state_size * sizeof *update->state;
}

uint64_t trainer_update_bytes(const struct trainer_update *update)
{
    size_t gradient = update->gradient ? trainer_network_size(update->network) : 0;
    return trainer_update_state_bytes(update) + gradient * sizeof *update->gradient;
}
