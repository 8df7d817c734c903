// The daemon's configuration: its rows. A row's default is the default, its text is the reference page's.
#include "daemon/config_table.h"

// --- source, registry ---

static const char *const kind_choices[] = {"kafka", "files", NULL};
static const char *const start_choices[] = {"earliest", "latest", NULL};

static const struct base_config_row source_rows[] = {
    {.name = "kind",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_source, kind),
     .flags = BASE_CONFIG_REQUIRED | BASE_CONFIG_OPERATIONAL,
     .choices = kind_choices,
     .description = "Where the records come from: brokers, or a directory of Avro files."},
    {.name = "bootstrap",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_source, bootstrap),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "kafka: some brokers, `host:port,host:port`."},
    {.name = "properties",
     .type = BASE_CONFIG_MAP,
     FIELD(daemon_config_source, properties),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description =
         "kafka: settings of librdkafka, passed on as they are. Those that would break a promise are "
         "refused."},
    {.name = "property_files",
     .type = BASE_CONFIG_MAP,
     FIELD(daemon_config_source, property_files),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "kafka: as `properties`, but each value is the path of a file whose first line is the "
                    "setting: for passwords."},
    {.name = "start",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_source, start),
     .fallback = "earliest",
     .flags = BASE_CONFIG_OPERATIONAL,
     .choices = start_choices,
     .description = "kafka: where to begin when there is nothing to go on from."},
    {.name = "offsets",
     .type = BASE_CONFIG_MAP,
     FIELD(daemon_config_source, offsets),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description =
         "kafka: the first offset to read of each partition, instead of `start`, `{impressions/0: 1200, "
         "clicks/0: earliest}`: a number, `earliest` or `latest`, for every partition of every topic."},
    {.name = "ends",
     .type = BASE_CONFIG_MAP,
     FIELD(daemon_config_source, ends),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description =
         "kafka, `freshet replay` only: stop before these offsets, numbers named as in `offsets`; what is "
         "not there yet is waited for. Default: the topics' present ends."},
    {.name = "memory",
     .type = BASE_CONFIG_BYTES,
     FIELD(daemon_config_source, memory),
     .fallback = "256MiB",
     .min = 1 << 20,
     .max = 1e12,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "kafka: bound on the bytes fetched ahead, all partitions together."},
    {.name = "timeout",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_source, timeout),
     .fallback = "30s",
     .min = 100,
     .max = MS_HOUR,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "kafka: how long to try to learn of topics and partitions at the start."},
    {.name = "path",
     .type = BASE_CONFIG_PATH,
     FIELD(daemon_config_source, path),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "files: the directory that holds one directory a topic."},
    {.name = "lanes",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_source, lanes),
     .fallback = "0",
     .max = CONSUMER_LANES_MAX,
     .description =
         "files: 0 takes a record's lane from its file's name; more spreads records over so many lanes "
         "by the hash of `key`."},
    {.name = "key",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_source, key),
     .description = "files: the field whose hash chooses the lane (`user_id`), if `lanes` is above 0."},
    {.name = "read_ahead",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_source, read_ahead),
     .fallback = "1024",
     .min = 1,
     .max = 65536,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "files: records read ahead a partition."},
};
static const struct base_config_table source_table =
    TABLE("Where the records come from. Partition p of all topics makes lane p.", daemon_config_source,
          source_rows);

static const struct base_config_row registry_rows[] = {
    {.name = "url",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_registry, url),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description =
         "Base URL with its path (`http://127.0.0.1:8081`). Needed for the framing `confluent` from "
         "Kafka."},
    {.name = "user",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_registry, user),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Basic authentication."},
    {.name = "password",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_registry, password),
     .flags = BASE_CONFIG_OPERATIONAL | BASE_CONFIG_SECRET,
     .description = "Its password."},
    {.name = "token",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_registry, token),
     .flags = BASE_CONFIG_OPERATIONAL | BASE_CONFIG_SECRET,
     .description = "Bearer authentication, instead of user and password."},
    {.name = "ca_file",
     .type = BASE_CONFIG_PATH,
     FIELD(daemon_config_registry, ca_file),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Certificates to trust; default: the system's."},
    {.name = "timeout",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_registry, timeout),
     .fallback = "5s",
     .min = 10,
     .max = MS_HOUR,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "For one request."},
    {.name = "negative",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_registry, negative),
     .fallback = "10s",
     .min = 0,
     .max = MS_HOUR,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "How long an unknown id or a failure is remembered."},
};
static const struct base_config_table registry_table =
    TABLE("The schema registry (Confluent's REST API).", daemon_config_registry, registry_rows);

