// The learner's thread. See learner.h.
#include "daemon/learner.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/section.h"
#include "daemon/cutter.h"

#define LEARNER_MAGIC "FRSHLRNR"
enum {
    LEARNER_VERSION = 1,
    LEARNER_CUT_ROWS = 4096,   // config.cut_rows where it is 0: about 0.2 ms
    LEARNER_IDLE_MS = 50,      // how long an empty feed is waited for at a time
    LEARNER_STATE_MS = 200,    // how often the state that others see is renewed
    LEARNER_LAST_MS = 10000,   // how long the end waits for the last publication
    LEARNER_MEET_MS = 2000,    // how long a restart waits to be told what readers have
    LEARNER_WINDOW_MS = 60000, // of the evaluation
    LEARNER_PATH_MAX = 4096,
};

enum learner_phase { LEARNER_LEARNING, LEARNER_LAST, LEARNER_ENDED };

struct daemon_learner {
    struct daemon_learner_config config;
    struct trainer_evaluator *evaluator;
    FILE *predictions;
    pthread_t thread;
    bool started, joined;

    struct base_span *columns;     // [batch]
    float *conditional, *products; // [batch x tasks]

    // The thread's own.
    enum learner_phase phase;
    struct base_error error;
    uint64_t samples, minibatches, set_aside, finals, fingerprint;
    uint64_t aside_bytes;                       // of the list of what was set aside
    uint8_t aside[DAEMON_LEARNER_ASIDE_WINDOW]; // 1: that minibatch was set aside; a ring by minibatch number
    uint32_t aside_sum;
    int64_t tick;
    bool at_tick_end;       // nothing was learned since the marker of `tick`
    uint64_t offered;       // examples in the newest snapshot that was offered
    bool unpublished;       // that snapshot came back unpublished
    bool met;               // it is settled what of the model readers have
    struct daemon_cut *cut; // its rows are being copied
    int64_t offered_ns, shown_ns, last_ns;
    int64_t restored_ns; // when the first step after a restore was made; 0: there was none

    pthread_mutex_t lock;
    struct daemon_learner_state state; // what others see; under the lock
};

static void learner_show(struct daemon_learner *learner, bool ended)
{
    struct daemon_learner_state state = {
        .ended = ended,
        .error = learner->error,
        .samples = learner->samples,
        .minibatches = learner->minibatches,
        .set_aside = learner->set_aside,
        .finals = learner->finals,
        .update = trainer_model_update_figures(learner->config.model),
        .cut_crosses = trainer_model_cut_crosses(learner->config.model),
        .fingerprint = learner->fingerprint,
        .tick = learner->tick,
        .tasks = trainer_model_config(learner->config.model)->loss.tasks,
        .rows = trainer_table_rows(trainer_model_table(learner->config.model)),
        .bytes = trainer_table_bytes(trainer_model_table(learner->config.model)),
        .dirty_bytes = trainer_model_dirty_bytes(learner->config.model),
    };
    for (uint32_t task = 0; task < state.tasks; task++) {
        state.window[task] = trainer_evaluator_window(learner->evaluator, TRAINER_MEASURE_PRODUCT, task);
        state.total[task] = trainer_evaluator_total(learner->evaluator, TRAINER_MEASURE_PRODUCT, task);
        state.value_window[task] = trainer_evaluator_value_window(learner->evaluator, task);
        state.value_total[task] = trainer_evaluator_value_total(learner->evaluator, task);
    }
    pthread_mutex_lock(&learner->lock);
    state.beats = learner->state.beats;
    learner->state = state;
    pthread_mutex_unlock(&learner->lock);
}

static void learner_beat(struct daemon_learner *learner)
{
    pthread_mutex_lock(&learner->lock);
    learner->state.beats++;
    pthread_mutex_unlock(&learner->lock);
}

// ---- learning ----

static void learner_aside_path(const struct daemon_learner *learner, char path[LEARNER_PATH_MAX])
{
    snprintf(path, LEARNER_PATH_MAX, "%s/set-aside.jsonl", learner->config.state_dir);
}

