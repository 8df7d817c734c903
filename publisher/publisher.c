// The publisher: one version after another, each by upload and one move of head. See publisher.h.
//
// What can go wrong, and what is done:
//   before the move     the connection is dropped, the number is used up, the keys expire
//   the move refused    somebody's newer epoch (fatal), or Redis lost state: a new epoch, then a base
//   the reply lost      a new epoch is taken, which makes the move impossible if it has not happened yet, and
//                       head is read in the same step: it says what happened. If Redis stays away, the
//                       question is settled before the next publication
// After any failure the connection is closed, so that no reply of the old attempt is taken for one of the
// next.
#include "publisher/publisher.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "publisher/head.h"
#include "publisher/upload.h"

enum {
    PUBLISHER_VERIFY_MAX = 4096,  // keys looked at a publication, whether they still exist
    PUBLISHER_VERIFY_GROUP = 256, // keys a command
    PUBLISHER_SETTLE_TRIES = 5,   // connections made to settle an unknown reply
    PUBLISHER_SETTLE_MS = 20,     // wait before the second; doubles
};

struct publisher {
    char *model, *descriptor, *lineage;
    uint64_t descriptor_hash;
    bool half;
    int64_t garbage_ttl_s;
    double base_ratio;
    const struct base_clock *clock;
    int (*remember)(void *context, uint64_t epoch, struct base_error *error);
    void *remember_context;

    struct publisher_redis *redis;
    char run_id[64];
    struct publisher_claim claim;
    bool started;
    bool claimed; // claim's epoch is known to hold, `head` and `current` to be Redis'
    uint64_t number;
    bool full; // the next publication has to be

    char head[PUBLISHER_HEAD_MAX];      // its value; "": none
    struct publisher_manifest *current; // head's; NULL: none, or not readable

    char sent_head[PUBLISHER_HEAD_MAX]; // the head of a move whose reply was lost; "": no such move
    struct publisher_manifest *sent;    // its manifest

    uint32_t verified; // where the look-round of keys stands
    struct base_buffer scratch;
    struct publisher_names added, superseded, kept;
    struct publisher_names orphaned; // keys of versions that vanished from head by other hands
};

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;
    return memcpy(base_alloc(size), text, size);
}

struct publisher *publisher_new(const struct publisher_config *config, struct base_error *error)
{
    if (!publisher_keys_model_valid(config->model)) {
        base_error_set(error, BASE_EINVAL, "a model's name has 1 to %d of A-Z a-z 0-9 _ . -",
                       PUBLISHER_MODEL_MAX);
        return NULL;
    }
    if (!config->descriptor || config->garbage_ttl_s <= 0 || !(config->base_ratio > 0)) {
        base_error_set(error, BASE_EINVAL,
                       "the publisher needs a descriptor, a garbage expiry and a base ratio above 0");
        return NULL;
    }
    struct publisher *publisher = base_alloc_zeroed(1, sizeof *publisher);
    publisher->model = copy_text(config->model);
    publisher->descriptor = copy_text(config->descriptor);
    publisher->descriptor_hash = base_hash_bytes(base_span_string(config->descriptor), 0);
    publisher->lineage = config->lineage ? copy_text(config->lineage) : NULL;
    publisher->half = config->half;
    publisher->garbage_ttl_s = config->garbage_ttl_s;
    publisher->base_ratio = config->base_ratio;
    publisher->remember = config->remember;
    publisher->remember_context = config->remember_context;
    publisher->clock = config->clock ? config->clock : &base_clock_system;
    publisher->full = true;
    publisher->redis = publisher_redis_new(&config->redis, error);
    if (!publisher->redis || publisher_claim_init(&publisher->claim, error)) {
        publisher_free(publisher);
        return NULL;
    }
    return publisher;
}

