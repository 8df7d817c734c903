// Where a model is published, from the command line. See target.h.
#include "daemon/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config_print.h"

enum { TARGET_TIMEOUT_MS = 5000, TARGET_PORT = 6379 };

bool daemon_target_option(struct daemon_target *target, int option, char *argument)
{
    switch (option) {
    case 'c':
        target->path = argument;
        return true;
    case 'r':
        target->address = argument;
        return true;
    case 's':
        target->socket = argument;
        return true;
    case 'm':
        target->model = argument;
        return true;
    default:
        return false;
    }
}

// False: not an address.
static bool target_address(char *address, struct publisher_redis_config *redis)
{
    redis->host = address;
    redis->port = TARGET_PORT;
    char *colon = strrchr(address, ':');
    if (colon) {
        char *end;
        unsigned long port = strtoul(colon + 1, &end, 10);
        if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port < 1 || port > UINT16_MAX) {
            return false;
        }
        *colon = '\0';
        redis->port = (uint16_t)port;
    }
    return address[0] != '\0';
}

static int target_configured(struct daemon_target *target)
{
    target->config = daemon_config_load_and_print(target->path);
    if (!target->config) {
        return 1;
    }
    struct publisher_config publisher;
    daemon_config_publisher(target->config, &publisher);
    target->redis = publisher.redis;
    target->model = publisher.model;
    return 0;
}

int daemon_target_resolve(struct daemon_target *target)
{
    static char local[] = "127.0.0.1";
    bool direct = target->address || target->socket || target->model;
    if ((target->path ? direct : !target->model) || (target->address && target->socket)) {
        return 2;
    }
    if (target->path) {
        return target_configured(target);
    }
    target->redis =
        (struct publisher_redis_config){.socket = target->socket, .timeout_ms = TARGET_TIMEOUT_MS};
    if (!target->socket && !target_address(target->address ? target->address : local, &target->redis)) {
        return 2;
    }
    return 0;
}

void daemon_target_clear(struct daemon_target *target)
{
    daemon_config_free(target->config);
    *target = (struct daemon_target){0};
}
