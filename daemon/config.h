// The daemon's configuration: one YAML file, one struct, and from it the small configurations of the rooms.
//
//   file -> base/config (config_table.c: the rows) -> struct daemon_config -> cross checks (config_check.c)
//        -> what the rooms take (config_build.c), made once at the load and lent by the functions below
//
// Every problem of a file is found in one run. docs/CONFIGURATION.md is generated from the rows.
// Durations are milliseconds. Thread: loaded by one, then read-only for all.
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include "base/config.h"
#include "base/log.h"
#include "consumer/decoder.h"
#include "consumer/files.h"
#include "consumer/kafka.h"
#include "consumer/lane.h"
#include "consumer/registry.h"
#include "publisher/publisher.h"
#include "trainer/descriptor.h"

enum { DAEMON_CONFIG_ACTIONS_MAX = CONSUMER_TOPICS_MAX - 1 };

enum daemon_ctcvr_to_ctr { DAEMON_CTCVR_STOP, DAEMON_CTCVR_FULL };
enum daemon_source_kind { DAEMON_SOURCE_KAFKA, DAEMON_SOURCE_FILES };
enum daemon_start { DAEMON_START_EARLIEST, DAEMON_START_LATEST };
enum daemon_time { DAEMON_TIME_RECORD, DAEMON_TIME_KAFKA };
enum daemon_join { DAEMON_JOIN_IMPRESSION_ID, DAEMON_JOIN_LAST_TOUCH };
enum daemon_space { DAEMON_SPACE_IMPRESSIONS, DAEMON_SPACE_EVENTS };
// How the click's loss makes up for N0 that are not kept.
enum daemon_negatives { DAEMON_NEGATIVES_LOG_ODDS, DAEMON_NEGATIVES_WEIGHT };
enum daemon_role { DAEMON_ROLE_FEATURE, DAEMON_ROLE_POSITION };
enum daemon_serving { DAEMON_SERVING_STRING, DAEMON_SERVING_INTEGER };
enum daemon_format { DAEMON_FORMAT_FP32, DAEMON_FORMAT_FP16 };

struct daemon_config_level {
    struct base_config_uints experts; // widths of an expert's layers
    uint64_t per_task, shared;
};

enum daemon_funnel { DAEMON_FUNNEL_CHAIN, DAEMON_FUNNEL_ESM2 };

struct daemon_config_cvr {
    int correction; // enum trainer_correction
    double weight, propensity_min;
};

struct daemon_config_rate {
    double dense, sparse;
};

struct daemon_config_optimizer {
    int kind; // enum trainer_optimiser_kind
    double momentum, initial, epsilon;
    uint64_t half_life; // examples
    double beta, lambda1, lambda2, beta1, beta2;
};

struct daemon_config_optimizers {
    struct daemon_config_optimizer dense, sparse;
};

struct daemon_config_schedule {
    uint64_t warmup, half_life; // examples
    double floor;
};

struct daemon_config_schedules {
    struct daemon_config_schedule dense, sparse;
};

// What a slot or a tensor has of its own: -1, NaN: nothing.
struct daemon_config_update {
    int optimizer; // enum trainer_optimiser_kind
    double rate, l2;
};

struct daemon_config_tensor {
    const char *match;
    struct daemon_config_update update;
};

struct daemon_config_model {
    const char *name;
    uint64_t seed;
    int body; // enum trainer_body
    double soft_l2;
    struct base_config_records levels; // struct daemon_config_level
    struct base_config_uints towers;
    uint64_t batch, workers, rows_max;
    struct daemon_config_rate rate;
    struct daemon_config_optimizers optimizer;
    struct daemon_config_schedules schedule;
    struct daemon_config_rate l2, clip;
    struct base_config_records tensors; // struct daemon_config_tensor
    int ctcvr_to_ctr;                   // enum daemon_ctcvr_to_ctr
    int funnel;                         // enum daemon_funnel
    const char *branch;                 // esm2: a side action's name
    int weighting;                      // enum trainer_weighting
    uint64_t decay_examples;
    struct daemon_config_cvr cvr;
};

struct daemon_config_source {
    int kind;              // enum daemon_source_kind
    const char *bootstrap; // kafka
    struct base_config_map properties, property_files;
    int start;                            // enum daemon_start
    struct base_config_map offsets, ends; // kafka: "topic/partition" -> offset
    uint64_t memory;
    int64_t timeout;
    const char *path; // files
    uint64_t lanes;
    const char *key;
    uint64_t read_ahead; // files
};

struct daemon_config_registry {
    const char *url, *user, *password, *token, *ca_file;
    int64_t timeout, negative;
};

struct daemon_config_fields {
    const char *event_time, *event_id, *impression_id, *value; // paths; "": there is none
    const char *weight, *propensity;                           // the impression's
};

// What an impression's and an action's topic have in common.
struct daemon_config_topic {
    const char *topic;
    int framing; // enum consumer_framing
    const char *schema;
    struct base_config_strings writer_schemas;
    int64_t allowed_lateness;
    int64_t dedupe; // -1: by the windows
    int time;       // enum daemon_time
    struct base_config_strings touch;
    struct daemon_config_fields fields;
    double propensity_min; // the impression's
};

struct daemon_config_action {
    const char *name;
    struct daemon_config_topic topic;
    bool side;
    const char *parent; // side: a stage's name
    const char *as;     // side: counts as this side action, and has no task
    int64_t wait, window;
    int join; // enum daemon_join
    double weight;
    int loss;  // enum trainer_loss_kind
    int space; // enum daemon_space
    double decay;
};

