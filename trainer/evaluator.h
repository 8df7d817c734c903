// The evaluator: progressive validation. Every prediction that it is fed was made before the model learned
// from the sample, so that its log loss is that of data never seen.
//
// What is measured, per task, over which population:
//   product       P(stages 0..k all happen), over all impressions
//   conditional   P(stage k | the stage before it happened), over the events of that stage (for the first:
//   impressions;
//                 for a side task: over its parent's events)
//   final         as conditional, but with the final labels of F3, over clicks whose window has closed
//
// Labels come late and in parts, so what counts has to be said (kinds and masks: rule 20 of docs/join.md). An
// event of the population is counted once, when it pays:
//   N0, C1        pay, with their label, for the product of every task of their mask. For the conditional of
//   the first
//                 task in their mask: a C1 that is masked for stages 1 and 2 says that stage 1 did not
//                 happen, which is no event of stage 2's population.
//   L, D2         the event has paid as a negative before: it becomes a positive. Loss: - log p + log(1 - p),
//   and a
//                 positive more; no event more, nothing more in the sum of predictions. With it begins an
//                 event of the next stage's (and of side tasks') conditional, which pays as a negative until
//                 its own positive comes.
//   F3            counts for `final` alone.
// N0 counts 1 / keep_negatives, and all of an impression's samples its own weight: over its propensity, if
// that is configured, so that what is measured is the population, not what the logging policy showed of it.
// Tasks' weights and weight[] are not read: they serve training.
//
// Values (tasks of the losses mse, poisson, ziln) are measured apart, against the value that is to be
// expected of the impression: products[k]. A sample of the task's space pays with its value, 0 where nothing
// happened; a late positive takes back that 0: its loss is the difference. Among events alone it pays like
// any other. ziln's probability is measured as that of bce is, its product multiplied up from the
// conditionals.
//
// So the sum over a stream is the true sum over events with final labels but for this: a late positive takes
// back the negative at the prediction of now, not of then, which is the same once predictions have converged;
// and a purchase part of C1 whose click was late counts a second event (a share of late clicks x their early
// purchases: some 1e-6 of the impressions). Thread: one.
#ifndef TRAINER_EVALUATOR_H
#define TRAINER_EVALUATOR_H

#include "base/bytes.h"
#include "base/error.h"
#include "trainer/loss.h"

enum trainer_measure {
    TRAINER_MEASURE_PRODUCT,
    TRAINER_MEASURE_CONDITIONAL,
    TRAINER_MEASURE_FINAL,
    TRAINER_MEASURES,
};

enum {
    TRAINER_EVALUATOR_PARTS = 12, // the window moves on by a twelfth
    // Bins of the histogram that AUC is taken from: of the logit, [-16, 16) in eighths.
    TRAINER_EVALUATOR_BINS = 256,
};

struct trainer_evaluator_config {
    uint32_t tasks, stages;          // as in trainer_loss_config
    uint32_t parent[BASE_TASKS_MAX]; // of side tasks
    double keep_negatives;           // (0, 1]
    int64_t window_ms;               // length of the rolling window, a multiple of TRAINER_EVALUATOR_PARTS
    uint8_t kind[BASE_TASKS_MAX];    // enum trainer_loss_kind
    bool events[BASE_TASKS_MAX];     // as in trainer_loss_config
};

struct trainer_evaluator;

// Errors: BASE_EINVAL names the setting.
struct trainer_evaluator *trainer_evaluator_new(const struct trainer_evaluator_config *config,
                                                struct base_error *error);
void trainer_evaluator_free(struct trainer_evaluator *evaluator);

// Takes in a sample with its predictions [tasks], which lie in [0, 1] (they are cut to 1e-12 off either end).
// Time is the samples' due time; one from before the window counts into its oldest part.
void trainer_evaluator_feed(struct trainer_evaluator *evaluator, const struct base_sample *sample,
                            const float *conditional, const float *products);
// Moves the window on to `time` (ms of event time), also where no sample did. A time that has been is
// ignored.
void trainer_evaluator_advance(struct trainer_evaluator *evaluator, int64_t time);
// Forgets the running totals, not the window: a new stretch begins ("the last quarter of the stream").
void trainer_evaluator_reset(struct trainer_evaluator *evaluator);

// Appends all of it, as one section "FRSHEVAL" (base/section.h).
void trainer_evaluator_save(const struct trainer_evaluator *evaluator, struct base_buffer *buffer);
// Takes a saved one off `from`; from here on this one shows and does what that one would. A window of another
// length than the saved one starts empty; the running totals go on. Tasks behind the saved ones start with
// nothing. Errors, with nothing changed: BASE_EFORMAT (cut short, corrupt); BASE_ECONFLICT (fewer tasks,
// other stages).
int trainer_evaluator_restore(struct trainer_evaluator *evaluator, struct base_reader *from,
                              struct base_error *error);

// What a measure of a task shows. Where there is nothing to show (no event; for AUC: not both labels) a
// number is NaN.
struct trainer_evaluation {
    double events;      // of the population that have paid
    double positives;   // sum of labels
    double log_loss;    // mean a event
    double constant;    // mean log loss of the best constant prediction: the entropy of positives / events
    double calibration; // sum of predictions / sum of labels
    double auc;         // from the histogram
};

// What is shown of a task's values; NaN where there is nothing to show. Of bce there is nothing.
struct trainer_value_evaluation {
    double events;   // of the space that have paid
    double values;   // sum of their values
    double loss;     // mean an event. mse: (log1p of prediction - log1p of value)^2; poisson, ziln: deviance,
                     // 2 (v log(v / p) - v + p), which the true expectation makes least
    double constant; // that of the best constant prediction
    double calibration; // sum of predictions / sum of values
};
struct trainer_value_evaluation trainer_evaluator_value_window(const struct trainer_evaluator *evaluator,
                                                               uint32_t task);
struct trainer_value_evaluation trainer_evaluator_value_total(const struct trainer_evaluator *evaluator,
                                                              uint32_t task);

// Over the window: the part that is filling and the eleven before it.
struct trainer_evaluation trainer_evaluator_window(const struct trainer_evaluator *evaluator,
                                                   enum trainer_measure measure, uint32_t task);
// Since the start or the last reset.
struct trainer_evaluation trainer_evaluator_total(const struct trainer_evaluator *evaluator,
                                                  enum trainer_measure measure, uint32_t task);

#endif
