// The model: features, table and network under the funnel's losses; one step of online training is one call.
//
//   step:  columns -> keys -> rows -> x -> network -> logits (+ bias of positions) -> losses -> dlogits
//          -> backward -> dx
//          -> finite? -> update of rows (gradients of equal rows added first, in sample order) and of dense
//          weights (update.h)
//
// The gradient is the sum over the minibatch divided by the configured batch (design.md section 3.2), so that
// a sample's step does not depend on how full its minibatch was. Thread: the trainer's, except where said.
#ifndef TRAINER_MODEL_H
#define TRAINER_MODEL_H

#include "base/minibatch.h"
#include "trainer/features.h"
#include "trainer/loss.h"
#include "trainer/network.h"
#include "trainer/snapshot.h"
#include "trainer/update.h"

struct trainer_model_config {
    struct trainer_features_config features;
    struct trainer_network_config network; // .inputs and .tasks are set by trainer_model_new
    struct trainer_loss_config loss;
    const char *task_names[BASE_TASKS_MAX];
    struct trainer_update_config update;
    uint64_t seed;
    uint64_t rows_max;
    uint32_t workers;
};

struct trainer_model;

// Copies the configuration. `training` false makes a reader's model: no gradients, rows come from outside;
// admission, expiry, rates and loss weights are not read. Errors: BASE_EINVAL names the setting.
struct trainer_model *trainer_model_new(const struct trainer_model_config *config, bool training,
                                        struct base_error *error);
void trainer_model_free(struct trainer_model *model);
const struct trainer_model_config *trainer_model_config(const struct trainer_model *model);

// What a step did. Probabilities are those before the update.
struct trainer_step {
    uint32_t count;
    float loss[BASE_TASKS_MAX]; // summed weighted losses; with uncertainty weighting its term included
    const float *conditional;   // [count x tasks] as of trainer_loss_probabilities; valid until the next call
    const float *products;      // [count x tasks]
    bool set_aside;             // not finite: nothing was changed
};

// Trains on a minibatch (1 <= count <= batch) of samples that train and whose mask is not empty. Occurrences
// are counted at the latest due time in it, so that rows may be admitted. A loss or gradient that is not
// finite moves no weight and sets step->set_aside. Errors: columns that do not fit the layout (BASE_EFORMAT),
// only from a defect or a bad file.
int trainer_model_step(struct trainer_model *model, const struct base_minibatch *minibatch,
                       struct trainer_step *step, struct base_error *error);

// Scores n impressions (any number): columns[i] are their columns. Outputs [n x tasks], either may be NULL.
// Bit for bit what trainer_model_step would have predicted from the same weights, had each of them been shown
// at the position of `serving` (features.h): a step predicts and evaluates with the position that an
// impression had, a score with that one for all. Not reentrant: uses the model's buffers.
int trainer_model_predict(struct trainer_model *model, const struct base_span *columns, uint32_t n,
                          float *conditional, float *products, struct base_error *error);

// A scorer: buffers of one thread over the weights of a model, which must outlive it. While it predicts, the
// model must not change (the reader library's lock sees to that).
struct trainer_scorer;
struct trainer_scorer *trainer_scorer_new(const struct trainer_model *model, struct base_error *error);
void trainer_scorer_free(struct trainer_scorer *scorer);
// As trainer_model_predict; one thread a scorer.
int trainer_scorer_predict(struct trainer_scorer *scorer, const struct base_span *columns, uint32_t n,
                           float *conditional, float *products, struct base_error *error);

// The end of a tick: expiry of rows by event time. A step too drops what is due before it looks its keys up,
// so that calls at empty ticks change no weight; they only give memory back and bring tombstones earlier.
void trainer_model_tick(struct trainer_model *model, int64_t tick_end_ms);

// Copies what a publication at this moment needs; full or changed since the last settled one. It is full too
// if there is nothing yet to build a delta on (snapshot->full says so). At most one is outstanding. The
// caller frees it with trainer_snapshot_free after settling.
struct trainer_snapshot *trainer_model_snapshot(struct trainer_model *model, int64_t tick, bool full);
// The outstanding snapshot was published (its rows are released) or not (they count as changed again).
void trainer_model_settle(struct trainer_model *model, const struct trainer_snapshot *snapshot,
                          bool published);

// XXH3 over dense slab, rows and out-of-vocabulary rows: the weight hash that replay prints. Not cheap: it
// reads all rows.
uint64_t trainer_model_hash(const struct trainer_model *model);
uint64_t trainer_model_examples(const struct trainer_model *model);

// The dense tensors as snapshots name them: the network's, then one "oov.<slot>" a slot, offsets counted
// through.
const struct trainer_tensor *trainer_model_tensors(const struct trainer_model *model, uint32_t *count);
// Where tensor `number` of them lies, [rows x columns] contiguous; a reader writes it before it scores.
float *trainer_model_tensor(struct trainer_model *model, uint32_t number);

// Combinations of crosses that steps of this process left out: those beyond TRAINER_CROSS_KEYS_MAX of an
// impression.
uint64_t trainer_model_cut_crosses(const struct trainer_model *model);
// Steps, and those of them that were clipped; counted only where something is not plain SGD.
struct trainer_update_figures trainer_model_update_figures(const struct trainer_model *model);
// Bytes that the update takes beside the weights: state of dense tensors and a gradient. Rows' state is in
// trainer_table_bytes.
uint64_t trainer_model_update_bytes(const struct trainer_model *model);

// The parts, for readers and tests.
struct trainer_network *trainer_model_network(struct trainer_model *model);
struct trainer_table *trainer_model_table(struct trainer_model *model);

#endif
