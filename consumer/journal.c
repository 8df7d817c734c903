// The decision journal: its directory, what is added, what is to be obeyed. See journal.h; journal_file.c has
// the bytes.
#include "consumer/journal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "consumer/journal_file.h"
#include "consumer/journal_words.h"

enum {
    JOURNAL_PATH_MAX = 4096,
    JOURNAL_DIGITS = 20,
    JOURNAL_READ_MAX = 1 << 30, // bytes of a file
};
#define JOURNAL_SUFFIX ".journal"

struct journal_file {
    uint64_t position, size; // durable bytes, but of the last file
};

struct journal_entry {
    struct consumer_ingest_decision decision;
    uint64_t position;
    uint64_t needed; // the least position of this and the later ones
};

struct journal_queue {
    struct journal_entry *entries;
    size_t count, capacity, next;
};

struct consumer_journal {
    char directory[JOURNAL_PATH_MAX];
    struct base_disk *disk;
    uint32_t ranks, lanes;
    uint32_t said_ranks, said_lanes; // by the last record that says it; 0: none yet
    uint64_t file_bytes;
    bool read_only, failed;
    struct base_buffer partitions; // the payload of the record that every file begins with

    struct journal_file *files; // [count], oldest first
    size_t file_count;
    int fd;                       // of the last; -1: none
    struct base_buffer unwritten; // behind the last file's bytes

    uint64_t from;
    bool boundary;                // a record, or a file, ends or begins at `from`
    struct journal_queue *queues; // [lanes * ranks], lane-major
    size_t entry_count;
    struct consumer_journal_words words;
    struct base_buffer notes[CONSUMER_JOURNAL_KINDS]; // the last of each kind
    bool noted[CONSUMER_JOURNAL_KINDS];
};

static void journal_path(const struct consumer_journal *journal, uint64_t position,
                         char path[JOURNAL_PATH_MAX])
{
    snprintf(path, JOURNAL_PATH_MAX, "%s/%0*" PRIu64 JOURNAL_SUFFIX, journal->directory, JOURNAL_DIGITS,
             position);
}

static struct journal_file *journal_last_file(const struct consumer_journal *journal)
{
    return &journal->files[journal->file_count - 1];
}

static struct journal_queue *journal_queue(const struct consumer_journal *journal, uint32_t rank,
                                           uint32_t lane)
{
    assert(rank < journal->ranks && lane < journal->lanes);
    return &journal->queues[lane * journal->ranks + rank];
}

uint64_t consumer_journal_position(const struct consumer_journal *journal)
{
    const struct journal_file *last = journal_last_file(journal);
    return last->position + last->size + journal->unwritten.size;
}

// ---- what the records say ---------------------------------------------------

// A record set aside stands before a raise after it.
static bool entry_before(const struct consumer_ingest_decision *a, const struct consumer_ingest_decision *b)
{
    return a->next != b->next ? a->next < b->next
                              : a->what != CONSUMER_INGEST_RAISED && b->what == CONSUMER_INGEST_RAISED;
}

// They come in order, except where a changed program set aside what an earlier one had taken.
static int journal_enqueue(struct consumer_journal *journal, const struct consumer_ingest_decision *decision,
                           uint64_t position, struct base_error *error)
{
    struct journal_queue *queue = journal_queue(journal, decision->rank, decision->lane);
    size_t at = queue->count;
    while (at > 0 && entry_before(decision, &queue->entries[at - 1].decision)) {
        at--;
    }
    struct journal_entry *before = at > 0 ? &queue->entries[at - 1] : NULL;
    if (before && before->decision.next == decision->next && before->decision.what == decision->what) {
        // The higher raise is the one that the next record meets; a record is set aside once.
        if (decision->watermark > before->decision.watermark) {
            before->decision.watermark = decision->watermark;
        }
        return 0;
    }
    if (journal->entry_count == CONSUMER_JOURNAL_ENTRIES_MAX) {
        return base_error_set(error, BASE_ELIMIT, "more than %d decisions are to be obeyed",
                              CONSUMER_JOURNAL_ENTRIES_MAX);
    }
    if (queue->count == queue->capacity) {
        queue->capacity = queue->capacity ? 2 * queue->capacity : 16;
        queue->entries = base_realloc(queue->entries, queue->capacity * sizeof *queue->entries);
    }
    memmove(&queue->entries[at + 1], &queue->entries[at], (queue->count - at) * sizeof *queue->entries);
    queue->entries[at] = (struct journal_entry){.decision = *decision, .position = position};
    queue->count++;
    journal->entry_count++;
    return 0;
}

