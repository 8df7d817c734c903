// freshet versions: what is published under a model's name: head, its manifest in short, base and deltas, the
// epoch, and the versions announced last. Reads only.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "daemon/command.h"
#include "daemon/target.h"
#include "publisher/keys.h"
#include "publisher/load.h"

enum {
    VERSIONS_RECENT = 10, // announcements shown
    VERSIONS_DELTAS = 10, // deltas shown, the last ones
};

static int usage(FILE *out, int status)
{
    fprintf(out, "usage: freshet versions -c FILE\n"
                 "       freshet versions [--redis HOST[:PORT] | --socket PATH] --model NAME\n"
                 "Prints which version of the model is published, and what it consists of.\n");
    return status;
}

static int versions_get(struct publisher_redis *redis, const char *key, struct publisher_reply **reply,
                        struct base_error *error)
{
    struct base_span words[] = {base_span_string("GET"), base_span_string(key)};
    return publisher_redis_call(redis, words, 2, reply, error);
}

static void print_part(const char *kind, const struct publisher_part *part)
{
    char version[PUBLISHER_VERSION_MAX];
    publisher_version_format(part->version, version);
    printf("  %-6s %-16s %12" PRIu64 " rows %10" PRIu64 " tombstones %7" PRIu32 " chunks %13" PRIu64
           " bytes\n",
           kind, version, part->rows, part->tombstones, part->chunks, part->bytes);
}

static void print_manifest(const struct publisher_manifest *manifest)
{
    char version[PUBLISHER_VERSION_MAX], predecessor[PUBLISHER_VERSION_MAX] = "none", descriptor[17];
    uint64_t dense = 0;
    uint64_t delta_rows = 0;
    publisher_version_format(manifest->version, version);
    if (manifest->predecessor.epoch) {
        publisher_version_format(manifest->predecessor, predecessor);
    }
    publisher_hash_format(manifest->descriptor, descriptor);
    for (uint32_t i = 0; i < manifest->dense_chunks; i++) {
        dense += manifest->dense[i].size;
    }
    for (uint32_t i = 0; i < manifest->deltas; i++) {
        delta_rows += manifest->delta[i].rows;
    }
    printf("head         %s\n", version);
    printf("predecessor  %s\n", predecessor);
    printf("tick         %" PRId64 "\n", manifest->tick);
    printf("examples     %" PRIu64 "\n", manifest->examples);
    printf("rows         %" PRIu64 "\n", manifest->rows);
    printf("descriptor   %s\n", descriptor);
    printf("vectors      %s\n", manifest->half ? "fp16" : "fp32");
    printf("metrics      %s\n", manifest->metrics ? manifest->metrics : "{}");
    printf("dense        %" PRIu32 " tensors in %" PRIu32 " chunks, %" PRIu64 " bytes\n", manifest->tensors,
           manifest->dense_chunks, dense);
    printf("parts        1 base and %" PRIu32 " deltas of %" PRIu64 " rows\n", manifest->deltas, delta_rows);
    print_part("base", &manifest->base);
    uint32_t first = manifest->deltas > VERSIONS_DELTAS ? manifest->deltas - VERSIONS_DELTAS : 0;
    if (first > 0) {
        printf("  ...    %" PRIu32 " deltas\n", first);
    }
    for (uint32_t i = first; i < manifest->deltas; i++) {
        print_part("delta", &manifest->delta[i]);
    }
}

// A field of an announcement; "" if it has none of the name.
static struct base_span entry_field(const struct publisher_reply *fields, const char *name)
{
    for (uint32_t i = 0; i + 1 < publisher_reply_count(fields); i += 2) {
        struct base_span text = publisher_reply_text(publisher_reply_at(fields, i));
        if (base_span_equal(text, base_span_string(name))) {
            struct base_span value = publisher_reply_text(publisher_reply_at(fields, i + 1));
            return value.data ? value : base_span_string("");
        }
    }
    return base_span_string("");
}

