// Stories for the tests of a lane. See consumer_lane_story.h.
#include "consumer_lane_story.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

void story_begin(struct story *story)
{
    *story = (struct story){
        .config =
            {
                .ranks = 3,
                .action = {[1] = {.name = "click", .parent = 0, .wait = 10, .window = 20},
                           [2] = {.name = "purchase", .parent = 1, .wait = 15, .window = 100}},
                .dedupe = {20, 100, 100},
                .orphan_timeout = 50,
                .keep_negatives = 1,
                .segment_bytes = 4096,
            },
    };
    support_directory_make(story->directory);
    story->config.directory = story->directory;
}

void story_open(struct story *story)
{
    struct base_error error;
    story->lane = consumer_lane_new(&story->config, &error);
    cr_assert(story->lane, "%s", error.text);
}

int story_sink(void *context, const struct base_sample *sample, struct base_error *error)
{
    (void)error;
    struct story *story = context;
    uint32_t tasks = story->config.ranks - 1;
    size_t used = strlen(story->trace);
    used += (size_t)snprintf(story->trace + used, STORY_TRACE_MAX - used, "%s%s@%lld %.*s ", used ? ", " : "",
                             base_kind_name(sample->kind), (long long)sample->due_time,
                             (int)sample->impression_id.size, (const char *)sample->impression_id.data);
    for (uint32_t k = 0; k < tasks; k++) {
        if (sample->mask >> k & 1) {
            story->trace[used++] = "cpxyz"[k];
        }
    }
    story->trace[used++] = '/';
    for (uint32_t k = 0; k < tasks; k++) {
        story->trace[used++] = (char)('0' + sample->label[k]);
    }
    story->trace[used] = '\0';
    cr_assert_eq(sample->sequence, story->sequence++);
    story->last = *sample;
    return 0;
}

static struct base_span story_span(const char *text)
{
    return text ? base_span_string(text) : (struct base_span){0};
}

void story_push_full(struct story *story, uint32_t rank, int64_t time, const char *id, const char *reference,
                     const char *touch)
{
    struct base_error error;
    struct consumer_event event = {
        .rank = rank,
        .lane = story->config.lane,
        .offset = story->offset[rank]++,
        .event_time = time,
        .event_id = story_span(id),
        .impression_id = story_span(reference),
        .touch = story_span(touch),
        .value = NAN,
    };
    int pushed = consumer_lane_push(story->lane, &event, &error);
    cr_assert_eq(pushed, 0, "%s", error.text);
}

void story_push(struct story *story, uint32_t rank, int64_t time, const char *reference)
{
    story_push_full(story, rank, time, NULL, reference, NULL);
}

void story_run(struct story *story, int64_t until)
{
    struct base_error error;
    int result = consumer_lane_run(story->lane, until, story_sink, story, &error);
    cr_assert_eq(result, 0, "%s", error.text);
}

void story_finish(struct story *story)
{
    for (uint32_t rank = 0; rank < story->config.ranks; rank++) {
        consumer_lane_raise(story->lane, rank, CONSUMER_TIME_MAX);
    }
    story_run(story, CONSUMER_TIME_MAX);
    cr_assert_eq(consumer_lane_next_time(story->lane), CONSUMER_TIME_MAX);
}

void story_expect(struct story *story, const char *expected)
{
    story_finish(story);
    cr_assert_str_eq(story->trace, expected);
}

const struct consumer_lane_counters *story_counters(const struct story *story)
{
    return consumer_lane_counters(story->lane);
}

void story_end(struct story *story)
{
    consumer_lane_free(story->lane);
    support_directory_remove(story->directory);
}
