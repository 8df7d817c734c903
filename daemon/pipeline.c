// The pipeline: building the parts in the order of the data, ending them in the same order. See pipeline.h.
#include "daemon/pipeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/epoch.h"
#include "daemon/pipeline_private.h"

enum {
    PIPELINE_STEP_MS = 20,                // how long ingest waits for a message at a time
    PIPELINE_SHOW_MS = 100,               // how often the state that others see is renewed
    PIPELINE_READ_AHEAD_MS = 60000,       // event time that a partition may run ahead of the slowest
    PIPELINE_DEADLETTER_BYTES = 64 << 20, // of one file
    PIPELINE_CUT_WAIT_MS = 100,           // how long the last cut is waited for at a time
};

// ---- ingest's thread --------------------------------------------------------

static int pipeline_tick(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                         struct base_error *error)
{
    struct daemon_pipeline *pipeline = context;
    if (pipeline->samplefile) {
        for (size_t i = 0; i < count; i++) {
            if (consumer_samplefile_add(pipeline->samplefile, &samples[i], tick, error)) {
                return -1;
            }
        }
    }
    return daemon_feed_tick(pipeline->feed, tick, samples, count, base_clock_wall_ms(pipeline->clock), error);
}

static void pipeline_show(struct daemon_pipeline *pipeline, const struct base_error *error, bool ended)
{
    struct consumer_ingest_state state;
    consumer_ingest_state(pipeline->ingest, &state);
    pthread_mutex_lock(&pipeline->lock);
    pipeline->ingest_state = state;
    pipeline->ended = ended;
    if (error) {
        pipeline->error = *error;
    }
    pthread_mutex_unlock(&pipeline->lock);
}

// The newest cut is durable: what older ones needed can go, and the log may know.
static int pipeline_cut_done(struct daemon_pipeline *pipeline, uint64_t done, uint64_t journal,
                             struct base_error *error)
{
    struct consumer_source *source = pipeline->source;
    bool first = pipeline->cut_done == 0 && !pipeline->cut_offsets; // it is the one that we came from
    pipeline->cut_done = done;
    consumer_ingest_cut_done(pipeline->ingest, done);
    if (!first && source->operations->commit) {
        source->operations->commit(source, pipeline->cut_offsets);
    }
    return consumer_journal_forget(pipeline->journal, journal, error);
}

static void pipeline_note_offsets(struct daemon_pipeline *pipeline)
{
    struct consumer_source *source = pipeline->source;
    if (!pipeline->cut_offsets) {
        pipeline->cut_offsets =
            base_alloc_zeroed(source->ranks * source->lanes, sizeof *pipeline->cut_offsets);
    }
    for (uint32_t i = 0; i < source->ranks * source->lanes; i++) {
        int64_t watermark;
        consumer_ingest_unhandled(pipeline->ingest, i / source->lanes, i % source->lanes,
                                  &pipeline->cut_offsets[i], &watermark);
    }
}

// Begins a cut if one is due, or in any case (`last`), and lets go of what durable cuts no longer need.
static int pipeline_cut(struct daemon_pipeline *pipeline, bool last, struct base_error *error)
{
    struct daemon_cutter_state cutter;
    daemon_cutter_state(pipeline->cutter, &cutter);
    if (cutter.failed) {
        *error = cutter.error;
        return -1;
    }
    if (cutter.done != pipeline->cut_done &&
        pipeline_cut_done(pipeline, cutter.done, cutter.journal, error)) {
        return -1;
    }
    struct daemon_learner_state learner;
    daemon_learner_state(pipeline->learner, &learner);
    if (pipeline->options.finish && pipeline->ingest_state.finished > 0) {
        return 0; // time has been let run out: what is appended later has to be joined from before that
    }
    if (!last && !daemon_cutter_due(pipeline->cutter, learner.dirty_bytes)) {
        return 0;
    }
    struct daemon_cut *cut = daemon_cutter_begin(pipeline->cutter);
    if (!cut) {
        return 0;
    }
    if (consumer_ingest_save(pipeline->ingest, cut->number, &cut->ingest, cut->sync, error)) {
        daemon_cutter_abandon(pipeline->cutter, cut);
        return -1;
    }
    pipeline_note_offsets(pipeline);
    if (daemon_feed_cut(pipeline->feed, cut, error)) {
        daemon_cutter_abandon(pipeline->cutter, cut);
        return -1;
    }
    return 0;
}

