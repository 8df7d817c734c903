// When a cut is taken, and its thread. See cutter.h.
//
// One mutex guards the hand-over and the state. What a cut costs is measured by the thread's own processor
// time, which holds the write batch but not what the database does behind it; that is why the share counts it
// twice.
#include "daemon/cutter.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/section.h"
#include "base/wait.h"
#include "consumer/ingest.h"

#define CUTTER_MAGIC "FRSHPUBL"
enum {
    CUTTER_VERSION = 1,
    CUTTER_BEHIND = 2, // the database's own threads write every byte about once more
    // Room for a cut: its batch in the database's log, and again in a file; and what a database writes
    // besides.
    CUTTER_ROOM_TIMES = 3,
    CUTTER_ROOM_MORE = 8 << 20,
};

struct daemon_cutter {
    struct daemon_cutter_config config;
    pthread_t thread;
    bool started;

    // The cut thread's own.
    int64_t kept_ms; // when a cut was kept last

    // Ingest's own.
    int64_t begun_ns; // when the last cut was begun, or the cutter was made

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    struct daemon_cut *cut; // under way: begun, and not yet durable or abandoned
    bool given;             // it is complete, to be written
    int64_t rest_ns;        // how long after the last cut's begin the next one may come
    struct daemon_cutter_state state;
};

static void cut_free(struct daemon_cut *cut)
{
    if (!cut) {
        return;
    }
    base_buffer_free(&cut->ingest);
    base_buffer_free(&cut->learner);
    base_sync_free(cut->sync);
    trainer_cut_free(cut->trainer);
    free(cut);
}

struct daemon_cutter *daemon_cutter_new(const struct daemon_cutter_config *config)
{
    struct daemon_cutter *cutter = base_alloc_zeroed(1, sizeof *cutter);
    cutter->config = *config;
    cutter->begun_ns = base_clock_monotonic_ns(config->clock);
    cutter->state.done = config->record.number;
    cutter->state.tick = config->record.tick;
    cutter->state.wall_ms = config->record.wall_ms;
    pthread_mutex_init(&cutter->lock, NULL);
    base_wait_init(&cutter->changed);
    return cutter;
}

// ---- writing ----

static void cutter_put(void *context, struct base_span key, struct base_span value)
{
    daemon_store_batch_put(context, key, value);
}

static void cutter_remove(void *context, struct base_span key)
{
    daemon_store_batch_remove(context, key);
}

void daemon_cut_pack_publication(uint64_t epoch, uint64_t era, struct base_buffer *blob)
{
    size_t mark = base_section_begin(blob, CUTTER_MAGIC, CUTTER_VERSION);
    base_buffer_u64(blob, epoch);
    base_buffer_u64(blob, era);
    base_section_end(blob, mark);
}

int daemon_cut_read_publication(struct base_span blob, uint64_t *epoch, uint64_t *era,
                                struct base_error *error)
{
    static const char what[] = "the cut's state of publication";
    struct base_reader from = {.rest = blob}, payload;
    if (base_section_open(&from, CUTTER_MAGIC, CUTTER_VERSION, &payload, what, error)) {
        return -1;
    }
    uint64_t numbers[2] = {base_reader_u64(&payload), base_reader_u64(&payload)};
    if (base_section_close(&payload, what, error)) {
        return -1;
    }
    *epoch = numbers[0];
    *era = numbers[1];
    return 0;
}

static void cutter_fill_batch(const struct daemon_cutter *cutter, const struct daemon_cut *cut,
                              const struct daemon_cut_record *record, struct daemon_store_batch *batch)
{
    const struct trainer_cut_sink sink = {cutter_put, cutter_remove, batch};
    struct base_buffer publication = {0};
    trainer_cut_write(cut->trainer, &sink);
    daemon_cut_pack_publication(cutter->config.epoch, cutter->config.era, &publication);
    daemon_cuts_put_blob(batch, DAEMON_CUTS_INGEST, base_buffer_span(&cut->ingest));
    daemon_cuts_put_blob(batch, DAEMON_CUTS_LEARNER, base_buffer_span(&cut->learner));
    daemon_cuts_put_blob(batch, DAEMON_CUTS_PUBLICATION, base_buffer_span(&publication));
    daemon_cuts_put(batch, record);
    base_buffer_free(&publication);
}