// Writes down which samples a minibatch that was set aside held: its tick, and of each its lane and sequence.
static int learner_set_aside(struct daemon_learner *learner, const struct base_minibatch *minibatch)
{
    char path[LEARNER_PATH_MAX];
    learner_aside_path(learner, path);
    FILE *file = fopen(path, "a");
    if (!file) {
        return base_error_set_errno(&learner->error, BASE_EIO, errno, "%s", path);
    }
    fprintf(file, "{\"tick\":%" PRId64 ",\"samples\":[", minibatch->tick);
    for (uint32_t i = 0; i < minibatch->count; i++) {
        fprintf(file, "%s[%" PRIu32 ",%" PRIu64 "]", i ? "," : "", minibatch->samples[i].lane,
                minibatch->samples[i].sequence);
    }
    fprintf(file, "]}\n");
    learner->aside_bytes = (uint64_t)ftell(file);
    bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed) {
        return base_error_set_errno(&learner->error, BASE_EIO, errno, "%s", path);
    }
    return 0;
}

// Keeps the count of the last minibatches that were set aside; an error when they are too many.
static int learner_count_aside(struct daemon_learner *learner, const struct base_minibatch *minibatch,
                               bool aside)
{
    uint8_t *place = &learner->aside[learner->minibatches % DAEMON_LEARNER_ASIDE_WINDOW];
    learner->aside_sum -= *place;
    *place = aside;
    learner->aside_sum += *place;
    if (!aside) {
        return 0;
    }
    learner->set_aside++;
    if (learner_set_aside(learner, minibatch)) {
        return -1;
    }
    if (learner->aside_sum > DAEMON_LEARNER_ASIDE_MAX) {
        return base_error_set(&learner->error, BASE_ELIMIT,
                              "%" PRIu32
                              " of the last %d minibatches were not finite: the model has diverged (lower "
                              "rate.dense or rate.sparse); they are listed in %s/set-aside.jsonl",
                              learner->aside_sum, DAEMON_LEARNER_ASIDE_WINDOW, learner->config.state_dir);
    }
    return 0;
}

static int learner_write_predictions(struct daemon_learner *learner, const struct base_minibatch *minibatch,
                                     const struct trainer_step *step, uint32_t tasks)
{
    for (uint32_t i = 0; i < minibatch->count; i++) {
        const struct base_sample *sample = &minibatch->samples[i];
        struct daemon_prediction record = {
            .impression = base_hash_bytes(sample->impression_id, 0),
            .kind = sample->kind,
            .mask = sample->mask,
            .tasks = (uint8_t)tasks,
        };
        for (uint32_t task = 0; task < tasks; task++) {
            record.labels = (uint8_t)(record.labels | (sample->label[task] != 0) << task);
        }
        fwrite(&record, offsetof(struct daemon_prediction, tasks) + 1, 1, learner->predictions);
        fwrite(step->products + (size_t)i * tasks, sizeof(float), tasks, learner->predictions);
    }
    if (ferror(learner->predictions)) {
        return base_error_set_errno(&learner->error, BASE_EIO, errno, "%s", learner->config.predictions);
    }
    return 0;
}

// Takes a sample's values and weight into its hash, if it has any.
static uint64_t learner_numbers(const struct base_sample *sample, uint64_t hash)
{
    struct {
        float value[BASE_TASKS_MAX], weight;
        uint8_t valued, weighted, zero[2];
    } numbers = {.weight = base_sample_impression_weight(sample), .weighted = sample->weighted};
    static_assert(sizeof numbers == (BASE_TASKS_MAX + 2) * sizeof(float), "no padding in what is hashed");
    for (uint32_t k = 0; k < BASE_TASKS_MAX; k++) {
        if (sample->label[k] && !isnan(sample->value[k])) {
            numbers.value[k] = sample->value[k];
            numbers.valued |= (uint8_t)(1u << k);
        }
    }
    if (!numbers.valued && !numbers.weighted) {
        return hash;
    }
    return base_hash_bytes(base_span_make(&numbers, sizeof numbers), hash);
}

