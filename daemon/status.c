// The status file. See status.h.
#include "daemon/status.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static json_t *status_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *status_time(int64_t time)
{
    return time == INT64_MIN || time == INT64_MAX ? json_null() : json_integer(time);
}

static double status_rate(uint64_t before, uint64_t now, double seconds)
{
    return seconds > 0 && now >= before ? (double)(now - before) / seconds : 0;
}

// The share of the learned minibatches whose gradient was clipped; null: clipping is off.
static json_t *status_clipped(double clip, uint64_t clipped, uint64_t steps)
{
    return clip > 0 ? json_real(steps ? (double)clipped / (double)steps : 0) : json_null();
}

static void status_evaluation(json_t *task, const struct trainer_evaluation *evaluation)
{
    json_object_set_new(task, "count", status_real(evaluation->events));
    json_object_set_new(task, "positives", status_real(evaluation->positives));
    json_object_set_new(task, "log_loss", status_real(evaluation->log_loss));
    json_object_set_new(task, "constant_log_loss", status_real(evaluation->constant));
    json_object_set_new(task, "calibration", status_real(evaluation->calibration));
    json_object_set_new(task, "auc", status_real(evaluation->auc));
}

static json_t *status_value(const struct trainer_value_evaluation *evaluation, enum trainer_loss_kind kind)
{
    bool squared = kind == TRAINER_LOSS_MSE;
    json_t *value = json_object();
    json_object_set_new(value, "count", status_real(evaluation->events));
    json_object_set_new(value, "sum", status_real(evaluation->values));
    json_object_set_new(value, squared ? "squared_error" : "deviance", status_real(evaluation->loss));
    json_object_set_new(value, squared ? "constant_squared_error" : "constant_deviance",
                        status_real(evaluation->constant));
    json_object_set_new(value, "calibration", status_real(evaluation->calibration));
    return value;
}

// What a task has: a probability, a value, or both (ziln).
static json_t *status_evaluations(const struct daemon_config *config, uint32_t tasks,
                                  const struct trainer_evaluation *evaluations,
                                  const struct trainer_value_evaluation *values)
{
    json_t *list = json_array();
    for (uint32_t k = 0; k < tasks; k++) {
        const struct daemon_config_action *action = daemon_config_action(config, k + 1);
        enum trainer_loss_kind kind = (enum trainer_loss_kind)action->loss;
        json_t *task = json_object();
        json_object_set_new(task, "name", json_string(action->name));
        if (kind == TRAINER_LOSS_BCE || kind == TRAINER_LOSS_ZILN) {
            status_evaluation(task, &evaluations[k]);
        }
        if (kind != TRAINER_LOSS_BCE) {
            json_object_set_new(task, "value", status_value(&values[k], kind));
        }
        json_array_append_new(list, task);
    }
    return list;
}

// The joiner's counters, by topic, and samples by kind.
static void status_counters(json_t *object, const struct daemon_config *config,
                            const struct consumer_lane_counters *counters)
{
    json_t *topics = json_object();
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        const struct {
            const char *name;
            uint64_t value;
        } rows[] = {
            {"events", counters->events[rank]},
            {"late", counters->late[rank]},
            {"duplicate", counters->duplicate[rank]},
            {"joined", counters->joined[rank]},
            {"second", counters->second[rank]},
            {"beyond", counters->beyond[rank]},
            {"negative_delay", counters->negative_delay[rank]},
            {"orphaned", counters->orphaned[rank]},
            {"expired", counters->expired[rank]},
            {"evicted", counters->evicted[rank]},
            {"no_reference", counters->no_reference[rank]},
        };
        json_t *topic = json_object();
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            json_object_set_new(topic, rows[i].name, json_integer((json_int_t)rows[i].value));
        }
        json_object_set_new(topics, daemon_config_rank_name(config, rank), topic);
    }
    json_object_set_new(object, "topics", topics);
    json_t *kinds = json_object();
    for (uint32_t kind = 0; kind < BASE_KINDS; kind++) {
        json_object_set_new(kinds, base_kind_name((enum base_kind)kind),
                            json_integer((json_int_t)counters->samples[kind]));
    }
    json_object_set_new(object, "kinds", kinds);
    json_object_set_new(object, "not_kept", json_integer((json_int_t)counters->not_kept));
}

