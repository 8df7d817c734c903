// A lane: watermarks, the heap of pending events, and the loop over its time. See lane.h; what a time's
// events and cursors do is the joiner's.
#include "consumer/lane.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/section.h"
#include "consumer/joiner.h"
#include "consumer/pending.h"

#define LANE_STATE_MAGIC "FRSHLANE"
enum {
    LANE_PATH_MAX = 3072, // characters of the directory; file names follow
    LANE_STATE_VERSION = 1,
    LANE_COUNTERS = sizeof(struct consumer_lane_counters) / sizeof(uint64_t),
};

struct lane_partition {
    int64_t watermark;
    int64_t next_offset; // the least that may come
};

struct consumer_lane {
    uint32_t number;
    uint32_t ranks;
    int64_t allowed_lateness[CONSUMER_TOPICS_MAX];
    struct lane_partition partition[CONSUMER_TOPICS_MAX]; // by rank
    struct consumer_pool *pool;
    struct consumer_heap *heap;
    struct consumer_joiner *joiner;
    struct consumer_lane_counters counters;
    uint64_t late_pending[CONSUMER_TOPICS_MAX]; // of counters.late: not yet handled
    int64_t now;
    bool failed;

    struct base_buffer settings; // as a save has them
    char *directory;
    size_t named;       // names of `directory` from this character on may not be durable; SIZE_MAX: all are
    uint64_t named_cut; // the first cut that makes them durable; 0: none yet
};

// Makes a directory and those above it. *named: where the first name begins that may not be durable: one that
// was not there, and, unless a cut says otherwise, the last two, which an earlier process may have made and
// not synced.
static int lane_make_directory(struct base_disk *disk, const char *directory, bool restored, size_t *named,
                               struct base_error *error)
{
    char path[LANE_PATH_MAX];
    size_t length = strlen(directory);
    if (length >= sizeof path) {
        return base_error_set(error, BASE_EINVAL, "the directory's name %.40s... is too long", directory);
    }
    memcpy(path, directory, length + 1);
    size_t begin = 0;  // of the present name
    size_t before = 0; // of the one before it
    *named = SIZE_MAX;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        char saved = path[i];
        path[i] = '\0';
        bool there = access(path, F_OK) == 0;
        if (!there && *named == SIZE_MAX) {
            *named = begin;
        }
        if (base_disk_make_directory(disk, path, error) != 0) {
            return -1;
        }
        path[i] = saved;
        if (i == length && !restored && *named > before) {
            *named = before;
        }
        before = begin;
        begin = i + 1;
    }
    return 0;
}

// The settings that decide when things fall due, and what they are: a restored lane must have the same.
static void lane_write_settings(const struct consumer_lane_config *config, struct base_buffer *settings)
{
    base_buffer_u32(settings, config->lane);
    base_buffer_u32(settings, config->ranks);
    base_buffer_u64(settings, (uint64_t)config->orphan_timeout);
    for (uint32_t rank = 0; rank < config->ranks; rank++) {
        const struct consumer_action_config *action = &config->action[rank];
        base_buffer_u64(settings, (uint64_t)config->dedupe[rank]);
        if (rank > 0) {
            base_section_put_span(settings, base_span_string(action->name));
            base_buffer_u32(settings, action->parent);
            base_buffer_u8(settings, (uint8_t)(action->side | action->as << 1));
            base_buffer_u8(settings, action->last_touch);
            base_buffer_u64(settings, (uint64_t)action->wait);
            base_buffer_u64(settings, (uint64_t)action->window);
        }
    }
}

static bool lane_name_fits(struct base_span name, const char *other)
{
    return base_span_equal(name, base_span_string(other));
}

// What differs between an action's saved settings and the configured ones; NULL: nothing.
static const char *lane_compare_action(const struct consumer_action_config *action, struct base_reader *state)
{
    struct base_span name = base_section_get_span(state);
    uint32_t parent = base_reader_u32(state);
    uint8_t side = base_reader_u8(state); // and what it counts as
    bool last_touch = base_reader_u8(state);
    int64_t wait = (int64_t)base_reader_u64(state);
    int64_t window = (int64_t)base_reader_u64(state);
    return !lane_name_fits(name, action->name)                                    ? "name"
           : parent != action->parent || side != (action->side | action->as << 1) ? "parent"
           : last_touch != action->last_touch                                     ? "join"
           : wait != action->wait                                                 ? "wait"
           : window != action->window                                             ? "window"
                                                                                  : NULL;
}

static int lane_differs(const struct consumer_lane_config *config, const char *action, const char *what,
                        struct base_error *error)
{
    return base_error_set(
        error, BASE_ECONFLICT,
        "the state of lane %u was saved under another configuration: %s%s%s is not the same", config->lane,
        action, *action ? "'s " : "", what);
}