// Adds samples to the fingerprint of the sequence, which no order of threads can change.
static void learner_fingerprint(struct daemon_learner *learner, const struct base_minibatch *minibatch)
{
    for (uint32_t i = 0; i < minibatch->count; i++) {
        const struct base_sample *sample = &minibatch->samples[i];
        struct {
            int64_t tick, due_time;
            uint64_t sequence;
            uint32_t lane;
            uint8_t kind, mask, label[BASE_TASKS_MAX], zero[10];
        } identity = {
            .tick = minibatch->tick,
            .due_time = sample->due_time,
            .sequence = sample->sequence,
            .lane = sample->lane,
            .kind = sample->kind,
            .mask = sample->mask,
        };
        static_assert(sizeof identity == 3 * 8 + 4 + 2 + sizeof identity.label + sizeof identity.zero,
                      "no padding in what is hashed");
        memcpy(identity.label, sample->label, sizeof identity.label);
        uint64_t id = base_hash_bytes(sample->impression_id, 0);
        id = learner_numbers(sample, id);
        learner->fingerprint += base_hash_bytes(base_span_make(&identity, sizeof identity), id);
    }
}

static void learner_evaluate(struct daemon_learner *learner, const struct base_minibatch *minibatch,
                             const float *conditional, const float *products)
{
    uint32_t tasks = trainer_model_config(learner->config.model)->loss.tasks;
    for (uint32_t i = 0; i < minibatch->count; i++) {
        trainer_evaluator_feed(learner->evaluator, &minibatch->samples[i], conditional + (size_t)i * tasks,
                               products + (size_t)i * tasks);
    }
}

static int learner_minibatch(struct daemon_learner *learner, const struct base_minibatch *minibatch)
{
    uint32_t tasks = trainer_model_config(learner->config.model)->loss.tasks;
    struct trainer_step step = {0};
    learner->at_tick_end = false;
    if (trainer_model_step(learner->config.model, minibatch, &step, &learner->error)) {
        return -1;
    }
    if (learner_count_aside(learner, minibatch, step.set_aside)) {
        return -1;
    }
    learner->minibatches++;
    learner_fingerprint(learner, minibatch);
    if (step.set_aside) {
        return 0;
    }
    learner->samples += minibatch->count;
    learner_evaluate(learner, minibatch, step.conditional, step.products);
    return learner->predictions ? learner_write_predictions(learner, minibatch, &step, tasks) : 0;
}

// Samples that no loss uses: what the model says of them now is measured (rule 24 of docs/join.md).
static int learner_finals(struct daemon_learner *learner, const struct base_minibatch *minibatch)
{
    for (uint32_t i = 0; i < minibatch->count; i++) {
        learner->columns[i] = minibatch->samples[i].columns;
    }
    if (trainer_model_predict(learner->config.model, learner->columns, minibatch->count, learner->conditional,
                              learner->products, &learner->error)) {
        return -1;
    }
    learner_fingerprint(learner, minibatch);
    learner_evaluate(learner, minibatch, learner->conditional, learner->products);
    learner->finals += minibatch->count;
    return 0;
}

static void learner_tick(struct daemon_learner *learner, const struct daemon_item *item)
{
    int64_t end_ms = (item->tick + 1) * learner->config.tick_ms;
    trainer_model_tick(learner->config.model, end_ms);
    trainer_evaluator_advance(learner->evaluator, end_ms);
    learner->tick = item->tick;
    learner->at_tick_end = true;
}

// ---- publishing ----

// Takes back a snapshot that the outbox is done with.
static void learner_settle(struct daemon_learner *learner, int timeout_ms)
{
    bool published;
    struct trainer_snapshot *snapshot = daemon_outbox_collect(learner->config.outbox, timeout_ms, &published);
    if (snapshot) {
        trainer_model_settle(learner->config.model, snapshot, published);
        trainer_snapshot_free(snapshot);
        learner->unpublished = !published;
    }
}

// After a restart: as soon as Redis has told its head and the model has come to that head's tick, tells the
// model what of it readers have. Called at every tick's end until then.
static void learner_meet_head(struct daemon_learner *learner)
{
    if (learner->met || !learner->at_tick_end) {
        return;
    }
    struct daemon_outbox_state outbox;
    daemon_outbox_state(learner->config.outbox, &outbox);
    if (!outbox.connected || (outbox.head_ours && learner->tick < outbox.head_tick)) {
        return;
    }
    trainer_model_head(learner->config.model, outbox.head_ours ? outbox.head_tick : INT64_MIN, learner->tick);
    if (outbox.head_ours && outbox.head_tick == learner->tick) {
        learner->offered = trainer_model_examples(learner->config.model);
    }
    learner->met = true;
}