// --- topics ---

static const char *const framing_choices[] = {"confluent", "single_object", "bare", NULL};
static const char *const time_choices[] = {"record", "kafka", NULL};

// The rows that an impression's and an action's topic share; `at` leads to the topic in
// `record`: nothing, or "topic.".
#define TOPIC_ROWS(record, at)                                                                           \
    {.name = "framing",                                                                                  \
     .type = BASE_CONFIG_ENUM,                                                                           \
     FIELD(record, at framing),                                                                          \
     .fallback = "confluent",                                                                            \
     .choices = framing_choices,                                                                         \
     .description = "What stands before a message's Avro body. Files have none, whatever it says."},     \
        {.name = "schema",                                                                               \
         .type = BASE_CONFIG_PATH,                                                                       \
         FIELD(record, at schema),                                                                       \
         .flags = BASE_CONFIG_OPERATIONAL,                                                               \
         .description =                                                                                  \
             "Reader schema, a file; default: the built-in one of `schemas/`. `''`: the writer's "       \
             "own. Its content counts, not its path."},                                                  \
        {.name = "writer_schemas",                                                                       \
         .type = BASE_CONFIG_STRINGS,                                                                    \
         FIELD(record, at writer_schemas),                                                               \
         .fallback = "[]",                                                                               \
         .flags = BASE_CONFIG_OPERATIONAL,                                                               \
         .description = "single_object: files with further schemas that writers use."},                  \
        {.name = "allowed_lateness",                                                                     \
         .type = BASE_CONFIG_DURATION,                                                                   \
         FIELD(record, at allowed_lateness),                                                             \
         .fallback = "2s",                                                                               \
         .max = 30 * MS_DAY,                                                                             \
         .description = "How far the watermark stays behind the largest event time read."},              \
        {.name = "dedupe",                                                                               \
         .type = BASE_CONFIG_DURATION,                                                                   \
         FIELD(record, at dedupe),                                                                       \
         .max = 400 * MS_DAY,                                                                            \
         .description = "How long an id is remembered; default: impressions the first action's window, " \
                        "actions the longest window."},                                                  \
        {.name = "time",                                                                                 \
         .type = BASE_CONFIG_ENUM,                                                                       \
         FIELD(record, at time),                                                                         \
         .fallback = "record",                                                                           \
         .choices = time_choices,                                                                        \
         .description = "Event time: the record's field, or the timestamp that Kafka keeps."},           \
    {                                                                                                    \
        .name = "touch", .type = BASE_CONFIG_STRINGS, FIELD(record, at touch), .fallback = "[]",         \
        .description =                                                                                   \
            "Fields by which last touch joins, here or one stage further (`[user_id, item_id]`); "       \
            "a parent without them takes its child's."                                                   \
    }

static const struct base_config_row impression_fields_rows[] = {
    {.name = "event_time",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_fields, event_time),
     .fallback = "event_time",
     .description = "When it happened: a timestamp in ms or µs (by its logical type), or a long in ms."},
    {.name = "impression_id",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_fields, impression_id),
     .fallback = "impression_id",
     .description = "Its identity."},
    {.name = "weight",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_fields, weight),
     .fallback = "''",
     .flags = BASE_CONFIG_ADDED,
     .description = "A number from 0 to 1e6 that the weights of all its samples are multiplied by (null: 1); "
                    "`''`: none."},
    {.name = "propensity",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_fields, propensity),
     .fallback = "''",
     .flags = BASE_CONFIG_ADDED,
     .description = "The probability, above 0 and at most 1, with which it was shown, or looked at; the "
                    "weights of all its samples are divided by it (null: 1). `''`: none."},
};
static const struct base_config_table impression_fields_table =
    TABLE("Where an impression's record holds what. Paths: `field`, `record.field`, `map.key`.",
          daemon_config_fields, impression_fields_rows);

