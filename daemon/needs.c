// Memory and disk from rates and windows. See needs.h.
#include "daemon/needs.h"

#include "consumer/index.h"
#include "consumer/pending.h"
#include "trainer/arena.h"

// An id's record in a log: a journey without columns, its size padded.
static double record_bytes(double columns, bool by_touch)
{
    enum { ID = (DAEMON_NEEDS_ID_BYTES + 7) / 8 * 8 };
    return DAEMON_NEEDS_RECORD_BYTES + ID + columns + (by_touch ? DAEMON_NEEDS_TOUCH_BYTES : 0);
}

uint32_t daemon_needs_parent(const struct daemon_config *config, uint32_t rank)
{
    struct consumer_lane_config lane;
    char directory[DAEMON_CONFIG_PATH_MAX];
    daemon_config_lane(config, 0, directory, &lane);
    return lane.action[rank].parent;
}

double daemon_needs_row_bytes(uint32_t dimension, uint32_t words)
{
    return (double)(sizeof(float) * (dimension + words) + sizeof(struct trainer_meta)) +
           DAEMON_NEEDS_ROW_INDEX_BYTES + DAEMON_NEEDS_ROW_LIST_BYTES;
}

double daemon_needs_orphan_bytes(bool by_touch)
{
    size_t block = sizeof(struct consumer_pending) + DAEMON_NEEDS_ID_BYTES +
                   (by_touch ? DAEMON_NEEDS_TOUCH_BYTES : DAEMON_NEEDS_ID_BYTES);
    return (double)((block + CONSUMER_POOL_STEP - 1) / CONSUMER_POOL_STEP * CONSUMER_POOL_STEP) +
           DAEMON_NEEDS_ORPHAN_KEY_BYTES;
}

// Records a second of a rank.
static double rank_rate(const struct daemon_config *config, const struct daemon_needs_rates *rates,
                        uint32_t rank)
{
    if (rank == 0) {
        return rates->impressions;
    }
    uint32_t parent = daemon_needs_parent(config, rank);
    return rank_rate(config, rates, parent) * (parent == 0 ? rates->ctr : rates->cvr);
}

static double log_segments(const struct daemon_config *config, uint32_t lanes)
{
    return (double)DAEMON_NEEDS_LOG_SEGMENTS * lanes * (double)config->segment;
}

// The journey log of a stage: nothing if no action follows it.
static void need_stage(const struct daemon_config *config, const struct daemon_needs_rates *rates,
                       uint32_t stage, uint32_t lanes, struct daemon_needs_log *log)
{
    int64_t retention =
        stage == 0 ? daemon_config_dedupe(config, 0) : daemon_config_action(config, stage)->window;
    bool by_id = false, by_touch = false, followed = false;
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_action *action = daemon_config_action(config, rank);
        if (daemon_needs_parent(config, rank) == stage) {
            followed = true;
            retention = action->window > retention ? action->window : retention;
            by_id = by_id || action->join == DAEMON_JOIN_IMPRESSION_ID;
            by_touch = by_touch || action->join == DAEMON_JOIN_LAST_TOUCH;
        }
    }
    if (!followed) {
        return;
    }
    struct base_columns_layout layout = daemon_config_layout(config);
    log->retention = retention;
    log->record_bytes =
        record_bytes((double)base_columns_header_size(layout) + 8.0 * layout.categorical, by_touch) +
        (daemon_config_weighted(config) ? sizeof(uint64_t) : 0);
    log->records = rank_rate(config, rates, stage) * (double)retention / 1000;
    log->disk = log->records * log->record_bytes + log_segments(config, lanes);
    log->memory =
        log->records * (DAEMON_NEEDS_ENTRY_BYTES + CONSUMER_INDEX_RECORD_BYTES * (by_id + by_touch));
}