static const struct consumer_ingest_sink *pipeline_sink(struct daemon_pipeline *pipeline,
                                                        struct consumer_ingest_sink *sink)
{
    *sink = (struct consumer_ingest_sink){.tick = pipeline_tick, .context = pipeline};
    return sink;
}

// One step of ingest and, between ticks, perhaps a cut. -1: the error lasts.
static int pipeline_ingest(struct daemon_pipeline *pipeline, int timeout_ms, struct base_error *error)
{
    struct consumer_ingest_sink sink;
    if (consumer_ingest_step(pipeline->ingest, timeout_ms, pipeline_sink(pipeline, &sink), error)) {
        if (!error->retriable) {
            return -1;
        }
        // A peer that is away: the source heals itself, and the status shows it.
        pthread_mutex_lock(&pipeline->lock);
        pipeline->trouble = *error;
        pipeline->trouble_ms = base_clock_wall_ms(pipeline->clock);
        pthread_mutex_unlock(&pipeline->lock);
    }
    return pipeline->cutter ? pipeline_cut(pipeline, false, error) : 0;
}

static bool pipeline_goes_on(const struct daemon_pipeline *pipeline)
{
    return !atomic_load(&pipeline->stop) && !consumer_ingest_done(pipeline->ingest);
}

static void pipeline_end_ingest(struct daemon_pipeline *pipeline, const struct base_error *error)
{
    pipeline_show(pipeline, error && error->code != BASE_ESTOPPED ? error : NULL, true);
    daemon_feed_close(pipeline->feed);
}

static void pipeline_beat(struct daemon_pipeline *pipeline)
{
    pthread_mutex_lock(&pipeline->lock);
    pipeline->beats++;
    pthread_mutex_unlock(&pipeline->lock);
}

// Waits until no cut is under way. A learner that has failed leaves one that nobody completes.
static void pipeline_await_cut(struct daemon_pipeline *pipeline)
{
    struct daemon_learner_state learner;
    do {
        pipeline_beat(pipeline);
        daemon_learner_state(pipeline->learner, &learner);
    } while (pipeline->cutter && learner.error.code == BASE_OK &&
             !daemon_cutter_wait(pipeline->cutter, PIPELINE_CUT_WAIT_MS));
}

static void *pipeline_thread(void *context)
{
    struct daemon_pipeline *pipeline = context;
    struct base_error error = {0};
    int64_t shown = 0;
    int status = 0;
    while (status == 0 && pipeline_goes_on(pipeline)) {
        status = pipeline_ingest(pipeline, PIPELINE_STEP_MS, &error);
        pipeline_beat(pipeline);
        int64_t now = base_clock_monotonic_ns(pipeline->clock);
        if (now - shown >= (int64_t)PIPELINE_SHOW_MS * 1000000) {
            shown = now;
            pipeline_show(pipeline, NULL, false);
        }
    }
    // A clean end has a cut of its own, so that nothing is learned again.
    if (status == 0) {
        pipeline_await_cut(pipeline);
    }
    if (status == 0 && pipeline->cutter) {
        status = pipeline_cut(pipeline, true, &error);
    }
    pipeline_end_ingest(pipeline, status ? &error : NULL);
    return NULL;
}

// ---- building ---------------------------------------------------------------

// Makes the names of the state directory, and those in it, durable: they may be new, or an earlier process
// may have made them and died. What is above the state directory may not be ours to read; then it is not ours
// either.
static int pipeline_sync_names(struct daemon_pipeline *pipeline, struct base_error *error)
{
    char parent[DAEMON_CONFIG_PATH_MAX];
    const char *slash = strrchr(pipeline->state_dir, '/');
    int length = slash ? (int)(slash - pipeline->state_dir) : 1;
    snprintf(parent, sizeof parent, "%.*s", length ? length : 1, slash ? pipeline->state_dir : ".");
    if (access(parent, R_OK) == 0 && base_disk_sync_directory(pipeline->disk, parent, error)) {
        return -1;
    }
    return base_disk_sync_directory(pipeline->disk, pipeline->state_dir, error);
}