static void status_publication(json_t *object, const struct daemon_config *config,
                               const struct daemon_outbox_state *outbox)
{
    if (outbox->last.version.epoch == 0) {
        json_object_set_new(object, "version", json_null());
        json_object_set_new(object, "freshness_ms", json_null());
    } else {
        char version[64];
        snprintf(version, sizeof version, "%" PRIu64 ".%" PRIu64, outbox->last.version.epoch,
                 outbox->last.version.number);
        json_object_set_new(object, "version", json_string(version));
        int64_t end_ms = (outbox->last_tick + 1) * config->tick;
        json_object_set_new(object, "freshness_ms", json_integer(outbox->last_wall_ms - end_ms));
        json_object_set_new(object, "published_rows", json_integer((json_int_t)outbox->last.rows));
    }
    json_object_set_new(object, "publications", json_integer((json_int_t)outbox->publications));
    json_object_set_new(object, "publication_failures", json_integer((json_int_t)outbox->failures));
    json_object_set_new(object, "publication_error",
                        outbox->error.code == BASE_OK ? json_null() : json_string(outbox->error.text));
}

static void status_cut(json_t *object, const struct daemon_cutter_state *cutter)
{
    if (cutter->done == 0) {
        json_object_set_new(object, "cut", json_null());
        return;
    }
    json_t *cut = json_object();
    json_object_set_new(cut, "number", json_integer((json_int_t)cutter->done));
    json_object_set_new(cut, "tick", status_time(cutter->tick));
    json_object_set_new(cut, "time_ms", json_integer(cutter->wall_ms));
    json_object_set_new(cut, "bytes", json_integer((json_int_t)cutter->bytes));
    json_object_set_new(cut, "seconds", json_real((double)cutter->duration_ns / 1e9));
    json_object_set_new(cut, "standstill_ms", json_real((double)cutter->standstill_ns / 1e6));
    json_object_set_new(cut, "standstill_max_ms", json_real((double)cutter->standstill_max_ns / 1e6));
    json_object_set_new(object, "cut", cut);
}

static void status_hash(json_t *object, const char *name, uint64_t hash)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    json_object_set_new(object, name, json_string(text));
}

static json_t *status_source(const struct daemon_config *config, const struct daemon_status_source *source,
                             int64_t wall_ms)
{
    if (!source) {
        return json_null();
    }
    json_t *object = json_object();
    bool kafka = config->source.kind == DAEMON_SOURCE_KAFKA;
    json_object_set_new(object, "kind", json_string(kafka ? "kafka" : "files"));
    json_object_set_new(object, "brokers", source->known ? json_integer(source->brokers) : json_null());
    json_object_set_new(object, "brokers_up", source->known ? json_integer(source->brokers_up) : json_null());
    json_object_set_new(object, "received_per_s",
                        source->known ? json_real(source->messages_per_s) : json_null());
    json_object_set_new(object, "received_bytes_per_s",
                        source->known ? json_real(source->bytes_per_s) : json_null());
    json_t *lag = json_object();
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        bool known = source->known && source->lag[rank] >= 0;
        json_object_set_new(lag, daemon_config_rank_name(config, rank),
                            known ? json_integer(source->lag[rank]) : json_null());
    }
    json_object_set_new(object, "unread", lag);
    bool trouble = source->trouble.code != BASE_OK;
    json_object_set_new(object, "error", trouble ? json_string(source->trouble.text) : json_null());
    json_object_set_new(object, "error_age_ms",
                        trouble ? json_integer(wall_ms - source->trouble_ms) : json_null());
    return object;
}