// Keeps this cut, if the last kept one is old enough, and lets older ones go. *journal becomes what remains
// needed of the journal.
static int cutter_keep(struct daemon_cutter *cutter, const struct daemon_cut_record *record,
                       uint64_t *journal, struct base_error *error)
{
    const struct daemon_config_cuts *cuts = &cutter->config.cuts;
    const char *state_dir = cutter->config.state_dir;
    if (cuts->keep > 0 && record->wall_ms - cutter->kept_ms >= cuts->keep_interval) {
        cutter->kept_ms = record->wall_ms;
        if (daemon_cuts_keep(cutter->config.disk, state_dir, cutter->config.store, record, error) ||
            daemon_cuts_rotate(cutter->config.disk, state_dir, cuts->keep, cuts->keep_hours, record->wall_ms,
                               error)) {
            return -1;
        }
    }
    *journal = record->journal;
    return daemon_cuts_journal(state_dir, journal, error);
}

// Makes one cut durable; *bytes is what its batch held, *journal what it and the kept ones need.
static int cutter_write(struct daemon_cutter *cutter, struct daemon_cut *cut,
                        const struct daemon_cut_record *record, uint64_t *bytes, uint64_t *journal,
                        struct base_error *error)
{
    if (base_sync_run(cut->sync, error)) {
        return -1;
    }
    struct daemon_store_batch *batch = daemon_store_batch_new();
    cutter_fill_batch(cutter, cut, record, batch);
    *bytes = daemon_store_batch_bytes(batch);
    bool short_of_room = false;
    int result = 0;
    if (cutter->config.reserve) {
        result = daemon_reserve_make_room(
            cutter->config.reserve, CUTTER_ROOM_TIMES * *bytes + CUTTER_ROOM_MORE, &short_of_room, error);
    }
    if (result == 0) {
        result = daemon_store_write(cutter->config.store, batch, error);
    }
    daemon_store_batch_free(batch);
    if (result || daemon_cuts_made(cutter->config.disk, cutter->config.state_dir, record, error)) {
        return -1;
    }
    if (short_of_room) {
        return base_error_set(
            error, BASE_EIO,
            "the disk of %s is nearly full: cut %llu was made with the room held in reserve; "
            "make room and start again",
            cutter->config.state_dir, (unsigned long long)record->number);
    }
    return cutter_keep(cutter, record, journal, error);
}

// What the cut is recorded as.
static int cutter_record(const struct daemon_cutter *cutter, const struct daemon_cut *cut,
                         struct daemon_cut_record *record, struct base_error *error)
{
    struct consumer_ingest_saved saved;
    if (consumer_ingest_saved(base_buffer_span(&cut->ingest), &saved, error)) {
        return -1;
    }
    *record = cutter->config.record;
    record->number = cut->number;
    record->tick = cut->tick;
    record->frontier = saved.frontier;
    record->wall_ms = base_clock_wall_ms(cutter->config.clock);
    record->examples = cut->examples;
    record->rows = cut->rows;
    record->journal = saved.journal;
    return 0;
}

static int64_t cutter_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

// Writes a cut and notes the outcome. Not under the lock.
static void cutter_finish(struct daemon_cutter *cutter, struct daemon_cut *cut)
{
    struct daemon_cut_record record;
    struct base_error error = {0};
    uint64_t bytes = 0, journal = 0;
    int64_t begin = base_clock_monotonic_ns(cutter->config.clock), cpu = cutter_cpu_ns();
    cutter->config.epoch = cut->epoch > cutter->config.epoch ? cut->epoch : cutter->config.epoch;
    int status = cutter_record(cutter, cut, &record, &error);
    if (status == 0) {
        status = cutter_write(cutter, cut, &record, &bytes, &journal, &error);
    }
    cpu = cutter_cpu_ns() - cpu;
    int64_t duration = base_clock_monotonic_ns(cutter->config.clock) - begin;

    pthread_mutex_lock(&cutter->lock);
    struct daemon_cutter_state *state = &cutter->state;
    if (status) {
        state->failed = true;
        state->error = error;
    } else {
        cutter->config.record = record;
        state->done = record.number;
        state->journal = journal;
        state->tick = record.tick;
        state->wall_ms = record.wall_ms;
        state->cuts++;
        state->bytes = bytes;
        state->duration_ns = duration;
        state->cpu_ns = cpu;
        state->standstill_ns = cut->standstill_ns;
        state->standstill_max_ns =
            cut->standstill_ns > state->standstill_max_ns ? cut->standstill_ns : state->standstill_max_ns;
        cutter->rest_ns = (int64_t)((double)(CUTTER_BEHIND * cpu) / cutter->config.cuts.share);
    }
    cutter->cut = NULL;
    pthread_cond_broadcast(&cutter->changed);
    pthread_mutex_unlock(&cutter->lock);
    cut_free(cut);
}

