// The registry's client: a table of what is known, and one thread that asks. See registry.h.
//
// An entry goes ASKED -> KNOWN, ABSENT or FAILED. KNOWN is for ever, in memory and on disk (one file an id,
// written aside and renamed). ABSENT and FAILED are forgotten after `negative_ms`, and the id is asked again.
// Only the registry's own "no such schema" (404 with error code 40403) makes an id absent: any other answer,
// a proxy's 404 a refused password as well, may be mended, and until then nothing is thrown away.
// The thread runs curl's multi interface, so that a stop wakes it at once.
#include "consumer/registry.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "consumer/schema.h"

enum {
    REGISTRY_ABSENT_MAX = 1024,                           // ids that do not exist, remembered at a time
    REGISTRY_RESPONSE_MAX = 2 * CONSUMER_SCHEMA_TEXT_MAX, // bytes of one answer; JSON in JSON is longer
    REGISTRY_SUM_SIZE = 17,                               // a cache file's first line: XXH3 of the rest
    REGISTRY_NOT_FOUND = 40403,
};

enum registry_state { REGISTRY_ASKED, REGISTRY_KNOWN, REGISTRY_ABSENT, REGISTRY_FAILED };

struct registry_entry {
    uint32_t id;
    enum registry_state state;
    char *text;       // KNOWN: the schema. ABSENT, FAILED: why
    int64_t until_ns; // ABSENT, FAILED: forgotten then
};

struct consumer_registry {
    char *url, *cache_dir, *userpwd, *authorization, *ca_file; // cache_dir, ca_file: or NULL
    int timeout_ms;
    int64_t negative_ns;
    const struct base_clock *clock;
    CURLM *multi;
    pthread_t thread;
    bool started, curl_ready, lock_ready;
    pthread_mutex_t lock; // guards all below
    pthread_cond_t asked;
    bool stop;
    struct registry_entry *entries;
    uint32_t count, capacity;
    uint32_t turn; // of those that forget: which one next
};

// A new string: both parts in the format.
static char *registry_text(const char *format, const char *a, const char *b)
{
    size_t size = strlen(format) + strlen(a) + strlen(b) + 1;
    char *text = base_alloc(size);
    snprintf(text, size, format, a, b);
    return text;
}

// ---- The table; the lock is held ----

static struct registry_entry *registry_find(struct consumer_registry *registry, uint32_t id)
{
    for (uint32_t i = 0; i < registry->count; i++) {
        if (registry->entries[i].id == id) {
            return &registry->entries[i];
        }
    }
    return NULL;
}

// Room for another id: if too many do not exist, one of them is forgotten before its time.
static struct registry_entry *registry_room(struct consumer_registry *registry)
{
    uint32_t absent = 0;
    for (uint32_t i = 0; i < registry->count; i++) {
        absent += registry->entries[i].state == REGISTRY_ABSENT;
    }
    for (uint32_t i = 0; absent >= REGISTRY_ABSENT_MAX && i < registry->count; i++) {
        struct registry_entry *entry = &registry->entries[registry->turn++ % registry->count];
        if (entry->state == REGISTRY_ABSENT) {
            free(entry->text);
            return entry;
        }
    }
    if (registry->count == registry->capacity) {
        registry->capacity = registry->capacity ? 2 * registry->capacity : 16;
        registry->entries = base_realloc(registry->entries, registry->capacity * sizeof *registry->entries);
    }
    return &registry->entries[registry->count++];
}

int consumer_registry_schema(struct consumer_registry *registry, uint32_t id, const char **schema,
                             struct base_error *error)
{
    int result = 0;
    pthread_mutex_lock(&registry->lock);
    struct registry_entry *entry = registry_find(registry, id);
    if (entry && (entry->state == REGISTRY_ABSENT || entry->state == REGISTRY_FAILED) &&
        base_clock_monotonic_ns(registry->clock) >= entry->until_ns) {
        free(entry->text);
        *entry = (struct registry_entry){.id = id, .state = REGISTRY_ASKED};
        pthread_cond_signal(&registry->asked);
    }
    if (!entry) {
        entry = registry_room(registry);
        *entry = (struct registry_entry){.id = id, .state = REGISTRY_ASKED};
        pthread_cond_signal(&registry->asked);
    }
    switch (entry->state) {
    case REGISTRY_KNOWN:
        *schema = entry->text;
        break;
    case REGISTRY_ASKED:
        result = base_error_set(error, BASE_ENETWORK, "schema %" PRIu32 ": asked", id);
        break;
    case REGISTRY_FAILED:
        result = base_error_set(error, BASE_ENETWORK, "schema %" PRIu32 ": %s", id, entry->text);
        break;
    case REGISTRY_ABSENT:
        result = base_error_set(error, BASE_ENOTFOUND, "schema %" PRIu32 ": %s", id, entry->text);
        break;
    }
    pthread_mutex_unlock(&registry->lock);
    return result;
}

