// The publisher: turns snapshots of the model into versions in Redis. schemas/publication.md is the contract.
//
//   snapshot -> chunks (chunk.c) -> SET .. NX EX, pipelined (redis.c) -> manifest (manifest.c) -> the script
//   moves head if epoch and predecessor fit -> XADD of the announcement -> superseded keys get an expiry
//
// Keys carry the version, so that nothing is ever overwritten: a crash before the move leaves garbage that
// expires, and a publisher with an older epoch can never move the head.
#ifndef PUBLISHER_PUBLISHER_H
#define PUBLISHER_PUBLISHER_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/error.h"
#include "trainer/snapshot.h"

enum {
    PUBLISHER_CHUNK_BYTES = 256 * 1024, // most bytes of a chunk
    PUBLISHER_PIPELINE_BYTES = 4 << 20, // most bytes sent before replies are read
    PUBLISHER_DELTAS_MAX = 512,         // deltas upon a base; then a base
};

// What carries bytes to Redis and back in place of a socket: the seam for simulations. Called by the thread
// that owns the connection. A failing call names its reason, a text that stays; the connection is then only
// good for `close`.
struct publisher_redis_transport {
    void *(*connect)(void *context, int timeout_ms, const char **reason); // NULL: failed
    // One command, whole, as RESP.
    bool (*send)(void *connection, struct base_span command, const char **reason);
    // Appends what has arrived of the replies, at least a byte, waiting up to timeout_ms for it.
    bool (*receive)(void *connection, int timeout_ms, struct base_buffer *bytes, const char **reason);
    void (*close)(void *connection);
    void (*wait)(void *context, int64_t ms); // lets time pass between attempts
    void *context;
};

struct publisher_redis_config {
    const struct publisher_redis_transport *transport; // borrowed; NULL: sockets, as the next lines say
    const char *host;                                  // NULL: use `socket`
    uint16_t port;
    const char *socket;          // path of a unix socket
    const char *user, *password; // AUTH, or NULL
    uint32_t database;
    int timeout_ms; // for connecting and for each reply
};

struct publisher_config {
    struct publisher_redis_config redis;
    const char *model;      // name: prefix of all keys, hash-tagged
    const char *descriptor; // canonical JSON
    bool half;              // vectors as fp16
    int64_t garbage_ttl_s;  // expiry of what is not yet or no longer referenced
    // Whose the versions are, or NULL: named in each manifest. Versions of one lineage with the same tick are
    // the same model to the bit, so that a restarted trainer goes on with deltas.
    const char *lineage;
    // Makes an epoch durable after it was taken, before a version can carry it; the next process passes it as
    // min_epoch. Else a Redis that comes back empty gives the same epoch again, and versions that readers
    // have seen get other contents. NULL: nobody does. A failure fails what needed the epoch, with its error.
    int (*remember)(void *context, uint64_t epoch, struct base_error *error);
    void *remember_context;
    double base_ratio;              // deltas' rows beyond this share of the base's ask for a base (1/3)
    const struct base_clock *clock; // NULL: the system's
};

struct publisher_version {
    uint64_t epoch;
    uint64_t number;
};

struct publisher;

// Makes the object; connects lazily. Errors: a configuration that cannot be.
struct publisher *publisher_new(const struct publisher_config *config, struct base_error *error);
void publisher_free(struct publisher *publisher);

// Connects, checks the server (maxmemory-policy must be noeviction, else the error says so), reads head and
// takes the epoch: max(Redis', min_epoch) + 1. Retriable errors: call again.
int publisher_start(struct publisher *publisher, uint64_t min_epoch, struct base_error *error);

// True if the next publication has to be full (the first, unless head is of our lineage; deltas outgrew the
// base, lost chunks, another server or role).
bool publisher_wants_full(const struct publisher *publisher);

// The version that head named when it was last read or moved, and its tick; false, outputs untouched, if
// there is none (or its manifest cannot be read). After a restart nothing should be published before training
// has passed that tick.
bool publisher_head(const struct publisher *publisher, struct publisher_version *version, int64_t *tick);
// True if that version names our lineage and our descriptor.
bool publisher_head_ours(const struct publisher *publisher);
// The epoch that was taken; 0: none yet.
uint64_t publisher_epoch(const struct publisher *publisher);

struct publisher_result {
    struct publisher_version version;
    uint64_t rows, tombstones, chunks, bytes;
    int64_t duration_ns;
};

// Publishes one snapshot. `metrics` is a JSON object for the manifest, or NULL. 0: head is at the new
// version. -1: it is not, as far as is known, and the snapshot's rows must count as changed again. If the
// move's reply is lost it takes a new epoch, after which the move has happened or never will, and reads head
// to learn which; only if Redis stays away does -1 leave the question open. It is settled before the next
// publication then, which is right either way: rows published twice are the same rows. Errors: BASE_ENETWORK
// (retriable); BASE_ECONFLICT (fatal: a newer epoch has taken over); BASE_EREFUSED (Redis refuses the write:
// out of memory, read only; or has lost state and the next snapshot has to be full: retriable; no rights:
// not); BASE_EINVAL (not started, metrics that are no JSON object); BASE_ELIMIT (too many chunks, a vector
// beyond fp16). Thread: the one that calls publisher_start.
int publisher_publish(struct publisher *publisher, const struct trainer_snapshot *snapshot,
                      const char *metrics, struct publisher_result *result, struct base_error *error);

#endif
