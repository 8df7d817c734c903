// Ingest's reading: from a partition's messages to its lane, the lowest watermark first. See ingest.h.
#include <assert.h>

#include "base/hash.h"
#include "consumer/ingest_private.h"
#include "consumer/journal.h"
#include "consumer/log_changed.h"

// ---- one message ------------------------------------------------------------

void consumer_ingest_raise(struct consumer_ingest *ingest, struct ingest_partition *partition,
                           int64_t watermark)
{
    consumer_lane_raise(ingest->lane[partition->lane], partition->rank, watermark);
    partition->watermark = consumer_lane_partition_watermark(ingest->lane[partition->lane], partition->rank);
}

int consumer_ingest_decide(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                           const struct consumer_ingest_decision *decision, struct base_error *error)
{
    if (ingest->config.journal && consumer_journal_add(ingest->config.journal, decision, error)) {
        return -1;
    }
    return sink->decide ? sink->decide(sink->context, decision, error) : 0;
}

int consumer_ingest_log_changed(const struct consumer_ingest *ingest,
                                const struct ingest_partition *partition, struct base_error *error)
{
    const struct consumer_journal *journal = ingest->config.journal;
    int64_t offset = partition->expected
                         ? partition->last.offset
                         : consumer_journal_next(journal, partition->rank, partition->lane)->next;
    return consumer_log_changed(
        error, BASE_ECONFLICT, ingest->config.topics[partition->rank], partition->lane, CONSUMER_LOG_NEW,
        "%s offset %lld%s: the log has changed beneath us; to go on with what it holds now, from its start "
        "(or "
        "--to an offset, or latest)",
        partition->expected ? "the record at" : "a decision was made at", (long long)offset,
        partition->expected ? " is not the one that was read before" : ", and the log ends before it");
}

void consumer_ingest_obey(struct consumer_ingest *ingest, struct ingest_partition *partition, int64_t offset)
{
    struct consumer_journal *journal = ingest->config.journal;
    while (partition->obeying) {
        const struct consumer_ingest_decision *decision =
            consumer_journal_next(journal, partition->rank, partition->lane);
        if (decision && decision->next > offset) {
            return;
        }
        partition->obeying = decision != NULL;
        if (decision) {
            if (decision->what == CONSUMER_INGEST_RAISED) {
                consumer_ingest_raise(ingest, partition, decision->watermark);
            }
            consumer_journal_obeyed(journal, partition->rank, partition->lane);
        }
    }
}

static int partition_push(struct consumer_ingest *ingest, struct ingest_partition *partition,
                          const struct consumer_event *event, struct base_error *error)
{
    struct consumer_lane *lane = ingest->lane[partition->lane];
    const struct consumer_journal *journal = ingest->config.journal;
    int64_t before = partition->watermark;
    int64_t time = event->event_time > before ? event->event_time : before;
    if (time <= ingest->frontier) { // handled before the cut
        consumer_lane_skip(lane, event);
    } else {
        if (consumer_lane_push(lane, event, error)) {
            return -1;
        }
        const struct consumer_unhandled_record record = {
            .offset = event->offset,
            .time = time,
            .watermark = before,
            .last = partition->last,
            .journal = journal ? consumer_journal_needed(journal, partition->rank, partition->lane) : 0,
        };
        consumer_unhandled_add(&partition->unhandled, &record, ingest->frontier);
    }
    partition->watermark = consumer_lane_partition_watermark(lane, partition->rank);
    if (before == CONSUMER_TIME_MIN && partition->watermark < ingest->origin) {
        ingest->origin = partition->watermark;
    }
    ingest->counts.events += event->offset >= partition->counted;
    return 0;
}

static void partition_count_dead(struct consumer_ingest *ingest, const struct ingest_partition *partition,
                                 enum consumer_ingest_what what, int64_t offset)
{
    if (offset >= partition->counted) {
        ingest->counts.dead++;
        ingest->counts.future += what == CONSUMER_INGEST_FUTURE;
    }
}

static int partition_set_aside(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                               const struct ingest_partition *partition,
                               const struct consumer_message *message, enum consumer_ingest_what what,
                               const char *reason, struct base_error *error)
{
    const struct consumer_ingest_decision decision = {
        .what = what,
        .rank = message->rank,
        .lane = message->lane,
        .next = message->offset + 1,
        .reason = reason,
    };
    if (!ingest->config.journal && message->offset < partition->counted) {
        return 0; // without a journal: its letter was made durable by the cut
    }
    if (consumer_ingest_decide(ingest, sink, &decision, error)) {
        return -1;
    }
    if (ingest->config.deadletter &&
        consumer_deadletter_add(ingest->config.deadletter, ingest->config.topics[message->rank], message,
                                reason, base_clock_wall_ms(ingest->clock), error)) {
        return -1;
    }
    ingest->letters = ingest->config.deadletter != NULL;
    partition_count_dead(ingest, partition, what, message->offset);
    return 0;
}

