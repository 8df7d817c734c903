// The pipeline: building the parts in the order of the data, ending them in the same order. See pipeline.h.
#include "daemon/pipeline.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "consumer/deadletter.h"
#include "consumer/samplefile.h"

enum {
    PIPELINE_STEP_MS = 20,                // how long ingest waits for a message at a time
    PIPELINE_SHOW_MS = 100,               // how often the state that others see is renewed
    PIPELINE_READ_AHEAD_MS = 60000,       // event time that a partition may run ahead of the slowest
    PIPELINE_DEADLETTER_BYTES = 64 << 20, // of one file
};

struct daemon_pipeline {
    const struct daemon_config *config;
    struct daemon_pipeline_options options;
    const char *state_dir;
    const struct base_clock *clock;
    char lanes_dir[DAEMON_CONFIG_PATH_MAX];
    char dead_dir[DAEMON_CONFIG_PATH_MAX];
    char cache_dir[DAEMON_CONFIG_PATH_MAX];
    char *descriptor;

    struct consumer_source *source;
    struct consumer_registry *registry;
    struct consumer_decoder *decoders[CONSUMER_TOPICS_MAX];
    struct consumer_deadletter *deadletter;
    struct consumer_ingest *ingest;
    struct consumer_samplefile *samplefile;
    struct daemon_feed *feed;
    struct trainer_model *model;
    struct daemon_outbox *outbox;
    struct daemon_learner *learner;

    pthread_t thread; // ingest's
    bool started, joined;
    atomic_bool stop;
    pthread_mutex_t lock;
    uint64_t beats;
    bool ended;
    struct base_error error;
    struct consumer_ingest_state ingest_state;
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

static void *pipeline_thread(void *context)
{
    struct daemon_pipeline *pipeline = context;
    const struct consumer_ingest_sink sink = {.tick = pipeline_tick, .context = pipeline};
    struct base_error error = {0};
    int64_t shown = 0;
    bool failed = false;
    while (!failed && !atomic_load(&pipeline->stop) && !consumer_ingest_done(pipeline->ingest)) {
        // A retriable error is a peer that is away: the source heals itself, and the lag shows it.
        int status = consumer_ingest_step(pipeline->ingest, PIPELINE_STEP_MS, &sink, &error);
        failed = status != 0 && !error.retriable;
        pthread_mutex_lock(&pipeline->lock);
        pipeline->beats++;
        pthread_mutex_unlock(&pipeline->lock);
        int64_t now = base_clock_monotonic_ns(pipeline->clock);
        if (now - shown >= (int64_t)PIPELINE_SHOW_MS * 1000000) {
            shown = now;
            pipeline_show(pipeline, NULL, false);
        }
    }
    if (failed && error.code != BASE_ESTOPPED) {
        pipeline_show(pipeline, &error, true);
    } else {
        pipeline_show(pipeline, NULL, true);
    }
    daemon_feed_close(pipeline->feed);
    return NULL;
}

// ---- building ---------------------------------------------------------------

static int pipeline_make_directory(const char *path, struct base_error *error)
{
    if (mkdir(path, 0750) != 0 && errno != EEXIST) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot make directory %s", path);
    }
    return 0;
}

static int pipeline_directories(struct daemon_pipeline *pipeline, struct base_error *error)
{
    snprintf(pipeline->lanes_dir, sizeof pipeline->lanes_dir, "%s/lanes", pipeline->state_dir);
    snprintf(pipeline->dead_dir, sizeof pipeline->dead_dir, "%s/dead-letters", pipeline->state_dir);
    snprintf(pipeline->cache_dir, sizeof pipeline->cache_dir, "%s/schemas", pipeline->state_dir);
    const char *const paths[] = {pipeline->state_dir, pipeline->lanes_dir, pipeline->dead_dir,
                                 pipeline->cache_dir};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (pipeline_make_directory(paths[i], error)) {
            return -1;
        }
    }
    return 0;
}

