// The world of ingest's tests. See consumer_ingest_world.h.
#include "consumer_ingest_world.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer/schema.h"

enum { STEPS_MAX = 200000, TICK_MS = 10 };

const char world_impression_schema[] =
    "{\"type\":\"record\",\"name\":\"I\",\"fields\":["
    "{\"name\":\"id\",\"type\":\"string\"},{\"name\":\"time\",\"type\":\"long\"}]}";
const char world_action_schema[] =
    "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"id\",\"type\":\"string\"},"
    "{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"of\",\"type\":\"string\"}]}";

static uint64_t world_draw(struct world *world, uint64_t below)
{
    return base_random_bits(world->lazy, world->draws++) % below;
}

// ---- the source ----

static int world_poll(struct consumer_source *source, uint32_t rank, uint32_t lane, int timeout_ms,
                      struct consumer_message *messages, int max, struct base_error *error)
{
    struct world *world = (struct world *)source;
    struct world_partition *partition = &world->partitions[rank][lane];
    cr_assert_eq(timeout_ms, 0);
    partition->polls++;
    if (partition->error_once) {
        enum base_error_code code = partition->error_once == 1 ? BASE_ENETWORK : BASE_ENOTFOUND;
        partition->error_once = 0;
        return base_error_set(error, code, "scripted");
    }
    int limit = world->lazy ? (int)world_draw(world, (uint64_t)world->fetch + 1) : world->fetch;
    int count = 0;
    while (count < limit && count < max && partition->delivered < partition->visible) {
        const struct world_record *record = &partition->records[partition->delivered];
        messages[count++] = (struct consumer_message){
            .rank = rank,
            .lane = lane,
            .offset = partition->delivered++,
            .timestamp = record->timestamp,
            .value = record->value,
            .bare = !partition->framed,
            .schema = rank > 0,
        };
    }
    return count;
}

static void world_wait(struct consumer_source *source, int timeout_ms)
{
    struct world *world = (struct world *)source;
    world->waits++;
    world->now_ns += timeout_ms * INT64_C(1000000);
    for (uint32_t rank = 0; world->lazy && rank < WORLD_RANKS; rank++) {
        for (uint32_t lane = 0; lane < source->lanes; lane++) {
            struct world_partition *partition = &world->partitions[rank][lane];
            uint32_t more = (uint32_t)world_draw(world, 20);
            uint32_t left = partition->stalled ? 0 : partition->count - partition->visible;
            partition->visible += more < left ? more : left;
        }
    }
}

static void world_position(struct consumer_source *source, uint32_t rank, uint32_t lane,
                           struct consumer_position *position)
{
    struct world *world = (struct world *)source;
    const struct world_partition *partition = &world->partitions[rank][lane];
    *position = (struct consumer_position){
        .next = partition->delivered,
        .end = partition->visible,
        .caught_up = !partition->silent && partition->delivered == partition->visible,
        .fresh_ns = world->now_ns,
        .finished = world->bounded && partition->delivered == partition->count,
    };
}

static const char *world_schema(struct consumer_source *source, uint32_t schema)
{
    (void)source;
    return schema ? world_action_schema : world_impression_schema;
}

static const struct consumer_source_operations world_operations = {
    .poll = world_poll, .wait = world_wait, .position = world_position, .schema = world_schema};

// ---- the sink ----

static int world_tick(void *context, int64_t tick, const struct base_sample *samples, size_t count,
                      struct base_error *error)
{
    struct world *world = context;
    cr_assert(tick > world->last_tick, "ticks go up");
    world->last_tick = tick;
    for (size_t i = 0; i < count; i++) {
        const struct base_sample *sample = &samples[i];
        int64_t floor =
            sample->due_time >= 0 ? sample->due_time / TICK_MS : -((-sample->due_time - 1) / TICK_MS) - 1;
        cr_assert_eq(floor, tick);
        char line[160];
        int size = snprintf(line, sizeof line, "%" PRId64 " %" PRId64 " %u %" PRIu64 " %s %.*s\n", tick,
                            sample->due_time, sample->lane, sample->sequence, base_kind_name(sample->kind),
                            (int)sample->impression_id.size, (const char *)sample->impression_id.data);
        base_buffer_append(&world->trace, line, (size_t)size);
        if (i > 0) {
            const struct base_sample *before = &samples[i - 1];
            cr_assert(before->due_time < sample->due_time ||
                      (before->due_time == sample->due_time &&
                       (before->lane < sample->lane ||
                        (before->lane == sample->lane && before->sequence < sample->sequence))));
        }
    }
    world->samples += count;
    if (world->fail_tick && --world->fail_tick == 0) {
        return base_error_set(error, BASE_ESTOPPED, "the sink stops");
    }
    return 0;
}