static void print_entry(const struct publisher_reply *entry)
{
    if (publisher_reply_count(entry) != 2) {
        return;
    }
    struct base_span id = publisher_reply_text(publisher_reply_at(entry, 0));
    const struct publisher_reply *fields = publisher_reply_at(entry, 1);
    struct base_span version = entry_field(fields, "version");
    struct base_span kind = entry_field(fields, "kind");
    struct base_span tick = entry_field(fields, "tick");
    // An id starts with the server's milliseconds.
    time_t seconds = id.data ? (time_t)(strtoll((const char *)id.data, NULL, 10) / 1000) : 0;
    struct tm broken;
    char moment[32] = "?";
    if (gmtime_r(&seconds, &broken)) {
        strftime(moment, sizeof moment, "%Y-%m-%dT%H:%M:%SZ", &broken);
    }
    printf("  %s %-16.*s %-6.*s tick %.*s\n", moment, (int)version.size, (const char *)version.data,
           (int)kind.size, (const char *)kind.data, (int)tick.size, (const char *)tick.data);
}

static int versions_recent(struct publisher_redis *redis, const char *model, struct base_error *error)
{
    char key[PUBLISHER_KEY_MAX], count[16];
    publisher_key_versions(model, key);
    snprintf(count, sizeof count, "%d", VERSIONS_RECENT);
    struct base_span words[] = {base_span_string("XREVRANGE"), base_span_string(key),
                                base_span_string("+"),         base_span_string("-"),
                                base_span_string("COUNT"),     base_span_string(count)};
    struct publisher_reply *entries = NULL;
    if (publisher_redis_call(redis, words, 6, &entries, error)) {
        return -1;
    }
    printf("announced    the last %" PRIu32 ", newest first\n", publisher_reply_count(entries));
    for (uint32_t i = 0; i < publisher_reply_count(entries); i++) {
        print_entry(publisher_reply_at(entries, i));
    }
    publisher_reply_free(entries);
    return 0;
}

static int versions_print(struct publisher_redis *redis, const char *model, struct base_error *error)
{
    struct publisher_reply *epoch = NULL, *head = NULL;
    struct publisher_manifest *manifest = NULL;
    char key[PUBLISHER_KEY_MAX];
    int failed = -1;
    publisher_key_epoch(model, key);
    if (publisher_redis_connect(redis, error) || versions_get(redis, key, &epoch, error)) {
        goto out;
    }
    publisher_key_head(model, key);
    if (versions_get(redis, key, &head, error)) {
        goto out;
    }
    struct base_span value = publisher_reply_text(head);
    if (!value.data) {
        base_error_set(error, BASE_ENOTFOUND, "nothing is published under the name %s", model);
        goto out;
    }
    manifest = publisher_load_manifest(redis, model, value, error);
    if (!manifest) {
        goto out;
    }
    struct base_span taken = publisher_reply_text(epoch);
    const void *space = taken.data ? memchr(taken.data, ' ', taken.size) : NULL;
    printf("model        %s\n", model);
    printf("epoch        %.*s\n", space ? (int)((const uint8_t *)space - taken.data) : 4,
           space ? (const char *)taken.data : "none");
    print_manifest(manifest);
    failed = versions_recent(redis, model, error);
out:
    publisher_manifest_free(manifest);
    publisher_reply_free(epoch);
    publisher_reply_free(head);
    return failed;
}

static int versions_run(const struct publisher_redis_config *config, const char *model)
{
    struct base_error error;
    struct publisher_redis *redis = NULL;
    int failed = -1;
    if (!publisher_keys_model_valid(model)) {
        base_error_set(&error, BASE_EINVAL, "a model's name has 1 to %d of A-Z a-z 0-9 _ . -",
                       PUBLISHER_MODEL_MAX);
    } else {
        redis = publisher_redis_new(config, &error);
        failed = redis ? versions_print(redis, model, &error) : -1;
    }
    if (failed) {
        fprintf(stderr, "freshet versions: %s\n", error.text);
    }
    publisher_redis_free(redis);
    return failed ? 1 : 0;
}

int daemon_command_versions(int argc, char **argv)
{
    static const struct option longs[] = {
        DAEMON_TARGET_OPTIONS, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct daemon_target target = {0};
    optind = 0; // glibc: begin anew
    for (int option; (option = getopt_long(argc, argv, "c:h", longs, NULL)) != -1;) {
        if (option == 'h') {
            return usage(stdout, 0);
        }
        if (!daemon_target_option(&target, option, optarg)) {
            return usage(stderr, 2);
        }
    }
    int status = optind == argc ? daemon_target_resolve(&target) : 2;
    if (status == 0) {
        status = versions_run(&target.redis, target.model);
    } else if (status == 2) {
        usage(stderr, 2);
    }
    daemon_target_clear(&target);
    return status;
}