void publisher_free(struct publisher *publisher)
{
    if (!publisher) {
        return;
    }
    publisher_redis_free(publisher->redis);
    publisher_manifest_free(publisher->current);
    publisher_manifest_free(publisher->sent);
    base_buffer_free(&publisher->scratch);
    publisher_names_free(&publisher->added);
    publisher_names_free(&publisher->superseded);
    publisher_names_free(&publisher->kept);
    publisher_names_free(&publisher->orphaned);
    free(publisher->model);
    free(publisher->descriptor);
    free(publisher->lineage);
    free(publisher);
}

// Connects if need be and looks at what it is connected to.
static int publisher_connect(struct publisher *publisher, struct base_error *error)
{
    if (publisher_redis_connected(publisher->redis)) {
        return 0;
    }
    struct publisher_redis_server server;
    if (publisher_redis_connect(publisher->redis, error)) {
        return -1;
    }
    if (publisher_redis_inspect(publisher->redis, &server, error)) {
        publisher_redis_close(publisher->redis);
        return -1;
    }
    if (!server.master) {
        publisher->full = true;
        publisher_redis_close(publisher->redis);
        base_error_set(error, BASE_EREFUSED, "Redis is a replica: it takes no writes");
        error->retriable = true;
        return -1;
    }
    if (strcmp(server.policy, "noeviction") != 0) {
        publisher_redis_close(publisher->redis);
        return base_error_set(error, BASE_EREFUSED,
                              "Redis' maxmemory-policy is '%s' and may evict the model: set noeviction",
                              server.policy);
    }
    if (strcmp(server.run_id, publisher->run_id) != 0) {
        publisher->full = true;
        publisher->claimed = false;
        memcpy(publisher->run_id, server.run_id, sizeof publisher->run_id);
    }
    return 0;
}

// Fetches the manifest that head names. A manifest that is missing or damaged gives NULL: what it refers to
// cannot be known then. Error: BASE_ENETWORK.
static int publisher_fetch_manifest(struct publisher *publisher, const char *head,
                                    struct publisher_manifest **manifest, struct base_error *error)
{
    struct publisher_version version;
    uint64_t checksum;
    *manifest = NULL;
    if (!publisher_head_parse(base_span_string(head), &version, &checksum)) {
        return 0;
    }
    char key[PUBLISHER_KEY_MAX];
    publisher_key_manifest(publisher->model, version, key);
    struct base_span words[] = {base_span_string("GET"), base_span_string(key)};
    struct publisher_reply *reply = NULL;
    if (publisher_redis_call(publisher->redis, words, 2, &reply, error)) {
        return -1;
    }
    struct base_span text = publisher_reply_text(reply);
    struct base_error damaged;
    if (text.data && base_hash_bytes(text, 0) == checksum) {
        *manifest = publisher_manifest_parse(text, publisher->model, &damaged);
    }
    publisher_reply_free(reply);
    return 0;
}

// Forgets the move whose outcome has become known.
static void publisher_forget_sent(struct publisher *publisher)
{
    publisher_manifest_free(publisher->sent);
    publisher->sent = NULL;
    publisher->sent_head[0] = '\0';
}

// Makes `manifest` (owned from here on; NULL: not readable) the current one and lists the keys it keeps.
static void publisher_set_current(struct publisher *publisher, struct publisher_manifest *manifest,
                                  const char *head)
{
    publisher_manifest_free(publisher->current);
    publisher->current = manifest;
    memmove(publisher->head, head, strlen(head) + 1);
    publisher_names_clear(&publisher->kept);
    publisher->verified = 0;
    if (manifest) {
        publisher_names_add_part(&publisher->kept, publisher->model, &manifest->base);
        for (uint32_t i = 0; i < manifest->deltas; i++) {
            publisher_names_add_part(&publisher->kept, publisher->model, &manifest->delta[i]);
        }
    }
}

// The move that was sent is known to have happened.
static void publisher_set_moved(struct publisher *publisher)
{
    struct publisher_manifest *moved = publisher->sent;
    publisher->sent = NULL;
    publisher_names_clear(&publisher->orphaned);
    if (moved->deltas == 0) {
        publisher_set_current(publisher, moved, publisher->sent_head);
    } else { // the list of kept keys only grows
        publisher_manifest_free(publisher->current);
        publisher->current = moved;
        memcpy(publisher->head, publisher->sent_head, sizeof publisher->head);
        publisher_names_add_part(&publisher->kept, publisher->model, &moved->delta[moved->deltas - 1]);
    }
    publisher_forget_sent(publisher);
}

