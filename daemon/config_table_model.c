// The rows of what is learned: model, slots, numeric inputs. See config_table.c.
#include "daemon/config_table.h"
#include "trainer/body.h"

// --- model ---

static const struct base_config_row level_rows[] = {
    {.name = "experts",
     .type = BASE_CONFIG_UINTS,
     FIELD(daemon_config_level, experts),
     .fallback = "[128]",
     .min = TRAINER_WIDTH_STEP,
     .max = TRAINER_WIDTH_MAX,
     .items_min = 1,
     .description = "Widths of the layers of every expert, multiples of 16; ReLU after each."},
    {.name = "per_task",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_level, per_task),
     .fallback = "2",
     .max = TRAINER_EXPERTS_MAX,
     .description = "Experts of each task's own."},
    {.name = "shared",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_level, shared),
     .fallback = "2",
     .max = TRAINER_EXPERTS_MAX,
     .description = "Experts that all tasks share."},
};
static const struct base_config_table level_table =
    TABLE("One level of the body, from the input up. The bodies `mmoe`, `moe` and `ml_mmoe` have per_task "
          "for each task and shared "
          "experts, all alike; those without experts read neither number.",
          daemon_config_level, level_rows);

static const struct base_config_row rate_rows[] = {
    {.name = "dense",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_rate, dense),
     .fallback = "0.05",
     .max = 100,
     .description = "Of the network's weights."},
    {.name = "sparse",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_rate, sparse),
     .fallback = "0.05",
     .max = 100,
     .description = "Of the embedding rows."},
};
static const struct base_config_table rate_table = TABLE(
    "Learning rates. The gradient is the sum over the minibatch / `batch`.", daemon_config_rate, rate_rows);

static const char *const correction_choices[] = {"none", "ips", "dr", NULL}; // enum trainer_correction
static const char *const funnel_choices[] = {"chain", "esm2", NULL};
static const char *const weighting_choices[] = {"fixed", "uncertainty", NULL}; // enum trainer_weighting

static const struct base_config_row cvr_rows[] = {
    {.name = "correction",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_cvr, correction),
     .fallback = "none",
     .flags = BASE_CONFIG_ADDED,
     .choices = correction_choices,
     .description =
         "A further loss of P(second stage | first): over clicks weighed by the inverse propensity "
         "(`ips`), or doubly robust (`dr`, with an imputed error)."},
    {.name = "weight",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_cvr, weight),
     .fallback = "1",
     .max = 1e6,
     .flags = BASE_CONFIG_ADDED,
     .description = "Of that loss, times the action's own `weight`."},
    {.name = "propensity_min",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_cvr, propensity_min),
     .fallback = "0.1",
     .min = 1e-6,
     .max = 1,
     .flags = BASE_CONFIG_ADDED,
     .description = "The least propensity (pCTR) that is divided by."},
};
static const struct base_config_table cvr_table = TABLE(
    "What corrects the conversion rate for being seen on clicks alone (ESCM2).", daemon_config_cvr, cvr_rows);

static const char *const ctcvr_choices[] = {"stop", "full", NULL};

