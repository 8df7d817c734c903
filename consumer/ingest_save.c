// Ingest's part of the cut: what it saves at the frontier, and how it goes on from there. See ingest.h.
//
// Section FRSHINGS: cut, ranks, lanes, tick length, frontier, origin, journal from and end, counters; from
// version 2 on the generations (a span, generations.c); then of each partition, lane-major, what
// partition_put writes; then a section of each lane. Version 1 is written where columns have no names.
#include <stdlib.h>

#include "base/failpoint.h"
#include "base/section.h"
#include "consumer/ingest_private.h"
#include "consumer/journal.h"

#define SAVE_MAGIC "FRSHINGS"
#define SAVE_WHAT "ingest's saved state"
#define SAVE_TIME_MAX (4 * CONSUMER_TIME_BOUND) // of a watermark
enum { SAVE_VERSION = 2, SAVE_VERSION_NAMELESS = 1 };

struct save_head {
    struct consumer_ingest_saved saved; // its journal: from
    int64_t tick_ms, origin;
    uint64_t journal_end;
    struct consumer_ingest_counts counts;
    struct base_span generations; // null: version 1
};

struct save_partition {
    int64_t offset;            // the first that is not handled
    int64_t watermark;         // before it
    struct consumer_mark last; // before it
    int64_t counted;           // what was read lies below
};

// ---- bytes ------------------------------------------------------------------

// The struct is an array of uint64_t by another name.
enum { SAVE_COUNTS = sizeof(struct consumer_ingest_counts) / sizeof(uint64_t) };
_Static_assert(sizeof(struct consumer_ingest_counts) % sizeof(uint64_t) == 0, "counters only");

