// The daemon's configuration: source.offsets and source.ends, maps "topic/partition" -> offset.
//
// A map becomes a table [ranks * lanes], rank-major, as the Kafka source takes it. It says itself how many
// partitions there are, one more than the greatest that it names; that the broker has as many is checked when
// the source opens. Each problem is told once: of partitions that are missing only if all entries were good.
#include <inttypes.h>
#include <string.h>

#include "daemon/config_private.h"

enum { OFFSET_ABSENT = -3 }; // beside CONSUMER_OFFSET_EARLIEST and _LATEST

#define FAIL(config, problems, map, ...) \
    base_config_problem(problems, (config)->memory, false, map, __VA_ARGS__)

// The rank of the topic named by `size` bytes, or the number of ranks.
static uint32_t offsets_rank(const struct daemon_config *config, const char *name, size_t size)
{
    uint32_t rank = 0;
    for (; rank < daemon_config_ranks(config); rank++) {
        const char *topic = daemon_config_topic(config, rank)->topic;
        if (strlen(topic) == size && memcmp(topic, name, size) == 0) {
            break;
        }
    }
    return rank;
}

// Splits "topic/partition". -1: a problem was told.
static int offsets_name(const struct daemon_config *config, const struct base_config_map *map,
                        const char *name, uint32_t *rank, uint32_t *lane,
                        struct base_config_problems *problems)
{
    const char *slash = strrchr(name, '/'); // no topic's name holds one
    uint64_t partition;
    if (!slash || base_config_parse_uint(slash + 1, &partition)) {
        FAIL(config, problems, map, "\"%.256s\" is not topic/partition", name);
        return -1;
    }
    if (partition >= CONSUMER_LANES_MAX) {
        FAIL(config, problems, map, "\"%.256s\": at most %d partitions are possible", name,
             CONSUMER_LANES_MAX);
        return -1;
    }
    *rank = offsets_rank(config, name, (size_t)(slash - name));
    if (*rank == daemon_config_ranks(config)) {
        FAIL(config, problems, map, "\"%.256s\": no topic of that name is configured", name);
        return -1;
    }
    *lane = (uint32_t)partition;
    return 0;
}

static int offsets_value(const struct daemon_config *config, const struct base_config_map *map, uint32_t i,
                         int64_t *offset, struct base_config_problems *problems)
{
    bool begins = map == &config->source.offsets;
    const char *text = map->value[i];
    if (begins && (strcmp(text, "earliest") == 0 || strcmp(text, "latest") == 0)) {
        *offset = text[0] == 'e' ? CONSUMER_OFFSET_EARLIEST : CONSUMER_OFFSET_LATEST;
        return 0;
    }
    if (base_config_parse_int(text, offset) || *offset < 0) {
        FAIL(config, problems, map, "%.256s: \"%.64s\" is not an offset: a number%s", map->name[i], text,
             begins ? ", earliest or latest" : "");
        return -1;
    }
    return 0;
}

// One error a topic that lacks partitions. -1: there is one.
static int offsets_missing(const struct daemon_config *config, const struct base_config_map *map,
                           const int64_t *table, uint32_t lanes, struct base_config_problems *problems)
{
    int status = 0;
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        uint32_t missing = 0, first = 0;
        for (uint32_t lane = lanes; lane-- > 0;) {
            if (table[rank * lanes + lane] == OFFSET_ABSENT) {
                missing++;
                first = lane;
            }
        }
        if (missing > 0) {
            FAIL(config, problems, map,
                 "\"%.200s/%u\" is missing%s; partitions 0 to %u of every topic must be given",
                 daemon_config_topic(config, rank)->topic, first, missing > 1 ? ", and others" : "",
                 lanes - 1);
            status = -1;
        }
    }
    return status;
}