// Makes what is known agree with head's value as just read by the holder of the epoch.
static int publisher_adopt(struct publisher *publisher, const char *head, struct base_error *error)
{
    if (publisher->sent && strcmp(head, publisher->sent_head) == 0) {
        publisher_set_moved(publisher);
        return 0;
    }
    if (publisher->sent && publisher->sent->deltas == 0) {
        publisher->full = true; // the base that was sent is not there
    }
    if (strcmp(head, publisher->head) != 0 || !publisher->current) {
        struct publisher_manifest *manifest = NULL;
        publisher->full = true;
        if (publisher_fetch_manifest(publisher, head, &manifest, error)) {
            return -1;
        }
        if (publisher->current) {
            struct publisher_manifest nothing = {.descriptor = publisher->descriptor_hash};
            publisher_names_add_superseded(&publisher->orphaned, publisher->model, publisher->current,
                                           &nothing);
        }
        publisher_set_current(publisher, manifest, head);
    }
    publisher_forget_sent(publisher);
    return 0;
}

// Takes an epoch, has it remembered, and reads head.
static int publisher_claim(struct publisher *publisher, uint64_t least, bool renew, struct base_error *error)
{
    char head[PUBLISHER_HEAD_MAX];
    publisher->claimed = false;
    if (publisher_head_take(publisher->redis, publisher->model, &publisher->claim, least, renew, head,
                            error)) {
        return -1;
    }
    publisher->number = 0;
    if (publisher->remember &&
        publisher->remember(publisher->remember_context, publisher->claim.epoch, error)) {
        return -1;
    }
    if (publisher_adopt(publisher, head, error)) {
        return -1;
    }
    publisher->claimed = true;
    return 0;
}

int publisher_start(struct publisher *publisher, uint64_t min_epoch, struct base_error *error)
{
    if (min_epoch >= PUBLISHER_VERSION_LIMIT) {
        return base_error_set(error, BASE_EINVAL, "no epoch is left above the one given");
    }
    if (publisher_connect(publisher, error) || publisher_claim(publisher, min_epoch, false, error)) {
        publisher_redis_close(publisher->redis);
        return -1;
    }
    if (!publisher->started && publisher_head_ours(publisher)) {
        publisher->full = false; // an earlier life of ours left it there
    }
    publisher->started = true;
    return 0;
}

bool publisher_head_ours(const struct publisher *publisher)
{
    const struct publisher_manifest *current = publisher->current;
    return current && publisher->lineage && current->lineage &&
           strcmp(current->lineage, publisher->lineage) == 0 &&
           current->descriptor == publisher->descriptor_hash && current->half == publisher->half;
}

uint64_t publisher_epoch(const struct publisher *publisher)
{
    return publisher->claim.epoch;
}

bool publisher_head(const struct publisher *publisher, struct publisher_version *version, int64_t *tick)
{
    if (!publisher->current) {
        return false;
    }
    *version = publisher->current->version;
    *tick = publisher->current->tick;
    return true;
}

bool publisher_wants_full(const struct publisher *publisher)
{
    const struct publisher_manifest *current = publisher->current;
    if (publisher->full || !current || current->deltas >= PUBLISHER_DELTAS_MAX) {
        return true;
    }
    uint64_t rows = 0;
    for (uint32_t i = 0; i < current->deltas; i++) {
        rows += current->delta[i].rows + current->delta[i].tombstones;
    }
    return (double)rows > publisher->base_ratio * (double)current->base.rows;
}

