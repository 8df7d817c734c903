// Progressive validation. See evaluator.h for what is counted.
//
// Sums and histograms lie per (part of the window, measure, task); the running total is one part more.
#include "trainer/evaluator.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/section.h"

enum {
    EVALUATOR_TOTAL = TRAINER_EVALUATOR_PARTS, // the part that is the running total
    EVALUATOR_VERSION = 1,                     // of what is saved
    EVALUATOR_VALUES_VERSION = 2,              // and if some task has values: they follow
};
static const char EVALUATOR_MAGIC[] = "FRSHEVAL", EVALUATOR_WHAT[] = "the cut's state of the evaluator";

struct evaluator_sums {
    double events, positives, predictions, loss;
    double bin_positives[TRAINER_EVALUATOR_BINS];
    double bin_negatives[TRAINER_EVALUATOR_BINS];
};

struct value_sums {
    double events, values, predictions, loss;
    double transformed, squares; // mse: sums of log1p(v) and its square; else of v log v, and nothing
};

struct trainer_evaluator {
    struct trainer_evaluator_config config;
    bool started;
    int64_t part; // number of the part that is filling: floor(time / part length)
    struct evaluator_sums sums[TRAINER_EVALUATOR_PARTS + 1][TRAINER_MEASURES][BASE_TASKS_MAX];
    struct value_sums values[TRAINER_EVALUATOR_PARTS + 1][BASE_TASKS_MAX];
};

struct trainer_evaluator *trainer_evaluator_new(const struct trainer_evaluator_config *config,
                                                struct base_error *error)
{
    if (config->tasks < 1 || config->tasks > BASE_TASKS_MAX || config->stages < 1 ||
        config->stages > config->tasks) {
        base_error_set(error, BASE_EINVAL,
                       "%u tasks with %u stages: there are 1..%d tasks, and stages 1..tasks", config->tasks,
                       config->stages, BASE_TASKS_MAX);
        return NULL;
    }
    if (!(config->keep_negatives > 0 && config->keep_negatives <= 1)) {
        base_error_set(error, BASE_EINVAL, "keep_negatives %g is not in (0, 1]", config->keep_negatives);
        return NULL;
    }
    if (config->window_ms < TRAINER_EVALUATOR_PARTS || config->window_ms % TRAINER_EVALUATOR_PARTS) {
        base_error_set(error, BASE_EINVAL, "a window of %lld ms is not a positive multiple of %d ms",
                       (long long)config->window_ms, TRAINER_EVALUATOR_PARTS);
        return NULL;
    }
    struct trainer_evaluator *evaluator = base_alloc_zeroed(1, sizeof *evaluator);
    evaluator->config = *config;
    return evaluator;
}

void trainer_evaluator_free(struct trainer_evaluator *evaluator)
{
    free(evaluator);
}

// The number of the part of the window that a time falls in: floor(time / length).
static int64_t evaluator_part(const struct trainer_evaluator *evaluator, int64_t time)
{
    int64_t length = evaluator->config.window_ms / TRAINER_EVALUATOR_PARTS;
    return time / length - (time % length < 0);
}

// Where a part's sums lie.
static uint32_t evaluator_place(int64_t part)
{
    int64_t place = part % TRAINER_EVALUATOR_PARTS;
    return (uint32_t)(place < 0 ? place + TRAINER_EVALUATOR_PARTS : place);
}

void trainer_evaluator_advance(struct trainer_evaluator *evaluator, int64_t time)
{
    int64_t part = evaluator_part(evaluator, time);
    if (!evaluator->started) {
        evaluator->started = true;
        evaluator->part = part;
    }
    if (part - evaluator->part > TRAINER_EVALUATOR_PARTS) {
        evaluator->part = part - TRAINER_EVALUATOR_PARTS; // every part is cleared once
    }
    while (evaluator->part < part) {
        evaluator->part++;
        uint32_t place = evaluator_place(evaluator->part);
        memset(evaluator->sums[place], 0, sizeof evaluator->sums[place]);
        memset(evaluator->values[place], 0, sizeof evaluator->values[place]);
    }
}

