// The outbox. One mutex guards the hand-over and the state; the publisher itself belongs to the thread alone,
// and what others ask of it (does it want a base?) is copied out under the mutex. See outbox.h.
#include "daemon/outbox.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/wait.h"

enum {
    OUTBOX_PAUSE_FIRST_MS = 100, // before a failed step is tried again; doubles
    OUTBOX_PAUSE_MAX_MS = 5000,
};

struct daemon_outbox {
    struct publisher *publisher; // the thread's own
    uint64_t min_epoch;
    const struct base_clock *clock;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    bool wants_full;
    struct trainer_snapshot *out;  // given, not yet tried to the end
    struct trainer_snapshot *back; // tried; waits for collect
    bool back_published;
    struct daemon_outbox_state state;
};

// Waits under the lock until something changed; false after the time-out.
static bool outbox_wait(struct daemon_outbox *outbox, const struct timespec *deadline)
{
    return base_wait_until(&outbox->changed, &outbox->lock, deadline);
}

// Pauses after a failure, cut short by a stop. Returns the next pause.
static int outbox_pause(struct daemon_outbox *outbox, int pause_ms)
{
    struct timespec deadline = base_wait_deadline(pause_ms);
    while (!outbox->stopping && outbox_wait(outbox, &deadline)) {
    }
    return pause_ms * 2 < OUTBOX_PAUSE_MAX_MS ? pause_ms * 2 : OUTBOX_PAUSE_MAX_MS;
}

// Notes a failure; a fatal one ends the thread. Under the lock.
static void outbox_note_error(struct daemon_outbox *outbox, const struct base_error *error)
{
    outbox->state.error = *error;
    outbox->state.failures++;
    if (error->fatal || !error->retriable) {
        outbox->state.failed = true;
    }
}

// Tries to connect and to take the epoch. Under the lock, which it gives up while it talks.
static bool outbox_connect(struct daemon_outbox *outbox)
{
    pthread_mutex_unlock(&outbox->lock);
    struct base_error error = {0};
    int status = publisher_start(outbox->publisher, outbox->min_epoch, &error);
    pthread_mutex_lock(&outbox->lock);
    if (status != 0) {
        outbox_note_error(outbox, &error);
        return false;
    }
    struct publisher_version head;
    outbox->state.head_ours = publisher_head_ours(outbox->publisher);
    publisher_head(outbox->publisher, &head, &outbox->state.head_tick);
    outbox->state.epoch = publisher_epoch(outbox->publisher);
    outbox->wants_full = publisher_wants_full(outbox->publisher);
    outbox->state.error = (struct base_error){0};
    outbox->state.connected = true;
    pthread_cond_broadcast(&outbox->changed);
    return true;
}

// Publishes the snapshot that is out. Under the lock, which it gives up while it talks.
static bool outbox_publish(struct daemon_outbox *outbox)
{
    struct trainer_snapshot *snapshot = outbox->out;
    pthread_mutex_unlock(&outbox->lock);
    struct base_error error = {0};
    struct publisher_result result = {0};
    bool published = publisher_publish(outbox->publisher, snapshot, NULL, &result, &error) == 0;
    bool wants_full = publisher_wants_full(outbox->publisher);
    uint64_t epoch = publisher_epoch(outbox->publisher);
    int64_t wall_ms = base_clock_wall_ms(outbox->clock);
    pthread_mutex_lock(&outbox->lock);

    outbox->wants_full = wants_full;
    outbox->state.epoch = epoch;
    if (published) {
        outbox->state.last = result;
        outbox->state.last_tick = snapshot->tick;
        outbox->state.last_wall_ms = wall_ms;
        outbox->state.publications++;
        outbox->state.error = (struct base_error){0};
    } else {
        outbox_note_error(outbox, &error);
    }
    outbox->out = NULL;
    outbox->back = snapshot;
    outbox->back_published = published;
    pthread_cond_broadcast(&outbox->changed);
    return published;
}

// One thing that there is to do, under the lock. *failed says whether it failed. False: nothing.
static bool outbox_act(struct daemon_outbox *outbox, bool *failed)
{
    if (outbox->state.failed) {
        return false;
    }
    if (!outbox->state.connected && !outbox->stopping) {
        *failed = !outbox_connect(outbox);
        return true;
    }
    if (outbox->out) {
        *failed = !outbox_publish(outbox);
        return true;
    }
    return false;
}

bool daemon_outbox_step(struct daemon_outbox *outbox)
{
    bool failed;
    pthread_mutex_lock(&outbox->lock);
    bool acted = outbox_act(outbox, &failed);
    pthread_mutex_unlock(&outbox->lock);
    return acted;
}

