// The learner's thread. See learner.h.
#include "daemon/learner.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"

enum {
    LEARNER_IDLE_MS = 50,      // how long an empty feed is waited for at a time
    LEARNER_STATE_MS = 200,    // how often the state that others see is renewed
    LEARNER_LAST_MS = 10000,   // how long the end waits for the last publication
    LEARNER_WINDOW_MS = 60000, // of the evaluation
    LEARNER_PATH_MAX = 4096,
};

struct daemon_learner {
    struct daemon_learner_config config;
    struct trainer_evaluator *evaluator;
    FILE *predictions;
    pthread_t thread;
    bool started, joined;

    // The thread's own.
    struct base_error error;
    uint64_t samples, minibatches, set_aside;
    uint8_t aside[DAEMON_LEARNER_ASIDE_WINDOW]; // 1: that minibatch was set aside; a ring by minibatch number
    uint32_t aside_sum;
    int64_t tick;
    bool at_tick_end; // nothing was learned since the marker of `tick`
    uint64_t offered; // examples in the newest snapshot that was offered
    bool unpublished; // that snapshot came back unpublished
    int64_t offered_ns, shown_ns;

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
        .tick = learner->tick,
        .tasks = trainer_model_config(learner->config.model)->loss.tasks,
        .rows = trainer_table_rows(trainer_model_table(learner->config.model)),
        .bytes = trainer_table_bytes(trainer_model_table(learner->config.model)),
    };
    for (uint32_t task = 0; task < state.tasks; task++) {
        state.window[task] = trainer_evaluator_window(learner->evaluator, TRAINER_MEASURE_PRODUCT, task);
        state.total[task] = trainer_evaluator_total(learner->evaluator, TRAINER_MEASURE_PRODUCT, task);
    }
    pthread_mutex_lock(&learner->lock);
    state.beats = learner->state.beats;
    learner->state = state;
    pthread_mutex_unlock(&learner->lock);
}

// Writes down which samples a minibatch that was set aside held: its tick, and per lane the first and last
// sequence.
static int learner_set_aside(struct daemon_learner *learner, const struct base_minibatch *minibatch)
{
    char path[LEARNER_PATH_MAX];
    snprintf(path, sizeof path, "%s/set-aside.jsonl", learner->config.state_dir);
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
    if (step.set_aside) {
        return 0;
    }
    learner->samples += minibatch->count;
    for (uint32_t i = 0; i < minibatch->count; i++) {
        trainer_evaluator_feed(learner->evaluator, &minibatch->samples[i],
                               step.conditional + (size_t)i * tasks, step.products + (size_t)i * tasks);
    }
    return learner->predictions ? learner_write_predictions(learner, minibatch, &step, tasks) : 0;
}

static void learner_tick(struct daemon_learner *learner, const struct daemon_item *item)
{
    int64_t end_ms = (item->tick + 1) * learner->config.tick_ms;
    trainer_model_tick(learner->config.model, end_ms);
    trainer_evaluator_advance(learner->evaluator, end_ms);
    learner->tick = item->tick;
    learner->at_tick_end = true;
}

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
    int64_t now = base_clock_monotonic_ns(learner->config.clock);
    bool due = at_once || now - learner->offered_ns >= learner->config.publish_interval_ms * 1000000;
    bool full;
    if (!due || !learner_has_news(learner) ||
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

// The end: what was learned last is published too, if Redis takes it in time.
static void learner_publish_last(struct daemon_learner *learner)
{
    if (!learner->config.outbox || learner->error.code != BASE_OK) {
        return;
    }
    int64_t end = base_clock_monotonic_ns(learner->config.clock) + (int64_t)LEARNER_LAST_MS * 1000000;
    while (base_clock_monotonic_ns(learner->config.clock) < end) {
        struct daemon_outbox_state state;
        daemon_outbox_state(learner->config.outbox, &state);
        learner_publish(learner, true);
        learner_settle(learner, LEARNER_IDLE_MS);
        bool full;
        bool idle = daemon_outbox_ready(learner->config.outbox, INT64_MAX, &full);
        bool nothing = !state.connected && !learner_has_news(learner); // nor can anything be out
        if (state.failed || nothing ||
            (idle && (!learner_has_news(learner) || learner->tick <= state.head_tick))) {
            break;
        }
        if (!idle) {
            learner_settle(learner, LEARNER_IDLE_MS);
        }
        pthread_mutex_lock(&learner->lock);
        learner->state.beats++;
        pthread_mutex_unlock(&learner->lock);
    }
}

static void *learner_thread(void *context)
{
    struct daemon_learner *learner = context;
    while (learner->error.code == BASE_OK) {
        struct daemon_item *item = daemon_feed_take(learner->config.feed, LEARNER_IDLE_MS);
        if (item && item->marker) {
            learner_tick(learner, item);
        } else if (item) {
            learner_minibatch(learner, item->minibatch);
        } else if (daemon_feed_drained(learner->config.feed)) {
            break;
        }
        if (item) {
            daemon_feed_recycle(learner->config.feed, item);
        }
        if (learner->error.code == BASE_OK) {
            learner_publish(learner, false);
        }
        pthread_mutex_lock(&learner->lock);
        learner->state.beats++;
        pthread_mutex_unlock(&learner->lock);
        int64_t now = base_clock_monotonic_ns(learner->config.clock);
        if (now - learner->shown_ns >= (int64_t)LEARNER_STATE_MS * 1000000) {
            learner->shown_ns = now;
            learner_show(learner, false);
        }
    }
    if (learner->predictions && learner->error.code == BASE_OK && fflush(learner->predictions) != 0) {
        base_error_set_errno(&learner->error, BASE_EIO, errno, "%s", learner->config.predictions);
    }
    if (learner->error.code != BASE_OK) {
        daemon_feed_abandon(learner->config.feed);
    }
    learner_publish_last(learner);
    learner_show(learner, true);
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
    int status = pthread_create(&learner->thread, NULL, learner_thread, learner);
    if (status != 0) {
        return base_error_set_errno(error, BASE_ENOMEM, status, "cannot start the trainer's thread");
    }
    learner->started = true;
    return 0;
}

struct daemon_learner *daemon_learner_new(const struct daemon_learner_config *config,
                                          struct base_error *error)
{
    struct daemon_learner *learner = base_alloc_zeroed(1, sizeof *learner);
    learner->config = *config;
    learner->tick = INT64_MIN;
    learner->state.tick = INT64_MIN;
    pthread_mutex_init(&learner->lock, NULL);
    if (learner_open(learner, error)) {
        daemon_learner_free(learner);
        return NULL;
    }
    return learner;
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
    pthread_mutex_destroy(&learner->lock);
    free(learner);
}

void daemon_learner_state(struct daemon_learner *learner, struct daemon_learner_state *state)
{
    pthread_mutex_lock(&learner->lock);
    *state = learner->state;
    pthread_mutex_unlock(&learner->lock);
}