void trainer_evaluator_reset(struct trainer_evaluator *evaluator)
{
    memset(evaluator->sums[EVALUATOR_TOTAL], 0, sizeof evaluator->sums[EVALUATOR_TOTAL]);
    memset(evaluator->values[EVALUATOR_TOTAL], 0, sizeof evaluator->values[EVALUATOR_TOTAL]);
}

// What one sample does to one measure.
struct evaluator_entry {
    double events, positives, negatives; // negatives < 0: taken back
    double prediction;
};

static void sums_add(struct evaluator_sums *sums, const struct evaluator_entry *entry)
{
    double p = fmin(fmax(entry->prediction, 1e-12), 1 - 1e-12);
    int bin = (int)floor(8 * log(p / (1 - p))) + TRAINER_EVALUATOR_BINS / 2;
    bin = bin < 0 ? 0 : bin >= TRAINER_EVALUATOR_BINS ? TRAINER_EVALUATOR_BINS - 1 : bin;
    sums->events += entry->events;
    sums->positives += entry->positives;
    sums->predictions += entry->events * p;
    sums->loss += -entry->positives * log(p) - entry->negatives * log1p(-p);
    sums->bin_positives[bin] += entry->positives;
    sums->bin_negatives[bin] += entry->negatives;
}

static void evaluator_add(struct trainer_evaluator *evaluator, uint32_t part, enum trainer_measure measure,
                          uint32_t task, struct evaluator_entry entry)
{
    sums_add(&evaluator->sums[part][measure][task], &entry);
    sums_add(&evaluator->sums[EVALUATOR_TOTAL][measure][task], &entry);
}

// An event that pays with a label.
static struct evaluator_entry entry_paid(double weight, bool label, float prediction)
{
    return (struct evaluator_entry){weight, label ? weight : 0, label ? 0 : weight, (double)prediction};
}

// An event that paid as a negative and turns out a positive.
static struct evaluator_entry entry_late(double weight, float prediction)
{
    return (struct evaluator_entry){0, weight, -weight, (double)prediction};
}

// How often a sample's impression counts.
static double evaluator_weight(const struct trainer_evaluator *evaluator, const struct base_sample *sample)
{
    double weight = (double)base_sample_impression_weight(sample);
    return sample->kind == BASE_N0 ? weight / evaluator->config.keep_negatives : weight;
}

// The stage that a task's conditional stands on; UINT32_MAX: impressions.
static uint32_t evaluator_parent(const struct trainer_evaluator *evaluator, uint32_t task)
{
    if (task >= evaluator->config.stages) {
        return evaluator->config.parent[task];
    }
    return task == 0 ? UINT32_MAX : task - 1;
}

// Does the task say a probability?
static bool evaluator_classifies(const struct trainer_evaluator *evaluator, uint32_t task)
{
    uint8_t kind = evaluator->config.kind[task];
    return kind == TRAINER_LOSS_BCE || kind == TRAINER_LOSS_ZILN;
}

// P(stages 0..k all happen). ziln's product is a value: its probability is multiplied up.
static float evaluator_product(const struct trainer_evaluator *evaluator, uint32_t task,
                               const float *conditional, const float *products)
{
    if (evaluator->config.kind[task] != TRAINER_LOSS_ZILN) {
        return products[task];
    }
    float product = 1;
    for (uint32_t k = task; k != UINT32_MAX; k = evaluator_parent(evaluator, k)) {
        product *= conditional[k];
    }
    return product;
}

static void feed_paid(struct trainer_evaluator *evaluator, uint32_t part, const struct base_sample *sample,
                      const float *conditional, const float *products)
{
    double weight = evaluator_weight(evaluator, sample);
    bool first = true;
    for (uint32_t k = 0; k < evaluator->config.tasks; k++) {
        if (!(sample->mask >> k & 1)) {
            continue;
        }
        if (!evaluator_classifies(evaluator, k)) {
            first = false;
            continue;
        }
        float product = evaluator_product(evaluator, k, conditional, products);
        evaluator_add(evaluator, part, TRAINER_MEASURE_PRODUCT, k,
                      entry_paid(weight, sample->label[k], product));
        if (first || evaluator_parent(evaluator, k) == UINT32_MAX) {
            evaluator_add(evaluator, part, TRAINER_MEASURE_CONDITIONAL, k,
                          entry_paid(weight, sample->label[k], conditional[k]));
        }
        first = false;
    }
}