static int pipeline_directories(struct daemon_pipeline *pipeline, struct base_error *error)
{
    snprintf(pipeline->lanes_dir, sizeof pipeline->lanes_dir, "%s/lanes", pipeline->state_dir);
    snprintf(pipeline->dead_dir, sizeof pipeline->dead_dir, "%s/dead-letters", pipeline->state_dir);
    snprintf(pipeline->cache_dir, sizeof pipeline->cache_dir, "%s/schemas", pipeline->state_dir);
    const char *const paths[] = {pipeline->state_dir, pipeline->lanes_dir, pipeline->dead_dir,
                                 pipeline->cache_dir};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (base_disk_make_directory(pipeline->disk, paths[i], error)) {
            return -1;
        }
    }
    return pipeline->options.durable ? pipeline_sync_names(pipeline, error) : 0;
}

// Where a topic that is new to the cut begins: where it would if all did.
static int64_t pipeline_start(const struct daemon_pipeline *pipeline, uint32_t rank, uint32_t lane)
{
    struct consumer_kafka_config kafka;
    if (pipeline->config->source.kind == DAEMON_SOURCE_FILES) {
        return CONSUMER_OFFSET_EARLIEST;
    }
    daemon_config_kafka(pipeline->config, &kafka);
    if (!kafka.offsets) {
        return pipeline->options.bounded ? CONSUMER_OFFSET_EARLIEST : kafka.start;
    }
    return lane < kafka.offset_lanes ? kafka.offsets[rank * kafka.offset_lanes + lane]
                                     : CONSUMER_OFFSET_EARLIEST;
}

// Where a source has to begin: as the cut says, or (NULL) at its start; and behind that, as many, the first
// offsets that are not handled.
static int pipeline_offsets(struct daemon_pipeline *pipeline, int64_t **offsets, uint32_t *lanes,
                            struct base_error *error)
{
    *offsets = NULL;
    if (pipeline->record.number == 0) {
        return 0;
    }
    uint32_t ranks = daemon_config_ranks(pipeline->config);
    struct base_span state = base_buffer_span(&pipeline->saved_ingest);
    *offsets = base_alloc(sizeof **offsets * 2 * CONSUMER_TOPICS_MAX * CONSUMER_LANES_MAX);
    struct consumer_ingest_saved saved;
    if (consumer_ingest_saved(state, &saved, error) ||
        consumer_ingest_offsets(state, pipeline->journal, ranks, lanes, *offsets, error) ||
        consumer_ingest_unread(state, pipeline->journal, ranks, lanes, *offsets + ranks * *lanes, error)) {
        return -1;
    }
    for (uint32_t i = saved.ranks * *lanes; i < ranks * *lanes; i++) {
        (*offsets)[i] = (*offsets)[ranks * *lanes + i] = pipeline_start(pipeline, i / *lanes, i % *lanes);
    }
    return 0;
}

static void pipeline_open_files(struct daemon_pipeline *pipeline, const int64_t *offsets, uint32_t lanes,
                                struct base_error *error)
{
    struct consumer_files_config files;
    daemon_config_files(pipeline->config, &files);
    if (pipeline->options.fetch) {
        files.fetch = pipeline->options.fetch;
    }
    files.offsets = offsets;
    files.offset_lanes = lanes;
    pipeline->source = consumer_files_open(&files, error);
}

static void pipeline_open_kafka(struct daemon_pipeline *pipeline, const int64_t *offsets, uint32_t lanes,
                                struct base_error *error)
{
    struct consumer_kafka_config kafka;
    daemon_config_kafka(pipeline->config, &kafka);
    if (pipeline->options.bounded) {
        // A replay is of all there is, but for what source.offsets and source.ends cut off.
        kafka.bounded_now = true;
        kafka.start = CONSUMER_OFFSET_EARLIEST;
    }
    if (offsets) {
        kafka.offsets = offsets;
        kafka.unread = offsets + kafka.ranks * lanes;
        kafka.offset_lanes = lanes;
    }
    pipeline->source = consumer_kafka_open(&kafka, error);
}