static void journal_set_note(struct consumer_journal *journal, enum consumer_journal_kind kind,
                             struct base_span text)
{
    base_buffer_clear(&journal->notes[kind]);
    base_buffer_append(&journal->notes[kind], text.data, text.size);
    journal->noted[kind] = true;
}

// Of a topic that a replay from before it does not know.
static bool journal_is_later(const struct consumer_journal *journal, uint32_t rank)
{
    return rank >= journal->ranks && rank < journal->said_ranks;
}

static int journal_read_skip(struct consumer_journal *journal, struct base_span payload,
                             struct base_error *error)
{
    struct consumer_journal_skip skip;
    bool read = consumer_journal_words_read_skip(payload, &skip) == 0;
    if (read && journal_is_later(journal, skip.rank)) {
        return 0;
    }
    if (!read || skip.rank >= journal->ranks || skip.lane >= journal->lanes) {
        return base_error_set(error, BASE_EFORMAT, "a skip that cannot be");
    }
    return consumer_journal_words_skip(&journal->words, &skip, error);
}

// With it, what was decided or skipped in the partition counts no more.
static int journal_add_replaced(struct consumer_journal *journal,
                                const struct consumer_journal_replaced *replaced, struct base_error *error)
{
    struct journal_queue *queue = journal_queue(journal, replaced->rank, replaced->lane);
    journal->entry_count -= queue->count;
    free(queue->entries);
    *queue = (struct journal_queue){0};
    return consumer_journal_words_replace(&journal->words, replaced, error);
}

static int journal_read_replaced(struct consumer_journal *journal, struct base_span payload,
                                 struct base_error *error)
{
    struct consumer_journal_replaced replaced;
    bool read = consumer_journal_words_read_replaced(payload, &replaced) == 0;
    if (read && journal_is_later(journal, replaced.rank)) {
        return 0;
    }
    if (!read || replaced.rank >= journal->ranks || replaced.lane >= journal->lanes) {
        return base_error_set(error, BASE_EFORMAT, "a replaced log that cannot be");
    }
    return journal_add_replaced(journal, &replaced, error);
}

// ---- partitions -------------------------------------------------------------

static void journal_put_partitions(struct base_buffer *payload, uint32_t ranks, uint32_t lanes,
                                   struct base_span names)
{
    base_buffer_clear(payload);
    base_buffer_u32(payload, ranks);
    base_buffer_u32(payload, lanes);
    base_buffer_append(payload, names.data, names.size);
}

// The topics' names, each with its end.
static struct base_span journal_names(const struct consumer_journal *journal)
{
    return base_span_make(journal->partitions.data + 2 * sizeof(uint32_t),
                          journal->partitions.size - 2 * sizeof(uint32_t));
}

static void journal_set_lanes(struct consumer_journal *journal, uint32_t lanes)
{
    size_t old = (size_t)journal->ranks * journal->lanes, count = (size_t)journal->ranks * lanes;
    assert(count >= old);
    journal->queues = base_realloc(journal->queues, count * sizeof *journal->queues);
    memset(journal->queues + old, 0, (count - old) * sizeof *journal->queues);
    journal->lanes = lanes;
    struct base_buffer partitions = {0};
    journal_put_partitions(&partitions, journal->ranks, lanes, journal_names(journal));
    base_buffer_free(&journal->partitions);
    journal->partitions = partitions;
}

static int journal_conflict(const struct consumer_journal *journal, uint32_t ranks, uint32_t lanes,
                            struct base_error *error)
{
    return base_error_set(error, BASE_ECONFLICT,
                          "is of other topics or partitions: it has %u topics of %u partitions, the source "
                          "%u of %u; if these are equal, their names differ",
                          ranks, lanes, journal->ranks, journal->lanes);
}