static const struct base_config_row action_fields_rows[] = {
    {.name = "event_time",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_fields, event_time),
     .fallback = "event_time",
     .description = "When it happened."},
    {.name = "event_id",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_fields, event_id),
     .fallback = "event_id",
     .description = "Its identity, by which doubles are found; `''`: there is none, and nothing is deduped."},
    {.name = "impression_id",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_fields, impression_id),
     .fallback = "impression_id",
     .description = "The impression that it goes back to; `''`: there is none (last touch)."},
    {.name = "value",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_fields, value),
     .fallback = "''",
     .description = "A number that belongs to it, an order's value say; `''`: none."},
};
static const struct base_config_table action_fields_table =
    TABLE("Where an action's record holds what. Paths as for impressions.", daemon_config_fields,
          action_fields_rows);

static const struct base_config_row impression_rows[] = {
    {.name = "topic",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_topic, topic),
     .fallback = "impressions",
     .description = "Its topic."},
    TOPIC_ROWS(daemon_config_topic, ),
    {.name = "fields",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_topic, fields),
     .table = &impression_fields_table,
     .description = "Paths in its record."},
    {.name = "propensity_min",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_topic, propensity_min),
     .fallback = "0.01",
     .min = 1e-6,
     .max = 1,
     .flags = BASE_CONFIG_ADDED,
     .description = "Of `fields.propensity`: smaller ones count as this, so that no sample weighs too much."},
};
static const struct base_config_table impression_table =
    TABLE("The impressions, that carry the features.", daemon_config_topic, impression_rows);

static const char *const join_choices[] = {"impression_id", "last_touch", NULL};

static const char *const loss_choices[] = {"bce", "mse", "poisson", "ziln", NULL}; // enum trainer_loss_kind
static const char *const space_choices[] = {"impressions", "events", NULL};

static const struct base_config_row action_rows[] = {
    {.name = "name",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_action, name),
     .flags = BASE_CONFIG_REQUIRED,
     .description = "The action and its task (`click`): 1 to 32 of a-z, 0-9, `_`, `-`."},
    {.name = "topic",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_action, topic.topic),
     .flags = BASE_CONFIG_REQUIRED,
     .description = "Its topic."},
    {.name = "wait",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_action, wait),
     .max = 400 * MS_DAY,
     .flags = BASE_CONFIG_REQUIRED,
     .description = "How long its parent waits for it before it pays the negatives."},
    {.name = "window",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_action, window),
     .max = 400 * MS_DAY,
     .flags = BASE_CONFIG_REQUIRED,
     .description = "Up to how long after its parent it counts at all, inclusive; at least `wait`."},
    {.name = "side",
     .type = BASE_CONFIG_BOOL,
     FIELD(daemon_config_action, side),
     .fallback = "false",
     .description = "It hangs on `parent` and starts no stage; such actions come last."},
    {.name = "parent",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_action, parent),
     .description =
         "side: `impression`, or an action of the funnel but its last. Others follow the one before "
         "them."},
    {.name = "as",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_action, as),
     .flags = BASE_CONFIG_ADDED,
     .description =
         "side: it counts as this side action before it, of the same parent, wait and window: cart or "
         "favourite, whichever comes first. It has no task of its own; such actions come last."},
    {.name = "join",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_action, join),
     .fallback = "impression_id",
     .choices = join_choices,
     .description = "By the impression's id, or to the last parent with the same `touch` fields."},
    {.name = "weight",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_action, weight),
     .fallback = "1",
     .min = 0,
     .max = 1e6,
     .description = "Of its task's loss."},
    {.name = "loss",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_action, loss),
     .fallback = "bce",
     .flags = BASE_CONFIG_ADDED,
     .choices = loss_choices,
     .description =
         "Of its task: whether it happens (`bce`); its `fields.value` too: log1p of it squared "
         "(`mse`) or as a rate (`poisson`), side actions only; or zero-inflated log-normal (`ziln`)."},
    {.name = "space",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_action, space),
     .fallback = "impressions",
     .flags = BASE_CONFIG_ADDED,
     .choices = space_choices,
     .description = "mse, poisson: all impressions, with the value 0 where it does not happen; or the events "
                    "alone."},
    {.name = "decay",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_action, decay),
     .fallback = "1",
     .min = 1e-9,
     .max = 1,
     .flags = BASE_CONFIG_ADDED,
     .description = "What `weight` is multiplied by every `model.decay_examples`."},
    TOPIC_ROWS(daemon_config_action, topic.),
    {.name = "fields",
     .type = BASE_CONFIG_RECORD,
     FIELD(daemon_config_action, topic.fields),
     .table = &action_fields_table,
     .description = "Paths in its record."},
};
static const struct base_config_table action_table = TABLE(
    "An action: a stage of the funnel, in their order, or a side action.", daemon_config_action, action_rows);