// ---- The cache on disk; the registry's thread ----

// Ids mean something within one registry only, so its URL is part of the name.
static void cache_path(const struct consumer_registry *registry, uint32_t id, const char *end, char *path,
                       size_t size)
{
    uint64_t url = base_hash_bytes(base_span_string(registry->url), 0);
    snprintf(path, size, "%s/%016" PRIx64 "-%" PRIu32 ".avsc%s", registry->cache_dir, url, id, end);
}

static void cache_sum(struct base_span text, char line[REGISTRY_SUM_SIZE + 1])
{
    snprintf(line, REGISTRY_SUM_SIZE + 1, "%016" PRIx64 "\n", base_hash_bytes(text, 0));
}

// The text of a cached id, or NULL: absent, or not what was written.
static char *cache_load(const struct consumer_registry *registry, uint32_t id)
{
    char path[4096], line[REGISTRY_SUM_SIZE + 1];
    cache_path(registry, id, "", path, sizeof path);
    FILE *file = fopen(path, "re");
    if (!file) {
        return NULL;
    }
    struct base_buffer content = {0};
    char piece[4096];
    size_t got;
    while (content.size <= REGISTRY_RESPONSE_MAX && (got = fread(piece, 1, sizeof piece, file)) > 0) {
        base_buffer_append(&content, piece, got);
    }
    fclose(file);
    char *text = NULL;
    if (content.size > REGISTRY_SUM_SIZE) {
        struct base_span rest =
            base_span_make(content.data + REGISTRY_SUM_SIZE, content.size - REGISTRY_SUM_SIZE);
        cache_sum(rest, line);
        if (memcmp(line, content.data, REGISTRY_SUM_SIZE) == 0) {
            text = base_alloc(rest.size + 1);
            memcpy(text, rest.data, rest.size);
            text[rest.size] = '\0';
        }
    }
    base_buffer_free(&content);
    return text;
}

static bool cache_write(int file, struct base_span bytes)
{
    while (bytes.size > 0) {
        ssize_t wrote = write(file, bytes.data, bytes.size);
        if (wrote < 0 && errno != EINTR) {
            return false;
        }
        size_t done = wrote < 0 ? 0 : (size_t)wrote;
        bytes = base_span_make(bytes.data + done, bytes.size - done);
    }
    return true;
}

// Keeps an id on disk. A failure costs only a question after the next start, so it is not one.
static void cache_keep(const struct consumer_registry *registry, uint32_t id, const char *text)
{
    char path[4096], aside[4096 + 32], line[REGISTRY_SUM_SIZE + 1], end[32];
    cache_path(registry, id, "", path, sizeof path);
    snprintf(end, sizeof end, ".%ld.tmp", (long)getpid());
    cache_path(registry, id, end, aside, sizeof aside);
    int file = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0) {
        return;
    }
    cache_sum(base_span_string(text), line);
    bool good = cache_write(file, base_span_make(line, REGISTRY_SUM_SIZE)) &&
                cache_write(file, base_span_string(text)) && fsync(file) == 0;
    good = close(file) == 0 && good;
    if (!good || rename(aside, path) != 0) {
        unlink(aside);
        return;
    }
    int directory = open(registry->cache_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0) {
        fsync(directory);
        close(directory);
    }
}

// ---- Asking; the registry's thread ----

static size_t request_receive(char *data, size_t size, size_t count, void *context)
{
    struct base_buffer *answer = context;
    if (size * count > REGISTRY_RESPONSE_MAX - answer->size) {
        return 0; // curl ends the transfer with an error
    }
    base_buffer_append(answer, data, size * count);
    return size * count;
}