struct daemon_config_slot {
    const char *name, *path;
    uint64_t dimension;
    int pooling; // enum trainer_pooling
    uint64_t admission;
    int64_t expiry;
    struct base_config_reals boundaries; // any: from a numeric path
    struct base_config_strings cross;    // any: of these slots, and there is no path
    int role;                            // enum daemon_role
    const char *serving;                 // position: the value that is scored; NULL: none
    int serving_as;                      // enum daemon_serving
    struct daemon_config_update update;
};

struct daemon_config_numeric {
    const char *name, *path;
    bool log1p;
    double mean, deviation;
};

struct daemon_config_redis {
    const char *address; // host:port
    const char *socket;  // instead of it
    const char *user, *password;
    uint64_t database;
    int64_t timeout;
    // Of address, after the load.
    const char *host;
    uint16_t port;
};

struct daemon_config_publish {
    int64_t interval;
    int format; // enum daemon_format
    int64_t garbage_ttl;
    double base_ratio;
};

struct daemon_config_cuts {
    int64_t interval;
    uint64_t dirty; // bytes
    double share;   // of CPU time
    uint64_t keep, keep_hours;
    int64_t keep_interval; // between two cuts that are kept
    uint64_t reserve;      // bytes
};

struct daemon_config_built; // what the rooms take, see config_build.c

struct daemon_config {
    const char *state_dir;
    int log_level; // enum base_log_level
    int64_t tick, idle_timeout, future, orphan_timeout;
    uint64_t orphan_max; // a lane; 0: no bound
    double keep_negatives;
    int negatives_correction; // enum daemon_negatives
    uint64_t segment;         // bytes
    struct daemon_config_model model;
    struct daemon_config_source source;
    struct daemon_config_registry registry;
    struct daemon_config_topic impression;
    struct base_config_records actions;  // struct daemon_config_action, the funnel's stages first
    struct base_config_records slots;    // struct daemon_config_slot
    struct base_config_records numerics; // struct daemon_config_numeric
    struct daemon_config_redis redis;
    struct daemon_config_publish publish;
    struct daemon_config_cuts cuts;

    uint64_t hash; // of everything that changes what is learned
    struct base_config *memory;
    struct daemon_config_built *built; // NULL if the file has errors
};

// The table, for the reference page.
extern const struct base_config_table daemon_config_table;

// Loads the file at `path`. The configuration, or NULL if it has errors; either way the problems, warnings
// among them, are in `problems` (zero-initialised by the caller). Free with daemon_config_free.
struct daemon_config *daemon_config_load(const char *path, struct base_config_problems *problems);
// The same from a text called `name`.
struct daemon_config *daemon_config_load_text(const char *name, struct base_span text,
                                              struct base_config_problems *problems);
void daemon_config_free(struct daemon_config *config); // takes NULL

// Topics: 1 + actions.
uint32_t daemon_config_ranks(const struct daemon_config *config);
const struct daemon_config_topic *daemon_config_topic(const struct daemon_config *config, uint32_t rank);
const struct daemon_config_action *daemon_config_action(const struct daemon_config *config, uint32_t rank);
// Actions that have a task: all but those that count as another.
uint32_t daemon_config_tasks(const struct daemon_config *config);
const struct daemon_config_slot *daemon_config_slot(const struct daemon_config *config, uint32_t index);
const struct daemon_config_numeric *daemon_config_numeric(const struct daemon_config *config, uint32_t index);
// "impression", or the action's name.
const char *daemon_config_rank_name(const struct daemon_config *config, uint32_t rank);
// How long an event id of a topic is remembered: as configured, else the first action's window for
// impressions and the longest window for the rest (rule 18 of docs/join.md).
int64_t daemon_config_dedupe(const struct daemon_config *config, uint32_t rank);

// What the rooms take. All that is pointed to lives as long as the configuration.
void daemon_config_kafka(const struct daemon_config *config, struct consumer_kafka_config *kafka);
void daemon_config_files(const struct daemon_config *config, struct consumer_files_config *files);
// False: no registry is configured.
bool daemon_config_registry(const struct daemon_config *config, struct consumer_registry_config *registry);
void daemon_config_decoder(const struct daemon_config *config, uint32_t rank,
                           struct consumer_decoder_config *decoder);
// `directory` receives the lane's directory, "<state_dir>/lanes/<lane>", and must outlive *lane_config.
enum { DAEMON_CONFIG_PATH_MAX = 4096 };
void daemon_config_lane(const struct daemon_config *config, uint32_t lane,
                        char directory[DAEMON_CONFIG_PATH_MAX], struct consumer_lane_config *lane_config);
const struct trainer_model_config *daemon_config_model(const struct daemon_config *config);
const struct trainer_descriptor_columns *daemon_config_columns(const struct daemon_config *config);
// The same by the names that saved state has for them.
const struct consumer_generations_columns *daemon_config_generation(const struct daemon_config *config);
// Do impressions have a weight or a propensity?
bool daemon_config_weighted(const struct daemon_config *config);
// Of the categorical and numeric columns of an impression.
struct base_columns_layout daemon_config_layout(const struct daemon_config *config);
void daemon_config_redis(const struct daemon_config *config, struct publisher_redis_config *redis);
// Without the descriptor, which the caller sets (trainer_descriptor_write).
void daemon_config_publisher(const struct daemon_config *config, struct publisher_config *publisher);

#endif