static void feed_late(struct trainer_evaluator *evaluator, uint32_t part, const struct base_sample *sample,
                      const float *conditional, const float *products)
{
    double weight = evaluator_weight(evaluator, sample);
    for (uint32_t k = 0; k < evaluator->config.tasks; k++) {
        if (!evaluator_classifies(evaluator, k)) {
            continue;
        }
        if (sample->mask >> k & 1) {
            float product = evaluator_product(evaluator, k, conditional, products);
            evaluator_add(evaluator, part, TRAINER_MEASURE_PRODUCT, k, entry_late(weight, product));
            evaluator_add(evaluator, part, TRAINER_MEASURE_CONDITIONAL, k,
                          entry_late(weight, conditional[k]));
        }
        uint32_t parent = evaluator_parent(evaluator, k);
        if (parent != UINT32_MAX && sample->mask >> parent & 1) {
            evaluator_add(evaluator, part, TRAINER_MEASURE_CONDITIONAL, k,
                          entry_paid(weight, false, conditional[k]));
        }
    }
}

static void feed_final(struct trainer_evaluator *evaluator, uint32_t part, const struct base_sample *sample,
                       const float *conditional)
{
    double weight = evaluator_weight(evaluator, sample);
    for (uint32_t k = 0; k < evaluator->config.tasks; k++) {
        uint32_t parent = evaluator_parent(evaluator, k);
        if (evaluator_classifies(evaluator, k) && parent != UINT32_MAX && sample->label[parent]) {
            evaluator_add(evaluator, part, TRAINER_MEASURE_FINAL, k,
                          entry_paid(weight, sample->label[k], conditional[k]));
        }
    }
}

// ---- values ----

static double value_loss(bool squared, double value, double prediction)
{
    if (squared) {
        double difference = log1p(prediction) - log1p(value);
        return difference * difference;
    }
    double p = fmax(prediction, 1e-12);
    return 2 * ((value > 0 ? value * log(value / p) : 0) - value + p);
}

// Adds `weight` times an event with the value; as an event, or as a change of the sums alone.
static void value_sums_add(struct value_sums *sums, bool squared, double weight, double value,
                           double prediction, bool event)
{
    double logarithm = squared ? log1p(value) : value > 0 ? value * log(value) : 0;
    sums->events += event ? weight : 0;
    sums->predictions += event ? weight * prediction : 0;
    sums->values += weight * value;
    sums->loss += weight * value_loss(squared, value, prediction);
    sums->transformed += weight * logarithm;
    sums->squares += squared ? weight * logarithm * logarithm : 0;
}

static void feed_value(struct trainer_evaluator *evaluator, uint32_t part, const struct base_sample *sample,
                       uint32_t k, double prediction)
{
    uint8_t kind = evaluator->config.kind[k];
    bool squared = kind == TRAINER_LOSS_MSE, events = evaluator->config.events[k];
    double value = sample->label[k] ? (double)sample->value[k] : 0;
    bool fits =
        !sample->label[k] || (isfinite(value) && (kind == TRAINER_LOSS_ZILN ? value > 0 : value >= 0));
    if (!fits || (events && !sample->label[k])) {
        return;
    }
    double weight = evaluator_weight(evaluator, sample);
    bool late = !events && (sample->kind == BASE_L || sample->kind == BASE_D2);
    struct value_sums *places[] = {&evaluator->values[part][k], &evaluator->values[EVALUATOR_TOTAL][k]};
    for (uint32_t i = 0; i < 2; i++) {
        if (late) {
            value_sums_add(places[i], squared, -weight, 0, prediction, false);
        }
        value_sums_add(places[i], squared, weight, value, prediction, !late);
    }
}

static void feed_values(struct trainer_evaluator *evaluator, uint32_t part, const struct base_sample *sample,
                        const float *products)
{
    for (uint32_t k = 0; k < evaluator->config.tasks && sample->kind != BASE_F3; k++) {
        if (sample->mask >> k & 1 && evaluator->config.kind[k] != TRAINER_LOSS_BCE) {
            feed_value(evaluator, part, sample, k, fmax((double)products[k], 0));
        }
    }
}