// After a restart head is asked for before anything is relearned: once its tick was passed, only a base could
// be published. A Redis that is away is not waited for longer than a moment. True: it was waited.
static bool learner_await_head(struct daemon_learner *learner, int timeout_ms)
{
    if (learner->met || !learner->config.outbox || timeout_ms <= 0) {
        return false;
    }
    struct daemon_outbox_state outbox;
    daemon_outbox_state(learner->config.outbox, &outbox);
    int64_t now = base_clock_monotonic_ns(learner->config.clock);
    learner->restored_ns = learner->restored_ns ? learner->restored_ns : now;
    if (outbox.connected || outbox.failed ||
        now - learner->restored_ns >= (int64_t)LEARNER_MEET_MS * 1000000) {
        return false;
    }
    learner_settle(learner, timeout_ms);
    return true;
}

// True if the model has something that readers do not have and that is not on its way.
static bool learner_has_news(const struct daemon_learner *learner)
{
    return learner->at_tick_end &&
           (learner->unpublished || trainer_model_examples(learner->config.model) != learner->offered);
}

// Offers a snapshot if one is due and the outbox has room.
static void learner_publish(struct daemon_learner *learner, bool at_once)
{
    if (!learner->config.outbox) {
        return;
    }
    learner_settle(learner, 0);
    learner_meet_head(learner);
    int64_t now = base_clock_monotonic_ns(learner->config.clock);
    bool due = at_once || now - learner->offered_ns >= learner->config.publish_interval_ms * 1000000;
    bool full;
    if (!due || !learner->met || !learner_has_news(learner) ||
        !daemon_outbox_ready(learner->config.outbox, learner->tick, &full)) {
        return;
    }
    struct trainer_snapshot *snapshot = trainer_model_snapshot(learner->config.model, learner->tick, full);
    if (!daemon_outbox_offer(learner->config.outbox, snapshot)) {
        trainer_model_settle(learner->config.model, snapshot, false);
        trainer_snapshot_free(snapshot);
        return;
    }
    learner->offered = trainer_model_examples(learner->config.model);
    learner->offered_ns = now;
    learner->unpublished = false;
}

// The end: what was learned last is published too, if Redis takes it in time. True: that is over.
static bool learner_publish_last(struct daemon_learner *learner, int timeout_ms)
{
    if (!learner->config.outbox || learner->error.code != BASE_OK ||
        base_clock_monotonic_ns(learner->config.clock) - learner->last_ns >=
            (int64_t)LEARNER_LAST_MS * 1000000) {
        return true;
    }
    struct daemon_outbox_state state;
    daemon_outbox_state(learner->config.outbox, &state);
    learner_publish(learner, true);
    learner_settle(learner, timeout_ms);
    bool full;
    bool idle = daemon_outbox_ready(learner->config.outbox, INT64_MAX, &full);
    bool nothing = !state.connected && !learner_has_news(learner); // nor can anything be out
    if (state.failed || nothing ||
        (idle && (!learner_has_news(learner) || learner->tick <= state.head_tick))) {
        return true;
    }
    if (!idle) {
        learner_settle(learner, timeout_ms);
    }
    return false;
}

// ---- cuts ----

static void learner_save(const struct daemon_learner *learner, struct base_buffer *buffer)
{
    size_t mark = base_section_begin(buffer, LEARNER_MAGIC, LEARNER_VERSION);
    const uint64_t numbers[] = {learner->samples,       learner->minibatches, learner->set_aside,
                                learner->finals,        learner->fingerprint, learner->aside_bytes,
                                (uint64_t)learner->tick};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        base_buffer_u64(buffer, numbers[i]);
    }
    base_section_put_span(buffer, base_span_make(learner->aside, sizeof learner->aside));
    base_section_end(buffer, mark);
    trainer_evaluator_save(learner->evaluator, buffer);
}

