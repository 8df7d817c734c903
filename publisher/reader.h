// The reader library: a replica of the published model in the memory of a serving process.
//
// publisher_reader_follow loads base and deltas and then every new version as it is announced; all bytes of a
// version are loaded and checked before it is switched in under a lock, so that a score sees one version,
// whole. A base is built beside the version held: for that moment there are two in memory. Thread: one thread
// follows; any number score.
#ifndef PUBLISHER_READER_H
#define PUBLISHER_READER_H

#include "publisher/publisher.h"
#include "trainer/descriptor.h"

struct publisher_reader_config {
    struct publisher_redis_config redis;
    const char *model;
    uint32_t scorers; // most threads that score at once (each has its own buffers); 0: 1
};

struct publisher_reader;

struct publisher_reader *publisher_reader_new(const struct publisher_reader_config *config,
                                              struct base_error *error);
void publisher_reader_free(struct publisher_reader *reader);

// Waits up to timeout_ms for a version newer than the one held and switches to it; *changed says whether it
// did. The first call bootstraps. A chunk that is missing or damaged keeps the present version and makes the
// next call load base + deltas anew (if that fails, too, further calls wait a little first, at most
// timeout_ms). Errors: BASE_ENETWORK (retriable), BASE_ENOTFOUND (nothing published yet; retriable),
// BASE_EFORMAT (a descriptor or chunk that this reader does not know), and an older version than one seen
// before is BASE_ECONFLICT: it is not loaded unless publisher_reader_accept_older was called.
int publisher_reader_follow(struct publisher_reader *reader, int timeout_ms, bool *changed,
                            struct base_error *error);
void publisher_reader_accept_older(struct publisher_reader *reader);

// The version held; epoch 0: none yet.
struct publisher_version publisher_reader_version(struct publisher_reader *reader);
uint64_t publisher_reader_rows(struct publisher_reader *reader);
int64_t publisher_reader_tick(struct publisher_reader *reader);
// Borrowed until the descriptor changes (a version of another model); NULL before the first version.
const struct trainer_descriptor *publisher_reader_descriptor(struct publisher_reader *reader);

// Scores n impressions (columns as the descriptor's layout says): conditional and products are [n x tasks],
// either may be NULL. *version says which version scored all of them. Any thread. Bit for bit the trainer's
// prediction when vectors are published as fp32.
int publisher_reader_score(struct publisher_reader *reader, const struct base_span *columns, uint32_t n,
                           float *conditional, float *products, struct publisher_version *version,
                           struct base_error *error);

// The weight hash of the version held (as trainer_model_hash); equal to the trainer's at the same tick with
// fp32.
uint64_t publisher_reader_hash(struct publisher_reader *reader);

#endif
