// The reader library. See reader.h.
//
// The thread that follows owns the connection and everything not named in the next sentence. The lock guards
// what scores see: the replica, its weights and the version they are. A base is built in a replica aside and
// swapped in; deltas are fetched and checked whole, and only then is the lock taken to apply them. Nothing
// that can fail happens under it.
#include "publisher/reader.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "publisher/keys.h"
#include "publisher/load.h"
#include "publisher/replica.h"

enum {
    READER_SCORERS_MAX = 1024,
    READER_BLOCK_MS = 1000, // head is read again at least so often while waiting
    READER_POLL_MS = 100,   // ... where the announcements may not be read
    READER_AGAIN_MS = 100,  // wait before a version is tried a third time; doubles
    READER_AGAIN_MOST = 5000,
};

struct publisher_reader {
    char *model;
    uint32_t scorers;
    struct publisher_redis *redis;
    atomic_bool accept_older;

    // The follower's own.
    char head[PUBLISHER_HEAD_MAX]; // value that the version held was read by; "": none
    struct publisher_manifest *held;
    struct trainer_descriptor *descriptor;
    uint64_t descriptor_hash;
    bool reload;                     // the next load is of base and deltas
    char failed[PUBLISHER_HEAD_MAX]; // head that could not be loaded
    uint32_t failures;               // how often
    bool mute;                       // announcements may not be read

    pthread_rwlock_t lock; // guards:
    struct publisher_replica *replica;
    struct publisher_version version;
    int64_t tick;

    pthread_mutex_t pool_mutex; // guards:
    pthread_cond_t pool_freed;
    uint32_t *pool; // [scorers] stack of free scorers' numbers
    uint32_t pool_free;
};

struct publisher_reader *publisher_reader_new(const struct publisher_reader_config *config,
                                              struct base_error *error)
{
    if (!publisher_keys_model_valid(config->model)) {
        base_error_set(error, BASE_EINVAL, "a model's name has 1 to %d of A-Z a-z 0-9 _ . -",
                       PUBLISHER_MODEL_MAX);
        return NULL;
    }
    if (config->scorers > READER_SCORERS_MAX) {
        base_error_set(error, BASE_EINVAL, "%u scorers; the most are %d", config->scorers,
                       READER_SCORERS_MAX);
        return NULL;
    }
    struct publisher_redis *redis = publisher_redis_new(&config->redis, error);
    if (!redis) {
        return NULL;
    }
    struct publisher_reader *reader = base_alloc_zeroed(1, sizeof *reader);
    size_t name_size = strlen(config->model) + 1;
    reader->model = memcpy(base_alloc(name_size), config->model, name_size);
    reader->redis = redis;
    reader->scorers = config->scorers ? config->scorers : 1;
    reader->pool = base_alloc(reader->scorers * sizeof *reader->pool);
    for (uint32_t i = 0; i < reader->scorers; i++) {
        reader->pool[reader->pool_free++] = i;
    }
    atomic_init(&reader->accept_older, false);
    pthread_mutex_init(&reader->pool_mutex, NULL);
    pthread_cond_init(&reader->pool_freed, NULL);
    // Threads that score without pause must not keep a new version out.
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&reader->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return reader;
}

void publisher_reader_free(struct publisher_reader *reader)
{
    if (!reader) {
        return;
    }
    assert(reader->pool_free == reader->scorers);
    publisher_redis_free(reader->redis);
    publisher_replica_free(reader->replica);
    publisher_manifest_free(reader->held);
    trainer_descriptor_free(reader->descriptor);
    pthread_rwlock_destroy(&reader->lock);
    pthread_mutex_destroy(&reader->pool_mutex);
    pthread_cond_destroy(&reader->pool_freed);
    free(reader->pool);
    free(reader->model);
    free(reader);
}