static void *outbox_thread(void *context)
{
    struct daemon_outbox *outbox = context;
    int pause_ms = OUTBOX_PAUSE_FIRST_MS;
    pthread_mutex_lock(&outbox->lock);
    while (!outbox->state.failed) {
        bool failed;
        if (outbox_act(outbox, &failed)) {
            pause_ms = failed ? outbox_pause(outbox, pause_ms) : OUTBOX_PAUSE_FIRST_MS;
        } else if (outbox->stopping) {
            break;
        } else {
            pthread_cond_wait(&outbox->changed, &outbox->lock);
        }
    }
    // Whatever is still out comes back unpublished, so that nobody waits for it.
    if (outbox->out) {
        outbox->back = outbox->out;
        outbox->back_published = false;
        outbox->out = NULL;
    }
    pthread_cond_broadcast(&outbox->changed);
    pthread_mutex_unlock(&outbox->lock);
    return NULL;
}

struct daemon_outbox *daemon_outbox_new(const struct publisher_config *config, uint64_t min_epoch,
                                        struct base_error *error)
{
    struct daemon_outbox *outbox = base_alloc_zeroed(1, sizeof *outbox);
    outbox->clock = config->clock ? config->clock : &base_clock_system;
    outbox->min_epoch = min_epoch;
    outbox->state.head_tick = INT64_MIN;
    outbox->wants_full = true;
    pthread_mutex_init(&outbox->lock, NULL);
    base_wait_init(&outbox->changed);

    outbox->publisher = publisher_new(config, error);
    if (!outbox->publisher) {
        daemon_outbox_free(outbox);
        return NULL;
    }
    return outbox;
}

int daemon_outbox_start(struct daemon_outbox *outbox, struct base_error *error)
{
    int status = pthread_create(&outbox->thread, NULL, outbox_thread, outbox);
    if (status != 0) {
        return base_error_set_errno(error, BASE_ENOMEM, status, "cannot start the publisher's thread");
    }
    outbox->started = true;
    return 0;
}

void daemon_outbox_free(struct daemon_outbox *outbox)
{
    if (!outbox) {
        return;
    }
    if (outbox->started) {
        pthread_mutex_lock(&outbox->lock);
        outbox->stopping = true;
        pthread_cond_broadcast(&outbox->changed);
        pthread_mutex_unlock(&outbox->lock);
        pthread_join(outbox->thread, NULL);
    }
    trainer_snapshot_free(outbox->out);
    trainer_snapshot_free(outbox->back);
    publisher_free(outbox->publisher);
    pthread_cond_destroy(&outbox->changed);
    pthread_mutex_destroy(&outbox->lock);
    free(outbox);
}

// True if waiting makes sense: a snapshot is out, or the first connection is still being tried.
static bool outbox_busy(const struct daemon_outbox *outbox)
{
    return outbox->out || (!outbox->state.connected && !outbox->state.failed);
}

static bool outbox_idle(const struct daemon_outbox *outbox)
{
    return outbox->state.connected && !outbox->state.failed && !outbox->out && !outbox->back;
}

bool daemon_outbox_ready(struct daemon_outbox *outbox, int64_t tick, bool *full)
{
    pthread_mutex_lock(&outbox->lock);
    bool ready = outbox_idle(outbox) && tick > outbox->state.head_tick;
    if (ready) {
        *full = outbox->wants_full;
    }
    pthread_mutex_unlock(&outbox->lock);
    return ready;
}

bool daemon_outbox_offer(struct daemon_outbox *outbox, struct trainer_snapshot *snapshot)
{
    pthread_mutex_lock(&outbox->lock);
    bool taken = outbox_idle(outbox);
    if (taken) {
        outbox->out = snapshot;
        pthread_cond_broadcast(&outbox->changed);
    }
    pthread_mutex_unlock(&outbox->lock);
    return taken;
}

struct trainer_snapshot *daemon_outbox_collect(struct daemon_outbox *outbox, int timeout_ms, bool *published)
{
    struct timespec deadline = base_wait_deadline(timeout_ms);
    pthread_mutex_lock(&outbox->lock);
    while (!outbox->back && outbox_busy(outbox) && timeout_ms > 0 && outbox_wait(outbox, &deadline)) {
    }
    struct trainer_snapshot *snapshot = outbox->back;
    if (snapshot) {
        *published = outbox->back_published;
        outbox->back = NULL;
    }
    pthread_mutex_unlock(&outbox->lock);
    return snapshot;
}

void daemon_outbox_state(struct daemon_outbox *outbox, struct daemon_outbox_state *state)
{
    pthread_mutex_lock(&outbox->lock);
    *state = outbox->state;
    pthread_mutex_unlock(&outbox->lock);
}