static const struct base_config_row model_rows[] = {
    {.name = "name",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_model, name),
     .fallback = "default",
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Names the model's keys in Redis: 1 to 64 of a-z, A-Z, 0-9, `_`, `-`, `.`."},
    {.name = "seed",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_model, seed),
     .fallback = "1",
     .description = "Of the random numbers that weights and rows start from."},
    {.name = "body",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_model, body),
     .fallback = "ple",
     .choices = trainer_body_names,
     .description =
         "What stands between features and towers (docs/models.md). All bodies take the same `levels` and "
         "`towers`."},
    {.name = "soft_l2",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_model, soft_l2),
     .fallback = "0.01",
     .max = TRAINER_SOFT_L2_MAX,
     .flags = BASE_CONFIG_ADDED,
     .description =
         "Body `soft_l2`: the factor of the squared distances between the tasks' bottoms in the loss of a "
         "sample."},
    {.name = "levels",
     .type = BASE_CONFIG_RECORDS,
     FIELD(daemon_config_model, levels),
     .fallback = "[{experts: [256, 128]}, {experts: [128]}]",
     .items_min = 1,
     .table = &level_table,
     .description =
         "The levels of the body. `ple` and `ml_mmoe` have them all; the others have one chain of layers, "
         "the widths of all levels one after another: as their experts, in the first level's numbers "
         "(`cgc`, `mmoe`, `moe`), or as their bottom."},
    {.name = "towers",
     .type = BASE_CONFIG_UINTS,
     FIELD(daemon_config_model, towers),
     .fallback = "[64]",
     .min = TRAINER_WIDTH_STEP,
     .max = TRAINER_WIDTH_MAX,
     .description = "Widths of the hidden layers of each task's tower, multiples of 16."},
    {.name = "batch",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_model, batch),
     .fallback = "256",
     .min = 1,
     .max = TRAINER_BATCH_MAX,
     .description = "Most samples of a minibatch, and what its gradient is divided by."},
    {.name = "workers",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_model, workers),
     .fallback = "1",
     .min = 1,
     .max = TRAINER_WORKERS_MAX,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Threads that train. Any number gives the same bits."},
    {.name = "rows_max",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_model, rows_max),
     .fallback = "4_000_000",
     .min = 1,
     .max = 2e9,
     .description = "Embedding rows of all slots; keys beyond it share their slot's out-of-vocabulary row."},
    {.name = "rate",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_model, rate),
     .table = &rate_table,
     .description = "Learning rates."},
    {.name = "optimizer",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_model, optimizer),
     .table = &config_optimizers_table,
     .description = "What moves the weights."},
    {.name = "schedule",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_model, schedule),
     .table = &config_schedules_table,
     .description = "How the rates change."},
    {.name = "l2",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_model, l2),
     .table = &config_l2_table,
     .description = "L2."},
    {.name = "clip",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_model, clip),
     .table = &config_clip_table,
     .description = "Clipping of gradients."},
    {.name = "tensors",
     .type = BASE_CONFIG_RECORDS,
     FIELD(daemon_config_model, tensors),
     .fallback = "[]",
     .flags = BASE_CONFIG_ADDED,
     .table = &config_tensor_table,
     .description = "Dense tensors that learn otherwise."},
    {.name = "ctcvr_to_ctr",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_model, ctcvr_to_ctr),
     .fallback = "stop",
     .choices = ctcvr_choices,
     .description = "Whether the losses of products (pCTCVR) send their gradient through the earlier stages' "
                    "logits too (`full`) or not (`stop`)."},
    {.name = "funnel",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_model, funnel),
     .fallback = "chain",
     .flags = BASE_CONFIG_ADDED,
     .choices = funnel_choices,
     .description =
         "`chain`: a stage after the other. `esm2`: the stage that `branch` stands beside is reached "
         "with that action or without it, each with a probability of its own."},
    {.name = "branch",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_model, branch),
     .flags = BASE_CONFIG_ADDED,
     .description = "esm2: the side action (`cart`); its parent is a stage before the last."},
    {.name = "weighting",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_model, weighting),
     .fallback = "fixed",
     .flags = BASE_CONFIG_ADDED,
     .choices = weighting_choices,
     .description =
         "How the tasks' losses are weighed: by `weight` and `decay` alone, or by a variance that is "
         "learned along too (Kendall et al.)."},
    {.name = "decay_examples",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_model, decay_examples),
     .fallback = "1_000_000",
     .min = 1,
     .max = 1e15,
     .flags = BASE_CONFIG_ADDED,
     .description = "Examples in which a task's weight is multiplied by its `decay` once."},
    {.name = "cvr",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_model, cvr),
     .flags = BASE_CONFIG_ADDED,
     .table = &cvr_table,
     .description = "A correction of the conversion rate."},
};
const struct base_config_table config_model_table = TABLE("The model.", daemon_config_model, model_rows);