// --- redis, publish, cuts ---

static const struct base_config_row redis_rows[] = {
    {.name = "address",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_redis, address),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "`host:port`, `[::1]:6379`; default: 127.0.0.1:6379 if there is no `socket`."},
    {.name = "socket",
     .type = BASE_CONFIG_PATH,
     FIELD(daemon_config_redis, socket),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "A unix socket instead."},
    {.name = "user",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_redis, user),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "For AUTH; default: Redis' default user."},
    {.name = "password",
     .type = BASE_CONFIG_STRING,
     FIELD(daemon_config_redis, password),
     .flags = BASE_CONFIG_OPERATIONAL | BASE_CONFIG_SECRET,
     .description = "For AUTH."},
    {.name = "database",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_redis, database),
     .fallback = "0",
     .max = 1e6,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Its number."},
    {.name = "timeout",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_redis, timeout),
     .fallback = "2s",
     .min = 10,
     .max = MS_HOUR,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "For connecting and for each reply."},
};
static const struct base_config_table redis_table =
    TABLE("The Redis that the model is published to.", daemon_config_redis, redis_rows);

static const char *const format_choices[] = {"fp32", "fp16", NULL};

static const struct base_config_row publish_rows[] = {
    {.name = "interval",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_publish, interval),
     .fallback = "1s",
     .min = 10,
     .max = MS_DAY,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Least time between two versions."},
    {.name = "format",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config_publish, format),
     .fallback = "fp32",
     .choices = format_choices,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Of embedding vectors: exact, or half the bytes."},
    {.name = "garbage_ttl",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_publish, garbage_ttl),
     .fallback = "10m",
     .min = 10e3,
     .max = 30 * MS_DAY,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "When Redis forgets what no version needs (yet, or any more). Whole seconds."},
    {.name = "base_ratio",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_publish, base_ratio),
     .fallback = "0.333",
     .min = 0.001,
     .max = 100,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "A new base is published once the deltas' rows exceed this share of the last one's."},
};
static const struct base_config_table publish_table =
    TABLE("How versions are published.", daemon_config_publish, publish_rows);

static const struct base_config_row cuts_rows[] = {
    {.name = "interval",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_cuts, interval),
     .fallback = "30s",
     .min = 100,
     .max = MS_DAY,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Time between two cuts; what a crash costs is to read so much again."},
    {.name = "dirty",
     .type = BASE_CONFIG_BYTES,
     FIELD(daemon_config_cuts, dirty),
     .fallback = "128MiB",
     .min = 1 << 20,
     .max = (double)(1u << 31),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "A cut is made sooner once so much has changed since the last one."},
    {.name = "share",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config_cuts, share),
     .fallback = "0.05",
     .min = 0.001,
     .max = 1,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Of the CPU time that passes; cuts that cost more are made less often."},
    {.name = "keep",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_cuts, keep),
     .fallback = "3",
     .max = 1000,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description =
         "Of the cuts that are kept, for `freshet replay --from` and `freshet cuts`, so many of the "
         "last ones stay. 0: none is kept."},
    {.name = "keep_hours",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config_cuts, keep_hours),
     .fallback = "6",
     .max = 1000,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "And the last one of each of so many hours. A kept cut shares its files with the others; "
                    "at most it needs as much disk as the database and the journey logs."},
    {.name = "keep_interval",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config_cuts, keep_interval),
     .fallback = "5m",
     .min = 0,
     .max = MS_DAY,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Time between two cuts that are kept: keeping one flushes the database."},
    {.name = "reserve",
     .type = BASE_CONFIG_BYTES,
     FIELD(daemon_config_cuts, reserve),
     .fallback = "64MiB",
     .min = 0,
     .max = (double)(1u << 31),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description =
         "Disk that is held in a file of its own, to be given up when the disk is nearly full: the "
         "daemon then makes a last cut and stops, with nothing lost. 0: none."},
};
static const struct base_config_table cuts_table =
    TABLE("The durable state in `state_dir`, from which a restart goes on.", daemon_config_cuts, cuts_rows);

// --- all ---

static const char *const negatives_choices[] = {"log_odds", "weight", NULL}; // enum daemon_negatives