// What a caller can have wrong.
static int publisher_check(const struct publisher *publisher, const struct trainer_snapshot *snapshot,
                           struct base_error *error)
{
    if (!publisher->started) {
        return base_error_set(error, BASE_EINVAL, "the publisher was not started");
    }
    if (snapshot->slots > TRAINER_SLOTS_MAX) {
        return base_error_set(error, BASE_EINVAL, "a snapshot of %u slots", snapshot->slots);
    }
    for (uint32_t i = 0; i < snapshot->slots; i++) {
        uint32_t dimension = snapshot->rows[i].dimension;
        if (dimension == 0 || dimension % 4 != 0 || dimension > TRAINER_DIMENSION_MAX) {
            return base_error_set(error, BASE_EINVAL, "slot %u has dimension %u", i, dimension);
        }
    }
    return 0;
}

// Connected, with the epoch, and able to take this kind of snapshot.
static int publisher_ready(struct publisher *publisher, bool full, struct base_error *error)
{
    if (publisher_connect(publisher, error) ||
        (!publisher->claimed && publisher_claim(publisher, 0, true, error))) {
        return -1;
    }
    if (!full && publisher_wants_full(publisher)) {
        base_error_set(error, BASE_EREFUSED, "Redis needs the whole model: the next snapshot has to be full");
        error->retriable = true;
        return -1;
    }
    return 0;
}

// The manifest of the next version, upon the current one unless the snapshot is full. Parts and dense tensors
// are still to come.
static struct publisher_manifest *publisher_begin(struct publisher *publisher,
                                                  const struct trainer_snapshot *snapshot)
{
    struct publisher_manifest *manifest = base_alloc_zeroed(1, sizeof *manifest);
    manifest->version = (struct publisher_version){publisher->claim.epoch, ++publisher->number};
    uint64_t checksum;
    publisher_head_parse(base_span_string(publisher->head), &manifest->predecessor, &checksum);
    manifest->descriptor = publisher->descriptor_hash;
    manifest->half = publisher->half;
    manifest->lineage = publisher->lineage ? copy_text(publisher->lineage) : NULL;
    manifest->tick = snapshot->tick;
    manifest->examples = snapshot->examples;
    manifest->rows = snapshot->rows_total;
    if (!snapshot->full) {
        const struct publisher_manifest *current = publisher->current;
        manifest->base = current->base;
        manifest->deltas = current->deltas;
        manifest->delta = base_alloc((current->deltas + 1) * sizeof *manifest->delta);
        for (uint32_t i = 0; i < current->deltas; i++) {
            manifest->delta[i] = current->delta[i];
        }
    }
    return manifest;
}

// Sets the descriptor's key unless it is there: it is named by its hash.
static int publisher_upload_descriptor(struct publisher *publisher, struct base_error *error)
{
    char key[PUBLISHER_KEY_MAX];
    char ttl[24];
    publisher_key_descriptor(publisher->model, publisher->descriptor_hash, key);
    snprintf(ttl, sizeof ttl, "%" PRId64, publisher->garbage_ttl_s);
    struct base_span words[] = {
        base_span_string("SET"), base_span_string(key),  base_span_string(publisher->descriptor),
        base_span_string("NX"),  base_span_string("EX"), base_span_string(ttl),
    };
    struct publisher_reply *reply = NULL;
    if (publisher_redis_call(publisher->redis, words, sizeof words / sizeof *words, &reply, error)) {
        return -1;
    }
    publisher_reply_free(reply);
    publisher_names_add(&publisher->added, key);
    return 0;
}

// Uploads rows, dense tensors and the descriptor, and completes the manifest by them.
static int publisher_upload_content(struct publisher *publisher, struct publisher_upload *upload,
                                    const struct trainer_snapshot *snapshot,
                                    struct publisher_manifest *manifest, struct base_error *error)
{
    struct publisher_part part;
    if (publisher_upload_rows(upload, snapshot, &part, error) ||
        publisher_upload_dense(upload, snapshot, manifest, error) || publisher_upload_finish(upload, error)) {
        return -1;
    }
    if (snapshot->full) {
        manifest->base = part;
    } else {
        manifest->delta[manifest->deltas++] = part;
    }
    return publisher_upload_descriptor(publisher, error);
}