static int pipeline_open_source(struct daemon_pipeline *pipeline, struct base_error *error)
{
    const struct daemon_pipeline_parts *parts = &pipeline->options.parts;
    uint32_t lanes = 0;
    int64_t *offsets;
    if (pipeline_offsets(pipeline, &offsets, &lanes, error)) {
        goto out;
    }
    if (parts->open_source) {
        pipeline->source = parts->open_source(parts->context, offsets, lanes, error);
    } else if (pipeline->config->source.kind == DAEMON_SOURCE_FILES) {
        pipeline_open_files(pipeline, offsets, lanes, error);
    } else {
        pipeline_open_kafka(pipeline, offsets, lanes, error);
    }
out:
    free(offsets);
    return pipeline->source ? 0 : -1;
}

static int pipeline_open_decoders(struct daemon_pipeline *pipeline, struct base_error *error)
{
    struct consumer_registry_config registry;
    if (daemon_config_registry(pipeline->config, &registry)) {
        registry.cache_dir = pipeline->cache_dir;
        pipeline->registry = consumer_registry_new(&registry, error);
        if (!pipeline->registry) {
            return -1;
        }
    }
    for (uint32_t rank = 0; rank < daemon_config_ranks(pipeline->config); rank++) {
        struct consumer_decoder_config decoder;
        daemon_config_decoder(pipeline->config, rank, &decoder);
        pipeline->decoders[rank] = consumer_decoder_new(&decoder, pipeline->registry, error);
        if (!pipeline->decoders[rank]) {
            return -1;
        }
    }
    return 0;
}

static int pipeline_open_ingest(struct daemon_pipeline *pipeline, struct base_error *error)
{
    pipeline->deadletter = consumer_deadletter_new(pipeline->dead_dir, PIPELINE_DEADLETTER_BYTES, error);
    if (!pipeline->deadletter) {
        return -1;
    }
    char unused[DAEMON_CONFIG_PATH_MAX];
    struct consumer_ingest_config ingest = {
        .source = pipeline->source,
        .deadletter = pipeline->deadletter,
        .directory = pipeline->lanes_dir,
        .tick_ms = pipeline->config->tick,
        .idle_timeout_ms = pipeline->options.bounded ? 0 : pipeline->config->idle_timeout,
        .future_ms = pipeline->config->future,
        .read_ahead_ms = PIPELINE_READ_AHEAD_MS,
        .finish = pipeline->options.finish,
        .clock = pipeline->clock,
        .disk = pipeline->disk,
        .journal = pipeline->journal,
        .keep_dropped = pipeline->options.durable,
        .restore =
            pipeline->record.number ? base_buffer_span(&pipeline->saved_ingest) : (struct base_span){0},
        .last_tick = pipeline->options.to ? *pipeline->options.to : INT64_MAX,
    };
    for (uint32_t rank = 0; rank < daemon_config_ranks(pipeline->config); rank++) {
        ingest.decoders[rank] = pipeline->decoders[rank];
        ingest.topics[rank] = daemon_config_topic(pipeline->config, rank)->topic;
    }
    ingest.columns = daemon_config_generation(pipeline->config);
    daemon_config_lane(pipeline->config, 0, unused, &ingest.lane);
    pipeline->ingest = consumer_ingest_new(&ingest, error);
    return pipeline->ingest ? 0 : -1;
}

static int pipeline_open_samplefile(struct daemon_pipeline *pipeline, struct base_error *error)
{
    if (!pipeline->options.samples) {
        return 0;
    }
    const struct trainer_model_config *model = daemon_config_model(pipeline->config);
    const struct trainer_descriptor_columns *columns = daemon_config_columns(pipeline->config);
    struct consumer_samplefile_config samplefile = {
        .path = pipeline->options.samples,
        .codec = "deflate",
        .tasks = model->loss.tasks,
        .task_names = model->task_names,
        .features = pipeline->options.features,
        .layout = daemon_config_layout(pipeline->config),
        .categorical = columns->categorical,
        .numeric = columns->numeric,
    };
    pipeline->samplefile = consumer_samplefile_create(&samplefile, error);
    return pipeline->samplefile ? 0 : -1;
}

