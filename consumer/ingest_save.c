// Ingest's part of the cut: what it saves at the frontier, and how it goes on from there. See ingest.h.
//
// Section FRSHINGS: cut, ranks, lanes, tick length, frontier, origin, journal from and end, counters; then of
// each partition, lane-major, what partition_put writes; then a section of each lane.
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/section.h"
#include "consumer/ingest_private.h"
#include "consumer/journal.h"

#define SAVE_MAGIC "FRSHINGS"
#define SAVE_WHAT "ingest's saved state"
#define SAVE_TIME_MAX (4 * CONSUMER_TIME_BOUND) // of a watermark
enum { SAVE_VERSION = 1 };

struct save_head {
    struct consumer_ingest_saved saved; // its journal: from
    int64_t tick_ms, origin;
    uint64_t journal_end;
    uint64_t read, events, dead, future, raises, samples, ticks;
};

struct save_partition {
    int64_t offset;            // the first that is not handled
    int64_t watermark;         // before it
    struct consumer_mark last; // before it
    int64_t counted;           // what was read lies below
};

// ---- bytes ------------------------------------------------------------------

static void head_put(struct base_buffer *state, const struct save_head *head)
{
    base_buffer_u64(state, head->saved.cut);
    base_buffer_u32(state, head->saved.ranks);
    base_buffer_u32(state, head->saved.lanes);
    const uint64_t numbers[] = {
        (uint64_t)head->tick_ms,
        (uint64_t)head->saved.frontier,
        (uint64_t)head->origin,
        head->saved.journal,
        head->journal_end,
        head->read,
        head->events,
        head->dead,
        head->future,
        head->raises,
        head->samples,
        head->ticks,
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        base_buffer_u64(state, numbers[i]);
    }
}

static int head_get(struct base_reader *reader, struct save_head *head, struct base_error *error)
{
    head->saved.cut = base_reader_u64(reader);
    head->saved.ranks = base_reader_u32(reader);
    head->saved.lanes = base_reader_u32(reader);
    head->tick_ms = (int64_t)base_reader_u64(reader);
    head->saved.frontier = (int64_t)base_reader_u64(reader);
    head->origin = (int64_t)base_reader_u64(reader);
    uint64_t *const numbers[] = {&head->saved.journal, &head->journal_end, &head->read,
                                 &head->events,        &head->dead,        &head->future,
                                 &head->raises,        &head->samples,     &head->ticks};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        *numbers[i] = base_reader_u64(reader);
    }
    if (reader->failed || head->saved.ranks == 0 || head->saved.ranks > CONSUMER_TOPICS_MAX ||
        head->saved.lanes == 0 || head->saved.lanes > CONSUMER_LANES_MAX) {
        return base_error_set(error, BASE_EFORMAT, SAVE_WHAT " is of no topics or partitions that can be");
    }
    return 0;
}

static void partition_put(struct base_buffer *state, const struct save_partition *partition)
{
    base_buffer_u64(state, (uint64_t)partition->offset);
    base_buffer_u64(state, (uint64_t)partition->watermark);
    base_buffer_u64(state, (uint64_t)partition->last.offset);
    base_buffer_u64(state, partition->last.hash);
    base_buffer_u64(state, (uint64_t)partition->counted);
}

static struct save_partition partition_get(struct base_reader *reader)
{
    struct save_partition partition;
    partition.offset = (int64_t)base_reader_u64(reader);
    partition.watermark = (int64_t)base_reader_u64(reader);
    partition.last.offset = (int64_t)base_reader_u64(reader);
    partition.last.hash = base_reader_u64(reader);
    partition.counted = (int64_t)base_reader_u64(reader);
    return partition;
}

static int state_open(struct base_span state, struct base_reader *payload, struct save_head *head,
                      struct base_error *error)
{
    struct base_reader reader = {.rest = state};
    if (base_section_open(&reader, SAVE_MAGIC, SAVE_VERSION, payload, SAVE_WHAT, error)) {
        return -1;
    }
    return head_get(payload, head, error);
}

// ---- saving -----------------------------------------------------------------