bool daemon_cutter_step(struct daemon_cutter *cutter)
{
    pthread_mutex_lock(&cutter->lock);
    bool given = cutter->given;
    cutter->given = false;
    pthread_mutex_unlock(&cutter->lock);
    if (given) {
        cutter_finish(cutter, cutter->cut); // nobody else touches it now
    }
    return given;
}

static void *cutter_thread(void *context)
{
    struct daemon_cutter *cutter = context;
    bool goes_on = true;
    while (goes_on) {
        if (daemon_cutter_step(cutter)) {
            continue;
        }
        pthread_mutex_lock(&cutter->lock);
        while (!cutter->given && !cutter->stopping) {
            pthread_cond_wait(&cutter->changed, &cutter->lock);
        }
        goes_on = cutter->given || !cutter->stopping;
        pthread_mutex_unlock(&cutter->lock);
    }
    return NULL;
}

int daemon_cutter_start(struct daemon_cutter *cutter, struct base_error *error)
{
    int status = pthread_create(&cutter->thread, NULL, cutter_thread, cutter);
    if (status != 0) {
        return base_error_set_errno(error, BASE_ENOMEM, status, "cannot start the cut thread");
    }
    cutter->started = true;
    return 0;
}

void daemon_cutter_free(struct daemon_cutter *cutter)
{
    if (!cutter) {
        return;
    }
    if (cutter->started) {
        pthread_mutex_lock(&cutter->lock);
        cutter->stopping = true;
        pthread_cond_broadcast(&cutter->changed);
        pthread_mutex_unlock(&cutter->lock);
        pthread_join(cutter->thread, NULL);
    }
    cut_free(cutter->cut);
    pthread_cond_destroy(&cutter->changed);
    pthread_mutex_destroy(&cutter->lock);
    free(cutter);
}

// ---- deciding and handing over ----

bool daemon_cutter_due(struct daemon_cutter *cutter, uint64_t dirty)
{
    pthread_mutex_lock(&cutter->lock);
    bool under_way = cutter->cut != NULL;
    int64_t rest_ns = cutter->rest_ns;
    pthread_mutex_unlock(&cutter->lock);
    int64_t age_ns = base_clock_monotonic_ns(cutter->config.clock) - cutter->begun_ns;
    bool wanted = age_ns >= cutter->config.cuts.interval * 1000000 || dirty >= cutter->config.cuts.dirty;
    return wanted && !under_way && age_ns >= rest_ns;
}

struct daemon_cut *daemon_cutter_begin(struct daemon_cutter *cutter)
{
    struct daemon_cut *cut = NULL;
    pthread_mutex_lock(&cutter->lock);
    if (!cutter->cut && !cutter->state.failed) {
        cut = base_alloc_zeroed(1, sizeof *cut);
        cut->number = cutter->state.done + 1;
        cut->sync = base_sync_new(cutter->config.disk);
        cut->tick = INT64_MIN;
        cutter->cut = cut;
    }
    pthread_mutex_unlock(&cutter->lock);
    if (cut) {
        cutter->begun_ns = base_clock_monotonic_ns(cutter->config.clock);
    }
    return cut;
}

void daemon_cutter_give(struct daemon_cutter *cutter, struct daemon_cut *cut)
{
    pthread_mutex_lock(&cutter->lock);
    assert(cut == cutter->cut);
    cutter->given = true;
    pthread_cond_broadcast(&cutter->changed);
    pthread_mutex_unlock(&cutter->lock);
}

void daemon_cutter_abandon(struct daemon_cutter *cutter, struct daemon_cut *cut)
{
    pthread_mutex_lock(&cutter->lock);
    assert(cut == cutter->cut && !cutter->given);
    cutter->cut = NULL;
    pthread_cond_broadcast(&cutter->changed);
    pthread_mutex_unlock(&cutter->lock);
    cut_free(cut);
}

bool daemon_cutter_wait(struct daemon_cutter *cutter, int timeout_ms)
{
    struct timespec deadline = base_wait_deadline(timeout_ms);
    pthread_mutex_lock(&cutter->lock);
    while (cutter->cut && timeout_ms > 0 && base_wait_until(&cutter->changed, &cutter->lock, &deadline)) {
    }
    bool none = !cutter->cut;
    pthread_mutex_unlock(&cutter->lock);
    return none;
}

void daemon_cutter_state(struct daemon_cutter *cutter, struct daemon_cutter_state *state)
{
    pthread_mutex_lock(&cutter->lock);
    *state = cutter->state;
    pthread_mutex_unlock(&cutter->lock);
}