static int pipeline_open_trainer(struct daemon_pipeline *pipeline, struct base_error *error)
{
    struct trainer_model_config model = *daemon_config_model(pipeline->config);
    if (pipeline->options.workers) {
        model.workers = pipeline->options.workers;
    }
    pipeline->model = trainer_model_new(&model, true, error);
    if (!pipeline->model) {
        return -1;
    }
    pipeline->feed = daemon_feed_new(model.network.batch);
    return pipeline->record.number ? daemon_pipeline_restore_model(pipeline, error) : 0;
}

// Of the publisher's thread.
static int pipeline_remember_epoch(void *context, uint64_t epoch, struct base_error *error)
{
    const struct daemon_pipeline *pipeline = context;
    return daemon_epoch_write(pipeline->disk, pipeline->state_dir, epoch, error);
}

static int pipeline_open_outbox(struct daemon_pipeline *pipeline, struct base_error *error)
{
    if (!pipeline->options.publish) {
        return 0;
    }
    struct publisher_config publisher;
    daemon_config_publisher(pipeline->config, &publisher);
    pipeline->descriptor = trainer_descriptor_write(trainer_model_config(pipeline->model),
                                                    daemon_config_columns(pipeline->config));
    publisher.descriptor = pipeline->descriptor;
    publisher.lineage = pipeline->lineage[0] ? pipeline->lineage : NULL;
    publisher.clock = pipeline->clock;
    publisher.redis.transport = pipeline->options.parts.redis;
    if (pipeline->options.durable) {
        uint64_t remembered;
        if (daemon_epoch_read(pipeline->state_dir, &remembered, error)) {
            return -1;
        }
        pipeline->epoch = remembered > pipeline->epoch ? remembered : pipeline->epoch;
        publisher.remember = pipeline_remember_epoch;
        publisher.remember_context = pipeline;
    }
    pipeline->outbox = daemon_outbox_new(&publisher, pipeline->epoch, error);
    return pipeline->outbox ? 0 : -1;
}

static int pipeline_open_learner(struct daemon_pipeline *pipeline, struct base_error *error)
{
    const struct daemon_learner_config learner = {
        .model = pipeline->model,
        .feed = pipeline->feed,
        .outbox = pipeline->outbox,
        .cutter = pipeline->cutter,
        .tick_ms = pipeline->config->tick,
        .publish_interval_ms = pipeline->config->publish.interval,
        .cut_rows = pipeline->options.parts.cut_rows,
        .state_dir = pipeline->state_dir,
        .predictions = pipeline->options.predictions,
        .clock = pipeline->clock,
    };
    pipeline->learner = daemon_learner_new(&learner, error);
    if (!pipeline->learner) {
        return -1;
    }
    struct base_reader saved = {.rest = base_buffer_span(&pipeline->saved_learner)};
    return pipeline->record.number ? daemon_learner_restore(pipeline->learner, &saved, error) : 0;
}

static void pipeline_open_cutter(struct daemon_pipeline *pipeline)
{
    if (!pipeline->options.durable) {
        return;
    }
    const struct daemon_cutter_config cutter = {
        .state_dir = pipeline->state_dir,
        .disk = pipeline->disk,
        .store = pipeline->store,
        .reserve = pipeline->reserve,
        .record = pipeline->record,
        .epoch = pipeline->epoch,
        .era = pipeline->era,
        .cuts = pipeline->config->cuts,
        .clock = pipeline->clock,
    };
    pipeline->cutter = daemon_cutter_new(&cutter);
}