static void need_actions(const struct daemon_config *config, const struct daemon_needs_rates *rates,
                         uint32_t lanes, struct daemon_needs *needs)
{
    struct daemon_needs_log *ids = &needs->ids;
    double orphan_bytes = 0;
    ids->record_bytes = record_bytes(0, false);
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        double rate = rank_rate(config, rates, rank);
        double kept = rate * (double)daemon_config_dedupe(config, rank) / 1000;
        bool by_touch = daemon_config_action(config, rank)->join == DAEMON_JOIN_LAST_TOUCH;
        double bytes = daemon_needs_orphan_bytes(by_touch);
        ids->records += kept;
        ids->disk += kept * ids->record_bytes + log_segments(config, lanes);
        needs->orphans += rate * (double)config->orphan_timeout / 1000;
        orphan_bytes = bytes > orphan_bytes ? bytes : orphan_bytes;
    }
    ids->memory = ids->records * (DAEMON_NEEDS_ENTRY_BYTES + CONSUMER_INDEX_RECORD_BYTES);
    double bound = (double)config->orphan_max * lanes;
    if (config->orphan_max > 0 && needs->orphans > bound) {
        needs->orphans = bound;
    }
    needs->orphan_memory = needs->orphans * orphan_bytes;
}

// An action's value waits until its parent's wait has run out; that of an action that follows a stage of
// actions, until the window has, for F3 says it again (consumer/joiner.c).
static void need_values(const struct daemon_config *config, const struct daemon_needs_rates *rates,
                        struct daemon_needs *needs)
{
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_action *action = daemon_config_action(config, rank);
        bool final = !action->side && daemon_needs_parent(config, rank) > 0;
        double ms = (double)(final ? action->window : action->wait);
        if (action->topic.fields.value[0]) {
            needs->values += rank_rate(config, rates, rank) * ms / 1000;
        }
    }
    needs->value_memory = needs->values * DAEMON_NEEDS_VALUE_BYTES;
}

static void need_table(const struct daemon_config *config, struct daemon_needs *needs)
{
    const struct trainer_model_config *model = daemon_config_model(config);
    for (uint32_t i = 0; i < model->features.slots; i++) {
        uint32_t dimension = model->features.slot[i].row.dimension;
        uint32_t words = trainer_optimiser_words(trainer_update_slot(&model->update, i), dimension);
        if (dimension + words > needs->row_dimension + needs->row_words) {
            needs->row_dimension = dimension;
            needs->row_words = words;
        }
    }
    needs->rows = model->features.slots > 0 ? (double)model->rows_max : 0;
    needs->row_memory = needs->rows * daemon_needs_row_bytes(needs->row_dimension, needs->row_words);
}

static void need_cuts(const struct daemon_config *config, struct daemon_needs *needs)
{
    double row =
        (needs->row_dimension + needs->row_words) * (double)sizeof(float) + DAEMON_NEEDS_STORED_BYTES;
    double data = needs->rows * row;
    needs->database = data + (data < DAEMON_NEEDS_STORE_SLACK ? data : DAEMON_NEEDS_STORE_SLACK);
    needs->kept =
        (double)(config->cuts.keep ? config->cuts.keep + config->cuts.keep_hours : 0) * needs->database;
    needs->cut_memory = DAEMON_NEEDS_CUT_COPIES * (double)config->cuts.dirty;
}

void daemon_needs(const struct daemon_config *config, const struct daemon_needs_rates *rates, uint32_t lanes,
                  struct daemon_needs *needs)
{
    *needs = (struct daemon_needs){0};
    for (uint32_t stage = 0; stage < daemon_config_ranks(config); stage++) {
        struct daemon_needs_log *log = &needs->journeys[stage];
        need_stage(config, rates, stage, lanes, log);
        needs->disk += log->disk;
        needs->memory += log->memory;
    }
    need_actions(config, rates, lanes, needs);
    need_values(config, rates, needs);
    need_table(config, needs);
    need_cuts(config, needs);
    needs->fetch_memory = config->source.kind == DAEMON_SOURCE_KAFKA ? (double)config->source.memory : 0;
    needs->disk += needs->ids.disk + needs->database + (double)config->cuts.reserve;
    needs->memory += needs->ids.memory + needs->orphan_memory + needs->value_memory + needs->row_memory +
                     needs->fetch_memory + needs->cut_memory;
}