// Notes that `manifest`, owned from here on, is the version held.
static void reader_hold(struct publisher_reader *reader, struct publisher_manifest *manifest,
                        const char *head)
{
    publisher_manifest_free(reader->held);
    reader->held = manifest;
    memcpy(reader->head, head, strlen(head) + 1);
    reader->reload = false;
    reader->failures = 0;
    atomic_store(&reader->accept_older, false);
}

// Base and deltas into a replica aside.

struct reader_build {
    struct publisher_replica *replica;
    struct publisher_chunk_cursor checked, applied;
};

static int build_visit_rows(void *context, const struct publisher_chunk *chunk,
                            struct publisher_reply **reply, struct base_error *error)
{
    (void)reply;
    struct reader_build *build = context;
    return publisher_replica_check_rows(build->replica, chunk, error) ||
           publisher_replica_apply_rows(build->replica, chunk, error);
}

static int build_visit_dense(void *context, const struct publisher_chunk *chunk,
                             struct publisher_reply **reply, struct base_error *error)
{
    (void)reply;
    struct reader_build *build = context;
    if (publisher_replica_check_dense(build->replica, chunk, &build->checked, error)) {
        return -1;
    }
    publisher_replica_apply_dense(build->replica, chunk, &build->applied);
    return 0;
}

static int build_load(struct publisher_reader *reader, struct reader_build *build,
                      const struct publisher_manifest *manifest, struct base_error *error)
{
    if (publisher_replica_check_tensors(build->replica, manifest, error) ||
        publisher_load_part(reader->redis, reader->model, &manifest->base, true, build_visit_rows, build,
                            error)) {
        return -1;
    }
    for (uint32_t i = 0; i < manifest->deltas; i++) {
        if (publisher_load_part(reader->redis, reader->model, &manifest->delta[i], false, build_visit_rows,
                                build, error)) {
            return -1;
        }
    }
    if (publisher_load_dense(reader->redis, reader->model, manifest, build_visit_dense, build, error)) {
        return -1;
    }
    if (!publisher_replica_dense_complete(build->replica, &build->checked)) {
        return base_error_set(error, BASE_EFORMAT, "the dense chunks end before the last tensor");
    }
    return 0;
}

// The descriptor of a version, if it is not the one held.
static int reader_fetch_descriptor(struct publisher_reader *reader, uint64_t hash,
                                   struct trainer_descriptor **descriptor, struct base_error *error)
{
    struct publisher_reply *reply = NULL;
    if (reader->descriptor && reader->descriptor_hash == hash) {
        *descriptor = reader->descriptor;
        return 0;
    }
    if (publisher_load_descriptor(reader->redis, reader->model, hash, &reply, error)) {
        return -1;
    }
    struct base_span text = publisher_reply_text(reply);
    struct trainer_descriptor *parsed = trainer_descriptor_parse((const char *)text.data, text.size, error);
    publisher_reply_free(reply);
    if (!parsed) {
        return base_error_prefix(error, "descriptor");
    }
    *descriptor = parsed;
    return 0;
}

static int reader_load_whole(struct publisher_reader *reader, const struct publisher_manifest *manifest,
                             struct base_error *error)
{
    struct trainer_descriptor *descriptor = NULL;
    struct reader_build build = {0};
    if (reader_fetch_descriptor(reader, manifest->descriptor, &descriptor, error)) {
        return -1;
    }
    struct trainer_model_config config = descriptor->config;
    config.workers = 1;
    config.rows_max = TRAINER_ROWS_MAX;
    build.replica = publisher_replica_new(&config, reader->scorers, error);
    if (!build.replica || build_load(reader, &build, manifest, error)) {
        publisher_replica_free(build.replica);
        if (descriptor != reader->descriptor) {
            trainer_descriptor_free(descriptor);
        }
        return -1;
    }

    struct trainer_descriptor *old_descriptor = reader->descriptor;
    pthread_rwlock_wrlock(&reader->lock);
    struct publisher_replica *old = reader->replica;
    reader->replica = build.replica;
    reader->descriptor = descriptor;
    reader->version = manifest->version;
    reader->tick = manifest->tick;
    pthread_rwlock_unlock(&reader->lock);
    reader->descriptor_hash = manifest->descriptor;
    publisher_replica_free(old);
    if (old_descriptor != descriptor) {
        trainer_descriptor_free(old_descriptor);
    }
    return 0;
}

