// The file sink and the truth file. See produce.h.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/random.h"
#include "consumer/schema.h"
#include "daemon/produce.h"
#include "daemon/produce_container.h"

struct files_sink {
    struct daemon_produce_sink sink;
    uint32_t lanes;
    struct daemon_produce_container **containers; // [rank * lanes + lane]
};

static void files_sync_marker(uint64_t seed, uint64_t file, uint8_t sync[DAEMON_PRODUCE_SYNC_BYTES])
{
    uint64_t key = base_random_key(seed, "produce.sync");
    for (uint64_t i = 0; i < DAEMON_PRODUCE_SYNC_BYTES / 8; i++) {
        uint64_t bits = base_random_bits(key, 2 * file + i);
        memcpy(sync + 8 * i, &bits, 8);
    }
}

static int files_put(struct daemon_produce_sink *sink, const struct daemon_produce_record *record,
                     struct base_error *error)
{
    struct files_sink *files = (struct files_sink *)sink;
    return daemon_produce_container_append(files->containers[record->rank * files->lanes + record->lane],
                                           base_buffer_span(&record->body), error);
}

static int files_finish(struct daemon_produce_sink *sink, struct base_error *error)
{
    struct files_sink *files = (struct files_sink *)sink;
    for (uint32_t i = 0; i < DAEMON_MARKET_RANKS * files->lanes; i++) {
        if (daemon_produce_container_finish(files->containers[i], error) < 0) {
            return -1;
        }
    }
    return 0;
}

static void files_free(struct daemon_produce_sink *sink)
{
    struct files_sink *files = (struct files_sink *)sink;
    for (uint32_t i = 0; i < DAEMON_MARKET_RANKS * files->lanes; i++) {
        daemon_produce_container_free(files->containers[i]);
    }
    free(files->containers);
    free(files);
}

static const struct daemon_produce_sink_operations files_operations = {files_put, files_finish, files_free};

static int files_mkdir(const char *path, struct base_error *error)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST) {
        return base_error_set_errno(error, BASE_EIO, errno, "mkdir %s", path);
    }
    return 0;
}

static int files_open(struct files_sink *files, const char *directory, const char *topic, uint32_t rank,
                      uint64_t seed, struct base_error *error)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", directory, topic);
    if (files_mkdir(path, error) < 0) {
        return -1;
    }
    for (uint32_t lane = 0; lane < files->lanes; lane++) {
        uint32_t number = rank * files->lanes + lane;
        uint8_t sync[DAEMON_PRODUCE_SYNC_BYTES];
        files_sync_marker(seed, number, sync);
        if (snprintf(path, sizeof path, "%s/%s/%u.avro", directory, topic, lane) >= (int)sizeof path) {
            return base_error_set(error, BASE_EINVAL, "%s/%s: the path is too long", directory, topic);
        }
        files->containers[number] =
            daemon_produce_container_new(path, daemon_produce_schema(rank), sync, error);
        if (!files->containers[number]) {
            return -1;
        }
    }
    return 0;
}

struct daemon_produce_sink *daemon_produce_files_new(const char *directory,
                                                     const char *const topics[DAEMON_MARKET_RANKS],
                                                     uint32_t lanes, uint64_t seed, struct base_error *error)
{
    struct files_sink *files = base_alloc_zeroed(1, sizeof *files);
    files->sink.operations = &files_operations;
    files->lanes = lanes;
    files->containers = base_alloc_zeroed(DAEMON_MARKET_RANKS * lanes, sizeof(*files->containers));
    int result = files_mkdir(directory, error);
    for (uint32_t rank = 0; result == 0 && rank < DAEMON_MARKET_RANKS; rank++) {
        result = files_open(files, directory, topics[rank], rank, seed, error);
    }
    if (result < 0) {
        files_free(&files->sink);
        return NULL;
    }
    return &files->sink;
}

static const char truth_schema[] =
    "{\"type\":\"record\",\"name\":\"Truth\",\"namespace\":\"freshet\","
    "\"doc\":\"What the simulated marketplace knows of an impression.\",\"fields\":["
    "{\"name\":\"impression_id\",\"type\":\"string\"},{\"name\":\"index\",\"type\":\"long\"},"
    "{\"name\":\"lane\",\"type\":\"int\"},"
    "{\"name\":\"event_time\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}},"
    "{\"name\":\"pctr\",\"type\":\"double\"},{\"name\":\"pcvr\",\"type\":\"double\"},"
    "{\"name\":\"clicked\",\"type\":\"boolean\"},{\"name\":\"purchased\",\"type\":\"boolean\"}]}";

struct daemon_produce_truth {
    uint64_t seed;
    struct daemon_produce_container *container;
    struct base_buffer body;
};

struct daemon_produce_truth *daemon_produce_truth_new(const char *path, uint64_t seed,
                                                      struct base_error *error)
{
    uint8_t sync[DAEMON_PRODUCE_SYNC_BYTES];
    files_sync_marker(seed, UINT32_MAX, sync);
    struct daemon_produce_container *container =
        daemon_produce_container_new(path, truth_schema, sync, error);
    if (!container) {
        return NULL;
    }
    struct daemon_produce_truth *truth = base_alloc_zeroed(1, sizeof *truth);
    truth->seed = seed;
    truth->container = container;
    return truth;
}

int daemon_produce_truth_put(struct daemon_produce_truth *truth,
                             const struct daemon_market_impression *impression, struct base_error *error)
{
    char id[DAEMON_PRODUCE_ID_MAX];
    daemon_produce_impression_id(truth->seed, impression->index, id);
    struct base_buffer *body = &truth->body;
    uint64_t bits[2];
    memcpy(&bits[0], &impression->pctr, sizeof bits[0]);
    memcpy(&bits[1], &impression->pcvr, sizeof bits[1]);
    base_buffer_clear(body);
    consumer_schema_put_bytes(body, base_span_string(id));
    consumer_schema_put_long(body, (int64_t)impression->index);
    consumer_schema_put_long(body, impression->lane);
    consumer_schema_put_long(body, impression->event_time);
    base_buffer_u64(body, bits[0]);
    base_buffer_u64(body, bits[1]);
    base_buffer_u8(body, impression->clicked);
    base_buffer_u8(body, impression->purchased);
    return daemon_produce_container_append(truth->container, base_buffer_span(body), error);
}

int daemon_produce_truth_finish(struct daemon_produce_truth *truth, struct base_error *error)
{
    return daemon_produce_container_finish(truth->container, error);
}

void daemon_produce_truth_free(struct daemon_produce_truth *truth)
{
    if (!truth) {
        return;
    }
    daemon_produce_container_free(truth->container);
    base_buffer_free(&truth->body);
    free(truth);
}
