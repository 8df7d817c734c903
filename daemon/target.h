// Where a model is published, as the command line says it: `-c FILE`, or `--redis HOST[:PORT] | --socket
// PATH` with
// `--model NAME`. Shared by the commands that read from Redis.
#ifndef DAEMON_TARGET_H
#define DAEMON_TARGET_H

#include "daemon/config.h"

struct daemon_target {
    const char *path;                    // -c
    char *address;                       // --redis, cut at the colon by resolve
    const char *socket;                  // --socket
    const char *model;                   // --model; after resolve the model's name in any case
    struct publisher_redis_config redis; // set by resolve
    struct daemon_config *config;        // of -c
};

// The rows of a getopt_long table that daemon_target_option takes.
#define DAEMON_TARGET_OPTIONS                                                          \
    {"config", required_argument, NULL, 'c'}, {"redis", required_argument, NULL, 'r'}, \
        {"socket", required_argument, NULL, 's'},                                      \
    {                                                                                  \
        "model", required_argument, NULL, 'm'                                          \
    }

// True if `option` is one of these; then it is noted.
bool daemon_target_option(struct daemon_target *target, int option, char *argument);
// Works out redis and model. 0; 2: wrong usage; 1: the configuration has errors (printed on standard error).
int daemon_target_resolve(struct daemon_target *target);
void daemon_target_clear(struct daemon_target *target);

#endif