struct daemon_pipeline *daemon_pipeline_new(const struct daemon_config *config,
                                            const struct daemon_pipeline_options *options,
                                            struct base_error *error)
{
    struct daemon_pipeline *pipeline = base_alloc_zeroed(1, sizeof *pipeline);
    pipeline->config = config;
    pipeline->options = *options;
    pipeline->state_dir = options->state_dir ? options->state_dir : config->state_dir;
    pipeline->clock = options->parts.clock ? options->parts.clock : &base_clock_system;
    pipeline->disk = options->parts.disk;
    pthread_mutex_init(&pipeline->lock, NULL);
    pipeline->ingest_state.frontier = CONSUMER_TIME_MIN;
    if (pipeline_directories(pipeline, error) || daemon_pipeline_open_state(pipeline, error) ||
        daemon_pipeline_open_journal(pipeline, error) || pipeline_open_source(pipeline, error) ||
        daemon_pipeline_open_journal(pipeline, error) || pipeline_open_decoders(pipeline, error) ||
        pipeline_open_ingest(pipeline, error) || pipeline_open_samplefile(pipeline, error) ||
        pipeline_open_trainer(pipeline, error) || pipeline_open_outbox(pipeline, error)) {
        daemon_pipeline_free(pipeline);
        return NULL;
    }
    pipeline_open_cutter(pipeline);
    if (pipeline_open_learner(pipeline, error)) {
        daemon_pipeline_free(pipeline);
        return NULL;
    }
    // What was restored is no longer needed.
    base_buffer_free(&pipeline->saved_ingest);
    base_buffer_free(&pipeline->saved_learner);
    return pipeline;
}

void daemon_pipeline_beginning(const struct daemon_pipeline *pipeline,
                               struct daemon_pipeline_beginning *beginning)
{
    *beginning = pipeline->beginning;
}

// ---- running ----------------------------------------------------------------

int daemon_pipeline_start(struct daemon_pipeline *pipeline, struct base_error *error)
{
    if ((pipeline->outbox && daemon_outbox_start(pipeline->outbox, error)) ||
        (pipeline->cutter && daemon_cutter_start(pipeline->cutter, error)) ||
        daemon_learner_start(pipeline->learner, error)) {
        return -1;
    }
    int status = pthread_create(&pipeline->thread, NULL, pipeline_thread, pipeline);
    if (status != 0) {
        daemon_feed_close(pipeline->feed);
        return base_error_set_errno(error, BASE_ENOMEM, status, "cannot start the ingest thread");
    }
    pipeline->started = true;
    return 0;
}

// ---- on one thread ----------------------------------------------------------

static void pipeline_learn(struct daemon_pipeline *pipeline)
{
    pipeline->learner_ended = !daemon_learner_step(pipeline->learner, 0);
}

static void pipeline_relieve(void *context)
{
    struct daemon_pipeline *pipeline = context;
    for (int i = 0; i < DAEMON_FEED_ITEMS / 2 && !pipeline->learner_ended; i++) {
        pipeline_learn(pipeline);
    }
}

// Ingest's share of a step.
static void pipeline_step_ingest(struct daemon_pipeline *pipeline)
{
    struct base_error error = {0};
    int status = 0;
    if (pipeline_goes_on(pipeline)) {
        status = pipeline_ingest(pipeline, 0, &error);
    } else if (!pipeline->cutter || daemon_cutter_wait(pipeline->cutter, 0)) {
        status = pipeline->cutter ? pipeline_cut(pipeline, true, &error) : 0;
        pipeline->ingest_ended = true;
    }
    pipeline->ingest_ended = pipeline->ingest_ended || status;
    if (pipeline->ingest_ended) {
        pipeline_end_ingest(pipeline, status ? &error : NULL);
    }
}

bool daemon_pipeline_step(struct daemon_pipeline *pipeline)
{
    daemon_feed_set_relief(pipeline->feed, pipeline_relieve, pipeline);
    bool published = pipeline->outbox && daemon_outbox_step(pipeline->outbox); // first: it tells head
    if (!pipeline->ingest_ended) {
        pipeline_step_ingest(pipeline);
        pipeline_show(pipeline, NULL, pipeline->ingest_ended);
    }
    if (!pipeline->learner_ended) {
        pipeline_learn(pipeline);
    }
    bool cut = pipeline->cutter && daemon_cutter_step(pipeline->cutter);
    return !pipeline->ingest_ended || !pipeline->learner_ended || published || cut;
}

void daemon_pipeline_stop(struct daemon_pipeline *pipeline)
{
    atomic_store(&pipeline->stop, true);
}