// By the record and the configuration alone: where the journal is silent because its tail was lost, or
// because there is none, the same comes out again.
static bool ingest_is_future(const struct consumer_ingest *ingest, const struct consumer_message *message,
                             const struct consumer_event *event)
{
    return ingest->config.future_ms > 0 && message->timestamp >= 0 &&
           event->event_time > message->timestamp &&
           event->event_time - message->timestamp > ingest->config.future_ms;
}

// Was it set aside before? Then it is again, whatever its decoder would say by now.
static bool partition_obey_aside(struct consumer_ingest *ingest, struct ingest_partition *partition,
                                 int64_t offset)
{
    if (!partition->obeying) {
        return false;
    }
    struct consumer_journal *journal = ingest->config.journal;
    const struct consumer_ingest_decision *decision =
        consumer_journal_next(journal, partition->rank, partition->lane);
    if (!decision || decision->next != offset + 1 || decision->what == CONSUMER_INGEST_RAISED) {
        return false;
    }
    partition_count_dead(ingest, partition, decision->what, offset);
    consumer_journal_obeyed(journal, partition->rank, partition->lane);
    return true;
}

// Decodes one message and gives it to its lane. 1: done with it; 0: it has to be tried again later; -1.
static int partition_decode(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                            struct ingest_partition *partition, const struct consumer_message *message,
                            struct base_error *error)
{
    struct consumer_event event;
    struct base_error reason = {0};
    int result = 0;
    switch (consumer_decoder_decode(ingest->config.decoders[message->rank], ingest->config.source, message,
                                    &event, &reason)) {
    case CONSUMER_DECODE_BLOCKED:
        ingest->blocked_error = reason;
        base_error_prefix(&ingest->blocked_error, "topic %s, partition %u, offset %lld waits",
                          ingest->config.topics[message->rank], message->lane, (long long)message->offset);
        return 0;
    case CONSUMER_DECODE_DEAD:
        result = partition_set_aside(ingest, sink, partition, message, CONSUMER_INGEST_UNDECODABLE,
                                     reason.text, error);
        break;
    case CONSUMER_DECODE_EVENT:
        result = ingest_is_future(ingest, message, &event)
                     ? partition_set_aside(ingest, sink, partition, message, CONSUMER_INGEST_FUTURE,
                                           "from the future: event time too far beyond the timestamp", error)
                     : partition_push(ingest, partition, &event, error);
        break;
    }
    return result ? -1 : 1;
}

// Of what identifies a message in its place; a null key or value is not an empty one. Not seeded: of long
// values a seed makes XXH3 slower.
static uint64_t message_hash(const struct consumer_message *message)
{
    uint64_t parts[] = {(uint64_t)message->timestamp,
                        (message->key.data ? 1 : 0) | (message->value.data ? 2 : 0),
                        message->key.size ? base_hash_bytes(message->key, 0) : 0,
                        message->value.size ? base_hash_bytes(message->value, 0) : 0};
    return base_hash_bytes(base_span_make(parts, sizeof parts), 0);
}

// The message that was the last one before the cut has to come first.
static int partition_check_last(struct consumer_ingest *ingest, struct ingest_partition *partition,
                                const struct consumer_message *message, struct base_error *error)
{
    if (message->offset != partition->last.offset || message_hash(message) != partition->last.hash) {
        return consumer_ingest_log_changed(ingest, partition, error);
    }
    partition->expected = false;
    ingest->counts.read--;
    return 1;
}

// One message: 1, 0 or -1 as partition_decode.
static int partition_message(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                             struct ingest_partition *partition, const struct consumer_message *message,
                             struct base_error *error)
{
    if (partition->expected) {
        return partition_check_last(ingest, partition, message, error);
    }
    const struct consumer_journal *journal = ingest->config.journal;
    consumer_ingest_obey(ingest, partition, message->offset);
    // Else, where the operator skips what had raised the watermark, new records would pass for handled ones.
    if (message->offset >= partition->counted && partition->floor > partition->watermark) {
        consumer_ingest_raise(ingest, partition, partition->floor);
    }
    struct consumer_mark last = {message->offset, 0};
    if (journal &&
        consumer_journal_beyond(journal, message->rank, message->lane, message->offset) != message->offset) {
        last.offset = -1; // skipped: nobody knows what it is
    } else {
        int status = partition_obey_aside(ingest, partition, message->offset)
                         ? 1
                         : partition_decode(ingest, sink, partition, message, error);
        if (status <= 0) {
            return status;
        }
        last.hash = message_hash(message);
    }
    partition->last = last;
    partition->offset = message->offset + 1;
    return 1;
}