// Partitions may have been added, by the operator's word; topics behind the others, by the configuration's.
static int journal_take_partitions(struct consumer_journal *journal, struct base_span payload,
                                   struct base_error *error)
{
    struct base_reader reader = {.rest = payload};
    uint32_t ranks = base_reader_u32(&reader);
    uint32_t lanes = base_reader_u32(&reader);
    struct base_span names = journal_names(journal);
    size_t common = reader.rest.size < names.size ? reader.rest.size : names.size;
    // More topics than are configured are those that came after what is replayed.
    bool known = !reader.failed && (ranks > journal->ranks) == (reader.rest.size > names.size) &&
                 (ranks < journal->ranks) == (reader.rest.size < names.size) &&
                 (ranks <= journal->ranks || journal->read_only) &&
                 memcmp(reader.rest.data, names.data, common) == 0;
    if (!known || ranks < journal->said_ranks || lanes < journal->said_lanes || lanes > CONSUMER_LANES_MAX) {
        return journal_conflict(journal, ranks, lanes, error);
    }
    if (lanes > journal->lanes) {
        journal_set_lanes(journal, lanes);
    }
    journal->said_ranks = ranks;
    journal->said_lanes = lanes;
    return 0;
}

static int journal_read_decision(struct consumer_journal *journal,
                                 const struct consumer_journal_record *record, struct base_error *error)
{
    struct consumer_ingest_decision decision;
    bool read = consumer_journal_file_decide(record, &decision) == 0;
    if (read && journal_is_later(journal, decision.rank)) {
        return 0;
    }
    if (!read || decision.rank >= journal->ranks || decision.lane >= journal->lanes) {
        return base_error_set(error, BASE_EFORMAT, "a decision that cannot be");
    }
    return record->position < journal->from ? 0
                                            : journal_enqueue(journal, &decision, record->position, error);
}

static int journal_take(void *context, const struct consumer_journal_record *record, struct base_error *error)
{
    struct consumer_journal *journal = context;
    journal->boundary = journal->boundary || record->position == journal->from ||
                        record->position + CONSUMER_JOURNAL_FRAME + record->payload.size == journal->from;
    switch (record->kind) {
    case CONSUMER_JOURNAL_RAISED:
    case CONSUMER_JOURNAL_UNDECODABLE:
    case CONSUMER_JOURNAL_FUTURE:
        return journal_read_decision(journal, record, error);
    case CONSUMER_JOURNAL_SKIP:
        return journal_read_skip(journal, record->payload, error);
    case CONSUMER_JOURNAL_PARTITIONS:
        return journal_take_partitions(journal, record->payload, error);
    case CONSUMER_JOURNAL_REPLACED:
        return journal_read_replaced(journal, record->payload, error);
    case CONSUMER_JOURNAL_CONFIGURATION:
    case CONSUMER_JOURNAL_ERA:
    case CONSUMER_JOURNAL_REWIND:
    case CONSUMER_JOURNAL_KINDS:
        break;
    }
    journal_set_note(journal, record->kind, record->payload);
    return 0;
}

// ---- files ------------------------------------------------------------------

static int journal_open_last(struct consumer_journal *journal, struct base_error *error)
{
    char path[JOURNAL_PATH_MAX];
    journal_path(journal, journal_last_file(journal)->position, path);
    if (journal->fd >= 0) {
        close(journal->fd);
        journal->fd = -1;
    }
    return base_disk_open(journal->disk, path, O_RDWR, &journal->fd, error);
}

static void journal_add_file(struct consumer_journal *journal, uint64_t position, uint64_t size)
{
    journal->files = base_realloc(journal->files, (journal->file_count + 1) * sizeof *journal->files);
    journal->files[journal->file_count++] = (struct journal_file){position, size};
}

// Puts a record into what a file begins with, which is `body` behind the header.
static void body_put(struct base_buffer *body, uint64_t position, enum consumer_journal_kind kind,
                     struct base_span payload)
{
    uint64_t group = position + CONSUMER_JOURNAL_HEADER;
    consumer_journal_file_put(body, group + body->size, group, kind, payload);
}