char *daemon_status_text(const struct daemon_config *config, const struct daemon_pipeline_state *before,
                         struct daemon_status_times before_times, const struct daemon_pipeline_state *now,
                         struct daemon_status_times now_times, const struct daemon_status_source *source)
{
    double seconds = (double)(now_times.monotonic_ns - before_times.monotonic_ns) / 1e9;
    json_t *object = json_object();
    json_object_set_new(object, "time_ms", json_integer(now_times.wall_ms));
    json_object_set_new(object, "events", json_integer((json_int_t)now->ingest.counts.events));
    json_object_set_new(object, "dead_letters", json_integer((json_int_t)now->ingest.counts.dead));
    json_object_set_new(object, "blocked", json_integer((json_int_t)now->ingest.blocked));
    json_object_set_new(object, "blocked_error",
                        now->ingest.blocked_error.code == BASE_OK
                            ? json_null()
                            : json_string(now->ingest.blocked_error.text));
    json_object_set_new(object, "skipped_offsets", json_integer((json_int_t)now->ingest.skipped));
    json_object_set_new(object, "samples", json_integer((json_int_t)now->learner.samples));
    json_object_set_new(object, "minibatches", json_integer((json_int_t)now->learner.minibatches));
    json_object_set_new(object, "set_aside", json_integer((json_int_t)now->learner.set_aside));
    const struct trainer_update_figures *update = &now->learner.update;
    json_object_set_new(object, "clipped_dense",
                        status_clipped(config->model.clip.dense, update->clipped_dense, update->steps));
    json_object_set_new(object, "clipped_sparse",
                        status_clipped(config->model.clip.sparse, update->clipped_sparse, update->steps));
    json_object_set_new(object, "cut_crosses", json_integer((json_int_t)now->learner.cut_crosses));
    json_object_set_new(
        object, "events_per_s",
        status_real(status_rate(before->ingest.counts.events, now->ingest.counts.events, seconds)));
    json_object_set_new(object, "samples_per_s",
                        status_real(status_rate(before->learner.samples, now->learner.samples, seconds)));
    json_object_set_new(object, "lag", json_integer((json_int_t)now->ingest.lag));
    json_object_set_new(object, "watermark_ms", status_time(now->ingest.watermark));
    json_object_set_new(object, "watermark_lag_ms",
                        now->ingest.watermark == INT64_MIN || now->ingest.watermark == INT64_MAX
                            ? json_null()
                            : json_integer(now_times.wall_ms - now->ingest.watermark));
    json_object_set_new(object, "tick", status_time(now->learner.tick));
    json_object_set_new(object, "rows", json_integer((json_int_t)now->learner.rows));
    json_object_set_new(object, "source", status_source(config, source, now_times.wall_ms));
    status_publication(object, config, &now->outbox);
    json_object_set_new(
        object, "tasks",
        status_evaluations(config, now->learner.tasks, now->learner.window, now->learner.value_window));
    json_object_set_new(
        object, "tasks_total",
        status_evaluations(config, now->learner.tasks, now->learner.total, now->learner.value_total));
    status_counters(object, config, &now->ingest.counters);
    status_cut(object, &now->cutter);
    status_hash(object, "samples_fingerprint", now->learner.fingerprint);
    json_object_set_new(object, "finals", json_integer((json_int_t)now->learner.finals));
    if (now->joined) {
        status_hash(object, "weights", now->weights);
    }
    char *text = json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(object);
    return text;
}

int daemon_status_write(const char *state_dir, const char *text, struct base_error *error)
{
    char path[DAEMON_CONFIG_PATH_MAX], temporary[DAEMON_CONFIG_PATH_MAX];
    snprintf(path, sizeof path, "%s/status.json", state_dir);
    snprintf(temporary, sizeof temporary, "%s/status.json.new", state_dir);
    FILE *file = fopen(temporary, "w");
    if (!file) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", temporary);
    }
    bool failed = fputs(text, file) < 0 || fputc('\n', file) < 0;
    failed = fclose(file) != 0 || failed;
    // Not synced: the file says what is now, and after a crash it says nothing that anybody rests on.
    if (failed || rename(temporary, path) != 0) {
        return base_error_set_errno(error, BASE_EIO, errno, "%s", path);
    }
    return 0;
}