static struct trainer_value_evaluation value_sums_show(const struct value_sums *sums, bool squared)
{
    struct trainer_value_evaluation shown = {sums->events, sums->values, (double)NAN, (double)NAN,
                                             (double)NAN};
    if (sums->events > 0) {
        double mean = sums->values / sums->events, transformed = sums->transformed / sums->events;
        shown.loss = sums->loss / sums->events;
        shown.constant = squared ? sums->squares / sums->events - transformed * transformed
                                 : 2 * (transformed - (mean > 0 ? mean * log(mean) : 0));
    }
    if (sums->values > 0) {
        shown.calibration = sums->predictions / sums->values;
    }
    return shown;
}

static bool evaluator_has_values(const struct trainer_evaluator *evaluator)
{
    bool has = false;
    for (uint32_t k = 0; k < evaluator->config.tasks; k++) {
        has = has || evaluator->config.kind[k] != TRAINER_LOSS_BCE;
    }
    return has;
}

struct trainer_value_evaluation trainer_evaluator_value_total(const struct trainer_evaluator *evaluator,
                                                              uint32_t task)
{
    return value_sums_show(&evaluator->values[EVALUATOR_TOTAL][task],
                           evaluator->config.kind[task] == TRAINER_LOSS_MSE);
}

struct trainer_value_evaluation trainer_evaluator_value_window(const struct trainer_evaluator *evaluator,
                                                               uint32_t task)
{
    struct value_sums all = {0};
    for (uint32_t part = 0; part < TRAINER_EVALUATOR_PARTS; part++) {
        const struct value_sums *sums = &evaluator->values[part][task];
        all.events += sums->events;
        all.values += sums->values;
        all.predictions += sums->predictions;
        all.loss += sums->loss;
        all.transformed += sums->transformed;
        all.squares += sums->squares;
    }
    return value_sums_show(&all, evaluator->config.kind[task] == TRAINER_LOSS_MSE);
}

void trainer_evaluator_feed(struct trainer_evaluator *evaluator, const struct base_sample *sample,
                            const float *conditional, const float *products)
{
    trainer_evaluator_advance(evaluator, sample->due_time);
    int64_t part = evaluator_part(evaluator, sample->due_time);
    int64_t oldest = evaluator->part - TRAINER_EVALUATOR_PARTS + 1;
    uint32_t place = evaluator_place(part < oldest ? oldest : part);
    feed_values(evaluator, place, sample, products);
    switch ((enum base_kind)sample->kind) {
    case BASE_N0:
    case BASE_C1:
        feed_paid(evaluator, place, sample, conditional, products);
        break;
    case BASE_L:
    case BASE_D2:
        feed_late(evaluator, place, sample, conditional, products);
        break;
    case BASE_F3:
        feed_final(evaluator, place, sample, conditional);
        break;
    case BASE_KINDS:
        assert(false);
    }
}

// The area under the ROC curve: the share of (positive, negative) pairs in the right order, ties half. A bin
// whose negatives were taken back elsewhere can be below zero; the sum over pairs evens it out.
static double sums_auc(const struct evaluator_sums *sums)
{
    double below = 0, pairs = 0, positives = 0;
    for (uint32_t i = 0; i < TRAINER_EVALUATOR_BINS; i++) {
        pairs += sums->bin_positives[i] * (below + sums->bin_negatives[i] / 2);
        below += sums->bin_negatives[i];
        positives += sums->bin_positives[i];
    }
    return positives > 0 && below > 0 ? fmin(fmax(pairs / (positives * below), 0), 1) : (double)NAN;
}

static double entropy(double share)
{
    double sum = 0;
    sum -= share > 0 ? share * log(share) : 0;
    sum -= share < 1 ? (1 - share) * log1p(-share) : 0;
    return sum;
}

static struct trainer_evaluation sums_show(const struct evaluator_sums *sums)
{
    struct trainer_evaluation shown = {sums->events, sums->positives, (double)NAN,
                                       (double)NAN,  (double)NAN,     sums_auc(sums)};
    if (sums->events > 0) {
        shown.log_loss = sums->loss / sums->events;
        // A short window may hold more late positives than events.
        shown.constant = entropy(fmin(sums->positives / sums->events, 1));
    }
    if (sums->positives > 0) {
        shown.calibration = sums->predictions / sums->positives;
    }
    return shown;
}