// Begins a file behind the last one, with everything that has to outlive the older ones.
static int journal_begin_file(struct consumer_journal *journal, struct base_error *error)
{
    char path[JOURNAL_PATH_MAX];
    struct base_buffer bytes = {0}, body = {0}, payload = {0};
    uint64_t position = journal->file_count ? consumer_journal_position(journal) : 0;
    body_put(&body, position, CONSUMER_JOURNAL_PARTITIONS, base_buffer_span(&journal->partitions));
    static const enum consumer_journal_kind kept[] = {CONSUMER_JOURNAL_CONFIGURATION, CONSUMER_JOURNAL_ERA};
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        if (journal->noted[kept[i]]) {
            body_put(&body, position, kept[i], base_buffer_span(&journal->notes[kept[i]]));
        }
    }
    for (size_t i = 0; i < journal->words.skip_count; i++) {
        base_buffer_clear(&payload);
        consumer_journal_words_put_skip(&payload, &journal->words.skips[i]);
        body_put(&body, position, CONSUMER_JOURNAL_SKIP, base_buffer_span(&payload));
    }
    consumer_journal_file_begin(&bytes, position, (uint32_t)(CONSUMER_JOURNAL_HEADER + body.size));
    base_buffer_append(&bytes, body.data, body.size);
    journal_path(journal, position, path);
    int result = base_disk_replace(journal->disk, path, base_buffer_span(&bytes), error);
    if (result == 0) {
        journal_add_file(journal, position, bytes.size);
        result = journal_open_last(journal, error);
    }
    base_buffer_free(&payload);
    base_buffer_free(&body);
    base_buffer_free(&bytes);
    return result;
}

// The end of the last file: what is torn is cut off, and what is there is made durable, since it is obeyed.
// Its name too: a process that died between naming it and syncing the directory has left that to us.
static int journal_mend(struct consumer_journal *journal, size_t valid, struct base_error *error)
{
    struct journal_file *last = journal_last_file(journal);
    char path[JOURNAL_PATH_MAX];
    uint64_t size = last->size;
    journal_path(journal, last->position, path);
    last->size = valid;
    if (journal->read_only) {
        return 0;
    }
    if (journal_open_last(journal, error) ||
        (size > valid && base_disk_truncate(journal->disk, journal->fd, path, valid, error))) {
        return -1;
    }
    return base_disk_sync(journal->disk, journal->fd, path, error) ||
                   base_disk_sync_directory(journal->disk, journal->directory, error)
               ? -1
               : 0;
}

static int journal_read_file(struct consumer_journal *journal, size_t index, struct base_buffer *bytes,
                             struct base_error *error)
{
    struct journal_file *file = &journal->files[index];
    bool last = index + 1 == journal->file_count;
    char path[JOURNAL_PATH_MAX];
    size_t valid;
    journal_path(journal, file->position, path);
    if (base_disk_read(path, JOURNAL_READ_MAX, bytes, error)) {
        return -1;
    }
    file->size = bytes->size;
    if (!last && file->position + file->size != file[1].position) {
        return base_error_set(error, BASE_EFORMAT, "%s ends at offset %zu, the next file begins at %llu",
                              path, bytes->size, (unsigned long long)(file[1].position - file->position));
    }
    const struct consumer_journal_file read = {
        .path = path,
        .bytes = base_buffer_span(bytes),
        .position = file->position,
        .durable = last ? journal->from : file[1].position,
    };
    journal->boundary = journal->boundary || file->position == journal->from;
    if (consumer_journal_file_read(&read, journal_take, journal, &valid, error)) {
        return -1;
    }
    return last ? journal_mend(journal, valid, error) : 0;
}

static int entry_wanted(const struct dirent *entry)
{
    size_t digits = strspn(entry->d_name, "0123456789");
    return digits == JOURNAL_DIGITS && strcmp(entry->d_name + digits, JOURNAL_SUFFIX) == 0;
}