int daemon_learner_restore(struct daemon_learner *learner, struct base_reader *from, struct base_error *error)
{
    static const char what[] = "the cut's state of the learner";
    struct base_reader payload;
    if (base_section_open(from, LEARNER_MAGIC, LEARNER_VERSION, &payload, what, error)) {
        return -1;
    }
    uint64_t numbers[7];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        numbers[i] = base_reader_u64(&payload);
    }
    struct base_span aside = base_section_get_span(&payload);
    if (base_section_close(&payload, what, error) ||
        trainer_evaluator_restore(learner->evaluator, from, error)) {
        return -1;
    }
    if (aside.size != sizeof learner->aside) {
        return base_error_set(error, BASE_EFORMAT, "%s has a window of %zu minibatches", what, aside.size);
    }
    // What was set aside after the cut will be set aside again.
    char path[LEARNER_PATH_MAX];
    learner_aside_path(learner, path);
    if (truncate(path, (off_t)numbers[5]) != 0 && (errno != ENOENT || numbers[5] != 0)) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", path);
    }
    learner->samples = numbers[0];
    learner->minibatches = numbers[1];
    learner->set_aside = numbers[2];
    learner->finals = numbers[3];
    learner->fingerprint = numbers[4];
    learner->aside_bytes = numbers[5];
    learner->tick = (int64_t)numbers[6];
    memcpy(learner->aside, aside.data, aside.size);
    for (size_t i = 0; i < aside.size; i++) {
        learner->aside_sum += learner->aside[i];
    }
    learner->at_tick_end = true;
    learner->met = false;
    return 0;
}

// Copies a portion of the cut that is under way, and gives it on once it is complete.
static void learner_copy_cut(struct daemon_learner *learner, size_t rows)
{
    if (learner->cut && trainer_model_cut_copy(learner->config.model, rows)) {
        learner->cut->trainer = trainer_model_cut_take(learner->config.model);
        daemon_cutter_give(learner->config.cutter, learner->cut);
        learner->cut = NULL;
    }
}

static void learner_begin_cut(struct daemon_learner *learner, struct daemon_cut *cut)
{
    assert(!learner->cut && learner->config.cutter);
    int64_t begin = base_clock_monotonic_ns(learner->config.clock);
    struct daemon_outbox_state outbox = {0};
    if (learner->config.outbox) {
        learner_settle(learner, 0);
        daemon_outbox_state(learner->config.outbox, &outbox);
    }
    cut->tick = learner->tick;
    cut->examples = trainer_model_examples(learner->config.model);
    cut->rows = trainer_table_rows(trainer_model_table(learner->config.model));
    cut->epoch = outbox.epoch;
    learner_save(learner, &cut->learner);
    trainer_model_cut_begin(learner->config.model);
    learner->cut = cut;
    cut->standstill_ns = base_clock_monotonic_ns(learner->config.clock) - begin;
}

// ---- the thread ----

static void learner_item(struct daemon_learner *learner, struct daemon_item *item)
{
    switch (item->what) {
    case DAEMON_ITEM_MINIBATCH:
        learner_minibatch(learner, item->minibatch);
        break;
    case DAEMON_ITEM_FINALS:
        learner_finals(learner, item->minibatch);
        break;
    case DAEMON_ITEM_MARKER:
        learner_tick(learner, item);
        break;
    case DAEMON_ITEM_CUT:
        learner_begin_cut(learner, item->cut);
        break;
    }
    daemon_feed_recycle(learner->config.feed, item);
}

// The feed is drained, or an error came.
static void learner_end(struct daemon_learner *learner)
{
    if (learner->predictions && learner->error.code == BASE_OK && fflush(learner->predictions) != 0) {
        base_error_set_errno(&learner->error, BASE_EIO, errno, "%s", learner->config.predictions);
    }
    if (learner->error.code != BASE_OK) {
        daemon_feed_abandon(learner->config.feed);
    } else {
        learner_copy_cut(learner, SIZE_MAX);
    }
    learner->phase = LEARNER_LAST;
    learner->last_ns = base_clock_monotonic_ns(learner->config.clock);
}