// Deltas upon the version held.

// Chunks fetched and checked, with the bytes they view.
struct reader_pending {
    const struct publisher_replica *replica;
    struct publisher_chunk_cursor checked;
    struct publisher_chunk *chunk;
    struct publisher_reply **reply;
    uint32_t count, capacity;
};

static void pending_clear(struct reader_pending *pending)
{
    for (uint32_t i = 0; i < pending->count; i++) {
        publisher_reply_free(pending->reply[i]);
    }
    free(pending->chunk);
    free(pending->reply);
}

static int pending_visit(void *context, const struct publisher_chunk *chunk, struct publisher_reply **reply,
                         struct base_error *error)
{
    struct reader_pending *pending = context;
    int failed = chunk->kind == PUBLISHER_CHUNK_ROWS
                     ? publisher_replica_check_rows(pending->replica, chunk, error)
                     : publisher_replica_check_dense(pending->replica, chunk, &pending->checked, error);
    if (failed) {
        return -1;
    }
    if (pending->count == pending->capacity) {
        pending->capacity = pending->capacity ? pending->capacity * 2 : 16;
        pending->chunk = base_realloc(pending->chunk, pending->capacity * sizeof *pending->chunk);
        pending->reply = base_realloc(pending->reply, pending->capacity * sizeof *pending->reply);
    }
    pending->chunk[pending->count] = *chunk;
    pending->reply[pending->count++] = *reply;
    *reply = NULL;
    return 0;
}

// Fetches what the version held lacks.
static int pending_load(struct publisher_reader *reader, struct reader_pending *pending,
                        const struct publisher_manifest *manifest, struct base_error *error)
{
    uint64_t rows = trainer_table_rows(trainer_model_table(publisher_replica_model(reader->replica)));
    if (publisher_replica_check_tensors(reader->replica, manifest, error)) {
        return -1;
    }
    for (uint32_t i = reader->held->deltas; i < manifest->deltas; i++) {
        rows += manifest->delta[i].rows;
        if (rows > TRAINER_ROWS_MAX) {
            return base_error_set(error, BASE_ELIMIT, "a version of more than %d rows", TRAINER_ROWS_MAX);
        }
        if (publisher_load_part(reader->redis, reader->model, &manifest->delta[i], false, pending_visit,
                                pending, error)) {
            return -1;
        }
    }
    if (publisher_load_dense(reader->redis, reader->model, manifest, pending_visit, pending, error)) {
        return -1;
    }
    if (!publisher_replica_dense_complete(reader->replica, &pending->checked)) {
        return base_error_set(error, BASE_EFORMAT, "the dense chunks end before the last tensor");
    }
    return 0;
}

static void reader_apply(struct publisher_reader *reader, const struct reader_pending *pending,
                         const struct publisher_manifest *manifest)
{
    struct publisher_chunk_cursor cursor = {0};
    pthread_rwlock_wrlock(&reader->lock);
    for (uint32_t i = 0; i < pending->count; i++) {
        const struct publisher_chunk *chunk = &pending->chunk[i];
        if (chunk->kind == PUBLISHER_CHUNK_ROWS) {
            struct base_error error;
            int failed = publisher_replica_apply_rows(reader->replica, chunk, &error);
            assert(!failed); // there is room: pending_load has counted
            (void)failed;
        } else {
            publisher_replica_apply_dense(reader->replica, chunk, &cursor);
        }
    }
    reader->version = manifest->version;
    reader->tick = manifest->tick;
    pthread_rwlock_unlock(&reader->lock);
}

static int reader_load_deltas(struct publisher_reader *reader, const struct publisher_manifest *manifest,
                              struct base_error *error)
{
    struct reader_pending pending = {.replica = reader->replica};
    int failed = pending_load(reader, &pending, manifest, error);
    if (!failed) {
        reader_apply(reader, &pending, manifest);
    }
    pending_clear(&pending);
    return failed;
}