// Uploads the manifest; `head` becomes the value that head will have.
static int publisher_upload_manifest(struct publisher *publisher, struct publisher_upload *upload,
                                     struct publisher_manifest *manifest, const char *metrics,
                                     char head[static PUBLISHER_HEAD_MAX], struct base_error *error)
{
    manifest->metrics = metrics ? copy_text(metrics) : NULL;
    char *text = publisher_manifest_write(manifest, publisher->model, error);
    if (!text) {
        return -1;
    }
    char key[PUBLISHER_KEY_MAX];
    publisher_key_manifest(publisher->model, manifest->version, key);
    publisher_head_format(manifest->version, base_hash_bytes(base_span_string(text), 0), head);
    int failed = publisher_upload_text(upload, key, text, error) || publisher_upload_finish(upload, error);
    free(text);
    return failed ? -1 : 0;
}

// Looks whether the keys that a delta's manifest goes on referring to still exist: at most
// PUBLISHER_VERIFY_MAX a publication, in turn. A lost one asks for a base.
static int publisher_verify_kept(struct publisher *publisher, struct base_error *error)
{
    uint32_t total = publisher->kept.count;
    uint32_t count = total < PUBLISHER_VERIFY_MAX ? total : PUBLISHER_VERIFY_MAX;
    struct base_span *keys = base_alloc(total * sizeof *keys);
    publisher_names_spans(&publisher->kept, keys);
    uint32_t groups = 0;
    int failed = 0;
    for (uint32_t done = 0; done < count && !failed; groups++) {
        struct base_span words[1 + PUBLISHER_VERIFY_GROUP] = {base_span_string("EXISTS")};
        uint32_t size = 0;
        while (size < PUBLISHER_VERIFY_GROUP && done < count) {
            words[++size] = keys[(publisher->verified + done++) % total];
        }
        failed = publisher_redis_send(publisher->redis, words, 1 + size, error);
    }
    free(keys);

    int64_t found = 0;
    for (uint32_t i = 0; i < groups && !failed; i++) {
        struct publisher_reply *reply = NULL;
        failed = publisher_redis_receive(publisher->redis, 0, &reply, error);
        if (!failed) {
            failed = publisher_reply_check(reply, error);
            found += publisher_reply_integer(reply);
            publisher_reply_free(reply);
        }
    }
    if (failed) {
        return -1;
    }
    if (found != count) {
        publisher->full = true;
        publisher->claimed = false; // epoch and head may be lost as well
        base_error_set(error, BASE_EREFUSED, "Redis has lost %d keys of the published model",
                       (int)(count - found));
        error->retriable = true;
        return -1;
    }
    publisher->verified = total ? (publisher->verified + count) % total : 0;
    return 0;
}

// After a move of unknown outcome: takes a new epoch, upon which the move has happened or never will. 0: it
// is settled which, and publisher->sent is NULL. Errors: BASE_ECONFLICT (fatal); others: it is not settled
// yet.
static int publisher_settle(struct publisher *publisher, struct base_error *error)
{
    int64_t wait = PUBLISHER_SETTLE_MS;
    for (int i = 0;; i++) {
        publisher->claimed = false;
        if (publisher_connect(publisher, error) == 0 && publisher_claim(publisher, 0, true, error) == 0) {
            return 0;
        }
        publisher_redis_close(publisher->redis);
        if (error->code != BASE_ENETWORK || i + 1 == PUBLISHER_SETTLE_TRIES) {
            return -1;
        }
        publisher_redis_wait(publisher->redis, wait);
        wait *= 2;
    }
}