// Judges an answer. KNOWN with a schema's text, ABSENT, or FAILED with a reason.
static enum registry_state request_judge(long status, struct base_span body, char **text)
{
    char reason[128];
    json_t *json = json_loadb((const char *)body.data, body.size, 0, NULL);
    enum registry_state state = REGISTRY_FAILED;
    const char *schema = json_string_value(json_object_get(json, "schema"));
    const char *type = json_string_value(json_object_get(json, "schemaType"));
    if (status == 200 && schema && (!type || strcmp(type, "AVRO") == 0)) {
        *text = registry_text("%s%s", schema, "");
        state = REGISTRY_KNOWN;
    } else if (status == 404 &&
               json_integer_value(json_object_get(json, "error_code")) == REGISTRY_NOT_FOUND) {
        state = REGISTRY_ABSENT;
        *text = registry_text("%s%s", "the registry has no such id", "");
    } else if (status == 200 && schema) {
        state = REGISTRY_ABSENT; // an id never changes: it will not become Avro
        *text = registry_text("the registry has it as %.60s, not as Avro%s", type, "");
    } else {
        if (status == 200) {
            snprintf(reason, sizeof reason, "the registry's answer is no schema");
        } else {
            snprintf(reason, sizeof reason, "the registry answered with status %ld", status);
        }
        *text = registry_text("%s%s", reason, "");
    }
    json_decref(json);
    return state;
}

static bool registry_stopped(struct consumer_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    bool stop = registry->stop;
    pthread_mutex_unlock(&registry->lock);
    return stop;
}

// Drives one transfer to its end; CURLE_ABORTED_BY_CALLBACK if the registry is stopped meanwhile.
static CURLcode request_drive(struct consumer_registry *registry, CURL *easy)
{
    int running = 1;
    CURLcode result = CURLE_ABORTED_BY_CALLBACK;
    curl_multi_add_handle(registry->multi, easy);
    while (!registry_stopped(registry)) {
        if (curl_multi_perform(registry->multi, &running) != CURLM_OK) {
            break;
        }
        if (!running) {
            int left;
            CURLMsg *message = curl_multi_info_read(registry->multi, &left);
            result = message ? message->data.result : CURLE_ABORTED_BY_CALLBACK;
            break;
        }
        curl_multi_poll(registry->multi, NULL, 0, 1000, NULL);
    }
    curl_multi_remove_handle(registry->multi, easy);
    return result;
}

static struct curl_slist *request_headers(const struct consumer_registry *registry)
{
    struct curl_slist *headers =
        curl_slist_append(NULL, "Accept: application/vnd.schemaregistry.v1+json, application/json");
    if (headers && registry->authorization) {
        struct curl_slist *longer = curl_slist_append(headers, registry->authorization);
        headers = longer ? longer : headers;
    }
    return headers;
}

static enum registry_state request_schema(struct consumer_registry *registry, uint32_t id, char **text)
{
    char url[4096];
    snprintf(url, sizeof url, "%s/schemas/ids/%" PRIu32, registry->url, id);
    struct base_buffer answer = {0};
    struct curl_slist *headers = request_headers(registry);
    enum registry_state state = REGISTRY_FAILED;
    CURL *easy = curl_easy_init();
    if (!easy || !headers) {
        *text = registry_text("%s%s", "curl has no memory", "");
        goto out;
    }
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)registry->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, request_receive);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer);
    if (registry->userpwd) {
        curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(easy, CURLOPT_USERPWD, registry->userpwd);
    }
    if (registry->ca_file) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, registry->ca_file);
    }
    CURLcode result = request_drive(registry, easy);
    if (result != CURLE_OK) {
        *text = registry_text("%s%s", curl_easy_strerror(result), "");
        goto out;
    }
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    state = request_judge(status, base_buffer_span(&answer), text);
out:
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
    base_buffer_free(&answer);
    return state;
}

static void registry_answer(struct consumer_registry *registry, uint32_t id)
{
    char *text = registry->cache_dir ? cache_load(registry, id) : NULL;
    enum registry_state state = REGISTRY_KNOWN;
    if (!text) {
        state = request_schema(registry, id, &text);
        if (state == REGISTRY_KNOWN && registry->cache_dir) {
            cache_keep(registry, id, text);
        }
    }
    pthread_mutex_lock(&registry->lock);
    struct registry_entry *entry = registry_find(registry, id); // an asked one stays
    entry->state = state;
    entry->text = text;
    entry->until_ns = base_clock_monotonic_ns(registry->clock) + registry->negative_ns;
    pthread_mutex_unlock(&registry->lock);
}

static void *registry_thread(void *context)
{
    struct consumer_registry *registry = context;
    pthread_mutex_lock(&registry->lock);
    while (!registry->stop) {
        uint32_t i = 0;
        while (i < registry->count && registry->entries[i].state != REGISTRY_ASKED) {
            i++;
        }
        if (i == registry->count) {
            pthread_cond_wait(&registry->asked, &registry->lock);
            continue;
        }
        uint32_t id = registry->entries[i].id;
        pthread_mutex_unlock(&registry->lock);
        registry_answer(registry, id);
        pthread_mutex_lock(&registry->lock);
    }
    pthread_mutex_unlock(&registry->lock);
    return NULL;
}