static int world_decide(void *context, const struct consumer_ingest_decision *decision,
                        struct base_error *error)
{
    (void)error;
    struct world *world = context;
    world->decision = *decision;
    world->decisions++;
    return 0;
}

// ---- life ----

static int64_t world_monotonic(void *context)
{
    return ((const struct world *)context)->now_ns;
}

static int64_t world_wall(void *context)
{
    return ((const struct world *)context)->now_ns / 1000000;
}

void world_begin(struct world *world, uint32_t lanes)
{
    *world = (struct world){
        .source = {.operations = &world_operations, .ranks = WORLD_RANKS, .lanes = lanes},
        .bounded = true,
        .fetch = 1000,
        .clock = {world_monotonic, world_wall, world},
        .now_ns = INT64_C(1000000000),
        .sink = {.tick = world_tick, .context = world, .decide = world_decide},
        .last_tick = INT64_MIN,
        .config = {.topics = {"impressions", "clicks", "purchases"},
                   .tick_ms = TICK_MS,
                   .read_ahead_ms = 1000,
                   .last_tick = INT64_MAX,
                   .lane = {.ranks = WORLD_RANKS,
                            .action = {[1] = {.name = "click", .parent = 0, .wait = 10, .window = 20},
                                       [2] = {.name = "purchase", .parent = 1, .wait = 15, .window = 100}},
                            .dedupe = {20, 100, 100},
                            .orphan_timeout = 50,
                            .keep_negatives = 1,
                            .segment_bytes = 4096}},
    };
    support_directory_make(world->directory);
    world->config.source = &world->source;
    world->config.clock = &world->clock;
    world->config.directory = world->directory;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void world_remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void world_end(struct world *world)
{
    consumer_ingest_free(world->ingest);
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        consumer_decoder_free(world->decoders[rank]);
        for (uint32_t lane = 0; lane < WORLD_LANES_MAX; lane++) {
            struct world_partition *partition = &world->partitions[rank][lane];
            for (uint32_t i = 0; i < partition->count; i++) {
                free((void *)(uintptr_t)partition->records[i].value.data);
            }
            free(partition->records);
        }
    }
    base_buffer_free(&world->trace);
    world_remove_tree(world->directory);
}

void world_encode(struct base_buffer *buffer, uint32_t rank, const char *id, int64_t time, const char *of)
{
    consumer_schema_put_bytes(buffer, base_span_string(id));
    consumer_schema_put_long(buffer, time);
    if (rank > 0) {
        consumer_schema_put_bytes(buffer, base_span_string(of));
    }
}

void world_add_bytes(struct world *world, uint32_t rank, uint32_t lane, int64_t timestamp,
                     struct base_span value)
{
    struct world_partition *partition = &world->partitions[rank][lane];
    partition->records =
        base_realloc(partition->records, (partition->count + 1) * sizeof *partition->records);
    uint8_t *copy = base_alloc(value.size + 1);
    memcpy(copy, value.data, value.size);
    partition->records[partition->count++] =
        (struct world_record){timestamp, base_span_make(copy, value.size)};
    partition->visible = world->lazy ? 0 : partition->count;
}

void world_insert(struct world *world, uint32_t rank, uint32_t lane, uint32_t index, int64_t timestamp,
                  struct base_span value)
{
    world_add_bytes(world, rank, lane, timestamp, value);
    struct world_partition *partition = &world->partitions[rank][lane];
    struct world_record last = partition->records[partition->count - 1];
    memmove(&partition->records[index + 1], &partition->records[index],
            (partition->count - 1 - index) * sizeof last);
    partition->records[index] = last;
}

void world_add(struct world *world, uint32_t rank, uint32_t lane, const char *id, int64_t time,
               const char *of)
{
    struct base_buffer buffer = {0};
    world_encode(&buffer, rank, id, time, of);
    world_add_bytes(world, rank, lane, -1, base_buffer_span(&buffer));
    base_buffer_free(&buffer);
}