static bool part_same(const struct publisher_part *a, const struct publisher_part *b)
{
    return publisher_version_compare(a->version, b->version) == 0 && a->checksum == b->checksum;
}

// True if the version held is a beginning of `manifest`: the same base, and its deltas come first.
static bool reader_leads_to(const struct publisher_reader *reader, const struct publisher_manifest *manifest)
{
    const struct publisher_manifest *held = reader->held;
    if (!held || reader->reload || held->descriptor != manifest->descriptor ||
        !part_same(&held->base, &manifest->base) || held->deltas > manifest->deltas) {
        return false;
    }
    for (uint32_t i = 0; i < held->deltas; i++) {
        if (!part_same(&held->delta[i], &manifest->delta[i])) {
            return false;
        }
    }
    return true;
}

static int reader_load(struct publisher_reader *reader, const char *head, struct base_error *error)
{
    struct publisher_manifest *manifest =
        publisher_load_manifest(reader->redis, reader->model, base_span_string(head), error);
    if (!manifest) {
        return -1;
    }
    int failed = reader_leads_to(reader, manifest) ? reader_load_deltas(reader, manifest, error)
                                                   : reader_load_whole(reader, manifest, error);
    if (failed) {
        publisher_manifest_free(manifest);
        return -1;
    }
    reader_hold(reader, manifest, head);
    return 0;
}

// Following.

// Reads the id of the last announcement ("0-0": none), then head ("": none): an announcement after the id is
// of a later move.
static int reader_look(struct publisher_reader *reader, char id[static 48],
                       char head[static PUBLISHER_HEAD_MAX], struct base_error *error)
{
    char stream_key[PUBLISHER_KEY_MAX];
    char head_key[PUBLISHER_KEY_MAX];
    publisher_key_versions(reader->model, stream_key);
    publisher_key_head(reader->model, head_key);
    struct base_span last[] = {base_span_string("XREVRANGE"), base_span_string(stream_key),
                               base_span_string("+"),         base_span_string("-"),
                               base_span_string("COUNT"),     base_span_string("1")};
    struct base_span get[] = {base_span_string("GET"), base_span_string(head_key)};
    struct publisher_reply *entries = NULL;
    struct publisher_reply *value = NULL;
    if (publisher_redis_send(reader->redis, last, 6, error) ||
        publisher_redis_send(reader->redis, get, 2, error) ||
        publisher_redis_receive(reader->redis, 0, &entries, error)) {
        return -1;
    }
    snprintf(id, 48, "0-0");
    reader->mute = publisher_reply_type(entries) == PUBLISHER_REPLY_ERROR;
    if (publisher_reply_count(entries) == 1 && publisher_reply_count(publisher_reply_at(entries, 0)) == 2) {
        struct base_span text = publisher_reply_text(publisher_reply_at(publisher_reply_at(entries, 0), 0));
        snprintf(id, 48, "%.*s", (int)text.size, text.data ? (const char *)text.data : "");
    }
    publisher_reply_free(entries);
    if (publisher_redis_receive(reader->redis, 0, &value, error)) {
        return -1;
    }
    int failed = publisher_reply_check(value, error);
    struct base_span text = publisher_reply_text(value);
    if (!failed && text.size >= PUBLISHER_HEAD_MAX) {
        failed = base_error_set(error, BASE_EFORMAT, "the key of head holds something else");
    }
    if (!failed) {
        snprintf(head, PUBLISHER_HEAD_MAX, "%.*s", (int)text.size, text.data ? (const char *)text.data : "");
    }
    publisher_reply_free(value);
    return failed;
}