static int pipeline_open_source(struct daemon_pipeline *pipeline, struct base_error *error)
{
    if (pipeline->config->source.kind == DAEMON_SOURCE_FILES) {
        struct consumer_files_config files;
        daemon_config_files(pipeline->config, &files);
        if (pipeline->options.fetch) {
            files.fetch = pipeline->options.fetch;
        }
        pipeline->source = consumer_files_open(&files, error);
    } else {
        struct consumer_kafka_config kafka;
        daemon_config_kafka(pipeline->config, &kafka);
        if (pipeline->options.bounded) {
            // A replay is of all there is, but for what source.offsets and source.ends cut off.
            kafka.bounded_now = true;
            kafka.start = CONSUMER_OFFSET_EARLIEST;
        }
        pipeline->source = consumer_kafka_open(&kafka, error);
    }
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
        .last_tick = INT64_MAX,
        .clock = pipeline->clock,
    };
    for (uint32_t rank = 0; rank < daemon_config_ranks(pipeline->config); rank++) {
        ingest.decoders[rank] = pipeline->decoders[rank];
        ingest.topics[rank] = daemon_config_topic(pipeline->config, rank)->topic;
    }
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
    return 0;
}

struct daemon_pipeline *daemon_pipeline_new(const struct daemon_config *config,
                                            const struct daemon_pipeline_options *options,
                                            struct base_error *error)
{
    struct daemon_pipeline *pipeline = base_alloc_zeroed(1, sizeof *pipeline);
    pipeline->config = config;
    pipeline->options = *options;
    pipeline->state_dir = options->state_dir ? options->state_dir : config->state_dir;
    pipeline->clock = &base_clock_system;
    pthread_mutex_init(&pipeline->lock, NULL);
    pipeline->ingest_state.frontier = CONSUMER_TIME_MIN;
    if (pipeline_directories(pipeline, error) || pipeline_open_source(pipeline, error) ||
        pipeline_open_decoders(pipeline, error) || pipeline_open_ingest(pipeline, error) ||
        pipeline_open_samplefile(pipeline, error) || pipeline_open_trainer(pipeline, error)) {
        daemon_pipeline_free(pipeline);
        return NULL;
    }
    return pipeline;
}

// ---- running ----------------------------------------------------------------

static int pipeline_start_outbox(struct daemon_pipeline *pipeline, struct base_error *error)
{
    if (!pipeline->options.publish) {
        return 0;
    }
    struct publisher_config publisher;
    daemon_config_publisher(pipeline->config, &publisher);
    pipeline->descriptor = trainer_descriptor_write(trainer_model_config(pipeline->model),
                                                    daemon_config_columns(pipeline->config));
    publisher.descriptor = pipeline->descriptor;
    publisher.clock = pipeline->clock;
    pipeline->outbox = daemon_outbox_new(&publisher, error);
    return pipeline->outbox ? 0 : -1;
}

int daemon_pipeline_start(struct daemon_pipeline *pipeline, struct base_error *error)
{
    if (pipeline_start_outbox(pipeline, error)) {
        return -1;
    }
    const struct daemon_learner_config learner = {
        .model = pipeline->model,
        .feed = pipeline->feed,
        .outbox = pipeline->outbox,
        .tick_ms = pipeline->config->tick,
        .publish_interval_ms = pipeline->config->publish.interval,
        .state_dir = pipeline->state_dir,
        .predictions = pipeline->options.predictions,
        .clock = pipeline->clock,
    };
    pipeline->learner = daemon_learner_new(&learner, error);
    if (!pipeline->learner) {
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
    }
    struct base_error closing = {0};
    int status = consumer_samplefile_close(pipeline->samplefile, &closing);
    pipeline->samplefile = NULL;
    if (status == 0) {
        status = consumer_deadletter_sync(pipeline->deadletter, &closing);
    }
    struct daemon_pipeline_state state;
    daemon_pipeline_state(pipeline, &state);
    if (state.learner.error.code != BASE_OK) {
        closing = state.learner.error;
    } else if (state.error.code != BASE_OK) {
        closing = state.error;
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
    state->ingest = pipeline->ingest_state;
    pthread_mutex_unlock(&pipeline->lock);
    if (pipeline->learner) {
        daemon_learner_state(pipeline->learner, &state->learner);
    }
    if (pipeline->outbox) {
        daemon_outbox_state(pipeline->outbox, &state->outbox);
    }
}

uint64_t daemon_pipeline_hash(const struct daemon_pipeline *pipeline)
{
    return trainer_model_hash(pipeline->model);
}