// Lists the files; none if there is no directory.
static int journal_list(struct consumer_journal *journal, struct base_error *error)
{
    struct dirent **entries = NULL;
    int count = scandir(journal->directory, &entries, entry_wanted, alphasort);
    if (count < 0 && errno != ENOENT) {
        return base_error_set_errno(error, BASE_EIO, errno, "cannot read the directory %s",
                                    journal->directory);
    }
    for (int i = 0; i < count; i++) {
        journal_add_file(journal, strtoull(entries[i]->d_name, NULL, 10), 0);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

static int journal_begin(struct consumer_journal *journal, struct base_error *error)
{
    if (journal->read_only) {
        return base_error_set(error, BASE_ENOTFOUND, "%s holds no journal", journal->directory);
    }
    char parent[JOURNAL_PATH_MAX];
    const char *slash = strrchr(journal->directory, '/');
    snprintf(parent, sizeof parent, "%.*s", slash ? (int)(slash - journal->directory) : 1,
             slash ? journal->directory : ".");
    if (base_disk_make_directory(journal->disk, journal->directory, error) ||
        base_disk_sync_directory(journal->disk, parent[0] ? parent : "/", error)) {
        return -1;
    }
    journal->boundary = journal->from == 0;
    journal->said_ranks = journal->ranks;
    journal->said_lanes = journal->lanes;
    return journal_begin_file(journal, error);
}

// Reads from the file that holds `from` on.
static int journal_read(struct consumer_journal *journal, struct base_error *error)
{
    if (journal->files[0].position > journal->from) {
        return base_error_set(error, BASE_ENOTFOUND,
                              "%s begins at position %llu: what came before, from %llu on, was removed",
                              journal->directory, (unsigned long long)journal->files[0].position,
                              (unsigned long long)journal->from);
    }
    size_t first = journal->file_count - 1;
    while (journal->files[first].position > journal->from) {
        first--;
    }
    for (size_t i = 0; i < first; i++) {
        journal->files[i].size = journal->files[i + 1].position - journal->files[i].position;
    }
    struct base_buffer bytes = {0};
    int result = 0;
    for (size_t i = first; i < journal->file_count && result == 0; i++) {
        result = journal_read_file(journal, i, &bytes, error);
    }
    base_buffer_free(&bytes);
    return result;
}

static int journal_load(struct consumer_journal *journal, struct base_error *error)
{
    if (journal_list(journal, error) ||
        (journal->file_count ? journal_read(journal, error) : journal_begin(journal, error))) {
        return -1;
    }
    if (journal->said_lanes != journal->lanes) {
        journal_conflict(journal, journal->ranks, journal->said_lanes, error);
        return base_error_prefix(error, "%s", journal->directory);
    }
    if (!journal->boundary) {
        uint64_t end = consumer_journal_position(journal);
        return base_error_set(error, BASE_EFORMAT, "%s: position %llu is %s", journal->directory,
                              (unsigned long long)journal->from,
                              journal->from > end ? "beyond its end" : "within a record");
    }
    for (size_t i = 0; i < (size_t)journal->ranks * journal->lanes; i++) {
        struct journal_queue *queue = &journal->queues[i];
        uint64_t needed = UINT64_MAX;
        for (size_t at = queue->count; at-- > 0;) {
            needed = queue->entries[at].position < needed ? queue->entries[at].position : needed;
            queue->entries[at].needed = needed;
        }
    }
    return 0;
}

static int journal_append(struct consumer_journal *journal, enum consumer_journal_kind kind,
                          struct base_span payload, struct base_error *error)
{
    if (journal->failed) {
        return base_error_set(error, BASE_EIO, "%s: an earlier write has failed", journal->directory);
    }
    if (!journal->read_only) {
        const struct journal_file *last = journal_last_file(journal);
        consumer_journal_file_put(&journal->unwritten, consumer_journal_position(journal),
                                  last->position + last->size, kind, payload);
    }
    return 0;
}

static int journal_say_partitions(struct consumer_journal *journal, struct base_error *error)
{
    journal->said_ranks = journal->ranks;
    journal->said_lanes = journal->lanes;
    return journal_append(journal, CONSUMER_JOURNAL_PARTITIONS, base_buffer_span(&journal->partitions),
                          error);
}

// ---- life -------------------------------------------------------------------

struct consumer_journal *consumer_journal_open(const struct consumer_journal_config *config, uint64_t from,
                                               bool read_only, struct base_error *error)
{
    assert(config->ranks > 0 && config->ranks <= CONSUMER_TOPICS_MAX && config->lanes > 0);
    if (strlen(config->directory) + JOURNAL_DIGITS + 32 > JOURNAL_PATH_MAX) {
        base_error_set(error, BASE_EINVAL, "the path %.40s... is too long", config->directory);
        return NULL;
    }
    struct consumer_journal *journal = base_alloc_zeroed(1, sizeof *journal);
    snprintf(journal->directory, sizeof journal->directory, "%s", config->directory);
    journal->disk = config->disk;
    journal->ranks = config->ranks;
    journal->lanes = config->lanes;
    journal->file_bytes = config->file_bytes ? config->file_bytes : CONSUMER_JOURNAL_FILE_BYTES;
    journal->read_only = read_only;
    journal->from = from;
    journal->fd = -1;
    journal->queues = base_alloc_zeroed((size_t)config->ranks * config->lanes, sizeof *journal->queues);
    journal_put_partitions(&journal->partitions, config->ranks, config->lanes, (struct base_span){0});
    for (uint32_t rank = 0; rank < config->ranks; rank++) {
        base_buffer_append(&journal->partitions, config->topics[rank], strlen(config->topics[rank]) + 1);
    }
    if (journal_load(journal, error) ||
        (journal->said_ranks < journal->ranks && journal_say_partitions(journal, error))) {
        consumer_journal_free(journal);
        return NULL;
    }
    return journal;
}

void consumer_journal_free(struct consumer_journal *journal)
{
    if (!journal) {
        return;
    }
    if (journal->fd >= 0) {
        close(journal->fd);
    }
    for (size_t i = 0; i < (size_t)journal->ranks * journal->lanes; i++) {
        free(journal->queues[i].entries);
    }
    for (size_t i = 0; i < CONSUMER_JOURNAL_KINDS; i++) {
        base_buffer_free(&journal->notes[i]);
    }
    base_buffer_free(&journal->partitions);
    base_buffer_free(&journal->unwritten);
    free(journal->queues);
    consumer_journal_words_done(&journal->words);
    free(journal->files);
    free(journal);
}

// ---- adding -----------------------------------------------------------------

int consumer_journal_add(struct consumer_journal *journal, const struct consumer_ingest_decision *decision,
                         struct base_error *error)
{
    static const enum consumer_journal_kind kinds[] = {
        [CONSUMER_INGEST_RAISED] = CONSUMER_JOURNAL_RAISED,
        [CONSUMER_INGEST_UNDECODABLE] = CONSUMER_JOURNAL_UNDECODABLE,
        [CONSUMER_INGEST_FUTURE] = CONSUMER_JOURNAL_FUTURE,
    };
    assert(decision->rank < journal->ranks && decision->lane < journal->lanes && decision->next >= 0);
    struct base_buffer payload = {0};
    consumer_journal_file_decision(&payload, decision);
    int result = journal_append(journal, kinds[decision->what], base_buffer_span(&payload), error);
    base_buffer_free(&payload);
    return result;
}

int consumer_journal_skip(struct consumer_journal *journal, uint32_t rank, uint32_t lane, int64_t from,
                          int64_t to, struct base_error *error)
{
    if (rank >= journal->ranks || lane >= journal->lanes || from < 0 || to <= from) {
        return base_error_set(error, BASE_EINVAL,
                              "no skip can be of topic %u, partition %u, offsets %lld to %lld", rank, lane,
                              (long long)from, (long long)to);
    }
    const struct consumer_journal_skip skip = {rank, lane, from, to};
    struct base_buffer payload = {0};
    consumer_journal_words_put_skip(&payload, &skip);
    int result = consumer_journal_words_skip(&journal->words, &skip, error);
    if (result == 0) {
        result = journal_append(journal, CONSUMER_JOURNAL_SKIP, base_buffer_span(&payload), error);
    }
    base_buffer_free(&payload);
    return result;
}

int consumer_journal_replace(struct consumer_journal *journal, uint32_t rank, uint32_t lane, uint64_t cut,
                             int64_t from, int64_t to, struct base_error *error)
{
    if (rank >= journal->ranks || lane >= journal->lanes || cut == 0 || from < 0 || to < 0) {
        return base_error_set(error, BASE_EINVAL,
                              "no log can be replaced at topic %u, partition %u, offsets %lld to %lld", rank,
                              lane, (long long)from, (long long)to);
    }
    const struct consumer_journal_replaced replaced = {rank, lane, cut, from, to};
    struct base_buffer payload = {0};
    consumer_journal_words_put_replaced(&payload, &replaced);
    int result = journal_add_replaced(journal, &replaced, error);
    if (result == 0) {
        result = journal_append(journal, CONSUMER_JOURNAL_REPLACED, base_buffer_span(&payload), error);
    }
    base_buffer_free(&payload);
    return result;
}

int consumer_journal_grow(struct consumer_journal *journal, uint32_t lanes, struct base_error *error)
{
    if (lanes <= journal->lanes || lanes > CONSUMER_LANES_MAX) {
        return base_error_set(error, BASE_EINVAL, "topics of %u partitions cannot come to have %u",
                              journal->lanes, lanes);
    }
    journal_set_lanes(journal, lanes);
    return journal_say_partitions(journal, error);
}

uint32_t consumer_journal_lanes(const struct consumer_journal *journal)
{
    return journal->lanes;
}

int consumer_journal_note(struct consumer_journal *journal, enum consumer_journal_kind kind,
                          struct base_span text, struct base_error *error)
{
    assert(kind >= CONSUMER_JOURNAL_CONFIGURATION && kind <= CONSUMER_JOURNAL_REWIND);
    if (text.size > CONSUMER_JOURNAL_NOTE_MAX) {
        return base_error_set(error, BASE_ELIMIT,
                              "a note for the journal has %zu bytes, at most %d are taken", text.size,
                              CONSUMER_JOURNAL_NOTE_MAX);
    }
    if (journal_append(journal, kind, text, error)) {
        return -1;
    }
    journal_set_note(journal, kind, text);
    return 0;
}

bool consumer_journal_last(const struct consumer_journal *journal, enum consumer_journal_kind kind,
                           struct base_span *text)
{
    assert(kind >= CONSUMER_JOURNAL_CONFIGURATION && kind <= CONSUMER_JOURNAL_REWIND);
    if (!journal->noted[kind]) {
        return false;
    }
    *text = base_buffer_span(&journal->notes[kind]);
    return true;
}

bool consumer_journal_dirty(const struct consumer_journal *journal)
{
    return journal->unwritten.size > 0;
}

uint64_t consumer_journal_unwritten(const struct consumer_journal *journal)
{
    return journal->unwritten.size;
}

int consumer_journal_sync(struct consumer_journal *journal, struct base_error *error)
{
    if (journal->failed) {
        return base_error_set(error, BASE_EIO, "%s: an earlier write has failed", journal->directory);
    }
    if (journal->unwritten.size == 0) {
        return 0;
    }
    char path[JOURNAL_PATH_MAX];
    struct journal_file *last = journal_last_file(journal);
    journal_path(journal, last->position, path);
    journal->failed = true;
    if (base_disk_write(journal->disk, journal->fd, path, base_buffer_span(&journal->unwritten), last->size,
                        error)) {
        return -1;
    }
    base_failpoint("journal.written");
    if (base_disk_sync(journal->disk, journal->fd, path, error)) {
        return -1;
    }
    base_failpoint("journal.synced");
    last->size += journal->unwritten.size;
    base_buffer_clear(&journal->unwritten);
    if (last->size >= journal->file_bytes && journal_begin_file(journal, error)) {
        return -1;
    }
    journal->failed = false;
    return 0;
}

int consumer_journal_forget(struct consumer_journal *journal, uint64_t position, struct base_error *error)
{
    char path[JOURNAL_PATH_MAX];
    while (!journal->read_only && journal->file_count > 1 && journal->files[1].position <= position) {
        journal_path(journal, journal->files[0].position, path);
        if (base_disk_unlink(journal->disk, path, error)) {
            return -1;
        }
        journal->file_count--;
        memmove(journal->files, journal->files + 1, journal->file_count * sizeof *journal->files);
    }
    return 0;
}

// ---- obeying ----------------------------------------------------------------

const struct consumer_ingest_decision *consumer_journal_next(const struct consumer_journal *journal,
                                                             uint32_t rank, uint32_t lane)
{
    const struct journal_queue *queue = journal_queue(journal, rank, lane);
    return queue->next < queue->count ? &queue->entries[queue->next].decision : NULL;
}

void consumer_journal_obeyed(struct consumer_journal *journal, uint32_t rank, uint32_t lane)
{
    struct journal_queue *queue = journal_queue(journal, rank, lane);
    assert(queue->next < queue->count);
    queue->next++;
    if (queue->next == queue->count) {
        free(queue->entries);
        *queue = (struct journal_queue){0};
    }
}

uint64_t consumer_journal_needed(const struct consumer_journal *journal, uint32_t rank, uint32_t lane)
{
    const struct journal_queue *queue = journal_queue(journal, rank, lane);
    return queue->next < queue->count ? queue->entries[queue->next].needed
                                      : consumer_journal_position(journal);
}

int64_t consumer_journal_replaced(const struct consumer_journal *journal, uint32_t rank, uint32_t lane,
                                  uint64_t cut, struct base_error *error)
{
    return consumer_journal_words_replaced(&journal->words, rank, lane, cut, error);
}

int64_t consumer_journal_beyond(const struct consumer_journal *journal, uint32_t rank, uint32_t lane,
                                int64_t offset)
{
    return consumer_journal_words_beyond(&journal->words, rank, lane, offset);
}

uint64_t consumer_journal_skipped(const struct consumer_journal *journal)
{
    return consumer_journal_words_skipped(&journal->words);
}