static struct save_partition partition_state(const struct consumer_ingest *ingest,
                                             struct ingest_partition *partition, uint64_t *journal)
{
    const struct consumer_unhandled_record *first =
        consumer_unhandled_first(&partition->unhandled, ingest->frontier);
    struct save_partition state = {
        .offset = first ? first->offset : partition->offset,
        .watermark = first ? first->watermark : partition->watermark,
        .last = first ? first->last : partition->last,
        .counted = partition->offset > partition->counted ? partition->offset : partition->counted,
    };
    if (ingest->config.journal) {
        uint64_t needed =
            first ? first->journal
                  : consumer_journal_needed(ingest->config.journal, partition->rank, partition->lane);
        *journal = needed < *journal ? needed : *journal;
    }
    return state;
}

int consumer_ingest_save(struct consumer_ingest *ingest, uint64_t cut, struct base_buffer *state,
                         struct base_sync *sync, struct base_error *error)
{
    // Counters and watermarks rest on decisions, of which some may be above the last tick.
    if (consumer_ingest_sync_decisions(ingest, error)) {
        return -1;
    }
    uint64_t end = ingest->config.journal ? consumer_journal_position(ingest->config.journal) : 0;
    struct save_head head = {
        .saved = {cut, ingest->config.source->ranks, ingest->lanes, ingest->frontier, end},
        .tick_ms = ingest->config.tick_ms,
        .origin = ingest->origin,
        .journal_end = end,
        .read = ingest->read,
        .events = ingest->events,
        .dead = ingest->dead,
        .future = ingest->future,
        .raises = ingest->raises,
        .samples = ingest->sample_total,
        .ticks = ingest->ticks,
    };
    struct save_partition *partitions = base_alloc_zeroed(ingest->partitions, sizeof *partitions);
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        partitions[i] = partition_state(ingest, &ingest->partition[i], &head.saved.journal);
    }
    size_t begin = state->size;
    size_t mark = base_section_begin(state, SAVE_MAGIC, SAVE_VERSION);
    head_put(state, &head);
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        partition_put(state, &partitions[i]);
    }
    free(partitions);
    for (uint32_t i = 0; i < ingest->lanes; i++) {
        if (consumer_lane_save(ingest->lane[i], cut, state, sync, error)) {
            state->size = begin;
            return base_error_prefix(error, "lane %u", i);
        }
    }
    base_section_end(state, mark);
    base_failpoint("ingest.saved");
    return 0;
}

void consumer_ingest_cut_done(struct consumer_ingest *ingest, uint64_t cut)
{
    for (uint32_t i = 0; i < ingest->lanes; i++) {
        consumer_lane_cut_done(ingest->lane[i], cut);
    }
}

// ---- restoring --------------------------------------------------------------

// Where reading goes on, if the journal skips something there. The record before a skip is not looked at: the
// operator has said that the log is another one.
static void partition_skip(struct save_partition *partition, const struct consumer_journal *journal,
                           uint32_t rank, uint32_t lane)
{
    if (!journal) {
        return;
    }
    int64_t offset = consumer_journal_beyond(journal, rank, lane, partition->offset);
    if (offset != partition->offset ||
        (partition->last.offset >= 0 &&
         consumer_journal_beyond(journal, rank, lane, partition->last.offset) != partition->last.offset)) {
        partition->last = (struct consumer_mark){.offset = -1};
    }
    partition->offset = offset;
}

static int64_t partition_begin(const struct save_partition *partition)
{
    return partition->last.offset >= 0 ? partition->last.offset : partition->offset;
}

static int ingest_check_head(const struct consumer_ingest *ingest, const struct save_head *head,
                             struct base_error *error)
{
    const struct consumer_source *source = ingest->config.source;
    if (head->saved.ranks != source->ranks || head->saved.lanes != source->lanes) {
        return base_error_set(error, BASE_ECONFLICT,
                              SAVE_WHAT " is of %u topics of %u partitions, the source has %u of %u",
                              head->saved.ranks, head->saved.lanes, source->ranks, source->lanes);
    }
    if (head->tick_ms != ingest->config.tick_ms) {
        return base_error_set(error, BASE_ECONFLICT,
                              SAVE_WHAT " has ticks of %lld ms, the configuration %lld",
                              (long long)head->tick_ms, (long long)ingest->config.tick_ms);
    }
    const struct consumer_journal *journal = ingest->config.journal;
    if (journal && consumer_journal_position(journal) < head->journal_end) {
        return base_error_set(
            error, BASE_EFORMAT, "the journal ends at position %llu, it had %llu when the state was saved",
            (unsigned long long)consumer_journal_position(journal), (unsigned long long)head->journal_end);
    }
    return 0;
}