struct trainer_evaluation trainer_evaluator_window(const struct trainer_evaluator *evaluator,
                                                   enum trainer_measure measure, uint32_t task)
{
    assert(measure < TRAINER_MEASURES && task < evaluator->config.tasks);
    struct evaluator_sums sum = {0};
    for (uint32_t part = 0; part < TRAINER_EVALUATOR_PARTS; part++) {
        const struct evaluator_sums *sums = &evaluator->sums[part][measure][task];
        sum.events += sums->events;
        sum.positives += sums->positives;
        sum.predictions += sums->predictions;
        sum.loss += sums->loss;
        for (uint32_t i = 0; i < TRAINER_EVALUATOR_BINS; i++) {
            sum.bin_positives[i] += sums->bin_positives[i];
            sum.bin_negatives[i] += sums->bin_negatives[i];
        }
    }
    return sums_show(&sum);
}

struct trainer_evaluation trainer_evaluator_total(const struct trainer_evaluator *evaluator,
                                                  enum trainer_measure measure, uint32_t task)
{
    assert(measure < TRAINER_MEASURES && task < evaluator->config.tasks);
    return sums_show(&evaluator->sums[EVALUATOR_TOTAL][measure][task]);
}

// ---- saving ----
//
//   u32 tasks, u32 stages, u32 measures, u32 bins, i64 window_ms, u8 started, i64 part
//   the parts, the running total last; in them the measures, in them the tasks:
//     4 doubles; u16 n, then n bins in which there is something: u16 number, 2 doubles

static void save_double(struct base_buffer *buffer, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    base_buffer_u64(buffer, bits);
}

static double restore_double(struct base_reader *reader)
{
    uint64_t bits = base_reader_u64(reader);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool sums_bin_is_used(const struct evaluator_sums *sums, uint32_t bin)
{
    return sums->bin_positives[bin] != 0 || sums->bin_negatives[bin] != 0;
}

static void sums_save(const struct evaluator_sums *sums, struct base_buffer *buffer)
{
    save_double(buffer, sums->events);
    save_double(buffer, sums->positives);
    save_double(buffer, sums->predictions);
    save_double(buffer, sums->loss);
    uint16_t used = 0;
    for (uint32_t i = 0; i < TRAINER_EVALUATOR_BINS; i++) {
        used = (uint16_t)(used + sums_bin_is_used(sums, i));
    }
    base_buffer_u16(buffer, used);
    for (uint32_t i = 0; i < TRAINER_EVALUATOR_BINS; i++) {
        if (sums_bin_is_used(sums, i)) {
            base_buffer_u16(buffer, (uint16_t)i);
            save_double(buffer, sums->bin_positives[i]);
            save_double(buffer, sums->bin_negatives[i]);
        }
    }
}

static void sums_restore(struct evaluator_sums *sums, struct base_reader *reader)
{
    sums->events = restore_double(reader);
    sums->positives = restore_double(reader);
    sums->predictions = restore_double(reader);
    sums->loss = restore_double(reader);
    uint16_t used = base_reader_u16(reader);
    for (uint32_t i = 0; i < used && !reader->failed; i++) {
        uint16_t bin = base_reader_u16(reader);
        double positives = restore_double(reader), negatives = restore_double(reader);
        if (bin >= TRAINER_EVALUATOR_BINS) {
            reader->failed = true;
            return;
        }
        sums->bin_positives[bin] = positives;
        sums->bin_negatives[bin] = negatives;
    }
}

void trainer_evaluator_save(const struct trainer_evaluator *evaluator, struct base_buffer *buffer)
{
    bool values = evaluator_has_values(evaluator);
    size_t mark =
        base_section_begin(buffer, EVALUATOR_MAGIC, values ? EVALUATOR_VALUES_VERSION : EVALUATOR_VERSION);
    base_buffer_u32(buffer, evaluator->config.tasks);
    base_buffer_u32(buffer, evaluator->config.stages);
    base_buffer_u32(buffer, TRAINER_MEASURES);
    base_buffer_u32(buffer, TRAINER_EVALUATOR_BINS);
    base_buffer_u64(buffer, (uint64_t)evaluator->config.window_ms);
    base_buffer_u8(buffer, evaluator->started);
    base_buffer_u64(buffer, (uint64_t)evaluator->part);
    for (uint32_t part = 0; part <= EVALUATOR_TOTAL; part++) {
        for (uint32_t measure = 0; measure < TRAINER_MEASURES; measure++) {
            for (uint32_t k = 0; k < evaluator->config.tasks; k++) {
                sums_save(&evaluator->sums[part][measure][k], buffer);
            }
        }
    }
    for (uint32_t part = 0; part <= EVALUATOR_TOTAL && values; part++) {
        for (uint32_t k = 0; k < evaluator->config.tasks; k++) {
            const struct value_sums *sums = &evaluator->values[part][k];
            const double numbers[] = {sums->events, sums->values,      sums->predictions,
                                      sums->loss,   sums->transformed, sums->squares};
            for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
                save_double(buffer, numbers[i]);
            }
        }
    }
    base_section_end(buffer, mark);
}