bool daemon_learner_step(struct daemon_learner *learner, int timeout_ms)
{
    if (learner->phase == LEARNER_LEARNING && learner_await_head(learner, timeout_ms)) {
        learner_beat(learner);
        return true;
    }
    if (learner->phase == LEARNER_LEARNING) {
        struct daemon_item *item = daemon_feed_take(learner->config.feed, learner->cut ? 0 : timeout_ms);
        if (item) {
            learner_item(learner, item);
        }
        learner_copy_cut(learner, learner->config.cut_rows);
        if (learner->error.code == BASE_OK) {
            learner_publish(learner, false);
        }
        if (learner->error.code != BASE_OK || (!item && daemon_feed_drained(learner->config.feed))) {
            learner_end(learner);
        }
    } else if (learner->phase == LEARNER_LAST && learner_publish_last(learner, timeout_ms)) {
        learner->phase = LEARNER_ENDED;
        learner_show(learner, true);
    }
    learner_beat(learner);
    int64_t now = base_clock_monotonic_ns(learner->config.clock);
    if (learner->phase != LEARNER_ENDED && now - learner->shown_ns >= (int64_t)LEARNER_STATE_MS * 1000000) {
        learner->shown_ns = now;
        learner_show(learner, false);
    }
    return learner->phase != LEARNER_ENDED;
}

bool daemon_learner_at(const struct daemon_learner *learner, int64_t *tick)
{
    *tick = learner->tick;
    return learner->at_tick_end;
}

static void *learner_thread(void *context)
{
    while (daemon_learner_step(context, LEARNER_IDLE_MS)) {
    }
    return NULL;
}

static int learner_open(struct daemon_learner *learner, struct base_error *error)
{
    const struct trainer_model_config *model = trainer_model_config(learner->config.model);
    struct trainer_evaluator_config evaluator = {
        .tasks = model->loss.tasks,
        .stages = model->loss.stages,
        .keep_negatives = (double)model->loss.keep_negatives,
        .window_ms = LEARNER_WINDOW_MS,
    };
    memcpy(evaluator.parent, model->loss.parent, sizeof evaluator.parent);
    memcpy(evaluator.kind, model->loss.kind, sizeof evaluator.kind);
    memcpy(evaluator.events, model->loss.events, sizeof evaluator.events);
    learner->evaluator = trainer_evaluator_new(&evaluator, error);
    if (!learner->evaluator) {
        return -1;
    }
    if (learner->config.predictions) {
        learner->predictions = fopen(learner->config.predictions, "w");
        if (!learner->predictions) {
            return base_error_set_errno(error, BASE_EIO, errno, "%s", learner->config.predictions);
        }
    }
    size_t batch = model->network.batch;
    learner->columns = base_alloc_zeroed(batch, sizeof *learner->columns);
    learner->conditional = base_alloc_zeroed(batch * model->loss.tasks, sizeof *learner->conditional);
    learner->products = base_alloc_zeroed(batch * model->loss.tasks, sizeof *learner->products);
    return 0;
}

struct daemon_learner *daemon_learner_new(const struct daemon_learner_config *config,
                                          struct base_error *error)
{
    struct daemon_learner *learner = base_alloc_zeroed(1, sizeof *learner);
    learner->config = *config;
    learner->config.cut_rows = config->cut_rows ? config->cut_rows : LEARNER_CUT_ROWS;
    learner->tick = INT64_MIN;
    learner->state.tick = INT64_MIN;
    learner->met = true;
    pthread_mutex_init(&learner->lock, NULL);
    if (learner_open(learner, error)) {
        daemon_learner_free(learner);
        return NULL;
    }
    return learner;
}

int daemon_learner_start(struct daemon_learner *learner, struct base_error *error)
{
    int status = pthread_create(&learner->thread, NULL, learner_thread, learner);
    if (status != 0) {
        return base_error_set_errno(error, BASE_ENOMEM, status, "cannot start the trainer's thread");
    }
    learner->started = true;
    return 0;
}

void daemon_learner_join(struct daemon_learner *learner)
{
    if (!learner || !learner->started || learner->joined) {
        return;
    }
    pthread_join(learner->thread, NULL);
    learner->joined = true;
}

void daemon_learner_free(struct daemon_learner *learner)
{
    if (!learner) {
        return;
    }
    daemon_learner_join(learner);
    if (learner->predictions) {
        fclose(learner->predictions);
    }
    trainer_evaluator_free(learner->evaluator);
    free(learner->columns);
    free(learner->conditional);
    free(learner->products);
    pthread_mutex_destroy(&learner->lock);
    free(learner);
}

void daemon_learner_state(struct daemon_learner *learner, struct daemon_learner_state *state)
{
    pthread_mutex_lock(&learner->lock);
    *state = learner->state;
    pthread_mutex_unlock(&learner->lock);
}