// Waits for an announcement after `id`, at most `ms`.
static int reader_wait(struct publisher_reader *reader, const char *id, int64_t ms, struct base_error *error)
{
    if (reader->mute) {
        publisher_redis_wait(reader->redis, ms < READER_POLL_MS ? ms : READER_POLL_MS);
        return 0;
    }
    int block = ms < READER_BLOCK_MS ? (int)ms : READER_BLOCK_MS;
    char key[PUBLISHER_KEY_MAX];
    char block_text[16];
    publisher_key_versions(reader->model, key);
    snprintf(block_text, sizeof block_text, "%d", block);
    struct base_span words[] = {
        base_span_string("XREAD"),   base_span_string("BLOCK"), base_span_string(block_text),
        base_span_string("STREAMS"), base_span_string(key),     base_span_string(id),
    };
    struct publisher_reply *reply = NULL;
    if (publisher_redis_send(reader->redis, words, sizeof words / sizeof *words, error) ||
        publisher_redis_receive(reader->redis, block, &reply, error)) {
        return -1;
    }
    int failed = publisher_reply_check(reply, error);
    publisher_reply_free(reply);
    return failed;
}

static int64_t reader_now_ms(void)
{
    return base_clock_monotonic_ns(&base_clock_system) / 1000000;
}

// How long a head that could not be loaded is left alone before it is tried again.
static int64_t reader_again_ms(const struct publisher_reader *reader, const char *head)
{
    if (reader->failures < 2 || strcmp(head, reader->failed) != 0) {
        return 0;
    }
    uint32_t doublings = reader->failures - 2 < 6 ? reader->failures - 2 : 6;
    int64_t wait = (int64_t)READER_AGAIN_MS << doublings;
    return wait < READER_AGAIN_MOST ? wait : READER_AGAIN_MOST;
}

static int reader_try(struct publisher_reader *reader, const char *head, struct base_error *error)
{
    if (reader_load(reader, head, error) == 0) {
        return 0;
    }
    if (error->code != BASE_ENETWORK) {
        reader->failures = strcmp(head, reader->failed) == 0 ? reader->failures + 1 : 1;
        memcpy(reader->failed, head, strlen(head) + 1);
        reader->reload = true;
    }
    return -1;
}

enum reader_choice { READER_WAIT, READER_LOAD, READER_ABSENT, READER_OLDER };

// What head's value asks for.
static int reader_choose(struct publisher_reader *reader, const char *head, enum reader_choice *choice,
                         struct base_error *error)
{
    struct publisher_version version;
    uint64_t checksum;
    if (head[0] == '\0') {
        *choice = READER_ABSENT;
        return 0;
    }
    if (!publisher_head_parse(base_span_string(head), &version, &checksum)) {
        return base_error_set(error, BASE_EFORMAT, "head is not a version with a checksum: %s", head);
    }
    if (reader->held && !reader->reload && strcmp(head, reader->head) == 0) {
        *choice = READER_WAIT;
    } else if (reader->held && publisher_version_compare(version, reader->held->version) < 0 &&
               !atomic_load(&reader->accept_older)) {
        *choice = READER_OLDER;
    } else {
        *choice = READER_LOAD;
    }
    return 0;
}

static int reader_follow(struct publisher_reader *reader, int timeout_ms, bool *changed,
                         struct base_error *error)
{
    int64_t start = reader_now_ms();
    for (;;) {
        char id[48];
        char head[PUBLISHER_HEAD_MAX];
        enum reader_choice choice = READER_WAIT;
        if (publisher_redis_connect(reader->redis, error) || reader_look(reader, id, head, error) ||
            reader_choose(reader, head, &choice, error)) {
            return -1;
        }
        int64_t passed = reader_now_ms() - start;
        int64_t left = passed < timeout_ms ? timeout_ms - passed : 0;
        int64_t again = choice == READER_LOAD ? reader_again_ms(reader, head) - passed : 0;
        if (choice == READER_LOAD && (again <= 0 || left == 0)) {
            if (reader_try(reader, head, error)) {
                return -1;
            }
            *changed = true;
            return 0;
        }
        if (left == 0) {
            if (choice == READER_ABSENT) {
                base_error_set(error, BASE_ENOTFOUND, "nothing is published under the name %s",
                               reader->model);
                error->retriable = true;
                return -1;
            }
            if (choice == READER_OLDER) {
                return base_error_set(error, BASE_ECONFLICT, "head is at %s, older than the version held",
                                      head);
            }
            *changed = false;
            return 0;
        }
        if (reader_wait(reader, id, again > 0 && again < left ? again : left, error)) {
            return -1;
        }
    }
}