const int64_t *config_offsets(const struct daemon_config *config, const struct base_config_map *map,
                              uint32_t *lanes, struct base_config_problems *problems)
{
    if (!base_config_given(config->memory, map)) {
        return NULL; // or refused, and told
    }
    if (map->count == 0) {
        FAIL(config, problems, map, "names no partition");
        return NULL;
    }
    uint32_t *ranks = base_config_memory(config->memory, map->count * sizeof *ranks);
    uint32_t *partitions = base_config_memory(config->memory, map->count * sizeof *partitions);
    int64_t *values = base_config_memory(config->memory, map->count * sizeof *values);
    uint32_t most = 0;
    int status = 0;
    for (uint32_t i = 0; i < map->count; i++) {
        if (offsets_name(config, map, map->name[i], &ranks[i], &partitions[i], problems) ||
            offsets_value(config, map, i, &values[i], problems)) {
            status = -1;
        } else if (partitions[i] >= most) {
            most = partitions[i] + 1;
        }
    }
    if (status) {
        return NULL;
    }
    size_t size = (size_t)daemon_config_ranks(config) * most;
    int64_t *table = base_config_memory(config->memory, size * sizeof *table);
    for (size_t i = 0; i < size; i++) {
        table[i] = OFFSET_ABSENT;
    }
    for (uint32_t i = 0; i < map->count; i++) {
        int64_t *offset = &table[ranks[i] * most + partitions[i]];
        if (*offset != OFFSET_ABSENT) { // the same name twice is the reader's to refuse; this is 1 and 01
            FAIL(config, problems, map, "\"%.256s\" is given twice", map->name[i]);
            return NULL;
        }
        *offset = values[i];
    }
    if (offsets_missing(config, map, table, most, problems)) {
        return NULL;
    }
    *lanes = most;
    return table;
}

// Whether every topic has a name of its own, so that an entry can be told to be one's.
static bool offsets_topics(const struct daemon_config *config)
{
    if (config->actions.count > DAEMON_CONFIG_ACTIONS_MAX ||
        base_config_refused(config->memory, &config->actions)) {
        return false;
    }
    for (uint32_t rank = 0; rank < daemon_config_ranks(config); rank++) {
        const struct daemon_config_topic *topic = daemon_config_topic(config, rank);
        if (!topic->topic || !topic->topic[0] || base_config_refused(config->memory, &topic->topic) ||
            offsets_rank(config, topic->topic, strlen(topic->topic)) != rank) {
            return false;
        }
    }
    return true;
}

void config_offsets_check(const struct daemon_config *config, struct base_config_problems *problems)
{
    const struct daemon_config_source *source = &config->source;
    if (source->kind == DAEMON_SOURCE_FILES) {
        const struct base_config_map *const maps[] = {&source->offsets, &source->ends};
        for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
            if (base_config_given(config->memory, maps[i])) {
                FAIL(config, problems, maps[i], "a source of kind files has no offsets");
            }
        }
        return;
    }
    if (source->kind < 0 || !offsets_topics(config)) {
        return; // told elsewhere
    }
    uint32_t lanes = 0, end_lanes = 0;
    const int64_t *offsets = config_offsets(config, &source->offsets, &lanes, problems);
    const int64_t *ends = config_offsets(config, &source->ends, &end_lanes, problems);
    if (offsets && base_config_given(config->memory, &source->start)) {
        base_config_problem(problems, config->memory, true, &source->start, "has no effect beside offsets");
    }
    if (!offsets || !ends) {
        return;
    }
    if (lanes != end_lanes) {
        FAIL(config, problems, &source->ends, "is for %u partitions a topic where offsets is for %u",
             end_lanes, lanes);
        return;
    }
    for (uint32_t i = 0; i < daemon_config_ranks(config) * lanes; i++) {
        if (ends[i] < offsets[i]) {
            FAIL(config, problems, &source->ends,
                 "%.200s/%u ends at %" PRId64 ", before it begins, at %" PRId64,
                 daemon_config_topic(config, i / lanes)->topic, i % lanes, ends[i], offsets[i]);
        }
    }
}
