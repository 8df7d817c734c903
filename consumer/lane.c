// A lane: watermarks, the heap of pending events, and the loop over its time. See lane.h; what a time's
// events and cursors do is the joiner's.
#include "consumer/lane.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "consumer/joiner.h"
#include "consumer/pending.h"

enum { LANE_PATH_MAX = 3072 }; // characters of the directory; file names follow

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
    int64_t now;
    bool failed;
};

// Makes a directory and those above it.
static int lane_make_directory(const char *directory, struct base_error *error)
{
    char path[LANE_PATH_MAX];
    size_t length = strlen(directory);
    if (length >= sizeof path) {
        return base_error_set(error, BASE_EINVAL, "the directory's name %.40s... is too long", directory);
    }
    memcpy(path, directory, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        char saved = path[i];
        path[i] = '\0';
        if (mkdir(path, 0750) != 0 && errno != EEXIST) {
            return base_error_set_errno(error, BASE_EIO, errno, "cannot make the directory %s", path);
        }
        path[i] = saved;
    }
    return 0;
}

struct consumer_lane *consumer_lane_new(const struct consumer_lane_config *config, struct base_error *error)
{
    struct consumer_funnel funnel;
    if (consumer_funnel_compile(config, &funnel, error) != 0 ||
        lane_make_directory(config->directory, error) != 0) {
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
    lane->pool = consumer_pool_new();
    lane->heap = consumer_heap_new();
    lane->joiner = consumer_joiner_new(config, &funnel, lane->pool, &lane->counters, error);
    if (!lane->joiner) {
        consumer_lane_free(lane);
        return NULL;
    }
    return lane;
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
    }
    return what ? base_error_set(error, BASE_EINVAL, "the event at lane %u, rank %u, offset %lld %s",
                                 event->lane, event->rank, (long long)event->offset, what)
                : 0;
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
    }
    partition->next_offset = event->offset + 1;
    consumer_lane_raise(lane, event->rank, event->event_time - lane->allowed_lateness[event->rank]);
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