static void ingest_set_head(struct consumer_ingest *ingest, const struct save_head *head)
{
    ingest->frontier = head->saved.frontier;
    ingest->origin = head->origin;
    ingest->read = head->read;
    ingest->events = head->events;
    ingest->dead = head->dead;
    ingest->future = head->future;
    ingest->raises = head->raises;
    ingest->sample_total = head->samples;
    ingest->ticks = head->ticks;
}

static int partition_restore(const struct consumer_ingest *ingest, struct ingest_partition *partition,
                             struct save_partition *saved, struct base_error *error)
{
    partition_skip(saved, ingest->config.journal, partition->rank, partition->lane);
    if (partition->offset != partition_begin(saved)) { // as yet the source's
        return base_error_set(
            error, BASE_EINVAL,
            "topic %s, partition %u: the source begins at offset %lld, the saved state at %lld",
            ingest->config.topics[partition->rank], partition->lane, (long long)partition->offset,
            (long long)partition_begin(saved));
    }
    if (saved->offset < 0 || (saved->watermark > SAVE_TIME_MAX && saved->watermark != CONSUMER_TIME_MAX)) {
        return base_error_set(error, BASE_EFORMAT,
                              SAVE_WHAT ": topic %s, partition %u: numbers that cannot be",
                              ingest->config.topics[partition->rank], partition->lane);
    }
    partition->offset = saved->offset;
    partition->watermark = saved->watermark;
    partition->last = saved->last;
    partition->expected = saved->last.offset >= 0;
    partition->counted = saved->counted;
    return 0;
}

int consumer_ingest_restore(struct consumer_ingest *ingest, struct base_error *error)
{
    struct base_reader reader;
    struct save_head head;
    if (state_open(ingest->config.restore, &reader, &head, error) ||
        ingest_check_head(ingest, &head, error)) {
        return -1;
    }
    ingest_set_head(ingest, &head);
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        struct save_partition saved = partition_get(&reader);
        if (partition_restore(ingest, &ingest->partition[i], &saved, error)) {
            return -1;
        }
    }
    for (uint32_t lane = 0; lane < ingest->lanes; lane++) {
        char directory[INGEST_PATH_MAX];
        struct consumer_lane_config config = consumer_ingest_lane_config(ingest, lane, directory);
        ingest->lane[lane] = consumer_lane_restore(&config, &reader, error);
        if (!ingest->lane[lane]) {
            return base_error_prefix(error, "lane %u", lane);
        }
        for (uint32_t rank = 0; rank < head.saved.ranks; rank++) {
            const struct ingest_partition *partition = &ingest->partition[lane * head.saved.ranks + rank];
            consumer_lane_place(ingest->lane[lane], rank, partition->watermark, partition->offset);
        }
    }
    return base_section_close(&reader, SAVE_WHAT, error);
}

// ---- before anything is opened ----------------------------------------------

int consumer_ingest_saved(struct base_span state, struct consumer_ingest_saved *saved,
                          struct base_error *error)
{
    struct base_reader reader;
    struct save_head head;
    if (state_open(state, &reader, &head, error)) {
        return -1;
    }
    *saved = head.saved;
    return 0;
}

int consumer_ingest_offsets(struct base_span state, const struct consumer_journal *journal, uint32_t ranks,
                            uint32_t *lanes, int64_t *offsets, struct base_error *error)
{
    struct base_reader reader;
    struct save_head head;
    if (state_open(state, &reader, &head, error)) {
        return -1;
    }
    if (head.saved.ranks != ranks) {
        return base_error_set(error, BASE_ECONFLICT, SAVE_WHAT " is of %u topics, not %u", head.saved.ranks,
                              ranks);
    }
    for (uint32_t i = 0; i < ranks * head.saved.lanes; i++) {
        struct save_partition partition = partition_get(&reader);
        uint32_t rank = i % ranks, lane = i / ranks;
        partition_skip(&partition, journal, rank, lane);
        offsets[rank * head.saved.lanes + lane] = partition_begin(&partition);
    }
    if (reader.failed) {
        return base_error_set(error, BASE_EFORMAT, SAVE_WHAT " is shorter than its format says");
    }
    *lanes = head.saved.lanes;
    return 0;
}