// Works through what a partition has in hand, until it is empty or blocked. How many are done with, or -1.
static int partition_drain(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                           struct ingest_partition *partition, struct base_error *error)
{
    int begin = partition->next;
    while (partition->next < partition->count) {
        int status = partition_message(ingest, sink, partition, &partition->messages[partition->next], error);
        if (status < 0) {
            return -1;
        }
        if (status == 0) {
            partition->blocked_until_ns =
                base_clock_monotonic_ns(ingest->clock) + (int64_t)CONSUMER_INGEST_BLOCKED_MS * 1000000;
            break;
        }
        partition->next++;
        partition->blocked_until_ns = 0;
    }
    consumer_ingest_obey(ingest, partition, partition->offset);
    return partition->next - begin;
}

// It has no message now: is it a partition of a bounded source that has ended?
static int partition_pause(struct consumer_ingest *ingest, struct ingest_partition *partition,
                           struct base_error *error)
{
    struct consumer_source *source = ingest->config.source;
    struct consumer_position position;
    source->operations->position(source, partition->rank, partition->lane, &position);
    if (!partition->expected) {
        consumer_ingest_obey(ingest, partition, position.next);
    }
    if (!position.finished && !(partition->expected && position.caught_up)) {
        return 0;
    }
    if (partition->expected) { // the log ends before it
        return consumer_ingest_log_changed(ingest, partition, error);
    }
    partition->finished = true;
    ingest->unfinished--;
    if (ingest->config.finish) {
        consumer_ingest_raise(ingest, partition, CONSUMER_TIME_MAX);
    }
    return 0;
}

// Reads one batch of a partition. How many messages are done with; 0: nothing there, or blocked; -1.
static int partition_read(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                          struct ingest_partition *partition, struct base_error *error)
{
    struct consumer_source *source = ingest->config.source;
    if (partition->next < partition->count) {
        return base_clock_monotonic_ns(ingest->clock) < partition->blocked_until_ns
                   ? 0
                   : partition_drain(ingest, sink, partition, error);
    }
    partition->next = partition->count = 0;
    int count = source->operations->poll(source, partition->rank, partition->lane, 0, partition->messages,
                                         ingest->batch, error);
    if (count < 0) {
        return -1;
    }
    if (count == 0) {
        return partition_pause(ingest, partition, error);
    }
    partition->count = count;
    partition->quiet_since_ns = -1;
    partition->idle = false;
    ingest->counts.read += (uint64_t)count;
    return partition_drain(ingest, sink, partition, error);
}

// ---- a round of reading -----------------------------------------------------

static bool partition_before(const struct ingest_partition *a, const struct ingest_partition *b)
{
    return a->watermark != b->watermark ? a->watermark < b->watermark : a < b; // by lane, then rank
}

static void heap_sink(struct ingest_partition **heap, uint32_t count, uint32_t at)
{
    for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        child += child + 1 < count && partition_before(heap[child + 1], heap[child]);
        if (!partition_before(heap[child], heap[at])) {
            return;
        }
        struct ingest_partition *held = heap[at];
        heap[at] = heap[child];
        heap[child] = held;
        at = child;
    }
}

static uint32_t ingest_fill_heap(struct consumer_ingest *ingest)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        if (!ingest->partition[i].finished) {
            ingest->heap[count++] = &ingest->partition[i];
        }
    }
    for (uint32_t at = count / 2; at-- > 0;) {
        heap_sink(ingest->heap, count, at);
    }
    return count;
}

// A partition above this is not read: it is too far ahead of the lowest one that can still bring something.
// One without a record yet stands at the origin here, lest the others wait for it at their own first records.
static int64_t ingest_read_limit(const struct consumer_ingest *ingest)
{
    int64_t least = CONSUMER_TIME_MAX;
    for (uint32_t i = 0; i < ingest->partitions; i++) {
        const struct ingest_partition *partition = &ingest->partition[i];
        int64_t stand = partition->watermark == CONSUMER_TIME_MIN ? ingest->origin : partition->watermark;
        if (!partition->idle && !partition->finished && stand < least) {
            least = stand;
        }
    }
    return least > CONSUMER_TIME_MAX - ingest->config.read_ahead_ms ? CONSUMER_TIME_MAX
                                                                    : least + ingest->config.read_ahead_ms;
}

int consumer_ingest_read(struct consumer_ingest *ingest, const struct consumer_ingest_sink *sink,
                         bool *passing, struct base_error *error)
{
    int total = 0;
    int64_t origin = ingest->origin;
    int64_t limit = ingest_read_limit(ingest);
    struct ingest_partition **heap = ingest->heap;
    uint32_t count = ingest_fill_heap(ingest);
    while (count > 0 && total < CONSUMER_INGEST_ROUND && heap[0]->watermark <= limit) {
        int done = partition_read(ingest, sink, heap[0], error);
        if (done < 0 && !error->retriable) {
            return -1;
        }
        *passing = *passing || done < 0;
        if (done <= 0) {
            heap[0] = heap[--count];
        } else {
            total += done;
        }
        heap_sink(heap, count, 0);
        if (ingest->origin != origin) { // the very first records: until then there was no limit
            origin = ingest->origin;
            limit = ingest_read_limit(ingest);
        }
    }
    return total;
}