static int lane_check_settings(const struct consumer_lane_config *config, struct base_reader *state,
                               uint32_t *saved, struct base_error *error)
{
    uint32_t number = base_reader_u32(state);
    uint32_t ranks = *saved = base_reader_u32(state);
    int64_t orphan_timeout = (int64_t)base_reader_u64(state);
    if (number != config->lane) {
        return base_error_set(error, BASE_EFORMAT, "the saved state of lane %u is of lane %u", config->lane,
                              number);
    }
    if (ranks < 2 || ranks > config->ranks) {
        return base_error_set(
            error, BASE_ECONFLICT,
            "the state of lane %u was saved with %u actions, and there are %u: an action can "
            "be added behind the others, not removed; put it back, with weight 0 if it is to "
            "teach nothing",
            config->lane, ranks - 1, config->ranks - 1);
    }
    if (orphan_timeout != config->orphan_timeout) {
        return lane_differs(config, "", "orphan_timeout", error);
    }
    for (uint32_t rank = 0; rank < ranks; rank++) {
        const struct consumer_action_config *action = &config->action[rank];
        // Of a topic that says nothing itself it is the longest window, a new action's too: ids that are
        // remembered then are so for longer.
        int64_t dedupe = (int64_t)base_reader_u64(state);
        bool longer = rank > 0 && ranks < config->ranks && dedupe < config->dedupe[rank];
        const char *what = dedupe != config->dedupe[rank] && !longer ? "dedupe" : NULL;
        if (!what && rank > 0) {
            what = lane_compare_action(action, state);
        }
        if (what) {
            return lane_differs(config, rank ? action->name : "impression", what, error);
        }
    }
    for (uint32_t rank = ranks; rank < config->ranks; rank++) {
        if (!config->action[rank].side) {
            return base_error_set(
                error, BASE_ECONFLICT,
                "action %s is new and a stage of the funnel: only side actions (with a parent) "
                "can be added to what has been learned, behind all others; a longer funnel "
                "begins in another state directory",
                config->action[rank].name);
        }
    }
    return 0;
}

// Everything that a save holds.
static int lane_restore(struct consumer_lane *lane, const struct consumer_lane_config *config,
                        const struct consumer_funnel *funnel, struct base_reader *state,
                        struct base_error *error)
{
    char what[64];
    snprintf(what, sizeof what, "the saved state of lane %u", lane->number);
    struct base_reader rest = *state;
    struct base_reader payload;
    uint32_t ranks;
    if (base_section_open(&rest, LANE_STATE_MAGIC, LANE_STATE_VERSION, &payload, what, error) != 0 ||
        lane_check_settings(config, &payload, &ranks, error) != 0) {
        return -1;
    }
    lane->now = (int64_t)base_reader_u64(&payload);
    if (base_reader_u32(&payload) != LANE_COUNTERS) {
        return base_error_set(error, BASE_EFORMAT, "%s has other counters", what);
    }
    uint64_t values[LANE_COUNTERS];
    for (size_t i = 0; i < LANE_COUNTERS; i++) {
        values[i] = base_reader_u64(&payload);
    }
    memcpy(&lane->counters, values, sizeof values);
    lane->joiner = consumer_joiner_restore(config, funnel, lane->pool, &lane->counters, ranks, lane->now,
                                           &payload, error);
    if (!lane->joiner || base_section_close(&payload, what, error) != 0) {
        return -1;
    }
    *state = rest;
    return 0;
}

// A lane with a new joiner, or, unless `state` is NULL, with what is restored in its place.
static struct consumer_lane *lane_make(const struct consumer_lane_config *config, struct base_reader *state,
                                       struct base_error *error)
{
    struct consumer_funnel funnel;
    size_t named = SIZE_MAX;
    if (consumer_funnel_compile(config, &funnel, error) != 0 ||
        lane_make_directory(config->disk, config->directory, state != NULL, &named, error) != 0) {
        return NULL;
    }
    struct consumer_lane *lane = base_alloc_zeroed(1, sizeof *lane);
    lane->number = config->lane;
    lane->ranks = config->ranks;
    lane->now = CONSUMER_TIME_MIN;
    memcpy(lane->allowed_lateness, config->allowed_lateness, sizeof lane->allowed_lateness);
    for (uint32_t rank = 0; rank < CONSUMER_TOPICS_MAX; rank++) {
        lane->partition[rank].watermark = CONSUMER_TIME_MIN;
    }
    size_t size = strlen(config->directory) + 1;
    lane->directory = memcpy(base_alloc(size), config->directory, size);
    lane->named = named;
    lane_write_settings(config, &lane->settings);
    lane->pool = consumer_pool_new();
    lane->heap = consumer_heap_new();
    int failed = 0;
    if (state) {
        failed = lane_restore(lane, config, &funnel, state, error);
    } else {
        lane->joiner = consumer_joiner_new(config, &funnel, lane->pool, &lane->counters, error);
    }
    if (failed || !lane->joiner) {
        consumer_lane_free(lane);
        return NULL;
    }
    return lane;
}