int publisher_reader_follow(struct publisher_reader *reader, int timeout_ms, bool *changed,
                            struct base_error *error)
{
    if (reader_follow(reader, timeout_ms, changed, error)) {
        publisher_redis_close(reader->redis);
        return -1;
    }
    return 0;
}

void publisher_reader_accept_older(struct publisher_reader *reader)
{
    atomic_store(&reader->accept_older, true);
}

struct publisher_version publisher_reader_version(struct publisher_reader *reader)
{
    pthread_rwlock_rdlock(&reader->lock);
    struct publisher_version version = reader->version;
    pthread_rwlock_unlock(&reader->lock);
    return version;
}

uint64_t publisher_reader_rows(struct publisher_reader *reader)
{
    uint64_t rows = 0;
    pthread_rwlock_rdlock(&reader->lock);
    if (reader->replica) {
        rows = trainer_table_rows(trainer_model_table(publisher_replica_model(reader->replica)));
    }
    pthread_rwlock_unlock(&reader->lock);
    return rows;
}

int64_t publisher_reader_tick(struct publisher_reader *reader)
{
    pthread_rwlock_rdlock(&reader->lock);
    int64_t tick = reader->tick;
    pthread_rwlock_unlock(&reader->lock);
    return tick;
}

const struct trainer_descriptor *publisher_reader_descriptor(struct publisher_reader *reader)
{
    pthread_rwlock_rdlock(&reader->lock);
    const struct trainer_descriptor *descriptor = reader->descriptor;
    pthread_rwlock_unlock(&reader->lock);
    return descriptor;
}

uint64_t publisher_reader_hash(struct publisher_reader *reader)
{
    uint64_t hash = 0;
    pthread_rwlock_rdlock(&reader->lock);
    if (reader->replica) {
        hash = trainer_model_hash(publisher_replica_model(reader->replica));
    }
    pthread_rwlock_unlock(&reader->lock);
    return hash;
}

static uint32_t pool_take(struct publisher_reader *reader)
{
    pthread_mutex_lock(&reader->pool_mutex);
    while (reader->pool_free == 0) {
        pthread_cond_wait(&reader->pool_freed, &reader->pool_mutex);
    }
    uint32_t scorer = reader->pool[--reader->pool_free];
    pthread_mutex_unlock(&reader->pool_mutex);
    return scorer;
}

static void pool_give(struct publisher_reader *reader, uint32_t scorer)
{
    pthread_mutex_lock(&reader->pool_mutex);
    reader->pool[reader->pool_free++] = scorer;
    pthread_cond_signal(&reader->pool_freed);
    pthread_mutex_unlock(&reader->pool_mutex);
}

int publisher_reader_score(struct publisher_reader *reader, const struct base_span *columns, uint32_t n,
                           float *conditional, float *products, struct publisher_version *version,
                           struct base_error *error)
{
    int failed;
    pthread_rwlock_rdlock(&reader->lock);
    if (!reader->replica) {
        failed = base_error_set(error, BASE_ENOTFOUND, "no version of %s is loaded yet", reader->model);
    } else {
        // Whoever holds a scorer holds the lock too, and finishes.
        uint32_t scorer = pool_take(reader);
        failed = trainer_scorer_predict(publisher_replica_scorer(reader->replica, scorer), columns, n,
                                        conditional, products, error);
        pool_give(reader, scorer);
    }
    if (!failed) {
        *version = reader->version;
    }
    pthread_rwlock_unlock(&reader->lock);
    return failed;
}