// ---- Life ----

static int registry_configure(struct consumer_registry *registry,
                              const struct consumer_registry_config *config, struct base_error *error)
{
    const char *host = strstr(config->url, "://");
    if (!host || (strncmp(config->url, "http:", 5) != 0 && strncmp(config->url, "https:", 6) != 0) ||
        strlen(config->url) > 2048) {
        return base_error_set(error, BASE_EINVAL, "registry: its URL is neither http:// nor https://");
    }
    if (memchr(host + 3, '@', strcspn(host + 3, "/"))) {
        return base_error_set(error, BASE_EINVAL, "registry: a password does not belong into its URL");
    }
    if (config->timeout_ms <= 0 || config->negative_ms < 0) {
        return base_error_set(error, BASE_EINVAL, "registry: a time that is not positive");
    }
    if (config->user && strchr(config->user, ':')) {
        return base_error_set(error, BASE_EINVAL, "registry: a user's name with a colon");
    }
    registry->url = registry_text("%s%s", config->url, "");
    for (size_t i = strlen(registry->url); i > 0 && registry->url[i - 1] == '/'; i--) {
        registry->url[i - 1] = '\0';
    }
    registry->ca_file = config->ca_file ? registry_text("%s%s", config->ca_file, "") : NULL;
    if (config->user) {
        registry->userpwd = registry_text("%s:%s", config->user, config->password ? config->password : "");
    }
    if (config->token) {
        registry->authorization = registry_text("Authorization: Bearer %s%s", config->token, "");
    }
    registry->timeout_ms = config->timeout_ms;
    registry->negative_ns = config->negative_ms * INT64_C(1000000);
    registry->clock = config->clock ? config->clock : &base_clock_system;
    if (config->cache_dir) {
        if (strlen(config->cache_dir) > 3072) {
            return base_error_set(error, BASE_EINVAL, "registry: the cache's path is too long");
        }
        registry->cache_dir = registry_text("%s%s", config->cache_dir, "");
        if (mkdir(config->cache_dir, 0755) != 0 && errno != EEXIST) {
            return base_error_set_errno(error, BASE_EIO, errno, "registry: cache %s", config->cache_dir);
        }
    }
    return 0;
}

struct consumer_registry *consumer_registry_new(const struct consumer_registry_config *config,
                                                struct base_error *error)
{
    struct consumer_registry *registry = base_alloc_zeroed(1, sizeof *registry);
    if (registry_configure(registry, config, error)) {
        goto failed;
    }
    registry->curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    registry->multi = registry->curl_ready ? curl_multi_init() : NULL;
    if (!registry->multi) {
        base_error_set(error, BASE_ENOMEM, "registry: curl does not start");
        goto failed;
    }
    pthread_mutex_init(&registry->lock, NULL);
    pthread_cond_init(&registry->asked, NULL);
    registry->lock_ready = true;
    int number = pthread_create(&registry->thread, NULL, registry_thread, registry);
    if (number != 0) {
        base_error_set_errno(error, BASE_ENOMEM, number, "registry: no thread");
        goto failed;
    }
    registry->started = true;
    return registry;
failed:
    consumer_registry_free(registry);
    return NULL;
}

void consumer_registry_free(struct consumer_registry *registry)
{
    if (!registry) {
        return;
    }
    if (registry->started) {
        pthread_mutex_lock(&registry->lock);
        registry->stop = true;
        pthread_cond_signal(&registry->asked);
        pthread_mutex_unlock(&registry->lock);
        curl_multi_wakeup(registry->multi);
        pthread_join(registry->thread, NULL);
    }
    if (registry->lock_ready) {
        pthread_cond_destroy(&registry->asked);
        pthread_mutex_destroy(&registry->lock);
    }
    if (registry->multi) {
        curl_multi_cleanup(registry->multi);
    }
    if (registry->curl_ready) {
        curl_global_cleanup();
    }
    for (uint32_t i = 0; i < registry->count; i++) {
        free(registry->entries[i].text);
    }
    free(registry->entries);
    free(registry->url);
    free(registry->cache_dir);
    free(registry->userpwd);
    free(registry->authorization);
    free(registry->ca_file);
    free(registry);
}
