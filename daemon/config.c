// The daemon's configuration: loading, and the plain questions. See config.h.
#include "daemon/config.h"

#include <assert.h>
#include <stdlib.h>

#include "daemon/config_private.h"

// Features without a path are found under their name; a position has one dimension only.
static void config_defaults(struct daemon_config *config)
{
    struct daemon_config_slot *slots = config->slots.item;
    for (uint32_t i = 0; i < config->slots.count; i++) {
        slots[i].path = slots[i].path ? slots[i].path : slots[i].name;
        if (slots[i].role == DAEMON_ROLE_POSITION &&
            !base_config_given(config->memory, &slots[i].dimension)) {
            slots[i].dimension = TRAINER_POSITION_DIMENSION;
        }
    }
    struct daemon_config_numeric *numerics = config->numerics.item;
    for (uint32_t i = 0; i < config->numerics.count; i++) {
        numerics[i].path = numerics[i].path ? numerics[i].path : numerics[i].name;
    }
}

struct daemon_config *daemon_config_load_text(const char *name, struct base_span text,
                                              struct base_config_problems *problems)
{
    struct daemon_config *config = base_alloc_zeroed(1, sizeof *config);
    struct base_config *memory = base_config_new();
    base_config_read(memory, &daemon_config_table, name, text, config, problems);
    config->memory = memory;
    config_defaults(config);
    config_check(config, problems);
    if (problems->errors == 0) {
        config_build(config, problems);
    }
    if (problems->errors > 0) {
        daemon_config_free(config);
        return NULL;
    }
    return config;
}

struct daemon_config *daemon_config_load(const char *path, struct base_config_problems *problems)
{
    struct base_config *memory = base_config_new();
    struct base_error error;
    const char *text = base_config_file(memory, path, BASE_CONFIG_FILE_MAX, &error);
    if (!text) {
        base_config_problem(problems, memory, false, NULL, "%s", error.text);
        base_config_free(memory);
        return NULL;
    }
    struct daemon_config *config = daemon_config_load_text(path, base_span_string(text), problems);
    base_config_free(memory);
    return config;
}

void daemon_config_free(struct daemon_config *config)
{
    if (!config) {
        return;
    }
    base_config_free(config->memory);
    free(config);
}

uint32_t daemon_config_ranks(const struct daemon_config *config)
{
    return 1 + config->actions.count;
}

const struct daemon_config_action *daemon_config_action(const struct daemon_config *config, uint32_t rank)
{
    assert(rank >= 1 && rank <= config->actions.count);
    return (const struct daemon_config_action *)config->actions.item + (rank - 1);
}

const struct daemon_config_topic *daemon_config_topic(const struct daemon_config *config, uint32_t rank)
{
    return rank == 0 ? &config->impression : &daemon_config_action(config, rank)->topic;
}

uint32_t daemon_config_tasks(const struct daemon_config *config)
{
    uint32_t tasks = 0;
    for (uint32_t rank = 1; rank < daemon_config_ranks(config); rank++) {
        tasks += !daemon_config_action(config, rank)->as;
    }
    return tasks;
}

const struct daemon_config_slot *daemon_config_slot(const struct daemon_config *config, uint32_t index)
{
    assert(index < config->slots.count);
    return (const struct daemon_config_slot *)config->slots.item + index;
}

const struct daemon_config_numeric *daemon_config_numeric(const struct daemon_config *config, uint32_t index)
{
    assert(index < config->numerics.count);
    return (const struct daemon_config_numeric *)config->numerics.item + index;
}

const char *daemon_config_rank_name(const struct daemon_config *config, uint32_t rank)
{
    return rank == 0 ? "impression" : daemon_config_action(config, rank)->name;
}

int64_t daemon_config_dedupe(const struct daemon_config *config, uint32_t rank)
{
    const struct daemon_config_topic *topic = daemon_config_topic(config, rank);
    if (topic->dedupe >= 0) {
        return topic->dedupe;
    }
    int64_t longest = daemon_config_action(config, 1)->window;
    for (uint32_t other = 2; other < daemon_config_ranks(config) && rank > 0; other++) {
        int64_t window = daemon_config_action(config, other)->window;
        longest = window > longest ? window : longest;
    }
    return longest;
}