// Reads a payload into `evaluator`, whose sums are zero; what tasks that came since have. `values`: the saved
// one has those.
static int evaluator_parse(struct trainer_evaluator *evaluator, bool values, struct base_reader *reader,
                           struct base_error *error)
{
    uint32_t tasks = base_reader_u32(reader), stages = base_reader_u32(reader);
    uint32_t measures = base_reader_u32(reader), bins = base_reader_u32(reader);
    int64_t window_ms = (int64_t)base_reader_u64(reader);
    evaluator->started = base_reader_u8(reader) != 0;
    evaluator->part = (int64_t)base_reader_u64(reader);
    // Tasks come behind the others, so a stage only where there is no side task.
    bool grown = tasks <= evaluator->config.tasks && stages <= evaluator->config.stages &&
                 (stages == evaluator->config.stages || stages == tasks);
    if (!reader->failed && !grown) {
        return base_error_set(
            error, BASE_ECONFLICT, "%s is of %u tasks with %u stages; the configuration has %u with %u",
            EVALUATOR_WHAT, tasks, stages, evaluator->config.tasks, evaluator->config.stages);
    }
    if (measures != TRAINER_MEASURES || bins != TRAINER_EVALUATOR_BINS) {
        reader->failed = true;
    }
    for (uint32_t part = 0; part <= EVALUATOR_TOTAL; part++) {
        for (uint32_t measure = 0; measure < TRAINER_MEASURES; measure++) {
            for (uint32_t k = 0; k < tasks && !reader->failed; k++) {
                sums_restore(&evaluator->sums[part][measure][k], reader);
            }
        }
    }
    for (uint32_t part = 0; part <= EVALUATOR_TOTAL && values; part++) {
        for (uint32_t k = 0; k < tasks && !reader->failed; k++) {
            struct value_sums *sums = &evaluator->values[part][k];
            double *numbers[] = {&sums->events, &sums->values,      &sums->predictions,
                                 &sums->loss,   &sums->transformed, &sums->squares};
            for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
                *numbers[i] = restore_double(reader);
            }
        }
    }
    if (window_ms != evaluator->config.window_ms) {
        evaluator->started = false;
        memset(evaluator->values, 0, EVALUATOR_TOTAL * sizeof *evaluator->values);
        memset(evaluator->sums, 0, EVALUATOR_TOTAL * sizeof *evaluator->sums);
    }
    return base_section_close(reader, EVALUATOR_WHAT, error);
}

int trainer_evaluator_restore(struct trainer_evaluator *evaluator, struct base_reader *from,
                              struct base_error *error)
{
    struct base_reader after = *from, payload, header = *from;
    uint32_t version = evaluator_has_values(evaluator) ? EVALUATOR_VALUES_VERSION : EVALUATOR_VERSION;
    if (base_section_open(&after, EVALUATOR_MAGIC, version, &payload, EVALUATOR_WHAT, error)) {
        return -1;
    }
    base_reader_bytes(&header, strlen(EVALUATOR_MAGIC));
    bool values = base_reader_u32(&header) == EVALUATOR_VALUES_VERSION;
    struct trainer_evaluator *read = base_alloc_zeroed(1, sizeof *read);
    read->config = evaluator->config;
    int result = evaluator_parse(read, values, &payload, error);
    if (result == 0) {
        *evaluator = *read;
        *from = after;
    }
    free(read);
    return result;
}