static const struct base_config_row rows[] = {
    {.name = "state_dir",
     .type = BASE_CONFIG_PATH,
     FIELD(daemon_config, state_dir),
     .fallback = "/var/lib/freshet",
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "The database, journey logs, journal, kept cuts, dead letters, cached schemas."},
    {.name = "log_level",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config, log_level),
     .fallback = "info",
     .choices = base_log_level_names,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "The least that is logged."},
    {.name = "tick",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config, tick),
     .fallback = "500ms",
     .min = 10,
     .max = MS_HOUR,
     .description = "The unit of progress, of minibatches and of publication, in event time."},
    {.name = "idle_timeout",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config, idle_timeout),
     .fallback = "5s",
     .min = 10,
     .max = MS_DAY,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description =
         "How long a partition must have been read to its end before it no longer holds others back."},
    {.name = "future",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config, future),
     .fallback = "10m",
     .min = 0,
     .max = 400 * MS_DAY,
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Records further ahead of the clock than this are set aside."},
    {.name = "orphan_timeout",
     .type = BASE_CONFIG_DURATION,
     FIELD(daemon_config, orphan_timeout),
     .fallback = "10m",
     .min = 0,
     .max = 400 * MS_DAY,
     .description = "How long an action waits for what it refers to, in event time."},
    {.name = "orphan_max",
     .type = BASE_CONFIG_UINT,
     FIELD(daemon_config, orphan_max),
     .fallback = "0",
     .description = "Orphans a lane; beyond it the oldest expires first. 0: no bound."},
    {.name = "keep_negatives",
     .type = BASE_CONFIG_REAL,
     FIELD(daemon_config, keep_negatives),
     .fallback = "1",
     .min = 1e-6,
     .max = 1,
     .description =
         "Share of the impressions without a click that are learned from, by a hash of their id; the "
         "losses make up for it."},
    {.name = "negatives_correction",
     .type = BASE_CONFIG_ENUM,
     FIELD(daemon_config, negatives_correction),
     .fallback = "log_odds",
     .flags = BASE_CONFIG_ADDED,
     .choices = negatives_choices,
     .description = "How the click's own loss makes up for it: its logit is shifted, or each kept negative "
                    "weighs 1 / `keep_negatives`. All other losses are always weighed."},
    {.name = "segment",
     .type = BASE_CONFIG_BYTES,
     FIELD(daemon_config, segment),
     .fallback = "64MiB",
     .min = 4096,
     .max = (double)(1u << 31),
     .flags = BASE_CONFIG_OPERATIONAL,
     .description = "Size of a journey log's files. Disk is given back a file at a time."},
    SECTION(model, daemon_config, config_model_table, "The model."),
    SECTION(source, daemon_config, source_table, "Where the records come from."),
    SECTION(registry, daemon_config, registry_table, "The schema registry."),
    SECTION(impression, daemon_config, impression_table, "The impressions."),
    {.name = "actions",
     .type = BASE_CONFIG_RECORDS,
     FIELD(daemon_config, actions),
     .fallback = "[{name: click, topic: clicks, wait: 10m, window: 30m}, {name: purchase, topic: purchases, "
                 "wait: 1h, window: 3d}]",
     .items_min = 1,
     .table = &action_table,
     .description = "The funnel, in order, then side actions; at most 7."},
    {.name = "slots",
     .type = BASE_CONFIG_RECORDS,
     FIELD(daemon_config, slots),
     .fallback = "[]",
     .table = &config_slot_table,
     .description = "Categorical and bucketised features."},
    {.name = "numerics",
     .type = BASE_CONFIG_RECORDS,
     FIELD(daemon_config, numerics),
     .fallback = "[]",
     .table = &config_numeric_table,
     .description = "Plain numeric features."},
    SECTION(redis, daemon_config, redis_table, "Redis."),
    SECTION(publish, daemon_config, publish_table, "Publication."),
    SECTION(cuts, daemon_config, cuts_table, "Cuts."),
};

const struct base_config_table daemon_config_table = TABLE(
    "# Configuration\n\n"
    "One YAML file for `freshetd`, `freshet check` and the other commands (`-c FILE`). Generated by\n"
    "`freshet check --reference`; a test holds it equal.\n\n"
    "Durations are written `500ms`, `2s`, `10m`, `1h30m`, `7d`; sizes `4096`, `128MiB`, `1GB`; numbers may "
    "be\n"
    "grouped, `4_000_000`. Relative paths are taken from the directory of the file. A setting that is\n"
    "unknown, given twice, of the wrong type or out of bounds is an error, and all errors are told at once.",
    daemon_config, rows);
