// What the operator said of a partition's log. See journal_words.h.
#include "consumer/journal_words.h"

#include <stdlib.h>

void consumer_journal_words_done(struct consumer_journal_words *words)
{
    free(words->skips);
    free(words->replaced);
    *words = (struct consumer_journal_words){0};
}

// ---- skips ------------------------------------------------------------------

int consumer_journal_words_skip(struct consumer_journal_words *words,
                                const struct consumer_journal_skip *skip, struct base_error *error)
{
    for (size_t i = 0; i < words->skip_count; i++) {
        const struct consumer_journal_skip *known = &words->skips[i];
        if (known->rank == skip->rank && known->lane == skip->lane && known->from == skip->from &&
            known->to == skip->to) {
            return 0;
        }
    }
    if (words->skip_count == CONSUMER_JOURNAL_SKIPS_MAX) {
        return base_error_set(error, BASE_ELIMIT, "the journal has %d skips already",
                              CONSUMER_JOURNAL_SKIPS_MAX);
    }
    words->skips = base_realloc(words->skips, (words->skip_count + 1) * sizeof *words->skips);
    words->skips[words->skip_count++] = *skip;
    return 0;
}

int64_t consumer_journal_words_beyond(const struct consumer_journal_words *words, uint32_t rank,
                                      uint32_t lane, int64_t offset)
{
    for (size_t i = 0; i < words->skip_count; i++) {
        const struct consumer_journal_skip *skip = &words->skips[i];
        if (skip->rank == rank && skip->lane == lane && skip->from <= offset && offset < skip->to) {
            offset = skip->to;
            i = SIZE_MAX; // from the first again: they may overlap
        }
    }
    return offset;
}

uint64_t consumer_journal_words_skipped(const struct consumer_journal_words *words)
{
    uint64_t offsets = 0;
    for (size_t i = 0; i < words->skip_count; i++) {
        offsets += (uint64_t)(words->skips[i].to - words->skips[i].from);
    }
    return offsets;
}

void consumer_journal_words_put_skip(struct base_buffer *payload, const struct consumer_journal_skip *skip)
{
    base_buffer_u32(payload, skip->rank);
    base_buffer_u32(payload, skip->lane);
    base_buffer_u64(payload, (uint64_t)skip->from);
    base_buffer_u64(payload, (uint64_t)skip->to);
}

int consumer_journal_words_read_skip(struct base_span payload, struct consumer_journal_skip *skip)
{
    struct base_reader reader = {.rest = payload};
    skip->rank = base_reader_u32(&reader);
    skip->lane = base_reader_u32(&reader);
    skip->from = (int64_t)base_reader_u64(&reader);
    skip->to = (int64_t)base_reader_u64(&reader);
    return reader.failed || reader.rest.size || skip->from < 0 || skip->to <= skip->from ? -1 : 0;
}

// ---- replaced logs ----------------------------------------------------------

int consumer_journal_words_replace(struct consumer_journal_words *words,
                                   const struct consumer_journal_replaced *replaced, struct base_error *error)
{
    if (words->replaced_count == CONSUMER_JOURNAL_REPLACED_MAX) {
        return base_error_set(error, BASE_ELIMIT, "the journal has %d replaced logs already",
                              CONSUMER_JOURNAL_REPLACED_MAX);
    }
    words->replaced = base_realloc(words->replaced, (words->replaced_count + 1) * sizeof *words->replaced);
    words->replaced[words->replaced_count++] = *replaced;
    size_t kept = 0;
    for (size_t i = 0; i < words->skip_count; i++) {
        const struct consumer_journal_skip skip = words->skips[i];
        if (skip.rank != replaced->rank || skip.lane != replaced->lane) {
            words->skips[kept++] = skip;
        }
    }
    words->skip_count = kept;
    return 0;
}

int64_t consumer_journal_words_replaced(const struct consumer_journal_words *words, uint32_t rank,
                                        uint32_t lane, uint64_t cut, struct base_error *error)
{
    int64_t to = -1;
    for (size_t i = 0; i < words->replaced_count; i++) {
        const struct consumer_journal_replaced *replaced = &words->replaced[i];
        if (replaced->rank != rank || replaced->lane != lane || replaced->cut < cut) {
            continue;
        }
        if (replaced->cut > cut) {
            base_error_set(
                error, BASE_ECONFLICT,
                "another log took its place after cut %llu (freshet skip --new-log): what lay between "
                "is in no log; go on from that cut or a later one",
                (unsigned long long)replaced->cut);
            return -2;
        }
        to = replaced->to;
    }
    return to;
}

void consumer_journal_words_put_replaced(struct base_buffer *payload,
                                         const struct consumer_journal_replaced *replaced)
{
    base_buffer_u32(payload, replaced->rank);
    base_buffer_u32(payload, replaced->lane);
    base_buffer_u64(payload, replaced->cut);
    base_buffer_u64(payload, (uint64_t)replaced->from);
    base_buffer_u64(payload, (uint64_t)replaced->to);
}

int consumer_journal_words_read_replaced(struct base_span payload, struct consumer_journal_replaced *replaced)
{
    struct base_reader reader = {.rest = payload};
    replaced->rank = base_reader_u32(&reader);
    replaced->lane = base_reader_u32(&reader);
    replaced->cut = base_reader_u64(&reader);
    replaced->from = (int64_t)base_reader_u64(&reader);
    replaced->to = (int64_t)base_reader_u64(&reader);
    return reader.failed || reader.rest.size || replaced->cut == 0 || replaced->from < 0 || replaced->to < 0
               ? -1
               : 0;
}
