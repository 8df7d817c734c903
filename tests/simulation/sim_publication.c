// Judges what lies in a simulated Redis. See sim_publication.h.
#include "simulation/sim_publication.h"

#include <stdlib.h>

#include "publisher/load.h"
#include "publisher/names.h"

static int check_visit(void *context, const struct publisher_chunk *chunk, struct publisher_reply **reply,
                       struct base_error *error)
{
    (void)context, (void)chunk, (void)reply, (void)error;
    return 0;
}

// Loads what the manifest names, and lists the keys.
static int check_load(struct publisher_redis *client, const char *model,
                      const struct publisher_manifest *manifest, struct publisher_names *names,
                      struct base_error *error)
{
    struct publisher_reply *descriptor = NULL;
    char key[PUBLISHER_KEY_MAX];
    if (publisher_load_descriptor(client, model, manifest->descriptor, &descriptor, error)) {
        return -1;
    }
    publisher_reply_free(descriptor);
    if (publisher_load_part(client, model, &manifest->base, true, check_visit, NULL, error) ||
        publisher_load_dense(client, model, manifest, check_visit, NULL, error)) {
        return -1;
    }
    publisher_names_add_part(names, model, &manifest->base);
    for (uint32_t i = 0; i < manifest->deltas; i++) {
        if (publisher_load_part(client, model, &manifest->delta[i], false, check_visit, NULL, error)) {
            return -1;
        }
        publisher_names_add_part(names, model, &manifest->delta[i]);
    }
    publisher_names_add_dense(names, model, manifest);
    publisher_key_manifest(model, manifest->version, key);
    publisher_names_add(names, key);
    publisher_key_descriptor(model, manifest->descriptor, key);
    publisher_names_add(names, key);
    return 0;
}

struct check_keys {
    struct sim_redis *redis;
    const struct base_span *words;
    uint32_t count, referred;
    struct base_error *error;
    int failed;
};

static void check_key(void *context, const char *key)
{
    struct check_keys *check = context;
    bool referred = false;
    for (uint32_t i = 0; i < check->count && !referred; i++) {
        referred = base_span_equal(check->words[i], base_span_string(key));
    }
    int64_t ttl_ms = sim_redis_ttl_ms(check->redis, key);
    check->referred += referred;
    if (referred != (ttl_ms == -1) && !check->failed) {
        check->failed =
            base_error_set(check->error, BASE_EFORMAT, "key %s, which head %s, expires in %lld ms", key,
                           referred ? "refers to" : "does not refer to", (long long)ttl_ms);
    }
}

static int check_expiries(struct sim_redis *redis, const char *model, struct publisher_names *names,
                          struct base_error *error)
{
    char key[PUBLISHER_KEY_MAX];
    publisher_key_head(model, key);
    publisher_names_add(names, key);
    publisher_key_epoch(model, key);
    publisher_names_add(names, key);
    publisher_key_versions(model, key);
    publisher_names_add(names, key);
    struct base_span *words = base_alloc(names->count * sizeof *words);
    publisher_names_spans(names, words);
    struct check_keys check = {.redis = redis, .words = words, .count = names->count, .error = error};
    sim_redis_each(redis, check_key, &check);
    free(words);
    return check.failed;
}

int sim_publication_check(struct sim_redis *redis, const char *model, struct publisher_version *version,
                          int64_t *tick, struct base_error *error)
{
    char key[PUBLISHER_KEY_MAX];
    struct base_span head;
    struct publisher_names names = {0};
    publisher_key_head(model, key);
    if (!sim_redis_get(redis, key, &head)) {
        version->epoch = 0;
        return check_expiries(redis, model, &names, error);
    }
    struct publisher_redis_config config = {.transport = sim_redis_transport(redis), .timeout_ms = 1000};
    struct publisher_redis *client = publisher_redis_new(&config, error);
    struct publisher_manifest *manifest = NULL;
    int failed = client ? publisher_redis_connect(client, error) : -1;
    if (!failed) {
        manifest = publisher_load_manifest(client, model, head, error);
        failed = !manifest || check_load(client, model, manifest, &names, error) ||
                 check_expiries(redis, model, &names, error);
    }
    if (!failed) {
        *version = manifest->version;
        *tick = manifest->tick;
    }
    publisher_manifest_free(manifest);
    publisher_names_free(&names);
    publisher_redis_free(client);
    return failed ? -1 : 0;
}