static void head_put(struct base_buffer *state, const struct save_head *head)
{
    base_buffer_u64(state, head->saved.cut);
    base_buffer_u32(state, head->saved.ranks);
    base_buffer_u32(state, head->saved.lanes);
    base_buffer_u64(state, (uint64_t)head->tick_ms);
    base_buffer_u64(state, (uint64_t)head->saved.frontier);
    base_buffer_u64(state, (uint64_t)head->origin);
    base_buffer_u64(state, head->saved.journal);
    base_buffer_u64(state, head->journal_end);
    const uint64_t *counts = (const uint64_t *)&head->counts;
    for (size_t i = 0; i < SAVE_COUNTS; i++) {
        base_buffer_u64(state, counts[i]);
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
    head->saved.journal = base_reader_u64(reader);
    head->journal_end = base_reader_u64(reader);
    uint64_t *counts = (uint64_t *)&head->counts;
    for (size_t i = 0; i < SAVE_COUNTS; i++) {
        counts[i] = base_reader_u64(reader);
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
    struct base_reader reader = {.rest = state}, version = reader;
    if (base_section_open(&reader, SAVE_MAGIC, SAVE_VERSION, payload, SAVE_WHAT, error) ||
        head_get(payload, head, error)) {
        return -1;
    }
    base_reader_bytes(&version, strlen(SAVE_MAGIC));
    head->generations = (struct base_span){0};
    if (base_reader_u32(&version) > SAVE_VERSION_NAMELESS) {
        head->generations = base_section_get_span(payload);
        if (!head->generations.data) {
            return base_error_set(error, BASE_EFORMAT, SAVE_WHAT " names no columns");
        }
    }
    return 0;
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
        .counts = ingest->counts,
    };
    struct save_partition *partitions = base_alloc_zeroed(ingest->partitions, sizeof *partitions);
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        partitions[i] = partition_state(ingest, &ingest->partition[i], &head.saved.journal);
    }
    size_t begin = state->size;
    size_t mark =
        base_section_begin(state, SAVE_MAGIC, ingest->generations ? SAVE_VERSION : SAVE_VERSION_NAMELESS);
    head_put(state, &head);
    if (ingest->generations) {
        struct base_buffer generations = {0};
        consumer_generations_save(ingest->generations, &generations);
        base_section_put_span(state, base_buffer_span(&generations));
        base_buffer_free(&generations);
    }
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

// Where reading goes on, if the operator has decided something there. The record before is then not looked
// at: it is gone, or the log is another one. Errors: consumer_journal_replaced's.
static int partition_decided(struct save_partition *partition, const struct consumer_journal *journal,
                             uint32_t rank, uint32_t lane, uint64_t cut, struct base_error *error)
{
    if (!journal) {
        return 0;
    }
    static const struct consumer_mark none = {.offset = -1};
    int64_t replaced = consumer_journal_replaced(journal, rank, lane, cut, error);
    if (replaced < -1) {
        return -1;
    }
    if (replaced >= 0) {
        partition->offset = replaced;
        partition->last = none;
        partition->counted = INT64_MIN; // offsets begin anew
    }
    int64_t offset = consumer_journal_beyond(journal, rank, lane, partition->offset);
    if (offset != partition->offset ||
        (partition->last.offset >= 0 &&
         consumer_journal_beyond(journal, rank, lane, partition->last.offset) != partition->last.offset)) {
        partition->last = none;
    }
    partition->offset = offset;
    return 0;
}

static int64_t partition_begin(const struct save_partition *partition)
{
    return partition->last.offset >= 0 ? partition->last.offset : partition->offset;
}

static int ingest_check_head(const struct consumer_ingest *ingest, const struct save_head *head,
                             struct base_error *error)
{
    const struct consumer_source *source = ingest->config.source;
    const struct consumer_journal *journal = ingest->config.journal;
    uint32_t lanes = journal ? consumer_journal_lanes(journal) : head->saved.lanes; // some may be new
    if (head->saved.ranks > source->ranks || head->saved.lanes > lanes || lanes != source->lanes) {
        return base_error_set(error, BASE_ECONFLICT,
                              SAVE_WHAT " is of %u topics of %u partitions, the source has %u of %u",
                              head->saved.ranks, head->saved.lanes, source->ranks, source->lanes);
    }
    if (head->tick_ms != ingest->config.tick_ms) {
        return base_error_set(error, BASE_ECONFLICT,
                              SAVE_WHAT " has ticks of %lld ms, the configuration %lld",
                              (long long)head->tick_ms, (long long)ingest->config.tick_ms);
    }
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
    ingest->counts = head->counts;
}

// What is new lies above what was handled.
static void partition_set_floor(const struct consumer_ingest *ingest, struct ingest_partition *partition)
{
    if (ingest->frontier != CONSUMER_TIME_MIN && ingest->frontier != CONSUMER_TIME_MAX) {
        partition->floor = ingest->frontier + 1;
    }
}

static int partition_restore(const struct consumer_ingest *ingest, struct ingest_partition *partition,
                             struct save_partition *saved, uint64_t cut, struct base_error *error)
{
    if (partition_decided(saved, ingest->config.journal, partition->rank, partition->lane, cut, error)) {
        return base_error_prefix(error, "topic %s, partition %u", ingest->config.topics[partition->rank],
                                 partition->lane);
    }
    int64_t begin = partition->offset; // as yet the source's
    if (begin != partition_begin(saved) && begin != saved->offset) {
        return base_error_set(
            error, BASE_EINVAL,
            "topic %s, partition %u: the source begins at offset %lld, the saved state at %lld",
            ingest->config.topics[partition->rank], partition->lane, (long long)begin,
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
    partition->expected = begin != saved->offset; // else it was cut by retention
    partition->counted = saved->counted;
    partition_set_floor(ingest, partition);
    return 0;
}

// The lanes that were saved, then those that came to be since.
static int ingest_restore_lane(struct consumer_ingest *ingest, uint32_t lane, uint32_t saved_ranks,
                               struct base_reader *reader, struct base_error *error)
{
    char directory[INGEST_PATH_MAX];
    struct consumer_lane_config config = consumer_ingest_lane_config(ingest, lane, directory);
    ingest->lane[lane] =
        reader ? consumer_lane_restore(&config, reader, error) : consumer_lane_new(&config, error);
    if (!ingest->lane[lane]) {
        return base_error_prefix(error, "lane %u", lane);
    }
    uint32_t ranks = ingest->config.source->ranks;
    for (uint32_t rank = 0; reader && rank < saved_ranks; rank++) {
        const struct ingest_partition *partition = &ingest->partition[lane * ranks + rank];
        consumer_lane_place(ingest->lane[lane], rank, partition->watermark, partition->offset);
    }
    return 0;
}

static int ingest_restore_generations(struct consumer_ingest *ingest, const struct save_head *head,
                                      struct base_error *error)
{
    if (!ingest->generations) {
        return head->saved.ranks == ingest->config.source->ranks
                   ? 0
                   : base_error_set(error, BASE_ECONFLICT, SAVE_WHAT " is of %u topics, the source has %u",
                                    head->saved.ranks, ingest->config.source->ranks);
    }
    if (head->generations.data) {
        return consumer_generations_restore(ingest->generations, head->generations, error);
    }
    consumer_generations_assume(ingest->generations, head->saved.ranks);
    return 0;
}

// Those that were saved; a new topic's, in the lanes that there were, begin above what is handled.
static int ingest_restore_partitions(struct consumer_ingest *ingest, const struct save_head *head,
                                     struct base_reader *reader, struct base_error *error)
{
    uint32_t ranks = ingest->config.source->ranks;
    for (uint32_t i = 0; i < head->saved.lanes * ranks; i++) {
        struct ingest_partition *partition = &ingest->partition[i];
        if (partition->rank >= head->saved.ranks) {
            partition_set_floor(ingest, partition);
            continue;
        }
        struct save_partition saved = partition_get(reader);
        if (partition_restore(ingest, partition, &saved, head->saved.cut, error)) {
            return -1;
        }
    }
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
    if (ingest_restore_generations(ingest, &head, error) ||
        ingest_restore_partitions(ingest, &head, &reader, error)) {
        return -1;
    }
    uint32_t held = 0;
    bool assumed = ingest->generations && !head.generations.data;
    for (uint32_t lane = 0; lane < ingest->lanes; lane++) {
        bool known = lane < head.saved.lanes;
        if (ingest_restore_lane(ingest, lane, head.saved.ranks, known ? &reader : NULL, error)) {
            return -1;
        }
        if (known && assumed && consumer_lane_check_columns(ingest->lane[lane], error)) {
            return base_error_prefix(error, "lane %u", lane);
        }
        held |= known ? consumer_lane_generations(ingest->lane[lane]) : 0;
    }
    if (ingest->generations && consumer_generations_settle(ingest->generations, held, error)) {
        return -1;
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

// `unread`: of the first record that is not handled; else of the one before it, which is compared.
static int state_offsets(struct base_span state, const struct consumer_journal *journal, uint32_t ranks,
                         bool unread, uint32_t *lanes, int64_t *offsets, struct base_error *error)
{
    struct base_reader reader;
    struct save_head head;
    if (state_open(state, &reader, &head, error)) {
        return -1;
    }
    if (head.saved.ranks > ranks) {
        return base_error_set(error, BASE_ECONFLICT, SAVE_WHAT " is of %u topics, not %u", head.saved.ranks,
                              ranks);
    }
    uint32_t count = journal && consumer_journal_lanes(journal) > head.saved.lanes
                         ? consumer_journal_lanes(journal)
                         : head.saved.lanes;
    for (uint32_t i = 0; i < ranks * count; i++) {
        uint32_t rank = i % ranks, lane = i / ranks;
        struct save_partition partition = {.offset = CONSUMER_OFFSET_EARLIEST, .last.offset = -1};
        if (lane < head.saved.lanes && rank < head.saved.ranks) {
            partition = partition_get(&reader);
            if (partition_decided(&partition, journal, rank, lane, head.saved.cut, error)) {
                return base_error_prefix(error, "topic %u, partition %u", rank, lane);
            }
        }
        offsets[rank * count + lane] = unread ? partition.offset : partition_begin(&partition);
    }
    if (reader.failed) {
        return base_error_set(error, BASE_EFORMAT, SAVE_WHAT " is shorter than its format says");
    }
    *lanes = count;
    return 0;
}

int consumer_ingest_offsets(struct base_span state, const struct consumer_journal *journal, uint32_t ranks,
                            uint32_t *lanes, int64_t *offsets, struct base_error *error)
{
    return state_offsets(state, journal, ranks, false, lanes, offsets, error);
}

int consumer_ingest_unread(struct base_span state, const struct consumer_journal *journal, uint32_t ranks,
                           uint32_t *lanes, int64_t *offsets, struct base_error *error)
{
    return state_offsets(state, journal, ranks, true, lanes, offsets, error);
}
