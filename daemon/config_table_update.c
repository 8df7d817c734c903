// The rows of how the model learns: optimisers, schedules, clipping, and what slots and tensors have of their
// own. See config_table.c.
#include "daemon/config_table.h"

const char *const config_optimizer_choices[] = {"sgd",  "momentum", "adagrad", "rowwise_adagrad",
                                                "ftrl", "adam",     NULL};

// --- model.optimizer ---

static const struct base_config_row optimizer_rows[] = {
    {.name = "kind",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_optimizer, kind),
     .fallback = "sgd",
     .flags = BASE_CONFIG_ADDED,
     .choices = config_optimizer_choices,
     .description =
         "The optimizer; `rowwise_adagrad` is for rows. Its formula: models.md, section 4. Another one "
         "cannot go on from a cut."},
    {.name = "momentum",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_optimizer, momentum),
     .fallback = "0.9",
     .max = 0.9999,
     .flags = BASE_CONFIG_ADDED,
     .description = "momentum: what is left of the velocity at each step."},
    {.name = "initial",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_optimizer, initial),
     .fallback = "0.1",
     .max = 1e12,
     .flags = BASE_CONFIG_ADDED,
     .description = "adagrad, rowwise_adagrad, ftrl: what the sum of squares starts from."},
    {.name = "epsilon",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_optimizer, epsilon),
     .fallback = "1e-8",
     .min = 1e-30,
     .max = 1,
     .flags = BASE_CONFIG_ADDED,
     .description = "adagrad, rowwise_adagrad, adam: added to the root that is divided by."},
    {.name = "half_life",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_optimizer, half_life),
     .fallback = "0",
     .max = 1e18,
     .flags = BASE_CONFIG_ADDED,
     .description =
         "adagrad, rowwise_adagrad: examples in which the sum of squares comes half the way back to "
         "`initial`, so that the rate does not freeze; 0: never. Rows keep 8 bytes more with it."},
    {.name = "beta",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_optimizer, beta),
     .fallback = "1",
     .min = 1e-6,
     .max = 1e6,
     .flags = BASE_CONFIG_ADDED,
     .description = "ftrl. Its alpha is the rate; neither may change over a cut."},
    {.name = "lambda1",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_optimizer, lambda1),
     .fallback = "0",
     .max = 1e6,
     .flags = BASE_CONFIG_ADDED,
     .description = "ftrl: L1."},
    {.name = "lambda2",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_optimizer, lambda2),
     .fallback = "0",
     .max = 1e6,
     .flags = BASE_CONFIG_ADDED,
     .description = "ftrl: L2, within its formula."},
    {.name = "beta1",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_optimizer, beta1),
     .fallback = "0.9",
     .max = 0.9999,
     .flags = BASE_CONFIG_ADDED,
     .description = "adam: of the gradient's mean."},
    {.name = "beta2",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_optimizer, beta2),
     .fallback = "0.999",
     .max = 0.999999,
     .flags = BASE_CONFIG_ADDED,
     .description = "adam: of the squares' mean."},
};
static const struct base_config_table optimizer_table = TABLE(
    "An optimizer and its constants; each reads its own. Gradients of equal rows of a minibatch are added "
    "first. Rows are moved only when they occur.",
    daemon_config_optimizer, optimizer_rows);

static const struct base_config_row optimizers_rows[] = {
    {.name = "dense",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_optimizers, dense),
     .table = &optimizer_table,
     .description = "Of the network's weights."},
    {.name = "sparse",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_optimizers, sparse),
     .table = &optimizer_table,
     .description =
         "Of the embedding rows. Plain SGD is the default; `rowwise_adagrad` at a rate of 0.02 to 0.05 "
         "is what we recommend."},
};
const struct base_config_table config_optimizers_table =
    TABLE("What moves the weights.", daemon_config_optimizers, optimizers_rows);

// --- model.schedule, model.l2, model.clip ---

static const struct base_config_row schedule_rows[] = {
    {.name = "warmup",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_schedule, warmup),
     .fallback = "0",
     .max = 1e18,
     .flags = BASE_CONFIG_ADDED,
     .description = "Examples over which the rate rises from 0, in a line."},
    {.name = "half_life",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_schedule, half_life),
     .fallback = "0",
     .max = 1e18,
     .flags = BASE_CONFIG_ADDED,
     .description = "Examples in which the rate halves; 0: never."},
    {.name = "floor",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_schedule, floor),
     .fallback = "0",
     .max = 1,
     .flags = BASE_CONFIG_ADDED,
     .description = "The share of the rate that the half-life leaves at least."},
};
static const struct base_config_table schedule_table =
    TABLE("How rates change with the examples that were trained. Not with ftrl.", daemon_config_schedule,
          schedule_rows);

static const struct base_config_row schedules_rows[] = {
    {.name = "dense",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_schedules, dense),
     .table = &schedule_table,
     .description = "Of the network's weights."},
    {.name = "sparse",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_schedules, sparse),
     .table = &schedule_table,
     .description = "Of the embedding rows."},
};
const struct base_config_table config_schedules_table =
    TABLE("Schedules of the rates.", daemon_config_schedules, schedules_rows);

static const struct base_config_row l2_rows[] = {
    {.name = "dense",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_rate, dense),
     .fallback = "0",
     .max = 100,
     .flags = BASE_CONFIG_ADDED,
     .description = "Of the network's weights without their biases."},
    {.name = "sparse",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_rate, sparse),
     .fallback = "0",
     .max = 100,
     .flags = BASE_CONFIG_ADDED,
     .description = "Of the embedding rows, for each occurrence."},
};
const struct base_config_table config_l2_table = TABLE(
    "L2: every sample's loss has l2/2 * |weights|^2 of what it uses in it.", daemon_config_rate, l2_rows);

static const struct base_config_row clip_rows[] = {
    {.name = "dense",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_rate, dense),
     .fallback = "0",
     .max = 1e30,
     .flags = BASE_CONFIG_ADDED,
     .description = "The gradient of all network's weights has at most this norm; 0: off."},
    {.name = "sparse",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_rate, sparse),
     .fallback = "0",
     .max = 1e30,
     .flags = BASE_CONFIG_ADDED,
     .description = "The gradient of all rows of a minibatch has at most this norm; 0: off."},
};
const struct base_config_table config_clip_table = TABLE(
    "Clipping of the minibatch's gradient (the sum / `batch`) by its global norm. The status file tells "
    "how often it happens.",
    daemon_config_rate, clip_rows);

// --- model.tensors ---

static const struct base_config_row tensor_rows[] = {
    {.name = "match",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_tensor, match),
     .flags = BASE_CONFIG_REQUIRED,
     .description =
         "A pattern of tensors' names, with `*`, `?` and `[]`: `task0.tower.*`, `*.gate.weight`, `*.bias`. "
         "`freshet check` refuses one that matches none."},
    UPDATE_ROWS(daemon_config_tensor, "Of these tensors", "dense"),
};
const struct base_config_table config_tensor_table =
    TABLE("Dense tensors that learn otherwise; the first pattern that matches counts.", daemon_config_tensor,
          tensor_rows);