// --- features ---

static const char *const pooling_choices[] = {"sum", "mean", NULL};

static const char *const role_choices[] = {"feature", "position", NULL};  // enum daemon_role
static const char *const serving_choices[] = {"string", "integer", NULL}; // enum daemon_serving

static const struct base_config_row slot_rows[] = {
    {.name = "name",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_slot, name),
     .flags = BASE_CONFIG_REQUIRED,
     .description = "The slot. It salts the keys: another name is another slot."},
    {.name = "path",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_slot, path),
     .description = "Where the impression holds it; default: the name."},
    {.name = "dimension",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_slot, dimension),
     .fallback = "16",
     .min = 4,
     .max = TRAINER_DIMENSION_MAX,
     .description = "Numbers of a row, a multiple of 4."},
    {.name = "pooling",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_slot, pooling),
     .fallback = "sum",
     .choices = pooling_choices,
     .description = "How the rows of several values become one."},
    {.name = "admission",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_slot, admission),
     .fallback = "1",
     .min = 1,
     .max = 1e6,
     .description = "Occurrences before a key gets a row of its own."},
    {.name = "expiry",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_slot, expiry),
     .fallback = "30d",
     .max = 4000 * MS_DAY,
     .description = "Event time after its last occurrence at which a row is dropped; 0: never."},
    {.name = "boundaries",
     .type = BASE_CONFIG_REALS,
     FIELD(daemon_config_slot, boundaries),
     .fallback = "[]",
     .description = "Ascending: the path is a number, and the key the count of boundaries at or below it."},
    {.name = "cross",
     .type = BASE_CONFIG_STRINGS,
     FIELD(daemon_config_slot, cross),
     .fallback = "[]",
     .flags = BASE_CONFIG_ADDED,
     .description =
         "A cross of 2 to 4 other slots instead of a path: every combination of their values has a "
         "row of its own (docs/features.md)."},
    {.name = "role",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_slot, role),
     .fallback = "feature",
     .flags = BASE_CONFIG_ADDED,
     .choices = role_choices,
     .description =
         "`position`: where the impression was shown. Not an input of the network, but a bias of the "
         "first action's logit alone (docs/features.md); dimension 4."},
    {.name = "serving",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_slot, serving),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Position: the value that every impression is scored with; a number where there are "
                    "boundaries. Default: none, and no bias."},
    {.name = "serving_as",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_slot, serving_as),
     .fallback = "string",
     .flags = BASE_CONFIG_OPERATIONAL,
     .choices = serving_choices,
     .description =
         "What `serving` is hashed as: the type of the path, as `integer` (booleans too, as 0 and 1) "
         "hashes otherwise than `string`."},
    UPDATE_ROWS(daemon_config_slot, "Of its rows", "sparse"),
};
const struct base_config_table config_slot_table =
    TABLE("A categorical feature, each value of which has an embedding row.", daemon_config_slot, slot_rows);

static const struct base_config_row numeric_rows[] = {
    {.name = "name",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_numeric, name),
     .flags = BASE_CONFIG_REQUIRED,
     .description = "The feature."},
    {.name = "path",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_numeric, path),
     .description = "Where the impression holds it; default: the name."},
    {.name = "log1p",
     .type = BASE_CONFIG_BOOL,
     FIELD(daemon_config_numeric, log1p),
     .fallback = "false",
     .description = "Take sign(v) log(1 + |v|) first."},
    {.name = "mean",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_numeric, mean),
     .fallback = "0",
     .description = "Subtracted then."},
    {.name = "deviation",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_numeric, deviation),
     .fallback = "1",
     .min = 1e-30,
     .max = 1e30,
     .description = "Divided by then."},
};
const struct base_config_table config_numeric_table = TABLE(
    "A plain numeric input. A missing value gives 0 after all steps.", daemon_config_numeric, numeric_rows);
