// What a pipeline goes on from: the last cut of its state directory, or one that a replay is given. See
// pipeline.h.
//
//   database -> the cut's record -> the settings' and the arithmetic's fingerprints compared
//            -> ingest's state: where the source begins, lanes, logs
//            -> the model, slot by slot; the learner's state
//   journal  -> what was decided after the cut, obeyed again
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/pipeline_private.h"
#include "trainer/blas.h"

// Compares what the cut was made with to what this process is. Where only the arithmetic or settings that may
// change differ, it goes on, and says so.
static void state_compare(struct daemon_pipeline *pipeline)
{
    struct daemon_cut_record *record = &pipeline->record;
    char era[DAEMON_CUTS_ERA_MAX];
    trainer_blas_describe(era, sizeof era);
    struct daemon_pipeline_beginning *beginning = &pipeline->beginning;
    beginning->cut = record->number;
    beginning->tick = record->tick;
    beginning->examples = record->examples;
    beginning->new_era = record->number && strcmp(record->era, era) != 0;
    beginning->new_config = record->number && record->config != pipeline->config->hash;
    pipeline->era += beginning->new_era;
    record->config = pipeline->config->hash;
    memcpy(record->era, era, sizeof era);
    snprintf(pipeline->lineage, sizeof pipeline->lineage, "%016" PRIx64 ".%" PRIu64, record->store,
             pipeline->era);
}

// Notes the settings' and the arithmetic's fingerprints in the journal where they are not its last.
static int state_note(struct daemon_pipeline *pipeline, struct base_error *error)
{
    if (pipeline->options.obey) {
        return 0;
    }
    char hash[17];
    snprintf(hash, sizeof hash, "%016" PRIx64, pipeline->config->hash);
    const struct {
        enum consumer_journal_kind kind;
        struct base_span text;
    } notes[] = {
        {CONSUMER_JOURNAL_CONFIGURATION, base_span_string(hash)},
        {CONSUMER_JOURNAL_ERA, base_span_string(pipeline->record.era)},
    };
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        struct base_span last;
        if (consumer_journal_last(pipeline->journal, notes[i].kind, &last) &&
            base_span_equal(last, notes[i].text)) {
            continue;
        }
        if (consumer_journal_note(pipeline->journal, notes[i].kind, notes[i].text, error)) {
            return -1;
        }
    }
    return 0;
}

// Reads the last cut's record and what was saved with it, if there is one.
static int state_read(struct daemon_pipeline *pipeline, const char *directory, struct base_error *error)
{
    if (daemon_cuts_last(directory, pipeline->store, &pipeline->record, error)) {
        return -1;
    }
    if (pipeline->record.number == 0) {
        pipeline->era = 1;
        return daemon_cuts_identity(&pipeline->record.store, error);
    }
    struct base_buffer publication = {0};
    int status = -1;
    if (daemon_cuts_get_blob(pipeline->store, DAEMON_CUTS_INGEST, &pipeline->saved_ingest, error) == 0 &&
        daemon_cuts_get_blob(pipeline->store, DAEMON_CUTS_LEARNER, &pipeline->saved_learner, error) == 0 &&
        daemon_cuts_get_blob(pipeline->store, DAEMON_CUTS_PUBLICATION, &publication, error) == 0) {
        status = daemon_cut_read_publication(base_buffer_span(&publication), &pipeline->epoch, &pipeline->era,
                                             error);
    }
    base_buffer_free(&publication);
    return status;
}

int daemon_pipeline_open_state(struct daemon_pipeline *pipeline, struct base_error *error)
{
    const struct daemon_pipeline_options *options = &pipeline->options;
    if (!options->durable && !options->restore) {
        return 0;
    }
    if (options->durable && !options->parts.store) {
        pipeline->reserve =
            daemon_reserve_new(pipeline->disk, pipeline->state_dir, pipeline->config->cuts.reserve, error);
        if (!pipeline->reserve) {
            return -1;
        }
    }
    char path[DAEMON_CONFIG_PATH_MAX];
    snprintf(path, sizeof path, "%s/db", pipeline->state_dir);
    pipeline->store = options->parts.store
                          ? options->parts.store
                          : daemon_store_open(path, options->durable, !options->durable, error);
    if (!pipeline->store || state_read(pipeline, pipeline->state_dir, error) ||
        (options->durable &&
         daemon_cuts_name_last(pipeline->disk, pipeline->state_dir, &pipeline->record, error))) {
        return -1;
    }
    if (options->restore && pipeline->record.number == 0) {
        return base_error_set(error, BASE_ENOTFOUND, "there is no cut in %s", pipeline->state_dir);
    }
    if (options->restore && pipeline->record.config != pipeline->config->hash) {
        return base_error_set(
            error, BASE_ECONFLICT,
            "the cut in %s was made with other settings: the same weights cannot come of it",
            pipeline->state_dir);
    }
    state_compare(pipeline);
    return 0;
}

int daemon_pipeline_open_journal(struct daemon_pipeline *pipeline, struct base_error *error)
{
    const struct daemon_pipeline_options *options = &pipeline->options;
    if (pipeline->journal || (!options->durable && !options->obey)) {
        return 0;
    }
    struct consumer_ingest_saved saved = {0};
    if (pipeline->source) {
        saved.lanes = pipeline->source->lanes;
    } else if (pipeline->record.number == 0) {
        return 0; // the source will tell its lanes
    } else if (consumer_ingest_saved(base_buffer_span(&pipeline->saved_ingest), &saved, error)) {
        return -1;
    }
    char own[DAEMON_CONFIG_PATH_MAX];
    snprintf(own, sizeof own, "%s/journal", pipeline->state_dir);
    struct consumer_journal_config journal = {
        .directory = options->obey ? options->obey : own,
        .disk = pipeline->disk,
        .ranks = daemon_config_ranks(pipeline->config),
        .lanes = saved.lanes,
        .file_bytes = options->parts.journal_bytes,
    };
    for (uint32_t rank = 0; rank < daemon_config_ranks(pipeline->config); rank++) {
        journal.topics[rank] = daemon_config_topic(pipeline->config, rank)->topic;
    }
    pipeline->journal = consumer_journal_open(&journal, saved.journal, options->obey != NULL, error);
    return pipeline->journal ? state_note(pipeline, error) : -1;
}

static int state_scan(void *context, struct base_span prefix, trainer_cut_each *each, void *each_context,
                      struct base_error *error)
{
    return daemon_store_scan(context, prefix, each, each_context, error);
}

int daemon_pipeline_restore_model(struct daemon_pipeline *pipeline, struct base_error *error)
{
    const struct trainer_cut_source source = {
        .scan = state_scan,
        .context = pipeline->store,
        .parallel = true,
    };
    struct consumer_ingest_saved saved;
    if (consumer_ingest_saved(base_buffer_span(&pipeline->saved_ingest), &saved, error) ||
        trainer_model_restore(pipeline->model, &source, error)) {
        return -1;
    }
    struct daemon_pipeline_beginning *beginning = &pipeline->beginning;
    beginning->news = trainer_model_news(pipeline->model, &beginning->news_count);
    beginning->new_actions = daemon_config_ranks(pipeline->config) - saved.ranks;
    return 0;
}