// Moves head to `head`. The manifest is owned by the publisher from here on.
static int publisher_commit(struct publisher *publisher, struct publisher_manifest *manifest, bool full,
                            const char *head, struct base_error *error)
{
    publisher_names_clear(&publisher->superseded);
    publisher_names_append(&publisher->superseded, &publisher->orphaned);
    struct publisher_version version;
    uint64_t checksum;
    if (publisher->current) {
        publisher_names_add_superseded(&publisher->superseded, publisher->model, publisher->current,
                                       manifest);
    } else if (publisher_head_parse(base_span_string(publisher->head), &version, &checksum)) {
        char key[PUBLISHER_KEY_MAX];
        publisher_key_manifest(publisher->model, version, key);
        publisher_names_add(&publisher->superseded, key);
    }
    struct publisher_move move = {
        .from = publisher->head,
        .to = head,
        .version = manifest->version,
        .predecessor = manifest->predecessor,
        .full = full,
        .tick = manifest->tick,
        .ttl_s = publisher->garbage_ttl_s,
        .added = &publisher->added,
        .superseded = &publisher->superseded,
    };
    publisher->sent = manifest;
    memcpy(publisher->sent_head, head, strlen(head) + 1);
    if (full) {
        publisher->full = false; // until the base turns out not to be there
    }

    enum publisher_move_outcome outcome;
    int failed =
        publisher_head_move(publisher->redis, publisher->model, &publisher->claim, &move, &outcome, error);
    if (!failed && outcome == PUBLISHER_MOVED) {
        publisher_set_moved(publisher);
        return 0;
    }
    if (!failed) {
        const char *why = outcome == PUBLISHER_MISSING ? "a key of the new version is gone"
                                                       : "epoch or head is not what was left there";
        publisher->full = true;
        base_error_set(error, BASE_EREFUSED, "Redis has lost state: %s", why);
        error->retriable = true;
    }
    struct base_error unsettled = {0};
    if (publisher_settle(publisher, &unsettled)) {
        if (unsettled.code == BASE_ECONFLICT) {
            *error = unsettled;
        } else {
            base_error_prefix(error, "whether a version was published is not known yet");
        }
        return -1;
    }
    return strcmp(publisher->head, head) == 0 ? 0 : -1;
}

int publisher_publish(struct publisher *publisher, const struct trainer_snapshot *snapshot,
                      const char *metrics, struct publisher_result *result, struct base_error *error)
{
    int64_t start = base_clock_monotonic_ns(publisher->clock);
    if (publisher_check(publisher, snapshot, error)) {
        return -1;
    }
    struct publisher_manifest *manifest = NULL;
    char head[PUBLISHER_HEAD_MAX];
    struct publisher_upload upload;
    if (publisher_ready(publisher, snapshot->full, error)) {
        goto failed;
    }
    manifest = publisher_begin(publisher, snapshot);
    publisher_names_clear(&publisher->added);
    upload = (struct publisher_upload){
        .redis = publisher->redis,
        .model = publisher->model,
        .version = manifest->version,
        .half = publisher->half,
        .ttl_s = publisher->garbage_ttl_s,
        .names = &publisher->added,
        .scratch = &publisher->scratch,
    };
    if (publisher_upload_content(publisher, &upload, snapshot, manifest, error) ||
        publisher_upload_manifest(publisher, &upload, manifest, metrics, head, error) ||
        (!snapshot->full && publisher_verify_kept(publisher, error))) {
        goto failed;
    }

    struct publisher_part part = snapshot->full ? manifest->base : manifest->delta[manifest->deltas - 1];
    struct publisher_result done = {
        .version = manifest->version,
        .rows = part.rows,
        .tombstones = part.tombstones,
        .chunks = part.chunks + manifest->dense_chunks,
        .bytes = part.bytes,
    };
    for (uint32_t i = 0; i < manifest->dense_chunks; i++) {
        done.bytes += manifest->dense[i].size;
    }
    struct publisher_manifest *sent = manifest;
    manifest = NULL;
    if (publisher_commit(publisher, sent, snapshot->full, head, error)) {
        goto failed;
    }
    done.duration_ns = base_clock_monotonic_ns(publisher->clock) - start;
    *result = done;
    return 0;

failed:
    publisher_manifest_free(manifest);
    publisher_redis_close(publisher->redis);
    return -1;
}
