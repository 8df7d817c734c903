// What the operator said of a partition's log, as the journal holds it: offsets that are not read, and logs
// that are others than a cut was made of. Lists that are looked through, since there are few. Private to the
// journal.
#ifndef CONSUMER_JOURNAL_WORDS_H
#define CONSUMER_JOURNAL_WORDS_H

#include "base/bytes.h"
#include "base/error.h"
#include "consumer/journal.h"

struct consumer_journal_skip {
    uint32_t rank, lane;
    int64_t from, to; // [from, to)
};

struct consumer_journal_replaced {
    uint32_t rank, lane;
    uint64_t cut;     // the last one that was made of the old log
    int64_t from, to; // next offset in the old log; in the new one
};

struct consumer_journal_words {
    struct consumer_journal_skip *skips;
    size_t skip_count;
    struct consumer_journal_replaced *replaced;
    size_t replaced_count;
};

void consumer_journal_words_done(struct consumer_journal_words *words);

// Nothing if that very skip is known: each file of the journal repeats them. Errors: BASE_ELIMIT.
int consumer_journal_words_skip(struct consumer_journal_words *words,
                                const struct consumer_journal_skip *skip, struct base_error *error);
// The partition's skips are forgotten: their offsets are the old log's. Errors: BASE_ELIMIT.
int consumer_journal_words_replace(struct consumer_journal_words *words,
                                   const struct consumer_journal_replaced *replaced,
                                   struct base_error *error);

// As the functions of the journal that are called so.
int64_t consumer_journal_words_beyond(const struct consumer_journal_words *words, uint32_t rank,
                                      uint32_t lane, int64_t offset);
uint64_t consumer_journal_words_skipped(const struct consumer_journal_words *words);
int64_t consumer_journal_words_replaced(const struct consumer_journal_words *words, uint32_t rank,
                                        uint32_t lane, uint64_t cut, struct base_error *error);

// Payloads of records, and back: -1 if it is none.
void consumer_journal_words_put_skip(struct base_buffer *payload, const struct consumer_journal_skip *skip);
int consumer_journal_words_read_skip(struct base_span payload, struct consumer_journal_skip *skip);
void consumer_journal_words_put_replaced(struct base_buffer *payload,
                                         const struct consumer_journal_replaced *replaced);
int consumer_journal_words_read_replaced(struct base_span payload,
                                         struct consumer_journal_replaced *replaced);

#endif
