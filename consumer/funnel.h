// A funnel: a lane's configuration, checked and turned into what the joiner asks for all the time. Plain
// data.
//
// A stage has the rank of what enters it: 0 the impression, then every action of the funnel but the last. The
// task of the action of rank r is r - 1; an action that counts as another has none.
#ifndef CONSUMER_FUNNEL_H
#define CONSUMER_FUNNEL_H

#include "consumer/lane.h"

enum { CONSUMER_ACTION_NAME_MAX = 48 }; // characters of an action's name

struct consumer_funnel_stage {
    const char *name;                    // of its log
    uint32_t next;                       // the action of the funnel that follows: rank + 1
    uint32_t child[CONSUMER_TOPICS_MAX]; // ranks of all actions that hang on it, ascending
    uint32_t children;
    bool by_id; // some child looks for it by impression id (the impression's also serves deduping)
    bool by_touch;
    int64_t retention; // ms a record must be found after its entry: by its own actions, and by its parent
};

struct consumer_funnel {
    uint32_t ranks;
    uint32_t tasks; // actions that count as themselves
    uint32_t stages;
    struct consumer_funnel_stage stage[CONSUMER_TOPICS_MAX];
    struct consumer_action_config action[CONSUMER_TOPICS_MAX];
    uint8_t negatives[CONSUMER_TOPICS_MAX]; // tasks paid by a parent without this action: its own and deeper
};

// Errors: BASE_EINVAL, naming the action or the setting. Names are borrowed from `config`.
int consumer_funnel_compile(const struct consumer_lane_config *config, struct consumer_funnel *funnel,
                            struct base_error *error);

#endif