struct consumer_lane *consumer_lane_new(const struct consumer_lane_config *config, struct base_error *error)
{
    return lane_make(config, NULL, error);
}

void consumer_lane_free(struct consumer_lane *lane)
{
    if (!lane) {
        return;
    }
    while (consumer_heap_count(lane->heap)) {
        consumer_pool_give(lane->pool, consumer_heap_pop(lane->heap));
    }
    consumer_heap_free(lane->heap);
    consumer_joiner_free(lane->joiner);
    consumer_pool_free(lane->pool);
    base_buffer_free(&lane->settings);
    free(lane->directory);
    free(lane);
}

static int lane_check(const struct consumer_lane *lane, const struct consumer_event *event,
                      struct base_error *error)
{
    const char *what = NULL;
    if (event->rank >= lane->ranks || event->lane != lane->number) {
        what = "is of another lane";
    } else if (event->offset < lane->partition[event->rank].next_offset ||
               event->offset > CONSUMER_OFFSET_MAX) {
        what = "is out of its partition's order";
    } else if (event->event_time < -CONSUMER_TIME_BOUND || event->event_time > CONSUMER_TIME_BOUND) {
        what = "has an event time outside +-2^53";
    } else if (event->event_id.size > CONSUMER_ID_MAX || event->impression_id.size > CONSUMER_ID_MAX ||
               event->touch.size > CONSUMER_ID_MAX) {
        what = "has an id that is too long";
    } else if (event->rank == 0 && !event->impression_id.data) {
        what = "is an impression without an id";
    } else if (lane->partition[event->rank].watermark == CONSUMER_TIME_MAX) {
        what = "comes after its partition's last record";
    } else if (event->event_time <= lane->now && lane->partition[event->rank].watermark <= lane->now) {
        what = "lies at or before the lane's time";
    }
    return what ? base_error_set(error, BASE_EINVAL, "the event at lane %u, rank %u, offset %lld %s",
                                 event->lane, event->rank, (long long)event->offset, what)
                : 0;
}

// What reading an event does to its partition.
static void lane_pass(struct consumer_lane *lane, const struct consumer_event *event)
{
    lane->partition[event->rank].next_offset = event->offset + 1;
    consumer_lane_raise(lane, event->rank, event->event_time - lane->allowed_lateness[event->rank]);
}

int consumer_lane_push(struct consumer_lane *lane, const struct consumer_event *event,
                       struct base_error *error)
{
    if (lane_check(lane, event, error) != 0) {
        return -1;
    }
    struct lane_partition *partition = &lane->partition[event->rank];
    struct consumer_pending *pending = consumer_pool_take(lane->pool, event);
    pending->time = event->event_time;
    if (event->event_time < partition->watermark) {
        pending->time = partition->watermark;
        lane->counters.late[event->rank]++;
        lane->late_pending[event->rank]++;
    }
    lane_pass(lane, event);
    consumer_heap_push(lane->heap, pending);
    return 0;
}

void consumer_lane_raise(struct consumer_lane *lane, uint32_t rank, int64_t watermark)
{
    // Beyond this sums of times and windows would wrap.
    assert(rank < lane->ranks);
    assert(watermark == CONSUMER_TIME_MAX || watermark <= 4 * CONSUMER_TIME_BOUND);
    struct lane_partition *partition = &lane->partition[rank];
    if (watermark > partition->watermark) {
        partition->watermark = watermark;
    }
}

int64_t consumer_lane_partition_watermark(const struct consumer_lane *lane, uint32_t rank)
{
    assert(rank < lane->ranks);
    return lane->partition[rank].watermark;
}

int64_t consumer_lane_watermark(const struct consumer_lane *lane)
{
    int64_t least = CONSUMER_TIME_MAX;
    for (uint32_t rank = 0; rank < lane->ranks; rank++) {
        least = lane->partition[rank].watermark < least ? lane->partition[rank].watermark : least;
    }
    return least;
}

int64_t consumer_lane_next_time(const struct consumer_lane *lane)
{
    const struct consumer_pending *first = consumer_heap_first(lane->heap);
    int64_t cursors = consumer_joiner_next_time(lane->joiner);
    return first && first->time < cursors ? first->time : cursors;
}