int daemon_pipeline_join(struct daemon_pipeline *pipeline, struct base_error *error)
{
    if (pipeline->started && !pipeline->joined) {
        pthread_join(pipeline->thread, NULL);
        daemon_learner_join(pipeline->learner);
        pipeline->joined = true;
        pipeline->weights = daemon_pipeline_hash(pipeline);
    }
    struct base_error closing = {0};
    int status = consumer_samplefile_close(pipeline->samplefile, &closing);
    pipeline->samplefile = NULL;
    if (status == 0) {
        status = consumer_deadletter_sync(pipeline->deadletter, &closing);
    }
    struct daemon_pipeline_state state;
    while (pipeline->started && pipeline->cutter &&
           !daemon_cutter_wait(pipeline->cutter, PIPELINE_CUT_WAIT_MS)) {
    }
    daemon_pipeline_state(pipeline, &state);
    if (state.learner.error.code != BASE_OK) {
        closing = state.learner.error;
    } else if (state.error.code != BASE_OK) {
        closing = state.error;
    } else if (state.cutter.failed) {
        closing = state.cutter.error;
    } else if (state.outbox.failed) {
        closing = state.outbox.error;
    } else if (status == 0) {
        return 0;
    }
    *error = closing;
    return -1;
}

void daemon_pipeline_free(struct daemon_pipeline *pipeline)
{
    if (!pipeline) {
        return;
    }
    struct base_error ignored = {0};
    daemon_pipeline_stop(pipeline);
    if (pipeline->started && !pipeline->joined) {
        daemon_feed_abandon(pipeline->feed);
        daemon_pipeline_join(pipeline, &ignored);
    }
    daemon_learner_free(pipeline->learner);
    daemon_outbox_free(pipeline->outbox);
    daemon_cutter_free(pipeline->cutter);
    trainer_model_free(pipeline->model);
    daemon_feed_free(pipeline->feed);
    consumer_samplefile_close(pipeline->samplefile, &ignored);
    consumer_ingest_free(pipeline->ingest);
    consumer_deadletter_free(pipeline->deadletter);
    for (uint32_t rank = 0; rank < CONSUMER_TOPICS_MAX; rank++) {
        consumer_decoder_free(pipeline->decoders[rank]);
    }
    consumer_registry_free(pipeline->registry);
    if (pipeline->source) {
        pipeline->source->operations->close(pipeline->source);
    }
    consumer_journal_free(pipeline->journal);
    if (!pipeline->options.parts.store) {
        daemon_store_close(pipeline->store);
    }
    daemon_reserve_free(pipeline->reserve);
    base_buffer_free(&pipeline->saved_ingest);
    base_buffer_free(&pipeline->saved_learner);
    free(pipeline->cut_offsets);
    free(pipeline->descriptor);
    pthread_mutex_destroy(&pipeline->lock);
    free(pipeline);
}

void daemon_pipeline_state(struct daemon_pipeline *pipeline, struct daemon_pipeline_state *state)
{
    *state = (struct daemon_pipeline_state){0};
    pthread_mutex_lock(&pipeline->lock);
    state->beats = pipeline->beats;
    state->ended = pipeline->ended;
    state->error = pipeline->error;
    state->trouble = pipeline->trouble;
    state->trouble_ms = pipeline->trouble_ms;
    state->ingest = pipeline->ingest_state;
    pthread_mutex_unlock(&pipeline->lock);
    state->joined = pipeline->joined;
    state->weights = pipeline->weights;
    if (pipeline->learner) {
        daemon_learner_state(pipeline->learner, &state->learner);
    }
    if (pipeline->outbox) {
        daemon_outbox_state(pipeline->outbox, &state->outbox);
    }
    if (pipeline->cutter) {
        daemon_cutter_state(pipeline->cutter, &state->cutter);
    }
}

char *daemon_pipeline_statistics(const struct daemon_pipeline *pipeline)
{
    struct consumer_source *source = pipeline->source;
    return source && source->operations->statistics ? source->operations->statistics(source) : NULL;
}

uint64_t daemon_pipeline_hash(const struct daemon_pipeline *pipeline)
{
    return trainer_model_hash(pipeline->model);
}

bool daemon_pipeline_at(const struct daemon_pipeline *pipeline, int64_t *tick)
{
    return daemon_learner_at(pipeline->learner, tick);
}
