// The head: which version is published, and who may move it. Two scripts, run by Redis, are the only writers
// of the keys `epoch` and `head`; schemas/publication.md lists them.
#ifndef PUBLISHER_HEAD_H
#define PUBLISHER_HEAD_H

#include "publisher/keys.h"
#include "publisher/names.h"
#include "publisher/redis.h"

enum { PUBLISHER_TOKEN_MAX = 33, PUBLISHER_ANNOUNCEMENTS_MAX = 1024 };

// One publisher's claim. The token tells its own repeated commands from another publisher's.
struct publisher_claim {
    char token[PUBLISHER_TOKEN_MAX];
    uint64_t epoch; // 0: none taken yet
};

// A random token, no epoch. Error: BASE_EIO.
int publisher_claim_init(struct publisher_claim *claim, struct base_error *error);

// Takes the epoch max(Redis', least) + 1 and reads head ("" if there is none), in one step: whatever this
// publisher sent before cannot move head any more. With `renew`, another publisher's higher epoch is
// BASE_ECONFLICT (fatal); without, it is outbid, but only an epoch that this call has seen: its command
// cannot take anything from one who comes later. Other errors: BASE_ENETWORK, BASE_EREFUSED.
int publisher_head_take(struct publisher_redis *redis, const char *model, struct publisher_claim *claim,
                        uint64_t least, bool renew, char head[static PUBLISHER_HEAD_MAX],
                        struct base_error *error);

enum publisher_move_outcome {
    PUBLISHER_MOVED,
    PUBLISHER_REFUSED, // epoch or predecessor do not fit
    PUBLISHER_MISSING, // a key of the new version is not there
};

struct publisher_move {
    const char *from; // head's value; "": none
    const char *to;
    struct publisher_version version, predecessor; // for the announcement
    bool full;
    int64_t tick;
    int64_t ttl_s;                            // for what is superseded
    const struct publisher_names *added;      // keys that head will refer to: their expiry is taken off
    const struct publisher_names *superseded; // keys that get one
};

// Moves head and announces the version. On -1 with BASE_ENETWORK the outcome is unknown. Other errors:
// BASE_EREFUSED, head did not move.
int publisher_head_move(struct publisher_redis *redis, const char *model, const struct publisher_claim *claim,
                        const struct publisher_move *move, enum publisher_move_outcome *outcome,
                        struct base_error *error);

#endif