void world_open_decoders(struct world *world)
{
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        struct consumer_decoder_config config = {
            .topic = world->config.topics[rank],
            .rank = rank,
            .framing = CONSUMER_FRAMING_BARE,
            .event_time = "time",
            .event_id = rank ? "id" : NULL,
            .impression_id = rank ? "of" : "id",
            .weight = rank ? NULL : world->weight,
        };
        if (!world->config.decoders[rank]) { // else the test's own
            world->decoders[rank] = consumer_decoder_new(&config, NULL, &world->error);
            cr_assert(world->decoders[rank], "%s", world->error.text);
            world->config.decoders[rank] = world->decoders[rank];
        }
    }
}

void world_open_with(struct world *world, struct consumer_source *source)
{
    world->config.source = source;
    world_open_decoders(world);
    world->ingest = consumer_ingest_new(&world->config, &world->error);
    cr_assert(world->ingest, "%s", world->error.text);
}

void world_open(struct world *world)
{
    world_open_with(world, &world->source);
}

int world_step(struct world *world, int timeout_ms)
{
    return consumer_ingest_step(world->ingest, timeout_ms, &world->sink, &world->error);
}

void world_run(struct world *world)
{
    for (int i = 0; i < STEPS_MAX && !consumer_ingest_done(world->ingest); i++) {
        int status = world_step(world, 10);
        cr_assert_eq(status, 0, "%s", world->error.text);
    }
    cr_assert(consumer_ingest_done(world->ingest), "it ends");
}

struct consumer_ingest_state world_state(struct world *world)
{
    struct consumer_ingest_state state;
    consumer_ingest_state(world->ingest, &state);
    return state;
}

const char *world_trace(struct world *world)
{
    base_buffer_u8(&world->trace, 0);
    world->trace.size--;
    return (const char *)world->trace.data;
}

// ---- random content ----

struct draft {
    int64_t time;
    int64_t place; // what orders the partition: the time, disturbed
    char id[24], of[24];
};

static int draft_compare(const void *a, const void *b)
{
    const struct draft *left = a, *right = b;
    if (left->place != right->place) {
        return left->place < right->place ? -1 : 1;
    }
    return strcmp(left->id, right->id);
}

static int64_t draw(uint64_t seed, uint64_t *draws, int64_t below)
{
    return (int64_t)(base_random_bits(seed, (*draws)++) % (uint64_t)below);
}

void world_populate(struct world *world, uint64_t seed, int count, int64_t lateness)
{
    uint64_t draws = 0;
    for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
        world->config.lane.allowed_lateness[rank] = lateness;
    }
    struct draft *drafts[WORLD_RANKS];
    for (uint32_t lane = 0; lane < world->source.lanes; lane++) {
        int counts[WORLD_RANKS] = {0};
        for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
            drafts[rank] = base_alloc_zeroed((size_t)count, sizeof *drafts[rank]);
        }
        for (int i = 0; i < count; i++) {
            int64_t time = draw(seed, &draws, 5 * count) - count; // some before 1970
            struct draft *draft = &drafts[0][counts[0]++];
            snprintf(draft->id, sizeof draft->id, "i%u.%d", lane, i);
            draft->time = time;
            for (uint32_t rank = 1; rank < WORLD_RANKS && draw(seed, &draws, 3) > 0; rank++) {
                struct draft *action = &drafts[rank][counts[rank]++];
                time += draw(seed, &draws, 30) - 2;
                action->time = time;
                snprintf(action->id, sizeof action->id, "%u.%u.%d", rank, lane, i);
                snprintf(action->of, sizeof action->of, "%s", draft->id);
            }
        }
        for (uint32_t rank = 0; rank < WORLD_RANKS; rank++) {
            for (int i = 0; i < counts[rank]; i++) {
                // Twice the lateness: some records are late.
                drafts[rank][i].place = drafts[rank][i].time + draw(seed, &draws, 2 * lateness + 1);
            }
            qsort(drafts[rank], (size_t)counts[rank], sizeof *drafts[rank], draft_compare);
            for (int i = 0; i < counts[rank]; i++) {
                const struct draft *draft = &drafts[rank][i];
                world_add(world, rank, lane, draft->id, draft->time, draft->of);
            }
            free(drafts[rank]);
        }
    }
}