// Handles one time of the lane: all its events, then all its cursors (rule 1).
static int lane_step(struct consumer_lane *lane, struct base_error *error)
{
    struct consumer_pending *first = consumer_heap_first(lane->heap);
    while (first && first->time == lane->now) {
        struct consumer_pending *handled = consumer_heap_pop(lane->heap);
        lane->late_pending[handled->event.rank] -= handled->time > handled->event.event_time;
        first = consumer_heap_first(lane->heap);
        if (first) {
            consumer_joiner_prefetch(lane->joiner, first);
        }
        if (consumer_joiner_handle(lane->joiner, handled, error) != 0) {
            return -1;
        }
    }
    return consumer_joiner_advance(lane->joiner, lane->now, error);
}

int consumer_lane_run(struct consumer_lane *lane, int64_t until, consumer_sample_sink *sink, void *context,
                      struct base_error *error)
{
    int64_t watermark = consumer_lane_watermark(lane);
    assert(until < watermark || watermark == CONSUMER_TIME_MAX);
    assert(!lane->failed);
    consumer_joiner_begin(lane->joiner, sink, context);
    for (;;) {
        int64_t time = consumer_lane_next_time(lane);
        if (time > until || time == CONSUMER_TIME_MAX) {
            return 0;
        }
        assert(time >= lane->now);
        lane->now = time;
        if (lane_step(lane, error) != 0) {
            lane->failed = true;
            return -1;
        }
    }
}

const struct consumer_lane_counters *consumer_lane_counters(const struct consumer_lane *lane)
{
    return &lane->counters;
}

struct consumer_lane_usage consumer_lane_usage(const struct consumer_lane *lane)
{
    struct consumer_lane_usage usage = {.pending = consumer_heap_count(lane->heap)};
    consumer_joiner_usage(lane->joiner, &usage);
    return usage;
}

// ---- saving and restoring ---------------------------------------------------

// The directories whose names the lane has made are durable when those above them are.
static void lane_sync_names(struct consumer_lane *lane, uint64_t cut, struct base_sync *sync)
{
    if (lane->named == SIZE_MAX) {
        return;
    }
    lane->named_cut = lane->named_cut ? lane->named_cut : cut;
    size_t length = strlen(lane->directory);
    char path[LANE_PATH_MAX];
    for (size_t begin = lane->named; begin < length; begin++) {
        if (begin > lane->named && lane->directory[begin - 1] != '/') {
            continue;
        }
        memcpy(path, lane->directory, begin);
        path[begin] = '\0';
        base_sync_add_directory(sync, begin ? path : ".");
    }
}

int consumer_lane_save(struct consumer_lane *lane, uint64_t cut, struct base_buffer *state,
                       struct base_sync *sync, struct base_error *error)
{
    assert(!lane->failed);
    size_t mark = base_section_begin(state, LANE_STATE_MAGIC, LANE_STATE_VERSION);
    base_buffer_append(state, lane->settings.data, lane->settings.size);
    base_buffer_u64(state, (uint64_t)lane->now);
    // What is late and not yet handled is read again, and counted then.
    struct consumer_lane_counters counters = lane->counters;
    for (uint32_t rank = 0; rank < lane->ranks; rank++) {
        counters.late[rank] -= lane->late_pending[rank];
    }
    uint64_t values[LANE_COUNTERS];
    memcpy(values, &counters, sizeof values);
    base_buffer_u32(state, LANE_COUNTERS);
    for (size_t i = 0; i < LANE_COUNTERS; i++) {
        base_buffer_u64(state, values[i]);
    }
    if (consumer_joiner_save(lane->joiner, cut, state, sync, error) != 0) {
        state->size = mark;
        return -1;
    }
    base_section_end(state, mark);
    lane_sync_names(lane, cut, sync);
    return 0;
}

void consumer_lane_cut_done(struct consumer_lane *lane, uint64_t cut)
{
    if (lane->named_cut && lane->named_cut <= cut) {
        lane->named = SIZE_MAX;
    }
    consumer_joiner_cut_done(lane->joiner, cut);
}

struct consumer_lane *consumer_lane_restore(const struct consumer_lane_config *config,
                                            struct base_reader *state, struct base_error *error)
{
    return lane_make(config, state, error);
}

uint32_t consumer_lane_generations(const struct consumer_lane *lane)
{
    return consumer_joiner_generations(lane->joiner);
}

int consumer_lane_check_columns(struct consumer_lane *lane, struct base_error *error)
{
    return consumer_joiner_check_columns(lane->joiner, error);
}

void consumer_lane_place(struct consumer_lane *lane, uint32_t rank, int64_t watermark, int64_t next_offset)
{
    assert(rank < lane->ranks && next_offset >= 0);
    lane->partition[rank] = (struct lane_partition){CONSUMER_TIME_MIN, next_offset};
    consumer_lane_raise(lane, rank, watermark);
}

void consumer_lane_skip(struct consumer_lane *lane, const struct consumer_event *event)
{
    assert(event->rank < lane->ranks && event->lane == lane->number);
    assert(event->offset >= lane->partition[event->rank].next_offset);
    lane_pass(lane, event);
}
